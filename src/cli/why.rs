//! `omg why`

use serde::Serialize;

use super::Failure;
use super::args::Why;
use super::output::{DIM, NAME, Output};
use super::rows::display_name;
use crate::dbus::client::{Besides, Client, ClientError};
use crate::package::{Flags, Relation};

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    name: &'a str,
    explicit: bool,
    installed: bool,
    chain: &'a [Relation],
}

pub async fn run(client: &mut Client, why: Why, out: &mut Output) -> Result<(), Failure> {
    let mut answers = client.details(&[why.name], Besides { why: true, ..Besides::default() }).await?;
    let details = answers.pop().unwrap_or_else(|| Err(ClientError::Protocol("no answer".into())))?;
    let chain = details.why.unwrap_or_default();
    if out.is_json() {
        out.json(&Answer {
            name: &details.name,
            explicit: details.flags.contains(Flags::EXPLICIT),
            installed: details.flags.contains(Flags::INSTALLED),
            chain: &chain,
        });
        return Ok(());
    }
    let arch = details.architecture.as_deref().unwrap_or_default();
    let name = display_name(&details.name, arch, details.flags);
    if !chain.is_empty() {
        return print_chain(&chain, out);
    }
    if out.quiet() {
        return Ok(());
    }
    out.styled(NAME, &name);
    out.line(if !details.flags.contains(Flags::INSTALLED) {
        " is not installed"
    } else if details.flags.contains(Flags::EXPLICIT) {
        " is explicitly installed"
    } else if details.flags.contains(Flags::ESSENTIAL) {
        " is essential: the system may not work without it"
    } else {
        " was installed as a dependency; no explicitly installed package needs it now"
    });
    Ok(())
}

fn print_chain(chain: &[Relation], out: &mut Output) -> Result<(), Failure> {
    for (depth, step) in chain.iter().enumerate() {
        if out.quiet() {
            out.line(&step.from);
            continue;
        }
        out.blanks(2 * depth);
        out.styled(NAME, &step.from);
        if depth == 0 {
            out.styled(DIM, " (explicitly installed)");
        }
        out.text(" ");
        out.text(relation_words(&step.kind));
        out.text(" ");
        out.styled(NAME, &step.to);
        out.newline();
    }
    Ok(())
}

fn relation_words(kind: &str) -> &str {
    match kind {
        "Depends" => "depends on",
        "PreDepends" | "Pre-Depends" => "pre-depends on",
        "Recommends" => "recommends",
        "Suggests" => "suggests",
        other => other,
    }
}
