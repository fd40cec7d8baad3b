//! Browsers that come to the RESP port are sent to the console.
//!
//! Only `GET /` as a connection's first words is answered so. It is no command of Redis either: GET
//! takes one argument. All other HTTP is refused as Redis refuses it, for pages of other hosts may
//! send it.

use super::Dialog;

/// What a browser that asks for the root says first.
const GET_ROOT: &[u8] = b"GET / HTTP/1.";

/// Longest name of a host that is sent back.
const HOST_BYTES_MAX: usize = 255;

impl Dialog {
    /// The answer to a browser whose first bytes these are, where the node has a console.
    pub(super) fn redirection(&self, input: &[u8]) -> Option<String> {
        let port = self.shared.settings.console_port?;
        let head = input.strip_prefix(GET_ROOT)?;
        let host = host_of(head).unwrap_or_else(|| match self.client.local_addr.ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        });
        Some(format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{host}:{port}/console/\r\nContent-Length: \
             0\r\nConnection: close\r\n\r\n"
        ))
    }
}

/// The host, without its port, that a browser says it wants, if it is a name or an address and has
/// arrived.
fn host_of(head: &[u8]) -> Option<String> {
    let mut lines =
        head.split(|byte| *byte == b'\n').skip(1).take_while(|line| **line != b"\r"[..]);
    let value = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(5)?;
        // A line without its end may go on.
        let value = value.strip_suffix(b"\r")?;
        name.eq_ignore_ascii_case(b"host:").then_some(value)
    })?;
    let value = std::str::from_utf8(value).ok()?.trim();
    let host = match value.strip_prefix('[') {
        Some(rest) => &value[..rest.find(']')? + 2],
        None => value.split(':').next()?,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let fits = !host.is_empty() && host.len() <= HOST_BYTES_MAX && host.bytes().all(is_plain);
    fits.then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_taken_from_a_whole_line_and_nothing_else_is() {
        let host = |head: &str| host_of(head.as_bytes());
        let some = |host: &str| Some(host.to_owned());
        assert_eq!(host("1\r\nHost: db.example:6379\r\n\r\n"), some("db.example"));
        assert_eq!(host("1\r\nAccept: */*\r\nhost:127.0.0.1\r\n"), some("127.0.0.1"));
        assert_eq!(host("1\r\nHost: [::1]:6379\r\n"), some("[::1]"));
        for none in [
            "1",
            "1\r\n",
            "1\r\nHost: db.exam",
            "1\r\nHost: \r\n",
            "1\r\nHost: a/b\r\n",
            "1\r\nHost: [::1\r\n",
            "1\r\nHost: a\rLocation: b\r\n",
            "1\r\n\r\nHost: late\r\n",
            "1\r\nX-Host: other\r\n",
        ] {
            assert_eq!(host(none), None, "{none:?}");
        }
        assert_eq!(host(&format!("1\r\nHost: {}\r\n", "a".repeat(256))), None);
    }
}
