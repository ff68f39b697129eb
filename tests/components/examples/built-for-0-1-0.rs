//! Was built for the contract as it was released as 0.1.0: it must load and run for as long as haul speaks 0.1.

wit_bindgen::generate!({
    inline: "
        package test:old;
        world w {
            import haul:transfer/fetch@0.1.0;
            import haul:transfer/filename@0.1.0;
            import haul:transfer/retry@0.1.0;
            export haul:transfer/filename@0.1.0;
            export haul:transfer/retry@0.1.0;
            export haul:transfer/before-task-start@0.1.0;
            export haul:transfer/on-auth@0.1.0;
            export haul:transfer/on-task-start@0.1.0;
            export haul:transfer/on-request@0.1.0;
            export haul:transfer/on-redirect@0.1.0;
            export haul:transfer/on-response@0.1.0;
            export haul:transfer/on-error@0.1.0;
            export haul:transfer/on-progress@0.1.0;
            export haul:transfer/verify@0.1.0;
            export haul:transfer/on-task-finished@0.1.0;
        }
    ",
    path: "../../wit/released/0.1.0",
    generate_all,
});

use exports::haul::transfer::{
    before_task_start, filename, on_auth, on_error, on_progress, on_redirect, on_request, on_response,
    on_task_finished, on_task_start, retry, verify,
};
use haul::transfer::types::{Auth, Failure, Request, Response, Task, Update};

struct Component;

impl filename::Guest for Component {
    fn decide(task: Task, response: Response, taken: Vec<String>) -> String {
        format!("old-{}", haul::transfer::filename::decide(&task, &response, &taken))
    }
}

impl retry::Guest for Component {
    fn decide(_task: Task, _attempt: retry::Attempt, _failure: Failure) -> retry::Verdict {
        retry::Verdict::GiveUp
    }
}

impl before_task_start::Guest for Component {
    fn handle(_task: Task) -> Option<Update> {
        None
    }
}

impl on_auth::Guest for Component {
    fn handle(_task: Task, _auth: Auth, _reason: on_auth::Reason) -> on_auth::Verdict {
        on_auth::Verdict::Unchanged
    }
}

impl on_task_start::Guest for Component {
    fn handle(task: Task) -> Option<on_task_start::Changes> {
        Some(on_task_start::Changes { url: None, headers: vec![("x-old".into(), task.id)], remove_headers: vec![] })
    }
}

impl on_request::Guest for Component {
    fn handle(_task: Task, request: Request) -> on_request::Verdict {
        on_request::Verdict::Next(request)
    }
}

impl on_redirect::Guest for Component {
    fn handle(_task: Task, _hop: on_redirect::Hop) -> on_redirect::Verdict {
        on_redirect::Verdict::Follow
    }
}

impl on_response::Guest for Component {
    fn handle(_task: Task, response: Response) -> on_response::Verdict {
        on_response::Verdict::Next(response)
    }
}

impl on_error::Guest for Component {
    fn handle(_task: Task, _failure: Failure, _attempt: u32) -> on_error::Verdict {
        on_error::Verdict::Next
    }
}

impl on_progress::Guest for Component {
    fn handle(_task: Task, _progress: on_progress::Progress) -> on_progress::Verdict {
        on_progress::Verdict::GoOn
    }
}

impl verify::Guest for Component {
    fn handle(_task: Task, _finished: verify::Finished) -> Result<(), String> {
        Ok(())
    }
}

impl on_task_finished::Guest for Component {
    fn handle(_task: Task, update: Update) {
        println!("old component heard of {}", update.task_id);
    }
}

export!(Component);
