//! Language runtimes, as clients see them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Engine, EngineError, blocking};
use crate::runtime::environment::{Environment, Manual};
use crate::runtime::fetch::FetchError;
use crate::runtime::mise::NAME as MISE;
use crate::runtime::record::Record as InstallRecord;
use crate::runtime::sources::SourceError;
use crate::runtime::unpack::UnpackError;
use crate::runtime::verify::KeyInfo;
use crate::runtime::{
    Asking, Extras, Installed, LayoutError, Listener, Native, Release, Request, Runtime, RuntimeError, Version, Wanted,
};
use crate::security::audit::{AuditLog, Readers, Record};
use crate::transaction::{Failure, FailureKind};

/// Folder of the log of what this user did, below that of the data.
const USER_LOG: &str = "audit";

/// A runtime that is known or has something installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeRow {
    pub runtime: Runtime,
    /// `omg` or `mise`.
    pub manager: &'static str,
    pub current: Option<Version>,
    pub installed: usize,
}

/// An installed version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledRow {
    pub runtime: Runtime,
    pub version: Version,
    pub is_current: bool,
    pub folder: PathBuf,
    /// Where it is from and how that was checked; `None` where it was put there by hand.
    pub record: Option<InstallRecord>,
}

/// A version that can be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailableRow {
    pub release: Release,
    pub is_installed: bool,
}

/// What is to be installed of one runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeOrder {
    pub runtime: Runtime,
    pub request: Request,
    pub extras: Extras,
}

/// How that is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuntimeHow {
    /// What cannot be checked is taken; that is logged.
    pub unverified: bool,
    /// The best version that there is, though an installed one would do.
    pub newest: bool,
    /// What was installed becomes the current version.
    pub make_current: bool,
}

impl From<RuntimeError> for EngineError {
    fn from(error: RuntimeError) -> Self {
        let fetching = |error: &FetchError| match error {
            FetchError::Offline { .. } => FailureKind::Offline,
            FetchError::NotFound { .. } => FailureKind::NotFound,
            FetchError::WrongChecksum { .. } => FailureKind::Untrusted,
            FetchError::DiskFull { .. } => FailureKind::DiskFull,
            FetchError::Write { .. } => FailureKind::Internal,
            _ => FailureKind::Network,
        };
        let kind = match &error {
            RuntimeError::Name(_) | RuntimeError::Version(_) | RuntimeError::Invalid(_) => FailureKind::InvalidArgument,
            RuntimeError::Fetch(error) | RuntimeError::Source(SourceError::Fetch(error)) => fetching(error),
            RuntimeError::Source(
                SourceError::NotOffered { .. }
                | SourceError::NotHere { .. }
                | SourceError::Absent { .. }
                | SourceError::NoSuchExtra(_),
            )
            | RuntimeError::NoSuchVersion { .. }
            | RuntimeError::Unknown { .. }
            | RuntimeError::NotInstalled { .. }
            | RuntimeError::Layout(LayoutError::NotInstalled { .. }) => FailureKind::NotFound,
            RuntimeError::Source(
                SourceError::Unverifiable { .. } | SourceError::Untrusted { .. } | SourceError::Verify(_),
            )
            | RuntimeError::OtherVersion { .. }
            | RuntimeError::Verify { .. } => FailureKind::Untrusted,
            RuntimeError::NoRoom { .. } | RuntimeError::Unpack { source: UnpackError::DiskFull { .. }, .. } => {
                FailureKind::DiskFull
            }
            RuntimeError::Unpack { .. } => FailureKind::Untrusted,
            RuntimeError::Io { source, .. } | RuntimeError::Layout(LayoutError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::StorageFull =>
            {
                FailureKind::DiskFull
            }
            RuntimeError::Source(_) => FailureKind::Network,
            RuntimeError::Layout(LayoutError::Current { .. }) => FailureKind::InvalidArgument,
            RuntimeError::Machine | RuntimeError::Keys { .. } => FailureKind::BackendUnavailable,
            RuntimeError::Layout(_)
            | RuntimeError::Io { .. }
            | RuntimeError::Mise(_)
            | RuntimeError::Worker(_)
            | RuntimeError::Cancelled => FailureKind::Internal,
        };
        Self::Refused(Failure::new(kind, error.to_string()))
    }
}

/// The failures of orders with these names as one, which says of each whose it is where there were several orders. It is of
/// the first one's kind, but of that of what is not to be trusted where something is not.
fn together(mut failed: Vec<(usize, EngineError)>, names: &[String]) -> Option<EngineError> {
    failed.sort_by_key(|(index, _)| *index);
    let named = |(index, error): (usize, EngineError)| match names.get(index).filter(|_| names.len() > 1) {
        Some(name) => error.reworded(|text| format!("{name}: {text}")),
        None => error,
    };
    let failed: Vec<EngineError> = failed.into_iter().map(named).collect();
    let all: Vec<String> = failed.iter().map(ToString::to_string).collect();
    let gravest = failed.iter().find(|error| error.is_untrusted()).or(failed.first())?;
    Some(gravest.clone().reworded(|_| all.join("\n")))
}

impl EngineError {
    fn is_untrusted(&self) -> bool {
        matches!(self, Self::Refused(failure) if failure.kind == FailureKind::Untrusted)
    }
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> EngineError {
    let path = path.display().to_string();
    move |error| EngineError::Internal(format!("{path}: {error}"))
}

impl Engine {
    /// Runtimes that are managed here, and those that have something installed besides.
    ///
    /// # Errors
    /// When the folder of versions cannot be read.
    pub async fn runtime_list(self: &Arc<Self>) -> Result<Vec<RuntimeRow>, EngineError> {
        let engine = Arc::clone(self);
        blocking(move || {
            let layout = engine.runtimes.layout();
            let failed = || unreadable(layout.versions());
            let mut names: Vec<Runtime> = Native::ALL.into_iter().map(Runtime::from).collect();
            names.extend(layout.runtimes().map_err(failed())?.into_iter().filter(|name| name.native().is_none()));
            let row = |runtime: Runtime| {
                let installed = layout.installed(&runtime).map_err(failed())?.len();
                let current = layout.current(&runtime).map_err(failed())?;
                let manager = if engine.runtimes.is_native(&runtime) { "omg" } else { MISE };
                Ok(RuntimeRow { runtime, manager, current, installed })
            };
            names.into_iter().map(row).collect()
        })
        .await?
    }

    /// What is installed: of one runtime, or of all.
    ///
    /// # Errors
    /// As [`Engine::runtime_list`].
    pub async fn runtime_installed(
        self: &Arc<Self>,
        runtime: Option<Runtime>,
    ) -> Result<Vec<InstalledRow>, EngineError> {
        let engine = Arc::clone(self);
        blocking(move || {
            let layout = engine.runtimes.layout();
            let failed = || unreadable(layout.versions());
            let runtimes = match runtime {
                Some(runtime) => vec![runtime],
                None => layout.runtimes().map_err(failed())?,
            };
            let mut rows = Vec::new();
            for runtime in runtimes {
                let current = layout.current(&runtime).map_err(failed())?;
                for version in layout.installed(&runtime).map_err(failed())? {
                    let folder = layout.folder(&runtime, &version);
                    let record = InstallRecord::read(&folder);
                    let is_current = current.as_ref() == Some(&version);
                    rows.push(InstalledRow { runtime: runtime.clone(), version, is_current, folder, record });
                }
            }
            Ok(rows)
        })
        .await?
    }

    /// What can be installed, the lowest version first, by what was found out before: nobody is asked.
    ///
    /// # Errors
    /// When nothing was found out before.
    pub async fn runtime_available(&self, runtime: &Runtime) -> Result<Vec<AvailableRow>, EngineError> {
        let releases = self.runtimes.manager(runtime)?.available(Asking::Cached).await?;
        let layout = self.runtimes.layout().clone();
        let runtime = runtime.clone();
        blocking(move || {
            let installed = layout.installed(&runtime).map_err(unreadable(layout.versions()))?;
            let row = |release: Release| {
                let is_installed = installed.contains(&release.version);
                AvailableRow { release, is_installed }
            };
            Ok(releases.into_iter().map(row).collect())
        })
        .await?
    }

    /// Finds out what can be installed, where nobody has within the last hour.
    ///
    /// # Errors
    /// When whoever knows cannot be asked.
    pub async fn runtime_refresh(&self, runtimes: &[Runtime]) -> Result<(), EngineError> {
        for runtime in runtimes {
            self.runtimes.manager(runtime)?.available(Asking::Usual).await?;
        }
        Ok(())
    }

    /// The keys whose signatures count, each with whose releases it signs.
    ///
    /// # Errors
    /// When configured ones cannot be read.
    pub async fn runtime_keys(self: &Arc<Self>) -> Result<Vec<(&'static str, KeyInfo)>, EngineError> {
        let engine = Arc::clone(self);
        blocking(move || {
            let keys = engine.runtimes.all_keys()?.into_iter();
            Ok(keys.flat_map(|(of, keys)| keys.into_iter().map(move |key| (of, key))).collect())
        })
        .await?
    }

    /// What the files of a folder, and those above it, come to.
    ///
    /// # Errors
    /// When the thread that looks ends early.
    pub async fn runtime_environment(&self, folder: PathBuf) -> Result<Environment, EngineError> {
        let resolver = Arc::clone(&self.runtime_resolver);
        blocking(move || resolver.resolve(&folder, &Manual::new())).await
    }

    /// Installs all of them, at the same time. What is there already is left as it is.
    ///
    /// # Errors
    /// Why each that failed did, as an error of the first one's kind; what others have installed stays.
    pub async fn runtime_install(
        self: &Arc<Self>,
        orders: Vec<RuntimeOrder>,
        how: RuntimeHow,
        listener: Arc<dyn Listener>,
    ) -> Result<Vec<(Runtime, Installed)>, (Vec<(Runtime, Installed)>, EngineError)> {
        let mut running = JoinSet::new();
        let names: Vec<String> = orders.iter().map(|order| format!("{} {}", order.runtime, order.request)).collect();
        for (index, order) in orders.into_iter().enumerate() {
            let (engine, listener) = (Arc::clone(self), Arc::clone(&listener));
            running.spawn(async move { (index, engine.runtime_install_one(order, how, listener).await) });
        }
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        while let Some(ended) = running.join_next().await {
            match ended {
                Ok((index, Ok(installed))) => done.push((index, installed)),
                Ok((index, Err(error))) => failed.push((index, error)),
                Err(error) => failed.push((names.len(), EngineError::Internal(error.to_string()))),
            }
        }
        done.sort_by_key(|(index, _)| *index);
        let done = done.into_iter().map(|(_, installed)| installed).collect();
        self.runtimes_changed();
        match together(failed, &names) {
            None => Ok(done),
            Some(failure) => Err((done, failure)),
        }
    }

    async fn runtime_install_one(
        self: Arc<Self>,
        order: RuntimeOrder,
        how: RuntimeHow,
        listener: Arc<dyn Listener>,
    ) -> Result<(Runtime, Installed), EngineError> {
        let RuntimeOrder { runtime, request, extras } = order;
        let manager = self.runtimes.manager(&runtime)?;
        if how.unverified {
            let asked = format!("{runtime} {request}");
            let record = Record::Unverified { uid: rustix::process::geteuid().as_raw(), runtime: asked };
            let folder = self.options.data_dir.join(USER_LOG);
            let logged = blocking(move || AuditLog::new(&folder, Readers::Owner).append(&record)).await?;
            logged.map_err(|error| EngineError::Internal(format!("what is not verified must be logged: {error}")))?;
        }
        let wanted = Wanted { request, extras, unverified: how.unverified, newest: how.newest };
        let installed = match manager.install(&wanted, Arc::clone(&listener)).await {
            Ok(installed) => installed,
            Err(error) => {
                let Some(other) = self.runtimes.otherwise(&runtime, &error) else { return Err(error.into()) };
                listener.note(&format!("{error}; mise may have it"));
                match other.install(&wanted, Arc::clone(&listener)).await.map_err(EngineError::from) {
                    Ok(installed) => installed,
                    Err(second) if second.is_untrusted() => return Err(second),
                    Err(second) => {
                        listener.note(&second.to_string());
                        return Err(error.into());
                    }
                }
            }
        };
        if how.make_current {
            let (layout, runtime, version) =
                (self.runtimes.layout().clone(), runtime.clone(), installed.version.clone());
            blocking(move || layout.set_current(&runtime, &version)).await?.map_err(RuntimeError::from)?;
        }
        Ok((runtime, installed))
    }

    /// Lets an installed version be the current one.
    ///
    /// # Errors
    /// When none is as it is asked for.
    pub async fn runtime_use(self: &Arc<Self>, runtime: Runtime, request: Request) -> Result<Version, EngineError> {
        let layout = self.runtimes.layout().clone();
        let used = blocking(move || {
            let best = layout.best(&runtime, &request).map_err(unreadable(layout.versions()))?;
            let none = || RuntimeError::NotInstalled { runtime: runtime.clone(), request: request.to_string() };
            let version = best.ok_or_else(none)?;
            layout.set_current(&runtime, &version).map_err(RuntimeError::from)?;
            Ok::<_, EngineError>(version)
        })
        .await??;
        self.runtimes_changed();
        Ok(used)
    }

    /// Removes an installed version.
    ///
    /// # Errors
    /// When it is not installed, or is the current one and `force` is not given.
    pub async fn runtime_uninstall(
        self: &Arc<Self>,
        runtime: Runtime,
        version: &str,
        force: bool,
    ) -> Result<(), EngineError> {
        let version = Version::parse(&runtime, version).map_err(RuntimeError::from)?;
        self.runtimes.manager_of(&runtime, &version)?.uninstall(&version, force).await?;
        self.runtimes_changed();
        Ok(())
    }
}

/// What is installed of each runtime, and which version is the current one.
pub(super) type Seen = std::collections::BTreeMap<String, (Vec<String>, Option<String>)>;

impl Engine {
    /// Runtimes that have changed, from now on.
    pub fn runtime_changes(&self) -> tokio::sync::broadcast::Receiver<Vec<String>> {
        self.runtime_changes.subscribe()
    }

    fn runtimes_now(&self) -> Seen {
        let layout = self.runtimes.layout();
        let mut seen = Seen::new();
        // What cannot be read is told by who asks for it.
        for runtime in layout.runtimes().unwrap_or_default() {
            let text = |version: &Version| version.as_str().to_owned();
            let installed = layout.installed(&runtime).unwrap_or_default().iter().map(text).collect();
            let current = layout.current(&runtime).ok().flatten().as_ref().map(text);
            seen.insert(runtime.as_str().to_owned(), (installed, current));
        }
        seen
    }

    /// Looks whether something has changed since the last time, and tells of it, in the status file too.
    pub(super) fn runtimes_changed(self: &Arc<Self>) {
        let now = self.runtimes_now();
        let before = super::lock(&self.runtimes_seen).replace(now.clone());
        let Some(before) = before else { return };
        let names: std::collections::BTreeSet<&String> = now.keys().chain(before.keys()).collect();
        let changed: Vec<String> =
            names.into_iter().filter(|name| now.get(*name) != before.get(*name)).cloned().collect();
        if changed.is_empty() {
            return;
        }
        // Nobody may be listening.
        let _ = self.runtime_changes.send(changed);
        if self.options.announces {
            let engine = Arc::clone(self);
            // Why packages cannot be read is told by who reads them; the file is written all the same.
            tokio::spawn(async move { engine.refresh().await });
        }
    }
}
