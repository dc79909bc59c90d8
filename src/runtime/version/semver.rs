//! Versions of Node and Bun: semver as npm has it.

use nodejs_semver::Version as Semver;

use super::{Key, Numbers, Parts, plain};

/// `v20.11.1` as Node writes it, `bun-v1.1.0` as Bun's releases are called.
fn bare(text: &str) -> &str {
    let text = text.strip_prefix("bun-").or_else(|| text.strip_prefix("node-")).unwrap_or(text);
    text.strip_prefix(['v', 'V']).unwrap_or(text)
}

pub(super) fn parse(text: &str) -> Result<Parts, String> {
    let wanted = || "three numbers make one, as in 20.11.1".to_owned();
    let text = bare(text);
    let (numbers, rest) = plain::leading(text).ok_or_else(wanted)?;
    // What the crate would take besides, as npm does with its option `loose`.
    if numbers.len() != 3 || !(rest.is_empty() || rest.starts_with(['-', '+'])) {
        return Err(wanted());
    }
    let version = Semver::parse(text).map_err(|_| wanted())?;
    Ok(Parts {
        spelling: version.to_string(),
        flavour: "",
        numbers,
        is_prerelease: version.is_prerelease(),
        key: Key::Semver(version),
        is_ambiguous: false,
    })
}

pub(super) fn partial(text: &str) -> Option<Numbers> {
    // `20.x` stays a range of npm's.
    (!text.ends_with(['x', '*'])).then_some(())?;
    Some(Numbers { flavour: "", numbers: plain::only(bare(text), 1, 2)? })
}
