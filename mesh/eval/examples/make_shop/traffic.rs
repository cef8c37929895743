//! Customers, and the metrics of whoever serves them.

use tapio_model::{Class, Kind as EventKind, Severity, Source, SpanId, TraceId, Value, keys};

use super::{
    cast::{REQUESTS, SERVICES, Step, place},
    plan::{Kind, MINUTE_US, Plan},
    script::{Draft, Script},
};

/// How far apart samples of metrics are.
const SAMPLE_US: i64 = MINUTE_US / 2;

/// The way from a service to the next.
const WAY_US: i64 = 700;

/// Of a hundred customers, how many browse and how many fill their cart; the rest pays.
const MIX: (i64, i64) = (40, 70);
const OTHER_MIX: (i64, i64) = (22, 48);

/// A recording as it is written.
pub(crate) struct Play<'a> {
    plan: &'a Plan,
    script: Script,
}

/// Where a call comes from.
#[derive(Debug, Clone, Copy)]
struct Caller {
    trace: TraceId,
    span: Option<SpanId>,
}

/// How a call went.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    end: i64,
    has_failed: bool,
}

/// What a line says, and how badly.
type Line = (Severity, String);

/// Plays a plan.
pub(crate) fn play(plan: &Plan) -> Script {
    let mut play = Play { plan, script: Script::new(plan.seed) };
    let end = plan.minutes * MINUTE_US;
    let mut at = 300_000;
    while at < end {
        play.customer(at);
        at += play.script.between(350_000, 900_000);
    }
    for sample in 1..end / SAMPLE_US {
        play.sample(sample * SAMPLE_US);
    }
    play.script
}

impl Play<'_> {
    fn customer(&mut self, at: i64) {
        let is_other = at >= self.plan.other_mix_from * MINUTE_US;
        let (browse, fill) = if is_other { OTHER_MIX } else { MIX };
        let [products, cart, checkout] = &REQUESTS;
        let wants = self.script.between(0, 99);
        let step = match wants {
            wants if wants < browse => products,
            wants if wants < fill => cart,
            _ => checkout,
        };
        let caller = Caller { trace: self.script.trace_id(), span: None };
        self.call(step, caller, at);
    }

    /// Writes a call, with all that it calls.
    fn call(&mut self, step: &Step, caller: Caller, at: i64) -> Outcome {
        let fault = self.plan.fault(step.service, at);
        let span = self.script.span_id();
        let inner = Caller { span: Some(span), ..caller };
        let work = step.work_us * self.script.between(80, 140) / 100;
        let number = self.script.between(1_000, 9_999);
        self.line(step, inner, at + 200, (Severity::Info, format!("{} {number}", step.begins)));
        let mut outcome = Outcome { end: at + work / 2, has_failed: false };
        match fault {
            Some(Kind::EarlyReturn) => {}
            Some(Kind::Exception) => {
                self.throw(step, inner, outcome.end);
                outcome.has_failed = true;
            }
            None | Some(Kind::SlowDependency | Kind::CpuSaturation) => {
                outcome = self.work(step, inner, outcome.end, fault);
                outcome.end += work / 2;
                if !outcome.has_failed {
                    let text = format!("{} {number}", step.ends);
                    self.line(step, inner, outcome.end - 100, (Severity::Info, text));
                }
            }
        }
        self.everyday(step, inner, outcome.end - 150);
        self.span(step, (caller, span), at, outcome);
        outcome
    }

    /// Does what a step does between its first line and its last: it waits, and calls others.
    fn work(&mut self, step: &Step, inner: Caller, at: i64, fault: Option<Kind>) -> Outcome {
        let slower = match fault {
            Some(Kind::SlowDependency) => self.script.between(600_000, 900_000),
            Some(Kind::CpuSaturation) => self.script.between(20_000, 60_000),
            None | Some(Kind::EarlyReturn | Kind::Exception) => 0,
        };
        let mut end = at + slower;
        for called in step.calls {
            let outcome = self.call(called, inner, end + WAY_US);
            end = outcome.end + WAY_US;
            if outcome.has_failed {
                let text = format!("{} answered 500", called.name);
                self.line(step, inner, end, (Severity::Error, text));
                return Outcome { end: end + 100, has_failed: true };
            }
        }
        Outcome { end, has_failed: false }
    }

    fn throw(&mut self, step: &Step, inner: Caller, at: i64) {
        let error = "java.lang.IllegalStateException";
        let line = Draft::new(at, Source::App, EventKind::Exception, &place(step.service))
            .rated(Severity::Error, 0.4, Class::Application)
            .with(keys::ERROR_TYPE, error)
            .message(format!("{error}: no row for the key"));
        self.tie(line, inner);
    }

    /// Writes what is said every day and means nothing.
    fn everyday(&mut self, step: &Step, inner: Caller, at: i64) {
        if step.service == "web" && self.plan.is_refused(at) && self.script.between(0, 2) == 0 {
            let text =
                "cannot send statistics: dial tcp 10.9.8.7:4318: connect: connection refused";
            self.line(step, inner, at, (Severity::Warn, text.to_owned()));
        }
        let is_new = at >= self.plan.new_line_from * MINUTE_US;
        if step.service == "catalog" && is_new && self.script.between(0, 9) == 0 {
            let text = "page comes from the new cache".to_owned();
            self.line(step, inner, at, (Severity::Info, text));
        }
        // A user who does not know his password, now and then.
        if step.service == "session" && self.script.between(0, 24) == 0 {
            let text = "session has expired for user".to_owned();
            self.line(step, inner, at, (Severity::Warn, text));
        }
    }

    fn line(&mut self, step: &Step, inner: Caller, at: i64, (severity, text): Line) {
        let (impact, class) = match severity {
            Severity::Error | Severity::Fatal => (0.4, Class::Application),
            Severity::Warn => (0.1, Class::Application),
            Severity::Info | Severity::Debug | Severity::Trace => (0.0, Class::Other),
        };
        let line = Draft::new(at, Source::App, EventKind::Log, &place(step.service))
            .rated(severity, impact, class)
            .message(text);
        self.tie(line, inner);
    }

    fn tie(&mut self, line: Draft, inner: Caller) {
        let tied = match inner.span {
            Some(span) => line.traced(inner.trace, span),
            None => line,
        };
        self.script.add(tied);
    }

    fn span(&mut self, step: &Step, (caller, span): (Caller, SpanId), at: i64, outcome: Outcome) {
        let event = Draft::new(outcome.end, Source::Otlp, EventKind::Span, &place(step.service))
            .traced(caller.trace, span)
            .called_by(caller.span)
            .with(keys::SPAN_NAME, step.name)
            .with(keys::DURATION, (outcome.end - at) * 1_000);
        self.script.add(event);
    }

    /// Writes a sample of every service.
    fn sample(&mut self, at: i64) {
        for (service, _) in SERVICES {
            let percent = match self.plan.fault(service, at) {
                Some(Kind::CpuSaturation) => self.script.between(95, 100),
                None | Some(Kind::EarlyReturn | Kind::Exception | Kind::SlowDependency) => {
                    self.script.between(5, 14)
                }
            };
            let percent = i32::try_from(percent).map_or(0.0, f64::from);
            let memory = i32::try_from(self.script.between(30, 40)).map_or(0.0, f64::from);
            let event = Draft::new(at, Source::Metrics, EventKind::Metric, &place(service))
                .with("k8s.pod.cpu_limit_utilization", Value::Float(percent / 100.0))
                .with("k8s.pod.memory_limit_utilization", Value::Float(memory / 100.0));
            self.script.add(event);
        }
    }
}
