//! apt: Debian and its relatives, through libapt-pkg.
//!
//! libapt-pkg computes states, candidates and priorities; it stays on one thread, as it must. The text of the records
//! comes from the index files themselves ([`lists`]), which another thread reads meanwhile, and a third one builds the
//! snapshot from both ([`assemble`]).
//!
//! The bindings abort the process when a name or version that they hand over is not UTF-8. So packages are not walked
//! in apt's order: the names come from the index files, and what is not UTF-8 there is never asked for. Plans are made
//! without reading the index files; there a record's fields are read before names are asked for ([`text`]).
//!
//! A plan ([`resolve`]) is apt's cache with marks in it ([`marking`]), read ([`changes`]).

mod assemble;
mod autoremove;
mod caches;
mod changes;
mod commit;
mod deb;
mod download;
mod files;
mod languages;
mod lists;
mod marking;
mod origin;
mod phasing;
mod release;
mod resolve;
mod settings;
mod sources;
mod stanza;
mod state;
mod target;
mod text;
mod unmet;

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use omg::index::{Builder, Meta};
use omg::package::Flags;
use omg::transaction::{Applied, Download, Failure, FailureKind, Outcome, PathAnswer, PathQuery, Plan, Request};
use rust_apt::config::Config;
use rust_apt::error::AptErrors;
use rust_apt::{Cache, Package, PackageFile, Version};

use super::{Backend, Caller, Contents, Error, System, package_files};
use crate::index::Timings;
use assemble::{Assembler, PackageFacts, VersionFacts};
use lists::{ListFile, Lists};
use origin::Origins;
use phasing::Phasing;

/// Packages that are handed from thread to thread at once.
const BATCH: usize = 256;
/// Batches that may wait.
const WAITING: usize = 16;

/// The apt backend.
#[derive(Debug)]
pub struct Apt;

impl Backend for Apt {
    fn name(&self) -> &'static str {
        "apt"
    }

    fn read(&self, system: &System, _: Option<&Path>, timings: &mut Timings) -> Result<Contents, Error> {
        let mut warnings = Vec::new();
        let config = settings::load(system, &mut warnings)?;
        let native = config.find("APT::Architecture", "");
        // Before anything is read: what changes from now on differs from its stamp.
        let fingerprint = sources::fingerprint(&config);
        let last_refresh = sources::last_refresh(&config);

        let mut paths = sources::package_lists(&config);
        let status = PathBuf::from(config.file("Dir::State::status", ""));
        caches::distrust_old(&config, &status, &paths);
        paths.push(status);
        timings.phase("settings and fingerprint");
        let (cache, lists) = thread::scope(|scope| {
            // What cannot be read is an error only if apt turns out to use it, which is seen later.
            let reader =
                scope.spawn(|| Lists::new(paths.iter().filter_map(|path| ListFile::read(path).ok()).collect()));
            let cache = open(&[], &mut warnings);
            timings.phase("open the cache");
            let lists = reader.join().map_err(|_| "the reader of the package lists failed");
            timings.phase("wait for the lists");
            Ok::<_, Error>((cache?, lists?))
        })?;
        let used: Vec<PathBuf> = cache.package_files().filter_map(|file| file.filename().map(PathBuf::from)).collect();
        // The process ends soon: giving the lists back piece by piece would take longer than ending with them.
        let lists = ManuallyDrop::new(complete(lists, &used)?);

        if sources::lists_changed(&config, &fingerprint) {
            // See [`Origin::of`]: the bindings would crash.
            return Err("the package lists were replaced while they were read; read them again".into());
        }
        let origins = Origins::of(&cache, &lists)?;
        let translated: Vec<u32> = cache
            .package_files()
            .filter(|file| !origin::holds_packages(file))
            .filter_map(|file: PackageFile<'_>| lists.file(Path::new(file.filename()?)))
            .collect();
        let assembler = Assembler {
            lists: &lists,
            origins: &origins,
            translations: lists.translations(&translated, &languages::wanted(&config)),
            builder: Builder::new(&native),
        };
        timings.phase("origins and translations");

        let (sender, receiver) = sync_channel(WAITING);
        let (mut walk, built) = thread::scope(|scope| {
            let worker = scope.spawn(move || assembler.run(&receiver));
            let mut walk = Walk {
                cache: &cache,
                config: &config,
                lists: &lists,
                origins: &origins,
                native: &native,
                architectures: config.get_architectures(),
                phasing: OnceCell::new(),
                numbers: HashMap::new(),
                needs: Vec::new(),
                unreadable: 0,
            };
            walk.all(sender);
            timings.phase("states and priorities");
            (walk, worker.join())
        });
        let (mut builder, ids) = built.map_err(|_| "the thread that builds the snapshot failed")??;
        for (from, kind, to) in std::mem::take(&mut walk.needs) {
            let number = |package| ids.get(*walk.numbers.get(&package)?).copied();
            if let (Some(from), Some(to)) = (number(from), number(to)) {
                builder.relate(from, kind, to);
            }
        }
        if walk.unreadable > 0 {
            warnings.push(format!("{} packages are left out: a name or version is not UTF-8", walk.unreadable));
        }
        take_messages(&mut warnings)?;
        timings.phase("build the snapshot");
        Ok((builder, Meta { last_refresh, warnings, ..Meta::default() }, fingerprint))
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

    fn paths(&self, system: &System, _: Option<&Path>, query: &PathQuery) -> Result<PathAnswer, Failure> {
        files::paths(system, query)
    }

    fn refresh_copy(&self, _: &System, _: &Path, _: bool, _: &dyn Caller) -> Outcome {
        let message = "apt's package lists are fetched for the whole machine, which takes rights: `omg refresh`";
        let failure = Failure::new(FailureKind::BackendUnavailable, message);
        Outcome::Failed { failure, applied: Applied::default() }
    }
}

/// Opens apt's cache, with the packages in these files too, and the state that is computed on top of it.
fn open(files: &[String], warnings: &mut Vec<String>) -> Result<Cache, Error> {
    let cache = Cache::new(files).map_err(|errors| failed(&errors))?;
    // The bindings do not say whether this worked, and without it almost every question would crash.
    let _ = cache.depcache();
    take_messages(warnings)?;
    // Nor whether this did, which it does not where a list was replaced since the cache was made.
    let _ = cache.records();
    take_messages(warnings)?;
    Ok(cache)
}

/// Takes apt's pending messages; what is no error is appended to `warnings`.
fn take_messages(warnings: &mut Vec<String>) -> Result<(), Error> {
    let messages = AptErrors::new();
    if messages.iter().any(|message| message.is_error) {
        return Err(failed(&messages));
    }
    // Notices cannot be told from warnings; this is the one that is common and of no interest.
    let texts = messages.iter().map(|message| message.msg.clone());
    warnings.extend(texts.filter(|text| !text.starts_with("Ignoring file '")));
    Ok(())
}

/// With the warnings: why a file could not be read is one, where the error only says that the reading failed.
fn failed(errors: &AptErrors) -> Error {
    let texts: Vec<&str> = errors.iter().map(|error| error.msg.as_str()).collect();
    format!("apt cannot read its package lists: {}", texts.join("; ")).into()
}

/// Reads the files that apt uses and that were not foreseen.
fn complete(lists: Lists, used: &[PathBuf]) -> Result<Lists, Error> {
    let missing: Vec<&PathBuf> = used.iter().filter(|path| lists.file(path).is_none()).collect();
    if missing.is_empty() {
        return Ok(lists);
    }
    let mut files = lists.into_files();
    for path in missing {
        match ListFile::read(path) {
            Ok(file) => files.push(file),
            // Replaced while it was read: the fingerprint has changed too, and the snapshot will be built again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("cannot read the package list {}: {error}", path.display()).into()),
        }
    }
    Ok(Lists::new(files))
}

/// One pass over all packages.
struct Walk<'a> {
    cache: &'a Cache,
    config: &'a Config,
    lists: &'a Lists,
    origins: &'a Origins,
    native: &'a str,
    /// Configured ones, own architecture first.
    architectures: Vec<String>,
    phasing: OnceCell<Phasing>,
    /// In which order the packages were sent, by apt's number.
    numbers: HashMap<usize, usize>,
    /// Installed packages that need each other, by apt's numbers.
    needs: Vec<(usize, &'static str, usize)>,
    /// Packages left out.
    unreadable: usize,
}

impl<'a> Walk<'a> {
    /// Sends every package that has a version; stops early when nobody receives any more.
    fn all(&mut self, sender: SyncSender<Vec<PackageFacts<'a>>>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut full_name = String::new();
        for (name, group) in self.lists.groups() {
            if !self.lists.records(group.clone()).all(|record| record.is_sound()) {
                self.unreadable += 1;
                continue;
            }
            let first = batch.len();
            for arch in self.architectures_of(group.clone()) {
                full_name.clear();
                full_name.push_str(name);
                full_name.push(':');
                full_name.push_str(arch);
                if let Some(package) = self.cache.get(&full_name)
                    && let Some(facts) = self.facts(name, group.clone(), &package)
                {
                    self.numbers.insert(package.index(), self.numbers.len());
                    batch.push(facts);
                }
            }
            let preferred = batch.get_mut(first..).unwrap_or_default();
            if let Some(facts) = preferred.iter_mut().min_by_key(|facts| self.rank(&facts.arch)) {
                facts.preferred = true;
            }
            if batch.len() >= BATCH && sender.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).is_err() {
                return;
            }
        }
        // A failed receiver says why itself.
        let _ = sender.send(batch);
    }

    /// The architectures under which apt keeps the packages of a group; those for all are filed under its own.
    fn architectures_of(&self, group: Range<usize>) -> BTreeSet<&'a str> {
        let (lists, native) = (self.lists, self.native);
        lists
            .records(group)
            .map(|record| if matches!(record.arch(), "all" | "") { native } else { record.arch() })
            .collect()
    }

    /// Of namesakes, apt means the one of the first configured architecture.
    fn rank(&self, arch: &str) -> usize {
        self.architectures.iter().position(|known| known == arch).unwrap_or(usize::MAX)
    }

    fn facts(&mut self, name: &'a str, group: Range<usize>, package: &Package<'a>) -> Option<PackageFacts<'a>> {
        let installed = package.installed();
        let candidate = package.candidate();
        let is = |version: &Version<'_>, wanted: &Option<Version<'_>>| {
            wanted.as_ref().is_some_and(|wanted| wanted.index() == version.index())
        };
        let mut facts = PackageFacts {
            name,
            arch: package.arch().to_owned(),
            group,
            preferred: false,
            flags: Flags::empty(),
            versions: Vec::new(),
            candidate: None,
            installed: None,
            pin: None,
        };
        for (position, version) in package.versions().enumerate() {
            if is(&version, &candidate) {
                facts.candidate = Some(position);
                facts.pin = Some(version.priority_with_files(false)).filter(|priority| *priority != 0);
            }
            if is(&version, &installed) {
                facts.installed = Some(position);
            }
            facts.versions.push(VersionFacts {
                version: version.version().to_owned(),
                arch: version.arch().to_owned(),
                priority: version.priority(),
                origins: self.origins.of_version(&version),
                download_size: version.size(),
                installed_size: version.installed_size(),
            });
        }
        if facts.versions.is_empty() {
            return None;
        }
        facts.flags = state::flags(package, &facts, self.origins, self.native);
        if facts.flags.contains(Flags::UPGRADABLE)
            && (package.phasing_applied() || candidate.is_some_and(|version| self.waits_for_phase(&facts, &version)))
        {
            facts.flags |= Flags::PHASED;
        }
        if let Some(installed) = installed {
            self.needs.extend(state::needs(&installed).map(|(kind, needed)| (package.index(), kind, needed)));
        }
        Some(facts)
    }

    fn waits_for_phase(&self, facts: &PackageFacts<'_>, candidate: &Version<'_>) -> bool {
        let record = facts
            .candidate
            .and_then(|position| facts.versions.get(position))
            .and_then(|version| assemble::record(self.lists, self.origins, &facts.group, version));
        let percentage = record.map_or(100, |record| record.phased_percentage());
        // Security updates are not phased; the bindings may only be asked for the source where they must.
        percentage < 100
            && !facts.flags.contains(Flags::SECURITY)
            && self.phasing.get_or_init(|| Phasing::of_machine(self.config)).holds_back(
                candidate.source_name(),
                candidate.source_version(),
                percentage,
            )
    }
}
