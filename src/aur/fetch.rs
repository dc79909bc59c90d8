//! Asks the AUR over HTTP.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ARCHIVE;

/// The most bytes of a packed archive. The AUR's own has about 10 million.
const MAX_ARCHIVE: u64 = 128 << 20;

/// Until a connection is there.
const CONNECT: Duration = Duration::from_secs(10);

/// A server that sends nothing for so long has stopped.
const STALLED: Duration = Duration::from_secs(30);

/// For the whole archive, on the slowest lines.
const WHOLE_ARCHIVE: Duration = Duration::from_secs(15 * 60);

const REDIRECTS: usize = 5;

/// The longest validator that is kept, bytes.
const MAX_VALIDATOR: usize = 512;

/// Why the AUR gave no answer.
#[derive(Debug, Error)]
pub enum HttpError {
    #[error("{0}")]
    Unreachable(String),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is longer than {0} bytes")]
    TooLong(u64),
    #[error("its answer is not readable: {0}")]
    Damaged(String),
    /// It does not answer this question, in its own words.
    #[error("it says: {0}")]
    Refused(String),
    /// It could not be kept.
    #[error("the archive cannot be written: {0}")]
    Write(io::Error),
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        // The address is known; what went wrong is at the end of the chain.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::Unreachable(text)
    }
}

/// What tells the server which archive is here (`ETag`, `Last-Modified`; RFC 9110).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Validators {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        let value = |name: HeaderName| {
            let value = headers.get(name)?.to_str().ok()?;
            (value.len() <= MAX_VALIDATOR).then(|| value.to_owned())
        };
        Self { etag: value(ETAG), last_modified: value(LAST_MODIFIED) }
    }
}

/// What came of asking for the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The one that is here is the newest.
    Same,
    /// It is in the file now, whole as far as the server says.
    New(Validators),
}

/// The AUR at an address. Nothing is set up before the first question, and [`Http::rest`] takes it down again.
#[derive(Debug)]
pub struct Http {
    /// Without a slash at its end.
    base: String,
    client: Mutex<Option<Client>>,
}

impl Http {
    /// `base` is an `http` or `https` address.
    pub fn new(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), client: Mutex::new(None) }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// Closes what is open and frees its memory.
    pub fn rest(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Proxies are those of the environment (`https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`).
    fn client(&self) -> Result<Client, HttpError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        // Another part of this process may have chosen one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let built = Client::builder()
            .user_agent(concat!("omg/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(STALLED)
            .redirect(Policy::custom(follow))
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(STALLED)
            .build()?;
        Ok(client.insert(built).clone())
    }

    /// Writes the archive into the empty file `into`, unless it is the one with these validators.
    ///
    /// # Errors
    /// Any [`HttpError`]; the file holds a part of it then.
    pub async fn archive(&self, known: &Validators, into: &mut File) -> Result<Fetched, HttpError> {
        let mut request = self.client()?.get(format!("{}/{ARCHIVE}", self.base)).timeout(WHOLE_ARCHIVE);
        for (name, value) in [(IF_NONE_MATCH, &known.etag), (IF_MODIFIED_SINCE, &known.last_modified)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let mut response = request.send().await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Fetched::Same);
        }
        if response.status() != StatusCode::OK {
            return Err(HttpError::Status(response.status()));
        }
        let validators = Validators::of(response.headers());
        each_part(&mut response, MAX_ARCHIVE, |part| into.write_all(part).map_err(HttpError::Write)).await?;
        Ok(Fetched::New(validators))
    }

    /// The body of an answer to `path`, no longer than `most` bytes.
    pub(super) async fn get(&self, path: &str, within: Duration, most: u64) -> Result<Vec<u8>, HttpError> {
        let mut response = self.client()?.get(format!("{}{path}", self.base)).timeout(within).send().await?;
        if response.status() != StatusCode::OK {
            return Err(HttpError::Status(response.status()));
        }
        let mut body = Vec::new();
        each_part(&mut response, most, |part| {
            body.extend_from_slice(part);
            Ok(())
        })
        .await?;
        Ok(body)
    }
}

async fn each_part(
    response: &mut Response,
    most: u64,
    mut each: impl FnMut(&[u8]) -> Result<(), HttpError>,
) -> Result<(), HttpError> {
    let mut length = 0u64;
    while let Some(part) = response.chunk().await? {
        length = length.saturating_add(part.len() as u64);
        if length > most {
            return Err(HttpError::TooLong(most));
        }
        each(&part)?;
    }
    Ok(())
}

/// A few, and never from an encrypted address to one that is not.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_encrypted = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if was_encrypted && attempt.url().scheme() != "https" {
        return attempt.error("it leads to an address without encryption");
    }
    if attempt.previous().len() > REDIRECTS {
        return attempt.error("it leads from one address to the next");
    }
    attempt.follow()
}
