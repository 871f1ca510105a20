//! Why a folder's keys are not taken over. Nothing of a key shows.

use std::path::Path;

use udp_director_core::{KeyError, KeyRingError};

/// What is wrong with a folder of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysFault {
    /// The folder or a file in it cannot be read.
    #[error("{file}: cannot be read: {problem}")]
    Unreadable {
        /// Which.
        file: String,
        /// Why.
        problem: String,
    },
    /// A file holds no key.
    #[error("{file}: {error}")]
    Key {
        /// Its name.
        file: String,
        /// What is wrong.
        error: KeyError,
    },
    /// The keys do not go together.
    #[error("{0}")]
    Ring(#[from] KeyRingError),
    /// The key that seals is gone, and only older ones are left.
    #[error(
        "the key {0} has vanished, which seals; put a newer one beside the others, or name an older one in the file `current`"
    )]
    Vanished(String),
}

impl KeysFault {
    pub(super) fn unreadable(path: &Path, problem: &str) -> KeysFault {
        KeysFault::Unreadable { file: path.display().to_string(), problem: problem.to_owned() }
    }
}
