//! Listings of checksums, as sha256sum(1) and shasum(1) write them.

use super::VerifyError;

/// Longest listing, bytes. Node.js' have 4 thousand, python-build-standalone's 100 thousand.
const MAX_LISTING: usize = 4 << 20;

/// The SHA-256 that a text of 64 hexadecimal digits says.
pub fn sha256_of(text: &str) -> Option<[u8; 32]> {
    let mut sum = [0; 32];
    hex::decode_to_slice(text, &mut sum).ok()?;
    Some(sum)
}

/// The SHA-256 of the file `name` in a listing: lines `HASH  name`, `HASH *name`, `HASH  ./name` or `SHA256 (name) = HASH`,
/// or the hash and nothing else, as files called `name.sha256` have it.
///
/// # Errors
/// [`VerifyError::NotListed`]; [`VerifyError::Ambiguous`] when lines differ; [`VerifyError::TooLong`].
pub fn listed(listing: &[u8], name: &str) -> Result<[u8; 32], VerifyError> {
    if listing.len() > MAX_LISTING {
        return Err(VerifyError::TooLong { what: "the listing of checksums", most: MAX_LISTING });
    }
    // Lines that are no text name other files.
    let lines = listing.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let mut lines = lines.map(str::trim).filter(|line| !line.is_empty()).peekable();
    let mut found: Option<[u8; 32]> = None;
    let mut first = true;
    while let Some(line) = lines.next() {
        let sum = match sha256_of(line) {
            Some(sum) if first && lines.peek().is_none() => Some(sum),
            _ => entry(line).filter(|(file, _)| file.strip_prefix("./").unwrap_or(file) == name).map(|(_, sum)| sum),
        };
        first = false;
        match (sum, found) {
            (Some(sum), Some(other)) if sum != other => return Err(VerifyError::Ambiguous(short(name))),
            (Some(sum), _) => found = Some(sum),
            (None, _) => {}
        }
    }
    found.ok_or_else(|| VerifyError::NotListed(short(name)))
}

/// A file and its hash.
fn entry(line: &str) -> Option<(&str, [u8; 32])> {
    if let Some(rest) = line.strip_prefix("SHA256 (") {
        let (name, sum) = rest.rsplit_once(") = ")?;
        return Some((name, sha256_of(sum)?));
    }
    let (sum, name) = line.split_once(' ')?;
    // The second character tells whether it was read as text or as bytes; some write a single space.
    let name = name.strip_prefix([' ', '*']).unwrap_or(name);
    Some((name.trim_start(), sha256_of(sum)?))
}

fn short(name: &str) -> String {
    name.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const TWO: &str = "22222222222222222222222222222222222222222222222222222222222222Ff";

    fn hash(text: &str) -> [u8; 32] {
        sha256_of(text).unwrap()
    }

    #[test]
    fn every_way_to_write_a_line_is_read() {
        let two = TWO;
        for line in [
            format!("{two}  node-v20.10.0-linux-x64.tar.xz"),
            format!("{two} *node-v20.10.0-linux-x64.tar.xz\r"),
            format!("{two} node-v20.10.0-linux-x64.tar.xz"),
            format!("{two}  ./node-v20.10.0-linux-x64.tar.xz"),
            format!("SHA256 (node-v20.10.0-linux-x64.tar.xz) = {two}"),
        ] {
            let listing = format!("{ONE}  node-v20.10.0.tar.xz\n{line}\n{ONE}  win-x64/node.exe\n");
            assert_eq!(listed(listing.as_bytes(), "node-v20.10.0-linux-x64.tar.xz").unwrap(), hash(TWO), "{line}");
        }
        assert_eq!(listed(format!("{TWO}\n").as_bytes(), "a.tar.gz").unwrap(), hash(TWO));
    }

    #[test]
    fn a_name_is_found_whole_and_never_by_a_part_of_it() {
        let listing = format!("{ONE}  sub/a.tar.gz\n{ONE}  a.tar.gz.sig\n{ONE}  xa.tar.gz\n{ONE}  ../a.tar.gz\n");
        assert!(
            matches!(listed(listing.as_bytes(), "a.tar.gz"), Err(VerifyError::NotListed(name)) if name == "a.tar.gz")
        );
    }

    #[test]
    fn two_hashes_for_a_name_are_refused_and_the_same_one_twice_is_not() {
        let twice = format!("{ONE}  a\n{ONE} *a\n");
        assert_eq!(listed(twice.as_bytes(), "a").unwrap(), hash(ONE));
        let both = format!("{ONE}  a\n{TWO}  ./a\n");
        assert!(matches!(listed(both.as_bytes(), "a"), Err(VerifyError::Ambiguous(name)) if name == "a"));
    }

    #[test]
    fn hashes_of_other_kinds_and_lone_hashes_among_lines_count_for_nothing() {
        for listing in [
            format!("{}  a\n", &ONE[..40]),
            format!("{ONE}{ONE}  a\n"),
            format!("{ONE}\n{TWO}  b\n"),
            format!("{TWO}  b\n{ONE}\n"),
            format!("SHA512 (a) = {ONE}\n"),
            "<html>a</html>".to_owned(),
            String::new(),
        ] {
            assert!(matches!(listed(listing.as_bytes(), "a"), Err(VerifyError::NotListed(_))), "{listing}");
        }
    }

    #[test]
    fn lines_that_are_no_text_are_passed_over_and_no_listing_is_endless() {
        let mut listing = b"\xff\xfe  a\n".to_vec();
        listing.extend_from_slice(format!("{ONE}  a\n").as_bytes());
        assert_eq!(listed(&listing, "a").unwrap(), hash(ONE));
        let endless = vec![b'\n'; MAX_LISTING + 1];
        assert!(matches!(listed(&endless, "a"), Err(VerifyError::TooLong { most: MAX_LISTING, .. })));
    }
}
