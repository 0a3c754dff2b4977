//! `fer2013.csv` and files like it, as pictures to classify.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{path, root, run};

/// The example faces' pixels as a field of a CSV file, by their names, 48×48.
fn faces() -> Vec<(&'static str, String)> {
    let faces = [
        "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
    ];
    let pixels = |face: &str| {
        let file = root().join(format!("examples/faces/{face}.png"));
        let pixels = fer::images::read(&file).unwrap().into_gray();
        // Every fourth pixel of 192×192.
        let rows = pixels.data.chunks(pixels.width).skip(2).step_by(4);
        let values = rows.flat_map(|row| row.iter().skip(2).step_by(4));
        values.map(u8::to_string).collect::<Vec<_>>().join(" ")
    };
    faces.map(|face| (face, pixels(face))).to_vec()
}

fn write(path: &Path, lines: &[String]) -> String {
    fs::write(path, lines.join("\n")).unwrap();
    path.display().to_string()
}

/// The competition's file with the example faces.
fn fer2013(path: &Path) -> String {
    let numbers = [0, 1, 2, 3, 6, 4, 5];
    let mut lines = vec!["emotion,pixels,Usage".to_string()];
    for ((_, pixels), number) in faces().iter().zip(numbers) {
        lines.push(format!("{number},{pixels},PrivateTest"));
    }
    write(path, &lines)
}

fn records(code: i32, paths: &[&str]) -> Vec<Value> {
    let usual = ["infer", "-q", "--engine", "burn", "--format", "json"];
    run(&[&usual, paths].concat()).expect(code).records()
}

#[test]
fn the_images_of_a_csv_file_are_classified() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let csv = fer2013(&at("fer2013.csv"));
    let found = records(0, &[&csv, &path("examples/faces/happy.png")]);
    assert_eq!(found.len(), 8);
    assert_eq!(found[0]["path"], format!("{csv}:2"));
    assert_eq!(found[6]["path"], format!("{csv}:8"));
    // As files of the same pixels.
    let mut files = Vec::new();
    for (face, pixels) in faces() {
        let mut pgm = String::from("P2\n48 48\n255\n");
        pixels
            .split(' ')
            .for_each(|value| writeln!(pgm, "{value}").unwrap());
        files.push(write(&at(&format!("{face}.pgm")), &[pgm]));
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    for (of_csv, of_file) in found.iter().zip(records(0, &files)) {
        let probability = |record: &Value| record["faces"][0]["confidence"].as_f64().unwrap();
        assert_eq!(of_csv["faces"][0]["label"], of_file["faces"][0]["label"]);
        assert!((probability(of_csv) - probability(&of_file)).abs() < 1e-5);
    }
    // The pictures of its faces are named by file and line.
    let crops = at("crops").display().to_string();
    let usual = ["infer", "-q", "--engine", "burn", "--faces", "always"];
    run(&[&usual[..], &["--crops", &crops, &csv]].concat()).expect(0);
    assert!(Path::new(&crops).is_dir());
    // Its labels are not needed, and its name does not matter.
    let pixels: Vec<String> = faces().into_iter().map(|(_, pixels)| pixels).collect();
    let bare = write(
        &at("test.TSV"),
        &[&["pixels".to_string()][..], &pixels].concat(),
    );
    let bare = records(0, &[&bare]);
    assert_eq!(bare.len(), 7);
    assert_eq!(bare[3]["faces"][0]["label"], found[3]["faces"][0]["label"]);
}

#[test]
fn a_wrong_line_is_a_record_and_a_wrong_file_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let image = vec!["7"; 48 * 48].join(" ");
    let lines = [
        "emotion,pixels,Usage",
        &format!("0,{image},Training"),
        "3,1 2 3,Training",
        "",
        "3,1 2 300,Training",
        &format!("0,{image}"),
        "-- no image here",
        &format!("no label,{image},no usage"),
        "-- 7 rows",
        ",,",
    ];
    let csv = write(&at("a.csv"), &lines.map(String::from));
    let found = records(1, &[&csv]);
    let seen: Vec<(&str, &str)> = found
        .iter()
        .map(|record| {
            let path = record["path"].as_str().unwrap();
            let line = path.rsplit_once(':').unwrap().1;
            (line, record["error"].as_str().unwrap_or_default())
        })
        .collect();
    let expected = [
        ("2", ""),
        ("3", "there are 3 pixels"),
        ("5", "pixel 3 is '300'"),
        ("6", "the line has 2 columns, the header 3"),
        ("7", "the line has 1 columns, the header 3"),
        ("8", ""),
    ];
    assert_eq!(seen.len(), expected.len(), "{seen:?}");
    for ((line, error), (at, said)) in seen.iter().zip(expected) {
        assert_eq!(*line, at);
        assert!(error.starts_with(said) && error.is_empty() == said.is_empty());
    }

    let rows = [
        (
            "answers.csv",
            "path,label,confidence\na.png,sad,0.5\n",
            "no column 'pixels' in the header (path,label,confidence); a CSV file of images has one",
        ),
        (
            "empty.csv",
            "",
            "holds no images; it takes a header emotion,pixels,Usage",
        ),
        ("header.csv", "emotion,pixels\n", "holds no images"),
        (
            "page.csv",
            "<!DOCTYPE html><html></html>",
            "a web page (HTML)",
        ),
        ("mark.csv", "\u{feff}", "holds no images"),
    ];
    for (name, text, said) in rows {
        let csv = write(&at(name), &[text.to_string()]);
        let found = records(1, &[&csv]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["path"], csv);
        assert!(
            found[0]["error"].as_str().unwrap().contains(said),
            "{found:?}"
        );
    }
    // A line that never ends is not read into memory.
    let long = format!("pixels\n{image}\n{}", "1 ".repeat(3 << 20));
    let found = records(1, &[&write(&at("long.csv"), &[long])]);
    assert_eq!(found.len(), 2);
    assert!(
        found[1]["error"].as_str().unwrap().contains("over 4 MiB"),
        "{found:?}"
    );
}

#[test]
fn engines_are_compared_on_a_csv_file() {
    let folder = tempfile::tempdir().unwrap();
    let csv = fer2013(&folder.path().join("fer2013.csv"));
    let parity = |data: &str| {
        let usual = ["parity", "--json", "--reference", "fer@burn", "--candidate"];
        let run = run(&[&usual[..], &["fer@burn:flex", "--data", data]].concat()).expect(0);
        let checks: Value = serde_json::from_str(&run.stdout).unwrap();
        checks[0]["result"]["images"].clone()
    };
    assert_eq!(parity(&csv), 7);
    #[cfg(feature = "shards")]
    assert_eq!(parity("tests/golden/shards"), 14);

    let keras = path("tests/golden/convert");
    let keras = fs::read_dir(keras)
        .unwrap()
        .flatten()
        .map(|file| file.path());
    let mut keras = keras.filter(|path| path.extension().is_some_and(|e| e == "keras"));
    let keras = keras.next().unwrap().display().to_string();
    let refused = run(&["parity", "--keras", &keras, &csv]).expect(2);
    assert!(
        refused.error().contains("Keras reads image files"),
        "{refused:?}"
    );
}

#[cfg(feature = "shards")]
#[test]
fn records_of_a_csv_file_are_written_as_parquet() {
    let folder = tempfile::tempdir().unwrap();
    let csv = fer2013(&folder.path().join("fer2013.csv"));
    let output = folder.path().join("a.parquet");
    let output = output.display().to_string();
    let usual = ["infer", "-q", "--engine", "burn", "-o", &output, &csv];
    run(&usual).expect(0);
    run(&[&usual[..], &["--resume"]].concat()).expect(0);
    let bytes = fs::read(&output).unwrap();
    let name = b"fer2013.csv:8";
    assert!(bytes.windows(name.len()).any(|window| window == name));
}
