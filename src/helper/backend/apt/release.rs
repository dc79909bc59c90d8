//! Taking dependencies from a release too, where the chosen version needs that: `apt-get install NAME/RELEASE`.
//!
//! The rules are those of libapt-pkg's `pkgDepCache::SetCandidateRelease`, which the bindings do not have.

use rust_apt::{BaseDep, Cache, DepFlags, DepType, Dependency, Version};

use super::target;

/// How deep dependencies are followed.
const MAX_DEPTH: usize = 1000;

/// Makes `version` the candidate, and for its dependencies that no candidate can meet the version from the release, if
/// that meets them. Says whether all of them can be met. `changed` collects what was switched.
pub fn switch<'a>(cache: &'a Cache, version: &Version<'a>, release: &str, changed: &mut Vec<Version<'a>>) -> bool {
    descend(cache, version, release, changed, 0)
}

fn descend<'a>(
    cache: &'a Cache,
    version: &Version<'a>,
    release: &str,
    changed: &mut Vec<Version<'a>>,
    depth: usize,
) -> bool {
    version.set_candidate();
    if matches!(release, "installed" | "candidate") {
        return true;
    }
    if depth > MAX_DEPTH {
        return false;
    }
    let kept = changed.len();
    for group in in_order(version, &[DepType::PreDepends, DepType::Depends, DepType::Recommends, DepType::Suggests]) {
        let strict = matches!(group.dep_type(), DepType::PreDepends | DepType::Depends);
        if !strict && !cache.depcache().is_important_dep(group.first()) {
            continue;
        }
        if group.iter().any(|alternative| is_met(cache, alternative)) {
            continue;
        }
        let met = group.iter().enumerate().any(|(position, alternative)| {
            let last = position + 1 == group.len();
            try_switch(cache, alternative, release, changed, depth, last)
        });
        if !met && strict {
            changed.truncate(kept);
            return false;
        }
    }
    true
}

/// Whether a switch to the release meets this alternative.
fn try_switch<'a>(
    cache: &'a Cache,
    alternative: &BaseDep<'a>,
    release: &str,
    changed: &mut Vec<Version<'a>>,
    depth: usize,
    last: bool,
) -> bool {
    // Without a version to meet, another candidate does not help.
    if alternative.version().is_none() {
        return false;
    }
    let target = alternative.target_package();
    let found = if release == "newest" { target.versions().next() } else { target::of_release(target, release) };
    let Some(version) = found.filter(|version| satisfies(alternative, version)) else { return false };
    let before = target.candidate();
    let is_candidate = before.as_ref().is_some_and(|before| before.index() == version.index());
    if is_candidate && changed.iter().any(|other| other.parent().index() == target.index()) {
        return true;
    }
    changed.push(version.clone());
    if descend(cache, &version, release, changed, depth + 1) {
        return true;
    }
    if !last {
        before.inspect(Version::set_candidate);
        changed.pop();
    }
    false
}

/// Whether an alternative is met by what is installed, or can be by a candidate.
fn is_met<'a>(cache: &'a Cache, alternative: &BaseDep<'a>) -> bool {
    let target = alternative.target_package();
    if target.installed().is_some_and(|installed| satisfies(alternative, &installed)) {
        return true;
    }
    let candidate = target.candidate();
    if alternative.version().is_none() && target.has_provides() {
        return target.provides().any(|provider| {
            let provided = provider.version().index();
            let candidate = provider.package().candidate();
            candidate.is_some_and(|candidate| candidate.index() == provided && is_installable(cache, &candidate))
        });
    }
    candidate.is_some_and(|candidate| {
        (alternative.version().is_none() || satisfies(alternative, &candidate)) && is_installable(cache, &candidate)
    })
}

fn satisfies(alternative: &BaseDep<'_>, version: &Version<'_>) -> bool {
    alternative.all_targets().iter().any(|target| target.index() == version.index())
}

/// Whether everything that a version strictly needs would be there as things are marked.
fn is_installable(cache: &Cache, version: &Version<'_>) -> bool {
    version.depends_map().values().flatten().filter(|group| group.first().is_critical()).all(|group| {
        group.last().is_some_and(|last| {
            let state = cache.depcache().dep_state(last);
            (state | (state >> 3)) & DepFlags::DepInstall != 0
        })
    })
}

/// The dependencies of these kinds in the order of the record.
pub fn in_order<'v, 'a>(version: &'v Version<'a>, kinds: &[DepType]) -> Vec<&'v Dependency<'a>> {
    let mut groups: Vec<_> = kinds.iter().filter_map(|kind| version.get_depends(kind)).flatten().collect();
    groups.sort_by_key(|group| group.first().index());
    groups
}
