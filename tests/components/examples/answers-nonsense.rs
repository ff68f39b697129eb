//! Answers every question with something that nobody may act on.

wit_bindgen::generate!({
    inline: "
        package test:nonsense;
        world w {
            export haul:transfer/filename@0.1.0;
            export haul:transfer/classify@0.1.0;
            export haul:transfer/resume@0.1.0;
            export haul:transfer/authorize@0.1.0;
            export haul:transfer/retry@0.1.0;
            export haul:transfer/admit@0.1.0;
            export haul:transfer/before-task-start@0.1.0;
            export haul:transfer/on-task-start@0.1.0;
        }
    ",
    path: "../../wit",
    generate_all,
});

use exports::haul::transfer::{admit, authorize, before_task_start, classify, filename, on_task_start, resume, retry};
use haul::transfer::types::{Auth, Failure, Response, Status, Task, Update};

struct Component;

impl filename::Guest for Component {
    fn decide(task: Task, _response: Response, _taken: Vec<String>) -> String {
        task.meta_data // the test says which nonsense
    }
}

impl classify::Guest for Component {
    fn decide(_task: Task, _asked: classify::Asked, _response: Response) -> classify::Verdict {
        classify::Verdict::Continues(999)
    }
}

impl resume::Guest for Component {
    fn decide(_task: Task, stored: resume::Stored) -> resume::Answer {
        let terms = resume::Terms { from_bytes: stored.bytes_done + 1, if_range: "\"v1\"".into() };
        resume::Answer { verdict: resume::Verdict::GoOn(terms), conditions: vec![] }
    }
}

impl authorize::Guest for Component {
    fn decide(_task: Task, _auth: Auth, _situation: authorize::Situation, _now_at_ms: u64) -> authorize::Verdict {
        let headers = vec![("x-a".into(), "1\r\nx-smuggled: 2".into())];
        authorize::Verdict::Ready(authorize::Credentials { headers, query: vec![] })
    }
}

impl retry::Guest for Component {
    fn decide(_task: Task, _attempt: retry::Attempt, _failure: Failure) -> retry::Verdict {
        retry::Verdict::AfterMs(u64::MAX)
    }
}

impl admit::Guest for Component {
    fn decide(tasks: Vec<Task>, _context: admit::Context) -> Vec<Result<Task, Vec<admit::Problem>>> {
        tasks.into_iter().map(|task| Ok(Task { priority: 99, ..task })).collect()
    }
}

impl before_task_start::Guest for Component {
    fn handle(task: Task) -> Option<Update> {
        Some(Update {
            seq: 1,
            task_id: task.id,
            status: Status::Running,
            at_ms: 0,
            file_path: None,
            response_status: None,
            response_headers: vec![],
            response_body: None,
            failure: None,
            resumed_from_bytes: 0,
            notes: vec![],
            extra: vec![],
        })
    }
}

impl on_task_start::Guest for Component {
    fn handle(_task: Task) -> Option<on_task_start::Changes> {
        Some(on_task_start::Changes {
            url: None,
            headers: vec![("Content-Length".into(), "7".into())],
            remove_headers: vec![],
        })
    }
}

export!(Component);
