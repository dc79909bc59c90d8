//! Why nothing was fetched.

use std::io;

use reqwest::Url;
use thiserror::Error;

/// The longest address in a message, characters.
const SHOWN: usize = 200;

/// Addresses and reasons are escaped and shortened already.
#[derive(Debug, Error)]
pub enum FetchError {
    #[error("{0} is not fetched: omg is offline")]
    Offline(String),
    #[error("{0} is not there")]
    NotFound(String),
    #[error("the server answers {status} for {url}{}", limited(*.status))]
    Status { url: String, status: u16 },
    #[error(
        "{url} cannot be reached: {reason}; is there a network? The configuration may name a proxy (runtimes.proxy) and \
         mirrors (runtimes.NAME.url)"
    )]
    Unreachable { url: String, reason: String },
    /// By its certificate, or for want of one.
    #[error(
        "{url} is not asked, since its server is not trusted: {reason}; a wrong clock is one cause, a proxy that reads along \
         another"
    )]
    Distrusted { url: String, reason: String },
    #[error("{url} leads nowhere: {reason}")]
    Redirects { url: String, reason: String },
    #[error("{url} is no address that can be asked: {reason}")]
    Address { url: String, reason: String },
    #[error("the server sends more than the {most} bytes that {url} may have")]
    TooLong { url: String, most: u64 },
    #[error("the server sends {got} of the {expected} bytes of {url}")]
    TooShort { url: String, expected: u64, got: u64 },
    /// Both in hexadecimal.
    #[error(
        "{url} has the SHA-256 {got}, not {expected}: it was damaged on its way, or it is not the file that was meant"
    )]
    WrongChecksum { url: String, expected: String, got: String },
    #[error("{0} gives a web page instead of the file: a proxy or a login page of the network may be in the way")]
    Page(String),
    #[error("{url} needs {needed} bytes more on the disk, and {free} are free")]
    DiskFull { url: String, needed: u64, free: u64 },
    #[error("{url} cannot be kept: {error}")]
    Write { url: String, error: io::Error },
}

/// What to do where a server limits how often it is asked, as GitHub does with those who do not log in.
fn limited(status: u16) -> &'static str {
    match status {
        403 | 429 => "; it may have been asked too often from here: try again in an hour, or use a mirror",
        _ => "",
    }
}

/// An address for a message, without the name and password in it.
pub(super) fn shown(url: &str) -> String {
    let parsed = Url::parse(url).ok().map(|mut url| {
        // Refused by addresses that cannot have them.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url
    });
    escaped(parsed.as_ref().map_or(url, Url::as_str))
}

/// Text from outside, escaped and shortened.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped: String = text
        .chars()
        .take(SHOWN)
        .flat_map(|character| {
            let plain = character.is_ascii_graphic() || character == ' ' || character.is_alphanumeric();
            let text = if plain { character.to_string() } else { character.escape_default().to_string() };
            text.chars().collect::<Vec<_>>()
        })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        escaped.push('…');
    }
    escaped
}

/// What is at the end of the chain of an error of the HTTP client: what comes before says only in which of its parts. The
/// address is told elsewhere.
pub(super) fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    escaped(&text)
}

/// Whether the server's certificate is not trusted, or it does not speak TLS: it will not at the next try either.
pub(super) fn is_distrust(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}
