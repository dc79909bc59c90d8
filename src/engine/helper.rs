//! Runs `omg-helper` as this user.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::{Engine, EngineError};
use crate::transaction::MAX_LINE_BYTES;

/// The most that is kept of what a helper says on its standard error.
const MAX_MESSAGE: u64 = 16 << 10;

/// Exit code of a helper that was built without the backend asked for (`EX_UNAVAILABLE` of sysexits.h).
const EXIT_UNAVAILABLE: i32 = 69;

/// Exit code of a helper that was given something else than the AUR's archive (`EX_DATAERR`).
const EXIT_BAD_DATA: i32 = 65;

/// Exit code of a helper that found no room for the snapshot (`EX_IOERR`).
const EXIT_NO_ROOM: i32 = 74;

impl Engine {
    /// The helper with one of its verbs and this daemon's settings.
    pub(super) fn helper(&self, verb: &str) -> Result<Command, EngineError> {
        let inputs = &self.options.inputs;
        let Some(helper) = &self.options.helper else {
            return Err(EngineError::BackendUnavailable(
                "omg-helper is not installed: package questions cannot be answered without it".into(),
            ));
        };
        if inputs.backend == "none" {
            return Err(EngineError::BackendUnavailable(
                "there is no package system that omg knows: config.toml says so with backend, or os-release(5) names \
                 another distribution"
                    .into(),
            ));
        }
        let mut command = Command::new(helper);
        command.args([verb, "--die-with-parent", "--backend", &inputs.backend]);
        if let Some(root) = &inputs.root {
            command.args(["--root", root]);
        }
        for option in &inputs.options {
            command.args(["--option", option]);
        }
        // The helper is no service: it must not speak to the service manager in the daemon's place.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
        Ok(command)
    }

    /// Runs the helper to its end: `input` goes to its standard input where that is a pipe; what comes from its standard
    /// output where that is one. It inherits `files`, under their numbers.
    pub(super) async fn run_helper(
        &self,
        command: Command,
        input: Vec<u8>,
        files: Vec<OwnedFd>,
    ) -> Result<Vec<u8>, EngineError> {
        self.run_helper_within(self.options.helper_timeout, command, input, files).await
    }

    /// The same for one that may take `limit` long.
    pub(super) async fn run_helper_within(
        &self,
        limit: Duration,
        mut command: Command,
        input: Vec<u8>,
        files: Vec<OwnedFd>,
    ) -> Result<Vec<u8>, EngineError> {
        let program = command.as_std().get_program().to_owned();
        let failed =
            |error: io::Error| EngineError::BackendUnavailable(format!("cannot run {}: {error}", program.display()));
        command.stderr(Stdio::piped()).kill_on_drop(true);
        for file in &files {
            fcntl_setfd(file, FdFlags::empty()).map_err(|error| failed(error.into()))?;
        }
        let mut child = command.spawn().map_err(failed)?;
        // The helper has its own; another one that is started from now on inherits none.
        drop(files);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let finished = tokio::time::timeout(limit, async {
            let write = async {
                if let Some(mut stdin) = stdin {
                    // A helper that does not want all of it says why.
                    let _ = stdin.write_all(&input).await;
                }
            };
            let ((), said, answer) = tokio::join!(write, read(stderr, MAX_MESSAGE), read(stdout, MAX_LINE_BYTES));
            (child.wait().await, said, answer)
        })
        .await;
        let Ok((status, said, answer)) = finished else {
            let _ = child.kill().await;
            return Err(EngineError::Internal(format!(
                "omg-helper did not finish within {} s and was ended; is a disk or a network file system hanging?",
                limit.as_secs()
            )));
        };
        let status = status.map_err(failed)?;
        let said = String::from_utf8_lossy(&said);
        let said = said.trim();
        if !status.success() {
            return Err(helper_error(status, said));
        }
        if !said.is_empty() {
            tracing::info!("omg-helper: {said}");
        }
        Ok(answer)
    }
}

/// The first `most` bytes. What comes beyond them is read and dropped, so that the writer never blocks on a full pipe.
async fn read(from: Option<impl AsyncRead + Unpin>, most: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(from) = from {
        let mut from = from.take(most);
        let _ = from.read_to_end(&mut kept).await;
        let _ = tokio::io::copy(&mut from.into_inner(), &mut tokio::io::sink()).await;
    }
    kept
}

fn helper_error(status: ExitStatus, said: &str) -> EngineError {
    let said = if said.is_empty() { "it said nothing" } else { said };
    match (status.code(), status.signal()) {
        (Some(EXIT_UNAVAILABLE), _) => EngineError::BackendUnavailable(said.to_owned()),
        (Some(EXIT_BAD_DATA), _) => EngineError::InvalidArgument(said.to_owned()),
        (Some(EXIT_NO_ROOM), _) => EngineError::DiskFull(said.to_owned()),
        // What the kernel sends to who writes beyond RLIMIT_FSIZE (setrlimit(2)).
        (None, Some(signal)) if signal == Signal::XFSZ.as_raw() => {
            EngineError::DiskFull("files of this process may not be as long as the index (RLIMIT_FSIZE)".to_owned())
        }
        (Some(code), _) => EngineError::Internal(format!("omg-helper failed with exit code {code}: {said}")),
        (None, signal) => {
            EngineError::Internal(format!("omg-helper was ended by signal {}: {said}", signal.unwrap_or_default()))
        }
    }
}
