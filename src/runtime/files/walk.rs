//! Goes from a folder up to the root and reads what is there.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::{Contents, FILES, Found, Kind, MiseFile, Problem, Wish, parse_as};

/// A listing costs about as much as two attempts to open a file that is not there, and there are eighteen names.
///
/// Of a listing that is longer than two of these (some 1,600 names) the rest is not read: trying to open each name that
/// counts is cheaper then.
const LISTING: usize = 32 * 1024;

/// What the files of this folder and of those above it say, up to the root. Folders that cannot be read are passed over;
/// a file that cannot be is a problem.
pub fn read(folder: &Path) -> Found {
    let mut found = Found::default();
    let Ok(folder) = std::path::absolute(folder) else { return found };
    let mut listing = Vec::with_capacity(LISTING);
    for folder in folder.ancestors() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let Ok(opened) = rustix::fs::openat(CWD, folder, flags, Mode::empty()) else { continue };
        let start = found.wishes.len();
        for kind in present(&opened, &mut listing) {
            let contents = match bytes(&opened, kind) {
                Ok(Some(bytes)) => parse_as(kind, &bytes),
                Ok(None) => continue,
                Err(error) => {
                    Contents { problems: vec![(1, format!("cannot be read: {error}"))], ..Contents::default() }
                }
            };
            add(&mut found, folder, kind, contents);
        }
        // Stable: files of the same weight stay in their order.
        if let Some(here) = found.wishes.get_mut(start..) {
            here.sort_by_key(|wish| wish.weight);
        }
    }
    found
}

fn add(found: &mut Found, folder: &Path, kind: &Kind, contents: Contents) {
    let file = folder.join(kind.name);
    found.wishes.extend(contents.wishes.into_iter().map(|entry| Wish {
        runtime: entry.runtime,
        request: entry.request,
        extras: entry.extras,
        file: file.clone(),
        line: entry.line,
        weight: entry.weight,
    }));
    let problems = contents.problems.into_iter();
    found.problems.extend(problems.map(|(line, message)| Problem { file: file.clone(), line, message }));
    if let Some(can_run) = contents.can_run {
        found.mise.push(MiseFile { file, can_run });
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

/// The bytes of a regular file, one more than is allowed at most; `None` when there is no such file.
fn bytes(folder: &OwnedFd, kind: &Kind) -> io::Result<Option<Vec<u8>>> {
    // A pipe must not make this wait, nor a terminal become this process's own.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::openat(folder, kind.name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    // No more than the file says that it has: to find its end would be one call more for each file.
    let length = metadata.len().min(kind.most as u64 + 1);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(length).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
