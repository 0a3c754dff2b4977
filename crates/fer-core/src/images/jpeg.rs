//! JPEG decoding by a port of libjpeg-turbo. Its pixels equal PIL's and Keras's bit for bit. Other
//! decoders differ by ±1, which can change a probability by a thousandth.

use image::DynamicImage;
use image::metadata::Orientation;
use libjpeg_turbo_rs::{ColorSpace, DecodeLimits, Decoder, JpegError, PixelFormat};

use super::decode::{DecodeError, MAX_DECODE_BYTES, Pixels, check_size};

/// Decodes a JPEG to gray or RGB, upright.
pub(super) fn decode(bytes: &[u8], limit: u64) -> Result<Pixels, DecodeError> {
    let limits = DecodeLimits {
        max_pixels: limit,
        max_scans: 1000,
        max_memory: Some(MAX_DECODE_BYTES),
        ..DecodeLimits::default()
    };
    let mut decoder =
        Decoder::new_with_limits(bytes, limits).map_err(|e| explain(bytes, e, limit))?;
    let header = decoder.header();
    check_size(header.width.into(), header.height.into(), limit)?;
    let orientation = decoder.exif_orientation().and_then(Orientation::from_exif);
    let format = match decoder.jpeg_color_space() {
        ColorSpace::Grayscale => PixelFormat::Grayscale,
        ColorSpace::Cmyk | ColorSpace::Ycck => PixelFormat::Cmyk,
        _ => PixelFormat::Rgb,
    };
    decoder.set_output_format(format);
    // PIL refuses a file that ends early or is damaged inside. fer does too: half a face in gray
    // gives no useful prediction.
    decoder.set_stop_on_warning(true);
    let image = decoder
        .decode_image()
        .map_err(|e| explain(bytes, e, limit))?;
    let (width, height) = (image.width, image.height);
    let (channels, data) = match format {
        PixelFormat::Grayscale => (1, image.data),
        PixelFormat::Cmyk => (
            3,
            image.data.chunks_exact(4).flat_map(cmyk_to_rgb).collect(),
        ),
        _ => (3, image.data),
    };
    let pixels = Pixels {
        width,
        height,
        channels,
        data,
    };
    Ok(match orientation {
        None | Some(Orientation::NoTransforms) => pixels,
        Some(orientation) => orient(pixels, orientation),
    })
}

/// PIL's `CMYK` → `RGB` on values as Adobe stores them (0 is full ink), which PIL inverts when it
/// reads the file.
fn cmyk_to_rgb(p: &[u8]) -> [u8; 3] {
    let ink = |i: usize| 255 - u32::from(p[i]);
    let white = 255 - ink(3);
    let mul_div_255 = |a: u32, b: u32| {
        let t = a * b + 128;
        ((t >> 8) + t) >> 8
    };
    [0, 1, 2].map(|i| (white.saturating_sub(mul_div_255(ink(i), white))) as u8)
}

fn orient(pixels: Pixels, orientation: Orientation) -> Pixels {
    let Pixels {
        width,
        height,
        channels,
        data,
    } = pixels;
    let (w, h) = (width as u32, height as u32);
    let image = match channels {
        1 => image::GrayImage::from_raw(w, h, data).map(DynamicImage::ImageLuma8),
        _ => image::RgbImage::from_raw(w, h, data).map(DynamicImage::ImageRgb8),
    };
    // `from_raw` fails only if the buffer is shorter than width × height × channels, which the
    // decoder filled.
    let mut image = image.unwrap_or_default();
    image.apply_orientation(orientation);
    Pixels {
        width: image.width() as usize,
        height: image.height() as usize,
        channels,
        data: image.into_bytes(),
    }
}

fn explain(bytes: &[u8], error: JpegError, limit: u64) -> DecodeError {
    if let JpegError::LimitExceeded { .. } = error
        && let Ok(info) = libjpeg_turbo_rs::probe(bytes)
        && let Err(too_large) = check_size(info.width as u64, info.height as u64, limit)
    {
        return too_large;
    }
    if is_cut_off(bytes) {
        return DecodeError::CutOff {
            format: "JPEG".into(),
        };
    }
    DecodeError::Damaged {
        format: "JPEG".into(),
        reason: error.to_string(),
    }
}

/// Whether a JPEG file ends within its header, or without the marker that ends an image. A preview
/// in its header has one of its own, which does not count.
fn is_cut_off(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        let marker = match bytes.get(at..) {
            Some([0xff, marker, ..]) => *marker,
            Some([0xff] | []) | None => return true,
            Some(_) => return false,
        };
        at += match (marker, bytes.get(at + 2..)) {
            // A fill byte, or a marker without a segment.
            (0xff, _) => 1,
            (0x01 | 0xd0..=0xd8, _) => 2,
            // The scans follow.
            (0xda, Some(scans)) => return !scans.windows(2).any(|two| two == [0xff, 0xd9]),
            (0xd9, _) => return false,
            (_, Some([high, low, ..])) => 2 + usize::from(u16::from_be_bytes([*high, *low])),
            _ => return true,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_off_file_is_told_from_a_damaged_one() {
        let preview = b"\xff\xe1\0\x08\xff\xd8\xff\xd9..";
        let whole = [
            b"\xff\xd8".as_slice(),
            preview,
            b"\xff\xff\xdb\0\x03.\xff\xda\0\x02scan\xff\0scan\xff\xd9",
        ]
        .concat();
        assert!(!is_cut_off(&whole));
        for end in 0..whole.len() {
            assert!(is_cut_off(&whole[..end]), "{end}");
        }
        assert!(!is_cut_off(b"\xff\xd8garbage"));
        assert!(!is_cut_off(b"\xff\xd8\xff\xd9"));
    }
}
