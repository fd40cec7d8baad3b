//! Ids, keys, offsets, deadlines and every limit.
//!
//! The words of the whole project as types. Nothing here does I/O, reads a clock or depends on
//! another crate of ours.
//!
//! # Map
//!
//! | module     | job                                              |
//! |------------|--------------------------------------------------|
//! | [`id`]     | groups, slots, segments, versions, log positions |
//! | [`key`]    | a bitmap's name                                  |
//! | [`time`]   | log time and deadlines                           |
//! | [`limits`] | every limit of the system, with its reason       |

pub mod id;
pub mod key;
pub mod limits;
pub mod time;

pub use id::{GroupId, LogIndex, Segment, SegmentWidth, Slot, Version};
pub use key::Key;
pub use time::{Deadline, UnixMillis};
