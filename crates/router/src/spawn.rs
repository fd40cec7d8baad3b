//! Who starts tasks.

use futures_util::future::BoxFuture;

/// Starts named tasks. Implemented by the node, so that every task of the process has one owner.
pub trait Spawn: Send + Sync + 'static {
    /// Runs `task` to its end. `name` says what it is, for whoever counts tasks.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>);
}
