use super::*;

const VERSIONS: &str = "/d/versions";

fn after(old: Option<&str>, folders: &[&str], place: Place) -> Option<String> {
    let folders: Vec<_> = folders.iter().map(PathBuf::from).collect();
    let venv = Some(Path::new("/venv/bin"));
    path(old.map(OsStr::new), &folders, Path::new(VERSIONS), place, venv).map(|path| path.into_string().unwrap())
}

#[test]
fn path_is_the_same_again_once_ours_are_gone() {
    let ours = "/d/versions/node/20.1.0/bin";
    for old in ["/usr/bin", "/usr/bin:/bin", ":/bin", "/bin:", ":", "", "/bin::/usr/bin", "/d/versionsx:/d/versions"] {
        for place in [Place::Front, Place::Kept] {
            let entered = after(Some(old), &[ours], place).unwrap();
            assert!(entered.starts_with(ours), "{entered}");
            assert_eq!(entered.split(':').filter(|entry| *entry == ours).count(), 1);
            assert_eq!(after(Some(&entered), &[ours], place).as_deref(), Some(entered.as_str()));
            assert_eq!(after(Some(&entered), &[], place).as_deref(), Some(old));
        }
    }
}

#[test]
fn no_path_and_an_empty_one_get_no_empty_entry() {
    assert_eq!(after(None, &[], Place::Front), None);
    assert_eq!(after(None, &["/d/versions/go/1/bin"], Place::Front).as_deref(), Some("/d/versions/go/1/bin"));
    assert_eq!(after(Some(""), &["/d/versions/go/1/bin"], Place::Front).as_deref(), Some("/d/versions/go/1/bin"));
}

#[test]
fn what_was_put_in_front_of_ours_since_stays_in_front() {
    let old = "/mine:/d/versions/node/20/bin:/d/versions/go/1/bin:/bin";
    let new = ["/d/versions/node/22/bin"];
    assert_eq!(after(Some(old), &new, Place::Kept).as_deref(), Some("/mine:/d/versions/node/22/bin:/bin"));
    assert_eq!(after(Some(old), &new, Place::Front).as_deref(), Some("/d/versions/node/22/bin:/mine:/bin"));
    let active = after(Some("/venv/bin:/bin"), &new, Place::Front);
    assert_eq!(active.as_deref(), Some("/venv/bin:/d/versions/node/22/bin:/bin"));
}

fn java(root: &str) -> Environment {
    let runtime = Runtime::from(Native::Java);
    let version = Version::parse(&runtime, "21.0.1").unwrap();
    let entry = Entry { runtime, request: None, version, root: root.into(), why: Why::Manual };
    Environment { entries: vec![entry], ..Environment::default() }
}

/// Applies the changes of `environment` to the variables.
fn apply(variables: &mut BTreeMap<String, OsString>, environment: &Environment, versions: &Path) {
    let changes = environment.changes(versions, Place::Kept, |name| variables.get(name).cloned());
    if let Some(path) = changes.path {
        variables.insert("PATH".into(), path);
    }
    for (name, value) in changes.variables {
        match value {
            Some(value) => variables.insert(name.into(), value),
            None => variables.remove(name),
        };
    }
}

#[test]
fn java_home_is_the_users_own_again_on_leaving() {
    for own in [None, Some(""), Some("/usr/lib/jvm/x")] {
        let mut variables = BTreeMap::from([("PATH".to_owned(), OsString::from("/bin"))]);
        variables.extend(own.map(|own| ("JAVA_HOME".to_owned(), OsString::from(own))));
        let before = variables.clone();
        for root in ["/d/versions/java/21", "/d/versions/java/21", "/d/versions/java/17"] {
            apply(&mut variables, &java(root), Path::new(VERSIONS));
            assert_eq!(variables["JAVA_HOME"], root);
            assert_eq!(variables.get("OMG_OLD_JAVA_HOME").map(|old| old.to_str().unwrap()), own);
            assert_eq!(variables["PATH"], OsString::from(format!("{root}/bin:/bin")));
        }
        apply(&mut variables, &Environment::default(), Path::new(VERSIONS));
        assert_eq!(variables, before);
    }
}

#[test]
fn what_mise_sets_is_set_and_the_users_own_is_there_again_on_leaving() {
    let folder = tempfile::tempdir().unwrap();
    let (versions, mise) = (folder.path().join("versions"), folder.path().join("mise"));
    let install = |version: &str, variables: &[(&str, String)]| {
        let runtime = Runtime::parse("go").unwrap();
        let root = versions.join("go").join(version);
        std::fs::create_dir_all(root.join("bin")).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let manager = crate::runtime::mise::NAME.to_owned();
        let record = crate::runtime::record::Record { manager, variables: variables.collect(), ..Default::default() };
        record.write(&root).unwrap();
        let version = Version::parse(&runtime, version).unwrap();
        let entry = Entry { runtime, request: None, version, root, why: Why::Manual };
        Environment { entries: vec![entry], ..Environment::default() }
    };
    let own = |version: &str, below: &str| mise.join("installs/go").join(version).join(below).display().to_string();
    let newer = install("1.22.0", &[("GOROOT", own("1.22.0", "")), ("GOBIN", own("1.22.0", "bin"))]);
    let hostile = [("GOROOT", own("1.21.4", "")), ("LD_PRELOAD", own("1.21.4", "x.so")), ("PATH", own("1.21.4", ""))];
    let older = install("1.21.4", &hostile);
    for users in [None, Some(""), Some("/usr/lib/go")] {
        let mut variables = BTreeMap::from([("PATH".to_owned(), OsString::from("/bin"))]);
        variables.extend(users.map(|users| ("GOROOT".to_owned(), OsString::from(users))));
        let before = variables.clone();
        for (environment, version, bin) in
            [(&newer, "1.22.0", true), (&older, "1.21.4", false), (&newer, "1.22.0", true)]
        {
            apply(&mut variables, environment, &versions);
            let goroot = Path::new(&variables["GOROOT"]);
            assert_eq!(goroot, mise.join("installs/go").join(version));
            assert_eq!(variables.contains_key("GOBIN"), bin);
            assert!(!variables.contains_key("LD_PRELOAD"));
            assert_eq!(variables.get("OMG_OLD_GOROOT").map(|old| old.to_str().unwrap()), users);
        }
        apply(&mut variables, &Environment::default(), &versions);
        assert_eq!(variables, before);
    }
}

#[test]
fn nothing_changes_where_nothing_is_used() {
    let changes = Environment::default().changes(Path::new(VERSIONS), Place::Front, |name| {
        matches!(name, "PATH" | "JAVA_HOME").then(|| "/usr/bin".into())
    });
    assert_eq!(changes, Changes::default());
}

#[test]
fn a_manual_choice_is_read_strictly_and_round_trips() {
    let (manual, wrong) = parse_manual(OsStr::new("node=20;python=3.12"));
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(manual_text(&manual), "node=20;python=3.12");
    for bad in ["node", "No de=20", "../x=20", "node=$(touch pwned)", "=", "node=\u{1b}[2J", "node=20\nexport X=1"] {
        let (manual, wrong) = parse_manual(OsStr::new(bad));
        assert!(manual.is_empty() && wrong.len() == 1, "{bad:?} {manual:?}");
        assert!(!wrong.iter().any(|line| line.contains(char::is_control)), "{wrong:?}");
    }
    let (manual, wrong) = parse_manual(OsStr::new("node=20;$(touch pwned)=1"));
    assert_eq!((manual_text(&manual).as_str(), wrong.len()), ("node=20", 1));
    assert!(parse_manual(OsStr::from_bytes(b"node=20\xff")).0.is_empty());
    assert!(parse_manual(OsStr::new(&format!("node=2{}", " ".repeat(5000)))).0.is_empty());
}

fn install(data: &Path, runtime: &str, version: &str) {
    std::fs::create_dir_all(data.join("versions").join(runtime).join(version).join("bin")).unwrap();
}

fn rooted(environment: &Environment, data: &Path) -> Vec<(String, Why)> {
    let versions = data.join("versions");
    let shown = |entry: &Entry| entry.root.strip_prefix(&versions).unwrap().display().to_string();
    environment.entries.iter().map(|entry| (shown(entry), entry.why.clone())).collect()
}

#[test]
fn the_hand_goes_before_the_file_and_the_file_before_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let (data, project) = (folder.path().join("data"), folder.path().join("project"));
    for version in ["18.1.0", "20.2.0", "22.3.0"] {
        install(&data, "node", version);
    }
    std::os::unix::fs::symlink("18.1.0", data.join("versions/node/current")).unwrap();
    std::fs::create_dir(&project).unwrap();
    let layout = Layout::new(&data);
    let of = |manual: &str| rooted(&resolve(&project, &layout, &parse_manual(OsStr::new(manual)).0), &data);
    assert_eq!(of(""), [("node/current".to_owned(), Why::Default)]);
    std::fs::write(project.join(".nvmrc"), "20\n").unwrap();
    let file = Why::File { file: project.join(".nvmrc"), line: 1 };
    assert_eq!(of(""), [("node/20.2.0".to_owned(), file)]);
    assert_eq!(of("node=22"), [("node/22.3.0".to_owned(), Why::Manual)]);
    assert_eq!(of("node=system"), []);
    let environment = resolve(&project, &layout, &parse_manual(OsStr::new("node=24;python=3")).0);
    assert_eq!(environment.entries, []);
    let missing: Vec<_> = environment.missing.iter().map(|missing| missing.runtime.as_str()).collect();
    assert_eq!(missing, ["node", "python"]);
    assert_eq!(environment.files, [project.join(".nvmrc")]);
}

#[test]
fn a_file_of_the_runtimes_own_asks_for_all_its_lines_and_another_for_the_first_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (data, project) = (folder.path().join("data"), folder.path().join("project"));
    for (runtime, version) in [("python", "3.11.9"), ("python", "3.12.1"), ("node", "20.2.0")] {
        install(&data, runtime, version);
    }
    std::fs::create_dir(&project).unwrap();
    std::fs::write(project.join(".python-version"), "3.12\n3.11\n3.13\n").unwrap();
    std::fs::write(project.join(".tool-versions"), "nodejs 22 20\n").unwrap();
    let environment = resolve(&project, &Layout::new(&data), &Manual::new());
    let used: Vec<_> = rooted(&environment, &data).into_iter().map(|(root, _)| root).collect();
    assert_eq!(used, ["node/20.2.0", "python/3.12.1", "python/3.11.9"]);
    let missing: Vec<_> = environment.missing.iter().map(|missing| missing.request.to_string()).collect();
    assert_eq!(missing, ["3.13"]);
}

#[test]
fn a_data_folder_that_path_cannot_name_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a:b", "a\nb"] {
        let data = folder.path().join(name);
        install(&data, "node", "20.2.0");
        let manual = parse_manual(OsStr::new("node=20")).0;
        let environment = resolve(folder.path(), &Layout::new(&data), &manual);
        assert_eq!((environment.entries.len(), environment.problems.len()), (0, 1), "{name:?}");
    }
}
