//! Addresses of servers as people write them.

use std::{fmt, str::FromStr};

/// Redis's port.
const PORT_DEFAULT: u16 = 6379;

/// `HOST[:PORT]` or `redis[s]://[USER[:PASSWORD]@]HOST[:PORT][/DB]`; a password alone is
/// `:PASSWORD@`. User and password may be percent-encoded. An IPv6 address stands in brackets.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// Whether the address wants TLS.
    pub(crate) tls: bool,
    /// Number of the database to select.
    pub(crate) database: u32,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORMS: &str = "no address such as 127.0.0.1:6379 or redis://user:pass@host:6379/0";
        // The text may hold a password, so it is not repeated.
        parse(text).ok_or_else(|| FORMS.to_owned())
    }
}

fn parse(text: &str) -> Option<Address> {
    let (tls, rest) = match text.split_once("://") {
        Some(("redis", rest)) => (false, rest),
        Some(("rediss", rest)) => (true, rest),
        Some(_) => return None,
        None => (false, text),
    };
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (login, rest),
        None => ("", rest),
    };
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (decoded(user)?, decoded(password)?),
        None => (decoded(login)?, String::new()),
    };
    let (rest, database) = match rest.split_once('/') {
        Some((rest, "")) => (rest, 0),
        Some((rest, database)) => (rest, database.parse().ok()?),
        None => (rest, 0),
    };
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let port = port.map_or(Some(PORT_DEFAULT), |port| port.parse().ok())?;
    let is_name = |byte: u8| byte.is_ascii_graphic() && !b"/?#@\\".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_name) {
        return None;
    }
    let some = |text: String| (!text.is_empty()).then_some(text);
    let (user, password) = (some(user), some(password));
    Some(Address { host: host.to_owned(), port, user, password, tls, database })
}

/// Text with its percent codes replaced.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let code = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
        bytes.push(u8::try_from(code).ok()?);
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for Address {
    /// Host, port and database; neither user nor password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port)?,
            false => write!(f, "{}:{}", self.host, self.port)?,
        }
        match self.database {
            0 => Ok(()),
            database => write!(f, "/{database}"),
        }
    }
}

impl fmt::Debug for Address {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Address> {
        text.parse().ok()
    }

    fn plain(host: &str, port: u16) -> Option<Address> {
        let (host, user, password) = (host.to_owned(), None, None);
        Some(Address { host, port, user, password, tls: false, database: 0 })
    }

    fn by(user: Option<&str>, password: Option<&str>) -> Option<Address> {
        let (user, password) = (user.map(str::to_owned), password.map(str::to_owned));
        plain("host", 6379).map(|address| Address { user, password, ..address })
    }

    #[test]
    fn all_forms_are_read() {
        assert_eq!(read("localhost"), plain("localhost", 6379));
        assert_eq!(read("10.0.0.1:7000"), plain("10.0.0.1", 7000));
        assert_eq!(read("redis://host"), plain("host", 6379));
        assert_eq!(read("redis://host:1/"), plain("host", 1));
        assert_eq!(read("[::1]:7000"), plain("::1", 7000));
        assert_eq!(read("redis://[::1]"), plain("::1", 6379));
        let full = read("rediss://ann:p%40%3a%2F%C3%a9@host:6380/3");
        let ann = by(Some("ann"), Some("p@:/é"));
        let expected = ann.map(|ann| Address { port: 6380, tls: true, database: 3, ..ann });
        assert_eq!(full, expected);
        assert_eq!(read("redis://:pw@host"), by(None, Some("pw")));
        assert_eq!(read("redis://ann@host"), by(Some("ann"), None));
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_password_is_shown() {
        for text in ["", ":1", "host:", "host:x", "host:70000", "http://host", "redis://host/x"] {
            assert_eq!(read(text), None, "{text}");
        }
        for text in ["redis://a:%4@host", "redis://a:b@", "[::1", "[::1]x", "a b", "::1"] {
            assert_eq!(read(text), None, "{text}");
        }
        let address: Address = "redis://ann:secret@[::1]:7/2".parse().unwrap();
        assert_eq!(format!("{address} {address:?}"), "[::1]:7/2 [::1]:7/2");
    }
}
