//! aria2's input file, and its little sister, the list of URLs.
//!
//! A line of an input file has the URLs of one file, set apart by tabs; the indented lines after it are options of that
//! download (`dir`, `out`, `header`, ...). Options that have a meaning here are taken, the others are told.

use std::collections::HashSet;

use super::{Entry, Options, set_directory};
use crate::config;
use crate::task::{OnConflict, Task, TaskType, host_of};

/// One URL a line; blank lines and those that begin with `#` mean nothing.
pub(super) fn urls(text: &str, name: &str, options: &Options) -> Vec<Entry> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let urls = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    urls.map(|(line, url)| below_place(Entry::new(format!("{name}:{line}"), Task::download(url)), options)).collect()
}

/// Reads an input file.
pub(super) fn read(text: &str, name: &str, options: &Options) -> Vec<Entry> {
    let mut downloads: Vec<Download> = Vec::new();
    let mut lost = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let origin = format!("{name}:{}", index + 1);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if !line.starts_with([' ', '\t']) {
            downloads.push(Download::new(origin, line));
            continue;
        }
        match (downloads.last_mut(), option(line)) {
            (Some(download), Some((option, value))) => download.line(index + 1, option, value),
            (Some(download), None) => {
                download.entry.problem(line.trim(), format!("(line {}) is no option: they are NAME=VALUE", index + 1));
            }
            (None, _) => lost.push(Entry::unreadable(origin, "is an option before the first URL".into())),
        }
    }
    lost.into_iter().chain(downloads.into_iter().map(|download| download.finish(options))).collect()
}

/// An option and its value: its name is small letters, digits and dashes, which no URL is.
pub(super) fn option(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let is_one = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (!name.is_empty() && name.bytes().all(is_one)).then(|| (name, value.trim()))
}

/// The directory that was granted in person holds what has no absolute path of its own.
fn below_place(mut entry: Entry, options: &Options) -> Entry {
    if entry.addition.task.base_directory == "root" {
        entry.grant(options);
    } else {
        entry.addition.place.clone_from(&options.place);
    }
    entry
}

/// A download, and what its options say so far.
struct Download {
    entry: Entry,
    /// Connections in all, and to one server: aria2's defaults are 5 and 1.
    split: Option<u32>,
    per_server: Option<u32>,
    user: Option<String>,
    password: Option<String>,
    overwrite: bool,
    rename: bool,
}

impl Download {
    fn new(origin: String, line: &str) -> Self {
        let mut urls = line.split('\t').map(str::trim).filter(|url| !url.is_empty()).map(String::from);
        let mut task = Task::download(urls.next().unwrap_or_default());
        task.mirrors = urls.collect();
        task.retries = 4; // its max-tries is 5
        let entry = Entry::new(origin, task);
        let (overwrite, rename) = (false, true);
        Self { entry, split: None, per_server: None, user: None, password: None, overwrite, rename }
    }

    /// The option of a line, which is told with what is wrong with it.
    fn line(&mut self, line: usize, name: &str, value: &str) {
        let known = self.entry.problems.len();
        self.option(name, value);
        for problem in self.entry.problems.iter_mut().skip(known) {
            problem.reason = format!("(line {line}) {}", problem.reason);
        }
    }

    fn option(&mut self, name: &str, value: &str) {
        let task = &mut self.entry.addition.task;
        match name {
            "dir" => set_directory(task, value),
            "out" => task.filename = Some(value.into()),
            "gid" => task.task_id = value.into(),
            "checksum" => task.checksum = Some(value.into()),
            "header" => match value.split_once(':') {
                Some((header, value)) => task.headers.push((header.trim().into(), value.trim().into())),
                None => self.entry.problem("header", "must be `Name: value`"),
            },
            "user-agent" => task.headers.push(("User-Agent".into(), value.into())),
            "referer" => {
                task.headers.push(("Referer".into(), if value == "*" { task.url.clone() } else { value.into() }))
            }
            "http-user" => self.user = Some(value.into()),
            "http-passwd" => self.password = Some(value.into()),
            "allow-overwrite" => self.overwrite = value == "true",
            "auto-file-renaming" => self.rename = value == "true",
            "pause" => self.entry.addition.paused = value == "true",
            "split" => self.split = self.number(name, value),
            "max-connection-per-server" => self.per_server = self.number(name, value),
            "max-tries" => self.tries(value),
            "max-download-limit" => match config::bytes(value) {
                Ok(rate) => task.limit_rate = Some(rate).filter(|rate| *rate > 0),
                Err(error) => self.entry.problem(name, format!("is wrong: {error}")),
            },
            "connect-timeout" => self.entry.addition.task.timeouts.connect_ms = self.seconds(name, value),
            "timeout" => self.entry.addition.task.timeouts.idle_ms = self.seconds(name, value),
            "continue" | "always-resume" if value == "true" => {} // as it is here in any case
            _ => self.entry.note(format!("`{name}` has no meaning here and is left out")),
        }
    }

    fn number(&mut self, name: &str, value: &str) -> Option<u32> {
        let number = value.parse().ok().filter(|number| *number > 0);
        if number.is_none() {
            self.entry.problem(name, format!("must be a whole number above 0, not `{value}`"));
        }
        number
    }

    fn seconds(&mut self, name: &str, value: &str) -> Option<u64> {
        self.number(name, value).map(|seconds| u64::from(seconds) * 1000)
    }

    fn tries(&mut self, value: &str) {
        match value.parse::<i32>() {
            Ok(tries @ 1..=11) => self.entry.addition.task.retries = tries - 1,
            Ok(0 | 12..) => {
                self.entry.addition.task.retries = 10;
                self.entry.note(format!("`max-tries` is 11 instead of {value}: more attempts are not made here"));
            }
            _ => self.entry.problem("max-tries", format!("must be a whole number, not `{value}`")),
        }
    }

    fn finish(mut self, options: &Options) -> Entry {
        self.name();
        self.login();
        let task = &mut self.entry.addition.task;
        let servers: HashSet<String> =
            std::iter::once(&task.url).chain(&task.mirrors).map(|url| host_of(url)).collect();
        let (split, servers) = (self.split.unwrap_or(5), u32::try_from(servers.len()).unwrap_or(1).max(1));
        task.chunks = self.per_server.unwrap_or(1).min(split.div_ceil(servers)).clamp(1, 64);
        if task.chunks > 1 || split.min(servers) > 1 {
            task.task_type = TaskType::ParallelDownload;
        }
        task.on_conflict = Some(match (self.overwrite, self.rename) {
            (true, _) => OnConflict::Replace,
            (false, true) => OnConflict::Unique,
            (false, false) => OnConflict::Fail,
        });
        below_place(self.entry, options)
    }

    /// `out` may have directories: they are below `dir`.
    fn name(&mut self) {
        let task = &mut self.entry.addition.task;
        let Some((below, name)) = task.filename.as_deref().and_then(|out| out.rsplit_once('/')) else { return };
        let (below, name) = (below.trim_matches('/').to_owned(), name.to_owned());
        task.directory = [task.directory.as_str(), &below].join("/").trim_matches('/').into();
        task.filename = Some(name);
    }

    /// A login goes into the URL, as with `--user`.
    fn login(&mut self) {
        let (user, password) = (self.user.take(), self.password.take());
        let Some(user) = user else {
            if password.is_some() {
                self.entry.note("`http-passwd` without `http-user` has no meaning and is left out");
            }
            return;
        };
        let url = url::Url::parse(&self.entry.addition.task.url).ok().and_then(|mut url| {
            url.set_username(&user).ok()?;
            url.set_password(password.as_deref()).ok()?;
            Some(url.to_string())
        });
        match url {
            Some(url) => self.entry.addition.task.url = url,
            None => self.entry.problem("http-user", "is for http and https URLs"),
        }
    }
}
