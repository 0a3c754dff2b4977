use super::*;

fn labels(n: usize) -> Vec<String> {
    ["a", "b", "c", "d"][..n]
        .iter()
        .map(|l| l.to_string())
        .collect()
}

fn answer(name: &str, label: usize, probabilities: &[f32]) -> Predicted {
    Predicted {
        name: name.into(),
        label,
        probabilities: probabilities.to_vec(),
    }
}

/// Five images of three classes; `c` is never predicted. Binary fractions, so that sums are
/// exact.
fn five() -> Evaluation {
    let answers = [
        answer("1", 0, &[0.75, 0.25, 0.0]),    // right
        answer("2", 0, &[0.25, 0.625, 0.125]), // wrong, second
        answer("3", 1, &[0.125, 0.875, 0.0]),  // right
        answer("4", 1, &[0.0, 1.0, 0.0]),      // right
        answer("5", 2, &[0.5, 0.375, 0.125]),  // wrong, third
    ];
    Evaluation::new(&labels(3), &answers).unwrap()
}

#[track_caller]
fn near(what: &str, actual: f64, expected: f64) {
    assert!(
        (actual - expected).abs() < 1e-9,
        "{what}: {actual}, not {expected}"
    );
}

#[test]
fn the_figures_of_a_small_table_by_hand() {
    let e = five();
    assert_eq!((e.images, e.correct), (5, 3));
    assert_eq!(e.confusion, [[1, 1, 0], [0, 2, 0], [1, 0, 0]]);
    near("accuracy", e.accuracy, 3.0 / 5.0);
    near("top 2", e.top2_accuracy, 4.0 / 5.0);
    near(
        "confidence",
        e.mean_confidence,
        (0.75 + 0.625 + 0.875 + 1.0 + 0.5) / 5.0,
    );
    // 1 − 1e-7 is Keras's largest probability.
    let loss =
        -(0.75f64.ln() + 0.25f64.ln() + 0.875f64.ln() + (1.0 - 1e-7f64).ln() + 0.125f64.ln()) / 5.0;
    near("loss", e.loss, loss);
    let scores: Vec<_> = e
        .classes
        .iter()
        .map(|c| (c.precision, c.recall, c.f1, c.support, c.predicted))
        .collect();
    assert_eq!(
        scores,
        [
            (0.5, 0.5, 0.5, 2, 2),
            (2.0 / 3.0, 1.0, 0.8, 2, 3),
            (0.0, 0.0, 0.0, 1, 0)
        ],
        "precision, recall, F1, support, predicted"
    );
    near("macro F1", e.macro_f1, (0.5 + 0.8 + 0.0) / 3.0);
    // One prediction a bin: right ones are off by 1 − p, wrong ones by p.
    near(
        "ECE",
        e.calibration_error,
        (0.25 + 0.625 + 0.125 + 0.0 + 0.5) / 5.0,
    );
    let mistakes: Vec<_> = e
        .worst
        .iter()
        .map(|m| (m.name.as_str(), m.label, m.predicted, m.confidence))
        .collect();
    assert_eq!(mistakes, [("2", 0, 1, 0.625), ("5", 2, 0, 0.5)]);
}

#[test]
fn answers_of_one_bin_are_averaged_before_they_are_compared() {
    // Confidence .75 both, one right: |1/2 − .75|, where two bins would give (.25 + .75)/2.
    let answers = [
        answer("1", 0, &[0.75, 0.25]),
        answer("2", 1, &[0.75, 0.25]),
        answer("3", 1, &[0.125, 0.875]),
    ];
    let e = Evaluation::new(&labels(2), &answers).unwrap();
    near(
        "ECE",
        e.calibration_error,
        2.0 / 3.0 * 0.25 + 1.0 / 3.0 * 0.125,
    );
    assert_eq!(e.calibration.len(), 15);
    let full: Vec<_> = e.calibration.iter().filter(|b| b.count > 0).collect();
    assert_eq!(full.len(), 2);
    let bin = CalibrationBin {
        low: 11.0 / 15.0,
        high: 12.0 / 15.0,
        count: 2,
        mean_confidence: 0.75,
        accuracy: 0.5,
    };
    assert_eq!(*full[0], bin);
    let empty = CalibrationBin {
        low: 0.0,
        high: 1.0 / 15.0,
        count: 0,
        mean_confidence: 0.0,
        accuracy: 0.0,
    };
    assert_eq!(e.calibration[0], empty);
}

#[test]
fn a_bin_holds_its_upper_end() {
    let rows = [
        (0.0, 0),
        (0.01, 0),
        (0.2, 2),
        (0.21, 3),
        (0.4, 5),
        (0.6, 8),
        (0.99, 14),
        (1.0, 14),
        (1.0001, 14),
    ];
    let wrong: Vec<_> = rows.iter().filter(|(c, bin)| bin_of(*c) != *bin).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn wilson_intervals() {
    // 8 of 10, 0 of 10, 1 of 29 and 81 of 263 as in R. G. Newcombe, Statistics in Medicine 17
    // (1998), table I, and others, to four digits; 2240 of 3589 is 62.41 %, worked out apart.
    let rows = [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 29, 0.0061, 0.1718),
        (15, 148, 0.0624, 0.1605),
        (81, 263, 0.2553, 0.3662),
        (2240, 3589, 0.6082, 0.6398),
        (0, 0, 0.0, 1.0),
    ];
    let off = |(k, n, low, high): &(u64, u64, f64, f64)| {
        let [l, h] = wilson(*k, *n);
        (l - low).abs() > 5.1e-5 || (h - high).abs() > 5.1e-5
    };
    let wrong: Vec<_> = rows
        .iter()
        .filter(|r| off(r))
        .map(|r| (r, wilson(r.0, r.1)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_class_that_is_nowhere_does_not_count_in_the_mean() {
    let answers = [
        answer("1", 0, &[0.75, 0.25, 0.0]),
        answer("2", 1, &[0.25, 0.75, 0.0]),
    ];
    let e = Evaluation::new(&labels(3), &answers).unwrap();
    near("macro F1", e.macro_f1, 1.0);
    assert_eq!(
        (
            e.classes[2].support,
            e.classes[2].predicted,
            e.classes[2].f1
        ),
        (0, 0, 0.0)
    );
}

#[test]
fn one_class_only() {
    let e = Evaluation::new(&labels(1), &[answer("1", 0, &[1.0])]).unwrap();
    assert_eq!(
        (e.accuracy, e.macro_f1, e.top2_accuracy, e.calibration_error),
        (1.0, 1.0, 1.0, 0.0)
    );
    assert!(e.worst.is_empty() && e.loss < 2e-7);
}

#[test]
fn all_wrong() {
    let answers: Vec<_> = (0..100)
        .map(|i| answer(&i.to_string(), 1, &[1.0, 0.0]))
        .collect();
    let e = Evaluation::new(&labels(2), &answers).unwrap();
    assert_eq!(
        (e.accuracy, e.macro_f1, e.top2_accuracy, e.calibration_error),
        (0.0, 0.0, 1.0, 1.0)
    );
    near("loss", e.loss, -1e-7f64.ln());
    let names: Vec<_> = e.worst.iter().map(|m| m.name.clone()).collect();
    let first: Vec<_> = (0..WORST).map(|i| i.to_string()).collect();
    assert_eq!(names, first, "equal ones keep their order");
}

#[test]
fn of_equal_probabilities_the_first_wins() {
    let tie = [0.25; 4];
    let answers: Vec<_> = (0..4).map(|i| answer(&i.to_string(), i, &tie)).collect();
    let e = Evaluation::new(&labels(4), &answers).unwrap();
    assert!(
        e.confusion.iter().all(|row| *row == [1, 0, 0, 0]),
        "{:?}",
        e.confusion
    );
    assert_eq!(e.top2_accuracy, 0.5, "ties go by index there, too");
}

#[test]
fn unusable_answers_are_errors_with_the_image() {
    assert_eq!(Evaluation::new(&labels(2), &[]), Err(EvalError::Empty));
    let rows: [(usize, &[f32], &str); 7] = [
        (0, &[f32::NAN, 1.0], "not finite"),
        (0, &[0.0, f32::INFINITY], "not finite"),
        (0, &[3.0, -2.0], "logits"),
        (0, &[0.25, 0.25], "logits"),
        (0, &[1.0], "1 values for 2 classes"),
        (0, &[], "0 values for 2 classes"),
        (2, &[0.5, 0.5], "class 2 is none of the model's 2"),
    ];
    for (label, probabilities, expected) in rows {
        let answers = [
            answer("good.png", 0, &[1.0, 0.0]),
            answer("bad.png", label, probabilities),
        ];
        let text = Evaluation::new(&labels(2), &answers)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            text.starts_with("bad.png: ") && text.contains(expected),
            "{probabilities:?}: {text}"
        );
    }
}
