//! Keys of hours, days, weeks and months: BM.MARK and BM.WINDOW.

use bitroster_bitmap::{Formula, Step as FormulaStep};
use bitroster_command::{
    CommandError, Expiry, ExpiryCondition, ReadCommand, Reply, TimeForm, WriteCommand,
    composite::{Ask, Expression, Span, Unit},
    dates,
};
use bitroster_types::{Key, UnixMillis};
use futures_util::future;

use super::query;
use crate::{
    call::{Call, Step, Stop, count_of, wall_clock},
    plan::gather::number,
};

/// Marks an id in the keys of the periods that a time lies in: in how many it was not marked.
///
/// A key that would be over already is neither made nor counted. Whether a key has its expiry is
/// asked while its bit is set, so that a bit that was set before costs one round, and again where
/// it was clear.
pub(super) async fn mark(
    call: &Call,
    family: &[u8],
    id: u64,
    at: Option<UnixMillis>,
    (units, keep_secs): (&[Unit], Option<u64>),
) -> Step<Reply> {
    let now = wall_clock();
    let mut units = units.to_vec();
    units.sort_unstable();
    units.dedup();
    let mut keys = dates::mark_keys(family, at.unwrap_or(now), &units, keep_secs)?;
    keys.retain(|(_, expiry)| expiry.is_none_or(|expiry| expiry > now));
    let mut fresh = 0;
    let mut is_changed = false;
    let marked = call
        .each(keys, |(key, expiry)| async move { Ok(mark_one(call, key, id, expiry).await) })
        .await?;
    let mut stops = Vec::new();
    for one in marked {
        match one {
            Ok(was_clear) => {
                is_changed = true;
                fresh += u64::from(was_clear);
            }
            Err(stop) => stops.push(stop),
        }
    }
    match foremost(stops) {
        None => Ok(number(fresh)),
        Some(stop) if is_changed => Err(call.after_change(stop)),
        Some(stop) => Err(stop),
    }
}

/// What the client is told of several stops: the first that leaves open what was done, else the
/// first.
fn foremost(mut stops: Vec<Stop>) -> Option<Stop> {
    let is_open = |stop: &Stop| matches!(stop, Stop::Error(CommandError::OutcomeUnknown { .. }));
    let at = stops.iter().position(is_open).unwrap_or(0);
    (at < stops.len()).then(|| stops.swap_remove(at))
}

/// Sets a bit, and the key's expiry if it has none: whether the bit was clear.
async fn mark_one(call: &Call, key: Key, offset: u64, expiry: Option<UnixMillis>) -> Step<bool> {
    let set = WriteCommand::SetBit { key: key.clone(), offset, value: true };
    let Some(expiry) = expiry else {
        return Ok(count_of(call.complete_write(&set).await?.into())? == 0);
    };
    let (set, is_dated) = future::join(call.complete_write(&set), has_expiry(call, &key)).await;
    let was_clear = count_of(set?.into())? == 0;
    // A clear bit may be the first of a key that was made anew since its expiry was looked at.
    if !is_dated || was_clear && !has_expiry(call, &key).await {
        let condition = ExpiryCondition { if_none: true, ..ExpiryCondition::default() };
        let expire = WriteCommand::Expire { key, expiry: Expiry::At(expiry), condition };
        match call.complete_write(&expire).await {
            Ok(Reply::Error(error)) => return Err(call.after_change(Stop::Error(*error))),
            Err(error) => return Err(call.after_change(error.into())),
            Ok(_) => {}
        }
    }
    Ok(was_clear)
}

/// Whether a key is seen to have an expiry.
async fn has_expiry(call: &Call, key: &Key) -> bool {
    let form = TimeForm { millis: true, absolute: true };
    let look = ReadCommand::Ttl { key: key.clone(), form };
    matches!(call.complete_read(&look).await, Ok(Reply::Integer(1..)))
}

/// Answers the union of dated keys.
pub(super) async fn window(
    call: &Call,
    family: &[u8],
    (span, rolled_up): (Span, bool),
    ask: &Ask,
) -> Step<Reply> {
    let keys = dates::window_keys(family, span, rolled_up, wall_clock())?;
    match union(keys)? {
        Some(of) => query::run(call, &of, ask).await,
        None => query::nothing(call, ask).await,
    }
}

/// All that any of the keys has.
fn union(keys: Vec<Key>) -> Step<Option<Expression>> {
    let Some(joins) = keys.len().checked_sub(1) else { return Ok(None) };
    let operands = (0..u16::try_from(keys.len()).unwrap_or(u16::MAX)).map(FormulaStep::Operand);
    let joins = std::iter::repeat_n(FormulaStep::Or, joins);
    let formula = Formula::new(operands.chain(joins).collect(), keys.len());
    let formula = formula.map_err(|error| CommandError::Message(format!("ERR {error}")))?;
    Ok(Some(Expression { formula, keys }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_open_outcome_comes_before_one_that_says_that_nothing_was_done() {
        let open = || Stop::Error(CommandError::OutcomeUnknown { waited: Duration::ZERO });
        let refused = || Stop::Error(CommandError::Loading);
        let foremost_is_open = |stops| {
            matches!(foremost(stops), Some(Stop::Error(CommandError::OutcomeUnknown { .. })))
        };
        assert!(foremost_is_open(vec![refused(), open(), refused()]));
        assert!(!foremost_is_open(vec![refused()]));
        assert!(foremost(Vec::new()).is_none());
    }
}
