//! Numbers as Redis reads and writes them.

/// Bytes of the longest integer line: type, sign, 19 digits, CR LF.
const LINE_BYTES_MAX: usize = 24;

/// Digits of any number below 10^9: what fits into a `u32` without a check.
const SHORT_DIGITS_MAX: usize = 9;

/// The integer that `text` spells: an optional minus, then digits without a leading zero.
///
/// `None` for anything else: `+1`, `01`, `-0`, a space, an overflow, nothing at all. Redis:
/// `string2ll`.
pub(crate) fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        b"0" => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !matches!(digits, [b'1'..=b'9', ..]) {
        return None;
    }
    digits.iter().try_fold(0i64, |number, &byte| {
        let digit = i64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        let number = number.checked_mul(10)?;
        if negative { number.checked_sub(digit) } else { number.checked_add(digit) }
    })
}

/// The number and the length of a line that is at most nine digits and CR LF.
///
/// `None` if it is anything else or not wholly there: the caller takes the slow way, which decides.
#[inline]
pub(crate) fn parse_short_line(line: &[u8]) -> Option<(u32, usize)> {
    if let [digit @ b'0'..=b'9', b'\r', b'\n', ..] = line {
        return Some((u32::from(digit - b'0'), 3));
    }
    let &first = line.first()?;
    let mut number = u32::from(first.wrapping_sub(b'0'));
    if number > 9 {
        return None;
    }
    let mut digits = 1;
    while digits <= SHORT_DIGITS_MAX {
        let &byte = line.get(digits)?;
        let digit = u32::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            let ends = byte == b'\r' && line.get(digits + 1) == Some(&b'\n');
            let canonical = first != b'0' || digits == 1;
            return (ends && canonical).then_some((number, digits + 2));
        }
        if digits == SHORT_DIGITS_MAX {
            return None;
        }
        number = number * 10 + digit;
        digits += 1;
    }
    None
}

/// One line made on the stack: a type byte, a decimal number, CR LF.
pub(crate) struct NumberLine {
    bytes: [u8; LINE_BYTES_MAX],
    start: usize,
}

impl NumberLine {
    /// The line for a count or length.
    pub(crate) fn new(kind: u8, number: u64) -> Self {
        Self::signed(kind, false, number)
    }

    /// The line for an integer.
    pub(crate) fn integer(kind: u8, number: i64) -> Self {
        Self::signed(kind, number < 0, number.unsigned_abs())
    }

    fn signed(kind: u8, negative: bool, mut magnitude: u64) -> Self {
        let mut bytes = [0; LINE_BYTES_MAX];
        bytes[LINE_BYTES_MAX - 2] = b'\r';
        bytes[LINE_BYTES_MAX - 1] = b'\n';
        let mut start = LINE_BYTES_MAX - 2;
        loop {
            start -= 1;
            let digit = (magnitude % 10) as u8;
            bytes[start] = b'0' + digit;
            magnitude /= 10;
            if magnitude == 0 {
                break;
            }
        }
        if negative {
            start -= 1;
            bytes[start] = b'-';
        }
        start -= 1;
        bytes[start] = kind;
        Self { bytes, start }
    }

    /// The line's bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// The shortest text that reads back as `number`, laid out as Redis lays it out.
///
/// Plain digits while at most seven zeros are added to them, a fraction while at most six digits
/// or a small exponent need one, otherwise an exponent with its sign; `inf`, `-inf`, `nan`.
/// Redis: `fpconv_dtoa`, called by `addReplyDouble`.
pub(crate) fn format_f64(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let sign = if number.is_sign_negative() { "-" } else { "" };
    if number == 0.0 {
        return format!("{sign}0");
    }
    let scientific = format!("{:e}", number.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("`{:e}` writes an exponent");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes a small exponent");
    let digits = mantissa.replace('.', "");
    let count = i32::try_from(digits.len()).expect("a double has at most 17 digits");
    // The number is `digits` times ten to this power.
    let power = exponent - (count - 1);
    if power >= 0 && exponent.abs() < count + 7 {
        let zeros = "0".repeat(power.unsigned_abs() as usize);
        return format!("{sign}{digits}{zeros}");
    }
    if power < 0 && (power > -7 || exponent.abs() < 4) {
        if exponent < 0 {
            let zeros = "0".repeat((exponent.unsigned_abs() - 1) as usize);
            return format!("{sign}0.{zeros}{digits}");
        }
        let (whole, fraction) = digits.split_at((exponent + 1).unsigned_abs() as usize);
        return format!("{sign}{whole}.{fraction}");
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{rest}e{exponent_sign}{}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_are_read() {
        for (text, expected) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), expected, "{text:?}");
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "-01",
            " 1",
            "1 ",
            "1a",
            "0x1",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn the_short_way_agrees_with_the_long_one_or_stands_back() {
        for text in ["0", "1", "9", "10", "123456789", "999999999"] {
            let line = format!("{text}\r\nrest");
            let expected = (text.parse().unwrap(), text.len() + 2);
            assert_eq!(parse_short_line(line.as_bytes()), Some(expected), "{text:?}");
        }
        for line in [
            "",
            "1",
            "1\r",
            "1\n",
            "1\rX",
            "01\r\n",
            "00\r\n",
            "-1\r\n",
            "\r\n",
            "1a\r\n",
            "1000000000\r\n",
            "12345678901234567890123456789\r\n",
        ] {
            assert_eq!(parse_short_line(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn integers_are_written_as_the_standard_library_writes_them() {
        for number in [0, 1, -1, 9, 10, 99, 100, 12_345, i64::MAX, i64::MIN] {
            let line = NumberLine::integer(b':', number);
            assert_eq!(line.as_bytes(), format!(":{number}\r\n").as_bytes());
        }
        let line = NumberLine::new(b'$', u64::MAX);
        assert_eq!(line.as_bytes(), format!("${}\r\n", u64::MAX).as_bytes());
    }

    #[test]
    fn doubles_are_laid_out_as_redis_lays_them_out() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (3.25, "3.25"),
            (-0.001, "-0.001"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-9, "1.5e-9"),
            (1e7, "10000000"),
            (1e8, "1e+8"),
            (1.25e30, "1.25e+30"),
            (0.333_333_333_333_333_3, "0.3333333333333333"),
            (1_234.567_890_123, "1234.567890123"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(format_f64(number), expected);
        }
    }
}
