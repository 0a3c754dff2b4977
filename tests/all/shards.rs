//! Parquet files and WebDataset's archives through the program: pictures to classify, data sets,
//! and records.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::{path, root, run};

/// The data set that pyarrow wrote: scripts/shards_golden.py.
const GOLDEN: &str = "tests/golden/shards";

/// Writes files into an archive of the oldest form.
fn tar(path: &Path, files: &[(String, Vec<u8>)]) {
    let mut out = File::create(path).unwrap();
    for (name, content) in files {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = b'0';
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.write_all(&header).unwrap();
        out.write_all(content).unwrap();
        let filled = content.len().next_multiple_of(512) - content.len();
        out.write_all(&vec![0; filled]).unwrap();
    }
    out.write_all(&[0; 1024]).unwrap();
}

/// Whether two values are the same, numbers to 1e-5.
fn near(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => {
            (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-5
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let same = |(key, a): (&String, &Value)| b.get(key).is_some_and(|b| near(a, b));
            a.len() == b.len() && a.iter().all(same)
        }
        (a, b) => a == b,
    }
}

/// The records of some pictures, without their paths, and the paths.
fn infer(paths: &[&str]) -> (Vec<Value>, Vec<String>) {
    let usual = ["infer", "-q", "--engine", "burn", "--format", "json"];
    let mut records = run(&[&usual, paths].concat()).expect(0).records();
    let path = |record: &mut Value| {
        let path = record.as_object_mut().unwrap().remove("path");
        path.unwrap().as_str().unwrap().to_string()
    };
    let paths = records.iter_mut().map(path).collect();
    (records, paths)
}

#[test]
fn pictures_in_shards_have_the_records_of_those_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let faces = [
        "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
    ];
    let files: Vec<_> = faces
        .iter()
        .map(|face| {
            let name = format!("{face}.png");
            let bytes = fs::read(root().join("examples/faces").join(&name)).unwrap();
            (name, bytes)
        })
        .collect();
    let archive = folder.path().join("a.tar");
    tar(&archive, &files);
    let archive = archive.display().to_string();
    let (right, _) = infer(&[&path("examples/faces")]);

    let parquet = format!("{GOLDEN}/data/test-00000-of-00001.parquet");
    let (records, names) = infer(&[&parquet]);
    assert_eq!(records, right);
    assert_eq!(names[6], format!("{parquet}#6"));
    let (records, names) = infer(&[&archive]);
    assert_eq!(records, right);
    assert_eq!(names[6], format!("{archive}/surprise.png"));
    // A folder's, in the order of their names.
    let (records, names) = infer(&[GOLDEN]);
    // In other batches, sums have other last digits.
    let both = Value::from([&right[..], &right].concat());
    assert!(near(&Value::from(records), &both));
    assert_eq!(
        names[13],
        format!("{GOLDEN}/data/train-00001-of-00002.parquet#2")
    );

    // What is damaged is a record, and the rest is classified.
    let cut = folder.path().join("cut.tar");
    let bytes = fs::read(&archive).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let none = folder.path().join("none.parquet");
    fs::write(&none, "PAR1").unwrap();
    let (cut, none) = (cut.display().to_string(), none.display().to_string());
    let usual = ["infer", "-q", "--engine", "burn", "--format", "json"];
    let records = run(&[&usual[..], &[&cut, &none, &parquet]].concat())
        .expect(1)
        .records();
    let errors: Vec<_> = records
        .iter()
        .filter(|r| r.get("error").is_some())
        .collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(errors[0]["path"], cut);
    assert!(
        errors[0]["error"].as_str().unwrap().contains("cut off"),
        "{errors:?}"
    );
    assert_eq!(errors[1]["path"], none);
    assert_eq!(records.len(), 3 + 2 + 7);
    // The faces of pictures in shards are cut out like others.
    let crops = folder.path().join("crops").display().to_string();
    let usual = [
        "infer", "-q", "--engine", "burn", "--faces", "always", "--crops", &crops,
    ];
    run(&[&usual[..], &[&parquet]].concat()).expect(0);
    assert!(Path::new(&crops).join("contact-sheet.png").is_file());
}

#[test]
fn compressed_archives_are_read_as_they_are_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let faces = ["angry", "happy", "sad"].map(|face| format!("{face}.png"));
    let image = |name: &String| {
        let bytes = fs::read(root().join("examples/faces").join(name)).unwrap();
        (name.clone(), bytes)
    };
    let mut files: Vec<_> = faces.iter().map(image).collect();
    files.insert(1, ("notes.txt".into(), vec![b'-'; 70_000]));
    tar(&folder.path().join("a.tar"), &files);
    let (right, _) = infer(&[&at("a.tar")]);
    let gzip = Command::new("gzip").args(["-k", &at("a.tar")]).status();
    assert!(gzip.unwrap().success());
    for name in ["a.tar.gz", "b.TGZ", "c.tar"] {
        // Whether it is compressed, its bytes say.
        if name != "a.tar.gz" {
            fs::copy(at("a.tar.gz"), at(name)).unwrap();
        }
        let (records, names) = infer(&[&at(name)]);
        assert_eq!(records, right, "{name}");
        assert_eq!(names[2], format!("{}/sad.png", at(name)));
    }
    let bytes = fs::read(at("a.tar.gz")).unwrap();
    fs::write(at("cut.tgz"), &bytes[..bytes.len() / 2]).unwrap();
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 40].fill(0xff);
    fs::write(at("damaged.tgz"), &damaged).unwrap();
    let text = Command::new("gzip").args(["-c", "README.md"]).output();
    fs::write(at("text.tgz"), text.unwrap().stdout).unwrap();
    let rows = [("cut.tgz", "cut off"), ("text.tgz", "a text")];
    for (name, said) in rows {
        let usual = ["infer", "-q", "--engine", "burn", "--format", "json"];
        let records = run(&[&usual[..], &[&at(name)]].concat())
            .expect(1)
            .records();
        let last = records.last().unwrap();
        assert_eq!(last["path"], at(name), "{records:?}");
        assert!(last["error"].as_str().unwrap().contains(said), "{last}");
    }
    run(&["infer", "-q", "--engine", "burn", &at("damaged.tgz")]).expect(1);
    let refused = run(&["eval", "--data", &at("a.tar.gz")]).expect(2);
    assert!(refused.error().contains("unpack it"), "{refused:?}");
    // The competition's archive.
    let csv = [("fer2013/README", "x"), ("fer2013/fer2013.csv", "emotion")];
    let csv = csv.map(|(name, text)| (name.to_string(), text.as_bytes().to_vec()));
    tar(&folder.path().join("csv.tar"), &csv);
    let gzip = Command::new("gzip").args(["-k", &at("csv.tar")]).status();
    assert!(gzip.unwrap().success());
    let rows = [
        (
            "csv.tar",
            "holds no image files, but fer2013/fer2013.csv; unpack it with `tar xf`",
        ),
        (
            "csv.tar.gz",
            "archive of fer2013/fer2013.csv; unpack it with `tar xzf`, and name that file",
        ),
    ];
    for (name, said) in rows {
        let refused = run(&["data", "check", &at(name)]).expect(2);
        assert!(refused.error().contains(said), "{refused:?}");
    }
    let said = run(&["infer", "--engine", "burn", &at("csv.tar.gz")]).expect(1);
    assert!(said.stdout.contains(rows[0].1), "{said:?}");
}

#[test]
fn a_data_set_of_shards_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let faces = [
        "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
    ];
    let image = |face: &str| fs::read(root().join(format!("examples/faces/{face}.png"))).unwrap();
    for face in faces {
        let class = folder.path().join("folders").join(face);
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join("a.png"), image(face)).unwrap();
    }
    let archive: Vec<_> = faces
        .iter()
        .flat_map(|face| {
            [
                (format!("{face}.cls"), face.as_bytes().to_vec()),
                (format!("{face}.png"), image(face)),
            ]
        })
        .collect();
    tar(&folder.path().join("a.tar"), &archive);
    let at = |name: &str| folder.path().join(name).display().to_string();
    let eval = |data: &str, more: &[&str]| -> Value {
        let usual = [
            "eval", "-q", "--engine", "burn", "--format", "json", "--data", data,
        ];
        serde_json::from_str(&run(&[&usual[..], more].concat()).expect(0).stdout).unwrap()
    };
    let right = eval(&at("folders"), &[]);
    assert_eq!(right["images"], 7);
    assert_eq!(eval(&at("a.tar"), &[])["accuracy"], right["accuracy"]);
    // The test part's labels are named by README.md alone.
    let parquet = eval(GOLDEN, &[]);
    assert_eq!(
        (&parquet["images"], &parquet["accuracy"]),
        (&right["images"], &right["accuracy"])
    );
    assert_eq!(eval(GOLDEN, &["--part", "training"])["images"], 7);
    assert_eq!(eval(GOLDEN, &["--part", "all"])["images"], 14);
    let check = run(&["data", "check", GOLDEN]);
    assert!(check.stdout.contains("14 images"), "{check:?}");

    let unnamed = at("unnamed.parquet");
    fs::copy(
        root().join(GOLDEN).join("data/test-00000-of-00001.parquet"),
        &unnamed,
    )
    .unwrap();
    let refused = run(&["eval", "--data", &unnamed]).expect(2);
    assert!(refused.error().contains("plain numbers"), "{refused:?}");
    let classes = faces.join(",");
    let named = eval(&unnamed, &["--classes", &classes]);
    assert_eq!(named["accuracy"], right["accuracy"]);
}

#[test]
fn training_on_shards_is_training_on_folders() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    run(&["data", "synth", &at("faces"), "--count", "140"]).expect(0);
    fs::create_dir(at("shards")).unwrap();
    // In the order of the folders.
    for part in ["train", "test"] {
        let mut files = Vec::new();
        let mut classes: Vec<_> = fs::read_dir(folder.path().join("faces").join(part))
            .unwrap()
            .map(|class| class.unwrap().path())
            .collect();
        classes.sort();
        for class in classes {
            let mut images: Vec<_> = fs::read_dir(&class)
                .unwrap()
                .map(|image| image.unwrap().path())
                .collect();
            images.sort();
            for image in images {
                let stem = image.file_stem().unwrap().to_string_lossy().into_owned();
                // In folders the name says it; in shards all of the part are for one purpose.
                if stem.starts_with("PrivateTest") {
                    continue;
                }
                let label = class.file_name().unwrap().to_string_lossy();
                let name = format!("{label}/{stem}");
                files.push((format!("{name}.cls"), label.as_bytes().to_vec()));
                files.push((format!("{name}.png"), fs::read(&image).unwrap()));
            }
        }
        tar(
            &folder.path().join(format!("shards/faces-{part}-0.tar")),
            &files,
        );
    }
    let train = |data: &str, out: &str| {
        let usual = [
            "train", "-q", "--preset", "tiny", "--epochs", "1", "--data", data,
        ];
        run(&[&usual[..], &["--out", out]].concat()).expect(0);
        fs::read_to_string(Path::new(out).join("history.csv")).unwrap_or_default()
    };
    let (one, two) = (at("one"), at("two"));
    let (of_folders, of_shards) = (train(&at("faces"), &one), train(&at("shards"), &two));
    let lines = |text: &str| {
        text.lines()
            .map(|l| l.split(',').take(5).collect::<Vec<_>>().join(","))
            .collect::<Vec<_>>()
    };
    assert!(!of_folders.is_empty());
    assert_eq!(lines(&of_folders), lines(&of_shards));
    // The run's own data is found again.
    let eval = run(&["eval", "-q", "--model", &two, "--engine", "burn"]).expect(0);
    assert!(eval.stdout.contains("accuracy"), "{eval:?}");
}

#[test]
fn records_are_written_as_parquet_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let parquet = root().join(GOLDEN).join("data/test-00000-of-00001.parquet");
    let list = folder.path().join("list.txt");
    // More than one part, so that a run that is killed after the first leaves it.
    let lines = format!("{}\n", parquet.display()).repeat(800);
    fs::write(&list, lines).unwrap();
    let list = format!("@{}", list.display());
    let at = |name: &str| folder.path().join(name).display().to_string();
    let output = at("a.parquet");
    let usual = [
        "infer", "-q", "--engine", "burn", "--faces", "never", "-o", &output, &list,
    ];
    let mut child = crate::common::fer().args(usual).spawn().unwrap();
    let first = folder.path().join("a.parquet.part/00000000.parquet");
    while !first.is_file() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the run ended before it was killed"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let refused = run(&usual).expect(2);
    assert!(refused.error().contains("--resume"), "{refused:?}");
    let loud = [
        "infer", "--engine", "burn", "--faces", "never", "-o", &output, &list, "--resume",
    ];
    let resumed = run(&loud).expect(0);
    assert!(
        resumed
            .stderr
            .contains("going on behind the records of 4096 images"),
        "{resumed:?}"
    );
    assert!(!folder.path().join("a.parquet.part").exists());

    // A Parquet file of records is not a data set: it has no images.
    let refused = run(&["infer", &output]).expect(1);
    assert!(
        refused
            .stdout
            .contains("no column with the bytes of images"),
        "{refused:?}"
    );
    let bytes = fs::read(&output).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    let rows: [(&[&str], &str); 2] = [
        (
            &["infer", &list, "--format", "parquet"],
            "name one with --output",
        ),
        (
            &["infer", &list, "--format", "parquet", "-o", "/dev/null"],
            "name one with --output",
        ),
    ];
    for (args, said) in rows {
        let refused = run(args).expect(2);
        assert!(refused.error().contains(said), "{refused:?}");
    }
}
