//! Token keys: a folder of files, as a mounted Secret gives them, read and followed.
//!
//! ```text
//! /etc/udp-director/keys/
//!   2026-11      64 hexadecimal digits: a key, with the id 2026-11; the name may end in `.key`
//!   2026-12      another one
//!   current      the id of the key that seals; without this file, the last by name
//!   ..data -> .. what begins with a dot is kubelet's own, and no key
//! ```
//! The folder is polled, for the reasons that the inventory's files are: what is swapped by symlink,
//! somewhere above, is seen. What is found twice in a row is at rest, and counts.

mod fault;
mod folder;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use udp_director_core::KeyRing;

pub use fault::KeysFault;

use folder::Contents;

/// A folder of keys, and the ring of its keys that is in force.
#[derive(Debug)]
pub struct KeyFolder {
    path: PathBuf,
    ring: KeyRing,
    /// What the last look found, for the next one to see whether the folder is at rest.
    seen: Found,
    /// What was told last.
    told: Found,
    next_look: Option<Instant>,
    /// A look that goes on even while nobody waits for it.
    looking: Option<JoinHandle<Found>>,
}

type Found = Result<Contents, KeysFault>;

impl KeyFolder {
    /// Reads the keys of a folder.
    ///
    /// # Errors
    /// Names the file that is wrong, or says which keys do not go together.
    pub fn open(path: impl Into<PathBuf>) -> Result<KeyFolder, KeysFault> {
        let path = path.into();
        let contents = folder::read(&path)?;
        let (ring, found) = (contents.ring.clone(), Ok(contents));
        Ok(KeyFolder { path, ring, seen: found.clone(), told: found, next_look: None, looking: None })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys in force: those of the last time that the folder was right.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// Waits until the folder holds something else, and lies still; then that is in force. Can be dropped
    /// while it waits, at no loss.
    ///
    /// # Errors
    /// As for [`KeyFolder::open`], and where the key that seals has vanished. The ring stays as it is. A
    /// fault that lasts is told once.
    pub(crate) async fn changed(&mut self) -> Result<(), KeysFault> {
        loop {
            let found = self.look().await.and_then(|found| self.check_follows(found));
            let at_rest = self.seen == found;
            self.seen = found;
            if at_rest && self.seen != self.told {
                self.told = self.seen.clone();
                self.ring = self.told.clone()?.ring;
                return Ok(());
            }
        }
    }

    async fn look(&mut self) -> Found {
        let looking = match &mut self.looking {
            Some(looking) => looking,
            none => {
                sleep_until(*self.next_look.get_or_insert_with(|| Instant::now() + LOOK_INTERVAL)).await;
                let path = self.path.clone();
                none.insert(spawn_blocking(move || folder::read(&path)))
            }
        };
        let found = looking.await;
        (self.next_look, self.looking) = (None, None);
        found.unwrap_or_else(|stopped| Err(KeysFault::unreadable(&self.path, &stopped.to_string())))
    }

    /// To go back to an older key is a decision; that the newer one is not there is none.
    fn check_follows(&self, found: Contents) -> Found {
        let (before, now) = (self.ring.current().id(), found.ring.current().id());
        let goes_back = !found.ring.has(before) && self.ring.has(now);
        if goes_back && !found.is_named {
            return Err(KeysFault::Vanished(before.to_owned()));
        }
        Ok(found)
    }
}

const LOOK_INTERVAL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
