//! `org.omg.PackageManager1` with canned answers on a socket of its own, for tests of its clients.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tempfile::TempDir;
use zbus::connection::Builder;
use zbus::{ObjectServer, OwnedFd, OwnedObjectPath, OwnedVariant, Structure, Variant};

const PATH: &str = "/org/omg/PackageManager1";

pub type Row = (String, String, String, String, String, u32, u64);
type Update = (String, String, String, String, String, String, u32, u64);
/// Change, name, architecture, from, to, repository, bytes to download, bytes more on the disk.
pub type PlanItem = (String, String, String, String, String, String, u64, i64);
/// Name, architecture, from, to, reason.
pub type HeldBack = (String, String, String, String, String);
/// Change, name, architecture, from, to, repository, explicit.
pub type HistoryItem = (String, String, String, String, String, String, bool);
/// Number, begun, ended, user, via, actions, standing, items, message.
pub type HistoryRow = (u64, u64, u64, u32, String, Vec<(String, String)>, String, Vec<HistoryItem>, String);
type Dict = HashMap<String, Variant<'static>>;

/// What the service answers from.
#[derive(Debug, Clone, Default)]
pub struct Canned {
    pub rows: Vec<Row>,
    /// Connections that are closed right after their greeting, as by a daemon that ends.
    pub close_first: usize,
    /// Plans that are gone before they can be read, as with a daemon that was replaced.
    pub forgotten_plans: usize,
    /// Whether it gives its bus name up once it has made a plan, as a daemon that another one replaces.
    pub leaves: bool,
    pub plan: CannedPlan,
    pub history: Vec<HistoryRow>,
    /// What was asked of it.
    pub seen: Arc<Mutex<Seen>>,
}

/// question, about, choices, default, choice.
pub type Decision = (String, String, Vec<String>, String, String);

/// What a plan says, whatever it is for.
#[derive(Debug, Clone, Default)]
pub struct CannedPlan {
    pub items: Vec<PlanItem>,
    pub held_back: Vec<HeldBack>,
    pub unneeded: Vec<String>,
    pub risks: Vec<String>,
    pub notes: Vec<String>,
    pub decisions: Vec<Decision>,
}

#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Of each plan: its actions.
    pub plans: Vec<Vec<(String, String)>>,
    /// Of the last plan: its options without the files, as text.
    pub options: Vec<(String, String)>,
    /// Of the last plan: what its files hold.
    pub files: Vec<String>,
    pub closed_plans: usize,
}

/// The digest of every plan.
pub const DIGEST: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

impl Canned {
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no test panicked with it")
    }
}

/// A package row of an installed package.
pub fn row(name: &str, version: &str, summary: &str) -> Row {
    (name.into(), version.into(), "amd64".into(), "bookworm/main".into(), summary.into(), 1, 1000)
}

/// Serves until dropped.
pub struct FakeManager {
    folder: TempDir,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeManager {
    pub fn start(canned: Canned) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let listener = std::os::unix::net::UnixListener::bind(folder.path().join("omg.sock")).expect("bound");
        listener.set_nonblocking(true).expect("non-blocking");
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, canned) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { folder, stop: Some(stop), thread: Some(thread) }
    }

    fn start_on_bus(canned: Canned, address: &str) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let builder = Builder::address(address).name("org.omg.PackageManager1").serve_at(PATH, Service { canned });
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                let _connection = builder.build().await.expect("on the bus");
                ready.send(()).expect("awaited");
                let _ = stopped.await;
            });
        });
        is_ready.recv().expect("the service starts");
        let folder = tempfile::tempdir().expect("temporary folder");
        Self { folder, stop: Some(stop), thread: Some(thread) }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("omg.sock")
    }

    /// A folder that lives as long as the service.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for FakeManager {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves standard input, one end of a socket pair, until its peer closes it.
pub fn serve_standard_input(canned: Canned) {
    use std::os::fd::AsFd;
    let stream = std::io::stdin().as_fd().try_clone_to_owned().expect("standard input");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let builder = Builder::unix_stream(stream.into()).server(zbus::Guid::generate()).p2p();
        let connection = builder.serve_at(PATH, Service { canned }).build().await.expect("greeting");
        connection.closed().await;
    });
}

/// A message bus of its own, with the service on it or without; ended when dropped.
pub struct Bus {
    daemon: std::process::Child,
    pub address: String,
    _service: Option<FakeManager>,
}

impl Bus {
    /// None where dbus-daemon is not installed.
    pub fn start(service: Option<Canned>) -> Option<Self> {
        let mut daemon = std::process::Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address"])
            .env("XDG_DATA_HOME", "/nonexistent")
            .env("XDG_DATA_DIRS", "/nonexistent")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .ok()?;
        let mut address = String::new();
        let output = daemon.stdout.take().expect("piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut address).expect("an address");
        let address = address.trim().to_owned();
        let service = service.map(|canned| FakeManager::start_on_bus(canned, &address));
        Some(Self { daemon, address, _service: service })
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

async fn serve(listener: std::os::unix::net::UnixListener, canned: Canned) {
    let listener = tokio::net::UnixListener::from_std(listener).expect("listener");
    let mut connections = Vec::new();
    let mut accepted = 0;
    while let Ok((stream, _)) = listener.accept().await {
        accepted += 1;
        let builder = Builder::unix_stream(stream.into_std().expect("stream")).server(zbus::Guid::generate()).p2p();
        if accepted <= canned.close_first {
            let connection = builder.build().await.expect("greeting");
            connection.close().await.expect("closed");
            continue;
        }
        let service = Service { canned: canned.clone() };
        // A client that is gone before its greeting is none of ours.
        if let Ok(connection) = builder.serve_at(PATH, service).build().await {
            connections.push(connection);
        }
    }
}

struct Service {
    canned: Canned,
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.omg.Error")]
enum Error {
    #[zbus(error)]
    ZBus(zbus::Error),
    NotFound(String),
    ResolutionFailed(String),
    InvalidArgument(String),
    Offline(String),
}

#[zbus::interface(name = "org.omg.PackageManager1")]
impl Service {
    fn search(&self, terms: Vec<String>, options: HashMap<String, OwnedVariant>) -> Result<Vec<Row>, Error> {
        match terms.first().map(String::as_str) {
            Some("bad") => return Err(Error::InvalidArgument("terms: \u{1b}[31mtoo long".into())),
            Some("offline") => return Err(Error::Offline("no network".into())),
            _ => {}
        }
        let limit = options.get("limit").and_then(|limit| u32::try_from(limit.try_clone().ok()?).ok());
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let mode = options.get("mode").and_then(|mode| String::try_from(mode.try_clone().ok()?).ok());
        let exact = mode.as_deref() == Some("exact");
        let matches = |row: &Row| terms.iter().all(|term| if exact { row.0 == *term } else { row.0.contains(term) });
        Ok(self.canned.rows.iter().filter(|row| matches(row)).take(limit).cloned().collect())
    }

    fn list(&self, query: HashMap<String, OwnedVariant>) -> Vec<Row> {
        let states = [("explicit", 1 << 1), ("upgradable", 1 << 2), ("held", 1 << 5)];
        let wanted = states.iter().find(|(state, _)| query.contains_key(*state)).map_or(1, |(_, flag)| *flag);
        self.canned.rows.iter().filter(|row| row.5 & wanted != 0).cloned().collect()
    }

    /// With `columns`, the only form that omg asks for.
    fn query_fd(&self, query: HashMap<String, OwnedVariant>) -> OwnedFd {
        assert!(query.contains_key("columns"));
        let (reader, mut writer) = std::io::pipe().expect("pipe");
        let rows = if query.contains_key("terms") { self.canned.rows.clone() } else { self.list(query) };
        std::thread::spawn(move || {
            let escaped = |text: &str| text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n");
            for (name, version, arch, repository, summary, flags, size) in &rows {
                let texts = [name, version, arch, repository, summary].map(|text| escaped(text)).join("\t");
                if writeln!(writer, "{texts}\t{flags}\t{size}").is_err() {
                    return;
                }
            }
            let _ = writeln!(writer, "{{\"end\":true,\"count\":{}}}", rows.len());
        });
        std::os::fd::OwnedFd::from(reader).into()
    }

    fn get_updates(&self, _options: HashMap<String, OwnedVariant>) -> (u64, Vec<Update>) {
        let update = |name: &str, to: &str, flags| {
            (name.into(), "1.0".into(), to.into(), "amd64".into(), "sec".into(), "s".into(), flags, 2048)
        };
        (7, vec![update("openssl", "1.1", 0b1101), update("vim", "2.0", 0b0101)])
    }

    fn suggest(&self, prefix: String, limit: u32) -> Vec<String> {
        let names = self.canned.rows.iter().map(|row| row.0.clone());
        names.filter(|name| name.starts_with(&prefix)).take(limit as usize).collect()
    }

    async fn plan(
        &self,
        actions: Vec<(String, String)>,
        options: HashMap<String, OwnedVariant>,
        #[zbus(object_server)] server: &ObjectServer,
        #[zbus(connection)] connection: &zbus::Connection,
    ) -> Result<OwnedObjectPath, Error> {
        for (_, target) in &actions {
            match target.as_str() {
                "nonesuch" => return Err(Error::NotFound("no package is named nonesuch\u{7}".into())),
                "rigrep" => return Err(Error::NotFound("Unable to locate package rigrep".into())),
                // Only with the answer yes to what it conflicts with.
                "rival" if !options.get("answers").is_some_and(|answers| format!("{answers:?}").contains("yes")) => {
                    return Err(Error::ResolutionFailed("rival and p2 conflict".into()));
                }
                "impossible" => return Err(Error::ResolutionFailed("impossible depends on nonesuch".into())),
                _ => {}
            }
        }
        let made = self.canned.seen().plans.len();
        let path = {
            let mut seen = self.canned.seen();
            seen.plans.push(actions);
            seen.files.clear();
            seen.options.clear();
            for (key, value) in &options {
                match &**value {
                    Variant::Array(files) if key == "files" => {
                        for file in files.iter() {
                            let Variant::Fd(file) = file else { panic!("no descriptor: {file:?}") };
                            let file = std::os::fd::AsFd::as_fd(file).try_clone_to_owned().expect("a descriptor");
                            let mut file = std::fs::File::from(file);
                            let mut text = String::new();
                            std::io::Read::read_to_string(&mut file, &mut text).expect("read");
                            seen.files.push(text);
                        }
                    }
                    Variant::Str(text) => seen.options.push((key.clone(), text.to_string())),
                    answers @ Variant::Dict(_) if key == "answers" => {
                        seen.options.push((key.clone(), format!("{answers:?}")));
                    }
                    Variant::Bool(value) => seen.options.push((key.clone(), value.to_string())),
                    other => panic!("{key}: {other:?}"),
                }
            }
            seen.options.sort();
            format!("{PATH}/transaction/{}", seen.plans.len())
        };
        if made >= self.canned.forgotten_plans {
            server.at(path.as_str(), Plan { canned: self.canned.clone() }).await?;
        }
        if self.canned.leaves {
            connection.release_name("org.omg.PackageManager1").await?;
        }
        Ok(OwnedObjectPath::try_from(path).expect("a path"))
    }

    fn history(&self, options: HashMap<String, OwnedVariant>) -> Vec<HistoryRow> {
        let limit = options.get("limit").and_then(|limit| u32::try_from(limit.try_clone().ok()?).ok());
        self.canned.history.iter().take(limit.unwrap_or(1000) as usize).cloned().collect()
    }

    fn status(&self) -> HashMap<String, Variant<'static>> {
        HashMap::from([
            ("Backend".into(), "apt".into()),
            ("DaemonVersion".into(), env!("CARGO_PKG_VERSION").into()),
            ("Pid".into(), 4242u32.into()),
            ("Uptime".into(), 300u64.into()),
            ("Packages".into(), 63_440u32.into()),
            ("Installed".into(), 512u32.into()),
            ("Upgradable".into(), 2u32.into()),
            ("Security".into(), 1u32.into()),
            ("SnapshotCreated".into(), 1_700_000_000u64.into()),
            ("Store".into(), "ok".into()),
            ("StoreState".into(), "ok".into()),
            ("LockHolder".into(), (77u32, "apt-get\u{7}").into()),
            ("Errors".into(), vec!["helper \u{9b}failed"].into()),
            ("Runtimes".into(), vec![("node", "22.1.0")].into()),
        ])
    }

    fn get_details(&self, names: Vec<String>, options: HashMap<String, OwnedVariant>) -> Result<Vec<Dict>, Error> {
        let why = options.contains_key("why");
        names.iter().map(|name| details(name, why).map_err(Error::NotFound)).collect()
    }

    fn batch(&self, requests: Vec<(String, OwnedVariant)>) -> Vec<(bool, OwnedVariant)> {
        let answer = |(method, arguments): (String, OwnedVariant)| {
            assert_eq!(method, "GetDetails");
            let (names, options): (Vec<String>, HashMap<String, OwnedVariant>) =
                arguments.try_into().expect("(asa{sv})");
            let result = details(&names[0], options.contains_key("why"));
            let ok = result.is_ok();
            let body = match result {
                Ok(details) => Structure::from((vec![details],)),
                Err(message) => Structure::from(("org.omg.Error.NotFound", message)),
            };
            (ok, Variant::from(body).try_into_owned().expect("no descriptor inside"))
        };
        requests.into_iter().map(answer).collect()
    }

    fn clear_cache(&self) {}

    fn metrics(&self) -> HashMap<String, Variant<'static>> {
        HashMap::from([
            ("Requests".into(), HashMap::from([("Search", 12_345u64)]).into()),
            ("LatencyMicros".into(), HashMap::from([("Search", (40u64, 90u64, 1_200u64))]).into()),
            ("SearchCacheHits".into(), 3u64.into()),
            ("SearchCacheMisses".into(), 1u64.into()),
        ])
    }
}

struct Plan {
    canned: Canned,
}

#[zbus::interface(name = "org.omg.Plan1")]
impl Plan {
    #[zbus(property)]
    fn digest(&self) -> String {
        DIGEST.into()
    }

    #[zbus(property)]
    fn items(&self) -> Vec<PlanItem> {
        self.canned.plan.items.clone()
    }

    #[zbus(property)]
    fn held_back(&self) -> Vec<HeldBack> {
        self.canned.plan.held_back.clone()
    }

    #[zbus(property)]
    fn unneeded(&self) -> Vec<String> {
        self.canned.plan.unneeded.clone()
    }

    #[zbus(property)]
    fn download_size(&self) -> u64 {
        self.canned.plan.items.iter().map(|item| item.6).sum()
    }

    #[zbus(property)]
    fn installed_size_delta(&self) -> i64 {
        self.canned.plan.items.iter().map(|item| item.7).sum()
    }

    #[zbus(property)]
    fn risks(&self) -> Vec<String> {
        self.canned.plan.risks.clone()
    }

    #[zbus(property)]
    fn notes(&self) -> Vec<String> {
        self.canned.plan.notes.clone()
    }

    #[zbus(property)]
    fn decisions(&self) -> Vec<Decision> {
        self.canned.plan.decisions.clone()
    }

    fn close(&self) {
        self.canned.seen().closed_plans += 1;
    }
}

/// Details of any package whose name starts with `lib`.
fn details(name: &str, why: bool) -> Result<Dict, String> {
    if name == "rigrep" {
        return Err("no package is called rigrep; did you mean ripgrep, rrep?".into());
    }
    if !name.starts_with("lib") {
        return Err(format!("no package is named {name}; near are libcurl4, libc6"));
    }
    let version = Dict::from([
        ("Version".into(), "2.36".into()),
        ("Architecture".into(), "amd64".into()),
        ("Priority".into(), 500i32.into()),
        ("Installed".into(), true.into()),
        ("Candidate".into(), true.into()),
        ("Repository".into(), "bookworm/main".into()),
        ("Sources".into(), vec![(500i32, "http://deb.debian.org/debian bookworm/main amd64 Packages")].into()),
    ]);
    let mut details = Dict::from([
        ("Name".into(), name.to_owned().into()),
        ("Version".into(), "2.36".into()),
        ("Installed".into(), "2.36".into()),
        ("Flags".into(), 1u32.into()),
        ("Summary".into(), "a \u{202e}library".into()),
        ("Description".into(), "first line\n\nsecond \u{1b}]0;x\u{7}line".into()),
        ("DownloadSize".into(), 2_200_000u64.into()),
        ("Depends".into(), vec!["libgcc-s1", "libc6 (>= 2)"].into()),
        ("Fields".into(), HashMap::from([("Multi-Arch", "same")]).into()),
        ("Versions".into(), vec![version].into()),
    ]);
    if why {
        details.insert("Why".into(), vec![("git", "Depends", "libcurl4"), ("libcurl4", "Recommends", "libc6")].into());
    }
    Ok(details)
}
