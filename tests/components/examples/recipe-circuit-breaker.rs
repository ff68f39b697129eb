//! Recipe: a server that has failed three times in a row is left alone for half a minute.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

wit_bindgen::generate!({
    inline: "
        package recipe:circuit-breaker;
        world w {
            export haul:transfer/on-request@0.1.0;
            export haul:transfer/on-response@0.1.0;
            export haul:transfer/on-error@0.1.0;
        }
    ",
    path: "../../wit",
    generate_all,
});

use exports::haul::transfer::{on_error, on_request, on_response};
use haul::transfer::types::{Failure, FailureDetail, FailureKind, Request, Response, Task};

const FAILURES: u32 = 3;
const PAUSE_MS: u64 = 30_000;

/// By host: failures in a row, and until when it is left alone. An instance keeps its state from call to call; haul has up
/// to two of a component, so that each of them counts for itself.
static HOSTS: Mutex<BTreeMap<String, (u32, u64)>> = Mutex::new(BTreeMap::new());

struct Recipe;

impl on_request::Guest for Recipe {
    fn handle(_task: Task, request: Request) -> on_request::Verdict {
        let hosts = HOSTS.lock().unwrap();
        let until = hosts.get(host(&request.url)).map_or(0, |(_, until)| *until);
        let left = until.saturating_sub(now_ms());
        if left == 0 {
            return on_request::Verdict::Next(request);
        }
        let failure = Failure {
            kind: FailureKind::Connection,
            detail: FailureDetail::NotConnected,
            description: "the server has failed too often and is left alone for a while".into(),
            http_status: None,
            retry_after_ms: Some(left),
            outcome_unknown: false,
            extra: vec![],
        };
        on_request::Verdict::Reject((failure, false)) // it is no failure of the server
    }
}

impl on_response::Guest for Recipe {
    fn handle(_task: Task, response: Response) -> on_response::Verdict {
        if response.status < 500 {
            HOSTS.lock().unwrap().remove(host(&response.url));
        }
        on_response::Verdict::Next(response)
    }
}

impl on_error::Guest for Recipe {
    fn handle(task: Task, failure: Failure, _attempt: u32) -> on_error::Verdict {
        let is_theirs = matches!(failure.kind, FailureKind::Connection) || failure.http_status >= Some(500);
        if is_theirs {
            let mut hosts = HOSTS.lock().unwrap();
            let (failures, until) = hosts.entry(host(&task.url).to_owned()).or_default();
            *failures += 1;
            if *failures >= FAILURES {
                (*failures, *until) = (0, now_ms() + PAUSE_MS);
            }
        }
        on_error::Verdict::Next
    }
}

fn host(url: &str) -> &str {
    url.split('/').nth(2).unwrap_or_default()
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

export!(Recipe);
