//! Archives and installed packages for plans: single records, and generated ones with every kind of relation.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use omg::transaction::{Request, Verb};

use crate::apt_plans;
use crate::apt_root::{AptRoot, Suite};
use crate::random::Random;

const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A record of a Packages file; `more` are lines.
pub fn offered(name: &str, version: &str, more: &str) -> String {
    record(name, version, "amd64", more)
}

fn record(name: &str, version: &str, arch: &str, more: &str) -> String {
    let file = version.replace(':', "%3a");
    format!(
        "Package: {name}\nArchitecture: {arch}\nVersion: {version}\nInstalled-Size: 10\n{more}\
         Filename: pool/{name}_{file}_{arch}.deb\nSize: 1000\nSHA256: {SHA256}\nDescription: {name}\n\n"
    )
}

/// A record of dpkg's status for an installed package; `more` are lines.
pub fn present(name: &str, version: &str, more: &str) -> String {
    status_of(&offered(name, version, more), "install ok installed")
}

/// The record that dpkg has of an offered one.
fn status_of(record: &str, status: &str) -> String {
    let dropped = ["Filename: ", "Size: ", "SHA256: ", "Phased-"];
    let mut lines: Vec<&str> =
        record.trim_end().lines().filter(|line| !dropped.iter().any(|start| line.starts_with(start))).collect();
    let status = format!("Status: {status}");
    lines.insert(1, &status);
    lines.join("\n") + "\n\n"
}

/// How many names the generated archives have.
const PACKAGES: usize = 80;
/// How many virtual names.
const VIRTUAL: usize = 8;

/// Three suites that know the same names at growing versions, and some of them installed.
pub struct Generated {
    pub root: AptRoot,
    installed: Vec<String>,
    offered: Vec<(String, String)>,
}

impl Generated {
    pub fn new(random: &mut Random) -> Self {
        let root = AptRoot::new();
        let old = suite(random, 1, 3);
        add(&root, "old", "", &old);
        root.update();
        let (installed, automatic) = install_some(&root, random);
        let states = |name: &str, random: &mut Random| match random.below(12) {
            0 => "hold ok installed",
            1 if !name.contains(':') => "install ok half-configured",
            _ => "install ok installed",
        };
        let mut status = String::new();
        let mut used = BTreeSet::new();
        for (name, version) in &installed {
            let (bare, arch) = name.split_once(':').unwrap_or((name, "amd64"));
            let key = (bare.to_owned(), version.clone());
            let all = old.get(&(key.0.clone(), key.1.clone(), "all".to_owned()));
            let record = old.get(&(key.0, key.1, arch.to_owned())).or(all).unwrap();
            used.insert(bare.to_owned());
            status.push_str(&status_of(record, states(name, random)));
        }
        // Removed before, with configuration files left.
        for ((name, _, arch), record) in &old {
            if arch == "amd64" && !used.contains(name) && random.chance(10) {
                used.insert(name.clone());
                status.push_str(&status_of(record, "deinstall ok config-files"));
            }
        }
        root.write("var/lib/dpkg/status", &status);
        let text: String = automatic
            .iter()
            .map(|name| {
                let (name, arch) = name.split_once(':').unwrap_or((name, "amd64"));
                format!("Package: {name}\nArchitecture: {arch}\nAuto-Installed: 1\n\n")
            })
            .collect();
        root.write("var/lib/apt/extended_states", &text);
        let stable = suite(random, 2, 2);
        let testing = suite(random, 3, 3);
        add(&root, "stable", "", &stable);
        let release =
            if random.chance(2) { "NotAutomatic: yes\n" } else { "NotAutomatic: yes\nButAutomaticUpgrades: yes\n" };
        add(&root, "testing", release, &testing);
        if random.chance(2) {
            let name = random.below(PACKAGES);
            let pin = format!("Package: p{name}\nPin: release n=testing\nPin-Priority: 1001\n");
            root.write("etc/apt/preferences.d/pin", &pin);
        }
        root.update();
        let offered = stable.keys().chain(testing.keys()).map(|(name, version, _)| (name.clone(), version.clone()));
        Self { root, installed: installed.into_keys().collect(), offered: offered.collect() }
    }

    /// Something that somebody might ask for.
    pub fn request(&self, random: &mut Random) -> Request {
        let mut actions: Vec<(Verb, String)> = Vec::new();
        let some = |random: &mut Random, pick: &dyn Fn(&mut Random) -> String| -> Vec<String> {
            (0..=random.below(3)).map(|_| pick(random)).collect()
        };
        let any = |random: &mut Random| self.target(random);
        let present = |random: &mut Random| random.pick(&self.installed).clone();
        match random.below(12) {
            0..=3 => actions.extend(some(random, &any).into_iter().map(|target| (Verb::Install, target))),
            4 | 5 => {
                let verb = *random.pick(&[Verb::Remove, Verb::Purge]);
                actions.extend(some(random, &present).into_iter().map(|target| (verb, target)));
                if random.chance(3) {
                    actions.push((Verb::Autoremove, String::new()));
                }
            }
            6 => actions.push((Verb::UpgradeAll, String::new())),
            7 => actions.push((Verb::FullUpgrade, String::new())),
            8 => actions.push((Verb::Autoremove, String::new())),
            9 => actions.extend(some(random, &present).into_iter().map(|target| (Verb::Reinstall, target))),
            10 => actions.extend(some(random, &present).into_iter().map(|target| (Verb::Upgrade, target))),
            _ => {
                // Together; what is to be installed and what is to go is not the same package.
                let verb = *random.pick(&[Verb::Remove, Verb::Purge]);
                let gone = present(random);
                let wanted = some(random, &any).into_iter().filter(|target| bare(target) != bare(&gone));
                actions.extend(wanted.map(|target| (Verb::Install, target)));
                actions.push((verb, gone));
                if random.chance(3) {
                    actions.push((*random.pick(&[Verb::UpgradeAll, Verb::FullUpgrade]), String::new()));
                }
            }
        }
        let actions: Vec<(Verb, &str)> = actions.iter().map(|(verb, target)| (*verb, target.as_str())).collect();
        let mut request = apt_plans::request(&actions);
        request.options.recommends = *random.pick(&[None, None, Some(true), Some(false)]);
        request
    }

    fn target(&self, random: &mut Random) -> String {
        let name = format!("p{}", random.below(PACKAGES));
        match random.below(10) {
            0 => format!("v{}", random.below(VIRTUAL)),
            1 => format!("{name}/testing"),
            2 => format!("{name}:i386"),
            3 | 4 => {
                let (name, version) = random.pick(&self.offered);
                format!("{name}={version}")
            }
            _ => name,
        }
    }
}

fn bare(target: &str) -> &str {
    target.split([':', '=', '/']).next().unwrap()
}

/// Records by name, version and architecture.
type Records = BTreeMap<(String, String, String), String>;

/// A suite of version `version`; one name in `missing` is not in it.
fn suite(random: &mut Random, version: usize, missing: usize) -> Records {
    let mut records = Records::new();
    for number in 0..PACKAGES {
        // The essential package and its like are everywhere.
        if number > 2 && random.chance(missing * 3) {
            continue;
        }
        let name = format!("p{number}");
        let version = format!("{version}.{}", random.below(2));
        let mut more = String::new();
        if number == 0 {
            more.push_str("Essential: yes\n");
        }
        if number == 1 {
            more.push_str("Protected: yes\n");
        }
        let sharing = random.pick(&["", "", "Multi-Arch: same\n", "Multi-Arch: foreign\n", "Multi-Arch: allowed\n"]);
        more.push_str(sharing);
        more.push_str(&relations(random, number, &version));
        if random.chance(8) {
            more.push_str(&format!("Phased-Update-Percentage: {}\n", random.pick(&[0, 50, 90])));
        }
        if random.chance(10) && *sharing != "Multi-Arch: same\n" {
            records.insert((name.clone(), version.clone(), "all".into()), record(&name, &version, "all", &more));
            continue;
        }
        for arch in ["amd64", "i386"] {
            if arch == "amd64" || random.chance(3) {
                let record = record(&name, &version, arch, &more);
                records.insert((name.clone(), version.clone(), arch.into()), record);
            }
        }
    }
    records
}

/// Relations of a package, mostly to those with lower numbers so that most of it can be installed.
fn relations(random: &mut Random, number: usize, version: &str) -> String {
    let mut lines = String::new();
    if number < 2 {
        return lines;
    }
    let lower = |random: &mut Random| {
        if random.chance(6) { random.below(PACKAGES) } else { random.below(number) }
    };
    let one = |random: &mut Random| -> String {
        let name = if random.chance(7) { format!("v{}", random.below(VIRTUAL)) } else { format!("p{}", lower(random)) };
        match random.below(8) {
            0 => format!("{name} (>= {}.0)", 1 + random.below(3)),
            1 => format!("{name} (<< {}.0)", 2 + random.below(3)),
            2 if name.starts_with('p') => format!("{name} (>= {version})"),
            3 => format!("{name}:any"),
            _ => name,
        }
    };
    for (field, chance) in [("Depends", 1), ("Pre-Depends", 15), ("Recommends", 3), ("Suggests", 6)] {
        if !random.chance(chance) {
            continue;
        }
        let groups: Vec<String> = (0..=random.below(2))
            .map(|_| {
                let alternatives: Vec<String> =
                    (0..1 + random.below(3) / 2 + random.below(2)).map(|_| one(random)).collect();
                alternatives.join(" | ")
            })
            .collect();
        lines.push_str(&format!("{field}: {}\n", groups.join(", ")));
    }
    let other = |random: &mut Random| format!("p{}", 2 + random.below(PACKAGES - 2));
    if random.chance(9) {
        let target = other(random);
        lines.push_str(&format!("Conflicts: {target} (<< {}.0)\n", 2 + random.below(2)));
    } else if random.chance(14) {
        lines.push_str(&format!("Conflicts: v{}\n", random.below(VIRTUAL)));
    }
    if random.chance(9) {
        let target = other(random);
        lines.push_str(&format!("Breaks: {target} (<< {version})\nReplaces: {target} (<< {version})\n"));
    }
    if random.chance(5) {
        let name = random.below(VIRTUAL);
        let suffix = if random.chance(2) { format!(" (= {version})") } else { String::new() };
        lines.push_str(&format!("Provides: v{name}{suffix}\n"));
    }
    lines
}

fn add(root: &AptRoot, codename: &str, release: &str, records: &Records) {
    let of = |wanted: &str| -> String {
        let is = |arch: &str| arch == wanted || arch == "all";
        records.iter().filter(|((_, _, arch), _)| is(arch)).map(|(_, record)| record.as_str()).collect()
    };
    let (amd64, i386) = (of("amd64"), of("i386"));
    let files = [("binary-amd64/Packages", amd64.as_str()), ("binary-i386/Packages", i386.as_str())];
    root.add_suite(&Suite { codename, suite: codename, label: "Test", release, files: &files });
}

/// Has apt choose what some packages need: full names with versions, and those that only others need.
fn install_some(root: &AptRoot, random: &mut Random) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let simulate = |names: &[String]| {
        let mut command = Command::new("apt-get");
        command.args(["-s", "install"]).args(names);
        command.env("APT_CONFIG", root.path().join("apt.conf")).env("LC_ALL", "C.UTF-8");
        let output = command.output().unwrap();
        output.status.success().then(|| apt_plans::said(&String::from_utf8(output.stdout).unwrap()))
    };
    let mut names = vec!["p0".to_owned(), "p1".to_owned()];
    let mut lines = simulate(&names).expect("what depends on nothing can be installed");
    for _ in 0..30 {
        let arch = if random.chance(8) { ":i386" } else { "" };
        names.push(format!("p{}{arch}", 2 + random.below(PACKAGES - 2)));
        match simulate(&names) {
            Some(more) => lines = more,
            None => {
                names.pop();
            }
        }
    }
    let installed: BTreeMap<String, String> = lines.into_iter().map(|(_, name, _, to)| (name, to)).collect();
    let asked: BTreeSet<&String> = names.iter().collect();
    let automatic = installed.keys().filter(|name| !asked.contains(name) || random.chance(4)).cloned().collect();
    (installed, automatic)
}
