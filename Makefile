# `make check` is what CI runs: it installs what it needs, then checks format, lints and tests.

.PHONY: check setup format lint test fuzz bench

check: setup format lint test

# Debian packages and the judges of what we send; does nothing where they are there.
setup:
	tests/setup

format:
	cargo fmt --all --check

lint:
	cargo clippy --all-targets --locked -- -D warnings

test:
	cargo test --locked
