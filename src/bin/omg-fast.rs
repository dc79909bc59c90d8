//! `omg-fast`: what the status file says, for a shell prompt. It talks to nobody and needs only `std`.
//!
//! With glibc it starts without the standard library's runtime set-up (a guard page for the stack, signal handlers),
//! which took a tenth of the whole run of a static build. SIGPIPE then keeps its default and ends the program quietly.
//! With other C libraries `std` would not know the arguments that way, so the ordinary `main` is used.

#![cfg_attr(all(target_env = "gnu", not(test)), no_main)]

use omg::status::{self, Runtime, Status, StatusFlags};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

const HELP: &str = "\
Usage: omg-fast [OPTION]...

Prints what the status file of omgd says, for a shell prompt. Without an option that chooses something else it prints
a prompt segment such as `⬆12 !3 node 20.10.0`, and nothing when there is nothing to say:
  ⬆N  updates    !N  of them security updates    ✗N  known vulnerabilities
  ↻   a restart is required    ⚠  an error (`omg status` says which)    then the active runtimes

What to print (one of):
      --installed        number of installed packages
      --explicit         number of explicitly installed packages
      --orphans          number of orphans
      --updates          number of updates
      --security         number of security updates
      --vulnerabilities  number of known vulnerabilities
      --format FORMAT    FORMAT with its placeholders replaced

Placeholders: {installed} {explicit} {orphans} {updates} {security} {vulnerabilities}: a number, `?` when not known;
{restart}: `↻` or nothing; {errors}: `⚠` or nothing; {runtimes}: all active runtimes; {node} {python} {go} {rust} {ruby}
{java} {bun} {deno} and, for any name, {runtime:NAME}: its active version or nothing. `{{` and `}}` stand for braces.

Other options:
      --file PATH        read this file [default: $XDG_DATA_HOME/omg/status]
      --max-age SECONDS  how old the file may be [default: what the file states, ordinarily 86400]
      --verbose          say on standard error why nothing is printed
  -h, --help             print this
  -V, --version          print the version

Exit status: 0 printed, or there was nothing to say; 1 nothing printed, because the file is missing, malformed, too new
or too old, or the number asked for is not known; 2 the arguments are wrong.
";

/// One number of the status file.
#[derive(Clone, Copy, PartialEq)]
enum Count {
    Installed,
    Explicit,
    Orphans,
    Updates,
    Security,
    Vulnerabilities,
}

impl Count {
    const ALL: [(&'static str, Self); 6] = [
        ("installed", Self::Installed),
        ("explicit", Self::Explicit),
        ("orphans", Self::Orphans),
        ("updates", Self::Updates),
        ("security", Self::Security),
        ("vulnerabilities", Self::Vulnerabilities),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, count)| count)
    }

    fn of(self, status: &Status) -> Option<u32> {
        match self {
            Self::Installed => status.installed,
            Self::Explicit => status.explicit,
            Self::Orphans => status.orphans,
            Self::Updates => status.updates,
            Self::Security => status.security,
            Self::Vulnerabilities => status.vulnerabilities,
        }
    }
}

/// Runtimes that a placeholder can name without `runtime:`.
const RUNTIMES: [&str; 8] = ["node", "python", "go", "rust", "ruby", "java", "bun", "deno"];

/// A part of a format string.
enum Piece {
    Literal(String),
    Count(Count),
    Restart,
    Errors,
    Runtimes,
    Runtime(String),
}

/// What to print.
enum Output {
    Prompt,
    Count(Count),
    Format(Vec<Piece>),
}

struct Arguments {
    output: Output,
    file: Option<PathBuf>,
    /// Seconds.
    max_age: Option<u64>,
    verbose: bool,
}

enum Invocation {
    Print(Arguments),
    Help,
    Version,
}

/// The C library's entry point. glibc gives `std` the arguments before it is called.
#[cfg(all(target_env = "gnu", not(test)))]
#[expect(unsafe_code, reason = "the name is the C library's; nothing else in this program defines it")]
#[unsafe(no_mangle)]
extern "C" fn main(_count: std::ffi::c_int, _arguments: *const *const std::ffi::c_char) -> std::ffi::c_int {
    std::ffi::c_int::from(start())
}

#[cfg(not(all(target_env = "gnu", not(test))))]
fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(start())
}

/// Does what the arguments ask for and returns the exit status.
fn start() -> u8 {
    match parse_arguments(std::env::args_os().skip(1)) {
        Ok(Invocation::Help) => print(HELP),
        Ok(Invocation::Version) => print(concat!("omg-fast ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Invocation::Print(arguments)) => {
            let verbose = arguments.verbose;
            run(&arguments).unwrap_or_else(|reason| {
                if verbose {
                    // Nobody is left to tell when standard error is closed.
                    let _ = writeln!(std::io::stderr(), "omg-fast: {reason}");
                }
                1
            })
        }
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "omg-fast: {message}\nTry `omg-fast --help`.");
            2
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8, String> {
    let path = arguments.file.clone().unwrap_or_else(status::default_path);
    let refuse = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
    let status = status::read(&path).map_err(|error| refuse(&error))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| refuse(&error))?.as_secs();
    let max_age = arguments.max_age.unwrap_or(u64::from(status.max_age));
    match status.age(now) {
        None => return Err(refuse(&"written in the future, by this machine's clock")),
        Some(age) if age > max_age => {
            return Err(refuse(&format_args!("written {age} s ago, more than {max_age} s")));
        }
        Some(_) => {}
    }
    let mut line = match &arguments.output {
        Output::Prompt => prompt(&status),
        Output::Count(count) => count.of(&status).ok_or_else(|| refuse(&"does not know this number"))?.to_string(),
        Output::Format(pieces) => render(pieces, &status),
    };
    if line.is_empty() {
        return Ok(0);
    }
    line.push('\n');
    Ok(print(&line))
}

/// Writes all of `text` to standard output at once. A reader that is gone is no reason to complain.
fn print(text: &str) -> u8 {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

/// The default segment: only what calls for attention, then the runtimes.
fn prompt(status: &Status) -> String {
    let mut parts = Vec::new();
    for (sign, count) in [('⬆', status.updates), ('!', status.security), ('✗', status.vulnerabilities)] {
        if let Some(count) = count.filter(|&count| count > 0) {
            parts.push(format!("{sign}{count}"));
        }
    }
    if status.flags.intersects(StatusFlags::RESTART_REQUIRED) {
        parts.push("↻".to_owned());
    }
    if status.flags.intersects(StatusFlags::ERRORS) {
        parts.push("⚠".to_owned());
    }
    parts.extend(status.runtimes.iter().map(runtime_text));
    parts.join(" ")
}

fn runtime_text(runtime: &Runtime) -> String {
    format!("{} {}", runtime.name(), runtime.version())
}

fn render(pieces: &[Piece], status: &Status) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Count(count) => match count.of(status) {
                // Writing to a String does not fail.
                Some(number) => _ = write!(text, "{number}"),
                None => text.push('?'),
            },
            Piece::Restart if status.flags.intersects(StatusFlags::RESTART_REQUIRED) => text.push('↻'),
            Piece::Errors if status.flags.intersects(StatusFlags::ERRORS) => text.push('⚠'),
            Piece::Restart | Piece::Errors => {}
            Piece::Runtimes => {
                let all: Vec<_> = status.runtimes.iter().map(runtime_text).collect();
                text.push_str(&all.join(" "));
            }
            Piece::Runtime(name) => {
                if let Some(runtime) = status.runtimes.iter().find(|runtime| runtime.name() == name) {
                    text.push_str(runtime.version());
                }
            }
        }
    }
    text
}

fn parse_format(format: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from_brace) = rest.split_at(at);
        literal.push_str(before);
        if let Some(after) = from_brace.strip_prefix("{{") {
            literal.push('{');
            rest = after;
        } else if let Some(after) = from_brace.strip_prefix("}}") {
            literal.push('}');
            rest = after;
        } else if let Some((name, after)) = from_brace.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(placeholder(name)?);
            rest = after;
        } else {
            return Err(format!("--format: a single brace in `{format}`; write `{{{{` or `}}}}` for a brace"));
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

fn placeholder(name: &str) -> Result<Piece, String> {
    match name {
        "restart" => return Ok(Piece::Restart),
        "errors" => return Ok(Piece::Errors),
        "runtimes" => return Ok(Piece::Runtimes),
        _ => {}
    }
    if let Some(count) = Count::named(name) {
        return Ok(Piece::Count(count));
    }
    let runtime = name.strip_prefix("runtime:").filter(|runtime| !runtime.is_empty());
    match runtime.or_else(|| RUNTIMES.into_iter().find(|known| *known == name)) {
        Some(runtime) => Ok(Piece::Runtime(runtime.to_owned())),
        None => Err(format!("--format: unknown placeholder `{{{}}}`", name.escape_debug())),
    }
}

fn parse_arguments(mut arguments: impl Iterator<Item = OsString>) -> Result<Invocation, String> {
    let mut output = None;
    let mut parsed = Arguments { output: Output::Prompt, file: None, max_age: None, verbose: false };
    while let Some(argument) = arguments.next() {
        let bytes = argument.as_bytes();
        let (option, attached) = match bytes.iter().position(|&byte| byte == b'=') {
            Some(at) if bytes.starts_with(b"--") => {
                let (option, value) = bytes.split_at(at);
                (option, value.get(1..).map(OsStr::from_bytes))
            }
            _ => (bytes, None),
        };
        let shown = || OsStr::from_bytes(option).to_string_lossy().escape_debug().to_string();
        let option = std::str::from_utf8(option).map_err(|_| format!("unknown argument `{}`", shown()))?;
        let mut value = || {
            attached.map(OsStr::to_owned).or_else(|| arguments.next()).ok_or_else(|| format!("{option} needs a value"))
        };
        let mut takes_value = true;
        match option {
            "--file" => parsed.file = Some(PathBuf::from(value()?)),
            "--max-age" => {
                let value = value()?;
                let seconds = value.to_str().and_then(|text| text.parse().ok());
                parsed.max_age = Some(seconds.ok_or_else(|| {
                    format!("--max-age: `{}` is not a number of seconds", value.to_string_lossy().escape_debug())
                })?);
            }
            "--format" => {
                let value = value()?;
                let format = value.to_str().ok_or("--format: not valid UTF-8")?;
                choose(&mut output, Output::Format(parse_format(format)?))?;
            }
            _ => takes_value = false,
        }
        if takes_value {
            continue;
        }
        match option {
            "--verbose" => parsed.verbose = true,
            "-h" | "--help" => return Ok(Invocation::Help),
            "-V" | "--version" => return Ok(Invocation::Version),
            _ => match option.strip_prefix("--").and_then(Count::named) {
                Some(count) => choose(&mut output, Output::Count(count))?,
                None => return Err(format!("unknown argument `{}`", shown())),
            },
        }
        if attached.is_some() {
            return Err(format!("{option} takes no value"));
        }
    }
    parsed.output = output.unwrap_or(Output::Prompt);
    Ok(Invocation::Print(parsed))
}

fn choose(output: &mut Option<Output>, wanted: Output) -> Result<(), String> {
    if output.replace(wanted).is_some() {
        return Err("only one of the options that choose what to print can be given".to_owned());
    }
    Ok(())
}
