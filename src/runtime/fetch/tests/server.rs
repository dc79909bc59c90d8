//! A server on the loopback interface. Each request has a connection of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// By its name in small letters.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }
}

#[derive(Debug, Clone)]
pub(super) struct Reply {
    status: String,
    headers: String,
    body: Vec<u8>,
    length: bool,
    /// Bytes of the body that are sent.
    sent: usize,
    stalls: bool,
    endless: bool,
    slow: bool,
}

impl Reply {
    pub(super) fn new(status: &str, body: &[u8]) -> Self {
        let (status, headers, sent) = (status.to_owned(), String::new(), body.len());
        Self { status, headers, body: body.to_owned(), length: true, sent, stalls: false, endless: false, slow: false }
    }

    pub(super) fn ok(body: &[u8]) -> Self {
        Self::new("200 OK", body)
    }

    pub(super) fn header(mut self, line: &str) -> Self {
        self.headers.push_str(line);
        self.headers.push_str("\r\n");
        self
    }

    pub(super) fn without_length(mut self) -> Self {
        self.length = false;
        self
    }

    pub(super) fn cut(mut self, sent: usize) -> Self {
        self.sent = sent;
        self
    }

    /// Nothing more comes, and the connection stays.
    pub(super) fn stalling(mut self) -> Self {
        self.stalls = true;
        self
    }

    pub(super) fn endless(mut self) -> Self {
        self.endless = true;
        self.without_length()
    }

    pub(super) fn slow(mut self) -> Self {
        self.slow = true;
        self
    }
}

type Answer = dyn Fn(usize, &Request) -> Reply + Send + Sync;

struct Shared {
    over: AtomicBool,
    requests: Mutex<Vec<Request>>,
    answer: Box<Answer>,
}

pub(super) struct Server {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `answer` is given the number of the request, from 0.
    pub(super) fn new(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (over, requests) = (AtomicBool::new(false), Mutex::default());
        let shared = Arc::new(Shared { over, requests, answer: Box::new(answer) });
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
        Self { port, shared, thread: Some(thread) }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream).lines();
    let Some(first) = lines.next().transpose()? else { return Ok(()) };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request { path, headers: Vec::new() };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let number = {
        let mut requests = shared.requests.lock().unwrap();
        requests.push(request.clone());
        requests.len() - 1
    };
    let reply = (shared.answer)(number, &request);
    write!(stream, "HTTP/1.1 {}\r\n{}", reply.status, reply.headers)?;
    if reply.length && !reply.status.starts_with("304") {
        write!(stream, "Content-Length: {}\r\n", reply.body.len())?;
    }
    stream.write_all(b"Connection: close\r\n\r\n")?;
    let body = &reply.body[..reply.sent.min(reply.body.len())];
    if reply.slow {
        let (start, rest) = body.split_at(body.len() / 2);
        stream.write_all(start)?;
        std::thread::sleep(Duration::from_millis(150));
        stream.write_all(rest)?;
    } else {
        stream.write_all(body)?;
    }
    // A client whose runtime is blocked, as by the end of a test, closes nothing.
    stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    while reply.endless && !shared.over.load(Ordering::Relaxed) {
        stream.write_all(&[b'x'; 1 << 16])?;
    }
    while reply.stalls && !shared.over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
