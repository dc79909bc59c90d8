//! Package files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use alpm::{Alpm, Error as AlpmError, SigLevel};
use omg::transaction::{Failure, FailureKind};
use sha2::{Digest as _, Sha256};

use super::super::package_files::{Identity, invalid};
use super::sound;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// What a package file says that it is.
///
/// # Errors
/// When it is no package, or not signed as the configuration wants it (`LocalFileSigLevel`, pacman.conf(5)).
pub fn read(handle: &Alpm, label: &str, path: &Path) -> Result<Identity, Failure> {
    let place = path.to_str().ok_or_else(|| invalid(format!("{label} cannot be named to libalpm")))?;
    let package = handle.pkg_load(place, true, handle.local_file_siglevel());
    let package = package.map_err(|error| refused(label, error, "LocalFileSigLevel"))?;
    let identity = sound(|| {
        let (name, version) = (package.name().to_owned(), package.version().to_string());
        let arch = package.arch().unwrap_or_default().to_owned();
        Identity { file: format!("{name}-{version}-{arch}.pkg.tar"), name, version, arch }
    });
    let identity = identity
        .filter(|identity| [&identity.name, &identity.version, &identity.arch].iter().all(|part| is_plain(part)));
    identity.ok_or_else(|| invalid(format!("{label} is no package: its name, version or architecture is not valid")))
}

/// A package that was downloaded before, from a folder of pacman's downloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    pub name: String,
    /// Hexadecimal.
    pub sha256: String,
    /// Whether a trusted key vouches for it.
    pub trusted: bool,
}

/// Adds the package in a file to the transaction.
///
/// # Errors
/// As [`read`].
pub fn add(handle: &Alpm, label: &str, path: &Path) -> Result<(), Failure> {
    load(handle, label, path, handle.local_file_siglevel(), "LocalFileSigLevel").map(drop)
}

/// Adds a downloaded package to the transaction. It is checked as strictly as the repository that has the package by that
/// name would be, and where none has it as any file.
///
/// # Errors
/// As [`read`]; when it is not what its name says.
pub fn add_downloaded(handle: &Alpm, name: &str, version: &str, path: &Path) -> Result<Downloaded, Failure> {
    let repository = handle.syncdbs().into_iter().find(|database| database.pkg(name).is_ok());
    let (level, setting) = match repository {
        Some(database) => (database.siglevel(), "SigLevel"),
        None => (handle.local_file_siglevel(), "LocalFileSigLevel"),
    };
    let label = path.display().to_string();
    let sha256 = hash(path).map_err(|error| invalid(format!("{label} cannot be read: {error}")))?;
    let found = load(handle, &label, path, level, setting)?;
    if found != (name.to_owned(), version.to_owned()) {
        return Err(invalid(format!("{label} is {} {} and not what its name says; delete it", found.0, found.1)));
    }
    let signed = level.contains(SigLevel::PACKAGE) && !level.contains(SigLevel::PACKAGE_OPTIONAL);
    Ok(Downloaded { name: name.to_owned(), sha256, trusted: signed })
}

fn hash(path: &Path) -> io::Result<String> {
    let mut from = File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk)?;
        match chunk.get(..read) {
            Some(bytes) if !bytes.is_empty() => hash.update(bytes),
            _ => return Ok(hex::encode(hash.finalize())),
        }
    }
}

/// Adds the package in a file; its name and version.
fn load(handle: &Alpm, label: &str, path: &Path, level: SigLevel, setting: &str) -> Result<(String, String), Failure> {
    let place = path.to_str().ok_or_else(|| invalid(format!("{label} cannot be named to libalpm")))?;
    let package = handle.pkg_load(place, true, level).map_err(|error| refused(label, error, setting))?;
    let found = (package.name().to_owned(), package.version().to_string());
    let added = handle.trans_add_pkg(package).map_err(|error| match error.error {
        AlpmError::TransDupTarget => invalid(format!("{label} has the name of another file that is to be installed")),
        error => Failure::new(FailureKind::Internal, format!("{label} cannot be added: {error}")),
    });
    added.map(|()| found)
}

fn refused(label: &str, error: AlpmError, setting: &str) -> Failure {
    match error {
        AlpmError::PkgMissingSig | AlpmError::PkgInvalidSig | AlpmError::SigInvalid | AlpmError::SigMissing => {
            let message = format!("{label}: {error}, which {setting} in pacman's configuration asks for");
            Failure::new(FailureKind::Untrusted, message)
        }
        error => invalid(format!("{label} is no package: {error}")),
    }
}

/// Reads a package's record alone, and its signature as `level` asks for it.
///
/// # Errors
/// In libalpm's words.
pub fn opens(handle: &Alpm, path: &Path, level: SigLevel) -> Result<(), AlpmError> {
    let place = path.to_str().ok_or(AlpmError::WrongArgs)?;
    handle.pkg_load(place, false, level).map(drop)
}

/// Whether it can be part of a file's name.
pub fn is_plain(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 200
        && !value.starts_with(['.', '-'])
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.:~_@".contains(&byte))
}
