//! What of the AUR is built in which order, by what is installed and what the repositories have.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use alpm::{Alpm, Db, Package, PackageReason, Usage, vercmp};
use omg::aur::AurPackage;
use omg::aur::order::{Answer, Choice, LATEST, Needed, Obstacle, Order, Request, Step, StepPackage};

use super::super::System;
use super::settings::Settings;
use super::sound;

/// Packages of the AUR that one request may come to.
const MAX_PACKAGES: usize = 1000;

/// The order for a request, or what has to be known before.
pub fn order(system: &System, request: &Request) -> Answer {
    let handle = match Settings::read(system).and_then(|settings| settings.handle()) {
        Ok(handle) => handle,
        Err(error) => return Answer::Unavailable(error.to_string()),
    };
    let answer = sound(|| Orderer::new(&handle, request).answer());
    answer
        .unwrap_or_else(|| Answer::Unavailable("a package has text that is not UTF-8; remove where it is from".into()))
}

/// `name`, `name>=version`: a dependency, or what a package provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Relation<'a> {
    name: &'a str,
    operator: &'a str,
    version: &'a str,
}

impl<'a> Relation<'a> {
    fn parse(text: &'a str) -> Self {
        let Some(start) = text.find(['<', '>', '=']) else { return Self { name: text, operator: "", version: "" } };
        let (name, rest) = text.split_at(start);
        let version = rest.trim_start_matches(['<', '>', '=']);
        Self { name, operator: rest.strip_suffix(version).unwrap_or(rest), version }
    }

    fn takes(self, version: &str) -> bool {
        match (self.operator, vercmp(version, self.version)) {
            ("", _) => true,
            ("=", order) => order == Ordering::Equal,
            (">=", order) => order != Ordering::Less,
            ("<=", order) => order != Ordering::Greater,
            (">", order) => order == Ordering::Greater,
            ("<", order) => order == Ordering::Less,
            _ => false,
        }
    }

    /// Whether a package of this name and version, which provides this, is one that is meant.
    fn is_met_by<'b>(self, name: &str, version: &str, mut provides: impl Iterator<Item = Relation<'b>>) -> bool {
        self.name == name && self.takes(version)
            // What is provided without a version is as good as none for those who want one.
            || provides.any(|provided| {
                provided.name == self.name
                    && (self.operator.is_empty() || provided.operator == "=" && self.takes(provided.version))
            })
    }

    fn is_met_by_aur(self, package: &AurPackage) -> bool {
        let provides = package.provides.iter().map(|provided| Relation::parse(provided));
        self.is_met_by(&package.name, &package.version, provides)
    }

    fn is_met_by_installed(self, package: &Package) -> bool {
        let provides: Vec<String> = package.provides().iter().map(ToString::to_string).collect();
        self.is_met_by(package.name(), package.version().as_str(), provides.iter().map(|text| Relation::parse(text)))
    }
}

/// Where something that is needed is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found<'a> {
    Installed,
    Repository(String),
    Aur(&'a str),
}

/// Whether the AUR has a newer version than the installed one.
fn is_newer(package: &AurPackage, installed: &Package) -> bool {
    vercmp(package.version.as_str(), installed.version().as_str()) == Ordering::Greater
}

struct Orderer<'a> {
    request: &'a Request,
    handle: &'a Alpm,
    repositories: Vec<&'a Db>,
    known: BTreeMap<&'a str, &'a AurPackage>,
    asked: HashSet<&'a str>,
    ask: BTreeSet<String>,
    ask_for_providers: BTreeSet<String>,
    /// By what is wanted.
    choices: BTreeMap<String, Choice>,
    obstacles: Vec<Obstacle>,
    notes: Vec<String>,
    /// Packages of the AUR that are asked for, or upgraded.
    targets: BTreeSet<&'a str>,
    /// Those of them that were named.
    named: BTreeSet<&'a str>,
    /// All packages of the AUR that are built.
    wanted: BTreeSet<&'a str>,
    /// Packages of repositories, and whether they were named.
    repository: BTreeMap<String, bool>,
    /// Who needs what; `true` where also after it was built.
    needs: Vec<(&'a str, Found<'a>, bool)>,
}

impl<'a> Orderer<'a> {
    fn new(handle: &'a Alpm, request: &'a Request) -> Self {
        let repositories = handle.syncdbs().into_iter();
        let repositories = repositories.filter(|db| db.usage().unwrap_or(Usage::ALL).contains(Usage::INSTALL));
        let known = request.known.iter().filter(|package| package.is_sound());
        Self {
            request,
            handle,
            repositories: repositories.collect(),
            known: known.map(|package| (package.name.as_str(), package)).collect(),
            asked: request.asked.iter().map(String::as_str).collect(),
            ask: BTreeSet::new(),
            ask_for_providers: BTreeSet::new(),
            choices: BTreeMap::new(),
            obstacles: Vec::new(),
            notes: Vec::new(),
            targets: BTreeSet::new(),
            named: BTreeSet::new(),
            wanted: BTreeSet::new(),
            repository: BTreeMap::new(),
            needs: Vec::new(),
        }
    }

    fn answer(mut self) -> Answer {
        self.name_targets();
        if self.request.upgrade {
            self.upgrade();
        }
        self.gather();
        if !self.ask.is_empty() {
            return Answer::Ask(self.ask.into_iter().collect());
        }
        if !self.ask_for_providers.is_empty() {
            return Answer::AskForProviders(self.ask_for_providers.into_iter().collect());
        }
        self.conflicts();
        let bases = self.in_order();
        if !self.obstacles.is_empty() {
            return Answer::Failed(self.obstacles);
        }
        Answer::Order(self.order(&bases))
    }

    fn installed(&self, name: &str) -> Option<&'a Package> {
        self.handle.localdb().pkg(name).ok()
    }

    /// The package of a repository that meets it.
    fn offered(&self, dependency: &str) -> Option<String> {
        let name = Relation::parse(dependency).name;
        let literal = self.repositories.iter().find_map(|db| db.pkg(name).ok());
        if let Some(package) = literal.filter(|package| Relation::parse(dependency).is_met_by_installed(package)) {
            return Some(package.name().to_owned());
        }
        let list = self.repositories.iter().copied().collect::<alpm::AlpmListMut<&Db>>();
        list.list().find_satisfier(dependency).map(|package| package.name().to_owned())
    }

    fn is_group(&self, name: &str) -> bool {
        self.repositories.iter().any(|db| db.group(name).is_ok())
    }

    fn name_targets(&mut self) {
        for target in &self.request.targets {
            let (name, forced) = match target.strip_prefix("aur/") {
                Some(name) => (name, true),
                None => (target.as_str(), false),
            };
            if name.contains(char::is_control) {
                self.obstacles.push(Obstacle::Missing { name: name.escape_debug().to_string(), needed_by: None });
            } else if !forced && (target.contains('/') || self.is_group(name) || self.offered(name).is_some()) {
                self.repository.insert(target.clone(), true);
            // What merely says that it provides what somebody named is for that somebody to name.
            } else if let Some(package) = self.known.get(name).copied() {
                self.target(package, true);
            } else if self.asked.contains(name) {
                self.obstacles.push(Obstacle::Missing { name: name.to_owned(), needed_by: None });
            } else {
                self.ask.insert(name.to_owned());
            }
        }
    }

    /// Takes a package for one that is to be built, unless it is there already.
    fn target(&mut self, package: &'a AurPackage, named: bool) {
        let name = package.name.as_str();
        if let Some(installed) = self.installed(name) {
            let newer = is_newer(package, installed);
            let built = self.request.built.iter().any(|(built, version)| {
                built == name && vercmp(version.as_str(), installed.version().as_str()) == Ordering::Greater
            });
            let again = built || self.request.again.iter().any(|again| again == name);
            if !newer && !again {
                if named {
                    self.notes.push(format!("{name} is already the newest version ({}).", installed.version()));
                }
                return;
            }
            if !named && installed.should_ignore() {
                self.notes.push(format!("{name} stays at {}: it is held (IgnorePkg).", installed.version()));
                return;
            }
        }
        self.targets.insert(name);
        if named {
            self.named.insert(name);
        }
    }

    /// Packages that are installed and in no repository.
    fn upgrade(&mut self) {
        for installed in self.handle.localdb().pkgs() {
            let name = installed.name();
            if self.handle.syncdbs().into_iter().any(|db| db.pkg(name).is_ok()) {
                continue;
            }
            match self.known.get(name) {
                Some(package) => self.target(package, false),
                None if self.asked.contains(name) => {}
                None => {
                    self.ask.insert(name.to_owned());
                }
            }
        }
    }

    /// The package of the AUR that meets it: the one of that name first, then one that is built anyway, then one of those
    /// that provide it, as somebody chose. Those that the AUR was not asked for are no choice: one that is known since it
    /// provides something else may claim any name.
    fn of_aur(&mut self, dependency: &str) -> Option<&'a AurPackage> {
        let relation = Relation::parse(dependency);
        if !self.known.contains_key(relation.name) && !self.asked.contains(relation.name) {
            self.ask.insert(relation.name.to_owned());
            return None;
        }
        let literal = self.known.get(relation.name).copied().filter(|package| relation.is_met_by_aur(package));
        let wanted = self.wanted.iter().chain(&self.targets).filter_map(|name| self.known.get(name).copied());
        let found = literal.or_else(|| wanted.into_iter().find(|package| relation.is_met_by_aur(package)));
        if found.is_some() {
            return found;
        }
        if !self.request.asked_for_providers.iter().any(|asked| asked == relation.name) {
            self.ask_for_providers.insert(relation.name.to_owned());
            return None;
        }
        let mut providers: Vec<&'a AurPackage> = self.known.values().copied().collect();
        providers.retain(|package| relation.is_met_by_aur(package));
        // Those of most use first.
        providers
            .sort_by(|one, other| other.popularity.total_cmp(&one.popularity).then_with(|| one.name.cmp(&other.name)));
        let default = providers.first().copied()?;
        let chosen = match self.request.providers.get(relation.name).or(self.request.provider.as_ref()) {
            None => default,
            Some(wish) => match providers.iter().find(|package| package.name == *wish).copied() {
                Some(chosen) => chosen,
                None => {
                    let names: Vec<&str> = providers.iter().map(|package| package.name.as_str()).collect();
                    self.obstacles.push(Obstacle::NoChoice(format!(
                        "answers: provider:{} is one of {}, not {wish}",
                        relation.name,
                        names.join(", ")
                    )));
                    default
                }
            },
        };
        if providers.len() > 1 {
            let choice = Choice::Provider {
                wanted: relation.name.to_owned(),
                providers: providers.iter().map(|package| package.name.clone()).collect(),
                chosen: chosen.name.clone(),
            };
            self.choices.insert(relation.name.to_owned(), choice);
        }
        Some(chosen)
    }

    fn find(&mut self, dependency: &str, needed_by: &str) -> Option<Found<'a>> {
        if dependency.is_empty() || dependency.contains(|char: char| char.is_control() || char.is_whitespace()) {
            let name = dependency.escape_debug().to_string();
            self.obstacles.push(Obstacle::Missing { name, needed_by: Some(needed_by.to_owned()) });
            return None;
        }
        if let Some(installed) = self.handle.localdb().pkgs().find_satisfier(dependency) {
            // One that is built anew is built before what needs it.
            let renewed = self.targets.get(installed.name()).copied();
            return Some(renewed.map_or(Found::Installed, Found::Aur));
        }
        if let Some(name) = self.offered(dependency) {
            return Some(Found::Repository(name));
        }
        if let Some(package) = self.of_aur(dependency) {
            return Some(Found::Aur(package.name.as_str()));
        }
        // What is still asked for makes no answer of the obstacles.
        let missing = Obstacle::Missing { name: dependency.to_owned(), needed_by: Some(needed_by.to_owned()) };
        if !self.obstacles.contains(&missing) {
            self.obstacles.push(missing);
        }
        None
    }

    /// Everything that the targets need.
    fn gather(&mut self) {
        let mut waiting: Vec<&'a str> = self.targets.iter().copied().collect();
        while let Some(name) = waiting.pop() {
            if !self.wanted.insert(name) || self.wanted.len() > MAX_PACKAGES {
                continue;
            }
            let Some(package) = self.known.get(name).copied() else { continue };
            let kinds = [(&package.depends, true), (&package.make_depends, false), (&package.check_depends, false)];
            for (dependencies, stays) in kinds {
                for dependency in dependencies {
                    match self.find(dependency, name) {
                        Some(Found::Aur(other)) => {
                            waiting.push(other);
                            self.needs.push((name, Found::Aur(other), stays));
                        }
                        Some(Found::Repository(other)) => {
                            self.repository.entry(other.clone()).or_insert(false);
                            self.needs.push((name, Found::Repository(other), stays));
                        }
                        Some(Found::Installed) | None => {}
                    }
                }
            }
        }
    }

    fn conflicts(&mut self) {
        for package in self.wanted.iter().filter_map(|name| self.known.get(name).copied()) {
            for conflict in &package.conflicts {
                let relation = Relation::parse(conflict);
                let others = self.handle.localdb().pkgs().into_iter();
                // What is replaced by another version of itself is judged by that one.
                let others = others.filter(|other| other.name() != package.name && !self.wanted.contains(other.name()));
                for installed in others.filter(|other| relation.is_met_by_installed(other)) {
                    let (package, installed) = (package.name.clone(), installed.name().to_owned());
                    let key = format!("{package}:{installed}");
                    let agreed = self.request.replace.get(&key).copied().unwrap_or(self.request.replace_all);
                    self.choices.insert(key, Choice::Conflict { package, installed, agreed });
                }
                let built = self.wanted.iter().filter_map(|name| self.known.get(name));
                let built = built.filter(|other| other.name != package.name && relation.is_met_by_aur(other));
                self.obstacles.extend(
                    built.map(|other| Obstacle::Conflict { one: package.name.clone(), other: other.name.clone() }),
                );
            }
        }
    }

    fn base(&self, name: &str) -> &'a str {
        self.known.get(name).map_or("", |package| package.package_base.as_str())
    }

    /// The other bases that a base needs.
    fn bases_needed_by(&self, base: &str) -> BTreeSet<&'a str> {
        let needs = self.needs.iter().filter(|(by, ..)| self.base(by) == base);
        let others = needs.filter_map(|(_, found, _)| match found {
            Found::Aur(name) => Some(self.base(name)),
            _ => None,
        });
        others.filter(|other| *other != base).collect()
    }

    /// The bases, each behind those that it needs.
    fn in_order(&mut self) -> Vec<&'a str> {
        let bases: BTreeSet<&'a str> = self.wanted.iter().map(|name| self.base(name)).collect();
        let needed: HashMap<&'a str, BTreeSet<&'a str>> =
            bases.iter().map(|base| (*base, self.bases_needed_by(base))).collect();
        let mut done: Vec<&'a str> = Vec::new();
        for base in &bases {
            let mut path = vec![*base];
            while let Some(at) = path.last().copied() {
                let next = needed.get(at).into_iter().flatten().find(|other| !done.contains(other)).copied();
                match next {
                    Some(next) if path.contains(&next) => {
                        let from = path.iter().position(|known| *known == next).unwrap_or(0);
                        let mut cycle: Vec<String> = path.iter().skip(from).map(|&base| base.to_owned()).collect();
                        cycle.push(next.to_owned());
                        self.obstacles.push(Obstacle::Cycle(cycle));
                        return Vec::new();
                    }
                    Some(next) => path.push(next),
                    None => {
                        path.pop();
                        if !done.contains(&at) {
                            done.push(at);
                        }
                    }
                }
            }
        }
        done
    }

    /// What is needed when everything is built.
    fn lasting(&self) -> HashSet<String> {
        let mut lasting: HashSet<String> = self.targets.iter().map(|&name| name.to_owned()).collect();
        let mut before = 0;
        while lasting.len() != before {
            before = lasting.len();
            for (by, found, stays) in &self.needs {
                if let (true, true, Found::Aur(name)) = (*stays, lasting.contains(*by), found) {
                    lasting.insert((*name).to_owned());
                }
                if let (true, true, Found::Repository(name)) = (*stays, lasting.contains(*by), found) {
                    lasting.insert(name.clone());
                }
            }
        }
        lasting
    }

    fn order(mut self, bases: &[&'a str]) -> Order {
        let lasting = self.lasting();
        let repository = std::mem::take(&mut self.repository).into_iter().map(|(name, explicit)| {
            // What is there already, in an older version, stays for the reason that it is there for.
            let installed = self.installed(&name);
            let explicit = explicit || installed.is_some_and(|installed| installed.reason() == PackageReason::Explicit);
            let make_only = !explicit && installed.is_none() && !lasting.contains(&name);
            Needed { name, explicit, make_only }
        });
        let repository = repository.collect();
        let step = |base: &&'a str| {
            let of_base: Vec<&AurPackage> = self
                .wanted
                .iter()
                .filter_map(|name| self.known.get(name).copied())
                .filter(|p| p.package_base == **base)
                .collect();
            let package = |package: &&AurPackage| {
                let installed = self.installed(&package.name);
                let named = self.named.contains(package.name.as_str());
                let was_dependency = installed.is_some_and(|installed| installed.reason() == PackageReason::Depend);
                StepPackage {
                    name: package.name.clone(),
                    from: installed.map(|installed| installed.version().to_string()).unwrap_or_default(),
                    dependency: !named && (installed.is_none() || was_dependency),
                    make_only: installed.is_none() && !lasting.contains(&package.name),
                }
            };
            let newer = |package: &&&AurPackage| self.installed(&package.name).is_none_or(|it| is_newer(package, it));
            let version = match of_base.iter().find(newer) {
                Some(package) => package.version.clone(),
                None => LATEST.to_owned(),
            };
            Step {
                base: (*base).to_owned(),
                version,
                packages: of_base.iter().map(package).collect(),
                needs: self.bases_needed_by(base).into_iter().map(str::to_owned).collect(),
            }
        };
        let steps = bases.iter().map(step).collect();
        Order { repository, steps, notes: self.notes, choices: self.choices.into_values().collect() }
    }
}
