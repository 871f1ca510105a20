//! What a folder of keys holds now.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use udp_director_core::{Key, KeyRing, KeyRingError};
use zeroize::Zeroizing;

use super::fault::KeysFault;

/// The keys of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) ring: KeyRing,
    /// Whether the file `current` says which key seals.
    pub(super) is_named: bool,
}

/// Reads all keys of a folder.
pub(super) fn read(folder: &Path) -> Result<Contents, KeysFault> {
    let names = names(folder)?;
    let (current, keys): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name == CURRENT);
    if keys.len() > KeyRing::MOST {
        return Err(KeyRingError::TooMany(keys.len()).into());
    }
    let named = current.first().map(|name| named(folder, name)).transpose()?;
    let keys: Vec<Key> = keys.iter().map(|name| key(folder, name)).collect::<Result<_, _>>()?;
    let last = keys.iter().map(Key::id).max().unwrap_or_default().to_owned();
    let is_named = named.is_some();
    Ok(Contents { ring: KeyRing::new(&named.unwrap_or(last), keys)?, is_named })
}

/// The names of the files that count, in order.
fn names(folder: &Path) -> Result<Vec<String>, KeysFault> {
    let unreadable = |error: io::Error| KeysFault::unreadable(folder, &error.to_string());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') && !path.is_dir() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn key(folder: &Path, name: &str) -> Result<Key, KeysFault> {
    let id = name.strip_suffix(SUFFIX).unwrap_or(name);
    let text = text(&folder.join(name))?;
    Key::parse(id, &text).map_err(|error| KeysFault::Key { file: name.to_owned(), error })
}

/// The id that the file `current` holds.
fn named(folder: &Path, name: &str) -> Result<String, KeysFault> {
    let text = text(&folder.join(name))?;
    let id = String::from_utf8_lossy(text.trim_ascii());
    Ok(id.strip_suffix(SUFFIX).unwrap_or(&id).to_owned())
}

/// What a file holds; of a long one the beginning, which is no key either.
fn text(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeysFault> {
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST));
    read_into(path, &mut text).map_err(|error| KeysFault::unreadable(path, &error.to_string()))?;
    Ok(text)
}

fn read_into(path: &Path, text: &mut Vec<u8>) -> io::Result<()> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    File::open(path)?.take(LONGEST as u64).read_to_end(text)?;
    Ok(())
}

/// The file that says which key seals.
const CURRENT: &str = "current";

/// What a key's file may end in.
const SUFFIX: &str = ".key";

const LONGEST: usize = 512;
