//! Non-maximum suppression: of boxes that overlap, the best one stays.

use crate::Face;

/// The share of the union that two boxes may have in common, as in OpenCV's `FaceDetectorYN`.
pub const OVERLAP: f32 = 0.3;

/// The most boxes that are looked at, those of the highest scores, as in OpenCV's
/// `FaceDetectorYN`.
const MOST: usize = 5000;

/// Keeps the face of the highest score, drops those whose boxes overlap with it by more than
/// [`OVERLAP`], and goes on with the rest; highest score first. As OpenCV, it compares boxes whose
/// edges and sizes are cut to whole pixels.
pub fn suppress(mut faces: Vec<Face>) -> Vec<Face> {
    faces.sort_by(|a, b| b.score.total_cmp(&a.score));
    faces.truncate(MOST);
    let mut kept: Vec<(Face, Whole)> = Vec::new();
    for face in faces {
        let whole = Whole::of(&face);
        if kept
            .iter()
            .all(|(_, other)| whole.overlap(other) <= OVERLAP)
        {
            kept.push((face, whole));
        }
    }
    kept.into_iter().map(|(face, _)| face).collect()
}

/// A box in whole pixels.
struct Whole {
    x: i64,
    y: i64,
    w: i64,
    h: i64,
}

impl Whole {
    fn of(face: &Face) -> Self {
        Self {
            x: face.x as i64,
            y: face.y as i64,
            w: face.w as i64,
            h: face.h as i64,
        }
    }

    /// Intersection over union; 1 for two boxes without an area.
    fn overlap(&self, other: &Self) -> f32 {
        let shared = |a: i64, la: i64, b: i64, lb: i64| {
            let end = a.saturating_add(la).min(b.saturating_add(lb));
            end.saturating_sub(a.max(b)).max(0) as f64
        };
        let both =
            shared(self.x, self.w, other.x, other.w) * shared(self.y, self.h, other.y, other.h);
        let all = self.w as f64 * self.h as f64 + other.w as f64 * other.h as f64 - both;
        if all > 0.0 { (both / all) as f32 } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(x: f32, w: f32, score: f32) -> Face {
        Face {
            x,
            y: 0.0,
            w,
            h: 10.0,
            score,
            landmarks: [[0.0; 2]; 5],
        }
    }

    #[test]
    fn of_boxes_that_overlap_the_best_one_stays() {
        let rows: [(&str, Vec<Face>, &[f32]); 5] = [
            ("none", vec![], &[]),
            (
                "apart",
                vec![face(0.0, 10.0, 0.7), face(10.0, 10.0, 0.8)],
                &[0.8, 0.7],
            ),
            (
                "the same",
                vec![face(0.0, 10.0, 0.7), face(0.9, 10.0, 0.8)],
                &[0.8],
            ),
            // 5 of 15 pixels, 4 of 16.
            (
                "by a third",
                vec![face(0.0, 10.0, 0.9), face(5.0, 10.0, 0.8)],
                &[0.9],
            ),
            (
                "by a quarter",
                vec![face(0.0, 10.0, 0.9), face(6.0, 10.0, 0.8)],
                &[0.9, 0.8],
            ),
        ];
        let mut wrong = Vec::new();
        for (row, faces, expected) in rows {
            let scores: Vec<f32> = suppress(faces).iter().map(|f| f.score).collect();
            if scores != expected {
                wrong.push(format!("{row}: {scores:?}"));
            }
        }
        // What was dropped drops nothing itself.
        let chain = [(0.0, 0.9), (5.0, 0.8), (10.0, 0.7)];
        let chain = chain.map(|(x, score)| face(x, 10.0, score)).to_vec();
        assert_eq!(suppress(chain).len(), 2);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
