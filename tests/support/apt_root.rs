//! A throwaway root for apt: archives made of written `Packages` files, a dpkg status, apt's own configuration.

use std::fs;
use std::path::Path;
use std::process::Command;

use omg::index::Snapshot;

/// A folder with everything that apt reads. Removed when dropped.
pub struct AptRoot {
    folder: tempfile::TempDir,
}

/// One suite of an archive.
pub struct Suite<'a> {
    /// Last part of its folder, and its codename.
    pub codename: &'a str,
    /// `Suite` of the Release file.
    pub suite: &'a str,
    pub label: &'a str,
    /// More lines for the Release file.
    pub release: &'a str,
    /// Files under `main/`: `binary-amd64/Packages`, `i18n/Translation-en`…
    pub files: &'a [(&'a str, &'a str)],
}

impl AptRoot {
    /// A root of architecture amd64 with the foreign one i386, without archives and without packages.
    pub fn new() -> Self {
        let root = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for folder in ["preferences.d", "sources.list.d", "trusted.gpg.d"] {
            fs::create_dir_all(root.path().join("etc/apt").join(folder)).unwrap();
        }
        root.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        root.write("var/lib/dpkg/status", "");
        root.write(
            "etc/apt/apt.conf.d/00root",
            "APT::Architecture \"amd64\"; APT::Architectures { \"amd64\"; \"i386\"; };\n\
             APT::Sandbox::User \"\"; Debug::NoLocking \"true\"; Dir::Bin::ischroot \"/bin/false\";\n\
             Acquire::Languages { \"environment\"; \"en\"; };\n",
        );
        let path = root.path().display();
        let config = format!("Dir \"{path}\";\nDir::State::status \"{path}/var/lib/dpkg/status\";\n");
        root.write("apt.conf", &config);
        root
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file under the root, and the folders above it.
    pub fn write(&self, path: &str, text: &str) {
        self.write_bytes(path, text.as_bytes());
    }

    pub fn write_bytes(&self, path: &str, bytes: &[u8]) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Adds an archive of one suite with the component main.
    pub fn add_suite(&self, suite: &Suite<'_>) {
        let folder = format!("archive/dists/{}", suite.codename);
        let mut sums = String::new();
        for (file, text) in suite.files {
            let path = format!("{folder}/main/{file}");
            self.write(&path, text);
            let sum = run(Command::new("sha256sum").arg(self.path().join(&path)));
            let sum = sum.split(' ').next().unwrap();
            sums.push_str(&format!(" {sum} {} main/{file}\n", text.len()));
        }
        let release = format!(
            "Origin: Test\nLabel: {}\nSuite: {}\nCodename: {}\nDate: Sat, 01 Jan 2022 00:00:00 UTC\n\
             Architectures: amd64 i386\nComponents: main\n{}SHA256:\n{sums}",
            suite.label, suite.suite, suite.codename, suite.release
        );
        self.write(&format!("{folder}/Release"), &release);
        let source = format!("deb [trusted=yes] file:{}/archive {} main\n", self.path().display(), suite.codename);
        self.write(&format!("etc/apt/sources.list.d/{}.list", suite.codename), &source);
    }

    /// Fetches the lists of all archives.
    pub fn update(&self) {
        self.apt("apt-get", &["update", "-o", "Acquire::AllowInsecureRepositories=true"]);
    }

    /// Runs one of apt's programs on this root.
    pub fn apt(&self, program: &str, arguments: &[&str]) -> String {
        run(Command::new(program)
            .args(arguments)
            .env("APT_CONFIG", self.path().join("apt.conf"))
            .env("LC_ALL", "C.UTF-8"))
    }

    /// Runs the helper on this root and opens what it wrote.
    pub fn index(&self) -> Snapshot {
        self.index_with(&[], &[])
    }

    /// The same with more arguments and environment variables.
    pub fn index_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Snapshot {
        let output = self.path().join("packages.snapshot");
        let mut command = helper();
        command.args(["index", "--backend", "apt", "--root"]).arg(self.path()).arg("--output").arg(&output);
        run(command.args(arguments).envs(environment.iter().copied()));
        Snapshot::open(&output).unwrap()
    }
}

/// The helper, not yet told what to do.
pub fn helper() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omg-helper"));
    command.env("LC_ALL", "C.UTF-8").env_remove("APT_CONFIG").env_remove("LANGUAGE");
    command
}

/// Runs a program that must succeed; its standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
