//! Rows as lines of columns: what `QueryFd` gives with `columns`, and how clients read it.
//!
//! A line has the values of a row of `List` in their order, separated by tabs. A tab, a line feed or a backslash in one of
//! them is `\t`, `\n` or `\\`. What a line holds that has no tab is for the reader to know.

use memchr::{memchr, memchr_iter};

use crate::package::{Flags, PackageRow, RowRef};

/// Appends a row, with its line feed.
pub fn write(row: &RowRef<'_>, lines: &mut Vec<u8>) {
    for text in [&*row.name, row.version, row.arch, row.repository, row.summary] {
        // Without an early end of the loop, many bytes are looked at by one instruction.
        if text.bytes().fold(false, |found, byte| found | matches!(byte, b'\t' | b'\n' | b'\\')) {
            for byte in text.bytes() {
                match byte {
                    b'\t' => lines.extend_from_slice(b"\\t"),
                    b'\n' => lines.extend_from_slice(b"\\n"),
                    b'\\' => lines.extend_from_slice(b"\\\\"),
                    other => lines.push(other),
                }
            }
        } else {
            lines.extend_from_slice(text.as_bytes());
        }
        lines.push(b'\t');
    }
    lines.extend_from_slice(itoa::Buffer::new().format(row.flags.bits()).as_bytes());
    lines.push(b'\t');
    lines.extend_from_slice(itoa::Buffer::new().format(row.download_size).as_bytes());
    lines.push(b'\n');
}

/// Reads a line without its line feed into `row`, whose texts are used again; `None` where it is no row. Flags that are not
/// known here are left out.
pub fn read(line: &str, row: &mut PackageRow) -> Option<()> {
    let mut tabs = memchr_iter(b'\t', line.as_bytes());
    let is_escaped = memchr(b'\\', line.as_bytes()).is_some();
    let mut start = 0;
    let mut column = || {
        let column = line.get(start..tabs.next()?);
        start += column?.len() + 1;
        column
    };
    for text in [&mut row.name, &mut row.version, &mut row.arch, &mut row.repository, &mut row.summary] {
        text.clear();
        match column()? {
            column if is_escaped => unescape(column, text)?,
            column => text.push_str(column),
        }
    }
    row.flags = Flags::from_bits_truncate(column()?.parse().ok()?);
    // What is left has no more columns where it is a number.
    row.download_size = line.get(start..)?.parse().ok()?;
    Some(())
}

fn unescape(column: &str, text: &mut String) -> Option<()> {
    let mut parts = column.split('\\');
    text.push_str(parts.next()?);
    while let Some(part) = parts.next() {
        match part.split_at_checked(1) {
            Some(("t", rest)) => text.extend(["\t", rest]),
            Some(("n", rest)) => text.extend(["\n", rest]),
            // Between two of them is nothing, and behind the second what follows.
            None if part.is_empty() => text.extend(["\\", parts.next()?]),
            _ => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, summary: &str) -> PackageRow {
        PackageRow {
            name: name.into(),
            version: "1:7.88-1+b1".into(),
            arch: "amd64".into(),
            repository: String::new(),
            summary: summary.into(),
            flags: Flags::INSTALLED | Flags::FOREIGN_ARCH,
            download_size: u64::MAX,
        }
    }

    #[test]
    fn rows_read_as_they_were_written() {
        let mut read_again = PackageRow::default();
        for summary in ["a \"tool\"", "", "\t", "\\", "\\\\t\\n\t\n\\", "ends with \\", "東京\\東京\u{1b}[31m"] {
            let (row, mut line) = (row("curl", summary), Vec::new());
            write(&RowRef::from(&row), &mut line);
            let line = String::from_utf8(line).expect("text");
            let (line, rest) = line.split_once('\n').expect("a line");
            assert_eq!((read(line, &mut read_again), rest), (Some(()), ""), "{summary:?}");
            assert_eq!(read_again, row);
        }
    }

    #[test]
    fn a_row_is_seven_columns() {
        let mut line = Vec::new();
        write(&RowRef::from(&row("curl", "a\tb\\c")), &mut line);
        assert_eq!(line, b"curl\t1:7.88-1+b1\tamd64\t\ta\\tb\\\\c\t2049\t18446744073709551615\n");
    }

    #[test]
    fn what_is_no_row_is_refused() {
        let mut row = PackageRow::default();
        for line in [
            "",
            "{\"end\":true}",
            "a\tb\tc\td\te\tf\tg",
            "a\tb\tc\td\te\t1\t1\t1",
            "a\tb\tc\td\te\t1",
            "a\\x\t\t\t\t\t1\t1",
        ] {
            assert_eq!(read(line, &mut row), None, "{line:?}");
        }
        assert_eq!(read("a\\\t\t\t\t\t1\t1", &mut row), None);
        assert_eq!(read("a\\é\t\t\t\t\t1\t1", &mut row), None);
        assert_eq!(read("\t\t\t\t\t4294967295\t1", &mut row), Some(()));
        assert_eq!(row.flags, Flags::all());
    }
}
