//! What D-Bus callers send: any bytes of a message's body become a bounded query or an error.
#![no_main]

mod seeds;

use std::collections::HashMap;

use libfuzzer_sys::{Corpus, fuzz_target};
use omg::dbus::arguments::{self, MAX_ROWS, MAX_TERM_BYTES, MAX_TERMS, Options};
use omg::package::SearchQuery;
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{LE, to_bytes};
use zbus::{OwnedVariant, Variant};

fn context() -> Context {
    Context::new(LE, 0)
}

fn options(mode: &str, limit: u32) -> HashMap<&str, Variant<'_>> {
    HashMap::from([
        ("mode", Variant::from(mode)),
        ("limit", Variant::from(limit)),
        ("descriptions", Variant::from(true)),
        ("sources", Variant::from(vec!["apt", "aur"])),
        ("explicit", Variant::from(false)),
        ("repository", Variant::from("bookworm/main")),
    ])
}

fn seeds() -> Vec<Vec<u8>> {
    let seed = |kind: u8, body: Data<'_, '_>| [&[kind], body.bytes()].concat();
    let search = (vec!["firefox", "Ü"], options("substring", 50));
    let batch = vec![
        ("Search", Variant::from(search.clone())),
        ("GetDetails", Variant::from((vec!["vim:i386"], options("fuzzy", 0)))),
        ("Suggest", Variant::from(("fire", 10_u32))),
        ("Status", Variant::from(0_u8)),
    ];
    vec![
        seed(0, to_bytes(context(), &options("exact", 1)).expect("a dictionary")),
        seed(1, to_bytes(context(), &search).expect("a search")),
        seed(2, to_bytes(context(), &batch).expect("a batch")),
    ]
}

fuzz_target!(
    init: seeds::write(seeds),
    |data: &[u8]| -> Corpus {
        let Some((kind, body)) = data.split_first() else { return Corpus::Reject };
        let body = Data::new(body, context());
        match kind % 3 {
            0 => {
                if let Ok((options, _)) = body.deserialize::<Options>() {
                    query(vec!["a".to_owned()], &options);
                }
            }
            1 => {
                if let Ok(((terms, options), _)) = body.deserialize::<(Vec<String>, Options)>() {
                    query(terms, &options);
                }
            }
            _ => {
                if let Ok((requests, _)) = body.deserialize::<Vec<(String, OwnedVariant)>>() {
                    requests.iter().for_each(|(_, arguments)| request(arguments));
                }
            }
        }
        Corpus::Keep
    }
);

fn query(terms: Vec<String>, options: &Options) {
    let names = arguments::names(&terms).is_ok();
    match arguments::search_query(terms, options) {
        Ok(SearchQuery { terms, limit, .. }) => {
            assert!(names && (1..=MAX_TERMS).contains(&terms.len()));
            assert!(terms.iter().all(|term| (1..=MAX_TERM_BYTES).contains(&term.len())));
            assert!(!terms.iter().any(|term| term.contains(char::is_control)));
            // One more than an answer may hold: so many rows are refused.
            assert!((1..=MAX_ROWS + 1).contains(&limit));
        }
        Err(error) => _ = error.to_string(),
    }
    if let Ok(query) = arguments::list_query(options) {
        assert!(query.repository.is_none_or(|name| (1..=MAX_TERM_BYTES).contains(&name.len())));
    }
}

/// Takes a request of a batch apart, as every method might.
fn request(arguments: &OwnedVariant) {
    let fields = arguments::batch_fields(arguments);
    let options: Vec<Options> =
        fields.iter().filter_map(|field| Options::try_from(field.try_clone().ok()?).ok()).collect();
    for field in fields {
        let Ok(again) = field.try_clone() else { continue };
        if let Ok(terms) = Vec::<String>::try_from(field) {
            options.iter().for_each(|options| query(terms.clone(), options));
        } else if let Ok(prefix) = String::try_from(again) {
            let _ = arguments::text("prefix", &prefix);
        }
    }
}
