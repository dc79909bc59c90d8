//! pacman: Arch Linux and its relatives, through libalpm.
//!
//! libalpm stays on one thread. Its bindings panic on text that is not UTF-8; what holds such text is left out ([`sound`]).

mod answers;
mod cache;
mod commit;
mod copy;
mod download;
mod file;
mod files;
mod locks;
mod mark;
mod order;
mod record;
mod relations;
mod repair;
mod resolve;
mod settings;
mod sources;
mod xfer;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use alpm::{Alpm, AlpmList, Db, Package, PackageReason, Usage};
use omg::aur::order as aur;
use omg::index::{Ahead, Builder, Entry, EntryId, Meta, Newer, Snapshot, Version};
use omg::package::{Flags, PackageDetails, VersionDetails, VersionSource};
use omg::transaction::{Download, Failure, Outcome, PathAnswer, PathQuery, Plan, Request};

use super::{Backend, Caller, Contents, Error, System, package_files};
use crate::index::Timings;
use relations::Installed;
use settings::Settings;

/// What packages that no repository offers are labelled with.
const LOCAL: &str = "local";

/// What packages that are installed from the download cache are labelled with.
const CACHE: &str = "cache";

/// Packages that are handed to another thread at once: waking it takes as long as describing a few.
const TOGETHER: usize = 128;
/// How many times as many may wait there.
const WAITING: usize = 8;

/// The libalpm backend.
#[derive(Debug)]
pub struct Pacman;

impl Backend for Pacman {
    fn name(&self) -> &'static str {
        "alpm"
    }

    fn read(&self, system: &System, copy: Option<&Path>, timings: &mut Timings) -> Result<Contents, Error> {
        let settings = Settings::read(system)?;
        // Before anything is read: what changes from now on differs from its stamp.
        let fingerprint = sources::fingerprint(&settings, copy);
        let last_refresh = sources::last_refresh(&settings, Path::new(&settings.config.db_path));
        timings.phase("settings and fingerprint");
        let handle = left_to_the_end(settings.handle()?);
        let copy = copy.and_then(|folder| copy::newer_than(last_refresh, &settings, folder));
        let copy = copy.map(|(handle, refreshed)| (left_to_the_end(handle), refreshed));
        let native = settings.config.architecture.first().map_or("", String::as_str);
        let mut warnings = Vec::new();
        let aur = system.aur.as_deref().filter(|path| path.exists()).and_then(|path| {
            Snapshot::open(path)
                .inspect_err(|error| warnings.push(format!("upgrades from the AUR are not known: {error}")))
                .ok()
        });
        let mut reading = Reading {
            handle: &handle,
            copy: copy.as_ref().map(|(handle, _)| &**handle),
            settings: &settings,
            aur: aur.as_ref(),
            ahead: Ahead { refreshed: copy.as_ref().map_or(0, |(_, refreshed)| *refreshed), ..Ahead::default() },
            groups: BTreeMap::new(),
            warnings,
            unreadable: 0,
        };
        let builder = reading.all(native, timings)?;
        let Reading { ahead, groups, mut warnings, unreadable, .. } = reading;
        if unreadable > 0 {
            warnings.push(format!("{unreadable} packages are left out: their text is not UTF-8"));
        }
        let groups = groups.into_iter().map(|(group, members)| (group, members.into_iter().collect())).collect();
        let ahead = copy.is_some().then_some(ahead);
        let downloads = settings.config.cache_dir.iter().map(PathBuf::from).collect();
        Ok((
            builder,
            Meta { last_refresh: last_refresh.as_secs(), ahead, groups, downloads, warnings, ..Meta::default() },
            fingerprint,
        ))
    }

    fn plan(&self, system: &System, request: &Request) -> Result<Plan, Failure> {
        resolve::plan(system, request)
    }

    fn commit(&self, system: &System, request: &Request, caller: &dyn Caller) -> Outcome {
        commit::commit(system, request, caller)
    }

    fn sweep(&self, system: &System) -> io::Result<()> {
        package_files::sweep(system)
    }

    fn download(&self, system: &System, request: &Download, caller: &dyn Caller) -> Outcome {
        download::download(system, request, caller)
    }

    fn refresh(&self, system: &System, caller: &dyn Caller) -> Outcome {
        commit::refresh(system, caller)
    }

    fn paths(&self, system: &System, copy: Option<&Path>, query: &PathQuery) -> Result<PathAnswer, Failure> {
        files::paths(system, copy, query)
    }

    fn refresh_copy(&self, system: &System, folder: &Path, files: bool, caller: &dyn Caller) -> Outcome {
        copy::refresh(system, folder, files, caller)
    }

    fn order(&self, system: &System, request: &aur::Request) -> aur::Answer {
        order::order(system, request)
    }
}

/// A handle that is freed with the process, which does not have long: package by package it takes a tenth of the time that
/// reading them took. It must hold no lock.
fn left_to_the_end(handle: Alpm) -> ManuallyDrop<Alpm> {
    ManuallyDrop::new(handle)
}

/// What the bindings read, unless they meet text that is not UTF-8, which they panic at.
fn sound<T>(read: impl FnOnce() -> T) -> Option<T> {
    // Nothing of ours is changed by what is read.
    catch_unwind(AssertUnwindSafe(read)).ok()
}

/// Silences panics while it lives: those that [`sound`] catches are told as left out packages.
struct Quiet;

impl Quiet {
    fn new() -> Self {
        std::panic::set_hook(Box::new(|_| {}));
        Self
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = std::panic::take_hook();
    }
}

/// A package under its name, as one database has it.
struct Found<'a> {
    name: &'a str,
    place: Place<'a>,
}

enum Place<'a> {
    /// Position among the installed packages.
    Installed(usize),
    Offered(Offer<'a>),
}

/// One package's name in all databases.
struct Known<'a, 'b> {
    /// Position among the installed packages.
    installed: Option<usize>,
    /// In the order of the repositories.
    offered: Vec<&'b Offer<'a>>,
}

impl<'a, 'b> Known<'a, 'b> {
    fn of(found: &'b [Found<'a>]) -> Self {
        let mut known = Self { installed: None, offered: Vec::with_capacity(found.len()) };
        for Found { place, .. } in found {
            match place {
                Place::Installed(position) => known.installed = Some(*position),
                Place::Offered(offer) => known.offered.push(offer),
            }
        }
        known
    }
}

/// A package as a repository has it.
struct Offer<'a> {
    package: &'a Package,
    database: &'a Db,
    /// Whether packages may be installed from there (`Usage`, pacman.conf(5)).
    installable: bool,
}

/// One pass over all databases.
struct Reading<'a> {
    handle: &'a Alpm,
    /// The user's own sync databases, where they are newer.
    copy: Option<&'a Alpm>,
    settings: &'a Settings,
    aur: Option<&'a Snapshot>,
    ahead: Ahead,
    groups: BTreeMap<String, BTreeSet<String>>,
    warnings: Vec<String>,
    /// Packages left out.
    unreadable: usize,
}

impl<'a> Reading<'a> {
    fn all(&mut self, native: &str, timings: &mut Timings) -> Result<Builder, Error> {
        let quiet = Quiet::new();
        let mut found: Vec<Found<'a>> = Vec::new();
        let installed = Installed::read(self.handle.localdb(), &mut self.unreadable);
        for (position, package) in installed.packages.iter().enumerate() {
            found.push(Found { name: package.name(), place: Place::Installed(position) });
        }
        timings.phase("local database");
        for database in self.handle.syncdbs() {
            self.offers(database, &mut found);
        }
        // Each database has them in this order already; those of one name stay in the order of the databases.
        found.sort_by_key(|found| found.name);
        timings.phase("sync databases");
        let syncdbs = self.handle.syncdbs();
        // Only this thread may ask libalpm, which takes about as long as adding what it tells.
        let (mut builder, ids) = thread::scope(|scope| {
            let (adding, described) = sync_channel(WAITING);
            let installed_packages = installed.packages.len();
            let adder = scope.spawn(move || add(described, native, installed_packages));
            let mut together = Vec::with_capacity(TOGETHER);
            for found in found.chunk_by(|one, other| one.name == other.name) {
                let Some(Found { name, .. }) = found.first() else { continue };
                let known = Known::of(found);
                let Some(mut described) = sound(|| self.describe(name, &known, &installed, syncdbs)) else {
                    self.unreadable += 1;
                    continue;
                };
                self.ahead.upgrades.extend(described.newer.take());
                if described.planned {
                    self.ahead.planned.push((*name).to_owned());
                }
                for group in std::mem::take(&mut described.groups) {
                    self.groups.entry(group).or_default().insert((*name).to_owned());
                }
                together.push((*name, described, known.installed));
                // Where it has ended early, it tells why.
                if together.len() == TOGETHER && adding.send(std::mem::take(&mut together)).is_err() {
                    break;
                }
            }
            let _ = adding.send(together);
            drop(adding);
            adder
                .join()
                .map_err(|_| "the thread that adds packages failed".into())
                .and_then(|added| added.map_err(Error::from))
        })?;
        for (from, kind, to) in installed.edges() {
            let id = |position: usize| ids.get(position).copied().flatten();
            if let (Some(from), Some(to)) = (id(from), id(to)) {
                builder.relate(from, kind, to);
            }
        }
        drop(quiet);
        timings.phase("build the snapshot");
        Ok(builder)
    }

    fn offers(&mut self, database: &'a Db, found: &mut Vec<Found<'a>>) {
        let usage = database.usage().unwrap_or(Usage::ALL);
        if !usage.intersects(Usage::SEARCH | Usage::INSTALL | Usage::UPGRADE) {
            return;
        }
        if let Err(error) = sources::usable(self.handle, database) {
            let name = database.name();
            self.warnings.push(format!("the database of {name} cannot be used: {error}; `omg refresh` fetches it"));
            return;
        }
        for package in database.pkgs() {
            match sound(|| package.name()) {
                Some(name) => {
                    let offer = Offer { package, database, installable: usage.contains(Usage::INSTALL) };
                    found.push(Found { name, place: Place::Offered(offer) });
                }
                None => self.unreadable += 1,
            }
        }
    }

    fn describe(
        &self,
        name: &str,
        known: &Known<'a, '_>,
        installed: &Installed<'a>,
        syncdbs: AlpmList<'_, &Db>,
    ) -> Described {
        let local = known.installed.and_then(|position| installed.get(position));
        let mut flags = Flags::empty();
        let mut versions = Vec::with_capacity(known.offered.len() + 1);
        let mut current = None;
        let (mut planned, mut newer) = (false, None);
        if let Some((package, needed)) = local {
            current = Some(package.version());
            flags |= Flags::INSTALLED;
            flags.set(Flags::EXPLICIT, package.reason() == PackageReason::Explicit);
            let unneeded = needed.by.is_empty() && needed.optional_for.is_empty();
            flags.set(Flags::ORPHAN, !flags.contains(Flags::EXPLICIT) && unneeded);
            let own = package.sync_new_version(syncdbs);
            planned = own.is_some();
            newer =
                self.copy.and_then(|copy| sound(|| package.sync_new_version(copy.syncdbs()).map(upgrade)).flatten());
            flags.set(Flags::UPGRADABLE, if self.copy.is_some() { newer.is_some() } else { planned });
            let only_later = |newer: &Newer| own.is_none_or(|own| own.version().as_str() != newer.version);
            flags.set(Flags::AFTER_REFRESH, newer.as_ref().is_some_and(only_later));
            flags.set(Flags::FOREIGN, known.offered.is_empty());
            flags.set(Flags::HELD, package.should_ignore());
            flags.set(
                Flags::BROKEN,
                repair::is_torn(self.handle, package)
                    || known.installed.is_some_and(|position| installed.is_broken(position)),
            );
        }
        flags.set(Flags::ESSENTIAL, self.settings.holds(name));
        for offer in &known.offered {
            let is_current = current == Some(offer.package.version()) && !versions.iter().any(is_installed);
            let mut version = record::version(offer.package, offer.database.name(), local.filter(|_| is_current));
            version.candidate = offer.installable && !versions.iter().any(is_candidate);
            let server = offer.database.servers().first().unwrap_or_default();
            version.sources =
                vec![VersionSource { priority: 0, description: format!("{} {server}", offer.database.name()) }];
            versions.push(version);
        }
        if let Some((package, _)) = local.filter(|_| known.offered.is_empty())
            && let Some(version) = self.newer_in_aur(package)
        {
            flags |= Flags::UPGRADABLE;
            planned = true;
            versions.push(version);
        }
        if let Some((package, needed)) = local.filter(|_| !versions.iter().any(is_installed)) {
            let version = record::version(package, LOCAL, Some((package, needed)));
            // Nothing would take its place.
            versions.push(VersionDetails { candidate: versions.is_empty(), ..version });
        }
        let mut provides: Vec<String> = Vec::new();
        let own = || known.offered.iter().map(|offer| offer.package).chain(local.map(|(package, _)| package));
        for provided in own().flat_map(|package| package.provides()) {
            if provided.name() != name && !provides.iter().any(|known| known == provided.name()) {
                provides.push(provided.name().to_owned());
            }
        }
        let groups = own().flat_map(|package| package.groups()).map(str::to_owned).collect();
        Described { flags, details: PackageDetails { versions, pin: None }, provides, groups, planned, newer }
    }

    /// The AUR's version of an installed package, if that is a newer one.
    fn newer_in_aur(&self, package: &Package) -> Option<VersionDetails> {
        let aur = self.aur?;
        let id = aur.find(package.name())?;
        let version = aur.details(id).ok()?.versions.into_iter().next()?;
        (alpm::vercmp(version.version.as_str(), package.version().as_str()) == Ordering::Greater).then_some(version)
    }
}

fn is_installed(version: &VersionDetails) -> bool {
    version.installed
}

fn is_candidate(version: &VersionDetails) -> bool {
    version.candidate
}

/// A package's name, what the snapshot takes of it, and its position among the installed ones.
type Named<'a> = (&'a str, Described, Option<usize>);

/// Adds packages as they come; the builder, and the numbers of the `installed` packages there.
fn add(
    described: Receiver<Vec<Named<'_>>>,
    native: &str,
    installed: usize,
) -> io::Result<(Builder, Vec<Option<EntryId>>)> {
    let mut builder = Builder::new(native);
    let mut ids = vec![None; installed];
    for (name, described, position) in described.into_iter().flatten() {
        let id = described.add(name, native, &mut builder)?;
        if let Some(place) = position.and_then(|position| ids.get_mut(position)) {
            *place = Some(id);
        }
    }
    Ok((builder, ids))
}

/// What the snapshot takes of one package.
struct Described {
    flags: Flags,
    details: PackageDetails,
    provides: Vec<String>,
    groups: Vec<String>,
    /// Whether the system's own databases have an upgrade.
    planned: bool,
    /// The upgrade that the newer copy has.
    newer: Option<Newer>,
}

/// A version that the copy has.
fn upgrade(package: &Package) -> Newer {
    Newer {
        name: package.name().to_owned(),
        version: package.version().to_string(),
        arch: package.arch().unwrap_or_default().to_owned(),
        repository: package.db().map_or("", Db::name).to_owned(),
        size: u64::try_from(package.size()).unwrap_or(0),
    }
}

impl Described {
    fn add(&self, name: &str, native: &str, builder: &mut Builder) -> io::Result<EntryId> {
        let versions = &self.details.versions;
        let candidate = versions.iter().find(|version| version.candidate);
        let installed = versions.iter().find(|version| version.installed);
        let shown = candidate.or(installed);
        let arch = shown.map_or(native, |version| version.arch.as_str());
        let entry = Entry {
            name,
            // The AUR has sources, of no architecture.
            arch: if matches!(arch, "any" | "") { native } else { arch },
            preferred: true,
            flags: self.flags,
            candidate: candidate.map(short),
            installed: installed.map(short),
            download_size: candidate.map_or(0, |version| version.download_size),
            summary: shown.map_or("", |version| &version.summary),
            description: "",
            provides: &self.provides,
        };
        builder.add(&entry, &self.details)
    }
}

fn short(version: &VersionDetails) -> Version<'_> {
    Version { version: &version.version, arch: &version.arch, repository: &version.repository }
}
