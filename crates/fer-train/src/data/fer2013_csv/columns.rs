//! The columns of a CSV file of images, and what a line says in them.

use super::labels::Labels;
use crate::data::Usage;
use crate::data::fields::{fields, shorten, whole};
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

/// Where the columns of labeled images are.
pub(super) struct Columns {
    images: ImageColumn,
    emotion: usize,
    usage: Option<usize>,
}

/// Where the column of pixels is.
pub(super) struct ImageColumn {
    delimiter: u8,
    pixels: usize,
    count: usize,
}

/// The names of the columns, by the delimiter that may divide them.
struct Header<'a>([(u8, Vec<&'a [u8]>); 3]);

impl<'a> Header<'a> {
    fn of(header: &'a [u8]) -> Result<Self, String> {
        if header.starts_with(b"\xff\xfe") || header.starts_with(b"\xfe\xff") {
            return Err("the file is in UTF-16; save it in UTF-8".into());
        }
        // A tab may stand at the beginning, where a line has no blanks.
        let by = |delimiter| (delimiter, fields(header, delimiter));
        if let Some(other) = Foreign::of(header).filter(|found| *found != Foreign::TEXT) {
            return Err(other.to_string());
        }
        Ok(Self([b',', b';', b'\t'].map(by)))
    }

    /// Where the images are, and the names of the columns.
    fn images(&self) -> Option<(ImageColumn, &[&'a [u8]])> {
        self.0.iter().find_map(|(delimiter, names)| {
            let images = ImageColumn {
                delimiter: *delimiter,
                pixels: column(names, &PIXELS)?,
                count: names.len(),
            };
            Some((images, names.as_slice()))
        })
    }

    /// The names, to be shown.
    fn shown(&self) -> String {
        let names = self.0.iter().map(|(_, names)| names);
        let names = names.max_by_key(|names| names.len());
        let names = names.into_iter().flatten().map(|field| shorten(field));
        shorten(names.collect::<Vec<_>>().join(",").as_bytes())
    }
}

/// The place of the column that has one of these names.
fn column(names: &[&[u8]], known: &[&str]) -> Option<usize> {
    let is = |name: &str| {
        let mut names = names.iter();
        names.position(|field| field.eq_ignore_ascii_case(name.as_bytes()))
    };
    known.iter().find_map(|name| is(name))
}

impl ImageColumn {
    /// Finds the column in a header. Images that are not labeled have no other.
    pub fn find(header: &[u8]) -> Result<Self, String> {
        let header = Header::of(header)?;
        let missing = || {
            format!(
                "there is no column 'pixels' in the header ({}); a CSV file of images has one, as \
                 emotion,pixels,Usage",
                header.shown()
            )
        };
        header
            .images()
            .map(|(images, _)| images)
            .ok_or_else(missing)
    }

    /// The fields of a line.
    fn fields<'a>(&self, line: &'a [u8]) -> Result<Vec<&'a [u8]>, String> {
        let fields = fields(line, self.delimiter);
        match fields.len() == self.count {
            true => Ok(fields),
            false => Err(format!(
                "the line has {} columns, the header {}; repair or remove it",
                fields.len(),
                self.count
            )),
        }
    }

    /// The pixels of a line's image.
    pub fn image(&self, line: &[u8]) -> Result<Vec<u8>, String> {
        pixels(self.fields(line)?[self.pixels], 0)
    }

    /// Whether a line that is wrong holds no image at all: it has no value of a pixel.
    pub fn is_junk(&self, line: &[u8]) -> bool {
        let fields = fields(line, self.delimiter);
        let pixels = fields.get(self.pixels).copied().unwrap_or_default();
        !tokens(pixels).any(|token| whole(token).is_some())
    }
}

impl Columns {
    /// Finds the columns in a header.
    pub fn find(header: &[u8]) -> Result<Self, String> {
        let header = Header::of(header)?;
        let missing = |name: &str| {
            format!(
                "there is no column '{name}' in the header ({}); it has to be \
                 emotion,pixels,Usage",
                header.shown()
            )
        };
        let has_emotion = || {
            let mut all = header.0.iter();
            all.any(|(_, names)| column(names, &EMOTION).is_some())
        };
        let Some((images, names)) = header.images() else {
            let name = if has_emotion() { "pixels" } else { "emotion" };
            return Err(missing(name));
        };
        Ok(Self {
            emotion: column(names, &EMOTION).ok_or_else(|| missing("emotion"))?,
            usage: column(names, &USAGE),
            images,
        })
    }

    /// Whether a line that is wrong holds no image at all.
    pub fn is_junk(&self, line: &[u8]) -> bool {
        self.images.is_junk(line)
    }

    /// Reads a line; `side` is that of the images before it, or 0.
    pub fn row(
        &self,
        text: &[u8],
        side: usize,
        line: usize,
        labels: &mut Labels,
    ) -> Result<Row, String> {
        let fields = self.images.fields(text)?;
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
        let pixels = pixels(fields[self.images.pixels], side)?;
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
        pixels.push(whole(token).ok_or_else(invalid)?);
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
