//! Users' ONNX files: what is read from them, what is assumed, and what is refused with a clear
//! word.

use crate::common::Dim::{N, Open};
use crate::common::{self, ModelBuilder, all_right, linear};
use fer_core::calibration::Calibration;
use fer_core::onnx::{OnnxModel, read_header};
use fer_core::spec::{
    Basis, ChannelOrder, Field, Hint, Hints, InputSpec, Layout, ModelSpec, OutputKind, Resize,
    parse_override,
};

fn spec_of(model: &ModelBuilder, overrides: &[&str]) -> Result<ModelSpec, String> {
    let overrides = overrides
        .iter()
        .map(|o| parse_override(o).unwrap())
        .collect();
    let header = read_header(&model.bytes().into(), "m.onnx").map_err(|e| e.to_string())?;
    ModelSpec::resolve(&header, &overrides, "m.onnx").map_err(|e| e.to_string())
}

#[test]
fn metadata_counts_before_shapes_and_the_user_before_metadata() {
    let model = linear(&[Open, N(2), N(2), N(1)], 4, 7, true, |_, _| 1.0)
        .meta("fer.labels", r#"["a","b","c","d","e","f","g"]"#)
        .meta("fer.layout", "NHWC")
        .meta("fer.size", "2x2")
        .meta("fer.channels", "1")
        .meta("fer.scale", "0.5")
        .meta("fer.mean", "[0.25]")
        .meta("fer.std", "[2]")
        .meta("fer.resize", "antialias")
        .meta("fer.output", "logits")
        .meta("fer.temperature", "1.5")
        .meta("fer.exponent", "1.25");
    let spec = spec_of(&model, &[]).unwrap();
    assert_eq!(spec.labels.join(""), "abcdefg");
    assert_eq!(
        (
            spec.input.layout,
            spec.input.width,
            spec.input.height,
            spec.input.channels
        ),
        (Layout::Nhwc, 2, 2, 1)
    );
    assert_eq!(
        (
            spec.input.scale,
            spec.input.mean.as_slice(),
            spec.input.std.as_slice()
        ),
        (0.5, &[0.25][..], &[2.0][..])
    );
    assert_eq!(
        (spec.input.resize, spec.output, spec.fixed_batch),
        (Resize::Antialias, OutputKind::Logits, None)
    );
    assert_eq!(
        spec.calibration,
        Calibration {
            temperature: 1.5,
            exponent: 1.25
        }
    );
    assert_eq!(spec.assumed, []);

    let spec = spec_of(
        &model,
        &[
            "scale=1",
            "fer.output=probabilities",
            "temperature=1",
            "labels=t,u,v,w,x,y,z",
        ],
    )
    .unwrap();
    assert_eq!(
        (spec.input.scale, spec.output, spec.labels[0].as_str()),
        (1.0, OutputKind::Probabilities, "t")
    );
    // The file's two numbers go together.
    assert_eq!(spec.calibration, Calibration::NONE);
    let calibration = |overrides: &[&str]| spec_of(&model, overrides).unwrap().calibration;
    assert_eq!(
        calibration(&["temperature=2", "exponent=0.5"]),
        Calibration {
            temperature: 2.0,
            exponent: 0.5
        }
    );
    assert_eq!(
        calibration(&["exponent=0.5"]),
        Calibration {
            temperature: 1.0,
            exponent: 0.5
        }
    );
}

#[test]
fn what_the_file_does_not_say_is_taken_from_its_shapes_and_told() {
    let rows = [
        (
            linear(&[Open, N(48), N(40), N(1)], 1920, 7, true, |_, _| 0.0),
            Layout::Nhwc,
            (40, 48, 1),
            "angry",
        ),
        (
            linear(&[N(8), N(3), N(20), N(30)], 1800, 7, true, |_, _| 0.0),
            Layout::Nchw,
            (30, 20, 3),
            "angry",
        ),
        (
            linear(&[Open, N(1), N(2), N(2)], 4, 5, false, |_, _| 0.0),
            Layout::Nchw,
            (2, 2, 1),
            "class_0",
        ),
    ];
    let mut wrong = Vec::new();
    for (i, (model, layout, size, first_label)) in rows.iter().enumerate() {
        let spec = spec_of(model, &[]).unwrap();
        if (
            spec.input.layout,
            (spec.input.width, spec.input.height, spec.input.channels),
            spec.labels[0].as_str(),
        ) != (*layout, *size, *first_label)
        {
            wrong.push(format!("row {i}: {spec:?}"));
        }
        for word in [
            "layout", "size", "channel", "class", "1/255", "resize", "output",
        ] {
            if !spec.assumed.iter().any(|a| a.value.contains(word)) {
                wrong.push(format!("row {i} does not tell {word}: {:?}", spec.assumed));
            }
        }
    }
    all_right(wrong);
    let batch = linear(&[N(8), N(1), N(2), N(2)], 4, 2, false, |_, _| 0.0);
    assert_eq!(spec_of(&batch, &[]).unwrap().fixed_batch, Some(8));
}

#[test]
fn the_last_operator_tells_logits_from_probabilities() {
    let dims = [Open, N(1), N(2), N(2)];
    let behind =
        |op: &str| linear(&dims, 4, 7, true, |_, _| 0.0).node(op, &["output"], "last", &[]);
    let mut rows = [
        (
            linear(&dims, 4, 7, true, |_, _| 0.0),
            OutputKind::Probabilities,
        ),
        (linear(&dims, 4, 7, false, |_, _| 0.0), OutputKind::Logits),
        (behind("Identity"), OutputKind::Probabilities),
        (behind("Relu"), OutputKind::Logits),
    ];
    for (model, _) in rows.iter_mut().skip(2) {
        model.proto.graph.mut_or_insert_default().output[0].name = "last".into();
    }
    let wrong = rows
        .iter()
        .enumerate()
        .filter(|(_, (m, kind))| spec_of(m, &[]).unwrap().output != *kind);
    all_right(wrong.map(|(i, _)| format!("row {i}")).collect());
}

/// A model with an input of an element type, which it casts to its output.
fn of_type(dims: &[common::Dim], elem_type: i32) -> ModelBuilder {
    ModelBuilder::new()
        .input_of_type("input", dims, elem_type)
        .output("output", &[Open, N(7)])
        .node("Cast", &["input"], "output", &[("to", 1)])
}

#[test]
fn models_that_can_not_be_fed_are_refused() {
    let gray = [Open, N(1), N(2), N(2)];
    let good = || linear(&gray, 4, 7, true, |_, _| 0.0);
    let linear_good = linear(&gray, 4, 7, false, |_, _| 0.0);
    let five_outputs = (0..4).fold(linear_good, |m, i| {
        m.output(&format!("extra{i}"), &[Open, N(7)])
    });
    let mut classes = good();
    classes.proto.graph.mut_or_insert_default().output[0]
        .type_
        .mut_or_insert_default()
        .mut_tensor_type()
        .elem_type = 7;
    let mut no_shape = good();
    no_shape.proto.graph.mut_or_insert_default().input[0]
        .type_
        .mut_or_insert_default()
        .mut_tensor_type()
        .shape = Default::default();
    let whole = || of_type(&gray, 2);
    let rows: Vec<(ModelBuilder, &[&str], &str)> = vec![
        (linear(&[Open, N(4)], 4, 7, true, |_, _| 0.0), &[], "rank 2"),
        (
            linear(&[Open, N(1), N(2), N(2), N(1)], 4, 7, true, |_, _| 0.0),
            &[],
            "rank 5",
        ),
        (five_outputs, &[], "5 outputs, and nothing tells"),
        (good().input("second", &gray), &[], "2 inputs"),
        (
            linear(&[Open, N(4), N(2), N(2)], 16, 7, true, |_, _| 0.0),
            &[],
            "does not tell NHWC from NCHW",
        ),
        (
            linear(&[Open, N(4), N(2), N(2)], 16, 7, true, |_, _| 0.0),
            &["layout=nchw"],
            "4 channels",
        ),
        (
            linear(&[Open, N(1), Open, Open], 4, 7, true, |_, _| 0.0),
            &[],
            "images of any size",
        ),
        (
            linear(&[Open, N(1), N(90_000), N(2)], 4, 7, true, |_, _| 0.0),
            &[],
            "4096",
        ),
        (no_shape, &[], "does not tell NHWC from NCHW"),
        (
            linear(&[N(1 << 40), N(1), N(2), N(2)], 4, 7, true, |_, _| 0.0),
            &[],
            "open batch",
        ),
        (
            linear(&[N(1 << 62), N(1), N(2), N(2)], 4, 7, true, |_, _| 0.0),
            &[],
            "open batch",
        ),
        (classes, &[], "is int64"),
        (good(), &["temperature=0"], "from 0.05 to 20"),
        (good(), &["temperature=NaN"], "from 0.05 to 20"),
        (good(), &["temperature=warm"], "'warm'"),
        (good(), &["exponent=0.4"], "from 0.5 to 3"),
        (good(), &["exponent=inf"], "from 0.5 to 3"),
        (good(), &["size=3x2"], "3x2"),
        (good(), &["size=big"], "48x48"),
        (good(), &["channels=3"], "3 channels"),
        (good(), &["channels=x"], "not a number"),
        (good(), &["labels=a,b"], "2 classes"),
        (good(), &["labels=a,a,b,c,d,e,f"], "different"),
        (good(), &["labels=[1]"], "JSON"),
        (good(), &["scale=0"], "scale"),
        (good(), &["scale=NaN"], "scale"),
        (good(), &["mean=1,2"], "mean"),
        (good(), &["std=0"], "std"),
        (good(), &["layout=chwn"], "NHWC or NCHW"),
        (good(), &["resize=cubic"], "nearest or antialias"),
        (good(), &["output=maybe"], "probabilities, logits, scores"),
        (good(), &["output=probability"], "one value for two classes"),
        (
            good(),
            &["output=scores", "temperature=2"],
            "no calibration",
        ),
        (
            good(),
            &["output_name=other"],
            "no output 'other'; it has output [N, 7]",
        ),
        (good(), &["channel_order=bgr"], "gray"),
        (good(), &["channel_order=grb"], "rgb or bgr"),
        (good(), &["preprocess=vgg"], "tf, caffe or torch"),
        (good(), &["preprocess=tf", "scale=1"], "can't stand beside"),
        (good(), &["preprocess=tf", "mean=1"], "can't stand beside"),
        (good(), &["preprocess=caffe"], "one number"),
        (good(), &["mean=127.5", "std=127.5"], "no scale is stated"),
        (whole(), &["scale=1/255"], "pixels stay 0..255"),
        (whole(), &["mean=127"], "pixels stay 0..255"),
        (of_type(&gray, 3), &[], "takes int8"),
        (of_type(&gray, 9), &[], "takes bool"),
    ];
    let mut wrong = Vec::new();
    for (i, (model, overrides, word)) in rows.iter().enumerate() {
        match spec_of(model, overrides) {
            Err(e) if e.contains(word) && e.starts_with("m.onnx: ") => {}
            other => wrong.push(format!("row {i} should say '{word}': {other:?}")),
        }
    }
    all_right(wrong);
}

#[test]
fn a_graph_that_bites_its_tail_is_read_to_an_end() {
    let model = ModelBuilder::new()
        .input("input", &[Open, N(1), N(2), N(2)])
        .output("a", &[Open, N(7)])
        .node("Identity", &["b"], "a", &[])
        .node("Identity", &["a"], "b", &[]);
    assert_eq!(
        read_header(&model.bytes().into(), "m").unwrap().outputs[0].operator,
        None
    );
}

#[test]
fn tiny_weights_are_flushed_and_counted() {
    let values = [1.0, 1e-40, -1e-40, 1e-31, 1e-29, 0.0, -0.0, f32::NAN];
    let model = linear(&[Open, N(1), N(2), N(2)], 4, 2, true, |p, c| {
        values[(p * 2 + c) as usize]
    });
    let read = OnnxModel::parse(model.bytes().into(), "m").unwrap();
    assert_eq!(read.flushed, 3);
    let again = OnnxModel::parse(read.bytes.clone(), "m").unwrap();
    assert_eq!((again.flushed, again.bytes == read.bytes), (0, true));

    let clean = linear(&[Open, N(1), N(2), N(2)], 4, 2, true, |_, _| 1.0).bytes();
    assert_eq!(
        OnnxModel::parse(clean.clone().into(), "m").unwrap().bytes,
        clean,
        "a clean file is handed on as it is"
    );
}

#[test]
fn the_shipped_model_has_nothing_left_to_flush() {
    let model = OnnxModel::read(&common::root().join("models/notebook.onnx")).unwrap();
    assert_eq!(
        model.flushed, 0,
        "scripts/keras/convert.py and crates/fer-core/src/onnx/flush.rs have one threshold"
    );
}

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
    let five = linear(&[Open, N(1), N(2), N(2)], 4, 5, true, |_, _| 0.0);
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
