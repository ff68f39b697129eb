//! What `haul open` and `haul move` were typed with.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// `haul open`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Open {
    /// The task's id, or a unique beginning of it
    pub(crate) id: String,
}

/// `haul move`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Move {
    /// The task's id, or a unique beginning of it
    pub(crate) id: String,
    /// Where to: downloads, pictures, videos, music, documents, or a directory; nothing is overwritten
    #[arg(long, value_name = "WHERE")]
    pub(crate) to: PathBuf,
    /// Directory below it
    #[arg(long = "directory", value_name = "DIR")]
    pub(crate) below: Option<PathBuf>,
}
