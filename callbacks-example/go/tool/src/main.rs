//! Two steps of building a component that the compiler does not do: `bindings WIT OUT` writes Go bindings of the world in
//! a WIT folder, `component WIT CORE OUT` makes a component of what the compiler made. With the tools of the Bytecode
//! Alliance installed, `wit-bindgen go` and `wasm-tools component embed` and `new` do the same.

use std::path::Path;

use anyhow::{Context, Result, bail};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

fn main() -> Result<()> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bindings", wit, out] => bindings(wit, Path::new(out)),
        ["component", wit, core, out] => component(wit, core, out),
        _ => bail!("usage: component-tool bindings WIT OUT | component WIT CORE OUT"),
    }
}

/// The only world of the package in a folder; what it uses lies in the folder's `deps/`.
fn world(wit: &str) -> Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).with_context(|| format!("cannot read {wit}"))?;
    let world = resolve.select_world(&[package], None)?;
    Ok((resolve, world))
}

fn bindings(wit: &str, out: &Path) -> Result<()> {
    let (mut resolve, world) = world(wit)?;
    let mut files = Files::default();
    wit_bindgen_go::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    for (name, content) in files.iter() {
        let path = out.join(name.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap_or(out))?;
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn component(wit: &str, core: &str, out: &str) -> Result<()> {
    let (resolve, world) = world(wit)?;
    let mut module = std::fs::read(core).with_context(|| format!("cannot read {core}"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    let component = ComponentEncoder::default()
        .module(&module)?
        // Go speaks the WASI of before components.
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
        .validate(true)
        .encode()?;
    std::fs::write(out, component).with_context(|| format!("cannot write {out}"))
}
