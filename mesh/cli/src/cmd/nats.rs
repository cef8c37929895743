//! Where NATS is, who we are to it, and what our things there shall be like: the same flags for
//! every command of the mesh.

use std::{fs, path::Path, time::Duration};

use tapio_nats::{ConnectError, Connection, NatsConfig, Secret, StreamError, StreamPlan, Subjects};
use tapio_shard::ShardCount;

use super::up::duration;
use crate::exit::{Unreachable, Usage};

/// Where NATS is and who we are to it. A flag says the same as its variable, and overrules it.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "NATS")]
pub(crate) struct NatsArgs {
    /// Servers of one cluster, with commas between them; port 4222 of this machine without
    /// it.
    #[arg(long, global = true, value_name = "URL[,URL..]", env = "NATS_URL", hide_env_values = true, value_parser = secret)]
    nats: Option<Secret>,
    /// Credentials file: a JWT and its seed.
    #[arg(long, global = true, value_name = "FILE", env = "NATS_CREDS", hide_env_values = true)]
    nats_creds: Option<String>,
    /// Seed of an nkey, or a file with it.
    #[arg(long, global = true, value_name = "SEED", env = "NATS_NKEY", hide_env_values = true, value_parser = secret)]
    nats_nkey: Option<Secret>,
    /// User; without a password, a token.
    #[arg(long, global = true, value_name = "USER", env = "NATS_USER", hide_env_values = true)]
    nats_user: Option<String>,
    /// Password of the user. Other users of this machine see a flag, and not a variable.
    #[arg(long, global = true, value_name = "PASSWORD", env = "NATS_PASSWORD", hide_env_values = true, value_parser = secret)]
    nats_password: Option<Secret>,
    /// Token. Other users of this machine see a flag, and not a variable.
    #[arg(long, global = true, value_name = "TOKEN", env = "NATS_TOKEN", hide_env_values = true, value_parser = secret)]
    nats_token: Option<Secret>,
    /// Root certificates to trust besides the system's; also asks for TLS.
    #[arg(long, global = true, value_name = "FILE", env = "NATS_CA", hide_env_values = true)]
    nats_ca: Option<String>,
    /// Client certificate.
    #[arg(long, global = true, value_name = "FILE", env = "NATS_CERT", hide_env_values = true)]
    nats_cert: Option<String>,
    /// Key of the client certificate.
    #[arg(long, global = true, value_name = "FILE", env = "NATS_KEY", hide_env_values = true)]
    nats_key: Option<String>,
    /// Context of the `nats` command, for what nothing above says.
    #[arg(long, global = true, value_name = "NAME", env = "NATS_CONTEXT", hide_env_values = true)]
    nats_context: Option<String>,
    /// How long the first connection may take: a cluster elects for up to nine seconds.
    #[arg(long, global = true, value_name = "DURATION", env = "NATS_WAIT", hide_env_values = true, default_value = "15s", value_parser = duration)]
    nats_wait: Duration,
    /// What names of subjects and streams begin with.
    #[arg(
        long,
        global = true,
        value_name = "WORD",
        env = "NATS_SUBJECT_PREFIX",
        hide_env_values = true,
        default_value = "tapio"
    )]
    subject_prefix: String,
    /// Generation of streams and roots; a mesh with another number of shards needs another one.
    #[arg(
        long,
        global = true,
        value_name = "WORD",
        env = "TAPIO_GENERATION",
        hide_env_values = true,
        default_value = "1"
    )]
    generation: String,
    /// Shards of the generation: the same for all who publish and read.
    #[arg(long, global = true, value_name = "N", env = "TAPIO_SHARDS", hide_env_values = true, default_value_t = ShardCount::DEFAULT.get(),
          value_parser = clap::value_parser!(u16).range(1..))]
    shards: u16,
    /// Where contexts are looked for first.
    #[arg(long, global = true, env = "XDG_CONFIG_HOME", hide = true, hide_env_values = true)]
    nats_config_home: Option<String>,
    /// Where contexts are looked for next.
    #[arg(long, global = true, env = "HOME", hide = true, hide_env_values = true)]
    nats_home: Option<String>,
}

/// What the streams shall be like where they are not there yet; those that are must be so.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Streams")]
pub(crate) struct StreamArgs {
    /// Servers that keep each message: 1, 3 or 5.
    #[arg(long, value_name = "N", env = "TAPIO_REPLICAS", hide_env_values = true, default_value = "1", value_parser = replicas)]
    replicas: usize,
    /// Bytes of events before publishers must wait.
    #[arg(long, value_name = "BYTES", env = "TAPIO_EVENTS_MAX_BYTES", hide_env_values = true, default_value = "4GiB", value_parser = bytes)]
    events_max_bytes: u64,
    /// Bytes of findings, of stories and of dead letters before their shards must wait.
    #[arg(long, value_name = "BYTES", env = "TAPIO_KEPT_MAX_BYTES", hide_env_values = true, default_value = "256MiB", value_parser = bytes)]
    kept_max_bytes: u64,
    /// How long events stay.
    #[arg(long, value_name = "DURATION", env = "TAPIO_EVENTS_MAX_AGE", hide_env_values = true, default_value = "1h", value_parser = duration)]
    events_max_age: Duration,
    /// How long findings between shards stay.
    #[arg(long, value_name = "DURATION", env = "TAPIO_FINDINGS_MAX_AGE", hide_env_values = true, default_value = "1h", value_parser = duration)]
    findings_max_age: Duration,
    /// How long stories stay.
    #[arg(long, value_name = "DURATION", env = "TAPIO_STORIES_MAX_AGE", hide_env_values = true, default_value = "168h", value_parser = duration)]
    stories_max_age: Duration,
    /// How long dead letters stay.
    #[arg(long, value_name = "DURATION", env = "TAPIO_DEAD_LETTERS_MAX_AGE", hide_env_values = true, default_value = "168h", value_parser = duration)]
    dead_letters_max_age: Duration,
    /// How long a message is known that comes twice; publishers try again for as long.
    #[arg(long, value_name = "DURATION", env = "TAPIO_DUPLICATE_WINDOW", hide_env_values = true, default_value = "2m", value_parser = duration)]
    duplicate_window: Duration,
}

impl NatsArgs {
    /// Returns how to connect; the server's monitoring will call the connection `name`.
    pub(crate) fn config(&self, name: &str) -> Result<NatsConfig, Usage> {
        let said = |text: &Option<String>| text.clone();
        let hidden = |secret: &Option<Secret>| secret.as_ref().map(|it| it.reveal().to_owned());
        let variable = |name: &str| match name {
            "NATS_URL" => hidden(&self.nats),
            "NATS_CREDS" => said(&self.nats_creds),
            "NATS_NKEY" => hidden(&self.nats_nkey),
            "NATS_USER" => said(&self.nats_user),
            "NATS_PASSWORD" => hidden(&self.nats_password),
            "NATS_TOKEN" => hidden(&self.nats_token),
            "NATS_CA" => said(&self.nats_ca),
            "NATS_CERT" => said(&self.nats_cert),
            "NATS_KEY" => said(&self.nats_key),
            "NATS_CONTEXT" => said(&self.nats_context),
            "XDG_CONFIG_HOME" => said(&self.nats_config_home),
            "HOME" => said(&self.nats_home),
            _ => None,
        };
        let config = NatsConfig::from_parts(variable, |path: &Path| fs::read_to_string(path));
        let config = config.map_err(|error| Usage(error.to_string()))?;
        let subjects = Subjects::new(self.subject_prefix.trim(), self.generation.trim());
        Ok(NatsConfig {
            name: name.to_owned(),
            subjects: subjects.map_err(|error| Usage(error.to_string()))?,
            startup: self.nats_wait,
            // Processes of one machine shall not come back in step.
            seed: u64::from(std::process::id()),
            ..config
        })
    }

    /// Returns the number of shards.
    pub(crate) const fn shards(&self) -> ShardCount {
        ShardCount::new(self.shards)
    }

    /// Connects; a refusal has the exit code it deserves.
    pub(crate) async fn connect(&self, name: &str) -> anyhow::Result<Connection> {
        let error = match Connection::open(&self.config(name)?).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        let text = error.to_string();
        match error {
            ConnectError::NoUrl
            | ConnectError::Url { .. }
            | ConnectError::Refused { .. }
            | ConnectError::Proof { .. }
            | ConnectError::Tls { .. } => Err(Usage(text).into()),
            ConnectError::Unreachable { .. }
            | ConnectError::TooOld { .. }
            | ConnectError::NoJetStream { .. } => Err(Unreachable(text).into()),
        }
    }
}

impl StreamArgs {
    /// Returns what the streams shall be like, for `shards`.
    pub(crate) fn plan(&self, shards: ShardCount) -> StreamPlan {
        StreamPlan {
            replicas: self.replicas,
            shards,
            events_max_bytes: self.events_max_bytes,
            kept_max_bytes: self.kept_max_bytes,
            events_max_age: self.events_max_age,
            findings_max_age: self.findings_max_age,
            stories_max_age: self.stories_max_age,
            dead_letters_max_age: self.dead_letters_max_age,
            duplicate_window: self.duplicate_window,
            ..StreamPlan::default()
        }
    }

    /// Makes the streams that are missing, and checks those that are there.
    pub(crate) async fn set_up(
        &self,
        connection: &Connection,
        shards: ShardCount,
        audit: bool,
    ) -> anyhow::Result<()> {
        let plan = StreamPlan { audit, ..self.plan(shards) };
        let Err(error) = connection.set_up(&plan).await else { return Ok(()) };
        let text = error.to_string();
        match error {
            StreamError::Differs(_) | StreamError::Refused { .. } => Err(Usage(text).into()),
            StreamError::Unreachable { .. } => Err(Unreachable(text).into()),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "clap wants a parser that may fail")]
fn secret(text: &str) -> Result<Secret, String> {
    Ok(Secret::new(text))
}

fn replicas(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("write 1, 3 or 5: three servers survive the loss of one, five of two".into()),
    }
}

/// Reads a size such as `4GiB`, `256MiB` or `1000000`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let text = text.trim();
    let unit = UNITS.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)));
    let (number, bits) = unit.unwrap_or((text, 0));
    let number: Option<u64> = number.trim().parse().ok();
    let size = number.and_then(|number| number.checked_mul(1 << bits)).filter(|size| *size > 0);
    size.ok_or_else(|| "write bytes, or a number with KiB, MiB, GiB or TiB".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        nats: NatsArgs,
        #[command(flatten)]
        streams: StreamArgs,
    }

    fn parse(flags: &[&str]) -> Result<Line, clap::Error> {
        // An empty flag is one that is not there, whatever variables this machine sets.
        let unset = ["--nats=", "--nats-context="].iter().filter(|unset| {
            let name = unset.trim_end_matches('=');
            !flags.iter().any(|flag| flag.split('=').next() == Some(name))
        });
        Line::try_parse_from(["tapio"].iter().chain(unset).chain(flags))
    }

    #[test]
    fn nothing_said_is_the_default_plan() {
        let line = parse(&[]).expect("defaults");
        assert_eq!(line.streams.plan(line.nats.shards()), StreamPlan::default());
        let config = line.nats.config("test").expect("defaults");
        assert_eq!(
            (config.urls, config.subjects),
            (NatsConfig::default().urls, Subjects::default())
        );
        assert_eq!(config.startup, NatsConfig::default().startup);
    }

    #[test]
    fn flags_become_configuration() {
        let line = parse(&[
            "--nats=nats://u:p@a:4222,nats://b:4222",
            "--nats-user=me",
            "--nats-password=secret",
            "--subject-prefix=staging",
            "--generation=2",
            "--shards=4",
            "--replicas=3",
            "--events-max-bytes=1MiB",
            "--stories-max-age=1h",
        ]);
        let line = line.expect("sound flags");
        let config = line.nats.config("test").expect("sound flags");
        assert_eq!(config.shown_urls(), "nats://a:4222, nats://b:4222");
        assert_eq!(config.subjects, Subjects::new("staging", "2").expect("plain"));
        assert_eq!(config.identity.name(), "the user with the password");
        let plan = line.streams.plan(line.nats.shards());
        assert_eq!(
            (plan.replicas, plan.shards, plan.events_max_bytes),
            (3, ShardCount::new(4), 1 << 20)
        );
        assert_eq!(plan.stories_max_age, Duration::from_secs(3_600));
        let shown = format!("{line:?}");
        assert!(!shown.contains("secret") && !shown.contains("u:p"), "{shown}");
    }

    #[test]
    fn what_makes_no_sense_names_the_cure() {
        let at_parsing = [
            ("--replicas=2", "write 1, 3 or 5"),
            ("--events-max-bytes=4GB", "write bytes, or a number with KiB"),
            ("--shards=0", "0 is not in 1..=65535"),
            ("--stories-max-age=0s", "at least a second"),
        ];
        for (flag, cure) in at_parsing {
            let said = parse(&[flag]).expect_err(flag).to_string();
            assert!(said.contains(cure), "{flag}: {said}");
        }
        let at_use: [(&[&str], &str); 3] = [
            (&["--subject-prefix=a.b"], "`a.b` cannot be a subject prefix: 1 to 32 of"),
            (&["--nats-user=u", "--nats-token=t"], "both say who we are: keep one"),
            (&["--nats-cert=c"], "NATS_CERT is set and NATS_KEY is not"),
        ];
        for (flags, cure) in at_use {
            let said = parse(flags).expect("words").nats.config("test").expect_err("nonsense");
            assert!(said.0.contains(cure), "{flags:?}: {said}");
        }
    }

    #[test]
    fn sizes_are_read() {
        let table = [("1", 1), ("2 KiB", 2_048), ("256MiB", 256 << 20), ("4GiB", 4 << 30)];
        for (text, size) in table {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for bad in ["", "0", "GiB", "-1", "1.5GiB", "99999999TiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
