//! Expressions as tokens.

use super::range::{self, Range};
use crate::CommandError;

/// What an expression is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    And,
    Or,
    Xor,
    Not,
    Minus,
    Open,
    Close,
    Name(Name),
    End,
}

/// A name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// Where it begins.
    pub(super) at: usize,
    is_quoted: bool,
}

impl Name {
    /// The names that it stands for if it has a range, or what is wrong with that.
    pub(super) fn range(&self) -> Option<Result<Range<'_>, &'static str>> {
        if self.is_quoted { None } else { range::find(&self.bytes) }
    }
}

/// Reads tokens one at a time.
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    /// Where the next token is looked for.
    next: usize,
    /// Where the token begins.
    at: usize,
    token: Token,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, CommandError> {
        let mut lexer = Self { text, next: 0, at: 0, token: Token::End };
        lexer.advance()?;
        Ok(lexer)
    }

    /// The token that is to be looked at.
    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// Takes the token and goes on to the next one.
    pub(super) fn advance(&mut self) -> Result<Token, CommandError> {
        let token = self.read()?;
        Ok(std::mem::replace(&mut self.token, token))
    }

    /// What is wrong with the token.
    pub(super) fn wrong(&self, what: &str) -> CommandError {
        wrong(what, self.at)
    }

    fn read(&mut self) -> Result<Token, CommandError> {
        let rest = &self.text[self.next..];
        let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at = self.next + blanks;
        let rest = &rest[blanks..];
        let Some(first) = rest.first() else {
            self.next = self.at;
            return Ok(Token::End);
        };
        let token = match first {
            b'&' => Token::And,
            b'|' => Token::Or,
            b'^' => Token::Xor,
            b'~' => Token::Not,
            b'(' => Token::Open,
            b')' => Token::Close,
            b'"' | b'\'' => return self.quoted(*first),
            _ => return Ok(self.unquoted(rest)),
        };
        self.next = self.at + 1;
        Ok(token)
    }

    /// A name without quotation marks, or a minus that stands alone.
    fn unquoted(&mut self, rest: &[u8]) -> Token {
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"&|^~()\"'".contains(byte);
        let len = rest.iter().position(is_end).unwrap_or(rest.len());
        self.next = self.at + len;
        match &rest[..len] {
            b"-" => Token::Minus,
            name => Token::Name(Name { bytes: name.to_vec(), at: self.at, is_quoted: false }),
        }
    }

    /// A name that begins with this quotation mark.
    fn quoted(&mut self, mark: u8) -> Result<Token, CommandError> {
        let mut bytes = Vec::new();
        let mut at = self.at + 1;
        loop {
            match &self.text[at..] {
                [] => return Err(self.wrong("a quotation mark without its other")),
                [byte, ..] if *byte == mark => break,
                [b'\\', byte @ (b'"' | b'\'' | b'\\'), ..] => {
                    bytes.push(*byte);
                    at += 2;
                }
                [b'\\', b'x', high, low, ..] => {
                    let byte = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
                    bytes.push(byte.ok_or_else(|| wrong(ESCAPE, at))?);
                    at += 4;
                }
                [b'\\', ..] => return Err(wrong(ESCAPE, at)),
                [byte, ..] => {
                    bytes.push(*byte);
                    at += 1;
                }
            }
        }
        self.next = at + 1;
        Ok(Token::Name(Name { bytes, at: self.at, is_quoted: true }))
    }
}

const ESCAPE: &str = r#"a backslash before none of \ " ' and xHH"#;

/// What is wrong with an expression, and where.
#[cold]
pub(super) fn wrong(what: &str, at: usize) -> CommandError {
    CommandError::Message(format!("ERR expression: {what} at byte {at}"))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
