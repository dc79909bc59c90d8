//! `omg download`: package files into a folder.

use std::path::Path;

use super::super::Failure;
use super::super::output::format::bytes;
use super::super::output::{Cell, DIM, NAME, Output, Table};
use super::ask::Interrupts;
use super::progress::Progress;
use super::runner::Job;
use super::show::name;
use super::{args, report, targets, watch, with_near_names};
use crate::dbus::client::{ConnectOptions, ErrorKind};
use crate::transaction::{Archive, Download, Event, Outcome, Verb};

/// Says what is fetched, fetches it and says what came of it. Neither the daemon nor anybody with rights takes part.
pub async fn run(download: args::Download, connect: &ConnectOptions, out: &mut Output) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    // They are read as those of an installation.
    let actions = targets::actions(Verb::Install, &download.targets)?;
    let folder = std::path::absolute(&download.to);
    let folder = folder.map_err(|error| Failure::Of(ErrorKind::Invalid, format!("--to: {error}")))?;
    if folder.to_str().is_none() {
        let text = format!("--to: {} is not UTF-8; name another folder", folder.display());
        return Err(Failure::Of(ErrorKind::Invalid, text));
    }
    let request = Download {
        targets: actions.iter().map(|action| action.target().to_owned()).collect(),
        folder: folder.clone(),
        allow_untrusted: download.allow_untrusted,
        dry_run: download.dry_run,
    };
    let mut job = Job::download(request)?;
    let mut progress = Progress::new(false, true);
    let archives = loop {
        match interrupts.unless(job.next(out)).await?? {
            Event::Finished(outcome) => {
                let outcome = with_near_names(outcome, &actions, connect).await;
                return report::downloaded(&outcome, &[], &folder, out);
            }
            event => {
                progress.hear(&event, out);
                if let Event::Archives { archives } = event {
                    break archives;
                }
            }
        }
    };
    progress.pause(out);
    if download.dry_run && !out.is_json() {
        print(&archives, out);
    }
    let outcome = watch::to_the_end(&mut job, true, &mut interrupts, out).await?;
    if download.dry_run && matches!(outcome, Outcome::Succeeded(_)) {
        if out.is_json() {
            report::bare("planned", out);
        }
        return Ok(());
    }
    report::downloaded(&outcome, &archives, &folder, out)
}

fn print(archives: &[Archive], out: &mut Output) {
    if out.quiet() {
        for archive in archives {
            out.line(&archive.file);
        }
    } else if out.is_terminal() {
        let mut table = Table::new([""; 5]);
        for archive in archives {
            let note = match (archive.present, archive.trusted) {
                (true, _) => "is there already",
                (false, false) => "no trusted repository vouches for it",
                (false, true) => "",
            };
            table.push([
                Cell::from(name(&archive.name, &archive.arch)).styled(NAME),
                Cell::new(&archive.version),
                Cell::new(&archive.repository).styled(DIM),
                Cell::from(bytes(archive.size)),
                Cell::new(note),
            ]);
        }
        table.print(out);
    } else {
        for archive in archives {
            let (name, size) = (name(&archive.name, &archive.arch), archive.size.to_string());
            out.columns(&[&name, &archive.version, &archive.repository, &size, &archive.file]);
        }
    }
}

/// What is in the folder now.
pub fn summary(archives: &[Archive], folder: &Path) -> String {
    match archives {
        [archive] => format!("{} is in {}", archive.file, folder.display()),
        archives => format!("{} package files are in {}", archives.len(), folder.display()),
    }
}
