//! Python: CPython as [python-build-standalone](https://github.com/astral-sh/python-build-standalone) builds it, and PyPy.
//!
//! Of CPython's archives `install_only` is taken: upstream recommends it, and it is in all releases, unlike its stripped
//! sister (since 2024) which also lacks what debuggers and profilers need. A version is in many dated builds, of which
//! the newest counts; the day is in the name of the archive only.
//!
//! Both are checked by checksums, and builds of CPython since [`ATTESTED`] by their provenance too.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use serde::Deserialize;

use super::attestations;
use super::github::{self, Asset, Hosted, Pages, shortened, web};
use super::scripts::{HERE, link, rehead, write_program};
use super::{At, Check, Part, Placing, Source, SourceError};
use crate::runtime::fetch::{Download, FetchError};
use crate::runtime::unpack::{Format, Limits, unpack};
use crate::runtime::verify::Maker;
use crate::runtime::{Arch, Extras, Host, Libc, Native, Release, Version};

/// Each build has a thousand files, and more than ten of them make a page of 100 MB, at which GitHub gives up. There are as many
/// pages as 12 years have, with two builds a month.
const PAGES: Pages = Pages { each: 10, most: 30, lasting: true };

/// Most bytes of PyPy's index and of its page of checksums: they have 0.3 million.
const MOST_INDEX: u64 = 16 << 20;

/// Where PyPy has its own files.
const PYPY: &str = "https://downloads.python.org/pypy";

/// Where PyPy has its checksums: on a page, <https://pypy.org/checksums.html>. This is the text that the page is made of,
/// as a page for people is not taken for an index.
const PYPY_CHECKSUMS: &str = "https://raw.githubusercontent.com/pypy/pypy.org/main/pages/checksums.rst";

/// The folder that CPython was built for, in what it notes about itself.
const BUILD_PREFIX: &str = "/install";

/// CPython and PyPy. The address that is asked is that of python-build-standalone's releases.
#[derive(Debug, Clone)]
pub struct Python {
    /// Address of PyPy's files, without a slash at its end; it has `versions.json`.
    pub pypy: String,
    /// Address of the page that has PyPy's checksums.
    pub pypy_checksums: String,
}

/// python-build-standalone's releases.
pub const OFFICIAL: &str = "https://api.github.com/repos/astral-sh/python-build-standalone/releases";

/// The first build whose archives have a provenance: upstream's release workflow attests them since
/// <https://github.com/astral-sh/python-build-standalone/pull/517>, of the day before. The day is in the name of the archive,
/// which a server makes: it counts for versions that there were by then ([`LAST_BEFORE`]), whose builds a server may pass for
/// older ones, and is left with their checksums, as before.
const ATTESTED: &str = "20250212";

/// The last version of each line before [`ATTESTED`].
const LAST_BEFORE: [&str; 7] = ["3.8.20", "3.9.21", "3.10.16", "3.11.11", "3.12.9", "3.13.2", "3.14.0a5"];

/// Whether a build has to have a provenance.
fn is_attested(version: &str, day: &str) -> bool {
    let parse = |text: &str| Version::parse(&Native::Python.into(), text).ok();
    let is_old = |version: Version| {
        let line = |version: &Version| version.numbers().iter().take(2).copied().collect::<Vec<_>>();
        let mut last = LAST_BEFORE.iter().filter_map(|last| parse(last));
        last.any(|last| line(&last) == line(&version) && version <= last)
    };
    day >= ATTESTED || !parse(version).is_some_and(is_old)
}

/// Who builds them. Upstream starts its releases from its main branch alone
/// (<https://github.com/astral-sh/python-build-standalone/blob/main/.github/workflows/release.yml>).
const MAKER: Maker<'static> = Maker {
    repository: "https://github.com/astral-sh/python-build-standalone",
    workflow: ".github/workflows/release.yml@refs/heads/main",
};

impl Python {
    /// With PyPy's files in `pypy` below the address that has CPython's, and its checksums among them.
    pub fn at(base: &str) -> Self {
        let pypy = format!("{}/pypy", base.trim_end_matches('/'));
        let pypy_checksums = format!("{pypy}/checksums.rst");
        Self { pypy, pypy_checksums }
    }
}

impl Default for Python {
    fn default() -> Self {
        Self { pypy: PYPY.to_owned(), pypy_checksums: PYPY_CHECKSUMS.to_owned() }
    }
}

#[async_trait]
impl Source for Python {
    fn native(&self) -> Native {
        Native::Python
    }

    /// What PyPy has is left out when it cannot be asked: few want it.
    async fn releases(&self, at: &At<'_>) -> Result<Vec<Release>, SourceError> {
        let is_found =
            |builds: &[Hosted]| at.wanted.is_some_and(|request| request.choose(&cpythons(builds, at.host)).is_some());
        let builds = github::releases(at, PAGES, is_of_use, is_found).await?;
        let mut releases = cpythons(&builds, at.host);
        // No other implementation is meant by a request that does not name it.
        if at.wanted.is_some() && is_found(&builds) {
            return Ok(releases);
        }
        match self.pypy_index(at).await {
            Ok(index) => releases.extend(pypys(&index, at.host)),
            Err(error) => tracing::warn!("PyPy is left out: {error}"),
        }
        Ok(releases)
    }

    async fn parts(&self, at: &At<'_>, release: &Release, _extras: &Extras) -> Result<Vec<Part>, SourceError> {
        let version = release.version.as_str();
        if version.starts_with("pypy") {
            return Ok(vec![self.pypy_part(at, version).await?]);
        }
        let has_it = |builds: &[Hosted]| newest(builds, at.host).contains_key(version);
        let builds = github::releases(at, PAGES, is_of_use, has_it).await?;
        let (build, asset) = newest(&builds, at.host).remove(version).ok_or_else(|| SourceError::NotOffered {
            runtime: Native::Python,
            version: version.to_owned(),
            host: at.host,
        })?;
        Ok(vec![cpython_part(at, build, asset).await?])
    }

    fn arrange(&self, root: &Path, version: &Version) -> io::Result<()> {
        let bin = root.join("bin");
        let minor = minor(version.as_str());
        let versioned = format!("python{minor}");
        link(&bin, &versioned, &format!("pypy{minor}"))?;
        link(&bin, &versioned, "pypy3")?;
        link(&bin, "python3", &versioned)?;
        link(&bin, "python", "python3")?;
        let head = |interpreter: &str| {
            let interpreter = if bin.join(interpreter).exists() { interpreter } else { "python3" };
            let known = interpreter.starts_with("python") || interpreter.starts_with("pypy");
            (known && is_plain(interpreter)).then(|| script_head(interpreter))
        };
        rehead(&bin, &head)?;
        let site = site_packages(root, &minor);
        if let Some(site) = &site
            && !site.join("pip").exists()
        {
            add_pip(root, &minor, site)?;
        }
        let pip = format!("pip{minor}");
        link(&bin, "pip3", &pip)?;
        if site.is_some_and(|site| site.join("pip").exists()) && !bin.join("pip3").exists() {
            write_program(&bin.join("pip3"), format!("{}{RUN_PIP}", script_head("python3")).as_bytes())?;
        }
        link(&bin, "pip", "pip3")?;
        move_along(root, &minor)
    }
}

/// What pip's own scripts do.
const RUN_PIP: &str = "import sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n";

/// The head of a script that is Python and sh at once: sh runs the interpreter beside it, Python sees a text.
fn script_head(interpreter: &str) -> String {
    format!("#!/bin/sh\n\"\"\"exec\" \"{HERE}/{interpreter}\" \"$0\" \"$@\"\n\"\"\"\n")
}

/// Whether a name stands for itself in sh and in a text of Python.
fn is_plain(name: &str) -> bool {
    name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '.' || letter == '-' || letter == '_')
}

/// `3.12` of `3.12.5`, `3.10` of `pypy3.10-7.3.16`.
fn minor(version: &str) -> String {
    let numbers = version.trim_start_matches("pypy");
    let numbers = numbers.split('-').next().unwrap_or_default();
    numbers.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Where installed packages are.
fn site_packages(root: &Path, minor: &str) -> Option<PathBuf> {
    let library = [format!("lib/python{minor}"), format!("lib/pypy{minor}")].into_iter().map(|path| root.join(path));
    library.map(|library| library.join("site-packages")).find(|site| site.is_dir())
}

/// Lays out the pip that Python carries (`ensurepip/_bundled/pip-<version>-py3-none-any.whl`), as upstream has one do with
/// `python -m ensurepip`: PyPy's archives come without. A wheel is a zip, laid out as it is
/// (<https://packaging.python.org/specifications/binary-distribution-format>).
fn add_pip(root: &Path, minor: &str, site: &Path) -> io::Result<()> {
    let Some(library) = site.parent() else { return Ok(()) };
    let bundled = match fs::read_dir(library.join("ensurepip/_bundled")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        bundled => bundled?,
    };
    for wheel in bundled {
        let wheel = wheel?;
        let name = wheel.file_name().to_string_lossy().into_owned();
        if !name.starts_with("pip-") || !name.ends_with(".whl") || !wheel.file_type()?.is_file() {
            continue;
        }
        let folder = tempfile::Builder::new().prefix(".omg-pip").tempdir_in(root)?;
        let mut file = fs::File::open(wheel.path())?;
        let place = |entry: &Path| Some(entry.to_path_buf());
        let limits = Limits::default();
        let stopped = AtomicBool::new(false);
        unpack(&mut file, Format::Zip, folder.path(), &place, &limits, &stopped).map_err(io::Error::other)?;
        for entry in fs::read_dir(folder.path())? {
            let entry = entry?;
            fs::rename(entry.path(), site.join(entry.file_name()))?;
        }
        let script = format!("{}{RUN_PIP}", script_head("python3"));
        return write_program(&root.join("bin").join(format!("pip{minor}")), script.as_bytes());
    }
    Ok(())
}

/// What CPython notes about how it was built has the folder of the build in it; whoever compiles an extension looks there.
/// Upstream leaves it to the installer to put it right
/// (<https://gregoryszorc.com/docs/python-build-standalone/main/quirks.html>). A line that does this when the notes are
/// read holds wherever the installation is moved.
fn move_along(root: &Path, minor: &str) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(format!("lib/python{minor}"))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("_sysconfigdata_") || !name.ends_with(".py") || !entry.file_type()?.is_file() {
            continue;
        }
        let text = fs::read_to_string(entry.path())?;
        let noted = text.contains(&format!("'{BUILD_PREFIX}'")) || text.contains(&format!("{BUILD_PREFIX}/"));
        if noted && !text.contains(MOVES_ALONG) {
            super::rust::layout::replace(&entry.path(), &format!("{text}{MOVES_ALONG}"))?;
        }
    }
    Ok(())
}

const MOVES_ALONG: &str = "
import sys as _sys
build_time_vars = {
    name: _sys.base_prefix if value == '/install'
    else value.replace('/install/', _sys.base_prefix + '/') if isinstance(value, str)
    else value
    for name, value in build_time_vars.items()
}
";

/// The archive of a build, and what vouches for it.
async fn cpython_part(at: &At<'_>, build: &Hosted, asset: &Asset) -> Result<Part, SourceError> {
    let url = web(&asset.url, at.base)?.to_owned();
    let (sha256, mut checks) = github::checksum(at, build, asset, asset.name.clone()).await?;
    let is_attested = version_and_day(&asset.name, at.host).is_none_or(|(version, day)| is_attested(version, day));
    if let Some(sha256) = sha256.filter(|_| is_attested) {
        checks.push(attestations::provenance(at, &asset.name, &sha256, &MAKER).await?);
    }
    let download = Download { url, name: asset.name.clone(), size: asset.size, sha256 };
    Ok(Part { download, format: Format::TarGz, place: Placing::Strip(1), checks })
}

/// Whether a file of a build is one that is installed, or vouches for such ones: of a thousand a score are.
fn is_of_use(asset: &Asset) -> bool {
    let name = asset.name.strip_suffix(".sha256").unwrap_or(&asset.name);
    name == "SHA256SUMS" || name.ends_with("-install_only.tar.gz") && name.contains("-linux-")
}

fn triple(host: Host) -> &'static str {
    super::rust::triple(host)
}

/// The newest build of each version.
fn newest(builds: &[Hosted], host: Host) -> BTreeMap<String, (&Hosted, &Asset)> {
    let mut newest = BTreeMap::<String, (&str, &Hosted, &Asset)>::new();
    for build in builds.iter().filter(|build| !build.draft) {
        for asset in &build.assets {
            let Some((version, day)) = version_and_day(&asset.name, host) else { continue };
            let older = |(known, ..): &(&str, &Hosted, &Asset)| *known < day;
            if newest.get(version).is_none_or(older) {
                newest.insert(version.to_owned(), (day, build, asset));
            }
        }
    }
    newest.into_iter().map(|(version, (_, build, asset))| (version, (build, asset))).collect()
}

/// Of `cpython-3.12.5+20240814-x86_64-unknown-linux-gnu-install_only.tar.gz`, when it is for the host.
fn version_and_day(name: &str, host: Host) -> Option<(&str, &str)> {
    let name = name.strip_prefix("cpython-")?.strip_suffix("-install_only.tar.gz")?;
    let (version, day) = name.strip_suffix(triple(host))?.strip_suffix('-')?.split_once('+')?;
    let is_day = day.len() == 8 && day.bytes().all(|digit| digit.is_ascii_digit());
    is_day.then_some((version, day))
}

fn cpythons(builds: &[Hosted], host: Host) -> Vec<Release> {
    let releases = newest(builds, host).into_iter().filter_map(|(name, (_, asset))| {
        let version = Version::parse(&Native::Python.into(), &name).ok()?;
        let (_, day) = version_and_day(&asset.name, host)?;
        let (year, rest) = day.split_at_checked(4)?;
        let (month, day) = rest.split_at_checked(2)?;
        let is_prerelease = name.contains(|letter: char| letter.is_ascii_alphabetic());
        Some(Release { version, lts: None, is_prerelease, date: Some(format!("{year}-{month}-{day}")) })
    });
    releases.collect()
}

/// An entry of PyPy's index.
#[derive(Debug, Clone, Deserialize)]
struct PyPy {
    /// `7.3.16`, `7.3.12rc1`, `nightly`.
    pypy_version: String,
    /// `3.10.14`; nothing for what is not built yet.
    python_version: Option<String>,
    #[serde(default)]
    stable: bool,
    date: Option<String>,
    #[serde(default)]
    files: Vec<PyPyFile>,
}

#[derive(Debug, Clone, Deserialize)]
struct PyPyFile {
    filename: String,
    arch: String,
    platform: String,
    download_url: String,
}

impl PyPy {
    /// `pypy3.10-7.3.16`; nightly builds have none.
    fn version(&self) -> Option<String> {
        let python = self.python_version.as_deref()?;
        let numbered = self.pypy_version.starts_with(|digit: char| digit.is_ascii_digit());
        numbered.then(|| format!("pypy{}-{}", minor(python), self.pypy_version))
    }

    fn file(&self, host: Host) -> Option<&PyPyFile> {
        let arch = match host.arch {
            Arch::X86_64 => "x64",
            Arch::Aarch64 => "aarch64",
        };
        let fits =
            |file: &&PyPyFile| file.platform == "linux" && file.arch == arch && file.filename.ends_with(".tar.bz2");
        self.files.iter().filter(|_| host.libc == Libc::Glibc).find(fits)
    }
}

fn pypys(index: &[PyPy], host: Host) -> Vec<Release> {
    let releases = index.iter().filter(|entry| entry.file(host).is_some()).filter_map(|entry| {
        let version = Version::parse(&Native::Python.into(), &entry.version()?).ok()?;
        Some(Release { version, lts: None, is_prerelease: !entry.stable, date: entry.date.clone() })
    });
    releases.collect()
}

/// The checksum of a file on PyPy's page, or in the text that it is made of: lines of checksums and names. What it has
/// twice has to agree.
fn on_page(page: &str, name: &str) -> Option<[u8; 32]> {
    let lines = page.split(['\n', '<', '>']).map(|line| line.split_ascii_whitespace());
    let mut found = lines.filter_map(|mut words| {
        let (sum, file, none) = (words.next()?, words.next()?, words.next());
        let mut bytes = [0; 32];
        (file == name && none.is_none() && hex::decode_to_slice(sum, &mut bytes).is_ok()).then_some(bytes)
    });
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

impl Python {
    async fn pypy_index(&self, at: &At<'_>) -> Result<Vec<PyPy>, SourceError> {
        let url = format!("{}/versions.json", self.pypy);
        let text = at.http.index(&url, MOST_INDEX, at.fresh).await?;
        serde_json::from_slice(&text).map_err(|error| SourceError::Unreadable { url, reason: error.to_string() })
    }

    async fn pypy_part(&self, at: &At<'_>, version: &str) -> Result<Part, SourceError> {
        let index = self.pypy_index(at).await?;
        let found = index.iter().filter(|entry| entry.version().as_deref() == Some(version));
        let file = found.filter_map(|entry| entry.file(at.host)).next().ok_or_else(|| SourceError::NotOffered {
            runtime: Native::Python,
            version: version.to_owned(),
            host: at.host,
        })?;
        let url = match file.download_url.strip_prefix(PYPY) {
            Some(rest) => format!("{}{rest}", self.pypy),
            None => web(&file.download_url, &self.pypy)?.to_owned(),
        };
        let sum = match at.http.index(&self.pypy_checksums, MOST_INDEX, at.fresh).await {
            Ok(page) => on_page(&String::from_utf8_lossy(&page), &file.filename)
                .ok_or_else(|| format!("{} has no checksum of it", self.pypy_checksums)),
            Err(FetchError::NotFound(url)) => Err(format!("{url} is not there")),
            Err(error) => return Err(error.into()),
        };
        let (sha256, check) = match sum {
            Ok(sum) => (Some(sum), Check::Checksum { listed_in: self.pypy_checksums.clone() }),
            Err(reason) if at.unverified => (None, Check::Unverified { reason }),
            Err(reason) => return Err(SourceError::Unverifiable { what: shortened(&file.filename), reason }),
        };
        let download = Download { url, name: file.filename.clone(), size: None, sha256 };
        Ok(Part { download, format: Format::TarBz2, place: Placing::Strip(1), checks: vec![check] })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const GNU: Host = Host { arch: Arch::X86_64, libc: Libc::Glibc };
    const MUSL_ARM: Host = Host { arch: Arch::Aarch64, libc: Libc::Musl };

    fn build(tag: &str, files: &[&str]) -> Hosted {
        let asset = |name: &&str| Asset {
            name: (*name).to_owned(),
            size: Some(1),
            digest: None,
            url: format!("https://github.com/astral-sh/python-build-standalone/releases/download/{tag}/{name}"),
        };
        let assets = files.iter().map(asset).collect();
        Hosted { tag: tag.to_owned(), draft: false, prerelease: false, published_at: None, assets }
    }

    #[test]
    fn the_newest_build_of_a_version_for_the_host_counts() {
        let builds = [
            build(
                "20240814",
                &[
                    "SHA256SUMS",
                    "cpython-3.12.5+20240814-x86_64-unknown-linux-gnu-debug-full.tar.zst",
                    "cpython-3.12.5+20240814-x86_64-unknown-linux-gnu-install_only.tar.gz",
                    "cpython-3.12.5+20240814-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz",
                    "cpython-3.12.5+20240814-x86_64_v2-unknown-linux-gnu-install_only.tar.gz",
                    "cpython-3.12.5+20240814-aarch64-unknown-linux-musl-install_only.tar.gz",
                    "cpython-3.13.0rc1+20240814-x86_64-unknown-linux-gnu-install_only.tar.gz",
                    "cpython-3.13.0rc1+20240814-x86_64-unknown-linux-gnu-freethreaded-install_only.tar.gz",
                ],
            ),
            build("20240726", &["cpython-3.12.5+20240726-x86_64-unknown-linux-gnu-install_only.tar.gz"]),
        ];
        let shown = |host| {
            let releases = cpythons(&builds, host);
            let shown = |release: Release| (release.version.as_str().to_owned(), release.date, release.is_prerelease);
            releases.into_iter().map(shown).collect::<Vec<_>>()
        };
        let day = || Some("2024-08-14".to_owned());
        assert_eq!(shown(GNU), [("3.12.5".to_owned(), day(), false), ("3.13.0rc1".to_owned(), day(), true)]);
        assert_eq!(shown(MUSL_ARM), [("3.12.5".to_owned(), day(), false)]);
        let (from, asset) = newest(&builds, GNU).remove("3.12.5").unwrap();
        assert_eq!(from.tag, "20240814");
        assert_eq!(asset.name, "cpython-3.12.5+20240814-x86_64-unknown-linux-gnu-install_only.tar.gz");
    }

    const INDEX: &str = r#"[
        {"pypy_version":"7.3.16","python_version":"3.10.14","stable":true,"latest_pypy":true,"date":"2024-04-24","files":[
          {"filename":"pypy3.10-v7.3.16-aarch64.tar.bz2","arch":"aarch64","platform":"linux",
           "download_url":"https://downloads.python.org/pypy/pypy3.10-v7.3.16-aarch64.tar.bz2"},
          {"filename":"pypy3.10-v7.3.16-win64.zip","arch":"x64","platform":"win64",
           "download_url":"https://downloads.python.org/pypy/pypy3.10-v7.3.16-win64.zip"},
          {"filename":"pypy3.10-v7.3.16-linux64.tar.bz2","arch":"x64","platform":"linux",
           "download_url":"https://downloads.python.org/pypy/pypy3.10-v7.3.16-linux64.tar.bz2"}]},
        {"pypy_version":"nightly","python_version":"3.10","stable":false,"date":"2024-05-01","files":[
          {"filename":"pypy-c-jit-latest-linux64.tar.bz2","arch":"x64","platform":"linux",
           "download_url":"https://buildbot.pypy.org/nightly/py3.10/pypy-c-jit-latest-linux64.tar.bz2"}]},
        {"pypy_version":"7.3.12rc1","python_version":"3.9.16","stable":false,"latest_pypy":false,"date":"2023-05-29","files":[
          {"filename":"pypy3.9-v7.3.12rc1-linux64.tar.bz2","arch":"x64","platform":"linux",
           "download_url":"https://downloads.python.org/pypy/pypy3.9-v7.3.12rc1-linux64.tar.bz2"}]}]"#;

    #[test]
    fn pypy_is_offered_by_python_s_version_and_its_own_for_glibc_only() {
        let index: Vec<PyPy> = serde_json::from_str(INDEX).unwrap();
        let shown: Vec<_> = pypys(&index, GNU)
            .into_iter()
            .map(|release| (release.version.as_str().to_owned(), release.is_prerelease))
            .collect();
        assert_eq!(shown, [("pypy3.10-7.3.16".to_owned(), false), ("pypy3.9-7.3.12rc1".to_owned(), true)]);
        assert_eq!(index[0].file(GNU).unwrap().filename, "pypy3.10-v7.3.16-linux64.tar.bz2");
        let arm = Host { arch: Arch::Aarch64, libc: Libc::Glibc };
        assert_eq!(index[0].file(arm).unwrap().filename, "pypy3.10-v7.3.16-aarch64.tar.bz2");
        assert!(pypys(&index, Host { arch: Arch::X86_64, libc: Libc::Musl }).is_empty());
    }

    #[test]
    fn pypy_s_checksums_are_read_from_the_page_and_have_to_agree() {
        let (one, two) = ("1a".repeat(32), "2b".repeat(32));
        let text = format!(
            "pypy3.9-v7.3.10 sha256::\n\n    {one}  pypy3.9-v7.3.10-aarch64.tar.bz2      \n    \
             {two}  pypy3.9-v7.3.10-linux64.tar.bz2\n"
        );
        assert_eq!(on_page(&text, "pypy3.9-v7.3.10-aarch64.tar.bz2"), Some([0x1a; 32]));
        assert_eq!(on_page(&text, "pypy3.9-v7.3.10-linux64.tar.bz2"), Some([0x2b; 32]));
        let page = format!(
            "<p>pypy3.10-7.3.16 sha256:</p>\n<pre class=\"literal-block\">{one}  pypy3.10-v7.3.16-aarch64.tar.bz2\n\
             {two}  pypy3.10-v7.3.16-linux64.tar.bz2</pre>\n<p>{two}  a.tar.bz2</p><p>{one}  a.tar.bz2</p>"
        );
        assert_eq!(on_page(&page, "pypy3.10-v7.3.16-aarch64.tar.bz2"), Some([0x1a; 32]));
        assert_eq!(on_page(&page, "pypy3.10-v7.3.16-linux64.tar.bz2"), Some([0x2b; 32]));
        assert_eq!(on_page(&page, "v7.3.16-linux64.tar.bz2"), None);
        assert_eq!(on_page(&page, "a.tar.bz2"), None);
    }

    /// A folder like an unpacked archive, with a real Python in it that stands for the one of the archive.
    fn unpacked(script: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let real = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        let real = String::from_utf8(real.stdout).unwrap();
        write_program(&bin.join("python3.12"), format!("#!/bin/sh\nexec {} \"$@\"\n", real.trim()).as_bytes()).unwrap();
        write_program(&bin.join("pip3.12"), script.as_bytes()).unwrap();
        root
    }

    #[test]
    fn python_and_pip_run_after_a_move_and_through_links() {
        let root = unpacked("#!/install/bin/python3.12\nimport sys\nprint('ran', sys.argv[1:])\n");
        let version = Version::parse(&Native::Python.into(), "3.12.5").unwrap();
        Python::default().arrange(root.path(), &version).unwrap();
        let moved = tempfile::tempdir().unwrap();
        let folder = moved.path().join("it's a \"folder\" $HOME");
        fs::rename(root.path(), &folder).unwrap();
        std::os::unix::fs::symlink(folder.join("bin/pip"), moved.path().join("pip")).unwrap();
        let run = |program: &Path, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        for pip in ["pip", "pip3", "pip3.12"] {
            assert_eq!(run(&folder.join("bin").join(pip), &["a b"]), "ran ['a b']\n");
        }
        assert_eq!(run(&moved.path().join("pip"), &[]), "ran []\n");
        for python in ["python", "python3"] {
            assert_eq!(run(&folder.join("bin").join(python), &["-c", "print(7)"]), "7\n");
        }
    }

    #[test]
    fn notes_of_the_build_s_folder_follow_the_installation() {
        let root = unpacked("#!/bin/sh\n");
        let library = root.path().join("lib/python3.12");
        fs::create_dir_all(&library).unwrap();
        let notes = library.join("_sysconfigdata__linux_x86_64-linux-gnu.py");
        let text = "build_time_vars = {'prefix': '/install', 'LIBDIR': '/install/lib', 'N': 1, 'S': '/installed'}\n";
        fs::write(&notes, text).unwrap();
        for _ in 0..2 {
            let version = Version::parse(&Native::Python.into(), "3.12.5").unwrap();
            Python::default().arrange(root.path(), &version).unwrap();
        }
        let script = "import sys; sys.base_prefix = '/here'; exec(open(sys.argv[1]).read()); print(build_time_vars)";
        let output = Command::new("python3").args(["-c", script]).arg(&notes).output().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "{'prefix': '/here', 'LIBDIR': '/here/lib', 'N': 1, 'S': '/installed'}\n"
        );
    }

    #[test]
    fn no_version_that_came_later_passes_for_one_of_before_there_were_attestations() {
        for (version, day) in
            [("3.12.9", "20250205"), ("3.12.5", "20240814"), ("3.14.0a4", "20250115"), ("3.8.20", "20241016")]
        {
            assert!(!is_attested(version, day), "{version} {day}");
        }
        for (version, day) in [
            ("3.12.9", "20250212"),
            ("3.12.9", "20261101"),
            ("3.12.10", "20250101"),
            ("3.14.99", "20250101"),
            ("3.14.0", "20250101"),
            ("3.15.0", "20240101"),
            ("4.0.0", "20240101"),
            ("?", "20240101"),
        ] {
            assert!(is_attested(version, day), "{version} {day}");
        }
    }

    #[test]
    fn the_minor_version_is_the_one_of_the_language() {
        assert_eq!(minor("3.12.5"), "3.12");
        assert_eq!(minor("3.14.0rc2"), "3.14");
        assert_eq!(minor("pypy3.10-7.3.16"), "3.10");
    }
}
