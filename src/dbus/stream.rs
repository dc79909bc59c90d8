//! Rows that arrive through the pipe of `QueryFd`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use memchr::memchr;
use rustix::event::{PollFd, PollFlags, poll};
use serde::Deserialize;

use super::client::ClientError;
use super::columns;
use super::connect::CALL_WAIT;
use crate::package::PackageRow;

/// The rows of a `QueryFd` with `columns`; its last line is `{"end":true,"count":N}` or `{"error":{…}}`.
///
/// Reading blocks. Dropping it early tells the daemon to stop.
#[derive(Debug)]
pub struct RowStream {
    reader: BufReader<File>,
    /// The start of a line whose rest is still to be read.
    line: Vec<u8>,
    done: bool,
}

#[derive(Deserialize)]
struct LastLine {
    #[serde(default)]
    end: bool,
    error: Option<StreamError>,
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

    /// Reads the next row into `row`; whether there was one. After an error or the last line there is nothing more.
    ///
    /// # Errors
    /// The daemon's own; where the list ends without its last line, or cannot be understood.
    pub fn read(&mut self, row: &mut PackageRow) -> Result<bool, ClientError> {
        if self.done {
            return Ok(false);
        }
        let read = self.read_line(row);
        self.done = !matches!(read, Ok(true));
        read
    }

    fn read_line(&mut self, row: &mut PackageRow) -> Result<bool, ClientError> {
        self.line.clear();
        loop {
            let failed = |error: io::Error| ClientError::Disconnected(error.to_string());
            if self.reader.buffer().is_empty() && !self.is_ready()? {
                return Err(ClientError::TimedOut);
            }
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer.map_err(failed)?,
            };
            let Some(end) = memchr(b'\n', buffer) else {
                let length = buffer.len();
                if length == 0 {
                    return Err(ClientError::Disconnected("the list ends early".to_owned()));
                }
                self.line.extend_from_slice(buffer);
                self.reader.consume(length);
                continue;
            };
            let (rest, _) = buffer.split_at(end);
            // Most lines are in the buffer as a whole.
            let read = if self.line.is_empty() {
                read_line(rest, row)
            } else {
                self.line.extend_from_slice(rest);
                read_line(&self.line, row)
            };
            self.reader.consume(end + 1);
            return read;
        }
    }
}

impl RowStream {
    /// Waits as long as for the answer to a call; whether there is something to read then.
    fn is_ready(&self) -> Result<bool, ClientError> {
        let mut waiting = [PollFd::new(self.reader.get_ref(), PollFlags::IN)];
        let timeout = CALL_WAIT.try_into().ok();
        match poll(&mut waiting, timeout.as_ref()) {
            Ok(count) => Ok(count > 0),
            // The read that follows is interrupted, too, or has something.
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(ClientError::Disconnected(error.to_string())),
        }
    }
}

/// Reads a line; whether it is a row.
fn read_line(line: &[u8], row: &mut PackageRow) -> Result<bool, ClientError> {
    let line = str::from_utf8(line).map_err(|error| ClientError::Protocol(error.to_string()))?;
    if columns::read(line, row).is_some() {
        return Ok(true);
    }
    if line.contains('\t') {
        return Err(ClientError::Protocol("a line of a list is no row".to_owned()));
    }
    match serde_json::from_str(line)? {
        LastLine { error: Some(error), .. } => Err(ClientError::from_reply(&error.name, error.message)),
        LastLine { end: true, .. } => Ok(false),
        LastLine { .. } => Err(ClientError::Protocol("a list has a line of another kind".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;
    use crate::package::{Flags, RowRef};

    fn stream(lines: &str) -> RowStream {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(lines.as_bytes()).expect("written");
        file.rewind().expect("rewound");
        RowStream::new(file)
    }

    fn line(row: &PackageRow) -> String {
        let mut line = Vec::new();
        columns::write(&RowRef::from(row), &mut line);
        String::from_utf8(line).expect("text")
    }

    fn curl() -> PackageRow {
        PackageRow { name: "curl".into(), flags: Flags::INSTALLED, download_size: 5, ..PackageRow::default() }
    }

    #[test]
    fn rows_end_with_the_closing_line() {
        let mut stream = stream(&format!("{}{{\"end\":true,\"count\":1}}\nbeyond\n", line(&curl())));
        let mut row = PackageRow { summary: "of the one before".into(), ..PackageRow::default() };
        assert!(matches!(stream.read(&mut row), Ok(true)));
        assert_eq!(row, curl());
        assert!(matches!(stream.read(&mut row), Ok(false)) && matches!(stream.read(&mut row), Ok(false)));
    }

    #[test]
    fn an_error_line_is_the_daemons_error() {
        let mut stream = stream("{\"error\":{\"name\":\"org.omg.Error.Offline\",\"message\":\"no\\tlists\"}}\n");
        let error = stream.read(&mut PackageRow::default()).expect_err("an error");
        assert_eq!((error.exit_code(), error.to_string()), (4, "no\tlists".to_owned()));
        assert!(matches!(stream.read(&mut PackageRow::default()), Ok(false)));
    }

    #[test]
    fn a_list_without_its_closing_line_is_an_error() {
        for end in ["", "half a li", "{\"end\":true,\"count\":1}"] {
            let (mut stream, mut row) = (stream(&format!("{}{end}", line(&curl()))), PackageRow::default());
            assert!(matches!(stream.read(&mut row), Ok(true)));
            assert!(matches!(stream.read(&mut row), Err(ClientError::Disconnected(_))), "{end:?}");
        }
    }

    #[test]
    fn what_another_version_tells_is_not_understood() {
        for other in ["{\"name\":\"a\"}\n", "a\tb\n", "words\n"] {
            let error = stream(other).read(&mut PackageRow::default()).expect_err("an error");
            assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
        }
    }
}
