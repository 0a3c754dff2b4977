//! Execution providers: their names, their options, and how ONNX Runtime is asked for one.
//!
//! All that `ort` offers, except Azure (it sends images to a server), Vitis (it needs a newer
//! interface than the oldest supported one), and ArmNN (ONNX Runtime has removed it).

use std::fmt;
use std::str::FromStr;

use ort::ep::{
    self, ArbitrarilyConfigurableExecutionProvider as Configurable, ExecutionProvider as _,
};
use ort::session::builder::SessionBuilder;

use crate::options::ProviderOptions;

/// What runs a model's operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the variants are the vendors' names")]
pub enum Provider {
    #[default]
    Cpu,
    Cuda,
    TensorRt,
    NvTensorRtRtx,
    OpenVino,
    OneDnn,
    DirectMl,
    CoreMl,
    Xnnpack,
    Qnn,
    WebGpu,
    MiGraphX,
    Rocm,
    Cann,
    Acl,
    Nnapi,
    Rknpu,
    Tvm,
    VsiNpu,
}

/// (provider, its name in fer, its name in ONNX Runtime)
const NAMES: [(Provider, &str, &str); 19] = [
    (Provider::Cpu, "cpu", "CPUExecutionProvider"),
    (Provider::Cuda, "cuda", ep::CUDA::NAME),
    (Provider::TensorRt, "tensorrt", ep::TensorRT::NAME),
    (Provider::NvTensorRtRtx, "nvtensorrtrtx", ep::NVRTX::NAME),
    (Provider::OpenVino, "openvino", ep::OpenVINO::NAME),
    (Provider::OneDnn, "onednn", ep::OneDNN::NAME),
    (Provider::DirectMl, "directml", ep::DirectML::NAME),
    (Provider::CoreMl, "coreml", ep::CoreML::NAME),
    (Provider::Xnnpack, "xnnpack", ep::XNNPACK::NAME),
    (Provider::Qnn, "qnn", ep::QNN::NAME),
    (Provider::WebGpu, "webgpu", ep::WebGPU::NAME),
    (Provider::MiGraphX, "migraphx", ep::MIGraphX::NAME),
    (Provider::Rocm, "rocm", ep::ROCm::NAME),
    (Provider::Cann, "cann", ep::CANN::NAME),
    (Provider::Acl, "acl", ep::ACL::NAME),
    (Provider::Nnapi, "nnapi", ep::NNAPI::NAME),
    (Provider::Rknpu, "rknpu", ep::RKNPU::NAME),
    (Provider::Tvm, "tvm", ep::TVM::NAME),
    (Provider::VsiNpu, "vsinpu", ep::VSINPU::NAME),
];

impl Provider {
    /// All providers.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(provider, ..)| *provider)
    }

    fn names(self) -> (&'static str, &'static str) {
        // Every variant is in the table, as a test checks.
        NAMES
            .iter()
            .find(|(p, ..)| *p == self)
            .map_or(("", ""), |(_, name, ep)| (*name, *ep))
    }

    /// Its name in ONNX Runtime, e.g. `CUDAExecutionProvider`.
    pub fn ep_name(self) -> &'static str {
        self.names().1
    }

    /// The name with the device, e.g. `cuda:0`.
    pub fn describe(self, options: &ProviderOptions) -> String {
        match options.device {
            None if self.takes_device() => format!("{self}:0"),
            Some(device) if self.takes_device() => format!("{self}:{device}"),
            _ => self.to_string(),
        }
    }

    pub(super) fn takes_device(self) -> bool {
        use Provider::*;
        matches!(
            self,
            Cuda | TensorRt | NvTensorRtRtx | DirectMl | Qnn | WebGpu | MiGraphX | Rocm | Cann
        )
    }

    pub(super) fn takes_extra(self) -> bool {
        use Provider::*;
        !matches!(
            self,
            Cpu | DirectMl | MiGraphX | Acl | Nnapi | Rknpu | Tvm | VsiNpu
        )
    }

    /// Whether the opened library was built with this provider. Whether it can start is another
    /// question.
    pub fn is_built_in(self) -> bool {
        use Provider::*;
        let available = match self {
            Cpu => Ok(true),
            Cuda => ep::CUDA::is_available(),
            TensorRt => ep::TensorRT::is_available(),
            NvTensorRtRtx => ep::NVRTX::is_available(),
            OpenVino => ep::OpenVINO::is_available(),
            OneDnn => ep::OneDNN::is_available(),
            DirectMl => ep::DirectML::is_available(),
            CoreMl => ep::CoreML::is_available(),
            Xnnpack => ep::XNNPACK::is_available(),
            Qnn => ep::QNN::is_available(),
            WebGpu => ep::WebGPU::is_available(),
            MiGraphX => ep::MIGraphX::is_available(),
            Rocm => ep::ROCm::is_available(),
            Cann => ep::CANN::is_available(),
            Acl => ep::ACL::is_available(),
            Nnapi => ep::NNAPI::is_available(),
            Rknpu => ep::RKNPU::is_available(),
            Tvm => ep::TVM::is_available(),
            VsiNpu => ep::VSINPU::is_available(),
        };
        available.unwrap_or(false)
    }

    /// Registers the provider in a session's options. TensorRT is followed by CUDA for the
    /// operators that it lacks.
    pub(super) fn register(
        self,
        builder: &mut SessionBuilder,
        options: &ProviderOptions,
    ) -> ort::Result<()> {
        use Provider::*;
        let device = options.device.unwrap_or(0);
        let index = device as i32;
        match self {
            Cpu => Ok(()),
            Cuda => cuda(options).register(builder),
            TensorRt => {
                with_extra(ep::TensorRT::default().with_device_id(index), options)
                    .register(builder)?;
                ep::CUDA::default().with_device_id(index).register(builder)
            }
            NvTensorRtRtx => {
                with_extra(ep::NVRTX::default().with_device_id(device), options).register(builder)
            }
            OpenVino => with_extra(ep::OpenVINO::default(), options).register(builder),
            OneDnn => with_extra(ep::OneDNN::default(), options).register(builder),
            DirectMl => ep::DirectML::default()
                .with_device_id(index)
                .register(builder),
            CoreMl => with_extra(ep::CoreML::default(), options).register(builder),
            Xnnpack => with_extra(ep::XNNPACK::default(), options).register(builder),
            Qnn => with_extra(ep::QNN::default().with_device_id(index), options).register(builder),
            WebGpu => {
                with_extra(ep::WebGPU::default().with_device_id(index), options).register(builder)
            }
            MiGraphX => ep::MIGraphX::default()
                .with_device_id(index)
                .register(builder),
            Rocm => {
                with_extra(ep::ROCm::default().with_device_id(index), options).register(builder)
            }
            Cann => {
                with_extra(ep::CANN::default().with_device_id(index), options).register(builder)
            }
            Acl => ep::ACL::default().register(builder),
            Nnapi => ep::NNAPI::default().register(builder),
            Rknpu => ep::RKNPU::default().register(builder),
            Tvm => ep::TVM::default().register(builder),
            VsiNpu => ep::VSINPU.register(builder),
        }
    }
}

fn cuda(options: &ProviderOptions) -> ep::CUDA {
    let mut cuda = ep::CUDA::default().with_device_id(options.device.unwrap_or(0) as i32);
    if let Some(bytes) = options.memory_limit {
        cuda = cuda.with_memory_limit(bytes);
    }
    if let Some(on) = options.tf32 {
        cuda = cuda.with_tf32(on);
    }
    with_extra(cuda, options)
}

fn with_extra<P: Configurable>(provider: P, options: &ProviderOptions) -> P {
    options
        .extra
        .iter()
        .fold(provider, |provider, (key, value)| {
            provider.with_arbitrary_config(key, value)
        })
}

/// Providers in a list.
pub(super) fn names(providers: &[Provider]) -> String {
    let names: Vec<String> = providers.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// A name is not a provider's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' is not a provider; the providers are \
    {}", names(&Provider::all().collect::<Vec<_>>()))]
pub struct UnknownProvider {
    /// The name.
    pub name: String,
}

impl FromStr for Provider {
    type Err = UnknownProvider;
    fn from_str(s: &str) -> Result<Self, UnknownProvider> {
        NAMES
            .iter()
            .find(|(_, name, ep)| s.eq_ignore_ascii_case(name) || s.eq_ignore_ascii_case(ep))
            .map(|(provider, ..)| *provider)
            .ok_or_else(|| UnknownProvider { name: s.into() })
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.names().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_has_a_name_of_its_own() {
        for provider in Provider::all() {
            assert_eq!(provider.to_string().parse(), Ok(provider));
            assert_eq!(provider.ep_name().parse(), Ok(provider));
        }
    }
}
