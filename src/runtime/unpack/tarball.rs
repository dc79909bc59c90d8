//! Tar archives: ustar and old headers, GNU's long names, and pax records (POSIX.1-2024, pax; the manual of GNU tar,
//! "Basic Tar Format").

use std::path::Path;

use tar::{EntryType, Header};

use super::blocks::Blocks;
use super::tree::Modified;
use super::{Layout, UnpackError, paths};

const RECORD: usize = 512;

/// The most bytes of the records that describe one entry.
const DESCRIPTION: u64 = 1 << 20;

/// What the records before an entry say about it.
#[derive(Debug, Default)]
struct Described {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<Modified>,
}

pub(super) fn entries(blocks: &mut Blocks, layout: &mut Layout<'_>) -> Result<(), UnpackError> {
    let mut described = Described::default();
    let mut record = [0u8; RECORD];
    loop {
        if !blocks.read(&mut record)? {
            return Err(blocks.damaged("it ends without an end mark"));
        }
        if record.iter().all(|byte| *byte == 0) {
            return drain(blocks, layout);
        }
        let header = Header::from_byte_slice(&record);
        if header.cksum().ok() != Some(sum(&record)) {
            return Err(blocks.damaged("the checksum of a header is wrong"));
        }
        let kind = header.entry_type();
        let size = header.entry_size().map_err(|_| blocks.damaged("the size of an entry is no number"))?;
        match kind {
            EntryType::XHeader => {
                layout.budget.entry(size)?;
                let records = description(blocks, size)?;
                read_records(blocks, &records, &mut described)?;
            }
            EntryType::XGlobalHeader => {
                layout.budget.entry(size)?;
                let records = description(blocks, size)?;
                let mut all = Described::default();
                read_records(blocks, &records, &mut all)?;
                if all.path.is_some() || all.link.is_some() || all.size.is_some() {
                    return Err(blocks.damaged("it gives all entries one name or size"));
                }
            }
            EntryType::GNULongName | EntryType::GNULongLink => {
                layout.budget.entry(size)?;
                let mut name = description(blocks, size)?;
                while name.last() == Some(&0) {
                    name.pop();
                }
                *(if kind == EntryType::GNULongName { &mut described.path } else { &mut described.link }) = Some(name);
            }
            _ => entry(blocks, layout, header, size, std::mem::take(&mut described))?,
        }
    }
}

/// The sum of a header's bytes, those of the sum itself taken as spaces.
fn sum(record: &[u8; RECORD]) -> u32 {
    let bytes = record.iter().enumerate();
    bytes.map(|(at, byte)| if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(*byte) }).sum()
}

/// Reads on to the end of the compressed stream, whose checksum stands there.
fn drain(blocks: &mut Blocks, layout: &mut Layout<'_>) -> Result<(), UnpackError> {
    loop {
        layout.budget.go_on()?;
        let count = blocks.fill()?.len();
        if count == 0 {
            return Ok(());
        }
        layout.budget.more(count as u64)?;
        blocks.consume(count);
    }
}

/// The contents of an entry that describes the next one.
fn description(blocks: &mut Blocks, size: u64) -> Result<Vec<u8>, UnpackError> {
    let length = usize::try_from(size).ok().filter(|_| size <= DESCRIPTION);
    let Some(length) = length else { return Err(blocks.damaged("the description of an entry is too long")) };
    let mut contents = vec![0; length];
    if !blocks.read(&mut contents)? {
        return Err(blocks.damaged("it ends too early"));
    }
    pad(blocks, size)?;
    Ok(contents)
}

/// What follows `size` bytes up to the next record.
fn pad(blocks: &mut Blocks, size: u64) -> Result<(), UnpackError> {
    let mut padding = [0u8; RECORD];
    let length = (RECORD - (size % RECORD as u64) as usize) % RECORD;
    if let Some(padding) = padding.get_mut(..length)
        && !blocks.read(padding)?
    {
        return Err(blocks.damaged("it ends too early"));
    }
    Ok(())
}

/// Pax records: `length key=value\n`, the length that of the whole record.
fn read_records(blocks: &Blocks, mut records: &[u8], into: &mut Described) -> Result<(), UnpackError> {
    let damaged = || blocks.damaged("the description of an entry is not readable");
    while !records.is_empty() {
        let space = records.iter().take(20).position(|byte| *byte == b' ').ok_or_else(damaged)?;
        let length = records.get(..space).and_then(|digits| std::str::from_utf8(digits).ok());
        let length: usize = length.and_then(|digits| digits.parse().ok()).ok_or_else(damaged)?;
        let (record, rest) = records.split_at_checked(length).ok_or_else(damaged)?;
        records = rest;
        let record = record.get(space + 1..).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(damaged)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(damaged)?;
        let (key, value) = record.split_at_checked(equals).ok_or_else(damaged)?;
        let value = value.get(1..).unwrap_or_default();
        match key {
            b"path" => into.path = Some(value.to_owned()),
            b"linkpath" => into.link = Some(value.to_owned()),
            b"size" => into.size = Some(number(value).ok_or_else(damaged)?),
            b"mtime" => into.modified = time(value),
            _ if key.starts_with(b"GNU.sparse.") => return Err(blocks.damaged("it holds files with holes")),
            _ => {}
        }
    }
    Ok(())
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Seconds with a fraction; what is before 1970 becomes 1970.
fn time(text: &[u8]) -> Option<Modified> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if seconds < 0 || text.starts_with('-') {
        return Some(Modified::default());
    }
    let nanoseconds = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds =
        nanoseconds.filter(u8::is_ascii_digit).fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some(Modified { seconds, nanoseconds })
}

fn entry(
    blocks: &mut Blocks,
    layout: &mut Layout<'_>,
    header: &Header,
    size: u64,
    described: Described,
) -> Result<(), UnpackError> {
    let name = described.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let kind = match header.entry_type() {
        // Before ustar a folder was a file whose name ends so.
        EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => EntryType::Directory,
        EntryType::Continuous => EntryType::Regular,
        kind => kind,
    };
    // Of the others the size says nothing about what follows.
    let size = if kind == EntryType::Regular { described.size.unwrap_or(size) } else { 0 };
    let modified = described.modified.unwrap_or_else(|| {
        let seconds = header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok());
        Modified { seconds: seconds.unwrap_or(0), nanoseconds: 0 }
    });
    layout.budget.entry(size)?;
    let placed = layout.place(&name)?;
    let link = || described.link.or_else(|| header.link_name_bytes().map(|link| link.into_owned())).unwrap_or_default();
    match kind {
        EntryType::Directory => match placed {
            Some(path) if !path.as_os_str().is_empty() => layout.tree.folder(&path, modified),
            _ => Ok(()),
        },
        EntryType::Regular => {
            let executable = header.mode().is_ok_and(|mode| mode & 0o111 != 0);
            contents(blocks, layout, placed.as_deref(), size, executable, modified)
        }
        EntryType::Symlink => {
            let Some(path) = placed else { return Ok(()) };
            let target = link();
            let winds = paths::target(&path, &target, layout.budget.limits())?;
            layout.tree.link(&path, &target, winds, modified)
        }
        EntryType::Link => {
            let original = layout.place(&link())?;
            let Some(path) = placed else { return Ok(()) };
            let Some(original) = original else {
                return Err(paths::refused(&name, "links to a file that is left out"));
            };
            layout.tree.hard_link(&path, &original)
        }
        EntryType::Char | EntryType::Block => Err(paths::refused(&name, "is a device")),
        EntryType::Fifo => Err(paths::refused(&name, "is a pipe")),
        EntryType::GNUSparse => Err(paths::refused(&name, "is a file with holes")),
        _ => Err(paths::refused(&name, "is of an unknown kind")),
    }
}

/// A file's contents, or what is passed over of it.
fn contents(
    blocks: &mut Blocks,
    layout: &mut Layout<'_>,
    path: Option<&Path>,
    size: u64,
    executable: bool,
    modified: Modified,
) -> Result<(), UnpackError> {
    let mut file = path.map(|path| layout.tree.file(path, executable)).transpose()?;
    let mut left = size;
    while left > 0 {
        layout.budget.go_on()?;
        let here = blocks.fill()?;
        let count = here.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(block) = here.get(..count).filter(|block| !block.is_empty()) else {
            return Err(blocks.damaged("it ends within a file"));
        };
        if let Some(file) = &mut file {
            file.write(block)?;
        }
        blocks.consume(count);
        left = left.saturating_sub(count as u64);
    }
    if let Some(file) = file {
        file.close(modified, &mut layout.tree)?;
    }
    pad(blocks, size)
}
