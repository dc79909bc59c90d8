//! Where things are on this machine, for this user.

use std::ffi::OsString;
use std::path::PathBuf;

/// Who chose the place of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketOrigin {
    /// `OMG_SOCKET_PATH`.
    Override,
    /// `$XDG_RUNTIME_DIR`, a folder of the user's own.
    RuntimeDir,
    /// A folder in `/tmp`, where others can have put something: it must be created with mode 0700, or be a real folder
    /// of that mode and of this user.
    Temporary,
}

/// Files and folders, from the environment. Relative paths in XDG variables and in `HOME` are ignored, as the XDG base
/// directory specification asks. Nothing is created or looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `$XDG_CONFIG_HOME/omg/config.toml`, or below `~/.config`. `None` without a home.
    pub config_file: Option<PathBuf>,
    /// `$XDG_DATA_HOME/omg`, `~/.local/share/omg`, or `/var/lib/omg` without a home; the setting `data-dir` goes first.
    pub data_dir: PathBuf,
    /// `$XDG_CACHE_HOME/omg`, `~/.cache/omg`, or the folder `cache` of the data without a home.
    pub cache_dir: PathBuf,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `OMG_SOCKET_PATH`, `$XDG_RUNTIME_DIR/omg.sock`, or `/tmp/omg-<uid>/omg.sock`.
    pub socket: PathBuf,
    pub socket_origin: SocketOrigin,
    /// Always where `omg-fast` looks, which reads no configuration: [`crate::status::default_path`].
    pub status_file: PathBuf,
}

impl Paths {
    /// The paths of this process.
    pub fn from_process() -> Self {
        Self::from_environment(rustix::process::getuid().as_raw(), |name| std::env::var_os(name))
    }

    /// The paths of user `uid` with the variables that `variable` knows.
    pub fn from_environment(uid: u32, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("HOME");
        let base = |name, below_home| absolute(name).or_else(|| home.as_ref().map(|home| home.join(below_home)));
        let data_dir = crate::status::data_dir(&variable);
        let runtime_dir = absolute("XDG_RUNTIME_DIR");
        let (socket, socket_origin) = if let Some(path) = variable("OMG_SOCKET_PATH").filter(|path| !path.is_empty()) {
            (PathBuf::from(path), SocketOrigin::Override)
        } else if let Some(folder) = &runtime_dir {
            (folder.join("omg.sock"), SocketOrigin::RuntimeDir)
        } else {
            (PathBuf::from(format!("/tmp/omg-{uid}/omg.sock")), SocketOrigin::Temporary)
        };
        Self {
            config_file: base("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("omg/config.toml")),
            cache_dir: base("XDG_CACHE_HOME", ".cache").map_or_else(|| data_dir.join("cache"), |dir| dir.join("omg")),
            status_file: data_dir.join("status"),
            data_dir,
            runtime_dir,
            socket,
            socket_origin,
        }
    }

    /// These paths as the settings change them.
    #[must_use]
    pub fn with_settings(mut self, settings: &super::Settings) -> Self {
        if let Some(data_dir) = &settings.data_dir {
            self.data_dir.clone_from(data_dir);
        }
        self
    }
}
