//! The polytcp command.

fn main() {}
