//! Augmentation: the geometry against Keras's own (`tests/golden/augment.safetensors`, written by
//! `scripts/keras/generator_golden.py`), and what holds for every setting and image.

mod common;

use fer::augment::{Augmentation, Draw, Geometry};
use proptest::prelude::*;
use safetensors::SafeTensors;

/// What single precision loses against SciPy's double; pixel levels.
const TOLERANCE: f32 = 0.0001;

#[test]
fn geometry_equals_keras() {
    let bytes = std::fs::read(common::root().join("tests/golden/augment.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        let data = golden.tensor(name).unwrap().data();
        data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    let images = golden.tensor("images").unwrap();
    let [n, height, width] = *images.shape() else { panic!("images are {:?}", images.shape()) };
    let (params, expected, pixels) = (floats("params"), floats("expected"), height * width);
    assert!(n >= 10 && params.len() == n * 6 && expected.len() == n * pixels);

    let mut wrong = Vec::new();
    for (i, row) in params.chunks_exact(6).enumerate() {
        let [theta, tx, ty, zx, zy] = std::array::from_fn(|k| f64::from(row[k]));
        let geometry = Geometry { theta, tx, ty, zx, zy, flip: row[5] == 1.0, ..Geometry::default() };
        let mut out = vec![f32::NAN; pixels];
        geometry.resample(&images.data()[i * pixels..][..pixels], width, height, &mut out);
        let keras = &expected[i * pixels..][..pixels];
        let difference = out.iter().zip(keras).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        if difference > TOLERANCE || out.iter().any(|v| v.is_nan()) {
            wrong.push(format!("{geometry:?}: up to {difference} levels"));
        }
    }
    assert!(wrong.is_empty(), "{} of {n} differ from Keras:\n{}", wrong.len(), wrong.join("\n"));
}

/// A picture with something to see everywhere.
fn picture(width: usize, height: usize) -> Vec<u8> {
    (0..width * height).map(|i| ((i % width) * 11 + (i / width) * 17 + (i * i) % 61) as u8).collect()
}

fn apply(augmentation: &Augmentation, pixels: &[u8], width: usize, draw: Draw) -> Vec<f32> {
    let mut out = vec![f32::NAN; pixels.len()];
    augmentation.apply(pixels, width, pixels.len() / width, draw, &mut out);
    out
}

fn draw(index: u64) -> Draw {
    Draw { seed: 42, epoch: 3, index }
}

const ALL: Augmentation = Augmentation {
    shift: 0.1,
    rotation: 15.0,
    zoom: 0.2,
    flip: 0.5,
    crop: 0.1,
    brightness: 0.2,
    contrast: 0.2,
    erase: 0.5,
    mixup: 0.2,
};

/// Every setting on its own changes images, and only some of them if it is a probability.
#[test]
fn every_setting_does_something() {
    let off = Augmentation::default();
    let cases = [
        ("shift", Augmentation { shift: 0.1, ..off }, 1.0),
        ("rotation", Augmentation { rotation: 10.0, ..off }, 1.0),
        ("zoom", Augmentation { zoom: 0.1, ..off }, 1.0),
        ("flip", Augmentation { flip: 0.5, ..off }, 0.5),
        ("crop", Augmentation { crop: 0.1, ..off }, 1.0),
        ("brightness", Augmentation { brightness: 0.2, ..off }, 1.0),
        ("contrast", Augmentation { contrast: 0.2, ..off }, 1.0),
        ("erase", Augmentation { erase: 0.25, ..off }, 0.25),
        ("nothing", off, 0.0),
        ("mixup, which is for batches", Augmentation { mixup: 0.2, ..off }, 0.0),
    ];
    let pixels = picture(48, 48);
    let same: Vec<f32> = pixels.iter().copied().map(f32::from).collect();
    let mut wrong = Vec::new();
    for (name, augmentation, expected) in cases {
        let changed = (0..1000).filter(|i| apply(&augmentation, &pixels, 48, draw(*i)) != same).count();
        let share = changed as f64 / 1000.0;
        if (share - expected).abs() > if expected.fract() == 0.0 { 0.0 } else { 0.05 } {
            wrong.push(format!("{name}: {share} of the images changed, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A seed, an epoch and an index each make other pictures; the order in which images are made does not matter.
#[test]
fn a_draw_is_all_that_counts() {
    let pixels = picture(48, 48);
    let draws: Vec<Draw> = (0..60).map(|i| Draw { seed: i % 3, epoch: (i / 3 % 4) as u32, index: i / 12 }).collect();
    let forwards: Vec<_> = draws.iter().map(|d| apply(&ALL, &pixels, 48, *d)).collect();
    let mut backwards: Vec<_> = draws.iter().rev().map(|d| apply(&ALL, &pixels, 48, *d)).collect();
    backwards.reverse();
    assert!(forwards == backwards);
    for (i, a) in forwards.iter().enumerate() {
        let twin = forwards[..i].iter().position(|b| a == b);
        assert!(twin.is_none(), "{:?} and {:?} give the same picture", draws[i], twin.map(|t| draws[t]));
    }
}

/// Flips are the same ones with and without a shift: one setting's numbers don't depend on the others.
#[test]
fn settings_do_not_disturb_each_other() {
    let pixels: Vec<u8> = (0..48 * 48).map(|i| 5 * (i % 48) as u8).collect();
    let mirrored = |augmentation: Augmentation| -> Vec<bool> {
        let fall = |out: Vec<f32>| out[..24].iter().sum::<f32>() > out[24..48].iter().sum::<f32>();
        (0..200).map(|i| fall(apply(&augmentation, &pixels, 48, draw(i)))).collect()
    };
    let flip = Augmentation { flip: 0.5, ..Augmentation::default() };
    assert_eq!(mirrored(flip), mirrored(Augmentation { shift: 0.1, zoom: 0.1, brightness: 0.1, ..flip }));
}

#[test]
fn ranges_are_checked() {
    let off = Augmentation::default();
    let cases = [
        (off, Ok(())),
        (ALL, Ok(())),
        (Augmentation { rotation: 180.0, zoom: 0.5, mixup: 4.0, ..off }, Ok(())),
        (Augmentation { shift: 0.6, ..off }, Err("augment.shift is 0.6; it can be from 0 (off) to 0.5")),
        (Augmentation { shift: -0.1, ..off }, Err("augment.shift is -0.1; it can be from 0 (off) to 0.5")),
        (Augmentation { flip: f32::NAN, ..off }, Err("augment.flip is NaN; it can be from 0 (off) to 1")),
        (
            Augmentation { rotation: f32::INFINITY, ..off },
            Err("augment.rotation is inf; it can be from 0 (off) to 180"),
        ),
        (Augmentation { crop: 0.9167, ..off }, Err("augment.crop is 0.9167; it can be from 0 (off) to 0.5")),
        (Augmentation { mixup: 5.0, ..off }, Err("augment.mixup is 5; it can be from 0 (off) to 4")),
    ];
    let mut wrong = Vec::new();
    for (augmentation, expected) in cases {
        let answer = augmentation.validate();
        if answer != expected.map_err(String::from) {
            wrong.push(format!("{augmentation:?}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn settings_are_read_from_toml() {
    let read = toml::from_str::<Augmentation>;
    assert_eq!(read("").unwrap(), Augmentation::default());
    assert!(read("").unwrap().is_none());
    assert_eq!(
        read("shift = 0.1\nflip = 0.5").unwrap(),
        Augmentation { shift: 0.1, flip: 0.5, ..Augmentation::default() }
    );
    let written = toml::to_string(&ALL).unwrap();
    assert_eq!(toml::from_str::<Augmentation>(&written).unwrap(), ALL, "{written}");
    assert!(read("shfit = 0.1").unwrap_err().message().contains("shfit"));
}

#[test]
fn mixup_pairs_every_image_with_one() {
    let on = Augmentation { mixup: 0.4, ..Augmentation::default() };
    assert_eq!(Augmentation::default().mixup(1, 2, 3, 64), None);
    let mixed = on.mixup(1, 2, 3, 64).unwrap();
    assert_eq!(on.mixup(1, 2, 3, 64), Some(mixed.clone()));
    assert_ne!(on.mixup(1, 2, 4, 64), Some(mixed.clone()));
    assert!((0.0..=1.0).contains(&mixed.lambda));
    let mut partners = mixed.partner;
    assert_ne!(partners, (0..64).collect::<Vec<_>>());
    partners.sort_unstable();
    assert_eq!(partners, (0..64).collect::<Vec<_>>());
}

fn settings() -> impl Strategy<Value = Augmentation> {
    let unit = || 0.0..=1.0_f32;
    (0.0..=0.5_f32, 0.0..=180.0_f32, 0.0..=0.5_f32, unit(), 0.0..=0.5_f32, unit(), unit(), unit()).prop_map(
        |(shift, rotation, zoom, flip, crop, brightness, contrast, erase)| Augmentation {
            shift,
            rotation,
            zoom,
            flip,
            crop,
            brightness,
            contrast,
            erase,
            mixup: 0.0,
        },
    )
}

proptest! {
    /// Levels stay levels, and the same draw gives the same picture, for every size, setting and image.
    #[test]
    fn levels_stay_levels(
        augmentation in settings(), (width, pixels) in (1..40_usize, 1..40_usize).prop_flat_map(|(w, h)| {
            (Just(w), prop::collection::vec(any::<u8>(), w * h))
        }), seed: u64, epoch: u32, index: u64,
    ) {
        prop_assert_eq!(augmentation.validate(), Ok(()));
        let draw = Draw { seed, epoch, index };
        let out = apply(&augmentation, &pixels, width, draw);
        prop_assert!(out.iter().all(|v| (0.0..=255.0).contains(v)));
        prop_assert_eq!(out, apply(&augmentation, &pixels, width, draw));
    }

    /// A mirrored mirror image is the image; and a flip is the mirror image of what there is without it, as in Keras.
    #[test]
    fn a_flip_mirrors(theta in -180.0..180.0, tx in -9.0..9.0, zy in 0.5..1.5, width in 1..30_usize) {
        let pixels = picture(width, 20);
        let resample = |geometry: Geometry, pixels: &[u8]| {
            let mut out = vec![0.0; pixels.len()];
            geometry.resample(pixels, width, 20, &mut out);
            out
        };
        let flip = Geometry { flip: true, ..Geometry::default() };
        let once: Vec<u8> = resample(flip, &pixels).into_iter().map(|v| v as u8).collect();
        let twice: Vec<u8> = resample(flip, &once).into_iter().map(|v| v as u8).collect();
        prop_assert_eq!(&twice, &pixels);

        let turned = Geometry { theta, tx, zy, ..Geometry::default() };
        let plain = resample(turned, &pixels);
        let mut mirrored = resample(Geometry { flip: true, ..turned }, &pixels);
        mirrored.chunks_exact_mut(width).for_each(<[f32]>::reverse);
        for (a, b) in plain.iter().zip(&mirrored) {
            prop_assert!((a - b).abs() < 0.01, "{} and {}", a, b);
        }
    }
}
