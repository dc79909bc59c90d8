//! `omg complete`, which the completion scripts call

use super::Failure;
use super::args::Only;
use super::output::Output;
use super::rows::display_name;
use crate::dbus::client::{Client, ConnectOptions};
use crate::package::ListQuery;

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
