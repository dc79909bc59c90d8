//! Package files that are installed: descriptors of the caller's, copied to where the caller cannot change them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use omg::transaction::{Failure, FailureKind, Request, Verb};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::super::System;

/// The largest package file, in bytes.
const MAX_SIZE: u64 = 8 << 30;

/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

/// The smallest descriptor that is not a standard stream.
const FIRST_DESCRIPTOR: i32 = 3;

/// Where root keeps the copies.
const ROOT_FOLDER: &str = "var/cache/omg";

/// A copied package file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    pub name: String,
    pub version: String,
    pub arch: String,
    pub path: PathBuf,
    /// Hexadecimal.
    pub sha256: String,
}

/// The copies of a request's package files, removed when dropped: in the order of its actions.
#[derive(Debug, Default)]
pub struct PackageFiles {
    pub files: Vec<PackageFile>,
    /// Holds the copies.
    _folder: Option<TempDir>,
}

impl PackageFiles {
    /// Copies the files of a request and reads what they are.
    ///
    /// # Errors
    /// Descriptors that are missing, are no regular files or hold no package, and errors of copying.
    pub fn copy(system: &System, request: &Request) -> Result<Self, Failure> {
        let actions: Vec<&str> = request
            .actions
            .iter()
            .filter(|action| action.verb() == Verb::InstallFile)
            .map(|action| action.target())
            .collect();
        if actions.len() != request.files.len() {
            let message = format!("{} package files were announced, {} came", actions.len(), request.files.len());
            return Err(invalid(message));
        }
        if actions.is_empty() {
            return Ok(Self::default());
        }
        let folder = folder(system)?;
        let mut files = Vec::new();
        for (number, (label, descriptor)) in actions.iter().zip(&request.files).enumerate() {
            let place = folder.path().join(number.to_string());
            DirBuilder::new().mode(0o700).create(&place).map_err(|error| broken(label, &error))?;
            files.push(one(label, *descriptor, &place)?);
        }
        Ok(Self { files, _folder: Some(folder) })
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(FailureKind::InvalidArgument, message)
}

fn broken(label: &str, error: &std::io::Error) -> Failure {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => FailureKind::DiskFull,
        _ => FailureKind::Internal,
    };
    Failure::new(kind, format!("the package file {label} cannot be copied: {error}"))
}

/// A folder that nobody else can look into.
fn folder(system: &System) -> Result<TempDir, Failure> {
    let place = if rustix::process::geteuid().is_root() {
        let place = system.root.as_deref().unwrap_or(Path::new("/")).join(ROOT_FOLDER);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&place).map(|()| place)
    } else {
        Ok(std::env::temp_dir())
    };
    place
        .and_then(std::path::absolute)
        .and_then(|place| tempfile::Builder::new().prefix("install-").tempdir_in(place))
        .map_err(|error| broken("folder", &error))
}

fn one(label: &str, descriptor: i32, place: &Path) -> Result<PackageFile, Failure> {
    let from = inherited(label, descriptor)?;
    let found = from.metadata().map_err(|error| broken(label, &error))?;
    if !found.is_file() {
        return Err(invalid(format!("{label} is no regular file")));
    }
    if found.size() == 0 || found.size() > MAX_SIZE {
        return Err(invalid(format!("{label} has {} bytes: that is no package", found.size())));
    }
    let copy = place.join("package.deb");
    let sha256 = copy_hashing(&from, found.size(), &copy).map_err(|error| broken(label, &error))?;
    let [name, version, arch] = control(label, &copy)?;
    // As apt names what it downloads: colons would read as an architecture.
    let path = place.join(format!("{name}_{}_{arch}.deb", version.replace(':', "%3a")));
    fs::rename(&copy, &path).map_err(|error| broken(label, &error))?;
    Ok(PackageFile { name, version, arch, path, sha256 })
}

/// A descriptor of its own for an inherited one. Not opened anew by a path: with rights that would read what the caller
/// may not.
fn inherited(label: &str, descriptor: i32) -> Result<File, Failure> {
    if descriptor < FIRST_DESCRIPTOR {
        return Err(invalid(format!("{label} comes as descriptor {descriptor}, which is none of a file")));
    }
    #[expect(unsafe_code, reason = "the request names descriptors by their bare numbers")]
    // SAFETY: only borrowed for the call that duplicates it, which fails when it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let own = borrowed.try_clone_to_owned();
    // What the caller passed is for this process, not for package scripts. One that is not open is told of below.
    let _ = rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC);
    own.map(File::from).map_err(|error| invalid(format!("{label} does not come as descriptor {descriptor}: {error}")))
}

/// Copies `size` bytes from the start, whatever the descriptor's position; the digest is that of the copy.
pub fn copy_hashing(from: &File, size: u64, to: &Path) -> std::io::Result<String> {
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    while at < size {
        let read = from.read_at(&mut chunk, at)?;
        let bytes = chunk.get(..read).filter(|bytes| !bytes.is_empty()).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        at += bytes.len() as u64;
        if at > size {
            return Err(std::io::Error::other("it grew meanwhile"));
        }
        hash.update(bytes);
        copy.write_all(bytes)?;
    }
    Ok(hex::encode(hash.finalize()))
}

/// Name, version and architecture in a package file's control record.
fn control(label: &str, path: &Path) -> Result<[String; 3], Failure> {
    const FIELDS: [&str; 3] = ["Package", "Version", "Architecture"];
    let output = Command::new("dpkg-deb")
        .arg("--field")
        .arg(path)
        .args(FIELDS)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::new(FailureKind::Internal, format!("dpkg-deb cannot be run: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or_default().replace(&path.display().to_string(), label);
        return Err(invalid(format!("{label} is no package: {said}")));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let value = |field: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(field)).map(|(_, value)| value.trim().to_owned())
    };
    let [name, version, arch] = FIELDS.map(|field| value(field).filter(|value| is_plain(value)));
    match (name, version, arch) {
        // dpkg reads names without regard to case, and apt files them in lower case.
        (Some(name), Some(version), Some(arch)) => Ok([name.to_ascii_lowercase(), version, arch]),
        _ => Err(invalid(format!("{label} is no package: its name, version or architecture is not valid"))),
    }
}

/// Whether it can be part of a file's name and be asked for.
pub fn is_plain(value: &str) -> bool {
    value.len() <= 200
        && value.starts_with(|first: char| first.is_ascii_alphanumeric())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.:~".contains(&byte))
}
