//! Loss and accuracy of a training run, epoch by epoch, side by side.

use std::path::Path;

use super::{
    Align, BLUE, Canvas, GRID, INK, MUTED, ORANGE, PlotError, SMALL, TEXT, TITLE, WHITE, fitted,
    text_width,
};

/// The figures of one epoch. Values that are not finite, and those beyond ±1e30, are left out of
/// the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochPoint {
    /// The epoch's number, from 1.
    pub epoch: u32,
    /// The mean loss on the training images.
    pub train_loss: f64,
    /// The share of training images classified right, 0..=1.
    pub train_accuracy: f64,
    /// The mean loss on the validation images.
    pub validation_loss: f64,
    /// The share of validation images classified right, 0..=1.
    pub validation_accuracy: f64,
    /// The learning rate at the epoch's end.
    pub learning_rate: f64,
}

const WIDTH: u32 = 1400;
const HEIGHT: u32 = 580;
const MARGIN: f64 = 28.0;
/// The panels' axes: left and right ends of each, top and bottom of both.
const PANELS: [(f64, f64); 2] = [(84.0, 680.0), (784.0, 1380.0)];
const TOP: f64 = 136.0;
const BOTTOM: f64 = 510.0;

/// Draws the curves of `points`, which are in the order of their epochs, and marks `best_epoch`.
///
/// A loss that falls to less than a third is drawn on a logarithmic scale: with an L2 penalty it
/// starts so high that the rest would be a flat line.
///
/// # Errors
/// There are no points, or the file can't be written.
pub fn curves(
    path: &Path,
    points: &[EpochPoint],
    best_epoch: Option<u32>,
    title: &str,
) -> Result<(), PlotError> {
    let best = best_epoch.and_then(|epoch| points.iter().find(|p| p.epoch == epoch));
    let epochs =
        epoch_scale(points).ok_or_else(|| PlotError::unfit(path, "there are no epochs"))?;
    let mut canvas = Canvas::new(path, WIDTH, HEIGHT)?;
    let room = f64::from(WIDTH) - 2.0 * MARGIN;
    canvas.text(
        &fitted(title, TITLE, room),
        (MARGIN, 38.0),
        Align::Left,
        TITLE,
        INK,
    );
    canvas.text(
        &fitted(&subtitle(points, best), TEXT, room),
        (MARGIN, 66.0),
        Align::Left,
        TEXT,
        MUTED,
    );

    let panel = |canvas: &mut Canvas,
                 ends: (f64, f64),
                 name: &str,
                 values: [fn(&EpochPoint) -> f64; 2],
                 percent: bool| {
        let scale = Scale::of(points.iter().flat_map(|p| values.map(|v| v(p))), percent);
        Panel {
            ends,
            epochs: &epochs,
            scale,
        }
        .draw(canvas, name, points, best, values);
    };
    panel(
        &mut canvas,
        PANELS[0],
        "Loss",
        [|p| p.train_loss, |p| p.validation_loss],
        false,
    );
    panel(
        &mut canvas,
        PANELS[1],
        "Accuracy",
        [|p| p.train_accuracy, |p| p.validation_accuracy],
        true,
    );
    legend(&mut canvas, best.is_some());
    canvas.save()
}

fn subtitle(points: &[EpochPoint], best: Option<&EpochPoint>) -> String {
    let last = points.last().map_or(0, |p| p.epoch);
    let mut text = format!("{last} epoch{}", if last == 1 { "" } else { "s" });
    if let Some(best) = best {
        let (loss, accuracy) = (best.validation_loss, 100.0 * best.validation_accuracy);
        text += &format!(
            " · best: epoch {} with validation loss {loss:.3}, accuracy {accuracy:.2} %",
            best.epoch
        );
    }
    let rates = || {
        points
            .iter()
            .map(|p| p.learning_rate)
            .filter(|r| r.is_finite())
    };
    let (low, high) = (
        rates().fold(f64::INFINITY, f64::min),
        rates().fold(0.0, f64::max),
    );
    match (low == high, low <= high) {
        (true, _) => text += &format!(" · learning rate {}", short_exponent(low)),
        (_, true) => {
            text += &format!(
                " · learning rate {} to {}",
                short_exponent(high),
                short_exponent(low)
            )
        }
        _ => {}
    }
    text
}

/// What the colours mean, above the panels at the right.
fn legend(canvas: &mut Canvas, best: bool) {
    let y = TOP - 18.0;
    let mut x = PANELS[1].1;
    let mut entry = |name: &str, draw: &dyn Fn(&mut Canvas, f64)| {
        canvas.text(name, (x, y), Align::Right, TEXT, INK);
        x -= text_width(name, TEXT) + 44.0;
        draw(canvas, x);
        x -= 26.0;
    };
    if best {
        entry("best epoch", &|canvas, x| {
            canvas.dashes((x, y - 6.0), (x + 34.0, y - 6.0), MUTED, 1.5)
        });
    }
    entry("validation", &|canvas, x| {
        canvas.line(&[(x, y - 6.0), (x + 34.0, y - 6.0)], ORANGE, 2.5)
    });
    entry("training", &|canvas, x| {
        canvas.line(&[(x, y - 6.0), (x + 34.0, y - 6.0)], BLUE, 2.5)
    });
}

/// From values to 0..=1, and where its marks stand.
struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    marks: Vec<f64>,
    label: fn(f64) -> String,
}

impl Scale {
    /// A scale that all drawable values fit in.
    fn of(values: impl Iterator<Item = f64>, percent: bool) -> Self {
        let (low, high) = values
            .filter(|v| drawable(*v))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            });
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        if percent {
            Self::linear(low, high, 0.01, |v| format!("{:.0} %", 100.0 * v))
        } else if low > 1e-30 && high > 3.0 * low {
            Self::logarithmic(low, high)
        } else {
            Self::linear(low, high, 1e-6, plain)
        }
    }

    /// Equal steps of at least `least`; the ends are marks.
    fn linear(low: f64, high: f64, least: f64, label: fn(f64) -> String) -> Self {
        let step = step(high - low, 6.0).max(least).max(high.abs() * 1e-3);
        let first = (low / step).floor();
        let last = (high / step).ceil().max(first + 1.0);
        Self {
            low: first * step,
            high: last * step,
            logarithmic: false,
            marks: marks(first, last, step),
            label,
        }
    }

    /// Round numbers, fewer of each power of ten the more powers there are; the ends are marks.
    fn logarithmic(low: f64, high: f64) -> Self {
        let powers = high.log10() - low.log10();
        let digits: &[f64] = match powers {
            p if p < 1.2 => &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
            p if p < 3.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let every = (powers / 8.0).ceil().max(1.0) as i32;
        let exponents = (low.log10().floor() as i32..=high.log10().ceil() as i32 + every)
            .step_by(every as usize);
        let all: Vec<f64> = exponents
            .flat_map(|e| digits.iter().map(move |d| d * 10f64.powi(e)))
            .collect();
        let first = all.iter().rposition(|v| *v <= low).unwrap_or(0);
        let last = all.iter().position(|v| *v >= high).unwrap_or(all.len() - 1);
        let marks = all[first..=last].to_vec();
        Self {
            low: all[first],
            high: all[last],
            logarithmic: true,
            marks,
            label: plain,
        }
    }

    /// Where a value stands, 0..=1.
    fn at(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value.ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }
}

/// Whether a value has a place in the picture: a loss that is off by so much is no better than
/// none.
fn drawable(value: f64) -> bool {
    value.abs() < 1e30
}

/// A number with as many digits as it needs.
fn plain(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e5).contains(&value.abs()) {
        return short_exponent(value);
    }
    // Marks are sums of steps: their last digits are rounding.
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// A number with at most three digits and its power of ten: `1e-4`, `9.97e-4`.
fn short_exponent(value: f64) -> String {
    let text = format!("{value:.2e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    format!(
        "{}e{power}",
        digits.trim_end_matches('0').trim_end_matches('.')
    )
}

/// A step of 1, 2 or 5 times a power of ten, with about `count` steps in `range`.
fn step(range: f64, count: f64) -> f64 {
    let rough = (range / count).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|s| *s >= rough * 0.999)
        .unwrap_or(10.0 * power)
}

/// The multiples `first..=last` of a step.
fn marks(first: f64, last: f64, step: f64) -> Vec<f64> {
    (0..=(last - first).min(50.0) as u32)
        .map(|i| (first + f64::from(i)) * step)
        .collect()
}

/// The epochs' axis; none without points.
fn epoch_scale(points: &[EpochPoint]) -> Option<Scale> {
    let (low, high) = (
        points.iter().map(|p| p.epoch).min()?,
        points.iter().map(|p| p.epoch).max()?,
    );
    let (low, high) = (f64::from(low), f64::from(high));
    let step = step(high - low, 10.0).max(1.0);
    let mut marks = marks((low / step).ceil(), (high / step).floor(), step);
    // The first epoch has its mark, if there is room for it.
    if marks.first().is_none_or(|first| first - low > 0.6 * step) {
        marks.insert(0, low);
    }
    let padding = if low == high {
        1.0
    } else {
        (high - low) * 0.015
    };
    Some(Scale {
        low: low - padding,
        high: high + padding,
        logarithmic: false,
        marks,
        label: |v| format!("{v:.0}"),
    })
}

/// One pair of axes.
struct Panel<'a> {
    ends: (f64, f64),
    epochs: &'a Scale,
    scale: Scale,
}

impl Panel<'_> {
    fn x(&self, epoch: f64) -> f64 {
        self.ends.0 + self.epochs.at(epoch) * (self.ends.1 - self.ends.0)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - self.scale.at(value) * (BOTTOM - TOP)
    }

    /// Draws axes and lines: training first, validation over it.
    fn draw(
        &self,
        canvas: &mut Canvas,
        name: &str,
        points: &[EpochPoint],
        best: Option<&EpochPoint>,
        values: [fn(&EpochPoint) -> f64; 2],
    ) {
        let (left, right) = self.ends;
        let name = if self.scale.logarithmic {
            format!("{name} (logarithmic scale)")
        } else {
            name.to_string()
        };
        canvas.text(&name, (left, TOP - 18.0), Align::Left, TEXT, INK);
        for mark in &self.scale.marks {
            let y = self.y(*mark);
            canvas.line(&[(left, y), (right, y)], GRID, 1.0);
            canvas.text(
                &(self.scale.label)(*mark),
                (left - 10.0, y + 5.0),
                Align::Right,
                SMALL,
                INK,
            );
        }
        for mark in &self.epochs.marks {
            let x = self.x(*mark);
            canvas.line(&[(x, BOTTOM), (x, BOTTOM + 5.0)], MUTED, 1.0);
            canvas.text(
                &(self.epochs.label)(*mark),
                (x, BOTTOM + 24.0),
                Align::Middle,
                SMALL,
                INK,
            );
        }
        canvas.text(
            "epoch",
            ((left + right) / 2.0, BOTTOM + 50.0),
            Align::Middle,
            TEXT,
            INK,
        );
        canvas.line(&[(left, TOP), (left, BOTTOM), (right, BOTTOM)], MUTED, 1.0);
        if !points.iter().any(|p| values.iter().any(|v| drawable(v(p)))) {
            canvas.text(
                "no values",
                ((left + right) / 2.0, (TOP + BOTTOM) / 2.0),
                Align::Middle,
                TEXT,
                MUTED,
            );
        }
        if let Some(best) = best {
            let x = self.x(f64::from(best.epoch));
            canvas.dashes((x, BOTTOM), (x, TOP), MUTED, 1.5);
        }
        for (value, colour) in values.into_iter().zip([BLUE, ORANGE]) {
            // A value that is missing leaves a gap.
            for run in points.split(|p| !drawable(value(p))) {
                let line: Vec<_> = run
                    .iter()
                    .map(|p| (self.x(f64::from(p.epoch)), self.y(value(p))))
                    .collect();
                canvas.line(&line, colour, 2.5);
                if points.len() <= 20 || line.len() == 1 {
                    line.iter().for_each(|at| canvas.dot(*at, 4.0, colour));
                }
            }
        }
        if let Some(best) = best.filter(|p| drawable(values[1](p))) {
            let at = (self.x(f64::from(best.epoch)), self.y(values[1](best)));
            canvas.dot(at, 7.0, WHITE);
            canvas.dot(at, 5.5, ORANGE);
        }
    }
}

#[cfg(test)]
mod tests;
