//! `omg outdated`

use anstyle::Style;

use super::args::Outdated;
use super::output::{BAD, Cell, DIM, GOOD, NAME, Output, Table, format};
use super::{Failure, rows};
use crate::dbus::client::Client;
use crate::package::{Flags, UpdateRow, UpdatesState};

pub async fn run(client: &mut Client, outdated: &Outdated, out: &mut Output) -> Result<(), Failure> {
    let state = if outdated.planned { UpdatesState::Planned } else { UpdatesState::Possible };
    let mut updates = client.updates(state, outdated.devel).await?;
    let limit = usize::try_from(outdated.limit.limit).unwrap_or(usize::MAX);
    let cut = limit != 0 && updates.len() > limit;
    if cut {
        updates.truncate(limit);
    }
    if out.is_terminal() && !out.quiet() && !out.is_json() {
        print_table(&updates, out);
    } else {
        for update in &updates {
            print_line(update, out);
        }
    }
    if cut {
        rows::note_cut(updates.len(), out);
    }
    rows::note_aur(client, out).await;
    Ok(())
}

fn print_line(update: &UpdateRow, out: &mut Output) {
    let name = rows::display_name(&update.name, &update.arch, update.flags);
    if out.is_json() {
        out.json(update);
    } else if out.quiet() {
        out.line(&name);
    } else {
        let size = update.size.to_string();
        let (security, style) = match update.flags {
            flags if flags.contains(Flags::SECURITY) => ("security", BAD),
            flags if flags.contains(Flags::AFTER_REFRESH) => ("after-refresh", DIM),
            _ => ("-", DIM),
        };
        let (plain, repository) = (Style::new(), update.repository.as_str());
        let versions = [(DIM, update.from.as_str()), (plain, update.to.as_str())];
        let rest = [(DIM, repository), (plain, size.as_str()), (style, security)];
        out.styled_columns([(NAME, &*name)].into_iter().chain(versions).chain(rest));
    }
}

fn print_table(updates: &[UpdateRow], out: &mut Output) {
    if updates.is_empty() {
        out.styled(GOOD, "everything is up to date");
        out.newline();
        return;
    }
    // The mark is there where there is no room for the words at the end.
    let mut table = Table::new(["NAME", "", "FROM", "TO", "REPOSITORY", "SIZE", ""]).keeping(&[1, 2, 3]);
    let mut size = 0u64;
    for update in updates {
        let name = rows::display_name(&update.name, &update.arch, update.flags);
        let remarks = [
            (Flags::SECURITY, "security"),
            (Flags::HELD, "held"),
            (Flags::PHASED, "phased"),
            (Flags::AFTER_REFRESH, "after a refresh"),
        ];
        let remark = remarks.into_iter().find(|(flag, _)| update.flags.contains(*flag));
        let (remark, style) = match remark {
            Some((Flags::SECURITY, word)) => (word, BAD),
            Some((_, word)) => (word, DIM),
            None => ("", DIM),
        };
        size = size.saturating_add(update.size);
        table.push([
            Cell::from(name.into_owned()).styled(NAME),
            Cell::new(if update.flags.contains(Flags::SECURITY) { "!" } else { "" }).styled(BAD),
            Cell::new(&update.from).styled(DIM),
            Cell::from(format!("→ {}", update.to)),
            Cell::new(&update.repository).styled(DIM),
            Cell::from(if update.size == 0 { String::new() } else { format::bytes(update.size) }),
            Cell::new(remark).styled(style),
        ]);
    }
    table.print(out);
    let security = updates.iter().filter(|update| update.flags.contains(Flags::SECURITY)).count();
    let mut total =
        format!("{}, {} to download", format::counted(updates.len() as u64, "upgrade"), format::bytes(size));
    if security > 0 {
        total.push_str(&format!(", {security} with security fixes (!)"));
    }
    out.styled(DIM, &total);
    out.newline();
    let later = updates.iter().filter(|update| update.flags.contains(Flags::AFTER_REFRESH)).count();
    if later > 0 {
        let of_them = format!("{later} of them after a refresh of the package system's own lists (`omg refresh`)");
        out.styled(DIM, &of_them);
        out.newline();
    }
}
