//! Counters.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::lock;

/// How long the requests of one method took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

/// Upper bounds of the buckets that latencies are counted in grow by a half each, from 10 µs on.
const BUCKETS: usize = 40;

#[derive(Debug, Clone)]
struct Method {
    requests: u64,
    failures: u64,
    buckets: [u64; BUCKETS],
    max: u64,
}

impl Default for Method {
    fn default() -> Self {
        Self { requests: 0, failures: 0, buckets: [0; BUCKETS], max: 0 }
    }
}

fn bucket_bound(bucket: usize) -> u64 {
    (10.0 * 1.5_f64.powi(bucket as i32)) as u64
}

/// What the daemon did so far.
#[derive(Debug, Default)]
pub struct Metrics {
    methods: Mutex<BTreeMap<&'static str, Method>>,
    pub(super) fingerprint_checks: AtomicU64,
    pub(super) rebuilds: AtomicU64,
    pub(super) last_rebuild_millis: AtomicU64,
    pub(super) worker_runs: AtomicU64,
    pub(super) last_worker_run: AtomicU64,
    /// Of searches and listings.
    pub(super) search_hits: AtomicU64,
    pub(super) search_misses: AtomicU64,
    pub(super) details_hits: AtomicU64,
    pub(super) details_misses: AtomicU64,
    /// Archives of the AUR that were fetched, and requests to its RPC.
    pub(super) aur_archives: AtomicU64,
    pub(super) aur_requests: AtomicU64,
}

/// One method's counts: name, requests, failures, latency.
pub type MethodReport = (&'static str, u64, u64, Latency);

impl Metrics {
    /// Counts one request.
    pub fn record(&self, method: &'static str, took: Duration, failed: bool) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (0..BUCKETS).find(|bucket| micros <= bucket_bound(*bucket)).unwrap_or(BUCKETS - 1);
        let mut methods = lock(&self.methods);
        let counts = methods.entry(method).or_default();
        counts.requests += 1;
        counts.failures += u64::from(failed);
        counts.max = counts.max.max(micros);
        if let Some(count) = counts.buckets.get_mut(bucket) {
            *count += 1;
        }
    }

    /// Counts by method.
    pub fn methods(&self) -> Vec<MethodReport> {
        lock(&self.methods)
            .iter()
            .map(|(name, method)| {
                let latency = Latency { p50: method.quantile(0.50), p99: method.quantile(0.99), max: method.max };
                (*name, method.requests, method.failures, latency)
            })
            .collect()
    }
}

impl Method {
    /// The bound of the bucket that the quantile falls into, no more than the maximum.
    fn quantile(&self, quantile: f64) -> u64 {
        let rank = (self.requests as f64 * quantile).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return bucket_bound(bucket).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket_of_the_truth() {
        let metrics = Metrics::default();
        for micros in 1..=1000 {
            metrics.record("Search", Duration::from_micros(micros), micros % 10 == 0);
        }
        let (name, requests, failures, latency) = metrics.methods()[0];
        assert_eq!((name, requests, failures, latency.max), ("Search", 1000, 100, 1000));
        assert!((500..=750).contains(&latency.p50), "{latency:?}");
        assert!((990..=1000).contains(&latency.p99), "{latency:?}");
    }
}
