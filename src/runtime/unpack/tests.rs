//! Ordinary archives beside the system's tar, and hostile ones made by hand.

mod hostile;
mod ordinary;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};
use tempfile::TempDir;

use super::*;

/// What lies at a path: its kind and, of a file, whether it is executable, its contents, its time and how many names it
/// has; of a link its target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum There {
    Folder { mode: u32, modified: i64 },
    File { mode: u32, modified: i64, names: u64, contents: Vec<u8> },
    Link(PathBuf),
}

/// All that lies below `folder`.
fn all(folder: &Path) -> BTreeMap<PathBuf, There> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let (mode, modified) = (metadata.mode() & 0o7777, metadata.mtime());
            let there = if metadata.is_dir() {
                folders.push(path.clone());
                There::Folder { mode, modified }
            } else if metadata.is_symlink() {
                There::Link(fs::read_link(&path).unwrap())
            } else {
                assert!(metadata.is_file(), "{}", path.display());
                There::File { mode, modified, names: metadata.nlink(), contents: fs::read(&path).unwrap() }
            };
            found.insert(path.strip_prefix(folder).unwrap().to_owned(), there);
        }
    }
    found
}

fn paths(folder: &Path) -> Vec<String> {
    all(folder).keys().map(|path| path.to_str().unwrap().to_owned()).collect()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// One entry of a tar, with whatever name.
fn entry(kind: EntryType, name: &[u8], link: &[u8], mode: u32, contents: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(1_700_000_000);
    header.set_size(contents.len() as u64);
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(contents);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, contents: &[u8]) -> Vec<u8> {
    entry(EntryType::Regular, name.as_bytes(), b"", 0o644, contents)
}

fn link(name: &str, target: &str) -> Vec<u8> {
    entry(EntryType::Symlink, name.as_bytes(), target.as_bytes(), 0o777, b"")
}

fn hard(name: &str, target: &str) -> Vec<u8> {
    entry(EntryType::Link, name.as_bytes(), target.as_bytes(), 0o644, b"")
}

fn folder(name: &str) -> Vec<u8> {
    entry(EntryType::Directory, name.as_bytes(), b"", 0o755, b"")
}

/// A tar.gz of these entries, with its end mark.
fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 1024, 0);
    packed(&bytes)
}

/// A folder with a folder to unpack in, and something beside it that must stay as it is.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("into")).unwrap();
        fs::write(folder.path().join("beside"), "untouched").unwrap();
        Self { folder }
    }

    fn below(&self) -> PathBuf {
        self.folder.path().join("into")
    }

    fn unpack_with(
        &self,
        bytes: &[u8],
        format: Format,
        place: Place<'_>,
        limits: &Limits,
    ) -> Result<Unpacked, UnpackError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        // Not at its beginning: that is looked after.
        file.seek(std::io::SeekFrom::End(0)).unwrap();
        let result = lay_out(&mut file, format, &self.below(), place, limits, &AtomicBool::new(false));
        assert_eq!(fs::read(self.folder.path().join("beside")).unwrap(), b"untouched");
        let beside: Vec<_> = fs::read_dir(self.folder.path()).unwrap().collect();
        assert_eq!(beside.len(), 2, "{beside:?}");
        result.map(|tree| tree.done())
    }

    fn unpack(&self, bytes: &[u8], format: Format) -> Result<Unpacked, UnpackError> {
        self.unpack_with(bytes, format, &strip(0), &Limits::default())
    }

    /// Unpacks a tar.gz of these entries.
    fn entries(&self, entries: &[Vec<u8>]) -> Result<Unpacked, UnpackError> {
        self.unpack(&archive(entries), Format::TarGz)
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.below().join(path)).unwrap()
    }
}

fn open(path: &Path) -> File {
    File::open(path).unwrap()
}
