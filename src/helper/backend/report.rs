//! What a commit tells while it works, at a pace that a reader can follow.

use std::time::{Duration, Instant};

use omg::transaction::{Event, ItemState, Plan};

use super::Caller;

/// Between two rounds of news, so that no second has more than ten.
const PACE: Duration = Duration::from_millis(120);

/// What the plan calls packages: dpkg names an architecture that is not the plan's for packages for all of them, apt leaves
/// out its own, and both leave it out where there is but one.
#[derive(Debug, Default)]
pub struct Names(Vec<(String, String)>);

impl Names {
    pub fn of(plan: &Plan) -> Self {
        Self(plan.items.iter().map(|item| (item.name.clone(), item.arch.clone())).collect())
    }

    /// `name:arch` of what apt or dpkg call `name` or `name:arch`.
    pub fn full(&self, called: &str) -> String {
        let (name, called_arch) = called.split_once(':').unwrap_or((called, ""));
        let mut namesakes = self.0.iter().filter(|(known, _)| known == name);
        let exact = namesakes.clone().find(|(_, arch)| arch == called_arch);
        match exact.or_else(|| namesakes.next()) {
            Some((name, arch)) => format!("{name}:{arch}"),
            None => called.to_owned(),
        }
    }
}

/// Gathers what happens and tells it at most ten times a second: of each item the latest state, of the whole how far it
/// is. Nothing that was an item's last state is lost.
pub struct Report<'a> {
    caller: &'a dyn Caller,
    names: Names,
    /// The part of the whole that this phase is: where it starts, and how much of it it makes up.
    part: (f64, f64),
    told: Option<Instant>,
    items: Vec<Event>,
    progress: Option<(f64, u64, u64)>,
}

impl<'a> Report<'a> {
    pub fn new(caller: &'a dyn Caller, plan: &Plan, start: f64, share: f64) -> Self {
        Self { caller, names: Names::of(plan), part: (start, share), told: None, items: Vec::new(), progress: None }
    }

    /// Of work that is no plan's, and all there is.
    pub fn of_all(caller: &'a dyn Caller) -> Self {
        Self { caller, names: Names::default(), part: (0.0, 1.0), told: None, items: Vec::new(), progress: None }
    }

    #[cfg(feature = "debian")]
    pub fn caller(&self) -> &'a dyn Caller {
        self.caller
    }

    /// What the plan calls a package.
    #[cfg(feature = "debian")]
    pub fn name(&self, called: &str) -> String {
        self.names.full(called)
    }

    /// A new state of the package that apt or dpkg call so.
    pub fn item(&mut self, called: &str, state: ItemState, bytes_done: u64, bytes_total: u64) {
        let name = &self.names.full(called);
        let is_it = |event: &Event| matches!(event, Event::Item { item, .. } if item == name);
        let event = Event::Item { item: name.to_owned(), state, bytes_done, bytes_total };
        match self.items.iter_mut().find(|event| is_it(event)) {
            Some(known) => *known = event,
            None => self.items.push(event),
        }
    }

    /// How far the phase is, from 0 to 1.
    pub fn progress(&mut self, fraction: f64, bytes_done: u64, bytes_total: u64) {
        let (start, share) = self.part;
        self.progress = Some((start + share * fraction.clamp(0.0, 1.0), bytes_done, bytes_total));
    }

    /// How long until there is something to tell; `None` when there is nothing.
    pub fn due(&self) -> Option<Duration> {
        let waiting = !self.items.is_empty() || self.progress.is_some();
        waiting.then(|| self.told.map_or(Duration::ZERO, |told| PACE.saturating_sub(told.elapsed())))
    }

    /// Tells what is due.
    pub fn tick(&mut self) {
        if self.due() == Some(Duration::ZERO) {
            self.flush();
        }
    }

    /// Tells everything now.
    pub fn flush(&mut self) {
        self.told = Some(Instant::now());
        for event in self.items.drain(..) {
            self.caller.tell(event);
        }
        if let Some((fraction, bytes_done, bytes_total)) = self.progress.take() {
            self.caller.tell(Event::Progress { fraction, bytes_done, bytes_total });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use omg::transaction::{Change, Failure, Item, Options, Plan, Question, Resolution};

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<Event>>);

    impl Caller for Heard {
        fn tell(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }

        fn asks(&self) -> bool {
            false
        }

        fn authorise(&self, _: &Plan) -> Result<(), Failure> {
            Ok(())
        }

        fn begin(&self, _: &Plan) {}

        fn ask(&self, _: Question) -> String {
            String::new()
        }

        fn is_cancelled(&self) -> bool {
            false
        }
    }

    #[test]
    fn the_latest_state_of_each_item_is_told_and_what_came_between_is_not() {
        let heard = Heard::default();
        let items = ["a", "b"].map(|name| Item {
            change: Change::Install,
            name: name.to_owned(),
            arch: "all".to_owned(),
            from: String::new(),
            to: "1".to_owned(),
            repository: String::new(),
            download: 0,
            delta: 0,
            explicit: true,
            sha256: String::new(),
        });
        let resolution = Resolution { items: items.to_vec(), ..Resolution::default() };
        let plan = Plan::new(Vec::new(), Options::default(), resolution);
        let mut report = Report::new(&heard, &plan, 0.5, 0.5);
        for state in [ItemState::Unpacking, ItemState::Configuring, ItemState::Installed] {
            report.item("a:amd64", state, 0, 0);
            report.item("b", state, 0, 0);
        }
        report.progress(0.2, 0, 0);
        report.progress(0.5, 0, 0);
        report.flush();
        assert_eq!(report.due(), None);
        let item = |item: &str| Event::Item {
            item: item.to_owned(),
            state: ItemState::Installed,
            bytes_done: 0,
            bytes_total: 0,
        };
        let progress = Event::Progress { fraction: 0.75, bytes_done: 0, bytes_total: 0 };
        assert_eq!(*heard.0.lock().unwrap(), [item("a:all"), item("b:all"), progress]);
    }
}
