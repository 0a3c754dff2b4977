//! The part of a picture around a face that a classifier sees.

use std::ops::RangeInclusive;

use fer_core::images::Pixels;
use fer_core::spec::{FaceCrop, Frame};

use crate::Face;
use crate::resample::{Part, resample};

/// The frame for models that name none: FER-2013's.
pub const FRAME: FaceCrop = FaceCrop::FER2013;

/// Crops of at most this side are turned from a picture of twice their size, larger ones from one
/// of their own: that bounds the memory.
const FINE: usize = 1024;

/// A side of that picture is at most so many times as long as the crop's longer side would be in
/// it. Only a box that is nearly three times as long as wide would need more.
const MOST: f64 = 3.0;

/// How a face is cut out of its picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop {
    /// The frame around the face.
    pub frame: FaceCrop,
    /// Width and height of the crop in pixels, which are the classifier's.
    pub size: [usize; 2],
}

impl Crop {
    /// The crop that keeps a face's size in its picture, with sides in a range of pixels.
    pub fn natural(frame: FaceCrop, face: &Face, sides: RangeInclusive<usize>) -> Self {
        let side = |length: f64| (length.round() as usize).clamp(*sides.start(), *sides.end());
        Self {
            frame,
            size: lengths(frame, face).map(side),
        }
    }

    /// Cuts a face out. Where the frame reaches beyond the picture, the outermost pixels go on.
    pub fn cut(&self, pixels: &Pixels, face: &Face) -> Pixels {
        let [w, h] = lengths(self.frame, face);
        let center = |start: f32, length: f32| f64::from(start) + f64::from(length) / 2.0;
        let center = [center(face.x, face.w), center(face.y, face.h)];
        let lean = face.lean();
        let turned = self.frame.upright.is_some_and(|least| lean.abs() >= least) && lean != 0.0;
        let values = match turned {
            true => self.turned(pixels, center, [w, h], f64::from(lean).to_radians()),
            false => resample(pixels, about(center, [w, h]), self.size),
        };
        let [width, height] = self.size;
        Pixels {
            width,
            height,
            channels: pixels.channels,
            data: values.iter().map(|v| v.round() as u8).collect(),
        }
    }

    /// The frame turned by an angle: its bounds in the picture are brought near the crop's size,
    /// and each pixel of the crop is the mean of four points in them.
    fn turned(&self, pixels: &Pixels, center: [f64; 2], [w, h]: [f64; 2], angle: f64) -> Vec<f32> {
        let (sin, cos) = angle.sin_cos();
        let bounds = [
            (w * cos).abs() + (h * sin).abs(),
            (w * sin).abs() + (h * cos).abs(),
        ];
        let [width, height] = self.size;
        let fine = if width.max(height) <= FINE { 2.0 } else { 1.0 };
        // Pixels of the bounds for one of the frame's lengths.
        let scale = [fine * width as f64 / w, fine * height as f64 / h];
        let most = MOST * fine * width.max(height) as f64;
        let size = [0, 1].map(|i| (bounds[i] * scale[i]).min(most).ceil().max(1.0) as usize);
        let part = about(center, [0, 1].map(|i| size[i] as f64 / scale[i]));
        let values = resample(pixels, part, size);
        let channels = pixels.channels;
        let mut crop = Vec::with_capacity(width * height * channels);
        for (row, column) in (0..height).flat_map(|row| (0..width).map(move |c| (row, c))) {
            let mut sum = [0.0; 3];
            for (down, across) in [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)] {
                let dx = ((column as f64 + across) / width as f64 - 0.5) * w;
                let dy = ((row as f64 + down) / height as f64 - 0.5) * h;
                let x = (dx * cos - dy * sin) * scale[0] + size[0] as f64 / 2.0 - 0.5;
                let y = (dx * sin + dy * cos) * scale[1] + size[1] as f64 / 2.0 - 0.5;
                let (x0, x1, right) = neighbors(x, size[0]);
                let (y0, y1, below) = neighbors(y, size[1]);
                for (channel, sum) in sum[..channels].iter_mut().enumerate() {
                    let at = |x: usize, y: usize| values[(y * size[0] + x) * channels + channel];
                    let line = |y| at(x0, y) * (1.0 - right) + at(x1, y) * right;
                    *sum += (line(y0) * (1.0 - below) + line(y1) * below) / 4.0;
                }
            }
            crop.extend_from_slice(&sum[..channels]);
        }
        crop
    }
}

/// Width and height of a frame in the picture; a pixel at least, so that there is an area.
fn lengths(frame: FaceCrop, face: &Face) -> [f64; 2] {
    let sides = match frame.frame {
        Frame::Square => [face.side(); 2],
        Frame::Box => [face.w, face.h],
    };
    sides.map(|side| (f64::from(side) * f64::from(frame.scale)).max(1.0))
}

fn about([x, y]: [f64; 2], [w, h]: [f64; 2]) -> Part {
    Part {
        x: x - w / 2.0,
        y: y - h / 2.0,
        w,
        h,
    }
}

/// The pixels before and after a point among `count`, and the second's weight.
fn neighbors(at: f64, count: usize) -> (usize, usize, f32) {
    let at = at.clamp(0.0, (count - 1) as f64);
    let first = at.floor() as usize;
    (first, (first + 1).min(count - 1), (at - at.floor()) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(x: f32, y: f32, w: f32, h: f32) -> Face {
        Face {
            x,
            y,
            w,
            h,
            score: 1.0,
            landmarks: [[0.0; 2]; 5],
        }
    }

    fn picture(width: usize, height: usize, level: impl Fn(usize, usize) -> u8) -> Pixels {
        let levels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Pixels {
            width,
            height,
            channels: 1,
            data: levels.map(|(x, y)| level(x, y)).collect(),
        }
    }

    fn crop(text: &str, size: [usize; 2]) -> Crop {
        Crop {
            frame: text.parse().unwrap(),
            size,
        }
    }

    #[test]
    fn the_square_is_about_the_center_and_padded() {
        let picture = picture(10, 10, |x, _| (x * 10) as u8);
        let square = crop("square,scale=1", [4, 4]);
        let row = |face| square.cut(&picture, &face).data[..4].to_vec();
        assert_eq!(row(face(3.0, 2.0, 2.0, 4.0)), [20, 30, 40, 50]);
        assert_eq!(row(face(-2.0, 2.0, 4.0, 4.0)), [0, 0, 0, 10]);
        // However large or far away a box is, the crop is not.
        for side in [2e6, 1e38] {
            for start in [-side / 2.0, side] {
                let far = face(start, start, side, side);
                assert_eq!(square.cut(&picture, &far).data.len(), 16);
            }
        }
        let boxed = crop("box,scale=1", [2, 4]);
        let cut = boxed.cut(&picture, &face(3.0, 2.0, 2.0, 4.0));
        assert_eq!(cut.data[..2], [30, 40]);
    }

    #[test]
    fn a_natural_size_is_the_frames() {
        let wide = face(0.0, 0.0, 50.0, 20.0);
        let size = |text: &str| Crop::natural(text.parse().unwrap(), &wide, 16..=90).size;
        assert_eq!(size("square,scale=1.1"), [55, 55]);
        assert_eq!(size("box,scale=1.1"), [55, 22]);
        assert_eq!(size("box,scale=0.5"), [25, 16]);
        assert_eq!(size("square,scale=3"), [90, 90]);
    }

    /// A head whose eyes lie on a line at `degrees`, in a picture that is darker towards its chin.
    fn leaning(degrees: f32) -> (Pixels, Face) {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let level = |x: usize, y: usize| {
            let (dx, dy) = (x as f32 - 49.5, y as f32 - 49.5);
            (128.0 + dy * cos - dx * sin).round() as u8
        };
        let mut head = face(30.0, 30.0, 40.0, 40.0);
        let eye = |along: f32| [50.0 + along * cos, 50.0 + along * sin];
        (head.landmarks[0], head.landmarks[1]) = (eye(-10.0), eye(10.0));
        (picture(100, 100, level), head)
    }

    #[test]
    fn heads_that_lean_are_turned_upright_from_an_angle_on() {
        let upright = crop("square,scale=1", [20, 20]);
        let (straight, head) = leaning(0.0);
        let expected = upright.cut(&straight, &head).data;
        let mut wrong = Vec::new();
        for (degrees, least, turned) in [
            (30.0, "25", true),
            (-30.0, "25", true),
            (24.0, "25", false),
            (90.0, "25", true),
            (170.0, "0", true),
            (0.0, "0", true),
        ] {
            let (picture, head) = leaning(degrees);
            assert!((head.lean() - degrees).abs() < 1e-3);
            let crop = crop(&format!("square,scale=1,upright={least}"), [20, 20]);
            let found = crop.cut(&picture, &head).data;
            let pairs = found.iter().zip(&expected);
            let apart = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            if (apart <= 1) != turned {
                wrong.push(format!("{degrees} from {least}: {apart} levels"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        // Without an angle, none is turned.
        let (picture, head) = leaning(90.0);
        assert_ne!(upright.cut(&picture, &head).data, expected);
    }

    #[test]
    fn what_is_turned_is_padded_and_bounded() {
        let turned = crop("square,scale=1,upright=10", [8, 8]);
        let boxed = crop("box,scale=1,upright=10", [8, 8]);
        for (width, height) in [(1, 1), (1, 1000), (1000, 1), (30, 30)] {
            for channels in [1, 3] {
                let picture = Pixels {
                    width,
                    height,
                    channels,
                    data: vec![7; width * height * channels],
                };
                for (w, h) in [
                    (1e-3, 1e-3),
                    (20.0, 20.0),
                    (1e6, 1e6),
                    (1e38, 1e38),
                    (1.0, 1e38),
                    (1e38, 1.0),
                ] {
                    let mut head = face(-3.0, -3.0, w, h);
                    head.landmarks[1] = [1.0, 1.0];
                    for turned in [turned, boxed] {
                        let cut = turned.cut(&picture, &head);
                        assert_eq!(cut.data, vec![7; 64 * channels], "{width}x{height} {w}x{h}");
                    }
                }
            }
        }
    }
}
