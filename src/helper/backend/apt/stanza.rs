//! Splitting deb822(5) text into records.

use md5::{Digest, Md5};
use memchr::memchr;

/// A piece of a text, by byte positions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// One record. Fields that it lacks are empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stanza {
    pub whole: Span,
    pub name: Span,
    pub version: Span,
    pub arch: Span,
    pub provides: Span,
    pub phased: Span,
    /// Of any language, with its continuation lines.
    pub description: Span,
    /// How many fields there are of which that is one.
    descriptions: u8,
    pub description_md5: Span,
}

impl Stanza {
    /// The place for a field's value, for the fields that are of interest.
    fn slot(&mut self, field: &[u8]) -> Option<&mut Span> {
        let is = |name: &str| field.eq_ignore_ascii_case(name.as_bytes());
        match field.first()?.to_ascii_lowercase() {
            b'p' if is("Package") => Some(&mut self.name),
            b'p' if is("Provides") => Some(&mut self.provides),
            b'p' if is("Phased-Update-Percentage") => Some(&mut self.phased),
            b'v' if is("Version") => Some(&mut self.version),
            b'a' if is("Architecture") => Some(&mut self.arch),
            b'd' if is("Description-md5") => Some(&mut self.description_md5),
            b'd' if is_description(field) => Some(&mut self.description),
            _ => None,
        }
    }
}

/// Whether a field is `Description` or a translation of it.
fn is_description(field: &[u8]) -> bool {
    const NAME: &[u8] = b"Description";
    match field.split_at_checked(NAME.len()) {
        Some((name, rest)) if name.eq_ignore_ascii_case(NAME) => {
            rest.is_empty() || rest.starts_with(b"-") && !rest.eq_ignore_ascii_case(b"-md5")
        }
        _ => false,
    }
}

/// The lines of a text with their positions, without their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let length = memchr(b'\n', rest).unwrap_or(rest.len());
        let at = start;
        start += length + 1;
        Some((at, rest.get(..length)?))
    })
}

fn is_continuation(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// All records of a text that name a package, in order. Positions count up to 4 GiB.
pub fn split(text: &str) -> Vec<Stanza> {
    let mut stanzas = Vec::with_capacity(text.len() / 1024);
    let mut current = Stanza::default();
    // Which field of the current record goes on with continuation lines.
    let mut field: &[u8] = b"";
    let mut open = false;
    for (at, line) in lines(text.as_bytes()) {
        let end = (at + line.len()) as u32;
        if matches!(line, b"" | b"\r") {
            if open && !current.name.is_empty() {
                stanzas.push(current);
            }
            (open, field) = (false, b"");
            continue;
        }
        if !open {
            current = Stanza { whole: Span { start: at as u32, end }, ..Stanza::default() };
            open = true;
        }
        current.whole.end = end;
        if is_continuation(line) {
            if let Some(value) = current.slot(field) {
                value.end = end;
            }
            continue;
        }
        field = b"";
        if !matches!(line.first(), Some(b'P' | b'p' | b'V' | b'v' | b'A' | b'a' | b'D' | b'd')) {
            continue;
        }
        let Some(colon) = memchr(b':', line) else { continue };
        let (name, value) = line.split_at(colon);
        if let Some(slot) = current.slot(name) {
            let value = value.get(1..).unwrap_or_default();
            let skipped = value.len() - value.trim_ascii_start().len();
            let start = (at + colon + 1 + skipped) as u32;
            *slot = Span { start, end: start + value.trim_ascii().len() as u32 };
            field = name;
            current.descriptions = current.descriptions.saturating_add(u8::from(is_description(name)));
        }
    }
    if open && !current.name.is_empty() {
        stanzas.push(current);
    }
    stanzas
}

/// The lines of a record of `text` without its `Description` fields. `Description-md5` stays; where it is only implied
/// it is put in place of the description, as `apt-cache show` does.
pub fn without_descriptions(text: &str, stanza: &Stanza, implied_md5: Option<&str>) -> String {
    let record = stanza.whole.of(text);
    let mut kept = String::with_capacity(record.len());
    let mut keep = |lines: &[&str]| {
        let separator = if kept.is_empty() { "" } else { "\n" };
        kept.push_str(separator);
        kept.extend(lines.iter().copied());
    };
    if stanza.descriptions == 0 {
        return record.to_owned();
    }
    if stanza.descriptions == 1
        && let Some(before) = text.get(stanza.whole.start as usize..stanza.description.start as usize)
        && let Some(after) = text.get(stanza.description.end as usize..stanza.whole.end as usize)
    {
        // What precedes the value on its line is the field's name, what follows it at most blanks.
        let lines = before.rfind('\n').and_then(|end| before.get(..end)).unwrap_or_default();
        let rest = memchr(b'\n', after.as_bytes()).and_then(|end| after.get(end + 1..)).unwrap_or_default();
        if !lines.is_empty() {
            keep(&[lines]);
        }
        if let Some(md5) = implied_md5 {
            keep(&["Description-md5: ", md5]);
        }
        if !rest.is_empty() {
            keep(&[rest]);
        }
        return kept;
    }
    let mut implied_md5 = implied_md5;
    let mut dropping = false;
    for line in record.lines() {
        let bytes = line.as_bytes();
        if !is_continuation(bytes) {
            dropping = memchr(b':', bytes).and_then(|colon| bytes.get(..colon)).is_some_and(is_description);
            if dropping && let Some(md5) = implied_md5.take() {
                keep(&["Description-md5: ", md5]);
            }
        }
        if !dropping {
            keep(&[line]);
        }
    }
    kept
}

/// Summary line and long description of a `Description` value. Continuation lines lose their leading space, and those
/// that stand for an empty line their dot.
pub fn summary_and_description(value: &str) -> (String, String) {
    let mut lines = value.lines();
    let summary = lines.next().unwrap_or_default().trim().to_owned();
    let mut description = String::with_capacity(value.len().saturating_sub(summary.len()));
    for (number, line) in lines.enumerate() {
        if number > 0 {
            description.push('\n');
        }
        let line = line.strip_prefix([' ', '\t']).unwrap_or(line).trim_end();
        description.push_str(if line == "." { "" } else { line });
    }
    (summary, description)
}

/// The `Description-md5` that a record has implicitly: of the value and a line feed.
pub fn description_md5(value: &str) -> String {
    let digest = Md5::new().chain_update(value).chain_update("\n").finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The names in a `Provides` value, without versions and architectures.
pub fn provided_names(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(',')
        .map(|part| part.trim().split([' ', '\t', '\n', '(', ':']).next().unwrap_or_default())
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Package: a\nVERSION:  1:2-3 \nTag: x,\n y\nDescription: first\n second\n .\n  third\nArchitecture: all\n\n\
                        Junk: 1\n\nPackage: b\nDescription-md5: 00\nDescription-de: Ü\n ä\nDescriptionless: 1";

    #[test]
    fn fields_are_found_by_name_without_regard_to_case_or_order() {
        let stanzas = split(TEXT);
        assert_eq!(stanzas.len(), 2, "a record without a name is none");
        let texts = |stanza: &Stanza| {
            [stanza.name, stanza.version, stanza.arch, stanza.description, stanza.description_md5]
                .map(|span| span.of(TEXT).to_owned())
        };
        assert_eq!(texts(&stanzas[0]), ["a", "1:2-3", "all", "first\n second\n .\n  third", ""]);
        assert_eq!(texts(&stanzas[1]), ["b", "", "", "Ü\n ä", "00"]);
        assert!(stanzas[1].whole.of(TEXT).ends_with("Descriptionless: 1"));
    }

    #[test]
    fn a_record_loses_only_its_descriptions() {
        let stanzas = split(TEXT);
        let fields = |number: usize, md5| without_descriptions(TEXT, &stanzas[number], md5);
        assert_eq!(fields(0, None), "Package: a\nVERSION:  1:2-3 \nTag: x,\n y\nArchitecture: all");
        assert_eq!(fields(1, None), "Package: b\nDescription-md5: 00\nDescriptionless: 1");
        let with_md5 = "Package: a\nVERSION:  1:2-3 \nTag: x,\n y\nDescription-md5: 11\nArchitecture: all";
        assert_eq!(fields(0, Some("11")), with_md5);
        for (text, kept) in [
            ("Description: x\n y\nPackage: a", "Package: a"),
            ("Package: a\nDescription: x", "Package: a"),
            ("Package: a\nDescription:   \nTag: b", "Package: a\nTag: b"),
            ("Package: a\nDescription:\n", "Package: a"),
            ("Description: x\nPackage: a\nDescription-de: y\n z\nTag: b", "Package: a\nTag: b"),
        ] {
            assert_eq!(without_descriptions(text, &split(text)[0], None), kept, "{text:?}");
        }
    }

    #[test]
    fn descriptions_lose_their_marks() {
        let (summary, description) = summary_and_description("first\n second\n .\n  third");
        assert_eq!((summary.as_str(), description.as_str()), ("first", "second\n\n third"));
        assert_eq!(summary_and_description(""), (String::new(), String::new()));
    }

    #[test]
    fn provided_names_lose_version_and_architecture() {
        let names: Vec<_> = provided_names("a (= 1), b:any,\n c:amd64 (= 2) , ,").collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn any_bytes_are_split_without_a_panic() {
        for text in ["", "\n\n\n", " x", ":", "Package", "Package:", "Package:\n ä\n\n", "\r\n\r\nPackage: é\r\n"] {
            let stanzas = split(text);
            assert!(stanzas.iter().all(|stanza| stanza.whole.of(text).contains("Package")), "{text:?}");
        }
    }
}
