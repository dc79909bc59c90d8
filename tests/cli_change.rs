//! The verbs that change packages, against a service with canned plans and an `omg-helper` that plays its part.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, dead_code)]

#[path = "support/fake_manager.rs"]
mod fake_manager;
#[path = "support/scene.rs"]
mod scene;
#[path = "support/terminal.rs"]
mod terminal;

use fake_manager::{Bus, Canned, CannedPlan, DIGEST};
use rustix::process::Signal;
use scene::{RIPGREP, Scene, applied, installs, item};
use serde_json::{Value, json};
use terminal::Terminal;

fn everything() -> CannedPlan {
    CannedPlan {
        items: vec![
            item("install", "libpcre", "", "8.39"),
            item("install", "ripgrep", "", "13.0"),
            item("upgrade", "openssl", "1.0", "1.1"),
            item("downgrade", "git", "2.2", "2.1"),
            item("reinstall", "bash", "5.2", "5.2"),
            item("remove", "nano", "7.2", ""),
            item("purge", "vim", "9.0", ""),
        ],
        held_back: vec![("linux".into(), "all".into(), "5".into(), "6".into(), "held".into())],
        unneeded: vec!["libold".into(), "libolder".into()],
        risks: vec!["downgrades:git".into()],
        notes: vec!["selecting 'ripgrep' instead of 'rg'".into()],
        ..CannedPlan::default()
    }
}

#[test]
fn a_plan_on_a_terminal_says_what_happens_to_which_packages() {
    let scene = Scene::new(everything(), "");
    let (status, text) = scene.on_terminal(&["install", "ripgrep", "--dry-run"]).end();
    let expected = "\
Installing
  ripgrep  13.0  bookworm/main  2.0 KiB
Installing as dependencies
  libpcre  8.39  bookworm/main  2.0 KiB
Upgrading
  openssl  1.0  → 1.1  bookworm/main  2.0 KiB
Downgrading
  git  2.2  → 2.1  bookworm/main  2.0 KiB
Installing again
  bash  5.2  bookworm/main  2.0 KiB
Removing
  nano  7.2
Removing with configuration files
  vim  9.0
Not upgraded
  linux  5  → 6  on hold
selecting 'ripgrep' instead of 'rg'
2 packages are no longer needed (`omg autoremove` removes them)
2 to install, 1 to upgrade, 1 to downgrade, 1 to install again, 2 to remove, 1 not upgraded
10.0 KiB to download, 32.0 KiB more on the disk
This puts older versions in place of newer ones: git
";
    assert_eq!((status.code(), text.as_str()), (Some(0), expected));
    assert_eq!(scene.read("arguments"), None);
    assert_eq!(scene.canned.seen().closed_plans, 1);
}

#[test]
fn a_plan_in_a_pipe_has_tab_separated_columns() {
    let scene = Scene::new(everything(), "");
    let expected = "\
install\tlibpcre\t\t8.39\tbookworm/main\t2048\t8192
install\tripgrep\t\t13.0\tbookworm/main\t2048\t8192
upgrade\topenssl\t1.0\t1.1\tbookworm/main\t2048\t8192
downgrade\tgit\t2.2\t2.1\tbookworm/main\t2048\t8192
reinstall\tbash\t5.2\t5.2\tbookworm/main\t2048\t8192
remove\tnano\t7.2\t\t\t0\t-4096
purge\tvim\t9.0\t\t\t0\t-4096
held-back\tlinux\t5\t6\theld
unneeded\tlibold
unneeded\tlibolder
risk\tdowngrades\tgit
note\tselecting 'ripgrep' instead of 'rg'
";
    assert_eq!(scene.told(&["i", "ripgrep", "--dry-run"]), (0, expected.into(), String::new()));
    let names = "libpcre\nripgrep\nopenssl\ngit\nbash\nnano\nvim\n";
    assert_eq!(scene.told(&["i", "ripgrep", "--dry-run", "-q"]), (0, names.into(), String::new()));
}

#[test]
fn every_verb_asks_for_its_plan() {
    let scene = Scene::new(CannedPlan::default(), "");
    for (arguments, actions) in [
        (&["install", "a", "b=1"][..], &[("install", "a"), ("install", "b=1")][..]),
        (&["remove", "a"], &[("remove", "a")]),
        (&["r", "--purge", "a", "b"], &[("purge", "a"), ("purge", "b")]),
        (&["upgrade"], &[("upgrade-all", "")]),
        (&["u", "--full"], &[("full-upgrade", "")]),
        (&["u", "a"], &[("upgrade", "a")]),
        (&["reinstall", "a"], &[("reinstall", "a")]),
        (&["autoremove"], &[("autoremove", "")]),
        (&["hold", "a"], &[("hold", "a")]),
        (&["unhold", "a"], &[("unhold", "a")]),
        (&["mark", "explicit", "a"], &[("mark-explicit", "a")]),
        (&["mark", "dependency", "a"], &[("mark-dependency", "a")]),
        (&["clean"], &[("clean", "")]),
    ] {
        assert_eq!(scene.told(arguments), (0, "nothing to do\n".into(), String::new()), "{arguments:?}");
        let planned = scene.planned();
        let planned: Vec<_> = planned.iter().map(|(verb, target)| (verb.as_str(), target.as_str())).collect();
        assert_eq!(planned, actions, "{arguments:?}");
    }
    scene.told(&["install", "a", "--no-recommends", "--wait", "--download-only", "--conffiles", "replace"]);
    let told: Vec<_> = scene.canned.seen().options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(told, ["conffiles=replace", "download-only=true", "recommends=false", "wait=true"]);
    scene.told(&["install", "a"]);
    let told: Vec<_> = scene.canned.seen().options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(told, ["conffiles=keep", "download-only=false", "wait=false"]);
    let (_, json, _) = scene.told(&["upgrade", "--json"]);
    assert_eq!(json.lines().last(), Some(r#"{"result":"nothing"}"#));
}

#[test]
fn a_plan_is_read_from_whoever_made_it_and_made_again_when_that_one_is_gone() {
    for (canned, plans) in
        [(Canned { leaves: true, ..Canned::default() }, 1), (Canned { forgotten_plans: 1, ..Canned::default() }, 2)]
    {
        let canned = Canned { plan: installs("ripgrep"), ..canned };
        let Some(bus) = Bus::start(Some(canned.clone())) else { return };
        let scene = Scene::new(CannedPlan::default(), "");
        let mut command = scene.omg(&["install", "ripgrep", "--dry-run", "-q"]);
        command.env_remove("OMG_SOCKET_PATH").env("DBUS_SESSION_BUS_ADDRESS", &bus.address);
        let output = command.output().expect("omg runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.stdout, b"ripgrep\n");
        let seen = canned.seen();
        assert_eq!((seen.plans.len(), seen.closed_plans), (plans, 1));
    }
    // One that forgets all of them is not asked for ever.
    let canned = Canned { forgotten_plans: usize::MAX, ..Canned::default() };
    let Some(bus) = Bus::start(Some(canned.clone())) else { return };
    let scene = Scene::new(CannedPlan::default(), "");
    let mut command = scene.omg(&["install", "ripgrep", "--dry-run"]);
    command.env_remove("OMG_SOCKET_PATH").env("DBUS_SESSION_BUS_ADDRESS", &bus.address);
    assert_eq!(command.output().expect("omg runs").status.code(), Some(3));
    assert_eq!(canned.seen().plans.len(), 2);
}

#[test]
fn what_cannot_be_planned_is_told_with_its_exit_code() {
    let scene = Scene::new(CannedPlan::default(), "");
    let none = "omg: no package is named nonesuch\\u{7}\n";
    assert_eq!(scene.told(&["install", "nonesuch", "-y"]), (1, String::new(), none.into()));
    let unmet = "omg: impossible depends on nonesuch\n";
    assert_eq!(scene.told(&["install", "impossible", "-y"]), (2, String::new(), unmet.into()));
    let (code, _, error) = scene.told(&["install", "--", "-rf"]);
    assert_eq!(code, 2);
    assert!(error.contains("is no package"), "{error}");
}

#[test]
fn without_a_terminal_nothing_is_asked_and_nothing_happens_unless_told_so() {
    let scene = Scene::new(installs("ripgrep"), RIPGREP);
    let plan = "install\tripgrep\t\t13.0\tbookworm/main\t2048\t8192\n";
    let reason = "omg: standard input is no terminal to ask on: nothing was changed; -y goes on without asking\n";
    assert_eq!(scene.told(&["install", "ripgrep"]), (2, plan.into(), reason.into()));
    assert_eq!(scene.read("arguments"), None);

    let expected = format!(
        "{plan}Fetching\nfetched ripgrep\nApplying\ninstalled ripgrep\n1 installed\n\
         number 7 in the history; `omg undo 7` takes it back\n"
    );
    assert_eq!(scene.told(&["install", "ripgrep", "-y"]), (0, expected, String::new()));
    assert_eq!(scene.read("arguments").as_deref(), Some("commit --clean\n"));
    assert_eq!(
        scene.request(),
        json!({
            "actions": [["install", "ripgrep"]],
            "options": {"recommends": null, "conffiles": "keep", "wait": false, "download-only": false, "cascade": false,
                        "answers": {}},
            "files": [], "digest": DIGEST,
        })
    );
    assert_eq!(scene.told(&["install", "ripgrep", "-yq"]), (0, String::new(), String::new()));
}

#[test]
fn json_is_the_plan_what_happens_and_the_result() {
    let scene = Scene::new(installs("ripgrep"), RIPGREP);
    let (code, text, error) = scene.told(&["install", "ripgrep", "-y", "--json"]);
    assert_eq!((code, error.as_str()), (0, ""));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        lines[0],
        json!({"plan": {
            "digest": DIGEST,
            "items": [{"change": "install", "name": "ripgrep", "arch": "all", "from": "", "to": "13.0",
                       "repository": "bookworm/main", "download": 2048, "delta": 8192}],
            "held_back": [], "unneeded": [], "download_size": 2048, "installed_size_delta": 8192, "risks": [],
            "notes": [], "decisions": [], "mends": [],
        }})
    );
    assert_eq!(lines[1], json!({"event": "phase", "phase": "fetching", "cancellable": true}));
    assert_eq!(lines[2], json!({"event": "progress", "fraction": 0.25, "bytes_done": 1024, "bytes_total": 2048}));
    assert_eq!(lines.len(), 8);
    assert_eq!((&lines[7]["result"], &lines[7]["applied"]["entry"]), (&json!("succeeded"), &json!(7)));
    assert_eq!(lines[7]["applied"]["items"][0]["name"], "ripgrep");

    let (code, text, error) = scene.told(&["install", "ripgrep", "--json"]);
    assert_eq!((code, text.lines().count()), (2, 2));
    assert!(error.contains("--json never asks"), "{error}");
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["error"]["name"], "org.omg.Error.InvalidArgument");
    let (code, text, _) = scene.told(&["install", "ripgrep", "--json", "--dry-run"]);
    assert_eq!((code, text.lines().last()), (0, Some(r#"{"result":"planned"}"#)));
}

#[test]
fn a_person_is_asked_and_decides() {
    let scene = Scene::new(installs("ripgrep"), RIPGREP);
    for (answer, code) in [("n", 130), ("nonsense", 130), ("", 0), ("YES", 0)] {
        let mut terminal = scene.on_terminal(&["install", "ripgrep"]);
        terminal.wait_for("Go on? [Y/n] ").enter(answer);
        let (status, text) = terminal.end();
        assert_eq!(status.code(), Some(code), "{answer:?}: {text}");
        assert_eq!(text.contains("cancelled: nothing was changed"), code != 0, "{text}");
        assert_eq!(scene.read("arguments").is_some(), code == 0);
    }
    let options = scene.request();
    assert_eq!(options["options"]["conffiles"], "ask", "a person can be asked about configuration files");
}

#[test]
fn what_is_risky_is_not_the_default() {
    let scene = Scene::new(everything(), "succeed");
    let mut terminal = scene.on_terminal(&["install", "ripgrep"]);
    terminal.wait_for("Go on? [y/N] ").enter("");
    assert_eq!(terminal.end().0.code(), Some(130));
    assert_eq!(scene.read("arguments"), None);
}

#[test]
fn an_interrupt_at_the_question_changes_nothing() {
    let scene = Scene::new(installs("ripgrep"), RIPGREP);
    let mut terminal = scene.on_terminal(&["install", "ripgrep"]);
    terminal.wait_for("Go on?").signal(Signal::INT);
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(130), "{text}");
    assert_eq!(scene.read("arguments"), None);
}

#[test]
fn what_the_system_needs_is_only_removed_when_the_phrase_is_typed_or_it_is_allowed() {
    let risks = vec!["removes-essential:dpkg".into(), "removes-many:21".into()];
    let plan = CannedPlan { items: vec![item("remove", "dpkg", "1", "")], risks, ..CannedPlan::default() };
    let scene = Scene::new(plan, "succeed");
    for (typed, code) in [("y", 130), ("i know that this may break the system", 130), ("", 130)] {
        let mut terminal = scene.on_terminal(&["remove", "dpkg"]);
        terminal.wait_for("This removes what the system may not work without: dpkg\n");
        terminal.wait_for("Type “I know that this may break the system” to go on: ").enter(typed);
        assert_eq!(terminal.end().0.code(), Some(code), "{typed}");
    }
    assert_eq!(scene.read("arguments"), None);
    let mut terminal = scene.on_terminal(&["remove", "dpkg"]);
    terminal.wait_for("to go on: ").enter("I know that this may break the system");
    assert_eq!(terminal.end().0.code(), Some(0));

    let (code, _, error) = scene.told(&["remove", "dpkg", "-y"]);
    assert_eq!(code, 2);
    assert_eq!(
        error,
        "omg: -y does not cover what is risky: removes-essential (dpkg) needs --allow-essential; nothing was changed\n"
    );
    assert_eq!(scene.told(&["remove", "dpkg", "-y", "--allow-essential"]).0, 0);
}

#[test]
fn each_risk_has_its_own_allowance() {
    let all = ["--allow-essential", "--allow-downgrade", "--allow-untrusted", "--allow-held"];
    for (risk, allowance) in [
        ("removes-essential:a", "--allow-essential"),
        ("downgrades:a", "--allow-downgrade"),
        ("untrusted:a", "--allow-untrusted"),
        ("changes-held:a", "--allow-held"),
    ] {
        let scene = Scene::new(CannedPlan { risks: vec![risk.into()], ..installs("a") }, "succeed");
        for flag in all {
            let code = scene.told(&["install", "a", "-y", flag]).0;
            assert_eq!(code, if flag == allowance { 0 } else { 2 }, "{risk} with {flag}");
        }
    }
    let unheard = Scene::new(CannedPlan { risks: vec!["melts:a".into()], ..installs("a") }, "succeed");
    assert_eq!(unheard.told(&["install", "a", "-y", all[0], all[1], all[2], all[3]]).0, 2);
    let many = Scene::new(CannedPlan { risks: vec!["removes-many:30".into()], ..installs("a") }, "succeed");
    assert_eq!(many.told(&["install", "a", "-y"]).0, 0);
}

#[test]
fn holds_and_marks_are_changed_without_asking() {
    let plan = CannedPlan { items: vec![item("hold", "vim", "9", "9")], ..CannedPlan::default() };
    let scene = Scene::new(plan, &format!("succeed '{}'", applied("hold", "vim")));
    let (code, text, error) = scene.told(&["hold", "vim"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(text.contains("1 on hold\n"), "{text}");
}

#[test]
fn bars_are_drawn_over_themselves_and_taken_away() {
    let downloads = r#"
tell '{"event":"phase","phase":"fetching","cancellable":true}'
tell '{"event":"item","item":"evil\u001b[2J","state":"fetching","bytes_done":1024,"bytes_total":2048}'
tell '{"event":"progress","fraction":0.5,"bytes_done":1024,"bytes_total":2048}'
until [ -e "$here/shown" ]; do sleep 0.05; done
"#;
    let scene = Scene::new(installs("ripgrep"), &(downloads.to_owned() + RIPGREP));
    let mut terminal = scene.on_terminal(&["install", "ripgrep", "-y"]);
    terminal.wait_for("Fetching ━━━━━━━━━━──────────  50 %  1.0 KiB of 2.0 KiB");
    scene.write("shown", "");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(text.contains("evil\\u{1b}[2J") && !text.contains("evil\u{1b}"), "{text}");
    // The cursor goes up and the rest is cleared before the last words.
    let last = text.rfind("\u{1b}[").expect("drawn");
    assert!(text[last..].starts_with("\u{1b}[J") && text[last..].contains("1 installed\n"), "{text:?}");
    assert!(!text[last..].contains('━'), "{text:?}");
    assert!(!text.contains("\u{1b}[?25l"), "{text:?}");

    let mut dumb = scene.omg(&["install", "ripgrep", "-y"]);
    dumb.env("NO_COLOR", "1");
    let (_, text) = Terminal::start_dumb(dumb, 80).end();
    assert!(!text.contains('\u{1b}') && text.contains("installed ripgrep\n"), "{text:?}");
}

#[test]
fn an_interrupt_cancels_while_nothing_is_half_done() {
    let scenario = r#"
tell '{"event":"phase","phase":"fetching","cancellable":true}'
read -r reply
printf '%s\n' "$reply" >"$here/reply"
tell '{"event":"finished","outcome":"cancelled","applied":{"items":[],"restart":{"machine":false,"packages":[],"services":[]},"entry":7}}'
"#;
    let scene = Scene::new(installs("ripgrep"), scenario);
    let mut terminal = scene.on_terminal(&["install", "ripgrep", "-y"]);
    terminal.wait_for("Fetching").signal(Signal::INT).wait_for("cancelling…");
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(text.contains("omg: cancelled: nothing was changed\n"), "{text}");
    assert_eq!(scene.read("reply").as_deref(), Some("{\"reply\":\"cancel\"}\n"));
}

#[test]
fn an_interrupt_while_packages_are_changed_is_told_and_the_change_goes_on() {
    let scenario = r#"
tell '{"event":"phase","phase":"applying","cancellable":false}'
until [ -e "$here/interrupted" ]; do sleep 0.05; done
succeed
"#;
    for signal in [Signal::INT, Signal::TERM] {
        let scene = Scene::new(installs("ripgrep"), scenario);
        let mut terminal = scene.on_terminal(&["install", "ripgrep", "-y"]);
        terminal.wait_for("Applying").signal(signal).wait_for("this cannot be stopped now, it goes on");
        scene.write("interrupted", "");
        let (status, text) = terminal.end();
        assert_eq!(status.code(), Some(0), "{text}");
        assert!(text.contains("done\n"), "{text}");
    }
}

const QUESTION: &str = r#"
tell '{"event":"phase","phase":"applying","cancellable":false}'
tell '{"event":"item","item":"vim","state":"configuring","bytes_done":0,"bytes_total":0}'
tell '{"id":3,"event":"question","kind":{"about":"conffile","package":"vim","path":"/etc/vim\u001b/rc"},"choices":["keep","replace"]}'
read -r reply
printf '%s\n' "$reply" >"$here/reply"
succeed
"#;

#[test]
fn questions_are_asked_on_the_terminal() {
    for (answers, choice) in [
        (&[""][..], "keep"),
        (&["replace"], "replace"),
        (&["r"], "replace"),
        // What is none of the choices is asked again.
        (&["what?", "n", "k"], "keep"),
    ] {
        let scene = Scene::new(installs("vim"), QUESTION);
        let mut terminal = scene.on_terminal(&["install", "vim", "-y"]);
        terminal.wait_for("/etc/vim\\u{1b}/rc was changed here and in the new vim. keep or replace? [keep] ");
        let (last, before) = answers.split_last().expect("an answer");
        for answer in before {
            terminal.enter(answer).wait_for("answer with keep or replace").wait_for("[keep] ");
        }
        terminal.enter(last);
        assert_eq!(terminal.end().0.code(), Some(0));
        let reply: Value = serde_json::from_str(&scene.read("reply").expect("answered")).expect("JSON");
        assert_eq!(reply, json!({"reply": "answer", "id": 3, "choice": choice}), "{answers:?}");
    }
}

#[test]
fn without_a_terminal_configuration_files_are_kept() {
    let scene = Scene::new(installs("vim"), QUESTION);
    assert_eq!(scene.told(&["install", "vim", "-y", "--conffiles", "ask"]).0, 0);
    let reply: Value = serde_json::from_str(&scene.read("reply").expect("answered")).expect("JSON");
    assert_eq!(reply, json!({"reply": "answer", "id": 3, "choice": "keep"}));
}

#[test]
fn failures_have_their_exit_codes_and_say_what_was_done_all_the_same() {
    for (kind, code) in [
        ("NotFound", 1),
        ("ResolutionFailed", 2),
        ("PlanStale", 3),
        ("Locked", 3),
        ("DiskFull", 3),
        ("Network", 4),
        ("Offline", 4),
        ("Untrusted", 5),
        ("NotAuthorized", 5),
    ] {
        let failed = json!({
            "event": "finished", "outcome": "failed", "failure": {"kind": kind, "message": "no\u{1b} luck"},
            "applied": {"items": [serde_json::from_str::<Value>(&applied("install", "a")).expect("JSON")],
                        "restart": {"machine": false, "packages": [], "services": []}, "entry": 9},
        });
        let scene = Scene::new(installs("a"), &format!("tell '{failed}'\nexit 1\n"));
        let (found, text, error) = scene.told(&["install", "a", "-y"]);
        assert_eq!((found, error.as_str()), (code, "omg: no\\u{1b} luck\n"), "{kind}");
        assert!(text.contains("before it failed: 1 installed\nnumber 9 in the history"), "{text}");
        let (found, text, _) = scene.told(&["install", "a", "-y", "--json"]);
        let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
        assert_eq!((found, &last["result"], &last["failure"]["kind"]), (code, &json!("failed"), &json!(kind)));
    }
}

#[test]
fn a_helper_that_ends_without_a_result_is_an_error() {
    let scene = Scene::new(
        installs("a"),
        "tell '{\"event\":\"phase\",\"phase\":\"applying\",\"cancellable\":false}'\nkill -9 $$\n",
    );
    let (code, _, error) = scene.told(&["install", "a", "-y"]);
    assert_eq!(code, 3);
    assert!(error.contains("omg-helper ended without a result (signal: 9"), "{error}");
    // What a later version says is left out.
    let newer = Scene::new(installs("a"), "tell '{\"event\":\"applause\"}'\nsucceed\n");
    let (code, _, error) = newer.told(&["install", "a", "-y"]);
    assert_eq!(code, 0);
    assert!(error.contains("a line is not what was expected"), "{error}");
}

#[test]
fn what_is_due_after_the_change_is_told() {
    let scenario = r#"
tell '{"event":"message","level":"warning","text":"disk nearly full\u0007"}'
tell '{"event":"message","level":"info","text":"a note"}'
tell '{"event":"finished","outcome":"succeeded","items":[],"restart":{"machine":true,"packages":["linux","dbus"],"services":["ssh","cron\u001b"]},"entry":0}'
"#;
    let scene = Scene::new(installs("a"), scenario);
    let (code, text, error) = scene.told(&["install", "a", "-y"]);
    assert_eq!((code, error.as_str()), (0, "omg: disk nearly full\\u{7}\n"));
    assert!(
        text.ends_with(
            "a note\ndone\nthe machine should be restarted for linux, dbus\n\
             still running what was replaced: ssh, cron\\u{1b} (`systemctl restart` renews them)\n"
        ),
        "{text}"
    );
}

#[test]
fn nothing_hostile_in_a_plan_reaches_the_terminal() {
    let mut hostile = item("install", "a\u{1b}[2Jb", "", "1\u{202e}");
    hostile.5 = "evil\u{9b}".into();
    let plan = CannedPlan {
        items: vec![hostile],
        held_back: vec![("x\u{7}".into(), "all".into(), "1".into(), "2\n3".into(), "why\u{1b}".into())],
        unneeded: vec!["u\u{1b}".into()],
        risks: vec!["untrusted:a\u{1b}".into()],
        notes: vec!["note\u{1b}]0;t\u{7}".into()],
        decisions: vec![("why\u{1b}".into(), "d\u{7}".into(), vec!["a".into()], "a".into(), "c\u{9b}".into())],
    };
    let scene = Scene::new(plan, "");
    let piped = scene.told(&["install", "a", "--dry-run"]).1;
    let (_, shown) = scene.on_terminal(&["install", "a", "--dry-run"]).end();
    assert!(piped.contains("unneeded\tu\\u{1b}\n"), "{piped}");
    for text in [piped, shown] {
        for escaped in ["a\\u{1b}[2Jb", "1\\u{202e}", "evil\\u{9b}", "x\\u{7}", "2\\u{a}3", "note\\u{1b}"] {
            assert!(text.contains(escaped), "{escaped}: {text}");
        }
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{9b}', '\u{7}']), "{text:?}");
    }
    let (code, _, error) = scene.told(&["install", "a", "-y"]);
    assert_eq!(code, 2);
    assert!(error.contains("untrusted (a\\u{1b})"), "{error}");
}

#[test]
fn a_conflict_is_asked_about_on_a_terminal_and_only_a_yes_plans_with_it() {
    let conflict = |choice: &str| {
        let choices = vec!["yes".to_owned(), "no".to_owned()];
        ("conflict".to_owned(), "rival:p2".to_owned(), choices, "no".to_owned(), choice.to_owned())
    };
    let plan = CannedPlan { decisions: vec![conflict("yes")], ..installs("rival") };
    let scene = Scene::new(plan.clone(), "");
    let mut terminal = scene.on_terminal(&["install", "rival"]);
    terminal.wait_for("rival conflicts with p2, which is installed; remove p2? [y/N] ").enter("y");
    terminal.wait_for("Go on? [Y/n] ").enter("n");
    terminal.end();
    let answers = scene.canned.seen().options.iter().find(|(key, _)| key == "answers").map(|(_, value)| value.clone());
    assert!(answers.as_ref().is_some_and(|answers| answers.contains("conflict")), "{answers:?}");
    let scene = Scene::new(plan, "");
    let mut terminal = scene.on_terminal(&["install", "rival"]);
    terminal.wait_for("remove p2? [y/N] ").enter("");
    let (_, text) = terminal.end();
    assert!(!text.contains("Go on?"), "{text}");
    // Nobody is asked without one, and -y takes the default.
    let (code, _, error) = scene.told(&["install", "rival", "--dry-run"]);
    assert_eq!((code, error.as_str()), (2, "omg: rival and p2 conflict\n"));
    let (code, text, _) = scene.told(&["install", "rival", "--dry-run", "--answer", "conflict:rival:p2=yes"]);
    assert_eq!(code, 0);
    assert!(text.contains("decision\tconflict:rival:p2\tyes\tno\tyes,no\n"), "{text}");
    let (code, _, error) = scene.told(&["install", "rival", "--answer", "root=yes"]);
    assert_eq!(code, 2);
    assert!(error.contains("is no question"), "{error}");
}

#[test]
fn package_files_travel_as_descriptors() {
    let scenario = r#"
fd=$(sed 's/.*"files":\[\([0-9]*\)\].*/\1/' "$here/request")
cat "/proc/self/fd/$fd" >"$here/received"
succeed
"#;
    let scene = Scene::new(installs("tool"), scenario);
    scene.write("tool_1.0_all.deb", "a package");
    let (code, _, error) = scene.told(&["install", "./tool_1.0_all.deb", "-y"]);
    assert_eq!(scene.planned(), [("install-file".to_owned(), "tool_1.0_all.deb".to_owned())]);
    assert_eq!(scene.canned.seen().files, ["a package"]);
    if rustix::process::geteuid().is_root() {
        assert_eq!((code, error.as_str()), (0, ""));
        assert_eq!(scene.read("received").as_deref(), Some("a package"));
    } else {
        assert_eq!(code, 5);
        assert!(error.contains("run omg itself with sudo"), "{error}");
    }
    assert_eq!(scene.told(&["install", "./none.deb", "-y"]).0, 1);
    assert_eq!(scene.told(&["install", ".", "-y"]).0, 2);
}

#[test]
fn doctor_finishes_what_was_interrupted_before_it_looks() {
    let plan = CannedPlan { items: vec![item("configure", "vim", "9", "9")], ..CannedPlan::default() };
    let scene = Scene::new(plan, &format!("succeed '{}'", applied("configure", "vim")));
    let (_, text, _) = scene.told(&["doctor", "--fix", "-y"]);
    assert_eq!(scene.planned(), [("repair".to_owned(), String::new())]);
    assert!(text.contains("1 configured\n") && text.contains("ok    backend: apt\n"), "{text}");
}

#[test]
fn the_lists_are_fetched_and_what_they_bring_is_told() {
    let scenario = "tell '{\"event\":\"phase\",\"phase\":\"fetching\",\"cancellable\":true}'\nsucceed\n";
    let scene = Scene::new(CannedPlan::default(), scenario);
    let (code, text, error) = scene.told(&["refresh"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert_eq!(text, "Fetching\n2 upgrades, 1 with security fixes (`omg upgrade`)\n");
    assert_eq!(scene.read("arguments").as_deref(), Some("refresh --clean\n"));
}
