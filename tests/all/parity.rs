//! The engines against Keras's recorded predictions, against each other, and against Keras itself.

use crate::common::Dim::{N, Open};
use crate::common::{
    self, Run, all_right, data, fer, keras, keras_file, linear, ort, run, run_without_ort,
};
use std::path::Path;
use std::process::Command;

use fer::onnx::proto::{Message, ModelProto};

#[test]
fn the_compiled_in_model_answers_what_keras_answered() {
    let run = run_without_ort(&["parity"]).expect(0);
    assert!(
        run.stdout
            .contains("notebook@burn against Keras's recorded predictions"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("HOLDS") && !run.stdout.contains("DOES NOT HOLD"),
        "{}",
        run.stdout
    );
    assert!(
        run.stderr.contains("not checked: ONNX Runtime"),
        "{}",
        run.stderr
    );
}

#[test]
fn onnx_runtime_answers_what_keras_answered() {
    if ort().is_none() {
        return;
    }
    let run = run(&["parity", "--json"]).expect(0);
    let checks: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let by_name = |name: &str| {
        checks
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["candidate"] == name)
            .cloned()
    };
    for name in ["notebook@burn", "notebook@ort:cpu"] {
        let check = by_name(name).unwrap_or_else(|| panic!("{name} is missing: {checks}"));
        assert_eq!(check["holds"], true);
        let result = &check["result"];
        assert_eq!(result["images"], result["equal_labels"]);
        assert!(
            result["max_difference"].as_f64().unwrap() < 1e-5,
            "{result}"
        );
    }
}

#[test]
fn two_targets_are_compared_and_a_difference_is_exit_code_1() {
    if ort().is_none() {
        return;
    }
    run(&[
        "parity",
        "--reference",
        "notebook@burn",
        "--candidate",
        "models/notebook.onnx@ort:cpu",
    ])
    .expect(0);
    let same = [
        "--reference",
        "notebook@ort",
        "--candidate",
        "notebook@burn",
        "--data",
        "examples/faces",
    ];
    let held = run(&[&["parity"], &same[..]].concat()).expect(0);
    assert!(held.stdout.contains("labels equal on 7"), "{}", held.stdout);

    let folder = tempfile::tempdir().unwrap();
    let dims = [Open, N(2), N(2), N(1)];
    let weight = |p: i64, c: i64| ((p * 7 + c * 3) % 5) as f32 - 2.0;
    let right = linear(&dims, 4, 7, true, weight).write(folder.path(), "right.onnx");
    let off = |p, c| weight(p, c) + if (p, c) == (1, 2) { 0.01 } else { 0.0 };
    let off = linear(&dims, 4, 7, true, off).write(folder.path(), "off.onnx");
    let lost = run(&["parity", "--reference", &right, "--candidate", &off]).expect(1);
    assert!(
        lost.stdout.contains("DOES NOT HOLD") && lost.stdout.contains("generated image"),
        "{}",
        lost.stdout
    );
    run(&[
        "parity",
        "--reference",
        &right,
        "--candidate",
        &off,
        "--atol",
        "0.1",
    ])
    .expect(0);
    let one_unread = [
        "parity",
        "--reference",
        &right,
        "--candidate",
        &right,
        "examples/faces",
        "README.md",
    ];
    let run = run(&one_unread).expect(0);
    assert!(
        run.stdout.contains("images        7") && run.stdout.contains("no output     1"),
        "{}",
        run.stdout
    );
}

#[test]
fn what_can_not_be_compared_is_exit_code_2() {
    let rows: [(&[&str], &str); 11] = [
        (&["--atol", "nan"], "not a number of 0 or more"),
        (&["--rtol", "inf"], "not a number of 0 or more"),
        (
            &["--reference", "notebook", "--candidate", "notebook", "-"],
            "name files",
        ),
        (&["--reference", "notebook@burn"], "--candidate"),
        (&["examples/faces"], "--reference"),
        (&["--keras", "no.keras", "examples/faces"], "no.keras"),
        (&["--keras", "README.md"], "needs images"),
        (&["--candidate", "notebook@brun"], "auto, ort and burn"),
        (
            &["--reference", "notebook@ort:gpu", "--candidate", "notebook"],
            "is not a provider",
        ),
        (
            &[
                "--reference",
                "notebook@ort:cuda:x",
                "--candidate",
                "notebook",
            ],
            "not a device index",
        ),
        (&["--layers", "--candidate", "notebook"], "--keras"),
    ];
    let mut wrong = Vec::new();
    for (args, word) in rows {
        let run = run(&[&["parity"], args].concat());
        if run.code != 2 || !run.stderr.contains(word) {
            wrong.push(format!("{args:?} should say '{word}': {run:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn a_calibration_is_of_the_answers_shown_and_not_of_the_comparison() {
    if ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dims = [Open, N(1), N(2), N(2)];
    let weight = |p: i64, c: i64| ((p * 7 + c * 3) % 5) as f32 / 4.0;
    let cold = linear(&dims, 4, 7, true, weight).write(folder.path(), "cold.onnx");
    let warm = linear(&dims, 4, 7, true, weight)
        .meta("fer.temperature", "2")
        .meta("fer.exponent", "1.5")
        .write(folder.path(), "warm.onnx");
    run(&[
        "parity",
        "--reference",
        &cold,
        "--candidate",
        &warm,
        "examples/faces",
    ])
    .expect(0);
    let shown = |model: &str, more: &[&str]| {
        run(&[
            &[
                "infer",
                "--format",
                "json",
                "--model",
                model,
                "examples/faces",
            ],
            more,
        ]
        .concat())
        .expect(0)
        .stdout
    };
    assert_ne!(shown(&cold, &[]), shown(&warm, &[]));
    assert_eq!(
        shown(&cold, &[]),
        shown(&warm, &["--meta", "temperature=1"])
    );
    assert_eq!(
        shown(
            &cold,
            &["--meta", "temperature=2", "--meta", "exponent=1.5"]
        ),
        shown(&warm, &[])
    );
    // Each engine shows the default model calibrated.
    let [burn, ort] = ["burn", "ort"].map(|engine| {
        run(&["infer", "--engine", engine, "examples/faces"])
            .expect(0)
            .stdout
    });
    assert_eq!(burn, ort);
}

#[test]
fn keras_itself_agrees_on_drawn_images_of_every_kind() {
    let (Some(_), Some(_), Some(model)) = (ort(), keras(), keras_file("notebook.keras")) else {
        return;
    };
    let model = model.display().to_string();
    let images = ["examples/faces", "tests/fixtures/images"];
    for candidate in ["notebook@burn", "models/notebook.onnx@ort:cpu"] {
        let run = run(&[
            &["parity", "--keras", &model, "--candidate", candidate],
            &images[..],
        ]
        .concat())
        .expect(0);
        assert!(run.stdout.contains("HOLDS"), "{}", run.stdout);
    }
    // Without a candidate, its own conversion.
    let run = run(&["parity", "--layers", "--keras", &model, "examples/faces"]).expect(0);
    assert!(
        run.stdout.contains("as `fer convert` converts it"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("HOLDS") && run.stdout.contains("equal Keras's to within"),
        "{}",
        run.stdout
    );
}

#[test]
fn keras_itself_agrees_on_all_of_public_test() {
    let (Some(_), Some(_), Some(data), Some(model)) =
        (ort(), keras(), data(), keras_file("notebook.keras"))
    else {
        return;
    };
    let (model, images) = (
        model.display().to_string(),
        data.join("test").display().to_string(),
    );
    let run = run(&[
        "parity",
        "--json",
        "--keras",
        &model,
        "--candidate",
        "models/notebook.onnx@ort",
        &images,
    ])
    .expect(0);
    let checks: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let result = &checks[0]["result"];
    assert_eq!(
        (&result["images"], &result["equal_labels"]),
        (&3589.into(), &3589.into()),
        "{result}"
    );
    println!("max |Δ| on PublicTest: {}", result["max_difference"]);
}

/// A small Keras model as people build them today: RGB, the scaling inside the model, another
/// number of classes.
const RESCALING_MODEL: &str = "
import sys, keras
keras.utils.set_random_seed(3)
layers = keras.layers
model = keras.Sequential([
    layers.Input((20, 24, 3)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3, activation='relu'),
    layers.BatchNormalization(), layers.GlobalAveragePooling2D(), layers.Dense(3, \
    activation='softmax'),
])
model.save(sys.argv[1])
";

#[test]
fn a_keras_model_of_ones_own_is_converted_and_agrees() {
    let (Some(_), Some(python)) = (ort(), keras()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (model, onnx) = (path("own.keras"), path("own.onnx"));
    let convert = common::path("scripts/keras/convert.py");
    let steps: [&[&str]; 2] = [
        &["-c", RESCALING_MODEL, &model],
        &[
            &convert,
            &model,
            "-o",
            &onnx,
            "--scale",
            "1",
            "--labels",
            "left,middle,right",
        ],
    ];
    for step in steps {
        let done = std::process::Command::new(&python)
            .args(step)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    // By tf2onnx, and by fer itself, which sees that the model rescales its input.
    let own = path("own_by_fer.onnx");
    let converted = run(&[
        "convert",
        &model,
        "-o",
        &own,
        "--labels",
        "left,middle,right",
    ])
    .expect(0);
    assert!(
        converted.stderr.contains("the model itself scales them"),
        "{}",
        converted.stderr
    );
    for candidate in [&onnx, &own] {
        let check = [
            "parity",
            "--keras",
            &model,
            "--candidate",
            candidate,
            "examples/faces",
            "tests/fixtures/images",
        ];
        let run = run(&check).expect(0);
        assert!(
            run.stdout.contains("HOLDS") && run.stdout.contains("labels equal on 42"),
            "{}",
            run.stdout
        );
    }
}

#[test]
fn the_first_layer_that_departs_from_keras_is_named() {
    let (Some(_), Some(_), Some(model)) = (ort(), keras(), keras_file("notebook.keras")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (model, right, off) = (
        model.display().to_string(),
        path("right.onnx"),
        path("off.onnx"),
    );
    run(&["convert", &model, "-o", &right]).expect(0);
    let mut proto = ModelProto::parse_from_bytes(&std::fs::read(&right).unwrap()).unwrap();
    let kernel = proto
        .graph
        .as_mut()
        .unwrap()
        .initializer
        .iter_mut()
        .find(|t| t.name == "conv2d_2/kernel")
        .unwrap();
    let doubled = kernel
        .raw_data
        .chunks_exact(4)
        .flat_map(|b| (f32::from_le_bytes([b[0], b[1], b[2], b[3]]) * 2.0).to_le_bytes());
    kernel.raw_data = doubled.collect::<Vec<u8>>().into();
    std::fs::write(&off, proto.write_to_bytes().unwrap()).unwrap();

    let parity = |candidate: &str| {
        run(&[
            "parity",
            "--layers",
            "--keras",
            &model,
            "--candidate",
            candidate,
            "examples/faces",
        ])
    };
    let held = parity(&right).expect(0);
    assert!(
        held.stdout.contains("HOLDS") && held.stdout.contains("equal Keras's to within"),
        "{}",
        held.stdout
    );
    let lost = parity(&off).expect(1);
    assert!(
        lost.stdout.contains("conv2d_2 is the first"),
        "{}",
        lost.stdout
    );
    proto
        .metadata_props
        .retain(|entry| entry.key != fer::convert::LAYERS);
    std::fs::write(&off, proto.write_to_bytes().unwrap()).unwrap();
    let foreign = parity(&off).expect(2);
    assert!(
        foreign
            .error()
            .contains("`fer convert` writes files that do"),
        "{}",
        foreign.error()
    );
}

/// Runs a Python program on a folder.
#[track_caller]
fn python(program: &str, folder: &Path) {
    let Some(python) = keras() else { return };
    let done = Command::new(python)
        .args(["-c", program])
        .arg(folder)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Models with heads of every kind, and one that only Keras 2 can load.
const HEADS: &str = "
import os, sys
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
import keras, tf_keras

def save(k, name, *layers):
    layers = [k.layers.Input((24, 20, 1)), *layers, k.layers.GlobalMaxPooling2D()]
    return lambda *head: k.Sequential([*layers, *head]).save(os.path.join(sys.argv[1], name))

keras.utils.set_random_seed(3)
conv = lambda k: k.layers.Conv2D(6, 3, activation='relu')
dense = keras.layers.Dense
save(keras, 'sigmoids.keras', conv(keras))(dense(7, activation='sigmoid'))
save(keras, 'one_sigmoid.keras', conv(keras))(dense(1, activation='sigmoid'))
save(keras, 'logits.keras', conv(keras))(dense(7, kernel_initializer='random_normal', bias_initializer='random_normal'))
save(keras, 'one_logit.keras', conv(keras))(dense(1, bias_initializer=keras.initializers.Constant(-2)))
save(tf_keras, 'keras2.h5', tf_keras.layers.DepthwiseConv2D(3))(tf_keras.layers.Dense(7, activation='softmax'))
";

/// A file with other metadata.
fn with_metadata(from: &str, key: &str, value: &str, to: &str) {
    let mut proto = ModelProto::parse_from_bytes(&std::fs::read(from).unwrap()).unwrap();
    for entry in proto
        .metadata_props
        .iter_mut()
        .filter(|entry| entry.key == key)
    {
        entry.value = value.into();
    }
    std::fs::write(to, proto.write_to_bytes().unwrap()).unwrap();
}

#[test]
fn every_kind_of_head_is_compared_with_what_predict_returns() {
    let (Some(_), Some(interpreter)) = (ort(), keras()) else {
        return;
    };
    let has = Command::new(interpreter)
        .args(["-c", "import tf_keras"])
        .output()
        .unwrap();
    if !has.status.success() {
        common::skip::<()>("keras", "FER_PYTHON has no tf-keras");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    python(HEADS, folder.path());
    let at = |name: &str| folder.path().join(name).display().to_string();
    run(&[
        "convert",
        "-q",
        &at("sigmoids.keras"),
        "-o",
        &at("sigmoids.onnx"),
    ])
    .expect(0);
    with_metadata(
        &at("sigmoids.onnx"),
        "fer.output",
        "logits",
        &at("as_logits.onnx"),
    );
    let rows: [(&str, Option<&str>, bool, &str); 6] = [
        (
            "sigmoids.keras",
            None,
            true,
            "not shown     that the training had this input",
        ),
        ("one_sigmoid.keras", None, true, "class_"),
        ("logits.keras", None, true, "compared      logits"),
        ("one_logit.keras", None, true, "compared      logits"),
        ("keras2.h5", None, true, "HOLDS"),
        (
            "sigmoids.keras",
            Some("as_logits.onnx"),
            false,
            "conflict      Keras's outputs lie in",
        ),
    ];
    let mut wrong = Vec::new();
    for (model, candidate, holds, said) in rows {
        let mut args = vec!["parity".to_string(), "--keras".into(), at(model)];
        args.extend(
            candidate
                .map(|c| [String::from("--candidate"), at(c)])
                .into_iter()
                .flatten(),
        );
        args.push("examples/faces".into());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let run = run(&args);
        let found = !run.stdout.contains("DOES NOT HOLD") && run.stdout.contains("HOLDS");
        let legacy = run.stderr.contains("; tf-keras ") == model.starts_with("keras2");
        if found != holds || run.code != i32::from(!holds) || !run.stdout.contains(said) || !legacy
        {
            wrong.push(format!("{model} as {candidate:?}: {run:?}"));
        }
    }
    all_right(wrong);
}

/// A head that is sharp on small differences of its features, so that rounding shows.
const SHARP: &str = "
import os, sys
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
import glob, keras, numpy as np
from PIL import Image
L = keras.layers
keras.utils.set_random_seed(4)
image = L.Input((48, 48, 1))
x = image
for n, bias in [(16, 0), (32, 0), (32, 0), (32, 3)]:
    x = L.Conv2D(n, 3, strides=2, activation='relu', padding='same', kernel_initializer='he_normal',
                 bias_initializer=keras.initializers.Constant(bias))(x)
x = L.GlobalAveragePooling2D()(x)
faces = [Image.open(path).convert('L').resize((48, 48), 0) for path in sorted(glob.glob('FACES/*.png'))]
pixels = np.stack([np.asarray(face) for face in faces]).reshape(-1, 48, 48, 1)
features = keras.Model(image, x).predict(pixels.astype(np.float32) * np.float32(1 / 255), verbose=0)
head = L.Dense(7, activation='softmax', name='head')
model = keras.Model(image, head(x))
kernel = np.random.default_rng(5).normal(0, 1, (32, 7))
kernel *= 10 / ((features - features.mean(0)) @ kernel).std()
head.set_weights([kernel, -features.mean(0) @ kernel])
model.save(os.path.join(sys.argv[1], 'sharp.keras'))
";

#[test]
fn rounding_of_a_sharp_head_is_no_difference_and_a_small_error_is() {
    let (Some(_), Some(_)) = (ort(), keras()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    python(
        &SHARP.replace("FACES", &common::path("examples/faces")),
        folder.path(),
    );
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (model, right, off) = (at("sharp.keras"), at("right.onnx"), at("off.onnx"));
    run(&["convert", "-q", &model, "-o", &right]).expect(0);
    let mut proto = ModelProto::parse_from_bytes(&std::fs::read(&right).unwrap()).unwrap();
    let kernels = proto.graph.as_mut().unwrap().initializer.iter_mut();
    let kernel = kernels
        .into_iter()
        .find(|t| t.name.ends_with("conv2d_2/kernel"))
        .unwrap();
    let value = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]) * 1.001;
    let scaled = kernel
        .raw_data
        .chunks_exact(4)
        .flat_map(|b| value(b).to_le_bytes());
    kernel.raw_data = scaled.collect::<Vec<u8>>().into();
    std::fs::write(&off, proto.write_to_bytes().unwrap()).unwrap();
    // No tolerance but the error of Keras's own arithmetic.
    let parity = |candidate: &str| {
        run(&[
            "parity",
            "--json",
            "--atol",
            "1e-9",
            "--rtol",
            "0",
            "--keras",
            &model,
            "--candidate",
            candidate,
            "examples/faces",
        ])
    };
    let error = |run: &Run| -> f64 {
        let checks: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        println!("{}", checks[0]["result"]);
        checks[0]["keras"]["float32_error"].as_f64().unwrap()
    };
    let held = parity(&right).expect(0);
    assert!((1e-9..1e-3).contains(&error(&held)), "{}", held.stdout);
    let lost = parity(&off).expect(1);
    assert!((1e-9..1e-3).contains(&error(&lost)), "{}", lost.stdout);
}

#[test]
fn modules_that_the_python_lacks_are_named_with_the_command_that_installs_them() {
    let (Some(_), Some(interpreter), Some(model)) = (ort(), keras(), keras_file("notebook.keras"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("bare");
    let make = ["-m", "venv", "--without-pip"];
    assert!(
        Command::new(interpreter)
            .args(make)
            .arg(&bare)
            .status()
            .unwrap()
            .success()
    );
    let bare = bare.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let mut command = fer();
    command
        .env("FER_PYTHON", &bare)
        .args(["parity", "--keras"])
        .arg(model);
    let refused = Run::of(command.arg("examples/faces").output().unwrap()).expect(2);
    let last = refused.error();
    for word in [
        "lacks the modules h5py, keras, numpy, PIL, safetensors, tensorflow",
        "-m pip install h5py keras numpy pillow safetensors tensorflow`",
    ] {
        assert!(
            last.starts_with("fer: error: ") && last.contains(word),
            "{}",
            refused.stderr
        );
    }
}
