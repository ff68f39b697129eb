//! Profiles: named defaults for tasks, and how their requests travel (dio's BaseOptions).
//!
//! A profile has two halves. What describes a task (URL, headers, query, time limits, ...) is written into the task when it
//! is added: a stored task is complete, is judged as a whole, and does not change when somebody edits the configuration.
//! How its requests travel (proxy, TLS, cookies, credentials) is looked up by the profile's name at each attempt: keys and
//! passwords stay out of the database, what is renewed works at once, and a task whose profile is gone fails rather than
//! going out without its pins. The name is kept in the task's `extra`, which components see too. Reads no file.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use url::Url;

use crate::error::{Error, Failure, FailureKind};
use crate::task::{Pairs, Problem, Task, Timeouts};
use crate::transport::{
    NamedCredential, Transport, TransportSettings, check_named_credential, credential_names, is_same_origin,
};

/// Name of the profile of tasks that name none.
pub const DEFAULT: &str = "default";

/// Where a profile's cookies are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeepCookies {
    /// There are none: none is sent, none is taken.
    #[default]
    No,
    /// In the home, encrypted, in a jar of the profile's own.
    Home,
    /// In this file, in Netscape's form; read first, and written after changes (0600).
    File(PathBuf),
}

/// Defaults of tasks, and how their requests travel.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// What a task's relative URL is resolved against (RFC 3986 section 5): with a slash at its end it is put in front.
    pub base_url: Option<String>,
    /// Headers of requests that do not have them. Secret ones go to the origin of `base_url` only, where there is one.
    pub headers: Pairs,
    /// Query parameters of URLs that do not have them, as they are meant: encoded when added.
    pub query: Pairs,
    /// Time limits of tasks that do not set their own.
    pub timeouts: Timeouts,
    /// Bytes per second of a task that sets no limit.
    pub limit_rate: Option<u64>,
    /// Group of tasks that name none: how many of the profile's tasks run at once is a limit of that group.
    pub group: Option<String>,
    /// Status codes that count as success, both ends included, for tasks that list none.
    pub accept_status: Vec<(u16, u16)>,
    /// Names of components, asked before the task's own.
    pub callbacks: Vec<String>,
    /// How requests travel.
    pub transport: TransportSettings,
    /// Where cookies are kept.
    pub cookies: KeepCookies,
}

impl Profile {
    /// Whether the credentials that its headers and parameters use by handle (`{credential:NAME}`) are among these, can be had,
    /// and are for the origin of `base_url`, where there is one.
    ///
    /// # Errors
    /// [`Error::Usage`]: what is wrong with the first that is not.
    pub fn check_credentials(&self, known: &BTreeMap<String, NamedCredential>) -> Result<(), Error> {
        let base = self.base_url.as_deref().and_then(|base| Url::parse(base).ok());
        for text in self.headers.iter().chain(&self.query).map(|(_, value)| value) {
            for name in credential_names(text) {
                // Without a base URL each task names its own origin: any that the credential is for will do.
                let own = || Url::parse(known.get(&name)?.origins.first()?).ok();
                let nowhere = || Url::parse("http://localhost/").ok();
                if let Some(url) = base.clone().or_else(own).or_else(nowhere) {
                    check_named_credential(known, &url, &name).map_err(|failure| Error::Usage(failure.description))?;
                }
            }
        }
        Ok(())
    }

    /// Writes into a task what it does not say itself.
    fn describe(&self, task: &mut Task) -> Result<(), Problem> {
        if let Some(base) = &self.base_url {
            task.url = absolute(base, &task.url).map_err(|reason| Problem { field: "url".into(), reason })?;
        }
        let at_home = self.base_url.as_deref().is_none_or(|base| is_same_origin(base, &task.url));
        let own: Vec<String> = task.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        for (name, value) in &self.headers {
            if !own.contains(&name.to_ascii_lowercase())
                && !task.leaves_out(name)
                && (at_home || !crate::mask::is_secret_header(name))
            {
                task.headers.push((name.clone(), value.clone()));
            }
        }
        let given = query_names(&task.url);
        for (name, value) in &self.query {
            let name_sent = encoded(name);
            let is_given =
                given.contains(&name_sent) || task.url_query_parameters.iter().any(|(known, _)| known == name);
            if !is_given && (at_home || !crate::mask::is_secret_parameter(name)) {
                task.url_query_parameters.push((name_sent, encoded(value)));
            }
        }
        let (own, default) = (task.timeouts, self.timeouts);
        task.timeouts = Timeouts {
            connect_ms: own.connect_ms.or(default.connect_ms),
            send_ms: own.send_ms.or(default.send_ms),
            head_ms: own.head_ms.or(default.head_ms),
            idle_ms: own.idle_ms.or(default.idle_ms),
            total_ms: own.total_ms.or(default.total_ms),
        };
        task.limit_rate = task.limit_rate.or(self.limit_rate);
        if let Some(group) = self.group.as_ref().filter(|_| task.group == Task::default().group) {
            task.group.clone_from(group);
        }
        if task.accept_status.is_empty() {
            task.accept_status.clone_from(&self.accept_status);
        }
        let first = self.callbacks.iter().filter(|name| !task.callbacks.contains(name)).cloned();
        task.callbacks = first.chain(task.callbacks.iter().cloned()).collect();
        Ok(())
    }
}

/// A URL as it stands if it is absolute, else resolved against the base.
fn absolute(base: &str, url: &str) -> Result<String, String> {
    match Url::parse(url) {
        Err(url::ParseError::RelativeUrlWithoutBase) => {}
        _ => return Ok(url.into()), // absolute, or wrong in a way that admission tells best
    }
    let joined = Url::parse(base).and_then(|base| base.join(url));
    joined.map(String::from).map_err(|_| "cannot be joined to the profile's base-url".into())
}

/// The names of a URL's query parameters, as they stand in it.
fn query_names(url: &str) -> Vec<String> {
    let query = url.split('#').next().and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
    query.split('&').filter_map(|part| part.split('=').next()).map(str::to_owned).collect()
}

fn encoded(text: &str) -> String {
    const UNRESERVED: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, &UNRESERVED).to_string()
}

/// The profiles of an engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profiles {
    /// For tasks that name none.
    pub(crate) default: Profile,
    pub(crate) named: BTreeMap<String, Profile>,
}

impl Profiles {
    fn of(&self, task: &Task) -> Result<&Profile, String> {
        match task.profile() {
            None | Some(DEFAULT) => Ok(&self.default),
            Some(name) => self.named.get(name).ok_or_else(|| missing(name)),
        }
    }

    /// Writes into a task what its profile says of it.
    pub(crate) fn describe(&self, task: &mut Task) -> Result<(), Problem> {
        let profile = self.of(task).map_err(|reason| Problem { field: "profile".into(), reason })?;
        profile.describe(task)
    }

    /// All of them, with their names.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = (&str, &mut Profile)> {
        let named = self.named.iter_mut().map(|(name, profile)| (name.as_str(), profile));
        std::iter::once((DEFAULT, &mut self.default)).chain(named)
    }
}

fn missing(name: &str) -> String {
    format!("`{name}` is not in the engine's configuration; `[profiles.{name}]` would be it")
}

/// Connections for the tasks of each profile. Cheap to clone; connects nowhere by itself.
#[derive(Clone, Debug)]
pub(crate) struct Transports {
    /// For tasks that name no profile.
    pub(crate) default: Transport,
    named: HashMap<String, Transport>,
}

impl Transports {
    pub(crate) fn new(profiles: &Profiles) -> Self {
        let transport = |profile: &Profile| Transport::new(profile.transport.clone());
        Self {
            default: transport(&profiles.default),
            named: profiles.named.iter().map(|(name, profile)| (name.clone(), transport(profile))).collect(),
        }
    }

    /// The same with connections of their own, for another thread.
    pub(crate) fn twins(&self) -> Self {
        let named = self.named.iter().map(|(name, transport)| (name.clone(), transport.twin()));
        Self { default: self.default.twin(), named: named.collect() }
    }

    /// # Errors
    /// [`FailureKind::Policy`] when the task's profile is gone: without it, it might go out by another way than it must.
    pub(crate) fn of(&self, task: &Task) -> Result<&Transport, Failure> {
        match task.profile() {
            None | Some(DEFAULT) => Ok(&self.default),
            Some(name) => self
                .named
                .get(name)
                .ok_or_else(|| Failure::new(FailureKind::Policy, format!("the task's profile {}", missing(name)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Pairs {
        list.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn described(profile: &Profile, mut task: Task) -> Task {
        profile.describe(&mut task).unwrap();
        task
    }

    #[test]
    fn relative_urls_are_resolved_and_absolute_ones_left_alone() {
        for (base, url, whole) in [
            ("https://h.example/api/", "v1/x?y=%20z", "https://h.example/api/v1/x?y=%20z"),
            ("https://h.example/api", "v1", "https://h.example/v1"),
            ("https://h.example/api/", "/v1", "https://h.example/v1"),
            ("https://h.example/api/", "?q", "https://h.example/api/?q"),
            ("https://h.example/api/", "http://other.example/A b", "http://other.example/A b"),
            ("https://h.example/api/", "http://", "http://"),
        ] {
            let profile = Profile { base_url: Some(base.into()), ..Profile::default() };
            assert_eq!(described(&profile, Task::download(url)).url, whole, "{base} {url}");
        }
        assert_eq!(described(&Profile::default(), Task::download("v1")).url, "v1", "admission tells what is wrong");
    }

    #[test]
    fn what_a_task_says_itself_stays_and_the_rest_is_the_profiles() {
        let profile = Profile {
            headers: pairs(&[("Accept", "a"), ("X-Team", "t")]),
            query: pairs(&[("k", "a b&c"), ("v", "2"), ("w", "3")]),
            timeouts: Timeouts { connect_ms: Some(1), idle_ms: Some(2), ..Timeouts::default() },
            limit_rate: Some(10),
            group: Some("corp".into()),
            accept_status: vec![(200, 200)],
            callbacks: vec!["one".into(), "two".into()],
            ..Profile::default()
        };
        let given = Task {
            headers: pairs(&[("accept", "mine")]),
            url_query_parameters: pairs(&[("w", "mine")]),
            timeouts: Timeouts { connect_ms: Some(9), ..Timeouts::default() },
            callbacks: vec!["two".into()],
            ..Task::download("http://h/?v=1")
        };
        let task = described(&profile, given);
        assert_eq!(task.headers, pairs(&[("accept", "mine"), ("X-Team", "t")]));
        assert_eq!(task.url_query_parameters, pairs(&[("w", "mine"), ("k", "a%20b%26c")]));
        assert_eq!(task.timeouts, Timeouts { connect_ms: Some(9), idle_ms: Some(2), ..Timeouts::default() });
        assert_eq!((task.limit_rate, task.group.as_str()), (Some(10), "corp"));
        assert_eq!((task.accept_status.len(), task.callbacks), (1, vec!["one".to_owned(), "two".to_owned()]));
    }

    #[test]
    fn secrets_of_a_profile_go_to_its_own_origin_only() {
        let profile = Profile {
            base_url: Some("https://h.example/".into()),
            headers: pairs(&[("Authorization", "s"), ("X-Team", "t")]),
            query: pairs(&[("api_key", "s"), ("v", "1")]),
            ..Profile::default()
        };
        let home = described(&profile, Task::download("x"));
        assert_eq!((home.headers.len(), home.url_query_parameters.len()), (2, 2));
        for elsewhere in ["http://h.example/x", "https://h.example:444/", "https://evil.example/"] {
            let task = described(&profile, Task::download(elsewhere));
            assert_eq!(task.headers, pairs(&[("X-Team", "t")]), "{elsewhere}");
            assert_eq!(task.url_query_parameters, pairs(&[("v", "1")]), "{elsewhere}");
        }
    }
}
