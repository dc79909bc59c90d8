//! The real daemon on a throwaway apt root, with a home of its own, and clients that speak D-Bus with it.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use zbus::connection::Builder;
use zbus::{Connection, OwnedVariant, Type, Variant};

use super::apt_root::{AptRoot, Suite};

pub const NAME: &str = "org.omg.PackageManager1";
pub const PATH: &str = "/org/omg/PackageManager1";

/// Nothing that works takes so long.
pub const WAIT: Duration = Duration::from_secs(30);

/// Packages named `bulk-0000` and so on: a dump of them does not fit into a pipe.
pub const BULK: usize = 3000;

pub type Row = (String, String, String, String, String, u32, u64);
pub type Dict = HashMap<String, OwnedVariant>;

const PACKAGES: &str = "\
Package: app\nArchitecture: amd64\nVersion: 2.0\nInstalled-Size: 20\nMaintainer: A <a@example.org>\nDepends: lib-auto (>= 1.0), mail-agent\n\
Filename: pool/app_2.0_amd64.deb\nSize: 2000\nSHA256: 00\nSection: utils\nPriority: optional\nDescription: application\n With a peculiar text.\n\n\
Package: lib-auto\nArchitecture: amd64\nVersion: 1.0\nFilename: pool/lib-auto_1.0_amd64.deb\nSize: 1000\nSHA256: 00\nDescription: library\n\n\
Package: provider\nArchitecture: all\nVersion: 1.0\nProvides: mail-agent\nFilename: pool/p_1.0_all.deb\nSize: 500\nSHA256: 00\nDescription: provider\n\n\
Package: vim\nArchitecture: amd64\nVersion: 9.0\nFilename: pool/vim_9.0_amd64.deb\nSize: 900\nSHA256: 00\nDescription: editor\n\n";

const STATUS: &str = "\
Package: app\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\nMaintainer: A <a@example.org>\nDepends: lib-auto, mail-agent\nDescription: application, old\n\n\
Package: lib-auto\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\nMaintainer: A <a@example.org>\nDescription: library\n\n\
Package: provider\nStatus: install ok installed\nArchitecture: all\nVersion: 1.0\nMaintainer: A <a@example.org>\nProvides: mail-agent\nDescription: provider\n\n";

const EXTENDED_STATES: &str = "\
Package: lib-auto\nArchitecture: amd64\nAuto-Installed: 1\n\n\
Package: provider\nArchitecture: amd64\nAuto-Installed: 1\n\n";

/// The archive `stable` with `packages` (the text of a `Packages` file); fetched by [`AptRoot::update`].
pub fn set_archive(root: &AptRoot, packages: &str) {
    root.add_suite(&Suite {
        codename: "stable",
        suite: "stable",
        label: "Test",
        release: "",
        files: &[("binary-amd64/Packages", packages), ("binary-i386/Packages", "")],
    });
}

/// The `Packages` file of the archive that [`World::new`] makes.
pub fn packages() -> String {
    let bulk = (0..BULK).map(|number| {
        format!(
            "Package: bulk-{number:04}\nArchitecture: amd64\nVersion: 1.0\nFilename: pool/b{number}.deb\nSize: 1\n\
             SHA256: 00\nDescription: one of many\n\n"
        )
    });
    PACKAGES.to_owned() + &bulk.collect::<String>()
}

/// A home, a runtime folder and an apt root. Removed when dropped.
pub struct World {
    folder: TempDir,
    pub root: AptRoot,
}

impl World {
    pub fn new() -> Self {
        let root = AptRoot::new();
        root.write("var/lib/dpkg/status", STATUS);
        root.write("var/lib/apt/extended_states", EXTENDED_STATES);
        set_archive(&root, &packages());
        root.update();
        let world = Self { folder: tempfile::tempdir().unwrap(), root };
        for folder in ["home", "config/omg", "data", "cache", "runtime"] {
            fs::create_dir_all(world.path(folder)).unwrap();
        }
        fs::set_permissions(world.path("runtime"), fs::Permissions::from_mode(0o700)).unwrap();
        world.configure("");
        world
    }

    /// A path in this world's own folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("runtime/omg.sock")
    }

    /// The file that holds the snapshot, once there is one.
    pub fn snapshot(&self) -> PathBuf {
        let files = fs::read_dir(self.path("data/omg/index")).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.extension().is_some()).find(|file| fs::metadata(file).unwrap().len() > 0).unwrap()
    }

    /// Writes the configuration file: this world's root, and `more` keys.
    pub fn configure(&self, more: &str) {
        let root = self.root.path().display();
        let text = format!("backend = \"apt\"\n{more}\n[apt]\nroot = \"{root}\"\n");
        fs::write(self.path("config/omg/config.toml"), text).unwrap();
    }

    /// Writes an executable script; its path.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        // Renamed into place: a file that is open for writing cannot be executed.
        let new = self.path(&format!("{name}.new"));
        fs::write(&new, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }

    /// A program that sees this world and nothing of the user's session.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("LC_ALL", "C.UTF-8");
        for (variable, folder) in [
            ("HOME", "home"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_RUNTIME_DIR", "runtime"),
        ] {
            command.env(variable, self.path(folder));
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// The daemon, not yet started.
    pub fn omgd(&self) -> Command {
        self.command(env!("CARGO_BIN_EXE_omgd"))
    }

    /// The daemon on a bus, not yet started.
    pub fn omgd_on(&self, bus: &Bus) -> Command {
        let mut command = self.omgd();
        command.env("DBUS_SESSION_BUS_ADDRESS", &bus.address);
        command
    }

    /// A running daemon that takes connections on its socket.
    pub fn daemon(&self) -> Daemon {
        self.start(self.omgd())
    }

    /// The same, from a command that the caller has changed.
    pub fn start(&self, command: Command) -> Daemon {
        let daemon = self.spawn(command);
        let socket = self.socket();
        until("the daemon listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        daemon
    }

    /// The same for a process that the first connection would wake.
    pub fn start_unconnected(&self, command: Command) -> Daemon {
        let daemon = self.spawn(command);
        let socket = self.socket();
        let path = socket.to_str().unwrap();
        // A listening socket has the flags 00010000 (proc_net_unix(5)).
        let listens = |line: &str| line.ends_with(path) && line.contains(" 00010000 ");
        until("the socket listens", || fs::read_to_string("/proc/net/unix").unwrap().lines().any(listens));
        daemon
    }

    /// Starts a process whose standard error goes to a file.
    pub fn spawn(&self, mut command: Command) -> Daemon {
        let log = self.path("log");
        let file = fs::File::options().create(true).append(true).open(&log).unwrap();
        Daemon { child: command.stderr(file).spawn().unwrap(), log }
    }

    pub async fn peer(&self) -> Client {
        Client::on_socket(&self.socket()).await.unwrap()
    }
}

/// A process that is killed when dropped.
pub struct Daemon {
    pub child: Child,
    log: PathBuf,
}

impl Daemon {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// What it has written to its standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}", self.child.id(), self.log());
        }
    }
}

/// A `dbus-daemon` of this test's own; what it activates sees the world's environment.
pub struct Bus {
    pub daemon: Daemon,
    pub address: String,
}

impl Bus {
    /// With `program`, a call of the name starts it.
    pub fn start(world: &World, program: Option<&str>) -> Self {
        let services = world.path("services");
        fs::create_dir_all(&services).unwrap();
        if let Some(program) = program {
            let service = format!("[D-BUS Service]\nName={NAME}\nExec={program}\nSystemdService=omgd.service\n");
            fs::write(services.join(format!("{NAME}.service")), service).unwrap();
        }
        let config = world.path("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <servicedir>{}</servicedir><policy context=\"default\"><allow send_destination=\"*\"/>\
             <allow receive_sender=\"*\"/><allow own=\"*\"/></policy>\
             <limit name=\"service_start_timeout\">20000</limit><limit name=\"max_completed_connections\">1000</limit>\
             <limit name=\"max_connections_per_user\">1000</limit>\
             <limit name=\"max_replies_per_connection\">50000</limit></busconfig>",
            world.path("bus").display(),
            services.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = world.command("dbus-daemon");
        command.arg("--nofork").arg("--print-address").arg("--config-file").arg(&config).stdout(Stdio::piped());
        let mut daemon = world.spawn(command);
        let mut address = String::new();
        BufReader::new(daemon.child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { daemon, address: address.trim().to_owned() }
    }

    pub async fn client(&self) -> Client {
        let builder = Builder::address(self.address.as_str()).method_timeout(WAIT);
        Client { connection: builder.build().await.unwrap(), destination: Some(NAME) }
    }

    /// Process that owns our name.
    pub async fn owner(&self) -> Option<u32> {
        let client = self.client().await;
        let reply = client
            .connection
            .call_method(
                Some("org.freedesktop.DBus"),
                "/org/freedesktop/DBus",
                Some("org.freedesktop.DBus"),
                "GetConnectionUnixProcessID",
                &NAME,
            )
            .await
            .ok()?;
        reply.body().deserialize().ok()
    }
}

/// A connection with the service.
#[derive(Clone)]
pub struct Client {
    pub connection: Connection,
    destination: Option<&'static str>,
}

impl Client {
    pub async fn on_socket(socket: &Path) -> zbus::Result<Self> {
        let stream = std::os::unix::net::UnixStream::connect(socket)?;
        Self::on_stream(stream).await
    }

    pub async fn on_stream(stream: std::os::unix::net::UnixStream) -> zbus::Result<Self> {
        stream.set_nonblocking(true)?;
        let building = Builder::unix_stream(stream).p2p().method_timeout(WAIT).build();
        let connection = tokio::time::timeout(WAIT, building).await.expect("greeted in time")?;
        Ok(Self { connection, destination: None })
    }

    /// Name of the service, where there is a bus.
    pub fn destination(&self) -> Option<&'static str> {
        self.destination
    }

    /// Calls a method of our interface.
    pub async fn call<R: DeserializeOwned + Type>(
        &self,
        method: &str,
        arguments: &(impl Serialize + zbus::wire::DynamicType),
    ) -> zbus::Result<R> {
        let reply = self.connection.call_method(self.destination, PATH, Some(NAME), method, arguments).await?;
        reply.body().deserialize()
    }

    pub async fn search(&self, term: &str) -> zbus::Result<Vec<Row>> {
        self.call("Search", &(vec![term], options([("mode", "exact".into())]))).await
    }

    /// Names of the packages for which one condition holds.
    pub async fn list_of(&self, condition: &str) -> zbus::Result<Vec<String>> {
        let rows: Vec<Row> = self.call("List", &(options([(condition, true.into())]),)).await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    pub async fn list(&self, condition: &str) -> Vec<String> {
        self.list_of(condition).await.unwrap()
    }

    pub async fn details(&self, name: &str) -> zbus::Result<Dict> {
        let mut details: Vec<Dict> = self.call("GetDetails", &(vec![name], options([]))).await?;
        assert_eq!(details.len(), 1);
        Ok(details.remove(0))
    }

    pub async fn dictionary(&self, method: &str) -> Dict {
        self.call(method, &()).await.unwrap()
    }

    pub async fn properties(&self, method: &str, name: Option<&str>) -> zbus::Result<zbus::Message> {
        let interface = Some("org.freedesktop.DBus.Properties");
        match name {
            Some(name) => self.connection.call_method(self.destination, PATH, interface, method, &(NAME, name)).await,
            None => self.connection.call_method(self.destination, PATH, interface, method, &(NAME,)).await,
        }
    }

    pub async fn introspect(&self, path: &str) -> String {
        let interface = Some("org.freedesktop.DBus.Introspectable");
        let reply = self.connection.call_method(self.destination, path, interface, "Introspect", &()).await.unwrap();
        reply.body().deserialize().unwrap()
    }
}

/// A dictionary of options.
pub fn options<const N: usize>(entries: [(&str, Variant<'static>); N]) -> HashMap<String, Variant<'static>> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Name and text of the error that a call was answered with.
pub fn error<T: std::fmt::Debug>(answer: zbus::Result<T>) -> (String, String) {
    match answer.unwrap_err() {
        zbus::Error::MethodError(name, text, _) => (name.to_string(), text.unwrap_or_default()),
        zbus::Error::FDO(error) => {
            (zbus::DBusError::name(&*error).to_string(), zbus::DBusError::description(&*error).unwrap_or("").to_owned())
        }
        other => panic!("no error of the service: {other:?}"),
    }
}

pub fn text(dictionary: &Dict, key: &str) -> String {
    let value = dictionary.get(key).unwrap_or_else(|| panic!("no {key} in {dictionary:?}"));
    String::try_from(value.try_clone().unwrap()).unwrap()
}

/// A number of any width.
pub fn number(dictionary: &Dict, key: &str) -> u64 {
    match &**dictionary.get(key).unwrap_or_else(|| panic!("no {key} in {dictionary:?}")) {
        Variant::U32(value) => u64::from(*value),
        Variant::U64(value) => *value,
        other => panic!("{key} is no number: {other:?}"),
    }
}

pub fn texts(dictionary: &Dict, key: &str) -> Vec<String> {
    Vec::try_from(dictionary[key].try_clone().unwrap()).unwrap()
}

/// Says that a test cannot run here, where tests/run counts it: past the capture of passing tests' output.
pub fn skip(test: &str, reason: &str) {
    let mut standard_error = std::io::stderr();
    standard_error.write_all(format!("\nSKIP {test}: {reason}\n").as_bytes()).unwrap();
}

/// Waits for a condition that has to come true.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
