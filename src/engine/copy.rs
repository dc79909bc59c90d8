//! The user's own copy of the package lists, fetched by the helper without rights.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use super::{Engine, EngineError};
use crate::transaction::{Event, Outcome, read_line};

/// A helper that fetches package lists is ended after so long. It gives up a server that sends nothing much earlier.
const FETCH_TIMEOUT: Duration = Duration::from_secs(1800);

impl Engine {
    /// Where the copy is, whether there is one or not.
    pub(super) fn copy_folder(&self) -> PathBuf {
        self.options.data_dir.join("databases").join(self.options.inputs.system_name())
    }

    /// Fetches the package lists into this user's own copy; with `files` the lists of files too.
    ///
    /// # Errors
    /// [`EngineError::Refused`] with why they cannot be fetched, and what keeps the helper from running.
    pub async fn refresh_copy(&self, files: bool) -> Result<(), EngineError> {
        let mut command = self.helper("refresh-copy")?;
        command.args(files.then_some("--files"));
        command.arg("--copy").arg(self.copy_folder()).stdin(Stdio::null()).stdout(Stdio::piped());
        let said = self.run_helper_within(FETCH_TIMEOUT, command, Vec::new(), Vec::new()).await?;
        let mut lines = said.as_slice();
        while let Ok(Some(event)) = read_line::<Event>(&mut lines) {
            match event {
                Event::Finished(Outcome::Succeeded(_)) => return Ok(()),
                Event::Finished(Outcome::Failed { failure, .. }) => return Err(EngineError::Refused(failure)),
                Event::Finished(Outcome::Cancelled { .. }) => {
                    return Err(EngineError::Internal("omg-helper was asked to end".into()));
                }
                _ => {}
            }
        }
        Err(EngineError::Internal("omg-helper ended without a result".into()))
    }
}
