//! Burn's devices: the CPU, or a GPU that this build and this machine support
//! ([`DeviceSpec::open`], [`list`]). Nothing replaces a requested device.

mod error;
mod list;

pub use error::{DeviceError, ParseDeviceError};
pub use list::{Card, Listed, cards, examine, list};

use std::fmt;
use std::str::FromStr;

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};

use fer_core::panics;

/// A backend of Burn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Backend {
    /// The CPU, with Burn's own kernels and fer's.
    #[default]
    Flex,
    /// The CPU, with the ndarray crate.
    Ndarray,
    /// A GPU of any maker, through Vulkan, Metal or DirectX.
    Wgpu,
    /// A GPU of any maker, through Vulkan only.
    Vulkan,
    /// An NVIDIA GPU, through CUDA.
    Cuda,
}

impl Backend {
    /// All backends, whether built in or not.
    pub const ALL: [Self; 5] = [
        Self::Flex,
        Self::Ndarray,
        Self::Wgpu,
        Self::Vulkan,
        Self::Cuda,
    ];

    /// Whether this build includes it.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Flex => true,
            Self::Ndarray => cfg!(feature = "ndarray"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// Whether it computes on the CPU.
    pub fn is_cpu(self) -> bool {
        matches!(self, Self::Flex | Self::Ndarray)
    }

    /// Its Cargo feature.
    pub fn feature(self) -> &'static str {
        match self {
            Self::Flex => "default",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Cuda => "cuda",
        }
    }

    /// Its devices on this machine, in the order of their indices.
    fn devices(self) -> Vec<Device> {
        match self {
            Self::Flex => vec![Device::flex()],
            #[cfg(feature = "ndarray")]
            #[allow(
                deprecated,
                reason = "Burn plans to remove this backend; until then it serves comparisons"
            )]
            Self::Ndarray => vec![Device::ndarray()],
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec(),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Device::enumerate(burn::tensor::DeviceType::Vulkan).into_vec(),
            #[cfg(feature = "cuda")]
            Self::Cuda => Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec(),
            #[allow(unreachable_patterns, reason = "a build may have all of them")]
            _ => Vec::new(),
        }
    }

    /// What a machine needs for it, in words.
    pub fn needs(self) -> &'static str {
        match self {
            Self::Flex | Self::Ndarray => "a CPU",
            Self::Wgpu => "a GPU's driver with Vulkan, Metal or DirectX 12",
            Self::Vulkan => "a GPU's driver with Vulkan",
            Self::Cuda => "an NVIDIA GPU and its driver, and CUDA's runtime compiler, NVRTC",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Cuda => "cuda",
        })
    }
}

/// A backend and one of its devices: `flex`, `wgpu`, `cuda:1`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceSpec {
    /// The backend.
    pub backend: Backend,
    /// The device's index, from 0.
    pub index: usize,
}

/// A working device.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The requested device.
    pub choice: DeviceSpec,
    /// Burn's handle, without autodiff.
    pub device: Device,
    /// The choice, and the device's own name if it has one: `vulkan, NVIDIA H100 PCIe`.
    pub name: String,
}

impl Opened {
    /// Whether it is the CPU.
    pub fn is_cpu(&self) -> bool {
        is_cpu(&self.device)
    }
}

impl DeviceSpec {
    /// Opens the device and lets it compute something.
    ///
    /// # Errors
    /// The build or the machine lacks it, or it does not work.
    pub fn open(self) -> Result<Opened, DeviceError> {
        if !self.backend.is_built_in() {
            return Err(DeviceError::NotBuiltIn { choice: self });
        }
        let fails = |reason| DeviceError::DoesNotStart {
            choice: self,
            reason,
        };
        let found = panics::caught(|| self.backend.devices()).map_err(fails)?;
        let device = match (found.get(self.index), found.len()) {
            (Some(device), _) => device.clone(),
            (None, 0) => return Err(DeviceError::None { choice: self }),
            (None, found) => {
                return Err(DeviceError::NoSuch {
                    choice: self,
                    found,
                });
            }
        };
        let sum = panics::caught(|| sum(&device))
            .and_then(|sum| sum)
            .map_err(fails)?;
        if sum != 6.0 {
            return Err(fails(format!("it computes 1 + 2 + 3 as {sum}")));
        }
        let name = match identity(&device) {
            Some((own, _)) => format!("{self}, {own}"),
            None => self.to_string(),
        };
        Ok(Opened {
            choice: self,
            device,
            name,
        })
    }
}

/// A small sum, computed on the device.
fn sum(device: &Device) -> Result<f32, String> {
    let sum = Tensor::<1>::from_floats([1.0, 2.0, 3.0], device).sum();
    sum.try_into_scalar().map_err(|e| e.to_string())
}

/// The device's own name and its place on the PCI bus, unless it is the CPU.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn identity(device: &Device) -> Option<(String, Option<String>)> {
    let identity = device.identity()?;
    Some((
        identity.name,
        identity
            .physical
            .and_then(|p| p.pci_address)
            .map(|address| address.to_string()),
    ))
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn identity(_: &Device) -> Option<(String, Option<String>)> {
    None
}

/// Runs a computation on a device. Burn panics when something fails on a GPU, for example if memory
/// runs out. Such panics become errors. On the CPU a panic is a bug, and stays a panic.
///
/// # Errors
/// The message of the device's failure.
pub fn computed<T>(device: &Device, work: impl FnOnce() -> T) -> Result<T, String> {
    if is_cpu(device) {
        Ok(work())
    } else {
        panics::caught(work)
    }
}

/// Whether a device is the CPU.
pub fn is_cpu(device: &Device) -> bool {
    match device.as_dispatch().clone().inner() {
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        #[allow(unreachable_patterns, reason = "a build may have no others")]
        _ => false,
    }
}

impl FromStr for DeviceSpec {
    type Err = ParseDeviceError;
    fn from_str(s: &str) -> Result<Self, ParseDeviceError> {
        let (name, index) = s
            .split_once(':')
            .map_or((s, None), |(name, index)| (name, Some(index)));
        let backend = Backend::ALL
            .into_iter()
            .find(|b| b.to_string() == name)
            .ok_or_else(|| ParseDeviceError::Unknown { name: s.into() })?;
        let Some(index) = index else {
            return Ok(Self { backend, index: 0 });
        };
        match index.parse::<u16>() {
            Ok(index) if !backend.is_cpu() => Ok(Self {
                backend,
                index: index.into(),
            }),
            Ok(_) => Err(ParseDeviceError::Cpu { backend }),
            Err(_) => Err(ParseDeviceError::Number {
                backend,
                index: index.into(),
            }),
        }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            0 => write!(f, "{}", self.backend),
            index => write!(f, "{}:{index}", self.backend),
        }
    }
}

/// One device, or several GPUs of one backend: `flex`, `cuda:1`, `cuda:0,1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices(Vec<DeviceSpec>);

impl Default for Choices {
    fn default() -> Self {
        Self(vec![DeviceSpec::default()])
    }
}

impl Choices {
    /// Opens the devices, in this order.
    ///
    /// # Errors
    /// As [`DeviceSpec::open`], for the first device that can't be opened.
    pub fn open(&self) -> Result<Vec<Opened>, DeviceError> {
        self.0.iter().map(|choice| choice.open()).collect()
    }
}

impl FromStr for Choices {
    type Err = ParseDeviceError;
    fn from_str(s: &str) -> Result<Self, ParseDeviceError> {
        let mut parts = s.split(',');
        let first: DeviceSpec = parts.next().unwrap_or_default().parse()?;
        let mut all = vec![first];
        for index in parts {
            let choice: DeviceSpec = format!("{}:{index}", first.backend).parse()?;
            if all.contains(&choice) {
                return Err(ParseDeviceError::Twice {
                    text: s.into(),
                    choice,
                });
            }
            all.push(choice);
        }
        Ok(Self(all))
    }
}

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [one] => one.fmt(f),
            several => {
                let numbers: Vec<String> = several
                    .iter()
                    .map(|choice| choice.index.to_string())
                    .collect();
                write!(
                    f,
                    "{}:{}",
                    several.first().map(|c| c.backend).unwrap_or_default(),
                    numbers.join(",")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_devices_are_of_one_backend() {
        let rows = [
            ("flex", Ok(1)),
            ("cuda:0,1", Ok(2)),
            ("cuda:3,0,1", Ok(3)),
            ("wgpu:1", Ok(1)),
            ("cuda:0,0", Err("twice")),
            ("cuda,cuda", Err("is not a device number")),
            ("cuda:0,", Err("is not a device number")),
            ("flex,1", Err("takes no device number")),
            ("cuda:0,wgpu:1", Err("is not a device number")),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(
                |(text, expected)| match (text.parse::<Choices>(), expected) {
                    (Ok(found), Ok(count)) => found.0.len() != *count || found.to_string() != *text,
                    (Err(found), Err(part)) => !found.to_string().contains(part),
                    _ => true,
                },
            )
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn choices_are_read_and_written() {
        let choice = |backend, index| Ok(DeviceSpec { backend, index });
        let rows = [
            ("flex", choice(Backend::Flex, 0)),
            ("wgpu", choice(Backend::Wgpu, 0)),
            ("cuda:3", choice(Backend::Cuda, 3)),
            ("vulkan:1", choice(Backend::Vulkan, 1)),
            ("tpu", Err("the devices are flex")),
            ("cuda:", Err("is not a device number")),
            ("cuda:-1", Err("is not a device number")),
            ("cuda:99999", Err("is not a device number")),
            ("flex:1", Err("takes no device number")),
            ("", Err("the devices are flex")),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(
                |(text, expected)| match (text.parse::<DeviceSpec>(), expected) {
                    (Ok(found), Ok(expected)) => found != *expected || found.to_string() != *text,
                    (Err(found), Err(part)) => !found.to_string().contains(part),
                    _ => true,
                },
            )
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn the_cpu_is_always_there_and_what_is_not_built_in_says_so() {
        assert_eq!(
            DeviceSpec::default()
                .open()
                .map(|o| o.name)
                .map_err(|e| e.to_string()),
            Ok("flex".into())
        );
        for backend in Backend::ALL.into_iter().filter(|b| !b.is_built_in()) {
            let error = DeviceSpec { backend, index: 0 }
                .open()
                .map(|o| o.name)
                .unwrap_err()
                .to_string();
            let feature = format!("Cargo feature {}", backend.feature());
            assert!(error.contains(&feature), "{error}");
        }
    }
}
