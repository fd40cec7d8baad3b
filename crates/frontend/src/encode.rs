//! Replies to bytes.

use bitroster_command::Reply;
use bitroster_resp::Encoder;
use bytes::BufMut;

/// Appends `reply`. Recurses as deep as the reply is nested, which our own replies decide.
pub(crate) fn encode<B: BufMut>(reply: &Reply, out: &mut Encoder<'_, B>) {
    match reply {
        Reply::Integer(number) => out.integer(*number),
        Reply::Ok => out.raw(b"+OK\r\n"),
        Reply::Status(text) => out.simple(text),
        Reply::Bulk(bytes) => out.bulk(bytes),
        Reply::Text(text) => out.verbatim(*b"txt", text),
        Reply::Nil => out.nil(),
        Reply::NilArray => out.nil_array(),
        Reply::Array(replies) => {
            out.array(replies.len());
            replies.iter().for_each(|reply| encode(reply, out));
        }
        Reply::Set(replies) => {
            out.set(replies.len());
            replies.iter().for_each(|reply| encode(reply, out));
        }
        Reply::Map(pairs) => {
            out.map(pairs.len());
            for (key, value) in pairs {
                encode(key, out);
                encode(value, out);
            }
        }
        Reply::Double(number) => out.double(*number),
        Reply::Error(error) => out.error(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use bitroster_command::CommandError;
    use bitroster_resp::Version;

    use super::*;

    fn bytes(reply: &Reply, version: Version) -> String {
        let mut out = Vec::new();
        encode(reply, &mut Encoder::new(&mut out, version));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_protocol_has_its_own_form_of_a_reply() {
        let cases = [
            (Reply::Ok, "+OK\r\n", "+OK\r\n"),
            (Reply::Nil, "$-1\r\n", "_\r\n"),
            (Reply::NilArray, "*-1\r\n", "_\r\n"),
            (Reply::Text("ab".into()), "$2\r\nab\r\n", "=6\r\ntxt:ab\r\n"),
            (
                Reply::Map(vec![(Reply::Integer(1), Reply::Nil)]),
                "*2\r\n:1\r\n$-1\r\n",
                "%1\r\n:1\r\n_\r\n",
            ),
            (Reply::Set(vec![Reply::bulk("x")]), "*1\r\n$1\r\nx\r\n", "~1\r\n$1\r\nx\r\n"),
            (Reply::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (CommandError::Syntax.into(), "-ERR syntax error\r\n", "-ERR syntax error\r\n"),
        ];
        for (reply, resp2, resp3) in cases {
            assert_eq!(bytes(&reply, Version::Resp2), resp2);
            assert_eq!(bytes(&reply, Version::Resp3), resp3);
        }
    }
}
