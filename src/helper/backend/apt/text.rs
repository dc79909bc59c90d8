//! What may be asked of the bindings by name.
//!
//! They abort the process when a name or version that they hand over is not UTF-8, and apt takes such names from any
//! list. The fields of a record come as results instead, so a record's fields are read first.

use rust_apt::config::Config;
use rust_apt::{Cache, Version, VersionFile};

/// A package's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub name: String,
    pub arch: String,
    /// As apt shows it: with the architecture where that is not the machine's own.
    pub pretty: String,
}

/// Where to read a version's record: in dpkg's status if it is there, which is not compressed.
fn record<'a>(version: &Version<'a>) -> Option<VersionFile<'a>> {
    let mut files = version.version_files();
    let first = files.next()?;
    if !first.package_file().is_downloadable() {
        return Some(first);
    }
    files.find(|file| !file.package_file().is_downloadable()).or(Some(first))
}

/// A field of a version's record; `None` also when it is no text.
pub fn field(version: &Version<'_>, name: &str) -> Option<String> {
    record(version)?.lookup().get_field(name.to_owned())
}

/// Whether the version's string and its package's name are text.
pub fn is_sound(version: &Version<'_>) -> bool {
    let Some(record) = record(version) else { return false };
    let record = record.lookup();
    ["Package", "Version"].into_iter().all(|field| record.get_field(field.to_owned()).is_some())
}

/// The names of a version's package, if they are text.
pub fn name(cache: &Cache, config: &Config, version: &Version<'_>) -> Option<Name> {
    if !is_sound(version) {
        return None;
    }
    let package = version.parent();
    let name = package.name().to_owned();
    let is = |arch: &String| cache.get(&format!("{name}:{arch}")).is_some_and(|found| found.index() == package.index());
    let arch = match config.get_architectures().into_iter().find(is) {
        Some(arch) => arch,
        // One that is not configured comes from the record.
        None => field(version, "Architecture").map(|_| package.arch().to_owned())?,
    };
    let pretty = package.fullname(true);
    Some(Name { name, arch, pretty })
}
