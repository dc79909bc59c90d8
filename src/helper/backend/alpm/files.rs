//! The files of packages: of installed ones from the local database, of offered ones from the files databases.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use alpm::{Alpm, Db, Package};
use omg::transaction::{Failure, FailureKind, PathAnswer, PathQuery};

use super::super::{System, paths};
use super::settings::Settings;
use super::{Quiet, sound, sources};

/// What the names of files databases end with.
pub const EXTENSION: &str = ".files";

/// See [`super::super::Backend::paths`].
pub fn paths(system: &System, copy: Option<&Path>, query: &PathQuery) -> Result<PathAnswer, Failure> {
    let settings = Settings::read(system).map_err(|error| unavailable(error.to_string()))?;
    let _quiet = Quiet::new();
    match query {
        PathQuery::Owners(wanted) => {
            let handle = settings.handle().map_err(|error| unavailable(error.to_string()))?;
            let root = Path::new(&settings.config.root_dir);
            let wanted: Vec<Vec<u8>> =
                wanted.iter().map(|path| relative(paths::real(root, path).as_os_str().as_bytes()).to_vec()).collect();
            let owners = Owned::of(handle.localdb().pkgs().into_iter(), &wanted, |package| package.name().to_owned());
            Ok(owners.answer(query))
        }
        PathQuery::Files(name) => {
            let handle = settings.handle().map_err(|error| unavailable(error.to_string()))?;
            let package = handle.localdb().pkg(name.as_str()).map_err(|_| {
                Failure::new(FailureKind::NotFound, format!("{name} is not installed; --repo asks the repositories"))
            })?;
            Ok(PathAnswer::Files(files(package)))
        }
        PathQuery::Offering(wanted) => {
            let handle = offered(&settings, copy)?;
            let wanted: Vec<Vec<u8>> = wanted.iter().map(|path| relative(path.as_bytes()).to_vec()).collect();
            let packages = handle.syncdbs().into_iter().flat_map(|database| database.pkgs());
            let owners = Owned::of(packages, &wanted, |package| {
                format!("{}/{}", package.db().map_or("", Db::name), package.name())
            });
            Ok(owners.answer(query))
        }
        PathQuery::Offered(name) => {
            let handle = offered(&settings, copy)?;
            let (repository, name) = name.split_once('/').map_or((None, name.as_str()), |(of, name)| (Some(of), name));
            let mut databases = handle
                .syncdbs()
                .into_iter()
                .filter(|database| repository.is_none_or(|wanted| database.name() == wanted));
            let package = databases.find_map(|database| database.pkg(name).ok());
            let none = || Failure::new(FailureKind::NotFound, format!("no repository has a package called {name}"));
            Ok(PathAnswer::Files(files(package.ok_or_else(none)?)))
        }
    }
}

fn unavailable(text: String) -> Failure {
    Failure::new(FailureKind::BackendUnavailable, text)
}

/// As libalpm writes paths: without the root, and a folder's without its slash.
fn relative(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    path.strip_suffix(b"/").unwrap_or(path)
}

fn text(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

fn files(package: &Package) -> Vec<String> {
    package.files().files().iter().map(|file| text(file.name())).collect()
}

/// The files databases: those of the user's own copy where they are all there and newer, else the system's.
fn offered(settings: &Settings, copy: Option<&Path>) -> Result<Alpm, Failure> {
    let system = Path::new(&settings.config.db_path);
    let whole = |folder: &Path| {
        let handle = settings.handle_with(folder, EXTENSION).ok()?;
        let usable = handle.syncdbs().into_iter().all(|database| sources::usable(&handle, database).is_ok());
        usable.then_some(handle)
    };
    let copy = copy.filter(|folder| folder.join("local").exists());
    let mut folders: Vec<&Path> = [Some(system), copy].into_iter().flatten().collect();
    // The newest is read, and another one only where that cannot be.
    folders.sort_by_key(|folder| std::cmp::Reverse(sources::fetched(settings, folder, "files")));
    folders.into_iter().find_map(whole).ok_or_else(|| {
        unavailable(
            "the repositories' lists of files are not here; `omg refresh --own --files` fetches them".to_owned(),
        )
    })
}

/// Which packages have which of the wanted paths.
struct Owned(Vec<Vec<(Vec<u8>, String)>>);

impl Owned {
    /// A wanted path without a slash is the name of a file in any folder.
    fn of<'a>(
        packages: impl Iterator<Item = &'a Package>,
        wanted: &[Vec<u8>],
        label: impl Fn(&Package) -> String,
    ) -> Self {
        let mut found: Vec<Vec<(Vec<u8>, String)>> = vec![Vec::new(); wanted.len()];
        let mut whole: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (at, path) in wanted.iter().enumerate() {
            whole.entry(path).or_default().push(at);
        }
        let ends: HashSet<&[u8]> = wanted.iter().map(Vec::as_slice).filter(|path| !path.contains(&b'/')).collect();
        for package in packages {
            // One whose text is not UTF-8 has a name that cannot be told.
            let Some(name) = sound(|| label(package)) else { continue };
            for file in package.files().files() {
                let path = relative(file.name());
                let end = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                let is_folder = file.name().ends_with(b"/");
                for at in whole.get(path).into_iter().flatten() {
                    found.get_mut(*at).into_iter().for_each(|of| of.push((path.to_vec(), name.clone())));
                }
                if path != end && !is_folder && ends.contains(end) {
                    for at in whole.get(end).into_iter().flatten() {
                        found.get_mut(*at).into_iter().for_each(|of| of.push((path.to_vec(), name.clone())));
                    }
                }
            }
        }
        Self(found)
    }

    /// Owners of paths are told by the paths that were asked for.
    fn answer(self, query: &PathQuery) -> PathAnswer {
        let asked = match query {
            PathQuery::Owners(asked) => Some(asked),
            _ => None,
        };
        let rows = self.0.into_iter().enumerate().flat_map(|(at, of)| {
            let asked = asked.and_then(|asked| asked.get(at)).cloned();
            of.into_iter().map(move |(path, name)| (asked.clone().unwrap_or_else(|| text(&path)), name))
        });
        PathAnswer::Owners(rows.collect())
    }
}
