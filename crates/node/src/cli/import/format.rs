//! The formats of files that hold one bitmap.

use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;

use super::super::exit::{Code, Failure};

/// How a file holds a bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The portable Roaring format for 32-bit numbers, which all Roaring libraries read.
    Roaring,
    /// The portable Roaring format for 64-bit numbers.
    Roaring64,
    /// Decimal numbers; one a line is written, commas and spaces are read too.
    Csv,
    /// The bytes of the Redis value; bit 0 is the highest of byte 0.
    Raw,
}

impl Format {
    /// The format of a file whose name ends so.
    ///
    /// # Errors
    ///
    /// With [`Code::Usage`] if no format has this ending.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("roaring" | "roaring32") => Ok(Self::Roaring),
            Some("roaring64") => Ok(Self::Roaring64),
            Some("csv" | "txt") => Ok(Self::Csv),
            Some("raw" | "bin") => Ok(Self::Raw),
            _ => {
                let text = format!("{} has the ending of no format", path.display());
                let hint = "say it by --format roaring, roaring64, csv or raw";
                Err(Failure::new(Code::Usage, text).hint(hint).into())
            }
        }
    }

    /// How names of such files end.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Roaring => "roaring",
            Self::Roaring64 => "roaring64",
            Self::Csv => "csv",
            Self::Raw => "raw",
        }
    }

    /// What BM.IMPORT and BM.EXPORT call it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Roaring => "roaring32",
            Self::Roaring64 => "roaring64",
            Self::Csv => "csv",
            Self::Raw => "bytes",
        }
    }
}

/// What a file's bits do to a bitmap's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// They replace it; readers see the old bits or the new, nothing between.
    #[default]
    Set,
    /// They are set in it.
    Or,
    /// They are cleared in it.
    Andnot,
}

impl Mode {
    /// What BM.IMPORT calls it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Or => "or",
            Self::Andnot => "andnot",
        }
    }
}
