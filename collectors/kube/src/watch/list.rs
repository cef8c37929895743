//! Listing: what is there, page by page or as a stream.

use futures::{StreamExt as _, pin_mut};
use kube::{
    api::{ListParams, VersionMatch, WatchEvent, WatchParams},
    core::{ObjectList, Request},
};
use tapio_collect::{CollectorError, DropReason};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::{Watcher, tell::Look};
use crate::{
    WatchState, course::Ended, known::is_told, trim::Watched, trouble::Trouble, version::Version,
};

/// Objects a page: one page is held in memory, and a pod is some 30 KB of it.
const PAGE: u32 = 100;

/// Annotation of the bookmark that ends a streamed listing.
const INITIAL_END: &str = "k8s.io/initial-events-end";

impl<K: Watched> Watcher<K> {
    /// Lists by pages; `at` is the state as it was when an earlier run stopped, told already.
    pub(super) async fn list(&mut self, at: Option<Version>) -> Result<Ended, CollectorError> {
        self.begin_listing();
        let mut params = ListParams { limit: Some(PAGE), ..ListParams::default() };
        params.field_selector.clone_from(&self.scope.fields);
        if let Some(at) = &at {
            params.resource_version = Some(at.as_str().to_owned());
            params.version_match = Some(VersionMatch::Exact);
        }
        loop {
            let page = match self.page(&params).await {
                Ok(page) => page,
                // Any refusal to look back means to look at the present.
                Err(Trouble::Busy { .. }) if at.is_some() => {
                    return Ok(failed(Trouble::Refused("no listing of the past".into())));
                }
                Err(trouble) => return Ok(failed(trouble)),
            };
            self.hear();
            let Some(version) = Version::new(page.metadata.resource_version.as_deref()) else {
                return Ok(failed(Trouble::Malformed("a listing without a version".into())));
            };
            // A server that ignores the question answers with the present.
            let is_past = at.as_ref() == Some(&version);
            for object in page.items {
                let look = self.look(&object, is_past, &version);
                self.take(object, look).await?;
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => {
                    params.continue_token = Some(token);
                    (params.resource_version, params.version_match) = (None, None);
                }
                None => return self.end_listing(version).await,
            }
        }
    }

    /// Lists by a stream: the server holds less, and so do we.
    pub(super) async fn stream(&mut self) -> Result<Ended, CollectorError> {
        self.begin_listing();
        let timing = self.senses.config.timing;
        let params = WatchParams {
            field_selector: self.scope.fields.clone(),
            ..WatchParams::default().timeout(seconds(timing.watch)).initial_events()
        };
        let request = match Request::new(&self.url).watch(&params, "") {
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
        let mut pace = Instant::now() + timing.request;
        loop {
            let Ok(item) = timeout_at(pace, stream.next()).await else {
                // Perhaps it takes the request for a plain watch, as old servers do.
                self.is_streaming = false;
                return Ok(failed(Trouble::Silent));
            };
            match item {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    // What the listing is as of shows only at its end; what an earlier run told
                    // is told by each object's own version.
                    let look = self.look(&object, false, &Version::default());
                    self.take(object, look).await?;
                }
                Some(Ok(WatchEvent::Deleted(object))) => {
                    if let Some(known) = self.known.delete(&object) {
                        self.lose(&known).await?;
                    }
                }
                Some(Ok(WatchEvent::Bookmark(mark))) => {
                    let version = Version::new(Some(&mark.metadata.resource_version));
                    let is_end = mark.metadata.annotations.contains_key(INITIAL_END);
                    if let Some(version) = version.filter(|_| is_end) {
                        return self.end_listing(version).await;
                    }
                }
                Some(Ok(WatchEvent::Error(status))) => {
                    return Ok(failed(Trouble::of_status(&status)));
                }
                Some(Err(kube::Error::SerdeError(error))) => self.malformed(&error),
                Some(Err(error)) => return Ok(failed(Trouble::of(&error))),
                None => return Ok(failed(Trouble::Unreachable("the listing broke off".into()))),
            }
            self.hear();
            pace = Instant::now() + timing.request;
        }
    }

    async fn page(&self, params: &ListParams) -> Result<ObjectList<K>, Trouble> {
        let request = Request::new(&self.url)
            .list(params)
            .map_err(|error| Trouble::Malformed(error.to_string()))?;
        let patience = self.senses.config.timing.request;
        match timeout(patience, self.senses.client.request::<ObjectList<K>>(request)).await {
            Ok(Ok(page)) => Ok(page),
            Ok(Err(error)) => Err(Trouble::of(&error)),
            Err(_elapsed) => Err(Trouble::Silent),
        }
    }

    fn begin_listing(&mut self) {
        self.known.begin_listing();
        self.senses.board.write(&self.name, |row| {
            // A state that lasts stays on show until a listing has succeeded.
            let is_lasting =
                matches!(row.status.state, WatchState::Refused | WatchState::NotServed);
            if !is_lasting {
                row.status.state = WatchState::Listing;
            }
        });
    }

    fn look(&mut self, object: &K, is_past: bool, version: &Version) -> Look {
        if self.has_listed {
            return Look::Change;
        }
        if is_past {
            return Look::Known;
        }
        let told = self.told_before.take_if(|told| version.is_below(told));
        if told.is_some() && version != &Version::default() {
            // The store was rebuilt while we were away: what was told says nothing of it.
            info!(resource = self.name, "counts from below; all is new");
        }
        match &self.told_before {
            Some(told) if is_told(object, told) => Look::Known,
            Some(_) | None => Look::First,
        }
    }

    async fn end_listing(&mut self, version: Version) -> Result<Ended, CollectorError> {
        for gone in self.known.end_listing() {
            self.lose(&gone).await?;
        }
        (self.has_listed, self.told_before) = (true, None);
        (self.listed_at, self.moved_at) = (Instant::now(), Instant::now());
        self.told_to(&version);
        // It watches once the server has accepted the watch: the right to list is not the right to
        // watch.
        self.work(WatchState::Listing);
        self.senses.board.write(&self.name, |row| {
            row.is_settled = true;
            row.status.listings += 1;
        });
        Ok(Ended::Listed(version))
    }

    /// Counts an object that cannot be read; the others are read.
    pub(super) fn malformed(&self, error: &serde_json::Error) {
        let account = self.senses.outlet.account();
        account.read(1);
        account.dropped(DropReason::Malformed, 1);
        warn!(resource = self.name, %error, "an object that cannot be read");
    }
}

pub(super) const fn failed(trouble: Trouble) -> Ended {
    Ended::Failed { trouble, at: None, moved: false }
}

pub(super) fn seconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs().max(1)).unwrap_or(u32::MAX)
}
