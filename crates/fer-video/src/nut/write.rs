//! Frames → a NUT stream.

use std::io::{self, Write};

use super::{FILE_ID, MAIN, STREAM, SYNCPOINT, flag};

/// Writes frames of RGB, 8 bits a channel.
pub struct Writer<W> {
    output: W,
    bytes: usize,
}

/// The time base of what is written, in units a second.
pub(super) const UNITS: f64 = 90_000.0;

impl<W: Write> Writer<W> {
    /// Writes the headers for frames of `width` × `height`.
    ///
    /// # Errors
    /// The output can't be written.
    pub fn new(mut output: W, [width, height]: [usize; 2]) -> io::Result<Self> {
        output.write_all(FILE_ID)?;
        let mut main = Vec::new();
        // Version, streams, distance of syncpoints, one time base.
        for value in [3, 1, 65536, 1, 1, UNITS as u64] {
            put(&mut main, value);
        }
        // One code for all frames, which have all fields.
        for value in [flag::CODED, 6, 0, 1, 0, 0, 0, 255] {
            put(&mut main, value);
        }
        // No elided headers.
        put(&mut main, 0);
        packet(&mut output, MAIN, main)?;
        let mut stream = Vec::new();
        // Number, video, and its kind of pixels.
        for value in [0, 0, 4] {
            put(&mut stream, value);
        }
        stream.extend(b"RGB\x18");
        // Time base, bits of short times, the largest step of a time, delay, flags, no extra data.
        for value in [0, 0, u64::from(u32::MAX), 0, 0, 0] {
            put(&mut stream, value);
        }
        for value in [width as u64, height as u64, 0, 0, 0] {
            put(&mut stream, value);
        }
        packet(&mut output, STREAM, stream)?;
        Ok(Self {
            output,
            bytes: width * height * 3,
        })
    }

    /// Writes a frame at `time`, in seconds from 0.
    ///
    /// # Errors
    /// The output can't be written, or the frame has another size.
    pub fn frame(&mut self, time: f64, data: &[u8]) -> io::Result<()> {
        if data.len() != self.bytes {
            let problem = "a frame has another size than the first";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let pts = (time * UNITS).round().max(0.0) as u64;
        let mut syncpoint = Vec::new();
        put(&mut syncpoint, pts);
        put(&mut syncpoint, 0);
        packet(&mut self.output, SYNCPOINT, syncpoint)?;
        let mut header = vec![0];
        put(
            &mut header,
            flag::KEY | flag::CODED_PTS | flag::SIZE_MSB | flag::CHECKSUM,
        );
        put(&mut header, pts + 1);
        put(&mut header, data.len() as u64);
        let checksum = crc(&header).to_be_bytes();
        header.extend(checksum);
        self.output.write_all(&header)?;
        self.output.write_all(data)
    }

    /// The output.
    pub fn into_inner(self) -> W {
        self.output
    }
}

fn put(out: &mut Vec<u8>, value: u64) {
    let groups = (64 - value.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let more = if group > 0 { 128 } else { 0 };
        out.push((value >> (7 * group)) as u8 & 127 | more);
    }
}

fn packet(output: &mut impl Write, code: u64, mut data: Vec<u8>) -> io::Result<()> {
    let checksum = crc(&data).to_be_bytes();
    data.extend(checksum);
    let mut head = code.to_be_bytes().to_vec();
    put(&mut head, data.len() as u64);
    output.write_all(&head)?;
    output.write_all(&data)
}

/// NUT's checksum: CRC-32 of the polynomial 0x04C11DB7, highest bit first, from 0.
pub(super) fn crc(data: &[u8]) -> u32 {
    data.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            let carry = if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 };
            crc << 1 ^ carry
        })
    })
}
