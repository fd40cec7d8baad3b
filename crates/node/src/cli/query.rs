//! `bitroster query`: an expression over bitmaps, and what each of them has to do with the result.

use std::{fmt::Write as _, time::Instant};

use bitroster_command::expression;
use bitroster_resp::{Frame, Version};
use bitroster_types::{Key, limits::LIST_OFFSETS_MAX};
use clap::Args;
use serde_json::{Value, json};

use super::{
    exit::{Code, Failure},
    output::{self, Cell, OutputArgs, Style, Tone},
    remote::{Remote, RemoteArgs},
};

/// Cells of a bar.
const BAR_CELLS: u64 = 20;

/// Arguments of `bitroster query`.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The expression: keys with & | ^ ~ - and parentheses, as in '(a | b) & c - d'. A range of
    /// days, months, weeks, hours or numbers is the union of its keys:
    /// 'dau:{2026-11-15..2026-11-21}'.
    expression: String,
    /// Lists the lowest N ids of the result.
    #[arg(long, value_name = "N", conflicts_with_all = ["sample", "store"])]
    list: Option<u64>,
    /// Draws N ids of the result at random.
    #[arg(long, value_name = "N", conflicts_with = "store")]
    sample: Option<u64>,
    /// Stores the result under this key.
    #[arg(long, value_name = "KEY")]
    store: Option<String>,
    /// The key that ~ is taken of, where the expression needs one.
    #[arg(long, value_name = "KEY")]
    universe: Option<String>,
    /// Says of at most so many operands how much of them is in the result; each costs two counts.
    #[arg(long, value_name = "N", default_value_t = 32)]
    operands: usize,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// What was found.
struct Found {
    count: u64,
    seconds: f64,
    operands: Vec<Operand>,
    /// Operands of which nothing is said.
    others: usize,
    ids: Option<Vec<u64>>,
}

/// An operand: its bits, and how many of them are in the result.
struct Operand {
    key: Key,
    bits: u64,
    within: u64,
}

/// Runs `bitroster query`.
pub(crate) fn run(args: &QueryArgs) -> anyhow::Result<Code> {
    let universe = args.universe.as_deref().and_then(|key| Key::new(key.as_bytes()));
    // Read here as well, so that a slip is shown before anything is sent.
    let parsed = expression::parse(args.expression.as_bytes(), universe.as_ref());
    let parsed = parsed.map_err(|error| {
        let text = error.to_string();
        let text = text.strip_prefix("ERR expression: ").unwrap_or(&text);
        let place = text.rsplit_once("at byte ").and_then(|(_, at)| at.parse::<usize>().ok());
        let text = format!("the expression cannot be read: {text}");
        match place {
            Some(at) => Failure::new(Code::Usage, text).hint(pointed(&args.expression, at)),
            None => Failure::new(Code::Usage, text),
        }
    })?;
    let mut remote = args.remote.connect(Version::Resp2)?;
    let found = ask(args, &parsed.keys, &mut remote)?;
    if args.output.is_json() {
        output::print_json(&found.json(args))?;
    } else {
        output::print(found.text(args, args.output.style()))?;
    }
    Ok(Code::Done)
}

/// The expression, and below it a mark at a byte.
fn pointed(expression: &str, at: usize) -> String {
    let before = expression.get(..at).map_or(0, |text| text.chars().count());
    format!("{expression}\n      {}^", " ".repeat(before))
}

fn ask(args: &QueryArgs, keys: &[Key], remote: &mut Remote) -> anyhow::Result<Found> {
    let started = Instant::now();
    let count = match &args.store {
        Some(key) => {
            let reply = remote.ask(&args.request(&["STORE", key], &args.expression))?;
            number(&reply, remote)?
        }
        None => {
            let reply = remote.ask(&args.request(&["COUNT"], &args.expression))?;
            number(&reply, remote)?
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let ids = match (args.list, args.sample) {
        (Some(count), _) => Some(list(args, count, remote)?),
        (None, Some(count)) => {
            let mut request = args.request(&["SAMPLE"], &args.expression);
            request.extend(["LIMIT".to_owned(), count.to_string()]);
            Some(numbers(remote.ask(&request)?, remote)?)
        }
        (None, None) => None,
    };
    let shown = &keys[..keys.len().min(args.operands)];
    let mut requests = Vec::with_capacity(2 * shown.len());
    for key in shown {
        let quoted = quoted(key);
        requests.push(args.request(&["COUNT"], &quoted));
        let both = format!("({}) & {quoted}", args.expression);
        requests.push(args.request(&["COUNT"], &both));
    }
    let mut counts = Vec::with_capacity(requests.len());
    for (request, reply) in requests.iter().zip(remote.pipeline(&requests)?) {
        let reply = remote.accepted(request, reply)?;
        counts.push(number(&reply, remote)?);
    }
    let operands = shown.iter().zip(counts.chunks_exact(2));
    let operands =
        operands.map(|(key, pair)| Operand { key: key.clone(), bits: pair[0], within: pair[1] });
    let others = keys.len() - shown.len();
    Ok(Found { count, seconds, operands: operands.collect(), others, ids })
}

/// The lowest ids of the result, page by page.
fn list(args: &QueryArgs, count: u64, remote: &mut Remote) -> anyhow::Result<Vec<u64>> {
    let mut ids: Vec<u64> = Vec::new();
    let mut cursor = "0".to_owned();
    while (ids.len() as u64) < count {
        let limit = (count - ids.len() as u64).min(LIST_OFFSETS_MAX);
        let mut request = args.request(&["LIST"], &args.expression);
        request.extend(["CURSOR".to_owned(), cursor, "LIMIT".to_owned(), limit.to_string()]);
        let Frame::Array(page) = remote.ask(&request)? else { return Err(strange(remote)) };
        let [Frame::Bulk(next), found] = page.as_slice() else { return Err(strange(remote)) };
        ids.extend(numbers(found.clone(), remote)?);
        cursor = String::from_utf8_lossy(next).into_owned();
        if cursor == "0" {
            break;
        }
    }
    Ok(ids)
}

impl QueryArgs {
    /// `BM.QUERY` of an expression, with the universe.
    fn request(&self, what: &[&str], expression: &str) -> Vec<String> {
        let words = ["BM.QUERY"].iter().chain(what).copied().chain([expression]);
        let universe = self.universe.iter().flat_map(|key| ["UNIVERSE", key]);
        words.chain(universe).map(str::to_owned).collect()
    }
}

/// A key as an expression names it whatever its bytes are.
fn quoted(key: &Key) -> String {
    let mut text = String::from("\"");
    for byte in key.as_bytes() {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").expect("writing to a string does not fail"),
        }
    }
    text.push('"');
    text
}

fn number(reply: &Frame, remote: &Remote) -> anyhow::Result<u64> {
    let Frame::Integer(number) = reply else { return Err(strange(remote)) };
    u64::try_from(*number).map_err(|_| strange(remote))
}

fn numbers(reply: Frame, remote: &Remote) -> anyhow::Result<Vec<u64>> {
    let Frame::Array(items) = reply else { return Err(strange(remote)) };
    items.iter().map(|item| number(item, remote)).collect()
}

fn strange(remote: &Remote) -> anyhow::Error {
    Failure::new(Code::Bad, format!("{} answered something else than Bitroster", remote.name()))
        .into()
}

impl Operand {
    /// Which part of the operand is in the result; 0 of an empty one.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    fn share(&self) -> f64 {
        if self.bits == 0 { 0.0 } else { self.within as f64 / self.bits as f64 }
    }

    fn name(&self) -> String {
        String::from_utf8_lossy(self.key.as_bytes()).into_owned()
    }

    fn bar(&self) -> String {
        let full = self.within.saturating_mul(BAR_CELLS).checked_div(self.bits).unwrap_or(0);
        let full = usize::try_from(full.min(BAR_CELLS)).unwrap_or(0);
        let empty = usize::try_from(BAR_CELLS).unwrap_or(0) - full;
        format!("{}{}", "█".repeat(full), "░".repeat(empty))
    }
}

impl Found {
    fn json(&self, args: &QueryArgs) -> Value {
        let operands = self.operands.iter().map(|operand| {
            json!({
                "key": operand.name(),
                "count": operand.bits,
                "in_result": operand.within,
                "share": operand.share(),
            })
        });
        let mut value = json!({
            "expression": args.expression,
            "count": self.count,
            "seconds": self.seconds,
            "operands": operands.collect::<Vec<_>>(),
            "operands_left_out": self.others,
        });
        if let Some(key) = &args.store {
            value["stored"] = json!(key);
        }
        if let Some(ids) = &self.ids {
            value["ids"] = json!(ids);
        }
        value
    }

    fn text(&self, args: &QueryArgs, style: Style) -> String {
        let count = style.strong(&output::thousands(self.count));
        let took = style.dim(&format!("in {}", output::seconds(self.seconds)));
        let mut text = format!("{count} {took}\n");
        if let Some(key) = &args.store {
            text.push_str(&format!("stored as {key}\n"));
        }
        if !self.operands.is_empty() {
            let rows = self.operands.iter().map(|operand| {
                vec![
                    operand.name().into(),
                    output::thousands(operand.bits).into(),
                    output::thousands(operand.within).into(),
                    format!("{:.1} %", operand.share() * 100.0).into(),
                    Cell::new(operand.bar(), Tone::Good),
                ]
            });
            let head = ["OPERAND", "IDS", "IN RESULT", "SHARE", ""];
            text.push('\n');
            text.push_str(&output::table(&head, rows.collect(), &[1, 2, 3], style));
        }
        if self.others > 0 {
            let more = format!("and {} more; --operands says of how many\n", self.others);
            text.push_str(&style.dim(&more));
        }
        if let Some(ids) = &self.ids {
            text.push('\n');
            for id in ids {
                text.push_str(&format!("{id}\n"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_quoted_so_that_expressions_read_them_back() {
        for name in
            [&b"plain"[..], b"a b", b"a&b|c", b"q\"\\'", b"\x00\xff\n", "schlüssel".as_bytes()]
        {
            let key = Key::new(name).unwrap();
            let parsed = expression::parse(quoted(&key).as_bytes(), None).unwrap();
            assert_eq!(parsed.keys, [key]);
        }
    }

    #[test]
    fn shares_and_bars_are_of_the_operand() {
        let operand = |bits, within| Operand { key: Key::new(b"k").unwrap(), bits, within };
        assert_eq!(operand(4, 1).share(), 0.25);
        assert_eq!(operand(4, 1).bar(), format!("{}{}", "█".repeat(5), "░".repeat(15)));
        assert_eq!(operand(0, 0).share(), 0.0);
        assert_eq!(operand(0, 0).bar(), "░".repeat(20));
    }

    #[test]
    fn a_slip_is_pointed_at() {
        assert_eq!(pointed("a & | b", 4), "a & | b\n          ^");
    }
}
