//! Why a node cannot be reached or served.

use std::{error::Error, io, net::SocketAddr};

/// Why a node cannot be reached or served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectError {
    /// No address at all.
    #[error("no node to connect to: set the addresses of at least one")]
    NoAddress,
    /// An address that is none.
    #[error("`{address}` is not the address of a node (host:port)")]
    Address {
        /// What was given.
        address: String,
    },
    /// A file of the TLS configuration cannot be used.
    #[error("cannot use {path}: {why}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        why: String,
    },
    /// Nobody answers.
    #[error("no node answers at {address}: {why}; is it running with --direct?")]
    Unreachable {
        /// Where.
        address: String,
        /// Why not.
        why: String,
    },
    /// The server is not one that is trusted.
    #[error(
        "the certificate of the node at {address} is not trusted: {why}; set `ca` to the certificate of the authority that signed it, or have the node show one that `ca` signed"
    )]
    Untrusted {
        /// Where.
        address: String,
        /// Why not.
        why: String,
    },
    /// The server does not take our certificate, or one of the two has no TLS.
    #[error(
        "no TLS connection to the node at {address}: {why}; check `ca`, `cert` and `key` on both sides"
    )]
    Tls {
        /// Where.
        address: String,
        /// Why not.
        why: String,
    },
    /// Whoever answers is no node of this kind.
    #[error("{address} does not take envelopes: {why}")]
    Refused {
        /// Where.
        address: String,
        /// What it said.
        why: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        why: String,
    },
}

impl DirectError {
    /// Says what an attempt to connect ended with.
    pub(crate) fn connecting(address: &str, error: &(dyn Error + 'static)) -> Self {
        let (address, why) = (address.to_owned(), chain(error));
        // The library has no kinds for these; the texts are rustls'.
        if ["UnknownIssuer", "NotValidForName", "Expired", "BadSignature", "NotValidYet"]
            .iter()
            .any(|reason| why.contains(reason))
        {
            return Self::Untrusted { address, why };
        }
        if ["received fatal alert", "received corrupt message", "HandshakeFailure", "certificate"]
            .iter()
            .any(|reason| why.contains(reason))
        {
            return Self::Tls { address, why };
        }
        Self::Unreachable { address, why }
    }

    pub(crate) fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::File { path: path.display().to_string(), why: error.to_string() }
    }
}

/// Returns the text of an error and its sources, each once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    text
}
