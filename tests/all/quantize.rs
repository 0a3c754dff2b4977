//! `fer quantize` through the program: what it keeps, what it writes, and what it refuses.

use std::fs;
use std::path::Path;

use crate::common::{self, Run, all_right, data, ort, path, run, run_without_ort};
use fer::data::synth::synth;
use fer::onnx::OnnxModel;
use fer::spec::EMOTIONS;

/// A folder with drawn faces: 160 for training, 40 others.
fn drawn() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    synth(&folder.path().join("faces"), 200, 0, &|| {}).unwrap();
    folder
}

fn quantize(model: &str, data: &Path, target: &Path, more: &[&str]) -> Run {
    let (data, target) = (data.display().to_string(), target.display().to_string());
    run(&[
        &["quantize", model, "--data", &data, "-o", &target][..],
        more,
    ]
    .concat())
}

/// Options of a quick run that refuses nothing.
const QUICK: [&str; 8] = [
    "--images",
    "64",
    "--ranges",
    "least-error",
    "--max-changed",
    "1",
    "--max-loss-rise",
    "9",
];

/// `n` of the images of each class of FER-2013's training images and PublicTest.
fn part_of(all: &Path, n: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["train", "test"] {
        for class in EMOTIONS {
            let target = folder.path().join(part).join(class);
            fs::create_dir_all(&target).unwrap();
            let files = fs::read_dir(all.join(part).join(class)).unwrap();
            let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
            files.sort();
            for file in files.iter().rev().take(n) {
                fs::copy(file, target.join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    folder
}

#[test]
fn the_default_model_keeps_its_labels() {
    let (Some(all), Some(_)) = (data(), ort()) else {
        return;
    };
    let folder = part_of(&all, 50);
    let target = folder.path().join("fer.int8.onnx");
    let run = quantize(
        "models/fer.onnx",
        folder.path(),
        &target,
        &["--images", "128"],
    )
    .expect(0);
    assert!(
        run.stderr.contains("10 of 11 layers in 8 bits"),
        "{}",
        run.stderr
    );
    assert!(fs::metadata(&target).unwrap().len() < 2_000_000);
    // What was said is what is measured.
    let [float, quantized] = [path("models/fer.onnx"), target.display().to_string()].map(|model| {
        let data = folder.path().display().to_string();
        let args = [
            "eval", "-q", "--model", &model, "--engine", "ort", "--data", &data,
        ];
        let report = common::run(&[&args[..], &["--format", "json"]].concat())
            .expect(0)
            .stdout;
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        (
            report["accuracy"].as_f64().unwrap() * 100.0,
            report["loss"].as_f64().unwrap(),
        )
    });
    for said in [
        format!("accuracy {:.2} → {:.2} %", float.0, quantized.0),
        format!("cross-entropy {:.4} → {:.4}", float.1, quantized.1),
    ] {
        assert!(run.stderr.contains(&said), "{said}\n{}", run.stderr);
    }
}

#[test]
fn a_file_has_the_metadata_of_its_model() {
    if ort().is_none() {
        return;
    }
    let folder = drawn();
    let target = folder.path().join("fer.int8.onnx");
    let images = folder.path().join("faces");
    let run = quantize("models/fer.onnx", &images, &target, &QUICK).expect(0);
    assert!(
        run.stderr.contains("10 of 11 layers in 8 bits"),
        "{}",
        run.stderr
    );
    let read = |path: &Path| OnnxModel::read(path).unwrap().header.metadata;
    let (old, new) = (read(Path::new(&path("models/fer.onnx"))), read(&target));
    // What is measured of the file, and the calibration, are its own.
    let own = [
        "temperature",
        "exponent",
        "validation.accuracy",
        "validation.images",
    ];
    let lost: Vec<_> = old
        .iter()
        .filter(|(key, _)| !own.iter().any(|own| **key == format!("fer.{own}")))
        .filter(|(key, value)| new.get(*key) != Some(value))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(new["fer.quantized"], "int8 (QDQ), 10 of 11 layers");
    assert_eq!(new["fer.quantized.images"], "64");

    // ONNX Runtime runs it, and nothing else does.
    let model = target.display().to_string();
    let face = "examples/faces/happy.png";
    let record = common::run(&["infer", "--model", &model, "--format", "json", face]).expect(0);
    assert!(record.stderr.contains("on ort cpu"), "{}", record.stderr);
    assert_eq!(
        record.records()[0]["faces"][0]["label"],
        "happy",
        "{}",
        record.stdout
    );
    let burn = common::run(&["infer", "--model", &model, "--engine", "burn", face]).expect(2);
    assert!(
        burn.error().contains("not one of the compiled-in models"),
        "{}",
        burn.stderr
    );
    let without = run_without_ort(&["infer", "--model", &model, face]).expect(2);
    assert!(
        without.error().contains("needs ONNX Runtime"),
        "{}",
        without.stderr
    );

    // It is not quantized twice.
    let again = quantize(&model, &images, &folder.path().join("again.onnx"), &QUICK).expect(2);
    assert!(
        again.error().contains("is quantized already"),
        "{}",
        again.stderr
    );
}

#[test]
fn a_path_that_can_t_be_written_is_said_before_the_work() {
    let target = Path::new("no/such/folder/a.onnx");
    let run = quantize("models/fer.onnx", Path::new("no/data"), target, &[]).expect(2);
    let error = run.error();
    assert!(
        error.contains("can't write no/such/folder/a.onnx (--output)"),
        "{error}"
    );
}

#[test]
fn a_file_that_loses_too_much_is_not_written() {
    if ort().is_none() {
        return;
    }
    let folder = drawn();
    let (images, target) = (folder.path().join("faces"), folder.path().join("int8.onnx"));
    fs::write(&target, "it was here before").unwrap();
    // Ranges that leave out half of the values.
    let coarse = ["--images", "32", "--ranges", "percentile:50"];
    let rows = [
        (
            ["--max-changed", "0", "--max-loss-rise", "9"],
            "--max-changed allows 0.00 %",
        ),
        (
            ["--max-changed", "100%", "--max-loss-rise", "0"],
            "--max-loss-rise allows 0",
        ),
    ];
    let mut wrong = Vec::new();
    for (limits, expected) in rows {
        let run = quantize(
            "models/fer.onnx",
            &images,
            &target,
            &[&coarse[..], &limits].concat(),
        );
        let error = run.error().to_string();
        if run.code != 1 || !error.contains(expected) || !error.contains("no file was written") {
            wrong.push(format!("{limits:?}: {} {error}", run.code));
        }
    }
    all_right(wrong);
    assert_eq!(fs::read_to_string(&target).unwrap(), "it was here before");
}

#[test]
fn a_converted_model_and_images_without_labels() {
    if ort().is_none() {
        return;
    }
    let folder = drawn();
    let flat = folder.path().join("flat");
    fs::create_dir(&flat).unwrap();
    for (i, class) in EMOTIONS.iter().enumerate() {
        let files = fs::read_dir(folder.path().join("faces/train").join(class)).unwrap();
        for file in files.map(|file| file.unwrap().path()) {
            let name = format!("{i}_{}", file.file_name().unwrap().display());
            fs::copy(&file, flat.join(name)).unwrap();
        }
    }
    let mut wrong = Vec::new();
    for name in [
        "plain",
        "mini_xception",
        "separable",
        "grouped",
        "channels_first",
    ] {
        let float = folder.path().join(format!("{name}.onnx"));
        let keras = path(&format!("tests/golden/convert/{name}.k3.keras"));
        let float_name = float.display().to_string();
        common::run(&["convert", &keras, "-o", &float_name, "-q"]).expect(0);
        let target = folder.path().join(format!("{name}.int8.onnx"));
        let run = quantize(&float_name, &flat, &target, &QUICK);
        let said = "the model's own answers are the reference";
        if run.code != 0 || !run.stderr.contains(said) || !run.stderr.contains("layers in 8 bits") {
            wrong.push(format!("{name}: {} {}", run.code, run.stderr));
            continue;
        }
        let target = target.display().to_string();
        let face = "examples/faces/happy.png";
        let [a, b] = [&float_name, &target].map(|model| {
            common::run(&[
                "infer", "--model", model, "--faces", "never", "--format", "json", face,
            ])
            .expect(0)
            .records()
        });
        let keys = |records: &[serde_json::Value]| records[0]["probabilities"].clone();
        let (a, b) = (keys(&a), keys(&b));
        let off = a
            .as_object()
            .into_iter()
            .flatten()
            .map(|(label, p)| (p.as_f64().unwrap() - b[label].as_f64().unwrap_or(9.0)).abs());
        let off = off.fold(0.0, f64::max);
        if off.is_nan() || off >= 0.1 || a.as_object().is_none() {
            wrong.push(format!("{name}: a probability is off by {off}: {a} {b}"));
        }
    }
    all_right(wrong);
}

#[test]
fn what_cannot_be_quantized_is_said_in_one_line() {
    if ort().is_none() {
        return;
    }
    let folder = drawn();
    let images = folder.path().join("faces");
    let target = folder.path().join("int8.onnx");
    let open = common::Dim::Open;
    let sizes = [
        open,
        common::Dim::N(1),
        common::Dim::N(2),
        common::Dim::N(2),
    ];
    let dense = common::linear(&sizes, 4, 7, true, |_, _| 0.0);
    let rows = [
        (
            path("tests/golden/onnx/quantized_softmax.onnx"),
            "is quantized already",
        ),
        (
            dense.write(folder.path(), "dense.onnx"),
            "has no layer to quantize",
        ),
        (
            path("tests/golden/convert/plain.k3.keras"),
            "not an ONNX file",
        ),
        (
            folder.path().join("none.onnx").display().to_string(),
            "is neither a file nor",
        ),
    ];
    let mut wrong = Vec::new();
    for (model, expected) in rows {
        let run = quantize(&model, &images, &target, &QUICK);
        let lines = run
            .stderr
            .lines()
            .filter(|line| line.contains("error"))
            .count();
        if run.code != 2 || lines != 1 || !run.error().contains(expected) {
            wrong.push(format!("{model}: {} {}", run.code, run.stderr));
        }
    }
    let nowhere = quantize(
        "models/fer.onnx",
        &folder.path().join("none"),
        &target,
        &QUICK,
    );
    if nowhere.code != 2 {
        wrong.push(format!("no data: {}", nowhere.stderr));
    }
    let itself = folder.path().join("fer.onnx");
    fs::copy(path("models/fer.onnx"), &itself).unwrap();
    let run = quantize(&itself.display().to_string(), &images, &itself, &QUICK);
    if run.code != 2 || !run.error().contains("is an input of this command") {
        wrong.push(format!("itself: {} {}", run.code, run.stderr));
    }
    all_right(wrong);
    assert!(!target.exists());
    let images = images.display().to_string();
    let target = target.display().to_string();
    let args = [
        "quantize",
        "models/fer.onnx",
        "--data",
        &images,
        "-o",
        &target,
    ];
    let run = run_without_ort(&args).expect(2);
    assert!(
        run.error().contains("fer runtime install"),
        "{}",
        run.stderr
    );
}
