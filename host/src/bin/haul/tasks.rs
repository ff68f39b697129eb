//! From the flags of `get`, `put` and `request` to tasks: what was typed becomes what is wanted.

use std::path::{Path, PathBuf};

use haul::task::{TaskType, Timeouts, Updates};
use haul::{Addition, Error, Result, Task};

use crate::args::{DownloadFlags, TaskFlags};
use crate::environment::place;

/// A download of an URL that is filled in later: what all tasks of one `get` have in common.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    addition: Addition,
}

impl Template {
    /// From the flags. `several`: there is more than one URL, so one name or id cannot do. `callbacks`: names of configured
    /// components.
    pub(crate) fn new(
        flags: &TaskFlags,
        download: &DownloadFlags,
        callbacks: Vec<String>,
        several: bool,
        now_ms: u64,
    ) -> Result<Self> {
        if several {
            for (flag, given) in [("-o", download.output.is_some()), ("--id", flags.id.is_some())] {
                if given {
                    let text = format!("{flag} is for one URL, and there are several");
                    return Err(Error::Usage(text));
                }
            }
        }
        let (dir, filename) = destination(download.dir.as_deref(), download.output.as_deref())?;
        let mut task = Task { filename, ..Task::default() };
        describe(&mut task, flags, now_ms)?;
        task.mirrors = download.mirrors.clone();
        task.checksum = download.checksum.clone();
        task.on_conflict = download.on_conflict.map(Into::into);
        if download.parts > 1 {
            task.task_type = TaskType::ParallelDownload;
            task.chunks = download.parts;
        }
        task.callbacks = callbacks;
        Ok(Self { addition: Addition { task, place: Some(place(&dir)?) } })
    }

    /// The task that gets this URL.
    pub(crate) fn addition(&self, url: &str) -> Addition {
        let mut addition = self.addition.clone();
        addition.task.url = url.into();
        addition
    }
}

/// What any task has.
pub(crate) fn describe(task: &mut Task, flags: &TaskFlags, now_ms: u64) -> Result<()> {
    task.task_id = flags.id.clone().unwrap_or_default();
    if flags.id.as_deref() == Some("") {
        return Err(Error::Usage("--id is empty".into()));
    }
    task.headers = flags.headers.clone();
    if let Some(group) = &flags.group {
        task.group = group.clone();
    }
    task.priority = flags.priority;
    task.retries = flags.retries;
    task.retries_remaining = flags.retries;
    task.updates = Updates::StatusAndProgress;
    task.max_redirects = flags.max_redirects;
    if let Some(list) = &flags.accept_status {
        task.accept_status = list.0.clone();
    }
    task.timeouts = Timeouts {
        connect_ms: flags.timeout_connect,
        send_ms: flags.timeout_send,
        head_ms: flags.timeout_head,
        idle_ms: flags.timeout_idle,
        total_ms: flags.timeout_total,
    };
    if let Some(time) = &flags.not_before {
        task.not_before = Some(haul::config::time_ms(time, now_ms)?);
    }
    if let Some(text) = &flags.metadata {
        task.meta_data = text.clone();
    }
    Ok(())
}

/// Directory and given name.
fn destination(dir: Option<&Path>, name: Option<&str>) -> Result<(PathBuf, Option<String>)> {
    let dir = dir.unwrap_or(Path::new("."));
    if dir.as_os_str().is_empty() {
        return Err(Error::Usage("-d is empty".into()));
    }
    let Some(name) = name.filter(|name| *name != "?") else {
        return Ok((dir.into(), None));
    };
    match name {
        name if name.contains('/') => {
            Err(Error::Usage(format!("-o wants a name, not the path `{name}`: -d takes directories")))
        }
        "-" => Err(Error::Usage("-o - is not possible: haul writes files; `--print path` tells where".into())),
        "" | "." | ".." => Err(Error::Usage("-o wants a file name; a directory is given by -d".into())),
        name => Ok((dir.into(), Some(name.into()))),
    }
}

#[cfg(test)]
mod tests;
