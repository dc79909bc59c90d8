//! Upstreams of runtimes on the loopback interface, in their real layouts, signed with throwaway keys.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sequoia_openpgp::Cert;
use sequoia_openpgp::armor;
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::serialize::stream::{Armorer, Message, Signer};
use sequoia_openpgp::types::SignatureType;
use sha2::{Digest, Sha256};

/// What a server has under a path.
#[derive(Debug, Clone)]
pub enum Served {
    File(Vec<u8>),
    /// Its length is told, but only so many bytes come before the connection ends.
    Cut(Vec<u8>, usize),
    Redirect(String),
    /// A page for people.
    Page,
    /// So slow that there is time to see it happen: pieces of 64 KiB, with so long between two.
    Slow(Vec<u8>, Duration),
    Status(u16),
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    files: Mutex<HashMap<String, Served>>,
    /// Paths that were asked for, with the range.
    requests: Mutex<Vec<(String, Option<String>)>>,
}

/// Serves files, with ETags and ranges.
pub struct Upstream {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    pub fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.over.load(Ordering::Relaxed) {
                    return;
                }
                let serving = Arc::clone(&serving);
                std::thread::spawn(move || while answer(&stream, &serving).unwrap_or(false) {});
            }
        });
        Self { port, shared, thread: Some(thread) }
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn put(&self, path: &str, served: Served) {
        self.shared.files.lock().unwrap().insert(path.to_owned(), served);
    }

    pub fn file(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.put(path, Served::File(content.into()));
    }

    pub fn remove(&self, path: &str) {
        self.shared.files.lock().unwrap().remove(path);
    }

    /// What was asked for since the last time, with the range.
    pub fn requests(&self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers one request; says whether another may follow.
fn answer(mut stream: &TcpStream, shared: &Shared) -> std::io::Result<bool> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut lines = BufReader::new(stream);
    let mut first = String::new();
    if lines.read_line(&mut first)? == 0 {
        return Ok(false);
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut range, mut wanted) = (None, None);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.trim().split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "range" => range = Some(value.to_owned()),
                "if-none-match" => wanted = Some(value.to_owned()),
                _ => {}
            }
        }
    }
    shared.requests.lock().unwrap().push((path.clone(), range.clone()));
    let served = shared.files.lock().unwrap().get(&path).cloned();
    let empty = |stream: &mut &TcpStream, status: &str, more: &str| {
        write!(stream, "HTTP/1.1 {status}\r\n{more}content-length: 0\r\n\r\n")
    };
    let (content, sent, pause) = match served {
        None => return empty(&mut stream, "404 Not Found", "").map(|()| true),
        Some(Served::Status(status)) => return empty(&mut stream, &format!("{status} x"), "").map(|()| true),
        Some(Served::Redirect(to)) => {
            return empty(&mut stream, "302 Found", &format!("location: {to}\r\n")).map(|()| true);
        }
        Some(Served::Page) => {
            let page = "<!doctype html><title>Sign in</title>";
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}",
                page.len()
            )?;
            return Ok(true);
        }
        Some(Served::File(content)) => (content, usize::MAX, None),
        Some(Served::Cut(content, sent)) => (content, sent, None),
        Some(Served::Slow(content, pause)) => (content, usize::MAX, Some(pause)),
    };
    let etag = format!("\"{}\"", hex::encode(Sha256::digest(&content)));
    if wanted.as_ref() == Some(&etag) {
        return empty(&mut stream, "304 Not Modified", &format!("etag: {etag}\r\n")).map(|()| true);
    }
    let from = range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let body = match from {
        Some(from) if from < content.len() => {
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {from}-{}/{}\r\n",
                content.len() - 1,
                content.len()
            )?;
            &content[from..]
        }
        _ => {
            write!(stream, "HTTP/1.1 200 OK\r\n")?;
            &content[..]
        }
    };
    write!(stream, "accept-ranges: bytes\r\netag: {etag}\r\ncontent-length: {}\r\n\r\n", body.len())?;
    let part = &body[..body.len().min(sent)];
    for piece in part.chunks(64 << 10) {
        stream.write_all(piece)?;
        if let Some(pause) = pause {
            std::thread::sleep(pause);
        }
    }
    Ok(part.len() == body.len())
}

/// Somebody who signs releases.
pub struct Key(Cert);

impl Key {
    pub fn new(name: &str) -> Self {
        Self(CertBuilder::new().add_userid(name).add_signing_subkey().generate().unwrap().0)
    }

    /// The certificate, as a file for `keys` in the configuration.
    pub fn public(&self) -> Vec<u8> {
        self.0.armored().to_vec().unwrap()
    }

    pub fn fingerprint(&self) -> String {
        self.0.fingerprint().to_hex()
    }

    fn signed(&self, data: &[u8], cleartext: bool) -> Vec<u8> {
        let key = self.0.keys().unencrypted_secret().nth(1).unwrap().key().clone();
        let mut out = Vec::new();
        let message = Message::new(&mut out);
        let message = match cleartext {
            true => message,
            false => Armorer::new(message).kind(armor::Kind::Signature).build().unwrap(),
        };
        let template = SignatureBuilder::new(SignatureType::Binary);
        let signer = Signer::with_template(message, key.into_keypair().unwrap(), template).unwrap();
        let signer = if cleartext { signer.cleartext() } else { signer.detached() };
        let mut signer = signer.build().unwrap();
        signer.write_all(data).unwrap();
        signer.finalize().unwrap();
        out
    }

    #[allow(dead_code, reason = "shared by test targets that each use a part")]
    /// A signature apart from what it is of.
    pub fn detached(&self, data: &[u8]) -> Vec<u8> {
        self.signed(data, false)
    }

    /// The text with its signature.
    pub fn cleartext(&self, text: &str) -> Vec<u8> {
        self.signed(text.as_bytes(), true)
    }
}

pub fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// What is below `folder`, packed by tar(1) with `name` in front of every path.
pub fn packed(folder: &Path, name: &str, compression: &str) -> Vec<u8> {
    let output = Command::new("tar")
        .args(["--create", compression, "--sort=name", "--owner=0", "--group=0", "--directory"])
        .arg(folder)
        .arg(format!("--transform=flags=r;s,^[.],{name},"))
        .arg(".")
        .output()
        .unwrap();
    // 1: a file changed meanwhile, as the count of links to it does where another test links it too.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
