//! The metadata archive: every package of the AUR in one file, `packages-meta-ext-v1.json.gz`.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufReader, Read};

use flate2::read::GzDecoder;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use thiserror::Error;

use super::AurPackage;

/// Name of the archive below the AUR's address.
pub const ARCHIVE: &str = "packages-meta-ext-v1.json.gz";

/// The most bytes that an archive may unpack to. The AUR's own has about 75 million.
const MAX_UNPACKED: u64 = 1 << 29;

/// The most packages of an archive. The AUR has about 100,000.
const MAX_PACKAGES: usize = 1_000_000;

/// Why an archive cannot be read.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// It is cut short, damaged, or not what the AUR writes.
    #[error("the AUR's archive is not readable: {0}")]
    Damaged(serde_json::Error),
    /// What was to be done with a package failed.
    #[error("{0}")]
    Stopped(io::Error),
}

/// Reads a packed archive and calls `each` with every sound package, in its order, without holding more than one. Says how
/// many others there were.
///
/// # Errors
/// When it is damaged or too large, after some packages perhaps, and what `each` fails with.
pub fn read_archive(packed: impl Read, each: impl FnMut(AurPackage) -> io::Result<()>) -> Result<usize, ArchiveError> {
    let text = BufReader::with_capacity(64 << 10, GzDecoder::new(packed).take(MAX_UNPACKED));
    let stopped = RefCell::new(None);
    let mut entries = Entries { each, unsound: 0, count: 0, stopped: &stopped };
    let mut document = serde_json::Deserializer::from_reader(text);
    let read = DeserializeSeed::deserialize(&mut entries, &mut document).and_then(|()| document.end());
    let unsound = entries.unsound;
    match (stopped.into_inner(), read) {
        (Some(error), _) => Err(ArchiveError::Stopped(error)),
        (None, Err(error)) => Err(ArchiveError::Damaged(error)),
        (None, Ok(())) => Ok(unsound),
    }
}

struct Entries<'a, F> {
    each: F,
    unsound: usize,
    count: usize,
    stopped: &'a RefCell<Option<io::Error>>,
}

impl<'de, F: FnMut(AurPackage) -> io::Result<()>> DeserializeSeed<'de> for &mut Entries<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(AurPackage) -> io::Result<()>> Visitor<'de> for &mut Entries<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of packages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut packages: A) -> Result<(), A::Error> {
        while let Some(package) = packages.next_element::<AurPackage>()? {
            self.count += 1;
            if self.count > MAX_PACKAGES {
                return Err(A::Error::custom(format!("more than {MAX_PACKAGES} packages")));
            }
            if !package.is_sound() {
                self.unsound += 1;
            } else if let Err(error) = (self.each)(package) {
                *self.stopped.borrow_mut() = Some(error);
                while packages.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn names(archive: &[u8]) -> Result<(Vec<String>, usize), ArchiveError> {
        let mut names = Vec::new();
        let unsound = read_archive(archive, |package| {
            names.push(package.name);
            Ok(())
        })?;
        Ok((names, unsound))
    }

    fn entry(name: &str) -> String {
        serde_json::json!({"Name": name, "PackageBase": "base", "Version": "1-1"}).to_string()
    }

    #[test]
    fn sound_packages_are_read_and_others_are_counted() {
        let entries = ["one", "../two", "-three", "four\u{1b}", "five"].map(entry).join(",\n");
        assert_eq!(names(&packed(&format!("[{entries}]\n"))).unwrap(), (vec!["one".to_owned(), "five".to_owned()], 3));
        assert_eq!(names(&packed("[]")).unwrap(), (vec![], 0));
    }

    #[test]
    fn what_is_cut_short_or_no_list_of_packages_is_damaged() {
        let whole = packed(&format!("[{}]", ["one", "two"].map(entry).join(",")));
        for damaged in [
            whole.get(..whole.len() / 2).unwrap().to_vec(),
            whole.get(..whole.len() - 4).unwrap().to_vec(),
            packed("<html>the AUR is being repaired</html>"),
            packed(r#"{"error":"too many requests"}"#),
            packed(&format!("[{}", entry("one"))),
            packed("[1,2]"),
            packed("[] []"),
            b"[]".to_vec(),
            Vec::new(),
        ] {
            let read = names(&damaged);
            assert!(matches!(read, Err(ArchiveError::Damaged(_))), "{read:?}");
        }
    }

    #[test]
    fn a_failure_of_the_receiver_is_told_as_such() {
        let archive = packed(&format!("[{}]", ["one", "two"].map(entry).join(",")));
        let read = read_archive(archive.as_slice(), |_| Err(io::Error::other("no room")));
        assert!(matches!(read, Err(ArchiveError::Stopped(error)) if error.to_string() == "no room"));
    }
}
