//! `QueryFd`: whole listings as lines through a pipe.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use zbus::{OwnedFd, OwnedVariant};

use super::activity::Activity;
use super::arguments::{self, Options};
use super::error::Error;
use super::manager::{name_of, text_of};
use super::{columns, dictionaries, reply};
use crate::engine::{Engine, EngineError, Loaded, PackageId};
use crate::package::{ListQuery, PackageRow, RowRef, SearchQuery, Selection};

/// Dumps that may run at once, over all peers: each holds a thread while its reader reads.
const MAX_DUMPS: usize = 8;

/// A reader that takes nothing for so long has lost interest.
const STALLED: Duration = Duration::from_secs(30);

/// The most rows of a listing in columns that is kept, and told again without a place.
const SHORT: usize = 1000;

/// What a pipe holds (pipe(7)), and the most that it may hold without further rights unless the machine's owner says otherwise
/// (`/proc/sys/fs/pipe-max-size`).
const DEFAULT_PIPE_BYTES: usize = 64 << 10;
const PIPE_BYTES: usize = 1 << 20;

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

/// What a line has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A row, as a JSON object.
    Row,
    /// Everything known about the package, as a JSON object.
    Details,
    /// A row, as [`columns`].
    Columns,
}

fn form(query: &Options) -> Result<Form, Error> {
    let wanted = |option| Ok::<_, Error>(arguments::boolean(query, option)?.unwrap_or(false));
    match (wanted("details")?, wanted("columns")?) {
        (false, false) => Ok(Form::Row),
        (true, false) => Ok(Form::Details),
        (false, true) => Ok(Form::Columns),
        (true, true) => Err(Error::InvalidArgument("columns: details have none; ask for one of the two".into())),
    }
}

/// Starts a dump and gives the end of the pipe to read it from.
///
/// # Errors
/// Those of the query's arguments; `LimitExceeded` when too many dumps run; `Internal` when there is no pipe. What fails later
/// is the dump's last line; a damaged snapshot is replaced instead, as long as nothing told from it has gone through the pipe.
pub(super) async fn start(
    engine: &Arc<Engine>,
    activity: &Activity,
    peer: String,
    mut query: Options,
) -> Result<OwnedFd, Error> {
    let form = form(&query)?;
    let terms = arguments::strings(&query, "terms")?;
    query.remove("limit");
    let selection = match terms {
        Some(terms) => Selection::Search(SearchQuery { limit: 0, ..arguments::search_query(terms, &query)? }),
        None => Selection::List(ListQuery { limit: 0, ..arguments::list_query(&query)? }),
    };
    let call = activity.begin(&peer)?;
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        .map_err(|error| Error::Internal(format!("cannot make a pipe: {error}")))?;
    // The reader gets an ordinary, blocking end; flags belong to each end's own description.
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::empty())
        .map_err(|error| Error::Internal(format!("cannot set up a pipe: {error}")))?;
    if let (Form::Columns, Selection::List(list)) = (form, &selection)
        && let Some(rows) = engine.remembered_listing(list).filter(|rows| rows.len() <= SHORT)
        && fits(&rows, &writer)?
    {
        return Ok(reader.into());
    }
    let place = Place::take()?;
    if form == Form::Columns {
        // What fits as a whole is written without waiting for the reader. JSON is read so much slower than it is written
        // that this changes nothing for it.
        let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES);
    }
    let engine = Arc::clone(engine);
    tokio::spawn(async move {
        let _held = (place, call);
        let found: Arc<[PackageRow]> = match &selection {
            Selection::Search(query) if form != Form::Details => engine.found_in_aur(query).await,
            _ => Arc::default(),
        };
        let held = Arc::new(Mutex::new(Held::Unused(Pipe { end: writer, used: false })));
        let shared = Arc::clone(&held);
        let outcome = engine
            .ask(move |engine, loaded| {
                let Some(pipe) = take_unused(&shared) else { return Ok(()) };
                let mut lines = BufWriter::with_capacity(32 << 10, pipe);
                let ended = write_lines(&mut lines, engine, loaded, &selection, form, &found);
                // What is in the buffer belongs to what was told, or is to be told again from another snapshot.
                let flushed = if matches!(ended, Err(Ending::Engine(_))) && lines.get_ref().used {
                    lines.flush()
                } else {
                    Ok(())
                };
                let (pipe, _) = lines.into_parts();
                let (left, outcome) = match (ended, flushed) {
                    (Err(Ending::Engine(error)), Ok(())) if pipe.used => (Held::Cut(pipe, error.clone()), Err(error)),
                    (Err(Ending::Engine(error)), Ok(())) => (Held::Unused(pipe), Err(error)),
                    (Err(Ending::Engine(error)), Err(_)) => (Held::Gone, Err(error)),
                    (Err(Ending::Reader(error)), _) => {
                        tracing::debug!("a dump ended early: {error}");
                        (Held::Gone, Ok(()))
                    }
                    (Ok(()), _) => (Held::Gone, Ok(())),
                };
                *lock(&shared) = left;
                outcome
            })
            .await;
        // Told once the index is built anew: whoever asks again then is not answered from the snapshot that failed.
        let failed = match (std::mem::replace(&mut *lock(&held), Held::Gone), outcome) {
            (Held::Cut(pipe, error), _) | (Held::Unused(pipe), Err(error)) => Some((pipe, Error::from(error))),
            (Held::Unused(_) | Held::Gone, _) => None,
        };
        if let Some((mut pipe, error)) = failed {
            let _ = tokio::task::spawn_blocking(move || write_error(&mut pipe, &error)).await;
        }
    });
    Ok(reader.into())
}

/// Writes a listing into an empty pipe if it takes the whole of it: then nobody has to wait for the reader.
fn fits(rows: &[PackageRow], writer: &rustix::fd::OwnedFd) -> Result<bool, Error> {
    let mut lines = Vec::with_capacity(rows.len() * 128);
    rows.iter().for_each(|row| columns::write(&RowRef::from(row), &mut lines));
    last_line(rows.len(), &mut lines);
    if lines.len() > DEFAULT_PIPE_BYTES {
        let _ = rustix::pipe::fcntl_setpipe_size(writer, lines.len());
    }
    if !rustix::pipe::fcntl_getpipe_size(writer).is_ok_and(|size| size >= lines.len()) {
        return Ok(false);
    }
    match rustix::io::write(writer, &lines) {
        Ok(written) if written == lines.len() => Ok(true),
        Ok(_) | Err(rustix::io::Errno::AGAIN) => Err(Error::Internal("an empty pipe is full".to_owned())),
        Err(error) => Err(Error::Internal(format!("cannot write to a pipe: {error}"))),
    }
}

/// Where the pipe is between the attempts to fill it.
enum Held {
    /// Nothing has gone through it: it can be filled from the start.
    Unused(Pipe),
    /// What has gone through it cannot be continued.
    Cut(Pipe, EngineError),
    /// Somebody writes to it, or has finished.
    Gone,
}

fn take_unused(held: &Mutex<Held>) -> Option<Pipe> {
    let mut held = lock(held);
    match std::mem::replace(&mut *held, Held::Gone) {
        Held::Unused(pipe) => Some(pipe),
        other => {
            *held = other;
            None
        }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why lines end before the last one.
enum Ending {
    /// The reader has gone, or takes nothing.
    Reader(io::Error),
    /// There is no more to tell. A damaged snapshot is one that the engine replaces.
    Engine(EngineError),
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Reader(error)
    }
}

impl From<EngineError> for Ending {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

fn write_lines(
    lines: &mut impl Write,
    engine: &Engine,
    loaded: &Loaded,
    selection: &Selection,
    form: Form,
    found: &[PackageRow],
) -> Result<(), Ending> {
    let mut packages = engine.select(loaded, selection)?;
    let others = Engine::others(loaded, selection, found);
    let count = packages.ids().len() + others.len();
    let mut line = Vec::with_capacity(1 << 10);
    if form == Form::Columns && matches!(selection, Selection::List(_)) && count <= SHORT {
        for row in engine.keep_rows(loaded, selection, packages, count).iter() {
            columns::write(&RowRef::from(row), &mut line);
        }
        last_line(count, &mut line);
        lines.write_all(&line)?;
        return Ok(lines.flush()?);
    }
    for position in 0..packages.ids().len() {
        match (form, packages.ids().get(position)) {
            (Form::Details, Some(id)) => json(&details_line(loaded, *id)?, &mut line)?,
            _ => row_line(&packages.row(position), form, &mut line)?,
        }
        lines.write_all(&line)?;
    }
    for row in &others {
        row_line(&RowRef::from(row), form, &mut line)?;
        lines.write_all(&line)?;
    }
    line.clear();
    last_line(count, &mut line);
    lines.write_all(&line)?;
    Ok(lines.flush()?)
}

fn last_line(count: usize, lines: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = writeln!(lines, "{}", serde_json::json!({"end": true, "count": count}));
}

/// Makes `line` the one of this row.
fn row_line(row: &RowRef<'_>, form: Form, line: &mut Vec<u8>) -> io::Result<()> {
    if form == Form::Columns {
        line.clear();
        columns::write(row, line);
        return Ok(());
    }
    json(&PackageRow::from(row.clone()), line)
}

fn json(object: &impl serde::Serialize, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    serde_json::to_writer(&mut *line, object)?;
    line.push(b'\n');
    Ok(())
}

/// The object that clients make of the dictionary of `GetDetails`, so that both are the same.
fn details_line(loaded: &Loaded, id: PackageId) -> Result<reply::Details, EngineError> {
    let damaged = |error: String| EngineError::Internal(format!("details do not read as their own type: {error}"));
    let dictionary = dictionaries::details(&Engine::details_of(loaded, id)?, &dictionaries::Told::default());
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
struct Pipe {
    end: rustix::fd::OwnedFd,
    /// Whether anything has gone through it.
    used: bool,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(&self.end, bytes) {
                Err(rustix::io::Errno::AGAIN) => {
                    let timeout = STALLED.try_into().ok();
                    let mut waiting = [PollFd::from_borrowed_fd(self.end.as_fd(), PollFlags::OUT)];
                    if poll(&mut waiting, timeout.as_ref())? == 0 {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                written => {
                    let written = written?;
                    self.used |= written > 0;
                    return Ok(written);
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
