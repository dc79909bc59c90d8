//! The command line against a service with canned answers.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/fake_manager.rs"]
mod fake_manager;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use fake_manager::{Bus, Canned, FakeManager, row};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

const OMG: &str = env!("CARGO_BIN_EXE_omg");

fn service() -> FakeManager {
    let mut foreign = row("libc6", "2.36-9", "GNU C Library: i386");
    foreign.2 = "i386".into();
    foreign.5 |= 1 << 11;
    let mut explicit = row("firefox-esr", "140.0-1~deb12u1", "Mozilla Firefox web browser, Extended Support Release");
    explicit.5 |= 2;
    let hostile = row("hostile\u{1b}[2J", "1\u{202e}", "tab\there\nline \u{9b}31m");
    Canned { rows: vec![explicit, row("libcurl4", "7.88", "a library"), foreign, hostile], ..Canned::default() }.start()
}

impl Canned {
    fn start(self) -> FakeManager {
        FakeManager::start(self)
    }
}

/// omg with nothing of the user's environment.
fn omg(service: &FakeManager, arguments: &[&str]) -> Command {
    let mut command = Command::new(OMG);
    command
        .env_clear()
        .env("OMG_SOCKET_PATH", service.socket())
        .env("HOME", service.folder())
        .stdin(Stdio::null())
        .args(arguments);
    command
}

fn run(service: &FakeManager, arguments: &[&str]) -> Output {
    omg(service, arguments).output().expect("omg runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Exit code 0 and nothing on standard error; what was printed.
fn printed(service: &FakeManager, arguments: &[&str]) -> String {
    let output = run(service, arguments);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "omg {arguments:?}");
    stdout(&output)
}

fn json_lines(service: &FakeManager, arguments: &[&str]) -> Vec<Value> {
    printed(service, arguments).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What omg prints on a terminal of so many columns.
fn on_terminal(mut command: Command, columns: u16) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("granted");
    unlockpt(&ours).expect("unlocked");
    let name = ptsname(&ours, Vec::new()).expect("its name").into_string().expect("UTF-8");
    let theirs = std::fs::OpenOptions::new().read(true).write(true).open(name).expect("opened");
    let size = rustix::termios::Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&ours, size).expect("sized");
    let mut child = command.env("TERM", "xterm").stdout(theirs).spawn().expect("omg runs");
    drop(command);
    let mut text = Vec::new();
    let mut terminal = std::fs::File::from(ours);
    let mut piece = [0; 4096];
    // The last writer's end is an error (EIO), not an end of file.
    while let Ok(length @ 1..) = terminal.read(&mut piece) {
        text.extend_from_slice(&piece[..length]);
    }
    assert!(child.wait().expect("ended").success());
    String::from_utf8(text).expect("UTF-8").replace("\r\n", "\n")
}

#[test]
fn a_piped_search_has_tab_separated_columns_that_are_never_cut() {
    let service = service();
    assert_eq!(
        printed(&service, &["search", "firefox"]),
        "firefox-esr\t140.0-1~deb12u1\tbookworm/main\tMozilla Firefox web browser, Extended Support Release\n"
    );
    assert_eq!(printed(&service, &["s", "-q", "lib"]), "libcurl4\nlibc6:i386\n");
}

#[test]
fn nothing_hostile_reaches_the_output() {
    let service = service();
    assert_eq!(
        printed(&service, &["s", "hostile"]),
        "hostile\\u{1b}[2J\t1\\u{202e}\tbookworm/main\ttab\\u{9}here\\u{a}line \\u{9b}31m\n"
    );
    let info = printed(&service, &["info", "libc6"]);
    assert!(info.contains("Summary: a \\u{202e}library\n  first line\n\n  second \\u{1b}]0;x\\u{7}line\n"), "{info}");
    let status = printed(&service, &["status"]);
    assert!(status.contains("held by apt-get\\u{7} (process 77)"), "{status}");
    let raw = printed(&service, &["s", "--json", "hostile"]);
    assert!(raw.contains(r"1\u202e") && raw.contains(r"\u009b31m"), "{raw}");
    let error = run(&service, &["s", "bad"]);
    assert_eq!(stderr(&error), "omg: terms: \\u{1b}[31mtoo long\n");
}

#[test]
fn a_table_fits_the_terminal() {
    let service = service();
    for columns in [40, 60, 80, 200] {
        let mut command = omg(&service, &["search", "fire"]);
        command.env("NO_COLOR", "1");
        let text = on_terminal(command, columns);
        assert!(text.starts_with("NAME"), "{text}");
        assert!(text.contains("firefox-esr"), "{text}");
        assert!(text.lines().all(|line| line.width() <= usize::from(columns)), "{columns}:\n{text}");
        assert_eq!(text.contains('…'), columns < 100, "{text}");
    }
}

#[test]
fn colours_are_for_terminals_and_no_color_switches_them_off() {
    let service = service();
    let arguments = ["search", "firefox"];
    assert!(on_terminal(omg(&service, &arguments), 80).contains('\u{1b}'));
    let mut plain = omg(&service, &arguments);
    plain.env("NO_COLOR", "1");
    assert!(!on_terminal(plain, 80).contains('\u{1b}'));
    assert!(!on_terminal(omg(&service, &["search", "firefox", "--color", "never"]), 80).contains('\u{1b}'));
    assert!(!printed(&service, &arguments).contains('\u{1b}'));
    let status = printed(&service, &["status", "--color=always"]);
    assert!(status.contains("\u{1b}["), "{status}");
}

#[test]
fn rows_are_json_lines() {
    let service = service();
    assert_eq!(
        json_lines(&service, &["explicit", "--json"]),
        [json!({
            "name": "firefox-esr", "version": "140.0-1~deb12u1", "arch": "amd64", "repository": "bookworm/main",
            "summary": "Mozilla Firefox web browser, Extended Support Release", "flags": ["installed", "explicit"],
            "download_size": 1000,
        })]
    );
    let updates = json_lines(&service, &["outdated", "--json"]);
    assert_eq!(updates.len(), 2);
    assert_eq!(
        updates[0],
        json!({
            "name": "openssl", "from": "1.0", "to": "1.1", "arch": "amd64", "repository": "sec", "summary": "s",
            "flags": ["installed", "upgradable", "security"], "size": 2048,
        })
    );
    assert_eq!(
        json_lines(&service, &["why", "libc6", "--json"]),
        [json!({
            "name": "libc6", "explicit": false, "installed": true,
            "chain": [
                {"from": "git", "kind": "Depends", "to": "libcurl4"},
                {"from": "libcurl4", "kind": "Recommends", "to": "libc6"},
            ],
        })]
    );
    assert_eq!(json_lines(&service, &["list", "--repo", "main", "--json", "--limit", "0"]).len(), 4);
}

#[test]
fn single_answers_are_one_json_object() {
    let service = service();
    let info = json_lines(&service, &["info", "libc6", "libcurl4", "--json"]);
    assert_eq!(info.len(), 2);
    assert_eq!(info[0]["name"], "libc6");
    assert_eq!(info[0]["download_size"], 2_200_000);
    assert_eq!(info[0]["fields"], json!({"Multi-Arch": "same"}));
    assert_eq!(info[0]["versions"][0]["sources"][0]["priority"], 500);
    let status = json_lines(&service, &["status", "--json"]);
    assert_eq!(status.len(), 1);
    assert_eq!(status[0]["lock_holder"], json!({"pid": 77, "command": "apt-get\u{7}"}));
    assert_eq!(status[0]["runtimes"], json!([{"name": "node", "version": "22.1.0"}]));
    assert_eq!(status[0].get("vulnerabilities"), None);
    let metrics = json_lines(&service, &["metrics", "--json"]);
    assert_eq!(metrics[0]["latency_micros"]["Search"], json!({"p50": 40, "p99": 90, "max": 1200}));
}

#[test]
fn every_human_verb_prints_what_it_was_told() {
    let service = service();
    assert_eq!(
        printed(&service, &["outdated"]),
        "openssl\t1.0\t1.1\tsec\t2048\tsecurity\nvim\t1.0\t2.0\tsec\t2048\t-\n"
    );
    assert_eq!(
        printed(&service, &["why", "libc6"]),
        "git (explicitly installed) depends on libcurl4\n  libcurl4 recommends libc6\n"
    );
    let status = printed(&service, &["status"]);
    assert!(status.contains("Upgrades\t2, 1 with security fixes\n"), "{status}");
    assert_eq!(printed(&service, &["status", "-q"]), "error: helper \\u{9b}failed\n");
    let all = printed(&service, &["info", "-a", "libc6"]);
    assert!(all.contains("Depends: libgcc-s1, libc6 (>= 2)\n"), "{all}");
    assert!(all.contains("Record\n  Multi-Arch: same\n"), "{all}");
    assert!(all.contains("*** 2.36 amd64 priority 500\n      500 http://deb.debian.org/"), "{all}");
    assert!(printed(&service, &["metrics"]).contains("search cache\t3 hits of 4 (75 %), 0 held\n"));
    assert_eq!(printed(&service, &["cache", "clear"]), "cached answers dropped\n");
    let outdated = on_terminal(omg(&service, &["outdated", "--color", "never"]), 80);
    assert!(outdated.contains("openssl  !  1.0   → 1.1  sec         2.0 KiB  security\n"), "{outdated}");
    assert!(outdated.ends_with("2 upgrades, 4.0 KiB to download, 1 with security fixes (!)\n"), "{outdated}");
}

#[test]
fn a_cut_list_says_so_on_standard_error() {
    let service = service();
    let output = run(&service, &["s", "lib", "--limit", "1"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output).lines().count(), 1);
    assert_eq!(stderr(&output), "omg: only the first is shown; --limit 0 shows all\n");
    assert_eq!(stderr(&run(&service, &["s", "lib", "--limit", "2"])), "");
}

#[test]
fn what_is_not_found_is_exit_code_1_and_nothing_on_standard_output() {
    let service = service();
    let search = run(&service, &["search", "--exact", "nonesuch", "package"]);
    assert_eq!((search.status.code(), stdout(&search).as_str()), (Some(1), ""));
    assert_eq!(stderr(&search), "omg: no package matches “nonesuch package”\n");
    let info = run(&service, &["info", "-q", "libc6", "nonesuch", "libcurl4"]);
    assert_eq!((info.status.code(), stdout(&info).as_str()), (Some(1), "libc6\nlibcurl4\n"));
    assert_eq!(stderr(&info), "omg: no package is named nonesuch; near are libcurl4, libc6\n");
    assert_eq!(run(&service, &["why", "nonesuch"]).status.code(), Some(1));
}

#[test]
fn exit_codes_tell_what_kind_of_error_it_was() {
    let service = service();
    assert_eq!(run(&service, &["search", "bad"]).status.code(), Some(2));
    assert_eq!(run(&service, &["search", "offline"]).status.code(), Some(4));
    let typo = run(&service, &["serch", "x"]);
    assert_eq!(typo.status.code(), Some(2));
    assert!(stderr(&typo).contains("search"), "{}", stderr(&typo));
}

#[test]
fn more_names_than_fit_one_batch_are_all_answered() {
    let service = service();
    let names: Vec<String> = (0..250).map(|number| format!("lib{number}")).collect();
    let mut arguments = vec!["info", "-q"];
    arguments.extend(names.iter().map(String::as_str));
    assert!(printed(&service, &arguments).lines().eq(names));
}

#[test]
fn a_repository_or_group_that_is_not_there_is_named() {
    let service = Canned { rows: Vec::new(), ..Canned::default() }.start();
    for (arguments, text) in [
        (
            ["list", "--repo", "nope"],
            "no repository called “nope” has packages; `omg info NAME` names those that a package is in",
        ),
        (["list", "--group", "nope"], "there is no group “nope” with packages; `omg list --group` lists the groups"),
    ] {
        let output = omg(&service, &arguments).output().expect("omg runs");
        assert_eq!((output.status.code(), stderr(&output)), (Some(1), format!("omg: {text}\n")));
    }
    let output = omg(&service, &["list", "--repo", "nope", "--installed"]).output().expect("omg runs");
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()), "an empty answer is one");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let rows = (0..50_000).map(|number| row(&format!("lib{number}"), "1", "a library")).collect();
    let service = Canned { rows, ..Canned::default() }.start();
    for arguments in [&["list"][..], &["list", "--repo", "main"], &["list", "--json"]] {
        let mut child =
            omg(&service, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("omg runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        assert!(line.contains("lib0"), "{line}");
        let output = child.wait_with_output().expect("ended");
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let service = service();
    let full = std::fs::File::create("/dev/full").expect("opened");
    let output = omg(&service, &["list"]).stdout(full).output().expect("omg runs");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("cannot write to standard output"), "{}", stderr(&output));
}

#[test]
fn a_call_that_meets_an_ending_daemon_is_repeated() {
    let service = Canned { close_first: 1, rows: vec![row("curl", "7", "tool")], ..Canned::default() }.start();
    assert_eq!(printed(&service, &["s", "-q", "curl"]), "curl\n");
}

#[test]
fn without_any_daemon_the_error_tells_what_was_tried() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let output = Command::new(OMG)
        .env_clear()
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("OMG_DAEMON", folder.path().join("none"))
        .args(["search", "x"])
        .output()
        .expect("omg runs");
    assert_eq!(output.status.code(), Some(3));
    let text = stderr(&output);
    for part in ["no way to omgd worked", "omg.sock", "session bus: there is none", "OMG_DAEMON"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_daemon_that_does_not_start_for_its_configuration_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let config = folder.path().join("omg/config.toml");
    std::fs::create_dir(folder.path().join("omg")).expect("folder");
    std::fs::write(&config, "idle-timout = 5\n").expect("config.toml");
    let output = Command::new(OMG)
        .env_clear()
        .env("HOME", folder.path())
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .args(["search", "x"])
        .output()
        .expect("omg runs");
    let wrong = format!("{}:1:1: idle-timout: unknown key; did you mean `idle-timeout`?", config.display());
    assert_eq!(stderr(&output), format!("omg: omgd does not start: {wrong}\n"));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn wrong_arguments_are_told_in_json_to_who_asks_for_it() {
    for (arguments, text) in [
        (&["search", "--json", "--limit", "many", "x"][..], "invalid value 'many' for '--limit <N>'"),
        (&["--json", "serach", "x"][..], "unrecognized subcommand 'serach'"),
    ] {
        let output = Command::new(OMG).env_clear().args(arguments).output().expect("omg runs");
        assert_eq!(output.status.code(), Some(2));
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
        let message = told["error"]["message"].as_str().expect("a message");
        assert!(message.starts_with(text), "{message}");
        assert!(stderr(&output).contains(text));
    }
    let plain = Command::new(OMG).env_clear().args(["search", "--limit", "many", "x"]).output().expect("omg runs");
    assert!(plain.stdout.is_empty());
}

#[test]
fn a_named_socket_is_the_only_way_tried() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let missing = folder.path().join("none.sock");
    let service = service();
    let output = omg(&service, &["--socket", missing.to_str().expect("UTF-8"), "s", "x"]).output().expect("omg runs");
    assert_eq!(output.status.code(), Some(3));
    let text = stderr(&output);
    assert!(text.contains("cannot use the socket") && text.contains("none.sock"), "{text}");
}

#[test]
fn a_stale_socket_leads_to_a_private_daemon_which_is_ended() {
    let folder = tempfile::tempdir().expect("temporary folder");
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("omg.sock")).expect("bound"));
    // A daemon that says that it was started, and ends when its peer does.
    let daemon = folder.path().join("omgd");
    let script = "#!/bin/sh\necho \"$1\" > \"$MARK\"\nhead -c 8 <&0 >/dev/null\nexit 1\n";
    std::fs::write(&daemon, script).expect("written");
    std::fs::set_permissions(&daemon, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let output = Command::new(OMG)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("OMG_DAEMON", &daemon)
        .env("MARK", folder.path().join("mark"))
        .args(["search", "x"])
        .output()
        .expect("omg runs");
    assert_eq!(std::fs::read_to_string(folder.path().join("mark")).expect("it ran"), "--private\n");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("refused") && stderr(&output).contains("private omgd"), "{}", stderr(&output));
}

#[test]
fn what_a_private_daemon_says_before_it_ends_is_told() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let daemon = folder.path().join("omgd");
    let problem = "config.toml:1:1: idle-timout: unknown key";
    for code in [2, 3] {
        std::fs::write(&daemon, format!("#!/bin/sh\necho ' ERROR {problem}' >&2\nexit {code}\n")).expect("written");
        std::fs::set_permissions(&daemon, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let output = Command::new(OMG)
            .env_clear()
            .env("XDG_RUNTIME_DIR", folder.path())
            .env("OMG_DAEMON", &daemon)
            .args(["list"])
            .output()
            .expect("omg runs");
        assert_eq!(output.status.code(), Some(code));
        assert!(stderr(&output).contains(&format!("it said: ERROR {problem}")), "{}", stderr(&output));
    }
}

#[test]
fn doctor_reports_a_configuration_that_is_not_valid() {
    let service = service();
    std::fs::create_dir_all(service.folder().join(".config/omg")).expect("folder");
    std::fs::write(service.folder().join(".config/omg/config.toml"), "idle-timout = 5\n").expect("written");
    let output = stdout(&run(&service, &["doctor", "--json"]));
    let check: Value = serde_json::from_str(output.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&check["check"], &check["state"]), (&json!("configuration"), &json!("fail")));
    assert!(check["detail"].as_str().expect("text").contains("config.toml:1:1: idle-timout"), "{check}");
}

/// This program is also the private daemon that the tests below let omg start.
#[test]
fn serves_its_standard_input_when_it_is_started_as_a_daemon() {
    if std::env::var_os("SERVE_STANDARD_INPUT").is_some() {
        let rows = vec![row("curl", "7", "from the private daemon")];
        fake_manager::serve_standard_input(Canned { rows, ..Canned::default() });
    }
}

/// omg in a session without a socket, with this program as the daemon to start privately; its process id lands in
/// the file `pid` of the folder.
fn omg_with_private_daemon(folder: &std::path::Path, arguments: &[&str]) -> Command {
    let script = "#!/bin/sh\n[ \"$1\" = --private ] || exit 2\necho $$ > \"$PID_FILE\"\n\
        exec \"$TESTS\" --exact serves_its_standard_input_when_it_is_started_as_a_daemon\n";
    let daemon = folder.join("omgd");
    std::fs::write(&daemon, script).expect("written");
    std::fs::set_permissions(&daemon, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let mut command = Command::new(OMG);
    command
        .env_clear()
        .env("XDG_RUNTIME_DIR", folder)
        .env("OMG_DAEMON", &daemon)
        .env("PID_FILE", folder.join("pid"))
        .env("TESTS", std::env::current_exe().expect("this program"))
        .env("SERVE_STANDARD_INPUT", "1")
        .args(arguments);
    command
}

fn assert_ended(folder: &std::path::Path) {
    let pid = std::fs::read_to_string(folder.join("pid")).expect("the daemon ran");
    assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "process {pid} still runs");
}

#[test]
fn without_a_socket_or_a_bus_a_private_daemon_answers_and_ends() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let output = omg_with_private_daemon(folder.path(), &["s", "curl"]).output().expect("omg runs");
    assert_eq!(stderr(&output), "");
    assert_eq!(stdout(&output), "curl\t7\tbookworm/main\tfrom the private daemon\n");
    assert_ended(folder.path());
}

#[test]
fn a_bus_that_cannot_start_the_daemon_leads_to_a_private_one() {
    let Some(bus) = Bus::start(None) else {
        eprintln!("skipped: dbus-daemon is not installed");
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut command = omg_with_private_daemon(folder.path(), &["s", "curl"]);
    let output = command.env("DBUS_SESSION_BUS_ADDRESS", &bus.address).output().expect("omg runs");
    assert_eq!(stderr(&output), "");
    assert_eq!(stdout(&output), "curl\t7\tbookworm/main\tfrom the private daemon\n");
    assert_ended(folder.path());
}

#[test]
fn on_the_session_bus_the_daemon_is_used_seen_and_only_stopped_when_it_is_ours() {
    let Some(bus) = Bus::start(Some(Canned { rows: vec![row("curl", "7", "from the bus")], ..Canned::default() }))
    else {
        eprintln!("skipped: dbus-daemon is not installed");
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let on_bus = |arguments: &[&str]| {
        Command::new(OMG)
            .env_clear()
            .env("XDG_RUNTIME_DIR", folder.path())
            .env("DBUS_SESSION_BUS_ADDRESS", &bus.address)
            .args(arguments)
            .output()
            .expect("omg runs")
    };
    assert_eq!(stdout(&on_bus(&["s", "curl"])), "curl\t7\tbookworm/main\tfrom the bus\n");
    assert_eq!(stdout(&on_bus(&["list", "--repo", "main", "-q"])), "curl\n");
    let status: Value = serde_json::from_slice(&on_bus(&["daemon", "status", "--json"]).stdout).expect("JSON");
    assert_eq!((&status["running"], &status["route"]), (&json!(true), &json!("session bus")));
    assert_eq!(status["pid"], std::process::id());
    assert!(status["resident_bytes"].as_u64().expect("a number") > 1 << 20);
    let stop = on_bus(&["daemon", "stop"]);
    assert_eq!(stop.status.code(), Some(5), "{}", stderr(&stop));
    assert!(stderr(&stop).contains("not an omgd of this user"), "{}", stderr(&stop));
}

#[test]
fn asking_whether_the_daemon_runs_starts_none() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let listener = std::os::unix::net::UnixListener::bind(folder.path().join("omg.sock")).expect("bound");
    listener.set_nonblocking(true).expect("non-blocking");
    let daemon = |action: &str| {
        Command::new(OMG)
            .env_clear()
            .env("XDG_RUNTIME_DIR", folder.path())
            .args(["daemon", action, "--json"])
            .output()
            .expect("omg runs")
    };
    let status = daemon("status");
    assert_eq!((status.status.code(), stdout(&status).as_str()), (Some(1), "{\"running\":false}\n"));
    let stop = daemon("stop");
    assert_eq!((stop.status.code(), stdout(&stop).as_str()), (Some(0), "{\"stopped\":false}\n"));
    // A listener of another program, as systemd's, was not even connected to.
    assert_eq!(listener.accept().map_err(|error| error.kind()).err(), Some(std::io::ErrorKind::WouldBlock));
}

#[test]
fn logs_need_the_journal() {
    let service = service();
    let output = omg(&service, &["daemon", "logs"]).env("PATH", service.folder()).output().expect("omg runs");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("journalctl is not installed"), "{}", stderr(&output));
}

#[test]
fn doctor_names_what_is_wrong() {
    let service = service();
    let output = run(&service, &["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let checks: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let state = |name: &str| {
        let check = checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("{name}: {checks:?}"));
        check["state"].as_str().expect("a word").to_owned()
    };
    assert_eq!(
        ["daemon", "backend", "index", "lock", "store", "error", "status file"].map(state),
        ["ok", "ok", "ok", "warn", "ok", "fail", "warn"]
    );
    // The fake's socket is open to others.
    assert_eq!(state("socket"), "fail");
}

#[test]
fn a_completion_script_as_json_is_the_script_in_an_object() {
    let service = service();
    for shell in ["bash", "zsh", "fish"] {
        let object: Value = serde_json::from_str(&printed(&service, &["completions", shell, "--json"])).expect("JSON");
        assert_eq!(object, json!({"shell": shell, "script": printed(&service, &["completions", shell])}));
    }
}

#[test]
fn completion_scripts_parse_in_their_shells() {
    let service = service();
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = service.folder().join(shell);
        std::fs::write(&script, printed(&service, &["completions", shell])).expect("written");
        match Command::new(shell).arg(check).arg(&script).output() {
            Ok(output) => assert!(output.status.success(), "{shell}: {}", stderr(&output)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("skipped: {shell} is not installed");
            }
            Err(error) => panic!("{shell}: {error}"),
        }
    }
}

#[test]
fn bash_completes_package_names_from_the_daemon() {
    let service = service();
    let script = service.folder().join("omg.bash");
    std::fs::write(&script, printed(&service, &["completions", "bash"])).expect("written");
    let bin = std::path::Path::new(OMG).parent().expect("a folder").display().to_string();
    let complete = |words: &str, position: usize, word: &str, previous: &str| {
        let commands = format!(
            "source '{}'; COMP_WORDS=({words}); COMP_CWORD={position}; _omg_packages omg '{word}' '{previous}'; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        let output = Command::new("bash")
            .args(["--norc", "-c", &commands])
            .env_clear()
            .env("PATH", format!("{bin}:/usr/bin:/bin"))
            .env("OMG_SOCKET_PATH", service.socket())
            .output()
            .expect("bash runs");
        stdout(&output).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete("omg info lib", 2, "lib", "info"), ["libcurl4", "libc6"]);
    assert_eq!(complete("omg --color never s fire", 4, "fire", "s"), ["firefox-esr"]);
    assert_eq!(complete("omg install --yes lib", 3, "lib", "--yes"), ["libcurl4", "libc6"]);
    assert_eq!(complete("omg mark explicit lib", 3, "lib", "explicit"), ["libcurl4", "libc6:i386"]);
    assert!(complete("omg mark exp", 2, "exp", "mark").contains(&"explicit".to_owned()));
    assert_eq!(complete("omg info host", 2, "host", "info"), [""], "hostile names are left out");
    assert!(complete("omg list --exp", 2, "--exp", "list").contains(&"--explicit".to_owned()));
}

#[test]
fn fish_completes_package_names_from_the_daemon() {
    let service = service();
    let script = service.folder().join("omg.fish");
    std::fs::write(&script, printed(&service, &["completions", "fish"])).expect("written");
    let bin = std::path::Path::new(OMG).parent().expect("a folder").display().to_string();
    let fish = Command::new("fish")
        .args(["--no-config", "-c", &format!("source '{}'; complete -C 'omg info lib'", script.display())])
        .env_clear()
        .env("HOME", service.folder())
        .env("PATH", format!("{bin}:/usr/bin:/bin"))
        .env("OMG_SOCKET_PATH", service.socket())
        .output();
    match fish {
        Ok(output) => assert_eq!(stdout(&output).lines().collect::<Vec<_>>(), ["libc6", "libcurl4"]),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => eprintln!("skipped: fish is not installed"),
        Err(error) => panic!("fish: {error}"),
    }
}

#[test]
fn completion_never_fails() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let output = Command::new(OMG)
        .env_clear()
        .env("OMG_SOCKET_PATH", folder.path().join("none"))
        .args(["complete", "--", "-x"])
        .output()
        .expect("omg runs");
    assert_eq!((output.status.code(), stdout(&output), stderr(&output)), (Some(0), String::new(), String::new()));
}

#[test]
fn there_is_a_manual_page_for_every_verb() {
    let service = service();
    let dir = service.folder().join("man");
    run(&service, &["man", "--dir", dir.to_str().expect("UTF-8")]);
    for page in [
        "omg.1",
        "omg-search.1",
        "omg-info.1",
        "omg-daemon.1",
        "omg-daemon-status.1",
        "omg-outdated.1",
        "omg-install.1",
        "omg-mark-explicit.1",
        "omg-history-show.1",
        "omg-audit-verify.1",
    ] {
        let text = std::fs::read_to_string(dir.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".TH"), "{page}");
    }
    assert!(std::fs::read_to_string(dir.join("omg-list.1")).expect("a page").contains("download_size"));
    assert!(printed(&service, &["man"]).contains(".TH omg 1"));
}

#[test]
fn the_help_of_every_verb_begins_with_what_the_list_of_verbs_says_of_it() {
    let help = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_omg")).arg("help").args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let list = help(&[]);
    let verbs = list.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs: Vec<_> = verbs.filter_map(|line| line.trim().split_once(' ')).collect();
    assert!(verbs.len() > 20, "{list}");
    for (verb, about) in verbs.iter().filter(|(verb, _)| *verb != "help") {
        let about = about.trim().split(" [alias").next().unwrap();
        assert!(help(&[verb]).starts_with(about), "{verb}: {about}");
    }
}
