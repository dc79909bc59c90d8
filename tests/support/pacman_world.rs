//! The machine that changes are tested on: two repositories of small packages, some of them installed.

// Each target uses its part.
#![allow(dead_code, reason = "shared by test targets that each use a part")]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use crate::debian_root::{Layers, Machine};
use crate::pacman_root::{HELPER, Package, configure, package, pacman, publish};

/// How many packages there are that only depend on each other.
pub const PLAIN: usize = 14;

/// The options of pacman.conf(5).
pub const OPTIONS: &str = "HoldPkg = vital\nIgnorePkg = kept\nSigLevel = Never\nLocalFileSigLevel = Never";

/// A fresh machine. Version 1 of everything is in the databases, and some of it is installed; version 2 is in the
/// repositories.
pub fn machine() -> Machine {
    static LAYERS: OnceLock<Layers> = OnceLock::new();
    Machine::new(LAYERS.get_or_init(make))
}

fn make() -> Layers {
    // Left for the next run to replace: nothing runs at the end of a test program.
    let changes = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
    let _ = fs::remove_dir_all(&changes);
    fs::create_dir_all(&changes).unwrap();
    let (layers, programs) = pacman();
    let machine = Machine::keeping(&layers, &changes);
    machine.add_program(&programs.join("omg-helper"), HELPER);
    machine.run("rm", &["/etc/os-release"]);
    machine.write("/etc/os-release", "NAME=\"Arch Linux\"\nID=arch\n");
    configure(&machine, OPTIONS, &["core", "extra"]);
    let (core, extra) = packages("1");
    publish(&machine, "core", &core);
    publish(&machine, "extra", &extra);
    machine.run("pacman", &["-Sy", "--noconfirm"]);
    let installed = ["p2", "p5", "p7", "conf", "kept", "vital", "old"];
    machine.run("pacman", &[["-S", "--noconfirm"].as_slice(), &installed].concat());
    let (core, extra) = packages("2");
    publish(&machine, "core", &core);
    publish(&machine, "extra", &extra);
    drop(machine);
    layers.below(&changes.join("upper"))
}

fn packages(version: &str) -> (Vec<Package>, Vec<Package>) {
    let full = format!("{version}-1");
    let mut core = vec![
        package("vital", &full),
        package("kept", &full),
        package("conf", &full)
            .file("/etc/omgt/conf.conf", &format!("of version {version}\n"))
            .field("backup", "etc/omgt/conf.conf"),
        package("engine-a", &full).field("provides", &format!("engine={version}")),
        package("scripted", &full)
            .script("post_install() { echo \"installed $1\"; echo new >>/var/lib/omgt-script; }")
            .script("post_upgrade() { echo \"upgraded $2 to $1\"; }")
            .script("pre_remove() { echo removing >>/var/lib/omgt-script; }"),
        package("failing", &full).script("post_install() { echo the tank is empty; exit 3; }"),
        package("clash", &full).file("/usr/share/p2/version", "not mine\n"),
        package("rival", &full).field("conflict", "p2"),
        package("lacks", &full).field("depend", "nowhere"),
        package("member-a", &full).field("group", "bunch"),
        package("member-b", &full).field("group", "bunch").field("depend", "p1"),
        package("slow", &full).script(
            "post_install() { : >/var/lib/omgt-started; while [ ! -e /var/lib/omgt-go ]; do sleep 0.05; done; }",
        ),
        package("elsewhere", &full).arch("armv7h"),
    ];
    let mut extra = vec![
        package("engine-b", &full).field("provides", "engine=9"),
        package("needs-engine", &full).field("depend", "engine"),
    ];
    if version == "1" {
        extra.push(package("old", &full));
    } else {
        extra.push(package("new", &full).field("replaces", "old").field("conflict", "old").field("provides", "old"));
    }
    for number in 0..PLAIN {
        let mut plain = package(&format!("p{number}"), &full);
        // Later ones depend on earlier ones, at most two, of the same version at least.
        for needed in [number / 2, number / 3] {
            if needed != number && number % 4 != 0 && !plain.fields.contains(&format!("depend = p{needed}>")) {
                plain = plain.field("depend", &format!("p{needed}>={version}"));
            }
        }
        if number == 9 {
            plain = plain.field("conflict", "p10");
        }
        if number % 5 == 1 {
            plain = plain.field("optdepend", &format!("p{}: for the test", (number + 3) % PLAIN));
        }
        if number % 3 == 0 {
            let path = format!("etc/omgt/p{number}.conf");
            plain = plain.file(&path, &format!("of version {version}\n")).field("backup", &path);
        }
        if number % 2 == 0 { core.push(plain) } else { extra.push(plain) }
    }
    (core, extra)
}
