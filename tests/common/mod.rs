//! What the integration tests share: the binary, things that may be absent, and what fer-core's
//! tests have.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

#[path = "../../crates/fer-core/tests/common/mod.rs"]
mod base;
pub use self::base::*;

/// A file of the repository, as text.
pub fn path(relative: &str) -> String {
    root().join(relative).display().to_string()
}

/// What a run of the binary gave.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails unless the command ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }

    /// The last line on stderr, where errors stand.
    pub fn error(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }

    /// The records of `--format json`.
    pub fn records(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

/// The binary.
pub fn fer() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fer"));
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs the binary.
pub fn run(args: &[&str]) -> Run {
    Run::of(fer().args(args).output().unwrap())
}

/// Runs the binary on a machine where ONNX Runtime is nowhere.
pub fn run_without_ort(args: &[&str]) -> Run {
    let nowhere = tempfile::tempdir().unwrap();
    let mut command = fer();
    command
        .env_remove("ORT_DYLIB_PATH")
        .env_remove("LD_LIBRARY_PATH");
    command
        .env("FER_DATA_DIR", nowhere.path())
        .env("FER_PYTHON", nowhere.path().join("no-python"));
    Run::of(command.args(args).output().unwrap())
}

/// True if `FER_REQUIRE` names `what`, so that its absence is a failure.
fn required(what: &str) -> bool {
    std::env::var("FER_REQUIRE").is_ok_and(|list| list.split(',').any(|w| w.trim() == what))
}

/// Says that a test skips, or fails it where what it needs is required.
pub fn skip<T>(what: &str, reason: &str) -> Option<T> {
    assert!(!required(what), "FER_REQUIRE asks for {what}, and {reason}");
    eprintln!("SKIPPED: needs {what}; {reason}");
    None
}

/// ONNX Runtime's library, or `None` and a word about it.
pub fn ort() -> Option<PathBuf> {
    match fer::runtime::locate(None, &fer::runtime::Host::from_env()) {
        Ok(found) => Some(found.path),
        Err(e) => skip("ort", &e.to_string()),
    }
}

/// A Python with Keras in it, or `None` and a word about it.
pub fn keras() -> Option<PathBuf> {
    match std::env::var_os("FER_PYTHON") {
        Some(python) => Some(python.into()),
        None => skip(
            "keras",
            "FER_PYTHON names no Python (scripts/keras/env.py makes one)",
        ),
    }
}

/// The folder with FER-2013's images, or `None` and a word about it.
pub fn data() -> Option<PathBuf> {
    match std::env::var_os("FER_DATA").map(PathBuf::from) {
        Some(folder) if folder.join("test").is_dir() => Some(folder),
        Some(folder) => skip("data", &format!("{} has no folder test", folder.display())),
        None => skip("data", "FER_DATA names no folder with FER-2013's images"),
    }
}

/// A Keras file of the notebook model, `notebook.keras` or `notebook.h5`, or `None` and a word
/// about it.
///
/// Keras's files are not tracked: scripts/keras/notebook.py makes them of models/notebook.onnx,
/// once.
pub fn keras_file(name: &str) -> Option<PathBuf> {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let python = keras()?;
    let folder = MADE.get_or_init(|| {
        let mut hash = DefaultHasher::new();
        for source in ["models/notebook.onnx", "scripts/keras/notebook.py"] {
            std::fs::read(root().join(source)).unwrap().hash(&mut hash);
        }
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("keras-{:016x}", hash.finish()));
        // Written last.
        if !folder.join("notebook.h5").is_file() {
            script(
                &python,
                "notebook.py",
                &root().join("models/notebook.onnx"),
                &folder,
            );
        }
        folder
    });
    Some(folder.join(name))
}

/// Writes a `.keras` file of Keras 3 with this configuration and the weights of a golden model, and
/// returns its path.
pub fn keras_file_of(file: &Path, config: &serde_json::Value) -> String {
    let golden = File::open(path("tests/golden/convert/plain.k3.keras")).unwrap();
    let mut golden = zip::ZipArchive::new(golden).unwrap();
    let mut weights = Vec::new();
    let mut member = golden.by_name("model.weights.h5").unwrap();
    std::io::copy(&mut member, &mut weights).unwrap();
    let mut archive = zip::ZipWriter::new(File::create(file).unwrap());
    for (name, bytes) in [
        ("config.json", config.to_string().into_bytes()),
        ("metadata.json", br#"{"keras_version": "3.15.1"}"#.to_vec()),
        ("model.weights.h5", weights),
    ] {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(name, options).unwrap();
        archive.write_all(&bytes).unwrap();
    }
    archive.finish().unwrap();
    file.display().to_string()
}

/// Runs one of scripts/keras/ on a model; `output` is its `-o`.
#[track_caller]
pub fn script(python: &Path, name: &str, model: &Path, output: &Path) {
    let mut command = Command::new(python);
    command
        .arg(root().join("scripts/keras").join(name))
        .arg(model)
        .arg("-o")
        .arg(output);
    let done = command.output().unwrap();
    assert!(
        done.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// An NVIDIA GPU, or `None` and a word about it.
pub fn gpu() -> Option<()> {
    match Command::new("nvidia-smi").arg("-L").output() {
        Ok(list) if list.status.success() => Some(()),
        _ => skip("gpu", "nvidia-smi lists none"),
    }
}

/// ffmpeg, or `None` and a word about it.
#[cfg(feature = "video")]
pub fn ffmpeg() -> Option<fer::video::Ffmpeg> {
    match fer::video::Ffmpeg::find(&fer::host::Host::from_env()) {
        Ok(ffmpeg) => Some(ffmpeg),
        Err(e) => skip("ffmpeg", &e.to_string()),
    }
}
