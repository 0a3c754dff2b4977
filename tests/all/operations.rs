//! Keras models with operations between their layers predict what Keras predicts, whatever the
//! operation and the order of the axes; outputs and sizes are chosen; what can't be converted is
//! said once for each class.
//!
//! `scripts/keras/operation_goldens.py` made `tests/golden/operations/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{self, all_right, keras, keras_file_of, ort, path, root, run};
use crate::convert::on_ort;
use fer::convert::{ConvertOptions, convert};
use fer::spec::Layout;
use safetensors::SafeTensors;
use serde_json::json;

/// How far a value may be from Keras's, in proportion to itself where it is over 1.
const TOLERANCE: f32 = 1e-5;

fn folder() -> PathBuf {
    root().join("tests/golden/operations")
}

fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let bytes = tensors.tensor(name).unwrap().data();
    let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    bytes.chunks_exact(4).map(float).collect()
}

/// What is wrong with the predictions for one output of a model in a folder, as a file of a layout.
fn compare(
    folder: &Path,
    file: &str,
    output: &str,
    layout: Layout,
    tensors: &SafeTensors<'_>,
    onnx: &Path,
) -> Result<(), String> {
    let images = tensors.tensor(&format!("{file}/images")).unwrap();
    let expected = floats(tensors, &format!("{file}/{output}"));
    let [a, b, c] = images.shape()[1..] else {
        panic!("{file}")
    };
    let first = file.starts_with("channels_first");
    let (width, height) = if first { (c, b) } else { (b, a) };
    let classes = expected.len() / 2;
    let options = ConvertOptions {
        labels: Some((0..classes).map(|i| i.to_string()).collect()),
        layout: Some(layout),
        output: (output != "output").then(|| output.to_string()),
        size: file.starts_with("any_size").then_some([width, height]),
        ..ConvertOptions::default()
    };
    let converted = convert(&folder.join(file), None, &options).map_err(|e| e.to_string())?;
    std::fs::write(onnx, &converted.onnx).unwrap();
    let mut input = floats(tensors, &format!("{file}/images"));
    if (layout == Layout::Nchw) != first {
        let (outer, inner) = if first { (a, b * c) } else { (a * b, c) };
        let turned = |image: &[f32]| -> Vec<f32> {
            (0..inner)
                .flat_map(|i| (0..outer).map(move |o| (i, o)))
                .map(|(i, o)| image[o * inner + i])
                .collect()
        };
        input = input.chunks_exact(a * b * c).flat_map(turned).collect();
    }
    let found = on_ort(onnx)?
        .forward(&input, 2)
        .map_err(|e| e.to_string())?;
    let pairs = found.iter().zip(&expected).enumerate();
    let off: Vec<(usize, f32, f32)> = pairs
        .filter(|(_, (a, b))| {
            (**a - **b).abs().is_nan() || (**a - **b).abs() > TOLERANCE * b.abs().max(1.0)
        })
        .map(|(i, (a, b))| (i % classes, *a, *b))
        .collect();
    match (found.len() == expected.len(), off.first()) {
        (true, None) => Ok(()),
        (_, first) => Err(format!(
            "{} of {} values are off, the first (index, found, expected): {first:?}",
            off.len(),
            expected.len()
        )),
    }
}

/// What is wrong with the predictions of the models in a folder of goldens, in both layouts, for
/// the outputs that `chosen` takes by name; there are at least `least`.
pub fn mismatches(folder: &Path, least: usize, chosen: impl Fn(&str) -> bool) -> Vec<String> {
    let name = folder.file_name().unwrap();
    let bytes = std::fs::read(folder.join(name).with_extension("safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut names: Vec<&str> = tensors.names().into_iter().collect();
    names.retain(|name| !name.ends_with("/images") && chosen(name));
    names.sort_unstable();
    assert!(names.len() >= least, "models are missing: {names:?}");
    let mut wrong = Vec::new();
    for name in names {
        let (file, output) = name.split_once('/').unwrap();
        for layout in [Layout::Nhwc, Layout::Nchw] {
            let onnx = scratch.path().join("model.onnx");
            let result = compare(folder, file, output, layout, &tensors, &onnx);
            wrong.extend(result.err().map(|e| format!("{name} as {layout}: {e}")));
        }
    }
    wrong
}

#[test]
fn every_operation_predicts_what_keras_predicts() {
    if ort().is_some() {
        all_right(mismatches(&folder(), 19, |name| !name.ends_with("/age")));
    }
}

#[test]
fn a_model_that_scales_pixels_by_operations_gets_them_as_they_are() {
    let rows = [
        ("preprocess_tf.k3.keras", 1.0),
        ("preprocess_torch.k3.keras", 1.0),
        ("preprocess_caffe.k3.keras", 1.0),
        ("preprocess_caffe.k2.h5", 1.0),
        ("cbam.k3.keras", 1.0 / 255.0),
    ];
    let mut wrong = Vec::new();
    for (file, scale) in rows {
        let options = ConvertOptions::default();
        match convert(&folder().join(file), None, &options) {
            Ok(found) if found.spec.input.scale == scale => {}
            Ok(found) => wrong.push(format!("{file}: scale {}", found.spec.input.scale)),
            Err(e) => wrong.push(e.to_string()),
        }
    }
    all_right(wrong);
}

/// A `.keras` file of a functional model on images of 4 × 4 pixels, with layers in a chain.
fn chain(file: &Path, layers: &[(&str, &str, serde_json::Value)]) -> String {
    let shape = json!([null, 4, 4, 3]);
    let mut all = vec![
        json!({"module": "keras.layers", "class_name": "InputLayer", "name": "in",
        "config": {"batch_shape": shape, "name": "in"}, "inbound_nodes": []}),
    ];
    let mut before = "in";
    for (name, class, config) in layers {
        let tensor = json!({"class_name": "__keras_tensor__",
            "config": {"keras_history": [before, 0, 0]}});
        let module = if config["args"].is_array() {
            "keras.src.ops.numpy"
        } else {
            "keras.layers"
        };
        let mut args = vec![tensor];
        args.extend(config["args"].as_array().into_iter().flatten().cloned());
        all.push(
            json!({"module": module, "class_name": class, "name": name, "config": config,
            "inbound_nodes": [{"args": args, "kwargs": {}}]}),
        );
        before = name;
    }
    let model = json!({"module": "keras", "class_name": "Functional", "config": {"name": "chain",
        "layers": all, "input_layers": ["in", 0, 0], "output_layers": [before, 0, 0]}});
    keras_file_of(file, &model)
}

#[test]
fn what_is_refused_or_must_be_chosen_is_said_in_one_line() {
    let scratch = tempfile::tempdir().unwrap();
    let [several, any_size] = ["several.k3.keras", "any_size.k3.keras"]
        .map(|name| path(&format!("tests/golden/operations/{name}")));
    let model = |name: &str, layers: &[(&str, &str, serde_json::Value)]| {
        chain(&scratch.path().join(name), layers)
    };
    let op = |args: serde_json::Value| json!({"args": args});
    let code =
        json!({"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAAAAAAA"}}});
    let unknown = model(
        "unknown.keras",
        &[
            ("a", "Lambda", code.clone()),
            ("b", "Corrcoef", op(json!([]))),
            ("c", "Lambda", code),
            ("d", "Corrcoef", op(json!([]))),
        ],
    );
    let over_batch = model(
        "batch.keras",
        &[("m", "Mean", json!({"args": [], "axis": null}))],
    );
    let of_batch = model("of.keras", &[("g", "GetItem", op(json!([0])))]);
    let reshaped = model(
        "reshaped.keras",
        &[("r", "Reshape", json!({"args": [], "newshape": [-1, 8]}))],
    );
    let many = model(
        "many.keras",
        &[(
            "u",
            "Repeat",
            json!({"args": [], "repeats": 1e14, "axis": 1}),
        )],
    );
    // arguments, words that the message has, words that it has not
    let rows: Vec<(Vec<&str>, Vec<&str>, Vec<&str>)> = vec![
        (
            vec![&several],
            vec!["3 outputs: emotion, smile, age", "--output-name"],
            vec![],
        ),
        (
            vec![&several, "--output-name", "gender"],
            vec!["no output 'gender', but emotion, smile, age"],
            vec![],
        ),
        (
            vec![&several, "--output-name", "age"],
            vec!["LSTM", "lstm"],
            vec!["Dense"],
        ),
        (
            vec![&any_size],
            vec!["images of any size", "--size"],
            vec![],
        ),
        (
            vec![&any_size, "--size", "0x4"],
            vec!["'0x4' is not a size"],
            vec![],
        ),
        (
            vec![&several, "--output-name", "smile", "--size", "9"],
            vec!["5x6 pixels (width x height), not 9x9", "--size 5x6"],
            vec![],
        ),
        (
            vec![&unknown],
            vec!["4 of its layers", "): a, c; Corrcoef (", "): b, d"],
            vec!["4wEAAAAAAAAA"],
        ),
        (
            vec![&over_batch],
            vec!["m (Mean)", "mix the images of a batch"],
            vec![],
        ),
        (vec![&of_batch], vec!["images out of the batch"], vec![]),
        (vec![&reshaped], vec!["mix the images of a batch"], vec![]),
        (vec![&many], vec!["its repeats do not fit"], vec![]),
    ];
    let output = scratch.path().join("out.onnx").display().to_string();
    let mut wrong = Vec::new();
    for (args, words, others) in rows {
        let run = run(&[&["convert"], &args[..], &["-o", &output]].concat());
        let has = |word: &&str| run.stderr.contains(*word);
        if run.code != 2 || !words.iter().all(has) || others.iter().any(has) {
            wrong.push(format!("{args:?} should say {words:?}: {run:?}"));
        }
    }
    all_right(wrong);
    run(&[
        "convert",
        "-q",
        &several,
        "--output-name",
        "emotion",
        "-o",
        &output,
    ])
    .expect(0);
    run(&["convert", "-q", &any_size, "--size", "9x7", "-o", &output]).expect(0);
    let file = fer::onnx::OnnxModel::read(Path::new(&output)).unwrap();
    let spec = fer::spec::ModelSpec::resolve(&file.header, &Default::default(), "m").unwrap();
    assert_eq!((spec.input.width, spec.input.height), (9, 7));
}

#[test]
fn the_smallest_of_each_family_of_keras_applications_predicts_what_keras_predicts() {
    let (Some(_), Some(python)) = (ort(), keras()) else {
        return;
    };
    let done = Command::new(python)
        .arg(root().join("scripts/keras/applications.py"))
        .args(["--smallest", "--fer", env!("CARGO_BIN_EXE_fer")])
        .output()
        .unwrap();
    let done = common::Run::of(done).expect(0);
    assert_eq!(done.stdout.lines().count(), 14, "{}", done.stdout);
}

#[test]
fn random_models_predict_what_keras_predicts() {
    let (Some(_), Some(python)) = (ort(), keras()) else {
        return;
    };
    let done = Command::new(python)
        .arg(root().join("scripts/fuzz-convert"))
        .args(["--seeds", "30", "--fer", env!("CARGO_BIN_EXE_fer")])
        .output()
        .unwrap();
    common::Run::of(done).expect(0);
}
