//! What nobody needs any more: `apt-get autoremove`, and the end of every other change.

use std::collections::HashSet;

use omg::transaction::{Failure, FailureKind};
use rust_apt::config::Config;
use rust_apt::raw::PkgIterator;
use rust_apt::{Cache, DepFlags, DepType, Package, Version};

use super::state;

/// Dependencies that can be important.
const NEEDS: [DepType; 4] = [DepType::PreDepends, DepType::Depends, DepType::Recommends, DepType::Suggests];

/// Takes back what was marked for installation and turned out not to be needed; with `remove` marks what is installed
/// and not needed for removal too. apt's marks of what is needed must be up to date. Where nothing was marked, all that is
/// marked, not needed or not configured is the answer, in apt's order.
///
/// # Errors
/// When that breaks something, which it must not.
pub fn mark<'a>(
    cache: &'a Cache,
    config: &Config,
    remove: bool,
    purge: bool,
) -> Result<Option<Vec<Package<'a>>>, Failure> {
    let depcache = cache.depcache();
    let mut taken_back = Vec::new();
    let (mut touched, mut changed) = (Vec::new(), false);
    for package in cache.iter() {
        if !depcache.is_garbage(&package) {
            if state::is_touched(&package) {
                touched.push(package);
            }
            continue;
        }
        let raw: &PkgIterator = &package;
        let installed = package.is_installed();
        changed |= remove || !installed;
        if remove {
            if installed && raw.current_state() != state::current::CONFIG_FILES {
                delete(cache, config, &package, purge);
            } else {
                package.mark_keep();
            }
        } else if !installed && package.marked_install() {
            delete(cache, config, &package, false);
            taken_back.push(package);
            continue;
        }
        touched.push(package);
    }
    if !taken_back.is_empty() && (depcache.broken_count() != 0 || is_policy_broken(cache)) {
        taken_back.sort_by_key(|package| package.index());
        put_back(cache, taken_back);
    }
    if depcache.broken_count() != 0 {
        let message = "removing what is not needed breaks other packages; report this as an error of apt";
        return Err(Failure::new(FailureKind::Internal, message));
    }
    Ok((!changed).then_some(touched))
}

/// Marks for removal, not at the user's word: essential packages stay, and what a metapackage brought stays when it goes.
pub fn delete(cache: &Cache, config: &Config, package: &Package<'_>, purge: bool) {
    let raw: &PkgIterator = package;
    if raw.is_essential() && !config.bool("APT::Get::Allow-Solver-Remove-Essential", false) {
        return;
    }
    if let Some(version) = package.install_version()
        && is_metapackage(config, &version)
    {
        let depcache = cache.depcache();
        for dependency in version.depends_map().values().flatten().flat_map(|group| group.iter()) {
            if NEEDS.contains(&dependency.dep_type()) && depcache.is_important_dep(dependency) {
                for target in dependency.all_targets().iter().filter(|target| target.is_installed()) {
                    depcache.mark_auto(&target.parent(), false);
                }
            }
        }
    }
    package.mark_delete(purge);
}

/// Whether it is in a section whose packages' dependencies count as asked for.
fn is_metapackage(config: &Config, version: &Version<'_>) -> bool {
    let Ok(section) = version.section() else { return false };
    let sections = config.find_vector("APT::Never-MarkAuto-Sections");
    let last = section.rsplit_once('/').map_or_else(|| format!("/{section}"), |(_, last)| last.to_owned());
    sections.iter().any(|known| known == section || *known == last)
}

/// Whether anything that is there or is to be there misses what it should have by apt's settings.
fn is_policy_broken(cache: &Cache) -> bool {
    let depcache = cache.depcache();
    cache.iter().filter_map(|package| package.install_version()).any(|version| {
        version
            .depends_map()
            .values()
            .flatten()
            .filter_map(|group| group.last())
            .any(|last| depcache.is_important_dep(last) && depcache.dep_state(last) & DepFlags::DepGInstall == 0)
    })
}

/// Marks those for installation again that something that stays or comes depends on.
fn put_back(cache: &Cache, mut taken_back: Vec<Package<'_>>) {
    let depcache = cache.depcache();
    loop {
        let needed = needed(cache);
        let Some(position) = taken_back.iter().position(|package| {
            let candidate = package.candidate().map(|version| version.index());
            needed.packages.contains(&package.index())
                || candidate.is_some_and(|candidate| needed.versions.contains(&candidate))
        }) else {
            return;
        };
        let package = taken_back.remove(position);
        depcache.mark_install(&package, false, false);
    }
}

/// Numbers of what is depended on.
#[derive(Default)]
struct Needed {
    packages: HashSet<usize>,
    versions: HashSet<usize>,
}

fn needed(cache: &Cache) -> Needed {
    let depcache = cache.depcache();
    let mut needed = Needed::default();
    let stays =
        |package: &Package<'_>| package.marked_keep() || package.marked_new_install() || package.marked_upgrade();
    for package in cache.iter().filter(stays) {
        let Some(version) = package.install_version() else { continue };
        for dependency in version.depends_map().values().flatten().flat_map(|group| group.iter()) {
            if NEEDS.contains(&dependency.dep_type()) && depcache.is_important_dep(dependency) {
                // As apt: whether the version would do is not asked.
                let target = dependency.target_package();
                needed.packages.insert(target.index());
                needed.versions.extend(target.provides().map(|provider| provider.version().index()));
            }
        }
    }
    needed
}
