//! `org.omg.Transaction1` on a bus of its own that every user may use, in the place of the system bus.

use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, MutexGuard};

use tempfile::TempDir;
use zbus::connection::Builder;
use zbus::message::{Flags, Header};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, ObjectServer, OwnedObjectPath, OwnedVariant, Variant, fdo};

const PATH: &str = "/org/omg/Transaction1";
const JOB: &str = "/org/omg/Transaction1/job/1";

type Dict = HashMap<&'static str, Variant<'static>>;

/// How its jobs end.
#[derive(Debug, Clone, Copy)]
pub enum Ending {
    /// After a question.
    Succeeds,
    /// With this error.
    Fails(&'static str),
    /// The commit is refused at once.
    Refuses,
    /// It leaves the bus.
    Vanishes,
    WaitsForCancel,
}

#[derive(Debug, Default)]
pub struct Seen {
    pub actions: Vec<(String, String)>,
    pub digest: String,
    /// Keys, sorted; without `files`.
    pub options: Vec<String>,
    /// What the package files hold.
    pub files: Vec<String>,
    pub refreshed: bool,
    /// Whether the one who starts the job may be asked for consent.
    pub interactive: bool,
    pub answers: Vec<(u32, String)>,
    pub closed: bool,
}

/// Serves until dropped.
pub struct FakeTransaction {
    bus: std::process::Child,
    address: String,
    seen: Arc<Mutex<Seen>>,
    _folder: TempDir,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeTransaction {
    /// None where dbus-daemon is not installed.
    pub fn start(ending: Ending) -> Option<Self> {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
        let config = folder.path().join("bus.conf");
        let text = format!(
            "<busconfig><type>system</type><listen>unix:path={}/bus</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/>\
             <allow receive_sender=\"*\"/></policy></busconfig>",
            folder.path().display()
        );
        std::fs::write(&config, text).expect("written");
        let mut bus = match std::process::Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--print-address", "--config-file"])
            .arg(&config)
            .stdout(std::process::Stdio::piped())
            .spawn()
        {
            Ok(bus) => bus,
            Err(error) => {
                println!("SKIP dbus-daemon: {error}");
                return None;
            }
        };
        let mut address = String::new();
        std::io::BufReader::new(bus.stdout.take().expect("piped")).read_line(&mut address).expect("an address");
        let address = address.trim().to_owned();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let service = Service { ending, seen: Arc::clone(&seen) };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let builder = Builder::address(address.as_str()).name("org.omg.Transaction1").serve_at(PATH, service);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                let _connection = builder.build().await.expect("on the bus");
                ready.send(()).expect("awaited");
                let _ = stopped.await;
            });
        });
        is_ready.recv().expect("the service starts");
        Some(Self { bus, address, seen, _folder: folder, stop: Some(stop), thread: Some(thread) })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no test panicked with it")
    }
}

impl Drop for FakeTransaction {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

struct Service {
    ending: Ending,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.omg.Error")]
enum Error {
    #[zbus(error)]
    ZBus(zbus::Error),
    InvalidArgument(String),
}

#[zbus::interface(name = "org.omg.Transaction1")]
impl Service {
    async fn commit(
        &self,
        actions: Vec<(String, String)>,
        digest: String,
        options: HashMap<String, OwnedVariant>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath, Error> {
        if matches!(self.ending, Ending::Refuses) {
            return Err(Error::InvalidArgument("digest: too old".into()));
        }
        {
            let mut seen = self.seen.lock().expect("sound");
            (seen.actions, seen.digest) = (actions, digest);
            for (key, value) in &options {
                let Variant::Array(files) = &**value else {
                    seen.options.push(key.clone());
                    continue;
                };
                for file in files.iter() {
                    let Variant::Fd(file) = file else { panic!("no descriptor: {file:?}") };
                    let file = std::os::fd::AsFd::as_fd(file).try_clone_to_owned().expect("a descriptor");
                    let mut text = String::new();
                    std::fs::File::from(file).read_to_string(&mut text).expect("read");
                    seen.files.push(text);
                }
            }
            seen.options.sort();
        }
        self.job(server).await
    }

    async fn refresh(
        &self,
        _options: HashMap<String, OwnedVariant>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath, Error> {
        self.seen.lock().expect("sound").refreshed = true;
        self.job(server).await
    }
}

impl Service {
    async fn job(&self, server: &ObjectServer) -> Result<OwnedObjectPath, Error> {
        server.at(JOB, Job { ending: self.ending, seen: Arc::clone(&self.seen) }).await?;
        Ok(OwnedObjectPath::try_from(JOB).expect("a path"))
    }
}

struct Job {
    ending: Ending,
    seen: Arc<Mutex<Seen>>,
}

#[zbus::interface(name = "org.omg.Job1", spawn = false)]
impl Job {
    async fn start(&self, #[zbus(header)] header: Header<'_>, #[zbus(connection)] bus: &Connection) {
        let interactive = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        self.seen.lock().expect("sound").interactive = interactive;
        let owner = header.sender().expect("on a bus").to_owned();
        let emitter = SignalEmitter::new(bus, JOB).expect("a path").set_destination(owner.into()).into_owned();
        let (bus, ending) = (bus.clone(), self.ending);
        tokio::spawn(async move {
            begin(&emitter, ending).await.expect("told");
            match ending {
                Ending::Succeeds => {
                    let details = Dict::from([("Package", "ripgrep".into()), ("Path", "/etc/rg".into())]);
                    let choices = &["keep".to_owned(), "replace".to_owned()];
                    Self::question(&emitter, 4, "conffile", details, choices).await.expect("told");
                }
                Ending::Fails(error) => {
                    let result = Dict::from([("Error", error.into()), ("Message", "the reason\u{1b}".into())]);
                    Self::finished(&emitter, "failed", result).await.expect("told");
                }
                Ending::Vanishes => bus.close().await.expect("closed"),
                Ending::Refuses | Ending::WaitsForCancel => {}
            }
        });
    }

    async fn answer(&self, #[zbus(signal_emitter)] emitter: SignalEmitter<'_>, id: u32, choice: String) {
        self.seen.lock().expect("sound").answers.push((id, choice));
        let phase = Dict::from([("Phase", "applying".into()), ("Cancellable", false.into())]);
        changed(&emitter, phase).await.expect("told");
        Self::items(&emitter, vec![("ripgrep".into(), "installed", 0, 0)]).await.expect("told");
        let result = Dict::from([
            ("Items", vec![("install", "ripgrep", "all", "", "13.0", "r", 0_u64, 0_i64)].into()),
            ("RestartMachine", true.into()),
            ("RestartPackages", vec!["linux"].into()),
            ("RestartServices", vec!["ssh"].into()),
            ("AuditEntry", 12_u64.into()),
        ]);
        Self::finished(&emitter, "succeeded", result).await.expect("told");
    }

    async fn cancel(&self, #[zbus(signal_emitter)] emitter: SignalEmitter<'_>) {
        Self::finished(&emitter, "cancelled", Dict::new()).await.expect("told");
    }

    fn close(&self) {
        self.seen.lock().expect("sound").closed = true;
    }

    #[zbus(signal)]
    async fn items(emitter: &SignalEmitter<'_>, items: Vec<(String, &str, u64, u64)>) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn question(
        emitter: &SignalEmitter<'_>,
        id: u32,
        about: &str,
        details: Dict,
        choices: &[String],
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn message(emitter: &SignalEmitter<'_>, level: &str, text: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn finished(emitter: &SignalEmitter<'_>, outcome: &str, result: Dict) -> zbus::Result<()>;
}

/// What every job tells before anything differs.
async fn begin(emitter: &SignalEmitter<'_>, ending: Ending) -> zbus::Result<()> {
    for state in ["authorizing", "waiting", "running"] {
        changed(emitter, Dict::from([("State", state.into()), ("Cancellable", true.into())])).await?;
    }
    for phase in ["locking", "fetching"] {
        changed(emitter, Dict::from([("Phase", phase.into()), ("Cancellable", true.into())])).await?;
    }
    let progress = [("Fraction", 0.5.into()), ("BytesDone", 1024_u64.into()), ("BytesTotal", 2048_u64.into())];
    changed(emitter, Dict::from(progress)).await?;
    if matches!(ending, Ending::Succeeds) {
        Job::message(emitter, "warning", "slow mirror").await?;
    }
    Job::items(emitter, vec![("ripgrep".into(), "fetched", 2048, 2048), ("x".into(), "of-a-later-version", 0, 0)]).await
}

async fn changed(emitter: &SignalEmitter<'_>, properties: Dict) -> zbus::Result<()> {
    let interface = zbus::names::InterfaceName::try_from("org.omg.Job1")?;
    fdo::Properties::properties_changed(emitter, interface, properties, std::borrow::Cow::Borrowed(&[] as &[&str]))
        .await
}
