//! Marks in apt's cache what a request asks for, in the order and by the rules of `apt-get`.
//!
//! `apt-get` itself is no library; these are the steps of its `DoCacheManipulationFromCommandLine`, with libapt-pkg's own
//! marking and problem resolver underneath.

use std::collections::HashSet;

use omg::transaction::{Action, Failure, FailureKind, Request, Verb};
use rust_apt::cache::Upgrade;
use rust_apt::config::Config;
use rust_apt::error::AptErrors;
use rust_apt::raw::PkgIterator;
use rust_apt::{Cache, Package, Version};

use super::super::package_files::{PackageFile, PackageFiles};
use super::target::{self, Target, Which};
use super::unmet::{self, When};
use super::{autoremove, release, state};

/// How often the set of upgrades is made smaller after repairs.
const MINIMIZING_ROUNDS: usize = 10;

const BROKEN_ALREADY: &str = "The installed packages are broken already: `omg doctor --fix` repairs them.";

/// Marks one request.
pub struct Marking<'a> {
    cache: &'a Cache,
    config: &'a Config,
    request: &'a Request,
    files: &'a PackageFiles,
    pub notes: Vec<String>,
    /// What would be upgraded by itself, where upgrades are asked for.
    pub upgradable: Vec<Package<'a>>,
    /// Dependencies that stay as they are and were asked for by name.
    pub asked_for: Vec<Package<'a>>,
    /// apt's numbers of the packages that are to be dependencies afterwards, whoever asks for them by name.
    dependencies: HashSet<usize>,
    /// All that is marked, not needed or not configured, in apt's order, once everything is marked; `None` where it has to
    /// be looked for.
    pub touched: Option<Vec<Package<'a>>>,
}

struct Install<'a> {
    verb: Verb,
    version: Version<'a>,
    release: Option<String>,
}

struct Removal<'a> {
    package: Package<'a>,
    purge: bool,
}

/// Whether a verb changes packages, not only marks.
pub fn changes(verb: Verb) -> bool {
    !matches!(verb, Verb::Hold | Verb::Unhold | Verb::MarkExplicit | Verb::MarkDependency | Verb::Clean)
}

/// Keeps apt from finding out after every mark what is not needed any more: costly, and `apt-get install` does not do it.
/// Ends, and apt finds out, when the answer is dropped.
#[expect(unsafe_code, reason = "the group must not outlive the cache: its lifetime here sees to that")]
fn without_sweeps<'a>(cache: &'a Cache) -> impl Sized + use<'a> {
    // SAFETY: the answer's type holds the borrow of the cache.
    unsafe { cache.depcache().action_group() }
}

/// Whether an interrupted change left it in a state that is not one to work from.
fn is_troubled(package: &Package<'_>) -> bool {
    let raw: &PkgIterator = package;
    let half_installed = raw.current_state() == state::current::HALF_INSTALLED;
    (raw.inst_state() != state::INST_OK || half_installed) && package.has_versions()
}

impl<'a> Marking<'a> {
    pub fn new(cache: &'a Cache, config: &'a Config, request: &'a Request, files: &'a PackageFiles) -> Self {
        Self {
            cache,
            config,
            request,
            files,
            notes: Vec::new(),
            upgradable: Vec::new(),
            asked_for: Vec::new(),
            dependencies: HashSet::new(),
            touched: None,
        }
    }

    fn asks(&self, verb: Verb) -> bool {
        self.request.actions.iter().any(|action| action.verb() == verb)
    }

    /// Whether package changes are asked for at all, not only marks.
    pub fn changes(&self) -> bool {
        self.request.actions.iter().any(|action| changes(action.verb()))
    }

    /// The kind of upgrade that is asked for.
    pub fn upgrade(&self) -> Option<Upgrade> {
        if self.asks(Verb::FullUpgrade) {
            Some(Upgrade::FullUpgrade)
        } else if self.asks(Verb::UpgradeAll) {
            Some(Upgrade::Upgrade)
        } else {
            None
        }
    }

    /// Marks everything.
    ///
    /// # Errors
    /// When something is not found, is ambiguous, or cannot be.
    pub fn run(&mut self) -> Result<(), Failure> {
        let depcache = self.cache.depcache();
        let upgrade = self.upgrade();
        // As apt-get: its upgrades keep track of what is needed all the time, its other commands only at the end.
        let mut group = upgrade.is_none().then(|| without_sweeps(self.cache));
        // A look at all packages and their marks costs as much as a tenth of opening the cache: one serves for both, and
        // asks only where there can be something.
        let (mut garbage, mut troubled) = (false, Vec::new());
        for package in self.cache.iter() {
            garbage |= package.is_installed() && depcache.is_garbage(&package);
            if is_troubled(&package) {
                troubled.push(package);
            }
        }
        if group.is_some() && garbage {
            depcache.clear_marked().map_err(|errors| self.failed(&errors))?;
        }
        let named = self.request.actions.iter().any(|action| changes(action.verb()) && action.verb().takes_target());
        let repair = self.asks(Verb::Repair);
        self.check_dependencies(&troubled, named && upgrade.is_none() && !repair)?;
        let broken = depcache.broken_count() != 0;

        let (removals, installs) = self.select()?;
        let purge = self.config.bool("APT::Get::Purge", false) || self.asks(Verb::Purge) && !self.asks(Verb::Remove);
        for removal in removals {
            self.remove(&removal);
        }
        let mut later = Vec::new();
        for install in &installs {
            self.install(install);
            if !broken {
                later.push(install);
            }
        }
        if upgrade.is_some() {
            self.upgradable = self.cache.iter().filter(|package| package.is_upgradable()).collect();
        }
        self.switch_releases(&installs);
        for install in &later {
            depcache.mark_install(&install.version.parent(), true, true);
        }
        self.set_reasons(&installs);
        self.no_errors()?;
        if broken && depcache.broken_count() != 0 {
            let advice = BROKEN_ALREADY;
            return Err(self.unmet(When::Marked, vec![advice.to_owned()]));
        }
        let resolved = match upgrade {
            Some(kind) => self.cache.upgrade(kind),
            None => self.cache.resolve(true),
        };
        let errors = resolved.err().map(|errors| texts(&errors)).unwrap_or_default();
        if !errors.is_empty() || depcache.broken_count() != 0 {
            return Err(self.unmet(When::Marked, errors));
        }
        let remove_unneeded = self.asks(Verb::Autoremove) || self.config.bool("APT::Get::AutomaticRemove", false);
        if group.take().is_some() {
            // The end of the one has made apt look at what is needed.
            group = Some(without_sweeps(self.cache));
        }
        self.touched = autoremove::mark(self.cache, self.config, remove_unneeded, purge)?.filter(|_| !purge);
        if purge {
            let removed: Vec<Package<'_>> =
                self.cache.iter().filter(|package| package.marked_delete() && !package.marked_purge()).collect();
            removed.iter().for_each(|package| {
                package.mark_delete(true);
            });
        }
        drop(group);
        self.no_errors()
    }

    /// Adjusts to what an interrupted change left, and refuses or repairs broken dependencies.
    fn check_dependencies(&mut self, troubled: &[Package<'a>], allow_broken: bool) -> Result<(), Failure> {
        let depcache = self.cache.depcache();
        for package in troubled {
            self.adjust(package)?;
        }
        if depcache.broken_count() == 0 || allow_broken {
            return Ok(());
        }
        if !self.asks(Verb::Repair) && !self.config.bool("APT::Get::Fix-Broken", false) {
            let advice = BROKEN_ALREADY;
            return Err(self.unmet(When::Now, vec![advice.to_owned()]));
        }
        let fixed = self.cache.fix_broken();
        let errors = texts(&AptErrors::new());
        if !fixed || depcache.broken_count() != 0 {
            return Err(self.unmet(When::Now, errors));
        }
        self.minimize();
        Ok(())
    }

    /// What `pkgApplyStatus` of libapt-pkg does for one package that an interrupted change left.
    fn adjust(&self, package: &Package<'a>) -> Result<(), Failure> {
        let raw: &PkgIterator = package;
        let half_installed = raw.current_state() == state::current::HALF_INSTALLED;
        let inst = raw.inst_state();
        let downloadable = |version: Option<Version<'_>>| version.is_some_and(|version| version.is_downloadable());
        let cannot = |why: &str| {
            let name = package.versions().find_map(|version| super::text::name(self.cache, self.config, &version));
            let name = name.map(|name| name.pretty).unwrap_or_default();
            Failure::new(FailureKind::ResolutionFailed, format!("The package {name} {why}"))
        };
        if state::REINSTALL_REQUIRED.contains(&inst) {
            if downloadable(package.installed()) {
                package.mark_keep();
            } else if downloadable(package.candidate()) {
                package.mark_install(false, false);
            } else {
                return Err(cannot("needs to be reinstalled, but no archive of it can be found."));
            }
        } else if half_installed {
            if raw.selected_state() != state::SELECTED_HOLD || self.config.bool("APT::Ignore-Hold", false) {
                autoremove::delete(self.cache, self.config, package, false);
            }
        } else if !state::waits_for_configuration(package) {
            return Err(cannot("is not in order, and it is not known how to repair it."));
        }
        Ok(())
    }

    /// Takes back upgrades that a repair does not need.
    fn minimize(&self) {
        let depcache = self.cache.depcache();
        for _ in 0..MINIMIZING_ROUNDS {
            let mut changed = false;
            for package in self.cache.iter().filter(|package| package.marked_upgrade() && !package.marked_new_install())
            {
                package.mark_keep();
                if depcache.broken_count() != 0 {
                    package.mark_install(false, false);
                } else {
                    changed |= !package.marked_upgrade();
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// What the targets mean, before anything is marked.
    fn select(&mut self) -> Result<(Vec<Removal<'a>>, Vec<Install<'a>>), Failure> {
        let mut removals: Vec<Removal<'a>> = Vec::new();
        let mut installs: Vec<Install<'a>> = Vec::new();
        let mut files = self.files.files.iter();
        let request = self.request;
        for action in &request.actions {
            match action.verb() {
                Verb::MarkDependency => {
                    let name = Target::parse(action.target())?.bare(action.verb().as_str())?;
                    self.dependencies.insert(target::package(self.cache, self.config, name)?.index());
                }
                Verb::Remove | Verb::Purge => {
                    let purge = action.verb() == Verb::Purge;
                    if let Some(package) = self.removed(action)? {
                        match removals.iter_mut().find(|known| known.package.index() == package.index()) {
                            Some(known) => known.purge |= purge,
                            None => removals.push(Removal { package, purge }),
                        }
                    }
                }
                Verb::Install | Verb::Reinstall | Verb::Upgrade => installs.push(self.installed(action)?),
                Verb::InstallFile => {
                    let label = action.target();
                    let file = files.next();
                    self.fits(label, file)?;
                    installs.push(file.and_then(|file| self.find_file(file)).ok_or_else(|| {
                        let message = format!("apt cannot read the package file {label}");
                        Failure::new(FailureKind::InvalidArgument, message)
                    })?);
                }
                _ => {}
            }
        }
        let mut seen = HashSet::new();
        installs.retain(|install| seen.insert((install.version.index(), install.verb)));
        Ok((removals, installs))
    }

    fn removed(&mut self, action: &Action) -> Result<Option<Package<'a>>, Failure> {
        let target = Target::parse(action.target())?;
        let package = target::package(self.cache, self.config, target.name)?;
        if target.which == Which::Candidate && package.has_versions() {
            return Ok(Some(package));
        }
        if target.which == Which::Candidate && !package.has_provides() {
            self.notes.push(format!("Package '{}' is not installed, so not removed", target.name));
            return Ok(None);
        }
        match target::version(self.cache, self.config, &package, target.which, &mut self.notes) {
            Ok(selected) => Ok(Some(selected.version.parent())),
            Err(failure) if target.which == Which::Candidate => {
                self.notes.push(format!("Virtual packages like '{}' can't be removed: {failure}", target.name));
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    fn installed(&mut self, action: &Action) -> Result<Install<'a>, Failure> {
        let verb = action.verb();
        let target = Target::parse(action.target())?;
        let package = target::package(self.cache, self.config, target.name)?;
        let selected = target::version(self.cache, self.config, &package, target.which, &mut self.notes)?;
        let package = selected.version.parent();
        if verb == Verb::Upgrade && !package.is_installed() {
            let message = format!("{} is not installed, so it cannot be upgraded; install it", target.name);
            return Err(Failure::new(FailureKind::NotFound, message));
        }
        Ok(Install { verb, version: selected.version, release: selected.release })
    }

    /// apt would plan it, and dpkg refuse to unpack it.
    fn fits(&self, label: &str, file: Option<&PackageFile>) -> Result<(), Failure> {
        let known = self.config.get_architectures();
        match file {
            Some(file) if file.arch != "all" && !known.contains(&file.arch) => {
                let known = known.join(", ");
                let message = format!("{label} is for {}, and this machine takes packages for {known}", file.arch);
                Err(Failure::new(FailureKind::InvalidArgument, message))
            }
            _ => Ok(()),
        }
    }

    fn find_file(&self, file: &PackageFile) -> Option<Install<'a>> {
        let name = match file.arch.as_str() {
            "all" => file.name.clone(),
            arch => format!("{}:{arch}", file.name),
        };
        let is_from = |version: &Version<'_>| {
            version.package_files().any(|source| source.filename().is_some_and(|path| file.path.as_os_str() == path))
        };
        let version = self.cache.get(&name)?.versions().find(is_from)?;
        Some(Install { verb: Verb::InstallFile, version, release: None })
    }

    fn remove(&mut self, removal: &Removal<'a>) {
        let resolver = self.cache.resolver();
        let package = &removal.package;
        resolver.clear(package);
        resolver.protect(package);
        let raw: &PkgIterator = package;
        let residue = raw.current_state() != state::current::NOT_INSTALLED;
        if package.is_installed() || removal.purge && residue {
            package.mark_delete(removal.purge);
        } else {
            self.notes.push(format!("Package '{}' is not installed, so not removed", package.fullname(true)));
        }
    }

    /// Marks without what it depends on, and protects it from the problem resolver.
    fn install(&mut self, install: &Install<'a>) {
        let resolver = self.cache.resolver();
        let package = install.version.parent();
        install.version.set_candidate();
        let was_dependency = package.is_auto_installed();
        resolver.clear(&package);
        resolver.protect(&package);
        package.mark_install(false, true);
        if package.marked_install() {
            return;
        }
        let name = package.fullname(true);
        if install.verb == Verb::Reinstall || self.config.bool("APT::Get::ReInstall", false) {
            if package.installed().is_some_and(|version| version.is_downloadable()) {
                package.mark_reinstall(true);
            } else {
                self.notes.push(format!("Reinstallation of {name} is not possible, it cannot be downloaded."));
            }
            return;
        }
        if let Some(installed) = package.installed().filter(super::text::is_sound) {
            self.notes.push(format!("{name} is already the newest version ({}).", installed.version()));
        }
        let asked_for = matches!(install.verb, Verb::Install | Verb::InstallFile);
        let stays_dependency = self.dependencies.contains(&package.index());
        if was_dependency && asked_for && !stays_dependency && !self.request.options.download_only {
            package.mark_auto(false);
            self.asked_for.push(package);
        }
    }

    fn switch_releases(&self, installs: &[Install<'a>]) {
        let chosen = || installs.iter().filter_map(|install| Some((&install.version, install.release.as_deref()?)));
        for (version, _) in chosen() {
            version.set_candidate();
        }
        let mut changed = Vec::new();
        for (version, release) in chosen() {
            changed.push(version.clone());
            // What cannot be switched is explained by what is broken in the end.
            release::switch(self.cache, version, release, &mut changed);
        }
    }

    /// Who installs a package by name wants it for itself, unless something else is said of it; who upgrades it does not
    /// say so.
    fn set_reasons(&self, installs: &[Install<'a>]) {
        let depcache = self.cache.depcache();
        let always_dependency = self.config.bool("APT::Get::Mark-Auto", false);
        for install in installs {
            let package = install.version.parent();
            if package.marked_install() && install.verb != Verb::Upgrade && !always_dependency {
                let dependency = self.dependencies.contains(&package.index());
                depcache.mark_auto(&package, dependency && (!package.is_installed() || package.is_auto_installed()));
            }
        }
    }

    fn no_errors(&mut self) -> Result<(), Failure> {
        let messages = AptErrors::new();
        if messages.iter().any(|message| message.is_error) {
            return Err(self.failed(&messages));
        }
        self.notes.extend(messages.iter().map(|message| message.msg.clone()));
        Ok(())
    }

    fn failed(&self, errors: &AptErrors) -> Failure {
        Failure::new(FailureKind::ResolutionFailed, texts(errors).join("\n"))
    }

    fn unmet(&self, when: When, errors: Vec<String>) -> Failure {
        let explanation = unmet::explain(self.cache, self.config, when);
        let parts: Vec<String> = std::iter::once(explanation).chain(errors).filter(|text| !text.is_empty()).collect();
        Failure::new(FailureKind::ResolutionFailed, parts.join("\n"))
    }
}

fn texts(errors: &AptErrors) -> Vec<String> {
    errors.iter().filter(|error| error.is_error).map(|error| error.msg.clone()).collect()
}
