//! `haul callbacks new`: a folder with a component's sources and the contract, ready to build. What is in it is embedded by
//! build.rs: callbacks-example/LANGUAGE as it is, and wit/.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use haul::{Error, Result};

use crate::args::New;
use crate::exit;
use crate::printer::Printer;

/// A file of a template: its path below the folder, its content, and whether it is a program.
struct TemplateFile {
    path: &'static str,
    content: &'static [u8],
    program: bool,
}

/// A language, and the files of its template.
struct Template {
    language: &'static str,
    files: &'static [TemplateFile],
}

include!(concat!(env!("OUT_DIR"), "/templates.rs")); // TEMPLATES, CONTRACT

/// Other names of languages.
const ALIASES: [(&str, &str); 4] = [("js", "javascript"), ("ts", "typescript"), ("py", "python"), ("rs", "rust")];

/// Where the examples have the contract, and where a new folder has it: the one thing in which the files differ.
const IN_REPOSITORY: &str = "../../wit";
const IN_FOLDER: &str = "wit";

/// Runs the command; answers the exit code.
pub(crate) fn run(new: &New, printer: &Printer) -> Result<u8> {
    let template = template(&new.lang)?;
    let dir = &new.dir;
    refuse_used(dir)?;
    let failed = |error: std::io::Error| Error::FileSystem(format!("cannot write into `{}`: {error}", dir.display()));
    for file in template.files {
        write(dir, file, &adapted(file.content)).map_err(failed)?;
    }
    for file in CONTRACT {
        write(&dir.join(IN_FOLDER), file, file.content).map_err(failed)?;
    }
    let build = match template.files.iter().any(|file| file.path == "build") {
        true => "./build",
        false => "cargo build --release --target wasm32-wasip2",
    };
    if printer.json() {
        printer.data(serde_json::json!({"dir": dir.to_string_lossy(), "language": template.language, "build": build}));
        return Ok(exit::DONE);
    }
    printer.note(format_args!(
        "{} is a component in {}; README.md tells what is where",
        dir.display(),
        template.language
    ));
    printer.note(format_args!("next: cd {} && {build}", dir.display()));
    Ok(exit::DONE)
}

fn template(typed: &str) -> Result<&'static Template> {
    let language = ALIASES.iter().find(|(alias, _)| *alias == typed).map_or(typed, |(_, language)| language);
    if let Some(template) = TEMPLATES.iter().find(|template| template.language == language) {
        return Ok(template);
    }
    let known: Vec<&str> = TEMPLATES.iter().map(|template| template.language).collect();
    Err(Error::Usage(match known.is_empty() {
        true => "this haul was built without the example components: copy one from its sources".into(),
        false => format!("there is no template for `{typed}`; --lang is one of {}", known.join(", ")),
    }))
}

/// A folder that has something in it already is somebody's.
fn refuse_used(dir: &Path) -> Result<()> {
    let used = std::fs::read_dir(dir).map(|mut entries| entries.next().is_some());
    match used {
        Ok(false) => Ok(()),
        Ok(true) => Err(Error::Usage(format!("`{}` is not empty: name another folder", dir.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::FileSystem(format!("cannot use `{}`: {error}", dir.display()))),
    }
}

/// The text with the contract where the new folder has it; what is no text stays as it is.
fn adapted(content: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(content) {
        Ok(text) => text.replace(IN_REPOSITORY, IN_FOLDER).into_bytes(),
        Err(_) => content.to_vec(),
    }
}

fn write(dir: &Path, file: &TemplateFile, content: &[u8]) -> std::io::Result<()> {
    let path = dir.join(file.path);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mode = if file.program { 0o777 } else { 0o666 }; // less the umask
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)
}
