# What people type; `just` lists it.

_default:
    @just --list

# Everything that must hold before a change lands
check:
    .ci/run

# All tests; with PostgreSQL where its server binaries are found
test:
    cargo test

# Format, then the lints that a change must pass
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings

# A whole course of sessions in seconds
demo *ARGS:
    cargo run -- demo {{ARGS}}

# Write the golden timelines anew; read the difference before committing it
golden:
    UPDATE_GOLDEN=1 cargo test -p aftercare --test golden

# Write docs/openapi.json anew from the code
openapi:
    UPDATE_OPENAPI=1 cargo test -p aftercare-api --test http the_committed_document

# Known vulnerabilities of dependencies; needs the internet
advisories:
    cargo deny check advisories
