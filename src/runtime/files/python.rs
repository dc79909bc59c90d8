//! pyproject.toml: `project.requires-python` (PEP 621) and Poetry's `tool.poetry.dependencies.python`.

use toml::de::{DeTable, DeValue};

use super::{Contents, Undecided, Weight, line_of};
use crate::runtime::{Native, Runtime};

pub(super) fn project(text: &str, contents: &mut Contents) {
    // Most of a large file is about other things.
    let says = |what: &str| memchr::memmem::find(text.as_bytes(), what.as_bytes()).is_some();
    if !says("requires-python") && !says("poetry") {
        return;
    }
    let python = Runtime::Native(Native::Python);
    let Some(document) = document(text, Undecided::Version(python.clone()), contents) else { return };
    let path = |keys: &[&str]| {
        let mut value = document.get(*keys.first()?)?;
        for key in keys.iter().skip(1) {
            value = value.get_ref().as_table()?.get(*key)?;
        }
        Some(value)
    };
    let poetry = path(&["tool", "poetry", "dependencies", "python"]);
    let poetry = poetry.and_then(|value| match value.get_ref() {
        DeValue::Table(table) => table.get("version"),
        _ => Some(value),
    });
    let requires = path(&["project", "requires-python"]);
    for (value, key) in [(requires, "requires-python"), (poetry, "tool.poetry.dependencies.python")] {
        let Some(value) = value else { continue };
        let line = line_of(text, value.span().start);
        match value.get_ref() {
            DeValue::String(version) => {
                contents.wish(&python, version, line, Weight::Bound);
            }
            other => contents.lost(&python, line, format!("{key} is {}, not a string", other.type_str())),
        }
    }
}

/// The document, or a problem where it is broken, which leaves this open.
pub(super) fn document<'t>(text: &'t str, undecided: Undecided, contents: &mut Contents) -> Option<DeTable<'t>> {
    match DeTable::parse(text) {
        Ok(document) => Some(document.into_inner()),
        Err(error) => {
            let line = line_of(text, error.span().map_or(text.len(), |span| span.start));
            contents.trouble(line, format!("no TOML that can be read: {}", error.message().escape_debug()), undecided);
            None
        }
    }
}
