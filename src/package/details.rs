//! Everything the package system knows about one package.

use serde::{Deserialize, Serialize};

/// One package with all its known versions.
///
/// The snapshot stores this type as is, so its fields are part of the snapshot format.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PackageDetails {
    /// Newest first, as `apt-cache policy` lists them.
    pub versions: Vec<VersionDetails>,
    /// The version a pin in the preferences selects, with its priority.
    pub pin: Option<(String, i32)>,
}

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VersionDetails {
    pub version: String,
    pub arch: String,
    /// Pin priority.
    pub priority: i32,
    pub installed: bool,
    pub candidate: bool,
    /// Label of the repository it comes from (`bookworm/main`, `extra`), `local` when none has it.
    pub repository: String,
    /// Where it can be had, in the package system's order.
    pub sources: Vec<VersionSource>,
    /// Bytes.
    pub download_size: u64,
    /// Bytes on disk once installed.
    pub installed_size: u64,
    /// Summary line, in the user's language where a translation is known.
    pub summary: String,
    /// Long description without the summary line, with the record's own line breaks, its leading spaces and the
    /// dots of empty lines removed. Empty where none is known.
    pub description: String,
    /// The record as the package system has it, without its description: `Field: value` lines, continuation lines
    /// starting with a space.
    pub record: String,
}

/// One place a version comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VersionSource {
    /// Pin priority of the whole source.
    pub priority: i32,
    /// As `apt-cache policy` names it: `http://deb.debian.org/debian bookworm/main amd64 Packages`.
    pub description: String,
}

impl VersionDetails {
    /// The fields of the record, in its order.
    pub fn fields(&self) -> Fields<'_> {
        Fields { rest: &self.record }
    }

    /// The value of one field; names compare without regard to ASCII case (deb822(5)).
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Iterator over the `Field: value` lines of a record; a value keeps the line breaks of its continuation lines.
/// Lines that are neither are skipped.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Fields<'a> {
    pub fn new(record: &'a str) -> Self {
        Self { rest: record }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let mut end = self.rest.find('\n').unwrap_or(self.rest.len());
            // An empty line ends what went before: what is indented after it continues nothing.
            if end == 0 {
                self.rest = self.rest.get(1..).unwrap_or("");
                continue;
            }
            while self.rest[end..].starts_with("\n ") || self.rest[end..].starts_with("\n\t") {
                end = self.rest[end + 1..].find('\n').map_or(self.rest.len(), |next| end + 1 + next);
            }
            let field = &self.rest[..end];
            self.rest = self.rest.get(end + 1..).unwrap_or("");
            if let Some((name, value)) = field.split_once(':')
                && !name.is_empty()
                && !name.starts_with([' ', '\t'])
                // The colon is on a continuation line: the first line is no field.
                && !name.contains('\n')
            {
                return Some((name, value.trim()));
            }
        }
    }
}

/// One step of the answer to "why is this installed".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Relation {
    /// The package that asks.
    pub from: String,
    /// How: `Depends`, `PreDepends`, `Recommends`…
    pub kind: String,
    /// The package asked for.
    pub to: String,
}

/// Splits a relation field (`a (>= 1), b | c`) into its comma-separated parts.
pub fn split_relations(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_continuation_lines_and_skip_what_is_no_field() {
        let record = "Package: a\nConffiles:\n /etc/a 1\n /etc/b 2\nnonsense\n stray: 2\n\n\tX: 1\nSize: 3";
        let fields: Vec<_> = Fields::new(record).collect();
        assert_eq!(fields, [("Package", "a"), ("Conffiles", "/etc/a 1\n /etc/b 2"), ("Size", "3")]);
    }
}
