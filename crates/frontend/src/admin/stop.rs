//! SHUTDOWN: stops the node as SIGTERM does. Leads are handed over, what is in flight is answered,
//! and the log is synced, so that `SAVE` and `NOSAVE` mean the same and `NOW` and `FORCE` nothing.

use bitroster_command::{CommandError, Reply};
use bytes::Bytes;

use crate::server::Shared;

pub(super) fn run(shared: &Shared, args: &[Bytes]) -> Result<Reply, CommandError> {
    let (mut saves, mut aborts) = (None, false);
    for option in args {
        match option.to_ascii_lowercase().as_slice() {
            b"save" if saves != Some(false) => saves = Some(true),
            b"nosave" if saves != Some(true) => saves = Some(false),
            b"now" | b"force" => {}
            b"abort" => aborts = true,
            _ => return Err(CommandError::Syntax),
        }
    }
    if aborts {
        return Err(if args.len() == 1 {
            CommandError::Text("ERR No shutdown in progress.")
        } else {
            CommandError::Syntax
        });
    }
    shared.status.stop()?;
    // The connection ends with the node; Redis answers nothing either, but a reply does no harm to
    // a client that waits for one.
    Ok(Reply::Ok)
}
