//! Who may do what: users, their rules, and the check of every command.
//!
//! Users belong to the cluster. The node hands each new list of them to [`Access::follow`] and
//! changes the list for clients through a [`UserStore`]. A connection holds an [`Identity`], which
//! sees every change of its user at once. The user `default` is as the node's configuration says
//! for as long as the list has none.
//!
//! # Invariants
//!
//! - A password is only ever hashed and compared. No log line, error or list holds one.
//! - What cannot be understood forbids: a user whose stored rules make no sense is off.
//! - Who is allowed everything pays one load of a flag a command.
//!
//! # Map
//!
//! | module        | job                                                   |
//! |---------------|-------------------------------------------------------|
//! | `user`        | one user: rules in, canonical text out                |
//! | `commands`    | commands, sub-commands, categories, and sets of them  |
//! | `subcommands` | the list of sub-commands                              |
//! | `password`    | hashes                                                |
//! | `log`         | what ACL LOG shows                                    |
//!
//! Redis: `acl.c`.

pub(crate) mod commands;
pub(crate) mod log;
mod password;
mod subcommands;
pub(crate) mod user;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bitroster_command::{
    Access as Touch, Command, CommandError, SessionCommand, table::CommandSpec,
};
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};

use self::{
    commands::{CommandSet, Place},
    log::{Context, Log},
    password::Digest,
    user::User,
};

/// Rules of users by name, in their canonical text.
pub type Users = BTreeMap<Vec<u8>, Vec<u8>>;

/// A change of users: the new ones, or `None` where nothing is to be done. May be asked several
/// times, with the users as they are then.
pub type Edit = Box<dyn FnMut(&Users) -> Result<Option<Users>, CommandError> + Send>;

/// Keeps the users. Implemented by the node.
pub trait UserStore: Send + Sync + 'static {
    /// Changes the users and answers them with their revision, once the change is committed.
    ///
    /// # Errors
    ///
    /// Those of the edit; and why the change could not be made, or may have been.
    fn change(&self, edit: Edit) -> BoxFuture<'_, Result<(u64, Users), CommandError>>;
}

/// The name of the user that connections begin as.
pub(crate) const DEFAULT_USER: &[u8] = b"default";

const WRONG_PASSWORD: CommandError =
    CommandError::Text("WRONGPASS invalid username-password pair or user is disabled.");

pub(crate) const NO_AUTH: CommandError = CommandError::Text("NOAUTH Authentication required.");

/// The users of the cluster, as this node knows them. Clones are the same.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    table: RwLock<Table>,
    /// The user `default`, which is always there.
    default: Arc<Cell>,
    store: OnceLock<Arc<dyn UserStore>>,
    log: Mutex<Log>,
}

/// All users but `default`, and what is known of that.
struct Table {
    revision: u64,
    cells: BTreeMap<Vec<u8>, Arc<Cell>>,
    /// The rules as they came.
    users: Arc<Users>,
    /// The configuration's password.
    configured: Option<Digest>,
}

/// One user, for all connections that are it.
struct Cell {
    name: Vec<u8>,
    rules: RwLock<Arc<Rules>>,
    is_free: AtomicBool,
    is_deleted: AtomicBool,
}

/// A user and what follows from its rules.
pub(crate) struct Rules {
    pub(crate) user: User,
    commands: CommandSet,
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    Command(Place),
    Key(Vec<u8>),
    Channel(Vec<u8>),
}

impl Rules {
    fn new(user: User) -> Self {
        Self { commands: user.command_set(), user }
    }

    /// Whether the user may run `command`, which `place` names.
    pub(crate) fn check(&self, place: Place, command: &Command) -> Result<(), Denial> {
        self.check_place(place)?;
        if self.user.is_free() {
            return Ok(());
        }
        if let Some(touch) = command.needs_all_keys()
            && !self.user.may_touch_all(touch == Touch::Read)
        {
            return Err(Denial::Key(b"*".to_vec()));
        }
        let start_of_names = command.start_of_names();
        for (key, touch) in command.accesses() {
            let reads = touch == Touch::Read;
            let may = match key.strip_suffix(b"*") {
                Some(start) if start_of_names.as_deref() == Some(start) => {
                    self.user.may_touch_from(start, reads)
                }
                Some(_) | None => self.user.may_touch(&key, reads),
            };
            if !may {
                return Err(Denial::Key(key.into_owned()));
            }
        }
        match command {
            Command::Session(command) => self.check_channels(command),
            Command::Read(_) | Command::Write(_) | Command::Composite(_) => Ok(()),
        }
    }

    fn check_place(&self, place: Place) -> Result<(), Denial> {
        if self.commands.contains(place) { Ok(()) } else { Err(Denial::Command(place)) }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only these name channels")]
    fn check_channels(&self, command: &SessionCommand) -> Result<(), Denial> {
        let (channels, is_pattern) = match command {
            SessionCommand::Subscribe { channels, patterned, .. } => (&channels[..], *patterned),
            SessionCommand::Publish { channel, .. } => (std::slice::from_ref(channel), false),
            _ => return Ok(()),
        };
        let denied = channels.iter().find(|channel| !self.user.may_reach(channel, is_pattern));
        denied.map_or(Ok(()), |channel| Err(Denial::Channel(channel.to_vec())))
    }
}

impl Denial {
    /// Redis's refusal; `is_verbose` as for ACL DRYRUN. Redis: `getAclErrorMessage`.
    pub(crate) fn message(&self, user: &[u8], is_verbose: bool) -> String {
        let shown = |text: &[u8]| String::from_utf8_lossy(text).replace(['\r', '\n'], " ");
        let user = shown(user);
        match self {
            Self::Command(place) => {
                let name = place.name();
                format!("User {user} has no permissions to run the '{name}' command")
            }
            Self::Key(key) if is_verbose => {
                format!("User {user} has no permissions to access the '{}' key", shown(key))
            }
            Self::Key(_) => "No permissions to access a key".to_owned(),
            Self::Channel(channel) if is_verbose => {
                let channel = shown(channel);
                format!("User {user} has no permissions to access the '{channel}' channel")
            }
            Self::Channel(_) => "No permissions to access a channel".to_owned(),
        }
    }

    /// Why EXEC does not run a command that was queued before the rules changed.
    pub(crate) fn at_exec(&self) -> CommandError {
        let reason = match self {
            Self::Command(_) => "no permission to execute the command or subcommand",
            Self::Key(_) => "no permission to touch the specified keys",
            Self::Channel(_) => {
                "no permission to access one of the channels used as arguments to the command"
            }
        };
        CommandError::Message(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the \
             EXEC call. This command is no longer allowed for the following reason: {reason}"
        ))
    }
}

impl Cell {
    fn new(name: &[u8], user: User) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_vec(),
            is_free: AtomicBool::new(user.is_free()),
            is_deleted: AtomicBool::new(false),
            rules: RwLock::new(Arc::new(Rules::new(user))),
        })
    }

    fn set(&self, user: User) {
        let is_free = user.is_free();
        let mut rules = self.rules.write();
        *rules = Arc::new(Rules::new(user));
        self.is_free.store(is_free, Relaxed);
    }

    fn delete(&self) {
        let mut rules = self.rules.write();
        *rules = Arc::new(Rules::new(User::new()));
        self.is_free.store(false, Relaxed);
        self.is_deleted.store(true, Relaxed);
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read())
    }
}

impl Access {
    /// Users without any but `default`, who may do everything and has `password`, or needs none.
    pub fn new(password: Option<&[u8]>) -> Self {
        let configured = password.filter(|password| !password.is_empty()).map(Digest::of);
        let table =
            Table { revision: 0, cells: BTreeMap::new(), users: Arc::default(), configured };
        let inner = Inner {
            table: RwLock::new(table),
            default: Cell::new(DEFAULT_USER, User::from_configuration(configured)),
            store: OnceLock::new(),
            log: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Says where changes go. Later calls change nothing.
    pub fn keep_in(&self, store: Arc<dyn UserStore>) {
        self.inner.store.get_or_init(|| store);
    }

    /// Where changes go, if anywhere yet.
    pub(crate) fn store(&self) -> Option<Arc<dyn UserStore>> {
        self.inner.store.get().cloned()
    }

    /// Makes these the users, unless newer ones are known. `None` where nothing changed, else
    /// whether a user was deleted: its identities are void then.
    ///
    /// Cost: as long as the rules.
    pub fn follow(&self, revision: u64, users: &Users) -> Option<bool> {
        let mut table = self.inner.table.write();
        if revision < table.revision {
            return None;
        }
        table.revision = revision;
        if *table.users == *users {
            return None;
        }
        let mut is_deleted = false;
        table.cells.retain(|name, cell| {
            let stays = users.contains_key(name);
            if !stays {
                cell.delete();
                is_deleted = true;
            }
            stays
        });
        for (name, rules) in users.iter().filter(|(name, _)| *name != DEFAULT_USER) {
            if table.users.get(name) == Some(rules) {
                continue;
            }
            match table.cells.get(name) {
                Some(cell) => cell.set(read(name, rules)),
                None => {
                    table.cells.insert(name.clone(), Cell::new(name, read(name, rules)));
                }
            }
        }
        table.users = Arc::new(users.clone());
        self.inner.default.set(table.default_user());
        Some(is_deleted)
    }

    /// The rules of all users as text, `default` among them.
    pub(crate) fn users(&self) -> Users {
        let table = self.inner.table.read();
        let mut users = (*table.users).clone();
        users.entry(DEFAULT_USER.to_vec()).or_insert_with(|| table.default_user().text());
        users
    }

    /// The user `default` of the configuration.
    pub(crate) fn configured_default(&self) -> User {
        User::from_configuration(self.inner.table.read().configured)
    }

    /// Sets the configuration's password; an empty one lets everybody in. Clients that are in stay
    /// in.
    ///
    /// # Errors
    ///
    /// Where the cluster's users have a `default`, whose password it would not be.
    pub(crate) fn set_configured_password(&self, password: &[u8]) -> Result<(), String> {
        let mut table = self.inner.table.write();
        if table.users.contains_key(DEFAULT_USER) {
            return Err("the user 'default' was changed by ACL SETUSER; use that".to_owned());
        }
        table.configured = (!password.is_empty()).then(|| Digest::of(password));
        self.inner.default.set(table.default_user());
        Ok(())
    }

    /// Whether a connection has to say who it is before it may do anything.
    pub fn asks_for_password(&self) -> bool {
        let rules = self.inner.default.rules();
        !rules.user.is_on() || !rules.user.needs_no_password()
    }

    /// Whether anybody may be `default` without a password, as protected mode asks.
    pub(crate) fn default_needs_no_password(&self) -> bool {
        self.inner.default.rules().user.needs_no_password()
    }

    /// Who a new connection is; `None` where it has to say so first.
    pub fn default_identity(&self) -> Option<Identity> {
        (!self.asks_for_password()).then(|| self.identity(&self.inner.default))
    }

    /// Who has this name and password. Takes a time that depends on the lengths of both alone, and
    /// on how many passwords the user has.
    ///
    /// # Errors
    ///
    /// `WRONGPASS`: no such user, another password, or a user that is off. Noted in ACL LOG by the
    /// caller.
    pub fn authenticate(&self, user: &[u8], password: &[u8]) -> Result<Identity, CommandError> {
        let digest = Digest::of(password);
        let cell = self.cell(user).ok_or(WRONG_PASSWORD)?;
        let rules = cell.rules();
        let fits = rules.user.has_password(&digest) || rules.user.needs_no_password();
        if fits && rules.user.is_on() { Ok(self.identity(&cell)) } else { Err(WRONG_PASSWORD) }
    }

    /// The rules of a user.
    pub(crate) fn rules_of(&self, name: &[u8]) -> Option<Arc<Rules>> {
        self.cell(name).map(|cell| cell.rules())
    }

    /// What ACL LOG shows.
    pub(crate) fn log(&self) -> &Mutex<Log> {
        &self.inner.log
    }

    fn cell(&self, name: &[u8]) -> Option<Arc<Cell>> {
        if name == DEFAULT_USER {
            return Some(Arc::clone(&self.inner.default));
        }
        self.inner.table.read().cells.get(name).cloned()
    }

    /// Somebody who may do everything and is in no list.
    pub(crate) fn of_node(&self) -> Identity {
        self.identity(&Cell::new(DEFAULT_USER, User::from_configuration(None)))
    }

    fn identity(&self, cell: &Arc<Cell>) -> Identity {
        Identity { cell: Arc::clone(cell), inner: Arc::clone(&self.inner) }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.inner.table.read();
        let users = table.cells.len() + 1;
        f.debug_struct("Access")
            .field("revision", &table.revision)
            .field("users", &users)
            .finish_non_exhaustive()
    }
}

impl Table {
    fn default_user(&self) -> User {
        match self.users.get(DEFAULT_USER) {
            Some(rules) => read(DEFAULT_USER, rules),
            None => User::from_configuration(self.configured),
        }
    }
}

/// The user that stored rules make; one without any right where they make no sense.
fn read(name: &[u8], rules: &[u8]) -> User {
    User::from_text(rules).unwrap_or_else(|error| {
        let user = String::from_utf8_lossy(name);
        tracing::error!(%user, %error, "a user's rules make no sense: the user is off");
        User::new()
    })
}

/// Somebody who may do something: a user that has said who it is. Clones are cheap and the same
/// user; changes of its rules count for each command that comes after them.
#[derive(Clone)]
pub struct Identity {
    cell: Arc<Cell>,
    inner: Arc<Inner>,
}

impl Identity {
    /// The user's name.
    pub fn name(&self) -> &[u8] {
        &self.cell.name
    }

    /// Whether the user may do everything, so that nothing need be checked.
    #[inline]
    pub fn is_free(&self) -> bool {
        self.cell.is_free.load(Relaxed)
    }

    /// Whether the user was deleted: the connection is to be closed.
    pub fn is_deleted(&self) -> bool {
        self.cell.is_deleted.load(Relaxed)
    }

    /// A hash of the user's rules, passwords among them: another one after any change that counts.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        Digest::of(&self.cell.rules().user.text()).bytes()
    }

    /// Whether the user may run `command`, parsed from `args` by the row `spec`; `args` begins with
    /// the command's name. A refusal is noted in ACL LOG.
    ///
    /// # Errors
    ///
    /// `NOPERM` with Redis's text; `NOAUTH` where the user was deleted.
    pub fn admit(
        &self,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        command: &Command,
    ) -> Result<(), CommandError> {
        if self.is_free() {
            return Ok(());
        }
        let place = Place::of(spec, args);
        let checked = self.cell.rules().check(place, command);
        self.refusal(checked, Context::TopLevel, || String::from("id=0"))
    }

    /// As [`admit`](Self::admit), for a session: its context and what describes its client.
    pub(crate) fn admit_from(
        &self,
        place: Place,
        command: &Command,
        context: Context,
        describe: impl FnOnce() -> String,
    ) -> Result<(), CommandError> {
        self.refusal(self.cell.rules().check(place, command), context, describe)
    }

    /// Whether the user may run a command at all, with whatever keys.
    pub(crate) fn admit_place(
        &self,
        place: Place,
        context: Context,
        describe: impl FnOnce() -> String,
    ) -> Result<(), CommandError> {
        self.refusal(self.cell.rules().check_place(place), context, describe)
    }

    /// Whether the user may listen to all of these channels, and patterns of channels where the
    /// flag says so. As the rules are now. Cost: the user's patterns for each name.
    pub(crate) fn may_hear<'a>(&self, names: impl IntoIterator<Item = (&'a [u8], bool)>) -> bool {
        if self.is_free() {
            return true;
        }
        let rules = self.cell.rules();
        names.into_iter().all(|(name, is_pattern)| rules.user.may_reach(name, is_pattern))
    }

    /// Whether the user may still run what was queued.
    pub(crate) fn check(&self, place: Place, command: &Command) -> Result<(), Denial> {
        self.cell.rules().check(place, command)
    }

    fn refusal(
        &self,
        checked: Result<(), Denial>,
        context: Context,
        describe: impl FnOnce() -> String,
    ) -> Result<(), CommandError> {
        if self.is_deleted() {
            return Err(NO_AUTH);
        }
        let Err(denial) = checked else { return Ok(()) };
        self.inner.log.lock().note_denial(&denial, context, self.name(), &describe());
        Err(CommandError::Message(format!("NOPERM {}", denial.message(self.name(), false))))
    }
}

impl PartialEq for Identity {
    /// Whether both are the same user, not only of the same name.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cell, &other.cell)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&String::from_utf8_lossy(self.name())).finish()
    }
}

#[cfg(test)]
mod tests;
