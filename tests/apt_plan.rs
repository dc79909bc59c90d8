//! `omg-helper plan` on apt: plans are those of `apt-get`, with everything that a client shows about them.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/apt_archive.rs"]
mod apt_archive;
#[path = "support/apt_arguments.rs"]
mod apt_arguments;
#[path = "support/apt_plans.rs"]
mod apt_plans;
#[path = "support/apt_root.rs"]
#[allow(dead_code, reason = "snapshots are for other tests")]
mod apt_root;
#[path = "support/random.rs"]
mod random;

use std::os::fd::AsRawFd;
use std::process::Command;

use apt_archive::{Generated, offered, present};
use apt_arguments::arguments;
use apt_plans::{answer, assert_same, plan, request};
use apt_root::{AptRoot, Suite, helper, run};
use omg::transaction::{Change, Conffiles, Failure, FailureKind, HoldReason, Item, Plan, Privilege, Risk, Verb};
use random::Random;

/// A root with one archive, or none, and these installed packages.
fn root(packages: &[String], status: &[String]) -> AptRoot {
    let root = AptRoot::new();
    root.write("var/lib/dpkg/status", &status.concat());
    add(&root, "stable", "", packages);
    root.update();
    root
}

fn add(root: &AptRoot, codename: &str, release: &str, packages: &[String]) {
    let of = |arch: &str| {
        let wanted = [format!("Architecture: {arch}\n"), "Architecture: all\n".to_owned()];
        let is = |text: &&String| wanted.iter().any(|line| text.contains(line.as_str()));
        packages.iter().filter(is).cloned().collect::<String>()
    };
    root.add_suite(&Suite {
        codename,
        suite: codename,
        label: "Test",
        release,
        files: &[("binary-amd64/Packages", &of("amd64")), ("binary-i386/Packages", &of("i386"))],
    });
}

fn automatic(root: &AptRoot, names: &[&str]) {
    let text: String =
        names.iter().map(|name| format!("Package: {name}\nArchitecture: amd64\nAuto-Installed: 1\n\n")).collect();
    root.write("var/lib/apt/extended_states", &text);
}

/// `change name from>to` of every item.
fn shown(plan: &Plan) -> Vec<String> {
    let show = |item: &Item| {
        let arch = if item.arch == "amd64" { String::new() } else { format!(":{}", item.arch) };
        format!("{} {}{arch} {}>{}", item.change, item.name, item.from, item.to)
    };
    plan.items.iter().map(show).collect()
}

/// The plan, which is also what `apt-get` would do.
fn same(root: &AptRoot, actions: &[(Verb, &str)]) -> Result<Plan, Failure> {
    let request = request(actions);
    let ours = plan(root, &request);
    let theirs = apt_get(root, &arguments(&request));
    assert_same(&ours, &theirs, "amd64", &format!("{actions:?}"));
    ours
}

fn apt_get(root: &AptRoot, arguments: &[String]) -> std::process::Output {
    let mut command = Command::new("apt-get");
    command.arg("-s").args(arguments).env("APT_CONFIG", root.path().join("apt.conf")).env("LC_ALL", "C.UTF-8");
    command.output().unwrap()
}

fn failure(result: Result<Plan, Failure>) -> (FailureKind, String) {
    let failure = result.expect_err("there is a plan");
    (failure.kind, failure.message)
}

#[test]
fn dependencies_come_with_what_is_asked_for() {
    let root = root(
        &[
            offered("app", "2.0", "Depends: lib (>= 1.5), editor | pager\nRecommends: extra\n"),
            offered("lib", "1.5", ""),
            offered("pager", "1", ""),
            offered("editor", "1", "Depends: nowhere\n"),
            offered("extra", "1", ""),
        ],
        &[present("lib", "1.0", "")],
    );
    let plan = same(&root, &[(Verb::Install, "app")]).unwrap();
    assert_eq!(shown(&plan), ["install app >2.0", "install extra >1", "install pager >1", "upgrade lib 1.0>1.5"]);
    let app = &plan.items[0];
    assert_eq!((app.repository.as_str(), app.explicit, app.sha256.len()), ("stable/main", true, 64));
    assert_eq!((app.download, app.delta), (0, 10 << 10), "an archive on this machine is used in place");
    assert!(!plan.items[1].explicit);
    assert_eq!(plan.items[3].delta, 0);
    assert!(plan.risks.is_empty(), "{:?}", plan.risks);

    let mut without = request(&[(Verb::Install, "app")]);
    without.options.recommends = Some(false);
    let plan = apt_plans::plan(&root, &without).unwrap();
    assert_eq!(shown(&plan), ["install app >2.0", "install pager >1", "upgrade lib 1.0>1.5"]);
}

#[test]
fn a_virtual_package_stands_for_its_only_provider() {
    let root = root(
        &[
            offered("solo", "1", "Provides: one\n"),
            offered("left", "1", "Provides: two\n"),
            offered("right", "2", "Provides: two\n"),
            offered("needs", "1", "Depends: missing\n"),
        ],
        &[],
    );
    let plan = same(&root, &[(Verb::Install, "one")]).unwrap();
    assert_eq!(shown(&plan), ["install solo >1"]);
    assert_eq!(plan.notes, ["selecting 'solo' instead of 'one'"]);
    let (kind, message) = failure(same(&root, &[(Verb::Install, "two")]));
    assert_eq!(kind, FailureKind::Ambiguous);
    assert!(message.contains("left 1, right 2"), "{message}");
    let (kind, message) = failure(same(&root, &[(Verb::Install, "missing")]));
    assert_eq!((kind, message.as_str()), (FailureKind::NotFound, "Package 'missing' has no installation candidate"));
}

#[test]
fn what_is_not_found_is_said_in_apts_words() {
    let root = root(&[offered("a", "1", ""), offered("new", "1", "")], &[present("a", "1", "")]);
    for (target, words) in [
        ("nonesuch", "Unable to locate package nonesuch"),
        ("a=9", "Version '9' for 'a' was not found"),
        ("a/sid", "Release 'sid' for 'a' was not found"),
        ("a:armhf", "Unable to locate package a:armhf"),
    ] {
        let (kind, message) = failure(same(&root, &[(Verb::Install, target)]));
        assert_eq!((kind, message.as_str()), (FailureKind::NotFound, words));
    }
    let (kind, message) = failure(plan(&root, &request(&[(Verb::Upgrade, "new")])));
    assert_eq!(kind, FailureKind::NotFound);
    assert!(message.contains("new is not installed"), "{message}");
    let (kind, _) = failure(plan(&root, &request(&[(Verb::Install, "desktop^")])));
    assert_eq!(kind, FailureKind::InvalidArgument);
    let plan = same(&root, &[(Verb::Remove, "new")]).unwrap();
    assert_eq!(plan.notes, ["Package 'new' is not installed, so not removed"]);
}

#[test]
fn what_conflicts_goes_and_what_breaks_is_upgraded() {
    let root = root(
        &[
            offered("new", "1", "Conflicts: old\nReplaces: old\nBreaks: peer (<< 2)\n"),
            offered("peer", "2", ""),
            offered("old", "1", ""),
        ],
        &[present("old", "1", ""), present("peer", "1", "")],
    );
    let plan = same(&root, &[(Verb::Install, "new")]).unwrap();
    assert_eq!(shown(&plan), ["install new >1", "upgrade peer 1>2", "remove old 1>"]);
    assert!(plan.privileges().contains(&Privilege::Remove));
}

#[test]
fn packages_of_two_architectures_stay_at_one_version() {
    let shared = "Multi-Arch: same\n";
    let i386 = |text: String| text.replace("Architecture: amd64", "Architecture: i386");
    let root = root(
        &[
            offered("lib", "2", shared),
            i386(offered("lib", "2", shared)),
            i386(offered("tool", "1", "Depends: lib (= 2)\n")),
        ],
        &[present("lib", "1", shared)],
    );
    let plan = same(&root, &[(Verb::Install, "tool:i386")]).unwrap();
    assert_eq!(shown(&plan), ["install lib:i386 >2", "install tool:i386 >1", "upgrade lib 1>2"]);
    let unqualified = same(&root, &[(Verb::Install, "tool")]).unwrap();
    assert_eq!(unqualified.items, plan.items, "the only architecture that has it is meant");
}

#[test]
fn removing_what_is_essential_is_a_risk_not_a_failure() {
    let root = root(
        &[offered("base", "1", "Essential: yes\nDepends: lib\n"), offered("lib", "1", "")],
        &[present("base", "1", "Essential: yes\nDepends: lib\n"), present("lib", "1", "")],
    );
    // Nothing but the user's own word removes it.
    assert_eq!(failure(same(&root, &[(Verb::Purge, "lib")])).0, FailureKind::ResolutionFailed);
    let plan = same(&root, &[(Verb::Purge, "base"), (Verb::Purge, "lib")]).unwrap();
    assert_eq!(shown(&plan), ["purge base 1>", "purge lib 1>"]);
    assert_eq!(plan.risks, [Risk::RemovesEssential("base".into()), Risk::RemovesEssential("lib".into())]);
}

#[test]
fn pins_and_releases_choose_the_version() {
    let root = root(&[offered("app", "1", "Depends: lib\n"), offered("lib", "1", "")], &[]);
    let newer = [offered("app", "2", "Depends: lib (>= 2)\n"), offered("lib", "2", "")];
    add(&root, "testing", "NotAutomatic: yes\n", &newer);
    root.update();
    let versions = |target: &str| shown(&same(&root, &[(Verb::Install, target)]).unwrap());
    assert_eq!(versions("app"), ["install app >1", "install lib >1"]);
    assert_eq!(versions("app/testing"), ["install app >2", "install lib >2"]);
    let (kind, message) = failure(same(&root, &[(Verb::Install, "app=2")]));
    assert_eq!(kind, FailureKind::ResolutionFailed);
    assert!(message.contains(" app : Depends: lib (>= 2) but 1 is to be installed"), "{message}");
    root.write("etc/apt/preferences.d/app", "Package: app\nPin: version *\nPin-Priority: -1\n");
    let (kind, _) = failure(same(&root, &[(Verb::Install, "app")]));
    assert_eq!(kind, FailureKind::NotFound, "a pin below zero leaves no candidate");
}

#[test]
fn upgrades_leave_out_what_is_held_phased_or_would_remove() {
    let held = present("held", "1", "").replace("install ok", "hold ok");
    let root = root(
        &[
            offered("plain", "2", "Depends: fresh\n"),
            offered("fresh", "1", ""),
            offered("held", "2", ""),
            offered("phased", "2", "Phased-Update-Percentage: 0\n"),
            offered("greedy", "2", "Conflicts: loved\n"),
        ],
        &[
            present("plain", "1", ""),
            held,
            present("phased", "1", ""),
            present("greedy", "1", ""),
            present("loved", "1", ""),
        ],
    );
    let plan = same(&root, &[(Verb::UpgradeAll, "")]).unwrap();
    assert_eq!(shown(&plan), ["install fresh >1", "upgrade plain 1>2"]);
    let reasons: Vec<_> = plan.held_back.iter().map(|held| (held.name.as_str(), held.reason)).collect();
    let expected = [("greedy", HoldReason::Dependencies), ("held", HoldReason::Held), ("phased", HoldReason::Phased)];
    assert_eq!(reasons, expected);
    assert_eq!((plan.held_back[1].from.as_str(), plan.held_back[1].to.as_str()), ("1", "2"));
    let full = same(&root, &[(Verb::FullUpgrade, "")]).unwrap();
    assert!(full.held_back.iter().all(|held| held.reason != HoldReason::Dependencies), "{:?}", full.held_back);
    let asked = same(&root, &[(Verb::Install, "held"), (Verb::Upgrade, "phased")]);
    let asked = asked.unwrap();
    assert_eq!(shown(&asked), ["upgrade held 1>2", "upgrade phased 1>2"]);
    assert_eq!(asked.risks, [Risk::ChangesHeld("held".into())]);
}

#[test]
fn an_older_version_is_a_downgrade_and_the_same_one_a_reinstallation() {
    let root = root(&[offered("app", "1", ""), offered("app", "2", "")], &[present("app", "2", "")]);
    let plan = same(&root, &[(Verb::Install, "app=1")]).unwrap();
    assert_eq!(shown(&plan), ["downgrade app 2>1"]);
    assert_eq!(plan.risks, [Risk::Downgrades("app".into())]);
    let again = same(&root, &[(Verb::Reinstall, "app")]).unwrap();
    assert_eq!(shown(&again), ["reinstall app 2>2"]);
    assert_eq!(again.items[0].delta, 0);
    let nothing = same(&root, &[(Verb::Install, "app")]).unwrap();
    assert!(nothing.is_empty());
    assert_eq!(nothing.notes, ["app is already the newest version (2)."]);
}

#[test]
fn what_nobody_needs_is_named_and_removed_on_request() {
    let root = root(
        &[offered("lib", "1", "")],
        &[present("app", "1", "Depends: lib\n"), present("lib", "1", ""), present("orphan", "1", "")],
    );
    automatic(&root, &["lib", "orphan"]);
    let plan = same(&root, &[(Verb::Remove, "app")]).unwrap();
    assert_eq!((shown(&plan), plan.unneeded), (vec!["remove app 1>".to_owned()], vec!["lib".into(), "orphan".into()]));
    let all = same(&root, &[(Verb::Remove, "app"), (Verb::Autoremove, "")]).unwrap();
    assert_eq!(shown(&all), ["remove app 1>", "remove lib 1>", "remove orphan 1>"]);
    assert!(all.unneeded.is_empty());
    let only = same(&root, &[(Verb::Autoremove, "")]).unwrap();
    assert_eq!(shown(&only), ["remove orphan 1>"]);
    let kept = same(&root, &[(Verb::Install, "lib")]).unwrap();
    assert_eq!(shown(&kept), ["mark-explicit lib 1>1"]);
    assert_eq!(kept.unneeded, ["orphan"]);
}

#[test]
fn what_cannot_be_is_explained_as_apt_explains_it() {
    let root = root(
        &[
            offered("a", "1", "Depends: b (>= 2), c | d, v\nPre-Depends: e\n"),
            offered("b", "1", ""),
            offered("d", "1", "Conflicts: f\n"),
            offered("p", "1", "Provides: v\nConflicts: f\n"),
            offered("f", "1", ""),
            offered("e", "1", "Depends: nowhere\n"),
        ],
        &[],
    );
    for actions in [
        vec![(Verb::Install, "a")],
        vec![(Verb::Install, "a"), (Verb::Install, "f")],
        vec![(Verb::Install, "d"), (Verb::Install, "f")],
        vec![(Verb::Install, "e")],
        vec![(Verb::Install, "a"), (Verb::Remove, "b")],
    ] {
        let (kind, message) = failure(same(&root, &actions));
        assert_eq!(kind, FailureKind::ResolutionFailed);
        let theirs = apt_get(&root, &arguments(&request(&actions)));
        let text = String::from_utf8(theirs.stdout).unwrap();
        let (_, text) = text.split_once("The following packages have unmet").unwrap();
        for line in text.lines().skip(1) {
            assert!(message.lines().any(|ours| ours == line), "{actions:?}: {line:?} is not in\n{message}");
        }
        assert!(message.contains("Unable to correct problems"), "{message}");
    }
}

#[test]
fn broken_packages_are_repaired_on_request_only() {
    let half = present("half", "1", "").replace("ok installed", "ok half-configured");
    let root = root(
        &[offered("lib", "1", ""), offered("app", "1", "Depends: lib\n"), offered("other", "1", "")],
        &[present("app", "1", "Depends: lib\n"), half],
    );
    for actions in [[(Verb::Install, "other")], [(Verb::UpgradeAll, "")], [(Verb::Autoremove, "")]] {
        let (kind, message) = failure(same(&root, &actions));
        assert_eq!(kind, FailureKind::ResolutionFailed);
        assert!(message.contains(" app : Depends: lib but it is not"), "{message}");
    }
    let plan = same(&root, &[(Verb::Repair, "")]).unwrap();
    assert_eq!(shown(&plan), ["install lib >1", "configure half 1>1"]);
}

#[test]
fn holds_and_reasons_are_items_of_their_own() {
    let held = present("held", "1", "").replace("install ok", "hold ok");
    let root = root(&[offered("new", "3", "")], &[present("app", "1", ""), present("lib", "1", ""), held]);
    automatic(&root, &["lib"]);
    let all = [
        (Verb::Hold, "app"),
        (Verb::Hold, "new"),
        (Verb::Hold, "held"),
        (Verb::Unhold, "held"),
        (Verb::MarkExplicit, "lib"),
        (Verb::MarkDependency, "app"),
        (Verb::MarkDependency, "lib"),
        (Verb::MarkExplicit, "new"),
    ];
    let plan = plan(&root, &request(&all[..6])).unwrap();
    let expected =
        ["hold app 1>1", "hold new >", "unhold held 1>1", "mark-explicit lib 1>1", "mark-dependency app 1>1"];
    assert_eq!(shown(&plan), expected);
    let last = apt_plans::plan(&root, &request(&all[6..])).unwrap();
    assert!(last.is_empty() && last.notes.len() == 2, "{last:?}");
    let (kind, _) = failure(apt_plans::plan(&root, &request(&[(Verb::Hold, "app=1")])));
    assert_eq!(kind, FailureKind::InvalidArgument);
}

#[test]
fn the_download_cache_is_counted_and_can_be_emptied() {
    let root = root(&[offered("app", "1:2", "")], &[]);
    // An archive that is not on this machine: only its lists are.
    let list = root.path().join("etc/apt/sources.list.d/stable.list");
    let lists = root.path().join("var/lib/apt/lists");
    let source = std::fs::read_to_string(&list).unwrap();
    let remote = source.replace(&format!("file:{}/archive", root.path().display()), "http://example.invalid/debian");
    std::fs::write(&list, remote).unwrap();
    for entry in std::fs::read_dir(&lists).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if let Some((_, rest)) = name.split_once("_dists_") {
            let bytes = std::fs::read(entry.path()).unwrap();
            std::fs::remove_file(entry.path()).unwrap();
            std::fs::write(lists.join(format!("example.invalid_debian_dists_{rest}")), bytes).unwrap();
        }
    }
    let download = || plan(&root, &request(&[(Verb::Install, "app")])).unwrap();
    let first = download();
    assert_eq!(first.download_size(), 1000);
    let archive = "var/cache/apt/archives/app_1%3a2_amd64.deb";
    root.write("var/cache/apt/archives/partial/app_1%3a2_amd64.deb", &"x".repeat(300));
    assert_eq!(download().download_size(), 700);
    root.write(archive, &"x".repeat(999));
    assert_eq!(download().download_size(), 700, "of another size is another file");
    root.write(archive, &"x".repeat(1000));
    assert_eq!(download().download_size(), 0);
    assert_eq!(download().digest, first.digest);
    let clean = plan(&root, &request(&[(Verb::Clean, "")])).unwrap();
    assert_eq!(shown(&clean), ["clean app 1:2>"], "what is fetched half is for apt's own user to see");
    assert_eq!(clean.installed_size_delta(), -1000);
}

#[test]
fn what_no_trusted_archive_vouches_for_is_a_risk() {
    let root = root(&[offered("app", "1", "")], &[]);
    let list = root.path().join("etc/apt/sources.list.d/stable.list");
    let source = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, source.replace("[trusted=yes] ", "")).unwrap();
    let plan = same(&root, &[(Verb::Install, "app")]).unwrap();
    assert_eq!(plan.risks, [Risk::Untrusted("app".into())]);
    assert!(plan.privileges().contains(&Privilege::InstallUntrusted));
}

#[test]
fn names_that_are_no_text_end_no_helper() {
    let root = AptRoot::new();
    root.write_bytes(
        "var/lib/dpkg/status",
        b"Package: bad\xff\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\nDescription: x\n\n",
    );
    add(&root, "stable", "", &[offered("app", "1", ""), offered("bad\u{ff}", "1", "")]);
    let packages = root.path().join("archive/dists/stable/main/binary-amd64/Packages");
    let mut bytes = std::fs::read(&packages).unwrap();
    bytes.extend_from_slice(
        b"Package: bad\xff\nArchitecture: amd64\nVersion: 2\nFilename: x\nSize: 1\nSHA256: 00\nDescription: x\n\n\
          Package: trap\nArchitecture: amd64\nVersion: 1\nDepends: bad\xff (>= 2)\nProvides: v\xfe\nFilename: x\n\
          Size: 1\nSHA256: 00\nDescription: x\n\n\
          Package: snare\nArchitecture: amd64\nVersion: 1\nDepends: none\xff\nFilename: x\nSize: 1\nSHA256: 00\n\
          Description: x\n\n",
    );
    let release = root.path().join("archive/dists/stable/Release");
    std::fs::write(&packages, &bytes).unwrap();
    let text = std::fs::read_to_string(&release).unwrap();
    std::fs::write(&release, text.split("SHA256:").next().unwrap()).unwrap();
    let hash = run(Command::new("sha256sum").arg(&packages));
    let line = format!("SHA256:\n {} {} main/binary-amd64/Packages\n", hash.split(' ').next().unwrap(), bytes.len());
    let text = std::fs::read_to_string(&release).unwrap();
    std::fs::write(&release, text + &line).unwrap();
    root.update();
    assert_eq!(shown(&plan(&root, &request(&[(Verb::Install, "app")])).unwrap()), ["install app >1"]);
    for actions in
        [[(Verb::FullUpgrade, "")], [(Verb::UpgradeAll, "")], [(Verb::Install, "trap")], [(Verb::Install, "snare")]]
    {
        let (kind, message) = failure(plan(&root, &request(&actions)));
        assert_eq!(kind, FailureKind::ResolutionFailed, "{message}");
    }
}

/// Builds a package file.
fn package_file(root: &AptRoot, name: &str, control: &str) -> std::fs::File {
    let tree = root.path().join("build").join(name);
    std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    std::fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let file = root.path().join(format!("{name}.deb"));
    run(Command::new("dpkg-deb").args(["--build", "--root-owner-group"]).arg(&tree).arg(&file));
    std::fs::File::open(file).unwrap()
}

/// The plan for files that the helper inherits.
fn plan_of_files(root: &AptRoot, files: &[(&str, i32)]) -> Result<Plan, Failure> {
    let actions: Vec<_> = files.iter().map(|(name, _)| (Verb::InstallFile, *name)).collect();
    let mut request = request(&actions);
    request.files = files.iter().map(|(_, descriptor)| *descriptor).collect();
    let mut command = helper();
    command.args(["plan", "--backend", "apt", "--root"]).arg(root.path());
    answer(&mut command, &request)
}

/// A descriptor that programs started from here inherit.
fn inheritable(file: &impl AsRawFd) -> i32 {
    use std::os::fd::BorrowedFd;
    // SAFETY: the file outlives the call.
    #[allow(unsafe_code)]
    let file = unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) };
    rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).unwrap();
    file.as_raw_fd()
}

#[test]
fn package_files_are_installed_with_their_dependencies() {
    let root = root(&[offered("lib", "1", ""), offered("mine", "1", "")], &[]);
    let control = "Package: mine\nVersion: 1:2.0\nArchitecture: amd64\nMaintainer: A <a@example.org>\nDepends: lib\n\
                   Description: mine\n";
    let file = package_file(&root, "mine", control);
    let plan = plan_of_files(&root, &[("my own.deb", inheritable(&file))]).unwrap();
    assert_eq!(shown(&plan), ["install lib >1", "install mine >1:2.0"]);
    let mine = &plan.items[1];
    let sum = run(Command::new("sha256sum").arg(root.path().join("mine.deb")));
    assert_eq!((mine.repository.as_str(), mine.download, mine.explicit), ("local", 0, true));
    assert_eq!(mine.sha256, sum.split(' ').next().unwrap());
    assert_eq!(plan.risks, [Risk::Untrusted("mine".into())]);
    let left = std::fs::read_dir(root.path().join("var/cache/omg")).map(Iterator::count);
    assert!(left.is_ok_and(|left| left == 0) || !rustix::process::geteuid().is_root(), "copies are left behind");

    let text = std::fs::File::open(root.path().join("etc/machine-id")).unwrap();
    let folder = std::fs::File::open(root.path()).unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    for (name, descriptor) in [
        ("text.deb", inheritable(&text)),
        ("folder.deb", inheritable(&folder)),
        ("device.deb", inheritable(&null)),
        ("closed.deb", 9999),
        ("negative.deb", -1),
        ("stdin.deb", 0),
    ] {
        let (kind, message) = failure(plan_of_files(&root, &[(name, descriptor)]));
        assert_eq!(kind, FailureKind::InvalidArgument, "{message}");
        assert!(message.contains(name), "{message}");
    }
    // Two together are too many bytes, though none of them is there.
    let half = |name: &str| {
        let file = std::fs::File::create_new(root.path().join(name)).unwrap();
        file.set_len(5 << 30).unwrap();
        std::fs::File::open(root.path().join(name)).unwrap()
    };
    let (one, other) = (half("one.deb"), half("other.deb"));
    let files = [("one.deb", inheritable(&one)), ("other.deb", inheritable(&other))];
    assert_eq!(failure(plan_of_files(&root, &files)).0, FailureKind::LimitExceeded);
    let mut missing = request(&[(Verb::InstallFile, "mine.deb")]);
    missing.options.conffiles = Conffiles::Ask;
    assert_eq!(failure(apt_plans::plan(&root, &missing)).0, FailureKind::InvalidArgument);
}

/// Random requests over random archives and installed packages come to what `apt-get -s` comes to.
#[test]
fn random_requests_come_to_what_apt_get_comes_to() {
    const STATES: usize = 8;
    const REQUESTS: usize = 30;
    let mut random = Random::of_test("random_requests_come_to_what_apt_get_comes_to");
    let (mut planned, mut refused, mut changed) = (0, 0, 0);
    for state in 0..STATES {
        let generated = Generated::new(&mut random);
        for number in 0..REQUESTS {
            let request = generated.request(&mut random);
            let ours = plan(&generated.root, &request);
            let theirs = apt_get(&generated.root, &arguments(&request));
            let context = format!("state {state}, request {number}: {:?} {:?}", request.actions, request.options);
            match &ours {
                Ok(plan) => {
                    planned += 1;
                    changed += plan.items.len();
                }
                Err(_) => refused += 1,
            }
            assert_same(&ours, &theirs, "amd64", &context);
        }
    }
    println!("{planned} plans with {changed} changes, {refused} refusals");
    assert!(planned > STATES * REQUESTS / 4 && changed > planned, "the archives are too broken to say much");
    assert!(refused > 0);
}

/// The same on this machine's own lists.
#[test]
fn random_requests_on_this_machine_come_to_what_apt_get_comes_to() {
    const REQUESTS: usize = 100;
    let known = run(Command::new("apt-cache").args(["pkgnames"]));
    let known: Vec<&str> = known.lines().collect();
    if known.len() < 10_000 {
        println!("SKIP this machine has no package lists");
        return;
    }
    let native = run(Command::new("dpkg").arg("--print-architecture"));
    let installed = run(Command::new("dpkg-query").args(["--show", "--showformat=${Package}\n"]));
    let installed: Vec<&str> = installed.lines().collect();
    // Neither reads every list for every request.
    let folder = tempfile::tempdir().unwrap();
    let caches: Vec<String> = ["pkgcache", "srcpkgcache"]
        .iter()
        .flat_map(|name| ["-o".to_owned(), format!("Dir::Cache::{name}={}", folder.path().join(name).display())])
        .collect();
    run(Command::new("apt-cache").args(&caches).arg("gencaches"));
    let mut random = Random::of_test("random_requests_on_this_machine_come_to_what_apt_get_comes_to");
    for number in 0..REQUESTS {
        let mut actions = match (number, random.below(3)) {
            (0, _) => vec![(Verb::UpgradeAll, "")],
            (1, _) => vec![(Verb::FullUpgrade, "")],
            (2, _) => vec![(Verb::Autoremove, "")],
            (_, 0) => vec![(*random.pick(&[Verb::Remove, Verb::Purge]), *random.pick(&installed))],
            (_, 1) => vec![(Verb::Install, *random.pick(&known)), (Verb::Install, *random.pick(&known))],
            _ => vec![(Verb::Install, *random.pick(&known))],
        };
        if number > 2 && random.chance(10) {
            actions = vec![(Verb::UpgradeAll, ""), actions[0]];
        }
        let request = request(&actions);
        let mut command = helper();
        let ours = answer(command.arg("plan").args(&caches), &request);
        let mut command = Command::new("apt-get");
        let theirs =
            command.arg("-s").args(&caches).args(arguments(&request)).env("LC_ALL", "C.UTF-8").output().unwrap();
        assert_same(&ours, &theirs, native.trim(), &format!("request {number}: {actions:?}"));
        if let Ok(plan) = ours {
            let described = |item: &&Item| matches!(item.change, Change::Install | Change::Upgrade);
            assert!(plan.items.iter().filter(described).all(|item| item.sha256.len() == 64), "{plan:?}");
        }
    }
}
