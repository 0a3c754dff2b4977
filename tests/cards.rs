//! Every model has a card, `models/<name>.md`, and what it claims is what `fer eval` measures, through both engines.

mod common;

use common::{all_right, data, ort, run};
use fer::onnx::OnnxModel;

/// The names of the models in `models/`, with the text of their cards.
fn cards() -> Vec<(String, String)> {
    let list = std::fs::read_dir(common::root().join("models")).unwrap().map(|entry| entry.unwrap().path());
    let mut models: Vec<_> = list.filter(|path| path.extension().is_some_and(|e| e == "onnx")).collect();
    models.sort();
    assert!(models.len() >= 2, "{models:?}");
    let card = |path: &std::path::PathBuf| {
        let card = path.with_extension("md");
        let text = std::fs::read_to_string(&card).unwrap_or_else(|e| panic!("{}: {e}", card.display()));
        (path.file_stem().unwrap().to_string_lossy().into_owned(), text)
    };
    models.iter().map(card).collect()
}

#[test]
fn cards_name_size_and_calibration_of_their_files() {
    let mut wrong = Vec::new();
    for (name, card) in cards() {
        let path = common::root().join("models").join(&name).with_extension("onnx");
        let size = format!("{:.1} MB", path.metadata().unwrap().len() as f64 / 1e6);
        let metadata = OnnxModel::read(&path).unwrap().header.metadata;
        let numbers = metadata.get("fer.temperature").zip(metadata.get("fer.exponent"));
        let calibration = numbers.map(|(t, e)| format!("at temperature {t} and exponent {e}"));
        if name == "fer" && calibration.is_none() {
            wrong.push("models/fer.onnx has no calibration".into());
        }
        let pictures =
            card.split("](").skip(1).filter_map(|link| link.split(')').next()).filter(|l| l.ends_with(".png"));
        for picture in pictures.filter(|picture| !common::root().join("models").join(picture).is_file()) {
            wrong.push(format!("models/{name}.md shows {picture}, which is not there"));
        }
        if card.contains("@@") {
            wrong.push(format!("models/{name}.md has a place that was not filled in"));
        }
        for claim in [Some(size), calibration].into_iter().flatten() {
            if !card.contains(&claim) {
                wrong.push(format!("models/{name}.md does not say {claim}"));
            }
        }
    }
    all_right(wrong);
}

#[test]
fn cards_claim_what_is_measured_on_public_test() {
    let Some(data) = data() else { return };
    let data = data.display().to_string();
    // PublicTest's images that have a copy among the training images, which both models have seen: a list with exit code 1.
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen.txt").display().to_string();
    run(&["data", "check", "-q", &data, "--quarantine", &seen, "--keep", "training"]).expect(1);
    let engines = if ort().is_some() { &["burn", "ort"][..] } else { &["burn"] };
    let mut wrong = Vec::new();
    for (name, card) in cards() {
        let model = format!("models/{name}.onnx");
        for engine in engines {
            let args = ["eval", "-q", "--model", &model, "--engine", engine, "--data", &data, "--part", "validation"];
            let report = run(&[&args[..], &["--format", "markdown"]].concat()).expect(0).stdout;
            // What follows names files of the data set.
            let figures = report.split("### Most confident mistakes").next().unwrap().trim();
            let flipped = run(&[&args[..], &["--tta", "flip"]].concat()).expect(0).stdout;
            let unseen = run(&[&args[..], &["--exclude", &seen]].concat()).expect(0).stdout;
            for claim in [figures, flipped.lines().next().unwrap(), unseen.lines().next().unwrap()] {
                if claim.is_empty() || !card.contains(claim) {
                    wrong.push(format!("models/{name}.md is not what {engine} gives:\n{claim}"));
                }
            }
        }
    }
    all_right(wrong);
}

/// One corruption stands for the table: four passes over PublicTest a model, by the compiled-in engine
/// alone; about a minute of CPU time for both.
#[test]
fn cards_claim_what_is_measured_on_corrupted_images() {
    let Some(data) = data() else { return };
    let data = data.display().to_string();
    let mut wrong = Vec::new();
    for (name, card) in cards() {
        let args = ["eval", "-q", "--model", &format!("models/{name}.onnx"), "--engine", "burn", "--data", &data];
        let more = ["--part", "validation", "--format", "markdown", "--corruptions", "gamma"];
        let report = run(&[&args[..], &more].concat()).expect(0).stdout;
        let row = report.lines().find(|line| line.starts_with("| gamma |")).unwrap();
        if !card.lines().any(|line| line == row) {
            wrong.push(format!("models/{name}.md does not have the row that is measured:\n{row}"));
        }
    }
    all_right(wrong);
}
