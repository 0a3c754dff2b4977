//! Pixels → PNG.

use std::io;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::Pixels;

/// The pixels as a PNG file of 8 bits a channel.
///
/// # Errors
/// The picture is too large for a PNG, or has none or more than 2³² pixels a side.
pub fn png(pixels: &Pixels) -> io::Result<Vec<u8>> {
    let color = match pixels.channels {
        1 => ExtendedColorType::L8,
        _ => ExtendedColorType::Rgb8,
    };
    let side = |side: usize| u32::try_from(side).map_err(io::Error::other);
    let (width, height) = (side(pixels.width)?, side(pixels.height)?);
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&pixels.data, width, height, color)
        .map_err(io::Error::other)?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::decode;

    #[test]
    fn what_is_written_is_read_again() {
        for channels in [1, 3] {
            let data = (0..6 * channels as u8).map(|i| i * 14).collect();
            let pixels = Pixels {
                width: 3,
                height: 2,
                channels,
                data,
            };
            assert_eq!(decode(&png(&pixels).unwrap()).unwrap(), pixels);
        }
    }
}
