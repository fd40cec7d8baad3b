//! What takes more than a line, in either way.

use bitroster_command::Reply;
use bitroster_proto::public::{
    Cohort, CountRequest, IndexUnit, InfoResponse, KeyCount, MarkRequest, PositionRequest,
    RetentionRequest, TopKRequest, top_k_request,
};
use bytes::Bytes;
use tonic::Status;

use crate::grpc::{
    answer::Answer,
    args::{self, Args},
    fault,
};

pub(super) fn count(asked: CountRequest) -> Result<Args, Status> {
    let args = Args::new("BITCOUNT").bytes(asked.key);
    let Some(range) = asked.range else { return Ok(args) };
    Ok(args.number(range.start).number(range.end).word(index_unit(range.unit)?))
}

pub(super) fn position(asked: PositionRequest) -> Result<Args, Status> {
    let unit = index_unit(asked.unit)?;
    let args = Args::new("BITPOS").bytes(asked.key).number(asked.bit);
    match (asked.start, asked.end) {
        (start, Some(end)) => Ok(args.number(start.unwrap_or_default()).number(end).word(unit)),
        (_, None) if unit == "BIT" => Err(fault::invalid("unit", "needs start and end")),
        (Some(start), None) => Ok(args.number(start)),
        (None, None) => Ok(args),
    }
}

fn index_unit(given: i32) -> Result<&'static str, Status> {
    match IndexUnit::try_from(given) {
        Ok(IndexUnit::Unspecified | IndexUnit::Byte) => Ok("BYTE"),
        Ok(IndexUnit::Bit) => Ok("BIT"),
        Err(_) => Err(fault::invalid("unit", "must be one of those that there are")),
    }
}

/// `BM.RETENTION cohort-prefix FROM d TO d [RETURNING prefix] [UNIT u] [HORIZON n]`
pub(super) fn retention(asked: RetentionRequest) -> Result<Args, Status> {
    let args = Args::new("BM.RETENTION").bytes(asked.cohort_prefix);
    let args = args.word("FROM").text(asked.from).word("TO").text(asked.to);
    let args = args.named("RETURNING", asked.returning_prefix);
    let args = match args::unit(asked.unit)? {
        Some(unit) => args.word("UNIT").word(unit),
        None => args,
    };
    Ok(args.option("HORIZON", (asked.horizon > 0).then_some(asked.horizon)))
}

/// Rows of a name, a size, and the counts.
pub(super) fn cohorts(answer: Answer) -> Result<Vec<Cohort>, Status> {
    let cohort = |row: Answer| {
        let mut cells = row.items()?.into_iter();
        let name = cells.next().map(Answer::bytes).transpose()?.flatten().unwrap_or_default();
        let size = cells.next().map(Answer::count).transpose()?.unwrap_or_default();
        let returned = cells.map(Answer::count).collect::<Result<_, _>>()?;
        Ok(Cohort { name, size, returned })
    };
    answer.items()?.into_iter().map(cohort).collect()
}

/// `BM.TOPK expression k [UNIVERSE key] KEYS key [key ...] | MATCH pattern`
pub(super) fn top_k(asked: TopKRequest) -> Result<Args, Status> {
    let args = Args::new("BM.TOPK").text(asked.expression).number(asked.k);
    let args = args.named("UNIVERSE", asked.universe);
    match asked.among {
        Some(top_k_request::Among::Keys(list)) => args.word("KEYS").all("keys", list.keys),
        Some(top_k_request::Among::Match(pattern)) => Ok(args.word("MATCH").bytes(pattern)),
        None => Err(fault::invalid("among", "must be keys or a pattern")),
    }
}

/// Keys and counts, in pairs or in turn.
pub(super) fn key_counts(answer: Answer) -> Result<Vec<KeyCount>, Status> {
    let mut counts = Vec::new();
    let mut key: Option<Bytes> = None;
    for item in answer.items()? {
        let cells = if matches!(item.0, Reply::Array(_)) { item.items()? } else { vec![item] };
        for cell in cells {
            match key.take() {
                None => key = Some(cell.bytes()?.unwrap_or_default()),
                Some(key) => counts.push(KeyCount { key, count: cell.count()? }),
            }
        }
    }
    Ok(counts)
}

/// `BM.MARK family id [AT ts] [UNIT u [u ...]] [EXPIRE seconds]`
pub(super) fn mark(asked: MarkRequest) -> Result<Args, Status> {
    let args = Args::new("BM.MARK").bytes(asked.family).number(asked.id);
    let mut args = args.option("AT", asked.at_secs);
    args = args.word_if(!asked.units.is_empty(), "UNIT");
    for unit in asked.units {
        args = args.word(args::unit(unit)?.unwrap_or("d"));
    }
    Ok(args.option("EXPIRE", asked.keep_secs))
}

/// BM.INFO's map. Fields that this version does not know are left out.
pub(super) fn info(answer: Answer) -> Result<InfoResponse, Status> {
    let Some(fields) = answer.map()? else { return Ok(InfoResponse::default()) };
    let mut info = InfoResponse { exists: true, ..InfoResponse::default() };
    for (name, value) in fields {
        let field = match name.as_ref() {
            b"owners" => {
                let group = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
                info.owners = value.counts()?.into_iter().map(group).collect();
                continue;
            }
            b"length-bytes" => &mut info.length_bytes,
            b"cardinality" => &mut info.cardinality,
            b"segments" => &mut info.segments,
            b"arrays" => &mut info.arrays,
            b"dense" => &mut info.dense,
            b"runs" => &mut info.runs,
            b"full" => &mut info.full,
            b"flat" => &mut info.flat,
            b"memory-bytes" => &mut info.memory_bytes,
            b"redis-bytes" => &mut info.redis_bytes,
            _ => continue,
        };
        *field = value.count()?;
    }
    Ok(info)
}
