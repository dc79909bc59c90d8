//! What is said to shells.
//!
//! A shell evaluates only text that is fixed here, and values in its quotes. Bash, zsh and fish keep every byte; for
//! nushell and PowerShell a value must be UTF-8.

mod bash;
mod fish;
mod nushell;
mod powershell;
mod zsh;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

/// A shell that `omg hook` has a script for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Also for other shells of the POSIX kind, without a hook.
    #[value(alias = "sh")]
    Bash,
    Zsh,
    Fish,
    #[value(alias = "nu")]
    Nushell,
    #[value(alias = "pwsh")]
    Powershell,
}

/// First line of what the function `omg` of the hooks evaluates. Other output, such as a help text, it prints.
pub const MARK: &str = "# omg script";

/// The variable by which that function says which shell asks.
pub const ASKING: &str = "OMG_HOOK_SHELL";

/// That a shell's language cannot say a value exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsayable;

/// What the hook of a shell remembers until the folder, or one of the files, changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// File whose time is that of the last look; none: only the working directory is compared.
    pub stamp: Option<PathBuf>,
    /// What must be older than it, and not gone. A file of the same time can have changed since: times are those of the
    /// clock's last tick.
    pub watched: Vec<PathBuf>,
    /// Stands for the messages that were shown: hexadecimal digits.
    pub told: String,
}

/// How a shell is talked to. Each statement ends with a line break.
trait Syntax: Sync {
    /// A value in quotes.
    fn quote(&self, value: &[u8]) -> Result<Vec<u8>, Unsayable>;
    /// Sets a variable, and hands it to what the shell starts.
    fn set(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, Unsayable>;
    fn unset(&self, name: &str) -> Vec<u8>;
    /// Sets PATH, given with colons.
    fn set_path(&self, value: &[u8]) -> Result<Vec<u8>, Unsayable>;
    fn remember(&self, memory: &Memory) -> Result<Vec<u8>, Unsayable>;
    /// The hook; `@OMG@` is the program.
    fn hook(&self) -> &'static str;
}

impl Shell {
    fn syntax(self) -> &'static dyn Syntax {
        match self {
            Self::Bash => &bash::Bash,
            Self::Zsh => &zsh::Zsh,
            Self::Fish => &fish::Fish,
            Self::Nushell => &nushell::Nushell,
            Self::Powershell => &powershell::Powershell,
        }
    }

    /// By the name or path of its program, as in `$SHELL`.
    pub fn of_program(program: &OsStr) -> Option<Self> {
        match Path::new(program).file_name()?.as_bytes() {
            b"bash" | b"sh" | b"dash" | b"ash" | b"ksh" | b"mksh" => Some(Self::Bash),
            b"zsh" => Some(Self::Zsh),
            b"fish" => Some(Self::Fish),
            b"nu" | b"nushell" => Some(Self::Nushell),
            b"pwsh" | b"powershell" => Some(Self::Powershell),
            _ => None,
        }
    }

    /// # Errors
    /// [`Unsayable`] where its quotes have no way to keep the value.
    pub fn quote(self, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        self.syntax().quote(value)
    }

    /// The statement that sets, or unsets, a variable.
    ///
    /// # Errors
    /// As [`Self::quote`].
    pub fn change(self, name: &str, value: Option<&[u8]>) -> Result<Vec<u8>, Unsayable> {
        match value {
            Some(value) if name == "PATH" => self.syntax().set_path(value),
            Some(value) => self.syntax().set(name, value),
            None => Ok(self.syntax().unset(name)),
        }
    }

    /// The statements that keep what the hook compares with.
    ///
    /// # Errors
    /// As [`Self::quote`].
    pub fn remember(self, memory: &Memory) -> Result<Vec<u8>, Unsayable> {
        self.syntax().remember(memory)
    }

    /// The script that `eval "$(omg hook …)"` runs; `program` is this one's path.
    ///
    /// # Errors
    /// As [`Self::quote`].
    pub fn hook(self, program: &Path) -> Result<Vec<u8>, Unsayable> {
        let (script, mark) = (self.syntax().hook(), "@OMG@");
        let quoted = self.quote(program.as_os_str().as_bytes())?;
        let (before, after) = script.split_once(mark).unwrap_or((script, ""));
        Ok([before.as_bytes(), &quoted, after.as_bytes()].concat())
    }
}

/// Every character that needs it, as what `escape` makes of it, between single quotes.
fn single_quoted(value: &[u8], escape: impl Fn(u8) -> Option<&'static [u8]>) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(value.len() + 2);
    quoted.push(b'\'');
    for byte in value {
        match escape(*byte) {
            Some(escaped) => quoted.extend_from_slice(escaped),
            None => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// The quoted values, with what `between` them.
fn listed<'a>(
    syntax: &dyn Syntax,
    values: impl IntoIterator<Item = &'a [u8]>,
    between: &[u8],
) -> Result<Vec<u8>, Unsayable> {
    let quoted: Result<Vec<_>, _> = values.into_iter().map(|value| syntax.quote(value)).collect();
    Ok(quoted?.join(between))
}

fn bytes_of(paths: &[PathBuf]) -> impl Iterator<Item = &[u8]> {
    paths.iter().map(|path| path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(shell: Shell, value: &str) -> String {
        String::from_utf8(shell.quote(value.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn each_shell_has_its_own_quotes() {
        let value = "a'b\\c\"$(d)`e`\n";
        assert_eq!(quoted(Shell::Bash, value), "'a'\\''b\\c\"$(d)`e`\n'");
        assert_eq!(quoted(Shell::Zsh, value), "'a'\\''b\\c\"$(d)`e`\n'");
        assert_eq!(quoted(Shell::Fish, value), "'a\\'b\\\\c\"$(d)`e`\n'");
        assert_eq!(quoted(Shell::Nushell, value), "\"a'b\\\\c\\\"$(d)`e`\\u{a}\"");
        assert_eq!(quoted(Shell::Powershell, value), "'a''b\\c\"$(d)`e`\n'");
        // PowerShell takes these for single quotes too.
        assert_eq!(quoted(Shell::Powershell, "\u{2018}\u{2019}\u{201a}\u{201b}").chars().count(), 10);
    }

    #[test]
    fn what_is_not_utf8_is_refused_where_a_script_cannot_have_it() {
        for shell in [Shell::Nushell, Shell::Powershell] {
            assert_eq!(shell.quote(b"\xff"), Err(Unsayable));
            assert_eq!(shell.change("PATH", Some(b"/a:/\xff")), Err(Unsayable));
        }
        assert_eq!(Shell::Bash.quote(b"\xff"), Ok(b"'\xff'".to_vec()));
    }

    #[test]
    fn statements_are_fixed_text_and_quoted_values() {
        let said = |shell: Shell| {
            let path = shell.change("PATH", Some(b"/a b:/c'd")).unwrap();
            let all = [path, shell.change("X", Some(b"$y")).unwrap(), shell.change("Z", None).unwrap()].concat();
            String::from_utf8(all).unwrap()
        };
        let posix = "export PATH='/a b:/c'\\''d'\nexport X='$y'\nunset Z\n";
        assert_eq!(said(Shell::Bash), posix);
        assert_eq!(said(Shell::Zsh), posix);
        assert_eq!(said(Shell::Fish), "set -gx PATH '/a b' '/c\\'d'\nset -gx X '$y'\nset -e Z\n");
        let nushell = "$env.PATH = [\"/a b\", \"/c'd\"]\n$env.X = \"$y\"\nhide-env --ignore-errors Z\n";
        assert_eq!(said(Shell::Nushell), nushell);
        let powershell =
            "$env:PATH = '/a b:/c''d'\n$env:X = '$y'\nRemove-Item -LiteralPath Env:Z -ErrorAction Ignore\n";
        assert_eq!(said(Shell::Powershell), powershell);
    }

    #[test]
    fn a_hook_names_the_program_in_quotes() {
        for shell in Shell::value_variants() {
            let program = "/opt/it's $(here)/omg";
            let script = String::from_utf8(shell.hook(Path::new(program)).unwrap()).unwrap();
            assert!(script.contains(&quoted(*shell, program)), "{shell:?}");
            assert!(!script.contains("@OMG@"), "{shell:?}");
        }
    }

    #[test]
    fn a_shell_is_known_by_its_program() {
        assert_eq!(Shell::of_program(OsStr::new("/usr/bin/zsh")), Some(Shell::Zsh));
        assert_eq!(Shell::of_program(OsStr::new("/bin/sh")), Some(Shell::Bash));
        assert_eq!(Shell::of_program(OsStr::new("pwsh")), Some(Shell::Powershell));
        assert_eq!(Shell::of_program(OsStr::new("/bin/tcsh")), None);
        assert_eq!(Shell::of_program(OsStr::new("")), None);
    }
}
