//! `[profiles.NAME]`: the tables as they are written, their inheritance, and the profiles they make.
//!
//! Paths are relative to the file's directory; variables are asked for by the caller's function. Whether files exist and
//! can be used is found out by who uses them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};

use super::{units, within};
use crate::profile::{KeepCookies, Profile};
use crate::task::{Pairs, Timeouts};
use crate::transport::{Credentials, MinTls, Proof, ProxySettings, Secret, TransportSettings};

/// Looks a variable of the environment up.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One table. What is not there is inherited, or has its default.
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ProfileTable {
    inherits: Option<String>,
    #[serde(deserialize_with = "web_url")]
    base_url: Option<String>,
    headers: BTreeMap<String, OneOrMore>,
    query: BTreeMap<String, String>,
    timeouts: TimeoutsTable,
    #[serde(deserialize_with = "rate")]
    limit_rate: Option<u64>,
    group: Option<String>,
    #[serde(deserialize_with = "statuses")]
    accept_status: Option<Vec<(u16, u16)>>,
    callbacks: Option<Vec<String>>,
    proxy: Option<String>,
    no_proxy: Option<OneOrMore>,
    cacert: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    pinned_keys: Option<Vec<String>>,
    min_tls: Option<TlsVersion>,
    insecure: Option<bool>,
    insecure_hosts: Option<Vec<String>>,
    http2: Option<bool>,
    user_agent: Option<String>,
    cookies: Option<YesOrFile>,
    netrc: Option<YesOrFile>,
    auth: Option<AuthTable>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct TimeoutsTable {
    #[serde(deserialize_with = "connect")]
    connect: Option<u64>,
    #[serde(deserialize_with = "send")]
    send: Option<u64>,
    #[serde(deserialize_with = "head")]
    head: Option<u64>,
    #[serde(deserialize_with = "idle")]
    idle: Option<u64>,
    #[serde(deserialize_with = "total")]
    total: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct TlsVersion(MinTls);

impl TryFrom<String> for TlsVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "1.2" => Ok(Self(MinTls::V12)),
            "1.3" => Ok(Self(MinTls::V13)),
            _ => Err(format!("`min-tls` is \"1.2\" or \"1.3\", not `{text}`")),
        }
    }
}

#[derive(Clone, Deserialize)]
#[serde(untagged, expecting = "what stands here must be a text, or a list of texts")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::More(list) => list,
        }
    }
}

#[derive(Clone, Deserialize)]
#[serde(untagged, expecting = "what stands here must be true, false or a file")]
enum YesOrFile {
    Yes(bool),
    File(PathBuf),
}

/// `auth = { ... }`: one kind, and where its secret comes from.
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct AuthTable {
    user: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    bearer_file: Option<PathBuf>,
    bearer_env: Option<String>,
    digest: bool,
}

/// The parent's headers or parameters, each replaced by the own one of its name.
fn under<T>(mut below: BTreeMap<String, T>, own: BTreeMap<String, T>) -> BTreeMap<String, T> {
    below.retain(|name, _| !own.keys().any(|known| known.eq_ignore_ascii_case(name)));
    below.extend(own);
    below
}

/// The profiles of a file.
///
/// The error is a sentence that names the profile and says what would be right.
pub(super) fn build(
    tables: &BTreeMap<String, ProfileTable>,
    folder: &Path,
    variables: Variables<'_>,
) -> Result<BTreeMap<String, Profile>, String> {
    let build = |name: &String| -> Result<(String, Profile), String> {
        let table = inherited(tables, name)?;
        let profile = table.profile(folder, variables).map_err(|why| format!("[profiles.{name}]: {why}"))?;
        Ok((name.clone(), profile))
    };
    tables.keys().map(build).collect()
}

/// A table with all that it inherits.
fn inherited(tables: &BTreeMap<String, ProfileTable>, name: &str) -> Result<ProfileTable, String> {
    let mut chain: Vec<&str> = vec![name];
    let mut merged = tables.get(name).cloned().unwrap_or_default();
    while let Some(parent) = merged.inherits.take() {
        if chain.contains(&parent.as_str()) {
            chain.push(&parent);
            return Err(format!("the profiles {} inherit from each other in a circle", chain.join(" → ")));
        }
        let Some((parent, table)) = tables.get_key_value(&parent) else {
            let child = chain.last().copied().unwrap_or(name);
            return Err(format!("[profiles.{child}] inherits from `{parent}`, and there is no [profiles.{parent}]"));
        };
        chain.push(parent);
        merged = merged.over(table.clone());
    }
    Ok(merged)
}

impl ProfileTable {
    /// This table's words before the parent's; headers and parameters each by itself.
    fn over(self, parent: Self) -> Self {
        Self {
            inherits: parent.inherits,
            base_url: self.base_url.or(parent.base_url),
            headers: under(parent.headers, self.headers),
            query: under(parent.query, self.query),
            timeouts: TimeoutsTable {
                connect: self.timeouts.connect.or(parent.timeouts.connect),
                send: self.timeouts.send.or(parent.timeouts.send),
                head: self.timeouts.head.or(parent.timeouts.head),
                idle: self.timeouts.idle.or(parent.timeouts.idle),
                total: self.timeouts.total.or(parent.timeouts.total),
            },
            limit_rate: self.limit_rate.or(parent.limit_rate),
            group: self.group.or(parent.group),
            accept_status: self.accept_status.or(parent.accept_status),
            callbacks: self.callbacks.or(parent.callbacks),
            proxy: self.proxy.or(parent.proxy),
            no_proxy: self.no_proxy.or(parent.no_proxy),
            cacert: self.cacert.or(parent.cacert),
            client_key: self.client_key.or(parent.client_key.filter(|_| self.client_cert.is_none())),
            client_cert: self.client_cert.or(parent.client_cert),
            pinned_keys: self.pinned_keys.or(parent.pinned_keys),
            min_tls: self.min_tls.or(parent.min_tls),
            insecure: self.insecure.or(parent.insecure),
            insecure_hosts: self.insecure_hosts.or(parent.insecure_hosts),
            http2: self.http2.or(parent.http2),
            user_agent: self.user_agent.or(parent.user_agent),
            cookies: self.cookies.or(parent.cookies),
            netrc: self.netrc.or(parent.netrc),
            auth: self.auth.or(parent.auth),
        }
    }

    fn profile(self, folder: &Path, variables: Variables<'_>) -> Result<Profile, String> {
        let file = |path: PathBuf| folder.join(path);
        let default = TransportSettings::default();
        let digest_only = self.auth.as_ref().is_some_and(|auth| auth.digest);
        let credentials = match self.auth {
            None => None,
            Some(auth) => auth.proof(folder, variables)?,
        };
        let credentials = match (credentials, &self.base_url) {
            (None, _) => None,
            (Some(proof), Some(origin)) => Some(Credentials { origin: origin.clone(), proof }),
            (Some(_), None) => return Err("`auth` needs a `base-url`: only that origin gets the credentials".into()),
        };
        let own_bypass = self.no_proxy.map(|list| list.into_list().join(","));
        let all_bypass = own_bypass.clone().or_else(|| variable(variables, "no_proxy")).unwrap_or_default();
        let mut proxy_settings =
            self.proxy.map_or_else(ProxySettings::default, |typed| proxy(&typed, all_bypass, variables));
        if let Some(own) = own_bypass {
            proxy_settings.bypass = own; // without a proxy it waits for --proxy
        }
        let netrc = match self.netrc {
            None | Some(YesOrFile::Yes(false)) => None,
            Some(YesOrFile::Yes(true)) => Some(default_netrc(variables)?),
            Some(YesOrFile::File(path)) => Some(file(path)),
        };
        Ok(Profile {
            base_url: self.base_url,
            headers: several(self.headers),
            query: self.query.into_iter().collect(),
            timeouts: Timeouts {
                connect_ms: self.timeouts.connect,
                send_ms: self.timeouts.send,
                head_ms: self.timeouts.head,
                idle_ms: self.timeouts.idle,
                total_ms: self.timeouts.total,
            },
            limit_rate: self.limit_rate.filter(|rate| *rate > 0),
            group: self.group,
            accept_status: self.accept_status.unwrap_or_default(),
            callbacks: self.callbacks.unwrap_or_default(),
            cookies: match self.cookies {
                None | Some(YesOrFile::Yes(false)) => KeepCookies::No,
                Some(YesOrFile::Yes(true)) => KeepCookies::Home,
                Some(YesOrFile::File(path)) => KeepCookies::File(file(path)),
            },
            transport: TransportSettings {
                cacert: self.cacert.map(file),
                client_cert: self.client_cert.map(file),
                client_key: self.client_key.map(file),
                insecure: self.insecure.unwrap_or(default.insecure),
                insecure_hosts: self.insecure_hosts.unwrap_or_default(),
                pinned_keys: self.pinned_keys.unwrap_or_default(),
                min_tls: self.min_tls.map_or(MinTls::V12, |TlsVersion(lowest)| lowest),
                proxy: proxy_settings,
                http2: self.http2.unwrap_or(default.http2),
                user_agent: self.user_agent.unwrap_or(default.user_agent),
                cookies: None,
                credentials,
                named_credentials: default.named_credentials,
                netrc,
                digest_only,
            },
        })
    }
}

impl AuthTable {
    fn proof(self, folder: &Path, variables: Variables<'_>) -> Result<Option<Proof>, String> {
        let from_env = |name: String| secret_of(&name, "the profile", variables);
        let from_file = |path: PathBuf| Secret::File(folder.join(path));
        let passwords: Vec<Secret> =
            [self.password.map(Secret::Text), self.password_file.map(from_file), self.password_env.map(from_env)]
                .into_iter()
                .flatten()
                .collect();
        let tokens: Vec<Secret> =
            [self.bearer_file.map(from_file), self.bearer_env.map(from_env)].into_iter().flatten().collect();
        match (self.user, &passwords[..], &tokens[..]) {
            (Some(user), [password], []) => Ok(Some(Proof::Password { user, password: password.clone() })),
            (None, [], [token]) => Ok(Some(Proof::Bearer(token.clone()))),
            (None, [], []) if self.digest => Ok(None),
            _ => Err("`auth` is either `user` with one of `password`, `password-file` and `password-env`, or one of \
                      `bearer-file` and `bearer-env`"
                .into()),
        }
    }
}

/// The secret in a variable of the environment that `who` names.
pub(super) fn secret_of(name: &str, who: &str, variables: Variables<'_>) -> Secret {
    let missing = || Secret::Missing(format!("the environment variable `{name}`, which {who} names, is not set"));
    variables(name).filter(|value| !value.is_empty()).map_or_else(missing, Secret::Text)
}

/// The proxies that a word means: a URL, `none`, or `env` for those of http_proxy, https_proxy and all_proxy.
pub(crate) fn proxy(typed: &str, bypass: String, variables: Variables<'_>) -> ProxySettings {
    match typed {
        "none" | "" => ProxySettings::default(),
        "env" => {
            let all = variable(variables, "all_proxy");
            // Capitals are left out on purpose for http_proxy, as in curl: CGI programs get them from a request's `Proxy` header.
            let http = variables("http_proxy").filter(|url| !url.is_empty()).or_else(|| all.clone());
            ProxySettings {
                http,
                https: variable(variables, "https_proxy").or(all),
                bypass,
                ..ProxySettings::default()
            }
        }
        url => ProxySettings { bypass, ..ProxySettings::all(url) },
    }
}

/// A variable by its name in small or capital letters; an empty one is not set.
pub(crate) fn variable(variables: Variables<'_>, name: &str) -> Option<String> {
    let set = |name: &str| variables(name).filter(|value| !value.is_empty());
    set(name).or_else(|| set(&name.to_ascii_uppercase()))
}

/// The user's netrc file: `$NETRC`, else `~/.netrc`.
pub(crate) fn default_netrc(variables: Variables<'_>) -> Result<PathBuf, String> {
    let set = |name: &str| variables(name).filter(|value| !value.is_empty());
    let in_home = || set("HOME").map(|home| Path::new(&home).join(".netrc"));
    set("NETRC").map(PathBuf::from).or_else(in_home).ok_or_else(|| "HOME is not set, so there is no ~/.netrc".into())
}

/// Headers; one that has a list is there as often as that is long.
fn several(headers: BTreeMap<String, OneOrMore>) -> Pairs {
    let each =
        |(name, values): (String, OneOrMore)| values.into_list().into_iter().map(move |value| (name.clone(), value));
    headers.into_iter().flat_map(each).collect()
}

/// A type of its own for values that are checked, so that the error has the line of the value.
fn web_url<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(input)?;
    let is_web = |url: &url::Url| {
        let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        matches!(url.scheme(), "http" | "https") && bare && url.fragment().is_none()
    };
    match url::Url::parse(&text) {
        Ok(url) if is_web(&url) => Ok(Some(text)),
        _ => Err(de::Error::custom("`base-url` is an http or https URL without user, query and fragment")),
    }
}

fn statuses<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<(u16, u16)>>, D::Error> {
    let text = String::deserialize(input)?;
    units::status_list(&text).map(Some).map_err(|reason| de::Error::custom(format!("`accept-status` {reason}")))
}

fn rate<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "limit-rate", units::rate, 0, u64::MAX, "a rate")
}

fn connect<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "connect", units::duration_ms, 0, u64::MAX, "a duration")
}

fn send<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "send", units::duration_ms, 0, u64::MAX, "a duration")
}

fn head<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "head", units::duration_ms, 0, u64::MAX, "a duration")
}

fn idle<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "idle", units::duration_ms, 0, u64::MAX, "a duration")
}

fn total<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "total", units::duration_ms, 0, u64::MAX, "a duration")
}
