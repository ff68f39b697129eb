//! Compiles the default policy (`../guest`) to a component and hands its path to the host as `HAUL_POLICY`.
//!
//! Three sources, in this order: the file that `HAUL_POLICY_WASM` names (packagers), `../guest` (a checkout),
//! `policy.wasm` beside `Cargo.toml` (a published crate).

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

fn main() {
    println!("cargo::rerun-if-env-changed=HAUL_POLICY_WASM");
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let policy = if let Some(path) = env::var_os("HAUL_POLICY_WASM") {
        given(Path::new(&path))
    } else if here.join("../guest/Cargo.toml").exists() {
        compiled(&here.join("../guest"), Path::new(&variable("OUT_DIR")))
    } else {
        given(&here.join("policy.wasm"))
    };
    println!("cargo::rustc-env=HAUL_POLICY={}", policy.display());
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
