//! What a spec says beyond a file's shapes: how pixels become values, what other tools say, which of
//! several outputs counts, and other types than float32.

use crate::common::Dim::{N, Open};
use crate::common::{ModelBuilder, all_right, linear};
use crate::onnx_files::{of_type, spec_of};
use fer_core::onnx::read_header;
use fer_core::spec::{
    Basis, ChannelOrder, Field, Hint, Hints, InputSpec, Layout, ModelSpec, parse_override,
};

#[test]
fn how_pixels_become_values_is_said_in_one_spelling() {
    let model = linear(&[Open, N(3), N(2), N(2)], 12, 7, true, |_, _| 0.0);
    let plain = InputSpec::new(Layout::Nchw, 2, 2, 3);
    let bgr = ChannelOrder::Bgr;
    let rows: [(&[&str], InputSpec, &str); 8] = [
        (&[], plain.clone(), "pixels × 1/255, RGB"),
        (
            &["scale=1/127.5", "mean=1"],
            InputSpec {
                scale: 1.0 / 127.5,
                mean: vec![1.0; 3],
                ..plain.clone()
            },
            "pixels × 1/127.5 − 1, RGB",
        ),
        (
            &["preprocess=tf"],
            InputSpec {
                scale: 1.0 / 127.5,
                mean: vec![1.0; 3],
                ..plain.clone()
            },
            "pixels × 1/127.5 − 1, RGB",
        ),
        (
            &["fer.preprocess=caffe"],
            InputSpec {
                scale: 1.0,
                mean: vec![103.939, 116.779, 123.68],
                order: bgr,
                ..plain.clone()
            },
            "pixels of 0..255 − [103.939, 116.779, 123.68], BGR",
        ),
        (
            &["preprocess=torch"],
            InputSpec {
                mean: vec![0.485, 0.456, 0.406],
                std: vec![0.229, 0.224, 0.225],
                ..plain.clone()
            },
            "(pixels × 1/255 − [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], RGB",
        ),
        (
            &["channel-order=BGR", "mean=0", "std=[1,1,1]"],
            InputSpec {
                order: bgr,
                ..plain.clone()
            },
            "pixels × 1/255, BGR",
        ),
        (
            &["mean=1/2", "std=0.5"],
            InputSpec {
                mean: vec![0.5; 3],
                std: vec![0.5; 3],
                ..plain.clone()
            },
            "(pixels × 1/255 − 0.5) / 0.5, RGB",
        ),
        (
            &["scale=0.3"],
            InputSpec {
                scale: 0.3,
                ..plain.clone()
            },
            "pixels × 0.3, RGB",
        ),
    ];
    let mut wrong = Vec::new();
    for (overrides, input, words) in rows {
        let spec = spec_of(&model, overrides).unwrap();
        if spec.input != input || input.values_in_words() != words {
            wrong.push(format!("{overrides:?}: {:?}", spec.input.values_in_words()));
        }
    }
    all_right(wrong);
}

#[test]
fn what_other_tools_say_counts_after_shapes_and_before_guesses() {
    let names = "{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e', 5: 'f', 6: 'g'}";
    let open = || linear(&[Open, Open, Open, Open], 12, 7, true, |_, _| 0.0);
    let ultralytics = open()
        .meta("names", names)
        .meta("task", "classify")
        .meta("imgsz", "[32, 48]");
    let hint = |key, value: &str| Hint {
        key,
        value: value.into(),
        source: "beside it".into(),
    };
    let hints = Hints(vec![
        hint("labels", r#"["x", "y"]"#),
        hint("labels", r#"["t","u","v","w","x","y","z"]"#),
        hint("size", "20x20"),
        hint("layout", "NHWC"),
        hint("channels", "3"),
        hint("scale", "1/255"),
        hint("mean", "[0.5,0.5,0.5]"),
    ]);
    let none = Hints::default();
    let resolve = |model: &ModelBuilder, overrides: &[&str], hints: &Hints| {
        let overrides = overrides
            .iter()
            .map(|o| parse_override(o).unwrap())
            .collect();
        let header = read_header(&model.bytes().into(), "m").unwrap();
        ModelSpec::resolve_with(&header, &overrides, hints, "m")
            .unwrap()
            .spec
    };
    let spec = resolve(&ultralytics, &["channels=3"], &none);
    assert_eq!(spec.labels.concat(), "abcdefg");
    let i = &spec.input;
    assert_eq!((i.width, i.height, i.layout), (48, 32, Layout::Nchw));
    assert!(
        spec.assumed.iter().all(|a| !a.is_guess()),
        "{:?}",
        spec.assumed
    );
    // The file's own metadata counts more than a file beside it.
    assert_eq!(
        resolve(&ultralytics, &["channels=3"], &hints)
            .labels
            .concat(),
        "abcdefg"
    );

    let spec = resolve(&open(), &[], &hints);
    let i = &spec.input;
    assert_eq!((i.width, i.layout, i.channels), (20, Layout::Nhwc, 3));
    assert_eq!(
        (spec.labels.concat().as_str(), &i.mean[..]),
        ("tuvwxyz", &[0.5; 3][..])
    );
    let from = |field| {
        spec.assumed
            .iter()
            .find(|a| a.field == field)
            .map(|a| &a.basis)
    };
    assert_eq!(
        from(Field::Labels),
        Some(&Basis::Convention("from beside it".into()))
    );
    assert_eq!(from(Field::Resize), Some(&Basis::Guess));
    // Names that do not fit are said, and not used.
    let five = linear(&[Open, N(3), N(2), N(2)], 12, 5, true, |_, _| 0.0);
    let spec = resolve(&five, &[], &hints);
    assert_eq!(spec.labels[4], "class_4");
    let said = &spec
        .assumed
        .iter()
        .find(|a| a.field == Field::Labels)
        .unwrap()
        .value;
    assert!(
        said.contains("beside it names 2; beside it names 7"),
        "{said}"
    );
}

#[test]
fn one_of_several_outputs_is_chosen_where_only_one_can_be_it() {
    let gray = [Open, N(1), N(2), N(2)];
    let linear_and = |softmax, classes| {
        linear(&gray, 4, classes, softmax, |_, _| 0.0).node("Identity", &["input"], "features", &[])
    };
    let rows: [(ModelBuilder, &[&str], &str); 6] = [
        (
            linear_and(false, 7).output("features", &gray),
            &[],
            "output",
        ),
        (
            linear_and(true, 7).output("features", &[Open, N(4)]),
            &[],
            "output",
        ),
        (
            linear_and(false, 7).output("features", &[Open, N(4)]),
            &["labels=a,b,c,d"],
            "features",
        ),
        (
            linear_and(false, 1).output("features", &[Open, N(4)]),
            &["labels=a,b"],
            "output",
        ),
        (
            linear_and(false, 7).output("features", &[Open, N(4)]),
            &["output_name=features"],
            "features",
        ),
        (
            linear_and(false, 7).output("features", &[Open, N(4)]),
            &[],
            "nothing tells",
        ),
    ];
    let mut wrong = Vec::new();
    for (i, (model, overrides, expected)) in rows.iter().enumerate() {
        let overrides = overrides
            .iter()
            .map(|o| parse_override(o).unwrap())
            .collect();
        let bytes = model.bytes().into();
        let header = read_header(&bytes, "m").unwrap();
        match ModelSpec::resolve_with(&header, &overrides, &Hints::default(), "m") {
            Ok(found) => {
                let adapted = fer_core::onnx::adapt(&bytes, &found.output, "m").unwrap();
                let left = read_header(&adapted, "m").unwrap().outputs;
                if found.output != *expected || left.len() != 1 || left[0].name != *expected {
                    wrong.push(format!("row {i}: {}", found.output));
                }
            }
            Err(e) if e.to_string().contains(expected) => {}
            Err(e) => wrong.push(format!("row {i}: {e}")),
        }
    }
    all_right(wrong);
}

#[test]
fn other_types_than_float32_are_cast() {
    let dims = [Open, N(1), N(2), N(2)];
    for (elem_type, scale) in [(2, 1.0), (6, 1.0), (10, 1.0 / 255.0), (11, 1.0 / 255.0)] {
        let bytes = of_type(&dims, elem_type).bytes().into();
        let header = read_header(&bytes, "m").unwrap();
        let none = Hints::default();
        let found = ModelSpec::resolve_with(&header, &Default::default(), &none, "m").unwrap();
        assert_eq!(
            (found.adapt, found.spec.input.scale),
            (true, scale),
            "{elem_type}"
        );
        let adapted = fer_core::onnx::adapt(&bytes, &found.output, "m").unwrap();
        let proto = fer_core::onnx::parse_proto(&adapted, "m").unwrap();
        let header = fer_core::onnx::Header::of(&proto);
        assert_eq!(
            (header.inputs[0].elem_type, header.outputs[0].elem_type),
            (1, 1)
        );
        let cast = &proto.graph.node[0];
        assert_eq!(
            (cast.op_type.as_str(), cast.attribute[0].i),
            ("Cast", i64::from(elem_type))
        );
        assert_eq!(
            (&cast.input[0], cast.output[0].as_str()),
            (&header.inputs[0].name, "input")
        );
    }
}
