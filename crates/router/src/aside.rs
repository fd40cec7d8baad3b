//! Long computations of one request on an async worker's thread.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs what may take longer than a millisecond while the worker's other tasks move to another
/// thread. Where there is no such thread it runs as it is.
///
/// # Panics
///
/// If `work` does.
pub fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        Ok(_) | Err(_) => work(),
    }
}
