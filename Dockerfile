# syntax=docker/dockerfile:1
#
# An image with one static program and nothing else, for linux/amd64 and linux/arm64:
#
#   docker buildx build --platform linux/amd64,linux/arm64 \
#     --build-arg RUST_IMAGE=rust:1.95-alpine@sha256:… \
#     --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" --build-arg CREATED="$(date -u +%FT%TZ)" .
#
# Give the base image by digest for a release; CI checks the last stage with a program built outside.
ARG RUST_IMAGE=rust:1.95-alpine

FROM ${RUST_IMAGE} AS build
# ring and jemalloc compile C.
# hadolint ignore=DL3018
RUN apk add --no-cache make musl-dev
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked --package countersign && \
    cp target/release/countersign /countersign

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Countersign" \
      org.opencontainers.image.description="Reviews Kubernetes CertificateSigningRequests against policies, and approves or denies them, saying why" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/countersign/countersign" \
      org.opencontainers.image.documentation="https://github.com/countersign/countersign/blob/main/README.md" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /countersign /countersign
# Numeric, so that runAsNonRoot can be checked.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/countersign"]
CMD ["run"]
