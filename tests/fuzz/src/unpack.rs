//! Archives: whatever they hold, nothing appears outside of the folder, and no link leads out of it.
#![no_main]

mod seeds;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use libfuzzer_sys::{Corpus, fuzz_target};
use omg::runtime::unpack::{Format, Limits, strip, unpack};

/// In memory, since unpacking waits for the disk.
const MEMORY: &str = "/dev/shm";

const RECORD: usize = 512;

/// Of a tar's header.
const SUM: std::ops::Range<usize> = 148..156;

/// What the first byte of an input chooses. A tar comes plain and is packed here, so that its entries are reached.
const FORMATS: [Format; 6] = [Format::TarGz, Format::TarGz, Format::TarXz, Format::TarZst, Format::TarBz2, Format::Zip];
const PLAIN: usize = 0;

fn entry(kind: u8, name: &str, link: &str, contents: &[u8]) -> Vec<u8> {
    let mut record = vec![0; RECORD];
    let mut put = |at: usize, text: &[u8]| record[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000755");
    put(124, format!("{:011o}", contents.len()).as_bytes());
    put(136, b"00000000001");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    record.extend_from_slice(contents);
    record.resize(record.len().next_multiple_of(RECORD), 0);
    record
}

fn seeds() -> Vec<Vec<u8>> {
    let tar = |entries: &[Vec<u8>]| [&[PLAIN as u8, 0][..], &entries.concat(), &[0; 2 * RECORD]].concat();
    vec![
        tar(&[entry(b'5', "top/", "", b""), entry(b'0', "top/a", "", b"text"), entry(b'2', "top/l", "a", b"")]),
        tar(&[entry(b'0', "a", "", b"text"), entry(b'1', "b/h", "a", b""), entry(b'2', "b/l", "../a", b"")]),
        tar(&[entry(b'5', "d/e", "", b""), entry(b'2', "d/e/f", "../..", b""), entry(b'2', "m", "d/../x", b"")]),
        tar(&[entry(b'L', "././@LongLink", "", b"long/name\0"), entry(b'0', "x", "", b"1")]),
        tar(&[entry(b'x', "pax", "", b"15 path=../one\n"), entry(b'0', "x", "", b"1")]),
        tar(&[entry(b'0', "/x", "", b"1"), entry(b'0', "../x", "", b"1"), entry(b'3', "x", "", b"")]),
    ]
}

/// Makes the sums of headers right again, as far as sizes lead from one to the next.
fn seal(tar: &mut [u8]) {
    let mut at = 0;
    while let Some(record) = tar.get_mut(at..at + RECORD) {
        record[SUM].fill(b' ');
        let sum: u32 = record.iter().map(|byte| u32::from(*byte)).sum();
        if sum == 8 * u32::from(b' ') {
            record[SUM].fill(0);
            return;
        }
        record[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&record[124..135]).ok().and_then(|size| usize::from_str_radix(size, 8).ok());
        at += RECORD + size.unwrap_or(0).min(tar.len()).next_multiple_of(RECORD);
    }
}

/// A gzip stream of blocks that are stored as they are (RFC 1951, 3.2.4; RFC 1952, 2.3).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for block in bytes.chunks(0xffff) {
        let length = block.len() as u16;
        packed.push(0);
        packed.extend_from_slice(&length.to_le_bytes());
        packed.extend_from_slice(&(!length).to_le_bytes());
        packed.extend_from_slice(block);
    }
    packed.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    packed.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    packed.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    packed
}

fuzz_target!(
    init: seeds::write(seeds),
    |data: &[u8]| -> Corpus {
        let [choice, stripped, data @ ..] = data else { return Corpus::Reject };
        let choice = usize::from(*choice) % FORMATS.len();
        let bytes = if choice == PLAIN {
            let mut tar = data.to_vec();
            seal(&mut tar);
            stored(&tar)
        } else {
            data.to_vec()
        };
        let world = tempfile::tempdir_in(MEMORY).expect("a folder in memory");
        let into = world.path().join("into");
        fs::create_dir(&into).expect("a new folder");
        let mut archive: File = tempfile::tempfile_in(MEMORY).expect("a file in memory");
        archive.write_all(&bytes).expect("room in memory");
        let limits = Limits { bytes: 1 << 20, entries: 100, ..Limits::default() };
        let place = strip(usize::from(*stripped % 3));
        let result = unpack(&mut archive, FORMATS[choice], &into, &place, &limits, &AtomicBool::new(false));
        assert_eq!(fs::read_dir(world.path()).expect("it is there").count(), 1, "something lies beside the folder");
        if let Err(error) = &result {
            assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
        }
        check(&into, &into, result.is_ok());
        Corpus::Keep
    }
);

/// Links of an archive that was taken whole stay below `top`; all else is files and folders of plain modes.
fn check(top: &Path, folder: &Path, is_whole: bool) {
    for entry in fs::read_dir(folder).expect("a folder that was made").flatten() {
        let (path, metadata) = (entry.path(), entry.metadata().expect("it is there"));
        if metadata.is_symlink() {
            if is_whole && let Ok(end) = path.canonicalize() {
                assert!(end.starts_with(top.canonicalize().expect("it is there")), "{path:?} leads to {end:?}");
            }
            continue;
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            assert_eq!(mode, 0o755, "{path:?}");
            check(top, &path, is_whole);
        } else {
            assert!(metadata.is_file() && matches!(mode, 0o755 | 0o644), "{path:?}: {mode:o}");
        }
    }
}
