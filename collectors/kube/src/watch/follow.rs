//! Watching: what comes, and whether the server is still there.

use std::pin::Pin;

use futures::{StreamExt as _, pin_mut};
use kube::{
    api::{ListParams, PartialObjectMeta, WatchEvent, WatchParams},
    core::{ObjectList, Request},
};
use tapio_collect::CollectorError;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::warn;

use super::{
    Watcher,
    list::{failed, seconds},
    tell::Look,
};
use crate::{WatchState, course::Ended, trim::Watched, trouble::Trouble, version::Version};

type Probe = Pin<Box<dyn Future<Output = Result<Option<Version>, Trouble>> + Send>>;

/// A watch in flight.
struct Flight {
    /// The last version that was told.
    at: Version,
    begun: Instant,
    /// Whether it told anything.
    moved: bool,
}

impl<K: Watched> Watcher<K> {
    /// Watches what comes after `version`.
    pub(super) async fn follow(&mut self, version: Version) -> Result<Ended, CollectorError> {
        let timing = self.senses.config.timing;
        let mut params = WatchParams::default().timeout(seconds(timing.watch));
        params.field_selector.clone_from(&self.scope.fields);
        let request = match Request::new(&self.url).watch(&params, version.as_str()) {
            Ok(request) => request,
            Err(error) => return Ok(failed(Trouble::Malformed(error.to_string()))),
        };
        let opened = timeout(timing.request, self.senses.client.request_events::<K>(request)).await;
        let stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Ok(failed(Trouble::of(&error))),
            Err(_elapsed) => return Ok(failed(Trouble::Silent)),
        };
        pin_mut!(stream);
        self.work(WatchState::Watching);
        self.see();
        let mut flight = Flight { at: version, begun: Instant::now(), moved: false };
        let end = flight.begun + timing.watch + timing.watch_grace;
        let due = self.listed_at + timing.relist_every;
        let mut probe = self.probe();
        loop {
            tokio::select! {
                item = stream.next() => {
                    if let Some(ended) = self.item(item, &mut flight).await? {
                        return Ok(ended);
                    }
                }
                sign = &mut probe => {
                    if let Some(ended) = self.sign(sign, &flight) {
                        return Ok(ended);
                    }
                    probe = self.probe();
                }
                () = sleep_until(end) => return Ok(flight.fail(Trouble::Silent)),
                () = sleep_until(due) => return Ok(Ended::Due),
            }
        }
    }

    /// Takes an item of the stream; returns how the watch ended, if it did.
    async fn item(
        &mut self,
        item: Option<Result<WatchEvent<K>, kube::Error>>,
        flight: &mut Flight,
    ) -> Result<Option<Ended>, CollectorError> {
        let version = match item {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                let version = Version::new(object.meta().resource_version.as_deref());
                self.take(object, Look::Change).await?;
                version
            }
            Some(Ok(WatchEvent::Deleted(object))) => {
                let version = Version::new(object.meta().resource_version.as_deref());
                let known = self.known.delete(&object);
                self.lose(&known.unwrap_or(object)).await?;
                version
            }
            Some(Ok(WatchEvent::Bookmark(mark))) => {
                Version::new(Some(&mark.metadata.resource_version))
            }
            // A 410 comes like this: inside a 200.
            Some(Ok(WatchEvent::Error(status))) => {
                return Ok(Some(flight.fail(Trouble::of_status(&status))));
            }
            Some(Err(kube::Error::SerdeError(error))) => {
                self.malformed(&error);
                return Ok(None);
            }
            Some(Err(error)) => return Ok(Some(flight.fail(Trouble::of(&error)))),
            None => {
                let is_brief = flight.begun.elapsed() < self.senses.config.timing.brief;
                if flight.moved || !is_brief {
                    self.course.thrive();
                }
                let brief = !flight.moved && is_brief;
                return Ok(Some(Ended::Closed { at: flight.at.clone(), brief }));
            }
        };
        if let Some(version) = version {
            self.told_to(&version);
            flight.at = version;
        }
        flight.moved = true;
        self.moved_at = Instant::now();
        self.course.thrive();
        self.hear();
        Ok(None)
    }

    /// Takes a sign of life, or the lack of one.
    fn sign(&mut self, sign: Result<Option<Version>, Trouble>, flight: &Flight) -> Option<Ended> {
        match sign {
            Ok(version) => {
                self.hear();
                self.course.thrive();
                let is_rebuilt = version.is_some_and(|version| version.is_below(&flight.at));
                if is_rebuilt {
                    warn!(resource = self.name, "the store was rebuilt: lists again");
                }
                is_rebuilt.then_some(Ended::Rebuilt)
            }
            Err(trouble) if trouble.is_sign_of_life() => {
                // Rights that were taken away show here first: the watch itself still flows.
                self.hear();
                let text = trouble.text();
                self.senses.board.write(&self.name, |row| row.status.trouble = Some(text));
                None
            }
            Err(trouble) => Some(flight.fail(match trouble {
                Trouble::Busy { .. } | Trouble::Unreachable(_) | Trouble::Malformed(_) => trouble,
                Trouble::Silent
                | Trouble::Gone
                | Trouble::Unauthorized
                | Trouble::Forbidden
                | Trouble::NotServed
                | Trouble::Refused(_) => Trouble::Silent,
            })),
        }
    }

    /// Asks for one object's metadata, after a while: a sign of life, and the store's version.
    fn probe(&self) -> Probe {
        let timing = self.senses.config.timing;
        let client = self.senses.client.clone();
        let params = ListParams { limit: Some(1), ..ListParams::default() };
        let request = Request::new(&self.url).list_metadata(&params);
        Box::pin(async move {
            sleep(timing.probe_every).await;
            let request = request.map_err(|error| Trouble::Malformed(error.to_string()))?;
            let listed = client.request::<ObjectList<PartialObjectMeta<K>>>(request);
            match timeout(timing.probe, listed).await {
                Ok(Ok(list)) => Ok(Version::new(list.metadata.resource_version.as_deref())),
                Ok(Err(error)) => Err(Trouble::of(&error)),
                Err(_elapsed) => Err(Trouble::Silent),
            }
        })
    }
}

impl Flight {
    fn fail(&self, trouble: Trouble) -> Ended {
        Ended::Failed { trouble, at: Some(self.at.clone()), moved: self.moved }
    }
}
