//! How a command ends when it does not succeed: bad input, or a failure that is reported.

/// Why a command did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CliError {
    /// Exit code 2.
    #[error("{0}")]
    BadInput(String),
    /// Exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    pub fn bad_input(text: impl Into<String>) -> Self {
        CliError::BadInput(text.into())
    }

    pub fn failed(text: impl Into<String>) -> Self {
        CliError::Failed(text.into())
    }

    /// The exit code of the process.
    pub fn code(&self) -> u8 {
        match self {
            CliError::BadInput(_) => 2,
            CliError::Failed(_) => 1,
        }
    }
}
