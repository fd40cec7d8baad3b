//! BITOP's operations as expressions.

use bitroster_bitmap::{Formula, Step};
use bitroster_types::{
    Key,
    limits::{EXPRESSION_KEYS_MAX, FORMULA_STEPS_MAX},
};

use crate::{BitLogic, CommandError, composite::Expression};

/// The expression that combines keys as BITOP does.
///
/// # Errors
///
/// NOT, which no expression is; no key, or one where the operation needs two; more keys than an
/// expression may have, or so many that [`BitLogic::One`] takes more steps than it may have.
pub fn combined(logic: BitLogic, sources: Vec<Key>) -> Result<Expression, CommandError> {
    let (keys, places) = distinct(sources);
    if keys.len() > EXPRESSION_KEYS_MAX {
        return Err(TOO_MANY);
    }
    let formula = Formula::new(steps_of(logic, &places)?, keys.len()).map_err(|_| TOO_MANY)?;
    Ok(Expression { formula, keys })
}

/// The steps that combine a formula's operands as BITOP combines keys; `places` tells which
/// operands, and one may come more than once.
///
/// # Errors
///
/// As [`combined`]; more than [`FORMULA_STEPS_MAX`] steps in place of more keys.
pub fn steps_of(logic: BitLogic, places: &[u16]) -> Result<Vec<Step>, CommandError> {
    if places.len() * 2 > FORMULA_STEPS_MAX {
        return Err(TOO_MANY);
    }
    let (first, others) = places.split_first().ok_or(CommandError::Syntax)?;
    let first = Step::Operand(*first);
    Ok(match logic {
        BitLogic::And => chain(places, Step::And),
        BitLogic::Or => chain(places, Step::Or),
        BitLogic::Xor => chain(places, Step::Xor),
        BitLogic::Diff => chain(places, Step::AndNot),
        BitLogic::Diff1 | BitLogic::AndOr if others.is_empty() => return Err(CommandError::Syntax),
        BitLogic::Diff1 => [chain(others, Step::Or), vec![first, Step::AndNot]].concat(),
        BitLogic::AndOr => [chain(others, Step::Or), vec![first, Step::And]].concat(),
        BitLogic::One => one(places).ok_or(TOO_MANY)?,
        BitLogic::Not => return Err(CommandError::Syntax),
    })
}

const TOO_MANY: CommandError = CommandError::Text("ERR too many keys for one expression");

/// Each key once, and where each source is among them.
fn distinct(sources: Vec<Key>) -> (Vec<Key>, Vec<u16>) {
    let mut keys = sources.clone();
    keys.sort_unstable();
    keys.dedup();
    let place = |source: &Key| {
        let place = keys.binary_search(source).unwrap_or(0);
        u16::try_from(place).unwrap_or(u16::MAX)
    };
    let places = sources.iter().map(place).collect();
    (keys, places)
}

/// The operands joined one after the other.
fn chain(places: &[u16], step: Step) -> Vec<Step> {
    let mut steps = Vec::with_capacity(places.len() * 2);
    for (count, place) in places.iter().enumerate() {
        steps.push(Step::Operand(*place));
        if count > 0 {
            steps.push(step);
        }
    }
    steps
}

/// What exactly one operand has: with each operand more, what was in one before and is not in it,
/// or is in it and was in none before. `None` where that takes too many steps.
fn one(places: &[u16]) -> Option<Vec<Step>> {
    let mut steps = vec![Step::Operand(*places.first()?)];
    for count in 1..places.len() {
        let next = Step::Operand(places[count]);
        steps.extend([next, Step::AndNot, next]);
        steps.extend(chain(&places[..count], Step::Or));
        steps.extend([Step::AndNot, Step::Or]);
        if steps.len() > FORMULA_STEPS_MAX {
            return None;
        }
    }
    Some(steps)
}
