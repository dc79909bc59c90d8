//! `omg-helper plan` and `omg-helper commit` in a throwaway machine.

// Each target uses its part.
#![allow(dead_code, reason = "shared by test targets that each use a part")]

use std::fs::File;
use std::io::BufReader;
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use omg::transaction::{
    Action, Answer, Applied, Change, Event, Failure, ItemState, Options, Outcome, Phase, Plan, Reply, Request, Verb,
    read_line, write_line,
};

use crate::debian_root::{Machine, child_of};

/// Where the helper is in a machine.
pub const HELPER: &str = "/usr/libexec/omg-helper";

pub fn request(actions: &[(Verb, &str)], options: &Options) -> Request {
    let actions = actions.iter().map(|(verb, target)| Action::new(*verb, *target).unwrap()).collect();
    Request { actions, options: options.clone(), files: Vec::new(), digest: None }
}

/// What the helper plans.
pub fn plan(machine: &Machine, request: &Request) -> Result<Plan, Failure> {
    let mut child = machine.command(HELPER).arg("plan").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    write_line(&mut child.stdin.take().unwrap(), request).unwrap();
    let answer = read_line::<Answer>(&mut BufReader::new(child.stdout.take().unwrap())).unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    match answer {
        Answer::Plan(plan) => Ok(*plan),
        Answer::Failed(failure) => Err(failure),
    }
}

/// The request with the digest of its plan.
pub fn planned(machine: &Machine, actions: &[(Verb, &str)], options: &Options) -> Request {
    let request = request(actions, options);
    let digest = plan(machine, &request).unwrap_or_else(|failure| panic!("{actions:?}: {failure}")).digest;
    Request { digest: Some(digest), ..request }
}

/// A request to install package files by what they are called there. Programs that are started from now on inherit them.
pub fn of_files(files: &[(&str, &File)]) -> Request {
    let actions: Vec<_> = files.iter().map(|(name, _)| (Verb::InstallFile, *name)).collect();
    let inherited = files.iter().map(|(_, file)| {
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).unwrap();
        file.as_raw_fd()
    });
    Request { files: inherited.collect(), ..request(&actions, &Options::default()) }
}

/// Plans and commits, and answers nothing.
pub fn commit(machine: &Machine, actions: &[(Verb, &str)], options: &Options) -> Ran {
    Running::start(machine, &planned(machine, actions, options)).finish()
}

/// A running commit.
pub struct Running {
    child: Child,
    replies: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
    events: Vec<Event>,
}

/// One that ended.
#[derive(Debug)]
pub struct Ran {
    pub events: Vec<Event>,
    /// `None` when it was killed.
    pub outcome: Option<Outcome>,
}

impl Running {
    pub fn start(machine: &Machine, request: &Request) -> Self {
        Self::start_with(machine, request, &[])
    }

    /// As the service starts it: it says what the plan takes, and waits for the word to go on.
    pub fn start_supervised(machine: &Machine, request: &Request) -> Self {
        Self::start_with(machine, request, &["--clean", "--supervised", "--actor", "1000"])
    }

    /// Without a capability of capabilities(7).
    pub fn start_without(machine: &Machine, request: &Request, capability: &str) -> Self {
        let mut command = machine.command("setpriv");
        command.args(["--bounding-set", &format!("-{capability}"), "--inh-caps", &format!("-{capability}"), HELPER]);
        Self::run(command, request, &[])
    }

    fn start_with(machine: &Machine, request: &Request, arguments: &[&str]) -> Self {
        Self::run(machine.command(HELPER), request, arguments)
    }

    fn run(mut command: Command, request: &Request, arguments: &[&str]) -> Self {
        command.arg("commit").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut replies = child.stdin.take().unwrap();
        write_line(&mut replies, request).unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, replies: Some(replies), lines, events: Vec::new() }
    }

    /// The helper's own process, as this one sees it.
    pub fn pid(&self) -> u32 {
        child_of(self.child.id())
    }

    /// The process that put it into the machine.
    pub fn outer(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, whatever it is.
    pub fn abandon(mut self) {
        self.hang_up();
        let _ = self.child.wait();
    }

    pub fn reply(&mut self, reply: &Reply) {
        write_line(self.replies.as_mut().unwrap(), reply).unwrap();
    }

    /// Nobody will answer any more.
    pub fn hang_up(&mut self) {
        drop(self.replies.take());
    }

    /// What it says next.
    pub fn next(&mut self) -> Option<Event> {
        // A line that is no event is a failure: nothing else may get there.
        let event = read_line::<Event>(&mut self.lines).unwrap()?;
        self.events.push(event.clone());
        Some(event)
    }

    /// Listens until it says something of the kind.
    pub fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().unwrap_or_else(|| panic!("it never came: {:?}", self.events));
            if wanted(&event) {
                return event;
            }
        }
    }

    pub fn until_item(&mut self, name: &str, wanted: ItemState) {
        self.until(|event| matches!(event, Event::Item { item, state, .. } if item == name && *state == wanted));
    }

    /// Listens to its end; what is asked until then nobody answers.
    pub fn finish(mut self) -> Ran {
        while let Some(event) = self.next() {
            if matches!(event, Event::Question(_)) {
                self.hang_up();
            }
        }
        self.hang_up();
        let status = self.child.wait().unwrap();
        let outcome = match self.events.pop() {
            Some(Event::Finished(outcome)) => Some(outcome),
            Some(other) => {
                self.events.push(other);
                None
            }
            None => None,
        };
        assert_eq!(status.success(), matches!(outcome, Some(Outcome::Succeeded(_))), "{outcome:?}");
        Ran { events: self.events, outcome }
    }
}

impl Ran {
    #[track_caller]
    pub fn succeeded(&self) -> &Applied {
        match &self.outcome {
            Some(Outcome::Succeeded(applied)) => applied,
            _ => panic!("{self:?}"),
        }
    }

    #[track_caller]
    pub fn failed(&self) -> (&Failure, &Applied) {
        match &self.outcome {
            Some(Outcome::Failed { failure, applied }) => (failure, applied),
            _ => panic!("{self:?}"),
        }
    }

    pub fn phases(&self) -> Vec<(Phase, bool)> {
        let phase = |event: &Event| match event {
            Event::Phase { phase, cancellable } => Some((*phase, *cancellable)),
            _ => None,
        };
        self.events.iter().filter_map(phase).collect()
    }

    /// The last state of each item.
    pub fn state_of(&self, name: &str) -> Option<ItemState> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Item { item, state, .. } if item == name => Some(*state),
            _ => None,
        })
    }

    pub fn fractions(&self) -> Vec<f64> {
        let fraction = |event: &Event| match event {
            Event::Progress { fraction, .. } => Some(*fraction),
            _ => None,
        };
        self.events.iter().filter_map(fraction).collect()
    }
}

/// What was done, as change, name, version before and after.
pub fn done(applied: &Applied) -> Vec<(Change, &str, &str, &str)> {
    applied.items.iter().map(|item| (item.change, &*item.name, &*item.from, &*item.to)).collect()
}
