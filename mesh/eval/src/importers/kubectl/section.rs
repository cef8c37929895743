//! What was asked and what was answered: the outputs that a file holds.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::Value as Json;

/// Mark a line of a transcript that is a command.
const PROMPTS: &[&str] = &["$ kubectl ", "$ oc ", "$ helm ", "$ argocd "];

/// Begins the account that some recorders write below a log.
const LOG_FOOTER: &str = "LOG QUERY METADATA";

/// Parts of a tool's name by which its output is that of kubectl, or of a tool beside it that is read.
const OUR_TOOLS: &[&str] =
    &["kubectl", "kubernetes", "pod_logs", "argocd_app_get", "helm_list", "trace"];

/// What was asked, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Command {
    /// `logs`, `describe`, `get`, ...
    pub(super) verb: String,
    /// The kind of what was asked for, as it was written.
    pub(super) kind: Option<String>,
    /// Its name.
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) container: Option<String>,
    /// Labels of what was asked for.
    pub(super) selector: Option<String>,
    /// Whether the log is that of the container before the last restart.
    pub(super) is_previous: bool,
}

/// A command and its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section<'a> {
    pub(super) command: Command,
    pub(super) text: Cow<'a, str>,
    /// When it was asked, if the recorder wrote it down.
    pub(super) asked_at: Option<&'a str>,
}

/// Takes a file apart; `None` if it was recorded of something else than kubectl.
pub(super) fn sections(text: &str) -> Option<Vec<Section<'_>>> {
    let (command, body) = match header(text) {
        Some(Header::Ours(command, body)) => (command, body),
        Some(Header::Other) => return None,
        None => (Command::default(), text),
    };
    let (body, asked_at) = without_footer(body);
    let mut sections = Vec::new();
    let mut command = command;
    let mut rest = body;
    while let Some((before, asked, after)) = split_at_prompt(rest) {
        sections.extend(parts(command, output(before), asked_at));
        command = Command::of_words(asked);
        rest = after;
    }
    sections.extend(parts(command, output(rest), asked_at));
    sections.retain(|section| {
        let is_own = section.command.verb == "logs" && is_own_refusal(&section.text);
        !section.text.trim().is_empty() && (is_own || !is_refusal(&section.text))
    });
    Some(sections)
}

/// Takes an output apart that holds tables of several kinds, and names what was cut out of a
/// description.
fn parts<'a>(command: Command, text: &'a str, asked_at: Option<&'a str>) -> Vec<Section<'a>> {
    if command.verb == "describe" {
        let text = named(&command, text);
        return vec![Section { command, text, asked_at }];
    }
    let mut texts = Vec::new();
    let mut rest = text;
    if command.verb == "get" {
        while let Some((before, after)) = split_at_table(rest) {
            texts.push(before);
            rest = after;
        }
    }
    texts.push(rest);
    let is_only = texts.len() == 1;
    let section = |text: &'a str| {
        let mut command = command.clone();
        // `pod/cart-1`: of which kind the rows are.
        let of_rows = text.lines().nth(1).and_then(|row| row.split_whitespace().next());
        if let Some((kind, _)) = of_rows.filter(|_| !is_only).and_then(|name| name.split_once('/'))
        {
            command.kind = Some(own(kind));
        }
        Section { command, text: Cow::Borrowed(text), asked_at }
    };
    texts.into_iter().map(section).collect()
}

/// Splits an output of several tables before the second: a blank line, and a header below it.
fn split_at_table(text: &str) -> Option<(&str, &str)> {
    let is_header = |after: &str| after.starts_with("NAME ") || after.starts_with("NAMESPACE ");
    let mut gaps = text.match_indices("\n\n").map(|(at, gap)| at + gap.len());
    let at = gaps.find(|at| text.get(*at..).is_some_and(is_header))?;
    text.split_at_checked(at)
}

/// Puts the name that was asked for above a description that was cut (`| grep -A9 ^Events`).
fn named<'a>(command: &Command, text: &'a str) -> Cow<'a, str> {
    let is_cut = !is_refusal(text) && !text.lines().any(|line| line.starts_with("Name:"));
    match command.name.as_deref().filter(|_| is_cut && !text.trim().is_empty()) {
        Some(name) => {
            let namespace = command.namespace.as_deref().unwrap_or("default");
            Cow::Owned(format!("Name: {name}\nNamespace: {namespace}\n{text}"))
        }
        None => Cow::Borrowed(text),
    }
}

enum Header<'a> {
    Ours(Command, &'a str),
    Other,
}

/// Reads the lines of JSON that a recorder of tools writes above an output: what was called, and
/// how it ended.
fn header(text: &str) -> Option<Header<'_>> {
    let (first, rest) = text.split_once('\n')?;
    let called = object(first)?;
    let tool = called.get("tool_name")?.as_str()?;
    let (second, below) = rest.split_once('\n').unwrap_or((rest, ""));
    let ended = object(second).filter(|ended| ended.contains_key("status"));
    let parameters = called.get("match_params");
    let invocation = ended.as_ref().and_then(|ended| ended.get("invocation")?.as_str());
    // A tool that runs whatever it is given says what that was.
    let asked = invocation.or_else(|| parameters?.get("command")?.as_str()).unwrap_or_default();
    let words = PROMPTS.iter().filter_map(|prompt| prompt.strip_prefix("$ "));
    let is_ours = words.into_iter().any(|program| asked.starts_with(program));
    if !is_ours && !OUR_TOOLS.iter().any(|ours| tool.contains(ours)) {
        return Some(Header::Other);
    }
    let mut command = of_kubectl(asked).map(Command::of_words).unwrap_or_default();
    command.fill_from(tool, parameters);
    let body = if ended.is_some() { below } else { rest };
    // Some write what was called once more above what it printed.
    let repeated = body.strip_prefix(asked).filter(|_| !asked.is_empty());
    Some(Header::Ours(command, repeated.and_then(|body| body.strip_prefix('\n')).unwrap_or(body)))
}

/// Returns what stands behind the name of the program in a call of kubectl.
fn of_kubectl(asked: &str) -> Option<&str> {
    ["kubectl ", "oc "].iter().find_map(|program| asked.strip_prefix(program))
}

fn object(line: &str) -> Option<BTreeMap<String, Json>> {
    line.starts_with('{').then(|| serde_json::from_str(line).ok()).flatten()
}

impl Command {
    /// Reads `describe pod NAME -n NAMESPACE`, `get -o yaml pod NAME`, `logs NAME --previous`.
    fn of_words(words: &str) -> Self {
        let mut command = Self::default();
        let mut plain = Vec::new();
        let is_next = |word: &str| ["|", "||", "&&", ";"].contains(&word);
        let mut words = words.split_whitespace().take_while(|word| !is_next(word));
        while let Some(word) = words.next() {
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value)),
                None => (word, None),
            };
            match flag {
                "-n" | "--namespace" => command.namespace = value.or_else(|| words.next()).map(own),
                "-c" | "--container" => command.container = value.or_else(|| words.next()).map(own),
                "--for" => {
                    let target = value.or_else(|| words.next()).unwrap_or_default();
                    let (kind, name) = target.split_once('/').unwrap_or(("", target));
                    (command.kind, command.name) = (Some(own(kind)), Some(own(name)));
                }
                "-l" | "--selector" => command.selector = value.or_else(|| words.next()).map(own),
                "-o" | "--output" | "--tail" | "--since" | "--sort-by" | "--field-selector"
                | "--context" => {
                    value.is_none().then(|| words.next());
                }
                "-p" | "--previous" => command.is_previous = true,
                _ if word.starts_with('-') || word.contains('>') => {}
                _ => plain.push(word),
            }
        }
        let mut plain = plain.into_iter();
        command.verb = plain.next().unwrap_or_default().to_owned();
        let first = plain.next();
        match (command.verb.as_str(), first.and_then(|word| word.split_once('/'))) {
            (_, Some((kind, name))) => {
                (command.kind, command.name) = (Some(own(kind)), Some(own(name)));
            }
            ("logs", None) => {
                command.name = first.map(own);
                command.container = command.container.or_else(|| plain.next().map(own));
            }
            (_, None) => {
                command.kind = command.kind.or_else(|| first.map(own));
                command.name = command.name.or_else(|| plain.next().map(own));
            }
        }
        command
    }

    /// Adds what the name of a tool and its parameters say.
    fn fill_from(&mut self, tool: &str, parameters: Option<&Json>) {
        let text = |names: &[&str]| {
            let found = names.iter().find_map(|name| parameters?.get(name)?.as_str());
            found.filter(|text| !text.is_empty()).map(own)
        };
        let is_logs = tool.contains("logs");
        if self.verb.is_empty() {
            let verbs = ["describe", "events", "lineage", "top", "get", "trace"];
            let verb = verbs.into_iter().find(|verb| tool.contains(verb)).unwrap_or_default();
            self.verb = own(if is_logs { "logs" } else { verb });
        }
        self.is_previous |= tool.contains("previous");
        self.namespace = self.namespace.take().or_else(|| text(&["namespace"]));
        self.kind = self.kind.take().or_else(|| text(&["kind", "resource_type"]));
        let names = ["name", "pod_name", "resource_name"];
        self.name = self.name.take().or_else(|| text(&names));
        self.container = self.container.take().or_else(|| text(&["container_name", "container"]));
    }
}

fn own(text: &str) -> String {
    text.to_owned()
}

fn without_footer(text: &str) -> (&str, Option<&str>) {
    let Some((before, footer)) = text.split_once(LOG_FOOTER) else { return (text, None) };
    let asked = footer.split_once("Query executed at: ").map(|(_, rest)| rest);
    let asked = asked.and_then(|rest| rest.split_whitespace().next());
    // The title stands between two rules.
    (before.trim_end().trim_end_matches('='), asked)
}

fn split_at_prompt(text: &str) -> Option<(&str, &str, &str)> {
    let begins_line = |at: usize| at == 0 || text.as_bytes().get(at - 1) == Some(&b'\n');
    let first =
        |prompt: &&str| text.match_indices(*prompt).map(|(at, _)| at).find(|at| begins_line(*at));
    let at = PROMPTS.iter().filter_map(first).min()?;
    let (before, rest) = text.split_at_checked(at)?;
    let (asked, after) = rest.split_once('\n').unwrap_or((rest, ""));
    let asked = asked.strip_prefix("$ ")?;
    Some((before, of_kubectl(asked).unwrap_or(asked), after))
}

/// Returns what a command wrote to its standard output, where a recorder tells it from its errors.
fn output(text: &str) -> &str {
    let body = match text.split_once("stdout:\n") {
        Some((before, body)) if before.trim().is_empty() || is_refusal(before) => body,
        Some(_) | None => text,
    };
    match body.rsplit_once("\nstderr:") {
        Some((body, _)) => body,
        None => body.strip_prefix("stderr:").map_or(body, |_| ""),
    }
}

/// Says whether a log tells of a refusal itself: containers run kubectl, too.
fn is_own_refusal(log: &str) -> bool {
    log.trim_start().starts_with("Error from server (Forbidden)") && !log.contains("pods/log")
}

/// Says whether kubectl had nothing to show, or was not allowed to.
fn is_refusal(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "No resources found",
        "No events found",
        "Error from server",
        "error: ",
        "Command `",
        "The connection to the server",
        "Unable to connect to the server",
    ];
    let text = text.trim_start();
    WORDS.iter().any(|words| text.starts_with(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &str) -> Command {
        Command::of_words(words)
    }

    #[test]
    fn a_command_says_what_was_asked_for() {
        let named = |kind: &str, name: &str| (Some(own(kind)), Some(own(name)));
        for (words, verb, want) in [
            ("describe pod cart-1 -n shop", "describe", named("pod", "cart-1")),
            ("get -o yaml pod cart-1 --namespace=shop", "get", named("pod", "cart-1")),
            ("get deployment/cart -n shop", "get", named("deployment", "cart")),
            ("events --for pod/cart-1 -n shop", "events", named("pod", "cart-1")),
            ("logs cart-1 -n shop", "logs", (None, Some(own("cart-1")))),
            ("get pods -n shop | grep cart", "get", (Some(own("pods")), None)),
            ("get pods -n shop 2>&1 && date", "get", (Some(own("pods")), None)),
            ("get events -n shop --sort-by .lastTimestamp", "get", (Some(own("events")), None)),
        ] {
            let command = command(words);
            assert_eq!((command.verb.as_str(), (command.kind, command.name)), (verb, want));
            assert_eq!(command.namespace.as_deref(), Some("shop"), "{words}");
        }
        let logs = command("logs -l app=cart -n shop --tail 9");
        assert_eq!((logs.selector.as_deref(), logs.name), (Some("app=cart"), None));
        let logs = command("logs -p cart-1 cart");
        assert_eq!((logs.is_previous, logs.container.as_deref()), (true, Some("cart")));
    }

    #[test]
    fn a_recorders_header_and_footer_are_no_output() {
        let text = "{\"tool_name\": \"fetch_pod_logs\", \"match_params\": {\"pod_name\": \"cart-1\", \"namespace\": \"shop\"}}\n\
            {\"status\": \"success\", \"invocation\": null}\nstdout:\none\ntwo\n\n\
            ====\nLOG QUERY METADATA\n====\n- Query executed at: 2026-01-02T03:04:05Z (UTC)\n";
        let sections = sections(text).unwrap();
        let [section] = sections.as_slice() else { panic!("{sections:?}") };
        assert_eq!(section.text.trim_end(), "one\ntwo");
        assert_eq!(section.asked_at, Some("2026-01-02T03:04:05Z"));
        let Command { verb, name, namespace, .. } = &section.command;
        assert_eq!(
            (verb.as_str(), name.as_deref(), namespace.as_deref()),
            ("logs", Some("cart-1"), Some("shop"))
        );
        assert_eq!(super::sections("{\"tool_name\": \"search\"}\n{}\nx"), None);
    }

    #[test]
    fn what_a_shell_was_given_says_whose_output_it_is() {
        let text = |asked: &str| {
            format!(
                "{{\"tool_name\": \"run\", \"match_params\": {{\"command\": \"{asked}\"}}}}\n\
                 {{\"status\": \"success\", \"invocation\": \"{asked}\"}}\n{asked}\nNAME\nx\n"
            )
        };
        let asked = text("kubectl get pods -n shop");
        let sections = sections(&asked).unwrap();
        let [section] = sections.as_slice() else { panic!("{sections:?}") };
        assert_eq!((&*section.command.verb, section.text.trim_end()), ("get", "NAME\nx"));
        assert_eq!(section.command.namespace.as_deref(), Some("shop"));
        assert_eq!(super::sections(&text("ls -l")), None);
    }

    #[test]
    fn what_was_cut_out_of_a_description_is_named_by_its_command() {
        let text = "$ kubectl describe pod cart-1 -n shop | tail -1\nEvents:  <none>\n\
                    $ kubectl describe pod cart-2 -n shop\nName:  cart-2\n";
        let texts: Vec<_> = sections(text).unwrap().into_iter().map(|one| one.text).collect();
        assert_eq!(texts, ["Name: cart-1\nNamespace: shop\nEvents:  <none>\n", "Name:  cart-2\n"]);
        let refused = "$ kubectl describe pod cart-1\nError from server (NotFound): no\n";
        assert_eq!(sections(refused), Some(Vec::new()));
    }

    #[test]
    fn tables_of_several_kinds_are_outputs_of_their_own() {
        let text = "$ kubectl get pvc,svc -n shop\nNAME  STATUS\npersistentvolumeclaim/a  Bound\n\n\
                    NAME  TYPE\nservice/b  ClusterIP\n";
        let sections = sections(text).unwrap();
        let kinds = sections.iter().map(|one| one.command.kind.as_deref().unwrap_or_default());
        assert_eq!(kinds.collect::<Vec<_>>(), ["persistentvolumeclaim", "service"]);
    }

    #[test]
    fn a_transcript_holds_several_outputs_and_refusals_are_none() {
        let text = "$ kubectl get pods -n a\nNAME\nx\n$ kubectl logs x -n b\nError from server: no\n\
                    $ kubectl logs y -n b\nhello\n";
        let sections = sections(text).unwrap();
        let read: Vec<_> = sections
            .iter()
            .map(|section| (section.command.namespace.as_deref(), section.text.trim_end()))
            .collect();
        assert_eq!(read, [(Some("a"), "NAME\nx"), (Some("b"), "hello")]);
        let helm = super::sections("$ kubectl get pods\nNAME\n$ helm list\nCHART\n").unwrap();
        let read = helm.iter().map(|section| (&*section.command.verb, section.text.trim_end()));
        assert_eq!(read.collect::<Vec<_>>(), [("get", "NAME"), ("helm", "CHART")]);
        let own = "$ kubectl logs y -n b\nError from server (Forbidden): pods is forbidden: User \"a\" \
                   cannot list resource \"pods\"\n";
        assert_eq!(super::sections(own).map(|all| all.len()), Some(1), "the container's own words");
        let refused =
            "Command `kubectl logs x` failed with return code 1\nstdout:\n\nstderr:\nno\n";
        assert_eq!(super::sections(refused), Some(Vec::new()));
    }
}
