//! Spans of our own, along the way of a batch.

mod ids;
mod name;
mod traceparent;

use std::{fmt, sync::Arc};

use opentelemetry::{
    Context, KeyValue,
    trace::{Span as _, SpanBuilder, SpanContext, Status, TraceContextExt as _, Tracer as _},
};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use tapio_model::{Text, TraceId};

use crate::meters::Counter;

pub(crate) use ids::{Ids, Share};
pub use name::{SpanKey, SpanName};

/// Makes spans. Cloning shares it. The default is off.
#[derive(Debug, Clone, Default)]
pub struct Telemetry(Option<Arc<Tracing>>);

#[derive(Debug)]
struct Tracing {
    tracer: SdkTracer,
    ids: Ids,
    share: Share,
    ended: Counter,
}

impl Telemetry {
    /// Makes no spans.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Makes spans with `tracer`, whose sampler takes all: what is sampled is decided here, before
    /// anything is allocated. Counts those that ended.
    pub(crate) fn new(tracer: SdkTracer, ids: Ids, share: Share, ended: Counter) -> Self {
        Self(Some(Arc::new(Tracing { tracer, ids, share, ended })))
    }

    /// Says whether spans can be made at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Starts a span, below `parent` if that is a `traceparent` header.
    ///
    /// It is recorded if its parent was. Without a parent it is recorded for the sampled share of
    /// those that begin a trace ([`SpanName::begins_a_trace`]); when all are sampled, for every one,
    /// so that whoever debugs sees what a publisher without telemetry sent, too.
    ///
    /// A span that is not recorded takes no memory.
    #[must_use = "a span ends when it is dropped"]
    pub fn start(&self, name: SpanName, parent: Option<&str>) -> OwnSpan {
        let Some(tracing) = &self.0 else { return OwnSpan(None) };
        let parent = parent.and_then(traceparent::read);
        let is_sampled = match &parent {
            Some(parent) => parent.is_sampled(),
            None if name.begins_a_trace() => tracing.ids.draw(tracing.share),
            None => tracing.share.is_all(),
        };
        OwnSpan(is_sampled.then(|| Box::new(tracing.span(name, parent))))
    }
}

impl Tracing {
    fn span(&self, name: SpanName, parent: Option<SpanContext>) -> Recorded {
        let above = Context::new();
        let above = parent.map_or_else(|| above.clone(), |it| above.with_remote_span_context(it));
        let builder = SpanBuilder::from_name(name.name()).with_kind(name.kind());
        let builder = builder.with_attributes(name.attributes());
        Recorded {
            span: self.tracer.build_with_context(builder, &above),
            ended: self.ended.clone(),
        }
    }
}

/// A span, recorded or not. Ends when dropped.
#[must_use = "a span ends when it is dropped"]
pub struct OwnSpan(Option<Box<Recorded>>);

struct Recorded {
    span: Span,
    ended: Counter,
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.ended.add(1);
        self.span.end();
    }
}

impl fmt::Debug for OwnSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnSpan").field(&self.traceparent()).finish()
    }
}

impl OwnSpan {
    /// Returns a span that is not recorded.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Says whether it is recorded.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the header that carries the trace on, if the span is recorded.
    #[must_use]
    pub fn traceparent(&self) -> Option<Text> {
        self.0.as_ref().map(|it| traceparent::write(it.span.span_context()))
    }

    /// Returns the id that log lines carry as `trace_id`, if the span is recorded.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        let id = self.0.as_ref()?.span.span_context().trace_id();
        Some(TraceId::from_bytes(id.to_bytes()))
    }

    /// Says something of it.
    #[expect(single_use_lifetimes, reason = "`impl Into<SpanValue<'_>>` is not stable")]
    pub fn set<'a>(&mut self, key: SpanKey, value: impl Into<SpanValue<'a>>) {
        if let Some(it) = &mut self.0 {
            it.span.set_attribute(KeyValue::new(key.name(), value.into().owned()));
        }
    }

    /// Links it to another span, if `traceparent` is the header of one that was recorded: a commit
    /// covers many batches and has one parent.
    pub fn link(&mut self, traceparent: &str) {
        if let Some(it) = &mut self.0
            && let Some(other) = traceparent::read(traceparent).filter(SpanContext::is_sampled)
        {
            it.span.add_link(other, Vec::new());
        }
    }

    /// Says that it went wrong. `kind` is one of few; the log has the rest.
    pub fn fail(&mut self, kind: &'static str) {
        self.set(SpanKey::Error, kind);
        if let Some(it) = &mut self.0 {
            it.span.set_status(Status::error(kind));
        }
    }

    /// Ends it now.
    pub fn end(self) {
        drop(self);
    }
}

/// What is said of a span. Copied only if the span is recorded.
#[derive(Clone, Copy)]
pub enum SpanValue<'a> {
    /// A number.
    Count(u64),
    /// Text.
    Text(&'a str),
    /// Whatever can be shown.
    Shown(&'a dyn fmt::Display),
}

impl fmt::Debug for SpanValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Shown(shown) => write!(f, "{shown}"),
        }
    }
}

impl SpanValue<'_> {
    fn owned(self) -> opentelemetry::Value {
        match self {
            // OTLP knows signed numbers only.
            Self::Count(count) => i64::try_from(count).unwrap_or(i64::MAX).into(),
            Self::Text(text) => text.to_owned().into(),
            Self::Shown(shown) => shown.to_string().into(),
        }
    }
}

impl From<u64> for SpanValue<'_> {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl<'a> From<&'a str> for SpanValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

#[cfg(test)]
mod tests;
