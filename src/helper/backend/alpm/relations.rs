//! Which installed packages need which.

use std::collections::HashMap;

use alpm::{Db, Dep, DepModVer, Package, PackageReason, Ver};

use super::record::Needed;
use super::sound;

/// The installed packages and what they need of each other.
pub struct Installed<'a> {
    pub packages: Vec<&'a Package>,
    needed: Vec<Needed>,
    /// Who needs, how, whom: positions in `packages`.
    edges: Vec<(usize, &'static str, usize)>,
    /// Positions of those that lack what they depend on.
    broken: Vec<usize>,
}

impl<'a> Installed<'a> {
    /// Reads the local database; `unreadable` counts what is left out.
    pub fn read(database: &'a Db, unreadable: &mut usize) -> Self {
        let mut packages: Vec<&'a Package> = Vec::new();
        for package in database.pkgs() {
            match sound(|| is_sound(package)) {
                Some(()) => packages.push(package),
                None => *unreadable += 1,
            }
        }
        Self::of(packages)
    }

    /// How these packages, all of them installed, need each other.
    pub fn of(packages: Vec<&'a Package>) -> Self {
        let mut providers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (position, package) in packages.iter().enumerate() {
            let provided = package.provides().into_iter().map(Dep::name);
            for name in std::iter::once(package.name()).chain(provided) {
                let known = providers.entry(name).or_default();
                if known.last() != Some(&position) {
                    known.push(position);
                }
            }
        }
        let needed = packages.iter().map(|_| Needed::default()).collect();
        let mut installed = Self { packages, needed, edges: Vec::new(), broken: Vec::new() };
        for position in 0..installed.packages.len() {
            installed.relate(position, &providers);
        }
        for needed in &mut installed.needed {
            for names in [&mut needed.by, &mut needed.optional_for] {
                names.sort_unstable();
                names.dedup();
            }
        }
        installed
    }

    fn relate(&mut self, position: usize, providers: &HashMap<&str, Vec<usize>>) {
        let Some(&package) = self.packages.get(position) else { return };
        for (kind, wanted) in [("Depends", package.depends()), ("Suggests", package.optdepends())] {
            for dependency in wanted {
                let among = providers.get(dependency.name()).map(Vec::as_slice).unwrap_or_default();
                let mut met = false;
                for &provider in among {
                    let Some(other) = self.packages.get(provider).filter(|other| satisfies(dependency, other)) else {
                        continue;
                    };
                    met = true;
                    if other.name() == package.name() {
                        continue;
                    }
                    self.edges.push((position, kind, provider));
                    if let Some(needed) = self.needed.get_mut(provider) {
                        let names = if kind == "Depends" { &mut needed.by } else { &mut needed.optional_for };
                        names.push(package.name().to_owned());
                    }
                }
                if !met && kind == "Depends" && self.broken.last() != Some(&position) {
                    self.broken.push(position);
                }
            }
        }
    }

    pub fn get(&self, position: usize) -> Option<(&'a Package, &Needed)> {
        self.packages.get(position).copied().zip(self.needed.get(position))
    }

    /// Whether an installed package lacks what it depends on.
    pub fn is_broken(&self, position: usize) -> bool {
        self.broken.binary_search(&position).is_ok()
    }

    /// Those that were installed as a dependency and that nothing needs or wishes any more: `pacman -Qdt`.
    pub fn orphans(&self) -> impl Iterator<Item = &'a Package> + '_ {
        let unneeded = |needed: &Needed| needed.by.is_empty() && needed.optional_for.is_empty();
        let all = self.packages.iter().copied().zip(&self.needed);
        all.filter(move |(package, needed)| package.reason() == PackageReason::Depend && unneeded(needed))
            .map(|(package, _)| package)
    }

    /// Names of those that may go: what [`Self::orphans`] finds where `explicit` tells what was asked for, and what only these
    /// depend on.
    pub fn unneeded(&self, explicit: impl Fn(&Package) -> bool) -> Vec<String> {
        let mut gone: Vec<bool> = self
            .packages
            .iter()
            .zip(&self.needed)
            .map(|(package, needed)| !explicit(package) && needed.by.is_empty() && needed.optional_for.is_empty())
            .collect();
        let depends: Vec<(usize, usize)> =
            self.edges().filter(|(_, kind, _)| *kind == "Depends").map(|(from, _, to)| (from, to)).collect();
        let mut dependents: HashMap<usize, Vec<usize>> = HashMap::new();
        for (from, to) in &depends {
            dependents.entry(*to).or_default().push(*from);
        }
        let is_gone = |gone: &[bool], position: usize| gone.get(position).copied().unwrap_or(false);
        loop {
            let more: Vec<usize> = depends
                .iter()
                .filter(|(from, to)| is_gone(&gone, *from) && !is_gone(&gone, *to))
                .map(|(_, to)| *to)
                .filter(|to| self.packages.get(*to).is_some_and(|package| !explicit(package)))
                .filter(|to| dependents.get(to).is_none_or(|all| all.iter().all(|from| is_gone(&gone, *from))))
                .collect();
            if more.is_empty() {
                break;
            }
            for position in more {
                if let Some(gone) = gone.get_mut(position) {
                    *gone = true;
                }
            }
        }
        let all = self.packages.iter().zip(gone);
        all.filter(|(_, gone)| *gone).map(|(package, _)| package.name().to_owned()).collect()
    }

    pub fn edges(&self) -> impl Iterator<Item = (usize, &'static str, usize)> + '_ {
        self.edges.iter().copied()
    }
}

/// Reads all text of a package: panics when some of it is not UTF-8.
pub fn is_sound(package: &Package) {
    let _ = (package.name(), package.version().as_str(), package.desc(), package.arch());
    for relations in [package.depends(), package.optdepends(), package.provides()] {
        for relation in relations {
            let _ = (relation.name(), relation.version().map(|version| version.as_str()), relation.desc());
        }
    }
}

/// As libalpm decides it: by the package's own name and version, or by what it provides, where a version is asked for only
/// by what is provided with one.
fn satisfies(dependency: &Dep, package: &Package) -> bool {
    let wanted = dependency.depmodver();
    let named = package.name() == dependency.name() && allows(wanted, package.version());
    named
        || package.provides().iter().any(|provided| {
            provided.name() == dependency.name()
                && match provided.version() {
                    Some(version) => allows(wanted, version),
                    None => wanted == DepModVer::Any,
                }
        })
}

/// Compared without the package release where only one side has it.
fn allows(wanted: DepModVer<'_>, version: &Ver) -> bool {
    match wanted {
        DepModVer::Any => true,
        DepModVer::Eq(other) => version == other,
        DepModVer::Ge(other) => version >= other,
        DepModVer::Le(other) => version <= other,
        DepModVer::Gt(other) => version > other,
        DepModVer::Lt(other) => version < other,
    }
}
