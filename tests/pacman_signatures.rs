//! What pacman refuses for its signature, and what it takes, under each signature level: `omg-helper` refuses and takes the
//! same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/commits.rs"]
mod commits;
#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/key_server.rs"]
mod key_server;
#[path = "support/pacman_root.rs"]
mod pacman_root;

use std::io::BufReader;
use std::process::Stdio;

use commits::{HELPER, Running, of_files, plan, planned, request};
use debian_root::Machine;
use key_server::KeyServer;
use omg::transaction::{
    Download, Event, FailureKind, Options, Outcome, Privilege, QuestionKind, Reply, Request, Risk, Verb, read_line,
    write_line,
};
use pacman_root::{configure, package, publish};

/// As pacman.conf(5) has them.
const LEVELS: [&str; 8] = [
    "Never",
    "Optional TrustedOnly",
    "Optional TrustAll",
    "Required TrustedOnly DatabaseNever",
    "Required TrustAll DatabaseNever",
    "PackageRequired DatabaseOptional",
    "PackageNever DatabaseRequired",
    "Required",
];

const PACKAGES: [&str; 4] = ["valid", "unknown", "damaged", "unsigned"];

/// A repository with a package for each kind of signature; its database is signed by the key that is trusted.
fn world() -> Machine {
    let machine = pacman_root::machine();
    configure(&machine, "SigLevel = Never", &["test"]);
    publish(&machine, "test", &PACKAGES.map(|name| package(name, "1-1")));
    let keys = "set -e
        mkdir -m 700 -p /etc/pacman.d/gnupg /root/known /root/other
        for who in known other; do
            gpg --homedir /root/$who --batch --quiet --passphrase '' --quick-generate-key $who@example.org ed25519 sign never
        done
        gpg --homedir /root/known --export | gpg --homedir /etc/pacman.d/gnupg --batch --quiet --import
        gpg --homedir /root/known --list-keys --with-colons | sed -n 's/^fpr:*\\([0-9A-F]*\\):$/\\1:6:/p' |
            gpg --homedir /etc/pacman.d/gnupg --batch --quiet --import-ownertrust
        # Readable for everybody, as pacman-key leaves it.
        chmod 755 /etc/pacman.d/gnupg; chmod 644 /etc/pacman.d/gnupg/pubring.* /etc/pacman.d/gnupg/trustdb.gpg
        sign() { gpg --homedir /root/$1 --batch --quiet --yes --detach-sign --output $2.sig $2; }
        cd /srv/test
        sign known valid-1-1-any.pkg.tar
        sign other unknown-1-1-any.pkg.tar
        sign known damaged-1-1-any.pkg.tar
        cp unsigned-1-1-any.pkg.tar /tmp/other && sign known /tmp/other && cp /tmp/other.sig damaged-1-1-any.pkg.tar.sig
        sign known test.db.tar
        cp test.db.tar.sig test.db.sig
        for who in known other; do gpgconf --homedir /root/$who --kill gpg-agent; done";
    machine.run("sh", &["-c", keys]);
    machine
}

fn set_level(machine: &Machine, level: &str) {
    configure(machine, &format!("SigLevel = {level}\nLocalFileSigLevel = {level}"), &["test"]);
    machine.run("sh", &["-c", "rm -rf /var/lib/pacman/sync /var/cache/pacman/pkg/*"]);
}

fn version_of(machine: &Machine, name: &str) -> String {
    String::from_utf8(machine.try_run("pacman", &["-Q", name]).stdout).unwrap()
}

#[test]
fn every_level_takes_and_refuses_what_pacman_does() {
    let (ours, theirs) = (world(), world());
    let mut outcomes = Vec::new();
    for level in LEVELS {
        for machine in [&ours, &theirs] {
            set_level(machine, level);
        }
        let refreshed = ours.try_run(HELPER, &["refresh"]).status.success();
        assert_eq!(refreshed, theirs.try_run("pacman", &["-Sy", "--noconfirm"]).status.success(), "{level}");
        for name in PACKAGES {
            let taken = theirs.try_run("pacman", &["-S", "--noconfirm", name]).status.success();
            let wanted = planned(&ours, &[(Verb::Install, name)], &Options::default());
            let ran = Running::start(&ours, &wanted).finish();
            let ours_taken = matches!(ran.outcome, Some(Outcome::Succeeded(_)));
            assert_eq!(ours_taken, taken, "{level}: {name}: {ran:?}");
            assert_eq!(version_of(&ours, name), version_of(&theirs, name), "{level}: {name}");
            if !taken {
                assert_eq!(ran.failed().0.kind, FailureKind::Untrusted, "{level}: {name}: {ran:?}");
            }
            outcomes.push(taken);
            for machine in [&ours, &theirs] {
                machine.try_run("pacman", &["-R", "--noconfirm", name]);
                assert!(!machine.exists("/var/lib/pacman/db.lck"));
            }
        }
    }
    // Each column of the table has both: the levels did something.
    assert!(outcomes.iter().any(|taken| *taken) && outcomes.iter().any(|taken| !taken), "{outcomes:?}");
    assert_eq!(outcomes[..4], [true; 4], "without signatures everything is taken");
    assert_eq!(outcomes[12..16], [true, false, false, false], "with all required only what is trusted is");
}

/// Has the helper fetch a package as an ordinary user; how it ended.
fn download(machine: &Machine, folder: &str, name: &str) -> Outcome {
    let request =
        Download { targets: vec![name.to_owned()], folder: folder.into(), allow_untrusted: false, dry_run: false };
    let mut command = machine.command("setpriv");
    command.args(["--reuid=1000", "--regid=1000", "--clear-groups", HELPER, "download"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut replies = child.stdin.take().unwrap();
    write_line(&mut replies, &request).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut last = None;
    while let Some(event) = read_line::<Event>(&mut lines).unwrap() {
        last = Some(event);
    }
    child.wait().unwrap();
    match last {
        Some(Event::Finished(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_download_takes_and_refuses_what_pacman_does_and_brings_signatures() {
    let machine = world();
    let mut outcomes = Vec::new();
    for level in
        ["Never", "Optional TrustedOnly", "Required TrustedOnly DatabaseNever", "PackageRequired DatabaseOptional"]
    {
        set_level(&machine, level);
        machine.run("pacman", &["-Sy", "--noconfirm"]);
        for name in PACKAGES {
            let (ours, theirs) = ("/var/tmp/ours", "/var/tmp/theirs");
            machine.run("sh", &["-c", "rm -rf /var/tmp/*; install -d -o 1000 /var/tmp/ours; mkdir /var/tmp/theirs"]);
            let taken = machine.try_run("pacman", &["-Sw", "--noconfirm", "--cachedir", theirs, name]).status.success();
            let outcome = download(&machine, ours, name);
            assert_eq!(matches!(outcome, Outcome::Succeeded(_)), taken, "{level}: {name}: {outcome:?}");
            let list = |folder: &str| machine.run("ls", &["-A", folder]);
            if taken {
                assert_eq!(list(ours), list(theirs), "{level}: {name}");
                let sums = "cd /var/tmp; for f in $(ls ours); do cmp ours/$f theirs/$f; cmp ours/$f /srv/test/$f; done";
                machine.run("sh", &["-e", "-c", sums]);
                // It is there, signature and all.
                assert!(matches!(download(&machine, ours, name), Outcome::Succeeded(_)));
            } else {
                let Outcome::Failed { failure, .. } = outcome else { panic!("{outcome:?}") };
                assert_eq!(failure.kind, FailureKind::Untrusted, "{level}: {name}: {failure}");
                assert!(failure.message.contains(&format!("not fetched: {name}")), "{failure}");
                assert_eq!(list(ours), "", "{level}: {name}");
            }
            outcomes.push(taken);
        }
    }
    assert_eq!(outcomes[..4], [true; 4], "without signatures everything is taken");
    assert_eq!(outcomes[8..12], [true, false, false, false], "with all required only what is trusted is");
    // One that is there with another's signature is not taken for whole.
    machine.run("sh", &["-c", "cd /var/tmp; rm ours/* 2>/dev/null; cp /srv/test/valid-1-1-any.pkg.tar ours"]);
    machine.run("cp", &["/srv/test/damaged-1-1-any.pkg.tar.sig", "/var/tmp/ours/valid-1-1-any.pkg.tar.sig"]);
    let Outcome::Failed { failure, .. } = download(&machine, "/var/tmp/ours", "valid") else { panic!("it is taken") };
    assert!(failure.kind == FailureKind::Untrusted && failure.message.contains("move both away"), "{failure}");
    machine.run("rm", &["/var/tmp/ours/valid-1-1-any.pkg.tar.sig"]);
    assert!(matches!(download(&machine, "/var/tmp/ours", "valid"), Outcome::Succeeded(_)));
    assert!(machine.exists("/var/tmp/ours/valid-1-1-any.pkg.tar.sig"), "what was missing is fetched");
}

#[test]
fn a_database_that_is_not_signed_as_wanted_is_refused() {
    let machine = world();
    set_level(&machine, "Required");
    assert!(machine.try_run(HELPER, &["refresh"]).status.success());
    machine.run("sh", &["-c", "printf x >>/srv/test/test.db.tar; rm -rf /var/lib/pacman/sync"]);
    let refused = machine.try_run(HELPER, &["refresh"]);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(!refused.status.success() && said.contains("\"Untrusted\""), "{said}");
    assert!(!machine.try_run("pacman", &["-Sy", "--noconfirm"]).status.success());
    assert!(!machine.exists("/var/lib/pacman/db.lck"));
}

#[test]
fn a_package_file_is_untrusted_and_checked_as_pacman_checks_it() {
    let machine = world();
    let file = std::fs::File::open(machine.path("/srv/test/valid-1-1-any.pkg.tar")).unwrap();
    let wanted = of_files(&[("valid.pkg.tar", &file)]);
    set_level(&machine, "Optional");
    let shown = plan(&machine, &wanted).unwrap();
    assert_eq!(shown.risks, [Risk::Untrusted("valid".to_owned())]);
    let item = &shown.items[0];
    assert_eq!((item.repository.as_str(), item.to.as_str(), item.explicit), ("local", "1-1", true));
    assert_eq!(machine.run("sha256sum", &["/srv/test/valid-1-1-any.pkg.tar"])[..64], item.sha256);
    let ran = Running::start(&machine, &Request { digest: Some(shown.digest), ..wanted.clone() }).finish();
    assert_eq!(ran.succeeded().items.len(), 1);
    assert_eq!(version_of(&machine, "valid"), "valid 1-1\n");
    // Its signature does not come with it.
    set_level(&machine, "Required");
    let failure = plan(&machine, &wanted).unwrap_err();
    assert!(failure.kind == FailureKind::Untrusted && failure.message.contains("LocalFileSigLevel"), "{failure}");
    let nonsense = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut &nonsense, b"no package at all").unwrap();
    set_level(&machine, "Never");
    let failure = plan(&machine, &of_files(&[("x.pkg.tar", &nonsense)])).unwrap_err();
    assert_eq!(failure.kind, FailureKind::InvalidArgument, "{failure}");
}

#[test]
fn a_cached_version_is_checked_as_the_repository_of_its_name_asks() {
    let machine = world();
    let level = "PackageRequired DatabaseNever";
    set_level(&machine, level);
    machine.run("pacman", &["-Sy", "--noconfirm", "valid"]);
    publish(&machine, "test", &[package("valid", "2-1")]);
    machine.run(
        "sh",
        &["-c", "cd /srv/test && gpg --homedir /root/known --batch --quiet --detach-sign valid-2-1-any.pkg.tar"],
    );
    machine.run("pacman", &["-Sy", "--noconfirm", "valid"]);
    let wanted = request(&[(Verb::Install, "valid=1-1")], &Options::default());
    let shown = plan(&machine, &wanted).unwrap();
    // A trusted key vouches for it.
    assert_eq!(shown.risks, [Risk::Downgrades("valid".to_owned())]);
    let ran = Running::start(&machine, &Request { digest: Some(shown.digest), ..wanted.clone() }).finish();
    assert_eq!(ran.succeeded().items.len(), 1);
    assert_eq!(version_of(&machine, "valid"), "valid 1-1\n");
    machine.run("pacman", &["-S", "--noconfirm", "valid"]);
    let cached = "/var/cache/pacman/pkg/valid-1-1-any.pkg.tar";
    machine.run("sh", &["-c", &format!("mv {cached}.sig /root/kept.sig")]);
    let failure = plan(&machine, &wanted).unwrap_err();
    assert!(failure.kind == FailureKind::Untrusted && failure.message.contains(", which SigLevel in"), "{failure}");
    machine.run("cp", &["/srv/test/valid-2-1-any.pkg.tar.sig", &format!("{cached}.sig")]);
    assert_eq!(plan(&machine, &wanted).unwrap_err().kind, FailureKind::Untrusted, "another's signature");
    // As pacman asks for it where no repository has the name.
    configure(&machine, "SigLevel = PackageRequired DatabaseNever\nLocalFileSigLevel = Optional", &[]);
    machine.run("rm", &[&format!("{cached}.sig")]);
    let shown = plan(&machine, &wanted).unwrap();
    assert_eq!(shown.risks, [Risk::Downgrades("valid".to_owned()), Risk::Untrusted("valid".to_owned())]);
}

#[test]
fn an_unknown_key_is_imported_when_the_one_who_asked_says_so() {
    let machine = world();
    let gpg = |arguments: &[&str]| machine.run("gpg", &[&["--homedir", "/root/other"], arguments].concat());
    let server = KeyServer::new(gpg(&["--armor", "--export"]), &gpg(&["--with-colons", "--list-keys"]));
    // libalpm imports only into the older kind of keyring, which pacman-key makes.
    let keyring = format!(
        "set -e; cd /etc/pacman.d/gnupg
        gpg --homedir /root/known --export >/root/known.gpg
        rm -f pubring.kbx pubring.kbx~; : >pubring.gpg
        gpg --homedir . --batch --quiet --import /root/known.gpg
        test ! -e pubring.kbx
        echo 'keyserver hkp://127.0.0.1:{0}' | tee dirmngr.conf >gpg.conf
        # dirmngr's own resolver finds no address without a network.
        echo standard-resolver >>dirmngr.conf",
        server.port
    );
    machine.run("sh", &["-c", &keyring]);
    set_level(&machine, "PackageRequired PackageTrustAll DatabaseNever");
    assert!(machine.try_run(HELPER, &["refresh"]).status.success());
    let wanted = planned(&machine, &[(Verb::Install, "unknown")], &Options::default());
    for (choice, taken) in [("refuse", false), ("import", true)] {
        let mut running = Running::start_supervised(&machine, &wanted);
        let Event::Resolved { privileges } = running.until(|event| matches!(event, Event::Resolved { .. })) else {
            panic!("it was waited for")
        };
        assert!(!privileges.contains(&Privilege::ImportKey), "no plan takes it");
        running.reply(&Reply::Proceed);
        let Event::Question(question) = running.until(|event| matches!(event, Event::Question(_))) else {
            panic!("it was waited for")
        };
        let QuestionKind::Key { fingerprint, owner } = &question.kind else { panic!("{question:?}") };
        assert!(fingerprint.len() >= 16 && owner.contains("test@example.org"), "{question:?}");
        assert_eq!(question.choices, ["refuse", "import"]);
        running.reply(&Reply::Answer { id: question.id, choice: choice.to_owned() });
        let ran = running.finish();
        assert_eq!(matches!(ran.outcome, Some(Outcome::Succeeded(_))), taken, "{choice}: {ran:?}");
        let known = machine.run("gpg", &["--homedir", "/etc/pacman.d/gnupg", "--list-keys"]);
        assert_eq!(known.contains("other@example.org"), taken, "{choice}: {known}");
        assert_eq!(version_of(&machine, "unknown"), if taken { "unknown 1-1\n" } else { "" });
    }
    machine.run("gpgconf", &["--homedir", "/etc/pacman.d/gnupg", "--kill", "all"]);
}
