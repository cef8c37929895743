//! What both protocols do with a request: translate it, pass its events on, keep the account.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use tapio_collect::{Account, DropReason, Outlet, Unbound};
use tapio_model::Clock;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    Limits,
    refusal::Refusal,
    translate::{Origin, translate_log, translate_span},
};

/// What both protocols do with a request.
#[derive(Debug)]
pub(crate) struct Intake {
    outlet: Outlet,
    clock: Box<dyn Clock>,
    permits: Semaphore,
    limits: Limits,
}

/// The records of a request that were not taken while the rest of it was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rejected {
    malformed: u64,
    beyond: u64,
    first: Option<String>,
}

impl Intake {
    /// Makes an intake that feeds `outlet`. `clock` dates log records that carry no time.
    pub(crate) fn new(outlet: Outlet, clock: Box<dyn Clock>, limits: Limits) -> Self {
        Self { outlet, clock, permits: Semaphore::new(limits.requests_max.max(1)), limits }
    }

    /// Returns the limits.
    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Lets a bounded number of requests through at once, each for a bounded time.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when the time is over; some of the request's events may have been passed on.
    pub(crate) async fn admit<T>(&self, request: impl Future<Output = T>) -> Result<T, Refusal> {
        let admitted = async {
            // An error means that the semaphore was closed, which nobody does.
            let _permit = self.permits.acquire().await.map_err(|_closed| Refusal::Closed)?;
            Ok(request.await)
        };
        match timeout(self.limits.request_time_max, admitted).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Refusal::Busy),
        }
    }

    /// Counts a refused request as one record.
    pub(crate) fn count(&self, refusal: &Refusal) {
        if let Some(reason) = refusal.drop_reason() {
            self.drop_record(reason);
        }
    }

    /// Passes every span of a request on, waiting while the pipeline is full.
    ///
    /// # Errors
    /// [`Refusal::Closed`].
    /// # Cancel safety
    /// What was passed on stays so; sent again it has the same ids.
    pub(crate) async fn take_traces(
        &self,
        request: ExportTraceServiceRequest,
    ) -> Result<Rejected, Refusal> {
        let mut rejected = Rejected::default();
        let mut room = self.limits.records_max;
        for group in request.resource_spans {
            let resource = group.resource.unwrap_or_default();
            for scoped in group.scope_spans {
                let scope = scoped.scope.as_ref().map_or("", |scope| scope.name.as_str());
                let origin = Origin::new(&resource.attributes, scope);
                for span in scoped.spans {
                    if room == 0 {
                        self.reject_beyond(&mut rejected);
                        continue;
                    }
                    room -= 1;
                    match translate_span(&origin, &span, &self.limits) {
                        Ok(events) => self.pass_on(events).await?,
                        Err(malformed) => self.reject(&mut rejected, &malformed),
                    }
                }
            }
        }
        Ok(rejected)
    }

    /// Passes every log record of a request on, waiting while the pipeline is full.
    ///
    /// # Errors
    /// [`Refusal::Closed`].
    /// # Cancel safety
    /// What was passed on stays so; sent again it has the same ids.
    pub(crate) async fn take_logs(
        &self,
        request: ExportLogsServiceRequest,
    ) -> Result<Rejected, Refusal> {
        let mut rejected = Rejected::default();
        let mut room = self.limits.records_max;
        let received_at = self.clock.now();
        for group in request.resource_logs {
            let resource = group.resource.unwrap_or_default();
            for scoped in group.scope_logs {
                let scope = scoped.scope.as_ref().map_or("", |scope| scope.name.as_str());
                let origin = Origin::new(&resource.attributes, scope);
                for record in scoped.log_records {
                    if room == 0 {
                        self.reject_beyond(&mut rejected);
                        continue;
                    }
                    room -= 1;
                    let event = translate_log(&origin, &record, received_at, &self.limits);
                    self.pass_on(vec![event]).await?;
                }
            }
        }
        Ok(rejected)
    }

    /// Passes one record's events on. It counts as read only then: a record that the sender keeps
    /// is read when it comes again.
    async fn pass_on(&self, events: Vec<Unbound>) -> Result<(), Refusal> {
        for event in events {
            self.outlet.emit(event).await.map_err(|_closed| Refusal::Closed)?;
        }
        self.account().read(1);
        self.account().emitted(1);
        Ok(())
    }

    fn reject(&self, rejected: &mut Rejected, why: &impl ToString) {
        rejected.malformed += 1;
        rejected.first.get_or_insert_with(|| why.to_string());
        self.drop_record(DropReason::Malformed);
    }

    fn reject_beyond(&self, rejected: &mut Rejected) {
        rejected.beyond += 1;
        self.drop_record(DropReason::TooLarge);
    }

    fn drop_record(&self, reason: DropReason) {
        self.account().read(1);
        self.account().dropped(reason, 1);
    }

    fn account(&self) -> &Account {
        self.outlet.account()
    }

    #[cfg(test)]
    pub(crate) fn snapshot(&self) -> tapio_collect::Accounts {
        self.account().snapshot()
    }
}

impl Rejected {
    /// Returns how many records were not taken.
    pub(crate) fn records(&self) -> i64 {
        i64::try_from(self.malformed.saturating_add(self.beyond)).unwrap_or(i64::MAX)
    }

    /// Says what was wrong and what cures it; `None` if nothing was.
    pub(crate) fn message(&self) -> Option<String> {
        let malformed = self.first.as_ref().map(|first| {
            format!(
                "{} malformed, the first because {first}; send spec-conforming ids and times",
                self.malformed
            )
        });
        let beyond = (self.beyond > 0).then(|| {
            format!("{} beyond the limit of one request; send smaller batches", self.beyond)
        });
        let parts: Vec<_> = malformed.into_iter().chain(beyond).collect();
        (!parts.is_empty()).then(|| format!("rejected {}", parts.join(", and ")))
    }
}
