//! `omg-helper index` on apt: the snapshot says what apt's own programs say about the same lists.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/apt_root.rs"]
mod apt_root;
#[path = "support/apt_says.rs"]
mod apt_says;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use apt_root::{AptRoot, Suite, helper, run};
use apt_says::{AptSays, named};
use omg::index::{Snapshot, View};
use omg::package::Flags;

const STABLE: &str = "\
Package: app\nArchitecture: amd64\nVersion: 2.0\nInstalled-Size: 20\nMaintainer: A <a@example.org>\nDepends: lib-auto (>= 1.0), mail-agent\n\
Filename: pool/app_2.0_amd64.deb\nSize: 2000\nSHA256: 00\nSection: utils\nPriority: optional\n\
Description: application\n With a long text.\n .\n  verbatim\n Last line.\n\n\
Package: lib-auto\nArchitecture: amd64\nVersion: 1.0\nInstalled-Size: 10\nFilename: pool/lib-auto_1.0_amd64.deb\nSize: 1000\nSHA256: 00\nDescription: library\n\n\
Package: provider\nArchitecture: all\nVersion: 1.0\nProvides: mail-agent (= 2), other-agent\nFilename: pool/p_1.0_all.deb\nSize: 500\nSHA256: 00\nDescription: provider\n\n\
Package: held\nArchitecture: amd64\nVersion: 2.0\nFilename: pool/held_2.0_amd64.deb\nSize: 1\nSHA256: 00\nDescription: held back\n\n\
Package: secure\nArchitecture: amd64\nVersion: 1.2\nFilename: pool/secure_1.2_amd64.deb\nSize: 1\nSHA256: 00\nDescription: with fixes\n\n\
Package: insecure\nArchitecture: amd64\nVersion: 1.2\nFilename: pool/insecure_1.2_amd64.deb\nSize: 1\nSHA256: 00\nDescription: fixed before\n\n\
Package: pinned\nArchitecture: amd64\nVersion: 2.0\nFilename: pool/pinned_2.0_amd64.deb\nSize: 1\nSHA256: 00\nDescription: pinned\n\n\
Package: pinned\nArchitecture: amd64\nVersion: 1.5\nFilename: pool/pinned_1.5_amd64.deb\nSize: 1\nSHA256: 00\nDescription: pinned, before\n\n\
Package: phased\nSource: phased-source (1.9)\nArchitecture: amd64\nVersion: 2.0\nPhased-Update-Percentage: 0\nFilename: pool/phased_2.0_amd64.deb\nSize: 1\nSHA256: 00\nDescription: phased\n\n\
Package: half-phased\nArchitecture: amd64\nVersion: 2.0\nPhased-Update-Percentage: 100\nFilename: pool/half_2.0_amd64.deb\nSize: 1\nSHA256: 00\nDescription: no more phased\n\n\
Package: multi\nArchitecture: amd64\nMulti-Arch: same\nVersion: 1.0\nFilename: pool/multi_1.0_amd64.deb\nSize: 1\nSHA256: 00\nDescription: both\n\n\
Package: translated\nArchitecture: amd64\nVersion: 1.0\nFilename: pool/t_1.0_amd64.deb\nSize: 1\nSHA256: 00\nDescription: short text\nDescription-md5: 11111111111111111111111111111111\n\n\
Package: unicode\nArchitecture: all\nVersion: 1.0\nMaintainer: Zoë Ω <z@example.org>\nFilename: pool/u_1.0_all.deb\nSize: 1\nSHA256: 00\nDescription: Émulateur für Ω\n Größe: 3 µm\nTag: a::b,\n c::d\n\n\
Package: rebuilt\nArchitecture: amd64\nVersion: 1.0\nInstalled-Size: 5\nDepends: provider\nFilename: pool/r_1.0_amd64.deb\nSize: 1\nSHA256: 00\nDescription: rebuilt here\n\n";

const STABLE_I386: &str = "\
Package: multi\nArchitecture: i386\nMulti-Arch: same\nVersion: 1.0\nFilename: pool/multi_1.0_i386.deb\nSize: 1\nSHA256: 00\nDescription: both\n\n\
Package: only-i386\nArchitecture: i386\nVersion: 1.0\nFilename: pool/only_1.0_i386.deb\nSize: 1\nSHA256: 00\nDescription: only there\n\n\
Package: provider\nArchitecture: all\nVersion: 1.0\nProvides: mail-agent (= 2), other-agent\nFilename: pool/p_1.0_all.deb\nSize: 500\nSHA256: 00\nDescription: provider\n\n";

const SECURITY: &str = "\
Package: secure\nArchitecture: amd64\nVersion: 1.1\nFilename: pool/secure_1.1_amd64.deb\nSize: 1\nSHA256: 00\nDescription: with fixes\n\n\
Package: insecure\nArchitecture: amd64\nVersion: 0.9\nFilename: pool/insecure_0.9_amd64.deb\nSize: 1\nSHA256: 00\nDescription: fixed before\n\n";

const BACKPORTS: &str = "\
Package: app\nArchitecture: amd64\nVersion: 3.0~bpo1\nFilename: pool/app_3.0_amd64.deb\nSize: 3000\nSHA256: 00\nDescription: application\n\n";

const TRANSLATION: &str = "\
Package: translated\nDescription-md5: 11111111111111111111111111111111\nDescription-en: short text\n A long translated text.\n .\n With two paragraphs.\n\n";

const TRANSLATION_DE: &str = "\
Package: translated\nDescription-md5: 11111111111111111111111111111111\nDescription-de: kurzer Text\n Ein längerer Text.\n\n";

const STATUS: &str = "\
Package: app\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\nDepends: lib-auto, mail-agent\nConffiles:\n /etc/app 00\nDescription: application, old\n From the status.\n\n\
Package: lib-auto\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\nInstalled-Size: 10\nDescription: library\n\n\
Package: lib-orphan\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\nDescription: nobody needs it\n\n\
Package: provider\nStatus: install ok installed\nArchitecture: all\nVersion: 1.0\nProvides: mail-agent (= 2), other-agent\nDescription: provider\n\n\
Package: held\nStatus: hold ok installed\nArchitecture: amd64\nVersion: 1.0\nDescription: held back\n\n\
Package: secure\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\nDescription: with fixes\n\n\
Package: insecure\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\nDescription: fixed before\n\n\
Package: pinned\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\nDescription: pinned\n\n\
Package: phased\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\nDescription: phased\n\n\
Package: half-phased\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\nDescription: no more phased\n\n\
Package: local-only\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\nEssential: yes\nDescription: from nowhere\n Built here.\n\n\
Package: rebuilt\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\nInstalled-Size: 5\nDepends: lib-auto\nDescription: rebuilt here\n\n\
Package: multi\nStatus: install ok installed\nArchitecture: i386\nMulti-Arch: same\nVersion: 1.0\nDescription: both\n\n\
Package: residual\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1.0\nConffiles:\n /etc/residual 00\nDescription: removed\n\n\
Package: half\nStatus: install ok half-configured\nArchitecture: amd64\nVersion: 1.0\nDescription: interrupted\n\n\
Package: unpacked\nStatus: install ok unpacked\nArchitecture: amd64\nVersion: 1.0\nDescription: interrupted\n\n";

const EXTENDED_STATES: &str = "\
Package: lib-auto\nArchitecture: amd64\nAuto-Installed: 1\n\n\
Package: lib-orphan\nArchitecture: amd64\nAuto-Installed: 1\n\n\
Package: provider\nArchitecture: amd64\nAuto-Installed: 1\n\n";

fn populated() -> AptRoot {
    let root = AptRoot::new();
    root.write("var/lib/dpkg/status", STATUS);
    root.write("var/lib/apt/extended_states", EXTENDED_STATES);
    root.write("etc/apt/preferences.d/pinned", "Package: pinned\nPin: version 1.5\nPin-Priority: 990\n");
    root.add_suite(&Suite {
        codename: "stable",
        suite: "oldstable",
        label: "Test",
        release: "",
        files: &[
            ("binary-amd64/Packages", STABLE),
            ("binary-i386/Packages", STABLE_I386),
            ("i18n/Translation-en", TRANSLATION),
            ("i18n/Translation-de", TRANSLATION_DE),
        ],
    });
    root.add_suite(&Suite {
        codename: "stable-security",
        suite: "oldstable-security",
        label: "Debian-Security",
        release: "",
        files: &[("binary-amd64/Packages", SECURITY), ("binary-i386/Packages", "")],
    });
    root.add_suite(&Suite {
        codename: "stable-backports",
        suite: "oldstable-backports",
        label: "Backports",
        release: "NotAutomatic: yes\nButAutomaticUpgrades: yes\n",
        files: &[("binary-amd64/Packages", BACKPORTS), ("binary-i386/Packages", "")],
    });
    root.update();
    root
}

fn says(root: &AptRoot) -> AptSays<impl Fn(&str, &[&str]) -> String> {
    AptSays::new(|program, arguments| root.apt(program, arguments))
}

fn all_names(snapshot: &Snapshot) -> Vec<String> {
    (0..snapshot.len() as u32).map(|id| snapshot.name(id)).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn states_are_those_of_apt_in_a_throwaway_root() {
    let root = populated();
    let snapshot = root.index();
    let apt = says(&root);
    apt.agrees_on_states(&snapshot);

    // The programs above agree with each other on an empty set too, so the cases are named here.
    assert_eq!(named(&snapshot, Flags::HELD), set(&["held"]));
    assert_eq!(named(&snapshot, Flags::ORPHAN), set(&["lib-orphan"]));
    assert_eq!(named(&snapshot, Flags::SECURITY), set(&["secure"]));
    assert_eq!(named(&snapshot, Flags::PHASED), set(&["phased"]));
    assert_eq!(named(&snapshot, Flags::RESIDUAL), set(&["residual"]));
    assert_eq!(named(&snapshot, Flags::BROKEN), set(&["half", "unpacked"]));
    assert_eq!(named(&snapshot, Flags::ESSENTIAL), set(&["local-only"]));
    assert_eq!(named(&snapshot, Flags::FOREIGN_ARCH), set(&["multi:i386", "only-i386:i386"]));
    assert_eq!(named(&snapshot, Flags::FOREIGN), set(&["half", "lib-orphan", "local-only", "unpacked"]));
    assert_eq!(
        named(&snapshot, Flags::UPGRADABLE),
        set(&["app", "half-phased", "held", "insecure", "phased", "pinned", "rebuilt", "secure"])
    );
    assert!(!named(&snapshot, Flags::EXPLICIT).contains("provider"));
}

#[test]
fn what_must_be_reinstalled_waits_or_lacks_what_it_needs_is_broken() {
    let root = AptRoot::new();
    root.write(
        "var/lib/dpkg/status",
        "Package: damaged\nStatus: install reinstreq half-installed\nArchitecture: amd64\nVersion: 1.0\nDescription: x\n\n\
         Package: waiting\nStatus: install ok triggers-awaited\nArchitecture: amd64\nVersion: 1.0\n\
         Triggers-Awaited: damaged\nDescription: x\n\n\
         Package: lacking\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\nDepends: gone\n\
         Description: x\n\n\
         Package: whole\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\nDescription: x\n",
    );
    let snapshot = root.index();
    assert_eq!(named(&snapshot, Flags::BROKEN), set(&["damaged", "lacking", "waiting"]));
    assert_eq!(named(&snapshot, Flags::INSTALLED), set(&["damaged", "lacking", "waiting", "whole"]));
    assert_eq!(snapshot.meta().last_refresh, 0, "nothing was ever fetched");
}

#[test]
fn what_dpkg_replaces_meanwhile_does_no_harm() {
    let root = populated();
    let (stop, status) = (AtomicBool::new(false), root.path().join("var/lib/dpkg/status"));
    std::thread::scope(|scope| {
        // As dpkg does at every step: another file takes its place.
        scope.spawn(|| {
            for round in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let new = status.with_extension("new");
                std::fs::write(&new, format!("{STATUS}{}", "\n".repeat(round % 7))).unwrap();
                std::fs::rename(&new, &status).unwrap();
            }
        });
        let snapshots: Vec<_> = (0..20).map(|_| std::panic::catch_unwind(|| root.index())).collect();
        stop.store(true, Ordering::Relaxed);
        for snapshot in snapshots {
            assert_eq!(named(&snapshot.unwrap(), Flags::HELD), set(&["held"]));
        }
    });
}

#[test]
fn policies_and_records_are_those_of_apt_in_a_throwaway_root() {
    let root = populated();
    let snapshot = root.index();
    let apt = says(&root);
    apt.agrees_on_packages(&snapshot);
    let names = all_names(&snapshot);
    apt.agrees_on_versions(&snapshot, &names);
    apt.agrees_on_policy(&snapshot, &names);
    apt.agrees_on_records(&snapshot, &names);
    apt.agrees_on_pins(&snapshot, &names);
    let details = snapshot.details(snapshot.find("pinned").unwrap()).unwrap();
    assert_eq!(details.pin, Some(("1.5".to_owned(), 990)));
    let app = snapshot.details(snapshot.find("app").unwrap()).unwrap();
    let repositories: Vec<_> = app.versions.iter().map(|v| (v.version.as_str(), v.repository.as_str())).collect();
    assert_eq!(repositories, [("3.0~bpo1", "stable-backports/main"), ("2.0", "stable/main"), ("1.0", "local")]);
    assert_eq!(app.versions[1].description, "With a long text.\n\n verbatim\nLast line.");
    assert_eq!((app.versions[1].download_size, app.versions[1].installed_size), (2000, 20 * 1024));
}

#[test]
fn names_that_are_provided_and_needs_that_are_met_are_known() {
    let root = populated();
    let snapshot = root.index();
    let providers: Vec<String> =
        snapshot.providers("mail-agent").into_iter().map(|id| snapshot.bare_name(id).to_owned()).collect();
    assert_eq!(providers, ["provider"]);
    let why = |name: &str| {
        let chain = snapshot.why(snapshot.find(name).unwrap());
        chain.into_iter().map(|step| (step.from, step.kind, step.to)).collect::<Vec<_>>()
    };
    let step = |from: &str, to: &str| (from.to_owned(), "Depends".to_owned(), to.to_owned());
    assert_eq!(why("provider"), [step("app", "provider")]);
    assert_eq!(why("lib-orphan"), []);
    // Of namesakes the one of the own architecture answers; where there is none, the other.
    assert_eq!(snapshot.row(snapshot.find("multi").unwrap(), View::Candidate).arch, "amd64");
    assert_eq!(snapshot.row(snapshot.find("only-i386").unwrap(), View::Candidate).arch, "i386");
}

#[test]
fn descriptions_come_in_the_wanted_language() {
    let root = populated();
    let description = |snapshot: &Snapshot| {
        let details = snapshot.details(snapshot.find("translated").unwrap()).unwrap();
        (details.versions[0].summary.clone(), details.versions[0].description.clone())
    };
    let english = root.index();
    assert_eq!(
        description(&english),
        ("short text".to_owned(), "A long translated text.\n\nWith two paragraphs.".to_owned())
    );
    let option = ["-o", "Acquire::Languages=none"];
    assert_eq!(description(&root.index_with(&option, &[])), ("short text".to_owned(), String::new()));
    let german = ["-o", "Acquire::Languages=de"];
    // A language has to be fetched before it can be shown.
    assert_eq!(description(&root.index_with(&german, &[])), ("short text".to_owned(), String::new()));
    root.write("etc/apt/apt.conf.d/10german", "#clear Acquire::Languages;\nAcquire::Languages { \"de\"; \"en\"; };\n");
    root.update();
    let snapshot = root.index();
    assert_eq!(description(&snapshot), ("kurzer Text".to_owned(), "Ein längerer Text.".to_owned()));
    says(&root).agrees_on_records(&snapshot, &all_names(&snapshot));
    let row = snapshot.row(snapshot.find("unicode").unwrap(), View::Candidate);
    assert_eq!(row.summary, "Émulateur für Ω");
}

#[test]
fn compressed_lists_are_read_like_plain_ones() {
    let root = populated();
    let plain = root.index();
    root.write("etc/apt/apt.conf.d/20compressed", "Acquire::GzipIndexes \"true\";\n");
    for file in ["", "-security", "-backports"] {
        let folder = root.path().join(format!("archive/dists/stable{file}/main/binary-amd64"));
        run(Command::new("gzip").arg("--keep").arg(folder.join("Packages")));
    }
    let lists = root.path().join("var/lib/apt/lists");
    for entry in lists.read_dir().unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.to_string_lossy().ends_with("Packages") {
            let text = std::fs::read(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, text).unwrap();
            run(Command::new("xz").arg(&path));
        }
    }
    let compressed = root.index();
    assert_eq!(all_names(&plain), all_names(&compressed));
    for id in 0..plain.len() as u32 {
        assert_eq!(plain.details(id).unwrap(), compressed.details(id).unwrap(), "{}", plain.name(id));
        assert_eq!(plain.flags(id), compressed.flags(id));
    }
    says(&root).agrees_on_versions(&compressed, &all_names(&compressed));
}

#[test]
fn names_that_are_not_utf_8_are_left_out_and_the_rest_is_read() {
    let root = populated();
    let mut text = STABLE.as_bytes().to_vec();
    text.extend(
        b"Package: b\xffd\nArchitecture: amd64\nVersion: 1\nFilename: x\nSize: 1\nSHA256: 00\nDescription: x\n\n",
    );
    text.extend(
        b"Package: odd\nArchitecture: amd64\nVersion: 1\xfe\nFilename: x\nSize: 1\nSHA256: 00\nDescription: x\n\n",
    );
    text.extend(
        b"Package: fine\nArchitecture: amd64\nVersion: 1\nFilename: x\nSize: 1\nSHA256: 00\nDescription: \xe9\n\n",
    );
    root.write_bytes("archive/dists/stable/main/binary-amd64/Packages", &text);
    let snapshot = root.index();
    assert_eq!(snapshot.find("odd"), None);
    let row = snapshot.row(snapshot.find("fine").unwrap(), View::Candidate);
    assert_eq!(row.summary, "\u{fffd}");
    assert!(snapshot.find("app").is_some());
    assert_eq!(snapshot.meta().warnings, ["2 packages are left out: a name or version is not UTF-8"]);
}

#[test]
fn every_change_that_apt_would_see_changes_the_fingerprint() {
    let root = populated();
    let taken = root.index().fingerprint().clone();
    assert_eq!(taken.first_change(), None);
    let change = |path: &str, text: &str| {
        let taken = root.index().fingerprint().clone();
        assert_eq!(taken.first_change(), None);
        root.write(path, text);
        assert!(taken.first_change().is_some(), "{path}");
    };
    change("var/lib/dpkg/status", &STATUS.replace("hold ok", "install ok"));
    change("var/lib/apt/extended_states", "");
    change("etc/apt/preferences", "");
    change("etc/apt/preferences.d/new", "Package: app\nPin: version 1.0\nPin-Priority: 1001\n");
    change("etc/apt/preferences.d/new", "Package: app\nPin: version 1.0\nPin-Priority: 999\n");
    change("etc/apt/sources.list", "");
    change("etc/apt/sources.list.d/stable-backports.list", "");
    change("etc/apt/apt.conf", "APT::Default-Release \"stable\";\n");
    change("etc/apt/apt.conf.d/99new", "APT::Default-Release \"stable\";\n");
    change("etc/machine-id", "fedcba9876543210fedcba9876543210\n");
    change("var/lib/dpkg/arch", "amd64\ni386\n");
    change("archive/dists/stable/main/binary-amd64/Packages", &STABLE.replace("Version: 2.0", "Version: 2.1"));
}

#[test]
fn the_snapshot_appears_complete_private_and_with_its_inputs() {
    let root = populated();
    let snapshot = root.index_with(&["--generation", "7", "-o", "APT::Default-Release=stable"], &[]);
    let meta = snapshot.meta();
    assert_eq!(meta.generation, 7);
    assert_eq!(meta.arch, "amd64");
    assert_eq!(meta.inputs.backend, "apt");
    assert_eq!(meta.inputs.root.as_deref(), root.path().to_str());
    assert_eq!(meta.inputs.options, ["APT::Default-Release=stable"]);
    assert!(meta.created > 0 && meta.last_refresh > 0 && meta.last_refresh <= meta.created + 1);
    let details = snapshot.details(snapshot.find("app").unwrap()).unwrap();
    assert_eq!(details.versions.iter().map(|version| version.priority).collect::<Vec<_>>(), [100, 990, 100]);

    let output = root.path().join("packages.snapshot");
    assert_eq!(output.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<_> = root.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".snapshot-")), "{left:?}");

    let mut command = helper();
    command.args(["index", "--backend", "apt", "--generation", "7", "--output", "-", "--root"]).arg(root.path());
    let written = command.output().unwrap();
    assert!(written.status.success());
    let copy = root.path().join("copy.snapshot");
    std::fs::write(&copy, written.stdout).unwrap();
    assert_eq!(all_names(&Snapshot::open(&copy).unwrap()), all_names(&snapshot));
}

#[test]
fn failures_are_told_once_and_in_apt_s_words() {
    let root = populated();
    let output = root.path().join("failed.snapshot");
    let fails = |what: &str| {
        let mut command = helper();
        command.args(["index", "--backend", "apt", "--root"]).arg(root.path()).arg("--output").arg(&output);
        let failed = command.output().unwrap();
        let errors = String::from_utf8(failed.stderr).unwrap();
        assert_eq!(failed.status.code(), Some(1), "{errors}");
        assert!(errors.contains(what), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(!output.exists());
    };
    root.write("etc/apt/preferences.d/broken", "Package: app\nPin: version 1\n");
    fails("No priority");
    std::fs::remove_file(root.path().join("etc/apt/preferences.d/broken")).unwrap();
    root.write("etc/apt/sources.list", "deb nonsense\n");
    fails("sources.list");
    std::fs::remove_file(root.path().join("etc/apt/sources.list")).unwrap();
    root.write("etc/apt/apt.conf.d/98broken", "{{{\n");
    fails("98broken");

    std::fs::remove_file(root.path().join("etc/apt/apt.conf.d/98broken")).unwrap();
    let target = root.path().join("target");
    std::fs::write(&target, "kept").unwrap();
    std::os::unix::fs::symlink(&target, &output).unwrap();
    let refused =
        helper().args(["index", "--backend", "apt", "--root"]).arg(root.path()).arg("--output").arg(&output).output();
    assert_eq!(refused.unwrap().status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "kept");
    assert!(output.is_symlink());

    let unknown = helper().args(["index", "--backend", "alpm"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("built without the backend alpm; it has: apt"));
    let wrong = helper().args(["index", "-o", "novalue"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

/// Reads this machine's own lists; changes nothing.
#[test]
fn this_machine_is_described_as_apt_describes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("packages.snapshot");
    run(helper().args(["index", "--backend", "apt", "--output"]).arg(&path));
    let snapshot = Snapshot::open(&path).unwrap();
    let apt = AptSays::new(|program, arguments| run(Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8")));
    apt.agrees_on_states(&snapshot);
    apt.agrees_on_packages(&snapshot);
    // Everything installed, and of the rest a part that is the same in every run.
    let names: Vec<String> = (0..snapshot.len() as u32)
        .filter(|id| snapshot.flags(*id).contains(Flags::INSTALLED) || id % 97 == 0)
        .map(|id| snapshot.name(id))
        .collect();
    apt.agrees_on_versions(&snapshot, &names);
    apt.agrees_on_pins(&snapshot, &names);
    apt.agrees_on_policy(&snapshot, &names);
    apt.agrees_on_records(&snapshot, &names);
}
