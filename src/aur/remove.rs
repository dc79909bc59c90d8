//! Removes what a build left, whatever that is: trees that are deeper than paths may be long or descriptors many, and folders
//! that even their owner may not enter.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RawMode, chmod, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

/// Folders are renamed to this and a number while they wait to be emptied.
const WAITING: &str = ".omg-";

/// Removes a folder and everything in it; one that is not there is removed already. No link is followed.
///
/// # Errors
/// When something of it cannot be removed.
pub fn remove(folder: &Path) -> io::Result<()> {
    match enter(CWD, folder) {
        Ok(top) => empty(&top)?,
        Err(Errno::NOENT) => return Ok(()),
        // A file, or a link that somebody put in its place.
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(unlinkat(CWD, folder, AtFlags::empty())?),
        Err(error) => return Err(error.into()),
    }
    Ok(unlinkat(CWD, folder, AtFlags::REMOVEDIR)?)
}

/// Opens a folder, no link, that may then be read and changed by its owner.
fn enter(at: BorrowedFd<'_>, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(at, name, flags | OFlags::PATH, Mode::empty())?;
    let mode: RawMode = 0o700;
    // By its descriptor: what has the name now may be something else. That it fails is told by what comes next.
    let _ = chmod(format!("/proc/self/fd/{}", found.as_raw_fd()), Mode::from_raw_mode(mode));
    openat(&found, c".", flags, Mode::empty())
}

/// Empties a folder. Folders in folders are first moved into this one: nothing is ever deeper than two levels, and no more
/// than two of them are open.
fn empty(top: &OwnedFd) -> io::Result<()> {
    let mut number = 0u64;
    loop {
        let mut found = false;
        for (name, is_folder) in entries(top)? {
            found = true;
            if is_folder {
                let folder = enter(top.as_fd(), name.as_c_str())?;
                flatten(&folder, top, &mut number)?;
                drop(folder);
                unlinkat(top, name.as_c_str(), AtFlags::REMOVEDIR)?;
            } else {
                unlinkat(top, name.as_c_str(), AtFlags::empty())?;
            }
        }
        if !found {
            return Ok(());
        }
    }
}

/// Removes the files of a folder, and moves its folders to `top`.
fn flatten(folder: &OwnedFd, top: &OwnedFd, number: &mut u64) -> io::Result<()> {
    loop {
        let inside = entries(folder)?;
        if inside.is_empty() {
            return Ok(());
        }
        for (name, is_folder) in inside {
            if !is_folder {
                unlinkat(folder, name.as_c_str(), AtFlags::empty())?;
                continue;
            }
            // What may not be written to may not be moved either.
            drop(enter(folder.as_fd(), name.as_c_str())?);
            loop {
                *number += 1;
                match renameat(folder, name.as_c_str(), top, format!("{WAITING}{number}")) {
                    Ok(()) => break,
                    // Somebody else's choice of a name.
                    Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

/// Some of the names in a folder, and whether they are folders: all, but for what would take too much memory.
fn entries(folder: &OwnedFd) -> io::Result<Vec<(CString, bool)>> {
    const AT_ONCE: usize = 4096;
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say.
            FileType::Unknown => FileType::from_raw_mode(statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
            kind => kind,
        };
        names.push((name.to_owned(), kind == FileType::Directory));
        if names.len() == AT_ONCE {
            break;
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::mkdirat;

    use super::*;

    #[test]
    fn a_tree_deeper_than_descriptors_and_paths_reach_is_removed_and_nothing_that_it_links_to() {
        let outside = tempfile::tempdir().expect("temporary folder");
        fs::write(outside.path().join("kept"), "x").expect("written");
        let inside = tempfile::tempdir().expect("temporary folder");
        let tree = inside.path().join("tree");
        fs::create_dir(&tree).expect("made");
        // Longer than PATH_MAX, deeper than the descriptors of a process.
        let mut at = openat(CWD, &tree, OFlags::DIRECTORY, Mode::empty()).expect("opened");
        for _ in 0..5000 {
            mkdirat(&at, c"deep-enough", Mode::RWXU).expect("made");
            at = openat(&at, c"deep-enough", OFlags::DIRECTORY, Mode::empty()).expect("opened");
        }
        for name in [".omg-1", ".omg-2/full", "shut/in"] {
            fs::create_dir_all(tree.join(name)).expect("made");
        }
        fs::write(tree.join(".omg-3"), "x").expect("written");
        symlink(outside.path(), tree.join("link")).expect("linked");
        symlink(outside.path(), tree.join("shut/link")).expect("linked");
        fs::set_permissions(tree.join("shut/in"), fs::Permissions::from_mode(0o000)).expect("shut");
        fs::set_permissions(tree.join("shut"), fs::Permissions::from_mode(0o000)).expect("shut");
        remove(&tree).expect("removed");
        assert!(!tree.exists());
        assert!(outside.path().join("kept").exists());
        remove(&tree).expect("nothing is there");
        symlink(outside.path(), &tree).expect("linked");
        remove(&tree).expect("the link is removed");
        assert!(tree.symlink_metadata().is_err() && outside.path().join("kept").exists());
    }
}
