//! `fini-bridge sandbox`, the real binary: over its page's HTTP interface, and in a real headless Chromium.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use support::senders::{self, BRIDGE_SECRET};
use support::{Process, SOON, eventually};

/// Stands in each internal note of the simulator.
const NOTE: &str = "INTERNAL NOTE";

struct Sandbox {
    child: Child,
    url: String,
    /// What the start printed.
    printed: Vec<String>,
    folder: tempfile::TempDir,
}

impl Sandbox {
    /// In an empty folder, with an environment that would lead astray whoever listened to it.
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_fini-bridge"))
            .args(["sandbox", "--port", "0"])
            .args(arguments)
            .env_clear()
            .env("TMPDIR", folder.path())
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .env("FINI_BRIDGE__FINI__BASE_URL", "http://127.0.0.1:1")
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut sandbox = Self { child, url: String::new(), printed: Vec::new(), folder };
        for line in BufReader::new(sandbox.child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            if let Some(url) = line.strip_prefix("Open ") {
                url.clone_into(&mut sandbox.url);
                return sandbox;
            }
            sandbox.printed.push(line);
        }
        panic!("no address, but: {:?}", sandbox.printed)
    }

    async fn say(&self, chat: &str, text: &str) {
        let url = format!("{}/api/chats/{chat}/messages", self.url);
        let answer = http().post(url).json(&json!({ "text": text })).send().await.unwrap();
        assert_eq!(answer.status(), 202);
    }

    /// What the page's server tells a browser, until `enough`.
    async fn told(&self, chat: &str, enough: impl Fn(&str) -> bool) -> String {
        let url = format!("{}/api/chats/{chat}/events", self.url);
        let mut stream = http().get(url).send().await.unwrap();
        let mut told = String::new();
        let read = async {
            while !enough(&told) {
                told.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
            }
        };
        assert!(tokio::time::timeout(SOON, read).await.is_ok(), "not told in time: {told}");
        told
    }

    async fn interrupt(&mut self) -> i32 {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let status = eventually("the sandbox ends", SOON, async || self.child.try_wait().unwrap()).await;
        status.code().expect("it ends by itself")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

// ------------------------------------------------------------------------------------- without a browser

#[tokio::test]
async fn without_any_configuration_it_starts_at_once_and_answers() {
    let begun = Instant::now();
    let sandbox = Sandbox::start().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    sandbox.say("chat-1234", "Where is my order?").await;
    let told = sandbox.told("chat-1234", |told| told.contains("Delivered 1 message")).await;
    assert!(told.contains("This is a simulated Fini"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_gateway_runs_on_the_simulated_fini_as_the_start_prints_it() {
    let sandbox = Sandbox::start().await;
    let exports = sandbox.printed.iter().filter_map(|line| line.trim().strip_prefix("export ")?.split_once('='));
    let exports: Vec<(&str, &str)> = exports.collect();
    let bots = sandbox.printed.iter().filter(|line| line.trim().starts_with("bot_id = "));
    let channels = bots.enumerate().map(|(number, bot_id)| {
        format!("[channels.own-{number}]\nplatform = \"custom\"\n{bot_id}\nsecret = \"{BRIDGE_SECRET}\"\n")
            + "callback_url = \"http://127.0.0.1:1/\"\n"
    });
    let channels: Vec<String> = channels.collect();
    assert_eq!((exports.len(), channels.len()), (3, 2), "{:?}", sandbox.printed);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("own.toml");
    let own = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [store]\nurl = \"sqlite:{}\"\n{}",
        folder.path().join("own.db").display(),
        channels.concat()
    );
    std::fs::write(&config, own).unwrap();
    let gateway = Process::start_with(&config, "info", &exports).await;
    for number in 0..channels.len() {
        let signed = senders::bridge_message("chat-1", &format!("m-{number}"), "Where is my order?");
        let mut request = http().post(format!("http://{}/webhooks/own-{number}", gateway.address));
        for (name, value) in signed.headers {
            request = request.header(name, value);
        }
        let answer = request.header("prefer", "wait=30").body(signed.body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.unwrap().contains("This is a simulated Fini"));
    }
    assert!(!gateway.log().contains("fini.api_key"), "the sandbox's own key draws no warning:\n{}", gateway.log());
}

#[tokio::test]
async fn the_simulated_fini_listens_where_it_is_told_and_on_this_machine_only() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let sandbox = Sandbox::start_with(&["--fini", &address]).await;
    assert!(sandbox.printed.iter().any(|line| line.ends_with(&format!("=http://{address}"))), "{:?}", sandbox.printed);
    let agents = http().get(format!("http://{address}/v2/bots/public")).send().await.unwrap();
    assert_eq!(agents.status(), 401, "it is there, and asks for the key");
    for wrong in ["0.0.0.0:9999", "9999", "example.com:80"] {
        let output = support::run(&["sandbox", "--fini", wrong], Path::new("."));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && error.contains("127.0.0.1:8585"), "{error}");
    }
    let output = support::run(&["sandbox", "--port", "0", "--fini", &address], Path::new("."));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains(&address) && error.contains("--fini"), "{error}");
}

#[tokio::test]
async fn variables_that_are_meant_for_serve_are_named_as_unused() {
    let mut sandbox = Sandbox::start().await;
    assert_eq!(sandbox.interrupt().await, 0);
    let mut said = String::new();
    sandbox.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let line =
        said.lines().find(|line| line.starts_with("not used by the sandbox: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("FINI_BRIDGE__FINI__BASE_URL") && !line.contains("127.0.0.1:1"), "{line}");
}

#[tokio::test]
async fn the_page_answers_a_head_request() {
    let sandbox = Sandbox::start().await;
    for path in ["/", "/page.css", "/page.js", "/icon.svg"] {
        let answer = http().head(format!("{}{path}", sandbox.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn an_internal_note_does_not_even_reach_the_page_s_server_interface() {
    let sandbox = Sandbox::start().await;
    sandbox.say("chat-1234", "a note please").await;
    let told = sandbox.told("chat-1234", |told| told.contains("Delivered 1 message")).await;
    assert!(told.contains("finibot/internalnote") && !told.contains(NOTE), "{told}");
}

#[tokio::test]
async fn a_callback_without_the_secret_is_refused() {
    let sandbox = Sandbox::start().await;
    sandbox.say("chat-1234", "hello").await;
    let forged = json!({ "type": "message", "id": "x", "chat": "chat-1234", "text": "FORGED", "in_reply_to": [] });
    let signed = |signature: &str| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let request = http().post(format!("{}/callback", sandbox.url)).json(&forged).header("webhook-id", "x");
        request.header("webhook-timestamp", now).header("webhook-signature", signature.to_owned()).send()
    };
    assert_eq!(signed("v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=").await.unwrap().status(), 401);
    let told = sandbox.told("chat-1234", |told| told.contains("Delivered 1 message")).await;
    assert!(!told.contains("FORGED"), "{told}");
}

#[tokio::test]
async fn a_page_elsewhere_can_neither_read_nor_write() {
    let sandbox = Sandbox::start().await;
    let chat = format!("{}/api/chats/chat-1234", sandbox.url);
    let renamed = http().get(format!("{chat}/events")).header("host", "evil.example:80").send().await.unwrap();
    assert_eq!(renamed.status(), 403);
    let form = http().post(format!("{chat}/messages")).header("content-type", "text/plain").body(r#"{"text":"hi"}"#);
    assert!(form.send().await.unwrap().status().is_client_error());
    let policy = http().get(&sandbox.url).send().await.unwrap().headers()["content-security-policy"].clone();
    assert!(policy.to_str().unwrap().starts_with("default-src 'none'; script-src 'self'; "), "{policy:?}");
}

#[tokio::test]
async fn a_taken_port_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = support::run(&["sandbox", "--port", &port], Path::new("."));
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&format!("port {port} is taken")) && error.contains("--port"), "{error}");
}

#[tokio::test]
async fn an_interrupt_ends_it_cleanly_and_leaves_nothing_behind() {
    let mut sandbox = Sandbox::start().await;
    sandbox.say("chat-1234", "slow").await;
    sandbox.told("chat-1234", |told| told.contains(r#""typing":true"#)).await;
    assert!(std::fs::read_dir(sandbox.folder.path()).unwrap().count() > 0, "the store lies in the temporary folder");
    assert_eq!(sandbox.interrupt().await, 0);
    let left: Vec<_> = std::fs::read_dir(sandbox.folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

// ------------------------------------------------------------------------------------------ in a browser

/// A Chromium of its own, with nothing remembered.
struct Browser {
    client: Client,
    driver: Child,
    _profile: tempfile::TempDir,
}

/// A command of Chromium's own that WebDriver has no word for.
#[derive(Debug)]
struct DevTools(&'static str, Value);

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (reqwest::Method, Option<String>) {
        (reqwest::Method::POST, Some(json!({ "cmd": self.0, "params": self.1 }).to_string()))
    }
}

impl Browser {
    async fn open(url: &str) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver can't be started: `make check` installs it (Debian: chromium, chromium-driver)");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        std::thread::spawn(move || lines.for_each(drop));
        let port = port.expect("chromedriver says its port");
        let profile = tempfile::tempdir().unwrap();
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--window-size=1280,860".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let Value::Object(capabilities) = json!({ "goog:chromeOptions": { "args": arguments } }) else {
            unreachable!()
        };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("Chromium starts");
        let browser = Self { client, driver, _profile: profile };
        browser.client.goto(url).await.unwrap();
        browser.until("the page is connected", "return document.querySelector('[data-state=open]')").await;
        browser
    }

    /// The page's inside, which a window can't have smaller than 500 pixels.
    async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.client.issue_cmd(DevTools("Emulation.setDeviceMetricsOverride", metrics)).await.unwrap();
    }

    async fn look(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until the script gives something.
    async fn until(&self, what: &str, script: &str) -> Value {
        let found = eventually(what, SOON, async || {
            Some(self.look(script).await).filter(|found| !matches!(found, Value::Null | Value::Bool(false)))
        });
        found.await
    }

    async fn type_in(&self, keys: &str) {
        self.client.find(Locator::Id("text")).await.unwrap().send_keys(keys).await.unwrap();
    }

    /// Types a message, sends it, and waits until its last step is done.
    async fn ask(&self, text: &str) {
        let before = self.look("return document.querySelectorAll('.story').length").await.as_u64().unwrap();
        self.type_in(&format!("{text}{}", char::from(Key::Enter))).await;
        let done = format!(
            "return document.querySelectorAll('.story').length > {before}
                 && document.querySelector('.story:first-child [data-step=delivered][data-state=done]') !== null"
        );
        self.until(&format!("all steps of {text:?} are done"), &done).await;
    }

    async fn texts(&self, selector: &str) -> Vec<String> {
        let script =
            format!("return [...document.querySelectorAll({})].map((one) => one.textContent)", json!(selector));
        serde_json::from_value(self.look(&script).await).unwrap()
    }

    /// The steps of the newest message, as a person reads them.
    async fn steps(&self) -> String {
        self.look("return document.querySelector('.story').innerText").await.as_str().unwrap().to_owned()
    }

    async fn reload(&self) {
        self.client.refresh().await.unwrap();
        self.until("the chat is back", "return document.querySelector('#messages li')").await;
    }

    async fn close(self) {
        self.client.clone().close().await.unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its group: a test that failed has left the browser open.
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.driver.wait();
    }
}

async fn both() -> (Sandbox, Browser) {
    let sandbox = Sandbox::start().await;
    let browser = Browser::open(&sandbox.url).await;
    (sandbox, browser)
}

#[tokio::test]
async fn a_question_typed_in_is_answered_by_a_fini_that_says_it_is_simulated() {
    let (_sandbox, browser) = both().await;
    assert!(browser.texts(".simulated").await.concat().contains("Fini is simulated"));
    browser.ask("Where is my order?").await;
    assert_eq!(browser.texts(".user .bubble").await, ["Where is my order?"]);
    let answers = browser.texts(".fini .bubble").await;
    assert!(answers.len() == 1 && answers[0].starts_with("This is a simulated Fini"), "{answers:?}");
    let steps = browser.steps().await;
    for step in ["Sent as a signed webhook", "Verified, stored, acknowledged", "Asked Fini", "Delivered 1 message"] {
        assert!(steps.contains(step), "{step}: {steps}");
    }
    let id = "return !document.getElementById('interaction').classList.contains('none')
                  && /^[0-9a-f]{32}$/.test(document.getElementById('chat-ref').textContent)";
    browser.until("chat_ref and conversation are shown", id).await;
    browser.close().await;
}

#[tokio::test]
async fn an_internal_note_is_nowhere_in_the_page_and_the_steps_say_that_an_event_was_kept_back() {
    let (_sandbox, browser) = both().await;
    browser.ask("note").await;
    assert_eq!(browser.texts(".fini .bubble").await.len(), 1);
    let steps = browser.steps().await;
    assert!(steps.contains("1 event kept back") && steps.contains("finibot/internalnote · kept back"), "{steps}");
    assert!(!browser.client.source().await.unwrap().contains(NOTE));
    browser.reload().await;
    assert!(!browser.client.source().await.unwrap().contains(NOTE));
    browser.close().await;
}

#[tokio::test]
async fn several_messages_come_as_bubbles_in_order() {
    let (_sandbox, browser) = both().await;
    // By its button.
    browser.until("the words are offered", "return document.querySelector('[data-word=several]')").await;
    browser.client.find(Locator::Css("[data-word=several]")).await.unwrap().click().await.unwrap();
    browser.until("three bubbles", "return document.querySelectorAll('.fini .bubble').length === 3").await;
    let answers = browser.texts(".fini .bubble").await;
    for (answer, which) in answers.iter().zip(["first", "second", "third"]) {
        assert!(answer.contains(&format!("in its {which} of three")), "{answers:?}");
    }
    browser.close().await;
}

#[tokio::test]
async fn markdown_is_shown_as_bold_a_table_and_code() {
    let (_sandbox, browser) = both().await;
    browser.ask("Hello! Where is my order 1042?").await;
    browser.ask("Show me markdown, and keep the note to yourself").await;
    assert_eq!(browser.texts(".fini .bubble b").await[0], "bold");
    assert_eq!(browser.texts(".fini .bubble th").await, ["Plan", "Price", "Support"]);
    assert!(browser.texts(".fini .bubble pre code").await[0].contains("a < b && c > d"));
    let link = "return document.querySelector('.fini .bubble a').rel";
    assert_eq!(browser.look(link).await, "noopener noreferrer");
    assert!(browser.texts(".fini .bubble blockquote").await[0].contains("<b>not bold</b>"));
    browser.until("the conversation is shown", "return !document.querySelector('#interaction.none')").await;
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("sandbox.png");
    std::fs::write(picture, browser.client.screenshot().await.unwrap()).unwrap();
    browser.close().await;
}

#[tokio::test]
async fn only_the_messages_and_the_steps_scroll_never_the_whole_page() {
    let (_sandbox, browser) = both().await;
    for (width, height) in [(1280, 900), (400, 800)] {
        browser.resize(width, height).await;
        for text in ["markdown", "several", "silence", "long"] {
            browser.ask(text).await;
        }
        let sizes = "const page = document.scrollingElement;
            return [innerWidth, innerHeight, page.scrollWidth, page.scrollHeight]";
        assert_eq!(browser.look(sizes).await, json!([width, height, width, height]));
        let scrolls = "const list = document.getElementById('scroll'); return list.scrollHeight > list.clientHeight";
        assert_eq!(browser.look(scrolls).await, true, "the messages don't fit");
        let picture = format!("sandbox-{width}.png");
        let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join(picture);
        std::fs::write(picture, browser.client.screenshot().await.unwrap()).unwrap();
    }
    browser.close().await;
}

#[tokio::test]
async fn html_in_a_question_does_not_become_markup() {
    let (_sandbox, browser) = both().await;
    let html = "<img src=x onerror=\"document.title='broken in'\"><b class=injected>hi</b>";
    browser.ask(html).await;
    assert_eq!(browser.texts(".user .bubble").await, [html]);
    assert!(browser.texts(".fini .bubble").await[0].contains(html), "the answer repeats it, as text");
    assert_eq!(browser.look("return document.querySelectorAll('main img, .injected').length").await, 0);
    assert_eq!(browser.client.title().await.unwrap(), "fini-bridge sandbox");
    browser.close().await;
}

#[tokio::test]
async fn silence_shows_no_bubble_and_the_steps_say_so() {
    let (_sandbox, browser) = both().await;
    browser.ask("silence").await;
    let steps = browser.steps().await;
    assert!(steps.contains("Nothing shown: no reply") && steps.contains("finibot/no_reply · kept back"), "{steps}");
    assert_eq!(browser.texts(".fini .bubble").await.len(), 0);
    assert_eq!(browser.look("return document.getElementById('typing').hidden").await, true);
    browser.close().await;
}

#[tokio::test]
async fn a_typing_sign_shows_while_fini_thinks() {
    let (_sandbox, browser) = both().await;
    assert_eq!(browser.look("return document.getElementById('typing').hidden").await, true);
    browser.type_in(&format!("slow{}", char::from(Key::Enter))).await;
    browser.until("the typing sign", "return !document.getElementById('typing').hidden").await;
    let thinks = "return document.querySelector('.story [data-step=answered][data-state=active]')";
    browser.until("the steps say that Fini thinks", thinks).await;
    // Still there after a reload: the answer takes 20 s.
    browser.reload().await;
    browser.until("the typing sign again", "return !document.getElementById('typing').hidden").await;
    browser.close().await;
}

#[tokio::test]
async fn shift_and_enter_begin_a_new_line() {
    let (_sandbox, browser) = both().await;
    let (shift, enter, none) = (char::from(Key::Shift), char::from(Key::Enter), char::from(Key::Null));
    browser.ask(&format!("one{shift}{enter}{none}two")).await;
    assert_eq!(browser.texts(".user .bubble").await, ["one\ntwo"]);
    browser.close().await;
}

#[tokio::test]
async fn tabs_and_new_chats_are_chats_of_their_own_and_a_reload_keeps_them() {
    let (sandbox, browser) = both().await;
    browser.ask("from the first tab").await;
    let first = browser.client.window().await.unwrap();
    let second = browser.client.new_window(true).await.unwrap().handle;
    browser.client.switch_to_window(second).await.unwrap();
    browser.client.goto(&sandbox.url).await.unwrap();
    browser.until("the second tab is connected", "return document.querySelector('[data-state=open]')").await;
    browser.ask("from the second tab").await;
    assert_eq!(browser.texts(".user .bubble").await, ["from the second tab"]);
    let answers = browser.texts(".fini .bubble").await;
    assert!(answers.len() == 1 && answers[0].contains("In message 1 of this conversation"), "{answers:?}");

    browser.client.switch_to_window(first).await.unwrap();
    assert_eq!(browser.texts(".user .bubble").await, ["from the first tab"]);
    browser.reload().await;
    assert_eq!(browser.texts(".user .bubble").await, ["from the first tab"]);
    assert_eq!(browser.texts(".fini .bubble").await.len(), 1);
    assert!(browser.steps().await.contains("Delivered 1 message"));

    browser.client.find(Locator::Id("new-chat")).await.unwrap().click().await.unwrap();
    browser.ask("from a new chat").await;
    assert_eq!(browser.texts(".user .bubble").await, ["from a new chat"]);
    assert!(browser.texts(".fini .bubble").await[0].contains("In message 1 of this conversation"));
    browser.close().await;
}
