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
fn an_audit_log_without_entries_is_not_called_sound() {
    let scene = Scene::new(CannedPlan::default(), "");
    let folder = scene.folder.path().join("none").display().to_string();
    let (code, text, error) = scene.told(&["audit", "verify", &folder]);
    assert_eq!((code, text.as_str()), (1, ""));
    assert_eq!(error, format!("omg: there is no log in {folder}: nothing was recorded yet, or the log is elsewhere\n"));
}
