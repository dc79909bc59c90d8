//! An AUR: package bases as real git repositories over http (git http-backend), and its RPC.

// Each target uses its part.
#![allow(dead_code, reason = "shared by test targets that each use a part")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::debian_root::run;

/// Lives as long as the test program.
#[derive(Clone)]
pub struct AurServer {
    pub port: u16,
    folder: Arc<tempfile::TempDir>,
    /// By name.
    packages: Arc<Mutex<BTreeMap<String, Value>>>,
    /// Paths that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
    has_archive: Arc<Mutex<bool>>,
}

impl AurServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            folder: Arc::new(tempfile::tempdir().unwrap()),
            packages: Arc::default(),
            asked: Arc::default(),
            has_archive: Arc::default(),
        };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(&stream));
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn was_asked_for(&self, path: &str) -> bool {
        self.asked.lock().unwrap().iter().any(|asked| asked == path)
    }

    pub fn forget_requests(&self) {
        self.asked.lock().unwrap().clear();
    }

    fn git(&self, folder: &Path) -> Command {
        let mut command = Command::new("git");
        command.current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "t").env(format!("GIT_{who}_EMAIL"), "t@example.org");
        }
        command
    }

    /// Adds a commit with exactly these files; its name.
    pub fn commit(&self, repository: &str, files: &[(&str, &str)]) -> String {
        let folder = self.work(repository);
        if !folder.exists() {
            fs::create_dir_all(&folder).unwrap();
            run(self.git(&folder).args(["init", "--quiet", "--initial-branch=master"]));
        }
        for entry in fs::read_dir(&folder).unwrap().flatten().filter(|entry| entry.file_name() != ".git") {
            fs::remove_file(entry.path()).unwrap();
        }
        for (path, contents) in files {
            fs::write(folder.join(path), contents).unwrap();
        }
        run(self.git(&folder).args(["add", "--all"]));
        run(self.git(&folder).args(["commit", "--quiet", "--allow-empty", "-m", "x"]));
        run(self.git(&folder).args(["rev-parse", "HEAD"])).trim().to_owned()
    }

    fn work(&self, repository: &str) -> PathBuf {
        self.folder.path().join(format!("{repository}.git"))
    }

    /// Publishes a package base with its `.SRCINFO`, which the RPC answers are made from.
    pub fn publish(&self, base: &str, srcinfo: &str, files: &[(&str, &str)]) -> String {
        let commit = self.commit(base, &[files, &[(".SRCINFO", srcinfo)]].concat());
        let mut packages = self.packages.lock().unwrap();
        for package in described(base, srcinfo) {
            packages.insert(package["Name"].as_str().unwrap().to_owned(), package);
        }
        commit
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':') {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
        }
        let mut body = Vec::new();
        if let Some(length) = headers.get("content-length").and_then(|length| length.parse::<u64>().ok()) {
            let _ = (&mut reader).take(length).read_to_end(&mut body);
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        self.asked.lock().unwrap().push(path.to_owned());
        let answer = if path.starts_with("/rpc/v5/") {
            let text = match path.strip_prefix("/rpc/v5/search/") {
                Some(term) => self.search(term, query),
                None => self.info(query),
            };
            let text = text.to_string();
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
                .into_bytes()
        } else if path == "/packages-meta-ext-v1.json.gz" && *self.has_archive.lock().unwrap() {
            let packages = self.packages.lock().unwrap();
            let text = serde_json::to_vec(&packages.values().collect::<Vec<_>>()).unwrap();
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(&text).unwrap();
            let packed = packed.finish().unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", packed.len());
            [head.into_bytes(), packed].concat()
        } else if path.contains(".git/") {
            self.backend(&method, path, query, &headers, &body)
        } else {
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
        };
        let _ = (&mut &*stream).write_all(&answer);
    }

    /// Gives an archive too, from now on.
    pub fn give_archive(&self) {
        *self.has_archive.lock().unwrap() = true;
    }

    /// As the AUR's: what it finds has no relations.
    fn search(&self, term: &str, query: &str) -> Value {
        let error = |text: &str| json!({"error": text, "resultcount": 0, "results": [], "type": "error", "version": 5});
        if term.len() < 2 {
            return error("Query arg too small.");
        }
        let packages = self.packages.lock().unwrap();
        let of = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().contains(term);
        let found = |package: &&Value| match query {
            "by=provides" => package["Provides"]
                .as_array()
                .unwrap()
                .iter()
                .any(|provided| provided.as_str().unwrap().split('=').next() == Some(term)),
            "by=name" => of(package, "Name"),
            "by=name-desc" => of(package, "Name") || of(package, "Description"),
            other => panic!("no such search: {other}"),
        };
        let mut results: Vec<Value> = packages.values().filter(found).cloned().collect();
        for result in &mut results {
            for relation in ["Depends", "MakeDepends", "CheckDepends", "Conflicts", "Provides"] {
                result.as_object_mut().unwrap().remove(relation);
            }
        }
        json!({"resultcount": results.len(), "results": results, "type": "search", "version": 5})
    }

    fn info(&self, query: &str) -> Value {
        let packages = self.packages.lock().unwrap();
        let names = query.split('&').filter_map(|part| part.strip_prefix("arg%5B%5D="));
        let results: Vec<&Value> = names.filter_map(|name| packages.get(&name.replace("%2B", "+"))).collect();
        json!({"resultcount": results.len(), "results": results, "type": "multiinfo", "version": 5})
    }

    fn backend(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &BTreeMap<String, String>,
        body: &[u8],
    ) -> Vec<u8> {
        // A repository with a work tree has its own in a folder in it.
        let path = path.replacen(".git/", ".git/.git/", 1);
        let header = |name: &str| headers.get(name).map_or("", String::as_str);
        let mut child = self
            .git(self.folder.path())
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", self.folder.path())
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", &path)
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", method)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("GIT_PROTOCOL", header("git-protocol"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(body).unwrap();
        let output = child.wait_with_output().unwrap().stdout;
        let split = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(0);
        let head = String::from_utf8_lossy(&output[..split]).into_owned();
        let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
        let mut answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{head}\r\n\r\n").into_bytes();
        answer.extend_from_slice(output.get(split + 4..).unwrap_or_default());
        answer
    }
}

/// What the RPC says of the packages that a `.SRCINFO` describes.
fn described(base: &str, srcinfo: &str) -> Vec<Value> {
    let mut shared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut packages: Vec<(String, BTreeMap<String, Vec<String>>)> = Vec::new();
    for (key, value) in srcinfo.lines().filter_map(|line| line.trim().split_once(" = ")) {
        if key == "pkgname" {
            packages.push((value.to_owned(), BTreeMap::new()));
        }
        let fields = packages.last_mut().map_or(&mut shared, |(_, fields)| fields);
        fields.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    let one = |key: &str| shared.get(key).and_then(|values| values.first()).map_or("", String::as_str);
    let version = format!("{}-{}", one("pkgver"), one("pkgrel"));
    let told = |(name, own): &(String, BTreeMap<String, Vec<String>>)| {
        let of = |key: &str| own.get(key).or_else(|| shared.get(key)).cloned().unwrap_or_default();
        json!({
            "ID": 1, "Name": name, "PackageBaseID": 1, "PackageBase": base, "Version": version, "Description": "x",
            "NumVotes": 1, "Popularity": 0.5, "OutOfDate": null, "Maintainer": "t", "FirstSubmitted": 1, "LastModified": 1,
            "Depends": of("depends"), "MakeDepends": of("makedepends"), "CheckDepends": of("checkdepends"),
            "Conflicts": of("conflicts"), "Provides": of("provides"), "Keywords": [], "License": [],
        })
    };
    packages.iter().map(told).collect()
}
