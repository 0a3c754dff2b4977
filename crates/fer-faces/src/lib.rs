//! Faces in pictures: where they are, and the crops that a classifier sees. Pure functions; the
//! detector's network is the caller's ([`Network`]).
//!
//! | step | file |
//! |---|---|
//! | a picture → the passes over it, in several sizes → faces | `search` |
//! | a picture or a part of it → pixels of another size | `resample` |
//! | the network's outputs → boxes, scores, landmarks | `anchors` |
//! | several boxes of one face → the best one | `suppress` |
//! | a face → the crop that the classifier sees | `crop` |
//! | which pictures are searched | `when` |
//! | faces of frame after frame → one id for a person ([`Tracker`]) | `tracks` |
//! | probabilities along a track → their average ([`Smoother`]) | `smooth` |
//!
//! ```
//! use fer_core::images::Pixels;
//! use fer_faces::{Network, NetworkError, SearchOptions, find};
//!
//! /// Finds nothing.
//! struct Blind;
//! impl Network for Blind {
//!     fn anchors(&self, _: Vec<f32>, [w, h]: [usize; 2]) -> Result<Vec<f32>, NetworkError> {
//!         Ok(vec![0.0; fer_faces::anchor_count([w, h]) * fer_faces::ANCHOR])
//!     }
//! }
//!
//! let picture = Pixels { width: 100, height: 80, channels: 1, data: vec![0; 8000] };
//! assert!(find(&picture, &Blind, &SearchOptions::default())?.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod anchors;
mod crop;
mod resample;
mod search;
mod smooth;
mod suppress;
mod tracks;
mod when;

pub use anchors::{ANCHOR, STRIDES, Scores, anchor_count, decode};
pub use crop::{Crop, FRAME};
pub use fer_core::spec::{FaceCrop, Frame};
pub use search::{Network, NetworkError, SearchError, SearchOptions, find};
pub use smooth::Smoother;
pub use suppress::{OVERLAP, suppress};
pub use tracks::{TrackOptions, Tracker};
pub use when::When;

/// A face in a picture. Lengths are in the picture's pixels, from its top left. A box may reach
/// beyond the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Face {
    /// The box's left edge.
    pub x: f32,
    /// The box's top edge.
    pub y: f32,
    /// The box's width.
    pub w: f32,
    /// The box's height.
    pub h: f32,
    /// How sure the detector is, 0..=1.
    pub score: f32,
    /// The points x, y of the person's right eye, left eye, tip of the nose, right and left corner
    /// of the mouth.
    pub landmarks: [[f32; 2]; 5],
}

impl Face {
    /// The longer side of the box.
    pub fn side(&self) -> f32 {
        self.w.max(self.h)
    }

    /// By how much the head leans, in degrees of -180..=180: the angle of the line from the
    /// person's right eye to the left one. Positive is clockwise.
    pub fn lean(&self) -> f32 {
        let [right, left] = [self.landmarks[0], self.landmarks[1]];
        (left[1] - right[1]).atan2(left[0] - right[0]).to_degrees()
    }

    /// Whether every length is finite.
    fn is_finite(&self) -> bool {
        let lengths = [self.x, self.y, self.w, self.h].into_iter();
        let mut all = lengths.chain(self.landmarks.into_iter().flatten());
        all.all(f32::is_finite)
    }

    /// The face in a picture whose pixels are `scale` times as large and that begins at `origin` of
    /// it.
    fn mapped(mut self, [sx, sy]: [f32; 2], [dx, dy]: [f32; 2]) -> Self {
        (self.x, self.y) = (self.x * sx + dx, self.y * sy + dy);
        (self.w, self.h) = (self.w * sx, self.h * sy);
        for [x, y] in &mut self.landmarks {
            (*x, *y) = (*x * sx + dx, *y * sy + dy);
        }
        self
    }
}
