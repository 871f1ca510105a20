//! Label selectors: exact pairs, or the text that `kubectl -l` takes.
//!
//! ```text
//! selector    = [ requirement *( "," requirement ) ]
//! requirement = key | "!" key
//!             | key ( "=" | "==" | "!=" | ">" | "<" ) value
//!             | key ( "in" | "notin" ) "(" value *( "," value ) ")"
//! ```
//! Grammar and meaning are those of `labels.Parse` in k8s.io/apimachinery: all requirements must
//! hold, a value may be empty, and `!=` and `notin` hold for an object that lacks the key.

use std::collections::BTreeMap;
use std::fmt;

/// Requirements on labels, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: LabelTest,
}

/// What a label's value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelTest {
    /// The label is there.
    Exists,
    /// The label is not there.
    Absent,
    /// The label is there, with one of these values.
    In(Vec<String>),
    /// The label is not there, or has none of these values.
    NotIn(Vec<String>),
    /// The label is there, a whole number above this one.
    Above(i64),
    /// The label is there, a whole number below this one.
    Below(i64),
}

/// Why a text or pairs are no label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Longer than [`Selector::MAX_BYTES`].
    #[error("it has {0} bytes, more than {max}", max = Selector::MAX_BYTES)]
    TooLong(usize),
    /// More requirements than [`Selector::MAX_REQUIREMENTS`].
    #[error("it has more than {} requirements", Selector::MAX_REQUIREMENTS)]
    TooMany,
    /// Not the selector syntax.
    #[error("at character {position}, {found} stands where {due} is due")]
    Syntax {
        /// Where, counted in characters from 1.
        position: usize,
        /// What stands there.
        found: String,
        /// What is right there.
        due: &'static str,
    },
    /// Not a label key.
    #[error(
        "{0:?} is no label key: that is a name of up to 63 letters, digits, '-', '_' and '.', which begins \
         and ends with a letter or digit, optionally behind a lower-case DNS name and '/'"
    )]
    Key(String),
    /// Not a label value.
    #[error(
        "{0:?} is no label value: that is up to 63 letters, digits, '-', '_' and '.', and begins and ends \
         with a letter or digit"
    )]
    Value(String),
    /// Not a whole number behind `<` or `>`.
    #[error("{0:?} is no whole number, which '<' and '>' compare with")]
    Number(String),
}

impl Selector {
    /// The longest text that is read, in bytes.
    pub const MAX_BYTES: usize = 4096;
    /// The largest number of requirements.
    pub const MAX_REQUIREMENTS: usize = 64;

    /// Reads a selector as `kubectl -l` takes it. The empty text matches everything.
    ///
    /// # Errors
    /// Says what is wrong and what is right there.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        if text.len() > Self::MAX_BYTES {
            return Err(SelectorError::TooLong(text.len()));
        }
        Parser::new(text).selector()
    }

    /// Takes exact pairs.
    ///
    /// # Errors
    /// Says which key or value no label can have.
    pub fn from_pairs(pairs: &BTreeMap<String, String>) -> Result<Selector, SelectorError> {
        if pairs.len() > Self::MAX_REQUIREMENTS {
            return Err(SelectorError::TooMany);
        }
        let exact = |(key, value): (&String, &String)| {
            let (key, value) = (checked_key(key)?, checked_value(value)?);
            Ok(Requirement { key, test: LabelTest::In(vec![value]) })
        };
        pairs.iter().map(exact).collect::<Result<_, _>>().map(Selector)
    }

    /// The label keys that are asked for.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|requirement| requirement.key.as_str())
    }

    /// Each requirement: a label's key, and what its value must be.
    pub fn requirements(&self) -> impl Iterator<Item = (&str, &LabelTest)> {
        self.0.iter().map(|requirement| (requirement.key.as_str(), &requirement.test))
    }

    /// Whether these labels have all that is required.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.test.holds(labels.get(&requirement.key)))
    }

    /// The first requirement that these labels do not meet, as `kubectl -l` takes it.
    pub(super) fn first_failing(&self, labels: &BTreeMap<String, String>) -> Option<String> {
        let fails = |requirement: &&Requirement| !requirement.test.holds(labels.get(&requirement.key));
        self.0.iter().find(fails).map(ToString::to_string)
    }

    /// Whether [`Selector::looked_up`] is all that it asks for.
    pub(super) fn is_looked_up(&self) -> bool {
        self.looked_up().count() == self.0.len()
    }

    /// The labels that a matching object has for certain, each with the values of which it has one.
    pub(super) fn looked_up(&self) -> impl Iterator<Item = (&str, &[String])> + Clone {
        self.0.iter().filter_map(|requirement| match &requirement.test {
            LabelTest::In(values) => Some((requirement.key.as_str(), values.as_slice())),
            _ => None,
        })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.test {
            LabelTest::Exists => f.write_str(key),
            LabelTest::Absent => write!(f, "!{key}"),
            LabelTest::In(values) if values.len() == 1 => write!(f, "{key}={}", values[0]),
            LabelTest::In(values) => write!(f, "{key} in ({})", values.join(",")),
            LabelTest::NotIn(values) => write!(f, "{key} notin ({})", values.join(",")),
            LabelTest::Above(bound) => write!(f, "{key}>{bound}"),
            LabelTest::Below(bound) => write!(f, "{key}<{bound}"),
        }
    }
}

impl LabelTest {
    fn holds(&self, label: Option<&String>) -> bool {
        let number = || label.and_then(|value| value.parse::<i64>().ok());
        match self {
            LabelTest::Exists => label.is_some(),
            LabelTest::Absent => label.is_none(),
            LabelTest::In(values) => label.is_some_and(|value| values.contains(value)),
            LabelTest::NotIn(values) => label.is_none_or(|value| !values.contains(value)),
            LabelTest::Above(bound) => number().is_some_and(|number| number > *bound),
            LabelTest::Below(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol<'a> {
    Word(&'a str),
    Sign(&'static str),
    End,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser { text, rest: text }
    }

    fn selector(&mut self) -> Result<Selector, SelectorError> {
        let mut requirements = Vec::new();
        if self.peek() == Symbol::End {
            return Ok(Selector(requirements));
        }
        loop {
            if requirements.len() == Selector::MAX_REQUIREMENTS {
                return Err(SelectorError::TooMany);
            }
            requirements.push(self.requirement()?);
            match self.peek() {
                Symbol::End => return Ok(Selector(requirements)),
                Symbol::Sign(",") => self.skip(),
                _ => return Err(self.unexpected("',' or the end")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.peek() == Symbol::Sign("!") {
            self.skip();
            return Ok(Requirement { key: self.key()?, test: LabelTest::Absent });
        }
        Ok(Requirement { key: self.key()?, test: self.test()? })
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        let Symbol::Word(word) = self.peek() else {
            return Err(self.unexpected("a label key"));
        };
        self.skip();
        checked_key(word)
    }

    fn test(&mut self) -> Result<LabelTest, SelectorError> {
        let operator = self.peek();
        if matches!(operator, Symbol::End | Symbol::Sign(",")) {
            return Ok(LabelTest::Exists);
        }
        self.skip_operator()?;
        Ok(match operator {
            Symbol::Sign("!=") => LabelTest::NotIn(vec![self.value()?]),
            Symbol::Sign(">") => LabelTest::Above(self.number()?),
            Symbol::Sign("<") => LabelTest::Below(self.number()?),
            Symbol::Word("in") => LabelTest::In(self.values()?),
            Symbol::Word("notin") => LabelTest::NotIn(self.values()?),
            _ => LabelTest::In(vec![self.value()?]),
        })
    }

    fn skip_operator(&mut self) -> Result<(), SelectorError> {
        match self.peek() {
            Symbol::Sign("=" | "==" | "!=" | ">" | "<") | Symbol::Word("in" | "notin") => {
                self.skip();
                Ok(())
            }
            _ => Err(self.unexpected("'=', '==', '!=', '<', '>', 'in', 'notin', ',' or the end")),
        }
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        let value = self.value()?;
        value.parse().map_err(|_| SelectorError::Number(value))
    }

    /// A value may be empty: `key=` and `key=,other` ask for the empty value.
    fn value(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            Symbol::Word(word) => {
                self.skip();
                checked_value(word)
            }
            Symbol::End | Symbol::Sign("," | ")") => Ok(String::new()),
            Symbol::Sign(_) => Err(self.unexpected("a value")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        self.expect("(", "'('")?;
        if self.peek() == Symbol::Sign(")") {
            return Err(self.unexpected("a value"));
        }
        let mut values = vec![self.value()?];
        while self.peek() == Symbol::Sign(",") {
            self.skip();
            values.push(self.value()?);
        }
        self.expect(")", "',' or ')'")?;
        Ok(values)
    }

    fn expect(&mut self, sign: &'static str, due: &'static str) -> Result<(), SelectorError> {
        if self.peek() != Symbol::Sign(sign) {
            return Err(self.unexpected(due));
        }
        self.skip();
        Ok(())
    }

    fn peek(&mut self) -> Symbol<'a> {
        self.rest = self.rest.trim_start_matches(is_space);
        if let Some(sign) = SIGNS.into_iter().find(|sign| self.rest.starts_with(sign)) {
            return Symbol::Sign(sign);
        }
        let is_sign = |c: char| SIGNS.iter().any(|sign| sign.starts_with(c));
        let end = self.rest.find(|c| is_space(c) || is_sign(c)).unwrap_or(self.rest.len());
        match &self.rest[..end] {
            "" => Symbol::End,
            word => Symbol::Word(word),
        }
    }

    fn skip(&mut self) {
        let length = match self.peek() {
            Symbol::Word(text) | Symbol::Sign(text) => text.len(),
            Symbol::End => 0,
        };
        self.rest = &self.rest[length..];
    }

    fn unexpected(&mut self, due: &'static str) -> SelectorError {
        let found = self.peek().to_string();
        let before = &self.text[..self.text.len() - self.rest.len()];
        SelectorError::Syntax { position: before.chars().count() + 1, found, due }
    }
}

impl fmt::Display for Symbol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Symbol::Word(word) => write!(f, "{word:?}"),
            Symbol::Sign(sign) => write!(f, "'{sign}'"),
            Symbol::End => f.write_str("the end"),
        }
    }
}

/// Checks a key as `IsQualifiedName` of k8s.io/apimachinery does.
fn checked_key(key: &str) -> Result<String, SelectorError> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let valid = prefix.is_none_or(is_dns_name) && !name.is_empty() && is_name(name);
    valid.then(|| key.to_owned()).ok_or_else(|| SelectorError::Key(key.to_owned()))
}

/// Checks a value as `IsValidLabelValue` of k8s.io/apimachinery does.
fn checked_value(value: &str) -> Result<String, SelectorError> {
    is_name(value).then(|| value.to_owned()).ok_or_else(|| SelectorError::Value(value.to_owned()))
}

fn is_name(text: &str) -> bool {
    let ends = [text.bytes().next(), text.bytes().next_back()];
    text.len() <= MAX_NAME_BYTES
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && ends.into_iter().flatten().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_dns_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        label.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
            && label.bytes().next().is_some_and(alphanumeric)
            && label.bytes().next_back().is_some_and(alphanumeric)
    };
    text.len() <= MAX_DNS_NAME_BYTES && text.split('.').all(is_label)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Every sign, the longer of two that begin alike first.
const SIGNS: [&str; 9] = ["==", "=", "!=", "!", "(", ")", ",", "<", ">"];
const MAX_NAME_BYTES: usize = 63;
const MAX_DNS_NAME_BYTES: usize = 253;

#[cfg(test)]
mod tests;
