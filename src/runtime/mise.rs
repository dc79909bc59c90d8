//! Runtimes that mise installs: everything that is not managed here, or is wanted from mise.
//!
//! mise works in folders of ours and sees none of its own configuration, nor any of a project. What it has installed gets a
//! folder among the versions, with links to its programs: from then on it is like every other version, and mise is not run
//! again to use it.

mod program;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use super::environment::MISE_HOME;
use super::fetch::FetchError;
use super::layout::{Held, Layout};
use super::manager::{Asking, Installed, Listener, RuntimeManager, Stage, Wanted};
use super::native::apart;
use super::record::Record;
use super::variables::{self, JAVA_HOME};
use super::{Release, Request, Runtime, RuntimeError, Version};
use crate::unit;
pub use program::{DEFAULT_BASE, MiseProgram};

/// What it is called in settings and records.
pub const NAME: &str = "mise";

/// Longest answer of mise that is read, bytes.
const MAX_ANSWER: u64 = 16 << 20;

/// Longest line of its words that is taken as one, bytes.
const MAX_LINE: u64 = 64 << 10;

/// Most of its words that an error repeats.
const SHOWN_LINES: usize = 6;

/// How it says that it has no tool of a name.
const NOT_KNOWN: &str = "not found in mise tool registry";

/// What mise gets of this process's environment: where proxies and certificates are, what people are called, and what makes
/// programs of theirs be found.
const PASSED: [&str; 20] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GITHUB_TOKEN",
    "MISE_GITHUB_TOKEN",
    "MISE_URL_REPLACEMENTS",
];

/// A runtime that mise manages.
#[derive(Debug)]
pub struct MiseManager {
    runtime: Runtime,
    mise: Arc<MiseProgram>,
    layout: Layout,
    offline: bool,
    /// In place of the environment's.
    proxy: Option<String>,
}

/// A version as `mise ls-remote --json` tells it.
#[derive(Debug, Deserialize)]
struct Remote {
    version: String,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    prerelease: bool,
}

/// A version as `mise ls --json TOOL` tells it.
#[derive(Debug, Deserialize)]
struct Tool {
    version: String,
    install_path: PathBuf,
    #[serde(default)]
    installed: bool,
}

impl MiseManager {
    pub fn new(runtime: Runtime, mise: Arc<MiseProgram>, layout: Layout, offline: bool, proxy: Option<String>) -> Self {
        Self { runtime, mise, layout, offline, proxy }
    }

    /// Runs mise; what it prints on standard output. What it says besides goes to the listener.
    async fn run(
        &self,
        arguments: &[&str],
        offline: bool,
        listener: Option<&dyn Listener>,
    ) -> Result<String, RuntimeError> {
        let offline = offline || self.offline;
        let program = self.mise.path(offline, listener).await?;
        let home = self.mise.home();
        let failed = |what: &str, error: std::io::Error| RuntimeError::Mise(format!("{what}: {error}"));
        let work = home.join("work");
        fs::create_dir_all(&work).map_err(RuntimeError::io(&work))?;
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(&work);
        // Its own folders, no other configuration, and no question that nobody would answer.
        command.env_clear();
        for name in PASSED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(proxy) = &self.proxy {
            for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
                command.env(name, proxy);
            }
        }
        for (name, folder) in [
            ("MISE_DATA_DIR", "data"),
            ("MISE_STATE_DIR", "state"),
            ("MISE_CONFIG_DIR", "config"),
            ("MISE_SYSTEM_CONFIG_DIR", "config"),
            ("MISE_CACHE_DIR", "cache"),
            ("MISE_GLOBAL_CONFIG_FILE", "config/config.toml"),
        ] {
            command.env(name, home.join(folder));
        }
        command.env("MISE_CEILING_PATHS", home);
        for name in ["MISE_YES", "NO_COLOR", "MISE_HIDE_UPDATE_WARNING"] {
            command.env(name, "1");
        }
        command.env("MISE_COLOR", "0");
        // It would tell its makers what is installed.
        command.env("MISE_USE_VERSIONS_HOST_TRACK", "0");
        if offline {
            command.env("MISE_OFFLINE", "1");
        }
        let last = hex::encode(std::os::unix::ffi::OsStrExt::as_bytes(home.as_os_str()));
        let last = format!("{}.service", last.get(last.len().saturating_sub(16)..).unwrap_or(&last));
        let first = format!("omg-mise-{}", self.runtime);
        let (mut command, mut in_unit) =
            unit::outside(command, &first, &last, &format!("mise for omg: {}", self.runtime));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed("cannot be run", error))?;
        let group = Group(child.id());
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(RuntimeError::Mise("its output cannot be read".to_owned()));
        };
        let mut said: Vec<String> = Vec::new();
        // Whatever it prints is read to its end: a pipe that is full, or closed, would stop what it runs.
        let hear = async {
            let mut errors: Vec<String> = Vec::new();
            let mut lines = BufReader::new(stderr);
            let mut line = Vec::new();
            loop {
                line.clear();
                let read = (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line).await;
                if !matches!(read, Ok(1..)) {
                    break;
                }
                let text = String::from_utf8_lossy(&line);
                let text: String = text.chars().filter(|char| !char.is_control()).take(500).collect();
                let Some(line) = telling(&text) else { continue };
                // The reason of a failure is told at its end.
                if let Some(reason) = line.strip_prefix("ERROR ") {
                    if errors.len() < SHOWN_LINES {
                        errors.push(reason.to_owned());
                    }
                    continue;
                }
                if let Some(listener) = listener.filter(|_| !line.starts_with('✗')) {
                    listener.note(&format!("mise: {line}"));
                }
                if said.len() == SHOWN_LINES {
                    said.remove(0);
                }
                said.push(line.to_owned());
            }
            if !errors.is_empty() {
                said = errors;
            }
        };
        let read = async {
            let mut stdout = stdout;
            let mut answer = Vec::new();
            (&mut stdout).take(MAX_ANSWER).read_to_end(&mut answer).await?;
            tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let (answer, ()) = tokio::join!(read, hear);
        let answer = answer.map_err(|error| failed("its answer cannot be read", error))?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = child.wait().await.map_err(|error| failed("it cannot be waited for", error))?;
        if let Some(unit) = in_unit.as_mut().filter(|_| status.code().is_some()) {
            unit.ended();
        }
        std::mem::forget(group);
        match status.success() {
            true => Ok(answer),
            false if said.iter().any(|line| line.contains(NOT_KNOWN)) => {
                Err(RuntimeError::Unknown { runtime: self.runtime.clone() })
            }
            false => Err(RuntimeError::Mise(format!("{} failed ({status}): {}", arguments.join(" "), said.join("; ")))),
        }
    }

    /// What mise calls a version of it.
    fn at(&self, version: &str) -> String {
        format!("{}@{version}", self.runtime)
    }

    /// What mise calls what is asked for.
    fn prefix(request: &Request) -> String {
        match request {
            Request::Latest => "latest".to_owned(),
            other => other.to_string(),
        }
    }

    /// mise has answered something else than it was asked for.
    fn differs(&self, told: &str) -> RuntimeError {
        RuntimeError::Mise(format!(
            "{told}: nothing was taken over; look whether `mise ls-remote {}` has what you want, and name it exactly, or use \
             another mise",
            self.runtime
        ))
    }

    /// Whether a version that mise answers is one that was asked for. What `latest` and lines of long-term support are is
    /// mise's to know, except for lines that are known here; a release they are in any case.
    fn answers(request: &Request, version: &Version) -> bool {
        match request {
            Request::Latest => !version.is_prerelease(),
            Request::Lts(Some(line)) if super::request::is_known_line(line) => request.admits(version),
            Request::Lts(_) => !version.is_prerelease(),
            other => other.admits(version),
        }
    }

    /// Where mise has a version by its own word.
    async fn place(&self, version: &Version) -> Result<PathBuf, RuntimeError> {
        let answer = self.run(&["ls", "--json", self.runtime.as_str()], true, None).await?;
        let tools: Vec<Tool> = serde_json::from_str(&answer)
            .map_err(|error| RuntimeError::Mise(format!("its list of what is installed is not readable: {error}")))?;
        let there: Vec<Tool> = tools.into_iter().filter(|tool| tool.installed).collect();
        let is_it = |tool: &&Tool| Version::parse(&self.runtime, &tool.version).is_ok_and(|told| told == *version);
        if let Some(tool) = there.iter().find(is_it).filter(|tool| tool.install_path.is_dir()) {
            return Ok(tool.install_path.clone());
        }
        let has: Vec<String> = there.iter().map(|tool| shown(&tool.version)).take(SHOWN_LINES).collect();
        let has = if has.is_empty() { "nothing".to_owned() } else { has.join(", ") };
        Err(self.differs(&format!(
            "it was to install {}, says that it did, and has {has} of {}",
            self.at(version.as_str()),
            self.runtime
        )))
    }

    /// Gives what mise has installed its folder among the versions.
    async fn adopt(&self, held: &Held, version: &Version) -> Result<PathBuf, RuntimeError> {
        let at = self.at(version.as_str());
        let place = self.place(version).await?;
        let folders = self.run(&["bin-paths", &at], true, None).await?;
        let folders: Vec<PathBuf> = folders.lines().map(PathBuf::from).filter(|path| path.is_absolute()).collect();
        let of_another = |folder: &&PathBuf| {
            place.parent().is_some_and(|all| folder.starts_with(all)) && !folder.starts_with(&place)
        };
        if let Some(other) = folders.iter().find(of_another) {
            let told =
                format!("it has the programs of {at} in {}, which is not its folder", shown(&other.to_string_lossy()));
            return Err(self.differs(&told));
        }
        let variables = self.run(&["env", "--json", &at], true, None).await?;
        let variables: BTreeMap<String, String> = serde_json::from_str(&variables)
            .map_err(|error| RuntimeError::Mise(format!("what it sets for {at} is not readable: {error}")))?;
        // Once, and not each time that it is used: what is recorded is set from then on.
        let variables = variables::taken(&variables, self.mise.home());
        let home = variables.get(JAVA_HOME).cloned();
        let text = |(name, value): (&str, PathBuf)| Some((name.to_owned(), value.into_os_string().into_string().ok()?));
        let variables = variables.into_iter().filter_map(text).collect();
        let record = Record {
            installed: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            manager: NAME.to_owned(),
            variables,
            ..Record::default()
        };
        let staged = self.layout.stage(held)?;
        let into = staged.clone();
        apart(move || {
            link_programs(&folders, &into.join("bin")).map_err(RuntimeError::io(&into))?;
            if let Some(home) = home {
                symlink(home, into.join(MISE_HOME)).map_err(RuntimeError::io(&into))?;
            }
            record.write(&into).map_err(RuntimeError::io(&into))
        })
        .await?;
        Ok(self.layout.install(held, &staged)?)
    }

    async fn hold(&self, version: &Version) -> Result<Held, RuntimeError> {
        loop {
            if let Some(held) = self.layout.try_hold(&self.runtime, version)? {
                return Ok(held);
            }
            tokio::time::sleep(super::native::LOCK_POLL).await;
        }
    }
}

/// Text of mise's for a message, escaped and shortened.
fn shown(text: &str) -> String {
    text.chars().take(80).collect::<String>().escape_debug().to_string()
}

/// What a line of mise's says about the work; nothing in what is about mise itself, or only drawn.
fn telling(line: &str) -> Option<&str> {
    const ASIDE: [&str; 8] = [
        "mise-versions endpoint=",
        "by @jdx",
        "█",
        "ERROR Version: ",
        "MISE_VERBOSE=1",
        "installed but not activated",
        "To install and activate, run:",
        "mise use ",
    ];
    let is_aside = ASIDE.iter().any(|aside| line.contains(aside));
    let line = line.strip_prefix("mise ").unwrap_or(line).trim();
    (!line.is_empty() && !is_aside).then_some(line)
}

/// Makes `bin` lead to the programs in these folders: to the folder itself where there is only one.
fn link_programs(folders: &[PathBuf], bin: &Path) -> std::io::Result<()> {
    if let [only] = folders {
        return symlink(only, bin);
    }
    fs::create_dir(bin)?;
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            match symlink(entry.path(), bin.join(entry.file_name())) {
                // Of two programs with one name the first folder's is taken, as on PATH.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                done => done?,
            }
        }
    }
    Ok(())
}

/// The processes that mise has started, ended when nobody waits for it any more.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        if let Some(leader) = leader {
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

#[async_trait]
impl RuntimeManager for MiseManager {
    fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    async fn available(&self, asking: Asking) -> Result<Vec<Release>, RuntimeError> {
        let answer = self.run(&["ls-remote", "--json", self.runtime.as_str()], asking == Asking::Cached, None).await?;
        let remote: Vec<Remote> = serde_json::from_str(&answer)
            .map_err(|error| RuntimeError::Mise(format!("its list of versions is not readable: {error}")))?;
        let told = remote.len();
        let first = remote.first().map(|remote| shown(&remote.version)).unwrap_or_default();
        let releases = remote.into_iter().filter_map(|remote| {
            let version = Version::parse(&self.runtime, &remote.version).ok()?;
            let date = remote.created_at.and_then(|time| time.get(..10).map(str::to_owned));
            Some(Release { is_prerelease: remote.prerelease, date, ..Release::of(version) })
        });
        // Its own order is the one of the tool.
        let releases: Vec<Release> = releases.collect();
        match releases.is_empty() && told > 0 {
            true => Err(RuntimeError::Mise(format!(
                "none of the {told} that it lists for {}, such as {first:?}, is a version",
                self.runtime
            ))),
            false => Ok(releases),
        }
    }

    async fn install(&self, wanted: &Wanted, listener: Arc<dyn Listener>) -> Result<Installed, RuntimeError> {
        listener.stage(&self.runtime, Stage::Resolving);
        let request = &wanted.request;
        let versions = self.layout.installed(&self.runtime).map_err(RuntimeError::io(self.layout.versions()))?;
        let have = |version: &Version| {
            let folder = self.layout.folder(&self.runtime, version);
            Installed { version: version.clone(), folder, is_new: false, unverified: Vec::new() }
        };
        let best = self.layout.best_of(&self.runtime, &versions, request);
        if let Some(best) = best.as_ref().filter(|_| !wanted.newest && !request.is_moving()) {
            return Ok(have(best));
        }
        let answer = self.run(&["latest", &self.at(&Self::prefix(request))], false, Some(listener.as_ref())).await?;
        let none =
            || RuntimeError::NoSuchVersion { runtime: self.runtime.clone(), request: request.to_string(), near: None };
        let version = answer.lines().next().map(str::trim).filter(|line| !line.is_empty()).ok_or_else(none)?;
        let told = shown(version);
        let version = Version::parse(&self.runtime, version).ok().filter(|version| Self::answers(request, version));
        let version =
            version.ok_or_else(|| self.differs(&format!("asked for {} {request}, it answers {told}", self.runtime)))?;
        let held = self.hold(&version).await?;
        if self.layout.is_installed(&self.runtime, &version) {
            return Ok(have(&version));
        }
        listener.stage(&self.runtime, Stage::Fetching);
        self.run(&["install", &self.at(version.as_str())], false, Some(listener.as_ref())).await?;
        let folder = self.adopt(&held, &version).await?;
        let layout = self.layout.clone();
        let _ = apart(move || Ok(layout.sweep()?)).await;
        Ok(Installed { version, folder, is_new: true, unverified: Vec::new() })
    }

    async fn uninstall(&self, version: &Version, force: bool) -> Result<(), RuntimeError> {
        let held = self.hold(version).await?;
        let layout = self.layout.clone();
        apart(move || Ok(layout.uninstall(&held, force)?)).await?;
        // What it has is of no use without the folder; that it has nothing is no failure.
        match self.run(&["uninstall", &self.at(version.as_str())], true, None).await {
            Err(error @ (RuntimeError::Mise(_) | RuntimeError::Fetch(FetchError::Offline(_)))) => {
                tracing::warn!("mise keeps {}: {error}", self.at(version.as_str()));
            }
            done => drop(done?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mise_says_about_the_work_is_told_and_what_it_says_about_itself_is_not() {
        for aside in [
            "",
            "mise by @jdx – installing 1 tool",
            "mise ████████████████ 1/1 · installed 1 tool in 138ms",
            "mise WARN  deno installed but not activated — it is not in any config file.",
            "To install and activate, run:",
            "  mise use deno",
            "mise ERROR Version: 2026.9.15 linux-x64 (2026-09-27)",
            "mise ERROR Run with --verbose or MISE_VERBOSE=1 for more information",
        ] {
            assert_eq!(telling(aside), None, "{aside}");
        }
        assert_eq!(telling("mise ✓ deno@2.1.4  133ms  deno.zip"), Some("✓ deno@2.1.4  133ms  deno.zip"));
        let failed = "ERROR HTTP status client error (404 Not Found) for url (http://127.0.0.1/)";
        assert_eq!(telling(&format!("mise {failed}")), Some(failed));
        assert_eq!(telling("configure: error: no C compiler"), Some("configure: error: no C compiler"));
    }
}
