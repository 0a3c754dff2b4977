//! Mixed precision: what a training step computes in (Micikevicius et al. 2018,
//! <https://arxiv.org/abs/1710.03740>).
//!
//! Weights, running statistics, gradients and losses are float32 always. With a narrower type,
//! convolutions, dense layers and what passes between layers are of that type, and normalisations
//! are float32. Networks are evaluated in what the device computes float32 in, which on CUDA is
//! TF32.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, FloatDType};

use fer_burn::device::{Backend, Opened};

/// What a training step computes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// float32, but that matrix products and convolutions may round what they multiply to 10 bits
    /// of mantissa: what Burn does on CUDA with float32.
    Tf32,
    /// bfloat16: the range of float32, 7 bits of mantissa.
    Bf16,
    /// float16: 10 bits of mantissa, largest number 65,504.
    F16,
}

/// What a loss in float16 is multiplied with before the backward pass, and gradients divided by
/// after it: small gradients would be zero otherwise. The first gradients, those of the logits, are
/// then below this times an image's weight by its class, over the images of the batch. Where they
/// get out of range, the weights and the next loss are not numbers, and the run ends.
const F16_SCALE: f64 = 1024.0;

/// A precision that a device does not have.
#[derive(Debug, Clone, thiserror::Error)]
#[error("precision {precision} on {device}: {problem}")]
pub struct PrecisionError {
    /// The precision that was asked for.
    pub precision: Precision,
    /// The device's name.
    pub device: String,
    /// Why, and which one it has.
    pub problem: &'static str,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F32, Self::Tf32, Self::Bf16, Self::F16];

    /// The type of what passes between layers.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::F32 | Self::Tf32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
            Self::F16 => FloatDType::F16,
        }
    }

    /// What the loss is multiplied with before the backward pass.
    pub fn loss_scale(self) -> f64 {
        if self == Self::F16 { F16_SCALE } else { 1.0 }
    }

    /// The precision that was asked for on a device, or the one that Burn computes float32 in
    /// there.
    ///
    /// # Errors
    /// The device does not have it; one line that says what to do.
    pub fn on(asked: Option<Self>, opened: &Opened) -> Result<Self, PrecisionError> {
        let is_cuda = opened.choice.backend == Backend::Cuda;
        let usual = if is_cuda { Self::Tf32 } else { Self::F32 };
        let Some(precision) = asked else {
            return Ok(usual);
        };
        let problem = match precision {
            Self::F32 if is_cuda => {
                "Burn multiplies float32 as TF32 there where that is faster, and can't be kept \
                 from it; take tf32, which says so, or wgpu"
            }
            Self::Tf32 if !is_cuda => "only CUDA has it; take f32",
            _ if !opened.device.supports_dtype(DType::from(precision.dtype())) => {
                "the device does not compute in it; take f32"
            }
            _ => return Ok(precision),
        };
        Err(PrecisionError {
            precision,
            device: opened.name.clone(),
            problem,
        })
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

impl FromStr for Precision {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|p| p.to_string() == s)
            .ok_or_else(|| {
                format!(
                    "'{s}' is not a precision; there are {}",
                    Self::ALL.map(|p| p.to_string()).join(", ")
                )
            })
    }
}
