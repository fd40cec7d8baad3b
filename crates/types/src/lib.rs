//! Ids, keys, offsets, deadlines and every limit.
//!
//! The words of the whole project as types. Nothing here does I/O, reads a clock or depends on
//! another crate of ours.
//!
//! # Map
//!
//! | module          | job                                                     |
//! |-----------------|---------------------------------------------------------|
//! | [`id`]          | groups, nodes, slots, segments, versions, log positions |
//! | [`consistency`] | what a read may miss                                    |
//! | [`key`]         | a bitmap's name                                         |
//! | [`time`]        | log time and deadlines                                  |
//! | [`limits`]      | every limit of the system, with its reason              |
//! | [`planted`]     | faults that tests plant                                 |

pub mod consistency;
pub mod id;
pub mod key;
pub mod limits;
pub mod planted;
pub mod time;

pub use consistency::Consistency;
pub use id::{
    ClusterId, GroupId, LogIndex, NodeId, ReplicaId, Segment, SegmentWidth, SessionId, Slot,
    Version,
};
pub use key::Key;
pub use time::{Deadline, UnixMillis};
