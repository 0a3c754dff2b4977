//! Decoding and resizing against PIL, on every kind of image: `scripts/fixtures.py` drew the images
//! and wrote what PIL made of them to `tests/golden/preprocess.safetensors`.

use crate::common::{self, all_right};
use fer_core::images::{DecodeError, Pixels, decode, read};
use fer_core::preprocess::Preprocessor;
use fer_core::spec::{InputSpec, Layout, ModelSpec, OutputKind, Resize};
use safetensors::SafeTensors;

fn fixtures() -> Vec<String> {
    let folder = common::root().join("tests/fixtures/images");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn fixture(name: &str) -> Pixels {
    read(&common::root().join("tests/fixtures/images").join(name))
        .unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn golden_bytes() -> Vec<u8> {
    std::fs::read(common::root().join("tests/golden/preprocess.safetensors")).unwrap()
}

fn spec(resize: Resize, channels: usize) -> ModelSpec {
    ModelSpec {
        labels: vec!["a".into(), "b".into()],
        input: InputSpec {
            resize,
            ..InputSpec::new(Layout::Nhwc, 48, 48, channels)
        },
        output: OutputKind::Probabilities,
        calibration: Default::default(),
        crop: None,
        fixed_batch: None,
        assumed: Vec::new(),
    }
}

/// The largest difference of two images' values, or `None` if they differ in size.
fn difference(a: &[u8], b: &[u8]) -> Option<u8> {
    (a.len() == b.len()).then(|| {
        a.iter()
            .zip(b)
            .map(|(a, b)| a.abs_diff(*b))
            .max()
            .unwrap_or(0)
    })
}

/// Compares each fixture, made into pixels by `make`, with PIL's under `kind`; up to `tolerance` is
/// equal.
fn compare(kind: &str, tolerance: u8, make: impl Fn(Pixels) -> Pixels) {
    let bytes = golden_bytes();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let names = fixtures();
    assert!(names.len() >= 30, "the fixtures are there: {names:?}");
    let mut wrong = Vec::new();
    for name in names {
        let pil = golden.tensor(&format!("{name}/{kind}")).unwrap();
        let own = make(fixture(&name));
        let shape = &pil.shape()[..2];
        match difference(&own.data, pil.data()) {
            Some(d) if d <= tolerance && shape == [own.height, own.width] => {}
            d => wrong.push(format!(
                "{name}: {}x{}, off by {d:?}; PIL: {shape:?}",
                own.height, own.width
            )),
        }
    }
    all_right(wrong);
}

#[test]
fn gray_values_equal_pil() {
    compare("gray", 0, Pixels::into_gray);
}

#[test]
fn rgb_values_equal_pil() {
    compare("rgb", 0, Pixels::into_rgb);
}

#[test]
fn nearest_resizing_equals_pil() {
    let preprocessor = Preprocessor::new(&spec(Resize::Nearest, 1).input);
    compare("nearest48", 0, |pixels| preprocessor.pixels(pixels));
}

#[test]
fn antialiased_resizing_is_within_one_level_of_pil() {
    let preprocessor = Preprocessor::new(&spec(Resize::Antialias, 1).input);
    compare("antialias48", 1, |pixels| preprocessor.pixels(pixels));
}

#[test]
fn a_tensor_is_the_pixels_times_the_scale() {
    let pixels = fixture("gray.png");
    let tensor = Preprocessor::new(&spec(Resize::Nearest, 1).input).tensor(pixels.clone());
    // As Keras computes it: float32(pixel) × float32(1/255).
    let expected: Vec<f32> = pixels
        .data
        .iter()
        .map(|p| f32::from(*p) * (1.0 / 255.0))
        .collect();
    assert_eq!(tensor, expected);

    let mut with_mean = spec(Resize::Nearest, 3);
    (with_mean.input.mean, with_mean.input.std) = (vec![0.1, 0.2, 0.3], vec![0.5, 0.25, 2.0]);
    let tensor = Preprocessor::new(&with_mean.input).tensor(pixels.clone());
    for (i, p) in pixels.data.iter().enumerate() {
        let x = f32::from(*p) * (1.0 / 255.0);
        assert_eq!(
            tensor[3 * i..3 * i + 3],
            [(x - 0.1) / 0.5, (x - 0.2) / 0.25, (x - 0.3) / 2.0]
        );
    }
}

#[test]
fn the_eight_orientations_show_the_same_picture() {
    let upright = fixture("exif1.jpg");
    for i in 2..=8 {
        let turned = fixture(&format!("exif{i}.jpg"));
        assert_eq!(
            (turned.width, turned.height),
            (upright.width, upright.height),
            "orientation {i}"
        );
    }
}

#[test]
fn large_images_are_refused_before_they_are_decoded() {
    // 60,000 × 60,000: the size in the header is all there is to it.
    let mut jpeg = std::fs::read(common::root().join("tests/fixtures/images/gray.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    let gif = b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;".to_vec();
    let pnm = b"P5 60000 60000 255\n".to_vec();
    let mut bmp = std::fs::read(common::root().join("tests/fixtures/images/still.bmp")).unwrap();
    bmp[18..26].copy_from_slice(&[0x60, 0xea, 0, 0, 0x60, 0xea, 0, 0]);
    let rows = [("jpeg", jpeg), ("gif", gif), ("pnm", pnm), ("bmp", bmp)];
    let wrong = rows.iter().filter_map(|(name, bytes)| match decode(bytes) {
        Err(e) if e.to_string().contains("limit of 100 megapixels") => None,
        other => Some(format!("{name}: {other:?}")),
    });
    all_right(wrong.collect());
}

#[test]
fn a_file_that_is_cut_off_is_said_to_be() {
    let mut wrong = Vec::new();
    for name in fixtures() {
        let bytes =
            std::fs::read(common::root().join("tests/fixtures/images").join(&name)).unwrap();
        for end in [bytes.len() / 2, bytes.len() * 3 / 4] {
            if let Err(e) = decode(&bytes[..end])
                && !matches!(e, DecodeError::CutOff { .. })
            {
                wrong.push(format!("{name} at {end} of {}: {e}", bytes.len()));
            }
        }
    }
    all_right(wrong);
}
