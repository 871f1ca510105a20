//! What is wrong with a configuration, and where it stands.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in the file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where; `None` where the file as a whole is meant.
    pub place: Option<Place>,
    /// The path of the key, such as `dataPorts[1].name`; empty where none is meant.
    pub key: String,
    /// What is wrong and what is allowed, for people.
    pub text: String,
}

/// Everything that is wrong with a configuration file, in the order of its lines.
///
/// `Display` gives one line each, `FILE:LINE:COLUMN: KEY: TEXT`, and no more than 50.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    file: PathBuf,
    problems: Vec<Problem>,
}

impl ConfigErrors {
    pub(super) fn new(file: &Path, mut problems: Vec<Problem>) -> ConfigErrors {
        problems.sort();
        ConfigErrors { file: file.to_owned(), problems }
    }

    /// The problems, in the order of their places; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Problem {
    /// A problem of the file as a whole.
    pub(super) fn of_file(text: String) -> Problem {
        Problem { place: None, key: String::new(), text }
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().take(MOST_SHOWN).enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{}{problem}", self.file.display())?;
        }
        match self.problems.len().checked_sub(MOST_SHOWN) {
            Some(hidden @ 1..) => write!(f, "\n{}: {hidden} more problems", self.file.display()),
            _ => Ok(()),
        }
    }
}

/// `:LINE:COLUMN: KEY: TEXT`, to follow the file's name.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        match self.key.as_str() {
            "" => write!(f, ": {}", self.text),
            key => write!(f, ": {key}: {}", self.text),
        }
    }
}

const MOST_SHOWN: usize = 50;
