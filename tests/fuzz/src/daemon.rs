//! The served interface: whatever message a client sends, the daemon answers it or drops the client, and goes on.
#![no_main]

mod seeds;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use libfuzzer_sys::{Corpus, fuzz_target};
use omg::dbus::activity::Activity;
use omg::dbus::manager::Manager;
use omg::dbus::names::{INTERFACE, PATH};
use omg::dbus::served::Served;
use omg::engine::{CacheLimits, Engine, Options};
use omg::index::{Builder, Entry, Fingerprint, Inputs, Meta, Version};
use omg::package::{Flags, PackageDetails};
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{LE, to_bytes};
use zbus::{Guid, Variant, connection};

/// What is called: the first byte of an input chooses. The second one is the length of the signature, which follows; the
/// rest is the body.
const MEMBERS: [(&str, &str); 13] = [
    (INTERFACE, "Search"),
    (INTERFACE, "List"),
    (INTERFACE, "QueryFd"),
    (INTERFACE, "GetDetails"),
    (INTERFACE, "GetUpdates"),
    (INTERFACE, "Suggest"),
    (INTERFACE, "Status"),
    (INTERFACE, "Batch"),
    (INTERFACE, "ClearCache"),
    (INTERFACE, "Metrics"),
    ("org.freedesktop.DBus.Properties", "Get"),
    ("org.freedesktop.DBus.Properties", "GetAll"),
    ("org.freedesktop.DBus.Properties", "Set"),
];

/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(15);

fn seeds() -> Vec<Vec<u8>> {
    let options = |mode: &'static str| {
        HashMap::from([
            ("mode", Variant::from(mode)),
            ("limit", Variant::from(5_u32)),
            ("descriptions", Variant::from(true)),
            ("installed", Variant::from(true)),
            ("why", Variant::from(true)),
            ("sources", Variant::from(vec!["apt"])),
        ])
    };
    let seed = |member: u8, signature: &str, body: zbus::Result<Data<'static, 'static>>| {
        let body = body.expect("a body");
        [&[member, signature.len() as u8], signature.as_bytes(), body.bytes()].concat()
    };
    let context = Context::new(LE, 0);
    let search = (vec!["package", "1"], options("fuzzy"));
    let batch = vec![
        ("Search", Variant::from(search.clone())),
        ("List", Variant::from((options("exact"),))),
        ("GetDetails", Variant::from((vec!["package1", "package2:amd64"], options("fuzzy")))),
        ("GetUpdates", Variant::from((options("fuzzy"),))),
        ("Suggest", Variant::from(("pack", 3_u32))),
        ("Status", Variant::from(0_u8)),
        ("Metrics", Variant::from("x")),
        ("Batch", Variant::from((0_u8,))),
    ];
    vec![
        seed(0, "asa{sv}", to_bytes(context, &search)),
        seed(1, "a{sv}", to_bytes(context, &options("substring"))),
        seed(2, "a{sv}", to_bytes(context, &HashMap::from([("terms", Variant::from(vec!["a"]))]))),
        seed(3, "asa{sv}", to_bytes(context, &(vec!["package3", "none"], options("exact")))),
        seed(4, "a{sv}", to_bytes(context, &options("substring"))),
        seed(5, "su", to_bytes(context, &("package", 2_u32))),
        vec![6, 0],
        seed(7, "a(sv)", to_bytes(context, &batch)),
        vec![8, 0],
        vec![9, 0],
        seed(10, "ss", to_bytes(context, &(INTERFACE, "Generation"))),
        seed(11, "s", to_bytes(context, &INTERFACE)),
        seed(12, "ssv", to_bytes(context, &(INTERFACE, "Generation", Variant::from(1_u64)))),
    ]
}

/// A daemon's engine over a few packages; it needs no helper, as nothing it was built from ever changes.
fn engine(folder: PathBuf) -> std::sync::Arc<Engine> {
    let inputs = Inputs { backend: "apt".into(), ..Inputs::default() };
    let mut builder = Builder::new("amd64");
    for number in 0..20 {
        let name = format!("package{number}");
        let version = Some(Version { version: "1", arch: "amd64", repository: "a/b" });
        let entry = Entry {
            name: &name,
            arch: "amd64",
            preferred: true,
            flags: if number % 2 == 0 { Flags::INSTALLED | Flags::UPGRADABLE } else { Flags::empty() },
            candidate: version,
            installed: version.filter(|_| number % 2 == 0),
            summary: "Summary",
            description: "Description",
            ..Entry::default()
        };
        builder.add(&entry, &PackageDetails::default()).expect("a package");
    }
    std::fs::create_dir_all(folder.join("index")).expect("a folder");
    let mut file = std::fs::File::create(folder.join("index").join(inputs.file_name())).expect("a file");
    let meta = Meta { inputs: inputs.clone(), generation: 1, ..Meta::default() };
    builder.write(meta, &Fingerprint::default(), &mut file).expect("a snapshot");
    Engine::new(Options {
        status_file: folder.join("status"),
        cache_dir: folder.join("cache"),
        data_dir: folder,
        inputs,
        helper: None,
        aur: None,
        announces: true,
        helper_timeout: Duration::from_secs(1),
        cache: CacheLimits { searches: 16, search_bytes: 1 << 20, details: 16, details_bytes: 1 << 20 },
        worker_interval: Duration::from_secs(3600),
        status_max_age: 86_400,
        runtimes: omg::config::RuntimeSettings { offline: true, ..omg::config::RuntimeSettings::default() },
    })
}

/// Serves the clients that come, like the daemon does: on one thread, each with an object of its own.
fn serve(clients: &Receiver<UnixStream>) {
    // As the start of every Rust program does; here libFuzzer has the start.
    // SAFETY: no handler is installed, and nothing of this process relies on the signal.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let folder = tempfile::tempdir().expect("a folder");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let engine = engine(folder.path().to_owned());
    let activity = Activity::default();
    while let Ok(stream) = clients.recv() {
        let manager = Manager::new(std::sync::Arc::clone(&engine), activity.clone(), "peer".to_owned());
        runtime.spawn(async move {
            let builder = connection::Builder::unix_stream(stream).server(Guid::generate()).p2p();
            if let Ok(connection) = builder.serve_at(PATH, Served::new(manager)).build().await {
                connection.closed().await;
            }
        });
    }
}

struct Client {
    stream: UnixStream,
    serial: u32,
}

impl Client {
    fn connect() -> Self {
        static SERVER: OnceLock<Mutex<Sender<UnixStream>>> = OnceLock::new();
        let server = SERVER.get_or_init(|| {
            let (sender, receiver) = channel();
            std::thread::spawn(move || serve(&receiver));
            Mutex::new(sender)
        });
        let (mut stream, theirs) = UnixStream::pair().expect("a pair of sockets");
        theirs.set_nonblocking(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        server.lock().expect("a server").send(theirs).expect("a server");
        let uid: String =
            rustix::process::geteuid().as_raw().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        write!(stream, "\0AUTH EXTERNAL {uid}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n").expect("a greeting");
        // Two lines come back.
        let (mut byte, mut lines) = ([0], 0);
        while lines < 2 {
            stream.read_exact(&mut byte).expect("an answer to the greeting");
            lines += usize::from(byte == *b"\n");
        }
        Self { stream, serial: 0 }
    }

    /// Sends a call and a ping behind it.
    ///
    /// # Errors
    /// When the daemon ends the connection before it has answered both.
    fn call(&mut self, member: (&str, &str), signature: &[u8], body: &[u8]) -> io::Result<()> {
        let first = self.serial + 1;
        self.serial += 2;
        let mut bytes = message(first, member, signature, body);
        bytes.extend(message(first + 1, ("org.freedesktop.DBus.Peer", "Ping"), b"", b""));
        self.stream.write_all(&bytes)?;
        let mut missing = vec![first, first + 1];
        while !missing.is_empty() {
            let answered = self.answer()?;
            missing.retain(|serial| Some(*serial) != answered);
        }
        Ok(())
    }

    /// Reads a message; the serial of the call that it answers.
    fn answer(&mut self) -> io::Result<Option<u32>> {
        let mut bytes = vec![0; 16];
        self.stream.read_exact(&mut bytes)?;
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let length = 16 + number(12).next_multiple_of(8) + number(4);
        bytes.resize(length, 0);
        self.stream.read_exact(&mut bytes[16..])?;
        Ok(answered(&bytes))
    }
}

/// The serial of the call that a message answers. The message is taken as well-formed: the daemon's library made it; it
/// is not parsed with that library because the descriptors that belong to it are not here.
fn answered(bytes: &[u8]) -> Option<u32> {
    let number = |at: usize| bytes.get(at..at + 4).and_then(|four| Some(u32::from_le_bytes(four.try_into().ok()?)));
    let end = 16 + number(12)? as usize;
    let mut at = 16_usize;
    while at < end {
        at = at.next_multiple_of(8);
        let [code, 1, kind, 0] = *bytes.get(at..at + 4)? else { return None };
        at += 4;
        match (code, kind) {
            (5, b'u') => return number(at),
            (_, b'u') => at += 4,
            (_, b'g') => at += 2 + usize::from(*bytes.get(at)?),
            _ => at += 5 + number(at)? as usize,
        }
    }
    None
}

/// A method call as it goes over the wire, right or wrong.
fn message(serial: u32, (interface, member): (&str, &str), signature: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'l', 1, 0, 1];
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(serial.to_le_bytes());
    bytes.extend([0; 4]);
    for (code, kind, value) in [(1, b'o', PATH), (2, b's', interface), (3, b's', member)] {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend([code, 1, kind, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
        bytes.extend(value.bytes());
        bytes.push(0);
    }
    if !signature.is_empty() {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend([8, 1, b'g', 0, signature.len() as u8]);
        bytes.extend(signature);
        bytes.push(0);
    }
    let fields = (bytes.len() - 16) as u32;
    bytes[12..16].copy_from_slice(&fields.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(body);
    bytes
}

thread_local! {
    static CLIENT: std::cell::RefCell<Option<Client>> = const { std::cell::RefCell::new(None) };
}

fuzz_target!(
    init: seeds::write(seeds),
    |data: &[u8]| -> Corpus {
        let [member, length, rest @ ..] = data else { return Corpus::Reject };
        let Some((signature, body)) = rest.split_at_checked(usize::from(*length)) else { return Corpus::Reject };
        let member = MEMBERS[usize::from(*member) % MEMBERS.len()];
        CLIENT.with_borrow_mut(|client| {
            let used = client.get_or_insert_with(Client::connect);
            if let Err(error) = used.call(member, signature, body) {
                // A dropped client is an answer; a silent daemon is none.
                assert!(error.kind() != io::ErrorKind::WouldBlock, "no answer to {member:?}");
                let mut next = Client::connect();
                next.call(MEMBERS[6], b"", b"").expect("the daemon goes on");
                *client = Some(next);
            }
        });
        Corpus::Keep
    }
);
