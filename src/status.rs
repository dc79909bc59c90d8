//! The status file: what a shell prompt shows, in one small file that costs one `read` to get.
//!
//! Only `std` is used here: `omg-fast` shares this module and must stay free of everything else.
//!
//! # Layout
//!
//! All numbers are little-endian. A file is between 72 and 1608 bytes long.
//!
//! | offset | size | field |
//! |---:|---:|---|
//! | 0 | 8 | magic `OMGSTAT\0` |
//! | 8 | 4 | version of the layout, 1 |
//! | 12 | 4 | length of the whole file, bytes |
//! | 16 | 4 | CRC-32 (IEEE 802.3) of the whole file with this field as zero |
//! | 20 | 4 | flags, see [`StatusFlags`]; unknown bits are kept and ignored |
//! | 24 | 8 | time of writing, seconds since 1970-01-01 UTC |
//! | 32 | 8 | generation of the snapshot the counts come from |
//! | 40 | 4 | age in seconds beyond which readers call the file stale |
//! | 44 | 4 | installed packages |
//! | 48 | 4 | explicitly installed packages |
//! | 52 | 4 | orphans |
//! | 56 | 4 | updates |
//! | 60 | 4 | updates that carry a security fix |
//! | 64 | 4 | known vulnerabilities |
//! | 68 | 4 | number of active runtimes *n*, at most 32 |
//! | 72 | 48·*n* | runtimes: name (16 bytes) and version (32 bytes), both padded with NUL |
//!
//! A count of `0xffff_ffff` means "not known".
//!
//! Names and versions consist of ASCII letters, digits and `.` `_` `+` `-` `@` `:` `/` `~` `^`, so that nothing a
//! terminal or a shell prompt would interpret can come out of the file.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"OMGSTAT\0";
const HEADER_BYTES: usize = 72;
const CRC_OFFSET: usize = 16;
const NAME_BYTES: usize = 16;
const VERSION_BYTES: usize = 32;
const RUNTIME_BYTES: usize = NAME_BYTES + VERSION_BYTES;
const UNKNOWN: u32 = u32::MAX;
/// How often a file is read whose checksum is wrong.
const READS: u32 = 16;

/// Version of the layout that this code writes, and the newest it reads.
pub const VERSION: u32 = 1;
/// Most active runtimes that one file holds.
pub const MAX_RUNTIMES: usize = 32;
/// Length of the longest valid file, bytes.
pub const MAX_BYTES: usize = HEADER_BYTES + MAX_RUNTIMES * RUNTIME_BYTES;
/// Age in seconds beyond which a file is stale unless its writer states another: one day.
pub const DEFAULT_MAX_AGE: u32 = 86_400;
/// A time of writing up to so many seconds in the future is taken for now: clocks are set back a little all the time.
pub const CLOCK_TOLERANCE: u64 = 60;

/// Conditions beside the counts. Bits are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatusFlags(pub u32);

impl StatusFlags {
    /// No package system could be opened.
    pub const BACKEND_UNAVAILABLE: Self = Self(1);
    /// The snapshot could not be built; the counts are not known.
    pub const INDEX_FAILED: Self = Self(1 << 1);
    /// The database `cache.redb` is not usable.
    pub const STORE_FAILED: Self = Self(1 << 2);
    /// `omg-helper` is not installed where it is looked for.
    pub const HELPER_MISSING: Self = Self(1 << 3);
    /// The package lists have not been fetched for long.
    pub const LISTS_STALE: Self = Self(1 << 4);
    /// Packages are broken: the package system has to finish or repair something.
    pub const PACKAGES_BROKEN: Self = Self(1 << 5);
    /// Upgraded packages ask for a restart. Not an error.
    pub const RESTART_REQUIRED: Self = Self(1 << 16);

    /// Every bit that stands for an error, those of later versions included.
    pub const ERRORS: Self = Self(0xffff);

    /// Whether any of the bits of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These flags and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A language runtime that is active, with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    name: String,
    version: String,
}

impl Runtime {
    /// # Errors
    /// [`StatusError::Runtime`] when the name is longer than 16 bytes, the version longer than 32, one of them is empty
    /// or holds a character the layout does not allow.
    pub fn new(name: &str, version: &str) -> Result<Self, StatusError> {
        let valid = |text: &str, limit: usize| (1..=limit).contains(&text.len()) && text.bytes().all(is_runtime_byte);
        if valid(name, NAME_BYTES) && valid(version, VERSION_BYTES) {
            Ok(Self { name: name.to_owned(), version: version.to_owned() })
        } else {
            Err(StatusError::Runtime)
        }
    }

    /// For example `node`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For example `20.10.0`.
    pub fn version(&self) -> &str {
        &self.version
    }
}

fn is_runtime_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._+-@:/~^".contains(&byte)
}

/// The contents of a status file. A count of `None` is not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    pub flags: StatusFlags,
    /// Time of writing, seconds since 1970-01-01 UTC.
    pub time: u64,
    /// Generation of the snapshot that was counted.
    pub generation: u64,
    /// Age in seconds beyond which readers call the file stale.
    pub max_age: u32,
    pub installed: Option<u32>,
    pub explicit: Option<u32>,
    pub orphans: Option<u32>,
    pub updates: Option<u32>,
    /// Updates that carry a security fix.
    pub security: Option<u32>,
    pub vulnerabilities: Option<u32>,
    /// At most [`MAX_RUNTIMES`]; later ones are not written.
    pub runtimes: Vec<Runtime>,
}

/// Why a status file was refused or could not be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum StatusError {
    /// The operating system's answer.
    Io(io::Error),
    /// Not a regular file.
    NotRegular,
    /// The first bytes are not those of a status file.
    Magic,
    /// Written by a newer version, whose number this is.
    Newer(u32),
    /// The length is not what it says, or outside the layout's limits.
    Length,
    /// The checksum does not match.
    Checksum,
    /// A runtime's name or version has characters or a length that the layout does not allow.
    Runtime,
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NotRegular => f.write_str("not a regular file"),
            Self::Magic => f.write_str("not a status file"),
            Self::Newer(version) => {
                write!(f, "written by a newer version (layout {version}, this program reads up to {VERSION})")
            }
            Self::Length => f.write_str("wrong length"),
            Self::Checksum => f.write_str("wrong checksum"),
            Self::Runtime => f.write_str("a runtime's name or version is not valid"),
        }
    }
}

impl std::error::Error for StatusError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for StatusError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Status {
    /// The bytes of a status file.
    pub fn encode(&self) -> Vec<u8> {
        let runtimes = self.runtimes.get(..MAX_RUNTIMES).unwrap_or(&self.runtimes);
        let length = HEADER_BYTES + runtimes.len() * RUNTIME_BYTES;
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&MAGIC);
        let mut put = |number: u32| bytes.extend_from_slice(&number.to_le_bytes());
        put(VERSION);
        put(length as u32);
        put(0);
        put(self.flags.0);
        bytes.extend_from_slice(&self.time.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        let mut put = |number: u32| bytes.extend_from_slice(&number.to_le_bytes());
        put(self.max_age);
        for count in [self.installed, self.explicit, self.orphans, self.updates, self.security, self.vulnerabilities] {
            put(count.map_or(UNKNOWN, |count| count.min(UNKNOWN - 1)));
        }
        put(runtimes.len() as u32);
        for runtime in runtimes {
            for (text, size) in [(&runtime.name, NAME_BYTES), (&runtime.version, VERSION_BYTES)] {
                let end = bytes.len() + size;
                bytes.extend_from_slice(text.as_bytes());
                bytes.resize(end, 0);
            }
        }
        let crc = checksum(&bytes);
        if let Some(field) = bytes.get_mut(CRC_OFFSET..CRC_OFFSET + 4) {
            field.copy_from_slice(&crc.to_le_bytes());
        }
        bytes
    }

    /// Reads the bytes of a status file.
    ///
    /// # Errors
    /// Says which rule of the layout the bytes break; a newer version is reported before anything that a newer layout
    /// may have moved.
    pub fn decode(bytes: &[u8]) -> Result<Self, StatusError> {
        let mut reader = Reader(bytes);
        if reader.take::<8>()? != MAGIC {
            return Err(StatusError::Magic);
        }
        let version = reader.u32()?;
        if version > VERSION {
            return Err(StatusError::Newer(version));
        }
        // No version 0 was ever written.
        if version == 0 {
            return Err(StatusError::Magic);
        }
        let length = reader.u32()? as usize;
        if length != bytes.len() || !(HEADER_BYTES..=MAX_BYTES).contains(&length) {
            return Err(StatusError::Length);
        }
        if reader.u32()? != checksum(bytes) {
            return Err(StatusError::Checksum);
        }
        let mut status = Self {
            flags: StatusFlags(reader.u32()?),
            time: reader.u64()?,
            generation: reader.u64()?,
            max_age: reader.u32()?,
            installed: reader.count()?,
            explicit: reader.count()?,
            orphans: reader.count()?,
            updates: reader.count()?,
            security: reader.count()?,
            vulnerabilities: reader.count()?,
            runtimes: Vec::new(),
        };
        let runtimes = reader.u32()? as usize;
        if runtimes > MAX_RUNTIMES || reader.0.len() != runtimes * RUNTIME_BYTES {
            return Err(StatusError::Length);
        }
        status.runtimes.reserve_exact(runtimes);
        for _ in 0..runtimes {
            let name = reader.take::<NAME_BYTES>()?;
            let version = reader.take::<VERSION_BYTES>()?;
            status.runtimes.push(Runtime::new(unpad(&name)?, unpad(&version)?)?);
        }
        Ok(status)
    }

    /// Seconds since it was written; `None` when that lies more than [`CLOCK_TOLERANCE`] in the future of `now`
    /// (seconds since 1970-01-01 UTC).
    pub fn age(&self, now: u64) -> Option<u64> {
        if self.time > now.saturating_add(CLOCK_TOLERANCE) { None } else { Some(now.saturating_sub(self.time)) }
    }

    /// Whether it is older than `max_age` seconds at `now`, or from the future.
    pub fn is_stale(&self, now: u64, max_age: u64) -> bool {
        self.age(now).is_none_or(|age| age > max_age)
    }
}

/// The text before the padding, which must be NUL to the end.
fn unpad(field: &[u8]) -> Result<&str, StatusError> {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    let (text, padding) = field.split_at(end);
    if padding.iter().any(|&byte| byte != 0) {
        return Err(StatusError::Runtime);
    }
    std::str::from_utf8(text).map_err(|_| StatusError::Runtime)
}

/// What is left to decode.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StatusError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(StatusError::Length)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, StatusError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, StatusError> {
        self.take().map(u64::from_le_bytes)
    }

    fn count(&mut self) -> Result<Option<u32>, StatusError> {
        self.u32().map(|count| (count != UNKNOWN).then_some(count))
    }
}

/// What a byte does to the checksum.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse an index out of range")]
const CRC_TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

/// CRC-32 (IEEE 802.3, reflected polynomial 0xedb88320) with the checksum's own field as zero.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for (offset, &byte) in bytes.iter().enumerate() {
        let byte = if (CRC_OFFSET..CRC_OFFSET + 4).contains(&offset) { 0 } else { byte };
        // The index is one byte: always inside the table.
        crc = (crc >> 8) ^ CRC_TABLE.get(((crc ^ u32::from(byte)) & 0xff) as usize).copied().unwrap_or_default();
    }
    !crc
}

/// Flags of open(2), which `std` does not name. The numbers differ between architectures
/// (Linux, `asm/fcntl.h` of each).
mod open_flags {
    pub const O_NOFOLLOW: i32 = if cfg!(any(
        target_arch = "arm",
        target_arch = "aarch64",
        target_arch = "powerpc",
        target_arch = "powerpc64",
        target_arch = "m68k"
    )) {
        0o100_000
    } else {
        0o400_000
    };

    pub const O_NONBLOCK: i32 = if cfg!(any(
        target_arch = "mips",
        target_arch = "mips32r6",
        target_arch = "mips64",
        target_arch = "mips64r6"
    )) {
        0o200
    } else if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
        0o40_000
    } else {
        0o4_000
    };
}

/// Reads a status file. Symbolic links and everything but regular files are refused, and no more than [`MAX_BYTES`] are
/// read.
///
/// # Errors
/// [`StatusError::Io`] when it cannot be opened or read, otherwise as [`Status::decode`].
pub fn read(path: &Path) -> Result<Status, StatusError> {
    // O_NONBLOCK: opening a FIFO must not wait for a writer. `std` adds O_CLOEXEC.
    let file =
        OpenOptions::new().read(true).custom_flags(open_flags::O_NOFOLLOW | open_flags::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(StatusError::NotRegular);
    }
    let mut buffer = [0u8; MAX_BYTES];
    // A file is replaced or changed where it lies, its length is final.
    let wanted =
        usize::try_from(metadata.len()).ok().and_then(|length| buffer.get_mut(..length)).ok_or(StatusError::Length)?;
    let mut left = READS;
    loop {
        file.read_exact_at(wanted, 0).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => StatusError::Length,
            _ => StatusError::Io(error),
        })?;
        left -= 1;
        match Status::decode(wanted) {
            // It may just have been changed.
            Err(StatusError::Checksum) if left > 0 => {}
            decoded => return decoded,
        }
    }
}

/// Puts a status file in place of the one at `path`, so that readers see the old contents or the new, whole, even after
/// a power cut. It is readable by its owner only. The folder must exist.
///
/// # Errors
/// [`StatusError::Io`]; the old file is then untouched and nothing is left behind.
pub fn write_atomically(path: &Path, status: &Status) -> Result<(), StatusError> {
    replace(path, &status.encode(), File::sync_all)
}

/// As [`write_atomically`], but without waiting for the disk: a file of the right length is changed where it lies, since to
/// make another and rename it takes many times as long. A reader that meets the one write half-way is told by the checksum;
/// after a power cut there may be a file that is not whole, which readers refuse and the daemon replaces.
///
/// # Errors
/// [`StatusError::Io`]; the old file may then be damaged, which readers are told by its checksum.
pub fn write_quickly(path: &Path, status: &Status) -> Result<(), StatusError> {
    let bytes = status.encode();
    let here = OpenOptions::new().write(true).custom_flags(open_flags::O_NOFOLLOW | open_flags::O_NONBLOCK).open(path);
    if let Ok(file) = here
        && file.metadata().is_ok_and(|found| found.is_file() && found.len() == bytes.len() as u64)
    {
        // Where there is no room even for that, as on a file system that copies what is written, it may be damaged now.
        if file.write_all_at(&bytes, 0).is_ok() {
            return Ok(());
        }
    }
    replace(path, &bytes, |_| Ok(()))
}

fn replace(path: &Path, bytes: &[u8], settle: impl FnOnce(&File) -> io::Result<()>) -> Result<(), StatusError> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
    };
    let (temporary, mut file) = create_temporary(folder, name)?;
    let written = file.write_all(bytes).and_then(|()| settle(&file)).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first failure is the one to report; the name may be gone already.
        let _ = fs::remove_file(&temporary);
        return Err(error.into());
    }
    Ok(())
}

/// Creates a file beside `name` that nobody else has: `.<name>.<process id>.<number>`. A name left by a killed process
/// that had the same id is skipped.
fn create_temporary(folder: &Path, name: &std::ffi::OsStr) -> io::Result<(PathBuf, File)> {
    const ATTEMPTS: u32 = 64;
    let mut number = 0;
    loop {
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.{number}", std::process::id()));
        let temporary = folder.join(temporary);
        // `create_new` is O_CREAT | O_EXCL, which follows no link either.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number + 1 < ATTEMPTS => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Where the status file is: `$XDG_DATA_HOME/omg/status`, `~/.local/share/omg/status` without that variable,
/// `/var/lib/omg/status` without a home. Relative paths in the variables are ignored, as the XDG specification asks.
pub fn default_path() -> PathBuf {
    data_dir(|name| std::env::var_os(name)).join("status")
}

/// The folder of OMG's data, by the rules of [`default_path`], with the variables that `variable` knows.
pub fn data_dir(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(data_home) = absolute("XDG_DATA_HOME") {
        data_home.join("omg")
    } else if let Some(home) = absolute("HOME") {
        home.join(".local/share/omg")
    } else {
        PathBuf::from("/var/lib/omg")
    }
}
