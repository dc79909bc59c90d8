//! Variables besides PATH that a version is used with.
//!
//! Of what mise would set only these names are taken, and only folders that mise itself has made: nothing that a shell, the
//! loader or an interpreter looks into for code (`PATH`, `LD_PRELOAD`, `BASH_ENV`, `PYTHONPATH`, `RUBYOPT`) is among them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::record::Record;

pub(super) const JAVA_HOME: &str = "JAVA_HOME";

/// Each with the variable that keeps the user's own while ours is set.
pub const VARIABLES: [(&str, &str); 17] = [
    (JAVA_HOME, "OMG_OLD_JAVA_HOME"),
    ("GOROOT", "OMG_OLD_GOROOT"),
    ("GOBIN", "OMG_OLD_GOBIN"),
    ("DENO_INSTALL_ROOT", "OMG_OLD_DENO_INSTALL_ROOT"),
    ("DOTNET_ROOT", "OMG_OLD_DOTNET_ROOT"),
    ("GRAALVM_HOME", "OMG_OLD_GRAALVM_HOME"),
    ("MAVEN_HOME", "OMG_OLD_MAVEN_HOME"),
    ("M2_HOME", "OMG_OLD_M2_HOME"),
    ("GRADLE_HOME", "OMG_OLD_GRADLE_HOME"),
    ("GROOVY_HOME", "OMG_OLD_GROOVY_HOME"),
    ("KOTLIN_HOME", "OMG_OLD_KOTLIN_HOME"),
    ("SCALA_HOME", "OMG_OLD_SCALA_HOME"),
    ("MIX_HOME", "OMG_OLD_MIX_HOME"),
    ("MIX_ARCHIVES", "OMG_OLD_MIX_ARCHIVES"),
    ("ANDROID_HOME", "OMG_OLD_ANDROID_HOME"),
    ("ANDROID_SDK_ROOT", "OMG_OLD_ANDROID_SDK_ROOT"),
    ("FLUTTER_ROOT", "OMG_OLD_FLUTTER_ROOT"),
];

/// Longest value, bytes.
const MAX_VALUE: usize = 4096;

/// The folder of mise beside the folder of versions.
pub(super) fn mise_folder(versions: &Path) -> PathBuf {
    versions.with_file_name(super::mise::NAME)
}

/// Those of the variables that are taken, with folders below `mise`, the folder of mise.
pub(super) fn taken<'a>(
    variables: impl IntoIterator<Item = (&'a String, &'a String)>,
    mise: &Path,
) -> BTreeMap<&'static str, PathBuf> {
    let mut real = None;
    let mut folder = |value: &str| {
        let value = Path::new(value);
        let rest = value.strip_prefix(mise).ok().map(Path::to_owned).or_else(|| {
            // mise may say where a link on the way leads to.
            let real = real.get_or_insert_with(|| std::fs::canonicalize(mise).ok());
            value.strip_prefix(real.as_deref()?).ok().map(Path::to_owned)
        })?;
        let is_plain = rest.components().all(|component| matches!(component, Component::Normal(_)));
        (is_plain && !rest.as_os_str().is_empty()).then(|| mise.join(rest))
    };
    let known = |name: &str| VARIABLES.iter().find(|(known, _)| *known == name).map(|(known, _)| *known);
    let taken = variables.into_iter().filter_map(|(name, value)| {
        let name = known(name)?;
        let is_sayable = value.len() <= MAX_VALUE && !value.contains(char::is_control);
        Some((name, folder(value).filter(|_| is_sayable)?))
    });
    taken.collect()
}

/// What a version that mise has installed is used with, as it was recorded then.
pub(super) fn recorded(root: &Path, versions: &Path) -> BTreeMap<&'static str, PathBuf> {
    let record = Record::read(root).filter(|record| record.manager == super::mise::NAME);
    record.map(|record| taken(&record.variables, &mise_folder(versions))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_with_folders_of_mises_own_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let mise = folder.path().join("mise");
        std::fs::create_dir(&mise).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let own = mise.join("data/installs/go/1.21.4").display().to_string();
        let of =
            |name: &str, value: &str, mise: &Path| taken(&BTreeMap::from([(name.to_owned(), value.to_owned())]), mise);
        for (name, _) in VARIABLES {
            assert_eq!(of(name, &own, &mise), BTreeMap::from([(name, PathBuf::from(&own))]));
        }
        // By the way that the user's folder has, whichever mise tells.
        let linked = link.join("mise");
        let expected = linked.join("data/installs/go/1.21.4");
        assert_eq!(of("GOROOT", &own, &linked), BTreeMap::from([("GOROOT", expected)]));
        for name in [
            "PATH",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "BASH_ENV",
            "ENV",
            "PYTHONPATH",
            "RUBYOPT",
            "goroot",
            "GOROOT ",
            "",
        ] {
            assert_eq!(of(name, &own, &mise), BTreeMap::new(), "{name}");
        }
        for end in ["/../../../../../etc", "\nexport X=1", "\u{1b}[31m", "\0", &"/x".repeat(MAX_VALUE)] {
            assert_eq!(of("GOROOT", &format!("{own}{end}"), &mise), BTreeMap::new(), "{end:?}");
        }
        for value in
            ["", "/", "/usr", "go", "$(touch pwned)", &mise.display().to_string(), &format!("{}x/a", mise.display())]
        {
            assert_eq!(of("GOROOT", value, &mise), BTreeMap::new(), "{value}");
        }
    }
}
