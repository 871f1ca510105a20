//! The store: rows of bytes in tables, written in transactions.

use std::io;
use std::panic::catch_unwind;
use std::path::Path;

use redb::{
    AccessGuard, Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    WriteTransaction,
};

use super::file::{Unsynced, copy};

/// The form of the rows. One with a higher number is read as far as it goes.
pub(super) const FORMAT: u64 = 1;

/// What the store itself keeps in memory.
const CACHE_BYTES: usize = 16 << 20;

const FORMATS: TableDefinition<'_, (), u64> = TableDefinition::new("format");
const BACKENDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("backends");
const WANTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("wants");
const SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sessions");
const TOKENS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("tokens");
const STICKY: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sticky");

/// A row: its key and its bytes. In a batch, no bytes mean that the row is to go.
#[derive(Debug)]
pub(super) struct Row<K>(pub(super) K, pub(super) Option<Vec<u8>>);

/// Rows of every table.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) format: u64,
    pub(super) backends: Vec<Row<u64>>,
    pub(super) wants: Vec<Row<u64>>,
    pub(super) sessions: Vec<Row<u64>>,
    pub(super) tokens: Vec<Row<u64>>,
    pub(super) sticky: Vec<Row<String>>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        let numbered = self.backends.len() + self.wants.len() + self.sessions.len();
        numbered + self.tokens.len() + self.sticky.len()
    }
}

/// Why rows cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error(transparent)]
    Redb(#[from] Box<redb::Error>),
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The store found its own bytes to be impossible.
    #[error("its structure is damaged")]
    Damaged,
}

fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Redb(Box::new(error.into()))
}

/// A store that is written.
#[derive(Debug)]
pub(super) struct Store(Database);

impl Store {
    /// An empty store in a file at that path; one that is there is emptied.
    pub(super) fn create(path: &Path) -> Result<Store, StoreError> {
        let mut builder = Database::builder();
        let builder = builder.set_cache_size(CACHE_BYTES);
        let database = builder.create_with_backend(Unsynced::create(path)?).map_err(failed)?;
        let store = Store(database);
        store.write(&Rows { format: FORMAT, ..Rows::default() })?;
        Ok(store)
    }

    /// Writes rows in one transaction: all of them are there afterwards, or none.
    pub(super) fn write(&self, rows: &Rows) -> Result<(), StoreError> {
        let transaction = self.0.begin_write().map_err(failed)?;
        if rows.format > 0 {
            let mut formats = transaction.open_table(FORMATS).map_err(failed)?;
            formats.insert((), rows.format).map_err(failed)?;
        }
        put_numbered(&transaction, BACKENDS, &rows.backends)?;
        put_numbered(&transaction, WANTS, &rows.wants)?;
        put_numbered(&transaction, SESSIONS, &rows.sessions)?;
        put_numbered(&transaction, TOKENS, &rows.tokens)?;
        put_named(&transaction, STICKY, &rows.sticky)?;
        transaction.commit().map_err(failed)
    }
}

fn put_numbered(
    transaction: &WriteTransaction,
    table: TableDefinition<'_, u64, &[u8]>,
    rows: &[Row<u64>],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(table).map_err(failed)?;
    for Row(key, row) in rows {
        match row {
            Some(row) => drop(table.insert(key, row.as_slice()).map_err(failed)?),
            None => drop(table.remove(key).map_err(failed)?),
        }
    }
    Ok(())
}

fn put_named(
    transaction: &WriteTransaction,
    table: TableDefinition<'_, &str, &[u8]>,
    rows: &[Row<String>],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(table).map_err(failed)?;
    for Row(key, row) in rows {
        match row {
            Some(row) => drop(table.insert(key.as_str(), row.as_slice()).map_err(failed)?),
            None => drop(table.remove(key.as_str()).map_err(failed)?),
        }
    }
    Ok(())
}

/// Everything that is in the store whose file has these bytes.
///
/// # Errors
/// They are no such file, or damaged so that the store gives up.
pub(super) fn read(bytes: &[u8]) -> Result<Rows, StoreError> {
    // The store checks what it reads, and where its own structure is impossible, it panics.
    catch_unwind(|| read_all(bytes)).unwrap_or(Err(StoreError::Damaged))
}

fn read_all(bytes: &[u8]) -> Result<Rows, StoreError> {
    let database = Database::builder().create_with_backend(copy(bytes)?).map_err(failed)?;
    let transaction = database.begin_read().map_err(failed)?;
    let format = match transaction.open_table(FORMATS) {
        Ok(formats) => formats.get(()).map_err(failed)?.map_or(0, |format| format.value()),
        Err(TableError::TableDoesNotExist(_)) => 0,
        Err(error) => return Err(failed(error)),
    };
    Ok(Rows {
        format,
        backends: numbered(&transaction, BACKENDS)?,
        wants: numbered(&transaction, WANTS)?,
        sessions: numbered(&transaction, SESSIONS)?,
        tokens: numbered(&transaction, TOKENS)?,
        sticky: named(&transaction, STICKY)?,
    })
}

fn numbered(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, u64, &[u8]>,
) -> Result<Vec<Row<u64>>, StoreError> {
    let table = match transaction.open_table(table) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let rows = table.iter().map_err(failed)?;
    rows.map(|row| row.map(|(key, row)| Row(key.value(), Some(row.value().to_vec()))).map_err(failed))
        .collect()
}

fn named(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, &str, &[u8]>,
) -> Result<Vec<Row<String>>, StoreError> {
    let table = match transaction.open_table(table) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let rows = table.iter().map_err(failed)?;
    let owned = |row: Result<(AccessGuard<'_, &str>, AccessGuard<'_, &[u8]>), redb::StorageError>| {
        let (key, row) = row.map_err(failed)?;
        Ok(Row(key.value().to_owned(), Some(row.value().to_vec())))
    };
    rows.map(owned).collect()
}
