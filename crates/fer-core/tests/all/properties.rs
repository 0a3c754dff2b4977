//! Properties that hold for every input: parsers of untrusted bytes end in a value or an error,
//! never in a panic or in unbounded memory; preprocessing gives finite values of the promised size.

use crate::common::Dim::{N, Open};
use crate::common::{self, linear};
use fer_core::images::{Pixels, decode};
use fer_core::onnx::{OnnxModel, read_header};
use fer_core::preprocess::Preprocessor;
use fer_core::spec::{InputSpec, Layout, ModelSpec, Resize};
use proptest::prelude::*;

fn fixtures() -> Vec<Vec<u8>> {
    let folder = common::root().join("tests/fixtures/images");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|p| std::fs::read(p).unwrap()).collect()
}

/// A file of the fixtures with some bytes changed and the end cut off.
fn damaged_image() -> impl Strategy<Value = Vec<u8>> {
    let files = fixtures();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    (
        0..files.len(),
        changes,
        prop::option::of(any::<prop::sample::Index>()),
    )
        .prop_map(move |(i, changes, cut)| {
            let mut bytes = files[i].clone();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        })
}

fn spec_for(
    width: usize,
    height: usize,
    channels: usize,
    layout: Layout,
    resize: Resize,
) -> ModelSpec {
    ModelSpec {
        labels: vec!["a".into(), "b".into()],
        input: InputSpec {
            resize,
            ..InputSpec::new(layout, width, height, channels)
        },
        output: fer_core::spec::OutputKind::Logits,
        calibration: Default::default(),
        crop: None,
        fixed_batch: None,
        assumed: Vec::new(),
    }
}

// PROPTEST_CASES=100000 looks harder.
proptest! {
    #[test]
    fn decoding_damaged_images_never_panics(bytes in damaged_image()) {
        if let Ok(pixels) = decode(&bytes) {
            prop_assert_eq!(pixels.data.len(), pixels.width * pixels.height * pixels.channels);
            prop_assert!(pixels.width > 0 && pixels.height > 0 && matches!(pixels.channels, 1 | 3));
        }
    }

    #[test]
    fn decoding_anything_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_tensor_has_the_promised_size_and_range(
        (w, h, c) in (1usize..70, 1usize..70, prop::sample::select(vec![1usize, 3])),
        (to_w, to_h, to_c) in (1usize..60, 1usize..60, prop::sample::select(vec![1usize, 3])),
        antialias: bool,
        nchw: bool,
        seed: u8,
    ) {
        let data = (0..w * h * c).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
        let resize = if antialias { Resize::Antialias } else { Resize::Nearest };
        let layout = if nchw { Layout::Nchw } else { Layout::Nhwc };
        let spec = spec_for(to_w, to_h, to_c, layout, resize);
        let pixels = Pixels { width: w, height: h, channels: c, data };
        let tensor = Preprocessor::new(&spec.input).tensor(pixels);
        prop_assert_eq!(tensor.len(), spec.image_len());
        prop_assert!(tensor.iter().all(|v| (0.0..=1.0).contains(v)));
    }

    #[test]
    fn both_layouts_hold_the_same_values(w in 1usize..20, h in 1usize..20, seed: u8) {
        let value = |i: usize| (i as u8).wrapping_mul(17).wrapping_add(seed);
        let data = (0..w * h * 3).map(value).collect();
        let pixels = Pixels { width: w, height: h, channels: 3, data };
        let of = |layout| {
            let spec = spec_for(w, h, 3, layout, Resize::Nearest);
            Preprocessor::new(&spec.input).tensor(pixels.clone())
        };
        let (nhwc, nchw) = (of(Layout::Nhwc), of(Layout::Nchw));
        for i in 0..w * h {
            for c in 0..3 {
                prop_assert_eq!(nhwc[i * 3 + c], nchw[c * w * h + i]);
            }
        }
    }

    #[test]
    fn parsing_damaged_models_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let model = linear(&[Open, N(2), N(2), N(1)], 4, 7, true, |p, c| (p - c) as f32)
            .meta("fer.labels", r#"["a","b","c","d","e","f","g"]"#)
            .meta("fer.size", "2x2");
        let mut bytes = model.bytes();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(model) = OnnxModel::parse(bytes.clone().into(), "m") {
            let _ = ModelSpec::resolve(&model.header, &Default::default(), "m");
        }
        let _ = read_header(&bytes.into(), "m");
    }
}
