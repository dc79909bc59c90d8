//! `omg daemon`

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

use super::Failure;
use super::output::format::{bytes, duration};
use super::output::{DIM, GOOD, Output, WARN};
use super::status::print_pairs;
use crate::dbus::client::{Client, ClientError, ConnectOptions, running, stop as stop_daemon};
use crate::dbus::names::SERVICE_UNIT;
use crate::dbus::reply::Status;

/// What can be seen from outside is printed also when the daemon hangs.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

#[derive(Default, Serialize)]
struct DaemonStatus {
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime: Option<u64>,
    /// Memory in RAM.
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_bytes: Option<u64>,
    /// As above, shared memory divided by its sharers.
    #[serde(skip_serializing_if = "Option::is_none")]
    proportional_bytes: Option<u64>,
}

/// Says whether the daemon runs; does not start it.
pub async fn status(options: &ConnectOptions, out: &mut Output) -> Result<(), Failure> {
    let Some(running) = running(options).await else {
        if out.is_json() {
            out.json(&DaemonStatus::default());
        } else if !out.quiet() {
            out.line("not running; the first call starts it");
        }
        return Err(Failure::Reported(1));
    };
    let answer = match tokio::time::timeout(ANSWER_WAIT, ask(options)).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            out.note(WARN, &error.to_string());
            None
        }
        Err(_) => {
            out.note(WARN, &format!("omgd gave no answer within {} s", ANSWER_WAIT.as_secs()));
            None
        }
    };
    let status = DaemonStatus {
        running: true,
        pid: Some(running.pid),
        route: Some(running.route.to_string()),
        version: answer.as_ref().map(|answer| answer.daemon_version.clone()),
        uptime: answer.as_ref().map(|answer| answer.uptime),
        resident_bytes: kib_line(running.pid, "status", "VmRSS:"),
        proportional_bytes: kib_line(running.pid, "smaps_rollup", "Pss:"),
    };
    if out.is_json() {
        out.json(&status);
    } else if !out.quiet() {
        print(&status, out);
    }
    Ok(())
}

async fn ask(options: &ConnectOptions) -> Result<Status, ClientError> {
    let mut client = Client::connect(options).await?;
    let status = client.status().await;
    client.close().await;
    status
}

fn print(status: &DaemonStatus, out: &mut Output) {
    let pid = status.pid.map(|pid| pid.to_string());
    let uptime = status.uptime.map(duration);
    let resident = status.resident_bytes.map(bytes);
    let proportional = status.proportional_bytes.map(bytes);
    let rows = [
        ("State", Some("running"), GOOD),
        ("Process", pid.as_deref(), DIM),
        ("Reached by", status.route.as_deref(), DIM),
        ("Version", status.version.as_deref(), DIM),
        ("Up", uptime.as_deref(), DIM),
        ("Resident", resident.as_deref(), DIM),
        ("Proportional", proportional.as_deref(), DIM),
    ];
    print_pairs(rows.into_iter().filter_map(|(key, value, style)| Some((key, value?, style))), out);
}

/// The number behind `key` in a file of /proc/PID that counts in KiB, as bytes (proc_pid_status(5), proc_pid_smaps(5)).
fn kib_line(pid: u32, file: &str, key: &str) -> Option<u64> {
    let content = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = content.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Stops the daemon and waits until it is gone.
pub async fn stop(options: &ConnectOptions, out: &mut Output) -> Result<(), Failure> {
    let running = running(options).await;
    if let Some(running) = &running {
        stop_daemon(running).map_err(Failure::Stop)?;
    }
    if out.is_json() {
        out.json(&serde_json::json!({"stopped": running.is_some()}));
    } else if !out.quiet() {
        out.line(if running.is_some() { "stopped" } else { "it was not running" });
    }
    Ok(())
}

/// Becomes journalctl; comes back only when that fails.
pub fn logs(out: &Output) -> Result<(), Failure> {
    let format = if out.is_json() { "--output=json" } else { "--output=short" };
    let error = Command::new("journalctl").args(["--user", "--unit", SERVICE_UNIT, format]).exec();
    Err(Failure::Internal(if error.kind() == io::ErrorKind::NotFound {
        "journalctl is not installed: without the journal omgd logs to standard error; `omgd --foreground` shows it"
            .into()
    } else {
        format!("cannot run journalctl: {error}")
    }))
}
