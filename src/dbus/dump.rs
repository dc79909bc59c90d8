//! `QueryFd`: whole listings as JSON lines through a pipe.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use zbus::{OwnedFd, OwnedVariant};

use super::activity::Activity;
use super::arguments::{self, Options};
use super::error::Error;
use super::manager::{name_of, text_of};
use super::{dictionaries, reply};
use crate::engine::{Engine, EngineError, Loaded};
use crate::package::{SearchQuery, Selection};

/// Dumps that may run at once, over all peers: each holds a thread while its reader reads.
const MAX_DUMPS: usize = 8;

/// A reader that takes nothing for so long has lost interest.
const STALLED: Duration = Duration::from_secs(30);

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// One of the [`MAX_DUMPS`] places.
struct Place;

impl Place {
    fn take() -> Result<Self, Error> {
        let taken = RUNNING
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| (running < MAX_DUMPS).then_some(running + 1));
        match taken {
            Ok(_) => Ok(Self),
            Err(_) => Err(Error::LimitExceeded(format!("dumps: {MAX_DUMPS} are running; wait for one of them to end"))),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Starts a dump and gives the end of the pipe to read it from.
///
/// # Errors
/// Those of the query's arguments; `LimitExceeded` when too many dumps run. What fails later is the dump's last line.
pub(super) async fn start(
    engine: &Arc<Engine>,
    activity: &Activity,
    peer: String,
    mut query: Options,
) -> Result<OwnedFd, Error> {
    let details = arguments::boolean(&query, "details")?.unwrap_or(false);
    let terms = arguments::strings(&query, "terms")?;
    query.remove("limit");
    let selection = match terms {
        Some(terms) => Selection::Search(SearchQuery { limit: 0, ..arguments::search_query(terms, &query)? }),
        None => Selection::List(arguments::list_query(&query)?),
    };
    let place = Place::take()?;
    let call = activity.begin(&peer)?;
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        .map_err(|error| Error::Internal(format!("cannot make a pipe: {error}")))?;
    // The reader gets an ordinary, blocking end; flags belong to each end's own description.
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::empty())
        .map_err(|error| Error::Internal(format!("cannot set up a pipe: {error}")))?;
    let engine = Arc::clone(engine);
    tokio::spawn(async move {
        let _held = (place, call);
        let writer = Arc::new(std::sync::Mutex::new(Some(writer)));
        let taken = Arc::clone(&writer);
        let outcome = engine
            .ask(move |engine, loaded| {
                let mut slot = taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let Some(pipe) = slot.take() else { return Ok(()) };
                drop(slot);
                let mut lines = BufWriter::with_capacity(64 << 10, Pipe(pipe));
                if let Err(error) = write_lines(&mut lines, engine, loaded, &selection, details) {
                    tracing::debug!("a dump ended early: {error}");
                }
                Ok(())
            })
            .await;
        if let Err(error) = outcome {
            let pipe = writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            if let Some(pipe) = pipe {
                let error = Error::from(error);
                let _ = tokio::task::spawn_blocking(move || write_error(&mut Pipe(pipe), &error)).await;
            }
        }
    });
    Ok(reader.into())
}

fn write_lines(
    lines: &mut impl Write,
    engine: &Engine,
    loaded: &Loaded,
    selection: &Selection,
    details: bool,
) -> io::Result<()> {
    let packages = match engine.select(loaded, selection) {
        Ok(packages) => packages,
        Err(error) => return write_error(lines, &error.into()),
    };
    let count = packages.len();
    for (id, row) in packages {
        if details {
            match details_line(loaded, id) {
                Ok(details) => serde_json::to_writer(&mut *lines, &details)?,
                Err(error) => return write_error(lines, &error.into()),
            }
        } else {
            serde_json::to_writer(&mut *lines, &row)?;
        }
        lines.write_all(b"\n")?;
    }
    writeln!(lines, "{}", serde_json::json!({"end": true, "count": count}))?;
    lines.flush()
}

/// The object that clients make of the dictionary of `GetDetails`, so that both are the same.
fn details_line(loaded: &Loaded, id: u32) -> Result<reply::Details, EngineError> {
    let damaged = |error: String| EngineError::Internal(format!("details do not read as their own type: {error}"));
    let dictionary = dictionaries::details(&Engine::details_of(loaded, id)?, false);
    let fields: Result<HashMap<String, OwnedVariant>, zbus::Error> =
        dictionary.into_iter().map(|(key, value)| Ok((key.to_owned(), value.try_into_owned()?))).collect();
    reply::read(&fields.map_err(|error| damaged(error.to_string()))?).map_err(|error| damaged(error.to_string()))
}

fn write_error(lines: &mut impl Write, error: &Error) -> io::Result<()> {
    let line = serde_json::json!({"error": {"name": name_of(error), "message": text_of(error)}});
    writeln!(lines, "{line}")?;
    lines.flush()
}

/// The writing end: waits for a slow reader, but not for ever.
struct Pipe(rustix::fd::OwnedFd);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(&self.0, bytes) {
                Err(rustix::io::Errno::AGAIN) => {
                    let timeout = STALLED.try_into().ok();
                    let mut waiting = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::OUT)];
                    if poll(&mut waiting, timeout.as_ref())? == 0 {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
