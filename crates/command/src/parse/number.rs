//! Integers as Redis reads them.

/// Reads an integer strictly: an optional minus, digits without a leading zero, nothing else, and
/// within 64 bits. `-0`, `+1`, `01`, blanks and the empty string are none.
///
/// Redis's `string2ll` (`util.c`).
///
/// ```
/// use bitroster_command::parse_i64;
/// assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
/// assert_eq!(parse_i64(b"01"), None);
/// ```
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    /// Digits that always fit 64 bits without a sign.
    const DIGITS_MAX: usize = 19;
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !matches!(digits, [b'1'..=b'9', ..]) || digits.len() > DIGITS_MAX {
        return None;
    }
    let mut value = 0_u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    if negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// Reads a cursor: digits alone, within 64 bits.
pub(super) fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_shortest_decimal_form_is_an_integer() {
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "-01",
            "1 ",
            " 1",
            "1.0",
            "0x1",
            "1e3",
            "--1",
            "00",
            "1\0",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999",
            "9999999999999999999999",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
        for number in [0, 1, -1, 9, 10, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1] {
            assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
        }
    }

    #[test]
    fn a_cursor_has_64_bits_and_no_sign() {
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"007"), Some(7));
        for text in ["", "-1", "+1", "18446744073709551616", "a", "1 "] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_integer_is_read_and_nothing_else(
            number in any::<i64>(),
            text in "[-+0-9 ]{0,21}",
        ) {
            prop_assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
            let strict = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
            prop_assert_eq!(parse_i64(text.as_bytes()), strict);
        }
    }
}
