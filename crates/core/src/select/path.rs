//! JSONPath (RFC 9535) with a bound on what one evaluation can cost.
//!
//! Freely combined, a few characters cost exponential time: `..*..*..*` gives a node once per chain
//! of its ancestors, `['a','a']['a','a']` doubles at every step, and a filter in a filter doubles the
//! parser's own work at every level. So before anything is parsed, what multiplies is counted, and a
//! path with more of it than a query on a status ever needs is refused. Inside these bounds one
//! evaluation looks at each node of an object a constant number of times.

use serde_json::Value;
use serde_json_path::JsonPath;

/// A path to values in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(JsonPath);

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The empty text.
    #[error("it is empty")]
    Empty,
    /// Longer than [`Path::MAX_BYTES`].
    #[error("it has {0} bytes, more than {max}", max = Path::MAX_BYTES)]
    TooLong(usize),
    /// More than one `..`.
    #[error("it has more than one '..'")]
    Descendants,
    /// More than [`Path::MAX_FAN_OUTS`] of what gives several values.
    #[error("it has more than {} of '..', '*', '?', ':' and ',' together", Path::MAX_FAN_OUTS)]
    FanOuts,
    /// A filter with something that gives several values.
    #[error("a filter takes paths to single values alone, without '..', '*', '?', ':' or ','")]
    FanOutInFilter,
    /// More than [`Path::MAX_JOINTS`] of `&&` and `||`.
    #[error("it has more than {} of '&&' and '||'", Path::MAX_JOINTS)]
    Joints,
    /// More than [`Path::MAX_PARENTHESES`].
    #[error("it has more than {} parentheses", Path::MAX_PARENTHESES)]
    Parentheses,
    /// Not RFC 9535.
    #[error("it is no JSONPath (RFC 9535): at character {position}, {problem}{hint}")]
    Syntax {
        /// Where, counted in characters of the text as it was given, from 1.
        position: usize,
        /// What is wrong there.
        problem: String,
        /// What is right instead, where that can be guessed.
        hint: &'static str,
    },
}

impl Path {
    /// The longest path that is read, in bytes.
    pub const MAX_BYTES: usize = 1024;
    /// The largest number of `..`, `*`, filters, slices and further selectors in one bracket.
    pub const MAX_FAN_OUTS: usize = 4;
    /// The largest number of `&&` and `||`.
    pub const MAX_JOINTS: usize = 8;
    /// The largest number of opening parentheses.
    pub const MAX_PARENTHESES: usize = 8;

    /// Reads a path. The leading `$` or `$.` may be left out: `status.state` is `$.status.state`.
    ///
    /// # Errors
    /// Says what is wrong, be it the syntax or that evaluation could cost too much.
    pub fn parse(text: &str) -> Result<Path, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(PathError::TooLong(text.len()));
        }
        check_cost(text)?;
        check_literals(text)?;
        let root = match text.as_bytes()[0] {
            b'$' => "",
            b'.' | b'[' => "$",
            _ => "$.",
        };
        let rooted = format!("{root}{text}");
        JsonPath::parse(&rooted).map(Path).map_err(|error| {
            let before = rooted.get(..error.position()).unwrap_or(&rooted);
            let position = before.chars().count().saturating_sub(root.len()) + 1;
            PathError::Syntax { position, problem: error.message().to_owned(), hint: hint(&rooted, before) }
        })
    }

    /// The values that the path leads to, in the object's order.
    pub fn values<'v>(&self, object: &'v Value) -> Vec<&'v Value> {
        self.0.query(object).all()
    }

    /// The first of the values that the path leads to.
    pub fn first<'v>(&self, object: &'v Value) -> Option<&'v Value> {
        self.0.query(object).first()
    }
}

/// Counts on the text what can multiply work, before the parser sees it: the parser itself takes
/// exponential time on nested filters, and recurses for every parenthesis.
fn check_cost(text: &str) -> Result<(), PathError> {
    let mut cost = Cost::default();
    for sign in outside_literals(text) {
        cost.add(sign)?;
    }
    Ok(())
}

/// Sees that string literals and their `\uXXXX` escapes are complete: at one that ends too early, the
/// parser panics.
fn check_literals(text: &str) -> Result<(), PathError> {
    let wrong = |position: usize, problem: &str| PathError::Syntax {
        position: position + 1,
        problem: problem.to_owned(),
        hint: "",
    };
    let signs: Vec<char> = text.chars().collect();
    let (mut quote, mut at) = (None, 0);
    while let Some(&sign) = signs.get(at) {
        let step = match (quote, sign) {
            (Some(_), '\\') if signs.get(at + 1) == Some(&'u') => {
                let digits = signs.get(at + 2..at + 6);
                if !digits.is_some_and(|digits| digits.iter().all(char::is_ascii_hexdigit)) {
                    return Err(wrong(at, "\\u takes four hexadecimal digits"));
                }
                6
            }
            (Some(_), '\\') => 2,
            (Some(open), _) => {
                quote = (sign != open).then_some(open);
                1
            }
            (None, _) => {
                quote = matches!(sign, '\'' | '"').then_some(sign);
                1
            }
        };
        at += step;
    }
    match quote {
        Some(_) => Err(wrong(signs.len(), "a text is not closed")),
        None => Ok(()),
    }
}

#[derive(Default)]
struct Cost {
    previous: char,
    /// How many brackets are open.
    depth: usize,
    /// The bracket that holds a filter, by its depth.
    filter: Option<usize>,
    descendants: usize,
    fan_outs: usize,
    joints: usize,
    parentheses: usize,
}

impl Cost {
    fn add(&mut self, sign: char) -> Result<(), PathError> {
        match (self.previous, sign) {
            ('.', '.') => {
                self.descendants += 1;
                self.fan_out()?;
            }
            (_, '*' | ':' | ',') => self.fan_out()?,
            (_, '?') => {
                self.fan_out()?;
                self.filter = Some(self.depth);
            }
            ('&', '&') | ('|', '|') => self.joints += 1,
            (_, '(') => self.parentheses += 1,
            (_, '[') => self.depth += 1,
            (_, ']') => self.close(),
            _ => {}
        }
        self.previous = sign;
        self.check()
    }

    fn fan_out(&mut self) -> Result<(), PathError> {
        if self.filter.is_some() {
            return Err(PathError::FanOutInFilter);
        }
        self.fan_outs += 1;
        Ok(())
    }

    fn close(&mut self) {
        if self.filter == Some(self.depth) {
            self.filter = None;
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn check(&self) -> Result<(), PathError> {
        for (count, most, error) in [
            (self.descendants, 1, PathError::Descendants),
            (self.fan_outs, Path::MAX_FAN_OUTS, PathError::FanOuts),
            (self.joints, Path::MAX_JOINTS, PathError::Joints),
            (self.parentheses, Path::MAX_PARENTHESES, PathError::Parentheses),
        ] {
            if count > most {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The characters that stand outside string literals.
fn outside_literals(text: &str) -> impl Iterator<Item = char> {
    let mut quote = None;
    let mut escaped = false;
    text.chars().filter(move |&c| {
        let Some(open) = quote else {
            quote = matches!(c, '\'' | '"').then_some(c);
            return quote.is_none();
        };
        if c == open && !escaped {
            quote = None;
        }
        escaped = c == '\\' && !escaped;
        false
    })
}

/// A dash is what people most often write into a path that RFC 9535 wants in brackets.
fn hint(rooted: &str, before: &str) -> &'static str {
    match rooted[before.len()..].starts_with('-') {
        true => "; a name with '-' is written ['like-this']",
        false => "",
    }
}

#[cfg(test)]
mod tests;
