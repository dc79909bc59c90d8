//! `omg-helper service`: changes packages for whom polkit allows it, on the system bus.
//!
//! The process holds no package library open and reads nothing for anybody: jobs are checked, authorised, put in line and
//! then done by [`child`], a process of their own.

mod arguments;
mod child;
mod inhibit;
mod jobs;
mod polkit;
mod run;
mod transaction;
mod turns;

pub use child::settle;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use libsystemd::daemon::{NotifyState, notify};
use omg::dbus::activity::Activity;
use omg::dbus::callers::Callers;
use omg::dbus::names::{TRANSACTION_BUS_NAME, TRANSACTION_PATH};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use zbus::export::futures_core::Stream;
use zbus::fdo::RequestNameFlags;
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream, connection};

use crate::backend::Error;
use jobs::Jobs;
use polkit::Authority;
use run::Means;
use transaction::Transaction;
use turns::Turns;

/// The bus gets so long to take the name back or the last messages.
const RELEASE: Duration = Duration::from_secs(5);

/// Descriptors that the service may have open. Callers may send 16 with each message and have many messages under way.
const DESCRIPTORS: u64 = 65_536;

/// Why the service ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Idle,
    Signal,
    BusGone,
}

/// Serves on the system bus until there has been nothing to do for `idle`. A job whose plan is not made within `plan_within`
/// is given up.
///
/// # Errors
/// When there is no system bus, or another service has the name.
pub fn run(idle: Duration, plan_within: Duration) -> Result<(), Error> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find out this program's path: {error}"))?;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS));
    if limit.current.is_some_and(|now| now < wanted) {
        // With fewer it still serves.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(program, idle, plan_within))
}

async fn serve(program: std::path::PathBuf, idle_timeout: Duration, plan_within: Duration) -> Result<(), Error> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let no_bus = |error| format!("cannot serve on the system bus: {error}");
    let asking = connection::Builder::system().build().await.map_err(no_bus)?;
    let (jobs, activity) = (Jobs::default(), Activity::default());
    tokio::spawn(watch_owners(owners_leaving(&asking).await.map_err(no_bus)?, jobs.clone()));
    let means = Means {
        callers: Callers::new(asking.clone()),
        authority: Authority::new(asking.clone()),
        bus: asking.clone(),
        turns: Turns::default(),
        program,
        plan_within,
    };
    let transaction = Transaction { means: Arc::new(means), jobs: jobs.clone(), activity: activity.clone() };
    let building = connection::Builder::system().serve_at(TRANSACTION_PATH, transaction);
    let bus = building.build().await.map_err(no_bus)?;
    // Objects are served before the name is claimed: whoever started the service with a call finds them.
    let claimed = bus.request_name_with_flags(TRANSACTION_BUS_NAME, RequestNameFlags::DO_NOT_QUEUE).await;
    claimed.map_err(|error| format!("cannot claim {TRANSACTION_BUS_NAME} on the system bus: {error}"))?;
    tell(NotifyState::Ready);

    let ending = tokio::select! {
        _ = terminated.recv() => Ending::Signal,
        _ = interrupted.recv() => Ending::Signal,
        () = bus.closed() => Ending::BusGone,
        () = asking.closed() => Ending::BusGone,
        () = idle(&jobs, &activity, idle_timeout) => Ending::Idle,
    };
    // Whoever stops the service waits for dpkg alone. A bus that is gone is no wish of anybody's.
    jobs.close(ending == Ending::Signal);
    tell(NotifyState::Stopping);
    // What cannot be interrupted goes to its end; its owner still finds it under the name.
    jobs.all_over().await;
    if ending != Ending::BusGone {
        let last = async {
            release(&bus).await;
            activity.drained().await;
        };
        let _ = timeout(RELEASE, last).await;
        jobs.abort();
        let _ = timeout(RELEASE, bus.graceful_shutdown()).await;
    }
    Ok(())
}

/// Gives up the name: calls from now on start the next service. Those that came before are all being handled when this
/// returns: the service's own call of itself has travelled behind them.
async fn release(bus: &Connection) {
    if bus.release_name(TRANSACTION_BUS_NAME).await.is_err() {
        return;
    }
    if let Some(own) = bus.unique_name().cloned() {
        let peer = Some("org.freedesktop.DBus.Peer");
        let _ = bus.call_method(Some(own.as_ref()), TRANSACTION_PATH, peer, "Ping", &()).await;
    }
}

/// Waits until there has been neither a job nor a call for `idle_timeout`.
async fn idle(jobs: &Jobs, activity: &Activity, idle_timeout: Duration) {
    loop {
        let idle = jobs.idle_for().zip(activity.idle_for()).map(|(jobs, calls)| jobs.min(calls));
        let rest = idle_timeout.saturating_sub(idle.unwrap_or_default());
        if rest.is_zero() {
            return;
        }
        // While there is a job the clock stands; a short look again does not keep a processor awake for long.
        sleep(if idle.is_some() { rest } else { rest.min(Duration::from_secs(5)) }).await;
    }
}

/// The names of peers that leave the bus.
async fn owners_leaving(bus: &Connection) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        .arg(2, "")
        .build()?;
    MessageStream::for_match_rule(rule, bus, None).await
}

async fn watch_owners(stream: MessageStream, jobs: Jobs) {
    let mut stream = pin!(stream);
    while let Some(message) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
        let Ok(message) = message else { return };
        let body = message.body();
        if let Ok((name, _, new)) = body.deserialize::<(&str, &str, &str)>()
            && new.is_empty()
        {
            jobs.abandon(name);
        }
    }
}

/// Tells the service manager, where there is one.
fn tell(state: NotifyState) {
    let _ = notify(false, &[state]);
}
