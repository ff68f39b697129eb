//! Which components a task asks: those that are attached, and its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use crate::error::{Failure, FailureKind};
use crate::hooks::{Chain, Component, ComponentSource};
use crate::task::Task;
use crate::transport::Transport;

/// The components attached to the task: those of every task and of its group, then the task's own, and last what replaces
/// the default policy.
pub(crate) async fn chain_of(shared: &Shared, transport: &Transport, task: &Task) -> Result<Chain, Failure> {
    let mut components = shared.components.of_group(Some(&task.group));
    for name in &task.callbacks {
        let own =
            own_component(shared, name, &task.group).await.map_err(|why| Failure::new(FailureKind::Callback, why))?;
        components.extend(own);
    }
    components.extend(shared.policy.get().map(Arc::clone));
    Ok(shared.hooks.chain(&components, transport))
}

/// The component that a task of a group names: none when such tasks ask it anyway, else the attached one of that name, else
/// the one at that absolute path, loaded without any grants on a thread that may wait for disks and compilers (loading it
/// again costs little). The error says what to do.
pub(crate) async fn own_component(shared: &Shared, name: &str, group: &str) -> Result<Option<Arc<Component>>, String> {
    if let Some(attached) = shared.components.named(name, group) {
        return Ok(attached);
    }
    let path = std::path::Path::new(name);
    if !path.is_absolute() {
        return Err(format!("`{name}` is neither attached (haul callbacks list) nor an absolute path"));
    }
    let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let source = ComponentSource { name: stem, path: path.to_owned(), ..ComponentSource::default() };
    let hooks = shared.hooks.clone();
    let loaded = tokio::task::spawn_blocking(move || hooks.load(&source)).await;
    let component = loaded.map_err(|_| format!("loading `{name}` panicked"))?.map_err(|error| error.to_string())?;
    shared.hear_of_ends.store(true, Ordering::Relaxed);
    Ok(Some(component))
}
