//! YuNet's outputs → faces.
//!
//! For the strides 8, 16 and 32, one after the other, each cell of the input's grid has an anchor,
//! row by row: `cls`, `obj`, `b0…b3`, `k0…k9`. The score is `sqrt(clamp(cls) · clamp(obj))`, of the
//! two's sigmoids where the network leaves those out ([`Scores`]). The
//! box's center is `((column + b0) · s, (row + b1) · s)`, its size `(exp(b2) · s, exp(b3) · s)`;
//! the landmark `i` is `((k2i + column) · s, (k2i+1 + row) · s)`. This is the decoding of OpenCV's
//! `FaceDetectorYN` (`modules/objdetect/src/face_detect.cpp`).

use crate::Face;

/// Values of an anchor.
pub const ANCHOR: usize = 16;

/// Pixels between two cells, in the order of the anchors.
pub const STRIDES: [usize; 3] = [8, 16, 32];

/// What the first two values of an anchor are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scores {
    /// Probabilities, 0..=1.
    #[default]
    Probabilities,
    /// What a sigmoid makes probabilities of.
    Logits,
}

impl Scores {
    /// The probability for a value.
    fn probability(self, value: f32) -> f32 {
        match self {
            Self::Probabilities => value.clamp(0.0, 1.0),
            Self::Logits => 1.0 / (1.0 + (-value).exp()),
        }
    }

    /// A value below which a probability is certainly less than `least`.
    fn bound(self, least: f32) -> f32 {
        match self {
            Self::Probabilities => least - 1e-3,
            // From 15 on, probabilities differ by less than the margin.
            Self::Logits => (least / (1.0 - least).max(1e-9)).ln().min(15.0) - 1e-2,
        }
    }
}

/// The number of anchors for an input of width and height, both multiples of 32.
pub fn anchor_count([width, height]: [usize; 2]) -> usize {
    STRIDES.iter().map(|s| (width / s) * (height / s)).sum()
}

/// The faces of a score of at least `min_score`, in the order of the anchors; `None` if a value is
/// not finite or their number is not that of an input of this width and height.
pub fn decode(
    anchors: &[f32],
    size: [usize; 2],
    scores: Scores,
    min_score: f32,
) -> Option<Vec<Face>> {
    if anchors.len() != anchor_count(size) * ANCHOR || !are_finite(anchors) {
        return None;
    }
    // The score is at most the root of either of the two.
    let bound = scores.bound(min_score * min_score);
    let mut anchors = anchors.chunks_exact(ANCHOR);
    let mut faces = Vec::new();
    for stride in STRIDES {
        let (columns, rows) = (size[0] / stride, size[1] / stride);
        for cell in 0..columns * rows {
            let anchor = anchors.next()?;
            if anchor[0] < bound || anchor[1] < bound {
                continue;
            }
            let score = (scores.probability(anchor[0]) * scores.probability(anchor[1])).sqrt();
            if score < min_score {
                continue;
            }
            let s = stride as f32;
            let (column, row) = ((cell % columns) as f32, (cell / columns) as f32);
            let center = [(column + anchor[2]) * s, (row + anchor[3]) * s];
            let [w, h] = [anchor[4].exp() * s, anchor[5].exp() * s];
            let landmarks = std::array::from_fn(|i| {
                [
                    (anchor[6 + 2 * i] + column) * s,
                    (anchor[7 + 2 * i] + row) * s,
                ]
            });
            let face = Face {
                x: center[0] - w / 2.0,
                y: center[1] - h / 2.0,
                w,
                h,
                score,
                landmarks,
            };
            // The exponential of a damaged network's output may be infinite, as may sums.
            if !face.is_finite() {
                return None;
            }
            faces.push(face);
        }
    }
    Some(faces)
}

/// Whether all values are finite; for each anchor at once, so that the compiler uses vectors.
fn are_finite(anchors: &[f32]) -> bool {
    anchors
        .chunks_exact(ANCHOR)
        .all(|anchor| anchor.iter().fold(true, |all, v| all & v.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Scores = Scores::Probabilities;

    #[test]
    fn logits_are_probabilities_before_the_sigmoid() {
        let size = [32, 32];
        let mut wrong = Vec::new();
        for (cls, obj) in [(0.9f32, 0.8f32), (0.36, 0.9999), (0.5, 0.72), (0.2, 0.9)] {
            let mut anchors = vec![0.0; anchor_count(size) * ANCHOR];
            for anchor in anchors.chunks_exact_mut(ANCHOR) {
                (anchor[0], anchor[1]) = (cls, obj);
            }
            let mut logits = anchors.clone();
            for anchor in logits.chunks_exact_mut(ANCHOR) {
                for p in &mut anchor[..2] {
                    *p = (*p / (1.0 - *p)).ln();
                }
            }
            for least in [0.01, 0.42, 0.5999, 0.6001, 0.84, 0.99, 1.0] {
                let plain = decode(&anchors, size, PLAIN, least).unwrap();
                let found = decode(&logits, size, Scores::Logits, least).unwrap();
                let near = |(a, b): (&Face, &Face)| (a.score - b.score).abs() < 1e-6;
                let count = if (cls * obj).sqrt() < least { 0 } else { 21 };
                let equal = plain.iter().zip(&found).all(near);
                if [plain.len(), found.len()] != [count; 2] || !equal {
                    wrong.push((cls, obj, least, plain.len(), found.len()));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
        // A score of 1 is one of 0.9999999 and rounded up.
        let certain = vec![40.0; anchor_count(size) * ANCHOR];
        let faces = decode(&certain, size, Scores::Logits, 1.0);
        assert!(faces.is_none_or(|faces| faces.len() == 21));
    }

    #[test]
    fn an_anchor_becomes_its_box() {
        let size = [64, 32];
        let mut anchors = vec![0.0; anchor_count(size) * ANCHOR];
        // Stride 16, row 1, column 2: after the 32 anchors of stride 8.
        let place = (32 + 4 + 2) * ANCHOR;
        let values = [
            0.81, 2.0, 0.5, 0.25, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.5, 0.5, 0.0, 1.0, 1.0, 1.0,
        ];
        anchors[place..][..ANCHOR].copy_from_slice(&values);
        let faces = decode(&anchors, size, PLAIN, 0.5).unwrap();
        assert_eq!(faces.len(), 1);
        let face = faces[0];
        let height = 1f32.exp() * 16.0;
        assert_eq!((face.score, face.w, face.h), (0.9, 16.0, height));
        assert_eq!((face.x, face.y), (40.0 - 8.0, 20.0 - height / 2.0));
        assert_eq!(face.landmarks[0], [32.0, 16.0]);
        assert_eq!(face.landmarks[1], [48.0, 16.0]);
        assert_eq!(face.landmarks[4], [48.0, 32.0]);
    }

    #[test]
    fn damaged_outputs_are_no_faces() {
        let size = [32, 32];
        let whole = vec![0.9; anchor_count(size) * ANCHOR];
        assert!(decode(&whole, size, PLAIN, 0.5).is_some_and(|faces| faces.len() == 21));
        assert!(decode(&whole[1..], size, PLAIN, 0.5).is_none());
        for odd in [f32::NAN, f32::INFINITY] {
            let mut damaged = whole.clone();
            damaged[40] = odd;
            assert!(decode(&damaged, size, PLAIN, 0.5).is_none());
        }
        for (place, value) in [(4, 1e4), (2, f32::MAX), (9, f32::MAX)] {
            let mut huge = whole.clone();
            huge[place] = value;
            assert!(decode(&huge, size, PLAIN, 0.5).is_none(), "{place}");
        }
    }
}
