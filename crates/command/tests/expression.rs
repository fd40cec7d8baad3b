//! Goal: expressions mean what their grammar says, and everything else is refused with its place.
//!
//! Method: texts with the steps or the refusal they must give; random trees, written with as few
//! parentheses as possible and evaluated by a naive twin over sets of 16 bits, in which a
//! complement also holds a seventeenth bit for all that lies outside; random bytes, which must
//! never panic.

use bitroster_bitmap::{Bitmap, Step};
use bitroster_command::{BitLogic, composite::Expression, expression};
use bitroster_types::{Key, limits::EXPRESSION_KEYS_MAX};
use proptest::prelude::*;

fn parse(text: &str) -> Expression {
    expression::parse(text.as_bytes(), None).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn names(text: &str) -> Vec<String> {
    parse(text).keys.iter().map(|key| key.escape_ascii().to_string()).collect()
}

fn refusal(text: &str) -> String {
    match expression::parse(text.as_bytes(), None) {
        Err(error) => error.to_string(),
        Ok(found) => panic!("{text} makes {found:?}"),
    }
}

/// The steps as letters and signs in postfix order, `-` for and-not.
fn postfix(text: &str) -> String {
    let found = parse(text);
    let sign = |step: &Step| match *step {
        Step::Operand(place) => found.keys[usize::from(place)].escape_ascii().to_string(),
        Step::And => "&".to_owned(),
        Step::Or => "|".to_owned(),
        Step::Xor => "^".to_owned(),
        Step::AndNot => "-".to_owned(),
    };
    found.formula.steps().iter().map(sign).collect::<Vec<_>>().join(" ")
}

#[test]
fn operators_bind_as_the_grammar_says() {
    for (text, steps) in [
        ("a", "a"),
        (" ( ( a ) ) ", "a"),
        ("a|b&c", "a b c & |"),
        ("a ^ b & c | d", "a b c & ^ d |"),
        ("a & b - c & d", "a b & c - d &"),
        ("a & (b | c) - d", "a b c | & d -"),
        ("a - (b - c)", "a b c - -"),
        ("a & ~b", "a b -"),
        ("~b & a", "a b -"),
        ("a - ~b", "a b &"),
        ("a & (~b & ~c)", "a b c | -"),
        ("~(~a)", "a"),
        ("a & a", "a a &"),
    ] {
        assert_eq!(postfix(text), steps, "{text}");
    }
}

#[test]
fn a_minus_is_the_operator_only_where_it_stands_alone() {
    assert_eq!(names("a-b"), ["a-b"]);
    assert_eq!(names("a - b"), ["a", "b"]);
    assert_eq!(names("(a) - b"), ["a", "b"]);
    assert_eq!(names("a -(b)"), ["a", "b"]);
    assert_eq!(names("a -\"b\""), ["a", "b"]);
    assert_eq!(names("-b"), ["-b"]);
    assert_eq!(names("users:{42}-x&b"), ["users:{42}-x", "b"]);
}

#[test]
fn quoted_names_hold_any_bytes_and_no_range() {
    assert_eq!(names(r#""a b" | 'c"d'"#), ["a b", "c\\\"d"]);
    assert_eq!(names(r#""\"\'\\\x00\xfF""#), [r#"\"\'\\\x00\xff"#]);
    assert_eq!(names(r#""d:{1..3}""#), ["d:{1..3}"]);
    assert_eq!(names(r#""""#), [""]);
}

#[test]
fn a_range_is_the_union_of_its_keys() {
    for (text, found) in [
        ("d:{1..3}", &["d:1", "d:2", "d:3"][..]),
        ("d:{9..11}:x", &["d:9:x", "d:10:x", "d:11:x"]),
        ("d:{08..10}", &["d:08", "d:09", "d:10"]),
        ("d:{2026-02-27..2026-03-01}", &["d:2026-02-27", "d:2026-02-28", "d:2026-03-01"]),
        ("d:{2026-11..2027-01}", &["d:2026-11", "d:2026-12", "d:2027-01"]),
        ("d:{2026-W52..2027-W01}", &["d:2026-W52", "d:2026-W53", "d:2027-W01"]),
        ("d:{2026-11-21T23..2026-11-22T00}", &["d:2026-11-21T23", "d:2026-11-22T00"]),
        ("{tag}:{1..2}", &["{tag}:1", "{tag}:2"]),
        ("{{1..2}", &["{1", "{2"]),
        ("{tag}:{a..b}", &["{tag}:{a..b}"]),
        ("x{", &["x{"]),
        ("x{1..2", &["x{1..2"]),
        ("d:{7..7}", &["d:7"]),
    ] {
        assert_eq!(names(text), found, "{text}");
    }
    assert_eq!(postfix("a - d{1..3}"), "a d1 d2 | d3 | -");
}

#[test]
fn refusals_say_what_is_wrong_and_where() {
    for (text, wrong) in [
        ("", "expected a name at byte 0"),
        ("a &", "expected a name at byte 3"),
        ("a & & b", "expected a name at byte 4"),
        ("(", "expected a name at byte 1"),
        ("()", "expected a name at byte 1"),
        ("(a", "expected an operator or ')' at byte 2"),
        ("(a b)", "expected an operator or ')' at byte 3"),
        ("a)", "')' without '(' at byte 1"),
        ("a b", "expected an operator at byte 2"),
        ("a ~b", "expected an operator at byte 2"),
        ("a -b", "expected an operator at byte 2"),
        ("a & \"b", "a quotation mark without its other at byte 4"),
        (r#""\q""#, r#"a backslash before none of \ " ' and xHH at byte 1"#),
        (r#""\x0g""#, r#"a backslash before none of \ " ' and xHH at byte 1"#),
        ("a|d:{3..1}", "a range that ends before it begins at byte 2"),
        ("d:{2026-11-21..2026-11-20}", "a range that ends before it begins at byte 0"),
        ("d:{2026-02-28..2026-02-30}", "a range with a date that there is not at byte 0"),
        ("d:{2026-11..2026-11-02}", "a range of two kinds of dates at byte 0"),
        ("d:{1..2}{1..2}", "a second range in a name at byte 0"),
        ("d:{0..9999}", "more than 1024 keys at byte 0"),
    ] {
        assert_eq!(refusal(text), format!("ERR expression: {wrong}"), "{text}");
    }
}

#[test]
fn a_complement_that_meets_nothing_needs_a_universe() {
    let text = "ERR '~' outside of an intersection needs UNIVERSE key";
    for expression in ["~a", "~a | b", "b ^ ~a", "~(a | b)", "~a & ~b", "(b & c) | ~a"] {
        assert_eq!(refusal(expression), text, "{expression}");
        let universe = Key::new(b"all").unwrap();
        assert!(expression::parse(expression.as_bytes(), Some(&universe)).is_ok());
    }
}

#[test]
fn depth_steps_and_keys_are_limited() {
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(names(&nested(100)), ["a"]);
    assert_eq!(
        refusal(&nested(101)),
        "ERR expression: nested more than 100 levels deep at byte 100"
    );
    assert_eq!(
        refusal(&"~".repeat(100_000)),
        "ERR expression: nested more than 100 levels deep at byte 100"
    );
    let joined = |count: usize| vec!["a"; count].join("|");
    assert_eq!(parse(&joined(2048)).formula.steps().len(), 4095);
    assert_eq!(refusal(&joined(2049)), "ERR expression: more than 4096 steps at byte 4097");
    let range = format!("k{{1..{EXPRESSION_KEYS_MAX}}}");
    assert_eq!(parse(&range).keys.len(), EXPRESSION_KEYS_MAX);
    assert!(refusal("k{0..9999999999999999999}").contains("more than 1024 keys"));
    assert!(refusal(&"k".repeat(65537)).contains("a key is too long"));
}

#[test]
fn a_name_of_many_braces_takes_no_quadratic_time() {
    let text = "{".repeat(1 << 22);
    assert!(refusal(&text).contains("a key is too long"));
}

/// A tree of an expression over six keys.
#[derive(Clone, Debug)]
enum Tree {
    Key(usize),
    Not(Box<Tree>),
    Two(char, Box<Tree>, Box<Tree>),
}

impl Tree {
    /// How tight its outermost operator binds.
    fn level(&self) -> u8 {
        match self {
            Self::Two('|', ..) => 0,
            Self::Two('^', ..) => 1,
            Self::Two(..) => 2,
            Self::Not(_) | Self::Key(_) => 3,
        }
    }

    fn write(&self, least: u8, out: &mut String) {
        if self.level() < least {
            out.push('(');
            self.write(0, out);
            out.push(')');
            return;
        }
        match self {
            Self::Key(place) if place % 2 == 0 => out.push_str(&format!("k{place}")),
            Self::Key(place) => out.push_str(&format!("\"k{place}\"")),
            Self::Not(inner) => {
                out.push('~');
                inner.write(3, out);
            }
            Self::Two(sign, older, newer) => {
                older.write(self.level(), out);
                out.push_str(&format!(" {sign} "));
                newer.write(self.level() + 1, out);
            }
        }
    }

    /// The set; bit 16 stands for all that no key has.
    fn evaluate(&self, keys: &[u16], universe: u16) -> u32 {
        let plain = |set: u32| if set >> 16 == 1 { set & u32::from(universe) } else { set };
        match self {
            Self::Key(place) => keys[*place].into(),
            Self::Not(inner) => !inner.evaluate(keys, universe) & 0x1_FFFF,
            Self::Two(sign, older, newer) => {
                let older = older.evaluate(keys, universe);
                let newer = newer.evaluate(keys, universe);
                match sign {
                    '&' => older & newer,
                    '-' => older & !newer,
                    '^' => plain(older) ^ plain(newer),
                    _ => plain(older) | plain(newer),
                }
            }
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let key = (0..6_usize).prop_map(Tree::Key);
    key.prop_recursive(5, 40, 2, |inner| {
        let sign = prop::sample::select(vec!['&', '-', '^', '|']);
        prop_oneof![
            1 => inner.clone().prop_map(|tree| Tree::Not(Box::new(tree))),
            4 => (sign, inner.clone(), inner).prop_map(|(sign, older, newer)| {
                Tree::Two(sign, Box::new(older), Box::new(newer))
            }),
        ]
    })
}

/// The bits of a set as a bitmap of two bytes.
fn bitmap(set: u16) -> Bitmap {
    Bitmap::from_bytes(&set.to_be_bytes())
}

/// What an expression gives over keys named `k0` and so on, and `all`.
fn run(of: &Expression, keys: &[u16], universe: u16) -> u16 {
    let operand = |key: &Key| match &**key {
        b"all" => bitmap(universe),
        name => bitmap(keys[usize::from(name[1] - b'0')]),
    };
    let operands: Vec<_> = of.keys.iter().map(operand).collect();
    let operands: Vec<_> = operands.iter().collect();
    let bytes = of.formula.evaluate(&operands, 0..16).read_bytes(0..2);
    u16::from_be_bytes(bytes.try_into().expect("two bytes"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_expression_gives_what_its_tree_gives(
        tree in tree(),
        keys in any::<[u16; 6]>(),
        universe in any::<u16>(),
    ) {
        let mut text = String::new();
        tree.write(0, &mut text);
        let set = tree.evaluate(&keys, universe);
        let all = Key::new(b"all").unwrap();
        let of = expression::parse(text.as_bytes(), Some(&all)).unwrap();
        let expected = if set >> 16 == 1 { set & u32::from(universe) } else { set };
        prop_assert_eq!(u32::from(run(&of, &keys, universe)), expected, "{}", text);
        if expression::parse(text.as_bytes(), None).is_ok() {
            let of = expression::parse(text.as_bytes(), None).unwrap();
            prop_assert_eq!(u32::from(run(&of, &keys, 0)), set, "{}", text);
        }
    }

    #[test]
    fn no_bytes_panic(
        text in prop::collection::vec(
            prop::sample::select(&b"ab10-{}..~&|^() \"'\\xTW\xff"[..]),
            0..60,
        ),
    ) {
        let all = Key::new(b"all").unwrap();
        for universe in [None, Some(&all)] {
            drop(expression::parse(&text, universe));
        }
    }

    #[test]
    fn bitops_operations_give_what_bitop_gives(
        logic in prop::sample::select(vec![
            BitLogic::And,
            BitLogic::Or,
            BitLogic::Xor,
            BitLogic::Diff,
            BitLogic::Diff1,
            BitLogic::AndOr,
            BitLogic::One,
        ]),
        places in prop::collection::vec(0..6_usize, 2..9),
        keys in any::<[u16; 6]>(),
    ) {
        let sources = places.iter().map(|place| Key::new(format!("k{place}").as_bytes()).unwrap());
        let of = expression::combined(logic, sources.collect()).unwrap();
        let sets: Vec<u16> = places.iter().map(|place| keys[*place]).collect();
        let others = sets[1..].iter().fold(0, |any, set| any | set);
        let expected = match logic {
            BitLogic::And => sets.iter().fold(!0, |all, set| all & set),
            BitLogic::Or => sets[0] | others,
            BitLogic::Xor => sets.iter().fold(0, |odd, set| odd ^ set),
            BitLogic::Diff => sets[0] & !others,
            BitLogic::Diff1 => others & !sets[0],
            BitLogic::AndOr => others & sets[0],
            BitLogic::One => (0..16).map(|bit| 1 << bit).filter(|bit| {
                sets.iter().filter(|set| *set & bit != 0).count() == 1
            }).sum(),
            BitLogic::Not => unreachable!("not drawn"),
        };
        prop_assert_eq!(run(&of, &keys, 0), expected);
    }
}

#[test]
fn what_is_no_expression_is_no_combination() {
    let keys = |count: usize| {
        (0..count).map(|key| Key::new(format!("k{key}").as_bytes()).unwrap()).collect::<Vec<_>>()
    };
    assert!(expression::combined(BitLogic::Not, keys(1)).is_err());
    assert!(expression::combined(BitLogic::And, keys(0)).is_err());
    assert!(expression::combined(BitLogic::Diff1, keys(1)).is_err());
    assert!(expression::combined(BitLogic::Or, keys(1024)).is_ok());
    assert!(expression::combined(BitLogic::Or, keys(1025)).is_err());
    assert!(expression::combined(BitLogic::One, keys(40)).is_ok());
    assert!(expression::combined(BitLogic::One, keys(100)).is_err());
}
