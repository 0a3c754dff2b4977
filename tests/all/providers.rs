//! Providers that never lie: what can't run is refused with the reason and the next step, never
//! replaced by the CPU.

use std::fs;

use crate::common::{self, all_right, fer, ort, run, run_without_ort};

const FACE: &str = "examples/faces/happy.png";

#[test]
fn cuda_without_cuda_is_refused() {
    if ort().is_none() || has_cuda() {
        return;
    }
    for provider in ["cuda", "tensorrt"] {
        let run = run(&["infer", "--provider", provider, FACE]).expect(2);
        assert!(run.stdout.is_empty());
        assert!(
            run.error()
                .contains(&format!("provider {provider} can't run")),
            "{}",
            run.stderr
        );
        assert!(
            run.error().contains("fer runtime install --cuda"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn cuda_runs_on_a_gpu() {
    if common::gpu().is_none() || ort().is_none() {
        return;
    }
    if !has_cuda() {
        common::skip::<()>(
            "gpu",
            "ONNX Runtime here is built without CUDA (`fer runtime install --cuda`)",
        );
        return;
    }
    let run = run(&[
        "infer",
        "--provider",
        "cuda",
        "--tf32",
        "off",
        "--memory-limit",
        "1GiB",
        FACE,
    ])
    .expect(0);
    assert!(run.stderr.contains("on ort cuda:0"), "{}", run.stderr);
    let far = common::run(&["infer", "--provider", "cuda", "--device", "999", FACE]).expect(2);
    assert!(far.error().contains("--device"), "{}", far.stderr);
}

/// Whether the library that is found has CUDA in it, as `fer doctor` says.
fn has_cuda() -> bool {
    let run = run(&["doctor", "--json"]).expect(0);
    let findings: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let providers = findings["onnxruntime"]["providers"].as_array().unwrap();
    providers
        .iter()
        .any(|p| p["name"] == "cuda" && p["built_in"] == true)
}

#[test]
fn a_provider_needs_onnx_runtime() {
    let run = run_without_ort(&["infer", "--provider", "cuda", FACE]).expect(2);
    assert!(
        run.error().contains("fer runtime install"),
        "{}",
        run.stderr
    );
    let run = run_without_ort(&["infer", "--engine", "ort", FACE]).expect(2);
    assert!(
        run.error().contains("fer runtime install"),
        "{}",
        run.stderr
    );
    let run = run_without_ort(&["infer", "--model", "models/notebook.onnx", FACE]).expect(0);
    assert!(
        run.stderr.contains("models/notebook.onnx on burn cpu"),
        "the same file is compiled in: {}",
        run.stderr
    );
}

#[test]
fn a_library_that_the_user_names_is_used_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("libonnxruntime.so");
    fs::write(&text, "no library").unwrap();
    let text = text.display().to_string();
    let other = [
        "/usr/lib/x86_64-linux-gnu/libm.so.6",
        "/lib64/libm.so.6",
        "/usr/lib/aarch64-linux-gnu/libm.so.6",
    ];
    let other = other.into_iter().find(|p| std::path::Path::new(p).exists());
    let mut rows = vec![
        ("/no/such/library.so".to_string(), "/no/such/library.so"),
        (text.clone(), "too short"),
    ];
    if let Some(other) = other {
        rows.push((other.to_string(), "not ONNX Runtime"));
    }
    if !cfg!(target_os = "linux") {
        rows.retain(|(library, _)| *library != text);
    }
    let mut wrong = Vec::new();
    for (library, word) in &rows {
        for engine in ["auto", "ort"] {
            let run = run(&["infer", "--engine", engine, "--ort-lib", library, FACE]);
            if run.code != 2 || !run.error().contains(word) || run.stderr.lines().count() != 1 {
                wrong.push(format!("{library} on {engine}: {run:?}"));
            }
        }
        let mut command = fer();
        command.env("ORT_DYLIB_PATH", library);
        let output = command.args(["infer", "--engine", "ort", FACE]).output();
        let output = output.unwrap();
        if output.status.code() != Some(2) {
            wrong.push(format!("ORT_DYLIB_PATH={library}: {output:?}"));
        }
    }
    all_right(wrong);
}

#[test]
fn auto_needs_onnx_runtime_for_models_that_are_not_compiled_in_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("libonnxruntime.so"), "no library").unwrap();
    let nowhere = tempfile::tempdir().unwrap();
    let foreign = "tests/fixtures/tiny.onnx";
    // Found by itself, and damaged.
    let infer = |args: &[&str]| {
        let mut command = fer();
        command
            .env_remove("ORT_DYLIB_PATH")
            .env("FER_DATA_DIR", nowhere.path())
            .env("FER_PYTHON", nowhere.path().join("no-python"))
            .env("LD_LIBRARY_PATH", folder.path());
        common::Run::of(command.arg("infer").args(args).arg(FACE).output().unwrap())
    };
    let compiled = infer(&[]).expect(0);
    assert!(
        compiled.stderr.contains("on burn cpu"),
        "{}",
        compiled.stderr
    );
    let foreign = infer(&["--model", foreign]).expect(2);
    assert!(
        foreign.error().contains("can't be used"),
        "{}",
        foreign.stderr
    );
    if ort().is_some() {
        let here = run(&["infer", FACE]).expect(0);
        assert!(here.stderr.contains("on burn cpu"), "{}", here.stderr);
    }
}

#[test]
fn doctor_tells_engines_providers_and_models() {
    let bare = run_without_ort(&["doctor"]).expect(0);
    for word in [
        "burn",
        "fer runtime install",
        "fer (default)",
        "48x48x1",
        "GPUs",
    ] {
        assert!(bare.stdout.contains(word), "{word}: {}", bare.stdout);
    }
    if ort().is_none() {
        return;
    }
    let run = run(&["doctor", "--json"]).expect(0);
    let findings: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(findings["builtin_models"][0]["name"], "fer");
    let ort = &findings["onnxruntime"];
    assert!(ort["version"].as_str().unwrap().starts_with("1."), "{ort}");
    assert_eq!(
        ort["search"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|s| s["used"] == true)
            .count(),
        1
    );
    let cpu = ort["providers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["name"] == "cpu")
        .unwrap();
    assert_eq!(
        (&cpu["built_in"], &cpu["starts"]),
        (&true.into(), &true.into())
    );
    let library = ort["path"].as_str().unwrap();
    assert!(
        common::run(&["doctor", "--ort-lib", library])
            .expect(0)
            .stdout
            .contains(library)
    );
}

#[test]
#[cfg(target_os = "linux")]
fn an_old_onnx_runtime_is_refused_with_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (
        folder.path().join("old.c"),
        folder.path().join("libonnxruntime.so.1.10.0"),
    );
    let code = r#"
        static const char *version(void) { return "1.10.0"; }
        static const void *api(unsigned number) { return number > 10 ? 0 : "an interface"; }
        static const struct { const void *(*api)(unsigned); const char *(*version)(void); } base = { api, version };
        const void *OrtGetApiBase(void) { return &base; }
    "#;
    fs::write(&source, code).unwrap();
    let cc = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(
        cc.unwrap().success(),
        "the C compiler that links Rust programs makes a library"
    );
    let library = library.display().to_string();
    let run = run(&["infer", "--ort-lib", &library, FACE]).expect(2);
    let error = run.error();
    assert!(
        error.contains(&library) && error.contains("1.10.0") && error.contains("1.17"),
        "{}",
        run.stderr
    );
    assert!(error.contains("fer runtime install"), "{}", run.stderr);
}
