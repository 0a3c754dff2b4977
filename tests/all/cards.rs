//! Every model has a card, `models/<name>.md`, and what its marked regions claim is what is
//! measured: the report through both engines, the other figures as compiled in, and of the table of
//! corruptions one row.
//!
//! scripts/card fills the regions in and says what their commands mean.

use crate::common::{self, all_right, data, ort, run, skip};
use fer::onnx::OnnxModel;
use sha2::{Digest, Sha256};

/// The detector, which is not a classifier; tests/all/faces.rs looks at its card.
const DETECTOR: &str = "yunet";

/// What the names of models in 8-bit integers end in. ONNX Runtime alone runs them, and what their
/// cards claim is what is measured beside the float32 model.
const INT8: &str = ".int8";

/// The names of the classifiers in `models/`, with the text of their cards.
fn cards() -> Vec<(String, String)> {
    let list = std::fs::read_dir(common::root().join("models"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut models: Vec<_> = list
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .filter(|path| path.file_stem().is_some_and(|stem| stem != DETECTOR))
        .collect();
    models.sort();
    assert!(models.len() >= 2, "{models:?}");
    let card = |path: &std::path::PathBuf| {
        let card = path.with_extension("md");
        let text =
            std::fs::read_to_string(&card).unwrap_or_else(|e| panic!("{}: {e}", card.display()));
        (
            path.file_stem().unwrap().to_string_lossy().into_owned(),
            text,
        )
    };
    models.iter().map(card).collect()
}

/// The marked regions of a page: their commands and contents.
fn regions(page: &str) -> Vec<(&str, &str)> {
    let marked = page
        .split("<!-- ")
        .skip(1)
        .filter_map(|rest| rest.split_once(" -->"));
    let known = marked.filter(|(command, _)| {
        command.starts_with("fer ") || ["size", "calibration"].contains(command)
    });
    let regions: Vec<_> = known
        .map(|(command, content)| (command, content.trim()))
        .collect();
    assert_eq!(
        page.matches("<!-- end -->").count(),
        regions.len(),
        "a region has no end or two"
    );
    regions
}

#[test]
fn cards_name_size_and_calibration_of_their_files() {
    let mut wrong = Vec::new();
    for (name, card) in cards() {
        let path = common::root().join("models").join(format!("{name}.onnx"));
        let size = format!("{:.1} MB", path.metadata().unwrap().len() as f64 / 1e6);
        let metadata = OnnxModel::read(&path).unwrap().header.metadata;
        let numbers = metadata
            .get("fer.temperature")
            .zip(metadata.get("fer.exponent"));
        let calibration = numbers.map(|(t, e)| format!("at temperature {t} and exponent {e}"));
        if name == "fer" && calibration.is_none() {
            wrong.push("models/fer.onnx has no calibration".into());
        }
        // A quantized file belongs to one float32 file.
        if let Some(float) = name.strip_suffix(INT8) {
            for file in [&name, float] {
                let bytes = std::fs::read(common::path(&format!("models/{file}.onnx"))).unwrap();
                let digest = Sha256::digest(bytes);
                let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                if !card.contains(&digest) {
                    wrong.push(format!(
                        "models/{name}.md does not have the sha256 of {file}.onnx: {digest}"
                    ));
                }
            }
        }
        let pictures = card
            .split("](")
            .skip(1)
            .filter_map(|link| link.split(')').next())
            .filter(|l| l.ends_with(".png"));
        for picture in
            pictures.filter(|picture| !common::root().join("models").join(picture).is_file())
        {
            wrong.push(format!(
                "models/{name}.md shows {picture}, which is not there"
            ));
        }
        if card.contains("@@") {
            wrong.push(format!(
                "models/{name}.md has a place that was not filled in"
            ));
        }
        let claims = regions(&card);
        for (command, measured) in [("size", Some(size)), ("calibration", calibration)] {
            if let Some(measured) =
                measured.filter(|measured| !claims.contains(&(command, measured)))
            {
                wrong.push(format!("models/{name}.md does not say {measured}"));
            }
        }
    }
    all_right(wrong);
}

/// What scripts/card writes into a region of a page about `model`.
fn measured(command: &str, model: &str, engine: &str, files: &[(&str, String)]) -> String {
    let mut args: Vec<&str> = command.split_whitespace().skip(1).collect();
    for arg in &mut args {
        *arg = files
            .iter()
            .find(|(name, _)| name == arg)
            .map_or(*arg, |(_, path)| path);
    }
    args.extend(["-q", "--model", model, "--engine", engine]);
    if args[0] == "infer" {
        return format!("```text\n{}\n```", run(&args).expect(0).stdout.trim_end());
    }
    let data = files.iter().find(|(name, _)| name.is_empty()).unwrap();
    args.extend(["--data", &data.1]);
    let report = run(&args).expect(0).stdout;
    if !args.contains(&"markdown") {
        return report.lines().next().unwrap().into();
    }
    // What follows names files of the data set.
    report
        .split("### Most confident mistakes")
        .next()
        .unwrap()
        .trim()
        .into()
}

/// The engines that run a model.
fn engines(model: &str) -> &'static [&'static str] {
    if model.ends_with(INT8) {
        if ort().is_some() { &["ort"] } else { &[] }
    } else if ort().is_some() {
        &["burn", "ort"]
    } else {
        &["burn"]
    }
}

#[test]
fn cards_claim_what_is_measured_on_public_test() {
    let Some(data) = data() else { return };
    let data = data.display().to_string();
    // PublicTest's images that have a copy among the training images, which both models have seen.
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen.txt").display().to_string();
    run(&[
        "data",
        "check",
        "-q",
        &data,
        "--quarantine",
        &seen,
        "--keep",
        "training",
    ])
    .expect(1);
    let mut files = vec![("", data), ("seen.txt", seen)];
    let votes_needed = cards()
        .iter()
        .flat_map(|(_, card)| regions(card))
        .any(|(c, _)| c.contains("ferplus.csv"));
    if votes_needed {
        let votes = common::root().join("../shared/data/ferplus.csv");
        if !votes.is_file() {
            return skip("votes", &format!("{} is not here", votes.display())).unwrap_or_default();
        }
        files.push(("ferplus.csv", votes.display().to_string()));
    }
    let mut wrong = Vec::new();
    for (name, card) in cards() {
        let claims: Vec<_> = regions(&card)
            .into_iter()
            .filter(|(command, _)| command.starts_with("fer "))
            .collect();
        let parts = [
            "--format markdown",
            "--exclude seen.txt",
            "--votes ferplus.csv",
            "--tta flip",
            "--corruptions",
        ];
        for part in &parts[..if name.ends_with(INT8) { 2 } else { parts.len() }] {
            if !claims.iter().any(|(command, _)| command.contains(part)) {
                wrong.push(format!("models/{name}.md has no region of fer eval {part}"));
            }
        }
        for (command, claim) in &claims {
            // All of the table of corruptions would take minutes; one row is measured below.
            let engines = match command {
                command if command.contains("--corruptions") => &[][..],
                command if command.contains("--format markdown") => engines(&name),
                _ => &engines(&name)[..1.min(engines(&name).len())],
            };
            for engine in engines {
                let measured = measured(command, &format!("models/{name}.onnx"), engine, &files);
                if *claim != measured {
                    wrong.push(format!(
                        "models/{name}.md is not what {engine} gives for {command}:\n{measured}"
                    ));
                }
            }
        }
    }
    all_right(wrong);
}

/// One corruption stands for the table: four passes over PublicTest a model, by the compiled-in
/// engine alone; about a minute of CPU time for both.
#[test]
fn cards_claim_what_is_measured_on_corrupted_images() {
    let Some(data) = data() else { return };
    let data = data.display().to_string();
    let mut wrong = Vec::new();
    for (name, card) in cards()
        .into_iter()
        .filter(|(name, _)| !name.ends_with(INT8))
    {
        let args = [
            "eval",
            "-q",
            "--model",
            &format!("models/{name}.onnx"),
            "--engine",
            "burn",
            "--data",
            &data,
        ];
        let more = [
            "--part",
            "validation",
            "--format",
            "markdown",
            "--corruptions",
            "gamma",
        ];
        let report = run(&[&args[..], &more].concat()).expect(0).stdout;
        let row = report
            .lines()
            .find(|line| line.starts_with("| gamma |"))
            .unwrap();
        if !card.lines().any(|line| line == row) {
            wrong.push(format!(
                "models/{name}.md does not have the row that is measured:\n{row}"
            ));
        }
    }
    all_right(wrong);
}

#[test]
fn the_readme_shows_what_the_default_model_gives() {
    let readme = std::fs::read_to_string(common::path("README.md")).unwrap();
    let shown = regions(&readme);
    assert!(
        shown
            .iter()
            .any(|(command, _)| command.starts_with("fer infer ")),
        "README.md has no region of fer infer"
    );
    let mut wrong = Vec::new();
    for engine in engines("fer") {
        for (command, claim) in &shown {
            let measured = measured(command, "models/fer.onnx", engine, &[]);
            if *claim != measured {
                wrong.push(format!(
                    "README.md is not what {engine} gives for {command}:\n{measured}"
                ));
            }
        }
    }
    all_right(wrong);
}
