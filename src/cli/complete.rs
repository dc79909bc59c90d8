//! `omg complete`, which the completion scripts call

use super::Failure;
use super::output::Output;
use crate::dbus::client::{Client, ConnectOptions};

/// More names help nobody to choose.
const LIMIT: u32 = 200;

/// Prints the names that start with `prefix`, one a line. Whatever goes wrong, there are no names and no error: a
/// message would land in the line that is being typed.
pub fn run(options: &ConnectOptions, prefix: &str, out: &mut Output) -> Result<(), Failure> {
    let names = super::runtime()?.block_on(async {
        let mut client = Client::connect(options).await.ok()?;
        let names = client.suggest(prefix, LIMIT).await.ok();
        client.close().await;
        names
    });
    for name in names.iter().flatten().filter(|name| is_plain(name)) {
        out.line(name);
    }
    Ok(())
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
