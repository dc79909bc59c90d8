//! The states of a job and its legal moves.

use serde::{Deserialize, Serialize};

/// Where a job is. It only ever moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Made, not started.
    Ready,
    /// Waiting for the one who decides whether the caller may.
    Authorizing,
    /// Allowed; waiting for other jobs or the package system's lock.
    Waiting,
    Running,
    /// Over, with an outcome that no longer changes.
    Finished,
}

impl State {
    /// Whether `next` may follow: forward only, and nothing runs that was not authorised.
    pub fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Ready, Self::Authorizing) | (Self::Authorizing, Self::Waiting) | (Self::Waiting, Self::Running) => {
                true
            }
            (before, Self::Finished) => before != Self::Finished,
            _ => false,
        }
    }

    /// The word on D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Authorizing => "authorizing",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Finished => "finished",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_moves_forward_through_authorisation_only() {
        use State::{Authorizing, Finished, Ready, Running, Waiting};
        let all = [Ready, Authorizing, Waiting, Running, Finished];
        let legal: Vec<(State, State)> = all
            .into_iter()
            .flat_map(|from| all.map(|to| (from, to)))
            .filter(|(from, to)| from.may_become(*to))
            .collect();
        let expected = [
            (Ready, Authorizing),
            (Ready, Finished),
            (Authorizing, Waiting),
            (Authorizing, Finished),
            (Waiting, Running),
            (Waiting, Finished),
            (Running, Finished),
        ];
        assert_eq!(legal, expected);
    }
}
