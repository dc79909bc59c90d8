//! What a commit tells while it works, at a pace that a reader can follow.

use std::time::{Duration, Instant};

use omg::transaction::{Event, ItemState};

use super::super::super::Caller;

/// Between two rounds of news.
const PACE: Duration = Duration::from_millis(100);

/// Gathers what happens and tells it at most ten times a second: of each item the latest state, of the whole how far it
/// is. Nothing that was an item's last state is lost.
pub struct Report<'a> {
    caller: &'a dyn Caller,
    /// The part of the whole that this phase is: where it starts, and how much of it it makes up.
    part: (f64, f64),
    told: Option<Instant>,
    items: Vec<Event>,
    progress: Option<(f64, u64, u64)>,
}

impl<'a> Report<'a> {
    pub fn new(caller: &'a dyn Caller, start: f64, share: f64) -> Self {
        Self { caller, part: (start, share), told: None, items: Vec::new(), progress: None }
    }

    pub fn caller(&self) -> &'a dyn Caller {
        self.caller
    }

    pub fn item(&mut self, name: &str, state: ItemState, bytes_done: u64, bytes_total: u64) {
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

    use omg::transaction::{Failure, Plan, Question};

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<Event>>);

    impl Caller for Heard {
        fn tell(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }

        fn begin(&self, _: &Plan) -> Result<(), Failure> {
            Ok(())
        }

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
        let mut report = Report::new(&heard, 0.5, 0.5);
        for state in [ItemState::Unpacking, ItemState::Configuring, ItemState::Installed] {
            report.item("a:amd64", state, 0, 0);
            report.item("b:amd64", state, 0, 0);
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
        assert_eq!(*heard.0.lock().unwrap(), [item("a:amd64"), item("b:amd64"), progress]);
    }
}
