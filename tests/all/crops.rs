//! How faces are cut out: what a model states of it, from conversion and training to inference;
//! `fer data crop`; and evaluation on photographs.

use std::fs;
use std::path::Path;

use fer::faces::{Crop, Detector, DetectorRef, FRAME, FaceCrop, SearchOptions, find};
use fer::host::Host;
use fer::images::{self, Pixels, read};
use fer::onnx::proto::{Message, ModelProto};
use fer::spec::ModelSpec;
use fer::{Backend, device::DeviceSpec, onnx};
use serde_json::Value;

use crate::common::{Run, all_right, ort, root, run};
use crate::faces::{ASTRONAUT, pasted};

/// A Keras model of any kind.
const MODEL: &str = "tests/golden/convert/plain.k3.keras";

/// Another crop than the default.
const OTHER: &str = "square,scale=2";

fn burn(args: &[&str]) -> Run {
    let (command, rest) = args.split_first().unwrap();
    run(&[&[*command, "--engine", "burn"], rest].concat())
}

fn detector() -> Detector {
    let backend = Backend::Burn(DeviceSpec::default());
    Detector::load(&DetectorRef::Builtin, &backend, None, &Host::from_env()).unwrap()
}

/// Writes a picture as PNG.
fn put(at: &Path, pixels: &Pixels) {
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(at, images::png(pixels).unwrap()).unwrap();
}

fn photo() -> Pixels {
    read(&root().join(ASTRONAUT)).unwrap()
}

/// A picture without a face.
fn gray(width: usize, height: usize) -> Pixels {
    Pixels {
        width,
        height,
        channels: 1,
        data: vec![120; width * height],
    }
}

/// A picture turned clockwise about its center, gray beyond its edges.
fn turned(picture: &Pixels, degrees: f32) -> Pixels {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let [w, h] = [picture.width, picture.height].map(|side| side as f32 / 2.0);
    let mut data = Vec::with_capacity(picture.data.len());
    for y in 0..picture.height {
        for x in 0..picture.width {
            let (dx, dy) = (x as f32 - w, y as f32 - h);
            let from = [dx * cos + dy * sin + w, dy * cos - dx * sin + h];
            let inside = from[0] >= 0.0 && from[1] >= 0.0;
            let [u, v] = from.map(|at| at as usize);
            match inside && u < picture.width && v < picture.height {
                true => data.extend_from_slice(&picture.data[(v * picture.width + u) * 3..][..3]),
                false => data.extend([128; 3]),
            }
        }
    }
    Pixels {
        data,
        ..picture.clone()
    }
}

/// The largest face of a file in `fer infer`'s record.
fn face_in(file: &str, options: &[&str]) -> Value {
    let run = burn(&[&["infer", "-q", "--format", "json", file], options].concat()).expect(0);
    run.records()[0]["faces"][0].clone()
}

fn crop_of(file: &Path) -> Option<FaceCrop> {
    let bytes = fs::read(file).unwrap().into();
    let header = onnx::read_header(&bytes, "it").unwrap();
    let spec = ModelSpec::resolve(&header, &Default::default(), "it");
    spec.unwrap().crop
}

#[test]
fn the_models_of_this_repository_state_fer2013s_crop() {
    for model in ["models/fer.onnx", "models/notebook.onnx"] {
        assert_eq!(crop_of(&root().join(model)), Some(FRAME), "{model}");
    }
    let recipe = fs::read_to_string(root().join("models/fer.toml")).unwrap();
    assert!(recipe.contains(&format!("crop = \"{FRAME}\"")), "{recipe}");
    for script in ["scripts/retrain", "tests/all/keras_scripts.rs"] {
        let text = fs::read_to_string(root().join(script)).unwrap();
        assert!(text.contains(&FRAME.to_string()), "{script}");
    }
}

#[test]
fn the_users_crop_counts_more_than_the_models() {
    let own = face_in(ASTRONAUT, &[]);
    let meta = |value: &str| format!("crop={value}");
    let same = face_in(ASTRONAUT, &["--meta", &meta(&FRAME.to_string())]);
    let other = face_in(ASTRONAUT, &["--meta", &meta(OTHER)]);
    assert_eq!(own, same);
    assert_eq!(own["box"], other["box"], "the box is the detector's");
    assert_ne!(own["probabilities"], other["probabilities"]);

    let folder = tempfile::tempdir().unwrap();
    let crops = folder.path().display().to_string();
    let options = ["-q", "--meta", "crop=box,scale=1.5", "--crops", &crops];
    burn(&[&["infer", ASTRONAUT], &options[..]].concat()).expect(0);
    let crop = read(&folder.path().join("astronaut-1.png")).unwrap();
    let side = |key: &str| (own["box"][key].as_f64().unwrap() * 1.5).round() as usize;
    assert_eq!([crop.width, crop.height], [side("w"), side("h")]);

    let wrong = burn(&["infer", "--meta", "crop=round", ASTRONAUT]).expect(2);
    let expected = "its metadata 'crop' is 'round'; it should look like square,scale=";
    assert!(wrong.error().contains(expected), "{}", wrong.error());
}

/// models/fer.onnx with other metadata, as a file.
pub fn model_with(folder: &Path, change: impl Fn(&mut ModelProto)) -> String {
    let bytes = fs::read(root().join("models/fer.onnx")).unwrap();
    let mut model = ModelProto::parse_from_bytes(&bytes).unwrap();
    change(&mut model);
    let file = folder.join("model.onnx");
    fs::write(&file, model.write_to_bytes().unwrap()).unwrap();
    file.display().to_string()
}

#[test]
fn a_model_without_a_crop_gets_the_default_as_a_guess() {
    if ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let without = model_with(folder.path(), |model| {
        model.metadata_props.retain(|entry| entry.key != "fer.crop");
    });
    let infer = |model: &str, options: &[&str]| {
        let args = [
            "infer", "--engine", "ort", "--format", "json", "--model", model, ASTRONAUT,
        ];
        run(&[&args[..], options].concat()).expect(0)
    };
    let guess = format!("guessed, because nothing states it: faces are cut out as {FRAME}");
    let (guessed, stated) = (infer(&without, &[]), infer("models/fer.onnx", &[]));
    assert!(guessed.stderr.contains(&guess), "{}", guessed.stderr);
    assert!(
        guessed.stderr.contains("--meta crop="),
        "{}",
        guessed.stderr
    );
    assert!(!stated.stderr.contains("guessed"), "{}", stated.stderr);
    assert_eq!(guessed.records(), stated.records());
    // What is not searched is not guessed about.
    let never = infer(&without, &["--faces", "never"]);
    assert!(!never.stderr.contains("guessed"), "{}", never.stderr);
    let said = infer(&without, &["--meta", &format!("crop={FRAME}")]);
    assert!(!said.stderr.contains("guessed"), "{}", said.stderr);
}

#[test]
fn auto_searches_for_a_model_of_any_classes_that_states_a_crop() {
    if ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let labels = "labels=one,two,three,four,five,six,seven";
    let record = |model: &str| {
        let args = ["infer", "-q", "--format", "json", "--meta", labels];
        let args = [&args[..], &["--model", model, ASTRONAUT]].concat();
        run(&args).expect(0).records().remove(0)
    };
    let without = model_with(folder.path(), |model| {
        model.metadata_props.retain(|entry| entry.key != "fer.crop");
    });
    assert!(record(&without)["faces"].is_null());
    let searched = record("models/fer.onnx");
    assert_eq!(searched["faces"].as_array().map(Vec::len), Some(1));
}

#[test]
fn training_and_export_carry_the_crop() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str| folder.path().join(name).display().to_string();
    let (data, out, onnx) = (text("data"), text("run"), text("model.onnx"));
    run(&["data", "synth", &data, "--count", "70"]).expect(0);
    let train = ["train", "-q", "--preset", "tiny", "--epochs", "1"];
    let train = [&train[..], &["--data", &data, "--out", &out]].concat();
    let bad = run(&[&train[..], &["--crop", "1.04"]].concat()).expect(2);
    assert!(bad.stderr.contains("it should look like"), "{}", bad.stderr);
    run(&[&train[..], &["--crop", OTHER]].concat()).expect(0);
    let config = fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    assert!(config.contains(&format!("crop = \"{OTHER}\"")), "{config}");

    let other: FaceCrop = OTHER.parse().unwrap();
    let export = ["export", "-q", "--run", &out, "--onnx", &onnx];
    run(&export).expect(0);
    assert_eq!(crop_of(onnx.as_ref()), Some(other));
    run(&[&export[..], &["--crop", "box,scale=1"]].concat()).expect(0);
    assert_eq!(crop_of(onnx.as_ref()), Some("box,scale=1".parse().unwrap()));

    // The run itself, without export.
    let crops = text("crops");
    let infer = ["infer", "--model", &out, "--crops", &crops, ASTRONAUT];
    let stated = run(&infer).expect(0);
    assert!(!stated.stderr.contains("guessed"), "{}", stated.stderr);
    let side = |folder: &str| {
        read(&Path::new(folder).join("astronaut-1.png"))
            .unwrap()
            .width
    };
    let half = text("half");
    let infer = ["infer", "-q", "--model", &out, "--crops", &half, ASTRONAUT];
    run(&[&infer[..], &["--meta", "crop=square,scale=1"]].concat()).expect(0);
    assert_eq!(side(&crops), 2 * side(&half));
    let refused = run(&[&infer[..], &["--meta", "size=48x48"]].concat()).expect(2);
    assert!(
        refused.error().contains("leave --meta out"),
        "{}",
        refused.error()
    );
}

#[test]
fn conversion_writes_a_crop_only_if_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    let file = onnx.display().to_string();
    let convert = ["convert", MODEL, "-o", &file];
    run(&convert).expect(0);
    assert_eq!(crop_of(&onnx), None);
    let told = run(&[&convert[..], &["--crop", OTHER]].concat()).expect(0);
    assert!(told.stderr.contains(OTHER), "{}", told.stderr);
    assert_eq!(crop_of(&onnx), Some(OTHER.parse().unwrap()));
}

#[test]
fn heads_that_lean_are_turned_upright() {
    let detector = detector();
    let plain = FaceCrop::square(FRAME.scale);
    let cut = |picture: &Pixels, frame: FaceCrop| {
        let faces = find(picture, &detector, &SearchOptions::default()).unwrap();
        let size = [48, 48];
        Crop { frame, size }.cut(picture, &faces[0]).data
    };
    let photo = read(&root().join("examples/photos/grace_hopper.jpg")).unwrap();
    let upright = cut(&photo, plain);
    let apart = |crop: &[u8]| {
        let pairs = crop.iter().zip(&upright);
        pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / upright.len() as f64
    };
    let mut wrong = Vec::new();
    for (degrees, turns) in [(30.0, true), (-30.0, true), (6.0, false)] {
        let picture = turned(&photo, degrees);
        let (own, plain) = (cut(&picture, FRAME), cut(&picture, plain));
        // A crop that is turned is like the upright one.
        let right = match turns {
            true => apart(&own) < 0.75 * apart(&plain),
            false => own == plain,
        };
        if !right {
            wrong.push(format!("{degrees}: {} and {}", apart(&own), apart(&plain)));
        }
    }
    all_right(wrong);
}

/// Class folders of photographs: two with faces, one with two of them, one without, and a file that
/// is none.
fn photographs(folder: &Path) {
    let copy = |from: &str, to: &str| {
        let to = folder.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(root().join(from), to).unwrap();
    };
    copy(ASTRONAUT, "train/happy/a.jpg");
    copy("examples/photos/grace_hopper.jpg", "train/neutral/b.jpg");
    put(
        &folder.join("train/happy/two.png"),
        &pasted([1200, 600], &[([0, 80], 2), ([600, 80], 1)]),
    );
    copy(ASTRONAUT, "test/happy/a.jpg");
    copy("examples/photos/grace_hopper.jpg", "test/neutral/a.jpg");
    put(&folder.join("test/neutral/none.png"), &gray(300, 200));
    fs::write(folder.join("test/happy/broken.jpg"), b"no picture").unwrap();
    fs::write(folder.join("notes.md"), b"notes").unwrap();
}

/// The files of a folder, in order.
fn files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => names.push(path.strip_prefix(folder).unwrap().display().to_string()),
            }
        }
    }
    names.sort();
    names
}

#[test]
fn photographs_become_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str| folder.path().join(name).display().to_string();
    let photos = folder.path().join("photos");
    photographs(&photos);
    let before = files(&photos);
    let (from, to) = (text("photos"), text("crops"));
    let crop = |options: &[&str]| {
        let args = ["data", "crop", &from, "--engine", "burn"];
        run(&[&args[..], options].concat())
    };
    let run_of = crop(&["--out", &to]).expect(1);
    assert_eq!(
        files(to.as_ref()),
        [
            "test/happy/a.png",
            "test/neutral/a.png",
            "train/happy/a.png",
            "train/happy/two.png",
            "train/neutral/b.png"
        ]
    );
    let missing: Vec<&str> = run_of.stdout.lines().collect();
    let names = ["test/neutral/none.png: no face", "test/happy/broken.jpg: "];
    let named = names.map(|name| missing.iter().any(|line| line.contains(name)));
    assert!(named == [true; 2] && missing.len() == 2, "{missing:?}");
    let summary = "5 faces of 7 pictures in ";
    let rest = "1 pictures without a face, 1 not read";
    let said = &run_of.stderr;
    assert!(said.contains(summary) && said.contains(rest), "{said}");
    assert!(said.contains(&format!("--crop {FRAME}")), "{said}");
    let face = read(&Path::new(&to).join("train/happy/a.png")).unwrap();
    assert_eq!((face.width, face.height), (48, 48));

    // What training sees is what inference sees.
    let found = find(&photo(), &detector(), &SearchOptions::default()).unwrap();
    let size = [48, 48];
    let seen = Crop { frame: FRAME, size }.cut(&photo(), &found[0]);
    assert!(face == seen, "the crop is inference's");

    // The largest of two; all of them are numbered.
    let wide = read(&Path::new(&to).join("train/happy/two.png")).unwrap();
    let (all, options) = (text("all"), ["--all", "--size", "64x32", "--crop", OTHER]);
    crop(&[&["-q", "--out", &all], &options[..]].concat()).expect(1);
    let names = files(all.as_ref());
    assert!(names.contains(&"train/happy/two-2.png".into()), "{names:?}");
    assert!(names.contains(&"train/happy/a-1.png".into()), "{names:?}");
    let one = read(&Path::new(&all).join("train/happy/two-1.png")).unwrap();
    assert_eq!((one.width, one.height), (64, 32));
    let largest = find(
        &read(&photos.join("train/happy/two.png")).unwrap(),
        &detector(),
        &SearchOptions::default(),
    )
    .unwrap();
    assert!(largest[0].x > 600.0, "{largest:?}");
    let picture = read(&photos.join("train/happy/two.png")).unwrap();
    assert!(wide == Crop { frame: FRAME, size }.cut(&picture, &largest[0]));

    // It is what training takes, and nothing of the sources has changed.
    let train = [
        "train", "-q", "--preset", "tiny", "--epochs", "1", "--split", "official",
    ];
    run(&[&train[..], &["--data", &to, "--out", &text("run")]].concat()).expect(0);
    assert_eq!(files(&photos), before);
}

#[test]
fn a_data_set_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str| folder.path().join(name).display().to_string();
    photographs(&folder.path().join("photos"));
    put(&folder.path().join("empty/a/none.png"), &gray(200, 200));
    fs::create_dir_all(folder.path().join("nothing")).unwrap();
    let before = files(folder.path());
    let rows = [
        ("photos", "photos", "lie in one another"),
        ("photos", "photos/crops", "lie in one another"),
        ("photos", ".", "lie in one another"),
        ("photos", "empty", "not empty, there is 'a'"),
        ("photos/train/happy/a.jpg", "new", "is not a folder"),
        ("nothing", "new", "holds no image"),
        ("empty", "new", "no face was found in the 1 pictures"),
    ];
    let mut wrong = Vec::new();
    for (from, to, expected) in rows {
        let args = ["data", "crop", "-q", "--engine", "burn", &text(from)];
        let run = run(&[&args[..], &["--out", &text(to)]].concat());
        if run.code != 2 || !run.error().contains(expected) || files(folder.path()) != before {
            wrong.push(format!("{from} {to}: {run:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn evaluation_classifies_the_largest_face() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path();
    photographs(photos);
    fs::remove_file(photos.join("test/happy/broken.jpg")).unwrap();
    let data = photos.display().to_string();
    let eval = |options: &[&str]| {
        let args = ["eval", "--data", &data, "--part", "all", "--format", "json"];
        let run = burn(&[&args[..], options].concat()).expect(0);
        let report: Value = serde_json::from_str(&run.stdout).unwrap();
        (report, run.stderr)
    };
    let (never, _) = eval(&[]);
    assert_eq!(never["images"], 6);
    assert!(never["without_face"].is_null());
    let (always, said) = eval(&["--faces", "always"]);
    assert_eq!(
        (&always["images"], &always["without_face"]),
        (&5.into(), &1.into())
    );
    assert!(said.contains("no face was found in 1 pictures"), "{said}");
    // The same predictions as those of `fer infer`.
    let infer = burn(&["infer", "-q", "--format", "json", &data]).expect(0);
    let right = infer.records().into_iter().filter(|record| {
        let class = record["path"].as_str().unwrap().split('/').rev().nth(1);
        record["faces"][0]["label"].as_str() == class
    });
    assert_eq!(always["correct"], right.count());
    assert!(always["correct"].as_u64() >= Some(3), "{always}");

    // A ready-made crop counts as it is with auto.
    put(&photos.join("train/happy/crop.png"), &gray(48, 48));
    assert_eq!(eval(&["--faces", "auto"]).0["images"], 6);
    assert_eq!(eval(&["--faces", "always"]).0["without_face"], 2);
    let views = [
        "--faces",
        "always",
        "--tta",
        "flip",
        "--corruptions",
        "blur",
    ];
    let (all, _) = eval(&views);
    assert_eq!(
        (&all["images"], &all["without_face"]),
        (&5.into(), &2.into())
    );

    let text = [
        "eval", "--data", &data, "--part", "all", "--faces", "always",
    ];
    let text = burn(&text).expect(0).stdout;
    let line = "the largest face of each picture; no face was found in 2 more";
    assert!(text.contains(line), "{text}");

    let none = photos.join("none");
    for class in ["happy", "sad"] {
        put(&none.join(class).join("a.png"), &gray(300, 300));
    }
    let none = none.display().to_string();
    let nothing = burn(&["eval", "--data", &none, "--faces", "always"]).expect(2);
    let expected = "no face was found in any of 2 pictures";
    assert!(nothing.error().contains(expected), "{}", nothing.error());
    let refused = burn(&["eval", "--data", &none, "--min-face", "20"]).expect(2);
    let expected = "--min-face is about faces";
    assert!(refused.error().contains(expected), "{}", refused.error());
}
