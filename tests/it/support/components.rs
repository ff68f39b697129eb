//! Builds the components that tests attach: those of tests/components, and the example that users copy. Once per process,
//! by cargo, into the workspace's own target directory: nothing built is committed. `tests/run` has built them all before the
//! first test and says so; each test by itself would ask cargo again whether there is anything to do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A component of tests/components, by its name there, e.g. `traps`.
#[allow(dead_code)]
pub(crate) fn component(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let target = BUILT.get_or_init(|| build("tests/components", &["--examples"]));
    target.join("examples").join(format!("{}.wasm", name.replace('-', "_")))
}

/// A component of WASI 0.3, by its name in tests/components/wasi-0-3, e.g. `waits`.
#[allow(dead_code)]
pub(crate) fn component_0_3(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let target = BUILT.get_or_init(|| build("tests/components/wasi-0-3", &["--examples"]));
    target.join("examples").join(format!("{}.wasm", name.replace('-', "_")))
}

/// The component of callbacks-example/rust.
#[allow(dead_code)]
pub(crate) fn example() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let target = BUILT.get_or_init(|| build("callbacks-example/rust", &["--lib"]));
    target.join("haul_callbacks_example.wasm")
}

/// The component of callbacks-example in a language: the name of a folder there, or `whole-` and that for the one that
/// tests/components/whole makes of it. `tests/languages` builds it; the first time that takes minutes, most of them for the
/// toolchain.
#[allow(dead_code)]
pub(crate) fn language(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("there is no root");
    if !all_are_built() {
        let status = Command::new(root.join("tests/languages")).arg(name).status().expect("cannot run tests/languages");
        assert!(status.success(), "cannot build callbacks-example/{name}; what it said is above");
    }
    root.join("target/languages").join(format!("{name}.wasm"))
}

fn all_are_built() -> bool {
    std::env::var_os("HAUL_TESTS_BUILT").is_some()
}

/// Builds a crate for wasm32-wasip2 and answers the directory of the result.
fn build(crate_dir: &str, what: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("target").join("test-components");
    let built = target.join("wasm32-wasip2").join("release");
    if all_are_built() {
        return built;
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--release", "--target=wasm32-wasip2", "--quiet"])
        .args(what)
        .arg("--manifest-path")
        .arg(root.join(crate_dir).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target);
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    let status = cargo.status().expect("cannot run cargo");
    assert!(status.success(), "cannot build {crate_dir}: is wasm32-wasip2 installed?");
    built
}
