//! People's votes through the binary: what is learned from them, how a model is compared with them,
//! and what is refused.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::{self, all_right, fer, run, run_without_ort};
use fer::data::votes::{Counts, Matched};
use fer::data::{Catalog, Dataset, Votes};
use fer::spec::EMOTIONS;
use serde_json::Value;
use tempfile::TempDir;

/// FER+'s columns in the order of [`EMOTIONS`], then contempt, unknown and no face.
const COLUMNS: &str = "anger,disgust,fear,happiness,neutral,sadness,surprise,contempt,unknown,nf";

/// A folder for one test, with drawn faces in `faces/`.
struct Files(TempDir);

impl Files {
    fn new(count: usize) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        run(&[
            "data",
            "synth",
            &files.path("faces"),
            "--count",
            &count.to_string(),
        ])
        .expect(0);
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn catalog(&self, data: &str) -> Catalog {
        Catalog::open(Path::new(&self.path(data))).unwrap()
    }

    /// Writes votes by name.
    fn votes(&self, file: &str, lines: impl IntoIterator<Item = (String, [u8; 10])>) -> String {
        let line = |(name, votes): (String, [u8; 10])| {
            format!("{name},{}\n", votes.map(|n| n.to_string()).join(","))
        };
        let lines: String = lines.into_iter().map(line).collect();
        self.write(file, &format!("name,{COLUMNS}\n{lines}"))
    }

    /// `history.csv` of a run without the columns of time.
    fn history(&self, run: &str) -> Vec<String> {
        let csv = String::from_utf8(self.read(&format!("{run}/history.csv"))).unwrap();
        csv.lines()
            .map(|line| line.split(',').take(5).collect::<Vec<_>>().join(","))
            .collect()
    }

    /// The last weights of a run, exported: the same bytes for the same weights.
    fn weights(&self, run: &str) -> Vec<u8> {
        let (checkpoint, file) = (
            self.path(&format!("{run}/checkpoints/last.ckpt")),
            self.path("weights.onnx"),
        );
        run_without_ort(&["export", "-q", "--onnx", &file, "--checkpoint", &checkpoint]).expect(0);
        // The metadata, at the end, names the votes.
        let bytes = fs::read(file).unwrap();
        let end = bytes.windows(8).position(|w| w == b"fer.data").unwrap();
        assert!(end > 4 * 80_000, "the metadata is not at the end");
        bytes[..end].to_vec()
    }
}

/// Ten votes for one class.
fn sure(class: usize) -> [u8; 10] {
    std::array::from_fn(|i| if i == class { 10 } else { 0 })
}

fn file_name(relative: &str) -> String {
    relative.rsplit('/').next().unwrap().to_string()
}

#[test]
fn a_network_learns_what_people_saw_and_not_what_the_label_says() {
    let files = Files::new(1400);
    // The same faces under wrong names: the next class's. Their file names stay.
    let mut votes = Vec::new();
    for item in files.catalog("faces").items {
        let (part, _) = item.relative.split_once('/').unwrap();
        let wrong = EMOTIONS[(usize::from(item.label) + 1) % EMOTIONS.len()];
        let folder = files.path(&format!("wrong/{part}/{wrong}"));
        fs::create_dir_all(&folder).unwrap();
        fs::copy(
            &item.name,
            Path::new(&folder).join(file_name(&item.relative)),
        )
        .unwrap();
        votes.push((file_name(&item.relative), sure(item.label.into())));
    }
    let votes = files.votes("votes.csv", votes);
    let (wrong, pupil) = (files.path("wrong"), files.path("pupil"));
    let args = [
        "train", "--preset", "tiny", "--data", &wrong, "--votes", &votes, "--out", &pupil,
    ];
    let trained = run(&args).expect(0);
    let said = "votes have a share of 1 in the targets of 1120 images";
    assert!(trained.stderr.contains(said), "{}", trained.stderr);
    let (last, faces) = (
        format!("{pupil}/checkpoints/last.ckpt"),
        files.path("faces"),
    );
    // By the labels alone it would be wrong on all of them.
    run(&[
        "eval",
        "-q",
        "--model",
        &last,
        "--data",
        &faces,
        "--part",
        "test",
        "--min-accuracy",
        "0.9",
    ])
    .expect(0);
    // The file of votes and its share are in the run's configuration, and its summary says so.
    let config = String::from_utf8(files.read("pupil/config.toml")).unwrap();
    assert!(
        config.contains(&format!("votes = \"{votes}\"")) && config.contains("votes_share = 1.0"),
        "{config}"
    );
    let summary = String::from_utf8(files.read("pupil/summary.md")).unwrap();
    assert!(
        summary.contains("Of their targets 100 % are people's votes"),
        "{summary}"
    );
}

/// A recipe that runs in a second or two and uses what targets depend on.
const RECIPE: &str = r#"
architecture = "tiny"
epochs = 6
batch_size = 16
ema = 0.9
[loss]
label_smoothing = 0.1
class_weights = "balanced"
votes_share = 0.7
[optimizer]
name = "adamw"
learning_rate = 0.005
[augment]
shift = 0.1
mixup = 0.2
"#;

/// Votes that are not sure of anything, for most training images.
fn mixed_votes(files: &Files) -> String {
    let items = files.catalog("faces").items;
    let some = items
        .iter()
        .enumerate()
        .filter(|(i, item)| item.relative.starts_with("train/") && i % 5 > 0);
    let votes = |i: usize, class: usize| {
        let mut votes = [0; 10];
        votes[class] = 6;
        votes[(class + i) % 10] += 3;
        votes[(class + 2 * i) % 10] += 1;
        votes
    };
    files.votes(
        "votes.csv",
        some.map(|(i, item)| (file_name(&item.relative), votes(i, item.label.into()))),
    )
}

#[test]
fn a_run_with_votes_goes_on_as_if_it_had_not_been_stopped_and_only_with_them() {
    let files = Files::new(140);
    let (votes, recipe, faces) = (
        mixed_votes(&files),
        files.write("recipe.toml", RECIPE),
        files.path("faces"),
    );
    let (whole, broken) = (files.path("whole"), files.path("broken"));
    let args = [
        "train", "--config", &recipe, "--data", &faces, "--votes", &votes, "--out",
    ];
    run(&[&args[..], &[&whole]].concat()).expect(0);
    let mut child = fer().args([&args[..], &[&broken, "-q"]].concat()).spawn();
    let child = child.as_mut().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let history = Path::new(&broken).join("history.csv");
    while !history.is_file() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let lines = files.history("broken").len();
    assert!(
        (3..13).contains(&lines),
        "the run was not killed on its way: {lines} lines"
    );
    // Votes that were changed since are refused, and votes that are gone.
    let resume = ["train", "--resume", &broken];
    let bytes = files.read("votes.csv");
    fs::write(
        &votes,
        [&bytes[..], b"another.png,1,0,0,0,0,0,0,0,0,0\n"].concat(),
    )
    .unwrap();
    let changed = run(&resume).expect(2);
    let said = format!("{votes} has other votes than when this run began");
    assert!(changed.error().contains(&said), "{}", changed.error());
    fs::remove_file(&votes).unwrap();
    let gone = run(&resume).expect(2);
    assert!(
        gone.error().contains("votes.csv: can't be read"),
        "{}",
        gone.error()
    );
    let other = run(&["train", "--resume", &broken, "--votes", &votes]).expect(2);
    assert!(
        other.stderr.contains("cannot be used with"),
        "{}",
        other.stderr
    );
    fs::write(&votes, bytes).unwrap();
    run(&resume).expect(0);
    assert_eq!(files.history("whole"), files.history("broken"));
    assert!(
        files.weights("whole") == files.weights("broken"),
        "the weights differ"
    );

    // A share of 0 is a run without votes, bit for bit; a run with another share is another.
    let train = |out: &str, recipe: &str, more: &[&str]| {
        let out = files.path(out);
        run(&[
            &[
                "train", "-q", "--config", recipe, "--data", &faces, "--out", &out,
            ],
            more,
        ]
        .concat())
        .expect(0);
    };
    train(
        "plain",
        &files.write("plain.toml", &RECIPE.replace("votes_share = 0.7\n", "")),
        &[],
    );
    train("none", &recipe, &["--votes", &votes, "--votes-share", "0"]);
    assert_eq!(files.history("plain"), files.history("none"));
    assert!(
        files.weights("plain") == files.weights("none"),
        "the weights differ"
    );
    assert_ne!(files.history("plain"), files.history("whole"));
    // An exported model says which votes it learned from, and one without says nothing.
    for (out, votes) in [("whole", true), ("plain", false)] {
        let (model, folder) = (files.path("model.onnx"), files.path(out));
        run_without_ort(&["export", "-q", "--onnx", &model, "--run", &folder]).expect(0);
        let header = fer::onnx::OnnxModel::read(Path::new(&model))
            .unwrap()
            .header;
        assert_eq!(
            header.metadata.contains_key("fer.data.votes.sha256"),
            votes,
            "{out}"
        );
    }
}

/// The probabilities of the notebook's model for some images, by name.
fn predictions(images: &str) -> HashMap<String, Vec<f64>> {
    let args = [
        "infer", "-q", "--faces", "never", "--model", "notebook", "--engine", "burn", "--format",
        "json", images,
    ];
    let record = |record: &Value| {
        let row = EMOTIONS.map(|class| record["probabilities"][class].as_f64().unwrap());
        (record["path"].as_str().unwrap().to_string(), row.to_vec())
    };
    run(&args).expect(0).records().iter().map(record).collect()
}

#[test]
fn an_evaluation_compares_with_the_majority_and_the_distribution() {
    let files = Files::new(70);
    let faces = files.path("faces");
    let catalog = files.catalog("faces");
    let probabilities = predictions(&files.path("faces/train"));
    // What people voted of the training images, and what that makes of each.
    let (mut lines, mut correct, mut images, mut entropy, mut cross_entropy, mut voted) =
        (Vec::new(), 0u64, 0u64, 0.0, 0.0, 0u64);
    for (i, item) in catalog
        .items
        .iter()
        .filter(|item| item.relative.starts_with("train/"))
        .enumerate()
    {
        let p = &probabilities[&item.name];
        let best = (0..7).fold(
            0,
            |best, class| if p[class] > p[best] { class } else { best },
        );
        let mut votes = [0u8; 10];
        match i % 8 {
            0 => votes[best] = 10,
            1 | 2 => (votes[best], votes[(best + 3) % 7]) = (3, 7),
            3 => (votes[best], votes[(best + 1) % 7]) = (5, 5),
            4 => (votes[best], votes[7]) = (1, 9),
            5 => (votes[best], votes[8]) = (4, 6),
            6 => votes[9] = 10,
            // No line, or one without votes.
            _ if i % 16 == 7 => continue,
            _ => {}
        }
        let ours: u8 = votes[..7].iter().sum();
        for (class, votes) in votes[..7]
            .iter()
            .enumerate()
            .filter(|(_, votes)| **votes > 0)
        {
            let q = f64::from(*votes) / f64::from(ours);
            cross_entropy -= q * p[class].clamp(1e-7, 1.0 - 1e-7).ln();
            entropy -= q * q.ln();
        }
        voted += u64::from(ours > 0);
        images += u64::from(i % 8 < 3);
        correct += u64::from(i % 8 == 0);
        lines.push((file_name(&item.relative), votes));
    }
    let votes = files.votes("votes.csv", lines);
    let base = [
        "eval", "--model", "notebook", "--engine", "burn", "--data", &faces, "--part", "training",
    ];
    let with = |more: &[&str]| run(&[&base[..], &["--votes", &votes], more].concat()).expect(0);
    let json: Value = serde_json::from_str(&with(&["--format", "json"]).stdout).unwrap();
    let found = &json["votes"];
    assert_eq!(
        (found["images"].as_u64(), found["correct"].as_u64()),
        (Some(images), Some(correct)),
        "{found}"
    );
    assert_eq!(
        found["accuracy"].as_f64(),
        Some(correct as f64 / images as f64)
    );
    assert_eq!(found["voted_images"].as_u64(), Some(voted));
    for (name, sum) in [("cross_entropy", cross_entropy), ("entropy", entropy)] {
        let (value, expected) = (found[name].as_f64().unwrap(), sum / voted as f64);
        assert!(
            (value - expected).abs() < 1e-5,
            "{name}: {value}, not {expected}"
        );
    }
    // 56 training images, seven of each kind.
    let left_out = serde_json::json!({
        "ties": 7, "contempt": 7, "unknown": 7, "no_face": 7, "without_votes": 7
    });
    assert_eq!(found["left_out"], left_out);
    let said = with(&[]);
    assert!(
        said.stderr
            .contains("votes.csv: votes for 49 of 56 images\n"),
        "{}",
        said.stderr
    );
    let text = said.stdout;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("votes: "))
        .collect();
    assert!(
        lines[0].starts_with("votes: accuracy 33.33 % (17.") && lines[0].contains(" on 21 images"),
        "{lines:?}"
    );
    assert_eq!(
        lines[2],
        "votes: left out 7 ties, 7 contempt, 7 unknown, 7 no face, 7 without votes"
    );
    let markdown = with(&["--format", "markdown"]).stdout;
    assert!(
        lines
            .iter()
            .all(|line| markdown.lines().any(|other| other == *line)),
        "{markdown}"
    );
    // The figures by label are what they are without votes.
    let without = run(&base).expect(0).stdout;
    let rest: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("votes: "))
        .collect();
    assert_eq!(rest, without.lines().collect::<Vec<_>>());
    // An image that can't be read takes its votes along.
    fs::write(&catalog.items[0].name, b"no image").unwrap();
    let json = run(&[&base[..], &["--votes", &votes, "--format", "json"]].concat())
        .expect(1)
        .stdout;
    let less: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(less["votes"]["images"].as_u64(), Some(images - 1));
    assert_eq!(less["votes"]["correct"].as_u64(), Some(correct - 1));
}

/// `fer2013.csv` and FER+'s `fer2013new.csv` of some drawn faces, and the same votes by file name.
fn ferplus(files: &Files) -> [String; 3] {
    let catalog = files.catalog("faces");
    let all: Vec<usize> = (0..catalog.items.len()).rev().collect();
    let dataset = Dataset::load(&catalog, &all, &|| ()).unwrap();
    let mut data = String::from("emotion,pixels,Usage\n");
    let mut rows = String::from("Usage,Image name,");
    rows += "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n";
    let mut lines = Vec::new();
    for (row, index) in all.iter().enumerate() {
        let item = &catalog.items[*index];
        let (usage, class) = (item.usage.unwrap(), usize::from(item.label));
        // The competition's order: angry, disgust, fear, happy, sad, surprise, neutral.
        let label = [0, 1, 2, 3, 6, 4, 5][class];
        let pixels: Vec<String> = dataset.image(row).iter().map(u8::to_string).collect();
        data += &format!("{label},{},{usage}\n", pixels.join(" "));
        let mut votes = [0u8; 10];
        votes[(class + row % 3) % 10] += 8;
        votes[row % 10] += 2;
        let [a, d, f, h, n, s, su, c, u, nf] = votes;
        // FER+'s own number of an image is not its row.
        let name = if row % 11 == 0 {
            String::new()
        } else {
            format!("fer{:07}.png", row / 2)
        };
        rows += &format!("{usage},{name},{n},{h},{su},{s},{a},{d},{f},{c},{u},{nf}\n");
        lines.push((item.relative.clone(), votes));
        // As if there were empty lines in one of the two.
        if row == 3 {
            data += "\n";
        }
    }
    [
        files.write("fer2013.csv", &data),
        files.write("fer2013new.csv", &rows),
        files.votes("names.csv", lines),
    ]
}

#[test]
fn rows_and_names_give_an_image_the_same_votes() {
    let files = Files::new(70);
    let [csv, rows, names] = ferplus(&files);
    let faces = files.path("faces");
    let votes = |data: &str, votes: &str, more: &[&str]| -> Value {
        let args = [
            "eval", "-q", "--model", "notebook", "--engine", "burn", "--part", "all", "--format",
            "json",
        ];
        let args = [&args[..], &["--data", data, "--votes", votes], more].concat();
        serde_json::from_str::<Value>(&run(&args).expect(0).stdout).unwrap()["votes"].take()
    };
    let by_name = votes(&faces, &names, &[]);
    let by_row = votes(&csv, &rows, &[]);
    let near = |a: &Value, b: &Value| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-9;
    for figure in ["images", "correct", "left_out", "voted_images"] {
        assert_eq!(by_name[figure], by_row[figure], "{figure}");
    }
    assert!(
        near(&by_name["cross_entropy"], &by_row["cross_entropy"])
            && by_row["images"].as_u64() > Some(20)
    );
    // Images that are left out move no row.
    let left_out = files.write(
        "exclude.txt",
        "fer2013.csv:2\nfer2013.csv:7\nfer2013.csv:40\n",
    );
    let catalog = files.catalog("fer2013.csv");
    let mut less = catalog.clone();
    less.exclude(Path::new(&left_out)).unwrap();
    let file = Votes::read(Path::new(&rows)).unwrap();
    let all = |catalog: &Catalog| {
        file.of(catalog, &(0..catalog.items.len()).collect::<Vec<_>>())
            .unwrap()
            .counts
    };
    let expected = catalog
        .items
        .iter()
        .zip(all(&catalog))
        .filter(|(item, _)| less.items.contains(item));
    assert_eq!(
        all(&less),
        expected.map(|(_, counts)| counts).collect::<Vec<_>>()
    );
    assert_eq!(less.items.len(), 67);
    let some = votes(&csv, &rows, &["--exclude", &left_out]);
    assert!(
        some["images"].as_u64() < by_row["images"].as_u64(),
        "{some}"
    );
}

#[test]
fn a_name_that_means_several_images_has_votes_by_its_path_alone() {
    let files = Files(tempfile::tempdir().unwrap());
    for class in EMOTIONS {
        fs::create_dir_all(files.path(&format!("set/{class}"))).unwrap();
        files.write(&format!("set/{class}/{class}.png"), "");
    }
    for name in [
        "happy/twice.png",
        "sad/twice.png",
        "sad/other.png",
        "fear/other.png",
        "angry/lines.png",
    ] {
        files.write(&format!("set/{name}"), "");
    }
    let mut catalog = files.catalog("set");
    let lines = [
        ("happy.png", sure(3)),
        ("twice.png", sure(5)),
        ("sad/other.png", sure(5)),
        ("lines.png", sure(0)),
        ("lines.png", sure(1)),
        ("fear.png", [0; 10]),
    ];
    let votes = files.votes(
        "votes.csv",
        lines.map(|(name, votes)| (name.to_string(), votes)),
    );
    let votes = Votes::read(Path::new(&votes)).unwrap();
    let of = |catalog: &Catalog| -> (Vec<String>, usize) {
        let all: Vec<usize> = (0..catalog.items.len()).collect();
        let Matched { counts, ambiguous } = votes.of(catalog, &all).unwrap();
        let found = catalog
            .items
            .iter()
            .zip(counts)
            .filter(|(_, counts)| counts.is_some());
        (
            found.map(|(item, _)| item.relative.clone()).collect(),
            ambiguous,
        )
    };
    let expected = (
        ["happy/happy.png", "sad/other.png"]
            .map(String::from)
            .to_vec(),
        3,
    );
    assert_eq!(of(&catalog), expected);
    // Whichever of the two is left out, its name still may mean it.
    catalog
        .exclude(Path::new(&files.write("exclude.txt", "sad/twice.png\n")))
        .unwrap();
    assert_eq!(of(&catalog), (expected.0, 2));
    let happy = catalog
        .items
        .iter()
        .position(|item| item.relative == "happy/happy.png")
        .unwrap();
    let counts = Counts {
        classes: [0, 0, 0, 10, 0, 0, 0],
        ..Counts::default()
    };
    assert_eq!(votes.of(&catalog, &[happy]).unwrap().counts, [Some(counts)]);
}

#[test]
fn votes_that_do_not_fit_are_refused_in_a_line() {
    let files = Files::new(70);
    let [csv, rows, names] = ferplus(&files);
    let faces = files.path("faces");
    let text = fs::read_to_string(&rows).unwrap();
    let (head, _) = text.trim_end().rsplit_once('\n').unwrap();
    let short = files.write("short.csv", head);
    let turned: Vec<&str> = text
        .lines()
        .take(1)
        .chain(text.lines().skip(1).collect::<Vec<_>>().into_iter().rev())
        .collect();
    let turned = files.write("turned.csv", &turned.join("\n"));
    let wrong = files.write("wrong.csv", &text.replacen(",8,", ",eight,", 1));
    let strange = files.votes("strange.csv", [("nobody.png".to_string(), sure(3))]);
    let header = files.write("header.csv", &text.replace("happiness", "joy"));
    let rows_of_cases: [(&str, &str, &str); 10] = [
        (
            &faces,
            &rows,
            "fer2013new.csv: the votes are by row of fer2013.csv, and ",
        ),
        (
            &csv,
            &names,
            "names.csv: the votes are by file name (there is a column 'name'), and the images of ",
        ),
        (
            &csv,
            &short,
            "short.csv: there are 69 rows of votes, and 70 images in ",
        ),
        (&csv, &turned, ": the votes are for a "),
        (&csv, &wrong, "the number of votes for "),
        (
            &csv,
            &header,
            "header.csv:1: there is no column 'happiness'",
        ),
        (
            &faces,
            &strange,
            "strange.csv: there are votes for none of the ",
        ),
        (&faces, &csv, "fer2013.csv:1: there is no column 'anger'"),
        (&faces, "no/such.csv", "no/such.csv: can't be read"),
        (&faces, &faces, "can't be read"),
    ];
    let mut wrong = Vec::new();
    for (data, votes, expected) in rows_of_cases {
        let out = files.path("none");
        let train = [
            "train", "--preset", "tiny", "--data", data, "--out", &out, "--votes", votes,
        ];
        let eval = [
            "eval", "--model", "notebook", "--engine", "burn", "--data", data, "--votes", votes,
        ];
        for refused in [run(&train), run(&eval)] {
            if refused.code != 2
                || !refused.error().contains(expected)
                || !refused.stdout.is_empty()
            {
                wrong.push(format!(
                    "{data} {votes} should say '{expected}': {refused:?}"
                ));
            }
        }
        if Path::new(&out).exists() {
            wrong.push(format!(
                "{data} {votes}: a run that can't begin leaves a folder"
            ));
        }
    }
    // One voter: no class has the two votes that make it count in training.
    let named = fs::read_to_string(&names).unwrap();
    let single = named.lines().skip(1).map(|line| {
        (
            line.split(',').next().unwrap().to_string(),
            [1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        )
    });
    let single = files.votes("single.csv", single);
    let train = ["train", "--preset", "tiny", "--data", &faces];
    let recipe = "architecture = 'tiny'\nepochs = 1\nbatch_size = 8\nloss.votes_share = \
        0.5\n[optimizer]\nname = 'sgd'\nlearning_rate = 0.1";
    let recipe = files.write("share.toml", recipe);
    let refused = run(&["train", "--config", &recipe, "--data", &faces]);
    if refused.code != 2 || !refused.error().contains("name their file with --votes") {
        wrong.push(format!("a recipe with a share of no votes: {refused:?}"));
    }
    for (more, expected) in [
        (
            &["--votes", &single][..],
            "single.csv gives no training image a target: a class counts from two votes on",
        ),
        (&["--votes-share", "0.5"], "name their file with --votes"),
        (
            &["--votes", &names, "--votes-share", "1.5"][..],
            "loss.votes_share must be 0 to 1",
        ),
        (
            &["--votes", &names, "--votes-share", "-1"][..],
            "loss.votes_share must be 0 to 1",
        ),
        (
            &["--votes", &names, "--votes-share", "half"][..],
            "--votes-share",
        ),
    ] {
        let refused = run(&[&train[..], more].concat());
        if refused.code != 2 || !refused.stderr.contains(expected) {
            wrong.push(format!("{more:?} should say '{expected}': {refused:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn ferplus_majorities_on_public_test_are_those_that_were_counted() {
    let votes = common::root().join("../shared/data/ferplus.csv");
    let Some(data) = common::data() else { return };
    if !votes.is_file() {
        common::skip::<()>("votes", &format!("{} is not here", votes.display()));
        return;
    }
    let (data, votes) = (data.display().to_string(), votes.display().to_string());
    let args = [
        "eval", "-q", "--model", "notebook", "--engine", "burn", "--data", &data, "--votes", &votes,
    ];
    let json = run(&[&args[..], &["--part", "validation", "--format", "json"]].concat())
        .expect(0)
        .stdout;
    let found = serde_json::from_str::<Value>(&json).unwrap()["votes"].take();
    assert_eq!(found["images"].as_u64(), Some(3365), "{found}");
    let left_out = serde_json::json!({
        "ties": 157, "contempt": 24, "unknown": 25, "no_face": 1, "without_votes": 17
    });
    assert_eq!(found["left_out"], left_out);
}
