//! Which version a target means: NAME, NAME:ARCH, NAME=VERSION or NAME/RELEASE, read as `apt-get` reads its arguments.
//!
//! Patterns are not read: a name stands for one package, a virtual one for its only provider.

use omg::transaction::{Failure, FailureKind};
use rust_apt::config::Config;
use rust_apt::{Cache, Package, Version};

use super::text;

/// Which version of a package is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'t> {
    Candidate,
    Version(&'t str),
    Release(&'t str),
}

/// A target taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'t> {
    /// With the architecture, when it names one.
    pub name: &'t str,
    pub which: Which<'t>,
}

/// A version that was asked for.
pub struct Selected<'a> {
    pub version: Version<'a>,
    /// The release that it was chosen by: what it depends on is taken from there too, where that is needed.
    pub release: Option<String>,
}

impl<'t> Target<'t> {
    /// # Errors
    /// Tasks: they are no packages.
    pub fn parse(text: &'t str) -> Result<Self, Failure> {
        if text.contains('^') {
            let message = format!("{text} is a task or a pattern; name the packages themselves");
            return Err(Failure::new(FailureKind::InvalidArgument, message));
        }
        // The last mark counts, as it does for apt.
        let Some(at) = text.rfind(['/', '=']) else { return Ok(Self { name: text, which: Which::Candidate }) };
        let (name, rest) = text.split_at(at);
        let which = match rest.strip_prefix('=') {
            Some(version) => Which::Version(version),
            None => Which::Release(rest.trim_start_matches('/')),
        };
        Ok(Self { name, which })
    }

    /// # Errors
    /// A version or release where only a name makes sense.
    pub fn bare(self, verb: &str) -> Result<&'t str, Failure> {
        if self.which == Which::Candidate {
            return Ok(self.name);
        }
        let message = format!("{verb} is about a package, not a version: name {} alone", self.name);
        Err(Failure::new(FailureKind::InvalidArgument, message))
    }
}

fn not_found(message: String) -> Failure {
    Failure::new(FailureKind::NotFound, message)
}

/// The package of a name with or without an architecture; without one, that of the first configured architecture.
///
/// # Errors
/// When no list and no installed package has it, in apt's words.
pub fn package<'a>(cache: &'a Cache, config: &Config, name: &str) -> Result<Package<'a>, Failure> {
    let found = match name.rsplit_once(':') {
        Some((name, "all" | "native")) => cache.get(name),
        // Names that dependencies use, of no package.
        Some((_, "any")) => None,
        Some(_) => cache.get(name),
        None => cache.get(name).or_else(|| {
            let architectures = config.get_architectures();
            let mut names = architectures.iter().map(String::as_str).chain(["none"]);
            names.find_map(|arch| cache.get(&format!("{name}:{arch}")))
        }),
    };
    found.ok_or_else(|| not_found(format!("Unable to locate package {name}")))
}

/// The version of this package that is meant, or that of the only provider when it is a virtual package. What was chosen
/// in its place is said in `notes`.
///
/// # Errors
/// When there is no such version, or several packages provide it: in apt's words, with the providers' names.
pub fn version<'a>(
    cache: &'a Cache,
    config: &Config,
    package: &Package<'a>,
    which: Which<'_>,
    notes: &mut Vec<String>,
) -> Result<Selected<'a>, Failure> {
    let found = match which {
        Which::Candidate | Which::Version("candidate") | Which::Release("candidate") => package.candidate(),
        Which::Version("installed") | Which::Release("installed") => package.installed(),
        Which::Version("newest") | Which::Release("newest") => package.versions().next(),
        Which::Version(wanted) => package.versions().find(|version| is_version(version, wanted)),
        Which::Release(wanted) => of_release(package, wanted),
    };
    let release = match which {
        Which::Release(release) => Some(release.to_owned()),
        _ => None,
    };
    let found = match found {
        Some(version) => Some(version),
        None => only_provider(cache, config, package, which)?.inspect(|version| {
            if let Some(chosen) = full_name_of(cache, config, version) {
                notes.push(format!("selecting '{chosen}' instead of '{}'", named(package)));
            }
        }),
    };
    if let Some(version) = found {
        return Ok(Selected { version, release });
    }
    let name = named(package);
    Err(not_found(match which {
        Which::Candidate | Which::Version("candidate") | Which::Release("candidate") => {
            format!("Package '{name}' has no installation candidate")
        }
        Which::Version("installed") | Which::Release("installed") => {
            format!("Can't select installed version from package {name} as it is not installed")
        }
        Which::Version("newest") | Which::Release("newest") => {
            format!("Can't select newest version from package '{name}' as it is purely virtual")
        }
        Which::Version(wanted) => format!("Version '{wanted}' for '{name}' was not found"),
        Which::Release(wanted) => format!("Release '{wanted}' for '{name}' was not found"),
    }))
}

/// Only what is text can equal what was asked for.
fn is_version(version: &Version<'_>, wanted: &str) -> bool {
    text::is_sound(version) && version.version().eq_ignore_ascii_case(wanted)
}

/// The newest version from a release of that archive name or codename; `now` is what is installed.
pub fn of_release<'a>(package: &Package<'a>, release: &str) -> Option<Version<'a>> {
    let is = |name: Option<&str>| name.is_some_and(|name| name.eq_ignore_ascii_case(release));
    package.versions().find(|version| {
        version.package_files().any(|file| match (file.archive(), file.codename()) {
            // dpkg's status has no release; apt keeps `now` in its component.
            (None, None) => !file.is_downloadable() && is(file.component()),
            (archive, codename) => is(archive) || is(codename),
        })
    })
}

/// The version of the only package that provides this one, if there is exactly one; of several architectures the one
/// that comes first.
///
/// # Errors
/// Several packages that provide it.
fn only_provider<'a>(
    cache: &'a Cache,
    config: &Config,
    package: &Package<'a>,
    which: Which<'_>,
) -> Result<Option<Version<'a>>, Failure> {
    let mut found: Vec<(String, Version<'a>)> = Vec::new();
    for provider in package.provides() {
        let owner = provider.package();
        let number = provider.version().index();
        let Some(version) = owner.versions().find(|version| version.index() == number) else { continue };
        let fits = match which {
            Which::Version(wanted) if !matches!(wanted, "candidate" | "installed" | "newest") => {
                provider.version_str().is_ok_and(|provided| provided == wanted)
            }
            Which::Release(wanted) if !matches!(wanted, "candidate" | "installed" | "newest") => {
                let is = |name: Option<&str>| name == Some(wanted);
                version.package_files().any(|file| is(file.archive()) || is(file.codename()))
            }
            Which::Version(_) | Which::Release(_) => false,
            Which::Candidate => owner.candidate().is_some_and(|candidate| candidate.index() == number),
        };
        if fits && let Some(name) = text::name(cache, config, &version) {
            found.push((name.name, version));
        }
    }
    if !matches!(which, Which::Candidate) {
        // Where it is the only choice for its package, it becomes the candidate.
        for (name, version) in &found {
            if found.iter().filter(|(other, _)| other == name).count() == 1 {
                version.set_candidate();
            }
        }
    }
    let Some((first, _)) = found.first() else { return Ok(None) };
    if found.iter().any(|(name, _)| name != first) {
        let mut names: Vec<String> = found
            .iter()
            .filter_map(|(_, version)| Some((full_name_of(cache, config, version)?, version.version())))
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        names.sort_unstable();
        names.dedup();
        let asked = named(package);
        let message =
            format!("Package {asked} is a virtual package provided by {}; select one of them", names.join(", "));
        return Err(Failure::new(FailureKind::Ambiguous, message));
    }
    let architectures = config.get_architectures();
    let rank = |version: &Version<'_>| {
        let owner = version.parent();
        let same = owner.arch() == package.arch();
        (!same, architectures.iter().position(|arch| arch == owner.arch()).unwrap_or(usize::MAX))
    };
    Ok(found.into_iter().map(|(_, version)| version).min_by_key(rank))
}

fn full_name_of(cache: &Cache, config: &Config, version: &Version<'_>) -> Option<String> {
    Some(text::name(cache, config, version)?.pretty)
}

/// The name of a package that was found by its name, and is text therefore.
fn named(package: &Package<'_>) -> String {
    package.fullname(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mark_of_a_target_counts() {
        let parsed = |text| Target::parse(text).map(|target| (target.name.to_owned(), format!("{:?}", target.which)));
        let is = |name: &str, which: &str| Ok((name.to_owned(), which.to_owned()));
        assert_eq!(parsed("g++"), is("g++", "Candidate"));
        assert_eq!(parsed("libc6:i386"), is("libc6:i386", "Candidate"));
        assert_eq!(parsed("vim=2:9.0"), is("vim", "Version(\"2:9.0\")"));
        assert_eq!(parsed("vim/sid"), is("vim", "Release(\"sid\")"));
        assert_eq!(parsed("vim=1/sid"), is("vim=1", "Release(\"sid\")"));
        assert_eq!(parsed("desktop^").map_err(|failure| failure.kind), Err(FailureKind::InvalidArgument));
    }
}
