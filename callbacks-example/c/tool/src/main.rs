//! Two steps of building a component that the compiler does not do: `bindings WIT OUT` writes C bindings of the world in
//! a WIT folder, `component CORE OUT` makes a component of what the compiler made. With the tools of the Bytecode
//! Alliance installed, `wit-bindgen c` and `wasm-tools component new` do the same.

use std::path::Path;

use anyhow::{Context, Result, bail};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;
use wit_component::ComponentEncoder;

fn main() -> Result<()> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bindings", wit, out] => bindings(wit, Path::new(out)),
        ["component", core, out] => component(core, out),
        _ => bail!("usage: component-tool bindings WIT OUT | component CORE OUT"),
    }
}

/// Of the only world in a folder; what it uses lies in the folder's `deps/`.
fn bindings(wit: &str, out: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).with_context(|| format!("cannot read {wit}"))?;
    let world = resolve.select_world(&[package], None)?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    for (name, content) in files.iter() {
        let path = out.join(name.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap_or(out))?;
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The bindings' object file has put the world into the module.
fn component(core: &str, out: &str) -> Result<()> {
    let module = std::fs::read(core).with_context(|| format!("cannot read {core}"))?;
    let component = ComponentEncoder::default()
        .module(&module)?
        // The C library speaks the WASI of before components.
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
        .validate(true)
        .encode()?;
    std::fs::write(out, component).with_context(|| format!("cannot write {out}"))
}
