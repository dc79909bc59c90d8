//! What users without rights are told on pacman's machines: their own copy of the sync databases, groups, files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/pacman_root.rs"]
mod pacman_root;
#[path = "support/pacman_world.rs"]
mod pacman_world;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::process::Output;

use debian_root::Machine;
use pacman_root::{package, publish};
use serde_json::Value;

/// The user's home, and with it their data.
const HOME: &str = "/home/ordinary";
const DATABASES: &str = "/home/ordinary/.local/share/omg/databases";

/// A machine with our programs and an ordinary user.
fn machine() -> Machine {
    let (_, programs) = pacman_root::pacman();
    let machine = pacman_world::machine();
    for program in ["omg", "omgd", "omg-helper"] {
        machine.add_program(&programs.join(program), &format!("/usr/bin/{program}"));
    }
    machine.write("/etc/passwd", machine.read("/etc/passwd") + "ordinary:x:1000:1000::/home/ordinary:/bin/sh\n");
    machine.run("install", &["-d", "-o", "1000", "-g", "1000", HOME]);
    machine
}

/// Runs a program as the ordinary user, without a bus and without sudo.
fn as_user(machine: &Machine, program: &str, arguments: &[&str]) -> Output {
    let mut command = machine.command("setpriv");
    command.args(["--reuid=1000", "--regid=1000", "--clear-groups", program]).args(arguments);
    command.env("HOME", HOME).output().unwrap()
}

fn omg(machine: &Machine, arguments: &[&str]) -> String {
    let output = as_user(machine, "omg", arguments);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn json(machine: &Machine, arguments: &[&str]) -> Vec<Value> {
    omg(machine, arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Name, new version, and whether it takes a refresh first.
fn outdated(machine: &Machine, arguments: &[&str]) -> BTreeMap<String, (String, bool)> {
    let rows = json(machine, &[&["outdated", "--json"], arguments].concat());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let later = |row: &Value| row["flags"].as_array().unwrap().contains(&"after-refresh".into());
    rows.iter().map(|row| (text(&row["name"]), (text(&row["to"]), later(row)))).collect()
}

/// What pacman calls upgradable by the databases below `path`.
fn theirs(machine: &Machine, path: &str) -> BTreeMap<String, String> {
    let said = machine.try_run("pacman", &["-Qu", "--dbpath", path]).stdout;
    let rows = String::from_utf8(said).unwrap().replace(" [ignored]", "");
    let row = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[0].to_owned(), words[3].to_owned())
    };
    rows.lines().map(row).collect()
}

/// Sums of the system's databases, and of everything about when they were made.
fn databases(machine: &Machine) -> String {
    machine.run("sh", &["-c", "cd /var/lib/pacman && ls -l --full-time sync local && sha256sum sync/*"])
}

#[test]
fn a_users_own_copy_tells_what_is_possible_and_nothing_is_installed_by_it() {
    let machine = machine();
    assert_eq!(outdated(&machine, &[]), BTreeMap::new());
    let before = databases(&machine);
    let said = omg(&machine, &["refresh", "--own"]);
    assert_eq!(databases(&machine), before, "the system's own databases are as they were");
    // pacman's own word on the same, with databases of root's.
    machine.run("mkdir", &["-p", "/tmp/theirs"]);
    symlink("/var/lib/pacman/local", machine.path("/tmp/theirs/local")).unwrap();
    machine.run("pacman", &["-Sy", "--dbpath", "/tmp/theirs"]);
    let possible = theirs(&machine, "/tmp/theirs");
    assert!(possible.len() > 3, "{possible:?}");
    assert_eq!(said, format!("{} upgrades possible, 0 by the package system's own lists\n", possible.len()));
    let ours = outdated(&machine, &[]);
    assert!(ours.values().all(|(_, later)| *later), "{ours:?}");
    assert_eq!(ours.into_iter().map(|(name, (to, _))| (name, to)).collect::<BTreeMap<_, _>>(), possible);
    assert_eq!(outdated(&machine, &["--planned"]), BTreeMap::new());
    let status = &json(&machine, &["status", "--json"])[0];
    assert_eq!((&status["upgradable"], &status["planned"]), (&possible.len().into(), &0.into()));
    assert!(status["copy_refreshed"].as_u64() >= status["last_refresh"].as_u64());
    for row in json(&machine, &["list", "--upgradable", "--json"]) {
        assert_eq!(row["version"].as_str(), possible.get(row["name"].as_str().unwrap()).map(String::as_str));
    }
    // What would be installed, and what is told of it, is what the system's own databases have.
    assert_eq!(json(&machine, &["info", "p9", "--json"])[0]["candidate"], "1-1");
    let plan = &json(&machine, &["install", "p9", "--dry-run", "--json"])[0]["plan"];
    for item in plan["items"].as_array().unwrap() {
        assert_eq!(item["to"], "1-1", "{item}");
    }
    let nothing = json(&machine, &["upgrade", "--dry-run", "--json"]);
    assert_eq!(nothing.last().unwrap()["result"], "nothing", "{nothing:?}");
    // The system's own are the newer ones then: both states are one.
    machine.run("pacman", &["-Sy"]);
    let planned = outdated(&machine, &["--planned"]);
    assert_eq!(outdated(&machine, &[]), planned);
    assert!(planned.values().all(|(_, later)| !later));
    assert_eq!(planned.into_iter().map(|(name, (to, _))| (name, to)).collect::<BTreeMap<_, _>>(), possible);
    assert_eq!(json(&machine, &["status", "--json"])[0].get("planned"), None);
}

#[test]
fn both_states_are_told_apart_where_they_differ() {
    let machine = machine();
    machine.run("pacman", &["-Sy"]);
    publish(&machine, "core", &[package("p2", "3-1")]);
    omg(&machine, &["refresh", "--own"]);
    let (possible, planned) = (outdated(&machine, &[]), outdated(&machine, &["--planned"]));
    assert_eq!(possible["p2"], ("3-1".to_owned(), true));
    assert_eq!(planned["p2"], ("2-1".to_owned(), false));
    assert_eq!(possible["p5"], planned["p5"]);
    assert_eq!(possible.keys().collect::<Vec<_>>(), planned.keys().collect::<Vec<_>>());
    let line = omg(&machine, &["outdated"]);
    assert!(line.lines().any(|line| line.starts_with("p2\t1-1\t3-1\t") && line.ends_with("\tafter-refresh")), "{line}");
    let plan = &json(&machine, &["upgrade", "--dry-run", "--json"])[0]["plan"];
    assert!(plan["items"].as_array().unwrap().iter().any(|item| item["name"] == "p2" && item["to"] == "2-1"), "{plan}");
}

#[test]
fn without_rights_a_refresh_fetches_the_users_own_copy_and_says_so() {
    let machine = machine();
    let output = as_user(&machine, "omg", &["refresh"]);
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert!(errors.contains("the package system's own lists were not fetched, your own copy is instead: "), "{errors}");
    assert!(said.contains(" possible, 0 by the package system's own lists"), "{said}");
    assert!(!outdated(&machine, &[]).is_empty());
    let mode = machine.run("stat", &["--format=%a %u", DATABASES]);
    assert_eq!(mode, "700 1000\n");
}

#[test]
fn a_copy_that_is_not_signed_as_wanted_or_not_whole_is_not_used() {
    let machine = machine();
    let configuration = machine.read("/etc/pacman.conf");
    machine.write(
        "/etc/pacman.conf",
        configuration.replace("SigLevel = Never", "SigLevel = PackageNever DatabaseRequired"),
    );
    let output = as_user(&machine, "omg", &["refresh", "--own", "--json"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("\"result\":\"failed\""), "{said}");
    machine.write("/etc/pacman.conf", configuration);
    // One repository's server is gone: the copy of the other alone says too little.
    machine.run("mv", &["/srv/extra", "/srv/elsewhere"]);
    let output = as_user(&machine, "omg", &["refresh", "--own", "--json"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("extra"), "{said}");
    assert_eq!(outdated(&machine, &[]), BTreeMap::new());
    machine.run("mv", &["/srv/elsewhere", "/srv/extra"]);
    omg(&machine, &["refresh", "--own"]);
    assert!(!outdated(&machine, &[]).is_empty());
}

#[test]
fn what_a_killed_refresh_leaves_is_in_nobodys_way_and_a_running_one_is() {
    let machine = machine();
    omg(&machine, &["refresh", "--own"]);
    let folder = machine.run("sh", &["-c", &format!("echo {DATABASES}/alpm-*")]).trim().to_owned();
    let left =
        format!("mkdir {folder}/sync/download-abcdef; touch {folder}/db.lck {folder}/sync/download-abcdef/core.db");
    machine.run("setpriv", &["--reuid=1000", "--regid=1000", "--clear-groups", "sh", "-c", &left]);
    omg(&machine, &["refresh", "--own"]);
    assert!(!machine.exists(&format!("{folder}/db.lck")));
    assert!(!machine.exists(&format!("{folder}/sync/download-abcdef")));
    let lock = std::fs::File::options().append(true).open(machine.path(&format!("{folder}/lock"))).unwrap();
    lock.lock().unwrap();
    let output = as_user(&machine, "omg", &["refresh", "--own"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("it is being fetched already"), "{errors}");
}

#[test]
fn groups_have_the_members_that_pacman_tells() {
    let machine = machine();
    machine.run("pacman", &["-S", "--noconfirm", "member-a"]);
    let groups = json(&machine, &["list", "--group", "--json"]);
    let names: Vec<&str> = groups.iter().map(|group| group["group"].as_str().unwrap()).collect();
    let theirs = machine.run("pacman", &["-Sg"]);
    assert_eq!(names, theirs.lines().collect::<Vec<_>>());
    assert_eq!((&groups[0]["members"], &groups[0]["installed"]), (&2.into(), &1.into()));
    let rows = json(&machine, &["list", "--group", "bunch", "--json"]);
    let members: BTreeSet<String> = rows.iter().map(|row| format!("bunch {}", row["name"].as_str().unwrap())).collect();
    let theirs = machine.run("pacman", &["-Sg", "bunch"]);
    assert_eq!(members, theirs.lines().map(str::to_owned).collect());
    let installed = json(&machine, &["list", "--group", "bunch", "--installed", "--json"]);
    assert_eq!(installed.len(), 1);
    assert_eq!(machine.run("pacman", &["-Qg", "bunch"]), format!("bunch {}\n", installed[0]["name"].as_str().unwrap()));
    // As pacman, which prints nothing and fails.
    let none = as_user(&machine, "omg", &["list", "--group", "none"]);
    assert_eq!((none.status.code(), none.stdout.as_slice()), (Some(1), &b""[..]));
    assert!(String::from_utf8_lossy(&none.stderr).contains("there is no group “none”"));
    assert_eq!(json(&machine, &["info", "member-b", "--json"])[0]["groups"], serde_json::json!(["bunch"]));
    // All members are what installing a group means; one is there already.
    let plan = &json(&machine, &["install", "bunch", "--dry-run", "--json"])[0]["plan"];
    let planned: Vec<&str> =
        plan["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(planned, ["member-b"]);
}

/// The names of packages behind `is owned by`.
fn owners(machine: &Machine, path: &str) -> BTreeSet<String> {
    let said = String::from_utf8(machine.try_run("pacman", &["-Qo", path]).stdout).unwrap();
    let owner = |line: &str| line.split(" is owned by ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    said.lines().map(owner).collect()
}

#[test]
fn files_and_their_owners_are_those_that_pacman_tells() {
    let machine = machine();
    machine.run("sh", &["-c", "ln -s share /usr/shared; ln -s /usr/share/p2/version /usr/share/p5/link"]);
    for package in ["p2", "p7", "conf", "vital"] {
        let listed = machine.run("pacman", &["-Qlq", package]);
        assert_eq!(omg(&machine, &["files", package]), listed);
        for path in listed.lines() {
            let ours: BTreeSet<String> = json(&machine, &["owner", "--json", path])
                .iter()
                .map(|row| row["package"].as_str().unwrap().into())
                .collect();
            assert_eq!(ours, owners(&machine, path), "{path}");
        }
    }
    for path in ["/usr/shared/p2/version", "/usr/share/p5/../p2/version", "//usr/share//p2/"] {
        assert_eq!(omg(&machine, &["owner", "--quiet", path]), "p2\n", "{path}");
        assert_eq!(owners(&machine, path), BTreeSet::from(["p2".to_owned()]), "{path}");
    }
    for path in ["/usr/shared", "/usr/share/p5/link", "/etc/hostname", "/none"] {
        let output = as_user(&machine, "omg", &["owner", path]);
        assert_eq!(output.status.code(), Some(1), "{path}");
        assert!(owners(&machine, path).is_empty(), "{path}");
    }
    let output = as_user(&machine, "omg", &["files", "p9"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_repositories_files_are_those_that_pacman_tells() {
    let machine = machine();
    let output = as_user(&machine, "omg", &["owner", "--repo", "version"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("omg refresh --own --files"), "{errors}");
    omg(&machine, &["refresh", "--own", "--files"]);
    machine.run("pacman", &["-Fy"]);
    for asked in ["version", "/usr/share/p9/version", "usr/share/p2/version", "conf.conf"] {
        let theirs = machine.run("pacman", &["-Fq", asked]);
        let ours: BTreeSet<String> =
            omg(&machine, &["owner", "--repo", "--quiet", asked]).lines().map(str::to_owned).collect();
        assert_eq!(ours, theirs.lines().map(str::to_owned).collect(), "{asked}");
    }
    let theirs = machine.run("pacman", &["-Flq", "p9"]);
    assert_eq!(
        omg(&machine, &["files", "--repo", "p9"])
            .lines()
            .map(|line| line.trim_start_matches('/').to_owned())
            .collect::<Vec<_>>(),
        theirs.lines().map(|line| line.trim_start_matches('/').to_owned()).collect::<Vec<_>>()
    );
    assert_eq!(omg(&machine, &["files", "--repo", "extra/p9"]), omg(&machine, &["files", "--repo", "p9"]));
}

#[test]
fn a_whole_upgrade_goes_with_an_installation_and_without_it_a_partial_one_is_warned_of() {
    let machine = machine();
    machine.run("pacman", &["-Sy"]);
    let partial = &json(&machine, &["install", "engine-a", "--dry-run", "--json"])[0]["plan"];
    assert_eq!(partial["risks"], serde_json::json!(["partial-upgrade:8"]));
    let whole = &json(&machine, &["install", "-u", "engine-a", "--dry-run", "--json"])[0]["plan"];
    assert_eq!(whole["risks"], serde_json::json!([]));
    assert!(whole["items"].as_array().unwrap().len() > 6, "{whole}");
    // Root, who has agreed: warned of, and done.
    let said = machine.run("omg", &["install", "-y", "engine-a"]);
    assert!(said.contains("partial-upgrade\t8"), "{said}");
    assert_eq!(machine.run("pacman", &["-Q", "engine-a", "p2"]), "engine-a 2-1\np2 1-1\n");
    machine.run("omg", &["install", "-y", "-u", "engine-b"]);
    assert_eq!(machine.run("pacman", &["-Q", "engine-b", "p2"]), "engine-b 2-1\np2 2-1\n");
}

/// The helper's answer about dpkg's own records, which the root has as well.
fn of_dpkg(machine: &Machine, query: &Value) -> Value {
    let question = format!("printf '%s\\n' '{query}' | {} paths --backend apt", pacman_root::HELPER);
    serde_json::from_str(&machine.run("sh", &["-c", &question])).unwrap()
}

/// Versions and repositories of what omg knows of a package, in its order.
fn versions(machine: &Machine, name: &str) -> Vec<(String, String)> {
    let known = &json(machine, &["info", name, "--json"])[0]["versions"];
    let text = |version: &Value, key: &str| version[key].as_str().unwrap().to_owned();
    known.as_array().unwrap().iter().map(|version| (text(version, "version"), text(version, "repository"))).collect()
}

#[test]
fn versions_in_the_download_caches_are_told_in_pacmans_order_and_without_another_index() {
    let machine = machine();
    assert_eq!(versions(&machine, "p7"), [("1-1".to_owned(), "extra".to_owned())]);
    let index = || machine.run("sh", &["-c", "ls -l --full-time -i /home/ordinary/.local/share/omg/index"]);
    let before = index();
    // One of a second folder, signatures, what is unfinished, and another package that begins like it.
    machine.run("sed", &["-i", "1a CacheDir = /var/cache/pacman/pkg\\nCacheDir = /srv/older", "/etc/pacman.conf"]);
    machine.run("mkdir", &["/srv/older"]);
    let after_configuring = versions(&machine, "p7");
    assert_eq!(after_configuring, [("1-1".to_owned(), "extra".to_owned())]);
    assert_ne!(index(), before, "the configuration changed");
    let before = index();
    let wanted =
        ["1.0-1", "1.0.1-1", "1.0rc1-1", "1.0a-2", "1.10-1", "1.9-1", "1:0.1-1", "1.0_1-1", "01.09-1", "1.0-10"];
    for (number, version) in wanted.iter().enumerate() {
        let folder = if number % 2 == 0 { "/var/cache/pacman/pkg" } else { "/srv/older" };
        machine.write(&format!("{folder}/p7-{version}-any.pkg.tar.zst"), "");
        machine.write(&format!("{folder}/p7-{version}-any.pkg.tar.zst.sig"), "");
    }
    for other in ["p7-extra-5-1-any.pkg.tar.zst", "p7-6-1-any.pkg.tar.zst.part", "p7-7-1.pkg.tar", "p7-8-1-any.zip"] {
        machine.write(&format!("/srv/older/{other}"), "");
    }
    let told = versions(&machine, "p7");
    assert_eq!(told[0], ("1-1".to_owned(), "extra".to_owned()));
    let cached: Vec<&str> = told[1..].iter().map(|(version, _)| version.as_str()).collect();
    assert!(told[1..].iter().all(|(_, repository)| repository == "cache"), "{told:?}");
    let mut sorted = cached.clone();
    sorted.sort_unstable();
    let mut expected = wanted.to_vec();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    for pair in cached.windows(2) {
        let compared = machine.run("vercmp", pair);
        assert_ne!(compared.trim(), "-1", "{cached:?}");
    }
    // What is put there later is told at once, and what is gone is not.
    package("p7", "0.5-1").build(&machine.path("/srv/older"));
    machine.run("sh", &["-c", "rm /srv/older/p7-1.0.1-1-*"]);
    let told = versions(&machine, "p7");
    assert_eq!(told.last().unwrap(), &("0.5-1".to_owned(), "cache".to_owned()));
    assert!(!told.iter().any(|(version, _)| version == "1.0.1-1"), "{told:?}");
    assert_eq!(index(), before, "the index is the same");
    // It can be installed by that version.
    let plan = &json(&machine, &["install", "p7=0.5-1", "--dry-run", "--json"])[0]["plan"];
    assert_eq!((&plan["items"][0]["to"], &plan["items"][0]["repository"]), (&"0.5-1".into(), &"cache".into()));
}

#[test]
fn on_dpkgs_records_files_and_owners_are_those_that_dpkg_tells() {
    let machine = machine();
    // A file of coreutils' that lies elsewhere for the sake of another package, and that package's own.
    machine.run(
        "dpkg-divert",
        &["--package", "pacman-package-manager", "--divert", "/usr/bin/nproc.real", "--add", "/usr/bin/nproc"],
    );
    for package in ["coreutils", "dpkg", "gnupg", "libc6-dev"] {
        let said = machine.run("dpkg", &["-L", package]);
        let mut theirs: BTreeSet<&str> = said.lines().filter(|line| line.starts_with('/') && *line != "/.").collect();
        if package == "coreutils" {
            // dpkg -L names both places.
            assert!(theirs.remove("/usr/bin/nproc"), "{said}");
            theirs.insert("/usr/bin/nproc.real");
        }
        let ours = of_dpkg(&machine, &serde_json::json!({"files": package}));
        let ours: BTreeSet<&str> =
            ours["files"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
        assert_eq!(ours, theirs, "{package}");
        // Folders have too many owners to be of interest here: those of files, all at once.
        let files: Vec<&&str> = theirs.iter().filter(|path| machine.path(path).is_file()).collect();
        let answer = of_dpkg(&machine, &serde_json::json!({"owners": files}));
        let mut ours: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in answer["owners"].as_array().unwrap() {
            let text = |at: usize| row[at].as_str().unwrap().to_owned();
            ours.entry(text(0)).or_default().insert(text(1));
        }
        let list = files.iter().map(|file| format!("{file}\n")).collect::<String>();
        machine.write("/tmp/paths", list);
        let said = machine.run("sh", &["-c", "xargs --max-args 200 dpkg -S </tmp/paths 2>/dev/null || true"]);
        let mut compared = 0;
        for line in said.lines().filter(|line| !line.starts_with("diversion by ")) {
            let (packages, path) = line.rsplit_once(": ").unwrap();
            let theirs: BTreeSet<String> = packages.split(", ").map(str::to_owned).collect();
            assert_eq!(ours.get(path), Some(&theirs), "{line}");
            compared += 1;
        }
        assert!(compared * 10 >= files.len() * 9, "{package}: {compared} of {}", files.len());
    }
    let owner =
        of_dpkg(&machine, &serde_json::json!({"owners": ["/usr/bin/nproc.real", "/bin/dpkg", "/usr/bin/nproc"]}));
    assert_eq!(owner["owners"], serde_json::json!([["/usr/bin/nproc.real", "coreutils"], ["/bin/dpkg", "dpkg"]]));
    let none = of_dpkg(&machine, &serde_json::json!({"files": "none"}));
    assert_eq!(none["failed"]["kind"], "NotFound");
}
