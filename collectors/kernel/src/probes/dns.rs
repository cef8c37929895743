//! Questions to name servers that failed, or that nobody answered.

use std::time::Duration;

use tapio_collect::Unbound;
use tapio_ebpf_abi::{Dns, DnsQuery, Header};
use tapio_model::{Class, Kind, Severity, Text, keys};

use super::Context;
use crate::words::{address, dns_name, int, millis};

/// How long a question waits: the patience of common resolvers. What comes later found nobody there.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What was asked, and of whom.
struct Question<'a> {
    name: &'a [u8],
    name_len: u16,
    server: [u8; 16],
    family: u16,
    tries: u32,
}

pub(super) fn translate(
    header: &Header,
    answer: &Dns,
    mut context: Context<'_>,
) -> Option<Unbound> {
    let took = Duration::from_nanos(answer.latency_ns);
    let rcode: Text = match answer.rcode {
        // An answer after the resolver's patience ended is none.
        0 if took >= PATIENCE => "timeout".into(),
        0 => return None,
        1 => "formerr".into(),
        2 => "servfail".into(),
        3 => "nxdomain".into(),
        4 => "notimp".into(),
        5 => "refused".into(),
        other => format!("rcode {other}").into(),
    };
    let question = Question {
        name: &answer.name,
        name_len: answer.name_len,
        server: answer.server,
        family: answer.family,
        tries: answer.tries,
    };
    Some(tell(header, &question, (rcode, answer.latency_ns), &mut context))
}

pub(super) fn unanswered(query: &DnsQuery, mut context: Context<'_>) -> Unbound {
    let question = Question {
        name: &query.name,
        name_len: query.name_len,
        server: query.server,
        family: query.family,
        tries: query.tries,
    };
    let waited = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
    tell(&query.header, &question, ("timeout".into(), waited), &mut context)
}

fn tell(
    header: &Header,
    question: &Question<'_>,
    (rcode, took_ns): (Text, u64),
    context: &mut Context<'_>,
) -> Unbound {
    let name =
        dns_name(question.name.get(..usize::from(question.name_len)).unwrap_or(question.name));
    let server = address(question.server, question.family).map(|ip| ip.to_string());
    // That a name does not exist is an answer, and search lists ask for many such names.
    let (severity, impact) =
        if rcode == "nxdomain" { (Severity::Warn, 0.3) } else { (Severity::Error, 0.6) };
    let message = format!(
        "{name}: {rcode} from {} after {}",
        server.as_deref().unwrap_or("?"),
        millis(took_ns)
    );
    context
        .of_socket(header, Kind::DnsFailure)
        .rated(severity, impact, Class::Naming)
        .with(keys::DNS_NAME, name)
        .with(keys::DNS_RCODE, rcode)
        .with_some(keys::DNS_SERVER, server)
        .with(keys::DURATION, int(took_ns))
        .with(keys::COUNT, question.tries.max(1))
        .message(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::fixture::{World, header};

    const NAME: &[u8] = b"\x02db\x04shop\x03svc\0";

    fn padded() -> [u8; 128] {
        let mut name = [0; 128];
        name[..NAME.len()].copy_from_slice(NAME);
        name
    }

    fn server() -> [u8; 16] {
        let mut server = [0; 16];
        server[..4].copy_from_slice(&[10, 96, 0, 10]);
        server
    }

    #[test]
    fn answers_are_told_by_their_code() {
        // (rcode, milliseconds, what is told)
        let cases = [
            (3, 1, Some("nxdomain")),
            (2, 1, Some("servfail")),
            (5, 1, Some("refused")),
            (9, 1, Some("rcode 9")),
            (0, 1_500, None),
            (0, 5_500, Some("timeout")),
        ];
        for (rcode, ms, want) in cases {
            let answer = Dns {
                latency_ns: ms * 1_000_000,
                server: server(),
                family: 2,
                qtype: 1,
                rcode,
                name_len: u16::try_from(NAME.len()).unwrap(),
                tries: 1,
                local_port: 4_000,
                id: 7,
                name: padded(),
                reserved: 0,
            };
            let mut world = World::default();
            let event = translate(&header(), &answer, world.context());
            let said = event.as_ref().map(World::said);
            assert_eq!(said.as_ref().and_then(|said| said.text(keys::DNS_RCODE)), want, "{rcode}");
            let Some(said) = said else { continue };
            assert_eq!(said.text(keys::DNS_NAME), Some("db.shop.svc"));
            assert_eq!(said.text(keys::DNS_SERVER), Some("10.96.0.10"));
        }
    }

    #[test]
    fn a_question_without_an_answer_is_a_timeout() {
        let query = DnsQuery {
            header: header(),
            server: server(),
            family: 2,
            qtype: 1,
            name_len: u16::MAX,
            reserved: 0,
            tries: 3,
            reserved_too: 0,
            name: padded(),
        };
        let mut world = World::default();
        let event = unanswered(&query, world.context());
        let said = World::said(&event);
        assert_eq!((event.kind, event.severity), (Kind::DnsFailure, Severity::Error));
        assert_eq!(event.place.cgroup.as_deref(), Some("/kubepods/podx"));
        assert_eq!(said.text(keys::DNS_RCODE), Some("timeout"));
        assert_eq!(said.text(keys::DNS_NAME), Some("db.shop.svc"));
        assert_eq!(said.int(keys::COUNT), Some(3));
    }
}
