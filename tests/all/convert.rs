//! Keras models converted to ONNX: small models of every layer and option, saved by real Keras of
//! two lines, answer what Keras answered; the notebook model equals its conversion by tf2onnx; and
//! what can't be converted is named.
//!
//! `scripts/keras/convert_goldens.py` made `tests/golden/convert/`.

use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use crate::common::{self, all_right, data, keras, keras_file, ort, path, root, run};
use fer::classifier::Classifier;
use fer::convert::{ConvertOptions, Converted, convert, convert_bytes};
use fer::ort::{Provider, ProviderOptions};
use fer::runtime::Host;
use fer::spec::{Field, Layout, OutputKind};
use fer::{Backend, LoadOptions, ModelRef, compiled, load};
use safetensors::SafeTensors;

/// How far an answer may be from Keras's, in proportion to the largest of the answers where that is
/// over 1.
const TOLERANCE: f32 = 1e-5;

fn folder() -> PathBuf {
    root().join("tests/golden/convert")
}

/// A saved model, and what Keras answered for it.
struct Golden {
    file: PathBuf,
    config: Option<PathBuf>,
    /// `plain.k3.keras`
    name: String,
    /// `[3, …]` in the order of the Keras model, 0..=1.
    input: Vec<f32>,
    /// `[3, classes]`
    answers: Vec<f32>,
    classes: usize,
    channels_first: bool,
}

/// Every saved model.
fn goldens() -> Vec<Golden> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "keras" || e == "h5"));
    files.sort();
    assert!(files.len() > 35, "models are missing: {}", files.len());
    let read =
        |version: &str| std::fs::read(folder().join(format!("{version}.safetensors"))).unwrap();
    let (k2, k3) = (read("k2"), read("k3"));
    let (k2, k3) = (
        SafeTensors::deserialize(&k2).unwrap(),
        SafeTensors::deserialize(&k3).unwrap(),
    );
    let golden = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut parts = name.split('.');
        let (model, version) = (parts.next().unwrap(), parts.next().unwrap());
        let tensors = if version == "k2" { &k2 } else { &k3 };
        let pixels = tensors.tensor(&format!("{model}/pixels")).unwrap();
        let answers = tensors.tensor(&format!("{model}/answers")).unwrap();
        let alone = name.contains("weights") || name.contains("legacy");
        Golden {
            file: file.clone(),
            config: alone.then(|| folder().join(format!("{model}.{version}.json"))),
            input: pixels
                .data()
                .iter()
                .map(|p| f32::from(*p) * (1.0 / 255.0))
                .collect(),
            answers: answers
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            classes: answers.shape()[1],
            channels_first: model == "channels_first",
            name,
        }
    };
    files.iter().map(golden).collect()
}

impl Golden {
    fn convert(&self, layout: Option<Layout>) -> Result<Converted, String> {
        let labels =
            (self.classes != 7).then(|| (0..self.classes).map(|i| format!("c{i}")).collect());
        let options = ConvertOptions {
            labels,
            layout,
            ..ConvertOptions::default()
        };
        convert(&self.file, self.config.as_deref(), &options).map_err(|e| e.to_string())
    }

    /// The input in the order of a layout.
    fn input(&self, converted: &Converted) -> Vec<f32> {
        let own = if self.channels_first {
            Layout::Nchw
        } else {
            Layout::Nhwc
        };
        let spec = &converted.spec;
        if spec.input.layout == own {
            return self.input.clone();
        }
        let (area, channels) = (spec.input.width * spec.input.height, spec.input.channels);
        let (inner, outer) = if self.channels_first {
            (area, channels)
        } else {
            (channels, area)
        };
        let image = |image: &[f32]| -> Vec<f32> {
            (0..inner)
                .flat_map(|i| (0..outer).map(move |o| (i, o)))
                .map(|(i, o)| image[o * inner + i])
                .collect()
        };
        self.input
            .chunks_exact(spec.image_len())
            .flat_map(image)
            .collect()
    }

    /// What is wrong with an engine's answers, if something is.
    fn compare(&self, engine: &mut dyn Classifier, input: &[f32]) -> Option<String> {
        let found = match engine.forward(input, 3) {
            Ok(found) => found,
            Err(e) => return Some(e.to_string()),
        };
        let largest = self.answers.iter().fold(1.0f32, |m, a| m.max(a.abs()));
        let off = found
            .iter()
            .zip(&self.answers)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max)
            / largest;
        let sound = found.len() == self.answers.len() && found.iter().all(|v| v.is_finite());
        (!sound || off > TOLERANCE)
            .then(|| format!("is off by {off:e}: {found:?} for {:?}", self.answers))
    }
}

pub fn on_ort(file: &Path) -> Result<Box<dyn Classifier>, String> {
    let options = LoadOptions {
        backend: Backend::Ort {
            provider: Provider::Cpu,
            options: ProviderOptions::default(),
            library: None,
        },
        ..LoadOptions::default()
    };
    load(&ModelRef::Onnx(file.into()), &options, &Host::from_env()).map_err(|e| e.to_string())
}

#[test]
fn every_model_answers_what_keras_answered() {
    if ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for golden in goldens() {
        for layout in [Layout::Nhwc, Layout::Nchw] {
            let file = folder.path().join("model.onnx");
            let result = golden.convert(Some(layout)).and_then(|converted| {
                std::fs::write(&file, &converted.onnx).unwrap();
                let mut engine = on_ort(&file)?;
                golden
                    .compare(&mut *engine, &golden.input(&converted))
                    .map_or(Ok(()), Err)
            });
            wrong.extend(
                result
                    .err()
                    .map(|e| format!("{} as {layout}: {e}", golden.name)),
            );
        }
    }
    all_right(wrong);
}

#[test]
fn without_a_layout_the_keras_models_own_is_kept() {
    for golden in goldens() {
        let own = if golden.channels_first {
            Layout::Nchw
        } else {
            Layout::Nhwc
        };
        assert_eq!(
            golden.convert(None).unwrap().spec.input.layout,
            own,
            "{}",
            golden.name
        );
    }
}

#[test]
fn models_that_are_compiled_in_answer_what_keras_answered() {
    let compiled = |golden: &Golden| compiled::find(&golden.name.replace('.', "_"));
    let here: Vec<_> = goldens()
        .into_iter()
        .filter(|g| compiled(g).is_some())
        .collect();
    if here.len() < 10 {
        common::skip::<()>(
            "compiled",
            "the converted models are not compiled in (scripts/test does it, with FER_MODEL)",
        );
        return;
    }
    let mut wrong = Vec::new();
    for golden in here {
        let name = golden.name.replace('.', "_");
        let options = LoadOptions {
            backend: Backend::Burn(Default::default()),
            ..LoadOptions::default()
        };
        let model = ModelRef::find(&name).unwrap();
        let mut engine = load(&model, &options, &Host::from_env()).unwrap();
        wrong.extend(
            golden
                .compare(&mut *engine, &golden.input)
                .map(|e| format!("{}: {e}", golden.name)),
        );
    }
    all_right(wrong);
}

/// The operators of a golden's conversion, in the order of their first use.
fn operators(name: &str) -> Vec<(String, usize)> {
    let goldens = goldens();
    goldens
        .iter()
        .find(|g| g.name == name)
        .unwrap()
        .convert(None)
        .unwrap()
        .operators
}

#[test]
fn graphs_are_clean() {
    let named = |rows: &[(&str, usize)]| {
        rows.iter()
            .map(|(o, n)| (o.to_string(), *n))
            .collect::<Vec<_>>()
    };
    // Of five normalizations three follow a linear layer; the dense layer behind Flatten needs no
    // Transpose.
    let plain = [
        ("Transpose", 1),
        ("Conv", 2),
        ("Relu", 3),
        ("BatchNormalization", 2),
        ("MaxPool", 1),
        ("Flatten", 1),
        ("Gemm", 3),
        ("Softmax", 1),
    ];
    assert_eq!(operators("plain.k3.keras"), named(&plain));
    let mini = [
        ("Reshape", 1),
        ("Conv", 23),
        ("Relu", 6),
        ("MaxPool", 4),
        ("Add", 4),
        ("GlobalAveragePool", 1),
        ("Flatten", 1),
        ("Softmax", 1),
    ];
    let sorted = |mut rows: Vec<(String, usize)>| {
        rows.sort();
        rows
    };
    assert_eq!(
        sorted(operators("mini_xception.k2.h5")),
        sorted(named(&mini))
    );
    let debris = [
        "Shape",
        "Gather",
        "Cast",
        "Unsqueeze",
        "Squeeze",
        "Identity",
        "Constant",
        "Expand",
    ];
    for golden in goldens() {
        let found = golden.convert(None).unwrap().operators;
        assert!(
            found.iter().all(|(o, _)| !debris.contains(&o.as_str())),
            "{}: {found:?}",
            golden.name
        );
    }
}

#[test]
fn one_model_gives_the_same_bytes_from_every_file() {
    let all = goldens();
    let of = |name: String| {
        all.iter()
            .find(|g| g.name == name)
            .unwrap_or_else(|| panic!("{name} is missing"))
    };
    // Keras 2 can't save `nested` as .h5 with the names that it has as .keras: there it is another
    // model.
    for (model, version) in [
        ("plain", "k3"),
        ("normalising", "k3"),
        ("nested", "k3"),
        ("plain", "k2"),
        ("transfer", "k2"),
    ] {
        let archive = of(format!("{model}.{version}.keras"));
        let bytes = archive.convert(None).unwrap().onnx;
        assert!(
            of(format!("{model}.{version}.h5"))
                .convert(None)
                .unwrap()
                .onnx
                == bytes,
            "{model}.{version}"
        );
        let unpacked = tempfile::tempdir().unwrap();
        zip::ZipArchive::new(std::fs::File::open(&archive.file).unwrap())
            .unwrap()
            .extract(unpacked.path())
            .unwrap();
        let folder = Golden {
            file: unpacked.path().to_path_buf(),
            name: String::new(),
            answers: Vec::new(),
            input: Vec::new(),
            config: None,
            ..*archive
        };
        assert!(
            folder.convert(None).unwrap().onnx == bytes,
            "{model}.{version} unpacked"
        );
    }
}

#[test]
fn the_notebook_model_is_converted_without_python_or_onnx_runtime() {
    let (Some(keras), Some(h5)) = (keras_file("notebook.keras"), keras_file("notebook.h5")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for model in [keras, h5] {
        let onnx = folder.path().join("notebook.onnx").display().to_string();
        let run = common::run_without_ort(&["convert", &model.display().to_string(), "-o", &onnx])
            .expect(0);
        assert!(
            run.stderr.contains("not run, only read back"),
            "{}",
            run.stderr
        );
        written.push(std::fs::read(onnx).unwrap());
    }
    assert!(written[0] == written[1], "the two files make two models");
}

#[test]
fn the_notebook_model_answers_as_its_conversion_by_tf2onnx() {
    let (Some(_), Some(python), Some(model)) = (ort(), keras(), keras_file("notebook.keras"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let [onnx, reference] = ["notebook.onnx", "tf2onnx.onnx"]
        .map(|name| folder.path().join(name).display().to_string());
    run(&["convert", "-q", &model.display().to_string(), "-o", &onnx]).expect(0);
    common::script(&python, "convert.py", &model, Path::new(&reference));
    let [of_tf2onnx, own] = [&reference, &onnx].map(|file| format!("{file}@ort"));
    let compare = |images: &str| {
        run(&[
            "parity",
            "--json",
            "--reference",
            &of_tf2onnx,
            "--candidate",
            &own,
            images,
        ])
        .expect(0)
    };
    compare("examples/faces");
    let Some(data) = data() else { return };
    let checks: serde_json::Value =
        serde_json::from_str(&compare(&data.join("test").display().to_string()).stdout).unwrap();
    let result = &checks[0]["result"];
    assert_eq!(
        (&result["images"], &result["equal_labels"]),
        (&3589.into(), &3589.into()),
        "{result}"
    );
    assert!(
        result["max_difference"].as_f64().unwrap() < 1e-5,
        "{result}"
    );
    // The way back into a network to train on takes it as it takes tf2onnx's.
    let network = fer::model::Architecture::Notebook.init(
        fer::model::Shape::FER2013,
        None,
        0,
        &::burn::tensor::Device::flex(),
    );
    fer::model::load_onnx(
        network,
        &fer::train::task::Task::default().spec(),
        Path::new(&onnx),
    )
    .unwrap();
}

/// A model with layers that are not known, as a folder with weights that are never looked at.
fn unknown_layers(folder: &Path) -> String {
    let layer = |class: &str, name: &str, config: serde_json::Value| {
        let mut config = config;
        config["name"] = name.into();
        serde_json::json!({"class_name": class, "config": config})
    };
    let none = serde_json::json!({});
    let layers = [
        layer(
            "InputLayer",
            "in",
            serde_json::json!({"batch_shape": [null, 8, 8, 1]}),
        ),
        layer(
            "Lambda",
            "squash",
            serde_json::json!({"function": "f", "kernel_initializer": {}}),
        ),
        layer("Flatten", "flatten", none.clone()),
        layer(
            "UpSampling2D",
            "up",
            serde_json::json!({"interpolation": "cubist"}),
        ),
        layer("LSTM", "memory", serde_json::json!({"units": 4})),
    ];
    let model =
        serde_json::json!({"class_name": "Sequential", "config": {"name": "s", "layers": layers}});
    std::fs::write(folder.join("config.json"), model.to_string()).unwrap();
    std::fs::copy(
        self::folder().join("plain.k3.weights.h5"),
        folder.join("model.weights.h5"),
    )
    .unwrap();
    folder.display().to_string()
}

#[test]
fn what_can_not_be_converted_is_exit_code_2_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = unknown_layers(folder.path());
    let golden = |name: &str| path(&format!("tests/golden/convert/{name}"));
    let (plain, grouped, weights) = (
        golden("plain.k3.h5"),
        golden("grouped.k3.keras"),
        golden("plain.k3.weights.h5"),
    );
    let other = golden("grouped.k2.h5");
    let rows: Vec<(Vec<&str>, Vec<&str>)> = vec![
        (
            vec![&unknown],
            vec![
                "3 of its layers",
                "Lambda (",
                "): squash; ",
                "UpSampling2D (",
                "cubist",
                "): up; ",
                "LSTM (",
                "units=4): memory",
            ],
        ),
        (vec!["nowhere.h5"], vec!["can't read nowhere.h5"]),
        (vec!["README.md"], vec!["neither HDF5 nor a zip"]),
        (
            vec!["examples"],
            vec!["can't read examples/model.weights.h5"],
        ),
        (
            vec![&grouped, "--labels", "a,b"],
            vec!["3 classes", "names 2"],
        ),
        (vec![&grouped, "--labels", "a,b,b"], vec!["different names"]),
        (vec![&weights], vec!["--config"]),
        (vec![&weights, "--config", "README.md"], vec!["not JSON"]),
        (
            vec![&plain, "--scale", "0"],
            vec!["not a number other than 0"],
        ),
        (
            vec![&plain, "--std", "0"],
            vec!["'std' is '0'", "none of them 0"],
        ),
        (vec![&plain, "--mean", "1,2"], vec!["'mean' is '1,2'"]),
        (vec![&plain, "--mean", "a"], vec!["'a' is not a number"]),
        (
            vec![&plain, "--mean", "127.5"],
            vec!["no scale is stated", "--scale"],
        ),
        (
            vec![&plain, "--preprocess", "tf", "--scale", "1"],
            vec!["cannot be used with"],
        ),
        (
            vec![&plain, "--preprocess", "tf", "--mean", "1"],
            vec!["cannot be used with"],
        ),
        (
            vec![&plain, "--preprocess", "vgg"],
            vec!["tf, caffe or torch"],
        ),
        (vec![&plain, "--channel-order", "grb"], vec!["rgb or bgr"]),
        (vec![&plain, "--layout", "chwn"], vec!["NHWC or NCHW"]),
        (vec![&plain, "-o", "tests"], vec!["is a folder"]),
        (
            vec![&plain, "-o", "no/such/place.onnx"],
            vec!["can't write no/such/place.onnx"],
        ),
        (vec![&weights, "--config", &other], vec!["not JSON"]),
    ];
    let output = folder.path().join("out.onnx").display().to_string();
    let mut wrong = Vec::new();
    for (args, words) in rows {
        let args = if args.contains(&"-o") {
            args
        } else {
            [&args[..], &["-o", &output]].concat()
        };
        let run = run(&[&["convert"], &args[..]].concat());
        if run.code != 2
            || words.iter().any(|w| !run.stderr.contains(w))
            || Path::new(&output).exists()
        {
            wrong.push(format!("{args:?} should say {words:?}: {run:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn what_the_user_says_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("said.onnx").display().to_string();
    let model = path("tests/golden/convert/grouped.k2.h5");
    let said = [
        "--labels",
        "left, middle,right",
        "--scale",
        "1/127.5",
        "--resize",
        "antialias",
        "--layout",
        "nchw",
    ];
    run(&[&["convert", &model, "-o", &onnx], &said[..]].concat()).expect(0);
    let file = fer::onnx::OnnxModel::read(Path::new(&onnx)).unwrap();
    let spec = fer::spec::ModelSpec::resolve(&file.header, &Default::default(), "m").unwrap();
    assert_eq!(
        (spec.labels.join(" ").as_str(), spec.input.layout),
        ("left middle right", Layout::Nchw)
    );
    assert_eq!(
        (spec.input.scale, spec.input.resize),
        (1.0 / 127.5, fer::spec::Resize::Antialias)
    );
    assert_eq!(
        (
            spec.input.width,
            spec.input.height,
            spec.input.channels,
            spec.assumed.len()
        ),
        (6, 6, 1, 0)
    );
    let source = &file.header.metadata["fer.source"];
    assert!(
        source.starts_with("Keras 2.15.0 model, weights sha256 "),
        "{source}"
    );
    assert_eq!(
        (
            file.header.opset,
            file.header.metadata["fer.output"].as_str()
        ),
        (18, "probabilities")
    );
}

/// A Keras 3 file of layers without weights, one after another.
fn sequential(input: &[usize], layers: &[(&str, serde_json::Value)]) -> Vec<u8> {
    let golden = std::fs::read(folder().join("plain.k3.keras")).unwrap();
    let mut golden = zip::ZipArchive::new(Cursor::new(golden)).unwrap();
    let mut weights = Vec::new();
    golden
        .by_name("model.weights.h5")
        .unwrap()
        .read_to_end(&mut weights)
        .unwrap();
    let mut shape = vec![serde_json::Value::Null];
    shape.extend(input.iter().map(|n| serde_json::json!(n)));
    let mut entries =
        vec![serde_json::json!({"class_name": "InputLayer", "config": {"batch_shape": shape}})];
    for (i, (class, config)) in layers.iter().enumerate() {
        let mut config = config.clone();
        config["name"] = format!("layer{i}").into();
        entries.push(serde_json::json!({"class_name": class, "config": config}));
    }
    let model = serde_json::json!({"module": "keras", "class_name": "Sequential",
        "config": {"layers": entries}});
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let parts = [
        ("config.json", model.to_string().into_bytes()),
        ("metadata.json", br#"{"keras_version": "3.15.1"}"#.to_vec()),
        ("model.weights.h5", weights),
    ];
    for (name, bytes) in parts {
        archive
            .start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        archive.write_all(&bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn what_a_model_answers_and_what_goes_in_is_read_from_its_layers() {
    let options = ConvertOptions::default();
    let flatten = ("Flatten", serde_json::json!({}));
    let softmax = ("Activation", serde_json::json!({"activation": "softmax"}));
    let sigmoid = ("Activation", serde_json::json!({"activation": "sigmoid"}));
    let reshape = ("Reshape", serde_json::json!({"target_shape": [4]}));
    let pad = (
        "ZeroPadding2D",
        serde_json::json!({"padding": [[0, 0], [0, 1]]}),
    );
    let rescale = ("Rescaling", serde_json::json!({"scale": 1.0 / 255.0}));
    let relu = ("ReLU", serde_json::json!({}));
    // Layers for pixels of 0..1, and one that suits no range.
    let double = (
        "Rescaling",
        serde_json::json!({"scale": 2.0, "offset": -1.0}),
    );
    let bytes = ("Rescaling", serde_json::json!({"scale": 255.0}));
    let normalize = (
        "Normalization",
        serde_json::json!({"axis": null, "mean": 0.5, "variance": 0.06}),
    );
    let normalize_bytes = (
        "Normalization",
        serde_json::json!({"axis": null, "mean": 127.0, "variance": 5000.0}),
    );
    let halve = ("Rescaling", serde_json::json!({"scale": 0.5}));
    let pairs = ("Reshape", serde_json::json!({"target_shape": [2, 2]}));
    let flatten_again = ("Flatten", serde_json::json!({}));
    let (probabilities, logits) = (OutputKind::Probabilities, OutputKind::Logits);
    let rows = [
        (
            vec![1, 4, 1],
            vec![&flatten, &softmax],
            probabilities,
            1.0 / 255.0,
            0,
        ),
        (
            vec![1, 4, 1],
            vec![&flatten, &softmax, &reshape],
            probabilities,
            1.0 / 255.0,
            0,
        ),
        (vec![1, 4, 1], vec![&flatten, &relu], logits, 1.0 / 255.0, 0),
        (
            vec![1, 4, 1],
            vec![&flatten, &sigmoid],
            OutputKind::Scores,
            1.0 / 255.0,
            0,
        ),
        (
            vec![1, 1, 1],
            vec![&flatten, &sigmoid],
            OutputKind::Probability,
            1.0 / 255.0,
            0,
        ),
        (
            vec![1, 1, 1],
            vec![&flatten, &relu],
            OutputKind::Logit,
            1.0 / 255.0,
            0,
        ),
        (
            vec![1, 1, 1],
            vec![&flatten, &softmax],
            OutputKind::Probability,
            1.0 / 255.0,
            1,
        ),
        (
            vec![1, 4, 1],
            vec![&rescale, &flatten, &softmax],
            probabilities,
            1.0,
            0,
        ),
        (
            vec![1, 3, 1],
            vec![&pad, &rescale, &flatten, &softmax],
            probabilities,
            1.0,
            0,
        ),
        (
            vec![1, 4, 1],
            vec![&relu, &rescale, &flatten, &softmax],
            probabilities,
            1.0 / 255.0,
            1,
        ),
        // Each pair sums to 1.
        (
            vec![1, 4, 1],
            vec![&pairs, &softmax, &flatten_again],
            logits,
            1.0 / 255.0,
            0,
        ),
        // Two scalings, one after the other.
        (
            vec![1, 4, 1],
            vec![&rescale, &normalize, &flatten, &softmax],
            probabilities,
            1.0,
            0,
        ),
    ];
    let mut wrong = Vec::new();
    for (input, layers, output, scale, notes) in rows {
        let layers: Vec<_> = layers.into_iter().cloned().collect();
        let name = format!("{layers:?}");
        match convert_bytes(sequential(&input, &layers), &name, &options) {
            Err(e) => wrong.push(e.to_string()),
            Ok(found) => {
                let row = (found.spec.output, found.spec.input.scale, found.notes.len());
                if row != (output, scale as f32, notes) {
                    wrong.push(format!("{name}: {row:?} {:?}", found.notes));
                }
            }
        }
    }
    // What is guessed where the layer's constants leave it open.
    for (layer, scale, guessed) in [
        (&rescale, 1.0, false),
        (&normalize_bytes, 1.0, false),
        (&double, 1.0 / 255.0, false),
        (&bytes, 1.0 / 255.0, false),
        (&normalize, 1.0 / 255.0, false),
        (&halve, 1.0 / 255.0, true),
        (&relu, 1.0 / 255.0, true),
    ] {
        let model = sequential(
            &[1, 4, 1],
            &[layer.clone(), flatten.clone(), softmax.clone()],
        );
        match convert_bytes(model, &format!("{layer:?}"), &options) {
            Err(e) => wrong.push(e.to_string()),
            Ok(found) => {
                let assumed = found.spec.assumed.iter();
                let values: Vec<_> = assumed.filter(|a| a.field == Field::Values).collect();
                let [values] = values[..] else {
                    panic!("{:?}", found.spec.assumed)
                };
                if (found.spec.input.scale, values.is_guess()) != (scale as f32, guessed) {
                    wrong.push(format!("{layer:?}: {values}"));
                }
            }
        }
    }
    all_right(wrong);
}
