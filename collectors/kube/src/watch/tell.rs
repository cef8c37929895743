//! From a change of an object to events.

use tapio_collect::{CollectorError, DropReason, Unbound};
use tracing::warn;

use super::Watcher;
use crate::{
    known::Overflow,
    translate::{Context, NEWS_AGE_MAX},
    trim::{Watched, trim_meta},
};

/// How an object came to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It is of the listing that a watch begins with, and new to everybody.
    First,
    /// It is of that listing, and an earlier run told of it.
    Known,
    /// It came or changed.
    Change,
}

impl<K: Watched> Watcher<K> {
    /// Takes an object that is there.
    pub(super) async fn take(&mut self, mut object: K, look: Look) -> Result<(), CollectorError> {
        object.trim();
        trim_meta(kube::Resource::meta_mut(&mut object));
        object.learn(&self.senses.cache);
        match self.changes(&object, look) {
            Ok(events) => self.tell(events).await,
            Err(Overflow) => {
                self.overflow();
                Ok(())
            }
        }
    }

    fn changes(&mut self, object: &K, look: Look) -> Result<Vec<Unbound>, Overflow> {
        let context = context(&self.senses, look);
        let is_told = look == Look::Known || self.senses.config.only_node.is_some();
        let changes = self.known.take(object)?;
        let news = changes.iter().filter(|_| !is_told);
        let told = news.map(|change| K::changes(change.before.as_ref(), change.after, &context));
        Ok(told.flatten().collect())
    }

    /// Takes an object that is gone.
    pub(super) async fn lose(&mut self, object: &K) -> Result<(), CollectorError> {
        object.forget(&self.senses.cache);
        if self.senses.config.only_node.is_some() {
            return self.tell(Vec::new()).await;
        }
        let events = K::changes(Some(object), None, &context(&self.senses, Look::Change));
        self.tell(events).await
    }

    async fn tell(&self, events: Vec<Unbound>) -> Result<(), CollectorError> {
        let outlet = &self.senses.outlet;
        outlet.account().read(1);
        if events.is_empty() {
            outlet.account().dropped(DropReason::Ignored, 1);
            return Ok(());
        }
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        for event in events {
            outlet.emit(event).await?;
        }
        outlet.account().emitted(1);
        self.senses.board.write(&self.name, |row| row.status.told += count);
        Ok(())
    }

    fn overflow(&mut self) {
        let account = self.senses.outlet.account();
        account.read(1);
        account.dropped(DropReason::Full, 1);
        let objects_max = self.senses.config.objects_max;
        let key = "overflow".to_owned();
        if self.said.as_ref() != Some(&key) {
            warn!(resource = self.name, objects_max, "too many objects; the rest is not watched");
            self.said = Some(key);
        }
    }
}

fn context(senses: &super::Senses, look: Look) -> Context<'_> {
    Context {
        cluster: senses.config.cluster.clone(),
        now: senses.clock.now(),
        is_first_list: look != Look::Change,
        news_age_max: NEWS_AGE_MAX,
        owners: &*senses.cache,
    }
}
