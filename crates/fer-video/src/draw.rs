//! Boxes, labels and text in RGB pictures.

use std::collections::HashMap;

use ab_glyph::{Font as _, FontRef, PxScale, ScaleFont, point};

/// A color in RGB.
pub type Color = [u8; 3];

/// Black.
pub const BLACK: Color = [0, 0, 0];
/// White.
pub const WHITE: Color = [255, 255, 255];
/// The color of most text on white.
pub const INK: Color = [33, 33, 33];
/// The color of lines that lead the eye.
pub const GRID: Color = [224, 224, 224];

/// M. Okabe and K. Ito's palette for all kinds of color vision, in the order in which classes get
/// a color, with gray for black.
const PALETTE: [Color; 8] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [204, 121, 167],
    [153, 153, 153],
];

/// The color of a class: emotions have their own, other classes that of their number.
pub fn color_of(label: &str, class: usize) -> Color {
    let lower = label.to_lowercase();
    let known = [
        ("ang", 5),
        ("disgust", 2),
        ("fear", 6),
        ("happ", 3),
        ("neutral", 7),
        ("sad", 4),
        ("surpris", 0),
        ("contempt", 1),
    ];
    let known = known.iter().find(|(name, _)| lower.starts_with(name));
    PALETTE[known.map_or(class % PALETTE.len(), |(_, color)| *color)]
}

/// Black or white, whichever reads better on a color.
pub fn on(color: Color) -> Color {
    let [r, g, b] = color.map(f32::from);
    if 0.299 * r + 0.587 * g + 0.114 * b > 140.0 {
        BLACK
    } else {
        WHITE
    }
}

/// A picture to draw on. What lies outside is cut off.
pub struct Canvas<'a> {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height × width × 3` values.
    pub data: &'a mut [u8],
}

impl Canvas<'_> {
    /// Fills a rectangle from left, top, width and height.
    pub fn fill(&mut self, [x, y, w, h]: [f32; 4], color: Color) {
        let range = |start: f32, length: f32, limit: usize| {
            let clamp = |v: f32| v.round().clamp(0.0, limit as f32) as usize;
            clamp(start)..clamp(start + length)
        };
        let (columns, rows) = (range(x, w, self.width), range(y, h, self.height));
        if columns.is_empty() {
            return;
        }
        for row in rows {
            let line = &mut self.data[row * self.width * 3..][..self.width * 3];
            for pixel in line[columns.start * 3..columns.end * 3].chunks_exact_mut(3) {
                pixel.copy_from_slice(&color);
            }
        }
    }

    /// Draws the four lines of a rectangle, centered on its edges.
    pub fn frame(&mut self, [x, y, w, h]: [f32; 4], line: f32, color: Color) {
        let (left, top) = (x - line / 2.0, y - line / 2.0);
        self.fill([left, top, w + line, line], color);
        self.fill([left, top + h, w + line, line], color);
        self.fill([left, top, line, h + line], color);
        self.fill([left + w, top, line, h + line], color);
    }

    fn blend(&mut self, x: i64, y: i64, coverage: u8, color: Color) {
        let inside = (0..self.width as i64).contains(&x) && (0..self.height as i64).contains(&y);
        if !inside || coverage == 0 {
            return;
        }
        let at = (y as usize * self.width + x as usize) * 3;
        for (value, color) in self.data[at..at + 3].iter_mut().zip(color) {
            let (a, c) = (u32::from(coverage), u32::from(color));
            *value = ((u32::from(*value) * (255 - a) + c * a + 127) / 255) as u8;
        }
    }
}

/// The built-in font, with the glyphs that were drawn so far.
pub struct Text {
    font: Option<FontRef<'static>>,
    glyphs: HashMap<(char, u32), Glyph>,
}

struct Glyph {
    left: i64,
    top: i64,
    width: usize,
    coverage: Vec<u8>,
    advance: f32,
}

/// The most glyphs that are kept.
const MAX_GLYPHS: usize = 4096;

impl Default for Text {
    fn default() -> Self {
        Self {
            font: FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).ok(),
            glyphs: HashMap::new(),
        }
    }
}

impl Text {
    /// The width of a text in pixels.
    pub fn width(&mut self, text: &str, size: f32) -> f32 {
        text.chars()
            .map(|c| self.glyph(c, size).map_or(0.0, |g| g.advance))
            .sum()
    }

    /// Writes one line of text whose top left is `at`.
    pub fn write(
        &mut self,
        canvas: &mut Canvas,
        text: &str,
        at: [f32; 2],
        size: f32,
        color: Color,
    ) {
        // Far outside, nothing is seen in any case.
        let [mut x, y] = at.map(|v| v.clamp(-1e6, 1e6));
        for c in text.chars().filter(|c| !c.is_control()) {
            let Some(glyph) = self.glyph(c, size) else {
                return;
            };
            let (left, top) = (x.round() as i64 + glyph.left, y.round() as i64 + glyph.top);
            for (i, coverage) in glyph.coverage.iter().enumerate() {
                let (column, row) = ((i % glyph.width) as i64, (i / glyph.width) as i64);
                canvas.blend(left + column, top + row, *coverage, color);
            }
            x += glyph.advance;
        }
    }

    fn glyph(&mut self, c: char, size: f32) -> Option<&Glyph> {
        let font = self.font.as_ref()?;
        let pixels = (size.round() as u32).clamp(6, 200);
        if self.glyphs.len() >= MAX_GLYPHS {
            self.glyphs.clear();
        }
        Some(self.glyphs.entry((c, pixels)).or_insert_with(|| {
            let scale = PxScale::from(pixels as f32);
            let scaled = font.as_scaled(scale);
            let id = font.glyph_id(c);
            let mut drawn = Glyph {
                left: 0,
                top: 0,
                width: 1,
                coverage: Vec::new(),
                advance: scaled.h_advance(id),
            };
            let placed = id.with_scale_and_position(scale, point(0.0, scaled.ascent()));
            if let Some(outline) = font.outline_glyph(placed) {
                let bounds = outline.px_bounds();
                let (width, height) = (bounds.width() as usize, bounds.height() as usize);
                drawn.coverage = vec![0; width * height];
                (drawn.left, drawn.top) = (bounds.min.x as i64, bounds.min.y as i64);
                drawn.width = width.max(1);
                outline.draw(|x, y, c| {
                    let at = y as usize * width + x as usize;
                    if let Some(value) = drawn.coverage.get_mut(at) {
                        *value = (c.clamp(0.0, 1.0) * 255.0) as u8;
                    }
                });
            }
            drawn
        }))
    }
}

/// A face in a picture, and what is written beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Labeled {
    /// Left, top, width and height in pixels.
    pub bounds: [f32; 4],
    /// The text.
    pub label: String,
    /// The color of the box and of what is below the text.
    pub color: Color,
}

/// Draws boxes and their labels, readable at any size of the picture.
pub fn overlay(canvas: &mut Canvas, text: &mut Text, faces: &[Labeled]) {
    let shorter = canvas.width.min(canvas.height) as f32;
    let line = (shorter / 240.0).clamp(2.0, 12.0);
    let size = (shorter / 28.0).clamp(14.0, 64.0);
    for face in faces {
        canvas.frame(face.bounds, line + 2.0, BLACK);
        canvas.frame(face.bounds, line, face.color);
    }
    // Above all boxes, so that no line crosses a label.
    for face in faces {
        let [x, y, _, h] = face.bounds;
        let room = [text.width(&face.label, size) + size * 0.5, size * 1.25];
        let above = y - room[1] - line / 2.0;
        let below = (y + h + line / 2.0).min(canvas.height as f32 - room[1]);
        let top = if above < 0.0 { below } else { above };
        let left = (x - line / 2.0).min(canvas.width as f32 - room[0]).max(0.0);
        canvas.fill([left, top, room[0], room[1]], face.color);
        let at = [left + size * 0.25, top + size * 0.1];
        text.write(canvas, &face.label, at, size, on(face.color));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_is_cut_off() {
        let mut data = vec![9; 40 * 30 * 3];
        let mut canvas = Canvas {
            width: 40,
            height: 30,
            data: &mut data,
        };
        let mut text = Text::default();
        let far = [f32::NAN, f32::INFINITY, -1e30, 1e30, -5.0, 35.0];
        for x in far {
            for w in far {
                canvas.fill([x, x, w, w], WHITE);
                canvas.frame([x, w, w, x], 3.0, BLACK);
                let label = "né 9 %\u{1b}".to_owned();
                overlay(
                    &mut canvas,
                    &mut text,
                    &[Labeled {
                        bounds: [x, x, w, w],
                        label,
                        color: INK,
                    }],
                );
            }
        }
    }

    #[test]
    fn a_box_has_its_label_and_text_has_a_width() {
        let mut data = vec![0; 200 * 200 * 3];
        let mut text = Text::default();
        let mut canvas = Canvas {
            width: 200,
            height: 200,
            data: &mut data,
        };
        let face = Labeled {
            bounds: [50.0, 80.0, 60.0, 60.0],
            label: "happy".into(),
            color: [240, 228, 66],
        };
        overlay(&mut canvas, &mut text, &[face]);
        let pixel = |x: usize, y: usize| [data[(y * 200 + x) * 3], data[(y * 200 + x) * 3 + 1]];
        assert_eq!(pixel(50, 110), [240, 228]);
        assert_eq!(pixel(80, 110), [0, 0]);
        assert_eq!(pixel(51, 63), [240, 228]);
        let (one, two) = (text.width("n", 20.0), text.width("nn", 20.0));
        assert!(one > 5.0 && (two - 2.0 * one).abs() < 0.01);
    }

    #[test]
    fn emotions_have_their_colors_in_any_spelling() {
        assert_eq!(color_of("happy", 0), color_of("Happiness", 5));
        assert_eq!(color_of("anger", 0), color_of("angry", 3));
        assert_ne!(color_of("cat", 0), color_of("dog", 1));
    }
}
