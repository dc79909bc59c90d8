//! The database on real files: what survives, and what happens to files that are not as they should be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

use omg::status::{Runtime, Status};
use omg::store::{MAX_VALUE_BYTES, Store, StoreError, Unavailable, Warning};
use omg::transaction::{Action, Actor, HistoryEntry, HistoryItem, Standing, Verb, Via};
use redb::{ReadableDatabase, TableDefinition};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const HISTORY: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("transactions");
const LOG: &str = "/var/lib/omg/audit";

struct Fixture {
    root: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("omg")
    }

    fn file(&self) -> PathBuf {
        self.folder().join("cache.redb")
    }

    fn store(&self) -> Store {
        Store::new(&self.folder())
    }

    /// A database that holds something in every table.
    fn filled() -> Self {
        let fixture = Self::new();
        let store = fixture.store();
        store.set_announced("apt", (1, 2), &status()).unwrap();
        for id in 1..=20 {
            store.put_history(LOG, &[entry(id)]).unwrap();
        }
        store.set_cached("answer", b"forty-two", 2000, 1000).unwrap();
        fixture
    }

    /// Names in the folder, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The one file that was moved aside.
    #[track_caller]
    fn moved_aside(&self) -> PathBuf {
        let names = self.names();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(names[0], "cache.redb");
        self.folder().join(&names[1])
    }
}

fn status() -> Status {
    Status {
        time: 1_700_000_000,
        generation: 41,
        updates: Some(12),
        runtimes: vec![Runtime::new("node", "20.10.0").unwrap()],
        ..Status::default()
    }
}

fn entry(id: u64) -> HistoryEntry {
    HistoryEntry {
        id,
        time: 1_700_000_000 + id,
        ended: 1_700_000_010 + id,
        actor: Actor { uid: 1000, via: Via::Polkit },
        actions: vec![Action::new(Verb::Install, format!("package-{id}")).unwrap()],
        standing: match id % 3 {
            0 => Standing::Succeeded,
            1 => Standing::Failed,
            _ => Standing::Interrupted,
        },
        items: vec![HistoryItem {
            change: "upgrade".to_owned(),
            name: format!("package-{id}"),
            arch: "amd64".to_owned(),
            from: "1.0".to_owned(),
            to: "1.1~é".to_owned(),
            repository: "bookworm/main".to_owned(),
            explicit: id.is_multiple_of(2),
        }],
        message: "no space left".to_owned(),
    }
}

#[track_caller]
fn assert_filled(store: &Store) {
    assert_eq!(store.generation(), 41);
    assert_eq!((store.announced("apt"), store.status("apt")), (Some((1, 2)), Some(status())));
    assert_eq!((store.announced("other"), store.status("other")), (None, None));
    let expected: Vec<_> = (1..=20).rev().map(entry).collect();
    assert_eq!(store.history(LOG, usize::MAX), expected);
    assert_eq!(store.cached("answer", 1999), Some(b"forty-two".to_vec()));
    assert_eq!(store.take_warnings(), []);
    assert_eq!(store.unavailable(), None);
}

#[track_caller]
fn assert_usable_and_empty(store: &Store) {
    assert_eq!(store.generation(), 0);
    assert_eq!(store.status("apt"), None);
    assert_eq!(store.history(LOG, 10), []);
    assert_eq!(store.cached("answer", 0), None);
    assert_eq!(store.unavailable(), None);
    store.put_history(LOG, &[entry(7)]).unwrap();
    assert_eq!(store.history(LOG, 10), [entry(7)]);
}

#[test]
fn everything_is_there_after_reopening() {
    let fixture = Fixture::filled();
    let store = fixture.store();
    assert_filled(&store);
    store.close();
    assert_filled(&store);
    // Entries that are known already take the place of themselves.
    store.put_history(LOG, &[entry(20), entry(21)]).unwrap();
    let newest: Vec<_> = store.history(LOG, 3).into_iter().map(|entry| entry.id).collect();
    assert_eq!(newest, [21, 20, 19]);
    assert_eq!(store.history(LOG, 0), []);
}

#[test]
fn each_log_has_a_history_of_its_own_and_what_is_of_no_log_is_told_as_nobodys() {
    const UNPLACED: TableDefinition<u64, &[u8]> = TableDefinition::new("history");
    let fixture = Fixture::filled();
    let database = redb::Database::open(fixture.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(UNPLACED).unwrap().insert(30, &b"\x02{}"[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let store = fixture.store();
    let other = "/srv/other/var/lib/omg/audit";
    assert_eq!(store.history(other, 10), []);
    let theirs = HistoryEntry { message: "of the other".to_owned(), ..entry(20) };
    store.put_history(other, std::slice::from_ref(&theirs)).unwrap();
    assert_eq!(store.history(other, 10), [theirs]);
    assert_filled(&store);
    store.close();
    let database = redb::Database::open(fixture.file()).unwrap();
    let reading = database.begin_read().unwrap();
    assert!(matches!(reading.open_table(UNPLACED), Err(redb::TableError::TableDoesNotExist(_))));
}

#[test]
fn nothing_is_created_before_the_first_use_and_then_only_for_the_user() {
    let fixture = Fixture::new();
    let store = fixture.store();
    assert_eq!(store.unavailable(), None);
    assert!(!fixture.folder().exists());
    assert_usable_and_empty(&store);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(fixture.folder()), 0o700);
    assert_eq!(mode(fixture.file()), 0o600);
    assert_eq!(fixture.names(), ["cache.redb"]);
}

#[test]
fn what_was_committed_survives_a_process_that_is_killed() {
    let fixture = Fixture::filled();
    let store = fixture.store();
    assert_filled(&store);
    store.put_history(LOG, &[entry(21)]).unwrap();
    // The file of an open database, as a killed process leaves it.
    let killed = Fixture::new();
    fs::create_dir(killed.folder()).unwrap();
    fs::copy(fixture.file(), killed.file()).unwrap();
    let store = killed.store();
    assert_eq!(store.history(LOG, 1), [entry(21)]);
    assert_eq!(store.generation(), 41);
    assert_eq!(store.take_warnings(), []);
}

#[test]
fn cached_values_expire_and_can_be_cleared() {
    let fixture = Fixture::new();
    let store = fixture.store();
    store.clear_cached().unwrap();
    store.set_cached("a", b"1", 100, 0).unwrap();
    store.set_cached("b", b"2", 200, 0).unwrap();
    assert_eq!(store.cached("a", 99), Some(b"1".to_vec()));
    assert_eq!(store.cached("a", 100), None);
    store.set_cached("c", b"", 300, 150).unwrap();
    assert_eq!(store.cached("a", 0), None);
    assert_eq!(store.cached("b", 150), Some(b"2".to_vec()));
    assert_eq!(store.cached("c", 150), Some(Vec::new()));
    store.clear_cached().unwrap();
    assert_eq!(store.cached("b", 0), None);
}

#[test]
fn values_beyond_the_limit_are_refused_and_the_database_goes_on() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let large = vec![0; MAX_VALUE_BYTES];
    store.set_cached("", &large, 10, 0).unwrap();
    let refused = store.set_cached("k", &large, 10, 0).unwrap_err();
    assert_eq!(refused, StoreError::TooLarge { bytes: MAX_VALUE_BYTES + 1, limit: MAX_VALUE_BYTES });
    assert_eq!(store.cached("", 0), Some(large));
}

#[test]
fn a_history_entry_beyond_the_limit_keeps_no_other_one_out() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let long = HistoryEntry { message: "x".repeat(MAX_VALUE_BYTES), ..entry(2) };
    store.put_history(LOG, &[entry(3), long, entry(1)]).unwrap();
    assert_eq!(store.history(LOG, 10), [entry(3), entry(1)]);
    let warnings = store.take_warnings();
    let is_told = matches!(warnings[..], [Warning::LongEntry { id: 2, bytes, .. }] if bytes > MAX_VALUE_BYTES);
    assert!(is_told, "{warnings:?}");
}

#[test]
fn a_history_entry_of_a_newer_version_is_left_out_and_kept() {
    let fixture = Fixture::new();
    let store = fixture.store();
    store.put_history(LOG, &[entry(1)]).unwrap();
    store.close();
    let put = |id: u64, bytes: &[u8]| {
        let database = redb::Database::open(fixture.file()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(HISTORY).unwrap().insert((LOG, id), bytes).unwrap();
        transaction.commit().unwrap();
    };
    put(2, b"\x03something new");
    put(3, b"");
    assert_eq!(store.history(LOG, 1), [entry(1)]);
    let expected = [Warning::UnreadableEntry { id: 3 }, Warning::UnreadableEntry { id: 2 }];
    assert_eq!(store.take_warnings(), expected);
    store.put_history(LOG, &[entry(4)]).unwrap();
    store.close();
    let database = redb::Database::open(fixture.file()).unwrap();
    let table = database.begin_read().unwrap().open_table(HISTORY).unwrap();
    assert_eq!(table.get((LOG, 2)).unwrap().unwrap().value(), b"\x03something new");
}

#[test]
fn a_newer_schema_is_moved_aside_whole() {
    let fixture = Fixture::filled();
    let set_schema = |version: u64| {
        let database = redb::Database::open(fixture.file()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("schema", version).unwrap();
        transaction.commit().unwrap();
    };
    set_schema(7);
    let store = fixture.store();
    assert_usable_and_empty(&store);
    let moved_to = fixture.folder().join("cache.redb.newer-7");
    assert_eq!(store.take_warnings(), [Warning::Newer { schema: 7, moved_to: moved_to.clone() }]);
    store.close();
    // A second one does not overwrite the first.
    set_schema(7);
    assert_usable_and_empty(&store);
    assert_eq!(fixture.names(), ["cache.redb", "cache.redb.newer-7", "cache.redb.newer-7.1"]);

    let database = redb::Database::open(moved_to).unwrap();
    let table = database.begin_read().unwrap().open_table(META).unwrap();
    assert_eq!(table.get("generation").unwrap().unwrap().value(), 41);
}

#[test]
fn a_database_of_another_program_is_moved_aside() {
    for definition in ["other", "meta"] {
        let fixture = Fixture::new();
        fs::create_dir(fixture.folder()).unwrap();
        {
            let database = redb::Database::create(fixture.file()).unwrap();
            let transaction = database.begin_write().unwrap();
            transaction.open_table(TableDefinition::<u64, &str>::new(definition)).unwrap().insert(1, "x").unwrap();
            transaction.commit().unwrap();
        }
        let store = fixture.store();
        assert_usable_and_empty(&store);
        assert_eq!(store.take_warnings().len(), 1);
        let database = redb::Database::open(fixture.moved_aside()).unwrap();
        let transaction = database.begin_read().unwrap();
        let table = transaction.open_table(TableDefinition::<u64, &str>::new(definition)).unwrap();
        assert_eq!(table.get(1).unwrap().unwrap().value(), "x");
    }
}

#[test]
fn truncated_files_are_moved_aside_unchanged() {
    let whole = fs::read(Fixture::filled().file()).unwrap();
    for length in [1, 8, 9, 63, 64, 319, 320, 4095, 4096, 8192, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        let fixture = Fixture::new();
        fs::create_dir(fixture.folder()).unwrap();
        fs::write(fixture.file(), &whole[..length]).unwrap();
        let store = fixture.store();
        assert_usable_and_empty(&store);
        let warnings = store.take_warnings();
        assert!(matches!(warnings.as_slice(), [Warning::Corrupt { .. }]), "{length} bytes: {warnings:?}");
        assert!(fs::read(fixture.moved_aside()).unwrap() == whole[..length], "{length} bytes");
    }
}

#[test]
fn random_bytes_are_moved_aside_and_a_new_database_started() {
    let mut random = Random::seeded();
    for length in [1usize, 9, 512, 4096, 100_000] {
        for with_magic in [false, true] {
            let mut bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
            if with_magic {
                let magic = b"redb\x1a\x0a\xa9\x0d\x0a";
                let covered = length.min(magic.len());
                bytes[..covered].copy_from_slice(&magic[..covered]);
            }
            let fixture = Fixture::new();
            fs::create_dir(fixture.folder()).unwrap();
            fs::write(fixture.file(), &bytes).unwrap();
            let store = fixture.store();
            assert_usable_and_empty(&store);
            assert!(matches!(store.take_warnings().as_slice(), [Warning::Corrupt { .. }]));
            assert!(fs::read(fixture.moved_aside()).unwrap() == bytes, "{length} bytes");
        }
    }
}

/// redb trusts the pages it reads and panics on some that are damaged; that must stay inside the store, and what is
/// read must be what was once written.
#[test]
fn damaged_pages_give_warnings_and_never_wrong_data() {
    let whole = fs::read(Fixture::filled().file()).unwrap();
    let used: Vec<_> = (0..whole.len()).filter(|&at| whole[at] != 0).collect();
    let mut random = Random::seeded();
    let mut moved = 0;
    for round in 0..100 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random.below(8) {
            let at = used[random.below(used.len())];
            bytes[at] = random.next() as u8;
        }
        let fixture = Fixture::new();
        fs::create_dir(fixture.folder()).unwrap();
        fs::write(fixture.file(), &bytes).unwrap();
        let store = fixture.store();
        let entries = store.history(LOG, usize::MAX);
        for found in &entries {
            assert_eq!(*found, entry(found.id), "round {round}");
        }
        let found = (store.generation(), store.status("apt"), entries.len(), store.cached("answer", 1999));
        let warnings = store.take_warnings();
        if warnings.is_empty() {
            assert_eq!(found, (41, Some(status()), 20, Some(b"forty-two".to_vec())), "round {round}");
        } else {
            assert!([0, 41].contains(&found.0), "round {round}: {found:?}");
            assert!(found.1.is_none_or(|found| found == status()), "round {round}");
        }
        store.put_history(LOG, &[entry(21)]).unwrap();
        assert_eq!(store.history(LOG, 1), [entry(21)], "round {round}");
        store.set_generation(1).unwrap();
        store.close();
        assert_eq!(store.generation(), 1, "round {round}");
        assert_eq!(store.take_warnings(), [], "round {round}");
        moved += usize::from(fixture.names().len() > 1);
    }
    assert!(moved > 0, "no damage was noticed");
}

#[test]
fn a_second_handle_reads_nothing_and_says_why_it_does_not_write() {
    let fixture = Fixture::filled();
    let first = fixture.store();
    assert_filled(&first);
    let second = fixture.store();
    assert_eq!(second.generation(), 0);
    assert_eq!(second.history(LOG, 10), []);
    let in_use = Unavailable::InUse { path: fixture.file() };
    assert_eq!(second.set_generation(99), Err(StoreError::Unavailable(in_use.clone())));
    assert_eq!(second.unavailable(), Some(in_use));
    assert_filled(&first);
    drop(first);
    // The reason stands until the interval is over or the handle is closed.
    assert_eq!(second.generation(), 0);
    second.close();
    assert_filled(&second);
    assert_eq!(fixture.names(), ["cache.redb"]);
}

#[test]
fn handles_that_open_a_damaged_file_at_once_move_it_aside_once() {
    for _ in 0..10 {
        let fixture = Fixture::new();
        fs::create_dir(fixture.folder()).unwrap();
        fs::write(fixture.file(), b"not a database").unwrap();
        let stores: Vec<_> = (0..4).map(|_| fixture.store()).collect();
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = stores.iter().map(|store| scope.spawn(|| store.set_generation(5))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        assert_eq!(fs::read(fixture.moved_aside()).unwrap(), b"not a database");
        drop(stores);
        assert_eq!(fixture.store().generation(), 5);
    }
}

#[track_caller]
fn assert_unavailable(folder: &Path) {
    let store = Store::new(folder);
    assert_eq!(store.generation(), 0);
    assert_eq!(store.status("apt"), None);
    assert_eq!(store.history(LOG, 10), []);
    assert_eq!(store.cached("a", 0), None);
    let reason = store.unavailable();
    assert!(matches!(reason, Some(Unavailable::Io { .. })), "{reason:?}");
    for result in [
        store.set_generation(1),
        store.set_announced("apt", (1, 2), &status()),
        store.put_history(LOG, &[entry(1)]),
        store.set_cached("a", b"b", 1, 0),
        store.clear_cached(),
    ] {
        assert_eq!(result, Err(StoreError::Unavailable(reason.clone().unwrap())));
    }
    assert_eq!(store.take_warnings(), []);
}

#[test]
fn a_folder_that_cannot_be_made_or_written_makes_the_store_unavailable() {
    let fixture = Fixture::new();
    let file = fixture.root.path().join("file");
    fs::write(&file, b"").unwrap();
    assert_unavailable(&file.join("omg"));
    assert_unavailable(&file);
    assert_unavailable(Path::new("/proc/omg"));
    assert_unavailable(Path::new("/proc"));
}

#[test]
fn links_and_what_is_no_file_are_neither_followed_nor_touched() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.folder()).unwrap();
    let target = fixture.root.path().join("target");
    fs::write(&target, b"precious").unwrap();
    symlink(&target, fixture.file()).unwrap();
    assert_unavailable(&fixture.folder());
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    assert_eq!(fixture.names(), ["cache.redb"]);

    fs::remove_file(fixture.file()).unwrap();
    fs::create_dir(fixture.file()).unwrap();
    assert_unavailable(&fixture.folder());

    fs::remove_dir(fixture.file()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, fixture.file(), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_unavailable(&fixture.folder());
    assert_eq!(fixture.names(), ["cache.redb"]);
}

/// xorshift64.
struct Random(u64);

impl Random {
    /// Seeded by `OMG_TEST_SEED`, or by the clock; the seed is printed, and shown when the test fails.
    fn seeded() -> Self {
        let seed = std::env::var("OMG_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            now.as_nanos() as u64 | 1
        });
        println!("OMG_TEST_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
