//! rust-toolchain.toml and rust-toolchain (<https://rust-lang.github.io/rustup/overrides.html#the-toolchain-file>).

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::python::document;
use super::{Contents, Undecided, Weight, line_of, lines};
use crate::runtime::request::Channel;
use crate::runtime::version::shown;
use crate::runtime::{Extras, Native, Request, Runtime};

/// Longest name of a component or target, and most of them.
const MAX_NAME: usize = 64;
const MAX_NAMES: usize = 100;

/// The older file: one line with a channel, or the same as the newer.
pub(super) fn old_toolchain(text: &str, contents: &mut Contents) {
    if text.trim().lines().count() > 1 { toolchain(text, contents) } else { lines::first(text, Native::Rust, contents) }
}

pub(super) fn toolchain(text: &str, contents: &mut Contents) {
    let rust = Runtime::Native(Native::Rust);
    let Some(document) = document(text, Undecided::Version(rust.clone()), contents) else { return };
    let Some(table) = document.get("toolchain") else {
        return contents.lost(&rust, 1, "it has no table [toolchain]");
    };
    let at = line_of(text, table.span().start);
    let Some(table) = table.get_ref().as_table() else {
        return contents.lost(&rust, at, "toolchain is no table");
    };
    if let Some(path) = table.get("path") {
        let line = line_of(text, path.span().start);
        let message = "path names a folder with a toolchain: such are not used, name a channel instead";
        return contents.lost(&rust, line, message);
    }
    let taken = match table.get("channel").map(|value| (value, value.get_ref())) {
        // rustup takes what the user has as default.
        None => {
            contents.take(&rust, Request::Channel(Channel::Stable), at, Weight::Own);
            true
        }
        Some((value, DeValue::String(channel))) => {
            contents.wish(&rust, channel, line_of(text, value.span().start), Weight::Own)
        }
        Some((value, _)) => {
            contents.lost(&rust, line_of(text, value.span().start), "channel is no string");
            false
        }
    };
    let extras = extras(text, table, contents);
    if let (true, Some(wish)) = (taken, contents.wishes.last_mut()) {
        wish.extras = extras;
    }
}

/// `profile`, `components` and `targets` of a table, for rustup's files and for mise's.
pub(super) fn extras(text: &str, table: &DeTable<'_>, contents: &mut Contents) -> Extras {
    let mut extras = Extras::default();
    if let Some(value) = table.get("profile") {
        match value.get_ref().as_str() {
            Some(profile @ ("minimal" | "default" | "complete")) => extras.profile = Some(profile.to_owned()),
            _ => contents.note(
                line_of(text, value.span().start),
                "profile is none of \"minimal\", \"default\" and \"complete\"",
            ),
        }
    }
    if let Some(value) = table.get("components") {
        extras.components = names(text, value, "components", contents);
    }
    if let Some(value) = table.get("targets") {
        extras.targets = names(text, value, "targets", contents);
    }
    extras
}

/// An array of names; mise has them in one string with commas too. Each once.
fn names(text: &str, value: &Spanned<DeValue<'_>>, key: &str, contents: &mut Contents) -> Vec<String> {
    let line = line_of(text, value.span().start);
    let mut names: Vec<String> = Vec::new();
    let all: Vec<Option<&str>> = match value.get_ref() {
        DeValue::Array(items) => items.iter().map(|item| item.get_ref().as_str()).collect(),
        DeValue::String(list) => list.split(',').map(|name| Some(name.trim())).collect(),
        _ => vec![None],
    };
    for name in all {
        let Some(name) = name else {
            contents.note(line, format!("{key} are no strings in an array"));
            continue;
        };
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let starts = name.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !starts || name.len() > MAX_NAME || !name.chars().all(is_letter) {
            contents.note(line, format!("{} is no name for {key}", shown(name)));
        } else if !names.iter().any(|known| known == name) && names.len() < MAX_NAMES {
            names.push(name.to_owned());
        }
    }
    names
}
