//! `fer serve` through the binary: its life, its signals, its page, and the commands of
//! docs/serving.md. What HTTP itself does is tested in crates/fer-serve.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::common::{fer, ort, path, root, run, skip};
use crate::crops::model_with;

/// A running service, killed when it goes out of scope.
struct Served {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// Address and port.
    address: String,
}

impl Served {
    fn start(args: &[&str]) -> Self {
        let mut command = fer();
        command.arg("serve").args(args).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let listening = said(&mut stderr, "listening on http://");
        let address = listening.rsplit('/').next().unwrap().to_owned();
        Self {
            child,
            stderr,
            address,
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    fn said(&mut self, what: &str) -> String {
        said(&mut self.stderr, what)
    }

    fn classify(&self, file: &str, query: &str) -> (u16, Value) {
        let body = std::fs::read(path(file)).unwrap();
        self.request("POST", &format!("/v1/classify{query}"), &body)
    }

    fn request(&self, method: &str, target: &str, body: &[u8]) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .unwrap();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Ends it by SIGTERM, and returns its exit code.
    fn end(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines until one has these words.
fn said(stderr: &mut impl BufRead, what: &str) -> String {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        assert!(
            stderr.read_line(&mut line).unwrap() > 0,
            "not said: {what}; {all}"
        );
        if line.contains(what) {
            return line.trim_end().to_owned();
        }
        all += &line;
    }
}

#[test]
fn records_equal_those_of_infer() {
    let mut served = Served::start(&["--listen", "127.0.0.1:0", "--engine", "burn"]);
    for (file, query, option) in [
        ("examples/photos/astronaut.jpg", "", "auto"),
        ("examples/faces/happy.png", "", "auto"),
        ("examples/faces/sad.png", "?faces=never", "never"),
    ] {
        let args = [
            "infer", "-q", "--engine", "burn", "--format", "json", "--faces", option, file,
        ];
        let mut wanted = run(&args).expect(0).records().remove(0);
        wanted["path"] = "-".into();
        let (status, found) = served.classify(file, query);
        assert_eq!((status, &found), (200, &wanted), "{file}");
    }
    assert_eq!(served.end(), Some(0));
}

#[test]
fn a_guessed_crop_is_said_before_it_listens() {
    if ort().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let without = model_with(folder.path(), |model| {
        model.metadata_props.retain(|entry| entry.key != "fer.crop");
    });
    let mut command = fer();
    let args = ["serve", "--listen", "127.0.0.1:0", "--model", &without];
    let mut child = command.args(args).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let guess = said(&mut stderr, "faces are cut out as");
    said(&mut stderr, "listening on");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        guess.contains("guessed, because nothing states it"),
        "{guess}"
    );
}

#[test]
fn a_killed_service_starts_again_on_its_port() {
    let first = Served::start(&["--listen", "127.0.0.1:0", "--engine", "burn"]);
    let address = first.address.clone();
    let _open = TcpStream::connect(&address).unwrap();
    assert_eq!(first.classify("examples/faces/happy.png", "").0, 200);
    let taken = run(&["serve", "--listen", &address]).expect(2);
    assert!(
        taken.error().contains("can't listen on"),
        "{}",
        taken.stderr
    );
    // By SIGKILL.
    drop(first);
    let again = Served::start(&["--listen", &address, "--engine", "burn"]);
    assert_eq!(again.classify("examples/faces/happy.png", "").0, 200);
}

#[test]
fn changed_files_are_loaded_on_sighup_and_damaged_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.onnx");
    let copy = |from: &str| {
        let beside = folder.path().join("new");
        std::fs::copy(path(from), &beside).unwrap();
        std::fs::rename(beside, &file).unwrap();
    };
    copy("models/fer.onnx");
    let model = format!("m={}", file.display());
    let mut served = Served::start(&[
        "--listen",
        "127.0.0.1:0",
        "--engine",
        "burn",
        "--model",
        &model,
    ]);
    let confidence = |served: &Served| {
        let (status, record) = served.classify("examples/faces/happy.png", "?faces=never");
        assert_eq!(status, 200);
        record["confidence"].as_f64().unwrap()
    };
    let before = confidence(&served);
    served.signal("HUP");
    served.said("m: its file has not changed");
    std::fs::write(&file, b"damaged").unwrap();
    served.signal("HUP");
    served.said("the one before goes on");
    assert_eq!(confidence(&served), before);
    copy("models/notebook.onnx");
    served.signal("HUP");
    served.said("m: loaded anew");
    assert_ne!(confidence(&served), before);
    assert_eq!(served.end(), Some(0));
}

#[test]
fn settings_that_let_others_in_or_nobody_are_refused() {
    let rows: [(&[&str], &str); 11] = [
        (&["--listen", "0.0.0.0:0"], "--no-auth"),
        (&["--listen", "[::]:0"], "FER_TOKEN"),
        (&["--token", "short"], "16"),
        (&["--token", "with a space in the middle"], "16"),
        (&["--allow-host", "https://example.org"], "without a port"),
        (&["--allow-host", "example.org:8080"], "without a port"),
        (&["--max-body", "300"], "--queue-bytes 256"),
        (&["--allow-origin", "*"], "not an origin"),
        (&["--allow-origin", "https://example.org/"], "not an origin"),
        (&["--listen", "8080"], "an address and a port"),
        (
            &["--model", "fer", "--model", "fer"],
            "two models are named fer",
        ),
    ];
    let mut wrong = Vec::new();
    for (args, said) in rows {
        let run = run(&[&["serve"], args].concat());
        if run.code != 2 || !run.error().contains(said) {
            wrong.push(format!("{args:?}: {} {}", run.code, run.error()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_token_is_taken_from_the_environment() {
    let mut command = fer();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--engine", "burn"])
        .env("FER_TOKEN", "0123456789abcdef")
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let listening = said(&mut stderr, "listening on http://");
    let served = Served {
        child,
        stderr,
        address: listening.rsplit('/').next().unwrap().to_owned(),
    };
    assert_eq!(served.request("GET", "/v1/models", b"").0, 401);
    assert_eq!(served.request("GET", "/readyz", b"").0, 200);
}

/// Tensors of the network itself: Triton's repository has the files that it documents.
#[test]
#[cfg(feature = "train")]
fn a_repository_for_triton_has_models_labels_and_configurations() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().display().to_string();
    run(&["export", "--triton", &target]).expect(0);
    let read = |file: &str| std::fs::read(folder.path().join(file)).unwrap();
    let text = |file: &str| String::from_utf8(read(file)).unwrap();
    assert!(!read("fer/1/model.onnx").is_empty() && !read("yunet/1/model.onnx").is_empty());
    assert_eq!(text("fer/labels.txt").lines().count(), 7);
    let config = text("fer/config.pbtxt");
    for part in [
        "name: \"fer\"",
        "platform: \"onnxruntime_onnx\"",
        "max_batch_size: 64",
        "dims: [1, 48, 48]",
        "dims: [7]",
        "label_filename: \"labels.txt\"",
        "dynamic_batching",
    ] {
        assert!(config.contains(part), "{part}: {config}");
    }
    let config = text("yunet/config.pbtxt");
    assert!(
        config.contains("max_batch_size: 0") && config.contains("3, -1, -1]"),
        "{config}"
    );
    assert!(!config.contains("dynamic_batching"));
    run(&["export", "--triton", &target, "--run", "runs/x"]).expect(2);

    // A model does not take the place of the detector, or the other way around.
    let own = folder.path().join("Yunet.onnx");
    std::fs::copy(path("models/fer.onnx"), &own).unwrap();
    let model = own.display().to_string();
    let refused = run(&["export", "--triton", &target, "--model", &model]).expect(2);
    let error = refused.error();
    assert!(
        error.contains("is the name of the face detector"),
        "{error}"
    );
    assert!(!folder.path().join("Yunet").exists());
}

/// The blocks of a language in docs/serving.md.
fn blocks(language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path("docs/serving.md")).unwrap();
    let begin = format!("```{language}\n");
    let blocks = text.split(begin.as_str()).skip(1);
    blocks
        .filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()))
        .collect()
}

#[test]
fn the_commands_of_the_documentation_run_as_written() {
    let served = Served::start(&["--listen", "127.0.0.1:0", "--engine", "burn"]);
    let here = |text: &str| text.replace("127.0.0.1:8080", &served.address);
    if Command::new("curl").arg("--version").output().is_ok() {
        let curl = blocks("sh")
            .into_iter()
            .find(|block| block.contains("curl"));
        let mut shell = Command::new("sh");
        shell
            .args(["-ec", &here(&curl.unwrap())])
            .current_dir(root());
        let done = shell.output().unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "{text}");
        assert!(
            text.starts_with("{\"path\":\"-\"") && text.contains("{\"records\":["),
            "{text}"
        );
        assert!(!text.contains("error"), "{text}");
    } else {
        skip::<()>("curl", "it is not installed");
    }
    match std::env::var_os("FER_TRITONCLIENT") {
        Some(python) => {
            let example = here(&blocks("python")[0]);
            let done = Command::new(python)
                .args(["-c", &example])
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{stderr}");
        }
        None => {
            let reason = "FER_TRITONCLIENT names no Python with tritonclient";
            skip::<()>("tritonclient", reason);
        }
    }
}

/// Where playwright-core is.
fn playwright() -> Option<PathBuf> {
    let named = std::env::var_os("FER_PLAYWRIGHT").map(PathBuf::from);
    let folder =
        named.unwrap_or_else(|| root().join("target/browser/node_modules/playwright-core"));
    match folder.canonicalize() {
        Ok(folder) if Path::new("/usr/bin/chromium").exists() => Some(folder),
        _ => skip(
            "browser",
            "Chromium or playwright-core is not here (FER_PLAYWRIGHT)",
        ),
    }
}

/// A clip of a photograph in gray, as Chromium's fake camera takes it.
fn clip(photograph: &str, to: &Path) {
    let picture = fer::images::read(path(photograph).as_ref())
        .unwrap()
        .into_gray();
    let (width, height) = (picture.width / 2 * 2, picture.height / 2 * 2);
    let rows = picture.data.chunks_exact(picture.width).take(height);
    let luma: Vec<u8> = rows.flat_map(|row| row[..width].to_vec()).collect();
    let chroma = vec![128; width * height / 2];
    let mut clip = std::fs::File::create(to).unwrap();
    writeln!(clip, "YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg").unwrap();
    for _ in 0..10 {
        clip.write_all(&[b"FRAME\n", &luma[..], &chroma].concat())
            .unwrap();
    }
}

#[test]
fn the_page_finds_a_face_in_a_photograph_and_in_the_camera() {
    let Some(playwright) = playwright() else {
        return;
    };
    let served = Served::start(&["--listen", "127.0.0.1:0", "--engine", "burn"]);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(
        path("examples/photos/astronaut.jpg"),
        folder.join("face.png"),
    )
    .unwrap();
    let none = image::GrayImage::from_pixel(300, 200, image::Luma([90]));
    none.save(folder.join("none.png")).unwrap();
    clip("examples/photos/astronaut.jpg", &folder.join("camera.y4m"));
    let mut node = Command::new("node");
    node.arg(path("crates/fer-serve/tests/browser.mjs"))
        .arg(format!("http://{}", served.address))
        .arg(&folder)
        .args(std::env::var_os("FER_SCREENSHOTS"))
        .env("FER_PLAYWRIGHT", playwright);
    let done = node.output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
}
