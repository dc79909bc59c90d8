//! The program mise: the system's own, or one that was fetched, checked and kept.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::Mutex;

use super::super::fetch::{Download, FetchError, Http, Progress};
use super::super::manager::{Listener, Stage};
use super::super::native::apart;
use super::super::sources::SourceError;
use super::super::verify::{self, Keyring};
use super::super::{Arch, Host, Libc, Runtime, RuntimeError};

/// Where releases of mise are told and kept.
pub const DEFAULT_BASE: &str = "https://github.com/jdx/mise/releases";

/// Longest listing of checksums, bytes.
const MAX_LISTING: u64 = 1 << 20;

/// Where mise is found.
#[derive(Debug)]
pub struct MiseProgram {
    /// Its folders, and the program when it was fetched.
    home: PathBuf,
    base: String,
    keys: Keyring,
    host: Option<Host>,
    http: Arc<Http>,
    found: Mutex<Option<PathBuf>>,
}

/// What `latest` of the releases tells.
#[derive(Debug, Deserialize)]
struct Latest {
    tag_name: String,
}

struct Hearing<'a>(Option<&'a dyn Listener>);

impl Progress for Hearing<'_> {
    fn bytes(&self, done: u64, total: Option<u64>) {
        if let Some(listener) = self.0 {
            listener.bytes("mise", done, total);
        }
    }

    fn note(&self, text: &str) {
        if let Some(listener) = self.0 {
            listener.note(text);
        }
    }
}

impl MiseProgram {
    /// `home` is the folder `mise` of the data.
    pub fn new(home: PathBuf, base: &str, keys: Keyring, host: Option<Host>, http: Arc<Http>) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self { home, base, keys, host, http, found: Mutex::new(None) }
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Where the program is; fetched first where there is none, but not `offline`.
    ///
    /// # Errors
    /// When there is none and it cannot be fetched, or is not what its maker published.
    pub async fn path(&self, offline: bool, listener: Option<&dyn Listener>) -> Result<PathBuf, RuntimeError> {
        let mut found = self.found.lock().await;
        if let Some(path) = found.as_ref().filter(|path| path.exists()) {
            return Ok(path.clone());
        }
        let own = self.home.join("mise");
        let path = match on_path("mise") {
            Some(path) => path,
            None if own.exists() => own,
            None if offline => return Err(RuntimeError::Mise("it is not installed here".to_owned())),
            None => self.fetch(listener).await?,
        };
        Ok(found.insert(path).clone())
    }

    async fn fetch(&self, listener: Option<&dyn Listener>) -> Result<PathBuf, RuntimeError> {
        let host = self.host.ok_or(RuntimeError::Machine)?;
        let arch = match host.arch {
            Arch::X86_64 => "x64",
            Arch::Aarch64 => "arm64",
        };
        let libc = match host.libc {
            Libc::Glibc => "",
            Libc::Musl => "-musl",
        };
        if let Some(listener) = listener {
            let runtime = Runtime::Other("mise".to_owned());
            listener.note("mise is not installed: fetching it");
            listener.stage(&runtime, Stage::Fetching);
        }
        let latest = format!("{}/latest", api(&self.base));
        let unreadable = |reason: String| SourceError::Unreadable { url: latest.clone(), reason };
        let told = self.http.small(&latest, MAX_LISTING).await?;
        let told: Latest = serde_json::from_slice(&told).map_err(|error| unreadable(error.to_string()))?;
        let tag = told.tag_name;
        if !tag.starts_with('v') || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)) {
            return Err(unreadable(format!("{tag:?} is no version")).into());
        }
        let folder = format!("{}/download/{tag}", self.base);
        let name = format!("mise-{tag}-linux-{arch}{libc}");
        let signed = format!("{folder}/SHASUMS256.asc");
        let wrong = |source| RuntimeError::Verify { file: "SHASUMS256.asc".to_owned(), source };
        let listing = self.http.small(&signed, MAX_LISTING).await.map_err(|error| match error {
            FetchError::NotFound(_) => {
                let reason = format!("{signed}, which vouches for it, is not there");
                RuntimeError::Source(SourceError::Untrusted { what: name.clone(), reason })
            }
            error => error.into(),
        })?;
        let (listing, signer) = self.keys.cleartext(&listing).map_err(wrong)?;
        let sha256 = verify::listed(&listing, &name).map_err(wrong)?;
        let download =
            Download { url: format!("{folder}/{name}"), name: name.clone(), size: None, sha256: Some(sha256) };
        let mut fetched = self.http.download(&download, &Hearing(listener)).await?;
        if let Some(listener) = listener {
            listener.note(&format!("{name} is listed in SHASUMS256.asc, signed by {}", signer.fingerprint));
        }
        let own = self.home.join("mise");
        let home = self.home.clone();
        apart(move || {
            fs::create_dir_all(&home).map_err(RuntimeError::io(&home))?;
            let mut copy = tempfile::NamedTempFile::new_in(&home).map_err(RuntimeError::io(&home))?;
            std::io::copy(&mut fetched.file, &mut copy).map_err(RuntimeError::io(&home))?;
            let executable = fs::Permissions::from_mode(0o755);
            copy.as_file().set_permissions(executable).map_err(RuntimeError::io(&home))?;
            copy.as_file().sync_all().map_err(RuntimeError::io(&home))?;
            copy.persist(&own).map_err(|error| RuntimeError::io(&own)(error.error))?;
            Ok(own)
        })
        .await
    }
}

/// Where GitHub tells of releases, for the address where it has their files; elsewhere the same.
fn api(base: &str) -> String {
    match base.strip_prefix("https://github.com/") {
        Some(repository) => format!("https://api.github.com/repos/{repository}"),
        None => base.to_owned(),
    }
}

/// The program of this name on `PATH`, in an absolute folder.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
}
