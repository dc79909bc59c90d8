//! Folding of case, the same for what is stored and for what is looked for.

/// `text` with every character replaced by the one that stands for all its cases. Line feeds and NULs become spaces:
/// they separate the stored texts.
pub(super) fn fold(text: &str) -> String {
    if text.is_ascii() {
        let mut folded = text.to_ascii_lowercase();
        if memchr::memchr2(b'\n', 0, text.as_bytes()).is_some() {
            folded = folded.replace(['\n', '\0'], " ");
        }
        return folded;
    }
    text.chars()
        .map(|c| match c {
            '\n' | '\0' => ' ',
            c if c.is_ascii() => c.to_ascii_lowercase(),
            c => fold_wide(c),
        })
        .collect()
}

/// Characters are the same letter when `towupper(3)` gives the same for both, which is how the regular expressions
/// compare that the package systems' own searches rest on: the micro sign is a Greek mu. What stands for them is the
/// lower case of that; the upper case itself where its lower case leads back to another letter (the Kelvin sign).
/// A case that is several characters is none.
fn fold_wide(c: char) -> char {
    let upper = single(c.to_uppercase()).unwrap_or(c);
    match single(upper.to_lowercase()) {
        Some(lower) if single(lower.to_uppercase()).is_none_or(|back| back == upper) => lower,
        _ => upper,
    }
}

fn single(mut characters: impl Iterator<Item = char>) -> Option<char> {
    characters.next().filter(|_| characters.next().is_none())
}

/// Which letters a folded text has: a bit each for `a` to `z`, one for all digits, one for everything else; and 32 bits above
/// these, which of them it has more than once. A text can only hold the letters of another, in whatever order, if it has all
/// of the other's bits.
pub(super) fn letters(folded: &[u8]) -> u64 {
    let (mut once, mut again) = (0_u32, 0);
    for byte in folded {
        let letter = match byte {
            b'a'..=b'z' => 1 << (byte - b'a'),
            b'0'..=b'9' => 1 << 26,
            _ => 1 << 27,
        };
        again |= once & letter;
        once |= letter;
    }
    u64::from(again) << 32 | u64::from(once)
}

/// Whether a byte belongs to a word; everything beyond ASCII does.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn folding_is_per_character_and_keeps_separators_out() {
        assert_eq!(fold("GNU Emacs"), "gnu emacs");
        assert_eq!(fold("ÉCOLE Ω\nx\0y"), "école ω x y");
        assert_eq!(fold("İ ß ǅ"), "İ ß ǆ");
    }

    #[test]
    fn letters_that_share_their_upper_case_are_one() {
        assert_eq!(fold("\u{b5}m \u{3bc}m \u{39c}M"), "\u{3bc}m \u{3bc}m \u{3bc}m");
        assert_eq!(fold("\u{3a3}\u{3c3}\u{3c2} \u{131}I \u{17f}"), "\u{3c3}\u{3c3}\u{3c3} ii s");
        assert_eq!(fold("\u{212a}k"), "\u{212a}k", "a Kelvin sign is no k, as for towupper");
    }
}
