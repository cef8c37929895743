//! The wire seen from outside: what is written, what is read, and what is refused.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own samples are well-formed, or the test is to fail"
)]

mod arbitrary;
mod golden;
mod json;
mod mesh;
mod refusal;
mod request;
mod round_trip;
mod sample;
mod tree;
