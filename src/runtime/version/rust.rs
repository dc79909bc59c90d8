//! Versions of Rust: releases have numbers, betas and nightlies the day they were built
//! (<https://rust-lang.github.io/rustup/concepts/toolchains.html>).

use super::{Key, Numbers, Parts, Plain, Stage, plain};

pub(super) fn parse(text: &str) -> Result<Parts, String> {
    let wanted = || "one looks like 1.95.0, 1.96.0-beta.2 or nightly-2026-01-02".to_owned();
    for channel in ["nightly", "beta", "stable"] {
        let Some(rest) = text.strip_prefix(channel) else { continue };
        let Some(rest) = rest.strip_prefix('-') else {
            return Err(if rest.is_empty() {
                "it is a channel, whose versions have a date".to_owned()
            } else {
                wanted()
            });
        };
        let (date, host) = match rest.split_at_checked(10) {
            Some((date, host)) if is_date(date) => (Some(date), host.strip_prefix('-').unwrap_or(host)),
            _ => (None, rest),
        };
        if looks_like_host(host) {
            return Err(names_host(date.map_or_else(|| channel.to_owned(), |date| format!("{channel}-{date}"))));
        }
        let date = date.filter(|_| rest.len() == 10).ok_or("a day looks like 2026-01-02")?;
        if channel == "stable" {
            return Err("a stable release has a number of its own: name that".to_owned());
        }
        let numbers: Vec<u64> = date.split('-').filter_map(|number| number.parse().ok()).collect();
        let key = Plain::of(&numbers, Stage::Final, &[]);
        return Ok(Parts {
            spelling: text.to_owned(),
            flavour: if channel == "beta" { "beta" } else { "nightly" },
            numbers,
            is_prerelease: true,
            key: Key::Plain(key),
            is_ambiguous: false,
        });
    }
    let (numbers, rest) = plain::leading(text).ok_or_else(wanted)?;
    if let Some(host) = rest.strip_prefix('-').filter(|host| looks_like_host(host)) {
        let version = text.strip_suffix(host).unwrap_or(text).trim_end_matches('-');
        return Err(names_host(version.to_owned()));
    }
    let stage = match rest.strip_prefix("-beta") {
        None if rest.is_empty() => Stage::Final,
        Some(number)
            if number.is_empty() || number.strip_prefix('.').is_some_and(|n| plain::only(n, 1, 1).is_some()) =>
        {
            Stage::before(rest).ok_or_else(wanted)?
        }
        _ => return Err(wanted()),
    };
    if numbers.len() != 3 {
        return Err(wanted());
    }
    let key = Plain::of(&numbers, stage, &[]);
    Ok(Parts {
        spelling: text.to_owned(),
        flavour: "",
        numbers,
        is_prerelease: key.is_prerelease(),
        key: Key::Plain(key),
        is_ambiguous: false,
    })
}

fn names_host(rest: String) -> String {
    format!("it names a kind of machine, and what is installed is always for this one: {rest} says it")
}

/// A triple or quadruple such as `x86_64-unknown-linux-gnu`.
fn looks_like_host(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_part = |part: &&str| part.starts_with(|c: char| c.is_ascii_alphabetic()) && !part.starts_with("beta");
    (2..=4).contains(&parts.len()) && parts.iter().all(is_part)
}

/// `2026-01-02`.
fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut part = |width: usize, most: u32| {
        let digits = parts.next().filter(|part| part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse::<u32>().ok()).is_some_and(|number| (1..=most).contains(&number))
    };
    part(4, 9999) && part(2, 12) && part(2, 31) && parts.next().is_none()
}

pub(super) fn partial(text: &str) -> Option<Numbers> {
    Some(Numbers { flavour: "", numbers: plain::only(text, 1, 2)? })
}
