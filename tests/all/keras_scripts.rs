//! The scripts between Keras and `models/notebook.onnx`: there and back without a changed bit, and
//! the golden files as they are.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use crate::common::{Run, keras, keras_file, ort, root, run, script};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use fer::model::{Architecture, load_onnx};
use fer::onnx::proto::{Message, ModelProto};
use safetensors::SafeTensors;

/// The bits of all weights of an ONNX file of the notebook's network, however they are laid out
/// there.
fn weights(onnx: &Path) -> Vec<u32> {
    struct Bits(Vec<u32>);
    impl ModuleVisitor for Bits {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values: Vec<f32> = param.val().into_data().try_to_vec().unwrap();
            self.0.extend(values.iter().map(|v| v.to_bits()));
        }
    }
    let mut bits = Bits(Vec::new());
    load_onnx(
        Architecture::Notebook.init(fer::model::Shape::FER2013, None, 0, &Device::flex()),
        &fer::train::task::Task::default().spec(),
        onnx,
    )
    .unwrap()
    .visit(&mut bits);
    assert_eq!(bits.0.len(), 3_841_543);
    bits.0
}

/// The weights in a `.keras` file: the rest of it has the time in it.
fn stored(keras: &Path) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(keras).unwrap()).unwrap();
    let mut bytes = Vec::new();
    archive
        .by_name("model.weights.h5")
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// `fer convert`.
fn convert(keras: &Path, onnx: &Path) -> Vec<u8> {
    run(&[
        "convert",
        "-q",
        keras.to_str().unwrap(),
        "--crop",
        "square,scale=1.04,upright=15",
        "-o",
        onnx.to_str().unwrap(),
    ])
    .expect(0);
    std::fs::read(onnx).unwrap()
}

#[test]
fn to_keras_and_back_changes_no_bit() {
    let (Some(python), Some(model)) = (keras(), keras_file("notebook.keras")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let committed = root().join("models/notebook.onnx");
    let once = convert(&model, &at("once.onnx"));
    assert!(
        weights(&at("once.onnx")) == weights(&committed),
        "Keras's file has other weights than models/notebook.onnx"
    );
    let bytes = std::fs::read(&committed).unwrap();
    // Of what tf2onnx converted, only the weights can be the same.
    if ModelProto::parse_from_bytes(&bytes).unwrap().producer_name == "fer" {
        assert!(
            once == bytes,
            "`fer convert` of Keras's file is not models/notebook.onnx"
        );
    }
    script(&python, "notebook.py", &at("once.onnx"), folder.path());
    assert!(
        stored(&at("notebook.keras")) == stored(&model),
        "another turn gives other weights"
    );
    assert!(
        std::fs::read(at("notebook.h5")).unwrap()
            == std::fs::read(model.with_extension("h5")).unwrap(),
        "another turn gives another .h5 file"
    );
    assert!(
        convert(&at("notebook.keras"), &at("twice.onnx")) == once,
        "another turn gives another ONNX file"
    );
}

#[test]
fn a_run_of_the_notebooks_network_goes_to_keras() {
    let (Some(python), Some(_)) = (keras(), ort()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = |name: &str| at(name).display().to_string();
    let (faces, out, exported, converted) = (
        text("faces"),
        text("run"),
        text("exported.onnx"),
        text("converted.onnx"),
    );
    run(&["data", "synth", &faces, "--count", "70"]).expect(0);
    let train = [
        "train", "-q", "--preset", "notebook", "--split", "official", "--epochs", "1", "--data",
        &faces,
    ];
    run(&[&train[..], &["--out", &out]].concat()).expect(0);
    run(&[
        "export",
        "-q",
        "--onnx",
        &exported,
        "--checkpoint",
        &text("run/checkpoints/last.ckpt"),
    ])
    .expect(0);
    // It compares Keras's predictions with the file's.
    script(&python, "notebook.py", &at("exported.onnx"), folder.path());
    let bytes = convert(&at("notebook.h5"), &at("converted.onnx"));
    assert!(
        weights(&at("converted.onnx")) == weights(&at("exported.onnx")),
        "Keras's file has other weights"
    );
    assert!(
        bytes == convert(&at("notebook.keras"), &at("again.onnx")),
        "the two files of Keras differ"
    );
    run(&[
        "parity",
        "--reference",
        &out,
        "--candidate",
        &format!("{converted}@ort"),
        "examples/faces",
    ])
    .expect(0);
}

#[test]
fn another_network_is_refused_in_one_line() {
    let Some(python) = keras() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (program, output) = (
        root().join("scripts/keras/notebook.py"),
        folder.path().join("keras"),
    );
    let arguments = [
        program.as_path(),
        &root().join("models/fer.onnx"),
        "-o".as_ref(),
        &output,
    ];
    let refused = Run::of(Command::new(&python).args(arguments).output().unwrap()).expect(2);
    assert!(
        refused
            .error()
            .contains("fer.onnx: not the notebook's network: its"),
        "{}",
        refused.stderr
    );
    assert!(!output.exists());
}

#[test]
fn convert_py_gives_the_same_bytes_of_either_keras_file() {
    let Some(python) = keras() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut converted = Vec::new();
    for name in ["notebook.keras", "notebook.h5"] {
        let Some(model) = keras_file(name) else {
            return;
        };
        let output = folder.path().join("again.onnx");
        script(&python, "convert.py", &model, &output);
        converted.push(std::fs::read(output).unwrap());
    }
    assert!(
        converted[0] == converted[1],
        "the two files of Keras convert to other bytes"
    );
    let committed = weights(&root().join("models/notebook.onnx"));
    assert!(
        weights(&folder.path().join("again.onnx")) == committed,
        "it has other weights than models/notebook.onnx"
    );
}

#[test]
fn keras_still_gives_the_golden_answers() {
    let (Some(python), Some(model)) = (keras(), keras_file("notebook.keras")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("again.safetensors");
    script(&python, "golden.py", &model, &output);
    let (again, committed) = (
        std::fs::read(&output).unwrap(),
        std::fs::read(root().join("tests/golden/notebook.safetensors")).unwrap(),
    );
    let (again, committed) = (
        SafeTensors::deserialize(&again).unwrap(),
        SafeTensors::deserialize(&committed).unwrap(),
    );
    let values = |file: &SafeTensors, name: &str| -> Vec<f32> {
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    };
    // The same bytes on the same kind of processor; another one rounds otherwise in the last
    // digits.
    for (name, tolerance) in [("input", 1e-6), ("probabilities", 1e-5)] {
        let (a, b) = (values(&again, name), values(&committed, name));
        assert_eq!(a.len(), b.len(), "{name}");
        let worst = a
            .iter()
            .zip(&b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(worst <= tolerance, "{name} is off by {worst}");
    }
}

#[test]
fn keras_still_trains_as_the_golden_files_say() {
    let (Some(python), Some(model)) = (keras(), keras_file("notebook.keras")) else {
        return;
    };
    let model = model.as_os_str();
    let scripts = [
        ("training_golden.py", &[model, "--check".as_ref()][..]),
        ("generator_golden.py", &["--check".as_ref()][..]),
        ("quality_golden.py", &["--check".as_ref()][..]),
    ];
    for (script, arguments) in scripts {
        let run = Command::new(&python)
            .arg(root().join("scripts/keras").join(script))
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            run.status.success(),
            "{script}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
    }
}
