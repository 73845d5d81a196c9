//! What each refusal of a platform's means for the part and for the channel: the platforms' own words and codes.

use fini_bridge::domain::message::{Address, Receipt};
use fini_bridge::platform::SendError;
use serde_json::json;

use super::stub::{Answer, Stub};
use super::{Case, always, send, send_to, slack, telegram, whatsapp};

/// What the gateway does after it.
fn meaning(sent: &Result<Receipt, SendError>) -> String {
    match sent {
        Ok(_) => "sent".to_owned(),
        Err(SendError::Permanent { reason }) => format!("failed {reason}"),
        Err(SendError::Credential { .. }) => "held".to_owned(),
        Err(SendError::Retry { .. } | SendError::Throttled { .. }) => "again".to_owned(),
        Err(SendError::Unknown { .. }) => "unknown".to_owned(),
        Err(SendError::Moved { .. }) => "moved".to_owned(),
    }
}

async fn outcome(case: &Case, answer: Answer) -> String {
    let stub = always(answer);
    meaning(&send(case, &*case.connector(&[case.secret], &stub.url), "Hello").await)
}

fn all_hold(platform: &str, wrong: Vec<String>, all: usize) {
    println!("{platform}: {} of {all} judged right", all - wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn each_error_word_of_slacks_ends_as_it_should() {
    let case = slack::case();
    let table = [
        (
            "failed",
            "channel_not_found is_archived not_in_channel restricted_action restricted_action_read_only_channel \
             restricted_action_thread_only_channel restricted_action_non_threadable_channel \
             restricted_action_thread_locked msg_too_long no_text invalid_blocks user_not_found messages_tab_disabled \
             cannot_reply_to_message thread_not_found too_many_attachments metadata_too_large deprecated_endpoint \
             a_new_word",
        ),
        (
            "held",
            "team_access_not_granted two_factor_setup_required enterprise_is_restricted invalid_auth not_authed \
             token_revoked token_expired account_inactive missing_scope org_login_required accesslimited \
             not_allowed_token_type",
        ),
        (
            "again",
            "external_channel_migrating ratelimited rate_limited message_limit_exceeded service_unavailable \
             request_timeout team_added_to_org",
        ),
        ("unknown", "internal_error fatal_error"),
    ];
    let (mut wrong, mut all) = (Vec::new(), 0);
    for (expected, words) in table {
        for word in words.split_whitespace() {
            all += 1;
            let got = outcome(&case, Answer::json(200, json!({ "ok": false, "error": word }))).await;
            let expected = if expected == "failed" { format!("failed slack_{word}") } else { expected.to_owned() };
            if got != expected {
                wrong.push(format!("{word}: {got}, not {expected}"));
            }
        }
    }
    for (status, body, expected) in [(500, "{}", "again"), (503, "{}", "again"), (200, "<html>", "unknown")] {
        all += 1;
        let got = outcome(&case, Answer { status, headers: vec![], body: body.to_owned() }).await;
        if got != expected {
            wrong.push(format!("HTTP {status}: {got}, not {expected}"));
        }
    }
    all_hold("slack", wrong, all);
}

fn telegrams(code: u16, description: &str) -> Answer {
    Answer::json(code, json!({ "ok": false, "error_code": code, "description": description }))
}

#[tokio::test]
async fn each_error_of_telegrams_ends_as_it_should() {
    let case = telegram::case();
    let bad = |words: &str| format!("Bad Request: {words}");
    let table = [
        (400, bad("chat not found"), "failed telegram_chat_not_found"),
        (400, bad("message is too long"), "failed telegram_too_long"),
        (400, bad("message text is empty"), "failed telegram_empty"),
        (400, bad("message thread not found"), "failed telegram_topic_not_found"),
        (400, bad("not enough rights to send text messages to the chat"), "failed telegram_no_rights"),
        (400, bad("have no rights to send a message"), "failed telegram_no_rights"),
        (400, bad("need administrator rights in the channel chat"), "failed telegram_no_rights"),
        (400, bad("CHAT_WRITE_FORBIDDEN"), "failed telegram_no_rights"),
        (400, bad("CHAT_RESTRICTED"), "failed telegram_no_rights"),
        (400, bad("TOPIC_CLOSED"), "failed telegram_topic_closed"),
        (400, bad("TOPIC_DELETED"), "failed telegram_topic_not_found"),
        (400, bad("PEER_ID_INVALID"), "failed telegram_chat_not_found"),
        (400, bad("USER_IS_BLOCKED"), "failed telegram_user_is_blocked"),
        (400, bad("something new"), "failed telegram_400"),
        (403, "Forbidden: bot was blocked by the user".to_owned(), "failed telegram_403"),
        (403, "Forbidden: user is deactivated".to_owned(), "failed telegram_403"),
        (403, "Forbidden: bot was kicked from the group chat".to_owned(), "failed telegram_403"),
        (403, "Forbidden: bot is not a member of the channel chat".to_owned(), "failed telegram_403"),
        (403, "Forbidden: bot can't initiate conversation with a user".to_owned(), "failed telegram_403"),
        (403, "Forbidden: the group chat was deleted".to_owned(), "failed telegram_403"),
        (403, "Forbidden: PRIVACY_PREMIUM_REQUIRED".to_owned(), "failed telegram_403"),
        (429, "Too Many Requests".to_owned(), "again"),
        (401, "Unauthorized".to_owned(), "held"),
        (404, "Not Found".to_owned(), "held"),
        (500, "Internal Server Error".to_owned(), "again"),
        (502, "Bad Gateway".to_owned(), "again"),
    ];
    let mut wrong = Vec::new();
    for (code, description, expected) in &table {
        let got = outcome(&case, telegrams(*code, description)).await;
        if got != *expected {
            wrong.push(format!("{code} {description}: {got}, not {expected}"));
        }
    }
    all_hold("telegram", wrong, table.len());
}

#[tokio::test]
async fn whatever_telegram_dislikes_about_markup_goes_out_as_plain_text() {
    let case = telegram::case();
    let mut wrong = Vec::new();
    for words in [
        "can't parse entities: Unsupported start tag",
        "ENTITY_TEXTURL_INVALID",
        "ENTITIES_TOO_LONG",
        "ENTITY_BOUNDS_INVALID",
        "unsupported parse_mode",
    ] {
        let stub = Stub::answering(move |request| match request.json().get("parse_mode") {
            Some(_) => telegrams(400, &format!("Bad Request: {words}")),
            None => Answer::json(200, json!({ "ok": true, "result": { "message_id": 1 } })),
        });
        let sent = meaning(&send(&case, &*case.connector(&[case.secret], &stub.url), "Hello").await);
        if sent != "sent" || stub.seen().len() != 2 {
            wrong.push(format!("{words}: {sent}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test]
async fn a_topic_that_a_private_chat_does_not_have_is_left_out_and_a_groups_is_not() {
    let case = telegram::case();
    let stub = Stub::answering(|request| match request.json().get("message_thread_id") {
        Some(_) => telegrams(400, "Bad Request: message thread not found"),
        None => Answer::json(200, json!({ "ok": true, "result": { "message_id": 1 } })),
    });
    let connector = case.connector(&[case.secret], &stub.url);
    let to = |chat: i64| Address(json!({ "chat_id": chat, "message_thread_id": 77 }));
    assert_eq!(meaning(&send_to(&*connector, &to(7_700_112_233), "Hello").await), "sent");
    let group = meaning(&send_to(&*connector, &to(-1_001_987_654_321), "Hello").await);
    assert_eq!(group, "failed telegram_topic_not_found");
}

#[tokio::test]
async fn each_code_of_metas_ends_as_it_should() {
    let case = whatsapp::case();
    let failed = [
        131_047, 131_026, 131_030, 131_048, 131_049, 131_050, 131_064, 130_472, 131_008, 131_009, 131_021, 131_051,
        131_053, 131_062, 132_000, 132_001, 132_015, 135_000, 100,
    ];
    let held =
        [190, 0, 3, 200, 299, 368, 131_031, 131_037, 131_042, 131_045, 130_497, 131_005, 133_010, 33, 133_005, 133_006];
    let again = [131_056, 130_429, 80_007, 4, 613, 131_000, 131_016, 131_057, 133_004];
    let answer = |status: u16, code: i64| Answer::json(status, json!({ "error": { "code": code, "message": "x" } }));
    let (mut wrong, mut all) = (Vec::new(), 0);
    for (codes, expected) in [(&failed[..], "failed"), (&held[..], "held"), (&again[..], "again")] {
        for code in codes {
            for status in [400, 403] {
                all += 1;
                let got = outcome(&case, answer(status, *code)).await;
                let expected =
                    if expected == "failed" { format!("failed whatsapp_{code}") } else { expected.to_owned() };
                if got != expected {
                    wrong.push(format!("{code} with HTTP {status}: {got}, not {expected}"));
                }
            }
        }
    }
    for (status, code) in [(500, 999_999), (503, 999_999)] {
        all += 1;
        let got = outcome(&case, answer(status, code)).await;
        if got != "again" {
            wrong.push(format!("HTTP {status}: {got}"));
        }
    }
    all_hold("whatsapp", wrong, all);
}
