//! Expressions over keys, as people write them: `(a | b) & c - d`.
//!
//! ```text
//! or    := xor ('|' xor)*
//! xor   := and ('^' and)*
//! and   := unary (('&' | '-') unary)*      from left to right; a - b is a & ~b
//! unary := '~' unary | '(' or ')' | name
//! ```
//!
//! A name is a run of bytes without blanks, `& | ^ ~ ( )` and quotation marks, or quoted with `"`
//! or `'`, where `\"`, `\'`, `\\` and `\xHH` stand for a byte. A minus belongs to the name that it
//! touches (`a-b` is one name); alone it is the operator. `dau:{2026-11-15..2026-11-21}`, unquoted,
//! is the union of the keys of those days; see `range` for what else has a range. Other braces are
//! part of the name.
//!
//! A complement has no bits of its own past the longest bitmap, so it must meet something: `a & ~b`
//! needs no more, anywhere else `~b` is `universe - b`. Places in errors are counted in bytes from
//! 0.

mod logic;
mod range;
mod token;

use std::collections::BTreeMap;

use bitroster_bitmap::{Formula, Step};
use bitroster_types::{
    Key,
    limits::{EXPRESSION_DEPTH_MAX, EXPRESSION_KEYS_MAX, FORMULA_STEPS_MAX},
};

use crate::{CommandError, composite::Expression};
use token::{Lexer, Name, Token};

pub use logic::{combined, steps_of};

/// Reads an expression. `universe` is what complements are taken of, where they need it.
///
/// Costs about as much as the text and the keys of its ranges are long.
///
/// # Errors
///
/// What is wrong first, and at which byte; more than [`EXPRESSION_KEYS_MAX`] keys,
/// [`FORMULA_STEPS_MAX`] steps or [`EXPRESSION_DEPTH_MAX`] levels; a complement that needs a
/// universe where there is none.
///
/// ```
/// use bitroster_command::expression;
/// let found = expression::parse(b"paid & dau:{2026-11-20..2026-11-21} - \"a b\"", None).unwrap();
/// assert_eq!(found.keys.len(), 4);
/// let error = expression::parse(b"a & (b |", None).unwrap_err();
/// assert_eq!(error.to_string(), "ERR expression: expected a name at byte 8");
/// ```
pub fn parse(text: &[u8], universe: Option<&Key>) -> Result<Expression, CommandError> {
    let mut parser = Parser {
        lexer: Lexer::new(text)?,
        depth: 0,
        steps: 0,
        universe,
        keys: Vec::new(),
        places: BTreeMap::new(),
    };
    let set = parser.either()?;
    match parser.lexer.token() {
        Token::End => {}
        Token::Close => return Err(parser.lexer.wrong("')' without '('")),
        Token::Not | Token::Open | Token::Name(_) => {
            return Err(parser.lexer.wrong("expected an operator"));
        }
        Token::And | Token::Or | Token::Xor | Token::Minus => {
            unreachable!("operators are read as far as there are any")
        }
    }
    let steps = parser.plain(set)?;
    let formula = Formula::new(steps, parser.keys.len()).expect("the parser balances and counts");
    Ok(Expression { formula, keys: parser.keys })
}

/// A part of an expression: steps that come to one result, of which it is the complement or not.
struct Set {
    steps: Vec<Step>,
    is_complement: bool,
}

impl Set {
    /// `self` and then `other` and then what joins them.
    fn join(mut self, other: Self, step: Step, is_complement: bool) -> Self {
        self.steps.extend(other.steps);
        self.steps.push(step);
        Self { steps: self.steps, is_complement }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    depth: usize,
    steps: usize,
    universe: Option<&'a Key>,
    keys: Vec<Key>,
    places: BTreeMap<Key, u16>,
}

impl Parser<'_> {
    fn either(&mut self) -> Result<Set, CommandError> {
        let mut set = self.one_of()?;
        while self.lexer.token() == &Token::Or {
            set = self.joined(set, Step::Or, Self::one_of)?;
        }
        Ok(set)
    }

    fn one_of(&mut self) -> Result<Set, CommandError> {
        let mut set = self.both()?;
        while self.lexer.token() == &Token::Xor {
            set = self.joined(set, Step::Xor, Self::both)?;
        }
        Ok(set)
    }

    /// Goes on after an operator that takes no complements.
    fn joined(
        &mut self,
        older: Set,
        step: Step,
        next: fn(&mut Self) -> Result<Set, CommandError>,
    ) -> Result<Set, CommandError> {
        self.lexer.advance()?;
        let older = self.plain(older)?;
        let newer = next(self)?;
        let newer = self.plain(newer)?;
        self.note_step()?;
        let [older, newer] = [older, newer].map(|steps| Set { steps, is_complement: false });
        Ok(older.join(newer, step, false))
    }

    fn both(&mut self) -> Result<Set, CommandError> {
        let mut set = self.unary()?;
        loop {
            let is_minus = self.lexer.token() == &Token::Minus;
            if !is_minus && self.lexer.token() != &Token::And {
                return Ok(set);
            }
            self.lexer.advance()?;
            let mut other = self.unary()?;
            other.is_complement ^= is_minus;
            self.note_step()?;
            set = match (set.is_complement, other.is_complement) {
                (false, false) => set.join(other, Step::And, false),
                (false, true) => set.join(other, Step::AndNot, false),
                (true, false) => other.join(set, Step::AndNot, false),
                (true, true) => set.join(other, Step::Or, true),
            };
        }
    }

    fn unary(&mut self) -> Result<Set, CommandError> {
        match self.lexer.token() {
            Token::Not => {
                self.enter()?;
                let mut set = self.unary()?;
                set.is_complement ^= true;
                self.depth -= 1;
                Ok(set)
            }
            Token::Open => {
                self.enter()?;
                let set = self.either()?;
                if self.lexer.token() != &Token::Close {
                    return Err(self.lexer.wrong("expected an operator or ')'"));
                }
                self.lexer.advance()?;
                self.depth -= 1;
                Ok(set)
            }
            Token::Name(_) => {
                let Token::Name(name) = self.lexer.advance()? else {
                    unreachable!("looked at before")
                };
                self.named(&name)
            }
            Token::And | Token::Or | Token::Xor | Token::Minus | Token::Close | Token::End => {
                Err(self.lexer.wrong("expected a name"))
            }
        }
    }

    /// Goes past what opens a level.
    fn enter(&mut self) -> Result<(), CommandError> {
        if self.depth == EXPRESSION_DEPTH_MAX {
            let text = format!("nested more than {EXPRESSION_DEPTH_MAX} levels deep");
            return Err(self.lexer.wrong(&text));
        }
        self.depth += 1;
        self.lexer.advance().map(drop)
    }

    /// The union of the keys that a name stands for.
    fn named(&mut self, name: &Name) -> Result<Set, CommandError> {
        let mut steps = Vec::new();
        let names = match name.range() {
            None => None,
            Some(found) => Some(found.map_err(|text| token::wrong(text, name.at))?),
        };
        let Some(names) = names else {
            steps.push(self.operand(&name.bytes, name.at)?);
            return Ok(Set { steps, is_complement: false });
        };
        for one in names {
            steps.push(self.operand(&one, name.at)?);
            if steps.len() > 1 {
                self.note_step()?;
                steps.push(Step::Or);
            }
        }
        Ok(Set { steps, is_complement: false })
    }

    fn operand(&mut self, name: &[u8], at: usize) -> Result<Step, CommandError> {
        self.note_step()?;
        if let Some(place) = self.places.get(name) {
            return Ok(Step::Operand(*place));
        }
        let key = Key::new(name).ok_or_else(|| token::wrong("a key is too long", at))?;
        if self.keys.len() == EXPRESSION_KEYS_MAX {
            return Err(token::wrong(&format!("more than {EXPRESSION_KEYS_MAX} keys"), at));
        }
        let place = u16::try_from(self.keys.len()).expect("the limit is below");
        self.places.insert(key.clone(), place);
        self.keys.push(key);
        Ok(Step::Operand(place))
    }

    /// A step more; the limit is looked at before it is made.
    fn note_step(&mut self) -> Result<(), CommandError> {
        self.steps += 1;
        if self.steps <= FORMULA_STEPS_MAX {
            return Ok(());
        }
        Err(self.lexer.wrong(&format!("more than {FORMULA_STEPS_MAX} steps")))
    }

    /// The steps of a set that is to be no complement.
    fn plain(&mut self, set: Set) -> Result<Vec<Step>, CommandError> {
        if !set.is_complement {
            return Ok(set.steps);
        }
        let Some(universe) = self.universe else {
            return Err(CommandError::Text(
                "ERR '~' outside of an intersection needs UNIVERSE key",
            ));
        };
        let operand = self.operand(universe, 0)?;
        self.note_step()?;
        let whole = Set { steps: vec![operand], is_complement: false };
        Ok(whole.join(set, Step::AndNot, false).steps)
    }
}

const _: () = assert!(EXPRESSION_KEYS_MAX <= u16::MAX as usize);
