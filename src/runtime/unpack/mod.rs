//! Laying out archives below a folder, whatever they hold.
//!
//! An archive is untrusted even when its checksum is right. Nothing of it is skipped silently: one entry that may not be
//! laid out refuses the whole archive, and the folder then holds a part that the caller throws away.
//!
//! - `blocks`: the bytes of a compressed tar, made in a thread of their own
//! - `tarball`, `zipped`: which entries there are
//! - `paths`: which names and link targets are taken
//! - `size`: how much it becomes, by its own word
//! - `tree`: how they are made, without ever going through a link

mod blocks;
mod budget;
mod paths;
mod size;
mod tarball;
#[cfg(test)]
mod tests;
mod tree;
mod zipped;
mod zstd;

use std::fs::File;
use std::io::{self, Seek};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::AtomicBool;

use thiserror::Error;

use budget::Budget;
pub use size::unpacked_size;
use tree::Tree;
pub use zipped::days;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    TarGz,
    TarXz,
    TarZst,
    TarBz2,
    Zip,
}

impl Format {
    /// By the end of a file's name, in any case; `None` for what cannot be unpacked.
    pub fn of_name(name: &str) -> Option<Self> {
        const ENDS: [(&str, Format); 9] = [
            (".tar.gz", Format::TarGz),
            (".tgz", Format::TarGz),
            (".tar.xz", Format::TarXz),
            (".txz", Format::TarXz),
            (".tar.zst", Format::TarZst),
            (".tzst", Format::TarZst),
            (".tar.bz2", Format::TarBz2),
            (".tbz2", Format::TarBz2),
            (".zip", Format::Zip),
        ];
        let name = name.to_ascii_lowercase();
        ENDS.iter().find(|(end, _)| name.ends_with(end)).map(|(_, format)| *format)
    }
}

/// What an archive may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of all files together, those that are left out included.
    pub bytes: u64,
    pub entries: u64,
    /// Of one path or link target.
    pub path_bytes: usize,
    /// Folders in folders.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 8 << 30, entries: 1_000_000, path_bytes: 2048, depth: 128 }
    }
}

/// What was laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// Files and links, not folders.
    pub files: u64,
    /// Written into files.
    pub bytes: u64,
}

/// Names of entries are escaped and shortened already.
#[derive(Debug, Error)]
pub enum UnpackError {
    #[error("stopped")]
    Stopped,
    #[error("the archive cannot be read: {0}")]
    Read(io::Error),
    /// `place` is an entry's name or a position in the archive.
    #[error("the archive is damaged at {place}: {reason}")]
    Damaged { place: String, reason: String },
    #[error("the archive is refused: its entry {entry} {reason}")]
    Refused { entry: String, reason: &'static str },
    #[error("the archive is refused: it holds more than {0} bytes")]
    TooLarge(u64),
    #[error("the archive is refused: it has more than {0} entries")]
    TooMany(u64),
    #[error("the archive is refused: {packed} bytes of it become more than {unpacked}")]
    Bomb { packed: u64, unpacked: u64 },
    #[error("the disk is full at {0}")]
    DiskFull(String),
    #[error("{path} cannot be written: {error}")]
    Write { path: String, error: io::Error },
}

/// Where an entry goes: from its path in the archive, cleaned, to the one below the folder; `None`: it is left out.
pub type Place<'a> = &'a (dyn Fn(&Path) -> Option<PathBuf> + Sync);

/// Leaves out the first `count` folders of each path, and what lies in no more than those.
pub fn strip(count: usize) -> impl Fn(&Path) -> Option<PathBuf> + Sync {
    move |path| {
        let mut components = path.components();
        for _ in 0..count {
            components.next()?;
        }
        let rest = components.as_path();
        (!rest.as_os_str().is_empty()).then(|| rest.to_owned())
    }
}

/// Lays out `archive`, from its beginning, in `into`, an empty folder of the caller's alone, and returns when all of it is
/// on the disk.
///
/// Folders and executable files get mode 0755, other files 0644, all of them their time of modification; owners, other
/// bits of modes, ACLs and extended attributes are dropped. Of a path that comes twice in a tar the later entry is taken.
/// `stopped` is looked at between entries and between blocks of them.
///
/// # Errors
/// Any [`UnpackError`]; a part of the archive lies in the folder then.
pub fn unpack(
    archive: &mut File,
    format: Format,
    into: &Path,
    place: Place<'_>,
    limits: &Limits,
    stopped: &AtomicBool,
) -> Result<Unpacked, UnpackError> {
    let tree = lay_out(archive, format, into, place, limits, stopped)?;
    tree.sync()?;
    Ok(tree.done())
}

/// All but the wait for the disk.
fn lay_out(
    archive: &mut File,
    format: Format,
    into: &Path,
    place: Place<'_>,
    limits: &Limits,
    stopped: &AtomicBool,
) -> Result<Tree, UnpackError> {
    archive.rewind().map_err(UnpackError::Read)?;
    let mut layout = Layout { tree: Tree::open(into)?, budget: Budget::new(limits, stopped), place };
    match format {
        Format::Zip => zipped::entries(archive, &mut layout)?,
        _ => blocks::with(archive, format, |blocks| tarball::entries(blocks, &mut layout))?,
    }
    layout.tree.finish()?;
    Ok(layout.tree)
}

/// What the readers of both kinds of archives write to.
struct Layout<'a> {
    tree: Tree,
    budget: Budget<'a>,
    place: Place<'a>,
}

impl Layout<'_> {
    /// The place of an entry by its name in the archive; an empty one for the archive's own folder.
    fn place(&self, name: &[u8]) -> Result<Option<PathBuf>, UnpackError> {
        let cleaned = paths::clean(name, self.budget.limits())?;
        if cleaned.as_os_str().is_empty() {
            return Ok(Some(cleaned));
        }
        let Some(placed) = (self.place)(&cleaned) else { return Ok(None) };
        // It is made from what the archive says.
        if placed.components().any(|component| !matches!(component, Component::Normal(_))) {
            return Err(paths::refused(name, "would be placed outside of its folder"));
        }
        Ok(Some(placed))
    }
}
