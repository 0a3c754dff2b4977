//! `fer eval --corruptions` through the binary, on drawn faces: its figures do not depend on what
//! else is measured, its reports agree with each other, and what it can't do is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::common::{Run, all_right, run};
use fer::eval::{Corruption, Severity};
use fer::images::read;
use serde_json::Value;
use tempfile::TempDir;

/// Drawn faces: 14 of them validate.
fn data() -> &'static Path {
    static DATA: OnceLock<TempDir> = OnceLock::new();
    DATA.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        run(&[
            "data",
            "synth",
            &folder.path().join("faces").display().to_string(),
            "--count",
            "140",
        ])
        .expect(0);
        folder
    })
    .path()
}

fn faces() -> PathBuf {
    data().join("faces")
}

/// Evaluates the built-in model on faces.
fn eval(faces: &Path, more: &[&str]) -> Run {
    let faces = faces.display().to_string();
    run(&[
        &["eval", "-q", "--engine", "burn", "--data", &faces][..],
        more,
    ]
    .concat())
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stdout))
}

/// The accuracies by corruption.
fn rows(report: &Value) -> BTreeMap<String, Value> {
    let rows = report["robustness"]["corruptions"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            (
                row["name"].as_str().unwrap().to_string(),
                row["accuracy"].clone(),
            )
        })
        .collect()
}

#[test]
fn some_corruptions_give_the_figures_of_all() {
    let plain = json(&eval(&faces(), &["--format", "json"]).expect(0));
    let all = json(&eval(&faces(), &["--format", "json", "--corruptions"]).expect(0));
    let keys = |v: &Value| {
        v.as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(keys(&all), format!("{} robustness", keys(&plain)));
    assert_eq!(
        keys(&all["robustness"]),
        "clean mean lost by_severity corruptions"
    );
    assert_eq!(
        keys(&all["robustness"]["corruptions"][0]),
        "name accuracy mean"
    );
    let names: Vec<_> = all["robustness"]["corruptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["name"].clone())
        .collect();
    assert_eq!(names, Corruption::ALL.map(Corruption::name));
    // The figures of the images as they are stay what they are without corruptions, in any digit.
    let mut clean = all.clone();
    clean.as_object_mut().unwrap().remove("robustness");
    assert_eq!(clean, plain);
    assert_eq!(all["robustness"]["clean"], plain["accuracy"]);

    let all = rows(&all);
    let mut wrong = Vec::new();
    for names in ["noise", "jpeg,shift", "rotation, crop", "equalization"] {
        let some = rows(&json(
            &eval(&faces(), &["--format", "json", "--corruptions", names]).expect(0),
        ));
        assert_eq!(some.len(), names.split(',').count(), "{names}");
        for (name, accuracy) in some
            .into_iter()
            .filter(|(name, accuracy)| all[name] != *accuracy)
        {
            wrong.push(format!("{name} of {names}: {accuracy}, not {}", all[&name]));
        }
    }
    all_right(wrong);
}

/// What is measured is the corrupted images: written as files, and evaluated as they are, they give
/// the same accuracy.
#[test]
fn corrupted_images_as_files_give_the_same_accuracy() {
    let corruptions = [
        Corruption::Noise,
        Corruption::Rotation,
        Corruption::Pixelation,
    ];
    let names = corruptions.map(Corruption::name).join(",");
    let measured = rows(&json(
        &eval(&faces(), &["--format", "json", "--corruptions", &names]).expect(0),
    ));
    let mut wrong = Vec::new();
    for corruption in corruptions {
        let folder = tempfile::tempdir().unwrap();
        for class in fs::read_dir(faces().join("test"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            let to = folder.path().join(class.file_name().unwrap());
            fs::create_dir(&to).unwrap();
            for file in fs::read_dir(&class)
                .unwrap()
                .map(|entry| entry.unwrap().path())
            {
                let name = file.file_name().unwrap().to_str().unwrap();
                // Another path: the file name alone decides.
                if name.starts_with("PublicTest") {
                    let pixels = corruption
                        .apply(Severity::Three, &read(&file).unwrap(), name)
                        .unwrap();
                    let (width, height) = (pixels.width as u32, pixels.height as u32);
                    image::save_buffer(
                        to.join(name),
                        &pixels.data,
                        width,
                        height,
                        image::ColorType::L8,
                    )
                    .unwrap();
                }
            }
        }
        let files = json(&eval(folder.path(), &["--format", "json"]).expect(0));
        let expected = &measured[corruption.name()][2];
        if files["images"] != 14 || files["accuracy"] != *expected {
            wrong.push(format!(
                "{corruption}: {} of {} images, not {expected}",
                files["accuracy"], files["images"]
            ));
        }
    }
    all_right(wrong);
}

#[test]
fn neither_the_folder_nor_batches_nor_threads_matter() {
    let more = [
        "--format",
        "json",
        "--corruptions",
        "noise,brightness,gamma,crop,shift,rotation",
    ];
    let figures = |faces: &Path, others: &[&str]| {
        rows(&json(
            &eval(faces, &[&more[..], &["--part", "all"], others].concat()).expect(0),
        ))
    };
    let test = faces().join("test");
    let expected = figures(&test, &[]);
    assert!(
        expected.values().any(|row| row[0] != row[2]),
        "{expected:?}"
    );
    let moved = tempfile::tempdir().unwrap();
    let copy = moved.path().join("other/test");
    fs::create_dir_all(&copy).unwrap();
    for class in fs::read_dir(&test)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let to = copy.join(class.file_name().unwrap());
        fs::create_dir(&to).unwrap();
        for file in fs::read_dir(&class)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }
    let rows = [
        ("moved", figures(&copy, &[])),
        ("under test/", figures(&moved.path().join("other"), &[])),
        ("small batches", figures(&test, &["--batch-size", "5"])),
        ("one thread", figures(&test, &["--threads", "1"])),
    ];
    all_right(
        rows.iter()
            .filter(|(_, r)| *r != expected)
            .map(|(what, r)| format!("{what}: {r:?}"))
            .collect(),
    );
}

#[test]
fn text_and_markdown_show_the_figures_of_json() {
    let more = ["--corruptions", "gamma,blur", "--tta", "flip"];
    let report = json(&eval(&faces(), &[&more[..], &["--format", "json"]].concat()).expect(0));
    let [text, markdown] = ["text", "markdown"].map(|f| {
        eval(&faces(), &[&more[..], &["--format", f]].concat())
            .expect(0)
            .stdout
    });
    let percent = |v: &Value| format!("{:.1} %", 100.0 * v.as_f64().unwrap());
    let mut wrong = Vec::new();
    let robustness = &report["robustness"];
    let named = robustness["corruptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["name"].clone(), &r["accuracy"], &r["mean"]));
    for (name, accuracy, mean) in named.chain([(
        Value::from("mean"),
        &robustness["by_severity"],
        &robustness["mean"],
    )]) {
        let figures: Vec<String> = accuracy
            .as_array()
            .unwrap()
            .iter()
            .chain([mean])
            .map(percent)
            .collect();
        let name = name.as_str().unwrap();
        let row = format!("| {name} | {} |", figures.join(" | "));
        if !markdown.lines().any(|line| line == row) {
            wrong.push(format!("Markdown has no line {row}"));
        }
        let cells: Vec<&str> = [name]
            .into_iter()
            .chain(figures.iter().flat_map(|f| f.split(' ')))
            .collect();
        if !text
            .lines()
            .any(|line| line.split_whitespace().collect::<Vec<_>>() == cells)
        {
            wrong.push(format!("the text has no line of {cells:?}"));
        }
    }
    all_right(wrong);
    assert!(
        text.contains("\nblur") && text.find("\nblur") < text.find("\ngamma"),
        "in their own order: {text}"
    );
}

#[test]
fn corruptions_are_drawn_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let png = folder.path().join("c.png").display().to_string();
    eval(
        &faces(),
        &["--corruptions", "blur", "--corruptions-plot", &png],
    )
    .expect(0);
    assert!(fs::read(&png).unwrap().starts_with(b"\x89PNG"));
    let unknown = eval(&faces(), &["--corruptions", "blur,fog"]).expect(2);
    for name in ["'fog'"]
        .into_iter()
        .chain(Corruption::ALL.map(Corruption::name))
    {
        assert!(unknown.stderr.contains(name), "{name}: {}", unknown.stderr);
    }
    let alone = eval(&faces(), &["--corruptions-plot", &png]).expect(2);
    assert!(alone.stderr.contains("--corruptions"), "{}", alone.stderr);

    let sheet = folder.path().join("sheet.png").display().to_string();
    let faces = faces().display().to_string();
    run(&[
        "data",
        "preview",
        &faces,
        "-o",
        &sheet,
        "--count",
        "2",
        "--corruptions",
        "shift,noise",
    ])
    .expect(0);
    let sheet = read(Path::new(&sheet)).unwrap();
    // Two rows of eight images.
    assert!(
        sheet.width > 8 * 96 && sheet.width < 10 * 120 && sheet.height > 2 * 96,
        "{}x{}",
        sheet.width,
        sheet.height
    );
    run(&[
        "data",
        "preview",
        &faces,
        "-o",
        &png,
        "--corruptions",
        "--preset",
        "vgg",
    ])
    .expect(2);
}

/// JPEG holds no side of 70,000 pixels: that image is counted where it can be, and said.
#[test]
fn an_image_that_can_not_be_corrupted_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let faces = folder.path().join("faces");
    run(&[
        "data",
        "synth",
        &faces.display().to_string(),
        "--count",
        "70",
    ])
    .expect(0);
    image::save_buffer(
        faces.join("test/sad/PublicTest_00001.png"),
        &[90; 70_000],
        70_000,
        1,
        image::ColorType::L8,
    )
    .unwrap();
    let partly = eval(&faces, &["--corruptions", "jpeg,gamma", "--format", "json"]).expect(1);
    assert!(
        partly
            .stderr
            .contains("3 corrupted images are not counted, the first of "),
        "{}",
        partly.stderr
    );
    assert!(
        partly
            .stderr
            .contains("PublicTest_00001.png: can't be made a JPEG"),
        "{}",
        partly.stderr
    );
    assert_eq!(json(&partly)["images"], 7);
}

/// A model whose classes are the data's in another order is measured by their names.
#[test]
fn classes_in_another_order_are_found_by_name() {
    let measured = |labels: &[&str]| {
        let labels = format!("labels={}", serde_json::json!(labels));
        eval(
            &faces(),
            &["--part", "all", "--format", "json", "--meta", &labels],
        )
    };
    let own = [
        "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
    ];
    let plain = json(&measured(&own).expect(0));
    // The same outputs, the last two under each other's names: the confusion matrix's last two
    // columns are exchanged.
    let exchanged = json(
        &measured(&[
            "angry", "disgust", "fear", "happy", "neutral", "surprise", "sad",
        ])
        .expect(0),
    );
    let mut expected = plain["confusion"].clone();
    expected
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .for_each(|row| row.as_array_mut().unwrap().swap(5, 6));
    assert_eq!(exchanged["confusion"], expected);
    assert_ne!(exchanged["confusion"], plain["confusion"]);
    let names = |report: &Value| {
        report["classes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["label"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&exchanged), own);
    // Another word for an emotion is its name.
    let words = measured(&[
        "anger", "disgust", "fear", "joy", "neutral", "surprise", "sadness",
    ]);
    assert_eq!(json(&words.expect(0)), exchanged);
    let other = measured(&["a", "b", "c", "d", "e", "f", "g"]).expect(2);
    assert!(
        other
            .error()
            .contains("the model's classes are a, b, c, d, e, f, g, the data's angry"),
        "{}",
        other.error()
    );
}
