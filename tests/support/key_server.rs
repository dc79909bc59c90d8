//! A key server, for gpg to fetch keys from.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A key server on the loopback interface that has one key.
pub struct KeyServer {
    pub port: u16,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl KeyServer {
    /// `listed` is what `gpg --with-colons` says of the key.
    pub fn new(key: String, listed: &str) -> Self {
        let field = |record: &str, number: usize| {
            let line = listed.lines().find(|line| line.split(':').next() == Some(record)).unwrap();
            line.split(':').nth(number).unwrap().to_owned()
        };
        let made = field("pub", 5);
        let index = format!("info:1:1\npub:{}:22:256:{made}::\nuid:{}:{made}::\n", field("fpr", 9), field("uid", 9));
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let mut reader = BufReader::new(&stream);
                let mut asked = String::new();
                let _ = reader.read_line(&mut asked);
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    line.clear();
                }
                let body = if asked.contains("op=get") { &key } else { &index };
                let length = body.len();
                let _ = write!(
                    &stream,
                    "HTTP/1.0 200 OK\r\nContent-Type: application/pgp-keys\r\nContent-Length: {length}\r\n\r\n{body}"
                );
            }
        });
        Self { port, over, thread: Some(thread) }
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
