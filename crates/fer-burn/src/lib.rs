//! What Burn computes on ([`device`]), and classifiers that Burn runs ([`BurnClassifier`]).
//!
//! ```
//! use fer_burn::device::DeviceSpec;
//!
//! let device: DeviceSpec = "cuda:1".parse()?;
//! assert!(!device.backend.is_cpu());
//! assert!("cuda:one".parse::<DeviceSpec>().is_err());
//! # Ok::<(), fer_burn::device::ParseDeviceError>(())
//! ```

mod classifier;
pub mod device;

pub use classifier::{BurnClassifier, Forward, describe, values};
