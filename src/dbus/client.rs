//! The client side: finds the daemon, calls it, and says what went wrong.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use zbus::message::Type;
use zbus::proxy::CacheProperties;
use zbus::{Connection, MessageStream, OwnedObjectPath, OwnedVariant, Structure, Variant, fdo};

pub use super::client_error::{ClientError, ErrorKind};
use super::connect::{self, Link};
pub use super::connect::{ConnectOptions, Route, User, find_program};
use super::names::{ERROR_PREFIX, JOB_INTERFACE, PLAN_INTERFACE};
use super::planned::{Planned, history_entry};
use super::proxy::{Fields, Options, PackageManagerProxy, package_row, update_row};
use super::reply::{self, Details, Metrics, Status};
pub use super::running::{Running, StopError, is_listened_to, running, stop};
pub use super::stream::RowStream;
use crate::package::{ListQuery, PackageRow, SearchQuery, UpdateRow, UpdatesState};
use crate::transaction::{self, Action, HistoryEntry, Outcome};

/// Names in one `GetDetails` batch; the service refuses more.
const BATCH_SIZE: usize = 100;

/// How often a job is asked whether it has ended.
const REFRESH_POLL: Duration = Duration::from_millis(50);

/// What is told in details besides what is known of the package itself; each takes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Besides {
    /// How it came to be installed.
    pub why: bool,
    /// All its versions.
    pub versions: bool,
    /// Every field of the record, and not those alone that no other key has.
    pub fields: bool,
}

/// Fields of a record that no other key has: what the AUR tells of its packages.
const FIELDS_ALONE: [&str; 4] = ["Votes", "Popularity", "Out Of Date", "Last Modified"];

/// A connection to the daemon. Every call is one round trip; all of them are idempotent and are repeated once on a
/// fresh connection when the daemon ends at that moment. A stream that the daemon leaves is not.
#[derive(Debug)]
pub struct Client {
    options: ConnectOptions,
    link: Link,
}

impl Client {
    /// Opens the first way that works: the socket that `--socket` or `OMG_SOCKET_PATH` names, and nothing else; or the
    /// user's socket, the session bus, a private daemon. Over the bus the first call starts the daemon.
    ///
    /// # Errors
    /// [`ClientError::Socket`] for the named socket, [`ClientError::NoDaemon`] with all that was tried.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ClientError> {
        let link = connect::open(options, false).await?;
        Ok(Self { options: options.clone(), link })
    }

    /// As [`Client::connect`], for a client that calls at once: where the user's socket is there, whether a daemon serves it
    /// is told by the first call, which then tries the other ways.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_and_call(options: &ConnectOptions) -> Result<Self, ClientError> {
        match connect::hasty(options).await {
            Some(link) => Ok(Self { options: options.clone(), link }),
            None => Self::connect(options).await,
        }
    }

    /// The way this client reaches the daemon; the first call may change it.
    pub fn route(&self) -> &Route {
        &self.link.route
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.link.connection
    }

    /// Ends the connection, and a private daemon with it.
    pub async fn close(self) {
        let Link { connection, private, .. } = self.link;
        if private.is_some() {
            // Only the private daemon is waited for; other connections end with the process. An error means that it
            // is closed already.
            let _ = connection.close().await;
        }
        drop(private);
    }

    /// At most `query.limit` rows, best first; 0 leaves it to the service.
    pub async fn search(&mut self, query: &SearchQuery) -> Result<Vec<PackageRow>, ClientError> {
        let terms: Vec<&str> = query.terms.iter().map(String::as_str).collect();
        let mut options = search_options(query);
        if query.limit != 0 {
            options.insert("limit", query.limit.into());
        }
        let rows = self.call(async |proxy| proxy.search(&terms, &options).await).await?;
        Ok(rows.into_iter().map(package_row).collect())
    }

    /// At most `query.limit` rows, by name; 0 means all.
    pub async fn list(&mut self, query: &ListQuery) -> Result<Vec<PackageRow>, ClientError> {
        let mut options = list_options(query);
        if query.limit != 0 {
            options.insert("limit", query.limit.into());
        }
        let rows = self.call(async |proxy| proxy.list(&options).await).await?;
        Ok(rows.into_iter().map(package_row).collect())
    }

    /// All rows of a search as a stream; `query.limit` is not used.
    pub async fn stream_search(&mut self, query: &SearchQuery) -> Result<RowStream, ClientError> {
        let mut options = search_options(query);
        options.insert("terms", query.terms.iter().map(String::as_str).collect::<Vec<_>>().into());
        self.stream(options).await
    }

    /// All rows of a listing as a stream; `query.limit` is not used.
    pub async fn stream_list(&mut self, query: &ListQuery) -> Result<RowStream, ClientError> {
        self.stream(list_options(query)).await
    }

    async fn stream(&mut self, mut options: Options<'_>) -> Result<RowStream, ClientError> {
        options.insert("columns", true.into());
        let fd = self.call(async |proxy| proxy.query_fd(&options).await).await?;
        Ok(RowStream::new(File::from(OwnedFd::from(fd))))
    }

    /// The details of each name, in order, or why there are none.
    pub async fn details(
        &mut self,
        names: &[String],
        besides: Besides,
    ) -> Result<Vec<Result<Details, ClientError>>, ClientError> {
        let options = || {
            let mut options = Options::new();
            if besides.why {
                options.insert("why", true.into());
            }
            if !besides.versions {
                options.insert("versions", false.into());
            }
            if !besides.fields {
                options.insert("fields", FIELDS_ALONE.to_vec().into());
            }
            options
        };
        // One alone needs no batch, which wraps everything once more.
        if let [name] = names {
            let ask = async |proxy: &PackageManagerProxy<'_>| {
                let asked = (&[name.as_str()][..], options());
                proxy.inner().call_method("GetDetails", &asked).await
            };
            return match self.call(ask).await {
                // Read where it lies: of a copy nothing is kept.
                Ok(answer) => {
                    let body = answer.body();
                    let details: Vec<HashMap<&str, Variant<'_>>> = body.deserialize()?;
                    Ok(vec![one_of(details.first().map(reply::read_borrowed))])
                }
                Err(error @ ClientError::Call { .. }) => Ok(vec![Err(error)]),
                Err(error) => Err(error),
            };
        }
        let mut details = Vec::with_capacity(names.len());
        for chunk in names.chunks(BATCH_SIZE) {
            let mut requests = Vec::with_capacity(chunk.len());
            for name in chunk {
                let arguments = Structure::from((vec![name.as_str()], options()));
                requests.push(("GetDetails", Variant::from(arguments)));
            }
            let answers = self.call(async |proxy| proxy.batch(&requests).await).await?;
            if answers.len() != chunk.len() {
                let problem = format!("{} answers to {} requests", answers.len(), chunk.len());
                return Err(ClientError::Protocol(problem));
            }
            details.extend(answers.iter().map(|(ok, answer)| details_answer(*ok, answer)));
        }
        Ok(details)
    }

    /// The available upgrades.
    pub async fn updates(&mut self, state: UpdatesState, devel: bool) -> Result<Vec<UpdateRow>, ClientError> {
        let mut options = Options::from([("state", state.as_str().into())]);
        if devel {
            options.insert("devel", true.into());
        }
        let (_, rows) = self.call(async |proxy| proxy.get_updates(&options).await).await?;
        Ok(rows.into_iter().map(update_row).collect())
    }

    /// The packages that have these paths, as (path, package); with `repo` those of repositories.
    pub async fn owners(&mut self, paths: &[String], repo: bool) -> Result<Vec<(String, String)>, ClientError> {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let options = Options::from([("repositories", repo.into())]);
        self.call(async |proxy| proxy.owner(&paths, &options).await).await
    }

    /// The files and folders of a package; with `repo` as its repository has it.
    pub async fn files(&mut self, name: &str, repo: bool) -> Result<Vec<String>, ClientError> {
        let options = Options::from([("repositories", repo.into())]);
        self.call(async |proxy| proxy.files(name, &options).await).await
    }

    /// Groups as (name, members, how many of them are installed), by name.
    pub async fn groups(&mut self) -> Result<Vec<(String, u32, u32)>, ClientError> {
        let options = Options::new();
        self.call(async |proxy| proxy.groups(&options).await).await
    }

    /// Fetches the package lists into the user's own copy, to the end; how it ended.
    /// With `files` the repositories' lists of files are fetched too.
    pub async fn refresh_copy(&mut self, files: bool) -> Result<Outcome, ClientError> {
        let options = Options::from([("databases", true.into()), ("files", files.into())]);
        self.call(async |proxy| refreshed(proxy, &options).await).await
    }

    /// At most `limit` package names that start with the prefix.
    pub async fn suggest(&mut self, prefix: &str, limit: u32) -> Result<Vec<String>, ClientError> {
        self.call(async |proxy| proxy.suggest(prefix, limit).await).await
    }

    pub async fn status(&mut self) -> Result<Status, ClientError> {
        let fields = self.call(async |proxy| proxy.status().await).await?;
        Ok(reply::read(&fields)?)
    }

    pub async fn metrics(&mut self) -> Result<Metrics, ClientError> {
        let fields = self.call(async |proxy| proxy.metrics().await).await?;
        Ok(reply::read(&fields)?)
    }

    /// The plan for `actions`. `files` are the packages of the `install-file` actions, in their order.
    pub async fn plan(
        &mut self,
        actions: &[Action],
        options: &transaction::Options,
        files: &[File],
    ) -> Result<Planned, ClientError> {
        let actions: Vec<(&str, &str)> =
            actions.iter().map(|action| (action.verb().as_str(), action.target())).collect();
        let wire = plan_options(options, files);
        let planned = async |proxy: &PackageManagerProxy<'_>| match planned(proxy, &actions, &wire).await {
            // A daemon that ended has taken its plans along; the next one makes its own.
            Err(error) if is_forgotten(&error) => self::planned(proxy, &actions, &wire).await,
            answer => answer,
        };
        let fields = self.call(planned).await?;
        Ok(reply::read(&fields)?)
    }

    /// The newest `limit` transactions, newest first; 0 leaves it to the service. What this version cannot read is left
    /// out.
    pub async fn history(&mut self, limit: u32) -> Result<Vec<HistoryEntry>, ClientError> {
        let mut options = Options::new();
        if limit != 0 {
            options.insert("limit", limit.into());
        }
        let rows = self.call(async |proxy| proxy.history(&options).await).await?;
        Ok(rows.into_iter().filter_map(history_entry).collect())
    }

    /// Why what is told of the AUR's packages is not what the AUR says now, if the daemon knows of such.
    pub async fn aur_problem(&mut self) -> Option<String> {
        let problem = self.call(async |proxy| proxy.aur_problem().await).await.ok()?;
        (!problem.is_empty()).then_some(problem)
    }

    /// Has the daemon bring up to date what takes no rights; names the job, for [`Client::refreshed`].
    pub async fn refresh(&mut self) -> Result<OwnedObjectPath, ClientError> {
        let options = Options::from([("start", true.into())]);
        self.call(async |proxy| proxy.refresh(&options).await).await
    }

    /// Waits until the job has ended, however it did, or is gone with its daemon.
    pub async fn refreshed(&mut self, job: &OwnedObjectPath) {
        let pending = async |proxy: &PackageManagerProxy<'_>| {
            let (connection, to) = (proxy.inner().connection(), proxy.inner().destination());
            connection.call_method(Some(to), job, Some(JOB_INTERFACE), "GetResult", &()).await
        };
        while let Err(error) = self.attempt(&pending).await {
            if ClientError::from(error).name() != format!("{ERROR_PREFIX}InvalidState") {
                return;
            }
            tokio::time::sleep(REFRESH_POLL).await;
        }
    }

    /// Drops the daemon's cached answers.
    pub async fn clear_cache(&mut self) -> Result<(), ClientError> {
        self.call(async |proxy| proxy.clear_cache().await).await
    }

    async fn call<R>(
        &mut self,
        call: impl AsyncFn(&PackageManagerProxy<'_>) -> zbus::Result<R>,
    ) -> Result<R, ClientError> {
        // A link on which nobody has answered yet is not the daemon's going away.
        let mut again = if self.link.untried { 2 } else { 1 };
        loop {
            let error = match self.attempt(&call).await {
                Ok(answer) => {
                    self.link.untried = false;
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let unstartable = self.link.route == Route::SessionBus && cannot_be_started(&error);
            let error = ClientError::from(error);
            if again == 0 || !(unstartable || matches!(error, ClientError::Disconnected(_))) {
                return Err(error);
            }
            again -= 1;
            self.link = connect::open(&self.options, unstartable).await?;
        }
    }

    async fn attempt<R>(&self, call: &impl AsyncFn(&PackageManagerProxy<'_>) -> zbus::Result<R>) -> zbus::Result<R> {
        let proxy =
            PackageManagerProxy::builder(&self.link.connection).cache_properties(CacheProperties::No).build().await?;
        call(&proxy).await
    }
}

/// Makes a job of `Refresh`, starts it and waits for its end.
async fn refreshed(proxy: &PackageManagerProxy<'_>, options: &Options<'_>) -> zbus::Result<Outcome> {
    let connection = proxy.inner().connection();
    // What it says comes to its owner alone, from before it is started.
    let mut messages = MessageStream::from(connection);
    let reply = proxy.inner().call_method("Refresh", &(options,)).await?;
    let path: OwnedObjectPath = reply.body().deserialize()?;
    let maker = reply.header().sender().map(|name| name.to_owned());
    connection.call_method(maker.as_ref(), &path, Some(JOB_INTERFACE), "Start", &()).await?;
    while let Some(message) = super::transaction::next(&mut messages).await {
        let message = message?;
        let header = message.header();
        let is_end = header.message_type() == Type::Signal && header.member().is_some_and(|name| name == "Finished");
        if is_end && header.path().is_some_and(|of| of.as_str() == path.as_str()) {
            let (outcome, fields): (String, Fields) = message.body().deserialize()?;
            // It ends by itself where it is not closed.
            let _ = connection.call_method(maker.as_ref(), &path, Some(JOB_INTERFACE), "Close", &()).await;
            return super::transaction::finished(&outcome, &fields)
                .map_err(|error| zbus::Error::Failure(error.to_string()));
        }
    }
    Err(zbus::Error::InputOutput(Arc::new(std::io::ErrorKind::ConnectionReset.into())))
}

/// Has a plan made, reads and closes it. All of this is asked of the peer that made it: by then another daemon may have the
/// name.
async fn planned(
    proxy: &PackageManagerProxy<'_>,
    actions: &[(&str, &str)],
    options: &Options<'_>,
) -> zbus::Result<Fields> {
    let proxy = proxy.inner();
    let reply = proxy.call_method("Plan", &(actions, options)).await?;
    let path: OwnedObjectPath = reply.body().deserialize()?;
    // Peer-to-peer there are no names.
    let maker = reply.header().sender().map(|name| name.to_owned());
    let (connection, to) = (proxy.connection(), maker.as_ref());
    let properties = Some("org.freedesktop.DBus.Properties");
    let told = connection.call_method(to, &path, properties, "GetAll", &PLAN_INTERFACE).await?;
    let fields: Fields = told.body().deserialize()?;
    // What it says is known; one that cannot be closed ends by itself.
    let _ = connection.call_method(to, &path, Some(PLAN_INTERFACE), "Close", &()).await;
    Ok(fields)
}

/// Whether whoever made an object is gone, or has it no more.
fn is_forgotten(error: &zbus::Error) -> bool {
    let name = match error {
        zbus::Error::FDO(error) => zbus::DBusError::name(&**error).to_string(),
        zbus::Error::MethodError(name, ..) => name.to_string(),
        _ => return false,
    };
    matches!(
        name.strip_prefix("org.freedesktop.DBus.Error."),
        Some("UnknownObject" | "UnknownInterface" | "ServiceUnknown" | "NameHasNoOwner")
    )
}

/// The bus knows no service file for the daemon, or starting it failed.
fn cannot_be_started(error: &zbus::Error) -> bool {
    let zbus::Error::FDO(error) = error else {
        // systemd's activation errors have names of their own.
        return matches!(error, zbus::Error::MethodError(name, ..) if name.starts_with("org.freedesktop.systemd1."));
    };
    let name = zbus::DBusError::name(&**error);
    name.starts_with("org.freedesktop.DBus.Error.Spawn")
        || matches!(**error, fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_))
}

/// The options of a plan and its commit.
pub(super) fn plan_options<'a>(options: &'a transaction::Options, files: &'a [File]) -> Options<'a> {
    let mut wire = Options::new();
    if let Some(recommends) = options.recommends {
        wire.insert("recommends", recommends.into());
    }
    wire.insert("conffiles", options.conffiles.as_str().into());
    wire.insert("wait", options.wait.into());
    wire.insert("download-only", options.download_only.into());
    if options.cascade {
        wire.insert("cascade", true.into());
    }
    if !options.answers.is_empty() {
        let answers: HashMap<&str, &str> = options.answers.iter().collect();
        wire.insert("answers", answers.into());
    }
    if !files.is_empty() {
        let files: Vec<zbus::Fd<'_>> = files.iter().map(|file| file.as_fd().into()).collect();
        wire.insert("files", files.into());
    }
    wire
}

fn search_options(query: &SearchQuery) -> Options<'_> {
    let mut options = Options::new();
    options.insert("mode", query.mode.as_str().into());
    for (key, value) in [("descriptions", query.descriptions), ("installed", query.installed)] {
        if value {
            options.insert(key, true.into());
        }
    }
    if !query.sources.is_empty() {
        options.insert("sources", query.sources.iter().map(String::as_str).collect::<Vec<_>>().into());
    }
    options
}

fn list_options(query: &ListQuery) -> Options<'_> {
    let conditions = [
        ("installed", query.installed),
        ("explicit", query.explicit),
        ("upgradable", query.upgradable),
        ("orphans", query.orphans),
        ("foreign", query.foreign),
        ("held", query.held),
    ];
    let mut options: Options<'_> =
        conditions.into_iter().filter_map(|(key, value)| Some((key, value?.into()))).collect();
    for (key, named) in [("repository", &query.repository), ("group", &query.group)] {
        if let Some(name) = named {
            options.insert(key, name.as_str().into());
        }
    }
    options
}

/// One answer of a batch of `GetDetails`: `(aa{sv})` with one dictionary, or `(ss)` error name and message.
fn details_answer(ok: bool, answer: &OwnedVariant) -> Result<Details, ClientError> {
    if ok {
        let (mut details,): (Vec<Details>,) = reply::read_variant(answer)?;
        return one_of(details.pop().map(Ok));
    }
    let (name, message): (String, String) = reply::read_variant(answer)?;
    Err(ClientError::from_reply(&name, message))
}

fn one_of(details: Option<Result<Details, serde_json::Error>>) -> Result<Details, ClientError> {
    Ok(details.ok_or_else(|| ClientError::Protocol("no details in the answer".into()))??)
}
