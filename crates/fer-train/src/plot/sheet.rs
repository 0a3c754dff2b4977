//! A contact sheet: many small images with captions, to look at augmentation or at a model's
//! mistakes.

use std::path::Path;

use image::RgbImage;
use image::imageops::{self, FilterType};

use super::{Align, Canvas, GREEN, INK, MUTED, ORANGE, PlotError, SMALL, TITLE, fitted};
use fer_core::images::Pixels;

/// The most images of a sheet.
pub const MAX_CELLS: usize = 400;

/// The largest enlargement.
const MAX_SCALE: u32 = 16;

/// One image of a sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The image, gray or RGB.
    pub pixels: Pixels,
    /// At most two lines below it; what does not fit is cut.
    pub caption: String,
    /// Whether it is framed, and how.
    pub mark: Option<Mark>,
}

/// What an image's frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A green frame.
    Good,
    /// An orange frame.
    Bad,
}

const MARGIN: f64 = 24.0;
const GAP: f64 = 14.0;
const FRAME: f64 = 4.0;
const LINE: f64 = 19.0;
const MIN_WIDTH: f64 = 96.0;

/// Draws images in rows of `columns`, each enlarged `scale` times.
///
/// # Errors
/// There are no images, more than [`MAX_CELLS`] or one that is not whole, the picture would be too
/// large, or the file can't be written.
pub fn sheet(
    path: &Path,
    cells: &[Cell],
    columns: usize,
    scale: u32,
    title: &str,
) -> Result<(), PlotError> {
    if !(1..=MAX_CELLS).contains(&cells.len()) {
        let reason = format!("{} images are not between 1 and {MAX_CELLS}", cells.len());
        return Err(PlotError::unfit(path, reason));
    }
    if columns == 0 || !(1..=MAX_SCALE).contains(&scale) {
        let reason = format!(
            "{columns} columns at scale {scale}: take at least 1 column and a scale of 1 to \
             {MAX_SCALE}"
        );
        return Err(PlotError::unfit(path, reason));
    }
    let columns = columns.min(cells.len());
    let rows = cells.len().div_ceil(columns);
    let scaled = |side: usize| side as f64 * f64::from(scale);
    let most = |of: fn(&Cell) -> usize| cells.iter().map(of).max().unwrap_or(0);
    let (image_width, image_height) = (
        scaled(most(|c| c.pixels.width)),
        scaled(most(|c| c.pixels.height)),
    );
    let lines = most(|c| c.caption.lines().count().min(2)) as f64;
    let cell_width = (image_width + 2.0 * FRAME).max(MIN_WIDTH);
    let cell_height =
        image_height + 2.0 * FRAME + lines * LINE + if lines > 0.0 { 4.0 } else { 0.0 };
    let top = if title.is_empty() { MARGIN } else { 62.0 };
    let along = |cells: usize, side: f64| cells as f64 * (side + GAP) - GAP;
    let width = along(columns, cell_width) + 2.0 * MARGIN;
    let height = top + along(rows, cell_height) + MARGIN;

    let mut canvas = Canvas::new(path, width as u32, height as u32)?;
    canvas.text(
        &fitted(title, TITLE, width - 2.0 * MARGIN),
        (MARGIN, 38.0),
        Align::Left,
        TITLE,
        INK,
    );
    for (i, cell) in cells.iter().enumerate() {
        let image = enlarged(&cell.pixels, scale).ok_or_else(|| {
            PlotError::unfit(path, format!("image {} of the sheet is not whole", i + 1))
        })?;
        let x = MARGIN + (i % columns) as f64 * (cell_width + GAP);
        let y = top + (i / columns) as f64 * (cell_height + GAP);
        let (w, h) = (f64::from(image.width()), f64::from(image.height()));
        let left = (x + (cell_width - w) / 2.0).round();
        let upper = (y + FRAME + image_height - h).round();
        canvas.image(&image, (left as u32, upper as u32));
        if let Some(mark) = cell.mark {
            let colour = if mark == Mark::Good { GREEN } else { ORANGE };
            canvas.frame(
                [
                    left - FRAME,
                    upper - FRAME,
                    left + w + FRAME,
                    upper + h + FRAME,
                ],
                colour,
                FRAME,
            );
        }
        for (line, text) in cell.caption.lines().take(2).enumerate() {
            let base = y + image_height + 2.0 * FRAME + (line + 1) as f64 * LINE - 2.0;
            let colour = if line == 0 { INK } else { MUTED };
            let text = fitted(text, SMALL, cell_width + GAP - 6.0);
            canvas.text(
                &text,
                (x + cell_width / 2.0, base),
                Align::Middle,
                SMALL,
                colour,
            );
        }
    }
    canvas.save()
}

/// The image in RGB, smoothly enlarged; none if its data does not fit its size.
fn enlarged(pixels: &Pixels, scale: u32) -> Option<RgbImage> {
    let (width, height) = (
        u32::try_from(pixels.width).ok()?,
        u32::try_from(pixels.height).ok()?,
    );
    if !matches!(pixels.channels, 1 | 3) {
        return None;
    }
    if pixels.data.len() != pixels.width * pixels.height * pixels.channels || pixels.data.is_empty()
    {
        return None;
    }
    let image = RgbImage::from_raw(width, height, pixels.clone().into_rgb().data)?;
    Some(imageops::resize(
        &image,
        width * scale,
        height * scale,
        FilterType::CatmullRom,
    ))
}
