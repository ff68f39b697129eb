//! `haul open` and `haul move`: what is done with a finished file (background_downloader's openFile, moveToSharedStorage).

use std::path::PathBuf;
use std::process::{Command, Stdio};

use haul::{Error, Request, Result};
use serde_json::json;

use crate::args::{Move, Open};
use crate::environment::{Environment, place};
use crate::exit;
use crate::link::ask;
use crate::printer::Printer;
use crate::text;

/// Runs `open`; answers the exit code.
pub(crate) async fn open(typed: &Open, environment: &Environment, printer: &Printer) -> Result<u8> {
    let file = file_of(&typed.id, environment).await?;
    let missing = || Error::Other("`xdg-open` is not installed: it is what opens files by their type".into());
    let opener = crate::environment::program("xdg-open").ok_or_else(missing)?;
    let status = Command::new(opener).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.map_err(|error| Error::Other(format!("cannot run `xdg-open`: {error}")))?;
    if !status.success() {
        return Err(Error::Other(format!("`xdg-open` could not open `{}` ({status})", file.display())));
    }
    printer.note(format_args!("opened {}", text::printable(&file.to_string_lossy())));
    Ok(exit::DONE)
}

/// Runs `move`; answers the exit code.
pub(crate) async fn relocate(typed: &Move, environment: &Environment, printer: &Printer) -> Result<u8> {
    let file = file_of(&typed.id, environment).await?;
    let directory = match typed.to.to_str().and_then(|name| environment.user_directory(name)) {
        Some(directory) => directory,
        None if typed.to.components().count() == 1 && !typed.to.is_dir() => {
            let names = crate::environment::USER_DIRECTORIES.map(|(name, ..)| name).join(", ");
            let text = format!("--to `{}` is neither a directory that exists nor one of {names}", typed.to.display());
            return Err(Error::Usage(text));
        }
        None => place(&typed.to)?,
    };
    let directory = typed.below.as_deref().map_or_else(|| Ok(directory.clone()), |below| inside(&directory, below))?;
    let moved = haul::move_file(&file, &directory)?;
    if printer.json() {
        printer.data(json!({"taskId": typed.id, "from": file, "filePath": moved}));
    } else {
        printer.data(moved.display());
    }
    Ok(exit::DONE)
}

fn inside(directory: &std::path::Path, below: &std::path::Path) -> Result<PathBuf> {
    let plain = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    match plain {
        true => Ok(directory.join(below)),
        false => Err(Error::Usage(format!("--directory `{}` must be a plain path below --to", below.display()))),
    }
}

/// The file of a complete task.
async fn file_of(id: &str, environment: &Environment) -> Result<PathBuf> {
    let record = ask(environment.settings(), Request::Show { id: id.into() }).await?.record()?;
    let path = record["filePath"].as_str().filter(|_| record["status"] == "complete").map(PathBuf::from);
    let status = record["status"].as_str().unwrap_or("unknown");
    let path = path.ok_or_else(|| Error::Usage(format!("`{id}` is {status} and has no finished file")))?;
    match path.is_file() {
        true => Ok(path),
        false => Err(Error::FileSystem(format!("`{}` is not there any more", path.display()))),
    }
}
