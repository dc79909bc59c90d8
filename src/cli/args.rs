//! The command line's grammar; completions and manual pages come from it too.

use std::path::PathBuf;

use anstream::ColorChoice;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use super::change::args::{
    AuditAction, CHANGE_JSON, Consent, DOWNLOAD_JSON, Doctor, Download, HISTORY_JSON, History, Install, MarkAs, Named,
    REFRESH_JSON, Refresh, Reinstall, Remove, Undo, Upgrade,
};
use super::runtimes::args::{
    CURRENT_JSON, Current, INSTALLED_JSON, PIN_JSON, PRUNE_JSON, Pin, Prune, RuntimeAction, UNINSTALL_JSON, Uninstall,
    Use, WHICH_JSON, Which,
};
use super::runtimes::{env::Env, exec::Exec, hook::Hook, shims::Shims};
use crate::package::SearchMode;

/// Below every verb's help: what `--json` prints and how omg ends.
const EXIT_CODES: &str = "\
Exit codes: 0 success, 1 not found, 2 invalid request, 3 internal error, 4 network error, 5 not
authorised, 130 interrupted.

What fails with --json prints {error: {name, message}} where its answer would be, name being a D-Bus
error such as org.omg.Error.NotFound; a change that began ends with a result instead. The message is
on standard error too.

Environment:
  OMG_SOCKET_PATH  socket of the daemon, instead of every other way to it
  OMG_DAEMON       the omgd to start when neither a socket nor a session bus leads to one
  NO_COLOR         no colours when set";

const ROWS_JSON: &str = "\
--json prints one object a line: name, version, arch, repository, summary, flags (an array of:
installed, explicit, upgradable, security, orphan, held, foreign, essential, phased, residual,
broken, foreign-arch, after-refresh), download_size (bytes, 0: unknown). arch is the package's own: all where it fits every machine.

Versions (`omg list RUNTIME`) have: runtime, version, current, folder, and how they were installed:
installed (Unix seconds), manager, parts [{url, sha256, bytes, checks}], unverified; with
--available: runtime, version, lts, date (null: none), prerelease, installed.

Groups (`omg list --group`) have: group, members, installed (numbers); in a pipe these are columns.

In a pipe each line has the columns name, version, repository and summary, separated by tabs and
never cut. Names of another architecture than the machine's own are followed by a colon and that
architecture.";

const UPDATES_JSON: &str = "\
Where your own copy of the package lists is newer than the package system's (`omg refresh --own`),
upgrades are told by the copy; what only it has takes a refresh before it can be installed.

With --devel, or aur.devel = true in config.toml, the repositories that packages of the AUR were
built from are asked whether they have moved; such an upgrade is one to latest-commit.

--json prints one object a line: name, from, to, arch, repository, summary, flags (as in `omg
list`; after-refresh: only your own copy has it), size (bytes to download, 0: unknown).

In a pipe each line has the columns name, from, to, repository, size in bytes, and `security`,
`after-refresh` or `-`, separated by tabs.";

const INFO_JSON: &str = "\
--json prints one object for each package, on a line of its own: name, architecture, version,
installed, candidate, repository, summary, description, flags, download_size, installed_size
(bytes), section, priority, homepage, maintainer, source, depends, pre_depends, recommends,
suggests, enhances, conflicts, breaks, replaces, provides (arrays), pin {version, priority},
fields {name: value}, versions [{version, architecture, priority, installed, candidate,
repository, sources [{priority, description}], download_size, installed_size, summary,
description, fields}]. What is not known is absent.";

const OWNER_JSON: &str = "\
In a pipe each line has the columns path and package, separated by a tab. A folder that several
packages have comes with each of them. What belongs to no package makes the exit code 1.

--json prints one object a line: path, package (with --repo REPOSITORY/NAME).";

const FILES_JSON: &str = "\
Prints a path a line; control characters are shown escaped.

--json prints one object for each package: package, files (an array).";

const WHY_JSON: &str = "\
--json prints one object: name, explicit, installed (true or false), chain (from an explicitly
installed package to this one: [{from, kind, to}]; empty: the package is explicitly installed, or
nothing needs it).";

const STATUS_JSON: &str = "\
--json prints one object: backend, daemon_version, pid, uptime (seconds), generation, packages,
installed, explicit, upgradable, security, orphans, foreign, held, phased, residual, broken,
vulnerabilities (absent: not known), planned, copy_refreshed (absent: your own copy of the package
 lists is not newer; else upgradable is by it, and planned by the package system's own), runtimes
 [{name, version}], last_refresh, snapshot_created (Unix seconds), snapshot_bytes, aur_packages,
 aur_fetched (Unix seconds; absent: the AUR's packages are not known), restart_required,
 restart_packages, lock_holder {pid, command}
(absent: none), errors, data_dir, store, store_state (ok, in-use or failed).

While packages cannot be read the exit code is 3, errors has the reason, and generation, the counts,
last_refresh, snapshot_created and snapshot_bytes are absent; last_known {time (Unix seconds),
generation, installed, explicit, upgradable, security, orphans} has what is remembered of them.";

const DOCTOR_JSON: &str = "\
--json prints one object a line: check, state (ok, warn or fail), detail, advice (absent: none).
A failed check makes the exit code 3.";

const DAEMON_JSON: &str = "\
--json prints one object: running; and when it runs: pid, route, version, uptime (seconds),
resident_bytes, proportional_bytes.";

const METRICS_JSON: &str = "\
In a pipe each method's line has the columns method, requests, failures and, in microseconds, p50,
p99 and max, separated by tabs; each counter's its name and what it counts.

--json prints one object: requests, failures {method: count}, latency_micros {method: {p50, p99,
max}}, search_cache_hits, search_cache_misses (both of searches and listings), details_cache_hits,
details_cache_misses, running_calls, cached_searches, cached_details, snapshot_bytes,
resident_bytes, last_rebuild_millis, rebuilds, fingerprint_checks, worker_runs, aur_archives
(fetched), aur_requests (to its RPC), last_worker_run (Unix seconds, absent: never).";

const ENV_JSON: &str = "\
A version that is asked for and not installed makes the exit code 1, a file that cannot be read and
may ask for one 2; the others are printed.

--json prints one object: path (folders), variables {name: value}, runtimes [{runtime, version,
root, why (manual, file or default), file, line}], missing [{runtime, request, why, file,
line}], problems [{file, line, message}], messages (the last two as they are told, escaped),
changes {path, set {name: value}, unset} (what makes the caller's environment this one; path
null: it stays).

OMG_USE has versions that go before those of files, as node=20;python=3.12.";

const EXEC_CODES: &str = "\
The exit code is the command's; 127 when there is no such command, 126 when it cannot be run; those
above where a version is not installed or cannot be, or a file that may ask for one cannot be read.";

const SHIMS_JSON: &str = "\
--json prints one object: folder, shims, removed, refused (names that something else has).";

const COMPLETIONS_JSON: &str = "--json prints one object: shell, script.";

/// What the program is called in its own help.
pub const NAME: &str = "omg";

/// One fast tool for system packages and language runtimes.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Args)]
pub struct Global {
    /// Print JSON: one object, or one object a line.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no headings and no more than is needed: of packages only their names, of the status only its errors,
    /// of changes only what goes wrong.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// When to use colours.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: When,
    /// Reach the daemon through this socket and in no other way.
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub socket: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    Auto,
    Always,
    Never,
}

impl From<When> for ColorChoice {
    fn from(when: When) -> Self {
        match when {
            When::Auto => Self::Auto,
            When::Always => Self::Always,
            When::Never => Self::Never,
        }
    }
}

// Only the verb that is given is built: building the options of all of them takes part in every search's time.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Verb {
    /// Find packages by name and summary.
    #[command(visible_alias = "s", after_long_help = ROWS_JSON)]
    Search(Search),
    /// Show what is known about packages.
    #[command(after_long_help = INFO_JSON)]
    Info(Info),
    /// List packages; without conditions the installed ones.
    #[command(after_long_help = ROWS_JSON)]
    List(List),
    /// List the packages that were asked for, not installed as dependencies.
    #[command(after_long_help = ROWS_JSON)]
    Explicit(Limit),
    /// List the available upgrades.
    #[command(after_long_help = UPDATES_JSON)]
    Outdated(Outdated),
    /// Say which installed package each file belongs to.
    #[command(after_long_help = OWNER_JSON)]
    Owner(Owner),
    /// List the files of installed packages.
    #[command(after_long_help = FILES_JSON)]
    Files(Files),
    /// Show the state of packages and of the daemon.
    #[command(after_long_help = STATUS_JSON)]
    Status,
    /// Show why a package is installed.
    #[command(after_long_help = WHY_JSON)]
    Why(Why),
    /// Install packages; without any, the versions of runtimes that the files of this folder ask for.
    #[command(visible_alias = "i", after_long_help = CHANGE_JSON)]
    Install(Install),
    /// Remove packages.
    #[command(visible_alias = "r", after_long_help = CHANGE_JSON)]
    Remove(Remove),
    /// Upgrade everything, or the named packages.
    #[command(visible_alias = "u", after_long_help = CHANGE_JSON)]
    Upgrade(Upgrade),
    /// Install the installed version of packages again.
    #[command(after_long_help = CHANGE_JSON)]
    Reinstall(Reinstall),
    /// Fetch package files into a folder, without installing them and without rights.
    #[command(after_long_help = DOWNLOAD_JSON)]
    Download(Download),
    /// Remove what was installed as a dependency and is needed no more.
    #[command(after_long_help = CHANGE_JSON)]
    Autoremove(Consent),
    /// Keep packages at their installed version.
    #[command(after_long_help = CHANGE_JSON)]
    Hold(Named),
    /// Let packages on hold be upgraded again.
    #[command(after_long_help = CHANGE_JSON)]
    Unhold(Named),
    /// Say why packages are installed.
    Mark {
        #[command(subcommand)]
        mark: MarkAs,
    },
    /// Fetch the package lists.
    #[command(after_long_help = REFRESH_JSON)]
    Refresh(Refresh),
    /// Delete downloaded package files.
    #[command(after_long_help = CHANGE_JSON)]
    Clean(Consent),
    /// List what was done to packages, newest first, or show one transaction.
    #[command(after_long_help = HISTORY_JSON)]
    History(History),
    /// Take back a transaction: remove what it installed, put back what it replaced or removed.
    #[command(after_long_help = CHANGE_JSON)]
    Undo(Undo),
    /// Look at the record of what was done with rights.
    Audit {
        #[command(subcommand)]
        action: AuditAction,
    },
    /// Check that everything omg needs works, and say what to do where it does not.
    #[command(after_long_help = DOCTOR_JSON)]
    Doctor(Doctor),
    /// Use a version of a runtime, which is installed first where it is missing.
    ///
    /// It becomes the version that is used wherever no file asks for another.
    #[command(after_long_help = INSTALLED_JSON)]
    Use(Use),
    /// Show which versions of runtimes are used in this folder, and why.
    #[command(after_long_help = CURRENT_JSON)]
    Current(Current),
    /// Print the path of the program that is run in this folder.
    #[command(after_long_help = WHICH_JSON)]
    Which(Which),
    /// Remove a version of a runtime.
    #[command(after_long_help = UNINSTALL_JSON)]
    Uninstall(Uninstall),
    /// Make this folder's file ask for a version.
    #[command(after_long_help = PIN_JSON)]
    Pin(Pin),
    /// Remove versions of runtimes that no known folder asks for.
    #[command(after_long_help = PRUNE_JSON)]
    Prune(Prune),
    /// Look at how runtimes are come by.
    Runtime {
        #[command(subcommand)]
        action: RuntimeAction,
    },
    /// Print what puts the versions that this folder asks for on PATH.
    #[command(after_long_help = ENV_JSON)]
    Env(Env),
    /// Run a command with the versions that this folder asks for, or with those that are named.
    #[command(after_long_help = EXEC_CODES)]
    Exec(Exec),
    /// Print the script that makes a shell use each folder's versions.
    ///
    /// bash: eval "$(omg hook bash)" in ~/.bashrc; zsh: eval "$(omg hook zsh)" in ~/.zshrc; fish: omg hook fish | source
    /// in ~/.config/fish/config.fish; PowerShell: omg hook powershell | Out-String | Invoke-Expression in $PROFILE;
    /// nushell: omg hook nushell into a file of its folder vendor/autoload.
    Hook(Hook),
    /// Write programs that run the version which their working directory asks for, for editors and cron.
    #[command(after_long_help = SHIMS_JSON)]
    Shims(Shims),
    /// Look at the daemon, or stop it.
    Daemon {
        #[command(subcommand)]
        action: DaemonAction,
    },
    /// Show the daemon's counters.
    #[command(after_long_help = METRICS_JSON)]
    Metrics,
    /// Manage the daemon's cached answers.
    Cache {
        #[command(subcommand)]
        action: CacheAction,
    },
    /// Print the completion script of a shell.
    ///
    /// bash: put it into ~/.local/share/bash-completion/completions/omg; zsh: as _omg into a folder of $fpath; fish:
    /// into ~/.config/fish/completions/omg.fish.
    #[command(after_long_help = COMPLETIONS_JSON)]
    Completions { shell: Shell },
    /// Print the names that start with a prefix, for completion scripts.
    #[command(hide = true)]
    Complete {
        /// Only packages in this state.
        #[arg(long, value_name = "STATE")]
        only: Option<Only>,
        /// Names of language runtimes instead.
        #[arg(long, conflicts_with = "only")]
        runtimes: bool,
        /// Versions of this runtime instead.
        #[arg(long, value_name = "RUNTIME", conflicts_with_all = ["only", "runtimes"])]
        versions_of: Option<String>,
        /// Versions that are not installed, too.
        #[arg(long, requires = "versions_of")]
        available: bool,
        #[arg(default_value = "", value_hint = ValueHint::Other)]
        prefix: String,
    },
    /// Print the manual page, or write all pages into a folder.
    #[command(hide = true)]
    Man {
        /// Folder for omg.1 and one page for each verb.
        #[arg(long, value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct Search {
    /// What to look for; every term must match.
    ///
    /// The shells complete arguments that have no hint of their own with package names.
    #[arg(required = true, value_name = "TERMS")]
    pub terms: Vec<String>,
    /// How terms match: fuzzy (letters in order), substring (as apt-cache search) or exact (whole names).
    #[arg(
        long,
        value_hint = ValueHint::Other,
        default_value = SearchMode::default().as_str(),
        value_parser = PossibleValuesParser::new(["fuzzy", "substring", "exact"])
            .try_map(|word| SearchMode::parse(&word).ok_or("no such mode")),
    )]
    pub mode: SearchMode,
    /// Short for --mode substring.
    #[arg(long, conflicts_with = "mode")]
    pub substring: bool,
    /// Short for --mode exact.
    #[arg(long, conflicts_with_all = ["mode", "substring"])]
    pub exact: bool,
    /// Search long descriptions too.
    #[arg(short, long)]
    pub descriptions: bool,
    /// Only what is installed.
    #[arg(long)]
    pub installed: bool,
    /// Only packages of the Arch User Repository.
    #[arg(long)]
    pub aur: bool,
    /// No packages of the Arch User Repository.
    #[arg(long, conflicts_with = "aur")]
    pub no_aur: bool,
    /// At most so many packages; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 100, value_hint = ValueHint::Other)]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub struct Info {
    /// Package names, each with or without :architecture.
    #[arg(required = true, value_name = "NAMES")]
    pub names: Vec<String>,
    /// Every field of the record, and every version with where it comes from.
    #[arg(short, long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct List {
    /// A runtime (node, python, go, rust, ruby, java, bun, deno, …): its installed versions instead of packages.
    #[arg(value_name = "RUNTIME", value_hint = ValueHint::Other, conflicts_with_all = ["installed", "explicit", "upgradable", "orphans", "held", "foreign", "group", "repo"])]
    pub runtime: Option<String>,
    /// With RUNTIME: only versions that are this, such as 20 or lts.
    #[arg(value_name = "VERSION", value_hint = ValueHint::Other, requires = "available")]
    pub version: Option<String>,
    /// With RUNTIME: the versions that can be installed, the newest first.
    #[arg(short, long, requires = "runtime")]
    pub available: bool,
    /// With --available: pre-releases too.
    #[arg(long, requires = "available")]
    pub all: bool,
    /// Installed packages.
    #[arg(long)]
    pub installed: bool,
    /// Packages that were asked for.
    #[arg(long)]
    pub explicit: bool,
    /// Packages with a newer candidate.
    #[arg(long)]
    pub upgradable: bool,
    /// Dependencies that nothing needs any more.
    #[arg(long)]
    pub orphans: bool,
    /// Packages whose upgrades are held back.
    #[arg(long)]
    pub held: bool,
    /// Installed packages that no repository offers.
    #[arg(long)]
    pub foreign: bool,
    /// The members of this group; without NAME the groups themselves.
    #[arg(long, value_name = "NAME", num_args = 0..=1, value_hint = ValueHint::Other)]
    pub group: Option<Option<String>>,
    /// Packages of this repository: bookworm/main, bookworm or main; aur for the Arch User Repository.
    #[arg(long, value_name = "R", value_hint = ValueHint::Other)]
    pub repo: Option<String>,
    #[command(flatten)]
    pub limit: Limit,
}

#[derive(Debug, Args)]
pub struct Limit {
    /// At most so many packages; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 0, value_hint = ValueHint::Other)]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub struct Owner {
    /// Files, folders or, where no such file is here, programs in PATH; with --repo absolute paths or names of files.
    #[arg(required = true, value_name = "PATHS", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<String>,
    /// Ask the repositories' lists of files (`omg refresh --own --files` fetches them) instead of the installed packages.
    #[arg(long)]
    pub repo: bool,
}

#[derive(Debug, Args)]
pub struct Files {
    /// Names of installed packages; with --repo of any, each with or without its repository (extra/NAME).
    #[arg(required = true, value_name = "NAMES")]
    pub names: Vec<String>,
    /// Ask the repositories' lists of files (`omg refresh --own --files` fetches them).
    #[arg(long)]
    pub repo: bool,
}

#[derive(Debug, Args)]
pub struct Outdated {
    /// Only by the lists that upgrades are made from, also where your own copy of them (`omg refresh --own`) is newer.
    #[arg(long)]
    pub planned: bool,
    /// Also packages of the AUR whose repositories have moved since they were built.
    #[arg(long)]
    pub devel: bool,
    #[command(flatten)]
    pub limit: Limit,
}

#[derive(Debug, Args)]
pub struct Why {
    /// Package name, with or without :architecture.
    #[arg(value_name = "NAME")]
    pub name: String,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub enum DaemonAction {
    /// Say whether the daemon runs, without starting it. Not running: exit code 1.
    #[command(after_long_help = DAEMON_JSON)]
    Status,
    /// Stop the daemon; the next call starts it again.
    Stop,
    /// Show the daemon's log.
    Logs,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub enum CacheAction {
    /// Drop the cached answers.
    Clear,
}

impl Verb {
    /// The grammar of one verb alone, by its name or alias, where people and their shells use it all day: to build the names
    /// and descriptions of all the others takes longer than to read it.
    pub fn often(word: &str) -> Option<clap::Command> {
        let new = |name| clap::Command::new(name);
        Some(match word {
            "search" | "s" => Search::augment_args(new("search").visible_alias("s")),
            "info" => Info::augment_args(new("info")),
            "list" => List::augment_args(new("list")),
            "explicit" => Limit::augment_args(new("explicit")),
            "outdated" => Outdated::augment_args(new("outdated")),
            "status" => new("status"),
            "use" => Use::augment_args(new("use")),
            "which" => Which::augment_args(new("which")),
            "current" => Current::augment_args(new("current")),
            "env" => Env::augment_args(new("env")),
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Only {
    Installed,
    Upgradable,
    Held,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_verb_that_is_built_alone_is_the_same_as_among_the_others() {
        let mut whole = Cli::command();
        whole.build();
        let mut alone = 0;
        for verb in whole.get_subcommands() {
            for word in verb.get_all_aliases().chain([verb.get_name()]) {
                let Some(often) = Verb::often(word) else { continue };
                alone += 1;
                let mut built = Global::augment_args(clap::Command::new(NAME)).subcommand(often);
                built.build();
                let built = built.find_subcommand(word).or_else(|| built.find_subcommand(verb.get_name())).expect(word);
                assert_eq!(built.get_name(), verb.get_name());
                let arguments = |verb: &clap::Command| -> Vec<String> {
                    let all = verb.get_arguments().filter(|argument| argument.get_id() != "help");
                    let mut all: Vec<String> = all.map(|argument| format!("{argument:?}")).collect();
                    all.sort();
                    all
                };
                assert_eq!(arguments(built), arguments(verb), "{word}");
            }
        }
        assert_eq!(alone, 11);
    }

    #[test]
    fn options_may_follow_the_verb_and_s_is_search() {
        let cli = Cli::try_parse_from(["omg", "s", "--exact", "a", "b", "--json", "--limit", "0"]).expect("valid");
        let Verb::Search(search) = cli.verb else { panic!("s is search") };
        assert!(cli.global.json && search.exact);
        assert_eq!((search.terms, search.limit), (vec!["a".to_owned(), "b".to_owned()], 0));
    }
}
