use std::time::Duration;

/// Why a device did not do what it was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DeviceError {
    #[error("{device}: link down ({cause})")]
    Disconnected { device: String, cause: String },
    /// The command may or may not have been carried out: read the state back.
    #[error("{device}: no answer to {command} within {after:?}, outcome unknown")]
    OutcomeUnknown {
        device: String,
        command: String,
        after: Duration,
    },
    #[error("{device}: refused {command}: {message}")]
    Rejected {
        device: String,
        command: String,
        code: i32,
        message: String,
    },
    #[error("{device}: protocol violated: {what}")]
    Protocol { device: String, what: String },
    #[error("{device}: {quantity} {value} is outside {low} to {high}")]
    OutOfRange {
        device: String,
        quantity: &'static str,
        value: f64,
        low: f64,
        high: f64,
    },
    #[error("{device}: cannot {capability}")]
    Unsupported { device: String, capability: String },
}
