//! What `haul pause`, `resume`, `cancel`, `retry`, `rm` and `clean` were typed with.

use clap::Args as ClapArgs;
use clap::builder::NonEmptyStringValueParser;

use super::{duration, part_header};

/// Which tasks are controlled.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct Select {
    /// Ids of tasks, or unique beginnings of them
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// All tasks of this group
    #[arg(long, value_name = "G", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) group: Option<String>,
    /// All tasks of this scope and those below it; `cancel` has it take no more
    #[arg(long, value_name = "SCOPE", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) scope: Option<String>,
    /// All tasks
    #[arg(long)]
    pub(crate) all: bool,
}

/// `haul resume`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) select: Select,
    /// Go on with the one download at this URL instead, such as a link that was signed anew
    #[arg(long, value_name = "URL", conflicts_with_all = ["group", "scope", "all"])]
    pub(crate) url: Option<String>,
    /// Request header for that URL, in the place of the task's own; may be repeated
    #[arg(short = 'H', long = "header", value_name = "K: V", value_parser = part_header, requires = "url")]
    pub(crate) headers: Vec<(String, String)>,
}

/// `haul cancel`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Cancel {
    #[command(flatten)]
    pub(crate) select: Select,
    /// Why, for the final updates of the tasks
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `haul rm`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Rm {
    /// Ids of tasks, or unique beginnings of them
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

/// `haul clean`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Clean {
    /// Only tasks that ended longer ago than this
    #[arg(long, value_name = "DUR", default_value = "0", value_parser = duration)]
    pub(crate) older_than: u64,
}
