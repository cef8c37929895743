//! Getting to a server, and finding out whether it is one to work with.

use std::{io, sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, ServerAddr,
    jetstream::{self, ErrorCode, context::AccountErrorKind},
};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::events::Counters;
use crate::{Identity, NatsConfig, backoff::Backoff, config::without_secret};

/// The oldest server to work with.
///
/// # Source
/// 2.9 silently ignores `filter_subjects`: a reader would get every shard's events.
const OLDEST: (u64, u64) = (2, 10);

/// How long a ping may stay away. Two of them and the connection counts as lost: a server that is
/// cut off is noticed within twice that.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Commands that wait in the client while the connection is away. Publishers here bound themselves
/// to fewer.
const WAITING_MAX: usize = 2_048;

/// Publishes of all users of a connection that wait for their acknowledgement at once.
const UNACKNOWLEDGED_MAX: usize = 8_192;

/// The first and the longest delay between attempts to connect. A server takes a second or more to
/// start; waiting longer than that for it gains nothing.
const DELAYS: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

/// Why there is no connection to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No address at all.
    #[error("no NATS server to connect to: set NATS_URL")]
    NoUrl,
    /// An address that is none.
    #[error("`{url}` is not the address of a NATS server (nats://host:4222): {source}")]
    Url {
        /// What was given.
        url: String,
        /// Why it is none.
        source: io::Error,
    },
    /// Nobody answers.
    #[error(
        "no NATS server answers at {urls} within {waited:?}: {why}; is it running, and is NATS_URL right?"
    )]
    Unreachable {
        /// Where.
        urls: String,
        /// How long it was tried.
        waited: Duration,
        /// What the last attempt ended with.
        why: String,
    },
    /// The server does not take us.
    #[error(
        "the NATS server at {urls} does not take us as {identity}: {why}; check NATS_CREDS, NATS_NKEY, NATS_USER or NATS_TOKEN against its accounts"
    )]
    Refused {
        /// Where.
        urls: String,
        /// Who we said we are.
        identity: &'static str,
        /// What it said.
        why: String,
    },
    /// Our own proof of who we are cannot be used.
    #[error("cannot use {what}: {why}")]
    Proof {
        /// What it is.
        what: String,
        /// Why not.
        why: String,
    },
    /// No secure connection comes about.
    #[error(
        "no TLS connection to the NATS server at {urls}: {why}; check NATS_CA, NATS_CERT and NATS_KEY"
    )]
    Tls {
        /// Where.
        urls: String,
        /// Why not.
        why: String,
    },
    /// A server from before what we need.
    #[error(
        "the NATS server at {urls} is version {found}, older than 2.10: it ignores filters by several subjects, so that a reader would get every shard's events; upgrade it"
    )]
    TooOld {
        /// Where.
        urls: String,
        /// Its version.
        found: String,
    },
    /// A server without JetStream.
    #[error(
        "the NATS server at {urls} has no JetStream for us: {why}; start it with `jetstream {{}}` in its configuration, and enable it for the account"
    )]
    NoJetStream {
        /// Where.
        urls: String,
        /// What it said.
        why: String,
    },
}

/// Connects within `config.startup`. A server that is not there is tried again, one that refuses
/// is not.
pub(super) async fn connect(
    config: &NatsConfig,
    counters: &Arc<Counters>,
) -> Result<Client, ConnectError> {
    let servers = addresses(config)?;
    let options = options(config, counters).await?;
    let urls = config.shown_urls();
    let deadline = Instant::now() + config.startup;
    let backoff = Backoff::new(DELAYS[0], DELAYS[1], config.seed);
    let mut failures = 0;
    let client = loop {
        // Its own attempt may take long: one after the other, at each of a host's addresses.
        let attempt = timeout(config.startup, options.clone().connect(servers.as_slice())).await;
        failures += 1;
        let delay = backoff.delay(failures);
        let why = match attempt {
            Ok(Ok(client)) => break client,
            Ok(Err(why)) => why,
            Err(_elapsed) => async_nats::ConnectError::new(ConnectErrorKind::TimedOut),
        };
        let can_change = matches!(
            why.kind(),
            ConnectErrorKind::Dns
                | ConnectErrorKind::TimedOut
                | ConnectErrorKind::Io
                | ConnectErrorKind::MaxReconnects
        );
        if !can_change || Instant::now() + delay >= deadline {
            return Err(explain(&why, config, urls));
        }
        warn!(%why, urls, "no NATS server answers yet");
        sleep(delay).await;
    };
    let found = client.server_info().version;
    if is_too_old(&found) {
        return Err(ConnectError::TooOld { urls, found });
    }
    Ok(client)
}

/// Finds JetStream behind the client, within `config.startup`: a cluster that just came up has
/// none until it has elected a leader.
pub(super) async fn jetstream(
    config: &NatsConfig,
    client: Client,
) -> Result<jetstream::Context, ConnectError> {
    let is_promised = client.server_info().jetstream;
    let builder = jetstream::ContextBuilder::new()
        .timeout(config.patience)
        .ack_timeout(config.patience)
        .max_ack_inflight(UNACKNOWLEDGED_MAX);
    let context = match &config.domain {
        Some(domain) => {
            let builder = jetstream::ContextBuilder::new().domain(domain);
            builder
                .timeout(config.patience)
                .ack_timeout(config.patience)
                .max_ack_inflight(UNACKNOWLEDGED_MAX)
                .build(client)
        }
        None => builder.build(client),
    };
    let deadline = Instant::now() + config.startup;
    let backoff = Backoff::new(DELAYS[0], DELAYS[1], config.seed);
    let mut failures = 0;
    loop {
        let answer = timeout(config.patience, context.query_account()).await;
        failures += 1;
        let (why, is_final) = match answer {
            Ok(Ok(_account)) => return Ok(context),
            Ok(Err(why)) => {
                let is_final = is_final(&why.kind(), is_promised || config.domain.is_some());
                (why.to_string(), is_final)
            }
            Err(_elapsed) => ("no answer".to_owned(), false),
        };
        let delay = backoff.delay(failures);
        if is_final || Instant::now() + delay >= deadline {
            return Err(ConnectError::NoJetStream { urls: config.shown_urls(), why });
        }
        sleep(delay).await;
    }
}

/// Says whether asking again cannot help.
fn is_final(why: &AccountErrorKind, is_promised: bool) -> bool {
    match why {
        AccountErrorKind::JetStream(error) => matches!(
            error.error_code(),
            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
        ),
        // Nobody listens for it: on a server that does not even promise it, nobody will.
        AccountErrorKind::JetStreamUnavailable => !is_promised,
        AccountErrorKind::TimedOut | AccountErrorKind::Other => false,
    }
}

fn addresses(config: &NatsConfig) -> Result<Vec<ServerAddr>, ConnectError> {
    if config.urls.is_empty() {
        return Err(ConnectError::NoUrl);
    }
    let parse = |url: &String| {
        let refuse = |source| ConnectError::Url { url: without_secret(url), source };
        let address: ServerAddr = url.parse().map_err(refuse)?;
        if address.host().is_empty() {
            return Err(refuse(io::Error::other("no host")));
        }
        Ok(address)
    };
    config.urls.iter().map(parse).collect()
}

async fn options(
    config: &NatsConfig,
    counters: &Arc<Counters>,
) -> Result<ConnectOptions, ConnectError> {
    let backoff = Backoff::new(DELAYS[0], DELAYS[1], config.seed);
    let counters = Arc::clone(counters);
    let options = ConnectOptions::new()
        .name(&config.name)
        .connection_timeout(config.patience)
        .request_timeout(Some(config.patience))
        .ping_interval(PING_INTERVAL)
        .client_capacity(WAITING_MAX)
        .reconnect_delay_callback(move |attempts| backoff.delay(attempts))
        .event_callback(move |event| {
            counters.note(&event);
            std::future::ready(())
        });
    identify(secure(options, config), &config.identity).await
}

fn secure(options: ConnectOptions, config: &NatsConfig) -> ConnectOptions {
    let tls = &config.tls;
    let mut options = options.require_tls(tls.required);
    if let Some(ca) = &tls.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some(client) = &tls.client {
        options = options.add_client_certificate(client.cert.clone(), client.key.clone());
    }
    if tls.first { options.tls_first() } else { options }
}

async fn identify(
    options: ConnectOptions,
    identity: &Identity,
) -> Result<ConnectOptions, ConnectError> {
    Ok(match identity {
        Identity::Anonymous => options,
        Identity::Credentials(path) => {
            options.credentials_file(path).await.map_err(|why| ConnectError::Proof {
                what: format!("the credentials in {}", path.display()),
                why: why.to_string(),
            })?
        }
        Identity::Nkey(seed) => options.nkey(seed.reveal().to_owned()),
        Identity::Password { user, password } => {
            options.user_and_password(user.clone(), password.reveal().to_owned())
        }
        Identity::Token(token) => options.token(token.reveal().to_owned()),
    })
}

fn explain(why: &async_nats::ConnectError, config: &NatsConfig, urls: String) -> ConnectError {
    let text = why.to_string();
    match why.kind() {
        ConnectErrorKind::AuthorizationViolation => {
            ConnectError::Refused { urls, identity: config.identity.name(), why: text }
        }
        ConnectErrorKind::Authentication => {
            ConnectError::Proof { what: config.identity.name().to_owned(), why: text }
        }
        ConnectErrorKind::Tls => ConnectError::Tls { urls, why: text },
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => {
            ConnectError::Unreachable { urls, waited: config.startup, why: text }
        }
    }
}

/// Says whether a version is before what we need. One that cannot be read is none we know.
fn is_too_old(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split(['.', '-', '+']);
    let mut number = || numbers.next().and_then(|text| text.parse::<u64>().ok());
    match (number(), number()) {
        (Some(major), Some(minor)) => (major, minor) < OLDEST,
        (None, _) | (_, None) => true,
    }
}

#[cfg(test)]
mod tests;
