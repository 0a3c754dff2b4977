//! A picture with boxes and their labels, readable on any background and at any size.

use std::path::Path;

use image::codecs::png;
use image::imageops::{self, FilterType};
use image::{ImageBuffer, RgbImage};
use plotters::backend::{BitMapBackend, DrawingBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, RGBColor, ShapeStyle, TextStyle};

use super::{FONT, MAX_PIXELS, PlotError, font_is_ready, text_width, write_png};
use fer_core::images::Pixels;

/// A box in a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Boxed {
    /// Left, top, width and height in the picture's pixels; it may reach beyond the picture.
    pub bounds: [f32; 4],
    /// What stands beside it.
    pub label: String,
}

/// The color of boxes, yellow of Okabe and Ito's palette, and of what lies below them and the text.
const LINE: RGBColor = RGBColor(240, 228, 66);
const BELOW: RGBColor = RGBColor(0, 0, 0);
const TEXT: RGBColor = RGBColor(255, 255, 255);

/// Smaller pictures are enlarged to this shorter side in pixels, so that a label fits.
const SMALLEST: u32 = 240;

/// The smallest text in pixels.
const MIN_TEXT: f32 = 15.0;

/// Draws boxes and labels on a picture. Pictures of more than 12 megapixels are shrunk.
///
/// # Errors
/// The picture is not whole, or the file can't be written.
pub fn annotated(path: &Path, pixels: Pixels, boxes: &[Boxed]) -> Result<(), PlotError> {
    if !font_is_ready() {
        return Err(PlotError::unfit(path, "the built-in font is damaged"));
    }
    let (width, height) = (pixels.width as u32, pixels.height as u32);
    let picture: Option<RgbImage> =
        ImageBuffer::from_raw(width, height, pixels.into_rgb().data).filter(|p| p.width() > 0);
    let picture = picture.ok_or_else(|| PlotError::unfit(path, "the picture is not whole"))?;
    let (picture, scale) = sized(picture);
    let (width, height) = picture.dimensions();
    let mut data = picture.into_raw();
    let shorter = width.min(height) as f32;
    let mut backend = BitMapBackend::with_buffer(&mut data, (width, height));
    let mut draw = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let stroke = (shorter / 300.0).max(1.5);
        for boxed in boxes {
            let [x, y, w, h] = boxed.bounds.map(|v| v * scale);
            frame(&mut backend, [x, y, w, h], stroke + 2.0, BELOW)?;
            frame(&mut backend, [x, y, w, h], stroke, LINE)?;
        }
        // Above all boxes, so that no line crosses a label.
        for boxed in boxes {
            let [x, y, w, h] = boxed.bounds.map(|v| v * scale);
            let size = (w / 4.0).clamp(MIN_TEXT, (shorter / 20.0).max(MIN_TEXT));
            let room = [
                text_width(&boxed.label, f64::from(size)) as f32 + size / 2.0,
                size * 1.35,
            ];
            let place = |at: f32, length: f32, whole: u32| at.min(whole as f32 - length).max(0.0);
            let above = y - room[1] - stroke;
            let top = match above < 0.0 {
                false => above,
                // Below the box, or at its lower edge where the picture ends.
                true => place(y + h + stroke, room[1], height),
            };
            let left = place(x - stroke, room[0], width);
            let corner = |dx: f32, dy: f32| ((left + dx) as i32, (top + dy) as i32);
            backend.draw_rect(corner(0.0, 0.0), corner(room[0], room[1]), &BELOW, true)?;
            let style = TextStyle::from((FONT, f64::from(size)))
                .color(&TEXT)
                .pos(Pos::new(HPos::Left, VPos::Top));
            backend.draw_text(&boxed.label, &style, corner(size / 4.0, size * 0.25))?;
        }
        Ok(())
    };
    draw().map_err(|e| PlotError::unfit(path, e.to_string()))?;
    drop(backend);
    // Of photographs, it makes files as small as the best filter for each row, in half the time.
    let filter = png::FilterType::Paeth;
    write_png(path, &data, width, height, filter).map_err(|source| PlotError::Write {
        path: path.into(),
        source,
    })
}

/// The picture in a size that can be drawn on, and how many of its pixels one of the original has.
fn sized(picture: RgbImage) -> (RgbImage, f32) {
    let (width, height) = picture.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let shorter = width.min(height);
    let (factor, filter) = if pixels > MAX_PIXELS {
        (
            (MAX_PIXELS as f64 / pixels as f64).sqrt(),
            FilterType::Triangle,
        )
    } else if shorter < SMALLEST {
        let most = (MAX_PIXELS as f64 / pixels as f64).sqrt();
        let wanted = (f64::from(SMALLEST) / f64::from(shorter)).ceil();
        (wanted.min(most), FilterType::Nearest)
    } else {
        return (picture, 1.0);
    };
    let side = |side: u32| ((f64::from(side) * factor) as u32).max(1);
    let resized = imageops::resize(&picture, side(width), side(height), filter);
    (resized, factor as f32)
}

/// The four lines of a box.
fn frame(
    backend: &mut BitMapBackend,
    [x, y, w, h]: [f32; 4],
    width: f32,
    color: RGBColor,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let style = ShapeStyle {
        color: color.to_rgba(),
        filled: false,
        stroke_width: width.round() as u32,
    };
    let point = |x: f32, y: f32| (x.round() as i32, y.round() as i32);
    let corners = [(x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)];
    backend.draw_path(corners.map(|(x, y)| point(x, y)), &style)?;
    Ok(())
}
