//! Zsh 5 and later.

use super::{Memory, Syntax, Unsayable, bash};

pub(super) struct Zsh;

/// What is evaluated is evaluated under `emulate -L zsh`, so options cannot give the quotes another meaning; those of
/// `rc_quotes` would be the same.
impl Syntax for Zsh {
    fn quote(&self, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        bash::Bash.quote(value)
    }

    fn set(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        bash::Bash.set(name, value)
    }

    fn unset(&self, name: &str) -> Vec<u8> {
        bash::Bash.unset(name)
    }

    fn set_path(&self, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        bash::Bash.set_path(value)
    }

    fn remember(&self, memory: &Memory) -> Result<Vec<u8>, Unsayable> {
        bash::Bash.remember(memory)
    }

    fn hook(&self) -> &'static str {
        HOOK
    }
}

/// `chpwd` makes `cd project && node` use the project's, `precmd` notices changed files. A subshell has the process id
/// of its parent, whose stamp it must not touch.
const HOOK: &str = r#"unset __OMG_FOLDER __OMG_STAMP __OMG_WATCHED __OMG_TOLD __OMG_STALE __OMG_PROGRAM
typeset -g __OMG_PROGRAM=@OMG@
typeset -g __OMG_FOLDER= __OMG_STAMP= __OMG_TOLD= __OMG_STALE=
typeset -ga __OMG_WATCHED

__omg_same() {
    emulate -L zsh
    [[ -z $__OMG_STALE && $__OMG_FOLDER == "$PWD" ]] || return 1
    local __omg_file
    for __omg_file in "${__OMG_WATCHED[@]}"; do
        [[ -e $__omg_file && $__OMG_STAMP -nt $__omg_file ]] || return 1
    done
}

__omg_hook() {
    local __omg_code=$?
    emulate -L zsh
    local __omg_script __omg_place=--kept __omg_shell=$$
    [[ $ZSH_SUBSHELL == 0 ]] || __omg_shell=0
    if ! __omg_same && [[ -x $__OMG_PROGRAM ]]; then
        [[ -n $__OMG_FOLDER ]] || __omg_place=--front
        [[ $__OMG_FOLDER == "$PWD" ]] || __OMG_TOLD=
        __OMG_FOLDER=$PWD __OMG_STALE=
        if __omg_script=$("$__OMG_PROGRAM" env --shell zsh --hook "$__omg_shell" --told "$__OMG_TOLD" "$__omg_place"); then
            builtin eval "$__omg_script"
        fi
    fi
    return $__omg_code
}

omg() {
    emulate -L zsh
    local __omg_word __omg_verb= __omg_here= __omg_script __omg_code=0
    for __omg_word in "$@"; do
        case $__omg_word in
        (--) break ;;
        (--shell) __omg_here=yes ;;
        (-*) ;;
        (*) [[ -n $__omg_verb ]] || __omg_verb=$__omg_word ;;
        esac
    done
    if [[ $__omg_verb == use && -n $__omg_here && $ZSH_SUBSHELL == 0 ]]; then
        __omg_script=$(OMG_HOOK_SHELL=zsh "$__OMG_PROGRAM" "$@") || __omg_code=$?
        case $__omg_script in
        ('# omg script'*) builtin eval "$__omg_script" ;;
        (?*) builtin printf '%s\n' "$__omg_script" ;;
        esac
    else
        "$__OMG_PROGRAM" "$@" || __omg_code=$?
    fi
    __OMG_STALE=yes
    return $__omg_code
}

autoload -Uz add-zsh-hook
add-zsh-hook chpwd __omg_hook
add-zsh-hook precmd __omg_hook
__omg_hook
"#;
