//! An AUR on the loopback interface: its metadata archive with validators, and its RPC.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    Well,
    /// The archive's second half is missing, and no length was told.
    CutShort,
    /// A page for people.
    Page,
    /// More than anybody wants.
    Endless,
    /// Takes the question and says nothing.
    Never,
    Error,
    /// Everything but for the archive.
    NoArchive,
    /// As that, and searches find more than it tells.
    TooMany,
}

#[derive(Debug)]
struct Shared {
    over: AtomicBool,
    answers: Mutex<Answers>,
    /// What the archive holds, packed, and its validator.
    archive: Mutex<(Vec<u8>, String)>,
    /// What the RPC knows.
    packages: Mutex<Vec<Value>>,
    /// What was asked for, with the validator given.
    requests: Mutex<Vec<(String, Option<String>)>>,
}

pub struct AurServer {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// An entry of the archive in its real shape.
pub fn entry(name: &str, version: &str, description: &str) -> Value {
    json!({
        "ID": 1, "Name": name, "PackageBaseID": 1, "PackageBase": name, "Version": version, "Description": description,
        "URL": format!("https://example.org/{name}"), "NumVotes": 12, "Popularity": 0.51, "OutOfDate": null,
        "Maintainer": "somebody", "Submitter": "somebody", "FirstSubmitted": 1_475_688_004, "LastModified": 1_733_946_186,
        "URLPath": format!("/cgit/aur.git/snapshot/{name}.tar.gz"), "Depends": ["glibc", "pacman>6"],
        "MakeDepends": ["git"], "License": ["MIT"],
    })
}

pub fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

impl AurServer {
    /// One whose archive and RPC have these packages.
    pub fn new(packages: &[Value]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            over: AtomicBool::new(false),
            answers: Mutex::new(Answers::Well),
            archive: Mutex::default(),
            packages: Mutex::default(),
            requests: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let mut connections = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.over.load(Ordering::Relaxed) {
                    break;
                }
                let shared = Arc::clone(&serving);
                connections.push(std::thread::spawn(move || {
                    // A client that goes away ends its connection and nothing else.
                    let _ = serve(&stream, &shared);
                }));
            }
            for connection in connections {
                let _ = connection.join();
            }
        });
        let server = Self { port, shared, thread: Some(thread) };
        server.publish(packages);
        server.tell(packages);
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes another archive.
    pub fn publish(&self, packages: &[Value]) {
        self.publish_packed(packed(&serde_json::to_vec(packages).unwrap()));
    }

    pub fn publish_packed(&self, archive: Vec<u8>) {
        let validator = format!("\"{:x}-{:x}\"", archive.len(), crc32fast::hash(&archive));
        *self.shared.archive.lock().unwrap() = (archive, validator);
    }

    /// What the RPC knows from now on.
    pub fn tell(&self, packages: &[Value]) {
        *self.shared.packages.lock().unwrap() = packages.to_vec();
    }

    pub fn set(&self, answers: Answers) {
        *self.shared.answers.lock().unwrap() = answers;
    }

    /// The validators that came with questions for the archive, in order.
    pub fn archive_requests(&self) -> Vec<Option<String>> {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter(|(path, _)| path.ends_with(".gz")).map(|(_, validator)| validator.clone()).collect()
    }

    /// The names in each question to the RPC.
    pub fn rpc_requests(&self) -> Vec<Vec<String>> {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter(|(path, _)| path.starts_with("/rpc/v5/info")).map(|(path, _)| asked(path)).collect()
    }

    /// Each search: the term, and what it looks at.
    pub fn searches(&self) -> Vec<String> {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter_map(|(path, _)| path.strip_prefix("/rpc/v5/search/")).map(str::to_owned).collect()
    }

    pub fn validator(&self) -> String {
        self.shared.archive.lock().unwrap().1.clone()
    }
}

impl Drop for AurServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn asked(path: &str) -> Vec<String> {
    let query = path.strip_prefix("/rpc/v5/info?").unwrap_or_else(|| panic!("no such question: {path}"));
    let name = |argument: &str| argument.strip_prefix("arg%5B%5D=").unwrap().replace("%2B", "+").replace("%40", "@");
    query.split('&').map(name).collect()
}

fn serve(mut stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream).lines();
    let Some(first) = lines.next().transpose()? else { return Ok(()) };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut validator = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("if-none-match")
        {
            validator = Some(value.trim().to_owned());
        }
    }
    shared.requests.lock().unwrap().push((path.clone(), validator.clone()));
    let answers = *shared.answers.lock().unwrap();
    let head = |stream: &mut &TcpStream, status: &str, more: &str| {
        write!(stream, "HTTP/1.1 {status}\r\n{more}Connection: close\r\n\r\n")
    };
    match answers {
        Answers::Never => {
            while !shared.over.load(Ordering::Relaxed) && *shared.answers.lock().unwrap() == Answers::Never {
                std::thread::sleep(Duration::from_millis(10));
            }
            return Ok(());
        }
        Answers::Error => return head(&mut stream, "503 Service Unavailable", "Content-Length: 0\r\n"),
        Answers::Page => {
            head(&mut stream, "200 OK", "Content-Type: text/html\r\n")?;
            return stream.write_all(b"<html>The AUR is being repaired.</html>");
        }
        Answers::Endless => {
            head(&mut stream, "200 OK", "")?;
            let part = [b'x'; 1 << 16];
            while !shared.over.load(Ordering::Relaxed) {
                stream.write_all(&part)?;
            }
            return Ok(());
        }
        Answers::NoArchive | Answers::TooMany if path.ends_with(".gz") => {
            return head(&mut stream, "404 Not Found", "Content-Length: 0\r\n");
        }
        Answers::Well | Answers::CutShort | Answers::NoArchive | Answers::TooMany => {}
    }
    if let Some(search) = path.strip_prefix("/rpc/v5/search/") {
        let (term, by) = search.split_once("?by=").unwrap();
        let known = shared.packages.lock().unwrap();
        let has = |package: &&Value, key: &str| package[key].as_str().unwrap_or_default().contains(term);
        let found: Vec<&Value> = known
            .iter()
            .filter(|package| has(package, "Name") || by == "name-desc" && has(package, "Description"))
            .collect();
        // As the AUR answers what finds more than 5000.
        let body = if answers == Answers::TooMany {
            json!({"error": "Too many package results.", "resultcount": 0, "results": [], "type": "error", "version": 5})
        } else {
            json!({"resultcount": found.len(), "results": found, "type": "search", "version": 5})
        };
        let body = body.to_string();
        head(&mut stream, "200 OK", &format!("Content-Length: {}\r\n", body.len()))?;
        return stream.write_all(body.as_bytes());
    }
    if path.starts_with("/rpc/") {
        let names = asked(&path);
        let known = shared.packages.lock().unwrap();
        let results: Vec<&Value> =
            known.iter().filter(|package| names.iter().any(|name| package["Name"] == **name)).collect();
        let body =
            json!({"resultcount": results.len(), "results": results, "type": "multiinfo", "version": 5}).to_string();
        head(&mut stream, "200 OK", &format!("Content-Length: {}\r\n", body.len()))?;
        return stream.write_all(body.as_bytes());
    }
    if path != "/packages-meta-ext-v1.json.gz" {
        return head(&mut stream, "404 Not Found", "Content-Length: 0\r\n");
    }
    let (archive, current) = shared.archive.lock().unwrap().clone();
    if validator.as_ref() == Some(&current) {
        return head(&mut stream, "304 Not Modified", &format!("ETag: {current}\r\n"));
    }
    head(&mut stream, "200 OK", &format!("ETag: {current}\r\nContent-Type: application/gzip\r\n"))?;
    let length = if answers == Answers::CutShort { archive.len() / 2 } else { archive.len() };
    stream.write_all(&archive[..length])
}
