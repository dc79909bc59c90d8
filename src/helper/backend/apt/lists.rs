//! The index files themselves: package lists, translations and dpkg's status, each read once, from start to end.
//!
//! apt's own record lookup seeks, and in a compressed list a step back decompresses from the start; so the text of the
//! records is taken from here, and everything that is computed from them from apt.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::stanza::{self, Stanza};

/// apt's own decompressor: it knows every format that apt writes lists in.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// Extensions of the formats in which apt keeps lists compressed.
const COMPRESSED: [&str; 6] = ["lz4", "gz", "xz", "zst", "bz2", "lzma"];

/// Bytes of text that are read from one list, above what any archive has; positions in the text are `u32`.
const MAX_TEXT: u64 = 2 << 30;

/// One index file in memory.
#[derive(Debug)]
pub struct ListFile {
    pub path: PathBuf,
    text: String,
    stanzas: Vec<Stanza>,
}

impl ListFile {
    /// Reads and splits a file.
    ///
    /// # Errors
    /// When it cannot be read or decompressed.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = match path.extension().and_then(|extension| extension.to_str()) {
            Some(extension) if COMPRESSED.contains(&extension) => decompress(path)?,
            _ => limited(File::open(path)?, fs::metadata(path)?.len())?,
        };
        // A byte that is no UTF-8 becomes U+FFFD; names and versions that have one are left out further on.
        let text = String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into());
        let stanzas = stanza::split(&text);
        Ok(Self { path: path.to_owned(), text, stanzas })
    }

    pub fn text(&self, span: stanza::Span) -> &str {
        span.of(&self.text)
    }

    /// The language of a list of translations, taken from its name as apt does.
    pub fn language(&self) -> Option<String> {
        let name = self.path.file_name()?.to_str()?.replace("%5f", "_");
        let (_, language) = name.rsplit_once("Translation-")?;
        let (language, extension) = language.split_once('.').unwrap_or((language, ""));
        (extension.is_empty() || COMPRESSED.contains(&extension)).then(|| language.to_owned())
    }
}

fn limited(from: impl Read, expected: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(expected.min(MAX_TEXT)).unwrap_or(0) + 1);
    from.take(MAX_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_TEXT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("holds more than {MAX_TEXT} bytes")));
    }
    Ok(bytes)
}

fn decompress(path: &Path) -> io::Result<Vec<u8>> {
    let mut child = Command::new(APT_HELPER)
        .arg("cat-file")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot run {APT_HELPER}: {error}")))?;
    // Lists compress to a quarter or less.
    let expected = fs::metadata(path)?.len().saturating_mul(4);
    let read = child.stdout.take().map_or_else(|| Ok(Vec::new()), |stdout| limited(stdout, expected));
    if read.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    let bytes = read?;
    if !status.success() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("cannot be decompressed ({status})")));
    }
    Ok(bytes)
}

/// Whether apt may read the packages of this file of its folder of lists.
pub fn is_package_list(name: &str) -> bool {
    stem(name).ends_with("Packages")
}

/// Whether this file of apt's folder of lists may hold translations.
pub fn is_translation(name: &str) -> bool {
    stem(name).contains("Translation-")
}

fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if COMPRESSED.contains(&extension) => stem,
        _ => name,
    }
}

/// Where a record is: number of the file, number of the stanza in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: u32,
    stanza: u32,
}

/// All index files that were read, with the records of the packages in the order of their names.
#[derive(Debug)]
pub struct Lists {
    files: Vec<ListFile>,
    /// By name, then by place.
    places: Vec<Place>,
}

impl Lists {
    pub fn new(files: Vec<ListFile>) -> Self {
        let mut named: Vec<(&str, Place)> = Vec::new();
        for (number, file) in files.iter().enumerate() {
            if file.language().is_some() {
                continue;
            }
            for (position, stanza) in file.stanzas.iter().enumerate() {
                let place = Place { file: number as u32, stanza: position as u32 };
                named.push((file.text(stanza.name), place));
            }
        }
        named.sort_unstable();
        let places = named.into_iter().map(|(_, place)| place).collect();
        Self { files, places }
    }

    /// Gives the files back, to be read together with more of them.
    pub fn into_files(self) -> Vec<ListFile> {
        self.files
    }

    /// The number of the file at `path`.
    pub fn file(&self, path: &Path) -> Option<u32> {
        self.files.iter().position(|file| file.path == path).map(|number| number as u32)
    }

    fn stanza(&self, place: Place) -> Option<(&ListFile, &Stanza)> {
        let file = self.files.get(place.file as usize)?;
        Some((file, file.stanzas.get(place.stanza as usize)?))
    }

    /// The records of each name, as ranges for [`Lists::records`].
    pub fn groups(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let name = self.name(start)?;
            let length = (start + 1..).take_while(|at| self.name(*at) == Some(name)).count() + 1;
            let group = start..start + length;
            start = group.end;
            Some((name, group))
        })
    }

    fn name(&self, position: usize) -> Option<&str> {
        let (file, stanza) = self.stanza(*self.places.get(position)?)?;
        Some(file.text(stanza.name))
    }

    /// The records of a group.
    pub fn records(&self, group: Range<usize>) -> impl Iterator<Item = RawRecord<'_>> {
        let places = self.places.get(group).unwrap_or_default();
        places.iter().filter_map(|place| {
            let (file, stanza) = self.stanza(*place)?;
            Some(RawRecord { place: *place, file, stanza })
        })
    }

    /// The translations in the files of these numbers, by language in the given order of preference.
    pub fn translations(&self, files: &[u32], languages: &[String]) -> Translations<'_> {
        let mut translations = Translations::default();
        for language in languages {
            let mut texts = HashMap::new();
            for file in files.iter().filter_map(|number| self.files.get(*number as usize)) {
                if file.language().as_ref() != Some(language) {
                    continue;
                }
                for stanza in &file.stanzas {
                    let key = (file.text(stanza.name), file.text(stanza.description_md5));
                    texts.entry(key).or_insert(file.text(stanza.description));
                }
            }
            translations.languages.push((language.clone(), texts));
        }
        translations
    }
}

/// One record of a package.
#[derive(Debug, Clone, Copy)]
pub struct RawRecord<'a> {
    pub place: Place,
    file: &'a ListFile,
    stanza: &'a Stanza,
}

impl<'a> RawRecord<'a> {
    pub fn version(&self) -> &'a str {
        self.file.text(self.stanza.version)
    }

    /// Empty where the record has none.
    pub fn arch(&self) -> &'a str {
        self.file.text(self.stanza.arch)
    }

    pub fn provides(&self) -> &'a str {
        self.file.text(self.stanza.provides)
    }

    /// How many percent of all machines are offered this version.
    pub fn phased_percentage(&self) -> u32 {
        self.file.text(self.stanza.phased).parse().ok().filter(|percentage| *percentage <= 100).unwrap_or(100)
    }

    /// The description as the record has it.
    pub fn description(&self) -> &'a str {
        self.file.text(self.stanza.description)
    }

    /// The digest that the record gives for its description, by which descriptions are found; empty where it gives
    /// none.
    pub fn description_md5(&self) -> &'a str {
        self.file.text(self.stanza.description_md5)
    }

    /// The record without its descriptions, and with this digest of the description if it has none of its own.
    pub fn fields(&self, implied_md5: Option<&str>) -> String {
        stanza::without_descriptions(&self.file.text, self.stanza, implied_md5)
    }

    /// Whether its name or version can be handed to apt and compared with what comes back.
    pub fn is_sound(&self) -> bool {
        let texts = [self.stanza.name, self.stanza.version, self.stanza.arch];
        !texts.iter().any(|span| self.file.text(*span).contains(char::REPLACEMENT_CHARACTER))
    }
}

/// Descriptions by package and digest of the original.
type Texts<'a> = HashMap<(&'a str, &'a str), &'a str>;

/// Translated descriptions.
#[derive(Debug, Default)]
pub struct Translations<'a> {
    /// By language, most wanted first.
    languages: Vec<(String, Texts<'a>)>,
}

impl<'a> Translations<'a> {
    /// The description of this digest in the most wanted language that has one, `None` when that is the original.
    pub fn find(&self, name: &str, md5: &str) -> Option<&'a str> {
        for (language, texts) in &self.languages {
            if let Some(text) = texts.get(&(name, md5)) {
                return Some(text);
            }
            // The originals are English.
            if language == "en" {
                break;
            }
        }
        None
    }
}
