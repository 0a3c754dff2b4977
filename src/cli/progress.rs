//! Shows the progress of a run on stderr: a bar with the time left on a terminal, a plain line from
//! time to time elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// The interval between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Progress of a run over images.
pub struct Progress {
    unit: &'static str,
    bar: Option<ProgressBar>,
    /// 0 if it is not known.
    total: usize,
    done: usize,
    /// Those that an earlier run has done.
    before: usize,
    start: Instant,
    last_line: Instant,
}

impl Progress {
    /// Starts to count `total` images; `what` names the work.
    pub fn new(total: usize, what: &'static str) -> Self {
        Self::of(total, what, "images")
    }

    /// Starts to count `total` of what `unit` names; `what` names the work.
    pub fn of(total: usize, what: &'static str, unit: &'static str) -> Self {
        let bar = (std::io::stderr().is_terminal() && total > 1).then(|| {
            let style =
                ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}  {per_sec}  {eta} left");
            ProgressBar::new(total as u64)
                .with_message(what)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let now = Instant::now();
        Self {
            unit,
            bar,
            total,
            done: 0,
            before: 0,
            start: now,
            last_line: now,
        }
    }

    /// Starts to count images, of `total` if it is known; some are done already.
    pub fn going_on(total: Option<usize>, done: usize, what: &'static str) -> Self {
        let mut progress = Self::new(total.unwrap_or_default(), what);
        if let (None, true) = (total, std::io::stderr().is_terminal()) {
            let style = ProgressStyle::with_template("{msg} {spinner} {pos} images  {per_sec}");
            progress.bar = Some(
                ProgressBar::no_length()
                    .with_message(what)
                    .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner())),
            );
        }
        progress.done = done;
        progress.before = done;
        if let Some(bar) = &progress.bar {
            bar.set_position(done as u64);
        }
        progress
    }

    /// Counts one more image.
    pub fn step(&mut self) {
        self.done += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if self.done >= self.total && self.total > 0 => {}
            None if self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                let now = self.done - self.before;
                let rate = now as f64 / self.start.elapsed().as_secs_f64();
                if self.total == 0 {
                    let unit = self.unit;
                    return super::say(format_args!("{} {unit}, {rate:.0} {unit}/s", self.done));
                }
                let left = (self.total - self.done) as f64 / rate;
                super::say(format_args!(
                    "{} of {} {unit}, {rate:.0} {unit}/s, {left:.0} s left",
                    self.done,
                    self.total,
                    unit = self.unit
                ));
            }
            None => {}
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
