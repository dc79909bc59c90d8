//! Goes from a folder up to the root and reads what is there.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::{Contents, FILES, Found, Kind, MiseFile, Problem, Trouble, Wish, parse_as};
use crate::runtime::lock;
use crate::stamp::{Stamp, is_local_path};

/// A listing costs about as much as two attempts to open a file that is not there, and there are eighteen names.
///
/// Of a listing that is longer than two of these (some 1,600 names) the rest is not read: trying to open each name that
/// counts is cheaper then.
const LISTING: usize = 32 * 1024;

/// Folders that are remembered. Above it all are forgotten: they come again with the next questions.
const MOST_FOLDERS: usize = 1024;

/// Wishes and problems of a folder that is remembered.
const MOST_SAID: usize = 100;

/// What the files of this folder and of those above it say, up to the root. Folders that cannot be read are passed over;
/// a file that cannot be is a problem.
pub fn read(folder: &Path) -> Found {
    let mut listing = Vec::with_capacity(LISTING);
    gather(folder, |folder| {
        let (_, there) = look(folder, &mut listing, Stamp::is_settled)?;
        Some(there.into_iter().map(|file| (file.kind, file.contents)).collect())
    })
}

/// Puts together what `look` finds in the folder and in those above it.
fn gather(folder: &Path, mut look: impl FnMut(&Path) -> Option<Vec<(&'static Kind, Arc<Contents>)>>) -> Found {
    let mut found = Found::default();
    let Ok(folder) = std::path::absolute(folder) else { return found };
    for folder in folder.ancestors() {
        let Some(here) = look(folder) else { continue };
        let start = found.wishes.len();
        for (kind, contents) in here {
            add(&mut found, folder, kind, &contents);
        }
        // Stable: files of the same weight stay in their order.
        if let Some(here) = found.wishes.get_mut(start..) {
            here.sort_by_key(|wish| wish.weight);
        }
    }
    found
}

/// A file that counts, as it was read.
#[derive(Debug, Clone)]
struct Known {
    kind: &'static Kind,
    /// `None`: another change may not tell, or it could not be read.
    stamp: Option<Stamp>,
    contents: Arc<Contents>,
}

/// The files that count in a folder, and its stamp before it was read where every change from then on makes another one;
/// `None` where there is no such folder for us.
fn look(folder: &Path, listing: &mut Vec<u8>, settled: Settled) -> Option<(Option<Stamp>, Vec<Known>)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = rustix::fs::openat(CWD, folder, flags, Mode::empty()).ok()?;
    let (stamp, _) = Stamp::of_open(&opened).ok()?;
    let stamp = Some(stamp).filter(settled);
    let mut there = Vec::new();
    for kind in present(&opened, listing) {
        let (stamp, contents) = match bytes(&opened, kind, settled) {
            Ok(Some((stamp, bytes))) => (stamp, parse_as(kind, &bytes)),
            // A link that leads nowhere yet: what it leads to does not change this folder when it comes to be.
            Ok(None) => (None, Contents::default()),
            Err(error) => {
                let mut contents = Contents::default();
                contents.trouble(1, format!("cannot be read: {error}"), kind.undecided());
                (None, contents)
            }
        };
        there.push(Known { kind, stamp, contents: Arc::new(contents) });
    }
    Some((stamp, there))
}

/// A folder as it was read: its stamp then, and the files that count.
type Folder = (Stamp, Arc<[Known]>);

/// Whether every change from now on makes another stamp.
pub type Settled = fn(&Stamp) -> bool;

/// What was read before, for a process that looks at the same folders again and again: what still has its stamp is not read
/// anew.
#[derive(Debug)]
pub struct Memory {
    folders: Mutex<HashMap<PathBuf, Folder>>,
    settled: Settled,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(Stamp::is_settled)
    }
}

impl Memory {
    /// `settled` tells what can be remembered.
    pub fn new(settled: Settled) -> Self {
        Self { folders: Mutex::default(), settled }
    }

    /// As [`read`].
    pub fn read(&self, folder: &Path) -> Found {
        let mut listing = Vec::new();
        gather(folder, |folder| {
            let known = match self.recall(folder) {
                Some(known) => known,
                None => {
                    listing.reserve(LISTING);
                    let (stamp, there) = look(folder, &mut listing, self.settled)?;
                    self.keep(folder, stamp, there)
                }
            };
            Some(known.iter().map(|file| (file.kind, Arc::clone(&file.contents))).collect())
        })
    }

    /// Whether the files of this folder need not be read again.
    #[cfg(test)]
    pub fn remembers(&self, folder: &Path) -> bool {
        self.recall(folder).is_some()
    }

    fn recall(&self, folder: &Path) -> Option<Arc<[Known]>> {
        let (before, known) = lock(&self.folders).get(folder).cloned()?;
        let same = |path: &Path, before: Stamp| Stamp::of(path).is_ok_and(|now| now == before);
        let is_same = |file: &Known| file.stamp.is_some_and(|before| same(&folder.join(file.kind.name), before));
        (same(folder, before) && known.iter().all(is_same)).then_some(known)
    }

    fn keep(&self, folder: &Path, stamp: Option<Stamp>, there: Vec<Known>) -> Arc<[Known]> {
        let said: usize = there.iter().map(|file| file.contents.wishes.len() + file.contents.problems.len()).sum();
        let there: Arc<[Known]> = there.into();
        let lasting = stamp.filter(|_| there.iter().all(|file| file.stamp.is_some()) && said <= MOST_SAID);
        // Other machines' changes are told late by their stamps.
        if let Some(stamp) = lasting.filter(|_| is_local_path(folder)) {
            let mut folders = lock(&self.folders);
            if folders.len() >= MOST_FOLDERS {
                folders.clear();
            }
            folders.insert(folder.to_owned(), (stamp, Arc::clone(&there)));
        }
        there
    }
}

fn add(found: &mut Found, folder: &Path, kind: &Kind, contents: &Contents) {
    let file = folder.join(kind.name);
    found.wishes.extend(contents.wishes.iter().map(|entry| Wish {
        runtime: entry.runtime.clone(),
        request: entry.request.clone(),
        extras: entry.extras.clone(),
        file: file.clone(),
        line: entry.line,
        weight: entry.weight,
    }));
    let problems = contents.problems.iter();
    found.problems.extend(problems.map(|Trouble { line, message, undecided }| Problem {
        file: file.clone(),
        line: *line,
        message: message.clone(),
        undecided: undecided.clone(),
    }));
    if let Some(can_run) = &contents.can_run {
        found.mise.push(MiseFile { file, can_run: can_run.clone() });
    }
}

/// The files of the folder that count, in their order. All of them when the folder is too large to look through.
fn present(folder: &OwnedFd, listing: &mut Vec<u8>) -> Vec<&'static Kind> {
    let mut there = [false; FILES.len()];
    let mut entries = RawDir::new(folder, listing.spare_capacity_mut());
    let mut fillings = 0;
    loop {
        if entries.is_buffer_empty() {
            fillings += 1;
            // The third is empty when the listing ended with the second.
            if fillings > 3 {
                return FILES.iter().collect();
            }
        }
        let Some(Ok(entry)) = entries.next() else { break };
        let name = entry.file_name().to_bytes();
        let known = FILES.iter().zip(&mut there).find(|(kind, _)| kind.name.as_bytes() == name);
        if let Some((_, there)) = known {
            *there = true;
        }
    }
    FILES.iter().zip(there).filter_map(|(kind, there)| there.then_some(kind)).collect()
}

/// The bytes of a regular file, one more than is allowed at most, and its stamp before they were read; `None` when there is no
/// such file.
fn bytes(folder: &OwnedFd, kind: &Kind, settled: Settled) -> io::Result<Option<(Option<Stamp>, Vec<u8>)>> {
    // A pipe must not make this wait, nor a terminal become this process's own.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::openat(folder, kind.name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (stamp, kind_of_file) = Stamp::of_open(&file)?;
    let settled = Some(stamp).filter(settled);
    let Stamp::Present { size, .. } = stamp else { return Ok(None) };
    if kind_of_file != FileType::RegularFile {
        return Err(io::Error::other("it is no regular file"));
    }
    // No more than the file says that it has: to find its end would be one call more for each file.
    let length = size.min(kind.most as u64 + 1);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(length).read_to_end(&mut bytes)?;
    Ok(Some((settled, bytes)))
}
