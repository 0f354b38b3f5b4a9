//! An installation in a temporary directory, and programs that are compiled against it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a program may take: far above what it needs under valgrind on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

/// The crate's folder.
pub(crate) fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a tool is there; where CI runs it has to be.
pub(crate) fn has_tool(name: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    if !found {
        let is_required = std::env::var_os("POLYTCP_REQUIRE_LAB").is_some_and(|value| value == "1");
        assert!(!is_required, "{name} is not installed");
        eprintln!("SKIPPED: {name} is not installed");
    }
    found
}

/// Runs a command to its end, which has to be good.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    output
}

/// Where the library is installed.
pub(crate) fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
        let archive = archive();
        succeed(Command::new(folder().join("install")).args([
            "--prefix".as_ref(),
            prefix.as_os_str(),
            "--archive".as_ref(),
            archive.as_os_str(),
            "--command".as_ref(),
            env!("CARGO_BIN_EXE_polytcp-packetdrill-command").as_ref(),
        ]));
        prefix
    })
}

/// The library that cargo has built for this test: it lies beside it, and the newest one is of the newest source, whatever
/// else was built since with other features.
fn archive() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let folder = own.parent().expect("a folder").read_dir().expect("the folder");
    let is_archive = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libpolytcp_capi") && name.ends_with(".a")
    };
    let archives = folder.map(|entry| entry.expect("an entry").path()).filter(is_archive);
    let age = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).expect("its age");
    archives.max_by_key(age).expect("cargo builds the static library too")
}

/// How a program is linked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Linked {
    Shared,
    Static,
}

fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    let output = succeed(
        command.env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig")).args(arguments).arg("polytcp"),
    );
    String::from_utf8(output.stdout).expect("text").split_whitespace().map(str::to_owned).collect()
}

/// Compiles a program as its users would; `None` where there is no pkg-config.
pub(crate) fn compile(source: &Path, linked: Linked, arguments: &[&str]) -> Option<PathBuf> {
    if !has_tool("pkg-config") {
        return None;
    }
    let name = source.file_stem().expect("a file").to_string_lossy();
    // Tests compile the same at the same time.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{number}"));
    let mut command = Command::new("cc");
    command.args(["-Wall", "-Wextra", "-Werror", "-g", "-o"]).arg(&program).args(arguments);
    command.args(pkg_config(&["--cflags"])).arg(source);
    match linked {
        Linked::Shared => {
            command.args(pkg_config(&["--libs"]));
            command.arg(format!("-Wl,-rpath,{}/lib", prefix().display()));
        }
        Linked::Static => {
            let libraries = pkg_config(&["--static", "--libs"]);
            command.args(libraries.iter().map(|library| library.replace("-lpolytcp", "-l:libpolytcp.a")));
        }
    }
    succeed(&mut command);
    Some(program)
}

/// A program that runs.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    /// Starts a program in the network namespace of the calling thread.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut stderr = child.stderr.take().expect("piped");
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).expect("text");
            text
        });
        Self { child, stdout, stderr: Some(stderr) }
    }

    /// The next line that it prints; at the end of its output what it said on stderr is told.
    pub(crate) fn expect_line(&mut self, expected: &str) {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text");
        if line.trim_end() != expected {
            panic!("{line:?} instead of {expected:?}: {}", self.end().1);
        }
    }

    fn end(&mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().expect("kill");
                self.child.wait().expect("wait");
                panic!("the program takes more than {LIMIT:?}");
            }
            std::thread::park_timeout(Duration::from_millis(5));
        };
        let stderr = self.stderr.take().map(|thread| thread.join().expect("no panic"));
        (status.code(), stderr.unwrap_or_default())
    }

    /// Waits until it ends well.
    pub(crate) fn finish(mut self) -> String {
        let (status, stderr) = self.end();
        assert_eq!(status, Some(0), "{stderr}");
        stderr
    }
}
