//! Lets apt run dpkg, and listens to both.
//!
//! What dpkg and the package scripts read: at a terminal (`--terminal`), the terminal, where debconf and dpkg ask. Without
//! one nobody is there to ask: the standard input is `/dev/null`, and the terminal that apt makes has no input either
//! ([`quieten_terminal`]). Only where the owner wants to be asked about configuration files the standard input is an
//! [`Answers`]: dpkg's own reading of it waits for the owner's answer, and scripts find its end all the same.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use omg::transaction::{
    Conffiles, Event, Failure, FailureKind, ItemState, Level, Phase, Plan, Question, QuestionKind, Request,
};
use rust_apt::Cache;
use rust_apt::config::Config;
use rust_apt::error::AptErrors;
use rust_apt::progress::InstallProgress;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::super::super::report::Report;
use super::super::super::{Caller, SAID, System};
use super::answers::Answers;
use super::bounded::{self, Lines};
use super::locks::Locks;
use super::output::{Output, Said};
use super::quiet::{masters, quieten_terminal};
use super::status::Line;
use super::{Stop, words};

/// What was seen while packages changed.
#[derive(Debug, Default)]
pub struct Seen {
    /// Names of the packages whose files were put in place.
    pub unpacked: Vec<String>,
    /// Packages that failed, and why, in dpkg's words.
    pub errors: Vec<(String, String)>,
    /// What scripts said.
    pub said: Said,
}

impl Seen {
    /// Takes up what a later run showed.
    pub fn and(&mut self, later: Self) {
        // Of packages that did not fail it is no news.
        if self.said.last_words.is_empty() && !later.errors.is_empty() {
            self.said = later.said;
        }
        self.unpacked.extend(later.unpacked);
        self.errors.extend(later.errors);
    }

    /// Why it failed, for people; `said` are apt's words, for when no package is to blame.
    pub fn failure(&self, said: &str) -> Failure {
        let next = "run `omg doctor --fix` to finish what is left half done";
        let Some((name, text)) = self.errors.first() else {
            return Failure::new(kind_of(said), format!("{said}; {next}"));
        };
        let Said { last_words, recent } = &self.said;
        let last_words = if last_words.is_empty() { recent } else { last_words };
        let words = match last_words.as_slice() {
            [] => String::new(),
            words => format!("{SAID}{}", words.join(" / ")),
        };
        let others: Vec<&str> =
            self.errors.iter().skip(1).map(|(other, _)| other.as_str()).filter(|other| other != name).collect();
        let others = if others.is_empty() { String::new() } else { format!("; failed as well: {}", others.join(", ")) };
        let kind = kind_of(&format!("{text} {}", last_words.join(" ")));
        Failure::new(kind, format!("{name}: {text}{others}; {next}{words}"))
    }
}

fn kind_of(text: &str) -> FailureKind {
    if text.contains("No space left on device") { FailureKind::DiskFull } else { FailureKind::Internal }
}

/// Sets what dpkg is started with.
pub fn configure(config: &Config, system: &System, request: &Request) {
    set_conffiles(config, request.options.conffiles);
    if let Some(root) = super::root(system) {
        config.set("DPkg::Options::", &format!("--root={root}"));
    }
    config.set("CommandLine::AsString", &command_line(request));
}

/// What dpkg does with changed configuration files. The last word counts.
fn set_conffiles(config: &Config, wanted: Conffiles) {
    let conffiles = match wanted {
        Conffiles::Keep => ["--no-force-confnew", "--force-confdef", "--force-confold"],
        Conffiles::Replace => ["--no-force-confdef", "--no-force-confold", "--force-confnew"],
        Conffiles::Ask => ["--no-force-confdef", "--no-force-confold", "--no-force-confnew"],
    };
    for option in conffiles {
        config.set("DPkg::Options::", option);
    }
}

/// Where the owner's answers go. `None` where nobody is to be asked, or can be: dpkg then keeps what was changed.
fn answers(config: &Config, wanted: Conffiles, caller: &dyn Caller) -> Option<Answers> {
    if wanted != Conffiles::Ask || at_terminal() {
        return None;
    }
    let made = Answers::new(config).and_then(|answers| {
        answers.redirect()?;
        Ok(answers)
    });
    match made {
        Ok(answers) => Some(answers),
        Err(error) => {
            // dpkg would find the end of its input where it asks, and fail the package.
            set_conffiles(config, Conffiles::Keep);
            let text = format!(
                "nobody can be asked about configuration files here ({error}): those that were changed are kept"
            );
            caller.tell(Event::Message { level: Level::Warning, text });
            None
        }
    }
}

/// The command line that apt's history.log shows.
fn command_line(request: &Request) -> String {
    let mut line = "omg".to_owned();
    let mut verb = None;
    for action in &request.actions {
        if verb != Some(action.verb()) {
            line.push(' ');
            line.push_str(action.verb().as_str());
            verb = Some(action.verb());
        }
        if !action.target().is_empty() {
            line.push(' ');
            line.push_str(action.target());
        }
    }
    line
}

/// Does what is marked in the cache. From here on nothing stops it: signals are noted and dpkg does not see them, having
/// a session of its own.
///
/// # Errors
/// In dpkg's words, naming the package.
pub fn apply(
    config: &Config,
    cache: Cache,
    locks: &Locks,
    plan: &Plan,
    caller: &dyn Caller,
    start: f64,
    seen: &mut Seen,
) -> Result<(), Stop> {
    caller.tell(Event::Phase { phase: Phase::Applying, cancellable: false });
    locks.let_dpkg_in();
    let (status, apt_end) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let result = listening(config, status, plan, caller, start, seen, || {
        let result = cache.do_install(&mut InstallProgress::fd(apt_end.as_raw_fd()));
        // The listener ends when nobody writes any more.
        drop(apt_end);
        result
    })?;
    match result {
        Ok(()) => {
            for message in AptErrors::new().iter() {
                caller.tell(Event::Message { level: Level::Warning, text: message.msg.clone() });
            }
            Ok(())
        }
        Err(errors) => Err(Stop::Failed(seen.failure(&words(&errors)))),
    }
}

/// Does the work while other threads listen to what it writes into `status` and to the standard output, and answer
/// dpkg's questions.
pub fn listening<T>(
    config: &Config,
    status: OwnedFd,
    plan: &Plan,
    caller: &dyn Caller,
    start: f64,
    seen: &mut Seen,
    work: impl FnOnce() -> T,
) -> io::Result<T> {
    // At a terminal dpkg asks and writes there.
    let terminal = at_terminal();
    let output = if terminal { None } else { Some(Output::redirect()?) };
    let answers = answers(config, plan.options.conffiles, caller);
    let listener = Listener {
        report: Report::new(caller, plan, start, 1.0 - start),
        answers: answers.as_ref(),
        terminal,
        masters: masters(),
        seen: Seen::default(),
        questions: 0,
        configuring: String::new(),
    };
    let (result, found, said) = thread::scope(|scope| {
        let listener = scope.spawn(move || listener.run(status));
        let output_reader = output.as_ref().map(|output| scope.spawn(move || output.read(caller)));
        if let Some(answers) = &answers {
            scope.spawn(|| answers.serve());
        }
        let result = work();
        if let Some(answers) = &answers {
            answers.end();
        }
        if let Some(output) = &output {
            output.end();
        }
        let said = output_reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
        (result, listener.join().unwrap_or_default(), said)
    });
    if !terminal && let Ok(nothing) = std::fs::File::open("/dev/null") {
        rustix::stdio::dup2_stdin(&nothing)?;
    }
    seen.and(Seen { said, ..found });
    Ok(result)
}

/// Reads the status lines.
struct Listener<'a> {
    report: Report<'a>,
    /// Where answers to dpkg's questions go.
    answers: Option<&'a Answers>,
    /// Whether people are in front of what scripts take for the terminal.
    terminal: bool,
    seen: Seen,
    /// Descriptors of pseudo-terminals that are not apt's.
    masters: Vec<i32>,
    /// Asked so far.
    questions: u32,
    /// The package that is configured: whose configuration files dpkg asks about.
    configuring: String,
}

impl Listener<'_> {
    /// Reads until nobody writes any more.
    fn run(mut self, status: OwnedFd) -> Seen {
        let mut status = std::fs::File::from(status);
        let (mut lines, mut chunk) = (Lines::default(), [0; 4096]);
        loop {
            let timeout = self.report.due().map(|due| Timespec {
                tv_sec: i64::try_from(due.as_secs()).unwrap_or(0),
                tv_nsec: due.subsec_nanos().into(),
            });
            match poll(&mut [PollFd::new(&status, PollFlags::IN)], timeout.as_ref()) {
                Ok(0) => self.report.tick(),
                Ok(_) => match status.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(length) => {
                        lines.take(chunk.get(..length).unwrap_or_default(), |line| self.take_line(line));
                        self.report.tick();
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                },
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.report.flush();
        self.seen
    }

    fn take_line(&mut self, line: bounded::Line<'_>) {
        let text = String::from_utf8_lossy(line.bytes);
        if let Some(line) = Line::parse(text.trim_end()) {
            self.take(line);
        }
    }

    fn take(&mut self, line: Line<'_>) {
        match line {
            Line::DpkgStarts => {
                ignore_interrupts();
                if !self.terminal {
                    quieten_terminal(&self.masters);
                }
            }
            Line::Package { name, state } => self.package(name, state),
            Line::Progress { name, state, fraction } => {
                if let Some(state) = state {
                    self.package(name, state);
                }
                self.report.progress(fraction, 0, 0);
            }
            Line::Error { name, text } => {
                let name = self.report.name(&name);
                self.report.item(&name, ItemState::Failed, 0, 0);
                self.report.flush();
                let told = Event::Message { level: Level::Error, text: format!("{name}: {text}") };
                self.report.caller().tell(told);
                self.seen.errors.push((name, text.to_owned()));
            }
            Line::Conffile { path } => self.ask(path),
        }
    }

    fn package(&mut self, name: String, state: ItemState) {
        self.report.item(&name, state, 0, 0);
        match state {
            ItemState::Unpacked => {
                let name = name.split(':').next().unwrap_or_default();
                if !self.seen.unpacked.iter().any(|known| known == name) {
                    self.seen.unpacked.push(name.to_owned());
                }
            }
            ItemState::Configuring => self.configuring = self.report.name(&name),
            _ => {}
        }
    }

    /// dpkg waits on its standard input for the answer.
    fn ask(&mut self, path: &str) {
        let Some(answers) = self.answers else { return };
        answers.asking();
        self.report.flush();
        self.questions += 1;
        let question = Question {
            id: self.questions,
            kind: QuestionKind::Conffile { package: self.configuring.clone(), path: path.to_owned() },
            choices: vec!["keep".to_owned(), "replace".to_owned()],
        };
        answers.answer(self.report.caller().ask(question) == "replace");
    }
}

/// Whether package scripts and questions are for the people in front of a terminal.
pub fn at_terminal() -> bool {
    rustix::termios::isatty(io::stdin())
}

/// apt takes an interrupt for a reason to stop between two runs of dpkg, which leaves packages unpacked; so it is ignored
/// until apt restores the handler that it found, which it does after each run. What apt starts handles it as always.
fn ignore_interrupts() {
    #[expect(unsafe_code, reason = "setting how a signal is handled has no safe form; ignoring it runs no code")]
    // SAFETY: no handler is installed.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
    }
}

#[cfg(test)]
mod tests {
    use omg::transaction::{Action, Options, Verb};

    use super::*;

    #[test]
    fn the_history_shows_a_command_line() {
        let action = |verb, target: &str| Action::new(verb, target).unwrap();
        let actions = vec![
            action(Verb::Install, "a"),
            action(Verb::Install, "b=1"),
            action(Verb::Remove, "c"),
            action(Verb::Autoremove, ""),
        ];
        let request = Request { actions, options: Options::default(), files: Vec::new(), digest: None };
        assert_eq!(command_line(&request), "omg install a b=1 remove c autoremove");
    }
}
