//! Lists of packages.

use std::borrow::Cow;

use anstyle::Style;

use super::output::{BAD, Cell, DIM, GOOD, NAME, Output, Table, WARN};
use crate::config::Paths;
use crate::dbus::client::{Client, ClientError, RowStream};
use crate::package::{Flags, PackageRow};

/// Up to so many rows come as one message; more come as a stream, which has no limit.
const MESSAGE_ROWS: u32 = 500;

/// The limit of a message that has enough rows: one more than wanted tells whether there are more. None where a stream has to
/// bring them.
pub fn message_limit(limit: u32) -> Option<u32> {
    (1..MESSAGE_ROWS).contains(&limit).then_some(limit + 1)
}

/// Prints rows up to `limit` (0: none). Returns how many were printed and whether more were left.
pub fn print(rows: &[PackageRow], limit: u32, out: &mut Output) -> (usize, bool) {
    let mut printer = Printer::new(limit, out);
    let _ = rows.iter().all(|row| printer.takes(row));
    printer.end()
}

/// The same with the rows of a stream, until there are no more or nobody reads them.
pub fn print_stream(mut rows: RowStream, limit: u32, out: &mut Output) -> Result<(usize, bool), ClientError> {
    // A pager that waits for its user would hold up the daemon, which does not wait for ever.
    out.hold();
    let mut printer = Printer::new(limit, out);
    let mut row = PackageRow::default();
    let ended = loop {
        match rows.read(&mut row) {
            Ok(true) if printer.takes(&row) => {}
            ended => break ended,
        }
    };
    let printed = printer.end();
    out.flush();
    ended.map(|_| printed)
}

struct Printer<'a> {
    out: &'a mut Output,
    limit: usize,
    count: usize,
    is_cut: bool,
    /// The rows of a table, which is printed once all are known.
    table: Option<Vec<PackageRow>>,
}

impl<'a> Printer<'a> {
    fn new(limit: u32, out: &'a mut Output) -> Self {
        let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
        let is_table = out.is_terminal() && !out.quiet() && !out.is_json();
        Self { out, limit, count: 0, is_cut: false, table: is_table.then(Vec::new) }
    }

    /// Prints a row; whether another one can follow.
    fn takes(&mut self, row: &PackageRow) -> bool {
        if self.count == self.limit {
            self.is_cut = true;
            return false;
        }
        self.count += 1;
        match &mut self.table {
            Some(shown) => shown.push(row.clone()),
            None => print_line(row, self.out),
        }
        !self.out.is_closed()
    }

    fn end(self) -> (usize, bool) {
        if let Some(shown) = &self.table {
            print_table(shown, self.out);
        }
        (self.count, self.is_cut)
    }
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

/// The name as `omg info` takes it: with its architecture where that is not the machine's own. Rows have it in the name already.
pub fn display_name<'a>(name: &'a str, arch: &str, flags: Flags) -> Cow<'a, str> {
    if flags.contains(Flags::FOREIGN_ARCH) && !name.contains(':') {
        Cow::Owned(format!("{name}:{arch}"))
    } else {
        Cow::Borrowed(name)
    }
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
    fn a_foreign_architecture_is_told_once() {
        for name in ["libc6", "libc6:i386"] {
            assert_eq!(display_name(name, "i386", Flags::INSTALLED | Flags::FOREIGN_ARCH), "libc6:i386");
            assert_eq!(display_name(name, "amd64", Flags::INSTALLED), name);
        }
    }

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
