//! The journal: what a director leaves behind for the next one, so that a restart loses nobody.
//!
//! ```text
//!  Ledger --what has changed--> Writer (a thread, every 40 ms) --one transaction--> sessions.redb
//!  sessions.redb --read once, at the start--> Left --> Ledger, Workers
//! ```
//! It is written behind the data path, never on it: a worker notes the number of a session that has
//! changed, and everything else is done here. It is safe against the end of the process at any moment,
//! since what has been written is with the kernel; a host that ends takes its players along, so nothing
//! waits for a disk.
//!
//! | file | what it is |
//! |---|---|
//! | `sessions.redb` | sessions, tokens (as digests) and what belongs to them |
//! | `sessions.new` | the same, being written anew |
//! | `sessions.unreadable-N` | one that could not be read, or not as a whole; never deleted |
//! | `lock` | held by the process that writes |

mod digest;
mod file;
mod form;
mod left;
mod names;
mod status;
mod store;
mod writer;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{error, info, warn};
use udp_director_core::SharedLedger;
use udp_director_dataplane::Clock;

pub(crate) use digest::stand_in_for;
pub(crate) use left::Left;
pub(crate) use status::JournalStatus;
pub(crate) use writer::Following;

use writer::Writer;

/// A journal's folder, taken by this process.
#[derive(Debug)]
pub(crate) struct Journal {
    files: Files,
    status: Arc<JournalStatus>,
    /// Held for the life of the process; `None` where it cannot be had, and nothing is written.
    lock: Option<File>,
}

/// Where the files are.
#[derive(Clone, Debug)]
struct Files(PathBuf);

impl Files {
    fn current(&self) -> PathBuf {
        self.0.join("sessions.redb")
    }

    fn fresh(&self) -> PathBuf {
        self.0.join("sessions.new")
    }

    fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Sets the journal aside under a name that none has.
    fn set_aside(&self) -> io::Result<PathBuf> {
        let free = (1_u32..).map(|n| self.0.join(format!("sessions.unreadable-{n}")));
        let aside = free.into_iter().find(|path| !path.exists()).expect("fewer than 2^32 files");
        fs::rename(self.current(), &aside)?;
        Ok(aside)
    }
}

impl Journal {
    /// Takes the folder, and makes it where there is none. One that cannot be had is reported, and the
    /// director does without.
    pub(crate) fn take(dir: &Path, status: Arc<JournalStatus>) -> Journal {
        let files = Files(dir.to_owned());
        let lock = lock(&files).inspect_err(|fault| {
            error!(dir = %dir.display(), %fault, "the journal cannot be written: a restart would lose sessions");
            status.fails(true);
        });
        Journal { files, status, lock: lock.ok() }
    }

    /// What a process before this one has left. Nothing that is wrong with it keeps this one from
    /// starting. Takes time: some seconds for a million sessions.
    pub(crate) fn read(&self) -> Left {
        let path = self.files.current();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Left::default(),
            Err(error) => {
                error!(file = %path.display(), %error, "the journal cannot be read: its sessions are lost");
                return Left::default();
            }
        };
        let left = match store::read(&bytes) {
            Ok(rows) => Left::from(rows),
            Err(fault) => {
                error!(file = %path.display(), %fault, "the journal is unreadable: its sessions are lost");
                Left::unreadable()
            }
        };
        if left.unreadable > 0 || left.is_newer {
            self.keep_what_is_unread(&left);
        }
        left
    }

    fn keep_what_is_unread(&self, left: &Left) {
        if self.lock.is_none() {
            return;
        }
        match self.files.set_aside() {
            Ok(aside) => {
                let (unreadable, newer) = (left.unreadable, left.is_newer);
                warn!(kept = %aside.display(), unreadable, newer, "the journal was not read as a whole, and is kept");
            }
            Err(error) => error!(%error, "the journal was not read as a whole, and cannot be set aside"),
        }
    }

    /// Follows the ledger from now on: at first everything is written anew, and then what changes.
    /// `None` where nothing can be written.
    pub(crate) fn follow(self, ledger: &Arc<SharedLedger>, clock: Clock) -> io::Result<Option<Following>> {
        let Some(lock) = self.lock else { return Ok(None) };
        info!(dir = %self.files.0.display(), "the journal follows");
        let writer = Writer::new(self.files, Arc::clone(ledger), clock, self.status);
        Following::start(writer, lock).map(Some)
    }
}

fn lock(files: &Files) -> io::Result<File> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&files.0)?;
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(files.lock())?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(io::Error::other("another process has it")),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests;
