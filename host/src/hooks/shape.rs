//! The shape of a component: how much of everything it may have, counted before it is compiled (reliability.md E.2). The
//! validator's own limits are thousands of times higher. Judges no meaning: what is broken is told by who compiles it.
//!
//! Generous where interpreters need it: CPython and SpiderMonkey are components of 12 to 18 MiB.

use wasmparser::{Parser, Payload};

/// Functions of all core modules together.
const FUNCTIONS_MAX: u64 = 100_000;
const BODY_BYTES_MAX: usize = 1 << 20;
const LOCALS_MAX: u64 = 20_000;
const MODULES_MAX: u64 = 64;
const COMPONENTS_MAX: u64 = 64;
const INSTANCES_MAX: u64 = 1_000;
const TYPES_MAX: u64 = 50_000;
/// Components within components.
const DEPTH_MAX: usize = 8;

#[derive(Default)]
struct Counted {
    functions: u64,
    modules: u64,
    components: u64,
    instances: u64,
    types: u64,
    depth: usize,
}

/// Refuses a component that has too much of something. The error is a phrase that follows "it".
pub(super) fn check(wasm: &[u8]) -> Result<(), String> {
    let mut counted = Counted::default();
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(payload) = payload else { return Ok(()) };
        counted.add(&payload)?;
    }
    Ok(())
}

impl Counted {
    fn add(&mut self, payload: &Payload<'_>) -> Result<(), String> {
        match payload {
            Payload::FunctionSection(section) => {
                self.functions += u64::from(section.count());
                at_most(self.functions, FUNCTIONS_MAX, "functions")
            }
            Payload::CodeSectionEntry(body) => {
                let bytes = body.range().len();
                at_most(bytes as u64, BODY_BYTES_MAX as u64, "bytes of code in one function")?;
                let groups =
                    body.get_locals_reader().map_or(Vec::new(), |locals| locals.into_iter().flatten().collect());
                at_most(groups.iter().map(|(count, _)| u64::from(*count)).sum(), LOCALS_MAX, "locals in one function")
            }
            Payload::ModuleSection { .. } => {
                self.depth += 1;
                self.modules += 1;
                at_most(self.modules, MODULES_MAX, "core modules")
            }
            Payload::ComponentSection { .. } => {
                self.depth += 1;
                self.components += 1;
                at_most(self.components, COMPONENTS_MAX, "components in it")?;
                at_most(self.depth as u64, DEPTH_MAX as u64, "components within each other")
            }
            Payload::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                Ok(())
            }
            Payload::InstanceSection(section) => self.instances(section.count()),
            Payload::ComponentInstanceSection(section) => self.instances(section.count()),
            Payload::TypeSection(section) => self.types(section.count()),
            Payload::CoreTypeSection(section) => self.types(section.count()),
            Payload::ComponentTypeSection(section) => self.types(section.count()),
            _ => Ok(()),
        }
    }

    fn instances(&mut self, count: u32) -> Result<(), String> {
        self.instances += u64::from(count);
        at_most(self.instances, INSTANCES_MAX, "instances")
    }

    fn types(&mut self, count: u32) -> Result<(), String> {
        self.types += u64::from(count);
        at_most(self.types, TYPES_MAX, "types")
    }
}

fn at_most(count: u64, most: u64, what: &str) -> Result<(), String> {
    if count <= most { Ok(()) } else { Err(format!("has {count} {what}, at most {most} are taken")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_encoder::{
        CodeSection, Component, Function, FunctionSection, Module, ModuleSection, TypeSection, ValType,
    };

    /// A core module of so many functions, each of so many bytes and locals.
    fn module(functions: u32, bytes: usize, locals: u32) -> Module {
        let (mut types, mut declared, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
        types.ty().function([], []);
        for _ in 0..functions {
            declared.function(0);
            let mut function = Function::new([(locals, ValType::I32)]);
            function.raw(vec![0x01; bytes]); // nop
            function.instructions().end();
            code.function(&function);
        }
        let mut module = Module::new();
        module.section(&types).section(&declared).section(&code);
        module
    }

    fn within(module: &Module, depth: usize) -> Vec<u8> {
        let mut component = Component::new();
        component.section(&ModuleSection(module));
        for _ in 1..depth {
            let mut outer = Component::new();
            outer.section(&wasm_encoder::NestedComponentSection(&component));
            component = outer;
        }
        component.finish()
    }

    #[test]
    fn what_has_too_much_of_something_is_refused_before_it_is_compiled() {
        assert_eq!(check(&within(&module(1_000, 10, 10), 3)), Ok(()));
        for (wasm, words) in [
            (within(&module(100_001, 0, 0), 1), "100001 functions"),
            (within(&module(1, 1 << 20, 0), 1), "bytes of code in one function"),
            (within(&module(1, 0, 20_001), 1), "20001 locals"),
            (within(&module(1, 0, 0), 10), "components within each other"),
        ] {
            let told = check(&wasm).unwrap_err();
            assert!(told.contains(words) && told.contains("at most"), "{told}");
        }
    }
}
