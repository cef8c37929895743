//! The variables of the environment that take precedence over the file.

use tapio_config::{Fault, Variable, nearest};

use super::{AgentConfig, OutputMode};

pub(super) const ALL: &[Variable<AgentConfig>] = &[
    Variable {
        name: "NATS_URL",
        field: "output.nats.url",
        set: |config, text| put(&mut config.output.nats.url, text),
    },
    Variable {
        name: "NATS_SUBJECT_PREFIX",
        field: "output.nats.subject_prefix",
        set: |config, text| put(&mut config.output.nats.subject_prefix, text),
    },
    Variable {
        name: "LOG_LEVEL",
        field: "log_level",
        set: |config, text| put(&mut config.log_level, text),
    },
    Variable {
        name: "NODE_NAME",
        field: "node",
        set: |config, text| put(config.node.get_or_insert_default(), text),
    },
    Variable {
        name: "CLUSTER_NAME",
        field: "cluster",
        set: |config, text| put(config.cluster.get_or_insert_default(), text),
    },
    Variable {
        name: "POD_NAME",
        field: "pod",
        set: |config, text| put(config.pod.get_or_insert_default(), text),
    },
    Variable {
        name: "TAPIO_OUTPUT",
        field: "output.mode",
        set: |config, text| {
            config.output.mode = mode(text)?;
            Ok(())
        },
    },
    Variable {
        name: "TAPIO_DIRECT_URL",
        field: "output.direct.url",
        set: |config, text| put(&mut config.output.direct.url, text),
    },
    Variable {
        name: "TAPIO_SPOOL_PATH",
        field: "spool.path",
        set: |config, text| {
            config.spool.path = Some(text.into());
            Ok(())
        },
    },
    Variable {
        name: "TAPIO_SPOOL_BYTES_MAX",
        field: "spool.bytes_max",
        set: |config, text| {
            config.spool.bytes_max = text.parse().map_err(|why| {
                Fault::new("spool.bytes_max", format!("`{text}`: {why}"), "write a number of bytes")
            })?;
            Ok(())
        },
    },
];

#[expect(clippy::unnecessary_wraps, reason = "a setter may fail, this one does not")]
fn put(field: &mut String, text: &str) -> Result<(), Fault> {
    text.clone_into(field);
    Ok(())
}

fn mode(text: &str) -> Result<OutputMode, Fault> {
    let modes = [OutputMode::Nats, OutputMode::Direct];
    modes.into_iter().find(|mode| mode.name() == text).ok_or_else(|| {
        let cure = nearest(text, &modes.map(OutputMode::name)).map_or_else(
            || "write nats or direct".to_owned(),
            |meant| format!("did you mean `{meant}`?"),
        );
        Fault::new("output.mode", format!("`{text}` is none of its values"), cure)
    })
}
