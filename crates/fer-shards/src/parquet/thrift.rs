//! What a Parquet file's headers say of sizes, read before the `parquet` crate believes them: it
//! allocates a page, and the children of a group in the schema, by the number that the file names,
//! and descends into the schema as deep as it goes.
//!
//! The headers are in Thrift's compact form
//! (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>).

/// The deepest schema.
const MAX_SCHEMA_DEPTH: usize = 32;

/// The deepest header.
const MAX_DEPTH: usize = 32;

/// Thrift's types of values.
const FALSE: u8 = 2;
const TRUE: u8 = 1;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// The bytes of a header that are not read yet.
struct Compact<'a> {
    rest: &'a [u8],
}

impl<'a> Compact<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, n: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(n).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn number(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number of a field of this type, which has to be one of numbers.
    fn number_of(&mut self, kind: u8) -> Option<i64> {
        (I16..=I64).contains(&kind).then(|| self.number())?
    }

    /// The next field's number and type; `None` inside for the end of the structure.
    fn field(&mut self, last: &mut i64) -> Option<Option<(i64, u8)>> {
        let head = self.byte()?;
        if head & 0x0f == 0 {
            return Some(None);
        }
        *last = match head >> 4 {
            0 => self.number()?,
            step => last.checked_add(step.into())?,
        };
        Some(Some((*last, head & 0x0f)))
    }

    /// The type and number of a list's elements.
    fn list(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => count.into(),
        };
        // Each takes a byte at least.
        (count <= self.rest.len() as u64).then_some((head & 0x0f, count))
    }

    /// Passes over a value of a structure (booleans have none there) or a list.
    fn skip(&mut self, kind: u8, in_list: bool, depth: usize) -> Option<()> {
        if depth == MAX_DEPTH {
            return None;
        }
        match kind {
            TRUE | FALSE if !in_list => Some(()),
            TRUE | FALSE | BYTE => self.take(1),
            I16..=I64 => self.varint().map(drop),
            DOUBLE => self.take(8),
            UUID => self.take(16),
            BINARY => {
                let len = self.varint()?;
                self.take(len)
            }
            LIST | SET => {
                let (kind, count) = self.list()?;
                (0..count).try_for_each(|_| self.skip(kind, true, depth + 1))
            }
            MAP => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                (0..count).try_for_each(|_| {
                    self.skip(kinds >> 4, true, depth + 1)?;
                    self.skip(kinds & 0x0f, true, depth + 1)
                })
            }
            STRUCT => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, false, depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// The number of children that an element of the schema names.
    fn children(&mut self) -> Option<i64> {
        let (mut last, mut children) = (0, 0);
        while let Some((field, kind)) = self.field(&mut last)? {
            match field {
                5 => children = self.number_of(kind)?,
                _ => self.skip(kind, false, 0)?,
            }
        }
        Some(children)
    }
}

/// Whether a file's metadata has a schema that can be one: a tree that is not too deep, of as many
/// elements as there are.
pub fn has_sound_schema(metadata: &[u8]) -> bool {
    let mut header = Compact { rest: metadata };
    let mut walk = || {
        let mut last = 0;
        let mut sound = false;
        while let Some((field, kind)) = header.field(&mut last)? {
            if field != 2 {
                header.skip(kind, false, 0)?;
                continue;
            }
            let (of, count) = header.list()?;
            if (kind, of) != (LIST, STRUCT) {
                return None;
            }
            // How many children of the open groups are still to come.
            let mut open: Vec<u64> = Vec::new();
            for _ in 0..count {
                let children = u64::try_from(header.children()?).ok()?;
                if let Some(left) = open.last_mut() {
                    *left -= 1;
                }
                if children > count || open.len() == MAX_SCHEMA_DEPTH {
                    return None;
                }
                open.push(children);
                while open.last() == Some(&0) {
                    open.pop();
                }
            }
            sound = open.is_empty();
        }
        Some(sound)
    };
    walk().unwrap_or(false)
}

/// A page's sizes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize {
    /// Decompressed.
    pub plain: i64,
    /// As it lies in the file.
    pub stored: i64,
}

/// The sizes that a page's header names; `None` if the header does not end in these bytes, or is
/// none.
pub fn page_size(header: &[u8]) -> Option<PageSize> {
    let mut header = Compact { rest: header };
    let mut size = PageSize {
        plain: 0,
        stored: 0,
    };
    let mut last = 0;
    while let Some((field, kind)) = header.field(&mut last)? {
        match field {
            2 => size.plain = header.number_of(kind)?,
            3 => size.stored = header.number_of(kind)?,
            _ => header.skip(kind, false, 0)?,
        }
    }
    Some(size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file's metadata of a version and a schema whose elements have so many children.
    fn metadata(children: &[i64]) -> Vec<u8> {
        let varint = |mut value: u64| {
            let mut bytes = Vec::new();
            while value > 127 {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
            bytes
        };
        let number = |value: i64| varint((value << 1 ^ value >> 63) as u64);
        let mut bytes = vec![0x15, 2, 0x19, 0xfc];
        bytes.extend(varint(children.len() as u64));
        for children in children {
            // A name, field 4, then field 5.
            bytes.extend([0x48, 1, b'a', 0x15]);
            bytes.extend(number(*children));
            bytes.push(0);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn schemas_that_are_no_trees_are_refused() {
        let deep = vec![1; MAX_SCHEMA_DEPTH];
        let deepest = [&deep[1..], &[0]].concat();
        let deeper = [&deep[..], &[1, 0]].concat();
        let rows: [(&[i64], bool); 8] = [
            (&[0], true),
            (&[2, 0, 0], true),
            (&[2, 1, 0, 0], true),
            (&[2, 0], false),
            (&[i32::MAX as i64, 0], false),
            (&[1, -1], false),
            (&deepest, true),
            (&deeper, false),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(children, sound)| has_sound_schema(&metadata(children)) != *sound)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        // As one byte (type 3), which a reader may take for a number of any length.
        let mut byte = metadata(&[0]);
        byte[8] = 0x13;
        assert!(!has_sound_schema(&byte), "children of another type");
        let nested = [&[0x1c; 100_000][..], &[0]].concat();
        assert!(!has_sound_schema(&nested), "a header of structures alone");
    }

    #[test]
    fn pages_name_their_sizes() {
        let header = [0x15, 0, 0x15, 0x90, 0x03, 0x15, 0x0a, 0x2c, 0x15, 2, 0, 0];
        let size = PageSize {
            plain: 200,
            stored: 5,
        };
        assert_eq!(page_size(&header), Some(size));
        assert_eq!(page_size(&header[..11]), None, "cut off");
        let mut byte = header;
        byte[2] = 0x13;
        assert_eq!(page_size(&byte), None, "a size of another type");
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            has_sound_schema(&bytes);
            page_size(&bytes);
        }
    }
}
