//! `POLYTCP_LOOM=1` builds the wait lists on loom's locks. The usual `RUSTFLAGS="--cfg loom"` would reach tokio as well, which has no
//! sockets then.

fn main() {
    println!("cargo::rerun-if-env-changed=POLYTCP_LOOM");
    println!("cargo::rustc-check-cfg=cfg(loom)");
    if std::env::var_os("POLYTCP_LOOM").is_some() {
        println!("cargo::rustc-cfg=loom");
    }
}
