//! The networks that can be trained, as Burn modules, one file each, chosen by name
//! ([`Architecture`]).
//!
//! All take `[N, channels, height, width]` images (float32, 0..1) and return `[N, classes]`
//! logits ([`Shape`]); the softmax is the loss's, the evaluation's, and the exported file's.
//!
//! Where an image has become one pixel wide or high, what would halve it by pooling leaves it as it
//! is; a strided convolution keeps a pixel.

mod branches;
mod init;
mod layers;
mod notebook;
mod residual;
mod vgg;
mod weights;

pub use branches::Branches;
pub use layers::ConvNorm;
pub use notebook::Notebook;
pub use residual::{Residual, Stage};
pub use vgg::{Layer, Vgg};
pub use weights::{WeightsError, load_onnx};

use std::fmt;
use std::str::FromStr;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// What a network takes and gives, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// 1 for gray, 3 for RGB.
    pub channels: usize,
    /// Height of an image in pixels.
    pub height: usize,
    /// Width of an image in pixels.
    pub width: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Shape {
    /// FER-2013's: gray images of 48×48 pixels, seven classes.
    pub const FER2013: Self = Self {
        channels: 1,
        height: 48,
        width: 48,
        classes: 7,
    };

    /// The dimensions of an image: `[channels, height, width]`.
    pub fn image(self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }
}

/// The widths of the pairs of [`Architecture::Vgg`].
const VGG: [usize; 5] = [32, 64, 128, 192, 256];

/// A network by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Ten convolutions in the manner of VGG, of 1.88 M parameters and 115 MMAC on FER-2013: what
    /// `models/fer.onnx` is.
    Vgg,
    /// The same with each convolution in its training form ([`Branches`]); it is exported as
    /// [`Architecture::Vgg`].
    RepVgg,
    /// The Keras notebook's network: 3,841,543 parameters, 0.28 GMAC on FER-2013. Its first
    /// dense layer grows with the image's area.
    Notebook,
    /// A residual network of 0.09 M parameters and 8 MMAC on FER-2013, for tests and first steps.
    Tiny,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Vgg, Self::RepVgg, Self::Notebook, Self::Tiny];

    /// What its networks are exported as, see [`Network::folded`].
    pub fn exported(self) -> Self {
        if self == Self::RepVgg {
            Self::Vgg
        } else {
            self
        }
    }

    /// A network with fresh weights, which depend on nothing but `shape` and `seed`.
    ///
    /// `dropout` replaces the architecture's own dropout rate, 0..1.
    pub fn init(self, shape: Shape, dropout: Option<f64>, seed: u64, device: &Device) -> Network {
        match self {
            Self::Notebook => {
                let network = Notebook::new(shape, dropout.unwrap_or(0.25), device);
                Network::Notebook(init::fill(network, init::Scheme::GlorotUniform, seed))
            }
            Self::Vgg => {
                let network = Vgg::new(shape, &VGG, dropout.unwrap_or(0.2), device);
                Network::Vgg(init::fill(network, init::Scheme::HeNormal, seed))
            }
            Self::RepVgg => {
                let network = Vgg::new(shape, &VGG, dropout.unwrap_or(0.2), device);
                Network::RepVgg(init::fill(network, init::Scheme::HeNormal, seed))
            }
            Self::Tiny => {
                let stages = [(32, 2), (64, 2)].map(|(width, stride)| Stage { width, stride });
                let network =
                    Residual::new(shape, [16, 32], &stages, dropout.unwrap_or(0.0), device);
                Network::Residual(init::fill(network, init::Scheme::HeNormal, seed))
            }
        }
    }
}

impl FromStr for Architecture {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|a| a.to_string() == s)
            .ok_or_else(|| {
                let names = Self::ALL.map(|a| a.to_string()).join(", ");
                format!("'{s}' is not an architecture; there are {names}")
            })
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Notebook => "notebook",
            Self::Vgg => "vgg",
            Self::RepVgg => "repvgg",
            Self::Tiny => "tiny",
        })
    }
}

/// Any of the networks.
#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one network in a process, or a few"
)]
pub enum Network {
    /// The Keras notebook's.
    Notebook(Notebook),
    /// A residual one.
    Residual(Residual),
    /// One in the manner of VGG.
    Vgg(Vgg<ConvNorm>),
    /// The same in its training form.
    RepVgg(Vgg<Branches>),
}

impl Network {
    /// `[N, channels, height, width]` images, 0..1 → `[N, classes]` logits.
    ///
    /// On a device with autodiff this is the training pass: dropout is on, and batch normalisation
    /// takes the batch's statistics and updates its running ones.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Notebook(network) => network.forward(images),
            Self::Residual(network) => network.forward(images),
            Self::Vgg(network) => network.forward(images),
            Self::RepVgg(network) => network.forward(images),
        }
    }

    /// The dimensions of an image that the network was made for: `[channels, height, width]`.
    pub fn input(&self) -> [usize; 3] {
        match self {
            Self::Notebook(network) => network.input,
            Self::Residual(network) => network.input,
            Self::Vgg(network) => network.input,
            Self::RepVgg(network) => network.input,
        }
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        let output = match self {
            Self::Notebook(network) => &network.output,
            Self::Residual(network) => &network.output,
            Self::Vgg(network) => &network.output,
            Self::RepVgg(network) => &network.output,
        };
        let [_, classes] = output.weight.dims();
        classes
    }

    /// The network in the form that it is exported and evaluated in, which gives what this one
    /// gives, but for rounding; on a device without autodiff. It shares what stays as it is.
    pub fn folded(&self) -> Self {
        match self {
            Self::RepVgg(network) => Self::Vgg(network.folded()),
            plain => plain.clone(),
        }
    }

    /// The L2 penalties that belong to the architecture: `factor · Σw²` of each of these is added
    /// to the loss.
    pub fn penalties(&self) -> Vec<(Param<Tensor<4>>, f64)> {
        match self {
            Self::Notebook(network) => network.penalties(),
            Self::Residual(_) | Self::Vgg(_) | Self::RepVgg(_) => Vec::new(),
        }
    }

    /// What batch normalisation adds to the variance.
    pub fn epsilon(&self) -> f64 {
        match self {
            Self::Notebook(network) => network.norm2.epsilon,
            Self::Residual(network) => network.epsilon(),
            Self::Vgg(network) => network.epsilon(),
            Self::RepVgg(network) => network.epsilon(),
        }
    }

    /// The parameters that weight decay applies to: kernels, not biases and normalisations.
    pub fn kernels(&self) -> Vec<ParamId> {
        struct Kernels(Vec<ParamId>);
        impl ModuleVisitor for Kernels {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if D > 1 {
                    self.0.push(param.id);
                }
            }
        }
        let mut kernels = Kernels(Vec::new());
        self.visit(&mut kernels);
        kernels.0
    }

    /// True if all weights and running statistics are numbers.
    pub fn is_finite(&self) -> bool {
        struct Finite(bool);
        impl ModuleVisitor for Finite {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0 &= param.val().abs().sum().into_scalar::<f32>().is_finite();
            }
        }
        let mut finite = Finite(true);
        self.visit(&mut finite);
        finite.0
    }

    /// Multiply-accumulate operations of the convolutions and dense layers in one forward pass of
    /// one image.
    pub fn macs(&self) -> u64 {
        match self {
            Self::Notebook(network) => network.macs(),
            Self::Residual(network) => network.macs(),
            Self::Vgg(network) => network.macs(),
            Self::RepVgg(network) => network.macs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::step::logits;

    #[test]
    fn sizes_are_those_that_are_claimed() {
        let device = Device::flex();
        let rows = [
            (Architecture::Notebook, 3_841_543, 278_960_768),
            (Architecture::Vgg, 1_878_311, 114_796_288),
            (Architecture::RepVgg, 2_094_279, 127_551_232),
            (Architecture::Tiny, 83_351, 7_852_480),
        ];
        for (architecture, parameters, macs) in rows {
            let network = architecture.init(Shape::FER2013, None, 0, &device);
            assert_eq!(
                (network.num_params(), network.macs()),
                (parameters, macs),
                "{architecture}"
            );
            assert_eq!(architecture.to_string().parse(), Ok(architecture));
        }
    }

    #[test]
    fn networks_follow_their_input() {
        let device = Device::flex();
        let mut wrong = Vec::new();
        for (channels, height, width, classes) in [
            (1, 8, 8, 2),
            (3, 24, 33, 12),
            (3, 8, 48, 1000),
            (1, 31, 9, 3),
        ] {
            let shape = Shape {
                channels,
                height,
                width,
                classes,
            };
            for architecture in Architecture::ALL {
                let network = architecture.init(shape, None, 0, &device);
                let images: Vec<f32> = (0..2 * channels * height * width)
                    .map(|i| (i % 251) as f32 / 251.0)
                    .collect();
                let answers = logits(&network, &images, 2, &device).unwrap();
                let same = (network.input(), network.classes()) == (shape.image(), classes);
                if !same
                    || answers.len() != 2 * classes
                    || answers.iter().any(|v| !v.is_finite())
                    || network.macs() == 0
                {
                    wrong.push(format!("{architecture} {shape:?}: {}", answers.len()));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn fresh_weights_depend_on_the_seed_alone() {
        let device = Device::flex();
        let image = [0.5; 48 * 48];
        for architecture in Architecture::ALL {
            let answer = |seed| {
                let network = architecture.init(Shape::FER2013, None, seed, &device);
                logits(&network, &image, 1, &device).unwrap()
            };
            assert_eq!(answer(7), answer(7), "{architecture}");
            assert_ne!(answer(7), answer(8), "{architecture}");
            assert!(answer(7).iter().all(|v| v.is_finite()), "{architecture}");
        }
    }
}
