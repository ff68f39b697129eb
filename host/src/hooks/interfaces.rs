//! Names and versions of what a component exports and imports: what haul can make of it, before anything of it runs.

use wasmparser::{Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::functions::VERSION;
use super::{Grants, Hook, check};
use crate::error::Error;

const PACKAGE: &str = "haul:transfer/";
/// What the contract has beside hooks.
const OTHER_INTERFACES: [&str; 4] = ["types", "fetch", "log", "downloader"];
/// The packages that have the versions of WASI itself.
const WASI: [&str; 7] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/", "wasi:io/", "wasi:random/", "wasi:sockets/"];
/// What servers and middleware of wasi:http export.
const HANDLERS: [&str; 2] = ["wasi:http/incoming-handler", "wasi:http/handler"];

/// What a component says about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Interfaces {
    pub hooks: Vec<Hook>,
    /// Version of the contract in its first export, else in its first import.
    pub contract: Option<String>,
    pub imports: Vec<String>,
    pub other_exports: Vec<String>,
}

impl Interfaces {
    pub(super) fn of(engine: &Engine, component: &Component) -> Self {
        let ty = component.component_type();
        Self::gather(ty.exports(engine).map(|(name, _)| name), ty.imports(engine).map(|(name, _)| name))
    }

    /// The same of a component's bytes, before they are compiled. `None`: they cannot be read, which who compiles them tells.
    pub(super) fn read(wasm: &[u8]) -> Option<Self> {
        let (mut exports, mut imports, mut depth) = (Vec::new(), Vec::new(), 0_usize);
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.ok()? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        exports.push(export.ok()?.name.name);
                    }
                }
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        imports.push(import.ok()?.name.name);
                    }
                }
                _ => {}
            }
        }
        Some(Self::gather(exports.into_iter(), imports.into_iter()))
    }

    fn gather<'a>(exports: impl Iterator<Item = &'a str>, imports: impl Iterator<Item = &'a str>) -> Self {
        let mut found = Self::default();
        for name in exports {
            match hook(name) {
                Some(hook) => found.hooks.push(hook),
                None => found.other_exports.push(name.to_owned()),
            }
            found.note_version(name);
        }
        for name in imports {
            found.note_version(name);
            found.imports.push(name.to_owned());
        }
        found.hooks.sort();
        found
    }

    fn note_version(&mut self, name: &str) {
        if self.contract.is_none() && name.starts_with(PACKAGE) {
            self.contract = Some(version(name).unwrap_or("none").to_owned());
        }
    }

    /// Refuses another version of the contract, a component without hooks, and imports that nobody answers. `what`: the
    /// component, for the sentence.
    pub(super) fn check(&self, what: &str) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Component(format!("{what} {why}")));
        for name in self.other_exports.iter().chain(&self.imports) {
            if let Some(theirs) = foreign_version(name) {
                return refuse(format!(
                    "was built for haul:transfer@{theirs}, this haul speaks haul:transfer@{VERSION}: rebuild it against \
                     the wit/ folder of this version"
                ));
            }
        }
        if let Some((name, theirs)) = self.imports.iter().find_map(|name| Some((name, foreign_wasi(name)?))) {
            return refuse(format!(
                "imports `{name}`, and haul offers WASI 0.2 and 0.3, not {theirs}: build it for one of these (wasm32-wasip2)"
            ));
        }
        if self.hooks.is_empty() {
            let mut why = "exports no hook of haul:transfer, so there is nothing to ask it".to_owned();
            if self.other_exports.iter().any(|name| HANDLERS.iter().any(|handler| name.starts_with(handler))) {
                why.push_str(": it answers wasi:http requests, which haul does not serve; `on-request` steers its own");
            }
            if let Some(name) = self.other_exports.iter().find(|name| is_no_hook(name)) {
                why.push_str(&format!(": `{}` is none", check::text(name.clone())));
            }
            return refuse(why);
        }
        match self.imports.iter().find(|name| matches!(judge(name, &Grants::default()), Import::Unknown)) {
            Some(name) => refuse(format!("imports `{name}`, which haul does not offer")),
            None => Ok(()),
        }
    }
}

/// The hook that an export answers, if it is of a version we speak.
fn hook(name: &str) -> Option<Hook> {
    let interface = name.strip_prefix(PACKAGE)?;
    let (interface, version) = interface.split_once('@')?;
    speaks(version).then(|| Hook::from_name(interface))?
}

/// Whether an export looks like a hook and is none: nobody ever asks it, e.g. because its name is misspelt.
pub(super) fn is_no_hook(name: &str) -> bool {
    let Some(interface) = name.strip_prefix(PACKAGE) else { return false };
    let interface = interface.split('@').next().unwrap_or(interface);
    // Of another version it is refused, with a sentence about all of them.
    hook(name).is_none() && foreign_version(name).is_none() && !OTHER_INTERFACES.contains(&interface)
}

/// The version of an interface of the contract that we do not speak.
fn foreign_version(name: &str) -> Option<&str> {
    if !name.starts_with(PACKAGE) {
        return None;
    }
    let version = version(name).unwrap_or("(no version)");
    (!speaks(version)).then_some(version)
}

/// The version of an interface of WASI, when it is none of 0.2 and 0.3.
fn foreign_wasi(name: &str) -> Option<&str> {
    let is_wasi = WASI.iter().any(|package| name.starts_with(package));
    // Candidates of 0.3 (`0.3.0-rc-2025-09-16`) had other functions.
    let is_0_3 = |version: &str| version.strip_prefix("0.3.").is_some_and(|patch| patch.parse::<u32>().is_ok());
    version(name).filter(|version| is_wasi && !version.starts_with("0.2.") && !is_0_3(version))
}

fn version(name: &str) -> Option<&str> {
    name.split_once('@').map(|(_, version)| version)
}

/// Every 0.1.x: before 1.0 the second number tells what is compatible.
fn speaks(version: &str) -> bool {
    let mut numbers = version.split('.');
    let known = numbers.next() == Some("0") && numbers.next() == Some("1");
    known && numbers.next().is_some_and(|patch| patch.parse::<u32>().is_ok()) && numbers.next().is_none()
}

/// What an import gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Import {
    Linked(String),
    /// Linked, and every use fails.
    Denied(String),
    /// The component cannot be loaded.
    Unknown,
}

impl std::fmt::Display for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Import::Linked(how) => write!(f, "linked: {how}"),
            Import::Denied(why) => write!(f, "refused: {why}"),
            Import::Unknown => f.write_str("unknown: haul does not offer it"),
        }
    }
}

/// What becomes of an import under these grants.
pub(super) fn judge(name: &str, grants: &Grants) -> Import {
    let bare = name.split('@').next().unwrap_or(name);
    if foreign_version(name).is_some() {
        return Import::Unknown;
    }
    if let Some(interface) = bare.strip_prefix(PACKAGE) {
        return match interface {
            "types" => Import::Linked("types only".into()),
            "fetch" => http(grants),
            "log" => Import::Linked("its lines go to the log".into()),
            // The types of the callbacks are shared: on-error uses those of on-response.
            interface => match Hook::from_name(interface) {
                Some(hook) if hook.is_decision() => {
                    Import::Linked("asks the next component, the default policy last".into())
                }
                Some(_) => Import::Linked("types only".into()),
                None => Import::Unknown,
            },
        };
    }
    if foreign_wasi(name).is_some() {
        return Import::Unknown;
    }
    let linked = |how: &str| Import::Linked(how.into());
    let denied = |why: &str| Import::Denied(why.into());
    match bare {
        "wasi:http/types" => linked("types and bodies"),
        "wasi:http/outgoing-handler" | "wasi:http/client" => http(grants),
        "wasi:keyvalue/store" | "wasi:keyvalue/batch" | "wasi:keyvalue/atomics" => match &grants.keyvalue {
            Some(grant) => Import::Linked(format!("state of up to {} bytes", grant.quota_bytes)),
            None => denied("no state is granted (`keyvalue` in the configuration)"),
        },
        "wasi:config/store" => Import::Linked(format!("{} settings", grants.config.len())),
        "wasi:cli/stdout" | "wasi:cli/stderr" => linked("its lines go to the log"),
        "wasi:cli/environment" | "wasi:cli/stdin" => linked("empty"),
        _ if bare.starts_with("wasi:sockets/") => denied("components have no sockets"),
        _ if bare.starts_with("wasi:filesystem/") => denied("components see no files"),
        "wasi:clocks/timezone" => Import::Unknown, // the runtime does not have it
        _ if bare.starts_with("wasi:clocks/") => linked("rounded to milliseconds"),
        _ if bare.starts_with("wasi:random/") => linked("at most 4 KiB at once"),
        _ if ["wasi:cli/", "wasi:io/"].iter().any(|known| bare.starts_with(known)) => linked("harmless"),
        _ => Import::Unknown,
    }
}

fn http(grants: &Grants) -> Import {
    if grants.allow_hosts.is_empty() {
        return Import::Denied("no host is granted (--allow-host)".into());
    }
    Import::Linked(format!("may reach {}", grants.allow_hosts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(imports: &[&str], exports: &[&str], hooks: &[Hook]) -> String {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (imports, other_exports) = (owned(imports), owned(exports));
        let found = Interfaces { hooks: hooks.to_vec(), contract: None, imports, other_exports };
        found.check("it").err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn another_version_of_wasi_is_refused_by_name_before_anything_is_linked() {
        let clock = "wasi:clocks/monotonic-clock@0.3.0-rc-2025-09-16";
        let known = ["wasi:io/poll@0.2.6", "wasi:clocks/monotonic-clock@0.3.0", "wasi:http/client@0.3.2"];
        assert_eq!(told(&known, &[], &[Hook::Retry]), "");
        let refusal = told(&[&known[..], &[clock]].concat(), &[], &[Hook::Retry]);
        assert!(refusal.contains(clock) && refusal.contains("wasm32-wasip2"), "{refusal}");
        assert_eq!(told(&[clock], &[], &[]), refusal, "a hook is the second thing that it lacks");
        assert_eq!(judge(clock, &Grants::default()), Import::Unknown);
        assert_eq!(judge("haul:transfer/log@1.0.0", &Grants::default()), Import::Unknown);
        assert_eq!(
            told(&["wasi:clocks/monotonic-clock@0.2.0", "wasi:config/store@0.2.0-draft"], &[], &[Hook::Retry]),
            ""
        );
    }

    #[test]
    fn the_interface_for_applications_is_not_offered_yet() {
        let refusal = told(&["haul:transfer/downloader@0.1.0"], &[], &[Hook::Retry]);
        assert!(refusal.contains("which haul does not offer"), "{refusal}");
    }

    #[test]
    fn a_middleware_of_wasi_http_is_told_what_to_export_instead() {
        for handler in ["wasi:http/incoming-handler@0.2.3", "wasi:http/handler@0.3.0"] {
            assert!(told(&[], &[handler], &[]).contains("`on-request`"), "{handler}");
        }
        assert!(!told(&[], &["wasi:cli/run@0.2.6"], &[]).contains("on-request"));
    }
}
