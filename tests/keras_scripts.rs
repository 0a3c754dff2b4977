//! The scripts that made `models/notebook.onnx` and the golden file give the same again, from either Keras file.

mod common;

use std::path::Path;
use std::process::Command;

use common::{keras, keras_file};
use safetensors::SafeTensors;

fn run_script(python: &Path, script: &str, model: &Path, output: &Path) {
    let run = Command::new(python)
        .arg(common::root().join("scripts/keras").join(script))
        .arg(model)
        .arg("-o")
        .arg(output)
        .output()
        .unwrap();
    assert!(run.status.success(), "{script}: {}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn either_keras_file_converts_to_the_same_bytes() {
    let Some(python) = keras() else { return };
    let folder = tempfile::tempdir().unwrap();
    let committed = std::fs::read(common::root().join("models/notebook.onnx")).unwrap();
    for name in ["notebook.keras", "notebook.h5"] {
        let Some(model) = keras_file(name) else { return };
        let output = folder.path().join("again.onnx");
        run_script(&python, "convert.py", &model, &output);
        assert!(
            std::fs::read(&output).unwrap() == committed,
            "{name} converts to other bytes than models/notebook.onnx"
        );
    }
}

#[test]
fn keras_still_gives_the_golden_answers() {
    let (Some(python), Some(model)) = (keras(), keras_file("notebook.keras")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("again.safetensors");
    run_script(&python, "golden.py", &model, &output);
    let (again, committed) = (
        std::fs::read(&output).unwrap(),
        std::fs::read(common::root().join("tests/golden/notebook.safetensors")).unwrap(),
    );
    let (again, committed) = (SafeTensors::deserialize(&again).unwrap(), SafeTensors::deserialize(&committed).unwrap());
    let values = |file: &SafeTensors, name: &str| -> Vec<f32> {
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    // The same bytes on the same kind of processor; another one rounds otherwise in the last digits.
    for (name, tolerance) in [("input", 1e-6), ("probabilities", 1e-5)] {
        let (a, b) = (values(&again, name), values(&committed, name));
        assert_eq!(a.len(), b.len(), "{name}");
        let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= tolerance, "{name} is off by {worst}");
    }
}
#[test]
fn keras_still_trains_as_the_golden_files_say() {
    let (Some(python), Some(model)) = (keras(), keras_file("notebook.keras")) else { return };
    let model = model.as_os_str();
    let scripts = [
        ("training_golden.py", &[model, "--check".as_ref()][..]),
        ("generator_golden.py", &["--check".as_ref()][..]),
        ("quality_golden.py", &["--check".as_ref()][..]),
    ];
    for (script, arguments) in scripts {
        let run = Command::new(&python)
            .arg(common::root().join("scripts/keras").join(script))
            .args(arguments)
            .output()
            .unwrap();
        assert!(run.status.success(), "{script}: {}", String::from_utf8_lossy(&run.stderr));
    }
}
