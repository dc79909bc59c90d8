//! Rust, as its own channels publish it (<https://static.rust-lang.org>), installed to what rustup would make of it.
//!
//! - [`manifest`]: what a release has
//! - [`components`]: what of it is wanted
//! - [`layout`]: where components are put
//! - [`installed`]: what is written about them
//!
//! The order is: [`Rust::parts`], or [`additions`] for an installation that is there already; each part is unpacked where
//! [`layout::staged`] says; [`assemble`] puts all in place.

pub mod components;
pub mod installed;
pub mod layout;
pub mod manifest;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use self::components::{Component, DEFAULT_PROFILE};
use self::installed::{Installed, Kept, Record, hash};
use self::manifest::{Manifest, is_date};
use super::{At, Check, Part, Placing, Source, SourceError};
use crate::runtime::fetch::{Download, FetchError};
use crate::runtime::unpack::Format;
use crate::runtime::verify::{Signer, listed};
use crate::runtime::{Arch, Extras, Host, Libc, Native, Release, Version};

/// What manifests say where archives are; rustup, too, puts a mirror's address in its place.
pub const OFFICIAL: &str = "https://static.rust-lang.org";

/// Most bytes of a manifest: they have 1 million.
const MOST_MANIFEST: u64 = 32 << 20;

/// Most bytes of the list of manifests: it has half a million.
const MOST_LIST: u64 = 64 << 20;

/// Most bytes of a checksum or a signature.
const MOST_SMALL: u64 = 64 << 10;

/// Manifests of a version or a day stay as they are.
const FRESH_FIXED: Duration = Duration::from_secs(24 * 60 * 60);

const CHANNELS: [&str; 3] = ["stable", "beta", "nightly"];

/// Rust's own distribution server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rust;

#[async_trait]
impl Source for Rust {
    fn native(&self) -> Native {
        Native::Rust
    }

    /// From the list of all manifests, which upstream writes about once a week, and from the channels as they are now.
    async fn releases(&self, at: &At<'_>) -> Result<Vec<Release>, SourceError> {
        let list = match at.http.index(&format!("{}/manifests.txt", at.base), MOST_LIST, at.fresh).await {
            Ok(list) => list,
            // Mirrors often lack it, and have the channels; nothing is kept of what is lacking.
            Err(FetchError::NotFound(_) | FetchError::Offline(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut channels = Vec::new();
        let mut last = None;
        for channel in CHANNELS {
            let url = format!("{}/dist/channel-rust-{channel}.toml", at.base);
            match at.http.index(&url, MOST_MANIFEST, at.fresh).await {
                Ok(text) => channels.extend(now(channel, &text)),
                Err(error @ (FetchError::NotFound(_) | FetchError::Offline(_))) => last = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        let releases = releases(&String::from_utf8_lossy(&list), &channels);
        match last {
            Some(error) if releases.is_empty() => Err(error.into()),
            _ => Ok(releases),
        }
    }

    async fn parts(&self, at: &At<'_>, release: &Release, extras: &Extras) -> Result<Vec<Part>, SourceError> {
        let fetched = fetch(at, release.version.as_str()).await?;
        let version = release.version.as_str();
        planned(at.base, &fetched.manifest, fetched.hash, version, triple(at.host), extras, &fetched.checks)
    }

    fn assemble(&self, root: &Path, _version: &Version, parts: &[Part]) -> io::Result<()> {
        assemble(root, root, parts)
    }

    fn has_unlisted(&self) -> bool {
        true
    }

    fn additions(&self, at: &At<'_>, root: &Path, extras: &Extras) -> Result<Vec<Part>, SourceError> {
        additions(at.base, root, extras)
    }

    fn add(&self, from: &Path, root: &Path, parts: &[Part]) -> io::Result<()> {
        assemble(from, root, parts)
    }
}

/// What is fetched for a new installation by a manifest whose text has the SHA-256 `hash`.
///
/// # Errors
/// [`SourceError::NoSuchExtra`], and [`SourceError::Unreadable`] when an archive is somewhere else than below `base`.
pub fn planned(
    base: &str,
    manifest: &Manifest,
    hash: [u8; 32],
    version: &str,
    triple: &str,
    extras: &Extras,
    checks: &[Check],
) -> Result<Vec<Part>, SourceError> {
    let wanted =
        components::wanted(manifest, triple, extras).map_err(|error| SourceError::NoSuchExtra(error.to_string()))?;
    let installed = Installed {
        version: version.to_owned(),
        channel: channel(version).to_owned(),
        date: manifest.date.clone(),
        host: triple.to_owned(),
        profile: extras.profile.clone().unwrap_or_else(|| DEFAULT_PROFILE.to_owned()),
        manifest: hash,
        components: Vec::new(),
    };
    of(base, manifest, installed, &wanted, &|_| false, checks)
}

/// What is to be fetched so that an installation has the extras, too; nothing when it has them. The archives are those of
/// the very release that it was installed from, by the checksums of the manifest in it.
///
/// # Errors
/// As [`Source::parts`]; when it is no installation of this program.
pub fn additions(base: &str, root: &Path, extras: &Extras) -> Result<Vec<Part>, SourceError> {
    let unreadable = |path: &Path, reason: String| SourceError::Unreadable { url: path.display().to_string(), reason };
    let mut installed = Installed::read(root).map_err(|error| unreadable(root, error.to_string()))?;
    let path = layout::list(root, "multirust-channel-manifest.toml");
    let text = std::fs::read(&path).map_err(|error| unreadable(&path, error.to_string()))?;
    let manifest = Manifest::parse(&text).map_err(|error| unreadable(&path, error.to_string()))?;
    let wanted = components::missing(&manifest, &installed.host, &installed.components(), extras)
        .map_err(|error| SourceError::NoSuchExtra(error.to_string()))?;
    let host = installed.host.clone();
    if let Some(profile) = &extras.profile {
        installed.profile.clone_from(profile);
    }
    let extensions = manifest.rust(&installed.host).map(|rust| rust.extensions.as_slice()).unwrap_or_default();
    // rustup looks up a name with a target, or that needs none; what goes by a shorter name is an extension to it.
    let is_extension = |component: &Component| {
        let spoken = Component { package: manifest.spoken(&component.package).to_owned(), ..component.clone() };
        let in_full = |name: &String| *name == component.name() || *name == spoken.name();
        let shortly = |name: &String| manifest.renamed(name) == component.package;
        match extras.components.iter().any(in_full) {
            true => extensions.iter().any(|listed| listed.component() == *component),
            false => {
                let is_here = component.target.as_ref().is_none_or(|target| *target == host);
                is_here && extras.components.iter().any(shortly)
            }
        }
    };
    let checks = [Check::Checksum { listed_in: path.display().to_string() }];
    of(base, &manifest, installed, &wanted, &is_extension, &checks)
}

/// Puts what was unpacked below `from` into the installation `root`; a new one is put together in its own folder.
///
/// # Errors
/// When an archive is not of Rust's layout, and when something cannot be written.
pub fn assemble(from: &Path, root: &Path, parts: &[Part]) -> io::Result<()> {
    let placed = parts.iter().filter_map(|part| match &part.place {
        Placing::Component { name, record } => Some((name, record)),
        Placing::Strip(_) => None,
    });
    let placed: Vec<_> = placed.collect();
    let Some((_, record)) = placed.first() else { return Ok(()) };
    let components = record.installed.components();
    let unpacked: Vec<Component> =
        components.into_iter().filter(|component| placed.iter().any(|(name, _)| **name == component.name())).collect();
    layout::merge(from, root, &unpacked)?;
    record.write(root)
}

/// A manifest that is what upstream published.
struct Fetched {
    manifest: Manifest,
    /// Of its text.
    hash: [u8; 32],
    checks: Vec<Check>,
}

async fn fetch(at: &At<'_>, version: &str) -> Result<Fetched, SourceError> {
    let path = path(version);
    let url = format!("{}/{path}", at.base);
    let unreadable = |reason: String| SourceError::Unreadable { url: url.clone(), reason };
    let text = match at.http.index(&url, MOST_MANIFEST, FRESH_FIXED).await {
        Err(FetchError::NotFound(_)) => {
            let version = version.to_owned();
            return Err(SourceError::NotOffered { runtime: Native::Rust, version, host: at.host });
        }
        text => text?,
    };
    let hash: [u8; 32] = Sha256::digest(&text).into();
    let mut checks = Vec::new();

    let sum_url = format!("{url}.sha256");
    match at.http.small(&sum_url, MOST_SMALL).await {
        Ok(sum) => {
            let name = path.rsplit('/').next().unwrap_or_default();
            let published = listed(&sum, name)?;
            if published != hash {
                let (hash, published) = (hex::encode(hash), hex::encode(published));
                let reason = format!("its SHA-256 is {hash}, and {sum_url} says {published}");
                return Err(SourceError::Untrusted { what: url.clone(), reason });
            }
            checks.push(Check::Checksum { listed_in: url.clone() });
        }
        Err(FetchError::NotFound(_)) => checks.push(unverified(at, version, format!("{sum_url} is not there"))?),
        Err(error) => return Err(error.into()),
    }

    let signature_url = format!("{url}.asc");
    match at.http.small(&signature_url, MOST_SMALL).await {
        Ok(signature) => {
            checks.push(match at.keys.detached(&mut text.as_slice(), &signature) {
                Ok(Signer { fingerprint, owner }) => Check::SignedListing { listing: url.clone(), fingerprint, owner },
                Err(error) if error.is_lack() => unverified(at, version, format!("{signature_url}: {error}"))?,
                Err(error) => return Err(SourceError::Untrusted { what: signature_url, reason: error.to_string() }),
            });
        }
        Err(FetchError::NotFound(_)) => checks.push(unverified(at, version, format!("{signature_url} is not there"))?),
        Err(error) => return Err(error.into()),
    }

    let manifest = Manifest::parse(&text).map_err(|error| unreadable(error.to_string()))?;
    // What is signed does not say under which name it was published: an older one could be given for it.
    let told = manifest.packages.get("rust").map(|package| package.version.as_str()).unwrap_or_default();
    if !is_of(version, told, &manifest.date) {
        let told: String = told.chars().take(64).collect();
        let reason = format!("its manifest is of {told:?} and {}", manifest.date);
        return Err(SourceError::Untrusted { what: format!("Rust {version}"), reason });
    }
    Ok(Fetched { manifest, hash, checks })
}

/// Whether a manifest whose package is of the version `told`, and which was published on `date`, is of `version`.
fn is_of(version: &str, told: &str, date: &str) -> bool {
    let number = told.split(' ').next().unwrap_or_default();
    match version.split_once('-') {
        Some((channel @ ("nightly" | "beta"), day)) => {
            date == day && number.split_once('-').is_some_and(|(_, stage)| stage.starts_with(channel))
        }
        _ => number == version,
    }
}

fn unverified(at: &At<'_>, version: &str, reason: String) -> Result<Check, SourceError> {
    if at.unverified {
        return Ok(Check::Unverified { reason });
    }
    Err(SourceError::Unverifiable { what: format!("the manifest of Rust {version}"), reason })
}

/// Parts for components; `installed` gets them, before those that are in it as rustup has it.
fn of(
    base: &str,
    manifest: &Manifest,
    mut installed: Installed,
    wanted: &[Component],
    is_extension: &dyn Fn(&Component) -> bool,
    checks: &[Check],
) -> Result<Vec<Part>, SourceError> {
    let mut kept = Vec::new();
    let mut downloads = Vec::new();
    for component in wanted {
        let (download, format) = download(base, manifest, component)?;
        let hash = download.sha256.unwrap_or_default();
        kept.push(Kept { component: component.clone(), hash, is_extension: is_extension(component) });
        downloads.push((component.name(), download, format));
    }
    kept.append(&mut installed.components);
    installed.components = kept;
    let record = Arc::new(Record { manifest: manifest.clone(), installed });
    let part = |(name, download, format)| Part {
        download,
        format,
        place: Placing::Component { name, record: Arc::clone(&record) },
        checks: checks.to_vec(),
    };
    Ok(downloads.into_iter().map(part).collect())
}

fn download(base: &str, manifest: &Manifest, component: &Component) -> Result<(Download, Format), SourceError> {
    let name = component.name();
    let shown: String = name.chars().take(100).collect();
    let unreadable =
        |url: &str, reason: String| SourceError::Unreadable { url: url.chars().take(200).collect(), reason };
    let archive = manifest
        .target(component)
        .and_then(|target| target.archive())
        .ok_or_else(|| SourceError::NoSuchExtra(format!("{shown:?} was not built")))?;
    let url = match archive.url.strip_prefix(OFFICIAL) {
        Some(rest) => format!("{base}{rest}"),
        None => archive.url.to_owned(),
    };
    let below = url.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
    let file = below.filter(|rest| !rest.split('/').any(|step| step == "..")).and_then(|rest| rest.rsplit('/').next());
    let Some(file) = file.filter(|file| !file.is_empty() && !file.contains(['?', '#'])) else {
        return Err(unreadable(archive.url, format!("the archive of {shown:?} is not below {base}")));
    };
    let format = match file {
        file if file.ends_with(".tar.xz") => Format::TarXz,
        file if file.ends_with(".tar.gz") => Format::TarGz,
        _ => return Err(unreadable(archive.url, format!("the archive of {shown:?} is of no known format"))),
    };
    let sha256 = Some(hash(archive.hash).map_err(|reason| unreadable(archive.url, reason))?);
    let file = file.to_owned();
    Ok((Download { url, name: file, size: None, sha256 }, format))
}

/// How Rust calls a machine.
pub fn triple(host: Host) -> &'static str {
    match (host.arch, host.libc) {
        (Arch::X86_64, Libc::Glibc) => "x86_64-unknown-linux-gnu",
        (Arch::X86_64, Libc::Musl) => "x86_64-unknown-linux-musl",
        (Arch::Aarch64, Libc::Glibc) => "aarch64-unknown-linux-gnu",
        (Arch::Aarch64, Libc::Musl) => "aarch64-unknown-linux-musl",
    }
}

/// Where the manifest of a version is: `1.95.0`, `nightly-2026-11-20`, `beta-2026-11-20`.
fn path(version: &str) -> String {
    match version.split_once('-') {
        Some((channel @ ("beta" | "nightly"), date)) => format!("dist/{date}/channel-rust-{channel}.toml"),
        _ => format!("dist/channel-rust-{version}.toml"),
    }
}

/// The channel that a version came out on.
fn channel(version: &str) -> &'static str {
    match version {
        version if version.starts_with("nightly") => "nightly",
        version if version.contains("beta") => "beta",
        _ => "stable",
    }
}

/// A version of Rust, and the day on which it came out.
pub type Dated = (String, String);

/// What a channel is now, by the head of its manifest: it is a mebibyte long, and only its date and the version of `rust`
/// count here. What is installed is read whole, and checked.
fn now(channel: &str, manifest: &[u8]) -> Option<Dated> {
    let text = std::str::from_utf8(manifest).ok()?;
    let value = |line: &str, key: &str| {
        let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim();
        Some(value.strip_prefix('"')?.strip_suffix('"')?.to_owned())
    };
    let mut lines = text.lines();
    let date = lines.by_ref().take(20).find_map(|line| value(line, "date")).filter(|date| is_date(date))?;
    if channel != "stable" {
        return Some((format!("{channel}-{date}"), date));
    }
    let version =
        lines.skip_while(|line| *line != "[pkg.rust]").skip(1).take(5).find_map(|line| value(line, "version"))?;
    Some((version.split(' ').next()?.to_owned(), date))
}

/// Everything that a list of manifests has (`static.rust-lang.org/dist/2026-04-16/channel-rust-1.95.0.toml`), and what the
/// channels are now. What is no version (`channel-rust-1.95.toml`, `channel-rust-stable.toml`) is left out.
pub fn releases(list: &str, channels: &[Dated]) -> Vec<Release> {
    let listed = list.lines().filter_map(|line| {
        let (_, path) = line.trim().split_once("/dist/")?;
        let (date, file) = path.split_once('/')?;
        let name = file.strip_prefix("channel-rust-")?.strip_suffix(".toml")?;
        let version = match name {
            "beta" | "nightly" => format!("{name}-{date}"),
            name if is_numbered(name) => name.to_owned(),
            _ => return None,
        };
        is_date(date).then(|| (version, date.to_owned()))
    });
    let all: BTreeMap<String, String> = listed.chain(channels.iter().cloned()).collect();
    all.into_iter()
        .filter_map(|(name, date)| {
            let version = Version::parse(&Native::Rust.into(), &name).ok()?;
            Some(Release { version, lts: None, is_prerelease: channel(&name) != "stable", date: Some(date) })
        })
        .collect()
}

/// `1.95.0`, `1.96.0-beta.3`.
fn is_numbered(name: &str) -> bool {
    let (numbers, rest) = name.split_once('-').unwrap_or((name, ""));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
    let three = numbers.split('.').count() == 3 && numbers.split('.').all(is_number);
    three && (rest.is_empty() || rest.strip_prefix("beta.").is_some_and(is_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "static.rust-lang.org/dist/2026-04-16/channel-rust-1.95.0.toml\n\
                        static.rust-lang.org/dist/2026-04-16/channel-rust-1.95.toml\n\
                        static.rust-lang.org/dist/2026-04-16/channel-rust-stable.toml\n\
                        static.rust-lang.org/dist/2026-04-17/channel-rust-beta.toml\n\
                        static.rust-lang.org/dist/2026-04-17/channel-rust-1.96.0-beta.1.toml\n\
                        static.rust-lang.org/dist/2026-04-18/channel-rust-nightly.toml\n\
                        static.rust-lang.org/dist/../channel-rust-nightly.toml\n\
                        static.rust-lang.org/dist/2026-04-18/channel-rust-1.9x.0.toml\n";

    fn example() -> Manifest {
        Manifest::parse(include_bytes!("example.toml")).unwrap()
    }

    #[test]
    fn releases_are_those_of_the_list_and_of_the_channels_now() {
        let stable = now("stable", include_bytes!("example.toml"));
        assert_eq!(stable, Some(("1.95.0".to_owned(), "2026-04-16".to_owned())));
        let nightly = now("nightly", b"manifest-version = \"2\"\ndate = \"2026-04-20\"\n").unwrap();
        assert_eq!(now("nightly", b"<html>"), None);
        let releases = releases(LIST, &[nightly]);
        let shown: Vec<_> = releases
            .iter()
            .map(|release| (release.version.as_str(), release.date.as_deref().unwrap(), release.is_prerelease))
            .collect();
        assert_eq!(
            shown,
            [
                ("1.95.0", "2026-04-16", false),
                ("1.96.0-beta.1", "2026-04-17", true),
                ("beta-2026-04-17", "2026-04-17", true),
                ("nightly-2026-04-18", "2026-04-18", true),
                ("nightly-2026-04-20", "2026-04-20", true),
            ]
        );
    }

    #[test]
    fn a_version_has_one_place_for_its_manifest() {
        assert_eq!(path("1.95.0"), "dist/channel-rust-1.95.0.toml");
        assert_eq!(path("1.96.0-beta.1"), "dist/channel-rust-1.96.0-beta.1.toml");
        assert_eq!(path("nightly-2026-11-20"), "dist/2026-11-20/channel-rust-nightly.toml");
        assert_eq!(path("beta-2026-11-20"), "dist/2026-11-20/channel-rust-beta.toml");
    }

    #[test]
    fn archives_are_fetched_from_the_mirror_and_from_nowhere_else() {
        let mut manifest = example();
        let rustc = Component { package: "rustc".to_owned(), target: Some("x86_64-unknown-linux-gnu".to_owned()) };
        let (fetched, format) = download("http://127.0.0.1:1/rust", &manifest, &rustc).unwrap();
        let file = "rustc-1.95.0-x86_64-unknown-linux-gnu.tar.gz";
        assert_eq!(fetched.url, format!("http://127.0.0.1:1/rust/dist/2026-04-16/{file}"));
        assert_eq!((fetched.name.as_str(), fetched.sha256, format), (file, Some([0xa6; 32]), Format::TarGz));

        let mut refused = |url: &str| {
            let target = manifest.packages.get_mut("rustc").unwrap().targets.values_mut().next().unwrap();
            target.url = Some(url.to_owned());
            download("http://127.0.0.1:1", &manifest, &rustc).unwrap_err().to_string()
        };
        let outside = "the archive of \"rustc-x86_64-unknown-linux-gnu\" is not below http://127.0.0.1:1";
        for url in ["https://evil.example/a.tar.gz", "http://127.0.0.1:10/a.tar.gz", "http://127.0.0.1:1/../a.tar.gz"] {
            assert_eq!(refused(url), format!("{url} is not readable: {outside}"));
        }
        assert!(refused("http://127.0.0.1:1/a.exe").ends_with("is of no known format"));
    }

    #[test]
    fn a_manifest_is_of_the_version_that_it_tells_and_of_no_other() {
        let stable = "1.95.0 (59807616e 2026-04-14)";
        assert!(is_of("1.95.0", stable, "2026-04-16"));
        assert!(!is_of("1.60.0", stable, "2026-04-16") && !is_of("1.95", stable, "2026-04-16"));
        let nightly = "1.97.0-nightly (59807616e 2026-04-14)";
        assert!(is_of("nightly-2026-04-15", nightly, "2026-04-15"));
        assert!(
            !is_of("nightly-2026-04-16", nightly, "2026-04-15") && !is_of("beta-2026-04-15", nightly, "2026-04-15")
        );
        assert!(!is_of("1.97.0", nightly, "2026-04-15") && !is_of("nightly-2026-04-16", stable, "2026-04-16"));
        assert!(is_of("beta-2026-04-15", "1.96.0-beta.2 (59807616e 2026-04-14)", "2026-04-15"));
    }

    #[test]
    fn additions_are_what_an_installation_lacks_from_its_own_release() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("lib/rustlib")).unwrap();
        let triple = "x86_64-unknown-linux-gnu";
        let extras = Extras { profile: Some("minimal".to_owned()), ..Extras::default() };
        let minimal = components::wanted(&example(), triple, &extras).unwrap();
        let installed = Installed {
            version: "1.95.0".to_owned(),
            channel: "stable".to_owned(),
            date: "2026-04-16".to_owned(),
            host: triple.to_owned(),
            profile: "minimal".to_owned(),
            manifest: [1; 32],
            components: minimal
                .into_iter()
                .map(|component| Kept { component, hash: [2; 32], is_extension: false })
                .collect(),
        };
        Record { manifest: example(), installed }.write(root.path()).unwrap();

        let extras = Extras { components: vec!["rust-src".to_owned(), "cargo".to_owned()], ..Extras::default() };
        let parts = additions("http://127.0.0.1:1", root.path(), &extras).unwrap();
        let [part] = parts.as_slice() else { panic!("{parts:?}") };
        assert_eq!(part.download.url, "http://127.0.0.1:1/dist/2026-04-16/rust-src-1.95.0.tar.xz");
        let Placing::Component { name, record } = &part.place else { panic!("{part:?}") };
        assert_eq!(name, "rust-src");
        let names: Vec<_> = record.installed.components().iter().map(Component::name).collect();
        assert_eq!(names[0], "rust-src");
        assert_eq!(names.len(), 4);
        assert!(additions("http://127.0.0.1:1", root.path(), &Extras::default()).unwrap().is_empty());
    }
}
