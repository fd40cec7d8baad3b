//! A command and a cluster map become a plan and a reply.
//!
//! [`Router`] knows which group owns which bits and nothing of how a group works: it sends ops
//! through a [`Transport`] and folds the outcomes into one reply. It knows no wire format and no
//! consensus.
//!
//! # Invariants
//!
//! - A write that was sent and not answered is *unknown*, never "failed"; the same holds for every
//!   failure after a plan's first visible change.
//! - Commands of one connection that touch the same key keep their order.
//! - A reply about a whole key speaks of one version of it.
//! - A plan follows one cluster map from its start to its end.
//!
//! # Map
//!
//! | module        | job                                                        |
//! |---------------|------------------------------------------------------------|
//! | [`router`]    | one command in, one reply out; WATCH and EXEC; what is left |
//! | [`turn`]      | the hot path: a pipeline's commands, queued a group        |
//! | [`transport`] | the trait through which groups are reached                 |
//! | `map`         | the newest cluster map, and waiting for a newer one        |
//! | `route`       | where a command goes first; pure                           |
//! | `conflict`    | what must not wait in one turn together; pure              |
//! | `requests`    | the way to the groups, counted                             |
//! | `call`        | one request: deadline, asking, telling, starting again     |
//! | [`aside()`]   | long computations of one request, off the worker            |
//! | `plan`        | what to do where one group cannot do it alone              |
//!
//! Start at [`Turn::try_push`] for the hot path and at `plan` for everything else.

mod arithmetic;
mod aside;
#[expect(clippy::wildcard_enum_match_arm, reason = "any other answer stops a plan")]
mod call;
mod conflict;
mod map;
mod metrics;
#[expect(clippy::wildcard_enum_match_arm, reason = "any other answer stops a plan")]
mod plan;
mod range;
mod requests;
mod route;
pub mod router;
pub mod spawn;
pub mod transport;
pub mod turn;

pub use aside::aside;
pub use router::{Router, RouterOptions, Watched};
pub use spawn::Spawn;
pub use transport::{Fold, Reading, Retry, Target, Transport, TransportError, TransportFigures};
pub use turn::Turn;
