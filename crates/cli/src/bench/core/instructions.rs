//! Instructions of the cases, which a busy machine does not change: counted by callgrind in a process of its own.

use std::process::Command;

use serde::Serialize;

use super::case::Case;
use crate::failure::Failure;
use crate::{Outcome, output, units};

/// Two transfers, of which the difference counts: what a start costs is in both.
const SIZES: [u64; 2] = [16 << 20, 48 << 20];

#[derive(Serialize)]
struct Report {
    cases: Vec<Figure>,
}

#[derive(Serialize)]
struct Figure {
    name: String,
    instructions_per_byte: f64,
    instructions_per_segment: f64,
}

pub(super) fn run(cases: &[Case], json: bool) -> Outcome {
    let mut figures = Vec::new();
    for case in cases {
        let name = case.to_string();
        let [small, large] = [count(&name, SIZES[0])?, count(&name, SIZES[1])?];
        let instructions = large.instructions.saturating_sub(small.instructions) as f64;
        let figure = Figure {
            instructions_per_byte: units::rounded(instructions / (SIZES[1] - SIZES[0]) as f64),
            instructions_per_segment: units::rounded(
                instructions / large.segments.saturating_sub(small.segments).max(1) as f64,
            ),
            name,
        };
        if !json {
            output::line(&format!(
                "{:<29} {:>9.4} instructions per byte {:>9.0} per segment",
                figure.name, figure.instructions_per_byte, figure.instructions_per_segment
            ));
        }
        figures.push(figure);
    }
    if json { output::json(&Report { cases: figures }) } else { Ok(()) }
}

struct Counted {
    /// Without those that copy memory, which callgrind counts by the octet where the processor has an instruction for it.
    instructions: u64,
    segments: u64,
}

fn count(case: &str, size: u64) -> Result<Counted, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::Run(format!("own program: {error}")))?;
    let profile = std::env::temp_dir().join(format!("polytcp-core-{}.callgrind", std::process::id()));
    let said = tool(
        "valgrind",
        Command::new("valgrind")
            .args(["--quiet", "--tool=callgrind"])
            .arg(format!("--callgrind-out-file={}", profile.display()))
            .arg(program)
            .args(["bench", "core", "--once", case, "--size", &size.to_string()]),
    );
    let told = said.and_then(|said| {
        let annotate = &mut Command::new("callgrind_annotate");
        Ok((said, tool("callgrind_annotate", annotate.args(["--threshold=100", "--auto=no"]).arg(&profile))?))
    });
    let _ = std::fs::remove_file(&profile);
    let (said, told) = told?;
    let segments = said.lines().find_map(|line| line.strip_prefix("segments ")?.trim().parse().ok());
    match total_without_copies(&told).zip(segments) {
        Some((instructions, segments)) => Ok(Counted { instructions, segments }),
        None => Err(Failure::Run(format!("{case} under callgrind told no count"))),
    }
}

/// What it prints; its last line of complaint if it fails.
fn tool(name: &str, command: &mut Command) -> Result<String, Failure> {
    let ran = command.output().map_err(|error| {
        Failure::Setup(format!("{name}: {error}; valgrind counts the instructions, install it"))
    })?;
    if !ran.status.success() {
        let told = String::from_utf8_lossy(&ran.stderr);
        return Err(Failure::Run(format!("{name}: {}", told.lines().last().unwrap_or("it failed"))));
    }
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// Of the lines `12,345 (6.7%)  file:function [object]` that of the program less those of memcpy, memmove and memset.
fn total_without_copies(annotated: &str) -> Option<u64> {
    let counts = annotated.lines().filter_map(|line| {
        let (count, rest) = line.trim_start().split_once(' ')?;
        Some((count.replace(',', "").parse::<u64>().ok()?, rest))
    });
    let (mut total, mut copies) = (None, 0);
    for (count, rest) in counts {
        if rest.contains("PROGRAM TOTALS") {
            total = Some(count);
        } else if ["memcpy", "memmove", "memset"].iter().any(|name| rest.contains(name)) {
            copies += count;
        }
    }
    total?.checked_sub(copies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_left_out_of_what_callgrind_counts() {
        let annotated = "Events shown: Ir\n1,234,567 (100.0%)  PROGRAM TOTALS\n\nIr  file:function\n\
            1,000,000 (81.00%)  ./string/memmove-vec.S:__memcpy_avx_unaligned_erms [libc.so.6]\n  \
            34,000 ( 2.75%)  src/send.rs:poll_transmit [polytcp]\n   4,567 ( 0.37%)  ???:memset [libc.so.6]\n";
        assert_eq!(total_without_copies(annotated), Some(230_000));
        assert_eq!(total_without_copies("nothing"), None);
    }
}
