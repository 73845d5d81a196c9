# syntax=docker/dockerfile:1
# docs/container.md says how it is built, run and checked.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# The image names its toolchain; rust-toolchain.toml would fetch another copy.
ENV RUSTUP_TOOLCHAIN=1.95.0 CARGO_TERM_COLOR=never
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --release --locked --bin fini-bridge \
    && install -D target/release/fini-bridge /out/fini-bridge \
    && mkdir /out/data

# glibc, certificate authorities, a user, and nothing else: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="fini-bridge" \
      org.opencontainers.image.description="Self-hosted gateway between chat platforms and Fini" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/fini-bridge /usr/local/bin/fini-bridge
# The embedded store: sqlite:data/fini-bridge.db, seen from /.
COPY --from=build --chown=65532:65532 --chmod=0700 /out/data /data
WORKDIR /
VOLUME /data
USER 65532:65532
# 8080 webhooks. 9090 (admin) stays on loopback, 9464 (metrics) is off, until the configuration says otherwise.
EXPOSE 8080 9464
# The lame duck (5 s) and the drain (150 s) begin with it: allow 180 s before SIGKILL (`docker stop -t 180`).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/fini-bridge", "health", "--config", "/etc/fini-bridge/fini-bridge.toml"]
ENTRYPOINT ["/usr/local/bin/fini-bridge"]
CMD ["serve", "--config", "/etc/fini-bridge/fini-bridge.toml"]
