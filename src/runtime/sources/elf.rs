//! Where a program looks for its libraries (ELF, System V gABI; `DT_RUNPATH`), made to follow the program.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const PROGRAM_LOAD: u32 = 1;
const PROGRAM_DYNAMIC: u32 = 2;
const STRING_TABLE: u64 = 5;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;

/// A longer file is no program of an interpreter, bytes.
const LONGEST: u64 = 256 << 20;

/// Whether a file is a program or a library for processors of 64 bits, least significant byte first.
///
/// # Errors
/// When it cannot be read.
pub fn is_elf(path: &Path) -> io::Result<bool> {
    use std::io::Read;
    let mut head = [0; 6];
    let read = fs::File::open(path)?.take(6).read(&mut head)?;
    Ok(read == 6 && head == *b"\x7fELF\x02\x01")
}

/// Puts `path` in place of the absolute folders in which `program` looks for libraries. The text is written over the old
/// one: it is never longer, and what follows it stays, as other names may share the end of the old text. Says whether
/// there was something to replace.
///
/// # Errors
/// When the file is no such program, when the new text is longer, and when it cannot be written.
pub fn replace_runpath(program: &Path, path: &str) -> io::Result<bool> {
    let found = fs::metadata(program)?;
    if found.len() > LONGEST {
        return Err(damaged("too long"));
    }
    let mut bytes = fs::read(program)?;
    let Some(at) = runpath(&bytes)? else { return Ok(false) };
    let old = bytes.get(at..).and_then(|rest| rest.split(|byte| *byte == 0).next()).unwrap_or_default();
    if !old.starts_with(b"/") {
        return Ok(false);
    }
    if old.len() < path.len() {
        return Err(damaged("its library folder has a name too short to replace"));
    }
    let new = [path.as_bytes(), b"\0"].concat();
    let end = at.saturating_add(if old.len() == path.len() { path.len() } else { new.len() });
    let place = bytes.get_mut(at..end).ok_or_else(|| damaged("its strings end early"))?;
    place.copy_from_slice(new.get(..place.len()).unwrap_or_default());
    let folder = program.parent().ok_or(ErrorKind::InvalidInput)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, &bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(found.permissions().mode() & 0o777))?;
    file.persist(program)?;
    Ok(true)
}

/// Offset in the file of the text of `DT_RUNPATH`, or of `DT_RPATH`.
fn runpath(bytes: &[u8]) -> io::Result<Option<usize>> {
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return Err(damaged("it is no program for processors of 64 bits"));
    }
    let table = long(bytes, 32)?;
    let size = u64::from(short(bytes, 54)?);
    let count = u64::from(short(bytes, 56)?);
    let headers = (0..count).map(|number| table.checked_add(number.checked_mul(size)?));
    let headers: Vec<u64> = headers.collect::<Option<_>>().ok_or_else(|| damaged("its headers are out of it"))?;

    let mut dynamic = None;
    for header in &headers {
        if word(bytes, *header)? == PROGRAM_DYNAMIC {
            dynamic = Some((long(bytes, header + 8)?, long(bytes, header + 32)?));
        }
    }
    let Some((start, length)) = dynamic else { return Ok(None) };
    let (mut strings, mut path) = (None, None);
    for entry in 0..length / 16 {
        let at = start.checked_add(entry * 16).ok_or_else(|| damaged("its dynamic section is out of it"))?;
        match long(bytes, at)? {
            0 => break,
            STRING_TABLE => strings = Some(long(bytes, at + 8)?),
            RUNPATH => path = Some(long(bytes, at + 8)?),
            RPATH if path.is_none() => path = Some(long(bytes, at + 8)?),
            _ => {}
        }
    }
    let (Some(strings), Some(path)) = (strings, path) else { return Ok(None) };
    // The string table is given by its address in memory.
    for header in &headers {
        if word(bytes, *header)? != PROGRAM_LOAD {
            continue;
        }
        let (offset, address, length) =
            (long(bytes, header + 8)?, long(bytes, header + 16)?, long(bytes, header + 32)?);
        if let Some(inside) = strings.checked_sub(address).filter(|inside| *inside < length) {
            let at = offset.checked_add(inside).and_then(|at| at.checked_add(path));
            let at = at.and_then(|at| usize::try_from(at).ok()).filter(|at| *at < bytes.len());
            return at.map(Some).ok_or_else(|| damaged("its strings are out of it"));
        }
    }
    Err(damaged("its strings are nowhere"))
}

fn field<const LENGTH: usize>(bytes: &[u8], at: u64) -> io::Result<[u8; LENGTH]> {
    let start = usize::try_from(at).ok();
    let field = start.and_then(|start| bytes.get(start..start.checked_add(LENGTH)?));
    field.and_then(|field| field.try_into().ok()).ok_or_else(|| damaged("it ends early"))
}

fn short(bytes: &[u8], at: u64) -> io::Result<u16> {
    field(bytes, at).map(u16::from_le_bytes)
}

fn word(bytes: &[u8], at: u64) -> io::Result<u32> {
    field(bytes, at).map(u32::from_le_bytes)
}

fn long(bytes: &[u8], at: u64) -> io::Result<u64> {
    field(bytes, at).map(u64::from_le_bytes)
}

fn damaged(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the program is damaged: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of 64 bits with one loaded segment, a dynamic section and a text of strings.
    fn program(runpath: &str) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 2 * 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&2u16.to_le_bytes());
        let dynamic = bytes.len() as u64;
        let strings = dynamic + 3 * 16;
        for (tag, value) in [(STRING_TABLE, 0x1000 + strings), (RUNPATH, 1), (0, 0)] {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.push(0);
        bytes.extend(runpath.as_bytes());
        bytes.extend(b"\0libruby.so.3.3\0");
        let whole = bytes.len() as u64;
        let mut header = |number: usize, kind: u32, offset: u64, length: u64| {
            let at = 64 + number * 56;
            bytes[at..at + 4].copy_from_slice(&kind.to_le_bytes());
            bytes[at + 8..at + 16].copy_from_slice(&offset.to_le_bytes());
            bytes[at + 16..at + 24].copy_from_slice(&(0x1000 + offset).to_le_bytes());
            bytes[at + 32..at + 40].copy_from_slice(&length.to_le_bytes());
        };
        header(0, PROGRAM_LOAD, 0, whole);
        header(1, PROGRAM_DYNAMIC, dynamic, 48);
        bytes
    }

    fn replaced(bytes: &[u8]) -> (io::Result<bool>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ruby");
        fs::write(&path, bytes).unwrap();
        let result = replace_runpath(&path, "$ORIGIN/../lib");
        (result, fs::read(&path).unwrap())
    }

    #[test]
    fn an_absolute_folder_is_replaced_in_place_and_nothing_else_changes() {
        let old = program("/opt/hostedtoolcache/Ruby/3.3.5/x64/lib");
        let (result, new) = replaced(&old);
        assert!(result.unwrap());
        let at = runpath(&new).unwrap().unwrap();
        assert!(new[at..].starts_with(b"$ORIGIN/../lib\0"));
        assert_eq!(new.len(), old.len());
        assert_eq!(new[at + 15..], old[at + 15..]);
        assert_eq!(new[..at], old[..at]);
    }

    #[test]
    fn what_follows_already_or_is_too_short_stays() {
        let relative = program("$ORIGIN/../elsewhere");
        let (result, new) = replaced(&relative);
        assert!(!result.unwrap());
        assert_eq!(new, relative);
        let (result, _) = replaced(&program("/lib"));
        assert!(result.unwrap_err().to_string().ends_with("its library folder has a name too short to replace"));
        let (result, new) = replaced(&program("/usr/local/lib"));
        assert!(result.unwrap());
        assert!(new.ends_with(b"\0$ORIGIN/../lib\0libruby.so.3.3\0"));
    }

    #[test]
    fn damaged_programs_are_errors() {
        let whole = program("/opt/hostedtoolcache/Ruby/3.3.5/x64/lib");
        for length in 0..whole.len() {
            let _ = runpath(&whole[..length]);
        }
        assert!(runpath(b"#!/bin/sh\n").is_err());
        let mut far = whole;
        far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(runpath(&far).is_err());
    }

    #[test]
    fn a_real_program_has_none_or_a_sound_one() {
        let this = std::env::current_exe().unwrap();
        assert!(is_elf(&this).unwrap());
        runpath(&fs::read(this).unwrap()).unwrap();
    }
}
