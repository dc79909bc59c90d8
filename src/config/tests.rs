//! The configuration from its bytes to settings, and the paths from an environment.

use super::*;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

fn settings(text: &str) -> Result<Settings, String> {
    ConfigFile::from_bytes(Path::new("config.toml"), text.as_bytes().to_vec())
        .and_then(|file| parse(&file))
        .map_err(|error| error.to_string())
}

#[track_caller]
fn assert_refused(text: &str, expected: &str) {
    assert_eq!(settings(text).unwrap_err(), expected);
}

#[test]
fn an_empty_file_and_no_file_give_the_defaults() {
    assert_eq!(settings("").unwrap(), Settings::default());
    assert_eq!(settings("# nothing\n[cache]\n[apt]\n").unwrap(), Settings::default());
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(load(None).unwrap(), Settings::default());
    assert_eq!(load(Some(&folder.path().join("missing/config.toml"))).unwrap(), Settings::default());
}

#[test]
fn what_is_wrong_about_a_runtime_is_told_with_its_table() {
    assert_refused(
        "runtimes.node.url = \"nodejs.org\"",
        "config.toml:1:21: runtimes.node.url: must be an http or https address, is `nodejs.org`",
    );
    assert_refused(
        "runtimes.go.keys = \"keys\"",
        "config.toml:1:20: runtimes.go.keys: must be an absolute path without control characters, at most 4096 bytes long, is `keys`",
    );
    assert_refused(
        "runtimes.manager = \"asdf\"",
        "config.toml:1:20: runtimes.manager: must be native or mise, is `asdf`",
    );
    assert_refused(
        "runtimes.cache-bytes = -1",
        "config.toml:1:24: runtimes.cache-bytes: must be between 0 and 1125899906842624, is -1",
    );
    assert_refused("runtimes.deno.url = \"x\"", "config.toml:1:10: runtimes.deno: unknown key");
}

#[test]
fn every_key_is_taken_over() {
    let text = r#"
backend = "apt"
data-dir = "/data"
helper = "/opt/omg/omg-helper"
helper-timeout = 1
idle-timeout = 0
worker-interval = 10
status-max-age = 0xE10

[cache]
searches = 1_000
search-bytes = 268435456
details = 0
details-bytes = 1

[apt]
root = "/srv/root"
options = ["Dir::Cache::pkgcache=pkgcache.bin", "APT::Architectures::=arm64", "Acquire::http::Proxy="]

[aur]
enabled = false
url = "http://127.0.0.1:8080/aur/"
devel = true
keyserver = "hkps://keys.example.org"

[runtimes]
offline = true
proxy = "http://proxy.example.org:3128"
cache-bytes = 0
manager = "mise"

[runtimes.node]
url = "http://127.0.0.1:8080/dist/"
keys = "/etc/omg/node.asc"
manager = "native"
"#;
    let expected = Settings {
        backend: Backend::Apt,
        data_dir: Some(PathBuf::from("/data")),
        helper: Some(PathBuf::from("/opt/omg/omg-helper")),
        helper_timeout: Duration::from_secs(1),
        idle_timeout: None,
        worker_interval: Duration::from_secs(10),
        status_max_age: 3600,
        cache: CacheSettings { searches: 1000, search_bytes: 268_435_456, details: 0, details_bytes: 1 },
        apt: AptSettings {
            root: Some(PathBuf::from("/srv/root")),
            options: vec![
                "Dir::Cache::pkgcache=pkgcache.bin".to_owned(),
                "APT::Architectures::=arm64".to_owned(),
                "Acquire::http::Proxy=".to_owned(),
            ],
        },
        aur: AurSettings {
            enabled: Some(false),
            url: "http://127.0.0.1:8080/aur".to_owned(),
            devel: true,
            keyserver: Some("hkps://keys.example.org".to_owned()),
        },
        runtimes: RuntimeSettings {
            offline: true,
            proxy: Some("http://proxy.example.org:3128".to_owned()),
            cache_bytes: 0,
            manager: Manager::Mise,
            upstreams: [(
                "node".to_owned(),
                Upstream {
                    url: Some("http://127.0.0.1:8080/dist".to_owned()),
                    keys: Some(PathBuf::from("/etc/omg/node.asc")),
                    trusted_root: None,
                    manager: Some(Manager::Native),
                },
            )]
            .into(),
        },
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, text).unwrap();
    assert_eq!(load(Some(&path)).unwrap(), expected);
    let link = folder.path().join("link.toml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(load(Some(&link)).unwrap(), expected);
}

#[test]
fn a_bad_value_is_named_with_its_place_and_key() {
    assert_refused("\n[cache]\nsearches = -1", "config.toml:3:12: cache.searches: must be between 0 and 100000, is -1");
    assert_refused(
        "cache.searches = 100001",
        "config.toml:1:18: cache.searches: must be between 0 and 100000, is 100001",
    );
    assert_refused("idle-timeout = 604801", "config.toml:1:16: idle-timeout: must be between 0 and 604800, is 604801");
    assert_refused("helper-timeout = 0", "config.toml:1:18: helper-timeout: must be between 1 and 3600, is 0");
    assert_refused("worker-interval = 9", "config.toml:1:19: worker-interval: must be between 10 and 86400, is 9");
    assert_refused("idle-timeout = \"5min\"", "config.toml:1:16: idle-timeout: must be an integer, is a string");
    assert_refused("idle-timeout = 5.0", "config.toml:1:16: idle-timeout: must be an integer, is a fraction");
    assert_refused("idle-timeout = 99999999999999999999", "config.toml:1:16: idle-timeout: the number is too large");
    assert_refused("backend = \"pacman\"", "config.toml:1:11: backend: must be auto, apt, alpm or none, is `pacman`");
    assert_refused("backend = true", "config.toml:1:11: backend: must be a string, is a boolean");
    assert_refused("cache = 5", "config.toml:1:9: cache: must be a table, is an integer");
    assert_refused("apt.options = \"a=b\"", "config.toml:1:15: apt.options: must be an array of strings, is a string");
    assert_refused("apt.options = [1]", "config.toml:1:16: apt.options: must be an array of strings, is an integer");
    for option in ["Dir", "=x", "-o=x", "Dir Cache=x", "Dir=a\\nb"] {
        let message = settings(&format!("apt.options = [\"{option}\"]")).unwrap_err();
        assert!(message.starts_with("config.toml:1:16: apt.options: must be Key=Value, is `"), "{message}");
    }
    for (key, column) in [("data-dir", 12), ("helper", 10), ("apt.root", 12)] {
        for value in ["relative", "", "~/data", "/a\\u0000b", "/a\\nb"] {
            let message = settings(&format!("{key} = \"{value}\"")).unwrap_err();
            let expected = format!("config.toml:1:{column}: {key}: must be an absolute path");
            assert!(message.starts_with(&expected), "{message}");
        }
    }
    assert_refused("aur.enabled = 1", "config.toml:1:15: aur.enabled: must be true or false, is an integer");
    for url in [
        "",
        "aur.archlinux.org",
        "ftp://a",
        "file:///etc/passwd",
        "https://",
        "https://a/?x",
        "https://u@a",
        "https://a b",
    ] {
        let message = format!("config.toml:1:11: aur.url: must be an http or https address, is `{url}`");
        assert_refused(&format!("aur.url = \"{url}\""), &message);
    }
    let many = format!("apt.options = [{}]", "\"A=b\",".repeat(257));
    assert_refused(&many, "config.toml:1:15: apt.options: at most 256 options, are 257");
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    assert_refused("[cache]\nsearchs = 1", "config.toml:2:1: cache.searchs: unknown key; did you mean `searches`?");
    assert_refused("colour = 1", "config.toml:1:1: colour: unknown key");
    assert_refused("[daemon]\nx = 1", "config.toml:1:2: daemon: unknown key");
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    assert_refused(
        "[apt]\nroot = \"x\"\n[cache]\ndetails = -2\nsearches = -1",
        "config.toml:2:8: apt.root: must be an absolute path without control characters, at most 4096 bytes long, is `x`\n\
         config.toml:4:11: cache.details: must be between 0 and 100000, is -2\n\
         config.toml:5:12: cache.searches: must be between 0 and 100000, is -1",
    );
}

#[test]
fn no_more_problems_are_listed_than_anyone_reads() {
    let text: String = (0..5000).map(|number| format!("k{number}=1\n")).collect();
    assert_eq!(settings(&text).unwrap_err().lines().count(), 20);
}

#[test]
fn what_is_not_toml_is_refused_with_its_place() {
    let message = settings("# é\nidle-timeout == 3\n").unwrap_err();
    assert!(message.starts_with("config.toml:2:15: "), "{message}");
    let message = settings("idle-timeout = 1\nidle-timeout = 2\n").unwrap_err();
    assert!(message.starts_with("config.toml:2:1: ") && message.contains("duplicate key"), "{message}");
    let message = settings(&"[".repeat(MAX_BYTES)).unwrap_err();
    assert!(message.starts_with("config.toml:1:"), "{}", &message[..80]);
    let nested = format!("x = {}", "[".repeat(50_000));
    assert!(settings(&nested).unwrap_err().starts_with("config.toml:1:"));
}

#[test]
fn text_of_the_file_is_shown_escaped_and_shortened() {
    assert_refused("\"\\u001b[31m\\u202e\" = 1", "config.toml:1:1: \\u{1b}[31m\\u{202e}: unknown key");
    let message = settings(&format!("backend = \"{}\"", "x".repeat(10_000))).unwrap_err();
    assert!(message.ends_with(&format!("is `{}…`", "x".repeat(64))), "{message}");
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_place() {
    let file = ConfigFile::from_bytes(Path::new("config.toml"), b"# ok\n# \xc3\xa9 \xff".to_vec());
    assert_eq!(file.unwrap_err().to_string(), "config.toml:2:5: not valid UTF-8");
}

#[test]
fn only_regular_files_of_a_bounded_size_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    fs::write(&large, vec![b'#'; MAX_BYTES + 1]).unwrap();
    assert!(matches!(load(Some(&large)), Err(ConfigError::TooLarge { .. })));
    fs::write(&large, vec![b'#'; MAX_BYTES]).unwrap();
    assert_eq!(load(Some(&large)).unwrap(), Settings::default());
    assert!(matches!(load(Some(folder.path())), Err(ConfigError::NotRegular { .. })));
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(load(Some(&fifo)), Err(ConfigError::NotRegular { .. })));
    assert_eq!(load(Some(&large.join("below a file"))).unwrap(), Settings::default());
}

#[test]
fn mutated_files_are_refused_or_valid_and_never_end_the_program() {
    let original = b"backend = \"apt\"\nidle-timeout = 0x10\ncache = { searches = 1_0 }\n[apt]\noptions = ['a=b', \"\"\"c\n=d\"\"\"]\n";
    // xorshift64; fixed so that a failure can be repeated.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    const INTERESTING: &[u8] = b"\0\n\r\"'[]{}=.,#\\_-+0xeE\xff\xc3\xa9 \tinfnan:";
    for _ in 0..20_000 {
        let mut bytes = original.to_vec();
        for _ in 0..1 + next() % 4 {
            let at = (next() % bytes.len() as u64) as usize;
            let byte = INTERESTING[(next() % INTERESTING.len() as u64) as usize];
            match next() % 3 {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => _ = bytes.remove(at),
            }
        }
        if let Err(error) = ConfigFile::from_bytes(Path::new("config.toml"), bytes).and_then(|file| parse(&file)) {
            let message = error.to_string();
            assert!(message.lines().all(|line| line.starts_with("config.toml:")), "{message}");
        }
    }
}

fn paths(variables: &'static [(&str, &str)]) -> Paths {
    Paths::from_environment(1000, |name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    })
}

#[test]
fn paths_follow_the_xdg_variables() {
    let paths = paths(&[
        ("HOME", "/home/u"),
        ("XDG_CONFIG_HOME", "/c"),
        ("XDG_DATA_HOME", "/d"),
        ("XDG_CACHE_HOME", "/k"),
        ("XDG_RUNTIME_DIR", "/run/user/1000"),
    ]);
    let expected = Paths {
        config_file: Some("/c/omg/config.toml".into()),
        data_dir: "/d/omg".into(),
        cache_dir: "/k/omg".into(),
        runtime_dir: Some("/run/user/1000".into()),
        socket: "/run/user/1000/omg.sock".into(),
        socket_origin: SocketOrigin::RuntimeDir,
        status_file: "/d/omg/status".into(),
    };
    assert_eq!(paths, expected);
    let settings = Settings { data_dir: Some("/elsewhere".into()), ..Settings::default() };
    let expected = Paths { data_dir: "/elsewhere".into(), ..expected };
    assert_eq!(paths.with_settings(&settings), expected);
}

#[test]
fn relative_and_empty_xdg_variables_are_ignored() {
    let paths = paths(&[
        ("HOME", "/home/u"),
        ("XDG_CONFIG_HOME", "c"),
        ("XDG_DATA_HOME", ""),
        ("XDG_CACHE_HOME", "./k"),
        ("XDG_RUNTIME_DIR", "run"),
        ("OMG_SOCKET_PATH", ""),
    ]);
    assert_eq!(paths.config_file, Some("/home/u/.config/omg/config.toml".into()));
    assert_eq!(paths.data_dir, Path::new("/home/u/.local/share/omg"));
    assert_eq!(paths.cache_dir, Path::new("/home/u/.cache/omg"));
    assert_eq!(paths.runtime_dir, None);
    assert_eq!((paths.socket, paths.socket_origin), ("/tmp/omg-1000/omg.sock".into(), SocketOrigin::Temporary));
}

#[test]
fn without_a_home_data_lies_in_var_lib() {
    let paths = paths(&[("OMG_SOCKET_PATH", "here.sock")]);
    assert_eq!(paths.config_file, None);
    assert_eq!(paths.data_dir, Path::new("/var/lib/omg"));
    assert_eq!(paths.cache_dir, Path::new("/var/lib/omg/cache"));
    assert_eq!((paths.socket, paths.socket_origin), ("here.sock".into(), SocketOrigin::Override));
}
