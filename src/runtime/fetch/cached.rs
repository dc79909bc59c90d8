//! An answer on the disk: one line of JSON, and the body. The file's time of modification is when it was last asked for, its
//! time of access when it was last used, set by hand since file systems are mounted without it.

use std::fs::{File, FileTimes};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::ask::Validators;
use super::make_folder;

/// The longest line in front, bytes.
const HEAD: usize = 16 << 10;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// The shape of the file.
    omg: u32,
    url: String,
    length: u64,
    crc32: u32,
    #[serde(flatten)]
    validators: Validators,
}

const SHAPE: u32 = 1;

#[derive(Debug)]
pub(super) struct Cached {
    pub(super) body: Vec<u8>,
    pub(super) validators: Validators,
    /// Since it was asked for; `None` where that was later than now.
    pub(super) age: Option<Duration>,
}

impl Cached {
    /// `None` for a file that is not there, damaged, of another address, or longer than what is wanted.
    pub(super) fn read(path: &Path, url: &str, most: u64) -> Option<Self> {
        let file = File::open(path).ok()?;
        let metadata = file.metadata().ok()?;
        if metadata.len() > most.saturating_add(HEAD as u64) {
            return None;
        }
        let mut contents = Vec::new();
        (&file).take(metadata.len()).read_to_end(&mut contents).ok()?;
        let end = memchr::memchr(b'\n', contents.get(..contents.len().min(HEAD))?)?;
        let head: Head = serde_json::from_slice(contents.get(..end)?).ok()?;
        contents.drain(..=end);
        let right = head.omg == SHAPE
            && head.url == url
            && head.length == contents.len() as u64
            && head.length <= most
            && head.crc32 == crc32fast::hash(&contents);
        let age = metadata.modified().ok().and_then(|then| SystemTime::now().duration_since(then).ok());
        if right {
            // It is let go of sooner otherwise.
            let _ = file.set_times(FileTimes::new().set_accessed(SystemTime::now()));
        }
        right.then_some(Self { body: contents, validators: head.validators, age })
    }

    pub(super) fn write(&self, path: &Path, url: &str) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        make_folder(folder)?;
        let head = Head {
            omg: SHAPE,
            url: url.to_owned(),
            length: self.body.len() as u64,
            crc32: crc32fast::hash(&self.body),
            validators: self.validators.clone(),
        };
        // Its mode is 0600. A crash may leave less of it than its length says, which a reader sees.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, &head)?;
        file.write_all(b"\n")?;
        file.write_all(&self.body)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// It was asked for now.
pub(super) fn touch(path: &Path) {
    let times = FileTimes::new().set_modified(SystemTime::now());
    // It is asked for again sooner otherwise.
    let _ = File::open(path).and_then(|file| file.set_times(times));
}
