//! Programs in transient units of the user's service manager (systemd-run(1)).
//!
//! Children share the sandbox of the daemon's own unit, which forbids what compilers and interpreters of other people need.
//! What the service manager starts does not.

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::process::Command;

/// A transient unit of the user's, ended when this is dropped before it has ended by itself.
#[derive(Debug)]
pub struct Unit {
    name: String,
    ended: bool,
}

impl Unit {
    /// It is gone: nothing has to be ended.
    pub fn ended(&mut self) {
        self.ended = true;
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if !self.ended {
            let mut stop = stop(&self.name);
            // The manager may take its time.
            std::thread::spawn(move || stop.status());
        }
    }
}

/// The program that ends units: one, or those that match. That there is none is no failure.
fn stop(units: &str) -> std::process::Command {
    let mut stop = std::process::Command::new("systemctl");
    stop.args(["--user", "--quiet", "stop", "--", units]);
    stop.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    stop
}

/// The unit that this process is the main process of, where it is one of a user manager's. What such a process merely
/// starts has the same environment, but another parent.
fn own_unit() -> Option<String> {
    let manager: i32 = std::env::var("MANAGERPID").ok()?.parse().ok()?;
    if rustix::process::getppid()?.as_raw_nonzero().get() != manager {
        return None;
    }
    unit_of(&std::fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// The unit in what `/proc/PID/cgroup` says, in the hierarchy of control group v2 or in systemd's own beside v1: both may be
/// there, and only one of them be used.
fn unit_of(cgroup: &str) -> Option<String> {
    let units = cgroup.lines().filter_map(|line| match line.splitn(3, ':').collect::<Vec<_>>()[..] {
        ["0", "", path] | [_, "name=systemd", path] => path.rsplit('/').next(),
        _ => None,
    });
    let mut units = units.filter(|unit| unit.ends_with(".service") && !unit.contains(char::is_whitespace));
    units.next().map(str::to_owned)
}

/// Ends the units whose names match. Where there is no manager to ask, nothing runs in its units either.
pub async fn end(pattern: &str) {
    if own_unit().is_some() {
        let _ = Command::from(stop(pattern)).kill_on_drop(true).status().await;
    }
}

/// The program in a unit of its own where this process is one of a user manager's; elsewhere it stays a child, and ends with
/// this process as well. The name of the unit begins with `first` and ends with `last`; in between is what is never the same
/// twice, so that what ends one unit, late, does not end the next one. The environment is the manager's, with the variables
/// that are set for the command: their values are passed on without appearing among arguments, which everybody can read.
pub fn outside(command: Command, first: &str, last: &str, description: &str) -> (Command, Option<Unit>) {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let Some(own) = own_unit() else { return (command, None) };
    let name = format!("{first}-{}-{}-{last}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
    let mut run = Command::new("systemd-run");
    run.args(["--user", "--quiet", "--collect", "--wait", "--pipe", "--unit", &name]);
    run.arg(format!("--description={description}"));
    // However this process ends, the unit ends with it, and at once.
    run.arg(format!("--property=BindsTo={own}")).arg(format!("--property=After={own}"));
    run.arg("--property=KillSignal=SIGKILL");
    if let Some(folder) = command.as_std().get_current_dir() {
        run.arg(format!("--working-directory={}", folder.display()));
    }
    for (name, value) in command.as_std().get_envs() {
        if let (Some(shown), Some(value)) = (name.to_str(), value) {
            run.arg(format!("--setenv={shown}")).env(name, value);
        }
    }
    run.arg("--").arg(command.as_std().get_program()).args(command.as_std().get_args());
    run.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    (run, Some(Unit { name, ended: false }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_last_of_the_control_groups() {
        let path = "/user.slice/user-1000.slice/user@1000.service/app.slice/omgd.service";
        for told in [
            format!("0::{path}\n"),
            format!("2:cpu:/\n1:name=systemd:{path}\n0::/\n"),
            format!("9:name=systemd:/\n0::{path}\n"),
        ] {
            assert_eq!(unit_of(&told).as_deref(), Some("omgd.service"), "{told}");
        }
        for told in ["", "0::/\n", "0::/user.slice/user-1000.slice/session-2.scope\n", "3:cpu:/omgd.service\n"] {
            assert_eq!(unit_of(told), None, "{told}");
        }
    }
}
