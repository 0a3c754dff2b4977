//! Keras's rarer layers predict what Keras predicts; layers that can't be converted are named, with
//! what to do.
//!
//! `scripts/keras/layer_goldens.py` made `tests/golden/layers/`.

use std::path::Path;

use crate::common::{all_right, keras_file_of, ort, root, run};
use crate::operations::mismatches;
use serde_json::{Value, json};

#[test]
fn every_layer_predicts_what_keras_predicts() {
    if ort().is_some() {
        all_right(mismatches(&root().join("tests/golden/layers"), 19, |_| {
            true
        }));
    }
}

/// A `.keras` file of a sequential model of `layers` on color images of 4 × 4 pixels, with three
/// classes.
fn model(file: &Path, layers: &[(&str, Value)]) -> String {
    let input = json!({"batch_shape": [null, 4, 4, 3], "name": "in"});
    let mut all = vec![json!({"class_name": "InputLayer", "config": input})];
    for (number, (class, config)) in layers.iter().enumerate() {
        let mut config = config.clone();
        config["name"] = json!(format!("layer_{number}"));
        all.push(json!({"class_name": class, "config": config}));
    }
    let pool = json!({"name": "pool"});
    all.push(json!({"class_name": "GlobalAveragePooling2D", "config": pool}));
    let config = json!({"class_name": "Sequential", "config": {"name": "s", "layers": all}});
    keras_file_of(file, &config)
}

/// The code of `lambda x: x / 255.0`, compiled by Python 3.11.
const DIVIDES: &str = "4wEAAAAAAAAAAAAAAAIAAAADAAAA8wwAAACXAHwAZAF6CwAAUwApAk5nAAAAAADgb0CpACkB2gF4cwEA\
                       AAAg+gg8c3RyaW5nPvoIPGxhbWJkYT5yBQAAAAEAAABzCgAAAIAAiCGIRYkngADzAAAAAA==";

/// As [`DIVIDES`], of `lambda x: x * x`.
const SQUARES: &str = "4wEAAAAAAAAAAAAAAAIAAAADAAAA8wwAAACXAHwAfAB6BQAAUwApAU6pACkB2gF4cwEAAAAg+gg8c3\
                      RyaW5nPvoIPGxhbWJkYT5yBQAAAAEAAABzCgAAAIAAiCGIYYklgADzAAAAAA==";

#[test]
fn layers_that_can_not_be_converted_say_what_to_do() {
    let scratch = tempfile::tempdir().unwrap();
    let model = |name: &str, layers: &[(&str, Value)]| model(&scratch.path().join(name), layers);
    let function =
        |code: &str| json!({"function": {"class_name": "__lambda__", "config": {"code": code}}});
    let int4 = json!({"units": 3, "dtype": {"class_name": "Int4DTypePolicy",
        "config": {"mode": "int4/128", "source_name": "float32"}}});
    let divides = model("divides.keras", &[("Lambda", function(DIVIDES))]);
    let other = model("other.keras", &[("Lambda", function(SQUARES))]);
    let named = model(
        "named.keras",
        &[(
            "Dense",
            json!({"units": 3, "activation": function(DIVIDES)["function"]}),
        )],
    );
    let int4 = model("int4.keras", &[("Dense", int4)]);
    let crop = model(
        "crop.keras",
        &[("RandomCrop", json!({"height": 2, "width": 2}))],
    );
    let contrast = model("contrast.keras", &[("AutoContrast", json!({}))]);
    let aspect =
        json!({"height": 2, "width": 2, "crop_to_aspect_ratio": true, "pad_to_aspect_ratio": true});
    let aspect = model("aspect.keras", &[("Resizing", aspect)]);
    let huge = model(
        "huge.keras",
        &[("Resizing", json!({"height": 9_000_000, "width": 2}))],
    );
    let labels = ["--labels", "a,b,c"];
    // arguments, words that the message has
    let rows: Vec<(Vec<&str>, Vec<&str>)> = vec![
        (
            vec![&divides],
            vec!["a Python function", "Rescaling(", "--scale 1/255"],
        ),
        (
            vec![&divides, "--scale", "1"],
            vec!["a Python function", "--scale 1/255"],
        ),
        (
            vec![&other],
            vec!["a Python function", "layers or keras.ops"],
        ),
        (vec![&named], vec!["Dense", "activation __lambda__"]),
        (
            vec![&int4],
            vec!["quantized to int4", "before model.quantize()"],
        ),
        (vec![&crop], vec!["RandomCrop", "CenterCrop"]),
        (vec![&contrast], vec!["AutoContrast", "not supported"]),
        (vec![&aspect], vec!["both crops and pads"]),
        (vec![&huge], vec!["too large for an image classifier"]),
    ];
    let output = scratch.path().join("out.onnx").display().to_string();
    let mut wrong = Vec::new();
    for (args, words) in rows {
        let run = run(&[&["convert"], &args[..], &labels, &["-o", &output]].concat());
        let says = words.iter().all(|word| run.stderr.contains(word));
        if run.code != 2 || !says || run.stderr.contains(&DIVIDES[..20]) {
            wrong.push(format!("{args:?} should say {words:?}: {run:?}"));
        }
    }
    all_right(wrong);
    let left_out = [
        &["convert", &divides, "--scale", "1/255"],
        &labels[..],
        &["-o", &output],
    ];
    let left_out = run(&left_out.concat()).expect(0);
    assert!(left_out.stderr.contains("layer_0"), "{}", left_out.stderr);
    let file = fer::onnx::OnnxModel::read(Path::new(&output)).unwrap();
    let spec = fer::spec::ModelSpec::resolve(&file.header, &Default::default(), "m").unwrap();
    assert_eq!(spec.input.scale, 1.0 / 255.0);
}
