//! Commands that ask something of one bitmap or of an expression over several.

use bitroster_types::{
    Key,
    limits::{
        EXPRESSION_KEYS_MAX, FORMULA_STEPS_MAX, HISTOGRAM_STEPS_MAX, LIST_OFFSETS_MAX,
        SAMPLE_OFFSETS_MAX,
    },
};

use super::{
    Parsed, Request, is, key, parse_i64,
    words::{self, Words, limit, natural, positive, range},
};
use crate::{
    Command, CommandError, Composite, ReadCommand,
    composite::{Ask, Candidates, Expression, Relation},
    expression,
};

/// Offsets in an answer where it is not told how many.
pub(super) const LIST_LIMIT_DEFAULT: u64 = 1000;
/// Offsets in a sample where it is not told how many.
pub(super) const SAMPLE_LIMIT_DEFAULT: u64 = 10;

pub(super) fn composite(composite: Composite) -> Parsed {
    Ok(Command::Composite(Box::new(composite)))
}

/// Steps that meet an expression with a candidate: the candidate, and what joins the two.
const CANDIDATE_STEPS: usize = 2;

/// Something asked of one key.
fn ask_key(request: &Request<'_>, ask: Ask) -> Parsed {
    composite(Composite::Query { of: Expression::only(request.key(1)?), ask })
}

/// `BM.QUERY COUNT|LIST|SAMPLE|STORE ...`
pub(crate) fn query(request: &Request<'_>) -> Parsed {
    let mut words = Words::from(request, 1);
    let what = words.take()?;
    let target = if is(what, "store") { Some(key(words.take()?)?) } else { None };
    let text = words.take()?;
    let of = over(text, &mut words)?;
    let ask = match target {
        Some(target) => Ask::Store { target },
        None if is(what, "count") => Ask::Count,
        None if is(what, "list") => list(&mut words)?,
        None if is(what, "sample") => sample(&mut words)?,
        None => return Err(unknown_subcommand(request)),
    };
    words.end()?;
    composite(Composite::Query { of, ask })
}

/// The refusal of a first argument that is none of those that there are.
pub(super) fn unknown_subcommand(request: &Request<'_>) -> CommandError {
    let given = super::printable(request.args[1], 128);
    let syntax = request.spec.syntax;
    CommandError::Message(format!("ERR unknown subcommand '{given}'. Try {syntax}"))
}

/// The expression of a text and of the universe that may follow it.
fn over(text: &[u8], words: &mut Words<'_>) -> Result<Expression, CommandError> {
    let universe = words.after("universe")?.map(key).transpose()?;
    expression::parse(text, universe.as_ref())
}

/// `[CURSOR c] [LIMIT n]`
pub(super) fn list(words: &mut Words<'_>) -> Result<Ask, CommandError> {
    let (cursor, limit) = page(words)?;
    Ok(Ask::List { range: (cursor, u64::MAX), limit, has_cursor: true })
}

/// `[CURSOR c] [LIMIT n]`, in any order: the cursor and the limit.
pub(super) fn page(words: &mut Words<'_>) -> Result<(u64, u64), CommandError> {
    let (mut cursor, mut most) = (0, LIST_LIMIT_DEFAULT);
    loop {
        if let Some(number) = words.after("cursor")? {
            cursor = natural(number, CommandError::CURSOR)?;
        } else if let Some(number) = words.after("limit")? {
            most = limit(number)?;
        } else {
            return Ok((cursor, most));
        }
    }
}

/// `[LIMIT n]`
pub(super) fn sample(words: &mut Words<'_>) -> Result<Ask, CommandError> {
    let most = |arg| positive(arg, SAMPLE_OFFSETS_MAX, CommandError::LIMIT);
    let count = words.after("limit")?.map_or(Ok(SAMPLE_LIMIT_DEFAULT), most)?;
    Ok(Ask::Sample { count })
}

/// `BM.SCAN key cursor [COUNT n] [MATCHRANGE start end]`
pub(crate) fn scan(request: &Request<'_>) -> Parsed {
    scan_from(request, LIST_LIMIT_DEFAULT)
}

/// A scan that answers `most` offsets where it is not told how many.
pub(super) fn scan_from(request: &Request<'_>, mut most: u64) -> Parsed {
    let cursor = natural(request.args[2], CommandError::CURSOR)?;
    let mut bounds = (0, u64::MAX);
    let mut words = Words::from(request, 3);
    while let Some(word) = words.next() {
        if is(word, "count") {
            most = limit(words.take()?)?;
        } else if is(word, "matchrange") {
            bounds = range(words.take()?, words.take()?)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    // A cursor past the range leaves nothing of it.
    let range = (bounds.0.max(cursor).min(bounds.1), bounds.1);
    ask_key(request, Ask::List { range, limit: most, has_cursor: true })
}

/// `BM.RANGE key start end [LIMIT n]`
pub(crate) fn list_range(request: &Request<'_>) -> Parsed {
    let range = range(request.args[2], request.args[3])?;
    let mut words = Words::from(request, 4);
    let most = words.after("limit")?.map_or(Ok(LIST_OFFSETS_MAX), limit)?;
    words.end()?;
    ask_key(request, Ask::List { range, limit: most, has_cursor: false })
}

/// `BM.SELECT key rank [COUNT n]`
pub(crate) fn select(request: &Request<'_>) -> Parsed {
    let rank = request.integer(2)?;
    let mut words = Words::from(request, 3);
    let count = words.after("count")?.map(limit).transpose()?;
    words.end()?;
    ask_key(request, Ask::Select { rank, count })
}

/// `BITRANGEINTARRAY key start end` and `R.RANGEINTARRAY`: the offsets of a closed range of ranks.
pub(crate) fn ranks(request: &Request<'_>) -> Parsed {
    let first = natural(request.args[2], CommandError::NotAnInteger)?;
    let last = natural(request.args[3], CommandError::NotAnInteger)?;
    if first > last {
        return Err(CommandError::RANGE);
    }
    let end = last + 1;
    if end - first > LIST_OFFSETS_MAX {
        let text = format!("ERR the range is longer than {LIST_OFFSETS_MAX} offsets");
        return Err(CommandError::Message(text));
    }
    let rank = i64::try_from(first).map_err(|_| CommandError::NotAnInteger)?;
    ask_key(request, Ask::Select { rank, count: Some(end - first) })
}

/// `BM.RANK key offset`
pub(crate) fn rank(request: &Request<'_>) -> Parsed {
    rank_or(request, 0)
}

/// How many bits are set up to an offset, or this for a key that is not there.
pub(super) fn rank_or(request: &Request<'_>, absent: i64) -> Parsed {
    let key = request.key(1)?;
    let offset = natural(request.args[2], CommandError::BIT_OFFSET)?;
    composite(Composite::Rank { key, offset, absent })
}

/// `BM.MIN key`
pub(crate) fn min(request: &Request<'_>) -> Parsed {
    ask_key(request, Ask::Edge { last: false })
}

/// `BM.MAX key`
pub(crate) fn max(request: &Request<'_>) -> Parsed {
    ask_key(request, Ask::Edge { last: true })
}

/// `BM.CONTAINS key key`
pub(crate) fn contains(request: &Request<'_>) -> Parsed {
    compare(request, Relation::Contains)
}

/// `BM.INTERSECTS key key`
pub(crate) fn intersects(request: &Request<'_>) -> Parsed {
    compare(request, Relation::Intersects)
}

/// `BM.JACCARD key key`
pub(crate) fn jaccard(request: &Request<'_>) -> Parsed {
    compare(request, Relation::Jaccard { none: 0 })
}

pub(super) fn compare(request: &Request<'_>, relation: Relation) -> Parsed {
    let (a, b) = (request.key(1)?, request.key(2)?);
    composite(Composite::Compare { a, b, relation })
}

/// `BM.INFO key`
pub(crate) fn info(request: &Request<'_>) -> Parsed {
    composite(Composite::Info { key: request.key(1)? })
}

/// `BM.DENSITY key low high parts`: the range is half-open.
pub(crate) fn density(request: &Request<'_>) -> Parsed {
    let low = natural(request.args[2], CommandError::BIT_OFFSET)?;
    let high = natural(request.args[3], CommandError::BIT_OFFSET)?;
    if low >= high {
        return Err(CommandError::RANGE);
    }
    let wrong = CommandError::Text("ERR parts is not an integer or out of range");
    let parts = positive(request.args[4], HISTOGRAM_STEPS_MAX, wrong)?;
    ask_key(request, Ask::Density { range: (low, high), parts })
}

/// `BM.TOPK expression k [UNIVERSE key] KEYS key [key ...] | MATCH pattern`
pub(crate) fn top_k(request: &Request<'_>) -> Parsed {
    let mut words = Words::from(request, 1);
    let text = words.take()?;
    let wrong = CommandError::Text("ERR k is not an integer or out of range");
    let k = positive(words.take()?, EXPRESSION_KEYS_MAX as u64, wrong)?;
    let of = over(text, &mut words)?;
    let (steps, most) = (of.formula.steps().len(), FORMULA_STEPS_MAX - CANDIDATE_STEPS);
    if steps > most {
        let text = format!("ERR expression: {steps} steps; the limit of BM.TOPK is {most}");
        return Err(CommandError::Message(text));
    }
    let among = if let Some(pattern) = words.after("match")? {
        Candidates::Match(words::pattern(pattern)?)
    } else if words.has("keys") {
        Candidates::Keys(keys(words.all())?)
    } else {
        return Err(CommandError::Syntax);
    };
    words.end()?;
    composite(Composite::TopK { of, k, among })
}

/// Candidates: at least one, each once.
fn keys(names: &[&[u8]]) -> Result<Vec<Key>, CommandError> {
    if names.is_empty() {
        return Err(CommandError::Syntax);
    }
    let mut keys = names.iter().map(|name| key(name)).collect::<Result<Vec<_>, _>>()?;
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

/// `R.BITPOS key bit`: BITPOS without a range.
pub(crate) fn bit_pos(request: &Request<'_>) -> Parsed {
    let key = request.key(1)?;
    let bit = match parse_i64(request.args[2]) {
        Some(0) => false,
        Some(1) => true,
        Some(_) => return Err(CommandError::BIT_ARGUMENT),
        None => return Err(CommandError::NotAnInteger),
    };
    let (start, end, unit) = (None, None, crate::IndexUnit::Byte);
    Ok(Command::Read(ReadCommand::BitPos { key, bit, start, end, unit }))
}
