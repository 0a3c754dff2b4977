//! Videos: a frame as an item of a stream, the stage that follows faces from frame to frame
//! ([`Follow`]), and the pace of a live source.
//!
//! ```text
//! Frames → Paced → Follow: find or move, track, crop → Session → … → sink
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    /// Of a live source, until the frame is done.
    in_work: Option<InWork>,
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
            in_work: None,
        }
    }

    /// Lets the next frame of a live source in.
    pub fn done(&mut self) {
        self.in_work = None;
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
    /// The stage; the detector runs on every `every`-th frame, at least 1, and in between faces
    /// move along their tracks.
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
pub struct Pace(Arc<Count>);

/// How many frames are in work.
#[derive(Default)]
struct Count {
    in_work: Mutex<usize>,
    changed: Condvar,
}

/// A frame's place among those in work. It is free again when this is dropped: when the frame is
/// done, or is lost because the stream failed.
struct InWork(Arc<Count>);

impl Drop for InWork {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.changed.notify_all();
    }
}

impl Count {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.in_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for a frame, or `stop` is set.
    fn wait(&self, stop: &AtomicBool) {
        let mut in_work = self.lock();
        while *in_work >= IN_WORK && !stop.load(Ordering::Relaxed) {
            let waited = self
                .changed
                .wait_timeout(in_work, Duration::from_millis(50));
            in_work = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
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
                self.0.wait(stop);
            }
            let mut item = FrameItem::new(frames.wait()?, live);
            item.in_work = live.then(|| self.enter());
            Some(item)
        })
    }

    fn enter(&self) -> InWork {
        *self.0.lock() += 1;
        InWork(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_are_done_or_lost_leave_room_for_others() {
        let pace = Pace::default();
        let frame = || {
            let event = Event::Broken {
                index: 0,
                time: 0.0,
                reason: "damaged".into(),
            };
            let mut item = FrameItem::new(event, true);
            item.in_work = Some(pace.enter());
            item
        };
        let (mut done, lost) = (frame(), frame());
        assert_eq!(*pace.0.lock(), IN_WORK);
        done.done();
        assert_eq!(*pace.0.lock(), 1);
        // What the stream holds when it fails is dropped.
        drop(lost);
        assert_eq!(*pace.0.lock(), 0);
        drop(done);
        assert_eq!(*pace.0.lock(), 0);
    }
}
