//! Where the pixels go: shift, rotation, zoom, scale, crop and flip as one affine map, and one
//! interpolation.
//!
//! The maths of Keras's `ImageDataGenerator.apply_transform`
//! (`keras/src/legacy/preprocessing/image.py`, on
//! `scipy.ndimage.affine_transform(order=1, mode="nearest")`): each pixel of the result looks up
//! its place in the source, `centre + R(theta) · (shift + zoom · (pixel − centre))`; the four
//! pixels around it are interpolated linearly, and what lies outside takes the edge's value. Keras
//! flips the result last, and so does this. The centre is the true one, where Keras swaps its
//! coordinates in images that are not square.

/// What happens to one image's geometry. The default leaves it as it is.
///
/// `x` runs along columns and `y` along rows, as the numbers act in Keras 3: its `tx` moves
/// columns, although it draws `tx` from `height_shift_range`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Rotation in degrees.
    pub theta: f64,
    /// Shift of the looked-up place along columns, in pixels: a positive one moves the picture to
    /// the left.
    pub tx: f64,
    /// Shift of the looked-up place along rows, in pixels: a positive one moves the picture up.
    pub ty: f64,
    /// Zoom along columns, the scale of the crop in it: below 1 enlarges.
    pub zx: f64,
    /// Zoom along rows, the scale of the crop in it: below 1 enlarges.
    pub zy: f64,
    /// The window of the picture, shifted, rotated and zoomed, that is spread over the result.
    pub crop: Crop,
    /// Whether the result is mirrored, left to right.
    pub flip: bool,
}

/// A window, in shares of the image's width and height. The default is the whole image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop {
    /// Its left edge, 0 to 1 − `side`.
    pub left: f64,
    /// Its top edge, 0 to 1 − `side`.
    pub top: f64,
    /// Its width and height, above 0 and up to 1.
    pub side: f64,
}

impl Default for Crop {
    fn default() -> Self {
        Self {
            left: 0.0,
            top: 0.0,
            side: 1.0,
        }
    }
}

impl Default for Geometry {
    fn default() -> Self {
        Self {
            theta: 0.0,
            tx: 0.0,
            ty: 0.0,
            zx: 1.0,
            zy: 1.0,
            crop: Crop::default(),
            flip: false,
        }
    }
}

impl Geometry {
    /// Moves `pixels` (`[height, width]`) to `out` (`[height, width]`, pixel levels 0..=255). Where
    /// a place falls on a pixel, its value comes out exactly: without a change, all of them do.
    ///
    /// # Panics
    /// If `pixels` or `out` is not of `width × height` values.
    pub fn resample(
        &self,
        pixels: &[impl Copy + Into<f32>],
        width: usize,
        height: usize,
        out: &mut [f32],
    ) {
        assert_eq!(
            (pixels.len(), out.len()),
            (width * height, width * height),
            "images of {width}x{height} pixels"
        );
        if pixels.is_empty() {
            return;
        }
        let [along_x, along_y] = self.map(width as f64, height as f64);
        let (right, bottom) = (width - 1, height - 1);
        for (y, row) in out.chunks_exact_mut(width).enumerate() {
            let start_x = along_x[1] * y as f64 + along_x[2];
            let start_y = along_y[1] * y as f64 + along_y[2];
            for (x, value) in row.iter_mut().enumerate() {
                let at_x = (start_x + along_x[0] * x as f64).clamp(0.0, right as f64);
                let at_y = (start_y + along_y[0] * x as f64).clamp(0.0, bottom as f64);
                let (x0, y0) = (at_x as u32 as usize, at_y as u32 as usize);
                let (dx, dy) = ((at_x - x0 as f64) as f32, (at_y - y0 as f64) as f32);
                let (upper, lower) = (y0 * width, (y0 + 1).min(bottom) * width);
                let x1 = (x0 + 1).min(right);
                let pixel = |row: usize, x: usize| pixels[row + x].into();
                let top = mix(pixel(upper, x0), pixel(upper, x1), dx);
                let low = mix(pixel(lower, x0), pixel(lower, x1), dx);
                *value = mix(top, low, dy);
            }
        }
    }

    /// The map from a pixel of the result to its place in the source: `place = row · (x, y, 1)`, a
    /// row each for x and y.
    pub(super) fn map(&self, width: f64, height: f64) -> [[f64; 3]; 2] {
        let (centre_x, centre_y) = (width / 2.0 - 0.5, height / 2.0 - 0.5);
        // Flip, then crop, each axis on its own: `u = scale · x + start`, from the centre. Pixel
        // centres are at +0.5.
        let side = self.crop.side;
        let start = |offset: f64, size: f64, centre: f64| side * 0.5 - 0.5 + offset * size - centre;
        let (scale_u, start_u) = match self.flip {
            false => (side, start(self.crop.left, width, centre_x)),
            true => (
                -side,
                start(self.crop.left, width, centre_x) + side * (width - 1.0),
            ),
        };
        let (scale_v, start_v) = (side, start(self.crop.top, height, centre_y));
        // Zoom and shift.
        let (scale_u, start_u) = (self.zx * scale_u, self.zx * start_u + self.tx);
        let (scale_v, start_v) = (self.zy * scale_v, self.zy * start_v + self.ty);
        let (sin, cos) = self.theta.to_radians().sin_cos();
        [
            [
                cos * scale_u,
                -sin * scale_v,
                cos * start_u - sin * start_v + centre_x,
            ],
            [
                sin * scale_u,
                cos * scale_v,
                sin * start_u + cos * start_v + centre_y,
            ],
        ]
    }
}

fn mix(a: f32, b: f32, share: f32) -> f32 {
    a + (b - a) * share
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image in which every pixel differs from its neighbours.
    fn picture(width: usize, height: usize) -> Vec<u8> {
        (0..width * height).map(|i| (i * 37 % 251) as u8).collect()
    }

    fn moved(geometry: Geometry, pixels: &[u8], width: usize, height: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; pixels.len()];
        geometry.resample(pixels, width, height, &mut out);
        out
    }

    /// Each geometry and the pixel that `[y, x]` of a 7x5 picture takes: whole pixels are exact.
    #[test]
    fn whole_pixels_are_exact() {
        let (w, h) = (7, 5);
        let pixels = picture(w, h);
        let none = Geometry::default();
        type Source = fn(usize, usize) -> (usize, usize);
        let cases: [(&str, Geometry, Source); 5] = [
            ("nothing", none, |x, y| (x, y)),
            ("flip", Geometry { flip: true, ..none }, |x, y| (6 - x, y)),
            ("two to the left", Geometry { tx: 2.0, ..none }, |x, y| {
                ((x + 2).min(6), y)
            }),
            ("one down", Geometry { ty: -1.0, ..none }, |x, y| {
                (x, y.saturating_sub(1))
            }),
            (
                "shift, then flip",
                Geometry {
                    tx: 2.0,
                    flip: true,
                    ..none
                },
                |x, y| ((6 - x + 2).min(6), y),
            ),
        ];
        let mut wrong = Vec::new();
        for (name, geometry, source) in cases {
            for (i, value) in moved(geometry, &pixels, w, h).into_iter().enumerate() {
                let (x, y) = source(i % w, i / w);
                let expected = f32::from(pixels[y * w + x]);
                if value != expected {
                    wrong.push(format!(
                        "{name}: [{}, {}] is {value}, not {expected}",
                        i / w,
                        i % w
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    /// A window of 4 of 8 pixels: pixel centres are at +0.5, so the first one of the result is a
    /// quarter into the window's first.
    #[test]
    fn a_crop_spreads_its_window_over_the_image() {
        let ramp: Vec<u8> = (0..64).map(|i| 10 * (i % 8) + i / 8).collect();
        let crop = Crop {
            left: 0.25,
            top: 0.5,
            side: 0.5,
        };
        let out = moved(
            Geometry {
                crop,
                ..Geometry::default()
            },
            &ramp,
            8,
            8,
        );
        let place = |i: usize, start: f32| (start + (i as f32 + 0.5) / 2.0 - 0.5).min(7.0);
        for (i, value) in out.iter().enumerate() {
            let expected = 10.0 * place(i % 8, 2.0) + place(i / 8, 4.0);
            assert!(
                (value - expected).abs() < 1e-4,
                "[{}, {}] is {value}, not {expected}",
                i / 8,
                i % 8
            );
        }
    }

    #[test]
    fn a_quarter_turn_moves_rows_to_columns() {
        let pixels = picture(6, 6);
        let out = moved(
            Geometry {
                theta: 90.0,
                ..Geometry::default()
            },
            &pixels,
            6,
            6,
        );
        for (i, value) in out.iter().enumerate() {
            let expected = f32::from(pixels[(i % 6) * 6 + 5 - i / 6]);
            assert!(
                (value - expected).abs() < 1e-3,
                "[{}, {}] is {value}, not {expected}",
                i / 6,
                i % 6
            );
        }
    }
}
