//! The settings, valid.

use super::file::Problem;
use super::inputs::{AptInputs, AurInputs, CacheInputs, Inputs, shown};
use super::runtimes::{Manager, RuntimeInputs, RuntimeSettings, Upstream};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

const MAX_APT_OPTIONS: usize = 256;
/// Longest path and longest apt option, bytes.
const MAX_TEXT: usize = 4096;

/// Which package system is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// The one that os-release names.
    #[default]
    Auto,
    Apt,
    Alpm,
    /// None: package questions are answered with `BackendUnavailable`.
    None,
}

impl Backend {
    const ALL: [Self; 4] = [Self::Auto, Self::Apt, Self::Alpm, Self::None];

    /// The word used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Apt => "apt",
            Self::Alpm => "alpm",
            Self::None => "none",
        }
    }
}

/// Everything that can be configured; the module's documentation says what the keys mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub backend: Backend,
    /// Absolute. `None`: where [`super::Paths`] says.
    pub data_dir: Option<PathBuf>,
    /// Path of `omg-helper`, absolute. `None`: where it was installed.
    pub helper: Option<PathBuf>,
    /// A helper that has not finished by then is ended.
    pub helper_timeout: Duration,
    /// `None`: the daemon stays.
    pub idle_timeout: Option<Duration>,
    pub worker_interval: Duration,
    /// Age beyond which readers call the status file stale, seconds.
    pub status_max_age: u32,
    pub cache: CacheSettings,
    pub apt: AptSettings,
    pub aur: AurSettings,
    pub runtimes: RuntimeSettings,
}

/// Bounds of the caches in memory; 0 switches one off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// Answers to searches and listings.
    pub searches: u32,
    /// Bytes of all answers.
    pub search_bytes: u64,
    /// Packages.
    pub details: u32,
    /// Bytes of all packages.
    pub details_bytes: u64,
}

/// How apt is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AptSettings {
    /// apt's `Dir`, absolute. `None`: the machine's own.
    pub root: Option<PathBuf>,
    /// `Key=Value` each, as for apt's `-o`.
    pub options: Vec<String>,
}

/// Whether and where the AUR is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AurSettings {
    /// `None`: where packages are pacman's.
    pub enabled: Option<bool>,
    /// `http` or `https`, without a slash at its end.
    pub url: String,
    /// Where the keys that sources are signed with are fetched from; `None` for the usual server.
    pub keyserver: Option<String>,
    /// Whether packages that are built from the newest commits of repositories are upgraded when those have moved.
    pub devel: bool,
}

impl Default for AurSettings {
    fn default() -> Self {
        Self { enabled: None, url: "https://aur.archlinux.org".to_owned(), keyserver: None, devel: false }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backend: Backend::Auto,
            data_dir: None,
            helper: None,
            // The slowest disks need a few seconds for the largest indexes.
            helper_timeout: Duration::from_secs(120),
            idle_timeout: Some(Duration::from_secs(300)),
            worker_interval: Duration::from_secs(300),
            status_max_age: crate::status::DEFAULT_MAX_AGE,
            cache: CacheSettings::default(),
            apt: AptSettings::default(),
            aur: AurSettings::default(),
            runtimes: RuntimeSettings::default(),
        }
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { searches: 256, search_bytes: 1 << 20, details: 256, details_bytes: 1 << 19 }
    }
}

impl Settings {
    /// Checks what the file sets and fills in the defaults.
    ///
    /// # Errors
    /// Every value that is out of bounds.
    pub fn validate(inputs: Inputs) -> Result<Self, Vec<Problem>> {
        let Inputs {
            backend,
            data_dir,
            helper,
            helper_timeout,
            idle_timeout,
            worker_interval,
            status_max_age,
            cache,
            apt,
            aur,
            runtimes,
        } = inputs;
        let default = Self::default();
        let mut check = Check { problems: Vec::new() };
        let settings = Self {
            backend: check.backend(backend).unwrap_or(default.backend),
            data_dir: check.absolute_path("data-dir", data_dir),
            helper: check.absolute_path("helper", helper),
            helper_timeout: check
                .number("helper-timeout", helper_timeout, 1..=3600)
                .map_or(default.helper_timeout, |seconds| Duration::from_secs(u64::from(seconds))),
            idle_timeout: match check.number("idle-timeout", idle_timeout, 0..=604_800) {
                Some(0) => None,
                Some(seconds) => Some(Duration::from_secs(u64::from(seconds))),
                None => default.idle_timeout,
            },
            worker_interval: check
                .number("worker-interval", worker_interval, 10..=86_400)
                .map_or(default.worker_interval, |seconds| Duration::from_secs(u64::from(seconds))),
            status_max_age: check
                .number("status-max-age", status_max_age, 60..=31_536_000)
                .unwrap_or(default.status_max_age),
            cache: check.cache(&cache),
            apt: check.apt(apt),
            aur: check.aur(aur),
            runtimes: check.runtimes(runtimes),
        };
        if check.problems.is_empty() { Ok(settings) } else { Err(check.problems) }
    }
}

/// Collects what is out of bounds.
struct Check {
    problems: Vec<Problem>,
}

impl Check {
    fn report<T>(&mut self, key: &str, value: &Spanned<T>, message: String) {
        self.problems.push(Problem { span: value.span(), key: key.to_owned(), message });
    }

    fn number(&mut self, key: &str, value: Option<Spanned<i64>>, bounds: RangeInclusive<u32>) -> Option<u32> {
        let value = value?;
        match u32::try_from(*value.get_ref()) {
            Ok(number) if bounds.contains(&number) => Some(number),
            _ => {
                let (low, high) = bounds.into_inner();
                self.report(key, &value, format!("must be between {low} and {high}, is {}", value.get_ref()));
                None
            }
        }
    }

    fn backend(&mut self, value: Option<Spanned<String>>) -> Option<Backend> {
        let value = value?;
        let found = Backend::ALL.into_iter().find(|backend| backend.as_str() == value.get_ref());
        if found.is_none() {
            let message = format!("must be auto, apt, alpm or none, is `{}`", shown(value.get_ref()));
            self.report("backend", &value, message);
        }
        found
    }

    fn absolute_path(&mut self, key: &str, value: Option<Spanned<String>>) -> Option<PathBuf> {
        const MUST: &str = "must be an absolute path without control characters, at most 4096 bytes long";
        let value = value?;
        let text = value.get_ref();
        if text.starts_with('/') && text.len() <= MAX_TEXT && !text.contains(char::is_control) {
            Some(PathBuf::from(text))
        } else {
            self.report(key, &value, format!("{MUST}, is `{}`", shown(text)));
            None
        }
    }

    fn cache(&mut self, inputs: &CacheInputs) -> CacheSettings {
        const ENTRIES: RangeInclusive<u32> = 0..=100_000;
        const BYTES: RangeInclusive<u32> = 0..=268_435_456;
        let default = CacheSettings::default();
        let mut number = |key, value: &Option<Spanned<i64>>, bounds| self.number(key, value.clone(), bounds);
        CacheSettings {
            searches: number("cache.searches", &inputs.searches, ENTRIES).unwrap_or(default.searches),
            search_bytes: number("cache.search-bytes", &inputs.search_bytes, BYTES)
                .map_or(default.search_bytes, u64::from),
            details: number("cache.details", &inputs.details, ENTRIES).unwrap_or(default.details),
            details_bytes: number("cache.details-bytes", &inputs.details_bytes, BYTES)
                .map_or(default.details_bytes, u64::from),
        }
    }

    /// Without slashes at its end.
    fn address(&mut self, key: &str, value: Option<Spanned<String>>) -> Option<String> {
        let value = value?;
        if is_address(value.get_ref()) {
            return Some(value.get_ref().trim_end_matches('/').to_owned());
        }
        self.report(key, &value, format!("must be an http or https address, is `{}`", shown(value.get_ref())));
        None
    }

    fn manager(&mut self, key: &str, value: Option<Spanned<String>>) -> Option<Manager> {
        let value = value?;
        let found = Manager::parse(value.get_ref());
        if found.is_none() {
            self.report(key, &value, format!("must be native or mise, is `{}`", shown(value.get_ref())));
        }
        found
    }

    fn runtimes(&mut self, inputs: RuntimeInputs) -> RuntimeSettings {
        const LARGEST: i64 = 1 << 50;
        let default = RuntimeSettings::default();
        let cache_bytes = inputs.cache_bytes.and_then(|value| match u64::try_from(*value.get_ref()) {
            Ok(bytes) if *value.get_ref() <= LARGEST => Some(bytes),
            _ => {
                let message = format!("must be between 0 and {LARGEST}, is {}", value.get_ref());
                self.report("runtimes.cache-bytes", &value, message);
                None
            }
        });
        let upstreams = inputs.upstreams.into_iter().map(|(name, inputs)| {
            let key = |key: &str| format!("runtimes.{name}.{key}");
            let upstream = Upstream {
                url: self.address(&key("url"), inputs.url),
                keys: self.absolute_path(&key("keys"), inputs.keys),
                trusted_root: self.absolute_path(&key("trusted-root"), inputs.trusted_root),
                manager: self.manager(&key("manager"), inputs.manager),
            };
            (name.to_owned(), upstream)
        });
        let upstreams = upstreams.collect();
        RuntimeSettings {
            offline: inputs.offline.is_some_and(Spanned::into_inner),
            proxy: self.address("runtimes.proxy", inputs.proxy),
            cache_bytes: cache_bytes.unwrap_or(default.cache_bytes),
            manager: self.manager("runtimes.manager", inputs.manager).unwrap_or(default.manager),
            upstreams,
        }
    }

    fn aur(&mut self, inputs: AurInputs) -> AurSettings {
        let mut settings = AurSettings {
            enabled: inputs.enabled.map(Spanned::into_inner),
            devel: inputs.devel.is_some_and(Spanned::into_inner),
            ..AurSettings::default()
        };
        if let Some(url) = self.address("aur.url", inputs.url) {
            settings.url = url;
        }
        if let Some(server) = inputs.keyserver {
            let schemes = ["hkps://", "hkp://", "https://"];
            let text = server.get_ref();
            if schemes.iter().any(|scheme| text.starts_with(scheme)) && text.bytes().all(|byte| byte.is_ascii_graphic())
            {
                settings.keyserver = Some(server.into_inner());
            } else {
                let message = format!("must be an hkps, hkp or https address, is `{}`", shown(text));
                self.report("aur.keyserver", &server, message);
            }
        }
        settings
    }

    fn apt(&mut self, inputs: AptInputs) -> AptSettings {
        const KEY: &str = "apt.options";
        let root = self.absolute_path("apt.root", inputs.root);
        let mut options = Vec::new();
        if let Some(given) = inputs.options {
            if given.get_ref().len() > MAX_APT_OPTIONS {
                let message = format!("at most {MAX_APT_OPTIONS} options, are {}", given.get_ref().len());
                self.report(KEY, &given, message);
                return AptSettings { root, options };
            }
            for option in given.into_inner() {
                if is_apt_option(option.get_ref()) {
                    options.push(option.into_inner());
                } else {
                    let message = format!("must be Key=Value, is `{}`", shown(option.get_ref()));
                    self.report(KEY, &option, message);
                }
            }
        }
        AptSettings { root, options }
    }
}

/// `http` or `https`, a host with or without a port, and perhaps a path; no user, query or fragment.
fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        text.len() <= MAX_TEXT
            && rest.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]/%+".contains(&byte))
    })
}

/// `Dir::Cache=/path`, `APT::Architectures::=arm64`…: apt-config's names, and values on one line.
fn is_apt_option(option: &str) -> bool {
    option.len() <= MAX_TEXT
        && option.split_once('=').is_some_and(|(key, value)| {
            key.starts_with(|first: char| first.is_ascii_alphanumeric())
                && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_./+".contains(&byte))
                && !value.contains(char::is_control)
        })
}
