//! Rows that arrive through the pipe of `QueryFd`.

use std::fs::File;
use std::io::{BufRead, BufReader};

use serde::Deserialize;

use super::client::ClientError;
use crate::package::{Flags, PackageRow};

/// The rows of a `QueryFd`, one JSON object a line; the last line is `{"end":true,"count":N}` or `{"error":{…}}`.
///
/// Reading blocks. Dropping it early tells the daemon to stop.
#[derive(Debug)]
pub struct RowStream {
    reader: BufReader<File>,
    line: Vec<u8>,
    done: bool,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    end: bool,
    error: Option<StreamError>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    arch: String,
    #[serde(default)]
    repository: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    download_size: u64,
}

#[derive(Deserialize)]
struct StreamError {
    name: String,
    message: String,
}

impl RowStream {
    pub(super) fn new(pipe: File) -> Self {
        Self { reader: BufReader::with_capacity(64 * 1024, pipe), line: Vec::new(), done: false }
    }

    fn read(&mut self) -> Result<Option<PackageRow>, ClientError> {
        self.line.clear();
        let length = self.reader.read_until(b'\n', &mut self.line).map_err(|error| disconnected(&error.to_string()))?;
        if length == 0 {
            return Err(disconnected("the list ends early"));
        }
        let line: Line = serde_json::from_slice(&self.line)?;
        match line.error {
            Some(error) => Err(ClientError::from_reply(&error.name, error.message)),
            None if line.end => Ok(None),
            None => Ok(Some(PackageRow {
                name: line.name,
                version: line.version,
                arch: line.arch,
                repository: line.repository,
                summary: line.summary,
                flags: line.flags.iter().filter_map(|name| flag(name)).collect(),
                download_size: line.download_size,
            })),
        }
    }
}

fn disconnected(reason: &str) -> ClientError {
    ClientError::Disconnected(reason.to_owned())
}

fn flag(name: &str) -> Option<Flags> {
    Flags::all().iter().find(|flag| flag.names().eq([name]))
}

impl Iterator for RowStream {
    type Item = Result<PackageRow, ClientError>;

    /// After an error or the closing line there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let row = self.read().transpose();
        self.done = !matches!(row, Some(Ok(_)));
        row
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn stream(lines: &str) -> RowStream {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(lines.as_bytes()).expect("written");
        file.rewind().expect("rewound");
        RowStream::new(file)
    }

    #[test]
    fn rows_end_with_the_closing_line() {
        let row = PackageRow {
            name: "curl".into(),
            version: "7".into(),
            arch: "amd64".into(),
            repository: "bookworm/main".into(),
            summary: "a \"tool\"".into(),
            flags: Flags::INSTALLED | Flags::FOREIGN_ARCH,
            download_size: 5,
        };
        let lines = format!("{}\n{{\"end\":true,\"count\":1}}\nbeyond\n", serde_json::to_string(&row).expect("JSON"));
        let rows: Vec<_> = stream(&lines).collect::<Result<_, _>>().expect("well-formed");
        assert_eq!(rows, [row]);
    }

    #[test]
    fn an_error_line_is_the_daemons_error() {
        let lines = "{\"error\":{\"name\":\"org.omg.Error.Offline\",\"message\":\"no lists\"}}\n";
        let rows: Vec<_> = stream(lines).collect();
        assert!(matches!(&rows[..], [Err(error)] if error.exit_code() == 4 && error.to_string() == "no lists"));
    }

    #[test]
    fn a_list_without_its_closing_line_is_an_error() {
        let rows: Vec<_> = stream("{\"name\":\"a\"}\n").collect();
        assert!(matches!(&rows[..], [Ok(row), Err(ClientError::Disconnected(_))] if row.name == "a"));
    }
}
