//! Keys: what tokens are sealed by, and which of them there are.

use std::fmt;

use aes_siv::KeyInit;
use aes_siv::siv::Aes128Siv;
use zeroize::Zeroizing;

use super::IV_LEN;

/// A key: 256 bits, of which one half authenticates and the other encrypts.
///
/// It is never shown, and wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: Box<str>,
    bytes: Zeroizing<[u8; Key::LEN]>,
}

/// The keys of a cluster: the current one seals, each of them opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRing {
    /// The current one first. At most [`KeyRing::MOST`].
    keys: Vec<Key>,
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Its name cannot be an id.
    #[error("a key's id has 1 to 63 letters, digits, \"-\", \"_\" and \".\", and no \".\" in front")]
    Id,
    /// It has another length; how many characters there are.
    #[error("a key has 64 hexadecimal digits, not {0} characters")]
    Length(usize),
    /// It has other characters.
    #[error("a key has 64 hexadecimal digits and nothing else")]
    Digits,
}

/// Why keys are no ring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// There is none.
    #[error("there is no key")]
    Empty,
    /// There are more than [`KeyRing::MOST`].
    #[error("there are {0} keys, and at most 8 are allowed, since each is tried on each token")]
    TooMany(usize),
    /// Two have that id.
    #[error("two keys have the id {0}")]
    SameId(String),
    /// Two ids have one key.
    #[error("{0} and {1} are the same key")]
    SameKey(String, String),
    /// The one that is to be current is not among them.
    #[error("the current key is to be {0}, which is not there")]
    NoSuchKey(String),
}

impl Key {
    const LEN: usize = 32;

    /// How many hexadecimal digits a key has.
    pub const DIGITS: usize = 2 * Key::LEN;

    /// Reads a key from its text, around which white space may stand.
    ///
    /// # Errors
    /// The id or the text is not of the right form. The error shows nothing of the text.
    pub fn parse(id: &str, text: &[u8]) -> Result<Key, KeyError> {
        if !is_id(id) {
            return Err(KeyError::Id);
        }
        let digits = text.trim_ascii();
        if digits.len() != Key::DIGITS {
            return Err(KeyError::Length(digits.len()));
        }
        let mut bytes = Zeroizing::new([0; Key::LEN]);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(KeyError::Digits);
            *byte = (digit(0)? << 4 | digit(1)?) as u8;
        }
        Ok(Key { id: id.into(), bytes })
    }

    /// Its id, which is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Encrypts in place, and gives the synthetic IV.
    pub(super) fn encrypt(&self, associated: &[u8], said: &mut [u8]) -> [u8; IV_LEN] {
        let outcome = self.cipher().encrypt_inout_detached([associated], said.into());
        outcome.expect("there is one header, of the 126 that may be").into()
    }

    /// Decrypts in place; says whether it was sealed by this key, over these associated data.
    pub(super) fn decrypt(&self, associated: &[u8], said: &mut [u8], iv: &[u8; IV_LEN]) -> bool {
        self.cipher().decrypt_inout_detached([associated], said.into(), iv.into()).is_ok()
    }

    /// Made anew each time: it cannot be used by two threads at once.
    fn cipher(&self) -> Aes128Siv {
        Aes128Siv::new((&*self.bytes).into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} ***)", self.id)
    }
}

impl KeyRing {
    /// How many keys there are at most: each is tried on each token that is not known.
    pub const MOST: usize = 8;

    /// The keys, of which that one is current.
    ///
    /// # Errors
    /// Too many or too few keys, or two that are mixed up.
    pub fn new(current: &str, mut keys: Vec<Key>) -> Result<KeyRing, KeyRingError> {
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        if keys.len() > KeyRing::MOST {
            return Err(KeyRingError::TooMany(keys.len()));
        }
        check_distinct(&keys)?;
        let position = keys.iter().position(|key| key.id() == current);
        let position = position.ok_or_else(|| KeyRingError::NoSuchKey(current.to_owned()))?;
        keys.swap(0, position);
        keys[1..].sort_by(|a, b| b.id.cmp(&a.id));
        Ok(KeyRing { keys })
    }

    /// The key that seals.
    pub fn current(&self) -> &Key {
        &self.keys[0]
    }

    /// The keys that open beside it, the last by their id first.
    pub fn older(&self) -> &[Key] {
        &self.keys[1..]
    }

    /// Every key, the current one first.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// Whether a key of that id is among them.
    pub fn has(&self, id: &str) -> bool {
        self.keys().any(|key| key.id() == id)
    }
}

fn check_distinct(keys: &[Key]) -> Result<(), KeyRingError> {
    for (position, key) in keys.iter().enumerate() {
        for other in &keys[..position] {
            if key.id == other.id {
                return Err(KeyRingError::SameId(key.id.to_string()));
            }
            if key.bytes == other.bytes {
                return Err(KeyRingError::SameKey(other.id.to_string(), key.id.to_string()));
            }
        }
    }
    Ok(())
}

fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=63).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('.')
}
