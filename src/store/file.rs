//! Opening the database file, and getting a bad one out of the way.

use super::{Unavailable, Warning};
use redb::{Database, ReadableDatabase, TableDefinition, TableError, TableHandle};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) const FILE_NAME: &str = "cache.redb";
/// Version of the tables and of what is in them.
const SCHEMA: u64 = 1;
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const SCHEMA_KEY: &str = "schema";

/// redb's own cache, bytes. Everything read here is small and read rarely; the daemon's memory budget is 16 MiB.
const CACHE_BYTES: usize = 256 * 1024;
/// A longer file is not ours: years of history take a few MiB.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// How long to wait for another process that is opening the database at this moment.
const OPENING_PATIENCE: Duration = Duration::from_secs(1);

/// What a failed operation says about the database.
#[derive(Debug)]
pub(super) enum Failure {
    /// The file is damaged or no database of ours.
    Corrupt(String),
    /// The file has this schema, which is newer than ours.
    Newer(u64),
    /// The file may be good, but cannot be used now.
    Unavailable(Unavailable),
}

impl Failure {
    /// Judges an error of redb's about the file at `path`.
    pub(super) fn judge(path: &Path, error: redb::Error) -> Self {
        use redb::Error as E;
        match error {
            E::DatabaseAlreadyOpen => Self::Unavailable(Unavailable::InUse { path: path.to_owned() }),
            // redb reports a wrong magic number and a file that ends too early as I/O errors of these kinds.
            E::Io(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
                Self::Corrupt(error.to_string())
            }
            E::Io(error) => Self::Unavailable(unavailable(path, &error)),
            E::Corrupted(_)
            | E::UpgradeRequired(_)
            | E::RepairAborted
            | E::TableTypeMismatch { .. }
            | E::TableIsMultimap(_)
            | E::TableIsNotMultimap(_)
            | E::TableDoesNotExist(_)
            | E::TypeDefinitionChanged { .. } => Self::Corrupt(error.to_string()),
            other => Self::Unavailable(Unavailable::Io { path: path.to_owned(), reason: other.to_string() }),
        }
    }
}

pub(super) fn unavailable(path: &Path, error: &io::Error) -> Unavailable {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Unavailable::DiskFull { path },
        _ => Unavailable::Io { path, reason: error.to_string() },
    }
}

/// Runs something of redb's, which panics on some damaged files. A panic counts as damage; the database must not be used
/// afterwards.
pub(super) fn contain<T>(operation: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(operation)).unwrap_or_else(|panic| {
        let reason = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("unknown reason");
        Err(Failure::Corrupt(format!("the database engine gave up: {reason}")))
    })
}

/// Closes a database, whatever state it is in.
pub(super) fn close(database: Database) {
    let _ = contain(|| {
        drop(database);
        Ok(())
    });
}

/// Identity of a file while it exists: device and inode.
pub(super) type FileId = (u64, u64);

/// An open database.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) id: FileId,
}

/// Opens or creates the database in `folder`. A file that is damaged or newer is moved aside first; so is the file
/// `condemned`, if it is still there, which its user found damaged.
pub(super) fn open(
    folder: &Path,
    condemned: Option<(FileId, Failure)>,
    warnings: &mut Vec<Warning>,
) -> Result<Opened, Unavailable> {
    let path = folder.join(FILE_NAME);
    let failed = |error: &io::Error| unavailable(&path, error);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| unavailable(folder, &error))?;
    check_folder(folder).map_err(|error| unavailable(folder, &error))?;
    // Without it, a process that found a damaged file could move aside the new one that another has just made.
    let _opening = lock_folder(folder)?;
    let mut bad = condemned.filter(|(id, _)| file_id(&path).is_some_and(|present| present == *id));
    // The first turn can find a bad file; the second opens the new one in its place.
    for _ in 0..2 {
        if let Some((id, failure)) = bad.take() {
            warnings.push(move_aside(&path, id, failure)?);
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed())
            .open(&path)
            .map_err(|error| failed(&error))?;
        let metadata = file.metadata().map_err(|error| failed(&error))?;
        if !metadata.is_file() {
            return Err(Unavailable::Io { path, reason: "not a regular file".to_owned() });
        }
        let id = (metadata.dev(), metadata.ino());
        let opened = if metadata.len() > MAX_FILE_BYTES {
            Err(Failure::Corrupt(format!("{} bytes are more than {MAX_FILE_BYTES}", metadata.len())))
        } else {
            open_file(&path, file, metadata.len() == 0)
        };
        match opened {
            Ok((database, intact)) => {
                if !intact {
                    warnings.push(Warning::Repaired { path });
                }
                return Ok(Opened { database, id });
            }
            Err(Failure::Unavailable(reason)) => {
                // A file that was never filled would look damaged next time.
                if metadata.len() == 0 && !matches!(reason, Unavailable::InUse { .. }) {
                    let _ = fs::remove_file(&path);
                }
                return Err(reason);
            }
            Err(failure) => bad = Some((id, failure)),
        }
    }
    Err(Unavailable::Io { path, reason: "a new database is damaged as well".to_owned() })
}

/// Opens the database in `file`, and says whether it was intact.
fn open_file(path: &Path, file: File, new: bool) -> Result<(Database, bool), Failure> {
    let judge = |error: redb::Error| Failure::judge(path, error);
    contain(|| {
        let mut database =
            Database::builder().set_cache_size(CACHE_BYTES).create_file(file).map_err(|error| judge(error.into()))?;
        // Reads trust the pages, so damage has to be found here, once, for the milliseconds that takes.
        let intact = new || database.check_integrity().map_err(|error| judge(error.into()))?;
        match schema(&database).map_err(judge)? {
            Some(SCHEMA) => Ok((database, intact)),
            Some(newer) if newer > SCHEMA => Err(Failure::Newer(newer)),
            Some(older) => Err(Failure::Corrupt(format!("schema {older} was never used"))),
            None => {
                write_schema(&database).map_err(judge)?;
                Ok((database, intact))
            }
        }
    })
}

/// The schema's version; `None` in a database without tables.
fn schema(database: &Database) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_read()?;
    match transaction.open_table(META) {
        Ok(meta) => match meta.get(SCHEMA_KEY)? {
            Some(version) => Ok(Some(version.value())),
            None => Err(redb::Error::Corrupted("the schema's version is missing".to_owned())),
        },
        Err(TableError::TableDoesNotExist(name)) => match transaction.list_tables()?.next() {
            None => Ok(None),
            Some(other) => {
                Err(redb::Error::Corrupted(format!("there is a table {:?} but none named {name}", other.name())))
            }
        },
        Err(error) => Err(error.into()),
    }
}

fn write_schema(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert(SCHEMA_KEY, SCHEMA)?;
    transaction.commit()?;
    Ok(())
}

/// Refuses a folder that belongs to another user or that others can write in: they could put their own files in the place
/// of ours. Missing, it is nobody's.
///
/// # Errors
/// `PermissionDenied` with a text that says what is wrong and what to do; what stat(2) says.
pub fn check_folder(folder: &Path) -> io::Result<()> {
    let metadata = match fs::metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    let (shown, user) = (folder.display(), rustix::process::geteuid().as_raw());
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let refused = if owner != user {
        format!("{shown} belongs to user {owner}, not to this one, {user}: change its owner or set data-dir")
    } else if mode & 0o022 != 0 {
        format!("others can write in {shown} (mode {mode:04o}): chmod go-w {shown}")
    } else {
        return Ok(());
    };
    Err(io::Error::new(ErrorKind::PermissionDenied, refused))
}

fn file_id(path: &Path) -> Option<FileId> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Gives a bad file a name that says what it is; none is ever deleted or overwritten. The folder is locked.
fn move_aside(path: &Path, id: FileId, failure: Failure) -> Result<Warning, Unavailable> {
    let suffix = match &failure {
        Failure::Newer(schema) => format!("newer-{schema}"),
        // A clock before 1970 gives 0: the name only has to be new.
        _ => format!("corrupt-{}", SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())),
    };
    let moved_to = unused_name(path, &suffix).map_err(|error| unavailable(path, &error))?;
    if file_id(path) != Some(id) {
        return Err(Unavailable::Io { path: path.to_owned(), reason: "replaced while it was opened".to_owned() });
    }
    fs::rename(path, &moved_to).map_err(|error| unavailable(path, &error))?;
    Ok(match failure {
        Failure::Newer(schema) => Warning::Newer { schema, moved_to },
        Failure::Corrupt(reason) => Warning::Corrupt { reason, moved_to },
        Failure::Unavailable(reason) => Warning::Corrupt { reason: reason.to_string(), moved_to },
    })
}

fn unused_name(path: &Path, suffix: &str) -> io::Result<PathBuf> {
    for number in 0..10_000 {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{suffix}"));
        if number > 0 {
            name.push(format!(".{number}"));
        }
        let candidate = PathBuf::from(name);
        match fs::symlink_metadata(&candidate) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(candidate),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// An flock(2) on the folder, held while a database in it is opened and freed with the file.
fn lock_folder(folder: &Path) -> Result<File, Unavailable> {
    let file = File::open(folder).map_err(|error| unavailable(folder, &error))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < OPENING_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => return Err(Unavailable::InUse { path: folder.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(unavailable(folder, &error)),
        }
    }
}
