//! Getting to where the commands may make namespaces and devices.

use polytcp_lab::{Lab, enter};

use crate::failure::Failure;

/// Enters a user namespace of its own where the user is not root, and looks whether a lab can run.
/// To be called before any thread or device is made.
pub(crate) fn require() -> Result<(), Failure> {
    enter().map_err(|error| {
        Failure::setup(format!(
            "a user namespace cannot be made ({error}): run as root, or allow unprivileged user namespaces"
        ))
    })?;
    Lab::available().map_err(|missing| {
        Failure::setup(format!(
            "the kernel cannot be the peer here ({missing}): run as root with /dev/net/tun and a kernel with \
             MPTCP, or use `polytcp demo` without --peer linux"
        ))
    })
}
