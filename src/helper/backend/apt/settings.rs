//! apt's configuration, as apt itself would read it.

use rust_apt::config::Config;
use rust_apt::raw::config as raw;

use super::super::{Error, System};

const ARCHITECTURES: &str = "APT::Architectures";

/// Reads apt's configuration files, of the machine or of the system's root, and applies the options of `system` last,
/// as `-o` does. Must be the first use of apt's library in the process; later calls find what the first one read, since
/// reading the files again would append to every list in them.
///
/// # Errors
/// When the files have errors, or the root or an option cannot be used.
pub fn load(system: &System, warnings: &mut Vec<String>) -> Result<Config, Error> {
    if raw::exists("APT::Architecture".to_owned()) {
        return Ok(Config::new());
    }
    let root = system.root.as_deref().map(std::path::absolute).transpose()?;
    let root = match &root {
        Some(root) if !root.is_dir() => return Err(format!("the root {} is no folder", root.display()).into()),
        Some(root) => Some(root.to_str().ok_or_else(|| format!("the root {} is not UTF-8", root.display()))?),
        None => None,
    };
    let under_root = |root: &str| {
        raw::set("Dir".to_owned(), root.to_owned());
        raw::set("Dir::State::status".to_owned(), format!("{}/var/lib/dpkg/status", root.trim_end_matches('/')));
    };
    // apt sets only what is not set yet, so the root's own configuration files are read, not the machine's.
    root.inspect(|root| under_root(root));
    raw::init_config();
    super::take_messages(warnings)?;
    // APT_CONFIG and the files themselves may name another root; the system wins.
    root.inspect(|root| raw::set("Dir".to_owned(), (*root).to_owned()));
    for option in &system.options {
        let (key, value) = option.split_once('=').ok_or_else(|| format!("option {option}: expected Key=Value"))?;
        raw::set(key.to_owned(), value.to_owned());
    }
    // Initialises apt's system on top; the configuration is there already.
    let config = Config::new();
    // What is not configured, apt asks dpkg for each time it opens its cache; whoever changes it meanwhile is seen by the
    // next helper.
    if !config.contains(ARCHITECTURES) {
        let architectures = config.get_architectures();
        config.set_vector(ARCHITECTURES, &architectures.iter().map(String::as_str).collect());
    }
    super::take_messages(warnings)?;
    Ok(config)
}
