//! The header and what is exported are the same, and the header is what the source says.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::installed::{Linked, compile, folder, has_tool, prefix, succeed};

fn output(command: &mut Command) -> String {
    String::from_utf8(succeed(command).stdout).expect("text")
}

/// The functions that the header declares.
fn declared() -> BTreeSet<String> {
    let header = fs::read_to_string(folder().join("include/polytcp.h")).expect("the header");
    let code = header.lines().filter(|line| !line.trim_start().starts_with(['*', '/', '#']));
    let name = |line: &str| {
        let (before, _) = line.split_once('(')?;
        let name = before.rsplit([' ', '*']).next()?;
        name.starts_with("pt_").then(|| name.to_owned())
    };
    code.filter_map(name).collect()
}

#[test]
fn the_header_is_what_the_source_says() {
    if !has_tool("cbindgen") {
        return;
    }
    let made = output(&mut Command::new(folder().join("header")));
    let kept = fs::read_to_string(folder().join("include/polytcp.h")).expect("the header");
    assert!(made == kept, "run crates/capi/header >crates/capi/include/polytcp.h");
}

#[test]
fn exactly_the_headers_functions_are_exported_with_their_version() {
    let library = prefix().join("lib/libpolytcp.so.0");
    let symbols =
        output(Command::new("nm").args(["-D", "--defined-only", "--with-symbol-versions"]).arg(&library));
    let exported: BTreeSet<_> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .filter(|symbol| *symbol != "POLYTCP_0")
        .map(str::to_owned)
        .collect();
    let expected: BTreeSet<_> = declared()
        .iter()
        .map(String::as_str)
        // packetdrill looks for it by name.
        .chain(["packetdrill_interface_init"])
        .map(|name| format!("{name}@@POLYTCP_0"))
        .collect();
    assert_eq!(exported, expected);
    assert!(expected.contains("pt_fcntl@@POLYTCP_0"), "also what is declared by hand");
    let dynamic = output(Command::new("readelf").args(["-d", "--wide"]).arg(&library));
    assert!(dynamic.contains("Library soname: [libpolytcp.so.0]"), "{dynamic}");
}

#[test]
fn every_function_of_the_header_has_a_name_of_bsd_in_the_mapping() {
    let mapping = fs::read_to_string(folder().join("include/polytcp_bsd.h")).expect("the header");
    for name in declared().iter().filter(|name| !name.starts_with("pt_stack") && *name != "pt_socket_on") {
        let bsd = name.trim_start_matches("pt_");
        assert!(mapping.contains(&format!("\n#define {bsd} {name}\n")), "{name}");
    }
}

#[test]
fn the_example_compiles_without_warnings_and_needs_what_it_is_linked_with() {
    let source = prefix().join("share/doc/polytcp/examples/echo_client.c");
    for linked in [Linked::Shared, Linked::Static] {
        let Some(program) = compile(&source, linked, &["-std=c11", "-pedantic"]) else { return };
        let needed = output(Command::new("readelf").args(["-d", "--wide"]).arg(program));
        assert_eq!(needed.contains("[libpolytcp.so.0]"), linked == Linked::Shared, "{needed}");
    }
}

#[test]
fn the_headers_are_good_cpp() {
    if !has_tool("c++") {
        return;
    }
    let flag = format!("-I{}", prefix().join("include").display());
    let arguments = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-x", "c++"];
    succeed(Command::new("c++").args(arguments).arg(flag).arg(prefix().join("include/polytcp.h")));
}
