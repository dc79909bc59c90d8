//! Who is being served right now: bounds calls per peer and tells the daemon when it is idle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::error::Error;

/// Calls that one peer may have in flight.
pub const MAX_CALLS_PER_PEER: usize = 64;

/// Calls in flight and the time since the last one. Share it by cloning.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug)]
struct State {
    by_peer: HashMap<String, usize>,
    running: usize,
    kept: usize,
    last: Instant,
}

impl Default for State {
    fn default() -> Self {
        Self { by_peer: HashMap::new(), running: 0, kept: 0, last: Instant::now() }
    }
}

/// Something that a peer comes back to: the daemon is not idle while it is there.
#[derive(Debug)]
pub struct Kept(Arc<Shared>);

/// One call in flight; ends when dropped.
#[derive(Debug)]
pub struct Call {
    shared: Arc<Shared>,
    peer: String,
}

impl Activity {
    /// Notes a call of `peer`, the sender's bus name or what stands for a peer-to-peer connection.
    ///
    /// # Errors
    /// `LimitExceeded` when the peer has too many calls in flight.
    pub fn begin(&self, peer: &str) -> Result<Call, Error> {
        let mut state = self.0.state();
        let calls = state.by_peer.entry(peer.to_owned()).or_default();
        if *calls >= MAX_CALLS_PER_PEER {
            return Err(Error::LimitExceeded(format!(
                "calls: {MAX_CALLS_PER_PEER} of yours are still running; wait for one of them"
            )));
        }
        *calls += 1;
        state.running += 1;
        state.last = Instant::now();
        Ok(Call { shared: Arc::clone(&self.0), peer: peer.to_owned() })
    }

    /// How many calls are in flight.
    pub fn running(&self) -> usize {
        self.0.state().running
    }

    /// Notes something that a peer comes back to.
    pub fn keep(&self) -> Kept {
        self.0.state().kept += 1;
        Kept(Arc::clone(&self.0))
    }

    /// How long nothing has run; `None` while something does, or while there is something to come back to.
    pub fn idle_for(&self) -> Option<Duration> {
        let state = self.0.state();
        (state.running == 0 && state.kept == 0).then(|| state.last.elapsed())
    }

    /// Waits for a call, then until none has run for `pause`.
    pub async fn paused(&self, pause: Duration) {
        self.0.ended.notified().await;
        loop {
            match self.idle_for() {
                Some(idle) if idle >= pause => return,
                idle => tokio::time::sleep(pause.saturating_sub(idle.unwrap_or_default())).await,
            }
        }
    }

    /// Waits until nothing runs.
    pub async fn drained(&self) {
        loop {
            let ended = self.0.ended.notified();
            if self.0.state().running == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.kept = state.kept.saturating_sub(1);
        state.last = Instant::now();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.running = state.running.saturating_sub(1);
        state.last = Instant::now();
        if let Some(calls) = state.by_peer.get_mut(&self.peer) {
            *calls -= 1;
            if *calls == 0 {
                state.by_peer.remove(&self.peer);
            }
        }
        drop(state);
        self.shared.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_is_bounded_and_another_is_still_served() {
        let activity = Activity::default();
        let calls: Vec<Call> = (0..MAX_CALLS_PER_PEER).map(|_| activity.begin(":1.7").unwrap()).collect();
        assert!(matches!(activity.begin(":1.7"), Err(Error::LimitExceeded(_))));
        assert!(activity.begin(":1.8").is_ok());
        assert_eq!(activity.idle_for(), None);
        drop(calls);
        assert!(activity.begin(":1.7").is_ok());
        assert!(activity.idle_for().is_some());
    }
}
