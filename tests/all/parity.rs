//! The engines against Keras's recorded predictions, against each other, and against Keras itself.

use crate::common::Dim::{N, Open};
use crate::common::{self, all_right, data, keras, keras_file, linear, ort, run, run_without_ort};
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
        converted.stderr.contains("scales them itself"),
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
