//! `org.omg.Aur1`: packages of the AUR are ordered, looked at and built.

use std::sync::Arc;

use zbus::message::Header;
use zbus::{Connection, OwnedFd, OwnedObjectPath, interface};

use super::activity::Activity;
use super::arguments::{self, Options};
use super::dictionaries::Dictionary;
use super::error::Error;
use super::refresh::{Refreshes, Work};
use crate::engine::Engine;
use crate::transaction::Decision;

/// Version of the interface; it only ever gains members.
pub const INTERFACE_VERSION: u32 = 1;

/// Most targets of one order.
const MAX_TARGETS: usize = 1000;

/// name, whether it was asked for, whether it is needed for building only.
pub type WireNeeded = (String, bool, bool);

/// name, installed version, whether it is there for others, whether it is needed for building only.
pub type WireStepPackage = (String, String, bool, bool);

/// base, version, packages, bases that come before.
pub type WireStep = (String, String, Vec<WireStepPackage>, Vec<String>);

/// The question, what is wanted, the packages that provide it, the one taken unless somebody says otherwise, the one taken.
pub type WireChoice = (String, String, Vec<String>, String, String);

/// Serves `org.omg.Aur1`.
#[derive(Debug, Clone)]
pub struct Aur {
    engine: Arc<Engine>,
    activity: Activity,
    /// Stands for the peer where messages carry no sender.
    peer: String,
    jobs: Refreshes,
}

impl Aur {
    pub fn new(engine: Arc<Engine>, activity: Activity, peer: String, jobs: Refreshes) -> Self {
        Self { engine, activity, peer, jobs }
    }

    fn begin(&self, header: &Header<'_>) -> Result<super::activity::Call, Error> {
        self.activity.begin(header.sender().map_or(self.peer.as_str(), |sender| sender.as_str()))
    }
}

/// Packages of the Arch User Repository: in which order they are built, what there is to look at before, and building them,
/// as this user and in a sandbox. What is built is installed by org.omg.Transaction1, as any package file.
///
/// Nothing of a package is run before its commit was accepted.
#[interface(name = "org.omg.Aur1")]
impl Aur {
    /// What is installed from repositories first, as (name, asked for, needed for building only); what is built, in this
    /// order, as (package base, version, packages (name, installed version, there for others, needed for building only),
    /// package bases that come before); what else there is to say; and what was to be decided, as Decisions of a plan.
    ///
    /// Targets are NAME, or aur/NAME for what is to come from the AUR whatever repositories have. Options: upgrade b takes in
    /// what is installed and newer in the AUR; devel b also what was built from a repository that has moved since, whose
    /// version is told as latest-commit; when it is not given, the setting aur.devel; answers a{ss}
    /// chooses which package provides something, under the key provider:WANTED, and whether an installed package may be
    /// removed, under conflict:PACKAGE:INSTALLED; where it may not, installing fails.
    #[zbus(out_args("repository", "steps", "notes", "decisions"))]
    async fn order(
        &self,
        #[zbus(header)] header: Header<'_>,
        targets: Vec<String>,
        options: Options,
    ) -> Result<(Vec<WireNeeded>, Vec<WireStep>, Vec<String>, Vec<WireChoice>), Error> {
        let _call = self.begin(&header)?;
        if targets.len() > MAX_TARGETS {
            return Err(Error::LimitExceeded(format!("targets: at most {MAX_TARGETS} are allowed")));
        }
        for target in &targets {
            arguments::text("targets", target)?;
        }
        let upgrade = arguments::boolean(&options, "upgrade")?.unwrap_or(false);
        let devel = arguments::boolean(&options, "devel")?;
        let answers = arguments::answers(&options)?;
        let (order, decisions) = self.engine.aur_order(targets, upgrade, devel, answers).await?;
        let repository = order.repository.into_iter().map(|needed| (needed.name, needed.explicit, needed.make_only));
        let steps = order.steps.into_iter().map(|step| {
            let packages = step.packages.into_iter();
            let packages = packages.map(|package| (package.name, package.from, package.dependency, package.make_only));
            (step.base, step.version, packages.collect(), step.needs)
        });
        let decisions = decisions.into_iter().map(|decision| {
            let Decision { asks, about, choices, default, chosen } = decision;
            (asks.as_str().to_owned(), about, choices, default, chosen)
        });
        Ok((repository.collect(), steps.collect(), order.notes, decisions.collect()))
    }

    /// Fetches a package base: Commit s, the newest one; Reviewed s, the one that was looked at before, empty when none was;
    /// Version s; Packages as; Changes ay, as git tells them, from the one to the other: a stranger's text.
    #[zbus(out_args("review"))]
    async fn review(&self, #[zbus(header)] header: Header<'_>, base: String) -> Result<Dictionary, Error> {
        let _call = self.begin(&header)?;
        let review = self.engine.aur_review(&base).await?;
        Ok(Dictionary::from([
            ("Commit", review.commit.into()),
            ("Reviewed", review.reviewed.unwrap_or_default().into()),
            ("Version", review.info.version.into()),
            ("Packages", review.info.packages.into()),
            ("Changes", review.changes.into()),
        ]))
    }

    /// Lets a commit be built: somebody looked at it, or wants it unseen, which is written into the log.
    async fn accept(
        &self,
        #[zbus(header)] header: Header<'_>,
        base: String,
        commit: String,
        looked: bool,
    ) -> Result<(), Error> {
        let _call = self.begin(&header)?;
        Ok(self.engine.aur_accept(&base, &commit, looked).await?)
    }

    /// A job that builds an accepted commit: sources are fetched and checked, and then, without a network, everything else.
    /// It asks about keys that sources are signed with. Unknown options are ignored.
    #[zbus(out_args("job"))]
    async fn build(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        base: String,
        commit: String,
        #[expect(unused_variables, reason = "reserved by the contract; unknown options are ignored")] options: Options,
    ) -> Result<OwnedObjectPath, Error> {
        let _call = self.begin(&header)?;
        let work = Work::Build { base, commit };
        self.jobs.serve(connection, &header, Arc::clone(&self.engine), self.activity.keep(), false, work).await
    }

    /// What was built from a commit, as (name, version, the package file).
    #[zbus(out_args("packages"))]
    async fn packages(
        &self,
        #[zbus(header)] header: Header<'_>,
        base: String,
        commit: String,
    ) -> Result<Vec<(String, String, OwnedFd)>, Error> {
        let _call = self.begin(&header)?;
        let packages = self.engine.aur_packages(base, commit).await?.into_iter();
        let packages = packages.map(|(built, file)| {
            let file: std::os::fd::OwnedFd = file.into();
            (built.name, built.version, OwnedFd::from(file))
        });
        Ok(packages.collect())
    }

    /// Version of this interface; it only ever gains members.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> u32 {
        INTERFACE_VERSION
    }
}
