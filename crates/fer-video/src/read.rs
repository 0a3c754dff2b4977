//! The frames of a source, as they come: whole for files, the newest for live sources, which are
//! connected again when they are lost.

mod connect;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fer_core::images::Pixels;

use self::connect::Source;
use crate::ffmpeg::Running;
use crate::{Ffmpeg, VideoError, VideoSource};

/// How often those who wait look whether they should stop.
const TICK: Duration = Duration::from_millis(50);

/// The pause before a lost source is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// The most bytes of frames that wait for their reader, and the most frames.
const MAX_WAITING: usize = 64 << 20;
const MAX_FRAMES: usize = 4;

/// The most reports of breakage and gaps of a live source that wait for their reader.
const MAX_REPORTS: usize = 64;

/// A first frame may take this many times as long as another.
const FIRST: u32 = 3;

/// Which frames are read, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadOptions {
    /// Where to begin, in seconds from the beginning of a file.
    pub start: f64,
    /// How many seconds to read; `None` for all.
    pub duration: Option<f64>,
    /// Only every n-th frame, at least 1.
    pub every: u64,
    /// At most this many frames a second.
    pub fps: Option<f64>,
    /// The newest frame counts; those that nobody took in time are passed over.
    pub live: bool,
    /// How long a lost live source is tried again.
    pub reconnect: Duration,
    /// A live source or an address without a frame for this long is lost.
    pub stall: Duration,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            start: 0.0,
            duration: None,
            every: 1,
            fps: None,
            live: false,
            reconnect: Duration::from_secs(60),
            stall: Duration::from_secs(5),
        }
    }
}

/// A frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Its number among all frames of the source from where reading began, from 0.
    pub index: u64,
    /// Its presentation time in seconds, from the beginning of the source.
    pub time: f64,
    /// How many frames of a live source were passed over since the frame before.
    pub skipped: u64,
    /// When it was decoded.
    pub arrived: Instant,
    /// The picture, in RGB.
    pub pixels: Pixels,
}

/// What comes from a source.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A frame.
    Frame(Frame),
    /// Something near a frame could not be decoded.
    Broken {
        /// The number of the next frame.
        index: u64,
        /// The time of the frame before.
        time: f64,
        /// What ffmpeg said.
        reason: String,
    },
    /// A live source was lost and is back.
    Gap {
        /// The number of the next frame.
        index: u64,
        /// The time of the next frame.
        time: f64,
        /// The time without a frame, in seconds.
        seconds: f64,
        /// What ffmpeg said, if anything.
        reason: String,
    },
}

/// The events of a source, in order. They end at the source's end, or when the flag `stop` is set.
pub struct Frames {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    name: String,
    state: Mutex<State>,
    changed: Condvar,
    stop: Arc<AtomicBool>,
    /// The reader of the events is gone.
    closed: AtomicBool,
    options: ReadOptions,
    /// Whether a stall ends the connection.
    can_stall: bool,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    ended: bool,
    error: Option<VideoError>,
    running: Option<Running>,
    /// Of a frame, or of the start.
    last: Option<Instant>,
    connected: bool,
}

impl Frames {
    /// Starts to read.
    pub fn start(
        ffmpeg: &Ffmpeg,
        source: &VideoSource,
        options: ReadOptions,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let shared = Arc::new(Shared {
            name: source.name(),
            state: Mutex::default(),
            changed: Condvar::new(),
            stop,
            closed: AtomicBool::new(false),
            options,
            can_stall: matches!(source, VideoSource::Url(_) | VideoSource::Camera(_)),
        });
        let source = Source {
            ffmpeg: ffmpeg.clone(),
            source: source.clone(),
            options,
            shared: shared.clone(),
            began: Instant::now(),
            seen: 0,
            size: None,
            time: options.start,
            last_taken: None,
        };
        let thread = std::thread::spawn(move || source.run());
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Waits for the next event; `None` at the end, or when the flag is set.
    pub fn wait(&self) -> Option<Event> {
        let mut state = self.shared.lock();
        loop {
            if self.shared.is_stopped() {
                return None;
            }
            if let Some(event) = state.events.pop_front() {
                self.shared.changed.notify_all();
                return Some(event);
            }
            if state.ended {
                return None;
            }
            self.shared.watch(&state);
            let waited = self.shared.changed.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The events to the end.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        std::iter::from_fn(|| self.wait())
    }

    /// Ends reading; the reason if it was not the source's end or the flag.
    ///
    /// # Errors
    /// The source could not be read, or was lost.
    pub fn finish(mut self) -> Result<(), VideoError> {
        self.close();
        self.shared.lock().error.take().map_or(Ok(()), Err)
    }

    fn close(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() {
                // It may be starting another process just now.
                self.shared.kill();
                std::thread::sleep(Duration::from_millis(1));
            }
            let _ = thread.join();
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.closed.load(Ordering::Relaxed)
    }

    fn kill(&self) {
        if let Some(running) = &self.lock().running {
            running.kill();
        }
    }

    /// Ends a connection that stalls; the thread then sees its end.
    fn watch(&self, state: &State) {
        let limit = match state.connected {
            true => self.options.stall,
            false => self.options.stall * FIRST,
        };
        let stalls = state.last.is_some_and(|last| last.elapsed() > limit);
        if let (true, true, Some(running)) = (self.can_stall, stalls, &state.running) {
            running.kill();
        }
    }

    /// Adds an event. The reader of a file is waited for; a frame of a live source replaces one
    /// that nobody took. Returns a buffer that is free again.
    fn push(&self, event: Event) -> Option<Vec<u8>> {
        let mut state = self.lock();
        let bytes = match &event {
            Event::Frame(frame) => frame.pixels.data.len(),
            _ => 0,
        };
        if self.options.live {
            let mut free = None;
            let mut event = event;
            let is_frame = |event: &Event| matches!(event, Event::Frame(_));
            if let Event::Frame(frame) = &mut event {
                let waiting = state.events.iter().position(is_frame);
                let waiting = waiting.and_then(|at| state.events.remove(at));
                if let Some(Event::Frame(old)) = waiting {
                    frame.skipped += old.skipped + 1;
                    free = Some(old.pixels.data);
                }
            }
            if state.events.len() >= MAX_REPORTS {
                let oldest = state.events.iter().position(|event| !is_frame(event));
                if let Some(at) = oldest {
                    state.events.remove(at);
                }
            }
            state.events.push_back(event);
            self.changed.notify_all();
            return free;
        }
        let room = (MAX_WAITING / bytes.max(1)).clamp(1, MAX_FRAMES);
        while state.events.len() >= room && !self.is_stopped() {
            let waited = self.changed.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.events.push_back(event);
        self.changed.notify_all();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frame_of_a_damaged_live_source_waits_and_the_others_are_counted() {
        let shared = Shared {
            name: "x".into(),
            state: Mutex::default(),
            changed: Condvar::new(),
            stop: Arc::default(),
            closed: AtomicBool::new(false),
            options: ReadOptions {
                live: true,
                ..ReadOptions::default()
            },
            can_stall: false,
        };
        let broken = |index| Event::Broken {
            index,
            time: 0.0,
            reason: "damaged".into(),
        };
        let frames = 100;
        for index in 0..frames {
            shared.push(broken(index));
            shared.push(Event::Frame(Frame {
                index,
                time: 0.0,
                skipped: 0,
                arrived: Instant::now(),
                pixels: Pixels {
                    width: 1,
                    height: 1,
                    channels: 3,
                    data: vec![0; 3],
                },
            }));
        }
        // Reports behind the frame do not push it out.
        for _ in 0..frames {
            shared.push(broken(frames));
        }
        let state = shared.lock();
        assert!(state.events.len() <= MAX_REPORTS + 1);
        let waiting: Vec<(u64, u64)> = state
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Frame(frame) => Some((frame.index, frame.skipped)),
                _ => None,
            })
            .collect();
        assert_eq!(waiting, [(frames - 1, frames - 1)]);
    }
}
