//! Compiles the default policy (`../guest`) to a component and hands its path to the host as `HAUL_POLICY`; embeds the example
//! components (`../callbacks-example`) and the contract (`../wit`) for `haul callbacks new`.
//!
//! Where `HAUL_POLICY_WASM` names a file (packagers), that is the policy instead.

use std::env;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

fn main() {
    println!("cargo::rerun-if-env-changed=HAUL_POLICY_WASM");
    // Tests start thousands of processes: a debug build lies at a fixed address, or each would first relocate 250,000 words.
    if variable("PROFILE") == "debug" {
        println!("cargo::rustc-link-arg=-no-pie");
    }
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let policy = if let Some(path) = env::var_os("HAUL_POLICY_WASM") {
        given(Path::new(&path))
    } else {
        compiled(&here.join("../guest"), Path::new(&variable("OUT_DIR")))
    };
    println!("cargo::rustc-env=HAUL_POLICY={}", policy.display());
    let templates = templates(&here.join("../callbacks-example"), &here.join("../wit"));
    if let Err(error) = std::fs::write(Path::new(&variable("OUT_DIR")).join("templates.rs"), templates) {
        fail(&format!("cannot write the templates: {error}"));
    }
}

/// What toolchains leave in a folder, beside what its own .gitignore names.
const MADE: [&str; 5] = ["target", "node_modules", ".tools", "__pycache__", ".venv"];

/// Rust source of the tables of `haul callbacks new`: one template for each folder of the examples.
fn templates(examples: &Path, contract: &Path) -> String {
    let mut source = String::from("static TEMPLATES: &[Template] = &[\n");
    for folder in entries(examples).into_iter().filter(|entry| entry.is_dir()) {
        let ignored = std::fs::read_to_string(folder.join(".gitignore")).unwrap_or_default();
        let ignored: Vec<&str> = ignored.lines().map(|line| line.trim().trim_matches('/')).collect();
        let language = folder.file_name().unwrap_or_default();
        let _ = writeln!(source, "Template {{ language: {language:?}, files: &{} }},", files(&folder, &ignored, true));
    }
    println!("cargo::rerun-if-changed={}", examples.join("README.md").display());
    let _ = writeln!(source, "];\nstatic CONTRACT: &[TemplateFile] = &{};", files(contract, &[], false));
    source
}

/// The files in a folder, or (`deep`) below it, as a Rust array.
fn files(folder: &Path, ignored: &[&str], deep: bool) -> String {
    let mut array = String::from("[\n");
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(next) = waiting.pop() {
        let entries = entries(&next);
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let made = |path: &&PathBuf| {
            let name = name(path);
            MADE.contains(&name.as_str()) || ignored.contains(&name.as_str()) || name.ends_with(".wasm")
        };
        // A folder that is built in changes all the time: there only the files that are taken are looked at.
        if !entries.iter().any(|path| made(&path)) {
            println!("cargo::rerun-if-changed={}", next.display());
        }
        for path in entries.iter().filter(|path| !made(path)) {
            if path.is_dir() {
                waiting.extend(deep.then(|| path.clone()));
                continue;
            }
            println!("cargo::rerun-if-changed={}", path.display());
            let below = path.strip_prefix(folder).unwrap_or(path);
            let program = path.metadata().is_ok_and(|data| data.permissions().mode() & 0o111 != 0);
            let full = path.canonicalize().unwrap_or_else(|_| path.clone());
            let _ = writeln!(
                array,
                "TemplateFile {{ path: {below:?}, content: include_bytes!({full:?}), program: {program} }},"
            );
        }
    }
    array + "]"
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort(); // so that the same sources make the same program
    paths
}

fn given(path: &Path) -> PathBuf {
    let Ok(path) = path.canonicalize() else {
        fail(&format!("there is no policy at {}", path.display()));
    };
    println!("cargo::rerun-if-changed={}", path.display());
    path
}

fn compiled(guest: &Path, target_dir: &Path) -> PathBuf {
    for source in ["src", "Cargo.toml", "../wit"] {
        println!("cargo::rerun-if-changed={}", guest.join(source).display());
    }
    if !has_wasm_target() {
        fail("the target wasm32-wasip2 is missing: run `rustup target add wasm32-wasip2`");
    }
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .args(["build", "--profile=guest", "--target=wasm32-wasip2", "--lib"])
        .arg("--manifest-path")
        .arg(guest.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir);
    // Flags and wrappers of this build (coverage, clippy, caches) are meant for the host.
    for name in [
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
    ] {
        cargo.env_remove(name);
    }
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(_) => fail("cannot compile the policy (../guest); the compiler's messages are above"),
        Err(error) => fail(&format!("cannot run cargo for the policy: {error}")),
    }
    target_dir.join("wasm32-wasip2/guest/haul_policy.wasm")
}

fn has_wasm_target() -> bool {
    let output =
        Command::new(variable("RUSTC")).args(["--print", "target-libdir", "--target", "wasm32-wasip2"]).output();
    output.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout);
        output.status.success() && Path::new(folder.trim()).is_dir()
    })
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("cargo did not set {name}")))
}

/// Ends the build with one line instead of a backtrace: cargo fails on `cargo::error`, whatever the exit code.
fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    #[allow(clippy::disallowed_methods)] // a build script has nothing to close
    exit(0)
}
