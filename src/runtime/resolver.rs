//! Resolves folders for a process that is asked again and again.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::environment::{Environment, Manual, Versions, decide};
use super::files::Settled;
use super::{Layout, Runtime, Version, files, lock};
use crate::stamp::{Stamp, is_local_path};

/// What files and folders said is kept as long as they have the stamp that they had then: an answer shows every change made
/// before its question.
#[derive(Debug)]
pub struct Resolver {
    layout: Layout,
    files: files::Memory,
    runtimes: Mutex<Option<(Stamp, Arc<[Runtime]>)>>,
    versions: Mutex<HashMap<Runtime, (Stamp, Installed)>>,
    settled: Settled,
}

#[derive(Debug, Clone)]
struct Installed {
    versions: Arc<[Version]>,
    current: Option<Version>,
}

impl Resolver {
    pub fn new(layout: Layout) -> Self {
        Self::with(layout, Stamp::is_settled)
    }

    /// `settled` tells what can be remembered.
    fn with(layout: Layout, settled: Settled) -> Self {
        let (runtimes, versions) = (Mutex::default(), Mutex::default());
        Self { layout, files: files::Memory::new(settled), runtimes, versions, settled }
    }

    /// As [`super::environment::resolve`].
    pub fn resolve(&self, folder: &Path, manual: &Manual) -> Environment {
        decide(self.files.read(folder), self, manual)
    }

    fn of(&self, runtime: &Runtime) -> io::Result<Installed> {
        // Every version, and the link to the current one, is an entry of this folder.
        let folder = self.layout.versions().join(runtime.as_str());
        let stamp = Stamp::of(&folder)?;
        let settled = (self.settled)(&stamp);
        let kept = lock(&self.versions).get(runtime).filter(|(before, _)| *before == stamp).map(|(_, it)| it.clone());
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let installed =
            Installed { versions: self.layout.installed(runtime)?.into(), current: self.layout.current(runtime)? };
        // Nothing is kept of names that only files have: anybody may write those.
        if stamp != Stamp::Absent && settled && is_local_path(&folder) {
            lock(&self.versions).insert(runtime.clone(), (stamp, installed.clone()));
        }
        Ok(installed)
    }
}

impl Versions for Resolver {
    fn runtimes(&self) -> io::Result<Vec<Runtime>> {
        let stamp = Stamp::of(self.layout.versions())?;
        let settled = (self.settled)(&stamp) && is_local_path(self.layout.versions());
        let kept = lock(&self.runtimes).as_ref().filter(|(before, _)| *before == stamp).map(|(_, it)| Arc::clone(it));
        if let Some(kept) = kept {
            return Ok(kept.to_vec());
        }
        let runtimes = self.layout.runtimes()?;
        *lock(&self.runtimes) = settled.then(|| (stamp, runtimes.clone().into()));
        Ok(runtimes)
    }

    fn installed(&self, runtime: &Runtime) -> io::Result<Arc<[Version]>> {
        Ok(self.of(runtime)?.versions)
    }

    fn current(&self, runtime: &Runtime) -> io::Result<Option<Version>> {
        Ok(self.of(runtime)?.current)
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::runtime::environment;

    /// Numbers of a sequence that its seed tells (xorshift64).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % end
        }
    }

    struct Home {
        _folder: tempfile::TempDir,
        data: PathBuf,
        projects: [PathBuf; 2],
    }

    impl Home {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = fs::canonicalize(folder.path()).unwrap();
            let projects = [path.join("work"), path.join("work/below")];
            fs::create_dir_all(&projects[1]).unwrap();
            Self { _folder: folder, data: path.join("data"), projects }
        }

        fn change(&self, numbers: &mut Numbers) {
            let project = &self.projects[numbers.below(2) as usize];
            let minor = numbers.below(4);
            let version = self.data.join(format!("versions/node/20.{minor}.0"));
            let current = self.data.join("versions/node/current");
            match numbers.below(7) {
                0 => fs::write(project.join(".nvmrc"), format!("20.{minor}")).unwrap(),
                1 => fs::write(project.join(".tool-versions"), format!("nodejs 20.{minor}.0\n")).unwrap(),
                2 => drop(fs::remove_file(project.join([".nvmrc", ".tool-versions"][numbers.below(2) as usize]))),
                3 => fs::create_dir_all(version).unwrap(),
                4 => drop(fs::remove_dir(version)),
                5 => {
                    drop(fs::create_dir_all(self.data.join(["versions/go", "versions/deno/2.0.0"][minor as usize % 2])))
                }
                _ => {
                    drop(fs::remove_file(&current));
                    drop(symlink(format!("20.{minor}.0"), &current));
                }
            }
        }

        fn compare(&self, resolver: &Resolver, layout: &Layout, after: &str) {
            for project in &self.projects {
                let kept = resolver.resolve(project, &Manual::new());
                let fresh = environment::resolve(project, layout, &Manual::new());
                assert_eq!(format!("{kept:?}"), format!("{fresh:?}"), "{after}");
            }
        }
    }

    fn settle(paths: &[&Path]) {
        while !paths.iter().all(|path| Stamp::of(path).unwrap().is_settled()) {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Longer than a tick of any kernel's clock of files, of which the slowest has a hundred a second: after it every change
    /// makes another stamp.
    const TICK: Duration = Duration::from_millis(20);

    #[test]
    fn what_is_kept_is_what_would_be_read_after_any_change() {
        let seed = std::process::id().into();
        let (home, mut numbers) = (Home::new(), Numbers(seed));
        let layout = Layout::new(&home.data);
        let resolver = Resolver::with(layout.clone(), |stamp| stamp.is_older(TICK));
        let node = Runtime::parse("node").unwrap();
        let mut from_memory = 0;
        for step in 0..200 {
            home.change(&mut numbers);
            // What is remembered from the step before must not hide the change.
            home.compare(&resolver, &layout, &format!("seed {seed}, step {step}"));
            std::thread::sleep(TICK + Duration::from_millis(5));
            home.compare(&resolver, &layout, &format!("seed {seed}, step {step}, read"));
            // From here on nothing is read: what was just compared is what is remembered.
            assert!(home.projects.iter().all(|project| resolver.files.remembers(project)), "seed {seed}, step {step}");
            let stamp = Stamp::of(&home.data.join("versions/node")).unwrap();
            let kept = lock(&resolver.versions).get(&node).map(|(stamp, _)| *stamp);
            if stamp != Stamp::Absent && asks_for_node(&layout, &home) {
                assert_eq!(kept, Some(stamp), "seed {seed}, step {step}");
                from_memory += 1;
            }
            home.compare(&resolver, &layout, &format!("seed {seed}, step {step}, remembered"));
        }
        assert!(from_memory > 100, "seed {seed}: {from_memory}");
    }

    /// Node is looked up where a folder of it is there, or a file asks for it.
    fn asks_for_node(layout: &Layout, home: &Home) -> bool {
        layout.runtimes().unwrap().iter().any(|runtime| runtime.as_str() == "node")
            || home.projects.iter().any(|project| !files::read(project).wishes.is_empty())
    }

    #[test]
    fn what_did_not_change_is_not_read_again() {
        let home = Home::new();
        let project = &home.projects[0];
        fs::write(project.join(".nvmrc"), "20.1").unwrap();
        let (node, version) = (home.data.join("versions/node"), home.data.join("versions/node/20.1.0"));
        fs::create_dir_all(&version).unwrap();
        settle(&[project, &project.join(".nvmrc"), &node]);
        let resolver = Resolver::new(Layout::new(&home.data));
        let roots = |resolver: &Resolver| -> Vec<PathBuf> {
            resolver.resolve(project, &Manual::new()).entries.into_iter().map(|entry| entry.root).collect()
        };
        assert_eq!(roots(&resolver), [version]);
        // What nothing but reading them again could tell.
        let node = Runtime::parse("node").unwrap();
        let other: Arc<[Version]> = [Version::parse(&node, "20.1.7").unwrap()].into();
        lock(&resolver.versions).get_mut(&node).unwrap().1.versions = other;
        assert_eq!(roots(&resolver), [home.data.join("versions/node/20.1.7")]);
        assert!(resolver.files.remembers(project));
        fs::write(project.join(".nvmrc"), "20.1.0").unwrap();
        assert!(!resolver.files.remembers(project));
    }
}
