//! Resolves actions as apt-get would.

use omg::transaction::{Action, Change, Failure, FailureKind, Item, Plan, Request, Resolution, Verb};
use rust_apt::Cache;
use rust_apt::config::Config;
use rust_apt::raw::PkgIterator;

use super::super::package_files::PackageFiles;
use super::super::{Error, System};
use super::changes::{self, Reader};
use super::deb;
use super::marking::{self, Marking};
use super::target::{self, Target};
use super::{caches, settings, sources, state, text};

/// A request, marked in apt's cache.
pub struct Resolved {
    pub config: Config,
    /// Everything is marked: ready to be fetched and installed.
    pub cache: Cache,
    pub plan: Plan,
    /// The package files that the cache reads: they go with this.
    pub files: PackageFiles,
}

/// The plan for a request; nothing is locked and nothing changed.
///
/// # Errors
/// When there is no such plan, in apt's own words, or apt cannot read its lists.
pub fn plan(system: &System, request: &Request) -> Result<Plan, Failure> {
    resolved(system, request, &|| false).map(|resolved| resolved.plan)
}

/// Opens apt's cache and marks in it what the request comes to: the cache is ready to be committed. Package files are copied
/// until it is `cancelled`.
///
/// # Errors
/// As [`plan`], and when it was cancelled.
pub fn resolved(system: &System, request: &Request, cancelled: &dyn Fn() -> bool) -> Result<Resolved, Failure> {
    let mut notes = Vec::new();
    let config = settings::load(system, &mut notes).map_err(|error| unavailable(&error))?;
    if let Some(recommends) = request.options.recommends {
        config.set("APT::Install-Recommends", if recommends { "true" } else { "false" });
    }
    let files = PackageFiles::copy(system, request, &deb::read, cancelled)?;
    let paths: Vec<String> = files.files.iter().map(|file| file.path.display().to_string()).collect();
    let status = config.file("Dir::State::status", "");
    caches::distrust_old(&config, status.as_ref(), &sources::package_lists(&config));
    let cache = super::open(&paths, &mut notes).map_err(|error| unavailable(&error))?;
    let mut resolution = resolve(&cache, &config, request, &files)?;
    resolution.notes.splice(0..0, notes);
    // A plan for one system must not be taken for one of another that happens to come to the same.
    resolution.place = (system.root.is_some() || !system.options.is_empty()).then(|| format!("{system:?}"));
    let plan = Plan::new(request.actions.clone(), request.options.clone(), resolution);
    Ok(Resolved { config, cache, plan, files })
}

fn unavailable(error: &Error) -> Failure {
    Failure::new(FailureKind::BackendUnavailable, error.to_string())
}

fn resolve(cache: &Cache, config: &Config, request: &Request, files: &PackageFiles) -> Result<Resolution, Failure> {
    let mut resolution = Resolution::default();
    let mut marking = Marking::new(cache, config, request, files);
    if marking.changes() {
        marking.run()?;
        for package in &marking.asked_for {
            if let Some(version) = package.installed()
                && let Some(name) = text::name(cache, config, &version)
            {
                resolution.items.push(changes::mark(Change::MarkExplicit, name, package, version.version(), true));
            }
        }
        resolution.notes.append(&mut marking.notes);
    }
    for action in &request.actions {
        match action.verb() {
            Verb::Hold | Verb::Unhold | Verb::MarkExplicit | Verb::MarkDependency => {
                let marked = mark(cache, config, action, &mut resolution.notes)?;
                resolution.items.extend(marked.filter(|item| !resolution.items.contains(item)));
            }
            Verb::Clean => resolution.items.extend(changes::clean(config)),
            _ => {}
        }
    }
    if marking.changes() {
        let mut reader = Reader::new(cache, config, files);
        // Marks that came later may have made something needless.
        let only_changes = request.actions.iter().all(|action| marking::changes(action.verb()));
        let changes = reader.changes(marking.touched.take().filter(|_| only_changes))?;
        resolution.items.extend(changes.items);
        resolution.risks.extend(changes.risks);
        if marking.upgrade().is_some() {
            resolution.held_back = reader.held_back(&marking.upgradable);
        }
        resolution.unneeded = changes.unneeded;
    }
    Ok(resolution)
}

/// What one of `apt-mark`'s commands would change, if anything. Marks take effect after the changes of packages.
fn mark(cache: &Cache, config: &Config, action: &Action, notes: &mut Vec<String>) -> Result<Option<Item>, Failure> {
    let name = Target::parse(action.target())?.bare(action.verb().as_str())?;
    let package = target::package(cache, config, name)?;
    let pretty = package.fullname(true);
    let raw: &PkgIterator = &package;
    let held = raw.selected_state() == state::SELECTED_HOLD;
    let explicit = !package.is_auto_installed();
    let (change, is_so) = match action.verb() {
        Verb::Hold => (Change::Hold, held),
        Verb::Unhold => (Change::Unhold, !held),
        Verb::MarkExplicit => (Change::MarkExplicit, explicit),
        _ => (Change::MarkDependency, !explicit),
    };
    let marks_reason = matches!(change, Change::MarkExplicit | Change::MarkDependency);
    if marks_reason && package.marked_install() && is_so {
        // Its own item says what it is afterwards.
        return Ok(None);
    }
    if marks_reason && !package.is_installed() {
        notes.push(format!("{pretty} can not be marked as it is not installed."));
        return Ok(None);
    }
    // apt-mark holds what is not installed too: it will not be.
    let Some(version) = package.installed().or_else(|| package.candidate()) else {
        let message = format!("Package '{pretty}' has neither an installed version nor a candidate");
        return Err(Failure::new(FailureKind::NotFound, message));
    };
    if is_so {
        notes.push(format!("{pretty}: {change} changes nothing, it is so already"));
        return Ok(None);
    }
    let Some(name) = text::name(cache, config, &version) else {
        return Err(Failure::new(FailureKind::NotFound, format!("Unable to locate package {pretty}")));
    };
    let explicit = if marks_reason { change == Change::MarkExplicit } else { explicit };
    if marks_reason {
        package.mark_auto(change == Change::MarkDependency);
    }
    let version = if package.is_installed() { version.version() } else { "" };
    Ok(Some(changes::mark(change, name, &package, version, explicit)))
}
