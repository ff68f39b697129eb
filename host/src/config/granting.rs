//! `[[callbacks]]`, `[[grants]]` and `[credentials.NAME]`: which components there are, what they are granted, and the secrets
//! they may use by handle. Whether files exist and fit is found out by who uses them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};

use super::profiles::{self, Variables};
use super::{units, within};
use crate::hooks::{CallLimits, ComponentSource, FailMode, GrantRule, Grantee, Grants, KeyValueGrant};
use crate::transport::{NamedCredential, Secret};

/// What both tables of grants have.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Row {
    #[serde(deserialize_with = "component_name")]
    name: Option<String>,
    #[serde(deserialize_with = "component_path")]
    path: Option<PathBuf>,
    /// Of `callbacks` alone.
    #[serde(deserialize_with = "group")]
    group: Option<String>,
    #[serde(deserialize_with = "sha256")]
    sha256: Option<String>,
    #[serde(deserialize_with = "granted_hosts")]
    allow_hosts: Vec<String>,
    config: BTreeMap<String, String>,
    #[serde(deserialize_with = "credential_names")]
    credentials: Vec<String>,
    #[serde(deserialize_with = "quota")]
    keyvalue: Option<u64>,
    limits: CallbackLimits,
    fail_mode: FailModeName,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FailModeName {
    #[default]
    Closed,
    Open,
}

impl Row {
    fn grants(self, owner: String) -> Grants {
        Grants {
            allow_hosts: self.allow_hosts,
            config: self.config.into_iter().collect(),
            credentials: self.credentials,
            keyvalue: self.keyvalue.filter(|bytes| *bytes > 0).map(|quota_bytes| KeyValueGrant { owner, quota_bytes }),
            limits: self.limits.into(),
            fail_mode: match self.fail_mode {
                FailModeName::Closed => FailMode::Closed,
                FailModeName::Open => FailMode::Open,
            },
        }
    }
}

/// `[[callbacks]]`: a component that is attached to every task, and its grants.
#[derive(Deserialize)]
#[serde(try_from = "Row")]
pub(super) struct CallbackTable {
    path: PathBuf,
    row: Row,
}

impl TryFrom<Row> for CallbackTable {
    type Error = String;

    fn try_from(mut row: Row) -> Result<Self, String> {
        let path = row.path.take().ok_or("a table of `callbacks` needs the `path` of a component")?;
        Ok(Self { path, row })
    }
}

/// The components of a file. The error is a sentence about one whose name is not its own: state, grants and tasks go by names.
pub(super) fn components(tables: Vec<CallbackTable>, folder: &Path) -> Result<Vec<ComponentSource>, String> {
    let mut sources: Vec<ComponentSource> = Vec::new();
    for source in tables.into_iter().map(|table| table.source(folder)) {
        let (name, path) = (&source.name, source.path.display());
        ComponentSource::check_name(name)
            .map_err(|why| format!("{path} needs a `name` in its table of `callbacks`: {why}"))?;
        // The same file for several groups is one component.
        let is_same = |known: &ComponentSource| known.path == source.path && known.group != source.group;
        if let Some(known) = sources.iter().find(|known| known.name == *name && !is_same(known)) {
            let known = known.path.display();
            return Err(format!(
                "two components of `callbacks` are named `{name}` ({known} and {path}), and state and grants belong to the \
                 name: give one of them another `name`"
            ));
        }
        sources.push(source);
    }
    Ok(sources)
}

impl CallbackTable {
    fn source(self, folder: &Path) -> ComponentSource {
        let stem = || self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = self.row.name.clone().unwrap_or_else(stem);
        let (path, group, sha256) = (folder.join(&self.path), self.row.group.clone(), self.row.sha256.clone());
        let grants = self.row.grants(format!("name:{name}"));
        ComponentSource { name, path, grants, group, sha256 }
    }
}

/// `[[grants]]`: what a component is granted, however it is attached.
#[derive(Deserialize)]
#[serde(try_from = "Row")]
pub(super) struct RuleTable(Row);

impl TryFrom<Row> for RuleTable {
    type Error = String;

    fn try_from(row: Row) -> Result<Self, String> {
        let said = [row.name.is_some(), row.path.is_some(), row.sha256.is_some()];
        match said.iter().filter(|said| **said).count() {
            _ if row.group.is_some() => Err("`group` is for a table of `callbacks`, not of `grants`".into()),
            1 => Ok(Self(row)),
            _ => Err("a table of `grants` says to whom by one of `sha256`, `path` and `name`".into()),
        }
    }
}

impl RuleTable {
    pub(super) fn rule(mut self, folder: &Path) -> GrantRule {
        let row = &mut self.0;
        let (to, owner) = match (row.sha256.take(), row.path.take(), row.name.take()) {
            (Some(digest), ..) => (Grantee::Digest(digest.clone()), format!("sha256:{digest}")),
            (_, Some(path), _) => {
                let path = folder.join(path);
                let owner = format!("path:{}", path.display());
                (Grantee::Path(path), owner)
            }
            (.., name) => {
                let name = name.unwrap_or_default();
                (Grantee::Name(name.clone()), format!("name:{name}"))
            }
        };
        GrantRule { to, grants: self.0.grants(owner) }
    }
}

/// `[callbacks.limits]`. The bounds are those of reliability.md E.6.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct CallbackLimits {
    #[serde(deserialize_with = "memory")]
    memory: Option<u64>,
    #[serde(deserialize_with = "cpu")]
    cpu: Option<u64>,
    #[serde(deserialize_with = "wall")]
    wall: Option<u64>,
    #[serde(deserialize_with = "wall_http")]
    wall_http: Option<u64>,
    #[serde(deserialize_with = "http_requests")]
    http_requests: Option<u64>,
    #[serde(deserialize_with = "log")]
    log: Option<u64>,
}

impl From<CallbackLimits> for CallLimits {
    fn from(table: CallbackLimits) -> Self {
        let defaults = CallLimits::default();
        let size =
            |given: Option<u64>, default| given.map_or(default, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        Self {
            memory_bytes: size(table.memory, defaults.memory_bytes),
            cpu_ms: table.cpu.unwrap_or(defaults.cpu_ms),
            wall_ms: table.wall.unwrap_or(defaults.wall_ms),
            wall_http_ms: table.wall_http.unwrap_or(defaults.wall_http_ms),
            http_requests: table
                .http_requests
                .and_then(|most| u32::try_from(most).ok())
                .unwrap_or(defaults.http_requests),
            log_bytes: size(table.log, defaults.log_bytes),
        }
    }
}

/// `[credentials.NAME]`: a secret, and the origins that get it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct CredentialTable {
    #[serde(deserialize_with = "origins")]
    origins: Vec<String>,
    value: Option<String>,
    value_file: Option<PathBuf>,
    value_env: Option<String>,
}

/// The credentials of a file. The error is a sentence that names the table and says what would be right.
pub(super) fn credentials(
    tables: BTreeMap<String, CredentialTable>,
    folder: &Path,
    variables: Variables<'_>,
) -> Result<BTreeMap<String, NamedCredential>, String> {
    let credential = |(name, table): (String, CredentialTable)| {
        let wrong = |why: &str| format!("[credentials.{name}]: {why}");
        if !is_credential_name(&name) {
            return Err(wrong("a name has 1 to 64 letters, digits, `-`, `_` and `.`"));
        }
        let given = [
            table.value.map(Secret::Text),
            table.value_file.map(|path| Secret::File(folder.join(path))),
            table.value_env.map(|variable| profiles::secret_of(&variable, "the credential", variables)),
        ];
        let mut given = given.into_iter().flatten();
        if given.clone().any(|secret| secret == Secret::Text(String::new())) {
            return Err(wrong("`value` is empty: a secret has at least one character"));
        }
        let (Some(secret), None) = (given.next(), given.next()) else {
            return Err(wrong("say one of `value`, `value-file` and `value-env`"));
        };
        Ok((name, NamedCredential { origins: table.origins, secret }))
    };
    tables.into_iter().map(credential).collect()
}

fn is_credential_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(allowed)
}

fn credential_names<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(input)?;
    match names.iter().find(|name| !is_credential_name(name)) {
        Some(name) => Err(de::Error::custom(format!("`{name}` cannot be the name of a credential"))),
        None => Ok(names),
    }
}

fn origins<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let origins = Vec::<String>::deserialize(input)?;
    let is_origin = |text: &String| text.contains("://") && units::exact_host(text).is_ok();
    if origins.is_empty() || !origins.iter().all(is_origin) {
        let wrong = "`origins` lists who gets the credential, each as `https://host` or `https://host:port`";
        return Err(de::Error::custom(wrong));
    }
    Ok(origins)
}

pub(super) fn component_path<'de, D: Deserializer<'de>>(input: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(input)?;
    if path.as_os_str().is_empty() || path.starts_with("~") {
        return Err(de::Error::custom(
            "`path` must be absolute or relative to this file's directory (`~` is not understood)",
        ));
    }
    Ok(Some(path))
}

fn component_name<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(input)?;
    ComponentSource::check_name(&name).map_err(de::Error::custom)?;
    Ok(Some(name))
}

fn group<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    match String::deserialize(input)? {
        name if name.is_empty() => {
            Err(de::Error::custom("`group` names a group; without it every task asks the component"))
        }
        name => Ok(Some(name)),
    }
}

fn sha256<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let digest = String::deserialize(input)?.to_ascii_lowercase();
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Some(digest));
    }
    Err(de::Error::custom("`sha256` is 64 hexadecimal digits, as `haul callbacks check` prints them"))
}

fn granted_hosts<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let hosts = Vec::<String>::deserialize(input)?;
    match hosts.iter().find_map(|host| units::granted_host(host).err()) {
        Some(reason) => Err(de::Error::custom(format!("a host of `allow-hosts` {reason}"))),
        None => Ok(hosts),
    }
}

/// Bytes of state, 0 to 64 MiB.
pub(crate) fn quota<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "keyvalue", units::bytes, 0, 64 << 20, "0 to 64M")
}

fn memory<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "memory", units::bytes, 1 << 20, 128 << 20, "1M to 128M")
}

fn cpu<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "cpu", units::duration_ms, 1, 2_000, "1ms to 2s")
}

fn wall<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "wall", units::duration_ms, 1, 120_000, "1ms to 120s")
}

fn wall_http<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "wall-http", units::duration_ms, 1, 120_000, "1ms to 120s")
}

fn http_requests<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    let number = |text: &str| text.parse().map_err(|_| format!("is a number, not `{text}`"));
    within(input, "http-requests", number, 0, 30, "0 to 30, which is what a minute has")
}

fn log<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    within(input, "log", units::bytes, 0, 1 << 20, "0 to 1M")
}
