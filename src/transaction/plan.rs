//! The plan: everything that a commit of some actions would do.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Action, Answers, Decision, Digest, Options, Privilege};

/// What happens to one package. The words are part of the D-Bus contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    Install,
    Upgrade,
    Downgrade,
    Reinstall,
    Remove,
    Purge,
    Hold,
    Unhold,
    MarkExplicit,
    MarkDependency,
    /// Unpacked before, configured now.
    Configure,
    /// Package files deleted from the download cache.
    Clean,
}

/// One package's part in a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Item {
    pub change: Change,
    pub name: String,
    pub arch: String,
    /// The installed version; empty when there is none.
    pub from: String,
    /// The version after; empty when there is none.
    pub to: String,
    /// Where the new version comes from; empty when there is none, `local` for a package file.
    pub repository: String,
    /// Bytes still to download.
    pub download: u64,
    /// Bytes that are taken up on the disk, or set free.
    pub delta: i64,
    /// Whether it is there because it was asked for, not as a dependency.
    pub explicit: bool,
    /// Of the package file that is to be installed, as the package lists promise it or, for a package file, as it is;
    /// empty when there is none. Hexadecimal.
    pub sha256: String,
}

/// Why an available upgrade is no part of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldReason {
    /// The user holds it.
    Held,
    /// It is not offered to this machine yet.
    Phased,
    /// It would need other packages to be installed or removed.
    Dependencies,
}

/// An available upgrade that is no part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeldBack {
    pub name: String,
    pub arch: String,
    pub from: String,
    pub to: String,
    pub reason: HoldReason,
}

/// What somebody should think twice about. As text a code, a colon and what it is about: clients translate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Removes what the system may not work without.
    RemovesEssential(String),
    /// Removes more packages than somebody would expect.
    RemovesMany(u32),
    Downgrades(String),
    /// No trusted repository vouches for it.
    Untrusted(String),
    /// Changes what the user holds.
    ChangesHeld(String),
    /// Leaves so many packages at versions that the new ones were not built for: a partial upgrade, which Arch Linux does
    /// not support.
    PartialUpgrade(u32),
}

/// Everything that a commit of some actions would do. Immutable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub actions: Vec<Action>,
    pub options: Options,
    /// In the order of changes, then names.
    pub items: Vec<Item>,
    pub held_back: Vec<HeldBack>,
    /// Packages that nothing would need any more afterwards.
    pub unneeded: Vec<String>,
    pub risks: Vec<Risk>,
    /// What the package system said while it resolved.
    pub notes: Vec<String>,
    /// What it asked, in the order in which it did.
    #[serde(default)]
    pub decisions: Vec<Decision>,
    /// What a repair does besides the items, for people: a lock or a torn record that it takes away. No part of the digest:
    /// when the items are resolved again it is done already.
    #[serde(default)]
    pub mends: Vec<String>,
    pub digest: Digest,
}

/// The number of removals beyond which a plan says so.
pub const MANY_REMOVALS: usize = 20;

impl Change {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Downgrade => "downgrade",
            Self::Reinstall => "reinstall",
            Self::Remove => "remove",
            Self::Purge => "purge",
            Self::Hold => "hold",
            Self::Unhold => "unhold",
            Self::MarkExplicit => "mark-explicit",
            Self::MarkDependency => "mark-dependency",
            Self::Configure => "configure",
            Self::Clean => "clean",
        }
    }

    fn privilege(self) -> Privilege {
        match self {
            Self::Install | Self::Reinstall => Privilege::Install,
            Self::Upgrade => Privilege::Upgrade,
            Self::Downgrade | Self::Remove | Self::Purge => Privilege::Remove,
            Self::Hold | Self::Unhold | Self::MarkExplicit | Self::MarkDependency | Self::Configure | Self::Clean => {
                Privilege::Manage
            }
        }
    }
}

impl HoldReason {
    /// The word on D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Phased => "phased",
            Self::Dependencies => "dependencies",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemovesEssential(name) => write!(f, "removes-essential:{name}"),
            Self::RemovesMany(count) => write!(f, "removes-many:{count}"),
            Self::Downgrades(name) => write!(f, "downgrades:{name}"),
            Self::Untrusted(name) => write!(f, "untrusted:{name}"),
            Self::ChangesHeld(name) => write!(f, "changes-held:{name}"),
            Self::PartialUpgrade(count) => write!(f, "partial-upgrade:{count}"),
        }
    }
}

/// What a resolver found, before it is put in order and named.
#[derive(Debug, Clone, Default)]
pub struct Resolution {
    /// Which package system it was resolved on, when that is not the machine's own: its root and settings.
    pub place: Option<String>,
    pub items: Vec<Item>,
    pub held_back: Vec<HeldBack>,
    pub unneeded: Vec<String>,
    pub risks: Vec<Risk>,
    pub notes: Vec<String>,
    pub decisions: Vec<Decision>,
    pub mends: Vec<String>,
}

impl Plan {
    /// The plan for `actions` as it was resolved: put in order, its evident risks added, and named by its digest.
    pub fn new(actions: Vec<Action>, options: Options, resolution: Resolution) -> Self {
        let Resolution { place, mut items, mut held_back, mut unneeded, mut risks, notes, decisions, mends } =
            resolution;
        items.sort_unstable();
        held_back.sort_unstable();
        unneeded.sort_unstable();
        let removals = items.iter().filter(|item| matches!(item.change, Change::Remove | Change::Purge)).count();
        let asked_for = actions.iter().filter(|action| action.verb().privilege() == Privilege::Remove).count();
        if removals > MANY_REMOVALS.max(asked_for) {
            risks.push(Risk::RemovesMany(u32::try_from(removals).unwrap_or(u32::MAX)));
        }
        risks.extend(
            items
                .iter()
                .filter(|item| item.change == Change::Downgrade)
                .map(|item| Risk::Downgrades(item.name.clone())),
        );
        risks.sort_unstable();
        risks.dedup();
        let digest = Digest::default();
        let mut plan = Self { actions, options, items, held_back, unneeded, risks, notes, decisions, mends, digest };
        plan.digest = plan.digest_at(place.as_deref());
        plan
    }

    /// Of what decides what a commit does: where, actions, options, items, risks. Not how much is still to be downloaded,
    /// which changes without changing the plan, nor the answers that led to the items.
    fn digest_at(&self, place: Option<&str>) -> Digest {
        let items: Vec<Item> = self.items.iter().map(|item| Item { download: 0, ..item.clone() }).collect();
        // Postcard writes equal values as equal bytes, and these types hold nothing that it cannot write.
        let options = Options { answers: Answers::default(), ..self.options.clone() };
        let bytes = postcard::to_stdvec(&(2_u8, place, &self.actions, options, items, &self.risks));
        Digest::of(&bytes.unwrap_or_default())
    }

    /// Whether a commit would do nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.mends.is_empty()
    }

    /// Bytes still to download.
    pub fn download_size(&self) -> u64 {
        self.items.iter().map(|item| item.download).sum()
    }

    /// Bytes that are taken up on the disk, or set free.
    pub fn installed_size_delta(&self) -> i64 {
        self.items.iter().map(|item| item.delta).sum()
    }

    /// What committing it takes: what was asked for, and what it turned out to mean.
    pub fn privileges(&self) -> BTreeSet<Privilege> {
        let asked = self.actions.iter().map(|action| action.verb().privilege());
        let untrusted = self.risks.iter().filter(|risk| matches!(risk, Risk::Untrusted(_)));
        asked
            .chain(self.items.iter().map(|item| item.change.privilege()))
            .chain(untrusted.map(|_| Privilege::InstallUntrusted))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verb;
    use super::*;

    fn item(change: Change, name: &str) -> Item {
        Item {
            change,
            name: name.into(),
            arch: "amd64".into(),
            from: String::new(),
            to: "1.0".into(),
            repository: "stable/main".into(),
            download: 10,
            delta: -3,
            explicit: true,
            sha256: "ab".into(),
        }
    }

    fn plan(items: Vec<Item>) -> Plan {
        let actions = vec![Action::new(Verb::Install, "b").unwrap()];
        Plan::new(actions, Options::default(), Resolution { items, ..Resolution::default() })
    }

    #[test]
    fn the_digest_names_what_is_done_and_not_what_is_left_to_download() {
        let one = plan(vec![item(Change::Install, "b"), item(Change::Install, "a")]);
        let other_order = plan(vec![item(Change::Install, "a"), item(Change::Install, "b")]);
        assert_eq!(one, other_order);
        assert_eq!((one.download_size(), one.installed_size_delta()), (20, -6));
        let downloaded = plan(vec![Item { download: 0, ..item(Change::Install, "b") }, item(Change::Install, "a")]);
        assert_eq!(downloaded.digest, one.digest);
        for changed in [
            Item { to: "1.1".into(), ..item(Change::Install, "b") },
            Item { sha256: "cd".into(), ..item(Change::Install, "b") },
            Item { repository: "evil/main".into(), ..item(Change::Install, "b") },
            item(Change::Reinstall, "b"),
        ] {
            assert_ne!(plan(vec![changed, item(Change::Install, "a")]).digest, one.digest);
        }
        let elsewhere =
            Resolution { place: Some("/srv/root".into()), items: one.items.clone(), ..Resolution::default() };
        assert_ne!(Plan::new(one.actions.clone(), one.options.clone(), elsewhere).digest, one.digest);
        let replaced = Options { conffiles: super::super::Conffiles::Replace, ..Options::default() };
        let resolution = Resolution { items: one.items.clone(), ..Resolution::default() };
        assert_ne!(Plan::new(one.actions.clone(), replaced, resolution.clone()).digest, one.digest);
        let answers = Answers::new([("conflict:b:a".to_owned(), "yes".to_owned())]).unwrap();
        let answered = Options { answers, ..Options::default() };
        assert_eq!(Plan::new(one.actions.clone(), answered, resolution).digest, one.digest);
    }

    #[test]
    fn a_plan_takes_the_rights_of_what_it_turns_out_to_do() {
        let upgrade = plan(vec![item(Change::Install, "b")]);
        assert_eq!(upgrade.privileges(), BTreeSet::from([Privilege::Install]));
        let removing = plan(vec![item(Change::Install, "b"), item(Change::Remove, "a"), item(Change::Upgrade, "c")]);
        let all = [Privilege::Install, Privilege::Remove, Privilege::Upgrade];
        assert_eq!(removing.privileges(), BTreeSet::from(all));
        let resolution = Resolution { risks: vec![Risk::Untrusted("b".into())], ..Resolution::default() };
        let untrusted = Plan::new(upgrade.actions.clone(), Options::default(), resolution);
        assert!(untrusted.privileges().contains(&Privilege::InstallUntrusted));
    }

    #[test]
    fn downgrades_and_many_removals_are_risks() {
        let removals = (0..=MANY_REMOVALS).map(|number| item(Change::Remove, &format!("p{number}")));
        let risky = plan(removals.chain([item(Change::Downgrade, "old")]).collect());
        assert_eq!(risky.risks, [Risk::RemovesMany(21), Risk::Downgrades("old".into())]);
        assert_eq!(risky.risks[0].to_string(), "removes-many:21");
    }
}
