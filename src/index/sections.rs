//! Finds the sections of a snapshot file and checks what has a checksum.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use zerocopy::FromBytes;

use super::format::{COLD, HOT, Header, MAGIC, Section, SectionEntry, VERSION};
use super::reader::OpenError;

/// Where the hot and the cold sections are in the file, in the order of [`HOT`] and [`COLD`].
pub(super) type Sections = ([Range<usize>; HOT.len()], [Range<u64>; COLD.len()]);

/// Reads the section table and checks everything that has a checksum. Reads, not maps: checking through the mapping
/// would leave every page of it resident.
pub(super) fn read_sections(file: &File, file_len: u64) -> Result<Sections, OpenError> {
    let mut head = [0; size_of::<Header>()];
    file.read_exact_at(&mut head, 0).map_err(cut_short)?;
    let mut header = Header::read_from_bytes(&head).map_err(|_| OpenError::Foreign)?;
    if header.magic != MAGIC {
        return Err(OpenError::Foreign);
    }
    if header.version.get() != VERSION {
        return Err(OpenError::Version(header.version.get()));
    }
    if header.file_len.get() != file_len {
        return Err(OpenError::Damaged("wrong length"));
    }
    let count = header.sections.get() as usize;
    if count != HOT.len() + COLD.len() {
        return Err(OpenError::Damaged("wrong number of sections"));
    }
    let mut table = vec![0; count * size_of::<SectionEntry>()];
    file.read_exact_at(&mut table, head.len() as u64).map_err(cut_short)?;
    let expected = header.crc.get();
    header.crc = 0.into();
    let mut crc = crc32fast::Hasher::new();
    crc.update(zerocopy::IntoBytes::as_bytes(&header));
    crc.update(&table);
    if crc.finalize() != expected {
        return Err(OpenError::Damaged("header checksum"));
    }
    let entries = <[SectionEntry]>::ref_from_bytes(&table).map_err(|_| OpenError::Damaged("section table"))?;
    let find = |section: Section| {
        let entry = entries
            .iter()
            .find(|entry| entry.kind.get() == section as u32)
            .ok_or(OpenError::Damaged("a section is missing"))?;
        let start = entry.offset.get();
        let end = start.checked_add(entry.len.get()).filter(|end| *end <= file_len);
        end.map(|end| (start..end, entry.crc.get())).ok_or(OpenError::Damaged("a section is out of range"))
    };
    let mut hot = [const { 0..0 }; HOT.len()];
    let mut buffer = vec![0; 64 << 10];
    for (range, section) in hot.iter_mut().zip(HOT) {
        let (found, expected) = find(section)?;
        if checksum(file, &found, &mut buffer).map_err(cut_short)? != expected {
            return Err(OpenError::Damaged("section checksum"));
        }
        *range = found.start as usize..found.end as usize;
    }
    let mut cold = [const { 0..0 }; COLD.len()];
    for (range, section) in cold.iter_mut().zip(COLD) {
        *range = find(section)?.0;
    }
    Ok((hot, cold))
}

fn checksum(file: &File, range: &Range<u64>, buffer: &mut [u8]) -> io::Result<u32> {
    let mut crc = crc32fast::Hasher::new();
    let mut at = range.start;
    while at < range.end {
        let wanted = (range.end - at).min(buffer.len() as u64) as usize;
        let Some(part) = buffer.get_mut(..wanted) else { break };
        file.read_exact_at(part, at)?;
        crc.update(part);
        at += wanted as u64;
    }
    Ok(crc.finalize())
}

fn cut_short(error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => OpenError::Damaged("cut short"),
        _ => OpenError::Io(error),
    }
}
