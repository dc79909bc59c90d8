//! How far a commit is: bars on a terminal, milestones elsewhere.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anstyle::Style;

use super::super::output::format::{bytes, duration};
use super::super::output::live::{Line, Live, Piece};
use super::super::output::{BAD, DIM, GOOD, NAME, Output, WARN};
use crate::transaction::{Event, ItemState, Level, Phase};

/// Bars of single downloads; more would not leave room for anything else on a small terminal.
const MAX_BARS: usize = 4;
/// Of a bar, in columns.
const BAR: usize = 20;
/// The rate is that of this last while.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// Shows events.
#[derive(Debug)]
pub struct Progress {
    live: Live,
    /// Package scripts may ask on the terminal while packages are applied: nothing is drawn over their questions.
    shares_terminal: bool,
    /// Whether there is something to fetch: a phase with nothing to do is not shown.
    fetches: bool,
    phase: Option<Phase>,
    words: fn(Phase) -> &'static str,
    /// Where nothing can be drawn, phases and what is done are not told: what comes of it says it all.
    terse: bool,
    /// States that were told of this phase's items; fetched lists have several parts of one name.
    told: Vec<(String, ItemState)>,
    cancellable: bool,
    cancelling: bool,
    /// What is being fetched: name, bytes done and in all.
    fetching: Vec<(String, u64, u64)>,
    /// The package that is worked on, and what is done to it.
    current: Option<(String, ItemState)>,
    fraction: f64,
    bytes: (u64, u64),
    rate: Rate,
    dirty: bool,
}

/// Bytes a second over the last while.
#[derive(Debug, Default)]
struct Rate {
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    fn note(&mut self, now: Instant, bytes: u64) {
        while self.samples.len() > 2
            && self.samples.front().is_some_and(|(then, _)| now.duration_since(*then) > RATE_WINDOW)
        {
            self.samples.pop_front();
        }
        self.samples.push_back((now, bytes));
    }

    /// `None` until there is something to divide.
    fn per_second(&self) -> Option<u64> {
        let ((first, from), (last, to)) = (self.samples.front()?, self.samples.back()?);
        let millis = last.duration_since(*first).as_millis();
        let gained = u128::from(to.saturating_sub(*from));
        (millis >= 200).then(|| u64::try_from(gained * 1000 / millis).unwrap_or(u64::MAX))
    }
}

impl Progress {
    pub fn new(shares_terminal: bool, fetches: bool) -> Self {
        Self {
            live: Live::default(),
            shares_terminal,
            fetches,
            phase: None,
            words: phase_words,
            terse: false,
            told: Vec::new(),
            cancellable: true,
            cancelling: false,
            fetching: Vec::new(),
            current: None,
            fraction: 0.0,
            bytes: (0, 0),
            rate: Rate::default(),
            dirty: false,
        }
    }

    /// Of versions of runtimes.
    pub fn of_versions() -> Self {
        let words = |phase| match phase {
            Phase::Locking => "Waiting for another omg",
            Phase::Resolving => "Finding the version",
            Phase::Applying => "Unpacking",
            other => phase_words(other),
        };
        Self { words, terse: true, ..Self::new(false, true) }
    }

    /// Whether the work can still be cancelled.
    pub fn is_cancellable(&self) -> bool {
        self.cancellable
    }

    pub fn set_cancelling(&mut self) {
        self.cancelling = true;
        self.dirty = true;
    }

    /// How long to wait with drawing what changed; `None` when nothing did.
    pub fn due(&self) -> Option<Duration> {
        self.dirty.then(|| self.live.due())
    }

    /// Takes in what happened, and prints what is to stay.
    pub fn hear(&mut self, event: &Event, out: &mut Output) {
        if out.is_json() {
            if let Event::Phase { cancellable, .. } = event {
                self.cancellable = *cancellable;
            }
            if !matches!(event, Event::Finished(_)) {
                out.json(event);
                out.flush();
            }
            return;
        }
        match event {
            Event::Phase { phase, cancellable } => {
                self.cancellable = *cancellable;
                if self.phase != Some(*phase) {
                    self.phase = Some(*phase);
                    self.fetching.clear();
                    self.told.clear();
                    self.current = None;
                    self.bytes = (0, 0);
                    self.rate = Rate::default();
                    if *phase != Phase::Fetching || self.fetches {
                        self.tell_phase(out);
                    }
                }
            }
            Event::Progress { fraction, bytes_done, bytes_total } => {
                self.fraction = fraction.clamp(0.0, 1.0);
                self.bytes = (*bytes_done, *bytes_total);
                self.rate.note(Instant::now(), *bytes_done);
            }
            Event::Item { item, state, bytes_done, bytes_total } => {
                self.item(item, *state, (*bytes_done, *bytes_total), out);
            }
            // What is printed is what was asked for, and nothing about how it came about.
            Event::Message { level: Level::Info, text } if self.terse => {
                if !out.quiet() {
                    self.pause(out);
                    out.note(DIM, text);
                }
            }
            Event::Message { level: Level::Info, text } => self.keep(DIM, text, out),
            Event::Message { level, text } => {
                self.pause(out);
                out.note(if *level == Level::Error { BAD } else { WARN }, text);
            }
            Event::Resolved { .. }
            | Event::Planned(_)
            | Event::Archives { .. }
            | Event::Question(_)
            | Event::Finished(_) => {}
        }
        self.dirty = self.draws(out);
    }

    /// On a terminal it is drawn.
    fn tell_phase(&mut self, out: &mut Output) {
        if let (Some(phase), false) = (self.phase, self.draws(out) || self.terse) {
            self.keep(Style::new(), (self.words)(phase), out);
        }
    }

    fn item(&mut self, item: &str, state: ItemState, (done, total): (u64, u64), out: &mut Output) {
        self.fetching.retain(|(name, ..)| name != item);
        let is_fetched = matches!(state, ItemState::Fetching | ItemState::Fetched);
        if is_fetched && !self.fetches && self.phase == Some(Phase::Fetching) {
            self.fetches = true;
            self.tell_phase(out);
        }
        match state {
            ItemState::Fetching => self.fetching.push((item.to_owned(), done, total)),
            ItemState::Unpacking | ItemState::Configuring | ItemState::Removing | ItemState::Unpacked => {
                self.current = Some((item.to_owned(), state));
            }
            // A problem is told however little somebody wants to hear.
            ItemState::Failed if out.quiet() => out.note(BAD, &format!("failed: {item}")),
            ItemState::Failed => self.keep(BAD, &format!("failed: {item}"), out),
            ItemState::Fetched | ItemState::Installed | ItemState::Removed if !self.draws(out) && !self.terse => {
                let told = (item.to_owned(), state);
                if !self.told.contains(&told) {
                    self.told.push(told);
                    self.keep(Style::new(), &format!("{} {item}", state_words(state)), out);
                }
            }
            ItemState::Hit | ItemState::Fetched | ItemState::Installed | ItemState::Removed => {}
        }
    }

    /// Draws what is due.
    pub fn draw(&mut self, out: &mut Output) {
        self.dirty = false;
        if self.draws(out) {
            let lines = self.lines();
            self.live.draw(&lines, out);
        }
    }

    /// Makes room for something else.
    pub fn pause(&mut self, out: &mut Output) {
        self.live.erase(out);
        out.flush();
    }

    /// A line that stays.
    fn keep(&mut self, style: Style, text: &str, out: &mut Output) {
        if out.quiet() {
            return;
        }
        self.live.erase(out);
        out.styled(style, text);
        out.newline();
        out.flush();
    }

    fn draws(&self, out: &Output) -> bool {
        let idle = self.phase == Some(Phase::Fetching) && !self.fetches;
        out.can_redraw()
            && !idle
            && self.phase.is_some()
            && !(self.shares_terminal && self.phase == Some(Phase::Applying))
    }

    fn lines(&self) -> Vec<Line> {
        let plain = Style::new();
        let mut lines: Vec<Line> = Vec::new();
        for (name, done, total) in self.fetching.iter().take(MAX_BARS) {
            let mut line = vec![Piece::new(plain, "  ")];
            if *total > 0 {
                line.extend(bar(part(*done, *total)));
                line.push(Piece::new(DIM, format!(" {} of {} ", padded(&bytes(*done)), padded(&bytes(*total)))));
            }
            line.push(Piece::cut(NAME, name.clone()));
            lines.push(line);
        }
        if let Some(more @ 1..) = self.fetching.len().checked_sub(MAX_BARS) {
            lines.push(vec![Piece::new(DIM, format!("  and {more} more"))]);
        }
        let phase = if self.cancelling { "Cancelling" } else { self.phase.map_or("", self.words) };
        let mut line = vec![Piece::new(plain, format!("{phase} "))];
        if matches!(self.phase, Some(Phase::Fetching | Phase::Applying)) {
            line.extend(bar(self.fraction));
            line.push(Piece::new(GOOD, format!(" {:3.0} %", self.fraction * 100.0)));
        }
        let (done, total) = self.bytes;
        if self.phase == Some(Phase::Fetching) && total > 0 {
            line.push(Piece::new(plain, format!("  {} of {}", bytes(done), bytes(total))));
            if let Some(rate @ 1..) = self.rate.per_second() {
                let left = total.saturating_sub(done).div_ceil(rate);
                line.push(Piece::new(DIM, format!("  {}/s", bytes(rate))));
                line.push(Piece::new(DIM, format!("  {} left", duration(left))));
            }
        }
        if let Some((item, state)) = &self.current {
            line.push(Piece::cut(plain, format!("  {} {item}", state_words(*state))));
        }
        lines.push(line);
        lines
    }
}

#[expect(clippy::cast_precision_loss, reason = "only shown")]
fn part(done: u64, total: u64) -> f64 {
    (done as f64 / total as f64).clamp(0.0, 1.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "0 to BAR")]
fn bar(fraction: f64) -> [Piece; 2] {
    let full = (fraction * BAR as f64).round() as usize;
    [Piece::new(GOOD, "━".repeat(full)), Piece::new(DIM, "─".repeat(BAR.saturating_sub(full)))]
}

/// Numbers that change do not make the rest of the line jump.
fn padded(text: &str) -> String {
    format!("{text:>8}")
}

fn phase_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Locking => "Waiting for the package system",
        Phase::Resolving => "Checking the plan",
        Phase::Fetching => "Fetching",
        Phase::Building => "Building",
        Phase::Applying => "Applying",
        Phase::Finishing => "Finishing",
    }
}

fn state_words(state: ItemState) -> &'static str {
    match state {
        ItemState::Fetching => "fetching",
        ItemState::Fetched => "fetched",
        ItemState::Hit => "is there:",
        ItemState::Unpacking => "unpacking",
        ItemState::Unpacked => "unpacked",
        ItemState::Configuring => "configuring",
        ItemState::Installed => "installed",
        ItemState::Removing => "removing",
        ItemState::Removed => "removed",
        ItemState::Failed => "failed:",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| line.iter().map(Piece::text).collect()).collect()
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut rate = Rate::default();
        let start = Instant::now();
        rate.note(start, 0);
        assert_eq!(rate.per_second(), None);
        for second in 1..=10 {
            rate.note(start + Duration::from_secs(second), second * 1000);
        }
        assert_eq!(rate.per_second(), Some(1000));
        for second in 11..=20 {
            rate.note(start + Duration::from_secs(second), 10_000 + (second - 10) * 50_000);
        }
        assert_eq!(rate.per_second(), Some(50_000));
        // Nothing was fetched twice.
        rate.note(start + Duration::from_secs(30), 0);
        assert_eq!(rate.per_second(), Some(0));
    }

    #[test]
    fn downloads_have_a_bar_each_and_one_for_all() {
        let mut out = Output::for_test(100);
        let mut progress = Progress::new(false, true);
        progress.hear(&Event::Phase { phase: Phase::Fetching, cancellable: true }, &mut out);
        for number in 0..6 {
            let item = format!("p{number}");
            let state = ItemState::Fetching;
            progress.hear(&Event::Item { item, state, bytes_done: 512, bytes_total: 1024 }, &mut out);
        }
        progress.hear(&Event::Progress { fraction: 0.25, bytes_done: 1024, bytes_total: 4096 }, &mut out);
        let half = "━".repeat(10) + &"─".repeat(10);
        let quarter = "━".repeat(5) + &"─".repeat(15);
        assert_eq!(
            text(&progress.lines()),
            [
                format!("  {half}    512 B of  1.0 KiB p0"),
                format!("  {half}    512 B of  1.0 KiB p1"),
                format!("  {half}    512 B of  1.0 KiB p2"),
                format!("  {half}    512 B of  1.0 KiB p3"),
                "  and 2 more".to_owned(),
                format!("Fetching {quarter}  25 %  1.0 KiB of 4.0 KiB"),
            ]
        );
        progress.hear(&Event::Phase { phase: Phase::Applying, cancellable: false }, &mut out);
        assert!(!progress.is_cancellable());
        let state = ItemState::Configuring;
        progress.hear(&Event::Item { item: "p0".into(), state, bytes_done: 0, bytes_total: 0 }, &mut out);
        progress.hear(&Event::Progress { fraction: 2.0, bytes_done: 0, bytes_total: 0 }, &mut out);
        let full = "━".repeat(20);
        assert_eq!(text(&progress.lines()), [format!("Applying {full} 100 %  configuring p0")]);
    }
}
