//! A component that steers haul's transfers, one hook of each kind. Take what you need and delete the rest.
//!
//! `generate!` below lists what it exports (hooks that it answers) and imports (decisions that it asks the next component
//! for, the default policy being the last). The contract with all its documentation is in `wit/`.

mod refresh;

wit_bindgen::generate!({
    inline: "
        package example:callbacks;

        world callbacks {
            export haul:transfer/before-task-start@0.1.0;
            export haul:transfer/on-auth@0.1.0;
            export haul:transfer/on-task-start@0.1.0;
            export haul:transfer/on-task-finished@0.1.0;

            import haul:transfer/filename@0.1.0;
            export haul:transfer/filename@0.1.0;
            import haul:transfer/retry@0.1.0;
            export haul:transfer/retry@0.1.0;
        }
    ",
    path: "../../wit", // where the contract is; copy wit/ along with this folder
    generate_all,
    merge_structurally_equal_types: true, // so that what a hook is asked can be handed to the next one
});

use exports::haul::transfer as hooks;
use haul::transfer as next;
use haul::transfer::types::{Auth, Failure, Response, Status, Task, Update};

struct Example;

/// Ends tasks whose metadata is `veto` before anything is sent.
impl hooks::before_task_start::Guest for Example {
    fn handle(task: Task) -> Option<Update> {
        (task.meta_data == "veto").then(|| Update {
            seq: 0,
            task_id: task.id,
            status: Status::Canceled,
            at_ms: 0,
            file_path: None,
            response_status: None,
            response_headers: vec![],
            response_body: Some("vetoed by the example".into()),
            failure: None,
            resumed_from_bytes: 0,
            notes: vec![],
            extra: vec![],
        })
    }
}

/// Renews the access token at the task's `refreshUrl`. Needs `--allow-host` for that URL's host.
impl hooks::on_auth::Guest for Example {
    fn handle(_task: Task, auth: Auth, _reason: hooks::on_auth::Reason) -> hooks::on_auth::Verdict {
        match refresh::renew(&auth) {
            Ok(renewed) => hooks::on_auth::Verdict::Refreshed(Auth {
                access_token: Some(renewed.access_token),
                access_token_expires_at_ms: renewed.expires_at_ms,
                ..auth
            }),
            Err(why) => hooks::on_auth::Verdict::Failed(why),
        }
    }
}

/// Stamps each request with the task's id.
impl hooks::on_task_start::Guest for Example {
    fn handle(task: Task) -> Option<hooks::on_task_start::Changes> {
        Some(hooks::on_task_start::Changes {
            url: None,
            headers: vec![("x-haul-example".into(), task.id)],
            remove_headers: vec![],
        })
    }
}

/// Whatever a component prints becomes lines of haul's log.
impl hooks::on_task_finished::Guest for Example {
    fn handle(task: Task, update: Update) {
        let status = match update.status {
            Status::Complete => "complete",
            Status::NotFound => "not-found",
            Status::Canceled => "canceled",
            _ => "failed",
        };
        println!("task {} of group {} ended: {status}", task.id, task.group);
    }
}

/// Puts the group before the name of tasks whose metadata is `rename`; the name itself is the next one's business.
impl hooks::filename::Guest for Example {
    fn decide(task: Task, response: Response, taken: Vec<String>) -> String {
        if task.meta_data != "rename" {
            return next::filename::decide(&task, &response, &taken);
        }
        let prefix = format!("{}-", task.group.replace('/', "_"));
        // The next one must not answer a name that is taken once the prefix is before it.
        let taken: Vec<String> = taken.iter().filter_map(|name| Some(name.strip_prefix(&prefix)?.to_owned())).collect();
        format!("{prefix}{}", next::filename::decide(&task, &response, &taken))
    }
}

/// Waits twice as long as the next one would when the server says that it is overloaded.
impl hooks::retry::Guest for Example {
    fn decide(task: Task, attempt: hooks::retry::Attempt, failure: Failure) -> hooks::retry::Verdict {
        use next::retry::Verdict;
        let verdict = next::retry::decide(&task, &attempt, &failure);
        match verdict {
            Verdict::AfterMs(wait_ms) if failure.http_status == Some(503) => Verdict::AfterMs(wait_ms * 2),
            verdict => verdict,
        }
    }
}

export!(Example);
