//! A package of the AUR in the words that all packages are described in.

use super::AurPackage;
use crate::package::{Record, VersionDetails, VersionSource};

/// The label of the AUR among the repositories.
pub const REPOSITORY: &str = "aur";

impl AurPackage {
    /// The version that the AUR has. Fields have pacman's names where pacman has them.
    pub fn to_version(&self) -> VersionDetails {
        let mut record = Record::default();
        let text = Option::as_deref;
        record.text("Base", Some(&self.package_base));
        record.text("URL", text(&self.url));
        record.list("Licenses", words(&self.license));
        record.list("Groups", words(&self.groups));
        record.list("Provides", words(&self.provides));
        record.list("Depends On", words(&self.depends));
        record.lines("Optional Deps", self.opt_depends.iter().cloned());
        record.list("Make Deps", words(&self.make_depends));
        record.list("Check Deps", words(&self.check_depends));
        record.list("Conflicts With", words(&self.conflicts));
        record.list("Replaces", words(&self.replaces));
        record.text("Maintainer", Some(self.maintainer.as_deref().unwrap_or("nobody (orphaned)")));
        record.list("Co-maintainers", words(&self.co_maintainers));
        record.text("Submitter", text(&self.submitter));
        record.text("Votes", Some(&self.num_votes.to_string()));
        record.text("Popularity", Some(&format!("{:.2}", self.popularity)));
        record.time("Out Of Date", self.out_of_date);
        record.time("First Submitted", Some(self.first_submitted));
        record.time("Last Modified", Some(self.last_modified));
        record.list("Keywords", words(&self.keywords));
        record.text("Snapshot", text(&self.url_path));
        VersionDetails {
            version: self.version.clone(),
            candidate: true,
            repository: REPOSITORY.to_owned(),
            sources: vec![VersionSource { priority: 0, description: format!("{REPOSITORY} {}", self.package_base) }],
            summary: self.description.as_deref().unwrap_or_default().to_owned(),
            record: record.finish(),
            ..VersionDetails::default()
        }
    }

    /// The names that it provides besides its own, without versions.
    pub fn provided_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for provided in &self.provides {
            let name = provided.split(['=', '<', '>']).next().unwrap_or_default();
            if !name.is_empty() && name != self.name && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}

/// Values of a list, which commas separate.
fn words(values: &[String]) -> impl Iterator<Item = &str> {
    values.iter().map(String::as_str).filter(|value| !value.is_empty() && !value.contains(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_have_pacmans_field_names_and_no_value_makes_a_field() {
        let package = AurPackage {
            name: "yay".into(),
            package_base: "yay".into(),
            version: "12-1".into(),
            description: Some("A helper".into()),
            maintainer: Some("a\nVotes: 99999".into()),
            depends: vec!["pacman>6".into(), "git".into()],
            provides: vec!["yay=12".into(), "aur-helper".into(), "aur-helper>=1".into()],
            opt_depends: vec!["sudo: rights, more".into()],
            num_votes: 7,
            popularity: 1.234,
            out_of_date: Some(1_700_000_000),
            ..AurPackage::default()
        };
        let version = package.to_version();
        assert_eq!(version.field("Depends On"), Some("pacman>6, git"));
        assert_eq!(version.field("Optional Deps"), Some("sudo: rights, more"));
        assert_eq!((version.field("Votes"), version.field("Popularity")), (Some("7"), Some("1.23")));
        assert_eq!(version.field("Out Of Date"), Some("1700000000"));
        assert_eq!(version.fields().filter(|(name, _)| *name == "Votes").count(), 1);
        assert_eq!((version.repository.as_str(), version.summary.as_str()), ("aur", "A helper"));
        assert_eq!(package.provided_names(), ["aur-helper"]);
    }
}
