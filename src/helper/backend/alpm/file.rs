//! Package files.

use std::path::Path;

use alpm::{Alpm, Error as AlpmError};
use omg::transaction::{Failure, FailureKind};

use super::super::package_files::{Identity, invalid};
use super::sound;

/// What a package file says that it is.
///
/// # Errors
/// When it is no package, or not signed as the configuration wants it (`LocalFileSigLevel`, pacman.conf(5)).
pub fn read(handle: &Alpm, label: &str, path: &Path) -> Result<Identity, Failure> {
    let place = path.to_str().ok_or_else(|| invalid(format!("{label} cannot be named to libalpm")))?;
    let package = handle.pkg_load(place, true, handle.local_file_siglevel()).map_err(|error| refused(label, error))?;
    let identity = sound(|| {
        let (name, version) = (package.name().to_owned(), package.version().to_string());
        let arch = package.arch().unwrap_or_default().to_owned();
        Identity { file: format!("{name}-{version}-{arch}.pkg.tar"), name, version, arch }
    });
    let identity = identity
        .filter(|identity| [&identity.name, &identity.version, &identity.arch].iter().all(|part| is_plain(part)));
    identity.ok_or_else(|| invalid(format!("{label} is no package: its name, version or architecture is not valid")))
}

/// Adds the package in a file to the transaction.
///
/// # Errors
/// As [`read`].
pub fn add(handle: &Alpm, label: &str, path: &Path) -> Result<(), Failure> {
    let place = path.to_str().ok_or_else(|| invalid(format!("{label} cannot be named to libalpm")))?;
    let package = handle.pkg_load(place, true, handle.local_file_siglevel()).map_err(|error| refused(label, error))?;
    handle.trans_add_pkg(package).map_err(|error| match error.error {
        AlpmError::TransDupTarget => invalid(format!("{label} has the name of another file that is to be installed")),
        error => Failure::new(FailureKind::Internal, format!("{label} cannot be added: {error}")),
    })
}

fn refused(label: &str, error: AlpmError) -> Failure {
    match error {
        AlpmError::PkgMissingSig | AlpmError::PkgInvalidSig | AlpmError::SigInvalid | AlpmError::SigMissing => {
            let message = format!("{label}: {error}, which LocalFileSigLevel in pacman's configuration asks for");
            Failure::new(FailureKind::Untrusted, message)
        }
        error => invalid(format!("{label} is no package: {error}")),
    }
}

/// Whether it can be part of a file's name.
fn is_plain(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 200
        && !value.starts_with(['.', '-'])
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.:~_@".contains(&byte))
}
