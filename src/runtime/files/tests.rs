use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::runtime::request::tests::{Numbers, SEEDS};

/// `runtime request @line` of each wish in a file.
fn wishes(name: &str, text: &str) -> Vec<String> {
    let contents = parse(name, text.as_bytes()).unwrap();
    let show = |entry: &Entry| format!("{} {} @{}", entry.runtime, entry.request, entry.line);
    contents.wishes.iter().map(show).collect()
}

fn lines(problems: Vec<Trouble>) -> Vec<(u32, String)> {
    problems.into_iter().map(|trouble| (trouble.line, trouble.message)).collect()
}

fn problems(name: &str, text: &str) -> Vec<(u32, String)> {
    lines(parse(name, text.as_bytes()).unwrap().problems)
}

/// A file that says only this, without a problem.
fn says(name: &str, text: &str, wanted: &[&str]) {
    assert_eq!(wishes(name, text), wanted, "{name} {text:?}");
    assert_eq!(problems(name, text), [], "{name} {text:?}");
}

/// A file that says nothing and has this problem.
fn refused(name: &str, text: &str, line: u32, wanted: &str) {
    assert_eq!(problems(name, text), [(line, wanted.to_owned())], "{name} {text:?}");
    assert_eq!(wishes(name, text), [""; 0], "{name} {text:?}");
}

#[test]
fn files_of_one_line_hold_a_request() {
    // nvm: comments and empty lines do not count.
    says(".nvmrc", "# LTS\r\n\r\nlts/iron # ours\r\n", &["node lts/iron @3"]);
    says(".nvmrc", "\u{feff}v20.11.1\n", &["node 20.11.1 @1"]);
    says(".nvmrc", "node", &["node latest @1"]);
    says(".nvmrc", "system\n", &["node system @1"]);
    says(".node-version", "20", &["node 20 @1"]);
    says(".go-version", "1.21\n", &["go 1.21 @1"]);
    says(".rust-version", "1.95\n", &["rust 1.95 @1"]);
    says(".ruby-version", "ruby-3.3.0\n", &["ruby 3.3.0 @1"]);
    says(".ruby-version", "jruby-9.4.8.0\n", &["ruby jruby-9.4.8.0 @1"]);
    says(".java-version", "temurin-21\n", &["java 21 @1"]);
    says(".java-version", "21.0.4-tem\n", &["java 21.0.4 @1"]);
    says(".java-version", "1.8\n", &["java 8 @1"]);
    says(".bun-version", "1.1.30\n", &["bun 1.1.30 @1"]);
    assert_eq!(wishes(".nvmrc", "20\n22\n"), ["node 20 @1"]);
    assert_eq!(problems(".nvmrc", "20\n22\n"), [(2, "only the first line counts, \"22\" does not".to_owned())]);
    refused(".nvmrc", "\n# nothing\n", 1, "it names no version");
    refused(".nvmrc", "\n$(touch x)\n", 2, "\"$(touch x)\" is no version or range of node: one looks like ^20 || >=22");
}

#[test]
fn python_version_has_several_lines() {
    says(
        ".python-version",
        "3.12.4\n# next\n3.11\npypy3.10-7.3.16\n",
        &["python 3.12.4 @1", "python 3.11 @3", "python pypy3.10-7.3.16 @4"],
    );
    let contents = parse(".python-version", b"my-env\n3.12").unwrap();
    assert_eq!((contents.wishes.len(), contents.problems[0].line), (1, 1));
}

#[test]
fn sdkmans_file_says_java() {
    says(".sdkmanrc", "# enable\njava=21.0.4-tem\nmaven=3.9.1\n", &["java 21.0.4 @2"]);
}

#[test]
fn go_mod_says_the_least_and_a_newer_toolchain() {
    let module = "module example.com/x // go 1.0\n\ngo 1.21\n\ntoolchain go1.22.3 // newer\n\nrequire (\n\tgo 1.9\n)\n";
    says("go.mod", module, &["go 1.22.3 @5", "go >=1.21 @3"]);
    says("go.mod", "go 1.22.5\ntoolchain go1.22.3\n", &["go >=1.22.5 @1"]);
    says("go.mod", "go 1.23rc1\ntoolchain default\n", &["go >=1.23rc1 @1"]);
    says("go.mod", "module x\n", &[]);
    let weights: Vec<Weight> =
        parse("go.mod", module.as_bytes()).unwrap().wishes.iter().map(|wish| wish.weight).collect();
    assert_eq!(weights, [Weight::Pinned, Weight::Bound]);
    assert_eq!(problems("go.mod", "go one\n")[0].0, 1);
}

#[test]
fn a_gemfile_is_read_as_text() {
    for (line, wanted) in [
        ("ruby \"3.3.0\"", "ruby 3.3.0 @2"),
        ("ruby '~> 3.3'", "ruby ~> 3.3 @2"),
        ("  ruby(\"3.3.0\")  # ours", "ruby 3.3.0 @2"),
        ("ruby \">= 3.1\", \"< 3.4\"", "ruby >= 3.1, < 3.4 @2"),
        ("ruby '3.1.4', engine: 'jruby', engine_version: '9.4.8.0'", "ruby jruby-9.4.8.0 @2"),
        ("ruby \"3.1.4\", :engine => \"truffleruby\"", "ruby truffleruby @2"),
        ("ruby '2.0.0', :patchlevel => '648'", "ruby 2.0.0 @2"),
    ] {
        says("Gemfile", &format!("source \"https://rubygems.org\"\n{line}\ngem 'ruby-lsp'\n"), &[wanted]);
    }
    says("Gemfile", "ruby file: \".ruby-version\"\n", &[]);
    says("Gemfile", "rubygems = 1\nruby_version = 2\ngem \"x\"\n", &[]);
    refused("Gemfile", "ruby file: \"../x\"\n", 1, "the file \"../x\" is not followed");
    for line in
        ["ruby ENV[\"R\"]", "ruby \"#{`id`}\"", "ruby \"3.3.0\" if x", "ruby File.read(\".ruby-version\")", "ruby \"3"]
    {
        let shown = line.trim_start_matches("ruby ");
        refused("Gemfile", line, 1, &format!("{shown:?} is more than plain text, which is all that is read"));
    }
}

#[test]
fn package_json_has_pins_and_bounds() {
    let package = r#"{
  "name": "x",
  "engines": {"node": ">=18 <23", "npm": "10", "bun": "^1.1"},
  "devEngines": {"runtime": [{"name": "node", "version": "^20"}, {"name": "deno", "version": "2"}]},
  "packageManager": "bun@1.1.30+sha256.abc",
  "volta": {
    "node": "20.11.1"
  }
}"#;
    says(
        "package.json",
        package,
        &["node 20.11.1 @7", "bun 1.1.30 @5", "node ^20 @4", "deno 2 @4", "node >=18 <23 @3", "bun ^1.1 @3"],
    );
    says("package.json", r#"{"devEngines": {"runtime": {"name": "node", "version": "lts/*"}}}"#, &["node lts @1"]);
    says("package.json", r#"{"packageManager": "pnpm@9.1.0"}"#, &[]);
    says("package.json", "no JSON, and nothing for us", &[]);
    refused("package.json", "{\n\"volta\": {\"extends\": \"../package.json\"}}", 2, "volta.extends is not followed");
    refused("package.json", "{\n\n\"engines\": [\"node\"]}", 3, "engines is \"[\\\"node\\\"]\", not an object");
    refused("package.json", "{\"engines\": {\n\"node\": 20}}", 2, "engines.node is \"20\", not a string");
    assert_eq!(problems("package.json", "{\n\"engines\": {]\n")[0].0, 2);
}

#[test]
fn pyproject_has_bounds() {
    says("pyproject.toml", "[project]\nname='x'\nrequires-python = \">=3.11,<3.13\"\n", &["python >=3.11,<3.13 @3"]);
    says("pyproject.toml", "[tool.poetry.dependencies]\npython = \"^3.11\"\n", &["python ^3.11 @2"]);
    says("pyproject.toml", "tool.poetry.dependencies.python = {version = '~3.11', markers = ''}", &["python ~3.11 @1"]);
    says("pyproject.toml", "[build-system]\nrequires = []\n", &[]);
    refused("pyproject.toml", "[project]\nrequires-python = 3\n", 2, "requires-python is integer, not a string");
    assert_eq!(problems("pyproject.toml", "[project]\nrequires-python = \n")[0].0, 2);
}

#[test]
fn toolchain_files_are_those_of_rustup() {
    says("rust-toolchain", "nightly-2026-01-02\n", &["rust nightly-2026-01-02 @1"]);
    says("rust-toolchain", "[toolchain]\nchannel = \"1.95\"\n", &["rust 1.95 @2"]);
    let file = "[toolchain]\nchannel = \"beta\"\ncomponents = [\"rustfmt\", \"rust-src\", \"rustfmt\"]\n\
                targets = [\"wasm32-unknown-unknown\"]\nprofile = \"minimal\"\n";
    let contents = parse("rust-toolchain.toml", file.as_bytes()).unwrap();
    assert_eq!(contents.problems, []);
    assert_eq!(contents.wishes[0].request.to_string(), "beta");
    let extras = Extras {
        profile: Some("minimal".to_owned()),
        components: vec!["rustfmt".to_owned(), "rust-src".to_owned()],
        targets: vec!["wasm32-unknown-unknown".to_owned()],
    };
    assert_eq!(contents.wishes[0].extras, extras);
    says("rust-toolchain.toml", "[toolchain]\ncomponents = []\n", &["rust stable @1"]);
    refused(
        "rust-toolchain.toml",
        "[toolchain]\npath = \"/opt/x\"\n",
        2,
        "path names a folder with a toolchain: such are not used, name a channel instead",
    );
    refused("rust-toolchain.toml", "channel = 'stable'\n", 1, "it has no table [toolchain]");
    let bad = "[toolchain]\nchannel = \"stable\"\ncomponents = [\"../x\", 1]\nprofile = \"all\"\n";
    assert_eq!(
        problems("rust-toolchain.toml", bad),
        [
            (4, "profile is none of \"minimal\", \"default\" and \"complete\"".to_owned()),
            (3, "\"../x\" is no name for components".to_owned()),
            (3, "components are no strings in an array".to_owned()),
        ]
    );
}

#[test]
fn tool_versions_takes_the_first_that_can_be_had() {
    let text = "# asdf\nnodejs 20.11.1 18.20.4 system\ngolang ref:master 1.21.3\npython path:/opt/x\ndeno 2.1.4\nruby\nBad 1\n";
    assert_eq!(
        wishes(".tool-versions", text),
        ["node 20.11.1 @2", "node 18.20.4 @2", "node system @2", "go 1.21.3 @3", "deno 2.1.4 @5"]
    );
    assert_eq!(
        problems(".tool-versions", text),
        [
            (3, "\"ref:master\" is no release of go: sources and folders are not followed".to_owned()),
            (4, "\"path:/opt/x\" is no release of python: sources and folders are not followed".to_owned()),
            (6, "\"ruby\" has no version".to_owned()),
            (7, "\"Bad\" is no name of a runtime".to_owned()),
        ]
    );
}

#[test]
fn mise_says_tools_and_what_can_run_code() {
    let text = "min_version = '2024.1.1'\n[env]\nA = '1'\n[tools]\nnode = ['20', '18']\n\"core:python\" = {version = 'prefix:3.12', \
                postinstall = 'touch x'}\n\"npm:prettier\" = '3'\nrust = {version = '1.95', components = 'rust-src,clippy'}\n\
                go = \"{{ exec(command='touch x') }}\"\njava = 'path:/opt/x'\nbun = 1\n[hooks]\nenter = 'touch x'\n[tasks.a]\nrun = 'x'\n";
    let contents = parse("mise.toml", text.as_bytes()).unwrap();
    assert_eq!(wishes("mise.toml", text), ["node 20 @5", "node 18 @5", "python 3.12 @6", "rust 1.95 @8"]);
    assert_eq!(contents.wishes[3].extras.components, ["rust-src", "clippy"]);
    assert_eq!(
        lines(contents.problems),
        [
            (9, "\"{{ exec(command='touch x') }}\" is a template, which is not evaluated".to_owned()),
            (10, "\"path:/opt/x\" is no release of java: sources and folders are not followed".to_owned()),
            (11, "bun has no version that is a string".to_owned()),
        ]
    );
    let mut can_run = contents.can_run.unwrap();
    can_run.sort();
    assert_eq!(can_run, ["env", "hooks", "tasks", "templates", "tools.core:python.postinstall"]);
    let harmless = parse(".mise.toml", b"[tools]\nnode = '20'\n").unwrap();
    assert_eq!(harmless.can_run, Some(Vec::new()));
    assert_eq!(parse(".nvmrc", b"20").unwrap().can_run, None);
    // What cannot be read here may be read by mise.
    let broken = parse("mise.toml", b"[env\nx = '{{ exec() }}'").unwrap();
    assert_eq!((broken.problems.len(), broken.can_run), (1, Some(vec!["templates".to_owned()])));
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(name), text).unwrap();
}

/// `request file` of the winner.
fn won(found: &Found, native: Native) -> Option<String> {
    let wish = winner(found, &native.into())?;
    Some(format!("{} {}", wish.request, wish.file.file_name()?.to_str()?))
}

#[test]
fn inside_a_folder_the_weight_decides_and_all_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "package.json", r#"{"engines": {"node": ">=16"}, "volta": {"node": "17.0.0"}}"#);
    write(at, "mise.toml", "[tools]\nnode = '18'\n");
    write(at, ".tool-versions", "nodejs 19\n");
    write(at, ".node-version", "20");
    write(at, ".nvmrc", "21");
    let mut order = Vec::new();
    for gone in [".nvmrc", ".node-version", "package.json", ".tool-versions", "mise.toml"] {
        order.push(won(&read(at), Native::Node).unwrap());
        if gone == "package.json" {
            write(at, "package.json", r#"{"engines": {"node": ">=16"}}"#);
        } else {
            std::fs::remove_file(at.join(gone)).unwrap();
        }
    }
    order.push(won(&read(at), Native::Node).unwrap());
    assert_eq!(
        order,
        [
            "21 .nvmrc",
            "20 .node-version",
            "17.0.0 package.json",
            "19 .tool-versions",
            "18 mise.toml",
            ">=16 package.json"
        ]
    );
    write(at, ".nvmrc", "22");
    let all: Vec<String> = read(at).wishes.iter().map(|wish| wish.request.to_string()).collect();
    assert_eq!(all, ["22", ">=16"]);
}

#[test]
fn the_nearest_folder_wins_for_each_runtime_whatever_the_weight() {
    let root = tempfile::tempdir().unwrap();
    let inner = root.path().join("a/b/c");
    write(&inner, "package.json", r#"{"engines": {"node": ">=16"}}"#);
    write(&root.path().join("a"), ".nvmrc", "20");
    write(&root.path().join("a"), ".python-version", "3.12");
    write(root.path(), "mise.toml", "[tools]\ngo = '1.22'\n[env]\nA = '1'\n");
    let found = read(&inner);
    assert_eq!(won(&found, Native::Node).unwrap(), ">=16 package.json");
    assert_eq!(won(&found, Native::Python).unwrap(), "3.12 .python-version");
    assert_eq!(won(&found, Native::Go).unwrap(), "1.22 mise.toml");
    assert_eq!(won(&found, Native::Ruby), None);
    assert_eq!(found.mise, [MiseFile { file: root.path().join("mise.toml"), can_run: vec!["env".to_owned()] }]);
    assert_eq!(winner(&found, &Native::Node.into()).unwrap().file, inner.join("package.json"));
    assert_eq!(found.problems, []);
}

#[test]
fn only_regular_files_are_read_and_one_bad_file_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "real", "20");
    symlink(at.join("real"), at.join(".nvmrc")).unwrap();
    symlink(at.join("nowhere"), at.join(".node-version")).unwrap();
    symlink("/dev/zero", at.join(".go-version")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at.join(".ruby-version"), rustix::fs::Mode::RWXU).unwrap();
    std::fs::create_dir(at.join("go.mod")).unwrap();
    write(at, ".python-version", b"3.12\n\xff\xfe\n");
    write(at, ".java-version", "2".repeat(70_000));
    write(at, ".bun-version", "1\0");
    write(at, ".tool-versions", format!("nodejs {}\n", "1".repeat(60_000)));
    symlink(".sdkmanrc", at.join(".sdkmanrc")).unwrap();
    let found = read(at);
    assert_eq!(won(&found, Native::Node).unwrap(), "20 .nvmrc");
    let mut problems: Vec<String> = Vec::new();
    for problem in &found.problems {
        let name = problem.file.file_name().unwrap().to_str().unwrap();
        problems.push(format!("{name}:{}: {}", problem.line, problem.message));
    }
    let long = format!(
        ".tool-versions:1: \"{}\"… is no version of node: it is empty, too long or has letters that no version has",
        "1".repeat(60)
    );
    assert_eq!(
        problems,
        [
            ".python-version:2: not valid UTF-8",
            ".go-version:1: cannot be read: it is no regular file",
            ".ruby-version:1: cannot be read: it is no regular file",
            ".java-version:1: it is longer than 65536 bytes and was not read",
            ".sdkmanrc:1: cannot be read: Too many levels of symbolic links (os error 40)",
            ".bun-version:1: \"1\\0\" is no version of bun: it is empty, too long or has letters that no version has",
            "go.mod:1: cannot be read: it is no regular file",
            &long,
        ]
    );
}

#[test]
fn a_folder_with_thousands_of_files_is_read_as_well() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..4000 {
        write(folder.path(), &format!("file-with-a-long-name-{at}"), "");
    }
    write(folder.path(), ".nvmrc", "20");
    write(folder.path(), "mise.toml", "[tools]\nnode = '18'\n");
    let found = read(folder.path());
    assert_eq!(won(&found, Native::Node).unwrap(), "20 .nvmrc");
    assert_eq!((found.wishes.len(), found.problems.len()), (2, 0));
}

#[test]
fn folders_that_are_not_there_and_relative_ones_are_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), ".nvmrc", "20");
    let found = read(&folder.path().join("gone/too"));
    assert_eq!(won(&found, Native::Node).unwrap(), "20 .nvmrc");
    read(Path::new(""));
    read(Path::new("."));
}

#[test]
fn a_problem_shows_its_place_without_control_characters() {
    let problem = Problem {
        file: PathBuf::from("/a\u{1b}[2J/.nvmrc"),
        line: 3,
        message: "x".to_owned(),
        undecided: Undecided::Nothing,
    };
    assert_eq!(problem.to_string(), "/a\\u{1b}[2J/.nvmrc:3: x");
    assert!(is_watched_name("rust-toolchain.toml") && !is_watched_name("Cargo.toml"));
}

#[test]
fn any_contents_become_requests_that_read_back_or_problems_that_can_be_shown() {
    let pieces = [
        "20",
        "v",
        "lts/*",
        "\n",
        "\r\n",
        " ",
        "\t",
        "\"",
        "'",
        "{",
        "}",
        "[",
        "]",
        "=",
        ",",
        ":",
        "#",
        "//",
        "(",
        ")",
        "\0",
        "\u{1b}[31m",
        "\u{202e}",
        "\u{feff}",
        "$(touch x)",
        "`id`",
        "{{ exec() }}",
        "ruby ",
        "go 1.21",
        "toolchain go1.22.1",
        "[tools]\n",
        "node = ",
        "[toolchain]\n",
        "channel = ",
        "\"engines\":",
        "\"node\":",
        "\"volta\":",
        "requires-python = ",
        "[project]\n",
        "nodejs ",
        "java=",
        "3.12",
        ">=",
        "^",
        "~> ",
        "||",
        "-",
        "nightly",
        "-2026-01-02",
        "path:",
        "engine: ",
        "é",
        "components = ",
    ];
    for seed in SEEDS {
        println!("seed {seed}");
        let mut seeded = Numbers(seed);
        for name in names() {
            for _ in 0..400 {
                let text: String = (0..seeded.below(20)).map(|_| pieces[seeded.below(pieces.len())]).collect();
                let mut bytes = text.into_bytes();
                if seeded.below(10) == 0 && !bytes.is_empty() {
                    let at = seeded.below(bytes.len());
                    bytes[at] = u8::try_from(seeded.below(256)).unwrap();
                }
                let contents = parse(name, &bytes).unwrap();
                for wish in contents.wishes {
                    let text = wish.request.to_string();
                    assert!(text.chars().all(|letter| letter.is_ascii_graphic() || letter == ' '), "{text:?}");
                    assert_eq!(Request::parse(&wish.runtime, &text), Ok(wish.request), "{name} {bytes:?}");
                }
                for Trouble { line, message, .. } in contents.problems {
                    assert!(line > 0 && message.len() < 1000, "{message}");
                    assert!(!message.chars().any(|letter| letter.is_control() || letter == '\u{202e}'), "{message:?}");
                }
            }
        }
    }
}
