//! Where NATS is, who we are to it, and what our things there are called.

mod environment;

use std::{fmt, path::PathBuf, time::Duration};

pub use self::environment::ConfigError;
use crate::Subjects;

/// Where a server is unless somebody says otherwise.
const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

/// Text that no log may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for whoever must send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who we are to the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Identity {
    /// Nobody in particular, or who the client certificate says.
    #[default]
    Anonymous,
    /// A file with a JWT and the seed that signs for it.
    Credentials(PathBuf),
    /// The seed of an nkey, beginning with `SU`.
    Nkey(Secret),
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Token(Secret),
}

impl Identity {
    /// Returns what it is, in words.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Anonymous => "nobody in particular",
            Self::Credentials(_) => "the user of the credentials file",
            Self::Nkey(_) => "the user of the nkey",
            Self::Password { .. } => "the user with the password",
            Self::Token(_) => "the bearer of the token",
        }
    }
}

/// Transport security.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Roots to trust besides the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key.
    pub client: Option<ClientCertificate>,
    /// Whether the handshake comes before the server's first word, as it may be set up to.
    pub first: bool,
    /// Whether a connection without is refused.
    pub required: bool,
}

/// A certificate that says who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, with its chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How to connect.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsConfig {
    /// Servers of one cluster; any that answers will do.
    pub urls: Vec<String>,
    /// What the server's monitoring calls this connection.
    pub name: String,
    /// Who we are.
    pub identity: Identity,
    /// Transport security.
    pub tls: Tls,
    /// The JetStream domain, where it is behind a leaf node.
    pub domain: Option<String>,
    /// What our things are called.
    pub subjects: Subjects,
    /// How long one call may take. 2 s is a thousand round trips, and short of a lease.
    pub patience: Duration,
    /// How long the first connection, and JetStream behind it, may take to be had: an election
    /// takes up to nine seconds.
    pub startup: Duration,
    /// The seed of the jitter in back-offs.
    pub seed: u64,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            urls: vec![DEFAULT_URL.to_owned()],
            name: "tapio".to_owned(),
            identity: Identity::default(),
            tls: Tls::default(),
            domain: None,
            subjects: Subjects::default(),
            patience: Duration::from_secs(2),
            startup: Duration::from_secs(15),
            seed: 0,
        }
    }
}

impl NatsConfig {
    /// Connects to `url` and is otherwise as by default.
    #[must_use]
    pub fn to(url: impl Into<String>) -> Self {
        Self { urls: vec![url.into()], ..Self::default() }
    }

    /// Returns the servers as a log may show them: without what stands before an `@`.
    #[must_use]
    pub fn shown_urls(&self) -> String {
        let shown: Vec<_> = self.urls.iter().map(|url| without_secret(url)).collect();
        shown.join(", ")
    }
}

impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConfig")
            .field("urls", &self.shown_urls())
            .field("name", &self.name)
            .field("identity", &self.identity)
            .field("tls", &self.tls)
            .field("domain", &self.domain)
            .field("subjects", &self.subjects)
            .field("patience", &self.patience)
            .field("startup", &self.startup)
            .field("seed", &self.seed)
            .finish()
    }
}

/// Returns an address without the user and password, or token, that may stand in it.
pub(crate) fn without_secret(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
    let host = rest.rsplit_once('@').map_or(rest, |(_secret, host)| host);
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let table = [
            ("nats://u:p@a:4222", "nats://a:4222"),
            ("tls://token@a", "tls://a"),
            ("nats://u:p@x@a", "nats://a"),
            ("nats://a:4222", "nats://a:4222"),
        ];
        for (url, shown) in table {
            assert_eq!(without_secret(url), shown);
            assert!(format!("{:?}", NatsConfig::to(url)).contains(&format!("\"{shown}\"")));
        }
    }
}
