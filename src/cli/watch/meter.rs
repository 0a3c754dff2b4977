//! What a run measures, and its progress: the time left for files; frames a second, latency and
//! frames passed over for live sources.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use fer::report::{Content, Record};
use fer::watch::FrameItem;

use crate::cli::progress::Progress;

/// The interval between lines about a live source.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Longer latencies are counted as this one, in milliseconds.
const SLOWEST: usize = 10_000;

/// The time over which the rate is measured.
const RATE_OVER: Duration = Duration::from_secs(1);

pub struct Meter {
    progress: Option<Progress>,
    live: bool,
    quiet: bool,
    start: Instant,
    last_line: Instant,
    frames: u64,
    faces: u64,
    empty: u64,
    failed: u64,
    skipped: u64,
    /// Frames whose latency was so many milliseconds.
    latencies: Vec<u32>,
    /// When the current measurement of the rate began, and its frames.
    since: (Instant, u64),
    rate: f64,
}

impl Meter {
    /// Starts to measure; `total` frames are expected. Records that are seen on a terminal take
    /// the place of the bar.
    pub fn new(total: Option<u64>, live: bool, quiet: bool, on_stdout: bool) -> Self {
        let seen = on_stdout && std::io::stdout().is_terminal();
        let total = total.filter(|_| !quiet && !seen && !live);
        let now = Instant::now();
        Self {
            progress: total.map(|n| Progress::of(n as usize, "watching", "frames")),
            live,
            quiet: quiet || seen,
            start: now,
            last_line: now,
            frames: 0,
            faces: 0,
            empty: 0,
            failed: 0,
            skipped: 0,
            latencies: vec![0; SLOWEST + 1],
            since: (now, 0),
            rate: 0.0,
        }
    }

    /// Counts an item whose record was written.
    pub fn count(&mut self, item: &FrameItem, record: &Record) {
        self.skipped += item.moment.skipped.unwrap_or(0);
        match &record.outcome {
            Ok(Content::Faces(picture)) => {
                self.faces += picture.faces.len() as u64;
                self.empty += u64::from(picture.faces.is_empty());
                self.failed += u64::from(!record.outcome.as_ref().is_ok_and(Content::is_whole));
            }
            Ok(Content::Whole(_)) => {}
            // A gap is not a failed frame.
            Err(_) => self.failed += u64::from(item.moment.gap.is_none()),
        }
        if !item.is_frame() {
            return;
        }
        if self.frames == 0 {
            // Not from when the first frame was waited for.
            (self.start, self.since) = (item.arrived, (item.arrived, 0));
        }
        self.frames += 1;
        let latency = item.arrived.elapsed().as_millis() as usize;
        self.latencies[latency.min(SLOWEST)] += 1;
        self.since.1 += 1;
        let passed = self.since.0.elapsed();
        if passed >= RATE_OVER {
            self.rate = self.since.1 as f64 / passed.as_secs_f64();
            self.since = (Instant::now(), 0);
        }
        self.progress.iter_mut().for_each(Progress::step);
        if self.live && !self.quiet && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            crate::cli::say(self.status());
        }
    }

    /// Frames that were decoded.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Records with an error.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// A line about the moment.
    pub fn status(&self) -> String {
        let rate = format!("{:.0} frames/s", self.rate);
        match self.live {
            true => format!("{rate}, {}", self.latency()),
            false => rate,
        }
    }

    fn latency(&self) -> String {
        if self.frames == 0 {
            return "no frame came".into();
        }
        format!(
            "latency {} ms (median), {} ms (95 %), {} frames passed over",
            self.percentile(0.5),
            self.percentile(0.95),
            self.skipped
        )
    }

    fn percentile(&self, share: f64) -> usize {
        let rank = (self.frames as f64 * share).ceil() as u64;
        let mut below = 0;
        let found = self.latencies.iter().position(|n| {
            below += u64::from(*n);
            below >= rank.max(1)
        });
        found.unwrap_or(SLOWEST)
    }

    pub fn finish(&self) {
        self.progress.iter().for_each(Progress::finish);
    }

    /// Prints what was seen in all.
    pub fn say(&self) {
        let seconds = self.start.elapsed().as_secs_f64();
        let rate = self.frames as f64 / seconds.max(1e-3);
        let live = match self.live {
            true => format!("; {}", self.latency()),
            false => String::new(),
        };
        let failed = match self.failed {
            0 => String::new(),
            1 => "; 1 record has an error".into(),
            n => format!("; {n} records have an error"),
        };
        crate::cli::say(format_args!(
            "{} frames in {seconds:.1} s ({rate:.1} frames/s), {} faces, {} frames without a \
             face{live}{failed}",
            self.frames, self.faces, self.empty
        ));
    }
}
