//! Compiled-in models: Rust code that the build script generated from ONNX files.

mod int8;
#[cfg(test)]
mod rewrite;

use burn::tensor::Device;
use fer_burn::Forward;

pub use int8::{Int8Error, network};

/// A compiled-in model.
pub struct BuiltinModel {
    /// The ONNX file's name without `.onnx`.
    pub name: &'static str,
    /// The ONNX file of the code, with tiny weights flushed.
    pub onnx: &'static [u8],
    /// What takes time and is left to Burn, because the kernels do not support it: each kind with
    /// its layers or outputs, e.g. `Conv2d in groups (conv2d3)`.
    pub generic: &'static [&'static str],
    /// Whether it computes with 8-bit integers, which only the CPU does.
    pub int8: bool,
    /// Loads the embedded weights and returns the forward pass: `[N, H, W, C]` or `[N, C, H, W]` →
    /// `[N, classes]`.
    pub load: fn(&Device) -> Forward,
}

// Defines `MODELS: &[BuiltinModel]`, the default model first, `DETECTOR: BuiltinModel`, and one
// module per model.
include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

impl std::fmt::Debug for BuiltinModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BuiltinModel").field(&self.name).finish()
    }
}

/// The compiled-in models, the default one first.
pub fn models() -> &'static [BuiltinModel] {
    MODELS
}

/// The default model.
pub fn default_model() -> Option<&'static BuiltinModel> {
    MODELS.first()
}

/// The compiled-in face detector: `[1, 3, H, W]` → `[1, anchors × 16]`.
pub fn detector() -> &'static BuiltinModel {
    &DETECTOR
}

/// The compiled-in model of that name.
pub fn find(name: &str) -> Option<&'static BuiltinModel> {
    MODELS.iter().find(|m| m.name == name)
}
