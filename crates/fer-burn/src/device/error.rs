//! Devices that can't be used, and texts that name none, as types with fields.

use super::{Backend, DeviceSpec};

/// A requested device can't be used; one line that says why.
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
    /// The machine has no such device.
    #[error("device {choice}: this machine has none; it needs {}", .choice.backend.needs())]
    None {
        /// What was asked for.
        choice: DeviceSpec,
    },
    /// The machine has fewer such devices.
    #[error("device {choice}: this machine has {found} of them, numbered from 0")]
    NoSuch {
        /// What was asked for.
        choice: DeviceSpec,
        /// How many it has.
        found: usize,
    },
    /// It does not work.
    #[error("device {choice} does not start: {reason}; it needs {}", .choice.backend.needs())]
    DoesNotStart {
        /// What was asked for.
        choice: DeviceSpec,
        /// What went wrong.
        reason: String,
    },
    /// It started, but failed to load a model.
    #[error("the device failed: {reason} (device {choice})")]
    Failed {
        /// What was asked for.
        choice: DeviceSpec,
        /// What went wrong.
        reason: String,
    },
}

/// A text does not name a device, or names devices that can't be combined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDeviceError {
    /// There is no backend of that name.
    #[error(
        "'{name}' is not a device; the devices are {}",
        Backend::ALL.map(|b| b.to_string()).join(", ")
    )]
    Unknown {
        /// The name.
        name: String,
    },
    /// The text after the colon is not a device index.
    #[error("'{index}' is not a device number; {backend}:0 is the first")]
    Number {
        /// The backend.
        backend: Backend,
        /// The text after the colon.
        index: String,
    },
    /// The backend is the CPU, which has no indices.
    #[error("{backend} takes no device number: it is the whole CPU")]
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
