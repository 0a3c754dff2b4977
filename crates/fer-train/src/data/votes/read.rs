//! A file of votes, from its bytes to a [`Table`].

use std::collections::HashMap;
use std::path::Path;

use super::{Counts, MAX_BYTES, Row, Table};
use crate::data::DataError;
use crate::data::fields::{fields, number, shorten};

/// The longest line that is read: 64 KiB.
const MAX_LINE_BYTES: usize = 64 << 10;

/// FER+'s columns in the order of [`Counts`], the classes as
/// [`EMOTIONS`](fer_core::spec::EMOTIONS).
const COLUMNS: [&str; 10] = [
    "anger",
    "disgust",
    "fear",
    "happiness",
    "neutral",
    "sadness",
    "surprise",
    "contempt",
    "unknown",
    "NF",
];

/// Reads the bytes of a file, of which at most one is over [`MAX_BYTES`].
pub(super) fn table(path: &Path, bytes: &[u8]) -> Result<Table, DataError> {
    let shown = || path.display().to_string();
    let wrong = |problem: &str| DataError::Votes {
        path: shown(),
        problem: problem.into(),
    };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(
            "the file is over 64 MiB; it takes a line an image, as FER+'s fer2013new.csv has",
        ));
    }
    let text = bytes
        .strip_prefix(b"\xef\xbb\xbf".as_slice())
        .unwrap_or(bytes);
    let lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).zip(1..);
    let mut lines = lines.filter(|(text, _)| !text.is_empty());
    let fail = |line, problem| DataError::Csv {
        path: shown(),
        line,
        problem,
    };
    let (header, line) = lines
        .next()
        .ok_or_else(|| wrong("the file is empty; it takes FER+'s columns"))?;
    let columns = split(header)
        .and_then(|names| Columns::find(&names))
        .map_err(|e| fail(line, e))?;
    let mut table = match columns.name {
        Some(_) => Table::Names(HashMap::new()),
        None => Table::Rows(Vec::new()),
    };
    for (text, line) in lines {
        split(text)
            .and_then(|fields| columns.add(&mut table, &fields, line))
            .map_err(|e| fail(line, e))?;
    }
    if table.len() == 0 {
        return Err(wrong(
            "there are no votes below the header; it takes a line an image",
        ));
    }
    Ok(table)
}

/// The fields of a line.
fn split(line: &[u8]) -> Result<Vec<&[u8]>, String> {
    match line.len() {
        0..=MAX_LINE_BYTES => Ok(fields(line, b',')),
        _ => Err(
            "the line is over 64 KiB; use FER+'s fer2013new.csv, or a file with its columns".into(),
        ),
    }
}

/// Where the columns are.
struct Columns {
    votes: [usize; COLUMNS.len()],
    name: Option<usize>,
    usage: Option<usize>,
    count: usize,
}

impl Columns {
    fn find(names: &[&[u8]]) -> Result<Self, String> {
        let column = |name: &str| {
            names
                .iter()
                .position(|field| field.eq_ignore_ascii_case(name.as_bytes()))
        };
        let needed = |name: &str| {
            let found = shorten(&names.join(b",".as_slice()));
            let missing = format!(
                "there is no column '{name}' in the header ({found}); use FER+'s fer2013new.csv, \
                 or a file with its columns"
            );
            column(name).ok_or(missing)
        };
        let mut votes = [0; COLUMNS.len()];
        for (place, name) in votes.iter_mut().zip(COLUMNS) {
            *place = needed(name)?;
        }
        let (name, usage) = (column("name"), column("Usage"));
        if name.is_none() {
            // FER+'s own file: what it calls an image is in no other file, and its row says which
            // one it means.
            column("Image name").map_or_else(|| needed("name"), Ok)?;
            needed("Usage")?;
        }
        Ok(Self {
            votes,
            name,
            usage,
            count: names.len(),
        })
    }

    /// Adds a line to the table.
    fn add(&self, table: &mut Table, fields: &[&[u8]], line: usize) -> Result<(), String> {
        if fields.len() != self.count {
            return Err(format!(
                "the line has {} columns, the header {}; repair it",
                fields.len(),
                self.count
            ));
        }
        let counts = self.counts(fields)?;
        let text = |column: Option<usize>| {
            column
                .map(|c| String::from_utf8_lossy(fields[c]))
                .unwrap_or_default()
        };
        match table {
            Table::Rows(rows) => {
                let usage = shorten(text(self.usage).as_bytes()).parse();
                let usage = usage.map_err(|e| format!("the Usage {e}; repair the line"))?;
                rows.push(Row {
                    line,
                    usage,
                    counts,
                });
            }
            Table::Names(names) => {
                let name = text(self.name).into_owned();
                if name.is_empty() {
                    return Err("the name is empty; repair or remove the line".into());
                }
                let known = names.entry(name).or_insert(Some(counts));
                *known = known.filter(|known| *known == counts);
            }
        }
        Ok(())
    }

    fn counts(&self, fields: &[&[u8]]) -> Result<Counts, String> {
        let mut votes = [0; COLUMNS.len()];
        for ((votes, place), name) in votes.iter_mut().zip(self.votes).zip(COLUMNS) {
            let field = fields[place];
            *votes = number(field).ok_or_else(|| {
                format!(
                    "the number of votes for {name} is '{}'; it can be 0 to 255: repair the line",
                    shorten(field)
                )
            })?;
        }
        let [classes @ .., contempt, unknown, no_face] = votes;
        Ok(Counts {
            classes,
            contempt,
            unknown,
            no_face,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::data::Usage;

    const ROWS: &str = "Usage,Image \
        name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n";
    const NAMES: &str =
        "name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,nf\n";

    fn parse(text: &[u8]) -> Result<Table, String> {
        table(Path::new("some/votes.csv"), text).map_err(|e| e.to_string())
    }

    fn counts(classes: [u8; 7], [contempt, unknown, no_face]: [u8; 3]) -> Counts {
        Counts {
            classes,
            contempt,
            unknown,
            no_face,
        }
    }

    #[test]
    fn ferplus_own_file_is_read_row_by_row() {
        // The first lines of fer2013new.csv, and one of an image that FER+ removed.
        let text = format!(
            "{ROWS}Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0\nTraining,fer0000009.png,0,0,6,0,0,0,4,0,0,0\n\
             PublicTest,,0,0,0,0,0,0,0,0,0,10\nPrivateTest,fer0000005.png,6,0,0,1,0,0,1,1,1,0\n"
        );
        // anger, disgust, fear, happiness, neutral, sadness, surprise
        let expected = vec![
            Row {
                line: 2,
                usage: Usage::Training,
                counts: counts([3, 2, 0, 0, 4, 1, 0], [0, 0, 0]),
            },
            Row {
                line: 3,
                usage: Usage::Training,
                counts: counts([0, 0, 4, 0, 0, 0, 6], [0, 0, 0]),
            },
            Row {
                line: 4,
                usage: Usage::PublicTest,
                counts: counts([0; 7], [0, 0, 10]),
            },
            Row {
                line: 5,
                usage: Usage::PrivateTest,
                counts: counts([0, 0, 1, 0, 6, 1, 0], [1, 1, 0]),
            },
        ];
        assert_eq!(parse(text.as_bytes()), Ok(Table::Rows(expected)));
    }

    #[test]
    fn the_forms_in_use_are_read_alike() {
        let expected = Table::Names(HashMap::from([
            (
                "a.jpg".to_string(),
                Some(counts([1, 2, 3, 4, 5, 6, 7], [8, 9, 10])),
            ),
            (
                "b c,d.jpg".to_string(),
                Some(counts([255, 0, 0, 0, 0, 0, 0], [0, 0, 0])),
            ),
        ]));
        let cases = [
            format!("{NAMES}a.jpg,5,4,7,6,1,2,3,8,9,10\n\"b c,d.jpg\",0,0,0,0,255,0,0,0,0,0\n"),
            format!("\u{feff}{NAMES}\r\na.jpg , 5,4,7,6,1,2,3,8,9,10\r\n\"b \
                c,d.jpg\",0,0,0,0,255,0,0,0,0,0\r\n\r\n")
                .replace("nf\n", "nf\r\n"),
            "NF,Unknown,CONTEMPT,surprise,sadness,neutral,happiness,fear,disgust,anger,extra,Usage,Name\n\
             10,9,8,7,6,5,4,3,2,1,x,,a.jpg\n000,0,0,0,0,0,0,0,0,\"255\",,Nowhere,\"b c,d.jpg\""
                .into(),
            // FER+'s name for an image says nothing where there is a file name; a line twice is no
            // matter.
            "Image \
             name,name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,nf\n\
             ,a.jpg,5,4,7,6,1,2,3,8,9,10\nx,a.jpg,5,4,7,6,1,2,3,8,9,10\n,\"b \
             c,d.jpg\",0,0,0,0,255,0,0,0,0,0\n"
                .into(),
        ];
        let wrong: Vec<_> = cases
            .iter()
            .map(|case| (case, parse(case.as_bytes())))
            .filter(|(_, table)| table.as_ref() != Ok(&expected))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_name_with_two_lines_that_differ_has_no_votes() {
        let first = "a.jpg,5,0,0,0,0,0,0,0,0,0\n";
        let text =
            format!("{NAMES}{first}b.jpg,5,0,0,0,0,0,0,0,0,0\na.jpg,4,0,0,0,0,0,0,0,0,0\n{first}");
        let b = counts([0, 0, 0, 0, 5, 0, 0], [0, 0, 0]);
        let expected = HashMap::from([("a.jpg".to_string(), None), ("b.jpg".to_string(), Some(b))]);
        assert_eq!(parse(text.as_bytes()), Ok(Table::Names(expected)));
    }

    #[test]
    fn faults_are_named_with_their_line() {
        let long = format!("{NAMES}{}", "x".repeat(MAX_LINE_BYTES + 1));
        let good = "a.jpg,1,0,0,0,0,0,0,0,0,0\n";
        let cases = [
            (String::new(), "some/votes.csv: the file is empty"),
            (
                "\u{feff}\r\n \n".into(),
                "some/votes.csv: the file is empty",
            ),
            (
                NAMES.into(),
                "some/votes.csv: there are no votes below the header",
            ),
            (
                ROWS.into(),
                "some/votes.csv: there are no votes below the header",
            ),
            (
                "emotion,pixels,Usage\n0,1 2 3 4,Training\n".into(),
                "votes.csv:1: there is no column 'anger' in the header (emotion,pixels,Usage); use \
                 FER+'s fer2013new.csv",
            ),
            (
                NAMES.replace("fear", "feer"),
                ":1: there is no column 'fear' in the header (name,",
            ),
            (NAMES.replace(",nf", ""), ":1: there is no column 'NF'"),
            (
                NAMES.replace("name,", "file,"),
                ":1: there is no column 'name'",
            ),
            (NAMES.replace("name,", ""), ":1: there is no column 'name'"),
            (ROWS.replace("Usage,", ""), ":1: there is no column 'Usage'"),
            (
                format!("{NAMES}{good}\na.jpg,1,0,0,0,0,0,0,0,0\n"),
                ":4: the line has 10 columns, the header 11",
            ),
            (
                format!("{NAMES}a.jpg,1,0,0,0,0,0,0,0,0,0,\n"),
                ":2: the line has 12 columns, the header 11",
            ),
            (
                format!("{NAMES}{good}b.jpg,1,0,0,0,-1,0,0,0,0,0\n"),
                ":3: the number of votes for anger is '-1'; it can be 0 to 255",
            ),
            (
                format!("{NAMES}a.jpg,1,0,0,0,0,0,0,0,0,256\n"),
                ":2: the number of votes for NF is '256'",
            ),
            (
                format!("{NAMES}a.jpg,1,0,0,0,0,0,0,0,x,0\n"),
                ":2: the number of votes for unknown is 'x'",
            ),
            (
                format!("{NAMES}a.jpg,1,0,0,0,0,0,0,,0,0\n"),
                ":2: the number of votes for contempt is ''",
            ),
            (
                format!("{NAMES}a.jpg,1.0,0,0,0,0,0,0,0,0,0\n"),
                ":2: the number of votes for neutral is '1.0'",
            ),
            (
                format!("{NAMES}a.jpg,1,0,0,0,0,0,0,0,0,0000\n"),
                ":2: the number of votes for NF is '0000'",
            ),
            (
                format!("{NAMES}{good},1,0,0,0,0,0,0,0,0,0\n"),
                ":3: the name is empty",
            ),
            (
                format!("{ROWS}Test,,1,0,0,0,0,0,0,0,0,0\n"),
                ":2: the Usage is 'Test'; it can be Training, PublicTest or PrivateTest",
            ),
            (
                format!("{NAMES}\"a.jpg,1,0,0,0,0,0,0,0,0,0\n"),
                ":2: the line has 1 columns",
            ),
            (long, ":2: the line is over 64 KiB"),
            (
                "x".repeat(MAX_LINE_BYTES + 1),
                ":1: the line is over 64 KiB",
            ),
        ];
        let wrong: Vec<_> = cases
            .iter()
            .map(|(text, error)| {
                (
                    &text[..text.len().min(200)],
                    error,
                    parse(text.as_bytes()).map(|t| t.len()),
                )
            })
            .filter(|(_, error, result)| {
                !result
                    .as_ref()
                    .is_err_and(|e| e.contains(**error) && !e.contains('\n'))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let large = vec![b'\n'; MAX_BYTES as usize + 1];
        let error = parse(&large).expect_err("a file that is too large");
        assert!(error.contains("the file is over 64 MiB"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            rows: bool,
            tail in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut text = if rows { ROWS } else { NAMES }.as_bytes().to_vec();
            text.extend(tail);
            let lines = text.split(|b| *b == b'\n').count();
            match parse(&text) {
                Ok(table) => prop_assert!(table.len() > 0 && table.len() < lines),
                Err(e) => prop_assert!(!e.contains('\n')),
            }
        }

        #[test]
        fn what_is_written_is_read(images in proptest::collection::vec(any::<[u8; 10]>(), 1..20)) {
            let mut text = format!("name,{}\n", COLUMNS.join(","));
            let mut expected = HashMap::new();
            for (i, votes) in images.iter().enumerate() {
                let fields: Vec<_> = votes.iter().map(u8::to_string).collect();
                writeln!(text, "{i}.png,{}", fields.join(",")).expect("a string");
                let [classes @ .., contempt, unknown, no_face] = *votes;
                let counts = Counts { classes, contempt, unknown, no_face };
                expected.insert(format!("{i}.png"), Some(counts));
            }
            prop_assert_eq!(parse(text.as_bytes()), Ok(Table::Names(expected)));
        }
    }
}
