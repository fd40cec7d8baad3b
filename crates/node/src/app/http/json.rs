//! Replies as JSON.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bitroster_command::Reply;

/// Integers beyond this, of either sign, are written as strings: JavaScript has no such numbers.
const INTEGER_MAX: u64 = 1 << 53;

/// The reply would be longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Writes a reply, unless it takes more than `bytes_max`. Errors within it are objects.
///
/// Recurses as deep as the reply is nested, which our own replies decide.
pub(super) fn write(reply: &Reply, bytes_max: usize) -> Result<String, TooLong> {
    let mut writer = Writer { out: String::new(), bytes_max };
    writer.reply(reply)?;
    Ok(writer.out)
}

struct Writer {
    out: String,
    bytes_max: usize,
}

impl Writer {
    fn push(&mut self, text: &str) -> Result<(), TooLong> {
        if self.out.len() + text.len() > self.bytes_max {
            return Err(TooLong);
        }
        self.out.push_str(text);
        Ok(())
    }

    fn reply(&mut self, reply: &Reply) -> Result<(), TooLong> {
        match reply {
            Reply::Ok => self.push("\"OK\""),
            Reply::Status(text) => self.text(text),
            Reply::Integer(number) if number.unsigned_abs() > INTEGER_MAX => {
                self.push(&format!("\"{number}\""))
            }
            Reply::Integer(number) => self.push(&number.to_string()),
            Reply::Double(number) if number.is_finite() => {
                self.push(&serde_json::Value::from(*number).to_string())
            }
            Reply::Double(number) => self.push(&format!("\"{number}\"")),
            Reply::Bulk(bytes) | Reply::Text(bytes) => self.bytes(bytes),
            Reply::Nil | Reply::NilArray => self.push("null"),
            Reply::Array(items) | Reply::Set(items) => self.list(items),
            Reply::Map(pairs) => self.map(pairs),
            Reply::Error(error) => {
                self.push("{\"error\":")?;
                self.text(&error.to_string())?;
                self.push("}")
            }
        }
    }

    fn list(&mut self, items: &[Reply]) -> Result<(), TooLong> {
        self.push("[")?;
        for (at, item) in items.iter().enumerate() {
            self.push(if at > 0 { "," } else { "" })?;
            self.reply(item)?;
        }
        self.push("]")
    }

    /// An object where all keys are text, else pairs.
    fn map(&mut self, pairs: &[(Reply, Reply)]) -> Result<(), TooLong> {
        let is_object = pairs.iter().all(|(key, _)| text_of(key).is_some());
        self.push(if is_object { "{" } else { "[" })?;
        for (at, (key, value)) in pairs.iter().enumerate() {
            self.push(if at > 0 { "," } else { "" })?;
            match text_of(key).filter(|_| is_object) {
                Some(key) => {
                    self.text(key)?;
                    self.push(":")?;
                    self.reply(value)?;
                }
                None => {
                    self.push("[")?;
                    self.reply(key)?;
                    self.push(",")?;
                    self.reply(value)?;
                    self.push("]")?;
                }
            }
        }
        self.push(if is_object { "}" } else { "]" })
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        // What is too long is not copied first.
        if bytes.len() > self.bytes_max {
            return Err(TooLong);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text(text),
            Err(_) => self.push(&format!("{{\"base64\":\"{}\"}}", STANDARD.encode(bytes))),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), TooLong> {
        self.push(&serde_json::Value::from(text).to_string())
    }
}

fn text_of(key: &Reply) -> Option<&str> {
    match key {
        Reply::Bulk(bytes) | Reply::Text(bytes) => std::str::from_utf8(bytes).ok(),
        Reply::Status(text) => Some(text),
        Reply::Ok
        | Reply::Integer(_)
        | Reply::Double(_)
        | Reply::Nil
        | Reply::NilArray
        | Reply::Array(_)
        | Reply::Set(_)
        | Reply::Map(_)
        | Reply::Error(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: Reply) -> String {
        let text = write(&reply, 1 << 20).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).expect("what is written is JSON");
        text
    }

    #[test]
    fn every_reply_is_json() {
        assert_eq!(written(Reply::Ok), "\"OK\"");
        assert_eq!(written(Reply::Integer(1 << 53)), "9007199254740992");
        assert_eq!(written(Reply::Integer((1 << 53) + 1)), "\"9007199254740993\"");
        assert_eq!(written(Reply::Integer(i64::MIN)), "\"-9223372036854775808\"");
        assert_eq!(written(Reply::Double(0.25)), "0.25");
        assert_eq!(written(Reply::Double(f64::INFINITY)), "\"inf\"");
        assert_eq!(written(Reply::bulk("a\"\n\u{e9}")), "\"a\\\"\\n\u{e9}\"");
        assert_eq!(written(Reply::bulk([0xff, 0])), "{\"base64\":\"/wA=\"}");
        assert_eq!(written(Reply::Nil), "null");
        let items = vec![Reply::Integer(1), Reply::Set(vec![]), Reply::NilArray];
        assert_eq!(written(Reply::Array(items)), "[1,[],null]");
    }

    #[test]
    fn a_map_is_an_object_where_its_keys_are_text() {
        let pair = |key: Reply| (key, Reply::Integer(1));
        let map = Reply::Map(vec![pair(Reply::bulk("a")), pair(Reply::bulk("b"))]);
        assert_eq!(written(map), "{\"a\":1,\"b\":1}");
        let map = Reply::Map(vec![pair(Reply::bulk("a")), pair(Reply::Integer(2))]);
        assert_eq!(written(map), "[[\"a\",1],[2,1]]");
    }

    #[test]
    fn what_is_too_long_is_refused_wherever_it_is() {
        let long = Reply::bulk(vec![b'x'; 100]);
        assert_eq!(write(&long, 50), Err(TooLong));
        assert_eq!(write(&Reply::Array(vec![Reply::Integer(1); 40]), 50), Err(TooLong));
        let nested = Reply::Array(vec![Reply::Map(vec![(Reply::bulk("k"), long)])]);
        assert_eq!(write(&nested, 50), Err(TooLong));
        assert!(write(&nested, 200).is_ok());
    }
}
