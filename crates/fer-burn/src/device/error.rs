//! Devices that can't be used, and texts that name none, as types with fields.

use super::{Backend, DeviceSpec};

/// A device that was asked for and can't be used; one line that says why.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The backend is not part of this program.
    #[error(
        "device {choice}: this program was built without it (Cargo feature {})",
        .choice.backend.feature()
    )]
    NotBuiltIn {
        /// What was asked for.
        choice: DeviceSpec,
    },
    /// The machine has no such device at all.
    #[error("device {choice}: this machine has none; it takes {}", .choice.backend.needs())]
    None {
        /// What was asked for.
        choice: DeviceSpec,
    },
    /// The machine has fewer of them.
    #[error("device {choice}: this machine has {found} of them, numbered from 0")]
    NoSuch {
        /// What was asked for.
        choice: DeviceSpec,
        /// How many there are.
        found: usize,
    },
    /// It does not compute.
    #[error("device {choice} does not start: {reason}; it takes {}", .choice.backend.needs())]
    DoesNotStart {
        /// What was asked for.
        choice: DeviceSpec,
        /// What went wrong.
        reason: String,
    },
    /// It started, and failed when a model was loaded onto it.
    #[error("the device failed: {reason} (device {choice})")]
    Failed {
        /// What was asked for.
        choice: DeviceSpec,
        /// What went wrong.
        reason: String,
    },
}

/// A text that names no device, or devices that don't go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDeviceError {
    /// There is no backend of that name.
    #[error(
        "'{name}' is not a device; there are {}",
        Backend::ALL.map(|b| b.to_string()).join(", ")
    )]
    Unknown {
        /// The name.
        name: String,
    },
    /// What stands behind the colon is not a device's number.
    #[error("'{index}' is not a device number; {backend}:0 is the first")]
    Number {
        /// The backend.
        backend: Backend,
        /// What stands behind the colon.
        index: String,
    },
    /// The backend is the CPU, which has no numbers.
    #[error("{backend} has no numbers: it is the CPU, all of it")]
    Cpu {
        /// The backend.
        backend: Backend,
    },
    /// A device is named twice.
    #[error("'{text}' names {choice} twice")]
    Twice {
        /// The whole text.
        text: String,
        /// The device.
        choice: DeviceSpec,
    },
}
