//! Any file as a configuration: read, or refused with reasons.
#![no_main]

use std::sync::Arc;

use fini_bridge::app::settings::{Environment, load};
use fini_bridge::domain::clock::SystemClock;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = std::env::temp_dir().join(format!("fini-bridge-fuzz-{}.toml", std::process::id()));
    if std::fs::write(&path, text).is_ok()
        && let Err(problems) = load(&path, &Environment::default(), Arc::new(SystemClock))
    {
        assert!(!problems.to_string().is_empty());
    }
});
