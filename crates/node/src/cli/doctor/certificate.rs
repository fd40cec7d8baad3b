//! When a certificate ends: the one field of X.509 that is looked at here.
//!
//! ```text
//! Certificate := SEQUENCE { tbs, ... }
//! tbs         := SEQUENCE { [0] version?, serial, algorithm, issuer, validity, ... }
//! validity    := SEQUENCE { from, until }      each UTCTime or GeneralizedTime (RFC 5280, 4.1.2.5)
//! ```

/// Tags of DER that are looked for.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Seconds since 1970 at which the certificate ends; `None` where the bytes are no certificate.
pub(super) fn ends_at(der: &[u8]) -> Option<i64> {
    let (_, certificate, _) = element(der)?;
    let (tag, tbs, _) = element(certificate)?;
    if tag != SEQUENCE {
        return None;
    }
    let (tag, _, after_first) = element(tbs)?;
    // The version may be left out; then this was the serial number.
    let rest = if tag == VERSION { element(after_first)?.2 } else { after_first };
    let (_, _, rest) = element(rest)?;
    let (_, _, rest) = element(rest)?;
    let (_, validity, _) = element(rest)?;
    let (_, _, until) = element(validity)?;
    let (tag, time, _) = element(until)?;
    seconds(tag, str::from_utf8(time).ok()?)
}

/// An element's tag, its contents and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, first, rest @ ..] = der else { return None };
    let (len, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(*first & 0x7f);
        let (digits, rest) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count))?;
        (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
    };
    let (contents, rest) = rest.split_at_checked(len)?;
    Some((*tag, contents, rest))
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ` as seconds since 1970.
fn seconds(tag: u8, text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').filter(|text| text.bytes().all(|it| it.is_ascii_digit()))?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: i64 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let part = |at: usize| rest[at..at + 2].parse::<i64>().unwrap_or(0);
    let days = days_from_civil(year, part(0), part(2));
    Some(days * 86_400 + part(4) * 3_600 + part(6) * 60 + part(8))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar. Years begin in March here, so that
/// the leap day is their last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_of_a_real_certificate_is_found() {
        let key = KeyPair::generate().unwrap();
        // Before 2050 it is written with two digits, after it with four.
        for (year, seconds) in [(2030, 1_893_456_000), (2051, 2_556_144_000)] {
            let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, 1, 1);
            let certificate = params.self_signed(&key).unwrap();
            assert_eq!(ends_at(certificate.der()), Some(seconds));
        }
    }

    #[test]
    fn dates_are_counted_from_1970() {
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 2, 29), 11_016);
        assert_eq!(days_from_civil(2026, 11, 21), 20_778);
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let whole = params.self_signed(&key).unwrap();
        for len in 0..whole.der().len().min(200) {
            assert_eq!(ends_at(&whole.der()[..len]), None);
        }
        assert_eq!(ends_at(&[0x30; 64]), None);
        assert_eq!(ends_at(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
