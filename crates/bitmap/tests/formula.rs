//! Goal: a formula means what its steps mean bit by bit, whether it is built, counted, counted in
//! steps, cut to its first or last bits, or counted with others; whatever forms the operands have.
//!
//! Method: random formulas over operands of every form, one of them named more than once and some
//! absent, against a loop over plain bytes.
//!
//! Mutants seen to fail: what was computed of a chunk left for the next one, a block of a pair left
//! marked, the sides of AND-NOT exchanged, the last container of a list not cut, slots not taken
//! from the end, a part let go that a pair still joins, a part taken into one of several that use
//! it, a container counted in one step that two share, AND-NOT that is always absent, slots
//! thought not to be needed.

#![allow(clippy::cast_possible_truncation, reason = "test values are small")]

mod twin;

use bitroster_bitmap::{Bitmap, Formula, FormulaError, Step, count_all};
use proptest::prelude::*;
use twin::{Twin, assert_same, crowded, mixed, range, value};

const JOINS: [Step; 4] = [Step::And, Step::Or, Step::Xor, Step::AndNot];

/// A formula over `operands` operands: choices make a tree, step by step.
fn formula(operands: u16) -> impl Strategy<Value = Formula> {
    let random = prop::collection::vec((any::<u16>(), 0usize..4, any::<bool>()), 0..12).prop_map(
        move |choices| {
            let mut steps = vec![Step::Operand(0)];
            let mut depth = 1;
            for (place, join, joins) in choices {
                if joins && depth > 1 {
                    steps.push(JOINS[join]);
                    depth -= 1;
                } else {
                    steps.push(Step::Operand(place % operands));
                    depth += 1;
                }
            }
            steps.extend((1..depth).map(|at| JOINS[at % 4]));
            Formula::new(steps, usize::from(operands)).expect("a balanced formula")
        },
    );
    // All operands by one step, as a chain and as a pile.
    let same = (0usize..4, any::<bool>(), 1..=operands).prop_map(move |(join, pile, count)| {
        let mut steps: Vec<Step> = Vec::new();
        for place in 0..count {
            steps.push(Step::Operand(place));
            if !pile && place > 0 {
                steps.push(JOINS[join]);
            }
        }
        steps.extend((1..count).filter(|_| pile).map(|_| JOINS[join]));
        Formula::new(steps, usize::from(operands)).expect("a balanced formula")
    });
    prop_oneof![3 => random, 1 => same]
}

/// The formula byte by byte.
fn evaluate(formula: &Formula, operands: &[&Twin]) -> Twin {
    let len = operands.iter().map(|twin| twin.0.len()).max().unwrap_or(0);
    let mut stack: Vec<Vec<u8>> = Vec::new();
    for step in formula.steps() {
        let join = match *step {
            Step::Operand(place) => {
                let mut bytes = operands[usize::from(place)].0.clone();
                bytes.resize(len, 0);
                stack.push(bytes);
                continue;
            }
            Step::And => |older: u8, newer: u8| older & newer,
            Step::Or => |older, newer| older | newer,
            Step::Xor => |older, newer| older ^ newer,
            Step::AndNot => |older, newer: u8| older & !newer,
        };
        let newer = stack.pop().expect("a balanced formula");
        let older = stack.last_mut().expect("a balanced formula");
        older.iter_mut().zip(newer).for_each(|(older, newer)| *older = join(*older, newer));
    }
    Twin(stack.pop().expect("a balanced formula"))
}

/// Everything that can be asked of a formula.
fn agree(
    formula: &Formula,
    operands: &[(Bitmap, Twin)],
    cut: std::ops::Range<u64>,
    step: u64,
    limit: u64,
) {
    let bitmaps: Vec<&Bitmap> = operands.iter().map(|(bitmap, _)| bitmap).collect();
    let twins: Vec<&Twin> = operands.iter().map(|(_, twin)| twin).collect();
    let whole = evaluate(formula, &twins);
    assert_same(&formula.evaluate(&bitmaps, 0..u64::MAX), &whole);
    assert_eq!(formula.count(&bitmaps, 0..u64::MAX), whole.count(0..u64::MAX), "{formula:?}");
    let slice = formula.evaluate(&bitmaps, cut.clone());
    assert_same(&slice, &whole.keep(cut.clone()));
    assert_eq!(formula.count(&bitmaps, cut.clone()), slice.cardinality(), "{formula:?} {cut:?}");
    let offsets: Vec<u64> = slice.iter_set(0..u64::MAX).collect();
    let few = offsets.len().min(limit as usize);
    let first = formula.first(&bitmaps, cut.clone(), limit);
    first.check();
    assert!(first.iter_set(0..u64::MAX).eq(offsets[..few].iter().copied()), "first {limit}");
    let last = formula.last(&bitmaps, cut.clone(), limit);
    last.check();
    let rest = &offsets[offsets.len() - few..];
    assert!(last.iter_set(0..u64::MAX).eq(rest.iter().copied()), "last {limit}");
    assert_eq!((first.len_bytes(), last.len_bytes()), (slice.len_bytes(), slice.len_bytes()));
    let step = step.max((cut.end - cut.start) / 5000).max(1);
    let counts = formula.histogram(&bitmaps, cut.clone(), step);
    let starts = (cut.start..cut.end).step_by(step as usize);
    let expected: Vec<u64> =
        starts.map(|start| slice.count(start..(start + step).min(cut.end))).collect();
    assert_eq!(counts, expected, "{formula:?} {cut:?} by {step}");
}

fn operand() -> impl Strategy<Value = (Bitmap, Twin)> {
    prop_oneof![
        4 => value(), 3 => crowded(), 3 => mixed(), 1 => Just((Bitmap::new(), Twin::default()))
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_formula_means_what_its_steps_mean_bit_by_bit(
        operands in prop::collection::vec(operand(), 5),
        formulas in prop::collection::vec(formula(5), 1..5),
        cut in range(),
        step in prop_oneof![1u64..70_000, Just(1 << 16), Just(1 << 22), Just(3 << 16)],
        limit in prop_oneof![0u64..20, 0u64..20_000, Just(u64::MAX >> 1)],
    ) {
        for formula in &formulas {
            agree(formula, &operands, cut.clone(), step, limit);
        }
    }

    #[test]
    fn formulas_counted_together_are_as_those_counted_alone(
        operands in prop::collection::vec(operand(), 5),
        formulas in prop::collection::vec(formula(5), 0..9),
        cut in range(),
        repeat in 0usize..6,
    ) {
        let mut formulas = formulas;
        for place in 0..repeat.min(formulas.len() * 5) {
            formulas.push(formulas[place].clone());
        }
        let bitmaps: Vec<&Bitmap> = operands.iter().map(|(bitmap, _)| bitmap).collect();
        let twins: Vec<&Twin> = operands.iter().map(|(_, twin)| twin).collect();
        let wholes: Vec<Twin> = formulas.iter().map(|f| evaluate(f, &twins)).collect();
        for cut in [0..u64::MAX, cut] {
            let expected: Vec<u64> = wholes.iter().map(|twin| twin.count(cut.clone())).collect();
            prop_assert_eq!(count_all(&formulas, &bitmaps, &cut), expected);
        }
    }

    #[test]
    fn every_pair_of_operands_is_counted_as_a_matrix_asks(
        operands in prop::collection::vec(operand(), 2..7),
        join in 0usize..4,
        cut in range(),
    ) {
        let bitmaps: Vec<&Bitmap> = operands.iter().map(|(bitmap, _)| bitmap).collect();
        let twins: Vec<&Twin> = operands.iter().map(|(_, twin)| twin).collect();
        let places = 0..operands.len() as u16;
        let pairs = places.clone().flat_map(|a| places.clone().map(move |b| (a, b)));
        let formulas: Vec<Formula> = pairs
            .map(|(a, b)| vec![Step::Operand(a), Step::Operand(b), JOINS[join]])
            .map(|steps| Formula::new(steps, operands.len()).unwrap())
            .collect();
        let wholes: Vec<Twin> = formulas.iter().map(|f| evaluate(f, &twins)).collect();
        for cut in [0..u64::MAX, cut] {
            let expected: Vec<u64> = wholes.iter().map(|twin| twin.count(cut.clone())).collect();
            prop_assert_eq!(count_all(&formulas, &bitmaps, &cut), expected);
        }
    }
}

#[test]
fn a_part_is_kept_as_long_as_any_formula_needs_it() {
    let operands = [0x5Au8, 0x3C, 0xF1, 0x0F].map(|byte| Bitmap::from_bytes(&[byte; 9000]));
    let operands: Vec<&Bitmap> = operands.iter().collect();
    let [a, b, c, d] = [0, 1, 2, 3].map(Step::Operand);
    // The pair is counted last, after the longer formula has joined what both have in common.
    let pair = vec![a, b, Step::Xor, c, Step::And];
    let longer = vec![a, b, Step::Xor, c, Step::AndNot, d, Step::AndNot];
    let formulas = [pair, longer].map(|steps| Formula::new(steps, 4).unwrap());
    let counts = count_all(&formulas, &operands, &(0..u64::MAX));
    assert_eq!(
        counts,
        [2 * 9000, 9000 * u64::from(((0x5A ^ 0x3C) & !0xF1 & !0x0Fu8).count_ones())]
    );
}

#[test]
fn steps_that_come_to_no_result_are_refused() {
    let operand = Step::Operand(0);
    assert_eq!(Formula::new(vec![], 1), Err(FormulaError::Unbalanced));
    assert_eq!(Formula::new(vec![operand, Step::And], 1), Err(FormulaError::Unbalanced));
    assert_eq!(Formula::new(vec![operand, operand], 1), Err(FormulaError::Unbalanced));
    let error = Formula::new(vec![Step::Operand(2)], 2).unwrap_err();
    assert_eq!(error, FormulaError::Operand { place: 2, operands: 2 });
    let error = Formula::new(vec![operand; 5000], 1).unwrap_err();
    assert_eq!(error, FormulaError::TooLong { steps: 5000 });
}
