//! Which versions the files of a folder and of the folders above it ask for.
//!
//! For each runtime the nearest folder that says anything wins, whatever the kind of its file. Inside one folder the order
//! is that of [`Weight`]:
//!
//! 1. a file of the runtime's own: `.nvmrc` before `.node-version`; `.python-version`; `.go-version`; `rust-toolchain`
//!    before `rust-toolchain.toml` (rustup's order) and `.rust-version`; `.ruby-version`; `.java-version` before
//!    `.sdkmanrc`; `.bun-version`
//! 2. a pin in a manifest: `volta.node` and `packageManager` of package.json, `toolchain` of go.mod, `ruby` of a Gemfile
//! 3. `.tool-versions`
//! 4. `mise.toml` before `.mise.toml`
//! 5. bounds in a manifest: `devEngines` before `engines`, `requires-python` before Poetry's `python`, `go` of go.mod
//!
//! Contents are untrusted. They become a [`Request`] or a [`Problem`] that shows them escaped; nothing in them is
//! evaluated. Files are regular ones (links to such are followed), UTF-8, of bounded size.

mod gemfile;
mod json;
mod lines;
mod mise;
mod python;
mod rust;
mod walk;

use std::fmt;
use std::path::PathBuf;

use super::{Extras, Native, Request, Runtime};
pub use walk::{Memory, Settled, read};

/// Longest file that is read, bytes; the manifests of large projects are longer.
const MAX_BYTES: usize = 64 * 1024;
const MAX_MANIFEST_BYTES: usize = 1024 * 1024;

/// Most problems and most wishes of one file.
const MAX_PROBLEMS: usize = 20;
const MAX_WISHES: usize = 200;

/// Where in a folder a wish comes from: the smaller wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// A file of the runtime's own.
    Own,
    /// One version, in a manifest.
    Pinned,
    ToolVersions,
    /// mise.toml: whether it is trusted is to be asked where [`Found::mise`] says that it can run code.
    Mise,
    /// What a manifest says that it works with.
    Bound,
}

/// A version that a file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub runtime: Runtime,
    pub request: Request,
    pub extras: Extras,
    pub file: PathBuf,
    /// From 1.
    pub line: u32,
    pub weight: Weight,
}

/// What in a file was not understood or not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    /// From 1.
    pub line: u32,
    /// Holds no control characters.
    pub message: String,
    pub undecided: Undecided,
}

/// What a problem leaves open: which version is used may be another one than the file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undecided {
    /// What counts was understood.
    Nothing,
    Version(Runtime),
    /// A file may have been about some of these.
    AnyOf(&'static [Native]),
    /// A file may have been about any of them.
    Anything,
}

impl Undecided {
    /// Whether it may be about this runtime.
    pub fn covers(&self, runtime: &Runtime) -> bool {
        match self {
            Self::Nothing => false,
            Self::Version(open) => open == runtime,
            Self::AnyOf(natives) => runtime.native().is_some_and(|native| natives.contains(&native)),
            Self::Anything => true,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.to_string_lossy().escape_debug(), self.line, self.message)
    }
}

/// A configuration of mise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MiseFile {
    pub file: PathBuf,
    /// What in it can run code when mise reads it or changes what it runs, by name (`env`, `hooks`, `templates`, …), each
    /// once. Empty: it names tools and versions only.
    pub can_run: Vec<String>,
}

/// What the files of a folder and those above it say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The winner of a runtime is the first one for it; what comes after it has lost.
    pub wishes: Vec<Wish>,
    pub problems: Vec<Problem>,
    /// Nearest first.
    pub mise: Vec<MiseFile>,
}

/// The wish that counts for a runtime.
pub fn winner<'a>(found: &'a Found, runtime: &Runtime) -> Option<&'a Wish> {
    found.wishes.iter().find(|wish| wish.runtime == *runtime)
}

/// The wishes that count for a runtime: all that the winner's file has of the same weight. A file of the runtime's own asks
/// for all of them (`.python-version`), another one for the first that can be had (`.tool-versions`).
pub fn winners<'a>(found: &'a Found, runtime: &Runtime) -> Vec<&'a Wish> {
    let Some(first) = winner(found, runtime) else { return Vec::new() };
    let same = |wish: &&Wish| wish.runtime == *runtime && wish.file == first.file && wish.weight == first.weight;
    found.wishes.iter().filter(same).collect()
}

/// Whether a change of a file with this name can change what is found.
pub fn is_watched_name(name: &str) -> bool {
    FILES.iter().any(|kind| kind.name == name)
}

/// A file that says something about versions.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    most: usize,
    /// The runtimes that such a file can be about; none: all that there are.
    about: &'static [Native],
    parse: fn(&str, &mut Contents),
}

/// In the order in which files of the same weight count.
static FILES: [Kind; 18] = [
    Kind::new(".nvmrc", &[Native::Node], |text, contents| lines::first(text, Native::Node, contents)),
    Kind::new(".node-version", &[Native::Node], |text, contents| lines::first(text, Native::Node, contents)),
    Kind::new(".python-version", &[Native::Python], |text, contents| lines::each(text, Native::Python, contents)),
    Kind::new(".go-version", &[Native::Go], |text, contents| lines::first(text, Native::Go, contents)),
    Kind::new("rust-toolchain", &[Native::Rust], rust::old_toolchain),
    Kind::new("rust-toolchain.toml", &[Native::Rust], rust::toolchain),
    Kind::new(".rust-version", &[Native::Rust], |text, contents| lines::first(text, Native::Rust, contents)),
    Kind::new(".ruby-version", &[Native::Ruby], |text, contents| lines::first(text, Native::Ruby, contents)),
    Kind::new(".java-version", &[Native::Java], |text, contents| lines::first(text, Native::Java, contents)),
    Kind::new(".sdkmanrc", &[Native::Java], lines::sdkman),
    Kind::new(".bun-version", &[Native::Bun], |text, contents| lines::first(text, Native::Bun, contents)),
    Kind { name: "package.json", most: MAX_MANIFEST_BYTES, about: json::ABOUT, parse: json::package },
    Kind::new("go.mod", &[Native::Go], lines::go_mod),
    Kind::new("Gemfile", &[Native::Ruby], gemfile::parse),
    Kind::new(".tool-versions", &[], lines::tool_versions),
    Kind::new("mise.toml", &[], mise::parse),
    Kind::new(".mise.toml", &[], mise::parse),
    Kind { name: "pyproject.toml", most: MAX_MANIFEST_BYTES, about: &[Native::Python], parse: python::project },
];

impl Kind {
    const fn new(name: &'static str, about: &'static [Native], parse: fn(&str, &mut Contents)) -> Self {
        Self { name, most: MAX_BYTES, about, parse }
    }

    /// What is open where such a file cannot be read.
    fn undecided(&self) -> Undecided {
        match self.about {
            [] => Undecided::Anything,
            [native] => Undecided::Version((*native).into()),
            several => Undecided::AnyOf(several),
        }
    }
}

/// What one file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    pub wishes: Vec<Entry>,
    pub problems: Vec<Trouble>,
    /// See [`MiseFile::can_run`]; `None`: it is no configuration of mise.
    pub can_run: Option<Vec<String>>,
}

/// A [`Problem`] whose file is known to the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub line: u32,
    pub message: String,
    pub undecided: Undecided,
}

/// A [`Wish`] whose file is known to the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub runtime: Runtime,
    pub request: Request,
    pub extras: Extras,
    pub line: u32,
    pub weight: Weight,
}

impl Contents {
    /// Takes the text for a request, or notes why it is none.
    fn wish(&mut self, runtime: &Runtime, text: &str, line: u32, weight: Weight) -> bool {
        match Request::parse(runtime, text) {
            Ok(request) => self.take(runtime, request, line, weight),
            Err(error) => {
                self.lost(runtime, line, error.0);
                return false;
            }
        }
        true
    }

    fn take(&mut self, runtime: &Runtime, request: Request, line: u32, weight: Weight) {
        if self.wishes.len() < MAX_WISHES {
            let entry = Entry { runtime: runtime.clone(), request, extras: Extras::default(), line, weight };
            self.wishes.push(entry);
        }
    }

    /// Something is wrong that no version hangs on.
    fn note(&mut self, line: u32, message: impl Into<String>) {
        self.trouble(line, message.into(), Undecided::Nothing);
    }

    /// A request for a version of this runtime was not understood or is not followed.
    fn lost(&mut self, runtime: &Runtime, line: u32, message: impl Into<String>) {
        self.trouble(line, message.into(), Undecided::Version(runtime.clone()));
    }

    fn trouble(&mut self, line: u32, message: String, undecided: Undecided) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Trouble { line, message, undecided });
        } else if let Some(last) = self.problems.last_mut().filter(|_| undecided != Undecided::Nothing) {
            // Nothing is told of it any more, but it is not forgotten.
            last.undecided = Undecided::Anything;
        }
    }
}

/// What a file with this name and these bytes says; `None` when such a file is not read at all. Never fails: what is
/// wrong is among the problems.
pub fn parse(name: &str, bytes: &[u8]) -> Option<Contents> {
    let kind = FILES.iter().find(|kind| kind.name == name)?;
    Some(parse_as(kind, bytes))
}

fn parse_as(kind: &Kind, bytes: &[u8]) -> Contents {
    let mut contents = Contents::default();
    if bytes.len() > kind.most {
        contents.trouble(1, format!("it is longer than {} bytes and was not read", kind.most), kind.undecided());
        return contents;
    }
    match std::str::from_utf8(bytes) {
        // What editors of another system put in front.
        Ok(text) => (kind.parse)(text.strip_prefix('\u{feff}').unwrap_or(text), &mut contents),
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + memchr::memchr_iter(b'\n', valid).count();
            let line = u32::try_from(line).unwrap_or(u32::MAX);
            contents.trouble(line, "not valid UTF-8".to_owned(), kind.undecided());
        }
    }
    contents
}

/// The line of a byte of `text`, from 1.
fn line_of(text: &str, offset: usize) -> u32 {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    u32::try_from(1 + memchr::memchr_iter(b'\n', before).count()).unwrap_or(u32::MAX)
}

/// The lines of a text with their numbers from 1.
fn numbered(text: &str) -> impl Iterator<Item = (u32, &str)> {
    (1..).zip(text.lines())
}

/// All names that are read, for tests and fuzzing.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|kind| kind.name)
}

#[cfg(test)]
mod tests;
