//! Arguments of the verbs of language runtimes.

use clap::{Args, Subcommand, ValueHint};

/// Below the help of `omg use` and `omg install` without names.
pub const INSTALLED_JSON: &str = "\
--json prints one object for each runtime: runtime, version, folder, new (whether it was installed
now), current. While something is fetched, what happens comes before it, as of changes of packages:
{event: phase, progress, item or message, …}.";

/// Below the help of `omg list RUNTIME`.
pub const CURRENT_JSON: &str = "\
A version that is asked for and not installed makes the exit code 1, a file that cannot be read and
may ask for one 2.

--json prints one object for each runtime: runtime, version (null: not installed), folder, request,
why (file, manual or default), file, line.";

pub const WHICH_JSON: &str = "\
--json prints one object: program, path, runtime, version, why (file, manual or default), request, file, line,
overridden [{request, file, line}] (what would be asked for otherwise), installed (Unix seconds), manager,
unverified, parts [{url, sha256, bytes, checks}].";

pub const UNINSTALL_JSON: &str = "--json prints one object for each version: runtime, version, removed.";

pub const PIN_JSON: &str = "--json prints one object: runtime, version, file, line.";

pub const PRUNE_JSON: &str = "\
Kept are current versions, and what the files of this folder and of those in which `omg install`,
`omg pin` or a shell's hook found versions ask for.

--json prints one object for each version: runtime, version, removed.";

pub const KEYS_JSON: &str =
    "--json prints one object for each key: for, fingerprint, owner, expires (Unix seconds; null: never).";

// How a version is installed: no text of its own, which would become that of the verbs.
#[derive(Debug, Clone, Default, Args)]
pub struct Getting {
    /// Install what cannot be verified; it is written into the log.
    #[arg(long)]
    pub allow_unverified: bool,
    /// Take the best version there is, though one that is installed would do.
    #[arg(long)]
    pub newest: bool,
}

#[derive(Debug, Args)]
pub struct Use {
    /// node, python, go, rust, ruby, java, bun, or what mise knows (deno, zig, …); node@20 says both.
    #[arg(value_name = "RUNTIME", value_hint = ValueHint::Other)]
    pub runtime: String,
    /// 20, 20.11.1, latest, lts, lts/iron, '^20', '>=3.11,<3.13', stable, nightly…; without it, what the files of this
    /// folder ask for.
    #[arg(value_name = "VERSION", value_hint = ValueHint::Other)]
    pub version: Option<String>,
    /// Only for this shell, until `unset OMG_USE`: prints what it is to evaluate, as eval "$(omg use --shell node 18)". The
    /// version `system` means none of omg's there.
    #[arg(long)]
    pub shell: bool,
    #[command(flatten)]
    pub getting: Getting,
    /// Rust: minimal, default or complete.
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
    pub profile: Option<String>,
    /// Rust: components besides those of the profile.
    #[arg(long = "component", value_name = "NAME", value_hint = ValueHint::Other)]
    pub components: Vec<String>,
    /// Rust: targets besides this machine's.
    #[arg(long = "target", value_name = "TRIPLE", value_hint = ValueHint::Other)]
    pub targets: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Which {
    /// A program (node, npm, cargo, …) or a runtime.
    #[arg(value_name = "NAME", value_hint = ValueHint::Other)]
    pub name: String,
    /// Say why it is this one, and where it is from.
    #[arg(long)]
    pub explain: bool,
}

#[derive(Debug, Args)]
pub struct Current {
    /// Only this runtime.
    #[arg(value_name = "RUNTIME", value_hint = ValueHint::Other)]
    pub runtime: Option<String>,
}

#[derive(Debug, Args)]
pub struct Uninstall {
    /// A runtime, or one with its version as node@20.
    #[arg(value_name = "RUNTIME", value_hint = ValueHint::Other)]
    pub runtime: String,
    /// A version, or what one installed version alone is, such as 18.
    #[arg(value_name = "VERSION", value_hint = ValueHint::Other)]
    pub version: Option<String>,
    /// The current version too.
    #[arg(long)]
    pub force: bool,
    /// Every installed version that it is.
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct Pin {
    /// A runtime, or one with its version as node@20.
    #[arg(value_name = "RUNTIME", value_hint = ValueHint::Other)]
    pub runtime: String,
    /// What the file is to ask for; without it, the version that is used here.
    #[arg(value_name = "VERSION", value_hint = ValueHint::Other)]
    pub version: Option<String>,
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Remove without asking.
    #[arg(short, long)]
    pub yes: bool,
    /// Only show what would be removed.
    #[arg(short = 'n', long, conflicts_with = "yes")]
    pub dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub enum RuntimeAction {
    /// List the keys whose signatures count.
    #[command(after_long_help = KEYS_JSON)]
    Keys,
}
