//! `omg metrics`

use super::Failure;
use super::output::{Cell, DIM, NAME, Output, Table, format};
use crate::dbus::client::Client;
use crate::dbus::reply::Metrics;

pub async fn run(client: &mut Client, out: &mut Output) -> Result<(), Failure> {
    let metrics = client.metrics().await?;
    if out.is_json() {
        out.json(&metrics);
        return Ok(());
    }
    print_methods(&metrics, out);
    print_counters(&metrics, out);
    Ok(())
}

fn print_methods(metrics: &Metrics, out: &mut Output) {
    if !out.is_terminal() {
        for (method, requests) in &metrics.requests {
            let failures = metrics.failures.get(method).copied().unwrap_or_default();
            let latency = metrics.latency_micros.get(method);
            let [p50, p99, max] = match latency.map(|latency| [latency.p50, latency.p99, latency.max]) {
                Some(micros) => micros.map(|micros| micros.to_string()),
                None => Default::default(),
            };
            out.columns(&[method, &requests.to_string(), &failures.to_string(), &p50, &p99, &max]);
        }
        return;
    }
    let mut table = Table::new(["METHOD", "REQUESTS", "FAILURES", "P50", "P99", "MAX"]);
    for (method, requests) in &metrics.requests {
        let failures = metrics.failures.get(method).copied().unwrap_or_default();
        let latency = metrics.latency_micros.get(method);
        let micros = |value: Option<u64>| {
            Cell::from(value.map_or(String::new(), |value| format!("{} µs", format::count(value))))
        };
        table.push([
            Cell::new(method).styled(NAME),
            Cell::from(format::count(*requests)),
            Cell::from(format::count(failures)),
            micros(latency.map(|latency| latency.p50)),
            micros(latency.map(|latency| latency.p99)),
            micros(latency.map(|latency| latency.max)),
        ]);
    }
    table.print(out);
    if !table.is_empty() && !out.quiet() {
        out.newline();
    }
}

fn print_counters(metrics: &Metrics, out: &mut Output) {
    let cache = |hits: u64, misses: u64, held: u64| {
        let asked = hits.saturating_add(misses);
        let percent = if asked == 0 { 0 } else { u128::from(hits) * 100 / u128::from(asked) };
        let hits = format::counted(hits, "hit");
        format!("{hits} of {} ({percent} %), {} held", format::count(asked), format::count(held))
    };
    let worker = match metrics.last_worker_run {
        Some(time) => format!("{}, the last {}", format::counted(metrics.worker_runs, "run"), format::ago(time)),
        None => format::counted(metrics.worker_runs, "run"),
    };
    let rebuilds = match metrics.rebuilds {
        0 => "0".to_owned(),
        count => format!("{}, the last in {} ms", format::count(count), format::count(metrics.last_rebuild_millis)),
    };
    let rows = [
        ("running calls", format::count(metrics.running_calls)),
        ("search cache", cache(metrics.search_cache_hits, metrics.search_cache_misses, metrics.cached_searches)),
        ("details cache", cache(metrics.details_cache_hits, metrics.details_cache_misses, metrics.cached_details)),
        ("snapshot", format::bytes(metrics.snapshot_bytes)),
        ("resident memory", format::bytes(metrics.resident_bytes)),
        ("index rebuilds", rebuilds),
        ("fingerprint checks", format::count(metrics.fingerprint_checks)),
        ("worker", worker),
    ];
    super::status::print_pairs(rows.iter().map(|(key, value)| (*key, value.as_str(), DIM)), out);
}
