//! apt's binary caches, which are trusted only as far as they can be.
//!
//! apt takes a cache for valid while every file that it was built from has the same size and, to the second, the same
//! modification time (`PackageCacheFile`'s check in pkgcachegen.cc). Of two changes in one second it misses the second
//! one, and likewise an edit that sets the time back. The change time (statx(2)) tells them apart.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rust_apt::config::Config;
use rust_apt::raw::config as raw;

/// apt looks at dpkg's status so long before its cache is written, in nanoseconds, at the most. The lists are not given
/// that time: two of equal size and modification time are written by no archive.
const BUILD_TIME: i128 = 2_000_000_000;

/// Switches off the caches that are not younger than what is in them, so that apt reads the files instead.
pub fn distrust_old(config: &Config, status: &Path, lists: &[PathBuf]) {
    let newest_list = lists.iter().filter_map(|list| changed(list)).max();
    let newest = newest_list.max(changed(status).map(|status| status + BUILD_TIME));
    for (key, newest) in [("Dir::Cache::pkgcache", newest), ("Dir::Cache::srcpkgcache", newest_list)] {
        let written = Path::new(&config.file(key, "")).metadata().ok().map(|cache| modified(&cache));
        if written.is_some() && newest >= written {
            raw::set(key.to_owned(), String::new());
        }
    }
}

/// When a file last changed, nanoseconds since 1970.
fn changed(file: &Path) -> Option<i128> {
    let found = file.metadata().ok()?;
    Some(i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec()))
}

fn modified(found: &std::fs::Metadata) -> i128 {
    i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec())
}
