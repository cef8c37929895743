//! The `NATS_*` variables and the contexts of the `nats` command, as functions of look-ups.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{ClientCertificate, Identity, NatsConfig, Secret};
use crate::{NameError, Subjects, subject::DEFAULT_GENERATION};

/// Why there is no telling how to connect.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A context or an nkey that cannot be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    Unreadable {
        /// What it is.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A context that is not what `nats context save` writes.
    #[error("{} is no context of the nats command: {source}", path.display())]
    NotAContext {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A name that leads out of the folder of contexts.
    #[error("`{0}` is not the name of a context: no `/`, no `\\`, no leading dot")]
    ContextName(String),
    /// A context without a home to look for it in.
    #[error("NATS_CONTEXT is set, and neither XDG_CONFIG_HOME nor HOME says where contexts are")]
    NoHome,
    /// Two things that say who we are.
    #[error("{0} both say who we are: keep one")]
    TwoIdentities(String),
    /// One half of a pair.
    #[error("{present} is set and {missing} is not: they go together")]
    Half {
        /// What is there.
        present: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// A prefix that is no token.
    #[error("NATS_SUBJECT_PREFIX: {0}")]
    Prefix(#[from] NameError),
}

/// What a context file says, as far as it matters here; the rest (a description, a colour) is the
/// `nats` command's own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parts {
    url: String,
    creds: String,
    nkey: String,
    user: String,
    password: String,
    token: String,
    ca: String,
    cert: String,
    key: String,
    jetstream_domain: String,
    tls_first: bool,
}

impl NatsConfig {
    /// Makes a configuration from the variables that `variable` looks up and the files that
    /// `read` reads.
    ///
    /// A variable that is set takes precedence over the context that `NATS_CONTEXT` names; if one
    /// says who we are, all of the context's say is void. An empty variable is one that is not
    /// set.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn from_parts(
        variable: impl Fn(&str) -> Option<String>,
        read: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let look = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let parts = merge(&look, context(&look, &read)?);
        let mut config = Self { identity: identity(&parts, &read)?, ..Self::default() };
        let urls = parts.url.split(',').map(str::trim).filter(|url| !url.is_empty());
        let urls: Vec<_> = urls.map(str::to_owned).collect();
        if !urls.is_empty() {
            config.urls = urls;
        }
        config.tls.ca = path(&parts.ca);
        config.tls.first = parts.tls_first;
        config.tls.client = match (path(&parts.cert), path(&parts.key)) {
            (Some(cert), Some(key)) => Some(ClientCertificate { cert, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(ConfigError::Half { present: "NATS_CERT", missing: "NATS_KEY" });
            }
            (None, Some(_)) => {
                return Err(ConfigError::Half { present: "NATS_KEY", missing: "NATS_CERT" });
            }
        };
        config.tls.required = config.tls.ca.is_some() || config.tls.client.is_some();
        config.domain = Some(parts.jetstream_domain).filter(|domain| !domain.is_empty());
        if let Some(prefix) = look("NATS_SUBJECT_PREFIX") {
            config.subjects = Subjects::new(&prefix, DEFAULT_GENERATION)?;
        }
        Ok(config)
    }
}

/// Returns what the named context says; nothing if none is named.
fn context(
    look: &impl Fn(&str) -> Option<String>,
    read: &impl Fn(&Path) -> io::Result<String>,
) -> Result<Parts, ConfigError> {
    let Some(name) = look("NATS_CONTEXT") else { return Ok(Parts::default()) };
    if name.contains(['/', '\\']) || name.starts_with('.') {
        return Err(ConfigError::ContextName(name));
    }
    let home = look("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = home.or_else(|| look("HOME").map(|home| Path::new(&home).join(".config")));
    let home = home.ok_or(ConfigError::NoHome)?;
    let path = home.join("nats").join("context").join(format!("{name}.json"));
    match read(&path) {
        Ok(json) => {
            serde_json::from_str(&json).map_err(|source| ConfigError::NotAContext { path, source })
        }
        Err(source) => Err(ConfigError::Unreadable { what: "the context", path, source }),
    }
}

/// Puts what the variables say over what the context says.
fn merge(look: &impl Fn(&str) -> Option<String>, context: Parts) -> Parts {
    const IDENTITIES: [&str; 5] =
        ["NATS_CREDS", "NATS_NKEY", "NATS_USER", "NATS_PASSWORD", "NATS_TOKEN"];
    let says_who = IDENTITIES.iter().any(|name| look(name).is_some());
    let over = |name, below: String| look(name).unwrap_or(below);
    let who =
        |name, below: String| look(name).unwrap_or(if says_who { String::new() } else { below });
    Parts {
        url: over("NATS_URL", context.url),
        creds: who("NATS_CREDS", context.creds),
        nkey: who("NATS_NKEY", context.nkey),
        user: who("NATS_USER", context.user),
        password: who("NATS_PASSWORD", context.password),
        token: who("NATS_TOKEN", context.token),
        ca: over("NATS_CA", context.ca),
        cert: over("NATS_CERT", context.cert),
        key: over("NATS_KEY", context.key),
        jetstream_domain: context.jetstream_domain,
        tls_first: context.tls_first,
    }
}

fn identity(
    parts: &Parts,
    read: &impl Fn(&Path) -> io::Result<String>,
) -> Result<Identity, ConfigError> {
    let said = [
        ("NATS_CREDS", &parts.creds),
        ("NATS_NKEY", &parts.nkey),
        ("NATS_USER", &parts.user),
        ("NATS_TOKEN", &parts.token),
    ];
    let said: Vec<_> = said.iter().filter(|(_, value)| !value.is_empty()).collect();
    if said.len() > 1 {
        let names: Vec<_> = said.iter().map(|(name, _)| *name).collect();
        return Err(ConfigError::TwoIdentities(names.join(" and ")));
    }
    match said.first() {
        Some(("NATS_CREDS", creds)) => Ok(Identity::Credentials(PathBuf::from(creds))),
        Some(("NATS_NKEY", nkey)) => seed(nkey, read).map(Identity::Nkey),
        Some(("NATS_USER", user)) if parts.password.is_empty() => {
            // A server that is set up with tokens takes one for a lone user name.
            Ok(Identity::Token(Secret::new(user.as_str())))
        }
        Some(("NATS_USER", user)) => {
            Ok(Identity::Password { user: (*user).clone(), password: Secret::new(&parts.password) })
        }
        Some((_, token)) => Ok(Identity::Token(Secret::new(token.as_str()))),
        None if parts.password.is_empty() => Ok(Identity::Anonymous),
        None => Err(ConfigError::Half { present: "NATS_PASSWORD", missing: "NATS_USER" }),
    }
}

/// Returns the seed that `nkey` is, or that stands in the file it names.
fn seed(nkey: &str, read: &impl Fn(&Path) -> io::Result<String>) -> Result<Secret, ConfigError> {
    const SEED_LETTERS: usize = 58;
    if nkey.len() == SEED_LETTERS && nkey.starts_with('S') {
        return Ok(Secret::new(nkey));
    }
    let path = PathBuf::from(nkey);
    match read(&path) {
        Ok(text) => Ok(Secret::new(text.trim())),
        Err(source) => Err(ConfigError::Unreadable { what: "the nkey", path, source }),
    }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

#[cfg(test)]
mod tests;
