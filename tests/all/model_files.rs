//! Files that have a model's name and are something else: `convert` and `infer` say what they are,
//! and the one next command.

use std::fs;
use std::io::Write;

use crate::common::{all_right, path, run};

/// A zip of entries of the same short content.
fn zipped(names: &[&str]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in names {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(*name, options).unwrap();
        zip.write_all(b"content").unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn files_by_another_name_are_named_with_the_next_command() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let file = scratch.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, bytes).unwrap();
        file.display().to_string()
    };
    let golden = |name: &str| fs::read(path(&format!("tests/golden/convert/{name}"))).unwrap();
    let folder = |name: &str| scratch.path().join(name).display().to_string();
    let saved_model = b"\x08\x01\x12\x09\x0a\x07model";
    let saved = file("saved/saved_model.pb", saved_model);
    file("keras/saved_model.pb", saved_model);
    file("keras/keras_metadata.pb", b"");
    let js = br#"{"format": "layers-model", "modelTopology": {}, "weightsManifest": []}"#;
    file("js/model.json", js);
    let graph_js = br#"{"format": "graph-model", "modelTopology": {}, "weightsManifest": []}"#;
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 872856\n";
    let h5 = golden("plain.k3.h5");
    let cut_off = format!("cut off: 30000 of {} bytes", h5.len());
    let keras = golden("plain.k3.keras");
    let onnx = fs::read(path("tests/fixtures/tiny.onnx")).unwrap();
    let safetensors = golden("k3.safetensors");
    let tf2onnx = "python -m tf2onnx.convert";
    // file, what it is, the next command of both programs
    let rows: Vec<(String, &str, String)> = vec![
        (
            file("lfs.keras", lfs),
            "a Git LFS pointer to a file of 872856 bytes",
            "git lfs pull".into(),
        ),
        (
            file("cut.h5", &h5[..30000]),
            &cut_off,
            "download it again".into(),
        ),
        (
            file("cut.keras", &keras[..30000]),
            "cut off",
            "download it again".into(),
        ),
        (
            file("empty.h5", b""),
            "is empty",
            "download it again".into(),
        ),
        (
            file("page.h5", b"<!DOCTYPE html><html>"),
            "a web page",
            "download the file itself".into(),
        ),
        (
            folder("keras"),
            "a TensorFlow SavedModel",
            format!("load_model('{}')", folder("keras")),
        ),
        (
            folder("saved"),
            "a TensorFlow SavedModel",
            format!("{tf2onnx} --saved-model {}", folder("saved")),
        ),
        (
            saved,
            "a TensorFlow SavedModel",
            format!("{tf2onnx} --saved-model {}", folder("saved")),
        ),
        (
            file("frozen.pb", b"\x0a\x14\x0a\x05input\x12\x0bPlaceholder"),
            "a frozen TensorFlow graph",
            format!("{tf2onnx} --graphdef"),
        ),
        (
            file("m.tflite", b"\x1c\0\0\0TFL3\0\0\0\0"),
            "a TensorFlow Lite model",
            format!("{tf2onnx} --tflite"),
        ),
        (
            folder("js"),
            "a TensorFlow.js model of Keras layers",
            format!(
                "tensorflowjs_converter --input_format tfjs_layers_model --output_format keras {}/model.json",
                folder("js")
            ),
        ),
        (
            file("graph.json", graph_js),
            "a TensorFlow.js graph model",
            format!("{tf2onnx} --tfjs"),
        ),
        (
            file("m.pth", &zipped(&["m/data.pkl", "m/data/0"])),
            "a PyTorch file",
            "torch.onnx.export".into(),
        ),
        (
            file("m.safetensors", &safetensors),
            "a safetensors file",
            "optimum-cli export onnx".into(),
        ),
        (
            file("m.pkl", b"\x80\x04K\x01."),
            "a Python pickle",
            "as a .keras or ONNX file".into(),
        ),
        (
            file("m.tar.gz", b"\x1f\x8b\x08\0\0\0"),
            "a packed archive",
            "unpack it".into(),
        ),
        (
            file("m.zip", &zipped(&["photo.jpg"])),
            "a packed archive",
            "unpack it".into(),
        ),
        (
            file("m.json", &golden("plain.k3.json")),
            "the configuration of a Keras model",
            "--config".into(),
        ),
    ];
    let image = path("tests/fixtures/images/exif1.jpg");
    let output = folder("out.onnx");
    let mut wrong = Vec::new();
    let mut check = |args: &[&str], kind: &str, next: &str| {
        let run = run(args);
        let says = [kind, next].iter().all(|word| run.stderr.contains(word));
        if run.code != 2 || !says || run.stderr.lines().count() != 1 {
            wrong.push(format!(
                "{args:?} should say '{kind}' and '{next}': {run:?}"
            ));
        }
    };
    for (file, kind, next) in &rows {
        check(&["convert", file, "-o", &output], kind, next);
        check(&["infer", "--model", file, &image], kind, next);
    }
    let onnx = file("m.keras", &onnx);
    check(
        &["convert", &onnx, "-o", &output],
        "an ONNX model",
        &format!("fer infer --model {onnx}"),
    );
    for name in ["plain.k3.h5", "plain.k3.keras"] {
        let keras = path(&format!("tests/golden/convert/{name}"));
        check(
            &["infer", "--model", &keras, &image],
            "a Keras model",
            &format!("fer convert {keras}"),
        );
    }
    all_right(wrong);
}
