//! What the configuration file sets, by key.

use super::file::{ConfigError, ConfigFile, Problem};
use super::runtimes::{self, RuntimeInputs, UpstreamInputs};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What the file sets, of the right types, with the places of the values. Absent keys are `None`.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    pub backend: Option<Spanned<String>>,
    pub data_dir: Option<Spanned<String>>,
    pub helper: Option<Spanned<String>>,
    pub helper_timeout: Option<Spanned<i64>>,
    pub idle_timeout: Option<Spanned<i64>>,
    pub worker_interval: Option<Spanned<i64>>,
    pub status_max_age: Option<Spanned<i64>>,
    pub cache: CacheInputs,
    pub apt: AptInputs,
    pub aur: AurInputs,
    pub runtimes: RuntimeInputs,
}

/// The table `cache`.
#[derive(Debug, Clone, Default)]
pub struct CacheInputs {
    pub searches: Option<Spanned<i64>>,
    pub search_bytes: Option<Spanned<i64>>,
    pub details: Option<Spanned<i64>>,
    pub details_bytes: Option<Spanned<i64>>,
}

/// The table `apt`.
#[derive(Debug, Clone, Default)]
pub struct AptInputs {
    pub root: Option<Spanned<String>>,
    pub options: Option<Spanned<Vec<Spanned<String>>>>,
}

/// The table `aur`.
#[derive(Debug, Clone, Default)]
pub struct AurInputs {
    pub enabled: Option<Spanned<bool>>,
    pub url: Option<Spanned<String>>,
    pub keyserver: Option<Spanned<String>>,
    pub devel: Option<Spanned<bool>>,
}

const KEYS: [&str; 11] = [
    "backend",
    "data-dir",
    "helper",
    "helper-timeout",
    "idle-timeout",
    "worker-interval",
    "status-max-age",
    "cache",
    "apt",
    "aur",
    "runtimes",
];
const CACHE_KEYS: [&str; 4] = ["searches", "search-bytes", "details", "details-bytes"];
const APT_KEYS: [&str; 2] = ["root", "options"];
const AUR_KEYS: [&str; 4] = ["enabled", "url", "keyserver", "devel"];
const RUNTIME_KEYS: [&str; 12] = [
    "offline",
    "proxy",
    "cache-bytes",
    "manager",
    runtimes::TABLES[0],
    runtimes::TABLES[1],
    runtimes::TABLES[2],
    runtimes::TABLES[3],
    runtimes::TABLES[4],
    runtimes::TABLES[5],
    runtimes::TABLES[6],
    runtimes::TABLES[7],
];
const UPSTREAM_KEYS: [&str; 3] = ["url", "keys", "manager"];
/// Its releases alone have a provenance.
const PYTHON_KEYS: [&str; 4] = ["url", "keys", "manager", "trusted-root"];

impl Inputs {
    /// Sorts what the file says by key.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when it is not TOML, has unknown keys or values of the wrong type.
    pub fn parse(file: &ConfigFile) -> Result<Self, ConfigError> {
        let (document, errors) = DeTable::parse_recoverable(file.text());
        if !errors.is_empty() {
            let problems = errors
                .into_iter()
                .map(|error| Problem {
                    // An error without a place is about the end.
                    span: error.span().unwrap_or(file.text().len()..file.text().len()),
                    key: String::new(),
                    message: error.message().to_owned(),
                })
                .collect();
            return Err(file.invalid(problems));
        }
        let mut problems = Vec::new();
        let inputs = {
            let mut root = Section::new("", document.into_inner(), &KEYS, &mut problems);
            let (backend, data_dir, helper) = (root.string("backend"), root.string("data-dir"), root.string("helper"));
            let helper_timeout = root.integer("helper-timeout");
            let (idle_timeout, worker_interval, status_max_age) =
                (root.integer("idle-timeout"), root.integer("worker-interval"), root.integer("status-max-age"));
            let (cache, apt, aur) = (root.table("cache"), root.table("apt"), root.table("aur"));
            let runtimes = root.table("runtimes");
            let cache = cache.map_or_else(CacheInputs::default, |table| {
                let mut section = Section::new("cache.", table, &CACHE_KEYS, &mut problems);
                CacheInputs {
                    searches: section.integer("searches"),
                    search_bytes: section.integer("search-bytes"),
                    details: section.integer("details"),
                    details_bytes: section.integer("details-bytes"),
                }
            });
            let apt = apt.map_or_else(AptInputs::default, |table| {
                let mut section = Section::new("apt.", table, &APT_KEYS, &mut problems);
                AptInputs { root: section.string("root"), options: section.strings("options") }
            });
            let aur = aur.map_or_else(AurInputs::default, |table| {
                let mut section = Section::new("aur.", table, &AUR_KEYS, &mut problems);
                AurInputs {
                    enabled: section.boolean("enabled"),
                    url: section.string("url"),
                    keyserver: section.string("keyserver"),
                    devel: section.boolean("devel"),
                }
            });
            let runtimes = runtimes.map_or_else(RuntimeInputs::default, |table| runtimes_in(table, &mut problems));
            Self {
                backend,
                data_dir,
                helper,
                helper_timeout,
                idle_timeout,
                worker_interval,
                status_max_age,
                cache,
                apt,
                aur,
                runtimes,
            }
        };
        if problems.is_empty() { Ok(inputs) } else { Err(file.invalid(problems)) }
    }
}

fn runtimes_in(table: DeTable<'_>, problems: &mut Vec<Problem>) -> RuntimeInputs {
    let mut section = Section::new("runtimes.", table, &RUNTIME_KEYS, problems);
    let (offline, proxy) = (section.boolean("offline"), section.string("proxy"));
    let (cache_bytes, manager) = (section.integer("cache-bytes"), section.string("manager"));
    let tables: Vec<_> = runtimes::TABLES.into_iter().filter_map(|name| Some((name, section.table(name)?))).collect();
    let mut upstreams = BTreeMap::new();
    for (name, table) in tables {
        let known: &[_] = if name == "python" { &PYTHON_KEYS } else { &UPSTREAM_KEYS };
        let mut section = Section::new("runtimes.*.", table, known, problems);
        let (url, keys, manager) = (section.string("url"), section.string("keys"), section.string("manager"));
        let trusted_root = section.string("trusted-root");
        upstreams.insert(name, UpstreamInputs { url, keys, trusted_root, manager });
    }
    RuntimeInputs { offline, proxy, cache_bytes, manager, upstreams }
}

/// One table of the file, being taken apart.
struct Section<'a, 'i> {
    /// In front of the keys in messages: empty or the table's name with a dot.
    prefix: &'static str,
    entries: DeTable<'i>,
    problems: &'a mut Vec<Problem>,
}

impl<'a, 'i> Section<'a, 'i> {
    /// Reports the keys that are not `known`.
    fn new(
        prefix: &'static str,
        entries: DeTable<'i>,
        known: &'static [&'static str],
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        for key in entries.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let near = known.iter().find(|known| strsim::damerau_levenshtein(name, known) <= 2);
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                let key_shown = format!("{prefix}{}", shown(name));
                problems.push(Problem { span: key.span(), key: key_shown, message: format!("unknown key{hint}") });
            }
        }
        Self { prefix, entries, problems }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'i>>> {
        self.entries.remove(key)
    }

    fn report(&mut self, key: &str, span: Range<usize>, message: impl Into<String>) {
        self.problems.push(Problem { span, key: format!("{}{key}", self.prefix), message: message.into() });
    }

    fn wrong_type(&mut self, key: &str, wanted: &str, span: Range<usize>, value: &DeValue<'_>) {
        self.report(key, span, format!("must be {wanted}, is {}", type_name(value)));
    }

    fn integer(&mut self, key: &'static str) -> Option<Spanned<i64>> {
        let value = self.take(key)?;
        let span = value.span();
        let DeValue::Integer(digits) = value.get_ref() else {
            self.wrong_type(key, "an integer", span, value.get_ref());
            return None;
        };
        match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Some(Spanned::new(span, number)),
            Err(_) => {
                self.report(key, span, "the number is too large");
                None
            }
        }
    }

    fn boolean(&mut self, key: &'static str) -> Option<Spanned<bool>> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::Boolean(truth) => Some(Spanned::new(value.span(), *truth)),
            _ => {
                self.wrong_type(key, "true or false", value.span(), value.get_ref());
                None
            }
        }
    }

    fn string(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Spanned::new(value.span(), text.as_ref().to_owned())),
            _ => {
                self.wrong_type(key, "a string", value.span(), value.get_ref());
                None
            }
        }
    }

    fn strings(&mut self, key: &'static str) -> Option<Spanned<Vec<Spanned<String>>>> {
        let value = self.take(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(key, "an array of strings", value.span(), value.get_ref());
            return None;
        };
        let mut strings = Vec::with_capacity(items.len());
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => strings.push(Spanned::new(item.span(), text.as_ref().to_owned())),
                _ => self.wrong_type(key, "an array of strings", item.span(), item.get_ref()),
            }
        }
        Some(Spanned::new(value.span(), strings))
    }

    fn table(&mut self, key: &'static str) -> Option<DeTable<'i>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(table),
            other => {
                self.wrong_type(key, "a table", span, &other);
                None
            }
        }
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// Text of the file for a message: escaped, and shortened to 64 characters.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 64;
    let mut shown: String = text.chars().take(LONGEST).flat_map(escape).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// A character as it is when it is a printable ASCII one, otherwise by its number: control and bidirectional
/// characters must not reach a terminal.
fn escape(character: char) -> impl Iterator<Item = char> {
    let printable = character.is_ascii_graphic() || character == ' ' || character.is_alphanumeric();
    let (plain, escaped) = if printable { (Some(character), None) } else { (None, Some(character.escape_default())) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}
