//! Compares a snapshot with the answers of apt's own programs.

use std::collections::{BTreeMap, BTreeSet};

use omg::index::{Snapshot, View};
use omg::package::{Fields, Flags, PackageDetails, VersionDetails};

/// Packages that are asked for at once.
const AT_ONCE: usize = 400;

/// apt's programs, on a machine or a throwaway root.
pub struct AptSays<R> {
    run: R,
}

/// Full names of the packages with a flag.
pub fn named(snapshot: &Snapshot, flag: Flags) -> BTreeSet<String> {
    (0..snapshot.len() as u32).filter(|id| snapshot.flags(*id).contains(flag)).map(|id| snapshot.name(id)).collect()
}

fn first_words(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Fails with the differences only: the sets may be long.
fn assert_same<T: Ord + std::fmt::Debug>(what: &str, ours: &BTreeSet<T>, theirs: &BTreeSet<T>) {
    let only_ours: Vec<_> = ours.difference(theirs).take(5).collect();
    let only_theirs: Vec<_> = theirs.difference(ours).take(5).collect();
    assert!(
        only_ours.is_empty() && only_theirs.is_empty(),
        "{what}: only in the snapshot {only_ours:?}, only in apt's answer {only_theirs:?}"
    );
}

impl<R: Fn(&str, &[&str]) -> String> AptSays<R> {
    /// `run` takes a program and its arguments and gives its output.
    pub fn new(run: R) -> Self {
        Self { run }
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        (self.run)(program, arguments)
    }

    /// Explicit and automatic, held, upgradable, to be autoremoved, kept back by a phase.
    pub fn agrees_on_states(&self, snapshot: &Snapshot) {
        let manual = first_words(&self.ask("apt-mark", &["showmanual"]));
        let automatic = first_words(&self.ask("apt-mark", &["showauto"]));
        assert_same("apt-mark showmanual", &named(snapshot, Flags::EXPLICIT), &manual);
        let installed = named(snapshot, Flags::INSTALLED);
        let ours = installed.difference(&manual).cloned().collect();
        assert_same("apt-mark showauto", &ours, &automatic);
        let held = first_words(&self.ask("apt-mark", &["showhold"]));
        assert_same("apt-mark showhold", &named(snapshot, Flags::HELD), &held);

        let ours: BTreeSet<_> = snapshot
            .updates(omg::package::UpdatesState::Possible)
            .into_iter()
            .map(|update| (update.name, update.from, update.to))
            .collect();
        assert_same("apt list --upgradable", &ours, &self.upgradable());
        let names: BTreeSet<String> = ours.iter().map(|(name, ..)| name.clone()).collect();
        let bare = |name: &String| name.split(':').next().unwrap().to_owned();
        let flagged: BTreeSet<String> = named(snapshot, Flags::UPGRADABLE).iter().map(bare).collect();
        assert_same("GetUpdates", &flagged, &names.iter().map(bare).collect());

        let removed = self.simulated("autoremove", "Remv");
        assert_same("apt-get autoremove", &named(snapshot, Flags::ORPHAN), &removed);
        let upgraded = self.simulated("dist-upgrade", "Inst");
        let phased = named(snapshot, Flags::PHASED);
        assert!(phased.is_disjoint(&upgraded), "upgraded in spite of their phase: {phased:?}");
    }

    /// Full name, installed and new version.
    fn upgradable(&self) -> BTreeSet<(String, String, String)> {
        // bash/oldstable 5.2.15-2+b13 amd64 [upgradable from: 5.2.15-2+b8]
        let text = self.ask("apt", &["list", "--upgradable"]);
        text.lines()
            .filter_map(|line| {
                let (name, rest) = line.split_once('/')?;
                let to = rest.split(' ').nth(1)?;
                let (_, from) = rest.split_once("[upgradable from: ")?;
                Some((name.to_owned(), from.trim_end_matches(']').to_owned(), to.to_owned()))
            })
            .collect()
    }

    fn simulated(&self, verb: &str, action: &str) -> BTreeSet<String> {
        let text = self.ask("apt-get", &["--simulate", verb]);
        let lines = text.lines().filter_map(|line| line.strip_prefix(action)?.strip_prefix(' '));
        lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }

    /// Which packages there are, and which version of each is offered.
    pub fn agrees_on_packages(&self, snapshot: &Snapshot) {
        let mut theirs = self.listed(&[]);
        let mut ours = BTreeSet::new();
        for id in 0..snapshot.len() as u32 {
            let row = snapshot.row(id, View::Candidate);
            ours.insert((snapshot.bare_name(id).to_owned(), row.version, row.arch));
        }
        // Packages without a candidate are listed with a version of apt's choice.
        let without: BTreeSet<String> = (0..snapshot.len() as u32)
            .filter(|id| snapshot.flags(*id).contains(Flags::RESIDUAL))
            .map(|id| snapshot.bare_name(id).to_owned())
            .collect();
        theirs.retain(|(name, ..)| !without.contains(name));
        ours.retain(|(name, ..)| !without.contains(name));
        assert_same("apt list", &ours, &theirs);
    }

    /// Every version of these packages.
    pub fn agrees_on_versions(&self, snapshot: &Snapshot, names: &[String]) {
        let names: BTreeSet<&str> = names.iter().map(|name| name.split(':').next().unwrap()).collect();
        let mut theirs = BTreeSet::new();
        for names in names.iter().copied().collect::<Vec<_>>().chunks(AT_ONCE) {
            // Names are taken as patterns; one without special characters matches itself in every architecture.
            let patterns: Vec<String> = names.iter().map(|name| format!("?exact-name({name})")).collect();
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            theirs.extend(self.listed(&[&["--all-versions"], patterns.as_slice()].concat()));
        }
        let mut ours = BTreeSet::new();
        for id in (0..snapshot.len() as u32).filter(|id| names.contains(snapshot.bare_name(*id))) {
            for version in snapshot.details(id).unwrap().versions {
                ours.insert((snapshot.bare_name(id).to_owned(), version.version, version.arch));
            }
        }
        assert_same("apt list --all-versions", &ours, &theirs);
    }

    /// Name, version and its architecture.
    fn listed(&self, arguments: &[&str]) -> BTreeSet<(String, String, String)> {
        let text = self.ask("apt", &[&["list"], arguments].concat());
        text.lines()
            .filter_map(|line| {
                let (name, rest) = line.split_once('/')?;
                let mut words = rest.split(' ');
                let (version, arch) = (words.nth(1)?, words.next()?);
                Some((name.to_owned(), version.to_owned(), arch.to_owned()))
            })
            .collect()
    }

    /// Installed version, candidate, and the table of versions with priorities and sources.
    pub fn agrees_on_policy(&self, snapshot: &Snapshot, names: &[String]) {
        for names in names.chunks(AT_ONCE) {
            let mut arguments = vec!["policy"];
            arguments.extend(names.iter().map(String::as_str));
            let theirs = self.ask("apt-cache", &arguments);
            let mut ours = String::new();
            for name in names {
                let details = snapshot.details(snapshot.find(name).unwrap()).unwrap();
                ours.push_str(&policy(name, &details));
            }
            for (ours, theirs) in ours.lines().zip(theirs.lines()) {
                assert_eq!(ours, theirs, "apt-cache policy");
            }
            assert_eq!(ours.lines().count(), theirs.lines().count());
        }
    }

    /// The records, and the descriptions in the language that apt is set to.
    pub fn agrees_on_records(&self, snapshot: &Snapshot, names: &[String]) {
        for names in names.chunks(AT_ONCE) {
            let mut arguments = vec!["show"];
            arguments.extend(names.iter().map(String::as_str));
            let theirs: BTreeSet<BTreeMap<String, String>> = self
                .ask("apt-cache", &arguments)
                .split("\n\n")
                .filter(|text| !text.trim().is_empty())
                .map(fields)
                .collect();
            let mut ours = BTreeSet::new();
            for name in names {
                for version in &snapshot.details(snapshot.find(name).unwrap()).unwrap().versions {
                    let mut record = fields(&version.record);
                    record.insert("Description".to_owned(), encoded(version));
                    ours.insert(record);
                }
            }
            assert_same("apt-cache show", &ours, &theirs);
        }
    }

    /// Pinned packages with the selected version and its priority; `names` are looked at.
    pub fn agrees_on_pins(&self, snapshot: &Snapshot, names: &[String]) {
        let text = self.ask("apt-cache", &["policy"]);
        let (_, pinned) = text.split_once("Pinned packages:\n").unwrap();
        let mut theirs: BTreeSet<String> = pinned.lines().map(|line| line.trim().to_owned()).collect();
        theirs.retain(|line| names.iter().any(|name| line.split(' ').next() == Some(name)));
        let mut ours = BTreeSet::new();
        for name in names {
            if let Some((version, priority)) = snapshot.details(snapshot.find(name).unwrap()).unwrap().pin {
                ours.insert(format!("{name} -> {version} with priority {priority}"));
            }
        }
        assert_same("pinned packages", &ours, &theirs);
    }
}

fn policy(name: &str, details: &PackageDetails) -> String {
    let find = |wanted: fn(&VersionDetails) -> bool| {
        details.versions.iter().find(|version| wanted(version)).map_or("(none)", |version| &version.version)
    };
    let (installed, candidate) = (find(|version| version.installed), find(|version| version.candidate));
    let mut text = format!("{name}:\n  Installed: {installed}\n  Candidate: {candidate}\n  Version table:\n");
    for version in &details.versions {
        let mark = if version.installed { "***" } else { "   " };
        let phase = version.field("Phased-Update-Percentage").filter(|percentage| *percentage != "100");
        let phase = phase.map(|percentage| format!(" (phased {percentage}%)")).unwrap_or_default();
        text.push_str(&format!(" {mark} {} {}{phase}\n", version.version, version.priority));
        for source in &version.sources {
            text.push_str(&format!("       {:4} {}\n", source.priority, source.description));
        }
    }
    text
}

/// The fields of a record; a description has the same name in every language.
fn fields(record: &str) -> BTreeMap<String, String> {
    Fields::new(record)
        .map(|(name, value)| {
            let is_description = name.starts_with("Description") && name != "Description-md5";
            let name = if is_description { "Description" } else { name };
            (name.to_owned(), value.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

/// Summary and description as a record has them.
fn encoded(version: &VersionDetails) -> String {
    let mut text = version.summary.clone();
    if !version.description.is_empty() {
        for line in version.description.lines() {
            text.push_str("\n ");
            text.push_str(if line.is_empty() { "." } else { line });
        }
    }
    text
}
