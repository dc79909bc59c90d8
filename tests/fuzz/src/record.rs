//! Records of packages and what is shown of them: any text can be split, and nothing that controls a terminal gets out.
#![no_main]

mod seeds;

use libfuzzer_sys::fuzz_target;
use omg::cli::output::escape::{escape, escape_json};
use omg::package::{Fields, VersionDetails, split_relations};

fn seeds() -> Vec<Vec<u8>> {
    [
        "Package: a\nConffiles:\n /etc/a 1\n /etc/b 2\nnonsense\n stray\nDepends: a (>= 1), b | c\nSize: 3",
        "\tx\n y\n:\nA:\n\n\tB: c\r\n",
        "A: \u{1b}[31m\u{202e}\u{200b}ü\n\u{7}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fuzz_target!(
    init: seeds::write(seeds),
    |data: &[u8]| {
        let text = String::from_utf8_lossy(data);
        let mut length = 0;
        for (name, value) in Fields::new(&text) {
            assert!(!name.is_empty() && !name.contains('\n'));
            length += name.len() + value.len();
            assert!(split_relations(value).all(|part| !part.is_empty()));
        }
        assert!(length <= text.len());
        let details = VersionDetails { record: text.clone().into_owned(), ..VersionDetails::default() };
        if let Some((name, value)) = details.fields().next() {
            assert_eq!(details.field(&name.to_ascii_uppercase()), Some(value));
        }
        let shown = escape(&text);
        assert!(!shown.chars().any(steers_a_terminal), "{shown:?}");
        let json = escape_json(serde_json::to_string(&text).expect("text is JSON"));
        assert!(!json.chars().any(steers_a_terminal), "{json:?}");
        assert_eq!(serde_json::from_str::<String>(&json).expect("still JSON"), text);
    }
);

fn steers_a_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
