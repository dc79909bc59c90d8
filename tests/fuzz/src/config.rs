//! The configuration file: settings or an error that names a place in the file, for any bytes.
#![no_main]

mod seeds;

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use omg::config::{ConfigError, ConfigFile, parse};

fn seeds() -> Vec<Vec<u8>> {
    [
        "",
        "backend = \"apt\"\ndata-dir = \"/d\"\nhelper = \"/h\"\nidle-timeout = 0\nworker-interval = 60\n\
         status-max-age = 3600\n[cache]\nsearches = 1\nsearch-bytes = 2\ndetails = 3\ndetails-bytes = 4\n\
         [apt]\nroot = \"/r\"\noptions = [\"Dir::State::lists=/l\", \"A::B=c\"]\n",
        "# Ü\nbackend = 'no'\ncache.searches = -1\napt = { root = \"r\", options = [1, \"=\"] }\nunknown = 1\n",
        "backend = \"auto\"\nbackend = \"none\"\n[[apt]]\n",
        "idle-timeout = 9223372036854775807\nworker-interval = 1.5\nhelper = 1979-05-27T07:32:00Z",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fuzz_target!(
    init: seeds::write(seeds),
    |data: &[u8]| {
        let parsed = ConfigFile::from_bytes(Path::new("config.toml"), data.to_vec()).and_then(|file| parse(&file));
        if let Err(error) = parsed {
            let shown = error.to_string();
            if let ConfigError::Invalid { problems, .. } = &error {
                assert!(!problems.is_empty() && shown.lines().count() >= problems.len());
                for problem in problems {
                    let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
                    assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{problem:?}");
                }
            }
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
);
