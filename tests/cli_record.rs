//! The verbs that look back: the history, undo, the audit log.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, dead_code)]

#[path = "support/fake_manager.rs"]
mod fake_manager;
#[path = "support/scene.rs"]
mod scene;
#[path = "support/terminal.rs"]
mod terminal;

use fake_manager::{CannedPlan, HistoryRow};
use scene::{Scene, installs};
use serde_json::{Value, json};

fn history() -> Vec<HistoryRow> {
    let change = |change: &str, name: &str, from: &str, to: &str| {
        let explicit = !name.starts_with("lib");
        (change.into(), name.into(), "all".into(), from.into(), to.into(), "bookworm/main".into(), explicit)
    };
    let row = |id, standing: &str, actions: &[(&str, &str)], items| {
        let actions = actions.iter().map(|(verb, target)| ((*verb).into(), (*target).into())).collect();
        (id, 1_709_251_200, 1_709_251_260, 0, "sudo".into(), actions, standing.to_owned(), items, String::new())
    };
    vec![
        row(9, "interrupted", &[("upgrade-all", "")], vec![change("upgrade", "vim", "9.0", "9.1")]),
        row(7, "succeeded", &[("purge", "nano")], vec![change("purge", "nano", "7.2", "")]),
        row(5, "failed", &[("upgrade-all", "")], vec![change("upgrade", "vim\u{7}", "8.0", "9.0")]),
        row(
            3,
            "succeeded",
            &[("install", "ripgrep"), ("remove", "ack")],
            vec![
                change("install", "ripgrep", "", "13.0"),
                change("upgrade", "libpcre", "8.38", "8.39"),
                change("remove", "ack", "3.6", ""),
            ],
        ),
        row(2, "succeeded", &[("hold", "git")], vec![change("hold", "git", "2.1", "2.1")]),
        row(1, "succeeded", &[("clean", "")], vec![]),
    ]
}

#[test]
fn the_history_is_listed_and_shown() {
    let scene = Scene::with_history(CannedPlan::default(), history(), "");
    let (code, text, _) = scene.told(&["history", "--limit", "2"]);
    assert_eq!(
        (code, text.as_str()),
        (
            0,
            "9\t2024-03-01 00:00 UTC\troot\tinterrupted\tupgrade-all\t1\t-\n\
             7\t2024-03-01 00:00 UTC\troot\tsucceeded\tpurge nano\t1\t-\n"
        )
    );
    assert_eq!(scene.told(&["history", "-q"]).1, "9\n7\n5\n3\n2\n1\n");
    assert_eq!(scene.told(&["history", "show", "5"]).1, "upgrade\tvim\\u{7}\t8.0\t9.0\tbookworm/main\n");
    let (_, shown) = scene.on_terminal(&["history", "show", "3"]).end();
    for part in ["By       root, with sudo", "Actions  install ripgrep, remove ack", "install  ripgrep"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let (_, listed) = scene.on_terminal(&["history"]).end();
    assert!(listed.starts_with("NUMBER  WHEN") && listed.lines().count() == 7, "{listed}");
    let entry: Value = serde_json::from_str(&scene.told(&["history", "show", "2", "--json"]).1).expect("JSON");
    assert_eq!((&entry["id"], &entry["actions"]), (&json!(2), &json!([["hold", "git"]])));
    let (code, _, error) = scene.told(&["history", "show", "4"]);
    assert_eq!((code, error.as_str()), (1, "omg: there is no transaction 4; `omg history` lists them\n"));
}

#[test]
fn undo_plans_the_inverse_with_the_versions_of_the_history() {
    let scene = Scene::with_history(installs("x"), history(), "succeed");
    let undone = |number: &str| {
        let (code, _, error) = scene.told(&["undo", number, "-y"]);
        let actions = scene.planned().iter().map(|(verb, target)| format!("{verb} {target}")).collect::<Vec<_>>();
        (code, actions.join(", "), error)
    };
    let back = "remove ripgrep, install libpcre=8.38, mark-dependency libpcre, install ack=3.6";
    assert_eq!(undone("3"), (0, back.into(), String::new()));
    assert_eq!(undone("2"), (0, "unhold git".into(), String::new()));
    // Without a number it is the newest one.
    let (code, _, error) = scene.told(&["undo", "-y"]);
    assert_eq!((code, error.contains("transaction 9 cannot be taken back: it was interrupted")), (2, true), "{error}");
    let lost = "omg: the configuration files of nano are gone; they come back as new\n";
    assert_eq!(undone("7"), (0, "install nano=7.2".into(), lost.into()));
    let plans = scene.canned.seen().plans.len();
    for (number, code, why) in [
        ("1", 2, "transaction 1 cannot be taken back: it changed nothing"),
        ("9", 2, "it was interrupted"),
        ("5", 2, "is no package"),
        ("4", 1, "there is no transaction 4"),
    ] {
        let (found, _, error) = scene.told(&["undo", number, "-y"]);
        assert_eq!(found, code, "{error}");
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(scene.canned.seen().plans.len(), plans, "nothing of that is planned");
}

#[test]
fn the_audit_log_is_verified_and_damage_is_an_error() {
    use omg::security::audit::{AuditLog, Ending, Readers, Record};
    use omg::transaction::{Actor, Via};
    let scene = Scene::new(CannedPlan::default(), "");
    let folder = scene.folder.path().join("audit");
    let log = AuditLog::new(&folder, Readers::Everyone);
    for uid in 0..3 {
        let actor = Actor { uid, via: Via::Root };
        log.append(&Record::Refreshed { actor, ending: Ending::Succeeded, message: String::new() }).expect("appended");
    }
    let shown = folder.to_str().expect("UTF-8");
    let (code, text, error) = scene.told(&["audit", "verify", shown]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(text.starts_with("3 entries, none of them changed\n"), "{text}");
    let file = folder.join("audit.jsonl");
    let changed = std::fs::read_to_string(&file).expect("read").replace("\"uid\":1", "\"uid\":2");
    std::fs::write(&file, changed).expect("written");
    let (code, text, error) = scene.told(&["audit", "verify", shown]);
    assert_eq!((code, text.as_str()), (3, ""));
    assert!(error.contains("is not sound: line 2: the entry was changed"), "{error}");
    let (code, text, _) = scene.told(&["audit", "verify", shown, "--json"]);
    assert_eq!((code, text.as_str()), (3, "{\"sound\":false,\"finding\":\"line 2: the entry was changed\"}\n"));
}
