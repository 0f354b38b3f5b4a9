//! `polytcp bench --peer smoltcp` and `--peer mptcp-rs` where the source of the other stacks is not at hand.

mod support;

use support::{command, finish};

#[test]
fn without_the_source_of_the_other_stacks_one_line_says_so() {
    for peer in ["smoltcp", "mptcp-rs"] {
        let child = command(&["bench", "--peer", peer])
            // Nothing is above it.
            .current_dir("/")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the command starts");
        let ran = finish(child, b"");
        assert_eq!((ran.status, ran.stdout.as_slice()), (Some(2), &b""[..]), "{peer}: {ran:?}");
        assert!(ran.only_line().contains("--bench-peers"), "{peer}: {ran:?}");
    }
}
