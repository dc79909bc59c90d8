//! What is asked for: a version, or a way to choose one.

use std::collections::BTreeMap;
use std::fmt;

use super::range::Range;
use super::version::{Key, MAX_TEXT, Numbers};
use super::{Native, Release, Runtime, Version, VersionError};

/// Which version is wanted. Its text, which [`fmt::Display`] gives, reads as the same request again.
///
/// Pre-releases are chosen only when they are asked for: by their own name, by a channel that has nothing else, or by a
/// range that names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Whatever the system has: none of ours.
    System,
    /// The highest release.
    Latest,
    /// The highest release with long-term support: of the newest line, of the line with this name (`iron`; `21` for
    /// Java), or of the line so many before the newest (`-1`), as nvm has it.
    Lts(Option<String>),
    /// Rust's.
    Channel(Channel),
    /// The highest release whose first numbers are these.
    Numbers(Numbers),
    /// This one.
    Exact(Version),
    /// The highest release in it.
    Range(Range),
    /// The highest release that is not below: `go 1.21` in go.mod.
    Minimum(Version),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Stable,
    Beta,
    Nightly,
}

impl Channel {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Beta => "beta",
            Self::Nightly => "nightly",
        }
    }
}

/// Node's lines of long-term support and the first version of each that had it (nodejs/Release): what is installed is
/// told by it without an index. Lines that are newer than this table are known from what an index said at the installation.
const NODE_LINES: [(&str, [u64; 3]); 11] = [
    ("argon", [4, 2, 0]),
    ("boron", [6, 9, 0]),
    ("carbon", [8, 9, 0]),
    ("dubnium", [10, 13, 0]),
    ("erbium", [12, 13, 0]),
    ("fermium", [14, 15, 0]),
    ("gallium", [16, 13, 0]),
    ("hydrogen", [18, 12, 0]),
    ("iron", [20, 9, 0]),
    ("jod", [22, 11, 0]),
    ("krypton", [24, 11, 0]),
];

/// Longest name of a line of long-term support, and most lines that one may go back.
const MAX_LINE: usize = 32;
const MAX_BACK: usize = 99;

impl Request {
    /// # Errors
    /// When it is no request for this runtime.
    pub fn parse(runtime: &Runtime, text: &str) -> Result<Self, VersionError> {
        let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
        let is_text = |letter: char| letter.is_ascii_graphic() || letter == ' ';
        if trimmed.is_empty() || trimmed.len() > MAX_TEXT || !trimmed.chars().all(is_text) {
            return Err(VersionError::not(text, runtime, "it is empty, too long or has letters that no version has"));
        }
        if let Some(request) = Self::word(runtime, trimmed)? {
            return Ok(request);
        }
        if let Some(numbers) = Numbers::parse(runtime, trimmed) {
            return Ok(Self::Numbers(numbers));
        }
        if *runtime == Runtime::Native(Native::Go)
            && let Some(least) = trimmed.strip_prefix(">=")
            && let Ok(request) = Self::go_minimum(least)
        {
            return Ok(request);
        }
        let version = match Version::parse(runtime, trimmed.strip_prefix('=').unwrap_or(trimmed)) {
            Ok(version) => return Ok(Self::Exact(version)),
            Err(error) => error,
        };
        let is_range = trimmed.contains([' ', '<', '>', '=', '~', '^', '!', '|', '*', ',']) || trimmed.ends_with(".x");
        if is_range { Range::parse(runtime, trimmed).map(Self::Range) } else { Err(version) }
    }

    /// The requests that are words.
    fn word(runtime: &Runtime, text: &str) -> Result<Option<Self>, VersionError> {
        let native = runtime.native();
        let lts = text.strip_prefix("lts").map(|rest| rest.strip_prefix(['/', '-']).unwrap_or(rest));
        Ok(Some(match (text, native) {
            ("system", _) => Self::System,
            ("latest" | "*", _) => Self::Latest,
            ("stable" | "beta" | "nightly", Some(Native::Rust)) => Self::Channel(match text {
                "stable" => Channel::Stable,
                "beta" => Channel::Beta,
                _ => Channel::Nightly,
            }),
            ("node" | "current" | "stable", Some(Native::Node)) => Self::Latest,
            ("stable", Some(_)) => Self::Latest,
            (_, Some(Native::Node | Native::Java)) if let Some(line) = lts => Self::lts(runtime, text, line)?,
            ("lts" | "lts/*", Some(native)) => {
                return Err(VersionError(format!("{native} has no lines of long-term support: latest is the newest")));
            }
            _ => return Ok(None),
        }))
    }

    fn lts(runtime: &Runtime, text: &str, line: &str) -> Result<Self, VersionError> {
        let line = line.to_ascii_lowercase();
        let is_name =
            line.len() <= MAX_LINE && line.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let back = text.strip_prefix("lts/-").and_then(|back| back.parse::<usize>().ok());
        match (line.as_str(), back) {
            ("" | "*" | "latest", _) => Ok(Self::Lts(None)),
            (_, Some(back)) if (1..=MAX_BACK).contains(&back) => Ok(Self::Lts(Some(format!("-{back}")))),
            _ if is_name && back.is_none() => Ok(Self::Lts(Some(line))),
            _ => {
                Err(VersionError::not(text, runtime, "lines of long-term support look like lts/*, lts/iron or lts/-1"))
            }
        }
    }

    /// The least version that go.mod's `go` line names: a release or a version of the language.
    ///
    /// # Errors
    /// When it is neither.
    pub fn go_minimum(text: &str) -> Result<Self, VersionError> {
        let runtime = Runtime::Native(Native::Go);
        let text = text.trim();
        let language = |numbers: &[u64]| {
            let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
            Self::Minimum(Version::go_language(at(0), at(1)))
        };
        match Numbers::parse(&runtime, text) {
            Some(numbers) if !text.ends_with(['x', '*']) => Ok(language(numbers.numbers())),
            _ => Version::parse(&runtime, text).map(|version| {
                // `1.20.0` is the release that upstream called 1.20: as a least version it is the language's.
                if version.is_ambiguous() { language(version.numbers()) } else { Self::Minimum(version) }
            }),
        }
    }

    /// The best of what is offered, whose lines of long-term support are known.
    pub fn choose<'a>(&self, offered: &'a [Release]) -> Option<&'a Release> {
        let line = match self {
            Self::Lts(Some(line)) if line.starts_with('-') => Some(nth_line(offered, line.get(1..)?.parse().ok()?)?),
            _ => None,
        };
        let is_admitted = |release: &&Release| {
            let is_prerelease = release.is_prerelease || release.version.is_prerelease();
            match self {
                Self::Lts(wanted) => {
                    let wanted = line.or(wanted.as_deref());
                    !is_prerelease
                        && release
                            .lts
                            .as_deref()
                            .is_some_and(|lts| wanted.is_none_or(|line| lts.eq_ignore_ascii_case(line)))
                }
                // Upstream says so, though its spelling does not.
                Self::Latest | Self::Numbers(_) | Self::Range(_) | Self::Minimum(_)
                    if release.is_prerelease && !release.version.is_prerelease() =>
                {
                    false
                }
                _ => self.admits(&release.version),
            }
        };
        offered.iter().filter(is_admitted).max_by(|a, b| a.version.cmp(&b.version))
    }

    /// The best of what is installed. `recorded` tells what the index had when a version was installed: its line of long-term
    /// support, and all lines by their first number. It is asked only where that counts.
    pub fn best<'a>(
        &self,
        installed: &'a [Version],
        recorded: impl Fn(&Version) -> (Option<String>, BTreeMap<u64, String>),
    ) -> Option<&'a Version> {
        self.all(installed, recorded).into_iter().max()
    }

    /// Those of what is installed that will do, told as [`Self::best`] is.
    pub fn all<'a>(
        &self,
        installed: &'a [Version],
        recorded: impl Fn(&Version) -> (Option<String>, BTreeMap<u64, String>),
    ) -> Vec<&'a Version> {
        let Self::Lts(wanted) = self else {
            return installed.iter().filter(|version| self.admits(version)).collect();
        };
        let mut known: BTreeMap<u64, String> = BTreeMap::new();
        let mut lines: Vec<Option<String>> = Vec::new();
        for version in installed {
            let (line, all) = recorded(version);
            known.extend(all);
            lines.push(line.or_else(|| line_of(version)));
        }
        let counted = wanted.as_deref().and_then(|line| line.strip_prefix('-'));
        let wanted = match counted {
            Some(back) => {
                // The table, where nothing newer was heard of.
                for (name, first) in NODE_LINES {
                    known.entry(first[0]).or_insert_with(|| name.to_owned());
                }
                let of_node = installed.iter().any(|version| matches!(version.key(), Key::Semver(_)));
                let line = back.parse().ok().and_then(|back| known.into_values().rev().nth(back));
                let Some(line) = line.filter(|_| of_node) else { return Vec::new() };
                Some(line)
            }
            None => wanted.clone(),
        };
        let has_it = |line: &Option<String>| {
            line.as_deref().is_some_and(|line| wanted.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(line)))
        };
        let supported = installed
            .iter()
            .zip(&lines)
            .filter(|(version, line)| !version.is_prerelease() && version.flavour().is_empty() && has_it(line));
        supported.map(|(version, _)| version).collect()
    }

    /// Whether the version will do. Which lines have long-term support is known up to Node 24 and for Java by its rule, and
    /// lines that are counted (`lts/-1`) admit nothing here: [`Self::best`] knows more.
    pub fn admits(&self, version: &Version) -> bool {
        let is_release = !version.is_prerelease();
        match self {
            Self::System => false,
            Self::Latest => is_release && version.flavour().is_empty(),
            Self::Lts(line) => is_release && version.flavour().is_empty() && has_support(version, line.as_deref()),
            Self::Channel(Channel::Stable) => is_release,
            Self::Channel(Channel::Beta) => {
                version.flavour() == "beta" || (version.flavour().is_empty() && version.is_prerelease())
            }
            Self::Channel(Channel::Nightly) => version.flavour() == "nightly",
            Self::Numbers(numbers) => is_release && numbers.admits(version),
            Self::Exact(exact) => exact == version || is_same_public(exact, version),
            Self::Range(range) => range.admits(version),
            Self::Minimum(least) => {
                let asked = least.is_prerelease() && least.numbers() == version.numbers();
                version.flavour() == least.flavour() && version >= least && (is_release || asked)
            }
        }
    }

    /// What it means changes when something comes out.
    pub fn is_moving(&self) -> bool {
        matches!(self, Self::Latest | Self::Lts(_) | Self::Channel(_))
    }
}

/// PEP 440: `==3.12.4` is `3.12.4+anything`; a `v` in front tells nothing.
fn is_same_public(exact: &Version, version: &Version) -> bool {
    match (exact.key(), version.key()) {
        (Key::Python(a), Key::Python(b)) => {
            !a.is_local() && b.is_local() && exact.flavour() == version.flavour() && *a == b.clone().without_local()
        }
        _ => exact.as_str().trim_start_matches('v') == version.as_str().trim_start_matches('v'),
    }
}

/// The name of the line that is so many before the newest.
fn nth_line(offered: &[Release], back: usize) -> Option<&str> {
    let mut supported: Vec<&Release> = offered.iter().filter(|release| release.lts.is_some()).collect();
    supported.sort_by(|a, b| b.version.cmp(&a.version));
    let mut lines: Vec<&str> = Vec::new();
    for line in supported.iter().filter_map(|release| release.lts.as_deref()) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.get(back).copied()
}

/// Whether it is a line whose versions are known without an index.
pub(super) fn is_known_line(line: &str) -> bool {
    NODE_LINES.iter().any(|(name, _)| *name == line) || line.parse::<u64>().is_ok()
}

fn has_support(version: &Version, line: Option<&str>) -> bool {
    line_of(version).is_some_and(|own| line.is_none_or(|line| line == own))
}

/// The line of long-term support that a version belongs to, as far as that is known without an index.
fn line_of(version: &Version) -> Option<String> {
    let numbers = version.numbers();
    let &major = numbers.first()?;
    match version.key() {
        Key::Semver(_) => {
            let has = |(_, first): &&(&str, [u64; 3])| first.first() == Some(&major) && numbers >= first.as_slice();
            NODE_LINES.iter().find(has).map(|(name, _)| (*name).to_owned())
        }
        // Java: 8, 11, 17, and from there every second year's autumn release.
        Key::Plain(_) => {
            let is_line = matches!(major, 8 | 11) || (major >= 17 && (major - 17).is_multiple_of(4));
            is_line.then(|| major.to_string())
        }
        Key::Python(_) => None,
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Latest => f.write_str("latest"),
            Self::Lts(None) => f.write_str("lts"),
            Self::Lts(Some(line)) => write!(f, "lts/{line}"),
            Self::Channel(channel) => f.write_str(channel.as_str()),
            Self::Numbers(numbers) => write!(f, "{numbers}"),
            Self::Exact(version) if version.is_ambiguous() => write!(f, "={version}"),
            Self::Exact(version) => write!(f, "{version}"),
            Self::Range(range) => write!(f, "{range}"),
            Self::Minimum(version) => write!(f, ">={version}"),
        }
    }
}

#[cfg(test)]
#[path = "request/tests.rs"]
pub(super) mod tests;
