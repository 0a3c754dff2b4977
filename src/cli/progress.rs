//! Shows the progress of a run on stderr: a bar with the time left on a terminal, a plain line from
//! time to time elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

/// The interval between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Progress of a run over a known number of images.
pub struct Progress {
    unit: &'static str,
    bar: Option<ProgressBar>,
    total: usize,
    done: usize,
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
            start: now,
            last_line: now,
        }
    }

    /// Counts one more image.
    pub fn step(&mut self) {
        self.done += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if self.done < self.total && self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                let rate = self.done as f64 / self.start.elapsed().as_secs_f64();
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
