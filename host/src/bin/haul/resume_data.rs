//! `haul export-resume` and `import-resume`: partial downloads as documents.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use haul::{Error, Request, Result};
use serde_json::Value;

use crate::args::{EngineFlags, ExportResume, ImportResume};
use crate::environment::{Environment, absolute, place};
use crate::exit;
use crate::link::ask;
use crate::printer::Printer;
use crate::text;

/// Longest document: a task and 1,024 pieces take far less.
const DOCUMENT_MAX: u64 = 4 << 20;

/// Runs `export-resume`; answers the exit code.
pub(crate) async fn export(typed: &ExportResume, environment: &Environment, printer: &Printer) -> Result<u8> {
    let request = Request::ExportResume { id: typed.id.clone(), with_secrets: typed.with_secrets };
    let document = ask(environment.settings(), request).await?.info()?;
    if let Some(withheld) = document["withheld"].as_array().filter(|names| !names.is_empty()) {
        let names: Vec<&str> = withheld.iter().filter_map(Value::as_str).collect();
        printer.note(format_args!("left out as secret: {} (--with-secrets keeps them)", names.join(", ")));
    }
    match &typed.output {
        Some(path) => write(path, &document)?,
        None => printer.data(&document),
    }
    Ok(exit::DONE)
}

/// Writes a file that only its owner can read. One that exists stays.
fn write(path: &Path, document: &Value) -> Result<()> {
    let cannot = |error: std::io::Error| Error::FileSystem(format!("cannot write `{}`: {error}", path.display()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(cannot)?;
    file.write_all(format!("{document:#}\n").as_bytes()).map_err(cannot)
}

/// Runs `import-resume`; answers the exit code.
pub(crate) async fn import(typed: &ImportResume, environment: &Environment, printer: &Printer) -> Result<u8> {
    let document = read(&typed.file)?;
    // A task in a named base directory needs none; any other goes where it is said to, never where the document says.
    let here = document["place"].is_string().then_some(Path::new("."));
    let missing = missing(&document, &typed.headers);
    let request = Request::ImportResume {
        document,
        url: typed.url.clone(),
        headers: typed.headers.clone(),
        place: typed.dir.as_deref().or(here).map(place).transpose()?,
        part_file: typed.part_file.as_deref().map(absolute).transpose()?,
    };
    let flags = EngineFlags { components: typed.components.clone(), ..EngineFlags::default() };
    let added = ask(environment.working_settings(&flags, None)?, request).await?.added()?;
    added.ids.iter().for_each(|id| printer.data(id));
    if !missing.is_empty() {
        printer.note(format_args!("without what was left out as secret: {} (headers: -H)", missing.join(", ")));
    }
    Ok(exit::DONE)
}

/// What was left out of a document and is not given now. Without its URL nothing is taken in, so that one is always there, and
/// takes the place of all that the task had.
fn missing(document: &Value, headers: &[(String, String)]) -> Vec<String> {
    let is_given = |name: &str| match name.strip_prefix("header ") {
        Some(header) => headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(header)),
        None => matches!(name, "url" | "urls"),
    };
    let names = document["withheld"].as_array().into_iter().flatten().filter_map(Value::as_str);
    names.filter(|name| !is_given(name)).map(|name| text::printable(name).into_owned()).collect()
}

fn read(path: &Path) -> Result<Value> {
    let cannot = |error: std::io::Error| Error::FileSystem(format!("cannot read `{}`: {error}", path.display()));
    let mut text = Vec::new();
    let length = match path.to_str() {
        Some("-") => std::io::stdin().lock().take(DOCUMENT_MAX + 1).read_to_end(&mut text),
        _ => std::fs::File::open(path).and_then(|file| file.take(DOCUMENT_MAX + 1).read_to_end(&mut text)),
    };
    if length.map_err(cannot)? as u64 > DOCUMENT_MAX {
        return Err(Error::Usage(format!("`{}` is too long for resume data", path.display())));
    }
    serde_json::from_slice(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text))
        .map_err(|error| Error::Usage(format!("`{}` is no resume data: {error}", path.display())))
}
