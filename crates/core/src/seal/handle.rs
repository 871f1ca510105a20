//! Handles: what a sealed token calls a backend by, in the five bytes that it has for that.

use std::fmt;

use crate::rendezvous::Hashed;

/// The first 5 bytes of the hash of a backend's id, alike on every replica.
///
/// Of 10,000 backends two share a handle in one inventory of 22,000, and then neither is meant by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle([u8; Handle::LEN]);

impl Handle {
    const LEN: usize = 5;

    /// The handle of the backend with that id.
    pub fn of(id: &str) -> Handle {
        let [a, b, c, d, e, ..] = Hashed::new(id).to_bytes();
        Handle([a, b, c, d, e])
    }

    pub(super) fn from_bytes(bytes: [u8; Handle::LEN]) -> Handle {
        Handle(bytes)
    }

    pub(super) fn to_bytes(self) -> [u8; Handle::LEN] {
        self.0
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({self})")
    }
}
