//! What must survive a reboot: the database `cache.redb` in the data folder.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `schema`, `generation` | number |
//! | `status` | name of a snapshot file | bytes of a status file: the packages as clients were last told of them |
//! | `transactions` | place of the log, number of the transaction in it | [`HistoryEntry`]: a version byte, then JSON |
//! | `announced` | name of a snapshot file | digests of the installed packages and of the upgrades that clients know |
//! | `cached` | text | when it expires (seconds since 1970-01-01 UTC), bytes |
//!
//! The rest of the program works without it. When the file cannot be used (another process has it, the disk is full,
//! the folder is read-only, or another user's, or others can write in it) reads find nothing, writes say why they did not happen, and it is tried again after
//! [`RETRY_INTERVAL`]. A file that is damaged or of a newer schema is renamed to `cache.redb.corrupt-<time>` or
//! `cache.redb.newer-<schema>` and a new one started; such files are never deleted. All pages are verified when the file
//! is opened, because redb trusts them when it reads, and can panic on damaged ones. Such a panic is caught, so the
//! program must not be built with `panic = "abort"`.
//!
//! Every call may block on the disk.

mod error;
mod file;
mod history;

pub use error::{StoreError, Unavailable, Warning};
pub use file::check_folder;

use crate::status::Status;
use crate::transaction::HistoryEntry;
use file::{Failure, META, Opened};
use redb::{Database, ReadableDatabase, TableDefinition, TableError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const STATUS: TableDefinition<&str, &[u8]> = TableDefinition::new("status");
const HISTORY: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("transactions");
/// Entries that do not say from which log they are, of an earlier version: they are told as nobody's.
const UNPLACED_HISTORY: TableDefinition<u64, &[u8]> = TableDefinition::new("history");
const CACHED: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("cached");
const ANNOUNCED: TableDefinition<&str, (u64, u64)> = TableDefinition::new("announced");
const GENERATION_KEY: &str = "generation";

/// How long an unusable database is left alone.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Longest value that is stored, bytes.
pub const MAX_VALUE_BYTES: usize = 4 * 1024 * 1024;
/// Most warnings kept until they are taken.
const MAX_WARNINGS: usize = 64;

/// The database. Nothing is opened before the first use.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    warnings: Vec<Warning>,
}

#[derive(Debug)]
enum Connection {
    Closed,
    Open(Opened),
    Unavailable { reason: Unavailable, since: Instant },
}

impl Store {
    /// The database in `folder`, which is created (mode 0700) when it is first needed.
    pub fn new(folder: &Path) -> Self {
        let state = State { connection: Connection::Closed, warnings: Vec::new() };
        Self { folder: folder.to_owned(), state: Mutex::new(state) }
    }

    /// Why the database could not be used the last time it was tried; `None` when it could, or was not tried yet.
    pub fn unavailable(&self) -> Option<Unavailable> {
        match &self.lock().connection {
            Connection::Unavailable { reason, .. } => Some(reason.clone()),
            Connection::Closed | Connection::Open(_) => None,
        }
    }

    /// What happened to stored data since the last call.
    pub fn take_warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut self.lock().warnings)
    }

    /// Closes the database; the next use opens it again, without waiting for [`RETRY_INTERVAL`].
    pub fn close(&self) {
        self.lock().close();
    }

    /// Generation of the last snapshot; 0 when none is known.
    pub fn generation(&self) -> u64 {
        self.read(|database| {
            let Some(meta) = existing(database.begin_read()?.open_table(META))? else {
                return Ok(None);
            };
            Ok(meta.get(GENERATION_KEY)?.map(|value| value.value()))
        })
        .unwrap_or_default()
    }

    /// # Errors
    /// When the database is not available.
    pub fn set_generation(&self, generation: u64) -> Result<(), StoreError> {
        self.write(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(META)?.insert(GENERATION_KEY, generation)?;
            Ok(transaction.commit()?)
        })
    }

    /// The digests of the packages (installed, available upgrades) that clients were last told of, by what was read.
    pub fn announced(&self, key: &str) -> Option<(u64, u64)> {
        self.read(|database| {
            let Some(table) = existing(database.begin_read()?.open_table(ANNOUNCED))? else {
                return Ok(None);
            };
            Ok(table.get(key)?.map(|value| value.value()))
        })
    }

    /// Notes what clients are being told of: the digests, and the status with its generation.
    ///
    /// # Errors
    /// When the database is not available.
    pub fn set_announced(&self, key: &str, digests: (u64, u64), status: &Status) -> Result<(), StoreError> {
        let bytes = status.encode();
        self.write(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(ANNOUNCED)?.insert(key, digests)?;
            transaction.open_table(STATUS)?.insert(key, bytes.as_slice())?;
            transaction.open_table(META)?.insert(GENERATION_KEY, status.generation)?;
            Ok(transaction.commit()?)
        })
    }

    /// The status that clients were last told of, by what was read.
    pub fn status(&self, key: &str) -> Option<Status> {
        let bytes = self.read(|database| {
            let Some(table) = existing(database.begin_read()?.open_table(STATUS))? else {
                return Ok(None);
            };
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        });
        // Bytes that are no status were written by a newer version of it: the next status replaces them.
        bytes.and_then(|bytes| Status::decode(&bytes).ok())
    }

    /// Puts entries of the log at that place into its history, each under its number and in place of what was there; one that
    /// is the same is left. One that is longer than [`MAX_VALUE_BYTES`] is left out with a warning.
    ///
    /// # Errors
    /// When the database is not available.
    pub fn put_history(&self, log: &str, entries: &[HistoryEntry]) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            let bytes = history::encode(entry)?;
            if let Err(StoreError::TooLarge { bytes, limit }) = check_length(bytes.len()) {
                self.lock().warn(Warning::LongEntry { id: entry.id, bytes, limit });
                continue;
            }
            rows.push((entry.id, bytes));
        }
        // Most of the time nothing is new, and a transaction that writes waits for the disk.
        let known = self.read(|database| {
            let Some(table) = existing(database.begin_read()?.open_table(HISTORY))? else {
                return Ok(None);
            };
            for (id, bytes) in &rows {
                if table.get((log, *id))?.is_none_or(|found| found.value() != bytes) {
                    return Ok(Some(false));
                }
            }
            Ok(Some(true))
        });
        if rows.is_empty() || known == Some(true) {
            return Ok(());
        }
        self.write(|database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(HISTORY)?;
                for (id, bytes) in &rows {
                    table.insert((log, *id), bytes.as_slice())?;
                }
            }
            transaction.delete_table(UNPLACED_HISTORY)?;
            Ok(transaction.commit()?)
        })
    }

    /// The newest entries of the history of the log at that place, newest first, at most `limit`. Entries that cannot be
    /// read, of a newer version for example, are left out with a warning.
    pub fn history(&self, log: &str, limit: usize) -> Vec<HistoryEntry> {
        let mut state = self.lock();
        let rows = state.run(&self.folder, |database| {
            let Some(table) = existing(database.begin_read()?.open_table(HISTORY))? else {
                return Ok(Vec::new());
            };
            let mut rows = Vec::new();
            let mut wanted = limit;
            for row in table.range((log, 0)..=(log, u64::MAX))?.rev() {
                if wanted == 0 {
                    break;
                }
                let (id, bytes) = row?;
                let entry = history::decode(bytes.value());
                wanted -= usize::from(entry.is_some());
                rows.push((id.value().1, entry));
            }
            Ok(rows)
        });
        let mut entries = Vec::new();
        for (id, entry) in rows.unwrap_or_default() {
            match entry {
                Some(entry) => entries.push(entry),
                None => state.warn(Warning::UnreadableEntry { id }),
            }
        }
        entries
    }

    /// The bytes stored under `key`, unless they have expired at `now` (seconds since 1970-01-01 UTC).
    pub fn cached(&self, key: &str, now: u64) -> Option<Vec<u8>> {
        self.read(|database| {
            let Some(table) = existing(database.begin_read()?.open_table(CACHED))? else {
                return Ok(None);
            };
            let value = table.get(key)?;
            Ok(value.and_then(|value| {
                let (expires, bytes) = value.value();
                (expires > now).then(|| bytes.to_vec())
            }))
        })
    }

    /// Stores `bytes` under `key` until `expires` (seconds since 1970-01-01 UTC), in place of what was there, and
    /// deletes what has expired at `now`.
    ///
    /// # Errors
    /// When the database is not available or key and bytes are longer than [`MAX_VALUE_BYTES`].
    pub fn set_cached(&self, key: &str, bytes: &[u8], expires: u64, now: u64) -> Result<(), StoreError> {
        check_length(key.len().saturating_add(bytes.len()))?;
        self.write(|database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(CACHED)?;
                table.retain(|_, (expires, _)| expires > now)?;
                table.insert(key, (expires, bytes))?;
            }
            Ok(transaction.commit()?)
        })
    }

    /// Deletes everything that was stored with [`Store::set_cached`].
    ///
    /// # Errors
    /// When the database is not available.
    pub fn clear_cached(&self) -> Result<(), StoreError> {
        self.write(|database| {
            let transaction = database.begin_write()?;
            transaction.delete_table(CACHED)?;
            Ok(transaction.commit()?)
        })
    }

    fn read<T>(&self, operation: impl Fn(&Database) -> Result<Option<T>, redb::Error>) -> Option<T> {
        self.lock().run(&self.folder, operation).ok().flatten()
    }

    fn write<T>(&self, operation: impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        Ok(self.lock().run(&self.folder, operation)?)
    }

    /// No operation leaves the state half changed, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    /// Runs an operation on the database, opening it first when necessary. When the operation finds the file damaged,
    /// the file is moved aside and the operation repeated on a new one.
    fn run<T>(
        &mut self,
        folder: &Path,
        operation: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, Unavailable> {
        let path = folder.join(file::FILE_NAME);
        let mut condemned = None;
        for _ in 0..2 {
            let opened = self.take_opened(folder, condemned.take())?;
            match file::contain(|| operation(&opened.database).map_err(|error| Failure::judge(&path, error))) {
                Ok(value) => {
                    self.connection = Connection::Open(opened);
                    return Ok(value);
                }
                Err(failure) => {
                    // After an error redb refuses everything until the file is opened anew.
                    file::close(opened.database);
                    if let Failure::Unavailable(reason) = failure {
                        return Err(self.give_up(reason));
                    }
                    condemned = Some((opened.id, failure));
                }
            }
        }
        Err(self.give_up(Unavailable::Io { path, reason: "damaged again at once".to_owned() }))
    }

    /// The open database, which the caller puts back or closes.
    fn take_opened(
        &mut self,
        folder: &Path,
        condemned: Option<(file::FileId, Failure)>,
    ) -> Result<Opened, Unavailable> {
        match std::mem::replace(&mut self.connection, Connection::Closed) {
            Connection::Open(opened) => return Ok(opened),
            Connection::Unavailable { reason, since } if since.elapsed() < RETRY_INTERVAL => {
                self.connection = Connection::Unavailable { reason: reason.clone(), since };
                return Err(reason);
            }
            Connection::Unavailable { .. } | Connection::Closed => {}
        }
        let mut warnings = Vec::new();
        let opened = file::open(folder, condemned, &mut warnings);
        for warning in warnings {
            self.warn(warning);
        }
        opened.map_err(|reason| self.give_up(reason))
    }

    fn close(&mut self) {
        if let Connection::Open(opened) = std::mem::replace(&mut self.connection, Connection::Closed) {
            file::close(opened.database);
        }
    }

    fn give_up(&mut self, reason: Unavailable) -> Unavailable {
        self.connection = Connection::Unavailable { reason: reason.clone(), since: Instant::now() };
        reason
    }

    fn warn(&mut self, warning: Warning) {
        if self.warnings.len() < MAX_WARNINGS && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// A table that was never written to holds nothing.
fn existing<T>(table: Result<T, TableError>) -> Result<Option<T>, redb::Error> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn check_length(bytes: usize) -> Result<(), StoreError> {
    if bytes > MAX_VALUE_BYTES { Err(StoreError::TooLarge { bytes, limit: MAX_VALUE_BYTES }) } else { Ok(()) }
}
