//! `omg info`

use anstyle::Style;

use super::args::Info;
use super::output::format::{ago, bytes};
use super::output::{BAD, DIM, GOOD, NAME, Output, WARN};
use super::rows::state;
use super::{Failure, failure, rows};
use crate::dbus::client::{Besides, Client};
use crate::dbus::reply::{Details, Version};

/// Prints what is found in the order asked for; what is not found is said on standard error and makes the exit code.
pub async fn run(client: &mut Client, info: &Info, out: &mut Output) -> Result<(), Failure> {
    let everything = info.all || out.is_json();
    let besides = Besides { versions: everything, fields: everything, ..Besides::default() };
    let answers = client.details(&info.names, besides).await?;
    let mut printed = false;
    let mut code = 0;
    for (name, answer) in info.names.iter().zip(answers) {
        match answer {
            Ok(details) if out.is_json() => out.json(&details),
            Ok(details) if out.quiet() => out.line(&details.name),
            Ok(details) => {
                if printed {
                    out.newline();
                }
                printed = true;
                print(&details, info.all, out);
            }
            Err(error) => {
                let text = error.to_string();
                let text = if text.contains(name.as_str()) { text } else { format!("{name}: {text}") };
                if out.is_json() {
                    failure::print_json(&error.name(), &text, out);
                }
                out.note(BAD, &text);
                code = code.max(error.exit_code());
            }
        }
    }
    rows::note_aur(client, out).await;
    if code == 0 { Ok(()) } else { Err(Failure::Reported(code)) }
}

fn print(details: &Details, all: bool, out: &mut Output) {
    let plain = Style::new();
    pair("Name", Some(&details.name), NAME, out);
    pair("Version", details.version.as_deref(), plain, out);
    let installed = details.installed.as_deref().map(|version| match state(details.flags).0 {
        word @ ("" | "installed") => (version.to_owned(), word),
        word => (format!("{version} ({word})"), word),
    });
    match installed {
        Some((text, "broken" | "security")) => pair("Installed", Some(&text), BAD, out),
        Some((text, _)) => pair("Installed", Some(&text), GOOD, out),
        None => pair("Installed", Some("no"), DIM, out),
    }
    if details.candidate != details.version {
        pair("Candidate", details.candidate.as_deref(), plain, out);
    }
    if let Some(pin) = &details.pin {
        pair("Pinned", Some(&format!("{} (priority {})", pin.version, pin.priority)), plain, out);
    }
    pair("Architecture", details.architecture.as_deref(), plain, out);
    pair("Repository", details.repository.as_deref(), plain, out);
    pair("Section", details.section.as_deref(), plain, out);
    pair("Priority", details.priority.as_deref(), plain, out);
    pair("Source", details.source.as_deref(), plain, out);
    pair("Maintainer", details.maintainer.as_deref(), plain, out);
    pair("Homepage", details.homepage.as_deref(), plain, out);
    // What the AUR's packages have, and no others.
    for field in ["Votes", "Popularity"] {
        pair(field, details.fields.get(field).map(String::as_str), plain, out);
    }
    let time = |field: &str| details.fields.get(field)?.parse().ok().map(ago);
    pair("Out of date", time("Out Of Date").as_deref(), WARN, out);
    pair("Last modified", time("Last Modified").as_deref(), plain, out);
    pair("Download", details.download_size.map(bytes).as_deref(), plain, out);
    pair("Installed size", details.installed_size.map(bytes).as_deref(), plain, out);
    for (key, relations) in [
        ("Pre-depends", &details.pre_depends),
        ("Depends", &details.depends),
        ("Recommends", &details.recommends),
        ("Suggests", &details.suggests),
        ("Enhances", &details.enhances),
        ("Conflicts", &details.conflicts),
        ("Breaks", &details.breaks),
        ("Replaces", &details.replaces),
        ("Provides", &details.provides),
    ] {
        if !relations.is_empty() {
            pair(key, Some(&relations.join(", ")), plain, out);
        }
    }
    pair("Summary", details.summary.as_deref(), plain, out);
    indented(details.description.as_deref().unwrap_or_default(), out);
    if all {
        print_fields(details, out);
        print_versions(&details.versions, out);
    }
}

fn pair(key: &str, value: Option<&str>, style: Style, out: &mut Output) {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return };
    out.styled(DIM, key);
    out.styled(DIM, ":");
    // Values line up on a terminal; other programs get a single blank.
    let aligned = if out.is_terminal() { 16usize.saturating_sub(key.len() + 1) } else { 1 };
    out.blanks(aligned.max(1));
    out.styled(style, value);
    out.newline();
}

/// The lines of a text, each behind two blanks.
fn indented(text: &str, out: &mut Output) {
    for line in text.lines() {
        if !line.is_empty() {
            out.blanks(2);
            out.text(line);
        }
        out.newline();
    }
}

/// The record as the package system has it.
fn print_fields(details: &Details, out: &mut Output) {
    if details.fields.is_empty() {
        return;
    }
    out.newline();
    out.styled(NAME, "Record");
    out.newline();
    for (name, value) in &details.fields {
        out.blanks(2);
        out.styled(DIM, name);
        out.styled(DIM, ":");
        for (position, line) in value.lines().enumerate() {
            if position > 0 {
                out.newline();
                out.blanks(4);
            } else {
                out.blanks(1);
            }
            out.text(line.trim_start());
        }
        out.newline();
    }
}

/// The table of `apt-cache policy`: `***` marks the installed version, `>` the candidate where that is another one.
fn print_versions(versions: &[Version], out: &mut Output) {
    if versions.is_empty() {
        return;
    }
    out.newline();
    out.styled(NAME, "Versions");
    out.newline();
    for version in versions {
        let (mark, style) = match (version.installed, version.candidate) {
            (true, _) => ("*** ", GOOD),
            (false, true) => ("  > ", NAME),
            (false, false) => ("    ", Style::new()),
        };
        out.text(mark);
        out.styled(style, &version.version);
        out.styled(DIM, &format!(" {} priority {}", version.architecture, version.priority));
        out.newline();
        for source in &version.sources {
            out.styled(DIM, &format!("    {:>5} ", source.priority));
            out.text(&source.description);
            out.newline();
        }
    }
}
