use std::collections::BTreeMap;

use serde::Deserialize;
use tempfile::tempdir;

use super::*;
use crate::Variable;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ship {
    name: String,
    port: u16,
    crew: Crew,
    cargo: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Crew {
    captain: String,
    watch: Watch,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Watch {
    #[default]
    Day,
    Night,
}

impl Validate for Ship {
    const VARIABLES: &'static [Variable<Self>] = &[
        Variable {
            name: "SHIP_PORT",
            field: "port",
            set: |ship, text| {
                ship.port = text.parse().map_err(|why| {
                    Fault::new("port", format!("`{text}`: {why}"), "write a number below 65,536")
                })?;
                Ok(())
            },
        },
        Variable {
            name: "SHIP_NAME",
            field: "name",
            set: |ship, text| {
                text.clone_into(&mut ship.name);
                Ok(())
            },
        },
    ];

    fn validate(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.port == 1 {
            faults.push(Fault::new("port", "1 is taken", "choose another"));
        }
        if self.crew.captain == "nobody" {
            faults.push(Fault::new("crew.captain", "nobody steers", "name somebody"));
        }
        faults
    }
}

#[expect(clippy::unwrap_in_result, reason = "a test that cannot be set up has failed")]
fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Ship, String> {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("ship.yaml");
    fs::write(&path, text).expect("a file");
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
    let origin =
        Origin { path: Some(path), lookup: Arc::new(move |name| variables.get(name).cloned()) };
    load(&origin)
        .map_err(|why| why.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

#[test]
fn a_file_and_variables_make_a_value() {
    let text = "name: Vega\nport: 7\ncrew: {captain: Ida, watch: night}\ncargo: [coal, '12']\n";
    let ship = load_text(text, &[("SHIP_PORT", "8"), ("SHIP_NAME", "")]).expect("good");
    let crew = Crew { captain: "Ida".into(), watch: Watch::Night };
    let cargo = vec!["coal".into(), "12".into()];
    assert_eq!(ship, Ship { name: "Vega".into(), port: 8, crew, cargo });
    for nothing in ["", "# only\n  # comments\n", "---\n"] {
        assert_eq!(load_text(nothing, &[]), Ok(Ship::default()), "{nothing:?}");
    }
}

/// A file, the variables, and what is said.
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str);

#[test]
fn every_error_names_file_line_field_and_cure() {
    let rows: &[Row] = &[
        ("nmae: Vega\n", &[], "ship.yaml:1: nmae: there is no such field; did you mean `name`?"),
        (
            "port: 2\ncrew:\n  capitan: Ida\n",
            &[],
            "ship.yaml:3: crew.capitan: there is no such field; did you mean `captain`?",
        ),
        (
            "crew:\n  colour: red\n",
            &[],
            "ship.yaml:2: crew.colour: there is no such field; choose one of: captain, watch",
        ),
        (
            "\ncrew:\n  watch: nihgt\n",
            &[],
            "ship.yaml:3: crew.watch: `nihgt` is none of its values; did you mean `night`?",
        ),
        ("name: a\nname: b\n", &[], "ship.yaml:2: `name` stands here twice; keep one of the two"),
        ("name: a\nport: 1\n", &[], "ship.yaml:2: port: 1 is taken; choose another"),
        (
            "name: a\n",
            &[("SHIP_PORT", "1")],
            "variable SHIP_PORT: port: 1 is taken; choose another",
        ),
        (
            "port: 3\n",
            &[("SHIP_PORT", "x")],
            "variable SHIP_PORT: port: `x`: invalid digit found in string; write a number below 65,536",
        ),
        (
            "port: 1\ncrew:\n  captain: nobody\n",
            &[],
            "ship.yaml:1: port: 1 is taken; choose another\n\
             ship.yaml:3: crew.captain: nobody steers; name somebody",
        ),
    ];
    for (text, variables, why) in rows {
        assert_eq!(load_text(text, variables).unwrap_err(), *why, "{text}");
    }
}

#[test]
fn a_bad_value_is_found_on_its_line() {
    for (text, begins) in [
        ("name: a\nport: many\n", "ship.yaml:2: port: "),
        ("name: a\nport: 70000\n", "ship.yaml:2: port: "),
        ("name: a\ncargo: coal\n", "ship.yaml:2: cargo: "),
        ("name: a\n  crew: [\n", "ship.yaml:"),
        ("- a\n- b\n", "ship.yaml:1: "),
    ] {
        let why = load_text(text, &[]).unwrap_err();
        assert!(why.starts_with(begins), "{text}: {why}");
        assert_eq!(why.lines().count(), 1, "{why}");
    }
}

#[test]
fn what_is_no_configuration_is_refused_whole() {
    let folder = tempdir().expect("a folder");
    let origin =
        |name: &str| Origin { path: Some(folder.path().join(name)), lookup: Arc::new(|_| None) };
    fs::write(folder.path().join("binary"), [0xff, 0xfe, 0, 1]).expect("a file");
    fs::write(folder.path().join("huge"), vec![b'#'; 1 << 21]).expect("a file");
    for (name, what) in [
        ("none", "create it, or name another file"),
        ("binary", "is not text"),
        ("huge", "longer than 1 MiB"),
        ("", "cannot be read"),
    ] {
        let why = load::<Ship>(&origin(name)).unwrap_err().to_string();
        assert!(why.contains(what), "{name}: {why}");
    }
}
