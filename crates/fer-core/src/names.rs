//! Names of files in messages and records: as text that tells any two names apart ([`of`]), and a
//! few of many ([`Tally`]).

use std::fmt;
use std::path::Path;

/// A path as text. Bytes that are not UTF-8 become `\xNN` with two lower-case hex digits, and so
/// does the backslash of a name that holds such a text itself (`\x5cxNN`). So two paths have the
/// same text only if they are the same. To come back, replace each `\xNN` by its byte, from left to
/// right. On Windows, whose paths are not bytes, what is not Unicode becomes U+FFFD.
pub fn of(path: &Path) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        escaped(path.as_os_str().as_bytes())
    }
    #[cfg(not(unix))]
    {
        path.display().to_string()
    }
}

/// [`of`] for a path's bytes.
#[cfg(unix)]
fn escaped(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let is_escape = |at: usize| match bytes.get(at..at + 4) {
        Some([b'\\', b'x', high, low]) => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        _ => false,
    };
    let mut text = String::with_capacity(bytes.len());
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match is_escape(at) {
                true => text.push_str("\\x5c"),
                false => text.push(c),
            }
            at += c.len_utf8();
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
        at += chunk.invalid().len();
    }
    text
}

/// How many there are of something, and the names of the first ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there are.
    pub count: usize,
    /// The names of the first ones, at most [`Tally::SHOWN`].
    pub first: Vec<String>,
}

impl Tally {
    /// The most names that are kept.
    pub const SHOWN: usize = 3;

    /// Counts one more.
    pub fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < Self::SHOWN {
            self.first.push(name());
        }
    }

    /// Counts those of another tally too.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        let room = Self::SHOWN - self.first.len();
        self.first.extend(other.first.into_iter().take(room));
    }
}

/// The names, and how many more there are: `a, b, c and 4 more`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.join(", "))?;
        match self.count.saturating_sub(self.first.len()) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[cfg(unix)]
    fn bytes_of(text: &str) -> Vec<u8> {
        let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
        while let [first, tail @ ..] = rest {
            let hex = |at: usize| {
                let digits = rest.get(at..at + 2)?;
                let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
            };
            match hex(2).filter(|_| rest.starts_with(b"\\x")) {
                Some(byte) => (bytes.push(byte), rest = &rest[4..]),
                None => (bytes.push(*first), rest = tail),
            };
        }
        bytes
    }

    #[test]
    #[cfg(unix)]
    fn names_that_are_no_text_are_escaped() {
        let rows: [(&[u8], &str); 7] = [
            (b"face.png", "face.png"),
            ("\u{e9}t\u{e9}/\u{1f600}.png".as_bytes(), "été/😀.png"),
            (b"\xff.png", "\\xff.png"),
            (b"a\xe9\\.png", "a\\xe9\\.png"),
            (b"\\xff.png", "\\x5cxff.png"),
            (b"\\\\xff\\x5c", "\\\\x5cxff\\x5cx5c"),
            (b"\\xyz\\x\xf0\x9f", "\\xyz\\x\\xf0\\x9f"),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .map(|(bytes, text)| (escaped(bytes), *text))
            .filter(|(found, text)| found != text)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn a_tally_names_the_first_and_counts_all() {
        let mut tally = Tally::default();
        assert_eq!(tally.to_string(), "");
        for i in 0..3 {
            tally.add(|| format!("{i}.txt"));
        }
        assert_eq!(tally.to_string(), "0.txt, 1.txt, 2.txt");
        tally.merge(tally.clone());
        assert_eq!(tally.to_string(), "0.txt, 1.txt, 2.txt and 3 more");
        let mut few = Tally::default();
        few.add(|| "a".into());
        few.merge(tally);
        assert_eq!(few.to_string(), "a, 0.txt, 1.txt and 4 more");
    }

    #[cfg(unix)]
    proptest! {
        #[test]
        fn every_name_comes_back(
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(b'\\'), Just(b'x'), Just(b'5'), Just(b'c')],
                0..40,
            )
        ) {
            prop_assert_eq!(bytes_of(&escaped(&bytes)), bytes);
        }
    }
}
