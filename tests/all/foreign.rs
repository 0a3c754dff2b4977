//! ONNX files of other tools: what their outputs are is found out by running them, other types are
//! cast, other tools' names are read, and what is guessed is said to be a guess.
//!
//! `scripts/keras/onnx_goldens.py` made `tests/golden/onnx`, with onnxruntime's answers.

use std::collections::BTreeMap;

use crate::common::Dim::{N, Open};
use crate::common::{all_right, linear, ort, path, root, run};

/// How a record follows from the outputs.
#[derive(Clone, Copy, PartialEq)]
enum Read {
    AsTheyAre,
    Softmax,
    One,
    OneLogit,
}

impl Read {
    fn record(self, outputs: &[f64]) -> Vec<f64> {
        let softmax = |logits: &[f64]| {
            let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = logits.iter().map(|z| (z - max).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.iter().map(|p| p / sum).collect()
        };
        match self {
            Self::AsTheyAre => outputs.to_vec(),
            Self::Softmax => softmax(outputs),
            Self::One => vec![1.0 - outputs[0], outputs[0]],
            Self::OneLogit => softmax(&[0.0, outputs[0]]),
        }
    }
}

/// The probabilities of each face, in the order of the classes.
fn records(model: &str, more: &[&str]) -> (Vec<Vec<f64>>, String) {
    let args = [
        "infer",
        "--faces",
        "never",
        "--format",
        "json",
        "--model",
        model,
        "examples/faces",
    ];
    let run = run(&[&args[..], more].concat()).expect(0);
    let values = |record: &serde_json::Value| {
        let object = record["probabilities"].as_object().unwrap();
        object.values().map(|v| v.as_f64().unwrap()).collect()
    };
    (run.records().iter().map(values).collect(), run.stderr)
}

#[test]
fn what_the_outputs_are_is_found_out() {
    if ort().is_none() {
        return;
    }
    let text = std::fs::read_to_string(root().join("tests/golden/onnx/answers.json")).unwrap();
    let answers: BTreeMap<String, Vec<Vec<f64>>> = serde_json::from_str(&text).unwrap();
    let by_running = "found by running it on 6 images of noise";
    let probabilities = &format!("output probabilities ({by_running})");
    let rows: [(&str, Read, &str); 16] = [
        (
            "softmax",
            Read::AsTheyAre,
            "output probabilities (its last operator is Softmax)",
        ),
        (
            "logits",
            Read::Softmax,
            &format!("output logits ({by_running})"),
        ),
        ("softmax_by_hand", Read::AsTheyAre, probabilities),
        (
            "quantized_softmax",
            Read::AsTheyAre,
            "output probabilities (its last operator is Softmax)",
        ),
        ("clipped_softmax", Read::AsTheyAre, probabilities),
        ("mean_of_softmaxes", Read::AsTheyAre, probabilities),
        ("joined_classes", Read::AsTheyAre, probabilities),
        (
            "sigmoids",
            Read::AsTheyAre,
            "output scores (its last operator is Sigmoid)",
        ),
        ("quantized_sigmoids", Read::AsTheyAre, "do not sum to 1"),
        (
            "sigmoids_by_hand",
            Read::AsTheyAre,
            &format!("output scores ({by_running})"),
        ),
        (
            "one_sigmoid",
            Read::One,
            "output probability (its last operator is Sigmoid)",
        ),
        (
            "one_logit",
            Read::OneLogit,
            &format!("output logit ({by_running})"),
        ),
        ("half", Read::AsTheyAre, "pixels × 1/255"),
        (
            "uint8_nhwc",
            Read::AsTheyAre,
            "pixels of 0..255, RGB (its input takes whole numbers)",
        ),
        (
            "ultralytics",
            Read::AsTheyAre,
            "it's joy, neutral, sad (from the metadata `names`)",
        ),
        (
            "two_outputs",
            Read::AsTheyAre,
            "the only one that ends in Softmax",
        ),
    ];
    assert_eq!(answers.len(), rows.len(), "a model has no row");
    let mut wrong = Vec::new();
    for (name, read, said) in rows {
        // The golden images were resized so; Ultralytics' metadata means another way.
        let nearest = ["--meta", "resize=nearest"];
        let (found, stderr) = records(&path(&format!("tests/golden/onnx/{name}.onnx")), &nearest);
        let tolerance = if name == "half" { 2e-3 } else { 1e-5 };
        for (i, (found, outputs)) in found.iter().zip(&answers[name]).enumerate() {
            let expected = read.record(outputs);
            let near = found
                .iter()
                .zip(&expected)
                .all(|(a, b)| (a - b).abs() < tolerance);
            if found.len() != expected.len() || !near {
                wrong.push(format!(
                    "{name}, face {i}: {found:?} instead of {expected:?}"
                ));
            }
        }
        if found.len() != answers[name].len() || !stderr.contains(said) {
            wrong.push(format!("{name} should say '{said}': {stderr}"));
        }
    }
    all_right(wrong);
}

#[test]
fn outputs_that_show_nothing_are_said_to_be_a_guess() {
    if ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dims = [Open, N(1), N(2), N(2)];
    let constant = |name: &str, value: f32| {
        // Every image times zero, plus a row that looks like probabilities.
        let mut row = vec![0.0; 7];
        row[3] = value;
        let mut model = linear(&dims, 4, 7, false, |_, _| 0.0)
            .weights("row", &[7], &row)
            .node("Add", &["output", "row"], "last", &[]);
        model.proto.graph.mut_or_insert_default().output[0].name = "last".into();
        model.write(folder.path(), name)
    };
    let mut wrong = Vec::new();
    for (name, value, code) in [("constant.onnx", 1.0, 0), ("nan.onnx", f32::NAN, 1)] {
        let model = constant(name, value);
        let run = run(&["infer", "--model", &model, "examples/faces/happy.png"]);
        let guess = run.stderr.lines().find(|line| line.contains("guessed"));
        if run.code != code || !guess.is_some_and(|line| line.contains("output logits (its last")) {
            wrong.push(format!("{name}: {run:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn guesses_are_said_with_both_orders_of_the_names_and_how_to_set_them() {
    if ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = path("tests/golden/onnx/softmax.onnx");
    let guess = |more: &[&str]| {
        let (_, stderr) = records(&model, more);
        let line = stderr
            .lines()
            .find(|line| line.contains("guessed, because nothing states it"));
        line.unwrap_or_default().to_string()
    };
    let all = guess(&[]);
    for word in [
        "angry, disgust, fear, happy, neutral, sad, surprise (the order of folders",
        "fer2013.csv is angry, disgust, fear, happy, sad, surprise, neutral",
        "pixels × 1/255, RGB",
        "resize nearest, as Keras",
        "--meta labels=",
        "--meta scale=",
    ] {
        assert!(all.contains(word), "{word}: {all}");
    }
    let set = ["--meta", "labels=a,b,c,d,e,f,g", "--meta", "preprocess=tf"];
    assert!(!guess(&set).contains("classes") && !guess(&set).contains("pixels"));
    assert_eq!(
        guess(&[&set[..], &["--meta", "resize=nearest"]].concat()),
        ""
    );

    // Names beside the file.
    let copy = |name: &str| {
        let to = folder.path().join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&model, &to).unwrap();
        to.display().to_string()
    };
    let beside = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    let order = |stderr: &str, from: &str| {
        let said =
            format!("classes surprise, sad, neutral, happy, fear, disgust, angry (from {from})");
        assert!(stderr.contains(&said), "{said}: {stderr}");
    };
    beside(
        "class_indices.json",
        r#"{"angry": 6, "disgust": 5, "fear": 4, "happy": 3, "neutral": 2, "sad": 1, "surprise": 0}"#,
    );
    order(&records(&copy("m.onnx"), &[]).1, "class_indices.json");
    std::fs::remove_file(folder.path().join("class_indices.json")).unwrap();
    beside(
        "config.json",
        r#"{"id2label": {"0": "surprise", "1": "sad", "2": "neutral", "3": "happy", "4": "fear",
            "5": "disgust", "6": "angry"}}"#,
    );
    beside(
        "preprocessor_config.json",
        r#"{"do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}"#,
    );
    let (found, stderr) = records(&copy("onnx/model.onnx"), &[]);
    order(&stderr, "`id2label` of config.json");
    assert!(
        stderr.contains("(pixels × 1/255 − 0.5) / 0.5, RGB (from preprocessor_config.json)"),
        "{stderr}"
    );
    let (same, _) = records(
        &model,
        &["--meta", "preprocess=tf", "--meta", "resize=antialias"],
    );
    let pairs = found.concat().into_iter().zip(same.concat());
    assert!(
        pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-3),
        "{found:?} {same:?}"
    );
}

#[test]
fn a_mean_beside_a_model_that_does_not_fit_it_is_an_error() {
    if ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = linear(&[Open, N(3), N(2), N(2)], 12, 7, true, |_, _| 0.1);
    let model = model.write(folder.path(), "model.onnx");
    let beside = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    beside("config.json", r#"{"id2label": {"0": "a"}}"#);
    let mean = |mean: &str| {
        beside(
            "preprocessor_config.json",
            &format!(r#"{{"image_mean": {mean}}}"#),
        );
        run(&[
            "infer",
            "--model",
            &model,
            "--faces",
            "never",
            "examples/faces/sad.png",
        ])
    };
    let fits = mean("0.5").expect(0).stderr;
    assert!(fits.contains("pixels × 1/255 − 0.5"), "{fits}");
    let error = mean("[0.5, 0.5]").expect(2);
    assert!(error.error().contains("'mean' is '[0.5,0.5]'"), "{error:?}");
    assert!(
        error.error().contains("preprocessor_config.json"),
        "{error:?}"
    );
}

#[test]
fn several_outputs_are_named_where_none_can_be_chosen() {
    if ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = linear(&[Open, N(1), N(2), N(2)], 4, 7, false, |p, c| {
        (p + c) as f32
    })
    .node("Flatten", &["input"], "features", &[])
    .output("features", &[Open, N(4)])
    .write(folder.path(), "two.onnx");
    let refused = run(&["infer", "--model", &model, "examples/faces"]).expect(2);
    for word in ["output [N, 7], features [N, 4]", "--meta output_name=NAME"] {
        assert!(refused.error().contains(word), "{}", refused.stderr);
    }
    let chosen = |meta: &str| records(&model, &["--meta", meta]).0[0].len();
    assert_eq!(
        (chosen("output_name=features"), chosen("output_name=output")),
        (4, 7)
    );
    assert_eq!(
        (chosen("labels=a,b,c,d"), chosen("labels=a,b,c,d,e,f,g")),
        (4, 7)
    );
}
