//! What comes again and again is kept once.
//!
//! Most texts and places of the events that a node decodes it has decoded before: names of services,
//! keys of attributes, pods. Sharing them makes an event a third of its size, and cheap to drop.

use std::{cell::RefCell, sync::Arc};

use ahash::RandomState;
use tapio_model::{Place, Text};

/// Texts and places that a thread remembers, each. A power of two.
const SLOTS: usize = 4_096;

/// Longer texts seldom come again.
const TEXT_BYTES_MAX: usize = 96;

thread_local! {
    // A thread's own: threads that share a count of references wait for each other.
    static KNOWN: RefCell<Known> = RefCell::new(Known::new());
}

/// Two tables with one place for each hash: what comes in takes the place of what was there.
///
/// So they stay within bounds whatever comes in, and who sends nonsense makes others miss, no more:
/// nobody outside can know the hash.
struct Known {
    hash: RandomState,
    texts: Vec<Option<Text>>,
    places: Vec<Option<Arc<Place>>>,
}

impl Known {
    fn new() -> Self {
        let hash = RandomState::new();
        Self { hash, texts: vec![None; SLOTS], places: vec![None; SLOTS] }
    }

    fn text(&mut self, text: &str) -> Text {
        let at = slot(self.hash.hash_one(text));
        match self.texts.get_mut(at) {
            Some(Some(known)) if *known == *text => known.clone(),
            Some(other) => other.insert(text.into()).clone(),
            None => text.into(),
        }
    }

    fn place(&mut self, place: Place) -> Arc<Place> {
        let at = slot(self.hash.hash_one(&place));
        match self.places.get_mut(at) {
            Some(Some(known)) if **known == place => Arc::clone(known),
            Some(other) => Arc::clone(other.insert(Arc::new(place))),
            None => Arc::new(place),
        }
    }
}

fn slot(hash: u64) -> usize {
    // The remainder is small.
    usize::try_from(hash % SLOTS as u64).unwrap_or_default()
}

/// Makes a text, shared with an equal one that this thread has read before.
pub(crate) fn text(text: &str) -> Text {
    if text.len() > TEXT_BYTES_MAX {
        return text.into();
    }
    KNOWN.with_borrow_mut(|known| known.text(text))
}

/// Makes a place, shared with an equal one that this thread has read before.
pub(crate) fn place(place: Place) -> Arc<Place> {
    KNOWN.with_borrow_mut(|known| known.place(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ones_are_one_and_others_are_not() {
        let first = text("checkout");
        assert_eq!(text("checkout").as_ptr(), first.as_ptr());
        assert_eq!(text("cart"), "cart");
        let at = |pod: &str| place(Place { pod: Some(pod.into()), ..Place::default() });
        assert!(Arc::ptr_eq(&at("a"), &at("a")));
        assert_eq!(at("b").pod.as_deref(), Some("b"));
    }

    #[test]
    fn a_flood_of_others_keeps_its_bounds_and_every_text_its_letters() {
        for number in 0..4 * SLOTS {
            let letters = number.to_string();
            assert_eq!(text(&letters), *letters.as_str());
        }
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        assert_ne!(text(&long).as_ptr(), text(&long).as_ptr(), "a long one is not kept");
        KNOWN.with_borrow(|known| assert_eq!(known.texts.len(), SLOTS));
    }
}
