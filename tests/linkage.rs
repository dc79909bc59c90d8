//! What the programs ask the dynamic linker for: nothing but the C library where no package library belongs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeSet;

use object::Endianness;
use object::elf::{DT_NEEDED, ET_DYN, ET_EXEC, FileHeader64};
use object::read::elf::{Dyn, FileHeader};

/// The C library with its parts, the dynamic linker itself, and the unwinder that Rust's panics need, which comes with
/// GCC. Names end where the version starts.
const ALLOWED: [&str; 4] = ["libc.so", "libm.so", "libgcc_s.so", "ld-linux"];

/// The `NEEDED` entries of a program; none of a static one.
fn needed(program: &str) -> BTreeSet<String> {
    let bytes = std::fs::read(program).unwrap();
    let data = bytes.as_slice();
    let header = FileHeader64::<Endianness>::parse(data).expect("a 64-bit ELF file");
    let endian = header.endian().unwrap();
    assert!(matches!(header.e_type(endian), ET_DYN | ET_EXEC), "{program} is no program");
    let sections = header.sections(endian, data).unwrap();
    let Some((entries, link)) = sections.dynamic(endian, data).unwrap() else { return BTreeSet::new() };
    let strings = sections.strings(endian, data, link).unwrap();
    entries
        .iter()
        .filter(|entry| entry.tag(endian) == DT_NEEDED)
        .map(|entry| String::from_utf8(entry.string(endian, strings).unwrap().to_vec()).unwrap())
        .collect()
}

#[test]
fn programs_without_a_package_library_need_only_the_c_library() {
    for program in [env!("CARGO_BIN_EXE_omg"), env!("CARGO_BIN_EXE_omgd"), env!("CARGO_BIN_EXE_omg-fast")] {
        let needed = needed(program);
        assert!(needed.iter().any(|name| name.starts_with("libc.so")), "{program}: {needed:?}");
        let other: Vec<_> =
            needed.iter().filter(|name| !ALLOWED.iter().any(|allowed| name.starts_with(allowed))).collect();
        assert!(other.is_empty(), "{program} needs {other:?}");
    }
}

#[test]
#[cfg(feature = "debian")]
fn the_helper_needs_the_package_library_of_debian() {
    let needed = needed(env!("CARGO_BIN_EXE_omg-helper"));
    for library in ["libapt-pkg.so", "libstdc++.so"] {
        assert!(needed.iter().any(|name| name.starts_with(library)), "no {library} among {needed:?}");
    }
}
