//! Channel manifests: what a release of Rust has, for which machines, and where
//! (<https://forge.rust-lang.org/infra/channel-layout.html>).

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;
use thiserror::Error;

use super::components::Component;

/// The only version of the format that has components; the one before it was a list of names.
const VERSION: &str = "2";

/// What a manifest says. What rustup leaves out of its copy of it (`artifacts`, `git_commit_hash`) is left out here too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    pub manifest_version: String,
    /// Folder of the release, `YYYY-MM-DD`.
    pub date: String,
    /// By name, after renaming.
    #[serde(rename = "pkg")]
    pub packages: BTreeMap<String, Package>,
    /// From the name that people say to the one that the package has.
    #[serde(default)]
    pub renames: BTreeMap<String, Renamed>,
    /// None in manifests of before 2019.
    #[serde(default)]
    pub profiles: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Renamed {
    pub to: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Package {
    /// `1.95.0 (59807616e 2026-04-14)`.
    #[serde(default)]
    pub version: String,
    /// By target triple; `*` for what is the same on all of them.
    #[serde(default, rename = "target")]
    pub targets: BTreeMap<String, Target>,
}

/// A package for one target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Target {
    pub available: bool,
    pub url: Option<String>,
    pub hash: Option<String>,
    pub xz_url: Option<String>,
    pub xz_hash: Option<String>,
    pub zst_url: Option<String>,
    pub zst_hash: Option<String>,
    #[serde(default)]
    pub components: Vec<Listed>,
    #[serde(default)]
    pub extensions: Vec<Listed>,
}

/// A component, as a package lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listed {
    pub pkg: String,
    /// `*` or nothing: for all targets.
    pub target: Option<String>,
}

/// Why a text is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    #[error("it is no channel manifest: {0}")]
    Malformed(String),
    #[error("it is a manifest of version {0:?}, and only version 2 is known")]
    Version(String),
    #[error("its date is {0:?}")]
    Date(String),
    #[error("it has no package \"rust\"")]
    NoRust,
}

impl Manifest {
    /// # Errors
    /// Any [`ManifestError`].
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        let malformed = |reason: String| ManifestError::Malformed(reason.chars().take(200).collect());
        let text = std::str::from_utf8(text).map_err(|error| malformed(error.to_string()))?;
        let manifest: Self = toml::from_str(text).map_err(|error| malformed(error.message().to_owned()))?;
        if manifest.manifest_version != VERSION {
            return Err(ManifestError::Version(manifest.manifest_version.chars().take(20).collect()));
        }
        if !is_date(&manifest.date) {
            return Err(ManifestError::Date(manifest.date.chars().take(20).collect()));
        }
        if !manifest.packages.contains_key("rust") {
            return Err(ManifestError::NoRust);
        }
        Ok(manifest)
    }

    /// The package `rust` for a machine, which lists everything that there is for it.
    pub fn rust(&self, triple: &str) -> Option<&Target> {
        self.packages.get("rust")?.target(Some(triple))
    }

    /// The package of a component; `None` when there is none, or none for its target.
    pub fn target(&self, component: &Component) -> Option<&Target> {
        self.packages.get(&component.package)?.target(component.target.as_deref())
    }

    /// The name that a package has, from the one that people say.
    pub fn renamed<'a>(&'a self, name: &'a str) -> &'a str {
        self.renames.get(name).map_or(name, |renamed| &renamed.to)
    }

    /// The name that people say, from the one that a package has.
    pub fn spoken<'a>(&'a self, package: &'a str) -> &'a str {
        self.renames.iter().find(|(_, renamed)| renamed.to == package).map_or(package, |(name, _)| name)
    }

    /// The copy that rustup keeps in an installation: byte for byte what it writes, so that it finds its own there.
    pub fn render(&self) -> String {
        let mut text = format!("manifest-version = \"2\"\ndate = {}\n", quoted(&self.date));
        for (name, package) in &self.packages {
            let name = key(name);
            let _ = writeln!(text, "\n[pkg.{name}]\nversion = {}", quoted(&package.version));
            for (triple, target) in &package.targets {
                target.render(&format!("pkg.{name}.target.{}", key(triple)), &mut text);
            }
        }
        if self.renames.is_empty() {
            text.push_str("\n[renames]\n");
        }
        for (name, renamed) in &self.renames {
            let _ = writeln!(text, "\n[renames.{}]\nto = {}", key(name), quoted(&renamed.to));
        }
        text.push_str("\n[profiles]\n");
        for name in ["minimal", "default", "complete"] {
            if let Some(components) = self.profiles.get(name) {
                let components: Vec<_> = components.iter().map(|component| quoted(component)).collect();
                let _ = writeln!(text, "{name} = [{}]", components.join(", "));
            }
        }
        text
    }
}

impl Package {
    fn target(&self, triple: Option<&str>) -> Option<&Target> {
        // rustup takes `*` for everything only when it is alone.
        match (self.targets.len(), self.targets.get("*")) {
            (1, Some(every)) => Some(every),
            _ => self.targets.get(triple?),
        }
    }
}

/// An archive of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Archive<'a> {
    pub url: &'a str,
    /// SHA-256, hexadecimal.
    pub hash: &'a str,
}

impl Target {
    /// The archive to fetch: the smaller one where there are two. `None` when the package was not built.
    pub fn archive(&self) -> Option<Archive<'_>> {
        let both = |url: &'_ Option<String>, hash: &'_ Option<String>| url.is_some() && hash.is_some();
        let (url, hash) =
            if both(&self.xz_url, &self.xz_hash) { (&self.xz_url, &self.xz_hash) } else { (&self.url, &self.hash) };
        let archive = Archive { url: url.as_deref()?, hash: hash.as_deref()? };
        self.available.then_some(archive)
    }

    fn render(&self, path: &str, text: &mut String) {
        let archives = [
            ("url", &self.url, "hash", &self.hash),
            ("xz_url", &self.xz_url, "xz_hash", &self.xz_hash),
            ("zst_url", &self.zst_url, "zst_hash", &self.zst_hash),
        ];
        let archives = archives.into_iter().filter_map(|(url_key, url, hash_key, hash)| {
            Some((url_key, url.as_deref()?, hash_key, hash.as_deref()?)).filter(|_| self.available)
        });
        let archives: Vec<_> = archives.collect();
        let _ = writeln!(text, "\n[{path}]\navailable = {}", !archives.is_empty());
        for (url_key, url, hash_key, hash) in archives {
            let _ = writeln!(text, "{url_key} = {}\n{hash_key} = {}", quoted(url), quoted(hash));
        }
        let lists = [("components", &self.components), ("extensions", &self.extensions)];
        for (name, list) in lists {
            if list.is_empty() {
                let _ = writeln!(text, "{name} = []");
            }
        }
        for (name, list) in lists {
            for listed in list {
                let target = quoted(listed.target.as_deref().unwrap_or("*"));
                let _ = writeln!(text, "\n[[{path}.{name}]]\npkg = {}\ntarget = {target}", quoted(&listed.pkg));
                let _ = writeln!(text, "is_extension = {}", name == "extensions");
            }
        }
    }
}

impl Listed {
    pub fn component(&self) -> Component {
        let target = self.target.clone().filter(|target| target != "*");
        Component { package: self.pkg.clone(), target }
    }
}

/// Whether a text is a day, `YYYY-MM-DD`.
pub fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let lengths = [4, 2, 2].into_iter().all(|length| {
        parts.next().is_some_and(|part| part.len() == length && part.bytes().all(|digit| digit.is_ascii_digit()))
    });
    lengths && parts.next().is_none()
}

/// A key of TOML.
fn key(name: &str) -> String {
    let bare = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// A string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            letter if letter.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of a manifest of 2026, shortened.
    pub(in super::super) const EXAMPLE: &str = include_str!("example.toml");

    #[test]
    fn a_manifest_is_read_and_its_copy_says_the_same() {
        let manifest = Manifest::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(manifest.date, "2026-04-16");
        assert_eq!(manifest.renamed("clippy"), "clippy-preview");
        assert_eq!(manifest.spoken("clippy-preview"), "clippy");
        let copy = manifest.render();
        assert_eq!(Manifest::parse(copy.as_bytes()).unwrap(), manifest);
        assert!(copy.starts_with("manifest-version = \"2\"\ndate = \"2026-04-16\"\n\n[pkg.cargo]\n"), "{copy}");
        assert!(!copy.contains("artifacts"), "{copy}");
    }

    #[test]
    fn the_copy_of_a_real_installation_is_rendered_byte_for_byte() {
        let sysroot = std::process::Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
        let sysroot = std::path::PathBuf::from(String::from_utf8(sysroot.stdout).unwrap().trim());
        let Ok(kept) = std::fs::read_to_string(sysroot.join("lib/rustlib/multirust-channel-manifest.toml")) else {
            return; // A distribution's own Rust has none.
        };
        let rendered = Manifest::parse(kept.as_bytes()).unwrap().render();
        let differing = kept.lines().zip(rendered.lines()).enumerate().find(|(_, (kept, rendered))| kept != rendered);
        assert_eq!(differing, None);
        assert_eq!(kept.len(), rendered.len());
    }

    #[test]
    fn the_smaller_archive_is_taken_and_what_was_not_built_has_none() {
        let manifest = Manifest::parse(EXAMPLE.as_bytes()).unwrap();
        let host = || Some("x86_64-unknown-linux-gnu".to_owned());
        let cargo = manifest.target(&Component { package: "cargo".to_owned(), target: host() }).unwrap();
        assert_eq!(cargo.archive().unwrap().url.rsplit('.').next(), Some("xz"));
        let source = manifest.target(&Component { package: "rust-src".to_owned(), target: None }).unwrap();
        assert!(source.archive().is_some());
        let miri = manifest.target(&Component { package: "miri-preview".to_owned(), target: host() }).unwrap();
        assert_eq!(miri.archive(), None);
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_the_reason() {
        let refused = |text: &str| Manifest::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            refused("manifest-version = \"3\"\ndate = \"2026-04-16\"\n[pkg]\n"),
            "it is a manifest of version \"3\", and only version 2 is known"
        );
        assert_eq!(refused("manifest-version = \"2\"\ndate = \"../..\"\n[pkg]\n"), "its date is \"../..\"");
        assert_eq!(refused("manifest-version = \"2\"\ndate = \"2026-04-16\"\n[pkg]\n"), "it has no package \"rust\"");
        assert!(refused("<html>").starts_with("it is no channel manifest: "));
    }

    #[test]
    fn a_day_is_told_from_other_texts() {
        assert!(is_date("2026-11-20"));
        for bad in ["", "2026-11", "2026-11-20-1", "26-11-20", "2026-1x-20", "2026/11/20"] {
            assert!(!is_date(bad), "{bad:?}");
        }
    }
}
