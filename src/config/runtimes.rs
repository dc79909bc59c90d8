//! Where runtimes are fetched from, and by whom.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::Spanned;

/// Names of the tables below `runtimes`.
pub(super) const TABLES: [&str; 8] = ["node", "python", "go", "rust", "ruby", "java", "bun", "mise"];

/// The table `runtimes`.
#[derive(Debug, Clone, Default)]
pub struct RuntimeInputs {
    pub offline: Option<Spanned<bool>>,
    pub proxy: Option<Spanned<String>>,
    pub cache_bytes: Option<Spanned<i64>>,
    pub manager: Option<Spanned<String>>,
    /// By the name of the table.
    pub upstreams: BTreeMap<&'static str, UpstreamInputs>,
}

/// A table below `runtimes`.
#[derive(Debug, Clone, Default)]
pub struct UpstreamInputs {
    pub url: Option<Spanned<String>>,
    pub keys: Option<Spanned<String>>,
    pub trusted_root: Option<Spanned<String>>,
    pub manager: Option<Spanned<String>>,
}

/// Who installs a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manager {
    /// omg itself where it can, mise where it cannot.
    #[default]
    Native,
    Mise,
}

impl Manager {
    /// The word used in the configuration.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "native" => Some(Self::Native),
            "mise" => Some(Self::Mise),
            _ => None,
        }
    }
}

/// How runtimes are come by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// Nothing is fetched: what is installed and cached has to do.
    pub offline: bool,
    /// `http` or `https` address of the proxy through which everything is fetched; `None`: as the environment says.
    pub proxy: Option<String>,
    /// Most bytes of downloaded archives that are kept.
    pub cache_bytes: u64,
    /// For runtimes that do not say otherwise.
    pub manager: Manager,
    /// By name; for those that are said something of.
    pub upstreams: BTreeMap<String, Upstream>,
}

/// Where a runtime is fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upstream {
    /// `http` or `https`, without a slash at its end; `None`: the upstream's own.
    pub url: Option<String>,
    /// A file of OpenPGP certificates whose signatures count besides those that are shipped.
    pub keys: Option<PathBuf>,
    /// A file as Sigstore's `trusted_root.json`, by which provenance is checked in place of the one that is shipped.
    pub trusted_root: Option<PathBuf>,
    pub manager: Option<Manager>,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            offline: false,
            proxy: None,
            cache_bytes: 2 << 30,
            manager: Manager::default(),
            upstreams: BTreeMap::new(),
        }
    }
}

impl RuntimeSettings {
    pub fn manager(&self, runtime: &str) -> Manager {
        self.upstreams.get(runtime).and_then(|upstream| upstream.manager).unwrap_or(self.manager)
    }
}
