//! The status file: no bytes may bring a reader down, and what it accepts holds only what a terminal may see.
#![no_main]

mod seeds;

use libfuzzer_sys::fuzz_target;
use omg::status::{Runtime, Status, StatusFlags};

/// Offsets of the length and of the checksum, as the layout in `src/status.rs` has them.
const LENGTH: std::ops::Range<usize> = 12..16;
const CRC: std::ops::Range<usize> = 16..20;

fn seeds() -> Vec<Vec<u8>> {
    let runtime = |name: &str, version: &str| Runtime::new(name, version).expect("a valid runtime");
    let empty = Status::default();
    let full = Status {
        flags: StatusFlags::RESTART_REQUIRED.with(StatusFlags::STORE_FAILED),
        time: 1_800_000_000,
        generation: 7,
        max_age: 86_400,
        installed: Some(2000),
        updates: Some(0),
        runtimes: vec![runtime("node", "20.10.0"), runtime("python", "3.12.1+local~1")],
        ..Status::default()
    };
    let most = Status { runtimes: vec![runtime("java", "21"); omg::status::MAX_RUNTIMES], ..full.clone() };
    [empty, full, most].iter().map(Status::encode).collect()
}

fuzz_target!(
    init: seeds::write(seeds),
    |data: &[u8]| {
        check(data);
        // Past the checksum, where the fields are.
        let mut bytes = data.to_vec();
        let length = bytes.len() as u32;
        if let Some(field) = bytes.get_mut(LENGTH) {
            field.copy_from_slice(&length.to_le_bytes());
        }
        if let Some(field) = bytes.get_mut(CRC) {
            field.fill(0);
            let crc = crc32fast::hash(&bytes);
            bytes[CRC].copy_from_slice(&crc.to_le_bytes());
        }
        check(&bytes);
    }
);

fn check(bytes: &[u8]) {
    let Ok(status) = Status::decode(bytes) else { return };
    for runtime in &status.runtimes {
        let shown = [runtime.name(), runtime.version()];
        assert!(shown.iter().all(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())));
    }
    for now in [0, status.time, u64::MAX] {
        let _ = (status.age(now), status.is_stale(now, u64::from(status.max_age)));
    }
    let again = Status::decode(&status.encode()).expect("what was accepted can be written and read again");
    assert_eq!(again, status);
}
