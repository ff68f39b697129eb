//! `haul callbacks new`: a folder with a component's sources and the contract, ready to build. What is in it is embedded by
//! build.rs: callbacks-example/LANGUAGE as it is, and wit/.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use haul::{Error, Result};

use crate::args::New;
use crate::exit;
use crate::printer::Printer;
use crate::text;

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
    let was_there = dir.exists();
    let mut written = Vec::new();
    if let Err(error) = fill(dir, template, &mut written) {
        take_back(dir, &written, was_there);
        let shown = dir.display().to_string();
        return Err(Error::FileSystem(format!("cannot write into `{}`: {error}", text::printable(&shown))));
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
        text::printable(&dir.display().to_string()),
        template.language
    ));
    printer.note(format_args!("next: cd {} && {build}", for_a_shell(&dir.display().to_string())));
    Ok(exit::DONE)
}

/// Writes all files, and takes down which.
fn fill(dir: &Path, template: &Template, written: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let contract = dir.join(IN_FOLDER);
    for file in template.files {
        written.push(write(dir, file, &adapted(file.content))?);
    }
    for file in CONTRACT {
        written.push(write(&contract, file, file.content)?);
    }
    Ok(())
}

/// Removes what was written of a folder that is not whole, so that the same command finds an empty one.
fn take_back(dir: &Path, written: &[PathBuf], was_there: bool) {
    let _ = written.iter().try_for_each(std::fs::remove_file);
    // From below: a directory with something in it stays.
    let above = |path: &PathBuf| -> Vec<PathBuf> {
        path.ancestors().skip(1).take_while(|above| *above != dir).map(Path::to_owned).collect()
    };
    let mut directories: Vec<PathBuf> = written.iter().flat_map(above).collect();
    directories.sort_by_key(|path| std::cmp::Reverse(path.as_os_str().len()));
    for path in directories {
        let _ = std::fs::remove_dir(path);
    }
    if !was_there {
        let _ = std::fs::remove_dir(dir);
    }
}

/// A path as a shell takes it for one word, and as `cd` takes it for no option.
fn for_a_shell(path: &str) -> String {
    let path = if path.starts_with('-') { format!("./{path}") } else { path.to_owned() };
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if path.chars().all(is_plain) {
        return path;
    }
    format!("'{}'", text::printable(&path).replace('\'', "'\\''"))
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

/// Writes a file, whole or not at all; answers where it is.
fn write(dir: &Path, file: &TemplateFile, content: &[u8]) -> std::io::Result<PathBuf> {
    let path = dir.join(file.path);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mode = if file.program { 0o777 } else { 0o666 }; // less the umask
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
    if let Err(error) = file.write_all(content) {
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_shown_as_a_shell_takes_it() {
        for (path, shown) in [
            ("mine", "mine"),
            ("with space/\"q\" $x", "'with space/\"q\" $x'"),
            ("it's", "'it'\\''s'"),
            ("-dash", "./-dash"),
        ] {
            assert_eq!(for_a_shell(path), shown);
        }
    }

    #[test]
    fn what_was_written_of_a_folder_that_is_not_whole_is_removed_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("mine");
        let mut written = Vec::new();
        fill(&dir, &TEMPLATES[0], &mut written).unwrap();
        take_back(&dir, &written, false);
        assert!(!dir.exists());

        written.clear();
        fill(&dir, &TEMPLATES[0], &mut written).unwrap();
        std::fs::write(dir.join("wit/notes"), "mine").unwrap();
        take_back(&dir, &written, false);
        assert_eq!(std::fs::read(dir.join("wit/notes")).unwrap(), b"mine");
    }
}
