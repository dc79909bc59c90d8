//! Versions of Ruby: `Gem::Version`'s order, but for patch levels, which came after a release and not before it.

use super::{Key, Numbers, Parts, Plain, Stage, plain};

/// The other implementations, and how many numbers each has.
const FLAVOURS: [(&str, usize); 4] = [("jruby", 4), ("truffleruby+graalvm", 3), ("truffleruby", 3), ("mruby", 3)];

/// The implementation, how many numbers a whole version of it has, and what follows its name.
fn split(text: &str) -> Option<(&'static str, usize, &str)> {
    for (flavour, whole) in FLAVOURS {
        let Some(rest) = text.strip_prefix(flavour) else { continue };
        if rest.is_empty() {
            return Some((flavour, whole, rest));
        }
        if let Some(rest) = rest.strip_prefix('-') {
            return Some((flavour, whole, rest));
        }
    }
    let rest = text.strip_prefix("ruby-").unwrap_or(text);
    rest.starts_with(|first: char| first.is_ascii_digit()).then_some(("", 3, rest))
}

pub(super) fn parse(text: &str) -> Result<Parts, String> {
    let wanted = || "one looks like 3.3.0, 3.4.0-rc1 or jruby-9.4.8.0".to_owned();
    let (flavour, whole, text) = split(text).ok_or_else(wanted)?;
    let (numbers, rest) = plain::leading(text).ok_or_else(wanted)?;
    if numbers.len() != whole {
        return Err(wanted());
    }
    let patch = rest.trim_start_matches(['-', '.']).strip_prefix('p').and_then(|patch| plain::only(patch, 1, 1));
    let (tail, stage) = match (&patch, rest) {
        (Some(patch), _) => (format!("-p{}", plain::join(patch)), Stage::Final),
        (None, "") => (String::new(), Stage::Final),
        (None, rest) => {
            let letters = rest.strip_prefix(['-', '.']).unwrap_or(rest);
            let starts = letters.starts_with(|first: char| first.is_ascii_alphabetic());
            let is_stage = letters.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '.');
            if !starts || !is_stage || letters.ends_with('.') || letters.contains("..") {
                return Err(wanted());
            }
            // `3.4.0.rc1` and `3.4.0-rc1` are the same.
            (format!("-{letters}"), Stage::before(letters).ok_or_else(wanted)?)
        }
    };
    let key = Plain::of(&numbers, stage, &patch.unwrap_or_default());
    let name = if flavour.is_empty() { String::new() } else { format!("{flavour}-") };
    Ok(Parts {
        spelling: format!("{name}{}{tail}", plain::join(&numbers)),
        flavour,
        numbers,
        is_prerelease: key.is_prerelease(),
        key: Key::Plain(key),
        is_ambiguous: false,
    })
}

pub(super) fn partial(text: &str) -> Option<Numbers> {
    let (flavour, whole, rest) = split(text)?;
    let numbers = if rest.is_empty() { Vec::new() } else { plain::only(rest, 1, whole - 1)? };
    Some(Numbers { flavour, numbers })
}
