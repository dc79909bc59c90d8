//! Fish 3.2 and later.

use std::os::unix::ffi::OsStrExt;

use super::{Memory, Syntax, Unsayable, bytes_of, listed, single_quoted};

pub(super) struct Fish;

/// Between single quotes a backslash escapes the quote and itself.
fn quote(value: &[u8]) -> Vec<u8> {
    single_quoted(value, |byte| match byte {
        b'\'' => Some(br"\'"),
        b'\\' => Some(br"\\"),
        _ => None,
    })
}

impl Syntax for Fish {
    fn quote(&self, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        Ok(quote(value))
    }

    fn set(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        Ok([b"set -gx ", name.as_bytes(), b" ", &quote(value), b"\n"].concat())
    }

    fn unset(&self, name: &str) -> Vec<u8> {
        format!("set -e {name}\n").into_bytes()
    }

    fn set_path(&self, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        let entries = listed(self, value.split(|byte| *byte == b':'), b" ")?;
        Ok([b"set -gx PATH ", entries.as_slice(), b"\n"].concat())
    }

    fn remember(&self, memory: &Memory) -> Result<Vec<u8>, Unsayable> {
        let stamp = memory.stamp.as_ref().map_or(&b""[..], |stamp| stamp.as_os_str().as_bytes());
        let watched = listed(self, bytes_of(&memory.watched), b" ")?;
        let told = quote(memory.told.as_bytes());
        let parts =
            [b"set -g __omg_stamp ", &*quote(stamp), b"\nset -g __omg_watched ", &watched, b"\nset -g __omg_told "];
        Ok([parts.concat().as_slice(), &told, b"\n"].concat())
    }

    fn hook(&self) -> &'static str {
        HOOK
    }
}

/// An event's function leaves `$status` as it was. Inside a command substitution PATH would stay changed after it.
const HOOK: &str = r#"for __omg_name in __omg_program __omg_folder __omg_stamp __omg_watched __omg_told __omg_stale
    set -e $__omg_name
    set -gu $__omg_name
end
set -e __omg_name
set -g __omg_program @OMG@

function __omg_same
    test -z "$__omg_stale"; and test "$__omg_folder" = "$PWD"; or return 1
    for __omg_file in $__omg_watched
        test -e "$__omg_file"; and test "$__omg_stamp" -nt "$__omg_file"; or return 1
    end
    return 0
end

function __omg_hook --on-variable PWD --on-event fish_prompt
    status is-command-substitution; and return
    __omg_same; and return
    test -x "$__omg_program"; or return
    set -l place --kept
    test -n "$__omg_folder"; or set place --front
    test "$__omg_folder" = "$PWD"; or set -g __omg_told
    set -g __omg_folder "$PWD"
    set -g __omg_stale
    command $__omg_program env --shell fish --hook $fish_pid --told "$__omg_told" $place | source
end

function omg
    set -l verb
    set -l here
    for word in $argv
        switch "$word"
            case '--'
                break
            case '--shell'
                set here yes
            case '-*'
            case '*'
                test -n "$verb"; or set verb "$word"
        end
    end
    set -l code 0
    if test "$verb" = use; and test -n "$here"; and not status is-command-substitution
        set -l script (OMG_HOOK_SHELL=fish command $__omg_program $argv | string collect)
        set code $pipestatus[1]
        if string match -q -- '# omg script*' "$script"
            printf '%s\n' "$script" | source
        else if test -n "$script"
            printf '%s\n' "$script"
        end
    else
        command $__omg_program $argv
        set code $status
    end
    set -g __omg_stale yes
    return $code
end

__omg_hook
"#;
