//! The cluster's users: who may do what as a client.
//!
//! What a user's rules mean is the clients' side's business; here they are bytes under a name, of
//! bounded length. A node that is a whole cluster by itself keeps the same map in a file of its
//! own.

use std::collections::BTreeMap;

use bitroster_types::limits::{USER_NAME_BYTES_MAX, USER_RULES_BYTES_MAX, USERS_BYTES_MAX};

use super::codec::{StateError, decode_users, encode_users};

/// Users' rules by name.
pub type Users = BTreeMap<Vec<u8>, Vec<u8>>;

/// Why users cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsersError {
    /// A name that is empty or too long.
    #[error("a user's name has {0} bytes; must be 1 to {max}", max = USER_NAME_BYTES_MAX)]
    Name(usize),
    /// One user's rules are too long.
    #[error("a user's rules have {0} bytes; at most {max}", max = USER_RULES_BYTES_MAX)]
    Rules(usize),
    /// All users together are too long.
    #[error("all users' rules have {0} bytes; at most {max}", max = USERS_BYTES_MAX)]
    All(usize),
}

/// Checks that users may be part of a state.
///
/// # Errors
///
/// The first that is too long, or that they are together.
pub fn check(users: &Users) -> Result<(), UsersError> {
    let mut all = 0;
    for (name, rules) in users {
        if name.is_empty() || name.len() > USER_NAME_BYTES_MAX {
            return Err(UsersError::Name(name.len()));
        }
        if rules.len() > USER_RULES_BYTES_MAX {
            return Err(UsersError::Rules(rules.len()));
        }
        all += name.len() + rules.len();
    }
    if all > USERS_BYTES_MAX { Err(UsersError::All(all)) } else { Ok(()) }
}

/// Revision and users as bytes, for a node that keeps them in a file.
pub fn encode(revision: u64, users: &Users) -> Vec<u8> {
    encode_users(revision, users)
}

/// What [`encode`] made these bytes from.
///
/// # Errors
///
/// Whatever is wrong first.
pub fn decode(bytes: &[u8]) -> Result<(u64, Users), StateError> {
    decode_users(bytes)
}

/// What is different, a line each, without any rule: rules hold hashes of passwords.
pub(super) fn differences(old: &Users, new: &Users) -> Vec<String> {
    let shown = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let gone = gone.map(|name| format!("user '{}' is deleted", shown(name)));
    let other = new.iter().filter(|(name, rules)| old.get(*name) != Some(rules));
    let other = other.map(|(name, _)| match old.contains_key(name) {
        true => format!("user '{}' is changed", shown(name)),
        false => format!("user '{}' is made", shown(name)),
    });
    gone.chain(other).collect()
}
