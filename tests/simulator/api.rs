//! The API as its documents describe it, and what the simulator is asked to say.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_begins_is_found_by_our_reference_and_goes_on() {
    let fini = simulator().await;
    let client = client(&fini);
    let events = begin(&client, "Where is my order?").await.unwrap();
    assert_eq!(events.len(), 2);
    assert!(
        shown(&events)[0].starts_with("This is a simulated Fini") && shown(&events)[0].contains("Where is my order?")
    );

    let found = listed(&client, "Where is my order?").await.remove(0);
    let ids = |events: &[Event]| events.iter().map(|event| event.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&found.events), ids(&events));
    assert_eq!(client.get_conversation(&found.id).await.unwrap(), found);

    let more = ask(&client, Target::Conversation(&found.id), "And now?").await.unwrap();
    assert!(shown(&more)[0].contains("message 2"));
    assert_eq!(client.get_conversation(&found.id).await.unwrap().events.len(), 4);

    let ledger = fini.ledger();
    let asks: Vec<_> = ledger.asks().collect();
    assert_eq!((asks[0].bot_id.as_deref(), asks[0].interaction_id.as_deref()), (Some(SimulatorConfig::SUPPORT), None));
    assert_eq!((asks[1].bot_id.as_deref(), asks[1].interaction_id.as_deref()), (None, Some(found.id.as_str())));
    assert_eq!(asks[0].metadata, json!({"channel": "chat", "user_attributes": {"ref": "Where is my order?"}}));
    assert_eq!(asks[0].role.as_deref(), Some("user"));
    assert_eq!((asks[0].status, asks[0].ended.as_deref()), (Some(200), Some("answered")));
    assert_eq!((ledger.ask_calls, ledger.list_calls), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_another_role_is_stored_and_not_answered() {
    let fini = simulator().await;
    let client = client(&fini);
    for (role, word) in [(Role::Agent, "agent"), (Role::OtherBot, "otherbot")] {
        let bot = support();
        let ask =
            Ask { content: word, role, target: Target::Agent(&bot), channel: "chat", user_attributes: &Map::new() };
        let events = client.generate_answer(&ask).await.unwrap();
        assert_eq!(events.iter().map(|event| event.role.as_str()).collect::<Vec<_>>(), [word]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_are_listed_with_their_bot_ids() {
    let fini = simulator().await;
    let agents = client(&fini).list_agents().await.unwrap();
    let agents: Vec<_> = agents.iter().map(|agent| (agent.id.as_str(), agent.name.as_deref().unwrap())).collect();
    assert_eq!(agents, [(SimulatorConfig::BILLING, "Billing"), (SimulatorConfig::SUPPORT, "Support")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_malformed_question_gets_is_a_400_that_names_the_rule() {
    let fini = simulator().await;
    let bot = SimulatorConfig::SUPPORT;
    let path = "/v2/hc-interactions/events/public";
    for (body, rule) in [
        ("", "not JSON"),
        ("[]", "not an object"),
        (r#"{"botId":"b"}"#, "content"),
        (r#"{"botId":"b","content":" \n"}"#, "content"),
        (r#"{"botId":"b","content":7}"#, "content"),
        (r#"{"content":"a"}"#, "botId is required"),
        (r#"{"content":"a","botId":null,"interactionId":null}"#, "botId is required"),
        (r#"{"content":"a","botId":["b"]}"#, "botId"),
        (r#"{"content":"a","botId":"b","role":"customer"}"#, "role"),
        (r#"{"content":"a","botId":"b","metadata":[]}"#, "metadata"),
        (r#"{"content":"a","botId":"b","metadata":{"user_attributes":"x"}}"#, "user_attributes"),
    ] {
        let response = raw(&fini, reqwest::Method::POST, path, "Bearer fini_sandbox_key", body).await;
        let envelope: Value = response.json().unwrap();
        assert_eq!((response.status.as_u16(), &envelope["statusCode"]), (400, &json!(400)), "{body}");
        assert!(envelope["message"].as_str().unwrap().contains(rule), "{envelope}");
        assert_eq!(envelope["error"], "Bad Request");
    }
    assert_eq!(post(&fini, path, &json!({"content": "a", "botId": bot, "attachments": [], "new": 1})).await, 200);
    for wrong in ["/v2/other", "/v2/hc-interactions/a/b/public"] {
        let response = raw(&fini, reqwest::Method::GET, wrong, "Bearer fini_sandbox_key", "").await;
        assert_eq!(
            (response.status.as_u16(), response.json::<Value>().unwrap()["statusCode"].clone()),
            (404, json!(404))
        );
    }
    let blank = begin(&client(&fini), " ").await.unwrap_err();
    assert!(matches!(&blank, AskError::Rejected { status: 400, detail } if detail.contains("content")), "{blank:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_opens_only_its_workspace_and_its_scopes() {
    let bot = "11111111-1111-4111-8111-111111111111";
    let key = |key: &str, scopes| ApiKey { key: key.to_owned(), scopes };
    let agent = |id: &str| SimulatedAgent { id: id.to_owned(), name: "A".to_owned() };
    let mut config = SimulatorConfig::default();
    config.workspaces.push(Workspace {
        keys: vec![key("fini_read", Scopes::Read), key("fini_write", Scopes::Write)],
        agents: vec![agent(bot)],
    });
    let fini = SimulatedFini::start(config).await.unwrap();
    for header in ["", "fini_sandbox_key", "Bearer fini_wrong", "Bearer sandbox", "Basic fini_sandbox_key"] {
        let response = raw(&fini, reqwest::Method::GET, "/v2/bots/public", header, "").await;
        assert_eq!(response.status.as_u16(), 401, "{header}");
        assert_eq!(response.json::<Value>().unwrap()["error"], "Unauthorized");
    }
    let refused =
        |status| move |error: &AskError| matches!(error, AskError::Key { status: told, .. } if *told == status);
    assert!(begin(&client_with(&fini, "fini_wrong", LONG), "a").await.is_err_and(|error| refused(401)(&error)));
    assert!(begin(&client_with(&fini, "fini_read", LONG), "a").await.is_err_and(|error| refused(403)(&error)));
    let write = client_with(&fini, "fini_write", LONG);
    assert!(matches!(write.list_agents().await, Err(ReadError::Key { status: 403, .. })));
    assert!(ask(&write, Target::Agent(&BotId::new(bot)), "in the second").await.is_ok());

    let foreign = begun(&client(&fini), "in the first").await;
    let read = client_with(&fini, "fini_read", LONG);
    assert_eq!(read.get_conversation(&foreign).await, Err(ReadError::Failed { status: 500 }));
    assert_eq!(ask(&write, Target::Conversation(&foreign), "a").await, unknown(true, "fini_500"));
    assert_eq!(ask(&write, Target::Agent(&support()), "a").await, unknown(true, "fini_500"));
    assert_eq!(listed(&read, "in the first").await, []);
    assert_eq!(listed(&read, "in the second").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_id_is_a_500_and_a_strange_one_stays_in_its_path() {
    let fini = simulator().await;
    let client = client(&fini);
    for id in ["nobody", "a/../../x", "ü?#%2e", "..", ""] {
        let got = client.get_conversation(&InteractionId::new(id)).await;
        let expected = if matches!(id, ".." | "") { 400 } else { 500 };
        match got {
            Err(ReadError::Failed { status } | ReadError::Rejected { status, .. }) => {
                assert_eq!(status, expected, "{id}")
            }
            other => panic!("{id}: {other:?}"),
        }
    }
    let paths: Vec<_> = fini.ledger().calls.into_iter().map(|call| call.path).collect();
    assert!(
        paths.iter().all(|path| path.starts_with("/v2/hc-interactions/") && path.ends_with("/public")),
        "{paths:?}"
    );
    assert_eq!(paths.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_refuses_what_its_documents_refuse() {
    let fini = simulator().await;
    let day = 24 * 3600 * 1000_i64;
    for (query, rule) in [
        ("since=5&until=5", "since must be before until"),
        ("until=5", "since must be before until"),
        (&format!("since=0&until={}", 90 * day + 1), "90 days"),
        ("since=yesterday", "since"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=abc", "invalid UUID"),
        ("cursor=11111111-1111-4111-8111-111111111111", "cursor"),
        ("direction=up", "direction"),
        ("agentId=abc", "invalid UUID"),
        ("source=api,fax", "source"),
    ] {
        let path = format!("/v2/hc-interactions/public?{query}");
        let response = raw(&fini, reqwest::Method::GET, &path, "Bearer fini_sandbox_key", "").await;
        let envelope: Value = response.json().unwrap();
        assert_eq!(response.status.as_u16(), 400, "{query}");
        assert!(envelope["message"].as_str().unwrap().contains(rule), "{query}: {envelope}");
    }
    for query in [&format!("since=0&until={}", 90 * day), "source=api,slack&source=ui&channel[]=chat&limit=100"] {
        let path = format!("/v2/hc-interactions/public?{query}");
        assert_eq!(raw(&fini, reqwest::Method::GET, &path, "Bearer fini_sandbox_key", "").await.status.as_u16(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paging_meets_each_of_300_conversations_once_in_both_directions() {
    let fini = simulator().await;
    let client = client(&fini);
    let seed = |count, every_ms| Seed { count, text: "Where is my order?".to_owned(), every_ms };
    fini.change(Change { seed: Some(seed(150, 0)), ..Change::default() });
    fini.change(Change { seed: Some(seed(150, 1000)), ..Change::default() });
    let mut query = Query { limit: Some(40), ..Query::default() };
    let mut pages = Vec::new();
    loop {
        let page = client.list_conversations(&query).await.unwrap();
        query.cursor = page.next_cursor.clone();
        assert_eq!(page.has_more, page.next_cursor.is_some());
        pages.push(page);
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages[0].prev_cursor, None);
    assert_eq!(pages.len(), 8);
    let dates: Vec<_> = pages.iter().flat_map(|page| &page.conversations).map(|found| found.created_at).collect();
    assert!(dates.is_sorted_by(|newer, older| newer >= older));
    let ids: HashSet<_> = pages.iter().flat_map(|page| &page.conversations).map(|found| found.id.clone()).collect();
    assert_eq!((dates.len(), ids.len()), (300, 300));

    query.direction = Direction::Previous;
    query.cursor = pages[7].prev_cursor.clone();
    for page in pages[..7].iter().rev() {
        let back = client.list_conversations(&query).await.unwrap();
        assert_eq!(back.conversations, page.conversations);
        assert_eq!(back.has_more, back.prev_cursor.is_some());
        query.cursor = back.prev_cursor;
    }
    assert_eq!(query.cursor, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_filtered_by_agent_channel_source_and_time() {
    let fini = simulator().await;
    let client = client(&fini);
    begun(&client, "a").await;
    let count = async |query: Query| client.list_conversations(&query).await.unwrap().conversations.len();
    let text = |text: &str| vec![text.to_owned(), "slack".to_owned()];
    assert_eq!(count(Query { agent: Some(support()), ..Query::default() }).await, 1);
    assert_eq!(count(Query { agent: Some(BotId::new(SimulatorConfig::BILLING)), ..Query::default() }).await, 0);
    assert_eq!(count(Query { channel: text("chat"), ..Query::default() }).await, 1);
    assert_eq!(count(Query { channel: text("mail"), ..Query::default() }).await, 0);
    assert_eq!(count(Query { source: text("api"), ..Query::default() }).await, 1);
    assert_eq!(count(Query { source: text("ui"), ..Query::default() }).await, 0);
    let begun_at = listed(&client, "a").await[0].events[1].created_at.unwrap();
    let span = |from: u64, to: u64| Query {
        since: Some(begun_at.minus(Duration::from_secs(from))),
        until: Some(begun_at.minus(Duration::from_secs(to))),
        ..Query::default()
    };
    assert_eq!((count(span(60, 0)).await, count(span(60, 1)).await), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_list_shows_a_new_conversation_later() {
    let fini = SimulatedFini::start(SimulatorConfig { list_lag: LONG, ..SimulatorConfig::default() }).await.unwrap();
    let client = client(&fini);
    begin(&client, "a").await.unwrap();
    assert_eq!(listed(&client, "a").await, []);
    fini.change(Change { list_lag_ms: Some(100), ..Change::default() });
    until("the conversation is listed", async || !listed(&client, "a").await.is_empty()).await;
    let id = listed(&client, "a").await.remove(0).id;
    fini.change(Change { read_lag_ms: Some(60_000), ..Change::default() });
    assert_eq!(client.get_conversation(&id).await.unwrap().events, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_need_not_come_back() {
    let fini = simulator().await;
    fini.change(Change { echo_user_attributes: Some(false), ..Change::default() });
    let client = client(&fini);
    begin(&client, "a").await.unwrap();
    assert_eq!(
        client.list_conversations(&Query::default()).await.unwrap().conversations[0].user_attributes,
        Map::new()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_request_word_brings_nothing_private_or_unknown_is_shown() {
    let fini = simulator().await;
    fini.change(Change { late_answer_ms: Some(50), ..Change::default() });
    let client = client(&fini);
    for (word, _) in REQUEST_WORDS.iter().filter(|(word, _)| *word != "slow") {
        let events = begin(&client, &format!("note {word}")).await.unwrap();
        assert!(events.iter().any(|event| event.raw["message"].to_string().contains("INTERNAL NOTE")), "{word}");
        let shown = shown(&events);
        let expected = match *word {
            "several" => 3,
            "silence" | "escalate" | "debounce" | "form" => 0,
            _ => 1,
        };
        assert_eq!(shown.len(), expected, "{word}");
        assert!(shown.iter().all(|text| !text.contains("INTERNAL NOTE") && !text.contains("must not be shown")));
    }
    let escalated = listed(&client, "note escalate").await.remove(0);
    assert_eq!(escalated.status.as_deref(), Some("Escalated to Human Agent"));
    let late = listed(&client, "note debounce").await.remove(0).id;
    until("the late answer is there", async || {
        !shown(&client.get_conversation(&late).await.unwrap().events).is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tests_say_what_fini_replies() {
    let fini = simulator().await;
    let client = client(&fini);
    fini.reply_with(|question| {
        vec![EventSpec::message(&format!("{} {}", question.turn, question.content.to_uppercase()))]
    });
    fini.queue_reply(vec![EventSpec::message("queued"), EventSpec::new("agent", "message", Some("a person"))]);
    assert_eq!(shown(&begin(&client, "a").await.unwrap()), ["queued", "a person"]);
    assert_eq!(shown(&begin(&client, "b").await.unwrap()), ["1 B"]);
    let id = listed(&client, "b").await.remove(0).id;
    fini.append(id.as_str(), EventSpec::new("agent", "message", Some("later")));
    assert_eq!(shown(&client.get_conversation(&id).await.unwrap().events), ["1 B", "later"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_simulator_goes_on_with_what_a_ledger_shows() {
    let (before, after) = (simulator().await, simulator().await);
    begin(&client(&before), "note escalate").await.unwrap();
    let conversations = before.ledger().conversations;
    after.change(Change { restore: conversations.clone(), ..Change::default() });
    assert_eq!(after.ledger().conversations, conversations);
    let client = client(&after);
    let id = listed(&client, "note escalate").await.remove(0).id;
    ask(&client, Target::Conversation(&id), "and now?").await.unwrap();
    assert_eq!(after.ledger().conversations.len(), 1);
}
