//! A typed line becomes arguments, quoted as redis-cli's are.

/// Why a line is no command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbalanced;

/// The arguments of a line: words between blanks. In `"..."` stand `\n \r \t \b \a \\ \"` and
/// `\xHH` for a byte; in `'...'` only `\'`. A closing quotation mark ends the word.
///
/// # Errors
///
/// A quotation mark that is not closed, or not followed by a blank.
pub(super) fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, after) = word(rest)?;
        words.push(word);
        rest = after;
    }
}

/// The word that `rest` begins with, and what follows it.
fn word(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), Unbalanced> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Ok((word, rest)),
            [blank, ..] if blank.is_ascii_whitespace() => return Ok((word, rest)),
            [mark @ (b'"' | b'\''), after @ ..] => {
                rest = quoted(*mark, after, &mut word)?;
                if rest.first().is_some_and(|next| !next.is_ascii_whitespace()) {
                    return Err(Unbalanced);
                }
                return Ok((word, rest));
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// Reads up to the closing `mark`; what follows it.
fn quoted<'a>(mark: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] => return Err(Unbalanced),
            [byte, after @ ..] if *byte == mark => return Ok(after),
            [b'\\', b'x', high, low, after @ ..]
                if mark == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(nibble(*high) << 4 | nibble(*low));
                rest = after;
            }
            [b'\\', byte, after @ ..] if mark == b'"' => {
                word.push(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = after;
            }
            [b'\\', b'\'', after @ ..] if mark == b'\'' => {
                word.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// Bytes as redis-cli quotes them.
pub(super) fn quote(bytes: &[u8], out: &mut String) {
    out.push('"');
    for byte in bytes {
        match byte {
            b'\\' | b'"' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            7 => out.push_str("\\a"),
            8 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => {
                out.push_str("\\x");
                for digit in [byte >> 4, byte & 15] {
                    out.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_and_quotes_taken_off() {
        let words = |line: &str| split(line.as_bytes()).unwrap();
        assert_eq!(words("  SETBIT  k 7 1 "), [&b"SETBIT"[..], b"k", b"7", b"1"]);
        assert_eq!(words(""), [b""; 0]);
        assert_eq!(words(r#"SET "a b" "\x00\xFf\n\q\"""#), [&b"SET"[..], b"a b", b"\x00\xff\nq\""]);
        assert_eq!(words(r"GET 'it\'s \n'"), [&b"GET"[..], br"it's \n"]);
        assert_eq!(words(r#"SET k """#), [&b"SET"[..], b"k", b""]);
        assert_eq!(words("GET schlüssel"), [&b"GET"[..], "schlüssel".as_bytes()]);
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#"SET "a"#, "SET 'a", r#"SET "a"b"#, r#"SET "a\"#] {
            assert_eq!(split(line.as_bytes()), Err(Unbalanced), "{line}");
        }
    }

    #[test]
    fn what_is_quoted_is_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        let mut line = String::new();
        quote(&all, &mut line);
        assert_eq!(split(line.as_bytes()).unwrap(), [all]);
    }
}
