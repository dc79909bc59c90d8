//! What rows show of the packages: of each a [`Record`] and its texts, side by side.
//!
//! They are read, not looked up in the mapping: answers show packages from all over the file, and the kernel maps
//! sixteen pages around every one that is touched.

use std::ops::Range;

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use super::Snapshot;
use super::format::{NO_TEXT, Record, Section};
use super::reader::View;
use crate::package::{Flags, PackageRow};

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

/// A package as the section has it.
pub(super) struct Stored {
    pub(super) record: Record,
    /// The record and the texts.
    bytes: Vec<u8>,
}

impl Stored {
    /// What does not fit into the bytes there are reads as empty.
    fn texts(&self) -> Texts<'_> {
        let mut rest = self.bytes.get(size_of::<Record>()..).unwrap_or_default();
        let mut next = |length: u16| {
            let length = (length != NO_TEXT).then(|| usize::from(length))?;
            let (text, after) = rest.split_at_checked(length).unwrap_or_default();
            rest = after;
            Some(str::from_utf8(text).unwrap_or_default())
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
        let flags = self.flags(id);
        let Some(stored) = self.stored(id) else {
            return PackageRow { name: self.bare_name(id).to_owned(), flags, ..PackageRow::default() };
        };
        let (record, texts) = (&stored.record, stored.texts());
        let shows_candidate = shows_candidate(record, view);
        let (version, arch, repository) = if shows_candidate {
            (texts.candidate, record.candidate_arch, record.candidate_repository)
        } else {
            (texts.installed, record.installed_arch, record.installed_repository)
        };
        let row = PackageRow {
            name: self.name_of(id, record),
            version: version.unwrap_or_default().to_owned(),
            arch: self.label(arch.get()).to_owned(),
            repository: self.label(repository.get()).to_owned(),
            summary: texts.summary.to_owned(),
            flags,
            download_size: record.download_size.get(),
        };
        let ahead = self.meta().ahead.as_ref();
        let ahead = ahead.filter(|_| view == View::Possible && flags.contains(Flags::UPGRADABLE));
        match ahead.and_then(|ahead| ahead.upgrade(&row.name)) {
            Some(newer) => PackageRow {
                version: newer.version.clone(),
                arch: newer.arch.clone(),
                repository: newer.repository.clone(),
                download_size: newer.size,
                ..row
            },
            None => row,
        }
    }

    /// Name of a package, with its architecture where that is not the machine's own: `libc6`, `libc6:i386`.
    pub fn name(&self, id: u32) -> String {
        match self.stored(id) {
            Some(stored) => self.name_of(id, &stored.record),
            None => self.bare_name(id).to_owned(),
        }
    }

    fn name_of(&self, id: u32, record: &Record) -> String {
        let name = self.bare_name(id);
        if self.flags(id).contains(Flags::FOREIGN_ARCH) {
            format!("{name}:{}", self.label(record.arch.get()))
        } else {
            name.to_owned()
        }
    }

    /// Label of the repository that a row would show. Through the mapping: listings by repository look at all packages.
    pub(super) fn repository(&self, id: u32, view: View) -> &str {
        let bytes = self.row_range(id).and_then(|range| self.section(Section::Rows).get(range));
        let Some((record, _)) = bytes.and_then(|bytes| Record::ref_from_prefix(bytes).ok()) else { return "" };
        let candidate = shows_candidate(record, view);
        self.label(if candidate { record.candidate_repository } else { record.installed_repository }.get())
    }

    pub(super) fn stored(&self, id: u32) -> Option<Stored> {
        let section = self.range(Section::Rows)?;
        let row = self.row_range(id).filter(|row| row.end <= section.len())?;
        let mut bytes = vec![0; row.len()];
        self.read_exact_at(&mut bytes, section.start + row.start)?;
        let (record, _) = Record::read_from_prefix(&bytes).ok()?;
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
