//! Compiles the ONNX files of `models/`, and those that `FER_MODEL` names, into Rust code with
//! embedded weights.
//!
//! For each file, tiny weights are flushed, `burn-onnx` generates a module, and fer's kernels
//! replace its layers; if one that the kernels support is left, the build fails. Then `builtin.rs`
//! gets an entry in the table that `src/compiled/mod.rs` includes. The default model is first: the
//! first of `FER_MODEL`, else `fer`, else the first by name. The face detector, `yunet`, stands
//! apart.
//!
//! Of a file of 8-bit integers, the layers are read to see that the kernels support them. They are
//! read again when the model is loaded.

/// The protobuf types for `flush` and `qdq`.
mod proto {
    pub use onnx_ir::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
}
#[path = "crates/fer-core/src/onnx/flush.rs"]
mod flush;
#[allow(
    dead_code,
    unused_imports,
    reason = "only whether it can be read matters here"
)]
#[path = "crates/fer-core/src/onnx/qdq/mod.rs"]
mod qdq;
#[path = "src/compiled/rewrite.rs"]
mod rewrite;

use std::path::{Path, PathBuf};
use std::{env, fs, panic};

use burn_onnx::{LoadStrategy, ModelGen};
use onnx_ir::{Message, ModelProto};

/// The face detector, which is not a classifier.
const DETECTOR: &str = "models/yunet.onnx";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=models");
    println!("cargo::rerun-if-changed=crates/fer-core/src/onnx/flush.rs");
    println!("cargo::rerun-if-changed=crates/fer-core/src/onnx/qdq");
    println!("cargo::rerun-if-changed=src/compiled/rewrite.rs");
    println!("cargo::rerun-if-changed=src/compiled/rewrite");
    println!("cargo::rerun-if-env-changed=FER_MODEL");
    if let Err(message) = generate() {
        println!("cargo::error={}", message.replace('\n', " "));
    }
}

fn generate() -> Result<(), String> {
    let out_dir = PathBuf::from(env::var("OUT_DIR").map_err(|e| e.to_string())?);
    let mut modules = String::new();
    let mut entry = |path: &Path, module: &str| {
        let (code, entry) = module_of(path, module, &out_dir)?;
        modules += &code;
        Ok::<_, String>(entry)
    };
    let models = model_files()?.into_iter().enumerate();
    let models: Result<Vec<String>, String> = models
        .map(|(index, path)| entry(&path, &format!("model_{index}")))
        .collect();
    let (models, detector) = (models?.join(","), entry(Path::new(DETECTOR), "detector")?);
    let code = format!(
        "{modules}\nstatic MODELS: &[BuiltinModel] = &[{models}\n];\n\
         static DETECTOR: BuiltinModel = {detector};\n"
    );
    fs::write(out_dir.join("builtin.rs"), code)
        .map_err(|e| format!("can't write the table of models: {e}"))
}

/// Compiles a model: the code of its module, and its entry in the table.
fn module_of(path: &Path, module: &str, out_dir: &Path) -> Result<(String, String), String> {
    let onnx = out_dir.join(format!("{module}.onnx"));
    let (bytes, count) = flushed(path)?;
    if count > 0 {
        println!(
            "cargo::warning={count} weights of {} below {:e} are compiled in as zero",
            path.display(),
            flush::TINY
        );
    }
    fs::write(&onnx, &bytes).map_err(|e| format!("can't write {}: {e}", onnx.display()))?;
    if let Some(code) = int8_module_of(&bytes, path, module)? {
        return Ok(code);
    }
    compile(&onnx, path)?;
    let code = out_dir.join("generated").join(format!("{module}.rs"));
    let generated =
        fs::read_to_string(&code).map_err(|e| format!("can't read {}: {e}", code.display()))?;
    let rewritten = rewrite::rewrite(&generated).map_err(|e| cannot(path, &e))?;
    fs::write(&code, rewritten.code).map_err(|e| format!("can't write {}: {e}", code.display()))?;
    let generic = rewritten.generic;
    if !generic.is_empty() && path == Path::new(DETECTOR) {
        let parts = generic.join(", ");
        return Err(format!(
            "{DETECTOR} has parts that the kernels do not support: {parts}"
        ));
    }
    if !generic.is_empty() {
        println!(
            "cargo::warning=Burn computes the parts of {} that the kernels do not support, \
             which may be slow: {}",
            path.display(),
            generic.join(", ")
        );
    }
    // Burn's own loops over all threads have none while these stay together.
    let pass = if generic.is_empty() {
        "compiled.pass(input, |input| model.forward(&compiled, input))"
    } else {
        "model.forward(&compiled, input)"
    };
    let code = format!(
        r#"
#[allow(clippy::all, clippy::pedantic, clippy::restriction, dead_code, missing_docs, unused)]
mod {module} {{
    include!(concat!(env!("OUT_DIR"), "/generated/{module}.rs"));

    pub(super) fn load(device: &burn::tensor::Device) -> super::Forward {{
        let model = Model::from_embedded(device);
        let compiled = {kernels}::compiled::Compiled::default();
        Box::new(move |input| {{
            let output = {pass};
            let n = output.dims()[0];
            output.reshape([n as i64, -1])
        }})
    }}
}}
"#,
        kernels = rewrite::KERNELS
    );
    let stem = stem(path);
    let entry = format!(
        r#"
    BuiltinModel {{
        name: {stem:?},
        onnx: include_bytes!(concat!(env!("OUT_DIR"), "/{module}.onnx")),
        generic: &{generic:?},
        int8: false,
        load: {module}::load,
    }}"#
    );
    Ok((code, entry))
}

/// The code of a model of 8-bit integers, and its entry in the table; `None` for another model. Its
/// layers are read here once, so that one that the kernels do not support fails the build.
fn int8_module_of(
    bytes: &[u8],
    path: &Path,
    module: &str,
) -> Result<Option<(String, String)>, String> {
    let model = ModelProto::parse_from_bytes(bytes).map_err(|e| cannot(path, &e.to_string()))?;
    if !qdq::is_qdq(&model) {
        return Ok(None);
    }
    qdq::read(&model).map_err(|e| cannot(path, &e.to_string()))?;
    let code = format!(
        r#"
mod {module} {{
    pub(super) const ONNX: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/{module}.onnx"));

    pub(super) fn load(device: &burn::tensor::Device) -> super::Forward {{
        super::int8::load(ONNX, device)
    }}
}}
"#
    );
    let entry = format!(
        r#"
    BuiltinModel {{
        name: {:?},
        onnx: {module}::ONNX,
        generic: &[],
        int8: true,
        load: {module}::load,
    }}"#,
        stem(path)
    );
    Ok(Some((code, entry)))
}

/// The name of a model in the table.
fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The ONNX files to compile in, the default model first.
fn model_files() -> Result<Vec<PathBuf>, String> {
    let list = fs::read_dir("models").map_err(|e| format!("can't list models/: {e}"))?;
    let mut files: Vec<PathBuf> = list
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "onnx") && p != Path::new(DETECTOR))
        .collect();
    files.sort_by_key(|p| (p.file_stem().is_none_or(|s| s != "fer"), p.clone()));
    // Several are separated as in PATH.
    let named = env::var_os("FER_MODEL").unwrap_or_default();
    let mut first: Vec<PathBuf> = env::split_paths(&named)
        .filter(|p| !p.as_os_str().is_empty())
        .collect();
    for path in &first {
        println!("cargo::rerun-if-changed={}", path.display());
        if !path.is_file() {
            let folder = env::current_dir().unwrap_or_default();
            return Err(format!(
                "FER_MODEL={} is not a file (relative to {})",
                path.display(),
                folder.display()
            ));
        }
        files.retain(|p| p.file_stem() != path.file_stem());
    }
    first.append(&mut files);
    Ok(first)
}

/// The file's bytes with tiny weights set to zero, and their number.
fn flushed(path: &Path) -> Result<(Vec<u8>, usize), String> {
    let bytes = fs::read(path).map_err(|e| format!("can't read {}: {e}", path.display()))?;
    let mut model = ModelProto::parse_from_bytes(&bytes)
        .map_err(|e| format!("{} is not an ONNX file: {e}", path.display()))?;
    let count = flush::flush_tiny_weights(&mut model);
    if count == 0 {
        return Ok((bytes, 0));
    }
    model
        .write_to_bytes()
        .map(|bytes| (bytes, count))
        .map_err(|e| format!("can't rewrite {}: {e}", path.display()))
}

/// Generates the Rust code. `burn-onnx` panics on what it does not support.
fn compile(onnx: &Path, original: &Path) -> Result<(), String> {
    let onnx = onnx.to_string_lossy().into_owned();
    panic::catch_unwind(|| {
        // In one piece: `rewrite` supports one forward pass.
        let mut generator = ModelGen::new();
        generator
            .input(&onnx)
            .out_dir("generated/")
            .load_strategy(LoadStrategy::Embedded)
            .partition(false);
        generator.run_from_script();
    })
    .map_err(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
        let said = said.unwrap_or_else(|| "no reason given".into());
        cannot(original, &format!("burn-onnx says: {said}"))
    })
}

/// Why a model can't be compiled in, and what to do.
fn cannot(model: &Path, why: &str) -> String {
    format!(
        "can't compile {} in: {why}; such a model still runs with --engine ort",
        model.display()
    )
}
