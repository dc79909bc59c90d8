//! What the working directory, the configuration and the variables of this process make of the versions.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use super::super::Failure;
use super::super::output::escape::escape;
use super::super::output::{Output, WARN};
use crate::config::{self, Paths};
use crate::dbus::client::ErrorKind;
use crate::runtime::environment::{self, Environment, MANUAL, Manual, Missing, Why, parse_manual};
use crate::runtime::files::Problem;
use crate::runtime::{Layout, Request, Runtime};

/// The environment of the working directory.
#[derive(Debug)]
pub(super) struct Here {
    pub paths: Paths,
    /// Where every version lies.
    pub versions: PathBuf,
    pub layout: Layout,
    pub folder: PathBuf,
    pub manual: Manual,
    pub environment: Environment,
    /// What is wrong with the variable [`MANUAL`].
    wrong: Vec<String>,
}

/// The paths of this process, as the configuration changes them.
pub(in crate::cli) fn paths() -> Paths {
    let paths = Paths::from_process();
    // Whoever changes folders is not told about the configuration each time: `omg doctor` does that.
    let settings = config::load(paths.config_file.as_deref()).unwrap_or_default();
    paths.with_settings(&settings)
}

impl Here {
    /// Looks at the working directory; `wanted` goes before everything else.
    pub fn look(wanted: Manual) -> Self {
        let paths = paths();
        let layout = Layout::new(&paths.data_dir);
        // One that is gone has no files, and neither has the root ordinarily.
        let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let (mut manual, wrong) = std::env::var_os(MANUAL).map(|text| parse_manual(&text)).unwrap_or_default();
        manual.extend(wanted);
        let environment = environment::resolve(&folder, &layout, &manual);
        Self { versions: paths.data_dir.join("versions"), paths, layout, folder, manual, environment, wrong }
    }

    /// What is wrong with the files, a line each.
    pub fn messages_of_files(&self) -> Vec<String> {
        self.environment.problems.iter().map(problem).collect()
    }

    /// What somebody who enters the folder should know, a line each.
    pub fn messages(&self) -> Vec<String> {
        let wrong = self.wrong.iter().map(|text| escape(text).into_owned());
        let missing = self.environment.missing.iter().map(not_installed);
        wrong.chain(self.messages_of_files()).chain(missing).collect()
    }
}

/// Where something is wrong, and what.
pub(super) fn problem(problem: &Problem) -> String {
    let (file, message) = (problem.file.display().to_string(), &problem.message);
    let line = if problem.line == 0 { String::new() } else { format!(":{}", problem.line) };
    format!("{}{line}: {}", escape(&file), escape(message))
}

/// That a version is missing, and what installs it.
pub(super) fn not_installed(missing: &Missing) -> String {
    let Missing { runtime, request, why } = missing;
    match why {
        Why::File { .. } => format!("{runtime} {request} ({}) is not installed: omg install", escape(&why.place())),
        _ => {
            let text = request.to_string();
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._+-/".contains(letter);
            let typed = if text.chars().all(is_plain) { text } else { format!("'{text}'") };
            format!("{runtime} {request} is not installed: omg use {runtime} {typed}")
        }
    }
}

/// Whether nothing that is installed will do.
pub(super) fn lacks(layout: &Layout, runtime: &Runtime, request: &Request) -> bool {
    *request != Request::System && layout.best(runtime, request).is_ok_and(|best| best.is_none())
}

/// Asks whether one of omg's own runtimes was meant, where mise is asked for another whose name is nearly the same.
pub(super) fn doubt(layout: &Layout, runtime: &Runtime, out: &mut Output) {
    if let Some(near) = runtime.near().filter(|_| !out.quiet())
        && layout.installed(runtime).is_ok_and(|installed| installed.is_empty())
    {
        out.note(WARN, &format!("{runtime} is none of the runtimes that omg installs itself; did you mean {near}?"));
    }
}

pub(super) fn tell(messages: &[String], out: &mut Output) {
    for message in messages {
        out.note(WARN, message);
    }
}

/// Stands for the messages: the same ones are not told twice.
pub(super) fn sum(messages: &[String]) -> String {
    let mut hasher = DefaultHasher::new();
    messages.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// `node@20`; without a version the newest.
pub(super) fn parse_named(text: &str) -> Result<(Runtime, Request), Failure> {
    let invalid = |error: String| Failure::Of(ErrorKind::Invalid, error);
    let is_version =
        |word: &str| word.starts_with(|first: char| first.is_ascii_digit()) || ["latest", "lts"].contains(&word);
    if is_version(text) {
        return Err(invalid(format!("{text:?} is a version: it goes behind its runtime, as in node@{text}")));
    }
    let (name, request) = text.split_once('@').unwrap_or((text, "latest"));
    let runtime = Runtime::parse(name).map_err(|error| invalid(error.to_string()))?;
    let request = Request::parse(&runtime, request).map_err(|error| invalid(error.to_string()))?;
    Ok((runtime, request))
}
