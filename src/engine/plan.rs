//! Plans, resolved by the helper as this user, and the history of what was done.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use super::rebuild::{AFTER_MOVE, PATIENCE};
use super::{Engine, EngineError, Subject, blocking};
use crate::security::audit::{AuditLog, Readers, Record, SYSTEM_FOLDER, history};
use crate::transaction::{Action, Answer, HistoryEntry, Options, Plan, Request, read_line, write_line};

/// Plans that are resolved at once: each takes about as much memory as the package system's own tools.
pub(super) const RESOLVERS: usize = 2;

/// Entries of the log that are looked at: each transaction has two.
const LOOKED_AT: usize = 20_000;

impl Engine {
    /// The plan for `actions`; `files` are the packages of the `install-file` actions, in their order.
    ///
    /// # Errors
    /// [`EngineError::Refused`] when there is no such plan, and what keeps the helper from running.
    pub async fn plan(
        self: &Arc<Self>,
        actions: Vec<Action>,
        options: Options,
        files: Vec<OwnedFd>,
    ) -> Result<Plan, EngineError> {
        let _turn = self.resolvers.acquire().await;
        let mut request = Request { actions, options, files: Vec::new(), digest: None };
        let first = Instant::now();
        let answer = loop {
            let before = self.unsettled().await?;
            let mut command = self.helper("plan")?;
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            // Each helper inherits its own, under their numbers.
            let inherited = files.iter().map(OwnedFd::try_clone).collect::<io::Result<Vec<_>>>();
            let inherited = inherited.map_err(|error| EngineError::Internal(format!("the package files: {error}")))?;
            request.files = inherited.iter().map(AsRawFd::as_raw_fd).collect();
            let mut line = Vec::new();
            write_line(&mut line, &request).map_err(|error| EngineError::Internal(format!("the request: {error}")))?;
            match self.run_helper(command, line, inherited).await {
                // See `build_settled`.
                Err(EngineError::Internal(said)) if first.elapsed() < PATIENCE && self.has_moved(before).await? => {
                    tracing::debug!("packages are being changed, and the plan is made again: {said}");
                    tokio::time::sleep(AFTER_MOVE).await;
                }
                answer => break answer?,
            }
        };
        match read_line::<Answer>(&mut answer.as_slice()) {
            Ok(Some(Answer::Plan(plan))) => Ok(*plan),
            Ok(Some(Answer::Failed(failure))) => Err(EngineError::Refused(failure)),
            Ok(None) => Err(EngineError::Internal("omg-helper gave no plan".into())),
            Err(error) => Err(EngineError::Internal(format!(
                "omg-helper gave no plan that can be read ({error}); are omgd and omg-helper of the same version?"
            ))),
        }
    }

    /// The newest `limit` transactions, newest first.
    ///
    /// # Errors
    /// When the thread that reads them ends early.
    pub async fn history(self: &Arc<Self>, limit: usize) -> Result<Vec<HistoryEntry>, EngineError> {
        let engine = Arc::clone(self);
        blocking(move || engine.read_history(limit)).await
    }

    /// The log is the truth; the store keeps what was read from it, for the day on which it cannot be read.
    fn read_history(&self, limit: usize) -> Vec<HistoryEntry> {
        let root = self.options.inputs.root.as_deref().map_or(Path::new("/"), Path::new);
        let folder = root.join(SYSTEM_FOLDER);
        let log = AuditLog::new(&folder, Readers::Everyone);
        // Another root has another log, with the same numbers.
        let place = folder.components().collect::<PathBuf>().to_string_lossy().into_owned();
        // A transaction has two entries, and the first may lie before the second of the one before it.
        let most = limit.saturating_mul(2).saturating_add(2).min(LOOKED_AT);
        match log.read_where(most, |record| {
            !matches!(record, Record::Refreshed { .. } | Record::Unreviewed { .. } | Record::Unverified { .. })
        }) {
            Ok(entries) => {
                self.in_order(Subject::History);
                let mut told = history(&entries);
                if let Err(error) = self.store.put_history(&place, &told) {
                    tracing::debug!("{error}");
                }
                // Fewer than asked for: what the log no longer has, the store may have.
                if told.len() < limit {
                    let oldest = told.last().map_or(u64::MAX, |entry| entry.id);
                    told.extend(self.store.history(&place, limit).into_iter().filter(|entry| entry.id < oldest));
                }
                told.truncate(limit);
                told
            }
            Err(error) => {
                self.report_problem(Subject::History, format!("the history cannot be read: {error}"));
                self.store.history(&place, limit)
            }
        }
    }
}
