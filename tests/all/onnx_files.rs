//! Users' ONNX files through the program: what is refused with a clear word, and what runs.

use crate::common::Dim::{N, Open};
use crate::common::{self, all_right, linear, run};

#[test]
fn damaged_files_and_unknown_operators_end_in_one_clear_line() {
    if common::ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let good = std::fs::read(common::root().join("models/notebook.onnx")).unwrap();
    let gray = [Open, N(1), N(2), N(2)];
    let unknown = linear(&gray, 4, 7, true, |_, _| 0.0).node("Frobnicate", &["output"], "odd", &[]);
    let rows = [
        (
            put("truncated.onnx", &good[..good.len() / 2]),
            "not a whole ONNX file",
        ),
        (put("empty.onnx", b""), "is empty, not an ONNX file"),
        (
            put("text.onnx", b"this is not a model, it is a line of text\n"),
            "not a whole ONNX file",
        ),
        (
            put(
                "image.onnx",
                &std::fs::read(common::root().join("examples/faces/happy.png")).unwrap(),
            ),
            "not a whole ONNX",
        ),
        (
            linear(&[Open, N(4)], 4, 7, true, |_, _| 0.0).write(folder.path(), "rank.onnx"),
            "rank 2",
        ),
        (unknown.write(folder.path(), "unknown.onnx"), "Frobnicate"),
        (
            (0..4)
                .fold(linear(&gray, 4, 7, false, |_, _| 0.0), |m, i| {
                    m.output(&format!("x{i}"), &[Open, N(7)])
                })
                .write(folder.path(), "five.onnx"),
            "5 outputs",
        ),
        (
            folder.path().join("absent.onnx").display().to_string(),
            "is neither a file nor",
        ),
        (
            folder.path().display().to_string(),
            "is a folder, but not a training run",
        ),
    ];
    let mut wrong = Vec::new();
    for (model, word) in &rows {
        let run = run(&["infer", "--model", model, "examples/faces/happy.png"]);
        let lines = run.stderr.lines().count();
        if run.code != 2
            || !run.error().contains(word)
            || !run.error().contains(model.as_str())
            || lines != 1
        {
            wrong.push(format!("{model} should say '{word}' in one line: {run:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn outputs_that_are_no_answer_for_an_image_are_refused() {
    if common::ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let gray = [Open, N(1), N(2), N(2)];
    let weight = |pixel: i64, class: i64| ((pixel * 7 + class * 3) % 5) as f32 - 2.0;
    let logits = || {
        let model = common::ModelBuilder::new();
        let values: Vec<f32> = (0..4 * 7).map(|i| weight(i / 7, i % 7)).collect();
        model
            .input("input", &gray)
            .output("output", &[Open, N(7)])
            .weights("w", &[4, 7], &values)
            .node("Flatten", &["input"], "flat", &[("axis", 1)])
            .node("MatMul", &["flat", "w"], "logits", &[])
    };
    let softmax = |axis| logits().node("Softmax", &["logits"], "output", &[("axis", axis)]);
    let twice = logits()
        .node("Softmax", &["logits"], "p", &[("axis", 1)])
        .node("Add", &["p", "p"], "output", &[]);
    // Over the one channel of each pixel.
    let each = common::ModelBuilder::new()
        .input("input", &gray)
        .output("output", &[Open, N(4)])
        .node("Softmax", &["input"], "ones", &[("axis", 1)])
        .node("Flatten", &["ones"], "output", &[("axis", 1)]);
    let batch = "change with the other images of the batch";
    let rows = [
        (softmax(1), None),
        (softmax(0), Some(batch)),
        (twice, Some("sum to 2 ")),
        (each, Some("sum to 4 ")),
    ];
    let mut wrong = Vec::new();
    for (i, (model, word)) in rows.iter().enumerate() {
        let model = model.write(folder.path(), &format!("{i}.onnx"));
        let all = [
            "infer",
            "--faces",
            "never",
            "--model",
            &model,
            "examples/faces",
        ];
        let found = run(&all);
        let right = match word {
            None => found.code == 0,
            Some(word) => found.code == 2 && found.error().contains(word),
        };
        if !right {
            wrong.push(format!("{model}: {word:?}: {found:?}"));
        }
        // Who says what they are is believed.
        let said = run(&[&all[..], &["--meta", "output=logits", "-q"]].concat());
        if said.code != 0 {
            wrong.push(format!("{model}, said: {said:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn any_classifier_runs_logits_layouts_colors_and_fixed_batches() {
    if common::ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Four 2×2 images whose pixels are all different, so that a wrong order of dimensions shows.
    let mut names = Vec::new();
    for i in 0..5u8 {
        let path = folder.path().join(format!("{i}.png"));
        let pixels: Vec<u8> = (0..12).map(|p| p * 20 + i).collect();
        image::RgbImage::from_raw(2, 2, pixels)
            .unwrap()
            .save(&path)
            .unwrap();
        names.push(path.display().to_string());
    }
    // Class c looks at channel c of the pixel in the upper right corner only.
    let picks =
        |index: [i64; 3]| move |p: i64, c: i64| if index[c as usize] == p { 10.0 } else { 0.0 };
    let rows = [
        (
            "nhwc",
            linear(&[Open, N(2), N(2), N(3)], 12, 3, false, picks([3, 4, 5])),
        ),
        (
            "nchw",
            linear(&[Open, N(3), N(2), N(2)], 12, 3, false, picks([1, 5, 9])),
        ),
        (
            "softmax",
            linear(&[Open, N(3), N(2), N(2)], 12, 3, true, picks([1, 5, 9])),
        ),
        (
            "batch of 2",
            linear(&[N(2), N(3), N(2), N(2)], 12, 3, true, picks([1, 5, 9])),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, model) in rows {
        let file = model.write(folder.path(), &format!("{name}.onnx"));
        let mut args = vec!["infer", "--model", &file, "--format", "json"];
        args.extend(names.iter().map(String::as_str));
        let run = run(&args).expect(0);
        for (i, record) in run.records().iter().enumerate() {
            let logits: Vec<f64> = (3..6)
                .map(|p| (p * 20 + i as i32) as f64 / 255.0 * 10.0)
                .collect();
            let sum: f64 = logits.iter().map(|l| l.exp()).sum();
            for (c, logit) in logits.iter().enumerate() {
                let p = record["probabilities"][format!("class_{c}")]
                    .as_f64()
                    .unwrap();
                if (p - logit.exp() / sum).abs() > 1e-5 {
                    wrong.push(format!(
                        "{name}, image {i}, class {c}: {p} instead of {}",
                        logit.exp() / sum
                    ));
                }
            }
        }
        if !run.stderr.contains("guessed") {
            wrong.push(format!(
                "{name} does not say what it guessed: {}",
                run.stderr
            ));
        }
    }
    all_right(wrong);
}
