//! The lines that `omg-helper` and its callers exchange: JSON, one value a line, bounded.
//!
//! A caller writes one [`Request`]; `omg-helper plan` answers with one [`Answer`], `omg-helper commit` with
//! [`super::Event`]s while it reads [`super::Reply`]s.

use std::io::{self, BufRead, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Action, Digest, Failure, Options, Plan};

/// The longest line, in bytes: a plan for every package of a large installation stays below it.
pub const MAX_LINE_BYTES: u64 = 64 << 20;

/// What is to be planned or committed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub actions: Vec<Action>,
    #[serde(default)]
    pub options: Options,
    /// Descriptors of the package files, one for each `install-file` action in their order.
    #[serde(default)]
    pub files: Vec<i32>,
    /// Of the plan that was shown; a commit refuses to do anything else, and to do anything without one, unless it is told
    /// to say first what it would do ([`super::Event::Planned`]). `plan` ignores it.
    #[serde(default)]
    pub digest: Option<Digest>,
}

/// What `omg-helper plan` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Plan(Box<Plan>),
    Failed(Failure),
}

/// Why a line cannot be read.
#[derive(Debug, Error)]
pub enum LineError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a line is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    #[error("a line is not what was expected: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The next line; `None` at the end.
///
/// # Errors
/// A line that is too long or no such value, and errors of reading.
pub fn read_line<T: DeserializeOwned>(from: &mut impl BufRead) -> Result<Option<T>, LineError> {
    let mut line = Vec::new();
    from.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() as u64 == MAX_LINE_BYTES && line.last() != Some(&b'\n') {
        return Err(LineError::TooLong);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// Writes one value as a line, and flushes.
///
/// # Errors
/// Those of writing.
pub fn write_line(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::super::{Applied, Event, FailureKind, Outcome, Reply, Verb};
    use super::*;

    #[test]
    fn every_kind_of_line_reads_back() {
        let request = Request {
            actions: vec![Action::new(Verb::Install, "vim").unwrap()],
            options: Options::default(),
            files: vec![3],
            digest: Some(Digest::default()),
        };
        let answer = Answer::Failed(Failure::new(FailureKind::NotFound, "no package is called x"));
        let event = Event::Finished(Outcome::Cancelled { applied: Applied::default() });
        let reply = Reply::Answer { id: 1, choice: "keep".into() };
        let mut lines = Vec::new();
        write_line(&mut lines, &request).unwrap();
        write_line(&mut lines, &answer).unwrap();
        write_line(&mut lines, &event).unwrap();
        write_line(&mut lines, &reply).unwrap();
        let from = &mut lines.as_slice();
        assert_eq!(read_line::<Request>(from).unwrap(), Some(request));
        assert_eq!(read_line::<Answer>(from).unwrap(), Some(answer));
        assert_eq!(read_line::<Event>(from).unwrap(), Some(event));
        assert_eq!(read_line::<Reply>(from).unwrap(), Some(reply));
        assert!(read_line::<Reply>(from).unwrap().is_none());
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in [
            "{}",
            r#"{"actions":[["install","-y"]]}"#,
            r#"{"actions":[["fly","vim"]]}"#,
            r#"{"actions":[],"options":{"dpkg":"--force-all"}}"#,
            r#"{"actions":[],"root":"/"}"#,
            "[]",
            "\0",
        ] {
            assert!(matches!(read_line::<Request>(&mut text.as_bytes()), Err(LineError::Malformed(_))), "{text}");
        }
    }
}
