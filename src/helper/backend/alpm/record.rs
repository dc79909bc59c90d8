//! The record of a package: the fields that `pacman -Si` and `pacman -Qi` show, by their names there.

use alpm::{AlpmList, Dep, DepModVer, Package, PackageReason, PackageValidation};
use omg::package::{Record, VersionDetails};

/// What the whole database says of an installed package.
#[derive(Debug, Default)]
pub struct Needed {
    /// Names of installed packages that depend on it.
    pub by: Vec<String>,
    /// Names of installed packages that would like to have it.
    pub optional_for: Vec<String>,
}

/// No name and no version of libalpm's holds a comma.
fn relations(record: &mut Record, name: &str, relations: AlpmList<'_, &Dep>) {
    record.list_of(name, relations, relation);
}

/// As `alpm_dep_compute_string` puts it, which takes longer than all else that is done with a relation.
fn relation(text: &mut String, relation: &Dep) {
    text.push_str(relation.name());
    let (operator, version) = match relation.depmodver() {
        DepModVer::Any => ("", None),
        DepModVer::Eq(version) => ("=", Some(version)),
        DepModVer::Ge(version) => (">=", Some(version)),
        DepModVer::Le(version) => ("<=", Some(version)),
        DepModVer::Gt(version) => (">", Some(version)),
        DepModVer::Lt(version) => ("<", Some(version)),
    };
    text.push_str(operator);
    text.push_str(version.map(|version| version.as_str()).unwrap_or_default());
    if let Some(why) = relation.desc() {
        text.push_str(": ");
        text.push_str(why);
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
    relations(&mut record, "Provides", package.provides());
    relations(&mut record, "Depends On", package.depends());
    record.lines(
        "Optional Deps",
        package.optdepends().iter().map(|wish| {
            let mut text = String::new();
            relation(&mut text, wish);
            text
        }),
    );
    relations(&mut record, "Make Deps", package.makedepends());
    relations(&mut record, "Check Deps", package.checkdepends());
    if let Some((_, needed)) = local {
        record.list("Required By", needed.by.iter().map(String::as_str));
        record.list("Optional For", needed.optional_for.iter().map(String::as_str));
    }
    relations(&mut record, "Conflicts With", package.conflicts());
    relations(&mut record, "Replaces", package.replaces());
    record.text("Packager", package.packager());
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
        record: record.finish(),
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
