//! Proof of where a model runs. A session on a provider other than the CPU is started with ONNX
//! Runtime's profiler and run once. Its profile names the provider of each operator.
//!
//! ONNX Runtime falls back to the CPU silently, operator by operator or (in other tools) as a
//! whole. Here it is an error if a provider can't start or runs no operator. Operators that ran
//! elsewhere are named.

use std::collections::BTreeMap;

use ort::session::Session;
use serde::Deserialize;

use super::library::{self, Library};
use super::provider::Provider;
use crate::classifier::{ModelSource, SessionOptions, builder, commit, one_line, run};
use crate::error::{Missing, OrtError, ProviderProblem};
use fer_core::classifier::Note;
use fer_core::files::TemporaryFolder;

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

    /// Describes the operators that another provider ran, if any.
    pub(super) fn elsewhere_note(&self, provider: Provider) -> Option<Note> {
        let operators: Vec<(String, String, usize)> = self
            .operators
            .iter()
            .filter(|((p, _), _)| p != provider.ep_name())
            .map(|((p, operator), n)| {
                let p = p.trim_end_matches("ExecutionProvider").to_string();
                (operator.clone(), p, *n)
            })
            .collect();
        (!operators.is_empty()).then(|| Note::Elsewhere {
            provider: provider.to_string(),
            total: self.operators.values().sum(),
            operators,
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

/// Starts a session on a provider, runs it once on an input of `shape`, and returns where its
/// operators ran.
pub(super) fn start(
    library: &Library,
    source: &ModelSource,
    name: &str,
    shape: [usize; 4],
    options: &SessionOptions<'_>,
) -> Result<(Session, Placement), OrtError> {
    let provider = options.provider;
    let refuse = |problem| OrtError::Provider { provider, problem };
    if !provider.is_built_in() {
        return Err(refuse(ProviderProblem::NotBuiltIn {
            library: library.to_string(),
            has: Provider::all().filter(|p| p.is_built_in()).collect(),
        }));
    }
    if matches!(provider, Provider::Cuda | Provider::TensorRt) {
        library.open_cuda();
    }
    library.check_providers()?;
    library::take_warnings();
    let unproven = |e: &dyn std::fmt::Display| {
        refuse(ProviderProblem::Unproven {
            reason: e.to_string(),
        })
    };
    let folder = TemporaryFolder::new(&std::env::temp_dir(), "fer-")
        .map_err(|e| unproven(&format!("no temporary folder for the profile: {e}")))?;
    let mut builder = builder(library, options)?
        .with_profiling(folder.path().join("profile"))
        .map_err(|e| unproven(&e))?;
    let cause = |error: String| refuse(does_not_start(provider, &error, &library::take_warnings()));
    provider
        .register(&mut builder, options.provider_options)
        .map_err(|e| cause(e.to_string()))?;
    let mut session = commit(&mut builder, source, name).map_err(|e| cause(e.to_string()))?;
    let zeros = vec![0.0; shape.iter().product()];
    run(&mut session, &zeros, shape)
        .map_err(|e| cause(format!("{name} failed in it: {}", one_line(&e.to_string()))))?;

    let profile = session.end_profiling().map_err(|e| unproven(&e))?;
    let profile = std::fs::read_to_string(profile).map_err(|e| unproven(&e))?;
    let placement = Placement::from_profile(&profile).map_err(|e| unproven(&e))?;
    if placement.on(provider) == 0 {
        let warnings = library::take_warnings();
        return Err(refuse(ProviderProblem::TookNothing {
            model: name.to_string(),
            warning: revealing(&warnings, "").cloned(),
            missing: missing(provider, &warnings.join(" ")),
        }));
    }
    Ok((session, placement))
}

/// The failure, from ONNX Runtime's error and the warnings that came with it.
fn does_not_start(provider: Provider, error: &str, warnings: &[String]) -> ProviderProblem {
    let mut reason = one_line(error);
    if let Some(warning) = revealing(warnings, error) {
        reason = format!("{reason} ({warning})");
    }
    ProviderProblem::DoesNotStart {
        reason,
        missing: missing(provider, &format!("{error} {}", warnings.join(" "))),
    }
}

/// The first warning that is more specific than the error, which may be just "no such provider":
/// the loader's message is in a warning.
fn revealing<'a>(warnings: &'a [String], error: &str) -> Option<&'a String> {
    const WORDS: [&str; 4] = [
        "cannot open shared object",
        "Failed to load",
        "CUDA",
        "cuDNN",
    ];
    warnings
        .iter()
        .find(|w| WORDS.iter().any(|word| w.contains(word)) && !error.contains(w.as_str()))
}

/// What the machine lacks, according to the messages of ONNX Runtime and the loader.
fn missing(provider: Provider, text: &str) -> Option<Missing> {
    if !matches!(provider, Provider::Cuda | Provider::TensorRt) {
        return None;
    }
    const SIGNS: [(Missing, &[&str]); 6] = [
        (Missing::Driver, &["libcuda.so", "nvcuda.dll"]),
        (Missing::Cudnn, &["libcudnn", "cudnn64"]),
        (
            Missing::CudaLibraries,
            &[
                "libcublas",
                "libcudart",
                "libcufft",
                "libcurand",
                "libnvrtc",
                "cublas64",
                "cudart64",
                "cufft64",
            ],
        ),
        (Missing::TensorRt, &["libnvinfer", "nvinfer_"]),
        (
            Missing::NewerDriver,
            &["driver version is insufficient", "CUDA failure 35"],
        ),
        (
            Missing::Device,
            &[
                "no CUDA-capable device",
                "CUDA failure 100",
                "invalid device ordinal",
                "CUDA failure 101",
            ],
        ),
    ];
    SIGNS
        .iter()
        .find(|(_, signs)| signs.iter().any(|sign| text.contains(sign)))
        .map(|(missing, _)| *missing)
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
            placement
                .elsewhere_note(Provider::Cuda)
                .unwrap()
                .to_string(),
            "1 of 2 operators are not on cuda: Shape ×1 on CPU"
        );
        assert_eq!(placement.on(Provider::OpenVino), 0);
    }

    #[test]
    fn a_failure_names_what_the_machine_lacks() {
        let rows = [
            (
                "libcuda.so.1: cannot open shared object file",
                Some(Missing::Driver),
            ),
            (
                "libcudnn.so.9: cannot open shared object file",
                Some(Missing::Cudnn),
            ),
            (
                "libcublasLt.so.13: cannot open shared object file",
                Some(Missing::CudaLibraries),
            ),
            (
                "CUDA failure 100: no CUDA-capable device is detected",
                Some(Missing::Device),
            ),
            (
                "CUDA failure 35: CUDA driver version is insufficient",
                Some(Missing::NewerDriver),
            ),
            ("something else", None),
        ];
        let mut wrong = Vec::new();
        for (text, expected) in rows {
            let own = does_not_start(Provider::Cuda, text, &[]);
            let warned = does_not_start(Provider::Cuda, "no such provider", &[text.into()]);
            let other = does_not_start(Provider::OpenVino, text, &[]);
            let found = [own.missing(), warned.missing(), other.missing()];
            let told = warned.to_string().contains(text);
            if found != [expected, expected, None] || told == expected.is_none() {
                wrong.push((text, own, warned, other));
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
