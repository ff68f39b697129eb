//! `[[webhooks]]`, `[notifications]` and `[retain]`: the tables as they are written, and what they mean.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};

use super::profiles::{Variables, variable};
use super::units;
use crate::engine::Retain;
use crate::notify::{Text, Texts};
use crate::task::Status;
use crate::webhook::{self, Webhook};

/// `[notifications]`: what is shown, and where.
#[derive(Clone, Debug, Default)]
pub struct NotificationsConfig {
    /// For tasks of groups without texts of their own.
    pub texts: Texts,
    /// `[notifications.groups.NAME]`.
    pub groups: BTreeMap<String, Texts>,
    /// `to`: where they are shown. Empty: nowhere.
    pub to: Vec<ShowOn>,
    /// `command`: program and arguments, with the tokens `{title}` `{body}` `{state}` `{id}` `{group}` `{filePath}`. No shell.
    pub command: Vec<String>,
}

/// Where notifications are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShowOn {
    /// The title of the terminal, where stderr is one.
    Title,
    /// The desktop, over D-Bus where there is one.
    Desktop,
    /// The command.
    Command,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct NotificationsTable {
    to: Vec<ShowOn>,
    command: Vec<String>,
    groups: BTreeMap<String, Texts>,
    running: Option<Text>,
    complete: Option<Text>,
    error: Option<Text>,
    paused: Option<Text>,
    canceled: Option<Text>,
}

impl NotificationsTable {
    pub(super) fn config(self) -> Result<NotificationsConfig, String> {
        let Self { to, command, groups, running, complete, error, paused, canceled } = self;
        if to.contains(&ShowOn::Command) && command.is_empty() {
            return Err(
                "[notifications] says to = [\"command\"] and has no `command`: give the program and its arguments"
                    .into(),
            );
        }
        let texts = Texts { running, complete, error, paused, canceled, as_one: false };
        Ok(NotificationsConfig { texts, groups, to, command })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct WebhookTable {
    #[serde(default, deserialize_with = "name_of_webhook")]
    name: Option<String>,
    #[serde(deserialize_with = "web_url")]
    url: String,
    secret: Option<String>,
    secret_env: Option<String>,
    secret_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "statuses")]
    statuses: Vec<Status>,
    #[serde(default, deserialize_with = "groups")]
    groups: Vec<String>,
    #[serde(default, deserialize_with = "timeout")]
    timeout: Option<u64>,
    #[serde(default, deserialize_with = "give_up_after")]
    give_up_after: Option<u64>,
}

/// The webhooks; their names must differ. Paths of secrets are relative to `folder`.
pub(super) fn webhooks(
    tables: Vec<WebhookTable>,
    folder: &Path,
    variables: Variables<'_>,
) -> Result<Vec<Webhook>, String> {
    let mut all: Vec<Webhook> = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let name = table.name.clone().unwrap_or_else(|| (index + 1).to_string());
        if all.iter().any(|webhook| webhook.name == name) {
            return Err(format!("two webhooks are called `{name}`: give each a name of its own"));
        }
        let secret = table.secret(folder, variables).map_err(|why| format!("webhook `{name}`: {why}"))?;
        let mut webhook = Webhook::new(name, table.url);
        let key = secret.map(|secret| webhook::key(&secret)).transpose();
        webhook.secret = key.map_err(|why| format!("webhook `{}`: its secret {why}", webhook.name))?;
        (webhook.statuses, webhook.groups) = (table.statuses, table.groups);
        webhook.timeout_ms = table.timeout.unwrap_or(webhook.timeout_ms);
        webhook.give_up_after_ms = table.give_up_after.unwrap_or(webhook.give_up_after_ms);
        all.push(webhook);
    }
    Ok(all)
}

impl WebhookTable {
    fn secret(&self, folder: &Path, variables: Variables<'_>) -> Result<Option<String>, String> {
        match (&self.secret, &self.secret_env, &self.secret_file) {
            (None, None, None) => Ok(None),
            (Some(secret), None, None) if !secret.is_empty() => Ok(Some(secret.clone())),
            (None, Some(name), None) => {
                let set = variable(variables, name).filter(|secret| !secret.is_empty());
                set.map(Some).ok_or_else(|| format!("the environment variable `{name}` is not set"))
            }
            (None, None, Some(file)) => {
                let path = folder.join(file);
                let text = crate::regular::read_text(&path)
                    .map_err(|error| format!("cannot read the secret in `{}`: {error}", path.display()))?;
                let secret = text.lines().next().unwrap_or_default().trim();
                Some(secret)
                    .filter(|secret| !secret.is_empty())
                    .map(|secret| Some(secret.to_owned()))
                    .ok_or_else(|| format!("the first line of `{}` is empty, and should be a secret", path.display()))
            }
            (Some(_), None, None) => Err("`secret` is empty".into()),
            _ => Err("give one of `secret`, `secret-env` and `secret-file`".into()),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RetainTable {
    #[serde(deserialize_with = "age")]
    age: Option<u64>,
    records: Option<usize>,
}

impl From<RetainTable> for Retain {
    fn from(table: RetainTable) -> Self {
        Self { age_ms: table.age, records: table.records }
    }
}

fn web_url<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let text = String::deserialize(input)?;
    match url::Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(text),
        _ => Err(de::Error::custom("`url` must be an absolute http or https URL")),
    }
}

fn statuses<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Status>, D::Error> {
    let names = Vec::<String>::deserialize(input)?;
    let wrong = |name: &String| {
        de::Error::custom(format!("`statuses` takes complete, notFound, failed and canceled, not `{name}`"))
    };
    if names.is_empty() {
        return Err(de::Error::custom("`statuses` lists at least one; without it all are sent"));
    }
    names.iter().map(|name| Status::from_name(name).filter(|s| s.is_final()).ok_or_else(|| wrong(name))).collect()
}

fn name_of_webhook<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let name = Some(String::deserialize(input)?).filter(|name| !name.is_empty());
    name.map(Some).ok_or_else(|| de::Error::custom("`name` is empty; without it the webhook has a number"))
}

fn groups<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(input)?;
    if names.is_empty() || !names.iter().all(|name| super::is_group(name)) {
        return Err(de::Error::custom("`groups` lists groups that tasks can be of; without it those of all are sent"));
    }
    Ok(names)
}

fn timeout<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    match duration(input, "timeout")? {
        Some(0) => Err(de::Error::custom("`timeout` must be at least `1ms`")),
        timeout => Ok(timeout),
    }
}

fn give_up_after<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    duration(input, "give-up-after")
}

fn age<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    duration(input, "age")
}

/// A duration as text alone: of a bare number nobody knows whether it is days.
fn duration<'de, D: Deserializer<'de>>(input: D, key: &str) -> Result<Option<u64>, D::Error> {
    let given = toml::Value::deserialize(input)?;
    let text = given.as_str().map_or_else(|| given.to_string(), str::to_owned);
    let wanted = || format!("must be a text with a unit such as `30s` or `10d`, not `{text}`");
    let parsed = if given.is_str() { units::duration_ms(&text) } else { Err(wanted()) };
    parsed.map(Some).map_err(|reason| de::Error::custom(format!("`{key}` {reason}")))
}
