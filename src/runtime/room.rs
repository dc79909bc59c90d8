//! Whether the disk has room for what is to be laid out, before anything of it is.
//!
//! Before an archive is fetched only its size and its format are known: it is taken to become at least as much as archives
//! of programs do of that format. Once it is here it tells by itself, as far as its format can ([`unpack::unpacked_size`]).

use std::io;
use std::path::Path;

use super::RuntimeError;
use super::fetch::{Downloaded, Http};
use super::sources::Part;
use super::unpack::{self, Format};

/// What stays free on the disk, bytes: room for the folders, and for what others write meanwhile.
const SLACK: u64 = 16 << 20;

/// Bytes that this user may still write where `folder` is.
///
/// # Errors
/// When the file system does not tell.
pub(super) fn free(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The least that so many bytes of an archive become: nobody is refused who would have had the room. Releases of the seven
/// runtimes become from 1.5 times as much (a JDK's, whose modules are packed already) to 8 times (xz).
fn at_least(format: Format, packed: u64) -> u64 {
    packed.saturating_mul(match format {
        Format::TarGz | Format::Zip => 1,
        Format::TarXz | Format::TarZst | Format::TarBz2 => 2,
    })
}

/// The folder itself, or the nearest one above it that is there.
fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"))
}

fn is_same_disk(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let disk = |folder| std::fs::metadata(existing(folder)).map(|found| found.dev());
    matches!((disk(one), disk(other)), (Ok(one), Ok(other)) if one == other)
}

/// # Errors
/// [`RuntimeError::NoRoom`] when there is less than `needed` where `folder` is, or will be.
fn check(parts: &[Part], folder: &Path, needed: u64, estimated: bool) -> Result<(), RuntimeError> {
    // A file system that does not tell is asked by writing.
    let Ok(free) = free(existing(folder)) else { return Ok(()) };
    if needed.saturating_add(SLACK) <= free {
        return Ok(());
    }
    let what = parts.first().map(|part| part.download.name.clone()).unwrap_or_default();
    let others = parts.len().saturating_sub(1);
    Err(RuntimeError::NoRoom { what, others, needed, slack: SLACK, estimated, free, folder: folder.to_owned() })
}

/// Before anything is fetched, as far as sizes are known.
///
/// # Errors
/// [`RuntimeError::NoRoom`].
pub(super) fn before_fetching(parts: &[Part], http: &Http, versions: &Path) -> Result<(), RuntimeError> {
    let shared = is_same_disk(http.cache(), versions);
    let needed = parts.iter().filter_map(|part| {
        let size = part.download.size?;
        let fetched = if shared { http.missing(&part.download) } else { 0 };
        Some(at_least(part.format, size).saturating_add(fetched))
    });
    let needed = needed.fold(0, u64::saturating_add);
    if needed == 0 { Ok(()) } else { check(parts, versions, needed, true) }
}

/// Before anything is unpacked.
///
/// # Errors
/// [`RuntimeError::NoRoom`].
pub(super) fn before_unpacking(parts: &[Part], files: &mut [Downloaded], versions: &Path) -> Result<(), RuntimeError> {
    let mut estimated = false;
    let mut needed = 0u64;
    for (part, file) in parts.iter().zip(files) {
        let told = unpack::unpacked_size(&mut file.file, part.format);
        estimated |= told.is_none();
        needed = needed.saturating_add(told.unwrap_or_else(|| at_least(part.format, file.size)));
    }
    check(parts, versions, needed, estimated)
}

/// Bytes for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown(pub u64);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Up: what is needed is never told as less.
        write!(f, "{} MiB", self.0.div_ceil(1 << 20))
    }
}

/// What [`RuntimeError::NoRoom`] says.
pub(super) fn no_room(
    what: &str,
    others: usize,
    needed: u64,
    slack: u64,
    estimated: bool,
    free: u64,
    folder: &Path,
) -> String {
    let what = match others {
        0 => what.to_owned(),
        1 => format!("{what} and another archive"),
        others => format!("{what} and {others} other archives"),
    };
    let (about, needed) = (if estimated { "at least " } else { "" }, Shown(needed.saturating_add(slack)));
    format!(
        "{what}: unpacking needs {about}{needed} in {}, and {} MiB are free there: nothing was installed; `omg prune` \
         removes versions that nothing asks for, or make room there, then try again",
        folder.display(),
        // Down: what is there is never told as more.
        free >> 20
    )
}
