//! Corruptions of the place: crop scale, shift and rotation, in one linear interpolation that
//! repeats edges.

use super::by_channel;
use crate::augment::Geometry;
use fer_core::images::Pixels;

/// Spreads the window about the middle whose sides are `scale` times the image's over it: below 1
/// enlarges the face.
pub(super) fn crop(pixels: &Pixels, scale: f64) -> Pixels {
    moved(
        pixels,
        Geometry {
            zx: scale,
            zy: scale,
            ..Geometry::default()
        },
    )
}

/// Moves the picture by `share` of the width and height along its steps to the right and down, in
/// whole pixels.
pub(super) fn shift(pixels: &Pixels, (right, down): (i8, i8), share: f64) -> Pixels {
    let by = |step: i8, side: usize| f64::from(step) * (share * side as f64).round();
    // The geometry looks pixels up, which is the other way round.
    moved(
        pixels,
        Geometry {
            tx: -by(right, pixels.width),
            ty: -by(down, pixels.height),
            ..Geometry::default()
        },
    )
}

/// Turns the picture about its middle; positive is counterclockwise.
pub(super) fn rotation(pixels: &Pixels, degrees: f64) -> Pixels {
    moved(
        pixels,
        Geometry {
            theta: degrees,
            ..Geometry::default()
        },
    )
}

fn moved(pixels: &Pixels, geometry: Geometry) -> Pixels {
    by_channel(pixels, |plane| {
        let mut out = vec![0.0; plane.len()];
        geometry.resample(plane, pixels.width, pixels.height, &mut out);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(width: usize, height: usize, data: &[u8]) -> Pixels {
        Pixels {
            width,
            height,
            channels: 1,
            data: data.to_vec(),
        }
    }

    #[test]
    fn places_by_hand() {
        let ramp = gray(4, 1, &[0, 40, 80, 120]);
        let square = gray(3, 3, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let colors = Pixels {
            width: 2,
            height: 1,
            channels: 3,
            data: vec![1, 2, 3, 4, 5, 6],
        };
        let rows: [(&str, Pixels, Vec<u8>); 9] = [
            (
                "to the right",
                shift(&ramp, (1, 0), 0.25),
                vec![0, 0, 40, 80],
            ),
            (
                "to the left",
                shift(&ramp, (-1, 0), 0.5),
                vec![80, 120, 120, 120],
            ),
            (
                "up and right",
                shift(&square, (1, -1), 1.0 / 3.0),
                vec![4, 4, 5, 7, 7, 8, 7, 7, 8],
            ),
            (
                "under half a pixel",
                shift(&square, (1, 1), 0.1),
                square.data.clone(),
            ),
            (
                "colors",
                shift(&colors, (1, 0), 0.5),
                vec![1, 2, 3, 1, 2, 3],
            ),
            // The pixels' middles lie ±0.5 and ±1.5 from the image's; half as far are ±0.25 and
            // ±0.75: 30, 50, 70, 90.
            ("half the frame", crop(&ramp, 0.5), vec![30, 50, 70, 90]),
            // Twice as far are ±1 and ±3, beyond the edge.
            ("twice the frame", crop(&ramp, 2.0), vec![0, 20, 100, 120]),
            (
                "a half turn",
                rotation(&square, 180.0),
                vec![9, 8, 7, 6, 5, 4, 3, 2, 1],
            ),
            // The right column becomes the upper row.
            (
                "a quarter turn",
                rotation(&square, 90.0),
                vec![3, 6, 9, 2, 5, 8, 1, 4, 7],
            ),
        ];
        let mut wrong = Vec::new();
        for (name, to, expected) in rows {
            if to.data != expected {
                wrong.push(format!("{name}: {:?}, not {expected:?}", to.data));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
