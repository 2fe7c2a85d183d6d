# Builds the node and puts it beside ffmpeg on a small Debian.
#
#   docker build -t greenroom .
#   docker run --rm -p 9000:9000 -v greenroom:/var/lib/greenroom greenroom

ARG RUST_VERSION=1
ARG DEBIAN=bookworm

# Builder and runtime are the same Debian, so the binary finds the C library it was linked to.
FROM rust:${RUST_VERSION}-${DEBIAN} AS build
WORKDIR /src

# The dependencies are a layer of their own: it stays until Cargo.toml or Cargo.lock change.
COPY Cargo.toml Cargo.lock ./
# Every target that the manifest names must have a file.
RUN mkdir -p src benches/recording benches/signaling \
    && echo 'fn main() {}' | tee src/main.rs benches/recording/main.rs > benches/signaling/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src benches

COPY . .
# Copied files keep their times and may look older than the stand-ins just built.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --bin greenroom

FROM debian:${DEBIAN}-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Greenroom" \
      org.opencontainers.image.description="A clustered signaling and recording node for WebRTC video rooms" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates ffmpeg \
    && rm -rf /var/lib/apt/lists/*

# A fixed id, so that a shared folder's owner is the same on every node.
RUN groupadd --system --gid 10001 greenroom \
    && useradd --system --uid 10001 --gid greenroom --home-dir /var/lib/greenroom \
        --shell /usr/sbin/nologin greenroom \
    && install -d -o greenroom -g greenroom -m 0750 /var/lib/greenroom

COPY --from=build /src/target/release/greenroom /usr/local/bin/greenroom
COPY LICENSE LICENSE-MIT LICENSE-APACHE /usr/share/doc/greenroom/

USER 10001:10001
# What the node writes, recordings first, goes below its working directory.
WORKDIR /var/lib/greenroom
VOLUME /var/lib/greenroom

# glibc keeps what large buffers have left of its heap; below this size it gives them back (docs/PERFORMANCE.md).
ENV MALLOC_MMAP_THRESHOLD_=65536
# The loopback alone would be out of reach from outside the container.
ENV HOST=0.0.0.0 PORT=9000
EXPOSE 9000
# The node drains on SIGTERM; it handles signals as process 1 by itself.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["greenroom", "--health"]
ENTRYPOINT ["greenroom"]
