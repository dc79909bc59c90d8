//! Nushell. It evaluates no text that it reads while it runs: its hook reads JSON.

use super::{Memory, Syntax, Unsayable, listed};

pub(super) struct Nushell;

impl Syntax for Nushell {
    /// Double quotes, in which only a backslash has a meaning.
    fn quote(&self, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        let text = std::str::from_utf8(value).map_err(|_| Unsayable)?;
        let mut quoted = String::with_capacity(text.len() + 2);
        quoted.push('"');
        for character in text.chars() {
            match character {
                '"' | '\\' => quoted.extend(['\\', character]),
                _ if character.is_control() => quoted.push_str(&format!("\\u{{{:x}}}", u32::from(character))),
                _ => quoted.push(character),
            }
        }
        quoted.push('"');
        Ok(quoted.into_bytes())
    }

    fn set(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        Ok([&b"$env."[..], name.as_bytes(), b" = ", &self.quote(value)?, b"\n"].concat())
    }

    fn unset(&self, name: &str) -> Vec<u8> {
        format!("hide-env --ignore-errors {name}\n").into_bytes()
    }

    fn set_path(&self, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        let entries = listed(self, value.split(|byte| *byte == b':'), b", ")?;
        Ok([b"$env.PATH = [", entries.as_slice(), b"]\n"].concat())
    }

    fn remember(&self, _memory: &Memory) -> Result<Vec<u8>, Unsayable> {
        Ok(Vec::new())
    }

    fn hook(&self) -> &'static str {
        HOOK
    }
}

/// `omg hook nushell | save -f ($nu.default-config-dir | path join vendor autoload omg.nu)`, or sourced.
const HOOK: &str = r#"export-env {
    let program = @OMG@
    let changed = {|before, after|
        let place = if $before == null { "--front" } else { "--kept" }
        let answer = (^$program env --json $place | complete)
        if ($answer.stderr | is-not-empty) { print --stderr --no-newline $answer.stderr }
        let told = try { $answer.stdout | from json } catch { null }
        if $told != null {
            for message in ($told.messages? | default []) { print --stderr $"omg: ($message)" }
            let changes = $told.changes?
            if $changes != null {
                if $changes.path != null { $env.PATH = ($changes.path | split row ":") }
                load-env $changes.set
                for name in $changes.unset { hide-env --ignore-errors $name }
            }
        }
    }
    $env.config = ($env.config | upsert hooks.env_change.PWD {|config|
        ($config.hooks?.env_change?.PWD? | default []) | append $changed
    })
}
"#;
