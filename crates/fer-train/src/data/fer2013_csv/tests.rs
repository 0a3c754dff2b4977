//! What of CSV files is read, and what is refused.

use crate::data::Usage;
use std::fmt::Write;

use proptest::prelude::*;

use super::labels::LABELS;
use super::*;

fn opened(text: impl BufRead, given: Option<&[String]>) -> Result<Catalog, String> {
    let path = Path::new("some/fer.csv");
    let mut catalog = Catalog {
        items: Vec::new(),
        classes: Vec::new(),
        source: path.into(),
        form: Form::Csv,
        passed_over: Default::default(),
        notes: Vec::new(),
        excluded: Default::default(),
    };
    let read = read(&mut catalog, path, text, given);
    read.map(|()| catalog).map_err(|e| e.to_string())
}

fn parse(text: &[u8]) -> Result<Vec<Item>, String> {
    opened(text, None).map(|catalog| catalog.items)
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
        "emotion;pixels;Usage\n0;1 2 3 4;Training\n6;255 0 7 70;PrivateTest\n",
        "emotion\tpixels\tUsage\n0\t1 2 3 4\tTraining\n6\t255 0 7 70\tPrivateTest\n",
        "emotion, pixels, Usage\n0.0,1 2 3 4,train\n6.,255.0 0 7.00 70,PrivateTest\n",
        "emotion,pixels,Usage\n0.0e+00,1 2 3 4,Train_Set\n6.000000000000000000e+00,2.55e+02 0E+00 7e0 \
         7.000e+01,private-test\n",
        "Usage,pixels,emotion\ntrain,\"[1, 2, 3, 4]\",0\nPrivateTest,\"[255, 0, 7, 70]\",6\n",
        "emotion,pixels,Usage\n0,1 2 3 4,Training\n6,255 0 7 70,PrivateTest\n   ,,,,,\n\n-- 2 rows",
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
            "emotion,pixels\n0,1\n8,1\n7,1\n8,1\n",
            ":3: the emotion is '8'; it can be 0 to 6",
        ),
        (
            "emotion,pixels\n1.5e+00,1\n",
            ":2: the emotion is '1.5e+00'",
        ),
        ("emotion,pixels\n1e+03,1\n", ":2: the emotion is '1e+03'"),
        ("emotion,pixels\nNaN,1\n", ":2: the emotion is 'NaN'"),
        ("emotion,pixels\n0,2.5e+00\n", ":2: pixel 1 is '2.5e+00'"),
        ("emotion,pixels\n0,2.56e+02\n", ":2: pixel 1 is '2.56e+02'"),
        ("emotion,pixels\n0,-0.0e+00\n", ":2: pixel 1 is '-0.0e+00'"),
        (
            "emotion,pixels\n0,1\n0,1,2\n",
            ":3: the line has 3 columns, the header 2",
        ),
        (
            "emotion,pixels\n0,1 2 3 256\n",
            ":2: pixel 4 is '256'; it can be 0 to 255",
        ),
        ("emotion,pixels\n0,1 -2 3 4\n", ":2: pixel 2 is '-2'"),
        ("emotion,pixels\n0,1 2.5 3 4\n", ":2: pixel 2 is '2.5'"),
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
            "emotion,pixels,Usage\n0,1,Exam\n",
            ":2: the Usage is 'Exam'; it can be Training, PublicTest or PrivateTest",
        ),
    ];
    let cases = cases.into_iter().chain([
        (
            "emotion,pixels\n0,1\nx,,\n0,1\n",
            ":3: the line has 3 columns, the header 2",
        ),
        (
            "emotion,pixels\n0,1\nhappy,1\n",
            ":3: the emotion is 'happy'; it can be 0 to 6, as the lines before have numbers: write",
        ),
        (
            "emotion,pixels\nhappy,1\n3,1\n",
            ":3: the emotion is '3'; it can be a name, as in the lines before",
        ),
        ("emotion,pixels\n1.5,1\n", ":2: the emotion is '1.5'"),
        (
            "emotion,pixels\nangry,1\nfear,1\nhappy,1\nsad,1\nneutral,1\nsda,1\n",
            ":7: 'sda' is none of the classes",
        ),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
            ":1: a Git LFS pointer",
        ),
        ("\u{fffe}", ":1: there is no column 'emotion'"),
    ]);
    let wrong: Vec<_> = cases
        .map(|(text, error)| (text, error, parse(text.as_bytes()).map(|items| items.len())))
        .filter(|(_, error, result)| !result.as_ref().is_err_and(|e| e.contains(error)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let utf_16 = opened(b"\xff\xfee\0".as_slice(), None);
    assert!(utf_16.is_err_and(|e| e.contains("in UTF-16")));
}

#[test]
fn labels_are_names_or_numbers_that_are_named() {
    type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a str);
    let rows: &[Row] = &[
        (
            &[
                "joy", "anger", "fear", "sadness", "Neutral", "surprise", "disgust",
            ],
            &[],
            "happy, angry, fear, sad, neutral, surprise, disgust",
        ),
        (
            &["joy", "anger", "fear", "sadness", "contempt"],
            &[],
            "happy, angry, fear, sad, contempt",
        ),
        (&["dog", "cat", "dog"], &[], "dog, cat, dog"),
        (
            &["7", "0", "3.0"],
            &["a", "b", "c", "d", "e", "f", "g", "h"],
            "h, a, d",
        ),
        (&["2", "1", "3"], &["a", "b", "c"], "b, a, c"),
        (&["2", "1"], &["a", "b", "c"], "c, b"),
        (&["Dog", "cat"], &["cat", "dog"], "dog, cat"),
        (
            &["3"],
            &["a", "b"],
            "the emotion is 3, and 2 classes are named",
        ),
        (&["bird"], &["cat", "dog"], "'bird' is none of the classes"),
    ];
    let found = |labels: &[&str], given: &[&str]| -> Result<String, String> {
        let line = |label: &&str| format!("{label},9\n");
        let text = labels.iter().map(line).collect::<String>();
        let given: Vec<String> = given.iter().map(|class| class.to_string()).collect();
        let given = (!given.is_empty()).then_some(given.as_slice());
        let catalog = opened(format!("emotion,pixels\n{text}").as_bytes(), given)?;
        let classes = catalog.items.iter().map(|item| {
            assert_eq!(item.class(), catalog.classes[usize::from(item.label)]);
            item.class()
        });
        Ok(classes.collect::<Vec<_>>().join(", "))
    };
    let wrong: Vec<_> = rows
        .iter()
        .map(|(labels, given, text)| (labels, found(labels, given), *text))
        .filter(|(_, found, text)| match found {
            Ok(found) => found != text,
            Err(error) => !error.contains(*text),
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_few_lines_without_images_may_end_a_file() {
    let end = |lines: &str| {
        let catalog = opened(format!("emotion,pixels\n0,1\n{lines}").as_bytes(), None);
        catalog.map(|catalog| catalog.notes)
    };
    let note = |lines, first| Note::Junk {
        path: "some/fer.csv".into(),
        lines,
        first,
    };
    assert_eq!(end(""), Ok(vec![]));
    assert_eq!(end("   ,,,\n"), Ok(vec![note(1, 3)]));
    assert_eq!(end("\n(2 rows)\n;\n"), Ok(vec![note(2, 4)]));
    let many = end(&",,,\n".repeat(most_junk(1) + 1));
    assert!(many.is_err_and(|e| e.contains(":3: the line has 4 columns")));
    // A line with pixels is an image that is not whole.
    let cut = end("0,1 2 3");
    assert!(cut.is_err_and(|e| e.contains(":3: there are 3 pixels")));
}

#[test]
fn a_line_without_end_is_not_read_to_its_end() {
    let endless = BufReader::new("emotion,pixels\n0,".as_bytes().chain(std::io::repeat(b'1')));
    let error = opened(endless, None).expect_err("no line end");
    assert!(
        error.starts_with("some/fer.csv:2: the line is over 4 MiB"),
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
    fn what_is_written_is_read(
        side in 1usize..9,
        rows in proptest::collection::vec((0usize..7, any::<u8>()), 1..9),
    ) {
        let image = |start: u8| -> Vec<u8> {
            let value = |i| start.wrapping_mul(31).wrapping_add(i as u8);
            (0..side * side).map(value).collect()
        };
        let mut text = String::from("emotion,pixels,Usage\n");
        for (label, start) in &rows {
            let pixels: Vec<_> = image(*start).iter().map(u8::to_string).collect();
            writeln!(text, "{label},{},PublicTest", pixels.join(" ")).expect("a string");
        }
        let item = |(label, start): &(usize, u8)| {
            (LABELS[*label] as u16, Some(Usage::PublicTest), image(*start))
        };
        let expected: Vec<_> = rows.iter().map(item).collect();
        prop_assert_eq!(parse(text.as_bytes()).map(|items| content(&items)), Ok(expected));
    }
}
