//! Real programs that come in few packages or are made here: a JDK with its compiler, PyPy, and what is linked with musl.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "shared by test targets that each use a part")]
#[path = "support/upstreams.rs"]
mod upstreams;

#[allow(dead_code, reason = "shared by test targets that each use a part")]
#[path = "support/real_runtimes.rs"]
mod real_runtimes;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use real_runtimes::{OMG, OMGD, Tree, World, cache, said};
use serde_json::json;
use upstreams::sha256;

#[test]
fn a_jdk_of_adoptium_compiles_and_runs_a_program() {
    let world = World::new("java", "");
    let tree = Tree::new().with(&cache().join("jdk"), "");
    // As Adoptium tells it: what Debian has made of it is behind it.
    let release = fs::read_to_string(tree.path("release")).unwrap();
    let line = release.lines().find(|line| line.starts_with("JAVA_RUNTIME_VERSION=")).unwrap();
    let told = line.split('"').nth(1).unwrap();
    let version = told.split('-').next().unwrap();
    fs::write(tree.path("release"), release.replace(told, version)).unwrap();
    let number = version.split('.').next().unwrap();
    let archive = tree.tar(&format!("jdk-{version}"), "gzip -1");
    let (address, file) = (world.upstream.address(), version.replace('+', "_"));
    let name = format!("OpenJDK{number}U-jdk_x64_linux_hotspot_{file}.tar.gz");
    let lines = json!({"available_lts_releases": [17], "available_releases": [number.parse::<u32>().unwrap()]});
    world.upstream.file("/v3/info/available_releases", serde_json::to_vec(&lines).unwrap());
    let page = json!([{"release_name": format!("jdk-{version}"), "release_type": "ga", "vendor": "eclipse",
        "timestamp": "2026-01-20T12:13:44Z", "version_data": {"openjdk_version": version},
        "binaries": [{"architecture": "x64", "os": "linux", "image_type": "jdk", "package": {"name": name,
            "link": format!("{address}/{name}"), "size": archive.len(), "checksum": sha256(&archive),
            "signature_link": format!("{address}/{name}.sig")}}]}]);
    let asked = format!(
        "/v3/assets/feature_releases/{number}/ga?architecture=x64&os=linux&image_type=jdk&jvm_impl=hotspot&\
         heap_size=normal&project=jdk&vendor=eclipse&page_size=20&page=0"
    );
    world.upstream.file(&asked, serde_json::to_vec(&page).unwrap());
    world.upstream.file(&format!("/{name}.sig"), world.key.detached(&archive));
    world.upstream.file(&format!("/{name}"), archive);
    let text = world.done(&["use", "java", number]);
    assert_eq!(text, format!("java {version} is installed, and is the current version\n"));
    let program = "public class Here {\n    record Sum(int one, int other) {}\n    public static void main(String[] words) {\n        \
        var sum = new Sum(40, 2);\n        System.out.println(sum.one() + sum.other() + \" \" + System.getProperty(\"java.home\"));\n    }\n}\n";
    fs::write(world.path("project/Here.java"), program).unwrap();
    let root = world.versions().join("java").join(version).display().to_string();
    let current = world.versions().join("java/current").display().to_string();
    let places = world.shell("command -v javac java jar; echo \"$JAVA_HOME\"");
    assert_eq!(places, format!("{current}/bin/javac\n{current}/bin/java\n{current}/bin/jar\n{current}"));
    assert!(world.shell("javac -version 2>&1").starts_with(&format!("javac {}", version.split('+').next().unwrap())));
    assert_eq!(world.shell("javac Here.java && java Here"), format!("42 {root}"));
    let jar = "jar --create --file here.jar --main-class Here Here*.class && java -jar here.jar";
    assert_eq!(world.shell(jar), format!("42 {root}"));
    // As a build tool does it.
    assert_eq!(world.shell("\"$JAVA_HOME/bin/javac\" -d out Here.java; java -cp out Here"), format!("42 {root}"));
}

/// The program that is PyPy in a library beside it, as PyPy's makers link it; Debian's looks in /usr.
fn pypy_program(library: &Path, into: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let source = "int pypy_main_startup(int, char **);\n\
        int main(int count, char **words) { return pypy_main_startup(count, words); }\n";
    fs::write(folder.path().join("main.c"), source).unwrap();
    let mut command = Command::new("cc");
    command.arg("-o").arg(into).arg(folder.path().join("main.c")).arg(library).arg("-Wl,-rpath,$ORIGIN");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn pypy_is_installed_as_its_makers_publish_it_and_runs_with_pip() {
    let world = World::new("python", "/releases");
    let debian = cache().join("pypy/usr");
    let library = fs::read_dir(debian.join("lib/x86_64-linux-gnu")).unwrap().next().unwrap().unwrap().path();
    let library = library.file_name().unwrap().to_str().unwrap().to_owned();
    let minor = library.strip_prefix("libpypy").unwrap().strip_suffix("-c.so").unwrap();
    let (lib, bundled) = (format!("lib/pypy{minor}"), format!("lib/pypy{minor}/ensurepip/_bundled"));
    let tree = Tree::new().with(&debian.join(&lib), &lib).with(&cache().join("wheels"), &bundled);
    fs::create_dir_all(tree.path("bin")).unwrap();
    fs::create_dir_all(tree.path(&lib).join("site-packages")).unwrap();
    fs::write(tree.path(&lib).join("site-packages/README"), "").unwrap();
    fs::copy(debian.join("lib/x86_64-linux-gnu").join(&library), tree.path("bin").join(&library)).unwrap();
    pypy_program(&tree.path("bin").join(&library), &tree.path(&format!("bin/pypy{minor}")));
    // Debian's has its packages in folders of Debian's, and lets nobody else install any.
    let places = "import os, site\nsite.addsitedir(os.path.join(os.path.dirname(__file__), 'site-packages'))\n";
    fs::write(tree.path(&lib).join("sitecustomize.py"), places).unwrap();
    let tree = tree
        .without(&format!("{lib}/EXTERNALLY-MANAGED"))
        .link("bin/pypy3", &format!("pypy{minor}"))
        .link("bin/python3", &format!("pypy{minor}"));
    let archive = tree.tar(&format!("pypy{minor}-v7.3.11-linux64"), "bzip2 -1");
    let name = format!("pypy{minor}-v7.3.11-linux64.tar.bz2");
    let index = json!([{"pypy_version": "7.3.11", "python_version": format!("{minor}.16"), "stable": true,
        "latest_pypy": true, "date": "2022-12-29", "files": [
            {"filename": "pypy-src.zip", "arch": "aarch64", "platform": "linux", "download_url": "none"},
            {"filename": name, "arch": "x64", "platform": "linux",
                "download_url": format!("https://downloads.python.org/pypy/{name}")}]}]);
    world.upstream.file("/releases?per_page=10&page=1", "[]");
    world.upstream.file("/releases/pypy/versions.json", serde_json::to_vec(&index).unwrap());
    let sums = format!("checksums\n=========\n\n::\n\n    {}  {name}\n", sha256(&archive));
    world.upstream.file("/releases/pypy/checksums.rst", sums);
    world.upstream.file(&format!("/releases/pypy/{name}"), archive);
    let version = format!("pypy{minor}-7.3.11");
    let text = world.done(&["use", "python", &version]);
    assert_eq!(text, format!("python {version} is installed, and is the current version\n"));
    let (root, current) = (world.versions().join("python").join(&version), world.versions().join("python/current"));
    let who = "import json, platform, sys; print(platform.python_implementation(), sys.version_info[:2], sys.prefix)";
    // Unlike CPython it does not look where a link on the way to it leads.
    let told = format!("PyPy ({}) {}", minor.replace('.', ", "), current.display());
    for name in ["pypy3", "python", "python3", &format!("pypy{minor}"), &format!("python{minor}")] {
        assert_eq!(world.shell(&format!("command -v {name}")), current.join("bin").join(name).display().to_string());
        assert_eq!(world.shell(&format!("{name} -c '{who}'")), told, "{name}");
    }
    for name in ["pip", "pip3"] {
        let text = world.shell(&format!("{name} --version"));
        assert!(text.starts_with("pip 25.3 from ") && text.contains(&version), "{text}");
    }
    assert_eq!(world.shell("python -m venv --without-pip v; v/bin/python -c 'print(6 * 7)'"), "42");
    let moved = world.path("moved to");
    fs::rename(&root, &moved).unwrap();
    assert!(world.run(&moved.join("bin/pip"), &["--version"]).contains("moved to"));
}

/// Makes a program of this source, linked with musl.
fn musl_program(source: &str, into: &Path, options: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("main.c"), source).unwrap();
    let mut command = Command::new(cache().join("musl/bin/musl-gcc"));
    let output = command.args(options).arg("-o").arg(into).arg(folder.path().join("main.c")).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// What is published for both C libraries: each program tells with which it was linked.
fn publish_both(world: &World) {
    let tells = "#include <stdio.h>\nint main(void) { puts(\"linked with LIBC\"); return 0; }\n";
    let mut listing = String::new();
    let mut archives = Vec::new();
    for (libc, suffix) in [("glibc", ""), ("musl", "-musl")] {
        let tree = Tree::new().program("bin/node", "");
        let (source, into) = (tells.replace("LIBC", libc), tree.path("bin/node"));
        if libc == "musl" {
            musl_program(&source, &into, &[]);
        } else {
            let file = tempfile::Builder::new().suffix(".c").tempfile().unwrap();
            fs::write(file.path(), source).unwrap();
            assert!(Command::new("cc").arg("-o").arg(&into).arg(file.path()).status().unwrap().success());
        }
        let name = format!("node-v20.9.0-linux-x64{suffix}.tar.xz");
        let archive = tree.tar(&format!("node-v20.9.0-linux-x64{suffix}"), "xz");
        listing.push_str(&format!("{}  {name}\n", sha256(&archive)));
        archives.push((name, archive));
    }
    let entry =
        |version: &str, files: &[&str]| json!({"version": version, "date": "2026-09-01", "files": files, "lts": false});
    let index = json!([
        entry("v22.1.0", &["linux-x64-musl"]),
        entry("v21.1.0", &["linux-x64"]),
        entry("v20.9.0", &["linux-x64", "linux-x64-musl"]),
    ]);
    world.upstream.file("/dist/index.json", serde_json::to_vec(&index).unwrap());
    world.upstream.file("/dist/v20.9.0/SHASUMS256.txt.asc", world.key.cleartext(&listing));
    for (name, archive) in archives {
        world.upstream.file(&format!("/dist/v20.9.0/{name}"), archive);
    }
}

fn archives(world: &World) -> Vec<String> {
    let paths = world.upstream.requests().into_iter().map(|(path, _)| path);
    paths.filter(|path| path.ends_with(".tar.xz")).collect()
}

#[test]
fn a_host_with_glibc_takes_no_build_for_musl() {
    let world = World::new("node", "/dist");
    publish_both(&world);
    assert_eq!(world.done(&["-q", "list", "node", "--available"]), "21.1.0\n20.9.0\n");
    world.done(&["use", "node", "20"]);
    assert_eq!(archives(&world), ["/dist/v20.9.0/node-v20.9.0-linux-x64.tar.xz"]);
    assert_eq!(world.shell("node"), "linked with glibc");
    let text = world.refused(&["use", "node", "22"], 1);
    assert!(text.contains("there is no node 22"), "{text}");
    assert_eq!(archives(&world), [""; 0]);
}

#[test]
fn a_host_with_musl_takes_builds_for_musl_only_and_they_run() {
    if !rustix::process::geteuid().is_root() {
        println!(
            "SKIP a_host_with_musl_takes_builds_for_musl_only_and_they_run: only root can lay one over this machine"
        );
        return;
    }
    let world = World::new("node", "/dist");
    publish_both(&world);
    // The loader of glibc has not its usual place there, so that what is linked with it is started by this one's word.
    let loader = fs::canonicalize("/lib64/ld-linux-x86-64.so.2").unwrap();
    let start = |program: &str, into: &str| {
        let source = format!(
            "#include <unistd.h>\nint main(int count, char **words) {{\n    char *all[64] = {{\"{0}\", \"{program}\"}};\n    \
             for (int at = 1; at < count && at < 60; at++) all[at + 1] = words[at];\n    \
             execv(\"{0}\", all);\n    return 99;\n}}\n",
            loader.display()
        );
        musl_program(&source, &world.path(into), &["-static"]);
    };
    start(OMGD, "omgd");
    start(OMG, "omg");
    fs::create_dir(world.path("over")).unwrap();
    let musl = cache().join("musl/lib/x86_64-linux-musl/libc.so");
    // Only this namespace sees it: a loader of musl's among the libraries, and none of glibc's.
    let script = format!(
        "set -e\ncd '{0}'\nmount -t tmpfs tmpfs over\nmkdir over/up over/work\n\
         mount -t overlay -o lowerdir=/usr/lib,upperdir=\"$PWD/over/up\",workdir=\"$PWD/over/work\" overlay /usr/lib\n\
         cp '{1}' /usr/lib/ld-musl-x86_64.so.1\nmount -t tmpfs tmpfs /usr/lib64\nset +e\n\
         ./omg -q list node --available; ./omg use node 20; echo \"code $?\"\n\
         data/omg/versions/node/current/bin/node\n./omg use node 21; echo \"code $?\"\n",
        world.path("").display(),
        musl.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).env_clear();
    let of_omg = world.command(&[]);
    command.envs(of_omg.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("OMG_DAEMON", world.path("omgd")).stdin(Stdio::null());
    let output = command.output().unwrap();
    println!("{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let expected =
        "22.1.0\n20.9.0\nnode 20.9.0 is installed, and is the current version\ncode 0\nlinked with musl\ncode 1\n";
    assert_eq!(text, expected, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(archives(&world), ["/dist/v20.9.0/node-v20.9.0-linux-x64-musl.tar.xz"]);
}
