//! A command and a cluster map become a plan and a reply.

pub mod router;
pub mod transport;
pub mod turn;

pub use router::{Router, RouterOptions, Watched};
pub use transport::{Transport, TransportError};
pub use turn::Turn;
