//! `omg complete`, which the completion scripts call

use std::collections::BTreeSet;

use super::Failure;
use super::args::Only;
use super::output::Output;
use super::rows::display_name;
use super::runtimes::paths;
use crate::dbus::client::{Client, ConnectOptions};
use crate::package::ListQuery;
use crate::runtime::{Layout, Native, Runtime};

/// More names help nobody to choose.
const LIMIT: u32 = 200;

/// Prints the names that start with `prefix`, one a line. Whatever goes wrong, there are no names and no error: a
/// message would land in the line that is being typed.
pub fn run(options: &ConnectOptions, only: Option<Only>, prefix: &str, out: &mut Output) -> Result<(), Failure> {
    let names = super::runtime()?.block_on(async {
        let mut client = Client::connect_and_call(options).await.ok()?;
        let names = match only {
            None => client.suggest(prefix, LIMIT).await.ok(),
            Some(only) => in_state(&mut client, only, prefix).await,
        };
        client.close().await;
        names
    });
    for name in names.iter().flatten().filter(|name| is_plain(name)) {
        out.line(name);
    }
    Ok(())
}

/// Prints the names of runtimes that start with `prefix`: those that omg itself installs, and those that are installed.
pub fn runtimes(prefix: &str, out: &mut Output) -> Result<(), Failure> {
    let layout = Layout::new(&paths().data_dir);
    let mut names: BTreeSet<String> = Native::ALL.into_iter().map(|native| native.as_str().to_owned()).collect();
    names.extend(layout.runtimes().unwrap_or_default().iter().map(|runtime| runtime.as_str().to_owned()));
    for name in names.iter().filter(|name| name.starts_with(prefix)) {
        out.line(name);
    }
    Ok(())
}

/// Prints what versions of a runtime may be called, where it starts with `prefix`: the words that it knows and those that are
/// installed, the newest first; with `available` also what is known to be there, without asking a server.
pub fn versions(
    options: &ConnectOptions,
    runtime: &str,
    available: bool,
    prefix: &str,
    out: &mut Output,
) -> Result<(), Failure> {
    let Ok(runtime) = Runtime::parse(runtime) else { return Ok(()) };
    let mut found: Vec<String> = Vec::new();
    if available {
        let words: &[&str] = match runtime.native() {
            Some(Native::Node | Native::Java) => &["latest", "lts"],
            Some(Native::Rust) => &["stable", "beta", "nightly"],
            _ => &["latest"],
        };
        found.extend(words.iter().map(|word| (*word).to_owned()));
    }
    let installed = Layout::new(&paths().data_dir).installed(&runtime).unwrap_or_default();
    found.extend(installed.iter().rev().map(|version| version.as_str().to_owned()));
    if available {
        let known = super::runtime()?.block_on(async {
            let mut client = Client::connect(options).await.ok()?;
            let known = client.runtime_available(&runtime).await.ok();
            client.close().await;
            known
        });
        found.extend(known.into_iter().flatten().rev().map(|known| known.version));
    }
    let mut told = BTreeSet::new();
    let fitting = found.iter().filter(|name| name.starts_with(prefix) && is_plain(name));
    for name in fitting.filter(|name| told.insert(*name)).take(LIMIT as usize) {
        out.line(name);
    }
    Ok(())
}

/// The names of packages in this state.
async fn in_state(client: &mut Client, only: Only, prefix: &str) -> Option<Vec<String>> {
    let mut query = ListQuery::default();
    *match only {
        Only::Installed => &mut query.installed,
        Only::Upgradable => &mut query.upgradable,
        Only::Held => &mut query.held,
    } = Some(true);
    let rows = client.list(&query).await.ok()?;
    let names = rows.iter().map(|row| display_name(&row.name, &row.arch, row.flags).into_owned());
    Some(names.filter(|name| name.starts_with(prefix)).take(usize::try_from(LIMIT).unwrap_or(usize::MAX)).collect())
}

/// Names that no shell can take for anything else; all that packaging policies allow is among them.
fn is_plain(name: &str) -> bool {
    !name.starts_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_' | b'@' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_shell_could_run_are_left_out() {
        for name in ["g++-12", "libc6:i386", "0ad", "gtk+extra_2@x.y"] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["$(reboot)", "a b", "a;b", "`x`", "a\nb", "-rf", "é", "a'b", "\u{1b}[0m"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
