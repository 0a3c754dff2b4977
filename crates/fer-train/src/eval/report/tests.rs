use super::*;
use crate::eval::votes::LeftOut;
use crate::eval::{Predicted, Unshared};

/// Six images of three classes with binary fractions; `happy` is never predicted.
fn small() -> Evaluation {
    let labels = ["angry", "fear", "happy"].map(String::from);
    let answer = |name: &str, label: usize, probabilities: [f32; 3]| Predicted {
        name: name.into(),
        label,
        probabilities: probabilities.to_vec(),
    };
    let answers = [
        answer("test/angry/1.jpg", 0, [0.75, 0.25, 0.0]),
        answer("test/angry/2.jpg", 0, [0.25, 0.625, 0.125]),
        answer("test/fear/3.jpg", 1, [0.125, 0.875, 0.0]),
        answer("test/fear/4|x.jpg", 1, [0.9375, 0.0625, 0.0]),
        answer("test/happy/5.jpg", 2, [0.5, 0.375, 0.125]),
        answer("test/fear/6.jpg", 1, [0.0, 1.0, 0.0]),
    ];
    Evaluation::new(&labels, &answers).unwrap()
}

#[test]
fn the_text_report() {
    let expected = "\
accuracy 50.00 % (18.8–81.2) on 6 images · loss 1.1099 · macro-F1 0.356 · ECE 40.6 %
3 right · top-2 accuracy 83.33 % · mean confidence 78.12 %

class  precision  recall     F1  images  predicted           remark
angry     33.3 %  50.0 %  0.400       2          3
fear      66.7 %  66.7 %  0.667       3          3
happy      0.0 %   0.0 %  0.000       1          0  never predicted

confusion matrix: a row a true class, a column a predicted one
true   angry  fear  happy
angry      1     1      0
fear       1     2      0
happy      1     0      0

most confident mistakes
image               true  predicted  confidence
test/fear/4|x.jpg   fear      angry      93.8 %
test/angry/2.jpg   angry       fear      62.5 %
test/happy/5.jpg   happy      angry      50.0 %
";
    assert_eq!(text(&small(), None), expected, "\n{}", text(&small(), None));
}

#[test]
fn the_markdown_report() {
    let report = markdown(&small(), None);
    for line in [
        "accuracy 50.00 % (18.8–81.2) on 6 images · loss 1.1099 · macro-F1 0.356 · ECE 40.6 %",
        "| class | precision | recall | F1 | images | predicted | remark |",
        "|---|---:|---:|---:|---:|---:|---:|",
        "| fear | 66.7 % | 66.7 % | 0.667 | 3 | 3 |  |",
        "| true \\\\ predicted | angry | fear | happy |",
        "| happy | 1 | 0 | 0 |",
        "| test/fear/4\\|x.jpg | fear | angry | 93.8 % |",
    ] {
        assert!(
            report.lines().any(|l| l == line),
            "no line {line}\n{report}"
        );
    }
}

#[test]
fn json_names_stay() {
    let value: serde_json::Value =
        serde_json::from_str(&json(&small(), None, None).unwrap()).unwrap();
    let keys = |v: &serde_json::Value| {
        v.as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        keys(&value),
        "images correct accuracy accuracy_interval top2_accuracy loss macro_f1 mean_confidence \
             calibration_error classes confusion calibration worst"
    );
    assert_eq!(
        keys(&value["classes"][0]),
        "label precision recall f1 support predicted"
    );
    assert_eq!(
        keys(&value["calibration"][0]),
        "low high count mean_confidence accuracy"
    );
    assert_eq!(keys(&value["worst"][0]), "name true predicted confidence");
    assert_eq!(
        (
            value["accuracy"].as_f64(),
            value["worst"][0]["confidence"].as_f64()
        ),
        (Some(0.5), Some(0.9375))
    );
}

#[test]
fn votes_come_below_the_headline_in_every_format() {
    let left_out = LeftOut {
        ties: 157,
        contempt: 24,
        unknown: 25,
        no_face: 1,
        without_votes: 17,
    };
    let votes = Agreement {
        images: 3365,
        correct: 2342,
        accuracy: 2342.0 / 3365.0,
        accuracy_interval: [0.68, 0.711],
        left_out,
        voted_images: 3571,
        cross_entropy: 1.02345,
        entropy: 0.5,
    };
    let lines = [
        "votes: accuracy 69.60 % (68.0–71.1) on 3365 images with a majority for a class",
        "votes: cross-entropy 1.0234 on 3571 images, 0.5000 at the least (the entropy of their \
             votes)",
        "votes: left out 157 ties, 24 contempt, 25 unknown, 1 no face, 17 without votes",
    ];
    let plain = text(&small(), None);
    let (head, rest) = plain.split_once("\n\n").unwrap();
    assert_eq!(
        text(&small(), Some(&votes)),
        format!("{head}\n{}\n\n{rest}", lines.join("\n"))
    );
    let plain = markdown(&small(), None);
    let (head, rest) = plain.split_once("| class").unwrap();
    assert_eq!(
        markdown(&small(), Some(&votes)),
        format!("{head}{}\n\n| class{rest}", lines.join("\n\n"))
    );
    let value = |votes| -> serde_json::Value {
        serde_json::from_str(&json(&small(), votes, None).unwrap()).unwrap()
    };
    let (plain, mut voted) = (value(None), value(Some(&votes)));
    let found = voted.as_object_mut().unwrap().remove("votes").unwrap();
    assert_eq!(voted, plain);
    let keys: Vec<_> = found
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let figures =
        "images correct accuracy accuracy_interval left_out voted_images cross_entropy entropy";
    assert_eq!(keys.join(" "), figures);
    assert_eq!(
        (&found["images"], &found["left_out"]["without_votes"]),
        (&3365.into(), &17.into())
    );
}

#[test]
fn what_is_left_out_comes_below_the_headline_in_every_format() {
    let mut e = small();
    let plain = [text(&e, None), markdown(&e, None)];
    let names = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    e.left_out = Some(Unshared {
        images: 54,
        data_classes: names(&["contempt"]),
        model_classes: names(&["neutral", "sad"]),
    });
    let lines = [
        "figures of the 3 classes that model and data share, as if there were no others",
        "left out of the data: 54 images of contempt",
        "left out of the model: neutral, sad",
    ];
    let (head, rest) = plain[0].split_once("\n\n").unwrap();
    assert_eq!(
        text(&e, None),
        format!("{head}\n{}\n\n{rest}", lines.join("\n"))
    );
    let (head, rest) = plain[1].split_once("| class").unwrap();
    assert_eq!(
        markdown(&e, None),
        format!("{head}{}\n\n| class{rest}", lines.join("\n\n"))
    );
    let json: serde_json::Value = serde_json::from_str(&json(&e, None, None).unwrap()).unwrap();
    assert_eq!(json["left_out"]["images"], 54);
    assert_eq!(json["left_out"]["model_classes"][1], "sad");
}

#[test]
fn no_line_is_too_wide() {
    let n = 35_887;
    let left_out = LeftOut {
        ties: n,
        contempt: n,
        unknown: n,
        no_face: n,
        without_votes: n,
    };
    let many = Agreement {
        images: n,
        voted_images: n,
        cross_entropy: 16.1,
        left_out,
        ..Agreement::default()
    };
    for classes in [1, 2, 7, 8, 9, 12, 20, 21, 40, 300] {
        let labels: Vec<String> = (0..classes)
            .map(|i| format!("a long class name {i} überraschend wütend"))
            .collect();
        let answer = |i: usize| {
            let mut probabilities = vec![0.0; classes];
            probabilities[i * 7 % classes] = 1.0;
            Predicted {
                name: format!("{}\n/{i}.jpg", "folder/".repeat(i % 40)),
                label: i % classes,
                probabilities,
            }
        };
        let mut e = Evaluation::new(&labels, &(0..500).map(answer).collect::<Vec<_>>()).unwrap();
        e.left_out = Some(Unshared {
            images: n,
            data_classes: labels.clone(),
            model_classes: labels.clone(),
        });
        let report = text(&e, Some(&many));
        let wide: Vec<_> = report.lines().filter(|l| width(l) > WIDTH).collect();
        assert!(wide.is_empty(), "{classes} classes: {wide:#?}");
        let has_matrix = report.contains("a column a predicted one");
        assert_eq!(has_matrix, classes <= 17, "{classes} classes");
    }
}

#[test]
fn of_many_classes_the_worst_are_reported() {
    let classes = 1000;
    let labels: Vec<String> = (0..classes).map(|i| format!("class {i}")).collect();
    // Class 7 is taken for class 9 three times, and class 3 for class 4 once.
    let wrong = [(7, 9), (7, 9), (3, 4), (7, 9)];
    let right = (0..classes).map(|i| (i, i));
    let answers: Vec<Predicted> = wrong
        .into_iter()
        .chain(right)
        .map(|(label, predicted)| {
            let mut probabilities = vec![0.0; classes];
            probabilities[predicted] = 1.0;
            Predicted {
                name: format!("{label}.jpg"),
                label,
                probabilities,
            }
        })
        .collect();
    let e = Evaluation::new(&labels, &answers).unwrap();
    let (text, markdown) = (text(&e, None), markdown(&e, None));
    assert!(text.lines().count() < 100 && markdown.lines().count() < 120);
    for line in [
        "The 50 of 1000 classes with the lowest F1:",
        "class 7      class 9       3        75.0 %",
        "class 3      class 4       1        50.0 %",
    ] {
        let found = text
            .lines()
            .any(|l| l.split_whitespace().eq(line.split_whitespace()));
        assert!(found, "no line {line}\n{text}");
    }
    assert!(
        markdown.contains("| class 7 | class 9 | 3 | 75.0 % |"),
        "{markdown}"
    );
    let (shown, matrix) = e.confused(30);
    assert_eq!((shown.len(), matrix.len(), matrix[0].len()), (30, 30, 30));
    for class in ["class 3", "class 4", "class 7", "class 9"] {
        assert!(shown.iter().any(|label| label == class), "{shown:?}");
    }
    assert_eq!(e.confused(1000), (labels, e.confusion.clone()));
}

#[test]
fn long_names_are_cut_and_short_ones_are_not() {
    assert_eq!(
        (
            cut_end("surprise", 5).as_str(),
            cut_start("a/b/c/d.jpg", 6).as_str()
        ),
        ("surp…", "…d.jpg")
    );
    assert_eq!(
        (cut_end("sad", 3).as_str(), cut_start("sad", 3).as_str()),
        ("sad", "sad")
    );
}
