//! The files behind libalpm's answers.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alpm::{Alpm, Db};
use omg::index::Fingerprint;

use super::settings::Settings;

/// The longest configuration file that is searched for others, in bytes.
const MAX_CONFIG: u64 = 1 << 20;
/// The most configuration files that are followed through `Include`.
const MAX_INCLUDED: usize = 256;
/// How often the files are listed again because something changed among them meanwhile.
const MAX_LISTINGS: usize = 5;

/// The stamps of every file and folder whose change may change what libalpm answers, whether it exists or not.
///
/// `copy` is the folder of the user's own databases.
pub fn fingerprint(settings: &Settings, copy: Option<&Path>) -> Fingerprint {
    let all = |settings| all(settings, copy);
    let mut paths = all(settings);
    for _ in 0..MAX_LISTINGS {
        let fingerprint = Fingerprint::take(paths.iter().cloned());
        let again = all(settings);
        if again == paths {
            return fingerprint;
        }
        paths = again;
    }
    Fingerprint::take(paths)
}

/// Whether nothing changed since `before` was taken but what taking libalpm's lock changes: the database's own folder.
pub fn same_but_for_the_lock(settings: &Settings, before: &Fingerprint) -> bool {
    let folder: PathBuf = Path::new(&settings.config.db_path).components().collect();
    let now = fingerprint(settings, None);
    let others = |fingerprint: &Fingerprint| {
        fingerprint.sources.iter().filter(|source| source.path != folder).cloned().collect::<Vec<_>>()
    };
    others(&now) == others(before)
}

/// The database's own folder stands for all that is below `local`: libalpm changes nothing there without its lock, which is
/// a file in that folder that appears before and goes afterwards. Stamping each package's record would take longer than a
/// search.
fn all(settings: &Settings, copy: Option<&Path>) -> Vec<PathBuf> {
    let database = Path::new(&settings.config.db_path);
    let mut paths = vec![database.to_owned(), database.join("local")];
    for database in [Some(database), copy].into_iter().flatten() {
        paths.push(database.join("sync"));
        for repository in &settings.config.repos {
            paths.extend(["db", "db.sig"].map(|ending| sync_file(database, &repository.name, ending)));
        }
    }
    paths.extend(configuration(Path::new(&settings.file)));
    // Equal paths must be equal text.
    paths.iter().map(|path| path.components().collect()).collect()
}

/// A file of a sync database.
fn sync_file(database: &Path, repository: &str, ending: &str) -> PathBuf {
    database.join("sync").join(format!("{repository}.{ending}"))
}

/// Whether a repository's database is there and signed as the configuration wants it. libalpm takes a missing one for empty.
///
/// # Errors
/// [`alpm::Error::DbNotFound`], and why it is not valid.
pub fn usable(handle: &Alpm, database: &Db) -> Result<(), alpm::Error> {
    database.is_valid()?;
    let file = format!("{}{}", database.name(), handle.dbext());
    if !Path::new(handle.dbpath()).join("sync").join(file).exists() {
        return Err(alpm::Error::DbNotFound);
    }
    // What cannot be read to its end is taken for empty as well.
    match (database.pkgs().is_empty(), handle.last_error()) {
        (true, error) if error != alpm::Error::Ok => Err(error),
        _ => Ok(()),
    }
}

/// When a sync database in the folder `database` was last fetched or found to be current, since 1970; 0 when there is none.
///
/// The modification time of a database is the server's, so this is when the newest one got its name here, or when something
/// was last put into their folder.
pub fn last_refresh(settings: &Settings, database: &Path) -> Duration {
    fetched(settings, database, "db")
}

/// The same for databases whose names end with `ending`.
pub fn fetched(settings: &Settings, database: &Path, ending: &str) -> Duration {
    let since = |seconds: i64, nanoseconds: i64| {
        Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0))
    };
    let fetched = settings.config.repos.iter().filter_map(|repository| {
        let found = sync_file(database, &repository.name, ending).symlink_metadata().ok()?;
        Some(since(found.ctime(), found.ctime_nsec()))
    });
    let Some(fetched) = fetched.max() else { return Duration::ZERO };
    let worked = database.join("sync").metadata();
    fetched.max(worked.map_or(Duration::ZERO, |found| since(found.mtime(), found.mtime_nsec())))
}

/// The configuration file, those that it includes (`Include`, pacman.conf(5)) and the folders that these are looked for in.
fn configuration(file: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = vec![file.to_owned()];
    let mut unread = vec![file.to_owned()];
    while let Some(file) = unread.pop() {
        for pattern in includes_of(&file) {
            let (folder, files) = matching(&pattern);
            found.extend(folder.filter(|folder| !found.contains(folder)));
            for path in files {
                if found.len() < MAX_INCLUDED && !found.contains(&path) {
                    unread.push(path.clone());
                    found.push(path);
                }
            }
        }
    }
    found.sort_unstable();
    found
}

/// The patterns after `Include` in one configuration file.
fn includes_of(file: &Path) -> Vec<String> {
    let mut text = String::new();
    if !file.is_file() || File::open(file).and_then(|file| file.take(MAX_CONFIG).read_to_string(&mut text)).is_err() {
        return Vec::new();
    }
    text.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, value)| key.trim() == "Include" && value.trim().starts_with('/'))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

/// What a pattern of glob(7) may mean: without wildcards itself; with some in its last part every file beside it, and the
/// folder, in which another one may appear. A file too many costs a look.
fn matching(pattern: &str) -> (Option<PathBuf>, Vec<PathBuf>) {
    if !pattern.contains(['*', '?', '[']) {
        return (None, vec![PathBuf::from(pattern)]);
    }
    let folder = Path::new(pattern).parent().filter(|folder| !folder.to_string_lossy().contains(['*', '?', '[']));
    let Some(folder) = folder else { return (None, Vec::new()) };
    let entries = folder.read_dir().into_iter().flatten().filter_map(Result::ok);
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort_unstable();
    (Some(folder.to_owned()), files)
}
