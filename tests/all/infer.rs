//! `fer infer` as a user meets it: inputs, formats, order, exit codes, bad files. Runs on the
//! compiled-in model, without ONNX Runtime.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

use crate::common::{self, Run, all_right, fer, path, run, run_without_ort};

const LABELS: [&str; 7] = [
    "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
];

/// Copies an example face.
fn put_face(folder: &Path, name: &str) -> String {
    let to = folder.join(name);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(common::root().join("examples/faces/happy.png"), &to).unwrap();
    to.display().to_string()
}

/// Each image as a whole; tests/all/faces.rs is about faces.
fn infer(args: &[&str]) -> Run {
    run(&[&["infer", "--engine", "burn", "--faces", "never"], args].concat())
}

#[test]
fn a_fresh_machine_classifies_the_examples() {
    let run = run_without_ort(&["infer", "examples/faces"]).expect(0);
    assert!(
        run.stderr.contains("fer (built in) on burn cpu"),
        "{}",
        run.stderr
    );
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 8, "a header and seven faces: {}", run.stdout);
    assert!(lines[0].starts_with("label") && lines[0].ends_with("path"));
}

#[test]
fn json_is_one_array_of_whole_records() {
    let run = infer(&["--format", "json", "examples/faces"]).expect(0);
    let records = run.records();
    assert_eq!(records.len(), 7);
    for record in records {
        let probabilities = record["probabilities"].as_object().unwrap();
        assert_eq!(
            probabilities.keys().map(String::as_str).collect::<Vec<_>>(),
            LABELS
        );
        let values: Vec<f64> = probabilities
            .values()
            .map(|v| v.as_f64().unwrap())
            .collect();
        assert!((values.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{record}");
        let best = values.iter().cloned().fold(0.0, f64::max);
        assert_eq!(record["confidence"].as_f64().unwrap(), best);
        assert_eq!(
            probabilities[record["label"].as_str().unwrap()]
                .as_f64()
                .unwrap(),
            best
        );
    }
}

#[test]
fn every_format_says_the_same() {
    let args = ["examples/faces", "no/such.png"];
    let json = infer(&[&args[..], &["--format", "json"]].concat())
        .expect(1)
        .records();
    let jsonl = infer(&[&args[..], &["--format", "jsonl"]].concat()).expect(1);
    let lines: Vec<serde_json::Value> = jsonl
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(json, lines);

    let run = infer(&[&args[..], &["--format", "csv"]].concat()).expect(1);
    let mut csv = csv::Reader::from_reader(run.stdout.as_bytes());
    let header = [&["path", "label", "confidence"], &LABELS[..], &["error"]].concat();
    assert_eq!(csv.headers().unwrap().iter().collect::<Vec<_>>(), header);
    for (row, record) in csv.records().map(Result::unwrap).zip(&json) {
        assert_eq!(&row[0], record["path"].as_str().unwrap());
        match record["label"].as_str() {
            Some(label) => {
                assert_eq!((&row[1], &row[10]), (label, ""));
                assert_eq!(
                    row[2].parse::<f64>().unwrap(),
                    record["confidence"].as_f64().unwrap()
                );
            }
            None => assert_eq!((&row[1], &row[10]), ("", record["error"].as_str().unwrap())),
        }
    }
}

#[test]
fn inputs_keep_their_order_and_folders_are_walked_in_sorted_order() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    for name in [
        "b/2.png",
        "b/1.PNG",
        "a/z.png",
        "c.png",
        "b/.hidden.png",
        ".git/x.png",
        "d e.png",
        "é.png",
    ] {
        put_face(f, name);
    }
    fs::write(f.join("notes.txt"), "no image").unwrap();
    let list = f.join("list.txt");
    let name = |n: &str| f.join(n).display().to_string();
    fs::write(
        &list,
        format!("\u{feff}{}\n\n{}\r\n", name("d e.png"), name("b")),
    )
    .unwrap();

    let args = [
        name("c.png"),
        f.display().to_string(),
        format!("{}/b/*", f.display()),
        format!("@{}", list.display()),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let records = infer(&[&["--format", "json", "--batch-size", "2"], &args[..]].concat())
        .expect(0)
        .records();
    let paths: Vec<&str> = records
        .iter()
        .map(|r| r["path"].as_str().unwrap())
        .collect();
    let walked = ["a/z.png", "b/1.PNG", "b/2.png", "c.png", "d e.png", "é.png"];
    let expected = ["c.png"]
        .iter()
        .chain(&walked)
        .chain(&["b/1.PNG", "b/2.png", "d e.png", "b/1.PNG", "b/2.png"]);
    assert_eq!(paths, expected.map(|n| name(n)).collect::<Vec<_>>());
}

#[test]
fn one_image_comes_on_standard_input() {
    let mut child = fer()
        .args(["infer", "--engine", "burn", "--faces", "never"])
        .args(["--format", "jsonl", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes = fs::read(common::root().join("examples/faces/sad.png")).unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let piped = Run::of(child.wait_with_output().unwrap()).expect(0);
    let from_file = infer(&["--format", "jsonl", "examples/faces/sad.png"]).expect(0);
    let parse = |run: &Run| serde_json::from_str::<serde_json::Value>(&run.stdout).unwrap();
    let (piped, from_file) = (parse(&piped), parse(&from_file));
    assert_eq!(piped["path"], "-");
    assert_eq!(piped["probabilities"], from_file["probabilities"]);
}

#[test]
fn a_bad_image_costs_its_own_record_only() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let put = |name: &str, bytes: &[u8]| {
        fs::write(f.join(name), bytes).unwrap();
        f.join(name).display().to_string()
    };
    let jpeg = fs::read(common::root().join("tests/fixtures/images/rgb420.jpg")).unwrap();
    let png = fs::read(common::root().join("examples/faces/happy.png")).unwrap();
    let rows = [
        (
            put("text.jpg", b"This is a text, whatever its name says.\n"),
            "not an image",
        ),
        (put("truncated.jpg", &jpeg[..jpeg.len() / 2]), "JPEG"),
        (put("header_only.jpg", &jpeg[..20]), "JPEG"),
        (put("truncated.png", &png[..png.len() / 2]), "Png"),
        (put("empty.png", b""), "empty"),
        (put("bomb.png", &png_header(30_000, 30_000)), "30000x30000"),
        (put("flat.png", &png_header(0, 10)), "Png"),
        (f.join("absent.png").display().to_string(), "can't be read"),
        (format!("{}/*.nothing", f.display()), "matches no file"),
        (
            format!("@{}", f.join("absent.txt").display()),
            "can't read the list",
        ),
        (put_empty_folder(f), "no images"),
    ];
    let face = put_face(f, "face.png");
    let mut args = vec!["--format", "json", face.as_str()];
    for (path, _) in &rows {
        args.extend([path.as_str(), face.as_str()]);
    }
    let run = infer(&args).expect(1);
    let records = run.records();
    assert_eq!(records.len(), 2 * rows.len() + 1);
    let mut wrong = Vec::new();
    for (i, (path, word)) in rows.iter().enumerate() {
        let (bad, good) = (&records[2 * i + 1], &records[2 * i + 2]);
        let error = bad["error"].as_str().unwrap_or_default();
        if bad["path"] != path.as_str() || !error.contains(word) || error.contains('\n') {
            wrong.push(format!("{path} should say '{word}': {bad}"));
        }
        if good["probabilities"] != records[0]["probabilities"] {
            wrong.push(format!("the face behind {path} answers otherwise"));
        }
    }
    all_right(wrong);
    assert!(
        run.stderr
            .contains(&format!("{} of {}", rows.len(), records.len())),
        "{}",
        run.stderr
    );
}

fn put_empty_folder(folder: &Path) -> String {
    fs::create_dir(folder.join("nothing")).unwrap();
    folder.join("nothing").display().to_string()
}

/// The start of a PNG that claims a size.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 0, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    png.extend(&chunk);
    png.extend(crc32(&chunk).to_be_bytes());
    png.extend(b"\0\0\0\x10IDAT");
    png.extend([0; 20]);
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| {
            if c & 1 == 1 {
                0xedb8_8320 ^ (c >> 1)
            } else {
                c >> 1
            }
        })
    };
    !bytes.iter().fold(!0, step)
}

#[test]
fn nothing_to_do_is_an_error_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().display().to_string();
    let face = path("examples/faces/happy.png");
    let unwritable = format!("{empty}/no/such/folder/out.json");
    let rows: [(&[&str], &str); 16] = [
        (&[], "required"),
        (&[&empty], "no images"),
        (&["no/such/file.png"], "no/such/file.png"),
        (&["*.nothing"], "matches no file"),
        (&["--model", "no-such-model", &face], "no-such-model"),
        (&["--model", "README.md", &face], "not a whole ONNX file"),
        (&["--engine", "tensorflow", &face], "auto, ort and burn"),
        (&["--provider", "gpu", &face], "cuda"),
        (&["--provider", "cuda", &face], "belongs to --engine ort"),
        (&["--device", "1", &face], "--device"),
        (&["--tf32", "maybe", &face], "on or off"),
        (&["--format", "xml", &face], "jsonl"),
        (&["--batch-size", "0", &face], "--batch-size"),
        (&["--meta", "colour=1", &face], "colour"),
        (&["-o", &unwritable, &face], "--output"),
        (&["-", "-"], "use - only once"),
    ];
    let mut wrong = Vec::new();
    for (args, word) in rows {
        let run = if args.contains(&"--engine") {
            run(&[&["infer"], args].concat())
        } else {
            infer(args)
        };
        if run.code != 2
            || !run.stderr.contains(word)
            || !run.stdout.is_empty()
            || run.stderr.contains("panicked")
        {
            wrong.push(format!("{args:?} should say '{word}': {run:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn an_output_file_appears_whole_and_its_ending_tells_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    for (name, first) in [
        ("a.csv", "path,"),
        ("a.json", "["),
        ("a.jsonl", "{"),
        ("a.txt", "label"),
    ] {
        let file = out(name).display().to_string();
        let run = infer(&["-o", &file, "-q", "examples/faces"]).expect(0);
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
        assert!(
            fs::read_to_string(&file).unwrap().starts_with(first),
            "{name}"
        );
    }
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        4,
        "no temporary file is left"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let plain = out("plain");
        fs::write(&plain, "").unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(
            mode(&out("a.csv")),
            mode(&plain),
            "readable for whom any new file is"
        );
    }

    // A run that can't start leaves what was there.
    let file = out("a.csv").display().to_string();
    let before = fs::read(&file).unwrap();
    infer(&["-o", &file, "--model", "no-such-model", "examples/faces"]).expect(2);
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        if cfg!(unix) { 5 } else { 4 }
    );
}

#[test]
fn a_reader_that_has_read_enough_ends_the_run_quietly() {
    let many = vec!["examples/faces"; 60];
    let mut child = fer()
        .args(["infer", "--engine", "burn", "-q", "--format", "jsonl"])
        .args(many)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0u8; 16];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let end = Run::of(child.wait_with_output().unwrap());
    assert_eq!((end.code, end.stderr.as_str()), (0, ""));
}

#[test]
fn batch_size_and_threads_change_no_answer() {
    let args = [
        "examples/faces",
        "tests/fixtures/images",
        "--format",
        "csv",
        "-q",
    ];
    let all: Vec<String> = [("1", "1"), ("3", "2"), ("64", "4")]
        .iter()
        .map(|(batch, threads)| {
            infer(&[&args[..], &["--batch-size", batch, "--threads", threads]].concat()).stdout
        })
        .collect();
    // Sums are taken in another order: the last digits differ.
    let same = |a: &str, b: &str| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= 1e-5,
        _ => a == b,
    };
    let mut wrong = Vec::new();
    for other in &all[1..] {
        assert_eq!(all[0].lines().count(), other.lines().count());
        for (a, b) in all[0].lines().zip(other.lines()) {
            if a.split(',').count() != b.split(',').count()
                || !a.split(',').zip(b.split(',')).all(|(a, b)| same(a, b))
            {
                wrong.push(format!("{a}\n{b}"));
            }
        }
    }
    all_right(wrong);
}

#[test]
fn a_file_does_not_hide_the_built_in_model_of_its_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("fer"), "a program, say").unwrap();
    let face = path("examples/faces/happy.png");
    let in_folder = |model: &str| {
        let args = ["infer", "-q", "--faces", "never", "--model", model, &face];
        let output = fer().args(args).current_dir(folder.path()).output();
        Run::of(output.unwrap())
    };
    assert!(in_folder("fer").expect(0).stdout.contains("happy"));
    in_folder("./fer").expect(2);
}

#[test]
fn batches_that_threads_share_out_have_the_bits_of_those_that_they_do_not() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..154u32 {
        let pixel = |x: u32, y: u32| image::Luma([(x * (i % 13) + y * (i % 7) + i * x * y) as u8]);
        let picture = image::GrayImage::from_fn(48, 48, pixel);
        picture
            .save(folder.path().join(format!("{i:03}.png")))
            .unwrap();
    }
    for model in ["models/fer.onnx", "models/fer.int8.onnx"] {
        let all: Vec<String> = [("25", "2"), ("64", "1"), ("64", "3"), ("129", "2")]
            .iter()
            .map(|(batch, threads)| {
                let faces = folder.path().to_str().unwrap();
                let args = ["--model", model, "--format", "csv", "-q"];
                let how = ["--batch-size", batch, "--threads", threads, faces];
                infer(&[&args[..], &how].concat()).stdout
            })
            .collect();
        assert_eq!(all[0].lines().count(), 155);
        for other in &all[1..] {
            let lines = all[0].lines().zip(other.lines());
            all_right(
                lines
                    .filter(|(a, b)| a != b)
                    .map(|(a, b)| format!("{model}: {a}\n{b}"))
                    .collect(),
            );
            assert_eq!(all[0].lines().count(), other.lines().count());
        }
    }
}

/// Runs `infer` in a shell, which can do what a list of arguments can't; `$F` is the program.
#[cfg(unix)]
fn shell(folder: &Path, script: &str) -> Run {
    let face = path("examples/faces/happy.png");
    let mut command = std::process::Command::new("timeout");
    command
        .args(["60", "bash", "-c", script])
        .current_dir(folder)
        .stdin(Stdio::null());
    Run::of(
        command
            .env("F", env!("CARGO_BIN_EXE_fer"))
            .env("FACE", face)
            .output()
            .unwrap(),
    )
}

#[test]
#[cfg(unix)]
fn pipes_devices_links_and_odd_names_neither_hang_nor_harm() {
    let infer = "$F infer -q --engine burn --format jsonl";
    // Waits for standard input, then for a signal.
    let waits = |signal: &str| {
        format!(
            "mkfifo in; sleep 50 > in & s=$!; {infer} - -o o.csv < in & p=$!; \
             until ls -d o.csv.part > /dev/null 2>&1; do sleep 0.02; done; \
             kill -{signal} $p; wait $p; echo code $?; kill $s"
        )
    };
    let rows = [
        // (script, exit code, text that must be in what it prints)
        (
            format!("mkfifo p.png; {infer} p.png 2>&1"),
            2,
            "pipe or a device",
        ),
        (format!("mkfifo l; {infer} @l 2>&1"), 2, "pipe or a device"),
        (format!("{infer} @/dev/zero 2>&1"), 2, "pipe or a device"),
        (format!("{infer} /dev/zero 2>&1"), 2, "pipe or a device"),
        (
            "$F infer --model /dev/zero $FACE 2>&1".into(),
            2,
            "not a regular file",
        ),
        (format!("{infer} <(cat $FACE)"), 0, "happy"),
        (
            format!("cp $FACE $'\\xff.png'; {infer} $'\\xff.png'"),
            0,
            "happy",
        ),
        (
            format!("mkdir d; cp $FACE d/f.png; ln -s .. d/up; {infer} d"),
            0,
            "happy",
        ),
        (
            format!("ln -s nowhere x.png; {infer} x.png 2>&1"),
            2,
            "can't be read",
        ),
        (
            format!("mkdir new; {infer} -o new/ $FACE 2>&1"),
            2,
            "is a folder",
        ),
        (format!("{infer} -o absent/ $FACE 2>&1"), 2, "is a folder"),
        (
            format!("{infer} -o absent/a.csv $FACE 2>&1"),
            2,
            "can't write absent/a.csv (--output): No such file or directory (os error 2)\n",
        ),
        (format!("{infer} -o - $FACE; test ! -e -"), 0, "happy"),
        (
            "$F infer -o a.xlsx $FACE 2>&1".into(),
            2,
            "a.xlsx: .xlsx names no format",
        ),
        (format!("{infer} -o a.xlsx $FACE; cat a.xlsx"), 0, "happy"),
        (
            "cp $FACE $'a\\e[31m\\nb.png'; $F infer -q --engine burn *.png".into(),
            0,
            r"a\u{1b}[31m\nb.png",
        ),
        (
            "$F infer $'a\\e[31m\\nb.png' 2>&1".into(),
            2,
            r"a\u{1b}[31m\nb.png",
        ),
        (waits("TERM"), 0, "code 143"),
        (waits("INT"), 0, "code 130"),
        (
            format!(
                "echo old > t; chmod 600 t; ln -s t l; {infer} -o l $FACE; test -L l && stat -c %a \
                 t && cat t"
            ),
            0,
            "600\n{",
        ),
        (
            format!("mkfifo o; cat o > got & {infer} -o o $FACE; wait; test -p o && cat got"),
            0,
            "happy",
        ),
        (
            format!("{infer} -o /dev/null $FACE; test -c /dev/null && echo a device still"),
            0,
            "a device still",
        ),
        (format!("{infer} $FACE 2>/dev/full"), 0, "happy"),
        (
            format!("{infer} $FACE > /dev/full; echo code $?"),
            0,
            "code 2",
        ),
        (
            "$F infer --engine burn $FACE $FACE 2>&1 >/dev/null | true; echo code ${PIPESTATUS[0]}"
                .into(),
            0,
            "code 0",
        ),
        (
            "$F parity --candidate notebook@burn | true; echo code ${PIPESTATUS[0]}".into(),
            0,
            "code 0",
        ),
        (
            "mkdir notebook; $F parity --candidate notebook@burn 2>&1".into(),
            0,
            "HOLDS",
        ),
    ];
    let mut wrong = Vec::new();
    for (script, code, text) in rows {
        let folder = tempfile::tempdir().unwrap();
        let run = shell(folder.path(), &script);
        if run.code != code || !run.stdout.contains(text) || run.stderr.contains("panicked") {
            wrong.push(format!("{script}: {run:?}"));
        }
        let left = fs::read_dir(folder.path()).unwrap().filter(|e| {
            let name = e.as_ref().unwrap().file_name();
            let name = name.to_string_lossy();
            name.starts_with(".fer-") || name.ends_with(".part")
        });
        if left.count() > 0 {
            wrong.push(format!("{script}: a temporary file is left"));
        }
    }
    all_right(wrong);
}
