//! What is built in which order: the words that the daemon, who can ask the AUR, and `omg-helper`, who can read the package
//! system's databases, exchange. JSON, one value a line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::AurPackage;

/// What is asked of `omg-helper aur`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `NAME`, or `aur/NAME` for what is to come from the AUR whatever the repositories have.
    pub targets: Vec<String>,
    /// Installed packages that no repository has are upgraded to what the AUR has.
    pub upgrade: bool,
    /// Installed packages that are built again although the AUR's version is not newer.
    pub again: Vec<String>,
    /// Installed packages that were built in this version, and are taken where it is newer than the installed one.
    pub built: Vec<(String, String)>,
    /// What the AUR said so far.
    pub known: Vec<AurPackage>,
    /// Names that it was asked about: what is not known of them is not there.
    pub asked: Vec<String>,
    /// Names that it was asked about who provides them.
    pub asked_for_providers: Vec<String>,
    /// Which package is to provide what, by what is provided.
    pub providers: BTreeMap<String, String>,
    /// Which one is to provide everything else.
    pub provider: Option<String>,
    /// Whether an installed package may be removed for one that it is in conflict with, by `PACKAGE:INSTALLED`.
    #[serde(default)]
    pub replace: BTreeMap<String, bool>,
    /// Whether all others may.
    #[serde(default)]
    pub replace_all: bool,
}

/// What `omg-helper aur` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Ask the AUR about the packages of these names.
    Ask(Vec<String>),
    /// Ask the AUR which packages provide these.
    AskForProviders(Vec<String>),
    Order(Order),
    /// There is no order, and why.
    Failed(Vec<Obstacle>),
    Unavailable(String),
}

/// Why something cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Obstacle {
    /// Neither installed, nor in a repository, nor in the AUR; by whom it is needed, nobody where it was asked for.
    Missing { name: String, needed_by: Option<String> },
    /// Each package needs the next one to be built, and the last one the first.
    Cycle(Vec<String>),
    /// They cannot be installed together.
    Conflict { one: String, other: String },
    /// An answer is none of the choices; the text says what they are.
    NoChoice(String),
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing { name, needed_by: None } => write!(f, "no repository has {name}, and the AUR neither"),
            Self::Missing { name, needed_by: Some(by) } => {
                write!(f, "{by} needs {name}, which neither a repository nor the AUR has")
            }
            Self::Cycle(names) => write!(f, "none of these can be built first: {}", names.join(" needs ")),
            Self::NoChoice(text) => f.write_str(text),
            Self::Conflict { one, other } => write!(f, "{one} and {other} cannot be installed together"),
        }
    }
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Order {
    /// Packages of repositories, installed before anything is built.
    pub repository: Vec<Needed>,
    pub steps: Vec<Step>,
    /// For people.
    pub notes: Vec<String>,
    /// What is for the user to decide, with how it is decided so far.
    pub choices: Vec<Choice>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// Something that several packages of the AUR provide, of which one is built. The first is taken where nobody says
    /// otherwise.
    Provider { wanted: String, providers: Vec<String>, chosen: String },
    /// An installed package that one to be built is in conflict with, and whether it may be removed for that. Where it may not,
    /// installing fails.
    Conflict { package: String, installed: String, agreed: bool },
}

/// A package of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed {
    pub name: String,
    /// Asked for by its name.
    pub explicit: bool,
    /// Needed for building only.
    pub make_only: bool,
}

/// In place of the AUR's version where what is built is what the sources' repositories have now.
pub const LATEST: &str = "latest-commit";

/// One package base to build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub base: String,
    /// As the AUR says, and what is built may be newer; or [`LATEST`].
    pub version: String,
    /// What is installed of it.
    pub packages: Vec<StepPackage>,
    /// The bases that have to be built and installed before.
    pub needs: Vec<String>,
}

/// One package of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepPackage {
    pub name: String,
    /// Installed now; empty where it is not.
    pub from: String,
    /// It is there for others afterwards.
    pub dependency: bool,
    /// Needed for building only.
    pub make_only: bool,
}
