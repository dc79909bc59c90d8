//! What the arguments mean.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::super::Failure;
use crate::dbus::client::ErrorKind;
use crate::transaction::{Action, Verb};

/// One action for each target.
///
/// # Errors
/// When a target is none.
pub fn actions(verb: Verb, targets: &[String]) -> Result<Vec<Action>, Failure> {
    targets.iter().map(|target| action(verb, target)).collect()
}

/// # Errors
/// When the target is none for the verb.
pub fn action(verb: Verb, target: &str) -> Result<Action, Failure> {
    Action::new(verb, target).map_err(|error| invalid(error.to_string()))
}

/// What `omg install` is about: packages by name, and package files with what is in them.
///
/// # Errors
/// When a target is neither, or a file cannot be opened.
pub fn installs(targets: &[String]) -> Result<(Vec<Action>, Vec<File>), Failure> {
    let mut actions = Vec::with_capacity(targets.len());
    let mut files = Vec::new();
    for target in targets {
        let path = Path::new(target);
        let is_path = target.starts_with(['/', '.']);
        if !is_path && !((target.contains('/') || target.ends_with(".deb")) && path.is_file()) {
            actions.push(action(Verb::Install, target)?);
            continue;
        }
        let file = open(path).map_err(|error| {
            let kind =
                if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Invalid };
            Failure::Of(kind, format!("{target}: {error}"))
        })?;
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(invalid(format!("{target} is no package file")));
        }
        let name = path.file_name().and_then(|name| name.to_str());
        actions.push(action(Verb::InstallFile, name.ok_or_else(|| invalid(format!("{target} has no name")))?)?);
        files.push(file);
    }
    Ok((actions, files))
}

/// Opens what is said to be a package file. One that is a FIFO would wait for somebody to write, and a device may do
/// anything: neither is waited for.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn invalid(text: String) -> Failure {
    Failure::Of(ErrorKind::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_no_file_and_a_path_is_no_release() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("tool_1.0_all.deb");
        std::fs::write(&file, "x").expect("written");
        let path = file.to_str().expect("UTF-8").to_owned();
        let (actions, files) = installs(&["vim/bookworm-backports".into(), path, "curl=7".into()]).expect("valid");
        let told: Vec<_> = actions.iter().map(|action| (action.verb(), action.target())).collect();
        let install = Verb::Install;
        assert_eq!(
            told,
            [(install, "vim/bookworm-backports"), (Verb::InstallFile, "tool_1.0_all.deb"), (install, "curl=7")]
        );
        assert_eq!(files.len(), 1);
    }

    #[test]
    fn a_path_without_a_package_file_is_told_from_a_package_that_is_not_there() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let missing = folder.path().join("none.deb").display().to_string();
        let code = |target: String| installs(&[target]).map(|_| 0).unwrap_or_else(|failure| failure.exit_code());
        assert_eq!(code(missing), 1);
        assert_eq!(code(folder.path().display().to_string()), 2);
        // Nobody writes into it, ever.
        let fifo = folder.path().join("fifo.deb");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).expect("made");
        assert_eq!(code(fifo.display().to_string()), 2);
        assert_eq!(code("-x".into()), 2);
        assert_eq!(code("none.deb".into()), 0, "the daemon knows whether there is such a package");
    }
}
