//! `bitroster export`: bitmaps into files.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow};
use bitroster_bitmap::Bitmap;
use bitroster_resp::{Frame, Version};
use bytes::Bytes;
use clap::Args;
use serde_json::json;

use super::{
    exit::{Code, Failing as _, Failure, OutputClosed, code_of},
    import::{
        format::Format,
        peer::{Peer, WINDOW_BYTES, count, request_of, word},
        progress::Bar,
    },
    output::{Output, bytes, print, print_json, seconds, thousands},
    remote::RemoteArgs,
};

/// Offsets asked for at once.
const PAGE_OFFSETS: u64 = 64 << 10;

/// Longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;

/// Arguments of `bitroster export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    /// The bitmap's key.
    #[arg(required_unless_present = "pattern", conflicts_with = "pattern")]
    key: Option<String>,
    /// Exports every bitmap whose key matches, into a folder, as SCAN's MATCH.
    #[arg(long = "match", value_name = "PATTERN")]
    pattern: Option<String>,
    /// The files' format [default: by the file's ending]
    #[arg(long, value_enum, required_if_eq("file", "-"))]
    format: Option<Format>,
    /// The file, or the folder with --match; - is standard output.
    #[arg(short = 'o', long = "file", value_name = "FILE|DIR|-")]
    file: PathBuf,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Keys that could not be exported, and why.
type Failed = Vec<(Bytes, String)>;

/// A file that was written.
struct Exported {
    key: Bytes,
    file: PathBuf,
    set_bits: u64,
    file_bytes: u64,
}

/// Runs `bitroster export`.
pub(crate) fn run(args: &ExportArgs) -> Result<Code> {
    let started = Instant::now();
    let mut peer = Peer::over(args.remote.connect(Version::Resp2)?)?;
    let (exported, failed) = match (&args.key, &args.pattern) {
        (Some(key), None) => (vec![one(args, key, &mut peer).map_err(quiet)?], Vec::new()),
        (_, pattern) => many(args, pattern.as_deref().unwrap_or("*"), &mut peer)?,
    };
    let took = started.elapsed().as_secs_f64();
    if args.file == Path::new("-") {
        return Ok(Code::Done);
    }
    if args.output == Output::Json {
        print_json(&as_json(&exported, &failed, took))?;
    } else {
        print(as_text(&exported, &failed, took))?;
    }
    Ok(if failed.is_empty() { Code::Done } else { Code::Partly })
}

fn as_json(exported: &[Exported], failed: &[(Bytes, String)], took: f64) -> serde_json::Value {
    let shown = |key: &Bytes| key.escape_ascii().to_string();
    let items: Vec<_> = exported
        .iter()
        .map(|one| {
            json!({
                "key": shown(&one.key),
                "file": one.file.display().to_string(),
                "set_bits": one.set_bits,
                "file_bytes": one.file_bytes,
            })
        })
        .collect();
    let failed: Vec<_> =
        failed.iter().map(|(key, why)| json!({ "key": shown(key), "why": why })).collect();
    json!({ "items": items, "failed": failed, "seconds": took })
}

fn as_text(exported: &[Exported], failed: &[(Bytes, String)], took: f64) -> String {
    let mut text = String::new();
    for Exported { key, file, set_bits, file_bytes } in exported {
        let (key, bits, size) = (key.escape_ascii(), thousands(*set_bits), bytes(*file_bytes));
        text.push_str(&format!("{key}: {bits} bits, {size} in {}\n", file.display()));
    }
    for (key, why) in failed {
        text.push_str(&format!("{}: {why}\n", key.escape_ascii()));
    }
    if exported.len() + failed.len() != 1 {
        text.push_str(&format!("{} written in {}\n", exported.len(), seconds(took)));
    }
    text
}

fn one(args: &ExportArgs, key: &str, peer: &mut Peer) -> Result<Exported> {
    let format = match args.format {
        Some(format) => format,
        None => Format::of(&args.file)?,
    };
    let bar = Bar::start_bytes("exporting", None);
    let exported = export(peer, &Bytes::copy_from_slice(key.as_bytes()), format, &args.file, &bar);
    bar.end();
    exported
}

/// Says nothing where nobody reads the output any more.
fn quiet(error: anyhow::Error) -> anyhow::Error {
    let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    if causes.any(is_closed) { OutputClosed.into() } else { error }
}

/// Exports the keys of a pattern; those that fail by themselves, and why.
fn many(args: &ExportArgs, pattern: &str, peer: &mut Peer) -> Result<(Vec<Exported>, Failed)> {
    let Some(format) = args.format else {
        let failure = Failure::new(Code::Usage, "--match needs a --format");
        return Err(failure.hint("roaring, roaring64, csv or raw").into());
    };
    if !args.file.is_dir() {
        let text = format!("{} is no folder", args.file.display());
        return Err(Failure::new(Code::Usage, text).hint("make it first").into());
    }
    let bar = Bar::start("exporting", None);
    let hidden = Bar::hidden();
    let (mut exported, mut failed) = (Vec::new(), Vec::new());
    let mut cursor = "0".to_owned();
    loop {
        let (next, keys) = peer.scan(&cursor, Some(pattern))?;
        for key in keys {
            if peer.ask(&request_of("TYPE", &key))? != Frame::Simple("string".into()) {
                continue;
            }
            let file = args.file.join(file_name(&key, format));
            match export(peer, &key, format, &file, &hidden) {
                Ok(one) => exported.push(one),
                Err(error) if code_of(&error) == Code::Bad => {
                    failed.push((key, format!("{error:#}")));
                }
                Err(error) => return Err(error),
            }
            bar.pass(1);
        }
        if next == "0" {
            break;
        }
        cursor = next;
    }
    bar.end();
    // A scan may show a key twice.
    exported.sort_by(|a, b| a.key.cmp(&b.key));
    exported.dedup_by(|a, b| a.key == b.key);
    Ok((exported, failed))
}

/// A key as the name of a file: everything but letters, digits and `._:-` as percent codes.
fn file_name(key: &[u8], format: Format) -> String {
    let mut name = String::new();
    for (at, byte) in key.iter().enumerate() {
        match byte {
            b'.' if at == 0 => name.push_str("%2E"),
            b'.' | b'_' | b':' | b'-' => name.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(*byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name + "." + format.ending()
}

/// Writes one bitmap to a file, in one step, and compares the counts.
fn export(
    peer: &mut Peer,
    key: &Bytes,
    format: Format,
    path: &Path,
    bar: &Bar,
) -> Result<Exported> {
    if count(peer.ask(&request_of("EXISTS", key))?)? == 0 {
        let text = format!("{} has no key {}", peer.name(), key.escape_ascii());
        return Err(Failure::new(Code::Bad, text).into());
    }
    let before = count(peer.ask(&request_of("BITCOUNT", key))?)?;
    let mut file = Sink::create(path)?;
    let set_bits = write(peer, key, format, &mut file, bar)?;
    if set_bits != before {
        // It may have been written to meanwhile.
        let after = count(peer.ask(&request_of("BITCOUNT", key))?)?;
        if set_bits != after {
            let key = key.escape_ascii();
            let text =
                format!("{key} has {before} bits, then {after}, but {set_bits} were written");
            let hint = "it is being written to: export it again, or a COPY of it";
            return Err(Failure::new(Code::Bad, text).hint(hint).into());
        }
    }
    let file_bytes = file.keep()?;
    Ok(Exported { key: key.clone(), file: path.to_owned(), set_bits, file_bytes })
}

/// Writes a bitmap's bits and counts them.
fn write(
    peer: &mut Peer,
    key: &Bytes,
    format: Format,
    file: &mut impl Write,
    bar: &Bar,
) -> Result<u64> {
    match format {
        Format::Csv if peer.is_ours() => write_pages(peer, key, file, bar),
        Format::Roaring | Format::Roaring64 if peer.is_ours() => {
            let words = ["FORMAT", format.word()].map(word);
            let request = [vec![word("BM.EXPORT"), key.clone()], words.to_vec()].concat();
            let Frame::Bulk(data) =
                peer.ask(&request).failing_with(Code::Bad, "--format raw and csv have no limit")?
            else {
                return Err(anyhow!("{} is gone", key.escape_ascii()));
            };
            bar.pass(data.len() as u64);
            file.write_all(&data)?;
            Ok(match format {
                Format::Roaring => Bitmap::from_roaring32(&data)?,
                Format::Roaring64 | Format::Csv | Format::Raw => Bitmap::from_roaring64(&data)?,
            }
            .cardinality())
        }
        Format::Raw => {
            let mut set_bits = 0;
            windows(peer, key, bar, |_, bytes| {
                set_bits += bytes.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
                file.write_all(bytes)
            })?;
            Ok(set_bits)
        }
        // A Redis tells its bytes and nothing else.
        Format::Csv => {
            let mut set_bits = 0;
            windows(peer, key, bar, |at, bytes| {
                let mut window = Bitmap::new();
                window.write_bytes(at, bytes);
                set_bits += window.cardinality();
                file.write_all(&window.to_csv())
            })?;
            Ok(set_bits)
        }
        Format::Roaring | Format::Roaring64 => {
            let mut whole = Bitmap::new();
            windows(peer, key, bar, |at, bytes| {
                whole.write_bytes(at, bytes);
                Ok(())
            })?;
            let data = match format {
                Format::Roaring => {
                    whole.to_roaring32().context("offsets need more than 32 bits: use roaring64")?
                }
                Format::Roaring64 | Format::Csv | Format::Raw => whole.to_roaring64(),
            };
            file.write_all(&data)?;
            Ok(whole.cardinality())
        }
    }
}

/// The offsets, page by page.
fn write_pages(peer: &mut Peer, key: &Bytes, file: &mut impl Write, bar: &Bar) -> Result<u64> {
    let strange = || anyhow!("BM.SCAN is answered strangely");
    let (mut cursor, mut set_bits) = (word(0), 0);
    loop {
        let request = vec![word("BM.SCAN"), key.clone(), cursor, word("COUNT"), word(PAGE_OFFSETS)];
        let Frame::Array(parts) = peer.ask(&request)? else { return Err(strange()) };
        let Ok([Frame::Bulk(next), Frame::Array(offsets)]) = <[Frame; 2]>::try_from(parts) else {
            return Err(strange());
        };
        let mut lines = Vec::with_capacity(offsets.len() * 11);
        for offset in &offsets {
            let Frame::Integer(offset) = offset else { return Err(strange()) };
            writeln!(lines, "{offset}")?;
        }
        file.write_all(&lines)?;
        bar.pass(lines.len() as u64);
        set_bits += offsets.len() as u64;
        if &next[..] == b"0" {
            return Ok(set_bits);
        }
        cursor = next;
    }
}

/// The bytes of a value, window by window, with where each begins.
fn windows(
    peer: &mut Peer,
    key: &Bytes,
    bar: &Bar,
    mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<()> {
    let mut at = 0;
    loop {
        let window = peer.window(key, at)?;
        let window = window.map_err(|why| anyhow!("{}: {why}", key.escape_ascii()))?;
        take(at, &window)?;
        at += window.len() as u64;
        bar.pass(window.len() as u64);
        if (window.len() as u64) < WINDOW_BYTES {
            return Ok(());
        }
    }
}

/// Where the bytes go: a file that has its name only when it is whole, or standard output.
enum Sink {
    Stdout(io::Stdout),
    File { file: BufWriter<File>, temporary: PathBuf, path: PathBuf, bytes: u64 },
}

impl Sink {
    fn create(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout(io::stdout()));
        }
        let cannot_write = || format!("cannot write {}", path.display());
        let name = path.file_name().with_context(cannot_write).failing(Code::Usage)?;
        if name.len() + ".tmp".len() > NAME_BYTES_MAX {
            return Err(anyhow!("the key is too long for a file's name"));
        }
        let mut temporary = name.to_owned();
        temporary.push(".tmp");
        let temporary = path.with_file_name(temporary);
        let file = File::create(&temporary).with_context(cannot_write).failing(Code::Usage)?;
        let (file, path) = (BufWriter::new(file), path.to_owned());
        Ok(Self::File { file, temporary, path, bytes: 0 })
    }

    /// Gives the file its name; how long it is.
    fn keep(&mut self) -> Result<u64> {
        match self {
            Self::Stdout(stdout) => stdout.flush().map(|()| 0).context("cannot write"),
            Self::File { file, temporary, path, bytes } => {
                let kept = file
                    .flush()
                    .and_then(|()| file.get_ref().sync_all())
                    .and_then(|()| std::fs::rename(&*temporary, &*path));
                kept.with_context(|| format!("cannot write {}", path.display()))?;
                temporary.clone_from(path);
                Ok(*bytes)
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(buffer),
            Self::File { file, bytes, .. } => {
                let count = file.write(buffer)?;
                *bytes += count as u64;
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File { file, .. } => file.flush(),
        }
    }
}

impl Drop for Sink {
    /// Half a file is of no use.
    fn drop(&mut self) {
        if let Self::File { temporary, path, .. } = self
            && temporary != path
        {
            drop(std::fs::remove_file(temporary));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_names_of_files_and_stay_apart() {
        assert_eq!(file_name(b"dau:2026-11-21", Format::Csv), "dau:2026-11-21.csv");
        assert_eq!(file_name(b"../a b%\xff", Format::Raw), "%2E.%2Fa%20b%25%FF.raw");
        assert_eq!(file_name(b"", Format::Roaring), ".roaring");
    }

    #[test]
    fn a_file_that_is_not_kept_leaves_nothing_and_one_that_is_replaces_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "old").unwrap();
        let mut sink = Sink::create(&path).unwrap();
        sink.write_all(b"half").unwrap();
        drop(sink);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        let mut sink = Sink::create(&path).unwrap();
        sink.write_all(b"new").unwrap();
        assert_eq!(sink.keep().unwrap(), 3);
        drop(sink);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
