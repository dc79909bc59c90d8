//! Folders of the caller's that package files are fetched into.
//!
//! Package systems fetch into a folder of their own beside the files' last place. What is whole and checked is moved from
//! there, and never over another file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use omg::transaction::{
    Action, Archive, Change, Download, Failure, FailureKind, Item, MAX_ACTIONS, Options, Plan, Resolution, Verb,
};
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::Stop;
use super::package_files::invalid;

/// What is asked for, read as for an installation.
///
/// # Errors
/// When nothing is asked for, too much, or something that is no package's name.
pub fn actions(request: &Download) -> Result<Vec<Action>, Failure> {
    let targets = &request.targets;
    if targets.is_empty() || targets.len() > MAX_ACTIONS {
        return Err(invalid(format!("{} packages are named; 1 to {MAX_ACTIONS} can be", targets.len())));
    }
    let action = |text: &String| Action::new(Verb::Install, text).map_err(|error| invalid(error.to_string()));
    targets.iter().map(action).collect()
}

/// The folder that files go to, as package systems' libraries can be told it.
///
/// # Errors
/// When it is none, its name is not UTF-8, or others could put something in the place of what is in it.
pub fn folder(given: &Path) -> Result<PathBuf, Failure> {
    let shown = given.display();
    let folder =
        fs::canonicalize(given).map_err(|error| invalid(format!("the folder {shown} cannot be used: {error}")))?;
    if !folder.is_dir() {
        return Err(invalid(format!("{shown} is no folder")));
    }
    for part in folder.ancestors() {
        private(part).map_err(|why| invalid(format!("files cannot be put safely into {shown}: {why}")))?;
    }
    if folder.to_str().is_none() {
        return Err(invalid(format!("the folder {shown} has a name that is not UTF-8; name another one with --to")));
    }
    Ok(folder)
}

/// Whether nobody else can put something in the place of what is in this folder: it works by paths, also with root's
/// rights, and so do the package systems' libraries.
fn private(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    let found = fs::symlink_metadata(folder).map_err(|error| format!("{shown}: {error}"))?;
    let own = rustix::process::geteuid();
    if found.uid() != own.as_raw() && found.uid() != 0 {
        let user = found.uid();
        return Err(format!("{shown} belongs to user {user}; run omg as that user, or name another folder with --to"));
    }
    // In a folder with the sticky bit everybody moves their own alone. A user's own group has nobody else in it.
    let own_group = !own.is_root() && found.gid() == rustix::process::getegid().as_raw();
    let others = if own_group { 0o002 } else { 0o022 };
    if found.mode() & others != 0 && found.mode() & 0o1000 == 0 {
        return Err(format!("others can write in {shown}; name another folder with --to"));
    }
    Ok(())
}

/// A folder beside the files' last place; it goes with all that is in it.
///
/// # Errors
/// When it cannot be made.
pub fn staging(folder: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(".omg-download-").tempdir_in(folder)
}

/// Why files cannot be put into the folder.
pub fn cannot_put(folder: &Path, error: &io::Error) -> Stop {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::DiskFull,
        _ => FailureKind::InvalidArgument,
    };
    Stop::failed(kind, format!("files cannot be put into {}: {error}", folder.display()))
}

/// Whether the file is there already.
///
/// # Errors
/// When something else has its name.
pub fn is_there(path: &Path, size: u64, sha256: &str) -> Result<bool, Failure> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(invalid(format!("{} cannot be looked at: {error}", path.display()))),
    };
    let same = metadata.is_file() && metadata.len() == size && hash_of(path).is_ok_and(|hash| hash == sha256);
    if same { Ok(true) } else { Err(in_the_way(path)) }
}

/// That something else has a file's name.
pub fn in_the_way(path: &Path) -> Failure {
    invalid(format!(
        "{} is there and is something else; move it away, or name another folder with --to",
        path.display()
    ))
}

/// The SHA-256 of a file that is no link, hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn hash_of(path: &Path) -> io::Result<String> {
    let mut file = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path)?;
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash)?;
    Ok(hex::encode(hash.finalize()))
}

/// What can be fetched together: package systems can be told to install one version of a package at a time.
pub fn rounds(archives: Vec<Archive>) -> Vec<Vec<Archive>> {
    let mut rounds: Vec<Vec<Archive>> = Vec::new();
    for archive in archives {
        let is_it = |known: &Archive| (&known.name, &known.arch) == (&archive.name, &archive.arch);
        match rounds.iter_mut().find(|round| !round.iter().any(is_it)) {
            Some(round) => round.push(archive),
            None => rounds.push(vec![archive]),
        }
    }
    rounds
}

/// What is left out where a round fails, for people; empty when it was the last.
pub fn untried(rounds: &[Vec<Archive>]) -> String {
    let names: Vec<String> =
        rounds.iter().flatten().map(|archive| format!("{} {}", archive.name, archive.version)).collect();
    if names.is_empty() { String::new() } else { format!("; not tried after that: {}", names.join(", ")) }
}

/// The files as a plan's items, by which it is told how far they are.
pub fn plan(archives: &[Archive]) -> Plan {
    let items = archives.iter().map(item).collect();
    Plan::new(Vec::new(), Options::default(), Resolution { items, ..Resolution::default() })
}

fn item(archive: &Archive) -> Item {
    Item {
        change: Change::Install,
        name: archive.name.clone(),
        arch: archive.arch.clone(),
        from: String::new(),
        to: archive.version.clone(),
        repository: archive.repository.clone(),
        download: archive.size,
        delta: 0,
        explicit: true,
        sha256: archive.sha256.clone(),
    }
}

/// Moves a file, over nothing.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], and what moving fails with.
pub fn put(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot; all can create a file that must not be there yet.
        Err(Errno::INVAL | Errno::NOSYS) => {
            let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o644).open(to)?;
            let copied = File::open(from).and_then(|mut file| io::copy(&mut file, &mut copy));
            if copied.is_err() {
                fs::remove_file(to)?;
            }
            copied.map(drop)
        }
        moved => Ok(moved?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(name: &str, version: &str) -> Archive {
        Archive {
            name: name.into(),
            arch: "amd64".into(),
            version: version.into(),
            repository: "r".into(),
            size: 3,
            sha256: String::new(),
            trusted: true,
            file: format!("{name}_{version}_all.deb"),
            present: false,
        }
    }

    #[test]
    fn versions_of_one_package_are_fetched_one_after_the_other() {
        let rounds = rounds(vec![archive("a", "1"), archive("a", "2"), archive("b", "1"), archive("a", "3")]);
        let told: Vec<Vec<&str>> =
            rounds.iter().map(|round| round.iter().map(|archive| archive.file.as_str()).collect()).collect();
        assert_eq!(told, [vec!["a_1_all.deb", "b_1_all.deb"], vec!["a_2_all.deb"], vec!["a_3_all.deb"]]);
    }

    #[test]
    fn only_the_promised_bytes_in_a_plain_file_count_as_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.deb");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(!is_there(&path, 3, abc).unwrap());
        fs::write(&path, "abc").unwrap();
        assert!(is_there(&path, 3, abc).unwrap());
        for (size, hash) in [(4, abc), (3, "00"), (3, "")] {
            assert_eq!(is_there(&path, size, hash).unwrap_err().kind, FailureKind::InvalidArgument);
        }
        let link = folder.path().join("b.deb");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(is_there(&link, 3, abc).is_err());
        assert!(is_there(folder.path(), 3, abc).is_err());
    }

    #[test]
    fn nothing_is_moved_over_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        assert_eq!(put(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&to).unwrap(), "old");
        fs::remove_file(&to).unwrap();
        put(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "new");
    }
}
