//! `haul pause`, `resume`, `cancel`, `retry`, and `rm` and `clean`: changes to tasks that exist.

use haul::{Action, Reply, Request, Result, Selection};
use serde_json::json;

use crate::args::{Clean, Rm, Select};
use crate::environment::Environment;
use crate::exit;
use crate::link::{ask, count, unexpected};
use crate::printer::Printer;
use crate::text;

/// Ids that an engine lists in its answer about a group or about all; it may have changed more.
const LISTED_MAX: usize = 10_000;

/// Runs `pause`, `resume`, `cancel` or `retry`; answers the exit code.
pub(crate) async fn control(
    action: Action,
    select: &Select,
    environment: &Environment,
    printer: &Printer,
) -> Result<u8> {
    let selection = match &select.group {
        Some(group) => Selection::Group(group.clone()),
        None if select.all => Selection::All,
        None => Selection::Ids(select.ids.clone()),
    };
    let by_id = matches!(selection, Selection::Ids(_));
    let request = Request::Control { action, select: selection };
    let (changed, refused) = match ask(environment.settings(), request).await? {
        Reply::Changed { changed, refused } => (changed, refused),
        other => return Err(unexpected(&other)),
    };
    let (verb, done) = words(action);
    for id in &changed {
        if printer.json() {
            printer.data(json!({"taskId": id, "action": verb, "changed": true}));
        } else if by_id {
            printer.note(format_args!("{done} {}", text::printable(id)));
        }
    }
    if !by_id && !printer.json() {
        let more = if changed.len() >= LISTED_MAX { "at least " } else { "" };
        printer.note(format_args!("{done} {more}{}", text::tasks(changed.len() as u64)));
    }
    for (id, reason) in &refused {
        if printer.json() {
            printer.data(json!({"taskId": id, "action": verb, "changed": false, "reason": reason}));
        }
        printer.error(format_args!("{}: {reason}", text::printable(id)));
    }
    Ok(if refused.is_empty() { exit::DONE } else { exit::USAGE })
}

fn words(action: Action) -> (&'static str, &'static str) {
    match action {
        Action::Pause => ("pause", "paused"),
        Action::Resume => ("resume", "resumed"),
        Action::Cancel => ("cancel", "canceled"),
        Action::Retry => ("retry", "retrying"),
    }
}

/// Runs `rm`; answers the exit code.
pub(crate) async fn rm(rm: &Rm, environment: &Environment, printer: &Printer) -> Result<u8> {
    let request = Request::Remove { ids: rm.ids.clone() };
    forget(request, environment, printer).await
}

/// Runs `clean`; answers the exit code.
pub(crate) async fn clean(clean: &Clean, environment: &Environment, printer: &Printer) -> Result<u8> {
    let request = Request::Clean { older_than_ms: clean.older_than };
    forget(request, environment, printer).await
}

async fn forget(request: Request, environment: &Environment, printer: &Printer) -> Result<u8> {
    let forgotten = count(ask(environment.settings(), request).await?)?;
    if printer.json() {
        printer.data(json!({ "forgotten": forgotten }));
    } else {
        printer.note(format_args!("forgot {}", text::tasks(forgotten)));
    }
    Ok(exit::DONE)
}
