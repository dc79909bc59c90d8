//! The files of the log: appending, reading, verifying.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{Entry, Record};
use crate::transaction::Digest;

const LOG: &str = "audit.jsonl";
const HEAD: &str = "audit.head";
/// What writers lock.
const LOCK: &str = "audit.lock";

/// A writer is done with both files long before.
const WRITERS_TURN: Duration = Duration::from_millis(500);

/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 64 << 20;
/// The longest entry that is written, in bytes: with its hash around it far below what is read. Everything that a large
/// installation has can be changed at once in less.
const MAX_ENTRY: usize = 16 << 20;

/// Who may read a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    Owner,
    Everyone,
}

/// A log in a folder of its own.
#[derive(Debug)]
pub struct AuditLog {
    folder: PathBuf,
    readers: Readers,
}

/// Why the log cannot be used.
#[derive(Debug, Error)]
pub enum AuditError {
    #[error("cannot use {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} belongs to another user or can be written by others: it is not used", path.display())]
    Exposed { path: PathBuf },
    /// A log that was tampered with is left as it is.
    #[error("{}, {finding}; `omg audit verify` tells more", path.display())]
    Damaged { path: PathBuf, finding: Finding },
    #[error("an entry cannot be put into words: {0}")]
    Encode(serde_json::Error),
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Finding {
    #[error("line {line} is no entry")]
    Unreadable { line: u64 },
    #[error("line {line}: the entry was changed")]
    Changed { line: u64 },
    /// Something was taken out, put in or moved before it.
    #[error("line {line}: the entry does not follow the one before it")]
    OutOfOrder { line: u64 },
    #[error("the log ends with entry {last}, entry {head} is missing")]
    Truncated { last: u64, head: u64 },
    #[error("entry {head} is not the one that was written last")]
    Replaced { head: u64 },
    #[error("the note of the last entry is missing or unreadable")]
    NoHead,
}

/// A log in which nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verified {
    pub entries: u64,
    pub hash: Digest,
    /// Bytes at the end that are no whole entry: a writer was interrupted, or writes now.
    pub torn: u64,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    hash: Digest,
    #[serde(borrow)]
    entry: &'a RawValue,
}

/// The last entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Head {
    number: u64,
    hash: Digest,
    /// Of the log up to its end, in bytes.
    length: u64,
}

/// What a walk over the log found.
#[derive(Debug, Default)]
struct Walked {
    head: Head,
    /// Bytes behind the last whole entry.
    torn: u64,
}

impl AuditLog {
    /// The log in `folder`, which is made when first written to.
    pub fn new(folder: &Path, readers: Readers) -> Self {
        Self { folder: folder.to_owned(), readers }
    }

    /// Appends what happened; the entry's number.
    ///
    /// # Errors
    /// When it cannot be written, or the log's end was tampered with.
    pub fn append(&self, record: &Record) -> Result<u64, AuditError> {
        let (folder_mode, file_mode) = match self.readers {
            Readers::Owner => (0o700, 0o600),
            Readers::Everyone => (0o755, 0o644),
        };
        let folder = fs::DirBuilder::new().recursive(true).mode(folder_mode).create(&self.folder);
        folder.map_err(|error| self.failed(&self.folder, error))?;
        self.check_owner(&self.folder, &fs::symlink_metadata(&self.folder))?;
        let path = self.folder.join(LOG);
        let mut log = open(File::options().read(true).append(true).create(true).mode(file_mode), &path)
            .map_err(|error| self.failed(&path, error))?;
        self.check_owner(&path, &log.metadata())?;
        // Not the log itself: whoever may read a file may lock it, and could keep every writer waiting.
        let lock_path = self.folder.join(LOCK);
        let lock = open(File::options().read(true).append(true).create(true).mode(0o600), &lock_path)
            .map_err(|error| self.failed(&lock_path, error))?;
        self.check_owner(&lock_path, &lock.metadata())?;
        // Released when the file is closed.
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| self.failed(&lock_path, error.into()))?;

        let damaged = |finding| AuditError::Damaged { path: path.clone(), finding };
        // What is noted was checked when it was written, and is for `verify` to check again.
        let from = self.read_head().unwrap_or_default();
        let length = log.metadata().map_err(|error| self.failed(&path, error))?.len();
        if length < from.length {
            return Err(damaged(Finding::Truncated { last: 0, head: from.number }));
        }
        let Walked { head: last, torn } =
            walk(&mut log, from, |_| {}).map_err(|error| self.failed(&path, error))?.map_err(damaged)?;
        if from.number == 0 && last.number > 1 {
            return Err(damaged(Finding::NoHead));
        }
        if torn > 0 {
            log.set_len(last.length).map_err(|error| self.failed(&path, error))?;
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (number, previous) = (last.number + 1, last.hash);
        let mut entry = Entry { number, time, previous, record: record.clone(), torn, omitted: 0 };
        let mut text = serde_json::to_string(&entry).map_err(AuditError::Encode)?;
        while text.len() > MAX_ENTRY && entry.shorten() {
            text = serde_json::to_string(&entry).map_err(AuditError::Encode)?;
        }
        let hash = Digest::of(text.as_bytes());
        let entry = RawValue::from_string(text).map_err(AuditError::Encode)?;
        let mut line = serde_json::to_vec(&Line { hash, entry: &entry }).map_err(AuditError::Encode)?;
        line.push(b'\n');
        log.write_all(&line).and_then(|()| log.sync_data()).map_err(|error| self.failed(&path, error))?;
        self.write_head(Head { number, hash, length: last.length + line.len() as u64 }, file_mode)?;
        Ok(number)
    }

    /// The newest entries, oldest first, at most `limit`; none where there is no log.
    ///
    /// # Errors
    /// When the log cannot be read, or what is no entry is in the way.
    pub fn read(&self, limit: usize) -> Result<Vec<Entry>, AuditError> {
        self.read_where(limit, |_| true)
    }

    /// As [`AuditLog::read`], of the entries that `wanted` accepts.
    ///
    /// # Errors
    /// As [`AuditLog::read`].
    pub fn read_where(&self, limit: usize, wanted: impl Fn(&Record) -> bool) -> Result<Vec<Entry>, AuditError> {
        let path = self.folder.join(LOG);
        let Some(mut log) = self.open_existing(&path)? else { return Ok(Vec::new()) };
        let mut newest = std::collections::VecDeque::new();
        let walked = walk(&mut log, Head::default(), |entry| {
            if !wanted(&entry.record) {
                return;
            }
            if newest.len() == limit {
                newest.pop_front();
            }
            newest.push_back(entry);
        });
        walked.map_err(|error| self.failed(&path, error))?.map_err(|finding| AuditError::Damaged { path, finding })?;
        newest.truncate(limit);
        Ok(newest.into())
    }

    /// Checks every entry, the chain that they form, and that the last one is there.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn verify(&self) -> Result<Result<Verified, Finding>, AuditError> {
        // A writer must not be half-way between the log and the note of its end. Whoever cannot keep writers out looks again.
        let lock = open(File::options().read(true), &self.folder.join(LOCK)).ok();
        if let Some(lock) = &lock {
            let path = self.folder.join(LOCK);
            flock(lock, FlockOperation::LockShared).map_err(|error| self.failed(&path, error.into()))?;
        }
        let found = self.verify_as_it_is()?;
        if found.is_err() && lock.is_none() {
            std::thread::sleep(WRITERS_TURN);
            return self.verify_as_it_is();
        }
        Ok(found)
    }

    fn verify_as_it_is(&self) -> Result<Result<Verified, Finding>, AuditError> {
        let path = self.folder.join(LOG);
        let Some(mut log) = self.open_existing(&path)? else {
            // Without entries there is nothing to note; a note without entries tells that they are gone.
            return Ok(match self.read_head() {
                Some(Head { number, .. }) if number > 0 => Err(Finding::Truncated { last: 0, head: number }),
                _ => Ok(Verified::default()),
            });
        };
        let walked = match walk(&mut log, Head::default(), |_| {}).map_err(|error| self.failed(&path, error))? {
            Ok(walked) => walked,
            Err(finding) => return Ok(Err(finding)),
        };
        let compared = self.compare(&walked, &mut log).map_err(|error| self.failed(&path, error))?;
        let verified = Verified { entries: walked.head.number, hash: walked.head.hash, torn: walked.torn };
        Ok(compared.map(|()| verified))
    }

    /// Compares a sound log with the note of its last entry.
    fn compare(&self, walked: &Walked, log: &mut File) -> io::Result<Result<(), Finding>> {
        let last = walked.head.number;
        let head = match self.read_head() {
            Some(head) => head,
            // The very first entry was written, its note was not.
            None if last <= 1 => return Ok(Ok(())),
            None => return Ok(Err(Finding::NoHead)),
        };
        if head.number > last {
            return Ok(Err(Finding::Truncated { last, head: head.number }));
        }
        let mut found = (head.number == 0).then(Digest::default);
        if head.number == last {
            found = Some(walked.head.hash);
        } else {
            // Each entry names the hash of the one before it.
            let _ = walk(log, Head::default(), |entry| {
                if entry.number == head.number + 1 {
                    found = Some(entry.previous);
                }
            })?;
        }
        Ok(if found == Some(head.hash) { Ok(()) } else { Err(Finding::Replaced { head: head.number }) })
    }

    fn read_head(&self) -> Option<Head> {
        let mut text = String::new();
        open(File::options().read(true), &self.folder.join(HEAD)).ok()?.take(1024).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The note is replaced as a whole. After a crash it may be the one before: the log tells what follows.
    fn write_head(&self, head: Head, mode: u32) -> Result<(), AuditError> {
        let path = self.folder.join(HEAD);
        let written = (|| {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            let mut file =
                tempfile::Builder::new().prefix(".head-").permissions(permissions).tempfile_in(&self.folder)?;
            serde_json::to_writer(file.as_file_mut(), &head)?;
            file.as_file().sync_data()?;
            let is_first = path.symlink_metadata().is_err();
            file.persist(&path).map_err(|error| error.error)?;
            // The names of both files, once: replacing the note changes nothing that must not be lost.
            if is_first { File::open(&self.folder)?.sync_all() } else { Ok(()) }
        })();
        written.map_err(|error| self.failed(&path, error))
    }

    fn open_existing(&self, path: &Path) -> Result<Option<File>, AuditError> {
        match open(File::options().read(true), path) {
            Ok(log) => Ok(Some(log)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(path, error)),
        }
    }

    /// What others may change proves nothing.
    fn check_owner(&self, path: &Path, found: &io::Result<fs::Metadata>) -> Result<(), AuditError> {
        let path = path.to_owned();
        match found {
            Ok(found) if found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0 => Ok(()),
            Ok(_) => Err(AuditError::Exposed { path }),
            Err(error) => Err(AuditError::Io { path, error: io::Error::from(error.kind()) }),
        }
    }

    fn failed(&self, path: &Path, error: io::Error) -> AuditError {
        AuditError::Io { path: path.to_owned(), error }
    }
}

/// Opens a file that must not be a link.
fn open(options: &mut fs::OpenOptions, path: &Path) -> io::Result<File> {
    options.custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path)
}

/// Walks over the whole entries behind `from` in their order, and checks each against its hash and the one before.
fn walk(log: &mut File, from: Head, mut visit: impl FnMut(Entry)) -> io::Result<Result<Walked, Finding>> {
    log.seek(SeekFrom::Start(from.length))?;
    let mut reader = BufReader::new(log);
    let mut walked = Walked { head: from, torn: 0 };
    let mut line = Vec::new();
    loop {
        line.clear();
        let number = walked.head.number + 1;
        let length = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
        if line.last() != Some(&b'\n') {
            if length == MAX_LINE {
                return Ok(Err(Finding::Unreadable { line: number }));
            }
            walked.torn = length;
            return Ok(Ok(walked));
        }
        let Ok(Line { hash, entry }) = serde_json::from_slice(&line) else {
            return Ok(Err(Finding::Unreadable { line: number }));
        };
        if Digest::of(entry.get().as_bytes()) != hash {
            return Ok(Err(Finding::Changed { line: number }));
        }
        let Ok(entry) = serde_json::from_str::<Entry>(entry.get()) else {
            return Ok(Err(Finding::Unreadable { line: number }));
        };
        if entry.number != number || entry.previous != walked.head.hash {
            return Ok(Err(Finding::OutOfOrder { line: number }));
        }
        walked.head = Head { number, hash, length: walked.head.length + length };
        visit(entry);
    }
}
