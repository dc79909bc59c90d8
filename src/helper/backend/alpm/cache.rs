//! The folders of downloaded packages.

use std::path::PathBuf;
use std::{fs, io};

use omg::package::PackageFileName;
use omg::transaction::{Change, Item};

use super::settings::Settings;

/// One item for each package file in the download caches; what it takes up is set free.
pub fn items(settings: &Settings) -> Vec<Item> {
    let mut items = Vec::new();
    for path in files(settings) {
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(PackageFileName { name, version, arch }) = PackageFileName::parse(file) else { continue };
        let size = path.metadata().map_or(0, |found| found.len());
        items.push(Item {
            change: Change::Clean,
            name,
            arch,
            from: version,
            to: String::new(),
            repository: String::new(),
            download: 0,
            delta: -i64::try_from(size).unwrap_or(i64::MAX),
            explicit: false,
            sha256: String::new(),
        });
    }
    items
}

/// A downloaded package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    pub version: String,
    pub arch: String,
    pub path: PathBuf,
}

/// The downloaded packages of that name, the newest version first.
pub fn of_name(settings: &Settings, name: &str) -> Vec<Cached> {
    let of_name = |path: PathBuf| {
        let found = PackageFileName::parse(path.file_name()?.to_str()?)?;
        (found.name == name).then_some(Cached { version: found.version, arch: found.arch, path })
    };
    let mut found: Vec<Cached> = Vec::new();
    for cached in files(settings).into_iter().filter_map(of_name) {
        // libalpm's order goes round in circles for some made-up versions, at which a sort may panic.
        let is_newer = |known: &Cached| alpm::vercmp(known.version.as_str(), cached.version.as_str()).is_ge();
        found.insert(found.partition_point(is_newer), cached);
    }
    found
}

/// Deletes every downloaded package, as `pacman -Scc` does.
///
/// # Errors
/// When a file cannot be deleted.
pub fn clean(settings: &Settings) -> io::Result<()> {
    for file in files(settings) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", file.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Package files, whole or not, and their signatures.
fn files(settings: &Settings) -> Vec<PathBuf> {
    let folders = settings.config.cache_dir.iter().filter_map(|folder| fs::read_dir(folder).ok());
    let entries = folders.flatten().filter_map(Result::ok);
    let is_package = |name: &str| name.contains(".pkg.tar");
    let mut files: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter(|entry| entry.file_name().to_str().is_some_and(is_package))
        .map(|entry| entry.path())
        .collect();
    files.sort_unstable();
    files
}
