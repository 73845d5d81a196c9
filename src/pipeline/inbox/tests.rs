use serde_json::json;

use super::*;
use crate::domain::clock::ManualClock;
use crate::domain::id::{BotId, ChannelName};
use crate::domain::message::Address;
use crate::http::Http;
use crate::pipeline::channel::{Conversations, Replies};
use crate::pipeline::rate_limit::RateLimiter;
use crate::platform::{self, Common, Surroundings};
use crate::store::sqlite::Sqlite;
use crate::store::{Filter, Mode, Operations};

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
const KEY: [u8; 32] = [7; 32];
/// HMAC-SHA256 of "chat", channel, account and chat, joined by NUL: its first 32 digits.
const CHAT_REF: &str = "1069780a5fd5432a3dfbc9be7b5db059";

/// A channel that accepts these kinds, with these keys of `[conversations]`.
fn channel(accept: &[Accept], conversations: &str) -> Channel {
    let keys = "signing_secret = 'signing-secret-0123456789'\nbot_token = 'xoxb-1'";
    let http = Http::new(&crate::http::Config::default()).unwrap();
    let around = Surroundings { http, clock: Arc::new(ManualClock::at(NOW)) };
    let config = platform::Config::Slack(toml::from_str(keys).unwrap());
    Channel {
        name: ChannelName::new("shop"),
        platform: platform::build(&config, &Common::default(), &around).map_err(|p| format!("{p:?}")).unwrap(),
        bot_id: BotId::new("bot"),
        bots: Vec::new(),
        enabled: true,
        accept: accept.to_vec(),
        secrets: Vec::new(),
        conversations: toml::from_str::<Conversations>(conversations).unwrap(),
        replies: Replies::default(),
        limiter: RateLimiter::unlimited(),
        keep: Duration::from_secs(30 * 24 * 3600),
        key: 0,
    }
}

/// Zoe's, in a room with others, written a minute ago.
fn incoming() -> Incoming {
    Incoming {
        delivery_key: DeliveryKey::new("d1"),
        chat: ChatKey::new("C1"),
        room: "C1".to_owned(),
        account: Some("T1".to_owned()),
        sender: Some("zoe".to_owned()),
        shared: true,
        addressed: Addressed::Mention,
        role: Role::User,
        text: "Hello".to_owned(),
        user_attributes: json!({ "plan": "gold" }).as_object().unwrap().clone(),
        bot_id: None,
        address: Address(json!({ "channel": "C1" })),
        sent_at: Some(NOW.minus(Duration::from_secs(60))),
        unordered: false,
        more_within: None,
    }
}

fn with(change: impl FnOnce(&mut Incoming)) -> Incoming {
    let mut message = incoming();
    change(&mut message);
    message
}

fn item(channel: &Channel, incoming: Incoming) -> Result<NewItem, &'static str> {
    to_new_message(channel, &KEY, incoming, NOW, None)
}

fn kept(channel: &Channel, incoming: Incoming) -> NewMessage {
    match item(channel, incoming) {
        Ok(NewItem::Message(message)) => *message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn accept_decides_which_messages_count() {
    use Accept::{All, Direct, Mention};
    use Addressed::{Room, Thread};
    // Whether a message counts; a thread may count only where the chat is known.
    let [yes, known, no] = [Ok(false), Ok(true), Err("not_addressed")];
    let table = [
        (vec![Direct], [yes, no, no, no]),
        (vec![Mention], [no, yes, known, no]),
        (vec![Direct, Mention], [yes, yes, known, no]),
        (vec![All], [yes, yes, yes, yes]),
        (vec![Mention, All], [yes, yes, yes, yes]),
        (vec![], [no, no, no, no]),
    ];
    for (accept, expected) in table {
        let channel = channel(&accept, "");
        let got = [Addressed::Direct, Addressed::Mention, Thread, Room].map(|addressed| {
            item(&channel, with(|message| message.addressed = addressed)).map(|item| match item {
                NewItem::Message(message) => message.only_if_known,
                NewItem::Unusable(unusable) => panic!("{unusable:?}"),
            })
        });
        assert_eq!(got, expected, "{accept:?}");
    }
}

#[test]
fn what_staff_writes_counts_only_in_a_chat_that_is_known_whatever_the_channel_accepts() {
    for accept in [vec![], vec![Accept::Direct], vec![Accept::All]] {
        let message = kept(&channel(&accept, ""), with(|message| message.addressed = Addressed::Known));
        assert!(message.only_if_known, "{accept:?}");
    }
}

#[test]
fn the_pictures_of_an_album_wait_for_each_other_at_least_as_long_as_the_channel_says() {
    let album = || with(|message| message.more_within = Some(Duration::from_secs(1)));
    let window = |keys: &str| kept(&channel(&[Accept::All], keys), album()).merge_window;
    assert_eq!(window(""), Duration::from_secs(1));
    assert_eq!(window("merge_window = '3s'"), Duration::from_secs(3));
    assert_eq!(kept(&channel(&[Accept::All], ""), incoming()).merge_window, Duration::ZERO);
}

#[test]
fn a_room_is_one_chat_or_one_for_each_person_as_scope_says() {
    let chat = |scope: &str, sender: Option<&str>, shared| {
        let channel = channel(&[Accept::All], scope);
        let message = kept(
            &channel,
            with(|message| {
                message.sender = sender.map(str::to_owned);
                message.shared = shared;
            }),
        );
        (message.chat.as_str().to_owned(), message.chat_ref)
    };
    let room = chat("scope = 'room'", Some("zoe"), true);
    assert_eq!(room.0, "C1");
    assert_eq!(room, chat("scope = 'room'", Some("ann"), true));

    let zoe = chat("scope = 'user'", Some("zoe"), true);
    assert_eq!(zoe.0, "C1\0zoe");
    assert_ne!(zoe, chat("scope = 'user'", Some("ann"), true));
    assert_ne!(zoe.1, room.1, "each has a name of its own in the logs");
    assert_eq!(chat("scope = 'user'", None, true), room, "nobody knows whose it is");
    assert_eq!(chat("scope = 'user'", Some("zoe"), false), room, "a direct chat has one person");
}

#[test]
fn chats_of_two_accounts_or_channels_have_two_names_that_tell_nothing() {
    let channel = channel(&[Accept::All], "");
    let mut desk = self::channel(&[Accept::All], "");
    desk.name = ChannelName::new("desk");
    let of = |channel: &Channel, account: &str| {
        let account = Some(account.to_owned());
        kept(channel, with(|message| message.account = account)).chat_ref
    };
    let name = of(&channel, "T1");
    // The first stands in databases: another would cut the logs of a chat in two at an upgrade.
    assert_eq!(name.as_str(), CHAT_REF);
    assert_ne!(name, of(&channel, "T2"));
    assert_ne!(name, of(&desk, "T1"));
}

#[test]
fn what_is_older_than_duplicates_are_remembered_is_kept_as_failed() {
    let channel = channel(&[Accept::All], "");
    let sent = |at: Timestamp| item(&channel, with(|message| message.sent_at = Some(at))).unwrap();
    assert!(matches!(sent(NOW.minus(TOO_OLD)), NewItem::Message(_)));
    match sent(NOW.minus(TOO_OLD + Duration::from_millis(1))) {
        NewItem::Unusable(unusable) => {
            assert_eq!((unusable.reason.as_str(), unusable.raw.as_str()), ("too_old", "Hello"));
            assert_eq!(unusable.delivery_key, DeliveryKey::new("d1"), "it comes again as the same");
        }
        NewItem::Message(message) => panic!("{message:?}"),
    }
    let undated = item(&channel, with(|message| message.sent_at = None)).unwrap();
    assert!(matches!(undated, NewItem::Message(_)));
}

#[test]
fn messages_are_sorted_by_their_time_only_where_the_platform_promises_no_order_and_never_ahead_of_now() {
    let channel = channel(&[Accept::All], "");
    let sort_at = |sent_at: Timestamp, unordered| {
        kept(
            &channel,
            with(|message| {
                message.sent_at = Some(sent_at);
                message.unordered = unordered;
            }),
        )
        .sort_at
    };
    let earlier = NOW.minus(Duration::from_secs(5));
    assert_eq!(sort_at(earlier, false), None);
    assert_eq!(sort_at(earlier, true), Some(earlier));
    assert_eq!(sort_at(NOW.plus(Duration::from_secs(5)), true), Some(NOW));
}

#[test]
fn only_a_customers_own_attributes_go_along_and_never_the_reference() {
    let channel = channel(&[Accept::All], "");
    let attributes = |role, attributes: serde_json::Value| {
        let attributes = attributes.as_object().unwrap().clone();
        let message = kept(
            &channel,
            with(|message| {
                message.role = role;
                message.user_attributes = attributes;
            }),
        );
        (message.user_attributes, message.attributes_ref)
    };
    let gold = json!({ "plan": "gold" });
    let none = attributes(Role::User, json!({}));
    let (own, own_ref) = attributes(Role::User, gold.clone());
    assert_eq!(own, *gold.as_object().unwrap());
    assert_ne!(own_ref, none.1);
    for role in [Role::Agent, Role::OtherBot] {
        assert_eq!(attributes(role, gold.clone()), none, "{role:?}");
    }
    let forged = json!({ "plan": "gold", REFERENCE_ATTRIBUTE: "another chat's" });
    assert_eq!(attributes(Role::User, forged), (own, own_ref));
}

#[test]
fn a_sender_has_one_name_in_all_chats_and_none_where_the_platform_says_none() {
    let channel = channel(&[Accept::All], "");
    let sender_ref = |chat: &str, sender: Option<&str>| {
        let message = with(|message| {
            message.chat = ChatKey::new(chat);
            message.sender = sender.map(str::to_owned);
        });
        kept(&channel, message).sender_ref
    };
    assert!(sender_ref("C1", Some("zoe")).is_some());
    assert_eq!(sender_ref("C1", Some("zoe")), sender_ref("C2", Some("zoe")));
    assert_eq!(sender_ref("C1", None), None);
}

#[test]
fn of_a_text_that_is_too_long_the_beginning_is_kept_and_no_character_is_cut() {
    let channel = channel(&[Accept::All], "max_text = '8 B'");
    let text = |text: &str| {
        let message = kept(&channel, with(|message| message.text = text.to_owned()));
        (message.text, message.too_long)
    };
    assert_eq!(text("12345678"), ("12345678".to_owned(), false));
    assert_eq!(text("1234567é"), ("1234567".to_owned(), true));
}

#[test]
fn a_channel_that_is_off_keeps_messages_dormant() {
    let mut channel = channel(&[Accept::All], "");
    assert!(!kept(&channel, incoming()).dormant);
    channel.enabled = false;
    assert!(kept(&channel, incoming()).dormant);
}

#[test]
fn replies_are_held_as_long_as_was_asked() {
    let channel = channel(&[Accept::All], "");
    let hold = Some(Duration::from_secs(30));
    let item = to_new_message(&channel, &KEY, incoming(), NOW, hold).unwrap();
    assert!(matches!(item, NewItem::Message(message) if message.wait == hold));
}

#[test]
fn one_new_message_makes_it_accepted_and_one_known_a_duplicate() {
    let id = MessageId::generate();
    let [new, known, none] = [Accepted::New(id), Accepted::Duplicate(id), Accepted::UnknownChat];
    assert_eq!(Outcome::of(&[none, known, new]), Outcome::Accepted);
    assert_eq!(Outcome::of(&[none, known]), Outcome::Duplicate);
    assert_eq!(Outcome::of(&[none]), Outcome::Ignored);
}

#[tokio::test]
async fn events_enter_without_http_and_only_once() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(NOW));
    let store = Sqlite::open(&folder.path().join("bridge.db"), Mode::Serve, clock).await.unwrap();
    let metrics = Arc::new(Metrics::default());
    let inbox = Inbox { store: store.clone(), metrics: metrics.clone(), installation_key: KEY };
    let channel = channel(&[Accept::Mention], "");
    let message = |key: &str| {
        let key = DeliveryKey::new(key);
        Event::Message(Box::new(with(|message| message.delivery_key = key)))
    };
    let hold = Some(Duration::from_secs(30));
    let take = async |events| inbox.take(&channel, events, NOW, hold, None).await.unwrap();

    // One message: its replies are held, also when it comes again.
    let first = take(vec![message("1")]).await;
    assert_eq!(first.outcome, Outcome::Accepted);
    let again = take(vec![message("1")]).await;
    assert_eq!(again.outcome, Outcome::Duplicate);
    assert!(first.held.is_some() && again.held == first.held);

    // Several: nobody can wait for the answer to one of them.
    let both = take(vec![message("1"), message("2")]).await;
    assert_eq!((both.outcome, both.held), (Outcome::Accepted, None));

    // What doesn't count is counted, and what can't be read is kept for a person.
    let elsewhere = Event::Message(Box::new(with(|message| message.addressed = Addressed::Room)));
    let nothing = take(vec![elsewhere, Event::Ignored("typing")]).await;
    assert_eq!((nothing.outcome, nothing.held), (Outcome::Ignored, None));
    let figures = metrics.encode();
    let counted =
        |kind: &str| figures.lines().any(|line| line.contains(&format!("\"{kind}\"")) && line.ends_with(" 1"));
    assert!(counted("not_addressed") && counted("typing"), "{figures}");
    // What holds nothing to read counts only where the channel has words for it.
    let unreadable = || Event::Unreadable("hologram", Box::new(with(|message| message.text = String::new())));
    assert_eq!(take(vec![unreadable()]).await.outcome, Outcome::Ignored);
    assert!(metrics.encode().lines().any(|line| line.contains("\"hologram\"") && line.ends_with(" 1")));
    let malformed = Malformed { delivery_key: Some(DeliveryKey::new("3")), ..Malformed::new("no text") };
    let failed = take(vec![message("4"), Event::Malformed(malformed)]).await;
    assert_eq!(failed.outcome, Outcome::KeptAsFailed);

    let mut telling = self::channel(&[Accept::Mention], "");
    telling.replies.unreadable_text = "Please write it down.".to_owned();
    let key = |message: &mut Incoming| message.delivery_key = DeliveryKey::new("5");
    let unreadable = Event::Unreadable("hologram", Box::new(with(key)));
    let told = inbox.take(&telling, vec![unreadable], NOW, None, None).await.unwrap();
    assert_eq!(told.outcome, Outcome::Accepted);

    let listed = store.list(&Filter { limit: 10, ..Filter::default() }).await.unwrap();
    let mut states: Vec<_> = listed.iter().map(|found| found.state.as_str()).collect();
    states.sort_unstable();
    assert_eq!(states, ["failed", "received", "received", "received", "received"]);
}
