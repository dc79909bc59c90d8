//! The folders of downloaded packages.

use std::path::PathBuf;
use std::{fs, io};

use omg::transaction::{Change, Item};

use super::settings::Settings;

/// One item for each package file in the download caches; what it takes up is set free.
pub fn items(settings: &Settings) -> Vec<Item> {
    let mut items = Vec::new();
    for path in files(settings) {
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // NAME-VERSION-RELEASE-ARCH.pkg.tar.zst; a signature beside it goes with it.
        let Some((stem, ending)) = file.split_once(".pkg.tar") else { continue };
        if ending.ends_with(".sig") || ending.ends_with(".part") {
            continue;
        }
        let mut parts = stem.rsplitn(4, '-');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (arch, release, version, name) = (part(), part(), part(), part());
        let size = path.metadata().map_or(0, |found| found.len());
        items.push(Item {
            change: Change::Clean,
            name,
            arch,
            from: format!("{version}-{release}"),
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
