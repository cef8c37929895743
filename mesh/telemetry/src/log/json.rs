//! One JSON object a line, correlation ids at its top.

use std::{fmt, io::Write as _};

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    fmt::{MakeWriter, format::Writer, time::FormatTime, time::SystemTime},
    layer::Context,
    registry::LookupSpan,
};

/// Writes events as flat objects: what the spans around an event say, then what the event says.
pub(super) struct JsonLines<W> {
    writer: W,
    node: Option<String>,
}

impl<W> JsonLines<W> {
    /// Writes to `writer`; every line says `node`, unless a span or the event says another.
    pub(super) fn new(writer: W, node: Option<&str>) -> Self {
        Self { writer, node: node.map(str::to_owned) }
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        // A task's span says `name`; on a line that would be anybody's.
        if let Some(name) = fields.0.remove("name") {
            fields.0.insert(attributes.metadata().name().to_owned(), name);
        }
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Fields::default();
        if let Some(node) = &self.node {
            line.put("node", node.as_str());
        }
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(Fields(fields)) = span.extensions().get() {
                line.0.extend(fields.clone());
            }
        }
        event.record(&mut line);
        let mut time = String::new();
        // Without a time a line is still a line.
        SystemTime.format_time(&mut Writer::new(&mut time)).unwrap_or_default();
        line.put("time", time);
        line.put("level", event.metadata().level().as_str());
        line.put("target", event.metadata().target());
        // One write a line, so that lines of threads do not mix; nobody can be told if it fails.
        let text = format!("{}\n", Value::Object(line.0));
        self.writer
            .make_writer_for(event.metadata())
            .write_all(text.as_bytes())
            .unwrap_or_default();
    }
}

/// What a span or an event says.
#[derive(Debug, Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::json;
    use tracing::{info, info_span, warn};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().map_err(|_poisoned| io::ErrorKind::Other)?.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn correlation_ids_are_at_the_top_of_every_line() {
        let paper = Paper::default();
        let writer = paper.clone();
        let lines = JsonLines::new(move || writer.clone(), Some("node-1"));
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            info!("no span");
            let shard = info_span!("shard", shard = 17_u64, trace_id = tracing::field::Empty);
            let _shard = shard.enter();
            let task = info_span!("task", name = "reader", node = "node-2");
            let _task = task.enter();
            shard.record("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736");
            warn!(shard = 18_u64, ok = true, lag = -1, "said \"{}\"\n", "so");
        });
        let bytes = paper.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
        let [plain, full] = lines.as_slice() else { panic!("two lines, not {text}") };
        assert_eq!((&plain["node"], &plain["message"]), (&json!("node-1"), &json!("no span")));
        assert!(plain["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{plain}");
        let expected = json!({
            "node": "node-2", "shard": 18, "task": "reader", "ok": true, "lag": -1,
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "message": "said \"so\"\n",
            "level": "WARN", "target": full["target"], "time": full["time"],
        });
        assert_eq!(full, &expected);
    }
}
