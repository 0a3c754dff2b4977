//! The square around a face that a classifier sees.

use fer_core::images::Pixels;

use crate::Face;
use crate::resample::{Part, resample};

/// FER-2013's frame: the side of its square is this many times the longer side of YuNet's box.
/// Measured on 1,374 training images, in which the detector found the face again.
pub const FRAME: f32 = 1.04;

/// How a face is cut out of its picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop {
    /// The side of the square: this many times the longer side of the box, about its center.
    pub frame: f32,
    /// Width and height of the crop in pixels, which are the classifier's.
    pub size: [usize; 2],
}

impl Crop {
    /// Cuts a face out. Where the square reaches beyond the picture, the outermost pixels go on.
    pub fn cut(&self, pixels: &Pixels, face: &Face) -> Pixels {
        // A side of a pixel at least, so that there is an area.
        let side = f64::from(face.side() * self.frame).max(1.0);
        let center = |start: f32, length: f32| f64::from(start) + f64::from(length) / 2.0;
        let part = Part {
            x: center(face.x, face.w) - side / 2.0,
            y: center(face.y, face.h) - side / 2.0,
            w: side,
            h: side,
        };
        let [width, height] = self.size;
        let values = resample(pixels, part, self.size);
        Pixels {
            width,
            height,
            channels: pixels.channels,
            data: values.iter().map(|v| v.round() as u8).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_square_is_about_the_center_and_padded() {
        let data = (0..100u32).map(|i| (i % 10 * 10) as u8).collect();
        let picture = Pixels {
            width: 10,
            height: 10,
            channels: 1,
            data,
        };
        let face = |x: f32, y: f32, w: f32, h: f32| Face {
            x,
            y,
            w,
            h,
            score: 1.0,
            landmarks: [[0.0; 2]; 5],
        };
        let crop = Crop {
            frame: 1.0,
            size: [4, 4],
        };
        let row = |face| crop.cut(&picture, &face).data[..4].to_vec();
        assert_eq!(row(face(3.0, 2.0, 2.0, 4.0)), [20, 30, 40, 50]);
        assert_eq!(row(face(-2.0, 2.0, 4.0, 4.0)), [0, 0, 0, 10]);
        // However large a box is, the crop is not.
        assert_eq!(
            crop.cut(&picture, &face(-1e6, -1e6, 2e6, 2e6)).data.len(),
            16
        );
    }
}
