//! `omg completions`: scripts from the grammar, with the daemon's package names

use clap_complete::Shell as Generator;

use super::args::Shell;
use super::output::Output;
use super::{Failure, command};

/// Wraps the generated function: arguments of the verbs that take package names are answered by the daemon.
const BASH: &str = r#"
_omg_packages() {
    local word verb= skip=
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ -n $skip ]]; then
            skip=
            continue
        fi
        case $word in
            --socket|--color) skip=1 ;;
            -*) ;;
            *) verb=$word; break ;;
        esac
    done
    local only=()
    case $verb in
        why|files|remove|r|reinstall|hold|mark) only=(--only installed) ;;
        upgrade|u) only=(--only upgradable) ;;
        unhold) only=(--only held) ;;
    esac
    case $verb in
        search|s|info|why|files|install|i|download|remove|r|upgrade|u|reinstall|hold|unhold|mark)
            case "$2 $3" in
                -*|[./]*|*' --mode'|*' --limit'|*' --color'|*' --socket'|*' --conffiles'|*' --to'|*' mark') ;;
                *)
                    compopt +o bashdefault +o default 2>/dev/null
                    mapfile -t COMPREPLY < <(command omg complete "${only[@]}" -- "$2" 2>/dev/null)
                    return 0
                    ;;
            esac
            ;;
    esac
    _omg "$@"
}

complete -F _omg_packages -o bashdefault -o default omg
"#;

/// Arguments without a hint of their own are package names, which zsh's generator sends to `_default`.
const ZSH: &str = r#"
_omg_packages() {
    local -a names only
    # The generator names the verb, or what is below it, in the context.
    case ${${curcontext##*-command-}%%:*} in
        why|files|remove|r|reinstall|hold|explicit|dependency) only=(--only installed) ;;
        upgrade|u) only=(--only upgradable) ;;
        unhold) only=(--only held) ;;
    esac
    names=(${(f)"$(command omg complete $only -- "$PREFIX" 2>/dev/null)"})
    compadd -a names
}
"#;

const FISH: &str = r#"
for verb in search s info install i download
    complete -c omg -n "__fish_omg_using_subcommand $verb" -f -a '(command omg complete -- (commandline -ct) 2>/dev/null)'
end
for verb in why files remove r reinstall hold
    complete -c omg -n "__fish_omg_using_subcommand $verb" -f \
        -a '(command omg complete --only installed -- (commandline -ct) 2>/dev/null)'
end
for verb in upgrade u
    complete -c omg -n "__fish_omg_using_subcommand $verb" -f \
        -a '(command omg complete --only upgradable -- (commandline -ct) 2>/dev/null)'
end
complete -c omg -n "__fish_omg_using_subcommand unhold" -f \
    -a '(command omg complete --only held -- (commandline -ct) 2>/dev/null)'
complete -c omg -n "__fish_omg_using_subcommand mark; and __fish_seen_subcommand_from explicit dependency" \
    -f -a '(command omg complete --only installed -- (commandline -ct) 2>/dev/null)'
"#;

pub fn run(shell: Shell, out: &mut Output) -> Result<(), Failure> {
    let (name, script) = match shell {
        Shell::Bash => ("bash", generate(Generator::Bash)? + BASH),
        Shell::Zsh => {
            let script = generate(Generator::Zsh)?.replace(":_default'", ":_omg_packages'");
            let (first, rest) = script.split_once('\n').unwrap_or((&script, ""));
            ("zsh", format!("{first}\n{ZSH}{rest}"))
        }
        Shell::Fish => ("fish", generate(Generator::Fish)? + FISH),
    };
    if out.is_json() {
        out.json(&serde_json::json!({"shell": name, "script": script}));
    } else {
        out.file(script.as_bytes());
    }
    Ok(())
}

fn generate(shell: Generator) -> Result<String, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "omg", &mut script);
    String::from_utf8(script).map_err(|error| Failure::Internal(error.to_string()))
}
