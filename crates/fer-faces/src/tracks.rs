//! Faces of one person over time: an id that stays from frame to frame.
//!
//! A track moves with constant velocity. A face belongs to the track whose predicted box overlaps
//! it most. A face that no track overlaps enough belongs to the nearest track of about its size,
//! which covers a person who turned or stopped while the detector did not see the face.

use crate::Face;

/// The share of the union that a face and a track's predicted box have in common at least.
const MIN_OVERLAP: f32 = 0.3;

/// How far from a track a face without enough overlap may be, in sides of the face: this, and
/// [`REACH_PER_SECOND`] for each second since the track was last seen.
const REACH: f32 = 1.0;
const REACH_PER_SECOND: f32 = 2.0;

/// What a second without detection takes from a track's overlap: of two tracks at a face, one of
/// which hides behind the other, the face is that of the one in front.
const LOSS_PER_SECOND: f32 = 0.5;

/// The largest ratio of the sides of such a face and its track.
const MAX_RATIO: f32 = 1.6;

/// The time in seconds over which a velocity is averaged. A detector's box trembles by a pixel or
/// two, which between two frames is far more than the speed of a face at rest.
const VELOCITY_SECONDS: f64 = 0.2;

/// How tracks work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackOptions {
    /// The time in seconds for which a track waits for its face to be found again.
    pub memory: f64,
}

impl Default for TrackOptions {
    fn default() -> Self {
        Self { memory: 1.0 }
    }
}

/// The tracks of one source of frames.
///
/// ```
/// use fer_faces::{Face, Tracker};
/// let face = |x| Face { x, y: 0.0, w: 50.0, h: 50.0, score: 0.9, landmarks: [[x, 0.0]; 5] };
/// let mut tracker = Tracker::default();
/// assert_eq!(tracker.detected(0.0, &[face(0.0), face(200.0)]), [1, 2]);
/// // The detector sorts by size, not by person.
/// assert_eq!(tracker.detected(0.1, &[face(205.0), face(5.0)]), [2, 1]);
/// // A frame between two detections.
/// let (id, moved) = tracker.moved(0.2)[0];
/// assert_eq!((id, moved.x.round()), (1, 10.0));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Tracker {
    options: TrackOptions,
    tracks: Vec<Track>,
    /// The number of ids given.
    ids: u64,
    /// The time of the last detection.
    time: f64,
}

/// A face's path.
#[derive(Debug, Clone)]
struct Track {
    id: u64,
    /// The face as it was last found.
    face: Face,
    /// When that was, in seconds.
    seen: f64,
    /// Pixels a second, right and down.
    velocity: [f64; 2],
    /// How often the face was found.
    count: u32,
}

impl Tracker {
    /// No tracks yet.
    pub fn new(options: TrackOptions) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Takes the faces that the detector found in the frame at `time` (seconds), and returns the
    /// id of each, in their order. Ids begin at 1 and are never given twice. Times grow from call
    /// to call; if one is smaller than the last, the source has begun anew, and all tracks end.
    pub fn detected(&mut self, time: f64, faces: &[Face]) -> Vec<u64> {
        let time = if time.is_finite() { time } else { self.time };
        let memory = self.options.memory;
        let began_anew = time < self.time;
        self.tracks
            .retain(|track| !began_anew && time - track.seen <= memory);
        self.time = time;

        let mut owners = vec![None; faces.len()];
        for affinity in [overlaps, is_near] {
            self.assign(faces, &mut owners, affinity);
        }
        let mut ids = Vec::with_capacity(faces.len());
        for (face, owner) in faces.iter().zip(owners) {
            ids.push(match owner {
                Some(track) => self.tracks[track].found(face, time),
                None => self.begin(face, time),
            });
        }
        ids
    }

    /// The faces of the last detection, moved to where they are at `time` if they keep their
    /// velocity: for frames on which the detector does not run.
    pub fn moved(&self, time: f64) -> Vec<(u64, Face)> {
        let time = if time.is_finite() { time } else { self.time };
        let seen = self.tracks.iter().filter(|track| track.seen == self.time);
        seen.map(|track| (track.id, track.at(time))).collect()
    }

    /// Gives faces without a track to tracks without a face, those of the highest affinity first.
    fn assign(
        &self,
        faces: &[Face],
        owners: &mut [Option<usize>],
        affinity: fn(&Track, &Face, f64) -> Option<f32>,
    ) {
        let mut taken = vec![false; self.tracks.len()];
        owners
            .iter()
            .flatten()
            .for_each(|track| taken[*track] = true);
        let mut pairs = Vec::new();
        for (index, track) in self.tracks.iter().enumerate().filter(|(i, _)| !taken[*i]) {
            for (face, other) in faces
                .iter()
                .enumerate()
                .filter(|(i, _)| owners[*i].is_none())
            {
                pairs.extend(affinity(track, other, self.time).map(|value| (value, index, face)));
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (_, track, face) in pairs {
            if !taken[track] && owners[face].is_none() {
                (taken[track], owners[face]) = (true, Some(track));
            }
        }
    }

    fn begin(&mut self, face: &Face, time: f64) -> u64 {
        self.ids += 1;
        self.tracks.push(Track {
            id: self.ids,
            face: *face,
            seen: time,
            velocity: [0.0; 2],
            count: 1,
        });
        self.ids
    }
}

impl Track {
    /// The face at `time`, if it keeps its velocity.
    fn at(&self, time: f64) -> Face {
        let by = self.velocity.map(|v| (v * (time - self.seen)) as f32);
        self.face.mapped([1.0; 2], by)
    }

    /// The face was found at `time`.
    fn found(&mut self, face: &Face, time: f64) -> u64 {
        let passed = time - self.seen;
        if passed > 0.0 {
            // The mean at first, then one that forgets.
            let forgotten = 1.0 - (-passed / VELOCITY_SECONDS).exp();
            let weight = forgotten.max(1.0 / f64::from(self.count));
            let (to, from) = (center(face), center(&self.face));
            for axis in 0..2 {
                let measured = f64::from(to[axis] - from[axis]) / passed;
                self.velocity[axis] += weight * (measured - self.velocity[axis]);
            }
            self.count = self.count.saturating_add(1);
        }
        (self.face, self.seen) = (*face, time);
        self.id
    }
}

/// How much a face and the track's predicted box overlap, if that is enough, less what the track
/// lost since it was seen.
fn overlaps(track: &Track, face: &Face, time: f64) -> Option<f32> {
    let share = overlap(&track.at(time), face);
    let lost = LOSS_PER_SECOND * (time - track.seen) as f32;
    (share >= MIN_OVERLAP).then_some(share - lost)
}

/// How near a face is to where the track was last seen, or to where it should be.
fn is_near(track: &Track, face: &Face, time: f64) -> Option<f32> {
    let (side, other) = (face.side(), track.face.side());
    let alike = side <= other * MAX_RATIO && other <= side * MAX_RATIO;
    let reach = REACH + REACH_PER_SECOND * (time - track.seen) as f32;
    let distance = |from: &Face| {
        let (a, b) = (center(from), center(face));
        (a[0] - b[0]).hypot(a[1] - b[1]) / side.max(1.0)
    };
    let nearest = distance(&track.face).min(distance(&track.at(time)));
    (alike && nearest <= reach).then_some(-nearest)
}

fn center(face: &Face) -> [f32; 2] {
    [face.x + face.w / 2.0, face.y + face.h / 2.0]
}

/// Intersection over union.
fn overlap(a: &Face, b: &Face) -> f32 {
    let shared = |a: f32, la: f32, b: f32, lb: f32| ((a + la).min(b + lb) - a.max(b)).max(0.0);
    let both = shared(a.x, a.w, b.x, b.w) * shared(a.y, a.h, b.y, b.h);
    let all = a.w * a.h + b.w * b.h - both;
    if all > 0.0 { both / all } else { 0.0 }
}

#[cfg(test)]
mod tests;
