//! Slots, the hash ring and the cluster map.
//!
//! A key's first segment lies in the slot of its name, every later segment in the slot of its
//! number ([`slot_of`]). A [`Ring`] says which group *should* own each slot; the [`ClusterMap`]
//! says which group *does*. Only the map is followed. Nothing here does I/O.
//!
//! # Invariants
//!
//! - All hashes are fixed for ever: stored data lies where they say. Tests pin their values.
//! - A [`ClusterMap`] always names an owner for each of the 16384 slots, and every owner is one of
//!   its groups.
//!
//! # Map
//!
//! | module   | job                                                 |
//! |----------|-----------------------------------------------------|
//! | [`slot`] | keys and segments to slots                          |
//! | [`ring`] | slots to the groups that should own them            |
//! | [`map`]  | slots to the groups that do own them, and its bytes |
//! | [`state`] | nodes, groups and replicas, and how they may change |

pub mod map;
mod mix;
pub mod ring;
pub mod slot;
pub mod state;

pub use map::{ClusterMap, MapError};
pub use ring::Ring;
pub use slot::{slot_of, slot_of_key, slot_of_segment};
pub use state::{ClusterState, Founding};
