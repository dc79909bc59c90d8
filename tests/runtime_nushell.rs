//! The hook of nushell in a real one on a terminal: entered, left, and with everything hostile that a repository can have.
//! What it does not say is not said to it: it reads JSON, and evaluates nothing.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/random.rs"]
mod random;
#[allow(dead_code, reason = "shared by test targets that each use a part")]
#[path = "support/real_runtimes.rs"]
mod real_runtimes;
#[path = "support/terminal.rs"]
#[allow(dead_code, reason = "shared by test targets that each use a part")]
mod terminal;
#[allow(dead_code, reason = "shared by test targets that each use a part")]
#[path = "support/upstreams.rs"]
mod upstreams;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use omg::cli::runtimes::shell::Shell;
use random::Random;
use real_runtimes::{OMG, cache};
use terminal::Terminal;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/opt/it's $(touch pwned)";

/// A user's folders, with versions that are a script each.
struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { root: tempfile::tempdir().unwrap() };
        for folder in ["home", "run", "out", "plain", "project/sub", "java"] {
            fs::create_dir_all(world.at(folder)).unwrap();
        }
        fs::set_permissions(world.at("run"), fs::Permissions::from_mode(0o700)).unwrap();
        for (runtime, version) in [("node", "20.2.0"), ("node", "22.3.0"), ("java", "21.0.1")] {
            let program = world.bin(runtime, version).join(runtime);
            fs::create_dir_all(program.parent().unwrap()).unwrap();
            fs::write(&program, format!("#!/bin/sh\necho {runtime} {version} \"$@\"\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(world.at("project/.nvmrc"), "20\n").unwrap();
        fs::write(world.at("java/.java-version"), "21\n").unwrap();
        world
    }

    fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(name)
    }

    fn bin(&self, runtime: &str, version: &str) -> PathBuf {
        self.at("da'ta $(touch pwned)/omg/versions").join(runtime).join(version).join("bin")
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.root.path());
        for (name, folder) in
            [("HOME", "home"), ("XDG_DATA_HOME", "da'ta $(touch pwned)"), ("XDG_RUNTIME_DIR", "run"), ("OUT", "out")]
        {
            command.env(name, self.at(folder));
        }
        command.env("PATH", PATH).env("LC_ALL", "C.UTF-8");
        command
    }

    /// Nushell on a terminal of its own, with its hook as a user has it: a file that is read at the start.
    fn session(&self, with: impl FnOnce(&mut Command)) -> Session {
        let hook = self.command(OMG).args(["hook", "nu"]).output().unwrap();
        assert!(hook.status.success());
        let config =
            "$env.config.show_banner = false\n$env.PROMPT_COMMAND = {|| 'p' }\n$env.PROMPT_COMMAND_RIGHT = {|| '' }\n";
        fs::write(self.at("config.nu"), [config.as_bytes(), &hook.stdout].concat()).unwrap();
        fs::write(self.at("env.nu"), "").unwrap();
        let mut command = self.command("setsid");
        command.arg("--ctty").arg(cache().join("nushell/bin/nu")).args(["--no-history", "--config"]);
        command.arg(self.at("config.nu")).arg("--env-config").arg(self.at("env.nu"));
        with(&mut command);
        let mut session = Session { out: self.at("out"), terminal: Terminal::start_dumb(command, 400), prompts: 0 };
        session.ready();
        session
    }

    fn assert_nothing_ran(&self) {
        let output = Command::new("find").arg(self.root.path()).args(["-name", "pwned*"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    }

    fn after(&self, runtime: &str, version: &str) -> String {
        format!("{}:{PATH}", self.bin(runtime, version).display())
    }
}

struct Session {
    out: PathBuf,
    terminal: Terminal,
    prompts: usize,
}

impl Session {
    /// Waits until the editor takes keys: what is typed before is lost. It says so by turning bracketed paste on, once for
    /// each prompt, when the hooks before it were run.
    fn ready(&mut self) {
        self.prompts += 1;
        let start = Instant::now();
        while self.terminal.seen().matches("\x1b[?2004h").count() < self.prompts {
            assert!(start.elapsed() < Duration::from_secs(60), "{}", self.terminal.seen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Enters a line, and waits until it is done.
    fn run(&mut self, line: &str) {
        self.terminal.type_line(line);
        self.ready();
    }

    /// What a pipeline gives.
    fn given(&mut self, pipeline: &str) -> String {
        self.run(&format!("{pipeline} | save -f $\"($env.OUT)/given\""));
        fs::read_to_string(self.out.join("given")).unwrap()
    }

    fn path(&mut self) -> String {
        self.given("$env.PATH | str join ':'")
    }

    fn variable(&mut self, name: &str) -> String {
        self.given(&format!("$env.{name}? | default 'none'"))
    }

    fn end(mut self) -> String {
        self.terminal.type_line("exit");
        self.terminal.end().1
    }
}

#[test]
fn a_project_has_its_version_and_leaving_restores_everything() {
    let world = World::new();
    for own in [None, Some("/usr/lib/it's $(touch pwned) java")] {
        let mut session = world.session(|command| {
            command.envs(own.map(|own| ("JAVA_HOME", own)));
        });
        assert_eq!(session.path(), PATH);
        session.run("cd project");
        assert_eq!(session.path(), world.after("node", "20.2.0"));
        assert_eq!(session.given("^node x"), "node 20.2.0 x\n");
        session.run("cd sub");
        assert_eq!(session.path(), world.after("node", "20.2.0"));
        session.run("cd ../../java");
        assert_eq!(session.path(), world.after("java", "21.0.1"));
        let home = world.bin("java", "21.0.1").parent().unwrap().display().to_string();
        assert_eq!(session.variable("JAVA_HOME"), home);
        assert_eq!(session.given("^printenv JAVA_HOME"), format!("{home}\n"));
        session.run("cd ../plain");
        assert_eq!(session.path(), PATH);
        assert_eq!(session.variable("JAVA_HOME"), own.unwrap_or("none"));
        assert_eq!(session.variable("OMG_OLD_JAVA_HOME"), "none");
        for _ in 0..3 {
            session.run("cd ../project");
            session.run("cd ../plain");
        }
        assert_eq!(session.path(), PATH);
        session.end();
    }
    world.assert_nothing_ran();
}

#[test]
fn a_shell_that_starts_in_a_project_has_its_version_and_a_manual_choice_goes_before() {
    let world = World::new();
    let mut session = world.session(|command| {
        command.current_dir(world.at("project"));
    });
    assert_eq!(session.path(), world.after("node", "20.2.0"));
    session.run("$env.OMG_USE = 'node=22'");
    session.run("cd sub");
    assert_eq!(session.given("^node"), "node 22.3.0\n");
    session.run("$env.OMG_USE = ''");
    session.run("cd ..");
    assert_eq!(session.given("^node"), "node 20.2.0\n");
    fs::write(world.at("plain/.nvmrc"), "99\n").unwrap();
    session.run("cd ../plain");
    assert_eq!(session.path(), PATH);
    let text = session.end();
    assert!(text.contains("omg: node 99 (.nvmrc) is not installed: omg install"), "{text}");
}

/// Names of folders, and contents of files.
const HOSTILE: [&str; 16] = [
    "$(touch pwned)",
    "(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    "\"; touch pwned; \"",
    "\\\"; touch pwned; #",
    "$\"(touch pwned)\"",
    "r#'x'#; touch pwned",
    "a\ntouch pwned\nb",
    "x;touch pwned",
    "|touch pwned",
    "{touch pwned}",
    "(^touch pwned)",
    "-e ^touch pwned",
    "\x1b[31mEVIL\x07 ^touch pwned",
    "{\"changes\": {\"set\": {\"X\": \"pwned\"}}}",
];

#[test]
fn nothing_of_a_hostile_repository_runs() {
    let world = World::new();
    let mut session = world.session(|command| {
        for (number, hostile) in HOSTILE.iter().enumerate() {
            let folder = world.at("plain").join(hostile);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(".nvmrc"), "20\n").unwrap();
            fs::write(folder.join(".python-version"), hostile).unwrap();
            command.env(format!("D{number}"), folder);
        }
        for name in ["OMG_OLD_JAVA_HOME", "VIRTUAL_ENV"] {
            command.env(name, HOSTILE[0]);
        }
    });
    for number in 0..HOSTILE.len() {
        session.run(&format!("cd $env.D{number}"));
        assert_eq!(session.path(), world.after("node", "20.2.0"), "{number}");
        assert_eq!(session.given("^node"), "node 20.2.0\n", "{number}");
    }
    // Nushell's own `cd` takes control characters out of names: what a file says is told in a folder that it goes into.
    fs::write(world.at("plain/.python-version"), "\u{1b}[31mEVIL\u{7}\n").unwrap();
    session.run("cd ($env.D0 | path dirname)");
    session.run("cd $env.OUT");
    assert_eq!(session.path(), PATH);
    let text = session.end();
    assert!(!text.contains("\u{1b}[31mEVIL"), "{text:?}");
    assert!(text.contains(r#""\u{1b}[31mEVIL\u{7}" is no version of python"#), "{text:?}");
    world.assert_nothing_ran();
}

#[test]
fn every_value_comes_out_of_its_quotes() {
    let mut random = Random::of_test("every_value_comes_out_of_its_quotes_in_nushell");
    let world = World::new();
    let mut values: Vec<String> = HOSTILE.iter().map(|hostile| (*hostile).to_owned()).collect();
    values.extend((1..0x250).filter_map(char::from_u32).map(String::from));
    let letters: Vec<char> =
        "'\"\\$`!#&*()[]{}<>|;~?\n\r\t \x1b\x7f=%^,:-\u{85}é東🦀\u{202e}\u{2019}\u{fdd0}a1".chars().collect();
    values.extend((0..400).map(|_| (0..random.below(30)).map(|_| *random.pick(&letters)).collect()));
    let mut script = String::new();
    for value in &values {
        let quoted = String::from_utf8(Shell::Nushell.quote(value.as_bytes()).unwrap()).unwrap();
        script.push_str(&format!("print --no-newline {quoted}\nprint --no-newline \"\\u{{0}}\"\n"));
        // As it stands in what sets a variable.
        let set = Shell::Nushell.change("X", Some(value.as_bytes())).unwrap();
        script.push_str(&String::from_utf8(set).unwrap());
        script.push_str("print --no-newline $env.X\nprint --no-newline \"\\u{0}\"\n");
    }
    fs::write(world.at("script.nu"), script).unwrap();
    let output = world.command(cache().join("nushell/bin/nu")).args(["-n", "script.nu"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: String = values.iter().flat_map(|value| [value.as_str(), "\0", value, "\0"]).collect();
    let printed = String::from_utf8(output.stdout).unwrap();
    for (expected, printed) in expected.split('\0').zip(printed.split('\0')) {
        assert_eq!(expected, printed);
    }
    assert_eq!(expected, printed);
    world.assert_nothing_ran();
}
