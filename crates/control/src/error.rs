//! What can go wrong between a client and a path manager.

use std::io;

use polytcp_proto::pm::command::PmError;

/// Why a command or a subscription failed. Each prints as one line.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The netlink socket failed.
    #[error("netlink socket: {0}")]
    Socket(#[from] io::Error),
    /// The kernel does not offer the family: it has no MPTCP.
    #[error("this kernel has no generic-netlink family {0} (MPTCP is missing or not loaded)")]
    NoFamily(&'static str),
    /// The path manager refused the command.
    #[error("{}", refusal(.0))]
    Refused(PmError),
    /// A message could not be understood.
    #[error("malformed netlink message: {0}")]
    Malformed(Malformed),
    /// No answer came in time.
    #[error("no answer from the path manager within {0} seconds")]
    NoAnswer(u64),
    /// Events were dropped because they were not read fast enough.
    #[error("events were lost: the receive buffer overflowed")]
    EventsLost,
}

/// What is wrong with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// A header or an attribute is longer than what holds it.
    #[error("a length exceeds the message")]
    Length,
    /// An attribute has another size than its type.
    #[error("attribute {0} has the wrong size")]
    AttributeSize(u16),
    /// An attribute is missing.
    #[error("attribute {0} is missing")]
    AttributeMissing(u16),
    /// The address family is neither IPv4 nor IPv6.
    #[error("address family {0} is unknown")]
    Family(u16),
    /// The command or event number is unknown.
    #[error("command {0} is unknown")]
    Command(u8),
}

impl From<Malformed> for ControlError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

fn refusal(error: &PmError) -> String {
    let system = io::Error::from_raw_os_error(error.errno);
    if error.text.is_empty() { system.to_string() } else { format!("{}: {system}", error.text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_prints_the_kernels_text_and_the_error_number() {
        let error = ControlError::Refused(PmError::new(22, "missing address ID"));
        assert_eq!(error.to_string(), "missing address ID: Invalid argument (os error 22)");
        let error = ControlError::Refused(PmError::new(17, ""));
        assert_eq!(error.to_string(), "File exists (os error 17)");
    }
}
