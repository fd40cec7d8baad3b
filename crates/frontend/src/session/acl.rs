//! ACL: who may do what, asked and changed by clients.
//!
//! Redis: `aclCommand` in `acl.c`.

use bitroster_command::{CommandError, Reply, lookup, parse_i64};
use bytes::Bytes;
use tokio_rustls::rustls::crypto::ring;

use super::dialog::Dialog;
use crate::access::{
    DEFAULT_USER, Edit, Users,
    commands::{CATEGORIES, Place, category},
    user::{User, is_user_name},
};

const HELP: &[&str] = &[
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "DELUSER <username> [<username> ...]",
    "    Delete a list of users.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Returns whether the user can execute the given command without executing the command.",
    "GETUSER <username>",
    "    Get the user's details.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "LIST",
    "    Show users details in config file format.",
    "LOAD",
    "    Accepted; users are kept by the cluster and need no file.",
    "LOG [<count> | RESET]",
    "    Show the ACL log entries of this node.",
    "SAVE",
    "    Accepted; users are kept by the cluster and need no file.",
    "SETUSER <username> <attribute> [<attribute> ...]",
    "    Create or modify a user with the specified attributes.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
    "HELP",
    "    Print this help.",
];

/// Bits of a generated password where none are asked for.
const PASSWORD_BITS_DEFAULT: usize = 256;

/// Most bits of a generated password: Redis's.
const PASSWORD_BITS_MAX: usize = 4096;

/// Entries that ACL LOG shows where no number is given: Redis's.
const LOG_SHOWN: usize = 10;

impl Dialog {
    /// ACL, `args` being what follows the name.
    pub(super) async fn acl(&self, args: &[Bytes]) -> Result<Reply, CommandError> {
        let Some((first, rest)) = args.split_first() else {
            return Err(CommandError::wrong_arity("acl"));
        };
        let name = String::from_utf8_lossy(first).to_ascii_lowercase();
        match (name.as_str(), rest) {
            ("whoami", []) => Ok(Reply::bulk(self.user_name())),
            ("users", []) => {
                let users = self.shared.access().users();
                Ok(Reply::Array(users.into_keys().map(Reply::bulk).collect()))
            }
            ("list", []) => {
                let users = self.shared.access().users().into_iter();
                let line = |(name, rules): (Vec<u8>, Vec<u8>)| {
                    Reply::bulk([b"user ", &name[..], b" ", &rules].concat())
                };
                Ok(Reply::Array(users.map(line).collect()))
            }
            ("getuser", [user]) => Ok(self.get_user(user)),
            ("setuser", [user, rules @ ..]) => self.set_user(user, rules).await,
            ("deluser", users @ [_, ..]) => self.delete_users(users).await,
            ("cat", []) => {
                Ok(Reply::Array(CATEGORIES.iter().map(|name| Reply::bulk(*name)).collect()))
            }
            ("cat", [name]) => list_category(name),
            ("genpass", []) => generate_password(PASSWORD_BITS_DEFAULT),
            ("genpass", [bits]) => generate_password(password_bits(bits)?),
            ("log", []) => Ok(self.shared.access().log().lock().show(LOG_SHOWN)),
            ("log", [count]) => self.show_log(count),
            ("dryrun", [user, command @ ..]) if !command.is_empty() => self.dry_run(user, command),
            // Every change is kept before it is answered, and followed as it comes.
            ("save" | "load", []) => Ok(Reply::Ok),
            ("help", []) => Ok(Reply::Array(HELP.iter().map(|line| Reply::Status(line)).collect())),
            ("cat" | "genpass" | "log", _) => {
                let name = name.to_ascii_uppercase();
                let text = "ERR unknown subcommand or wrong number of arguments for";
                Err(CommandError::Message(format!("{text} '{name}'. Try ACL HELP.")))
            }
            (
                "whoami" | "users" | "list" | "getuser" | "setuser" | "deluser" | "dryrun" | "save"
                | "load" | "help",
                _,
            ) => Err(CommandError::wrong_arity(&format!("acl|{name}"))),
            _ => {
                let given: String = String::from_utf8_lossy(first).chars().take(128).collect();
                let text = format!("ERR unknown subcommand '{given}'. Try ACL HELP.");
                Err(CommandError::Message(text))
            }
        }
    }

    fn get_user(&self, name: &[u8]) -> Reply {
        let Some(rules) = self.shared.access().rules_of(name) else { return Reply::Nil };
        let user = &rules.user;
        let flags = user.flags().into_iter().map(Reply::bulk).collect();
        let rows = [
            ("flags", Reply::Array(flags)),
            ("passwords", Reply::Array(user.password_hashes().map(Reply::bulk).collect())),
            ("commands", Reply::bulk(user.commands_text())),
            ("keys", Reply::bulk(user.keys_text())),
            ("channels", Reply::bulk(user.channels_text())),
            ("selectors", Reply::Array(Vec::new())),
        ];
        Reply::Map(rows.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
    }

    /// ACL SETUSER. The rules are applied to the user as it is when the change is committed.
    async fn set_user(&self, name: &[u8], rules: &[Bytes]) -> Result<Reply, CommandError> {
        if !is_user_name(name) {
            let text = "ERR Usernames can't contain spaces or null characters";
            return Err(CommandError::Text(text));
        }
        let (name, rules) = (name.to_vec(), rules.to_vec());
        let configured = self.shared.access().configured_default();
        let edit = move |users: &Users| {
            let mut user = match users.get(&name) {
                Some(text) => User::from_text(text).unwrap_or_else(|_| User::new()),
                None if name == DEFAULT_USER => configured.clone(),
                None => User::new(),
            };
            for rule in &rules {
                user.apply(rule).map_err(|error| {
                    let rule = shown(rule);
                    let text = format!("ERR Error in ACL SETUSER modifier '{rule}': {error}");
                    CommandError::Message(text)
                })?;
            }
            let mut users = users.clone();
            users.insert(name.clone(), user.text());
            Ok(Some(users))
        };
        self.change_users(Box::new(edit)).await?;
        Ok(Reply::Ok)
    }

    async fn delete_users(&self, names: &[Bytes]) -> Result<Reply, CommandError> {
        if names.iter().any(|name| *name == DEFAULT_USER) {
            return Err(CommandError::Text("ERR The 'default' user cannot be removed"));
        }
        let names = names.to_vec();
        let (told, count) = std::sync::mpsc::channel();
        let edit = move |users: &Users| {
            let mut left = users.clone();
            left.retain(|name, _| names.iter().all(|gone| *gone != *name));
            let gone = users.len() - left.len();
            // The last word counts; whoever asked may have gone.
            told.send(gone).ok();
            Ok((gone > 0).then_some(left))
        };
        self.change_users(Box::new(edit)).await?;
        let gone = count.try_iter().last().unwrap_or(0);
        Ok(Reply::Integer(i64::try_from(gone).unwrap_or(i64::MAX)))
    }

    /// Has the users changed, and follows the change before it is answered.
    async fn change_users(&self, edit: Edit) -> Result<(), CommandError> {
        let Some(store) = self.shared.access().store() else {
            return Err(CommandError::Text("ERR users cannot be changed here"));
        };
        let (revision, users) = store.change(edit).await?;
        self.shared.follow_users(revision, &users);
        Ok(())
    }

    fn show_log(&self, count: &[u8]) -> Result<Reply, CommandError> {
        let log = self.shared.access().log();
        if count.eq_ignore_ascii_case(b"reset") {
            log.lock().reset();
            return Ok(Reply::Ok);
        }
        let count = std::str::from_utf8(count).ok().and_then(|count| count.parse::<i64>().ok());
        let count = count.ok_or(CommandError::NotAnInteger)?;
        Ok(log.lock().show(usize::try_from(count).unwrap_or(0)))
    }

    fn dry_run(&self, name: &[u8], args: &[Bytes]) -> Result<Reply, CommandError> {
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let Some(rules) = self.shared.access().rules_of(name) else {
            return Err(CommandError::Message(format!("ERR User '{}' not found", text(name))));
        };
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        let Some(spec) = args.first().and_then(|name| lookup(name)) else {
            let command = args.first().map(|name| text(name)).unwrap_or_default();
            return Err(CommandError::Message(format!("ERR Command '{command}' not found")));
        };
        let command = spec.parse(&args, &self.shared.settings.parse_limits)?;
        match rules.check(Place::of(spec, &args), &command) {
            Ok(()) => Ok(Reply::Ok),
            Err(denial) => Ok(Reply::bulk(denial.message(name, true))),
        }
    }
}

/// A rule as an error may show it: never a password or its hash.
fn shown(rule: &[u8]) -> String {
    match rule.first() {
        Some(sign @ (b'>' | b'<' | b'#' | b'!')) => format!("{}(hidden)", char::from(*sign)),
        _ => {
            let rule: String = String::from_utf8_lossy(rule).chars().take(128).collect();
            rule.replace(['\r', '\n'], " ")
        }
    }
}

fn list_category(name: &[u8]) -> Result<Reply, CommandError> {
    let Some(category) = category(name) else {
        let name: String = String::from_utf8_lossy(name).chars().take(128).collect();
        return Err(CommandError::Message(format!("ERR Unknown category '{name}'")));
    };
    let commands = Place::in_category(category);
    Ok(Reply::Array(commands.map(|place| Reply::bulk(place.name())).collect()))
}

fn password_bits(text: &[u8]) -> Result<usize, CommandError> {
    let bits = parse_i64(text).ok_or(CommandError::NotAnInteger)?;
    let bits = usize::try_from(bits).ok();
    bits.filter(|bits| (1..=PASSWORD_BITS_MAX).contains(bits)).ok_or(CommandError::Text(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive \
         number up to 4096",
    ))
}

/// As many hexadecimal digits as hold `bits`.
fn generate_password(bits: usize) -> Result<Reply, CommandError> {
    let digits = bits.div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| CommandError::Text("ERR the system has no randomness"))?;
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    Ok(Reply::bulk(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_never_shows_a_password() {
        for rule in [&b">secret"[..], b"<secret", b"#secret", b"!secret"] {
            assert!(!shown(rule).contains("secret"));
        }
        assert_eq!(shown(b"+nothing\r\n"), "+nothing  ");
    }

    #[test]
    fn a_generated_password_has_the_digits_that_its_bits_need() {
        let digits = |bits: usize| {
            let Reply::Bulk(text) = generate_password(bits).unwrap() else {
                panic!("a password is a text");
            };
            text
        };
        for (bits, len) in [(1, 1), (4, 1), (5, 2), (32, 8), (256, 64), (4096, 1024)] {
            assert_eq!(digits(bits).len(), len);
        }
        assert_ne!(digits(256), digits(256));
        assert!(password_bits(b"0").is_err() && password_bits(b"4097").is_err());
    }
}
