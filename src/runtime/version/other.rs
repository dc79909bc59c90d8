//! Versions of runtimes whose rules are not known here: numbers first, as most have them, then the rest.

use super::{Key, Numbers, Parts, Plain, Stage, plain};

/// What begins the suffix of a version that comes before the release of its numbers. Any other suffix tells how the release
/// was built (Elixir's `1.18.4-otp-28`, Flutter's `3.29.2-stable`).
const BEFORE: [&str; 16] = [
    "alpha",
    "beta",
    "rc",
    "pre",
    "preview",
    "dev",
    "snapshot",
    "nightly",
    "canary",
    "next",
    "ea",
    "unstable",
    "experimental",
    "a",
    "b",
    "m",
];

/// Whether `-rc.1` or the like is behind the numbers.
fn is_before(suffix: &str) -> bool {
    let word = suffix.strip_prefix('-').unwrap_or_default();
    let end = word.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(word.len());
    let word = word.get(..end).unwrap_or_default();
    // A number alone, as semver allows it.
    word.is_empty() || BEFORE.iter().any(|before| word.eq_ignore_ascii_case(before))
}

pub(super) fn parse(text: &str) -> Result<Parts, String> {
    let wanted = || "letters, digits and . _ + - make one".to_owned();
    // The link to the version that is used has this name.
    if text.is_empty() || text == "current" {
        return Err(wanted());
    }
    let bare = text.strip_prefix('v').unwrap_or(text);
    let (numbers, rest) = plain::leading(bare).unwrap_or((Vec::new(), text));
    let (stage_text, build) = rest.split_once('+').unwrap_or((rest, ""));
    // Words alone, as in `main`, are nothing that comes before a release.
    let stage = match stage_text {
        "" => Stage::Final,
        suffix if !numbers.is_empty() && suffix.starts_with('-') && !is_before(suffix) => Stage::Final,
        text => Stage::before(text).ok_or_else(wanted)?,
    };
    let key = Plain::of(&numbers, stage, &plain::only(build, 1, 8).unwrap_or_default());
    let is_prerelease = key.is_prerelease() && !numbers.is_empty() && rest.starts_with('-');
    Ok(Parts {
        spelling: text.to_owned(),
        flavour: "",
        numbers,
        is_prerelease,
        key: Key::Plain(key),
        is_ambiguous: false,
    })
}

pub(super) fn partial(text: &str) -> Option<Numbers> {
    let text = text.strip_prefix("prefix:").unwrap_or(text);
    Some(Numbers { flavour: "", numbers: plain::only(text.strip_prefix('v').unwrap_or(text), 1, 2)? })
}
