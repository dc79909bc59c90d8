//! `org.omg.Plan1`: what a commit of some actions would do, until it is closed or forgotten.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use zbus::export::futures_core::Stream;
use zbus::message::Header;
use zbus::{Connection, interface};

use super::activity::Kept;
use super::error::Error;
use super::planned::plan_path;
use super::served::Served;
use crate::transaction::Plan;

/// Plans that one peer may have open; the oldest is closed for another.
pub const MAX_PLANS_PER_PEER: usize = 16;

/// A plan is closed after so long: packages change, and what was planned then is refused anyway.
pub const LIFETIME: Duration = Duration::from_secs(600);

/// A plan outlives its owner's connection by so long: programs that make a connection for each call read it with the next.
pub const LINGER: Duration = Duration::from_secs(60);

/// Plans that stay without their owners; the oldest is closed for another.
pub const MAX_ORPHANS: usize = 16;

/// change, name, arch, from, to, repository, bytes to download, change of installed bytes.
type Item = (&'static str, String, String, String, String, String, u64, i64);

/// question, about, choices, default, choice.
type Decision = (&'static str, String, Vec<String>, String, String);

/// name, arch, from, to, reason.
type HeldBack = (String, String, String, String, &'static str);

/// The open plans of all peers of one object server. Share it by cloning.
#[derive(Debug, Clone, Default)]
pub struct Plans(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    last: u64,
    /// Oldest first.
    plans: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    owner: String,
    /// Its owner is gone.
    orphaned: bool,
    /// Ends the task that waits for the plan's end.
    watch: AbortHandle,
}

/// One plan as it is served.
#[derive(Debug)]
pub struct ServedPlan {
    plan: Plan,
    number: u64,
    /// Bus name, or what stands for a peer-to-peer connection.
    owner: String,
    plans: Plans,
    /// The daemon stays while a plan is open.
    _kept: Kept,
}

impl Plans {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a plan until it is closed, is too old or its owner is gone for a while; its path. Another one than allowed
    /// closes the owner's oldest.
    ///
    /// # Errors
    /// When it cannot be served.
    pub async fn serve(
        &self,
        connection: &Connection,
        plan: Plan,
        owner: &str,
        kept: Kept,
    ) -> Result<String, zbus::Error> {
        let number = {
            let mut open = self.open();
            open.last += 1;
            open.last
        };
        let path = plan_path(number);
        let served = ServedPlan { plan, number, owner: owner.to_owned(), plans: self.clone(), _kept: kept };
        connection.object_server().at(path.as_str(), Served::new(served)).await?;
        let (plans, watched, name) = (self.clone(), connection.clone(), owner.to_owned());
        let watch = tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(LIFETIME) => {}
                () = plans.orphaned(&watched, &name, number) => {}
            }
            plans.close(&watched, number).await;
        });
        let surplus = {
            let mut open = self.open();
            let surplus = open.plans.iter().filter(|entry| entry.owner == owner).map(|entry| entry.number);
            let surplus: Vec<u64> = surplus.collect();
            open.plans.push_back(Entry {
                number,
                owner: owner.to_owned(),
                orphaned: false,
                watch: watch.abort_handle(),
            });
            let most = surplus.len().saturating_sub(MAX_PLANS_PER_PEER - 1);
            surplus.into_iter().take(most).collect::<Vec<_>>()
        };
        for number in surplus {
            self.close(connection, number).await;
        }
        Ok(path)
    }

    /// Lets go of the connection: its end does not wait for plans.
    pub fn end(&self) {
        for entry in &self.open().plans {
            entry.watch.abort();
        }
    }

    /// Waits until a plan's owner has been gone for a while. On a connection of its own nobody is left to read it.
    async fn orphaned(&self, connection: &Connection, owner: &str, number: u64) {
        gone(connection, owner).await;
        if !connection.is_bus() {
            return;
        }
        let surplus = {
            let mut open = self.open();
            if let Some(entry) = open.plans.iter_mut().find(|entry| entry.number == number) {
                entry.orphaned = true;
            }
            let mut orphans = open.plans.iter().filter(|entry| entry.orphaned).map(|entry| entry.number);
            let oldest = orphans.next();
            oldest.filter(|_| orphans.count() >= MAX_ORPHANS)
        };
        if let Some(oldest) = surplus {
            self.close(connection, oldest).await;
        }
        tokio::time::sleep(LINGER).await;
    }

    async fn close(&self, connection: &Connection, number: u64) {
        let entry = {
            let mut open = self.open();
            let position = open.plans.iter().position(|entry| entry.number == number);
            position.and_then(|position| open.plans.remove(position))
        };
        // One that is gone already is as good as closed.
        let _ = connection.object_server().remove::<Served<ServedPlan>, _>(plan_path(number)).await;
        if let Some(entry) = entry {
            entry.watch.abort();
        }
    }
}

/// Waits until a name is no longer on the bus or, without a bus, until the connection has ended.
pub(super) async fn gone(connection: &Connection, name: &str) {
    if !connection.is_bus() {
        connection.closed().await;
        return;
    }
    let watched = async {
        let bus = zbus::fdo::DBusProxy::new(connection).await?;
        let mut changes = pin!(bus.receive_name_owner_changed_with_args(&[(0, name)]).await?);
        // It may have gone before this began to listen.
        if !bus.name_has_owner(name.try_into()?).await? {
            return Ok(());
        }
        while let Some(change) = poll_fn(|context| changes.as_mut().poll_next(context)).await {
            if change.args()?.new_owner().is_none() {
                break;
            }
        }
        Ok::<(), zbus::Error>(())
    };
    if watched.await.is_err() {
        pending().await
    }
}

/// What a commit of some actions would do. It never changes; whoever commits resolves the actions again and refuses when
/// the digest differs.
#[interface(name = "org.omg.Plan1")]
impl ServedPlan {
    /// Forgets the plan. Only for whoever asked for it; it is closed anyway ten minutes after it was made, and a minute
    /// after its owner left the bus.
    async fn close(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        if header.sender().is_some_and(|sender| sender.as_str() != self.owner) {
            return Err(Error::NotAuthorized("this plan is another client's".into()));
        }
        // Not from inside a call of the object itself, which cannot be taken away before the call has returned.
        let (plans, connection, number) = (self.plans.clone(), connection.clone(), self.number);
        tokio::spawn(async move { plans.close(&connection, number).await });
        Ok(())
    }

    /// (verb, target), as they were asked for.
    #[zbus(property(emits_changed_signal = "const"))]
    fn actions(&self) -> Vec<(&'static str, String)> {
        self.plan.actions.iter().map(|action| (action.verb().as_str(), action.target().to_owned())).collect()
    }

    /// (change, name, arch, from, to, repository, bytes to download, change of installed bytes). Changes: install,
    /// upgrade, downgrade, reinstall, remove, purge, hold, unhold, mark-explicit, mark-dependency, configure, clean.
    #[zbus(property(emits_changed_signal = "const"))]
    fn items(&self) -> Vec<Item> {
        let row = |item: &crate::transaction::Item| {
            let item = item.clone();
            let change = item.change.as_str();
            (change, item.name, item.arch, item.from, item.to, item.repository, item.download, item.delta)
        };
        self.plan.items.iter().map(row).collect()
    }

    /// Available upgrades that are no part of it: (name, arch, from, to, reason). Reasons: held, phased, dependencies.
    #[zbus(property(emits_changed_signal = "const"))]
    fn held_back(&self) -> Vec<HeldBack> {
        let row = |held: &crate::transaction::HeldBack| {
            (held.name.clone(), held.arch.clone(), held.from.clone(), held.to.clone(), held.reason.as_str())
        };
        self.plan.held_back.iter().map(row).collect()
    }

    /// Names of packages that nothing would need any more.
    #[zbus(property(emits_changed_signal = "const"))]
    fn unneeded(&self) -> Vec<String> {
        self.plan.unneeded.clone()
    }

    /// What it does, as 64 hexadecimal digits: what Commit asks for.
    #[zbus(property(emits_changed_signal = "const"))]
    fn digest(&self) -> String {
        self.plan.digest.to_string()
    }

    /// Bytes to download.
    #[zbus(property(emits_changed_signal = "const"))]
    fn download_size(&self) -> u64 {
        self.plan.download_size()
    }

    /// Bytes that are taken up on the disk, or set free.
    #[zbus(property(emits_changed_signal = "const"))]
    fn installed_size_delta(&self) -> i64 {
        self.plan.installed_size_delta()
    }

    /// What to think twice about, as CODE:NAME. Codes: removes-essential, removes-many (with their number), downgrades,
    /// untrusted, changes-held.
    #[zbus(property(emits_changed_signal = "const"))]
    fn risks(&self) -> Vec<String> {
        self.plan.risks.iter().map(ToString::to_string).collect()
    }

    /// What the package system said while it resolved.
    #[zbus(property(emits_changed_signal = "const"))]
    fn notes(&self) -> Vec<String> {
        self.plan.notes.clone()
    }

    /// What a repair does besides the items: a lock or a torn record that it takes away.
    #[zbus(property(emits_changed_signal = "const"))]
    fn mends(&self) -> Vec<String> {
        self.plan.mends.clone()
    }

    /// What the package system asked while it resolved, and how it was decided: (question, about, choices, default, choice).
    /// Another choice is made by a plan of the same actions with the option answers, under the key QUESTION:ABOUT. Questions:
    /// conflict (about WANTED:INSTALLED, whether the installed one is removed), replace (INSTALLED:REPOSITORY/NEW), ignored
    /// (a name), skip (names, joined by commas), each with the choices yes and no, and provider (what is wanted; the choices
    /// are packages).
    #[zbus(property(emits_changed_signal = "const"))]
    fn decisions(&self) -> Vec<Decision> {
        let row = |decision: &crate::transaction::Decision| {
            let decision = decision.clone();
            (decision.asks.as_str(), decision.about, decision.choices, decision.default, decision.chosen)
        };
        self.plan.decisions.iter().map(row).collect()
    }
}
