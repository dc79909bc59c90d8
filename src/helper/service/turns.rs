//! Whose turn it is: one change of the machine's packages at a time, fair between users.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Hands out turns, one at a time. Users who wait take turns, each in the order of their jobs: many jobs of one user do
/// not keep another one waiting longer. Share it by cloning.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<Line>>);

#[derive(Debug, Default)]
struct Line {
    taken: bool,
    waiting: VecDeque<(u32, oneshot::Sender<Turn>)>,
    /// Number of the turn that each user had last; those who never had one go first.
    served: HashMap<u32, u64>,
    turns: u64,
}

/// A turn; ends when dropped.
#[derive(Debug)]
pub struct Turn(Option<Turns>);

impl Turns {
    /// Waits for a turn of `uid`. Who stops waiting loses its place.
    pub async fn wait(&self, uid: u32) -> Turn {
        let place = {
            let mut line = self.line();
            if !line.taken {
                line.taken = true;
                line.served(uid);
                return Turn(Some(self.clone()));
            }
            let (sender, place) = oneshot::channel();
            line.waiting.push_back((uid, sender));
            place
        };
        match place.await {
            Ok(turn) => turn,
            // The line lives as long as this does, and drops nobody who waits.
            Err(_) => std::future::pending().await,
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the turn that ended to the next one who still waits.
    fn pass_on(&self) {
        loop {
            let mut line = self.line();
            let Some(sender) = line.next() else {
                line.taken = false;
                line.served.clear();
                return;
            };
            drop(line);
            match sender.send(Turn(Some(self.clone()))) {
                Ok(()) => return,
                // Gone meanwhile; its turn must not pass itself on, this loop does.
                Err(mut turn) => turn.0 = None,
            }
        }
    }
}

impl Line {
    /// The first job of the user who had a turn the longest time ago.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        self.waiting.retain(|(_, sender)| !sender.is_closed());
        let last = |uid: &u32| self.served.get(uid).copied().unwrap_or_default();
        // Of several that are equal, the first one in the line.
        let (place, _) = self.waiting.iter().enumerate().min_by_key(|(_, (uid, _))| last(uid))?;
        let (uid, sender) = self.waiting.remove(place)?;
        self.served(uid);
        Some(sender)
    }

    fn served(&mut self, uid: u32) {
        self.turns += 1;
        self.served.insert(uid, self.turns);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waiting = Pin<Box<dyn Future<Output = Turn>>>;

    fn waiting(turns: &Turns, uid: u32) -> Waiting {
        let turns = turns.clone();
        let mut future: Waiting = Box::pin(async move { turns.wait(uid).await });
        assert!(come(&mut future).is_none(), "nobody waits for a turn that is free");
        future
    }

    fn come(future: &mut Waiting) -> Option<Turn> {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn many_jobs_of_one_user_do_not_keep_another_one_waiting() {
        let turns = Turns::default();
        let first = turns.wait(1).await;
        let mut flood: Vec<Waiting> = (0..50).map(|_| waiting(&turns, 1)).collect();
        let mut other = waiting(&turns, 2);
        drop(first);
        assert!(flood.iter_mut().all(|future| come(future).is_none()));
        let second = come(&mut other).expect("the other user is next");
        drop(second);
        let third = come(&mut flood[0]).expect("then the first of the many");
        assert!(come(&mut flood[1]).is_none());
        drop(third);
        assert!(come(&mut flood[1]).is_some());
    }

    #[tokio::test]
    async fn who_stops_waiting_holds_nobody_up() {
        let turns = Turns::default();
        let first = turns.wait(1).await;
        let (gone, mut late) = (waiting(&turns, 2), waiting(&turns, 3));
        let mut last = waiting(&turns, 4);
        drop(gone);
        drop(first);
        assert!(come(&mut last).is_none());
        // It has its turn and goes away before it could know.
        assert!(turns.line().taken);
        let handed = come(&mut late).unwrap();
        drop(handed);
        assert!(come(&mut last).is_some());
        drop(last);
        turns.wait(5).await;
    }

    #[tokio::test]
    async fn a_turn_that_nobody_takes_up_passes_on() {
        let turns = Turns::default();
        let first = turns.wait(1).await;
        let (never_polled_again, mut next) = (waiting(&turns, 2), waiting(&turns, 3));
        drop(first);
        drop(never_polled_again);
        assert!(come(&mut next).is_some());
    }
}
