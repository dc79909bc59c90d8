//! `omg completions`: scripts from the grammar, with the daemon's package names

use clap_complete::Shell as Generator;

use super::args::Shell;
use super::output::Output;
use super::{Failure, command};

/// Wraps the generated function: arguments of the verbs that take package names are answered by the daemon.
const BASH: &str = r#"
_omg_packages() {
    local word verb= skip= at name= before=0
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if [[ -n $skip ]]; then
            skip=
        else
            case $word in
                --socket|--color|--profile|--component|--target|--repo|--group|--limit|--mode|--to|--conffiles) skip=1 ;;
                -*) ;;
                *)
                    if [[ -z $verb ]]; then
                        verb=$word
                    else
                        name=${name:-$word}
                        before=$((before + 1))
                    fi
                    ;;
            esac
        fi
    done
    local only=()
    case $verb in
        why|files|remove|r|reinstall|hold|mark) only=(--only installed) ;;
        upgrade|u) only=(--only upgradable) ;;
        unhold) only=(--only held) ;;
        use|list|current|which|uninstall|pin)
            case $before in
                0) only=(--runtimes) ;;
                1) only=(--versions-of "$name") ;;
                *) verb= ;;
            esac
            case $verb$before in
                use1|pin1) only+=(--available) ;;
                current1|which1) verb= ;;
            esac
            ;;
    esac
    case $verb in
        search|s|info|why|files|install|i|download|remove|r|upgrade|u|reinstall|hold|unhold|mark|use|list|current|which|uninstall|pin)
            case "$2 $3" in
                -*|[./]*|*' --mode'|*' --limit'|*' --color'|*' --socket'|*' --conffiles'|*' --to'|*' mark') ;;
                *' --profile'|*' --component'|*' --target'|*' --repo'|*' --group') ;;
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
_omg_runtimes() {
    local -a names
    names=(${(f)"$(command omg complete --runtimes -- "$PREFIX" 2>/dev/null)"})
    compadd -a names
}
_omg_versions() {
    local -a names given more
    given=(${words[2,CURRENT-1]:#-*})
    case $words[1] in
        use|pin) more=(--available) ;;
    esac
    names=(${(f)"$(command omg complete --versions-of "$given[1]" $more -- "$PREFIX" 2>/dev/null)"})
    compadd -V versions -a names
}
"#;

const FISH: &str = r#"
function __fish_omg_words
    commandline -opc | string match -v -- '-*'
end
for verb in use list current which uninstall pin
    complete -c omg -n "__fish_omg_using_subcommand $verb; and test (count (__fish_omg_words)) -eq 2" \
        -f -a '(command omg complete --runtimes -- (commandline -ct) 2>/dev/null)'
end
for verb in list uninstall
    complete -c omg -n "__fish_omg_using_subcommand $verb; and test (count (__fish_omg_words)) -eq 3" \
        -f -k -a '(command omg complete --versions-of (__fish_omg_words)[3] -- (commandline -ct) 2>/dev/null)'
end
for verb in use pin
    complete -c omg -n "__fish_omg_using_subcommand $verb; and test (count (__fish_omg_words)) -eq 3" \
        -f -k -a '(command omg complete --versions-of (__fish_omg_words)[3] --available -- (commandline -ct) 2>/dev/null)'
end
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
            let script: String = script.lines().map(|line| answered(line) + "\n").collect();
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

/// A line of zsh's arguments, with what answers a runtime or its version where it is one of those.
fn answered(line: &str) -> String {
    let answers = [("runtime", "_omg_runtimes"), ("version", "_omg_versions")];
    let starts = |name: &str| line.trim_start_matches(['\'', ':']).starts_with(&format!("{name} -- "));
    match (answers.iter().find(|(name, _)| starts(name)), line.strip_suffix(":' \\")) {
        (Some((_, function)), Some(start)) => format!("{start}:{function}' \\"),
        _ => line.to_owned(),
    }
}

fn generate(shell: Generator) -> Result<String, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "omg", &mut script);
    String::from_utf8(script).map_err(|error| Failure::Internal(error.to_string()))
}
