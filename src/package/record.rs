//! Writes the record of a package.

/// A record under construction ([`crate::package::VersionDetails::record`]): `Field: value` lines. An empty value is left
/// out; a list is joined by commas, so its values must hold none.
#[derive(Debug, Default)]
pub struct Record(String);

impl Record {
    pub fn text(&mut self, name: &str, value: Option<&str>) {
        self.field(name, |text| text.push_str(value.unwrap_or_default()));
    }

    pub fn list<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a str>) {
        self.list_of(name, values, |text, value| text.push_str(value));
    }

    /// As [`Record::list`], of what `write` puts into words.
    pub fn list_of<T>(&mut self, name: &str, values: impl IntoIterator<Item = T>, write: impl Fn(&mut String, T)) {
        self.field(name, |text| {
            for (position, value) in values.into_iter().enumerate() {
                if position > 0 {
                    text.push_str(", ");
                }
                write(text, value);
            }
        });
    }

    /// One on each line: for values that are free text.
    pub fn lines(&mut self, name: &str, lines: impl IntoIterator<Item = String>) {
        self.field(name, |text| {
            for line in lines {
                text.push('\n');
                text.push_str(&line.replace('\n', " "));
            }
        });
    }

    /// A time in Unix seconds: clients show it in the user's own way.
    pub fn time(&mut self, name: &str, seconds: Option<i64>) {
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
            self.text(name, Some(&seconds.to_string()));
        }
    }

    /// Appends a field whose value `write` appends to the text: there are many fields, so none is made apart.
    fn field(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        let Self(text) = self;
        let before = text.len();
        text.push_str(name);
        text.push_str(": ");
        let start = text.len();
        write(text);
        let value = text.get(start..).unwrap_or_default();
        if value.trim().is_empty() {
            text.truncate(before);
            return;
        }
        // A value never starts a field of its own.
        if value.contains('\n') {
            let value = value.replace('\n', "\n ");
            text.truncate(start);
            text.push_str(&value);
        }
        text.push('\n');
    }

    /// The record's text.
    pub fn finish(self) -> String {
        self.0
    }
}
