//! Why it cannot be: what `apt-get` prints under "The following packages have unmet dependencies".

use std::collections::BTreeMap;

use rust_apt::config::Config;
use rust_apt::{BaseDep, Cache, DepFlags, DepType, Package, Version};

use super::{release, text};

/// Kinds of dependencies that can be broken, and their fields.
const KINDS: [(DepType, &str); 7] = [
    (DepType::PreDepends, "Pre-Depends"),
    (DepType::Depends, "Depends"),
    (DepType::Recommends, "Recommends"),
    (DepType::Suggests, "Suggests"),
    (DepType::Conflicts, "Conflicts"),
    (DepType::DpkgBreaks, "Breaks"),
    (DepType::Obsoletes, "Obsoletes"),
];

/// Which state of things is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As the packages are now.
    Now,
    /// As they are marked.
    Marked,
}

/// The broken packages and the requirements that do not hold, with the reasons; empty when nothing is broken.
pub fn explain(cache: &Cache, config: &Config, when: When) -> String {
    let depcache = cache.depcache();
    if depcache.broken_count() == 0 {
        return String::new();
    }
    let mut broken: BTreeMap<(String, String), String> = BTreeMap::new();
    for package in cache.iter() {
        let (is_broken, version) = match when {
            When::Now => (package.is_now_broken(), package.installed()),
            When::Marked => (package.is_inst_broken(), package.install_version()),
        };
        let Some(version) = version.filter(|_| is_broken) else { continue };
        let Some(name) = text::name(cache, config, &version) else { continue };
        let lines = requirements(cache, config, &name.pretty, &version, when);
        broken.insert((name.name, name.arch), lines);
    }
    let mut explanation = String::from("The following packages have unmet dependencies:");
    for lines in broken.values() {
        explanation.push('\n');
        explanation.push_str(lines);
    }
    explanation
}

fn requirements(cache: &Cache, config: &Config, name: &str, version: &Version<'_>, when: When) -> String {
    let depcache = cache.depcache();
    let met = match when {
        When::Now => DepFlags::DepGNow,
        When::Marked => DepFlags::DepGInstall,
    };
    let mut lines = format!(" {name} :");
    let indent = " ".repeat(name.len() + 3);
    let mut first = true;
    for group in release::in_order(version, &KINDS.map(|(kind, _)| kind)) {
        let Some(last) = group.last() else { continue };
        if !depcache.is_important_dep(last) || depcache.dep_state(last) & met != 0 {
            continue;
        }
        let kind = group.dep_type();
        let field = KINDS.iter().find(|(known, _)| *known == kind).map_or("", |(_, field)| *field);
        let is_text = text::field(version, field).is_some();
        for (position, alternative) in group.iter().enumerate() {
            // Names come from that field, except for what apt adds itself: that is about the package's namesakes.
            if !is_text && !is_namesake(cache, config, version, alternative) {
                continue;
            }
            if !first {
                lines.push('\n');
                lines.push_str(&indent);
            }
            first = false;
            if position == 0 {
                lines.push_str(&format!(" {}: ", shown(field)));
            } else {
                lines.push_str(&" ".repeat(shown(field).len() + 3));
            }
            lines.push_str(&requirement(alternative, when));
            if position + 1 < group.len() {
                lines.push_str(" or");
            }
        }
    }
    lines
}

/// The word that apt shows for a field.
fn shown(field: &str) -> &str {
    if field == "Pre-Depends" { "PreDepends" } else { field }
}

/// What is required, and what is in the way.
fn requirement(alternative: &BaseDep<'_>, when: When) -> String {
    let target = alternative.target_package();
    let mut line = target.fullname(true);
    if let (Some(comparison), Some(wanted)) = (alternative.comp_type(), alternative.version()) {
        line.push_str(&format!(" ({comparison} {wanted})"));
    }
    if target.has_provides() {
        return line;
    }
    line.push(' ');
    line.push_str(&reason(target, when));
    line
}

fn reason(target: &Package<'_>, when: When) -> String {
    let (version, verb, absent) = match when {
        When::Now => (target.installed(), "is installed", "but it is not installed"),
        When::Marked => (target.install_version(), "is to be installed", "but it is not going to be installed"),
    };
    match version {
        Some(version) if text::is_sound(&version) => format!("but {} {verb}", version.version()),
        Some(_) => format!("but another version {verb}"),
        None if target.candidate().is_some() => absent.to_owned(),
        None => "but it is not installable".to_owned(),
    }
}

fn is_namesake(cache: &Cache, config: &Config, version: &Version<'_>, alternative: &BaseDep<'_>) -> bool {
    let wanted = alternative.target_package().index();
    let parent = version.parent();
    let name = parent.name();
    config
        .get_architectures()
        .iter()
        .any(|arch| cache.get(&format!("{name}:{arch}")).is_some_and(|found| found.index() == wanted))
}
