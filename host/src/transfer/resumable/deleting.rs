//! Deletes an upload at its server when its task was cancelled: tus' termination, where the server says that it has it, and the
//! DELETE of Resumable Uploads for HTTP. Asked for once, after the task's end, and within a time: nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use super::{call_to, dialect};
use crate::clock;
use crate::error::Failure;
use crate::profile::Transports;
use crate::task::{Resumable, UploadRecord};
use crate::transfer::authorize::{self, Prepared};
use crate::transfer::download::Wire;
use crate::transfer::{Attempt, Context, Job, Shared};
use crate::transport::Trail;

/// For all requests together.
const WITHIN: Duration = Duration::from_secs(10);
/// A server that still has its hands on the bytes of the connection that was cut (409, 423) is asked again after so long.
const BUSY: Duration = Duration::from_secs(1);

/// Whether the server does not have the upload any more.
pub(crate) async fn delete_upload(
    shared: &Arc<Shared>,
    transports: &Transports,
    job: &Job,
    upload: &UploadRecord,
) -> bool {
    let Some(protocol) = job.record.task.resumable() else { return false };
    let id = &job.record.task.task_id;
    match tokio::time::timeout(WITHIN, deleted(shared, transports, job, protocol, upload)).await {
        Ok(Ok(true)) => {
            tracing::info!("{id}: cancelled, and its upload deleted at the server");
            return true;
        }
        Ok(Ok(false)) => tracing::info!("{id}: cancelled; the server keeps its upload until it forgets it"),
        Ok(Err(failure)) => {
            let why = crate::mask::text(&failure.description);
            tracing::info!("{id}: cancelled; whether the server keeps its upload is not known: {why}");
        }
        Err(_) => tracing::info!("{id}: cancelled; the server did not say in time whether it has deleted the upload"),
    }
    false
}

/// With the task's credentials as they are now; those that have expired are refreshed.
async fn deleted(
    shared: &Arc<Shared>,
    transports: &Transports,
    job: &Job,
    protocol: Resumable,
    upload: &UploadRecord,
) -> Result<bool, Failure> {
    let mut attempt = Attempt::begin(shared, transports, job, &Trail::default()).await?;
    let mut tries = attempt.first().await;
    let fresh = {
        let cx = attempt.context(&tries.hook_task, None, &tries.renewals, tries.refreshes);
        match authorize::prepare(&cx).await? {
            Prepared::Ready(wire) => return ask(&cx, &wire, protocol, upload).await,
            Prepared::Refreshed(fresh) => fresh,
        }
    };
    tries.hook_task = attempt.renewed(fresh);
    let cx = attempt.context(&tries.hook_task, None, &tries.renewals, tries.refreshes);
    match authorize::prepare(&cx).await? {
        Prepared::Ready(wire) => ask(&cx, &wire, protocol, upload).await,
        Prepared::Refreshed(_) => Ok(false),
    }
}

async fn ask(cx: &Context<'_>, wire: &Wire, protocol: Resumable, upload: &UploadRecord) -> Result<bool, Failure> {
    if protocol == Resumable::Tus {
        let answer = cx.transport.send(call_to(cx, wire, &wire.url, "OPTIONS")).await?;
        if !dialect::terminates(&answer.headers) {
            return Ok(false);
        }
    }
    loop {
        let mut call = call_to(cx, wire, &upload.url, "DELETE");
        call.headers.extend(dialect::question(protocol));
        match cx.transport.send(call).await?.status {
            200..=299 | 404 | 410 => return Ok(true),
            409 | 423 => clock::sleep(BUSY).await,
            _ => return Ok(false),
        }
    }
}
