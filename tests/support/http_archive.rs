//! A server on the loopback interface that serves a folder, and some files badly.

// Each target uses its part.
#![allow(dead_code, reason = "shared by test targets that each use a part")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What happens to requests for packages, not for lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    Well,
    /// Half of the file comes, and then nothing.
    Stalling,
    NotFound,
    /// The connection ends half way.
    BreakingOff,
}

pub struct Server {
    port: u16,
    over: Arc<AtomicBool>,
    /// Requests for packages so far.
    requests: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn new(folder: &Path, serving: Serving) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (over, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (is_over, counted, folder) = (Arc::clone(&over), Arc::clone(&requests), folder.to_owned());
        let thread = std::thread::spawn(move || {
            let mut connections = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let (is_over, counted, folder) = (Arc::clone(&is_over), Arc::clone(&counted), folder.clone());
                connections.push(std::thread::spawn(move || {
                    // A client that goes away ends its connection and nothing else.
                    let _ = serve(&stream, &folder, serving, &is_over, &counted);
                }));
            }
            for connection in connections {
                let _ = connection.join();
            }
        });
        Self { port, over, requests, thread: Some(thread) }
    }

    pub fn source(&self) -> String {
        format!("deb [signed-by=/etc/apt/test.gpg] {}/ ./\n", self.address())
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The name that `%xx` in an address stands for.
fn decoded(name: &str) -> String {
    let mut parts = name.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).unwrap()
}

fn serve(
    mut stream: &TcpStream,
    folder: &Path,
    serving: Serving,
    over: &AtomicBool,
    requests: &AtomicUsize,
) -> std::io::Result<()> {
    // A connection that is kept open must not outlive the test.
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut lines = BufReader::new(stream);
    let mut path: Option<PathBuf> = None;
    let mut line = String::new();
    while !over.load(Ordering::Relaxed) {
        match lines.read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(error),
        }
        if let Some(rest) = line.strip_prefix("GET /") {
            path = rest.split(' ').next().map(|name| folder.join(decoded(name.trim_start_matches("./"))));
        }
        let is_end = line.trim().is_empty();
        line.clear();
        if !is_end {
            continue;
        }
        let Some(path) = path.take() else { return Ok(()) };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_package = name.ends_with(".deb") || name.contains(".pkg.tar");
        if is_package {
            requests.fetch_add(1, Ordering::Relaxed);
        }
        let found = std::fs::read(&path).ok().filter(|_| !is_package || serving != Serving::NotFound);
        let Some(body) = found else {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())?;
        if !is_package || serving == Serving::Well {
            stream.write_all(&body)?;
            continue;
        }
        stream.write_all(&body[..body.len() / 2])?;
        if serving == Serving::BreakingOff {
            return stream.shutdown(std::net::Shutdown::Both);
        }
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}
