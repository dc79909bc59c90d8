//! What is to change and what came of it: actions, plans, progress, outcomes, and the lines in which `omg-helper` and its
//! callers speak of them.
//!
//! Nothing here knows a package system or a transport. A [`Plan`] is resolved from [`Action`]s without rights, shown, and
//! named by its [`Digest`]; whoever commits resolves the same actions again and refuses when the digest differs.

mod action;
pub mod decision;
mod digest;
mod download;
mod event;
mod history;
mod options;
mod paths;
mod plan;
mod state;
mod wire;

pub use action::{Action, InvalidAction, MAX_ACTIONS, MAX_TARGET_BYTES, Privilege, Verb};
pub use decision::{Answers, Asks, Decision, InvalidAnswer, NO, YES};
pub use digest::{Digest, InvalidDigest};
pub use download::{Archive, Download};
pub use event::{
    Applied, DELETE, Event, Failure, FailureKind, IMPORT, ItemState, KEEP, Level, Outcome, Phase, Question,
    QuestionKind, REFUSE, Reply, Restart,
};
pub use history::{Actor, HistoryEntry, HistoryItem, Standing, Via};
pub use options::{Conffiles, InvalidOption, Options};
pub use paths::{PathAnswer, PathQuery};
pub use plan::{Change, HeldBack, HoldReason, Item, MANY_REMOVALS, Plan, Resolution, Risk};
pub use state::State;
pub use wire::{Answer, LineError, MAX_LINE_BYTES, Request, read_line, write_line};
