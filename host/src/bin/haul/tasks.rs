//! From the flags of `get`, `put` and `request` to tasks: what was typed becomes what is wanted.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use haul::task::{TaskType, Timeouts, Updates};
use haul::{Addition, Error, Result, Task};

use crate::args::{AskingFlags, DownloadFlags, Header, LoginFlags, NetworkFlags, TaskFlags};
use crate::environment::{place, variable};
use crate::text;

/// A download of an URL that is filled in later: what all tasks of one `get` have in common.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    addition: Addition,
    login: Option<Login>,
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
        let login = describe(&mut task, flags, now_ms)?;
        task.mirrors = download.mirrors.clone();
        task.checksum = download.checksum.clone();
        task.on_conflict = download.on_conflict.map(Into::into);
        if download.parts > 1 {
            task.task_type = TaskType::ParallelDownload;
            task.chunks = download.parts;
        }
        task.callbacks = callbacks;
        Ok(Self { addition: Addition { task, place: Some(place(&dir)?), paused: false }, login })
    }

    /// Whether the login can be given to each of these URLs: one that a profile completes is not known yet.
    pub(crate) fn check(&self, urls: &[String]) -> Result<()> {
        self.login.as_ref().map_or(Ok(()), |login| urls.iter().try_for_each(|url| login.fits(url)))
    }

    /// The task that gets this URL.
    pub(crate) fn addition(&self, url: &str) -> Addition {
        let mut addition = self.addition.clone();
        addition.task.url = self.login.as_ref().map_or_else(|| url.into(), |login| login.within(url));
        addition
    }
}

/// What any task of a known URL has.
pub(crate) fn describe_one(task: &mut Task, flags: &TaskFlags, now_ms: u64) -> Result<()> {
    let login = describe(task, flags, now_ms)?;
    take_login(task, login)
}

/// How the server of a known URL is asked.
pub(crate) fn describe_asking(task: &mut Task, flags: &AskingFlags, login: &LoginFlags) -> Result<()> {
    asking(task, flags);
    let login = Login::new(login, task)?;
    take_login(task, login)
}

/// A name without a password is one whose password stands in a netrc file: an empty one is sent where that is meant.
pub(crate) fn check_login(login: &LoginFlags, network: &NetworkFlags) -> Result<()> {
    let has_netrc = network.netrc || network.netrc_file.is_some();
    match &login.user {
        Some(user) if !user.contains(':') && !has_netrc => Err(Error::Usage(
            "--user has no password: write NAME:PASSWORD, `NAME:` for an empty one, or add --netrc".into(),
        )),
        _ => Ok(()),
    }
}

fn take_login(task: &mut Task, login: Option<Login>) -> Result<()> {
    if let Some(login) = login {
        login.fits(&task.url)?;
        task.url = login.within(&task.url);
    }
    Ok(())
}

/// What any task has; answers the login for its URL.
fn describe(task: &mut Task, flags: &TaskFlags, now_ms: u64) -> Result<Option<Login>> {
    task.task_id = flags.id.clone().unwrap_or_default();
    if flags.id.as_deref() == Some("") {
        return Err(Error::Usage("--id is empty".into()));
    }
    task.scope.clone_from(&flags.scope);
    task.requires_wifi = flags.requires_wifi;
    task.priority = flags.priority;
    task.updates = Updates::StatusAndProgress;
    if let Some(time) = &flags.not_before {
        let at = haul::config::time_ms(time, now_ms);
        task.not_before = Some(at.map_err(|error| Error::Usage(format!("--not-before: {error}")))?);
    }
    if let Some(group) = &flags.notification {
        task.set_notification(group);
    }
    if let Some(text) = &flags.metadata {
        task.meta_data = text.clone();
    }
    asking(task, &flags.asking);
    Login::new(&flags.login, task)
}

/// How a server is asked.
fn asking(task: &mut Task, flags: &AskingFlags) {
    for header in &flags.headers {
        match header {
            Header::Given(name, value) => task.headers.push((name.clone(), value.clone())),
            Header::LeftOut(name) => task.leave_out_header(name),
        }
    }
    if let Some(group) = &flags.group {
        task.group = group.clone();
    }
    task.retries = flags.retries;
    task.retries_remaining = flags.retries;
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
    if let Some(name) = &flags.profile {
        task.set_profile(name);
    }
}

/// A login that URLs get as their userinfo, where they have none: it is for their server, and stays with the task.
#[derive(Clone, Debug)]
struct Login(String);

impl Login {
    /// From the flags. A bearer token becomes a header of the task.
    fn new(flags: &LoginFlags, task: &mut Task) -> Result<Option<Self>> {
        let token =
            match (&flags.bearer_file, &flags.bearer_env) {
                (Some(file), _) => Some(first_line(file)?),
                (_, Some(name)) => Some(variable(name).filter(|token| !token.is_empty()).ok_or_else(|| {
                    Error::Usage(format!("--bearer-env: the environment variable `{name}` is not set"))
                })?),
                _ => None,
            };
        if let Some(token) = token {
            if task.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
                return Err(Error::Usage("a bearer token and an Authorization header are two proofs; give one".into()));
            }
            task.headers.push(("Authorization".into(), format!("Bearer {token}")));
        }
        if flags.user.as_ref().is_some_and(|typed| typed.contains("{credential:")) {
            let instead = "say it in a header, e.g. -H 'Authorization: Bearer {credential:NAME}'";
            return Err(Error::Usage(format!("--user is no place for a handle of a credential: {instead}")));
        }
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        Ok(flags.user.as_deref().map(|typed| match typed.split_once(':') {
            Some((user, password)) => Self(format!("{}:{}@", encode(user), encode(password))),
            None => Self(format!("{}@", encode(typed))),
        }))
    }

    /// Whether the URL can be given a login: one that a profile completes is not known yet.
    fn fits(&self, url: &str) -> Result<()> {
        match url.contains("://") {
            true => Ok(()),
            false => Err(Error::Usage("--user needs whole URLs; the login of a profile is its `auth`".into())),
        }
    }

    fn within(&self, url: &str) -> String {
        match url.split_once("://") {
            Some((scheme, rest)) if !rest.split(['/', '?', '#']).next().unwrap_or_default().contains('@') => {
                format!("{scheme}://{}{rest}", self.0)
            }
            _ => url.into(),
        }
    }
}

/// Of a file whose first line is a token; who reads `/dev/zero` comes to an end.
const TOKEN_FILE_MAX: u64 = 1 << 20;

fn first_line(file: &Path) -> Result<String> {
    let mut text = String::new();
    File::open(file)
        .and_then(|file| file.take(TOKEN_FILE_MAX).read_to_string(&mut text))
        .map_err(|error| Error::Usage(format!("cannot read the token in `{}`: {error}", file.display())))?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        return Err(Error::Usage(format!("the first line of `{}` is empty, and should be a token", file.display())));
    }
    Ok(token.to_owned())
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
        name if name.contains(char::is_control) => {
            Err(Error::Usage(format!("-o `{}`: a name must not contain control characters", text::printable(name))))
        }
        "" | "." | ".." => Err(Error::Usage("-o wants a file name; a directory is given by -d".into())),
        name => Ok((dir.into(), Some(name.into()))),
    }
}

#[cfg(test)]
mod tests;
