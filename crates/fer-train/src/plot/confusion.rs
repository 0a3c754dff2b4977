//! A confusion matrix as a heat map.

use std::path::Path;

use plotters::style::RGBColor;

use crate::eval::Evaluation;

use super::{
    Align, Canvas, GRID, INK, MUTED, PlotError, SMALL, TEXT, TITLE, WHITE, fitted, text_width,
};

/// The most classes of a picture.
pub const MAX_CLASSES: usize = 30;

const MARGIN: f64 = 28.0;
const CELL: (f64, f64) = (96.0, 68.0);
/// From the picture's top to the matrix.
const TOP: f64 = 158.0;
/// The widest that the names at the left get.
const MAX_NAME: f64 = 200.0;

/// Draws the confusion matrix of an evaluation, of more than `MAX_CLASSES` classes of those with
/// the most mistakes, which the title then says.
///
/// # Errors
/// As [`confusion`].
pub fn confusion_of(path: &Path, evaluation: &Evaluation, title: &str) -> Result<(), PlotError> {
    let (labels, matrix) = evaluation.confused(MAX_CLASSES);
    let title = match evaluation.classes.len() {
        n if n > labels.len() => format!(
            "{title}: the {} of {n} classes with the most mistakes",
            labels.len()
        ),
        _ => title.to_string(),
    };
    confusion(path, &labels, &matrix, &title)
}

/// Draws `matrix[true class][predicted class]` with its numbers, each row's colours by its own sum,
/// and each class's recall and precision at the ends of its row and column.
///
/// # Errors
/// The matrix is empty, not as wide and high as there are labels, or of more than 30 classes; or
/// the file can't be written.
pub fn confusion(
    path: &Path,
    labels: &[String],
    matrix: &[Vec<u64>],
    title: &str,
) -> Result<(), PlotError> {
    let n = labels.len();
    if n == 0 || matrix.len() != n || matrix.iter().any(|row| row.len() != n) {
        return Err(PlotError::unfit(
            path,
            format!("its matrix does not fit {n} classes"),
        ));
    }
    if n > MAX_CLASSES {
        return Err(PlotError::unfit(
            path,
            format!("{n} classes are too many for a picture; it takes {MAX_CLASSES}"),
        ));
    }
    let names = labels
        .iter()
        .map(|l| text_width(l, TEXT))
        .fold(text_width("precision", TEXT), f64::max)
        .min(MAX_NAME);
    let left = MARGIN + names + 14.0;
    let (right, bottom) = (left + n as f64 * CELL.0, TOP + n as f64 * CELL.1);
    let (width, height) = (
        (right + 8.0 + 2.0 * CELL.0 + MARGIN).max(560.0),
        bottom + CELL.1 + 12.0,
    );
    let mut canvas = Canvas::new(path, width as u32, height as u32)?;
    let row_sum = |c: usize| matrix[c].iter().sum::<u64>();
    let column_sum = |c: usize| matrix.iter().map(|row| row[c]).sum::<u64>();
    let right_ones: u64 = (0..n).map(|c| matrix[c][c]).sum();
    let images: u64 = (0..n).map(row_sum).sum();

    let room = width - 2.0 * MARGIN;
    canvas.text(
        &fitted(title, TITLE, room),
        (MARGIN, 38.0),
        Align::Left,
        TITLE,
        INK,
    );
    let what = format!(
        "{images} images, {} classified right",
        percent(right_ones, images, 2)
    );
    canvas.text(&what, (MARGIN, 66.0), Align::Left, TEXT, MUTED);
    canvas.text(
        "A row's percentages and colours are shares of its true class.",
        (MARGIN, 88.0),
        Align::Left,
        SMALL,
        MUTED,
    );
    canvas.text(
        "predicted",
        ((left + right) / 2.0, 122.0),
        Align::Middle,
        TEXT,
        MUTED,
    );
    canvas.text("true", (left - 14.0, TOP - 14.0), Align::Right, TEXT, MUTED);
    let end_columns = [right + 8.0 + 0.5 * CELL.0, right + 8.0 + 1.5 * CELL.0];
    canvas.text(
        "recall",
        (end_columns[0], TOP - 14.0),
        Align::Middle,
        TEXT,
        MUTED,
    );
    canvas.text(
        "images",
        (end_columns[1], TOP - 14.0),
        Align::Middle,
        TEXT,
        MUTED,
    );
    canvas.text(
        "precision",
        (left - 14.0, bottom + 0.5 * CELL.1 + 4.0),
        Align::Right,
        TEXT,
        MUTED,
    );

    for (c, label) in labels.iter().enumerate() {
        let (x, y) = (
            left + (c as f64 + 0.5) * CELL.0,
            TOP + (c as f64 + 0.5) * CELL.1,
        );
        canvas.text(
            &fitted(label, TEXT, names),
            (left - 14.0, y + 6.0),
            Align::Right,
            TEXT,
            INK,
        );
        canvas.text(
            &fitted(label, TEXT, CELL.0 - 8.0),
            (x, TOP - 14.0),
            Align::Middle,
            TEXT,
            INK,
        );
        let (recall, precision) = (
            percent(matrix[c][c], row_sum(c), 1),
            percent(matrix[c][c], column_sum(c), 1),
        );
        canvas.text(&recall, (end_columns[0], y + 6.0), Align::Middle, TEXT, INK);
        canvas.text(
            &row_sum(c).to_string(),
            (end_columns[1], y + 6.0),
            Align::Middle,
            TEXT,
            INK,
        );
        canvas.text(
            &precision,
            (x, bottom + 0.5 * CELL.1 + 4.0),
            Align::Middle,
            TEXT,
            INK,
        );
        for (p, count) in matrix[c].iter().enumerate() {
            cell(
                &mut canvas,
                (left + p as f64 * CELL.0, TOP + c as f64 * CELL.1),
                *count,
                row_sum(c),
                c == p,
            );
        }
    }
    canvas.frame([left, TOP, right, bottom], GRID, 1.0);
    canvas.save()
}

/// One number: its share of the row above, itself below; a right prediction's is framed.
fn cell(canvas: &mut Canvas, (x, y): (f64, f64), count: u64, sum: u64, right: bool) {
    let share = if sum == 0 {
        0.0
    } else {
        count as f64 / sum as f64
    };
    let area = [x, y, x + CELL.0, y + CELL.1];
    canvas.rectangle(area, shade(share));
    canvas.frame(area, WHITE, 1.0);
    if right {
        canvas.frame(
            [x + 1.0, y + 1.0, x + CELL.0 - 1.0, y + CELL.1 - 1.0],
            INK,
            1.0,
        );
    }
    let colour = if share > 0.66 { WHITE } else { INK };
    let middle = x + CELL.0 / 2.0;
    canvas.text(
        &percent(count, sum, 1),
        (middle, y + 32.0),
        Align::Middle,
        TEXT,
        colour,
    );
    canvas.text(
        &count.to_string(),
        (middle, y + 53.0),
        Align::Middle,
        SMALL,
        colour,
    );
}

/// A share in percent, a dash of nothing.
fn percent(part: u64, whole: u64, digits: usize) -> String {
    if whole == 0 {
        "–".into()
    } else {
        format!("{:.digits$} %", 100.0 * part as f64 / whole as f64)
    }
}

/// From white over light to dark blue: darkness alone tells the share.
fn shade(share: f64) -> RGBColor {
    const STOPS: [[f64; 3]; 4] = [
        [250.0, 252.0, 255.0],
        [158.0, 202.0, 225.0],
        [49.0, 130.0, 189.0],
        [8.0, 48.0, 107.0],
    ];
    let at = share.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let low = (at as usize).min(STOPS.len() - 2);
    let mix = |c: usize| STOPS[low][c] + (STOPS[low + 1][c] - STOPS[low][c]) * (at - low as f64);
    RGBColor(mix(0) as u8, mix(1) as u8, mix(2) as u8)
}
