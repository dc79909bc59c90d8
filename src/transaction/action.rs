//! What is asked for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most actions in one plan.
pub const MAX_ACTIONS: usize = 2000;

/// The longest target, in bytes.
pub const MAX_TARGET_BYTES: usize = 512;

/// What to do with a target. The words are part of the D-Bus contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Install the candidate, or the version or release that the target names.
    Install,
    /// Install a package file; the target is its name for people, the file itself travels as a descriptor.
    InstallFile,
    /// Install the installed version again.
    Reinstall,
    /// Upgrade one package.
    Upgrade,
    /// Upgrade everything, installing new packages where that needs it and removing none.
    UpgradeAll,
    /// Upgrade everything, removing packages where that needs it.
    FullUpgrade,
    /// Remove, keeping configuration files.
    Remove,
    /// Remove with configuration files.
    Purge,
    /// Remove what was installed as a dependency and is needed no more.
    Autoremove,
    /// Keep at the installed version.
    Hold,
    Unhold,
    MarkExplicit,
    MarkDependency,
    /// Delete downloaded package files.
    Clean,
    /// Finish what an interrupted transaction left unfinished.
    Repair,
}

/// What somebody must be allowed to do, one polkit action each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Privilege {
    /// Fetch the package lists.
    Refresh,
    /// Upgrade installed packages from trusted repositories.
    Upgrade,
    /// Install more packages from trusted repositories.
    Install,
    /// Remove packages, or put older versions in place.
    Remove,
    /// Holds, marks, the download cache, repairs.
    Manage,
    /// Install what no trusted repository vouches for.
    InstallUntrusted,
    /// Trust one more signing key. No plan takes it: it is asked for by the answer that imports a key.
    ImportKey,
}

/// A verb and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(Verb, String)", into = "(Verb, String)")]
pub struct Action {
    verb: Verb,
    target: String,
}

/// Why an action is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidAction {
    #[error("{0:?} is no verb; known are {known}", known = Verb::ALL.map(Verb::as_str).join(", "))]
    UnknownVerb(String),
    #[error("{0} needs a package")]
    MissingTarget(Verb),
    #[error("{0} takes no package, {1:?} was given")]
    NeedlessTarget(Verb, String),
    #[error("{0:?} is no package: give NAME, NAME:ARCH, NAME=VERSION or NAME/RELEASE")]
    InvalidTarget(String),
}

impl Verb {
    pub const ALL: [Self; 15] = [
        Self::Install,
        Self::InstallFile,
        Self::Reinstall,
        Self::Upgrade,
        Self::UpgradeAll,
        Self::FullUpgrade,
        Self::Remove,
        Self::Purge,
        Self::Autoremove,
        Self::Hold,
        Self::Unhold,
        Self::MarkExplicit,
        Self::MarkDependency,
        Self::Clean,
        Self::Repair,
    ];

    /// The word on D-Bus and in the history.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::InstallFile => "install-file",
            Self::Reinstall => "reinstall",
            Self::Upgrade => "upgrade",
            Self::UpgradeAll => "upgrade-all",
            Self::FullUpgrade => "full-upgrade",
            Self::Remove => "remove",
            Self::Purge => "purge",
            Self::Autoremove => "autoremove",
            Self::Hold => "hold",
            Self::Unhold => "unhold",
            Self::MarkExplicit => "mark-explicit",
            Self::MarkDependency => "mark-dependency",
            Self::Clean => "clean",
            Self::Repair => "repair",
        }
    }

    /// Whether it is about something in particular.
    pub fn takes_target(self) -> bool {
        !matches!(self, Self::UpgradeAll | Self::FullUpgrade | Self::Autoremove | Self::Clean | Self::Repair)
    }

    /// What asking for it takes at the least; [`super::Plan::privileges`] tells what its plan takes.
    pub fn privilege(self) -> Privilege {
        match self {
            Self::Install | Self::Reinstall => Privilege::Install,
            Self::InstallFile => Privilege::InstallUntrusted,
            Self::Upgrade | Self::UpgradeAll => Privilege::Upgrade,
            Self::FullUpgrade | Self::Remove | Self::Purge | Self::Autoremove => Privilege::Remove,
            Self::Hold | Self::Unhold | Self::MarkExplicit | Self::MarkDependency | Self::Clean | Self::Repair => {
                Privilege::Manage
            }
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = InvalidAction;

    fn from_str(text: &str) -> Result<Self, InvalidAction> {
        let found = Self::ALL.into_iter().find(|verb| verb.as_str() == text);
        found.ok_or_else(|| InvalidAction::UnknownVerb(text.chars().take(MAX_TARGET_BYTES).collect()))
    }
}

impl Privilege {
    pub const ALL: [Self; 7] = [
        Self::Refresh,
        Self::Upgrade,
        Self::Install,
        Self::Remove,
        Self::Manage,
        Self::InstallUntrusted,
        Self::ImportKey,
    ];

    /// The polkit action's identifier.
    pub fn action_id(self) -> &'static str {
        match self {
            Self::Refresh => "org.omg.transaction.refresh",
            Self::Upgrade => "org.omg.transaction.upgrade",
            Self::Install => "org.omg.transaction.install",
            Self::Remove => "org.omg.transaction.remove",
            Self::Manage => "org.omg.transaction.manage",
            Self::InstallUntrusted => "org.omg.transaction.install-untrusted",
            Self::ImportKey => "org.omg.transaction.import-key",
        }
    }
}

impl Action {
    /// # Errors
    /// A target that is missing, needless, or could be anything but a package's name with an architecture, version or
    /// release.
    pub fn new(verb: Verb, target: impl Into<String>) -> Result<Self, InvalidAction> {
        let target = target.into();
        match (verb.takes_target(), target.is_empty()) {
            (true, true) => return Err(InvalidAction::MissingTarget(verb)),
            (false, false) => return Err(InvalidAction::NeedlessTarget(verb, target)),
            _ => {}
        }
        let bounded = target.len() <= MAX_TARGET_BYTES;
        let sound = if verb == Verb::InstallFile {
            // A file's own name, shown and never opened.
            bounded && !target.contains('/') && !target.chars().any(char::is_control)
        } else {
            // A leading dash or dot is no name, and whatever reads these as options or paths must not find one.
            bounded
                && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.:~_=/@^".contains(&byte))
                && !target.starts_with(['-', '.', '/', '+', '=', ':', '~', '^'])
                || target.is_empty()
        };
        if sound { Ok(Self { verb, target }) } else { Err(InvalidAction::InvalidTarget(target)) }
    }

    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// Empty for verbs that are about nothing in particular.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl TryFrom<(Verb, String)> for Action {
    type Error = InvalidAction;

    fn try_from((verb, target): (Verb, String)) -> Result<Self, InvalidAction> {
        Self::new(verb, target)
    }
}

impl From<Action> for (Verb, String) {
    fn from(action: Action) -> Self {
        (action.verb, action.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_verbs_are_each_others_inverse() {
        for verb in Verb::ALL {
            assert_eq!(verb.as_str().parse(), Ok(verb));
            assert_eq!(serde_json::to_value(verb).unwrap(), verb.as_str());
        }
        assert!(matches!("Install".parse::<Verb>(), Err(InvalidAction::UnknownVerb(_))));
    }

    #[test]
    fn what_is_no_package_is_refused() {
        for target in ["vim", "libc6:i386", "vim=2:9.0.1378-2+deb12u2", "vim/bookworm-backports", "g++", "python3.11"] {
            assert_eq!(Action::new(Verb::Install, target).unwrap().target(), target);
        }
        for target in ["-y", "--option=x", "/etc/passwd", "./x", "a b", "a;b", "a\nb", "a*", "é", &"a".repeat(600)] {
            assert_eq!(Action::new(Verb::Install, target), Err(InvalidAction::InvalidTarget(target.to_owned())));
        }
        assert_eq!(Action::new(Verb::Remove, ""), Err(InvalidAction::MissingTarget(Verb::Remove)));
        assert!(matches!(Action::new(Verb::Clean, "vim"), Err(InvalidAction::NeedlessTarget(Verb::Clean, _))));
        assert!(Action::new(Verb::InstallFile, "my tool_1.0_amd64.deb").is_ok());
        assert!(Action::new(Verb::InstallFile, "../x.deb").is_err());
    }
}
