//! What is installed, and where: `versions/<runtime>/<version>/` and the link `versions/<runtime>/current`.
//!
//! A version is a folder that got its name by rename(2) when everything in it was there and on the disk, so whatever has the
//! name of a version is whole. What is on its way is below `versions/.work`, on the same file system; the lock of its
//! version, in `versions/.locks`, tells whether somebody still works on it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use thiserror::Error;

use super::record::Record;
use super::{Request, Runtime, Version};

const CURRENT: &str = "current";
const WORK: &str = ".work";
const LOCKS: &str = ".locks";

/// A link that was not renamed for so long was left.
const LEFT: Duration = Duration::from_secs(60);

/// Why something cannot be changed.
#[derive(Debug, Error)]
pub enum LayoutError {
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{runtime} {version} is not installed")]
    NotInstalled { runtime: Runtime, version: Version },
    #[error("{runtime} {version} is the current one; --force removes it all the same")]
    Current { runtime: Runtime, version: Version },
    #[error("{} is in the way: it is no link, so it is left alone", path.display())]
    InTheWay { path: PathBuf },
}

impl LayoutError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}

/// The folder `versions` of one user's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    versions: PathBuf,
}

/// That nobody else installs or removes this version meanwhile.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    name: String,
    runtime: Runtime,
    version: Version,
    _lock: File,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Whoever opened it meanwhile finds that it is not the one with this name any more.
        let _ = fs::remove_file(&self.path);
    }
}

impl Held {
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub fn version(&self) -> &Version {
        &self.version
    }
}

impl Layout {
    pub fn new(data_dir: &Path) -> Self {
        Self { versions: data_dir.join("versions") }
    }

    /// The folder of all of them.
    pub fn versions(&self) -> &Path {
        &self.versions
    }

    fn of(&self, runtime: &Runtime) -> PathBuf {
        self.versions.join(runtime.as_str())
    }

    /// Where a version is when it is installed.
    pub fn folder(&self, runtime: &Runtime, version: &Version) -> PathBuf {
        self.of(runtime).join(version.as_str())
    }

    /// The link to the version that is used where nothing else is asked for.
    pub fn current_link(&self, runtime: &Runtime) -> PathBuf {
        self.of(runtime).join(CURRENT)
    }

    /// Runtimes that have a folder, in the order of their names.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn runtimes(&self) -> io::Result<Vec<Runtime>> {
        let mut runtimes = Vec::new();
        for name in folders_in(&self.versions)? {
            // What is called otherwise is none of ours; so are other spellings of the same runtime.
            runtimes.extend(Runtime::parse(&name).ok().filter(|runtime| runtime.as_str() == name));
        }
        runtimes.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        Ok(runtimes)
    }

    /// The installed versions, the lowest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn installed(&self, runtime: &Runtime) -> io::Result<Vec<Version>> {
        let mut versions: Vec<Version> = folders_in(&self.of(runtime))?
            .into_iter()
            .filter_map(|name| Version::parse(runtime, &name).ok().filter(|version| version.as_str() == name))
            .collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// The best installed version for a request.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn best(&self, runtime: &Runtime, request: &Request) -> io::Result<Option<Version>> {
        Ok(self.best_of(runtime, &self.installed(runtime)?, request))
    }

    /// The best of these installed versions for a request.
    pub fn best_of(&self, runtime: &Runtime, installed: &[Version], request: &Request) -> Option<Version> {
        self.all_of(runtime, installed, request).into_iter().max().cloned()
    }

    /// Those of these installed versions that will do for a request, by what was recorded when they were installed.
    pub fn all_of<'a>(&self, runtime: &Runtime, installed: &'a [Version], request: &Request) -> Vec<&'a Version> {
        let recorded = |version: &Version| {
            let record = Record::read(&self.folder(runtime, version)).unwrap_or_default();
            (record.lts, record.lts_lines)
        };
        request.all(installed, recorded)
    }

    pub fn is_installed(&self, runtime: &Runtime, version: &Version) -> bool {
        fs::symlink_metadata(self.folder(runtime, version)).is_ok_and(|found| found.is_dir())
    }

    /// The version that the link `current` leads to; `None` where there is no link, or it leads to nothing installed.
    ///
    /// # Errors
    /// When the link cannot be read.
    pub fn current(&self, runtime: &Runtime) -> io::Result<Option<Version>> {
        let target = match fs::read_link(self.current_link(runtime)) {
            Ok(target) => target,
            // EINVAL: somebody put something else there.
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::InvalidInput].contains(&error.kind()) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let version = target.to_str().and_then(|name| Version::parse(runtime, name).ok());
        Ok(version.filter(|version| target.as_os_str() == version.as_str() && self.is_installed(runtime, version)))
    }

    /// Runtimes whose link `current` leads to nothing that is installed.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn broken(&self) -> io::Result<Vec<Runtime>> {
        let mut broken = Vec::new();
        for runtime in self.runtimes()? {
            let is_link = fs::symlink_metadata(self.current_link(&runtime)).is_ok_and(|found| found.is_symlink());
            if is_link && self.current(&runtime)?.is_none() {
                broken.push(runtime);
            }
        }
        Ok(broken)
    }

    /// Removes links that lead to nothing, and what interrupted work has left; the runtimes whose links are gone.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn repair(&self) -> Result<Vec<Runtime>, LayoutError> {
        let broken = self.broken().map_err(LayoutError::at(&self.versions))?;
        for runtime in &broken {
            let link = self.current_link(runtime);
            fs::remove_file(&link).map_err(LayoutError::at(&link))?;
        }
        self.sweep()?;
        Ok(broken)
    }

    /// Removes what interrupted work has left behind: whatever nobody holds.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn sweep(&self) -> Result<(), LayoutError> {
        let work = self.versions.join(WORK);
        let entries = match fs::read_dir(&work) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(LayoutError::at(&work)(error)),
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // On its way to be the current one: whoever makes it renames it at once, or was killed in between.
            let is_young = || {
                let changed = fs::symlink_metadata(entry.path()).and_then(|found| found.modified());
                changed.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < LEFT))
            };
            if name.starts_with(CURRENT) && is_young() {
                continue;
            }
            // The number of the process behind the last point tells those apart that work on the same version.
            let (held_by, _) = name.rsplit_once(',').unwrap_or((name, ""));
            if let Some(lock) = self.lock(held_by).map_err(LayoutError::at(&work))? {
                remove(&entry.path()).map_err(LayoutError::at(&entry.path()))?;
                let _ = fs::remove_file(self.lock_path(held_by));
                drop(lock);
            }
        }
        Ok(())
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.versions.join(LOCKS).join(name)
    }

    /// The lock with this name; `None` while another has it.
    fn lock(&self, name: &str) -> io::Result<Option<File>> {
        let path = self.lock_path(name);
        loop {
            make(path.parent().unwrap_or(&path))?;
            let flags = OFlags::NOFOLLOW.bits().cast_signed();
            let file = OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(flags).open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            // The one who had it removes it: what was locked then is a file without a name.
            let same = fs::symlink_metadata(&path).is_ok_and(|found| {
                file.metadata().is_ok_and(|own| (own.ino(), own.dev()) == (found.ino(), found.dev()))
            });
            if same {
                return Ok(Some(file));
            }
        }
    }

    /// Keeps others from installing and removing this version; `None` while another does.
    ///
    /// # Errors
    /// When the lock cannot be made.
    pub fn try_hold(&self, runtime: &Runtime, version: &Version) -> Result<Option<Held>, LayoutError> {
        let name = format!("{runtime}-{}", version.as_str());
        let path = self.lock_path(&name);
        let lock = self.lock(&name).map_err(LayoutError::at(&path))?;
        let (runtime, version) = (runtime.clone(), version.clone());
        Ok(lock.map(|lock| Held { path, name, runtime, version, _lock: lock }))
    }

    /// A folder of this name for work on what is held.
    fn working(&self, held: &Held, what: &str) -> PathBuf {
        self.versions.join(WORK).join(format!("{},{what}", held.name))
    }

    /// An empty folder to make the version in. What an earlier try has left there is gone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn stage(&self, held: &Held) -> Result<PathBuf, LayoutError> {
        let folder = self.working(held, "new");
        let made = || {
            make(&self.versions.join(WORK))?;
            remove(&folder)?;
            DirBuilder::new().mode(0o700).create(&folder)
        };
        made().map_err(LayoutError::at(&folder))?;
        Ok(folder)
    }

    /// Makes what is staged the installed version, in place of one that is there. The caller has brought its contents to the
    /// disk.
    ///
    /// # Errors
    /// When it cannot be renamed; the version is as it was before then.
    pub fn install(&self, held: &Held, staged: &Path) -> Result<PathBuf, LayoutError> {
        let folder = self.folder(&held.runtime, &held.version);
        let above = self.of(&held.runtime);
        make(&above).map_err(LayoutError::at(&above))?;
        // As a folder that others may look into, as far as those above it let them.
        fs::set_permissions(staged, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(LayoutError::at(staged))?;
        match fs::rename(staged, &folder) {
            Ok(()) => {}
            Err(error) if [io::ErrorKind::DirectoryNotEmpty, io::ErrorKind::AlreadyExists].contains(&error.kind()) => {
                // One step: at no time is there none.
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                let at = rustix::fs::CWD;
                rustix::fs::renameat_with(at, staged, at, &folder, exchange)
                    .map_err(|error| LayoutError::at(&folder)(error.into()))?;
                // Left over, it is swept away the next time.
                let _ = remove(staged);
            }
            Err(error) => return Err(LayoutError::at(&folder)(error)),
        }
        File::open(&above).and_then(|above| above.sync_all()).map_err(LayoutError::at(&above))?;
        Ok(folder)
    }

    /// Lets the link `current` lead to an installed version, in one step.
    ///
    /// # Errors
    /// When it is not installed, or the link cannot be made.
    pub fn set_current(&self, runtime: &Runtime, version: &Version) -> Result<(), LayoutError> {
        if !self.is_installed(runtime, version) {
            return Err(LayoutError::NotInstalled { runtime: runtime.clone(), version: version.clone() });
        }
        let link = self.current_link(runtime);
        match fs::symlink_metadata(&link) {
            Ok(found) if !found.is_symlink() => return Err(LayoutError::InTheWay { path: link }),
            _ => {}
        }
        let work = self.versions.join(WORK);
        // The numbers keep processes and threads apart; one that died left its link behind.
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let fresh = work.join(format!("{CURRENT}-{runtime}-{}-{number}", std::process::id()));
        let made = || {
            match symlink(version.as_str(), &fresh) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => make(&work)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(&fresh)?,
                done => return done,
            }
            symlink(version.as_str(), &fresh)
        };
        made().map_err(LayoutError::at(&fresh))?;
        fs::rename(&fresh, &link).map_err(LayoutError::at(&link))
    }

    /// Removes a version; the current one only with `force`, and the link with it.
    ///
    /// # Errors
    /// When it is not installed, is the current one, or cannot be removed.
    pub fn uninstall(&self, held: &Held, force: bool) -> Result<(), LayoutError> {
        let Held { runtime, version, .. } = held;
        if !self.is_installed(runtime, version) {
            return Err(LayoutError::NotInstalled { runtime: runtime.clone(), version: version.clone() });
        }
        let link = self.current_link(runtime);
        if self.current(runtime).map_err(LayoutError::at(&link))?.as_ref() == Some(version) {
            if !force {
                return Err(LayoutError::Current { runtime: runtime.clone(), version: version.clone() });
            }
            fs::remove_file(&link).map_err(LayoutError::at(&link))?;
        }
        let (folder, going) = (self.folder(runtime, version), self.working(held, "old"));
        let gone = || {
            make(&self.versions.join(WORK))?;
            remove(&going)?;
            // In one step it is installed no more; the rest takes its time.
            fs::rename(&folder, &going)?;
            remove(&going)
        };
        // The folder of the runtime stays: another version may be about to be renamed into it.
        gone().map_err(LayoutError::at(&folder))
    }
}

/// Makes the folder and those above it, for the user alone.
fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Removes whatever it is; what is not there is removed already.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Names of the folders in a folder, no links; none where it is not there.
fn folders_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Native;

    fn node() -> Runtime {
        Native::Node.into()
    }

    fn version(text: &str) -> Version {
        Version::parse(&node(), text).unwrap()
    }

    /// A data folder in which these versions of Node are installed, each with a file that tells it.
    fn installed(versions: &[&str]) -> (tempfile::TempDir, Layout) {
        let data = tempfile::tempdir().unwrap();
        let layout = Layout::new(data.path());
        for text in versions {
            let held = layout.try_hold(&node(), &version(text)).unwrap().unwrap();
            let staged = layout.stage(&held).unwrap();
            fs::write(staged.join("which"), text).unwrap();
            layout.install(&held, &staged).unwrap();
        }
        (data, layout)
    }

    #[test]
    fn what_is_installed_is_listed_in_the_order_of_versions_and_nothing_else_is() {
        let (data, layout) = installed(&["20.9.0", "20.10.0", "18.1.0"]);
        for other in ["versions/node/.hidden", "versions/node/not a version", "versions/node/v20.9.0", "versions/../x"]
        {
            fs::create_dir_all(data.path().join(other)).unwrap();
        }
        symlink("20.9.0", data.path().join("versions/node/20.9.1")).unwrap();
        let names: Vec<_> = layout.installed(&node()).unwrap().iter().map(|one| one.as_str().to_owned()).collect();
        assert_eq!(names, ["18.1.0", "20.9.0", "20.10.0"]);
        assert_eq!(layout.runtimes().unwrap(), [node()]);
        assert_eq!(layout.installed(&Native::Go.into()).unwrap(), []);
    }

    #[test]
    fn the_current_version_is_switched_and_one_that_is_not_there_is_refused() {
        let (_data, layout) = installed(&["18.1.0", "20.9.0"]);
        assert_eq!(layout.current(&node()).unwrap(), None);
        for text in ["18.1.0", "20.9.0"] {
            layout.set_current(&node(), &version(text)).unwrap();
            assert_eq!(layout.current(&node()).unwrap(), Some(version(text)));
            assert_eq!(fs::read_to_string(layout.current_link(&node()).join("which")).unwrap(), text);
        }
        let refused = layout.set_current(&node(), &version("21.0.0")).unwrap_err();
        assert_eq!(refused.to_string(), "node 21.0.0 is not installed");
        assert_eq!(layout.current(&node()).unwrap(), Some(version("20.9.0")));
    }

    #[test]
    fn a_link_that_leads_out_or_to_nothing_is_no_current_version_and_is_repaired() {
        let (data, layout) = installed(&["18.1.0"]);
        let link = layout.current_link(&node());
        for target in ["20.9.0", "../node/18.1.0", "/etc", "..", "."] {
            let _ = fs::remove_file(&link);
            symlink(target, &link).unwrap();
            assert_eq!(layout.current(&node()).unwrap(), None, "{target}");
            assert_eq!(layout.broken().unwrap(), [node()], "{target}");
        }
        assert_eq!(layout.repair().unwrap(), [node()]);
        assert!(link.symlink_metadata().is_err());
        fs::write(&link, "somebody's").unwrap();
        let refused = layout.set_current(&node(), &version("18.1.0")).unwrap_err();
        assert!(matches!(refused, LayoutError::InTheWay { .. }));
        assert_eq!(fs::read_to_string(data.path().join("versions/node/current")).unwrap(), "somebody's");
    }

    #[test]
    fn the_current_version_is_removed_only_by_force_and_the_link_goes_with_it() {
        let (_data, layout) = installed(&["18.1.0", "20.9.0"]);
        layout.set_current(&node(), &version("20.9.0")).unwrap();
        let held = layout.try_hold(&node(), &version("20.9.0")).unwrap().unwrap();
        let refused = layout.uninstall(&held, false).unwrap_err();
        assert_eq!(refused.to_string(), "node 20.9.0 is the current one; --force removes it all the same");
        layout.uninstall(&held, true).unwrap();
        assert!(layout.current_link(&node()).symlink_metadata().is_err());
        assert_eq!(layout.installed(&node()).unwrap(), [version("18.1.0")]);
        assert!(matches!(layout.uninstall(&held, true), Err(LayoutError::NotInstalled { .. })));
    }

    #[test]
    fn a_version_is_held_by_one_at_a_time_and_installing_again_replaces_it_whole() {
        let (_data, layout) = installed(&["18.1.0"]);
        let held = layout.try_hold(&node(), &version("18.1.0")).unwrap().unwrap();
        assert!(layout.try_hold(&node(), &version("18.1.0")).unwrap().is_none());
        assert!(layout.try_hold(&node(), &version("18.2.0")).unwrap().is_some());
        let staged = layout.stage(&held).unwrap();
        fs::write(staged.join("other"), "new").unwrap();
        layout.install(&held, &staged).unwrap();
        let folder = layout.folder(&node(), &version("18.1.0"));
        assert!(folder.join("other").exists() && !folder.join("which").exists());
        assert!(!staged.exists());
        drop(held);
        assert!(layout.try_hold(&node(), &version("18.1.0")).unwrap().is_some());
    }

    #[test]
    fn what_interrupted_work_left_is_swept_away_and_what_is_being_done_is_not() {
        let (_data, layout) = installed(&["18.1.0"]);
        let left = {
            let held = layout.try_hold(&node(), &version("20.9.0")).unwrap().unwrap();
            layout.stage(&held).unwrap()
        };
        let held = layout.try_hold(&node(), &version("22.0.0")).unwrap().unwrap();
        let staged = layout.stage(&held).unwrap();
        fs::write(left.join("half"), "").unwrap();
        layout.sweep().unwrap();
        assert!(!left.exists() && staged.exists());
        assert_eq!(layout.installed(&node()).unwrap(), [version("18.1.0")]);
    }
}
