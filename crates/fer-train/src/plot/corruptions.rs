//! A model's accuracy under corruptions: three bars a corruption, against the line of the images as
//! they are.

use std::path::Path;

use plotters::style::RGBColor;

use super::{
    Align, Canvas, GRID, INK, MUTED, ORANGE, PlotError, SMALL, TEXT, TITLE, fitted, text_width,
};
use crate::eval::Robustness;
use crate::eval::robustness::summary;

/// The bars' colors by severity: the darker, the worse the images.
const BARS: [RGBColor; 3] = [
    RGBColor(158, 202, 225),
    RGBColor(64, 149, 197),
    RGBColor(8, 81, 156),
];

const MARGIN: f64 = 28.0;
const LEFT: f64 = 92.0;
/// The diagram's top and bottom.
const TOP: f64 = 140.0;
const BOTTOM: f64 = 520.0;
const HEIGHT: f64 = 570.0;
/// The widths of a bar and of a corruption's three with the space around them.
const BAR: f64 = 32.0;
const GROUP: f64 = 118.0;
/// A picture of one corruption still has room for its title and legend.
const LEAST_WIDTH: f64 = 680.0;

/// Draws the accuracy under each corruption and severity, with numbers in percent, and that without
/// corruption as a line.
///
/// # Errors
/// There are no corruptions, or the file can't be written.
pub fn corruptions(path: &Path, robustness: &Robustness, title: &str) -> Result<(), PlotError> {
    let rows = &robustness.corruptions;
    if rows.is_empty() {
        return Err(PlotError::unfit(path, "there are no corruptions"));
    }
    let right = LEFT + (rows.len() as f64 * GROUP).max(LEAST_WIDTH - LEFT - MARGIN);
    let group = (right - LEFT) / rows.len() as f64;
    let mut canvas = Canvas::new(path, (right + MARGIN) as u32, HEIGHT as u32)?;
    let room = right - MARGIN;
    canvas.text(
        &fitted(title, TITLE, room),
        (MARGIN, 38.0),
        Align::Left,
        TITLE,
        INK,
    );
    canvas.text(
        &fitted(&summary(robustness), TEXT, room),
        (MARGIN, 66.0),
        Align::Left,
        TEXT,
        MUTED,
    );
    canvas.text("accuracy", (LEFT, TOP - 18.0), Align::Left, TEXT, INK);
    legend(&mut canvas, right);

    let y = |share: f64| BOTTOM - share * (BOTTOM - TOP);
    for mark in (0..=5).map(|i| f64::from(i) / 5.0) {
        canvas.line(&[(LEFT, y(mark)), (right, y(mark))], GRID, 1.0);
        canvas.text(
            &format!("{:.0} %", 100.0 * mark),
            (LEFT - 10.0, y(mark) + 5.0),
            Align::Right,
            SMALL,
            INK,
        );
    }
    for (i, row) in rows.iter().enumerate() {
        let middle = LEFT + (i as f64 + 0.5) * group;
        for ((severity, accuracy), color) in row.accuracy.into_iter().enumerate().zip(BARS) {
            let left = middle + (severity as f64 - 1.5) * BAR;
            canvas.rectangle([left + 1.0, y(accuracy), left + BAR - 1.0, BOTTOM], color);
        }
        canvas.text(
            &fitted(row.name.name(), SMALL, group - 8.0),
            (middle, BOTTOM + 24.0),
            Align::Middle,
            SMALL,
            INK,
        );
    }
    canvas.line(&[(LEFT, TOP), (LEFT, BOTTOM), (right, BOTTOM)], MUTED, 1.0);
    canvas.dashes(
        (LEFT, y(robustness.clean)),
        (right, y(robustness.clean)),
        ORANGE,
        1.5,
    );
    for (i, row) in rows.iter().enumerate() {
        let middle = LEFT + (i as f64 + 0.5) * group;
        for (severity, accuracy) in row.accuracy.into_iter().enumerate() {
            let number = format!("{:.0}", 100.0 * accuracy);
            // Within the bar, where there is room, so that the line does not cross it.
            let inside = y(accuracy) + 24.0 < BOTTOM;
            let base = if inside {
                y(accuracy) + 20.0
            } else {
                y(accuracy) - 6.0
            };
            let color = if inside && severity == 2 {
                super::WHITE
            } else {
                INK
            };
            canvas.text(
                &number,
                (middle + (severity as f64 - 1.0) * BAR, base),
                Align::Middle,
                SMALL,
                color,
            );
        }
    }
    canvas.save()
}

/// What the colors mean, above the diagram at the right.
fn legend(canvas: &mut Canvas, right: f64) {
    let base = TOP - 18.0;
    let mut x = right;
    let mut entry = |name: &str, draw: &dyn Fn(&mut Canvas, f64)| {
        canvas.text(name, (x, base), Align::Right, TEXT, INK);
        x -= text_width(name, TEXT) + 40.0;
        draw(canvas, x);
        x -= 22.0;
    };
    entry("images as they are", &|canvas, x| {
        canvas.dashes((x, base - 6.0), (x + 32.0, base - 6.0), ORANGE, 1.5)
    });
    for (name, color) in ["severity 3", "2", "1"]
        .into_iter()
        .zip(BARS.into_iter().rev())
    {
        entry(name, &|canvas, x| {
            canvas.rectangle([x + 6.0, base - 14.0, x + 32.0, base + 1.0], color)
        });
    }
}
