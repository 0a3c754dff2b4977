//! `fer infer --resume`: runs that are killed, what they leave, and how others go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{Run, fer, path, root, run};

/// The arguments of a run over the example faces, many times, and one that is not an image.
struct Case {
    folder: tempfile::TempDir,
    list: String,
}

impl Case {
    fn new(rounds: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faces = [
            "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
        ];
        let faces = faces.map(|face| path(&format!("examples/faces/{face}.png")));
        let bad = path("Cargo.toml");
        let lines: Vec<&str> = faces.iter().chain([&bad]).map(String::as_str).collect();
        let list = folder.path().join("list.txt");
        fs::write(&list, format!("{}\n", lines.join("\n")).repeat(rounds)).unwrap();
        let list = format!("@{}", list.display());
        Self { folder, list }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn args<'a>(&'a self, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let usual = ["infer", "-q", "--engine", "burn", "--batch-size", "16"];
        [&usual[..], &[&self.list, "-o", output], more].concat()
    }

    fn run(&self, output: &Path, more: &[&str]) -> Run {
        run(&self.args(&output.display().to_string(), more))
    }

    /// Kills a run by SIGKILL as soon as its folder holds so many bytes of records.
    fn kill(&self, output: &Path, more: &[&str], bytes: u64) {
        let name = output.display().to_string();
        let mut command = fer();
        let command = command.args(self.args(&name, more));
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let folder = part(output);
        let held = || -> u64 {
            let files = fs::read_dir(&folder).into_iter().flatten().flatten();
            let records = files.filter(|f| f.file_name() != "run.json");
            let records = records.filter(|f| !f.file_name().to_string_lossy().starts_with('.'));
            records.map(|f| f.metadata().map_or(0, |m| m.len())).sum()
        };
        let began = Instant::now();
        while held() < bytes {
            assert!(
                child.try_wait().unwrap().is_none(),
                "the run ended before it was killed"
            );
            assert!(
                began.elapsed() < Duration::from_secs(120),
                "no records come"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            !output.exists(),
            "an output that is not complete has its name"
        );
    }
}

/// The folder of an output that is not complete.
fn part(output: &Path) -> PathBuf {
    let mut name = output.to_path_buf().into_os_string();
    name.push(".part");
    name.into()
}

#[test]
fn a_killed_run_is_gone_on_with() {
    let case = Case::new(120);
    let rows: [(&str, &[&str]); 3] = [
        ("a.jsonl", &["--faces", "never"]),
        ("b.csv", &["--faces", "never"]),
        ("c.csv", &["--faces", "always"]),
    ];
    for (name, more) in rows {
        let whole = case.at(&format!("whole-{name}"));
        case.run(&whole, more).expect(1);
        let output = case.at(name);
        case.kill(&output, more, 20_000);

        let refused = case.run(&output, more).expect(2);
        assert!(
            refused.error().contains("go on behind them with --resume"),
            "{refused:?}"
        );
        let resume = [more, &["--resume"]].concat();
        // The exit code counts the records from before too.
        case.run(&output, &resume).expect(1);
        assert_same(&whole, &output);
        assert!(!part(&output).exists(), "{name}: the folder is left");
        case.run(&output, &resume).expect(0);
        assert_same(&whole, &output);
    }
}

#[test]
fn a_killed_run_over_a_csv_file_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("fer2013.csv");
    let mut lines = String::from("emotion,pixels,Usage\n");
    for row in 0..1000 {
        let pixels = (0..48 * 48).map(|p| (p * (row + 3) / 7 % 256).to_string());
        let pixels: Vec<String> = pixels.collect();
        lines += &format!("0,{},Training\n", pixels.join(" "));
    }
    fs::write(&csv, lines).unwrap();
    let list = csv.display().to_string();
    let case = Case { folder, list };
    let (whole, output) = (case.at("whole.jsonl"), case.at("a.jsonl"));
    case.run(&whole, &[]).expect(0);
    case.kill(&output, &[], 20_000);
    case.run(&output, &["--resume"]).expect(0);
    assert_same(&whole, &output);
    assert_eq!(fs::read_to_string(&output).unwrap().lines().count(), 1000);
}

/// Fails unless two files of records have the same lines, but for the last digits of numbers.
#[track_caller]
fn assert_same(one: &Path, other: &Path) {
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    let (one, other) = (text(one), text(other));
    assert_eq!(one.lines().count(), other.lines().count());
    let mut wrong = Vec::new();
    for (number, (a, b)) in one.lines().zip(other.lines()).enumerate() {
        let words = |line: &str| -> Vec<String> {
            line.split([',', ':', '{', '}', '[', ']'])
                .map(String::from)
                .collect()
        };
        let same = |(a, b): (&String, &String)| match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => (a - b).abs() < 1e-5,
            _ => a == b,
        };
        let (left, right) = (words(a), words(b));
        if left.len() != right.len() || !left.iter().zip(&right).all(same) {
            wrong.push(format!("line {}: {a} | {b}", number + 1));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} lines differ, {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(3)]
    );
}

#[test]
fn what_is_cut_off_is_made_anew() {
    let case = Case::new(30);
    for (name, faces) in [
        ("a.jsonl", "never"),
        ("a.csv", "never"),
        ("b.csv", "always"),
    ] {
        let more = ["--faces", faces];
        let whole = case.at(&format!("whole-{name}"));
        case.run(&whole, &more).expect(1);
        let text = fs::read(&whole).unwrap();
        let output = case.at(name);
        // What a run writes first says what it was made with.
        case.kill(&output, &more, 1);
        let run = fs::read(part(&output).join("run.json")).unwrap();
        let ends: [usize; 6] = [0, 1, 30, text.len() / 2, text.len() - 1, text.len()];
        for end in ends {
            for tail in [&b""[..], &[0; 700]] {
                fs::create_dir_all(part(&output)).unwrap();
                fs::write(part(&output).join("run.json"), &run).unwrap();
                fs::write(part(&output).join("records"), [&text[..end], tail].concat()).unwrap();
                case.run(&output, &[&more[..], &["--resume"]].concat())
                    .expect(1);
                assert_same(&whole, &output);
                fs::remove_file(&output).unwrap();
            }
        }
    }
}

#[test]
fn other_records_are_not_gone_on_with() {
    let case = Case::new(200);
    let output = case.at("a.jsonl");
    case.kill(&output, &["--faces", "never"], 5_000);
    let kept = fs::read(part(&output).join("records")).unwrap();
    let other = case.at("other.txt");
    fs::write(&other, format!("{}\n", path("examples/faces/sad.png"))).unwrap();
    let other = format!("@{}", other.display());
    let name = output.display().to_string();
    let base = ["infer", "-q", "--engine", "burn", "-o", &name, "--resume"];
    let rows: [(&[&str], &str); 5] = [
        (
            &[&case.list, "--faces", "always"],
            "another search for faces",
        ),
        (
            &[&case.list, "--faces", "never", "--meta", "temperature=2"],
            "another specification",
        ),
        (
            &[&case.list, "--faces", "never", "--model", "notebook"],
            "were made with another model",
        ),
        (
            &[&other, "--faces", "never"],
            "name the same pictures as before",
        ),
        (
            &[&case.list, "--crops", "crops"],
            "--crops needs all pictures",
        ),
    ];
    let mut wrong = Vec::new();
    for (more, said) in rows {
        let run = run(&[&base[..], more].concat());
        if run.code != 2 || !run.stderr.contains(said) {
            wrong.push(format!("{more:?}: {run:?}"));
        }
        // Nothing is lost by the attempt, but for a line that was cut off.
        let now = fs::read(part(&output).join("records")).unwrap();
        if !kept.starts_with(&now) || now.len() + 1000 < kept.len() {
            wrong.push(format!("{more:?}: records are lost"));
        }
    }
    let face = path("examples/faces/sad.png");
    let rows: [(&[&str], &str); 3] = [
        (&["infer", &face, "--resume"], "name one with --output"),
        (
            &["infer", &face, "--resume", "-o", "a.json"],
            "name one with --output",
        ),
        (
            &[
                "infer",
                &face,
                "--resume",
                "-o",
                "/dev/null",
                "--format",
                "csv",
            ],
            "--output",
        ),
    ];
    for (args, said) in rows {
        let run = run(args);
        if run.code != 2 || !run.stderr.contains(said) {
            wrong.push(format!("{args:?}: {run:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_says_where_its_records_are_and_two_do_not_write_one_output() {
    let case = Case::new(3000);
    let output = case.at("a.jsonl");
    let name = output.display().to_string();
    let mut command = fer();
    let child = command.args(case.args(&name, &["--faces", "never"]));
    let child = child.stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while fs::metadata(part(&output).join("records")).map_or(0, |m| m.len()) < 10_000 {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "no records come"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = case.run(&output, &["--resume"]).expect(2);
    assert!(
        second.error().contains("another fer infer writes"),
        "{second:?}"
    );
    let kill = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let ended = Run::of(child.wait_with_output().unwrap());
    assert!(
        ended.stderr.contains("--resume goes on behind them"),
        "{ended:?}"
    );
    assert!(root().is_dir());
}
