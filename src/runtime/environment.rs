//! Which folders go on PATH, and which variables are set.
//!
//! What a version file says becomes a [`Request`] or a problem, and only versions that are installed get here: every
//! folder lies below the data folder and ends in names that [`Version`] and [`Runtime`] allow.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{self, Found, Problem, Undecided, Weight, Wish};
use super::variables::{JAVA_HOME, VARIABLES, mise_folder, recorded};
use super::{Layout, Native, Request, Runtime, Version};

/// The variable with the versions that are wanted whatever the files say: `node=20;python=3.12`.
pub const MANUAL: &str = "OMG_USE";

/// In the folder of a version that mise has installed: a link to what it would set as [`JAVA_HOME`].
pub(super) const MISE_HOME: &str = "home";

/// Longest value of [`MANUAL`], bytes.
const MAX_MANUAL: usize = 4096;

/// Versions by runtime that somebody asked for by hand.
pub type Manual = BTreeMap<Runtime, Request>;

/// What the folder, the defaults and the user make of it.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// In the order in which they go on PATH.
    pub entries: Vec<Entry>,
    pub missing: Vec<Missing>,
    pub problems: Vec<Problem>,
    /// The files that were read, nearest first.
    pub files: Vec<PathBuf>,
    /// Who has said which version is to be used, be it the system's.
    decided: Vec<(Runtime, Why)>,
}

/// A version that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub runtime: Runtime,
    /// What it is there for; `None`: it is the default.
    pub request: Option<Request>,
    pub version: Version,
    /// `versions/<runtime>/<version>`; of a default `versions/<runtime>/current`, so that another default is used at
    /// once in every shell.
    pub root: PathBuf,
    pub why: Why,
}

/// A version that is asked for and not installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub runtime: Runtime,
    pub request: Request,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    Manual,
    File { file: PathBuf, line: u32 },
    Default,
}

/// Where new folders go among those of PATH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In front of everything, except a Python virtual environment that is active.
    Front,
    /// Where ours are already: what was put in front of them since stays there. In front when none is there.
    Kept,
}

/// What has to change in a process's environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// PATH; `None`: it stays.
    pub path: Option<OsString>,
    /// Other variables; `None`: it is unset.
    pub variables: Vec<(&'static str, Option<OsString>)>,
}

/// Folders of a version that go on PATH: every upstream has its programs there, or they are put there.
pub const PROGRAM_FOLDERS: [&str; 1] = ["bin"];

/// Looks at the folder, its parents, and what is installed. What cannot be read is a problem.
pub fn resolve(folder: &Path, layout: &Layout, manual: &Manual) -> Environment {
    decide(files::read(folder), layout, manual)
}

/// What is installed, however it is known.
pub(super) trait Versions {
    /// As [`Layout::runtimes`].
    fn runtimes(&self) -> io::Result<Vec<Runtime>>;
    /// As [`Layout::installed`].
    fn installed(&self, runtime: &Runtime) -> io::Result<Arc<[Version]>>;
    /// As [`Layout::current`].
    fn current(&self, runtime: &Runtime) -> io::Result<Option<Version>>;
    fn layout(&self) -> &Layout;
}

impl Versions for Layout {
    fn runtimes(&self) -> io::Result<Vec<Runtime>> {
        self.runtimes()
    }

    fn installed(&self, runtime: &Runtime) -> io::Result<Arc<[Version]>> {
        self.installed(runtime).map(Arc::from)
    }

    fn current(&self, runtime: &Runtime) -> io::Result<Option<Version>> {
        self.current(runtime)
    }

    fn layout(&self) -> &Layout {
        self
    }
}

pub(super) fn decide(found: Found, versions: &impl Versions, manual: &Manual) -> Environment {
    let mut environment = Environment::default();
    let files = found.wishes.iter().map(|wish| &wish.file).chain(found.problems.iter().map(|problem| &problem.file));
    for file in files {
        if !environment.files.contains(file) {
            environment.files.push(file.clone());
        }
    }
    let wished = found.wishes.iter().map(|wish| wish.runtime.clone());
    let mut runtimes: Vec<_> = manual.keys().cloned().chain(wished).collect();
    match versions.runtimes() {
        Ok(installed) => runtimes.extend(installed),
        Err(error) => environment.trouble(PathBuf::from("versions"), &error, Undecided::Anything),
    }
    runtimes.sort();
    runtimes.dedup();
    for runtime in runtimes {
        let there = There::of(versions, &runtime);
        if let Some(request) = manual.get(&runtime) {
            environment.add(&there, Some(request), Why::Manual);
            continue;
        }
        let wishes = files::winners(&found, &runtime);
        let is_there = |wish: &&&Wish| there.best(&wish.request).is_ok_and(|best| best.is_some());
        // Of alternatives the first that is there counts, else the first.
        let alternatives = wishes.first().is_some_and(|wish| wish.weight != Weight::Own);
        let chosen = match alternatives.then(|| wishes.iter().find(is_there)) {
            Some(Some(wish)) => vec![*wish],
            Some(None) => wishes.into_iter().take(1).collect(),
            None => wishes,
        };
        if chosen.is_empty() {
            environment.add(&there, None, Why::Default);
            continue;
        }
        for wish in chosen {
            let why = Why::File { file: wish.file.clone(), line: wish.line };
            environment.add(&there, Some(&wish.request), why);
        }
    }
    environment.problems.splice(0..0, found.problems);
    environment
}

/// What is installed of one runtime, looked up once.
struct There<'a, V> {
    versions: &'a V,
    runtime: &'a Runtime,
    installed: OnceCell<io::Result<Arc<[Version]>>>,
}

impl<'a, V: Versions> There<'a, V> {
    fn of(versions: &'a V, runtime: &'a Runtime) -> Self {
        Self { versions, runtime, installed: OnceCell::new() }
    }

    fn best(&self, request: &Request) -> Result<Option<Version>, &io::Error> {
        let installed = self.installed.get_or_init(|| self.versions.installed(self.runtime));
        let layout = self.versions.layout();
        installed.as_ref().map(|installed| layout.best_of(self.runtime, installed, request))
    }
}

impl Environment {
    fn add(&mut self, there: &There<'_, impl Versions>, request: Option<&Request>, why: Why) {
        let runtime = there.runtime.clone();
        self.decided.push((runtime.clone(), why.clone()));
        if request == Some(&Request::System) {
            return;
        }
        let looked_up;
        let chosen = match request {
            Some(request) => there.best(request),
            None => {
                looked_up = there.versions.current(&runtime);
                looked_up.as_ref().map(Clone::clone)
            }
        };
        let version = match (chosen, request) {
            (Ok(Some(version)), _) => version,
            (Ok(None), Some(request)) => {
                self.missing.push(Missing { runtime, request: request.clone(), why });
                return;
            }
            (Ok(None), None) => return,
            (Err(error), _) => {
                let file = Path::new("versions").join(runtime.as_str());
                self.trouble(file, error, Undecided::Version(runtime));
                return;
            }
        };
        let mut root = there.versions.layout().folder(&runtime, &version);
        if why == Why::Default {
            root.set_file_name("current");
        }
        // PATH has no way to say a colon; a line break could end a line of the files that take folders line by line.
        if root.as_os_str().as_bytes().iter().any(|byte| *byte == b':' || byte.is_ascii_control()) {
            let message =
                format!("{runtime} is not used: a folder with a colon or a control character cannot be on PATH");
            let undecided = Undecided::Version(runtime);
            self.problems.push(Problem { file: root, line: 0, message, undecided });
            return;
        }
        self.entries.push(Entry { runtime, request: request.cloned(), version, root, why });
    }

    fn trouble(&mut self, file: PathBuf, error: &io::Error, undecided: Undecided) {
        self.problems.push(Problem { file, line: 0, message: format!("cannot be read: {error}"), undecided });
    }

    /// The problems for which other versions may be used than the files ask for.
    pub fn unsettled(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| match &problem.undecided {
            Undecided::Version(runtime) => self.is_open(problem, runtime),
            // Of a file that is not understood it counts what is used in spite of it.
            _ => self.entries.iter().any(|entry| self.is_open(problem, &entry.runtime)),
        })
    }

    /// The problem for which another version of this runtime may be used than the files ask for.
    pub fn unsettled_of(&self, runtime: &Runtime) -> Option<&Problem> {
        self.problems.iter().find(|problem| self.is_open(problem, runtime))
    }

    /// Whether the problem leaves open which version of the runtime is asked for. What a file of the same folder or of one
    /// further down says, or somebody by hand, settles that.
    fn is_open(&self, problem: &Problem, runtime: &Runtime) -> bool {
        let settles = |why: &Why| match why {
            Why::Manual => true,
            Why::File { file, .. } => {
                file.parent().zip(problem.file.parent()).is_some_and(|(file, problem)| file.starts_with(problem))
            }
            Why::Default => false,
        };
        problem.undecided.covers(runtime)
            && !self.decided.iter().any(|(decided, why)| decided == runtime && settles(why))
    }

    /// Absolute folders of programs, in the order of PATH.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.entries.iter().flat_map(Entry::folders).collect()
    }

    /// Variables besides PATH.
    pub fn variables(&self) -> Vec<(&'static str, PathBuf)> {
        let mut variables: Vec<(&'static str, PathBuf)> = Vec::new();
        for (name, value) in self.entries.iter().flat_map(Entry::variables) {
            // Of two versions the one whose programs are found first.
            if variables.iter().all(|(known, _)| *known != name) {
                variables.push((name, value));
            }
        }
        variables
    }

    /// What makes an environment with the given variables this one. What an earlier one put there is recognised by
    /// lying below `versions`, or in the folder of mise beside it, and is taken away.
    pub fn changes(&self, versions: &Path, place: Place, variable: impl Fn(&str) -> Option<OsString>) -> Changes {
        let old = variable("PATH");
        let venv = variable("VIRTUAL_ENV").filter(|venv| !venv.is_empty()).map(|venv| Path::new(&venv).join("bin"));
        let path = path(old.as_deref(), &self.folders(), versions, place, venv.as_deref());
        let mut changes = Changes { path: path.filter(|path| Some(path) != old.as_ref()), variables: Vec::new() };
        let (mut wanted, mise) = (self.variables(), mise_folder(versions));
        for (name, old_name) in VARIABLES {
            let at = wanted.iter().position(|(wanted, _)| *wanted == name);
            let wanted = at.map(|at| wanted.swap_remove(at).1.into_os_string());
            let (set, saved) = (variable(name), variable(old_name));
            let is_ours = set
                .as_ref()
                .is_some_and(|value| is_below(value.as_bytes(), versions) || is_below(value.as_bytes(), &mise));
            let (value, keep) = match (wanted, is_ours) {
                (Some(root), true) => (Some(root), saved.clone()),
                (Some(root), false) => (Some(root), set.clone()),
                (None, true) => (saved.clone(), None),
                (None, false) => (set.clone(), None),
            };
            for (name, new, old) in [(name, value, set), (old_name, keep, saved)] {
                if new != old {
                    changes.variables.push((name, new));
                }
            }
        }
        changes
    }
}

impl Entry {
    /// Variables besides PATH. What in the folder leads to where mise has the whole of it is told instead of that place:
    /// with another default it leads to that one.
    fn variables(&self) -> BTreeMap<&'static str, PathBuf> {
        let versions = self.root.ancestors().nth(2).unwrap_or(&self.root);
        let mut variables = recorded(&self.root, versions);
        let home = self.root.join(MISE_HOME);
        if home.is_symlink() {
            variables.insert(JAVA_HOME, home);
        } else if self.runtime.native() == Some(Native::Java) {
            variables.insert(JAVA_HOME, self.root.clone());
        }
        variables
    }

    /// Its folders of programs.
    pub fn folders(&self) -> impl Iterator<Item = PathBuf> {
        PROGRAM_FOLDERS.iter().map(|folder| self.root.join(folder))
    }
}

impl Why {
    /// Where it is said: a file's name, or what it is called.
    pub fn place(&self) -> String {
        match self {
            Self::Manual => MANUAL.to_owned(),
            Self::File { file, .. } => file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Default => "default".to_owned(),
        }
    }
}

/// Whether an entry of PATH, or a value, lies below the folder.
fn is_below(entry: &[u8], folder: &Path) -> bool {
    entry.strip_prefix(folder.as_os_str().as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
}

/// PATH without our folders as it was before, and with these `folders` instead. `None`: there is none, and none is
/// needed.
pub fn path(
    old: Option<&OsStr>,
    folders: &[PathBuf],
    versions: &Path,
    place: Place,
    venv: Option<&Path>,
) -> Option<OsString> {
    let old = old.map(OsStr::as_bytes);
    // An empty PATH has no entries; otherwise an empty entry is the working directory, and must not come to be.
    let entries: Vec<&[u8]> =
        old.filter(|old| !old.is_empty()).map_or_else(Vec::new, |old| old.split(|b| *b == b':').collect());
    let first = entries.iter().position(|entry| is_below(entry, versions));
    let mut rest: Vec<&[u8]> = entries.into_iter().filter(|entry| !is_below(entry, versions)).collect();
    if old.is_none() && folders.is_empty() {
        return None;
    }
    let at = match (place, first) {
        (Place::Kept, Some(first)) => first,
        _ => usize::from(
            rest.first().is_some_and(|entry| venv.is_some_and(|venv| venv.as_os_str().as_bytes() == *entry)),
        ),
    };
    rest.splice(at..at, folders.iter().map(|folder| folder.as_os_str().as_bytes()));
    Some(OsString::from_vec(rest.join(&b':')))
}

/// What [`MANUAL`] says, and what is wrong with it; what is wrong is left out.
pub fn parse_manual(text: &OsStr) -> (Manual, Vec<String>) {
    let (mut manual, mut wrong) = (Manual::new(), Vec::new());
    let Some(text) = text.to_str().filter(|text| text.len() <= MAX_MANUAL) else {
        return (manual, vec![format!("{MANUAL} is not UTF-8, or longer than {MAX_MANUAL} bytes: it is ignored")]);
    };
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let shown: String = part.chars().take(64).collect();
        let Some((name, request)) = part.split_once('=') else {
            wrong.push(format!("{MANUAL} has {shown:?}, which is not of the form node=20: it is ignored"));
            continue;
        };
        let runtime = Runtime::parse(name).map_err(|error| error.to_string());
        let parsed = runtime.and_then(|runtime| {
            let request = Request::parse(&runtime, request).map_err(|error| error.to_string())?;
            Ok((runtime, request))
        });
        match parsed {
            Ok((runtime, request)) => {
                manual.insert(runtime, request);
            }
            Err(error) => wrong.push(format!("{MANUAL} has {shown:?}, which is ignored: {error}")),
        }
    }
    (manual, wrong)
}

/// The value of [`MANUAL`] that says this.
pub fn manual_text(manual: &Manual) -> String {
    let parts: Vec<_> = manual.iter().map(|(runtime, request)| format!("{runtime}={request}")).collect();
    parts.join(";")
}

#[cfg(test)]
mod tests;
