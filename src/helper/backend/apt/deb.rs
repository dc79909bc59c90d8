//! Package files: what their control records say.

use std::path::Path;
use std::process::{Command, Stdio};

use omg::transaction::{Failure, FailureKind};

use super::super::package_files::{Identity, invalid};

/// What a package file's control record says.
///
/// # Errors
/// When it is no package, in dpkg-deb's words.
pub fn read(label: &str, path: &Path) -> Result<Identity, Failure> {
    const FIELDS: [&str; 3] = ["Package", "Version", "Architecture"];
    let output = Command::new("dpkg-deb")
        .arg("--field")
        .arg(path)
        .args(FIELDS)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::new(FailureKind::Internal, format!("dpkg-deb cannot be run: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or_default().replace(&path.display().to_string(), label);
        return Err(invalid(format!("{label} is no package: {said}")));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let value = |field: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(field)).map(|(_, value)| value.trim().to_owned())
    };
    let [name, version, arch] = FIELDS.map(|field| value(field).filter(|value| is_plain(value)));
    match (name, version, arch) {
        (Some(name), Some(version), Some(arch)) => {
            // dpkg reads names without regard to case, and apt files them in lower case.
            let name = name.to_ascii_lowercase();
            // As apt names what it downloads: colons would read as an architecture.
            let file = format!("{name}_{}_{arch}.deb", version.replace(':', "%3a"));
            Ok(Identity { name, version, arch, file })
        }
        _ => Err(invalid(format!("{label} is no package: its name, version or architecture is not valid"))),
    }
}

/// Whether it can be part of a file's name and be asked for.
pub fn is_plain(value: &str) -> bool {
    value.len() <= 200
        && value.starts_with(|first: char| first.is_ascii_alphanumeric())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.:~".contains(&byte))
}
