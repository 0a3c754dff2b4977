//! Videos: a frame as an item of a stream, the stage that follows faces from frame to frame
//! ([`Follow`]), and the pace of a live source.
//!
//! ```text
//! Frames → Paced → Follow: find or move, track, crop → Session → … → sink
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fer_core::images::Pixels;
use fer_core::report::Moment;
use fer_core::stream::{Item, ItemError, Locate};
use fer_faces::{Face, Tracker};
use fer_video::{Event, Frames};

use crate::faces::Faces;

/// A frame of a video, or what stands in its place.
pub struct FrameItem {
    /// Its number, its time, and what was passed over before it.
    pub moment: Moment,
    /// When it was decoded.
    pub arrived: Instant,
    /// Gone while the stages look at them.
    pixels: Mutex<Option<Pixels>>,
    bytes: usize,
    /// Why the frame has no picture.
    problem: Option<String>,
}

impl FrameItem {
    /// The item for an event. `live` sources count the frames that are passed over.
    pub fn new(event: Event, live: bool) -> Self {
        let moment = |frame, time, skipped: u64, gap| Moment {
            frame,
            time,
            skipped: live.then_some(skipped),
            gap,
        };
        let (moment, arrived, pixels, problem) = match event {
            Event::Frame(f) => (
                moment(f.index, f.time, f.skipped, None),
                f.arrived,
                Some(f.pixels),
                None,
            ),
            Event::Broken {
                index,
                time,
                reason,
            } => (
                moment(index, time, 0, None),
                Instant::now(),
                None,
                Some(reason),
            ),
            Event::Gap {
                index,
                time,
                seconds,
                reason,
            } => {
                let because = match reason.is_empty() {
                    true => String::new(),
                    false => format!(": {reason}"),
                };
                let problem = format!("no frame for {seconds:.1} s, then connected again{because}");
                let moment = moment(index, time, 0, Some(seconds));
                (moment, Instant::now(), None, Some(problem))
            }
        };
        Self {
            moment,
            arrived,
            bytes: pixels.as_ref().map_or(0, |p| p.data.len()),
            pixels: Mutex::new(pixels),
            problem,
        }
    }

    /// Whether there is a picture.
    pub fn is_frame(&self) -> bool {
        self.problem.is_none()
    }

    /// The picture, which is then gone.
    pub fn take(&self) -> Option<Pixels> {
        self.pixels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn put_back(&self, pixels: Pixels) {
        *self.pixels.lock().unwrap_or_else(PoisonError::into_inner) = Some(pixels);
    }
}

impl Item for FrameItem {
    fn load(&self) -> Result<Pixels, ItemError> {
        self.take().ok_or_else(|| ItemError::Source {
            reason: self.problem.clone().unwrap_or_default(),
        })
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// From a frame to the crops of its faces, each with the id of its track. Frames must come one
/// after the other: the stream has one worker.
pub struct Follow<'a> {
    faces: &'a Faces<'a>,
    every: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tracker: Tracker,
    /// Frames since the detector ran.
    since: Option<u64>,
}

impl<'a> Follow<'a> {
    /// The stage; the detector runs on every `every`-th frame, at least 1, and in between faces move
    /// along their tracks.
    pub fn new(faces: &'a Faces<'a>, every: u64) -> Self {
        Self {
            faces,
            every: every.max(1),
            state: Mutex::default(),
        }
    }

    /// The faces of a frame, each with its track.
    ///
    /// # Errors
    /// The detector failed.
    fn find(&self, pixels: &Pixels, time: f64) -> Result<Vec<(u64, Face)>, ItemError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = state.since.filter(|since| since + 1 < self.every) {
            state.since = Some(since + 1);
            return Ok(state.tracker.moved(time));
        }
        let faces = self.faces.find(pixels)?.unwrap_or_default();
        state.since = Some(0);
        let ids = state.tracker.detected(time, &faces);
        Ok(ids.into_iter().zip(faces).collect())
    }
}

impl Locate<FrameItem> for &Follow<'_> {
    type Place = (u64, Face);

    fn locate(
        &self,
        item: &FrameItem,
        pixels: Pixels,
        view: &mut dyn FnMut(Self::Place, Result<Pixels, ItemError>),
    ) -> Result<(), ItemError> {
        let found = self.find(&pixels, item.moment.time);
        if let Ok(faces) = &found {
            for (track, face) in faces {
                view((*track, *face), Ok(self.faces.crop.cut(&pixels, face)));
            }
        }
        // For those who draw on it.
        item.put_back(pixels);
        found.map(drop)
    }
}

/// How many frames of a live source are in work: one that is looked for faces in, and one that is
/// classified. More would only make the newest older.
const IN_WORK: usize = 2;

/// Lets a live source's next frame in when another is done.
#[derive(Default)]
pub struct Pace {
    in_work: Mutex<usize>,
    done: Condvar,
}

impl Pace {
    /// The items of a source, of a live one only as many as are in work at a time. They end when
    /// `stop` is set.
    pub fn items<'a>(
        &'a self,
        frames: &'a Frames,
        live: bool,
        stop: &'a AtomicBool,
    ) -> impl Iterator<Item = FrameItem> + Send + 'a {
        std::iter::from_fn(move || {
            if live {
                let mut in_work = self.in_work.lock().unwrap_or_else(PoisonError::into_inner);
                while *in_work >= IN_WORK && !stop.load(Ordering::Relaxed) {
                    let waited = self.done.wait_timeout(in_work, Duration::from_millis(50));
                    in_work = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
            let event = frames.wait()?;
            if live {
                *self.in_work.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            }
            Some(FrameItem::new(event, live))
        })
    }

    /// An item is done.
    pub fn done(&self) {
        let mut in_work = self.in_work.lock().unwrap_or_else(PoisonError::into_inner);
        *in_work = in_work.saturating_sub(1);
        self.done.notify_all();
    }
}
