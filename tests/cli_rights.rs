//! How the command line comes to the rights that a change takes: the system bus, or sudo.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, dead_code)]

#[path = "support/fake_manager.rs"]
mod fake_manager;
#[path = "support/scene.rs"]
mod scene;
#[path = "support/terminal.rs"]
mod terminal;

#[path = "support/fake_transaction.rs"]
mod fake_transaction;

use fake_manager::{Canned, CannedPlan, DIGEST};
use fake_transaction::{Ending, FakeTransaction};
use scene::{RIPGREP, Scene, for_a_user, installs};
use serde_json::{Value, json};
use terminal::Terminal;

/// This program is also the private daemon that the tests below let omg start.
#[test]
fn serves_its_standard_input_when_it_is_started_as_a_daemon() {
    if std::env::var_os("SERVE_STANDARD_INPUT").is_some() {
        fake_manager::serve_standard_input(Canned { plan: installs("ripgrep"), ..Canned::default() });
    }
}

#[test]
fn without_a_system_bus_sudo_gives_the_rights() {
    let scene = Scene::new(CannedPlan::default(), RIPGREP);
    let output = for_a_user(&scene, &["install", "ripgrep", "-y"]).output().expect("omg runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let helper = scene.folder.path().join("omg-helper");
    let expected = format!("-n -- {} commit\n", helper.display());
    assert_eq!(scene.read("sudo-arguments").as_deref(), Some(expected.as_str()));
    assert_eq!(scene.request()["digest"], DIGEST);

    std::fs::remove_file(scene.folder.path().join("sudo-arguments")).expect("removed");
    let mut command = for_a_user(&scene, &["install", "ripgrep", "-y"]);
    command.env("NO_COLOR", "1");
    let (status, text) = Terminal::start(command, 80).end();
    assert_eq!(status.code(), Some(0), "{text}");
    // sudo may ask for the password, and package scripts for nothing: -y has answered.
    let expected = format!("-- {} commit\n", helper.display());
    assert_eq!(scene.read("sudo-arguments").as_deref(), Some(expected.as_str()));

    std::fs::remove_file(scene.folder.path().join("sudo-arguments")).expect("removed");
    let mut command = for_a_user(&scene, &["install", "ripgrep"]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command, 80);
    terminal.wait_for("Go on? [Y/n] ").enter("");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(0), "{text}");
    let expected = format!("-- {} commit --terminal\n", helper.display());
    assert_eq!(scene.read("sudo-arguments").as_deref(), Some(expected.as_str()));
    // Package scripts may draw on the terminal: lines stay where they are.
    assert!(text.contains("Applying\ninstalled ripgrep\n1 installed\n"), "{text:?}");
}

#[test]
fn what_is_only_configured_for_reading_is_not_changed_on_this_machine() {
    let scene = Scene::new(CannedPlan::default(), RIPGREP);
    for setting in ["root = \"/\"", "options = [\"APT::Install-Recommends=false\"]"] {
        let folder = scene.folder.path().join("config/omg");
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join("config.toml"), format!("[apt]\n{setting}\n")).expect("written");
        for arguments in [&["install", "ripgrep", "-y"][..], &["refresh"]] {
            let mut command = for_a_user(&scene, arguments);
            let output = command.env("XDG_CONFIG_HOME", scene.folder.path().join("config")).output().expect("omg runs");
            let error = String::from_utf8(output.stderr).expect("UTF-8");
            assert_eq!(output.status.code(), Some(2), "{error}");
            let expected = "omg: apt.root and apt.options of the configuration file are for reading: what runs with rights \
                            changes this machine's own packages, by its own settings; take them out to change packages\n";
            assert_eq!(error, expected);
        }
        assert_eq!(scene.read("sudo-arguments"), None, "nothing was run");
    }
}

#[test]
fn where_sudo_refuses_or_is_missing_the_ways_that_were_tried_are_told() {
    let scene = Scene::new(CannedPlan::default(), RIPGREP);
    scene.write("sudo", "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n");
    let output = for_a_user(&scene, &["install", "ripgrep", "-y"]).output().expect("omg runs");
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(5), "{error}");
    assert_eq!(error, "sudo: a password is required\nomg: sudo did not run omg-helper: nothing was done\n");

    std::fs::remove_file(scene.folder.path().join("sudo")).expect("removed");
    let mut command = for_a_user(&scene, &["install", "ripgrep", "-y"]);
    let output = command.env("PATH", scene.folder.path()).output().expect("omg runs");
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(5), "{error}");
    assert!(error.contains("system bus: ") && error.contains("sudo: it is not installed"), "{error}");
    assert_eq!(scene.read("arguments"), None);
}

fn on_bus(scene: &Scene, service: &FakeTransaction, arguments: &[&str]) -> std::process::Command {
    let mut command = for_a_user(scene, arguments);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", service.address()).env("NO_COLOR", "1");
    command
}

#[test]
fn the_service_on_the_system_bus_is_preferred_and_may_ask_for_consent() {
    let scene = Scene::new(CannedPlan::default(), "");
    let Some(service) = FakeTransaction::start(Ending::Succeeds) else { return };
    let output = on_bus(&scene, &service, &["install", "ripgrep", "-y", "--wait"]).output().expect("omg runs");
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), &*error), (Some(0), "omg: slow mirror\n"));
    assert!(
        text.ends_with(
            "Waiting for the package system\nFetching\nfetched ripgrep\nApplying\ninstalled ripgrep\n1 installed\n\
             the machine should be restarted for linux\n\
             still running what was replaced: ssh (`systemctl restart` renews them)\n\
             number 12 in the history; `omg undo 12` takes it back\n"
        ),
        "{text}"
    );
    let seen = service.seen();
    assert_eq!(seen.actions, [("install".to_owned(), "ripgrep".to_owned())]);
    assert_eq!(seen.digest, DIGEST);
    assert_eq!(seen.options, ["conffiles", "download-only", "wait"]);
    assert!(seen.interactive && seen.closed);
    // The question had nobody to answer it.
    assert_eq!(seen.answers, [(4, "keep".to_owned())]);
    assert_eq!(scene.read("sudo-arguments"), None);
}

#[test]
fn on_a_terminal_questions_reach_the_person_and_an_agent_asks_for_the_password() {
    let scene = Scene::new(CannedPlan::default(), "");
    // As polkit's own: says that it serves by closing the descriptor, and stays until it is told to end.
    let agent = "#!/bin/bash\nprintf '%s\\n' \"$*\" >\"${0%/*}/agent\"\n\
        trap 'echo ended >>\"${0%/*}/agent\"; exit 0' TERM\neval \"exec $5>&-\"\nwhile :; do sleep 0.05; done\n";
    scene.write("pkttyagent", agent);
    let Some(service) = FakeTransaction::start(Ending::Succeeds) else { return };
    let mut terminal = Terminal::start(on_bus(&scene, &service, &["install", "ripgrep"]), 80);
    terminal.wait_for("Go on? [Y/n] ").enter("y");
    terminal.wait_for("/etc/rg was changed here and in the new ripgrep. keep or replace? [keep] ").enter("replace");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(0), "{text}");
    assert_eq!(service.seen().answers, [(4, "replace".to_owned())]);
    let agent = scene.read("agent").expect("it was started");
    assert!(agent.starts_with("--fallback --process ") && agent.ends_with("\nended\n"), "{agent}");
}

#[test]
fn what_the_service_refuses_has_its_exit_code() {
    let scene = Scene::new(CannedPlan::default(), "");
    for (ending, code, why) in [
        (Ending::Fails("org.omg.Error.AuthDismissed"), 5, "omg: the reason\u{1b}\n"),
        (Ending::Fails("org.omg.Error.Network"), 4, "omg: the reason\u{1b}\n"),
        (Ending::Fails("org.omg.Error.PlanStale"), 3, "omg: the reason\u{1b}\n"),
        (Ending::Fails("org.omg.Error.OfALaterVersion"), 3, "omg: the reason\u{1b}\n"),
        (Ending::Refuses, 2, "omg: digest: too old\n"),
        (Ending::Vanishes, 3, "ended before the work was done"),
    ] {
        let Some(service) = FakeTransaction::start(ending) else { return };
        let output = on_bus(&scene, &service, &["install", "ripgrep", "-y"]).output().expect("omg runs");
        let error = String::from_utf8_lossy(&output.stderr).replace('\u{1b}', "ESC").replace("\\u{1b}", "\u{1b}");
        assert_eq!(output.status.code(), Some(code), "{ending:?}: {error}");
        assert!(error.contains(why), "{ending:?}: {error}");
    }
}

#[test]
fn where_nobody_can_be_asked_for_consent_sudo_asks_on_the_terminal() {
    let scene = Scene::new(CannedPlan::default(), RIPGREP);
    let Some(service) = FakeTransaction::start(Ending::Fails("org.omg.Error.AgentMissing")) else { return };
    let (status, text) = Terminal::start(on_bus(&scene, &service, &["install", "ripgrep", "-y"]), 80).end();
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(text.contains("the reason\\u{1b}; sudo asks instead\n"), "{text:?}");
    assert!(text.contains("1 installed\n"), "{text:?}");
    let expected = format!("-- {} commit\n", scene.folder.path().join("omg-helper").display());
    assert_eq!(scene.read("sudo-arguments").as_deref(), Some(expected.as_str()));
    assert_eq!(scene.request()["digest"], DIGEST);
    std::fs::remove_file(scene.folder.path().join("sudo-arguments")).expect("removed");

    // A person who may not, and one who is not there, are told so.
    let Some(refusing) = FakeTransaction::start(Ending::Fails("org.omg.Error.NotAuthorized")) else { return };
    let (status, text) = Terminal::start(on_bus(&scene, &refusing, &["install", "ripgrep", "-y"]), 80).end();
    assert_eq!(status.code(), Some(5), "{text}");
    for arguments in [&["install", "ripgrep", "-y"][..], &["refresh"]] {
        let output = on_bus(&scene, &service, arguments).output().expect("omg runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{error}");
        assert!(error.contains("there is no terminal on which sudo could ask; run it as root"), "{error}");
    }
    assert_eq!(scene.read("sudo-arguments"), None);
    std::fs::remove_file(scene.folder.path().join("sudo")).expect("removed");
    let mut command = on_bus(&scene, &service, &["install", "ripgrep", "-y"]);
    command.env("PATH", scene.folder.path());
    let (status, text) = Terminal::start(command, 200).end();
    assert_eq!(status.code(), Some(5), "{text}");
    assert!(text.contains("sudo: it is not installed; run it as root"), "{text}");
}

/// Keys of an object and of the objects in it.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        Value::Array(values) => Value::Array(values.iter().take(1).map(shape).collect()),
        _ => Value::Null,
    }
}

#[test]
fn json_has_one_shape_whichever_way_the_rights_came() {
    let scene = Scene::new(CannedPlan::default(), RIPGREP);
    let Some(service) = FakeTransaction::start(Ending::Succeeds) else { return };
    let last = |output: std::process::Output| -> Value {
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
    };
    let arguments = ["install", "ripgrep", "-y", "--json"];
    let over_bus = on_bus(&scene, &service, &arguments).output().expect("omg runs");
    let text = String::from_utf8_lossy(&over_bus.stdout).into_owned();
    let question = json!({"event": "question", "id": 4, "choices": ["keep", "replace"],
                          "kind": {"about": "conffile", "package": "ripgrep", "path": "/etc/rg"}});
    assert!(text.lines().any(|line| serde_json::from_str::<Value>(line).expect("JSON") == question), "{text}");
    let with_sudo = for_a_user(&scene, &arguments).output().expect("omg runs");
    let (over_bus, with_sudo) = (last(over_bus), last(with_sudo));
    let item = &over_bus["applied"]["items"][0];
    assert_eq!(
        *item,
        json!({"change": "install", "name": "ripgrep", "arch": "all", "from": "", "to": "13.0", "repository": "r",
               "download": 0, "delta": 0})
    );
    assert_eq!(*item, with_sudo["applied"]["items"][0]);
    // What is to be restarted differs in number alone.
    let applied =
        |result: &Value| result["applied"].as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(applied(&over_bus), applied(&with_sudo));
    assert_eq!(shape(&over_bus["applied"]["items"]), shape(&with_sudo["applied"]["items"]));
}

#[test]
fn an_interrupt_cancels_the_job() {
    let scene = Scene::new(CannedPlan::default(), "");
    let Some(service) = FakeTransaction::start(Ending::WaitsForCancel) else { return };
    let mut terminal = Terminal::start(on_bus(&scene, &service, &["install", "ripgrep", "-y"]), 80);
    terminal.wait_for("Fetching").signal(rustix::process::Signal::INT);
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(text.contains("cancelled: nothing was changed"), "{text}");
}

#[test]
fn package_files_go_to_the_service_as_descriptors() {
    let scene = Scene::new(CannedPlan::default(), "");
    scene.write("tool_1.0_all.deb", "a package");
    let Some(service) = FakeTransaction::start(Ending::Succeeds) else { return };
    let output = on_bus(&scene, &service, &["install", "./tool_1.0_all.deb", "-y"]).output().expect("omg runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(service.seen().files, ["a package"]);
}

#[test]
fn the_lists_are_fetched_over_the_system_bus() {
    let scene = Scene::new(CannedPlan::default(), "");
    let Some(service) = FakeTransaction::start(Ending::Succeeds) else { return };
    let output = on_bus(&scene, &service, &["refresh", "--json"]).output().expect("omg runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!((output.status.code(), &last["result"]), (Some(0), &json!("succeeded")), "{text}");
    assert!(service.seen().refreshed);
}
