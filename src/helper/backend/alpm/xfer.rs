//! Has a program of the administrator's fetch files (`XferCommand`, pacman.conf(5)), as pacman itself does: libalpm has no
//! part in it but to say what is fetched, and to check what came.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use alpm::{Alpm, FetchResult};

/// Lets the command fetch whatever the handle has fetched.
///
/// # Errors
/// When the command is none.
pub fn fetch_with(handle: &Alpm, command: &str) -> Result<(), String> {
    let words = words(command).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| format!("XferCommand has a quote without its end: {command}"))?;
    handle.set_fetch_cb(words, |url, folder, anew, words| match fetch(words, url, Path::new(folder), anew) {
        Ok(()) => FetchResult::Ok,
        Err(error) => {
            eprintln!("omg-helper: XferCommand: {url}: {error}");
            FetchResult::Err
        }
    });
    Ok(())
}

/// Runs the command in `folder`. What it writes as `%o` gets its name once it is whole.
fn fetch(words: &[String], url: &str, folder: &Path, anew: bool) -> Result<(), String> {
    let file = url.rsplit('/').next().filter(|file| !file.is_empty()).ok_or("the address names no file")?;
    let (whole, part) = (folder.join(file), folder.join(format!("{file}.part")));
    if anew {
        // Those that are not there are gone.
        let _ = (fs::remove_file(&whole), fs::remove_file(&part));
    }
    let (program, arguments) = words.split_first().ok_or("there is no command")?;
    let mut command = Command::new(program);
    for argument in arguments {
        match argument.as_str() {
            "%o" => command.arg(&part),
            "%u" => command.arg(url),
            argument => command.arg(argument),
        };
    }
    let status = command.current_dir(folder).stdin(Stdio::null()).status();
    let status = status.map_err(|error| format!("{program} cannot be run: {error}"))?;
    if !status.success() {
        return Err(format!("{program} failed: {status}"));
    }
    if words.iter().any(|word| word == "%o") {
        fs::rename(&part, &whole).map_err(|error| format!("{} is not there: {error}", part.display()))?;
    }
    Ok(())
}

/// Splits at blanks, but for those in quotes or behind a backslash; `None` where a quote does not end.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
            (None, ' ' | '\t' | '\n') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_pacman_splits_it() {
        for (text, expected) in [
            ("/usr/bin/curl -L -C - -f -o %o %u", Some(vec!["/usr/bin/curl", "-L", "-C", "-", "-f", "-o", "%o", "%u"])),
            ("/bin/sh -c 'a  b; \\c'", Some(vec!["/bin/sh", "-c", "a  b; \\c"])),
            (" x \"y \\\" z\" '' a\\ b\"c\" ", Some(vec!["x", "y \" z", "", "a bc"])),
            ("x 'y", None),
        ] {
            let found = words(text);
            assert_eq!(found.as_ref().map(|words| words.iter().map(String::as_str).collect::<Vec<_>>()), expected);
        }
    }
}
