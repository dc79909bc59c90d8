//! Packages that are built from the newest commit of a repository (`-git` packages): which of them have moved on.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::git::remote_commit;
use super::record::{Build, Built};
use super::{AurError, Workshop};

/// Repositories that are asked at a time, and most of them in all.
const AT_A_TIME: usize = 4;
const MAX_ASKED: usize = 1000;

/// What became of the packages of the last builds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moved {
    /// Names of packages that followed a repository which stands elsewhere now.
    pub names: BTreeSet<String>,
    /// Those of the others that followed one, as they were built.
    pub built: Vec<Built>,
    /// Why that is not known of some, for people.
    pub unknown: Vec<String>,
}

/// Address and branch.
type Followed = (String, String);

impl Workshop {
    /// Asks the repositories that the packages called so were last built from where they stand now. Those that have not
    /// answered `within` that time are not known.
    pub async fn moved(&self, installed: &HashSet<String>, within: Duration) -> Moved {
        let records = self.records();
        let read = move || {
            let build = |base: String| Some((records.read(&base).ok()?.built?, base));
            let mut builds: Vec<(Build, String)> = records.bases().into_iter().filter_map(build).collect();
            builds.sort_by(|(_, one), (_, other)| one.cmp(other));
            builds
        };
        let mut builds = tokio::task::spawn_blocking(read).await.unwrap_or_default();
        builds.retain(|(build, _)| build.packages.iter().any(|package| installed.contains(&package.name)));
        let followed = builds.iter().flat_map(|(build, _)| &build.followed);
        let followed = followed.map(|(address, branch, _)| (address.clone(), branch.clone())).collect();
        let stand = ask(followed, Instant::now() + within).await;
        let mut moved = Moved::default();
        for (build, base) in builds.into_iter().filter(|(build, _)| !build.followed.is_empty()) {
            let mut has_moved = false;
            for (address, branch, commit) in build.followed {
                match stand.get(&(address.clone(), branch)) {
                    Some(Ok(_)) if commit.is_empty() => moved.unknown.push(format!(
                        "whether {base} has moved is not known: {address} did not answer when it was built"
                    )),
                    // A branch that is gone is told by the next build, which is for somebody to ask for.
                    Some(Ok(now)) => has_moved |= now.as_ref().is_some_and(|now| *now != commit),
                    Some(Err(why)) => moved.unknown.push(format!("whether {base} has moved is not known: {why}")),
                    None => {
                        moved.unknown.push(format!("whether {base} has moved is not known: {address} did not answer"))
                    }
                }
            }
            if has_moved {
                moved.names.extend(build.packages.into_iter().map(|package| package.name));
            } else {
                moved.built.extend(build.packages);
            }
        }
        moved
    }
}

/// Where the repositories stand, as far as they say so before the `end`.
async fn ask(followed: BTreeSet<Followed>, end: Instant) -> BTreeMap<Followed, Result<Option<String>, AurError>> {
    let turns = Arc::new(Semaphore::new(AT_A_TIME));
    let mut asking = JoinSet::new();
    for (address, branch) in followed.into_iter().take(MAX_ASKED) {
        let turns = Arc::clone(&turns);
        asking.spawn(async move {
            let _turn = turns.acquire_owned().await;
            let answer = remote_commit(&address, &branch).await;
            ((address, branch), answer)
        });
    }
    let mut stand = BTreeMap::new();
    while let Ok(Some(answered)) = tokio::time::timeout_at(end, asking.join_next()).await {
        stand.extend(answered.ok());
    }
    stand
}
