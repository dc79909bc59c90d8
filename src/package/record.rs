//! Writes the record of a package.

use std::fmt::Write;

/// A record under construction ([`crate::package::VersionDetails::record`]): `Field: value` lines. An empty value is left
/// out; a list is joined by commas, so its values must hold none.
#[derive(Debug, Default)]
pub struct Record(String);

impl Record {
    pub fn text(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value.filter(|value| !value.trim().is_empty()) else { return };
        self.0.push_str(name);
        self.0.push_str(": ");
        // A value never starts a field of its own.
        self.0.push_str(&value.replace('\n', "\n "));
        self.0.push('\n');
    }

    pub fn list<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a str>) {
        let values: Vec<&str> = values.into_iter().collect();
        self.text(name, Some(&values.join(", ")));
    }

    /// One on each line: for values that are free text.
    pub fn lines(&mut self, name: &str, lines: impl IntoIterator<Item = String>) {
        let mut text = String::new();
        for line in lines {
            // Writing to a text does not fail.
            let _ = write!(text, "\n{}", line.replace('\n', " "));
        }
        self.text(name, Some(&text));
    }

    /// A time in Unix seconds: clients show it in the user's own way.
    pub fn time(&mut self, name: &str, seconds: Option<i64>) {
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
            self.text(name, Some(&seconds.to_string()));
        }
    }

    /// The record's text.
    pub fn finish(self) -> String {
        self.0
    }
}
