//! Is the tree as the architecture says? Taste that runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use tapio_tests::{root, rust_files};

use crate::Case;

/// Lines a file may have.
const LINES_MAX: usize = 500;

/// What each crate may use of the workspace, besides itself. Development dependencies are free.
const LAYERS: &[(&str, &[&str])] = &[
    ("tapio-model", &[]),
    ("tapio-shard", &["tapio-model"]),
    ("tapio-wire", &["tapio-model", "tapio-shard"]),
    ("tapio-bus", &["tapio-model", "tapio-shard"]),
    ("tapio-telemetry", &["tapio-model"]),
    ("tapio-nats", &["tapio-bus", "tapio-model", "tapio-shard", "tapio-telemetry", "tapio-wire"]),
    ("tapio-baseline", &["tapio-model"]),
    ("tapio-engine", &["tapio-baseline", "tapio-model"]),
    ("tapio-patterns", &["tapio-engine", "tapio-model"]),
    ("tapio-rules", &["tapio-config", "tapio-engine", "tapio-model", "tapio-patterns"]),
    (
        "tapio-owner",
        &[
            "tapio-bus",
            "tapio-engine",
            "tapio-model",
            "tapio-shard",
            "tapio-telemetry",
            "tapio-wire",
        ],
    ),
    (
        "tapio-actors",
        &[
            "tapio-bus",
            "tapio-engine",
            "tapio-model",
            "tapio-owner",
            "tapio-shard",
            "tapio-telemetry",
        ],
    ),
    ("tapio-collect", &["tapio-bus", "tapio-model", "tapio-shard", "tapio-telemetry"]),
    ("tapio-collect-host", &["tapio-collect", "tapio-model", "tapio-telemetry"]),
    ("tapio-collect-otlp", &["tapio-collect", "tapio-model", "tapio-telemetry"]),
    (
        "tapio-collect-kernel",
        &["tapio-collect", "tapio-ebpf-abi", "tapio-model", "tapio-telemetry"],
    ),
    ("tapio-collect-kube", &["tapio-collect", "tapio-model", "tapio-telemetry"]),
    ("tapio-ebpf-abi", &[]),
    ("tapio-config", &["tapio-telemetry"]),
    (
        "tapio-agent",
        &[
            "tapio-bus",
            "tapio-collect",
            "tapio-config",
            "tapio-model",
            "tapio-shard",
            "tapio-telemetry",
            "tapio-wire",
        ],
    ),
    ("tapio-direct", &["tapio-bus", "tapio-model", "tapio-shard", "tapio-telemetry", "tapio-wire"]),
    (
        "tapio-eval",
        &[
            "tapio-collect",
            "tapio-collect-host",
            "tapio-collect-kube",
            "tapio-engine",
            "tapio-model",
            "tapio-patterns",
            "tapio-wire",
        ],
    ),
    (
        "tapio-node",
        &[
            "tapio-baseline",
            "tapio-actors",
            "tapio-bus",
            "tapio-direct",
            "tapio-engine",
            "tapio-model",
            "tapio-nats",
            "tapio-owner",
            "tapio-patterns",
            "tapio-shard",
            "tapio-telemetry",
            "tapio-wire",
        ],
    ),
];

/// Crates that exactly one of ours may know.
const KNOWN_BY_ONE: &[(&str, &[&str])] = &[
    ("actix", &["tapio-actors"]),
    ("axum", &["tapio-node", "tapio-collect-otlp"]),
    ("tonic", &["tapio-collect-otlp", "tapio-direct"]),
    ("aya", &["tapio-collect-kernel"]),
    ("kube", &["tapio-collect-kube"]),
    ("rusqlite", &["tapio-node"]),
    ("sdjournal", &["tapio-collect-host"]),
    ("cel", &["tapio-rules"]),
    ("csv", &["tapio-eval"]),
    ("rmp-serde", &["tapio-wire"]),
    ("async-nats", &["tapio-nats"]),
    ("opentelemetry", &["tapio-telemetry"]),
    ("opentelemetry_sdk", &["tapio-telemetry"]),
];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("tidy::dependencies_point_the_right_way", layers),
        Case::new("tidy::heavy_crates_have_one_owner", owners),
        Case::new("tidy::no_file_is_past_the_wall", walls),
        Case::new("tidy::no_room_is_called_utils", names),
        Case::new("tidy::no_test_is_switched_off", ignored),
        Case::new("tidy::the_pattern_page_is_current", pattern_page),
        Case::new("tidy::every_crate_is_in_the_architecture", architecture),
    ]
}

/// Returns, for each member, the names below `[dependencies]`.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for manifest in manifests() {
        let Ok(text) = fs::read_to_string(&manifest) else { continue };
        let name = text.lines().find_map(|line| line.strip_prefix("name = \""));
        let Some(name) = name.and_then(|rest| rest.split('"').next()) else { continue };
        let section = text.split("\n[dependencies]\n").nth(1).unwrap_or_default();
        let section = section.split("\n[").next().unwrap_or_default();
        let names = section.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
        let names = names.filter(|name| !name.is_empty() && !name.starts_with('#'));
        all.insert(name.to_owned(), names.map(str::to_owned).collect());
    }
    all
}

fn manifests() -> BTreeSet<std::path::PathBuf> {
    let rust = rust_files();
    let crates = rust.iter().filter_map(|file| {
        file.ancestors().map(|dir| dir.join("Cargo.toml")).find(|manifest| manifest.is_file())
    });
    crates.collect()
}

fn layers() -> Result<(), String> {
    let all = dependencies();
    for (name, allowed) in LAYERS {
        let used = all.get(*name).ok_or_else(|| format!("{name} has no manifest"))?;
        let mut ours = used.iter().filter(|used| used.starts_with("tapio-"));
        if let Some(used) = ours.find(|used| !allowed.contains(&used.as_str())) {
            return Err(format!("{name} must not know {used}"));
        }
    }
    let model = all.get("tapio-model").map_or(0, BTreeSet::len);
    if model > 0 { Err("tapio-model must have no dependency".into()) } else { Ok(()) }
}

fn owners() -> Result<(), String> {
    let all = dependencies();
    for (heavy, owners) in KNOWN_BY_ONE {
        for (name, _) in all.iter().filter(|(_, used)| used.contains(*heavy)) {
            if !owners.contains(&name.as_str()) {
                return Err(format!("{name} must not know {heavy}: ask {owners:?}"));
            }
        }
    }
    Ok(())
}

fn walls() -> Result<(), String> {
    for file in rust_files() {
        let lines = fs::read_to_string(&file).map_or(0, |text| text.lines().count());
        if lines > LINES_MAX {
            return Err(format!("{} has {lines} lines, more than {LINES_MAX}", file.display()));
        }
    }
    Ok(())
}

fn names() -> Result<(), String> {
    const BANNED: [&str; 5] = ["utils", "util", "helpers", "common", "mod"];
    let stem = |file: &Path| file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    for file in rust_files() {
        if stem(&file).is_some_and(|stem| BANNED.contains(&stem.as_str())) {
            return Err(format!("{}: name it for what it holds", file.display()));
        }
    }
    Ok(())
}

fn ignored() -> Result<(), String> {
    let marks = ["#[ig", "nore"].concat();
    for file in rust_files() {
        let text = fs::read_to_string(&file).unwrap_or_default();
        if text.contains(&marks) {
            return Err(format!("{}: a test decides at run time and says why", file.display()));
        }
    }
    Ok(())
}

fn pattern_page() -> Result<(), String> {
    let path = root().join("docs/patterns.md");
    let page = fs::read_to_string(&path).unwrap_or_default();
    let home = tempfile::TempDir::new().map_err(|error| error.to_string())?;
    let output = tapio_tests::run(&home, &["explain", "--markdown"])?;
    if page.as_bytes() == output.stdout {
        return Ok(());
    }
    Err("docs/patterns.md is not what `tapio explain --markdown` prints: write it anew".into())
}

fn architecture() -> Result<(), String> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap_or_default();
    let all = dependencies();
    let missing: Vec<_> = all.keys().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("ARCHITECTURE.md lacks {missing:?}")) }
}
