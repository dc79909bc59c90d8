//! A plan as people read it.

use std::collections::HashMap;

use super::super::output::format::{bytes, count, counted};
use super::super::output::{BAD, Cell, DIM, GOOD, NAME, Output, Table, WARN};
use super::decide::about;
use crate::dbus::planned::{Planned, PlannedItem};
use crate::transaction::{Action, Verb};

/// What a group of items has in common, in the order in which groups are shown.
struct Group {
    title: &'static str,
    /// Words of [`crate::transaction::Change`].
    change: &'static str,
    /// Of installed packages: whether they were asked for.
    asked_for: Option<bool>,
}

const fn group(title: &'static str, change: &'static str) -> Group {
    Group { title, change, asked_for: None }
}

const GROUPS: [Group; 13] = [
    Group { title: "Installing", change: "install", asked_for: Some(true) },
    Group { title: "Installing as dependencies", change: "install", asked_for: Some(false) },
    group("Upgrading", "upgrade"),
    group("Downgrading", "downgrade"),
    group("Installing again", "reinstall"),
    group("Configuring", "configure"),
    group("Removing", "remove"),
    group("Removing with configuration files", "purge"),
    group("Holding", "hold"),
    group("Holding no longer", "unhold"),
    group("Marking as asked for", "mark-explicit"),
    group("Marking as dependencies", "mark-dependency"),
    group("Deleting downloaded files", "clean"),
];

/// How the changes are counted: word, singular or plural alike.
const COUNTS: [(&str, &[&str]); 6] = [
    ("to install", &["install"]),
    ("to upgrade", &["upgrade"]),
    ("to downgrade", &["downgrade"]),
    ("to install again", &["reinstall"]),
    ("to configure", &["configure"]),
    ("to remove", &["remove", "purge"]),
];

/// Whether it changes only what is noted about packages, or files that can be fetched again.
pub fn is_harmless(planned: &Planned) -> bool {
    const HARMLESS: [&str; 5] = ["hold", "unhold", "mark-explicit", "mark-dependency", "clean"];
    planned.risks.is_empty() && planned.items.iter().all(|item| HARMLESS.contains(&item.change.as_str()))
}

/// Prints the plan for these actions. Of a quiet one only the names.
pub fn print(planned: &Planned, actions: &[Action], out: &mut Output) {
    if out.quiet() {
        for item in &planned.items {
            out.line(&name(&item.name, &item.arch));
        }
    } else if out.is_terminal() {
        print_groups(planned, actions, out);
    } else {
        print_lines(planned, out);
    }
}

fn print_lines(planned: &Planned, out: &mut Output) {
    for item in &planned.items {
        let (download, delta) = (item.download.to_string(), item.delta.to_string());
        let name = name(&item.name, &item.arch);
        out.columns(&[&item.change, &name, &item.from, &item.to, &item.repository, &download, &delta]);
    }
    for held in &planned.held_back {
        out.columns(&["held-back", &name(&held.name, &held.arch), &held.from, &held.to, &held.reason]);
    }
    for unneeded in &planned.unneeded {
        out.columns(&["unneeded", unneeded]);
    }
    for risk in &planned.risks {
        let (code, about) = risk.split_once(':').unwrap_or((risk, ""));
        out.columns(&["risk", code, about]);
    }
    for mend in &planned.mends {
        out.columns(&["mend", mend]);
    }
    for note in &planned.notes {
        out.columns(&["note", note]);
    }
    for decision in &planned.decisions {
        let choices = decision.choices.join(",");
        out.columns(&["decision", &decision.key(), &decision.choice, &decision.default, &choices]);
    }
}

fn print_groups(planned: &Planned, actions: &[Action], out: &mut Output) {
    let asked_for: Vec<&str> = actions.iter().filter_map(target_name).collect();
    // A group, or what is only provided, was asked for in the place of packages that this cannot tell from others.
    let installs: Vec<&str> =
        actions.iter().filter(|action| action.verb() == Verb::Install).filter_map(target_name).collect();
    let is_there = |name: &&str| planned.items.iter().any(|item| item.name == **name);
    let are_others = !installs.is_empty() && !installs.iter().any(is_there);
    let is_asked_for =
        |item: &PlannedItem| are_others || item.repository == "local" || asked_for.contains(&item.name.as_str());
    for group in &GROUPS {
        let of_group = |item: &&PlannedItem| {
            item.change == group.change && group.asked_for.is_none_or(|asked_for| is_asked_for(item) == asked_for)
        };
        print_group(group.title, planned.items.iter().filter(of_group), out);
    }
    let known = |item: &&PlannedItem| !GROUPS.iter().any(|group| group.change == item.change);
    for item in planned.items.iter().filter(known) {
        // The word of a later version.
        print_group(&item.change, std::iter::once(item), out);
    }
    if !planned.held_back.is_empty() {
        heading("Not upgraded", out);
        let mut table = Table::new([""; 4]).keeping(&[1, 2]);
        for held in &planned.held_back {
            table.push([
                Cell::from(name(&held.name, &held.arch)).styled(NAME),
                Cell::new(&held.from).styled(DIM),
                Cell::from(format!("→ {}", held.to)),
                Cell::new(hold_words(&held.reason)).styled(DIM),
            ]);
        }
        table.print_indented(2, out);
    }
    for mend in &planned.mends {
        out.line(mend);
    }
    for note in &planned.notes {
        out.styled(DIM, note);
        out.newline();
    }
    for decision in &planned.decisions {
        let (key, choice) = (decision.key(), &decision.choice);
        out.styled(DIM, &format!("{}: {choice} (--answer {key}={choice})", about(decision)));
        out.newline();
    }
    if !planned.unneeded.is_empty() {
        let many = planned.unneeded.len();
        let what = format!("{} {}", counted(many as u64, "package"), if many == 1 { "is" } else { "are" });
        out.styled(WARN, &format!("{what} no longer needed"));
        out.styled(DIM, if many == 1 { " (`omg autoremove` removes it)" } else { " (`omg autoremove` removes them)" });
        out.newline();
    }
    if !planned.items.is_empty() {
        print_totals(planned, out);
    }
    print_risks(planned, out);
}

fn print_group<'a>(title: &str, items: impl Iterator<Item = &'a PlannedItem>, out: &mut Output) {
    let mut table = Table::new([""; 5]).keeping(&[1, 2]);
    for item in items {
        let (from, to) = match (item.from.as_str(), item.to.as_str()) {
            (from, to) if from == to || to.is_empty() => (from.to_owned(), String::new()),
            ("", to) => (to.to_owned(), String::new()),
            (from, to) => (from.to_owned(), format!("→ {to}")),
        };
        table.push([
            Cell::from(name(&item.name, &item.arch)).styled(NAME),
            Cell::from(from).styled(if to.is_empty() { anstyle::Style::new() } else { DIM }),
            Cell::from(to),
            Cell::new(&item.repository).styled(DIM),
            Cell::from(if item.download == 0 { String::new() } else { bytes(item.download) }).styled(DIM),
        ]);
    }
    if !table.is_empty() {
        heading(title, out);
        table.print_indented(2, out);
    }
}

fn heading(title: &str, out: &mut Output) {
    out.styled(NAME, title);
    out.newline();
}

fn print_totals(planned: &Planned, out: &mut Output) {
    let mut numbers: HashMap<&str, u64> = HashMap::new();
    for item in &planned.items {
        *numbers.entry(&item.change).or_default() += 1;
    }
    let of = |words: &[&str]| words.iter().filter_map(|word| numbers.get(word)).sum::<u64>();
    let mut totals: Vec<String> = COUNTS
        .iter()
        .map(|(words, changes)| (of(changes), words))
        .filter(|(number, _)| *number > 0)
        .map(|(number, words)| format!("{} {words}", count(number)))
        .collect();
    if totals.is_empty() {
        return;
    }
    if !planned.held_back.is_empty() {
        totals.push(format!("{} not upgraded", count(planned.held_back.len() as u64)));
    }
    out.line(&totals.join(", "));
    let mut sizes = Vec::new();
    if planned.download_size > 0 {
        sizes.push(format!("{} to download", bytes(planned.download_size)));
    }
    let delta = planned.installed_size_delta;
    match delta {
        0 => {}
        1.. => sizes.push(format!("{} more on the disk", bytes(delta.unsigned_abs()))),
        _ => sizes.push(format!("{} less on the disk", bytes(delta.unsigned_abs()))),
    }
    if !sizes.is_empty() {
        out.styled(DIM, &sizes.join(", "));
        out.newline();
    }
}

/// One line for each kind of risk.
fn print_risks(planned: &Planned, out: &mut Output) {
    for (code, about) in risks(planned) {
        let (style, text) = match code {
            "removes-essential" => {
                (BAD, format!("This removes what the system may not work without: {}", about.join(", ")))
            }
            "removes-many" => (WARN, format!("This removes {} packages", about.join(", "))),
            "downgrades" => (WARN, format!("This puts older versions in place of newer ones: {}", about.join(", "))),
            "untrusted" => (BAD, format!("No trusted repository vouches for: {}", about.join(", "))),
            "changes-held" => (WARN, format!("This changes packages on hold: {}", about.join(", "))),
            "partial-upgrade" => (
                WARN,
                format!(
                    "This is a partial upgrade, which Arch does not support: {} installed packages stay older than what is \
                     installed was built for; --upgrade upgrades them too",
                    about.join(", ")
                ),
            ),
            other => (WARN, format!("{other}: {}", about.join(", "))),
        };
        out.styled(style, &text);
        out.newline();
    }
}

/// The codes of the plan's risks in their order, each with what it is about.
pub fn risks(planned: &Planned) -> Vec<(&str, Vec<&str>)> {
    let mut told: Vec<(&str, Vec<&str>)> = Vec::new();
    for risk in &planned.risks {
        let (code, about) = risk.split_once(':').unwrap_or((risk, ""));
        match told.iter_mut().find(|(known, _)| *known == code) {
            Some((_, all)) => all.push(about),
            None => told.push((code, vec![about])),
        }
    }
    told
}

fn hold_words(reason: &str) -> &str {
    match reason {
        "held" => "on hold",
        "phased" => "not offered to this machine yet",
        "dependencies" => "it needs other packages to be installed or removed (`omg upgrade --full`)",
        other => other,
    }
}

/// The name that an action's target starts with.
pub fn target_name(action: &Action) -> Option<&str> {
    match action.verb() {
        Verb::InstallFile => None,
        _ => action.target().split([':', '=', '/']).next(),
    }
}

/// The name, with its architecture where that is not the machine's own.
pub fn name(name: &str, arch: &str) -> String {
    if is_native(arch) { name.to_owned() } else { format!("{name}:{arch}") }
}

/// Whether packages of this architecture need no mention of it: they fit every machine, or the one that omg was built
/// for, by its name in Debian or elsewhere.
pub fn is_native(arch: &str) -> bool {
    let own: &[&str] = match std::env::consts::ARCH {
        "x86_64" => &["amd64"],
        "x86" => &["i386", "i686"],
        "aarch64" => &["arm64"],
        "arm" => &["armhf", "armel", "armv7h"],
        "riscv64" => &["riscv64"],
        "powerpc64" => &["ppc64el", "ppc64"],
        "loongarch64" => &["loong64"],
        _ => &[],
    };
    matches!(arch, "" | "all" | "any") || arch == std::env::consts::ARCH || own.contains(&arch)
}

/// What to say when there is nothing to do.
pub fn print_nothing(planned: &Planned, actions: &[Action], out: &mut Output) {
    if out.quiet() {
        return;
    }
    if out.is_terminal() {
        print_groups(planned, actions, out);
        out.styled(GOOD, "nothing to do");
        out.newline();
    } else {
        print_lines(planned, out);
        out.line("nothing to do");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dbus::planned::HeldBackItem;

    pub fn item(change: &str, name: &str, from: &str, to: &str) -> PlannedItem {
        PlannedItem {
            change: change.into(),
            name: name.into(),
            arch: "all".into(),
            from: from.into(),
            to: to.into(),
            repository: if to.is_empty() { String::new() } else { "bookworm/main".into() },
            download: if to.is_empty() { 0 } else { 2048 },
            delta: 0,
        }
    }

    #[test]
    fn a_plan_is_shown_in_groups_with_its_sizes_and_risks() {
        let planned = Planned {
            items: vec![
                item("install", "ripgrep", "", "13.0"),
                item("install", "libpcre", "", "8.39"),
                item("upgrade", "openssl", "1.0", "1.1"),
                item("purge", "vim", "9.0", ""),
                item("transmogrify", "x", "1", "2"),
            ],
            held_back: vec![HeldBackItem {
                name: "linux".into(),
                arch: "all".into(),
                from: "5".into(),
                to: "6".into(),
                reason: "phased".into(),
            }],
            unneeded: vec!["libold".into()],
            download_size: 6144,
            installed_size_delta: -5_000_000,
            risks: vec!["removes-essential:a".into(), "removes-essential:b".into(), "removes-many:21".into()],
            notes: vec!["selecting 'x' instead of 'y'".into()],
            ..Planned::default()
        };
        let actions = [Action::new(Verb::Install, "ripgrep=13.0").expect("valid")];
        let mut out = Output::for_test(80);
        print(&planned, &actions, &mut out);
        let expected = "\
Installing
  ripgrep  13.0  bookworm/main  2.0 KiB
Installing as dependencies
  libpcre  8.39  bookworm/main  2.0 KiB
Upgrading
  openssl  1.0  → 1.1  bookworm/main  2.0 KiB
Removing with configuration files
  vim  9.0
transmogrify
  x  1  → 2  bookworm/main  2.0 KiB
Not upgraded
  linux  5  → 6  not offered to this machine yet
selecting 'x' instead of 'y'
1 package is no longer needed (`omg autoremove` removes it)
2 to install, 1 to upgrade, 1 to remove, 1 not upgraded
6.0 KiB to download, 4.7 MiB less on the disk
This removes what the system may not work without: a, b
This removes 21 packages
";
        assert_eq!(out.into_text(), expected);
    }

    #[test]
    fn marks_and_the_download_cache_need_no_question_but_packages_do() {
        let of = |change| Planned { items: vec![item(change, "a", "1", "1")], ..Planned::default() };
        for change in ["hold", "unhold", "mark-explicit", "mark-dependency", "clean"] {
            assert!(is_harmless(&of(change)), "{change}");
        }
        for change in ["install", "remove", "purge", "configure", "word-of-a-later-version"] {
            assert!(!is_harmless(&of(change)), "{change}");
        }
        assert!(!is_harmless(&Planned { risks: vec!["changes-held:a".into()], ..of("hold") }));
    }

    #[test]
    fn architectures_of_other_machines_are_named() {
        assert_eq!(name("tzdata", "all"), "tzdata");
        assert_eq!(name("libc6", "s390x"), "libc6:s390x");
    }
}
