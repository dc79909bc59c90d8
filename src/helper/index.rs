//! `omg-helper index`: reads a package system and writes the snapshot.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use omg::aur::read_archive;
use omg::index::{AUR, Builder, Entry, Fingerprint, Inputs, Meta, Version};
use omg::package::PackageDetails;

use crate::backend::{Backend, Error, System};

/// Where the snapshot goes.
pub enum Output {
    Stdout,
    /// Takes the place of this file, which readers see either as it was or complete.
    File(PathBuf),
}

/// The snapshot was read but could not be written.
#[derive(Debug)]
pub struct NotWritten {
    to: String,
    source: io::Error,
}

impl NotWritten {
    /// Whether there was no room for it: on the disk, in a quota, below a limit, in memory.
    pub fn for_want_of_room(&self) -> bool {
        omg::index::is_out_of_room(&self.source)
    }
}

impl std::fmt::Display for NotWritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot write the snapshot to {}", self.to)
    }
}

impl std::error::Error for NotWritten {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Measures the phases of one run.
pub struct Timings {
    started: Instant,
    last: Instant,
    print: bool,
}

impl Timings {
    fn new(print: bool) -> Self {
        let now = Instant::now();
        Self { started: now, last: now, print }
    }

    /// Ends a phase that began where the one before ended.
    pub fn phase(&mut self, name: &str) {
        let now = Instant::now();
        if self.print {
            eprintln!("{name}: {:.3} s", (now - self.last).as_secs_f64());
        }
        self.last = now;
    }

    fn total(&self) {
        if self.print {
            eprintln!("total: {:.3} s", self.started.elapsed().as_secs_f64());
        }
    }
}

/// Reads all packages through `backend` and writes them to `output`.
///
/// # Errors
/// Those of the backend, and [`NotWritten`].
pub fn write(
    backend: &dyn Backend,
    system: System,
    generation: u64,
    output: Output,
    timings: bool,
) -> Result<(), Error> {
    let mut timings = Timings::new(timings);
    // Before it is opened: another one that takes its place meanwhile differs from its stamp.
    let aur = Fingerprint::take(system.aur.clone());
    let (builder, read, fingerprint) = backend.read(&system, &mut timings)?;
    let sources = fingerprint.sources.into_iter().chain(aur.sources).collect();
    let root = system.root.map(|root| root.to_string_lossy().into_owned());
    let inputs = Inputs { aur: system.aur, ..Inputs::here(backend.name(), root, system.options) };
    let meta = Meta { inputs, generation, created: now(), ..read };
    put(builder, meta, &Fingerprint { sources }, output, timings)
}

/// Reads the AUR's archive and writes its packages to `output`.
///
/// # Errors
/// When it cannot be read, and [`NotWritten`].
pub fn write_aur(archive: &Path, generation: u64, output: Output, timings: bool) -> Result<(), Error> {
    let mut timings = Timings::new(timings);
    let fingerprint = Fingerprint::take([archive.to_owned()]);
    let file = File::open(archive).map_err(|error| format!("cannot read {}: {error}", archive.display()))?;
    let fetched = file.metadata()?.modified()?;
    let mut builder = Builder::new("");
    let unsound = read_archive(BufReader::new(file), |package| {
        let version = package.to_version();
        let entry = Entry {
            name: &package.name,
            preferred: true,
            candidate: Some(Version { version: &version.version, arch: "", repository: &version.repository }),
            summary: &version.summary,
            provides: &package.provided_names(),
            ..Entry::default()
        };
        builder.add(&entry, &PackageDetails { versions: vec![version.clone()], pin: None }).map(|_| ())
    })?;
    timings.phase(AUR);
    let mut warnings = Vec::new();
    if unsound > 0 {
        warnings.push(format!("{unsound} packages of the AUR are left out: their names or versions are not valid"));
    }
    let last_refresh = fetched.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let meta =
        Meta { inputs: Inputs::of_aur(archive), generation, created: now(), last_refresh, warnings, ..Meta::default() };
    put(builder, meta, &fingerprint, output, timings)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn put(
    builder: Builder,
    meta: Meta,
    fingerprint: &Fingerprint,
    output: Output,
    mut timings: Timings,
) -> Result<(), Error> {
    match output {
        Output::Stdout => {
            let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            builder
                .write(meta, fingerprint, &mut out)
                .map_err(|source| NotWritten { to: "the standard output".to_owned(), source })?;
        }
        Output::File(path) => replace(&path, |out| builder.write(meta, fingerprint, out))
            .map_err(|source| NotWritten { to: path.display().to_string(), source })?,
    }
    timings.phase("write");
    timings.total();
    Ok(())
}

/// Writes a new file next to `path`, syncs it and renames it over `path`, which must be a regular file or absent: a
/// device or a link is nothing that a snapshot may take the place of.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no regular file has this name"));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Created 0600 and exclusively; removed again when a step below fails.
    let mut file = tempfile::Builder::new().prefix(".snapshot-").tempfile_in(folder)?;
    write(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}
