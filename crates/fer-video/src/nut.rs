//! Raw frames with their times in a NUT container, the form in which they come from ffmpeg and go
//! to it. Only what one raw video stream needs of the format (<https://ffmpeg.org/nut.html>).
//!
//! What is read is not trusted: sizes are checked before anything is allocated.

mod header;
#[cfg(test)]
mod tests;
mod write;

use std::io::{self, Read};

use self::header::{Header, codes};

pub use write::Writer;

/// What a NUT file begins with.
const FILE_ID: &[u8; 25] = b"nut/multimedia container\0";

const MAIN: u64 = 0x4E4D_7A56_1F5F_04AD;
const STREAM: u64 = 0x4E53_1140_5BF2_F9DB;
const SYNCPOINT: u64 = 0x4E4B_E4AD_EECA_4569;

/// The first byte of all start codes, which no frame begins with.
const START: u8 = b'N';

/// A frame's flags.
mod flag {
    pub const KEY: u64 = 1;
    pub const CODED_PTS: u64 = 8;
    pub const STREAM_ID: u64 = 16;
    pub const SIZE_MSB: u64 = 32;
    pub const CHECKSUM: u64 = 64;
    pub const RESERVED: u64 = 128;
    pub const SIDE_DATA: u64 = 256;
    pub const HEADER_IDX: u64 = 1024;
    pub const MATCH_TIME: u64 = 2048;
    pub const CODED: u64 = 4096;
    pub const INVALID: u64 = 8192;
}

/// The longest header that is read: 64 KiB.
const MAX_HEADER: u64 = 64 << 10;

/// The most bytes of a frame: 300 MB, 100 megapixels in RGB.
const MAX_FRAME: u64 = 300_000_000;

/// A frame's header elides its beginning only if the frame is at most this long.
const MAX_ELIDED: u64 = 4096;

/// Why a NUT stream can't be read.
#[derive(Debug, thiserror::Error)]
pub enum NutError {
    /// The stream can't be read, or ends within a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are not those of a NUT stream of one raw video.
    #[error("the decoder's output is damaged: {0}")]
    Damaged(&'static str),
    /// The pictures are over the limit.
    #[error("pictures of {width}x{height} are too large")]
    TooLarge {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
    },
}

type Result<T> = std::result::Result<T, NutError>;

/// How a frame code is to be read.
#[derive(Debug, Clone, Copy, Default)]
struct Code {
    flags: u64,
    stream: u64,
    size_mul: u64,
    size_lsb: u64,
    pts_delta: i64,
    reserved: u64,
    header: usize,
}

/// The stream's header.
#[derive(Debug, Clone, Copy)]
struct Stream {
    time_base: usize,
    msb_pts_shift: u32,
    width: usize,
    height: usize,
}

/// Reads the frames of a stream.
pub struct Reader<R> {
    input: R,
    /// Numerators and denominators, in seconds.
    time_bases: Vec<(u64, u64)>,
    codes: Vec<Code>,
    /// What frames may begin with and leave out.
    elided: Vec<Vec<u8>>,
    stream: Stream,
    last_pts: i64,
}

impl<R: Read> Reader<R> {
    /// Reads the headers. The input should be buffered.
    ///
    /// # Errors
    /// The input ends early, or is not a NUT stream of one video.
    pub fn new(mut input: R) -> Result<Self> {
        let mut id = [0; FILE_ID.len()];
        input.read_exact(&mut id)?;
        if &id != FILE_ID {
            return Err(NutError::Damaged("it is not a NUT stream"));
        }
        let mut reader = Self {
            input,
            time_bases: Vec::new(),
            codes: Vec::new(),
            elided: Vec::new(),
            stream: Stream {
                time_base: 0,
                msb_pts_shift: 0,
                width: 0,
                height: 0,
            },
            last_pts: 0,
        };
        while reader.stream.width == 0 {
            let first = reader.byte()?;
            if first != START {
                return Err(NutError::Damaged("a frame comes before the headers"));
            }
            reader.packet()?;
        }
        Ok(reader)
    }

    /// Width and height in pixels, at least 1 each.
    pub fn size(&self) -> [usize; 2] {
        [self.stream.width, self.stream.height]
    }

    /// The bytes of a frame in RGB.
    pub fn frame_bytes(&self) -> usize {
        self.stream.width * self.stream.height * 3
    }

    /// Reads the next frame's bytes into `data`, and returns its time in seconds; `None` at the end
    /// of the stream.
    ///
    /// # Errors
    /// The input ends within a frame, or is damaged.
    pub fn next(&mut self, data: &mut Vec<u8>) -> Result<Option<f64>> {
        loop {
            let mut first = [0];
            if self.input.read(&mut first)? == 0 {
                return Ok(None);
            }
            match first[0] {
                START => self.packet()?,
                code => return self.frame(code, data).map(Some),
            }
        }
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        loop {
            let byte = self.byte()?;
            if value >> 57 != 0 {
                return Err(NutError::Damaged("a number is too large"));
            }
            value = value << 7 | u64::from(byte & 127);
            if byte & 128 == 0 {
                return Ok(value);
            }
        }
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        let skipped = io::copy(&mut (&mut self.input).take(bytes), &mut io::sink())?;
        match skipped == bytes {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    /// A packet that begins with a start code, whose first byte was read.
    fn packet(&mut self) -> Result<()> {
        let mut code = [START, 0, 0, 0, 0, 0, 0, 0];
        self.input.read_exact(&mut code[1..])?;
        let length = self.varint()?;
        if length > 4096 {
            self.skip(4)?;
        }
        let wanted = match u64::from_be_bytes(code) {
            MAIN => self.codes.is_empty(),
            STREAM => self.stream.width == 0,
            SYNCPOINT => true,
            _ => false,
        };
        if !wanted {
            return self.skip(length);
        }
        if length > MAX_HEADER {
            return Err(NutError::Damaged("a header is too long"));
        }
        let mut packet = vec![0; length as usize];
        self.input.read_exact(&mut packet)?;
        let mut header = Header(&packet);
        match u64::from_be_bytes(code) {
            MAIN => self.main(&mut header),
            STREAM => self.stream(&mut header),
            _ => self.syncpoint(&mut header),
        }
    }

    fn main(&mut self, header: &mut Header) -> Result<()> {
        let version = header.varint()?;
        if version > 3 {
            header.varint()?;
        }
        if header.varint()? != 1 {
            return Err(NutError::Damaged("it has not one stream"));
        }
        header.varint()?;
        let bases = header.varint()?;
        if bases == 0 || bases > 16 {
            return Err(NutError::Damaged("it has no time base, or too many"));
        }
        for _ in 0..bases {
            let base = (header.varint()?, header.varint()?);
            if base.0 == 0 || base.1 == 0 {
                return Err(NutError::Damaged("a time base is 0"));
            }
            self.time_bases.push(base);
        }
        self.codes = codes(header)?;
        self.elided = vec![Vec::new()];
        for _ in 0..header.varint()? {
            if self.elided.len() >= 128 {
                return Err(NutError::Damaged("it has too many elision headers"));
            }
            self.elided.push(header.bytes()?.to_vec());
        }
        Ok(())
    }

    fn stream(&mut self, header: &mut Header) -> Result<()> {
        header.varint()?;
        let class = header.varint()?;
        header.bytes()?;
        let time_base = header.varint()? as usize;
        let msb_pts_shift = header.varint()?;
        for _ in 0..3 {
            header.varint()?;
        }
        header.bytes()?;
        if class != 0 || time_base >= self.time_bases.len() || msb_pts_shift > 31 {
            return Err(NutError::Damaged("its stream is not a video"));
        }
        let (width, height) = (header.varint()?, header.varint()?);
        let bytes = width.checked_mul(height).and_then(|p| p.checked_mul(3));
        if bytes.is_none_or(|bytes| bytes > MAX_FRAME) {
            return Err(NutError::TooLarge { width, height });
        }
        if bytes == Some(0) {
            return Err(NutError::Damaged("its pictures have no pixels"));
        }
        self.stream = Stream {
            time_base,
            msb_pts_shift: msb_pts_shift as u32,
            width: width as usize,
            height: height as usize,
        };
        Ok(())
    }

    fn syncpoint(&mut self, header: &mut Header) -> Result<()> {
        let (bases, coded) = (self.time_bases.len() as u64, header.varint()?);
        if bases == 0 {
            return Err(NutError::Damaged("a syncpoint comes before the headers"));
        }
        let (from, to) = (
            self.time_bases[(coded % bases) as usize],
            self.time_bases[self.stream.time_base],
        );
        let scaled = (u128::from(coded / bases) * u128::from(from.0)).checked_mul(to.1.into());
        let pts = scaled.map(|scaled| scaled / (u128::from(from.1) * u128::from(to.0)));
        let pts = pts.and_then(|pts| i64::try_from(pts).ok());
        self.last_pts = pts.ok_or(NutError::Damaged("a time is too large"))?;
        Ok(())
    }

    /// A frame, whose code was read.
    fn frame(&mut self, code: u8, data: &mut Vec<u8>) -> Result<f64> {
        let code = self.codes[usize::from(code)];
        let mut flags = code.flags;
        if flags & flag::INVALID != 0 {
            return Err(NutError::Damaged("a frame's code is invalid"));
        }
        if flags & flag::CODED != 0 {
            flags ^= self.varint()?;
        }
        if flags & flag::SIDE_DATA != 0 {
            return Err(NutError::Damaged("a frame has side data"));
        }
        let stream = match flags & flag::STREAM_ID {
            0 => code.stream,
            _ => self.varint()?,
        };
        if stream != 0 {
            return Err(NutError::Damaged("a frame is of another stream"));
        }
        let pts = match flags & flag::CODED_PTS {
            0 => self.last_pts.saturating_add(code.pts_delta),
            _ => {
                let coded = self.varint()?;
                full_pts(coded, self.last_pts, self.stream.msb_pts_shift)
            }
        };
        let msb = match flags & flag::SIZE_MSB {
            0 => 0,
            _ => self.varint()?,
        };
        let size = msb.checked_mul(code.size_mul);
        let size = size.and_then(|size| size.checked_add(code.size_lsb));
        if flags & flag::MATCH_TIME != 0 {
            self.varint()?;
        }
        let header = match flags & flag::HEADER_IDX {
            0 => code.header,
            _ => self.varint()? as usize,
        };
        let reserved = match flags & flag::RESERVED {
            0 => code.reserved,
            _ => self.varint()?,
        };
        for _ in 0..reserved {
            self.varint()?;
        }
        if flags & flag::CHECKSUM != 0 {
            self.skip(4)?;
        }
        let Some(size) = size.filter(|size| *size <= MAX_FRAME) else {
            return Err(NutError::Damaged("a frame is too large"));
        };
        self.last_pts = pts;
        data.clear();
        if size <= MAX_ELIDED {
            let elided = self.elided.get(header);
            let elided = elided.ok_or(NutError::Damaged("a frame's header is unknown"))?;
            data.extend_from_slice(elided);
        }
        let rest = size
            .checked_sub(data.len() as u64)
            .ok_or(NutError::Damaged("a frame is too small"))?;
        // Of another size than the headers say, only what really comes is allocated.
        data.reserve((rest as usize).min(self.stream.width * self.stream.height * 3));
        let read = (&mut self.input).take(rest).read_to_end(data)?;
        if read as u64 != rest {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let (num, den) = self.time_bases[self.stream.time_base];
        Ok(pts as f64 * num as f64 / den as f64)
    }
}

/// A time whose upper bits may have been left out.
fn full_pts(coded: u64, last: i64, shift: u32) -> i64 {
    let limit = 1i64 << shift;
    let coded = coded.min(i64::MAX as u64) as i64;
    if coded >= limit {
        return coded - limit;
    }
    let mask = limit - 1;
    let delta = last.saturating_sub(mask / 2);
    ((coded.wrapping_sub(delta)) & mask).saturating_add(delta)
}
