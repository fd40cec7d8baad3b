//! Dated keys: periods of time and their names. Dates are UTC, weeks those of ISO 8601.
//!
//! A dated key is a family's name, a colon and a period: `dau:2026-11-21`. Nothing here knows what
//! time it is; who asks says so. Periods are those of the years 1970 to 9999.
//!
//! Start at [`Period`]; [`window_keys`] and [`mark_keys`] are what `BM.WINDOW` and `BM.MARK` need.

use std::fmt;

use bitroster_types::{Key, UnixMillis, limits::EXPRESSION_KEYS_MAX};
use time::{Date, Month, Weekday};

use crate::{CommandError, composite::Span, composite::Unit};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// The Julian day of 1970-01-01.
const EPOCH_JULIAN_DAY: i32 = 2_440_588;
/// Days from Monday 1969-12-29, when week 0 begins, to 1970-01-01.
const WEEK_BEFORE_EPOCH_DAYS: u32 = 3;
const YEAR_FIRST: i32 = 1970;
/// Days from 1970-01-01 to 9999-12-31.
const DAY_LAST: u32 = 2_932_896;

/// One hour, day, week or month.
///
/// ```
/// use bitroster_command::dates::Period;
/// let day = Period::parse(b"2026-12-31").unwrap();
/// assert_eq!(day.step(1).unwrap().to_string(), "2027-01-01");
/// assert_eq!(&*day.key(b"dau").unwrap(), b"dau:2026-12-31");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    unit: Unit,
    /// Periods of this unit since the one that holds 1970-01-01T00.
    number: u32,
}

impl Period {
    /// The period that holds a time; `None` after the year 9999.
    pub fn at(unit: Unit, at: UnixMillis) -> Option<Self> {
        let day = u32::try_from(at.0 / DAY_MS).ok().filter(|day| *day <= DAY_LAST)?;
        let number = match unit {
            Unit::Hour => u32::try_from(at.0 / HOUR_MS).ok()?,
            Unit::Day => day,
            Unit::Week => (day + WEEK_BEFORE_EPOCH_DAYS) / 7,
            Unit::Month => {
                let date = date(day)?;
                let years = u32::try_from(date.year() - YEAR_FIRST).ok()?;
                years * 12 + u32::from(u8::from(date.month())) - 1
            }
        };
        Some(Self { unit, number })
    }

    /// Reads `2026-11-21T09`, `2026-11-21`, `2026-W47` or `2026-11`; nothing else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let unit = unit_of(text)?;
        let year = number(&text[..4])?;
        let day = match unit {
            Unit::Month => calendar(year, &text[5..7], b"01")?,
            Unit::Week => {
                let week = u8::try_from(number(&text[6..8])?).ok()?;
                let year = i32::try_from(year).ok()?;
                let monday = Date::from_iso_week_date(year, week, Weekday::Monday).ok()?;
                let days = monday.to_julian_day() - EPOCH_JULIAN_DAY;
                let days = days + WEEK_BEFORE_EPOCH_DAYS.cast_signed();
                return Some(Self { unit, number: u32::try_from(days).ok()? / 7 });
            }
            Unit::Day | Unit::Hour => calendar(year, &text[5..7], &text[8..10])?,
        };
        let hour = if unit == Unit::Hour { number(&text[11..13])? } else { 0 };
        let hour = (hour < 24).then_some(hour)?;
        Self::at(unit, UnixMillis(u64::from(day) * DAY_MS + u64::from(hour) * HOUR_MS))
    }

    /// Of what length it is.
    pub fn unit(self) -> Unit {
        self.unit
    }

    /// When it begins. The first week began before 1970 and counts from there.
    pub fn start(self) -> UnixMillis {
        let number = u64::from(self.number);
        UnixMillis(match self.unit {
            Unit::Hour => number * HOUR_MS,
            Unit::Day => number * DAY_MS,
            Unit::Week => (number * 7).saturating_sub(WEEK_BEFORE_EPOCH_DAYS.into()) * DAY_MS,
            Unit::Month => u64::from(self.first_day()) * DAY_MS,
        })
    }

    /// When it is over: the next one's start.
    pub fn end(self) -> UnixMillis {
        Self { number: self.number + 1, ..self }.start()
    }

    /// The period so many later, or earlier where negative; `None` outside the years that there
    /// are.
    pub fn step(self, by: i64) -> Option<Self> {
        let number = u32::try_from(i64::from(self.number).checked_add(by)?).ok()?;
        let stepped = Self { number, ..self };
        (number <= Self::last_number(self.unit)).then_some(stepped)
    }

    /// How many periods there are from this one to `last`, both among them; 0 where `last` is
    /// earlier or of another unit.
    pub fn count_to(self, last: Self) -> u32 {
        if self.unit == last.unit && self.number <= last.number {
            last.number - self.number + 1
        } else {
            0
        }
    }

    /// The periods from this one to `last`, both among them.
    pub fn through(self, last: Self) -> impl Iterator<Item = Self> {
        let unit = self.unit;
        (0..self.count_to(last)).map(move |step| Self { unit, number: self.number + step })
    }

    /// The key of a family for this period; `None` where it is too long.
    pub fn key(self, family: &[u8]) -> Option<Key> {
        let mut name = Vec::with_capacity(family.len() + 14);
        name.extend_from_slice(family);
        name.push(b':');
        name.extend_from_slice(self.to_string().as_bytes());
        Key::new(&name)
    }

    /// The first day of a month, since 1970-01-01. The month after the last one begins after
    /// 9999-12-31.
    fn first_day(self) -> u32 {
        let year = YEAR_FIRST + (self.number / 12).cast_signed();
        let month = u8::try_from(self.number % 12 + 1).ok().and_then(|of| Month::try_from(of).ok());
        let first = month.and_then(|month| Date::from_calendar_date(year, month, 1).ok());
        first.map_or(DAY_LAST + 1, |date| days(date).unwrap_or(0))
    }

    fn last_number(unit: Unit) -> u32 {
        let last = u64::from(DAY_LAST) * DAY_MS + DAY_MS - 1;
        Self::at(unit, UnixMillis(last)).map_or(0, |period| period.number)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = match self.unit {
            Unit::Hour => self.number / 24,
            Unit::Day => self.number,
            // Its fourth day, which is in the year that the week belongs to.
            Unit::Week => self.number * 7,
            Unit::Month => self.first_day(),
        };
        let date = date(day).unwrap_or(Date::MAX);
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        match self.unit {
            Unit::Hour => write!(f, "{year:04}-{month:02}-{day:02}T{:02}", self.number % 24),
            Unit::Day => write!(f, "{year:04}-{month:02}-{day:02}"),
            Unit::Week => write!(f, "{year:04}-W{:02}", date.iso_week()),
            Unit::Month => write!(f, "{year:04}-{month:02}"),
        }
    }
}

/// The unit that a text has the form of, be it a date that there is or not.
pub(crate) fn unit_of(text: &[u8]) -> Option<Unit> {
    let forms: [(&[u8], Unit); 4] = [
        (b"0000-00-00T00", Unit::Hour),
        (b"0000-00-00", Unit::Day),
        (b"0000-W00", Unit::Week),
        (b"0000-00", Unit::Month),
    ];
    let fits = |form: &[u8]| {
        let fits_one = |(byte, form): (&u8, &u8)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        };
        form.len() == text.len() && text.iter().zip(form).all(fits_one)
    };
    forms.into_iter().find(|(form, _)| fits(form)).map(|(_, unit)| unit)
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn calendar(year: u32, month: &[u8], day: &[u8]) -> Option<u32> {
    let month = Month::try_from(u8::try_from(number(month)?).ok()?).ok()?;
    let day = u8::try_from(number(day)?).ok()?;
    days(Date::from_calendar_date(i32::try_from(year).ok()?, month, day).ok()?)
}

/// Days since 1970-01-01; `None` before.
fn days(date: Date) -> Option<u32> {
    u32::try_from(date.to_julian_day() - EPOCH_JULIAN_DAY).ok()
}

fn date(day: u32) -> Option<Date> {
    Date::from_julian_day(i32::try_from(day).ok()?.checked_add(EPOCH_JULIAN_DAY)?).ok()
}

/// The first and the last period of a span, as seen at `now`. `None` where a time is past the year
/// 9999. A span of more periods than there are since 1970 begins with the first one.
pub fn bounds(span: Span, now: UnixMillis) -> Option<(Period, Period)> {
    match span {
        Span::Last { count, unit } => {
            let last = Period::at(unit, now)?;
            let number = last.number.saturating_sub(count.saturating_sub(1));
            Some((Period { unit, number }, last))
        }
        Span::Between { first, last, unit } => {
            Some((Period::at(unit, first)?, Period::at(unit, last)?))
        }
    }
}

/// The keys that `BM.WINDOW` joins, ascending in time. With `rolled_up` those of hours or days that
/// make a whole month, or else a whole week, are that month's or week's key.
///
/// # Errors
///
/// More than [`EXPRESSION_KEYS_MAX`] keys, one that is too long, or a time past the year 9999.
pub fn window_keys(
    family: &[u8],
    span: Span,
    rolled_up: bool,
    now: UnixMillis,
) -> Result<Vec<Key>, CommandError> {
    let (first, last) = bounds(span, now).ok_or(OUT_OF_TIME)?;
    let too_many =
        || CommandError::Message(format!("ERR a window has more than {EXPRESSION_KEYS_MAX} keys"));
    let periods = if rolled_up {
        roll_up(first, last)
    } else if first.count_to(last) as usize > EXPRESSION_KEYS_MAX {
        return Err(too_many());
    } else {
        first.through(last).collect()
    };
    if periods.len() > EXPRESSION_KEYS_MAX {
        return Err(too_many());
    }
    periods.into_iter().map(|period| period.key(family).ok_or(CommandError::KEY_LENGTH)).collect()
}

const OUT_OF_TIME: CommandError = CommandError::Text("ERR a date is past the year 9999");

/// The keys that `BM.MARK` marks at a time, and when each of them expires: `keep_secs` after its
/// period is over, or never.
///
/// # Errors
///
/// A key that is too long, a time past the year 9999, or an expiry too far away.
pub fn mark_keys(
    family: &[u8],
    at: UnixMillis,
    units: &[Unit],
    keep_secs: Option<u64>,
) -> Result<Vec<(Key, Option<UnixMillis>)>, CommandError> {
    let mut keys = Vec::with_capacity(units.len().min(4));
    for unit in units {
        let period = Period::at(*unit, at).ok_or(OUT_OF_TIME)?;
        let expiry = match keep_secs {
            None => None,
            Some(keep) => {
                let at = keep.checked_mul(1000).and_then(|keep| period.end().0.checked_add(keep));
                let at = at.filter(|at| i64::try_from(*at).is_ok());
                Some(UnixMillis(at.ok_or_else(|| CommandError::expire_time("bm.mark"))?))
            }
        };
        keys.push((period.key(family).ok_or(CommandError::KEY_LENGTH)?, expiry));
    }
    Ok(keys)
}

/// The periods from `first` to `last`, with whole months and else whole weeks in place of their
/// hours or days. Disjoint, ascending; few where months are many.
pub fn roll_up(first: Period, last: Period) -> Vec<Period> {
    let units: &[Unit] = match first.unit {
        Unit::Hour | Unit::Day => &[Unit::Month, Unit::Week, first.unit],
        Unit::Week | Unit::Month => &[first.unit],
    };
    let mut periods = Vec::new();
    if first.count_to(last) > 0 {
        cover(&mut periods, first.start(), last.end(), units);
    }
    periods
}

/// Periods that fill a time: as many as there is room for of the first unit, around them of the
/// next.
fn cover(out: &mut Vec<Period>, from: UnixMillis, to: UnixMillis, units: &[Unit]) {
    let Some((unit, finer)) = units.split_first() else { return };
    if from >= to {
        return;
    }
    let whole =
        Period::at(*unit, from)
            .and_then(|first| if first.start() < from { first.step(1) } else { Some(first) })
            .zip(Period::at(*unit, UnixMillis(to.0 - 1)))
            .and_then(|(first, last)| {
                if last.end() > to { Some((first, last.step(-1)?)) } else { Some((first, last)) }
            })
            .filter(|(first, last)| first.count_to(*last) > 0);
    match whole {
        Some((first, last)) => {
            cover(out, from, first.start(), finer);
            out.extend(first.through(last));
            cover(out, last.end(), to, finer);
        }
        None => cover(out, from, to, finer),
    }
}
