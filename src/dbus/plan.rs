//! `org.omg.Plan1`: what a commit of some actions would do, until it is closed or forgotten.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zbus::message::Header;
use zbus::{ObjectServer, interface};

use super::activity::Kept;
use super::error::Error;
use super::planned::plan_path;
use crate::transaction::{HoldReason, Plan};

/// Plans that one peer may have open; the oldest is closed for another.
pub const MAX_PLANS_PER_PEER: usize = 16;

/// A plan is closed after so long: packages change, and what was planned then is refused anyway.
pub const LIFETIME: Duration = Duration::from_secs(600);

/// change, name, arch, from, to, repository, bytes to download, change of installed bytes.
type Item = (&'static str, String, String, String, String, String, u64, i64);

/// name, arch, from, to, reason.
type HeldBack = (String, String, String, String, &'static str);

/// The open plans of all peers of one object server. Share it by cloning.
#[derive(Debug, Clone, Default)]
pub struct Plans(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    last: u64,
    /// Number, owner, when it was made; oldest first.
    plans: VecDeque<(u64, String, Instant)>,
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

    /// Serves a plan; its path. Closes those of the same owner that are too many, and all that are too old.
    ///
    /// # Errors
    /// When it cannot be served.
    pub async fn serve(
        &self,
        server: &ObjectServer,
        plan: Plan,
        owner: &str,
        kept: Kept,
    ) -> Result<String, zbus::Error> {
        let (number, forgotten) = {
            let mut open = self.open();
            open.last += 1;
            let number = open.last;
            open.plans.push_back((number, owner.to_owned(), Instant::now()));
            let mut excess =
                open.plans.iter().filter(|(_, of, _)| of == owner).count().saturating_sub(MAX_PLANS_PER_PEER);
            let mut forgotten = Vec::new();
            open.plans.retain(|(number, of, made)| {
                let old = made.elapsed() > LIFETIME;
                let surplus = !old && of == owner && excess > 0;
                excess -= usize::from(surplus);
                if old || surplus {
                    forgotten.push(*number);
                }
                !(old || surplus)
            });
            (number, forgotten)
        };
        remove(server, &forgotten).await;
        let path = plan_path(number);
        let served = ServedPlan { plan, number, owner: owner.to_owned(), plans: self.clone(), _kept: kept };
        server.at(path.as_str(), served).await?;
        Ok(path)
    }

    /// Closes all plans of an owner that is gone.
    pub async fn forget(&self, server: &ObjectServer, owner: &str) {
        self.close(server, |of, _| of == owner).await;
    }

    /// Closes the plans that are too old.
    pub async fn expire(&self, server: &ObjectServer) {
        self.close(server, |_, made| made.elapsed() > LIFETIME).await;
    }

    async fn close(&self, server: &ObjectServer, which: impl Fn(&str, Instant) -> bool) {
        let mut closed = Vec::new();
        self.open().plans.retain(|(number, of, made)| {
            let close = which(of, *made);
            if close {
                closed.push(*number);
            }
            !close
        });
        remove(server, &closed).await;
    }
}

async fn remove(server: &ObjectServer, numbers: &[u64]) {
    for number in numbers {
        // One that is gone already is as good as closed.
        let _ = server.remove::<ServedPlan, _>(plan_path(*number)).await;
    }
}

/// What a commit of some actions would do. It never changes; whoever commits resolves the actions again and refuses when
/// the digest differs.
#[interface(name = "org.omg.Plan1")]
impl ServedPlan {
    /// Forgets the plan. Only for whoever asked for it; it is closed anyway ten minutes after it was made, and when its
    /// owner is gone.
    async fn close(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<(), Error> {
        if header.sender().is_some_and(|sender| sender.as_str() != self.owner) {
            return Err(Error::NotAuthorized("this plan is another client's".into()));
        }
        let number = self.number;
        self.plans.open().plans.retain(|(of, _, _)| *of != number);
        // Not from inside a call of the object itself, whose lock is held until it has returned.
        let server = server.clone();
        tokio::spawn(async move { remove(&server, &[number]).await });
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
            let reason = match held.reason {
                HoldReason::Held => "held",
                HoldReason::Phased => "phased",
                HoldReason::Dependencies => "dependencies",
            };
            (held.name.clone(), held.arch.clone(), held.from.clone(), held.to.clone(), reason)
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
}
