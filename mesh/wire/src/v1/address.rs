//! Where things lie that leave a shard.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use tapio_model::{Address, ShardId};

use super::leaf::{Id16, needed, story_id};
use crate::DecodeError;

/// An address: its type is the number of [`Address`]'s variant; `shard` is where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AddressV1 {
    r#type: u32,
    shard: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    story: Option<Id16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    telling: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<u64>,
}

impl From<&Address> for AddressV1 {
    fn from(address: &Address) -> Self {
        let none = |r#type, shard: ShardId| Self {
            r#type,
            shard: shard.number(),
            story: None,
            telling: None,
            sequence: None,
            part: None,
            to: None,
            commit: None,
        };
        match *address {
            Address::Telling { shard, story, telling } => Self {
                story: Some(ByteArray::new(*story.as_bytes())),
                telling: Some(telling),
                ..none(1, shard)
            },
            Address::DeadLetter { shard, sequence, part } => {
                Self { sequence: Some(sequence), part: Some(part), ..none(2, shard) }
            }
            Address::Findings { from, to, commit } => {
                Self { to: Some(to.number()), commit: Some(commit), ..none(3, from) }
            }
            Address::Audit { shard, commit } => Self { commit: Some(commit), ..none(4, shard) },
        }
    }
}

impl TryFrom<AddressV1> for Address {
    type Error = DecodeError;

    fn try_from(address: AddressV1) -> Result<Self, DecodeError> {
        let shard = ShardId::new(address.shard);
        let commit = |what| needed(address.commit, what, "commit");
        Ok(match address.r#type {
            1 => Self::Telling {
                shard,
                story: story_id(needed(address.story, "a telling's address", "story")?),
                telling: needed(address.telling, "a telling's address", "telling")?,
            },
            2 => Self::DeadLetter {
                shard,
                sequence: needed(address.sequence, "a dead letter's address", "sequence")?,
                part: needed(address.part, "a dead letter's address", "part")?,
            },
            3 => Self::Findings {
                from: shard,
                to: ShardId::new(needed(address.to, "the address of findings", "to")?),
                commit: commit("the address of findings")?,
            },
            4 => Self::Audit { shard, commit: commit("an audit's address")? },
            code => return Err(DecodeError::UnknownCode { field: "address type", code }),
        })
    }
}
