use std::process::Command;

use super::*;

/// Packs `folder` with the system's tar, which compresses by the archive's name.
fn pack(folder: &Path, archive: &Path, arguments: &[&str]) {
    let status = Command::new("tar").args(arguments).arg("-caf").arg(archive).arg("-C").arg(folder).arg("top").status();
    assert!(status.unwrap().success());
}

/// Unpacks with the system's tar.
fn reference(archive: &Path, into: &Path) {
    fs::create_dir(into).unwrap();
    let arguments = ["--strip-components=1", "--no-same-owner", "--no-same-permissions"];
    let mut command = Command::new("tar");
    command.args(arguments).arg("-xf").arg(archive).arg("-C").arg(into);
    assert!(command.status().unwrap().success());
}

/// As we give modes.
fn plain(tree: BTreeMap<PathBuf, There>) -> BTreeMap<PathBuf, There> {
    let plain = |there| match there {
        There::Folder { modified, .. } => There::Folder { mode: 0o755, modified },
        There::File { mode, modified, names, contents } => {
            There::File { mode: if mode & 0o111 != 0 { 0o755 } else { 0o644 }, modified, names, contents }
        }
        link => link,
    };
    tree.into_iter().map(|(path, there)| (path, plain(there))).collect()
}

fn compare(archive: &Path, format: Format) {
    let folder = TempDir::new().unwrap();
    let (theirs, ours) = (folder.path().join("theirs"), folder.path().join("ours"));
    reference(archive, &theirs);
    fs::create_dir(&ours).unwrap();
    let stopped = AtomicBool::new(false);
    let tree = lay_out(&mut open(archive), format, &ours, &strip(1), &Limits::default(), &stopped).unwrap();
    let (theirs, ours) = (plain(all(&theirs)), all(&ours));
    for (path, there) in &theirs {
        assert_eq!(ours.get(path), Some(there), "{}", path.display());
    }
    assert_eq!(ours.len(), theirs.len());
    let files = theirs.values().filter(|there| !matches!(there, There::Folder { .. })).count();
    assert_eq!(tree.done().files, files as u64);
}

/// A tree with all that archives of programs have.
fn fill(top: &Path) {
    fs::create_dir_all(top.join("bin")).unwrap();
    fs::create_dir_all(top.join("lib/modules/deep/er")).unwrap();
    fs::create_dir(top.join("empty")).unwrap();
    let long = "a-long-name-".repeat(15);
    fs::create_dir_all(top.join(&long).join(&long)).unwrap();
    let numbers: Vec<u8> =
        (0..300_000u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for (path, contents) in [
        ("bin/program", &numbers[..]),
        ("lib/modules/deep/er/file", b"text"),
        ("lib/nothing", b""),
        ("lib/exactly", &numbers[..512]),
        ("lib/one more", &numbers[..513]),
        ("lib/Case", b"upper"),
        ("lib/case", b"lower"),
        ("lib/ünïcode", b"text"),
    ] {
        fs::write(top.join(path), contents).unwrap();
    }
    fs::write(top.join(&long).join(&long).join(&long), "at a long path").unwrap();
    let mode =
        |path: &str, mode| fs::set_permissions(top.join(path), std::os::unix::fs::PermissionsExt::from_mode(mode));
    mode("bin/program", 0o755).unwrap();
    mode("lib/nothing", 0o600).unwrap();
    std::os::unix::fs::symlink("program", top.join("bin/alias")).unwrap();
    std::os::unix::fs::symlink("../lib/modules/deep", top.join("bin/deep")).unwrap();
    std::os::unix::fs::symlink(format!("../{long}/{long}/{long}"), top.join("bin/long")).unwrap();
    std::os::unix::fs::symlink("not there", top.join("lib/dangling")).unwrap();
    fs::hard_link(top.join("bin/program"), top.join("lib/program")).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_234_567_890);
    for path in ["lib/exactly", "lib/modules", "empty"] {
        open(&top.join(path)).set_times(fs::FileTimes::new().set_modified(old)).unwrap();
    }
}

#[test]
fn every_kind_of_tar_becomes_what_the_system_makes_of_it() {
    let folder = TempDir::new().unwrap();
    fill(&folder.path().join("top"));
    for (name, format, program) in [
        ("a.tar.gz", Format::TarGz, "gzip"),
        ("a.tar.xz", Format::TarXz, "xz"),
        ("a.tar.bz2", Format::TarBz2, "bzip2"),
        ("a.tar.zst", Format::TarZst, "zstd"),
    ] {
        if Command::new(program).arg("--version").output().is_err() {
            println!("{name} is left out: {program} is not installed");
            continue;
        }
        for shape in ["gnu", "pax", "ustar"] {
            // Names and link targets of any length are not in ustar.
            let exclude = if shape == "ustar" { "--exclude=*long*" } else { "--exclude=none" };
            let archive = folder.path().join(name);
            pack(folder.path(), &archive, &[&format!("--format={shape}"), exclude]);
            compare(&archive, format);
        }
    }
}

#[test]
fn several_compressed_streams_in_a_row_are_one_archive() {
    let mut bytes = [file("top/a", b"1"), file("top/b", &[7; 5000])].concat();
    bytes.resize(bytes.len() + 1024, 0);
    let (one, two) = bytes.split_at(700);
    let world = World::new();
    world.unpack(&[packed(one), packed(two)].concat(), Format::TarGz).unwrap();
    assert_eq!(world.read("top/b"), [7; 5000]);
    for (program, format) in [("xz", Format::TarXz), ("bzip2", Format::TarBz2), ("zstd", Format::TarZst)] {
        let compress = |bytes: &[u8]| {
            let mut input = tempfile::tempfile().unwrap();
            input.write_all(bytes).unwrap();
            input.rewind().unwrap();
            Some(Command::new(program).arg("-c").stdin(input).output().ok()?.stdout)
        };
        let (Some(one), Some(two)) = (compress(one), compress(two)) else {
            println!("{program} is not installed");
            continue;
        };
        let world = World::new();
        world.unpack(&[one, two].concat(), format).unwrap_or_else(|error| panic!("{program}: {error}"));
        assert_eq!(world.read("top/b"), [7; 5000], "{program}");
    }
}

#[test]
fn the_later_of_two_files_of_a_name_is_taken() {
    let world = World::new();
    let unpacked = world.entries(&[file("a", b"first"), file("b", b"1"), file("a", b"second"), file("A", b"other")]);
    assert_eq!(unpacked.unwrap(), Unpacked { files: 3, bytes: 17 });
    assert_eq!((world.read("a"), world.read("A")), (b"second".to_vec(), b"other".to_vec()));
}

#[test]
fn what_has_no_place_is_left_out() {
    let world = World::new();
    let entries = [file("readme", b"0"), folder("a"), file("a/b", b"1"), file("a/b/c", b"2"), file("x/y/z", b"3")];
    let unpacked = world.unpack_with(&archive(&entries[..3]), Format::TarGz, &strip(1), &Limits::default());
    assert_eq!(unpacked.unwrap(), Unpacked { files: 1, bytes: 1 });
    assert_eq!(paths(&world.below()), ["b"]);
    let world = World::new();
    let placed = |path: &Path| Some(Path::new("deeper").join(path.strip_prefix("x/y").ok()?));
    world.unpack_with(&archive(&entries[4..]), Format::TarGz, &placed, &Limits::default()).unwrap();
    assert_eq!(paths(&world.below()), ["deeper", "deeper/z"]);
    let hard_link = archive(&[file("top/a", b"1"), hard("top/h", "top/a")]);
    let world = World::new();
    world.unpack_with(&hard_link, Format::TarGz, &strip(1), &Limits::default()).unwrap();
    assert_eq!(world.read("h"), b"1");
}

#[test]
fn formats_are_told_by_the_name() {
    for (name, format) in [
        ("node-v20.10.0-linux-x64.tar.xz", Some(Format::TarXz)),
        ("go1.22.0.linux-amd64.tar.gz", Some(Format::TarGz)),
        ("x.tgz", Some(Format::TarGz)),
        ("x.txz", Some(Format::TarXz)),
        ("x.tbz2", Some(Format::TarBz2)),
        ("x.tar.zst", Some(Format::TarZst)),
        ("Bun.ZIP", Some(Format::Zip)),
        ("x.gz", None),
        ("x.tar", None),
        ("zip", None),
        ("", None),
    ] {
        assert_eq!(Format::of_name(name), format, "{name}");
    }
}

#[test]
fn all_of_it_is_on_the_disk_in_the_end() {
    let world = World::new();
    let mut archive_file = tempfile::tempfile().unwrap();
    archive_file.write_all(&archive(&[file("a", b"1")])).unwrap();
    let stopped = AtomicBool::new(false);
    let unpacked = unpack(&mut archive_file, Format::TarGz, &world.below(), &strip(0), &Limits::default(), &stopped);
    assert_eq!(unpacked.unwrap(), Unpacked { files: 1, bytes: 1 });
}

/// Numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn name(&mut self) -> String {
        let letters = ["a", "B", "ö", " ", "-", "é", ".x", "'", "\"", "$"];
        let length = if self.below(20) == 0 { 60 } else { 1 + self.below(6) };
        (0..length).map(|_| letters[self.below(letters.len() as u64) as usize]).collect()
    }
}

#[test]
fn random_trees_become_what_the_system_makes_of_them() {
    let given = std::env::var("OMG_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    let seed: u64 = given.unwrap_or_else(|| if in_ci { 20_260_101 } else { now() });
    println!("random trees: OMG_TEST_SEED={seed}");
    let mut random = Random(seed);
    for round in 0..12 {
        let folder = TempDir::new().unwrap();
        let top = folder.path().join("top");
        fs::create_dir(&top).unwrap();
        let (mut folders, mut files) = (vec![PathBuf::new()], Vec::new());
        for _ in 0..random.below(80) {
            let parent = folders[random.below(folders.len() as u64) as usize].clone();
            let path = parent.join(random.name());
            if fs::symlink_metadata(top.join(&path)).is_ok() || parent.components().count() > 20 {
                continue;
            }
            match random.below(10) {
                0..=2 => {
                    fs::create_dir(top.join(&path)).unwrap();
                    folders.push(path);
                }
                3 if !files.is_empty() => {
                    let original: &PathBuf = &files[random.below(files.len() as u64) as usize];
                    fs::hard_link(top.join(original), top.join(&path)).unwrap();
                }
                4 => {
                    let up = "../".repeat(random.below(parent.components().count() as u64 + 1) as usize);
                    let target = format!("{up}{}", random.name());
                    std::os::unix::fs::symlink(target, top.join(&path)).unwrap();
                }
                _ => {
                    let length = random.below(3) * random.below(100_000);
                    let contents: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
                    fs::write(top.join(&path), contents).unwrap();
                    let mode = [0o644, 0o755, 0o600, 0o711][random.below(4) as usize];
                    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
                    fs::set_permissions(top.join(&path), mode).unwrap();
                    files.push(path);
                }
            }
        }
        let shape = ["--format=gnu", "--format=pax"][random.below(2) as usize];
        let archive = folder.path().join("a.tar.gz");
        pack(folder.path(), &archive, &[shape]);
        println!("round {round}: {} folders, {} files, {shape}", folders.len(), files.len());
        compare(&archive, Format::TarGz);
    }
}
