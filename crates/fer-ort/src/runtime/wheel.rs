//! Extracts files from a wheel: a zip file with a `RECORD` that lists every member's SHA-256.
//!
//! The chosen members go into one flat folder under names that the caller gives, so a member's path
//! can't escape from it. Each is compared with `RECORD` while it is written.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::error::WheelError;

/// The largest `RECORD` that is read; real ones are below 100 kB.
const MAX_RECORD: u64 = 16 << 20;

/// Limits for one wheel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of one member.
    pub member: u64,
    /// Bytes of all members together.
    pub total: u64,
}

/// 2 GiB per member, 4 GiB per wheel; the largest real ones are a quarter of that.
pub(super) const LIMITS: Limits = Limits {
    member: 2 << 30,
    total: 4 << 30,
};

/// What was extracted from a wheel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// How many files.
    pub files: usize,
    /// Their total size.
    pub bytes: u64,
}

/// Writes the members for which `name_of` returns a file name into `goal`, each compared with
/// `RECORD`.
///
/// `name_of` gets a member's path in the wheel. A file that already exists in `goal` is an error.
pub(super) fn unpack(
    wheel: &Path,
    goal: &Path,
    limits: Limits,
    name_of: &dyn Fn(&str) -> Option<String>,
) -> Result<Unpacked, WheelError> {
    let mut archive = ZipArchive::new(
        File::open(wheel).map_err(|error| WheelError::Unreadable(error.to_string()))?,
    )?;
    let record = read_record(&mut archive)?;
    let mut names = BTreeSet::new();
    let mut done = Unpacked::default();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index)?;
        let path = member.name()?.into_owned();
        let Some(name) = name_of(&path) else { continue };
        if !is_plain_name(&name) || !member.is_file() || !names.insert(name.to_lowercase()) {
            return Err(WheelError::OddMember { member: path });
        }
        let listed = record.get(&path).ok_or_else(|| WheelError::NotInRecord {
            member: path.clone(),
        })?;
        // The declared size is only a first check. The copy below counts the real bytes.
        let room = limits.member.min(limits.total - done.bytes);
        if member.size() > room {
            return Err(WheelError::TooLarge { member: path });
        }
        let goal_file = goal.join(&name);
        let write_error = |source| WheelError::Write {
            path: goal_file.clone(),
            source,
        };
        let mut output = File::create_new(&goal_file).map_err(write_error)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 18];
        let mut size = 0_u64;
        loop {
            let read = match member.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(WheelError::Damaged {
                        member: path,
                        reason: error.to_string(),
                    });
                }
            };
            size += read as u64;
            if size > room {
                return Err(WheelError::TooLarge { member: path });
            }
            hasher.update(&buffer[..read]);
            output.write_all(&buffer[..read]).map_err(write_error)?;
        }
        if base64_url(hasher.finalize().as_slice()) != *listed {
            return Err(WheelError::RecordMismatch { member: path });
        }
        done = Unpacked {
            files: done.files + 1,
            bytes: done.bytes + size,
        };
    }
    Ok(done)
}

/// The SHA-256 of a file in lower-case hex.
pub(super) fn sha256_of(file: &Path) -> io::Result<String> {
    let mut input = File::open(file)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// The last part of a member's path if the rest of it is exactly `folder`.
pub(super) fn name_in<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?
        .strip_prefix('/')
        .filter(|name| !name.contains('/'))
}

/// Whether a member is in the wheel's `.dist-info` folder under this name.
pub(super) fn is_info(path: &str, name: &str) -> bool {
    path.split_once('/')
        .is_some_and(|(folder, rest)| folder.ends_with(".dist-info") && rest == name)
}

/// Member path to its SHA-256 in the form that `RECORD` uses.
fn read_record(archive: &mut ZipArchive<File>) -> Result<HashMap<String, String>, WheelError> {
    let names = archive.file_names().flatten();
    let mut records: Vec<String> = names
        .filter(|name| is_info(name, "RECORD"))
        .map(|name| name.into_owned())
        .collect();
    let name = match (records.pop(), records.is_empty()) {
        (Some(name), true) => name,
        _ => return Err(WheelError::NoRecord),
    };
    let mut text = String::new();
    let mut member = archive.by_name(&name)?.take(MAX_RECORD + 1);
    member
        .read_to_string(&mut text)
        .map_err(|error| WheelError::Damaged {
            member: name.clone(),
            reason: error.to_string(),
        })?;
    if text.len() as u64 > MAX_RECORD {
        return Err(WheelError::TooLarge { member: name });
    }
    Ok(parse_record(&text))
}

/// Lines of `path,sha256=…,size`. A path with a comma or a quote is quoted, with quotes doubled.
fn parse_record(text: &str) -> HashMap<String, String> {
    let entry = |line: &str| {
        let mut fields = line.rsplitn(3, ',');
        let (_size, hash, path) = (fields.next()?, fields.next()?, fields.next()?);
        let hash = hash.strip_prefix("sha256=")?.trim_end_matches('=');
        let path = match path
            .strip_prefix('"')
            .and_then(|path| path.strip_suffix('"'))
        {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => path.to_owned(),
        };
        Some((path, hash.to_owned()))
    };
    text.lines().filter_map(entry).collect()
}

/// URL-safe Base64 without padding, as `RECORD` writes hashes.
pub(super) fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=chunk.len() {
            text.push(char::from(
                ALPHABET[(bits >> (18 - 6 * place) & 63) as usize],
            ));
        }
    }
    text
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::runtime::testing::{record_of, wheel, zip_file};

    const LIB: (&str, &[u8]) = ("onnxruntime/capi/libonnxruntime.so.1.2.3", b"the library");
    const LICENSE: (&str, &[u8]) = ("onnxruntime/LICENSE", b"free");

    fn last_part(path: &str) -> Option<String> {
        (!path.ends_with("/RECORD")).then(|| path.rsplit('/').next().unwrap_or_default().to_owned())
    }

    fn try_unpack(wheel: &Path) -> (PathBuf, Result<Unpacked, WheelError>) {
        let goal = wheel.with_extension("out");
        std::fs::create_dir_all(&goal).unwrap();
        let result = unpack(
            wheel,
            &goal,
            Limits {
                member: 100,
                total: 150,
            },
            &last_part,
        );
        (goal, result)
    }

    #[test]
    fn members_are_checked_and_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = wheel(
            &folder.path().join("a.whl"),
            &[LIB, LICENSE, ("onnxruntime/", b"")],
        );
        let goal = folder.path().join("goal");
        std::fs::create_dir(&goal).unwrap();
        let wanted = |path: &str| name_in(path, "onnxruntime/capi").map(str::to_owned);
        assert_eq!(
            unpack(&file, &goal, LIMITS, &wanted).unwrap(),
            Unpacked {
                files: 1,
                bytes: 11
            }
        );
        assert_eq!(
            std::fs::read(goal.join("libonnxruntime.so.1.2.3")).unwrap(),
            LIB.1
        );
        assert_eq!(std::fs::read_dir(&goal).unwrap().count(), 1);
        // The second time, the file already exists.
        assert!(matches!(
            unpack(&file, &goal, LIMITS, &wanted),
            Err(WheelError::Write { .. })
        ));
    }

    #[test]
    fn hostile_and_damaged_wheels() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let big = [7_u8; 101];
        let half = [7_u8; 90];
        let record = record_of(&[LIB]);
        let with_record =
            |member: (&'static str, &'static [u8])| vec![member, ("x.dist-info/RECORD", b"")];
        let other_content = [
            (LIB.0, &b"another one"[..]),
            ("x-1.dist-info/RECORD", record.as_bytes()),
        ];
        let two_records = [
            LIB,
            ("a.dist-info/RECORD", record.as_bytes()),
            ("b.dist-info/RECORD", b""),
        ];
        let rows: Vec<(&str, PathBuf, &str)> = vec![
            (
                "no zip",
                crate::runtime::testing::put(&at("text.whl"), b"<html>"),
                "not a readable zip file",
            ),
            ("absent", at("absent.whl"), "cannot be opened"),
            (
                "no RECORD",
                zip_file(&at("none.whl"), &[LIB]),
                "no single RECORD",
            ),
            (
                "two RECORDs",
                zip_file(&at("two.whl"), &two_records),
                "no single RECORD",
            ),
            (
                "unlisted",
                zip_file(&at("unlisted.whl"), &with_record(LIB)),
                "is not listed in its RECORD",
            ),
            (
                "other content",
                zip_file(&at("other.whl"), &other_content),
                "differs from its RECORD",
            ),
            (
                "big member",
                wheel(&at("big.whl"), &[("a/b", &big)]),
                "is larger than fer unpacks",
            ),
            (
                "big sum",
                wheel(&at("sum.whl"), &[("a/b", &half), ("a/c", &half)]),
                "is larger than fer unpacks",
            ),
            (
                "same name",
                wheel(&at("same.whl"), &[("a/x", b"1"), ("b/X", b"2")]),
                "has a name",
            ),
            (
                "parent",
                wheel(&at("parent.whl"), &[("a/..", b"1")]),
                "has a name",
            ),
            (
                "backslash",
                wheel(&at("back.whl"), &[("a/..\\..\\evil", b"1")]),
                "has a name",
            ),
            (
                "empty",
                wheel(&at("empty.whl"), &[("a//", b"")]),
                "has a name",
            ),
        ];
        let mut wrong = Vec::new();
        for (row, file, expected) in rows {
            match try_unpack(&file).1 {
                Err(error)
                    if error.to_string().contains(expected)
                        && !error.to_string().contains('\n') => {}
                other => wrong.push(format!("{row}: {other:?}")),
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        let mut outside: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        outside.retain(|path| {
            !matches!(
                path.extension().and_then(|e| e.to_str()),
                Some("whl" | "out")
            )
        });
        assert!(outside.is_empty(), "{outside:?}");
    }

    #[test]
    fn every_truncation_and_any_flipped_byte_is_an_error_or_the_same_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = wheel(&folder.path().join("a.whl"), &[LIB, LICENSE]);
        let whole = std::fs::read(&file).unwrap();
        let attempt = |bytes: &[u8]| {
            let folder = tempfile::tempdir().unwrap();
            let file = crate::runtime::testing::put(&folder.path().join("b.whl"), bytes);
            let (goal, result) = try_unpack(&file);
            let written = |name: &str| std::fs::read(goal.join(name)).ok();
            (
                result,
                written("libonnxruntime.so.1.2.3"),
                written("LICENSE"),
            )
        };
        for length in 0..whole.len() {
            assert!(
                attempt(&whole[..length]).0.is_err(),
                "cut to {length} of {}",
                whole.len()
            );
        }
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x11;
            if let (Ok(_), library, license) = attempt(&bytes) {
                assert!(
                    library.is_none_or(|content| content == LIB.1),
                    "byte {place}"
                );
                assert!(
                    license.is_none_or(|content| content == LICENSE.1),
                    "byte {place}"
                );
            }
        }
    }

    #[test]
    fn record_lines() {
        let record = parse_record(
            "a/b.so,sha256=AbC-_9,12\n\"x,\"\"y\"\".so\",sha256=Zz==,1\nx/RECORD,,\nodd\nc,md5=1,2\r\n",
        );
        let mut entries: Vec<_> = record.into_iter().collect();
        entries.sort();
        let expected = [("a/b.so", "AbC-_9"), ("x,\"y\".so", "Zz")];
        assert_eq!(
            entries,
            expected.map(|(path, hash)| (path.to_owned(), hash.to_owned()))
        );
    }

    #[test]
    fn base64_of_known_values() {
        let rows: [(&[u8], &str); 6] = [
            (b"", ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg"),
            (&[0xfb, 0xff, 0xfe], "-__-"),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(bytes, text)| base64_url(bytes) != *text)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
