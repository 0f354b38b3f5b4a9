//! The interface of packetdrill, and the commands of its scripts.

use std::process::Command;

use crate::installed::{Linked, compile, folder, has_tool, prefix, succeed};

#[test]
fn a_script_reaches_the_stack_by_calls_packets_and_commands() {
    let source = folder().join("tests/c/packetdrill.c");
    // It is linked with nothing of the library.
    let Some(program) = compile(&source, Linked::Shared, &["-ldl"]) else { return };
    let tools = ["ip", "sysctl", "unshare"].iter().all(|name| has_tool(name));
    if !tools {
        return;
    }
    let wrappers = prefix().join("libexec/polytcp/packetdrill");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path =
        std::env::join_paths([wrappers].into_iter().chain(std::env::split_paths(&path))).expect("a path");
    let library = prefix().join("lib/libpolytcp.so.0");
    let output = succeed(Command::new("unshare").arg("-n").arg(&program).arg(library).env("PATH", path));
    assert_eq!(output.stdout, b"done\n");
}

#[test]
fn flags_that_are_wrong_are_told_in_one_line() {
    let Some(program) = compile(&folder().join("tests/c/packetdrill_flags.c"), Linked::Shared, &["-ldl"])
    else {
        return;
    };
    let output = Command::new(program)
        .arg(prefix().join("lib/libpolytcp.so.0"))
        .arg("net.ipv4.tcp_sack=7")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(error, "libpolytcp: so_flags: `net.ipv4.tcp_sack=7`: net.ipv4.tcp_sack: `7` is not 0 or 1\n");
}
