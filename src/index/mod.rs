//! The snapshot of every package: its format, writer, reader, and the search over it.
//!
//! `omg-helper` writes a snapshot, `omgd` maps it. A snapshot never changes once it has its name: a new one takes its
//! place by `rename(2)`, so readers keep the one they opened.

mod ahead;
mod blocks;
mod fingerprint;
mod format;
mod nearest;
mod nearness;
mod reader;
mod rows;
mod search;
mod sections;
mod text;
mod writer;

pub use ahead::{Ahead, Newer};
pub use fingerprint::{Fingerprint, SourceStamp};
pub use reader::{OpenError, Snapshot, View};
pub use rows::Window;
pub use search::{Ranked, Searcher};
pub use writer::{Builder, Entry, EntryId, Version};

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::package::Counts;

/// What the AUR is called where package systems are: it is read from its archive, by no package system.
pub const AUR: &str = "aur";

/// What a snapshot is made from besides its source files: two snapshots with equal inputs and an equal fingerprint
/// describe the same packages.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Inputs {
    /// `apt`, `alpm`, [`AUR`].
    pub backend: String,
    /// Root folder of the package system, when it is not the machine's own.
    pub root: Option<String>,
    /// `Key=Value` settings that override the package system's configuration files.
    pub options: Vec<String>,
    /// Release of the running kernel: what may be autoremoved depends on it.
    pub kernel: String,
    /// The locale whose translations are wanted, as `LC_MESSAGES` names it.
    pub locale: String,
    /// The other variables that the package systems read, where they are set.
    pub environment: Vec<(String, String)>,
    /// The snapshot of the AUR's packages that this one was completed with, if it was to be.
    pub aur: Option<PathBuf>,
}

impl Inputs {
    /// The inputs for `backend` in this process's environment.
    pub fn here(backend: &str, root: Option<String>, options: Vec<String>) -> Self {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
            .unwrap_or_default();
        Self {
            backend: backend.to_owned(),
            root,
            options,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            locale,
            environment: ["APT_CONFIG", "LANGUAGE"]
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?.to_string_lossy().into_owned())))
                .collect(),
            aur: None,
        }
    }

    /// The inputs for the AUR's packages, from its archive.
    pub fn of_aur(archive: &Path) -> Self {
        Self { backend: AUR.to_owned(), options: vec![archive.to_string_lossy().into_owned()], ..Self::default() }
    }

    /// A name that differs for different package systems, whatever else they are read with.
    pub fn system_name(&self) -> String {
        let bytes = postcard::to_stdvec(&(&self.backend, &self.root, &self.options)).unwrap_or_default();
        format!("{}-{:08x}", self.backend, crc32fast::hash(&bytes))
    }

    /// A file name that differs for different inputs, so that daemons with different settings do not overwrite each
    /// other's snapshots.
    pub fn file_name(&self) -> String {
        let bytes = postcard::to_stdvec(self).unwrap_or_default();
        format!("{}-{:08x}.snapshot", self.backend, crc32fast::hash(&bytes))
    }
}

/// The head of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meta {
    pub inputs: Inputs,
    /// Grows with every rebuild on this machine.
    pub generation: u64,
    /// Unix time in seconds.
    pub created: u64,
    /// When the package lists were last fetched, Unix time in seconds; 0 when never.
    pub last_refresh: u64,
    /// The machine's own architecture.
    pub arch: String,
    pub counts: Counts,
    /// Changes exactly when the set of installed packages and versions changes.
    pub installed_digest: u64,
    /// Changes exactly when the set of available upgrades changes.
    pub updates_digest: u64,
    /// What a copy of the package lists offers that is newer than the package system's own; `None` where there is no such
    /// copy. Then [`Flags::UPGRADABLE`](crate::package::Flags::UPGRADABLE) goes by the copy.
    pub ahead: Option<Ahead>,
    /// Groups of packages with the names of their members, both in order.
    pub groups: Vec<(String, Vec<String>)>,
    /// Folders of downloaded package files whose versions can be installed; none where the package system takes none from
    /// there.
    pub downloads: Vec<PathBuf>,
    /// Problems that the package system reported while it was read, in its own words.
    pub warnings: Vec<String>,
}

/// Whether something could not be written because there is no room for it: the disk is full, a quota is used up, the file
/// would be longer than allowed, or memory is short.
pub fn is_out_of_room(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(error.kind(), Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge | Kind::OutOfMemory)
}
