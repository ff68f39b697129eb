//! The name of a downloaded file: the task's, else what hook `filename` says, and what follows from one that is taken.

use crate::error::{Failure, FailureKind};
use crate::event::Details;
use crate::hooks::HookHead;
use crate::sandbox::{Directory, in_the_way};
use crate::task::{OnConflict, Status};
use crate::transfer::{Context, Stopped};

/// What is in the way of a name that the task gives is found before anything is asked.
pub(super) fn taken_by_given_name(cx: &Context<'_>, directory: &Directory) -> Result<(), Stopped> {
    match cx.task.filename.as_deref().filter(|name| directory.exists(name)) {
        Some(name) => taken(cx, directory, name),
        None => Ok(()),
    }
}

/// What follows from a name that exists, unless another one is found for it.
fn taken(cx: &Context<'_>, directory: &Directory, name: &str) -> Result<(), Stopped> {
    let obstacle = directory.obstacle(name);
    let is_long = |than: u64| obstacle.is_none() && directory.size(name).is_some_and(|size| size > than);
    if cx.shared.skip_existing.is_some_and(is_long) {
        return Err(Stopped::Final(Status::Complete, Box::new(skipped(directory, name))));
    }
    match (cx.task.on_conflict, obstacle) {
        (Some(OnConflict::Fail), _) => Err(exists_already(name).into()),
        (Some(OnConflict::Skip | OnConflict::Replace), Some(obstacle)) => Err(in_the_way(name, obstacle).into()),
        (Some(OnConflict::Skip), None) => Err(Stopped::Final(Status::Complete, Box::new(skipped(directory, name)))),
        _ => Ok(()),
    }
}

/// The file is there and is left alone (background_downloader's skipExistingFiles: status code 304).
pub(crate) fn skipped(directory: &Directory, name: &str) -> Details {
    Details {
        file_path: Some(directory.path().join(name).to_string_lossy().into_owned()),
        response_status_code: Some(304),
        notes: vec!["kept-existing".into()],
        ..Details::default()
    }
}

/// `on-conflict` is `fail` and the name is taken.
pub(crate) fn exists_already(name: &str) -> Failure {
    Failure::new(FailureKind::FileSystem, format!("`{name}` exists already, and the task says to fail then"))
}

/// The name of the finished file: the task's, or what the `filename` hook says, made unique where the task wants that.
pub(super) async fn name_of(cx: &Context<'_>, directory: &Directory, head: &HookHead) -> Result<String, Stopped> {
    let task = cx.task;
    let name = match &task.filename {
        Some(name) => name.clone(),
        None => cx.chain.filename(cx.hook_task, head, &[]).await?,
    };
    if !directory.exists(&name) {
        return Ok(name);
    }
    taken(cx, directory, &name)?;
    if matches!(task.on_conflict, Some(OnConflict::Unique) | None) {
        return Ok(cx.chain.filename(cx.hook_task, head, &directory.names_like(&name)).await?);
    }
    Ok(name)
}
