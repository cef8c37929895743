//! Requests and replies: the protocol of `correlation.request`.
//!
//! # Layout
//! A first byte `{` is JSON, for any client. Otherwise it is the envelope's: one version byte, then
//! a `MessagePack` map of the same named fields, with ids and times as in the rest of version 1.
//! A reply has the form of its request. `docs/requests.md` shows every field.

mod ask;
mod finding;
mod fit;
mod form;
mod reply;

pub use ask::{RELATED_ENTITIES_MAX, REQUEST_BYTES_MAX, decode_request, encode_request};
pub use finding::FindingJson;
pub use fit::{encode_reply_within, trim_results};
pub use form::Form;
pub use reply::{decode_reply, encode_reply};
