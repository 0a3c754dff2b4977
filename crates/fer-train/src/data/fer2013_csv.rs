//! The competition's `fer2013.csv`; see [`Catalog::open`](super::Catalog::open).
//!
//! Read line by line, so that a file of any length takes no more memory than its pixels, and a line
//! no more than [`MAX_LINE_BYTES`].

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::catalog::Origin;
use super::{DataError, Item, MAX_PIXEL_BYTES, Usage};
use fer_core::spec::EMOTIONS;

/// The longest line that is read: 4 MiB, an image of 1024×1024 pixels.
const MAX_LINE_BYTES: u64 = 4 << 20;

/// The index into [`EMOTIONS`](fer_core::spec::EMOTIONS) of each label in the file: angry, disgust,
/// fear, happy, sad, surprise, neutral.
const LABELS: [u16; 7] = [0, 1, 2, 3, 5, 6, 4];

/// Where the columns are.
struct Columns {
    emotion: usize,
    pixels: usize,
    usage: Option<usize>,
    count: usize,
}

/// Reads the file into items with their pixels.
pub(super) fn open(path: &Path) -> Result<Vec<Item>, DataError> {
    let file = File::open(path).map_err(|e| DataError::read(path, e))?;
    read(path, BufReader::with_capacity(1 << 18, file))
}

fn read(path: &Path, mut reader: impl BufRead) -> Result<Vec<Item>, DataError> {
    let shown = path.display().to_string();
    let file_name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let (mut buffer, mut line) = (Vec::new(), 0);
    let mut columns = None;
    let mut items: Vec<Item> = Vec::new();
    let classes = EMOTIONS.map(Arc::from);
    let (mut side, mut bytes) = (0, 0);
    loop {
        line += 1;
        let fail = |problem: String| DataError::Csv {
            path: shown.clone(),
            line,
            problem,
        };
        buffer.clear();
        let read = reader
            .by_ref()
            .take(MAX_LINE_BYTES + 1)
            .read_until(b'\n', &mut buffer);
        match read.map_err(|e| DataError::read(path, e))? {
            0 => break,
            n if n as u64 > MAX_LINE_BYTES => {
                return Err(fail(
                    "the line is over 4 MiB; this is not a FER-2013 file".into(),
                ));
            }
            _ => {}
        }
        let text = buffer
            .strip_prefix(b"\xef\xbb\xbf".as_slice())
            .filter(|_| line == 1)
            .unwrap_or(&buffer)
            .trim_ascii();
        if text.is_empty() {
            continue;
        }
        let Some(columns) = &columns else {
            columns = Some(Columns::find(text).map_err(fail)?);
            continue;
        };
        let row = columns.row(text, side).map_err(fail)?;
        side = row.pixels.len().isqrt();
        bytes += row.pixels.len() as u64;
        if bytes > MAX_PIXEL_BYTES {
            return Err(DataError::TooLarge {
                images: items.len() + 1,
                width: side,
                height: side,
            });
        }
        items.push(Item {
            name: format!("{shown}:{line}"),
            relative: format!("{file_name}:{line}"),
            label: row.label,
            class: Arc::clone(&classes[usize::from(row.label)]),
            usage: row.usage,
            origin: Origin::Memory {
                row: items.len(),
                side,
                pixels: row.pixels.into_boxed_slice(),
            },
        });
    }
    match items.is_empty() {
        true => Err(DataError::folders(
            path,
            "holds no images; it takes a header emotion,pixels,Usage and one image a line",
        )),
        false => Ok(items),
    }
}

/// What a line says.
struct Row {
    label: u16,
    pixels: Vec<u8>,
    usage: Option<Usage>,
}

/// The fields of a line, without the blanks and quotes around them; a comma in quotes divides
/// nothing.
pub(super) fn fields(line: &[u8]) -> Vec<&[u8]> {
    let mut quoted = false;
    let divides = |b: &u8| {
        quoted ^= *b == b'"';
        *b == b',' && !quoted
    };
    let unquoted =
        |field: &'_ [u8]| field.len() >= 2 && field.starts_with(b"\"") && field.ends_with(b"\"");
    let fields = line.split(divides).map(<[u8]>::trim_ascii);
    fields
        .map(|f| {
            if unquoted(f) {
                f[1..f.len() - 1].trim_ascii()
            } else {
                f
            }
        })
        .collect()
}

impl Columns {
    fn find(header: &[u8]) -> Result<Self, String> {
        let names = fields(header);
        let column = |name: &str| {
            names
                .iter()
                .position(|field| field.eq_ignore_ascii_case(name.as_bytes()))
        };
        let needed = |name: &str| {
            let found: Vec<_> = names.iter().map(|field| shorten(field)).collect();
            let found = shorten(found.join(",").as_bytes());
            let missing = format!(
                "there is no column '{name}' in the header ({found}); it has to be \
                 emotion,pixels,Usage"
            );
            column(name).ok_or(missing)
        };
        Ok(Self {
            emotion: needed("emotion")?,
            pixels: needed("pixels")?,
            usage: column("usage"),
            count: names.len(),
        })
    }

    /// Reads a line; `side` is that of the images before it, or 0.
    fn row(&self, line: &[u8], side: usize) -> Result<Row, String> {
        let fields = fields(line);
        if fields.len() != self.count {
            return Err(format!(
                "the line has {} columns, the header {}; repair or remove it",
                fields.len(),
                self.count
            ));
        }
        let emotion = fields[self.emotion];
        let label = number(emotion)
            .and_then(|n| LABELS.get(usize::from(n)))
            .ok_or_else(|| {
                format!(
                    "the emotion is '{}'; it can be 0 to 6: repair or remove the line",
                    shorten(emotion)
                )
            })?;
        let usage = match self
            .usage
            .map(|column| String::from_utf8_lossy(fields[column]))
        {
            None => None,
            Some(text) => {
                let usage = shorten(text.as_bytes()).parse();
                Some(usage.map_err(|e| format!("the Usage {e}; repair or remove the line"))?)
            }
        };
        Ok(Row {
            label: *label,
            usage,
            pixels: pixels(fields[self.pixels], side)?,
        })
    }
}

/// Reads the pixels of a square image.
fn pixels(field: &[u8], side: usize) -> Result<Vec<u8>, String> {
    let mut pixels = Vec::with_capacity(side * side);
    for token in field
        .split(u8::is_ascii_whitespace)
        .filter(|token| !token.is_empty())
    {
        let invalid = || {
            let (token, nth) = (shorten(token), pixels.len() + 1);
            format!("pixel {nth} is '{token}'; it can be 0 to 255: repair or remove the line")
        };
        pixels.push(number(token).ok_or_else(invalid)?);
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

/// A number of 0 to 255 in one to three digits.
pub(super) fn number(text: &[u8]) -> Option<u8> {
    if text.is_empty() || text.len() > 3 {
        return None;
    }
    let value = text.iter().try_fold(0u16, |value, b| {
        b.is_ascii_digit().then(|| 10 * value + u16::from(b - b'0'))
    });
    value.and_then(|value| u8::try_from(value).ok())
}

/// At most 40 characters of a field, to be shown.
pub(super) fn shorten(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(&field[..field.len().min(160)]);
    let mut short: String = text
        .chars()
        .take(40)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().count() > 40 || field.len() > 160 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    fn parse(text: &[u8]) -> Result<Vec<Item>, String> {
        read(Path::new("some/fer.csv"), text).map_err(|e| e.to_string())
    }

    /// What the items hold: label, usage and pixels.
    fn content(items: &[Item]) -> Vec<(u16, Option<Usage>, Vec<u8>)> {
        items
            .iter()
            .map(|item| {
                (
                    item.label,
                    item.usage,
                    item.pixels().expect("in memory").data,
                )
            })
            .collect()
    }

    #[test]
    fn the_forms_in_use_are_read_alike() {
        let expected = vec![
            (0, Some(Usage::Training), vec![1, 2, 3, 4]),
            (4, Some(Usage::PrivateTest), vec![255, 0, 7, 70]),
        ];
        let cases = [
            "emotion,pixels,Usage\n0,1 2 3 4,Training\n6,255 0 7 70,PrivateTest\n",
            "emotion, Usage, pixels\n0, Training, 1 2 3 4\n6,PrivateTest,255 0 7 70",
            "\u{feff}emotion,pixels,usage\r\n0,1 2 3 4,Training\r\n\r\n6,255 0 7 \
             70,PrivateTest\r\n",
            "\"id\",\"emotion\",\"pixels\",\"Usage\"\n9,\"0\",\"1 2 3 4 \
             \",\"Training\"\n8,\"6\",\"255  0 7\t70\",\"PrivateTest\"\n",
        ];
        let wrong: Vec<_> = cases
            .iter()
            .map(|case| (case, parse(case.as_bytes()).map(|items| content(&items))))
            .filter(|(_, result)| result.as_ref() != Ok(&expected))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn labels_come_in_our_order_and_usage_may_be_missing() {
        let text = (0..7).fold("emotion,pixels\n".to_string(), |text, label| {
            text + &format!("{label},9\n")
        });
        let items = parse(text.as_bytes()).expect("a good file");
        let classes: Vec<_> = items.iter().map(Item::class).collect();
        assert_eq!(
            classes,
            [
                "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"
            ]
        );
        assert!(items.iter().all(|item| item.usage.is_none()));
        let names: Vec<_> = items
            .iter()
            .map(|item| (item.name.as_str(), item.relative.as_str()))
            .collect();
        assert_eq!(names[6], ("some/fer.csv:8", "fer.csv:8"));
    }

    #[test]
    fn faults_are_named_with_their_line() {
        let cases = [
            ("", "some/fer.csv: holds no images"),
            ("emotion,pixels,Usage\n", "some/fer.csv: holds no images"),
            (
                "pixels,Usage\n1,Training\n",
                ":1: there is no column 'emotion' in the header (pixels,Usage)",
            ),
            (
                "emotion,Usage\n1,Training\n",
                ":1: there is no column 'pixels'",
            ),
            (
                "emotion,pixels\n7,1\n",
                ":2: the emotion is '7'; it can be 0 to 6",
            ),
            ("emotion,pixels\n-1,1\n", ":2: the emotion is '-1'"),
            ("emotion,pixels\n,1\n", ":2: the emotion is ''"),
            (
                "emotion,pixels\n0,1\n0,1,2\n",
                ":3: the line has 3 columns, the header 2",
            ),
            (
                "emotion,pixels\n0,1 2 3 256\n",
                ":2: pixel 4 is '256'; it can be 0 to 255",
            ),
            ("emotion,pixels\n0,1 -2 3 4\n", ":2: pixel 2 is '-2'"),
            ("emotion,pixels\n0,1 2.0 3 4\n", ":2: pixel 2 is '2.0'"),
            ("emotion,pixels\n0,1 2 3 0004\n", ":2: pixel 4 is '0004'"),
            (
                "emotion,pixels\n0,1 2 3\n",
                ":2: there are 3 pixels, and 2304 make an image of 48x48",
            ),
            (
                "emotion,pixels\n0,1 2 3 4\n0,1 2 3\n",
                ":3: there are 3 pixels, and 4 make an image of 2x2",
            ),
            (
                "emotion,pixels\n0,1 2 3 4\n0,1\n",
                ":3: the image is 1x1 and those before it are 2x2",
            ),
            ("emotion,pixels\n0,\n", ":2: there are 0 pixels"),
            (
                "emotion,pixels,Usage\n0,1,Test\n",
                ":2: the Usage is 'Test'; it can be Training, PublicTest or PrivateTest",
            ),
        ];
        let wrong: Vec<_> = cases
            .iter()
            .map(|(text, error)| (text, error, parse(text.as_bytes()).map(|items| items.len())))
            .filter(|(_, error, result)| !result.as_ref().is_err_and(|e| e.contains(**error)))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_line_without_end_is_not_read_to_its_end() {
        let endless = BufReader::new("emotion,pixels\n0,".as_bytes().chain(std::io::repeat(b'1')));
        let error = read(Path::new("x.csv"), endless)
            .expect_err("no line end")
            .to_string();
        assert!(
            error.starts_with("x.csv:2: the line is over 4 MiB"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut text = b"emotion,pixels,Usage\n".to_vec();
            text.extend(tail);
            let lines = text.split(|b| *b == b'\n').count();
            if let Ok(items) = parse(&text) {
                prop_assert!(!items.is_empty() && items.len() < lines);
            }
        }

        #[test]
        fn what_is_written_is_read(side in 1usize..9, rows in proptest::collection::vec((0usize..7, any::<u8>()), 1..9)) {
            let image = |start: u8| (0..side * side).map(|i| start.wrapping_mul(31).wrapping_add(i as u8)).collect::<Vec<u8>>();
            let mut text = String::from("emotion,pixels,Usage\n");
            for (label, start) in &rows {
                let pixels: Vec<_> = image(*start).iter().map(u8::to_string).collect();
                writeln!(text, "{label},{},PublicTest", pixels.join(" ")).expect("a string");
            }
            let expected: Vec<_> =
                rows.iter().map(|(label, start)| (LABELS[*label], Some(Usage::PublicTest), image(*start))).collect();
            prop_assert_eq!(parse(text.as_bytes()).map(|items| content(&items)), Ok(expected));
        }
    }
}
