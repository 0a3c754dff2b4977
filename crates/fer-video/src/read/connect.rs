//! The thread that reads a source: connection after connection, frame after frame.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fer_core::images::Pixels;

use super::{Event, Frame, PAUSE, ReadOptions, Shared, TICK};
use crate::decode::{Decoder, Step};
use crate::nut::NutError;
use crate::{Ffmpeg, VideoError, VideoSource};

/// The thread that reads.
pub(super) struct Source {
    pub(super) ffmpeg: Ffmpeg,
    pub(super) source: VideoSource,
    pub(super) options: ReadOptions,
    pub(super) shared: Arc<Shared>,
    pub(super) began: Instant,
    /// Frames decoded so far.
    pub(super) seen: u64,
    /// Width and height of the first one, which all others have too.
    pub(super) size: Option<[usize; 2]>,
    /// The time of the last one.
    pub(super) time: f64,
    /// The time of the last frame that was passed on.
    pub(super) last_taken: Option<f64>,
}

/// How a connection ended.
struct Ended {
    well: bool,
    frames: u64,
    reason: String,
}

impl Source {
    pub(super) fn run(mut self) {
        let error = self.read().err();
        let mut state = self.shared.lock();
        // What the end of the process says after a stop is of no interest.
        state.error = error.filter(|_| !self.shared.is_stopped());
        state.ended = true;
        state.running = None;
        self.shared.changed.notify_all();
    }

    fn read(&mut self) -> Result<(), VideoError> {
        let mut lost: Option<(Instant, String)> = None;
        loop {
            let ended = self.connection(&mut lost)?;
            if self.shared.is_stopped() {
                return Ok(());
            }
            let name = || self.shared.name.clone();
            if self.seen == 0 {
                return Err(match ended.well {
                    true => VideoError::NoFrames {
                        name: name(),
                        start: self.options.start,
                        reason: ended.reason,
                    },
                    false => VideoError::Unreadable {
                        name: name(),
                        reason: match ended.reason.is_empty() {
                            true => "nothing came".into(),
                            false => ended.reason,
                        },
                    },
                });
            }
            // A camera and a stream have no end of their own.
            let endless = match &self.source {
                VideoSource::Camera(_) => true,
                VideoSource::Url(_) => !(self.source.is_http() && ended.well),
                _ => false,
            };
            if !self.options.live || !endless || self.options.duration.is_some() && ended.well {
                if !ended.well {
                    let reason = match ended.reason.is_empty() {
                        true => "it ends early".into(),
                        false => format!("it ends early: {}", ended.reason),
                    };
                    self.broken(reason);
                }
                return Ok(());
            }
            // ffmpeg counts the seconds of each connection anew.
            if self.is_over(self.began.elapsed().as_secs_f64()) {
                return Ok(());
            }
            if ended.frames > 0 || lost.is_none() {
                let last = self.shared.lock().last.unwrap_or_else(Instant::now);
                lost = Some((last, ended.reason.clone()));
            }
            let since = lost.as_ref().map_or(Duration::ZERO, |(at, _)| at.elapsed());
            if since + PAUSE > self.options.reconnect {
                return Err(VideoError::Lost {
                    name: name(),
                    seconds: self.options.reconnect.as_secs_f64(),
                    reason: ended.reason,
                });
            }
            let pause = Instant::now();
            while pause.elapsed() < PAUSE && !self.shared.is_stopped() {
                std::thread::sleep(TICK);
            }
        }
    }

    /// Reads one connection to its end.
    fn connection(&mut self, lost: &mut Option<(Instant, String)>) -> Result<Ended, VideoError> {
        let name = self.shared.name.clone();
        let mut decoder = Decoder::start(&self.ffmpeg, &self.source, &self.options, self.size)?;
        {
            let mut state = self.shared.lock();
            state.running = Some(decoder.running());
            state.connected = false;
            state.last.get_or_insert_with(Instant::now);
            if self.seen > 0 {
                state.last = Some(Instant::now());
            }
        }
        let mut buffer = Vec::new();
        let (mut frames, mut offset) = (0, None);
        loop {
            if self.shared.is_stopped() {
                decoder.running().kill();
            }
            let step = decoder.step(&mut buffer);
            let time = match step {
                Ok(Step::Frame(time)) => time,
                Ok(Step::OtherSize) => {
                    self.broken("the size of the pictures changed".into());
                    continue;
                }
                Ok(Step::End) => break,
                Err(NutError::TooLarge { width, height }) => {
                    return Err(VideoError::TooLarge {
                        name,
                        width,
                        height,
                    });
                }
                Err(source) => return Err(VideoError::Output { name, source }),
            };
            let arrived = Instant::now();
            let [width, height] = decoder.size();
            let offset = *offset.get_or_insert_with(|| match (self.options.live, self.seen) {
                (false, _) => self.options.start,
                (true, 0) => -time,
                (true, _) => self.began.elapsed().as_secs_f64() - time,
            });
            // Times that go back, as in damaged files, do not.
            self.time = (offset + time).max(self.time);
            if self.seen == 0 {
                self.began = arrived;
                self.size = Some([width, height]);
            }
            if self.options.live && self.is_over(self.time) {
                let (well, reason) = (true, String::new());
                return Ok(Ended {
                    well,
                    frames,
                    reason,
                });
            }
            if let Some((since, reason)) = lost.take() {
                self.shared.push(Event::Gap {
                    index: self.seen,
                    time: self.time,
                    seconds: since.elapsed().as_secs_f64(),
                    reason,
                });
            }
            {
                let mut state = self.shared.lock();
                (state.last, state.connected) = (Some(arrived), true);
            }
            frames += 1;
            if let Some(reason) = decoder.said() {
                self.broken(reason);
            }
            let index = self.seen;
            self.seen += 1;
            if !self.is_wanted(index) {
                continue;
            }
            self.last_taken = Some(self.time);
            let data = std::mem::take(&mut buffer);
            let pixels = Pixels {
                width,
                height,
                channels: 3,
                data,
            };
            let frame = Frame {
                index,
                time: self.time,
                skipped: 0,
                arrived,
                pixels,
            };
            if let Some(free) = self.shared.push(Event::Frame(frame)) {
                buffer = free;
            }
        }
        let (well, reason) = decoder.finish();
        if let (true, true, Some(reason)) = (well, frames > 0, decoder.said()) {
            self.broken(reason);
        }
        Ok(Ended {
            well,
            frames,
            reason,
        })
    }

    /// Whether a live source has been read for as long as was asked for.
    fn is_over(&self, seconds: f64) -> bool {
        self.options.duration.is_some_and(|most| seconds >= most)
    }

    /// Whether a frame is among those asked for.
    fn is_wanted(&self, index: u64) -> bool {
        let by_number = index.is_multiple_of(self.options.every.max(1));
        // A frame that comes a little early is that of its time.
        let by_time = match (self.options.fps, self.last_taken) {
            (Some(fps), Some(last)) => self.time - last >= 1.0 / fps - 1e-3,
            _ => true,
        };
        by_number && by_time
    }

    fn broken(&self, reason: String) {
        self.shared.push(Event::Broken {
            index: self.seen,
            time: self.time,
            reason,
        });
    }
}
