//! Messages to arguments.

use bitroster_proto::public::{Combination, DateUnit, Format, ImportMode, Window, window};
use bitroster_types::limits::REQUEST_ARGS_MAX;
use bytes::Bytes;
use tonic::Status;

use super::fault;

/// A command's name and arguments, as a Redis client would send them.
#[derive(Debug)]
pub(super) struct Args(Vec<Bytes>);

impl Args {
    pub(super) fn new(name: &'static str) -> Self {
        Self(vec![Bytes::from_static(name.as_bytes())])
    }

    /// Arguments that were made before.
    pub(super) fn of(args: Vec<Bytes>) -> Self {
        Self(args)
    }

    pub(super) fn bytes(mut self, bytes: Bytes) -> Self {
        self.0.push(bytes);
        self
    }

    pub(super) fn text(self, text: String) -> Self {
        self.bytes(text.into())
    }

    pub(super) fn word(self, word: &'static str) -> Self {
        self.bytes(Bytes::from_static(word.as_bytes()))
    }

    /// A word where it is to be said.
    pub(super) fn word_if(self, said: bool, word: &'static str) -> Self {
        if said { self.word(word) } else { self }
    }

    pub(super) fn number(self, number: impl Into<i128>) -> Self {
        self.text(number.into().to_string())
    }

    /// A word and a number where there is one.
    pub(super) fn option(self, word: &'static str, number: Option<impl Into<i128>>) -> Self {
        match number {
            Some(number) => self.word(word).number(number),
            None => self,
        }
    }

    /// A word and bytes, unless these are empty.
    pub(super) fn named(self, word: &'static str, bytes: Bytes) -> Self {
        if bytes.is_empty() { self } else { self.word(word).bytes(bytes) }
    }

    /// Names, if they are not more than a request may have arguments.
    ///
    /// # Errors
    ///
    /// Where they are.
    pub(super) fn all(mut self, field: &str, names: Vec<Bytes>) -> Result<Self, Status> {
        if names.len() > REQUEST_ARGS_MAX {
            let said = format!("{} names; the limit is {REQUEST_ARGS_MAX}", names.len());
            return Err(fault::invalid(field, said));
        }
        self.0.extend(names);
        Ok(self)
    }

    /// Numbers, if they are not more than a request may have arguments.
    ///
    /// # Errors
    ///
    /// Where they are.
    pub(super) fn numbers(mut self, numbers: &[u64]) -> Result<Self, Status> {
        if numbers.len() > REQUEST_ARGS_MAX {
            let said = format!("{} numbers; the limit is {REQUEST_ARGS_MAX}", numbers.len());
            return Err(fault::invalid("offsets", said));
        }
        self.0.extend(numbers.iter().map(|number| Bytes::from(number.to_string())));
        Ok(self)
    }

    pub(super) fn into_vec(self) -> Vec<Bytes> {
        self.0
    }
}

/// BITOP's word.
pub(super) fn combination(given: i32) -> Result<&'static str, Status> {
    match Combination::try_from(given) {
        Ok(Combination::And) => Ok("AND"),
        Ok(Combination::Or) => Ok("OR"),
        Ok(Combination::Xor) => Ok("XOR"),
        Ok(Combination::Not) => Ok("NOT"),
        Ok(Combination::Diff) => Ok("DIFF"),
        Ok(Combination::Diff1) => Ok("DIFF1"),
        Ok(Combination::Andor) => Ok("ANDOR"),
        Ok(Combination::One) => Ok("ONE"),
        Ok(Combination::Unspecified) | Err(_) => {
            Err(fault::invalid("combination", "must be one of those that there are"))
        }
    }
}

/// The word for a format, `None` where it is not said.
pub(super) fn format(given: i32) -> Result<Option<&'static str>, Status> {
    match Format::try_from(given) {
        Ok(Format::Unspecified) => Ok(None),
        Ok(Format::Roaring32) => Ok(Some("roaring32")),
        Ok(Format::Roaring64) => Ok(Some("roaring64")),
        Ok(Format::Bytes) => Ok(Some("bytes")),
        Ok(Format::Csv) => Ok(Some("csv")),
        Err(_) => Err(fault::invalid("format", "must be one of those that there are")),
    }
}

/// The word for an import's mode.
pub(super) fn mode(given: i32) -> Result<&'static str, Status> {
    match ImportMode::try_from(given) {
        Ok(ImportMode::Unspecified | ImportMode::Set) => Ok("set"),
        Ok(ImportMode::Or) => Ok("or"),
        Ok(ImportMode::AndNot) => Ok("andnot"),
        Ok(ImportMode::Xor) => Ok("xor"),
        Err(_) => Err(fault::invalid("mode", "must be one of those that there are")),
    }
}

/// The letter of a unit, `None` where it is not said.
pub(super) fn unit(given: i32) -> Result<Option<&'static str>, Status> {
    match DateUnit::try_from(given) {
        Ok(DateUnit::Unspecified) => Ok(None),
        Ok(DateUnit::Hour) => Ok(Some("h")),
        Ok(DateUnit::Day) => Ok(Some("d")),
        Ok(DateUnit::Week) => Ok(Some("w")),
        Ok(DateUnit::Month) => Ok(Some("m")),
        Err(_) => Err(fault::invalid("unit", "must be one of those that there are")),
    }
}

/// `BM.WINDOW family LAST nu|FROM date TO date [ROLLUP]`, and then what is asked.
pub(super) fn window(given: Option<Window>) -> Result<Args, Status> {
    let Some(Window { family, span: Some(span), rollup }) = given else {
        return Err(fault::invalid("window", "must have a family and a span"));
    };
    let args = Args::new("BM.WINDOW").bytes(family);
    let args = match span {
        window::Span::Last(last) => {
            let unit = unit(last.unit)?.unwrap_or("d");
            args.word("LAST").text(format!("{}{unit}", last.count))
        }
        window::Span::Range(range) => args.word("FROM").text(range.from).word("TO").text(range.to),
    };
    Ok(args.word_if(rollup, "ROLLUP"))
}
