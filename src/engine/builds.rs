//! Packages of the AUR: in which order they are built, what there is to look at before, and building them.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use super::aur::{Aur, LASTING};
use super::{Engine, EngineError, Loaded, Subject, blocking};
use crate::aur::order::{Answer, Choice, LATEST, Obstacle, Order, Request};
use crate::aur::{AurError, Built, Http, HttpError, Listener, Moved, REPOSITORY, Review, Workshop};
use crate::index::View;
use crate::package::{Flags, ListQuery, UpdateRow};
use crate::security::audit::{AuditLog, Readers, Record};
use crate::transaction::{Answers, Asks, Decision, Failure, FailureKind, NO, YES, read_line, write_line};

/// How often the AUR is asked for what was not known before: dependencies of dependencies.
const MAX_ROUNDS: usize = 32;

/// Most names that the AUR is asked about for one order.
const MAX_ASKED: usize = 5000;

/// Most packages that are looked at for one thing that is provided, and most such things: where there is no archive each is
/// a request to the AUR.
const MAX_PROVIDERS: usize = 200;
const MAX_PROVIDED: usize = 50;

/// Where keys are fetched from, unless another server is named.
pub const KEYSERVER: &str = "hkps://keyserver.ubuntu.com";

/// The repositories of sources are asked for no longer than this: for an order, and for a list of upgrades.
const ASKING: Duration = Duration::from_secs(60);
const ASKING_FOR_LIST: Duration = Duration::from_secs(15);

/// An order that follows another one closely, as when somebody looked whether there is one, asks nobody again.
const JUST_NOW: Duration = Duration::from_secs(30);

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

pub(super) fn network(error: &HttpError) -> EngineError {
    EngineError::Refused(Failure::new(FailureKind::Network, format!("the AUR cannot be asked: {error}")))
}

/// What is for the user to decide about an order, as about a plan.
fn decision(choice: Choice) -> Decision {
    match choice {
        Choice::Provider { wanted, providers, chosen } => {
            let default = providers.first().cloned().unwrap_or_default();
            Decision { asks: Asks::Provider, about: wanted, choices: providers, default, chosen }
        }
        Choice::Conflict { package, installed, agreed } => Decision {
            asks: Asks::Conflict,
            about: format!("{package}:{installed}"),
            choices: [YES, NO].map(str::to_owned).into(),
            default: NO.to_owned(),
            chosen: if agreed { YES } else { NO }.to_owned(),
        },
    }
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
    /// newer versions of; with `devel`, which is the setting where it is `None`, also for those whose repositories have moved
    /// since they were built. What several packages provide is provided by those that `answers` name. With what was decided.
    ///
    /// # Errors
    /// When something is missing, goes round in circles or conflicts; when the AUR or the databases cannot be read.
    pub async fn aur_order(
        self: &Arc<Self>,
        targets: Vec<String>,
        upgrade: bool,
        devel: Option<bool>,
        answers: Answers,
    ) -> Result<(Order, Vec<Decision>), EngineError> {
        let mut request = Request { targets, upgrade, ..Request::default() };
        request.provider = answers.of_all(Asks::Provider).map(str::to_owned);
        request.providers = answers.of_each(Asks::Provider);
        let conflicts = answers.of_each(Asks::Conflict);
        request.replace = conflicts.into_iter().map(|(about, choice)| (about, choice == YES)).collect();
        request.replace_all = answers.of_all(Asks::Conflict) == Some(YES);
        let mut notes = Vec::new();
        let workshop = self.workshop()?;
        if devel.unwrap_or_else(|| self.is_devel()) {
            let moved = self.aur_moved(JUST_NOW, &workshop, ASKING).await?;
            request.again = moved.names.iter().cloned().collect();
            request.built = moved.built.iter().map(|built| (built.name.clone(), built.version.clone())).collect();
            notes.clone_from(&moved.unknown);
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
                Some(Answer::Order(mut order)) => {
                    order.notes.append(&mut notes);
                    let decisions = std::mem::take(&mut order.choices).into_iter().map(decision).collect();
                    return Ok((order, decisions));
                }
                Some(Answer::Ask(names)) => {
                    let names: Vec<String> = names.into_iter().filter(|name| !request.asked.contains(name)).collect();
                    self.ask_about(names, &mut request).await?;
                }
                Some(Answer::AskForProviders(names)) => {
                    if request.asked_for_providers.len() + names.len() > MAX_PROVIDED {
                        let text = format!("more than {MAX_PROVIDED} dependencies are names of no package");
                        return Err(EngineError::Refused(Failure::new(FailureKind::ResolutionFailed, text)));
                    }
                    let mut providers = Vec::new();
                    for name in &names {
                        let (of_this, left_out) = self.aur_providers(name).await?;
                        providers.extend(of_this);
                        if left_out > 0 {
                            let text = format!(
                                "{name} is provided by {} packages of the AUR, of which {left_out} are not looked at",
                                MAX_PROVIDERS + left_out
                            );
                            notes.push(text);
                        }
                    }
                    providers.retain(|name| !request.asked.contains(name));
                    providers.sort_unstable();
                    providers.dedup();
                    request.asked_for_providers.extend(names);
                    self.ask_about(providers, &mut request).await?;
                }
                Some(Answer::Failed(obstacles)) => {
                    let missing =
                        obstacles.iter().all(|obstacle| matches!(obstacle, Obstacle::Missing { needed_by: None, .. }));
                    let kind = match obstacles.iter().any(|obstacle| matches!(obstacle, Obstacle::NoChoice(_))) {
                        true => FailureKind::InvalidArgument,
                        false if missing => FailureKind::NotFound,
                        false => FailureKind::ResolutionFailed,
                    };
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

    fn aur_http(&self) -> Result<&Http, EngineError> {
        let http = self.aur.as_ref().map(super::aur::Aur::http);
        http.ok_or_else(|| EngineError::BackendUnavailable("the AUR is not asked".into()))
    }

    /// Adds to a request what the AUR knows of these packages.
    async fn ask_about(&self, names: Vec<String>, request: &mut Request) -> Result<(), EngineError> {
        if request.asked.len() + names.len() > MAX_ASKED {
            let text = format!("the dependencies have more than {MAX_ASKED} names");
            return Err(EngineError::Refused(Failure::new(FailureKind::ResolutionFailed, text)));
        }
        if !names.is_empty() {
            request.known.extend(self.aur_http()?.info(&names).await.map_err(|error| network(&error))?);
            request.asked.extend(names);
        }
        Ok(())
    }

    /// Names of packages of the AUR that provide this, and how many more do: by its archive; where there is none, by its RPC,
    /// the most popular ones.
    async fn aur_providers(self: &Arc<Self>, name: &str) -> Result<(Vec<String>, usize), EngineError> {
        let wanted = name.to_owned();
        let listed = self.ask(move |_, loaded| {
            let aur = loaded.aur.as_ref();
            Ok(aur.map(|aur| aur.providers(&wanted).into_iter().map(|id| aur.name(id)).collect::<Vec<String>>()))
        });
        let mut names = match listed.await? {
            Some(names) => names,
            None => self.rpc_providers(name).await?,
        };
        let left_out = names.len().saturating_sub(MAX_PROVIDERS);
        names.truncate(MAX_PROVIDERS);
        Ok((names, left_out))
    }

    /// Whether packages are upgraded to the newest commits of their repositories unless somebody says otherwise.
    fn is_devel(&self) -> bool {
        self.options.aur.as_ref().is_some_and(|aur| aur.devel)
    }

    /// Where the repositories stand that installed packages were built from: as it was found out no longer than `ago` ago, or
    /// as they say `within` this time.
    async fn aur_moved(
        self: &Arc<Self>,
        ago: Duration,
        workshop: &Workshop,
        within: Duration,
    ) -> Result<Arc<Moved>, EngineError> {
        // Whoever waits here finds answered what the one before asked.
        let _turn = match &self.aur {
            Some(aur) => Some(aur.asking_sources.lock().await),
            None => None,
        };
        if let Some(moved) = self.aur.as_ref().and_then(|aur| aur.moved(ago)) {
            return Ok(moved);
        }
        let foreign = ListQuery { foreign: Some(true), ..ListQuery::default() };
        let names = move |loaded: &Loaded| -> HashSet<String> {
            loaded.snapshot.list(&foreign).into_iter().map(|id| loaded.snapshot.bare_name(id).to_owned()).collect()
        };
        let installed = self.ask(move |_, loaded| Ok(names(loaded))).await?;
        let asked = self.aur.as_ref().map(Aur::builds);
        let moved = Arc::new(workshop.moved(&installed, within).await);
        // What could not be asked is asked again the next time.
        match moved.unknown.first() {
            Some(first) => self.report_problem(Subject::AurSources, first.clone()),
            None => {
                self.in_order(Subject::AurSources);
                if let (Some(aur), Some(asked)) = (&self.aur, asked) {
                    aur.keep_moved(Arc::clone(&moved), asked);
                }
            }
        }
        Ok(moved)
    }

    /// Installed packages whose repositories have moved since they were built, as upgrades to [`LATEST`]; empty unless
    /// `devel`, which is the setting where it is `None`. What was found out a while ago is not asked again.
    ///
    /// # Errors
    /// Those of [`Engine::ask`].
    pub async fn aur_moved_updates(self: &Arc<Self>, devel: Option<bool>) -> Result<Vec<UpdateRow>, EngineError> {
        if self.aur.is_none() || !devel.unwrap_or_else(|| self.is_devel()) {
            return Ok(Vec::new());
        }
        // Who says so wants to know how it is now.
        let lasting = if devel == Some(true) { JUST_NOW } else { LASTING };
        // Root builds nothing, so it has built nothing that could have moved.
        let Ok(workshop) = self.workshop() else { return Ok(Vec::new()) };
        let moved = self.aur_moved(lasting, &workshop, ASKING_FOR_LIST).await?;
        self.ask(move |_, loaded| {
            let row = |name: &String| {
                let id = loaded.snapshot.find(name)?;
                let row = loaded.snapshot.row(id, View::Installed);
                row.flags.contains(Flags::FOREIGN).then(|| UpdateRow {
                    name: row.name,
                    from: row.version,
                    to: LATEST.to_owned(),
                    arch: row.arch,
                    repository: REPOSITORY.to_owned(),
                    summary: row.summary,
                    flags: row.flags | Flags::UPGRADABLE,
                    size: 0,
                })
            };
            Ok(moved.names.iter().filter_map(row).collect())
        })
        .await
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
        let built = self.workshop()?.build(base, commit, listener).await;
        if let Some(aur) = &self.aur {
            aur.forget_moved();
        }
        Ok(built?)
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
