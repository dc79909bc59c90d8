//! An installation of omg whose daemon and `omg-helper` play their parts.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::fake_manager::{Canned, CannedPlan, FakeManager, HistoryRow, PlanItem};
use super::terminal::Terminal;

const OMG: &str = env!("CARGO_BIN_EXE_omg");

/// Tells what it was started with and asked for, then does what `scenario` says.
const HELPER: &str = r#"#!/bin/sh
here=${0%/*}
printf '%s\n' "$*" >>"$here/arguments"
if [ "$1" = commit ]; then
    read -r request
    printf '%s\n' "$request" >"$here/request"
fi
tell() { printf '%s\n' "$1"; }
succeed() { tell '{"event":"finished","outcome":"succeeded","items":['"$1"'],"restart":{"machine":false,"packages":[],"services":[]},"entry":7}'; }
. "$here/scenario"
"#;

/// As sudo starts a program for those who may.
const SUDO: &str = r#"#!/bin/sh
printf '%s\n' "$*" >>"${0%/*}/sudo-arguments"
while [ "$1" = -n ] || [ "$1" = -- ]; do shift; done
exec "$@"
"#;

/// What was done to one package, as the helper tells it.
pub fn applied(change: &str, name: &str) -> String {
    json!({"change": change, "name": name, "arch": "all", "from": "", "to": "1", "repository": "r", "download": 0,
           "delta": 0, "explicit": true, "sha256": ""})
    .to_string()
}

/// A service, and an installation of omg with a helper of its own.
pub struct Scene {
    pub canned: Canned,
    pub service: FakeManager,
    pub folder: TempDir,
}

impl Scene {
    pub fn new(plan: CannedPlan, scenario: &str) -> Self {
        Self::with_history(plan, Vec::new(), scenario)
    }

    pub fn with_history(plan: CannedPlan, history: Vec<HistoryRow>, scenario: &str) -> Self {
        let canned = Canned { plan, history, ..Canned::default() };
        let service = FakeManager::start(canned.clone());
        // Beside the programs, so that omg can be linked instead of copied.
        let folder = tempfile::tempdir_in(Path::new(OMG).parent().expect("a folder")).expect("temporary folder");
        let omg = folder.path().join("omg");
        // Files of others may not be linked everywhere; another process copies, as in `write`.
        if std::fs::hard_link(OMG, &omg).is_err() {
            assert!(Command::new("cp").arg(OMG).arg(&omg).status().expect("cp runs").success());
        }
        let scene = Self { canned, service, folder };
        scene.write("omg-helper", HELPER);
        scene.write("sudo", SUDO);
        scene.write("scenario", scenario);
        scene
    }

    /// Writes a program or another file. Another process writes it: a descriptor of this one could be open in a child that
    /// another test starts at this moment, and a program that is open for writing cannot be run.
    pub fn write(&self, name: &str, text: &str) {
        let mut child = Command::new("sh")
            .args(["-c", "cat >\"$1\" && chmod 755 \"$1\"", "sh"])
            .arg(self.folder.path().join(name))
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh runs");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
        assert!(child.wait().expect("ended").success());
    }

    /// What the helper left; none when it was never started.
    pub fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join(name)).ok()
    }

    pub fn request(&self) -> Value {
        serde_json::from_str(&self.read("request").expect("a request")).expect("JSON")
    }

    pub fn omg(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.folder.path().join("omg"));
        command
            .env_clear()
            .env("OMG_SOCKET_PATH", self.service.socket())
            .env("HOME", self.service.folder())
            .env("PATH", "/usr/bin:/bin")
            .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.omg(arguments).output().expect("omg runs")
    }

    /// Exit code, standard output and standard error.
    pub fn told(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.run(arguments);
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code().expect("not killed"), text(output.stdout), text(output.stderr))
    }

    pub fn on_terminal(&self, arguments: &[&str]) -> Terminal {
        let mut command = self.omg(arguments);
        command.env("NO_COLOR", "1");
        Terminal::start(command, 80)
    }

    /// The actions of the last plan.
    pub fn planned(&self) -> Vec<(String, String)> {
        self.canned.seen().plans.last().expect("a plan was asked for").clone()
    }
}

/// One package of a plan.
pub fn item(change: &str, name: &str, from: &str, to: &str) -> PlanItem {
    let repository = if to.is_empty() { "" } else { "bookworm/main" };
    let download = if to.is_empty() { 0 } else { 2048 };
    let delta = if to.is_empty() { -4096 } else { 8192 };
    (change.into(), name.into(), "all".into(), from.into(), to.into(), repository.into(), download, delta)
}

pub fn installs(name: &str) -> CannedPlan {
    CannedPlan { items: vec![item("install", name, "", "13.0")], ..CannedPlan::default() }
}

pub const RIPGREP: &str = r#"
tell '{"event":"phase","phase":"fetching","cancellable":true}'
tell '{"event":"progress","fraction":0.25,"bytes_done":1024,"bytes_total":2048}'
tell '{"event":"item","item":"ripgrep","state":"fetched","bytes_done":2048,"bytes_total":2048}'
tell '{"event":"phase","phase":"applying","cancellable":false}'
tell '{"event":"item","item":"ripgrep","state":"unpacking","bytes_done":0,"bytes_total":0}'
tell '{"event":"item","item":"ripgrep","state":"installed","bytes_done":0,"bytes_total":0}'
succeed '{"change":"install","name":"ripgrep","arch":"all","from":"","to":"13.0","repository":"r","download":0,"delta":0,"explicit":true,"sha256":""}'
"#;

/// omg for an ordinary user, with a daemon of its own.
pub fn for_a_user(scene: &Scene, arguments: &[&str]) -> Command {
    let script = "#!/bin/sh\nexec \"$TESTS\" --exact serves_its_standard_input_when_it_is_started_as_a_daemon\n";
    scene.write("omgd", script);
    std::fs::set_permissions(scene.folder.path(), PermissionsExt::from_mode(0o777)).expect("chmod");
    let mut command = scene.omg(arguments);
    command
        .env_remove("OMG_SOCKET_PATH")
        .env("XDG_RUNTIME_DIR", scene.folder.path())
        .env("TESTS", std::env::current_exe().expect("this program"))
        .env("SERVE_STANDARD_INPUT", "1");
    if rustix::process::geteuid().is_root() {
        // Nobody on every Linux system.
        command.uid(65_534).gid(65_534);
    }
    command
}
