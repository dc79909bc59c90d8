//! A download, from what is there of it to the whole.

use std::io;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use tokio::sync::mpsc;

use super::super::room::free;
use super::ask::{Failed, Validators, is_page, pause};
use super::part::{About, Part, Place, Whole};
use super::{Download, Downloaded, FetchError, Http, Progress, blocking, error, keep};

/// The most bytes of a download whose size nobody knows.
const MOST: u64 = 4 << 30;

/// What stays free on the disk, bytes.
const SLACK: u64 = 16 << 20;

/// Pieces of an answer that wait for the disk.
const WAITING: usize = 64;

/// Bytes that show whether it is a page.
const START: usize = 64;

/// How often is looked whether the one who downloads the same is done.
const TURN: Duration = Duration::from_millis(50);

/// A try that brought so many bytes is not counted.
const PROGRESS: u64 = 1 << 20;

/// How often somebody hears of progress: whichever comes first.
const TOLD_AFTER: Duration = Duration::from_millis(100);
const TOLD_BYTES: u64 = 1 << 20;

pub(super) async fn run(http: &Http, wanted: &Download, progress: &dyn Progress) -> Result<Downloaded, FetchError> {
    let place = Place::of(&http.options.cache, wanted);
    let part = turn(&place, wanted, progress).await?;
    let mut run = Run { http, wanted, progress, place, about: About::default(), whole: None };
    match run.get(part).await {
        Ok(done) => {
            let (folder, made, most) = (run.place.folder, done.path.clone(), http.options.cache_bytes);
            if let Err(error) = blocking(move || keep::bound(&folder, &made, most)).await {
                tracing::warn!("old downloads are not removed: {error}");
            }
            Ok(done)
        }
        Err(error) => Err(error),
    }
}

/// Waits until nobody else downloads the same.
async fn turn(place: &Place, wanted: &Download, progress: &dyn Progress) -> Result<Part, FetchError> {
    let mut is_told = false;
    loop {
        let at = place.clone();
        let taken = blocking(move || Part::take(&at)).await;
        if let Some(part) = taken.map_err(|error| write_error(wanted, place, 0, error))? {
            return Ok(part);
        }
        if !is_told {
            is_told = true;
            progress.note(&format!("{} is being downloaded already", error::escaped(&wanted.name)));
        }
        tokio::time::sleep(TURN).await;
    }
}

fn write_error(wanted: &Download, place: &Place, needed: u64, error: io::Error) -> FetchError {
    let url = error::shown(&wanted.url);
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            FetchError::DiskFull { url, needed, free: free(&place.folder).unwrap_or(0) }
        }
        _ => FetchError::Write { url, error },
    }
}

/// A `Content-Range` of a part of the whole: its first byte, and how many the whole has (RFC 9110, 14.4).
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim();
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (from, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((from.parse().ok()?, total))
}

/// Tells somebody of progress, not too often.
struct Meter<'a> {
    progress: &'a dyn Progress,
    told: (Instant, u64),
}

impl Meter<'_> {
    fn at(&mut self, done: u64, total: Option<u64>) {
        let (then, bytes) = self.told;
        if done.saturating_sub(bytes) >= TOLD_BYTES || then.elapsed() >= TOLD_AFTER {
            self.progress.bytes(done, total);
            self.told = (Instant::now(), done);
        }
    }
}

struct Run<'a> {
    http: &'a Http,
    wanted: &'a Download,
    progress: &'a dyn Progress,
    place: Place,
    about: About,
    /// A download that is here, of which only the server knows whether it is still the right one.
    whole: Option<Whole>,
}

/// How an answer ended.
enum Ended {
    /// The part is whole as far as the server says.
    Whole,
    /// What is here is still right.
    Same,
}

impl Run<'_> {
    fn url(&self) -> String {
        error::shown(&self.wanted.url)
    }

    fn done(&self, whole: Whole) -> Downloaded {
        self.progress.bytes(whole.size, Some(whole.size));
        Downloaded { path: self.place.whole.clone(), file: whole.file, size: whole.size, sha256: whole.sha256 }
    }

    fn write_error(&self, needed: u64, error: io::Error) -> FetchError {
        write_error(self.wanted, &self.place, needed, error)
    }

    async fn get(&mut self, mut part: Part) -> Result<Downloaded, FetchError> {
        let (place, url) = (self.place.clone(), self.wanted.url.clone());
        let (size, sha256) = (self.wanted.size, self.wanted.sha256);
        let has_begun = part.length() > 0;
        (self.about, self.whole) = blocking(move || {
            let about = About::read(&place, &url);
            // Without a known sum the one of its first download shows that the disk kept it well. With a part beside it,
            // what the server told is of that one.
            let kept = about.sha256.as_deref().filter(|_| !has_begun);
            let kept = kept.and_then(|sum| hex::decode(sum).ok()?.try_into().ok());
            let whole = Whole::take(&place, size, sha256.or(kept));
            (about, whole)
        })
        .await;
        if let Some(whole) = self.whole.take() {
            if sha256.is_some() {
                if !has_begun {
                    part.remove(&self.place);
                }
                return Ok(self.done(whole));
            }
            self.whole = Some(whole);
        }
        if self.http.options.offline {
            if !has_begun {
                part.remove(&self.place);
            }
            return Err(FetchError::Offline(self.url()));
        }
        let mut resumed = self.take_up(&mut part).await?;
        loop {
            let (ended, left) = self.tries(part).await;
            part = left;
            match ended {
                Ok(Ended::Same) => {
                    part.remove(&self.place);
                    if let Some(whole) = self.whole.take() {
                        return Ok(self.done(whole));
                    }
                    return Err(FetchError::Status { url: self.url(), status: 304 });
                }
                Ok(Ended::Whole) => {}
                Err(error) => {
                    // The part stays where more of it may come.
                    let is_useless = matches!(error, FetchError::TooLong { .. } | FetchError::Page(_));
                    if is_useless || part.length() == 0 {
                        part.remove(&self.place);
                    }
                    return Err(error);
                }
            }
            let got = part.sha256();
            let Some(expected) = self.wanted.sha256.filter(|expected| *expected != got) else { break };
            if !resumed {
                part.remove(&self.place);
                let (expected, got) = (hex::encode(expected), hex::encode(got));
                return Err(FetchError::WrongChecksum { url: self.url(), expected, got });
            }
            // What was there before may have been damaged, or of another file.
            resumed = false;
            part.clear().map_err(|error| self.write_error(0, error))?;
            self.progress.note("what was there of it is not right: it is downloaded anew");
        }
        let (size, sha256) = (part.length(), part.sha256());
        let (place, mut about) = (self.place.clone(), self.about.clone());
        let file = blocking(move || part.finish(&place, &mut about)).await;
        let file = file.map_err(|error| self.write_error(0, error))?;
        Ok(self.done(Whole { file, size, sha256 }))
    }

    /// Reads what an earlier call left, where it can be gone on with. True: there is some.
    async fn take_up(&self, part: &mut Part) -> Result<bool, FetchError> {
        if part.length() == 0 {
            return Ok(false);
        }
        let is_of_use = self.about.validators.strong().is_some() || self.wanted.sha256.is_some();
        let is_too_long = self.wanted.size.is_some_and(|size| part.length() > size);
        let taken = if is_of_use && !is_too_long { part.read() } else { part.clear() };
        taken.map_err(|error| self.write_error(0, error))?;
        Ok(part.length() > 0)
    }

    /// Asks until the whole is here or more tries do not help.
    async fn tries(&mut self, mut part: Part) -> (Result<Ended, FetchError>, Part) {
        // The most that was here so far: beginning anew is no progress.
        let (mut tried, mut most) = (1, part.length());
        loop {
            let (ended, left) = self.once(part).await;
            part = left;
            let Failed { error, again } = match ended {
                Ok(ended) => return (Ok(ended), part),
                Err(failed) => failed,
            };
            if part.length() >= most.saturating_add(PROGRESS) {
                (tried, most) = (1, part.length());
            } else if tried >= self.http.patience.tries {
                return (Err(error), part);
            } else {
                tried += 1;
            }
            let Some(after) = again else { return (Err(error), part) };
            let wait = pause(&self.http.patience, tried.saturating_sub(1), after);
            self.progress.note(&format!("trying again in {:.1} s: {error}", wait.as_secs_f64()));
            tokio::time::sleep(wait).await;
        }
    }

    async fn once(&mut self, mut part: Part) -> (Result<Ended, Failed>, Part) {
        // An earlier run may have ended just before it was renamed.
        if self.wanted.sha256.is_some() && self.wanted.size == Some(part.length()) {
            return (Ok(Ended::Whole), part);
        }
        match self.answer(&mut part).await {
            Ok(None) => (Ok(Ended::Same), part),
            Ok(Some((response, total))) => self.body(response, total, part).await,
            Err(failed) => (Err(failed), part),
        }
    }

    /// Asks, and makes the part ready for what comes: a response, and the length of the whole where somebody knows it.
    async fn answer(&mut self, part: &mut Part) -> Result<Option<(Response, Option<u64>)>, Failed> {
        if let Some(size) = self.wanted.size {
            self.check_room(size.saturating_sub(part.length()))?;
        }
        let clear = |part: &mut Part| part.clear().map_err(|error| self.write_error(0, error));
        if self.about.validators.strong().is_none() && self.wanted.sha256.is_none() {
            clear(part)?;
        }
        let mut request = self.http.request(&self.wanted.url)?;
        if part.length() > 0 {
            request = request.header(RANGE, format!("bytes={}-", part.length()));
            // Without one, the sum tells afterwards.
            if let Some(validator) = self.about.validators.strong() {
                request = request.header(IF_RANGE, validator);
            }
        } else if self.whole.is_some() {
            request = self.about.validators.unless_same(request);
        }
        let response = request.send().await.map_err(|error| Failed::of_client(&self.wanted.url, error))?;
        let length = response.content_length();
        let total = match response.status() {
            StatusCode::OK => {
                clear(part)?;
                self.check_page(response.headers())?;
                length
            }
            StatusCode::PARTIAL_CONTENT if part.length() > 0 => {
                let Some((from, total)) = content_range(response.headers()).filter(|(from, _)| *from == part.length())
                else {
                    clear(part)?;
                    let reason = "the server sends another part than it was asked for".to_owned();
                    return Err(Failed::for_now(FetchError::Unreachable { url: self.url(), reason }));
                };
                total.or_else(|| length.map(|length| length.saturating_add(from)))
            }
            StatusCode::NOT_MODIFIED if self.whole.is_some() && part.length() == 0 => return Ok(None),
            StatusCode::RANGE_NOT_SATISFIABLE if part.length() > 0 => {
                clear(part)?;
                return Err(Failed::for_now(FetchError::Status { url: self.url(), status: 416 }));
            }
            _ => return Err(Failed::of_status(&self.wanted.url, &response)),
        };
        let most = self.wanted.size.unwrap_or(MOST);
        if total.is_some_and(|total| total > most) {
            return Err(FetchError::TooLong { url: self.url(), most }.into());
        }
        if let (Some(expected), Some(got)) = (self.wanted.size, total)
            && got < expected
        {
            return Err(FetchError::TooShort { url: self.url(), expected, got }.into());
        }
        if part.length() == 0 {
            self.about.validators = Validators::of(response.headers());
            self.about.sha256 = None;
            self.about.url.clone_from(&self.wanted.url);
            self.about.write(&self.place).map_err(|error| self.write_error(0, error))?;
        }
        let total = self.wanted.size.or(total);
        if let Some(total) = total {
            self.check_room(total.saturating_sub(part.length()))?;
        }
        Ok(Some((response, total)))
    }

    fn check_room(&self, needed: u64) -> Result<(), FetchError> {
        let free = free(&self.place.folder).map_err(|error| self.write_error(needed, error))?;
        let needed = needed.saturating_add(SLACK);
        if needed > free { Err(FetchError::DiskFull { url: self.url(), needed, free }) } else { Ok(()) }
    }

    fn check_page(&self, headers: &HeaderMap) -> Result<(), FetchError> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_page = kind.trim_start().to_ascii_lowercase().starts_with("text/html");
        if is_page { Err(FetchError::Page(self.url())) } else { Ok(()) }
    }

    /// Writes a body to the part, in a thread of its own: summing, writing and receiving take place at once.
    async fn body(&self, mut response: Response, total: Option<u64>, part: Part) -> (Result<Ended, Failed>, Part) {
        let most = total.unwrap_or(MOST);
        let mut length = part.length();
        let mut start = if length == 0 { Some(Vec::new()) } else { None };
        self.progress.bytes(length, total);
        let mut meter = Meter { progress: self.progress, told: (Instant::now(), length) };
        let mut has_broken_off = false;
        let (pieces, from) = mpsc::channel(WAITING);
        let writing = tokio::task::spawn_blocking(move || part.add_all(from));
        let ended: Result<(), Failed> = loop {
            let piece = match response.chunk().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break Ok(()),
                Err(error) => {
                    has_broken_off = !error.is_timeout();
                    break Err(Failed::of_client(&self.wanted.url, error));
                }
            };
            length = length.saturating_add(piece.len() as u64);
            if length > most {
                break Err(FetchError::TooLong { url: self.url(), most }.into());
            }
            if let Some(bytes) = &mut start {
                bytes.extend(piece.iter().take(START));
                if is_page(bytes) {
                    break Err(FetchError::Page(self.url()).into());
                }
                if bytes.len() >= START {
                    start = None;
                }
            }
            // It fails when writing did, which is told below.
            if pieces.send(piece).await.is_err() {
                break Ok(());
            }
            meter.at(length, total);
        };
        drop(pieces);
        let (part, written) = match writing.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        };
        if let Err(error) = written {
            let needed = total.unwrap_or(length).saturating_sub(part.length());
            return (Err(self.write_error(needed, error).into()), part);
        }
        let got = part.length();
        let short = |expected| FetchError::TooShort { url: self.url(), expected, got };
        match (ended, total) {
            (Err(_), Some(expected)) if has_broken_off => (Err(Failed::for_now(short(expected))), part),
            (Ok(()), Some(expected)) if got < expected => (Err(Failed::for_now(short(expected))), part),
            (Ok(()), _) => (Ok(Ended::Whole), part),
            (Err(failed), _) => (Err(failed), part),
        }
    }
}
