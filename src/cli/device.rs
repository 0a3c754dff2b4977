//! Where Burn computes.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

/// A backend of Burn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The CPU, by Burn's own kernels.
    Flex,
    /// The CPU, by the ndarray crate.
    #[cfg(feature = "ndarray")]
    Ndarray,
}

impl Backend {
    /// Its device, without autodiff.
    pub fn device(self) -> Device {
        match self {
            Self::Flex => Device::flex(),
            #[cfg(feature = "ndarray")]
            #[allow(
                deprecated,
                reason = "Burn means to drop this backend; it is here to compare with as long as it is there"
            )]
            Self::Ndarray => Device::ndarray(),
        }
    }
}

impl FromStr for Backend {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "flex" => Ok(Self::Flex),
            #[cfg(feature = "ndarray")]
            "ndarray" => Ok(Self::Ndarray),
            #[cfg(not(feature = "ndarray"))]
            "ndarray" => Err("this fer was built without ndarray; build it with `cargo build --release --features \
                              ndarray`"
                .into()),
            _ => Err(format!("'{s}' is no device; there are flex and ndarray")),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flex => "flex",
            #[cfg(feature = "ndarray")]
            Self::Ndarray => "ndarray",
        })
    }
}
