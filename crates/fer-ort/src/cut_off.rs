//! Whether a shared library was cut off. Linux's loader opens such a file without an error, and the
//! process dies (SIGBUS) as soon as the missing part is used.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use object::elf::{FileHeader64, PT_LOAD};
use object::endian::Endianness;
use object::read::elf::{FileHeader, ProgramHeader};

/// The beginning of a file, in bytes, that holds its program headers.
const HEAD: u64 = 64 << 10;

/// Compares the length of an ELF file with what its headers say. Other files are not looked at:
/// their loaders compare it themselves.
///
/// # Errors
/// What is wrong with the file, in a few words.
pub fn check(path: &Path) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("it can't be read ({error})");
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).map_err(unreadable)?;
    match end(&head) {
        Some(end) if length < end => Err(format!(
            "it is cut off: {length} of at least {end} bytes are there"
        )),
        _ => Ok(()),
    }
}

/// The end of what the headers name, in bytes from the file's beginning; `None` if they are not
/// those of a 64-bit ELF file.
fn end(head: &[u8]) -> Option<u64> {
    let header = FileHeader64::<Endianness>::parse(head).ok()?;
    let endian = header.endian().ok()?;
    let sections = u64::from(header.e_shnum(endian)) * u64::from(header.e_shentsize(endian));
    let sections = header.e_shoff(endian).saturating_add(sections);
    let segments = header.program_headers(endian, head).unwrap_or(&[]);
    segments
        .iter()
        .filter(|segment| segment.p_type(endian) == PT_LOAD)
        .map(|segment| {
            let (offset, size) = (segment.p_offset(endian), segment.p_filesz(endian));
            offset.saturating_add(size)
        })
        .chain([sections])
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_program_that_is_cut_anywhere_is_noticed() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut");
        let attempt = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            check(&path)
        };
        assert_eq!(attempt(&whole), Ok(()));
        let lengths = [
            64,
            4096,
            whole.len() / 2,
            whole.len() - 4096,
            whole.len() - 1,
        ];
        let unnoticed: Vec<_> = lengths
            .into_iter()
            .filter(|&length| attempt(&whole[..length]).is_ok())
            .collect();
        assert!(unnoticed.is_empty(), "{unnoticed:?}");
    }

    #[test]
    fn any_bytes_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd");
        let mut odd = b"\x7fELF\x02\x01\x01".to_vec();
        odd.resize(64, 0xff);
        for bytes in [&b""[..], b"MZ", b"<html>", &odd[..7], &odd] {
            std::fs::write(&path, bytes).unwrap();
            // The loader says what else is wrong with them.
            let _ = check(&path);
        }
        assert!(check(&folder.path().join("absent")).is_err());
    }
}
