//! Proof of where a model runs: a session on another provider than the CPU is started with ONNX
//! Runtime's profiler on, run once, and its profile read for the provider of each operator.
//!
//! ONNX Runtime falls back to the CPU in silence, operator by operator or (in other tools) as a
//! whole. Here a provider that can't start is an error, one that took no operator is an error, and
//! operators it did not take are named.

use std::collections::BTreeMap;

use ort::session::Session;
use serde::Deserialize;

use super::library::{self, Library};
use super::provider::Provider;
use crate::classifier::{ModelSource, SessionOptions, builder, commit, one_line, run};
use fer_core::classifier::EngineError;
use fer_core::spec::ModelSpec;

/// How many operators of each type each provider ran.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Placement {
    /// (ONNX Runtime's provider name, operator type) → how many.
    operators: BTreeMap<(String, String), usize>,
}

impl Placement {
    fn on(&self, provider: Provider) -> usize {
        self.operators
            .iter()
            .filter(|((p, _), _)| p == provider.ep_name())
            .map(|(_, n)| n)
            .sum()
    }

    /// Names the operators that another provider ran, if there are any.
    pub(super) fn elsewhere_note(&self, provider: Provider) -> Option<String> {
        let elsewhere: Vec<String> = self
            .operators
            .iter()
            .filter(|((p, _), _)| p != provider.ep_name())
            .map(|((p, operator), n)| {
                format!(
                    "{operator} ×{n} on {}",
                    p.trim_end_matches("ExecutionProvider")
                )
            })
            .collect();
        let total: usize = self.operators.values().sum();
        let there = self.on(provider);
        (!elsewhere.is_empty()).then(|| {
            format!(
                "{} of {total} operators are not on {provider}: {}",
                total - there,
                elsewhere.join(", ")
            )
        })
    }

    /// Reads a profile as ONNX Runtime writes it: a JSON array of events.
    fn from_profile(json: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Event {
            #[serde(default)]
            cat: String,
            #[serde(default)]
            name: String,
            #[serde(default)]
            args: BTreeMap<String, serde_json::Value>,
        }
        let events: Vec<Event> = serde_json::from_str(json)?;
        let mut operators = BTreeMap::new();
        for event in events
            .iter()
            .filter(|e| e.cat == "Node" && e.name.ends_with("_kernel_time"))
        {
            let text = |key: &str| {
                event
                    .args
                    .get(key)
                    .and_then(|v| v.as_str())
                    .unwrap_or_default()
                    .to_string()
            };
            let operator = text("op_name");
            // Copies between devices are ONNX Runtime's own, not the model's.
            if !operator.starts_with("Memcpy") {
                *operators.entry((text("provider"), operator)).or_insert(0) += 1;
            }
        }
        Ok(Self { operators })
    }
}

/// Starts a session on a provider and says where its operators ran.
pub(super) fn start(
    library: &Library,
    source: &ModelSource,
    name: &str,
    spec: &ModelSpec,
    options: &SessionOptions<'_>,
) -> Result<(Session, Placement), EngineError> {
    let provider = options.provider;
    let refuse = |reason: String| {
        EngineError::Unusable(format!("--provider {provider} can't run: {reason}"))
    };
    if !provider.is_built_in() {
        return Err(refuse(not_built_in(provider, library)));
    }
    if matches!(provider, Provider::Cuda | Provider::TensorRt) {
        library.open_cuda();
    }
    library::take_warnings();
    let folder = tempfile::tempdir()
        .map_err(|e| refuse(format!("no temporary folder for the profile: {e}")))?;
    let mut builder = builder(library, options)?
        .with_profiling(folder.path().join("profile"))
        .map_err(|e| refuse(e.to_string()))?;
    let cause = |error: String| refuse(explain(provider, &error, &library::take_warnings()));
    provider
        .register(&mut builder, options.provider_options)
        .map_err(|e| cause(e.to_string()))?;
    let mut session = commit(&mut builder, source, name).map_err(|e| cause(e.to_string()))?;
    let n = spec.fixed_batch.unwrap_or(1);
    run(
        &mut session,
        &vec![0.0; n * spec.image_len()],
        spec.input_shape(n),
        name,
    )
    .map_err(|e| cause(e.to_string()))?;

    let unread =
        |e: &dyn std::fmt::Display| refuse(format!("where its operators ran can't be told: {e}"));
    let profile = session.end_profiling().map_err(|e| unread(&e))?;
    let profile = std::fs::read_to_string(profile).map_err(|e| unread(&e))?;
    let placement = Placement::from_profile(&profile).map_err(|e| unread(&e))?;
    if placement.on(provider) == 0 {
        return Err(cause(format!("it took none of the operators of {name}")));
    }
    Ok((session, placement))
}

fn not_built_in(provider: Provider, library: &Library) -> String {
    let has: Vec<String> = Provider::all()
        .filter(|p| p.is_built_in())
        .map(|p| p.to_string())
        .collect();
    let next = match provider {
        Provider::Cuda | Provider::TensorRt => "`fer runtime install --cuda` gets one with CUDA",
        _ => "name one that has it with --ort-lib",
    };
    format!(
        "{library} is built without it (it has {}); {next}",
        has.join(", ")
    )
}

/// Says what failed and what to do about it, from ONNX Runtime's error and the warnings that came
/// with it.
fn explain(provider: Provider, error: &str, warnings: &[String]) -> String {
    // The error may be as general as "no such provider"; what the loader said stands in a warning.
    let telling = |text: &&String| {
        [
            "cannot open shared object",
            "Failed to load",
            "CUDA",
            "cuDNN",
        ]
        .iter()
        .any(|w| text.contains(w))
    };
    let all = std::iter::once(error)
        .chain(warnings.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ");
    let mut reason = one_line(error);
    if let Some(warning) = warnings
        .iter()
        .filter(telling)
        .find(|w| !error.contains(w.as_str()))
    {
        reason = format!("{reason} ({warning})");
    }
    match next_step(provider, &all) {
        Some(step) => format!("{reason}; {step}"),
        None => reason,
    }
}

fn next_step(provider: Provider, text: &str) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().any(|w| text.contains(w));
    match provider {
        Provider::Cuda | Provider::TensorRt => Some(if has(&["libcuda.so", "nvcuda.dll"]) {
            "the NVIDIA driver is not installed: install it, or run on the CPU with --provider cpu"
        } else if has(&["libcudnn", "cudnn64"]) {
            "cuDNN 9 is missing: install it, or let `fer runtime install --cuda --with-cuda-libs` get it"
        } else if has(&[
            "libcublas",
            "libcudart",
            "libcufft",
            "libcurand",
            "libnvrtc",
            "cublas64",
            "cudart64",
            "cufft64",
        ]) {
            "the CUDA runtime libraries are missing: install the CUDA version that this ONNX Runtime was built for, or let \
             `fer runtime install --cuda --with-cuda-libs` get them"
        } else if has(&["libnvinfer", "nvinfer_"]) {
            "TensorRT is missing: install it, or use --provider cuda"
        } else if has(&["driver version is insufficient", "CUDA failure 35"]) {
            "the NVIDIA driver is too old for this CUDA: update the driver"
        } else if has(&[
            "no CUDA-capable device",
            "CUDA failure 100",
            "invalid device ordinal",
            "CUDA failure 101",
        ]) {
            "no such NVIDIA device: `nvidia-smi` and `fer doctor` list them, --device chooses one"
        } else {
            "`fer doctor` shows what this machine has"
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"[
        {"cat":"Session","name":"model_loading","args":{}},
        {"cat":"Node","name":"conv_kernel_time","args":{"op_name":"Conv","provider":"CUDAExecutionProvider"}},
        {"cat":"Node","name":"m_kernel_time","args":{"op_name":"MemcpyFromHost","provider":"CUDAExecutionProvider"}},
        {"cat":"Node","name":"shape_kernel_time","args":{"op_name":"Shape","provider":"CPUExecutionProvider"}},
        {"cat":"Node","name":"conv_fence_before","args":{"op_name":"Conv"}}
    ]"#;

    #[test]
    fn operators_that_are_elsewhere_are_named() {
        let placement = Placement::from_profile(PROFILE).unwrap();
        assert_eq!(placement.on(Provider::Cuda), 1);
        assert_eq!(
            placement.elsewhere_note(Provider::Cuda).unwrap(),
            "1 of 2 operators are not on cuda: Shape ×1 on CPU"
        );
        assert_eq!(placement.on(Provider::OpenVino), 0);
    }

    #[test]
    fn a_failure_comes_with_its_next_step() {
        let rows = [
            (
                "libcuda.so.1: cannot open shared object file",
                "the NVIDIA driver is not installed",
            ),
            (
                "libcudnn.so.9: cannot open shared object file",
                "cuDNN 9 is missing",
            ),
            (
                "libcublasLt.so.13: cannot open shared object file",
                "the CUDA runtime libraries are missing",
            ),
            (
                "CUDA failure 100: no CUDA-capable device is detected",
                "no such NVIDIA device",
            ),
            (
                "CUDA failure 35: CUDA driver version is insufficient",
                "the NVIDIA driver is too old",
            ),
            ("something else", "`fer doctor`"),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(error, step)| !explain(Provider::Cuda, error, &[]).contains(step))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
