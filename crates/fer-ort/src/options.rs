//! The options of execution providers, and which provider takes which.

use std::fmt;

use crate::provider::{Provider, names};

/// A provider's options. A provider that does not have an option refuses it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderOptions {
    /// The index of the device.
    pub device: Option<u32>,
    /// The most device memory for ONNX Runtime's arena, in bytes (CUDA).
    pub memory_limit: Option<usize>,
    /// Whether matrix products may use TF32 (CUDA; ONNX Runtime's default is on).
    pub tf32: Option<bool>,
    /// Options passed to the provider unchanged, by ONNX Runtime's names.
    pub extra: Vec<(String, String)>,
}

/// Options that make a provider record a CUDA graph.
const GRAPHS: [&str; 3] = [
    "enable_cuda_graph",
    "trt_cuda_graph_enable",
    "nv_cuda_graph_enable",
];

/// The values by which an option is turned off.
const OFF: [&str; 3] = ["0", "false", "False"];

impl ProviderOptions {
    /// Fails if an option does not belong to the provider.
    ///
    /// # Errors
    /// The error names the option and the providers that have it.
    pub fn check(&self, provider: Provider) -> Result<(), OptionError> {
        let is_cuda = provider == Provider::Cuda;
        let given = [
            (
                ProviderOption::Device,
                self.device.is_some() && !provider.takes_device(),
            ),
            (
                ProviderOption::MemoryLimit,
                self.memory_limit.is_some() && !is_cuda,
            ),
            (ProviderOption::Tf32, self.tf32.is_some() && !is_cuda),
            (
                ProviderOption::Extra,
                !self.extra.is_empty() && !provider.takes_extra(),
            ),
        ];
        if let Some((option, _)) = given.into_iter().find(|(_, misplaced)| *misplaced) {
            return Err(OptionError::NotTaken { provider, option });
        }
        if let Some(device) = self.device.filter(|d| i32::try_from(*d).is_err()) {
            return Err(OptionError::DeviceIndex { device });
        }
        let is_graph = |(key, value): &&(String, String)| {
            GRAPHS.contains(&key.as_str()) && !OFF.contains(&value.as_str())
        };
        if let Some((key, _)) = self.extra.iter().find(is_graph) {
            return Err(OptionError::CudaGraph { key: key.clone() });
        }
        // ONNX Runtime takes C strings.
        let zero = |(key, value): &&(String, String)| key.contains('\0') || value.contains('\0');
        match self.extra.iter().find(zero) {
            Some((key, _)) => Err(OptionError::ZeroByte { key: key.clone() }),
            None => Ok(()),
        }
    }
}

/// One of [`ProviderOptions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderOption {
    /// [`ProviderOptions::device`].
    Device,
    /// [`ProviderOptions::memory_limit`].
    MemoryLimit,
    /// [`ProviderOptions::tf32`].
    Tf32,
    /// [`ProviderOptions::extra`].
    Extra,
}

impl ProviderOption {
    /// The providers that have it.
    pub fn takers(self) -> Vec<Provider> {
        let takes = |provider: Provider| match self {
            Self::Device => provider.takes_device(),
            Self::MemoryLimit | Self::Tf32 => provider == Provider::Cuda,
            Self::Extra => provider.takes_extra(),
        };
        Provider::all().filter(|p| takes(*p)).collect()
    }
}

impl fmt::Display for ProviderOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "device index",
            Self::MemoryLimit => "memory limit",
            Self::Tf32 => "TF32 switch",
            Self::Extra => "options by ONNX Runtime's names",
        })
    }
}

/// A provider does not accept an option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The provider has no such option.
    #[error("provider {provider} takes no {option}; these do: {}", names(&.option.takers()))]
    NotTaken {
        /// The provider.
        provider: Provider,
        /// The option.
        option: ProviderOption,
    },
    /// The index is larger than ONNX Runtime takes.
    #[error("{device} is not a device index: 0 is the first device")]
    DeviceIndex {
        /// The index.
        device: u32,
    },
    /// The option makes the provider record a CUDA graph.
    #[error(
        "the provider option {key} can't be used: a CUDA graph goes on reading the memory of its \
         first run, and each batch here has memory of its own"
    )]
    CudaGraph {
        /// The option's name.
        key: String,
    },
    /// The option contains a zero byte, which ends a string for ONNX Runtime.
    #[error("the provider option {key:?} can't hold a zero byte")]
    ZeroByte {
        /// The option's name.
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_refused_where_they_mean_nothing() {
        let device = ProviderOptions {
            device: Some(1),
            ..Default::default()
        };
        let limit = ProviderOptions {
            memory_limit: Some(1),
            ..Default::default()
        };
        let tf32 = ProviderOptions {
            tf32: Some(false),
            ..Default::default()
        };
        let option = |key: &str, value: &str| ProviderOptions {
            extra: vec![(key.into(), value.into())],
            ..Default::default()
        };
        let extra = option("a", "b");
        let (graph, no_graph) = (
            option("enable_cuda_graph", "1"),
            option("enable_cuda_graph", "0"),
        );
        let rows = [
            (&device, Provider::Cpu, false),
            (&device, Provider::Cuda, true),
            (&device, Provider::OpenVino, false),
            (&limit, Provider::Cpu, false),
            (&limit, Provider::Cuda, true),
            (&tf32, Provider::TensorRt, false),
            (&tf32, Provider::Cuda, true),
            (&extra, Provider::Cpu, false),
            (&extra, Provider::OpenVino, true),
            (&graph, Provider::Cuda, false),
            (&no_graph, Provider::Cuda, true),
            (
                &option("trt_cuda_graph_enable", "true"),
                Provider::TensorRt,
                false,
            ),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(o, p, ok)| o.check(*p).is_ok() != *ok)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
