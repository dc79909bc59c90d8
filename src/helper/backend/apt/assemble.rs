//! Puts what apt computed and what the index files say together, and adds it to the snapshot.

use std::io;
use std::ops::Range;
use std::sync::mpsc::Receiver;

use omg::index::{Builder, Entry, EntryId, Version};
use omg::package::{Flags, PackageDetails, VersionDetails};

use super::lists::{Lists, RawRecord, Translations};
use super::origin::Origins;
use super::stanza;

/// What apt says about one package.
#[derive(Debug)]
pub struct PackageFacts<'a> {
    pub name: &'a str,
    pub arch: String,
    /// Its records, and those of its namesakes of other architectures.
    pub group: Range<usize>,
    pub preferred: bool,
    pub flags: Flags,
    /// Newest first.
    pub versions: Vec<VersionFacts>,
    /// Positions in `versions`.
    pub candidate: Option<usize>,
    pub installed: Option<usize>,
    /// Priority that a pin in the preferences gives the candidate.
    pub pin: Option<i32>,
}

/// What apt says about one version.
#[derive(Debug)]
pub struct VersionFacts {
    pub version: String,
    pub arch: String,
    pub priority: i32,
    /// Numbers in [`Origins`].
    pub origins: Vec<u16>,
    /// Bytes.
    pub download_size: u64,
    /// Bytes.
    pub installed_size: u64,
}

/// Adds packages to a builder.
#[derive(Debug)]
pub struct Assembler<'a> {
    pub lists: &'a Lists,
    pub origins: &'a Origins,
    pub translations: Translations<'a>,
    pub builder: Builder,
}

impl<'a> Assembler<'a> {
    /// Adds all packages that come; their numbers in the answer are in the order in which they came.
    ///
    /// # Errors
    /// Those of [`Builder::add`].
    pub fn run(mut self, packages: &Receiver<Vec<PackageFacts<'a>>>) -> io::Result<(Builder, Vec<EntryId>)> {
        let mut ids = Vec::new();
        for batch in packages {
            for package in &batch {
                ids.push(self.add(package)?);
            }
            // Freeing here what the other thread allocates, while it does, has both wait for the allocator's lock: a
            // tenth of the whole run. All this lasts as long as the process does, as the lists do.
            std::mem::forget(batch);
        }
        std::mem::forget(self.translations);
        Ok((self.builder, ids))
    }

    fn add(&mut self, package: &PackageFacts<'_>) -> io::Result<EntryId> {
        let mut provides: Vec<String> = Vec::new();
        let mut versions = Vec::with_capacity(package.versions.len());
        for (position, facts) in package.versions.iter().enumerate() {
            let record = record(self.lists, self.origins, &package.group, facts);
            for name in record.into_iter().flat_map(|record| stanza::provided_names(record.provides())) {
                if name != package.name && !provides.iter().any(|known| known == name) {
                    provides.push(name.to_owned());
                }
            }
            let mut version = self.version(package, facts, record);
            version.installed = package.installed == Some(position);
            version.candidate = package.candidate == Some(position);
            versions.push(version);
        }
        let pin = package.candidate.and_then(|position| versions.get(position)).zip(package.pin);
        let pin = pin.map(|(candidate, priority)| (candidate.version.clone(), priority));
        let details = PackageDetails { versions, pin };
        let of = |position: Option<usize>| details.versions.get(position?);
        let (candidate, installed) = (of(package.candidate), of(package.installed));
        let shown = candidate.or(installed).or(details.versions.first());
        let entry = Entry {
            name: package.name,
            arch: &package.arch,
            preferred: package.preferred,
            flags: package.flags,
            candidate: candidate.map(short),
            installed: installed.map(short),
            download_size: candidate.map_or(0, |version| version.download_size),
            summary: shown.map_or("", |version| &version.summary),
            description: shown.map_or("", |version| &version.description),
            provides: &provides,
        };
        self.builder.add(&entry, &details)
    }

    fn version(
        &self,
        package: &PackageFacts<'_>,
        facts: &VersionFacts,
        record: Option<RawRecord<'a>>,
    ) -> VersionDetails {
        let implied_md5 = record.and_then(implied_md5);
        let text = record.map(|record| self.describe(package, record, implied_md5.as_deref())).unwrap_or_default();
        let (summary, description) = stanza::summary_and_description(text);
        VersionDetails {
            version: facts.version.clone(),
            arch: facts.arch.clone(),
            priority: facts.priority,
            installed: false,
            candidate: false,
            repository: self.origins.label(&facts.origins).to_owned(),
            sources: self.origins.each(&facts.origins).map(|origin| origin.source.clone()).collect(),
            download_size: facts.download_size,
            installed_size: facts.installed_size,
            summary,
            description,
            record: record.map(|record| record.fields(implied_md5.as_deref())).unwrap_or_default(),
        }
    }

    /// The description that apt shows: the translation of the record's, else, of several originals of the same digest,
    /// the one that apt met first. Lists come before dpkg's status, so where they have no more than the summary, it is
    /// what apt shows.
    fn describe(&self, package: &PackageFacts<'_>, record: RawRecord<'a>, implied_md5: Option<&str>) -> &'a str {
        let md5 = implied_md5.unwrap_or(record.description_md5());
        if let Some(text) = self.translations.find(package.name, md5) {
            return text;
        }
        let listed = implied_md5.and_then(|md5| {
            self.lists
                .records(package.group.clone())
                .find(|other| other.description_md5() == md5 && self.origins.uses(other.place.file))
        });
        listed.unwrap_or(record).description()
    }
}

/// The digest of a description whose record does not give it.
fn implied_md5(record: RawRecord<'_>) -> Option<String> {
    let missing = record.description_md5().is_empty() && !record.description().is_empty();
    missing.then(|| stanza::description_md5(record.description()))
}

fn short(version: &VersionDetails) -> Version<'_> {
    Version { version: &version.version, arch: &version.arch, repository: &version.repository }
}

/// The record that `apt-cache show` prints for a version.
pub fn record<'a>(
    lists: &'a Lists,
    origins: &Origins,
    group: &Range<usize>,
    facts: &VersionFacts,
) -> Option<RawRecord<'a>> {
    let list = origins.main(&facts.origins)?.list?;
    lists.records(group.clone()).find(|record| {
        record.place.file == list
            && record.version() == facts.version
            && (record.arch() == facts.arch || record.arch().is_empty())
    })
}
