//! What a marked cache comes to: the items of a plan, its risks, what stays behind.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use omg::transaction::{Change, Failure, FailureKind, HeldBack, HoldReason, Item, Risk};
use rust_apt::config::Config;
use rust_apt::raw::PkgIterator;
use rust_apt::{Cache, DepType, Package, Version};

use super::super::package_files::PackageFiles;
use super::origin;
use super::phasing::Phasing;
use super::state;
use super::text::{self, Name};

/// Reads a marked cache.
pub struct Reader<'a> {
    cache: &'a Cache,
    config: &'a Config,
    files: &'a PackageFiles,
    archives: PathBuf,
    /// By apt's number of an index file.
    sources: HashMap<usize, Source>,
}

/// What an index file means for a version that comes from it.
#[derive(Debug, Clone)]
struct Source {
    label: String,
    trusted: bool,
    /// Packages are used where they are, not downloaded.
    in_place: bool,
}

/// What the package lists promise of a version's archive.
pub struct Promise {
    /// Label of the repository it is fetched from.
    pub repository: String,
    /// Hexadecimal; empty where the list has none.
    pub sha256: String,
    /// Whether one of the repositories that offer it is trusted.
    pub trusted: bool,
    /// It is used where it is, not downloaded.
    pub in_place: bool,
}

/// An item whose archive is not described yet.
struct Pending<'a> {
    item: Item,
    version: Version<'a>,
    /// apt's numbers of the list and of the version in it: records are read in this order, which is theirs in the list.
    place: (usize, usize),
}

/// Items and the risks that come with them.
pub struct Changes {
    pub items: Vec<Item>,
    pub risks: Vec<Risk>,
    /// What `apt-get autoremove` would take afterwards.
    pub unneeded: Vec<String>,
}

fn not_text() -> Failure {
    let message =
        "a package that would change has a name or version that is not UTF-8; remove the repository it is from";
    Failure::new(FailureKind::ResolutionFailed, message)
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// What apt calls a version's archive.
pub fn archive_name(name: &str, version: &str, arch: &str) -> String {
    let escaped = |text: &str| text.replace('_', "%5f").replace(':', "%3a");
    let arch = escaped(arch).replace('.', "%2e");
    format!("{}_{}_{arch}.deb", escaped(name), escaped(version))
}

impl<'a> Reader<'a> {
    pub fn new(cache: &'a Cache, config: &'a Config, files: &'a PackageFiles) -> Self {
        let archives = PathBuf::from(config.dir("Dir::Cache::Archives", ""));
        Self { cache, config, files, archives, sources: HashMap::new() }
    }

    /// Everything that is marked, and what waits to be configured; among `packages`, or anywhere.
    ///
    /// # Errors
    /// When a name is no text.
    pub fn changes(&mut self, packages: Option<Vec<Package<'a>>>) -> Result<Changes, Failure> {
        let mut items = Vec::new();
        let mut risks = Vec::new();
        let mut pending = Vec::new();
        let mut unneeded = Vec::new();
        let depcache = self.cache.depcache();
        let packages = packages.unwrap_or_else(|| {
            let concerns = |package: &Package<'a>| depcache.is_garbage(package) || state::is_touched(package);
            self.cache.iter().filter(concerns).collect()
        });
        for package in packages {
            if depcache.is_garbage(&package)
                && !package.marked_delete()
                && let Some(version) = package.install_version()
                && let Some(name) = text::name(self.cache, self.config, &version)
            {
                unneeded.push(name.pretty);
            }
            if package.marked_delete() {
                items.push(self.removal(&package, &mut risks)?);
            } else if package.marked_install() || package.marked_reinstall() {
                pending.push(self.installation(&package, &mut risks)?);
            } else if state::waits_for_configuration(&package)
                && let Some(installed) = package.installed()
            {
                let name = text::name(self.cache, self.config, &installed).ok_or_else(not_text)?;
                let version = installed.version();
                items.push(Item { from: version.to_owned(), ..item(Change::Configure, name, &package, version) });
            }
        }
        pending.sort_by_key(|pending| pending.place);
        for pending in pending {
            let item = self.described(pending, &mut risks);
            items.push(item);
        }
        Ok(Changes { items, risks, unneeded })
    }

    fn removal(&self, package: &Package<'a>, risks: &mut Vec<Risk>) -> Result<Item, Failure> {
        let change = if package.marked_purge() { Change::Purge } else { Change::Remove };
        let installed = package.installed();
        let known = installed.clone().or_else(|| package.versions().next()).ok_or_else(not_text)?;
        let name = text::name(self.cache, self.config, &known).ok_or_else(not_text)?;
        let raw: &PkgIterator = package;
        let says = |field| text::field(&known, field).is_some_and(|value| value.eq_ignore_ascii_case("yes"));
        if raw.is_essential() || says("Protected") || says("Important") {
            risks.push(Risk::RemovesEssential(name.pretty.clone()));
            risks.extend(self.removed_needs(&known).map(Risk::RemovesEssential));
        }
        if raw.selected_state() == state::SELECTED_HOLD && installed.is_some() {
            risks.push(Risk::ChangesHeld(name.pretty.clone()));
        }
        let mut item = item(change, name, package, "");
        if let Some(installed) = installed {
            item.from = installed.version().to_owned();
            item.delta = -signed(installed.installed_size());
        }
        Ok(item)
    }

    /// What an essential package strictly needs and what goes with it.
    fn removed_needs(&self, version: &Version<'a>) -> impl Iterator<Item = String> {
        let mut names = Vec::new();
        for kind in [DepType::PreDepends, DepType::Depends] {
            let groups = version.get_depends(&kind).map(Vec::as_slice).unwrap_or_default();
            for target in groups.iter().flat_map(|group| group.iter()).flat_map(|dependency| dependency.all_targets()) {
                if target.is_installed() && target.parent().marked_delete() {
                    names.extend(text::name(self.cache, self.config, &target).map(|name| name.pretty));
                }
            }
        }
        names.into_iter()
    }

    fn installation(&mut self, package: &Package<'a>, risks: &mut Vec<Risk>) -> Result<Pending<'a>, Failure> {
        let version = package.install_version().ok_or_else(not_text)?;
        let name = text::name(self.cache, self.config, &version).ok_or_else(not_text)?;
        let installed = package.installed();
        if installed.as_ref().is_some_and(|installed| !text::is_sound(installed)) {
            return Err(not_text());
        }
        let change = if installed.is_none() {
            Change::Install
        } else if package.marked_upgrade() {
            Change::Upgrade
        } else if package.marked_downgrade() {
            Change::Downgrade
        } else {
            Change::Reinstall
        };
        let raw: &PkgIterator = package;
        if raw.selected_state() == state::SELECTED_HOLD && change != Change::Reinstall {
            risks.push(Risk::ChangesHeld(name.pretty.clone()));
        }
        let mut item = item(change, name, package, version.version());
        item.delta = signed(version.installed_size());
        if let Some(installed) = installed {
            item.from = installed.version().to_owned();
            item.delta -= signed(installed.installed_size());
        }
        let downloadable = version.version_files().find(|file| file.package_file().is_downloadable());
        let file = downloadable.or_else(|| version.version_files().next());
        let place = file.map_or((0, 0), |file| (file.package_file().index(), file.index()));
        Ok(Pending { item, version, place })
    }

    /// The item with what is known about its archive.
    fn described(&mut self, pending: Pending<'a>, risks: &mut Vec<Risk>) -> Item {
        let Pending { mut item, version, .. } = pending;
        let local = self.files.files.iter().find(|file| {
            version.package_files().any(|source| source.filename().is_some_and(|path| Path::new(path) == file.path))
        });
        if let Some(file) = local {
            item.repository = origin::LOCAL.to_owned();
            item.sha256 = file.sha256.clone();
            risks.push(Risk::Untrusted(item.name.clone()));
            return item;
        }
        let promise = self.promise(&version);
        if !promise.as_ref().is_some_and(|promise| promise.trusted) {
            risks.push(Risk::Untrusted(item.name.clone()));
        }
        if !promise.as_ref().is_some_and(|promise| promise.in_place) {
            item.download = self.still_to_download(&item.name, &version);
        }
        (item.repository, item.sha256) = match promise {
            Some(promise) => (promise.repository, promise.sha256),
            None => (origin::LOCAL.to_owned(), String::new()),
        };
        item
    }

    /// What the lists promise of a version's archive; `None` when it is in none of them.
    pub fn promise(&mut self, version: &Version<'a>) -> Option<Promise> {
        let mut promise: Option<Promise> = None;
        for record in version.version_files() {
            let file = record.package_file();
            if !file.is_downloadable() {
                continue;
            }
            let Source { label, trusted, in_place } = self.source(&file);
            match &mut promise {
                Some(promise) => promise.trusted |= trusted,
                None => {
                    let sha256 = record.lookup().hash_find("SHA256".to_owned()).unwrap_or_default();
                    let sha256 = sha256.to_ascii_lowercase();
                    promise = Some(Promise { repository: label, sha256, trusted, in_place });
                }
            }
        }
        promise
    }

    fn source(&mut self, file: &rust_apt::PackageFile<'a>) -> Source {
        let known = self.sources.entry(file.index()).or_insert_with(|| {
            let description = file.index_file().describe(true);
            Source {
                label: origin::label(file, &description),
                trusted: file.index_file().is_trusted(),
                in_place: description.starts_with("file:"),
            }
        });
        known.clone()
    }

    /// Bytes of a version's archive that are not in the download cache.
    fn still_to_download(&self, name: &str, version: &Version<'_>) -> u64 {
        let size = version.size();
        let file = archive_name(name, version.version(), version.arch());
        let there =
            |path: PathBuf| path.symlink_metadata().ok().filter(|found| found.is_file()).map(|found| found.len());
        if there(self.archives.join(&file)) == Some(size) {
            return 0;
        }
        let partial = there(self.archives.join("partial").join(&file)).unwrap_or(0);
        if partial <= size { size - partial } else { size }
    }

    /// Those of `upgradable` that stay as they are.
    pub fn held_back(&self, upgradable: &[Package<'a>]) -> Vec<HeldBack> {
        let phasing = std::cell::OnceCell::new();
        let stays = |package: &&Package<'a>| !package.marked_upgrade() && !package.marked_delete();
        upgradable
            .iter()
            .filter(stays)
            .filter_map(|package| {
                let (installed, candidate) = (package.installed()?, package.candidate()?);
                // Marking may have taken the candidate back, so that nothing would be newer.
                let candidate =
                    if candidate.index() == installed.index() { package.versions().next()? } else { candidate };
                let name = text::name(self.cache, self.config, &installed).filter(|_| text::is_sound(&candidate))?;
                let raw: &PkgIterator = package;
                let reason = if raw.selected_state() == state::SELECTED_HOLD {
                    HoldReason::Held
                } else if self.waits_for_phase(package, &candidate, &phasing) {
                    HoldReason::Phased
                } else {
                    HoldReason::Dependencies
                };
                Some(HeldBack {
                    name: name.name,
                    arch: name.arch,
                    from: installed.version().to_owned(),
                    to: candidate.version().to_owned(),
                    reason,
                })
            })
            .collect()
    }

    fn waits_for_phase(
        &self,
        package: &Package<'a>,
        candidate: &Version<'a>,
        phasing: &std::cell::OnceCell<Phasing>,
    ) -> bool {
        if package.phasing_applied() {
            return true;
        }
        let Some(percentage) = candidate.phased_update_percentage().filter(|percentage| *percentage < 100) else {
            return false;
        };
        let installed = package.installed().map(|version| version.index());
        let between = package
            .versions()
            .skip_while(|version| version.index() != candidate.index())
            .skip(1)
            .take_while(|version| Some(version.index()) != installed);
        let is_security = |version: Version<'a>| {
            version.package_files().any(|file| file.archive().is_some_and(|archive| archive.ends_with("-security")))
        };
        if between.into_iter().any(is_security) {
            return false;
        }
        // The source's name is the package's own, or in a field that must be text to be asked for.
        let source = candidate.get_record("Source");
        let named = source.is_some() || candidate.get_record("Package").is_some();
        named
            && phasing.get_or_init(|| Phasing::of_machine(self.config)).holds_back(
                candidate.source_name(),
                candidate.source_version(),
                u32::from(percentage),
            )
    }
}

fn item(change: Change, name: Name, package: &Package<'_>, to: &str) -> Item {
    Item {
        change,
        name: name.name,
        arch: name.arch,
        from: String::new(),
        to: to.to_owned(),
        repository: String::new(),
        download: 0,
        delta: 0,
        explicit: !package.is_auto_installed(),
        sha256: String::new(),
    }
}

/// An item for a package that stays at its version and is only marked.
pub fn mark(change: Change, name: Name, package: &Package<'_>, version: &str, explicit: bool) -> Item {
    Item { from: version.to_owned(), explicit, ..item(change, name, package, version) }
}

/// One item for each package file in the download cache; what it takes up is set free.
pub fn clean(config: &Config) -> Vec<Item> {
    let archives = PathBuf::from(config.dir("Dir::Cache::Archives", ""));
    let mut items = Vec::new();
    // Not what is fetched half: apt's methods alone may look there, and whoever plans must see what whoever commits sees.
    if let Ok(entries) = archives.read_dir() {
        for entry in entries.filter_map(Result::ok) {
            let file = entry.file_name();
            let Some(stem) = file.to_str().and_then(|name| name.strip_suffix(".deb")) else { continue };
            let Ok(found) = entry.metadata() else { continue };
            let mut parts = stem.splitn(3, '_').map(unescaped);
            let mut part = || parts.next().unwrap_or_default();
            let (name, from, arch) = (part(), part(), part());
            items.push(Item {
                change: Change::Clean,
                name,
                arch,
                from,
                to: String::new(),
                repository: String::new(),
                download: 0,
                delta: -signed(found.len()),
                explicit: false,
                sha256: String::new(),
            });
        }
    }
    items
}

/// A part of an archive's file name as it was before apt put it into one.
fn unescaped(part: &str) -> String {
    part.replace("%3a", ":").replace("%5f", "_").replace("%2e", ".")
}
