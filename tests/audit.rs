//! The audit log shows tampering, and survives what it should.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use omg::security::audit::{AuditError, AuditLog, Ending, Entry, Finding, Process, Readers, Record, Verified, history};
use omg::transaction::{Action, Actor, Change, Digest, Item, Standing, Verb, Via};

const ACTOR: Actor = Actor { uid: 1000, via: Via::Polkit };

fn begun(name: &str) -> Record {
    Record::Begun {
        actor: ACTOR,
        process: Process::current(),
        actions: vec![Action::new(Verb::Install, name).unwrap()],
        digest: Digest::of(name.as_bytes()),
        items: Vec::new(),
    }
}

fn ended(begun: u64) -> Record {
    Record::Ended { begun, ending: Ending::Succeeded, items: Vec::new(), message: String::new() }
}

/// A log of two transactions, and its file.
fn filled(folder: &Path) -> (AuditLog, PathBuf) {
    let log = AuditLog::new(&folder.join("audit"), Readers::Owner);
    for (number, record) in [begun("vim"), ended(1), begun("nano"), ended(3)].iter().enumerate() {
        assert_eq!(log.append(record).unwrap(), number as u64 + 1);
    }
    (log, folder.join("audit/audit.jsonl"))
}

fn finding(log: &AuditLog) -> Finding {
    log.verify().unwrap().unwrap_err()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn write(path: &Path, lines: &[String]) {
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[test]
fn entries_read_back_in_their_order_and_verify() {
    let folder = tempfile::tempdir().unwrap();
    let (log, path) = filled(folder.path());
    let verified = log.verify().unwrap().unwrap();
    assert_eq!((verified.entries, verified.torn), (4, 0));
    let entries = log.read(usize::MAX).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(entries[2].record, begun("nano"));
    assert_eq!(entries[0].previous, Digest::default());
    let newest: Vec<Entry> = log.read(3).unwrap();
    assert_eq!(newest, entries[1..]);
    assert!(log.read(0).unwrap().is_empty());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    // Another process goes on where this one ended.
    let again = AuditLog::new(&folder.path().join("audit"), Readers::Owner);
    assert_eq!(again.append(&begun("emacs")).unwrap(), 5);
    assert_eq!(again.verify().unwrap().unwrap().entries, 5);
}

#[test]
fn a_log_that_is_not_there_is_empty_and_sound() {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::new(&folder.path().join("none"), Readers::Everyone);
    assert_eq!(log.verify().unwrap(), Ok(Verified::default()));
    assert!(log.read(10).unwrap().is_empty());
    assert!(!folder.path().join("none").exists());
    log.append(&begun("vim")).unwrap();
    assert_eq!(fs::metadata(folder.path().join("none")).unwrap().mode() & 0o777, 0o755);
    for file in ["audit.jsonl", "audit.head"] {
        assert_eq!(fs::metadata(folder.path().join("none").join(file)).unwrap().mode() & 0o777, 0o644, "{file}");
    }
}

#[test]
fn a_changed_a_dropped_a_moved_and_an_added_entry_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let (log, path) = filled(folder.path());
    let whole = lines(&path);

    let changed: Vec<String> = whole.iter().map(|line| line.replace("nano", "nasm")).collect();
    write(&path, &changed);
    assert_eq!(finding(&log), Finding::Changed { line: 3 });

    for missing in 0..3 {
        let mut dropped = whole.clone();
        dropped.remove(missing);
        write(&path, &dropped);
        assert_eq!(finding(&log), Finding::OutOfOrder { line: missing as u64 + 1 });
    }
    let mut moved = whole.clone();
    moved.swap(1, 2);
    write(&path, &moved);
    assert_eq!(finding(&log), Finding::OutOfOrder { line: 2 });

    let mut added = whole.clone();
    added.insert(1, "{}".into());
    write(&path, &added);
    assert_eq!(finding(&log), Finding::Unreadable { line: 2 });

    write(&path, &whole);
    assert!(log.verify().unwrap().is_ok());
}

#[test]
fn entries_cut_off_at_the_end_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    let (log, path) = filled(folder.path());
    let whole = lines(&path);
    write(&path, &whole[..3]);
    assert_eq!(finding(&log), Finding::Truncated { last: 3, head: 4 });
    assert!(matches!(log.append(&begun("vim")), Err(AuditError::Damaged { .. })), "it is left as it is");
    assert_eq!(lines(&path), whole[..3]);
    fs::remove_file(&path).unwrap();
    assert_eq!(finding(&log), Finding::Truncated { last: 0, head: 4 });
    // A whole new chain in its place has another end.
    let other = tempfile::tempdir().unwrap();
    let (_, forged) = filled(other.path());
    let forged = fs::read_to_string(forged).unwrap().replace("vim", "vi");
    fs::write(&path, forged).unwrap();
    assert_eq!(finding(&log), Finding::Changed { line: 1 });
    write(&path, &whole);
    fs::remove_file(path.with_file_name("audit.head")).unwrap();
    assert_eq!(finding(&log), Finding::NoHead);
}

#[test]
fn a_chain_forged_from_its_middle_on_does_not_end_where_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let (log, path) = filled(folder.path());
    let head = fs::read(path.with_file_name("audit.head")).unwrap();
    let whole = lines(&path);
    // The forger rewrites the end with the program itself, and cannot change the note.
    write(&path, &whole[..2]);
    fs::remove_file(path.with_file_name("audit.head")).unwrap();
    let kept = folder.path().join("kept");
    fs::copy(&path, &kept).unwrap();
    fs::remove_file(&path).unwrap();
    log.append(&begun("vim")).unwrap();
    for _ in 0..3 {
        log.append(&begun("harmless")).unwrap();
    }
    fs::write(path.with_file_name("audit.head"), head).unwrap();
    assert_eq!(finding(&log), Finding::Replaced { head: 4 });
}

#[test]
fn what_a_crash_leaves_is_no_tampering() {
    let folder = tempfile::tempdir().unwrap();
    let (log, path) = filled(folder.path());
    let before = fs::read(path.with_file_name("audit.head")).unwrap();
    // Written, and not noted any more.
    log.append(&begun("emacs")).unwrap();
    fs::write(path.with_file_name("audit.head"), before).unwrap();
    assert_eq!(log.verify().unwrap().unwrap().entries, 5);
    assert_eq!(log.append(&ended(5)).unwrap(), 6);
    assert_eq!(log.verify().unwrap().unwrap().entries, 6);
    // Half written: never acknowledged, cut off, and noted.
    fs::File::options().append(true).open(&path).unwrap().write_all(b"{\"hash\":\"00").unwrap();
    assert_eq!(log.verify().unwrap().unwrap().torn, 11);
    assert_eq!(log.append(&begun("joe")).unwrap(), 7);
    assert_eq!(log.read(1).unwrap()[0].torn, 11);
    assert_eq!(log.verify().unwrap().unwrap().entries, 7);
}

#[test]
fn writers_at_once_keep_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("audit");
    let mut numbers: Vec<u64> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let place = &place;
                scope.spawn(move || {
                    let log = AuditLog::new(place, Readers::Owner);
                    (0..10).map(|_| log.append(&begun(&format!("p{writer}"))).unwrap()).collect::<Vec<_>>()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
    assert_eq!(AuditLog::new(&place, Readers::Owner).verify().unwrap().unwrap().entries, 40);
}

#[test]
fn whoever_may_read_the_log_cannot_keep_writers_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let (log, path) = filled(folder.path());
    let reader = fs::File::open(&path).unwrap();
    rustix::fs::flock(&reader, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(log.append(&begun("emacs")).unwrap(), 5);
    assert!(log.verify().unwrap().is_ok());
    assert_eq!(fs::metadata(path.with_file_name("audit.lock")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn links_and_folders_of_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let precious = folder.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    fs::create_dir(folder.path().join("audit")).unwrap();
    symlink(&precious, folder.path().join("audit/audit.jsonl")).unwrap();
    let log = AuditLog::new(&folder.path().join("audit"), Readers::Owner);
    assert!(matches!(log.append(&begun("vim")), Err(AuditError::Io { .. })));
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");

    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let log = AuditLog::new(&open, Readers::Owner);
    assert!(matches!(log.append(&begun("vim")), Err(AuditError::Exposed { .. })));
    assert!(fs::read_dir(&open).unwrap().next().is_none());
}

#[test]
fn an_entry_that_would_be_too_long_to_read_is_cut_says_so_and_leaves_the_chain_sound() {
    let folder = tempfile::tempdir().unwrap();
    let (log, path) = filled(folder.path());
    let item = Item {
        change: Change::Install,
        name: "x".repeat(1 << 20),
        arch: "all".into(),
        from: String::new(),
        to: "1".into(),
        repository: String::new(),
        download: 0,
        delta: 0,
        explicit: true,
        sha256: String::new(),
    };
    let Record::Begun { actor, process, digest, .. } = begun("vim") else { panic!() };
    let actions = vec![Action::new(Verb::Install, "vim").unwrap(); 5];
    let items = vec![item; 40];
    let long = Record::Begun { actor, process, actions: actions.clone(), digest, items: items.clone() };
    let message = "é".repeat(40 << 20);
    let ended = Record::Ended { begun: 5, ending: Ending::Failed, items: Vec::new(), message };
    assert_eq!((log.append(&long).unwrap(), log.append(&ended).unwrap()), (5, 6));
    assert!(fs::metadata(&path).unwrap().len() < 32 << 20);
    assert_eq!(log.verify().unwrap().unwrap().entries, 6);
    let entries = log.read(2).unwrap();
    let Record::Begun { items: kept, actions: all, .. } = &entries[0].record else { panic!("{:?}", entries[0].number) };
    assert!(!kept.is_empty() && kept.len() < 16 && *kept == items[..kept.len()], "{} are kept", kept.len());
    assert_eq!((entries[0].omitted, all), (40 - kept.len() as u64, &actions));
    let told = history(&entries);
    assert!(told[0].message.contains("the entry was too long"), "{} bytes", told[0].message.len());
    assert!(told[0].message.starts_with("ééé") && told[0].message.len() < 10_000);
    // Others are as they were.
    assert!(log.append(&begun("emacs")).is_ok());
    assert_eq!(log.read(1).unwrap()[0].omitted, 0);
    assert!(!lines(&path)[6].contains("omitted"));
}

#[test]
fn transactions_are_told_with_their_end_or_that_they_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = filled(folder.path());
    let failed = Record::Ended { begun: 5, ending: Ending::Failed, items: Vec::new(), message: "no space".into() };
    let refreshed = Record::Refreshed { actor: ACTOR, ending: Ending::Succeeded, message: String::new() };
    // This process stands for one that still runs, another boot's for one that was cut off.
    let Record::Begun { actor, process, actions, digest, items } = begun("lost") else { panic!() };
    let lost = Record::Begun { actor, process: Process { boot: "another".into(), ..process }, actions, digest, items };
    for record in [begun("emacs"), failed, refreshed, lost, begun("joe")] {
        log.append(&record).unwrap();
    }
    let told = history(&log.read(usize::MAX).unwrap());
    let standings: Vec<_> = told
        .iter()
        .map(|entry| (entry.id, entry.actions[0].target(), entry.standing, entry.message.as_str()))
        .collect();
    let expected = [
        (9, "joe", Standing::Running, ""),
        (8, "lost", Standing::Interrupted, ""),
        (5, "emacs", Standing::Failed, "no space"),
        (3, "nano", Standing::Succeeded, ""),
        (1, "vim", Standing::Succeeded, ""),
    ];
    assert_eq!(standings, expected);
    assert!(told[0].ended == 0 && told[2].ended >= told[2].time && told[4].actor == ACTOR);
}
