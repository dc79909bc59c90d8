//! The dictionaries (`a{sv}`) of the contract: details, status, metrics. What is not known has no key.

use std::collections::{BTreeMap, HashMap};

use zbus::Variant;

use crate::engine::{DetailsAnswer, Metrics, MetricsReport, PackagesReport, StatusReport, StoreUnavailable};
use crate::package::{VersionDetails, split_relations};

/// A dictionary under construction.
pub type Dictionary = HashMap<&'static str, Variant<'static>>;

/// Fields of a record that have a key of their own, with that key: Debian's names, then pacman's.
const TEXT_FIELDS: [(&str, &str); 8] = [
    ("Section", "Section"),
    ("Priority", "Priority"),
    ("Homepage", "Homepage"),
    ("Maintainer", "Maintainer"),
    ("Source", "Source"),
    ("URL", "Homepage"),
    ("Packager", "Maintainer"),
    ("Base", "Source"),
];

/// Relation fields of a record, with their keys: Debian's names, then those of pacman's that differ.
const RELATION_FIELDS: [(&str, &str); 12] = [
    ("Groups", "Groups"),
    ("Depends", "Depends"),
    ("Depends On", "Depends"),
    ("Conflicts With", "Conflicts"),
    ("Pre-Depends", "PreDepends"),
    ("Recommends", "Recommends"),
    ("Suggests", "Suggests"),
    ("Enhances", "Enhances"),
    ("Conflicts", "Conflicts"),
    ("Breaks", "Breaks"),
    ("Replaces", "Replaces"),
    ("Provides", "Provides"),
];

/// What `GetDetails` tells of a package.
#[derive(Debug, Clone)]
pub struct Told {
    /// How it came to be installed.
    pub why: bool,
    /// All versions that are known.
    pub versions: bool,
    /// These fields of the record; `None`: all.
    pub fields: Option<Vec<String>>,
}

impl Default for Told {
    fn default() -> Self {
        Self { why: false, versions: true, fields: None }
    }
}

/// The dictionary of `GetDetails` for one package.
pub fn details(answer: &DetailsAnswer, told: &Told) -> Dictionary {
    let details = &answer.details;
    let candidate = details.versions.iter().find(|version| version.candidate);
    let installed = details.versions.iter().find(|version| version.installed);
    let mut dictionary = Dictionary::new();
    dictionary.insert("Name", answer.name.clone().into());
    dictionary.insert("Flags", answer.flags.bits().into());
    if let Some(version) = candidate {
        dictionary.insert("Candidate", version.version.clone().into());
    }
    if let Some(version) = installed {
        dictionary.insert("Installed", version.version.clone().into());
    }
    if let Some(shown) = candidate.or(installed).or(details.versions.first()) {
        describe(&mut dictionary, shown, told);
        // The record is taken apart once, and not for each field again.
        let fields: Vec<(&str, &str)> = shown.fields().collect();
        let valued = |name: &str| fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        for (field, key) in TEXT_FIELDS {
            if let Some((_, value)) = valued(field) {
                dictionary.insert(key, (*value).to_owned().into());
            }
        }
        for (field, key) in RELATION_FIELDS {
            let relations: Vec<String> =
                valued(field).map(|(_, value)| split_relations(value).map(unfold).collect()).unwrap_or_default();
            if !relations.is_empty() {
                dictionary.insert(key, relations.into());
            }
        }
    }
    if let Some(pin) = &details.pin {
        dictionary.insert("Pin", pin.clone().into());
    }
    if told.versions {
        let versions: Vec<Dictionary> = details.versions.iter().map(|known| version(known, told)).collect();
        dictionary.insert("Versions", versions.into());
    }
    if told.why {
        let chain: Vec<(String, String, String)> = answer
            .why
            .iter()
            .map(|relation| (relation.from.clone(), relation.kind.clone(), relation.to.clone()))
            .collect();
        dictionary.insert("Why", chain.into());
    }
    dictionary
}

fn version(version: &VersionDetails, told: &Told) -> Dictionary {
    let mut dictionary = Dictionary::new();
    describe(&mut dictionary, version, told);
    // In the number type of the contract: `apt-cache policy` prints the same.
    dictionary.insert("Priority", version.priority.into());
    dictionary.insert("Installed", version.installed.into());
    dictionary.insert("Candidate", version.candidate.into());
    let sources: Vec<(i32, String)> =
        version.sources.iter().map(|source| (source.priority, source.description.clone())).collect();
    dictionary.insert("Sources", sources.into());
    dictionary
}

/// The keys that a package and each of its versions share.
fn describe(dictionary: &mut Dictionary, version: &VersionDetails, told: &Told) {
    let texts = [
        ("Version", &version.version),
        ("Architecture", &version.arch),
        ("Repository", &version.repository),
        ("Summary", &version.summary),
        ("Description", &version.description),
    ];
    for (key, text) in texts {
        if !text.is_empty() {
            dictionary.insert(key, text.clone().into());
        }
    }
    for (key, size) in [("DownloadSize", version.download_size), ("InstalledSize", version.installed_size)] {
        if size > 0 {
            dictionary.insert(key, size.into());
        }
    }
    let is_told = |name: &str| {
        told.fields.as_ref().is_none_or(|fields| fields.iter().any(|field| field.eq_ignore_ascii_case(name)))
    };
    let fields = version.fields().filter(|(name, _)| is_told(name));
    let fields: BTreeMap<String, String> = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if told.fields.is_none() || !fields.is_empty() {
        dictionary.insert("Fields", fields.into());
    }
}

/// A relation on one line: fields may be folded over several.
fn unfold(relation: &str) -> String {
    relation.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The dictionary of `Status`.
pub fn status(report: &StatusReport) -> Dictionary {
    let mut dictionary = Dictionary::from([
        ("Backend", report.backend.clone().into()),
        ("DaemonVersion", env!("CARGO_PKG_VERSION").into()),
        ("Pid", std::process::id().into()),
        ("Uptime", report.uptime.into()),
        ("Runtimes", report.runtimes.clone().into()),
        ("RestartRequired", report.restart_required.into()),
        ("RestartPackages", report.restart_packages.clone().into()),
        ("Errors", report.errors.clone().into()),
        ("DataDir", report.data_dir.to_string_lossy().into_owned().into()),
        ("Store", report.store.as_ref().map_or_else(|| "ok".to_owned(), ToString::to_string).into()),
        ("StoreState", store_state(report.store.as_ref()).into()),
    ]);
    match &report.packages {
        PackagesReport::Read { generation, counts, last_refresh, snapshot_created, snapshot_bytes, aur, ahead } => {
            dictionary.extend([
                ("Generation", Variant::from(*generation)),
                ("Packages", counts.packages.into()),
                ("Installed", counts.installed.into()),
                ("Explicit", counts.explicit.into()),
                ("Upgradable", counts.upgradable.into()),
                ("Security", counts.security.into()),
                ("Orphans", counts.orphans.into()),
                ("Foreign", counts.foreign.into()),
                ("Held", counts.held.into()),
                ("Phased", counts.phased.into()),
                ("Residual", counts.residual.into()),
                ("Broken", counts.broken.into()),
                ("SnapshotCreated", (*snapshot_created).into()),
                ("SnapshotBytes", (*snapshot_bytes).into()),
            ]);
            if let Some((packages, fetched)) = aur {
                dictionary.extend([("AurPackages", (*packages).into()), ("AurFetched", (*fetched).into())]);
            }
            if *last_refresh > 0 {
                dictionary.insert("LastRefresh", (*last_refresh).into());
            }
            if let Some(ahead) = ahead {
                dictionary.insert("CopyRefreshed", ahead.refreshed.into());
                dictionary.insert("Planned", ahead.planned.into());
            }
        }
        PackagesReport::Unreadable { last_known: Some(known) } => {
            let known = Dictionary::from([
                ("Time", known.time.into()),
                ("Generation", known.generation.into()),
                ("Installed", known.installed.into()),
                ("Explicit", known.explicit.into()),
                ("Upgradable", known.upgradable.into()),
                ("Security", known.security.into()),
                ("Orphans", known.orphans.into()),
            ]);
            dictionary.insert("LastKnown", known.into());
        }
        PackagesReport::Unreadable { last_known: None } => {}
    }
    if let Some(holder) = &report.lock_holder {
        dictionary.insert("LockHolder", (holder.pid, holder.command.clone()).into());
    }
    dictionary
}

fn store_state(unavailable: Option<&StoreUnavailable>) -> &'static str {
    match unavailable {
        None => "ok",
        Some(StoreUnavailable::InUse { .. }) => "in-use",
        Some(_) => "failed",
    }
}

/// The dictionary of `Metrics`, of a daemon with `running` calls in flight.
pub fn metrics(metrics: &Metrics, report: &MetricsReport, running: usize) -> Dictionary {
    let methods = metrics.methods();
    let requests: BTreeMap<String, u64> =
        methods.iter().map(|(name, requests, _, _)| ((*name).to_owned(), *requests)).collect();
    let failures: BTreeMap<String, u64> =
        methods.iter().map(|(name, _, failures, _)| ((*name).to_owned(), *failures)).collect();
    let latency: BTreeMap<String, (u64, u64, u64)> = methods
        .iter()
        .map(|(name, _, _, latency)| ((*name).to_owned(), (latency.p50, latency.p99, latency.max)))
        .collect();
    let mut dictionary = Dictionary::from([
        ("Requests", requests.into()),
        ("Failures", failures.into()),
        ("LatencyMicros", latency.into()),
        ("RunningCalls", (running as u64).into()),
        ("SearchCacheHits", report.search_hits.into()),
        ("SearchCacheMisses", report.search_misses.into()),
        ("DetailsCacheHits", report.details_hits.into()),
        ("DetailsCacheMisses", report.details_misses.into()),
        ("CachedSearches", report.cached_searches.into()),
        ("CachedDetails", report.cached_details.into()),
        ("SnapshotBytes", report.snapshot_bytes.into()),
        ("ResidentBytes", report.resident_bytes.into()),
        ("LastRebuildMillis", report.last_rebuild_millis.into()),
        ("Rebuilds", report.rebuilds.into()),
        ("FingerprintChecks", report.fingerprint_checks.into()),
        ("WorkerRuns", report.worker_runs.into()),
        ("AurArchives", report.aur_archives.into()),
        ("AurRequests", report.aur_requests.into()),
    ]);
    if report.last_worker_run > 0 {
        dictionary.insert("LastWorkerRun", report.last_worker_run.into());
    }
    dictionary
}
