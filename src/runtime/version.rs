//! Versions, ordered as each ecosystem orders its own.
//!
//! | runtime | a version | order |
//! |---|---|---|
//! | Node, Bun | `20.11.1`, `23.0.0-rc.1` | semver, as npm has it |
//! | Python | `3.12.4`, `3.13.0rc1`, `3.13.0t` (without its lock), `pypy3.10-7.3.16`, `graalpy-24.1.1` | PEP 440 |
//! | Go | `1.21.3`, `1.21rc2`, `1.20` | that of Go's toolchains |
//! | Rust | `1.95.0`, `1.96.0-beta.2`, `beta-2026-01-15`, `nightly-2026-01-02` | semver; dated ones by date, below the others |
//! | Ruby | `3.3.0`, `3.4.0-rc1`, `1.9.3-p551`, `jruby-9.4.8.0`, `truffleruby-24.1.1` | `Gem::Version` |
//! | Java | `21.0.4+7`, `22-ea+36`, `8u412-b08` | JEP 322 |
//! | any other | `2.1.4`, `v0.13.0-dev.7`, `2024a` | numbers, then what follows them |
//!
//! The spellings of upstreams and of other tools are taken too (`v20.11.1`, `go1.21.3`, `jdk-21.0.4+7-LTS`, `21.0.4-tem`,
//! `ruby-3.3.0`, `1.8.0_412-b08`); there is one canonical spelling for each version. Flavours (PyPy, JRuby) come before
//! the standard implementation in the order, and are never meant by a request that does not name them.

mod go;
mod java;
mod other;
mod plain;
mod python;
mod ruby;
mod rust;
mod semver;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use thiserror::Error;

use super::{Native, Runtime};
pub(super) use plain::{Plain, Stage, leading};

/// Longest text that is looked at, bytes.
pub(super) const MAX_TEXT: usize = 256;

/// Longest canonical spelling, bytes: it names folders.
const MAX_SPELLING: usize = 64;

/// Most of a text that a message shows, characters.
const MAX_SHOWN: usize = 60;

/// A version of one runtime. Its spelling is safe as a folder's name: `[A-Za-z0-9][A-Za-z0-9._+-]*`, at most 64 bytes.
///
/// The order is that of the runtime's ecosystem and means nothing between versions of different runtimes. Versions that
/// the ecosystem holds equal (`1.0.0+a`, `1.0.0+b`) are ordered by their spelling.
#[derive(Clone)]
pub struct Version(Arc<Parts>);

struct Parts {
    spelling: String,
    /// The implementation: empty for the standard one, else one of a few fixed names.
    flavour: &'static str,
    numbers: Vec<u64>,
    is_prerelease: bool,
    key: Key,
    /// Its spelling alone would be a request for something else: for any version that starts so, or the latest.
    is_ambiguous: bool,
}

impl Parts {
    /// By the rules of the runtime's ecosystem; the error says what they want.
    fn parse(runtime: &Runtime, text: &str) -> Result<Self, String> {
        match runtime {
            Runtime::Native(Native::Node | Native::Bun) => semver::parse(text),
            Runtime::Native(Native::Python) => python::parse(text),
            Runtime::Native(Native::Go) => go::parse(text),
            Runtime::Native(Native::Rust) => rust::parse(text),
            Runtime::Native(Native::Ruby) => ruby::parse(text),
            Runtime::Native(Native::Java) => java::parse(text),
            Runtime::Other(_) => other::parse(text),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.spelling, self.flavour, &self.numbers, &self.key)
            == (&other.spelling, other.flavour, &other.numbers, &other.key)
    }
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Semver(nodejs_semver::Version),
    Python(pep440_rs::Version),
    Plain(Plain),
}

/// Why a text is no version or no request, in a sentence that shows it escaped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct VersionError(pub String);

impl VersionError {
    /// `text` is not what was expected.
    pub(super) fn not(text: &str, runtime: &Runtime, wanted: &str) -> Self {
        Self(format!("{} is no version of {runtime}: {wanted}", shown(text)))
    }
}

/// A text from outside as a message shows it: escaped and shortened.
pub(super) fn shown(text: &str) -> String {
    if text.chars().nth(MAX_SHOWN).is_none() {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(MAX_SHOWN).collect();
    format!("{start:?}…")
}

impl Version {
    /// A whole version: `20` is none of Node's, but a request for any that starts so.
    ///
    /// # Errors
    /// When it is none of this runtime's.
    pub fn parse(runtime: &Runtime, text: &str) -> Result<Self, VersionError> {
        let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
        if trimmed.len() > MAX_TEXT {
            return Err(VersionError::not(text, runtime, "it is too long"));
        }
        let failed = |wanted: &str| VersionError::not(text, runtime, wanted);
        let mut parts = Parts::parse(runtime, trimmed).map_err(|wanted| failed(&wanted))?;
        let safe = |letter: char| letter.is_ascii_alphanumeric() || "._+-".contains(letter);
        let starts = parts.spelling.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        if !starts || parts.spelling.len() > MAX_SPELLING || !parts.spelling.chars().all(safe) {
            return Err(failed(
                "letters, digits and . _ + - make one, at most 64 of them, and a letter or digit is the first",
            ));
        }
        // It is written to version files and names folders: read from there it has to be the same version.
        if parts.spelling != trimmed && !Parts::parse(runtime, &parts.spelling).is_ok_and(|again| again.is_same(&parts))
        {
            return Err(failed("it could be read in two ways"));
        }
        let is_word = matches!(parts.spelling.as_str(), "latest" | "system");
        parts.is_ambiguous = is_word || Numbers::parse(runtime, &parts.spelling).is_some();
        Ok(Self(Arc::new(parts)))
    }

    /// The canonical spelling.
    pub fn as_str(&self) -> &str {
        &self.0.spelling
    }

    /// By its spelling. What upstream calls otherwise is in [`super::Release::is_prerelease`].
    pub fn is_prerelease(&self) -> bool {
        self.0.is_prerelease
    }

    /// The numbers that it starts with: `[3, 12, 4]`; for a flavour with two versions both, `pypy3.10-7.3.16` being
    /// `[3, 10, 7, 3, 16]`; for a dated one year, month and day.
    pub fn numbers(&self) -> &[u64] {
        &self.0.numbers
    }

    /// The implementation, `pypy` or `jruby`; empty for the standard one. `t`: CPython without its lock; `beta` and
    /// `nightly`: Rust's dated ones.
    pub fn flavour(&self) -> &'static str {
        self.0.flavour
    }

    /// The spelling is also that of a request for more than this version.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.0.is_ambiguous
    }

    pub(super) fn key(&self) -> &Key {
        &self.0.key
    }

    /// Go's language version such as `1.21`, which no release has: it is below all of `1.21rc1`, `1.21.0`, ….
    pub(super) fn go_language(major: u64, minor: u64) -> Self {
        Self(Arc::new(Parts { is_ambiguous: true, ..go::language(major, minor) }))
    }
}

/// The start of a version, as people abbreviate: `3.12`, `pypy3.10`, `jruby`. Never all numbers of a whole one, but for
/// Java, where the build is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
    pub(super) flavour: &'static str,
    pub(super) numbers: Vec<u64>,
}

impl Numbers {
    /// `None` when the text is something else.
    pub(super) fn parse(runtime: &Runtime, text: &str) -> Option<Self> {
        match runtime {
            Runtime::Native(Native::Node | Native::Bun) => semver::partial(text),
            Runtime::Native(Native::Python) => python::partial(text),
            Runtime::Native(Native::Go) => go::partial(text),
            Runtime::Native(Native::Rust) => rust::partial(text),
            Runtime::Native(Native::Ruby) => ruby::partial(text),
            Runtime::Native(Native::Java) => java::partial(text),
            Runtime::Other(_) => other::partial(text),
        }
    }

    /// Number by number; missing ones of the version are zeros.
    pub fn admits(&self, version: &Version) -> bool {
        let mut theirs = version.numbers().iter().copied().chain(std::iter::repeat(0));
        self.flavour == version.flavour() && self.numbers.iter().all(|&wanted| theirs.next() == Some(wanted))
    }

    pub fn numbers(&self) -> &[u64] {
        &self.numbers
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.flavour {
            "" => f.write_str(&plain::join(&self.numbers)),
            "t" => write!(f, "{}t", plain::join(&self.numbers)),
            "pypy" => {
                let (language, own) = self.numbers.split_at(self.numbers.len().min(2));
                write!(f, "pypy{}", plain::join(language))?;
                if own.is_empty() { Ok(()) } else { write!(f, "-{}", plain::join(own)) }
            }
            flavour if self.numbers.is_empty() => f.write_str(flavour),
            flavour => write!(f, "{flavour}-{}", plain::join(&self.numbers)),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.spelling)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({:?})", self.0.spelling)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (&*self.0, &*other.0);
        (a.flavour.is_empty(), a.flavour)
            .cmp(&(b.flavour.is_empty(), b.flavour))
            .then_with(|| a.key.cmp(&b.key))
            .then_with(|| a.spelling.cmp(&b.spelling))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.spelling.hash(state);
    }
}

#[cfg(test)]
#[path = "version/tests.rs"]
mod tests;
