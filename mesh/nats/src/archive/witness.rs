//! What a judge of the mesh reads beside its tellings: the roots as they change, and the audit.

use tapio_model::{Audit, ShardId, Timestamp};
use tapio_shard::Root;
use tapio_wire::{decode_audit, decode_root};
use tracing::warn;

use super::{Archive, ArchiveError};
use crate::{Bucket, Stream, fabric::KeptReader};

/// A shard's root, as one write left it.
#[derive(Debug, Clone, PartialEq)]
pub struct RootEntry {
    /// Which write of the bucket this is.
    pub revision: u64,
    /// When the server took it, by its clock.
    pub time: Timestamp,
    /// The shard.
    pub shard: ShardId,
    /// The root.
    pub root: Root,
}

/// The roots as they change. The bucket keeps the last write of each only, so a reader that falls
/// behind misses writes; it never sees them out of order.
#[derive(Debug)]
pub struct RootFeed {
    reader: KeptReader,
    stream: String,
}

impl RootFeed {
    /// Waits for the next write. What is not readable is left out, and logged.
    ///
    /// # Errors
    /// [`ArchiveError::Failed`] if reading can never go on.
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<RootEntry, ArchiveError> {
        loop {
            let next = self.reader.next().await;
            let kept =
                next.map_err(|why| ArchiveError::Failed { stream: self.stream.clone(), why })?;
            let shard = kept.subject.rsplit('.').next().and_then(|key| key.parse().ok());
            match (shard, decode_root(&kept.entry.body)) {
                (Some(shard), Ok(root)) => {
                    return Ok(RootEntry {
                        revision: kept.entry.sequence,
                        time: kept.entry.time,
                        shard: ShardId::new(shard),
                        root,
                    });
                }
                (None, _) => warn!(subject = %kept.subject, "not a shard's root"),
                (Some(_), Err(why)) => warn!(subject = %kept.subject, %why, "not a root"),
            }
        }
    }
}

/// The audit, as it is written.
#[derive(Debug)]
pub struct AuditFeed {
    reader: KeptReader,
    stream: String,
}

impl AuditFeed {
    /// Waits for the next entry. What is not readable is left out, and logged.
    ///
    /// # Errors
    /// [`ArchiveError::Failed`] if reading can never go on.
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Audit, ArchiveError> {
        loop {
            let next = self.reader.next().await;
            let kept =
                next.map_err(|why| ArchiveError::Failed { stream: self.stream.clone(), why })?;
            match decode_audit(&kept.entry.body) {
                Ok(audit) => return Ok(audit),
                Err(why) => warn!(subject = %kept.subject, %why, "not an audit"),
            }
        }
    }
}

impl Archive {
    /// Reads the roots of all shards as they change, beginning with the last write of each.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn roots(&self) -> Result<RootFeed, ArchiveError> {
        let bucket = self.subjects.bucket(Bucket::Roots);
        let (stream, filter) = (format!("KV_{bucket}"), format!("$KV.{bucket}.>"));
        let reader = self.fabric.read_kept(&stream, filter, 1).await;
        let reader = reader.map_err(|why| ArchiveError::Failed { stream: stream.clone(), why })?;
        Ok(RootFeed { reader, stream })
    }

    /// Reads the audit of all shards from its beginning.
    ///
    /// # Errors
    /// [`ArchiveError`]; [`ArchiveError::Missing`] if this mesh is not audited.
    pub async fn audits(&self) -> Result<AuditFeed, ArchiveError> {
        self.state(Stream::Audit).await?;
        let stream = self.subjects.stream(Stream::Audit);
        let filter = self.subjects.taken_by(Stream::Audit).into_iter().next().unwrap_or_default();
        let reader = self.fabric.read_kept(&stream, filter, 1).await;
        let reader = reader.map_err(|why| self.failed(Stream::Audit, why))?;
        Ok(AuditFeed { reader, stream })
    }
}
