//! The status file and the program that shows it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

use omg::status::{self, MAX_BYTES, MAX_RUNTIMES, Runtime, Status, StatusError, StatusFlags};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn sample() -> Status {
    Status {
        flags: StatusFlags::default(),
        time: now(),
        generation: 7,
        max_age: status::DEFAULT_MAX_AGE,
        installed: Some(1234),
        explicit: Some(321),
        orphans: Some(5),
        updates: Some(12),
        security: Some(3),
        vulnerabilities: None,
        runtimes: vec![Runtime::new("node", "20.10.0").unwrap()],
    }
}

/// `bytes` with the checksum that belongs to them, computed by an implementation that is not the one under test.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[16..20].fill(0);
    let crc = crc32fast::hash(&bytes);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    bytes
}

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn holding(status: &Status) -> Self {
        let fixture = Self::new();
        status::write_atomically(&fixture.path(), status).unwrap();
        fixture
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("status")
    }

    /// Runs `omg-fast` on this file.
    fn show(&self, arguments: &[&str]) -> Output {
        omg_fast().arg("--file").arg(self.path()).args(arguments).output().unwrap()
    }
}

fn omg_fast() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omg-fast"));
    command.stdin(Stdio::null()).env_clear();
    command
}

#[track_caller]
fn assert_prints(output: &Output, expected: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[track_caller]
fn assert_silent_failure(output: &Output) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(1));
}

#[track_caller]
fn assert_usage_error(output: &Output, message: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(message), "{stderr}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_layout_is_the_documented_one_byte_for_byte() {
    let status = Status {
        flags: StatusFlags::HELPER_MISSING.with(StatusFlags::RESTART_REQUIRED),
        time: 0x0102_0304_0506_0708,
        generation: 9,
        max_age: 600,
        installed: Some(1),
        explicit: Some(2),
        orphans: Some(3),
        updates: Some(4),
        security: Some(5),
        vulnerabilities: None,
        runtimes: vec![Runtime::new("go", "1.22").unwrap()],
    };
    let mut expected = Vec::new();
    expected.extend_from_slice(b"OMGSTAT\0");
    expected.extend_from_slice(&1u32.to_le_bytes());
    expected.extend_from_slice(&120u32.to_le_bytes());
    expected.extend_from_slice(&[0; 4]);
    expected.extend_from_slice(&0x0001_0008u32.to_le_bytes());
    expected.extend_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1]);
    expected.extend_from_slice(&9u64.to_le_bytes());
    for number in [600u32, 1, 2, 3, 4, 5, u32::MAX, 1] {
        expected.extend_from_slice(&number.to_le_bytes());
    }
    expected.extend_from_slice(b"go\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    expected.extend_from_slice(b"1.22");
    expected.extend_from_slice(&[0; 28]);
    assert_eq!(status.encode(), sealed(expected));
}

#[test]
fn what_is_written_is_read_back() {
    let mut status = sample();
    status.runtimes = (0..MAX_RUNTIMES)
        .map(|number| Runtime::new(&format!("runtime-name-{number:03}"), &"9".repeat(32)).unwrap())
        .collect();
    let fixture = Fixture::holding(&status);
    assert_eq!(status::read(&fixture.path()).unwrap(), status);
    assert_eq!(fs::metadata(fixture.path()).unwrap().len(), MAX_BYTES as u64);
    assert_eq!(fs::metadata(fixture.path()).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn runtimes_beyond_the_limit_are_left_out_and_the_file_stays_valid() {
    let mut status = sample();
    status.runtimes = vec![Runtime::new("node", "1").unwrap(); MAX_RUNTIMES + 1];
    assert_eq!(Status::decode(&status.encode()).unwrap().runtimes.len(), MAX_RUNTIMES);
}

#[test]
fn replacing_leaves_no_other_file_and_a_failure_leaves_the_old_file() {
    for write in [status::write_atomically, status::write_quickly] {
        let fixture = Fixture::holding(&sample());
        let mut newer = sample();
        newer.updates = Some(99);
        // What a killed process of the same id would have left.
        fs::write(fixture.folder.path().join(format!(".status.{}.0", std::process::id())), b"").unwrap();
        write(&fixture.path(), &newer).unwrap();
        assert_eq!(status::read(&fixture.path()).unwrap().updates, Some(99));
        assert_eq!(fs::read_dir(fixture.folder.path()).unwrap().count(), 2);

        // A folder cannot be replaced by a file.
        let occupied = fixture.folder.path().join("occupied");
        fs::create_dir(&occupied).unwrap();
        assert!(matches!(write(&occupied, &newer), Err(StatusError::Io(_))));
        assert!(occupied.is_dir());
        assert_eq!(fs::read_dir(fixture.folder.path()).unwrap().count(), 3);

        let missing = fixture.folder.path().join("missing/status");
        assert!(matches!(write(&missing, &newer), Err(StatusError::Io(_))));
    }
}

#[test]
fn a_file_of_the_same_length_is_changed_where_it_lies_and_readers_see_one_or_the_other() {
    // Its time is that of the call.
    let first = sample();
    let fixture = Fixture::holding(&first);
    let path = fixture.path();
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&path).unwrap());
    let (before, mut other) = (inode(), first.clone());
    other.updates = Some(99);
    let written = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut seen = [0_u32; 2];
            while !written.load(std::sync::atomic::Ordering::Relaxed) {
                let read = status::read(&path).unwrap();
                assert!(read == first || read == other, "{read:?}");
                seen[usize::from(read == other)] += 1;
            }
            seen
        });
        for turn in 0..4000 {
            let next = if turn % 2 == 0 { &other } else { &first };
            status::write_quickly(&path, next).unwrap();
            // Nobody switches without a pause: a reader may meet a write, but not one after the other.
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        written.store(true, std::sync::atomic::Ordering::Relaxed);
        let seen = reading.join().unwrap();
        assert!(seen.iter().all(|times| *times > 0), "{seen:?}");
    });
    assert_eq!(inode(), before);
    assert_eq!(fs::read_dir(fixture.folder.path()).unwrap().count(), 1);

    // Another length, and what is no file of its own: replaced.
    other.runtimes.push(Runtime::new("bun", "1.2").unwrap());
    status::write_quickly(&path, &other).unwrap();
    assert_eq!(status::read(&path).unwrap(), other);
    let target = fixture.folder.path().join("target");
    fs::write(&target, first.encode()).unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    status::write_quickly(&path, &other).unwrap();
    assert_eq!(status::read(&path).unwrap(), other);
    assert_eq!(fs::read(&target).unwrap(), first.encode());
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused() {
    let bytes = sample().encode();
    for length in 0..bytes.len() {
        assert!(Status::decode(&bytes[..length]).is_err(), "{length} bytes");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(Status::decode(&longer), Err(StatusError::Length)));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Status::decode(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn each_rule_of_the_layout_has_its_own_refusal() {
    let edited = |offset: usize, bytes: &[u8]| {
        let mut all = sample().encode();
        all[offset..offset + bytes.len()].copy_from_slice(bytes);
        Status::decode(&sealed(all))
    };
    assert!(matches!(edited(0, b"X"), Err(StatusError::Magic)));
    assert!(matches!(edited(8, &0u32.to_le_bytes()), Err(StatusError::Magic)));
    assert!(matches!(edited(8, &2u32.to_le_bytes()), Err(StatusError::Newer(2))));
    assert!(matches!(edited(12, &119u32.to_le_bytes()), Err(StatusError::Length)));
    assert!(matches!(edited(68, &2u32.to_le_bytes()), Err(StatusError::Length)));
    assert!(matches!(edited(68, &u32::MAX.to_le_bytes()), Err(StatusError::Length)));
    for name in [b"\0", b"\x1b", b"\n", b" ", b"%", b"$", b"`", b"\\", b"\xff", b"\x9b"] {
        assert!(matches!(edited(72, name), Err(StatusError::Runtime)), "{name:?}");
        assert!(matches!(edited(88, name), Err(StatusError::Runtime)), "{name:?}");
    }
    // Bytes hidden behind the padding.
    assert!(matches!(edited(80, b"x"), Err(StatusError::Runtime)));
    // A bit of a later version in the flags is no reason to refuse.
    assert_eq!(edited(20, &0x8000_0000u32.to_le_bytes()).unwrap().flags, StatusFlags(0x8000_0000));
    let mut wrong = sample().encode();
    wrong[16] ^= 1;
    assert!(matches!(Status::decode(&wrong), Err(StatusError::Checksum)));
}

#[test]
fn names_that_the_layout_cannot_hold_are_refused() {
    for (name, version) in
        [("", "1"), ("node", ""), ("seventeen-letters", "1"), ("node", &"1".repeat(33)), ("n\u{202e}", "1")]
    {
        assert!(Runtime::new(name, version).is_err(), "{name:?} {version:?}");
    }
    assert!(Runtime::new("sixteen-letters-", &"1".repeat(32)).is_ok());
}

#[test]
fn only_regular_files_of_a_plausible_size_are_read() {
    let fixture = Fixture::holding(&sample());
    let folder = fixture.folder.path();
    let link = folder.join("link");
    symlink(fixture.path(), &link).unwrap();
    assert!(matches!(status::read(&link), Err(StatusError::Io(_))));
    assert!(matches!(status::read(folder), Err(StatusError::NotRegular)));
    assert!(matches!(status::read(Path::new("/dev/zero")), Err(StatusError::NotRegular)));
    let fifo = folder.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(status::read(&fifo), Err(StatusError::NotRegular)));
    let large = folder.join("large");
    fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(status::read(&large), Err(StatusError::Length)));
    assert!(matches!(status::read(&folder.join("missing")), Err(StatusError::Io(_))));
}

#[test]
fn a_clock_that_was_set_back_by_more_than_a_minute_makes_the_file_stale() {
    let status = Status { time: 1000, ..sample() };
    assert_eq!(status.age(1500), Some(500));
    assert_eq!(status.age(940), Some(0));
    assert_eq!(status.age(939), None);
    assert!(!status.is_stale(1500, 500));
    assert!(status.is_stale(1501, 500));
    assert!(status.is_stale(939, u64::MAX));
    assert_eq!(Status { time: u64::MAX, ..sample() }.age(u64::MAX), Some(0));
}

#[test]
fn the_data_folder_follows_the_xdg_rules() {
    let folder = |variables: &'static [(&str, &str)]| {
        status::data_dir(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
    };
    assert_eq!(folder(&[("XDG_DATA_HOME", "/data"), ("HOME", "/home/u")]), Path::new("/data/omg"));
    assert_eq!(folder(&[("XDG_DATA_HOME", ""), ("HOME", "/home/u")]), Path::new("/home/u/.local/share/omg"));
    assert_eq!(folder(&[("XDG_DATA_HOME", "data"), ("HOME", "/home/u")]), Path::new("/home/u/.local/share/omg"));
    assert_eq!(folder(&[("HOME", "relative")]), Path::new("/var/lib/omg"));
    assert_eq!(folder(&[]), Path::new("/var/lib/omg"));
}

#[test]
fn the_prompt_shows_only_what_calls_for_attention() {
    assert_prints(&Fixture::holding(&sample()).show(&[]), "⬆12 !3 node 20.10.0\n");

    let mut status = sample();
    status.flags = StatusFlags::RESTART_REQUIRED.with(StatusFlags::INDEX_FAILED);
    status.vulnerabilities = Some(2);
    status.runtimes.push(Runtime::new("go", "1.22").unwrap());
    assert_prints(&Fixture::holding(&status).show(&[]), "⬆12 !3 ✗2 ↻ ⚠ node 20.10.0 go 1.22\n");

    let quiet = Status { updates: Some(0), security: None, runtimes: Vec::new(), ..sample() };
    assert_prints(&Fixture::holding(&quiet).show(&[]), "");
}

#[test]
fn each_number_can_be_printed_alone_and_an_unknown_one_is_not_guessed() {
    let fixture = Fixture::holding(&sample());
    for (option, number) in [
        ("--installed", "1234\n"),
        ("--explicit", "321\n"),
        ("--orphans", "5\n"),
        ("--updates", "12\n"),
        ("--security", "3\n"),
    ] {
        assert_prints(&fixture.show(&[option]), number);
    }
    assert_silent_failure(&fixture.show(&["--vulnerabilities"]));
}

#[test]
fn a_format_string_is_filled_in() {
    let mut status = sample();
    status.runtimes.push(Runtime::new("zig", "0.13.0").unwrap());
    let fixture = Fixture::holding(&status);
    for (format, expected) in [
        ("updates: {updates} of {installed}", "updates: 12 of 1234\n"),
        ("{{{security}}}", "{3}\n"),
        ("{vulnerabilities}", "?\n"),
        ("[{node}][{python}][{runtime:zig}][{runtime:none}]", "[20.10.0][][0.13.0][]\n"),
        ("{runtimes}{restart}{errors}", "node 20.10.0 zig 0.13.0\n"),
        ("é{explicit}ü{orphans}", "é321ü5\n"),
        ("{restart}", ""),
        ("", ""),
    ] {
        assert_prints(&fixture.show(&["--format", format]), expected);
        assert_prints(&fixture.show(&[&format!("--format={format}")]), expected);
    }
}

#[test]
fn wrong_arguments_are_named_and_exit_with_2() {
    let fixture = Fixture::holding(&sample());
    assert_usage_error(&fixture.show(&["--format", "{updtes}"]), "unknown placeholder `{updtes}`");
    assert_usage_error(&fixture.show(&["--format", "{runtime:}"]), "unknown placeholder");
    assert_usage_error(&fixture.show(&["--format", "{\x1b[31m}"]), "unknown placeholder `{\\u{1b}[31m}`");
    assert_usage_error(&fixture.show(&["--format", "100 }"]), "single brace");
    assert_usage_error(&fixture.show(&["--format", "{updates"]), "single brace");
    assert_usage_error(&fixture.show(&["--format"]), "--format needs a value");
    assert_usage_error(&fixture.show(&["--max-age", "-1"]), "`-1` is not a number of seconds");
    assert_usage_error(&fixture.show(&["--updates", "--security"]), "only one");
    assert_usage_error(&fixture.show(&["--updates=1"]), "--updates takes no value");
    assert_usage_error(&fixture.show(&["--nonsense"]), "unknown argument `--nonsense`");
    assert_usage_error(&fixture.show(&["-u"]), "unknown argument `-u`");
    assert_usage_error(&fixture.show(&["updates"]), "unknown argument `updates`");
    let output = omg_fast().arg(std::ffi::OsStr::from_bytes(b"\xff\x1b")).output().unwrap();
    assert_usage_error(&output, "unknown argument");
    assert!(!output.stderr.contains(&0x1b));
}

#[test]
fn what_cannot_be_trusted_prints_nothing_and_exits_with_1() {
    assert_silent_failure(&Fixture::new().show(&[]));

    let stale = Fixture::holding(&Status { time: now() - 100, max_age: 50, ..sample() });
    assert_silent_failure(&stale.show(&["--updates"]));
    assert_prints(&stale.show(&["--updates", "--max-age", "1000"]), "12\n");
    assert_silent_failure(&stale.show(&["--updates", "--max-age=99"]));
    let future = Fixture::holding(&Status { time: now() + 3600, ..sample() });
    assert_silent_failure(&future.show(&["--max-age", &u64::MAX.to_string()]));

    let mut newer = sample().encode();
    newer[8] = 2;
    let mut corrupt = sample().encode();
    corrupt[56] ^= 1;
    for bytes in [sealed(newer), corrupt, Vec::new(), vec![0; 4096]] {
        let fixture = Fixture::new();
        fs::write(fixture.path(), bytes).unwrap();
        assert_silent_failure(&fixture.show(&[]));
        assert_silent_failure(&fixture.show(&["--format", "x"]));
    }
}

#[test]
fn verbose_says_why_nothing_is_printed() {
    let fixture = Fixture::new();
    let output = fixture.show(&["--verbose"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("status: No such file"), "{stderr}");
}

#[test]
fn the_file_is_found_without_being_named() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".local/share/omg");
    fs::create_dir_all(&folder).unwrap();
    status::write_atomically(&folder.join("status"), &sample()).unwrap();
    let output = omg_fast().arg("--updates").env("HOME", home.path()).output().unwrap();
    assert_prints(&output, "12\n");
}

#[test]
fn a_closed_pipe_is_quiet() {
    let fixture = Fixture::holding(&sample());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = omg_fast().arg("--file").arg(fixture.path()).stdout(writer).output().unwrap();
    assert!(!output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn help_and_version_are_printed() {
    let help = omg_fast().arg("--help").output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    for word in ["--max-age", "Exit status", "{runtime:NAME}", "--vulnerabilities"] {
        assert!(text.contains(word), "{word}");
    }
    let version = omg_fast().arg("--version").output().unwrap();
    assert_prints(&version, concat!("omg-fast ", env!("CARGO_PKG_VERSION"), "\n"));
}
