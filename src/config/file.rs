//! The configuration file's bytes and the places in them.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Longest configuration file that is read, bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// Most problems that one error lists.
const MAX_PROBLEMS: usize = 20;

/// A configuration file, read.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    path: PathBuf,
    text: String,
}

/// Why there is no valid configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not a regular file", path.display())]
    NotRegular { path: PathBuf },
    #[error("{} is larger than {MAX_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    /// What is wrong, in the order of the file, the first 20 problems. The text has one line for each, with `path` in
    /// front.
    #[error("{}", Listing(path, problems))]
    Invalid { path: PathBuf, problems: Vec<Located> },
}

/// Something wrong at a place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Bytes of the file.
    pub span: Range<usize>,
    /// The key with its tables, `cache.searches`; empty when there is none.
    pub key: String,
    /// What is wrong, without the key.
    pub message: String,
}

/// A problem with its place as an editor shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// From 1.
    pub line: usize,
    /// From 1, characters.
    pub column: usize,
    /// The key with its tables, `cache.searches`; empty when there is none.
    pub key: String,
    pub message: String,
}

struct Listing<'a>(&'a Path, &'a [Located]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.1.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{}:{}: ", self.0.display(), problem.line, problem.column)?;
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            f.write_str(&problem.message)?;
        }
        Ok(())
    }
}

impl ConfigFile {
    /// Reads the file at `path`; `None` when there is none. Symbolic links are followed: the folder is the user's own.
    ///
    /// # Errors
    /// When it cannot be read, is no regular file, is larger than [`MAX_BYTES`] or not UTF-8.
    pub fn read(path: &Path) -> Result<Option<Self>, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        // O_NONBLOCK: opening a FIFO must not wait for a writer.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(ConfigError::NotRegular { path: path.to_owned() });
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        Self::from_bytes(path, bytes).map(Some)
    }

    /// A file with these contents; `path` is for messages.
    ///
    /// # Errors
    /// When there are more than [`MAX_BYTES`] or they are not UTF-8.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, ConfigError> {
        let path = path.to_owned();
        if bytes.len() > MAX_BYTES {
            return Err(ConfigError::TooLarge { path });
        }
        String::from_utf8(bytes).map(|text| Self { path: path.clone(), text }).map_err(|error| {
            let end = error.utf8_error().valid_up_to();
            let valid = String::from_utf8_lossy(error.as_bytes().get(..end).unwrap_or_default());
            let (line, column) = position(&valid, end);
            let message = "not valid UTF-8".to_owned();
            ConfigError::Invalid { path, problems: vec![Located { line, column, key: String::new(), message }] }
        })
    }

    /// What the file says.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The error that these problems make.
    pub(super) fn invalid(&self, mut problems: Vec<Problem>) -> ConfigError {
        problems.sort_by_key(|problem| problem.span.start);
        problems.truncate(MAX_PROBLEMS);
        let problems = problems
            .into_iter()
            .map(|problem| {
                let (line, column) = position(&self.text, problem.span.start);
                Located { line, column, key: problem.key, message: problem.message }
            })
            .collect();
        ConfigError::Invalid { path: self.path.clone(), problems }
    }
}

/// Line and column (characters) of a byte of `text`, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let column = before.get(line_start..).map_or(0, |part| part.chars().count()) + 1;
    (line, column)
}
