//! Answers every hook: says in the log that it was asked, and then does what the task's metadata says, a line for each hook
//! that is to do something: `on-request resolve 200 hello`. The other hooks go on, and decisions ask the next component.

use std::collections::BTreeMap;

wit_bindgen::generate!({
    inline: "
        package test:steered;
        world w {
            import haul:transfer/admit@0.1.0;
            export haul:transfer/admit@0.1.0;
            import haul:transfer/classify@0.1.0;
            export haul:transfer/classify@0.1.0;
            import haul:transfer/filename@0.1.0;
            export haul:transfer/filename@0.1.0;
            import haul:transfer/resume@0.1.0;
            export haul:transfer/resume@0.1.0;
            import haul:transfer/authorize@0.1.0;
            export haul:transfer/authorize@0.1.0;
            import haul:transfer/retry@0.1.0;
            export haul:transfer/retry@0.1.0;
            import haul:transfer/parts@0.1.0;
            export haul:transfer/parts@0.1.0;
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
    path: "../../wit",
    generate_all,
    merge_structurally_equal_types: true,
});

use exports::haul::transfer as hooks;
use haul::transfer as next;
use haul::transfer::types::{Auth, Failure, FailureDetail, FailureKind, Request, Response, Status, Task, Update};

struct Component;

/// Says that a hook is asked; answers the words that say what it is to do. `-`, `panic`, `loop`, `sleep` and `tell`
/// (what the task is) are the same for all hooks.
fn asked(task: &Task, hook: &str, about: &str) -> Vec<String> {
    println!("asked {hook} {}", about.replace('\n', " "));
    let lines = task.meta_data.lines().map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let words: Vec<String> =
        lines.into_iter().find(|words| words[0] == hook).map_or(vec![], |words| words[1..].to_vec());
    match words.first().map(String::as_str) {
        Some("panic") => panic!("on purpose"),
        Some("loop") => loop {
            std::hint::black_box(1);
        },
        Some("tell") => println!("{task:?}"),
        Some("sleep") => std::thread::sleep(std::time::Duration::from_secs(3600)),
        _ => {}
    }
    words
}

fn word(words: &[String], index: usize) -> &str {
    words.get(index).map_or("", String::as_str)
}

/// What a component should not tell: the task's `Authorization`.
fn secret(task: &Task) -> &str {
    let field = task.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    field.map_or("no secret", |(_, value)| value)
}

/// The header `name: value` that words from `index` on say, as `name=value` each.
fn headers(words: &[String], index: usize) -> Vec<(String, String)> {
    let pairs = words.iter().skip(index).filter_map(|word| word.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// `STATUS BODY NAME=VALUE...`
fn response(words: &[String], index: usize) -> Response {
    Response {
        status: word(words, index).parse().unwrap_or(200),
        headers: headers(words, index + 2),
        url: String::new(),
        body: word(words, index + 1).as_bytes().to_vec(),
        extra: vec![],
    }
}

fn failure(text: &str) -> Failure {
    Failure {
        kind: FailureKind::General,
        detail: FailureDetail::None,
        description: format!("rejected {text}"),
        http_status: None,
        retry_after_ms: None,
        outcome_unknown: false,
        extra: vec![],
    }
}

/// `URL NAME=VALUE...` on top of a request; `-` leaves the URL.
fn changed(request: Request, words: &[String]) -> Request {
    let url = Some(word(words, 1)).filter(|url| !url.is_empty() && *url != "-").map_or(request.url, str::to_owned);
    let headers = request.headers.into_iter().chain(headers(words, 2)).collect();
    Request { url, headers, ..request }
}

/// `AFTER-MS URL NAME=VALUE...`
fn changes(words: &[String]) -> hooks::on_response::Changes {
    hooks::on_response::Changes {
        after_ms: word(words, 1).parse().unwrap_or(0),
        url: Some(word(words, 2)).filter(|url| !url.is_empty() && *url != "-").map(str::to_owned),
        headers: headers(words, 3),
    }
}

fn follows(words: &[String]) -> bool {
    words.iter().any(|word| word == "follow")
}

impl hooks::before_task_start::Guest for Component {
    fn handle(task: Task) -> Option<Update> {
        let words = asked(&task, "before-task-start", "");
        // `complete FILE` names a file.
        if matches!(word(&words, 0), "cancel" | "complete") {
            let response_body = Some("not today".to_owned());
            let (response_headers, notes, extra) = (vec![], vec![], vec![]);
            return Some(Update {
                seq: 0,
                task_id: task.id,
                status: if word(&words, 0) == "cancel" { Status::Canceled } else { Status::Complete },
                at_ms: 0,
                file_path: words.get(1).cloned(),
                response_status: None,
                response_headers,
                response_body,
                failure: None,
                resumed_from_bytes: 0,
                notes,
                extra,
            });
        }
        (word(&words, 0) == "reason").then(|| Update {
            seq: 0,
            task_id: task.id.clone(),
            status: Status::Failed,
            at_ms: 0,
            file_path: None,
            response_status: Some(500),
            response_headers: vec![("x-note".into(), secret(&task).into())],
            response_body: Some(secret(&task).into()),
            failure: Some(failure(secret(&task))),
            resumed_from_bytes: 0,
            notes: vec![secret(&task).into()],
            extra: vec![],
        })
    }
}

impl hooks::on_auth::Guest for Component {
    fn handle(task: Task, auth: Auth, _reason: hooks::on_auth::Reason) -> hooks::on_auth::Verdict {
        let words = asked(&task, "on-auth", "");
        match word(&words, 0) {
            "token" => hooks::on_auth::Verdict::Refreshed(Auth { access_token: words.get(1).cloned(), ..auth }),
            "renew-at" => hooks::on_auth::Verdict::Refreshed(Auth { refresh_url: words.get(1).cloned(), ..auth }),
            "send-along" => {
                let leak = ("x-leak".to_owned(), "{refreshToken}".to_owned());
                hooks::on_auth::Verdict::Refreshed(Auth { access_headers: vec![leak], ..auth })
            }
            "reason" => {
                hooks::on_auth::Verdict::Failed(format!("no more of {}", auth.access_token.unwrap_or_default()))
            }
            _ => hooks::on_auth::Verdict::Unchanged,
        }
    }
}

impl hooks::on_task_start::Guest for Component {
    fn handle(task: Task) -> Option<hooks::on_task_start::Changes> {
        let words = asked(&task, "on-task-start", "");
        if word(&words, 0) == "pause-2" {
            std::thread::sleep(std::time::Duration::from_secs(2));
            println!("asked on-task-start after");
        }
        let url = Some(word(&words, 1)).filter(|url| !url.is_empty()).map(str::to_owned);
        let headers = headers(&words, 2);
        url.map(|url| hooks::on_task_start::Changes { url: Some(url), headers, remove_headers: vec![] })
    }
}

impl hooks::on_request::Guest for Component {
    fn handle(task: Task, request: Request) -> hooks::on_request::Verdict {
        use hooks::on_request::Verdict;
        let range = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("range"));
        let range = range.map_or(String::new(), |(_, value)| format!(" {value}"));
        let words = asked(&task, "on-request", &format!("{} {}{range}", request.method, request.url));
        match word(&words, 0) {
            "next" => Verdict::Next(changed(request, &words)),
            "stamp" => {
                let fields = [request.headers, vec![("x-seen".to_owned(), "yes".to_owned())]].concat();
                Verdict::Next(Request { headers: fields, ..request })
            }
            "resolve" => Verdict::Resolve((response(&words, 1), follows(&words))),
            "reject" => Verdict::Reject((failure("request"), follows(&words))),
            "reason" => Verdict::Reject((failure(secret(&task)), false)),
            _ => Verdict::Next(request),
        }
    }
}

impl hooks::on_redirect::Guest for Component {
    fn handle(task: Task, hop: hooks::on_redirect::Hop) -> hooks::on_redirect::Verdict {
        use hooks::on_redirect::Verdict;
        let about = format!("{} {} {} -> {}", hop.number, hop.status, hop.from_url, hop.next.url);
        let words = asked(&task, "on-redirect", &about);
        match word(&words, 0) {
            "with" => Verdict::FollowWith(changed(hop.next, &words)),
            "stop" => Verdict::StopHere,
            "reject" => Verdict::Reject(failure("redirect")),
            _ => Verdict::Follow,
        }
    }
}

impl hooks::on_response::Guest for Component {
    fn handle(task: Task, response: Response) -> hooks::on_response::Verdict {
        use hooks::on_response::Verdict;
        let about = format!("{} {} bytes", response.status, response.body.len());
        let words = asked(&task, "on-response", &about);
        // `STATUS-...` acts on that status only: `403-retry`.
        let verb = word(&words, 0).to_owned();
        let verb = match verb.split_once('-') {
            Some((status, verb)) if status == response.status.to_string() => verb.to_owned(),
            Some(_) => String::new(),
            None => verb,
        };
        match verb.as_str() {
            "status" => Verdict::Next(Response { status: word(&words, 1).parse().unwrap_or(0), ..response }),
            "note" => {
                let fields = [response.headers, vec![("x-note".to_owned(), secret(&task).to_owned())]].concat();
                Verdict::Next(Response { headers: fields, ..response })
            }
            "header" => {
                let fields = response.headers.into_iter().chain(headers(&words, 1)).collect();
                Verdict::Next(Response { headers: fields, ..response })
            }
            "resolve" => Verdict::Resolve(follows(&words)),
            "reject" => Verdict::Reject((failure(&String::from_utf8_lossy(&response.body)), follows(&words))),
            "retry" => Verdict::Retry(changes(&words)),
            _ => Verdict::Next(response),
        }
    }
}

impl hooks::on_error::Guest for Component {
    fn handle(task: Task, failure: Failure, attempt: u32) -> hooks::on_error::Verdict {
        use hooks::on_error::Verdict;
        let extra: BTreeMap<String, String> = failure.extra.into_iter().collect();
        let part = extra.get("part").map_or(String::new(), |part| format!(" part {part}"));
        let about = format!("{:?} {} attempt {attempt}{part}", failure.kind, failure.http_status.unwrap_or(0));
        let words = asked(&task, "on-error", &about);
        match word(&words, 0) {
            "resolve" => Verdict::Resolve(response(&words, 1)),
            "reject" => Verdict::Reject(self::failure("error")),
            "reason" => Verdict::Reject(self::failure(secret(&task))),
            "retry" => Verdict::Retry(changes(&words)),
            _ => Verdict::Next,
        }
    }
}

impl hooks::on_progress::Guest for Component {
    fn handle(task: Task, progress: hooks::on_progress::Progress) -> hooks::on_progress::Verdict {
        use hooks::on_progress::Verdict;
        let words = asked(&task, "on-progress", &format!("{} bytes", progress.bytes_done));
        match word(&words, 0) {
            "pause" => Verdict::Pause,
            "cancel" => Verdict::Cancel,
            _ => Verdict::GoOn,
        }
    }
}

impl hooks::verify::Guest for Component {
    fn handle(task: Task, finished: hooks::verify::Finished) -> Result<(), String> {
        let digests: Vec<String> = finished.digests.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let about = format!("{} bytes {} first {}", finished.bytes, digests.join(","), finished.first_bytes.len());
        let words = asked(&task, "verify", &about);
        match word(&words, 0) {
            "refuse" => Err("it looks wrong".into()),
            "reason" => Err(secret(&task).to_owned()),
            "show" => {
                println!("first bytes {}", String::from_utf8_lossy(&finished.first_bytes));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl hooks::on_task_finished::Guest for Component {
    fn handle(task: Task, update: Update) {
        asked(&task, "on-task-finished", &format!("{:?}", update.status));
    }
}

impl hooks::admit::Guest for Component {
    fn decide(tasks: Vec<Task>, context: hooks::admit::Context) -> Vec<Result<Task, Vec<hooks::admit::Problem>>> {
        let words: Vec<_> = tasks.iter().map(|task| asked(task, "admit", "")).collect();
        let mut answers = next::admit::decide(&tasks, &context);
        for ((words, given), answer) in words.iter().zip(&tasks).zip(&mut answers) {
            let Ok(task) = answer else { continue };
            match word(words, 0) {
                "callbacks" => task.callbacks = words[1..].to_vec(),
                "url" => task.url = word(words, 1).into(),
                "profile" => task.extra = vec![("haul.profile".into(), word(words, 1).into())],
                "directory" => task.directory = word(words, 1).into(),
                "group" => task.group = word(words, 1).into(),
                "header" => task.headers.extend(headers(words, 1)),
                "priority" => task.priority = word(words, 1).parse().unwrap_or(5),
                "silent" => *answer = Err(vec![]),
                "reason" => {
                    let reason = format!("is not wanted: {}", secret(given));
                    *answer = Err(vec![hooks::admit::Problem { field: "url".into(), reason }]);
                }
                _ => {}
            }
        }
        answers
    }
}

impl hooks::classify::Guest for Component {
    fn decide(task: Task, how: hooks::classify::Asked, response: Response) -> hooks::classify::Verdict {
        use hooks::classify::{RestartReason, Verdict};
        let words = asked(&task, "classify", &response.status.to_string());
        if word(&words, 0) != response.status.to_string() {
            return next::classify::decide(&task, &how, &response);
        }
        // Mostly of answers about the rest.
        match (how.range_from_bytes, word(&words, 1)) {
            (Some(from), "continues") => Verdict::Continues(from),
            (Some(_), "complete") => Verdict::AlreadyComplete,
            (Some(_), "whole") => Verdict::UseFromZero(RestartReason::WholeBody),
            (Some(_), "success") => Verdict::Success,
            (_, "again") => Verdict::AskFromZero(RestartReason::Changed),
            (_, "failed") => Verdict::Failed(failure("answer")),
            (_, "missing") => Verdict::NotFound,
            (_, "other") => Verdict::Other("odd".into()),
            _ => next::classify::decide(&task, &how, &response),
        }
    }
}

impl hooks::filename::Guest for Component {
    fn decide(task: Task, response: Response, taken: Vec<String>) -> String {
        let words = asked(&task, "filename", "");
        let name = next::filename::decide(&task, &response, &taken);
        match word(&words, 0) {
            "append" => format!("{name}{}", word(&words, 1)),
            "call-it" => word(&words, 1).to_owned(),
            "secret" => secret(&task).replace(' ', "-"),
            _ => name,
        }
    }
}

impl hooks::resume::Guest for Component {
    fn decide(task: Task, stored: hooks::resume::Stored) -> hooks::resume::Answer {
        use hooks::resume::{Answer, Terms, Verdict};
        let words = asked(&task, "resume", &stored.bytes_done.to_string());
        let verdict = match word(&words, 0) {
            "go-on" => Verdict::GoOn(Terms { from_bytes: stored.bytes_done, if_range: word(&words, 1).into() }),
            "nothing" => Verdict::NothingMissing,
            "refuse" => Verdict::Refuse("not from half a film".into()),
            _ => return next::resume::decide(&task, &stored),
        };
        Answer { verdict, conditions: vec![] }
    }
}

impl hooks::authorize::Guest for Component {
    fn decide(
        task: Task,
        auth: Auth,
        situation: hooks::authorize::Situation,
        now_at_ms: u64,
    ) -> hooks::authorize::Verdict {
        let words = asked(&task, "authorize", "");
        if word(&words, 0) == "send" {
            let url = word(&words, 1).to_owned();
            let request = Request { method: "POST".into(), url, headers: vec![], body: vec![], extra: vec![] };
            return hooks::authorize::Verdict::Send(request);
        }
        next::authorize::decide(&task, &auth, &situation, now_at_ms)
    }
}

impl hooks::retry::Guest for Component {
    fn decide(task: Task, attempt: hooks::retry::Attempt, failure: Failure) -> hooks::retry::Verdict {
        let words = asked(&task, "retry", "");
        match word(&words, 0) {
            "now" if attempt.retries_remaining > 0 => return hooks::retry::Verdict::AfterMs(0),
            "always" => return hooks::retry::Verdict::AfterMs(0),
            _ => {}
        }
        next::retry::decide(&task, &attempt, &failure)
    }
}

impl hooks::parts::Guest for Component {
    fn decide(task: Task, what: hooks::parts::Known) -> hooks::parts::Verdict {
        let words = asked(&task, "parts", "");
        match word(&words, 0) {
            // Whatever the length: the default policy does not divide what is small.
            "divide" => {
                let parts: u64 = word(&words, 1).parse().unwrap_or(2);
                let size = what.total_bytes / parts;
                let part = |number: u64| hooks::parts::Part {
                    place: 0,
                    first_byte: number * size,
                    last_byte: if number + 1 == parts { what.total_bytes - 1 } else { (number + 1) * size - 1 },
                };
                hooks::parts::Verdict::Divide((0..parts).map(part).collect())
            }
            _ => next::parts::decide(&task, &what),
        }
    }
}

export!(Component);
