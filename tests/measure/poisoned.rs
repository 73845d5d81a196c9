//! A chat with a question that Fini always fails on: whether 500 other chats notice, and whether it goes on itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fini_bridge::app::sandbox::fini::{Change, Endpoint, FaultRule};
use fini_bridge::store::MessageState;

use crate::support::senders::{self, CHANNELS};
use crate::support::{World, eventually};
use crate::{Sample, gateway, rounds, stores};

const LANES: usize = 500;
/// Messages a second, of all lanes together: a custom channel delivers 50.
const RATE: u32 = 40;
const MOST: f64 = 1.1;

/// Whether the others' median with the poisoned lane is no more than [`MOST`] of that without.
pub async fn measure() -> bool {
    let mut good = true;
    for (name, store) in stores().await {
        good &= on(name, store).await;
    }
    good
}

async fn on(name: &str, store: Option<String>) -> bool {
    let world = gateway(store, &format!("[fini]\ntimeout = \"5s\"\nsettle = \"5s\"\n{CHANNELS}")).await;
    world.fini.change(Change { answer_delay_ms: Some(20), ..Change::default() });
    world.fini.faults().add(FaultRule::status(Endpoint::Ask, 500).containing("poison"));
    let mut lanes = Lanes { world: &world, said: 0, turned_away: 0 };
    // Conversations are known and connections open from here on.
    lanes.pass().await;
    let (mut without, mut with) = (Sample::default(), Sample::default());
    for round in 0..rounds() {
        // Which comes first changes, so that what drifts drifts for both.
        let (with_it, without_it) = if round % 2 == 0 {
            let with_it = lanes.beside_poison(round).await;
            let without_it = lanes.passes(with_it.0.len() / LANES).await;
            (with_it, without_it)
        } else {
            let without_it = lanes.passes(with.0.len() / LANES / round).await;
            (lanes.beside_poison(round).await, without_it)
        };
        let ratio = ratio(&with_it, &without_it);
        println!("poisoned {name}: round {round}: without {without_it} · with {with_it} · ratio {ratio:.3}");
        with.0.extend(with_it.0);
        without.0.extend(without_it.0);
    }
    let ratio = ratio(&with, &without);
    println!("poisoned {name}: {LANES} lanes, {RATE}/s: without {without} · with {with}");
    println!("poisoned {name}: ratio of medians {ratio:.3} (at most {MOST}), {} answers of 503", lanes.turned_away);
    println!("poisoned {name}: where the rounds differ by more than that, the machine was busy: measure again");
    ratio <= MOST
}

fn ratio(with: &Sample, without: &Sample) -> f64 {
    with.median().as_secs_f64() / without.median().as_secs_f64()
}

struct Lanes<'w> {
    world: &'w World,
    said: usize,
    /// Answers of 503.
    turned_away: usize,
}

impl Lanes<'_> {
    /// One message of each lane, evenly over the time; from the webhook's first byte to the arrival of the answer.
    async fn pass(&mut self) -> Sample {
        let known = self.world.outside.sent().len();
        let begun = tokio::time::Instant::now();
        let mut posts = Vec::new();
        for lane in 0..LANES {
            self.said += 1;
            let id = format!("m{}", self.said);
            let signed = senders::bridge_message(&format!("lane-{lane}"), &id, "Where is my order?");
            let request = self.world.request("bridge", signed);
            tokio::time::sleep_until(begun + Duration::from_secs(1) / RATE * u32::try_from(lane).unwrap()).await;
            posts.push(tokio::spawn(async move {
                let (at, mut turned_away) = (Instant::now(), 0);
                // As platforms do: what got a 503 comes again, and its wait counts.
                loop {
                    match request.try_clone().unwrap().send().await.unwrap().status().as_u16() {
                        200 => return (id, at, turned_away),
                        503 => turned_away += 1,
                        other => panic!("a webhook got {other}"),
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }));
        }
        let mut posted = HashMap::new();
        for post in posts {
            let (id, at, turned_away) = post.await.unwrap();
            self.turned_away += turned_away;
            posted.insert(id, at);
        }
        let mut taken = HashMap::new();
        eventually("all are answered", Duration::from_secs(60), async || {
            for call in self.world.outside.sent_after(known) {
                let id = call.body["in_reply_to"][0].as_str().unwrap();
                if let Some(at) = posted.get(id) {
                    taken.insert(id.to_owned(), call.at - *at);
                }
            }
            (taken.len() == LANES).then_some(())
        })
        .await;
        Sample(taken.into_values().collect())
    }

    async fn passes(&mut self, number: usize) -> Sample {
        let mut sample = Sample::default();
        for _ in 0..number {
            sample.0.extend(self.pass().await.0);
        }
        sample
    }

    /// As long as a poisoned question is tried; then its lane must go on.
    async fn beside_poison(&mut self, round: usize) -> Sample {
        let chat = format!("poisoned-{round}");
        let say = async |id: String, text: &str| {
            self.world.deliver("bridge", senders::bridge_message(&chat, &id, text)).await;
        };
        let asked = || {
            let calls = self.world.fini.ledger().calls;
            calls.iter().filter(|call| call.content.as_deref() == Some("poison")).count()
        };
        let before = asked();
        say(format!("poison-{round}"), "poison").await;
        eventually("it is asked", Duration::from_secs(10), async || (asked() > before).then_some(())).await;
        say(format!("behind-{round}"), "and behind it").await;
        let begun = Instant::now();
        let mut sample = Sample::default();
        while self.world.stories(&[MessageState::Failed]).await.len() <= round {
            sample.0.extend(self.pass().await.0);
            assert!(begun.elapsed() < Duration::from_secs(120), "the poisoned question is not buried");
        }
        eventually("its lane goes on", Duration::from_secs(10), async || {
            let sent = self.world.outside.sent();
            sent.iter().any(|call| call.body["in_reply_to"][0] == format!("behind-{round}")).then_some(())
        })
        .await;
        let times = asked() - before;
        println!(
            "poisoned: buried after {times} calls and at most {:.0} s, its lane goes on",
            begun.elapsed().as_secs_f64()
        );
        sample
    }
}
