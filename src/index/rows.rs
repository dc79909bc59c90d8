//! What rows show of the packages: of each a [`Record`] and its texts, side by side.
//!
//! They are read, not looked up in the mapping: answers show packages from all over the file, and the kernel maps
//! sixteen pages around every one that is touched.

use std::borrow::Cow;
use std::ops::Range;

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use super::Snapshot;
use super::format::{NO_TEXT, Record, Section};
use super::reader::View;
use crate::package::{Flags, PackageRow, RowRef};

/// Texts longer than a record can say are cut.
const LONGEST_TEXT: usize = NO_TEXT as usize - 1;

/// The texts of one package.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts<'a> {
    /// Versions; none where there is no candidate, or the package is not installed.
    pub(super) candidate: Option<&'a str>,
    pub(super) installed: Option<&'a str>,
    pub(super) summary: &'a str,
}

/// Appends a package to the section: `record` with the lengths of `texts`, then these.
pub(super) fn push(section: &mut Vec<u8>, mut record: Record, texts: Texts<'_>) {
    let texts = [texts.candidate, texts.installed, Some(texts.summary)].map(|text| text.map(cut));
    let [candidate, installed, summary] = texts.map(|text| text.map_or(NO_TEXT, |text| text.len() as u16).into());
    (record.candidate_len, record.installed_len, record.summary_len) = (candidate, installed, summary);
    section.extend_from_slice(record.as_bytes());
    texts.into_iter().flatten().for_each(|text| section.extend_from_slice(text.as_bytes()));
}

/// `text` up to the last character that fits.
fn cut(text: &str) -> &str {
    let ends = (0..=text.len().min(LONGEST_TEXT)).rev();
    ends.into_iter().find_map(|end| text.get(..end)).unwrap_or_default()
}

/// The part of one snapshot's section that was read last. Rows that follow each other are read together: the further they
/// have done so, the more of them.
#[derive(Debug, Default)]
pub struct Window {
    bytes: Vec<u8>,
    /// Where in the section they are.
    start: usize,
    /// How many bytes are read at least, from where a row starts.
    ahead: usize,
}

impl Window {
    /// A row that starts within so many bytes behind the last read follows it: more is read with it.
    const NEAR: usize = 512;
    /// More at once is not faster.
    const MOST: usize = 8 << 10;

    fn get(&self, row: &Range<usize>) -> Option<&[u8]> {
        self.bytes.get(row.start.checked_sub(self.start)?..row.end.checked_sub(self.start)?)
    }

    /// Moves it to where `row` of the section starts, and makes place for what is to be read there.
    fn move_to(&mut self, row: &Range<usize>, section: &Range<usize>) {
        let end = self.start + self.bytes.len();
        let follows = !self.bytes.is_empty() && (self.start..=end + Self::NEAR).contains(&row.start);
        self.ahead = if follows { (self.ahead * 2).clamp(Self::NEAR, Self::MOST) } else { 0 };
        self.start = row.start;
        self.bytes.resize(row.len().max(self.ahead).min(section.len() - row.start), 0);
    }
}

/// A package as the section has it.
pub(super) struct Stored<'a> {
    pub(super) record: Record,
    /// The record and the texts.
    bytes: &'a [u8],
}

impl<'a> Stored<'a> {
    /// What does not fit into the bytes there are, or is no UTF-8 together, reads as empty.
    fn texts(&self) -> Texts<'a> {
        // Looked at as a whole: three short texts take longer than one.
        let mut rest = str::from_utf8(self.bytes.get(size_of::<Record>()..).unwrap_or_default()).unwrap_or_default();
        let mut next = |length: u16| {
            let length = (length != NO_TEXT).then(|| usize::from(length))?;
            let (text, after) = rest.split_at_checked(length).unwrap_or_default();
            rest = after;
            Some(text)
        };
        Texts {
            candidate: next(self.record.candidate_len.get()),
            installed: next(self.record.installed_len.get()),
            summary: next(self.record.summary_len.get()).unwrap_or_default(),
        }
    }
}

impl Snapshot {
    /// One package as a row.
    pub fn row(&self, id: u32, view: View) -> PackageRow {
        self.row_in(id, view, &mut Window::default()).into()
    }

    /// The same, read through `window`.
    pub fn row_in<'a>(&'a self, id: u32, view: View, window: &'a mut Window) -> RowRef<'a> {
        let flags = self.flags(id);
        let Some(stored) = self.stored(id, window) else {
            return RowRef { name: Cow::Borrowed(self.bare_name(id)), flags, ..RowRef::default() };
        };
        let (record, texts) = (&stored.record, stored.texts());
        let shows_candidate = shows_candidate(record, view);
        let (version, arch, repository) = if shows_candidate {
            (texts.candidate, record.candidate_arch, record.candidate_repository)
        } else {
            (texts.installed, record.installed_arch, record.installed_repository)
        };
        let row = RowRef {
            name: self.name_of(id, record),
            version: version.unwrap_or_default(),
            arch: self.label(arch.get()),
            repository: self.label(repository.get()),
            summary: texts.summary,
            flags,
            download_size: record.download_size.get(),
        };
        let ahead = self.meta().ahead.as_ref();
        let ahead = ahead.filter(|_| view == View::Possible && flags.contains(Flags::UPGRADABLE));
        match ahead.and_then(|ahead| ahead.upgrade(&row.name)) {
            Some(newer) => RowRef {
                version: &newer.version,
                arch: &newer.arch,
                repository: &newer.repository,
                download_size: newer.size,
                ..row
            },
            None => row,
        }
    }

    /// Name of a package, with its architecture where that is not the machine's own: `libc6`, `libc6:i386`.
    pub fn name(&self, id: u32) -> String {
        match self.stored(id, &mut Window::default()) {
            Some(stored) => self.name_of(id, &stored.record).into_owned(),
            None => self.bare_name(id).to_owned(),
        }
    }

    fn name_of(&self, id: u32, record: &Record) -> Cow<'_, str> {
        let name = self.bare_name(id);
        if self.flags(id).contains(Flags::FOREIGN_ARCH) {
            Cow::Owned(format!("{name}:{}", self.label(record.arch.get())))
        } else {
            Cow::Borrowed(name)
        }
    }

    /// Label of the repository that a row would show. Through the mapping: listings by repository look at all packages.
    pub(super) fn repository(&self, id: u32, view: View) -> &str {
        let bytes = self.row_range(id).and_then(|range| self.section(Section::Rows).get(range));
        let Some((record, _)) = bytes.and_then(|bytes| Record::ref_from_prefix(bytes).ok()) else { return "" };
        let candidate = shows_candidate(record, view);
        self.label(if candidate { record.candidate_repository } else { record.installed_repository }.get())
    }

    /// `window` is one of this snapshot's own.
    pub(super) fn stored<'a>(&self, id: u32, window: &'a mut Window) -> Option<Stored<'a>> {
        let section = self.range(Section::Rows)?;
        let row = self.row_range(id).filter(|row| row.start <= row.end && row.end <= section.len())?;
        if window.get(&row).is_none() {
            window.move_to(&row, section);
            let at = section.start + row.start;
            if self.read_exact_at(&mut window.bytes, at).is_none() {
                // What follows may be what cannot be read.
                window.bytes.resize(row.len(), 0);
                if self.read_exact_at(&mut window.bytes, at).is_none() {
                    window.bytes.clear();
                }
            }
        }
        let bytes = window.get(&row)?;
        let (record, _) = Record::read_from_prefix(bytes).ok()?;
        Some(Stored { record, bytes })
    }

    /// Where in its section the package's row is.
    fn row_range(&self, id: u32) -> Option<Range<usize>> {
        let offsets = self.row_offsets();
        let bound = |at: usize| offsets.get(at).map(|offset| offset.get() as usize);
        Some(bound(id as usize)?..bound(id as usize + 1)?)
    }
}

fn shows_candidate(record: &Record, view: View) -> bool {
    let has = |length: U16| length.get() != NO_TEXT;
    match view {
        View::Candidate | View::Possible => has(record.candidate_len),
        View::Installed => !has(record.installed_len),
    }
}
