//! Lines of other programs, which may have no end.

/// The longest line that is kept whole, in bytes; of a longer one its start.
pub const LONGEST: usize = 64 << 10;

/// Bytes that are kept of the end of a line that is cut: how it ends may tell what it is.
const TAIL: usize = 16;

/// Cuts what is read into lines. Never holds more than [`LONGEST`] and a little.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    cut: bool,
}

/// A line with its end of line; the last one may have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Of a line that was cut the start, and right behind it its last bytes.
    pub bytes: &'a [u8],
    pub cut: bool,
}

impl Lines {
    /// Takes bytes in, and gives each line that ends in them.
    pub fn take(&mut self, bytes: &[u8], mut found: impl FnMut(Line<'_>)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() > LONGEST + TAIL {
                self.line.drain(LONGEST..self.line.len() - TAIL);
                self.cut = true;
            }
            if self.line.last() == Some(&b'\n') {
                found(Line { bytes: &self.line, cut: self.cut });
                self.line.clear();
                self.cut = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.take(chunk, |line| found.push((line.bytes.to_vec(), line.cut)));
            assert!(lines.line.len() <= LONGEST + TAIL && lines.line.capacity() < 4 * LONGEST);
        }
        found
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let expected = [(b"one\n".to_vec(), false), (b"\n".to_vec(), false), (b"two\n".to_vec(), false)];
        assert_eq!(lines(&[b"one\n\ntwo\nthree"]), expected);
        assert_eq!(lines(&[b"o", b"ne", b"\n\ntw", b"o\n", b"three"]), expected);
    }

    #[test]
    fn a_line_without_end_takes_no_more_room_than_the_longest_and_the_next_one_is_whole() {
        let endless = [b'x'; 4096];
        let mut chunks: Vec<&[u8]> = vec![&endless; 1000];
        chunks.push(b"the end\nnext\n");
        let found = lines(&chunks);
        let [(cut, true), (next, false)] = found.as_slice() else { panic!("{} lines", found.len()) };
        assert!(cut.starts_with(b"xxx") && cut.ends_with(b"the end\n") && cut.len() <= LONGEST + TAIL);
        assert_eq!(next, b"next\n");
    }
}
