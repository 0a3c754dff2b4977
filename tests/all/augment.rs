//! Augmentation: the geometry against Keras's own (`tests/golden/augment.safetensors`, written by
//! `scripts/keras/generator_golden.py`), blur, downscaling and JPEG against SciPy's, Pillow's and
//! libjpeg's (`tests/golden/quality.safetensors`, written by `scripts/keras/quality_golden.py`),
//! and what holds for every setting and image.

use crate::common;
use fer::augment::{Augmentation, Crop, Draw, Geometry, Variation};
use proptest::prelude::*;
use safetensors::SafeTensors;

/// What single precision loses against SciPy's double; pixel levels.
const TOLERANCE: f32 = 0.0001;

fn floats(golden: &SafeTensors, name: &str) -> Vec<f32> {
    let data = golden.tensor(name).unwrap().data();
    data.chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

#[test]
fn geometry_equals_keras() {
    let bytes = std::fs::read(common::root().join("tests/golden/augment.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| floats(&golden, name);
    let images = golden.tensor("images").unwrap();
    let [n, height, width] = *images.shape() else {
        panic!("images are {:?}", images.shape())
    };
    let (params, expected, pixels) = (floats("params"), floats("expected"), height * width);
    assert!(n >= 10 && params.len() == n * 6 && expected.len() == n * pixels);

    let mut wrong = Vec::new();
    for (i, row) in params.chunks_exact(6).enumerate() {
        let [theta, tx, ty, zx, zy] = std::array::from_fn(|k| f64::from(row[k]));
        let geometry = Geometry {
            theta,
            tx,
            ty,
            zx,
            zy,
            flip: row[5] == 1.0,
            ..Geometry::default()
        };
        let mut out = vec![f32::NAN; pixels];
        geometry.resample(
            &images.data()[i * pixels..][..pixels],
            width,
            height,
            &mut out,
        );
        let keras = &expected[i * pixels..][..pixels];
        let difference = out
            .iter()
            .zip(keras)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        if difference > TOLERANCE || out.iter().any(|v| v.is_nan()) {
            wrong.push(format!("{geometry:?}: up to {difference} levels"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {n} differ from Keras:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Blur and downscaling within rounding. JPEG within the whole levels that libjpeg gives, half a
/// level and a bit for its integer arithmetic; where that leads an amplitude to the next step, a
/// block is apart by more. Without the rounding to eighths before, which is libjpeg's, 18 % of the
/// levels are.
#[test]
fn quality_equals_that_of_other_libraries() {
    let bytes = std::fs::read(common::root().join("tests/golden/quality.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let (params, expected) = (floats(&golden, "params"), floats(&golden, "expected"));
    let images = golden.tensor("images").unwrap();
    let changes = params
        .chunks_exact(3)
        .zip(images.data().chunks_exact(48 * 48))
        .zip(expected.chunks_exact(48 * 48));
    let mut rows: Vec<_> = changes
        .map(|((row, image), expected)| ([row[0], row[1], row[2]], image, 48, expected))
        .collect();
    assert!(rows.len() >= 10 && rows.iter().any(|(row, ..)| row[2] > 0.0));
    let (odd, odd_expected) = (
        golden.tensor("odd").unwrap(),
        floats(&golden, "odd_expected"),
    );
    rows.push((
        [0.0, 0.0, floats(&golden, "odd_quality")[0]],
        odd.data(),
        odd.shape()[1],
        &odd_expected,
    ));

    let mut wrong = Vec::new();
    for ([downscale, blur, quality], image, width, expected) in rows {
        let given = |value: f32| (value > 0.0).then(|| f64::from(value));
        let jpeg = given(quality).map(|quality| quality as u8);
        let variation = Variation {
            downscale: given(downscale),
            blur: given(blur),
            jpeg,
            ..Variation::default()
        };
        let mut out = vec![f32::NAN; image.len()];
        variation.apply(image, width, image.len() / width, &mut out);
        let apart: Vec<f32> = out
            .iter()
            .zip(expected)
            .map(|(a, b)| (a - b).abs())
            .collect();
        let (near, most_far) = if jpeg.is_some() {
            (0.6, 0.07)
        } else {
            (0.001, 0.0)
        };
        let far =
            apart.iter().filter(|d| d.is_nan() || **d > near).count() as f64 / apart.len() as f64;
        let most = apart.iter().copied().fold(0.0, f32::max);
        let line = format!(
            "downscale {downscale}, blur {blur}, jpeg {quality}: up to {most} levels, {far} beyond \
             {near}"
        );
        println!("{line}");
        if out.len() != expected.len() || far > most_far {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A picture with something to see everywhere.
fn picture(width: usize, height: usize) -> Vec<u8> {
    (0..width * height)
        .map(|i| ((i % width) * 11 + (i / width) * 17 + (i * i) % 61) as u8)
        .collect()
}

fn apply(augmentation: &Augmentation, pixels: &[u8], width: usize, draw: Draw) -> Vec<f32> {
    let mut out = vec![f32::NAN; pixels.len()];
    augmentation.apply(pixels, width, pixels.len() / width, draw, &mut out);
    out
}

fn draw(index: u64) -> Draw {
    Draw {
        seed: 42,
        epoch: 3,
        index,
    }
}

/// What there was before crops of detectors.
const FIRST: Augmentation = Augmentation {
    shift: 0.1,
    rotation: 15.0,
    zoom: 0.2,
    scale: [1.0, 1.0],
    flip: 0.5,
    crop: 0.1,
    brightness: 0.2,
    contrast: 0.2,
    gamma: 0.0,
    equalize: 0.0,
    downscale: 0.0,
    blur: 0.0,
    jpeg: 0.0,
    erase: 0.5,
    mixup: 0.2,
};

const ALL: Augmentation = Augmentation {
    scale: [0.9, 1.25],
    gamma: 0.3,
    equalize: 0.1,
    downscale: 0.3,
    blur: 0.3,
    jpeg: 0.3,
    ..FIRST
};

/// A run of an earlier version that is resumed goes on with the same images: recorded before there
/// were `scale` and what follows it, which have numbers of their own.
#[test]
fn old_settings_draw_what_they_drew() {
    let pixels = picture(48, 48);
    let rows = [
        (
            [
                0.15377836477272488,
                4.561478265595376,
                -4.459688103812828,
                0.9853014257564874,
                0.8809242476932567,
            ],
            (0.06646115594165725, 0.020761297368379363, true),
            (0.801_633_36, 0.988_880_6, Some((12, 29, 21, 210, 19, 38))),
        ),
        (
            [
                9.433587383355036,
                0.38752726653384517,
                0.34372381252285766,
                0.8548360736110381,
                0.932075774118,
            ],
            (0.08126992648998267, 0.07767065387166089, true),
            (1.037_684_8, 1.010_276_3, Some((5, 23, 17, 340, 237, 251))),
        ),
        (
            [
                -10.789614274998351,
                -0.3532703286748582,
                0.2553834333486771,
                1.0511562293341556,
                1.165054213493957,
            ],
            (0.09698320032081265, 0.05104553894442584, false),
            (0.868_001_6, 1.093_719_5, Some((18, 15, 12, 264, 138, 246))),
        ),
        (
            [
                -2.751667795091544,
                2.2115493268171127,
                -2.8686294577995675,
                1.0523300712372516,
                0.8355925881460302,
            ],
            (0.031480159685673095, 0.08630533621577348, true),
            (1.148_466_6, 0.920_299_35, None),
        ),
    ];
    let mut wrong = Vec::new();
    for (index, ([theta, tx, ty, zx, zy], (left, top, flip), (brightness, contrast, erased))) in
        rows.into_iter().enumerate()
    {
        let geometry = Geometry {
            theta,
            tx,
            ty,
            zx,
            zy,
            crop: Crop {
                left,
                top,
                side: 0.8999999985098839,
            },
            flip,
        };
        let expected = Variation {
            geometry,
            brightness,
            contrast,
            ..Variation::default()
        };
        let found = FIRST.variation(&pixels, 48, 48, draw(index as u64));
        let noise = found.erased.as_ref().map(|e| {
            let ends = (
                e.noise.first().copied().unwrap_or(0),
                e.noise.last().copied().unwrap_or(0),
            );
            (e.left, e.top, e.wide, e.noise.len(), ends.0, ends.1)
        });
        if (Variation {
            erased: None,
            ..found.clone()
        }) != expected
            || noise != erased
        {
            wrong.push(format!(
                "{index}: {found:?}, not {expected:?} and {erased:?}"
            ));
        }
        // The new settings leave the old ones' numbers as they are.
        let all = ALL.variation(&pixels, 48, 48, draw(index as u64));
        let same =
            (all.geometry.theta, all.brightness, all.erased) == (theta, brightness, found.erased);
        if !same || (all.geometry.zx / zx - all.geometry.zy / zy).abs() > 1e-12 {
            wrong.push(format!("{index}: {:?}", all.geometry));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is drawn stays in its range, and reaches its ends nearly.
#[test]
fn strengths_are_those_of_the_documentation() {
    let every = Augmentation {
        downscale: 1.0,
        blur: 1.0,
        jpeg: 1.0,
        ..ALL
    };
    let drawn: Vec<Variation> = (0..2000)
        .map(|i| every.variation(&[], 0, 0, draw(i)))
        .collect();
    let window = |v: &Variation| Some((v.geometry.zx * v.geometry.zy).sqrt());
    type Strength = fn(&Variation) -> Option<f64>;
    let rows: [(&str, Strength, f64, f64); 3] = [
        ("downscale", |v| v.downscale, 0.4, 0.9),
        ("blur", |v| v.blur, 0.3, 1.2),
        ("jpeg", |v| v.jpeg.map(f64::from), 30.0, 95.0),
    ];
    let mut wrong = Vec::new();
    let mut check = |name: &str, values: Vec<f64>, low: f64, high: f64| {
        let (least, most) = values
            .iter()
            .fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        let near = 0.01 * (high - low);
        let within = least >= low - 1e-6 && most <= high + 1e-6;
        if values.len() != 2000 || !within || least > low + near || most < high - near {
            wrong.push(format!(
                "{name}: {} from {least} to {most}, not 2000 from {low} to {high}",
                values.len()
            ));
        }
    };
    for (name, strength, low, high) in rows {
        check(name, drawn.iter().filter_map(strength).collect(), low, high);
    }
    // Without zoom, both axes have the window's side.
    let plain = Augmentation {
        scale: [0.9, 1.25],
        ..Augmentation::default()
    };
    let windows: Vec<f64> = (0..2000)
        .filter_map(|i| window(&plain.variation(&[], 0, 0, draw(i))))
        .collect();
    let narrow = windows.iter().filter(|side| **side < 1.0).count() as f64 / 2000.0;
    check("scale", windows, 0.9, 1.25);
    // ln(1 / 0.9) / ln(1.25 / 0.9)
    assert!(
        (narrow - 0.3207).abs() < 0.03,
        "{narrow} of the windows are smaller than the frame"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A window of 1.25 frames shows an eighth beyond each edge, which is the edge again.
#[test]
fn a_scale_above_1_shows_more_than_the_frame() {
    let pixels: Vec<u8> = (0..40 * 40).map(|i| 40 + 4 * (i % 40) as u8).collect();
    let out = apply(
        &Augmentation {
            scale: [1.25, 1.25],
            ..Augmentation::default()
        },
        &pixels,
        40,
        draw(0),
    );
    for (i, value) in out.iter().enumerate() {
        let place = (((i % 40) as f32 + 0.5 - 20.0) * 1.25 + 20.0 - 0.5).clamp(0.0, 39.0);
        assert!(
            (value - (40.0 + 4.0 * place)).abs() < 1e-3,
            "column {}: {value}",
            i % 40
        );
    }
}

/// Every setting on its own changes images, and only some of them if it is a probability.
#[test]
fn every_setting_does_something() {
    let off = Augmentation::default();
    let cases = [
        ("shift", Augmentation { shift: 0.1, ..off }, 1.0),
        (
            "rotation",
            Augmentation {
                rotation: 10.0,
                ..off
            },
            1.0,
        ),
        ("zoom", Augmentation { zoom: 0.1, ..off }, 1.0),
        ("flip", Augmentation { flip: 0.5, ..off }, 0.5),
        ("crop", Augmentation { crop: 0.1, ..off }, 1.0),
        (
            "brightness",
            Augmentation {
                brightness: 0.2,
                ..off
            },
            1.0,
        ),
        (
            "contrast",
            Augmentation {
                contrast: 0.2,
                ..off
            },
            1.0,
        ),
        (
            "scale",
            Augmentation {
                scale: [0.9, 1.25],
                ..off
            },
            1.0,
        ),
        ("gamma", Augmentation { gamma: 0.3, ..off }, 1.0),
        (
            "equalize",
            Augmentation {
                equalize: 0.25,
                ..off
            },
            0.25,
        ),
        (
            "downscale",
            Augmentation {
                downscale: 0.25,
                ..off
            },
            0.25,
        ),
        ("blur", Augmentation { blur: 0.25, ..off }, 0.25),
        ("jpeg", Augmentation { jpeg: 0.25, ..off }, 0.25),
        ("erase", Augmentation { erase: 0.25, ..off }, 0.25),
        ("nothing", off, 0.0),
        (
            "mixup, which is for batches",
            Augmentation { mixup: 0.2, ..off },
            0.0,
        ),
    ];
    let pixels = picture(48, 48);
    let same: Vec<f32> = pixels.iter().copied().map(f32::from).collect();
    let mut wrong = Vec::new();
    for (name, augmentation, expected) in cases {
        let changed = (0..1000)
            .filter(|i| apply(&augmentation, &pixels, 48, draw(*i)) != same)
            .count();
        let share = changed as f64 / 1000.0;
        if (share - expected).abs() > if expected.fract() == 0.0 { 0.0 } else { 0.05 } {
            wrong.push(format!(
                "{name}: {share} of the images changed, not {expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A seed, an epoch and an index each make other pictures; the order in which images are made does
/// not matter.
#[test]
fn a_draw_is_all_that_counts() {
    let pixels = picture(48, 48);
    let draws: Vec<Draw> = (0..60)
        .map(|i| Draw {
            seed: i % 3,
            epoch: (i / 3 % 4) as u32,
            index: i / 12,
        })
        .collect();
    let forwards: Vec<_> = draws.iter().map(|d| apply(&ALL, &pixels, 48, *d)).collect();
    let mut backwards: Vec<_> = draws
        .iter()
        .rev()
        .map(|d| apply(&ALL, &pixels, 48, *d))
        .collect();
    backwards.reverse();
    assert!(forwards == backwards);
    for (i, a) in forwards.iter().enumerate() {
        let twin = forwards[..i].iter().position(|b| a == b);
        assert!(
            twin.is_none(),
            "{:?} and {:?} give the same picture",
            draws[i],
            twin.map(|t| draws[t])
        );
    }
}

/// Flips are the same ones with and without a shift: one setting's numbers don't depend on the
/// others.
#[test]
fn settings_do_not_disturb_each_other() {
    let pixels: Vec<u8> = (0..48 * 48).map(|i| 5 * (i % 48) as u8).collect();
    let mirrored = |augmentation: Augmentation| -> Vec<bool> {
        let fall = |out: Vec<f32>| out[..24].iter().sum::<f32>() > out[24..48].iter().sum::<f32>();
        (0..200)
            .map(|i| fall(apply(&augmentation, &pixels, 48, draw(i))))
            .collect()
    };
    let flip = Augmentation {
        flip: 0.5,
        ..Augmentation::default()
    };
    assert_eq!(
        mirrored(flip),
        mirrored(Augmentation {
            shift: 0.1,
            zoom: 0.1,
            brightness: 0.1,
            ..flip
        })
    );
}

#[test]
fn ranges_are_checked() {
    let off = Augmentation::default();
    let fails = |text: &str| Err(text.to_owned());
    let scale = |value: &str| {
        let range = "it can be two numbers from 0.5 to 2, the smaller one first, and [1, 1] is off";
        Err(format!("augment.scale is {value}; {range}"))
    };
    let cases = [
        (off, Ok(())),
        (ALL, Ok(())),
        (
            Augmentation {
                rotation: 180.0,
                zoom: 0.5,
                mixup: 4.0,
                ..off
            },
            Ok(()),
        ),
        (
            Augmentation { shift: 0.6, ..off },
            fails("augment.shift is 0.6; it can be from 0 (off) to 0.5"),
        ),
        (
            Augmentation { shift: -0.1, ..off },
            fails("augment.shift is -0.1; it can be from 0 (off) to 0.5"),
        ),
        (
            Augmentation {
                flip: f32::NAN,
                ..off
            },
            fails("augment.flip is NaN; it can be from 0 (off) to 1"),
        ),
        (
            Augmentation {
                rotation: f32::INFINITY,
                ..off
            },
            fails("augment.rotation is inf; it can be from 0 (off) to 180"),
        ),
        (
            Augmentation {
                crop: 0.9167,
                ..off
            },
            fails("augment.crop is 0.9167; it can be from 0 (off) to 0.5"),
        ),
        (
            Augmentation { mixup: 5.0, ..off },
            fails("augment.mixup is 5; it can be from 0 (off) to 4"),
        ),
        (
            Augmentation { gamma: 1.5, ..off },
            fails("augment.gamma is 1.5; it can be from 0 (off) to 1"),
        ),
        (
            Augmentation {
                equalize: -1.0,
                ..off
            },
            fails("augment.equalize is -1; it can be from 0 (off) to 1"),
        ),
        (
            Augmentation {
                downscale: 2.0,
                ..off
            },
            fails("augment.downscale is 2; it can be from 0 (off) to 1"),
        ),
        (
            Augmentation { blur: 1.2, ..off },
            fails("augment.blur is 1.2; it can be from 0 (off) to 1"),
        ),
        (
            Augmentation { jpeg: 75.0, ..off },
            fails("augment.jpeg is 75; it can be from 0 (off) to 1"),
        ),
        (
            Augmentation {
                scale: [0.5, 2.0],
                ..off
            },
            Ok(()),
        ),
        (
            Augmentation {
                scale: [0.4, 1.0],
                ..off
            },
            scale("[0.4, 1]"),
        ),
        (
            Augmentation {
                scale: [1.0, 2.5],
                ..off
            },
            scale("[1, 2.5]"),
        ),
        (
            Augmentation {
                scale: [1.25, 0.9],
                ..off
            },
            scale("[1.25, 0.9]"),
        ),
        (
            Augmentation {
                scale: [f32::NAN, 1.0],
                ..off
            },
            scale("[NaN, 1]"),
        ),
    ];
    let mut wrong = Vec::new();
    for (augmentation, expected) in cases {
        let answer = augmentation.validate();
        if answer != expected {
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
        Augmentation {
            shift: 0.1,
            flip: 0.5,
            ..Augmentation::default()
        }
    );
    let written = toml::to_string(&ALL).unwrap();
    assert_eq!(
        toml::from_str::<Augmentation>(&written).unwrap(),
        ALL,
        "{written}"
    );
    assert!(read("shfit = 0.1").unwrap_err().message().contains("shfit"));
    assert_eq!(read("scale = [0.9, 1.25]").unwrap().scale, [0.9, 1.25]);
    assert!(
        read("scale = 1.25")
            .unwrap_err()
            .message()
            .contains("array of length 2")
    );
}

#[test]
fn mixup_pairs_every_image_with_one() {
    let on = Augmentation {
        mixup: 0.4,
        ..Augmentation::default()
    };
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
    let first = (
        0.0..=0.5_f32,
        0.0..=180.0_f32,
        0.0..=0.5_f32,
        unit(),
        0.0..=0.5_f32,
        unit(),
        unit(),
        unit(),
    );
    let quality = (
        0.5..=1.0_f32,
        1.0..=2.0_f32,
        unit(),
        unit(),
        unit(),
        unit(),
        unit(),
    );
    (first, quality).prop_map(|(first, quality)| {
        let (shift, rotation, zoom, flip, crop, brightness, contrast, erase) = first;
        let (low, high, gamma, equalize, downscale, blur, jpeg) = quality;
        Augmentation {
            shift,
            rotation,
            zoom,
            scale: [low, high],
            flip,
            crop,
            brightness,
            contrast,
            gamma,
            equalize,
            downscale,
            blur,
            jpeg,
            erase,
            mixup: 0.0,
        }
    })
}

proptest! {
    /// Levels stay levels, and the same draw gives the same picture, for every size, setting and
    /// image.
    #[test]
    fn levels_stay_levels(
        augmentation in settings(),
        (width, pixels) in (1..40_usize, 1..40_usize).prop_flat_map(|(w, h)| {
            (Just(w), prop::collection::vec(any::<u8>(), w * h))
        }),
        seed: u64,
        epoch: u32,
        index: u64,
    ) {
        prop_assert_eq!(augmentation.validate(), Ok(()));
        let draw = Draw { seed, epoch, index };
        let out = apply(&augmentation, &pixels, width, draw);
        prop_assert!(out.iter().all(|v| (0.0..=255.0).contains(v)));
        prop_assert_eq!(out, apply(&augmentation, &pixels, width, draw));
    }

    /// A mirrored mirror image is the image; and a flip is the mirror image of what there is
    /// without it, as in Keras.
    #[test]
    fn a_flip_mirrors(
        theta in -180.0..180.0,
        tx in -9.0..9.0,
        zy in 0.5..1.5,
        width in 1..30_usize,
    ) {
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
