//! Ruby, as [ruby-builder](https://github.com/ruby/ruby-builder) builds it for GitHub's own machines: Ruby, JRuby and
//! TruffleRuby.
//!
//! A release `ruby-3.3.5` has an archive for each system, `ruby-3.3.5-ubuntu-22.04-x64.tar.gz`; the one release
//! `toolcache`, of before 2025, had all of them, named `ruby-3.3.5-ubuntu-22.04.tar.gz` and `…-ubuntu-22.04-arm64.tar.gz`.
//! Upstream publishes no checksums; GitHub notes those of what was uploaded. Each archive has one folder (`x64`).
//!
//! Rubies are built for the folder `/opt/hostedtoolcache/Ruby/3.3.5/x64`, without `--enable-load-relative`, and look for
//! their libraries there; [`Ruby::arrange`] makes them look beside themselves.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::elf::{is_elf, replace_runpath};
use super::github::{self, Asset, Hosted, Pages, web};
use super::scripts::{HERE, rehead, write_program};
use super::{At, Part, Placing, Source, SourceError};
use crate::runtime::fetch::Download;
use crate::runtime::unpack::Format;
use crate::runtime::{Arch, Extras, Host, Libc, Native, Release, Version};

/// Each release has about ten files, and there are 350. Old ones get builds for new distributions.
const PAGES: Pages = Pages { each: 50, most: 40, lasting: false };

/// glibc of the systems that there are builds for: a build runs where glibc is as new.
const SYSTEMS: [(&str, Glibc); 4] =
    [("ubuntu-20.04", (2, 31)), ("ubuntu-22.04", (2, 35)), ("ubuntu-24.04", (2, 39)), ("ubuntu-26.04", (2, 43))];

/// ruby-builder's releases.
pub const OFFICIAL: &str = "https://api.github.com/repos/ruby/ruby-builder/releases";

/// A version of glibc.
type Glibc = (u32, u32);

/// Longest libc that is read, bytes: it has 2 million.
const LONGEST_LIBC: u64 = 32 << 20;

/// Ruby, JRuby and TruffleRuby.
#[derive(Debug, Clone)]
pub struct Ruby {
    /// Of the system that programs run on.
    pub root: PathBuf,
}

impl Default for Ruby {
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

#[async_trait]
impl Source for Ruby {
    fn native(&self) -> Native {
        Native::Ruby
    }

    async fn releases(&self, at: &At<'_>) -> Result<Vec<Release>, SourceError> {
        let glibc_here = glibc(&self.root);
        let is_found = |hosted: &[Hosted]| {
            at.wanted.is_some_and(|request| request.choose(&offered(hosted, at.host, glibc_here)).is_some())
        };
        let hosted = github::releases(at, PAGES, |_| true, is_found).await?;
        Ok(offered(&hosted, at.host, glibc_here))
    }

    async fn parts(&self, at: &At<'_>, release: &Release, _extras: &Extras) -> Result<Vec<Part>, SourceError> {
        let version = release.version.as_str();
        let has_it = |hosted: &[Hosted]| builds(hosted, at.host).contains_key(version);
        let hosted = github::releases(at, PAGES, |_| true, has_it).await?;
        let builds = builds(&hosted, at.host);
        let builds = builds.get(version).map(Vec::as_slice).unwrap_or_default();
        let (hosted, asset) = best(builds, glibc(&self.root)).map_err(|reason| match reason {
            None => SourceError::NotOffered { runtime: Native::Ruby, version: version.to_owned(), host: at.host },
            Some(reason) => SourceError::NotHere { runtime: Native::Ruby, version: version.to_owned(), reason },
        })?;
        let url = web(&asset.url, at.base)?.to_owned();
        let (sha256, checks) = github::checksum(at, hosted, asset, asset.name.clone()).await?;
        let download = Download { url, name: asset.name.clone(), size: asset.size, sha256 };
        Ok(vec![Part { download, format: Format::TarGz, place: Placing::Strip(1), checks }])
    }

    fn arrange(&self, root: &Path, _version: &Version) -> io::Result<()> {
        let bin = root.join("bin");
        let program = bin.join("ruby");
        let is_built = match fs::symlink_metadata(&program) {
            Ok(found) => found.is_file() && is_elf(&program)?,
            Err(_) => false,
        };
        // JRuby and TruffleRuby find their own folders.
        if is_built && let Some(library) = Library::of(root)? {
            library.follow(root)?;
        }
        rehead(&bin, &|interpreter| (interpreter == "ruby").then(script_head))
    }
}

/// The head of a script that is Ruby and sh at once: sh runs the Ruby beside it with what follows the last line of the
/// head (`-x`); Ruby takes what is for sh for a remark.
fn script_head() -> String {
    format!("#!/bin/sh\ntrue \\\n=begin\nexec \"{HERE}/ruby\" -x \"$0\" \"$@\"\n=end\n#!/usr/bin/env ruby\n")
}

/// Where a Ruby has its own library, below the installation.
#[derive(Debug, PartialEq, Eq)]
struct Library {
    /// `3.3.0`: of the interface, not of the release.
    api: String,
    /// `x86_64-linux`.
    arch: String,
}

impl Library {
    /// `None` when there is none, or the Ruby finds it by itself.
    fn of(root: &Path) -> io::Result<Option<Self>> {
        for api in folders(&root.join("lib/ruby"))? {
            let of_api = root.join("lib/ruby").join(&api);
            for arch in folders(&of_api)? {
                let config = of_api.join(&arch).join("rbconfig.rb");
                if let Ok(config) = fs::read_to_string(config) {
                    let follows = config.contains("--enable-load-relative");
                    return Ok((!follows && is_plain(&api) && is_plain(&arch)).then_some(Self { api, arch }));
                }
            }
        }
        Ok(None)
    }

    /// In Ruby's own order.
    fn folders(&self) -> [String; 8] {
        let Self { api, arch } = self;
        [
            format!("site_ruby/{api}"),
            format!("site_ruby/{api}/{arch}"),
            "site_ruby".to_owned(),
            format!("vendor_ruby/{api}"),
            format!("vendor_ruby/{api}/{arch}"),
            "vendor_ruby".to_owned(),
            api.clone(),
            format!("{api}/{arch}"),
        ]
    }

    /// Puts a script in the program's place that tells it where its library is, and has it look for `libruby` beside
    /// itself. It is told by `RUBYLIB`, which counts after `-I`, like the places that are built in; RubyGems' hook for
    /// packagers takes it away again, so that other Rubies that are run by it do not see it.
    fn follow(&self, root: &Path) -> io::Result<()> {
        let (program, kept) = (root.join("bin/ruby"), root.join("libexec/omg/ruby"));
        if let Some(folder) = kept.parent() {
            fs::create_dir_all(folder)?;
        }
        replace_runpath(&program, "$ORIGIN/../../lib")?;
        fs::rename(&program, &kept)?;
        let folders = self.folders().map(|folder| format!("$root/lib/ruby/{folder}")).join(":");
        let script = format!(
            "#!/bin/sh\n\
             # Ruby looks for its library in the folder that it was built for: here it is told where the library is.\n\
             root=$(dirname \"{HERE}\")\n\
             OMG_RUBYLIB=\"{folders}\"\n\
             RUBYLIB=\"${{RUBYLIB:+$RUBYLIB:}}$OMG_RUBYLIB\"\n\
             export OMG_RUBYLIB RUBYLIB\n\
             exec \"$root/libexec/omg/ruby\" \"$@\"\n"
        );
        write_program(&program, script.as_bytes())?;
        let hook = root.join("lib/ruby").join(&self.api).join("rubygems/defaults/operating_system.rb");
        if let Some(folder) = hook.parent() {
            fs::create_dir_all(folder)?;
        }
        let kept = match fs::read_to_string(&hook) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            kept => kept?,
        };
        super::rust::layout::replace(&hook, &format!("{kept}{HOOK}"))
    }
}

/// For RubyGems, of any version.
const HOOK: &str = "\
# What bin/ruby has told this Ruby is for no other one.
if (own = ENV.delete('OMG_RUBYLIB'))
  rest = ENV['RUBYLIB'].to_s.chomp(own).chomp(':')
  ENV['RUBYLIB'] = rest.empty? ? nil : rest
end
";

/// Whether a name stands for itself in sh.
fn is_plain(name: &str) -> bool {
    name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
}

/// Names of the folders in a folder, in order.
fn folders(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A build: the glibc that it needs, and where it is.
type Build<'a> = (Glibc, &'a Hosted, &'a Asset);

/// The builds for a kind of machine, by version. The engine is part of the version, but for Ruby's own.
fn builds<'a>(hosted: &'a [Hosted], host: Host) -> BTreeMap<String, Vec<Build<'a>>> {
    let mut builds = BTreeMap::<String, Vec<Build<'a>>>::new();
    for release in hosted.iter().filter(|release| !release.draft) {
        for asset in &release.assets {
            if let Some((version, glibc)) = version_and_glibc(&asset.name, host) {
                builds.entry(version).or_default().push((glibc, release, asset));
            }
        }
    }
    builds
}

fn version_and_glibc(name: &str, host: Host) -> Option<(String, Glibc)> {
    if host.libc != Libc::Glibc {
        return None;
    }
    let name = name.strip_suffix(".tar.gz")?;
    let (ruby, platform) = match name.find("-ubuntu-").or_else(|| name.find("-linux-")) {
        Some(at) => name.split_at_checked(at)?,
        None => return None,
    };
    let platform = platform.strip_prefix('-')?;
    let system = match host.arch {
        Arch::X86_64 => platform.strip_suffix("-x64").unwrap_or(platform),
        Arch::Aarch64 => platform.strip_suffix("-arm64")?,
    };
    let glibc = match SYSTEMS.iter().find(|(known, _)| *known == system) {
        Some((_, glibc)) => *glibc,
        // TruffleRuby's own build, for any system.
        None if system == "linux" => (2, 17),
        None => return None,
    };
    let (engine, version) = ruby.split_once('-')?;
    match engine {
        "ruby" => Some((version.to_owned(), glibc)),
        "jruby" | "truffleruby" => Some((ruby.to_owned(), glibc)),
        _ => None,
    }
}

/// The build for the newest system that is not newer than this one. An error without a reason: there is none at all.
fn best<'a>(builds: &[Build<'a>], system: Option<Glibc>) -> Result<(&'a Hosted, &'a Asset), Option<String>> {
    let Some(oldest) = builds.iter().map(|(glibc, ..)| *glibc).min() else { return Err(None) };
    let needed = format!("it needs glibc {}.{}", oldest.0, oldest.1);
    let Some(system) = system else {
        return Err(Some(format!("{needed}, and no version of glibc is found here")));
    };
    let fits = builds.iter().filter(|(glibc, ..)| *glibc <= system).max_by_key(|(glibc, ..)| *glibc);
    let (_, hosted, asset) =
        fits.ok_or_else(|| Some(format!("{needed}, and this system has {}.{}", system.0, system.1)))?;
    Ok((hosted, asset))
}

fn offered(hosted: &[Hosted], host: Host, system: Option<Glibc>) -> Vec<Release> {
    let builds = builds(hosted, host);
    let fitting = builds.iter().filter_map(|(name, builds)| Some((name, best(builds, system).ok()?)));
    let releases = fitting.filter_map(|(name, (hosted, _))| {
        let version = Version::parse(&Native::Ruby.into(), name).ok()?;
        let is_prerelease = ["-preview", "-rc", "-dev"].iter().any(|mark| name.contains(mark));
        // The release of all versions has no day of any.
        let date = hosted.date().filter(|_| hosted.tag != "toolcache");
        Some(Release { version, lts: None, is_prerelease, date })
    });
    releases.collect()
}

/// The system's glibc, by what its library says about itself: no program is run, and none of this program's own
/// functions could tell, as it may be linked with another library.
fn glibc(root: &Path) -> Option<Glibc> {
    let folders = ["lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib"];
    folders.iter().find_map(|folder| {
        let file = fs::File::open(root.join(folder).join("libc.so.6")).ok()?;
        let mut bytes = Vec::new();
        file.take(LONGEST_LIBC).read_to_end(&mut bytes).ok()?;
        glibc_in(&bytes)
    })
}

/// Of `GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.`
fn glibc_in(libc: &[u8]) -> Option<Glibc> {
    let start = memchr::memmem::find(libc, b"GNU C Library (")?;
    let line = libc.get(start..)?.split(|byte| *byte == b'\n' || *byte == 0).next()?;
    let line = std::str::from_utf8(line).ok()?;
    let (_, version) = line.rsplit_once("release version ")?;
    let mut numbers = version.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    const X64: Host = Host { arch: Arch::X86_64, libc: Libc::Glibc };
    const ARM: Host = Host { arch: Arch::Aarch64, libc: Libc::Glibc };

    fn release(tag: &str, platforms: &[&str]) -> Hosted {
        let assets = platforms.iter().map(|name| Asset {
            name: format!("{name}.tar.gz"),
            size: Some(1),
            digest: None,
            url: format!("https://github.com/ruby/ruby-builder/releases/download/{tag}/{name}.tar.gz"),
        });
        let published_at = Some("2024-09-03T10:00:00Z".to_owned());
        Hosted { tag: tag.to_owned(), draft: false, prerelease: false, published_at, assets: assets.collect() }
    }

    fn hosted() -> Vec<Hosted> {
        vec![
            release(
                "ruby-3.3.5",
                &[
                    "ruby-3.3.5-darwin-x64",
                    "ruby-3.3.5-ubuntu-22.04-arm64",
                    "ruby-3.3.5-ubuntu-22.04-x64",
                    "ruby-3.3.5-ubuntu-24.04-x64",
                ],
            ),
            release("ruby-4.1.0-preview1", &["ruby-4.1.0-preview1-ubuntu-24.04-x64"]),
            release("truffleruby-24.1.0", &["truffleruby-24.1.0-linux-x64", "truffleruby+graalvm-24.1.0-linux-x64"]),
            release(
                "toolcache",
                &["ruby-2.7.8-ubuntu-20.04", "jruby-9.4.8.0-ubuntu-22.04", "jruby-9.4.8.0-ubuntu-22.04-arm64"],
            ),
        ]
    }

    #[test]
    fn the_build_for_the_newest_system_that_is_not_newer_counts() {
        let hosted = hosted();
        let names = |host, system| {
            let releases = offered(&hosted, host, system);
            releases.iter().map(|release| release.version.as_str().to_owned()).collect::<Vec<_>>()
        };
        let old = ["2.7.8", "3.3.5", "jruby-9.4.8.0", "truffleruby-24.1.0"];
        assert_eq!(names(X64, Some((2, 36))), old);
        let new = ["2.7.8", "3.3.5", "4.1.0-preview1", "jruby-9.4.8.0", "truffleruby-24.1.0"];
        assert_eq!(names(X64, Some((2, 41))), new);
        assert_eq!(names(ARM, Some((2, 36))), ["3.3.5", "jruby-9.4.8.0"]);
        assert_eq!(names(Host { arch: Arch::X86_64, libc: Libc::Musl }, Some((2, 41))), [""; 0]);

        let builds = builds(&hosted, X64);
        let chosen = |system| best(&builds["3.3.5"], system).map(|(_, asset)| asset.name.as_str());
        assert_eq!(chosen(Some((2, 36))), Ok("ruby-3.3.5-ubuntu-22.04-x64.tar.gz"));
        assert_eq!(chosen(Some((2, 39))), Ok("ruby-3.3.5-ubuntu-24.04-x64.tar.gz"));
        let reason = "it needs glibc 2.35, and this system has 2.28".to_owned();
        assert_eq!(chosen(Some((2, 28))), Err(Some(reason)));
        let reason = "it needs glibc 2.35, and no version of glibc is found here".to_owned();
        assert_eq!(chosen(None), Err(Some(reason)));
        assert_eq!(best(&[], Some((2, 36))).map(|_| ()), Err(None));
    }

    #[test]
    fn glibc_s_version_is_the_one_that_it_says() {
        let debian = b"\0GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.\nCopyright";
        assert_eq!(glibc_in(debian), Some((2, 36)));
        let fedora = b"GNU C Library (GNU libc) stable release version 2.40.9000.\n";
        assert_eq!(glibc_in(fedora), Some((2, 40)));
        assert_eq!(glibc_in(b"musl"), None);
        if let Some(here) = glibc(Path::new("/")) {
            let said = Command::new("ldd").arg("--version").output().unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            let first = said.lines().next().unwrap();
            assert!(first.ends_with(&format!(" {}.{}", here.0, here.1)), "{first}");
        }
    }

    /// A folder like an unpacked archive. In the place of Ruby is a real program that shows what it was told.
    fn unpacked() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("bin")).unwrap();
        fs::create_dir_all(at("lib/ruby/3.3.0/x86_64-linux")).unwrap();
        fs::create_dir_all(at("lib/ruby/gems/3.3.0")).unwrap();
        fs::write(at("lib/ruby/3.3.0/x86_64-linux/rbconfig.rb"), "CONFIG[\"configure_args\"] = \"'--enable-shared'\"")
            .unwrap();
        fs::copy("/usr/bin/env", at("bin/ruby")).unwrap();
        write_program(&at("bin/gem"), b"#!/opt/hostedtoolcache/Ruby/3.3.5/x64/bin/ruby\nputs ARGV\n").unwrap();
        root
    }

    #[test]
    fn a_ruby_is_told_where_its_library_is_wherever_it_was_moved() {
        let root = unpacked();
        let version = Version::parse(&Native::Ruby.into(), "3.3.5").unwrap();
        Ruby::default().arrange(root.path(), &version).unwrap();
        let moved = tempfile::tempdir().unwrap();
        let folder = moved.path().join("a $HOME \"folder\"");
        fs::rename(root.path(), &folder).unwrap();
        std::os::unix::fs::symlink(folder.join("bin/ruby"), moved.path().join("ruby")).unwrap();
        let output = Command::new(moved.path().join("ruby")).env("RUBYLIB", "/mine").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let output = String::from_utf8(output.stdout).unwrap();
        let library = folder.canonicalize().unwrap().join("lib/ruby").display().to_string();
        let told: Vec<_> = output.lines().find_map(|line| line.strip_prefix("RUBYLIB=")).unwrap().split(':').collect();
        assert_eq!(told.len(), 9);
        assert_eq!(told[..2], ["/mine".to_owned(), format!("{library}/site_ruby/3.3.0")]);
        assert_eq!(told[7..], [format!("{library}/3.3.0"), format!("{library}/3.3.0/x86_64-linux")]);
        assert!(output.lines().any(|line| line == format!("OMG_RUBYLIB={}", told[1..].join(":"))));
    }

    #[test]
    fn ruby_s_own_scripts_run_the_ruby_beside_them() {
        let root = unpacked();
        let version = Version::parse(&Native::Ruby.into(), "3.3.5").unwrap();
        Ruby::default().arrange(root.path(), &version).unwrap();
        write_program(&root.path().join("bin/ruby"), b"#!/bin/sh\nprintf '%s\\n' \"$@\"\n").unwrap();
        let gem = root.path().join("bin/gem");
        let output = Command::new(&gem).args(["install", "a b"]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said, format!("-x\n{}\ninstall\na b\n", gem.display()));
        assert!(fs::read_to_string(&gem).unwrap().ends_with("=end\n#!/usr/bin/env ruby\nputs ARGV\n"));
        assert_eq!(fs::metadata(&gem).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn a_ruby_that_finds_its_library_is_left_as_it_is() {
        let root = unpacked();
        let config = root.path().join("lib/ruby/3.3.0/x86_64-linux/rbconfig.rb");
        fs::write(config, "CONFIG[\"configure_args\"] = \"'--enable-load-relative'\"").unwrap();
        assert_eq!(Library::of(root.path()).unwrap(), None);
        let version = Version::parse(&Native::Ruby.into(), "3.3.5").unwrap();
        Ruby::default().arrange(root.path(), &version).unwrap();
        assert!(is_elf(&root.path().join("bin/ruby")).unwrap());
    }
}
