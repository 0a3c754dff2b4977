//! Data sets of one's own: any classes, gray or RGB, of any one size, from training to the ONNX
//! file; and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{all_right, fer, ort, run};
use serde_json::Value;

/// How the images of a made-up data set look: the level of a pixel of a class at x, y in a channel,
/// before noise.
type Look = fn(usize, usize, usize, usize) -> u8;

/// A made-up data set.
struct Set {
    classes: Vec<String>,
    /// Width, height and channels.
    size: [usize; 3],
    look: Look,
}

impl Set {
    fn new(classes: &[&str], size: [usize; 3], look: Look) -> Self {
        Self {
            classes: classes.iter().map(|c| c.to_string()).collect(),
            size,
            look,
        }
    }

    /// An image of a class, as a PGM or PPM file.
    fn image(&self, class: usize, number: usize, [width, height, channels]: [usize; 3]) -> Vec<u8> {
        let kind = if channels == 1 { 5 } else { 6 };
        let mut file = format!("P{kind}\n{width} {height}\n255\n").into_bytes();
        let mut state = (class * 10_007 + number * 101 + 1) as u32;
        for i in 0..width * height * channels {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (pixel, channel) = (i / channels, i % channels);
            // As it would be drawn in the set's own size.
            let x = pixel % width * self.size[0] / width;
            let y = pixel / width * self.size[1] / height;
            let level = usize::from((self.look)(class, x, y, channel));
            file.push((level * 3 / 4 + (state >> 26) as usize) as u8);
        }
        file
    }

    /// Writes `train/` and `test/` with so many images a class.
    fn write(&self, folder: &Path, training: usize, test: usize) -> String {
        for (part, count) in [("train", training), ("test", test)] {
            for (label, class) in self.classes.iter().enumerate() {
                let folder = folder.join(part).join(class);
                fs::create_dir_all(&folder).unwrap();
                for number in 0..count {
                    let seed = if part == "train" {
                        number
                    } else {
                        5_000 + number
                    };
                    let image = self.image(label, seed, self.size);
                    fs::write(folder.join(format!("{number}.ppm")), image).unwrap();
                }
            }
        }
        folder.display().to_string()
    }
}

/// Three classes of RGB images that only their color tells apart.
fn colors() -> Set {
    let look = |class: usize, _: usize, _: usize, channel: usize| match class == channel {
        true => 200,
        false => 90,
    };
    // Names with what a file name may have.
    Set::new(&["Blau", "grün & gelb", "rot, dunkel"], [32, 24, 3], look)
}

/// Two classes of gray images: one half is brighter.
fn halves() -> Set {
    let look = |class: usize, x: usize, _: usize, _: usize| match (x >= 4) == (class == 1) {
        true => 220,
        false => 40,
    };
    Set::new(&["left", "right"], [8, 8, 1], look)
}

/// Twelve classes of gray images: a bar in one of four places, of one of three brightnesses.
fn bars() -> Set {
    let names: Vec<String> = (0..12).map(|i| format!("bar {i:02}")).collect();
    let look = |class: usize, _: usize, y: usize, _: usize| match y / 5 == class % 4 {
        true => [90, 160, 250][class / 4],
        false => 20,
    };
    Set::new(
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
        [20, 20, 1],
        look,
    )
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A recipe that learns what these sets show in a few epochs, without flips, which would make left
/// of right.
fn recipe(folder: &Path, architecture: &str, more: &str) -> String {
    let path = folder.join(format!("{architecture}{}.toml", more.len()));
    let recipe = format!(
        "architecture = '{architecture}'\nepochs = 6\nbatch_size = 16\n{more}\n\
         [optimizer]\nname = 'adamw'\nlearning_rate = 5e-3\n\n\
         [augment]\nshift = 0.05\nbrightness = 0.1\nerase = 0.2\nblur = 0.2\njpeg = 0.2\n"
    );
    fs::write(&path, recipe).unwrap();
    path.display().to_string()
}

/// The probabilities of each record, in the order of its classes.
fn probabilities(model: &str, engine: &str, images: &[&str]) -> Vec<Vec<f64>> {
    let args = [
        "infer", "--faces", "never", "--format", "json", "--model", model, "--engine", engine,
    ];
    let records = run(&[&args[..], images].concat()).expect(0).records();
    let row = |record: &Value| {
        let row = record["probabilities"].as_object().unwrap();
        row.values().map(|p| p.as_f64().unwrap()).collect()
    };
    records.iter().map(row).collect()
}

fn accuracy(args: &[&str]) -> f64 {
    let report = run(&[&["eval", "-q", "--format", "json"], args].concat()).expect(0);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    report["accuracy"].as_f64().unwrap()
}

fn metadata(file: &Path) -> std::collections::BTreeMap<String, String> {
    fer::onnx::OnnxModel::read(file).unwrap().header.metadata
}

#[test]
fn any_classes_are_learned_exported_and_measured() {
    let rows = [
        (colors(), "tiny", "32x24", "3"),
        (colors(), "vgg", "32x24", "3"),
        (halves(), "tiny", "8x8", "1"),
        (halves(), "notebook", "8x8", "1"),
        (halves(), "repvgg", "8x8", "1"),
        (bars(), "tiny", "20x20", "1"),
    ];
    let mut wrong = Vec::new();
    for (set, architecture, size, channels) in rows {
        let folder = tempfile::tempdir().unwrap();
        let what = format!("{architecture} {size}x{channels}");
        let data = set.write(&folder.path().join("data"), 40, 20);
        let (out, onnx) = (
            folder.path().join("run"),
            folder.path().join("run/model.onnx"),
        );
        let config = recipe(folder.path(), architecture, "");
        let trained = run(&[
            "train",
            "--config",
            &config,
            "--data",
            &data,
            "--out",
            text(&out),
        ]);
        let trained = trained.expect(0);
        let said = format!("{} classes ({}", set.classes.len(), set.classes[0]);
        if !trained.stderr.contains(&said) {
            wrong.push(format!("{what}: no '{said}' in {}", trained.stderr));
        }
        let found = accuracy(&["--model", text(&out)]);
        let chance = 1.0 / set.classes.len() as f64;
        if found < chance + 0.4 * (1.0 - chance) {
            wrong.push(format!("{what}: accuracy {found}"));
        }
        run(&["export", "-q", "--onnx", "--run", text(&out)]).expect(0);
        let written = metadata(&onnx);
        let labels: Vec<String> = serde_json::from_str(&written["fer.labels"]).unwrap();
        let said = [
            &written["fer.size"],
            &written["fer.channels"],
            &written["fer.resize"],
        ];
        if labels != set.classes || said != [size, channels, "nearest"] {
            wrong.push(format!("{what}: {labels:?} {said:?}"));
        }
        let image = |class: &String| format!("{data}/test/{class}/0.ppm");
        let images: Vec<String> = set.classes.iter().map(image).collect();
        let images: Vec<&str> = images.iter().map(String::as_str).collect();
        if ort().is_some() {
            let own = probabilities(text(&out), "burn", &images);
            let other = probabilities(text(&onnx), "ort", &images);
            let apart = own.iter().flatten().zip(other.iter().flatten());
            let apart = apart.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let onnx = accuracy(&["--model", text(&onnx), "--data", &data]);
            if apart > 1e-5 || own.len() != set.classes.len() || (onnx - found).abs() > 1e-9 {
                wrong.push(format!(
                    "{what}: apart by {apart}, accuracy {onnx} for {found}"
                ));
            }
        }
    }
    all_right(wrong);
}

#[test]
fn a_run_of_ones_own_classes_is_resumed_started_from_and_taught_by() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let data = colors().write(&folder.path().join("data"), 40, 20);
    let config = recipe(folder.path(), "tiny", "seed = 4");
    let train = |out: &str, more: &[&str]| {
        let args = [
            "train", "-q", "--config", &config, "--data", &data, "--out", out,
        ];
        run(&[&args[..], more].concat())
    };
    let (whole, cut) = (path("whole"), path("cut"));
    train(&whole, &[]).expect(0);

    // A run that is interrupted after its first epoch ends as one that is not.
    let mut running = fer()
        .args([
            "train", "-q", "--config", &config, "--data", &data, "--out", &cut,
        ])
        .spawn()
        .unwrap();
    let first = PathBuf::from(&cut).join("checkpoints/last.ckpt");
    while !first.exists() && running.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let pid = running.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().unwrap();
    let code = running.wait().unwrap().code();
    assert!(matches!(code, Some(0 | 1)), "{code:?}");
    run(&["train", "-q", "--resume", &cut]).expect(0);
    let exported = |out: &str| {
        run(&["export", "-q", "--onnx", "--run", out]).expect(0);
        fs::read(format!("{out}/model.onnx")).unwrap()
    };
    assert!(exported(&whole) == exported(&cut), "the weights differ");

    // The weights come back through a run folder and through an ONNX file.
    let onnx = format!("{whole}/model.onnx");
    let reached = accuracy(&["--model", &whole]);
    for (init, out) in [(&whole, path("from-run")), (&onnx, path("from-onnx"))] {
        train(&out, &["--init", init, "--lr", "1e-9", "--epochs", "1"]).expect(0);
        assert_eq!(accuracy(&["--model", &out]), reached, "{init}");
    }
    // A teacher has the say over labels that its pupil is not shown: those of another order.
    let pupil = path("pupil");
    train(&pupil, &["--teacher", &whole, "--epochs", "2"]).expect(0);
    assert!(accuracy(&["--model", &pupil]) > 0.5);

    // Other classes, and another size, fit none of these.
    let other = halves().write(&folder.path().join("other"), 20, 10);
    let refused = |data: &str, more: &[&str]| {
        let args = [
            "train", "-q", "--preset", "tiny", "--out", "none", "--data", data,
        ];
        run(&[&args[..], more].concat())
            .expect(2)
            .error()
            .to_string()
    };
    let rows = [
        (
            refused(&other, &["--init", &whole]),
            "its image size is 32x24, not 8x8",
        ),
        (
            refused(&other, &["--init", &onnx]),
            "its image size is 32x24, not 8x8",
        ),
        (
            refused(&other, &["--teacher", &whole]),
            "its image size is 32x24, not 8x8",
        ),
        (
            refused(&other, &["--init", &whole, "--size", "32x24"]),
            "its number of channels is 3, not 1",
        ),
        (
            refused(
                &other,
                &["--init", &whole, "--size", "32x24", "--channels", "3"],
            ),
            "its list of classes is Blau, grün & gelb, rot, dunkel, not left, right",
        ),
    ];
    let wrong = rows
        .iter()
        .filter(|(said, expected)| !said.contains(expected));
    all_right(
        wrong
            .map(|(said, expected)| format!("{expected}: {said}"))
            .collect(),
    );
}

#[test]
fn images_of_other_sizes_are_resized_in_training_as_in_inference() {
    let folder = tempfile::tempdir().unwrap();
    let set = halves();
    let data = set.write(&folder.path().join("data"), 30, 15);
    // Some are larger, and some of them in color.
    for (label, class) in set.classes.iter().enumerate() {
        for (part, number) in [("train", 3), ("train", 7), ("test", 4)] {
            let image = set.image(label, number, [40 + number, 33, 1 + 2 * (number % 2)]);
            fs::write(format!("{data}/{part}/{class}/{number}.ppm"), image).unwrap();
        }
    }
    let config = recipe(folder.path(), "tiny", "");
    let args = ["train", "-q", "--config", &config, "--data", &data, "--out"];
    let out = folder.path().join("none");
    let refused = run(&[&args[..], &[text(&out)]].concat()).expect(2);
    for part in [
        "3.ppm: the image is 43x33",
        "; leave it out with --exclude",
        "--size",
        "0.ppm is 8x8",
    ] {
        assert!(
            refused.error().contains(part),
            "{part}: {}",
            refused.error()
        );
    }
    assert!(!out.exists());
    let rows = [
        (&["--size", "12x16", "--channels", "1"][..], "12x16", "1"),
        // Color is asked for by the images themselves.
        (&["--size", "16"], "16x16", "3"),
    ];
    for (more, size, channels) in rows {
        let out = folder.path().join(size);
        run(&[&args[..], &[text(&out)], more].concat()).expect(0);
        let found = accuracy(&["--model", text(&out)]);
        assert!(found > 0.8, "{size}: {found}");
        run(&["export", "-q", "--onnx", "--run", text(&out)]).expect(0);
        let onnx = out.join("model.onnx");
        let said = metadata(&onnx);
        let said = ["size", "channels", "resize"].map(|key| said[&format!("fer.{key}")].clone());
        assert_eq!(said, [size, channels, "antialias"]);
        if ort().is_some() {
            let images = ["left/3.ppm", "right/7.ppm", "left/4.ppm"]
                .map(|name| format!("{data}/train/{name}"));
            let images: Vec<&str> = images.iter().map(String::as_str).collect();
            let own = probabilities(text(&out), "burn", &images);
            let other = probabilities(text(&onnx), "ort", &images);
            let mut apart = own.iter().flatten().zip(other.iter().flatten());
            assert!(
                apart.all(|(a, b)| (a - b).abs() < 1e-5),
                "{own:?} {other:?}"
            );
        }
    }
}

#[test]
fn a_thousand_classes_are_enough_and_reports_stay_short() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..1000).map(|i| format!("class {i:03}")).collect();
    let look = |class: usize, x: usize, y: usize, _: usize| ((class >> (x / 2)) * 90 + y) as u8;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let set = Set::new(&names, [8, 8, 1], look);
    let data = set.write(&folder.path().join("data"), 1, 1);
    let out = folder.path().join("run");
    let args = [
        "train", "-q", "--preset", "tiny", "--epochs", "1", "--data", &data, "--out",
    ];
    run(&[&args[..], &[text(&out)]].concat()).expect(0);
    let summary = fs::read_to_string(out.join("summary.md")).unwrap();
    assert!(summary.lines().count() < 150, "{}", summary.lines().count());
    assert!(out.join("confusion.png").is_file());
    let report = run(&["eval", "-q", "--model", text(&out)]).expect(0).stdout;
    assert!(report.lines().count() < 100 && report.contains("The 50 of 1000 classes"));
    run(&["export", "-q", "--onnx", "--run", text(&out)]).expect(0);
    let preview = folder.path().join("preview.png");
    run(&[
        "data",
        "preview",
        &data,
        "-o",
        text(&preview),
        "--preset",
        "tiny",
    ])
    .expect(0);
    assert!(preview.is_file());
}

#[test]
fn a_file_names_the_classes_where_folders_would_be_taken_for_the_seven_emotions() {
    let folder = tempfile::tempdir().unwrap();
    let mut names = fer::spec::EMOTIONS.to_vec();
    names.push("ahegao");
    let set = Set::new(&names, [8, 8, 1], |class, _, _, _| (class * 30) as u8);
    let data = set.write(folder.path(), 2, 2);
    let check = || run(&["data", "check", "-q", "--format", "json", &data]);
    let refused = check().expect(2);
    assert!(
        refused.error().contains("the folder ahegao is not a class"),
        "{}",
        refused.error()
    );
    assert!(
        refused.error().contains("classes.txt"),
        "{}",
        refused.error()
    );
    names.reverse();
    fs::write(folder.path().join("classes.txt"), names.join("\n")).unwrap();
    let report: Value = serde_json::from_str(&check().stdout).unwrap();
    let classes = report["classes"].as_array().unwrap();
    let classes: Vec<&str> = classes
        .iter()
        .map(|c| c["class"].as_str().unwrap())
        .collect();
    assert_eq!(classes, names);
}

#[test]
fn what_can_not_be_trained_on_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, classes: &[&str], size: [usize; 3]| {
        let set = Set::new(classes, size, |class, _, _, _| (class * 90) as u8);
        set.write(&folder.path().join(name), 2, 2)
    };
    let two = make("two", &["a", "b"], [8, 8, 1]);
    let small = make("small", &["a", "b"], [7, 9, 1]);
    let wide = make("wide", &["a", "b"], [513, 8, 1]);
    let one = make("one", &["a"], [8, 8, 1]);
    let twice = make("twice", &["cat", "Cat"], [8, 8, 1]);
    let many: Vec<String> = (0..1001).map(|i| format!("c{i}")).collect();
    let many = many.iter().map(String::as_str).collect::<Vec<_>>();
    let set = Set::new(&many, [8, 8, 1], |_, _, _, _| 0);
    let many = set.write(&folder.path().join("many"), 0, 0);
    let missing = make("missing", &["a", "b", "c"], [8, 8, 1]);
    fs::remove_dir_all(format!("{missing}/test/b")).unwrap();
    let strange = make("strange", &["a", "b"], [8, 8, 1]);
    fs::create_dir(format!("{strange}/test/d")).unwrap();
    let parts = make("parts", &["a", "b"], [8, 8, 1]);
    for class in ["a", "b"] {
        for number in 0..2 {
            let image = Set::new(&["a"], [9, 8, 1], |_, _, _, _| 9).image(0, 0, [9, 8, 1]);
            fs::write(format!("{parts}/test/{class}/{number}.ppm"), image).unwrap();
        }
    }
    let weights = recipe(
        folder.path(),
        "tiny",
        "loss.class_weights = [1, 1, 1, 1, 1, 1, 1]",
    );
    let rows: [(&str, &[&str], &str); 13] = [
        (
            &small,
            &[],
            "images of 7x9 pixels: a network takes sides of 8 to 512",
        ),
        (
            &wide,
            &[],
            "images of 513x8 pixels: a network takes sides of 8 to 512",
        ),
        (&one, &[], "holds no class folders (there is a)"),
        (&twice, &[], "the folders Cat and cat are the same class"),
        (
            &many,
            &[],
            "holds 1001 folders; a data set has 1000 classes at most",
        ),
        (
            &missing,
            &[],
            "the class b is missing (there is a, c); add it",
        ),
        (&strange, &[], "train: the class d is missing"),
        (&parts, &[], "8x8 pixels"),
        (&two, &["--size", "7"], "'7' is not a size"),
        (&two, &["--size", "48x513"], "'48x513' is not a size"),
        (
            &two,
            &["--channels", "2"],
            "input.channels must be 1 (gray) or 3 (RGB)",
        ),
        (
            &two,
            &["--config", &weights],
            "loss.class_weights lists factors of the seven emotions",
        ),
        (&two, &["--votes", "Cargo.toml"], "Cargo.toml"),
    ];
    let mut wrong = Vec::new();
    for (data, more, expected) in rows {
        let out = folder.path().join("none");
        let args = ["train", "-q", "--data", data, "--out", text(&out)];
        let ended = run(&[&args[..], more].concat());
        if ended.code != 2 || !ended.stderr.contains(expected) || out.exists() {
            wrong.push(format!("{data} {more:?}: {} {}", ended.code, ended.stderr));
        }
    }
    let ended = run(&["eval", "-q", "--engine", "burn", "--data", &two]);
    if ended.code != 2 || !ended.stderr.contains("the data's a, b") {
        wrong.push(format!(
            "the built-in model: {} {}",
            ended.code, ended.stderr
        ));
    }
    all_right(wrong);
}

#[test]
fn runs_on_the_seven_emotions_say_nothing_of_their_task() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    run(&["data", "synth", &path("faces"), "--count", "140"]).expect(0);
    let (data, out) = (path("faces"), path("run"));
    let args = [
        "train", "-q", "--preset", "tiny", "--epochs", "1", "--data", &data,
    ];
    run(&[&args[..], &["--out", &out]].concat()).expect(0);
    let read = |name: &str| fs::read_to_string(Path::new(&out).join(name)).unwrap();
    let metrics: Value = serde_json::from_str(&read("metrics.json")).unwrap();
    assert_eq!(metrics["data"].get("task"), None);
    assert!(
        !read("config.toml").contains("[input]"),
        "{}",
        read("config.toml")
    );
}
