//! Lists of packages.

use std::borrow::Cow;

use anstyle::Style;

use super::output::{BAD, Cell, DIM, GOOD, NAME, Output, Table, WARN};
use crate::config::Paths;
use crate::dbus::client::{Client, ClientError};
use crate::package::{Flags, PackageRow};

/// Prints rows until there are no more, or `limit` (0: none) or the reader is reached. Returns how many were printed
/// and whether more were left.
pub fn print(
    rows: impl Iterator<Item = Result<PackageRow, ClientError>>,
    limit: u32,
    out: &mut Output,
) -> Result<(usize, bool), ClientError> {
    let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    let table = out.is_terminal() && !out.quiet() && !out.is_json();
    let mut shown = Vec::new();
    let mut count = 0;
    for row in rows {
        let row = row?;
        if count == limit {
            print_table(&shown, out);
            return Ok((count, true));
        }
        count += 1;
        if table {
            shown.push(row);
            continue;
        }
        print_line(&row, out);
        if out.is_closed() {
            break;
        }
    }
    print_table(&shown, out);
    Ok((count, false))
}

/// Says that a list was cut.
pub fn note_cut(count: usize, out: &mut Output) {
    if !out.quiet() {
        let shown = if count == 1 { "only the first is".to_owned() } else { format!("only the first {count} are") };
        out.note(DIM, &format!("{shown} shown; --limit 0 shows all"));
    }
}

/// Says what is wrong with what is known of the AUR's packages.
pub async fn note_aur(client: &mut Client, out: &mut Output) {
    // Where nothing of the AUR's was ever kept it is not asked, and one more call is a good part of a search's time.
    if !Paths::from_process().cache_dir.join("aur").is_dir() {
        return;
    }
    // The answer is read while this is asked.
    out.flush();
    if let Some(problem) = client.aur_problem().await
        && !out.quiet()
    {
        out.note(WARN, &problem);
    }
}

fn print_line(row: &PackageRow, out: &mut Output) {
    let name = display_name(&row.name, &row.arch, row.flags);
    if out.is_json() {
        out.json(row);
    } else if out.quiet() {
        out.line(&name);
    } else {
        let plain = Style::new();
        let columns = [(NAME, &*name), (plain, &*row.version), (DIM, &*row.repository), (plain, &*row.summary)];
        out.styled_columns(columns);
    }
}

fn print_table(rows: &[PackageRow], out: &mut Output) {
    let mut table = Table::new(["NAME", "VERSION", "REPOSITORY", "STATE", "SUMMARY"]);
    let names: Vec<_> = rows.iter().map(|row| display_name(&row.name, &row.arch, row.flags)).collect();
    for (row, name) in rows.iter().zip(&names) {
        let (state, style) = state(row.flags);
        table.push([
            Cell::new(name).styled(NAME),
            Cell::new(&row.version),
            Cell::new(&row.repository).styled(DIM),
            Cell::new(state).styled(style),
            Cell::new(&row.summary),
        ]);
    }
    table.print(out);
}

/// The name as `omg info` takes it: with its architecture where that is not the machine's own.
pub fn display_name<'a>(name: &'a str, arch: &str, flags: Flags) -> Cow<'a, str> {
    if flags.contains(Flags::FOREIGN_ARCH) { Cow::Owned(format!("{name}:{arch}")) } else { Cow::Borrowed(name) }
}

/// The most important thing about a package in one word.
pub fn state(flags: Flags) -> (&'static str, Style) {
    const STATES: [(Flags, &str, Style); 9] = [
        (Flags::BROKEN, "broken", BAD),
        (Flags::UPGRADABLE.union(Flags::SECURITY), "security", BAD),
        (Flags::UPGRADABLE, "upgradable", WARN),
        (Flags::HELD, "held", WARN),
        (Flags::ORPHAN, "orphan", WARN),
        (Flags::FOREIGN, "foreign", WARN),
        (Flags::EXPLICIT, "explicit", GOOD),
        (Flags::INSTALLED, "installed", GOOD),
        (Flags::RESIDUAL, "residual", DIM),
    ];
    let state = STATES.iter().find(|(state, ..)| flags.contains(*state));
    state.map_or(("", Style::new()), |(_, word, style)| (*word, *style))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_important_state_is_shown() {
        let installed = Flags::INSTALLED | Flags::EXPLICIT;
        assert_eq!(state(installed).0, "explicit");
        assert_eq!(state(installed | Flags::UPGRADABLE).0, "upgradable");
        assert_eq!(state(installed | Flags::UPGRADABLE | Flags::SECURITY).0, "security");
        assert_eq!(state(installed | Flags::SECURITY | Flags::BROKEN).0, "broken");
        assert_eq!(state(Flags::ESSENTIAL).0, "");
    }
}
