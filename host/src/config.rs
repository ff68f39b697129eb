//! Configuration file and units of text: durations, rates, times. Reads no environment and opens only the file it is given.
//!
//! Every key is checked: an unknown one, a wrong type or a value out of range is refused with its line and what would be
//! right. It does not check that directories and components exist; who uses them does.

mod granting;
mod profiles;
mod telling;
mod units;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};

use crate::engine::{Durability, Retain};
use crate::error::{Error, Result};
use crate::hooks::{ComponentSource, GrantRule};
use crate::limits::{Limits, Network, QueueLimits, RequireWifi, Timetable};
use crate::profile::Profile;
use crate::regular;
use crate::transport::{NamedCredential, ProxySettings};
use crate::webhook::Webhook;

pub(crate) use granting::{CallbackLimits, quota};
pub use profiles::Variables;
pub use telling::{NotificationsConfig, ShowOn};
pub use units::written_ms;
pub(crate) use units::{LAST_TIME_MS, write_time, written_bytes};

/// The unit parsers for task JSON: their errors are reasons that follow a field's name.
pub(crate) mod reason {
    pub(crate) use super::units::{duration_ms, rate, status_list, status_range, time_ms, writable_time};
}

/// `config.toml`. Unknown keys are refused with their name and line.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[directories]`: name to absolute path; `root = "/"` is the grant for `root`.
    pub directories: BTreeMap<String, PathBuf>,
    /// `[limits]`: total, per-host, per-group, min-interval, rate, keep-free, `[limits.groups]`, `[limits.group-rates]`; and
    /// `[network]`: state, require-wifi.
    pub limits: Limits,
    /// `skip-existing = "10M"`.
    pub skip_existing: Option<u64>,
    /// `[[callbacks]]`: name, path, group, sha256, allow-hosts, config, credentials, keyvalue, limits, fail-mode. Paths are
    /// relative to the configuration's directory.
    pub callbacks: Vec<ComponentSource>,
    /// `policy = "FILE.wasm"`: replaces the default policy.
    pub policy: Option<ComponentSource>,
    /// `[[grants]]`: sha256, path or name, and what `[[callbacks]]` grants too.
    pub grants: Vec<GrantRule>,
    /// `[credentials.NAME]`: origins, and one of value, value-file, value-env.
    pub credentials: BTreeMap<String, NamedCredential>,
    /// `[profiles.NAME]`, with what they inherit; `[profiles.default]` is for tasks that name none.
    pub profiles: BTreeMap<String, Profile>,
    /// `durability = "full" | "relaxed"`.
    pub durability: Durability,
    /// `retry-jitter = true`.
    pub retry_jitter: bool,
    /// `[[webhooks]]`: name, url, secret, secret-env or secret-file, statuses, groups, timeout, give-up-after.
    pub webhooks: Vec<Webhook>,
    /// `[notifications]`: to, command, texts by state, `[notifications.groups.NAME]`.
    pub notifications: NotificationsConfig,
    /// `[retain]`: age, records.
    pub retain: Retain,
}

impl Config {
    /// Reads a regular file or a pipe, of 16 MiB at most, or nothing from `/dev/null`; a missing file is an empty configuration when
    /// `must_exist` is false. `variables`: the environment, for profiles that name a variable.
    ///
    /// Errors: [`Error::Usage`] with the file, the line, the key and what would be right.
    pub fn read(path: &Path, must_exist: bool, variables: Variables<'_>) -> Result<Self> {
        let text = match regular::read_given(path) {
            Ok(text) => text,
            Err(error) if !must_exist && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(Error::Usage(format!("cannot read the configuration {}: {error}", path.display())));
            }
        };
        Self::parse(&text, path, variables)
    }

    /// Reads the text of a file; `path` is for messages and for paths relative to its directory.
    fn parse(text: &str, path: &Path, variables: Variables<'_>) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1)
                .map_or(String::new(), |line| format!(", line {line}"));
            let message = in_words(error.message().trim_end_matches('.'));
            Error::Usage(format!("{}{line}: {message}; correct or remove this line", path.display()))
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let profiles = profiles::build(&file.profiles, folder, variables)
            .map_err(|why| Error::Usage(format!("{}: {why}", path.display())))?;
        let wrong = |why: String| Error::Usage(format!("{}: {why}", path.display()));
        Ok(Self {
            webhooks: telling::webhooks(file.webhooks, folder, variables).map_err(wrong)?,
            notifications: file.notifications.config().map_err(wrong)?,
            retain: file.retain.into(),
            profiles,
            directories: file.directories.into_iter().map(|(name, path)| (name, path.0)).collect(),
            limits: file.limits.with(&file.network),
            skip_existing: file.skip_existing,
            policy: file.policy.map(|path| ComponentSource::policy(folder.join(path))),
            callbacks: granting::components(file.callbacks, folder).map_err(wrong)?,
            grants: file.grants.into_iter().map(|rule| rule.rule(folder)).collect(),
            credentials: granting::credentials(file.credentials, folder, variables).map_err(wrong)?,
            durability: file.durability.into(),
            retry_jitter: file.retry_jitter,
        })
    }
}

/// What a parser says, in the words of the file: it names Rust's types.
fn in_words(message: &str) -> String {
    let mut words = message.to_owned();
    for (rust, word) in [
        ("expected usize", "expected a whole number"),
        ("expected u32", "expected a whole number"),
        ("expected a map", "expected a table"),
        ("expected a sequence", "expected a list"),
        ("expected path string", "expected a path"),
        ("invalid type: map", "invalid type: a table"),
        ("invalid type: sequence", "invalid type: a list"),
        (" as i128", ""),
    ] {
        words = words.replace(rust, word);
    }
    match words.split_once("expected struct ") {
        Some((before, rest)) => {
            let after = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
            format!("{before}expected a table{after}")
        }
        None => words,
    }
}

/// The file as it is written.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    directories: BTreeMap<String, AbsolutePath>,
    limits: LimitsTable,
    network: NetworkTable,
    #[serde(deserialize_with = "skip_existing")]
    skip_existing: Option<u64>,
    #[serde(deserialize_with = "policy_path")]
    policy: Option<PathBuf>,
    callbacks: Vec<granting::CallbackTable>,
    grants: Vec<granting::RuleTable>,
    credentials: BTreeMap<String, granting::CredentialTable>,
    profiles: BTreeMap<String, profiles::ProfileTable>,
    durability: DurabilityName,
    retry_jitter: bool,
    webhooks: Vec<telling::WebhookTable>,
    notifications: telling::NotificationsTable,
    retain: telling::RetainTable,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DurabilityName {
    #[default]
    Full,
    Relaxed,
}

impl From<DurabilityName> for Durability {
    fn from(name: DurabilityName) -> Self {
        match name {
            DurabilityName::Full => Durability::Full,
            DurabilityName::Relaxed => Durability::Relaxed,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct LimitsTable {
    total: Option<usize>,
    uploads: Option<usize>,
    downloads: Option<usize>,
    per_host: Option<usize>,
    per_group: Option<usize>,
    #[serde(deserialize_with = "interval")]
    min_interval: Option<u64>,
    rate: Timetable,
    #[serde(deserialize_with = "keep_free")]
    keep_free: Option<u64>,
    #[serde(deserialize_with = "named_groups")]
    groups: BTreeMap<String, usize>,
    #[serde(deserialize_with = "named_groups")]
    group_rates: BTreeMap<String, Timetable>,
}

/// `[network]`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct NetworkTable {
    state: Network,
    require_wifi: RequireWifi,
}

impl LimitsTable {
    fn with(self, network: &NetworkTable) -> Limits {
        let defaults = QueueLimits::default();
        let queue = QueueLimits {
            total: self.total.unwrap_or(defaults.total),
            uploads: self.uploads.unwrap_or(defaults.uploads),
            downloads: self.downloads.unwrap_or(defaults.downloads),
            per_host: self.per_host.unwrap_or(defaults.per_host),
            per_group: self.per_group.unwrap_or(defaults.per_group),
            groups: self.groups,
            min_interval_ms: self.min_interval.unwrap_or(defaults.min_interval_ms),
        };
        Limits {
            queue,
            rate: self.rate,
            group_rates: self.group_rates,
            network: network.state,
            require_wifi: network.require_wifi,
            keep_free: self.keep_free.unwrap_or(0),
        }
    }
}

/// A path that must be absolute; a type of its own, so that the error has the line of the value.
struct AbsolutePath(PathBuf);

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let path = PathBuf::deserialize(input)?;
        if path.is_absolute() {
            Ok(Self(path))
        } else {
            Err(de::Error::custom(format!("a directory must be an absolute path, not `{}`", path.display())))
        }
    }
}

fn policy_path<'de, D: Deserializer<'de>>(input: D) -> Result<Option<PathBuf>, D::Error> {
    granting::component_path(input)
}

fn skip_existing<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "skip-existing", units::bytes, 0, u64::MAX, "0 or more")
}

fn keep_free<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "keep-free", units::bytes, 0, u64::MAX, "0 or more")
}

fn interval<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "min-interval", units::duration_ms, 0, 3_600_000, "0 to 1h")
}

/// A value with a unit, given as text or as a number in the smallest unit, within bounds.
fn within<'de, D: Deserializer<'de>>(
    input: D,
    key: &str,
    parse: fn(&str) -> Result<u64, String>,
    least: u64,
    most: u64,
    bounds: &str,
) -> Result<Option<u64>, D::Error> {
    let given = toml::Value::deserialize(input)?;
    let number = given.as_integer().and_then(|number| u64::try_from(number).ok());
    let value = match (number, given.as_str()) {
        (Some(number), _) => number,
        (_, Some(text)) => parse(text).map_err(|reason| de::Error::custom(format!("`{key}` {reason}")))?,
        _ => return Err(de::Error::custom(format!("`{key}` must be a number, or a text with a unit, not `{given}`"))),
    };
    if (least..=most).contains(&value) {
        Ok(Some(value))
    } else {
        Err(de::Error::custom(format!("`{key}` must be {bounds}, not `{given}`")))
    }
}

/// The names of groups that something is said of.
fn named_groups<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<BTreeMap<String, T>, D::Error> {
    let groups = BTreeMap::<String, T>::deserialize(input)?;
    match groups.keys().find(|name| !is_group(name)) {
        Some(name) => Err(de::Error::custom(format!("no task can be of the group `{name}`: `chunk` is reserved"))),
        None => Ok(groups),
    }
}

/// Whether tasks can be of this group.
pub fn is_group(name: &str) -> bool {
    !name.is_empty() && name != "chunk" && !name.chars().any(char::is_control)
}

/// Reads `500ms`, `30s`, `1m30s`, `2h`, `10d`; plain `0`. Milliseconds.
pub fn duration_ms(text: &str) -> Result<u64> {
    units::duration_ms(text).map_err(|reason| Error::Usage(format!("it {reason}")))
}

/// Reads `10M`, `512K`, `1G`, `1234`; 1024-based. Bytes (per second).
pub fn bytes(text: &str) -> Result<u64> {
    units::bytes(text).map_err(|reason| Error::Usage(format!("it {reason}")))
}

/// Reads `10M`, `1M:10M` (upload:download), `off`, or a table such as `08:00,512K Sat-00:00,off`.
pub fn timetable(text: &str) -> Result<Timetable> {
    Timetable::parse(text).map_err(|reason| Error::Usage(format!("a speed limit {reason}")))
}

/// Reads RFC 3339, or `+DUR` counted from `now_ms`. Milliseconds since 1970.
pub fn time_ms(text: &str, now_ms: u64) -> Result<u64> {
    units::time_ms(text, now_ms).map_err(|reason| Error::Usage(format!("it {reason}")))
}

/// Reads `2xx,304,400-403`: ranges with both ends included, each 100 to 599.
pub fn status_list(text: &str) -> Result<Vec<(u16, u16)>> {
    units::status_list(text).map_err(|reason| Error::Usage(format!("accepted statuses {reason}")))
}

/// Checks a host that a component may reach: `host`, `host:port` or `scheme://host:port`, exact, never a pattern.
pub fn granted_host(text: &str) -> Result<String> {
    units::granted_host(text).map_err(|reason| Error::Usage(format!("a host {reason}")))
}

/// The proxies that `--proxy` means: a URL, `none`, or `env` for those of http_proxy, https_proxy and all_proxy. `bypass`:
/// hosts reached directly; `None`: those of no_proxy.
pub fn proxy(typed: &str, bypass: Option<String>, variables: Variables<'_>) -> ProxySettings {
    let bypass = bypass.or_else(|| profiles::variable(variables, "no_proxy")).unwrap_or_default();
    profiles::proxy(typed, bypass, variables)
}

/// The user's netrc file: `$NETRC`, else `~/.netrc`.
pub fn default_netrc(variables: Variables<'_>) -> Result<PathBuf> {
    profiles::default_netrc(variables).map_err(Error::Usage)
}
