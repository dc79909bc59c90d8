//! What packages say is not trusted: characters that steer a terminal or reorder a line are shown, not sent.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether the character can change more than its own place on a terminal: C0 and C1 controls, DEL, line and
/// paragraph separators, and the characters that set the direction of writing.
fn is_hostile(character: char) -> bool {
    matches!(character,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        | '\u{2028}' | '\u{2029}')
}

/// The text with every such character as `\u{…}`. Escaping twice changes nothing more.
pub fn escape(text: &str) -> Cow<'_, str> {
    // Almost every text is plain ASCII; without an early end of the loop, many bytes are looked at by one instruction.
    if text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~')) || !text.contains(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hostile(character) {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "\\u{{{:x}}}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// JSON text with what `serde_json` leaves of such characters as `\uXXXX`. They occur only inside strings.
pub fn escape_json(json: String) -> String {
    if !json.contains(is_hostile) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_hostile(character) {
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_not_copied() {
        for text in ["firefox-esr", "Größe → 東京 🦀", "back\\slash"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn controls_and_direction_marks_are_shown() {
        assert_eq!(escape("a\x1b[31mb\x07\x7f"), "a\\u{1b}[31mb\\u{7}\\u{7f}");
        assert_eq!(escape("\u{9b}31m\u{85}"), "\\u{9b}31m\\u{85}");
        assert_eq!(escape("x\u{202e}gpj.exe\u{2066}\u{200f}\u{61c}"), "x\\u{202e}gpj.exe\\u{2066}\\u{200f}\\u{61c}");
        assert_eq!(escape("a\nb\tc\r\u{2028}"), "a\\u{a}b\\u{9}c\\u{d}\\u{2028}");
    }

    #[test]
    fn nothing_hostile_is_left_of_any_character() {
        for character in (0..=0x2_ffff).filter_map(char::from_u32) {
            let text = character.to_string();
            let escaped = escape(&text);
            assert!(!escaped.contains(is_hostile), "{:x}", u32::from(character));
            assert!(!escaped.contains(char::is_control), "{:x}", u32::from(character));
            assert_eq!(escape(&escaped), escaped);
        }
    }

    #[test]
    fn json_stays_the_same_value() {
        let text = "a\u{9b}\u{202e}\x7f\n\u{2028}é";
        let json = escape_json(serde_json::to_string(text).expect("serialises"));
        assert_eq!(json, r#""a\u009b\u202e\u007f\n\u2028é""#);
        assert_eq!(serde_json::from_str::<String>(&json).expect("parses"), text);
    }
}
