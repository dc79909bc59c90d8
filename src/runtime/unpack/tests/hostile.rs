use super::*;

/// The message for these entries.
fn refusal(entries: &[Vec<u8>]) -> String {
    World::new().entries(entries).unwrap_err().to_string()
}

#[test]
fn names_that_lead_out_of_the_folder_refuse_the_whole_archive() {
    let world = World::new();
    let error = world.entries(&[file("good", b"1"), file("/etc/x", b"2")]).unwrap_err();
    assert_eq!(error.to_string(), r#"the archive is refused: its entry "/etc/x" has an absolute path"#);
    for name in ["../beside", "a/../../beside", "a/..", "..", "./../beside"] {
        let error = refusal(&[file(name, b"x")]);
        assert_eq!(error, format!("the archive is refused: its entry {name:?} leads out of its folder with \"..\""));
    }
    assert_eq!(refusal(&[file("", b"x")]), r#"the archive is refused: its entry "" has no name"#);
    assert_eq!(refusal(&[file(".", b"x")]), r#"the archive is refused: its entry "" has no name"#);
    World::new().entries(&[folder("./"), file("./x", b"1")]).unwrap();
}

#[test]
fn control_characters_and_endless_names_are_refused_and_shown_escaped() {
    let refused = |name: &[u8]| refusal(&[entry(EntryType::Regular, name, b"", 0o644, b"x")]);
    let reason = "has control characters in its name";
    assert_eq!(refused(b"a\x1b[31mb"), format!(r#"the archive is refused: its entry "a\u{{1b}}[31mb" {reason}"#));
    assert_eq!(refused(b"a\nb"), format!(r#"the archive is refused: its entry "a\nb" {reason}"#));
    assert_eq!(refused("a\u{9b}b".as_bytes()), format!(r#"the archive is refused: its entry "a\u{{9b}}b" {reason}"#));
    assert!(refused(b"\xff\x01").ends_with(reason));
    let long = "n".repeat(256);
    let named = [entry(EntryType::GNULongName, b"././@LongLink", b"", 0o644, long.as_bytes()), file("x", b"1")];
    assert_eq!(
        refusal(&named),
        format!("the archive is refused: its entry \"{}\"… has a name that is too long", "n".repeat(96))
    );
    let deep = "d/".repeat(200) + "x";
    let named = [entry(EntryType::GNULongName, b"././@LongLink", b"", 0o644, deep.as_bytes()), file("x", b"1")];
    assert!(refusal(&named).ends_with("lies too deep"));
    let path = "d/".repeat(2000);
    let named = [entry(EntryType::GNULongName, b"././@LongLink", b"", 0o644, path.as_bytes()), file("x", b"1")];
    assert!(refusal(&named).ends_with("has a name that is too long"));
}

#[test]
fn names_of_any_bytes_are_taken() {
    let world = World::new();
    let name = b"caf\xe9";
    world.entries(&[entry(EntryType::Regular, name, b"", 0o644, b"x")]).unwrap();
    let path = world.below().join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name));
    assert_eq!(fs::read(path).unwrap(), b"x");
}

#[test]
fn links_out_of_the_folder_are_refused() {
    let refused = |name: &str, target: &str| refusal(&[link(name, target)]);
    for (name, target) in
        [("l", ".."), ("a/l", "../.."), ("a/l", "../../into/x"), ("l", "x/../../y"), ("a/l", "./../..")]
    {
        let expected = format!("the archive is refused: its entry {name:?} links out of the archive's folder");
        assert_eq!(refused(name, target), expected);
    }
    assert_eq!(refused("l", "/etc/passwd"), r#"the archive is refused: its entry "l" links to an absolute path"#);
    assert!(refused("l", "").ends_with("links to a name that is empty or too long"));
    assert!(refused("l", "a\x1bb").ends_with("links to a name with control characters"));
}

#[test]
fn links_over_links_and_up_again_are_refused() {
    // By its text `m` is `d/x`; by the links it is two folders above the archive's.
    let entries = [folder("d/e"), link("d/e/f", "../.."), link("m", "d/e/f/../../x")];
    let expected = r#"the archive is refused: its entry "m" links over another link and up again"#;
    assert_eq!(refusal(&entries), expected);
    let [d, f, m] = entries;
    assert_eq!(refusal(&[m, d, f]), expected, "whichever comes first");
    let world = World::new();
    world.entries(&[file("d/e/x", b"1"), file("d/y", b"2"), link("m", "d/e/../y")]).unwrap();
    assert_eq!(world.read("m"), b"2");
}

#[test]
fn nothing_is_written_through_a_link() {
    let through = [folder("real"), link("l", "real"), file("l/x", b"1")];
    assert_eq!(refusal(&through), r#"the archive is refused: its entry "l" leads through what is not a folder"#);
    assert!(refusal(&[link("l", "."), folder("l")]).contains("leads through what is not a folder"));
    assert!(refusal(&[folder("real"), link("l", "real"), link("l/x", "y")]).contains("leads through"));
    assert!(refusal(&[file("real/x", b"1"), link("l", "real"), hard("y", "l/x")]).contains("leads through"));
    assert!(refusal(&[file("f", b"1"), file("f/x", b"2")]).contains("leads through what is not a folder"));
    // A file over a link takes its place; what the link leads to stays.
    let world = World::new();
    world.entries(&[file("target", b"old"), link("l", "target"), file("l", b"new")]).unwrap();
    assert_eq!((world.read("target"), world.read("l")), (b"old".to_vec(), b"new".to_vec()));
    assert!(!fs::symlink_metadata(world.below().join("l")).unwrap().is_symlink());
}

#[test]
fn a_folder_does_not_become_a_link() {
    let error = refusal(&[file("d/x", b"1"), link("d", "..")]);
    assert!(error.contains("links out of"), "{error}");
    let error = refusal(&[file("d/x", b"1"), link("d", "e")]);
    assert_eq!(error, r#"the archive is refused: its entry "d" comes twice, as a folder and as something else"#);
}

#[test]
fn hard_links_lead_only_to_files_that_came_before() {
    let world = World::new();
    fs::write(world.folder.path().join("beside"), "untouched").unwrap();
    for target in ["../beside", "/etc/passwd", "a/../../beside"] {
        assert!(matches!(world.entries(&[hard("h", target)]), Err(UnpackError::Refused { .. })), "{target}");
    }
    let late = "links to a file that did not come before it";
    assert!(refusal(&[hard("h", "x"), file("x", b"1")]).ends_with(late));
    assert!(refusal(&[hard("h", "d/x")]).ends_with(late));
    assert!(refusal(&[folder("d"), hard("h", "d")]).ends_with("is a hard link to what is not a file"));
    assert!(refusal(&[link("l", "x"), hard("h", "l")]).ends_with("is a hard link to what is not a file"));
    assert!(refusal(&[file("x", b"1"), hard("x", "x")]).ends_with("links to itself"));
    let world = World::new();
    world.entries(&[file("x", b"1"), hard("d/h", "./x"), file("x", b"2")]).unwrap();
    assert_eq!((world.read("x"), world.read("d/h")), (b"2".to_vec(), b"1".to_vec()), "the later file is another one");
}

#[test]
fn devices_pipes_and_files_with_holes_are_refused() {
    for (kind, reason) in [
        (EntryType::Char, "is a device"),
        (EntryType::Block, "is a device"),
        (EntryType::Fifo, "is a pipe"),
        (EntryType::GNUSparse, "is a file with holes"),
        (EntryType::new(b'V'), "is of an unknown kind"),
    ] {
        let error = refusal(&[entry(kind, b"x", b"", 0o644, b"")]);
        assert_eq!(error, format!("the archive is refused: its entry \"x\" {reason}"));
    }
    let sparse = pax(&[("GNU.sparse.major", "1")]);
    assert!(refusal(&[sparse, file("x", b"1")]).contains("files with holes"));
}

#[test]
fn modes_have_no_more_than_the_executable_bit() {
    let world = World::new();
    let of_mode = |name: &str, mode| entry(EntryType::Regular, name.as_bytes(), b"", mode, b"x");
    let closed = entry(EntryType::Directory, b"d", b"", 0o7000, b"");
    world.entries(&[of_mode("a", 0o6777), of_mode("b", 0o666), of_mode("c", 0), of_mode("e", 0o100), closed]).unwrap();
    let mode = |path: &str| fs::metadata(world.below().join(path)).unwrap().mode() & 0o7777;
    assert_eq!(["a", "b", "c", "d", "e"].map(mode), [0o755, 0o644, 0o644, 0o755, 0o755]);
}

#[test]
fn limits_count_what_is_declared_before_it_is_written() {
    let world = World::new();
    let limits = Limits { bytes: 1000, entries: 3, ..Limits::default() };
    let unpack = |entries: &[Vec<u8>]| world.unpack_with(&archive(entries), Format::TarGz, &strip(0), &limits);
    let mut endless = file("endless", b"");
    let mut header = Header::from_byte_slice(&endless).clone();
    header.set_size(1 << 40);
    header.set_cksum();
    endless.copy_from_slice(header.as_bytes());
    let error = unpack(&[endless]).unwrap_err();
    assert_eq!(error.to_string(), "the archive is refused: it holds more than 1000 bytes");
    assert_eq!(paths(&world.below()), [""; 0]);
    assert!(matches!(unpack(&[file("a", &[1; 600]), file("b", &[1; 600])]), Err(UnpackError::TooLarge(1000))));
    assert_eq!(paths(&world.below()), ["a"]);
    let four = ["a", "b", "c", "d"].map(|name| file(name, b""));
    assert_eq!(unpack(&four).unwrap_err().to_string(), "the archive is refused: it has more than 3 entries");
    // What is left out counts as well.
    let left_out = world.unpack_with(&archive(&[file("a", &[1; 2000])]), Format::TarGz, &|_| None, &limits);
    assert!(matches!(left_out, Err(UnpackError::TooLarge(1000))));
}

#[test]
fn an_archive_that_swells_is_a_bomb() {
    let world = World::new();
    let mut bytes = file("zeros", &vec![0; 200 << 20]);
    bytes.resize(bytes.len() + 1024, 0);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes).unwrap();
    let error = world.unpack(&encoder.finish().unwrap(), Format::TarGz).unwrap_err();
    assert!(matches!(error, UnpackError::Bomb { .. }), "{error}");
}

/// A pax header with these records.
fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let length = (1..).find(|digits| format!("{}", rest.len() + digits).len() == *digits).unwrap() + rest.len();
        text.push_str(&format!("{length}{rest}"));
    }
    entry(EntryType::XHeader, b"pax", b"", 0o644, text.as_bytes())
}

#[test]
fn what_pax_records_say_is_judged_as_what_headers_say() {
    assert!(refusal(&[pax(&[("path", "../x")]), file("x", b"1")]).contains("leads out of its folder"));
    assert!(refusal(&[pax(&[("linkpath", "/etc")]), link("l", "x")]).contains("links to an absolute path"));
    assert!(refusal(&[pax(&[("path", "a\0b")]), file("x", b"1")]).contains("control characters"));
    assert!(refusal(&[pax(&[("size", "1000000000000000")]), file("x", b"1")]).contains("more than"));
    let world = World::new();
    let entries =
        [pax(&[("path", "d/long"), ("mtime", "-5.5")]), file("x", b"1"), pax(&[("mtime", "9.25")]), file("y", b"2")];
    world.entries(&entries).unwrap();
    assert_eq!(paths(&world.below()), ["d", "d/long", "y"]);
    let times = |path: &str| {
        let metadata = fs::metadata(world.below().join(path)).unwrap();
        (metadata.mtime(), metadata.mtime_nsec())
    };
    assert_eq!((times("d/long"), times("y")), ((0, 0), (9, 250_000_000)));
    for records in ["9 a=b", "99 a=b\n", "x a=b\n", "6 ab\n\n", " \n"] {
        let damaged = entry(EntryType::XHeader, b"pax", b"", 0o644, records.as_bytes());
        assert!(
            refusal(&[damaged, file("x", b"1")]).contains("description of an entry is not readable"),
            "{records:?}"
        );
    }
    let global = entry(EntryType::XGlobalHeader, b"pax", b"", 0o644, b"13 comment=ab\n");
    assert!(refusal(&[global, file("x", b"1")]).contains("not readable"));
    let global = entry(EntryType::XGlobalHeader, b"pax", b"", 0o644, b"14 comment=ab\n");
    World::new().entries(&[global, file("x", b"1")]).unwrap();
    let huge = entry(EntryType::GNULongName, b"x", b"", 0o644, &vec![b'a'; 2 << 20]);
    assert!(refusal(&[huge, file("x", b"1")]).contains("description of an entry is too long"));
}

#[test]
fn places_outside_of_the_folder_are_refused() {
    let world = World::new();
    let bytes = archive(&[file("a", b"1")]);
    for place in ["../beside", "/tmp/x", "a/../../beside"] {
        let place = PathBuf::from(place);
        let result = world.unpack_with(&bytes, Format::TarGz, &|_| Some(place.clone()), &Limits::default());
        let error = result.unwrap_err().to_string();
        assert!(error.ends_with("would be placed outside of its folder"), "{error}");
    }
}

#[test]
fn damaged_archives_are_told_with_where() {
    let contents: Vec<u8> =
        (0..200_000u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut whole = [file("a", b"1"), file("b", &contents)].concat();
    whole.resize(whole.len() + 1024, 0);
    let good = packed(&whole);
    let world = World::new();
    let message = |bytes: &[u8]| world.unpack(bytes, Format::TarGz).unwrap_err().to_string();
    for length in [0, 5, 100, good.len() / 2, good.len() - 9, good.len() - 1] {
        let error = message(&good[..length]);
        assert!(error.starts_with("the archive is damaged at byte "), "{length}: {error}");
        assert!(error.ends_with("it ends too early"), "{length}: {error}");
    }
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    assert!(message(&flipped).starts_with("the archive is damaged at byte "), "{}", message(&flipped));
    let mut crc = good;
    let at = crc.len() - 6;
    crc[at] ^= 1;
    assert!(message(&crc).starts_with("the archive is damaged at byte "), "its checksum is looked at");
    // The compressed stream is whole, the tar is not.
    assert!(message(&packed(&whole[..whole.len() - 1024])).ends_with("it ends without an end mark"));
    assert!(message(&packed(&whole[..5000])).ends_with("it ends within a file"));
    assert!(message(&packed(&whole[..300])).ends_with("it ends too early"));
    let mut header = whole.clone();
    header[3] ^= 1;
    let expected = "the archive is damaged at byte 512 of its unpacked contents: the checksum of a header is wrong";
    assert_eq!(message(&packed(&header)), expected);
    for format in [Format::TarXz, Format::TarZst, Format::TarBz2, Format::Zip] {
        for bytes in [&b""[..], b"<html>not an archive</html>", &[0; 3000]] {
            let result = world.unpack(bytes, format);
            assert!(matches!(result, Err(UnpackError::Damaged { .. })), "{format:?}: {result:?}");
        }
    }
}

#[test]
fn it_stops_between_entries() {
    let world = World::new();
    let stopped = AtomicBool::new(false);
    let mut archive_file = tempfile::tempfile().unwrap();
    archive_file.write_all(&archive(&[file("a", b"1"), file("b", b"2"), file("c", b"3")])).unwrap();
    let place = |path: &Path| {
        stopped.store(path == Path::new("b"), std::sync::atomic::Ordering::Relaxed);
        Some(path.to_owned())
    };
    let result = unpack(&mut archive_file, Format::TarGz, &world.below(), &place, &Limits::default(), &stopped);
    assert!(matches!(result, Err(UnpackError::Stopped)), "{result:?}");
    assert!(!world.below().join("c").exists());
}

/// A zip of entries: name, mode with the kind of file, contents.
fn zipped(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (number, (name, mode, contents)) in entries.iter().enumerate() {
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .unix_permissions(mode & 0o777);
        // The writer takes no hostile names; they are put in below, at the same length.
        let mild = format!("{number:0width$}", width = name.len());
        writer.start_file(mild, options).unwrap();
        writer.write_all(contents).unwrap();
    }
    let mut bytes = writer.finish().unwrap().into_inner();
    for (number, (name, mode, _)) in entries.iter().enumerate() {
        let mild = format!("{number:0width$}", width = name.len());
        let mut from = 0;
        while let Some(at) = bytes[from..].windows(4).position(|four| four == b"PK\x01\x02" || four == b"PK\x03\x04") {
            let at = from + at;
            let is_central = bytes[at + 2] == 1;
            let (name_at, length_at) = if is_central { (at + 46, at + 28) } else { (at + 30, at + 26) };
            let length = usize::from(u16::from_le_bytes([bytes[length_at], bytes[length_at + 1]]));
            if bytes.get(name_at..name_at + length) == Some(mild.as_bytes()) {
                bytes[name_at..name_at + mild.len()].copy_from_slice(name.as_bytes());
                if is_central {
                    bytes[at + 5] = 3;
                    bytes[at + 38..at + 42].copy_from_slice(&(mode << 16).to_le_bytes());
                }
            }
            from = at + 4;
        }
    }
    bytes
}

#[test]
fn hostile_zips_are_refused() {
    let refused =
        |entries: &[(&str, u32, &[u8])]| World::new().unpack(&zipped(entries), Format::Zip).unwrap_err().to_string();
    assert!(refused(&[("../beside", 0o100_644, b"x")]).contains("leads out of its folder"));
    assert!(refused(&[("/etc/x", 0o100_644, b"x")]).contains("has an absolute path"));
    assert!(refused(&[("a\\..\\x", 0o100_644, b"x")]).contains("has a backslash in its name"));
    assert!(refused(&[("a\x1bb", 0o100_644, b"x")]).contains("control characters"));
    assert!(refused(&[("link", 0o120_777, b"../beside")]).contains("links out of the archive's folder"));
    assert!(refused(&[("link", 0o120_777, b"/etc")]).contains("links to an absolute path"));
    assert!(refused(&[("link", 0o120_777, b"."), ("link/x", 0o100_644, b"x")]).contains("leads through"));
    assert!(refused(&[("device", 0o020_644, b"")]).contains("neither a file nor a folder nor a link"));
    assert!(refused(&[("pipe", 0o010_644, b"")]).contains("neither a file nor a folder nor a link"));
    let zeros = vec![0; 80 << 20];
    assert!(refused(&[("zeros", 0o100_644, &zeros)]).contains("become more than"));
    let mut encrypted = zipped(&[("a", 0o100_644, b"x")]);
    for at in 0..encrypted.len() - 10 {
        if encrypted[at..].starts_with(b"PK\x01\x02") {
            encrypted[at + 8] |= 1;
        }
    }
    assert!(World::new().unpack(&encrypted, Format::Zip).unwrap_err().to_string().contains("is encrypted"));
    let twice = zipped(&[("ab", 0o100_644, b"x"), ("ab", 0o100_644, b"y")]);
    assert!(World::new().unpack(&twice, Format::Zip).unwrap_err().to_string().contains("a name comes twice"));
    let mut wrong = zipped(&[("a", 0o100_644, b"some contents that are there")]);
    wrong[40] ^= 0xff;
    assert!(matches!(World::new().unpack(&wrong, Format::Zip), Err(UnpackError::Damaged { .. })));
}

#[test]
fn zips_have_links_modes_and_limits() {
    let world = World::new();
    let bytes = zipped(&[("d/run", 0o104_755, b"#!"), ("d/text", 0o100_666, b"text"), ("l", 0o120_777, b"d/text")]);
    let limits = Limits { bytes: 10, ..Limits::default() };
    let error = world.unpack_with(&bytes, Format::Zip, &strip(0), &limits).unwrap_err();
    assert!(matches!(error, UnpackError::TooLarge(10)), "{error}");
    assert_eq!(paths(&world.below()), [""; 0], "nothing is written before all is counted");
    assert_eq!(world.unpack(&bytes, Format::Zip).unwrap(), Unpacked { files: 3, bytes: 6 });
    let mode = |path: &str| fs::metadata(world.below().join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("d/run"), mode("d/text"), world.read("l")), (0o755, 0o644, b"text".to_vec()));
}
