//! Headers and method.
//!
//! A header that could split a request, lie about its body, or belongs to the connection is refused (RFC 9110 5.5, 7.6.1;
//! RFC 9112 11.1). What headers mean to the server is not looked at, `Range` excepted.

use super::{Problems, is_data, is_upload, quoted};
use crate::bindings::haul::transfer::types::{Body, Task, TaskKind};
use crate::http::{self, AskedRange};
use alloc::{format, string::String};

/// Headers that the engine sets itself, or that are not a task's to set.
const OWN_HEADERS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "if-range",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A.2: the methods of tasks that move files. Requests may have any.
const METHODS: [&str; 6] = ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH"];

/// Checks headers and method; the method is in capitals afterwards.
pub(super) fn admit(task: &mut Task, problems: &mut Problems) {
    check_all(&task.headers, "headers", "", problems);
    for (name, value) in &mut task.headers {
        *name = name.trim().into();
        *value = value.trim_matches([' ', '\t']).into();
    }
    if let Some(auth) = &task.auth {
        check_all(&auth.access_headers, "options", "in accessHeaders ", problems);
        check_all(&auth.refresh_headers, "options", "in refreshHeaders ", problems);
    }
    check_range(task, problems);
    check_method(task, problems);
}

fn check_all(headers: &[(String, String)], field: &str, place: &str, problems: &mut Problems) {
    for (name, value) in headers {
        let token = name.trim();
        if !http::is_token(token) {
            problems.add(field, format!("must have {place}names of letters, digits and hyphens, not {}", quoted(name)));
        } else if OWN_HEADERS.iter().any(|own| token.eq_ignore_ascii_case(own)) {
            problems.add(field, format!("must not hold {place}`{token}`, which is set by haul itself"));
        } else if !http::is_field_value(value) {
            problems.add(field, format!("must not have {place}control characters in the value of `{token}`"));
        }
    }
}

/// A range asked for by the task itself (B.6): one, and one that is understood, since resuming within it has to count.
fn check_range(task: &Task, problems: &mut Problems) {
    let mut ranges = http::values(&task.headers, "range");
    let Some(range) = ranges.next() else { return };
    if ranges.next().is_some() {
        return problems.add("headers", "must hold `Range` only once");
    }
    match http::asked_range(range) {
        None | Some(AskedRange::Last { .. }) if is_upload(task) => {
            problems.add("headers", "must have a `Range` of the form bytes=a-b or bytes=a- in an upload");
        }
        None => problems.add("headers", "must have a `Range` of the form bytes=a-b, bytes=a- or bytes=-n"),
        Some(_) => {}
    }
}

/// A.2: GET, or POST where there is something to send. A request may have any method (RFC 9110 9.1) but CONNECT, which asks for
/// a tunnel; TRACE has no content (RFC 9110 9.3.8).
fn check_method(task: &mut Task, problems: &mut Problems) {
    if task.method.is_empty() {
        let sends = is_upload(task) || !matches!(task.body, Body::None);
        task.method = if sends { "POST" } else { "GET" }.into();
        return;
    }
    let method = task.method.to_ascii_uppercase();
    if is_data(task) {
        let wrong = !http::is_token(&method) || method == "CONNECT";
        problems.add_if(wrong, "httpRequestMethod", "must be a method without spaces, and not CONNECT");
        let sends = method == "TRACE" && !matches!(task.body, Body::None);
        problems.add_if(sends, "post", "must be absent in a TRACE request");
    } else if !METHODS.contains(&method.as_str()) {
        problems.add(
            "httpRequestMethod",
            format!("must be GET, POST, HEAD, PUT, DELETE or PATCH, not {}", quoted(&task.method)),
        );
    } else if method != "GET" && matches!(task.kind, TaskKind::ParallelDownload) {
        problems.add("httpRequestMethod", format!("must be GET in a parallel download, not {method}"));
    }
    task.method = method;
}
