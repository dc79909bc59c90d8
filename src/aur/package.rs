//! One package as the AUR describes it.

use serde::{Deserialize, Serialize};

/// Longest package name that is believed, bytes.
const MAX_NAME: usize = 255;

/// An entry of `packages-meta-ext-v1.json`, which is also what RPC v5 answers about a package (`info`); one of its
/// `search` results, and of `packages-meta-v1.json`, has no relations. Names are the AUR's own.
///
/// Nothing in it is checked: [`AurPackage::is_sound`] tells whether it may be used.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AurPackage {
    #[serde(rename = "ID")]
    pub id: u64,
    pub name: String,
    #[serde(rename = "PackageBaseID")]
    pub package_base_id: u64,
    /// Name of the repository with its PKGBUILD, which may make several packages.
    pub package_base: String,
    /// As pacman writes it: `epoch:pkgver-pkgrel`.
    pub version: String,
    pub description: Option<String>,
    #[serde(rename = "URL")]
    pub url: Option<String>,
    pub num_votes: u32,
    /// Votes that fade with their age; never negative.
    pub popularity: f64,
    /// When somebody said that a newer version is out, Unix seconds.
    pub out_of_date: Option<i64>,
    /// Nobody where the package is an orphan.
    pub maintainer: Option<String>,
    pub submitter: Option<String>,
    /// Unix seconds.
    pub first_submitted: i64,
    /// Unix seconds.
    pub last_modified: i64,
    /// Of the snapshot of the repository, from the AUR's root: `/cgit/aur.git/snapshot/NAME.tar.gz`.
    #[serde(rename = "URLPath")]
    pub url_path: Option<String>,
    pub depends: Vec<String>,
    pub make_depends: Vec<String>,
    pub check_depends: Vec<String>,
    /// `name: what it is for`.
    pub opt_depends: Vec<String>,
    pub conflicts: Vec<String>,
    pub provides: Vec<String>,
    pub replaces: Vec<String>,
    pub groups: Vec<String>,
    pub license: Vec<String>,
    pub keywords: Vec<String>,
    pub co_maintainers: Vec<String>,
}

impl AurPackage {
    /// Whether its names are such as pacman's tools accept, and its version is one word: what else it says is text, this
    /// becomes arguments, paths and addresses.
    pub fn is_sound(&self) -> bool {
        is_package_name(&self.name)
            && is_package_name(&self.package_base)
            && !self.version.is_empty()
            && self.version.len() <= MAX_NAME
            && self.version.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
    }
}

/// Whether `name` is one that makepkg takes (`pkgname`, PKGBUILD(5)): ASCII letters, digits and `@._+-`, the first neither
/// a hyphen nor a dot.
pub fn is_package_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with(['-', '.'])
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_as_the_aur_writes_it_is_read() {
        let text = r#"{"ID":1,"Name":"yay","PackageBaseID":2,"PackageBase":"yay","Version":"12.4.2-1",
            "Description":null,"URL":"https://github.com/Jguer/yay","NumVotes":2400,"Popularity":29.5,"OutOfDate":null,
            "Maintainer":"jguer","Submitter":"jguer","FirstSubmitted":1475688004,"LastModified":1733946186,
            "URLPath":"/cgit/aur.git/snapshot/yay.tar.gz","Depends":["pacman>6.1","git"],"MakeDepends":["go>=1.21"],
            "OptDepends":["sudo: privilege elevation"],"License":["GPL-3.0-or-later"],"Keywords":["aur"],"Later":{}}"#;
        let package: AurPackage = serde_json::from_str(text).unwrap();
        assert_eq!((package.id, package.package_base_id, package.num_votes), (1, 2, 2400));
        assert_eq!(package.url.as_deref(), Some("https://github.com/Jguer/yay"));
        assert_eq!(package.url_path.as_deref(), Some("/cgit/aur.git/snapshot/yay.tar.gz"));
        assert_eq!(package.depends, ["pacman>6.1", "git"]);
        assert_eq!((package.description.clone(), package.out_of_date), (None, None));
        assert!(package.is_sound());
    }

    #[test]
    fn names_that_pacman_would_not_take_are_not_sound() {
        for name in ["", "-rf", ".hidden", "../x", "a/b", "a b", "a\u{1b}[2J", "é", "a\n"] {
            assert!(!is_package_name(name), "{name:?}");
        }
        for name in ["yay-bin", "lib32-libx+", "python-3.x_y", "Zotero@1"] {
            assert!(is_package_name(name), "{name:?}");
        }
        let sound =
            AurPackage { name: "a".into(), package_base: "a".into(), version: "1:2-1".into(), ..Default::default() };
        assert!(sound.is_sound());
        assert!(!AurPackage { version: "1 2".into(), ..sound.clone() }.is_sound());
        assert!(!AurPackage { version: "1/../2".into(), ..sound.clone() }.is_sound());
        assert!(!AurPackage { package_base: "../x".into(), ..sound }.is_sound());
    }
}
