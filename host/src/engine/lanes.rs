//! Lanes: the threads that move bytes. Each is a single-threaded runtime with connections of its own, so that the thread
//! that reads a socket also writes the file.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::engine::Input;
use crate::error::Result;
use crate::event::{StatusUpdate, UPLOAD_DELETED};
use crate::hooks::Chain;
use crate::profile::Transports;
use crate::store::Change;
use crate::task::{Task, UploadRecord};
use crate::threads;
use crate::transfer::{self, End, Finished, Job, Shared};

/// Work for a lane.
pub(crate) enum Work {
    /// An attempt.
    Attempt(Box<Job>),
    /// An attempt of a request that nothing is recorded of.
    Send(Box<Job>, oneshot::Sender<End>),
    /// The upload of a cancelled task is to be deleted at its server.
    Forsake(Box<(Job, UploadRecord)>),
    /// A finished download needs another name.
    Rename(Box<Finished>),
    /// A task is over: components are told.
    Tell(Box<(Arc<Task>, StatusUpdate)>),
}

/// Hands work to a lane.
pub(crate) type Lane = mpsc::UnboundedSender<Work>;

/// Starts a lane. It ends when its sender is dropped.
pub(crate) fn start(
    number: usize,
    shared: Arc<Shared>,
    transports: Transports,
    tell: mpsc::UnboundedSender<Input>,
) -> Result<(Lane, std::thread::JoinHandle<()>)> {
    #[expect(clippy::disallowed_methods, reason = "holds at most the tasks that run")]
    let (sender, receiver) = mpsc::unbounded_channel();
    let thread = threads::spawn_with_runtime(&format!("haul-lane-{number}"), move |runtime| {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, serve(shared, Arc::new(transports), receiver, tell));
        runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    })?;
    Ok((sender, thread))
}

type Tell = mpsc::UnboundedSender<Input>;

#[expect(clippy::disallowed_methods, reason = "lanes own their attempts: each reports its end to the engine")]
async fn serve(shared: Arc<Shared>, transports: Arc<Transports>, mut work: mpsc::UnboundedReceiver<Work>, tell: Tell) {
    while let Some(work) = work.recv().await {
        let (shared, transports, tell) = (Arc::clone(&shared), Arc::clone(&transports), tell.clone());
        tokio::task::spawn_local(async move {
            match work {
                Work::Attempt(job) => {
                    let key = job.key;
                    // On the heap at once, as all the others: a task's future is moved several times, and these are large.
                    let end = Box::pin(transfer::run(&shared, &transports, *job)).await;
                    let _ = tell.send(Input::Ended { key, end });
                }
                Work::Send(job, mut reply) => tokio::select! {
                    end = Box::pin(transfer::run(&shared, &transports, *job)) => drop(reply.send(end)),
                    () = reply.closed() => {} // nobody waits for it any more
                },
                Work::Forsake(forsaken) => Box::pin(forsake(&shared, &transports, *forsaken, &tell)).await,
                Work::Rename(finished) => Box::pin(rename(&shared, &transports, *finished, &tell)).await,
                Work::Tell(told) => {
                    let seq = told.1.seq;
                    if let Some(chain) = Box::pin(chain_for(&shared, &transports, &told.0)).await {
                        Box::pin(chain.on_task_finished(&chain.prepare(&told.0), &told.1)).await;
                    }
                    let _ = tell.send(Input::Told { seq });
                }
            }
        });
    }
    shared.flights.land().await; // what runs here ends with this lane
}

/// Asks for the end of an upload once, and tells when the store knows that.
async fn forsake(shared: &Arc<Shared>, transports: &Transports, (job, upload): (Job, UploadRecord), tell: &Tell) {
    let key = job.key;
    let is_deleted = transfer::delete_upload(shared, transports, &job, &upload).await;
    let note = is_deleted.then_some(UPLOAD_DELETED);
    let is_written = shared.store.write(Change::Forsaken { key, note }).await.is_ok();
    let _ = tell.send(Input::Forsaken { key, is_written });
}

/// The components of a task whose bytes are there: a profile that is gone holds nothing up any more.
async fn chain_for(shared: &Shared, transports: &Transports, task: &Task) -> Option<Chain> {
    let transport = transports.of(task).unwrap_or(&transports.default);
    transfer::chain_of(shared, transport, task).await.ok()
}

/// Another name for a file whose name has been taken between the first byte and the last.
async fn rename(shared: &Arc<Shared>, transports: &Transports, mut finished: Finished, tell: &Tell) {
    let key = finished.key;
    let transport = transports.of(&finished.task).unwrap_or(&transports.default);
    let renamed = match transfer::chain_of(shared, transport, &finished.task).await {
        Ok(chain) => {
            let taken = finished.directory.names_like(&finished.final_name);
            chain.filename(&chain.prepare(&finished.task), &finished.head, &taken).await
        }
        Err(failure) => Err(failure),
    };
    let input = match renamed {
        Ok(name) => {
            finished.resume.final_name.clone_from(&name);
            finished.final_name = name;
            Input::Ended { key, end: transfer::End::Bytes(Box::new(finished)) }
        }
        Err(failure) => Input::Published { key, outcome: super::publisher::failed(finished, failure) },
    };
    let _ = tell.send(input);
}
