//! A reliability diagram: how often a model is right when it says that it is so sure.

use std::path::Path;

use plotters::style::RGBColor;

use super::{
    Align, BLUE, Canvas, GRID, INK, MUTED, ORANGE, PlotError, SMALL, TEXT, TITLE, WHITE, fitted,
    text_width,
};
use crate::eval::CalibrationBin;

/// Lighter blue, orange and gray, for areas.
const BAR: RGBColor = RGBColor(64, 149, 197);
const COUNT: RGBColor = RGBColor(135, 135, 135);
const GAP: RGBColor = RGBColor(240, 186, 144);

const WIDTH: u32 = 720;
const HEIGHT: u32 = 860;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 692.0;
/// The diagram's top and bottom, and the histogram's.
const DIAGRAM: (f64, f64) = (126.0, 606.0);
const HISTOGRAM: (f64, f64) = (652.0, 782.0);

/// An accuracy of fewer predictions says little: its bin is an outline.
const FEW: u64 = 10;

/// Draws each bin's accuracy and its gap to the mean confidence, and how many predictions are in
/// it. Bins of fewer than ten predictions are outlines.
///
/// # Errors
/// There are no predictions in the bins, or the file can't be written.
pub fn reliability(
    path: &Path,
    bins: &[CalibrationBin],
    ece: f64,
    title: &str,
) -> Result<(), PlotError> {
    let answers: u64 = bins.iter().map(|b| b.count).sum();
    if answers == 0 {
        return Err(PlotError::unfit(path, "there are no predictions"));
    }
    let mut canvas = Canvas::new(path, WIDTH, HEIGHT)?;
    let mean = |value: fn(&CalibrationBin) -> f64| {
        bins.iter().map(|b| value(b) * b.count as f64).sum::<f64>() / answers as f64
    };
    let (accuracy, confidence) = (mean(|b| b.accuracy), mean(|b| b.mean_confidence));
    let margin = 28.0;
    let room = f64::from(WIDTH) - 2.0 * margin;
    canvas.text(
        &fitted(title, TITLE, room),
        (margin, 38.0),
        Align::Left,
        TITLE,
        INK,
    );
    let what = format!(
        "calibration error {:.1} % · accuracy {:.1} % · mean confidence {:.1} %",
        100.0 * ece,
        100.0 * accuracy,
        100.0 * confidence
    );
    canvas.text(&what, (margin, 66.0), Align::Left, TEXT, MUTED);

    let x = |share: f64| LEFT + share * (RIGHT - LEFT);
    let y = |share: f64| DIAGRAM.1 - share * (DIAGRAM.1 - DIAGRAM.0);
    let tenths = || (0..=5).map(|i| f64::from(i) / 5.0);
    canvas.text("accuracy", (LEFT, DIAGRAM.0 - 16.0), Align::Left, TEXT, INK);
    for share in tenths() {
        canvas.line(&[(LEFT, y(share)), (RIGHT, y(share))], GRID, 1.0);
        canvas.text(
            &percent(share),
            (LEFT - 10.0, y(share) + 5.0),
            Align::Right,
            SMALL,
            INK,
        );
    }
    for bin in bins.iter().filter(|b| b.count > 0) {
        let (left, right) = (x(bin.low) + 1.0, x(bin.high) - 1.0);
        if bin.count < FEW {
            canvas.frame([left, y(bin.accuracy), right, DIAGRAM.1], BAR, 1.0);
            continue;
        }
        canvas.rectangle([left, y(bin.accuracy), right, DIAGRAM.1], BAR);
        let (low, high) = (
            bin.accuracy.min(bin.mean_confidence),
            bin.accuracy.max(bin.mean_confidence),
        );
        canvas.rectangle([left, y(high), right, y(low)], GAP);
        canvas.line(
            &[(left, y(bin.accuracy)), (right, y(bin.accuracy))],
            BLUE,
            2.5,
        );
        canvas.line(
            &[
                (left, y(bin.mean_confidence)),
                (right, y(bin.mean_confidence)),
            ],
            ORANGE,
            2.5,
        );
    }
    canvas.dashes((x(0.0), y(0.0)), (x(1.0), y(1.0)), MUTED, 1.5);
    axes(&mut canvas, DIAGRAM);
    legend(
        &mut canvas,
        bins.iter().any(|b| (1..FEW).contains(&b.count)),
    );

    let largest = bins.iter().map(|b| b.count).max().unwrap_or(1) as f64 / answers as f64;
    let height = |share: f64| HISTOGRAM.1 - share / largest * (HISTOGRAM.1 - HISTOGRAM.0);
    canvas.text(
        "share of the predictions",
        (LEFT, HISTOGRAM.0 - 14.0),
        Align::Left,
        TEXT,
        INK,
    );
    for share in [0.0, largest / 2.0, largest] {
        canvas.line(&[(LEFT, height(share)), (RIGHT, height(share))], GRID, 1.0);
        canvas.text(
            &format!("{:.1} %", 100.0 * share),
            (LEFT - 10.0, height(share) + 5.0),
            Align::Right,
            SMALL,
            INK,
        );
    }
    for bin in bins {
        let top = height(bin.count as f64 / answers as f64);
        canvas.rectangle(
            [x(bin.low) + 1.0, top, x(bin.high) - 1.0, HISTOGRAM.1],
            COUNT,
        );
    }
    axes(&mut canvas, HISTOGRAM);
    for share in tenths() {
        canvas.line(
            &[(x(share), HISTOGRAM.1), (x(share), HISTOGRAM.1 + 5.0)],
            MUTED,
            1.0,
        );
        canvas.text(
            &percent(share),
            (x(share), HISTOGRAM.1 + 24.0),
            Align::Middle,
            SMALL,
            INK,
        );
    }
    canvas.text(
        "confidence",
        ((LEFT + RIGHT) / 2.0, HISTOGRAM.1 + 52.0),
        Align::Middle,
        TEXT,
        INK,
    );
    canvas.save()
}

fn axes(canvas: &mut Canvas, (top, bottom): (f64, f64)) {
    canvas.line(&[(LEFT, top), (LEFT, bottom), (RIGHT, bottom)], MUTED, 1.0);
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// What the colours mean, at the top left, where only an underconfident model has bars.
fn legend(canvas: &mut Canvas, few: bool) {
    let (left, top) = (LEFT + 18.0, DIAGRAM.0 + 14.0);
    let mut names = vec![
        "accuracy in the bin",
        "gap to its mean confidence",
        "perfectly calibrated",
    ];
    if few {
        names.push("fewer than 10 predictions");
    }
    let bottom = top + 12.0 + 24.0 * names.len() as f64;
    let width = 60.0
        + names
            .iter()
            .map(|n| text_width(n, SMALL))
            .fold(0.0, f64::max);
    canvas.rectangle([left, top, left + width, bottom], WHITE);
    canvas.frame([left, top, left + width, bottom], GRID, 1.0);
    let middle = |row: f64| top + 18.0 + 24.0 * row;
    let swatch = |row: f64| {
        [
            left + 12.0,
            middle(row) - 7.0,
            left + 38.0,
            middle(row) + 7.0,
        ]
    };
    canvas.rectangle(swatch(0.0), BAR);
    canvas.rectangle(swatch(1.0), GAP);
    canvas.dashes(
        (left + 12.0, middle(2.0)),
        (left + 38.0, middle(2.0)),
        MUTED,
        1.5,
    );
    if few {
        canvas.frame(swatch(3.0), BAR, 1.0);
    }
    for (row, name) in names.iter().enumerate() {
        canvas.text(
            name,
            (left + 48.0, middle(row as f64) + 5.0),
            Align::Left,
            SMALL,
            INK,
        );
    }
}
