//! Version files: requests that read back, or problems that can be shown, for any bytes. The first byte chooses the file.
#![no_main]

mod seeds;

use libfuzzer_sys::{Corpus, fuzz_target};
use omg::runtime::files::{names, parse};
use omg::runtime::{Request, Runtime, Version};

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        (".nvmrc", "# ours\nlts/iron\n"),
        (".node-version", "v20.11.1\r\n"),
        (".python-version", "3.12.4\n3.13.0rc1\npypy3.10-7.3.16\n"),
        (".go-version", "go1.21rc2"),
        ("rust-toolchain", "nightly-2026-01-02"),
        ("rust-toolchain.toml", "[toolchain]\nchannel = \"1.95\"\ncomponents = [\"rust-src\"]\nprofile = \"minimal\"\n"),
        (".rust-version", "1.96.0-beta.2"),
        (".ruby-version", "jruby-9.4.8.0"),
        (".java-version", "temurin-21.0.4+7.0.LTS"),
        (".sdkmanrc", "java=21.0.4-tem\n"),
        (".bun-version", "1.1.30"),
        (
            "package.json",
            r#"{"engines": {"node": ">=18 <23 || ^24"}, "volta": {"node": "20.1.0"}, "packageManager": "bun@1.1.0+sha1.a",
               "devEngines": {"runtime": [{"name": "node", "version": "20.x"}]}}"#,
        ),
        ("go.mod", "module x\ngo 1.21 // least\ntoolchain go1.22.3\nrequire (\n)\n"),
        ("Gemfile", "source 'x'\nruby '~> 3.3', :engine => 'jruby', engine_version: \"9.4\"\n"),
        (".tool-versions", "nodejs 20.11.1 system # x\ngolang ref:master 1.21\n"),
        ("mise.toml", "[env]\nA = '{{ x }}'\n[tools]\nnode = ['20', {version = 'lts'}]\nrust = {version = '1', targets = 'a,b'}\n"),
        (".mise.toml", "tools.java = 'zulu-21'\n"),
        ("pyproject.toml", "[project]\nrequires-python = \">=3.11,<3.13\"\n[tool.poetry.dependencies]\npython = '^3.11'\n"),
    ];
    let place = |name: &str| names().position(|known| known == name).and_then(|at| u8::try_from(at).ok()).expect("a known name");
    texts.iter().map(|(name, text)| [&[place(name)], text.as_bytes()].concat()).collect()
}

fuzz_target!(
    init: seeds::write(seeds),
    |data: &[u8]| -> Corpus {
        let Some((&chosen, bytes)) = data.split_first() else { return Corpus::Reject };
        let Some(name) = names().nth(usize::from(chosen)) else { return Corpus::Reject };
        let contents = parse(name, bytes).expect("a known name");
        for wish in &contents.wishes {
            let text = wish.request.to_string();
            assert!(text.chars().all(|letter| letter.is_ascii_graphic() || letter == ' '), "{text:?}");
            assert_eq!(Request::parse(&wish.runtime, &text).as_ref(), Ok(&wish.request), "{text:?}");
            version(&wish.runtime, &text);
        }
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
        for trouble in &contents.problems {
            let (line, message) = (trouble.line as usize, &trouble.message);
            assert!((1..=lines).contains(&line), "line {line} of {lines}: {message}");
            assert!(!message.chars().any(char::is_control), "{message:?}");
        }
        assert!(contents.can_run.iter().flatten().all(|name| !name.chars().any(char::is_control)));
        Corpus::Keep
    }
);

fn version(runtime: &Runtime, text: &str) {
    let Ok(version) = Version::parse(runtime, text) else { return };
    let spelling = version.as_str();
    assert!(spelling.len() <= 64 && spelling.starts_with(|first: char| first.is_ascii_alphanumeric()), "{spelling:?}");
    assert!(spelling.chars().all(|letter| letter.is_ascii_alphanumeric() || "._+-".contains(letter)), "{spelling:?}");
    assert_eq!(Version::parse(runtime, spelling).as_ref(), Ok(&version));
}
