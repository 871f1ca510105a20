//! Watches one file, by polling.
//!
//! Polling beats inotify here. A file is replaced in many ways: written in place, by rename over it,
//! or, as kubelet does with a ConfigMap, by swapping a symlink some directories above. inotify watches
//! inodes, so it takes a watch on every directory and link on the way, each set anew at every change,
//! with a race at each, and it says nothing on network file systems. A `stat` follows the whole path
//! anew each time and costs microseconds.

use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

/// Watches one file, however it is replaced.
///
/// The file has at most [`FileWatch::MAX_BYTES`] and is UTF-8.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    /// What the last poll saw, for the next one to see whether the file is at rest.
    polled: Option<Stamp>,
    /// What was read and reported last; `None` before that, and after a failure was reported.
    read: Option<Reading>,
    /// The failure that was reported last and still lasts.
    failed: Option<io::ErrorKind>,
    next_poll: Option<Instant>,
    /// A poll that goes on even while nobody waits for it: a large file on a slow disk takes longer
    /// than some have time.
    polling: Option<JoinHandle<io::Result<Poll>>>,
}

/// What `stat` says of a file; another one when the file was replaced or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    modified: SystemTime,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    stamp: Stamp,
    /// When the reading began.
    at: SystemTime,
    digest: u64,
}

#[derive(Debug)]
enum Poll {
    /// The file is what was read last.
    Same,
    /// The file was written a moment ago, or right now.
    Unsettled(Stamp),
    /// The file has been read, and is at rest.
    Read(Reading, String),
}

impl FileWatch {
    /// The largest file that is read: 64 MiB.
    pub const MAX_BYTES: u64 = 64 << 20;

    /// Watches that path, in which every part may be a symlink.
    pub fn new(path: impl Into<PathBuf>) -> FileWatch {
        FileWatch {
            path: path.into(),
            polled: None,
            read: None,
            failed: None,
            next_poll: None,
            polling: None,
        }
    }

    /// The path that is watched.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file now. What it reads is not reported again by [`FileWatch::changed`].
    ///
    /// # Errors
    /// The file cannot be read, is larger than [`FileWatch::MAX_BYTES`] or is not UTF-8.
    pub fn read(&mut self) -> io::Result<String> {
        match read_file(&self.path) {
            Ok((reading, text)) => {
                self.note(reading);
                Ok(text)
            }
            Err(error) => {
                self.note_failure(&error);
                Err(error)
            }
        }
    }

    /// Waits until the file reads other than when it was last reported, and lies still for 200 ms, so
    /// that one that is just being written is not taken for the whole. After a failure the next text
    /// is reported even if it is the one from before. Can be dropped while it waits, at no loss.
    ///
    /// # Errors
    /// As for [`FileWatch::read`]. A failure that lasts is reported once.
    pub async fn changed(&mut self) -> io::Result<String> {
        loop {
            let outcome = self.poll().await;
            match outcome {
                Ok(Poll::Same) => {}
                Ok(Poll::Unsettled(stamp)) => self.polled = Some(stamp),
                Ok(Poll::Read(reading, text)) => {
                    let known = self.read.is_some_and(|read| read.digest == reading.digest);
                    self.note(reading);
                    if !known {
                        return Ok(text);
                    }
                }
                Err(error) => {
                    let lasting = self.failed == Some(error.kind());
                    self.note_failure(&error);
                    if !lasting {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn poll(&mut self) -> io::Result<Poll> {
        let polling = match &mut self.polling {
            Some(polling) => polling,
            none => {
                let due = *self.next_poll.get_or_insert_with(|| Instant::now() + POLL_INTERVAL);
                tokio::time::sleep_until(due).await;
                let (path, polled, read) = (self.path.clone(), self.polled, self.read);
                none.insert(spawn_blocking(move || poll(&path, polled, read)))
            }
        };
        let outcome = polling.await;
        (self.next_poll, self.polling) = (None, None);
        outcome.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
    }

    fn note(&mut self, reading: Reading) {
        self.polled = Some(reading.stamp);
        self.read = Some(reading);
        self.failed = None;
    }

    fn note_failure(&mut self, error: &io::Error) {
        self.polled = None;
        self.read = None;
        self.failed = Some(error.kind());
    }
}

impl Stamp {
    fn new(metadata: &Metadata) -> io::Result<Stamp> {
        Ok(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: metadata.modified()?,
            bytes: metadata.size(),
        })
    }
}

impl Reading {
    /// Whether a file with that stamp holds for certain what was read. A file system's clock ticks
    /// every few milliseconds, on some every two seconds: a file that had been written just before it
    /// was read can have been written again with the same stamp.
    fn is_of(&self, stamp: Stamp) -> bool {
        let since = self.at.duration_since(stamp.modified).unwrap_or_else(|future| future.duration());
        self.stamp == stamp && since > COARSEST_TICK
    }
}

fn poll(path: &Path, polled: Option<Stamp>, read: Option<Reading>) -> io::Result<Poll> {
    let stamp = stat(path)?;
    if read.is_some_and(|read| read.is_of(stamp)) {
        return Ok(Poll::Same);
    }
    if polled != Some(stamp) {
        return Ok(Poll::Unsettled(stamp));
    }
    let (reading, text) = read_file(path)?;
    if reading.stamp != stamp {
        return Ok(Poll::Unsettled(reading.stamp));
    }
    Ok(Poll::Read(reading, text))
}

fn stat(path: &Path) -> io::Result<Stamp> {
    fs::metadata(path).and_then(|metadata| Stamp::new(&metadata)).map_err(|error| at(path, &error))
}

fn read_file(path: &Path) -> io::Result<(Reading, String)> {
    read_bounded(path).map_err(|error| at(path, &error))
}

/// The stamp is taken after the last byte: one that was taken before could be that of an older text.
fn read_bounded(path: &Path) -> io::Result<(Reading, String)> {
    let read_at = SystemTime::now();
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    check_size(metadata.len())?;
    let mut file = File::open(path)?;
    let mut text = String::new();
    let bytes = (&mut file).take(FileWatch::MAX_BYTES + 1).read_to_string(&mut text)?;
    check_size(bytes as u64)?;
    let stamp = Stamp::new(&file.metadata()?)?;
    Ok((Reading { stamp, at: read_at, digest: digest(&text) }, text))
}

fn check_size(bytes: u64) -> io::Result<()> {
    if bytes > FileWatch::MAX_BYTES {
        let problem = format!("it has more than {} MiB", FileWatch::MAX_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(())
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// FAT keeps times to two seconds.
const COARSEST_TICK: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
