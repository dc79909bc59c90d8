//! The files of installed packages, from dpkg's own records (`info/*.list`, `diversions`).

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use omg::transaction::{Failure, FailureKind, PathAnswer, PathQuery};

use super::super::{System, paths};

/// dpkg's folder, below the root.
const DPKG: &str = "var/lib/dpkg";

/// See [`super::super::Backend::paths`].
pub fn paths(system: &System, query: &PathQuery) -> Result<PathAnswer, Failure> {
    let root = system.root.clone().unwrap_or_else(|| PathBuf::from("/"));
    match query {
        PathQuery::Owners(wanted) => owners(&root, wanted).map_err(|error| unreadable(&root, &error)),
        PathQuery::Files(name) => {
            let lists = lists(&root).map_err(|error| unreadable(&root, &error))?;
            let diversions = Diversions::read(&root);
            // The plain name of one with an architecture in its file's name means that of any.
            let named = |of: &str| of == name || of.split(':').next() == Some(name);
            let list = lists.iter().find(|(of, _)| of == name).or_else(|| lists.iter().find(|(of, _)| named(of)));
            let none = || Failure::new(FailureKind::NotFound, format!("{name} is not installed"));
            let (of, path) = list.ok_or_else(none)?;
            let text = fs::read(path).map_err(|error| unreadable(&root, &error))?;
            let owner = of.split(':').next().unwrap_or_default();
            let files = lines(&text).map(|line| lossy(diversions.place_of(line, owner)));
            Ok(PathAnswer::Files(files.filter(|path| path != "/.").collect()))
        }
        PathQuery::Offering(_) | PathQuery::Offered(_) => {
            let message = "apt's package lists name no files; the package apt-file searches those of Debian's archive";
            Err(Failure::new(FailureKind::BackendUnavailable, message))
        }
    }
}

fn unreadable(root: &Path, error: &io::Error) -> Failure {
    let message = format!("dpkg's records in {} cannot be read: {error}", root.join(DPKG).display());
    Failure::new(FailureKind::BackendUnavailable, message)
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// Package, with its architecture where its name has one, and the file with its paths; in order.
fn lists(root: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = fs::read_dir(root.join(DPKG).join("info"))?.filter_map(Result::ok);
    let mut lists: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.strip_suffix(".list")?.to_owned(), entry.path())))
        .collect();
    lists.sort_unstable();
    Ok(lists)
}

fn owners(root: &Path, wanted: &[String]) -> io::Result<PathAnswer> {
    let mut places: HashMap<Vec<u8>, BTreeSet<usize>> = HashMap::new();
    for (at, path) in wanted.iter().enumerate() {
        for form in forms(root, path) {
            places.entry(form).or_default().insert(at);
        }
    }
    let diversions = Diversions::read(root);
    let mut found: Vec<BTreeSet<String>> = vec![BTreeSet::new(); wanted.len()];
    for (package, file) in lists(root)? {
        let text = match fs::read(&file) {
            // It was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            text => text?,
        };
        let name = package.split(':').next().unwrap_or_default();
        for line in lines(&text) {
            for at in places.get(diversions.place_of(line, name)).into_iter().flatten() {
                found.get_mut(*at).into_iter().for_each(|of| {
                    of.insert(package.clone());
                });
            }
        }
    }
    let rows = wanted.iter().zip(found).flat_map(|(path, of)| of.into_iter().map(move |name| (path.clone(), name)));
    Ok(PathAnswer::Owners(rows.collect()))
}

/// The ways in which dpkg may have the path on record: as it is given, without links in the folders above it, and without
/// the `/usr` that a link of the root's leads to (`/bin` and the like on a merged system).
fn forms(root: &Path, path: &str) -> BTreeSet<Vec<u8>> {
    let given: PathBuf = Path::new(path).components().collect();
    let real = paths::real(root, path);
    let mut forms = BTreeSet::from([given.into_os_string().into_vec(), real.as_os_str().as_bytes().to_vec()]);
    if let Ok(below) = real.strip_prefix("/usr")
        && let Some(top) = below.components().next()
        && fs::read_link(root.join(top))
            .is_ok_and(|to| to.strip_prefix("/").unwrap_or(&to) == Path::new("usr").join(top))
    {
        forms.insert(Path::new("/").join(below).into_os_string().into_vec());
    }
    forms
}

/// Files that lie elsewhere than packages have them (dpkg-divert(1)).
struct Diversions(HashMap<Vec<u8>, (Vec<u8>, Vec<u8>)>);

impl Diversions {
    /// Three lines each: from, to, and the package whose own files stay where they are; `:` is nobody's.
    fn read(root: &Path) -> Self {
        let text = fs::read(root.join(DPKG).join("diversions")).unwrap_or_default();
        let lines: Vec<&[u8]> = lines(&text).collect();
        let diverted = lines.chunks_exact(3).filter_map(|three| match three {
            [from, to, by] => Some((from.to_vec(), (to.to_vec(), by.to_vec()))),
            _ => None,
        });
        Self(diverted.collect())
    }

    /// Where the file is that the package has as `path`.
    fn place_of<'a>(&'a self, path: &'a [u8], package: &str) -> &'a [u8] {
        match self.0.get(path) {
            Some((to, by)) if by != package.as_bytes() => to,
            _ => path,
        }
    }
}
