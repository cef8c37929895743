//! Rules for tests.

use std::sync::Arc;

use crate::{Library, Rule, RuleError, source::Source};

/// Returns a rule's file around these lines, which hold `match` and whatever else.
pub(crate) fn yaml(lines: &str) -> String {
    format!(
        "slug: sample\ntitle: Sample\nwhat: a\nevidence: b\nroot: c\nnot_this: d\nfirst_look: e\n\
         class: kernel_proof\ntell: {{ title: \"{{place}}\", because: \"{{message}}\", advise: [look] }}\n\
         scenes:\n\
         - {{ name: x, truth: cause, story: 0s a/b Log }}\n\
         - {{ name: y, truth: container_oom, story: 0s a/b Log }}\n\
         - {{ name: z, truth: healthy, story: 0s a/b Log }}\n{lines}"
    )
}

pub(crate) fn source(text: &str) -> Source {
    Source { path: "sample.yaml".into(), bytes: text.as_bytes().to_vec() }
}

pub(crate) fn rule(lines: &str) -> Arc<Rule> {
    let library = Library::of(&[source(&yaml(lines))]).unwrap();
    Arc::clone(&library.rules()[0])
}

pub(crate) fn errors(text: &str) -> Vec<RuleError> {
    Library::of(&[source(text)]).unwrap_err()
}
