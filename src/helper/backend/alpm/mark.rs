//! Marks in a transaction of libalpm's what the actions of a request ask for.

use alpm::{Alpm, Db, Error as AlpmError, Package, PackageReason, Usage};
use omg::transaction::{Action, Asks, Change, Failure, FailureKind, Request, Resolution, Risk, Verb};

use super::super::System;
use super::super::package_files::PackageFiles;
use super::answers::Answers;
use super::relations::Installed;
use super::resolve::{Wanted, internal, marked};
use super::settings::Settings;
use super::{cache, file, repair};

/// What a target of an action means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    repository: Option<&'a str>,
    pub name: &'a str,
    arch: Option<&'a str>,
    version: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// `NAME`, `REPOSITORY/NAME`, `NAME=VERSION`, `NAME:ARCH`.
    pub fn parse(text: &'a str) -> Self {
        let (text, version) = match text.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let (repository, name) = match text.split_once('/') {
            Some((repository, name)) => (Some(repository), name),
            None => (None, text),
        };
        let (name, arch) = match name.split_once(':') {
            Some((name, arch)) => (name, Some(arch)),
            None => (name, None),
        };
        Self { repository, name, arch, version }
    }

    /// Whether this is a package that it can mean.
    fn fits(&self, package: &Package) -> bool {
        self.arch.is_none_or(|arch| package.arch() == Some(arch))
            && self.version.is_none_or(|version| package.version().as_str() == version)
    }

    /// That no repository has it.
    pub fn nowhere(&self) -> Failure {
        let message = match (self.version, self.arch) {
            (Some(version), _) => format!("no repository has version {version} of {}", self.name),
            (None, Some(arch)) => format!("no repository has {} for {arch}", self.name),
            (None, None) => format!("no package, group or provider is called {}", self.name),
        };
        Failure::new(FailureKind::NotFound, message)
    }
}

/// What the repositories that packages may be installed from have for a target.
pub enum Meant<'a> {
    Package(&'a Package),
    /// By the repositories' order.
    Group(Vec<&'a Package>),
    Nothing,
}

impl<'a> Meant<'a> {
    /// Looks for the package of that name, then for what provides it, then for a group.
    ///
    /// # Errors
    /// When it names a repository that there is not.
    pub fn by(handle: &'a Alpm, target: &Target<'_>) -> Result<Self, Failure> {
        let databases: Vec<&'a Db> = handle
            .syncdbs()
            .into_iter()
            .filter(|database| database.usage().unwrap_or(Usage::ALL).contains(Usage::INSTALL))
            .filter(|database| target.repository.is_none_or(|repository| database.name() == repository))
            .collect();
        if let Some(repository) = target.repository
            && databases.is_empty()
        {
            let known: Vec<&str> = handle.syncdbs().into_iter().map(Db::name).collect();
            let message = format!("there is no repository {repository}; there are {}", known.join(", "));
            return Err(Failure::new(FailureKind::NotFound, message));
        }
        let wanted = match target.version {
            Some(version) => format!("{}={version}", target.name),
            None => target.name.to_owned(),
        };
        let literal =
            databases.iter().find_map(|database| database.pkg(target.name).ok().filter(|package| target.fits(package)));
        let found = literal.or_else(|| {
            databases.iter().copied().collect::<alpm::AlpmListMut<&Db>>().list().find_satisfier(wanted.as_str())
        });
        let of_arch = |package: &&Package| target.arch.is_none_or(|arch| package.arch() == Some(arch));
        if let Some(package) = found.filter(of_arch) {
            return Ok(Self::Package(package));
        }
        if target.version.is_some() || target.arch.is_some() {
            return Ok(Self::Nothing);
        }
        let members: Vec<&Package> = databases
            .iter()
            .filter_map(|database| database.group(target.name).ok())
            .flat_map(|group| group.packages())
            .collect();
        Ok(if members.is_empty() { Self::Nothing } else { Self::Group(members) })
    }
}

/// What the marking of a transaction works with.
pub struct Marking<'a> {
    pub handle: &'a Alpm,
    pub system: &'a System,
    pub settings: &'a Settings,
    pub wanted: &'a Wanted,
    pub answers: &'a Answers,
}

impl Marking<'_> {
    /// Adds everything that is asked for by name.
    ///
    /// # Errors
    /// What cannot be asked for, and what is not there.
    pub fn all(&self, request: &Request, files: &PackageFiles, resolution: &mut Resolution) -> Result<(), Failure> {
        let handle = self.handle;
        let mut files = files.files.iter();
        let (mut missing, mut absent) = (Vec::new(), Vec::new());
        for action in &request.actions {
            match action.verb() {
                Verb::Install | Verb::Reinstall | Verb::Upgrade => match self.install(action, resolution) {
                    // All of them are told at once.
                    Err(failure) if failure.kind == FailureKind::NotFound => missing.push(failure.message),
                    installed => installed?,
                },
                Verb::Remove | Verb::Purge if remove(handle, action)? => {}
                Verb::Remove | Verb::Purge => absent.push(action.target()),
                Verb::MarkExplicit | Verb::MarkDependency => reason(handle, action, resolution)?,
                Verb::Hold | Verb::Unhold => {
                    let message = format!(
                        "pacman keeps what it holds in {}: change IgnorePkg there for {}",
                        self.settings.file,
                        action.target()
                    );
                    return Err(Failure::new(FailureKind::InvalidArgument, message));
                }
                Verb::InstallFile => {
                    if let Some(file) = files.next() {
                        file::add(handle, action.target(), &file.path)?;
                        self.wanted.asked_for.borrow_mut().push(file.name.clone());
                    }
                }
                Verb::Clean => resolution.items.extend(cache::items(self.settings)),
                Verb::Repair => repair::mark(handle, self.system, self.settings, self.wanted, resolution)?,
                Verb::UpgradeAll | Verb::FullUpgrade | Verb::Autoremove => {}
            }
        }
        // Where there is something else to do, what is gone already holds it up no more.
        if absent.len() == request.actions.len() && !absent.is_empty() {
            let message = format!("{} is not installed, so it cannot be removed", absent.join(", "));
            return Err(Failure::new(FailureKind::NotFound, message));
        }
        let absent = absent.iter().map(|target| format!("{target} is not installed, so not removed"));
        resolution.notes.extend(absent);
        if !missing.is_empty() {
            return Err(Failure::new(FailureKind::NotFound, missing.join("; ")));
        }
        if self.wanted.orphans {
            let mut unreadable = 0;
            let installed = Installed::read(handle.localdb(), &mut unreadable);
            for package in installed.orphans() {
                add_removal(handle, package)?;
            }
        }
        Ok(())
    }

    fn install(&self, action: &Action, resolution: &mut Resolution) -> Result<(), Failure> {
        let handle = self.handle;
        let target = Target::parse(action.target());
        match Meant::by(handle, &target)? {
            Meant::Package(package) => return self.add(action.verb(), package, resolution),
            Meant::Group(members) => {
                for package in members {
                    if !handle.trans_add().into_iter().any(|added| added.name() == package.name()) {
                        self.add(action.verb(), package, resolution)?;
                    }
                }
                return Ok(());
            }
            Meant::Nothing => {}
        }
        if action.verb() == Verb::Install
            && target.repository.is_none()
            && let Some(version) = target.version
        {
            return self.downloaded(&target, version, resolution);
        }
        Err(target.nowhere())
    }

    /// Adds a version that only the download cache has.
    fn downloaded(&self, target: &Target<'_>, version: &str, resolution: &mut Resolution) -> Result<(), Failure> {
        let name = target.name;
        if let Ok(installed) = self.handle.localdb().pkg(name)
            && installed.version().as_str() == version
        {
            resolution.notes.push(format!("{name} is at version {version} already."));
            return Ok(());
        }
        let all = cache::of_name(self.settings, name);
        let fits = |cached: &&cache::Cached| {
            let without_release = cached.version.rsplit_once('-').map(|(version, _)| version);
            (cached.version == version || without_release == Some(version))
                && target.arch.is_none_or(|arch| cached.arch == arch)
        };
        let Some(found) = all.iter().find(fits) else {
            let mut message = format!("no repository has version {version} of {name}");
            if !all.is_empty() {
                let versions: Vec<&str> = all.iter().map(|cached| cached.version.as_str()).collect();
                message.push_str(&format!("; in the download cache: {}", versions.join(", ")));
            }
            return Err(Failure::new(FailureKind::NotFound, message));
        };
        if self.is_left_alone(
            name,
            self.handle.localdb().pkg(name).is_ok_and(|package| package.should_ignore()),
            resolution,
        ) {
            return Ok(());
        }
        let downloaded = file::add_downloaded(self.handle, name, &found.version, &found.path)?;
        self.wanted.asked_for.borrow_mut().push(name.to_owned());
        self.wanted.downloaded.borrow_mut().push(downloaded);
        Ok(())
    }

    /// Whether a package that the configuration says to leave alone is left alone, as somebody decides.
    fn is_left_alone(&self, name: &str, ignored: bool, resolution: &mut Resolution) -> bool {
        if !ignored {
            return false;
        }
        if self.answers.agrees(Asks::Ignored, name.to_owned(), true) {
            resolution.risks.push(Risk::ChangesHeld(name.to_owned()));
            return false;
        }
        resolution.notes.push(format!("{name} is ignored by pacman's configuration and was left as it is"));
        true
    }

    fn add(&self, verb: Verb, package: &Package, resolution: &mut Resolution) -> Result<(), Failure> {
        let (handle, all) = (self.handle, self.wanted);
        let name = package.name();
        let installed = handle.localdb().pkg(name).ok();
        match (verb, installed) {
            (Verb::Upgrade, None) => {
                let message = format!("{name} is not installed, so it cannot be upgraded; install it");
                return Err(Failure::new(FailureKind::NotFound, message));
            }
            (Verb::Reinstall, None) => {
                let message = format!("{name} is not installed, so it cannot be reinstalled; install it");
                return Err(Failure::new(FailureKind::NotFound, message));
            }
            (Verb::Install | Verb::Upgrade, Some(installed))
                if installed.version() == package.version()
                    // An upgrade never takes an older one.
                    || verb == Verb::Upgrade && installed.version() > package.version() =>
            {
                resolution.notes.push(format!("{name} is already the newest version ({}).", installed.version()));
                let stays_dependency = all.dependencies.borrow().iter().any(|known| known == name);
                if verb == Verb::Install && installed.reason() == PackageReason::Depend && !stays_dependency {
                    resolution.items.push(marked(Change::MarkExplicit, installed));
                }
                return Ok(());
            }
            _ => {}
        }
        if self.is_left_alone(name, package.should_ignore(), resolution) {
            return Ok(());
        }
        if verb == Verb::Install {
            all.asked_for.borrow_mut().push(name.to_owned());
        }
        match handle.trans_add_pkg(package) {
            Ok(()) => {}
            // The same one twice is no error of libalpm's.
            Err(error) if error.error == AlpmError::TransDupTarget => {
                let message =
                    format!("{name} is asked for twice, from different repositories or in different versions");
                return Err(Failure::new(FailureKind::InvalidArgument, message));
            }
            Err(error) if error.error == AlpmError::PkgIgnored => {
                let message = format!("{name} is ignored by pacman's configuration (IgnorePkg, IgnoreGroup)");
                return Err(Failure::new(FailureKind::ResolutionFailed, message));
            }
            Err(error) => return Err(internal(&format!("{name} cannot be added"), error.error)),
        }
        Ok(())
    }
}

/// Whether there is what is to be removed.
fn remove(handle: &Alpm, action: &Action) -> Result<bool, Failure> {
    let target = Target::parse(action.target());
    let local = handle.localdb();
    if let Ok(package) = local.pkg(target.name)
        && target.repository.is_none()
        && target.fits(package)
    {
        return add_removal(handle, package).map(|()| true);
    }
    let members: Vec<&Package> = local.group(target.name).into_iter().flat_map(|group| group.packages()).collect();
    let is_there = !members.is_empty();
    members.into_iter().try_for_each(|package| add_removal(handle, package)).map(|()| is_there)
}

pub fn add_removal(handle: &Alpm, package: &Package) -> Result<(), Failure> {
    match handle.trans_remove_pkg(package) {
        Ok(()) | Err(AlpmError::TransDupTarget) => Ok(()),
        Err(error) => Err(internal(&format!("{} cannot be removed", package.name()), error)),
    }
}

fn reason(handle: &Alpm, action: &Action, resolution: &mut Resolution) -> Result<(), Failure> {
    let target = Target::parse(action.target());
    let explicit = action.verb() == Verb::MarkExplicit;
    let change = if explicit { Change::MarkExplicit } else { Change::MarkDependency };
    match handle.localdb().pkg(target.name) {
        Ok(package) if (package.reason() == PackageReason::Explicit) == explicit => {
            resolution.notes.push(format!("{}: {change} changes nothing, it is so already", target.name));
        }
        Ok(package) => resolution.items.push(marked(change, package)),
        // Its own item says what it is afterwards.
        Err(_) if handle.trans_add().into_iter().any(|added| added.name() == target.name) => {}
        Err(_) => {
            let message = format!("{} is not installed, so it cannot be marked", target.name);
            return Err(Failure::new(FailureKind::NotFound, message));
        }
    }
    Ok(())
}
