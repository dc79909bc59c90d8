//! Zip archives (APPNOTE.TXT 6.3), by their central directory: stored and deflated entries.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::extra_fields::ExtraField;
use zip::result::ZipError;

use super::budget::Budget;
use super::tree::Modified;
use super::{Layout, UnpackError, paths};

/// Read at once, bytes: entries are mostly small, and each one is sought.
const PACKED: usize = 64 << 10;
const BLOCK: usize = 256 << 10;

// The kind of a file in the upper half of an entry's attributes, as in `st_mode`.
const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

fn damaged(name: &[u8], error: &ZipError) -> UnpackError {
    match error {
        ZipError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            UnpackError::Damaged { place: paths::shown(name), reason: "it ends too early".to_owned() }
        }
        error => UnpackError::Damaged { place: paths::shown(name), reason: error.to_string() },
    }
}

pub(super) fn entries(file: &mut File, layout: &mut Layout<'_>) -> Result<(), UnpackError> {
    let length = file.seek(SeekFrom::End(0)).map_err(UnpackError::Read)?;
    file.rewind().map_err(UnpackError::Read)?;
    let mut archive = ZipArchive::new(BufReader::with_capacity(PACKED, file))
        .map_err(|error| UnpackError::Damaged { place: "its list of entries".to_owned(), reason: error.to_string() })?;
    // Programs differ in which one they take.
    if archive.has_duplicate_names() {
        return Err(UnpackError::Damaged {
            place: "its list of entries".to_owned(),
            reason: "a name comes twice".to_owned(),
        });
    }
    let mut block = vec![0; BLOCK];
    let mut sum = 0u64;
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index).map_err(|error| damaged(b"", &error))?;
        let name = entry.name_raw();
        if entry.encrypted() {
            return Err(paths::refused(name, "is encrypted"));
        }
        sum = sum.saturating_add(entry.size());
        layout.budget.entry(entry.size())?;
        Budget::ratio(length, sum)?;
    }
    for index in 0..archive.len() {
        layout.budget.go_on()?;
        entry(&mut archive, index, layout, &mut block)?;
    }
    Ok(())
}

fn entry(
    archive: &mut ZipArchive<BufReader<&mut File>>,
    index: usize,
    layout: &mut Layout<'_>,
    block: &mut [u8],
) -> Result<(), UnpackError> {
    let mut entry = archive.by_index(index).map_err(|error| damaged(b"", &error))?;
    let name = entry.name_raw().to_owned();
    if name.contains(&b'\\') {
        return Err(paths::refused(&name, "has a backslash in its name"));
    }
    let (mode, size) = (entry.unix_mode().unwrap_or(0), entry.size());
    let placed = layout.place(&name)?;
    let modified = modified(&entry);
    match mode & KIND {
        0 | FILE | FOLDER if name.ends_with(b"/") => match placed {
            Some(path) if !path.as_os_str().is_empty() => layout.tree.folder(&path, modified),
            _ => Ok(()),
        },
        0 | FILE => {
            let Some(path) = placed else { return Ok(()) };
            let mut file = layout.tree.file(&path, mode & 0o111 != 0)?;
            let mut left = size;
            loop {
                layout.budget.go_on()?;
                let count = entry.read(block).map_err(|error| damaged(&name, &ZipError::Io(error)))?;
                if count == 0 {
                    break;
                }
                left = left.checked_sub(count as u64).ok_or_else(|| wrong_size(&name))?;
                file.write(block.get(..count).unwrap_or_default())?;
            }
            if left > 0 {
                return Err(wrong_size(&name));
            }
            file.close(modified, &mut layout.tree)
        }
        LINK => {
            let Some(path) = placed else { return Ok(()) };
            let most = layout.budget.limits().path_bytes as u64 + 1;
            let mut target = Vec::new();
            (&mut entry).take(most).read_to_end(&mut target).map_err(|error| damaged(&name, &ZipError::Io(error)))?;
            let winds = paths::target(&path, &target, layout.budget.limits())?;
            layout.tree.link(&path, &target, winds, modified)
        }
        _ => Err(paths::refused(&name, "is neither a file nor a folder nor a link")),
    }
}

fn wrong_size(name: &[u8]) -> UnpackError {
    UnpackError::Damaged { place: paths::shown(name), reason: "it has not the size it tells".to_owned() }
}

/// In UTC when the entry has the extra field that says so, otherwise the local time of its maker taken as UTC.
fn modified<R: Read>(entry: &zip::read::ZipFile<'_, R>) -> Modified {
    let exact = entry.extra_data_fields().find_map(|field| match field {
        ExtraField::ExtendedTimestamp(times) => times.mod_time(),
        _ => None,
    });
    let seconds = exact.map(i64::from).or_else(|| {
        let time = entry.last_modified()?;
        let days = days(i64::from(time.year()), i64::from(time.month()), i64::from(time.day()));
        let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
        Some(days * 86_400 + seconds)
    });
    Modified { seconds: seconds.unwrap_or(0).max(0), nanoseconds: 0 }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar.
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
        - 719_469
}
