//! Writes all that it is given, and all that it can find, to its log; and uses the credential `corp` without having it.
//! `metaData` of the task is a URL to fetch.

wit_bindgen::generate!({
    inline: "
        package test:tells;
        world w {
            import haul:transfer/fetch@0.1.0;
            import haul:transfer/classify@0.1.0;
            import haul:transfer/retry@0.1.0;
            export haul:transfer/classify@0.1.0;
            export haul:transfer/retry@0.1.0;
            export haul:transfer/on-task-start@0.1.0;
            export haul:transfer/on-task-finished@0.1.0;
        }
    ",
    path: "../../wit",
    generate_all,
});

use exports::haul::transfer::{classify, on_task_finished, on_task_start, retry};
use haul::transfer::fetch::fetch;
use haul::transfer::types::{Failure, Request, Response, Task, Update};

const HANDLE: &str = "Bearer {credential:corp}";

struct Component;

impl classify::Guest for Component {
    fn decide(task: Task, asked: classify::Asked, response: Response) -> classify::Verdict {
        println!("classify {task:?} {asked:?} {response:?}");
        match response.status {
            200..=299 => classify::Verdict::Success,
            404 => classify::Verdict::NotFound,
            _ => classify::Verdict::Failed(failure(&response)),
        }
    }
}

impl retry::Guest for Component {
    fn decide(task: Task, attempt: retry::Attempt, failure: Failure) -> retry::Verdict {
        println!("retry {task:?} {attempt:?} {failure:?}");
        retry::Verdict::GiveUp
    }
}

impl on_task_start::Guest for Component {
    fn handle(task: Task) -> Option<on_task_start::Changes> {
        println!("on-task-start {task:?}");
        let variables: Vec<_> = std::env::vars_os().collect();
        let arguments: Vec<_> = std::env::args_os().collect();
        let files: Vec<_> = std::fs::read_dir("/").into_iter().flatten().collect();
        println!("environment {} {} {}", variables.len(), arguments.len(), files.len());
        let mut answered = String::new();
        if !task.meta_data.is_empty() {
            let request = Request {
                method: "GET".into(),
                url: task.meta_data.clone(),
                headers: vec![("x-key".into(), HANDLE.into())],
                body: vec![],
                extra: vec![],
            };
            let response = fetch(&request);
            println!("fetch {response:?}");
            answered = match response {
                Ok(response) => {
                    println!("body {}", String::from_utf8_lossy(&response.body));
                    response.status.to_string()
                }
                Err(failure) => failure.description,
            };
        }
        let headers = vec![("x-key".into(), HANDLE.into()), ("x-fetched".into(), answered)];
        Some(on_task_start::Changes { url: None, headers, remove_headers: vec![] })
    }
}

impl on_task_finished::Guest for Component {
    fn handle(task: Task, update: Update) {
        println!("on-task-finished {task:?} {update:?}");
    }
}

fn failure(response: &Response) -> Failure {
    use haul::transfer::types::{FailureDetail, FailureKind};
    Failure {
        kind: FailureKind::HttpResponse,
        detail: FailureDetail::None,
        description: format!("told {:?}", response.headers),
        http_status: Some(response.status),
        retry_after_ms: None,
        outcome_unknown: false,
        extra: vec![],
    }
}

export!(Component);
