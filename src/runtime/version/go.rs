//! Versions of Go, as <https://go.dev/doc/toolchain#version> has them: `1.21 < 1.21rc1 < 1.21.0`, where `1.21` is the
//! language and no release; before 1.21 the first release of a line was called `1.20`.

use super::{Key, Numbers, Parts, Plain, Stage, plain};

/// The first line whose first release ends in `.0`.
const HAS_ZERO: (u64, u64) = (1, 21);

fn bare(text: &str) -> &str {
    text.strip_prefix("go").unwrap_or(text)
}

pub(super) fn parse(text: &str) -> Result<Parts, String> {
    let wanted = || "one looks like 1.21.3, 1.21rc2 or go1.21.3".to_owned();
    let (numbers, rest) = plain::leading(bare(text)).ok_or_else(wanted)?;
    let (&major, minor) = (numbers.first().ok_or_else(wanted)?, numbers.get(1).copied().unwrap_or(0));
    if !rest.is_empty() {
        let number = ["alpha", "beta", "rc"].iter().find_map(|kind| rest.strip_prefix(kind)).ok_or_else(wanted)?;
        let is_number = plain::only(number, 1, 1).is_some() && number != "0";
        if numbers.len() != 2 || !is_number {
            return Err(wanted());
        }
        return Ok(parts(format!("{major}.{minor}{rest}"), numbers, Stage::before(rest).ok_or_else(wanted)?));
    }
    match numbers.len() {
        3 if (major, minor) < HAS_ZERO && numbers.ends_with(&[0]) => {
            Ok(parts(format!("{major}.{minor}"), vec![major, minor], Stage::Final))
        }
        3 => Ok(parts(plain::join(&numbers), numbers, Stage::Final)),
        1 | 2 if (major, minor) < HAS_ZERO => Ok(parts(plain::join(&numbers), numbers, Stage::Final)),
        1 | 2 => Err(format!("it is one of the language; the line's first release is {major}.{minor}.0")),
        _ => Err(wanted()),
    }
}

fn parts(spelling: String, numbers: Vec<u64>, stage: Stage) -> Parts {
    let key = Plain::of(&numbers, stage, &[]);
    Parts {
        spelling,
        flavour: "",
        numbers,
        is_prerelease: key.is_prerelease(),
        key: Key::Plain(key),
        is_ambiguous: false,
    }
}

pub(super) fn language(major: u64, minor: u64) -> Parts {
    parts(format!("{major}.{minor}"), vec![major, minor], Stage::Lowest)
}

pub(super) fn partial(text: &str) -> Option<Numbers> {
    Some(Numbers { flavour: "", numbers: plain::only(bare(text), 1, 2)? })
}
