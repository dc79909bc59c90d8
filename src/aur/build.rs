//! Builds a package base: sources fetched and checked, then, without a network, everything else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{FlockOperation, OFlags, flock};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::git::{Repository, remote_commit};
use super::keys::Keyring;
use super::record::{Build, Built, Record, Records};
use super::sandbox::{self, Folders, Network};
use super::srcinfo::{self, SrcInfo};
use super::{AurError, is_commit, is_package_name};

/// Lines of a log that an error shows.
const SHOWN_LINES: usize = 12;

/// Most bytes of a package file.
const MAX_PACKAGE: u64 = 8 << 30;

/// Most repositories whose newest commits a package base may be built from.
const MAX_FOLLOWED: usize = 64;

/// Bytes from the end of a log that these are looked for in.
const LOG_TAIL: u64 = 8 << 10;

/// Where everything of the AUR is kept, for one user.
#[derive(Debug, Clone)]
pub struct Workshop {
    /// `https://aur.archlinux.org`.
    pub address: String,
    /// Where keys are fetched from.
    pub keyserver: String,
    /// Clones and builds; may be deleted at any time.
    pub cache: PathBuf,
    /// Records and keys.
    pub data: PathBuf,
}

/// What a build says and asks.
pub trait Listener: Send {
    /// It enters a stage.
    fn stage(&mut self, stage: Stage, log: &Path);

    /// Whether the key with this fingerprint may be fetched and believed from now on.
    fn may_import(&mut self, key: &str) -> impl Future<Output = bool> + Send;
}

/// Where a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Sources are fetched and checked: `makepkg --verifysource`.
    Sources,
    /// Everything else.
    Building,
    /// Nothing was to be done: this commit is built already.
    Reused,
}

/// What somebody is to look at before a package base is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// The newest commit.
    pub commit: String,
    /// The one that was looked at before.
    pub reviewed: Option<String>,
    pub info: SrcInfo,
    /// As `git diff` tells it, from the one to the other; empty where they are the same. It is as hostile as any text.
    pub changes: Vec<u8>,
}

/// Keeps a package base to one process.
struct Held(#[expect(dead_code, reason = "the lock lasts as long as it is open")] File);

impl Workshop {
    fn folder(&self, base: &str) -> Result<PathBuf, AurError> {
        if is_package_name(base) {
            return Ok(self.cache.join("packages").join(base));
        }
        Err(AurError::Invalid(format!("{} is no package base", base.escape_debug())))
    }

    fn hold(&self, base: &str) -> Result<Held, AurError> {
        let folder = self.folder(base)?;
        let failed = |error: &io::Error| AurError::io(folder.display(), error);
        make(&folder)?;
        let file = File::create(folder.join("lock")).map_err(|error| failed(&error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Held(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(AurError::Busy(format!(
                "{base} is being fetched or built by another omg; try again when it is done"
            ))),
            Err(error) => Err(failed(&error.into())),
        }
    }

    pub fn records(&self) -> Records {
        Records::new(&self.data.join("aur/packages"))
    }

    fn repository(&self, base: &str) -> Result<Repository, AurError> {
        Repository::new(&self.address, base, &self.folder(base)?.join("git"))
    }

    async fn info(repository: &Repository, commit: &str, base: &str) -> Result<SrcInfo, AurError> {
        let text = repository.file(commit, srcinfo::FILE).await?;
        SrcInfo::read(&text, base).map_err(|refused| AurError::Unsound(format!("{base} is not built: {refused}")))
    }

    /// Fetches the newest commit, and what is to be looked at of it. Nothing of it is run.
    ///
    /// # Errors
    /// When it cannot be fetched, or is not such as may be built.
    pub async fn review(&self, base: &str) -> Result<Review, AurError> {
        let _held = self.hold(base)?;
        let repository = self.repository(base)?;
        let commit = repository.fetch().await?;
        let files = repository.files(&commit).await?;
        if !files.iter().any(|file| file == "PKGBUILD") {
            return Err(AurError::Unsound(format!("the repository of {base} has no PKGBUILD")));
        }
        let info = Self::info(&repository, &commit, base).await?;
        let mut reviewed = self.records().read(base)?.reviewed;
        let changes = match &reviewed {
            Some(reviewed) if *reviewed == commit => Vec::new(),
            Some(before) => match repository.changes(Some(before), &commit).await {
                Ok(changes) => changes,
                // The clone was deleted, and the history replaced.
                Err(_) if !repository.has(before).await => {
                    reviewed = None;
                    repository.changes(None, &commit).await?
                }
                Err(error) => return Err(error),
            },
            None => repository.changes(None, &commit).await?,
        };
        Ok(Review { commit, reviewed, info, changes })
    }

    /// Lets a commit be built: somebody `looked` at it, or wants it unseen.
    ///
    /// # Errors
    /// When there is no such commit, or this cannot be remembered.
    pub async fn accept(&self, base: &str, commit: &str, looked: bool) -> Result<(), AurError> {
        if !is_commit(commit) {
            return Err(AurError::Invalid("that is no commit".to_owned()));
        }
        self.repository(base)?.keep(commit).await?;
        let records = self.records();
        let mut record = records.read(base)?;
        record.accepted = Some(commit.to_owned());
        if looked {
            record.reviewed = Some(commit.to_owned());
        }
        records.write(base, &record)
    }

    /// Builds a commit that was accepted, unless that is done already and nothing that it follows has moved.
    ///
    /// # Errors
    /// When it was not accepted; when sources cannot be fetched or are not what they should be; when makepkg fails, with its
    /// last words and the log that has all of them.
    pub async fn build(&self, base: &str, commit: &str, listener: &mut impl Listener) -> Result<Vec<Built>, AurError> {
        let records = self.records();
        let record = records.read(base)?;
        if record.accepted.as_deref() != Some(commit) || !is_commit(commit) {
            return Err(AurError::Invalid(format!("{base}: commit {commit} was not reviewed, so it is not built")));
        }
        sandbox::check().await?;
        let _held = self.hold(base)?;
        let repository = self.repository(base)?;
        let info = Self::info(&repository, commit, base).await?;
        let followed = followed(&info).await?;
        let folder = self.folder(base)?;
        let out = folder.join("out");
        if let Some(built) = &record.built
            && built.commit == commit
            && built.followed == followed
            && sound(&out, &built.packages).await
        {
            listener.stage(Stage::Reused, &folder);
            return Ok(built.packages.clone());
        }
        let keyring = Keyring::open(&self.data.join("aur/keys"))?;
        if info.is_signed() {
            for key in keyring.missing(&info.keys).await? {
                if !listener.may_import(&key).await {
                    let text = format!(
                        "the sources of {base} are signed with the key {key}, which is not to be imported: they cannot be checked"
                    );
                    return Err(AurError::Untrusted(text));
                }
                keyring.fetch(&key, &self.keyserver).await?;
            }
        }
        // It would go on writing where this one begins.
        sandbox::end_others(base, &folder).await;
        let folders = Folders {
            start: folder.join("start"),
            sources: folder.join("sources"),
            work: folder.join("work"),
            out,
            keys: folder.join("keys"),
        };
        let mut fresh = vec![folders.start.clone(), folders.work.clone(), folders.out.clone(), folders.keys.clone()];
        // What another commit left among the sources could be followed by this one, which was not to blame for it.
        let tried = folder.join("tried");
        if fs::read(&tried).is_ok_and(|last| last == commit.as_bytes()) {
            make(&folders.sources)?;
        } else {
            fresh.push(folders.sources.clone());
        }
        apart(move || fresh.iter().try_for_each(|folder| make_empty(folder))).await?;
        fs::write(&tried, commit).map_err(|error| AurError::io(tried.display(), &error))?;
        keyring.copy_to(&folders.keys)?;
        repository.check_out(commit, &folders.start).await?;
        let logs = folder.join("logs");
        make(&logs)?;

        let log = logs.join("sources.log");
        listener.stage(Stage::Sources, &log);
        // Of what it depends on nothing is needed yet.
        let fetching = sandbox::makepkg(&folders, Network::Shared, &["--verifysource", "--nodeps", "--noconfirm"]);
        run(base, &folder, Stage::Sources, fetching, &log).await?;
        let log = logs.join("build.log");
        listener.stage(Stage::Building, &log);
        let building = sandbox::makepkg(&folders, Network::None, &["--holdver", "--noconfirm", "--nocolor"]);
        run(base, &folder, Stage::Building, building, &log).await?;

        let (left, described) = (folders.out.clone(), info.clone());
        let packages = apart(move || packages(&left, &described)).await?;
        let build = Build { commit: commit.to_owned(), packages: packages.clone(), followed };
        records.write(base, &Record { built: Some(build), ..records.read(base)? })?;
        // The sources stay; what was made of them is as large, and of no more use.
        let work = folders.work.clone();
        let _ = apart(move || remove(&work)).await;
        Ok(packages)
    }

    /// The packages of the last build of a commit, open for reading.
    ///
    /// # Errors
    /// When that is not what was built last, or a file is not as it was then.
    pub fn packages(&self, base: &str, commit: &str) -> Result<Vec<(Built, File)>, AurError> {
        let out = self.folder(base)?.join("out");
        let built = self.records().read(base)?.built.filter(|built| built.commit == commit);
        let built = built.ok_or_else(|| AurError::NotFound(format!("{base} was not built from commit {commit}")))?;
        built.packages.into_iter().map(|package| open(&out, &package).map(|file| (package, file))).collect()
    }
}

/// Work on files that may be many and large, away from what answers others.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T, AurError> + Send + 'static) -> Result<T, AurError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| Err(AurError::Failed(format!("a worker thread ended early: {error}"))))
}

/// Whether the packages are as they were built.
async fn sound(out: &Path, packages: &[Built]) -> bool {
    let (out, packages) = (out.to_owned(), packages.to_vec());
    apart(move || packages.iter().try_for_each(|package| open(&out, package).map(|_| ()))).await.is_ok()
}

/// Where the repositories stand whose newest commits would be built.
async fn followed(info: &SrcInfo) -> Result<Vec<(String, String, String)>, AurError> {
    let mut followed = Vec::new();
    let sources = info.followed();
    if sources.len() > MAX_FOLLOWED {
        let text = format!("{} follows {} repositories, more than {MAX_FOLLOWED}", info.base, sources.len());
        return Err(AurError::Unsound(text));
    }
    for (address, reference) in sources {
        // One that is not there fails where makepkg fetches it, which says more; of one that could not be asked it stays
        // unknown where it stood.
        match remote_commit(&address, &reference).await {
            Ok(Some(commit)) => followed.push((address, reference, commit)),
            Ok(None) => {}
            Err(_) => followed.push((address, reference, String::new())),
        }
    }
    Ok(followed)
}

/// Runs a stage to its end. Dropping the future kills it, and everything that it started with it.
async fn run(base: &str, folder: &Path, stage: Stage, command: Command, log: &Path) -> Result<(), AurError> {
    let failed = |error: &io::Error| AurError::io(log.display(), error);
    let to = File::create(log).map_err(|error| failed(&error))?;
    let also = to.try_clone().map_err(|error| failed(&error))?;
    let (mut command, mut unit) = sandbox::outside(command, base, folder);
    let mut child = command
        .stdout(Stdio::from(to))
        .stderr(Stdio::from(also))
        .spawn()
        .map_err(|error| AurError::Unavailable(format!("bwrap cannot be run: {error}")))?;
    let status = child.wait().await.map_err(|error| failed(&error))?;
    // Who follows the unit may itself be killed, with the unit left.
    if let Some(unit) = unit.as_mut().filter(|_| status.code().is_some()) {
        unit.ended();
    }
    if status.success() {
        return Ok(());
    }
    let tail = tail(log);
    let text = format!("{base} was not built, makepkg failed ({status}):\n{tail}\n{} has all of it", log.display());
    // In makepkg's own words: it has one exit status for all of it.
    let refused = ["did not pass the validity check", "PGP signatures could not be verified", "Integrity checks"];
    Err(match stage {
        Stage::Sources if refused.iter().any(|words| tail.contains(words)) => AurError::Untrusted(text),
        Stage::Sources if tail.contains("Failure while downloading") => AurError::Network(text),
        _ => AurError::Build(text),
    })
}

/// The last lines of a log, without what steers terminals.
fn tail(log: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let _ = file.seek(io::SeekFrom::Start(length.saturating_sub(LOG_TAIL)));
        let _ = file.take(LOG_TAIL).read_to_end(&mut bytes);
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.chars().map(|char| if char.is_control() { ' ' } else { char }).collect())
        .collect();
    let kept = lines.len().saturating_sub(SHOWN_LINES);
    lines.get(kept..).unwrap_or_default().join("\n")
}

/// Makes a folder for its owner alone.
pub(super) fn make(folder: &Path) -> Result<(), AurError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| AurError::io(folder.display(), &error))
}

fn make_empty(folder: &Path) -> Result<(), AurError> {
    remove(folder)?;
    make(folder)
}

/// Removes a folder that a build had.
fn remove(folder: &Path) -> Result<(), AurError> {
    super::remove::remove(folder).map_err(|error| AurError::io(folder.display(), &error))
}

/// The packages that a build left in its folder: those that the `.SRCINFO` names, and no others.
fn packages(out: &Path, info: &SrcInfo) -> Result<Vec<Built>, AurError> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(out).map_err(|error| AurError::io(out.display(), &error))?.flatten() {
        let Some(file) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let Some((name, version)) = package_file(&file) else { continue };
        if !info.packages.iter().any(|known| known == name) {
            continue;
        }
        let (name, version) = (name.to_owned(), version.to_owned());
        let mut built = Built { name, version, file, sha256: String::new() };
        built.sha256 = digest(&mut opened(out, &built)?).map_err(|error| AurError::io(&built.file, &error))?;
        packages.push(built);
    }
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    if packages.is_empty() {
        return Err(AurError::Build(format!("{} was built, but makepkg left no package", info.base)));
    }
    Ok(packages)
}

/// Name and version in `name-version-release-arch.pkg.tar.zst`.
fn package_file(file: &str) -> Option<(&str, &str)> {
    let (stem, _) = file.split_once(".pkg.tar")?;
    let (rest, _) = stem.rsplit_once('-')?;
    let (before, _) = rest.rsplit_once('-')?;
    let (name, _) = before.rsplit_once('-')?;
    let version = rest.get(name.len() + 1..)?;
    (is_package_name(name) && !version.is_empty() && !file.contains('/') && !file.ends_with(".sig"))
        .then_some((name, version))
}

/// Opens what the build calls a package, which it could have made into anything.
fn opened(out: &Path, package: &Built) -> Result<File, AurError> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(out.join(&package.file));
    let file = file.map_err(|error| AurError::io(&package.file, &error))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.nlink() == 1 && metadata.len() <= MAX_PACKAGE => Ok(file),
        _ => Err(AurError::Unsound(format!("{} is no package file", package.file))),
    }
}

/// Opens a package as it was built.
fn open(out: &Path, package: &Built) -> Result<File, AurError> {
    let mut file = opened(out, package)?;
    let digest = digest(&mut file).map_err(|error| AurError::io(&package.file, &error))?;
    if digest == package.sha256 {
        return Ok(file);
    }
    Err(AurError::Unsound(format!("{} is not what was built; build it again", package.file)))
}

/// SHA-256 of a file, which is at its beginning then.
fn digest(file: &mut File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
    file.rewind()?;
    Ok(hex::encode(hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_package_files_are_taken_apart() {
        assert_eq!(package_file("lib32-x-1:2.0.r3-1-x86_64.pkg.tar.zst"), Some(("lib32-x", "1:2.0.r3-1")));
        for file in ["x-1-1-any.pkg.tar.gz.sig", "x-1-any.pkg.tar.gz", "-x-1-1-any.pkg.tar", "a.tar", "1-1-any.pkg.tar"]
        {
            assert_eq!(package_file(file), None, "{file}");
        }
    }

    #[test]
    fn what_was_left_in_place_of_a_package_is_not_opened() {
        let out = tempfile::tempdir().expect("temporary folder");
        let info = SrcInfo { base: "x".into(), packages: vec!["x".into()], ..SrcInfo::default() };
        std::os::unix::fs::symlink("/etc/passwd", out.path().join("x-1-1-any.pkg.tar")).expect("linked");
        assert!(packages(out.path(), &info).is_err());
        fs::remove_file(out.path().join("x-1-1-any.pkg.tar")).expect("removed");
        fs::write(out.path().join("other-1-1-any.pkg.tar"), "x").expect("written");
        assert!(packages(out.path(), &info).is_err(), "the build made another package than it said");
        fs::write(out.path().join("x-1-1-any.pkg.tar"), "x").expect("written");
        let built = packages(out.path(), &info).expect("a package");
        assert_eq!(built.iter().map(|built| built.name.as_str()).collect::<Vec<_>>(), ["x"]);
        fs::write(out.path().join("x-1-1-any.pkg.tar"), "y").expect("written");
        assert!(open(out.path(), &built[0]).is_err(), "it was changed since");
    }
}
