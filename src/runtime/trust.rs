//! Files that the user allowed to be handed to mise, which may run what they say.
//!
//! The list is `<data>/trust`, of mode 0600: a line for each file, its content's SHA-256 in hexadecimal, a space, and
//! its path, in which what is not printable ASCII, and `%`, is `%XX`. A changed file is not trusted any more.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

/// Longest list, bytes.
const MAX_LIST: u64 = 4 * 1024 * 1024;

/// Longest file that can be trusted, bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Why a file is not trusted now, or no longer, though it was asked for.
#[derive(Debug, Error)]
pub enum TrustError {
    #[error("cannot read {path:?}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path:?}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path:?} is not used: others than you can change it; `chmod 600` it once you have looked at it")]
    NotOurs { path: PathBuf },
    #[error("{path:?} is longer than {most} bytes")]
    TooLong { path: PathBuf, most: u64 },
}

/// The list of one user.
#[derive(Debug, Clone)]
pub struct Trust {
    folder: PathBuf,
}

impl Trust {
    /// The list in the data folder.
    pub fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.to_owned() }
    }

    /// Whether this file, with the content that it has now, was trusted. What cannot be read is not.
    pub fn is_trusted(&self, path: &Path) -> bool {
        let known = || -> Result<bool, TrustError> {
            let line = line_of(path)?;
            Ok(self.lines()?.contains(&line))
        };
        known().unwrap_or(false)
    }

    /// Trusts the file with the content that it has now.
    ///
    /// # Errors
    /// When the file or the list cannot be read, or the list cannot be written.
    pub fn trust(&self, path: &Path) -> Result<(), TrustError> {
        let line = line_of(path)?;
        self.change(path, Some(line))
    }

    /// Trusts it no more, whatever it has in it. One that was not trusted stays so.
    ///
    /// # Errors
    /// As [`Self::trust`]; the file itself may be gone.
    pub fn untrust(&self, path: &Path) -> Result<(), TrustError> {
        self.change(path, None)
    }

    fn file(&self) -> PathBuf {
        self.folder.join("trust")
    }

    fn change(&self, path: &Path, new: Option<String>) -> Result<(), TrustError> {
        let list = self.file();
        let failed = |source| TrustError::Write { path: list.clone(), source };
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        // Held until the end: two changes at once would lose one.
        let mut options = File::options();
        options.create(true).append(true).mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        let lock = options.open(self.folder.join("trust.lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let name = format!(" {}", encode(&resolved(path)));
        let mut lines = self.lines()?;
        lines.retain(|line| !line.ends_with(&name));
        lines.extend(new);
        lines.sort();
        let mut text = lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        if text.len() as u64 > MAX_LIST {
            return Err(TrustError::TooLong { path: list, most: MAX_LIST });
        }
        // Of mode 0600 from its creation.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&list).map_err(|error| failed(error.error))?;
        Ok(())
    }

    fn lines(&self) -> Result<Vec<String>, TrustError> {
        let path = self.file();
        let mut options = File::options();
        options
            .read(true)
            .custom_flags((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed());
        let file = match options.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(TrustError::Read { path, source }),
        };
        let status = file.metadata().map_err(|source| TrustError::Read { path: path.clone(), source })?;
        let is_ours = status.is_file() && status.uid() == rustix::process::geteuid().as_raw();
        if !is_ours || status.mode() & 0o022 != 0 {
            return Err(TrustError::NotOurs { path });
        }
        let bytes = bounded(&file, &path, MAX_LIST)?;
        Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }
}

/// The path as the list has it: absolute, and without links where it exists.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

fn line_of(path: &Path) -> Result<String, TrustError> {
    let failed = |source| TrustError::Read { path: path.to_owned(), source };
    let name = path.canonicalize().map_err(failed)?;
    // A pipe would be waited for.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(&name).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file")));
    }
    let content = bounded(&file, path, MAX_FILE)?;
    Ok(format!("{} {}", hex::encode(Sha256::digest(content)), encode(&name)))
}

fn bounded(file: &File, path: &Path, most: u64) -> Result<Vec<u8>, TrustError> {
    let mut content = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut content);
    read.map_err(|source| TrustError::Read { path: path.to_owned(), source })?;
    if content.len() as u64 > most {
        return Err(TrustError::TooLong { path: path.to_owned(), most });
    }
    Ok(content)
}

fn encode(path: &Path) -> String {
    let bytes = path.to_owned().into_os_string().into_vec();
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    bytes.iter().map(|byte| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_trusted_until_it_changes_or_is_untrusted() {
        let folder = tempfile::tempdir().unwrap();
        let (data, other) = (folder.path().join("data"), folder.path().join("b c\n%\u{e9}.toml"));
        let file = folder.path().join("mise.toml");
        std::fs::write(&file, "[tools]\n").unwrap();
        std::fs::write(&other, "[tools]\n").unwrap();
        let trust = Trust::new(&data);
        assert!(!trust.is_trusted(&file));
        trust.trust(&file).unwrap();
        trust.trust(&other).unwrap();
        assert!(trust.is_trusted(&file) && trust.is_trusted(&other));
        assert_eq!(std::fs::metadata(data.join("trust")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(data.join("trust")).unwrap().lines().count(), 2);
        std::fs::write(&file, "[env]\n").unwrap();
        assert!(!trust.is_trusted(&file) && trust.is_trusted(&other));
        trust.trust(&file).unwrap();
        std::fs::write(&file, "[tools]\n").unwrap();
        assert!(!trust.is_trusted(&file), "an earlier content is not trusted beside the later one");
        std::fs::remove_file(&other).unwrap();
        trust.untrust(&other).unwrap();
        std::fs::write(&other, "[tools]\n").unwrap();
        assert!(!trust.is_trusted(&other));
    }

    #[test]
    fn a_list_that_others_can_write_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mise.toml");
        std::fs::write(&file, "").unwrap();
        let trust = Trust::new(folder.path());
        trust.trust(&file).unwrap();
        std::fs::set_permissions(folder.path().join("trust"), std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(!trust.is_trusted(&file));
        assert!(matches!(trust.trust(&file), Err(TrustError::NotOurs { .. })));
    }

    #[test]
    fn what_is_no_file_or_too_long_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let trust = Trust::new(folder.path());
        let long = folder.path().join("long");
        std::fs::write(&long, vec![b'#'; MAX_FILE as usize + 1]).unwrap();
        assert!(matches!(trust.trust(&long), Err(TrustError::TooLong { .. })));
        assert!(matches!(trust.trust(folder.path()), Err(TrustError::Read { .. })));
        assert!(matches!(trust.trust(&folder.path().join("gone")), Err(TrustError::Read { .. })));
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(matches!(trust.trust(&pipe), Err(TrustError::Read { .. })));
    }
}
