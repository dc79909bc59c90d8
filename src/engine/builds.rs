//! Packages of the AUR: in which order they are built, what there is to look at before, and building them.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::Stdio;
use std::sync::Arc;

use super::{Engine, EngineError, blocking};
use crate::aur::order::{Answer, Order, Request};
use crate::aur::{AurError, Built, HttpError, Listener, Review, Workshop};
use crate::security::audit::{AuditLog, Readers, Record};
use crate::transaction::{Failure, FailureKind, read_line, write_line};

/// How often the AUR is asked for what was not known before: dependencies of dependencies.
const MAX_ROUNDS: usize = 32;

/// Most names that the AUR is asked about for one order.
const MAX_ASKED: usize = 5000;

/// Where keys are fetched from, unless another server is named.
pub const KEYSERVER: &str = "hkps://keyserver.ubuntu.com";

/// Folder of the log of what this user did, below that of the data.
const USER_LOG: &str = "audit";

impl From<AurError> for EngineError {
    fn from(error: AurError) -> Self {
        let kind = match &error {
            AurError::NotFound(_) => FailureKind::NotFound,
            AurError::Unsound(_) | AurError::Untrusted(_) => FailureKind::Untrusted,
            AurError::Invalid(_) => FailureKind::InvalidArgument,
            AurError::Network(_) => FailureKind::Network,
            AurError::Busy(_) => FailureKind::Busy,
            AurError::Unavailable(_) => FailureKind::BackendUnavailable,
            AurError::Build(_) | AurError::Cancelled | AurError::Failed(_) => FailureKind::Internal,
        };
        Self::Refused(Failure::new(kind, error.to_string()))
    }
}

fn network(error: &HttpError) -> EngineError {
    EngineError::Refused(Failure::new(FailureKind::Network, format!("the AUR cannot be asked: {error}")))
}

impl Engine {
    fn workshop(&self) -> Result<Workshop, EngineError> {
        let aur = self.options.aur.as_ref().ok_or_else(|| {
            EngineError::BackendUnavailable("packages of the AUR are for machines with pacman (aur.enabled)".into())
        })?;
        if rustix::process::geteuid().is_root() {
            let text = "packages of the AUR are not built as root: run omg as an ordinary user, or as one with sudo";
            return Err(EngineError::Refused(Failure::new(FailureKind::InvalidArgument, text)));
        }
        let cache = aur.archive.parent().unwrap_or(&self.options.data_dir).to_owned();
        let keyserver = aur.keyserver.clone().unwrap_or_else(|| KEYSERVER.to_owned());
        Ok(Workshop { address: aur.url.clone(), keyserver, cache, data: self.options.data_dir.clone() })
    }

    /// What is built, in which order, for these targets, and with `upgrade` for the installed packages that the AUR has
    /// newer versions of; with `devel` also for those whose repositories have moved since they were built.
    ///
    /// # Errors
    /// When something is missing, goes round in circles or conflicts; when the AUR or the databases cannot be read.
    pub async fn aur_order(
        self: &Arc<Self>,
        targets: Vec<String>,
        upgrade: bool,
        devel: bool,
    ) -> Result<Order, EngineError> {
        let workshop = self.workshop()?;
        let mut request = Request { targets, upgrade, ..Request::default() };
        if devel {
            request.again = moved(&workshop).await;
        }
        for _ in 0..MAX_ROUNDS {
            let mut command = self.helper("order")?;
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut line = Vec::new();
            write_line(&mut line, &request).map_err(|error| EngineError::Internal(format!("the request: {error}")))?;
            let answer = {
                let _turn = self.resolvers.acquire().await;
                self.run_helper(command, line, Vec::new()).await?
            };
            let answer = read_line::<Answer>(&mut answer.as_slice()).map_err(|error| {
                EngineError::Internal(format!("omg-helper gave no order that can be read: {error}"))
            })?;
            match answer {
                Some(Answer::Order(order)) => return Ok(order),
                Some(Answer::Ask(names)) => {
                    let names: Vec<String> = names.into_iter().filter(|name| !request.asked.contains(name)).collect();
                    if request.asked.len() + names.len() > MAX_ASKED {
                        let text = format!("the dependencies have more than {MAX_ASKED} names");
                        return Err(EngineError::Refused(Failure::new(FailureKind::ResolutionFailed, text)));
                    }
                    let http = self.aur.as_ref().map(super::aur::Aur::http);
                    let http = http.ok_or_else(|| EngineError::BackendUnavailable("the AUR is not asked".into()))?;
                    request.known.extend(http.info(&names).await.map_err(|error| network(&error))?);
                    request.asked.extend(names);
                }
                Some(Answer::Failed(obstacles)) => {
                    let missing = obstacles.iter().all(|obstacle| {
                        matches!(obstacle, crate::aur::order::Obstacle::Missing { needed_by: None, .. })
                    });
                    let kind = if missing { FailureKind::NotFound } else { FailureKind::ResolutionFailed };
                    let told: BTreeSet<String> = obstacles.iter().map(ToString::to_string).collect();
                    let text = told.into_iter().collect::<Vec<_>>().join("\n");
                    return Err(EngineError::Refused(Failure::new(kind, text)));
                }
                Some(Answer::Unavailable(text)) => return Err(EngineError::BackendUnavailable(text)),
                None => return Err(EngineError::Internal("omg-helper gave no order".into())),
            }
        }
        Err(EngineError::Refused(Failure::new(
            FailureKind::ResolutionFailed,
            format!("dependencies are nested deeper than {MAX_ROUNDS} levels"),
        )))
    }

    /// Fetches a package base, and what is to be looked at of it.
    ///
    /// # Errors
    /// As [`Workshop::review`].
    pub async fn aur_review(&self, base: &str) -> Result<Review, EngineError> {
        Ok(self.workshop()?.review(base).await?)
    }

    /// Lets a commit be built. That nobody `looked` at it is written into the user's log first.
    ///
    /// # Errors
    /// As [`Workshop::accept`], and when the log cannot be written.
    pub async fn aur_accept(self: &Arc<Self>, base: &str, commit: &str, looked: bool) -> Result<(), EngineError> {
        let workshop = self.workshop()?;
        let record = workshop.records().read(base)?;
        if !looked && record.reviewed.as_deref() != Some(commit) {
            let uid = rustix::process::geteuid().as_raw();
            let unseen = Record::Unreviewed { uid, base: base.to_owned(), commit: commit.to_owned() };
            let folder = self.options.data_dir.join(USER_LOG);
            let logged = blocking(move || AuditLog::new(&folder, Readers::Owner).append(&unseen)).await?;
            logged.map_err(|error| EngineError::Internal(format!("what is not reviewed must be logged: {error}")))?;
        }
        Ok(workshop.accept(base, commit, looked).await?)
    }

    /// Builds an accepted commit. Dropping the future ends everything that it started.
    ///
    /// # Errors
    /// As [`Workshop::build`].
    pub async fn aur_build(
        &self,
        base: &str,
        commit: &str,
        listener: &mut impl Listener,
    ) -> Result<Vec<Built>, EngineError> {
        Ok(self.workshop()?.build(base, commit, listener).await?)
    }

    /// What was built, open for reading.
    ///
    /// # Errors
    /// As [`Workshop::packages`].
    pub async fn aur_packages(&self, base: String, commit: String) -> Result<Vec<(Built, File)>, EngineError> {
        let workshop = self.workshop()?;
        Ok(blocking(move || workshop.packages(&base, &commit)).await??)
    }
}

/// Packages whose last build followed a repository that has moved on. One that cannot be asked has not.
async fn moved(workshop: &Workshop) -> Vec<String> {
    let records = workshop.records();
    let mut moved = Vec::new();
    for base in records.bases() {
        if workshop.has_moved(&base).await.unwrap_or(false)
            && let Ok(record) = records.read(&base)
        {
            moved.extend(record.built.into_iter().flat_map(|built| built.packages).map(|package| package.name));
        }
    }
    moved
}
