//! What has to be restarted for a change to take effect.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use omg::transaction::Restart;

/// What the files say that Debian's and Ubuntu's package scripts leave behind (`/run/reboot-required`,
/// `/run/reboot-required.pkgs`), and which services of this machine still run files that were replaced.
pub fn wanted(root: &Path) -> Restart {
    let machine = ["run/reboot-required", "var/run/reboot-required"].iter().any(|file| root.join(file).exists());
    let packages = fs::read_to_string(root.join("run/reboot-required.pkgs")).unwrap_or_default();
    let packages: BTreeSet<&str> = packages.lines().map(str::trim).filter(|line| machine && !line.is_empty()).collect();
    let services = if root == Path::new("/") { services(Path::new("/proc")) } else { BTreeSet::new() };
    Restart {
        machine,
        packages: packages.into_iter().map(str::to_owned).collect(),
        services: services.into_iter().collect(),
    }
}

/// System services with a process that runs a deleted file: program or library.
fn services(proc: &Path) -> BTreeSet<String> {
    let processes = fs::read_dir(proc).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    processes
        .filter(|process| {
            process.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<u32>().is_ok())
        })
        // First where it belongs: what people run may have maps of any length, and is of no interest here.
        .filter_map(|process| Some((service_of(&fs::read_to_string(process.join("cgroup")).ok()?)?, process)))
        .filter(|(_, process)| {
            let maps = fs::File::open(process.join("maps")).map(BufReader::new);
            maps.is_ok_and(|maps| maps.lines().map_while(Result::ok).any(|line| runs_deleted(&line)))
        })
        .map(|(service, _)| service)
        .collect()
}

/// Whether a line of `maps` (proc_pid_maps(5)) is code of a file that is gone.
fn runs_deleted(line: &str) -> bool {
    let Some(line) = line.strip_suffix(" (deleted)") else { return false };
    let mut fields = line.split_ascii_whitespace();
    let is_code = fields.nth(1).is_some_and(|permissions| permissions.contains('x'));
    let path = fields.nth(3).unwrap_or_default();
    is_code && ["/usr/", "/lib", "/bin/", "/sbin/", "/opt/"].iter().any(|start| path.starts_with(start))
}

/// The unit in a line such as `0::/system.slice/ssh.service` (cgroups(7)).
fn service_of(cgroup: &str) -> Option<String> {
    cgroup.lines().find_map(|line| {
        let path = line.splitn(3, ':').nth(2)?;
        let mut parts = path.trim_start_matches('/').split('/');
        if parts.next()? != "system.slice" {
            return None;
        }
        parts.find(|part| part.ends_with(".service")).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_run_deleted_files_are_named() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, maps: &str, cgroup: &str| {
            fs::create_dir(proc.path().join(pid)).unwrap();
            fs::write(proc.path().join(pid).join("maps"), maps).unwrap();
            fs::write(proc.path().join(pid).join("cgroup"), cgroup).unwrap();
        };
        let gone = "7f00-7f01 r-xp 00000000 fe:01 12 /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)\n";
        let data = "7f00-7f01 rw-s 00000000 00:01 12 /usr/share/x (deleted)\n";
        let memory = "7f00-7f01 r-xp 00000000 00:01 12 /memfd:jit (deleted)\n";
        process("10", gone, "0::/system.slice/ssh.service\n");
        process("11", gone, "1:name=systemd:/system.slice/system-getty.slice/getty@tty1.service\n");
        process("12", gone, "0::/user.slice/user-1000.slice/session-1.scope\n");
        process("13", data, "0::/system.slice/data.service\n");
        process("14", memory, "0::/system.slice/jit.service\n");
        process("self", gone, "0::/system.slice/self.service\n");
        let found: Vec<String> = services(proc.path()).into_iter().collect();
        assert_eq!(found, ["getty@tty1.service", "ssh.service"]);
    }

    #[test]
    fn a_wanted_restart_of_the_machine_names_the_packages_that_want_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("run")).unwrap();
        fs::write(root.path().join("run/reboot-required.pkgs"), "linux\nlibc6\nlinux\n").unwrap();
        assert_eq!(wanted(root.path()), Restart::default());
        fs::write(root.path().join("run/reboot-required"), "").unwrap();
        let expected = Restart { machine: true, packages: vec!["libc6".into(), "linux".into()], services: Vec::new() };
        assert_eq!(wanted(root.path()), expected);
    }
}
