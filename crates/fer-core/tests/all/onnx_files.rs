//! Users' ONNX files: what is read from them, what is assumed, and what is refused with a clear
//! word.

use crate::common::Dim::{N, Open};
use crate::common::{self, ModelBuilder, all_right, linear};
use fer_core::calibration::Calibration;
use fer_core::onnx::{OnnxModel, read_header};
use fer_core::spec::{Layout, ModelSpec, OutputKind, Resize, parse_override};

pub fn spec_of(model: &ModelBuilder, overrides: &[&str]) -> Result<ModelSpec, String> {
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
        // Who wrote that it is a guess knew the operator.
        (
            linear(&dims, 4, 7, true, |_, _| 0.0)
                .meta("fer.output", "logits")
                .meta("fer.guessed", "output"),
            OutputKind::Logits,
        ),
        (behind("Identity"), OutputKind::Probabilities),
        (behind("Relu"), OutputKind::Logits),
    ];
    for (model, _) in rows.iter_mut().skip(3) {
        model.proto.graph.mut_or_insert_default().output[0].name = "last".into();
    }
    let wrong = rows
        .iter()
        .enumerate()
        .filter(|(_, (m, kind))| spec_of(m, &[]).unwrap().output != *kind);
    all_right(wrong.map(|(i, _)| format!("row {i}")).collect());
}

/// A model with an input of an element type, which it casts to its output.
pub fn of_type(dims: &[common::Dim], elem_type: i32) -> ModelBuilder {
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
