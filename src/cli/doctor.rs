//! `omg doctor`

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Failure;
use super::output::format::{age, ago, bytes, count, counted, duration};
use super::output::{BAD, DIM, GOOD, NAME, Output, WARN};
use super::status::{held, last_known};
use crate::config::{self, Paths};
use crate::dbus::client::{Client, ConnectOptions, Route, find_program, is_listened_to};
use crate::dbus::names::{BUS_NAME, SERVICE_UNIT};
use crate::dbus::reply::{LockHolder, Status, StoreState};
use crate::package::{Flags, ListQuery};
use crate::runtime::record::Record;
use crate::runtime::{Layout, Runtime};

/// Package lists older than this may hide upgrades.
const LISTS_STALE_DAYS: u64 = 14;
/// Broken packages that are named.
const SHOWN: usize = 10;
/// The timer renews the status file far more often.
const STATUS_FILE_STALE_DAYS: u64 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Warn,
    Fail,
}

/// One finding; a line of `--json`.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    state: State,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, state: State::Ok, detail: detail.into(), advice: None }
    }

    fn warn(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Warn, detail: detail.into(), advice: Some(advice.into()) }
    }

    fn fail(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Fail, detail: detail.into(), advice: Some(advice.into()) }
    }
}

/// Prints every check; fails when one of them does.
pub async fn run(options: &ConnectOptions, out: &mut Output) -> Result<(), Failure> {
    let mut checks = vec![configuration()];
    let known = daemon(options, &mut checks).await;
    checks.push(socket(options));
    checks.push(helper());
    checks.extend(known.iter().flat_map(|(status, broken)| from_status(status, broken)));
    checks.push(status_file());
    checks.push(units());
    checks.extend(runtimes());
    let failed = checks.iter().any(|check| check.state == State::Fail);
    for check in &checks {
        print(check, out);
    }
    if failed { Err(Failure::Reported(3)) } else { Ok(()) }
}

/// Nothing is said of runtimes where there is none.
fn runtimes() -> Option<Check> {
    const NAME: &str = "runtimes";
    let paths = Paths::from_process();
    let settings = config::load(paths.config_file.as_deref()).unwrap_or_default();
    let layout = Layout::new(&paths.with_settings(&settings).data_dir);
    let broken = match layout.broken() {
        Ok(broken) => broken,
        Err(error) => {
            let folder = layout.versions().display();
            return Some(Check::warn(NAME, format!("{folder}: {error}"), format!("make {folder} readable")));
        }
    };
    let runtimes = layout.runtimes().unwrap_or_default();
    let unverified = runtimes.iter().flat_map(|runtime| {
        let versions = layout.installed(runtime).unwrap_or_default();
        let taken = versions
            .into_iter()
            .filter(|version| Record::read(&layout.folder(runtime, version)).is_some_and(|record| record.unverified));
        taken.map(move |version| format!("{runtime} {version}")).collect::<Vec<_>>()
    });
    let unverified: Vec<String> = unverified.collect();
    if let Some(runtime) = broken.first() {
        let names: Vec<&str> = broken.iter().map(Runtime::as_str).collect();
        let advice = format!("omg use {runtime} VERSION, or omg prune, which removes the links");
        return Some(Check::warn(NAME, format!("current versions that are gone: {}", names.join(", ")), advice));
    }
    if !unverified.is_empty() {
        let advice = "omg uninstall them, and omg use them again without --allow-unverified";
        return Some(Check::warn(NAME, format!("installed unverified: {}", unverified.join(", ")), advice));
    }
    let count: usize = runtimes.iter().map(|runtime| layout.installed(runtime).unwrap_or_default().len()).sum();
    let versions = counted(u64::try_from(count).unwrap_or(u64::MAX), "version");
    (count > 0).then(|| Check::ok(NAME, format!("{versions} in {}", layout.versions().display())))
}

fn print(check: &Check, out: &mut Output) {
    if out.is_json() {
        out.json(check);
        return;
    }
    if out.quiet() && check.state == State::Ok {
        return;
    }
    match check.state {
        State::Ok => out.styled(GOOD, "ok  "),
        State::Warn => out.styled(WARN, "warn"),
        State::Fail => out.styled(BAD, "fail"),
    }
    out.blanks(2);
    out.styled(NAME, check.check);
    out.text(": ");
    out.line(&check.detail);
    if let Some(advice) = &check.advice {
        out.blanks(6);
        out.styled(DIM, advice);
        out.newline();
    }
}

/// Read here too: a daemon that does not run for its configuration cannot tell.
fn configuration() -> Check {
    let Some(path) = Paths::from_process().config_file else {
        return Check::ok("configuration", "there is no home to look for it; everything has its default");
    };
    let shown = path.display();
    match config::load(Some(&path)) {
        Ok(_) if path.exists() => Check::ok("configuration", shown.to_string()),
        Ok(_) => Check::ok("configuration", format!("{shown} does not exist; everything has its default")),
        Err(error) => {
            let problems = error.to_string().replace('\n', "; ");
            Check::fail("configuration", problems, "correct the file: omgd does not start with it")
        }
    }
}

/// What the daemon says of itself, and the names of the packages that are broken.
async fn daemon(options: &ConnectOptions, checks: &mut Vec<Check>) -> Option<(Status, Vec<String>)> {
    const ADVICE: &str = "install omgd beside omg, or start it: systemctl --user start omgd.socket";
    let mut client = match Client::connect(options).await {
        Ok(client) => client,
        Err(error) => {
            checks.push(Check::fail("daemon", error.to_string(), ADVICE));
            return None;
        }
    };
    let status = client.status().await;
    let broken = match &status {
        Ok(Status { broken: Some(1..), .. }) => broken_packages(&mut client).await,
        _ => Vec::new(),
    };
    let route = client.route().clone();
    client.close().await;
    match status {
        Ok(status) => {
            let detail = format!("omgd {} reached by {route}, process {}", status.daemon_version, status.pid);
            checks.push(match route {
                Route::Private(_) => Check::warn(
                    "daemon",
                    detail,
                    "every command starts its own daemon, which is slow: enable the shared one with \
                     `systemctl --user enable --now omgd.socket`",
                ),
                Route::Socket(_) | Route::SessionBus => Check::ok("daemon", detail),
            });
            let own = env!("CARGO_PKG_VERSION");
            if status.daemon_version != own {
                let detail = format!("omgd is {}, omg is {own}", status.daemon_version);
                checks.push(Check::warn("version", detail, "end the older daemon: omg daemon stop"));
            }
            Some((status, broken))
        }
        Err(error) => {
            checks.push(Check::fail("daemon", format!("{route}: {error}"), "look at its log: omg daemon logs"));
            None
        }
    }
}

/// At most [`SHOWN`] of them; none where they cannot be had.
async fn broken_packages(client: &mut Client) -> Vec<String> {
    let installed = ListQuery { installed: Some(true), ..ListQuery::default() };
    let rows = client.list(&installed).await.unwrap_or_default();
    let broken = rows.into_iter().filter(|row| row.flags.contains(Flags::BROKEN));
    broken.map(|row| row.name).take(SHOWN).collect()
}

fn socket(options: &ConnectOptions) -> Check {
    let path = options.socket_path();
    let shown = path.display();
    match path.symlink_metadata() {
        Ok(metadata) => socket_file(&path, &metadata),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && options.socket.is_none() => {
            Check::ok("socket", format!("{shown} does not exist; the session bus or a private daemon serves"))
        }
        Err(error) => Check::fail("socket", format!("{shown}: {error}"), "check --socket and OMG_SOCKET_PATH"),
    }
}

fn socket_file(path: &Path, metadata: &Metadata) -> Check {
    const ADVICE: &str = "remove it and restart the daemon: omg daemon stop";
    let shown = path.display();
    let mode = metadata.mode() & 0o777;
    if !metadata.file_type().is_socket() {
        return Check::fail("socket", format!("{shown} is not a socket"), ADVICE);
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Check::fail("socket", format!("{shown} belongs to uid {}", metadata.uid()), ADVICE);
    }
    if mode & 0o077 != 0 {
        return Check::fail("socket", format!("{shown} has mode {mode:04o}, others can reach it"), ADVICE);
    }
    if !is_listened_to(path) {
        return Check::warn(
            "socket",
            format!("nobody listens on {shown}"),
            "start the daemon's socket: systemctl --user restart omgd.socket, or remove the file",
        );
    }
    Check::ok("socket", format!("{shown} is ours, mode {mode:04o}"))
}

fn helper() -> Check {
    let settings = config::load(Paths::from_process().config_file.as_deref()).ok();
    let given = settings.and_then(|settings| settings.helper);
    match (find_program("omg-helper", given.as_deref()), given) {
        (Some(path), _) => Check::ok("helper", path.display().to_string()),
        (None, Some(given)) => Check::fail(
            "helper",
            format!("{}, which config.toml names as helper, is no program", given.display()),
            "take the line out: omg finds the helper that was installed with it",
        ),
        (None, None) => Check::fail(
            "helper",
            "omg-helper is neither beside omg, nor in PATH, nor in ../libexec",
            "install it: without it the package lists cannot be read",
        ),
    }
}

fn from_status(status: &Status, broken_packages: &[String]) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.push(match status.backend.as_str() {
        "" | "none" => Check::fail(
            "backend",
            "none can be used on this system",
            "omg-helper must be built for this distribution (feature debian or arch), or set backend in config.toml",
        ),
        backend => Check::ok("backend", backend),
    });
    checks.push(match (status.snapshot_created, status.packages) {
        (Some(created), Some(packages @ 1..)) => {
            let size = status.snapshot_bytes.map_or(String::new(), |size| format!(", {}", bytes(size)));
            Check::ok("index", format!("{}, built {}{size}", counted(packages, "package"), ago(created)))
        }
        (_, Some(_)) => Check::fail("index", "it has no packages", "look at the daemon's log: omg daemon logs"),
        (_, None) => {
            let known = status.last_known.as_ref().map_or(String::new(), |known| format!("; {}", last_known(known)));
            Check::fail("index", format!("packages cannot be read{known}"), "see the errors below, and omg daemon logs")
        }
    });
    if let Some(time) = status.last_refresh {
        let detail = format!("fetched {}", ago(time));
        checks.push(if age(time).as_secs() > LISTS_STALE_DAYS * 86_400 {
            Check::warn("package lists", detail, "fetch them anew: omg refresh")
        } else {
            Check::ok("package lists", detail)
        });
    }
    checks.push(match &status.lock_holder {
        None => Check::ok("lock", "nobody holds it"),
        Some(holder @ LockHolder { pid: 0, .. }) => Check::warn(
            "lock",
            held(holder),
            "packages cannot be changed; where nobody changes any, an interrupted change left it: omg doctor --fix",
        ),
        Some(holder) => Check::warn("lock", held(holder), "packages cannot be changed until it ends"),
    });
    checks.push(match status.store_state {
        Some(StoreState::Ok) => Check::ok("store", status.data_dir.clone()),
        // Another daemon of this user has it, which is how it should be.
        Some(StoreState::InUse) => {
            Check::warn("store", &status.store, "another omgd keeps it; this one serves without what is stored")
        }
        Some(StoreState::Failed) => Check::fail(
            "store",
            &status.store,
            format!("check the free space, the owner and the mode of {}", status.data_dir),
        ),
        Some(StoreState::Unknown) | None => {
            Check::warn("store", "its state is not known", "end the other version of the daemon: omg daemon stop")
        }
    });
    checks.extend(status.broken.map(|broken| match broken {
        0 => Check::ok("packages", "none is broken"),
        broken => {
            let more = if broken_packages.len() < broken as usize { ", …" } else { "" };
            let names = broken_packages.join(", ");
            let detail =
                format!("unpacked, half-installed or without what they need: {} ({names}{more})", count(broken));
            Check::fail("packages", detail, "repair them: omg doctor --fix")
        }
    }));
    if status.restart_required {
        let packages = status.restart_packages.join(", ");
        checks.push(Check::warn("restart", format!("required {packages}").trim_end(), "restart the machine"));
    }
    let errors = status.errors.iter();
    checks.extend(errors.map(|error| Check::fail("error", error, "look at the daemon's log: omg daemon logs")));
    checks
}

/// The prompt reads this file; only its age is looked at.
fn status_file() -> Check {
    const ADVICE: &str = "the prompt shows nothing or old figures: systemctl --user enable --now omg-status.timer";
    let path = Paths::from_process().status_file;
    let shown = path.display();
    let modified = match path.metadata().and_then(|metadata| metadata.modified()) {
        Ok(modified) => modified,
        Err(error) => return Check::warn("status file", format!("{shown}: {error}"), ADVICE),
    };
    let seconds = modified.elapsed().unwrap_or_default().as_secs();
    let detail = format!("{shown} was written {} ago", duration(seconds));
    if seconds > STATUS_FILE_STALE_DAYS * 86_400 {
        Check::warn("status file", detail, ADVICE)
    } else {
        Check::ok("status file", detail)
    }
}

fn units() -> Check {
    let configured = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    let system = ["/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user", "/lib/systemd/user"];
    let unit_dirs: Vec<PathBuf> = [configured, data_home()]
        .into_iter()
        .flatten()
        .map(|dir| dir.join("systemd/user"))
        .chain(system.into_iter().map(PathBuf::from))
        .collect();
    let data_dirs = std::env::var_os("XDG_DATA_DIRS").filter(|dirs| !dirs.is_empty());
    let data_dirs = data_dirs.unwrap_or_else(|| "/usr/local/share:/usr/share".into());
    let service_dirs: Vec<PathBuf> = data_home()
        .into_iter()
        .chain(std::env::split_paths(&data_dirs))
        .map(|dir| dir.join("dbus-1/services"))
        .collect();
    let bus_file = format!("{BUS_NAME}.service");
    let wanted = [(SERVICE_UNIT, &unit_dirs), ("omgd.socket", &unit_dirs), (bus_file.as_str(), &service_dirs)];
    let missing: Vec<_> = wanted
        .into_iter()
        .filter(|(name, dirs)| !dirs.iter().any(|dir| dir.join(name).exists()))
        .map(|(name, _)| name)
        .collect();
    if missing.is_empty() {
        return Check::ok("units", format!("{SERVICE_UNIT}, omgd.socket and the D-Bus service file are installed"));
    }
    Check::warn(
        "units",
        format!("not installed: {}", missing.join(", ")),
        "the daemon is not started on demand: install them with make install or make install-user",
    )
}

fn data_home() -> Option<PathBuf> {
    absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
}

/// The folder that the variable names; relative ones are to be ignored (XDG Base Directory specification).
fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(status: &Status) -> Vec<(&'static str, State)> {
        from_status(status, &[]).iter().map(|check| (check.check, check.state)).collect()
    }

    #[test]
    fn a_healthy_daemon_passes() {
        let status = Status {
            backend: "apt".into(),
            packages: Some(5),
            broken: Some(0),
            snapshot_created: Some(1),
            store: "ok".into(),
            store_state: Some(StoreState::Ok),
            ..Status::default()
        };
        assert!(states(&status).iter().all(|(_, state)| *state == State::Ok));
    }

    #[test]
    fn every_trouble_is_named_with_advice() {
        let status = Status {
            store: "database is newer".into(),
            store_state: Some(StoreState::Failed),
            broken: Some(2),
            last_refresh: Some(1),
            errors: vec!["helper failed".into()],
            ..Status::default()
        };
        let checks = from_status(&status, &[]);
        assert!(checks.iter().all(|check| check.state == State::Ok || check.advice.is_some()));
        assert_eq!(
            states(&status),
            [
                ("backend", State::Fail),
                ("index", State::Fail),
                ("package lists", State::Warn),
                ("lock", State::Ok),
                ("store", State::Fail),
                ("packages", State::Fail),
                ("error", State::Fail),
            ]
        );
    }

    #[test]
    fn a_store_that_another_daemon_keeps_is_no_failure_whatever_its_text() {
        let state = |store_state| {
            let status = Status { store: "beschäftigt".into(), store_state, ..Status::default() };
            states(&status).into_iter().find(|check| check.0 == "store").map(|check| check.1)
        };
        assert_eq!(state(Some(StoreState::InUse)), Some(State::Warn));
        assert_eq!(state(Some(StoreState::Failed)), Some(State::Fail));
        assert_eq!(state(Some(StoreState::Unknown)), Some(State::Warn), "a word of a newer daemon");
        assert_eq!(state(None), Some(State::Warn), "an older daemon");
    }

    #[test]
    fn a_socket_file_without_a_listener_is_a_warning() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("omg.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, private).expect("chmod");
        assert_eq!(socket_file(&path, &path.symlink_metadata().expect("exists")).state, State::Warn);
    }

    #[test]
    fn a_socket_that_others_can_reach_fails() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("omg.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
        for (mode, state) in [(0o600, State::Ok), (0o666, State::Fail)] {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&path, permissions).expect("chmod");
            assert_eq!(socket_file(&path, &path.symlink_metadata().expect("exists")).state, state);
        }
    }
}
