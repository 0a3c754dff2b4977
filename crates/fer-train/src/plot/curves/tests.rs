use super::*;

#[test]
fn a_scale_holds_its_values_and_has_marks_at_its_ends() {
    let rows = [
        (9.61, 1.29),
        (1.0, 1.0),
        (0.0, 0.0),
        (0.0, 3.0),
        (-2.0, 5.0),
        (1e-5, 1e5),
        (1e-12, 1e12),
        (1e-3, 1.0),
        (7.0, 7.001),
        (1e6, 1e6 + 1.0),
        (f64::NAN, 2.0),
        (f64::INFINITY, f64::NAN),
        (1e300, 1.0),
        (1e-300, 1e29),
        (f64::MIN_POSITIVE, 1.0),
        (5e-324, 1e29),
    ];
    let mut wrong = Vec::new();
    for (a, b) in rows {
        for percent in [false, true] {
            let scale = Scale::of([a, b].into_iter(), percent);
            let inside = |v: f64| (-1e-9..=1.0 + 1e-9).contains(&scale.at(v));
            let values = [a, b].into_iter().filter(|v| drawable(*v)).all(inside);
            let ends =
                scale.marks.first() == Some(&scale.low) && scale.marks.last() == Some(&scale.high);
            if !values
                || !ends
                || !(2..=14).contains(&scale.marks.len())
                || !scale.marks.is_sorted()
            {
                wrong.push((a, b, percent, scale.low, scale.high, scale.marks.clone()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_loss_that_falls_far_is_logarithmic() {
    let notebook = Scale::of([9.61, 1.29].into_iter(), false);
    assert!(notebook.logarithmic);
    assert_eq!(
        notebook.marks,
        [1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
    );
    assert!(!Scale::of([1.9, 0.9].into_iter(), false).logarithmic);
    assert!(
        !Scale::of([3.0, 0.0].into_iter(), false).logarithmic,
        "zero has no logarithm"
    );
}

#[test]
fn epochs_have_whole_marks() {
    let point = |epoch| EpochPoint {
        epoch,
        train_loss: 1.0,
        train_accuracy: 0.5,
        validation_loss: 1.0,
        validation_accuracy: 0.5,
        learning_rate: 1e-4,
    };
    let marks =
        |last: u32| epoch_scale(&(1..=last).map(point).collect::<Vec<_>>()).map(|s| s.marks);
    assert_eq!(marks(0), None);
    assert_eq!(marks(1), Some(vec![1.0]));
    assert_eq!(marks(3), Some(vec![1.0, 2.0, 3.0]));
    assert_eq!(
        marks(100).map(|m| (m[0], m[1], m.len())),
        Some((1.0, 10.0, 11))
    );
    assert_eq!(
        marks(300).map(|m| (m[0], m[1], m.len())),
        Some((1.0, 50.0, 7))
    );
}

#[test]
fn numbers_are_short() {
    let rows = [
        (1e-4, "1e-4"),
        (9.967e-4, "9.97e-4"),
        (0.0, "0"),
        (1.5, "1.5"),
        (0.1 + 0.2, "0.3"),
        (1e14, "1e14"),
        (-2.0, "-2"),
    ];
    let wrong: Vec<_> = rows
        .iter()
        .filter(|(v, t)| plain(*v) != *t)
        .map(|(v, t)| (plain(*v), t))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
