//! Files of lines.

use super::{Contents, Weight, numbered};
use crate::runtime::version::shown;
use crate::runtime::{Native, Request, Runtime, Version};

/// Without a comment and without space around it.
fn bare(line: &str) -> &str {
    line.split_once('#').map_or(line, |(before, _)| before).trim()
}

/// One version; what comes after it does not count.
pub(super) fn first(text: &str, native: Native, contents: &mut Contents) {
    let runtime = Runtime::Native(native);
    let mut lines = numbered(text).map(|(number, line)| (number, bare(line))).filter(|(_, line)| !line.is_empty());
    let Some((number, line)) = lines.next() else {
        contents.lost(&runtime, 1, "it names no version");
        return;
    };
    contents.wish(&runtime, line, number, Weight::Own);
    if let Some((number, line)) = lines.next() {
        contents.note(number, format!("only the first line counts, {} does not", shown(line)));
    }
}

/// Several versions, the first of which is what the runtime's own command is (pyenv).
pub(super) fn each(text: &str, native: Native, contents: &mut Contents) {
    let runtime = Runtime::Native(native);
    let mut is_empty = true;
    for (number, line) in numbered(text) {
        for version in bare(line).split_whitespace() {
            is_empty = false;
            contents.wish(&runtime, version, number, Weight::Own);
        }
    }
    if is_empty {
        contents.lost(&runtime, 1, "it names no version");
    }
}

/// `java=21.0.4-tem`. What else sdkman looks after is left to it.
pub(super) fn sdkman(text: &str, contents: &mut Contents) {
    for (number, line) in numbered(text) {
        if let Some((key, version)) = bare(line).split_once('=')
            && key.trim() == "java"
        {
            contents.wish(&Native::Java.into(), version.trim(), number, Weight::Own);
        }
    }
}

/// Versions that mean a place and not a release: `ref:main`, `path:/opt/x`.
pub(super) fn is_place(version: &str) -> bool {
    ["ref:", "path:", "branch:", "tag:", "rev:", "sub-", "file:"].iter().any(|start| version.starts_with(start))
}

/// asdf's: a name and its versions, the first of which that can be had counts.
pub(super) fn tool_versions(text: &str, contents: &mut Contents) {
    for (number, line) in numbered(text) {
        let mut words = bare(line).split_whitespace();
        let Some(name) = words.next() else { continue };
        let Ok(runtime) = Runtime::parse(name) else {
            contents.note(number, format!("{} is no name of a runtime", shown(name)));
            continue;
        };
        let mut is_empty = true;
        for version in words {
            is_empty = false;
            tool(&runtime, version, number, Weight::ToolVersions, contents);
        }
        if is_empty {
            contents.lost(&runtime, number, format!("{} has no version", shown(name)));
        }
    }
}

/// A version as asdf and mise have it.
pub(super) fn tool(runtime: &Runtime, version: &str, line: u32, weight: Weight, contents: &mut Contents) -> bool {
    if is_place(version) {
        let message = format!("{} is no release of {runtime}: sources and folders are not followed", shown(version));
        contents.lost(runtime, line, message);
        return false;
    }
    contents.wish(runtime, version.strip_prefix("prefix:").unwrap_or(version), line, weight)
}

/// `go 1.21` and `toolchain go1.21.3` (<https://go.dev/ref/mod#go-mod-file-toolchain>): the toolchain counts where it is
/// newer than what is needed at least.
pub(super) fn go_mod(text: &str, contents: &mut Contents) {
    let go = Runtime::Native(Native::Go);
    let (mut least, mut toolchain) = (None, None);
    let mut in_block = false;
    for (number, line) in numbered(text) {
        let line = line.split_once("//").map_or(line, |(before, _)| before).trim();
        if in_block {
            in_block = line != ")";
            continue;
        }
        in_block = line.ends_with('(');
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("go"), Some(version), None) => match Request::go_minimum(version) {
                Ok(Request::Minimum(version)) => least = Some((version, number)),
                Ok(_) => {}
                Err(error) => contents.lost(&go, number, error.0),
            },
            // What is installed will do.
            (Some("toolchain"), Some("default" | "local"), None) => {}
            (Some("toolchain"), Some(version), None) => match Version::parse(&go, version) {
                Ok(version) => toolchain = Some((version, number)),
                Err(error) => contents.lost(&go, number, error.0),
            },
            _ => {}
        }
    }
    if let Some((version, number)) = toolchain
        && least.as_ref().is_none_or(|(least, _)| version > *least)
    {
        contents.take(&go, Request::Exact(version), number, Weight::Pinned);
    }
    if let Some((version, number)) = least {
        contents.take(&go, Request::Minimum(version), number, Weight::Bound);
    }
}
