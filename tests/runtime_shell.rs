//! The versions of folders in real shells on terminals: entered, left, and with everything hostile that a repository
//! can have. The versions are folders with a script each.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/random.rs"]
mod random;
#[path = "support/terminal.rs"]
#[allow(dead_code, reason = "shared by test targets that each use a part")]
mod terminal;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use omg::cli::runtimes::shell::Shell;
use random::Random;
use serde_json::{Value, json};
use terminal::Terminal;

const OMG: &str = env!("CARGO_BIN_EXE_omg");

const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/opt/it's $(touch pwned)";

/// A user's folders.
struct World {
    root: tempfile::TempDir,
    data: PathBuf,
}

impl World {
    fn new() -> Self {
        Self::of("home", "data")
    }

    fn of(home: &str, data: &str) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let world = Self { data: root.path().join(data).join("omg"), root };
        for folder in [home, "run", "out", "plain", "project/sub", "java"] {
            fs::create_dir_all(world.at(folder)).expect("made");
        }
        fs::set_permissions(world.at("run"), fs::Permissions::from_mode(0o700)).expect("set");
        for (runtime, version) in
            [("node", "18.1.0"), ("node", "20.2.0"), ("node", "22.3.0"), ("java", "21.0.1"), ("python", "3.12.1")]
        {
            world.install(runtime, version);
        }
        fs::write(world.at("project/.nvmrc"), "20\n").expect("written");
        fs::write(world.at("java/.java-version"), "21\n").expect("written");
        world
    }

    fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(name)
    }

    fn install(&self, runtime: &str, version: &str) {
        let folder = self.data.join("versions").join(runtime).join(version).join("bin");
        fs::create_dir_all(&folder).expect("made");
        let program = folder.join(runtime);
        fs::write(&program, format!("#!/bin/sh\necho {runtime} {version} \"$@\"\n")).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
    }

    fn default(&self, runtime: &str, version: &str) {
        let link = self.data.join("versions").join(runtime).join("current");
        let _ = fs::remove_file(&link);
        symlink(version, link).expect("linked");
    }

    fn bin(&self, runtime: &str, version: &str) -> PathBuf {
        self.data.join("versions").join(runtime).join(version).join("bin")
    }

    /// The program with nothing of the test's own environment.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.root.path());
        for (name, value) in [
            ("HOME", self.at("home")),
            ("XDG_DATA_HOME", self.data.parent().expect("a parent").to_owned()),
            ("XDG_RUNTIME_DIR", self.at("run")),
            ("OUT", self.at("out")),
            ("OMG", OMG.into()),
        ] {
            command.env(name, value);
        }
        command.env("PATH", PATH).env("LC_ALL", "C.UTF-8");
        command
    }

    fn omg(&self, folder: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(OMG);
        command.current_dir(self.at(folder)).args(arguments);
        command
    }

    /// A shell on a terminal of its own, with its hook.
    fn shell(&self, shell: &'static str, with: impl FnOnce(&mut Command)) -> Session {
        let mut command = self.command("setsid");
        let options: &[&str] = match shell {
            "bash" => &["--norc", "--noprofile", "-i"],
            "zsh" => &["-f", "-i"],
            _ => &["--no-config", "-i"],
        };
        command.args(["--ctty", shell]).args(options);
        with(&mut command);
        let mut session =
            Session { shell, out: self.at("out"), terminal: Terminal::start_dumb(command, 200), count: 0 };
        session.run(match shell {
            "fish" => "function fish_prompt; echo 'p> '; end; \"$OMG\" hook fish | source",
            "zsh" => "PS1='p> ' HISTFILE=; eval \"$(\"$OMG\" hook zsh)\"",
            _ => "PS1='p> '; unset HISTFILE; eval \"$(\"$OMG\" hook bash)\"",
        });
        session
    }

    /// Fails when a file has the name that every hostile text here would make.
    fn assert_nothing_ran(&self) {
        fn walk(folder: &Path) {
            for entry in fs::read_dir(folder).expect("read").flatten() {
                assert!(!entry.file_name().as_bytes().starts_with(b"pwned"), "{:?} was made", entry.path());
                if entry.file_type().expect("known").is_dir() {
                    walk(&entry.path());
                }
            }
        }
        walk(self.root.path());
    }
}

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

struct Session {
    shell: &'static str,
    out: PathBuf,
    terminal: Terminal,
    count: usize,
}

impl Session {
    /// Enters a line, and waits until it and the prompts around it are done.
    fn run(&mut self, line: &str) {
        self.count += 1;
        self.terminal.enter(line);
        // What is typed shows quotes, what is printed does not.
        self.terminal.enter(&format!("echo 'mark'-{}.", self.count));
        self.terminal.wait_for(&format!("mark-{}.", self.count));
    }

    /// What the line prints.
    fn printed(&mut self, line: &str) -> OsString {
        self.run(&format!("{line} > $OUT/{} 2>&1", self.count));
        let printed = fs::read(self.out.join((self.count - 1).to_string())).expect("printed");
        OsString::from_vec(printed)
    }

    fn path(&mut self) -> OsString {
        self.printed("printf %s \"$PATH\"")
    }

    fn variable(&mut self, name: &str) -> OsString {
        self.printed(&format!("printenv {name}"))
    }

    fn set(&mut self, name: &str, value: &str) {
        match self.shell {
            "fish" => self.run(&format!("set -gx {name} '{value}'")),
            _ => self.run(&format!("export {name}='{value}'")),
        }
    }

    fn end(mut self) -> String {
        self.terminal.enter("exit 0");
        self.terminal.end().1
    }
}

fn after(folder: &Path) -> OsString {
    let mut path = folder.as_os_str().to_owned();
    path.push(":");
    path.push(PATH);
    path
}

#[test]
fn a_project_has_its_version_and_leaving_restores_path_exactly() {
    for shell in SHELLS {
        let world = World::new();
        let mut session = world.shell(shell, |_| {});
        let before = session.path();
        assert_eq!(before, PATH, "{shell}");
        session.run("cd project");
        assert_eq!(session.path(), after(&world.bin("node", "20.2.0")), "{shell}");
        assert_eq!(session.printed("node x"), "node 20.2.0 x\n", "{shell}");
        session.run("cd sub");
        assert_eq!(session.path(), after(&world.bin("node", "20.2.0")), "{shell}");
        session.run("cd ../../plain");
        assert_eq!(session.path(), before, "{shell}");
        session.end();
    }
}

#[test]
fn the_default_is_a_link_that_another_default_changes_at_once() {
    for shell in SHELLS {
        let world = World::new();
        world.default("node", "18.1.0");
        let mut session = world.shell(shell, |_| {});
        assert_eq!(session.path(), after(&world.bin("node", "current")), "{shell}");
        assert_eq!(session.printed("node"), "node 18.1.0\n", "{shell}");
        world.default("node", "22.3.0");
        assert_eq!(session.printed("node"), "node 22.3.0\n", "{shell}");
        session.run("cd project");
        assert_eq!(session.path(), after(&world.bin("node", "20.2.0")), "{shell}");
        session.run("cd ..");
        assert_eq!(session.path(), after(&world.bin("node", "current")), "{shell}");
        session.end();
    }
}

#[test]
fn path_does_not_grow_over_many_changes_of_folders_and_nested_shells() {
    for shell in SHELLS {
        let world = World::new();
        world.default("node", "18.1.0");
        let mut session = world.shell(shell, |_| {});
        for _ in 0..25 {
            session.run("cd project");
            session.run("cd ..");
        }
        assert_eq!(session.path(), after(&world.bin("node", "current")), "{shell}");
        session.run("cd project");
        // Another shell starts with what this one has, and its own hook.
        let nested = session.printed("bash -c 'eval \"$($OMG hook bash)\"; cd ..; __omg_hook; printf %s \"$PATH\"'");
        assert_eq!(nested, after(&world.bin("node", "current")), "{shell}");
        session.end();
    }
}

#[test]
fn java_home_is_set_inside_and_the_users_own_outside() {
    for shell in SHELLS {
        let world = World::new();
        let own = "/usr/lib/it's $(touch pwned) java";
        let mut session = world.shell(shell, |command| {
            command.env("JAVA_HOME", own);
        });
        session.run("cd java");
        let root = world.bin("java", "21.0.1").parent().expect("a parent").to_owned();
        assert_eq!(session.variable("JAVA_HOME").as_bytes().trim_ascii_end(), root.as_os_str().as_bytes(), "{shell}");
        session.run("cd ../project");
        assert_eq!(session.variable("JAVA_HOME"), format!("{own}\n").as_str(), "{shell}");
        assert_eq!(session.variable("OMG_OLD_JAVA_HOME"), "", "{shell}");
        session.end();
        world.assert_nothing_ran();
    }
}

#[test]
fn the_exit_code_is_still_there_behind_the_prompt() {
    for shell in SHELLS {
        let world = World::new();
        let mut session = world.shell(shell, |_| {});
        let code = if shell == "fish" { "$status" } else { "$?" };
        session.terminal.enter("sh -c 'exit 7'");
        assert_eq!(session.printed(&format!("echo {code}")), "7\n", "{shell}");
        // Also where the prompt has to change something.
        session.terminal.enter("cd project; sh -c 'exit 9'");
        assert_eq!(session.printed(&format!("echo {code}")), "9\n", "{shell}");
        session.end();
    }
}

#[test]
fn bash_keeps_the_prompt_commands_that_were_there() {
    for (set, form) in
        [("PROMPT_COMMAND='echo $? >> $OUT/mine'", "--"), ("PROMPT_COMMAND=('echo $? >> $OUT/mine')", "-a")]
    {
        let world = World::new();
        let mut session = world.shell("bash", |_| {});
        session.run("unset PROMPT_COMMAND");
        session.run(set);
        for _ in 0..2 {
            session.run("eval \"$($OMG hook bash)\"");
        }
        session.terminal.enter("(exit 5)");
        session.run("cd project");
        assert_eq!(session.path(), after(&world.bin("node", "20.2.0")), "{form}");
        let declared = session.printed("declare -p PROMPT_COMMAND").into_string().expect("text");
        assert!(declared.starts_with(&format!("declare {form}")), "{declared}");
        assert_eq!(declared.matches("__omg_hook").count(), 1, "{declared}");
        assert!(fs::read_to_string(world.at("out/mine")).expect("written").contains("5\n"));
        session.end();
    }
}

#[test]
fn zsh_and_fish_change_without_a_prompt_between() {
    for shell in ["zsh", "fish"] {
        let world = World::new();
        let mut session = world.shell(shell, |_| {});
        assert_eq!(session.printed("cd project; node"), "node 20.2.0\n", "{shell}");
        assert_eq!(session.printed("cd ..; printf %s \"$PATH\""), PATH, "{shell}");
        session.end();
    }
}

#[test]
fn a_version_file_that_changes_and_a_new_one_are_noticed_at_the_next_prompt() {
    for shell in SHELLS {
        let world = World::new();
        let mut session = world.shell(shell, |_| {});
        session.run("cd project/sub");
        session.run("echo 22 > ../.nvmrc");
        assert_eq!(session.printed("node"), "node 22.3.0\n", "{shell}");
        session.run("echo 18 > .nvmrc");
        assert_eq!(session.printed("node"), "node 18.1.0\n", "{shell}");
        session.run("rm .nvmrc ../.nvmrc");
        assert_eq!(session.path(), PATH, "{shell}");
        session.end();
    }
}

#[test]
fn a_shell_that_has_ended_leaves_its_stamp_to_the_next_one() {
    let world = World::new();
    for shell in SHELLS {
        world.shell(shell, |_| {}).end();
        let stamps = fs::read_dir(world.at("run/omg-shells")).expect("there").count();
        assert_eq!(stamps, 1, "{shell}");
    }
}

#[test]
fn a_manual_choice_goes_before_the_files_in_this_shell() {
    for shell in SHELLS {
        let world = World::new();
        world.default("node", "18.1.0");
        let mut session = world.shell(shell, |_| {});
        session.run("cd project");
        session.set("OMG_USE", "node=22;python=3.12");
        // After any of omg's commands the hook looks again.
        session.run("omg --version");
        assert_eq!(session.printed("node"), "node 22.3.0\n", "{shell}");
        assert_eq!(session.printed("python"), "python 3.12.1\n", "{shell}");
        session.run("cd ..");
        assert_eq!(session.printed("node"), "node 22.3.0\n", "{shell}");
        session.set("OMG_USE", "node=system");
        session.run("omg --version");
        assert_eq!(session.path(), PATH, "{shell}");
        session.end();
    }
}

#[test]
fn what_is_missing_is_told_once_for_each_change_of_folders() {
    for shell in SHELLS {
        let world = World::new();
        fs::write(world.at("plain/.nvmrc"), "99\n").expect("written");
        let mut session = world.shell(shell, |_| {});
        session.run("cd plain");
        session.run("touch something");
        session.run("true");
        session.run("cd ..");
        session.run("cd plain");
        let text = session.end();
        let told = "omg: node 99 (.nvmrc) is not installed: omg install";
        assert_eq!(text.matches(told).count(), 2, "{shell}: {text}");
    }
}

/// Names of folders, and contents of files.
const HOSTILE: [&[u8]; 14] = [
    b"$(touch pwned)",
    b"`touch pwned`",
    b"'; touch pwned; '",
    b"\"; touch pwned; \"",
    b"\\'; touch pwned; #",
    b"a\ntouch pwned\nb",
    b"\ntouch pwned\n",
    b"x;touch pwned",
    b"|touch pwned&",
    b"a[$(touch pwned)]",
    b"(touch pwned)",
    b"-e $(touch pwned)",
    b"\x1b[31mEVIL\x07\xff\xfe$(touch pwned)",
    b"%n%(touch pwned)%{!touch",
];

#[test]
fn nothing_of_a_hostile_repository_runs() {
    for shell in SHELLS {
        let world = World::of("home", "da'ta $(touch pwned) `touch pwned`");
        let root = world.root.path().to_owned();
        let mut session = world.shell(shell, |command| {
            for (number, hostile) in HOSTILE.iter().enumerate() {
                let folder = root.join("plain").join(OsStr::from_bytes(hostile));
                fs::create_dir(&folder).expect("made");
                fs::write(folder.join(".nvmrc"), "20\n").expect("written");
                fs::write(folder.join(".python-version"), hostile).expect("written");
                command.env(format!("D{number}"), folder);
            }
        });
        for number in 0..HOSTILE.len() {
            session.run(&format!("cd \"$D{number}\""));
            assert_eq!(session.path(), after(&world.bin("node", "20.2.0")), "{shell}, {number}");
            assert_eq!(session.printed("node"), "node 20.2.0\n", "{shell}, {number}");
            session.run("touch changed");
            session.run("omg env --json");
        }
        session.run("cd \"$OUT\"");
        assert_eq!(session.path(), PATH, "{shell}");
        let text = session.end();
        assert!(!text.contains("\u{1b}[31mEVIL"), "{shell}: {text:?}");
        world.assert_nothing_ran();
    }
}

#[test]
fn nothing_of_a_hostile_environment_runs() {
    let names = ["PROGRAM", "FOLDER", "STAMP", "WATCHED", "TOLD", "STALE"];
    for shell in SHELLS {
        for hostile in ["$(touch pwned)", "a[$(touch pwned)]", "'; touch pwned; '", "touch pwned", "`touch pwned`"] {
            let world = World::new();
            let mut session = world.shell(shell, |command| {
                for name in names {
                    command
                        .env(format!("__OMG_{name}"), hostile)
                        .env(format!("__omg_{}", name.to_lowercase()), hostile);
                }
                for name in ["OMG_USE", "OMG_OLD_JAVA_HOME", "OMG_HOOK_SHELL", "VIRTUAL_ENV", "OMG_SHELL_PATHS"] {
                    command.env(name, hostile);
                }
            });
            session.run("cd java");
            let java = session.path();
            assert!(
                java.as_bytes().starts_with(world.bin("java", "21.0.1").as_os_str().as_bytes()),
                "{shell}: {java:?}"
            );
            session.run("cd ../project");
            assert_eq!(session.path(), after(&world.bin("node", "20.2.0")), "{shell}");
            session.run("omg --version");
            session.run("cd ../plain");
            assert_eq!(session.path(), PATH, "{shell}");
            session.end();
            world.assert_nothing_ran();
        }
    }
}

#[test]
fn use_for_this_shell_acts_at_once_and_on_this_shell_only() {
    for shell in SHELLS {
        let world = World::new();
        world.default("node", "18.1.0");
        let mut session = world.shell(shell, |_| {});
        session.run("cd project");
        session.run("omg use --shell node 22");
        assert_eq!(session.printed("node"), "node 22.3.0\n", "{shell}");
        assert_eq!(session.variable("OMG_USE"), "node=22.3.0\n", "{shell}");
        session.run("cd ..");
        assert_eq!(session.path(), after(&world.bin("node", "22.3.0")), "{shell}");
        // As one who has no hook does it.
        match shell {
            "fish" => session.run("omg use --shell node 20 | source"),
            _ => session.run("eval \"$(omg use --shell node 20)\""),
        }
        assert_eq!(session.printed("node"), "node 20.2.0\n", "{shell}");
        // None of ours.
        session.run("omg use --shell node system");
        assert_eq!(session.variable("OMG_USE"), "node=system\n", "{shell}");
        assert!(!session.path().to_string_lossy().contains("versions/node"), "{shell}: {:?}", session.path());
        session.end();
        assert_eq!(fs::read_link(world.data.join("versions/node/current")).unwrap(), Path::new("18.1.0"));
    }
}

#[test]
fn a_help_text_is_printed_and_not_evaluated_by_the_function() {
    for shell in SHELLS {
        let world = World::new();
        let mut session = world.shell(shell, |_| {});
        let printed = session.printed("omg use --shell --help").into_string().expect("text");
        assert!(printed.contains("Usage") || printed.contains("unrecognized"), "{shell}: {printed}");
        assert!(!printed.contains("command not found"), "{shell}: {printed}");
        session.end();
    }
}

/// Bytes without NUL, which no shell can have: many that have a meaning, some of UTF-8, some of neither.
fn random_value(random: &mut Random) -> Vec<u8> {
    let special = b"'\"\\$`!#&*()[]{}<>|;~?\n\r\t \x1b\x7f=%^,:-";
    let mut value = Vec::new();
    for _ in 0..random.below(40) {
        match random.below(4) {
            0 => value.push(1 + random.below(255) as u8),
            1 => value.extend(
                "é東🦀\u{202e}\u{2019}\u{f600}\u{fdd0}"
                    .chars()
                    .nth(random.below(7))
                    .map(|c| c.to_string())
                    .unwrap()
                    .bytes(),
            ),
            _ => value.push(*random.pick(special)),
        }
    }
    value
}

#[test]
fn every_value_comes_out_of_its_quotes_in_each_real_shell() {
    let mut random = Random::of_test("every_value_comes_out_of_its_quotes_in_each_real_shell");
    let world = World::new();
    let mut values: Vec<_> = HOSTILE.iter().map(|hostile| hostile.to_vec()).collect();
    values.extend((1..=255).map(|byte| vec![byte]));
    values.extend((0..1500).map(|_| random_value(&mut random)));
    values.push(vec![]);
    let expected: Vec<u8> = values.iter().flat_map(|value| [value.as_slice(), b"\0"].concat()).collect();
    for (program, shell) in [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish), ("sh", Shell::Bash)] {
        let mut script = Vec::new();
        for value in &values {
            let quoted = shell.quote(value).expect("quoted");
            script.extend([b"printf '%s\\0' ", quoted.as_slice(), b"\n"].concat());
        }
        let file = world.at("script");
        fs::write(&file, &script).expect("written");
        for locale in ["C", "C.UTF-8"] {
            let output = world.command(program).env("LC_ALL", locale).arg(&file).output().expect("it runs");
            assert!(output.status.success(), "{program}: {output:?}");
            let (ours, theirs) = (expected.split(|byte| *byte == 0), output.stdout.split(|byte| *byte == 0));
            for (value, printed) in ours.zip(theirs) {
                assert_eq!(OsStr::from_bytes(value), OsStr::from_bytes(printed), "{program} in {locale}");
            }
            assert_eq!(output.stdout.len(), expected.len(), "{program} in {locale}");
        }
    }
    world.assert_nothing_ran();
}

#[test]
fn zsh_options_of_the_user_do_not_change_what_is_said() {
    let options = "ksh_arrays sh_word_split rc_quotes nounset glob_subst extended_glob csh_junkie_quotes null_glob";
    let world = World::of("home", "it's da''ta");
    let mut session = world.shell("zsh", |_| {});
    session.run(&format!("setopt {options}"));
    session.run("eval \"$($OMG hook zsh)\"");
    session.run("cd project");
    assert_eq!(session.path(), after(&world.bin("node", "20.2.0")));
    session.run("cd ..");
    assert_eq!(session.path(), PATH);
    session.end();
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn env_speaks_the_users_shell_json_and_the_files_of_github() {
    let world = World::new();
    fs::write(world.at("java/.python-version"), "3.12\n").expect("written");
    let (java, python) = (world.bin("java", "21.0.1"), world.bin("python", "3.12.1"));
    let home = java.parent().expect("a parent").display().to_string();
    let output = world.omg("java", &["env"]).env("SHELL", "/bin/zsh").output().expect("it runs");
    let quoted = PATH.replace('\'', "'\\''");
    let path = format!("{}:{}:{quoted}", python.display(), java.display());
    assert_eq!(stdout(&output), format!("export PATH='{path}'\nexport JAVA_HOME='{home}'\n"));
    let output = world.omg("java", &["env", "--shell", "fish"]).output().expect("it runs");
    assert!(stdout(&output).starts_with(&format!("set -gx PATH '{}' '{}' ", python.display(), java.display())));
    let output = world.omg("java", &["env", "--json"]).output().expect("it runs");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["path"], json!([python, java]));
    assert_eq!(answer["variables"], json!({"JAVA_HOME": home}));
    assert_eq!(
        answer["runtimes"][1],
        json!({"runtime": "java", "version": "21.0.1", "root": home, "why": "file",
               "file": world.at("java/.java-version"), "line": 1})
    );
    assert_eq!(answer["missing"], json!([]));
    let (paths, variables) = (world.at("out/paths"), world.at("out/variables"));
    fs::write(&variables, "A=b\n").expect("written");
    let mut command = world.omg("java", &["env", "--github"]);
    let output = command.env("GITHUB_PATH", &paths).env("GITHUB_ENV", &variables).output().expect("it runs");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), ""));
    assert_eq!(fs::read_to_string(&paths).unwrap(), format!("{}\n{}\n", java.display(), python.display()));
    assert_eq!(fs::read_to_string(&variables).unwrap(), format!("A=b\nJAVA_HOME={home}\n"));
    let output = world.omg("java", &["env", "--github"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("GITHUB_PATH is not set"));
}

#[test]
fn env_tells_a_missing_version_by_its_exit_code() {
    let world = World::new();
    fs::write(world.at("plain/.nvmrc"), "99\n").expect("written");
    let output = world.omg("plain", &["env"]).output().expect("it runs");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    assert_eq!(stderr(&output), "omg: node 99 (.nvmrc) is not installed: omg install\n");
    let output = world.omg("plain", &["env", "--json"]).output().expect("it runs");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["missing"][0]["request"], "99");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_omg_was_started_without_is_nothing_that_its_command_could_mistake() {
    let world = World::new();
    let omg = world.omg("plain", &[]);
    // No file that is opened may have the number of standard input, output or error.
    let script = r#""$0" exec -- sh -c 'readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 >told' <&- >&- 2>&-"#;
    let run = |script: &str| {
        let mut shell = world.command("sh");
        shell.args(["-c", script]).arg(omg.get_program()).current_dir(world.at("plain"));
        shell.output().expect("it runs")
    };
    assert!(run(script).status.success());
    let told = fs::read_to_string(world.at("plain/told")).expect("told");
    assert_eq!(told.lines().next(), Some("/dev/null"));
    assert_eq!(told.lines().last(), Some("/dev/null"));
    // Nobody reads what it prints, which is no error; its command takes signals as any other does.
    let broken = run(r#"{ "$0" --help; echo "$?" >&2; } | true"#);
    assert_eq!(stderr(&broken), "0\n");
    let ended = run(r#"{ "$0" exec -- yes; echo "$?" >&2; } | true"#);
    assert_eq!(stderr(&ended), "141\n");
}

#[test]
fn exec_becomes_the_command_with_the_versions_in_front() {
    let world = World::new();
    world.default("python", "3.12.1");
    let run = |folder: &str, arguments: &[&str]| world.omg(folder, arguments).output().expect("it runs");
    assert_eq!(stdout(&run("project", &["exec", "--", "node", "a b", "--json"])), "node 20.2.0 a b --json\n");
    assert_eq!(stdout(&run("project", &["exec", "node@22", "--", "node"])), "node 22.3.0\n");
    assert_eq!(stdout(&run("project", &["exec", "node@18", "--", "python"])), "python 3.12.1\n");
    assert_eq!(stdout(&run("plain", &["exec", "node@18", "--", "printenv", "OMG_USE"])), "node=18\n");
    assert_eq!(run("project", &["exec", "--", "sh", "-c", "exit 42"]).status.code(), Some(42));
    let none = run("project", &["exec", "--", "no-such-command"]);
    assert_eq!(none.status.code(), Some(127));
    assert_eq!(stderr(&none), "omg: there is no command \"no-such-command\"\n");
    assert_eq!(run("project", &["exec", "--", "/etc/passwd"]).status.code(), Some(126));
    let missing = run("project", &["exec", "--no-install", "node@99", "--", "node"]);
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(stderr(&missing), "omg: node 99 is not installed: omg use node 99\n");
    let hostile = run("project", &["exec", "node@$(touch pwned)\u{1b}[31m", "--", "node"]);
    assert_eq!(hostile.status.code(), Some(2));
    assert!(!stderr(&hostile).contains('\u{1b}'));
}

#[test]
fn behind_what_cannot_be_read_nothing_is_pinned() {
    let world = World::new();
    let file = world.at("plain/.nvmrc");
    fs::write(&file, "$(x)\n").expect("written");
    let run = |arguments: &[&str]| world.omg("plain", arguments).output().expect("it runs");
    let refused = run(&["pin", "node", "20"]);
    let start = format!("omg: {}:1: \"$(x)\" is no version", file.display());
    let end = "; mend or remove the file, then pin again\n";
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).starts_with(&start) && stderr(&refused).ends_with(end), "{}", stderr(&refused));
    assert_eq!(fs::read_to_string(&file).expect("read"), "$(x)\n");
    let installed = run(&["install"]);
    assert_eq!(installed.status.code(), Some(2));
    assert!(stderr(&installed).ends_with("omg: what the files here ask for is nothing that can be installed\n"));
    // A file for several runtimes is added to.
    fs::write(world.at("plain/.tool-versions"), "node $(x)\n").expect("written");
    assert_eq!(run(&["pin", "deno", "2"]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(world.at("plain/.tool-versions")).expect("read"), "node $(x)\ndeno 2\n");
}

#[test]
fn a_file_that_cannot_be_read_stops_what_would_run_with_another_version() {
    let world = World::new();
    world.default("node", "22.3.0");
    let file = world.at("plain/.nvmrc");
    fs::write(&file, "$(x)\n").expect("written");
    fs::create_dir_all(world.at("plain/inner")).expect("made");
    let run = |folder: &str, arguments: &[&str]| world.omg(folder, arguments).output().expect("it runs");
    let wrong = format!("{}:1: \"$(x)\" is no version", file.display());
    for folder in ["plain", "plain/inner"] {
        let refused = run(folder, &["exec", "--", "node"]);
        assert_eq!((refused.status.code(), stdout(&refused).as_str()), (Some(2), ""));
        let text = stderr(&refused);
        assert!(text.starts_with(&format!("omg: {wrong}")), "{text}");
        assert!(
            text.ends_with("\n  nothing was run: mend it, or name versions, as omg exec node@20 -- COMMAND\n"),
            "{text}"
        );
    }
    assert_eq!(stdout(&run("plain", &["exec", "node@20", "--", "node"])), "node 20.2.0\n");
    // Named ones settle it, whatever runtime they are of.
    assert_eq!(stdout(&run("plain", &["exec", "python@3", "--", "node"])), "node 22.3.0\n");
    let told = run("plain", &["env", "--json"]);
    let answer: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!((told.status.code(), &answer["problems"][0]["line"]), (Some(2), &json!(1)));
    let (paths, variables) = (world.at("out/paths"), world.at("out/variables"));
    let mut github = world.omg("plain", &["env", "--github"]);
    let github = github.env("GITHUB_PATH", &paths).env("GITHUB_ENV", &variables).output().expect("it runs");
    assert_eq!(github.status.code(), Some(2), "{}", stderr(&github));
    world.omg("plain", &["shims"]).output().expect("it runs");
    let shim = |folder: &str, name: &str| {
        let shim = world.data.join("shims").join(name).display().to_string();
        world.command(&shim).current_dir(world.at(folder)).output().expect("it runs")
    };
    let refused = shim("plain", "node");
    assert_eq!(refused.status.code(), Some(127));
    assert!(stderr(&refused).starts_with(&format!("omg: {wrong}")), "{}", stderr(&refused));
    // What is about another runtime does not stop it.
    world.default("python", "3.12.1");
    assert_eq!(stdout(&shim("plain", "python")), "python 3.12.1\n");
    // A file further down says it, or another one of the same folder, or somebody by hand.
    fs::write(world.at("plain/inner/.node-version"), "18\n").expect("written");
    assert_eq!(stdout(&run("plain/inner", &["exec", "--", "node"])), "node 18.1.0\n");
    assert_eq!(run("plain/inner", &["env", "--json"]).status.code(), Some(0));
    fs::write(world.at("plain/package.json"), "{\"engines\": {\"node\": \"20\"}}").expect("written");
    assert_eq!(stdout(&run("plain", &["exec", "--", "node"])), "node 20.2.0\n");
    fs::remove_file(world.at("plain/package.json")).expect("removed");
    let by_hand = world.omg("plain", &["exec", "--", "node"]).env("OMG_USE", "node=22").output().expect("it runs");
    assert_eq!(stdout(&by_hand), "node 22.3.0\n");
    // A file of several runtimes that is broken may have been about any of them; one with a remark too much has not.
    fs::write(&file, "20\nmore\n").expect("written");
    assert_eq!(stdout(&run("plain", &["exec", "--", "node"])), "node 20.2.0\n");
    fs::write(world.at("plain/mise.toml"), "[tools\n").expect("written");
    // Here node is settled, and python is not.
    assert_eq!(stdout(&shim("plain", "node")), "node 20.2.0\n");
    assert_eq!(
        (run("plain", &["exec", "--", "node"]).status.code(), shim("plain", "python").status.code()),
        (Some(2), Some(127))
    );
    let by_hand =
        world.omg("plain", &["exec", "--", "node"]).env("OMG_USE", "python=system").output().expect("it runs");
    assert_eq!(stdout(&by_hand), "node 20.2.0\n");
    assert_eq!(run("plain", &["which", "node"]).status.code(), Some(0));
    assert_eq!(run("plain", &["current"]).status.code(), Some(2));
    assert_eq!(run("plain", &["current", "node"]).status.code(), Some(0));
    let used = run("plain", &["use", "python"]);
    assert_eq!(used.status.code(), Some(2));
    assert!(stderr(&used).contains("mise.toml:1: no TOML that can be read"), "{}", stderr(&used));
    // Nothing is removed that may be asked for there.
    let pruned = run("plain", &["prune", "--dry-run"]);
    assert_eq!(stdout(&pruned), "");
    assert!(stderr(&pruned).contains("no version of node is removed: "), "{}", stderr(&pruned));
    let which = run("plain", &["which", "python"]);
    assert_eq!((which.status.code(), stdout(&which).as_str()), (Some(2), ""));
    assert!(stderr(&which).contains("mise.toml:1: no TOML that can be read"), "{}", stderr(&which));
    fs::remove_file(world.at("plain/mise.toml")).expect("removed");
    // A manifest of Node.js and Bun says nothing about Python, and less than a file of Node.js's own.
    fs::write(world.at("plain/package.json"), "{\"engines\": {\n<<<<<<<").expect("written");
    assert_eq!(stdout(&run("plain", &["exec", "--", "node"])), "node 20.2.0\n");
    fs::remove_file(&file).expect("removed");
    assert_eq!(run("plain", &["exec", "--", "node"]).status.code(), Some(2));
    assert_eq!(stdout(&shim("plain", "python")), "python 3.12.1\n");
    fs::remove_file(world.at("plain/package.json")).expect("removed");
    // Tools whose names are none here are somebody else's.
    fs::write(world.at("plain/.tool-versions"), "nodejs 18\nR 4.3.1\nnpm:prettier 3.3.0\n").expect("written");
    assert_eq!(stdout(&run("plain", &["exec", "--", "node"])), "node 18.1.0\n");
}

#[test]
fn what_goes_before_the_current_version_is_told_when_it_is_set() {
    let world = World::new();
    let run = |folder: &str, manual: &str| {
        let output = world.omg(folder, &["use", "node@18"]).env("OMG_USE", manual).output().expect("it runs");
        assert_eq!(stdout(&output), "node 18.1.0 was installed already, and is the current version\n");
        stderr(&output)
    };
    assert_eq!(run("plain", ""), "");
    let file = world.at("project/.nvmrc").display().to_string();
    let told = format!("omg: but {file}:1 asks for node 20 here: omg pin node 18.1.0 changes that\n");
    assert_eq!(run("project/sub", ""), told);
    assert_eq!(run("project", "node=22"), "omg: but this shell has node 22, until `unset OMG_USE`\n");
    assert_eq!(run("project", "node=18.1.0"), "");
    let missing = world.omg("plain", &["current"]).env("OMG_USE", "node=99").output().expect("it runs");
    assert_eq!(
        (missing.status.code(), stderr(&missing).as_str()),
        (Some(1), "omg: node 99 is not installed: omg use node 99\n")
    );
    assert_eq!(stdout(&missing), "node\t-\t99 is chosen for this shell (OMG_USE)\n");
    let which = world.omg("plain", &["which", "node"]).env("OMG_USE", "node=99").output().expect("it runs");
    assert_eq!(stderr(&which), "omg: node 99 is not installed: omg use node 99\n");
    let exec = world.omg("plain", &["exec", "node", "20", "--", "true"]).output().expect("it runs");
    assert_eq!(exec.status.code(), Some(2));
    assert_eq!(stderr(&exec), "omg: \"20\" is a version: it goes behind its runtime, as in node@20\n");
}

#[test]
fn a_version_is_pinned_where_the_folder_has_its_others() {
    let world = World::new();
    let file = world.at("plain/.tool-versions");
    fs::write(&file, "python 3.12.1 # ours").expect("written");
    let run = |arguments: &[&str]| world.omg("plain", arguments).output().expect("it runs");
    let content = || fs::read_to_string(&file).expect("read");
    let pinned = run(&["pin", "node@20.2.0"]);
    assert_eq!(stdout(&pinned), format!("{}:2 asks for node 20.2.0\n", file.display()));
    assert_eq!(content(), "python 3.12.1 # ours\nnodejs 20.2.0\n");
    assert_eq!(stdout(&run(&["exec", "--", "node"])), "node 20.2.0\n");
    run(&["pin", "node", "22.3.0"]);
    assert_eq!(content(), "python 3.12.1 # ours\nnodejs 22.3.0\n");
    assert_eq!(run(&["pin", "node@20", "22"]).status.code(), Some(2));
    // A line for it that is not understood is not added to.
    fs::write(&file, "nodejs ref:main\n").expect("written");
    assert_eq!((run(&["pin", "node", "20"]).status.code(), content().as_str()), (Some(2), "nodejs ref:main\n"));
    // A range has blanks, which would make several versions of it there.
    fs::write(&file, "python 3.12.1\n").expect("written");
    assert_eq!(run(&["pin", "node", ">=18 <21"]).status.code(), Some(0));
    assert_eq!((content().as_str(), world.at("plain/.nvmrc").exists()), ("python 3.12.1\n", true));
    assert_eq!(stdout(&run(&["exec", "--", "node"])), "node 20.2.0\n");
    fs::remove_file(world.at("plain/.nvmrc")).expect("removed");
    fs::write(&file, "node 20\n").expect("written");
    assert_eq!((run(&["pin", "node", ">=18 <21"]).status.code(), content().as_str()), (Some(2), "node 20\n"));
    // A word that is a name and a version.
    fs::write(&file, "node latest\n").expect("written");
    assert_eq!((run(&["pin", "node", "18"]).status.code(), content().as_str()), (Some(0), "node 18\n"));
    run(&["pin", "node", "lts"]);
    assert_eq!(content(), "node lts\n");
    fs::remove_file(&file).expect("removed");
    let manifest = world.at("plain/package.json");
    fs::write(&manifest, "{\"engines\": {\"node\": \"*\"}}").expect("written");
    assert_eq!(run(&["pin", "node", "18"]).status.code(), Some(0));
    // What a manifest works with is no pin, and stays.
    assert_eq!(fs::read_to_string(&manifest).expect("read"), "{\"engines\": {\"node\": \"*\"}}");
    assert_eq!(fs::read_to_string(world.at("plain/.nvmrc")).expect("read"), "18\n");
    // An empty file is written.
    fs::write(world.at("plain/.nvmrc"), "\n").expect("written");
    assert_eq!(run(&["pin", "node", "20"]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(world.at("plain/.nvmrc")).expect("read"), "20\n");
    for file in [&manifest, &world.at("plain/.nvmrc")] {
        fs::remove_file(file).expect("removed");
    }
    // By the word that nvm knows.
    run(&["pin", "node", "lts"]);
    assert_eq!(fs::read_to_string(world.at("plain/.nvmrc")).expect("read"), "lts/*\n");
    let doubted = run(&["pin", "pyhton", "3.12"]);
    assert_eq!(
        stderr(&doubted),
        "omg: pyhton is none of the runtimes that omg installs itself; did you mean python?\n"
    );
    assert_eq!((doubted.status.code(), content().as_str()), (Some(0), "pyhton 3.12\n"));
}

#[test]
fn a_shim_becomes_the_version_of_its_working_directory() {
    let world = World::new();
    world.default("node", "18.1.0");
    fs::create_dir_all(world.data.join("shims")).expect("made");
    fs::write(world.data.join("shims/python"), "mine").expect("written");
    let output = world.omg("plain", &["shims", "--json"]).output().expect("it runs");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&answer["shims"], &answer["refused"]), (&json!(["java", "node"]), &json!(["python"])));
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(fs::read_to_string(world.data.join("shims/python")).unwrap(), "mine");
    let shim = world.data.join("shims/node").display().to_string();
    let path = format!("{}:{PATH}", world.data.join("shims").display());
    let run = |folder: &str, arguments: &[&str]| {
        world.command(&shim).current_dir(world.at(folder)).env("PATH", &path).args(arguments).output().expect("it runs")
    };
    assert_eq!(stdout(&run("plain", &["--help", "x"])), "node 18.1.0 --help x\n");
    assert_eq!(stdout(&run("project", &[])), "node 20.2.0\n");
    fs::write(world.at("plain/.nvmrc"), "99\n").expect("written");
    let missing = run("plain", &[]);
    assert_eq!(missing.status.code(), Some(127));
    assert_eq!(stderr(&missing), "omg: node 99 (.nvmrc) is not installed: omg install\n");
    // The system's, and never itself.
    fs::write(world.at("plain/.nvmrc"), "system\n").expect("written");
    let elsewhere = world.at("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    let system = format!("{}:{}", world.data.join("shims").display(), elsewhere.display());
    let none = world.command(&shim).current_dir(world.at("plain")).env("PATH", &system).output().expect("it runs");
    assert_eq!((none.status.code(), stdout(&none).as_str()), (Some(127), ""));
    fs::copy(world.bin("node", "22.3.0").join("node"), elsewhere.join("node")).expect("copied");
    let system = world.command(&shim).current_dir(world.at("plain")).env("PATH", &system).output().expect("it runs");
    assert_eq!(stdout(&system), "node 22.3.0\n");
}
