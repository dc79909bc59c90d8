//! `org.omg.PackageManager1`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use serde::{Serialize, Serializer};
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedFd, OwnedObjectPath, OwnedVariant, Signature, Type, Variant, fdo, interface};

use super::activity::{Activity, Call};
use super::arguments::{self, Options};
use super::aur::Aur;
use super::dictionaries::{self, Dictionary};
use super::dump;
use super::error::Error;
use super::names::INTERFACE;
use super::plan::Plans;
use super::planned::{WireHistory, wire_history};
use super::refresh::{Copied, Refreshes, Work};
use super::rows::{Rows, Updates};
use super::runtimes::Runtimes;
use crate::engine::{Change, Engine, Loaded};
use crate::package::{Selection, UpdateRow};

/// Version of the interface; it only ever gains members.
pub const INTERFACE_VERSION: u32 = 1;

/// Serves `org.omg.PackageManager1` from an engine.
#[derive(Debug, Clone)]
pub struct Manager {
    engine: Arc<Engine>,
    activity: Activity,
    /// Stands for the peer where messages carry no sender: one object is served per peer-to-peer connection.
    peer: String,
    plans: Plans,
    refreshes: Refreshes,
}

/// One package's details take about as many bytes as so many rows.
const DETAILS_WEIGHT: usize = 10;

/// Rows that the answers of one batch may still hold together.
struct Left(usize);

impl Left {
    fn take(&mut self, rows: usize) -> Result<(), Error> {
        self.0 = self.0.checked_sub(rows).ok_or_else(|| {
            let most = arguments::MAX_ROWS;
            Error::LimitExceeded(format!(
                "requests: their answers hold more than {most} rows (details of a package count {DETAILS_WEIGHT}); ask in parts"
            ))
        })?;
        Ok(())
    }
}

/// An answer that counts as running until it has been sent: a caller that does not take its answers runs into its bound,
/// and a daemon does not end on them.
#[derive(Debug)]
struct Answer<T> {
    value: T,
    call: Call,
}

impl<T: Type> Type for Answer<T> {
    const SIGNATURE: &'static Signature = T::SIGNATURE;
}

impl<T: Serialize> Serialize for Answer<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl Manager {
    /// `peer` names the connection in the bounds of [`Activity`]; on a bus the sender of each call does.
    pub fn new(engine: Arc<Engine>, activity: Activity, peer: String) -> Self {
        Self { engine, activity, peer, plans: Plans::default(), refreshes: Refreshes::default() }
    }

    /// The AUR's packages, for the same connection.
    pub fn aur(&self) -> Aur {
        Aur::new(Arc::clone(&self.engine), self.activity.clone(), self.peer.clone(), self.refreshes.clone())
    }

    /// Language runtimes, for the same connection.
    pub fn runtimes(&self) -> Runtimes {
        Runtimes::new(Arc::clone(&self.engine), self.activity.clone(), self.peer.clone(), self.refreshes.clone())
    }

    /// Lets go of the connection that it is served on, which then ends without waiting for what it still serves.
    pub fn end(&self) {
        self.plans.end();
        self.refreshes.end();
    }

    async fn planned(
        &self,
        connection: &Connection,
        owner: &str,
        actions: Vec<(String, String)>,
        options: &Options,
    ) -> Result<OwnedObjectPath, Error> {
        let actions = arguments::actions(actions)?;
        let files = arguments::plan_files(options, &actions)?;
        let plan = self.engine.plan(actions, arguments::plan_options(options)?, files).await?;
        let path = self.plans.serve(connection, plan, owner, self.activity.keep()).await.map_err(internal)?;
        OwnedObjectPath::try_from(path).map_err(internal)
    }

    async fn told(&self, options: &Options) -> Result<Vec<WireHistory>, Error> {
        let entries = self.engine.history(arguments::history_limit(options)? as usize).await?;
        Ok(entries.into_iter().map(wire_history).collect())
    }

    /// Runs one method: bounded, counted and timed.
    async fn serve<T>(
        &self,
        method: &'static str,
        header: &Header<'_>,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<Answer<T>, Error> {
        let started = Instant::now();
        let call = self.activity.begin(header.sender().map_or(self.peer.as_str(), |sender| sender.as_str()))?;
        let answer = answer.await;
        self.engine.metrics.record(method, started.elapsed(), answer.is_err());
        Ok(Answer { value: answer?, call })
    }

    async fn rows(&self, terms: Vec<String>, options: &Options) -> Result<Rows, Error> {
        let query = arguments::search_query(terms, options)?;
        arguments::bounded(self.engine.rows(Selection::Search(query)).await?).map(Rows)
    }

    async fn listing(&self, query: &Options) -> Result<Rows, Error> {
        let query = arguments::list_query(query)?;
        arguments::bounded(self.engine.rows(Selection::List(query)).await?).map(Rows)
    }

    async fn details(&self, names: Vec<String>, options: &Options) -> Result<Vec<Dictionary>, Error> {
        arguments::names(&names)?;
        let told = dictionaries::Told {
            why: arguments::boolean(options, "why")?.unwrap_or(false),
            versions: arguments::boolean(options, "versions")?.unwrap_or(true),
            fields: arguments::fields(options)?,
        };
        let answers = self.engine.details(names).await?;
        Ok(answers.iter().map(|answer| dictionaries::details(answer, &told)).collect())
    }

    async fn updates(&self, options: &Options) -> Result<(u64, Updates), Error> {
        let state = arguments::updates_state(options)?;
        let answer = self.engine.ask(move |_: &Engine, loaded: &Loaded| {
            Ok((loaded.snapshot.meta().generation, loaded.snapshot.updates(state)))
        });
        let (generation, mut updates) = answer.await?;
        let devel = arguments::boolean(options, "devel")?;
        let moved = self.engine.aur_moved_updates(devel).await?.into_iter();
        updates.extend(moved.filter(|row| !updates.iter().any(|known| known.name == row.name)).collect::<Vec<_>>());
        updates.sort_by(|one, other| one.name.cmp(&other.name));
        Ok((generation, Updates(updates)))
    }

    async fn suggestions(&self, prefix: String, limit: u32) -> Result<Vec<String>, Error> {
        if !prefix.is_empty() {
            arguments::text("prefix", &prefix)?;
        }
        let limit = arguments::suggestions(limit)?;
        let names = self.engine.ask(move |_, loaded| Ok(loaded.names_with_prefix(&prefix, limit)));
        Ok(names.await?)
    }

    async fn state(&self) -> Result<Dictionary, Error> {
        let report = match self.engine.ask(|engine, loaded| Ok(engine.status(Ok(loaded)))).await {
            Ok(report) => report,
            // That packages cannot be read is part of the state.
            Err(error) => self.engine.look(move |engine| engine.status(Err(&error))).await?,
        };
        Ok(dictionaries::status(&report))
    }

    fn counters(&self) -> Dictionary {
        dictionaries::metrics(&self.engine.metrics, &self.engine.metrics_report(), self.activity.running())
    }

    /// One request of a batch; its results as a structure.
    async fn one(&self, method: &str, arguments: &Variant<'_>, left: &mut Left) -> Result<OwnedVariant, Error> {
        let mut fields = arguments::batch_fields(arguments).into_iter();
        match method {
            "Search" => {
                let terms = field(&mut fields, "terms")?;
                let rows = self.rows(terms, &field(&mut fields, "options")?).await?;
                left.take(rows.0.len())?;
                structure(vec![rows_variant(&rows)])
            }
            "List" => {
                let rows = self.listing(&field(&mut fields, "query")?).await?;
                left.take(rows.0.len())?;
                structure(vec![rows_variant(&rows)])
            }
            "GetDetails" => {
                let names: Vec<String> = field(&mut fields, "names")?;
                left.take(names.len().saturating_mul(DETAILS_WEIGHT))?;
                let details = self.details(names, &field(&mut fields, "options")?).await?;
                structure(vec![details.into()])
            }
            "GetUpdates" => {
                let (generation, updates) = self.updates(&field(&mut fields, "options")?).await?;
                left.take(updates.0.len())?;
                structure(vec![generation.into(), updates_variant(updates)])
            }
            "Suggest" => {
                let prefix = field(&mut fields, "prefix")?;
                let names = self.suggestions(prefix, field(&mut fields, "limit")?).await?;
                structure(vec![names.into()])
            }
            "Status" => structure(vec![self.state().await?.into()]),
            "Metrics" => structure(vec![self.counters().into()]),
            other => {
                arguments::text("requests", other)?;
                Err(Error::InvalidArgument(format!(
                    "requests: {other:?} is none of Search, List, GetDetails, GetUpdates, Suggest, Status, Metrics"
                )))
            }
        }
    }

    /// Runs a getter of a property that needs packages, bounded like a method; without a header it is the daemon
    /// itself that asks.
    async fn property<T: Send + 'static>(
        &self,
        header: Option<Header<'_>>,
        read: impl Fn(&Engine, &crate::engine::Loaded) -> T + Send + Sync + 'static,
    ) -> fdo::Result<T> {
        let _call = self.begin(header)?;
        let value = self.engine.ask(move |engine, loaded| Ok(read(engine, loaded))).await;
        value.map_err(|error| fdo::Error::Failed(error.to_string()))
    }

    /// Runs a getter of a property that is a fact about the machine, true with and without packages to read.
    async fn fact<T: Send + 'static>(
        &self,
        header: Option<Header<'_>>,
        read: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> fdo::Result<T> {
        let _call = self.begin(header)?;
        self.engine.look(read).await.map_err(|error| fdo::Error::Failed(error.to_string()))
    }

    fn begin(&self, header: Option<Header<'_>>) -> fdo::Result<Option<Call>> {
        let sender = header.as_ref().map(|header| header.sender().map_or(self.peer.as_str(), |sender| sender.as_str()));
        let call = sender.map(|sender| self.activity.begin(sender)).transpose();
        call.map_err(|error| fdo::Error::LimitsExceeded(text_of(&error)))
    }
}

/// Packages of this machine: found, described, listed.
///
/// Rows are (name, version, arch, repository, summary, flags, download size in bytes). Flags: 1 installed,
/// 2 explicit, 4 upgradable, 8 security upgrade, 16 orphan, 32 held, 64 foreign, 128 essential, 256 phased,
/// 512 configuration left behind, 1024 broken, 2048 of a foreign architecture, 4096 an upgrade that takes a
/// refresh of the package lists first.
/// Unknown options are ignored. Every answer shows each change made before the call.
#[interface(name = "org.omg.PackageManager1")]
impl Manager {
    /// Packages that match every term, best first: exact name, prefix, word, substring, letters in order, summary.
    ///
    /// Options: limit u, mode s (fuzzy, substring, exact), descriptions b, installed b, sources as (apt, alpm, aur; without
    /// it all). Packages of the AUR are those of the repository aur.
    #[zbus(out_args("rows"))]
    async fn search(
        &self,
        #[zbus(header)] header: Header<'_>,
        terms: Vec<String>,
        options: Options,
    ) -> Result<Answer<Rows>, Error> {
        self.serve("Search", &header, self.rows(terms, &options)).await
    }

    /// Packages for which every given condition holds, in the order of names.
    ///
    /// Conditions: installed, explicit, upgradable, orphans, foreign, held (b), repository s, group s. Also limit u. Packages
    /// of the AUR that are not installed are listed only for the repository aur.
    #[zbus(out_args("rows"))]
    async fn list(&self, #[zbus(header)] header: Header<'_>, query: Options) -> Result<Answer<Rows>, Error> {
        self.serve("List", &header, self.listing(&query)).await
    }

    /// The read end of a pipe of JSON lines, one object per package; the last line is {"end":true,"count":N} or
    /// {"error":{"name":…,"message":…}}.
    ///
    /// Takes the conditions of List, or with terms as the options of Search; with details b, each line has everything. With
    /// columns b, a line is no object but the values of a row of List in their order, separated by tabs; in these, a tab is \t,
    /// a line feed \n and a backslash \\, and other control characters stay as they are. The last line is the same then, and the
    /// only one without a tab. Not with details.
    #[zbus(out_args("lines"))]
    async fn query_fd(&self, #[zbus(header)] header: Header<'_>, query: Options) -> Result<Answer<OwnedFd>, Error> {
        let peer = header.sender().map_or(self.peer.as_str(), |sender| sender.as_str()).to_owned();
        self.serve("QueryFd", &header, dump::start(&self.engine, &self.activity, peer, query)).await
    }

    /// Everything known about each package, in the order of names given (name, or name:arch).
    ///
    /// Options: why b adds the shortest chain of relations that keeps the package installed; versions b (true when it is not
    /// given) takes Versions away; fields as, the fields of the record that Fields has, in any case of letters (all when it is
    /// not given).
    #[zbus(out_args("details"))]
    async fn get_details(
        &self,
        #[zbus(header)] header: Header<'_>,
        names: Vec<String>,
        options: Options,
    ) -> Result<Answer<Vec<Dictionary>>, Error> {
        self.serve("GetDetails", &header, self.details(names, &options)).await
    }

    /// The available upgrades as (name, from, to, arch, repository, summary, flags, download size in bytes), and the
    /// generation of the packages they were read from.
    ///
    /// Options: state s, possible (by the newer ones of the package system's own lists and the copy that Refresh fetches;
    /// the default) or planned (by the package system's own alone, which plans are made from). What only the copy has is
    /// marked by the flag 4096. devel b adds the packages of the AUR whose repositories have moved since they were built, as
    /// upgrades to latest-commit, and asks those repositories; when it is not given, the setting aur.devel.
    #[zbus(out_args("generation", "updates"))]
    async fn get_updates(
        &self,
        #[zbus(header)] header: Header<'_>,
        options: Options,
    ) -> Result<(u64, Answer<Updates>), Error> {
        let Answer { value: (generation, updates), call } =
            self.serve("GetUpdates", &header, self.updates(&options)).await?;
        Ok((generation, Answer { value: updates, call }))
    }

    /// The installed packages that have these files or folders, as (path, package), in the order of the paths; a path that
    /// none has does not come. Links in the folders above are followed.
    ///
    /// Options: repositories b, which asks the repositories' lists of files instead (pacman's alone): paths may then be
    /// names of files too, and packages are REPOSITORY/NAME.
    #[zbus(out_args("owners"))]
    async fn owner(
        &self,
        #[zbus(header)] header: Header<'_>,
        paths: Vec<String>,
        options: Options,
    ) -> Result<Answer<Vec<(String, String)>>, Error> {
        let owners = async {
            let offered = arguments::boolean(&options, "repositories")?.unwrap_or(false);
            arguments::paths(&paths, offered)?;
            arguments::few(self.engine.owners(paths, offered).await?)
        };
        self.serve("Owner", &header, owners).await
    }

    /// The files and folders of an installed package, in order; at most 500000.
    ///
    /// Options: repositories b, for a package as its repository has it (pacman's alone), NAME or REPOSITORY/NAME.
    #[zbus(out_args("paths"))]
    async fn files(
        &self,
        #[zbus(header)] header: Header<'_>,
        name: String,
        options: Options,
    ) -> Result<Answer<Vec<String>>, Error> {
        let files = async {
            let offered = arguments::boolean(&options, "repositories")?.unwrap_or(false);
            arguments::text("name", &name)?;
            arguments::few(self.engine.files(name, offered).await?)
        };
        self.serve("Files", &header, files).await
    }

    /// Groups of packages as (name, members, how many of them are installed), in the order of names. List tells the members.
    #[zbus(out_args("groups"))]
    async fn groups(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[expect(unused_variables, reason = "reserved by the contract; unknown options are ignored")] options: Options,
    ) -> Result<Answer<Vec<(String, u32, u32)>>, Error> {
        let groups = async { Ok(self.engine.ask(|_, loaded| Ok(loaded.snapshot.groups())).await?) };
        self.serve("Groups", &header, groups).await
    }

    /// Names of packages that start with a prefix, for completion; limit 0 means as many as are allowed, 1000.
    #[zbus(out_args("names"))]
    async fn suggest(
        &self,
        #[zbus(header)] header: Header<'_>,
        prefix: String,
        limit: u32,
    ) -> Result<Answer<Vec<String>>, Error> {
        self.serve("Suggest", &header, self.suggestions(prefix, limit)).await
    }

    /// The state of packages and daemon.
    ///
    /// Always: Backend s, DaemonVersion s, Pid u, Uptime t (seconds), Runtimes a(ss), RestartRequired b, RestartPackages
    /// as, Errors as (what is wrong now, for people), DataDir s, Store s (for people), StoreState s (ok, in-use, failed).
    /// While another process works on the packages: LockHolder (us).
    /// When packages can be read: Generation t, SnapshotCreated t (Unix time), SnapshotBytes t, LastRefresh t (Unix time;
    /// absent: never) and the counts u Packages, Installed, Explicit, Upgradable, Security, Orphans, Foreign, Held, Phased,
    /// Residual, Broken. Where the user's own copy of the package lists is newer than the package system's: CopyRefreshed t
    /// (Unix time), and Planned u, the upgrades by the package system's own lists; Upgradable counts those by the copy.
    /// When they cannot, and it is remembered how they were: LastKnown a{sv} with Time t (Unix time), Generation t and the
    /// counts u Installed, Explicit, Upgradable, Security, Orphans.
    /// When the AUR's packages are known: AurPackages u, AurFetched t (Unix time).
    #[zbus(out_args("status"))]
    async fn status(&self, #[zbus(header)] header: Header<'_>) -> Result<Answer<Dictionary>, Error> {
        self.serve("Status", &header, self.state()).await
    }

    /// Several requests in one round trip, as (method, its arguments as a structure). Each answer is (true, the results
    /// as a structure) or (false, (error name, message)).
    #[zbus(out_args("answers"))]
    async fn batch(
        &self,
        #[zbus(header)] header: Header<'_>,
        requests: Vec<(String, OwnedVariant)>,
    ) -> Result<Answer<Vec<(bool, OwnedVariant)>>, Error> {
        let answers = async {
            if requests.len() > arguments::MAX_BATCH {
                let message =
                    format!("requests: {} given, at most {} are allowed", requests.len(), arguments::MAX_BATCH);
                return Err(Error::LimitExceeded(message));
            }
            let mut answers = Vec::with_capacity(requests.len());
            let mut left = Left(arguments::MAX_ROWS as usize);
            for (method, arguments) in &requests {
                answers.push(match self.one(method, arguments, &mut left).await {
                    Ok(results) => (true, results),
                    Err(error) => (false, structure(vec![name_of(&error).into(), text_of(&error).into()])?),
                });
            }
            Ok(answers)
        };
        self.serve("Batch", &header, answers).await
    }

    /// What a commit of the actions (verb, target) would do: the path of an org.omg.Plan1. Nothing is changed.
    ///
    /// Verbs: install, reinstall, upgrade, remove, purge, hold, unhold, mark-explicit, mark-dependency with NAME,
    /// NAME:ARCH, NAME=VERSION or NAME/RELEASE; install-file with a file's name; upgrade-all, full-upgrade, autoremove,
    /// clean, repair with "". Options: recommends b, conffiles s (keep, replace, ask), wait b, download-only b,
    /// cascade b (remove also what needs what is removed), answers a{ss} (see Decisions of the plan), files ah (one for
    /// each install-file). The plan is closed by Close, a minute after its owner left the bus, or after ten minutes.
    #[zbus(out_args("plan"))]
    async fn plan(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        actions: Vec<(String, String)>,
        options: Options,
    ) -> Result<Answer<OwnedObjectPath>, Error> {
        let owner = header.sender().map_or(self.peer.as_str(), |sender| sender.as_str()).to_owned();
        self.serve("Plan", &header, self.planned(connection, &owner, actions, &options)).await
    }

    /// A job (org.omg.Job1) that brings up to date what needs no rights: fetches what the AUR says of its packages, where it
    /// is asked (AurProblem says why that failed), compares the package system's files with what was read from them, reads
    /// them again if they moved, and writes the status file. Every answer does as much for itself, without the AUR; the
    /// package system's lists are fetched by org.omg.Transaction1. Options: start b, which starts it at once and lets
    /// other connections use it; databases b, which fetches them into this user's own copy first (pacman's alone): what
    /// they have newer is told by GetUpdates, List and Status, and never installed by; files b, with it the repositories'
    /// lists of files. There may be 16 jobs, finished ones too.
    #[zbus(out_args("job"))]
    async fn refresh(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        options: Options,
    ) -> Result<Answer<OwnedObjectPath>, Error> {
        let made = async {
            let start = arguments::boolean(&options, "start")?.unwrap_or(false);
            let files = arguments::boolean(&options, "files")?.unwrap_or(false);
            let databases = arguments::boolean(&options, "databases")?.unwrap_or(false).then_some(Copied { files });
            let (engine, kept) = (Arc::clone(&self.engine), self.activity.keep());
            self.refreshes.serve(connection, &header, engine, kept, start, Work::Refresh(databases)).await
        };
        self.serve("Refresh", &header, made).await
    }

    /// Transactions, newest first: (number, began, ended, user id, via, actions (verb, target), standing, packages
    /// (change, name, arch, from, to, repository, whether it is or was there because it was asked for), why it failed).
    /// Times are Unix seconds, ended is 0 for one that has not. Standings: running, succeeded, failed, cancelled, interrupted. Options: limit u, at most 1000.
    #[zbus(out_args("transactions"))]
    async fn history(
        &self,
        #[zbus(header)] header: Header<'_>,
        options: Options,
    ) -> Result<Answer<Vec<WireHistory>>, Error> {
        self.serve("History", &header, self.told(&options)).await
    }

    /// Drops the cached answers.
    async fn clear_cache(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let cleared = async {
            self.engine.clear_caches();
            Ok(())
        };
        self.serve("ClearCache", &header, cleared).await.map(|answer| answer.value)
    }

    /// Counters of this daemon.
    #[zbus(out_args("metrics"))]
    async fn metrics(&self, #[zbus(header)] header: Header<'_>) -> Result<Answer<Dictionary>, Error> {
        self.serve("Metrics", &header, async { Ok(self.counters()) }).await
    }

    /// The available upgrades changed.
    #[zbus(signal)]
    async fn updates_changed(
        emitter: &SignalEmitter<'_>,
        generation: u64,
        updates: u32,
        security: u32,
    ) -> zbus::Result<()>;

    /// The installed packages or their versions changed.
    #[zbus(signal)]
    async fn installed_changed(emitter: &SignalEmitter<'_>, generation: u64) -> zbus::Result<()>;

    /// Version of this interface; it only ever gains members.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> u32 {
        INTERFACE_VERSION
    }

    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn daemon_version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Package system in use: apt or alpm.
    #[zbus(property(emits_changed_signal = "const"))]
    fn backend(&self) -> &str {
        &self.engine.options().inputs.backend
    }

    /// Why what is told of the AUR's packages is not what the AUR says now; empty where nothing is wrong, or the AUR is not
    /// asked.
    #[zbus(property(emits_changed_signal = "false"))]
    fn aur_problem(&self) -> String {
        self.engine.aur_problem().unwrap_or_default()
    }

    /// Installed packages.
    #[zbus(property)]
    async fn installed_count(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<u32> {
        self.property(header, |_, loaded| loaded.snapshot.meta().counts.installed).await
    }

    /// Explicitly installed packages.
    #[zbus(property)]
    async fn explicit_count(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<u32> {
        self.property(header, |_, loaded| loaded.snapshot.meta().counts.explicit).await
    }

    /// Available upgrades.
    #[zbus(property)]
    async fn update_count(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<u32> {
        self.property(header, |_, loaded| loaded.snapshot.meta().counts.upgradable).await
    }

    /// Available upgrades that carry a security fix.
    #[zbus(property)]
    async fn security_count(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<u32> {
        self.property(header, |_, loaded| loaded.snapshot.meta().counts.security).await
    }

    /// Grows whenever packages are read anew.
    #[zbus(property)]
    async fn generation(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<u64> {
        self.property(header, |_, loaded| loaded.snapshot.meta().generation).await
    }

    /// When the package lists were last fetched, Unix time in seconds; 0 when never.
    #[zbus(property)]
    async fn last_refresh(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<u64> {
        self.property(header, |_, loaded| loaded.snapshot.meta().last_refresh).await
    }

    /// Whether upgraded packages ask for a restart of the machine.
    #[zbus(property(emits_changed_signal = "false"))]
    async fn restart_required(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<bool> {
        self.fact(header, |engine| engine.restart_required().0).await
    }

    /// Process and command that hold a lock of the package system; (0, "") when none does.
    #[zbus(property(emits_changed_signal = "false"))]
    async fn lock_holder(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<(u32, String)> {
        self.fact(header, |engine| engine.lock_holder().map(|holder| (holder.pid, holder.command)).unwrap_or_default())
            .await
    }
}

impl Manager {
    /// Sends the signals of one change: the properties in one message, with values that belong together.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn announce(emitter: &SignalEmitter<'_>, change: Change) -> zbus::Result<()> {
        let Change { installed, updates, now } = change;
        if installed {
            Self::installed_changed(emitter, now.generation).await?;
        }
        if updates {
            Self::updates_changed(emitter, now.generation, now.counts.upgradable, now.counts.security).await?;
        }
        let properties = HashMap::from([
            ("InstalledCount", now.counts.installed.into()),
            ("ExplicitCount", now.counts.explicit.into()),
            ("UpdateCount", now.counts.upgradable.into()),
            ("SecurityCount", now.counts.security.into()),
            ("Generation", now.generation.into()),
            ("LastRefresh", now.last_refresh.into()),
        ]);
        fdo::Properties::properties_changed(emitter, INTERFACE.try_into()?, properties, Cow::Borrowed(&[])).await
    }
}

/// The next argument of a request in a batch; a dictionary that is missing is empty.
fn field<T>(fields: &mut impl Iterator<Item = OwnedVariant>, argument: &str) -> Result<T, Error>
where
    T: TryFrom<OwnedVariant>,
{
    let missing = || Error::InvalidArgument(format!("{argument}: missing or of the wrong type"));
    let variant = match fields.next() {
        Some(variant) => variant,
        None => OwnedVariant::try_from(Variant::from(HashMap::<String, Variant<'_>>::new())).map_err(|_| missing())?,
    };
    T::try_from(variant).map_err(|_| missing())
}

fn structure(fields: Vec<Variant<'static>>) -> Result<OwnedVariant, Error> {
    let mut builder = zbus::wire::StructureBuilder::new();
    for field in fields {
        builder.push_value(field);
    }
    let structure = builder.build().map_err(internal)?;
    Variant::from(structure).try_into_owned().map_err(internal)
}

fn internal(error: zbus::Error) -> Error {
    Error::Internal(format!("cannot put an answer together: {error}"))
}

fn updates_variant(updates: Updates) -> Variant<'static> {
    let wire = |row: UpdateRow| {
        (row.name, row.from, row.to, row.arch, row.repository, row.summary, row.flags.bits(), row.size)
    };
    updates.0.into_iter().map(wire).collect::<Vec<_>>().into()
}

fn rows_variant(rows: &Rows) -> Variant<'static> {
    let rows: Vec<_> = rows
        .0
        .iter()
        .cloned()
        .map(|row| (row.name, row.version, row.arch, row.repository, row.summary, row.flags.bits(), row.download_size))
        .collect();
    rows.into()
}

/// Full name of an error on the wire.
pub(super) fn name_of(error: &Error) -> String {
    zbus::DBusError::name(error).to_string()
}

/// Text of an error on the wire.
pub(super) fn text_of(error: &Error) -> String {
    zbus::DBusError::description(error).unwrap_or("no description").to_owned()
}
