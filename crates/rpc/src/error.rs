//! Why a call has no answer, and why a server or client does not start.

use std::io;

/// A call that was not answered. The difference between the two is whether it may be repeated by
/// somebody who does not know that it is a repeat.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It never left this node, and never will.
    #[error("not sent: {reason}")]
    NotSent {
        /// Why.
        reason: String,
    },
    /// It was handed to the network and not answered: it may have arrived, or may yet.
    #[error("sent and not answered: {reason}")]
    Lost {
        /// Why nobody waits any more.
        reason: String,
    },
}

impl CallError {
    pub(crate) fn not_sent(reason: impl Into<String>) -> Self {
        Self::NotSent { reason: reason.into() }
    }

    pub(crate) fn lost(reason: impl Into<String>) -> Self {
        Self::Lost { reason: reason.into() }
    }
}

/// A server that ends, or a client that reaches nobody.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not `host:port`.
    #[error("'{address}' is not an address, host:port")]
    Address {
        /// What was given.
        address: String,
    },
    /// Nobody answers there.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why, with its causes.
        reason: String,
    },
    /// The node answered that it will not, or cannot now.
    #[error("{reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
    /// The listener failed.
    #[error("the node's port failed")]
    Listener(#[from] io::Error),
    /// The server failed.
    #[error("the server of the node's port failed: {0}")]
    Server(String),
}

/// An error and all that caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = error.to_string();
        if !text.ends_with(&line) {
            text = format!("{text}: {line}");
        }
        cause = error.source();
    }
    text
}
