//! The AUR's RPC interface, version 5: what is newer than the archive.

use std::time::Duration;

use serde::Deserialize;

use super::{AurPackage, Http, HttpError, is_package_name};

/// The longest address of one request without its beginning, bytes: the AUR takes 4443.
const MAX_ADDRESS: usize = 4000;

/// The most bytes of an answer.
const MAX_ANSWER: u64 = 8 << 20;

/// For an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What every answer has.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    results: Vec<AurPackage>,
}

impl Http {
    /// What the AUR knows of these packages; one that it does not know is not among the answers. Names that cannot be
    /// packages' are not asked for, and packages that nobody asked for are dropped.
    ///
    /// # Errors
    /// Any [`HttpError`].
    pub async fn info(&self, names: &[String]) -> Result<Vec<AurPackage>, HttpError> {
        let mut packages = Vec::new();
        for path in paths(names) {
            let body = self.get(&path, PATIENCE, MAX_ANSWER).await?;
            packages.extend(read(&body)?);
        }
        packages.retain(|package: &AurPackage| package.is_sound() && names.contains(&package.name));
        Ok(packages)
    }
}

/// What a search looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SearchBy {
    Name,
    NameAndDescription,
    Provides,
}

/// The AUR takes no shorter search.
const SHORTEST_SEARCH: usize = 2;

/// Longest term of a search, bytes.
const LONGEST_SEARCH: usize = 200;

/// Whether the AUR searches for this.
pub fn is_search(term: &str) -> bool {
    term.chars().count() >= SHORTEST_SEARCH && term.len() <= LONGEST_SEARCH
}

impl Http {
    /// The packages that the AUR finds, in its order and without their relations.
    ///
    /// # Errors
    /// Any [`HttpError`]; the AUR refuses what is shorter than [`SHORTEST_SEARCH`] and what finds thousands.
    pub async fn search(&self, term: &str, by: SearchBy) -> Result<Vec<AurPackage>, HttpError> {
        if !is_search(term) {
            let text = format!("the AUR searches for {SHORTEST_SEARCH} letters or more, {LONGEST_SEARCH} at most");
            return Err(HttpError::Refused(text));
        }
        let by = match by {
            SearchBy::Name => "name",
            SearchBy::NameAndDescription => "name-desc",
            SearchBy::Provides => "provides",
        };
        let body = self.get(&format!("/rpc/v5/search/{}?by={by}", encoded(term)), PATIENCE, MAX_ANSWER).await?;
        let mut packages = read(&body)?;
        packages.retain(AurPackage::is_sound);
        Ok(packages)
    }
}

/// As a part of an address (RFC 3986).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn read(body: &[u8]) -> Result<Vec<AurPackage>, HttpError> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| HttpError::Damaged(format!("no answer of the RPC: {error}")))?;
    match answer.error {
        // A stranger's words.
        Some(error) => Err(HttpError::Refused(error.chars().filter(|c| !c.is_control()).take(200).collect())),
        None => Ok(answer.results),
    }
}

/// The addresses, below the AUR's own, that ask for all of the names.
fn paths(names: &[String]) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for name in names.iter().filter(|name| is_package_name(name)) {
        // The other characters of names stand for themselves (RFC 3986).
        let argument = format!("arg%5B%5D={}", name.replace('+', "%2B").replace('@', "%40"));
        match paths.last_mut() {
            Some(path) if path.len() + 1 + argument.len() <= MAX_ADDRESS => {
                path.push('&');
                path.push_str(&argument);
            }
            _ => paths.push(format!("/rpc/v5/info?{argument}")),
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_asked_for_once_in_addresses_of_bounded_length() {
        let names: Vec<String> =
            (0..500).map(|number| format!("package-c++-{number}")).chain(["../x".into()]).collect();
        let paths = paths(&names);
        assert!(paths.len() > 1 && paths.iter().all(|path| path.len() <= MAX_ADDRESS && !path.contains("../")));
        let asked: Vec<String> = paths
            .iter()
            .flat_map(|path| path.strip_prefix("/rpc/v5/info?").unwrap().split('&'))
            .map(|argument| argument.strip_prefix("arg%5B%5D=").unwrap().replace("%2B", "+"))
            .collect();
        assert_eq!(asked, names[..500]);
    }

    #[test]
    fn a_term_stays_one_part_of_the_address() {
        assert_eq!(encoded("c++ ../é?#%"), "c%2B%2B%20%2E%2E%2F%C3%A9%3F%23%25");
    }

    #[test]
    fn an_error_in_an_answer_is_an_error() {
        assert!(matches!(read(br#"{"error":"Too many\u001b requests","results":[],"type":"error"}"#),
            Err(HttpError::Refused(text)) if text == "Too many requests"));
        assert!(matches!(read(b"<html>"), Err(HttpError::Damaged(_))));
        assert_eq!(read(br#"{"resultcount":0,"results":[],"type":"multiinfo","version":5}"#).unwrap(), []);
    }
}
