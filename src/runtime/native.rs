//! Runtimes that are fetched from their makers, checked and laid out here.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::fetch::{Downloaded, Http, Progress};
use super::layout::{Held, Layout};
use super::manager::{Asking, Installed, Listener, RuntimeManager, Stage, Wanted};
use super::record::{Record, RecordedPart};
use super::sources::{At, Check, Part, Source, SourceError, Told};
use super::unpack::{self, Limits, UnpackError};
use super::verify::{Keyring, TrustedRoot};
use super::{Host, Native, Release, Request, Runtime, RuntimeError, Version, room};

/// How often a lock that another holds is tried again.
pub(super) const LOCK_POLL: Duration = Duration::from_millis(100);

/// Where a runtime is fetched from and how it is kept.
#[derive(Debug)]
pub struct NativeManager {
    runtime: Runtime,
    source: Arc<dyn Source>,
    /// Without a slash at its end.
    base: String,
    keys: Keyring,
    root: TrustedRoot,
    host: Option<Host>,
    http: Arc<Http>,
    /// One that asks nobody.
    cached: Arc<Http>,
    layout: Layout,
}

/// How far the archives of one installation are.
struct Hearing {
    listener: Arc<dyn Listener>,
    name: String,
}

impl Progress for Hearing {
    fn bytes(&self, done: u64, total: Option<u64>) {
        self.listener.bytes(&self.name, done, total);
    }

    fn note(&self, text: &str) {
        self.listener.note(text);
    }
}

/// An upstream with how it is asked, for a thread of its own: indexes are large, and reading them takes a while.
struct Asked {
    source: Arc<dyn Source>,
    http: Arc<Http>,
    base: String,
    keys: Keyring,
    root: TrustedRoot,
    host: Host,
    unverified: bool,
    wanted: Option<Request>,
    fresh: Duration,
}

impl Asked {
    fn at(&self) -> At<'_> {
        At {
            http: &self.http,
            base: &self.base,
            host: self.host,
            keys: &self.keys,
            root: &self.root,
            unverified: self.unverified,
            wanted: self.wanted.as_ref(),
            fresh: self.fresh,
        }
    }
}

/// Tells the thread that unpacks to stop when nobody waits for it any more.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl NativeManager {
    /// `http` asks servers, `cached` nobody; `host` is what is fetched for, `None` where nothing is.
    pub fn new(
        source: Arc<dyn Source>,
        base: String,
        (keys, root): (Keyring, TrustedRoot),
        host: Option<Host>,
        (http, cached): (Arc<Http>, Arc<Http>),
        layout: Layout,
    ) -> Self {
        Self { runtime: source.native().into(), source, base, keys, root, host, http, cached, layout }
    }

    fn asked(&self, http: &Arc<Http>, unverified: bool, fresh: Duration) -> Result<Asked, RuntimeError> {
        Ok(Asked {
            source: Arc::clone(&self.source),
            http: Arc::clone(http),
            base: self.base.clone(),
            keys: self.keys.clone(),
            root: self.root.clone(),
            host: self.host.ok_or(RuntimeError::Machine)?,
            unverified,
            wanted: None,
            fresh,
        })
    }

    /// What there is, the lowest version first; where only one thing is looked for, perhaps no more than has it.
    async fn releases(&self, asking: Asking, wanted: Option<&Request>) -> Result<Vec<Release>, RuntimeError> {
        let (http, fresh) = match asking {
            Asking::Cached => (&self.cached, Duration::MAX),
            Asking::Usual => (&self.http, super::FRESH),
            Asking::Fresh => (&self.http, Duration::ZERO),
        };
        let asked = Asked { wanted: wanted.cloned(), ..self.asked(http, false, fresh)? };
        let here = Handle::current();
        apart(move || {
            let mut releases = here.block_on(asked.source.releases(&asked.at()))?;
            releases.sort_by(|one, other| one.version.cmp(&other.version));
            Ok(releases)
        })
        .await
    }

    async fn parts(&self, release: &Release, wanted: &Wanted) -> Result<Vec<Part>, RuntimeError> {
        let asked = self.asked(&self.http, wanted.unverified, super::FRESH)?;
        let (release, extras, here) = (release.clone(), wanted.extras.clone(), Handle::current());
        apart(move || Ok(here.block_on(asked.source.parts(&asked.at(), &release, &extras))?)).await
    }

    fn installed(&self) -> Result<Vec<Version>, RuntimeError> {
        self.layout.installed(&self.runtime).map_err(RuntimeError::io(self.layout.versions()))
    }

    fn have(&self, version: &Version) -> Option<Installed> {
        let folder = self.layout.folder(&self.runtime, version);
        let is_there = self.layout.is_installed(&self.runtime, version);
        is_there.then(|| Installed { version: version.clone(), folder, is_new: false, unverified: Vec::new() })
    }

    /// The release that is wanted, or one that is installed and will do.
    async fn resolve(
        &self,
        wanted: &Wanted,
        listener: &dyn Listener,
    ) -> Result<Result<Release, Version>, RuntimeError> {
        let request = &wanted.request;
        let best = self.layout.best_of(&self.runtime, &self.installed()?, request);
        if let Some(best) = best.clone().filter(|_| !wanted.newest && !request.is_moving()) {
            return Ok(Err(best));
        }
        // What is left there is somebody else's.
        drop(self.http.notes());
        let releases = match self.releases(Asking::Usual, Some(request)).await {
            Ok(releases) => releases,
            Err(error) => match best {
                Some(best) => {
                    listener.note(&format!("{error}; the best that is installed is {} {best}", self.runtime));
                    return Ok(Err(best));
                }
                None => return Err(error),
            },
        };
        self.http.notes().iter().for_each(|note| listener.note(note));
        let chosen = request.choose(&releases).cloned();
        let chosen = match chosen {
            Some(chosen) => chosen,
            // Something that came out within the hour.
            None => {
                let releases = self.releases(Asking::Fresh, Some(request)).await?;
                self.http.notes().iter().for_each(|note| listener.note(note));
                if let (true, Some(runtime), Some(host)) = (releases.is_empty(), self.runtime.native(), self.host) {
                    return Err(SourceError::NotOffered { runtime, version: request.to_string(), host }.into());
                }
                let by_name = match request {
                    // Indexes list some of the days that Rust has: its manifests tell whether there is one.
                    Request::Exact(version) if self.source.has_unlisted() => Some(Release::of(version.clone())),
                    _ => None,
                };
                request.choose(&releases).cloned().or(by_name).ok_or_else(|| {
                    let near = Request::Latest.choose(&releases).map(|release| release.version.as_str().to_owned());
                    RuntimeError::NoSuchVersion { runtime: self.runtime.clone(), request: request.to_string(), near }
                })?
            }
        };
        Ok(Ok(chosen))
    }

    async fn hold(&self, version: &Version, listener: Option<&dyn Listener>) -> Result<Held, RuntimeError> {
        let mut untold = listener;
        loop {
            if let Some(held) = self.layout.try_hold(&self.runtime, version)? {
                return Ok(held);
            }
            if let Some(listener) = untold.take() {
                listener.stage(&self.runtime, Stage::Waiting);
            }
            sleep(LOCK_POLL).await;
        }
    }

    /// Fetches all parts, several at once; in the order of the parts.
    async fn fetch(&self, parts: &[Part], listener: &Arc<dyn Listener>) -> Result<Vec<Downloaded>, RuntimeError> {
        let mut running = JoinSet::new();
        for (index, part) in parts.iter().enumerate() {
            let (http, download) = (Arc::clone(&self.http), part.download.clone());
            let hearing = Hearing { listener: Arc::clone(listener), name: download.name.clone() };
            running.spawn(async move { (index, http.download(&download, &hearing).await) });
        }
        let mut fetched: HashMap<usize, Downloaded> = HashMap::new();
        while let Some(ended) = running.join_next().await {
            let (index, downloaded) = ended.map_err(|error| RuntimeError::Worker(error.to_string()))?;
            fetched.insert(index, downloaded?);
        }
        Ok((0..parts.len()).filter_map(|index| fetched.remove(&index)).collect())
    }

    /// Checks what was fetched; how, for the record.
    fn check(
        keys: &Keyring,
        part: &mut Part,
        file: &mut Downloaded,
        unverified: bool,
    ) -> Result<Vec<String>, RuntimeError> {
        let mut told = Vec::new();
        for check in &mut part.checks {
            told.push(match check {
                Check::Checksum { listed_in } => format!("SHA-256 listed in {listed_in}"),
                Check::SignedListing { listing, fingerprint, owner } => {
                    format!("{listing} signed by {fingerprint} ({owner})")
                }
                Check::Provenance { from, workflow, commit } => match commit {
                    Some(commit) => format!("{from}: built by {workflow} from commit {commit}"),
                    None => format!("{from}: built by {workflow}"),
                },
                Check::Detached { signature, from } => {
                    use std::io::Seek;
                    let verify = |source| RuntimeError::Verify { file: part.download.name.clone(), source };
                    let checked = keys.detached(&mut file.file, signature);
                    file.file.rewind().map_err(RuntimeError::io(&file.path))?;
                    match checked {
                        Ok(signer) => format!("{from} by {} ({})", signer.fingerprint, signer.owner),
                        // Nothing speaks against it: only nobody known vouches for it.
                        Err(lack) if unverified && lack.is_lack() => {
                            let reason = format!("{from}: {lack}");
                            *check = Check::Unverified { reason: reason.clone() };
                            format!("not verified: {reason}")
                        }
                        Err(lack) if lack.is_lack() => {
                            let (what, reason) = (part.download.name.clone(), format!("{from}: {lack}"));
                            return Err(SourceError::Unverifiable { what, reason }.into());
                        }
                        Err(wrong) => return Err(verify(wrong)),
                    }
                }
                Check::Unverified { reason } => format!("not verified: {reason}"),
            });
        }
        Ok(told)
    }

    /// Unpacks the parts below `staged`.
    fn unpack(
        parts: &[Part],
        files: &mut [Downloaded],
        staged: &Path,
        stopped: &AtomicBool,
    ) -> Result<(), RuntimeError> {
        let alone = parts.len() == 1;
        for (index, (part, file)) in parts.iter().zip(files).enumerate() {
            // Nothing that one archive has laid out is in the way of the next one.
            let into = if alone { staged.to_owned() } else { staged.join(format!(".part-{index}")) };
            if !alone {
                fs::create_dir(&into).map_err(RuntimeError::io(&into))?;
            }
            let place = |path: &Path| part.place.of(path);
            let unpacked = unpack::unpack(&mut file.file, part.format, &into, &place, &Limits::default(), stopped);
            unpacked.map_err(|source| match source {
                UnpackError::Stopped => RuntimeError::Cancelled,
                source => RuntimeError::Unpack { file: part.download.name.clone(), source },
            })?;
            if !alone {
                merge(&into, staged)?;
            }
        }
        Ok(())
    }

    fn check_room(&self, parts: &[Part]) -> Result<(), RuntimeError> {
        // Nothing more is fetched, and what is here tells more.
        if self.http.is_offline() { Ok(()) } else { room::before_fetching(parts, &self.http, self.layout.versions()) }
    }

    /// Fetches the parts and checks them; the files, and what there is to record.
    async fn get(
        &self,
        mut parts: Vec<Part>,
        unverified: bool,
        listener: &Arc<dyn Listener>,
    ) -> Result<(Vec<Part>, Vec<Downloaded>, Record), RuntimeError> {
        listener.stage(&self.runtime, Stage::Fetching);
        let mut files = self.fetch(&parts, listener).await?;
        listener.stage(&self.runtime, Stage::Verifying);
        let keys = self.keys.clone();
        let (parts, files, checks) = apart(move || {
            let mut checks = Vec::new();
            for (part, file) in parts.iter_mut().zip(&mut files) {
                checks.push(Self::check(&keys, part, file, unverified)?);
            }
            Ok((parts, files, checks))
        })
        .await?;
        let unverified =
            parts.iter().flat_map(|part| &part.checks).any(|check| matches!(check, Check::Unverified { .. }));
        let recorded = parts.iter().zip(&files).zip(checks).map(|((part, file), checks)| RecordedPart {
            url: part.download.url.clone(),
            sha256: hex::encode(file.sha256),
            bytes: file.size,
            checks,
        });
        let record = Record {
            installed: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            manager: "omg".to_owned(),
            parts: recorded.collect(),
            unverified,
            ..Record::default()
        };
        Ok((parts, files, record))
    }

    /// The lines of long-term support that the index has, by their first number; only Node's have names.
    async fn lines(&self, request: &Request) -> BTreeMap<u64, String> {
        if self.runtime.native() != Some(Native::Node) {
            return BTreeMap::new();
        }
        let releases = self.releases(Asking::Cached, Some(request)).await.unwrap_or_default();
        releases.into_iter().filter_map(|release| Some((*release.version.numbers().first()?, release.lts?))).collect()
    }

    async fn make(
        &self,
        held: &Arc<Held>,
        release: &Release,
        wanted: &Wanted,
        listener: &Arc<dyn Listener>,
    ) -> Result<Installed, RuntimeError> {
        let parts = self.parts(release, wanted).await?;
        self.check_room(&parts)?;
        let (parts, mut files, record) = self.get(parts, wanted.unverified, listener).await?;
        let record = Record { lts: release.lts.clone(), lts_lines: self.lines(&wanted.request).await, ..record };
        let unverified = reasons(&parts);
        listener.stage(&self.runtime, Stage::Unpacking);
        let stopped = Arc::new(AtomicBool::new(false));
        let _stop = Stop(Arc::clone(&stopped));
        let (source, version, layout) = (Arc::clone(&self.source), release.version.clone(), self.layout.clone());
        // Nobody else may have the folder before this thread has let go of it, also when nobody waits for it any more.
        let (kept, runtime) = (Arc::clone(held), self.runtime.clone());
        let folder = apart(move || {
            room::before_unpacking(&parts, &mut files, layout.versions())?;
            let into = layout.stage(&kept)?;
            let _staged = Staged(into.clone());
            Self::unpack(&parts, &mut files, &into, &stopped)?;
            source.assemble(&into, &version, &parts).map_err(RuntimeError::io(&into))?;
            tells(source.as_ref(), &runtime, &version, &into)?;
            record.write(&into).map_err(RuntimeError::io(&into))?;
            sync(&into)?;
            Ok(layout.install(&kept, &into)?)
        })
        .await?;
        Ok(Installed { version: release.version.clone(), folder, is_new: true, unverified })
    }

    /// Adds to an installed version what is wanted besides; how it is now.
    async fn add(
        &self,
        held: &Arc<Held>,
        installed: Installed,
        wanted: &Wanted,
        listener: &Arc<dyn Listener>,
    ) -> Result<Installed, RuntimeError> {
        let asked = self.asked(&self.http, wanted.unverified, super::FRESH)?;
        let (root, extras) = (installed.folder.clone(), wanted.extras.clone());
        let parts = apart(move || Ok(asked.source.additions(&asked.at(), &root, &extras)?)).await?;
        if parts.is_empty() {
            return Ok(installed);
        }
        self.check_room(&parts)?;
        let (parts, mut files, record) = self.get(parts, wanted.unverified, listener).await?;
        let unverified = reasons(&parts);
        listener.stage(&self.runtime, Stage::Unpacking);
        let stopped = Arc::new(AtomicBool::new(false));
        let _stop = Stop(Arc::clone(&stopped));
        let (source, root, kept) = (Arc::clone(&self.source), installed.folder.clone(), Arc::clone(held));
        let layout = self.layout.clone();
        apart(move || {
            room::before_unpacking(&parts, &mut files, layout.versions())?;
            let staged = layout.stage(&kept)?;
            let _staged = Staged(staged.clone());
            Self::unpack(&parts, &mut files, &staged, &stopped)?;
            sync(&staged)?;
            source.add(&staged, &root, &parts).map_err(RuntimeError::io(&root))?;
            let mut whole = Record::read(&root).unwrap_or_default();
            whole.parts.extend(record.parts);
            whole.unverified |= record.unverified;
            whole.write(&root).map_err(RuntimeError::io(&root))?;
            sync(&root)
        })
        .await?;
        Ok(Installed { is_new: true, unverified, ..installed })
    }
}

/// What is staged, removed when it did not become a version: nobody else would, for a while.
struct Staged(PathBuf);

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes sure that what was unpacked is the version that it was fetched for.
fn tells(source: &dyn Source, runtime: &Runtime, version: &Version, root: &Path) -> Result<(), RuntimeError> {
    let other = |told: String| RuntimeError::OtherVersion {
        runtime: runtime.clone(),
        wanted: version.as_str().to_owned(),
        told,
    };
    match source.version_in(root) {
        Told::Nothing => Ok(()),
        Told::Missing(file) => Err(other(format!("of no version ({file} is missing)"))),
        Told::Version(text) if Version::parse(runtime, &text).is_ok_and(|told| told == *version) => Ok(()),
        Told::Version(text) => Err(other(text.chars().take(64).collect::<String>().escape_debug().to_string())),
    }
}

/// Why parts are not verified.
fn reasons(parts: &[Part]) -> Vec<String> {
    let checks = parts.iter().flat_map(|part| &part.checks);
    checks
        .filter_map(|check| match check {
            Check::Unverified { reason } => Some(reason.clone()),
            _ => None,
        })
        .collect()
}

/// Everything that was written has to be on the disk before it has its name.
fn sync(folder: &Path) -> Result<(), RuntimeError> {
    let opened = fs::File::open(folder).map_err(RuntimeError::io(folder))?;
    rustix::fs::syncfs(&opened).map_err(|error| RuntimeError::io(folder)(error.into()))
}

/// Moves what is in `from` to `into`, folder by folder, and removes `from`.
fn merge(from: &Path, into: &Path) -> Result<(), RuntimeError> {
    for entry in fs::read_dir(from).map_err(RuntimeError::io(from))? {
        let entry = entry.map_err(RuntimeError::io(from))?;
        let (source, target) = (entry.path(), into.join(entry.file_name()));
        let is_folder = entry.file_type().map_err(RuntimeError::io(&source))?.is_dir();
        if is_folder && fs::symlink_metadata(&target).is_ok_and(|found| found.is_dir()) {
            merge(&source, &target)?;
        } else {
            fs::rename(&source, &target).map_err(RuntimeError::io(&target))?;
        }
    }
    fs::remove_dir(from).map_err(RuntimeError::io(from))
}

/// Work on files, away from what answers others.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, RuntimeError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| Err(RuntimeError::Worker(error.to_string())))
}

#[async_trait]
impl RuntimeManager for NativeManager {
    fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    async fn available(&self, asking: Asking) -> Result<Vec<Release>, RuntimeError> {
        self.releases(asking, None).await
    }

    async fn install(&self, wanted: &Wanted, listener: Arc<dyn Listener>) -> Result<Installed, RuntimeError> {
        listener.stage(&self.runtime, Stage::Resolving);
        let release = match self.resolve(wanted, listener.as_ref()).await? {
            Ok(release) => release,
            Err(version) => match self.have(&version) {
                Some(installed) if wanted.extras.is_empty() => return Ok(installed),
                _ => Release::of(version),
            },
        };
        let held = Arc::new(self.hold(&release.version, Some(listener.as_ref())).await?);
        // Whoever held it may have installed it.
        let made = match self.have(&release.version) {
            Some(installed) if wanted.extras.is_empty() => return Ok(installed),
            Some(installed) => self.add(&held, installed, wanted, &listener).await,
            None => self.make(&held, &release, wanted, &listener).await,
        };
        // Half of it is of no use to anybody, nor is what others have left; what cannot be removed now is the next time.
        let layout = self.layout.clone();
        drop(held);
        let _ = apart(move || Ok(layout.sweep()?)).await;
        made
    }

    async fn uninstall(&self, version: &Version, force: bool) -> Result<(), RuntimeError> {
        let held = self.hold(version, None).await?;
        let layout = self.layout.clone();
        apart(move || Ok(layout.uninstall(&held, force)?)).await
    }
}
