//! Commands of dated keys.

use bitroster_types::{
    UnixMillis,
    limits::{EXPRESSION_KEYS_MAX, FORMULAS_MAX},
};
use bytes::Bytes;

use super::{
    Parsed, Request,
    bitmap::offset,
    is, key,
    query::{composite, list, sample},
    words::{Words, natural, positive},
};
use crate::{
    CommandError, Composite,
    composite::{Ask, Span, Unit},
    dates::Period,
};

/// Longest expiry after a period's end that is taken, in seconds: a thousand years.
const KEEP_SECS_MAX: u64 = 1000 * 366 * 86_400;

/// `BM.MARK family id [AT unix-time-seconds] [UNIT h|d|w|m [h|d|w|m ...]] [EXPIRE seconds]`
pub(crate) fn mark(request: &Request<'_>) -> Parsed {
    let family = family(request.args[1])?;
    let id = offset(request, request.args[2])?;
    let (mut at, mut units, mut keep_secs) = (None, Vec::new(), None);
    let mut words = Words::from(request, 3);
    while let Some(word) = words.next() {
        if is(word, "at") {
            at = Some(time(words.take()?)?);
        } else if is(word, "unit") {
            units = more_units(&mut words)?;
        } else if is(word, "expire") {
            let wrong = CommandError::expire_time(request.spec.name);
            keep_secs = Some(positive(words.take()?, KEEP_SECS_MAX, wrong)?);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if units.is_empty() {
        units.push(Unit::Day);
    }
    composite(Composite::Mark { family, id, at, units, keep_secs })
}

/// `BM.WINDOW family LAST n(h|d|w|m) | FROM date TO date [ROLLUP] [COUNT | LIST [CURSOR c]
/// [LIMIT n] | SAMPLE [LIMIT n] | STORE destination]`
pub(crate) fn window(request: &Request<'_>) -> Parsed {
    let family = family(request.args[1])?;
    let mut words = Words::from(request, 2);
    let span = if let Some(text) = words.after("last")? {
        last(text)?
    } else {
        let (first, last) = from_to(&mut words)?;
        if first.unit() != last.unit() {
            return Err(CommandError::Text("ERR FROM and TO are dates of two kinds"));
        }
        if first.count_to(last) == 0 {
            return Err(CommandError::RANGE);
        }
        Span::Between { first: first.start(), last: last.start(), unit: first.unit() }
    };
    let mut rolled_up = words.has("rollup");
    let ask = if words.has("list") {
        list(&mut words)?
    } else if words.has("sample") {
        sample(&mut words)?
    } else if let Some(target) = words.after("store")? {
        Ask::Store { target: key(target)? }
    } else {
        words.has("count");
        Ask::Count
    };
    rolled_up |= words.has("rollup");
    words.end()?;
    composite(Composite::Window { family, span, rolled_up, ask })
}

/// `BM.RETENTION cohort-prefix FROM date TO date [RETURNING prefix] [UNIT h|d|w|m] [HORIZON n]`
pub(crate) fn retention(request: &Request<'_>) -> Parsed {
    let prefix = family(request.args[1])?;
    let mut words = Words::from(request, 2);
    let (from, to) = from_to(&mut words)?;
    let (mut returning, mut unit, mut horizon) = (None, None, None);
    while let Some(word) = words.next() {
        if is(word, "returning") {
            returning = Some(family(words.take()?)?);
        } else if is(word, "unit") {
            unit = Some(unit_of(words.take()?)?);
        } else if is(word, "horizon") {
            horizon = Some(words.take()?);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let (first, last) = between(from, to, unit)?;
    let count = first.count_to(last);
    if count == 0 {
        return Err(CommandError::RANGE);
    }
    let columns = horizon.map(|number| {
        let wrong = CommandError::Text("ERR horizon is not an integer or out of range");
        positive(number, count.into(), wrong)
    });
    let columns = columns.transpose()?;
    let horizon = u32::try_from(columns.unwrap_or(count.into())).unwrap_or(count);
    // Where columns are asked for, the last cohort has all of them too.
    let returns = if columns.is_some() { count + (horizon - 1) } else { count };
    // Each cohort's own count among them, so that all are counted at one look.
    let rows = u64::from(count);
    let counts = match columns {
        Some(columns) => rows * (1 + columns),
        None => rows + rows * (rows + 1) / 2,
    };
    if (count + returns) as usize > EXPRESSION_KEYS_MAX || counts > FORMULAS_MAX as u64 {
        let text = format!(
            "ERR {count} cohorts by {horizon} columns are more than {EXPRESSION_KEYS_MAX} keys or \
             {FORMULAS_MAX} counts"
        );
        return Err(CommandError::Message(text));
    }
    let keys = |prefix: &Bytes, count: u32| {
        (0..count)
            .map(|step| {
                let period = first.step(step.into()).ok_or(CommandError::DATE)?;
                period.key(prefix).ok_or(CommandError::KEY_LENGTH)
            })
            .collect::<Result<Vec<_>, CommandError>>()
    };
    let cohorts = keys(&prefix, count)?;
    let returns = keys(returning.as_ref().unwrap_or(&prefix), returns)?;
    composite(Composite::Retention { cohorts, returns, horizon })
}

/// The first and the last period of a unit that two dates name; the dates' own where none is given.
fn between(from: Period, to: Period, unit: Option<Unit>) -> Result<(Period, Period), CommandError> {
    let Some(unit) = unit else {
        if from.unit() != to.unit() {
            return Err(CommandError::Text("ERR FROM and TO are dates of two kinds"));
        }
        return Ok((from, to));
    };
    let last = UnixMillis(to.end().0 - 1);
    Period::at(unit, from.start()).zip(Period::at(unit, last)).ok_or(CommandError::DATE)
}

/// A name that a colon and a date follow.
fn family(name: &[u8]) -> Result<Bytes, CommandError> {
    key(name)?;
    Ok(Bytes::copy_from_slice(name))
}

/// `FROM date TO date`
fn from_to(words: &mut Words<'_>) -> Result<(Period, Period), CommandError> {
    let from = words.after("from")?.ok_or(CommandError::Syntax)?;
    let to = words.after("to")?.ok_or(CommandError::Syntax)?;
    Period::parse(from).zip(Period::parse(to)).ok_or(CommandError::DATE)
}

/// `28d`
fn last(text: &[u8]) -> Result<Span, CommandError> {
    const WRONG: CommandError =
        CommandError::Text("ERR LAST needs a number and h, d, w or m, such as 28d");
    let (unit, number) = text.split_last().ok_or(WRONG)?;
    let unit = unit_of(&[*unit]).map_err(|_| WRONG)?;
    let count = u32::try_from(positive(number, u32::MAX.into(), WRONG)?).map_err(|_| WRONG)?;
    Ok(Span::Last { count, unit })
}

fn unit_of(word: &[u8]) -> Result<Unit, CommandError> {
    one_unit(word).ok_or(CommandError::Text("ERR a unit is h, d, w or m"))
}

fn one_unit(word: &[u8]) -> Option<Unit> {
    match word.to_ascii_lowercase().as_slice() {
        b"h" => Some(Unit::Hour),
        b"d" => Some(Unit::Day),
        b"w" => Some(Unit::Week),
        b"m" => Some(Unit::Month),
        _ => None,
    }
}

/// Units as far as there are any; at least one, each once.
fn more_units(words: &mut Words<'_>) -> Result<Vec<Unit>, CommandError> {
    let mut units = vec![unit_of(words.take()?)?];
    while let Some(unit) = words.peek().and_then(one_unit) {
        words.take()?;
        if !units.contains(&unit) {
            units.push(unit);
        }
    }
    Ok(units)
}

/// A time in seconds.
fn time(arg: &[u8]) -> Result<UnixMillis, CommandError> {
    let wrong = || CommandError::Text("ERR time is not an integer or out of range");
    let at = natural(arg, wrong())?.checked_mul(1000).map(UnixMillis).ok_or_else(wrong)?;
    Period::at(Unit::Day, at).map(|_| at).ok_or_else(wrong)
}
