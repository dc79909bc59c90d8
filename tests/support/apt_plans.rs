//! Plans of `omg-helper`, and what `apt-get -s` says about the same request.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use omg::transaction::{Action, Answer, Change, Failure, Options, Plan, Request, Verb};

use crate::apt_root::{AptRoot, helper};

/// Verbs and targets as a request.
pub fn request(actions: &[(Verb, &str)]) -> Request {
    let actions = actions.iter().map(|(verb, target)| Action::new(*verb, *target).unwrap()).collect();
    Request { actions, options: Options::default(), files: Vec::new(), digest: None }
}

/// The helper's answer to a request; it must give one.
pub fn answer(command: &mut Command, request: &Request) -> Result<Plan, Failure> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = serde_json::to_vec(request).unwrap();
    line.push(b'\n');
    child.stdin.take().unwrap().write_all(&line).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{request:?}: {}\n{errors}", output.status);
    match serde_json::from_slice(&output.stdout).unwrap() {
        Answer::Plan(plan) => Ok(*plan),
        Answer::Failed(failure) => Err(failure),
    }
}

/// The plan for a request on a root.
pub fn plan(root: &AptRoot, request: &Request) -> Result<Plan, Failure> {
    let mut command = helper();
    command.args(["plan", "--backend", "apt", "--root"]).arg(root.path());
    answer(&mut command, request)
}

/// Changes as `apt-get -s` writes them: the word, full name, installed version, new version.
pub type Lines = BTreeSet<(String, String, String, String)>;

/// The changes of a plan.
pub fn lines(plan: &Plan, native: &str) -> Lines {
    plan.items
        .iter()
        .filter_map(|item| {
            let word = match item.change {
                Change::Install | Change::Upgrade | Change::Downgrade | Change::Reinstall => "Inst",
                Change::Remove => "Remv",
                Change::Purge => "Purg",
                _ => return None,
            };
            let name = if item.arch == native { item.name.clone() } else { format!("{}:{}", item.name, item.arch) };
            Some((word.to_owned(), name, item.from.clone(), item.to.clone()))
        })
        .collect()
}

/// The changes in what `apt-get -s` printed.
pub fn said(text: &str) -> Lines {
    text.lines()
        .filter_map(|line| {
            let (word, rest) = line.split_once(' ').filter(|(word, _)| matches!(*word, "Inst" | "Remv" | "Purg"))?;
            let mut words = rest.split(' ').peekable();
            let name = words.next()?.to_owned();
            let bare = |word: &str| word.trim_matches(['[', ']', '(', ')']).to_owned();
            let from = words.next_if(|word| word.starts_with('[') && *word != "[").map(bare).unwrap_or_default();
            let to = words.next_if(|word| word.starts_with('(')).map(bare).unwrap_or_default();
            Some((word.to_owned(), name, from, to))
        })
        .collect()
}

/// How many packages `apt-get` says it would install in any way, and how many it would remove.
fn counts(text: &str) -> Option<(usize, usize)> {
    // 1 upgraded, 2 newly installed, 1 reinstalled, 1 downgraded, 0 to remove and 3 not upgraded.
    let line = text.lines().find(|line| line.contains(" newly installed, ") && line.contains(" to remove and "))?;
    let (installed, rest) = line.rsplit_once(", ")?;
    let number = |part: &str| part.split(' ').next()?.parse::<usize>().ok();
    Some((installed.split(", ").filter_map(number).sum(), number(rest)?))
}

/// Fails unless the helper and `apt-get -s` come to the same: the same changes, or none because it cannot be.
pub fn assert_same(ours: &Result<Plan, Failure>, theirs: &Output, native: &str, context: &str) {
    let text = String::from_utf8_lossy(&theirs.stdout);
    let errors = String::from_utf8_lossy(&theirs.stderr);
    let said = said(&text);
    // What fails in finding an order for the changes was resolved all the same, and is counted.
    let counts = counts(&text);
    let resolved = theirs.status.success() || counts.is_some();
    match ours {
        Ok(plan) if !theirs.status.success() && said.is_empty() && counts.is_some() => {
            let lines = lines(plan, native);
            let removed = lines.iter().filter(|(word, ..)| word != "Inst").count();
            assert_eq!(counts, Some((lines.len() - removed, removed)), "{context}: {lines:?}\n{text}{errors}");
        }
        Ok(plan) => {
            assert!(resolved, "{context}: apt-get refuses, the plan is {:?}\n{text}{errors}", lines(plan, native));
            let lines = lines(plan, native);
            let ours: Vec<_> = lines.difference(&said).collect();
            let theirs: Vec<_> = said.difference(&lines).collect();
            assert!(
                ours.is_empty() && theirs.is_empty(),
                "{context}: only in the plan {ours:?}, only said by apt-get {theirs:?}\n{text}{errors}"
            );
        }
        Err(failure) => assert!(!resolved, "{context}: there is no plan ({failure}), apt-get says\n{text}{errors}"),
    }
}
