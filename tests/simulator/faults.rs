//! What goes wrong on purpose, and what the client makes of it.

use super::*;

/// What a fault makes of an ask, and how many questions and answers Fini has stored then.
async fn outcome(effect: Effect, then: Then, timeout: Duration) -> (Result<usize, AskError>, usize, usize) {
    let fini = simulator().await;
    fini.faults().add(FaultRule::at(Endpoint::Ask, effect, then).containing("refund").times(1));
    let client = client_with(&fini, SimulatorConfig::KEY, timeout);
    assert!(begin(&client, "hello").await.is_ok());
    let outcome = begin(&client, "my refund").await.map(|events| events.len());
    let ledger = fini.ledger();
    // Nothing on the way sends a question a second time.
    assert_eq!(ledger.ask_calls, 2);
    let call = ledger.calls.last().unwrap();
    let counts = (call.stored.len(), call.answered.len());
    assert_eq!(shown(&begin(&client_with(&fini, SimulatorConfig::KEY, LONG), "my refund").await.unwrap()).len(), 1);
    fini.stop().await;
    (outcome, counts.0, counts.1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_status_tells_what_can_be_done_and_what_has_happened() {
    use Effect::{Answered, Nothing, Stored};
    let status = |status| Then::Status { status, retry_after: None };
    let detail = || "simulated fault".to_owned();
    let fails = |status| Err(AskError::Rejected { status, detail: detail() });
    assert_eq!(outcome(Nothing, status(400), LONG).await, (fails(400), 0, 0));
    for key in [401, 403] {
        assert_eq!(
            outcome(Nothing, status(key), LONG).await,
            (Err(AskError::Key { status: key, detail: detail() }), 0, 0)
        );
    }
    let throttled = |seconds: Option<u64>| Err(AskError::Throttled { retry_after: seconds.map(Duration::from_secs) });
    for retry_after in [None, Some(7)] {
        let then = Then::Status { status: 429, retry_after };
        assert_eq!(outcome(Nothing, then, LONG).await, (throttled(retry_after), 0, 0));
    }
    for (effect, stored, answered) in [(Nothing, 0, 0), (Stored, 1, 0), (Answered, 1, 1)] {
        assert_eq!(outcome(effect, status(500), LONG).await, (unknown(true, "fini_500"), stored, answered));
        let html = Then::Html { status: 502 };
        assert_eq!(outcome(effect, html, LONG).await, (unknown(false, "fini_502"), stored, answered));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_cut_or_hangs_has_an_unknown_outcome() {
    use Effect::{Answered, Nothing, Stored};
    for (effect, stored, answered) in [(Nothing, 0, 0), (Stored, 1, 0), (Answered, 1, 1)] {
        let lost = unknown(false, "the connection was lost");
        assert_eq!(outcome(effect, Then::Cut, LONG).await, (lost, stored, answered));
        assert_eq!(outcome(effect, Then::Hang, SHORT).await, (unknown(false, "timed out"), stored, answered));
    }
    let broke_off = unknown(false, "the answer broke off");
    assert_eq!(outcome(Answered, Then::CutMidway, LONG).await, (broke_off, 1, 1));
    assert_eq!(outcome(Answered, Then::Truncated, LONG).await, (unknown(true, "unreadable"), 1, 1));
    assert_eq!(outcome(Answered, Then::SlowBody { over_ms: 300 }, LONG).await, (Ok(2), 1, 1));
    let slow = Then::SlowBody { over_ms: 60_000 };
    assert_eq!(outcome(Answered, slow, SHORT).await, (unknown(false, "timed out"), 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_before_the_body_is_read_is_not_sent_again() {
    let fini = simulator().await;
    fini.faults().add(FaultRule::at(Endpoint::Ask, Effect::Nothing, Then::CutUnread).times(1));
    let outcome = begin(&client(&fini), "a").await;
    assert_eq!(outcome, unknown(false, "the connection was lost"));
    let ledger = fini.ledger();
    assert_eq!((ledger.ask_calls, ledger.calls[0].content.as_deref()), (1, None));
    assert_eq!((ledger.calls[0].status, ledger.calls[0].ended.as_deref()), (None, Some("cut")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fini_may_store_a_question_after_its_caller_hung_up() {
    let fini = simulator().await;
    fini.faults().add(FaultRule::at(Endpoint::Ask, Effect::Answered, Then::AfterHangUp { after_ms: 1000 }).times(1));
    let client = client_with(&fini, SimulatorConfig::KEY, SHORT);
    assert_eq!(begin(&client, "a").await, unknown(false, "timed out"));
    assert_eq!(fini.ledger().stored("a"), 0);
    until("the question is stored and answered", async || fini.ledger().calls[0].answered.len() == 1).await;
    assert_eq!(fini.ledger().calls[0].ended.as_deref(), Some("caller left"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_answer_comes_when_the_faults_are_cleared() {
    let fini = simulator().await;
    fini.faults().add(FaultRule::at(Endpoint::Ask, Effect::Answered, Then::Hold));
    let client = client(&fini);
    let asking = tokio::spawn({
        let client = client.clone();
        async move { begin(&client, "a").await }
    });
    until("the question is stored", async || fini.ledger().stored("a") == 1).await;
    assert!(!asking.is_finished());
    let id = listed(&client, "a").await.remove(0).id;
    let second = tokio::spawn({
        let (client, id) = (client.clone(), id.clone());
        async move { ask(&client, Target::Conversation(&id), "b").await }
    });
    until("two asks run in one conversation", async || fini.ledger().overlaps == 1).await;
    fini.faults().clear();
    assert_eq!(shown(&asking.await.unwrap().unwrap()).len(), 1);
    assert_eq!(shown(&second.await.unwrap().unwrap()).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_fail_as_asks_do() {
    let fini = simulator().await;
    let client = client(&fini);
    let id = begun(&client, "a").await;
    let add = |at, then| fini.faults().add(FaultRule::at(at, Effect::Nothing, then).times(1));
    add(Endpoint::List, Then::Status { status: 500, retry_after: None });
    add(Endpoint::List, Then::Status { status: 429, retry_after: Some(3) });
    add(Endpoint::List, Then::Html { status: 503 });
    add(Endpoint::List, Then::Cut);
    add(Endpoint::List, Then::Truncated);
    let list = async || client.list_conversations(&Query::default()).await.map(|page| page.conversations.len());
    let no_answer = |reason: &str| ReadError::NoAnswer(reason.to_owned());
    assert_eq!(list().await, Err(ReadError::Failed { status: 500 }));
    assert_eq!(list().await, Err(ReadError::Throttled { retry_after: Some(Duration::from_secs(3)) }));
    assert_eq!(list().await, Err(no_answer("fini_503")));
    assert_eq!(list().await, Err(no_answer("the connection was lost")));
    assert_eq!(list().await, Err(no_answer("unreadable")));
    assert_eq!(list().await, Ok(1));
    add(Endpoint::Get, Then::Status { status: 429, retry_after: None });
    assert_eq!(client.get_conversation(&id).await, Err(ReadError::Throttled { retry_after: None }));
    add(Endpoint::Agents, Then::Status { status: 401, retry_after: None });
    assert!(matches!(client.list_agents().await, Err(ReadError::Key { status: 401, .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vanished_conversation_is_neither_listed_nor_found_nor_continued() {
    let fini = simulator().await;
    let client = client(&fini);
    let id = begun(&client, "a").await;
    fini.vanish(id.as_str());
    assert_eq!(listed(&client, "a").await, []);
    assert_eq!(client.get_conversation(&id).await, Err(ReadError::Failed { status: 500 }));
    assert_eq!(ask(&client, Target::Conversation(&id), "b").await, unknown(true, "fini_500"));
    assert_eq!(fini.ledger().conversation(id.as_str()).unwrap()["vanished"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fini_that_is_away_was_not_reached_and_remembers_when_it_is_back() {
    let fini = simulator().await;
    let id = begun(&client(&fini), "a").await;
    fini.stop().await;
    // A client that kept a connection may use it before it sees that it is closed: for it, the outcome is unknown.
    let client = client(&fini);
    assert_eq!(begin(&client, "b").await, Err(AskError::NotSent("no connection")));
    assert_eq!(client.list_agents().await, Err(ReadError::NoAnswer("no connection".to_owned())));
    fini.resume().unwrap();
    assert_eq!(ask(&client, Target::Conversation(&id), "c").await.map(|events| events.len()), Ok(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_steers_it_and_reads_its_ledger_over_http() {
    let fini = simulator().await;
    let client = client(&fini);
    let rules = json!([
        {"at": "ask", "contains": "x", "times": 1, "effect": "stored", "then": {"kind": "status", "status": 500}},
        {"at": "any", "skip": 1, "times": 1, "then": {"kind": "html", "status": 502}}
    ]);
    assert_eq!(post(&fini, "/__simulator/faults", &rules).await, 204);
    assert_eq!(post(&fini, "/__simulator/faults", &json!({"at": "nowhere"})).await, 400);
    let change = json!({"replies": [[{"role": "finibot", "type": "message", "message": "queued"}]],
                        "seed": {"count": 3, "text": "s"}, "answer_delay_ms": 1});
    assert_eq!(post(&fini, "/__simulator/config", &change).await, 204);
    assert_eq!(post(&fini, "/__simulator/config", &json!({"answer_delay": 1})).await, 400);
    assert_eq!(begin(&client, "x").await, unknown(true, "fini_500"));
    assert_eq!(shown(&begin(&client, "y").await.unwrap()), ["queued"]);
    assert_eq!(begin(&client, "z").await, unknown(false, "fini_502"));
    let response = raw(&fini, reqwest::Method::GET, "/__simulator/ledger", "", "").await;
    let ledger: Value = response.json().unwrap();
    assert_eq!(ledger["conversations"].as_array().unwrap().len(), 3 + 3);
    assert_eq!((&ledger["askCalls"], &ledger["calls"][0]["status"]), (&json!(3), &json!(500)));
    assert_eq!(ledger["calls"][0]["fault"]["then"]["kind"], "status");
    assert_eq!(raw(&fini, reqwest::Method::DELETE, "/__simulator/faults", "", "").await.status.as_u16(), 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods)] // what a browser would send
async fn a_page_of_another_site_neither_reads_nor_steers_it() {
    let fini = simulator().await;
    let http = reqwest::Client::new();
    let sends = async |path: &str, method: reqwest::Method, headers: &[(&str, &str)]| {
        let request = http.request(method, format!("{}{path}", fini.url())).body("{}");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap().status().as_u16()
    };
    let config = "/__simulator/config";
    let json = ("content-type", "application/json");
    assert_eq!(sends(config, reqwest::Method::POST, &[json]).await, 204);
    assert_eq!(sends(config, reqwest::Method::POST, &[json, ("origin", &fini.url())]).await, 204);
    for wrong in ["text/plain", "application/x-www-form-urlencoded", "text/plain; x=application/json"] {
        assert_eq!(sends(config, reqwest::Method::POST, &[("content-type", wrong)]).await, 415, "{wrong}");
    }
    assert_eq!(sends(config, reqwest::Method::POST, &[]).await, 415, "a page may leave it out");
    for origin in ["null", "http://evil.example"] {
        assert_eq!(sends(config, reqwest::Method::POST, &[json, ("origin", origin)]).await, 403, "{origin}");
        let faults = "/__simulator/faults";
        assert_eq!(sends(faults, reqwest::Method::DELETE, &[("origin", origin)]).await, 403, "{origin}");
    }
    for path in ["/__simulator/ledger", "/v2/agents/public"] {
        assert_eq!(sends(path, reqwest::Method::GET, &[("host", "evil.example")]).await, 403, "{path}");
    }
}
