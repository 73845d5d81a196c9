//! Budgets that all who share the store keep together.

use std::time::Duration;

use fini_bridge::domain::id::{BudgetKey, ChannelName};
use fini_bridge::store::Store;
use fini_bridge::store::budgets::{Grant, Request, Spending};

const MINUTE: Duration = Duration::from_secs(60);

async fn spend(store: &dyn Store, budget: &str, requests: &[(u32, u32)]) -> Vec<Grant> {
    let requests = requests.iter().map(|(number, limit)| Request { number: *number, limit: *limit }).collect();
    let use_within = Duration::from_secs(2);
    store.spend(&Spending { budget: BudgetKey::new(budget), window: MINUTE, use_within, requests }).await.unwrap()
}

fn numbers(grants: &[Grant]) -> Vec<u32> {
    grants.iter().map(|grant| grant.number).collect()
}

promises! {
    async fn a_budget_is_spent_once_by_all_who_share_the_store(world: World) {
        let (here, there) = (world.store.as_ref(), world.beside().await);
        let all = (0..60).map(|number| {
            let store = if number % 2 == 0 { here } else { there.as_ref() };
            async move { spend(store, "fini", &[(3, 95)]).await[0].number }
        });
        let all: u32 = futures::future::join_all(all).await.into_iter().sum();
        assert_eq!(all, 95);
        assert_eq!(numbers(&spend(here, "another", &[(95, 95)]).await), [95], "another key has its own");
    }

    async fn a_pause_of_a_channel_is_known_to_all_who_share_the_store_and_never_made_shorter(world: World) {
        let (here, there) = (world.store.as_ref(), world.beside().await);
        let (shop, other) = (ChannelName::new("shop"), ChannelName::new("other"));
        here.pause(&shop, MINUTE).await.unwrap();
        there.pause(&shop, MINUTE / 2).await.unwrap();
        there.pause(&other, MINUTE / 2).await.unwrap();
        let mut pauses = there.pauses().await.unwrap();
        pauses.sort();
        assert_eq!(pauses.iter().map(|(channel, _)| channel.as_str()).collect::<Vec<_>>(), ["other", "shop"]);
        assert!(pauses[1].1 > MINUTE / 2 && pauses[1].1 <= MINUTE, "{pauses:?}");
        world.pass(MINUTE * 3 / 4).await;
        let pauses = world.store.pauses().await.unwrap();
        assert!(pauses.len() == 1 && pauses[0].0 == shop, "{pauses:?}");
        world.pass(MINUTE).await;
        assert!(world.store.pauses().await.unwrap().is_empty());
    }

    async fn a_restart_does_not_begin_a_budget_anew(world: World) {
        assert_eq!(numbers(&spend(world.store.as_ref(), "fini", &[(90, 95)]).await), [90]);
        let world = world.restart().await;
        let grants = spend(world.store.as_ref(), "fini", &[(10, 95), (10, 60)]).await;
        assert_eq!(numbers(&grants), [5, 0]);
        assert!(grants[0].again_in.is_some_and(|wait| wait > Duration::from_secs(30) && wait <= Duration::from_secs(64)));
        world.pass(Duration::from_secs(64)).await;
        let grants = spend(world.store.as_ref(), "fini", &[(10, 95), (60, 60)]).await;
        assert_eq!(grants[0], Grant { number: 10, again_in: None });
        assert_eq!(grants[1].number, 50);
    }
}
