//! Who may do what as a client: where that is kept, and how it changes.
//!
//! In a cluster the users are part of its state, in the meta group. A node that is a whole cluster
//! by itself keeps them in a file beside its map.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use bitroster_command::CommandError;
use bitroster_frontend::{Frontend, UserStore, Users as List, access::Edit};
use bitroster_placement::state::users;
use bitroster_rpc::StateCell;
use bitroster_types::limits::CLUSTER_STATE_BYTES_MAX;
use bitroster_wal::RealFileSystem;
use futures_util::future::{BoxFuture, pending};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::{cluster::meta::Meta, files::Files};

/// The file of a lone node's users within the data directory.
const USERS_NAME: &str = "users";

/// Where users are kept.
pub(crate) trait Users: Send + Sync + 'static {
    /// The users as they are now, and their revision.
    fn current(&self) -> (u64, List);

    /// Hands each change that others make to `frontend`, for as long as the node runs.
    fn follow(&self, frontend: Frontend) -> BoxFuture<'static, ()>;

    /// Where clients' changes go.
    fn store(self: Arc<Self>) -> Arc<dyn UserStore>;
}

/// The users of a cluster.
pub(crate) struct ClusterUsers {
    cell: StateCell,
    meta: Meta,
}

impl ClusterUsers {
    pub(crate) fn new(cell: StateCell, meta: Meta) -> Self {
        Self { cell, meta }
    }
}

impl Users for ClusterUsers {
    fn current(&self) -> (u64, List) {
        let state = self.cell.current();
        state.map_or_else(Default::default, |state| (state.revision, (*state.users).clone()))
    }

    fn follow(&self, frontend: Frontend) -> BoxFuture<'static, ()> {
        let mut states = self.cell.subscribe();
        states.mark_changed();
        Box::pin(async move {
            while states.changed().await.is_ok() {
                let state = states.borrow_and_update().clone();
                if let Some(state) = state {
                    frontend.follow_users(state.revision, &state.users);
                }
            }
        })
    }

    fn store(self: Arc<Self>) -> Arc<dyn UserStore> {
        self
    }
}

impl UserStore for ClusterUsers {
    fn change(&self, mut edit: Edit) -> BoxFuture<'_, Result<(u64, List), CommandError>> {
        Box::pin(async move {
            let changed = self.meta.change(|state| match edit(&state.users)? {
                None => Ok(None),
                Some(users) => Ok(state.set_users(users)?),
            });
            let state = changed.await.map_err(|error| refusal(&error))?;
            Ok((state.revision, (*state.users).clone()))
        })
    }
}

/// Why users were not changed, for the client.
fn refusal(error: &anyhow::Error) -> CommandError {
    if let Some(error) = error.downcast_ref::<CommandError>() {
        return error.clone();
    }
    if let Some(error) = error.downcast_ref::<bitroster_router::TransportError>() {
        warn!(%error, "users were not changed");
        return error.clone().into();
    }
    CommandError::Message(format!("ERR users were not changed: {error:#}"))
}

/// The users of a node that is a whole cluster by itself.
pub(crate) struct FileUsers {
    files: Files,
    /// Revision and users, as in the file.
    kept: Mutex<(u64, List)>,
}

impl FileUsers {
    /// Reads the users from the data directory; none where there is no file.
    ///
    /// # Errors
    ///
    /// What the disk says; a damaged file: without it a node would let in whom it should not.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let files = Files::new(Arc::new(RealFileSystem), path);
        let kept = match files.read(USERS_NAME, CLUSTER_STATE_BYTES_MAX as u64)? {
            None => Default::default(),
            Some(bytes) => users::decode(&bytes).with_context(|| {
                format!("the users in {} are damaged", path.join(USERS_NAME).display())
            })?,
        };
        Ok(Self { files, kept: Mutex::new(kept) })
    }

    fn change_now(&self, mut edit: Edit) -> Result<(u64, List), CommandError> {
        let mut kept = self.kept.lock();
        let Some(users) = edit(&kept.1)? else { return Ok(kept.clone()) };
        users::check(&users).map_err(|error| CommandError::Message(format!("ERR {error}")))?;
        let revision = kept.0 + 1;
        self.files.write(USERS_NAME, &users::encode(revision, &users)).map_err(|error| {
            warn!(error = format!("{error:#}"), "users could not be kept");
            CommandError::Text("ERR users could not be written to the disk")
        })?;
        info!(revision, users = users.len(), "users changed");
        *kept = (revision, users);
        Ok(kept.clone())
    }
}

impl Users for FileUsers {
    fn current(&self) -> (u64, List) {
        self.kept.lock().clone()
    }

    fn follow(&self, _frontend: Frontend) -> BoxFuture<'static, ()> {
        // Nobody else changes them.
        Box::pin(pending())
    }

    fn store(self: Arc<Self>) -> Arc<dyn UserStore> {
        self
    }
}

impl UserStore for FileUsers {
    fn change(&self, edit: Edit) -> BoxFuture<'_, Result<(u64, List), CommandError>> {
        // Some milliseconds of the disk, once in a while.
        Box::pin(async move { tokio::task::block_in_place(|| self.change_now(edit)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(name: &'static str) -> Edit {
        Box::new(move |users| {
            let mut users = users.clone();
            users.insert(name.as_bytes().to_vec(), b"on".to_vec());
            Ok(Some(users))
        })
    }

    #[test]
    fn users_of_a_lone_node_are_there_after_a_start_and_damage_refuses_it() {
        let dir = tempfile::tempdir().unwrap();
        let users = FileUsers::open(dir.path()).unwrap();
        assert_eq!(users.current(), (0, List::new()));
        users.change_now(add("alice")).unwrap();
        let (revision, list) = users.change_now(add("bob")).unwrap();
        assert_eq!((revision, list.len()), (2, 2));
        let refused = users.change_now(Box::new(|_| Err(CommandError::Syntax)));
        assert_eq!(refused, Err(CommandError::Syntax));
        assert_eq!(FileUsers::open(dir.path()).unwrap().current(), (2, list));
        let files = Files::new(Arc::new(RealFileSystem), dir.path());
        let mut bytes = files.read(USERS_NAME, 1 << 20).unwrap().unwrap();
        bytes[9] ^= 1;
        files.write(USERS_NAME, &bytes).unwrap();
        let error = FileUsers::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("are damaged"), "{error}");
    }
}
