//! What a log line has in common with its like.

use ahash::AHashMap;
use logdrain::{ClusterId, Miner, UpdateType};
use tapio_collect::Unbound;
use tapio_model::{Kind, Text, keys};

/// Words of a line that are looked at: a longer one is told apart by its beginning.
const WORDS_MAX: usize = 40;

/// Bytes of a line that are looked at.
const LINE_BYTES_MAX: usize = 1_024;

/// Templates of one number of words. With `WORDS_MAX` it bounds the miner: 40 x 32 templates of a
/// kilobyte and its overhead are below 4 MiB, reached by nothing but noise.
const TEMPLATES_PER_LENGTH_MAX: usize = 32;

/// Share of equal words from which on a line is another of its kind. The miner counts a star as
/// equal, so templates drift towards stars the faster the lower this is: of the words without a
/// digit in 1,623 lines of a shop, 52 % became stars at Drain's usual 0.4, 30 % at 0.67, 18 % at
/// 0.8, 1 % at 0.9; of `dpkg.log` at 0.4 and 0.67, nearly all.
const SIMILARITY_MIN: f64 = 0.85;

/// Stands for a word with a digit while templates are mined. The miner takes its own `<*>` for
/// equal to anything: a line of nothing but numbers would swallow every line of its length.
const NUMBER: &str = "<#>";

/// What the miner writes for a word that varies.
const WILDCARD: &str = "<*>";

/// Rendered templates that are kept.
const RENDERED_MAX: usize = WORDS_MAX * TEMPLATES_PER_LENGTH_MAX;

/// Mines the templates of log lines by Drain, one level deep.
///
/// The miner's prefix tree is never pruned; at its least depth (2) there is none, and what it
/// holds is bounded. Words with a digit in them are taken for variable from the start, so that the
/// first line of a kind has nearly the template of the hundredth, on every node.
///
/// # Shape
/// 1.4 to 1.9 µs a line of 25 words that is like others, 11 µs a line of noise, 2 MiB after 50,000
/// lines of noise (measured with optimisation, on one core).
/// # Source
/// He et al., "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS 2017.
pub(crate) struct Templates {
    /// `None` if the miner refused its options, which a test rules out.
    miner: Option<Miner>,
    rendered: AHashMap<ClusterId, Text>,
    /// The words of the line in hand: kept, so that a line allocates nothing.
    words: String,
}

impl Templates {
    pub(crate) fn new() -> Self {
        let miner = Miner::builder()
            .depth(2)
            .sim_threshold(SIMILARITY_MIN)
            .max_clusters_per_leaf(TEMPLATES_PER_LENGTH_MAX)
            .parametrize_numeric_tokens(false)
            .wildcard(WILDCARD)
            .build()
            .ok();
        Self { miner, rendered: AHashMap::new(), words: String::new() }
    }

    /// Adds its template to every event that is a log line.
    pub(crate) fn note(&mut self, events: &mut [Unbound]) {
        for event in events {
            if !matches!(event.kind, Kind::Log | Kind::Exception) {
                continue;
            }
            let template = event.text(keys::MESSAGE).and_then(|message| self.template(message));
            if let Some(template) = template {
                event.attributes.push((keys::TEMPLATE.into(), template.into()));
            }
        }
    }

    /// Returns the template of a line as it is known now.
    fn template(&mut self, line: &str) -> Option<Text> {
        self.take_words(line);
        if self.words.is_empty() {
            return None;
        }
        let miner = self.miner.as_ref()?;
        let added = miner.add(&self.words);
        if added.update == UpdateType::None
            && let Some(known) = self.rendered.get(&added.cluster_id)
        {
            return Some(known.clone());
        }
        let cluster = miner.cluster(added.cluster_id)?;
        let template: Text = cluster.template().replace(NUMBER, WILDCARD).into();
        // Templates that the miner let go of stay until the whole is forgotten.
        if self.rendered.len() >= RENDERED_MAX {
            self.rendered.clear();
        }
        self.rendered.insert(added.cluster_id, template.clone());
        Some(template)
    }

    /// Brings the line's first line to words with one space between.
    fn take_words(&mut self, line: &str) {
        self.words.clear();
        let line = line.trim_start().lines().next().unwrap_or_default();
        let head = line.get(..line.floor_char_boundary(LINE_BYTES_MAX)).unwrap_or_default();
        let has_digit = |word: &str| word.bytes().any(|byte| byte.is_ascii_digit());
        // The time and the like at the beginning are no part of what a line says.
        let words = head.split_whitespace().skip_while(|word| has_digit(word)).take(WORDS_MAX);
        for word in words {
            if !self.words.is_empty() {
                self.words.push(' ');
            }
            self.words.push_str(if has_digit(word) { NUMBER } else { word });
        }
    }
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Templates").field("rendered", &self.rendered.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tapio_model::{Attributes, EventId, Source, Timestamp};

    use super::*;

    fn mine(templates: &mut Templates, line: &str) -> Option<String> {
        templates.template(line).map(|template| template.to_string())
    }

    #[test]
    fn what_varies_is_a_star() {
        let mut templates = Templates::new();
        for (line, want) in [
            ("user 42 logged in", "user <*> logged in"),
            ("user ann logged in", "user ann logged in"),
            ("GET /cart/7 took 12ms from 10.0.0.1", "GET <*> took <*> from <*>"),
            ("12:04:05.1 7 cache 1 2 3", "cache <*> <*> <*>"),
            ("cache is warm again", "cache is warm again"),
            (
                "pay failed for ann: the card was refused",
                "pay failed for ann: the card was refused",
            ),
            ("pay failed for bob: the card was refused", "pay failed for <*> the card was refused"),
            ("pay failed for eve: the card was refused", "pay failed for <*> the card was refused"),
        ] {
            assert_eq!(mine(&mut templates, line).as_deref(), Some(want), "{line}");
        }
        assert_eq!(mine(&mut templates, " \n 7 "), None);
    }

    #[test]
    fn two_miners_of_the_same_lines_agree() {
        let lines =
            (0..2_000).map(|n| format!("w {} w{n} {}", "abc".repeat(n % 7), "x y ".repeat(n % 40)));
        let (mut one, mut other) = (Templates::new(), Templates::new());
        for line in lines {
            assert_eq!(one.template(&line), other.template(&line));
        }
    }

    #[test]
    fn noise_is_bounded() {
        let mut templates = Templates::new();
        let letter = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap());
        for n in 0..20_000_usize {
            let words = (0..n % 60).map(|at| {
                let seed = n.wrapping_mul(2_654_435_761).wrapping_add(at * 40_503);
                (0..4).map(|digit| letter(seed >> (digit * 5))).collect::<String>()
            });
            let line = words.collect::<Vec<_>>().join(" ");
            drop(templates.template(&line));
        }
        assert!(templates.miner.as_ref().unwrap().len() <= RENDERED_MAX);
        assert!(templates.rendered.len() <= RENDERED_MAX);
    }

    #[test]
    fn only_log_lines_have_one() {
        let event = |kind| {
            Unbound::new(EventId::default(), Timestamp::ZERO, Source::App, kind).message("all 7 ok")
        };
        let mut events = [Kind::Log, Kind::Exception, Kind::UnitFailed].map(event);
        Templates::new().note(&mut events);
        let templates = events
            .map(|event| Attributes::new(event.attributes).text(keys::TEMPLATE).map(str::to_owned));
        assert_eq!(templates, [Some("all <*> ok".into()), Some("all <*> ok".into()), None]);
    }

    proptest! {
        #[test]
        fn no_text_panics(texts in proptest::collection::vec(prop_oneof![
            any::<String>(), Just("<*> <*>".to_owned()), Just("<#>".to_owned()), Just("\u{2003}é 1".to_owned()),
        ], 0..32)) {
            let mut templates = Templates::new();
            for text in &texts {
                drop(templates.template(text));
            }
        }
    }
}
