use super::*;

const CLASSES: usize = 7;

fn dataset(n: usize) -> Dataset {
    Dataset {
        width: 2,
        height: 2,
        channels: 1,
        pixels: (0..n * 4).map(|p| p as u8).collect(),
        labels: (0..n).map(|i| (i % CLASSES) as u16).collect(),
        names: (0..n).map(|i| i.to_string()).collect(),
        ..Dataset::default()
    }
}

fn batches<'a>(dataset: &'a Dataset, augment: &'a Augmentation, weights: &'a [f32]) -> Batches<'a> {
    let (votes, votes_share) = (&[][..], 1.0);
    Batches {
        dataset,
        augment,
        label_smoothing: 0.1,
        class_weights: weights,
        votes,
        votes_share,
        size: 4,
        seed: 5,
    }
}

#[test]
fn an_epoch_shows_every_image_once() {
    let (data, none, ones) = (dataset(10), Augmentation::default(), [1.0; CLASSES]);
    let batches = batches(&data, &none, &ones);
    let (first, second) = (batches.order(0), batches.order(1));
    assert_ne!(first, second);
    let sizes: Vec<usize> = (0..batches.count())
        .map(|s| batches.batch(&first, 0, s).labels.len())
        .collect();
    assert_eq!(sizes, [4, 4, 2]);
    let mut sorted = first.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..10).collect::<Vec<_>>());
    let batch = batches.batch(&first, 0, 2);
    assert_eq!(
        batch.images[0],
        f32::from(data.pixels[first[8] * 4]) * SCALE
    );
}

#[test]
fn targets_are_smoothed_and_weighted() {
    let (data, none) = (dataset(7), Augmentation::default());
    let mut weights = [1.0; CLASSES];
    weights[3] = 2.0;
    let batches = batches(&data, &none, &weights);
    let order: Vec<usize> = (0..7).collect();
    let targets = batches.batch(&order, 0, 0).targets;
    let sums: Vec<f32> = targets
        .chunks(CLASSES)
        .map(|row| row.iter().sum())
        .collect();
    assert!(
        sums.iter()
            .zip([1.0, 1.0, 1.0, 2.0])
            .all(|(s, expected)| (s - expected).abs() < 1e-6),
        "{sums:?}"
    );
    assert!((targets[0] - (0.9 + 0.1 / 7.0)).abs() < 1e-6, "{targets:?}");
}

#[test]
fn targets_are_mixed_with_votes_by_their_share() {
    let (data, none) = (dataset(7), Augmentation::default());
    let weights = [1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    let votes = [
        Some([0.25, 0.0, 0.75, 0.0, 0.0, 0.0, 0.0]),
        Some([0.5, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0]),
        None,
    ];
    let order: Vec<usize> = (0..7).collect();
    // Label smoothing of 0.1 leaves a label 0.9 and spreads 0.1 / 7.
    let s = 0.1 / 7.0;
    let label = |class: usize, weight: f64| -> Vec<f64> {
        (0..CLASSES)
            .map(|c| weight * (s + if c == class { 0.9 } else { 0.0 }))
            .collect()
    };
    let rows: [(f64, Vec<f64>, Vec<f64>); 3] = [
        (0.0, label(0, 1.0), label(1, 2.0)),
        (
            1.0,
            vec![0.25, 0.0, 0.75, 0.0, 0.0, 0.0, 0.0],
            vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        ),
        (
            0.4,
            vec![
                0.6 * (0.9 + s) + 0.1,
                0.6 * s,
                0.6 * s + 0.3,
                0.6 * s,
                0.6 * s,
                0.6 * s,
                0.6 * s,
            ],
            [
                0.6 * s + 0.2,
                0.6 * (0.9 + s),
                0.6 * s,
                0.6 * s,
                0.6 * s + 0.2,
                0.6 * s,
                0.6 * s,
            ]
            .map(|t| 2.0 * t)
            .into(),
        ),
    ];
    let mut wrong = Vec::new();
    for (votes_share, first, second) in rows {
        let batches = Batches {
            votes: &votes,
            votes_share,
            ..batches(&data, &none, &weights)
        };
        // The third image has no votes, and the fourth none are known of.
        let wanted = [first, second, label(2, 1.0), label(3, 1.0)].concat();
        let found = batches.batch(&order, 0, 0);
        let near = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs() < 1e-6;
        if !found.targets.iter().zip(&wanted).all(near) || found.labels != [0, 1, 2, 3] {
            wrong.push((votes_share, found.targets, wanted));
        }
        let resident = Resident::new(&data, &Device::flex()).batch(&batches, &order, 0, 0);
        let on_device: Vec<f32> = resident.targets.into_data().try_into_vec().unwrap();
        assert_eq!(
            on_device,
            batches.batch(&order, 0, 0).targets,
            "{votes_share}"
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn images_on_a_device_make_the_same_batches() {
    // Three columns: a row of words is not full.
    for (channels, height) in [(1, 3), (3, 5)] {
        let values = 10 * channels * height * 3;
        on_a_device(&Dataset {
            width: 3,
            height,
            channels,
            pixels: (0..values).map(|p| (p * 29 % 256) as u8).collect(),
            ..dataset(10)
        });
    }
}

fn on_a_device(data: &Dataset) {
    let ones = [1.0; CLASSES];
    let quality = Augmentation {
        equalize: 0.5,
        blur: 0.5,
        jpeg: 0.5,
        ..Default::default()
    };
    let augment = Augmentation {
        shift: 0.2,
        flip: 0.5,
        erase: 0.5,
        contrast: 0.3,
        mixup: 0.5,
        ..quality
    };
    let batches = batches(data, &augment, &ones);
    let resident = Resident::new(data, &Device::flex());
    let order = batches.order(1);
    for step in 0..batches.count() {
        let expected = batches.batch(&order, 1, step);
        let found = resident.batch(&batches, &order, 1, step);
        let n = expected.labels.len();
        assert_eq!(found.images.dims(), [n, data.channels, data.height, 3]);
        let near = |found: Vec<f32>, expected: &[f32]| {
            found.len() == expected.len()
                && found
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() < 1e-5)
        };
        assert!(
            near(
                found.images.into_data().try_into_vec().unwrap(),
                &expected.images
            ),
            "step {step}"
        );
        assert!(
            near(
                found.targets.into_data().try_into_vec().unwrap(),
                &expected.targets
            ),
            "step {step}"
        );
        let labels: Vec<u16> = found
            .labels
            .into_data()
            .iter::<i64>()
            .map(|label| label as u16)
            .collect();
        assert_eq!(labels, expected.labels);
    }
}

#[test]
fn mixed_images_and_targets_keep_their_sums() {
    let (data, ones) = (dataset(8), [1.0; CLASSES]);
    let mixup = Augmentation {
        mixup: 0.5,
        ..Default::default()
    };
    let batches = batches(&data, &mixup, &ones);
    let order = batches.order(3);
    let (plain, twice) = (batches.batch(&order, 3, 1), batches.batch(&order, 3, 1));
    assert_eq!(plain, twice);
    assert!(
        plain
            .targets
            .chunks(CLASSES)
            .all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5)
    );
}
