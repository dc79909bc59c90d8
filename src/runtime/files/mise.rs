//! mise.toml: `[tools]` only (<https://mise.jdx.dev/configuration.html>). The rest of it can run code; its names are told,
//! so that somebody can be asked whether the file is trusted.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::python::document;
use super::{Contents, Undecided, Weight, line_of, lines, rust};
use crate::runtime::version::shown;
use crate::runtime::{Native, Runtime};

/// What cannot run anything. Everything else, known today or not, is told.
const HARMLESS: [&str; 2] = ["tools", "min_version"];

/// Options of a tool that run something when it is installed or used.
const HOOKS: [&str; 3] = ["postinstall", "preinstall", "install_env"];

/// Most names that are told.
const MAX_NAMES: usize = 20;

pub(super) fn parse(text: &str, contents: &mut Contents) {
    // Also when the rest cannot be read: mise may read it otherwise.
    let mut can_run = Vec::new();
    if text.contains("{{") || text.contains("{%") || text.contains("{#") {
        can_run.push("templates".to_owned());
    }
    if let Some(document) = document(text, Undecided::Anything, contents) {
        for key in document.keys().map(|key| key.get_ref().as_ref()) {
            if !HARMLESS.contains(&key) {
                note(&mut can_run, key);
            }
        }
        match document.get("tools").map(|tools| (tools, tools.get_ref())) {
            None => {}
            Some((_, DeValue::Table(tools))) => each_tool(text, tools, contents, &mut can_run),
            Some((tools, _)) => {
                contents.trouble(
                    line_of(text, tools.span().start),
                    "tools is no table".to_owned(),
                    Undecided::Anything,
                );
            }
        }
    }
    contents.can_run = Some(can_run);
}

fn note(can_run: &mut Vec<String>, name: &str) {
    let name: String = name.escape_debug().take(60).collect();
    if can_run.len() < MAX_NAMES && !can_run.contains(&name) {
        can_run.push(name);
    }
}

fn each_tool(text: &str, tools: &DeTable<'_>, contents: &mut Contents, can_run: &mut Vec<String>) {
    // The table is in the order of its keys; the file's own is what messages follow.
    let mut tools: Vec<_> = tools.iter().collect();
    tools.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in tools {
        let name: &str = name.get_ref().as_ref();
        for table in tables(value) {
            for hook in HOOKS.iter().filter(|hook| table.contains_key(**hook)) {
                note(can_run, &format!("tools.{name}.{hook}"));
            }
        }
        // Packages of other managers (`npm:prettier`) are no runtimes, and mise's alone.
        let Ok(runtime) = Runtime::parse(name.strip_prefix("core:").unwrap_or(name)) else { continue };
        match value.get_ref() {
            DeValue::Array(versions) => {
                for version in versions.iter() {
                    tool(text, &runtime, version, contents);
                }
            }
            _ => tool(text, &runtime, value, contents),
        }
    }
}

/// The tables of a tool that is one, or several.
fn tables<'v, 'i>(value: &'v Spanned<DeValue<'i>>) -> Vec<&'v DeTable<'i>> {
    match value.get_ref() {
        DeValue::Table(table) => vec![table],
        DeValue::Array(values) => values.iter().filter_map(|value| value.get_ref().as_table()).collect(),
        _ => Vec::new(),
    }
}

/// A version, or a table with one.
fn tool(text: &str, runtime: &Runtime, value: &Spanned<DeValue<'_>>, contents: &mut Contents) {
    let line = line_of(text, value.span().start);
    let (version, table) = match value.get_ref() {
        DeValue::String(version) => (Some(version.as_ref()), None),
        DeValue::Table(table) => (table.get("version").and_then(|version| version.get_ref().as_str()), Some(table)),
        _ => (None, None),
    };
    let Some(version) = version else {
        return contents.lost(runtime, line, format!("{runtime} has no version that is a string"));
    };
    if version.contains(['{', '}']) {
        return contents.lost(runtime, line, format!("{} is a template, which is not evaluated", shown(version)));
    }
    let is_taken = lines::tool(runtime, version, line, Weight::Mise, contents);
    if let (true, Some(table), Runtime::Native(Native::Rust)) = (is_taken, table, runtime) {
        let extras = rust::extras(text, table, contents);
        if let Some(wish) = contents.wishes.last_mut() {
            wish.extras = extras;
        }
    }
}
