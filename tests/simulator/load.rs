//! Many calls at once.

use super::*;

/// The calls take more open files than the usual 1,024: sockets on both sides, and the simulator's second
/// handles.
const OPEN_FILES: &str = "10000";

#[test]
fn two_thousand_slow_calls_wait_at_once_without_a_thread_each() {
    let this = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -S -n {OPEN_FILES} && exec \"$0\" --ignored --exact load::two_thousand_slow_calls"),
        ])
        .arg(this)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the test above runs it, in a process of its own"]
async fn two_thousand_slow_calls() {
    const CALLS: usize = 2000;
    let fini = simulator().await;
    fini.faults().add(FaultRule::at(Endpoint::Ask, Effect::Answered, Then::Hold));
    let client = client(&fini);
    let calls: Vec<_> = (0..CALLS)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                // As a worker would: a call that never left is made again.
                loop {
                    match begin(&client, &format!("question {n}")).await {
                        Err(AskError::NotSent(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                        outcome => return outcome,
                    }
                }
            })
        })
        .collect();
    until("all calls are held", async || fini.ledger().asks().filter(|ask| !ask.stored.is_empty()).count() == CALLS)
        .await;
    assert!(threads() < 32, "{} threads", threads());
    fini.faults().clear();
    for (n, call) in calls.into_iter().enumerate() {
        let events = call.await.unwrap().unwrap();
        assert!(shown(&events)[0].ends_with(&format!("question {n}")), "an answer went to another call");
    }
    assert_eq!(fini.ledger().max_concurrent, CALLS as u64);
}
