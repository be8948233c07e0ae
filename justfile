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

# So many random stories about a patient, from a seed on, told to the store and to a small model of the rules
model SEQUENCES="10000" SEED="0":
    AFTERCARE_MODEL_SEQUENCES={{SEQUENCES}} AFTERCARE_MODEL_SEED={{SEED}} \
        cargo test --config .ci/optimised.toml --test model

# So many worlds of ninety days, from a seed on, around the real planner, store and dispatcher
simulate SEEDS="2000" SEED="0":
    AFTERCARE_SIMULATION_SEEDS={{SEEDS}} AFTERCARE_SIMULATION_SEED={{SEED}} \
        cargo test --config .ci/optimised.toml --test simulation -- --nocapture

# Whatever FCM, the token endpoint or the way there can do, against so many reminders each; prints a table
fcm-faults REMINDERS="10000":
    AFTERCARE_FCM_FAULTS={{REMINDERS}} \
        cargo test --config .ci/optimised.toml --test simulation faults -- --nocapture

# How fast it is, as Markdown tables; WHAT is all, drain, intake, lateness, claim, snapshot, replicas or sqlite
# (`just bench intake --help`); wants a quiet machine, Node and PostgreSQL
bench WHAT="all" *ARGS:
    cargo build --release --workspace
    cd tests/bench/peers && npm install --no-package-lock --no-audit --no-fund --silent
    target/release/aftercare-bench {{WHAT}} {{ARGS}}

# What planning, and putting into words, cost without a database
bench-planner *ARGS:
    cargo bench --package aftercare-bench --bench planner -- {{ARGS}}

# Kill the real binary so often under load, and judge from outside: on SQLite, then three replicas on PostgreSQL, whose
# server crashes and whose replicas stand still for longer than their leases, too (0 leaves an engine out)
storm KILLS="1000" REPLICAS="300" CRASHES="100" STOPS="100" SEED="1":
    cargo build --config .ci/optimised.toml
    AFTERCARE_STORM_SQLITE_KILLS={{KILLS}} AFTERCARE_STORM_POSTGRES_KILLS={{REPLICAS}} \
        AFTERCARE_STORM_CRASHES={{CRASHES}} AFTERCARE_STORM_STOPS={{STOPS}} AFTERCARE_STORM_SEED={{SEED}} \
        cargo test --config .ci/optimised.toml --test e2e storm -- --nocapture --test-threads 1

# So many days of a clinic with so many new patients a day, kept for 30 days: whether tables and memory stay as they were
soak DAYS="180" SESSIONS="20":
    AFTERCARE_SOAK_DAYS={{DAYS}} AFTERCARE_SOAK_SESSIONS={{SESSIONS}} \
        cargo test --config .ci/optimised.toml --test e2e soak -- --nocapture --test-threads 1

# Write the golden timelines anew; read the difference before committing it
golden:
    UPDATE_GOLDEN=1 cargo test -p aftercare --test planner golden

# Write docs/openapi.json anew from the code
openapi:
    UPDATE_OPENAPI=1 cargo test -p aftercare-api --test http the_committed_document

# Schemathesis against the real binary on both engines: 100,000 requests and more, another seed each time
fuzz-api *ARGS:
    cargo build
    test -x target/schemathesis/bin/st || python3 -m venv target/schemathesis
    target/schemathesis/bin/pip install --quiet -r tests/schemathesis/requirements.txt
    target/schemathesis/bin/python tests/schemathesis/run.py --binary target/debug/aftercare \
        --requests 100000 --examples 200 {{ARGS}}

# Feed a parser random bytes (protocol_document, session_done, fcm_answer, access_token, words); needs
# `cargo install cargo-fuzz`, and on a stable toolchain RUSTC_BOOTSTRAP=1 in the environment
fuzz TARGET SECONDS="60":
    cargo fuzz run {{TARGET}} -- -max_total_time={{SECONDS}} -max_len=20000

# Known vulnerabilities of dependencies; needs the internet
advisories:
    cargo deny check advisories
