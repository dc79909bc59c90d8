//! What the dictionaries of the contract hold, as types: `GetDetails`, `Status` and `Metrics`.
//!
//! On the wire a key is absent when its value is not known. As JSON (`--json`) the same keys are in snake case, flags
//! are their names and structures are objects.

use std::collections::{BTreeMap, HashMap};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use zbus::Variant;

use super::proxy::Fields;
use crate::package::{Flags, Relation};

/// Everything known about one package (`GetDetails`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all(deserialize = "PascalCase", serialize = "snake_case"))]
pub struct Details {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The candidate, or the installed version where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(deserialize_with = "flags_from_bits")]
    pub flags: Flags,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_size: Option<u64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintainer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pre_depends: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recommends: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suggests: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub enhances: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Every field of the record, by its own name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// Newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<Version>,
    /// Shortest chain from an explicitly installed package to this one; present only when asked for.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "relations")]
    pub why: Option<Vec<Relation>>,
}

/// The version that a pin in the preferences selects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pin {
    pub version: String,
    pub priority: i32,
}

/// One version of a package.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all(deserialize = "PascalCase", serialize = "snake_case"))]
pub struct Version {
    pub version: String,
    pub architecture: String,
    pub priority: i32,
    pub installed: bool,
    pub candidate: bool,
    pub repository: String,
    pub sources: Vec<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// One place a version comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub priority: i32,
    pub description: String,
}

/// State of the daemon and of the packages (`Status`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all(deserialize = "PascalCase", serialize = "snake_case"))]
pub struct Status {
    pub backend: String,
    pub daemon_version: String,
    pub pid: u32,
    /// Seconds.
    pub uptime: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// This count and the next ten are absent while packages cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explicit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgradable: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orphans: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phased: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residual: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_known: Option<LastKnown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vulnerabilities: Option<u32>,
    pub runtimes: Vec<Runtime>,
    /// Upgrades by the package system's own lists, where a newer copy of them has `upgradable`; else absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned: Option<u32>,
    /// When that copy was fetched, Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_refreshed: Option<u64>,
    /// When the package lists were last fetched, Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_refresh: Option<u64>,
    /// Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_created: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aur_packages: Option<u32>,
    /// Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aur_fetched: Option<u64>,
    pub restart_required: bool,
    pub restart_packages: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_holder: Option<LockHolder>,
    pub errors: Vec<String>,
    pub data_dir: String,
    /// `ok`, or why the store cannot be used.
    pub store: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_state: Option<StoreState>,
}

/// What packages were when they were last read, while they cannot be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all(deserialize = "PascalCase", serialize = "snake_case"))]
pub struct LastKnown {
    /// Unix seconds.
    pub time: u64,
    pub generation: u64,
    pub installed: u32,
    pub explicit: u32,
    pub upgradable: u32,
    pub security: u32,
    pub orphans: u32,
}

/// Whether what is stored can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreState {
    Ok,
    /// Another daemon of this user has it.
    InUse,
    Failed,
    /// A word of a newer daemon.
    #[serde(other)]
    Unknown,
}

/// An active language runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runtime {
    pub name: String,
    pub version: String,
}

/// Who holds the package system's lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LockHolder {
    pub pid: u32,
    pub command: String,
}

/// Counters of the running daemon (`Metrics`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all(deserialize = "PascalCase", serialize = "snake_case"))]
pub struct Metrics {
    /// Per method.
    pub requests: BTreeMap<String, u64>,
    /// Per method.
    pub failures: BTreeMap<String, u64>,
    /// Per method.
    pub latency_micros: BTreeMap<String, Latency>,
    /// Calls in flight, the one for these counters among them.
    pub running_calls: u64,
    pub search_cache_hits: u64,
    pub search_cache_misses: u64,
    pub details_cache_hits: u64,
    pub details_cache_misses: u64,
    pub cached_searches: u64,
    pub cached_details: u64,
    pub snapshot_bytes: u64,
    pub resident_bytes: u64,
    pub last_rebuild_millis: u64,
    pub rebuilds: u64,
    pub fingerprint_checks: u64,
    pub worker_runs: u64,
    pub aur_archives: u64,
    pub aur_requests: u64,
    /// Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_worker_run: Option<u64>,
}

/// Microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

/// Reads one of the types above from its dictionary.
///
/// # Errors
/// A key holds another type than the contract says.
pub(super) fn read<T: DeserializeOwned>(fields: &Fields) -> Result<T, serde_json::Error> {
    let members = fields.iter().map(|(key, value)| (key.clone(), json(value)));
    serde_json::from_value(Value::Object(members.collect()))
}

/// As [`read`], from a dictionary that lies in its message.
pub(super) fn read_borrowed<T: DeserializeOwned>(fields: &HashMap<&str, Variant<'_>>) -> Result<T, serde_json::Error> {
    let members = fields.iter().map(|(key, value)| ((*key).to_owned(), json(value)));
    serde_json::from_value(Value::Object(members.collect()))
}

/// As [`read`], from a dictionary inside a variant.
pub(super) fn read_variant<T: DeserializeOwned>(variant: &Variant<'_>) -> Result<T, serde_json::Error> {
    serde_json::from_value(json(variant))
}

/// The value as JSON: structures become arrays, variants what they hold, descriptors null.
fn json(variant: &Variant<'_>) -> Value {
    match variant {
        Variant::U8(value) => (*value).into(),
        Variant::Bool(value) => (*value).into(),
        Variant::I16(value) => (*value).into(),
        Variant::U16(value) => (*value).into(),
        Variant::I32(value) => (*value).into(),
        Variant::U32(value) => (*value).into(),
        Variant::I64(value) => (*value).into(),
        Variant::U64(value) => (*value).into(),
        Variant::F64(value) => (*value).into(),
        Variant::Str(value) => value.as_str().into(),
        Variant::Signature(value) => value.to_string().into(),
        Variant::ObjectPath(value) => value.as_str().into(),
        Variant::Variant(value) => json(value),
        Variant::Array(values) => values.inner().iter().map(json).collect(),
        Variant::Structure(values) => values.fields().iter().map(json).collect(),
        Variant::Dict(members) => {
            let key = |key: &Variant<'_>| match json(key) {
                Value::String(key) => key,
                other => other.to_string(),
            };
            Value::Object(members.iter().map(|(name, value)| (key(name), json(value))).collect::<Map<_, _>>())
        }
        Variant::Fd(_) => Value::Null,
    }
}

fn flags_from_bits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Flags, D::Error> {
    u32::deserialize(deserializer).map(Flags::from_bits_truncate)
}

fn relations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Relation>>, D::Error> {
    let steps = Vec::<(String, String, String)>::deserialize(deserializer).map_err(D::Error::custom)?;
    Ok(Some(steps.into_iter().map(|(from, kind, to)| Relation { from, kind, to }).collect()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use zbus::OwnedVariant;

    use super::*;

    fn owned(value: impl Into<Variant<'static>>) -> OwnedVariant {
        value.into().try_into_owned().expect("no descriptor inside")
    }

    #[test]
    fn details_read_from_the_wire_and_print_in_snake_case() {
        let version: HashMap<&str, Variant<'_>> = HashMap::from([
            ("Version", Variant::from("2.0")),
            ("Installed", Variant::from(true)),
            ("Sources", Variant::from(vec![(500i32, "http://deb bookworm/main")])),
        ]);
        let fields = Fields::from([
            ("Name".into(), owned("curl")),
            ("Flags".into(), owned(3u32 | 1 << 31)),
            ("PreDepends".into(), owned(vec!["dpkg"])),
            ("Pin".into(), owned(("1.0", -5i32))),
            ("Versions".into(), owned(vec![version])),
            ("Why".into(), owned(vec![("git", "Depends", "curl")])),
            ("Unheard".into(), owned("of")),
        ]);
        let details: Details = read(&fields).expect("well-formed");
        assert_eq!(details.flags, Flags::INSTALLED | Flags::EXPLICIT);
        assert_eq!(
            serde_json::to_value(&details).expect("serialises"),
            serde_json::json!({
                "name": "curl",
                "flags": ["installed", "explicit"],
                "pre_depends": ["dpkg"],
                "pin": {"version": "1.0", "priority": -5},
                "versions": [{
                    "version": "2.0", "architecture": "", "priority": 0, "installed": true, "candidate": false,
                    "repository": "", "sources": [{"priority": 500, "description": "http://deb bookworm/main"}],
                }],
                "why": [{"from": "git", "kind": "Depends", "to": "curl"}],
            })
        );
    }

    #[test]
    fn a_key_of_another_type_is_an_error() {
        let fields = Fields::from([("Name".into(), owned(7u32))]);
        assert!(read::<Details>(&fields).is_err());
    }
}
