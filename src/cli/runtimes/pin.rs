//! `omg pin`: the folder's own file is made to ask for a version.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::Failure;
use super::super::output::escape::escape;
use super::super::output::{NAME, Output};
use super::args::Pin;
use super::here::{self, Here};
use super::install::{apart, invalid, parse};
use super::tracked;
use crate::runtime::environment::Manual;
use crate::runtime::files::Undecided;
use crate::runtime::{Native, Request, Runtime, files};

/// What a folder has one line for each runtime in, where it has such a file.
const TOOL_VERSIONS: &str = ".tool-versions";

const RUST_TOOLCHAIN: &str = "rust-toolchain.toml";

#[derive(Serialize)]
struct PinnedLine<'a> {
    runtime: &'a str,
    version: &'a str,
    file: &'a str,
    line: u32,
}

/// # Errors
/// When there is nothing to pin, or the file cannot be written.
pub fn run(pin: &Pin, out: &mut Output) -> Result<(), Failure> {
    let here = Here::look(Manual::new());
    let (name, version) = apart(&pin.runtime, pin.version.as_deref())?;
    let (runtime, request) = match version {
        Some(version) => parse(name, version)?,
        None => {
            let runtime = Runtime::parse(name).map_err(|error| invalid(error.to_string()))?;
            let entry = here.environment.entries.iter().find(|entry| entry.runtime == runtime);
            let entry = entry.ok_or_else(|| {
                Failure::NotFound(format!("no version of {runtime} is used here: omg pin {runtime} VERSION"))
            })?;
            let request = Request::parse(&runtime, entry.version.as_str());
            (runtime, request.map_err(|error| Failure::Internal(error.to_string()))?)
        }
    };
    here::doubt(&here.layout, &runtime, out);
    let text = request.to_string();
    let found = files::read(&here.folder);
    // Those of folders above are somebody else's, and what a manifest says that it works with is no pin.
    let is_ours =
        |wish: &&files::Wish| wish.file.parent() == Some(here.folder.as_path()) && wish.weight != files::Weight::Bound;
    let wish = files::winner(&found, &runtime).filter(is_ours);
    let (file, line) = match wish {
        Some(wish) => {
            let content = read(&wish.file)?;
            let changed = replaced(&content, wish, &written(&wish.file, &request));
            let changed = changed.filter(|changed| says(&wish.file, changed, &runtime, &request, wish.line));
            let changed = changed.ok_or_else(|| {
                invalid(format!(
                    "{}:{} asks for {} in a way in which {request} is not written here: change it by hand",
                    wish.file.display(),
                    wish.line,
                    wish.request
                ))
            })?;
            if changed != content {
                write(&wish.file, &changed)?;
            }
            (wish.file.clone(), wish.line)
        }
        None => {
            let several = here.folder.join(TOOL_VERSIONS);
            let own = fresh(&runtime, &request);
            let line = line_of_several(&runtime, &request);
            // A range has blanks, which separate versions there.
            let is_added = several.is_file() && says(&several, &line.1, &runtime, &request, 1);
            let (name, content) = if is_added { line } else { own };
            let file = here.folder.join(name);
            if !says(&file, &content, &runtime, &request, 1 + u32::from(name == RUST_TOOLCHAIN)) {
                return Err(invalid(format!("{name} has no way to ask for {request}")));
            }
            // Behind what is no request nothing counts, but where a file has lines for several runtimes.
            let is_its = |problem: &&files::Problem| match &problem.undecided {
                Undecided::Version(undecided) => *undecided == runtime,
                Undecided::AnyOf(_) | Undecided::Anything | Undecided::Nothing => name != TOOL_VERSIONS,
            };
            let problem = found.problems.iter().filter(|problem| problem.file == file).find(is_its);
            let is_blank = || fs::read_to_string(&file).is_ok_and(|content| content.trim().is_empty());
            let problem = problem.filter(|_| !is_blank());
            if let Some(files::Problem { line, message, .. }) = problem {
                let shown = escape(&file.to_string_lossy()).into_owned();
                return Err(invalid(format!("{shown}:{line}: {message}; mend or remove the file, then pin again")));
            }
            // One of several runtimes is added to.
            let before = if file.exists() { read(&file)? } else { String::new() };
            let before = if before.trim().is_empty() { String::new() } else { before };
            let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
            write(&file, &format!("{before}{gap}{content}"))?;
            let line = before.lines().count() + 1;
            (file, u32::try_from(line).unwrap_or(u32::MAX))
        }
    };
    tracked::remember(&here.paths.data_dir, &here.folder);
    let shown = file.to_string_lossy();
    if out.is_json() {
        out.json(&PinnedLine { runtime: runtime.as_str(), version: &text, file: &shown, line });
    } else if !out.quiet() {
        out.line(&format!("{shown}:{line} asks for {runtime} {text}"));
        let again = files::read(&here.folder);
        let missing = here::lacks(&here.layout, &runtime, &request);
        let is_other = |wish: &&files::Wish| wish.request != request && (&wish.file, wish.line) != (&file, line);
        if let Some(winner) = files::winner(&again, &runtime).filter(is_other) {
            out.styled(NAME, "but ");
            out.line(&format!("{}:{} goes before it", winner.file.display(), winner.line));
        }
        if missing {
            out.line("it is not installed: omg install");
        }
    }
    Ok(())
}

/// Whether a file of this name and content asks for it in this line.
fn says(file: &Path, content: &str, runtime: &Runtime, request: &Request, line: u32) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let read = files::parse(name, content.as_bytes()).unwrap_or_default();
    let mut there = read.wishes.iter().filter(|entry| entry.runtime == *runtime && entry.line == line);
    // go.mod's line is the least version that will do.
    there.any(|entry| entry.request == *request || matches!(entry.request, Request::Minimum(_)))
}

/// The request as the file has it.
fn written(file: &Path, request: &Request) -> String {
    match request {
        // nvm knows no other word.
        Request::Lts(None) if file.file_name().is_some_and(|name| name == ".nvmrc") => "lts/*".to_owned(),
        _ => request.to_string(),
    }
}

/// The file of a folder that has a line for each runtime, and the line by the name that asdf has for it.
fn line_of_several(runtime: &Runtime, request: &Request) -> (&'static str, String) {
    let name = match runtime.native() {
        Some(Native::Node) => "nodejs",
        Some(Native::Go) => "golang",
        _ => runtime.as_str(),
    };
    (TOOL_VERSIONS, format!("{name} {request}\n"))
}

/// The file that is made where there is none, and what it says.
fn fresh(runtime: &Runtime, request: &Request) -> (&'static str, String) {
    let name = match runtime.native() {
        Some(Native::Node) => ".nvmrc",
        Some(Native::Python) => ".python-version",
        Some(Native::Go) => ".go-version",
        Some(Native::Rust) => return (RUST_TOOLCHAIN, format!("[toolchain]\nchannel = \"{request}\"\n")),
        Some(Native::Ruby) => ".ruby-version",
        Some(Native::Java) => ".java-version",
        Some(Native::Bun) => ".bun-version",
        None => return line_of_several(runtime, request),
    };
    (name, format!("{}\n", written(Path::new(name), request)))
}

/// The content with what this wish says replaced: one text on its line that means the same, and nothing else.
fn replaced(content: &str, wish: &files::Wish, text: &str) -> Option<String> {
    let number = usize::try_from(wish.line).ok()?.checked_sub(1)?;
    let start: usize = content.split_inclusive('\n').take(number).map(str::len).sum();
    let line = content.get(start..)?.split_inclusive('\n').next()?;
    let means = |candidate: &str| {
        let is_go = wish.runtime.native() == Some(Native::Go);
        let same = |request: Request| request == wish.request;
        !candidate.is_empty()
            && (Request::parse(&wish.runtime, candidate).is_ok_and(same)
                // go.mod's line is the least version that will do.
                || (is_go && Request::go_minimum(candidate).is_ok_and(same)))
    };
    // Some words are names and versions at once: `node`.
    let is_name = |candidate: &str| Runtime::parse(candidate).is_ok_and(|named| named == wish.runtime);
    let mut candidates = candidates(line).into_iter();
    let (from, old) = candidates.find(|(_, candidate)| means(candidate) && !is_name(candidate))?;
    // How the version is introduced stays: v20, go1.22, ruby-3.3.
    let kept = ["v", "go", "ruby-"].into_iter().find(|prefix| {
        old.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
            && text.starts_with(|first: char| first.is_ascii_digit())
    });
    let mut changed = content.get(..start + from)?.to_owned();
    changed.push_str(kept.unwrap_or_default());
    changed.push_str(text);
    changed.push_str(content.get(start + from + old.len()..)?);
    Some(changed)
}

/// Parts of a line that may be a version, with where they begin: what is in quotes, words, and what follows `=` or `@`; the
/// whole line last.
fn candidates(line: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for quote in ['"', '\''] {
        let marks: Vec<usize> = line.match_indices(quote).map(|(at, _)| at).collect();
        for pair in marks.windows(2) {
            if let [open, close] = pair
                && let Some(inner) = line.get(open + 1..*close)
            {
                found.push((open + 1, inner));
            }
        }
    }
    let is_word = |char: char| !char.is_whitespace() && !"\"',=#@".contains(char);
    let mut rest = 0;
    while let Some(start) = line.get(rest..).and_then(|tail| tail.find(is_word)).map(|at| rest + at) {
        let tail = line.get(start..).unwrap_or_default();
        let word = tail.get(..tail.find(|char| !is_word(char)).unwrap_or(tail.len())).unwrap_or_default();
        found.push((start, word));
        rest = start + word.len();
    }
    let trimmed = line.trim();
    found.push((line.len() - line.trim_start().len(), trimmed));
    found
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let path = path.display().to_string();
    move |error| Failure::Internal(format!("{path}: {error}"))
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(failed(path))
}

/// In one step, with the mode that the file has; through a link, what it leads to is written.
fn write(path: &Path, content: &str) -> Result<(), Failure> {
    let path: PathBuf = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mode = fs::metadata(&path).map_or(0o644, |found| found.permissions().mode() & 0o777);
    let written = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(content.as_bytes())?;
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    written().map_err(failed(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What pinning makes of the file `name` with this content.
    fn pinned(name: &str, content: &str, runtime: Native, text: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), content).unwrap();
        let found = files::read(folder.path());
        let wish = files::winner(&found, &runtime.into()).expect(name);
        replaced(content, wish, text)
    }

    #[test]
    fn a_version_is_replaced_where_it_stands_and_nothing_else_is() {
        for (name, content, runtime, text, expected) in [
            (".nvmrc", "v20.1.0\n", Native::Node, "22.3.0", "v22.3.0\n"),
            (".nvmrc", "lts/iron", Native::Node, "22.3.0", "22.3.0"),
            (".nvmrc", "20\r\n", Native::Node, "lts/iron", "lts/iron\r\n"),
            (".python-version", "# ours\n3.11\n", Native::Python, "3.12", "# ours\n3.12\n"),
            (
                ".tool-versions",
                "nodejs 20.1.0 # 20.1.0\ngo 1.22\n",
                Native::Node,
                "22",
                "nodejs 22 # 20.1.0\ngo 1.22\n",
            ),
            (
                "package.json",
                "{\n  \"engines\": {\n    \"npm\": \">=9\",\n    \"node\": \">=18 <21\"\n  }\n}\n",
                Native::Node,
                "^22",
                "{\n  \"engines\": {\n    \"npm\": \">=9\",\n    \"node\": \"^22\"\n  }\n}\n",
            ),
            (
                "package.json",
                "{\"packageManager\": \"bun@1.1.0\"}",
                Native::Bun,
                "1.2.0",
                "{\"packageManager\": \"bun@1.2.0\"}",
            ),
            ("go.mod", "module x\n\ngo 1.22.1\n", Native::Go, "1.23.0", "module x\n\ngo 1.23.0\n"),
            ("Gemfile", "source 'x'\nruby '3.3.0'\n", Native::Ruby, "3.4.1", "source 'x'\nruby '3.4.1'\n"),
            (
                "rust-toolchain.toml",
                "[toolchain]\nchannel = \"1.80.0\" # why\n",
                Native::Rust,
                "1.90.0",
                "[toolchain]\nchannel = \"1.90.0\" # why\n",
            ),
            ("mise.toml", "[tools]\nnode = '20'\nbun = '1'\n", Native::Node, "22", "[tools]\nnode = '22'\nbun = '1'\n"),
        ] {
            assert_eq!(pinned(name, content, runtime, text).as_deref(), Some(expected), "{name} {content:?}");
        }
    }
}
