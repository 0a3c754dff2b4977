//! Users' ONNX files: what is read from them, what is assumed, and what is refused with a clear
//! word.

mod common;

use common::Dim::{N, Open};
use common::{ModelBuilder, all_right, linear, run};
use fer::calibration::Calibration;
use fer::onnx::{OnnxModel, read_header};
use fer::spec::{Layout, ModelSpec, OutputKind, Resize, parse_override};

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
    assert_eq!(spec.assumed, Vec::<String>::new());

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
            if !spec.assumed.iter().any(|a| a.contains(word)) {
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

#[test]
fn models_that_can_not_be_fed_are_refused() {
    let gray = [Open, N(1), N(2), N(2)];
    let good = || linear(&gray, 4, 7, true, |_, _| 0.0);
    let five_outputs = (0..4).fold(good(), |m, i| m.output(&format!("extra{i}"), &[Open, N(7)]));
    let mut half_output = good();
    half_output.proto.graph.mut_or_insert_default().output[0]
        .type_
        .mut_or_insert_default()
        .mut_tensor_type()
        .elem_type = 10;
    let mut no_shape = good();
    no_shape.proto.graph.mut_or_insert_default().input[0]
        .type_
        .mut_or_insert_default()
        .mut_tensor_type()
        .shape = Default::default();
    let rows: Vec<(ModelBuilder, &[&str], &str)> = vec![
        (linear(&[Open, N(4)], 4, 7, true, |_, _| 0.0), &[], "rank 2"),
        (
            linear(&[Open, N(1), N(2), N(2), N(1)], 4, 7, true, |_, _| 0.0),
            &[],
            "rank 5",
        ),
        (five_outputs, &[], "5 outputs"),
        (good().input("second", &gray), &[], "2 inputs"),
        (
            linear(&[Open, N(4), N(2), N(2)], 16, 7, true, |_, _| 0.0),
            &[],
            "--meta layout=",
        ),
        (
            linear(&[Open, N(4), N(2), N(2)], 16, 7, true, |_, _| 0.0),
            &["layout=nchw"],
            "4 channels",
        ),
        (
            linear(&[Open, N(1), Open, Open], 4, 7, true, |_, _| 0.0),
            &[],
            "--meta size=",
        ),
        (
            linear(&[Open, N(1), N(90_000), N(2)], 4, 7, true, |_, _| 0.0),
            &[],
            "4096",
        ),
        (linear(&gray, 4, 1, true, |_, _| 0.0), &[], "two or more"),
        (no_shape, &[], "--meta layout="),
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
        (half_output, &[], "float32 output"),
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
        (good(), &["output=maybe"], "probabilities or logits"),
        (
            ModelBuilder::new()
                .input_of_type("input", &gray, 2)
                .output("output", &[Open, N(7)])
                .node("Cast", &["input"], "output", &[("to", 1)]),
            &[],
            "float32",
        ),
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
        read_header(&model.bytes().into(), "m")
            .unwrap()
            .final_operator,
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
fn damaged_files_and_unknown_operators_end_in_one_clear_line() {
    if common::ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let good = std::fs::read(common::root().join("models/notebook.onnx")).unwrap();
    let gray = [Open, N(1), N(2), N(2)];
    let unknown = linear(&gray, 4, 7, true, |_, _| 0.0).node("Frobnicate", &["output"], "odd", &[]);
    let rows = [
        (
            put("truncated.onnx", &good[..good.len() / 2]),
            "not a whole ONNX file",
        ),
        (put("empty.onnx", b""), "not a whole ONNX file"),
        (
            put("text.onnx", b"this is no model, it is a line of text\n"),
            "not a whole ONNX file",
        ),
        (
            put(
                "image.onnx",
                &std::fs::read(common::root().join("examples/faces/happy.png")).unwrap(),
            ),
            "not a whole ONNX",
        ),
        (
            linear(&[Open, N(4)], 4, 7, true, |_, _| 0.0).write(folder.path(), "rank.onnx"),
            "rank 2",
        ),
        (unknown.write(folder.path(), "unknown.onnx"), "Frobnicate"),
        (
            (0..4)
                .fold(linear(&gray, 4, 7, true, |_, _| 0.0), |m, i| {
                    m.output(&format!("x{i}"), &[Open, N(7)])
                })
                .write(folder.path(), "five.onnx"),
            "5 outputs",
        ),
        (
            folder.path().join("absent.onnx").display().to_string(),
            "no file",
        ),
        (
            folder.path().display().to_string(),
            "is a folder, and no training run",
        ),
    ];
    let mut wrong = Vec::new();
    for (model, word) in &rows {
        let run = run(&["infer", "--model", model, "examples/faces/happy.png"]);
        let lines = run.stderr.lines().count();
        if run.code != 2
            || !run.error().contains(word)
            || !run.error().contains(model.as_str())
            || lines != 1
        {
            wrong.push(format!("{model} should say '{word}' in one line: {run:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn any_classifier_runs_logits_layouts_colors_and_fixed_batches() {
    if common::ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Four 2×2 images whose pixels are all different, so that a wrong order of dimensions shows.
    let mut names = Vec::new();
    for i in 0..5u8 {
        let path = folder.path().join(format!("{i}.png"));
        let pixels: Vec<u8> = (0..12).map(|p| p * 20 + i).collect();
        image::RgbImage::from_raw(2, 2, pixels)
            .unwrap()
            .save(&path)
            .unwrap();
        names.push(path.display().to_string());
    }
    // Class c looks at channel c of the pixel in the upper right corner only.
    let picks =
        |index: [i64; 3]| move |p: i64, c: i64| if index[c as usize] == p { 10.0 } else { 0.0 };
    let rows = [
        (
            "nhwc",
            linear(&[Open, N(2), N(2), N(3)], 12, 3, false, picks([3, 4, 5])),
        ),
        (
            "nchw",
            linear(&[Open, N(3), N(2), N(2)], 12, 3, false, picks([1, 5, 9])),
        ),
        (
            "softmax",
            linear(&[Open, N(3), N(2), N(2)], 12, 3, true, picks([1, 5, 9])),
        ),
        (
            "batch of 2",
            linear(&[N(2), N(3), N(2), N(2)], 12, 3, true, picks([1, 5, 9])),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, model) in rows {
        let file = model.write(folder.path(), &format!("{name}.onnx"));
        let mut args = vec!["infer", "--model", &file, "--format", "json"];
        args.extend(names.iter().map(String::as_str));
        let run = run(&args).expect(0);
        for (i, record) in run.records().iter().enumerate() {
            let logits: Vec<f64> = (3..6)
                .map(|p| (p * 20 + i as i32) as f64 / 255.0 * 10.0)
                .collect();
            let sum: f64 = logits.iter().map(|l| l.exp()).sum();
            for (c, logit) in logits.iter().enumerate() {
                let p = record["probabilities"][format!("class_{c}")]
                    .as_f64()
                    .unwrap();
                if (p - logit.exp() / sum).abs() > 1e-5 {
                    wrong.push(format!(
                        "{name}, image {i}, class {c}: {p} instead of {}",
                        logit.exp() / sum
                    ));
                }
            }
        }
        if !run.stderr.contains("assumed") {
            wrong.push(format!(
                "{name} does not say what it assumed: {}",
                run.stderr
            ));
        }
    }
    all_right(wrong);
}
