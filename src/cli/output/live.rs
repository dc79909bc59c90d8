//! Lines at the bottom of a terminal that are drawn again and again.
//!
//! Own code: it writes through [`Output`], so that what is not trusted is escaped and cut like everything else, and it
//! changes no mode of the terminal that would have to be restored when the process is killed.

use std::time::{Duration, Instant};

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::escape::escape;
use super::table::truncate;
use super::{Output, terminal_width};

/// Between two drawings.
const PACE: Duration = Duration::from_millis(100);

/// What is left of a piece that is cut has at least so many columns.
const MIN_CUT: usize = 6;

/// A line: pieces behind each other. One that does not fit is left out, unless it may be cut.
pub type Line = Vec<Piece>;

/// A part of a line that says something by itself.
#[derive(Debug, Clone)]
pub struct Piece {
    style: Style,
    text: String,
    may_be_cut: bool,
}

impl Piece {
    pub fn new(style: Style, text: impl Into<String>) -> Self {
        Self { style, text: text.into(), may_be_cut: false }
    }

    /// Of which the start is better than nothing, such as a name.
    pub fn cut(style: Style, text: impl Into<String>) -> Self {
        Self { may_be_cut: true, ..Self::new(style, text) }
    }

    #[cfg(test)]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The lines that are on the terminal now.
#[derive(Debug, Default)]
pub struct Live {
    lines: usize,
    drawn: Option<Instant>,
}

impl Live {
    /// How long to wait with the next drawing.
    pub fn due(&self) -> Duration {
        self.drawn.map_or(Duration::ZERO, |drawn| PACE.saturating_sub(drawn.elapsed()))
    }

    /// Puts these lines in place of those that are there.
    pub fn draw(&mut self, lines: &[Line], out: &mut Output) {
        out.measure();
        self.render(lines, out);
        self.drawn = Some(Instant::now());
        out.flush();
    }

    fn render(&mut self, lines: &[Line], out: &mut Output) {
        self.erase(out);
        // A line as wide as the terminal would make some of them wrap.
        let width = out.width().saturating_sub(1);
        for line in lines {
            let mut left = width;
            for Piece { style, text, may_be_cut } in line {
                let text = escape(text);
                if text.width() > left && (!may_be_cut || left < MIN_CUT) {
                    continue;
                }
                let (text, used) = truncate(&text, text.width(), left);
                out.styled(*style, &text);
                left = left.saturating_sub(used);
            }
            out.newline();
        }
        self.lines = lines.len();
    }

    /// Takes the lines away; what is printed next begins in their place.
    pub fn erase(&mut self, out: &mut Output) {
        if self.lines > 0 {
            // Up to the first of them, then everything below (ECMA-48: CPL, ED).
            out.control(&format!("\x1b[{}F\x1b[J", self.lines));
            self.lines = 0;
        }
    }
}

impl Output {
    /// A control sequence of this program's own.
    fn control(&mut self, sequence: &str) {
        if self.terminal.is_some() {
            self.buffer.extend_from_slice(sequence.as_bytes());
        }
    }

    /// The terminal may have been resized.
    fn measure(&mut self) {
        if let Some(width) = &mut self.terminal
            && let Some(now) = terminal_width(&std::io::stdout())
        {
            *width = now;
        }
    }

    /// Whether lines can be drawn again: not on a terminal that only prints, and not where nobody looks.
    pub fn can_redraw(&self) -> bool {
        let capable = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        self.is_terminal() && capable && !self.quiet && !self.json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_unless_it_is_a_name() {
        let line =
            [Piece::new(Style::new(), "12 %"), Piece::new(Style::new(), "  1.2 MiB/s"), Piece::new(Style::new(), " x")];
        let named = [Piece::new(Style::new(), "12 % "), Piece::cut(Style::new(), "libreoffice")];
        let drawn = |line: &[Piece], width| {
            let mut out = Output::for_test(width);
            Live::default().render(&[line.to_vec()], &mut out);
            out.into_text()
        };
        assert_eq!(drawn(&line, 19), "12 %  1.2 MiB/s x\n");
        assert_eq!(drawn(&line, 12), "12 % x\n");
        assert_eq!(drawn(&named, 14), "12 % libreof…\n");
        assert_eq!(drawn(&named, 11), "12 % \n");
    }

    #[test]
    fn lines_are_cut_to_the_terminal_and_replaced() {
        let mut out = Output::for_test(20);
        let mut live = Live::default();
        let long = "x".repeat(50);
        live.render(&[vec![Piece::new(Style::new(), "a\u{1b}[2J"), Piece::cut(Style::new(), long)], vec![]], &mut out);
        live.render(&[vec![Piece::new(Style::new(), "done")]], &mut out);
        live.erase(&mut out);
        live.erase(&mut out);
        let first = "a\\u{1b}[2Jxxxxxxxx…\n\n";
        assert_eq!(first.lines().next().map(UnicodeWidthStr::width), Some(19));
        assert_eq!(out.into_text(), format!("{first}\u{1b}[2F\u{1b}[Jdone\n\u{1b}[1F\u{1b}[J"));
    }
}
