//! pacman's configuration, as pacman itself reads it: pacman-conf(8) expands the file, and what it prints sets the handle.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use alpm::{Alpm, Db};
use pacmanconf::Config;

use super::super::{Error, System};
use super::xfer;

/// Where pacman looks for its configuration.
pub const CONFIG: &str = "/etc/pacman.conf";

/// What the names of sync databases end with; those that list files too have another ending.
pub const DATABASES: &str = ".db";

/// pacman's settings, and the file that they are from.
#[derive(Debug)]
pub struct Settings {
    pub config: Config,
    /// The file that pacman-conf started from.
    pub file: String,
    /// By repository, servers that packages are looked for at first (`CacheServer`), of which the library that reads the rest
    /// knows nothing.
    cache_servers: Vec<(String, String)>,
}

impl Settings {
    /// Reads pacman.conf(5), of the machine or of the system's root, and applies the options of `system` last. These name
    /// what pacman's own command line can: `Config`, `DBPath`, `CacheDir`, `GPGDir`, `HookDir`, `LogFile`.
    ///
    /// # Errors
    /// When the file has errors, in pacman-conf's words, or an option is not one of these.
    pub fn read(system: &System) -> Result<Self, Error> {
        let root = system.root.as_deref().map(std::path::absolute).transpose()?;
        let root = match &root {
            Some(root) if !root.is_dir() => return Err(format!("the root {} is no folder", root.display()).into()),
            Some(root) => Some(root.to_str().ok_or_else(|| format!("the root {} is not UTF-8", root.display()))?),
            None => None,
        };
        let mut options = Vec::new();
        let mut file = root.map_or_else(|| CONFIG.to_owned(), |root| format!("{}{CONFIG}", root.trim_end_matches('/')));
        for option in &system.options {
            match option.split_once('=') {
                Some(("Config", value)) => value.clone_into(&mut file),
                Some(option) => options.push(option),
                None => return Err(format!("option {option}: expected Key=Value").into()),
            }
        }
        let mut reading = Config::options();
        reading.pacman_conf(&file);
        if let Some(root) = root {
            reading.root_dir(root);
        }
        let unreadable = |error: pacmanconf::Error| format!("pacman-conf cannot read {file}: {error}");
        let text = reading.expand().map_err(unreadable)?;
        let mut config: Config = text.parse().map_err(unreadable)?;
        let cache_servers = cache_servers(&text);
        for (key, value) in options {
            let value = value.to_owned();
            match key {
                "DBPath" => config.db_path = value,
                "CacheDir" => config.cache_dir = vec![value],
                "GPGDir" => config.gpg_dir = value,
                "HookDir" => config.hook_dir = vec![value],
                "LogFile" => config.log_file = value,
                _ => {
                    let known = "Config, DBPath, CacheDir, GPGDir, HookDir, LogFile";
                    return Err(format!("option {key}: pacman has no such option; there are {known}").into());
                }
            }
        }
        Ok(Self { config, file, cache_servers })
    }

    /// Whether pacman asks before it removes this package (`HoldPkg`), whose patterns are those of fnmatch(3).
    pub fn holds(&self, name: &str) -> bool {
        let Ok(name) = CString::new(name) else { return false };
        self.config.hold_pkg.iter().any(|pattern| {
            let Ok(pattern) = CString::new(pattern.as_str()) else { return false };
            #[expect(unsafe_code, reason = "fnmatch(3) is what pacman compares with")]
            // SAFETY: both are strings that end, and live until it returns.
            let differs = unsafe { libc::fnmatch(pattern.as_ptr(), name.as_ptr(), 0) };
            differs == 0
        })
    }

    /// A handle with these settings and every configured repository registered.
    ///
    /// # Errors
    /// In libalpm's words.
    pub fn handle(&self) -> Result<Alpm, Error> {
        self.handle_of(Path::new(&self.config.db_path))
    }

    /// The same for the databases in another folder.
    ///
    /// # Errors
    /// In libalpm's words.
    pub fn handle_of(&self, database: &Path) -> Result<Alpm, Error> {
        self.handle_with(database, DATABASES)
    }

    /// The same for sync databases whose files' names end otherwise.
    ///
    /// # Errors
    /// In libalpm's words.
    pub fn handle_with(&self, database: &Path, extension: &str) -> Result<Alpm, Error> {
        let config = &self.config;
        let cannot = |error: alpm::Error| format!("libalpm cannot be set up from {}: {error}", self.file);
        if !database.is_dir() {
            return Err(format!("there is no package database: {} is no folder", database.display()).into());
        }
        let place = database.as_os_str().as_bytes();
        let mut handle = Alpm::new(config.root_dir.as_bytes(), place).map_err(cannot)?;
        handle.set_dbext(extension);
        // The distribution's own hooks, which pacman-conf does not tell of and the library below would forget.
        let hooks: Vec<String> = handle.hookdirs().into_iter().map(str::to_owned).collect();
        alpm_utils::configure_alpm(&mut handle, config).map_err(cannot)?;
        handle.set_hookdirs(hooks.iter().chain(&config.hook_dir)).map_err(cannot)?;
        // Only root can become somebody else, and with all of the sandbox disabled libalpm does not: whom it does not become is
        // not told of either.
        let disabled = config.disable_sandbox || config.disable_sandbox_filesystem && config.disable_sandbox_syscalls;
        if disabled || !rustix::process::geteuid().is_root() {
            handle.set_sandbox_user(None::<String>).map_err(cannot)?;
        }
        // Which the library above leaves out.
        handle.set_ignoregroups(config.ignore_group.iter()).map_err(cannot)?;
        for (repository, server) in &self.cache_servers {
            if let Some(database) = handle.syncdbs().into_iter().find(|database| database.name() == repository) {
                add_cache_server(database, server)
                    .map_err(|()| format!("{}: {repository}: the CacheServer {server} cannot be used", self.file))?;
            }
        }
        if !config.xfer_command.is_empty() {
            xfer::fetch_with(&handle, &config.xfer_command).map_err(|error| format!("{}: {error}", self.file))?;
        }
        Ok(handle)
    }
}

/// Repositories and their servers in what pacman-conf(8) prints, in that order.
fn cache_servers(text: &str) -> Vec<(String, String)> {
    let mut repository = "";
    let mut servers = Vec::new();
    for line in text.lines() {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            repository = section;
        } else if let Some(("CacheServer", server)) = line.split_once(" = ") {
            servers.push((repository.to_owned(), server.to_owned()));
        }
    }
    servers
}

/// Has packages of a repository looked for at a server before all others.
fn add_cache_server(database: &Db, server: &str) -> Result<(), ()> {
    let server = CString::new(server).map_err(drop)?;
    #[expect(unsafe_code, reason = "the bindings have no word for this")]
    // SAFETY: the database is registered as long as its handle lives, which lends it; libalpm copies the string.
    let added = unsafe { alpm_sys::alpm_db_add_cache_server(database.as_ptr(), server.as_ptr()) };
    if added == 0 { Ok(()) } else { Err(()) }
}
