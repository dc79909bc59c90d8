//! Asking, and asking again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, RETRY_AFTER,
};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::{FetchError, Http, Patience, error};

/// The longest validator that is kept, bytes.
const MAX_VALIDATOR: usize = 512;

/// What tells the server which answer is here (RFC 9110, 8.8).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Validators {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
}

impl Validators {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let value = |name: HeaderName| {
            let value = headers.get(name)?.to_str().ok()?;
            (value.len() <= MAX_VALIDATOR).then(|| value.to_owned())
        };
        Self { etag: value(ETAG), last_modified: value(LAST_MODIFIED) }
    }

    /// The value of `If-Range`: a weak tag says nothing about bytes (RFC 9110, 13.1.5).
    pub(super) fn strong(&self) -> Option<&str> {
        let etag = self.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        // A date beside a weak tag is of no better kind.
        etag.or_else(|| self.last_modified.as_deref().filter(|_| self.etag.is_none()))
    }

    pub(super) fn unless_same(&self, mut request: RequestBuilder) -> RequestBuilder {
        for (name, value) in [(IF_NONE_MATCH, &self.etag), (IF_MODIFIED_SINCE, &self.last_modified)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request
    }
}

pub(super) enum Answer {
    /// What the validators stand for is still right.
    Same,
    New(Vec<u8>, Validators),
}

/// A try that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: FetchError,
    /// Another try can help; after so long, when the server says so.
    pub(super) again: Option<Option<Duration>>,
}

impl From<FetchError> for Failed {
    fn from(error: FetchError) -> Self {
        Self { error, again: None }
    }
}

impl Failed {
    pub(super) fn for_now(error: FetchError) -> Self {
        Self { error, again: Some(None) }
    }

    pub(super) fn of_client(url: &str, error: reqwest::Error) -> Self {
        let url = error::shown(url);
        let (is_redirect, is_builder, is_distrust) =
            (error.is_redirect(), error.is_builder(), error::is_distrust(&error));
        let reason = error::reason(error);
        if is_redirect {
            return FetchError::Redirects { url, reason }.into();
        }
        if is_builder {
            return FetchError::Address { url, reason }.into();
        }
        if is_distrust {
            return FetchError::Distrusted { url, reason }.into();
        }
        Self::for_now(FetchError::Unreachable { url, reason })
    }

    /// Of an answer that is neither the file nor a part of it.
    pub(super) fn of_status(url: &str, response: &Response) -> Self {
        let (url, status) = (error::shown(url), response.status());
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => FetchError::NotFound(url).into(),
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                // The other form, a date, depends on two clocks.
                let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
                let error = FetchError::Status { url, status: status.as_u16() };
                Self { error, again: Some(after.map(Duration::from_secs)) }
            }
            _ => FetchError::Status { url, status: status.as_u16() }.into(),
        }
    }
}

/// How long to wait after try number `tried`, from 1.
pub(super) fn pause(patience: &Patience, tried: u32, asked: Option<Duration>) -> Duration {
    if let Some(asked) = asked {
        return asked.min(patience.retry_after);
    }
    let whole = patience.backoff.saturating_mul(1 << tried.saturating_sub(1).min(6));
    // So that clients that failed together do not come back together.
    let random = (RandomState::new().build_hasher().finish() % 1000) as u32;
    whole.saturating_sub((whole / 2000).saturating_mul(random))
}

/// Whether a body is a page for people; `start` are its first bytes.
pub(super) fn is_page(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    [&b"<!doctype html"[..], b"<html"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag)))
}

impl Http {
    pub(super) fn request(&self, url: &str) -> Result<RequestBuilder, Failed> {
        let client = self.client().map_err(|error| Failed::of_client(url, error))?;
        // A proxy that packs a body on its way would change its length and its checksum.
        Ok(client.get(url).header(ACCEPT_ENCODING, "identity"))
    }

    /// A whole body of at most `most` bytes, after at most `tries`.
    pub(super) async fn ask(&self, url: &str, most: u64, known: &Validators, tries: u32) -> Result<Answer, FetchError> {
        let mut tried = 1;
        loop {
            let Failed { error, again } = match self.ask_once(url, most, known).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let Some(after) = again.filter(|_| tried < tries) else { return Err(error) };
            tracing::debug!("asked again, since {error}");
            tokio::time::sleep(pause(&self.patience, tried, after)).await;
            tried += 1;
        }
    }

    async fn ask_once(&self, url: &str, most: u64, known: &Validators) -> Result<Answer, Failed> {
        let request = known.unless_same(self.request(url)?).timeout(self.patience.answer);
        let mut response = request.send().await.map_err(|error| Failed::of_client(url, error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if *known != Validators::default() => return Ok(Answer::Same),
            _ => return Err(Failed::of_status(url, &response)),
        }
        let too_long = || FetchError::TooLong { url: error::shown(url), most };
        if response.content_length().is_some_and(|length| length > most) {
            return Err(too_long().into());
        }
        let validators = Validators::of(response.headers());
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| Failed::of_client(url, error))? {
            if (body.len() as u64).saturating_add(piece.len() as u64) > most {
                return Err(too_long().into());
            }
            body.extend_from_slice(&piece);
        }
        if is_page(&body) {
            return Err(FetchError::Page(error::shown(url)).into());
        }
        Ok(Answer::New(body, validators))
    }
}
