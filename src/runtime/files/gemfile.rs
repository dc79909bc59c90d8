//! The `ruby` line of a Gemfile (<https://bundler.io/man/gemfile.5.html#RUBY>), as text: a Gemfile is a program, and is
//! never run here.

use super::{Contents, Weight, is_watched_name, numbered};
use crate::runtime::version::shown;
use crate::runtime::{Native, Runtime};

pub(super) fn parse(text: &str, contents: &mut Contents) {
    for (number, line) in numbered(text) {
        let Some(rest) = line.trim_start().strip_prefix("ruby") else { continue };
        let Some(arguments) = rest.strip_prefix([' ', '\t', '(', '"', '\'']) else { continue };
        // A quote that follows at once is part of the argument.
        let arguments = if rest.starts_with(['"', '\'']) { rest } else { arguments };
        // An assignment, or a method of something called so.
        if arguments.trim_start().starts_with(['=', '.']) {
            continue;
        }
        ruby(arguments, number, contents);
        return;
    }
}

/// The arguments, all of which must be texts: nothing else has a meaning without running it.
fn ruby(arguments: &str, line: u32, contents: &mut Contents) {
    let runtime = Runtime::Native(Native::Ruby);
    let Some(arguments) = literals(arguments) else {
        let message = format!("{} is more than plain text, which is all that is read", shown(arguments.trim()));
        contents.lost(&runtime, line, message);
        return;
    };
    let named = |name: &str| arguments.iter().find(|(key, _)| *key == Some(name)).map(|(_, text)| *text);
    if let Some(file) = named("file") {
        // Those of the same folder are read anyway.
        if !is_watched_name(file) {
            contents.lost(&runtime, line, format!("the file {} is not followed", shown(file)));
        }
        return;
    }
    match (named("engine"), named("engine_version")) {
        (Some(engine), version) if engine != "ruby" => {
            let version = version.map(|version| format!("-{version}")).unwrap_or_default();
            contents.wish(&runtime, &format!("{engine}{version}"), line, Weight::Pinned);
        }
        _ => {
            let all: Vec<&str> = arguments.iter().filter(|(key, _)| key.is_none()).map(|(_, text)| *text).collect();
            contents.wish(&runtime, &all.join(", "), line, Weight::Pinned);
        }
    }
}

/// `"3.3", engine: 'jruby', :engine_version => "9.4"` as names and texts. `None` when anything else is there.
fn literals(text: &str) -> Option<Vec<(Option<&str>, &str)>> {
    let mut all = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', '(']);
    loop {
        let (name, value) = name(rest);
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let (inside, after) = value.strip_prefix(quote)?.split_once(quote)?;
        if inside.contains('\\') || (quote == '"' && inside.contains("#{")) {
            return None;
        }
        all.push((name, inside));
        let after = after.trim_start();
        match after.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None => {
                let end = after.trim_start_matches(')').trim_start();
                return (end.is_empty() || end.starts_with('#')).then_some(all);
            }
        }
    }
}

/// The keyword in front of an argument, `engine:` or `:engine =>`, and the argument.
fn name(text: &str) -> (Option<&str>, &str) {
    let (start, arrow) = match text.strip_prefix(':') {
        Some(start) => (start, "=>"),
        None => (text, ":"),
    };
    let end = start.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_').unwrap_or(start.len());
    let (name, after) = start.split_at(end);
    match after.trim_start().strip_prefix(arrow) {
        Some(value) if !name.is_empty() => (Some(name), value.trim_start()),
        _ => (None, text),
    }
}
