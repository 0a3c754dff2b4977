//! ONNX classifiers in 8-bit integers: a float32 graph → a graph in QDQ form, in which
//! QuantizeLinear and DequantizeLinear stand around each layer. Pure functions; who runs the
//! networks is the caller.
//!
//! | step | file |
//! |---|---|
//! | bytes → a graph whose batch normalizations are folded, its layers ([`FloatNetwork`]) | `network`, `fold`, `layer` |
//! | activations of images → their distribution ([`Histogram`]) → a range ([`Method`]) | `range` |
//! | inputs of a layer → their second moments ([`Moments`]) | `moments` |
//! | weights → integers whose outputs are nearest to the layer's ([`Rounded`]) | `round` |
//! | ranges and rounded weights ([`Plan`]) → a QDQ file | `plan`, `write` |
//! | answers of both files → what it costs ([`Comparison`], [`divergence`]) | `cost` |
//!
//! **Weights** are int8, symmetric, with a scale for each output channel, and at most [`LEVELS`] in
//! size. **Activations** are uint8 with a scale and a zero point for each tensor. **Biases** are
//! int32 with the product of both scales.

mod cost;
mod error;
mod fold;
mod graph;
mod layer;
mod moments;
mod network;
mod plan;
mod range;
mod round;
mod write;

pub use cost::{Comparison, Figures, divergence};
pub use error::QuantizeError;
pub use layer::{Kind, Layer};
pub use moments::Moments;
pub use network::FloatNetwork;
pub use plan::{Group, Plan};
pub use range::{Histogram, Method, NotFinite, Params};
pub use round::{LEVELS, Rounded, nearest, rounded};
