//! The snapshot file: a hostile one that passes its checksums may answer anything, but may not bring its reader down.
#![no_main]

mod seeds;

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

use libfuzzer_sys::{Corpus, fuzz_target};
use omg::index::{Builder, Entry, Fingerprint, Inputs, Meta, Searcher, Snapshot, Version, View};
use omg::package::{Flags, ListQuery, PackageDetails, SearchMode, SearchQuery, VersionDetails};

/// An input starts with what is asked: one byte of switches, one with the length of the text, the text.
const QUESTION: usize = 16;

// The layout, as src/index/format.rs describes it: positions of fields in the header, in an entry of the section table
// and in an entry of a block table.
const HEADER: usize = 32;
const FILE_LEN: Range<usize> = 16..24;
const HEADER_CRC: Range<usize> = 24..28;
const SECTION: usize = 24;
const SECTION_CRC: Range<usize> = 4..8;
const BLOCK: usize = 24;
const BLOCK_CRC: Range<usize> = 16..20;
/// Kinds of a section of blocks and of its table.
const BLOCKS: [(u32, u32); 2] = [(18, 19), (20, 21)];

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_le_bytes(four.try_into().unwrap_or_default()))
}

fn long_number(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 8).map_or(0, |eight| u64::from_le_bytes(eight.try_into().unwrap_or_default()) as usize)
}

fn put(bytes: &mut [u8], base: usize, field: Range<usize>, value: &[u8]) {
    if let Some(place) = bytes.get_mut(base + field.start..base + field.end) {
        place.copy_from_slice(value);
    }
}

/// The entries of the section table: where each is, its kind, the bytes of its section that lie in the file.
fn sections(bytes: &[u8]) -> Vec<(usize, u32, Range<usize>)> {
    let count = (number(bytes, 12) as usize).min(64);
    let entries = (0..count).map(|index| HEADER + index * SECTION).filter(|at| at + SECTION <= bytes.len());
    entries
        .filter_map(|at| {
            let (start, length) = (long_number(bytes, at + 8), long_number(bytes, at + 16));
            let end = start.checked_add(length).filter(|end| *end <= bytes.len())?;
            Some((at, number(bytes, at), start..end))
        })
        .collect()
}

/// Makes every checksum and the length right again.
fn seal(bytes: &mut [u8]) {
    let table = sections(bytes);
    let span = |kind: u32| table.iter().find(|entry| entry.1 == kind).map(|entry| entry.2.clone());
    for (data, blocks) in BLOCKS {
        let (Some(data), Some(blocks)) = (span(data), span(blocks)) else { continue };
        for at in blocks.step_by(BLOCK) {
            let start = data.start.saturating_add(long_number(bytes, at));
            let end = start.saturating_add(number(bytes, at + 8) as usize);
            let crc = bytes.get(start..end).map_or(0, crc32fast::hash);
            put(bytes, at, BLOCK_CRC, &crc.to_le_bytes());
        }
    }
    for (at, kind, range) in table {
        let cold = BLOCKS.iter().any(|(data, _)| *data == kind);
        let crc = if cold { 0 } else { bytes.get(range).map_or(0, crc32fast::hash) };
        put(bytes, at, SECTION_CRC, &crc.to_le_bytes());
    }
    let length = bytes.len() as u64;
    put(bytes, 0, FILE_LEN, &length.to_le_bytes());
    put(bytes, 0, HEADER_CRC, &[0; 4]);
    let end = HEADER + (number(bytes, 12) as usize).saturating_mul(SECTION);
    let crc = bytes.get(..end).map_or(0, crc32fast::hash);
    put(bytes, 0, HEADER_CRC, &crc.to_le_bytes());
}

fn seeds() -> Vec<Vec<u8>> {
    let mut made = Vec::new();
    for (question, count) in [("vim", 3), ("VI", 8), ("zürich x", 12), ("lib", 1), ("a:i386", 0), ("nevoim", 40)] {
        for switches in [0_u8, 0b0000_0101, 0b0000_1110] {
            let mut seed = vec![switches, question.len() as u8];
            seed.extend_from_slice(question.as_bytes());
            seed.resize(QUESTION, 0);
            seed.extend_from_slice(&sample(count));
            made.push(seed);
        }
    }
    made
}

fn sample(count: usize) -> Vec<u8> {
    const NAMES: [&str; 8] = ["vim", "neovim", "libfoo1", "Zürich", "a", "python3-vim-tools", "x11-utils", "libbar"];
    let mut builder = Builder::new("amd64");
    let mut ids = Vec::new();
    for at in 0..count {
        let name = format!("{}{}", NAMES[at % NAMES.len()], if at < NAMES.len() { "" } else { "-dev" });
        let arch = if at % 5 == 4 { "i386" } else { "amd64" };
        let version = Version { version: "1.0-1", arch, repository: "bookworm/main" };
        let newer = Version { version: "2.0-1", repository: "bookworm-updates/main", ..version };
        let mut flags = Flags::empty();
        flags.set(Flags::INSTALLED, at % 2 == 0);
        flags.set(Flags::EXPLICIT, at % 4 == 0);
        flags.set(Flags::UPGRADABLE, at % 6 == 0);
        flags.set(Flags::FOREIGN_ARCH, arch != "amd64");
        let provides = if at % 3 == 0 { vec!["editor".to_owned(), "VI".to_owned()] } else { Vec::new() };
        let entry = Entry {
            name: &name,
            arch,
            preferred: at % 7 != 6,
            flags,
            candidate: (at % 5 != 3).then_some(newer),
            installed: (at % 2 == 0).then_some(version),
            download_size: 1000,
            summary: "Vi IMproved – enhanced editor",
            description: "long description of vim",
            provides: &provides,
        };
        let details = PackageDetails {
            versions: vec![VersionDetails { version: "1".into(), record: "Package: x".into(), ..Default::default() }],
            pin: Some(("1".into(), 990)),
        };
        ids.push(builder.add(&entry, &details).expect("a small snapshot"));
    }
    for pair in ids.windows(2) {
        builder.relate(pair[0], "Depends", pair[1]);
        builder.relate(pair[1], "Suggests", ids[0]);
    }
    let meta = Meta { inputs: Inputs { backend: "apt".into(), ..Inputs::default() }, ..Meta::default() };
    let mut bytes = Vec::new();
    let fingerprint = Fingerprint::take([PathBuf::from("/nonexistent/status")]);
    builder.write(meta, &fingerprint, &mut bytes).expect("memory takes it");
    bytes
}

thread_local! {
    static SEARCHER: RefCell<Searcher> = RefCell::default();
}

fuzz_target!(
    init: seeds::write(seeds),
    |data: &[u8]| -> Corpus {
        let Some((question, file)) = data.split_at_checked(QUESTION) else { return Corpus::Reject };
        let mut bytes = file.to_vec();
        seal(&mut bytes);
        let memory = rustix::fs::memfd_create("snapshot", rustix::fs::MemfdFlags::CLOEXEC).expect("memory");
        let mut file = File::from(memory);
        file.write_all(&bytes).expect("memory");
        // Refused ones stay in the corpus: the next change may make them acceptable.
        if let Ok(snapshot) = Snapshot::from_file(file) {
            ask(&snapshot, question);
        }
        Corpus::Keep
    }
);

fn ask(snapshot: &Snapshot, question: &[u8]) {
    let (switches, length) = (question[0], usize::from(question[1]).min(QUESTION - 2));
    let text = String::from_utf8_lossy(&question[2..2 + length]).into_owned();
    let len = snapshot.len() as u32;
    let known = |ids: &[u32]| assert!(ids.iter().all(|id| *id < len), "an unknown package in {ids:?}");

    let query = SearchQuery {
        terms: text.split(' ').map(str::to_owned).collect(),
        mode: [SearchMode::Fuzzy, SearchMode::Substring, SearchMode::Exact, SearchMode::Fuzzy]
            [usize::from(switches & 3)],
        descriptions: switches & 4 != 0,
        installed: switches & 8 != 0,
        limit: u32::from(switches >> 4),
        sources: Vec::new(),
    };
    SEARCHER.with_borrow_mut(|searcher| {
        if let Ok(found) = searcher.search(snapshot, &query) {
            known(&found);
            assert!(query.limit == 0 || found.len() <= query.limit as usize);
            assert_eq!(searcher.search(snapshot, &query).expect("as before"), found);
        }
    });
    let listed = snapshot.list(&ListQuery {
        installed: (switches & 16 != 0).then_some(switches & 32 != 0),
        repository: (switches & 64 != 0).then(|| text.clone()),
        ..ListQuery::default()
    });
    known(&listed);
    for id in listed.into_iter().chain([len, u32::MAX]).chain(snapshot.find(&text)).take(100) {
        for view in [View::Candidate, View::Installed] {
            assert_eq!(snapshot.row(id, view).name, snapshot.name(id));
        }
        let _ = snapshot.details(id).map(|details| details.versions.iter().map(|v| v.fields().count()).sum::<usize>());
        assert!(snapshot.why(id).len() <= len as usize);
    }
    assert!(snapshot.names_with_prefix(&text, 5).len() <= 5);
    assert!(snapshot.nearest_names(&text, 5).len() <= 5);
    known(&snapshot.providers(&text));
    let _ = (snapshot.updates(omg::package::UpdatesState::Possible), snapshot.fingerprint().first_change(), snapshot.is_intact());
}
