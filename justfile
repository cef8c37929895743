# Names for commands. `just` lists them.

_default:
    @just --list

# Everything CI runs.
ci:
    bash .ci/run

# The two sacred ones.
demo:
    cargo run --release -- demo

test:
    cargo test --workspace

lint:
    git ls-files "*.rs" | xargs rustfmt --check --edition 2024
    cargo clippy --workspace --all-targets -- -D warnings

# Accept changed snapshots.
snapshots:
    INSTA_UPDATE=always cargo test --workspace

# Write docs/patterns.md anew.
patterns:
    cargo run -- explain --markdown > docs/patterns.md

# Fuzz what reads bytes from outside, for a minute.
fuzz seconds="60":
    BOLERO_RANDOM_TEST_TIME_MS={{seconds}}000 cargo test --release -p tapio-wire --test fuzz_decode

# Figures of this machine.
bench:
    cargo run --release -- bench engine
    cargo run --release -- bench ring
    cargo run --release -- bench ring --rate 200000 --events 2000000
    cargo run --release -- bench actors
    cargo run --release -- bench poison
    cargo bench -p tapio-engine -p tapio-wire -p tapio-bus
