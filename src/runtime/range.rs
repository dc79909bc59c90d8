//! Ranges of versions: npm's for Node and Bun, PEP 440's (and Poetry's) for Python, RubyGems' for Ruby, and for the rest
//! comparisons with npm's meaning.
//!
//! A range speaks of the standard implementation only. Pre-releases are in it when it names one with the same numbers
//! (npm's rule), for Python when it names any (PEP 440's).

mod comparison;

use std::fmt;
use std::str::FromStr;

use pep440_rs::VersionSpecifiers;

use super::version::{Key, MAX_TEXT, leading, shown};
use super::{Native, Runtime, Version, VersionError};
use comparison::Comparison;

/// Most alternatives (`||`) and most comparisons of each.
const MAX_PARTS: usize = 32;

/// Versions from here to there. Two are equal when they are spelled alike.
#[derive(Debug, Clone)]
pub struct Range {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Npm(nodejs_semver::Range),
    /// One of these.
    Python(Vec<VersionSpecifiers>),
    /// All comparisons of one of these.
    Plain(Vec<Vec<Comparison>>),
}

impl Range {
    /// # Errors
    /// When it is none by the rules of the runtime's ecosystem.
    pub fn parse(runtime: &Runtime, text: &str) -> Result<Self, VersionError> {
        let text = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let failed = || {
            let example = match runtime {
                Runtime::Native(Native::Python) => ">=3.11,<3.13",
                Runtime::Native(Native::Ruby) => "~> 3.3",
                Runtime::Native(Native::Node | Native::Bun) => "^20 || >=22",
                _ => ">=1.21 <1.23",
            };
            VersionError(format!("{} is no version or range of {runtime}: one looks like {example}", shown(&text)))
        };
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || " .,<>=~^!|*+-_".contains(letter);
        // Words are none, though npm's own parser takes some of them for no limit at all.
        let has_limit = text.contains(|letter: char| letter.is_ascii_digit() || "*xX".contains(letter));
        if text.is_empty() || text.len() > MAX_TEXT || !text.chars().all(is_letter) || !has_limit {
            return Err(failed());
        }
        let alternatives: Vec<&str> = text.split("||").map(str::trim).collect();
        if alternatives.len() > MAX_PARTS || alternatives.iter().any(|alternative| alternative.is_empty()) {
            return Err(failed());
        }
        let kind = match runtime {
            Runtime::Native(Native::Node | Native::Bun) => nodejs_semver::Range::parse(&text).ok().map(Kind::Npm),
            Runtime::Native(Native::Python) => {
                alternatives.iter().map(|text| python(text)).collect::<Option<_>>().map(Kind::Python)
            }
            _ => {
                let parse = |text: &&str| comparison::parse(runtime, text, MAX_PARTS);
                alternatives.iter().map(parse).collect::<Option<_>>().map(Kind::Plain)
            }
        };
        let kind = kind.ok_or_else(failed)?;
        Ok(Self { text, kind })
    }

    pub fn admits(&self, version: &Version) -> bool {
        if !version.flavour().is_empty() {
            return false;
        }
        match (&self.kind, version.key()) {
            (Kind::Npm(range), Key::Semver(version)) => range.satisfies(version),
            (Kind::Python(alternatives), Key::Python(key)) => alternatives.iter().any(|all| {
                // A local version, which says who built it, is as good as the public one.
                let asked = !version.is_prerelease() || all.iter().any(|one| one.version().any_prerelease());
                asked && all.contains(&key.clone().without_local())
            }),
            (Kind::Plain(alternatives), Key::Plain(key)) => alternatives.iter().any(|all| {
                let asked = !key.is_prerelease() || all.iter().any(|one| one.names_prerelease_of(key));
                asked && all.iter().all(|one| one.admits(key))
            }),
            _ => false,
        }
    }
}

/// PEP 440's specifiers, and Poetry's `^3.11`, `~3.11` and `3.11`, each as the comparisons that it stands for.
fn python(text: &str) -> Option<VersionSpecifiers> {
    let mut all = Vec::new();
    for one in text.split(',').map(str::trim) {
        if all.len() > MAX_PARTS {
            return None;
        }
        // A comma at the end is allowed.
        if one.is_empty() {
            continue;
        }
        let starts = |start: &str| one.strip_prefix(start).map(str::trim);
        let caret = starts("^").map(|text| (text, true));
        let tilde = starts("~").filter(|rest| !rest.starts_with('=')).map(|text| (text, false));
        if let Some((text, is_caret)) = caret.or(tilde) {
            let (numbers, rest) = leading(text)?;
            let last = if is_caret { numbers.iter().position(|n| *n != 0).unwrap_or(numbers.len() - 1) } else { 1 };
            let mut above: Vec<u64> = numbers.iter().copied().take(last + 1).collect();
            *above.last_mut()? += 1;
            let above: Vec<String> = above.iter().map(u64::to_string).collect();
            rest.is_empty().then_some(())?;
            all.extend(VersionSpecifiers::from_str(&format!(">={text},<{}", above.join("."))).ok()?);
        } else if one == "*" {
            all.extend(VersionSpecifiers::from_str(">=0").ok()?);
        } else if let Some((numbers, rest)) = leading(one) {
            let star = if numbers.len() < 3 && rest.is_empty() { ".*" } else { "" };
            all.extend(VersionSpecifiers::from_str(&format!("=={one}{star}")).ok()?);
        } else {
            all.extend(VersionSpecifiers::from_str(one).ok()?);
        }
    }
    (!all.is_empty()).then(|| all.into_iter().collect())
}

impl PartialEq for Range {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && std::mem::discriminant(&self.kind) == std::mem::discriminant(&other.kind)
    }
}

impl Eq for Range {}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
