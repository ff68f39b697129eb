//! Requests about limits and cancelled scopes: what holds, where it comes from, and changes of it.
//!
//! Who keeps to the limits is the scheduler and the throttle; what cancelling a scope does to its tasks is in `requests`.

use std::sync::PoisonError;

use serde_json::{Map, Value, json};

use crate::api::Reply;
use crate::clock;
use crate::engine::requests::{find, tell};
use crate::engine::{CurrentLimits, Inner, Input, Settings};
use crate::error::{Error, Result};
use crate::limits::{LimitChanges, Limits, Timetable};
use crate::store::{Applied, CanceledScope, Change, Store};
use crate::task::{Task, json as form};

/// Name of the setting that holds the limits of a home.
const LIMITS: &str = "limits";

/// The limits that an engine begins with: the settings', what the home has stored, then the flags.
pub(super) fn limits_of(store: &Store, settings: &Settings) -> Result<CurrentLimits> {
    let broken = |error| Error::Other(format!("the limits stored in the home cannot be read: {error}"));
    let stored = store.setting(LIMITS)?.map(|text| serde_json::from_str::<LimitChanges>(&text)).transpose();
    let stored = stored.map_err(broken)?.unwrap_or_default();
    let (base, flags) = (settings.limits.clone(), settings.limit_flags.clone());
    let mut current = base.clone();
    current.apply(&stored);
    current.apply(&flags);
    Ok(CurrentLimits { base, stored, flags, current })
}

pub(super) async fn limits(engine: &Inner, changes: LimitChanges, reset: bool) -> Result<Reply> {
    let held = || engine.limits.lock().unwrap_or_else(PoisonError::into_inner);
    let mut next = held().clone();
    if reset {
        let (current, nothing) = (next.base.clone(), LimitChanges::default());
        next = CurrentLimits { current, stored: nothing.clone(), flags: nothing, ..next };
    }
    next.stored.merge(&changes);
    next.current.apply(&changes);
    next.flags.without(&changes);
    if reset || !changes.is_empty() {
        let content = serde_json::to_string(&next.stored).map_err(unwritable)?;
        engine.shared.store.write(Change::Setting { name: LIMITS.into(), content }).await?;
        *held() = next.clone();
        tell(engine, Input::Limits { limits: Box::new(next.current.clone()) })?;
    }
    let json = |changes| serde_json::to_value(changes).map_err(unwritable);
    let (current, stored, flags) = (LimitChanges::all_of(&next.current), json(next.stored)?, json(next.flags)?);
    let of_base = |limits: &Limits| json(LimitChanges::all_of(limits));
    let (current, base) = (json(current)?, differing(&of_base(&next.base)?, &of_base(&Limits::default())?));
    let now = now_of(&next.current);
    let sources = sources(&current, &[("flag", &flags), ("home", &stored), ("configuration", &base)]);
    Ok(Reply::Info(json!({ "current": current, "now": now, "stored": stored, "sources": sources })))
}

/// Which rates of tables count now, and until when in local time, as the tables write it.
fn now_of(limits: &Limits) -> Value {
    let (minute, _) = clock::local_minute();
    let told = |table: &Timetable| {
        table.now(minute).map_or(Value::Null, |(rate, until)| json!({ "rate": rate, "until": until }))
    };
    let of_groups = limits.group_rates.iter().map(|(name, table)| (name.clone(), told(table)));
    let of_groups: Map<String, Value> = of_groups.filter(|(_, now)| !now.is_null()).collect();
    json!({ "rate": told(&limits.rate), "groupRates": of_groups })
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::Other(format!("limits cannot be written: {error}"))
}

/// What of these values, and of the members of maps among them, is another one than there.
fn differing(values: &Value, there: &Value) -> Value {
    let members = values.as_object().into_iter().flatten();
    members
        .filter(|(name, value)| there[name.as_str()] != **value)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Where each value comes from: the first of these places that has it, else it is the default. Of maps, each member.
fn sources(values: &Value, places: &[(&str, &Value)]) -> Value {
    let source = |name: &str, value: &Value| match value {
        Value::Object(_) => {
            let below: Vec<(&str, &Value)> = places.iter().map(|(place, has)| (*place, &has[name])).collect();
            sources(value, &below)
        }
        _ => places.iter().find(|(_, has)| !has[name].is_null()).map_or("default", |(place, _)| place).into(),
    };
    let members = values.as_object().into_iter().flatten();
    Value::Object(members.map(|(name, value)| (name.clone(), source(name, value))).collect::<Map<_, _>>())
}

pub(super) async fn limit_task(engine: &Inner, id: &str, limit_rate: Option<u64>) -> Result<Reply> {
    let (key, record) = find(engine, id)?;
    if record.status.is_final() {
        return Err(Error::Refused(format!("`{id}` is final already: {}", record.status.name())));
    }
    let task = Box::new(Task { limit_rate, ..Task::clone(&record.task) });
    engine.shared.store.write(Change::Replace { key, task }).await?;
    tell(engine, Input::TaskRate { key, limit_rate })?;
    Ok(Reply::Done)
}

/// Refuses what no task's scope can be: it would select nothing, whatever was meant.
pub(super) fn check_scope(name: &str) -> Result<()> {
    let is_no_name = |name: &str| ["", ".", ".."].contains(&name) || name.chars().any(char::is_control);
    if name.split('/').any(is_no_name) {
        let text = "must be names set apart by `/`, none of them empty, `.` or `..`, and without control characters";
        return Err(Error::Usage(format!("a scope {text}")));
    }
    Ok(())
}

/// Why a task of a cancelled scope is not taken.
pub(super) fn scope_is_canceled(CanceledScope { name, reason, .. }: &CanceledScope) -> String {
    let why = reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
    format!(
        "the scope `{name}` is cancelled{why} and takes no tasks: `haul scope reopen {name}` lets it take them again"
    )
}

/// Refuses a scope that is cancelled, or is below one.
pub(super) fn refuse_canceled(engine: &Inner, scope: &str) -> Result<()> {
    match engine.shared.store.canceled_scope(scope)? {
        Some(canceled) => Err(Error::Refused(scope_is_canceled(&canceled))),
        None => Ok(()),
    }
}

pub(super) fn scopes(engine: &Inner) -> Result<Reply> {
    let canceled = engine.shared.store.canceled_scopes()?.into_iter();
    let json =
        |CanceledScope { name, at, reason }| json!({ "scope": name, "canceledAt": form::time(at), "reason": reason });
    Ok(Reply::Info(canceled.map(json).collect()))
}

pub(super) async fn reopen_scope(engine: &Inner, name: String) -> Result<Reply> {
    if let Some(above) = engine.shared.store.canceled_scope(&name)?.filter(|canceled| canceled.name != name) {
        let text = format!("`{name}` is below the cancelled scope `{}`: reopen that one", above.name);
        return Err(Error::Refused(text));
    }
    match engine.shared.store.write(Change::ReopenScope { name: name.clone() }).await? {
        Applied::Done => Ok(Reply::Done),
        _ => Err(Error::Refused(format!("no scope `{name}` is cancelled"))),
    }
}
