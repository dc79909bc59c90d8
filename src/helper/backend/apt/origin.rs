//! What apt knows about the index files it made its cache from.

use std::collections::HashMap;

use omg::package::VersionSource;
use rust_apt::{Cache, PackageFile, Version};

use super::lists::Lists;

/// Label of the repository of a version that none has.
pub const LOCAL: &str = "local";

/// One index file of apt's cache.
#[derive(Debug)]
pub struct Origin {
    /// As `apt-cache policy` shows it.
    pub source: VersionSource,
    /// `bookworm/main`; what a flat or nameless archive has instead.
    pub label: String,
    /// Whether packages can be fetched from there; dpkg's status is the one where they cannot.
    pub downloadable: bool,
    /// Whether it is a security archive.
    pub security: bool,
    /// Its number among the lists that were read.
    pub list: Option<u32>,
}

impl Origin {
    fn of(file: &PackageFile<'_>, lists: &Lists) -> Self {
        // dpkg's status is named by its path. The bindings crash when they are asked for what describes a file that was
        // replaced since the cache was made of it, which dpkg does with that one at every step.
        let description = match file.filename() {
            Some(path) if !file.is_downloadable() => path.to_owned(),
            _ => file.index_file().describe(true),
        };
        let source = VersionSource { priority: file.priority(), description };
        let is_security = |name: Option<&str>| name.is_some_and(|name| name.ends_with("-security"));
        let label = label(file, &source.description);
        Self {
            source,
            label,
            downloadable: file.is_downloadable(),
            security: is_security(file.archive())
                || is_security(file.codename())
                || file.label() == Some("Debian-Security"),
            list: file.filename().and_then(|path| lists.file(path.as_ref())),
        }
    }
}

/// All index files of a cache.
#[derive(Debug)]
pub struct Origins {
    origins: Vec<Origin>,
    /// Positions by apt's own numbers.
    numbers: HashMap<usize, u16>,
}

impl Origins {
    /// # Errors
    /// When there are more files than a `u16` counts.
    pub fn of(cache: &Cache, lists: &Lists) -> Result<Self, std::num::TryFromIntError> {
        let mut all = Self { origins: Vec::new(), numbers: HashMap::new() };
        for file in cache.package_files().filter(holds_packages) {
            all.numbers.insert(file.index(), u16::try_from(all.origins.len())?);
            all.origins.push(Origin::of(&file, lists));
        }
        Ok(all)
    }

    /// Where a version comes from, in apt's order.
    pub fn of_version(&self, version: &Version<'_>) -> Vec<u16> {
        version.package_files().filter_map(|file| self.numbers.get(&file.index()).copied()).collect()
    }

    /// Whether the list of this number is one of the files that apt made its cache from.
    pub fn uses(&self, list: u32) -> bool {
        self.origins.iter().any(|origin| origin.list == Some(list))
    }

    /// The origins of these numbers.
    pub fn each<'a>(&'a self, numbers: &'a [u16]) -> impl Iterator<Item = &'a Origin> {
        numbers.iter().filter_map(|number| self.origins.get(usize::from(*number)))
    }

    /// The first one that packages can be fetched from, else the first one: whose record `apt-cache show` prints.
    pub fn main<'a>(&'a self, numbers: &'a [u16]) -> Option<&'a Origin> {
        self.each(numbers).find(|origin| origin.downloadable).or_else(|| self.each(numbers).next())
    }

    /// Label of the repository that a version from these origins is said to come from.
    pub fn label<'a>(&'a self, numbers: &'a [u16]) -> &'a str {
        self.each(numbers).find(|origin| origin.downloadable).map_or(LOCAL, |origin| &origin.label)
    }
}

/// Label of the repository that an index file is from; `description` is apt's short one.
pub fn label(file: &PackageFile<'_>, description: &str) -> String {
    match (file.codename().or_else(|| file.archive()), file.component()) {
        (Some(suite), Some(component)) => format!("{suite}/{component}"),
        (Some(name), None) => name.to_owned(),
        (None, _) => match file.site() {
            Some(site) => site.to_owned(),
            None => description.split(' ').next().unwrap_or(LOCAL).to_owned(),
        },
    }
}

/// Whether an index file lists packages, not translations.
pub fn holds_packages(file: &PackageFile<'_>) -> bool {
    file.index_type() != Some("Debian Translation Index")
}
