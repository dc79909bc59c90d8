//! What several upstreams have alike.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{At, Check, SourceError};
use crate::runtime::fetch::FetchError;
use crate::runtime::verify::VerifyError;
use crate::runtime::{Extras, Native};

/// Most bytes of an index. Bun's, of a hundred releases, has 3 million.
pub(super) const MAX_INDEX: u64 = 32 << 20;

/// Most bytes of a listing of checksums, signed or not.
pub(super) const MAX_LISTING: u64 = 4 << 20;

/// Most bytes of a signature.
pub(super) const MAX_SIGNATURE: u64 = 64 << 10;

/// # Errors
/// [`SourceError::Unreadable`] when it is no such JSON.
pub(super) fn json<T: DeserializeOwned>(url: &str, bytes: &[u8]) -> Result<T, SourceError> {
    borrowed(url, bytes)
}

/// # Errors
/// As [`json`].
pub(super) fn borrowed<'a, T: Deserialize<'a>>(url: &str, bytes: &'a [u8]) -> Result<T, SourceError> {
    let reason = |error: serde_json::Error| error.to_string().escape_debug().take(160).collect();
    serde_json::from_slice(bytes)
        .map_err(|error| SourceError::Unreadable { url: url.to_owned(), reason: reason(error) })
}

/// Whether a text is the name of a file and nothing that a path or an address is made of.
pub(super) fn is_plain_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    first && name.len() <= 200 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
}

/// Whether an address that an index names is asked: over TLS, or at the very server that the index is from.
pub(super) fn is_allowed(url: &str, base: &str) -> bool {
    if url.len() > 2000 || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return false;
    }
    let Some((scheme, host)) = server(url) else { return false };
    // No names and passwords, which also hide the host from the eye.
    if host.is_empty() || host.contains('@') || host.contains('\\') {
        return false;
    }
    scheme == "https" || scheme == "http" && server(base) == Some((scheme, host))
}

/// The scheme, and the host with its port.
fn server(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    Some((scheme, rest.split(['/', '?', '#']).next()?))
}

/// The day of a date or a time as RFC 3339 has them.
pub(super) fn day(text: &str) -> Option<String> {
    let day = text.get(..10)?;
    let shape = day.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    (shape && !text[10..].starts_with(|next: char| next.is_ascii_digit())).then(|| day.to_owned())
}

/// # Errors
/// [`SourceError::NoSuchExtra`]: only Rust has components.
pub(super) fn without(extras: &Extras, native: Native) -> Result<(), SourceError> {
    match extras.is_empty() {
        true => Ok(()),
        false => Err(SourceError::NoSuchExtra(format!("{native} has no profiles, components or targets to choose"))),
    }
}

/// What vouches for something is missing: refused, unless the user takes it so.
///
/// # Errors
/// [`SourceError::Unverifiable`].
pub(super) fn unverified(at: &At<'_>, what: &str, reason: String) -> Result<Check, SourceError> {
    if !at.unverified {
        return Err(SourceError::Unverifiable { what: what.to_owned(), reason });
    }
    tracing::warn!("{what} is not verified, as is wanted: {reason}");
    Ok(Check::Unverified { reason })
}

/// A file that may be missing; `None` then.
///
/// # Errors
/// When it cannot be fetched for another reason.
pub(super) async fn small(at: &At<'_>, url: &str, most: u64) -> Result<Option<Vec<u8>>, SourceError> {
    match at.http.small(url, most).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(FetchError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is no such page; offline, no further one than those that are kept.
pub(super) fn is_end(error: &FetchError, is_first: bool) -> bool {
    matches!(error, FetchError::NotFound { .. }) || !is_first && matches!(error, FetchError::Offline { .. })
}

/// The listing of checksums of `what`, from the text signed in the clear at `signed`. When nobody known vouches for it and
/// the user takes it so, it is the one at `plain`.
///
/// # Errors
/// [`SourceError::Unverifiable`]; [`SourceError::Untrusted`] when the signature speaks against the listing;
/// [`SourceError::Absent`] when there is no listing at all.
pub(super) async fn listing(
    at: &At<'_>,
    what: &str,
    signed: &str,
    plain: &str,
) -> Result<(Vec<u8>, Check), SourceError> {
    let reason = match small(at, signed, MAX_LISTING).await? {
        None => {
            let reason = format!("{signed} is not there");
            let listing = match small(at, plain, MAX_LISTING).await {
                Ok(Some(listing)) => listing,
                Ok(None) => {
                    let (what, signed, plain) = (what.to_owned(), signed.to_owned(), plain.to_owned());
                    return Err(SourceError::Absent { what, signed, plain });
                }
                // It would not vouch for anything, were it there.
                Err(error) => return Err(unverified(at, what, reason).err().unwrap_or(error)),
            };
            return Ok((listing, unverified(at, what, reason)?));
        }
        Some(text) => match at.keys.cleartext(&text) {
            Ok((listing, signer)) => {
                let (fingerprint, owner) = (signer.fingerprint, signer.owner);
                return Ok((listing, Check::SignedListing { listing: signed.to_owned(), fingerprint, owner }));
            }
            Err(error) if error.is_lack() => format!("{signed}: {error}"),
            Err(error) => {
                return Err(SourceError::Untrusted { what: signed.to_owned(), reason: error.to_string() });
            }
        },
    };
    let check = unverified(at, what, reason)?;
    Ok((at.http.small(plain, MAX_LISTING).await?, check))
}

/// The checksum of a file in a listing; `None` when it is not listed.
///
/// # Errors
/// [`SourceError::Verify`] when the listing is not to be used.
pub(super) fn listed(listing: &[u8], name: &str) -> Result<Option<[u8; 32]>, SourceError> {
    match crate::runtime::verify::listed(listing, name) {
        Ok(sum) => Ok(Some(sum)),
        Err(VerifyError::NotListed(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_an_index_is_asked_over_tls_or_at_the_indexs_own_server() {
        let base = "http://127.0.0.1:8080/api";
        for good in [
            "https://github.com/oven-sh/bun/releases/download/bun-v1.1.34/bun-linux-x64.zip",
            "https://github.com/a/jdk-21.0.5%2B11/b.tar.gz",
            "http://127.0.0.1:8080/files/a.zip",
        ] {
            assert!(is_allowed(good, base), "{good}");
        }
        for bad in [
            "http://github.com/a.zip",
            "http://127.0.0.1:8081/a.zip",
            "http://127.0.0.1/a.zip",
            "http://127.0.0.1:8080@evil.example/a.zip",
            "https://user:word@github.com/a.zip",
            "https://evil.example\\@github.com/a.zip",
            "https:///a.zip",
            "file:///etc/passwd",
            "ftp://127.0.0.1:8080/a",
            "/a.zip",
            "https://a.example/\n",
            "https://a.example/é",
            "",
        ] {
            assert!(!is_allowed(bad, base), "{bad}");
        }
        assert!(!is_allowed("http://nodejs.org/a", "https://nodejs.org/dist"));
    }

    #[test]
    fn a_plain_name_is_one_of_a_file() {
        assert!(is_plain_name("OpenJDK21U-jdk_x64_linux_hotspot_21.0.5_11.tar.gz"));
        for bad in ["", ".", "..", "a/b", "-x", "a b", "a\\b", "a%2fb", "a?b", "a\n", &"x".repeat(201)] {
            assert!(!is_plain_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_day_is_told_from_a_date_or_a_time() {
        assert_eq!(day("2024-10-29").as_deref(), Some("2024-10-29"));
        assert_eq!(day("2024-10-29T12:00:00Z").as_deref(), Some("2024-10-29"));
        for bad in ["", "2024-1-29", "29.10.2024", "2024-10-291", "2024\u{2010}10-2"] {
            assert_eq!(day(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn json_of_another_shape_is_told_with_its_address() {
        let error = json::<Vec<u32>>("http://a/index.json", b"{\"a\": 1}").unwrap_err();
        assert!(matches!(&error, SourceError::Unreadable { url, .. } if url == "http://a/index.json"), "{error}");
        assert!(json::<Vec<u32>>("http://a/index.json", b"<html>").is_err());
    }
}
