//! Sysctls of the calling thread's network namespace, through `/proc/sys`.

use std::fs;
use std::path::PathBuf;

use crate::error::{Context, LabError};

/// Sets a sysctl, named with dots (`net.mptcp.enabled`) or slashes (for interface names with dots).
pub fn set(name: &str, value: &str) -> Result<(), LabError> {
    fs::write(path(name), value).context(|| format!("setting {name} to {value:?}"))
}

/// Reads a sysctl; without the line's end.
pub fn read(name: &str) -> Result<String, LabError> {
    let value = fs::read_to_string(path(name)).context(|| format!("reading {name}"))?;
    Ok(value.trim_end().to_owned())
}

fn path(name: &str) -> PathBuf {
    let name = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    PathBuf::from("/proc/sys").join(name)
}
