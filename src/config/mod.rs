//! The configuration file, in three steps, each with its own type:
//!
//! 1. [`ConfigFile`]: the bytes, bounded, with the positions of lines;
//! 2. [`Inputs`]: what the file sets, by key, of the right type and with its place in the file, not judged yet;
//! 3. [`Settings`]: every setting with a valid value, defaults filled in.
//!
//! The file is untrusted input. Whatever is wrong with it is reported at once, each problem with its line, column and
//! key; a key that is not known is a problem too.
//!
//! # `$XDG_CONFIG_HOME/omg/config.toml`
//!
//! | key | value | default |
//! |---|---|---|
//! | `backend` | `"auto"`, `"apt"`, `"alpm"` or `"none"` | `"auto"`: by os-release |
//! | `data-dir` | absolute path | see [`Paths`] |
//! | `helper` | absolute path of `omg-helper` | beside the daemon, then where it was installed |
//! | `helper-timeout` | seconds after which a helper that has not finished is ended, 1 to 3600 | 120 |
//! | `idle-timeout` | seconds without a call after which the daemon ends, 0 for never, at most 604800 | 300 |
//! | `worker-interval` | seconds between two looks at the package system, 10 to 86400 | 300 |
//! | `status-max-age` | seconds after which the prompt calls the status file stale, 60 to 31536000 | 86400 |
//! | `cache.searches` | answers to searches and listings kept in memory, 0 to 100000 | 256 |
//! | `cache.search-bytes` | bytes that they may take, 0 to 268435456 | 1048576 |
//! | `cache.details` | details of packages kept in memory, 0 to 100000 | 256 |
//! | `cache.details-bytes` | bytes that they may take, 0 to 268435456 | 524288 |
//! | `apt.root` | absolute path, given to apt as `Dir` | the machine's own |
//! | `apt.options` | array of `"Key=Value"`, given to apt like its `-o`, at most 256 | none |
//! | `aur.enabled` | whether the Arch User Repository is asked | `true` where packages are pacman's |
//! | `aur.url` | `http` or `https` address | `"https://aur.archlinux.org"` |
//! | `aur.devel` | whether upgrades are also those to newer commits of the repositories that packages are built from | `false` |
//! | `aur.keyserver` | `hkps`, `hkp` or `https` address, for keys of sources | `"hkps://keyserver.ubuntu.com"` |
//! | `runtimes.offline` | whether nothing is fetched for runtimes | `false` |
//! | `runtimes.proxy` | `http` or `https` address of a proxy for runtimes | that of the daemon's environment (`https_proxy`, `no_proxy`, …) |
//! | `runtimes.cache-bytes` | bytes of downloaded archives that are kept | 2147483648 |
//! | `runtimes.manager` | `"native"`: omg installs what it can and mise the rest, or `"mise"` | `"native"` |
//! | `runtimes.NAME.url` | `http` or `https` address in place of the upstream's (`node`, `python`, `go`, `rust`, `ruby`, `java`, `bun`, `mise`) | the upstream's own |
//! | `runtimes.NAME.keys` | absolute path of OpenPGP certificates whose signatures count too | none |
//! | `runtimes.python.trusted-root` | absolute path of a file as Sigstore's `trusted_root.json`, in place of the one that is part of omg | none |
//! | `runtimes.NAME.manager` | as `runtimes.manager`, for one of them | that |
//!
//! `apt.root` and `apt.options` are for reading package data as the user; nothing that runs as root sees them.

mod file;
mod inputs;
mod paths;
mod runtimes;
mod settings;
#[cfg(test)]
mod tests;

pub use file::{ConfigError, ConfigFile, Located, MAX_BYTES, Problem};
pub use inputs::{AptInputs, AurInputs, CacheInputs, Inputs};
pub use paths::{Paths, SocketOrigin};
pub use runtimes::{Manager, RuntimeInputs, RuntimeSettings, Upstream, UpstreamInputs};
pub use settings::{AptSettings, AurSettings, Backend, CacheSettings, Settings};

use std::path::Path;

/// Reads the configuration file at `path`. With none there, or no path, everything has its default.
///
/// # Errors
/// When the file cannot be read, is larger than [`MAX_BYTES`] or something in it is not valid.
pub fn load(path: Option<&Path>) -> Result<Settings, ConfigError> {
    match path.map(ConfigFile::read).transpose()?.flatten() {
        Some(file) => parse(&file),
        None => Ok(Settings::default()),
    }
}

/// The settings that a file makes.
///
/// # Errors
/// [`ConfigError::Invalid`] with everything that is wrong.
pub fn parse(file: &ConfigFile) -> Result<Settings, ConfigError> {
    let inputs = Inputs::parse(file)?;
    Settings::validate(inputs).map_err(|problems| file.invalid(problems))
}
