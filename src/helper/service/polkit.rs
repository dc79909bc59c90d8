//! Asks polkit whether a caller may.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use omg::dbus::callers::Caller;
use omg::transaction::{Failure, FailureKind, Privilege};
use zbus::{Connection, Variant};

const NAME: &str = "org.freedesktop.PolicyKit1";
const PATH: &str = "/org/freedesktop/PolicyKit1/Authority";
const INTERFACE: &str = "org.freedesktop.PolicyKit1.Authority";

/// `AllowUserInteraction` of CheckAuthorization.
const ALLOW_USER_INTERACTION: u32 = 1;

/// polkit's answer: authorised, could be after a challenge, details.
type Answer = (bool, bool, HashMap<String, String>);

/// polkit on the system bus.
#[derive(Debug)]
pub struct Authority {
    bus: Connection,
    /// Names checks, so that they can be cancelled.
    checks: AtomicU64,
}

/// A check that polkit has not answered yet; dropped before it has, the check is cancelled and agents close their dialogs.
struct Pending<'a> {
    bus: &'a Connection,
    id: &'a str,
    answered: bool,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let (bus, id) = (self.bus.clone(), self.id.to_owned());
            tokio::spawn(async move {
                // A polkit that does not know the check any more has ended it already.
                let _ = bus.call_method(Some(NAME), PATH, Some(INTERFACE), "CancelCheckAuthorization", &id).await;
            });
        }
    }
}

impl Authority {
    pub fn new(bus: Connection) -> Self {
        Self { bus, checks: AtomicU64::new(0) }
    }

    /// Asks for each privilege, and waits until people have answered where polkit wants to hear them. polkit learns the
    /// caller's name on the bus and what it wants to do: nothing that the caller could have put into words.
    ///
    /// # Errors
    /// `NotAuthorized`, `AuthDismissed`, `AgentMissing`.
    pub async fn check(&self, caller: &Caller, privileges: impl IntoIterator<Item = Privilege>) -> Result<(), Failure> {
        for privilege in privileges {
            self.check_one(caller, privilege).await?;
        }
        Ok(())
    }

    async fn check_one(&self, caller: &Caller, privilege: Privilege) -> Result<(), Failure> {
        let id = format!("omg-{}", self.checks.fetch_add(1, Ordering::Relaxed));
        let subject = HashMap::from([("name", Variant::from(caller.name.as_str()))]);
        let flags = if caller.interactive { ALLOW_USER_INTERACTION } else { 0 };
        let details = HashMap::<&str, &str>::new();
        let body = (("system-bus-name", subject), privilege.action_id(), details, flags, id.as_str());
        let mut pending = Pending { bus: &self.bus, id: &id, answered: false };
        let reply = self.bus.call_method(Some(NAME), PATH, Some(INTERFACE), "CheckAuthorization", &body).await;
        pending.answered = true;
        let answer = reply.and_then(|reply| reply.body().deserialize::<Answer>());
        match answer {
            Ok(answer) => judge(answer, caller.interactive, privilege),
            // There is nobody to ask where there is no polkit, either.
            Err(error) => Err(Failure::new(
                FailureKind::AgentMissing,
                format!(
                    "polkit cannot say whether {} is allowed: {error}; root can do it with sudo",
                    privilege.action_id()
                ),
            )),
        }
    }
}

/// What an answer means. Only a plain yes is one.
fn judge((authorized, challenge, details): Answer, interactive: bool, privilege: Privilege) -> Result<(), Failure> {
    let action = privilege.action_id();
    let (kind, message) = match (authorized, challenge) {
        (true, _) => return Ok(()),
        (false, _) if details.contains_key("polkit.dismissed") => {
            (FailureKind::AuthDismissed, format!("the question for {action} was dismissed"))
        }
        (false, true) if interactive => (
            FailureKind::AgentMissing,
            format!(
                "{action} needs somebody's consent, and no authentication agent runs in this session to ask for it"
            ),
        ),
        (false, true) => (
            FailureKind::NotAuthorized,
            format!("{action} needs somebody's consent, and the call did not allow interactive authorisation"),
        ),
        (false, false) => (FailureKind::NotAuthorized, format!("{action} is not allowed")),
    };
    Err(Failure::new(kind, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_is_one() {
        let kind =
            |answer: Answer, interactive| judge(answer, interactive, Privilege::Install).map_err(|error| error.kind);
        let nothing = HashMap::new;
        let dismissed = || HashMap::from([("polkit.dismissed".to_owned(), "true".to_owned())]);
        assert_eq!(kind((true, false, nothing()), false), Ok(()));
        assert_eq!(kind((false, false, nothing()), true), Err(FailureKind::NotAuthorized));
        assert_eq!(kind((false, false, dismissed()), true), Err(FailureKind::AuthDismissed));
        assert_eq!(kind((false, true, dismissed()), true), Err(FailureKind::AuthDismissed));
        assert_eq!(kind((false, true, nothing()), true), Err(FailureKind::AgentMissing));
        assert_eq!(kind((false, true, nothing()), false), Err(FailureKind::NotAuthorized));
    }
}
