use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};

use super::*;
use crate::domain::clock::ManualClock;
use crate::domain::id::{BotId, ChannelName, ChatRef, DeliveryKey, LaneId, MessageId};
use crate::domain::message::Address;
use crate::http::Http;
use crate::pipeline::channel::{Conversations, Replies};
use crate::pipeline::rate_limit::RateLimiter;
use crate::platform::{self, Common, Surroundings};
use crate::store::WorkKind;

pub const NOW: i64 = 1_790_000_000;
const DAY: u64 = 24 * 3600;

/// A channel of Slack that could not reach Slack yet, with these keys of `[conversations]`.
pub fn channel(conversations: &str) -> Channel {
    let keys = "signing_secret = 'signing-secret-0123456789'\nbot_token = 'xoxb-1'";
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(NOW)));
    let around = Surroundings { http: Http::new(&crate::http::Config::default()).unwrap(), clock };
    let config = platform::Config::Slack(toml::from_str(keys).unwrap());
    Channel {
        name: ChannelName::new("shop"),
        platform: platform::build(&config, &Common::default(), &around).map_err(|p| format!("{p:?}")).unwrap(),
        bot_id: BotId::new("bot"),
        bots: Vec::new(),
        enabled: true,
        accept: vec![Accept::Direct],
        secrets: Vec::new(),
        conversations: toml::from_str::<Conversations>(conversations).unwrap(),
        replies: Replies { failure_text: "Sorry.".to_owned(), ..Replies::default() },
        limiter: RateLimiter::unlimited(),
        keep: Duration::from_secs(30 * DAY),
        key: 0,
    }
}

/// Acknowledged a second ago.
fn message(text: &str) -> Waiting {
    Waiting {
        id: MessageId::generate(),
        delivery_key: DeliveryKey::new(text),
        received_at: Timestamp::from_secs(NOW - 1),
        sort_at: None,
        sender: Some("zoe".to_owned()),
        role: Role::User,
        text: text.to_owned(),
        too_long: false,
        dormant: false,
        user_attributes: Map::new(),
        bot_id: BotId::new("bot"),
        address: Address(json!({ "of": text })),
    }
}

fn with(text: &str, change: impl FnOnce(&mut Waiting)) -> Waiting {
    let mut message = message(text);
    change(&mut message);
    message
}

/// Of a chat in its second conversation.
fn view(waiting: Vec<Waiting>) -> LaneView {
    LaneView {
        now: Timestamp::from_secs(NOW),
        generation: 2,
        bot_id: Some(BotId::new("bot")),
        last_turn_at: Some(Timestamp::from_secs(NOW - 60)),
        turn: None,
        waiting,
    }
}

fn begun(plan: Plan) -> Turn {
    match plan {
        Plan::Ask(turn) => turn,
        other => panic!("{other:?}"),
    }
}

fn ended(plan: Plan) -> (Turn, Ending) {
    match plan {
        Plan::End(turn, ending) => (turn, ending),
        other => panic!("{other:?}"),
    }
}

fn reason(ending: &Ending) -> &str {
    match &ending.outcome {
        TurnOutcome::Answered => "",
        TurnOutcome::Expired => "expired",
        TurnOutcome::Dropped { reason } | TurnOutcome::Failed { reason, .. } | TurnOutcome::Held { reason, .. } => {
            reason
        }
    }
}

/// What becomes of two messages that wait: whether they are one question.
fn are_joined(conversations: &str, first: Waiting, second: Waiting) -> bool {
    begun(plan(view(vec![first, second]), &channel(conversations))).members.len() == 2
}

#[test]
fn what_one_person_writes_becomes_one_question() {
    let turn = begun(plan(view(vec![message("one"), message("two"), message("three")]), &channel("")));
    assert_eq!(turn.content, "one\ntwo\nthree");
    assert_eq!(turn.in_reply_to, ["one", "two", "three"].map(DeliveryKey::new));
    assert_eq!((turn.sender.as_deref(), turn.generation), (Some("zoe"), 2));
    assert_eq!(turn.address.0, json!({ "of": "three" }), "the answer goes to where the last was written");
    assert_eq!(turn.received_at, Timestamp::from_secs(NOW - 1));
}

#[test]
fn nobodys_words_are_joined_with_anybody_elses() {
    let gold = || Map::from_iter([("plan".to_owned(), json!("gold"))]);
    type Change = fn(&mut Waiting);
    let cases: [(&str, &str, Change, bool); 9] = [
        ("the same", "", |_| {}, true),
        ("another sender", "", |it| it.sender = Some("ann".to_owned()), false),
        ("nobody knows who", "", |it| it.sender = None, false),
        ("other attributes", "", |it| drop(it.user_attributes.insert("plan".to_owned(), json!("silver"))), false),
        ("no attributes", "", |it| it.user_attributes.clear(), false),
        ("a human agent", "", |it| it.role = Role::Agent, false),
        ("another bot", "", |it| it.role = Role::OtherBot, false),
        ("another agent of Fini", "", |it| it.bot_id = BotId::new("other"), false),
        ("a queue", "burst = \"queue\"", |_| {}, false),
    ];
    for (what, conversations, change, joined) in cases {
        let first = with("one", |it| it.user_attributes = gold());
        let mut second = with("two", |it| it.user_attributes = gold());
        change(&mut second);
        assert_eq!(are_joined(conversations, first, second), joined, "{what}");
    }
}

#[test]
fn a_question_has_the_attributes_of_its_own_messages_and_no_others() {
    let of = |plan: &str| Map::from_iter([("plan".to_owned(), json!(plan)), (plan.to_owned(), json!(true))]);
    let first = with("one", |it| it.user_attributes = of("gold"));
    let second = with("two", |it| it.user_attributes = of("silver"));
    let turn = begun(plan(view(vec![first, second]), &channel("")));
    assert_eq!(turn.user_attributes, of("gold"));
}

#[test]
fn what_agents_and_other_bots_write_stands_alone() {
    for role in [Role::Agent, Role::OtherBot] {
        let of_role = |text| with(text, |it| it.role = role);
        assert!(!are_joined("", of_role("one"), of_role("two")), "{role:?}");
    }
}

#[test]
fn a_question_stays_within_the_longest_text_and_fifty_messages() {
    let short = "max_text = \"7B\"";
    assert!(are_joined(short, message("one"), message("two")));
    assert!(!are_joined(short, message("one"), message("three")));
    let many = (0..60).map(|number| message(&number.to_string())).collect();
    assert_eq!(begun(plan(view(many), &channel(""))).members.len(), 50);
}

#[test]
fn a_text_that_is_too_long_fails_by_itself_and_the_user_is_told() {
    let long = with("the beginning", |it| it.too_long = true);
    let (turn, ending) = ended(plan(view(vec![long, message("next")]), &channel("")));
    assert_eq!((turn.members.len(), reason(&ending), ending.text.as_str()), (1, "too_long", "Sorry."));
    assert!(matches!(ending.outcome, TurnOutcome::Failed { detail, .. } if detail.contains("32KiB")));
    let turn = begun(plan(view(vec![message("before"), with("x", |it| it.too_long = true)]), &channel("")));
    assert_eq!(turn.members.len(), 1);
    let of_staff = with("x", |it| {
        it.too_long = true;
        it.role = Role::Agent;
    });
    assert_eq!(ended(plan(view(vec![of_staff]), &channel(""))).1.text, "", "staff is told nothing in the chat");
}

const RESET: &str = "reset_words = [\"New Chat \", \"ÄNDERN\"]\nreset_text = \"Let's begin again.\"";

#[test]
fn a_reset_word_is_one_in_any_case_and_alone() {
    for (text, is_one) in
        [("new chat", true), ("  NEW CHAT\n", true), ("ändern", true), ("new chat please", false), ("newchat", false)]
    {
        match plan(view(vec![message(text)]), &channel(RESET)) {
            Plan::End(_, ending) => {
                assert!(is_one, "{text}");
                assert_eq!((reason(&ending), ending.text.as_str()), ("reset", "Let's begin again."));
                assert_eq!(ending.new_generation, Some(3));
            }
            Plan::Ask(turn) => assert!(!is_one && turn.generation == 2, "{text}"),
            other => panic!("{other:?}"),
        }
    }
    let of_staff = with("new chat", |it| it.role = Role::Agent);
    assert_eq!(begun(plan(view(vec![of_staff]), &channel(RESET))).generation, 2);
}

#[test]
fn what_came_before_a_reset_word_still_goes_to_the_old_conversation() {
    let waiting = || vec![message("one"), message("two"), message("new chat"), message("three")];
    let turn = begun(plan(view(waiting()), &channel(RESET)));
    assert_eq!((turn.content.as_str(), turn.generation), ("one\ntwo", 2));
    let (turn, ending) = ended(plan(view(waiting()[2..].to_vec()), &channel(RESET)));
    assert_eq!((turn.members.len(), ending.new_generation), (1, Some(3)));
    let after = LaneView { generation: 3, ..view(waiting()[3..].to_vec()) };
    assert_eq!(begun(plan(after, &channel(RESET))).generation, 3);
}

#[test]
fn blank_messages_are_dropped_by_themselves() {
    let (turn, ending) = ended(plan(view(vec![message(" \n"), message("real")]), &channel("")));
    assert_eq!((turn.members.len(), reason(&ending), ending.text.as_str()), (1, "blank", ""));
    assert_eq!(begun(plan(view(vec![message("real"), message(" ")]), &channel(""))).members.len(), 1);
}

#[test]
fn a_person_is_told_that_nothing_could_be_read_if_the_channel_has_words_for_it() {
    let mut channel = channel("");
    channel.replies.unreadable_text = "Please write it down.".to_owned();
    let told = |message| {
        let (_, ending) = ended(plan(view(vec![message]), &channel));
        assert_eq!(reason(&ending), "blank");
        ending.text
    };
    assert_eq!(told(message("")), "Please write it down.");
    assert_eq!(told(with("", |message| message.role = Role::Agent)), "");
    let long_ago = |message: &mut Waiting| message.received_at = Timestamp::from_secs(NOW - 40 * 24 * 3600);
    assert_eq!(told(with("", long_ago)), "");
}

#[test]
fn what_waited_too_long_fails_and_takes_nothing_with_it() {
    let old = || with("old", |it| it.received_at = Timestamp::from_secs(NOW).minus(Duration::from_secs(DAY + 1)));
    let (turn, ending) = ended(plan(view(vec![old(), old(), message("new")]), &channel("")));
    assert_eq!((turn.members.len(), reason(&ending), ending.text.as_str()), (2, "gave_up", "Sorry."));
}

#[test]
fn what_nobody_could_work_on_for_long_expires_without_a_word() {
    let aged = |text: &str, days: u64| {
        with(text, |it| it.received_at = Timestamp::from_secs(NOW).minus(Duration::from_secs(days * DAY + 1)))
    };
    let (turn, ending) = ended(plan(view(vec![aged("x", 31), aged("y", 2)]), &channel("")));
    assert_eq!((turn.members.len(), reason(&ending), ending.text.as_str()), (1, "expired", ""));
    let mut dormant = aged("x", 1);
    dormant.dormant = true;
    assert_eq!(reason(&ended(plan(view(vec![dormant]), &channel(""))).1), "expired");
    let mut long = aged("x", 31);
    long.too_long = true;
    assert_eq!(reason(&ended(plan(view(vec![long]), &channel(""))).1), "expired");
    let (_, reset) = ended(plan(view(vec![aged("new chat", 31)]), &channel(RESET)));
    assert_eq!((reason(&reset), reset.text.as_str(), reset.new_generation), ("reset", "", Some(3)));
}

#[test]
fn a_message_that_may_be_a_strangers_waits_and_in_the_end_nobody_is_told_anything() {
    let unclear = |text| with(text, |it| it.address = Address(json!({ "accounts": ["T0OTHER"] })));
    assert!(matches!(plan(view(vec![unclear("whose?"), message("ours")]), &channel("")), Plan::AwaitRecipient));
    assert_eq!(begun(plan(view(vec![message("ours"), unclear("whose?")]), &channel(""))).members.len(), 1);
    let mut old = unclear("whose?");
    old.received_at = Timestamp::from_secs(NOW).minus(Duration::from_secs(DAY + 1));
    let (_, ending) = ended(plan(view(vec![old]), &channel("")));
    assert_eq!((reason(&ending), ending.text.as_str()), ("gave_up", ""));
}

#[test]
fn a_conversation_goes_on_with_the_same_agent_until_it_was_idle() {
    let idle = "idle_timeout = \"30s\"";
    assert_eq!(begun(plan(view(vec![message("x")]), &channel(""))).generation, 2);
    assert_eq!(begun(plan(view(vec![message("x")]), &channel(idle))).generation, 3);
    let other = with("x", |it| it.bot_id = BotId::new("other"));
    assert_eq!(begun(plan(view(vec![other]), &channel(""))).generation, 3);
    let first = LaneView { generation: 0, bot_id: None, last_turn_at: None, ..view(vec![message("x")]) };
    assert_eq!(begun(plan(first, &channel(""))).generation, 1);
}

#[test]
fn nothing_is_due_before_the_merge_window_has_passed() {
    assert!(matches!(plan(view(vec![]), &channel("")), Plan::Idle));
    assert!(matches!(plan(view(vec![message("x")]), &channel("merge_window = \"2s\"")), Plan::Idle));
    begun(plan(view(vec![message("x")]), &channel("merge_window = \"1s\"")));
}

#[test]
fn what_the_platform_does_not_order_is_sorted_by_its_time() {
    let at = |text: &str, second| with(text, |it| it.sort_at = Some(Timestamp::from_secs(second)));
    let turn = begun(plan(view(vec![at("two", 2), at("one", 1), at("two too", 2)]), &channel("")));
    assert_eq!(turn.content, "one\ntwo\ntwo too");
    let unsorted = vec![at("two", 2), message("now"), at("one", 1)];
    assert_eq!(begun(plan(view(unsorted), &channel(""))).content, "two\nnow\none");
}

#[test]
fn a_turn_that_was_begun_comes_before_what_waits() {
    let turn = |state, age| Turn {
        id: TurnId::generate(),
        generation: 2,
        bot_id: BotId::new("bot"),
        role: Role::User,
        content: "begun".to_owned(),
        user_attributes: Map::new(),
        address: Address(json!({})),
        members: Vec::new(),
        in_reply_to: Vec::new(),
        sender: None,
        received_at: Timestamp::from_secs(NOW).minus(Duration::from_secs(age)),
        state,
        asked: 1,
        dormant: false,
    };
    let since = Timestamp::from_secs(NOW - 5);
    let with = |turn| LaneView { turn: Some(turn), ..view(vec![message("waits")]) };
    let channel = channel("");
    assert!(matches!(plan(with(turn(TurnState::Open, 9)), &channel), Plan::Ask(_)));
    let ends_as = |age| match plan(with(turn(TurnState::Open, age)), &channel) {
        Plan::End(_, ending) => reason(&ending).to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!((ends_as(DAY + 1).as_str(), ends_as(31 * DAY + 1).as_str()), ("gave_up", "expired"));
    assert!(matches!(plan(with(turn(TurnState::Asking { since }, DAY + 1)), &channel), Plan::Reconcile(_)));
    let unknown = TurnState::Unknown { asked_at: since, since, answered: false, looks: 3 };
    assert!(matches!(plan(with(turn(unknown, 9)), &channel), Plan::Reconcile(_)));
}

#[test]
fn each_limit_has_its_reason() {
    for (limit, expected) in
        [(Limit::Chat, "max_turns"), (Limit::Sender, "max_turns_per_sender"), (Limit::Channel, "max_turns_per_channel")]
    {
        let ending = Ending::beyond(limit);
        assert_eq!((reason(&ending), ending.text.as_str()), (expected, ""));
    }
}

#[test]
fn a_chat_that_was_forgotten_has_another_reference_than_before() {
    let lease = |lane| Lease {
        lane: LaneId(lane),
        work: WorkKind::Turns,
        fence: 1,
        channel: ChannelName::new("shop"),
        chat_ref: ChatRef::new("ref"),
    };
    let reference = |lane, generation| reference(&[7; 32], &lease(lane), generation);
    assert_eq!(reference(1, 1), reference(1, 1));
    assert_ne!(reference(1, 1), reference(2, 1));
    assert_ne!(reference(1, 1), reference(1, 2));
    assert_ne!(reference(1, 11), reference(11, 1));
}
