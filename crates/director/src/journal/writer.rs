//! The writer: a thread that follows the ledger and puts what has changed into the store.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info};
use udp_director_core::{Changes, SessionId, SharedLedger, StickyKey, TokenRecord};
use udp_director_dataplane::Clock;
use udp_director_wire::Token;

use super::Files;
use super::digest::stand_in_for;
use super::form::{SessionForm, StickyForm, Today, TokenForm};
use super::names::Names;
use super::status::JournalStatus;
use super::store::{Row, Rows, Store, StoreError};

/// From one look at the ledger to the next. A transaction of a busy director takes about as long again,
/// and both together are what `kill -9` can lose.
const INTERVAL: Duration = Duration::from_millis(40);

/// How long a store that cannot be written is left alone.
const RETRY: Duration = Duration::from_secs(5);

/// How many records are taken under one lock of the ledger: some tens of microseconds.
const CHUNK: usize = 128;

/// How large the file may grow before it is written anew: so much, and so much more for each session and
/// token.
const ROOM_BYTES: u64 = 32 << 20;
const ROOM_BYTES_EACH: u64 = 1024;

/// After how many looks the size of the file is looked at.
const LOOKS: u32 = 256;

/// Follows the ledger. Lives on a thread of its own.
#[derive(Debug)]
pub(super) struct Writer {
    files: Files,
    ledger: Arc<SharedLedger>,
    clock: Clock,
    status: Arc<JournalStatus>,
    /// `None` until everything has been written anew.
    store: Option<Store>,
    names: Names,
    again_at: Instant,
    looks: u32,
}

/// A writer that runs.
#[derive(Debug)]
pub(crate) struct Following {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
    _lock: File,
}

impl Following {
    pub(super) fn start(writer: Writer, lock: File) -> io::Result<Following> {
        let (stop, stopped) = sync_channel(0);
        let thread =
            std::thread::Builder::new().name("journal".into()).spawn(move || writer.run(&stopped))?;
        Ok(Following { stop, thread, _lock: lock })
    }

    /// Writes what is still to be written, and ends.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            error!("the journal's thread had panicked");
        }
    }
}

impl Writer {
    pub(super) fn new(
        files: Files,
        ledger: Arc<SharedLedger>,
        clock: Clock,
        status: Arc<JournalStatus>,
    ) -> Writer {
        let (store, names, again_at, looks) = (None, Names::default(), Instant::now(), 0);
        Writer { files, ledger, clock, status, store, names, again_at, looks }
    }

    fn run(mut self, stopped: &Receiver<()>) {
        self.ledger.lock().follow_changes();
        let mut next = Instant::now();
        loop {
            let stops = stopped.recv_timeout(next.saturating_duration_since(Instant::now()))
                == Err(RecvTimeoutError::Disconnected);
            next = Instant::now() + INTERVAL;
            self.look();
            if stops {
                return;
            }
        }
    }

    /// Writes what has changed; everything, where that is not known or the file has grown too large.
    fn look(&mut self) {
        let changes = self.ledger.lock().take_changes();
        let outcome = match self.store.is_some() {
            true if changes.incomplete || self.is_too_large() => self.write_anew(),
            true => self.write(changes),
            false if Instant::now() >= self.again_at => self.write_anew(),
            false => return,
        };
        match outcome {
            Ok(()) if self.status.fails(false) => info!("the journal is written again"),
            Ok(()) => {}
            Err(fault) => {
                // What the store has done so far stays in the file, which is sound up to there.
                (self.store, self.again_at) = (None, Instant::now() + RETRY);
                if !self.status.fails(true) {
                    error!(%fault, "the journal cannot be written: a restart would lose what is new");
                }
            }
        }
    }

    fn is_too_large(&mut self) -> bool {
        self.looks = (self.looks + 1) % LOOKS;
        if self.looks != 0 {
            return false;
        }
        let ledger = self.ledger.lock();
        let alive = ledger.session_count() + ledger.token_count();
        drop(ledger);
        self.file_bytes() > ROOM_BYTES + ROOM_BYTES_EACH * alive as u64
    }

    fn file_bytes(&self) -> u64 {
        fs::metadata(self.files.current()).map_or(0, |file| file.len())
    }

    fn write(&mut self, changes: Changes) -> Result<(), StoreError> {
        let rows = self.rows(changes);
        if rows.len() == 0 {
            return Ok(());
        }
        if let Some(store) = &self.store {
            store.write(&rows)?;
        }
        self.status.wrote(rows.len(), self.file_bytes());
        Ok(())
    }

    /// Writes everything into a new file, which then takes the old one's place.
    fn write_anew(&mut self) -> Result<(), StoreError> {
        self.names = Names::default();
        let everything = {
            let ledger = self.ledger.lock();
            Changes {
                sessions: ledger.session_ids().collect(),
                tokens: ledger.known_tokens(),
                sticky_keys: ledger.resting_sticky_keys(),
                incomplete: false,
            }
        };
        let rows = self.rows(everything);
        let fresh = self.files.fresh();
        let written = Store::create(&fresh).and_then(|store| {
            store.write(&rows)?;
            fs::rename(&fresh, self.files.current())?;
            Ok(store)
        });
        // It is this process's own, and of no use to anyone.
        self.store = Some(written.inspect_err(|_| drop(fs::remove_file(&fresh)))?);
        self.status.rewrote();
        self.status.wrote(rows.len(), self.file_bytes());
        Ok(())
    }

    /// What the ledger has to say of what has changed: its row, or that there is none any more.
    fn rows(&mut self, changes: Changes) -> Rows {
        let today = Today { moment: self.clock.now(), time: SystemTime::now() };
        let mut rows = Rows::default();
        for chunk in once(changes.sessions).chunks(CHUNK) {
            self.session_rows(chunk, &mut rows);
        }
        for chunk in once(changes.tokens).chunks(CHUNK) {
            self.token_rows(chunk, &today, &mut rows);
        }
        for chunk in changes.sticky_keys.chunks(CHUNK) {
            self.sticky_rows(chunk, &today, &mut rows);
        }
        rows
    }

    fn session_rows(&mut self, ids: &[SessionId], rows: &mut Rows) {
        let ledger = self.ledger.lock();
        let records: Vec<_> = ids.iter().map(|id| ledger.session_record(*id)).collect();
        drop(ledger);
        for (id, record) in ids.iter().zip(records) {
            let row = record.map(|record| {
                let backend = self.names.backend(&record.backend, rows);
                let token = record.token.map(|token| self.names.token(stand_in_for(&token)));
                SessionForm::to_bytes(&record, backend, token)
            });
            rows.sessions.push(Row(id.0, row));
        }
    }

    fn token_rows(&mut self, tokens: &[Token], today: &Today, rows: &mut Rows) {
        let ledger = self.ledger.lock();
        let records: Vec<_> = tokens.iter().map(|token| ledger.token_record(token)).collect();
        drop(ledger);
        for (token, record) in tokens.iter().zip(records) {
            let stand_in = stand_in_for(token);
            let Some(record) = record else {
                rows.tokens.extend(self.names.forget_token(&stand_in).map(|number| Row(number, None)));
                continue;
            };
            let record = TokenRecord { token: stand_in, ..record };
            let backend = self.names.backend(&record.backend, rows);
            let wanted = record.wanted.as_ref().and_then(|wanted| self.names.want(&wanted.text, rows));
            let row = TokenForm::to_bytes(&record, backend, wanted, today);
            rows.tokens.push(Row(self.names.token(stand_in), Some(row)));
        }
    }

    fn sticky_rows(&mut self, keys: &[StickyKey], today: &Today, rows: &mut Rows) {
        let ledger = self.ledger.lock();
        let records: Vec<_> = keys.iter().map(|key| ledger.sticky_record(key)).collect();
        drop(ledger);
        for (key, record) in keys.iter().zip(records) {
            let row = record.map(|record| StickyForm::to_bytes(&record, today));
            rows.sticky.push(Row(key.text().to_owned(), row));
        }
    }
}

/// Each of them once.
fn once<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort_unstable();
    all.dedup();
    all
}
