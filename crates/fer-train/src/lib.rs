//! Training for fer: labelled images → a network → an ONNX file, and how good it is.
//!
//! | step | module |
//! |---|---|
//! | labelled images, checked and divided | [`data`] |
//! | training images varied | [`augment`] |
//! | networks and their training | [`model`], [`train`] |
//! | a trained network as a classifier | [`trained`] |
//! | a trained network as an ONNX file | [`export`] |
//! | how good a model is | [`eval`], with pictures by [`plot`] |
//!
//! ```
//! use fer_train::train::Config;
//!
//! let recipe = Config::preset("tiny")?;
//! assert_eq!(recipe, Config::parse(&recipe.to_toml()?, "a copy")?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod augment;
pub mod data;
pub mod eval;
pub mod export;
pub mod model;
pub mod plot;
pub mod train;
pub mod trained;
