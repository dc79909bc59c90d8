//! What is written into an installation about what is in it: rustup's lists and our own.

use std::fmt::Write;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::components::{Component, DEFAULT_PROFILE};
use super::layout::{list, replace};
use super::manifest::{Manifest, is_date, quoted};

/// Our own list, in the folder of the installation.
pub const FILE: &str = ".omg-toolchain.toml";

const FORMAT: u32 = 1;

/// Longest file, bytes.
const LONGEST: u64 = 1 << 20;

/// What an installation of Rust consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// `1.95.0`, `nightly-2026-11-20`.
    pub version: String,
    /// `stable`, `beta` or `nightly`.
    pub channel: String,
    /// Day of the release, `YYYY-MM-DD`.
    pub date: String,
    /// The machine that it runs on.
    pub host: String,
    pub profile: String,
    /// SHA-256 of the channel manifest that it was installed by, as fetched.
    pub manifest: [u8; 32],
    pub components: Vec<Kept>,
}

/// A component that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub component: Component,
    /// SHA-256 of the archive that it came in.
    pub hash: [u8; 32],
    /// As rustup notes it: whether it was added by its name later, and is none of the components that `rust` always has.
    pub is_extension: bool,
}

#[derive(Deserialize)]
struct Text {
    format: u32,
    version: String,
    channel: String,
    date: String,
    host: String,
    profile: Option<String>,
    manifest: String,
    #[serde(default)]
    components: Vec<TextOfComponent>,
}

#[derive(Deserialize)]
struct TextOfComponent {
    package: String,
    target: Option<String>,
    hash: String,
    #[serde(default)]
    extension: bool,
}

impl Installed {
    /// # Errors
    /// When there is none, or none that this program wrote.
    pub fn read(root: &Path) -> io::Result<Self> {
        let path = root.join(FILE);
        let found = std::fs::symlink_metadata(&path)?;
        let odd = |reason: String| {
            let reason: String = reason.chars().take(200).collect();
            io::Error::new(io::ErrorKind::InvalidData, format!("{path:?} is not readable: {reason}"))
        };
        if !found.is_file() || found.len() > LONGEST {
            return Err(odd("it is no file of such a length".to_owned()));
        }
        Self::parse(&std::fs::read_to_string(&path)?).map_err(odd)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text: Text = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if text.format != FORMAT {
            return Err(format!("it is of format {}", text.format));
        }
        if !is_date(&text.date) {
            return Err(format!("its date is {:?}", text.date));
        }
        let components = text.components.into_iter().map(|kept| {
            let component = Component { package: kept.package, target: kept.target };
            Ok(Kept { component, hash: hash(&kept.hash)?, is_extension: kept.extension })
        });
        Ok(Self {
            version: text.version,
            channel: text.channel,
            date: text.date,
            host: text.host,
            profile: text.profile.unwrap_or_else(|| DEFAULT_PROFILE.to_owned()),
            manifest: hash(&text.manifest)?,
            components: components.collect::<Result<_, String>>()?,
        })
    }

    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, root: &Path) -> io::Result<()> {
        replace(&root.join(FILE), &self.render())
    }

    fn render(&self) -> String {
        let mut text = format!("# What omg has installed here.\nformat = {FORMAT}\n");
        let fields = [
            ("version", &self.version),
            ("channel", &self.channel),
            ("date", &self.date),
            ("host", &self.host),
            ("profile", &self.profile),
        ];
        for (name, value) in fields {
            let _ = writeln!(text, "{name} = {}", quoted(value));
        }
        let _ = writeln!(text, "manifest = \"{}\"", hex::encode(self.manifest));
        for kept in &self.components {
            let _ = writeln!(text, "\n[[components]]\npackage = {}", quoted(&kept.component.package));
            if let Some(target) = &kept.component.target {
                let _ = writeln!(text, "target = {}", quoted(target));
            }
            let _ = writeln!(text, "hash = \"{}\"", hex::encode(kept.hash));
            if kept.is_extension {
                text.push_str("extension = true\n");
            }
        }
        text
    }

    /// The components alone.
    pub fn components(&self) -> Vec<Component> {
        self.components.iter().map(|kept| kept.component.clone()).collect()
    }
}

/// What is written besides the components: by it rustup, and this program later, know what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub manifest: Manifest,
    /// As it is to be when all is in place.
    pub installed: Installed,
}

impl Record {
    /// Our own list comes last: without it the installation is not complete.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn write(&self, root: &Path) -> io::Result<()> {
        replace(&list(root, "multirust-channel-manifest.toml"), &self.manifest.render())?;
        replace(&list(root, "multirust-config.toml"), &self.config())?;
        self.installed.write(root)
    }

    /// rustup's list of components by name and target.
    fn config(&self) -> String {
        let mut text = "config_version = \"1\"\n".to_owned();
        if self.installed.components.is_empty() {
            text.push_str("components = []\n");
        }
        for Kept { component, is_extension, .. } in &self.installed.components {
            let target = quoted(component.target.as_deref().unwrap_or("*"));
            let package = quoted(&component.package);
            let _ = writeln!(text, "\n[[components]]\npkg = {package}\ntarget = {target}");
            let _ = writeln!(text, "is_extension = {is_extension}");
        }
        text
    }
}

/// A SHA-256 in hexadecimal digits.
pub(super) fn hash(text: &str) -> Result<[u8; 32], String> {
    let mut hash = [0; 32];
    match hex::decode_to_slice(text, &mut hash) {
        Ok(()) => Ok(hash),
        Err(_) => Err(format!("{:?} is no SHA-256", text.chars().take(80).collect::<String>())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed() -> Installed {
        let component = |package: &str, target: Option<&str>| Kept {
            component: Component { package: package.to_owned(), target: target.map(str::to_owned) },
            hash: [0xab; 32],
            is_extension: target.is_none(),
        };
        Installed {
            version: "1.95.0".to_owned(),
            channel: "stable".to_owned(),
            date: "2026-04-16".to_owned(),
            host: "x86_64-unknown-linux-gnu".to_owned(),
            profile: "default".to_owned(),
            manifest: [0x12; 32],
            components: vec![component("cargo", Some("x86_64-unknown-linux-gnu")), component("rust-src", None)],
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let root = tempfile::tempdir().unwrap();
        installed().write(root.path()).unwrap();
        assert_eq!(Installed::read(root.path()).unwrap(), installed());
        let text = std::fs::read_to_string(root.path().join(FILE)).unwrap();
        assert!(text.contains("[[components]]\npackage = \"rust-src\"\nhash = \"abab"), "{text}");
    }

    #[test]
    fn a_list_that_cannot_be_read_is_no_list() {
        let root = tempfile::tempdir().unwrap();
        let refused = |text: &str| {
            std::fs::write(root.path().join(FILE), text).unwrap();
            Installed::read(root.path()).unwrap_err().to_string()
        };
        let whole = installed().render();
        assert!(refused(&whole.replace("format = 1", "format = 7")).ends_with("is not readable: it is of format 7"));
        assert!(refused(&whole.replace("2026-04-16", "today")).ends_with("is not readable: its date is \"today\""));
        let short = whole.replace(&hex::encode([0x12; 32]), "12");
        assert!(refused(&short).ends_with("is not readable: \"12\" is no SHA-256"));
    }

    #[test]
    fn rustup_s_list_has_the_targets_as_it_writes_them() {
        let manifest = Manifest::parse(include_bytes!("example.toml")).unwrap();
        let config = Record { manifest, installed: installed() }.config();
        assert_eq!(
            config,
            "config_version = \"1\"\n\n[[components]]\npkg = \"cargo\"\ntarget = \"x86_64-unknown-linux-gnu\"\n\
             is_extension = false\n\n[[components]]\npkg = \"rust-src\"\ntarget = \"*\"\nis_extension = true\n"
        );
    }
}
