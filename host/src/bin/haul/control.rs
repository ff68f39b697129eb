//! `haul pause`, `resume`, `cancel`, `retry`, and `rm` and `clean`: changes to tasks that exist.

use haul::{Action, Changed, Error, Request, Result, Selection, Status, Work};
use serde_json::json;

use crate::args::{Clean, Resume, Rm, Select};
use crate::environment::Environment;
use crate::exit;
use crate::link::{Link, ask};
use crate::outcome::Outcome;
use crate::printer::Printer;
use crate::text;

/// Runs `pause`, `cancel` or `retry`, and `resume` without a URL; answers the exit code.
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
    let request = Request::Control { action, select: selection, reason, work: false };
    ask_and_tell(action, request, by_id, environment, printer).await
}

/// Runs `resume`; answers the exit code.
pub(crate) async fn resume(typed: &Resume, environment: &Environment, printer: &Printer) -> Result<u8> {
    let Some(url) = &typed.url else {
        return control(Action::Resume, &typed.select, None, environment, printer).await;
    };
    let [id] = typed.select.ids.as_slice() else {
        return Err(Error::Usage("--url is for one task: give one ID".into()));
    };
    let request = Request::ResumeAt { id: id.clone(), url: url.clone(), headers: typed.headers.clone(), work: false };
    ask_and_tell(Action::Resume, request, true, environment, printer).await
}

async fn ask_and_tell(
    action: Action,
    request: Request,
    by_id: bool,
    environment: &Environment,
    printer: &Printer,
) -> Result<u8> {
    let mut link = Link::new(environment.settings(), Work::Nothing);
    let answered = change(&mut link, action, request).await;
    link.close().await;
    let changed = answered?;
    let (verb, done) = words(action);
    for id in &changed.ids {
        if printer.json() {
            printer.data(json!({"taskId": id, "action": verb, "changed": true}));
        } else if by_id {
            printer.note(format_args!("{done} {}", text::printable(id)));
        }
    }
    if !by_id && !printer.json() {
        printer.note(format_args!("{done} {}", text::tasks(changed.count)));
    }
    for (id, reason) in &changed.refused {
        if printer.json() {
            printer.data(json!({"taskId": id, "action": verb, "changed": false, "reason": reason}));
        }
        printer.error(format_args!("{}: {}", text::printable(id), text::printable(reason)));
    }
    Ok(if changed.refused.is_empty() { exit::DONE } else { exit::USAGE })
}

async fn change(link: &mut Link, action: Action, request: Request) -> Result<Changed> {
    let mut changed = link.call(request).await?.changed()?;
    if link.generation() < 2 {
        return Ok(changed);
    }
    // A `get` whose only task this was ends with it, perhaps before its answer came; then the request was made twice, and
    // the second time there was nothing left to change.
    for (id, reason) in std::mem::take(&mut changed.refused) {
        let record = link.call(Request::Show { id: id.clone() }).await?.record()?;
        match Outcome::of_json(&record) {
            Some(outcome) if is_wanted(action, outcome.status) => changed.ids.push(id),
            _ => changed.refused.push((id, reason)),
        }
    }
    changed.count = changed.count.max(changed.ids.len() as u64);
    Ok(changed)
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
    let forgotten = ask(environment.settings(), request).await?.count()?;
    if printer.json() {
        printer.data(json!({ "forgotten": forgotten }));
    } else {
        printer.note(format_args!("forgot {}", text::tasks(forgotten)));
    }
    Ok(exit::DONE)
}
