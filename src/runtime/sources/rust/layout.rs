//! Puts unpacked components where rustup would have put them, and keeps its lists of what is there.
//!
//! An archive of Rust has one folder, with `rust-installer-version`, `components` (names, one a line) and a folder for each
//! of these; in that, `manifest.in` lists what it brings: `file:bin/rustc`, `dir:share/doc/rust/html`. An installation
//! has the same in `lib/rustlib`: `components`, and for each of them `manifest-<name>`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component as Step, Path, PathBuf};

use super::components::Component;

/// Holds archives until their components are put in place, each below the name of its component.
pub const STAGED: &str = ".omg-components";

/// The only version of the layout; the lists in an installation have the same.
const INSTALLER_VERSION: &str = "3";

/// Where the lists are.
const LISTS: &str = "lib/rustlib";

/// Longest list that is read, bytes: the standard library's has 5 thousand.
const LONGEST_LIST: u64 = 16 << 20;

/// Where an entry of an archive is unpacked to, below the folder of an installation; `None`: it is left out.
pub fn staged(component: &str, entry: &Path) -> Option<PathBuf> {
    let mut steps = entry.components();
    steps.next()?;
    let rest = steps.as_path();
    (!rest.as_os_str().is_empty()).then(|| Path::new(STAGED).join(component).join(rest))
}

/// What a line of a list says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    is_folder: bool,
    path: PathBuf,
}

/// Moves components that were unpacked below `from` (see [`staged`]) into the installation `root`, which may be the same
/// folder; both lie on one file system.
///
/// A component is listed after all that it brings is there, and the lists are replaced whole: what is stopped in between
/// leaves files that no list names, which the next try overwrites.
///
/// # Errors
/// When an archive is not laid out as above or brings what is there already, and when something cannot be moved.
pub fn merge(from: &Path, root: &Path, components: &[Component]) -> io::Result<()> {
    for component in components {
        let archive = from.join(STAGED).join(component.name());
        merge_one(&archive, root, component)?;
    }
    match fs::remove_dir_all(from.join(STAGED)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Names of the components that the lists have.
///
/// # Errors
/// When they cannot be read.
pub fn listed(root: &Path) -> io::Result<Vec<String>> {
    match read(&root.join(LISTS).join("components")) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Writes a file as a whole, next to the one that it replaces.
///
/// # Errors
/// When it cannot be written.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// The path of a list of rustup.
pub fn list(root: &Path, name: &str) -> PathBuf {
    root.join(LISTS).join(name)
}

fn merge_one(archive: &Path, root: &Path, component: &Component) -> io::Result<()> {
    let name = component.name();
    let version = read(&archive.join("rust-installer-version"))?;
    if version.trim() != INSTALLER_VERSION {
        return Err(odd(&name, format!("it is laid out by version {:?}", shortened(version.trim()))));
    }
    let folders = read(&archive.join("components"))?;
    // The folder has the full name in some archives and the short one in others.
    let folder = [name.as_str(), component.package.as_str()]
        .into_iter()
        .find(|wanted| folders.lines().any(|line| line == *wanted))
        .ok_or_else(|| odd(&name, "its archive has other components only".to_owned()))?;
    let folder = archive.join(folder);
    let items = items(&name, &read(&folder.join("manifest.in"))?)?;

    // Listed without being on record, it was interrupted between the two: it is put there again.
    let mut installed = listed(root)?;
    installed.retain(|other| *other != name);
    let mut taken = BTreeSet::new();
    for other in &installed {
        let listed = self::items(other, &read(&list(root, &format!("manifest-{other}")))?)?;
        taken.extend(listed.into_iter().map(|item| item.path));
    }
    for item in &items {
        if taken.iter().any(|path| path.starts_with(&item.path) || item.path.starts_with(path)) {
            return Err(odd(
                &name,
                format!("{:?} belongs to another component", shortened(&item.path.to_string_lossy())),
            ));
        }
        check(&name, &folder.join(&item.path), item.is_folder)?;
    }

    for item in &items {
        if let Some(parent) = item.path.parent() {
            make_folder(root, parent)?;
        }
        let target = root.join(&item.path);
        // Nothing that is listed is in the way: at most what an earlier try has left.
        match fs::symlink_metadata(&target) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&target)?,
            Ok(_) => fs::remove_file(&target)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        fs::rename(folder.join(&item.path), &target)?;
    }

    make_folder(root, Path::new(LISTS))?;
    let line = |item: &Item| format!("{}:{}\n", if item.is_folder { "dir" } else { "file" }, item.path.display());
    replace(&list(root, &format!("manifest-{name}")), &items.iter().map(line).collect::<String>())?;
    let mut names = installed;
    names.push(name);
    replace(&list(root, "components"), &names.iter().map(|name| format!("{name}\n")).collect::<String>())?;
    replace(&list(root, "rust-installer-version"), INSTALLER_VERSION)
}

fn items(component: &str, text: &str) -> io::Result<Vec<Item>> {
    text.lines()
        .map(|line| {
            let item = match line.split_once(':') {
                Some(("file", path)) => Item { is_folder: false, path: path.into() },
                Some(("dir", path)) => Item { is_folder: true, path: path.into() },
                _ => return Err(odd(component, format!("its list has {:?}", shortened(line)))),
            };
            let below = item.path.components().all(|step| matches!(step, Step::Normal(_)));
            // Cleaned and spelled as one path only, so that two spellings cannot name one file.
            let plain = item.path.components().collect::<PathBuf>().as_os_str() == item.path.as_os_str();
            if item.path.as_os_str().is_empty() || !below || !plain || is_ours(&item.path) {
                return Err(odd(component, format!("its list has the path {:?}", shortened(line))));
            }
            Ok(item)
        })
        .collect()
}

/// Whether a path is that of a list, or holds them, or is kept for this program.
fn is_ours(path: &Path) -> bool {
    if Path::new(LISTS).starts_with(path) || path.to_string_lossy().starts_with(".omg-") {
        return true;
    }
    let Ok(below) = path.strip_prefix(LISTS) else { return false };
    let name = below.components().next().map(|step| step.as_os_str().to_string_lossy()).unwrap_or_default();
    name == "components"
        || name == "rust-installer-version"
        || name.starts_with("manifest-")
        || name.starts_with("multirust-")
}

/// Sees that there is what a list says, files and folders only: a link that stays inside of the archive could point
/// anywhere once it is moved. Modes become those that rustup gives.
fn check(component: &str, path: &Path, is_folder: bool) -> io::Result<()> {
    let shown = || shortened(&path.to_string_lossy());
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(odd(component, format!("its archive lacks {:?}", shown())));
        }
        found => found?,
    };
    if found.is_dir() != is_folder || !(found.is_dir() || found.is_file()) {
        return Err(odd(component, format!("its archive has another kind of file at {:?}", shown())));
    }
    // What the owner may, others may, but for writing.
    let owner = found.permissions().mode() & 0o700;
    let others = owner & 0o500;
    fs::set_permissions(path, fs::Permissions::from_mode(owner | others >> 3 | others >> 6))?;
    if is_folder {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            check(component, &entry.path(), entry.file_type()?.is_dir())?;
        }
    }
    Ok(())
}

/// Folders below `root`, none of them reached through a link.
fn make_folder(root: &Path, folder: &Path) -> io::Result<()> {
    let mut path = root.to_path_buf();
    for step in folder.components() {
        path.push(step);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if !fs::symlink_metadata(&path)?.is_dir() {
                    return Err(io::Error::other(format!("{path:?} is no folder")));
                }
            }
            made => made?,
        }
    }
    Ok(())
}

/// A text of a length that can be.
fn read(path: &Path) -> io::Result<String> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_file() || found.len() > LONGEST_LIST {
        return Err(io::Error::other(format!("{path:?} is no list of components")));
    }
    fs::read_to_string(path)
}

fn odd(component: &str, reason: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the component {:?}: {reason}", shortened(component)))
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "x86_64-unknown-linux-gnu";

    fn component(package: &str) -> Component {
        Component { package: package.to_owned(), target: Some(HOST.to_owned()) }
    }

    /// As unpacked: `folder` is how the archive calls the component.
    fn stage(root: &Path, component: &Component, folder: &str, list: &str, files: &[(&str, u32)]) {
        let archive = root.join(STAGED).join(component.name());
        fs::create_dir_all(archive.join(folder)).unwrap();
        fs::write(archive.join("rust-installer-version"), "3\n").unwrap();
        fs::write(archive.join("components"), format!("{folder}\n")).unwrap();
        fs::write(archive.join(folder).join("manifest.in"), list).unwrap();
        for (file, mode) in files {
            let path = archive.join(folder).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, file).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
    }

    fn text(root: &Path, path: &str) -> String {
        fs::read_to_string(root.join(path)).unwrap()
    }

    #[test]
    fn entries_of_an_archive_are_kept_apart_by_component() {
        let placed = |entry: &str| staged("rust-src", Path::new(entry));
        assert_eq!(placed("rust-src-1.95.0/components"), Some(".omg-components/rust-src/components".into()));
        assert_eq!(placed("rust-src-1.95.0"), None);
    }

    #[test]
    fn components_are_moved_to_their_places_and_listed() {
        let root = tempfile::tempdir().unwrap();
        let (rustc, std) = (component("rustc"), component("rust-std"));
        let list = "file:bin/rustc\ndir:share/doc/html\n";
        stage(root.path(), &rustc, "rustc", list, &[("bin/rustc", 0o700), ("share/doc/html/a/b", 0o664)]);
        let library = format!("lib/rustlib/{HOST}/lib/libcore.rlib");
        let list = format!("file:{library}\n");
        stage(root.path(), &std, &std.name(), &list, &[(&library, 0o600)]);

        merge(root.path(), root.path(), &[rustc, std]).unwrap();

        assert_eq!(text(root.path(), "lib/rustlib/components"), format!("rustc-{HOST}\nrust-std-{HOST}\n"));
        let list = text(root.path(), &format!("lib/rustlib/manifest-rustc-{HOST}"));
        assert_eq!(list, "file:bin/rustc\ndir:share/doc/html\n");
        assert_eq!(text(root.path(), "lib/rustlib/rust-installer-version"), "3");
        let mode = |path: &str| fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("bin/rustc"), mode("share/doc/html/a/b"), mode(&library)), (0o755, 0o644, 0o644));
        assert!(!root.path().join(STAGED).exists());
        assert!(!root.path().join("manifest.in").exists());
    }

    #[test]
    fn what_an_interrupted_try_has_left_is_overwritten_and_what_is_listed_is_not() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("bin")).unwrap();
        fs::write(root.path().join("bin/rustc"), "half").unwrap();
        stage(root.path(), &component("rustc"), "rustc", "file:bin/rustc\n", &[("bin/rustc", 0o755)]);
        merge(root.path(), root.path(), &[component("rustc")]).unwrap();
        assert_eq!(text(root.path(), "bin/rustc"), "bin/rustc");

        let more = tempfile::tempdir().unwrap();
        stage(more.path(), &component("evil"), "evil", "dir:bin\n", &[("bin/rustc", 0o755)]);
        let error = merge(more.path(), root.path(), &[component("evil")]).unwrap_err().to_string();
        assert_eq!(error, format!("the component \"evil-{HOST}\": \"bin\" belongs to another component"));
        assert_eq!(text(root.path(), "bin/rustc"), "bin/rustc");
    }

    #[test]
    fn lists_that_lead_out_or_to_the_lists_themselves_are_refused() {
        for path in [
            "../x",
            "/etc/passwd",
            "",
            "a/../b",
            "./a",
            "a//b",
            "lib",
            "lib/rustlib",
            "lib/rustlib/components",
            "lib/rustlib/manifest-rustc",
            "lib/rustlib/multirust-config.toml",
            ".omg-toolchain.toml",
        ] {
            let error = items("c", &format!("file:{path}\n")).unwrap_err().to_string();
            assert_eq!(error, format!("the component \"c\": its list has the path \"file:{path}\""));
        }
        assert_eq!(items("c", "link:a\n").unwrap_err().to_string(), "the component \"c\": its list has \"link:a\"");
    }

    #[test]
    fn links_and_missing_files_are_refused_before_anything_is_moved() {
        let root = tempfile::tempdir().unwrap();
        let rustc = component("rustc");
        stage(root.path(), &rustc, "rustc", "file:bin/a\ndir:share\n", &[("bin/a", 0o755), ("share/b", 0o644)]);
        let share = root.path().join(STAGED).join(rustc.name()).join("rustc/share");
        std::os::unix::fs::symlink("../../../../..", share.join("up")).unwrap();
        let error = merge(root.path(), root.path(), std::slice::from_ref(&rustc)).unwrap_err().to_string();
        assert!(error.contains("has another kind of file at"), "{error}");
        assert!(!root.path().join("bin").exists());
        fs::remove_dir_all(&share).unwrap();
        let error = merge(root.path(), root.path(), &[rustc]).unwrap_err().to_string();
        assert!(error.contains("its archive lacks"), "{error}");
    }
}
