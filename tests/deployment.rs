//! The samples of `config/deploy` and the Dockerfile: they are what they say, their numbers fit together, and the
//! gateway accepts the configuration in them. That the load balancers' work is for `load_balancer.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fini_bridge::app::settings::{Environment, Settings, load};
use fini_bridge::domain::clock::SystemClock;
use fini_bridge::web::Server;
use support::senders::CHANNELS;
use support::{SOON, World, eventually};
use yaml_rust2::{Yaml, YamlLoader};

/// The longest that `Prefer: wait` holds an answer.
const LONGEST_WAIT: Duration = Duration::from_secs(55);
/// To close what is open, after the drain.
const CLOSING: Duration = Duration::from_secs(10);

fn read(name: &str) -> String {
    std::fs::read_to_string(name).unwrap()
}

fn yaml(name: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&read(&format!("config/deploy/{name}"))).unwrap()
}

/// The value of the first line that begins like this.
fn after<'t>(text: &'t str, words: &str) -> &'t str {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(words));
    line.unwrap_or_else(|| panic!("no line begins with {words}")).trim().trim_end_matches(';')
}

fn span(text: &str) -> Duration {
    humantime::parse_duration(text).unwrap()
}

/// What the gateway makes of it.
fn settings(toml: &Path, environment: &[(&str, &str)]) -> Settings {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment: Environment = environment.iter().map(owned).collect();
    match load(toml, &environment, Arc::new(SystemClock)) {
        Ok(loaded) => loaded.settings,
        Err(problems) => panic!("{problems}"),
    }
}

fn ends_within(server: &Server) -> Duration {
    server.lame_duck.0 + server.drain_timeout.0 + CLOSING
}

#[test]
fn kubernetes_gives_the_drain_its_time_and_asks_the_right_questions() {
    let documents = yaml("kubernetes.yaml");
    let of_kind = |kind: &str| documents.iter().find(|document| document["kind"].as_str() == Some(kind)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let toml = folder.path().join("fini-bridge.toml");
    std::fs::write(&toml, of_kind("ConfigMap")["data"]["fini-bridge.toml"].as_str().unwrap()).unwrap();
    let settings = settings(
        &toml,
        &[
            ("FINI_API_KEY", "key"),
            ("STORE_URL", "sqlite:any.db"),
            ("SLACK_SIGNING_SECRET", "8f742231b10e8888abcd99yyyzzz85a5"),
            ("SLACK_BOT_TOKEN", "xoxb-token"),
        ],
    );
    let deployment = of_kind("Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let grace = u64::try_from(pod["terminationGracePeriodSeconds"].as_i64().unwrap()).unwrap();
    assert!(Duration::from_secs(grace) >= ends_within(&settings.server));
    let container = &pod["containers"][0];
    assert_eq!(container["readinessProbe"]["httpGet"]["path"].as_str(), Some("/readyz"));
    assert_eq!(container["livenessProbe"]["httpGet"]["path"].as_str(), Some("/livez"));
    let ready = &container["readinessProbe"];
    let noticed = ready["periodSeconds"].as_i64().unwrap() * ready["failureThreshold"].as_i64().unwrap();
    assert!(settings.server.lame_duck.0 > Duration::from_secs(u64::try_from(noticed).unwrap()));
    let ports: Vec<i64> =
        container["ports"].as_vec().unwrap().iter().map(|port| port["containerPort"].as_i64().unwrap()).collect();
    for (listen, port) in [(&settings.server.listen, ports[0]), (&settings.metrics.listen, ports[1])] {
        assert!(listen.ends_with(&format!(":{port}")));
    }
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for selector in [
        &deployment["spec"]["selector"]["matchLabels"],
        &of_kind("Service")["spec"]["selector"],
        &of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
}

#[test]
fn composes_replicas_are_haproxys_and_believe_it() {
    let compose = &yaml("docker-compose.yaml")[0];
    let haproxy = read("config/deploy/haproxy.cfg");
    let servers = haproxy.lines().filter_map(|line| line.trim().strip_prefix("server bridge-")).count();
    let folder = tempfile::tempdir().unwrap();
    let toml = folder.path().join("fini-bridge.toml");
    std::fs::copy("config/fini-bridge.toml", &toml).unwrap();
    let services = compose["services"].as_hash().unwrap();
    let replicas: Vec<&str> =
        services.keys().filter_map(Yaml::as_str).filter(|name| name.starts_with("bridge")).collect();
    assert_eq!(replicas.len(), servers);
    for name in replicas {
        assert!(haproxy.contains(&format!("server {name} {name}:8080")));
        let service = &compose["services"][name];
        let mut environment = vec![("FINI_API_KEY", "key")];
        for (key, value) in service["environment"].as_hash().unwrap() {
            environment.push((key.as_str().unwrap(), value.as_str().unwrap()));
        }
        assert!(environment.iter().any(|(key, value)| *key == "STORE_URL" && value.starts_with("postgres://")));
        environment.retain(|(key, _)| *key != "STORE_URL");
        environment.push(("STORE_URL", "sqlite:any.db"));
        let settings = settings(&toml, &environment);
        assert!(span(service["stop_grace_period"].as_str().unwrap()) >= ends_within(&settings.server));
        let subnet = compose["networks"]["default"]["ipam"]["config"][0]["subnet"].as_str().unwrap();
        assert_eq!(settings.server.trusted_proxies, [subnet]);
    }
    let alone = &yaml("docker-compose.sqlite.yaml")[0]["services"]["bridge"];
    assert!(span(alone["stop_grace_period"].as_str().unwrap()) >= ends_within(&Server::default()));
    assert!(alone["volumes"].as_vec().unwrap().iter().any(|volume| volume.as_str().unwrap().ends_with(":/data")));
}

#[test]
fn load_balancers_wait_longer_than_callers_and_idle_shorter_than_the_gateway() {
    let server = Server::default();
    let haproxy = read("config/deploy/haproxy.cfg");
    let nginx = read("config/deploy/nginx.conf");
    for wait in [
        after(&haproxy, "timeout server"),
        after(&haproxy, "timeout client"),
        after(nginx.split_once("location @waiting").unwrap().1, "proxy_read_timeout"),
    ] {
        assert!(span(wait) > LONGEST_WAIT, "{wait}");
    }
    for idle in [after(&haproxy, "timeout http-keep-alive"), after(&nginx, "keepalive_timeout")] {
        assert!(span(idle) < server.keep_alive.0, "{idle}");
    }
    let checks: Vec<&str> = after(&haproxy, "default-server").split(' ').collect();
    let word = |name: &str| checks[checks.iter().position(|word| *word == name).unwrap() + 1];
    let red_after = span(word("inter")) * word("fall").parse().unwrap() + Duration::from_secs(1);
    assert!(red_after < server.lame_duck.0, "{red_after:?}");
    let largest: usize = after(&nginx, "client_max_body_size").trim_end_matches('m').parse().unwrap();
    assert!(largest << 20 > server.max_body.0);
}

#[test]
fn the_samples_bound_memory_write_no_core_dumps_and_believe_no_whole_cluster() {
    let unit = read("config/deploy/fini-bridge.service");
    assert_eq!((after(&unit, "LimitCORE="), after(&unit, "MemoryMax=")), ("0", "1G"));
    let replicas = &yaml("docker-compose.yaml")[0]["services"]["bridge-1"];
    let alone = &yaml("docker-compose.sqlite.yaml")[0]["services"]["bridge"];
    for service in [replicas, alone] {
        assert_eq!(service["mem_limit"].as_str(), Some("1g"));
        assert_eq!(service["ulimits"]["core"].as_i64(), Some(0));
        assert_eq!(service["read_only"].as_bool(), Some(true));
        assert_eq!(service["cap_drop"][0].as_str(), Some("ALL"));
    }
    let kubernetes = yaml("kubernetes.yaml");
    let of_kind = |kind: &str| kubernetes.iter().find(|document| document["kind"].as_str() == Some(kind)).unwrap();
    let policy = &of_kind("NetworkPolicy")["spec"];
    assert_eq!(policy["podSelector"], of_kind("Deployment")["spec"]["selector"]);
    let ports: Vec<&str> = policy["ingress"]
        .as_vec()
        .unwrap()
        .iter()
        .map(|rule| {
            assert!(rule["from"].as_vec().is_some_and(|from| !from.is_empty()), "a port is open for everybody");
            rule["ports"][0]["port"].as_str().unwrap()
        })
        .collect();
    assert_eq!(ports, ["webhooks", "metrics"]);
    let configuration = of_kind("ConfigMap")["data"]["fini-bridge.toml"].as_str().unwrap();
    assert!(!configuration.contains("trusted_proxies") && configuration.contains("public_url"));
    let container = read("docs/container.md");
    for flag in ["--read-only", "--cap-drop ALL", "--memory 1g", "--ulimit core=0"] {
        assert!(container.contains(flag), "{flag}");
    }
}

#[test]
fn the_systemd_unit_runs_as_a_user_that_the_documents_make() {
    let unit = read("config/deploy/fini-bridge.service");
    let user = after(&unit, "User=");
    for text in [&unit, &read("docs/operations.md")] {
        let made = text.lines().find(|line| line.contains("useradd --system")).unwrap();
        assert!(made.trim_end().ends_with(&format!(" {user}")), "{made}");
    }
    // A file in /usr/local/bin is not there where the tests run; that is all that may be said against the unit.
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_fini-bridge");
    let path = folder.path().join("fini-bridge.service");
    std::fs::write(&path, unit.replace("/usr/local/bin/fini-bridge", program)).unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("fini-bridge"), "{said}");
}

#[test]
fn systemd_waits_for_the_drain() {
    let unit = read("config/deploy/fini-bridge.service");
    let seconds = after(&unit, "TimeoutStopSec=").parse().unwrap();
    assert!(Duration::from_secs(seconds) >= ends_within(&Server::default()));
}

#[test]
fn the_image_is_built_from_what_is_let_in_with_our_toolchain() {
    let dockerfile = read("Dockerfile");
    let ignore = read(".dockerignore");
    let toolchain = after(&read("rust-toolchain.toml"), "channel =").trim_matches('"').to_owned();
    assert!(dockerfile.contains(&format!("RUSTUP_TOOLCHAIN={toolchain} ")));
    assert!(dockerfile.contains(&format!("FROM rust:{}-slim", toolchain.trim_end_matches(".0"))));
    let copied =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|rest| !rest.starts_with("--"));
    for source in copied.flat_map(|rest| rest.split(' ').rev().skip(1).collect::<Vec<_>>()) {
        assert!(Path::new(source).exists(), "{source}");
        assert!(ignore.lines().any(|line| line == format!("!{source}")), "{source} is kept out");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_a_gateway_that_takes_webhooks_from_one_that_does_not() {
    let mut world = World::prepare(CHANNELS).await;
    let listen = support::fleet::free_address(40);
    let fixed = std::fs::read_to_string(world.config_path()).unwrap();
    let fixed = fixed.replace("[server]\nlisten = \"127.0.0.1:0\"", &format!("[server]\nlisten = \"{listen}\""));
    std::fs::write(world.config_path(), fixed.replace("lame_duck = \"0s\"", "lame_duck = \"5s\"")).unwrap();
    let health = world.command(&["health"]);
    assert_eq!(health.status.code(), Some(1), "nobody is there");
    world.serve().await;
    let health = world.command(&["health"]);
    assert_eq!(health.status.code(), Some(0), "{}", String::from_utf8_lossy(&health.stderr));
    assert!(String::from_utf8_lossy(&health.stdout).contains("\"ready\""));
    world.signal("-TERM");
    eventually("it is not ready", Duration::from_secs(4), async || {
        (world.command(&["health"]).status.code() == Some(1)).then_some(())
    })
    .await;
    let alive = world.command(&["health", "--url", &format!("http://{listen}/livez")]);
    assert_eq!(alive.status.code(), Some(0));
    assert_eq!(world.exited(SOON).await.code(), Some(0));
}
