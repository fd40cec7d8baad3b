//! One user: what rules make of it, and the canonical text that makes it again.
//!
//! Redis: `ACLSetUser`, `ACLSetSelector` and `ACLDescribeUser` in `acl.c`. Selectors are refused.

use bitroster_command::glob::glob_match;

use super::{
    commands::{self, CommandSet, Place},
    password::Digest,
};

/// Why a rule is refused; the texts are Redis's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    #[error("Syntax error")]
    Syntax,
    #[error("Unknown command or category name in ACL")]
    Unknown,
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not \
         have any effect. Try 'resetkeys' to start with an empty list of patterns"
    )]
    AllKeys,
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does \
         not have any effect. Try 'resetchannels' to start with an empty list of channels"
    )]
    AllChannels,
    #[error("The password you are trying to remove from the user does not exist")]
    NoPassword,
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal \
         characters"
    )]
    Hash,
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgument,
    #[error("Selectors are not supported")]
    Selector,
}

/// A pattern of keys and what may be done with them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    pattern: Vec<u8>,
    reads: bool,
    writes: bool,
}

/// What a rule of commands names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Category(&'static str),
    Command(Place),
}

/// What a user is and may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    is_on: bool,
    needs_no_password: bool,
    passwords: Vec<Digest>,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Vec<u8>>,
    all_commands: bool,
    /// Exceptions from `all_commands`, each adding or removing; later ones win.
    commands: Vec<(bool, Named)>,
}

impl User {
    /// A user as `ACL SETUSER name` makes it: off, without a password and without any right.
    pub(crate) fn new() -> Self {
        Self {
            is_on: false,
            needs_no_password: false,
            passwords: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels: false,
            channels: Vec::new(),
            all_commands: false,
            commands: Vec::new(),
        }
    }

    /// The user `default` of a configuration: it may do everything, with this password.
    pub(crate) fn from_configuration(password: Option<Digest>) -> Self {
        Self {
            is_on: true,
            needs_no_password: password.is_none(),
            passwords: password.into_iter().collect(),
            all_keys: true,
            all_channels: true,
            all_commands: true,
            ..Self::new()
        }
    }

    /// The user that a stored text makes. What names commands that this build does not know is
    /// passed over.
    ///
    /// # Errors
    ///
    /// The first rule that makes no sense.
    pub(crate) fn from_text(text: &[u8]) -> Result<Self, RuleError> {
        let mut user = Self::new();
        for rule in text.split(|byte| *byte == b' ').filter(|rule| !rule.is_empty()) {
            match user.apply(rule) {
                Ok(()) | Err(RuleError::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(user)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    pub(crate) fn needs_no_password(&self) -> bool {
        self.needs_no_password
    }

    /// Whether `digest` lets the user in. Looks at all passwords, whatever the first say.
    pub(crate) fn has_password(&self, digest: &Digest) -> bool {
        self.passwords.iter().fold(false, |found, password| password.is(digest) | found)
    }

    /// Whether nothing is forbidden.
    pub(crate) fn is_free(&self) -> bool {
        self.all_keys && self.all_channels && self.all_commands && self.commands.is_empty()
    }

    /// Changes the user by one rule, as `ACL SETUSER` takes them.
    ///
    /// # Errors
    ///
    /// [`RuleError`]; the user is as before then.
    pub(crate) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let Some((first, rest)) = rule.split_first() else { return Err(RuleError::Syntax) };
        match rule.to_ascii_lowercase().as_slice() {
            b"on" => self.is_on = true,
            b"off" => self.is_on = false,
            b"nopass" => {
                self.needs_no_password = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.needs_no_password = false;
                self.passwords.clear();
            }
            b"allkeys" | b"~*" => (self.all_keys, self.keys) = (true, Vec::new()),
            b"resetkeys" => (self.all_keys, self.keys) = (false, Vec::new()),
            b"allchannels" | b"&*" => (self.all_channels, self.channels) = (true, Vec::new()),
            b"resetchannels" => (self.all_channels, self.channels) = (false, Vec::new()),
            b"allcommands" | b"+@all" => (self.all_commands, self.commands) = (true, Vec::new()),
            b"nocommands" | b"-@all" => (self.all_commands, self.commands) = (false, Vec::new()),
            b"reset" => *self = Self::new(),
            // Payloads are checked whatever is said, and there are no selectors to clear.
            b"sanitize-payload" | b"skip-sanitize-payload" | b"clearselectors" => {}
            _ => {
                return match first {
                    b'>' | b'<' | b'#' | b'!' => self.apply_password(*first, rest),
                    b'~' => self.add_keys(rest, true, true),
                    b'%' => self.add_keys_for(rest),
                    b'&' => self.add_channels(rest),
                    b'+' | b'-' => self.apply_command(*first == b'+', rest),
                    b'(' => Err(RuleError::Selector),
                    _ => Err(RuleError::Syntax),
                };
            }
        }
        Ok(())
    }

    fn apply_password(&mut self, sign: u8, rest: &[u8]) -> Result<(), RuleError> {
        let digest = match sign {
            b'>' | b'<' => Digest::of(rest),
            _ => Digest::from_hex(rest).ok_or(RuleError::Hash)?,
        };
        if matches!(sign, b'>' | b'#') {
            if !self.has_password(&digest) {
                self.passwords.push(digest);
            }
            self.needs_no_password = false;
            return Ok(());
        }
        let before = self.passwords.len();
        self.passwords.retain(|password| !password.is(&digest));
        if self.passwords.len() == before { Err(RuleError::NoPassword) } else { Ok(()) }
    }

    /// `%R~pattern` and its like.
    fn add_keys_for(&mut self, rest: &[u8]) -> Result<(), RuleError> {
        let tilde = rest.iter().position(|byte| *byte == b'~').ok_or(RuleError::Syntax)?;
        let (mut reads, mut writes) = (false, false);
        for flag in &rest[..tilde] {
            match flag.to_ascii_lowercase() {
                b'r' if !reads => reads = true,
                b'w' if !writes => writes = true,
                _ => return Err(RuleError::Syntax),
            }
        }
        if !reads && !writes {
            return Err(RuleError::Syntax);
        }
        let pattern = &rest[tilde + 1..];
        if reads && writes && pattern == b"*" {
            (self.all_keys, self.keys) = (true, Vec::new());
            return Ok(());
        }
        self.add_keys(pattern, reads, writes)
    }

    fn add_keys(&mut self, pattern: &[u8], reads: bool, writes: bool) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AllKeys);
        }
        check_pattern(pattern)?;
        if let Some(known) = self.keys.iter_mut().find(|known| known.pattern == pattern) {
            known.reads |= reads;
            known.writes |= writes;
        } else {
            self.keys.push(KeyPattern { pattern: pattern.to_vec(), reads, writes });
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AllChannels);
        }
        check_pattern(pattern)?;
        if self.channels.iter().all(|known| known != pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    fn apply_command(&mut self, allow: bool, name: &[u8]) -> Result<(), RuleError> {
        let named = if let Some(name) = name.strip_prefix(b"@") {
            Named::Category(commands::category(name).ok_or(RuleError::Unknown)?)
        } else if let Some(place) = Place::named(name) {
            Named::Command(place)
        } else {
            return Err(refusal_of(name));
        };
        self.commands.retain(|(_, known)| match (*known, named) {
            (Named::Command(known), Named::Command(place)) => {
                known != place && !known.is_under(place)
            }
            (known, named) => known != named,
        });
        self.commands.push((allow, named));
        Ok(())
    }

    /// What the user may run.
    pub(crate) fn command_set(&self) -> CommandSet {
        let mut set = CommandSet::new(self.all_commands);
        for (allow, named) in &self.commands {
            match named {
                Named::Category(category) => set.set_category(category, *allow),
                Named::Command(place) => set.set(*place, *allow),
            }
        }
        set
    }

    /// Whether the user may read (or, where not `reads`, write) a key. Cost: its patterns.
    pub(crate) fn may_touch(&self, key: &[u8], reads: bool) -> bool {
        let fits = |known: &KeyPattern| {
            (if reads { known.reads } else { known.writes }) && glob_match(&known.pattern, key)
        };
        self.all_keys || self.keys.iter().any(fits)
    }

    /// Whether the user may read (or, where not `reads`, write) every key that begins with `start`:
    /// whether a pattern ends in a star and matches `start`, for then what is before the star
    /// matches a beginning of it. A pattern with a set of bytes is taken for none that does.
    pub(crate) fn may_touch_from(&self, start: &[u8], reads: bool) -> bool {
        let fits = |known: &KeyPattern| {
            (if reads { known.reads } else { known.writes })
                && head_of(&known.pattern).is_some()
                && glob_match(&known.pattern, start)
        };
        self.all_keys || self.keys.iter().any(fits)
    }

    /// Whether the user may read (or, where not `reads`, write) every key.
    pub(crate) fn may_touch_all(&self, reads: bool) -> bool {
        let fits = |known: &KeyPattern| {
            known.pattern == b"*" && if reads { known.reads } else { known.writes }
        };
        self.all_keys || self.keys.iter().any(fits)
    }

    /// Whether the user may send to a channel or listen to it; a pattern of channels must be one of
    /// the user's own, letter by letter.
    pub(crate) fn may_reach(&self, channel: &[u8], is_pattern: bool) -> bool {
        let fits = |known: &Vec<u8>| {
            if is_pattern { known == channel } else { glob_match(known, channel) }
        };
        self.all_channels || self.channels.iter().any(fits)
    }

    /// The user's flags, as `ACL GETUSER` has them.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.is_on { "on" } else { "off" }];
        if self.needs_no_password {
            flags.push("nopass");
        }
        flags.push("sanitize-payload");
        flags
    }

    /// The passwords' hashes in hexadecimal.
    pub(crate) fn password_hashes(&self) -> impl Iterator<Item = String> {
        self.passwords.iter().map(Digest::hex)
    }

    /// The rules of commands: `-@all +get`.
    pub(crate) fn commands_text(&self) -> String {
        let mut out = if self.all_commands { "+@all" } else { "-@all" }.to_owned();
        for (allow, named) in &self.commands {
            out.push_str(if *allow { " +" } else { " -" });
            match named {
                Named::Category(category) => {
                    out.push('@');
                    out.push_str(category);
                }
                Named::Command(place) => out.push_str(place.name()),
            }
        }
        out
    }

    /// The patterns of keys: `~a* %R~b*`.
    pub(crate) fn keys_text(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let text = |known: &KeyPattern| {
            let sign: &[u8] = match (known.reads, known.writes) {
                (true, true) => b"~",
                (true, false) => b"%R~",
                _ => b"%W~",
            };
            [sign, &known.pattern].concat()
        };
        self.keys.iter().map(text).collect::<Vec<_>>().join(&b' ')
    }

    /// The patterns of channels: `&a* &b`.
    pub(crate) fn channels_text(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let text = |pattern: &Vec<u8>| [b"&", &pattern[..]].concat();
        self.channels.iter().map(text).collect::<Vec<_>>().join(&b' ')
    }

    /// The rules that make this user of a new one, as `ACL LIST` has them.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = vec![self.flags().join(" ").into_bytes()];
        parts.extend(self.password_hashes().map(|hash| format!("#{hash}").into_bytes()));
        parts.push(self.keys_text());
        if !self.all_channels {
            parts.push(b"resetchannels".to_vec());
        }
        parts.push(self.channels_text());
        parts.push(self.commands_text().into_bytes());
        parts.retain(|part| !part.is_empty());
        parts.join(&b' ')
    }
}

/// Why a name is none of a command's.
fn refusal_of(name: &[u8]) -> RuleError {
    match name.iter().filter(|byte| **byte == b'|').count() {
        0 => RuleError::Unknown,
        1 => {
            let command = name.split(|byte| *byte == b'|').next().unwrap_or_default();
            if commands::is_plain_command(command) {
                RuleError::FirstArgument
            } else {
                RuleError::Unknown
            }
        }
        _ => RuleError::FirstArgument,
    }
}

/// What is before the star that ends a pattern; `None` where none does, or where a set of bytes may
/// have it.
fn head_of(pattern: &[u8]) -> Option<&[u8]> {
    let head = pattern.strip_suffix(b"*")?;
    let mut rest = head;
    loop {
        rest = match rest {
            [] => return Some(head),
            // A lone backslash takes the star for itself.
            [b'\\'] | [b'[', ..] => return None,
            [b'\\', _, rest @ ..] | [_, rest @ ..] => rest,
        };
    }
}

/// Refuses what a text of rules could not hold.
fn check_pattern(pattern: &[u8]) -> Result<(), RuleError> {
    let splits = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0 || *byte == 0x0b;
    if pattern.iter().any(splits) { Err(RuleError::Syntax) } else { Ok(()) }
}

/// Whether `name` may be a user's: no blanks, no zero bytes, not empty.
pub(crate) fn is_user_name(name: &[u8]) -> bool {
    !name.is_empty() && check_pattern(name).is_ok()
}

#[cfg(test)]
mod tests;
