//! Everything that `omg` prints.
//!
//! [`Output::text`] is the one way for words to reach a terminal, and it escapes them; line breaks, tabs and colours
//! come only from the layout methods. JSON goes through [`Output::json`].

pub mod escape;
pub mod format;
pub mod live;
pub mod table;

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use escape::{escape, escape_json};
pub use table::{Cell, Table};

/// A listing is written in pieces of about this many bytes, so that its reader can start, or stop, early.
const FLUSH_AT: usize = 64 * 1024;

/// Package names.
pub const NAME: Style = Style::new().bold();
/// What is fine.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What wants attention.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// What is wrong, or urgent.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What matters least.
pub const DIM: Style = Style::new().dimmed();

/// Standard output, and the notes beside it on standard error.
#[derive(Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
    colors: bool,
    note_colors: bool,
    /// Columns of the terminal; none when the output goes elsewhere.
    terminal: Option<usize>,
    buffer: Vec<u8>,
    /// Whether the buffer grows until somebody flushes it.
    holds: bool,
    /// The first failure to write; everything later is dropped.
    failure: Option<io::Error>,
}

impl Output {
    pub fn new(json: bool, quiet: bool, color: ColorChoice) -> Self {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let wants = |auto: ColorChoice| match color {
            ColorChoice::Auto => auto != ColorChoice::Never,
            other => other != ColorChoice::Never,
        };
        Self {
            json,
            quiet,
            colors: wants(AutoStream::choice(&stdout)),
            note_colors: wants(AutoStream::choice(&stderr)),
            terminal: stdout.is_terminal().then(|| terminal_width(&stdout).unwrap_or(80)),
            buffer: Vec::with_capacity(8 * 1024),
            holds: false,
            failure: None,
        }
    }

    #[cfg(test)]
    pub fn for_test(width: usize) -> Self {
        Self {
            json: false,
            quiet: false,
            colors: false,
            note_colors: false,
            terminal: Some(width),
            buffer: Vec::new(),
            holds: false,
            failure: None,
        }
    }

    #[cfg(test)]
    pub fn into_text(mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.buffer)).expect("only text is printed")
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// Whether a person reads the output on a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Columns to fit; without a terminal there is no limit.
    pub fn width(&self) -> usize {
        self.terminal.unwrap_or(usize::MAX)
    }

    /// Words, escaped.
    pub fn text(&mut self, text: &str) {
        self.buffer.extend_from_slice(escape(text).as_bytes());
    }

    /// Words in a style, where colours are wanted.
    pub fn styled(&mut self, style: Style, text: &str) {
        if self.colors && !style.is_plain() {
            // Writing to memory cannot fail.
            let _ = write!(self.buffer, "{}{}{}", style.render(), escape(text), style.render_reset());
        } else {
            self.text(text);
        }
    }

    pub fn blanks(&mut self, count: usize) {
        self.buffer.resize(self.buffer.len() + count, b' ');
    }

    /// Between the columns of a piped listing.
    pub fn tab(&mut self) {
        self.buffer.push(b'\t');
    }

    pub fn newline(&mut self) {
        self.buffer.push(b'\n');
        if self.buffer.len() >= FLUSH_AT && !self.holds {
            self.flush();
        }
    }

    pub fn line(&mut self, text: &str) {
        self.text(text);
        self.newline();
    }

    /// A line of columns for other programs: separated by tabs, never cut.
    pub fn columns(&mut self, columns: &[&str]) {
        self.styled_columns(columns.iter().map(|column| (Style::new(), *column)));
    }

    /// The same, in styles: in a pipe they are there when colours were asked for.
    pub fn styled_columns<'a>(&mut self, columns: impl IntoIterator<Item = (Style, &'a str)>) {
        for (position, (style, column)) in columns.into_iter().enumerate() {
            if position > 0 {
                self.tab();
            }
            if column.is_empty() {
                continue;
            }
            self.styled(style, column);
        }
        self.newline();
    }

    /// One JSON object on a line of its own.
    pub fn json(&mut self, object: &impl Serialize) {
        match serde_json::to_string(object) {
            Ok(json) => self.buffer.extend_from_slice(escape_json(json).as_bytes()),
            Err(error) => {
                self.failure.get_or_insert(error.into());
            }
        }
        self.newline();
    }

    /// A file that this program generates, such as a completion script or a manual page.
    pub fn file(&mut self, content: &[u8]) {
        self.buffer.extend_from_slice(content);
    }

    /// A remark on standard error, behind what was printed so far.
    pub fn note(&mut self, style: Style, text: &str) {
        self.flush();
        let (start, end) = if self.note_colors { (style, style) } else { (Style::new(), Style::new()) };
        // Each line by itself: a line break is the only control character that may stay one.
        let text: Vec<_> = text.lines().map(escape).collect();
        let line = format!("{}omg:{} {}\n", start.render(), end.render_reset(), text.join("\n  "));
        // Nobody is left to be told that standard error is closed.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    /// A question on standard error, whose answer is typed behind it.
    pub fn prompt(&mut self, text: &str) {
        self.flush();
        let _ = io::stderr().write_all(format!("{} ", escape(text)).as_bytes());
    }

    /// Whether the reader has gone: nothing printed from now on is read.
    pub fn is_closed(&self) -> bool {
        self.failure.is_some()
    }

    /// Keeps what is printed until it is flushed, however much that is.
    pub fn hold(&mut self) {
        self.holds = true;
    }

    /// Writes what was printed so far.
    pub fn flush(&mut self) {
        self.holds = false;
        if self.failure.is_none()
            && let Err(error) = io::stdout().lock().write_all(&self.buffer).and_then(|()| io::stdout().lock().flush())
        {
            self.failure = Some(error);
        }
        self.buffer.clear();
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// The first error in writing; a reader that went away is none.
    pub fn finish(&mut self) -> io::Result<()> {
        self.flush();
        match self.failure.take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

/// Columns, where the terminal knows them.
fn terminal_width(terminal: &impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
