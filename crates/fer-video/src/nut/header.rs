//! The numbers of a header packet, and the table of frame codes in it.

use super::{Code, NutError, Result, START, flag};

/// The table of frame codes.
pub(super) fn codes(header: &mut Header) -> Result<Vec<Code>> {
    let mut codes = Vec::with_capacity(256);
    let mut code = Code {
        size_mul: 1,
        ..Code::default()
    };
    while codes.len() < 256 {
        code.flags = header.varint()?;
        let fields = header.varint()?;
        if fields > 0 {
            code.pts_delta = header.signed()?;
        }
        if fields > 1 {
            code.size_mul = header.varint()?;
        }
        if fields > 2 {
            code.stream = header.varint()?;
        }
        let size = if fields > 3 { header.varint()? } else { 0 };
        code.reserved = if fields > 4 { header.varint()? } else { 0 };
        let count = match fields > 5 {
            true => header.varint()?,
            false => code.size_mul.saturating_sub(size),
        };
        if fields > 6 {
            header.signed()?;
        }
        if fields > 7 {
            code.header = header.varint()? as usize;
        }
        for _ in 8..fields {
            header.varint()?;
        }
        if count == 0 || count > 256 || code.reserved > 256 {
            return Err(NutError::Damaged("its table of frames is damaged"));
        }
        for lsb in 0..count {
            if codes.len() == usize::from(START) {
                codes.push(Code {
                    flags: flag::INVALID,
                    ..code
                });
            }
            codes.push(Code {
                size_lsb: size.saturating_add(lsb),
                ..code
            });
        }
    }
    match codes.len() {
        256 => Ok(codes),
        _ => Err(NutError::Damaged("its table of frames is damaged")),
    }
}

/// A header packet that is being read.
pub(super) struct Header<'a>(pub(super) &'a [u8]);

impl<'a> Header<'a> {
    pub(super) fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        loop {
            let (byte, rest) = self
                .0
                .split_first()
                .ok_or(NutError::Damaged("a header is cut off"))?;
            self.0 = rest;
            if value >> 57 != 0 {
                return Err(NutError::Damaged("a number is too large"));
            }
            value = value << 7 | u64::from(byte & 127);
            if byte & 128 == 0 {
                return Ok(value);
            }
        }
    }

    fn signed(&mut self) -> Result<i64> {
        let value = self.varint()?.saturating_add(1);
        let half = (value >> 1) as i64;
        Ok(if value & 1 == 1 { -half } else { half })
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        let bytes = self
            .0
            .get(..length)
            .ok_or(NutError::Damaged("a header is cut off"))?;
        self.0 = &self.0[length..];
        Ok(bytes)
    }
}
