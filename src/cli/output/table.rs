//! Tables for a terminal.

use std::borrow::Cow;

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Output;
use super::escape::escape;

/// Between columns.
const GAP: usize = 2;
/// No column is made narrower than this while another is wider.
const MIN_WIDTH: usize = 8;

/// One cell: what it says and how it looks.
#[derive(Debug, Clone)]
pub struct Cell<'a> {
    text: Cow<'a, str>,
    width: usize,
    style: Style,
}

impl<'a> Cell<'a> {
    pub fn new(text: &'a str) -> Self {
        Self::of(escape(text))
    }

    fn of(text: Cow<'a, str>) -> Self {
        Self { width: text.width(), text, style: Style::new() }
    }

    #[must_use]
    pub fn styled(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Self::of(Cow::Owned(escape(&text).into_owned()))
    }
}

/// Rows of `N` columns. The last column gives way first when the terminal is too narrow.
#[derive(Debug)]
pub struct Table<'a, const N: usize> {
    titles: [&'static str; N],
    /// Columns that are never cut.
    whole: [bool; N],
    rows: Vec<[Cell<'a>; N]>,
}

impl<'a, const N: usize> Table<'a, N> {
    pub fn new(titles: [&'static str; N]) -> Self {
        Self { titles, whole: [false; N], rows: Vec::new() }
    }

    /// Never cuts these columns, such as versions, which differ at their ends. Where they do not fit beside the others, those
    /// are left out, and then each row has two lines.
    #[must_use]
    pub fn keeping(mut self, columns: &[usize]) -> Self {
        for (position, whole) in self.whole.iter_mut().enumerate() {
            *whole |= columns.contains(&position);
        }
        self
    }

    pub fn push(&mut self, row: [Cell<'a>; N]) {
        self.rows.push(row);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints the rows below their titles (without them when `quiet`); a column that is empty in every row is left out.
    pub fn print(&self, out: &mut Output) {
        self.print_rows(!out.quiet(), 0, out);
    }

    /// Prints the rows without their titles, behind so many blanks.
    pub fn print_indented(&self, indent: usize, out: &mut Output) {
        self.print_rows(false, indent, out);
    }

    fn print_rows(&self, headings: bool, indent: usize, out: &mut Output) {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width);
            }
        }
        for (width, title) in widths.iter_mut().zip(self.titles) {
            if headings && *width > 0 {
                *width = (*width).max(title.width());
            }
        }
        if !fit(&mut widths, &self.whole, out.width().saturating_sub(indent)) {
            for row in &self.rows {
                print_stacked(out, indent, &self.whole, row);
            }
            return;
        }
        if headings && !self.is_empty() {
            let heading = Style::new().bold();
            print_row(out, indent, &widths, self.titles.map(|title| Cell::new(title).styled(heading)).each_ref());
        }
        for row in &self.rows {
            print_row(out, indent, &widths, row.each_ref());
        }
    }
}

/// Narrows columns until the row fits: the last one first, then always the widest; the first one, which says what the
/// row is about, gives way when the others have little left. Where some columns are kept whole, others are left out
/// instead, the last one first. Returns whether it fits.
fn fit<const N: usize>(widths: &mut [usize; N], whole: &[bool; N], terminal: usize) -> bool {
    let columns = widths.iter().filter(|width| **width > 0).count();
    let used = widths.iter().sum::<usize>() + GAP * columns.saturating_sub(1);
    let mut excess = used.saturating_sub(terminal);
    if let (Some(last), Some(false)) = (widths.last_mut(), whole.last()) {
        let cut = excess.min(last.saturating_sub(2 * MIN_WIDTH));
        *last -= cut;
        excess -= cut;
    }
    // What is before the columns that are kept whole says what they are about.
    let first_whole = whole.iter().position(|whole| *whole);
    let steps = match first_whole {
        Some(first) => vec![(first, MIN_WIDTH)],
        None => vec![(1, MIN_WIDTH), (1, MIN_WIDTH / 2), (0, 1)],
    };
    for (kept, floor) in steps {
        while excess > 0 {
            let may_give = widths.iter_mut().zip(whole).skip(kept).filter(|(_, whole)| !**whole);
            let Some(widest) = may_give.map(|(width, _)| width).max().filter(|width| **width > floor) else { break };
            *widest -= 1;
            excess -= 1;
        }
    }
    if let Some(first) = first_whole {
        for (width, _) in
            widths.iter_mut().zip(whole).skip(first).rev().filter(|(width, whole)| **width > 0 && !**whole)
        {
            if excess > 0 {
                excess = excess.saturating_sub(*width + GAP);
                *width = 0;
            }
        }
    }
    excess == 0
}

/// A row on two lines: what is before the first column that is kept whole, and the rest as far as there is room for it.
fn print_stacked<const N: usize>(out: &mut Output, indent: usize, whole: &[bool; N], row: &[Cell<'_>; N]) {
    let mut used = 0;
    let mut broken = false;
    for (cell, whole) in row.iter().zip(whole).filter(|(cell, _)| !cell.text.is_empty()) {
        if *whole && !broken {
            broken = true;
            if used > 0 {
                out.newline();
            }
            used = 0;
        }
        let blanks = match used {
            0 if broken => indent + 2 * GAP,
            0 => indent,
            _ => GAP,
        };
        let room = out.width().saturating_sub(used + blanks);
        if used > 0 && cell.width > room && !whole {
            continue;
        }
        out.blanks(blanks);
        let (text, shown) =
            if *whole { (Cow::Borrowed(&*cell.text), cell.width) } else { truncate(&cell.text, cell.width, room) };
        out.styled(cell.style, &text);
        used += blanks + shown;
    }
    out.newline();
}

fn print_row<const N: usize>(out: &mut Output, indent: usize, widths: &[usize; N], row: [&Cell<'_>; N]) {
    // Blanks are only printed once something follows them.
    let mut blanks = indent;
    let mut first = true;
    for (&width, cell) in widths.iter().zip(row) {
        if width == 0 {
            continue;
        }
        if !first {
            blanks += GAP;
        }
        first = false;
        if cell.text.is_empty() {
            blanks += width;
            continue;
        }
        out.blanks(blanks);
        let (text, shown) = truncate(&cell.text, cell.width, width);
        out.styled(cell.style, &text);
        blanks = width.saturating_sub(shown);
    }
    out.newline();
}

/// The text cut to `width` columns with `…` at the end, and the width it then has.
pub(super) fn truncate(text: &str, text_width: usize, width: usize) -> (Cow<'_, str>, usize) {
    if text_width <= width {
        return (Cow::Borrowed(text), text_width);
    }
    let mut cut = String::with_capacity(text.len());
    let mut used = 0;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used >= width {
            break;
        }
        cut.push(character);
    }
    // A sequence can be wider than its characters one by one.
    while cut.width() >= width && cut.pop().is_some() {}
    cut.truncate(cut.trim_end().len());
    cut.push('…');
    let shown = cut.width();
    (Cow::Owned(cut), shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(width: usize, rows: &[[&str; 3]]) -> Vec<String> {
        let mut out = Output::for_test(width);
        let mut table = Table::new(["NAME", "VERSION", "SUMMARY"]);
        for row in rows {
            table.push(row.map(Cell::new));
        }
        table.print(&mut out);
        out.into_text().lines().map(str::to_owned).collect()
    }

    #[test]
    fn columns_line_up_and_the_summary_gives_way() {
        let rows = [["curl", "7.88.1-10", "command line tool for URLs"], ["libcurl4", "7.88.1", "a library"]];
        assert_eq!(
            printed(40, &rows),
            [
                "NAME      VERSION    SUMMARY",
                "curl      7.88.1-10  command line tool…",
                "libcurl4  7.88.1     a library",
            ]
        );
    }

    #[test]
    fn every_line_fits_every_width() {
        let rows = [
            [
                "linux-image-6.1.0-44-rt-amd64-dbg",
                "1:6.1.164-1+really6.1.0~bpo12+1",
                "Linux kernel 東京東京東京東京 👩‍👩‍👧‍👦☺️☺️☺️",
            ],
            ["a", "1", "b"],
            ["\u{1b}]0;title\u{7}", "\u{202e}", "x\ty"],
        ];
        for width in 7..140 {
            for line in printed(width, &rows) {
                assert!(line.width() <= width, "{width}: {line}");
                assert!(!line.contains(char::is_control));
                assert_eq!(line.trim_end(), line);
            }
        }
    }

    #[test]
    fn columns_that_are_kept_whole_are_never_cut() {
        let printed = |width| {
            let mut out = Output::for_test(width);
            let mut table = Table::new([""; 4]).keeping(&[1, 2]);
            let row = ["bsdutils", "1:2.36.1-8+deb12u1", "→ 1:2.36.1-8+deb12u2", "bookworm-security/main"];
            table.push(row.map(Cell::new));
            table.push(["mount", "2.36", "", "bookworm/main"].map(Cell::new));
            table.print_indented(2, &mut out);
            out.into_text()
        };
        let shown = "  bsdutils  1:2.36.1-8+deb12u1  → 1:2.36.1-8+deb12u2  bookworm-security/main\n";
        assert!(printed(100).starts_with(shown), "{}", printed(100));
        for width in 24..100 {
            let text = printed(width);
            assert!(text.contains("1:2.36.1-8+deb12u1") && text.contains("→ 1:2.36.1-8+deb12u2"), "{width}: {text}");
            if width >= 46 {
                assert!(text.lines().all(|line| line.width() <= width), "{width}: {text}");
            }
        }
        assert_eq!(printed(54), "  bsdutils  1:2.36.1-8+deb12u1  → 1:2.36.1-8+deb12u2\n  mount     2.36\n");
        let mut out = Output::for_test(30);
        let mut table = Table::new(["CHANGE", "NAME", "FROM", "TO", "REPOSITORY"]).keeping(&[2, 3]);
        table.push(["upgrade", "a-name-of-some-length", "1.0", "1.1", "main"].map(Cell::new));
        table.print(&mut out);
        assert_eq!(out.into_text(), "upgrade  a-name-of-some-length\n    1.0  1.1  main\n");
        assert_eq!(
            printed(50),
            "  bsdutils\n      1:2.36.1-8+deb12u1  → 1:2.36.1-8+deb12u2\n  mount\n      2.36  bookworm/main\n"
        );
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(truncate("東京東京", 8, 6), ("東京…".into(), 5));
        assert_eq!(truncate("東京", 4, 4), ("東京".into(), 4));
    }

    #[test]
    fn a_column_without_content_is_left_out() {
        assert_eq!(printed(40, &[["a", "", "b"]]), ["NAME  SUMMARY", "a     b"]);
    }
}
