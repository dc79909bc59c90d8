//! Paths as the package systems compare them.

use std::path::{Component, Path, PathBuf};

/// The path without links in the folders above it, below `root`; a link itself is what packages own, and is not followed.
/// What does not exist stays as it is.
pub fn real(root: &Path, path: &str) -> PathBuf {
    let below = root.join(path.trim_start_matches('/'));
    let parts: PathBuf = below.components().collect();
    let folder = match parts.components().next_back() {
        // `..` and the root have no name of their own.
        Some(Component::Normal(_)) => parts.parent().and_then(|parent| parent.canonicalize().ok()),
        _ => return inside(root, &parts.canonicalize().unwrap_or(parts)),
    };
    match (folder, parts.file_name()) {
        (Some(folder), Some(name)) => inside(root, &folder.join(name)),
        _ => inside(root, &parts),
    }
}

/// The absolute path as the system below `root` has it.
fn inside(root: &Path, path: &Path) -> PathBuf {
    let below = root.canonicalize().ok().and_then(|root| path.strip_prefix(root).ok().map(Path::to_owned));
    Path::new("/").join(below.or_else(|| path.strip_prefix(root).ok().map(Path::to_owned)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_above_a_path_are_followed_and_the_path_itself_is_not() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        std::os::unix::fs::symlink("usr/bin", root.path().join("bin")).unwrap();
        std::os::unix::fs::symlink("dash", root.path().join("usr/bin/sh")).unwrap();
        for (path, expected) in [
            ("/bin/sh", "/usr/bin/sh"),
            ("/bin//sh/", "/usr/bin/sh"),
            ("/bin", "/bin"),
            ("/usr/bin/..", "/usr"),
            ("/", "/"),
            ("/none/x", "/none/x"),
        ] {
            assert_eq!(real(root.path(), path), Path::new(expected), "{path}");
        }
    }
}
