//! The command line.
//!
//! One file for each verb; [`args`] is the grammar, [`output`] everything that is printed. A verb that asks the
//! daemon makes one call; the answer is printed and the process ends.

mod args;
mod audit;
mod aur;
mod cache;
mod change;
mod complete;
mod completions;
mod daemon;
mod doctor;
mod failure;
mod history;
mod info;
mod list;
mod man;
mod metrics;
mod near;
pub mod output;
mod paths;
mod rows;
pub mod runtimes;
mod search;
mod status;
mod undo;
mod updates;
mod why;

use std::ffi::OsString;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::dbus::client::{Client, ConnectOptions};
use crate::transaction::Verb as Action;
use args::{CacheAction, Cli, DaemonAction, Global, List, NAME, Verb};
use change::Change;
use change::args::{AuditAction, Doctor, MarkAs};
pub use failure::Failure;
use output::{BAD, Output};
use runtimes::args::RuntimeAction;

/// The grammar of the command line, for completions and manual pages.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Becomes the program whose shim this process was started as; `None` when it was started as itself.
pub fn shim() -> Option<u8> {
    let mut arguments = std::env::args_os();
    let name = runtimes::shims::called_as(&arguments.next()?)?;
    Some(runtimes::shims::run_as(&name, arguments))
}

/// Runs the command that the process was started with and returns its exit code.
pub fn main() -> u8 {
    let words: Vec<OsString> = std::env::args_os().collect();
    let Cli { global, verb } = match parsed_alone(&words).map_or_else(|| Cli::try_parse_from(words), Ok) {
        Ok(cli) => cli,
        Err(misuse) => return misused(&misuse),
    };
    let mut out = Output::new(global.json, global.quiet, global.color.into());
    let options = ConnectOptions::from_env(global.socket);
    let result = run(verb, &options, &mut out);
    if let Err(failure) = &result {
        failure.print_json(&mut out);
    }
    let written = out.finish().map_err(Failure::Output);
    match result.and(written) {
        Ok(()) => 0,
        Err(failure) => {
            if let Some(text) = failure.text() {
                out.note(BAD, &text);
            }
            failure.exit_code()
        }
    }
}

/// The command line where its first word is a verb and nothing is wrong with the rest: read by a grammar of that verb alone.
/// The whole grammar copies the global options into each of its verbs and takes all of it down again, which is a third of
/// what `omg` computes for an ordinary question. `None`: the whole grammar tells, help and errors too.
fn parsed_alone(words: &[OsString]) -> Option<Cli> {
    let word = words.get(1)?;
    let verb = word.to_str().and_then(Verb::often).or_else(|| {
        let all = Verb::augment_subcommands(clap::Command::new(NAME));
        let verb = all.find_subcommand(word).cloned();
        // What is not taken down costs nothing: the process is about to end.
        std::mem::forget(all);
        verb
    });
    let mut alone = Global::augment_args(clap::Command::new(NAME)).subcommand(verb?);
    let matches = alone.try_get_matches_from_mut(words);
    std::mem::forget(alone);
    let mut matches = matches.ok()?;
    let cli = Cli::from_arg_matches_mut(&mut matches).ok();
    std::mem::forget(matches);
    cli
}

/// Tells what is wrong with the arguments, or the help that they ask for. Whoever reads JSON is told in JSON too.
fn misused(misuse: &clap::Error) -> u8 {
    let wants_json = std::env::args_os().skip(1).take_while(|argument| argument != "--").any(|word| word == "--json");
    if misuse.use_stderr() && wants_json {
        let text = misuse.render().to_string();
        let first = text.lines().next().unwrap_or_default();
        let failure =
            Failure::Of(crate::dbus::client::ErrorKind::Invalid, first.trim_start_matches("error: ").to_owned());
        let mut out = Output::new(true, false, anstream::ColorChoice::Never);
        failure.print_json(&mut out);
        // Nobody is left to tell when standard output is closed; the same is told below.
        let _ = out.finish();
    }
    misuse.exit()
}

fn run(verb: Verb, options: &ConnectOptions, out: &mut Output) -> Result<(), Failure> {
    match verb {
        Verb::Search(search) => ask(options, async |client| search::run(client, search, out).await),
        Verb::Info(info) => ask(options, async |client| info::run(client, &info, out).await),
        Verb::List(List { runtime: Some(name), version, available: true, all, limit, .. }) => {
            runtimes::versions::available(options, &name, version.as_deref(), all, limit.limit, out)
        }
        Verb::List(List { runtime: Some(name), .. }) => runtimes::versions::installed(&name, out),
        Verb::List(list) => ask(options, async |client| list::run(client, list, out).await),
        Verb::Explicit(limit) => ask(options, async |client| list::explicit(client, &limit, out).await),
        Verb::Outdated(outdated) => ask(options, async |client| updates::run(client, &outdated, out).await),
        Verb::Owner(owner) => ask(options, async |client| paths::owner(client, &owner, out).await),
        Verb::Files(files) => ask(options, async |client| paths::files(client, &files, out).await),
        Verb::Status => ask(options, async |client| status::run(client, out).await),
        Verb::Why(why) => ask(options, async |client| why::run(client, why, out).await),
        Verb::Metrics => ask(options, async |client| metrics::run(client, out).await),
        Verb::Cache { action: CacheAction::Clear } => act(options, async |client| cache::clear(client, out).await),
        Verb::Complete { runtimes: true, prefix, .. } => complete::runtimes(&prefix, out),
        Verb::Complete { versions_of: Some(runtime), available, prefix, .. } => {
            complete::versions(options, &runtime, available, &prefix, out)
        }
        Verb::Complete { only, prefix, .. } => complete::run(options, only, &prefix, out),
        Verb::Install(install) if install.targets.is_empty() => {
            runtimes::install::project(options, &install.getting, out)
        }
        Verb::Install(install) => aur::install(options, install, out),
        Verb::Remove(remove) => alter(options, Change::remove(remove)?, out),
        Verb::Upgrade(upgrade) => aur::upgrade(options, upgrade, out),
        Verb::Reinstall(reinstall) => alter(options, Change::reinstall(reinstall)?, out),
        Verb::Download(download) => runtime()?.block_on(change::download(download, options, out)),
        Verb::Autoremove(consent) => alter(options, Change::everything(Action::Autoremove, consent)?, out),
        Verb::Clean(consent) => alter(options, Change::everything(Action::Clean, consent)?, out),
        Verb::Hold(named) => alter(options, Change::named(Action::Hold, named)?, out),
        Verb::Unhold(named) => alter(options, Change::named(Action::Unhold, named)?, out),
        Verb::Mark { mark: MarkAs::Explicit(named) } => {
            alter(options, Change::named(Action::MarkExplicit, named)?, out)
        }
        Verb::Mark { mark: MarkAs::Dependency(named) } => {
            alter(options, Change::named(Action::MarkDependency, named)?, out)
        }
        Verb::Refresh(refresh) => act(options, async |client| change::refresh(client, &refresh, out).await),
        Verb::History(history) => ask(options, async |client| history::run(client, history, out).await),
        Verb::Undo(undo) => act(options, async |client| undo::run(client, undo, out).await),
        Verb::Audit { action: AuditAction::Verify { folder } } => audit::verify(&folder, out),
        Verb::Doctor(Doctor { fix, consent }) => {
            if fix {
                alter(options, Change::everything(Action::Repair, consent)?, out)?;
            }
            runtime()?.block_on(doctor::run(options, out))
        }
        Verb::Use(wanted) => runtimes::install::run(options, &wanted, out),
        Verb::Current(current) => runtimes::which::current(&current, out),
        Verb::Which(which) => runtimes::which::which(&which, out),
        Verb::Uninstall(wanted) => runtimes::uninstall::run(options, &wanted, out),
        Verb::Pin(pin) => runtimes::pin::run(&pin, out),
        Verb::Prune(prune) => runtimes::uninstall::prune(options, &prune, out),
        Verb::Runtime { action: RuntimeAction::Keys } => runtimes::keys::run(options, out),
        Verb::Env(env) => runtimes::env::run(&env, out),
        Verb::Exec(exec) => runtimes::exec::run(options, &exec, out),
        Verb::Hook(hook) => runtimes::hook::run(&hook, out),
        Verb::Shims(shims) => runtimes::shims::run(&shims, out),
        Verb::Daemon { action: DaemonAction::Status } => runtime()?.block_on(daemon::status(options, out)),
        Verb::Daemon { action: DaemonAction::Stop } => runtime()?.block_on(daemon::stop(options, out)),
        Verb::Daemon { action: DaemonAction::Logs } => daemon::logs(out),
        Verb::Completions { shell } => completions::run(shell, out),
        Verb::Man { dir } => man::run(dir.as_deref(), out),
    }
}

fn alter(options: &ConnectOptions, change: Change, out: &mut Output) -> Result<(), Failure> {
    if change.can_be_done_at_once(options) {
        return runtime()?.block_on(change::run_at_once(change, options, out));
    }
    act(options, async |client| change::run(client, change, out).await)
}

/// One connection for one verb that only looks at packages: its call goes out with the greeting. A single thread does:
/// starting more would cost more than the call.
fn ask<T>(options: &ConnectOptions, verb: impl AsyncFnOnce(&mut Client) -> Result<T, Failure>) -> Result<T, Failure> {
    let runtime = runtime()?;
    let result = runtime.block_on(async { with(Client::connect_and_call(options).await?, verb).await });
    // The process is about to end, which frees all that it has at once; piece by piece it takes as long as printing the answer.
    std::mem::forget(runtime);
    result
}

/// One connection for any other verb.
fn act<T>(options: &ConnectOptions, verb: impl AsyncFnOnce(&mut Client) -> Result<T, Failure>) -> Result<T, Failure> {
    runtime()?.block_on(async { with(Client::connect(options).await?, verb).await })
}

async fn with<T>(mut client: Client, verb: impl AsyncFnOnce(&mut Client) -> Result<T, Failure>) -> Result<T, Failure> {
    let result = verb(&mut client).await;
    client.close().await;
    result
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| Failure::Internal(format!("cannot start the event loop: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_verb_alone_reads_as_the_whole_grammar_does() {
        for line in [
            "omg search --exact a b --json --limit 0",
            "omg s a -q --color never",
            "omg info bash --socket /x/y",
            "omg list --explicit",
            "omg list node 20 --available --all",
            "omg install -y a b --allow-downgrade",
            "omg i",
            "omg use node@20 --shell",
            "omg mark explicit a --json",
            "omg cache --json clear",
            "omg exec node@20 --no-install -- sh -c --json",
            "omg env --hook 7 --told 00 --kept --shell zsh",
            "omg daemon stop",
            "omg status",
        ] {
            let whole = Cli::try_parse_from(words(line)).map_err(|error| error.to_string());
            let alone = parsed_alone(&words(line));
            assert_eq!(alone.map(|cli| format!("{cli:?}")), whole.ok().map(|cli| format!("{cli:?}")), "{line}");
        }
        let told = parsed_alone(&words("omg search a --json")).map(|cli| cli.global.json);
        assert_eq!(told, Some(true));
    }

    #[test]
    fn the_whole_grammar_tells_what_is_wrong_and_helps() {
        for line in [
            "omg",
            "omg --json search a",
            "omg --version",
            "omg help search",
            "omg nonsense",
            "omg search --help",
            "omg info",
            "omg list --nonsense",
        ] {
            assert!(parsed_alone(&words(line)).is_none(), "{line}");
        }
    }
}
