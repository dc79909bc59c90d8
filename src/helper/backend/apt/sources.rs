//! The files behind apt's answers.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use omg::index::{Fingerprint, SourceStamp};
use omg::stamp::Stamp;
use rust_apt::config::Config;

use super::lists;

/// The most configuration files that are followed through `#include`.
const MAX_INCLUDED: usize = 256;
/// The longest configuration file that is searched for them, in bytes.
const MAX_CONFIG: u64 = 1 << 20;
/// How often the folders are listed again because something appeared in them meanwhile.
const MAX_LISTINGS: usize = 5;

/// The stamps of [`all`] sources. A file that appears after its folder was stamped changes the folder; one that appears
/// between listing and stamping would be covered by that stamp without having one of its own, so the folders are listed
/// again afterwards.
pub fn fingerprint(config: &Config) -> Fingerprint {
    let mut paths = all(config);
    for _ in 0..MAX_LISTINGS {
        let fingerprint = Fingerprint::take(paths.iter().cloned());
        let again = all(config);
        if again == paths {
            return fingerprint;
        }
        paths = again;
    }
    Fingerprint::take(paths)
}

/// Every file and folder whose change may change what apt answers, whether it exists or not.
///
/// Folders are among them so that a new file in one is seen, files because a change inside one does not show in its
/// folder.
pub fn all(config: &Config) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = ["Dir::Etc::main", "Dir::Etc::sourcelist", "Dir::Etc::preferences"]
        .iter()
        .chain(&["Dir::State::status", "Dir::State::extended_states"])
        .map(|key| PathBuf::from(config.file(key, "")))
        .collect();
    for key in ["Dir::Etc::parts", "Dir::Etc::sourceparts", "Dir::Etc::preferencesparts"] {
        let folder = PathBuf::from(config.dir(key, ""));
        paths.extend(files(&folder, |_| true));
        paths.push(folder);
    }
    let folder = lists_folder(config);
    paths.extend(files(&folder, is_list));
    paths.push(folder);
    // dpkg's foreign architectures.
    paths.push(PathBuf::from(config.file("Dir::State::status", "")).with_file_name("arch"));
    paths.push(machine_id_file(config));
    paths.extend(std::env::var_os("APT_CONFIG").map(PathBuf::from));
    paths.extend(included(config));
    paths.retain(|path| path.is_absolute() && path != Path::new("/dev/null"));
    // Equal paths must be equal text: a folder's has a slash at its end, as apt gives it.
    paths.iter().map(|path| path.components().collect()).collect()
}

/// The files and folders that configuration files include (`#include`, apt.conf(5)), and those that these include.
fn included(config: &Config) -> Vec<PathBuf> {
    let mut unread = vec![PathBuf::from(config.file("Dir::Etc::main", ""))];
    unread.extend(files(Path::new(&config.dir("Dir::Etc::parts", "")), |_| true));
    unread.extend(std::env::var_os("APT_CONFIG").map(PathBuf::from));
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(file) = unread.pop() {
        for path in includes_of(&file) {
            if found.len() < MAX_INCLUDED && !found.contains(&path) {
                if path.is_dir() {
                    let inside = files(&path, |_| true);
                    found.extend(inside.iter().cloned());
                    unread.extend(inside);
                } else {
                    unread.push(path.clone());
                }
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    found
}

/// The paths after `#include` in one configuration file.
fn includes_of(file: &Path) -> Vec<PathBuf> {
    let mut text = String::new();
    if !file.is_file() || File::open(file).and_then(|file| file.take(MAX_CONFIG).read_to_string(&mut text)).is_err() {
        return Vec::new();
    }
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix("#include"))
        .filter_map(|rest| rest.split(';').next())
        .map(|path| PathBuf::from(path.trim().trim_matches('"')))
        .filter(|path| path.is_absolute())
        .collect()
}

/// apt's folder of fetched lists.
pub fn lists_folder(config: &Config) -> PathBuf {
    PathBuf::from(config.dir("Dir::State::lists", ""))
}

/// Whether a list is not what it was when the fingerprint was taken.
pub fn lists_changed(config: &Config, fingerprint: &Fingerprint) -> bool {
    let folder = lists_folder(config);
    let lists = fingerprint.sources.iter().filter(|source| source.path.parent() == Some(folder.as_path()));
    let changed = |source: &SourceStamp| Stamp::of(&source.path).unwrap_or(Stamp::Absent) != source.stamp;
    lists.into_iter().any(changed)
}

/// The file with this machine's id, by which it takes part in phased updates.
pub fn machine_id_file(config: &Config) -> PathBuf {
    match config.file("Dir::Etc::machine-id", "") {
        path if path.is_empty() => Path::new(&config.dir("Dir::Etc", "")).join("../machine-id"),
        path => PathBuf::from(path),
    }
}

/// The lists of packages and translations that apt may read, in the order of their names.
pub fn package_lists(config: &Config) -> Vec<PathBuf> {
    files(&lists_folder(config), |name| lists::is_package_list(name) || lists::is_translation(name))
}

/// When the lists were last fetched, Unix time in seconds; 0 when there are none.
///
/// The modification time of a list is the server's, so this is when the newest one got its name here, or when apt last
/// had something in the folder that it downloads to.
pub fn last_refresh(config: &Config) -> u64 {
    let folder = lists_folder(config);
    let fetched =
        files(&folder, is_list).iter().filter_map(|path| path.symlink_metadata().ok()).map(|found| found.ctime()).max();
    let Some(fetched) = fetched else { return 0 };
    let worked = folder.join("partial").metadata().map_or(0, |found| found.mtime());
    u64::try_from(fetched.max(worked)).unwrap_or(0)
}

fn is_list(name: &str) -> bool {
    lists::is_package_list(name) || lists::is_translation(name) || name.ends_with("Release")
}

fn files(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()))
        .filter(|entry| wanted(&OsStr::to_string_lossy(&entry.file_name())))
        .map(|entry| entry.path())
        .collect();
    files.sort_unstable();
    files
}
