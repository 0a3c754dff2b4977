//! All faces of a picture: the passes of the detector over it, in sizes in which it finds them.
//!
//! YuNet finds faces of 16 to 500 pixels. The first pass shrinks the picture to a longest side of
//! [`LONGEST`]. Where that finds nothing, or a face too large for it, a pass at half of that side
//! finds the large ones. With [`SearchOptions::small_faces`], tiles of the picture in its own size
//! find the small ones.

use fer_core::images::Pixels;

use crate::anchors::{Scores, decode};
use crate::resample::{Part, resample};
use crate::suppress::suppress;
use crate::{ANCHOR, Face};

/// The longest side of the first pass, in pixels.
const LONGEST: usize = 640;

/// Faces above this side in the first pass are the second's. Above 500 pixels come doubles.
const LARGE: f32 = 400.0;

/// A side from which the first pass may have missed a larger face.
const SUSPECT: f32 = 300.0;

/// The side of a tile in pixels, and how far two tiles overlap: a face that is cut by one tile's
/// edge is whole in another.
const TILE: usize = 640;
const SHARED: usize = 192;

/// Faces above this side are the first pass's, not the tiles'.
const SMALL: f32 = 160.0;

/// The input's width and height are multiples of this.
const MULTIPLE: usize = 32;

/// The detector's network.
pub trait Network: Sync {
    /// The outputs for one image: [`ANCHOR`] values for each of
    /// [`anchor_count`](crate::anchor_count) anchors. `image` is `[3, height, width]`, blue first,
    /// values of 0..=255; `size` is width and height, multiples of 32.
    ///
    /// # Errors
    /// The network can't run.
    fn anchors(&self, image: Vec<f32>, size: [usize; 2]) -> Result<Vec<f32>, NetworkError>;

    /// What the first two values of its anchors are.
    fn scores(&self) -> Scores {
        Scores::default()
    }

    /// Width and height, if the network takes one size only; at least 320 each.
    fn fixed_size(&self) -> Option<[usize; 2]> {
        None
    }
}

/// A detector's network that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the detector failed: {0}")]
pub struct NetworkError(pub String);

/// A picture that could not be searched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The network failed.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Its outputs are NaN or infinite, or too many or too few.
    #[error(
        "the detector's outputs are damaged: {found} values, some of them not finite, or not \
        {wanted}"
    )]
    Damaged {
        /// The number of values.
        found: usize,
        /// The number that there should be.
        wanted: usize,
    },
}

/// Which faces are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchOptions {
    /// The lowest score, above 0 and at most 1.
    pub min_score: f32,
    /// The shortest longer side of a box, in pixels of the picture.
    pub min_face: f32,
    /// The most faces, the largest; `None` for all.
    pub max_faces: Option<usize>,
    /// Whether large pictures are searched in tiles too, for faces from 16 pixels.
    pub small_faces: bool,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            min_score: 0.6,
            min_face: 0.0,
            max_faces: None,
            small_faces: false,
        }
    }
}

/// The faces of a picture, the largest first.
///
/// # Errors
/// The network failed, or its outputs make no sense.
pub fn find(
    pixels: &Pixels,
    network: &dyn Network,
    options: &SearchOptions,
) -> Result<Vec<Face>, SearchError> {
    let whole = Pass::whole(pixels, LONGEST.min(most(network)));
    let mut faces = whole.search(pixels, network, options.min_score)?;
    let sides = |faces: &[Face]| faces.iter().map(Face::side).fold(0.0, f32::max);
    let largest = sides(&faces) / whole.scale;
    if faces.is_empty() || largest > SUSPECT {
        let half = Pass::whole(pixels, LONGEST / 2);
        if half.scale > whole.scale {
            let large = half.search(pixels, network, options.min_score)?;
            faces.retain(|face| face.side() <= LARGE * whole.scale);
            faces.extend(large.into_iter().filter(|f| f.side() > LARGE * whole.scale));
        }
    }
    if options.small_faces && whole.scale > 1.0 {
        for tile in Pass::tiles(pixels, TILE.min(most(network))) {
            let small = tile.search(pixels, network, options.min_score)?;
            faces.extend(
                small
                    .into_iter()
                    .filter(|f| f.side() <= SMALL && tile.holds(f, pixels)),
            );
        }
    }
    let mut faces = suppress(faces);
    faces.retain(|face| face.side() >= options.min_face);
    faces.sort_by(|a, b| (b.w * b.h).total_cmp(&(a.w * a.h)));
    faces.truncate(options.max_faces.unwrap_or(usize::MAX));
    Ok(faces)
}

/// The longest side that the network takes.
fn most(network: &dyn Network) -> usize {
    network.fixed_size().map_or(usize::MAX, |[w, h]| w.min(h))
}

/// A part of the picture in the size in which it is searched.
struct Pass {
    part: [usize; 4],
    /// Width and height in which it is searched, without the padding.
    size: [usize; 2],
    /// Pixels of the picture for one of the pass.
    scale: f32,
}

impl Pass {
    /// The whole picture, shrunk to a longest side; smaller ones stay as they are.
    fn whole(pixels: &Pixels, longest: usize) -> Self {
        let (w, h) = (pixels.width, pixels.height);
        let factor = (longest as f64 / w.max(h) as f64).min(1.0);
        let size = [w, h].map(|side| ((side as f64 * factor).round() as usize).max(1));
        Self {
            part: [0, 0, w, h],
            size,
            scale: w.max(h) as f32 / size[0].max(size[1]) as f32,
        }
    }

    /// Parts of the picture in its own size that overlap and cover it.
    fn tiles(pixels: &Pixels, side: usize) -> impl Iterator<Item = Self> {
        let starts = move |length: usize| {
            let count = length.saturating_sub(SHARED).div_ceil(side - SHARED).max(1);
            let last = length.saturating_sub(side);
            (0..count).map(move |i| (i * (side - SHARED)).min(last))
        };
        let (width, height) = (pixels.width, pixels.height);
        starts(height).flat_map(move |y| {
            starts(width).map(move |x| {
                let size = [side.min(width), side.min(height)];
                Self {
                    part: [x, y, size[0], size[1]],
                    size,
                    scale: 1.0,
                }
            })
        })
    }

    /// Whether a face lies inside the part, or at an edge of the picture.
    fn holds(&self, face: &Face, pixels: &Pixels) -> bool {
        let inside = |start: f32, length: f32, from: usize, size: usize, whole: usize| {
            (from == 0 || start > from as f32)
                && (from + size == whole || start + length < (from + size) as f32)
        };
        let [x, y, w, h] = self.part;
        inside(face.x, face.w, x, w, pixels.width) && inside(face.y, face.h, y, h, pixels.height)
    }

    /// The faces in the part, in the picture's pixels.
    fn search(
        &self,
        pixels: &Pixels,
        network: &dyn Network,
        min_score: f32,
    ) -> Result<Vec<Face>, SearchError> {
        let padded = self.size.map(|side| side.next_multiple_of(MULTIPLE));
        let padded = network.fixed_size().unwrap_or(padded);
        let outputs = network.anchors(self.input(pixels, padded), padded)?;
        let wanted = crate::anchor_count(padded) * ANCHOR;
        let faces =
            decode(&outputs, padded, network.scores(), min_score).ok_or(SearchError::Damaged {
                found: outputs.len(),
                wanted,
            })?;
        let [x, y, w, h] = self.part;
        let scale = [
            w as f32 / self.size[0] as f32,
            h as f32 / self.size[1] as f32,
        ];
        let origin = [x as f32, y as f32];
        let faces = suppress(faces).into_iter();
        Ok(faces.map(|face| face.mapped(scale, origin)).collect())
    }

    /// `[3, height, width]` of the part, blue first, with zeros at the right and at the bottom.
    fn input(&self, pixels: &Pixels, padded: [usize; 2]) -> Vec<f32> {
        let [x, y, w, h] = self.part.map(|v| v as f64);
        let values = resample(pixels, Part { x, y, w, h }, self.size);
        let mut planes = vec![0.0; 3 * padded[0] * padded[1]];
        let line = self.size[0] * pixels.channels;
        for (plane, image) in planes.chunks_exact_mut(padded[0] * padded[1]).enumerate() {
            // Gray pictures have one channel, others red, green and blue.
            let channel = pixels.channels.saturating_sub(1 + plane);
            let rows = image
                .chunks_exact_mut(padded[0])
                .zip(values.chunks_exact(line));
            for (row, source) in rows {
                let source = source.iter().skip(channel).step_by(pixels.channels);
                row.iter_mut()
                    .zip(source)
                    .for_each(|(to, from)| *to = *from);
            }
        }
        planes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Finds what is white: an anchor of each cell whose pixels are.
    struct White {
        seen: Mutex<Vec<[usize; 2]>>,
    }

    impl Network for White {
        fn anchors(&self, image: Vec<f32>, size: [usize; 2]) -> Result<Vec<f32>, NetworkError> {
            self.seen.lock().unwrap().push(size);
            let mut anchors = Vec::new();
            for stride in crate::STRIDES {
                for cell in 0..(size[0] / stride) * (size[1] / stride) {
                    let (c, r) = (cell % (size[0] / stride), cell / (size[0] / stride));
                    let at = (r * stride + stride / 2) * size[0] + c * stride + stride / 2;
                    let mut anchor = [0.0; ANCHOR];
                    if stride == 8 && image[at] > 200.0 {
                        (anchor[0], anchor[1]) = (0.9, 0.9);
                        (anchor[2], anchor[3]) = (0.5, 0.5);
                    }
                    anchors.extend(anchor);
                }
            }
            Ok(anchors)
        }
    }

    fn dotted(width: usize, height: usize, dots: &[[usize; 2]], side: usize) -> Pixels {
        let mut data = vec![0; width * height];
        for [x, y] in dots {
            for row in *y..y + side {
                data[row * width + x..][..side].fill(255);
            }
        }
        Pixels {
            width,
            height,
            channels: 1,
            data,
        }
    }

    fn search(pixels: &Pixels, options: &SearchOptions) -> (Vec<Face>, Vec<[usize; 2]>) {
        let network = White {
            seen: Mutex::default(),
        };
        let faces = find(pixels, &network, options).unwrap();
        (faces, network.seen.into_inner().unwrap())
    }

    #[test]
    fn sizes_are_padded_and_boxes_mapped_back() {
        let (faces, seen) = search(&dotted(300, 200, &[[40, 64]], 8), &SearchOptions::default());
        assert_eq!(seen, [[320, 224]]);
        assert_eq!(faces.len(), 1);
        assert_eq!((faces[0].x, faces[0].y, faces[0].w), (40.0, 64.0, 8.0));

        let (faces, seen) = search(
            &dotted(1280, 640, &[[160, 320]], 16),
            &SearchOptions::default(),
        );
        assert_eq!(seen, [[640, 320]]);
        assert_eq!((faces[0].x, faces[0].y, faces[0].w), (160.0, 320.0, 16.0));
    }

    #[test]
    fn nothing_is_looked_for_again_in_another_size() {
        let (faces, seen) = search(&dotted(1000, 1000, &[], 1), &SearchOptions::default());
        assert!(faces.is_empty());
        assert_eq!(seen, [[640, 640], [320, 320]]);
        // As small as that, another size would be the same.
        assert_eq!(
            search(&dotted(48, 48, &[], 1), &SearchOptions::default()).1,
            [[64, 64]]
        );
    }

    #[test]
    fn tiles_find_each_small_face_once() {
        let dots = [[0, 0], [632, 400], [640, 8], [1992, 1592], [1000, 800]];
        let picture = dotted(2000, 1600, &dots, 8);
        let options = SearchOptions {
            small_faces: true,
            ..SearchOptions::default()
        };
        let (faces, _) = search(&picture, &options);
        let mut found: Vec<[usize; 2]> =
            faces.iter().map(|f| [f.x as usize, f.y as usize]).collect();
        found.sort_unstable();
        let mut expected = dots.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn options_choose_among_the_faces() {
        let picture = dotted(640, 64, &[[0, 0], [64, 0], [128, 0]], 8);
        let count = |options: SearchOptions| search(&picture, &options).0.len();
        let all = SearchOptions::default();
        let rows = [
            (all, 3),
            (
                SearchOptions {
                    max_faces: Some(2),
                    ..all
                },
                2,
            ),
            (
                SearchOptions {
                    min_face: 9.0,
                    ..all
                },
                0,
            ),
            (
                SearchOptions {
                    min_score: 0.95,
                    ..all
                },
                0,
            ),
        ];
        for (options, expected) in rows {
            assert_eq!(count(options), expected, "{options:?}");
        }
    }

    /// Returns the values that it holds.
    struct Odd(Vec<f32>);
    impl Network for Odd {
        fn anchors(&self, _: Vec<f32>, _: [usize; 2]) -> Result<Vec<f32>, NetworkError> {
            Ok(self.0.clone())
        }
    }

    #[test]
    fn damaged_outputs_are_an_error_and_odd_pictures_are_searched() {
        let picture = dotted(32, 32, &[], 1);
        let options = SearchOptions::default();
        for values in [vec![], vec![f32::NAN; 21 * ANCHOR], vec![0.5; 7]] {
            let error = find(&picture, &Odd(values), &options).unwrap_err();
            assert!(matches!(error, SearchError::Damaged { .. }), "{error}");
        }
        for (width, height) in [(1, 1), (1, 100_000), (100_000, 1), (641, 3)] {
            let (faces, _) = search(&dotted(width, height, &[], 1), &options);
            assert!(faces.is_empty(), "{width}x{height}");
        }
    }
}
