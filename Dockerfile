# syntax=docker/dockerfile:1
# The image of udp-director for amd64 and arm64:
#   docker buildx build --platform linux/amd64,linux/arm64 --tag udp-director .
# The compiler runs on the builder's own architecture and cross-compiles; nothing is emulated.

FROM --platform=$BUILDPLATFORM rust:1.95.0-bookworm AS build
ARG TARGETARCH
WORKDIR /src
# A linker, and a C compiler for the cryptography, where the target is not the builder.
RUN case "$TARGETARCH" in \
        amd64) triple=x86_64-unknown-linux-gnu cross=x86-64-linux-gnu ;; \
        arm64) triple=aarch64-unknown-linux-gnu cross=aarch64-linux-gnu ;; \
        *) echo "no image for $TARGETARCH" >&2; exit 1 ;; \
    esac \
    && echo "$triple" >/triple \
    && if [ "$(dpkg --print-architecture)" != "$TARGETARCH" ]; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends "gcc-$cross" "libc6-dev-$TARGETARCH-cross" \
        && rm -rf /var/lib/apt/lists/* \
        && rustup target add "$triple"; \
    fi
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked --target "$(cat /triple)" --bin udp-director \
    && cp "target/$(cat /triple)/release/udp-director" /udp-director

# glibc and libgcc, certificates, and the user nonroot (65532): no shell, no package manager. Not a
# static musl binary, since the director sets up glibc's malloc for its own way of allocating.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /udp-director /udp-director
USER 65532:65532
EXPOSE 7777/udp 7777/tcp 9000/tcp 9090/tcp
ENTRYPOINT ["/udp-director"]
CMD ["serve", "--config", "/etc/udp-director/config.yaml"]
