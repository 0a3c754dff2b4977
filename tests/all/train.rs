//! From drawn faces to an ONNX file: training through the binary, resuming, exporting, evaluating.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::common::Dim::{N, Open};
use crate::common::{self, Run, all_right, fer, keras, linear, ort, run, run_without_ort};
use burn::tensor::Device;
use fer::calibration::EXPONENTS;
use fer::data::{Catalog, Dataset};
use fer::model::{Architecture, load_onnx};
use fer::runtime::Host;
use fer::train::batch::SCALE;
use fer::train::{step, trainer};
use fer::{Backend, LoadOptions, ModelRef};
use serde_json::Value;
use tempfile::TempDir;

/// Drawn faces, made once for all tests of this file: enough to learn from, and just enough to run
/// on.
struct Data {
    _folder: TempDir,
    large: PathBuf,
    small: PathBuf,
}

fn data() -> &'static Data {
    static DATA: OnceLock<Data> = OnceLock::new();
    DATA.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (large, small) = (folder.path().join("large"), folder.path().join("small"));
        run(&["data", "synth", text(&large), "--count", "1400"]).expect(0);
        run(&["data", "synth", text(&small), "--count", "140"]).expect(0);
        Data {
            _folder: folder,
            large,
            small,
        }
    })
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A recipe for the small data that runs in a second or two and uses what there is to use.
const EVERYTHING: &str = r#"
architecture = "tiny"
dropout = 0.1
epochs = 4
batch_size = 16
seed = 3
ema = 0.9
[loss]
label_smoothing = 0.1
class_weights = "balanced"
[optimizer]
name = "adamw"
learning_rate = 0.005
weight_decay = 0.01
clip_norm = 1.0
sam = 0.05
[schedule]
name = "plateau"
warmup = 0.5
every = 1
factor = 0.5
[augment]
shift = 0.1
rotation = 10
zoom = 0.1
flip = 0.5
crop = 0.1
erase = 0.5
brightness = 0.2
contrast = 0.2
mixup = 0.2
"#;

/// `history.csv` without the columns of time.
fn history(run: &Path) -> Vec<String> {
    let csv = fs::read_to_string(run.join("history.csv")).unwrap();
    csv.lines()
        .map(|line| line.split(',').take(5).collect::<Vec<_>>().join(","))
        .collect()
}

/// The exported weights of a checkpoint: the same bytes for the same weights.
fn weights(run_folder: &Path, checkpoint: &str) -> Vec<u8> {
    let file = run_folder.join("weights.onnx");
    let checkpoint = run_folder.join("checkpoints").join(checkpoint);
    run_without_ort(&[
        "export",
        "-q",
        "--onnx",
        text(&file),
        "--checkpoint",
        text(&checkpoint),
    ])
    .expect(0);
    fs::read(file).unwrap()
}

#[test]
fn drawn_faces_are_learned_exported_and_recognized_by_both_engines() {
    let folder = tempfile::tempdir().unwrap();
    let (out, data) = (folder.path().join("run"), text(&data().large));
    let trained = run(&[
        "train",
        "--preset",
        "tiny",
        "--data",
        data,
        "--out",
        text(&out),
    ])
    .expect(0);
    assert!(
        trained.stderr.contains("epoch   8  loss"),
        "{}",
        trained.stderr
    );
    for file in [
        "config.toml",
        "history.csv",
        "best.bpk",
        "metrics.json",
        "curves.png",
        "confusion.png",
        "summary.md",
    ] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let metrics: Value =
        serde_json::from_slice(&fs::read(out.join("metrics.json")).unwrap()).unwrap();
    let accuracy = metrics["validation"]["accuracy"].as_f64().unwrap();
    assert!(accuracy >= 0.95, "{accuracy}");
    assert_eq!(metrics["best"]["accuracy"].as_f64(), Some(accuracy));

    let model = out.join("model.onnx");
    let exported = run(&["export", "--onnx", "--run", text(&out)]).expect(0);
    assert!(exported.stderr.contains("equal on"), "{}", exported.stderr);
    let figures = |model: &str, engine: &str| -> Value {
        let args = [
            "eval", "-q", "--model", model, "--engine", engine, "--data", data, "--format", "json",
        ];
        serde_json::from_str(&run(&args).expect(0).stdout).unwrap()
    };
    let burn = figures(text(&out), "burn");
    assert_eq!(burn["accuracy"].as_f64(), Some(accuracy));
    if let Some(python) = keras() {
        let code = "import sys, numpy, onnx, onnxruntime\n\
                    onnx.checker.check_model(sys.argv[1], full_check=True)\n\
                    session = onnxruntime.InferenceSession(sys.argv[1])\n\
                    for n in 1, 3:\n    \
                        images = numpy.zeros((n, 1, 48, 48), numpy.float32)\n    \
                        assert session.run(['probabilities'], {'input': images})[0].shape == (n, \
                        7)";
        let checked = Command::new(python)
            .args(["-c", code])
            .arg(&model)
            .output()
            .unwrap();
        assert!(
            checked.status.success(),
            "{}",
            String::from_utf8_lossy(&checked.stderr)
        );
    }
    if ort().is_none() {
        return;
    }
    let through_ort = figures(text(&model), "ort");
    assert_eq!(through_ort["confusion"], burn["confusion"]);
    let apart = through_ort["loss"].as_f64().unwrap() - burn["loss"].as_f64().unwrap();
    assert!(apart.abs() < 1e-5, "{apart}");
    let compared = [
        "--reference",
        &format!("{}@burn", text(&out)),
        "--candidate",
        &format!("{}@ort", text(&model)),
    ];
    run(&[&["parity"], &compared[..], &["examples/faces"]].concat()).expect(0);
    let faces = run(&[
        "infer",
        "-q",
        "--model",
        text(&model),
        "--format",
        "json",
        "examples/faces",
    ])
    .expect(0);
    assert_eq!(faces.records().len(), 7);
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("recipe.toml");
    fs::write(&recipe, EVERYTHING).unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let args = [
        "train",
        "--config",
        text(&recipe),
        "--data",
        text(&data().small),
        "--out",
    ];
    let began = Instant::now();
    run(&[&args[..], &[text(&whole)]].concat()).expect(0);
    let took = began.elapsed();
    let resume = ["train", "--resume", text(&broken)];
    let first: Vec<&str> = [&args[..], &[text(&broken)]].concat();
    // Where the kills fall differs from run to run, as it would for a user.
    let mut kills = 0;
    for part in [0.5, 0.2, 0.33, 0.12, 0.4, 0.27, 0.6] {
        let args = if broken.join("config.toml").is_file() {
            &resume[..]
        } else {
            &first[..]
        };
        let mut child = fer().args(args).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(took.mul_f64(part).max(Duration::from_millis(50)));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
    }
    assert!(kills > 0, "every run ended before it was killed");
    run(&resume).expect(0);
    assert_eq!(history(&whole), history(&broken));
    assert!(
        weights(&whole, "last.ckpt") == weights(&broken, "last.ckpt"),
        "the last weights differ"
    );
    assert!(
        weights(&whole, "best.ckpt") == weights(&broken, "best.ckpt"),
        "the best weights differ"
    );
    let left: Vec<_> = fs::read_dir(broken.join("checkpoints"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    println!("{kills} kills, {left:?}");
}

/// Also of a run that began with another's weights, but not its dropout, and without
/// sharpness-aware minimization.
#[cfg(unix)]
#[test]
fn ctrl_c_saves_within_an_epoch_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (first, whole, broken) = (path("first"), path("whole"), path("broken"));
    let small = text(&data().small);
    fs::write(
        path("first.toml"),
        EVERYTHING.replace("epochs = 4", "epochs = 1"),
    )
    .unwrap();
    let longer = EVERYTHING
        .replace("epochs = 4", "epochs = 8")
        .replace("dropout = 0.1", "")
        .replace("sam = 0.05", "");
    fs::write(path("recipe.toml"), longer).unwrap();
    run(&[
        "train",
        "-q",
        "--config",
        &path("first.toml"),
        "--data",
        small,
        "--out",
        &first,
    ])
    .expect(0);
    let args = [
        "train",
        "--config",
        &path("recipe.toml"),
        "--init",
        &first,
        "--data",
        small,
        "--out",
    ];
    run(&[&args[..], &[&whole]].concat()).expect(0);

    let deadline = Instant::now() + Duration::from_secs(120);
    let mut interrupted = 0;
    let mut command: Vec<&str> = [&args[..], &[&broken]].concat();
    for epochs in [1, 3, 5] {
        let mut child = fer().args(&command).stderr(Stdio::piped()).spawn().unwrap();
        // Some steps after that epoch's end.
        let reached = || {
            fs::read_to_string(path("broken/history.csv"))
                .is_ok_and(|h| h.lines().count() > 2 * epochs)
        };
        while !reached() && child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = child.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status().unwrap();
        let stopped = Run::of(child.wait_with_output().unwrap());
        if stopped.code == 1 {
            assert!(
                stopped
                    .error()
                    .ends_with(&format!("go on with `fer train --resume {broken}`")),
                "{stopped:?}"
            );
            interrupted += 1;
        }
        command = vec!["train", "--resume", &broken];
    }
    assert!(interrupted > 0, "every run ended before it was interrupted");
    run(&["train", "-q", "--resume", &broken]).expect(0);
    assert_eq!(history(whole.as_ref()), history(broken.as_ref()));
    for checkpoint in ["last.ckpt", "best.ckpt"] {
        let same = weights(whole.as_ref(), checkpoint) == weights(broken.as_ref(), checkpoint);
        assert!(same, "the weights of {checkpoint} differ");
    }
}

#[test]
fn every_optimizer_and_schedule_runs() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [
        ("adam", "name = \"constant\""),
        ("adamw", "name = \"one-cycle\""),
        ("sgd", "name = \"cosine\"\nwarmup = 1"),
        ("sgd", "name = \"step\"\nevery = 1\nfactor = 0.5"),
        (
            "adam",
            "name = \"plateau\"\nevery = 1\nfactor = 0.5\nfloor = 0.1",
        ),
    ];
    let mut wrong = Vec::new();
    for (number, (optimizer, schedule)) in rows.iter().enumerate() {
        let recipe = folder.path().join(format!("{number}.toml"));
        let toml = format!(
            "architecture = 'tiny'\nepochs = 2\nbatch_size = 32\nearly_stopping = 5\nbest = \
             'loss'\n[optimizer]\nname = \
             '{optimizer}'\nlearning_rate = 0.002\nweight_decay = 0.001\n[schedule]\n{schedule}\n"
        );
        fs::write(&recipe, toml).unwrap();
        let out = folder.path().join(number.to_string());
        let args = [
            "train",
            "-q",
            "--config",
            text(&recipe),
            "--data",
            text(&data().small),
            "--out",
            text(&out),
        ];
        let trained = run(&args);
        let lines = if trained.code == 0 {
            history(&out).len()
        } else {
            0
        };
        if lines != 5 {
            wrong.push(format!(
                "{optimizer} {schedule}: {} {lines} lines",
                trained.stderr
            ));
        }
    }
    all_right(wrong);
}

#[test]
fn a_distance_for_the_gradients_is_a_setting_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let trained = |name: &str, line: &str| {
        let (recipe, out) = (
            folder.path().join(format!("{name}.toml")),
            folder.path().join(name),
        );
        let toml = format!(
            "architecture = 'tiny'\nepochs = 1\nbatch_size = 32\n[optimizer]\nname = \
             'sgd'\nlearning_rate = 0.02\n{line}\n"
        );
        fs::write(&recipe, toml).unwrap();
        run(&[
            "train",
            "-q",
            "--config",
            text(&recipe),
            "--data",
            text(&data().small),
            "--out",
            text(&out),
        ])
        .expect(0);
        weights(&out, "last.ckpt")
    };
    let plain = trained("plain", "");
    assert!(
        trained("zero", "sam = 0") == plain,
        "a distance of 0 is another training"
    );
    assert!(
        trained("sam", "sam = 0.05") != plain,
        "a distance of 0.05 changes nothing"
    );
}

#[test]
fn early_stopping_ends_a_run_that_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("recipe.toml");
    // A rate at which nothing moves: no epoch is better than the first for long.
    let toml = "architecture = 'tiny'\nepochs = 50\nbatch_size = 64\nearly_stopping = 2\nbest = \
        'loss'\n[optimizer]\nname = 'sgd'\nlearning_rate = 1e-12\n";
    fs::write(&recipe, toml).unwrap();
    let out = folder.path().join("run");
    let args = [
        "train",
        "--config",
        text(&recipe),
        "--data",
        text(&data().small),
        "--out",
        text(&out),
    ];
    let trained = run(&args).expect(0);
    assert!(
        trained.stderr.contains("early stopping"),
        "{}",
        trained.stderr
    );
    assert!(history(&out).len() < 60, "{:?}", history(&out));
    // A finished run stays as it is.
    let before = history(&out);
    run(&["train", "-q", "--resume", text(&out)]).expect(0);
    assert_eq!(history(&out), before);
}

#[test]
fn a_keras_model_is_taken_over_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let small = text(&data().small);
    let official = [
        "train", "--split", "official", "--data", small, "--epochs", "1",
    ];
    let base = [
        &official[..],
        &["--init", "models/notebook.onnx", "--out", text(&out)],
    ]
    .concat();
    let wrong = run(&[&base[..], &["--preset", "tiny"]].concat()).expect(2);
    assert!(
        wrong
            .error()
            .contains("models/notebook.onnx does not fit the architecture"),
        "{}",
        wrong.error()
    );
    assert!(!out.exists(), "a run that can't begin leaves no folder");
    let trained = run(&[&base[..], &["--preset", "notebook", "--lr", "1e-12"]].concat()).expect(0);
    assert!(
        trained
            .stderr
            .contains("weights taken over, predictions equal to"),
        "{}",
        trained.stderr
    );
    let config = fs::read_to_string(out.join("config.toml")).unwrap();
    assert!(config.contains("models/notebook.onnx"), "{config}");
    let exported = folder.path().join("again.onnx");
    run(&[
        "export",
        "-q",
        "--onnx",
        text(&exported),
        "--run",
        text(&out),
    ])
    .expect(0);
    // What fer exports, fer takes over too.
    let again = folder.path().join("again");
    let args = [
        "--preset",
        "notebook",
        "--lr",
        "1e-12",
        "--init",
        text(&exported),
        "--out",
        text(&again),
    ];
    let trained = run(&[&official[..], &args[..]].concat()).expect(0);
    // The exported file is compiled in nowhere, so it takes ONNX Runtime to compare.
    let expected = if ort().is_some() {
        "predictions equal to"
    } else {
        "not compared"
    };
    assert!(trained.stderr.contains(expected), "{}", trained.stderr);
}

#[test]
fn the_model_that_is_shipped_can_be_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let args = [
        "train",
        "--preset",
        "vgg",
        "--epochs",
        "3",
        "--lr",
        "1e-12",
        "--init",
        "models/fer.onnx",
    ];
    let trained = run(&[
        &args[..],
        &["--data", text(&data().small), "--out", text(&out)],
    ]
    .concat())
    .expect(0);
    assert!(
        trained
            .stderr
            .contains("weights taken over, predictions equal to"),
        "{}",
        trained.stderr
    );
}

#[test]
fn a_network_learns_from_another_what_the_labels_do_not_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (teacher, data) = (path("teacher"), text(&data().large));
    run(&[
        "train", "-q", "--preset", "tiny", "--data", data, "--out", &teacher,
    ])
    .expect(0);
    // The same faces under wrong names: the next class's.
    let (wrong, names) = (path("wrong"), fer::spec::EMOTIONS);
    for part in ["train", "test"] {
        fs::create_dir_all(Path::new(&wrong).join(part)).unwrap();
        for (i, name) in names.iter().enumerate() {
            let from = Path::new(data).join(part).join(name);
            let to = Path::new(&wrong)
                .join(part)
                .join(names[(i + 1) % names.len()]);
            fs::create_dir(&to).unwrap();
            for file in fs::read_dir(from).unwrap() {
                let file = file.unwrap().path();
                fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    let tiny =
        fs::read_to_string(common::root().join("crates/fer-train/src/train/presets/tiny.toml"))
            .unwrap();
    fs::write(
        path("recipe.toml"),
        format!("{tiny}\n[loss]\nteachers_share = 0.9\n"),
    )
    .unwrap();
    let pupil = path("pupil");
    let args = [
        "train",
        "-q",
        "--config",
        &path("recipe.toml"),
        "--data",
        &wrong,
        "--teacher",
        &teacher,
    ];
    run(&[&args[..], &["--out", &pupil]].concat()).expect(0);
    // By the labels alone it would be wrong on all of them.
    let last = format!("{pupil}/checkpoints/last.ckpt");
    run(&[
        "eval",
        "-q",
        "--model",
        &last,
        "--data",
        data,
        "--part",
        "test",
        "--min-accuracy",
        "0.9",
    ])
    .expect(0);

    let other = linear(&[Open, N(48), N(48), N(1)], 2304, 2, true, |_, _| 0.0)
        .write(folder.path(), "other.onnx");
    let refused = run(&[
        "train",
        "--preset",
        "tiny",
        "--data",
        data,
        "--teacher",
        &other,
        "--out",
        &path("none"),
    ])
    .expect(2);
    assert!(!Path::new(&path("none")).exists());
    let expected = if ort().is_some() {
        "a teacher has the classes"
    } else {
        "ONNX Runtime"
    };
    assert!(refused.error().contains(expected), "{}", refused.error());
}

#[test]
fn an_export_fits_no_calibration_to_images_that_may_have_been_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let (out, copy) = (folder.path().join("run"), folder.path().join("faces"));
    run(&["data", "synth", text(&copy), "--count", "280"]).expect(0);
    let args = [
        "train",
        "-q",
        "--preset",
        "tiny",
        "--epochs",
        "1",
        "--split",
        "fold:1/4",
        "--data",
        text(&copy),
    ];
    run(&[&args[..], &["--out", text(&out)]].concat()).expect(0);
    let one = fs::read_dir(copy.join("train/happy"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::remove_file(one).unwrap();
    let exported = run(&["export", "--onnx", "--run", text(&out)]).expect(0);
    assert!(
        exported
            .stderr
            .contains("not those that the run was trained"),
        "{}",
        exported.stderr
    );
    let header = fer::onnx::OnnxModel::read(&out.join("model.onnx"))
        .unwrap()
        .header;
    for key in ["fer.temperature", "fer.exponent"] {
        assert_eq!(header.metadata.get(key), None, "{key}");
    }
}

#[test]
fn weights_taken_over_answer_as_the_onnx_file_does() {
    // Real images where there are some, else drawn ones.
    let folder = common::data().unwrap_or_else(|| data().large.clone());
    let catalog = Catalog::open(&folder).unwrap();
    let some: Vec<usize> = (0..catalog.items.len())
        .step_by(catalog.items.len() / 200)
        .collect();
    let dataset = Dataset::load(&catalog, &some, &|| ()).unwrap();
    let images: Vec<f32> = dataset
        .pixels
        .iter()
        .map(|p| f32::from(*p) * SCALE)
        .collect();
    let device = Device::flex();
    let network = load_onnx(
        Architecture::Notebook.init(fer::model::Shape::FER2013, None, 0, &device),
        &fer::train::task::Task::default().spec(),
        &common::root().join("models/notebook.onnx"),
    );
    let evaluation = trainer::evaluate(
        network.as_ref().unwrap(),
        &dataset,
        &catalog.classes,
        64,
        &device,
    )
    .unwrap();
    let options = LoadOptions {
        backend: Backend::Burn(Default::default()),
        ..Default::default()
    };
    let model = ModelRef::find("notebook").unwrap();
    let mut engine = fer::load(&model, &options, &Host::from_env()).unwrap();
    let answers = engine.classify(&images).unwrap();
    let mut logits = step::logits(&network.unwrap(), &images, 64, &device).unwrap();
    for row in logits.chunks_exact_mut(7) {
        let sum: f32 = row.iter().map(|v| v.exp()).sum();
        row.iter_mut().for_each(|v| *v = v.exp() / sum);
    }
    let apart = answers
        .iter()
        .zip(&logits)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(
        answers.iter().chain(&logits).all(|v| v.is_finite()) && apart <= 1e-5,
        "{apart}"
    );
    let right = answers
        .chunks_exact(7)
        .zip(&dataset.labels)
        .filter(|(row, label)| row.iter().all(|p| *p <= row[usize::from(**label)]));
    assert_eq!(evaluation.correct, right.count() as u64);
}

#[test]
fn a_run_keeps_its_recipe_and_its_division_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (out, plain) = (path("run"), format!("{}/train", text(&data().small)));
    let recipe = [
        "--preset", "tiny", "--epochs", "1", "--split", "fold:1/4", "--seed", "5",
    ];
    run(&[
        &["train", "-q", "--data", &plain, "--out", &out],
        &recipe[..],
    ]
    .concat())
    .expect(0);
    // Whatever names the data, only images that were not trained on are counted.
    let own = run(&["eval", "--model", &out]).expect(0);
    let named = run(&["eval", "--model", &out, "--data", &plain]).expect(0);
    let by_file = run(&[
        "eval",
        "--model",
        &path("run/checkpoints/best.ckpt"),
        "--data",
        &plain,
    ])
    .expect(0);
    assert!(own.stderr.contains("28 images of"), "{}", own.stderr);
    assert_eq!(own.stdout, named.stdout);
    assert_eq!(own.stdout, by_file.stdout);
    let other = run(&["eval", "--model", &out, "--data", text(&data().large)]).expect(0);
    assert!(
        other
            .stderr
            .contains("they are not the images that the run was trained"),
        "{}",
        other.stderr
    );
    let config = fs::read_to_string(path("run/config.toml")).unwrap();
    fs::write(
        path("run/config.toml"),
        config.replace("epochs = 1", "epochs = 9"),
    )
    .unwrap();
    let changed = run(&["train", "--resume", &out]).expect(2);
    assert!(
        changed.error().contains("config.toml was changed"),
        "{}",
        changed.error()
    );
    // A device is not replaced by a file.
    let device = run(&["export", "--onnx", "/dev/null", "--run", &out]);
    assert_eq!(device.code, 2, "{}", device.stderr);
    let unnamed = run(&[
        "export",
        "--onnx",
        "--checkpoint",
        &path("run/checkpoints/best.ckpt"),
    ])
    .expect(2);
    assert!(
        unnamed.error().contains("--onnx FILE"),
        "{}",
        unnamed.error()
    );
}

#[test]
fn a_list_divides_as_the_run_did_that_wrote_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let plain = format!("{}/train", text(&data().small));
    let train = |split: &str, out: &str, more: &[&str]| {
        let args = [
            "train", "--preset", "tiny", "--epochs", "1", "--data", &plain, "--split", split,
        ];
        run(&[&args[..], &["--out", &path(out)], more].concat())
    };
    train("fold:1/4", "fold", &[]).expect(0);
    let names = fs::read_to_string(path("fold/validation.txt")).unwrap();
    assert_eq!(names.lines().count(), 28);
    let split = format!("list:{}", path("fold/validation.txt"));
    train(&split, "list", &[]).expect(0);
    // The same images in the same parts make the same run, and the other folder's list is its own.
    assert_eq!(
        fs::read_to_string(path("list/validation.txt")).unwrap(),
        names
    );
    assert_eq!(
        history(&folder.path().join("list")),
        history(&folder.path().join("fold"))
    );
    // A name that was excluded counts for nothing; one that the data never had is refused, as is a
    // list without a class.
    let first = names.lines().next().unwrap();
    fs::write(path("exclude.txt"), first).unwrap();
    let less = train(&split, "less", &["--exclude", &path("exclude.txt")])
        .expect(0)
        .stderr;
    assert!(
        less.contains("84 training and 27 validation images"),
        "{less}"
    );
    fs::write(
        path("strange.txt"),
        format!("{names}train/happy/none.png\n"),
    )
    .unwrap();
    let strange = train(&format!("list:{}", path("strange.txt")), "strange", &[]).expect(2);
    assert!(
        strange
            .error()
            .contains("the first in line 29: train/happy/none.png"),
        "{}",
        strange.error()
    );
    fs::write(path("one.txt"), first).unwrap();
    let one = train(&format!("list:{}", path("one.txt")), "one", &[]).expect(2);
    assert!(
        one.error().contains("no validation images of the class"),
        "{}",
        one.error()
    );
    let missing = train(&format!("list:{}", path("missing.txt")), "missing", &[]).expect(2);
    assert!(
        missing.error().contains("missing.txt: can't be read"),
        "{}",
        missing.error()
    );
    // The run has a list of its own, and does not need the one that it was given.
    fs::remove_file(path("fold/validation.txt")).unwrap();
    run(&["train", "--resume", &path("list")]).expect(0);
    let own = run(&["eval", "--model", &path("list/checkpoints/last.ckpt")]).expect(0);
    assert!(own.stderr.contains("28 images of"), "{}", own.stderr);
    // A list can name test images, as that of a run with their split does.
    let official = [
        "train",
        "-q",
        "--preset",
        "tiny",
        "--epochs",
        "1",
        "--data",
        text(&data().small),
    ];
    run(&[&official[..], &["--out", &path("official")]].concat()).expect(0);
    let split = format!("list:{}", path("official/validation.txt"));
    run(&[&official[..], &["--split", &split, "--out", &path("again")]].concat()).expect(0);
    assert_eq!(
        history(&folder.path().join("again")),
        history(&folder.path().join("official"))
    );
    // An exported model's metadata names no folder.
    run(&["export", "--onnx", "--run", &path("list")]).expect(0);
    let header = fer::onnx::OnnxModel::read(&folder.path().join("list/model.onnx"))
        .unwrap()
        .header;
    assert_eq!(header.metadata["fer.data.split"], "list:validation.txt");
}

#[test]
fn what_can_not_be_trained_is_said_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let small = text(&data().small);
    fs::write(path("file"), "x").unwrap();
    fs::create_dir(path("full")).unwrap();
    fs::write(path("full/file"), "x").unwrap();
    fs::write(path("bad.toml"), "architecture = 'tiny'\nepoch = 3\n").unwrap();
    fs::write(
        path("label.csv"),
        "emotion,pixels,Usage\n9,0 0 0 0,Training\n",
    )
    .unwrap();
    let rows: &[(&[&str], &str)] = &[
        (&["--preset", "tiny"], "--data"),
        (&["--data", &path("nowhere")], "nowhere"),
        (&["--data", "examples/faces"], "angry"),
        (&["--data", &path("label.csv")], "label.csv:2"),
        (
            &["--data", small, "--preset", "resnet"],
            "there are vgg, notebook, tiny",
        ),
        (
            &["--data", small, "--config", &path("bad.toml")],
            "bad.toml:2",
        ),
        (&["--data", small, "--epochs", "0"], "epochs must be"),
        (&["--data", small, "--lr", "-1"], "learning_rate must be"),
        (&["--data", small, "--split", "fold:9/3"], "fold:K/N"),
        (&["--data", small, "--out", &path("full")], "--resume"),
        (&["--data", small, "--out", &path("file/run")], "file/run"),
        (&["--data", small, "--init", &path("file")], "ONNX"),
        (
            &["--data", small, "--exclude", &path("none.txt")],
            "none.txt",
        ),
        (&["--resume", &path("full")], "config.toml"),
        (
            &["--resume", &path("full"), "--lr", "1"],
            "cannot be used with",
        ),
        (
            &["--data", small, "--device", "tpu"],
            "the devices are flex",
        ),
    ];
    let mut wrong = Vec::new();
    for (args, expected) in rows {
        let failed = run(&[&["train"], *args].concat());
        let said = failed.stderr.lines().any(|l| l.contains(expected));
        if failed.code != 2 || !said || failed.stderr.contains("panicked") {
            wrong.push(format!("{args:?}: exit {}, {}", failed.code, failed.stderr));
        }
    }
    all_right(wrong);
}

#[test]
fn a_run_that_diverges_ends_and_keeps_its_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let small = text(&data().small);
    // One step an epoch; the first is at a rate of zero, as warm-up begins.
    let recipe = ["--preset", "vgg", "--batch-size", "112", "--lr", "1e30"];
    let failed = run(&[
        &["train"],
        &recipe[..],
        &["--data", small, "--out", text(&out)],
    ]
    .concat())
    .expect(2);
    assert!(
        failed.error().contains("the run diverged"),
        "{}",
        failed.error()
    );
    assert!(failed.error().contains("--lr"), "{}", failed.error());
    run(&["eval", "--model", text(&out)]).expect(0);
}

#[test]
fn a_run_folder_is_held_by_one_process_and_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let args = [
        "train",
        "-q",
        "--preset",
        "tiny",
        "--epochs",
        "40",
        "--data",
        text(&data().small),
        "--out",
    ];
    let mut child = fer()
        .args([&args[..], &[text(&out)]].concat())
        .spawn()
        .unwrap();
    while !out.join("checkpoints/last.ckpt").is_file() {
        std::thread::sleep(Duration::from_millis(10));
        assert!(
            child.try_wait().unwrap().is_none(),
            "the run ended before it could be watched"
        );
    }
    let second = run(&["train", "--resume", text(&out)]).expect(2);
    assert!(
        second.error().contains("another fer train is at work"),
        "{}",
        second.error()
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let other = run(&[
        "train",
        "--resume",
        text(&out),
        "--data",
        text(&data().large),
    ])
    .expect(2);
    assert!(
        other
            .error()
            .contains("is not the data that this run began with"),
        "{}",
        other.error()
    );
    // A checkpoint that was cut short is an error where there is no other.
    let last = out.join("checkpoints/last.ckpt");
    let bytes = fs::read(&last).unwrap();
    fs::write(out.join("checkpoints/best.ckpt"), "").unwrap();
    for damaged in [&bytes[..bytes.len() / 2], &[], b"PK\x03\x04"] {
        fs::write(&last, damaged).unwrap();
        let failed = run(&["train", "--resume", text(&out)]).expect(2);
        assert!(
            failed.error().contains("not a whole checkpoint"),
            "{}",
            failed.error()
        );
    }
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    fs::write(&last, &flipped).unwrap();
    run(&["train", "--resume", text(&out)]).expect(2);
}

#[test]
fn a_run_goes_on_from_its_best_checkpoint_where_the_last_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("faces"), folder.path().join("moved"));
    copy_folder(&data().small, &old);
    let begin = |out: &Path| {
        let mut command = fer();
        let args = ["train", "-q", "--preset", "tiny", "--epochs", "5", "--data"];
        command.args(args).arg(&old).arg("--out").arg(out);
        command
    };
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    Run::of(begin(&whole).output().unwrap()).expect(0);
    let expected = weights(&whole, "last.ckpt");
    let mut child = begin(&killed).spawn().unwrap();
    while !killed.join("checkpoints/last.ckpt").is_file() {
        std::thread::sleep(Duration::from_millis(10));
        assert!(
            child.try_wait().unwrap().is_none(),
            "the run ended before it could be watched"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let cut = |last: &Path| fs::write(last, &fs::read(last).unwrap()[..1000]).unwrap();
    type Damage<'a> = &'a dyn Fn(&Path);
    let damages: [(&str, Damage, &str); 3] = [
        ("cut off", &cut, "not a whole checkpoint"),
        (
            "empty",
            &|last| fs::write(last, "").unwrap(),
            "not a whole checkpoint",
        ),
        (
            "missing",
            &|last| fs::remove_file(last).unwrap(),
            "last.ckpt is missing",
        ),
    ];
    let mut wrong = Vec::new();
    for (row, damage, what) in damages {
        let out = folder.path().join(row);
        copy_folder(&killed, &out);
        damage(&out.join("checkpoints/last.ckpt"));
        let resumed = run(&["train", "--resume", text(&out)]);
        let said = resumed.stderr.contains(what) && resumed.stderr.contains("best.ckpt, of epoch");
        if resumed.code != 0 || !said || weights(&out, "last.ckpt") != expected {
            wrong.push(format!("{row}: {resumed:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    fs::rename(&old, &new).unwrap();
    let moved = run(&["train", "--resume", text(&killed)]).expect(2);
    assert!(
        moved.error().contains("no longer at") && moved.error().contains("--data"),
        "{}",
        moved.error()
    );
    run(&[
        "train",
        "-q",
        "--resume",
        text(&killed),
        "--data",
        text(&new),
    ])
    .expect(0);
    assert!(weights(&killed, "last.ckpt") == expected);
}

/// Copies a folder with all that it holds.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn an_evaluation_measures_draws_and_judges() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let small = text(&data().small);
    let base = [
        "eval", "--model", "notebook", "--engine", "burn", "--data", small,
    ];
    let pictures = [
        "--confusion",
        &path("c.png"),
        "--reliability",
        &path("r.png"),
        "--montage",
        &path("m.png"),
    ];
    let told = run(&[&base[..], &pictures[..]].concat()).expect(0);
    assert!(told.stdout.starts_with("accuracy "), "{}", told.stdout);
    for file in ["c.png", "r.png", "m.png"] {
        let bytes = fs::read(path(file)).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{file}");
    }
    let low = run(&[&base[..], &["--min-accuracy", "0.99"]].concat()).expect(1);
    assert!(
        low.error().contains("is below the 0.99 asked for"),
        "{}",
        low.error()
    );
    let images = |more: &[&str]| -> u64 {
        let json = run(&[&base[..], &["--format", "json"], more].concat())
            .expect(0)
            .stdout;
        serde_json::from_str::<Value>(&json).unwrap()["images"]
            .as_u64()
            .unwrap()
    };
    let counts = [
        images(&[]),
        images(&["--part", "training"]),
        images(&["--part", "test"]),
        images(&["--part", "all"]),
        images(&["--split", "fold:1/4", "--tta", "flip"]),
        images(&["--tta", "tencrop"]),
    ];
    assert_eq!(counts, [14, 112, 14, 140, 28, 14]);
    // A plain folder of classes is taken whole.
    let plain = [
        "eval", "-q", "--model", "notebook", "--engine", "burn", "--format", "json", "--data",
    ];
    let whole = run(&[&plain[..], &[&format!("{small}/test")]].concat())
        .expect(0)
        .stdout;
    assert_eq!(serde_json::from_str::<Value>(&whole).unwrap()["images"], 28);
    // An image that can't be read is named, and not counted.
    let copy = folder.path().join("copy");
    run(&["data", "synth", text(&copy), "--count", "70"]).expect(0);
    fs::write(copy.join("test/sad/PublicTest_00001.png"), b"no image").unwrap();
    let partly = run(&[
        "eval",
        "--model",
        "notebook",
        "--engine",
        "burn",
        "--data",
        text(&copy),
    ])
    .expect(1);
    assert!(
        partly.stderr.contains("1 images could not be read"),
        "{}",
        partly.stderr
    );
    let failed = run(&["train", "--data", text(&copy), "--out", &path("run")]).expect(2);
    assert!(
        failed.error().contains("PublicTest_00001.png"),
        "{}",
        failed.error()
    );
    // … unless it is left out.
    let list = path("list.txt");
    let checked = run(&["data", "check", text(&copy), "--quarantine", &list]).expect(1);
    assert!(checked.stdout.contains("unreadable"), "{}", checked.stdout);
    let args = [
        "eval",
        "--model",
        "notebook",
        "--engine",
        "burn",
        "--data",
        text(&copy),
        "--exclude",
        &list,
    ];
    run(&args).expect(2);
}

#[test]
fn a_preview_shows_what_training_sees() {
    let folder = tempfile::tempdir().unwrap();
    let (png, again) = (folder.path().join("p.png"), folder.path().join("q.png"));
    for file in [&png, &again] {
        run(&[
            "data",
            "preview",
            text(&data().small),
            "-o",
            text(file),
            "--preset",
            "notebook",
        ])
        .expect(0);
    }
    assert!(
        fs::read(&png).unwrap() == fs::read(&again).unwrap(),
        "the same seed shows the same"
    );
    for (more, expected) in [
        (&["--count", "45"][..], "take 44 or fewer"),
        (&["--count", "10", "--corruptions"], "take 9 or fewer"),
    ] {
        let refused = run(&[
            &["data", "preview", text(&data().small), "-o", text(&png)][..],
            more,
        ]
        .concat())
        .expect(2);
        assert!(
            refused.error().contains(expected),
            "{more:?}: {}",
            refused.error()
        );
    }
}

#[test]
fn an_exported_file_names_the_calibration_that_suits_the_validation_images() {
    let folder = tempfile::tempdir().unwrap();
    let (out, data) = (folder.path().join("run"), text(&data().large));
    let args = [
        "train", "-q", "--preset", "tiny", "--epochs", "1", "--split", "fold:1/4", "--data", data,
    ];
    run(&[&args[..], &["--out", text(&out)]].concat()).expect(0);
    let exported = run(&["export", "--onnx", "--run", text(&out)]).expect(0);
    let model = out.join("model.onnx");
    let header = fer::onnx::OnnxModel::read(&model).unwrap().header;
    let [temperature, exponent] = ["temperature", "exponent"].map(|key| {
        header.metadata[&format!("fer.{key}")]
            .parse::<f32>()
            .unwrap()
    });
    let told = format!(
        "temperature {temperature} and exponent {exponent}, fitted on 280 validation images"
    );
    assert!(exported.stderr.contains(&told), "{}", exported.stderr);
    if ort().is_none() {
        return;
    }
    // On the images that it was fitted on, no other calibration is better; and none changes a
    // label.
    let figures = |meta: &[&str]| -> Value {
        let part = [
            "eval",
            "-q",
            "--model",
            text(&model),
            "--data",
            data,
            "--split",
            "fold:1/4",
            "--part",
            "validation",
        ];
        serde_json::from_str(
            &run(&[&part[..], meta, &["--format", "json"]].concat())
                .expect(0)
                .stdout,
        )
        .unwrap()
    };
    let named = figures(&[]);
    for (t, e) in [
        (0.95, 1.0),
        (1.05, 1.0),
        (1.0, 0.95),
        (1.0, 1.05),
        (1.0 / temperature, 1.0 / exponent),
    ] {
        let bent = (exponent * e).clamp(*EXPONENTS.start(), *EXPONENTS.end());
        let other = [
            format!("temperature={}", temperature * t),
            format!("exponent={bent}"),
        ];
        let figures = figures(&["--meta", &other[0], "--meta", &other[1]]);
        assert_eq!(figures["confusion"], named["confusion"], "{other:?}");
        let gained = figures["loss"].as_f64().unwrap() - named["loss"].as_f64().unwrap();
        assert!(gained > -1e-6, "{other:?}: {gained}");
    }
}

#[test]
fn an_export_without_onnx_runtime_is_checked_by_reading_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let args = [
        "train",
        "-q",
        "--preset",
        "tiny",
        "--epochs",
        "1",
        "--data",
        text(&data().small),
        "--out",
        text(&out),
    ];
    run(&args).expect(0);
    let file = folder.path().join("model.onnx");
    let exported =
        run_without_ort(&["export", "--onnx", text(&file), "--run", text(&out)]).expect(0);
    assert!(
        exported.stderr.contains("checked by reading it back"),
        "{}",
        exported.stderr
    );
    let unwritable = folder.path().join("model.onnx/model.onnx");
    run(&["export", "--onnx", text(&unwritable), "--run", text(&out)]).expect(2);
    let nothing = run(&["export", "--onnx", "--run", text(folder.path())]).expect(2);
    assert!(
        nothing.error().contains("is not a run folder"),
        "{}",
        nothing.error()
    );
}
