//! What the command line says about changes and other answers: errors as JSON, what may have been meant, how much is said.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, dead_code)]

#[path = "support/fake_manager.rs"]
mod fake_manager;
#[path = "support/scene.rs"]
mod scene;
#[path = "support/terminal.rs"]
mod terminal;

use fake_manager::{Canned, CannedPlan, FakeManager, HistoryRow, row};
use scene::{RIPGREP, Scene, applied, installs, item};
use serde_json::{Value, json};
use terminal::Terminal;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A scene whose daemon knows these packages.
fn with_rows(rows: Vec<fake_manager::Row>) -> Scene {
    let mut scene = Scene::new(installs("x"), "succeed");
    scene.canned = Canned { rows, ..scene.canned };
    scene.service = FakeManager::start(scene.canned.clone());
    scene
}

#[test]
fn what_fails_before_a_change_begins_is_one_json_object() {
    let scene = Scene::new(installs("a"), "");
    for (arguments, code, name, message) in [
        (&["install", "nonesuch", "-y"][..], 1, "NotFound", "no package is named nonesuch"),
        (&["install", "impossible", "-y"], 2, "ResolutionFailed", "impossible depends on nonesuch"),
        (&["install", "--", "-rf"], 2, "InvalidArgument", "is no package"),
        (&["undo", "7"], 1, "NotFound", "there is no transaction 7"),
        (&["search", "offline"], 4, "Offline", "no network"),
        (&["search", "nonesuch"], 1, "NotFound", "no package matches"),
        (&["info", "nonesuch"], 1, "NotFound", "no package is named nonesuch"),
        (&["audit", "verify", "/nonexistent"], 1, "NotFound", "there is no log in /nonexistent"),
    ] {
        let (found, text, error) = scene.told(&[arguments, &["--json"]].concat()[..]);
        // Options may stand behind `--` no more.
        if arguments.contains(&"--") {
            assert_eq!(found, code);
            continue;
        }
        let objects = lines(&text);
        assert_eq!((found, objects.len()), (code, 1), "{arguments:?}: {text}");
        let told = &objects[0]["error"];
        assert_eq!(told["name"], format!("org.omg.Error.{name}"), "{arguments:?}");
        assert!(told["message"].as_str().expect("text").contains(message), "{arguments:?}: {told}");
        assert!(error.starts_with("omg: "), "{error}");
    }
    let (code, text, _) = scene.told(&["--json", "install", "--", "-rf"]);
    assert_eq!((code, &lines(&text)[0]["error"]["name"]), (2, &json!("org.omg.Error.InvalidArgument")));
    // What is found is told all the same.
    let found = lines(&scene.told(&["info", "libc6", "nonesuch", "libcurl4", "--json"]).1);
    assert_eq!((&found[0]["name"], &found[2]["name"]), (&json!("libc6"), &json!("libcurl4")));
    assert_eq!(found[1]["error"]["name"], "org.omg.Error.NotFound");
}

#[test]
fn what_fails_without_rights_is_one_json_object_behind_the_plan_and_a_result_is_the_last() {
    let scene = Scene::new(installs("a"), "exit 1");
    let (code, text, _) = scene.told(&["install", "a", "-y", "--json"]);
    let objects = lines(&text);
    assert_eq!((code, objects.len()), (3, 2), "{text}");
    assert_eq!(objects[1]["error"]["name"], "org.omg.Error.Internal");
    let failed = json!({
        "event": "finished", "outcome": "failed", "failure": {"kind": "Locked", "message": "apt holds it"},
        "applied": {"items": [], "restart": {"machine": false, "packages": [], "services": []}, "entry": 9},
    });
    let scene = Scene::new(installs("a"), &format!("tell '{failed}'"));
    let objects = lines(&scene.told(&["install", "a", "-y", "--json"]).1);
    assert_eq!((objects.len(), &objects[1]["failure"]["kind"]), (2, &json!("Locked")), "the result tells it, once");
}

#[test]
fn a_mistyped_name_is_told_what_may_have_been_meant() {
    let scene = with_rows(vec![row("ripgrep", "13", "s"), row("grep", "3", "s"), row("vim", "9", "s")]);
    let (code, _, error) = scene.told(&["install", "rigrep", "-y"]);
    assert_eq!((code, error.as_str()), (1, "omg: Unable to locate package rigrep; did you mean ripgrep, rrep?\n"));
    for verb in ["remove", "reinstall", "hold"] {
        let (code, _, error) = scene.told(&[verb, "rigrep", "-y"]);
        let expected = "omg: Unable to locate package rigrep; did you mean ripgrep, grep?\n";
        assert_eq!((code, error.as_str()), (1, expected), "{verb}: of what is installed");
    }
    let (_, _, error) = with_rows(vec![row("vim", "9", "s")]).told(&["remove", "rigrep"]);
    assert_eq!(error, "omg: Unable to locate package rigrep\n");
}

#[test]
fn a_person_is_told_what_may_have_been_meant_where_no_daemon_made_the_plan() {
    let failed = json!({
        "event": "finished", "outcome": "failed",
        "failure": {"kind": "NotFound", "message": "Unable to locate package rigrep"},
        "applied": {"items": [], "restart": {"machine": false, "packages": [], "services": []}, "entry": 0},
    });
    let scene = Scene::new(CannedPlan::default(), &format!("tell '{failed}'"));
    for arguments in [&["download", "rigrep"][..], &["install", "rigrep", "-y"]] {
        let omg = || {
            let mut command = scene.omg(arguments);
            command.env_remove("OMG_SOCKET_PATH").env("XDG_RUNTIME_DIR", scene.service.folder()).env("NO_COLOR", "1");
            command
        };
        let (status, text) = Terminal::start(omg(), 80).end();
        assert_eq!(status.code(), Some(1), "{text}");
        let expected = "omg: Unable to locate package rigrep; did you mean ripgrep, rrep?\n";
        assert!(text.ends_with(expected), "{arguments:?}: {text}");
    }
    assert!(scene.read("arguments").expect("the helper ran").starts_with("download "));
    // What cannot be planned is the same object whoever plans it.
    let mut command = scene.omg(&["install", "rigrep", "-y", "--json"]);
    command.env_remove("OMG_SOCKET_PATH").env("XDG_RUNTIME_DIR", scene.service.folder());
    let objects = lines(&String::from_utf8(command.output().expect("omg runs").stdout).expect("UTF-8"));
    assert_eq!(objects[0]["error"]["name"], "org.omg.Error.NotFound", "{objects:?}");
}

#[test]
fn an_undo_is_promised_only_where_nothing_old_is_needed() {
    for (change, undo) in [
        ("install", "; `omg undo 7` takes it back\n"),
        ("upgrade", "; `omg undo 7` takes it back if the old versions can still be had\n"),
        ("remove", "; `omg undo 7` takes it back if the old versions can still be had\n"),
        ("reinstall", "history\n"),
    ] {
        let scene = Scene::new(installs("a"), &format!("succeed '{}'", applied(change, "a")));
        let (_, text, _) = scene.told(&["install", "a", "-y"]);
        assert!(text.ends_with(undo), "{change}: {text}");
    }
}

#[test]
fn quiet_changes_say_nothing_unless_something_goes_wrong() {
    let plan = |change| CannedPlan { items: vec![item(change, "vim", "9", "9")], ..CannedPlan::default() };
    let history: Vec<HistoryRow> = {
        let item = ("hold".into(), "vim".into(), "all".into(), "9".into(), "9".into(), String::new(), true);
        vec![(
            3,
            1,
            2,
            0,
            "root".into(),
            vec![("hold".into(), "vim".into())],
            "succeeded".into(),
            vec![item],
            "".into(),
        )]
    };
    for (change, arguments) in [
        ("hold", &["hold", "vim"][..]),
        ("unhold", &["unhold", "vim"]),
        ("mark-explicit", &["mark", "explicit", "vim"]),
        ("clean", &["clean"]),
        ("install", &["install", "vim", "-y"]),
        ("remove", &["remove", "vim", "-y"]),
        ("unhold", &["undo", "3"]),
        ("upgrade", &["refresh"]),
    ] {
        let done = format!("succeed '{}'", applied(change, "vim"));
        let scene = Scene::with_history(plan(change), history.clone(), &done);
        let told = scene.told(&[arguments, &["-q"]].concat()[..]);
        assert_eq!(told, (0, String::new(), String::new()), "{arguments:?}");
        let fails = "tell '{\"event\":\"item\",\"item\":\"vim\",\"state\":\"failed\",\"bytes_done\":0,\"bytes_total\":0}'\n\
                     tell '{\"event\":\"message\",\"level\":\"warning\",\"text\":\"slow\"}'\nsucceed\n";
        let scene = Scene::with_history(plan(change), history.clone(), fails);
        let told = scene.told(&[arguments, &["-q"]].concat()[..]);
        assert_eq!(told, (0, String::new(), "omg: failed: vim\nomg: slow\n".into()), "{arguments:?}");
    }
    // What was asked for is shown, and so is what somebody is to decide about.
    let scene = Scene::new(installs("vim"), "succeed");
    assert_eq!(scene.told(&["install", "vim", "-q", "--dry-run"]).1, "vim\n");
    let (code, text, error) = scene.told(&["install", "vim", "-q"]);
    assert_eq!((code, text.as_str()), (2, ""), "{error}");
    let mut terminal = scene.on_terminal(&["install", "vim", "-q"]);
    terminal.wait_for("vim\nGo on? [Y/n] ").enter("n");
    assert_eq!(terminal.end().0.code(), Some(130));
}

#[test]
fn versions_are_never_cut_and_long_ones_have_a_line_of_their_own() {
    let mut upgrade = item("upgrade", "libsystemd-shared", "252.36-1~deb12u1+really1", "252.36-1~deb12u1+really2");
    upgrade.5 = "bookworm-security/main".into();
    let scene = Scene::new(CannedPlan { items: vec![upgrade], ..CannedPlan::default() }, "");
    for (columns, shown) in [
        (80, "  libsystemd-shared  252.36-1~deb12u1+really1  → 252.36-1~deb12u1+really2\n"),
        (60, "  libsystemd-shared\n      252.36-1~deb12u1+really1  → 252.36-1~deb12u1+really2\n"),
    ] {
        let mut command = scene.omg(&["upgrade", "--dry-run"]);
        command.env("NO_COLOR", "1");
        let (_, text) = Terminal::start(command, columns).end();
        assert!(text.contains(shown), "{columns}: {text}");
    }
}

#[test]
fn a_phase_with_nothing_to_do_is_not_shown_and_nothing_is_told_twice() {
    let removal = CannedPlan { items: vec![item("remove", "vim", "9", "")], ..CannedPlan::default() };
    let done = format!("succeed '{}'", applied("remove", "vim"));
    let phases = "tell '{\"event\":\"phase\",\"phase\":\"fetching\",\"cancellable\":true}'\n\
                  tell '{\"event\":\"item\",\"item\":\"vim\",\"state\":\"hit\",\"bytes_done\":1,\"bytes_total\":1}'\n\
                  tell '{\"event\":\"phase\",\"phase\":\"applying\",\"cancellable\":false}'\n";
    let (_, text, _) = Scene::new(removal, &format!("{phases}{done}")).told(&["remove", "vim", "-y"]);
    assert!(text.contains("Applying\n1 removed\n") && !text.contains("Fetching"), "{text}");
    let item = |state: &str| {
        format!(
            "tell '{{\"event\":\"item\",\"item\":\"InRelease\",\"state\":\"{state}\",\"bytes_done\":1,\"bytes_total\":1}}'\n"
        )
    };
    let twice = [item("fetching"), item("fetched"), item("fetching"), item("fetched")].concat();
    let phase = "tell '{\"event\":\"phase\",\"phase\":\"fetching\",\"cancellable\":true}'\n";
    let scene = Scene::new(CannedPlan::default(), &format!("{phase}{twice}succeed\n"));
    let (_, text, _) = scene.told(&["refresh"]);
    assert_eq!(text, "Fetching\nfetched InRelease\n2 upgrades, 1 with security fixes (`omg upgrade`)\n");
}

#[test]
fn an_undo_that_removes_many_packages_says_so_and_is_not_the_default() {
    let names: Vec<String> = (0..21).map(|number| format!("p{number:02}")).collect();
    let installed = names.iter().map(|name| {
        ("install".into(), name.clone(), "all".into(), String::new(), "1".into(), "bookworm/main".into(), true)
    });
    let history: Vec<HistoryRow> = vec![(
        12,
        1,
        2,
        0,
        "root".into(),
        vec![("install".into(), "p00".into())],
        "succeeded".into(),
        installed.collect(),
        String::new(),
    )];
    let items = names.iter().map(|name| item("remove", name, "1", "")).collect();
    let scene = Scene::with_history(CannedPlan { items, ..CannedPlan::default() }, history, "succeed");
    let (_, text, _) = scene.told(&["undo", "12", "--dry-run"]);
    assert!(text.contains("remove\tp20\t") && text.ends_with("risk\tremoves-many\t21\n"), "{text}");
    let mut terminal = scene.on_terminal(&["undo", "12"]);
    terminal.wait_for("This removes 21 packages\n").wait_for("Go on? [y/N] ").enter("");
    assert_eq!(terminal.end().0.code(), Some(130));
    // Who names them knows.
    let (_, text, _) =
        scene.told(&[&["remove", "--dry-run"], &names.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    assert!(!text.contains("risk"), "{text}");
}

#[test]
fn the_history_tells_what_takes_back_what_and_what_changed_nothing() {
    let row = |id, actions: &[(&str, &str)], items: &[(&str, &str, &str, &str)]| -> HistoryRow {
        let actions = actions.iter().map(|(verb, target)| ((*verb).into(), (*target).into())).collect();
        let item = |(change, name, from, to): &(&str, &str, &str, &str)| {
            ((*change).into(), (*name).into(), "all".into(), (*from).into(), (*to).into(), String::new(), true)
        };
        let items = items.iter().map(item).collect();
        (id, 1_709_251_200, 1_709_251_260, 0, "sudo".into(), actions, "succeeded".into(), items, String::new())
    };
    let history = vec![
        row(9, &[("install", "git")], &[]),
        row(
            7,
            &[("remove", "ripgrep"), ("install", "pcre=1")],
            &[("remove", "ripgrep", "13", ""), ("downgrade", "pcre", "2", "1")],
        ),
        row(5, &[("install", "ripgrep")], &[("install", "ripgrep", "", "13"), ("upgrade", "pcre", "1", "2")]),
    ];
    let scene = Scene::with_history(CannedPlan::default(), history, "");
    let (_, text, _) = scene.told(&["history"]);
    let remarks: Vec<_> = text.lines().map(|line| line.rsplit('\t').next().expect("a column")).collect();
    assert_eq!(remarks, ["changed nothing", "takes back 5", "-"]);
    let (_, shown) = scene.on_terminal(&["history"]).end();
    assert!(shown.contains("takes back 5: remove ripgrep"), "{shown}");
    let objects = lines(&scene.told(&["history", "--json"]).1);
    assert_eq!((&objects[1]["takes_back"], objects[2].get("takes_back")), (&json!(5), None));
    let (_, shown) = scene.on_terminal(&["history", "show", "7"]).end();
    assert!(shown.contains("Remark   takes back 5\n"), "{shown}");
}

#[test]
fn colours_that_are_asked_for_are_there_in_pipes_too() {
    let scene = with_rows(vec![row("ripgrep", "13", "s")]);
    let name = "\u{1b}[1mripgrep\u{1b}[0m\t13\t";
    for arguments in [&["search", "ripgrep"][..], &["list"], &["status"], &["outdated"]] {
        let (_, text, _) = scene.told(&[arguments, &["--color", "always"]].concat()[..]);
        assert!(text.contains("\u{1b}["), "{arguments:?}: {text}");
        assert_eq!(text.contains(name), matches!(arguments[0], "search" | "list"), "{arguments:?}: {text:?}");
        assert!(!scene.told(arguments).1.contains('\u{1b}'), "{arguments:?}");
    }
}

#[test]
fn metrics_in_a_pipe_have_tab_separated_columns() {
    let scene = Scene::new(CannedPlan::default(), "");
    let (_, text, _) = scene.told(&["metrics"]);
    assert!(text.starts_with("Search\t12345\t0\t40\t90\t1200\nrunning calls\t0\n"), "{text}");
}

#[test]
fn an_audit_log_without_entries_is_not_called_sound() {
    let scene = Scene::new(CannedPlan::default(), "");
    let folder = scene.folder.path().join("none").display().to_string();
    let (code, text, error) = scene.told(&["audit", "verify", &folder]);
    assert_eq!((code, text.as_str()), (1, ""));
    assert_eq!(error, format!("omg: there is no log in {folder}: nothing was recorded yet, or the log is elsewhere\n"));
}

#[test]
fn one_is_not_told_in_the_plural() {
    for (change, words) in [("mark-dependency", "1 marked as a dependency\n"), ("clean", "1 downloaded file deleted\n")]
    {
        let scene = Scene::new(installs("a"), &format!("succeed '{}'", applied(change, "a")));
        let (_, text, _) = scene.told(&["install", "a", "-y"]);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn completion_offers_what_the_verb_can_be_about() {
    let mut held = row("libheld", "1", "s");
    held.5 |= 1 << 5;
    let mut upgradable = row("libnew", "1", "s");
    upgradable.5 |= 1 << 2;
    let mut absent = row("libabsent", "1", "s");
    absent.5 = 0;
    let scene = with_rows(vec![held, upgradable, absent]);
    let names = |arguments: &[&str]| scene.told(&[&["complete"], arguments, &["--", "lib"]].concat()[..]).1;
    assert_eq!(names(&[]), "libheld\nlibnew\nlibabsent\n");
    assert_eq!(names(&["--only", "installed"]), "libheld\nlibnew\n");
    assert_eq!(names(&["--only", "upgradable"]), "libnew\n");
    assert_eq!(names(&["--only", "held"]), "libheld\n");
    assert_eq!(scene.told(&["complete", "--only", "installed", "--", "libn"]).1, "libnew\n");
    let script = scene.folder.path().join("script.bash");
    std::fs::write(&script, scene.told(&["completions", "bash"]).1).expect("written");
    for (verb, expected) in [
        ("install", "libheld\nlibnew\nlibabsent\n"),
        ("remove", "libheld\nlibnew\n"),
        ("hold", "libheld\nlibnew\n"),
        ("upgrade", "libnew\n"),
        ("unhold", "libheld\n"),
    ] {
        let commands = format!(
            "source '{}'; COMP_WORDS=(omg {verb} lib); COMP_CWORD=2; _omg_packages omg lib {verb}; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        let output = std::process::Command::new("bash")
            .args(["--norc", "-c", &commands])
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", scene.folder.path().display()))
            .env("OMG_SOCKET_PATH", scene.service.socket())
            .output()
            .expect("bash runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{verb}");
        for (shell, text) in [("zsh", in_zsh(&scene, verb)), ("fish", in_fish(&scene, verb))] {
            let Some(text) = text else {
                eprintln!("skipped: {shell} is not installed");
                continue;
            };
            let sorted = |text: &str| {
                let mut names: Vec<_> = text.lines().map(str::to_owned).collect();
                names.sort_unstable();
                names
            };
            assert_eq!(sorted(&text), sorted(expected), "{shell}: {verb}");
        }
    }
}

/// What the script has zsh offer for the verb; in the context that its generated part makes.
fn in_zsh(scene: &Scene, verb: &str) -> Option<String> {
    let commands = format!(
        "compdef() {{ }}; compadd() {{ print -rl -- $names }}; source script.zsh; \
         curcontext=':complete:omg-command-{verb}:'; PREFIX=lib; _omg_packages"
    );
    in_shell(scene, "zsh", &["-f", "-c", &commands])
}

fn in_fish(scene: &Scene, verb: &str) -> Option<String> {
    in_shell(scene, "fish", &["--no-config", "-c", &format!("source script.fish; complete -C 'omg {verb} lib'")])
}

/// Its output; none where there is no such shell.
fn in_shell(scene: &Scene, shell: &str, arguments: &[&str]) -> Option<String> {
    scene.write(&format!("script.{shell}"), &scene.told(&["completions", shell]).1);
    let output = std::process::Command::new(shell)
        .args(arguments)
        .env_clear()
        .env("HOME", scene.service.folder())
        .env("PATH", format!("{}:/usr/bin:/bin", scene.folder.path().display()))
        .env("OMG_SOCKET_PATH", scene.service.socket())
        .current_dir(scene.folder.path())
        .output();
    match output {
        Ok(output) => Some(String::from_utf8(output.stdout).expect("UTF-8")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{shell}: {error}"),
    }
}

#[test]
fn a_line_of_progress_has_whole_parts_only() {
    let downloads = r#"
tell '{"event":"phase","phase":"fetching","cancellable":true}'
tell '{"event":"progress","fraction":0.5,"bytes_done":10737418,"bytes_total":210737418}'
until [ -e "$here/shown" ]; do sleep 0.05; done
"#;
    let scene = Scene::new(installs("ripgrep"), &(downloads.to_owned() + RIPGREP));
    let mut command = scene.omg(&["install", "ripgrep", "-y"]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command, 40);
    terminal.wait_for("Fetching ━━━━━━━━━━──────────  50 %\n");
    scene.write("shown", "");
    let (status, text) = terminal.end();
    assert!(status.success() && !text.contains('…'), "{text:?}");
}
