//! The program in which the rivals run: a package outside the workspace, built when it is asked for, so that
//! nobody else ever compiles other stacks.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::failure::Failure;

const FOLDER: &str = "bench-peers";

/// Builds it, or finds that it is built, and says where it is.
pub(super) fn build(folder: Option<&Path>) -> Result<PathBuf, Failure> {
    let manifest = manifest(folder)?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked", "--quiet", "--message-format=json", "--manifest-path"])
        .arg(&manifest)
        .stderr(Stdio::inherit())
        .output()
        .map_err(Failure::setting_up("running cargo, which builds the other stacks"))?;
    if !built.status.success() {
        return Err(Failure::setup(format!("cargo cannot build {}", manifest.display())));
    }
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| Failure::setup(format!("cargo names no program of {}", manifest.display())))
}

fn manifest(folder: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(folder) = folder {
        let manifest = folder.join("Cargo.toml");
        return if manifest.is_file() {
            Ok(manifest)
        } else {
            Err(Failure::setup(format!("--bench-peers: there is no {}", manifest.display())))
        };
    }
    let here = env::current_dir().map_err(Failure::setting_up("asking for the current folder"))?;
    let found =
        here.ancestors().map(|above| above.join(FOLDER).join("Cargo.toml")).find(|path| path.is_file());
    found.ok_or_else(|| {
        Failure::setup(format!(
            "other stacks are built from source, and there is no {FOLDER} from here upwards: run this in the \
             repository, or name the folder with --bench-peers"
        ))
    })
}
