//! What a running commit says, and how it ended.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Archive, Item, Plan, Privilege};

/// What a commit is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Waiting for the package system's lock.
    Locking,
    Resolving,
    Fetching,
    /// Making packages from their sources.
    Building,
    /// Unpacking, configuring, removing.
    Applying,
    /// Writing down what was done.
    Finishing,
}

/// Where one package, or one file that is fetched, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemState {
    Fetching,
    Fetched,
    /// It was there already.
    Hit,
    Unpacking,
    Unpacked,
    Configuring,
    Installed,
    Removing,
    Removed,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// What a question is about. Clients put it into words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "kebab-case")]
pub enum QuestionKind {
    /// A configuration file was changed here and in the new package. Choices: keep, replace.
    Conffile { package: String, path: String },
    /// A package is signed by a key that the package system does not know. Choices: refuse, import.
    Key { fingerprint: String, owner: String },
    /// A package file in the download cache is not what it should be. Choices: delete, keep.
    Corrupted { path: String, reason: String },
}

/// The choice that does not import a key.
pub const REFUSE: &str = "refuse";

/// The choice that imports a key.
pub const IMPORT: &str = "import";

/// The choice that deletes a corrupted package file, so that the next try fetches it again.
pub const DELETE: &str = "delete";

/// The choice that leaves a corrupted package file where it is.
pub const KEEP: &str = "keep";

/// Something that only the owner of the job can decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    pub id: u32,
    pub kind: QuestionKind,
    /// Words that are answers; the first is taken when nobody answers.
    pub choices: Vec<String>,
}

/// What a running commit says: one JSON object on a line of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The plan is the one that was asked for; committing it takes these rights. Said to a supervisor alone, which replies
    /// [`Reply::Proceed`] or [`Reply::Cancel`].
    Resolved {
        privileges: BTreeSet<Privilege>,
    },
    /// What a download is about, before anything is fetched.
    Archives {
        archives: Vec<Archive>,
    },
    /// What would be done, said where the request names no plan; whoever asked replies [`Reply::Proceed`] or
    /// [`Reply::Cancel`].
    Planned(Box<Plan>),
    Phase {
        phase: Phase,
        cancellable: bool,
    },
    /// Of all of it: 0 to 1; bytes while something is fetched.
    Progress {
        fraction: f64,
        bytes_done: u64,
        bytes_total: u64,
    },
    /// Of one package (`name:arch`) or one fetched file.
    Item {
        item: String,
        state: ItemState,
        bytes_done: u64,
        bytes_total: u64,
    },
    Message {
        level: Level,
        text: String,
    },
    Question(Question),
    /// The last one.
    Finished(Outcome),
}

/// What a caller says to a running commit: one JSON object on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Whoever asked may do what the plan says.
    Proceed,
    /// End as soon as nothing is left half done.
    Cancel,
    Answer {
        id: u32,
        choice: String,
    },
}

/// What should be restarted for the change to take effect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Restart {
    pub machine: bool,
    /// Packages that asked for it.
    pub packages: Vec<String>,
    /// System services that still run replaced files.
    pub services: Vec<String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Applied {
    pub items: Vec<Item>,
    pub restart: Restart,
    /// Number of the entry in the audit log; 0 when it could not be written.
    pub entry: u64,
}

/// What kind of failure: the names of the D-Bus errors without their prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureKind {
    NotFound,
    Ambiguous,
    InvalidArgument,
    ResolutionFailed,
    PlanStale,
    Locked,
    Busy,
    Offline,
    Network,
    Untrusted,
    PolicyDenied,
    NotAuthorized,
    AuthDismissed,
    AgentMissing,
    LimitExceeded,
    DiskFull,
    BackendUnavailable,
    Internal,
}

/// Why something was not done, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// For people: what happened, to what, and what to do next.
    pub message: String,
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    Succeeded(Applied),
    /// What was done before it failed is in `applied`.
    Failed {
        failure: Failure,
        applied: Applied,
    },
    Cancelled {
        applied: Applied,
    },
}

impl Phase {
    /// The word on D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Locking => "locking",
            Self::Resolving => "resolving",
            Self::Fetching => "fetching",
            Self::Building => "building",
            Self::Applying => "applying",
            Self::Finishing => "finishing",
        }
    }
}

impl ItemState {
    /// The word on D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetching => "fetching",
            Self::Fetched => "fetched",
            Self::Hit => "hit",
            Self::Unpacking => "unpacking",
            Self::Unpacked => "unpacked",
            Self::Configuring => "configuring",
            Self::Installed => "installed",
            Self::Removing => "removing",
            Self::Removed => "removed",
            Self::Failed => "failed",
        }
    }
}

impl Level {
    /// The word on D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Outcome {
    /// The word on D-Bus.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Succeeded(_) => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// What was done.
    pub fn applied(&self) -> &Applied {
        match self {
            Self::Succeeded(applied) | Self::Failed { applied, .. } | Self::Cancelled { applied } => applied,
        }
    }
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl FailureKind {
    /// The name behind `org.omg.Error.`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::Ambiguous => "Ambiguous",
            Self::InvalidArgument => "InvalidArgument",
            Self::ResolutionFailed => "ResolutionFailed",
            Self::PlanStale => "PlanStale",
            Self::Locked => "Locked",
            Self::Busy => "Busy",
            Self::Offline => "Offline",
            Self::Network => "Network",
            Self::Untrusted => "Untrusted",
            Self::PolicyDenied => "PolicyDenied",
            Self::NotAuthorized => "NotAuthorized",
            Self::AuthDismissed => "AuthDismissed",
            Self::AgentMissing => "AgentMissing",
            Self::LimitExceeded => "LimitExceeded",
            Self::DiskFull => "DiskFull",
            Self::BackendUnavailable => "BackendUnavailable",
            Self::Internal => "Internal",
        }
    }
}
