//! Texts with placeholders: `{place} evicts {count} times`.

use std::fmt::Write as _;

use tapio_model::{Event, Text};

use crate::{
    Limits,
    condition::{PLACE_FIELDS, attribute_key, place_field},
    event_text::{count, cut, said},
    problem::Fault,
};

/// What a placeholder says if nobody knows.
const UNKNOWN: &str = "unknown";

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A word of a step's first event; without a step, of the event the text is about.
    Word(Option<usize>, Word),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Place,
    Message,
    Kind,
    Count,
    Part(&'static str),
    Attribute(Text),
}

/// The events of each step, in order of the steps; none for a step that was not seen.
pub(crate) type Seen<'a> = [Vec<&'a Event>];

impl Template {
    /// Reads a text; `steps` are the names that a placeholder may begin with.
    pub(crate) fn parse(text: &str, steps: &[&str]) -> Result<Self, Fault> {
        if text.chars().count() > Limits::TEXT_CHARS_MAX {
            return Err(Fault::new(
                format!("longer than {} letters", Limits::TEXT_CHARS_MAX),
                "a story is read on a phone: shorten it",
            ));
        }
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text.trim();
        while let Some((before, after)) = rest.split_once(['{', '}']) {
            plain.push_str(before);
            let mark = if rest.as_bytes().get(before.len()) == Some(&b'{') { '{' } else { '}' };
            if let Some(doubled) = after.strip_prefix(mark) {
                plain.push(mark);
                rest = doubled;
                continue;
            }
            let closed = if mark == '{' { after.split_once('}') } else { None };
            let Some((inside, after)) = closed else {
                return Err(Fault::new(format!("a lone `{mark}`"), format!("write {mark}{mark}")));
            };
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(placeholder(inside.trim(), steps)?);
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        Ok(Self(pieces))
    }

    /// Says whether there is nothing to say.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fills the placeholders in. `about` is whose events the text is of, `own` the one among them.
    pub(crate) fn fill(&self, seen: &Seen<'_>, about: usize, own: Option<&Event>) -> Text {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Word(step, word) => {
                    let number = step.unwrap_or(about);
                    let events = seen.get(number).map(Vec::as_slice).unwrap_or_default();
                    let first = events.first().copied();
                    let event = if step.is_none() { own.or(first) } else { first };
                    match event {
                        Some(event) => word.write(event, events, &mut text),
                        None => text.push_str(UNKNOWN),
                    }
                }
            }
        }
        // Line ends of the file are not line ends of the story.
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        cut(&line, Limits::LINE_CHARS_MAX).into()
    }
}

impl Word {
    fn write(&self, event: &Event, events: &[&Event], text: &mut String) {
        let place = &event.place;
        match self {
            Self::Place => text.push_str(&place.label()),
            Self::Message => text.push_str(&said(event)),
            Self::Kind => text.push_str(event.kind.name()),
            Self::Count => write!(text, "{}", count(events)).unwrap_or_default(),
            Self::Part(name) => {
                let part = place_field(name).and_then(|field| field.of(place));
                text.push_str(part.map_or(UNKNOWN, Text::as_str));
            }
            Self::Attribute(key) => match event.attributes.get(key) {
                Some(value) => write!(text, "{value}").unwrap_or_default(),
                None => text.push_str(UNKNOWN),
            },
        }
    }
}

/// Reads what stands between braces: `message`, `attributes.exit`, `step.message`.
fn placeholder(inside: &str, steps: &[&str]) -> Result<Piece, Fault> {
    let step = steps
        .iter()
        .enumerate()
        .find_map(|(number, name)| Some((number, inside.strip_prefix(name)?.strip_prefix('.')?)));
    if let Some((number, rest)) = step {
        return Ok(Piece::Word(Some(number), word(rest, &[])?));
    }
    Ok(Piece::Word(None, word(inside, steps)?))
}

fn word(name: &str, steps: &[&str]) -> Result<Word, Fault> {
    if let Some(key) = name.strip_prefix("attributes.") {
        return Ok(Word::Attribute(attribute_key(key)?));
    }
    let plain = [
        ("place", Word::Place),
        ("message", Word::Message),
        ("kind", Word::Kind),
        ("count", Word::Count),
    ];
    let parts = PLACE_FIELDS.map(|(part, _)| (part, Word::Part(part)));
    let known = || plain.iter().chain(&parts);
    let found = known().find(|(known, _)| *known == name).map(|(_, word)| word.clone());
    found.ok_or_else(|| {
        let names = known().map(|(known, _)| (*known).to_owned());
        let of_steps = steps.iter().map(|step| format!("{step}.message"));
        let names = names.chain(["attributes.KEY".to_owned()]).chain(of_steps);
        Fault::unknown("placeholder", name, names)
    })
}

#[cfg(test)]
mod tests {
    use tapio_patterns::fixture::events;

    use super::*;

    #[test]
    fn placeholders_are_filled_in() {
        let told = events(
            "0s shop/a-1/app@n1%a Log msg=\"first  line\" count=2 exit=7; 0s shop/a-1/app Log \
             msg=second; 1s svc:shop/b Span",
        )
        .unwrap();
        let (a, b): (Vec<_>, Vec<_>) = (told[..2].iter().collect(), told[2..].iter().collect());
        let seen = [a, Vec::new(), b];
        let cases = [
            ("plain", "plain"),
            ("{place}: {message}, {count} times", "shop/a-1/app: second, 3 times"),
            ("{ kind }{{x}} }}{{", "log{x} }{"),
            ("exit {attributes.exit} on {node}", "exit unknown on unknown"),
            ("{first.attributes.process.exit.code} {first.workload}", "7 a"),
            ("{none.message} and {last.service}", "unknown and b"),
            ("over\n  two\n\nlines", "over two lines"),
            ("{first.message}", "first line"),
            ("  ", ""),
        ];
        for (text, want) in cases {
            let template = Template::parse(text, &["first", "none", "last"]).unwrap();
            assert_eq!(template.fill(&seen, 0, Some(&told[1])), want, "{text}");
            assert_eq!(template.is_empty(), want.is_empty(), "{text}");
        }
        let count = Template::parse("{count}", &[]).unwrap();
        assert_eq!(count.fill(&seen, 2, None), "1");
        let long = Template::parse(&"x".repeat(4_000), &[]).unwrap();
        assert!(long.fill(&seen, 0, None).len() <= Limits::LINE_CHARS_MAX + 3);
    }

    #[test]
    fn what_cannot_be_filled_in_is_refused() {
        let cases = [
            ("{", "write {{"),
            ("a } b", "write }}"),
            ("{placex}", "did you mean `place`?"),
            ("{attributes.exitx}", "did you mean `exit`?"),
            ("{stepx.message}", "did you mean `step.message`?"),
            ("{step.nothing}", "choose one of"),
            ("{}", "choose one of"),
        ];
        for (text, cure) in cases {
            let fault = Template::parse(text, &["step"]).unwrap_err();
            assert!(fault.cure.contains(cure), "{text}: {fault:?}");
        }
        assert!(Template::parse(&"x".repeat(5_000), &[]).is_err());
    }
}
