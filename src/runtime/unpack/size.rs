//! How much an archive becomes, by its own word, read without unpacking it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use zip::ZipArchive;

use super::Format;

/// Longest index of an xz stream that is read, bytes.
const MAX_INDEX: u64 = 4 << 20;

/// The bytes that the archive unpacks to, the headers of a tar included; `None` where its format does not tell, or it is not
/// readable: whoever unpacks it finds out why. Its position is its beginning afterwards.
pub fn unpacked_size(archive: &mut File, format: Format) -> Option<u64> {
    let told = match format {
        Format::TarXz => of_xz(archive),
        Format::TarGz => of_gzip(archive),
        Format::Zip => of_zip(archive),
        // Bzip2 has no sizes, and zstd none that is told by what compresses a stream.
        Format::TarBz2 | Format::TarZst => Ok(None),
    };
    let size = told.ok().flatten();
    archive.rewind().ok()?;
    size
}

/// By the index at the end of the last stream (the .xz file format 1.2.1, 2.1.2 and 4).
fn of_xz(archive: &mut File) -> io::Result<Option<u64>> {
    let end = archive.seek(SeekFrom::End(-12))?;
    let mut footer = [0u8; 12];
    archive.read_exact(&mut footer)?;
    let [_, _, _, _, a, b, c, d, _, _, b'Y', b'Z'] = footer else { return Ok(None) };
    let length = (u64::from(u32::from_le_bytes([a, b, c, d])) + 1) * 4;
    let Some(start) = end.checked_sub(length).filter(|_| length <= MAX_INDEX) else { return Ok(None) };
    archive.seek(SeekFrom::Start(start))?;
    let mut index = Vec::new();
    archive.take(length).read_to_end(&mut index)?;
    Ok(of_index(&index))
}

fn of_index(index: &[u8]) -> Option<u64> {
    let mut rest = index.strip_prefix(&[0])?;
    let records = number(&mut rest)?;
    let mut sum = 0u64;
    for _ in 0..records {
        number(&mut rest)?;
        sum = sum.checked_add(number(&mut rest)?)?;
    }
    Some(sum)
}

/// A number of the format: seven bits in a byte, the lowest first.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for place in 0..9 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// By the last four bytes (RFC 1952, 2.3.1): the size modulo 4 GiB, of the last member alone. What is less than the archive
/// itself cannot be it.
fn of_gzip(archive: &mut File) -> io::Result<Option<u64>> {
    let length = archive.seek(SeekFrom::End(-4))?;
    let mut size = [0u8; 4];
    archive.read_exact(&mut size)?;
    Ok(Some(u64::from(u32::from_le_bytes(size))).filter(|size| *size >= length))
}

/// By its list of entries.
fn of_zip(archive: &mut File) -> io::Result<Option<u64>> {
    archive.rewind()?;
    let mut archive = ZipArchive::new(io::BufReader::new(archive))?;
    let mut sum = 0u64;
    for index in 0..archive.len() {
        sum = sum.saturating_add(archive.by_index_raw(index)?.size());
    }
    Ok(Some(sum))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn compressed(program: &str, bytes: &[u8]) -> File {
        let (mut input, output) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        input.write_all(bytes).unwrap();
        input.rewind().unwrap();
        let mut command = Command::new(program);
        let status = command.args(["-c"]).stdin(Stdio::from(input)).stdout(output.try_clone().unwrap()).status();
        assert!(status.unwrap().success());
        // The program wrote through the same position.
        (&output).rewind().unwrap();
        output
    }

    #[test]
    fn what_an_archive_becomes_is_told_by_its_own_end() {
        for length in [0usize, 1, 127, 128, 300_000, 5 << 20] {
            let bytes: Vec<u8> = (0..length).map(|at| (at / 3 % 251) as u8).collect();
            let size = Some(length as u64);
            let mut xz = compressed("xz", &bytes);
            assert_eq!(unpacked_size(&mut xz, Format::TarXz), size, "{length}");
            assert_eq!(xz.stream_position().unwrap(), 0);
            if length > 200 {
                assert_eq!(unpacked_size(&mut compressed("gzip", &bytes), Format::TarGz), size, "{length}");
            }
            assert_eq!(unpacked_size(&mut compressed("bzip2", &bytes), Format::TarBz2), None);
        }
        let mut zip = zip::ZipWriter::new(tempfile::tempfile().unwrap());
        for name in ["a", "b"] {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(&[0; 70_000]).unwrap();
        }
        assert_eq!(unpacked_size(&mut zip.finish().unwrap(), Format::Zip), Some(140_000));
    }

    #[test]
    fn an_archive_that_lies_or_is_none_is_no_failure_here() {
        let mut cut = compressed("xz", &[7; 10_000]);
        let mut bytes = Vec::new();
        cut.read_to_end(&mut bytes).unwrap();
        let mut huge = bytes.clone();
        let at = huge.len() - 8;
        huge[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        for bad in [&b""[..], b"YZ", &bytes[..bytes.len() - 1], &huge, &[0xff; 40]] {
            for format in [Format::TarXz, Format::Zip, Format::TarZst] {
                assert_eq!(unpacked_size(&mut file(bad), format), None, "{format:?} {}", bad.len());
            }
        }
        // More than the file holds of what it says.
        assert_eq!(of_index(&[0, 0xff, 0xff, 0xff, 0x7f, 1, 1]), None);
        assert_eq!(unpacked_size(&mut file(b"\0\0\0\0\0\0\0\0"), Format::TarGz), None);
    }
}
