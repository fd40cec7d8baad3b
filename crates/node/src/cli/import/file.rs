//! One bitmap from a file.
//!
//! Whatever the format, the file becomes sets of bounded size, which BM.IMPORT merges. A bitmap
//! that is replaced is built under another name first, counted there, and renamed.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use bitroster_bitmap::{Bitmap, CsvError};
use bitroster_types::limits::{BITMAP_BITS_MAX, BULK_BYTES_MAX};
use bytes::Bytes;
use serde_json::json;

use super::{
    super::{
        exit::{Code, Failing as _, Failure},
        output::{OutputArgs, bytes, print, print_json, seconds, thousands},
        remote::Target,
    },
    copy::unfinished,
    format::{Format, Mode},
    peer::{Peer, Request, count, request_of, word},
    progress::Bar,
};

/// Bytes of the file that become one set.
const BATCH_BYTES: usize = 1 << 20;

/// Sets on their way to the server.
const IN_FLIGHT_MAX: usize = 4;

/// What was imported.
struct Imported {
    /// Set bits of the bitmap afterwards.
    set_bits: u64,
    /// Bits that changed; all, where it was replaced.
    changed: u64,
    file_bytes: u64,
}

/// Imports a file; `-` is standard input.
///
/// # Errors
///
/// A file that cannot be read or makes no sense, and what the server refuses. With [`Mode::Set`]
/// the bitmap is then as it was.
pub(super) fn import(
    path: &Path,
    key: &str,
    mode: Mode,
    format: Option<Format>,
    target: &Target,
    output: OutputArgs,
) -> Result<Code> {
    let format = match format {
        Some(format) => format,
        None => Format::of(path)?,
    };
    let started = Instant::now();
    let (file, len) = open(path)?;
    let peer = Peer::connect(target)?;
    if !peer.is_ours() {
        let text = format!("{} is no Bitroster: files go into no other server", peer.name());
        return Err(Failure::new(Code::Usage, text).into());
    }
    let bar = Bar::start_bytes("importing", len);
    let key = Bytes::copy_from_slice(key.as_bytes());
    let mut import = FileImport::new(peer, key.clone(), mode);
    let imported = import.all(file, format, &bar);
    bar.end();
    let imported = imported.with_context(|| match mode {
        Mode::Set => format!("{} is not imported", path.display()),
        Mode::Or | Mode::Andnot => format!("{} is not imported as a whole", path.display()),
    })?;
    let Imported { set_bits, changed, file_bytes } = imported;
    let secs = started.elapsed().as_secs_f64();
    if output.is_json() {
        print_json(&json!({
            "key": key.escape_ascii().to_string(),
            "format": format.ending(),
            "mode": mode.word(),
            "file_bytes": file_bytes,
            "set_bits": set_bits,
            "changed_bits": changed,
            "seconds": secs,
        }))?;
    } else {
        let (set, changed) = (thousands(set_bits), thousands(changed));
        let (read, took) = (bytes(file_bytes), seconds(secs));
        let key = key.escape_ascii();
        print(format!("{key}: {set} bits set, {changed} changed, {read} read in {took}\n"))?;
    }
    Ok(Code::Done)
}

fn open(path: &Path) -> Result<(Box<dyn Read>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let cannot_read = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot_read).failing(Code::Usage)?;
    let found = file.metadata().with_context(cannot_read).failing(Code::Usage)?;
    let len = found.is_file().then_some(found.len());
    Ok((Box::new(file), len))
}

/// A file on its way into a bitmap.
struct FileImport {
    peer: Peer,
    key: Bytes,
    mode: Mode,
    /// The bitmap that is changed: the key's, or one that gets its name at the end.
    built: Bytes,
    in_flight: usize,
    changed: u64,
}

impl FileImport {
    fn new(peer: Peer, key: Bytes, mode: Mode) -> Self {
        let built = match mode {
            Mode::Set => unfinished(&key),
            Mode::Or | Mode::Andnot => key.clone(),
        };
        Self { peer, key, mode, built, in_flight: 0, changed: 0 }
    }

    fn all(&mut self, file: Box<dyn Read>, format: Format, bar: &Bar) -> Result<Imported> {
        if self.mode == Mode::Set {
            self.peer.ask(&request_of("UNLINK", &self.built))?;
        }
        let imported = self.merge(file, format, bar);
        if imported.is_err() && self.mode == Mode::Set {
            // The first error is the one to tell.
            drop(self.peer.ask(&request_of("UNLINK", &self.built)));
        }
        imported
    }

    fn merge(&mut self, file: Box<dyn Read>, format: Format, bar: &Bar) -> Result<Imported> {
        let before = count(self.peer.ask(&request_of("BITCOUNT", &self.built))?)?;
        let file_bytes = match format {
            Format::Csv => self.csv(file, bar)?,
            Format::Raw => self.raw(file, bar)?,
            Format::Roaring | Format::Roaring64 => self.roaring(file, format, bar)?,
        };
        while self.in_flight > 0 {
            self.await_one()?;
        }
        let set_bits = count(self.peer.ask(&request_of("BITCOUNT", &self.built))?)?;
        let expected = match self.mode {
            Mode::Set | Mode::Or => before + self.changed,
            Mode::Andnot => before.saturating_sub(self.changed),
        };
        if set_bits != expected {
            let text = format!("{set_bits} bits are set where {expected} should be");
            let hint = "somebody else writes to this bitmap; look at it and import again";
            return Err(Failure::new(Code::Bad, text).hint(hint).into());
        }
        if self.mode == Mode::Set {
            self.rename()?;
        }
        Ok(Imported { set_bits, changed: self.changed, file_bytes })
    }

    /// Gives the bitmap that was built its name.
    fn rename(&mut self) -> Result<()> {
        let is_there = count(self.peer.ask(&request_of("EXISTS", &self.built))?)? > 0;
        let request = match is_there {
            true => vec![word("RENAME"), self.built.clone(), self.key.clone()],
            // A file without bits: a bitmap without bits is none.
            false => request_of("UNLINK", &self.key),
        };
        self.peer.ask(&request)?;
        Ok(())
    }

    /// Sends a set; waits where enough are under way.
    fn send(&mut self, set: &Bitmap) -> Result<()> {
        if set.cardinality() == 0 {
            return Ok(());
        }
        let mode = if self.mode == Mode::Andnot { "andnot" } else { "or" };
        let [import, format, kind, word_mode, mode] =
            ["BM.IMPORT", "FORMAT", "roaring64", "MODE", mode].map(word);
        let data = Bytes::from(set.to_roaring64());
        let request = vec![import, self.built.clone(), format, kind, data, word_mode, mode];
        self.put(&request)
    }

    fn put(&mut self, request: &Request) -> Result<()> {
        if self.in_flight == IN_FLIGHT_MAX {
            self.await_one()?;
        }
        self.peer.remote().put(request);
        self.peer.remote().flush()?;
        self.in_flight += 1;
        Ok(())
    }

    fn await_one(&mut self) -> Result<()> {
        let reply = self.peer.remote().receive()?;
        self.in_flight -= 1;
        self.changed += count(self.peer.remote().accepted(&["BM.IMPORT"], reply)?)?;
        Ok(())
    }

    /// Numbers, cut into batches between two of them.
    fn csv(&mut self, mut file: Box<dyn Read>, bar: &Bar) -> Result<u64> {
        let (mut batch, mut lines, mut read) = (Vec::new(), 0, 0);
        loop {
            let count = fill(&mut file, &mut batch)?;
            read += count as u64;
            bar.pass(count as u64);
            let is_separator = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
            let end = match count {
                0 => batch.len(),
                _ => batch.iter().rposition(is_separator).map_or(0, |at| at + 1),
            };
            if end == 0 && count > 0 {
                bail!("line {} has no number, but {} bytes", lines + 1, batch.len());
            }
            let set = Bitmap::from_csv(&batch[..end], BITMAP_BITS_MAX);
            self.send(&set.map_err(|error| later(error, lines))?)?;
            lines += batch[..end].iter().filter(|byte| **byte == b'\n').count() as u64;
            batch.drain(..end);
            if count == 0 {
                return Ok(read);
            }
        }
    }

    /// Bytes of a Redis value, of which zeros count for the length.
    fn raw(&mut self, mut file: Box<dyn Read>, bar: &Bar) -> Result<u64> {
        let mut read = 0;
        loop {
            let mut batch = Vec::new();
            let count = fill(&mut file, &mut batch)?;
            if count == 0 {
                break;
            }
            bar.pass(count as u64);
            let mut set = Bitmap::new();
            set.write_bytes(read, &batch);
            self.send(&set)?;
            read += count as u64;
        }
        while self.in_flight > 0 {
            self.await_one()?;
        }
        let has = count(self.peer.ask(&request_of("STRLEN", &self.built))?)?;
        if self.mode != Mode::Andnot && has < read {
            let zero = Bytes::from_static(b"\0");
            let last = vec![word("SETRANGE"), self.built.clone(), word(read - 1), zero];
            self.peer.ask(&last)?;
        }
        Ok(read)
    }

    /// Roaring comes whole: its head tells where everything lies.
    fn roaring(&mut self, mut file: Box<dyn Read>, format: Format, bar: &Bar) -> Result<u64> {
        let mut data = Vec::new();
        let limit = BULK_BYTES_MAX as u64;
        let count = file.by_ref().take(limit + 1).read_to_end(&mut data)? as u64;
        if count > limit {
            bail!("the file has more than {} in Roaring form", bytes(limit));
        }
        bar.pass(count);
        let set = match format {
            Format::Roaring => Bitmap::from_roaring32(&data)?,
            Format::Roaring64 | Format::Csv | Format::Raw => Bitmap::from_roaring64(&data)?,
        };
        drop(data);
        self.send(&set)?;
        Ok(count)
    }
}

/// Reads up to [`BATCH_BYTES`] more; none only at the end.
fn fill(file: &mut impl Read, batch: &mut Vec<u8>) -> Result<usize> {
    let count = file.by_ref().take(BATCH_BYTES as u64).read_to_end(batch);
    count.context("cannot read on")
}

/// The error with its line counted from the file's start.
fn later(error: CsvError, lines: u64) -> CsvError {
    match error {
        CsvError::Number { found, line } => CsvError::Number { found, line: line + lines },
        CsvError::Offset { found, line, bits_max } => {
            CsvError::Offset { found, line: line + lines, bits_max }
        }
    }
}
