//! The client side of `org.omg.Aur1`.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd as StdFd;

use serde::Serialize;
use zbus::proxy::CacheProperties;
use zbus::{OwnedFd, OwnedObjectPath};

use super::aur::{WireChoice, WireNeeded, WireStep};
use super::client::{Client, ClientError};
use super::planned::DecisionItem;
use super::proxy::{Fields, Options};
use super::transaction::Job;
use crate::transaction::Answers;

#[zbus::proxy(
    interface = "org.omg.Aur1",
    default_service = "org.omg.PackageManager1",
    default_path = "/org/omg/PackageManager1"
)]
trait AurObject {
    fn order(
        &self,
        targets: &[&str],
        options: &Options<'_>,
    ) -> zbus::Result<(Vec<WireNeeded>, Vec<WireStep>, Vec<String>, Vec<WireChoice>)>;
    fn review(&self, base: &str) -> zbus::Result<Fields>;
    fn accept(&self, base: &str, commit: &str, looked: bool) -> zbus::Result<()>;
    fn build(&self, base: &str, commit: &str, options: &Options<'_>) -> zbus::Result<OwnedObjectPath>;
    fn packages(&self, base: &str, commit: &str) -> zbus::Result<Vec<(String, String, OwnedFd)>>;
}

/// What is to be done for packages of the AUR, as `Order` of the interface tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AurOrder {
    pub repository: Vec<AurNeeded>,
    pub steps: Vec<AurStep>,
    pub notes: Vec<String>,
    /// What several packages of the AUR provide, and which one is taken.
    pub decisions: Vec<DecisionItem>,
}

/// A package of a repository that is installed first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AurNeeded {
    pub name: String,
    /// Asked for by its name.
    pub explicit: bool,
    /// Needed for building only.
    pub make_only: bool,
}

/// A package base to build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AurStep {
    pub base: String,
    pub version: String,
    pub packages: Vec<AurStepPackage>,
    /// Package bases that are built and installed before.
    pub needs: Vec<String>,
}

/// A package that is installed of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AurStepPackage {
    pub name: String,
    /// Installed now; empty where it is not.
    pub from: String,
    /// It is there for others.
    pub dependency: bool,
    /// Needed for building only.
    pub make_only: bool,
}

/// What there is to look at before a package base is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AurReview {
    pub commit: String,
    /// Looked at before; empty when nothing was.
    pub reviewed: String,
    pub packages: Vec<String>,
    /// A stranger's text.
    pub changes: String,
}

impl Client {
    async fn aur(&self) -> Result<AurObjectProxy<'_>, ClientError> {
        Ok(AurObjectProxy::builder(self.connection()).cache_properties(CacheProperties::No).build().await?)
    }

    /// What is built for these targets, in which order. What has moved is taken in with `devel`, or where that is set.
    ///
    /// # Errors
    /// When there is no such order, or the AUR cannot be asked.
    pub async fn aur_order(
        &mut self,
        targets: &[String],
        upgrade: bool,
        devel: bool,
        answers: &Answers,
    ) -> Result<AurOrder, ClientError> {
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        let mut options = Options::from([("upgrade", upgrade.into())]);
        if devel {
            options.insert("devel", true.into());
        }
        if !answers.is_empty() {
            let answers: HashMap<&str, &str> = answers.iter().collect();
            options.insert("answers", answers.into());
        }
        let (repository, steps, notes, decisions) = self.aur().await?.order(&targets, &options).await?;
        let repository =
            repository.into_iter().map(|(name, explicit, make_only)| AurNeeded { name, explicit, make_only });
        let package = |(name, from, dependency, make_only)| AurStepPackage { name, from, dependency, make_only };
        let steps = steps.into_iter().map(|(base, version, packages, needs)| AurStep {
            base,
            version,
            packages: packages.into_iter().map(package).collect(),
            needs,
        });
        let decisions = decisions.into_iter().map(|(question, about, choices, default, choice)| DecisionItem {
            question,
            about,
            choices,
            default,
            choice,
        });
        Ok(AurOrder { repository: repository.collect(), steps: steps.collect(), notes, decisions: decisions.collect() })
    }

    /// Fetches a package base, and what is to be looked at of it.
    ///
    /// # Errors
    /// When it cannot be fetched or is not such as may be built.
    pub async fn aur_review(&mut self, base: &str) -> Result<AurReview, ClientError> {
        let fields = self.aur().await?.review(base).await?;
        let text = |key: &str| fields.get(key).and_then(|value| <&str>::try_from(value).ok()).unwrap_or_default();
        let field = |key: &str| fields.get(key).and_then(|value| value.try_clone().ok());
        let packages = field("Packages").and_then(|value| Vec::<String>::try_from(value).ok()).unwrap_or_default();
        let changes = field("Changes").and_then(|value| Vec::<u8>::try_from(value).ok()).unwrap_or_default();
        Ok(AurReview {
            commit: text("Commit").to_owned(),
            reviewed: text("Reviewed").to_owned(),
            packages,
            changes: String::from_utf8_lossy(&changes).into_owned(),
        })
    }

    /// Lets a commit be built.
    ///
    /// # Errors
    /// When that cannot be remembered.
    pub async fn aur_accept(&mut self, base: &str, commit: &str, looked: bool) -> Result<(), ClientError> {
        Ok(self.aur().await?.accept(base, commit, looked).await?)
    }

    /// Starts to build an accepted commit.
    ///
    /// # Errors
    /// When the daemon refuses it.
    pub async fn aur_build(&mut self, base: &str, commit: &str) -> Result<Job, ClientError> {
        let path = self.aur().await?.build(base, commit, &Options::new()).await?;
        Job::of_daemon(self.connection(), path).await
    }

    /// What was built: name, version, file.
    ///
    /// # Errors
    /// When that is not there.
    pub async fn aur_packages(&mut self, base: &str, commit: &str) -> Result<Vec<(String, String, File)>, ClientError> {
        let packages = self.aur().await?.packages(base, commit).await?.into_iter();
        Ok(packages.map(|(name, version, file)| (name, version, File::from(StdFd::from(file)))).collect())
    }
}
