//! Which components an installation of Rust gets, by the rules of rustup.

use std::collections::BTreeSet;

use thiserror::Error;

use super::super::super::Extras;
use super::manifest::Manifest;

/// The profile that rustup takes when nobody says one.
pub const DEFAULT_PROFILE: &str = "default";

/// A package, and the target that it is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Component {
    /// After renaming: `clippy-preview`.
    pub package: String,
    /// `None`: the same for all.
    pub target: Option<String>,
}

impl Component {
    /// The name that rustup writes into an installation: `clippy-preview-x86_64-unknown-linux-gnu`, `rust-src`.
    pub fn name(&self) -> String {
        match &self.target {
            Some(target) => format!("{}-{target}", self.package),
            None => self.package.clone(),
        }
    }
}

/// Why what is wanted besides the version cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    #[error("Rust of {date} is not made for {triple}")]
    Host { date: String, triple: String },
    #[error("Rust has no profile {wanted:?}: there are {offered}")]
    Profile { wanted: String, offered: String },
    #[error("Rust of {date} has no component {wanted:?}")]
    Component { date: String, wanted: String },
    #[error("Rust of {date} has no standard library for the target {wanted:?}")]
    Target { date: String, wanted: String },
    #[error("not built for Rust of {date}: {names}{hint}")]
    Unavailable { date: String, names: String, hint: &'static str },
}

/// Names from outside, in messages.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// What belongs to an installation, each once, in the order in which rustup writes it: a profile, the components and the
/// standard libraries of more targets.
///
/// # Errors
/// Any [`Refused`].
pub fn wanted(manifest: &Manifest, triple: &str, extras: &Extras) -> Result<Vec<Component>, Refused> {
    let profile = extras.profile.as_deref().unwrap_or(DEFAULT_PROFILE);
    let mut wanted = of_profile(manifest, triple, profile)?;
    wanted.extend(added(manifest, triple, extras)?);
    available(manifest, triple, wanted)
}

/// What of the extras is not among what is installed. A profile is one of the extras as far as it is named.
///
/// # Errors
/// Any [`Refused`].
pub fn missing(
    manifest: &Manifest,
    triple: &str,
    installed: &[Component],
    extras: &Extras,
) -> Result<Vec<Component>, Refused> {
    let mut wanted = match &extras.profile {
        Some(profile) => of_profile(manifest, triple, profile)?,
        None => BTreeSet::new(),
    };
    wanted.extend(added(manifest, triple, extras)?);
    wanted.retain(|component| !installed.contains(component));
    available(manifest, triple, wanted)
}

/// A profile names packages for every kind of machine; those that `rust` has for this one count.
fn of_profile(manifest: &Manifest, triple: &str, profile: &str) -> Result<BTreeSet<Component>, Refused> {
    let rust = manifest
        .rust(triple)
        .ok_or_else(|| Refused::Host { date: manifest.date.clone(), triple: triple.to_owned() })?;
    let here = |component: &Component| component.target.as_deref().is_none_or(|target| target == triple);
    if manifest.profiles.is_empty() {
        return Ok(rust.components.iter().map(|listed| listed.component()).filter(here).collect());
    }
    let names = manifest.profiles.get(profile).ok_or_else(|| Refused::Profile {
        wanted: shortened(profile),
        offered: manifest.profiles.keys().map(|name| shortened(name)).collect::<Vec<_>>().join(", "),
    })?;
    let listed = rust.components.iter().chain(&rust.extensions).map(|listed| listed.component());
    Ok(listed.filter(|component| here(component) && names.contains(&component.package)).collect())
}

/// Components by the names that people say, and targets.
fn added(manifest: &Manifest, triple: &str, extras: &Extras) -> Result<BTreeSet<Component>, Refused> {
    let rust = manifest
        .rust(triple)
        .ok_or_else(|| Refused::Host { date: manifest.date.clone(), triple: triple.to_owned() })?;
    let offered: Vec<Component> =
        rust.components.iter().chain(&rust.extensions).map(|listed| listed.component()).collect();
    let mut added = BTreeSet::new();
    for name in &extras.components {
        let package = manifest.renamed(name);
        let here = |component: &&Component| component.target.as_deref().is_none_or(|target| target == triple);
        // A name of a package, or one with a target: `rust-std-wasm32-unknown-unknown`, `clippy-x86_64-unknown-linux-gnu`.
        let with_target = |component: &&Component| {
            let of = |spelled: &str| {
                name.strip_prefix(spelled)
                    .and_then(|rest| rest.strip_prefix('-'))
                    .is_some_and(|rest| component.target.as_deref() == Some(rest))
            };
            of(&component.package) || of(manifest.spoken(&component.package))
        };
        let found = offered
            .iter()
            .filter(|component| component.package == package)
            .find(here)
            .or_else(|| offered.iter().find(with_target))
            .ok_or_else(|| Refused::Component { date: manifest.date.clone(), wanted: shortened(name) })?;
        added.insert(found.clone());
    }
    for target in &extras.targets {
        let std = Component { package: "rust-std".to_owned(), target: Some(target.clone()) };
        if manifest.target(&std).is_none() {
            return Err(Refused::Target { date: manifest.date.clone(), wanted: shortened(target) });
        }
        added.insert(std);
    }
    Ok(added)
}

/// All of them, when all were built.
fn available(manifest: &Manifest, triple: &str, wanted: BTreeSet<Component>) -> Result<Vec<Component>, Refused> {
    let built = |component: &&Component| manifest.target(component).is_some_and(|target| target.archive().is_some());
    let names: Vec<String> = wanted
        .iter()
        .filter(|component| !built(component))
        .map(|component| {
            let plain = |text: &str| shortened(text).escape_debug().to_string();
            let name = plain(manifest.spoken(&component.package));
            match &component.target {
                Some(target) if target != triple => format!("{name} for {}", plain(target)),
                _ => name,
            }
        })
        .collect();
    if names.is_empty() {
        return Ok(wanted.into_iter().collect());
    }
    let version = manifest.packages.get("rust").map_or("", |rust| &rust.version);
    let hint = if version.contains("-nightly") { "; an older nightly may have it" } else { "" };
    Err(Refused::Unavailable { date: manifest.date.clone(), names: names.join(", "), hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "x86_64-unknown-linux-gnu";

    fn manifest() -> Manifest {
        Manifest::parse(include_bytes!("example.toml")).unwrap()
    }

    fn extras(profile: Option<&str>, components: &[&str], targets: &[&str]) -> Extras {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Extras { profile: profile.map(str::to_owned), components: owned(components), targets: owned(targets) }
    }

    fn names(components: Result<Vec<Component>, Refused>) -> Vec<String> {
        components.unwrap().iter().map(Component::name).collect()
    }

    #[test]
    fn a_profile_is_what_it_names_as_far_as_it_is_for_this_machine() {
        let manifest = manifest();
        let minimal = ["cargo", "rust-std", "rustc"].map(|name| format!("{name}-{HOST}"));
        assert_eq!(names(wanted(&manifest, HOST, &extras(Some("minimal"), &[], &[]))), minimal);
        let default = ["cargo", "clippy-preview", "rust-std", "rustc"].map(|name| format!("{name}-{HOST}"));
        assert_eq!(names(wanted(&manifest, HOST, &Extras::default())), default);
    }

    #[test]
    fn components_go_by_the_names_that_people_say_and_by_those_with_a_target() {
        let manifest = manifest();
        let minimal = |components: &[&str], targets: &[&str]| {
            let mut more = names(wanted(&manifest, HOST, &extras(Some("minimal"), components, targets)));
            more.retain(|name| ![format!("cargo-{HOST}"), format!("rustc-{HOST}")].contains(name));
            more
        };
        let std = format!("rust-std-{HOST}");
        let clippy = format!("clippy-preview-{HOST}");
        assert_eq!(minimal(&["clippy"], &[]), [clippy.clone(), std.clone()]);
        assert_eq!(minimal(&["clippy-preview", "clippy"], &[]), [clippy.clone(), std.clone()]);
        assert_eq!(minimal(&["clippy-x86_64-unknown-linux-gnu"], &[]), [clippy, std.clone()]);
        assert_eq!(minimal(&["rust-src"], &[]), ["rust-src".to_owned(), std.clone()]);
        let wasm = "rust-std-wasm32-unknown-unknown".to_owned();
        assert_eq!(minimal(&["rust-std-wasm32-unknown-unknown"], &[]), [wasm.clone(), std.clone()]);
        assert_eq!(minimal(&[], &["wasm32-unknown-unknown"]), [wasm, std]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let mut manifest = manifest();
        let refused = |manifest: &Manifest, extras: &Extras| wanted(manifest, HOST, extras).unwrap_err().to_string();
        assert_eq!(
            refused(&manifest, &extras(None, &["\u{1b}[31m"], &[])),
            "Rust of 2026-04-16 has no component \"\\u{1b}[31m\""
        );
        assert_eq!(
            refused(&manifest, &extras(None, &[], &["z80"])),
            "Rust of 2026-04-16 has no standard library for the target \"z80\""
        );
        assert_eq!(
            refused(&manifest, &extras(Some("huge"), &[], &[])),
            "Rust has no profile \"huge\": there are complete, default, minimal"
        );
        assert_eq!(refused(&manifest, &extras(None, &["miri"], &[])), "not built for Rust of 2026-04-16: miri");
        manifest.packages.get_mut("rust").unwrap().version = "1.97.0-nightly (0123456 2026-04-15)".to_owned();
        assert_eq!(
            refused(&manifest, &extras(Some("complete"), &[], &[])),
            "not built for Rust of 2026-04-16: miri; an older nightly may have it"
        );
        assert_eq!(
            wanted(&manifest, "aarch64-unknown-linux-gnu", &Extras::default()).unwrap_err().to_string(),
            "Rust of 2026-04-16 is not made for aarch64-unknown-linux-gnu"
        );
    }

    #[test]
    fn a_manifest_of_before_profiles_has_its_components_for_one() {
        let mut manifest = manifest();
        manifest.profiles.clear();
        let old = ["cargo", "rust-std", "rustc"].map(|name| format!("{name}-{HOST}"));
        assert_eq!(names(wanted(&manifest, HOST, &Extras::default())), old);
    }

    #[test]
    fn what_is_installed_already_is_not_missing() {
        let manifest = manifest();
        let installed = wanted(&manifest, HOST, &extras(Some("minimal"), &[], &[])).unwrap();
        let more = |extras: &Extras| names(missing(&manifest, HOST, &installed, extras));
        assert_eq!(more(&Extras::default()), [""; 0]);
        assert_eq!(more(&extras(None, &["cargo", "rust-src"], &[])), ["rust-src"]);
        assert_eq!(more(&extras(Some("default"), &[], &[])), [format!("clippy-preview-{HOST}")]);
    }
}
