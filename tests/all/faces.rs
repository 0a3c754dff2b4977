//! Faces in pictures: found as OpenCV's `FaceDetectorYN` finds them, by both engines, and what
//! `fer infer` reports of them.

use std::fs;

use fer::faces::{Detector, DetectorRef, Face, SearchOptions, find};
use fer::host::Host;
use fer::images::{Pixels, read};
use fer::onnx::proto::{
    AttributeProto, AttributeType, Message, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use fer::{Backend, device::DeviceSpec};
use serde_json::Value;

use crate::common::{Run, all_right, fer, ort, root, run};

pub const ASTRONAUT: &str = "examples/photos/astronaut.jpg";

fn detectors() -> Vec<(&'static str, Detector)> {
    let load = |backend: Backend| {
        Detector::load(&DetectorRef::Builtin, &backend, None, &Host::from_env()).unwrap()
    };
    let mut detectors = vec![("burn", load(Backend::Burn(DeviceSpec::default())))];
    detectors.extend(ort().map(|_| ("ort", load(Backend::Auto { library: None }))));
    detectors
}

/// Every `step`-th pixel of a picture, `repeat` times beside and below itself.
fn composed(picture: &Pixels, step: usize, repeat: usize) -> Pixels {
    let [width, height] = [picture.width, picture.height].map(|side| side.div_ceil(step));
    let mut data = Vec::new();
    for y in 0..height * repeat {
        for x in 0..width * repeat {
            let (x, y) = (x % width * step, y % height * step);
            data.extend_from_slice(&picture.data[(y * picture.width + x) * 3..][..3]);
        }
    }
    Pixels {
        width: width * repeat,
        height: height * repeat,
        channels: 3,
        data,
    }
}

/// The largest difference of a box or a landmark in pixels, and of a score; `None` if the numbers
/// of faces differ.
fn difference(found: &[Face], expected: &[Value]) -> Option<(f32, f32)> {
    let numbers = |value: &Value| -> Vec<f32> {
        let numbers = value.as_array().unwrap().iter();
        numbers.map(|v| v.as_f64().unwrap() as f32).collect()
    };
    if found.len() != expected.len() {
        return None;
    }
    let mut worst = (0f32, 0f32);
    for expected in expected {
        let bounds = numbers(&expected["box"]);
        let landmarks = expected["landmarks"].as_array().unwrap().iter();
        let landmarks: Vec<f32> = landmarks.flat_map(numbers).collect();
        let pixels = |face: &Face| {
            let own = [face.x, face.y, face.w, face.h].into_iter();
            let own = own.chain(face.landmarks.into_iter().flatten());
            own.zip(bounds.iter().chain(&landmarks))
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max)
        };
        let nearest = found.iter().min_by(|a, b| pixels(a).total_cmp(&pixels(b)));
        let nearest = nearest.unwrap();
        let score = expected["score"].as_f64().unwrap() as f32;
        worst.0 = worst.0.max(pixels(nearest));
        worst.1 = worst.1.max((nearest.score - score).abs());
    }
    Some(worst)
}

/// tests/golden/faces.json, by scripts/detector/golden.py.
#[test]
fn faces_are_those_that_opencv_finds() {
    let golden = fs::read_to_string(root().join("tests/golden/faces.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let mut wrong = Vec::new();
    for (engine, detector) in detectors() {
        for case in golden["cases"].as_array().unwrap() {
            let number = |key: &str| case[key].as_u64().unwrap() as usize;
            let name = case["picture"].as_str().unwrap();
            let picture = read(&root().join("examples/photos").join(name)).unwrap();
            let picture = composed(&picture, number("step"), number("repeat"));
            let found = find(&picture, &detector, &SearchOptions::default()).unwrap();
            let found = difference(&found, case["faces"].as_array().unwrap());
            println!(
                "{engine} {name} {} {}: {found:?}",
                case["step"], case["repeat"]
            );
            if found.is_none_or(|(pixels, score)| pixels > 0.01 || score > 1e-5) {
                wrong.push(format!("{engine} {name} {}: {found:?}", case["step"]));
            }
        }
    }
    all_right(wrong);
}

/// `models/yunet.onnx` with probabilities: as one output, or as OpenCV's twelve of a fixed size.
fn with_probabilities(twelve: bool) -> Vec<u8> {
    let file = fs::read(root().join("models/yunet.onnx")).unwrap();
    let mut model = ModelProto::parse_from_bytes(&file).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let node = |op: &str, inputs: &[&str], outputs: Vec<String>| NodeProto {
        op_type: op.into(),
        name: outputs.concat(),
        input: inputs.iter().map(|name| name.to_string()).collect(),
        output: outputs,
        attribute: vec![AttributeProto {
            name: "axis".into(),
            i: 2,
            type_: AttributeType::INT.into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let sigmoid = |input: &str, output: &str| NodeProto {
        op_type: "Sigmoid".into(),
        name: output.into(),
        input: vec![input.into()],
        output: vec![output.into()],
        ..Default::default()
    };
    let parts: &[i64] = if twelve { &[1, 1, 4, 10] } else { &[2, 14] };
    graph.initializer.push(TensorProto {
        name: "parts".into(),
        dims: vec![parts.len() as i64],
        data_type: 7,
        int64_data: parts.to_vec(),
        ..Default::default()
    });
    let names: Vec<String> = if twelve {
        assert_eq!(graph.node.pop().unwrap().op_type, "Concat");
        let strides = [8, 16, 32];
        let shape = graph.input[0].type_.as_mut().unwrap().mut_tensor_type();
        for dim in &mut shape.shape.as_mut().unwrap().dim[2..] {
            dim.set_dim_value(640);
        }
        for stride in strides {
            let named = ["cls_raw", "obj_raw", "bbox", "kps"].map(|n| format!("{n}_{stride}"));
            let level = format!("level_{stride}");
            graph
                .node
                .push(node("Split", &[&level, "parts"], named.to_vec()));
            for score in ["cls", "obj"] {
                let raw = format!("{score}_raw_{stride}");
                graph.node.push(sigmoid(&raw, &format!("{score}_{stride}")));
            }
        }
        let named = |part| strides.map(|stride| format!("{part}_{stride}"));
        ["cls", "obj", "bbox", "kps"].map(named).concat()
    } else {
        let parts = vec!["raw".into(), "rest".into()];
        graph
            .node
            .push(node("Split", &["anchor_logits", "parts"], parts));
        graph.node.push(sigmoid("raw", "scores"));
        graph
            .node
            .push(node("Concat", &["scores", "rest"], vec!["anchors".into()]));
        vec!["anchors".into()]
    };
    graph.output = names
        .into_iter()
        .map(|name| {
            let mut output = ValueInfoProto {
                name,
                ..Default::default()
            };
            let tensor = output.type_.mut_or_insert_default().mut_tensor_type();
            tensor.elem_type = 1;
            output
        })
        .collect();
    model.write_to_bytes().unwrap()
}

#[test]
fn exports_with_probabilities_find_the_same_faces() {
    if ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::Auto { library: None };
    let host = Host::from_env();
    let load = |which| Detector::load(&which, &backend, None, &host).unwrap();
    let photo = read(&root().join(ASTRONAUT)).unwrap();
    let picture = composed(&photo, 4, 5);
    let options = SearchOptions::default();
    let expected = find(&picture, &load(DetectorRef::Builtin), &options).unwrap();
    assert_eq!(expected.len(), 25);
    for twelve in [false, true] {
        let path = folder.path().join("detector.onnx");
        fs::write(&path, with_probabilities(twelve)).unwrap();
        let found = find(&picture, &load(DetectorRef::Onnx(path)), &options).unwrap();
        assert_eq!(found.len(), expected.len(), "twelve outputs: {twelve}");
        // Faces of almost the same size may be in another order.
        for face in &expected {
            let near = |other: &Face| {
                let pixels = [face.x - other.x, face.y - other.y, face.w - other.w];
                (face.score - other.score).abs() < 1e-5 && pixels.iter().all(|d| d.abs() < 0.01)
            };
            assert!(found.iter().any(near), "twelve outputs: {twelve}: {face:?}");
        }
    }
}

/// A picture with a photograph at each place, on gray.
pub fn pasted(size: [usize; 2], places: &[([usize; 2], usize)]) -> Pixels {
    let photo = read(&root().join(ASTRONAUT)).unwrap();
    let mut picture = Pixels {
        width: size[0],
        height: size[1],
        channels: 3,
        data: vec![128; size[0] * size[1] * 3],
    };
    for ([left, top], step) in places {
        let part = composed(&photo, *step, 1);
        for y in 0..part.height.min(size[1] - top) {
            let width = part.width.min(size[0] - left) * 3;
            let to = ((y + top) * size[0] + left) * 3;
            picture.data[to..][..width].copy_from_slice(&part.data[y * part.width * 3..][..width]);
        }
    }
    picture
}

#[test]
fn faces_of_all_sizes_are_found() {
    let (_, detector) = detectors().remove(0);
    let plain = SearchOptions::default();
    let tiles = SearchOptions {
        small_faces: true,
        ..plain
    };
    let photo = read(&root().join(ASTRONAUT)).unwrap();
    // The head alone, enlarged four times: the face fills the frame and has some 460 pixels.
    let head = |zoom: usize| {
        let (left, top, side) = (150, 30, 170);
        let mut data = Vec::new();
        for y in 0..side * zoom {
            for x in 0..side * zoom {
                let at = ((top + y / zoom) * photo.width + left + x / zoom) * 3;
                data.extend_from_slice(&photo.data[at..][..3]);
            }
        }
        Pixels {
            width: side * zoom,
            height: side * zoom,
            channels: 3,
            data,
        }
    };
    // (what, picture, options, faces)
    let rows = [
        (
            "0.025 of the longest side",
            pasted([2600, 1000], &[([100, 100], 2)]),
            plain,
            1,
        ),
        (
            "two, one at the edge",
            pasted([1200, 600], &[([0, 80], 1), ([950, 300], 1)]),
            plain,
            2,
        ),
        ("all of the frame", head(4), plain, 1),
        ("all of a large frame", head(8), plain, 1),
        (
            "small ones in a large picture",
            pasted([3000, 2000], &[([10, 10], 5), ([2600, 1800], 5)]),
            tiles,
            2,
        ),
        ("nothing", pasted([900, 700], &[]), plain, 0),
    ];
    let mut wrong = Vec::new();
    for (what, picture, options, expected) in rows {
        let faces = find(&picture, &detector, &options).unwrap();
        if faces.len() != expected {
            wrong.push(format!("{what}: {faces:?}"));
        }
    }
    all_right(wrong);
}

fn infer(args: &[&str]) -> Run {
    run(&[&["infer", "--engine", "burn"], args].concat())
}

#[test]
fn one_record_a_picture_whatever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    put("a.jpg", &fs::read(root().join(ASTRONAUT)).unwrap());
    put(
        "b.png",
        &fs::read(root().join("examples/faces/happy.png")).unwrap(),
    );
    put("c.ppm", &[&b"P6 200 150 255\n"[..], &[0; 90_000]].concat());
    put("d.png", b"no picture");
    let args = ["--format", "json", folder.path().to_str().unwrap()];
    let run = infer(&args).expect(1);
    let records = run.records();
    let count = |i: usize| records[i]["faces"].as_array().map(Vec::len);
    assert_eq!([0, 1, 2, 3].map(count), [Some(1), Some(1), Some(0), None]);
    let face = &records[0]["faces"][0];
    assert_eq!(face["label"], "happy");
    assert_eq!(face["landmarks"].as_array().map(Vec::len), Some(5));
    assert!(face["score"].as_f64().is_some_and(|score| score > 0.9));
    assert_eq!(records[0]["width"], 512);
    let crop = &records[1]["faces"][0];
    assert_eq!(crop["score"], Value::Null);
    assert_eq!(crop["box"]["w"], records[1]["width"].as_f64().unwrap());
    assert!(records[3]["error"].is_string());
    assert!(
        run.stderr.contains("2 faces in 3 pictures")
            && run.stderr.contains("1 picture without a face, 1 not read"),
        "{}",
        run.stderr
    );

    let csv = infer(&["--format", "csv", "-q", args[2]]).expect(1);
    let lines: Vec<&str> = csv.stdout.lines().collect();
    assert!(lines[0].starts_with("path,face,x,y,w,h,score,label,confidence,angry,"));
    assert_eq!(lines.len(), 5, "{}", csv.stdout);
    let table = infer(&["-q", args[2]]).expect(1);
    assert!(table.stdout.contains("no face"), "{}", table.stdout);
    assert!(table.stdout.contains("all of it"), "{}", table.stdout);
}

#[test]
fn the_options_choose() {
    let folder = tempfile::tempdir().unwrap();
    let group = folder.path().join("group.ppm");
    let picture = pasted(
        [1200, 600],
        &[([0, 80], 1), ([600, 80], 2), ([900, 300], 4)],
    );
    let header = format!("P6 {} {} 255\n", picture.width, picture.height);
    fs::write(&group, [header.as_bytes(), &picture.data].concat()).unwrap();
    let group = group.to_str().unwrap();
    let faces = |options: &[&str]| {
        let run = infer(&[&["-q", "--format", "json"], options, &[group]].concat()).expect(0);
        run.records()[0]["faces"].as_array().unwrap().len()
    };
    let rows: [(&[&str], usize); 4] = [
        (&[], 3),
        (&["--max-faces", "1"], 1),
        (&["--min-face", "50"], 2),
        (&["--min-score", "0.99"], 0),
    ];
    let wrong = rows.iter().filter(|(options, n)| faces(options) != *n);
    all_right(wrong.map(|(options, _)| format!("{options:?}")).collect());

    // A ready-made crop is searched only if that is wanted.
    let crop = |faces: &str| {
        let args = [
            "-q",
            "--format",
            "json",
            "--faces",
            faces,
            "examples/faces/happy.png",
        ];
        infer(&args).expect(0).records().remove(0)
    };
    assert_eq!(crop("auto")["faces"][0]["score"], Value::Null);
    assert!(crop("always")["faces"].is_array());
    assert_eq!(crop("never")["label"], "happy");
}

#[test]
fn what_can_not_be_is_said() {
    let rows: [(&[&str], &str); 6] = [
        (
            &["--detector", "models/yunet.onnx"],
            "Burn runs only the built-in detector",
        ),
        (
            &["--faces", "never", "--max-faces", "1"],
            "--max-faces is about faces",
        ),
        (&["--min-score", "0"], "--min-score 0"),
        (&["--min-face", "NaN"], "--min-face"),
        (&["--faces", "perhaps"], "auto, always or never"),
        (&["--max-faces", "0"], "--max-faces"),
    ];
    let mut wrong = Vec::new();
    for (options, expected) in rows {
        let run = infer(&[options, &[ASTRONAUT]].concat());
        if run.code != 2 || !run.stderr.contains(expected) {
            wrong.push(format!("{options:?}: {run:?}"));
        }
    }
    if ort().is_some() {
        let detector = [
            "--engine",
            "ort",
            "--detector",
            "models/fer.onnx",
            ASTRONAUT,
        ];
        let run = Run::of(fer().arg("infer").args(detector).output().unwrap());
        if run.code != 2 || !run.error().contains("is not a detector") {
            wrong.push(format!("{run:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn hostile_pictures_have_bounded_records() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, width: usize, height: usize, data: &[u8]| {
        let file = folder.path().join(name);
        let header = format!("P6 {width} {height} 255\n");
        fs::write(&file, [header.as_bytes(), data].concat()).unwrap();
        file.display().to_string()
    };
    let line = vec![200; 300_000];
    for (width, height) in [(1, 100_000), (100_000, 1)] {
        let file = put("line.ppm", width, height, &line);
        for options in [&[][..], &["--small-faces"]] {
            let args = [&["-q", "--format", "json", &file], options].concat();
            let records = infer(&args).expect(0).records();
            assert_eq!(records[0]["faces"].as_array().map(Vec::len), Some(0));
        }
    }
    // A head of 72 pixels, 40 times beside and 25 times below itself.
    let photo = read(&root().join(ASTRONAUT)).unwrap();
    let (left, top, step, side) = (150, 40, 2, 72);
    let mut many = Pixels {
        width: 40 * side,
        height: 25 * side,
        channels: 3,
        data: Vec::new(),
    };
    for y in 0..many.height {
        for x in 0..many.width {
            let [u, v] = [left + x % side * step, top + y % side * step];
            many.data
                .extend_from_slice(&photo.data[(v * photo.width + u) * 3..][..3]);
        }
    }
    let file = put("many.ppm", many.width, many.height, &many.data);
    let all = infer(&["-q", "--format", "json", "--small-faces", &file]).expect(0);
    let faces = all.records()[0]["faces"].as_array().map_or(0, Vec::len);
    assert!((900..=1100).contains(&faces), "{faces} faces");
    let few = infer(&[
        "-q",
        "--format",
        "json",
        "--small-faces",
        "--max-faces",
        "7",
        &file,
    ]);
    let few = few.expect(0).records();
    assert_eq!(few[0]["faces"].as_array().map(Vec::len), Some(7));
}

#[test]
fn a_detector_with_nan_weights_finds_nothing_and_says_so() {
    use fer::onnx::proto::{Message, ModelProto};
    if ort().is_none() {
        return;
    }
    let bytes = fs::read(root().join("models/yunet.onnx")).unwrap();
    let mut model = ModelProto::parse_from_bytes(&bytes).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let mut changed = 0;
    for tensor in graph.initializer.iter_mut().filter(|t| t.dims.len() == 4) {
        let values = tensor.dims.iter().product::<i64>() as usize;
        tensor.float_data.clear();
        tensor.raw_data = f32::NAN.to_le_bytes().repeat(values).into();
        changed += 1;
    }
    assert!(changed > 10);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nan.onnx");
    fs::write(&file, model.write_to_bytes().unwrap()).unwrap();
    let file = file.to_str().unwrap();
    let run = run(&["infer", "--format", "json", "--detector", file, ASTRONAUT]);
    let expected = "the detector's outputs are damaged";
    let all = format!("{}{}", run.stdout, run.stderr);
    assert!(run.code > 0 && all.contains(expected), "{run:?}");
}

#[test]
fn pictures_for_people() {
    let folder = tempfile::tempdir().unwrap();
    let dir = |name: &str| folder.path().join(name).display().to_string();
    // Two pictures of one name, and one without a face.
    for (to, from) in [
        ("a/x.jpg", ASTRONAUT),
        ("b/x.jpg", ASTRONAUT),
        ("b/y.png", "examples/faces/sad.png"),
    ] {
        let to = folder.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(root().join(from), to).unwrap();
    }
    fs::write(
        folder.path().join("a/none.ppm"),
        [&b"P6 200 150 255\n"[..], &[0; 90_000]].concat(),
    )
    .unwrap();
    let (annotated, crops) = (dir("annotated"), dir("crops"));
    let args = [
        "-q",
        "--annotate",
        &annotated,
        "--crops",
        &crops,
        &dir("a"),
        &dir("b"),
    ];
    infer(&args).expect(0);
    let names = |folder: &str| {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&annotated), ["none.png", "x-2.png", "x.png", "y.png"]);
    assert_eq!(
        names(&crops),
        ["contact-sheet.png", "x-1.png", "x-2-1.png", "y-1.png"]
    );
    let crop = read(&folder.path().join("crops/x-1.png")).unwrap();
    assert_eq!(
        (crop.width, crop.height),
        (119, 119),
        "1.04 times the box's height"
    );
    let whole = read(&folder.path().join("annotated/x.png")).unwrap();
    assert_eq!((whole.width, whole.height), (512, 512));

    // What is read is never overwritten, nor one of the folders by the other.
    let read = dir("a");
    let rows = [
        (vec!["--annotate", &*read], "which is to be read"),
        (
            vec!["--annotate", &*crops, "--crops", &*crops],
            "the same folder",
        ),
    ];
    for (options, expected) in rows {
        let refused = infer(&[&options[..], &[&dir("a")]].concat()).expect(2);
        assert!(refused.error().contains(expected), "{}", refused.error());
    }
    let never = infer(&["--faces", "never", "--crops", &crops, ASTRONAUT]).expect(2);
    assert!(
        never.error().contains("--crops is about faces"),
        "{}",
        never.error()
    );
}

#[test]
fn the_detectors_card_names_its_file() {
    use sha2::{Digest, Sha256};
    let card = fs::read_to_string(root().join("models/yunet.md")).unwrap();
    let file = fs::read(root().join("models/yunet.onnx")).unwrap();
    let hash = Sha256::digest(&file);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(card.contains(&hash), "{hash}");
    assert!(root().join("models/yunet.LICENSE").is_file());
}
