//! Why a lab could not be set up or used.

use std::io;

use polytcp_control::ControlError;

/// Why a step failed. Prints as one line that names the step.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// The step.
        what: String,
        /// The reason.
        source: io::Error,
    },
    /// The kernel refused a netlink request.
    #[error("{what}: {source}")]
    Netlink {
        /// The step.
        what: String,
        /// The reason.
        source: ControlError,
    },
}

/// Names the step that failed.
pub(crate) trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T> Context<T> for Result<T, io::Error> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|source| LabError::System { what: what(), source })
    }
}

impl<T> Context<T> for Result<T, rustix::io::Errno> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(io::Error::from).context(what)
    }
}

impl<T> Context<T> for Result<T, ControlError> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|source| LabError::Netlink { what: what(), source })
    }
}
