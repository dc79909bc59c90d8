//! Bash 4.4 and later.

use std::os::unix::ffi::OsStrExt;

use super::{Memory, Syntax, Unsayable, bytes_of, listed, single_quoted};

pub(super) struct Bash;

/// Between single quotes nothing has a meaning but the quote itself.
pub(super) fn quote(value: &[u8]) -> Vec<u8> {
    single_quoted(value, |byte| (byte == b'\'').then_some(br"'\''"))
}

impl Syntax for Bash {
    fn quote(&self, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        Ok(quote(value))
    }

    fn set(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        Ok([b"export ", name.as_bytes(), b"=", &quote(value), b"\n"].concat())
    }

    fn unset(&self, name: &str) -> Vec<u8> {
        format!("unset {name}\n").into_bytes()
    }

    fn set_path(&self, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        self.set("PATH", value)
    }

    fn remember(&self, memory: &Memory) -> Result<Vec<u8>, Unsayable> {
        let stamp = memory.stamp.as_ref().map_or(&b""[..], |stamp| stamp.as_os_str().as_bytes());
        let watched = listed(self, bytes_of(&memory.watched), b" ")?;
        let told = quote(memory.told.as_bytes());
        Ok([b"__OMG_STAMP=", &*quote(stamp), b"\n__OMG_WATCHED=(", &watched, b")\n__OMG_TOLD=", &told, b"\n"].concat())
    }

    fn hook(&self) -> &'static str {
        HOOK
    }
}

/// Where nothing changed, a prompt costs some comparisons and no process. A loop's variable is no name that a user
/// exports, and `$?` is left as it was.
const HOOK: &str = r#"unset __OMG_PROGRAM __OMG_FOLDER __OMG_STAMP __OMG_WATCHED __OMG_TOLD __OMG_STALE
__OMG_PROGRAM=@OMG@
__OMG_WATCHED=()

__omg_same() {
    [[ -z ${__OMG_STALE-} && ${__OMG_FOLDER-} == "$PWD" ]] || return 1
    local __omg_file
    for __omg_file in ${__OMG_WATCHED[@]+"${__OMG_WATCHED[@]}"}; do
        [[ -e $__omg_file && $__OMG_STAMP -nt $__omg_file ]] || return 1
    done
}

__omg_hook() {
    local __omg_code=$? __omg_script __omg_place=--kept
    if ! __omg_same && [[ -x $__OMG_PROGRAM ]]; then
        [[ -n ${__OMG_FOLDER-} ]] || __omg_place=--front
        [[ ${__OMG_FOLDER-} == "$PWD" ]] || __OMG_TOLD=
        __OMG_FOLDER=$PWD __OMG_STALE=
        if __omg_script=$("$__OMG_PROGRAM" env --shell bash --hook "$$" --told "$__OMG_TOLD" "$__omg_place"); then
            \builtin eval "$__omg_script"
        fi
    fi
    return "$__omg_code"
}

omg() {
    local __omg_word __omg_verb= __omg_here= __omg_script __omg_code=0
    for __omg_word in "$@"; do
        case $__omg_word in
        --) break ;;
        --shell) __omg_here=yes ;;
        -*) ;;
        *) [[ -n $__omg_verb ]] || __omg_verb=$__omg_word ;;
        esac
    done
    if [[ $__omg_verb == use && -n $__omg_here && $BASH_SUBSHELL == 0 ]]; then
        __omg_script=$(OMG_HOOK_SHELL=bash "$__OMG_PROGRAM" "$@") || __omg_code=$?
        case $__omg_script in
        '# omg script'*) \builtin eval "$__omg_script" ;;
        ?*) \builtin printf '%s\n' "$__omg_script" ;;
        esac
    else
        "$__OMG_PROGRAM" "$@" || __omg_code=$?
    fi
    __OMG_STALE=yes
    return "$__omg_code"
}

case ${PROMPT_COMMAND[*]-} in
*__omg_hook*) ;;
*)
    if [[ "$(declare -p PROMPT_COMMAND 2>/dev/null)" == 'declare -a'* ]]; then
        PROMPT_COMMAND=(__omg_hook "${PROMPT_COMMAND[@]}")
    else
        PROMPT_COMMAND=__omg_hook${PROMPT_COMMAND:+$'\n'$PROMPT_COMMAND}
    fi
    ;;
esac
__omg_hook
"#;
