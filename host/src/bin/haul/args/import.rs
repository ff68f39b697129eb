//! What `haul import` was typed with.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use haul::import::Kind;

use super::Exists;

/// `haul import`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Import {
    /// What to import: task JSON, background_downloader's LocalStore folder or SQLite file, payloads of
    /// cordova-plugin-background-upload, a list of URLs, aria2's input file; `-` is stdin
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// What it is: tasks, local-store, sqlite, cordova, urls, aria2 [default: found out]
    #[arg(long, value_name = "KIND", value_parser = import_kind)]
    pub(crate) from: Option<ImportKind>,
    /// Tell what would be imported and what is here already, and import nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Import the others where some tasks are wrong; what is wrong is told, and the exit code is 8 (2: all are)
    #[arg(long)]
    pub(crate) skip_invalid: bool,
    /// Directory granted to the tasks: of URL lists and aria2's files, and for absolute paths that lie in it
    #[arg(short, long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Import tasks that had failed, were not found or canceled too: they are tried again
    #[arg(long)]
    pub(crate) ended: bool,
    /// The tasks' group, whatever they say
    #[arg(long, value_name = "G")]
    pub(crate) group: Option<String>,
    /// When a task of the same id exists
    #[arg(long, value_name = "HOW", default_value = "return-existing")]
    pub(crate) if_exists: Exists,
    /// Profile of the tasks that name none
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

/// `--from` as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImportKind(pub(crate) Kind);

fn import_kind(text: &str) -> Result<ImportKind, String> {
    let found = Kind::NAMES.iter().find(|(name, _)| *name == text);
    found.map(|(_, kind)| ImportKind(*kind)).ok_or_else(|| {
        let names: Vec<&str> = Kind::NAMES.iter().map(|(name, _)| *name).collect();
        format!("a kind is one of {}", names.join(", "))
    })
}
