//! `org.omg.RuntimeManager1`: language runtimes are listed, installed, switched and removed.

use std::path::PathBuf;
use std::sync::Arc;

use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedObjectPath, interface};

use super::activity::Activity;
use super::arguments::{self, Options};
use super::error::Error;
use super::refresh::{Refreshes, Work};
use crate::engine::{Engine, RuntimeHow, RuntimeOrder};
use crate::runtime::environment::Why;
use crate::runtime::{Extras, Native, Request, Runtime};

/// Version of the interface; it only ever gains members.
pub const INTERFACE_VERSION: u32 = 1;

/// Most runtimes of one call.
const MAX_RUNTIMES: usize = 64;

/// Most components and targets of one call.
const MAX_EXTRAS: usize = 256;

/// Runtime, manager, current version (empty: none), how many are installed.
pub type WireRuntime = (String, String, String, u32);

/// Runtime, version, whether it is the current one, folder, where it is from, whether it was not verified.
pub type WireInstalled = (String, String, bool, String, String, bool);

/// Version, line of long-term support (empty: none), day (empty: not known), whether it is a pre-release, whether it is
/// installed.
pub type WireAvailable = (String, String, String, bool, bool);

/// Whose releases it signs, fingerprint, owner, when it stops to be valid (seconds since 1970; 0: never).
pub type WireKey = (String, String, String, u64);

/// Runtime, what is asked for, version that is used (empty: none is installed), its folder, why, file, line.
pub type WireResolved = (String, String, String, String, String, String, u32);

/// Serves `org.omg.RuntimeManager1`.
#[derive(Debug, Clone)]
pub struct Runtimes {
    engine: Arc<Engine>,
    activity: Activity,
    /// Stands for the peer where messages carry no sender.
    peer: String,
    jobs: Refreshes,
}

fn named(name: &str) -> Result<Runtime, Error> {
    arguments::text("runtime", name)?;
    Runtime::parse(name).map_err(|error| Error::InvalidArgument(format!("runtime: {error}")))
}

fn asked(runtime: &Runtime, text: &str) -> Result<Request, Error> {
    arguments::text("version", text)?;
    Request::parse(runtime, text).map_err(|error| Error::InvalidArgument(format!("version: {error}")))
}

impl Runtimes {
    pub fn new(engine: Arc<Engine>, activity: Activity, peer: String, jobs: Refreshes) -> Self {
        Self { engine, activity, peer, jobs }
    }

    fn begin(&self, header: &Header<'_>) -> Result<super::activity::Call, Error> {
        self.activity.begin(header.sender().map_or(self.peer.as_str(), |sender| sender.as_str()))
    }
}

/// Language runtimes of this user: Node.js, Python, Go, Rust, Ruby, Java and Bun as their makers publish them, checked
/// against their checksums and signatures, and everything else through mise. Installed versions are in
/// $XDG_DATA_HOME/omg/versions/RUNTIME/VERSION, and RUNTIME/current leads to the one that is used where no file asks for
/// another. Nothing but the jobs asks the network.
///
/// A version is asked for as in the runtime's own files: 20, 20.11.1, latest, lts, lts/iron, ^20, >=3.11,<3.13, stable,
/// nightly-2026-01-02.
#[interface(name = "org.omg.RuntimeManager1")]
impl Runtimes {
    /// Every runtime that is managed here, and those of mise of which something is installed: name, manager (omg or mise),
    /// current version, empty where there is none, and how many are installed.
    #[zbus(out_args("runtimes"))]
    async fn list_runtimes(&self, #[zbus(header)] header: Header<'_>) -> Result<Vec<WireRuntime>, Error> {
        let _call = self.begin(&header)?;
        let rows = self.engine.runtime_list().await?.into_iter().map(|row| {
            let current = row.current.map(|version| version.as_str().to_owned()).unwrap_or_default();
            let installed = u32::try_from(row.installed).unwrap_or(u32::MAX);
            (row.runtime.as_str().to_owned(), row.manager.to_owned(), current, installed)
        });
        Ok(rows.collect())
    }

    /// Installed versions of a runtime, or of all when it is empty, the lowest first: runtime, version, whether it is the
    /// current one, folder, address that it is from (empty: not known), and whether it was installed unverified.
    #[zbus(out_args("versions"))]
    async fn list_installed(
        &self,
        #[zbus(header)] header: Header<'_>,
        runtime: String,
    ) -> Result<Vec<WireInstalled>, Error> {
        let _call = self.begin(&header)?;
        let wanted = if runtime.is_empty() { None } else { Some(named(&runtime)?) };
        let rows = self.engine.runtime_installed(wanted).await?.into_iter().map(|row| {
            let record = row.record.unwrap_or_default();
            let from = record.parts.first().map(|part| part.url.clone()).unwrap_or_default();
            (
                row.runtime.as_str().to_owned(),
                row.version.as_str().to_owned(),
                row.is_current,
                row.folder.to_string_lossy().into_owned(),
                from,
                record.unverified,
            )
        });
        Ok(rows.collect())
    }

    /// Versions of a runtime that can be installed, the lowest first, as far as was found out before; a job of
    /// RefreshVersions finds out: version, line of long-term support, day it came out, whether it is a pre-release, whether
    /// it is installed. Unknown options are ignored.
    #[zbus(out_args("versions"))]
    async fn list_available(
        &self,
        #[zbus(header)] header: Header<'_>,
        runtime: String,
        #[expect(unused_variables, reason = "reserved by the contract; unknown options are ignored")] options: Options,
    ) -> Result<Vec<WireAvailable>, Error> {
        let _call = self.begin(&header)?;
        let rows = self.engine.runtime_available(&named(&runtime)?).await?.into_iter().map(|row| {
            let release = row.release;
            (
                release.version.as_str().to_owned(),
                release.lts.unwrap_or_default(),
                release.date.unwrap_or_default(),
                release.is_prerelease,
                row.is_installed,
            )
        });
        Ok(rows.collect())
    }

    /// The keys whose signatures of releases count: whose releases (a runtime, or mise), fingerprint in capital hexadecimal
    /// digits, owner, and when the key stops to be valid (seconds since 1970; 0: never).
    #[zbus(out_args("keys"))]
    async fn list_keys(&self, #[zbus(header)] header: Header<'_>) -> Result<Vec<WireKey>, Error> {
        let _call = self.begin(&header)?;
        let keys = self.engine.runtime_keys().await?.into_iter();
        Ok(keys.map(|(of, key)| (of.to_owned(), key.fingerprint, key.owner, key.expires.unwrap_or(0))).collect())
    }

    /// What is used in a folder, by its files, those above it, and the current versions: runtime, what is asked for,
    /// version, empty where none is installed that will do, its folder, why (file or default), the file, its line.
    #[zbus(out_args("versions"))]
    async fn resolve(&self, #[zbus(header)] header: Header<'_>, folder: String) -> Result<Vec<WireResolved>, Error> {
        let _call = self.begin(&header)?;
        let environment = self.engine.runtime_environment(absolute(&folder)?).await?;
        let mut rows = Vec::new();
        for entry in environment.entries {
            let (why, file, line) = told(&entry.why);
            let request = entry.request.map(|request| request.to_string()).unwrap_or_default();
            let root = entry.root.to_string_lossy().into_owned();
            let version = entry.version.as_str().to_owned();
            rows.push((entry.runtime.as_str().to_owned(), request, version, root, why, file, line));
        }
        for missing in environment.missing {
            let (why, file, line) = told(&missing.why);
            let name = missing.runtime.as_str().to_owned();
            rows.push((name, missing.request.to_string(), String::new(), String::new(), why, file, line));
        }
        Ok(rows)
    }

    /// What the environment of a program is to have in a folder: the folders that go in front of PATH, and variables.
    #[zbus(out_args("path", "variables"))]
    async fn get_env(
        &self,
        #[zbus(header)] header: Header<'_>,
        folder: String,
    ) -> Result<(Vec<String>, std::collections::HashMap<String, String>), Error> {
        let _call = self.begin(&header)?;
        let environment = self.engine.runtime_environment(absolute(&folder)?).await?;
        let variables = environment.variables().into_iter();
        let variables =
            variables.map(|(name, value)| (name.to_owned(), value.to_string_lossy().into_owned())).collect();
        let path = environment.folders().into_iter().map(|folder| folder.to_string_lossy().into_owned());
        Ok((path.collect(), variables))
    }

    /// A job that installs versions, (runtime, what is asked for) each, several at once; what is installed already stays as
    /// it is. Options: use b makes them the current ones; newest b takes the best that there is though an installed one would
    /// do; allow-unverified b takes what cannot be checked, which is logged; for Rust, profile s, components as, targets as.
    #[zbus(out_args("job"))]
    async fn install(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        versions: Vec<(String, String)>,
        options: Options,
    ) -> Result<OwnedObjectPath, Error> {
        let _call = self.begin(&header)?;
        few("versions", versions.len(), MAX_RUNTIMES)?;
        let strings = |key: &str| -> Result<Vec<String>, Error> {
            let texts = arguments::strings(&options, key)?.unwrap_or_default();
            few(key, texts.len(), MAX_EXTRAS)?;
            texts.iter().try_for_each(|text| arguments::text(key, text))?;
            Ok(texts)
        };
        let extras = Extras {
            profile: arguments::string(&options, "profile")?,
            components: strings("components")?,
            targets: strings("targets")?,
        };
        let flag = |key: &str| Ok::<_, Error>(arguments::boolean(&options, key)?.unwrap_or(false));
        let how =
            RuntimeHow { unverified: flag("allow-unverified")?, newest: flag("newest")?, make_current: flag("use")? };
        let mut orders = Vec::new();
        for (name, wanted) in &versions {
            let runtime = named(name)?;
            let request = asked(&runtime, wanted)?;
            let is_rust = runtime.native() == Some(Native::Rust);
            let extras = if is_rust { extras.clone() } else { Extras::default() };
            orders.push(RuntimeOrder { runtime, request, extras });
        }
        let work = Work::Install { orders, how };
        self.jobs.serve(connection, &header, Arc::clone(&self.engine), self.activity.keep(), false, work).await
    }

    /// A job that finds out which versions of these runtimes can be installed. Unknown options are ignored.
    #[zbus(out_args("job"))]
    async fn refresh_versions(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        runtimes: Vec<String>,
        #[expect(unused_variables, reason = "reserved by the contract; unknown options are ignored")] options: Options,
    ) -> Result<OwnedObjectPath, Error> {
        let _call = self.begin(&header)?;
        few("runtimes", runtimes.len(), MAX_RUNTIMES)?;
        let runtimes = runtimes.iter().map(|name| named(name)).collect::<Result<Vec<_>, _>>()?;
        let work = Work::Versions(runtimes);
        self.jobs.serve(connection, &header, Arc::clone(&self.engine), self.activity.keep(), false, work).await
    }

    /// Removes an installed version. Options: force b removes the current one too.
    async fn uninstall(
        &self,
        #[zbus(header)] header: Header<'_>,
        runtime: String,
        version: String,
        options: Options,
    ) -> Result<(), Error> {
        let _call = self.begin(&header)?;
        let runtime = named(&runtime)?;
        arguments::text("version", &version)?;
        let force = arguments::boolean(&options, "force")?.unwrap_or(false);
        Ok(self.engine.runtime_uninstall(runtime, &version, force).await?)
    }

    /// Makes the best installed version that is as asked for the current one; which it is.
    #[zbus(out_args("used"))]
    async fn r#use(
        &self,
        #[zbus(header)] header: Header<'_>,
        runtime: String,
        version: String,
    ) -> Result<String, Error> {
        let _call = self.begin(&header)?;
        let runtime = named(&runtime)?;
        let request = asked(&runtime, &version)?;
        Ok(self.engine.runtime_use(runtime, request).await?.as_str().to_owned())
    }

    /// Runtimes whose installed versions, or whose current one, have changed.
    #[zbus(signal)]
    pub async fn runtimes_changed(emitter: &SignalEmitter<'_>, runtimes: Vec<String>) -> zbus::Result<()>;

    /// Version of this interface.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> u32 {
        INTERFACE_VERSION
    }
}

fn few(argument: &str, count: usize, most: usize) -> Result<(), Error> {
    if count > most {
        return Err(Error::LimitExceeded(format!("{argument}: at most {most} are allowed")));
    }
    Ok(())
}

fn absolute(folder: &str) -> Result<PathBuf, Error> {
    arguments::paths(&[folder.to_owned()], false)?;
    let path = PathBuf::from(folder);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Error::InvalidArgument("folder: must be an absolute path".to_owned()))
}

/// Why, the file and its line.
fn told(why: &Why) -> (String, String, u32) {
    match why {
        Why::File { file, line } => ("file".to_owned(), file.to_string_lossy().into_owned(), *line),
        Why::Default => ("default".to_owned(), String::new(), 0),
        Why::Manual => ("manual".to_owned(), String::new(), 0),
    }
}
