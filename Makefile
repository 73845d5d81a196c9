# `make check` is what CI runs: it installs what it needs, then checks format, lints, dependencies and tests.

.PHONY: check setup format lint dependencies test chaos measure bench fuzz

check: setup format lint dependencies test

# Packages (Debian, Ubuntu) and the judges of what we send; does nothing where they are there.
setup:
	tests/setup

format:
	cargo fmt --all --check
	cargo fmt --manifest-path bench/Cargo.toml --check

lint:
	cargo clippy --all-targets --features failpoints --locked -- -D warnings
	cargo clippy --test measure --locked -- -D warnings

# Licences, sources, known weaknesses, what nothing uses: deny.toml.
dependencies:
	tests/supply-chain

# With failpoints: the short form of chaos is among the tests.
test:
	cargo test --locked --no-fail-fast --features failpoints

# Deaths at every step, a thousand random ones per store, and whatever else can give way. Takes hours; CHAOS_ONLY
# chooses. A failing run prints its CHAOS_SEED.
chaos:
	CHAOS_FORM=long cargo test --locked --release --features failpoints --test chaos

# Figures that depend on the machine; MEASURE=poisoned takes one of them.
measure:
	cargo test --locked --release --test measure -- $(MEASURE)

# What a message costs, beside references that do the same job. BENCH_ONLY=stored BENCH_REPEAT=1 is a quick look;
# bench/src/main.rs has all variables, docs/performance.md what they are for.
bench:
	[ -n "$(BENCH_BINARY)" ] || cargo build --release --locked
	cargo run --release --locked --quiet --manifest-path bench/Cargo.toml --target-dir target/bench/build

# Coverage-guided, from the test data on: needs the nightly toolchain and `cargo install cargo-fuzz`.
FUZZ_SECONDS ?= 60
fuzz:
	cd tests && for target in webhooks verifiers markdown fini configuration; do \
		mkdir -p fuzz/corpus/$$target; \
		cargo +nightly fuzz run --fuzz-dir fuzz $$target fuzz/corpus/$$target data -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096 || exit 1; done
