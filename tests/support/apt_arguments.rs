//! How `apt-get` is asked what a request asks.

use omg::transaction::{Action, Request, Verb};

/// The options, the command and its targets.
pub fn arguments(request: &Request) -> Vec<String> {
    let verbs: Vec<Verb> = request.actions.iter().map(Action::verb).collect();
    let has = |verb| verbs.contains(&verb);
    let mut arguments: Vec<String> = Vec::new();
    match request.options.recommends {
        Some(true) => arguments.push("--install-recommends".into()),
        Some(false) => arguments.push("--no-install-recommends".into()),
        None => {}
    }
    if has(Verb::Reinstall) {
        arguments.push("--reinstall".into());
    }
    if has(Verb::Upgrade) {
        arguments.push("--only-upgrade".into());
    }
    if has(Verb::Repair) {
        arguments.push("--fix-broken".into());
    }
    let command = if has(Verb::FullUpgrade) {
        "dist-upgrade"
    } else if has(Verb::UpgradeAll) {
        arguments.push("--with-new-pkgs".into());
        "upgrade"
    } else if has(Verb::Purge) && !has(Verb::Remove) {
        "purge"
    } else if has(Verb::Autoremove) {
        "autoremove"
    } else if verbs.iter().all(|verb| *verb == Verb::Remove) {
        "remove"
    } else {
        "install"
    };
    if has(Verb::Autoremove) {
        arguments.extend(["-o".into(), "APT::Get::AutomaticRemove=true".into()]);
    }
    if has(Verb::Purge) && !has(Verb::Remove) {
        arguments.push("--purge".into());
    }
    arguments.push(command.into());
    let removes_by_default = matches!(command, "remove" | "purge" | "autoremove");
    for action in &request.actions {
        match (action.verb(), removes_by_default) {
            (Verb::Remove | Verb::Purge, false) => arguments.push(format!("{}-", action.target())),
            (Verb::Install | Verb::Reinstall | Verb::Upgrade, true) => arguments.push(format!("{}+", action.target())),
            (verb, _) if verb.takes_target() => arguments.push(action.target().to_owned()),
            _ => {}
        }
    }
    arguments
}
