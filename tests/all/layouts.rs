//! Data sets as people have them: folders and CSV files of many forms, through the program; what
//! they are taken for, what is said of it, and what is refused.

use std::fs;
use std::path::Path;

use crate::common::{Run, all_right, run};
use serde_json::Value;

const EMOTIONS: [&str; 7] = [
    "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
];

/// A gray image of a class, as a PGM file; each number is another one.
fn image(class: usize, number: usize, side: usize) -> Vec<u8> {
    let mut file = format!("P5\n{side} {side}\n255\n").into_bytes();
    let mut state = (class * 10_007 + number * 101 + 1) as u32;
    for _ in 0..side * side {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        file.push((20 + 25 * class + (state >> 25) as usize % 60) as u8);
    }
    file
}

/// Writes three images of each class into the class folders `names` of each part.
fn write(folder: &Path, parts: &[&str], names: &[&str], side: usize) {
    for (part, at) in parts.iter().zip(0..) {
        for (class, name) in names.iter().enumerate() {
            let folder = folder.join(part).join(name);
            fs::create_dir_all(&folder).unwrap();
            for number in 0..3 {
                let image = image(class, 100 * at + number, side);
                fs::write(folder.join(format!("{number}.pgm")), image).unwrap();
            }
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:?}"))
}

/// The classes of `data check`, each with its images for training, validation and test.
fn counts(report: &Value) -> String {
    let count = |class: &Value| {
        let name = class["class"].as_str().unwrap();
        let usages = ["training", "public_test", "private_test"].map(|key| class[key].to_string());
        match usages.iter().all(|n| n == "0") {
            true => format!("{name} {}", class["images"]),
            false => format!("{name} {}", usages.join("+")),
        }
    };
    let classes = report["classes"].as_array().unwrap();
    classes.iter().map(count).collect::<Vec<_>>().join(", ")
}

/// Each name with the same counts.
fn each(names: &[&str], counts: &str) -> String {
    let each = names.iter().map(|name| format!("{name} {counts}"));
    each.collect::<Vec<_>>().join(", ")
}

#[test]
fn folders_are_what_their_users_mean() {
    let numbers = ["0", "1", "2", "3", "4", "5", "6"];
    let from_one = ["1", "2", "3", "4", "5", "6", "7"];
    let fer = ["--classes", "angry,disgust,fear,happy,sad,surprise,neutral"];
    let numbered = [
        "0_angry",
        "1-disgust",
        "2 fear",
        "3_happy",
        "4_neutral",
        "5_sad",
        "6_surprise",
    ];
    let words = [
        "anger",
        "Disgust",
        "fearful",
        "joy",
        "Neutral",
        "sadness",
        "surprised",
    ];
    let eight = [
        "angry", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise",
    ];
    let ck = [
        "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise",
    ];
    let six = ["angry", "disgust", "fear", "happy", "sad", "surprise"];
    let raf = [
        "surprise", "fear", "disgust", "happy", "sad", "angry", "neutral",
    ];
    let (two, three, all) = ("3+3+0", "3+3+3", "3");
    struct Row<'a> {
        what: &'a str,
        parts: &'a [&'a str],
        names: &'a [&'a str],
        more: &'a [&'a str],
        args: &'a [&'a str],
        counts: String,
        said: &'a [&'a str],
    }
    let row = || Row {
        what: "train and test",
        parts: &["train", "test"],
        names: &EMOTIONS,
        more: &[],
        args: &[],
        counts: each(&EMOTIONS, two),
        said: &[],
    };
    let rows = [
        row(),
        Row {
            what: "numbers from 0, named",
            names: &numbers,
            args: &fer,
            counts: each(
                &[
                    "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral",
                ],
                two,
            ),
            said: &["names taken for classes: 0 = angry, 1 = disgust, 2 = fear"],
            ..row()
        },
        Row {
            what: "numbers from 1, named",
            names: &from_one,
            args: &fer,
            counts: each(
                &[
                    "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral",
                ],
                two,
            ),
            said: &["1 = angry, 2 = disgust"],
            ..row()
        },
        Row {
            what: "numbers that are the names",
            names: &numbers,
            args: &["--classes", "0,1,2,3,4,5,6"],
            counts: each(&numbers, two),
            ..row()
        },
        Row {
            what: "RAF-DB",
            parts: &["RAF-DB/DATASET/train", "RAF-DB/DATASET/test"],
            names: &from_one,
            more: &["RAF-DB/train_labels.csv"],
            counts: each(&EMOTIONS, two),
            said: &[
                "the data set in DATA is DATA/RAF-DB/DATASET",
                "RAF-DB's order, a guess from the folder's name: 1 = surprise, 2 = fear, 3 = disgust",
            ],
            ..row()
        },
        Row {
            what: "RAF-DB, named otherwise",
            parts: &["RAF-DB/train", "RAF-DB/test"],
            names: &from_one,
            args: &["--classes", &raf.join(",")],
            counts: each(&raf, two),
            said: &["names taken for classes: 1 = surprise"],
            ..row()
        },
        Row {
            what: "numbers before names",
            names: &numbered,
            said: &["names taken for classes: 0_angry = angry, 1-disgust = disgust, 2 fear = fear"],
            ..row()
        },
        Row {
            what: "other words",
            names: &words,
            said: &[
                "anger = angry, fearful = fear, joy = happy, sadness = sad, surprised = surprise",
            ],
            ..row()
        },
        Row {
            what: "Kaggle's other set",
            parts: &["images/train", "images/validation"],
            said: &["the data set in DATA is DATA/images"],
            ..row()
        },
        Row {
            what: "with a copy of itself beside it",
            parts: &["images/train", "images/validation", "images/images/train"],
            said: &["left aside, as data sets of their own: images"],
            ..row()
        },
        Row {
            what: "one and two levels down",
            parts: &["a/b/train", "a/b/test"],
            more: &["a/README.md", "docs/x.txt"],
            said: &["the data set in DATA is DATA/a/b"],
            ..row()
        },
        Row {
            what: "Training and Testing",
            parts: &["Training", "Testing"],
            ..row()
        },
        Row {
            what: "the competition's names",
            parts: &["Training", "PublicTest", "PrivateTest"],
            counts: each(&EMOTIONS, three),
            ..row()
        },
        Row {
            what: "train_set, val_set and test_set",
            parts: &["train_set", "val_set", "test_set"],
            counts: each(&EMOTIONS, three),
            ..row()
        },
        Row {
            what: "the competition's names, divided",
            parts: &["training-set", "Public_Test", "private test"],
            counts: each(&EMOTIONS, three),
            ..row()
        },
        Row {
            what: "train, dev and test",
            parts: &["train", "dev", "test"],
            counts: each(&EMOTIONS, three),
            ..row()
        },
        Row {
            what: "train and eval",
            parts: &["train", "Eval"],
            ..row()
        },
        Row {
            what: "without the public test",
            parts: &["Training", "PrivateTest"],
            counts: each(&EMOTIONS, "3+0+3"),
            ..row()
        },
        Row {
            what: "a Mac's archive",
            parts: &["train", "test", "__MACOSX/train", "__MACOSX/test"],
            more: &[
                "__MACOSX/._train",
                ".DS_Store",
                "train/.DS_Store",
                "train/angry/._0.pgm",
            ],
            ..row()
        },
        Row {
            what: "AffectNet",
            names: &eight,
            counts: each(&eight, two),
            ..row()
        },
        Row {
            what: "CK+",
            parts: &[""],
            names: &ck,
            counts: each(
                &[
                    "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise",
                ],
                all,
            ),
            said: &[
                "anger = angry, sadness = sad",
                "there are no images of neutral",
            ],
            ..row()
        },
        Row {
            what: "six classes",
            parts: &[""],
            names: &six,
            counts: each(&six, all),
            said: &["there are no images of neutral"],
            ..row()
        },
        Row {
            what: "other files",
            more: &[
                "notes.txt",
                "train/a.xyz",
                "train/happy/b.heic",
                "train/sad/c.mp4",
            ],
            said: &[
                "4 files were not read, as their names do not end like an image's: DATA/notes.txt, \
                     DATA/train/a.xyz, DATA/train/happy/b.heic and 1 more",
            ],
            ..row()
        },
        Row {
            what: "images beside the class folders",
            more: &["overview.png", "train/a.pgm"],
            said: &[
                "not read: 2 images beside the class folders: DATA/overview.png, DATA/train/a.pgm",
            ],
            ..row()
        },
        Row {
            what: "classes of one's own, beside folders without images",
            parts: &["mine/train", "mine/test"],
            names: &["cat", "dog"],
            more: &["notes/a.txt"],
            counts: each(&["cat", "dog"], two),
            said: &["the data set in DATA is DATA/mine"],
            ..row()
        },
    ];
    let mut wrong = Vec::new();
    for row in rows {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        write(&data, row.parts, row.names, 48);
        for file in row.more {
            let file = data.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "x").unwrap();
        }
        let args = ["data", "check", "--format", "json", text(&data)];
        let run = run(&[&args[..], row.args].concat());
        let said = run.stderr.replace(text(&data), "DATA");
        let notes = said.lines().filter(|line| {
            let of_data = [
                "the data set in",
                "taken",
                "not read",
                "left aside",
                "no images of",
            ];
            of_data.iter().any(|part| line.contains(part))
        });
        let right = run.code < 2
            && counts(&json(&run)) == row.counts
            && row.said.iter().all(|part| said.contains(part))
            && (!row.said.is_empty() || notes.count() == 0);
        if !right {
            wrong.push(format!(
                "{}: {}\n{said}{}",
                row.what, row.counts, run.stdout
            ));
        }
    }
    all_right(wrong);
}

#[test]
fn folders_that_can_be_meant_in_several_ways_are_refused() {
    let numbers = ["0", "1", "2"];
    let many: Vec<String> = (0..200).map(|i| format!("set{i:03}/train")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    type Row<'a> = (
        &'a str,
        &'a [&'a str],
        &'a [&'a str],
        &'a [&'a str],
        &'a str,
    );
    let rows: [Row; 12] = [
        (
            "plain numbers",
            &["train", "test"],
            &numbers,
            &[],
            "the classes are plain numbers (0, 1, 2), and nothing says what they mean; name the \
             classes in the order of the numbers with --classes A,B,…",
        ),
        (
            "seven numbers",
            &[""],
            &["1", "2", "3", "4", "5", "6", "7"],
            &[],
            "--classes surprise,fear,disgust,happy,sad,angry,neutral if it is RAF-DB's",
        ),
        (
            "too few names",
            &["train", "test"],
            &numbers,
            &["--classes", "a,b"],
            "there are 3 numbers (0, 1, 2), and 2 classes are named for them (a, b)",
        ),
        (
            "names that no folder has",
            &[""],
            &["cat", "dog"],
            &["--classes", "cat,bird"],
            "the folder dog is not a class, and the class bird is missing",
        ),
        (
            "a name twice",
            &[""],
            &["cat", "dog"],
            &["--classes", "cat,cat"],
            "2 classes are named, 1 of them different",
        ),
        (
            "two data sets",
            &["a/train", "b/train"],
            &EMOTIONS,
            &[],
            "holds several folders that can be meant (a, b); name one of them",
        ),
        (
            "two hundred data sets",
            &many,
            &["cat", "dog"],
            &[],
            "(set000, set001, set002, set003, set004, set005, set006, set007, set008, set009 and \
             190 more)",
        ),
        (
            "a class twice",
            &["train"],
            &["angry", "0_angry", "disgust", "fear", "happy", "joy", "sad"],
            &[],
            "the folders 0_angry and angry are the same class",
        ),
        (
            "a part of an unknown name",
            &["train", "test", "extra"],
            &EMOTIONS,
            &[],
            "beside train, test there is extra, which is none of train, validation and test; \
             rename or move it, or name the one folder that is meant",
        ),
        (
            "an empty name",
            &[""],
            &["cat", "dog"],
            &["--classes", "cat,dog,"],
            "class 3 of 3 has an empty name",
        ),
        (
            "a blank name",
            &[""],
            &["cat", "dog"],
            &["--classes", "cat, ,dog"],
            "class 2 of 3 has an empty name",
        ),
        (
            "a part that lacks a class",
            &["train"],
            &EMOTIONS[..5],
            &[],
            "",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, parts, names, args, said) in rows {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        write(&data, parts, names, 8);
        if said.is_empty() {
            write(&data, &["test"], &EMOTIONS, 8);
        }
        let said = match said {
            "" => "data/train: the class sad, surprise is missing",
            said => said,
        };
        for command in [&["data", "check"][..], &["eval", "--data"]] {
            let run = run(&[command, &[text(&data)], args].concat());
            let named = run.stderr.contains(text(&data));
            if run.code != 2 || !named || !run.stderr.contains(said) || run.stderr.len() > 1000 {
                wrong.push(format!("{what}: {said}: {run:?}"));
            }
        }
    }
    all_right(wrong);
}

#[test]
fn a_model_is_measured_on_the_classes_that_it_shares_with_the_data() {
    let eight = [
        "anger", "contempt", "disgust", "fear", "joy", "neutral", "sad", "surprise",
    ];
    let six = ["angry", "disgust", "fear", "happy", "sad", "surprise"];
    type Row<'a> = (
        &'a [&'a str],
        &'a [&'a str],
        usize,
        &'a [&'a str],
        &'a [&'a str],
    );
    let rows: [Row; 4] = [
        (&EMOTIONS, &EMOTIONS, 0, &[], &[]),
        (&eight, &EMOTIONS, 3, &["contempt"], &[]),
        (&six, &six, 0, &[], &["neutral"]),
        (
            &["cat", "happy", "sad"],
            &["happy", "sad"],
            3,
            &["cat"],
            &["angry", "disgust"],
        ),
    ];
    let mut wrong = Vec::new();
    for (names, shared, images, data_only, model_only) in rows {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[""], names, 48);
        let data = text(folder.path());
        let args = ["eval", "--engine", "burn", "--data", data];
        let run_json = run(&[&args[..], &["--format", "json"]].concat()).expect(0);
        let report = json(&run_json);

        // What `fer infer` says of these images, with the other classes taken out.
        let (mut right, mut count, mut loss) = (0, 0, 0.0);
        for name in names {
            let images = folder.path().join(name);
            let infer = [
                "infer", "-q", "--faces", "never", "--engine", "burn", "--format", "json",
            ];
            let records = run(&[&infer[..], &[text(&images)]].concat())
                .expect(0)
                .records();
            let class = match *name {
                "anger" => "angry",
                "joy" => "happy",
                name => name,
            };
            if !shared.contains(&class) {
                continue;
            }
            for record in records {
                let of = |class: &str| record["probabilities"][class].as_f64().unwrap();
                let sum: f64 = shared.iter().map(|class| of(class)).sum();
                let best = shared.iter().all(|other| of(other) <= of(class));
                right += i64::from(best);
                count += 1;
                loss -= (of(class) / sum).clamp(1e-7, 1.0 - 1e-7).ln();
            }
        }
        let found = (report["correct"].as_i64(), report["images"].as_i64());
        let apart = (report["loss"].as_f64().unwrap() - loss / f64::from(count)).abs();
        if found != (Some(right), Some(i64::from(count))) || apart > 1e-5 {
            wrong.push(format!(
                "{names:?}: {right} of {count}, loss apart {apart}: {report}"
            ));
        }
        let labels = report["classes"].as_array().unwrap().len();
        let left_out = &report["left_out"];
        let said = run(&args).expect(0).stdout;
        let is_whole = data_only.is_empty() && model_only.is_empty();
        let lists = |key: &str, names: &[&str]| {
            let listed = left_out[key].as_array().unwrap();
            names.iter().all(|name| listed.contains(&(*name).into()))
        };
        let told = match is_whole {
            true => left_out.is_null() && !said.contains("left out"),
            false => {
                left_out["images"] == images
                    && lists("data_classes", data_only)
                    && lists("model_classes", model_only)
                    && said.contains("classes that model and data share")
                    && (images == 0 || said.contains("left out of the data: 3 images of"))
                    && (model_only.is_empty() || said.contains("left out of the model: "))
            }
        };
        if labels != shared.len() || !told {
            wrong.push(format!("{names:?}: {left_out}\n{said}"));
        }
    }
    all_right(wrong);

    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[""], &["cat", "happy"], 48);
    let refused = run(&["eval", "--data", text(folder.path())]).expect(2);
    assert!(
        refused.error().contains("they share less than two"),
        "{}",
        refused.error()
    );
}

#[test]
fn a_run_remembers_what_its_numbers_mean() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write(&data, &["train", "test"], &["0", "1", "2"], 96);
    let (data, out) = (text(&data), folder.path().join("run"));
    let classes = ["--classes", "sad, happy,fear"];
    let args = [
        "train", "--preset", "tiny", "--epochs", "1", "--size", "48", "--data", data,
    ];
    let trained = run(&[&args[..], &classes, &["--out", text(&out)]].concat()).expect(0);
    assert!(
        trained.stderr.contains("0 = sad, 1 = happy, 2 = fear"),
        "{}",
        trained.stderr
    );
    assert!(
        trained.stderr.contains("3 classes (sad, happy, fear)"),
        "{}",
        trained.stderr
    );
    let report = json(&run(&["eval", "-q", "--format", "json", "--model", text(&out)]).expect(0));
    assert_eq!(report["classes"][0]["label"], "sad");
    run(&["train", "-q", "--resume", text(&out)]).expect(0);
    let exported = run(&["export", "--onnx", "--run", text(&out)]).expect(0);
    assert!(
        !exported.stderr.contains("plain numbers"),
        "{}",
        exported.stderr
    );
    let again = run(&["train", "-q", "--resume", text(&out), "--classes", "a,b,c"]);
    assert!(again.expect(2).stderr.contains("--resume"));
}

/// A CSV file of two images of each label; `by` divides the columns.
fn csv(header: [&str; 3], labels: &[&str], usages: [&str; 2], by: &str) -> String {
    let mut file = header.join(by) + "\n";
    for (usage, at) in usages.into_iter().zip(0..) {
        for (class, label) in labels.iter().enumerate() {
            let pixels = &image(class, at, 12)[13..];
            let pixels: Vec<String> = pixels.iter().map(u8::to_string).collect();
            file += &format!("{label}{by}{}{by}{usage}\n", pixels.join(" "));
        }
    }
    file
}

#[test]
fn csv_files_are_read_as_people_have_them() {
    let usual = ["emotion", "pixels", "Usage"];
    let usages = ["Training", "PublicTest"];
    let numbers = ["0", "1", "2", "3", "4", "5", "6"];
    let names = [
        "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral",
    ];
    let words = [
        "Anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral",
    ];
    let floats = numbers.map(|n| format!("{n}.0"));
    let floats: Vec<&str> = floats.iter().map(String::as_str).collect();
    let savetxt = numbers.map(|n| format!("{n}.000000000000000000e+00"));
    let savetxt: Vec<&str> = savetxt.iter().map(String::as_str).collect();
    let all = each(&EMOTIONS, "1+1+0");
    let junk = |file: String| file + "                    ,,,,,\n";
    type Row<'a> = (&'a str, String, &'a [&'a str], String, &'a str);
    let rows: Vec<Row> = vec![
        (
            "usual",
            csv(usual, &numbers, usages, ","),
            &[],
            all.clone(),
            "",
        ),
        (
            "semicolons",
            csv(usual, &numbers, usages, ";"),
            &[],
            all.clone(),
            "",
        ),
        (
            "tabs",
            csv(usual, &numbers, usages, "\t"),
            &[],
            all.clone(),
            "",
        ),
        (
            "floats",
            csv(usual, &floats, usages, ","),
            &[],
            all.clone(),
            "",
        ),
        (
            "floats as np.savetxt writes them",
            csv(usual, &savetxt, usages, ","),
            &[],
            all.clone(),
            "",
        ),
        (
            "names",
            csv(usual, &names, usages, ","),
            &[],
            all.clone(),
            "",
        ),
        (
            "words",
            csv(usual, &words, usages, ","),
            &[],
            all.clone(),
            "Anger = angry, joy = happy",
        ),
        (
            "other columns",
            csv(
                ["label", " pixels", " split"],
                &numbers,
                ["train", "val"],
                ",",
            ),
            &[],
            all.clone(),
            "",
        ),
        (
            "other usages",
            csv(usual, &numbers, ["training_set", "dev"], ","),
            &[],
            all.clone(),
            "",
        ),
        (
            "Windows",
            format!(
                "\u{feff}{}",
                csv(usual, &numbers, usages, ",").replace('\n', "\r\n")
            ),
            &[],
            all.clone(),
            "",
        ),
        (
            "junk",
            junk(csv(usual, &numbers, usages, ",")),
            &[],
            all.clone(),
            "passed over line 16 at the end, which holds no image",
        ),
        (
            "more junk",
            junk(csv(usual, &numbers, usages, ",")) + "\n(14 rows)\n",
            &[],
            all.clone(),
            "passed over 2 lines at the end that hold no image, the first is line 16",
        ),
        (
            "other numbers",
            csv(usual, &["2", "0", "1"], ["train", "test"], ","),
            &["--classes", "a,b,c"],
            each(&["a", "b", "c"], "1+1+0"),
            "",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, file, args, expected, said) in rows {
        // By its own name, and in a folder that is named.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set/icml_face_data.csv");
        fs::create_dir(folder.path().join("set")).unwrap();
        fs::write(&path, file).unwrap();
        fs::write(folder.path().join("set/test.csv"), "pixels\n1 2 3 4\n").unwrap();
        for named in [text(&path), text(folder.path())] {
            let args = [&["data", "check", "--format", "json", named], args].concat();
            let run = run(&args);
            let opened = named.ends_with(".csv") || run.stderr.contains("icml_face_data.csv");
            let right = run.code < 2 && opened && counts(&json(&run)) == expected;
            if !right || !run.stderr.contains(said) {
                wrong.push(format!("{what}: {expected}: {run:?}"));
            }
        }
    }
    all_right(wrong);

    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    put(
        "a.csv",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
    );
    put("b.zip", b"PK\x03\x04");
    put("c.csv", b"emotion,pixels\n7,1 2 3 4\n");
    put("d.csv", b"emotion,pixels\n1,1 2 3 4\n2,1 2 3");
    let numbered = |numbers: &[&str]| csv(usual, numbers, usages, ",").into_bytes();
    put("one.csv", &numbered(&["1", "2", "3", "4", "5", "6", "7"]));
    put(
        "eight.csv",
        &numbered(&["0", "1", "2", "3", "4", "5", "6", "7"]),
    );
    put("mixed.csv", &numbered(&["0", "angry"]));
    fs::create_dir(folder.path().join("zipped")).unwrap();
    put("zipped/fer.zip", b"PK\x03\x04");
    let rows = [
        ("a.csv", "a Git LFS pointer"),
        ("b.zip", "a zip archive, not an image; unpack it"),
        ("c.csv", "the emotion is '7'"),
        (
            "one.csv",
            "one.csv:8: the emotion is '7'; it can be 0 to 6, as in fer2013.csv; repair the line, \
             or say what 1 to 7 mean, in this order, with --classes A,B,…",
        ),
        (
            "eight.csv",
            "eight.csv:9: the emotion is '7'; it can be 0 to 6, as in fer2013.csv; repair the \
             line, or say what 0 to 7 mean, in this order, with --classes angry,disgust,fear,\
             happy,sad,surprise,neutral,contempt (if it is ckextended.csv)",
        ),
        (
            "mixed.csv",
            "mixed.csv:3: the emotion is 'angry'; it can be 0 to 6, as the lines before have \
             numbers: write numbers or names in all lines",
        ),
        (
            "zipped",
            "zipped: holds no class folders, but fer.zip; unpack it",
        ),
        ("d.csv", ":3: there are 3 pixels"),
    ];
    let wrong = rows.iter().filter_map(|(name, said)| {
        let run = run(&["data", "check", text(&folder.path().join(name))]);
        (run.code != 2 || !run.stderr.contains(said)).then(|| format!("{name}: {said}: {run:?}"))
    });
    all_right(wrong.collect());
}
