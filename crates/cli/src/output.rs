//! What goes to stdout.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Prints a line. A reader that has gone away is not told, and is no failure of ours.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints one JSON object on a line of its own.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(Failure::running("writing JSON"))?;
    writeln!(io::stdout().lock(), "{text}").map_err(Failure::running("writing to stdout"))
}
