//! Shows the progress of a training run on stderr.

use std::io::IsTerminal;
use std::time::Instant;

use fer::train::checkpoint::Checkpoint;
use fer::train::run::EpochRecord;
use fer::train::{Observer, Progress};
use indicatif::{ProgressBar, ProgressStyle};

/// Shows a run: a bar on a terminal, a line from time to time elsewhere, and one line per epoch.
pub struct Epochs {
    quiet: bool,
    bar: Option<ProgressBar>,
    began: Instant,
    last_line: Instant,
    /// Images since the last epoch's end, for the speed.
    images: usize,
    epoch_began: Instant,
    total_steps: u64,
    done_before: u64,
    done: u64,
}

impl Epochs {
    /// Starts to show a run of `total_steps` steps from its current step.
    pub fn new(quiet: bool, total_steps: u64, run: &Checkpoint) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {msg}");
            ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let now = Instant::now();
        let done = run.state.total_steps;
        Self {
            quiet,
            bar,
            began: now,
            last_line: now,
            images: 0,
            epoch_began: now,
            total_steps,
            done_before: done,
            done,
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| super::say(text)),
            None => super::say(text),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Epochs {
    fn step(&mut self, p: &Progress) {
        self.done += u64::from(p.new_steps);
        if self.quiet {
            return;
        }
        self.images += p.images;
        let rate = self.images as f64 / self.epoch_began.elapsed().as_secs_f64();
        let seconds_a_step =
            self.began.elapsed().as_secs_f64() / (self.done - self.done_before) as f64;
        let left = seconds_a_step * self.total_steps.saturating_sub(self.done) as f64;
        let figures = format!(
            "loss {:.3}  accuracy {:.1} %  {rate:.0} images/s  {} left",
            p.loss,
            p.accuracy * 100.0,
            duration(left)
        );
        match &self.bar {
            Some(bar) => {
                bar.set_length(p.steps.into());
                bar.set_prefix(format!("epoch {}/{}", p.epoch, p.epochs));
                bar.set_message(figures);
                bar.set_position(p.step.into());
            }
            None if self.last_line.elapsed().as_secs() >= 30 => {
                self.last_line = Instant::now();
                super::say(format_args!(
                    "epoch {}/{} step {}/{}  {figures}",
                    p.epoch, p.epochs, p.step, p.steps
                ));
            }
            None => {}
        }
    }

    fn epoch(&mut self, training: &EpochRecord, validation: &EpochRecord, best: bool) {
        self.images = 0;
        self.epoch_began = Instant::now();
        if self.quiet {
            return;
        }
        self.line(&format!(
            "epoch {:3}  loss {:.4}  accuracy {:5.2} %  validation loss {:.4}  accuracy {:5.2} \
             %{}  lr {:.2e}  {} ({:.0} \
             images/s)",
            training.epoch,
            training.loss,
            training.accuracy * 100.0,
            validation.loss,
            validation.accuracy * 100.0,
            if best { " *" } else { "  " },
            training.learning_rate,
            duration(training.seconds + validation.seconds),
            training.images_per_second,
        ));
    }
}

/// Seconds in a readable form.
fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations() {
        let rows = [
            (0.4, "0 s"),
            (59.4, "59 s"),
            (60.0, "1 min 00 s"),
            (3599.0, "59 min 59 s"),
            (7260.0, "2 h 01 min"),
        ];
        assert!(rows.iter().all(|(s, text)| duration(*s) == *text));
    }
}
