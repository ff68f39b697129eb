//! Failures: of an attempt ([`Failure`], data that is stored and told) and of a call ([`Error`]).
//!
//! Texts are for people and never name a URL's query or credentials. Nothing here decides whether to try again.

use crate::task::Problem;

/// What a failure is, for a machine. The names are `exception.type` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// Writing or reading files failed.
    FileSystem,
    /// The URL cannot be used.
    Url,
    /// No connection, or it broke, or it took too long.
    Connection,
    /// The stored bytes cannot be joined with what the server has now.
    Resume,
    /// The server answered with a status that is not success.
    HttpResponse,
    /// None of the others.
    General,
    /// The finished file is not the one that was expected.
    Checksum,
    /// A component failed or gave an answer that cannot be used.
    Callback,
    /// A rule of the home's owner forbids it.
    Policy,
    /// Somebody cancelled it.
    Canceled,
}

impl FailureKind {
    const NAMES: [(FailureKind, &'static str); 10] = [
        (FailureKind::FileSystem, "fileSystem"),
        (FailureKind::Url, "url"),
        (FailureKind::Connection, "connection"),
        (FailureKind::Resume, "resume"),
        (FailureKind::HttpResponse, "httpResponse"),
        (FailureKind::General, "general"),
        (FailureKind::Checksum, "checksum"),
        (FailureKind::Callback, "callback"),
        (FailureKind::Policy, "policy"),
        (FailureKind::Canceled, "canceled"),
    ];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("general", |(_, name)| name)
    }

    /// The kind of that name; `General` for any other text.
    pub fn from_name(name: &str) -> Self {
        Self::NAMES.iter().find(|(_, known)| *known == name).map_or(FailureKind::General, |(kind, _)| *kind)
    }
}

/// How a failure came about, where a rule needs to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureDetail {
    /// Nothing more to say.
    #[default]
    None,
    /// Name lookup, TCP or TLS input and output failed: nothing was sent.
    NotConnected,
    /// The connection ended before the response's head.
    NoResponse,
    /// The connection ended within the response's body.
    Cut,
    /// A time limit passed.
    Timeout,
    /// A certificate was refused.
    Tls,
    /// The peer broke the protocol.
    Protocol,
    /// Too many redirects, a loop, or one that may not be followed.
    Redirect,
    /// No room on the disk.
    DiskFull,
    /// This process, or all together, have as many files and connections open as they may.
    OpenFiles,
    /// Whoever renews the task's credentials has refused to.
    Credentials,
}

impl FailureDetail {
    const NAMES: [(FailureDetail, &'static str); 11] = [
        (FailureDetail::None, ""),
        (FailureDetail::NotConnected, "notConnected"),
        (FailureDetail::NoResponse, "noResponse"),
        (FailureDetail::Cut, "cut"),
        (FailureDetail::Timeout, "timeout"),
        (FailureDetail::Tls, "tls"),
        (FailureDetail::Protocol, "protocol"),
        (FailureDetail::Redirect, "redirect"),
        (FailureDetail::DiskFull, "diskFull"),
        (FailureDetail::OpenFiles, "openFiles"),
        (FailureDetail::Credentials, "credentials"),
    ];

    /// The name in JSON, empty for `None`.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(detail, _)| *detail == self).map_or("", |(_, name)| name)
    }

    /// The detail of that name; `None` for any other text.
    pub fn from_name(name: &str) -> Self {
        Self::NAMES.iter().find(|(_, known)| *known == name).map_or(FailureDetail::None, |(detail, _)| *detail)
    }
}

/// Why an attempt, or a task, did not succeed. Plain data: stored, told, and given to hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it is.
    pub kind: FailureKind,
    /// How, where it matters.
    pub detail: FailureDetail,
    /// One sentence for people. Holds no secrets.
    pub description: String,
    /// The status, when the server answered. 100 to 599.
    pub http_status: Option<u16>,
    /// The wait the server asked for by Retry-After, counted from now, at most 24 hours.
    pub retry_after_ms: Option<u64>,
    /// The request may have taken effect although no answer came (POST, PATCH).
    pub outcome_unknown: bool,
}

impl Failure {
    /// A failure with nothing but a kind and a sentence.
    pub fn new(kind: FailureKind, description: impl Into<String>) -> Self {
        Self {
            kind,
            detail: FailureDetail::None,
            description: description.into(),
            http_status: None,
            retry_after_ms: None,
            outcome_unknown: false,
        }
    }

    /// The same failure with a detail.
    #[must_use]
    pub fn with(mut self, detail: FailureDetail) -> Self {
        self.detail = detail;
        self
    }

    /// A failed operation on a file. `what` is a phrase such as "cannot write `f.txt`"; the system's reason is added.
    /// No room on the disk (ENOSPC, EDQUOT) and too many open files (EMFILE, ENFILE) are told apart.
    pub fn file_system(what: &str, error: &std::io::Error) -> Self {
        let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        let failure = Self::new(FailureKind::FileSystem, format!("{what}: {error}"));
        if full { failure.with(FailureDetail::DiskFull) } else { failure.told_apart(error) }
    }

    /// The same failure, told apart when it came about because too many files are open (EMFILE, ENFILE).
    #[must_use]
    pub(crate) fn told_apart(self, error: &std::io::Error) -> Self {
        let too_many = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
        if too_many { self.with(FailureDetail::OpenFiles) } else { self }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.description)
    }
}

/// Why a call on the library did not do what was asked. Nothing was lost or half done.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Tasks are invalid: index into the list given, and all problems of that task. Nothing of the list was stored.
    #[error("{}", invalid_tasks(.0))]
    Invalid(Vec<(usize, Vec<Problem>)>),
    /// No task of that id, or the prefix fits several.
    #[error("{0}")]
    UnknownTask(String),
    /// The request does not fit the task's state or options, e.g. pause with `allowPause` false.
    #[error("{0}")]
    Refused(String),
    /// Another process holds the home and cannot be joined.
    #[error("{0}")]
    HomeLocked(String),
    /// Another program, which is not haul, keeps the database locked. The same call may succeed later.
    #[error("{0}")]
    DatabaseLocked(String),
    /// The database is damaged. It is kept as it is.
    #[error("{0}")]
    Damaged(String),
    /// A component cannot be loaded or is incompatible.
    #[error("{0}")]
    Component(String),
    /// The file system refused, or there is no room.
    #[error("{0}")]
    FileSystem(String),
    /// The configuration or an argument is wrong.
    #[error("{0}")]
    Usage(String),
    /// None of the others.
    #[error("{0}")]
    Other(String),
}

fn invalid_tasks(tasks: &[(usize, Vec<Problem>)]) -> String {
    let several = tasks.len() > 1;
    let mut lines = Vec::new();
    for (index, problems) in tasks {
        for problem in problems {
            if several {
                lines.push(format!("task {}: {problem}", index + 1));
            } else {
                lines.push(format!("invalid task: {problem}"));
            }
        }
    }
    lines.join("\n")
}

/// Result of a call on the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;
