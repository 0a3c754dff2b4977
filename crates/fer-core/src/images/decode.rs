//! Decodes a file's bytes to upright 8-bit pixels.
//!
//! The pixels equal PIL's, because Keras reads images through PIL. These rules apply everywhere:
//!
//! - **EXIF orientation** is applied. (Keras ignores it; a face on its side can't be classified.)
//! - **Alpha** is dropped, without blending, as PIL's `convert("L")` does.
//! - **16 bits** per channel are cut to the high 8. Where the values seem to have fewer bits, the
//!   high 8 of those ([`Decoded::guessed_bits`]).
//! - **CMYK** is converted to RGB by PIL's formula, inverted as Adobe's files need it.
//! - For **animations** and multi-page files, the first picture is used.
//!
//! Files are untrusted. Sizes are checked before anything is allocated ([`MAX_FILE_BYTES`],
//! [`MAX_PIXELS`]).

use std::error::Error;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::foreign::Foreign;
use super::{depth, jpeg};
use crate::panics;

/// The largest image file that fer reads: 256 MiB.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// The largest image that fer decodes: 100 megapixels. A small file can unpack to far more
/// ("decompression bomb").
pub const MAX_PIXELS: u64 = 100_000_000;

/// The beginning of a file that is too large, which says what it is: 64 KiB.
const HEAD_BYTES: u64 = 64 << 10;

/// The most memory that a decoder may use for one image: 100 megapixels of 8-bit RGBA, or 50 of 16
/// bits.
pub(super) const MAX_DECODE_BYTES: u64 = MAX_PIXELS * 4;

/// An image can't be read. The message is for the user and does not contain the path.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file could not be read.
    #[error("can't be read: {0}")]
    Read(#[from] std::io::Error),
    /// The picture can't be read from the larger file that holds it.
    #[error("{reason}")]
    Stored {
        /// Why.
        reason: String,
    },
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file is over [`MAX_FILE_BYTES`].
    #[error("the file is over {} MiB", MAX_FILE_BYTES >> 20)]
    FileTooLarge,
    /// The image is over the limit, [`MAX_PIXELS`] or less.
    #[error("{width}x{height} pixels is over the limit of {} megapixels; make it \
        smaller", *limit as f64 / 1e6)]
    TooManyPixels {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
        /// The most pixels.
        limit: u64,
    },
    /// The file is something else than an image that fer reads.
    #[error("{0}")]
    Foreign(Foreign),
    /// The bytes are not in a supported format.
    #[error("not an image; the supported formats are JPEG, PNG, GIF, WebP, BMP, TIFF, PNM and TGA")]
    UnknownFormat,
    /// An image of a supported format, in a variant that is not supported.
    #[error(
        "a {format} image of a kind that fer does not read ({reason}); convert it to PNG, as with \
         `magick IN OUT.png`"
    )]
    Variant {
        /// The format's name.
        format: String,
        /// The decoder's reason.
        reason: String,
    },
    /// The file ends before its image does.
    #[error("{format}: the file is cut off; get it again")]
    CutOff {
        /// The format's name.
        format: String,
    },
    /// The bytes are damaged.
    #[error("{format}: {reason}")]
    Damaged {
        /// The format's name.
        format: String,
        /// The decoder's message.
        reason: String,
    },
}

/// An upright image with 8 bits per channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Width in pixels, at least 1.
    pub width: usize,
    /// Height in pixels, at least 1.
    pub height: usize,
    /// 1 for gray, 3 for RGB (interleaved).
    pub channels: usize,
    /// `height × width × channels` values, row by row.
    pub data: Vec<u8>,
}

impl Pixels {
    /// Converts to gray by PIL's formula for `L`: `(19595 R + 38470 G + 7471 B + 32768) >> 16`.
    pub fn into_gray(self) -> Self {
        if self.channels == 1 {
            return self;
        }
        let luma = |p: &[u8]| {
            let (r, g, b) = (u32::from(p[0]), u32::from(p[1]), u32::from(p[2]));
            ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as u8
        };
        Self {
            channels: 1,
            data: self.data.chunks_exact(3).map(luma).collect(),
            ..self
        }
    }

    /// Converts to RGB; gray values are repeated.
    pub fn into_rgb(self) -> Self {
        if self.channels == 3 {
            return self;
        }
        Self {
            channels: 3,
            data: self.data.iter().flat_map(|v| [*v; 3]).collect(),
            ..self
        }
    }
}

/// A decoded image, and what was guessed about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The image.
    pub pixels: Pixels,
    /// How many bits the values seem to have, 8, 10, 12 or 14, if the file stores 16 and none of
    /// its values needs more. The pixels are the high 8 of these. It is a guess: an image of 16
    /// bits may be that dark.
    pub guessed_bits: Option<u8>,
}

impl Decoded {
    /// Reads and decodes an image file.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn read(path: &Path) -> Result<Self, DecodeError> {
        let mut file = File::open(path)?;
        let mut bytes = Vec::new();
        if file.metadata()?.len() > MAX_FILE_BYTES {
            // What is that large is a video rather than an image.
            file.by_ref().take(HEAD_BYTES).read_to_end(&mut bytes)?;
            let foreign = Foreign::of(&bytes).map(DecodeError::Foreign);
            return Err(foreign.unwrap_or(DecodeError::FileTooLarge));
        }
        // A pipe or a device has no length, and is read up to the limit.
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        Self::of(&bytes)
    }

    /// Decodes an image file's bytes. The format is detected from the bytes, never from a name. TGA
    /// has no signature, so it is tried last.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn of(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::within(bytes, MAX_PIXELS)
    }

    /// As [`of`](Self::of), for an image of at most `limit` pixels, which is at most
    /// [`MAX_PIXELS`].
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn within(bytes: &[u8], limit: u64) -> Result<Self, DecodeError> {
        let limit = limit.min(MAX_PIXELS);
        if bytes.is_empty() {
            return Err(DecodeError::Empty);
        }
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(DecodeError::FileTooLarge);
        }
        let format = image::guess_format(bytes).ok();
        let format = format.filter(|f| *f == ImageFormat::Jpeg || f.reading_enabled());
        let known = format.is_some_and(|format| format != ImageFormat::Tiff);
        if !known && let Some(foreign) = Foreign::of(bytes) {
            return Err(DecodeError::Foreign(foreign));
        }
        // The decoders are third-party code on untrusted bytes: a bug there must cost this image,
        // not the run.
        let decoded = panics::caught(|| match format {
            Some(ImageFormat::Jpeg) => jpeg::decode(bytes, limit).map(|pixels| Self {
                pixels,
                guessed_bits: None,
            }),
            Some(format) => decode_with_image(bytes, format, limit),
            None if looks_like_tga(bytes) => decode_with_image(bytes, ImageFormat::Tga, limit),
            None => Err(DecodeError::UnknownFormat),
        });
        decoded.unwrap_or_else(|_| {
            Err(DecodeError::Damaged {
                format: "image".into(),
                reason: "its decoder panicked".into(),
            })
        })
    }
}

/// Reads and decodes an image file: [`Decoded::read`] without what was guessed.
///
/// # Errors
/// See [`DecodeError`].
pub fn read(path: &Path) -> Result<Pixels, DecodeError> {
    Decoded::read(path).map(|decoded| decoded.pixels)
}

/// Decodes an image file's bytes: [`Decoded::of`] without what was guessed.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(bytes: &[u8]) -> Result<Pixels, DecodeError> {
    Decoded::of(bytes).map(|decoded| decoded.pixels)
}

/// Fails if an image of this size is over the limit or has no pixels.
pub(super) fn check_size(width: u64, height: u64, limit: u64) -> Result<(), DecodeError> {
    match width.checked_mul(height) {
        Some(pixels) if (1..=limit).contains(&pixels) => Ok(()),
        _ => Err(DecodeError::TooManyPixels {
            width,
            height,
            limit,
        }),
    }
}

fn decode_with_image(
    bytes: &[u8],
    format: ImageFormat,
    limit: u64,
) -> Result<Decoded, DecodeError> {
    let damaged = |e: image::ImageError| match e {
        // A TGA image is recognized by its header alone.
        image::ImageError::Unsupported(_) if format == ImageFormat::Tga => {
            DecodeError::UnknownFormat
        }
        image::ImageError::Unsupported(e) => DecodeError::Variant {
            format: format!("{format:?}"),
            reason: e.to_string(),
        },
        e if wanted_more(&e) || is_short(bytes, format) => DecodeError::CutOff {
            format: format!("{format:?}"),
        },
        e => DecodeError::Damaged {
            format: format!("{format:?}"),
            reason: e.to_string(),
        },
    };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODE_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into(), limit)?;
    limits.reserve(decoder.total_bytes()).map_err(damaged)?;
    decoder.set_limits(limits).map_err(damaged)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    Ok(to_8_bit(image))
}

/// Whether a decoder wanted more bytes than the file has.
fn wanted_more(error: &image::ImageError) -> bool {
    let is_end = |io: &std::io::Error| io.kind() == std::io::ErrorKind::UnexpectedEof;
    if let image::ImageError::IoError(io) = error {
        return is_end(io);
    }
    std::iter::successors(error.source(), |&cause| cause.source())
        .any(|cause| cause.downcast_ref().is_some_and(is_end))
}

/// Whether a file is shorter than it says, in formats whose decoders do not tell.
fn is_short(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        ImageFormat::Gif => bytes.last() != Some(&b';'),
        ImageFormat::WebP => {
            let size = bytes.get(4..).and_then(|rest| rest.first_chunk().copied());
            size.is_none_or(|size| bytes.len() < 8 + u32::from_le_bytes(size) as usize)
        }
        _ => false,
    }
}

/// Drops alpha and low bytes. Gray stays gray.
fn to_8_bit(image: DynamicImage) -> Decoded {
    let (width, height) = (image.width() as usize, image.height() as usize);
    /// Keeps the first `keep` of every `of` values.
    fn strip(data: &[u8], keep: usize, of: usize) -> Vec<u8> {
        let kept = data.chunks_exact(of).flat_map(|p| &p[..keep]);
        kept.copied().collect()
    }
    /// The same, and the high 8 bits of those that they seem to have.
    fn high(data: &[u16], keep: usize, of: usize) -> (Vec<u8>, Option<u8>) {
        let kept = || data.chunks_exact(of).flat_map(|p| &p[..keep]).copied();
        let bits = depth::guess(kept());
        let shift = bits.unwrap_or(16) - 8;
        (kept().map(|v| (v >> shift) as u8).collect(), bits)
    }
    let (channels, (data, guessed_bits)) = match image {
        DynamicImage::ImageLuma8(i) => (1, (i.into_raw(), None)),
        DynamicImage::ImageLumaA8(i) => (1, (strip(&i, 1, 2), None)),
        DynamicImage::ImageLuma16(i) => (1, high(&i, 1, 1)),
        DynamicImage::ImageLumaA16(i) => (1, high(&i, 1, 2)),
        DynamicImage::ImageRgb8(i) => (3, (i.into_raw(), None)),
        DynamicImage::ImageRgba8(i) => (3, (strip(&i, 3, 4), None)),
        DynamicImage::ImageRgb16(i) => (3, high(&i, 3, 3)),
        DynamicImage::ImageRgba16(i) => (3, high(&i, 3, 4)),
        other => (3, (other.into_rgb8().into_raw(), None)),
    };
    Decoded {
        pixels: Pixels {
            width,
            height,
            channels,
            data,
        },
        guessed_bits,
    }
}

/// TGA has no signature: a file with a consistent header is accepted as TGA.
fn looks_like_tga(bytes: &[u8]) -> bool {
    bytes.len() > 18
        && bytes[1] <= 1
        && matches!(bytes[2], 1 | 2 | 3 | 9 | 10 | 11)
        && matches!(bytes[16], 8 | 16 | 24 | 32)
        && bytes[17] & 0xc0 == 0
        && (bytes[1] == 1) == matches!(bytes[2], 1 | 9)
}
