//! The machine that commits are tested on: Debian 12 with an archive of small packages, some of them installed.

// Each target uses its part.
#![allow(dead_code, reason = "shared by test targets that each use a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::commits::HELPER;
use crate::deb_archive::{Deb, Key, deb};
use crate::debian_root::{Layers, Machine};

/// Made once for all tests of the program.
pub struct World {
    layers: Layers,
    /// The archive with the second versions of everything, on this machine.
    pub archive: PathBuf,
}

/// How many packages there are that only depend on each other.
pub const PLAIN: usize = 12;

/// Packages in the machine before anything happens: version 1 of these.
const INSTALLED: [&str; 7] = ["omgt-app", "omgt-conf", "omgt-p2", "omgt-p5", "omgt-p7", "omgt-reads", "omgt-trigger"];

pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::make)
}

impl World {
    fn make() -> Self {
        // Left for the next run to replace: nothing runs at the end of a test program.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
        let _ = fs::remove_dir_all(&folder);
        let changes = folder.join("changes");
        fs::create_dir_all(&changes).unwrap();
        let key = Key::new();
        for (suite, packages) in [("one", packages("1")), ("two", packages("2"))] {
            let archive = folder.join(suite);
            fs::create_dir(&archive).unwrap();
            for package in packages {
                package.build(&archive);
            }
            key.publish(&archive, suite);
        }
        // What the list promises is not what is there.
        let archive = folder.join("two");
        deb("omgt-wrong", "2").file("/usr/share/omgt-wrong", "changed").build(&archive);
        fs::remove_file(archive.join("omgt-missing_2_all.deb")).unwrap();

        let debian = Layers::debian();
        let machine = Machine::keeping(&debian, &changes);
        machine.add_program(Path::new(env!("CARGO_BIN_EXE_omg-helper")), HELPER);
        machine.write("/etc/apt/test.gpg", key.public());
        // By which machines draw whether they take part in a phased update.
        machine.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        machine.write("/etc/apt/sources.list", "");
        for entry in fs::read_dir(machine.path("/var/lib/apt/lists")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        let publish = |suite: &str| {
            for entry in fs::read_dir(folder.join(suite)).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                machine.write(&format!("/srv/{suite}/{name}"), fs::read(entry.path()).unwrap());
            }
            let source = format!("deb [signed-by=/etc/apt/test.gpg] file:/srv/{suite} ./\n");
            machine.write(&format!("/etc/apt/sources.list.d/{suite}.list"), source);
            machine.run("apt-get", &["--quiet", "update"]);
        };
        publish("one");
        let mut install = vec!["--quiet", "--yes", "install"];
        install.extend(INSTALLED);
        machine.run("apt-get", &install);
        publish("two");
        drop(machine);
        Self { layers: debian.below(&changes.join("upper")), archive }
    }

    /// A fresh one.
    pub fn machine(&self) -> Machine {
        Machine::new(&self.layers)
    }
}

fn packages(version: &str) -> Vec<Deb> {
    let mut packages = vec![
        deb("omgt-lib", version),
        deb("omgt-app", version).field(&format!("Depends: omgt-lib (>= {version})")),
        deb("omgt-conf", version).file("/etc/omgt/conf.conf", &format!("of version {version}\n")),
        deb("omgt-reads", version)
            .file("/etc/omgt/one.conf", &format!("one of version {version}\n"))
            .file("/etc/omgt/two.conf", &format!("two of version {version}\n"))
            .script("preinst", "cat >>/var/lib/omgt-read")
            .script("postinst", "cat >>/var/lib/omgt-read; echo end >>/var/lib/omgt-read"),
        deb("omgt-vital", version).field("Essential: yes"),
        deb("omgt-trigger", version)
            .script("triggers", "interest-noawait /usr/share/omgt-plugins\n")
            .script("postinst", "[ \"$1\" != triggered ] || ls /usr/share/omgt-plugins >/var/lib/omgt-plugins"),
    ];
    for number in 0..PLAIN {
        let name = format!("omgt-p{number}");
        // Later ones depend on earlier ones, at most two.
        let needs: Vec<String> = [number / 2, number / 3]
            .into_iter()
            .filter(|needed| *needed != number && number % 4 != 0)
            .map(|needed| format!("omgt-p{needed}"))
            .collect();
        let mut package = deb(&name, version).script("postinst", "true");
        if !needs.is_empty() {
            package = package.field(&format!("Depends: {}", needs.join(", ")));
        }
        if number == 11 && version == "2" {
            package = package.field("Phased-Update-Percentage: 20");
        }
        if number == 9 {
            package = package.field("Conflicts: omgt-p10");
        }
        if number % 3 == 1 {
            package = package.file(&format!("/etc/omgt/p{number}.conf"), &format!("of version {version}\n"));
        }
        packages.push(package);
    }
    if version == "2" {
        packages.extend([
            deb("omgt-fails", version).script(
                "postinst",
                "echo starting the engine; [ -e /etc/omgt-fuel ] || { echo the tank is empty >&2; exit 3; }",
            ),
            // The same before it is unpacked, and before it goes.
            deb("omgt-unready", version).script("preinst", "[ -e /etc/omgt-fuel ] || exit 4"),
            deb("omgt-stays", version).script("prerm", "[ -e /etc/omgt-fuel ] || exit 5"),
            deb("omgt-asks", version)
                .field("Depends: debconf")
                .script(
                    "templates",
                    "Template: omgt/colour\nType: string\nDefault: blue\nDescription: Colour?\n Any.\n",
                )
                .script(
                    "config",
                    ". /usr/share/debconf/confmodule\ndb_input critical omgt/colour || true\ndb_go || true",
                )
                .script(
                    "postinst",
                    ". /usr/share/debconf/confmodule\ndb_get omgt/colour\necho \"$RET\" >/var/lib/omgt-colour\ndb_stop",
                ),
            deb("omgt-looks", version).script(
                "postinst",
                "cat >/var/lib/omgt-input; env >/var/lib/omgt-environment
                 timeout --foreground 20 cat </dev/tty >>/var/lib/omgt-input || echo waited >>/var/lib/omgt-input",
            ),
            deb("omgt-plugin", version).file("/usr/share/omgt-plugins/one", ""),
            // apt copies nothing any more once dpkg has ended: what a script says last it says a moment before.
            deb("omgt-babbles", version).script(
                "postinst",
                "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo about to fail; sleep 1; exit 4",
            ),
            deb("omgt-slow", version)
                .script("postinst", ": >/var/lib/omgt-started; while [ ! -e /var/lib/omgt-go ]; do sleep 0.05; done"),
            deb("omgt-wrong", version).file("/usr/share/omgt-wrong", "as said"),
            deb("omgt-missing", version),
            deb("omgt-large", version).file("/usr/share/omgt-large", &"large ".repeat(200_000)),
        ]);
    }
    packages
}
