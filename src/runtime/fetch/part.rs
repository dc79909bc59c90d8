//! A download on the disk, and who may write it.

use std::fs::{File, FileTimes, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, OFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::Receiver;

use super::ask::Validators;
use super::{Download, make_folder};

const BLOCK: usize = 256 << 10;

/// The ends of the names beside a download's.
pub(super) const PART: &str = ".part";
pub(super) const ABOUT: &str = ".about";

/// The most bytes of what is kept about a download.
const MAX_ABOUT: u64 = 16 << 10;

/// The longest part of a name that is taken into a file's name, bytes.
const NAME: usize = 80;

/// Where a download is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) whole: PathBuf,
    pub(super) part: PathBuf,
    pub(super) about: PathBuf,
}

impl Place {
    pub(super) fn of(cache: &Path, wanted: &Download) -> Self {
        let folder = cache.join("downloads");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-');
        let mut name: String =
            wanted.name.bytes().take(NAME).map(|byte| if plain(byte) { char::from(byte) } else { '_' }).collect();
        if [PART, ABOUT].iter().any(|end| name.ends_with(end)) {
            name.push('_');
        }
        let whole = folder.join(format!("{}-{name}", hex::encode(Sha256::digest(&wanted.url))));
        let beside = |end: &str| {
            let mut path = whole.clone().into_os_string();
            path.push(end);
            PathBuf::from(path)
        };
        Self { part: beside(PART), about: beside(ABOUT), whole, folder }
    }
}

/// What the server told about a download, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) url: String,
    #[serde(flatten)]
    pub(super) validators: Validators,
    /// Of the whole file, in hexadecimal, when it is here.
    pub(super) sha256: Option<String>,
}

impl About {
    /// Empty when nothing readable is there.
    pub(super) fn read(place: &Place, url: &str) -> Self {
        let read = || -> Option<Self> {
            let mut text = Vec::new();
            File::open(&place.about).ok()?.take(MAX_ABOUT).read_to_end(&mut text).ok()?;
            serde_json::from_slice(&text).ok().filter(|about: &Self| about.url == url)
        };
        read().unwrap_or_else(|| Self { url: url.to_owned(), ..Self::default() })
    }

    pub(super) fn write(&self, place: &Place) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&place.folder)?;
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        file.persist(&place.about).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Takes the lock of an open file without waiting; false: another one has it.
pub(super) fn lock(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A part that only this task writes: its lock goes with the descriptor.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    hash: Sha256,
    length: u64,
}

impl Part {
    /// `None`: another task, of this process or another, has it. What was there is not read yet.
    pub(super) fn take(place: &Place) -> io::Result<Option<Self>> {
        make_folder(&place.folder)?;
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(&place.part)?;
            if !lock(&file)? {
                return Ok(None);
            }
            // Whoever had the lock may have renamed or removed the file, and this would be a part that nobody sees.
            let here = file.metadata()?;
            match std::fs::symlink_metadata(&place.part) {
                Ok(there) if (there.dev(), there.ino()) == (here.dev(), here.ino()) => {
                    return Ok(Some(Self { file, hash: Sha256::new(), length: here.len() }));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn sha256(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    /// Takes what an earlier task wrote.
    pub(super) fn read(&mut self) -> io::Result<()> {
        self.file.rewind()?;
        (self.hash, self.length) = hash(&self.file)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        Ok(())
    }

    /// Begins from nothing.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        (self.hash, self.length) = (Sha256::new(), 0);
        Ok(())
    }

    fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        self.hash.update(piece);
        self.length = self.length.saturating_add(piece.len() as u64);
        Ok(())
    }

    /// Writes what comes, until no more comes or it fails.
    pub(super) fn add_all(mut self, mut pieces: Receiver<impl AsRef<[u8]>>) -> (Self, io::Result<()>) {
        while let Some(piece) = pieces.blocking_recv() {
            if let Err(error) = self.add(piece.as_ref()) {
                // What was written of the piece is not in the sum.
                let again = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
                return (self, again.and(Err(error)));
            }
        }
        (self, Ok(()))
    }

    /// Makes it the whole download. It is not waited for the disk: whoever takes the file from the cache reads and sums
    /// it first, so that what a crash took of it shows.
    pub(super) fn finish(mut self, place: &Place, about: &mut About) -> io::Result<File> {
        about.sha256 = Some(hex::encode(self.sha256()));
        about.write(place)?;
        std::fs::rename(&place.part, &place.whole)?;
        self.file.rewind()?;
        rustix::fs::flock(&self.file, FlockOperation::Unlock)?;
        Ok(self.file)
    }

    pub(super) fn remove(self, place: &Place) {
        // What stays is found damaged or too old later.
        let _ = std::fs::remove_file(&place.part);
    }
}

/// The sum and the length of a file from where it is.
fn hash(mut file: &File) -> io::Result<(Sha256, u64)> {
    let (mut hash, mut length) = (Sha256::new(), 0u64);
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok((hash, length)),
            Ok(count) => {
                hash.update(block.get(..count).unwrap_or_default());
                length = length.saturating_add(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A whole download that is here.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) file: File,
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
}

impl Whole {
    /// Opens and sums it; `None`, and it is gone, when it has not this size or sum.
    pub(super) fn take(place: &Place, size: Option<u64>, sha256: Option<[u8; 32]>) -> Option<Self> {
        let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(nofollow).open(&place.whole).ok()?;
        let taken = Self::check(file, size, sha256).ok().flatten();
        if taken.is_none() {
            let _ = std::fs::remove_file(&place.whole);
        }
        taken
    }

    fn check(mut file: File, size: Option<u64>, sha256: Option<[u8; 32]>) -> io::Result<Option<Self>> {
        let length = file.metadata()?.len();
        if size.is_some_and(|size| size != length) || sha256.is_none() {
            return Ok(None);
        }
        let (hash, size) = hash(&file)?;
        let sum: [u8; 32] = hash.finalize().into();
        if sha256 != Some(sum) {
            return Ok(None);
        }
        file.rewind()?;
        // The cache lets go of those first that were not used for long.
        let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
        Ok(Some(Self { file, size, sha256: sum }))
    }
}
