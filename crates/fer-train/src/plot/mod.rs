//! Pictures as PNG files: [`curves`] of a training run, a [`confusion`] matrix, a [`reliability`]
//! diagram, accuracy under [`corruptions`], a contact [`sheet`] of images, and a photograph with
//! its faces [`annotated`].
//!
//! Owned here: the canvas, its font (which is built in: none of the machine's is needed; it has
//! Latin, Greek and Cyrillic letters, but no arrows), the colours (from M. Okabe and K. Ito's
//! palette for all kinds of colour vision), and the file, which appears whole or not at all.

mod annotated;
mod confusion;
mod corruptions;
mod curves;
mod reliability;
mod sheet;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use plotters::backend::{BitMapBackend, DrawingBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, RGBColor, ShapeStyle, TextStyle, register_font};

use fer_core::files;

pub use annotated::{Boxed, annotated};
pub use confusion::{confusion, confusion_of};
pub use corruptions::corruptions;
pub use curves::{EpochPoint, curves};
pub use reliability::reliability;
pub use sheet::{Cell, MAX_CELLS, Mark, sheet};

const INK: RGBColor = RGBColor(33, 33, 33);
const MUTED: RGBColor = RGBColor(84, 84, 84);
const GRID: RGBColor = RGBColor(224, 224, 224);
const WHITE: RGBColor = RGBColor(255, 255, 255);
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);

/// The sizes of text in pixels: of titles, of most text, of what is less important.
const TITLE: f64 = 26.0;
const TEXT: f64 = 19.0;
const SMALL: f64 = 17.0;

/// The font's name among those of `plotters`.
const FONT: &str = "fer";

/// Everything is drawn at twice its size and then averaged, which gives smooth lines and
/// well-spaced letters.
const OVERSAMPLING: u32 = 2;

/// The largest picture: 12 megapixels.
const MAX_PIXELS: u64 = 12_000_000;

/// A picture that could not be made; the text names its file.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// What it should show does not fit together, or is too much for a picture.
    #[error("can't draw {}: {reason}", path.display())]
    Unfit {
        /// The picture's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file could not be written.
    #[error("can't write {}: {source}", path.display())]
    Write {
        /// The picture's file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl PlotError {
    fn unfit(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unfit {
            path: path.to_path_buf(),
            reason: reason.into(),
        }
    }
}

/// Where a text stands, seen from its point.
#[derive(Clone, Copy)]
enum Align {
    Left,
    Middle,
    Right,
}

/// A white picture to draw on, in pixels from its top left. What lies outside is cut off.
struct Canvas {
    path: PathBuf,
    width: u32,
    height: u32,
    /// The picture, [`OVERSAMPLING`] times as wide and high, in RGB.
    data: Vec<u8>,
    /// The first thing that could not be drawn; [`Canvas::save`] reports it.
    failure: Option<String>,
}

impl Canvas {
    fn new(path: &Path, width: u32, height: u32) -> Result<Self, PlotError> {
        if path
            .extension()
            .is_none_or(|e| !e.eq_ignore_ascii_case("png"))
        {
            return Err(PlotError::unfit(
                path,
                "pictures are PNG files; give it a name that ends in .png",
            ));
        }
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            let limit = MAX_PIXELS / 1_000_000;
            let reason = format!(
                "{width}x{height} pixels is over the limit of {limit} megapixels; show less at a \
                 time"
            );
            return Err(PlotError::unfit(path, reason));
        }
        if !font_is_ready() {
            return Err(PlotError::unfit(
                path,
                "the built-in font is damaged; build the program anew",
            ));
        }
        let len = (width * OVERSAMPLING) as usize * (height * OVERSAMPLING) as usize * 3;
        Ok(Self {
            path: path.to_path_buf(),
            width,
            height,
            data: vec![255; len],
            failure: None,
        })
    }

    /// Lets `draw` work on the whole picture; its failure is kept for [`Canvas::save`].
    fn with<E: std::fmt::Display>(
        &mut self,
        draw: impl FnOnce(&mut BitMapBackend) -> Result<(), E>,
    ) {
        let size = (self.width * OVERSAMPLING, self.height * OVERSAMPLING);
        if let Err(e) = draw(&mut BitMapBackend::with_buffer(&mut self.data, size)) {
            self.failure.get_or_insert(e.to_string());
        }
    }

    fn rectangle(&mut self, [x0, y0, x1, y1]: [f64; 4], colour: RGBColor) {
        // The bitmap backend leaves the right column and the lower row out, and so do these
        // coordinates.
        self.with(|b| b.draw_rect(scaled(x0, y0), scaled(x1, y1), &colour.to_rgba(), true));
    }

    fn frame(&mut self, [x0, y0, x1, y1]: [f64; 4], colour: RGBColor, width: f64) {
        self.rectangle([x0, y0, x1, y0 + width], colour);
        self.rectangle([x0, y1 - width, x1, y1], colour);
        self.rectangle([x0, y0, x0 + width, y1], colour);
        self.rectangle([x1 - width, y0, x1, y1], colour);
    }

    fn line(&mut self, points: &[(f64, f64)], colour: RGBColor, width: f64) {
        let style = ShapeStyle {
            color: colour.to_rgba(),
            filled: false,
            stroke_width: scaled(width, 0.0).0.max(1) as u32,
        };
        let points: Vec<_> = points.iter().map(|(x, y)| scaled(*x, *y)).collect();
        self.with(|b| b.draw_path(points, &style));
    }

    fn dashes(&mut self, from: (f64, f64), to: (f64, f64), colour: RGBColor, width: f64) {
        const DASH: f64 = 6.0;
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy);
        let at = |d: f64| {
            (
                from.0 + dx * d.min(length) / length,
                from.1 + dy * d.min(length) / length,
            )
        };
        let mut start = 0.0;
        while start < length {
            self.line(&[at(start), at(start + DASH)], colour, width);
            start += 2.0 * DASH;
        }
    }

    fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: RGBColor) {
        self.with(|b| {
            b.draw_circle(
                scaled(x, y),
                scaled(radius, 0.0).0 as u32,
                &colour.to_rgba(),
                true,
            )
        });
    }

    /// Writes one line of text whose letters stand on `y`.
    fn text(&mut self, text: &str, (x, y): (f64, f64), align: Align, size: f64, colour: RGBColor) {
        let size = size * f64::from(OVERSAMPLING);
        let style = TextStyle::from((FONT, size))
            .color(&colour)
            .pos(Pos::new(HPos::Left, VPos::Top));
        let width = text_width(text, size);
        let (x, y) = scaled(x, y);
        let left = match align {
            Align::Left => x,
            Align::Middle => x - (width / 2.0) as i32,
            Align::Right => x - width as i32,
        };
        let mut drawn = 0.0;
        for part in unkerned(text) {
            // `plotters` puts the base line of a text half its size below its top.
            let place = (left + drawn as i32, y - (size / 2.0) as i32);
            self.with(|b| b.draw_text(part, &style, place));
            drawn += text_width(part, size);
        }
    }

    /// Puts an image with its top left at (`x`, `y`), a pixel a pixel.
    fn image(&mut self, image: &RgbImage, (x, y): (u32, u32)) {
        let stride = (self.width * OVERSAMPLING) as usize;
        for (i, j, pixel) in image.enumerate_pixels() {
            for row in 0..OVERSAMPLING {
                let at = ((y + j) * OVERSAMPLING + row) as usize * stride
                    + ((x + i) * OVERSAMPLING) as usize;
                if let Some(run) = self.data.get_mut(3 * at..3 * (at + OVERSAMPLING as usize)) {
                    run.chunks_exact_mut(3)
                        .for_each(|p| p.copy_from_slice(&pixel.0));
                }
            }
        }
    }

    /// Writes the picture.
    fn save(self) -> Result<(), PlotError> {
        if let Some(reason) = self.failure {
            return Err(PlotError::unfit(&self.path, reason));
        }
        let picture = average(&self.data, self.width, self.height);
        let filter = FilterType::Adaptive;
        write_png(&self.path, &picture, self.width, self.height, filter).map_err(|source| {
            PlotError::Write {
                path: self.path,
                source,
            }
        })
    }
}

/// A point of the enlarged picture.
fn scaled(x: f64, y: f64) -> (i32, i32) {
    let scale = |v: f64| (v * f64::from(OVERSAMPLING)).round() as i32;
    (scale(x), scale(y))
}

/// Makes the font known to `plotters`, once; whether it could be read.
fn font_is_ready() -> bool {
    static READY: OnceLock<bool> = OnceLock::new();
    *READY.get_or_init(|| {
        register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).is_ok()
    })
}

/// The width of a text in pixels; 0 if the font can't be read, without which there is no canvas
/// either.
fn text_width(text: &str, size: f64) -> f64 {
    if !font_is_ready() {
        return 0.0;
    }
    let font = TextStyle::from((FONT, size)).font;
    unkerned(text)
        .map(|part| {
            font.box_size(part)
                .map_or(0.0, |(width, _)| f64::from(width))
        })
        .sum()
}

/// The parts of a text that are drawn one by one: the font moves a letter that follows `/` so far
/// to the left that they overlap.
fn unkerned(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('/')
}

/// A text that fits into `room` pixels, without its end if need be, and without line breaks.
fn fitted(text: &str, size: f64, room: f64) -> String {
    let text: String = text
        .chars()
        .take(1000)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text_width(&text, size) <= room {
        return text;
    }
    let ends = text.char_indices().map(|(i, _)| i).rev();
    let shorter = ends.map(|end| format!("{}…", text[..end].trim_end()));
    shorter
        .into_iter()
        .find(|t| text_width(t, size) <= room)
        .unwrap_or_default()
}

/// Averages squares of [`OVERSAMPLING`] pixels.
fn average(data: &[u8], width: u32, height: u32) -> Vec<u8> {
    let (n, stride) = (OVERSAMPLING as usize, (width * OVERSAMPLING * 3) as usize);
    let mut out = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height as usize {
        for x in 0..width as usize {
            for c in 0..3 {
                let at =
                    |i: usize| u32::from(data[(y * n + i / n) * stride + (x * n + i % n) * 3 + c]);
                let sum: u32 = (0..n * n).map(at).sum();
                out.push(((sum + (n * n / 2) as u32) / (n * n) as u32) as u8);
            }
        }
    }
    out
}

/// Writes a PNG to a file that appears whole.
fn write_png(
    path: &Path,
    rgb: &[u8],
    width: u32,
    height: u32,
    filter: FilterType,
) -> std::io::Result<()> {
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, filter)
        .write_image(rgb, width, height, ExtendedColorType::Rgb8)
        .map_err(std::io::Error::other)?;
    files::write(path, &png)
}
