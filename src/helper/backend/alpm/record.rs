//! The record of a package: the fields that `pacman -Si` and `pacman -Qi` show, by their names there.

use alpm::{AlpmList, Dep, Package, PackageReason, PackageValidation};
use omg::package::VersionDetails;

/// What the whole database says of an installed package.
#[derive(Debug, Default)]
pub struct Needed {
    /// Names of installed packages that depend on it.
    pub by: Vec<String>,
    /// Names of installed packages that would like to have it.
    pub optional_for: Vec<String>,
}

/// A record under construction: `Field: value` lines. An empty value is left out; a list is joined by commas, which no
/// name and no version of libalpm's holds.
#[derive(Debug, Default)]
struct Record(String);

impl Record {
    fn text(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value.filter(|value| !value.trim().is_empty()) else { return };
        self.0.push_str(name);
        self.0.push_str(": ");
        // A value never starts a field of its own.
        self.0.push_str(&value.replace('\n', "\n "));
        self.0.push('\n');
    }

    fn list<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a str>) {
        let values: Vec<&str> = values.into_iter().collect();
        self.text(name, Some(&values.join(", ")));
    }

    fn relations(&mut self, name: &str, relations: AlpmList<'_, &Dep>) {
        let relations: Vec<String> = relations.iter().map(ToString::to_string).collect();
        self.list(name, relations.iter().map(String::as_str));
    }

    /// One on each line, since what they are for is free text.
    fn lines(&mut self, name: &str, lines: impl IntoIterator<Item = String>) {
        let lines: Vec<String> = lines.into_iter().map(|line| line.replace('\n', " ")).collect();
        if !lines.is_empty() {
            self.text(name, Some(&format!("\n{}", lines.join("\n"))));
        }
    }

    fn time(&mut self, name: &str, seconds: Option<i64>) {
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
            self.text(name, Some(&seconds.to_string()));
        }
    }
}

/// One version of a package, as a repository offers it or as it is installed. `local` adds what only the local database
/// says.
pub fn version(package: &Package, repository: &str, local: Option<(&Package, &Needed)>) -> VersionDetails {
    let mut record = Record::default();
    record.text("Base", package.base());
    record.text("URL", package.url());
    record.list("Licenses", package.licenses().iter());
    record.list("Groups", package.groups().iter());
    record.relations("Provides", package.provides());
    record.relations("Depends On", package.depends());
    record.lines("Optional Deps", package.optdepends().iter().map(ToString::to_string));
    record.relations("Make Deps", package.makedepends());
    record.relations("Check Deps", package.checkdepends());
    if let Some((_, needed)) = local {
        record.list("Required By", needed.by.iter().map(String::as_str));
        record.list("Optional For", needed.optional_for.iter().map(String::as_str));
    }
    record.relations("Conflicts With", package.conflicts());
    record.relations("Replaces", package.replaces());
    record.text("Packager", package.packager());
    // Unix time in seconds: clients show it in the user's own way.
    record.time("Build Date", Some(package.build_date()));
    if let Some((installed, _)) = local {
        record.time("Install Date", installed.install_date());
        let explicit = installed.reason() == PackageReason::Explicit;
        record.text("Install Reason", Some(if explicit { "explicit" } else { "dependency" }));
        record.text("Install Script", Some(if installed.has_scriptlet() { "yes" } else { "no" }));
    }
    let validation = local.map_or(package, |(installed, _)| installed).validation();
    record.list("Validated By", validations(validation));
    record.text("SHA-256 Sum", package.sha256sum());
    record.text("Filename", package.filename());
    VersionDetails {
        version: package.version().to_string(),
        arch: package.arch().unwrap_or_default().to_owned(),
        priority: 0,
        installed: local.is_some(),
        candidate: false,
        repository: repository.to_owned(),
        sources: Vec::new(),
        download_size: size(package.size()),
        installed_size: size(package.isize()),
        summary: package.desc().unwrap_or_default().to_owned(),
        description: String::new(),
        record: record.0,
    }
}

fn validations(validation: PackageValidation) -> impl Iterator<Item = &'static str> {
    [
        (PackageValidation::NONE, "none"),
        (PackageValidation::MD5SUM, "md5"),
        (PackageValidation::SHA256SUM, "sha256"),
        (PackageValidation::SIGNATURE, "signature"),
    ]
    .into_iter()
    .filter(move |(kind, _)| validation.contains(*kind))
    .map(|(_, name)| name)
}

/// libalpm's sizes are signed, and negative in a record that lies.
fn size(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}
