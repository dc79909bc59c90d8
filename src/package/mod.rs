//! The domain words: packages, versions, queries and the rows that answer them.
//!
//! Nothing here knows how packages are stored, searched or transported; every other module speaks in these types.

mod details;
mod pacman;
mod query;
mod record;

pub use details::{Fields, PackageDetails, Relation, VersionDetails, VersionSource, split_relations};
pub use pacman::{PackageFileName, compare_versions};
pub use query::{ListQuery, SearchMode, SearchQuery, Selection, UpdatesState};
pub use record::Record;

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};

bitflags::bitflags! {
    /// State of a package. The numbers are part of the D-Bus contract (`u` in rows) and of the snapshot format:
    /// bits are only ever added.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
    pub struct Flags: u32 {
        /// Unpacked and configured, or on the way there.
        const INSTALLED = 1;
        /// Installed because somebody asked for it, not as a dependency.
        const EXPLICIT = 1 << 1;
        /// The candidate is newer than what is installed.
        const UPGRADABLE = 1 << 2;
        /// The upgrade carries a security fix: a version above the installed one, up to the candidate, comes from a
        /// security archive.
        const SECURITY = 1 << 3;
        /// Installed as a dependency that nothing needs any more (`apt autoremove` would take it).
        const ORPHAN = 1 << 4;
        /// Upgrades are held back by the user.
        const HELD = 1 << 5;
        /// Installed, and no configured repository offers the installed version or any other.
        const FOREIGN = 1 << 6;
        /// Marked essential: the system may not work without it.
        const ESSENTIAL = 1 << 7;
        /// The upgrade is not yet offered to this machine (phased updates).
        const PHASED = 1 << 8;
        /// Removed, its configuration files are still there.
        const RESIDUAL = 1 << 9;
        /// Unpacked or half-installed: the package system has to finish or repair it.
        const BROKEN = 1 << 10;
        /// Of another architecture than the machine's own.
        const FOREIGN_ARCH = 1 << 11;
        /// The upgrade is one that the package system's own lists do not offer yet: a newer copy of them does, and it can
        /// be installed once they are fetched.
        const AFTER_REFRESH = 1 << 12;
    }
}

impl Flags {
    /// Lower-case names of the set flags, in bit order, as JSON and the terminal show them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.iter_names().map(|(name, _)| match name {
            "INSTALLED" => "installed",
            "EXPLICIT" => "explicit",
            "UPGRADABLE" => "upgradable",
            "SECURITY" => "security",
            "ORPHAN" => "orphan",
            "HELD" => "held",
            "FOREIGN" => "foreign",
            "ESSENTIAL" => "essential",
            "PHASED" => "phased",
            "RESIDUAL" => "residual",
            "BROKEN" => "broken",
            "FOREIGN_ARCH" => "foreign-arch",
            "AFTER_REFRESH" => "after-refresh",
            other => other,
        })
    }
}

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

/// One package in an answer to a search or a listing.
///
/// As JSON this is the stable object that `--json` and `QueryFd` print.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PackageRow {
    pub name: String,
    /// The candidate; in listings of installed packages the installed version.
    pub version: String,
    /// Of that version: `amd64`, `all`, `x86_64`, `any`…
    pub arch: String,
    /// Where that version comes from; `local` when no configured repository has it.
    pub repository: String,
    pub summary: String,
    pub flags: Flags,
    /// Bytes to download; 0 when unknown.
    pub download_size: u64,
}

/// A [`PackageRow`] whose texts belong to others.
#[derive(Debug, Clone, Default)]
pub struct RowRef<'a> {
    pub name: Cow<'a, str>,
    pub version: &'a str,
    pub arch: &'a str,
    pub repository: &'a str,
    pub summary: &'a str,
    pub flags: Flags,
    pub download_size: u64,
}

impl From<RowRef<'_>> for PackageRow {
    fn from(row: RowRef<'_>) -> Self {
        Self {
            name: row.name.into_owned(),
            version: row.version.to_owned(),
            arch: row.arch.to_owned(),
            repository: row.repository.to_owned(),
            summary: row.summary.to_owned(),
            flags: row.flags,
            download_size: row.download_size,
        }
    }
}

impl<'a> From<&'a PackageRow> for RowRef<'a> {
    fn from(row: &'a PackageRow) -> Self {
        Self {
            name: Cow::Borrowed(&row.name),
            version: &row.version,
            arch: &row.arch,
            repository: &row.repository,
            summary: &row.summary,
            flags: row.flags,
            download_size: row.download_size,
        }
    }
}

/// One available upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpdateRow {
    pub name: String,
    pub from: String,
    pub to: String,
    pub arch: String,
    pub repository: String,
    pub summary: String,
    pub flags: Flags,
    /// Bytes to download; 0 when unknown.
    pub size: u64,
}

/// How many packages are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    pub packages: u32,
    pub installed: u32,
    pub explicit: u32,
    pub upgradable: u32,
    pub security: u32,
    pub orphans: u32,
    pub foreign: u32,
    pub held: u32,
    pub phased: u32,
    pub residual: u32,
    pub broken: u32,
}

impl Counts {
    /// Counts one more package with these flags.
    pub fn add(&mut self, flags: Flags) {
        self.packages += 1;
        for (flag, count) in [
            (Flags::INSTALLED, &mut self.installed),
            (Flags::EXPLICIT, &mut self.explicit),
            (Flags::UPGRADABLE, &mut self.upgradable),
            (Flags::SECURITY, &mut self.security),
            (Flags::ORPHAN, &mut self.orphans),
            (Flags::FOREIGN, &mut self.foreign),
            (Flags::HELD, &mut self.held),
            (Flags::PHASED, &mut self.phased),
            (Flags::RESIDUAL, &mut self.residual),
            (Flags::BROKEN, &mut self.broken),
        ] {
            *count += u32::from(flags.contains(flag));
        }
    }
}
