//! Glob patterns as `KEYS` and `SCAN` understand them.

/// Whether all of `text` matches `pattern`.
///
/// `*` is any bytes, `?` any byte, `[ab]`, `[a-z]` and `[^a]` one byte of a set, `\x` the byte `x`
/// itself. A set without its `]` ends with the pattern. Case counts.
///
/// Costs at most the product of both lengths, whatever the pattern: a byte that does not fit only
/// goes back to the last `*`. Allocates nothing.
///
/// Redis's `stringmatchlen` (`util.c`).
///
/// ```
/// use bitroster_command::glob_match;
/// assert!(glob_match(b"user:*:[0-9]?", b"user:anna:42"));
/// assert!(!glob_match(b"user:*", b"users"));
/// ```
pub fn glob_match(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    // After the last star: where the pattern goes on, and where the text does if that fails.
    let mut retry = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            if at == pattern.len() {
                return true;
            }
            retry = Some((at, seen));
            continue;
        }
        let step = match text.get(seen) {
            Some(byte) => one(&pattern[at..], *byte),
            None => return at == pattern.len(),
        };
        if let Some(len) = step {
            at += len;
            seen += 1;
            continue;
        }
        let Some((after, from)) = retry else { return false };
        at = after;
        seen = from + 1;
        retry = Some((after, seen));
    }
}

/// How many bytes of `pattern`, which does not begin with a star, `byte` matches.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => one_of(set, byte).map(|len| 1 + len),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// How long the set at the start of `set`, after its `[`, is, if `byte` matches it.
fn one_of(set: &[u8], byte: u8) -> Option<usize> {
    let inverted = set.first() == Some(&b'^');
    let mut at = usize::from(inverted);
    let mut found = false;
    loop {
        match &set[at..] {
            [] => break,
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [a, b'-', b, ..] => {
                found |= (*a.min(b)..=*a.max(b)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != inverted).then_some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by plain recursion.
    fn twin(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|skip| twin(rest, &text[skip..])),
            _ => text.split_first().is_some_and(|(byte, text)| {
                one(pattern, *byte).is_some_and(|len| twin(&pattern[len..], text))
            }),
        }
    }

    #[test]
    fn patterns_mean_what_redis_means() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a\\", "a\\", true),
            ("[\\]]", "]", true),
            ("[]", "a", false),
            ("[]a]", "]a]", false),
            ("[^]", "a", true),
            ("[abc", "b", true),
            ("[a", "ab", false),
            ("[a-]", "-", false),
            ("[a-", "-", true),
            ("[a-", "a", true),
            ("[-a]", "-", true),
            ("**a**", "bab", true),
            ("*a*b*c*", "xxaxbxxc", true),
            ("*a*b*c*", "xxaxcxxb", false),
            ("a*", "ba", false),
            ("*[0-9]?", "abc12", true),
            ("A", "a", false),
            ("\u{e9}?", "\u{e9}x", true),
        ] {
            assert_eq!(
                glob_match(pattern.as_bytes(), text.as_bytes()),
                matches,
                "{pattern:?} {text:?}"
            );
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let pattern = [b"*a".repeat(200), b"b".to_vec()].concat();
        assert!(!glob_match(&pattern, &b"a".repeat(4000)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn matching_agrees_with_plain_recursion(
            pattern in "[ab*?\\\\^\\[\\]-]{0,8}",
            text in "[ab\\[\\]^-]{0,8}",
        ) {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(glob_match(pattern, text), twin(pattern, text));
        }
    }
}
