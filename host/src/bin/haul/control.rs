//! `haul pause`, `resume`, `cancel`, `retry`, and `rm` and `clean`: changes to tasks that exist.

use haul::{Action, Reply, Request, Result, Selection, Status, Work};
use serde_json::json;

use crate::args::{Clean, Rm, Select};
use crate::environment::Environment;
use crate::exit;
use crate::link::{Link, ask, count, records, unexpected};
use crate::outcome::Outcome;
use crate::printer::Printer;
use crate::text;

/// Runs `pause`, `resume`, `cancel` or `retry`; answers the exit code.
pub(crate) async fn control(
    action: Action,
    select: &Select,
    reason: Option<String>,
    environment: &Environment,
    printer: &Printer,
) -> Result<u8> {
    let selection = match (&select.group, &select.scope) {
        (Some(group), _) => Selection::Group(group.clone()),
        (_, Some(scope)) => Selection::Scope(scope.clone()),
        _ if select.all => Selection::All,
        _ => Selection::Ids(select.ids.clone()),
    };
    let by_id = matches!(selection, Selection::Ids(_));
    let request = Request::Control { action, select: selection, reason };
    let mut link = Link::new(environment.settings(), Work::Nothing);
    let answered = change(&mut link, action, request).await;
    link.close().await;
    let (count, changed, refused) = answered?;
    let (verb, done) = words(action);
    for id in &changed {
        if printer.json() {
            printer.data(json!({"taskId": id, "action": verb, "changed": true}));
        } else if by_id {
            printer.note(format_args!("{done} {}", text::printable(id)));
        }
    }
    if !by_id && !printer.json() {
        printer.note(format_args!("{done} {}", text::tasks(count)));
    }
    for (id, reason) in &refused {
        if printer.json() {
            printer.data(json!({"taskId": id, "action": verb, "changed": false, "reason": reason}));
        }
        printer.error(format_args!("{}: {}", text::printable(id), text::printable(reason)));
    }
    Ok(if refused.is_empty() { exit::DONE } else { exit::USAGE })
}

/// How many changed, ids of those that did, and ids with why they did not.
type Changes = (u64, Vec<String>, Vec<(String, String)>);

async fn change(link: &mut Link, action: Action, request: Request) -> Result<Changes> {
    let (count, mut changed, refused) = match link.call(request).await? {
        Reply::Changed { count, changed, refused } => (count, changed, refused),
        other => return Err(unexpected(&other)),
    };
    if link.generation() < 2 {
        return Ok((count, changed, refused));
    }
    // A `get` whose only task this was ends with it, perhaps before its answer came; then the request was made twice, and
    // the second time there was nothing left to change.
    let mut still_refused = Vec::new();
    for (id, reason) in refused {
        let (records, _) = records(link.call(Request::Show { id: id.clone() }).await?)?;
        let outcome = records.first().and_then(Outcome::of_json);
        match outcome {
            Some(outcome) if is_wanted(action, outcome.status) => changed.push(id),
            _ => still_refused.push((id, reason)),
        }
    }
    Ok((count.max(changed.len() as u64), changed, still_refused))
}

/// Whether this is where the action leads.
fn is_wanted(action: Action, status: Status) -> bool {
    match action {
        Action::Pause => status == Status::Paused,
        Action::Cancel => status == Status::Canceled,
        Action::Resume | Action::Retry => matches!(status, Status::Enqueued | Status::Running),
    }
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
