//! Who manages which runtime, as it is configured.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::fetch::{Http, Options};
use super::layout::Layout;
use super::manager::RuntimeManager;
use super::mise::{self, MiseManager, MiseProgram};
use super::native::NativeManager;
use super::record::Record;
use super::sources;
use super::verify::{self, KeyInfo, Keyring, TrustedRoot};
use super::{Host, Native, Runtime, RuntimeError, Version};
use crate::config::{Manager, RuntimeSettings, Upstream};

/// Longest file of keys, bytes.
const MAX_KEYS: u64 = 4 << 20;

/// Most bytes of indexes that are kept: ten times what those of all runtimes have together.
const INDEX_BYTES: u64 = 256 << 20;

/// All runtimes of one user.
#[derive(Debug)]
pub struct Runtimes {
    layout: Layout,
    settings: RuntimeSettings,
    host: Option<Host>,
    http: Arc<Http>,
    /// Asks nobody.
    cached: Arc<Http>,
    /// Its folder is `mise` of the data.
    home: std::path::PathBuf,
}

impl Runtimes {
    /// Below these folders of the user's; nothing is read or made yet.
    pub fn new(data_dir: &Path, cache_dir: &Path, settings: RuntimeSettings) -> Self {
        let options = |offline| Options {
            offline,
            proxy: settings.proxy.clone(),
            cache: cache_dir.join("runtimes"),
            cache_bytes: settings.cache_bytes,
            index_bytes: INDEX_BYTES,
        };
        Self {
            layout: Layout::new(data_dir),
            host: Host::here(),
            http: Arc::new(Http::new(options(settings.offline))),
            cached: Arc::new(Http::new(options(true))),
            home: data_dir.join("mise"),
            settings,
        }
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether it is managed here, and not by mise.
    pub fn is_native(&self, runtime: &Runtime) -> bool {
        runtime.native().is_some() && self.settings.manager(runtime.as_str()) == Manager::Native
    }

    /// Whoever manages this runtime.
    ///
    /// # Errors
    /// When the keys that are configured cannot be read.
    pub fn manager(&self, runtime: &Runtime) -> Result<Arc<dyn RuntimeManager>, RuntimeError> {
        let Some(native) = runtime.native().filter(|_| self.is_native(runtime)) else {
            return Ok(Arc::new(self.mise(runtime)?));
        };
        let both = (Arc::clone(&self.http), Arc::clone(&self.cached));
        let trusted = (self.keys(native.as_str())?, self.root(native.as_str())?);
        let configured = self.upstream(native.as_str()).and_then(|upstream| upstream.url.as_deref());
        let (source, base) = sources::of(native, configured, self.host);
        Ok(Arc::new(NativeManager::new(source, base, trusted, self.host, both, self.layout.clone())))
    }

    /// Whoever is asked after this error: mise, where upstream has nothing at all for this machine. That one version is
    /// missing may be a server's doing that hides it, and what mise installs is not checked by the keys that are known here.
    pub fn otherwise(&self, runtime: &Runtime, error: &RuntimeError) -> Option<Arc<dyn RuntimeManager>> {
        let wanted = self.is_native(runtime) && error.is_not_offered();
        let mise = wanted.then(|| self.mise(runtime))?;
        mise.inspect_err(|error| tracing::warn!("mise is not asked: {error}")).ok().map(|mise| Arc::new(mise) as _)
    }

    /// Whoever has installed this version.
    ///
    /// # Errors
    /// As [`Runtimes::manager`].
    pub fn manager_of(&self, runtime: &Runtime, version: &Version) -> Result<Arc<dyn RuntimeManager>, RuntimeError> {
        let record = Record::read(&self.layout.folder(runtime, version));
        match record.is_some_and(|record| record.manager == mise::NAME) {
            true => Ok(Arc::new(self.mise(runtime)?)),
            false => self.manager(runtime),
        }
    }

    fn mise(&self, runtime: &Runtime) -> Result<MiseManager, RuntimeError> {
        let base = self.upstream(mise::NAME).and_then(|upstream| upstream.url.as_deref()).unwrap_or(mise::DEFAULT_BASE);
        let (keys, http) = (self.keys(mise::NAME)?, Arc::clone(&self.http));
        let program = MiseProgram::new(self.home.clone(), base, keys, self.host, http);
        let layout = self.layout.clone();
        let RuntimeSettings { offline, proxy, .. } = &self.settings;
        Ok(MiseManager::new(runtime.clone(), Arc::new(program), layout, *offline, proxy.clone()))
    }

    fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.settings.upstreams.get(name)
    }

    /// Whose signatures count for what is fetched under this name: those that are shipped, and those that are configured.
    ///
    /// # Errors
    /// When the configured ones cannot be read.
    pub fn keys(&self, name: &str) -> Result<Keyring, RuntimeError> {
        let native = Native::ALL.into_iter().find(|native| native.as_str() == name);
        let mut keys = native.map_or_else(Keyring::mise, Keyring::shipped);
        if let Some(path) = self.upstream(name).and_then(|upstream| upstream.keys.as_deref()) {
            let given = given(path, MAX_KEYS).and_then(|bytes| Ok(Keyring::from_bytes(&bytes)?));
            keys = keys.with(given.map_err(unusable(name, path))?);
        }
        Ok(keys)
    }

    /// Who vouches for the provenance of what is fetched under this name: those that are shipped, or those that are
    /// configured in their place.
    fn root(&self, name: &str) -> Result<TrustedRoot, RuntimeError> {
        let Some(path) = self.upstream(name).and_then(|upstream| upstream.trusted_root.as_deref()) else {
            return Ok(TrustedRoot::shipped());
        };
        let given = given(path, verify::MAX_ROOT as u64).and_then(|bytes| Ok(TrustedRoot::from_bytes(&bytes)?));
        given.map_err(unusable(name, path))
    }

    /// Whose signatures count, by the name under which something is fetched.
    ///
    /// # Errors
    /// When configured ones cannot be read.
    pub fn all_keys(&self) -> Result<Vec<(&'static str, Vec<KeyInfo>)>, RuntimeError> {
        let names = Native::ALL.into_iter().map(Native::as_str).chain([mise::NAME]);
        names.map(|name| Ok((name, self.keys(name)?.keys()))).collect()
    }
}

/// What is in a file that is configured.
fn given(path: &Path, most: u64) -> Result<Vec<u8>, Box<dyn Error>> {
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > most {
        return Err(format!("it is no file of at most {most} bytes").into());
    }
    Ok(fs::read(path)?)
}

fn unusable(name: &str, path: &Path) -> impl FnOnce(Box<dyn Error>) -> RuntimeError {
    move |error| RuntimeError::Keys {
        name: name.to_owned(),
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}
