//! Scripts of an installation that name the folder in which they were built.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A longer file in a folder of programs is none of those scripts, bytes.
const LONGEST: u64 = 1 << 20;

/// The folder of the script itself, for sh: also when it is reached through links.
pub const HERE: &str = r#"$(dirname "$(readlink -f "$0")")"#;

/// Gives each script in `folder` whose first line names an interpreter by an absolute path another head, for which
/// `head` gets the interpreter's name (`python3.12`); `None` leaves it.
///
/// # Errors
/// When a script cannot be read or written.
pub fn rehead(folder: &Path, head: &dyn Fn(&str) -> Option<String>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // Not through links: what they lead to comes up by itself.
        let found = entry.metadata()?;
        if !found.is_file() || found.len() > LONGEST {
            continue;
        }
        let mut text = Vec::new();
        fs::File::open(entry.path())?.take(LONGEST).read_to_end(&mut text)?;
        let Some((interpreter, rest)) = interpreter(&text) else { continue };
        let Some(head) = head(interpreter) else { continue };
        let text = [head.as_bytes(), rest].concat();
        write_program(&entry.path(), &text)?;
    }
    Ok(())
}

/// Writes a program as a whole, in place of what is there.
///
/// # Errors
/// When it cannot be written.
pub fn write_program(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o755))?;
    file.persist(path)?;
    Ok(())
}

/// The name of the interpreter that a script has an absolute path of, and the lines after the first. Interpreters of the
/// system, and what `env` is to find, are left as they are.
fn interpreter(text: &[u8]) -> Option<(&str, &[u8])> {
    let text_of_line = text.strip_prefix(b"#!")?;
    let end = text_of_line.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = text_of_line.split_at(end);
    let line = std::str::from_utf8(line).ok()?.trim();
    let path = line.split_ascii_whitespace().next()?;
    if !path.starts_with('/') || ["/bin/", "/usr/bin/", "/usr/local/bin/"].iter().any(|system| path.starts_with(system))
    {
        return None;
    }
    let name = path.rsplit('/').next().filter(|name| !name.is_empty())?;
    Some((name, rest.get(1..).unwrap_or_default()))
}

/// Makes a link unless something is there, to a file beside it that is there.
///
/// # Errors
/// When it cannot be made.
pub fn link(folder: &Path, name: &str, to: &str) -> io::Result<()> {
    if !folder.join(to).exists() || fs::symlink_metadata(folder.join(name)).is_ok() {
        return Ok(());
    }
    std::os::unix::fs::symlink(to, folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_the_build_s_folder_get_another_head_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("pip", "#!/install/bin/python3.12 -s\nimport sys\n");
        write("sh", "#!/bin/sh\nexit\n");
        write("env", "#!/usr/bin/env python3\n");
        write("relative", "#!python\n");
        write("program", "\u{7f}ELF");
        rehead(folder.path(), &|name| Some(format!("#!{name}\n"))).unwrap();
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(text("pip"), "#!python3.12\nimport sys\n");
        assert_eq!(text("sh"), "#!/bin/sh\nexit\n");
        assert_eq!(text("env"), "#!/usr/bin/env python3\n");
        assert_eq!(text("relative"), "#!python\n");
        assert_eq!(text("program"), "\u{7f}ELF");
        let mode = fs::metadata(folder.path().join("pip")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn a_link_is_made_where_nothing_is_and_something_is_led_to() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("python3.12"), "").unwrap();
        link(folder.path(), "python3", "python3.12").unwrap();
        link(folder.path(), "python3", "elsewhere").unwrap();
        link(folder.path(), "idle", "idle3").unwrap();
        assert_eq!(fs::read_link(folder.path().join("python3")).unwrap(), Path::new("python3.12"));
        assert!(fs::symlink_metadata(folder.path().join("idle")).is_err());
    }
}
