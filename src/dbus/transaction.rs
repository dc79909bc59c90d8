//! The client side of `org.omg.Transaction1` on the system bus, and of the jobs that it makes.

use std::collections::HashMap;
use std::fs::File;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::Pin;

use futures_core::Stream;
use serde::Deserialize;
use zbus::connection::Builder;
use zbus::fdo::DBusProxy;
use zbus::message::Type;
use zbus::names::{BusName, OwnedUniqueName};
use zbus::proxy::{CacheProperties, MethodFlags};
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedObjectPath, OwnedVariant};

use super::client::{ClientError, plan_options};
use super::names::{BUS_NAME, ERROR_PREFIX, JOB_INTERFACE, TRANSACTION_BUS_NAME, TRANSACTION_PATH};
use super::planned::PlannedItem;
use super::proxy::{Fields, Options};
use super::reply;
use super::socket::GREETING_WAIT;
use crate::transaction::{
    Action, Applied, Event, Failure, FailureKind, Item, ItemState, Level, Outcome, Phase, Question, QuestionKind,
    Reply, Restart,
};

/// Messages of a job that may wait to be read; beyond them the connection stalls until they are.
const QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

#[zbus::proxy(
    interface = "org.omg.Transaction1",
    default_service = "org.omg.Transaction1",
    default_path = "/org/omg/Transaction1"
)]
trait Transaction {
    /// A job that commits what the digest names.
    #[zbus(allow_interactive_auth)]
    fn commit(&self, actions: &[(&str, &str)], digest: &str, options: &Options<'_>) -> zbus::Result<OwnedObjectPath>;
    /// A job that fetches the package lists.
    #[zbus(allow_interactive_auth)]
    fn refresh(&self, options: &Options<'_>) -> zbus::Result<OwnedObjectPath>;
}

#[zbus::proxy(interface = "org.omg.Job1", default_service = "org.omg.Transaction1")]
trait JobObject {
    #[zbus(allow_interactive_auth)]
    fn start(&self) -> zbus::Result<()>;
    fn cancel(&self) -> zbus::Result<()>;
    fn answer(&self, id: u32, choice: &str) -> zbus::Result<()>;
    fn close(&self) -> zbus::Result<()>;
}

/// The service that changes packages for those whom polkit allows it.
#[derive(Debug)]
pub struct TransactionService {
    connection: Connection,
}

/// A piece of its work.
#[derive(Debug)]
pub struct Job {
    proxy: JobObjectProxy<'static>,
    stream: MessageStream,
    /// That the bus tells when the service goes away.
    owners: Option<MessageStream>,
    /// Empty where there are no names.
    service: String,
    /// None before the work has begun.
    phase: Option<Phase>,
    cancellable: bool,
    /// Heard and not yet told.
    events: std::collections::VecDeque<Event>,
    finished: bool,
}

/// What `Finished` and `GetResult` carry.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct JobResult {
    items: Vec<PlannedItem>,
    audit_entry: u64,
    restart_machine: bool,
    restart_packages: Vec<String>,
    restart_services: Vec<String>,
    /// Name of the error, with or without its prefix.
    error: String,
    message: String,
}

impl TransactionService {
    /// Connects to the bus at `address`, or to the system bus, where the service runs or can be started.
    ///
    /// # Errors
    /// Why it cannot be used, for people.
    pub async fn connect(address: Option<&str>) -> Result<Self, String> {
        let builder = address.map_or_else(Builder::system, Builder::address);
        let connection = match tokio::time::timeout(GREETING_WAIT, builder.build()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("no greeting within {} s", GREETING_WAIT.as_secs())),
        };
        let bus = DBusProxy::new(&connection).await.map_err(|error| error.to_string())?;
        let name = BusName::try_from(TRANSACTION_BUS_NAME).map_err(|error| error.to_string())?;
        let runs = bus.name_has_owner(name).await.map_err(|error| error.to_string())?;
        if !runs {
            let startable = bus.list_activatable_names().await.map_err(|error| error.to_string())?;
            if !startable.iter().any(|name| name.as_str() == TRANSACTION_BUS_NAME) {
                return Err(format!("{TRANSACTION_BUS_NAME} is not installed"));
            }
        }
        Ok(Self { connection })
    }

    /// Starts to commit the plan of this digest. `files` are the packages of the `install-file` actions.
    ///
    /// # Errors
    /// That the service refuses it, or cannot be reached.
    pub async fn commit(
        &self,
        actions: &[Action],
        digest: &str,
        options: &crate::transaction::Options,
        files: &[File],
    ) -> Result<Job, ClientError> {
        let actions: Vec<(&str, &str)> =
            actions.iter().map(|action| (action.verb().as_str(), action.target())).collect();
        let path = self.proxy().await?.commit(&actions, digest, &plan_options(options, files)).await?;
        self.start(path).await
    }

    /// Starts to fetch the package lists.
    ///
    /// # Errors
    /// That the service refuses it, or cannot be reached.
    pub async fn refresh(&self) -> Result<Job, ClientError> {
        let path = self.proxy().await?.refresh(&Options::new()).await?;
        self.start(path).await
    }

    async fn proxy(&self) -> Result<TransactionProxy<'_>, ClientError> {
        let builder = TransactionProxy::builder(&self.connection).path(TRANSACTION_PATH);
        Ok(builder.cache_properties(CacheProperties::No).build().await?)
    }

    /// Listens first: what is told from the start on must be heard.
    async fn start(&self, path: OwnedObjectPath) -> Result<Job, ClientError> {
        let bus = DBusProxy::new(&self.connection).await?;
        let name = BusName::try_from(TRANSACTION_BUS_NAME)?;
        let service = bus.get_name_owner(name).await.map_err(zbus::Error::from)?;
        Job::of_service(&self.connection, service, path).await
    }
}

impl Job {
    /// Starts a job of the daemon at the other end of the connection.
    ///
    /// # Errors
    /// When it cannot be listened to or started.
    pub(super) async fn of_daemon(connection: &Connection, path: OwnedObjectPath) -> Result<Self, ClientError> {
        if connection.is_bus() {
            let bus = DBusProxy::new(connection).await?;
            let service = bus.get_name_owner(BusName::try_from(BUS_NAME)?).await.map_err(zbus::Error::from)?;
            return Self::of_service(connection, service, path).await;
        }
        let rule = MatchRule::builder().msg_type(Type::Signal).path(path.clone()).build()?;
        let stream = MessageStream::for_match_rule(rule, connection, Some(QUEUE)).await?;
        let proxy =
            JobObjectProxy::builder(connection).path(path).cache_properties(CacheProperties::No).build().await?;
        Self::begin(proxy, stream, None, String::new()).await
    }

    async fn of_service(
        connection: &Connection,
        service: OwnedUniqueName,
        path: OwnedObjectPath,
    ) -> Result<Self, ClientError> {
        let rule = MatchRule::builder().msg_type(Type::Signal).sender(service.clone()).path(path.clone()).build()?;
        let stream = MessageStream::for_match_rule(rule, connection, Some(QUEUE)).await?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.freedesktop.DBus")
            .member("NameOwnerChanged")
            .arg(0, service.to_string())
            .build()?;
        let owners = MessageStream::for_match_rule(rule, connection, None).await?;
        let proxy = JobObjectProxy::builder(connection)
            .path(path)
            .destination(service.clone())
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        Self::begin(proxy, stream, Some(owners), service.to_string()).await
    }

    async fn begin(
        proxy: JobObjectProxy<'static>,
        stream: MessageStream,
        owners: Option<MessageStream>,
        service: String,
    ) -> Result<Self, ClientError> {
        proxy.start().await?;
        Ok(Self {
            proxy,
            stream,
            owners,
            service,
            phase: None,
            cancellable: true,
            events: std::collections::VecDeque::new(),
            finished: false,
        })
    }

    /// What happens next; `None` after the end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the service goes away before the end, or says what this version does not understand.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.finished = matches!(event, Event::Finished(_));
                return Ok(Some(event));
            }
            if self.finished {
                return Ok(None);
            }
            let gone = || {
                let who = if self.service.is_empty() { "omgd" } else { TRANSACTION_BUS_NAME };
                ClientError::Disconnected(format!("{who} ended before the work was done"))
            };
            let message = tokio::select! {
                // What it said before it went away comes first.
                biased;
                message = next(&mut self.stream) => message.ok_or_else(gone)??,
                () = changed(&mut self.owners) => return Err(gone()),
            };
            self.hear(&message)?;
        }
    }

    /// Waits for no answer: what comes of it is heard by [`Job::next`], and an answer could be behind more news than fit
    /// into the queue while nobody takes them.
    ///
    /// # Errors
    /// When the service cannot be reached.
    pub async fn reply(&self, reply: &Reply) -> Result<(), ClientError> {
        match reply {
            Reply::Proceed => {}
            Reply::Cancel => self.proxy.inner().call_noreply("Cancel", &()).await?,
            Reply::Answer { id, choice } => {
                // An answer may take a consent of its own.
                let flags = MethodFlags::NO_REPLY_EXPECTED | MethodFlags::ALLOW_INTERACTIVE_AUTH;
                let _: Option<()> =
                    self.proxy.inner().call_with_flags("Answer", flags, &(*id, choice.as_str())).await?;
            }
        }
        Ok(())
    }

    /// Lets go of a finished job; one that is not closed ends by itself.
    pub async fn close(self) {
        let _ = self.proxy.close().await;
    }

    /// The bus name of the service that does the work.
    pub fn service(&self) -> &str {
        &self.service
    }

    fn hear(&mut self, message: &Message) -> Result<(), ClientError> {
        let header = message.header();
        let body = message.body();
        match (header.interface().map(|name| name.as_str()), header.member().map(|name| name.as_str())) {
            (Some(JOB_INTERFACE), Some("Items")) => {
                let items: Vec<(String, String, u64, u64)> = body.deserialize()?;
                for (item, state, bytes_done, bytes_total) in items {
                    // The word of a later version for a state is left out.
                    if let Some(state) = word::<ItemState>(&state) {
                        self.events.push_back(Event::Item { item, state, bytes_done, bytes_total });
                    }
                }
            }
            (Some(JOB_INTERFACE), Some("Message")) => {
                let (level, text): (String, String) = body.deserialize()?;
                self.events.push_back(Event::Message { level: word(&level).unwrap_or(Level::Info), text });
            }
            (Some(JOB_INTERFACE), Some("Question")) => {
                let (id, kind, fields, choices): (u32, String, Fields, Vec<String>) = body.deserialize()?;
                let text =
                    |key: &str| fields.get(key).and_then(|value| <&str>::try_from(value).ok()).unwrap_or_default();
                let kind = match kind.as_str() {
                    "conffile" => QuestionKind::Conffile { package: text("Package").into(), path: text("Path").into() },
                    "key" => QuestionKind::Key { fingerprint: text("Fingerprint").into(), owner: text("Owner").into() },
                    "corrupted" => QuestionKind::Corrupted { path: text("Path").into(), reason: text("Reason").into() },
                    // Of a later version: nobody answers, and the default is taken.
                    _ => return Ok(()),
                };
                self.events.push_back(Event::Question(Question { id, kind, choices }));
            }
            (Some(JOB_INTERFACE), Some("Finished")) => {
                let (outcome, fields): (String, Fields) = body.deserialize()?;
                self.events.push_back(Event::Finished(finished(&outcome, &fields)?));
            }
            (Some("org.freedesktop.DBus.Properties"), Some("PropertiesChanged")) => {
                let (interface, changed, _): (String, HashMap<String, OwnedVariant>, Vec<String>) =
                    body.deserialize()?;
                if interface == JOB_INTERFACE {
                    self.properties(&changed);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn properties(&mut self, changed: &HashMap<String, OwnedVariant>) {
        let before = (self.phase, self.cancellable);
        let phase = changed.get("Phase").and_then(|value| <&str>::try_from(value).ok()).and_then(word);
        self.phase = phase.or(self.phase);
        let cancellable = changed.get("Cancellable").and_then(|value| bool::try_from(value).ok());
        self.cancellable = cancellable.unwrap_or(self.cancellable);
        if let Some(phase) = self.phase
            && before != (self.phase, self.cancellable)
        {
            self.events.push_back(Event::Phase { phase, cancellable: self.cancellable });
        }
        let number = |key: &str| changed.get(key).and_then(|value| u64::try_from(value).ok());
        let fraction = changed.get("Fraction").and_then(|value| f64::try_from(value).ok());
        if let Some(fraction) = fraction {
            let (bytes_done, bytes_total) =
                (number("BytesDone").unwrap_or_default(), number("BytesTotal").unwrap_or_default());
            self.events.push_back(Event::Progress { fraction, bytes_done, bytes_total });
        }
    }
}

/// Waits until a name has another owner.
async fn changed(owners: &mut Option<MessageStream>) {
    match owners {
        Some(owners) => drop(next(owners).await),
        None => std::future::pending().await,
    }
}

pub(super) async fn next(stream: &mut MessageStream) -> Option<zbus::Result<Message>> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// The value that the word stands for.
fn word<T: for<'de> Deserialize<'de>>(word: &str) -> Option<T> {
    serde_json::from_value(word.into()).ok()
}

/// What `Finished` carries, as a value.
pub(super) fn finished(outcome: &str, fields: &Fields) -> Result<Outcome, ClientError> {
    let result: JobResult = reply::read(fields)?;
    let applied = Applied {
        items: result.items.into_iter().filter_map(item).collect(),
        restart: Restart {
            machine: result.restart_machine,
            packages: result.restart_packages,
            services: result.restart_services,
        },
        entry: result.audit_entry,
    };
    Ok(match outcome {
        "succeeded" => Outcome::Succeeded(applied),
        "cancelled" => Outcome::Cancelled { applied },
        _ => {
            let name = result.error.strip_prefix(ERROR_PREFIX).unwrap_or(&result.error);
            let kind = word(name).unwrap_or(FailureKind::Internal);
            Outcome::Failed { failure: Failure::new(kind, result.message), applied }
        }
    })
}

fn item(row: PlannedItem) -> Option<Item> {
    Some(Item {
        change: word(&row.change)?,
        name: row.name,
        arch: row.arch,
        from: row.from,
        to: row.to,
        repository: row.repository,
        download: row.download,
        delta: row.delta,
        explicit: false,
        sha256: String::new(),
    })
}
