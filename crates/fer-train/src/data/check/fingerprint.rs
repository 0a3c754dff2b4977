//! What an image looks like in 16×16 values ([`Fingerprint`]), to find copies of one picture that
//! differ in brightness, contrast, a watermark or a few pixels of crop.

use fer_core::images::Pixels;

/// Values a side.
const GRID: usize = 16;
const CELLS: usize = GRID * GRID;

/// Images whose hashes differ in more bits than this (of 256) are not compared further: a quarter,
/// where unlike images differ in about half. Hardly any copy has more.
const MAX_BITS: u32 = 64;

/// Images that differ by less than this are copies of one picture.
///
/// Measured on FER-2013, 60 pairs a range looked at: those of 0.20 to 0.24 all show the same
/// photograph, of those of 0.24 to 0.26 a fifth show two people, of those of 0.26 to 0.30 half. Two
/// images taken at random differ by about 1.
const SAME: f32 = 0.24;

/// A group of copies can lead from picture to picture in small steps, as the frames of a video do.
/// Its parts are joined only while their first images differ by less than this. FER-2013's groups,
/// all of one photograph, hardly reach it.
const SAME_GROUP: f32 = 0.48;

/// A small gray picture of an image, brought to mean 0 and deviation 1.
pub(super) struct Fingerprint {
    values: [f32; CELLS],
    /// What tells most images apart at once.
    pub(super) hashes: Hashes,
}

/// One bit a cell: whether the next cell in the row, around the edge, is brighter.
type Hash = [u64; CELLS / 64];

/// The hashes of an image as it is and mirrored.
#[derive(Clone, Copy)]
pub(super) struct Hashes {
    plain: Hash,
    mirrored: Hash,
}

impl Hashes {
    /// Whether the two can be copies of one picture.
    pub(super) fn may_be_same(&self, other: &Self) -> bool {
        let near = |other: &Hash| {
            self.plain
                .iter()
                .zip(other)
                .map(|(a, b)| (a ^ b).count_ones())
                .sum::<u32>()
                <= MAX_BITS
        };
        near(&other.plain) || near(&other.mirrored)
    }
}

/// How two images differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Difference {
    /// The mean absolute difference of their values, as a share of the deviation.
    pub(super) value: f32,
    /// Whether the second was mirrored for it.
    pub(super) mirrored: bool,
}

impl Fingerprint {
    pub(super) fn of(gray: &Pixels) -> Self {
        // The pixels that a cell touches, at least one, also if the image is smaller than the grid.
        let span = |cell: usize, len: usize| cell * len / GRID..((cell + 1) * len).div_ceil(GRID);
        let mut values = [0.0f32; CELLS];
        for (i, value) in values.iter_mut().enumerate() {
            let columns = span(i % GRID, gray.width);
            let (mut sum, mut count) = (0u64, 0u64);
            for y in span(i / GRID, gray.height) {
                let row = &gray.data[y * gray.width..][columns.clone()];
                sum += row.iter().map(|v| u64::from(*v)).sum::<u64>();
                count += row.len() as u64;
            }
            *value = (sum as f64 / count as f64) as f32;
        }
        let mean = values.iter().sum::<f32>() / CELLS as f32;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / CELLS as f32;
        // Fine patterns leave next to nothing in the cells; that is not to be blown up.
        let deviation = variance.sqrt().max(1.0);
        values.iter_mut().for_each(|v| *v = (*v - mean) / deviation);
        let mirrored = std::array::from_fn(|i| values[mirror(i)]);
        Self {
            hashes: Hashes {
                plain: hash(&values),
                mirrored: hash(&mirrored),
            },
            values,
        }
    }

    /// How this and another image differ, the other mirrored if it is more alike then.
    pub(super) fn difference(&self, other: &Self) -> Difference {
        let plain = self.distance(other, |i| i);
        let mirrored = self.distance(other, mirror);
        Difference {
            value: plain.min(mirrored),
            mirrored: mirrored < plain,
        }
    }

    /// Whether the two are copies of one picture.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.hashes.may_be_same(&other.hashes) && self.difference(other).value < SAME
    }

    /// Whether the groups that begin with these two may be joined.
    pub(super) fn may_join(&self, other: &Self) -> bool {
        self.difference(other).value < SAME_GROUP
    }

    fn distance(&self, other: &Self, cell: impl Fn(usize) -> usize) -> f32 {
        let sum: f32 = self
            .values
            .iter()
            .enumerate()
            .map(|(i, v)| (v - other.values[cell(i)]).abs())
            .sum();
        sum / CELLS as f32
    }
}

/// The cell across the vertical middle line.
fn mirror(cell: usize) -> usize {
    cell / GRID * GRID + GRID - 1 - cell % GRID
}

fn hash(values: &[f32; CELLS]) -> Hash {
    let mut hash = Hash::default();
    for i in 0..CELLS {
        let next = i / GRID * GRID + (i + 1) % GRID;
        hash[i / 64] |= u64::from(values[i] < values[next]) << (i % 64);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(side: usize, value: impl Fn(f64, f64) -> f64) -> Pixels {
        let at = |i: usize| (i as f64 + 0.5) / side as f64;
        let data = (0..side * side)
            .map(|i| value(at(i % side), at(i / side)).clamp(0.0, 255.0) as u8)
            .collect();
        Pixels {
            width: side,
            height: side,
            channels: 1,
            data,
        }
    }

    /// Something uneven in both directions, different for each `seed`.
    fn scene(seed: f64) -> impl Fn(f64, f64) -> f64 {
        move |x, y| {
            128.0
                + 60.0 * ((5.0 + seed) * x + seed).sin()
                + 60.0 * ((7.0 - seed) * y + 3.0 * x * seed).cos()
        }
    }

    #[test]
    fn copies_are_the_same_and_others_are_not() {
        let original = Fingerprint::of(&picture(48, scene(1.0)));
        let cases = [
            ("itself", picture(48, scene(1.0)), true),
            (
                "darker, less contrast",
                picture(48, |x, y| 0.6 * scene(1.0)(x, y) + 10.0),
                true,
            ),
            ("another size", picture(100, scene(1.0)), true),
            (
                "smaller than the grid's double",
                picture(20, scene(1.0)),
                true,
            ),
            (
                "a pixel aside",
                picture(48, |x, y| scene(1.0)(x + 1.0 / 48.0, y)),
                true,
            ),
            ("mirrored", picture(48, |x, y| scene(1.0)(1.0 - x, y)), true),
            (
                "upside down",
                picture(48, |x, y| scene(1.0)(x, 1.0 - y)),
                false,
            ),
            ("another picture", picture(48, scene(2.3)), false),
            (
                "the negative",
                picture(48, |x, y| 255.0 - scene(1.0)(x, y)),
                false,
            ),
        ];
        let wrong: Vec<_> = cases
            .iter()
            .map(|(what, image, same)| (what, Fingerprint::of(image), same))
            .filter(|(_, look, same)| {
                original.is_same(look) != **same || look.is_same(&original) != **same
            })
            .map(|(what, look, _)| (what, original.difference(&look)))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn an_image_of_any_size_has_a_look() {
        for (width, height) in [(1, 1), (1, 50), (15, 17), (16, 16), (640, 3)] {
            let data = (0..width * height).map(|i| (i * 37) as u8).collect();
            let look = Fingerprint::of(&Pixels {
                width,
                height,
                channels: 1,
                data,
            });
            assert!(
                look.values.iter().all(|v| v.is_finite()),
                "{width}x{height}"
            );
        }
    }
}
