//! Versions of Python: PEP 440, and the implementations that have versions of their own.

use std::str::FromStr;

use pep440_rs::Version as Pep440;

use super::{Key, Numbers, Parts, plain};

/// What pyenv and uv write in front of the standard implementation's.
fn bare(text: &str) -> &str {
    let found =
        ["cpython-", "cpython@", "python-", "Python-", "python"].iter().find_map(|start| text.strip_prefix(start));
    found.unwrap_or(text)
}

pub(super) fn parse(text: &str) -> Result<Parts, String> {
    let wanted = || "three numbers make one, as in 3.12.4 or 3.13.0rc1, or pypy3.10-7.3.16".to_owned();
    if let Some(rest) = text.strip_prefix("pypy") {
        let (language, own) = rest.split_once('-').ok_or_else(wanted)?;
        let language = plain::only(language, 2, 2).ok_or_else(wanted)?;
        let own = release(own.strip_prefix('v').unwrap_or(own)).ok_or_else(wanted)?;
        let spelling = format!("pypy{}-{own}", plain::join(&language));
        let numbers = language.iter().chain(own.release()).copied().collect();
        // The language's version counts first.
        let key = Pep440::new(language.iter().chain(own.release())).with_pre(own.pre());
        return Ok(Parts {
            spelling,
            flavour: "pypy",
            numbers,
            is_prerelease: own.any_prerelease(),
            key: Key::Python(key),
            is_ambiguous: false,
        });
    }
    if let Some(rest) = text.strip_prefix("graalpy-") {
        return Ok(standard("graalpy", release(rest).ok_or_else(wanted)?, |version| format!("graalpy-{version}")));
    }
    let text = bare(text);
    // A local version may end in the letter as well: `3.12.4+dist`.
    if let Some(version) = text.strip_suffix('t').and_then(release).filter(|version| !version.is_local()) {
        return Ok(standard("t", version, |version| format!("{version}t")));
    }
    Ok(standard("", release(text).ok_or_else(wanted)?, Pep440::to_string))
}

fn standard(flavour: &'static str, version: Pep440, spell: impl Fn(&Pep440) -> String) -> Parts {
    Parts {
        spelling: spell(&version),
        flavour,
        numbers: version.release().to_vec(),
        is_prerelease: version.any_prerelease(),
        key: Key::Python(version),
        is_ambiguous: false,
    }
}

/// Three numbers; a pre-release may leave out its last one, which is zero then.
fn release(text: &str) -> Option<Pep440> {
    plain::leading(text)?;
    let version = Pep440::from_str(text).ok()?;
    if version.epoch() != 0 {
        return None;
    }
    match (version.release(), version.any_prerelease()) {
        (&[_, _, _], _) => Some(version),
        (&[major, minor], true) => Some(version.with_release([major, minor, 0])),
        _ => None,
    }
}

pub(super) fn partial(text: &str) -> Option<Numbers> {
    if let Some(rest) = text.strip_prefix("pypy") {
        let rest = rest.strip_prefix('-').unwrap_or(rest);
        if rest.is_empty() {
            return Some(Numbers { flavour: "pypy", numbers: Vec::new() });
        }
        let Some((language, own)) = rest.split_once('-') else {
            return Some(Numbers { flavour: "pypy", numbers: plain::only(rest, 1, 2)? });
        };
        let mut numbers = plain::only(language, 2, 2)?;
        numbers.extend(plain::only(own.strip_prefix('v').unwrap_or(own), 1, 2)?);
        return Some(Numbers { flavour: "pypy", numbers });
    }
    if let Some(rest) = text.strip_prefix("graalpy") {
        let numbers = if rest.is_empty() { Vec::new() } else { plain::only(rest.strip_prefix('-')?, 1, 2)? };
        return Some(Numbers { flavour: "graalpy", numbers });
    }
    let text = bare(text);
    match text.strip_suffix('t') {
        Some(numbers) => Some(Numbers { flavour: "t", numbers: plain::only(numbers, 1, 2)? }),
        None => Some(Numbers { flavour: "", numbers: plain::only(text, 1, 2)? }),
    }
}
