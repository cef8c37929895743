//! Names that stay for the life of the process.
//!
//! The engine knows a pattern by `&'static` names: those of the built-in ones are in the program,
//! and findings, hypotheses and metrics copy the pointer on every evaluation. A rule's names come
//! at run time, so they are leaked, each distinct one once: loading the same file a thousand times
//! leaks it once. What is leaked is a slug, a title and a list of kinds, not a file; and
//! [`Limits::KEPT_BYTES_MAX`] ends it, long after anybody edits that many titles by hand.

use std::{
    collections::BTreeMap,
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use tapio_engine::Spec;
use tapio_model::Kind;

use crate::{Limits, problem::Fault};

static KEPT: Mutex<Kept> =
    Mutex::new(Kept { texts: BTreeSet::new(), specs: BTreeMap::new(), bytes: 0 });

/// What makes two specs one.
type Key = (&'static str, &'static str, Vec<Kind>, Vec<&'static str>);

struct Kept {
    texts: BTreeSet<&'static str>,
    specs: BTreeMap<Key, &'static Spec>,
    bytes: usize,
}

/// Keeps a text.
pub(crate) fn text(text: &str) -> Result<&'static str, Fault> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).text(text)
}

/// Keeps what a pattern says of itself.
pub(crate) fn spec(
    slug: &str,
    title: &str,
    wakes_on: Vec<Kind>,
    leads_to: &[String],
) -> Result<&'static Spec, Fault> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let (slug, title) = (kept.text(slug)?, kept.text(title)?);
    let leads_to = leads_to.iter().map(|it| kept.text(it)).collect::<Result<Vec<_>, _>>()?;
    let key = (slug, title, wakes_on, leads_to);
    if let Some(known) = kept.specs.get(&key) {
        return Ok(known);
    }
    let bytes = size_of::<Spec>() + size_of_val(key.2.as_slice()) + size_of_val(key.3.as_slice());
    kept.charge(bytes)?;
    let spec: &'static Spec = Box::leak(Box::new(Spec {
        slug,
        title,
        wakes_on: Box::leak(key.2.clone().into_boxed_slice()),
        leads_to: Box::leak(key.3.clone().into_boxed_slice()),
    }));
    kept.specs.insert(key, spec);
    Ok(spec)
}

impl Kept {
    fn text(&mut self, text: &str) -> Result<&'static str, Fault> {
        if let Some(known) = self.texts.get(text) {
            return Ok(known);
        }
        self.charge(text.len())?;
        let text: &'static str = Box::leak(Box::from(text));
        self.texts.insert(text);
        Ok(text)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Fault> {
        if self.bytes.saturating_add(bytes) > Limits::KEPT_BYTES_MAX {
            let max = Limits::KEPT_BYTES_MAX >> 10;
            let what = format!("slugs and titles changed so often that they fill {max} KiB");
            return Err(Fault::new(what, "start the process again"));
        }
        self.bytes += bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_kept_once() {
        let make = |title| spec("kept_once", title, vec![Kind::Log], &["a".to_owned()]).unwrap();
        assert!(std::ptr::eq(make("One"), make("One")));
        assert!(!std::ptr::eq(make("One"), make("Two")));
        assert!(std::ptr::eq(make("One").slug, make("Two").slug));
    }

    #[test]
    fn what_is_kept_has_an_end() {
        let mut kept = Kept { texts: BTreeSet::new(), specs: BTreeMap::new(), bytes: 0 };
        kept.bytes = Limits::KEPT_BYTES_MAX - 3;
        assert_eq!(kept.text("abc"), Ok("abc"));
        assert!(kept.text("d").is_err());
        assert_eq!(kept.text("abc"), Ok("abc"), "what is kept already costs nothing");
    }
}
