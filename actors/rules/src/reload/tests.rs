use tempfile::TempDir;

use super::*;
use crate::fixture::yaml;

fn text(slug: &str, kind: &str) -> String {
    yaml(&format!("match: [{{ name: a, kind: {kind} }}]"))
        .replace("slug: sample", &format!("slug: {slug}"))
}

/// Writes a file as editors and ConfigMaps do: another file takes its place.
fn write(home: &TempDir, name: &str, text: &str) {
    let new = home.path().join(".new");
    fs::write(&new, text).unwrap();
    fs::rename(new, home.path().join(name)).unwrap();
}

fn slugs(reload: &Reload) -> Vec<String> {
    let library = reload.library();
    library.rules().iter().map(|rule| rule.spec.slug.to_owned()).collect()
}

/// Looks until what is there counts.
fn settle(reload: &mut Reload) -> Change {
    let told = reload.look();
    if told == Change::None { reload.look() } else { told }
}

fn names(paths: &[PathBuf]) -> Vec<&str> {
    paths.iter().filter_map(|path| path.file_name()?.to_str()).collect()
}

#[test]
fn a_look_says_what_changed() {
    let home = TempDir::new().unwrap();
    write(&home, "a.yaml", &text("a", "log"));
    write(&home, "b.yaml", &text("b", "log"));
    let mut reload = Reload::open(home.path()).unwrap();
    assert_eq!(slugs(&reload), ["a", "b"]);
    assert_eq!(settle(&mut reload), Change::None);
    write(&home, "b.yaml", &text("b", "span"));
    write(&home, "c.yaml", &text("c", "log"));
    fs::remove_file(home.path().join("a.yaml")).unwrap();
    let Change::Taken { added, changed, removed } = settle(&mut reload) else {
        panic!("{reload:?}")
    };
    let [added, changed, removed] = [&added, &changed, &removed].map(|paths| names(paths));
    assert_eq!((added, changed, removed), (vec!["c.yaml"], vec!["b.yaml"], vec!["a.yaml"]));
    assert_eq!(slugs(&reload), ["b", "c"]);
    assert_eq!(settle(&mut reload), Change::None);
}

#[test]
fn a_bad_file_keeps_the_whole_old_set_and_is_told_once() {
    let home = TempDir::new().unwrap();
    write(&home, "a.yaml", &text("a", "log"));
    let mut reload = Reload::open(home.path()).unwrap();
    let old = reload.library();
    write(&home, "b.yaml", &text("b", "log"));
    write(&home, "c.yaml", &text("c", "spam"));
    let Change::Refused(errors) = settle(&mut reload) else { panic!("{reload:?}") };
    assert_eq!(errors[0].field, "match.1.kind");
    assert!(Arc::ptr_eq(&old, &reload.library()), "the good one of two new files waits too");
    assert_eq!(settle(&mut reload), Change::None);
    assert_eq!(reload.errors(), errors);
    write(&home, "c.yaml", &text("c", "span"));
    assert!(matches!(settle(&mut reload), Change::Taken { added, .. } if added.len() == 2));
    assert!(reload.errors().is_empty());
    assert_eq!(slugs(&reload), ["a", "b", "c"]);
}

#[test]
fn a_file_that_is_being_written_is_not_taken() {
    let home = TempDir::new().unwrap();
    let mut reload = Reload::open(home.path()).unwrap();
    write(&home, "a.yaml", "slug: half");
    assert_eq!(reload.look(), Change::None);
    write(&home, "a.yaml", &text("a", "log"));
    assert_eq!(reload.look(), Change::None, "it was another a moment ago");
    assert!(matches!(reload.look(), Change::Taken { .. }));
}

#[test]
fn what_says_the_same_as_before_is_no_change() {
    let home = TempDir::new().unwrap();
    write(&home, "a.yaml", &text("a", "log"));
    let mut reload = Reload::open(home.path()).unwrap();
    let old = reload.library();
    write(&home, "a.yaml", &text("a", "log"));
    assert_eq!(settle(&mut reload), Change::None);
    write(&home, "a.yaml", "nonsense");
    assert!(matches!(settle(&mut reload), Change::Refused(_)));
    write(&home, "a.yaml", &text("a", "log"));
    assert_eq!(settle(&mut reload), Change::None);
    assert!(reload.errors().is_empty(), "what is in force is what is there");
    assert!(Arc::ptr_eq(&old, &reload.library()), "its counters go on");
}

#[test]
fn a_directory_that_is_gone_takes_no_rule_away() {
    let home = TempDir::new().unwrap();
    let rules = home.path().join("rules");
    fs::create_dir(&rules).unwrap();
    fs::write(rules.join("a.yaml"), text("a", "log")).unwrap();
    let mut reload = Reload::open(&rules).unwrap();
    fs::rename(&rules, home.path().join("away")).unwrap();
    assert!(matches!(settle(&mut reload), Change::Refused(_)));
    assert_eq!(settle(&mut reload), Change::None, "told once");
    assert_eq!(slugs(&reload), ["a"]);
    fs::rename(home.path().join("away"), &rules).unwrap();
    assert_eq!(settle(&mut reload), Change::None);
    assert!(reload.errors().is_empty());
    fs::remove_file(rules.join("a.yaml")).unwrap();
    assert!(matches!(settle(&mut reload), Change::Taken { removed, .. } if removed.len() == 1));
    assert!(slugs(&reload).is_empty(), "an empty directory is what somebody wanted");
}

#[test]
fn a_config_map_moves_its_link() {
    let home = TempDir::new().unwrap();
    for (version, kind) in [("..1", "log"), ("..2", "span")] {
        fs::create_dir(home.path().join(version)).unwrap();
        fs::write(home.path().join(version).join("a.yaml"), text("a", kind)).unwrap();
    }
    let link = |to: &str| {
        std::os::unix::fs::symlink(to, home.path().join("..new")).unwrap();
        fs::rename(home.path().join("..new"), home.path().join("..data")).unwrap();
    };
    link("..1");
    std::os::unix::fs::symlink("..data/a.yaml", home.path().join("a.yaml")).unwrap();
    let mut reload = Reload::open(home.path()).unwrap();
    assert_eq!(settle(&mut reload), Change::None);
    link("..2");
    assert!(matches!(settle(&mut reload), Change::Taken { changed, .. } if changed.len() == 1));
}

#[test]
fn there_is_no_old_set_to_keep_at_the_first_look() {
    let home = TempDir::new().unwrap();
    assert!(slugs(&Reload::open(home.path()).unwrap()).is_empty());
    write(&home, "a.yaml", "nonsense");
    assert_eq!(Reload::open(home.path()).unwrap_err().len(), 1);
}
