//! The columns of a CSV file of images, and what a line says in them.

use super::labels::Labels;
use crate::data::Usage;
use crate::data::fields::{fields, number, shorten, whole};
use crate::data::layout::{Part, part};
use fer_core::images::Foreign;

/// Names of the columns, as files have them.
const EMOTION: [&str; 5] = ["emotion", "emotions", "label", "labels", "class"];
const PIXELS: [&str; 2] = ["pixels", "pixel"];
const USAGE: [&str; 3] = ["usage", "split", "set"];

/// What a line says.
pub(super) struct Row {
    /// Its place among the different labels.
    pub label: usize,
    pub pixels: Vec<u8>,
    /// The part, and the usage if it is named.
    pub usage: Option<(Part, Option<Usage>)>,
}

/// Where the columns are.
pub(super) struct Columns {
    delimiter: u8,
    emotion: usize,
    pixels: usize,
    usage: Option<usize>,
    count: usize,
}

impl Columns {
    pub fn find(header: &[u8]) -> Result<Self, String> {
        if header.starts_with(b"\xff\xfe") || header.starts_with(b"\xfe\xff") {
            return Err("the file is in UTF-16; save it in UTF-8".into());
        }
        // A tab may stand at the beginning, where a line has no blanks.
        let by = |delimiter| (delimiter, fields(header, delimiter));
        let all = [b',', b';', b'\t'].map(by);
        let column = |names: &[&[u8]], known: &[&str]| {
            let is = |name: &str| {
                names
                    .iter()
                    .position(|f| f.eq_ignore_ascii_case(name.as_bytes()))
            };
            known.iter().find_map(|name| is(name))
        };
        let found = all.iter().find_map(|(delimiter, names)| {
            Some(Self {
                delimiter: *delimiter,
                emotion: column(names, &EMOTION)?,
                pixels: column(names, &PIXELS)?,
                usage: column(names, &USAGE),
                count: names.len(),
            })
        });
        let missing = || {
            if let Some(other) = Foreign::of(header).filter(|found| *found != Foreign::TEXT) {
                return other.to_string();
            }
            let names = all
                .iter()
                .map(|(_, names)| names)
                .max_by_key(|names| names.len());
            let names = names.map_or(&[][..], Vec::as_slice);
            let missing = match column(names, &EMOTION) {
                None => "emotion",
                Some(_) => "pixels",
            };
            let found: Vec<_> = names.iter().map(|field| shorten(field)).collect();
            let found = shorten(found.join(",").as_bytes());
            format!(
                "there is no column '{missing}' in the header ({found}); it has to be \
                 emotion,pixels,Usage"
            )
        };
        found.ok_or_else(missing)
    }

    /// Whether a line that is wrong holds no image at all: it has no value of a pixel.
    pub fn is_junk(&self, line: &[u8]) -> bool {
        let fields = fields(line, self.delimiter);
        let pixels = fields.get(self.pixels).copied().unwrap_or_default();
        !tokens(pixels).any(|token| number(whole(token)).is_some())
    }

    /// Reads a line; `side` is that of the images before it, or 0.
    pub fn row(
        &self,
        text: &[u8],
        side: usize,
        line: usize,
        labels: &mut Labels,
    ) -> Result<Row, String> {
        let fields = fields(text, self.delimiter);
        if fields.len() != self.count {
            return Err(format!(
                "the line has {} columns, the header {}; repair or remove it",
                fields.len(),
                self.count
            ));
        }
        let usage = match self
            .usage
            .map(|column| String::from_utf8_lossy(fields[column]))
        {
            None => None,
            Some(text) => Some(part(&text).ok_or_else(|| {
                let can_be = Usage::ALL.map(|usage| usage.to_string());
                format!(
                    "the Usage is '{}'; it can be {}, {} or {}: repair or remove the line",
                    shorten(text.as_bytes()),
                    can_be[0],
                    can_be[1],
                    can_be[2]
                )
            })?),
        };
        let pixels = pixels(fields[self.pixels], side)?;
        let label = labels.place(fields[self.emotion], line)?;
        Ok(Row {
            label,
            pixels,
            usage,
        })
    }
}

/// The values of a field of pixels. Some files write them as a list, in brackets and with commas.
fn tokens(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let divides = |b: &u8| b.is_ascii_whitespace() || matches!(b, b',' | b'[' | b']');
    field.split(divides).filter(|token| !token.is_empty())
}

/// Reads the pixels of a square image.
fn pixels(field: &[u8], side: usize) -> Result<Vec<u8>, String> {
    let mut pixels = Vec::with_capacity(side * side);
    for token in tokens(field) {
        let invalid = || {
            let (token, nth) = (shorten(token), pixels.len() + 1);
            format!("pixel {nth} is '{token}'; it can be 0 to 255: repair or remove the line")
        };
        pixels.push(number(whole(token)).ok_or_else(invalid)?);
    }
    let (count, own) = (pixels.len(), pixels.len().isqrt());
    if count == 0 || own * own != count {
        let expected = if side == 0 { 48 } else { side };
        let wanted = expected * expected;
        return Err(format!(
            "there are {count} pixels, and {wanted} make an image of {expected}x{expected}; repair \
             or remove the line"
        ));
    }
    if side != 0 && own != side {
        return Err(format!(
            "the image is {own}x{own} and those before it are {side}x{side}; all have to be alike: \
             remove the line"
        ));
    }
    Ok(pixels)
}
