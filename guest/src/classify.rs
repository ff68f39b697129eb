//! What a response means for a task: success, a continuation of stored bytes, a fresh start, or a failure.
//!
//! Every check of RFC 9110 14.4 and 15.3.7 that can be made on a response's head is made here, so that bytes of two
//! versions of a resource are never joined (reliability B.1). Which codes count as success is background_downloader's
//! rule B.4: 200 to 206, unless the task lists others.
//!
//! It follows no redirects and reads no bodies. `retry-after-ms` of its failures stays empty: a date needs a clock, so the
//! host fills it in from the response's headers. Whether to try again is the business of `retry`.

use crate::bindings::exports::haul::transfer::classify::{Asked, RestartReason, Verdict};
use crate::bindings::haul::transfer::types::{Failure, FailureDetail, FailureKind, Response, Task, TaskKind};
use crate::http::{self, AskedRange, ContentRange};
use alloc::{format, string::String, vec::Vec};

#[cfg(test)]
mod tests;

/// The note when a task asks for a range and gets the whole.
const RANGE_IGNORED: &str = "range-ignored";

/// So often a request is repeated from zero within one attempt.
const RESTARTS_MAX: u32 = 2;

/// Judges a response by its head.
pub(crate) fn decide(task: &Task, asked: &Asked, response: &Response) -> Verdict {
    if response.status == 404 && !accepts(task, 404) {
        return Verdict::NotFound;
    }
    let verdict = match asked.range_from_bytes {
        Some(first) => judge_range(task, asked, response, first),
        None => judge_whole(task, asked, response),
    };
    match verdict {
        Verdict::AskFromZero(_) if asked.restarts >= RESTARTS_MAX => Verdict::Failed(failure(
            FailureKind::Resume,
            response,
            "server keeps sending ranges that cannot be used".into(),
        )),
        verdict => verdict,
    }
}

/// Judges the answer to a request without a range of ours.
fn judge_whole(task: &Task, asked: &Asked, response: &Response) -> Verdict {
    if !accepts(task, response.status) {
        return refused(response);
    }
    if !http::is_download(task) || !http::is_plain_get(task) {
        return Verdict::Success;
    }
    let own = http::single(&task.headers, "range").and_then(http::asked_range).filter(|_| asked.own_range);
    match (own, response.status) {
        (Some(own), 206) if is_whole_part(own, response) => Verdict::Success,
        (Some(_), 206) => Verdict::Failed(failure(
            FailureKind::Resume,
            response,
            "server answered with another range than the task asks for".into(),
        )),
        // The server took no notice of the range, which it may: the task gets the whole, and is told.
        (Some(_), 200) => Verdict::UseFromZero(RestartReason::Other(RANGE_IGNORED.into())),
        // RFC 9110 15.3.7: nobody asked for a part.
        (None, 206) if asked.restarts == 0 => Verdict::AskFromZero(RestartReason::BadRange),
        (None, 206) => Verdict::Failed(failure(
            FailureKind::Resume,
            response,
            "server answers with a part of the file though none was asked for".into(),
        )),
        _ => Verdict::Success,
    }
}

/// Whether a 206 is all of the range that the task itself asks for (RFC 9110 14.4, 15.3.7).
fn is_whole_part(own: AskedRange, response: &Response) -> bool {
    let Some((first, last, complete)) = part(response) else { return false };
    let end = complete.map(|complete| complete.saturating_sub(1));
    match own {
        AskedRange::From { first: asked, last: Some(wanted) } => {
            first == asked && last == end.map_or(wanted, |end| end.min(wanted))
        }
        AskedRange::From { first: asked, last: None } => first == asked && end.is_none_or(|end| last == end),
        AskedRange::Last { length } => match complete {
            Some(complete) => first == complete.saturating_sub(length) && Some(last) == end,
            None => last - first < length,
        },
    }
}

/// Judges the answer to a request for the bytes from `first` on.
fn judge_range(task: &Task, asked: &Asked, response: &Response, first: u64) -> Verdict {
    match response.status {
        206 => match judge_part(asked, response, first) {
            Ok(()) => Verdict::Continues(first),
            Err(reason) => Verdict::AskFromZero(reason),
        },
        416 => judge_unsatisfied(asked, response, first),
        status if !accepts(task, status) => refused(response),
        // The whole resource is of no use to a task that wants a part of it: ask for that part afresh.
        _ if asked.own_range => Verdict::AskFromZero(whole_reason(asked, response)),
        // It says itself that it is no whole, whatever its status means.
        200 if is_tail(response) => Verdict::AskFromZero(RestartReason::BadRange),
        // No content, or the answer to something else: giving stored bytes up for it would lose them.
        201 | 202 | 204 | 205 => Verdict::AskFromZero(RestartReason::BadRange),
        _ => Verdict::UseFromZero(whole_reason(asked, response)),
    }
}

/// The one part of a 206 in good form: first and last byte, and the length of the whole where it is known.
fn part(response: &Response) -> Option<(u64, u64, Option<u64>)> {
    let headers = &response.headers;
    let several = http::values(headers, "content-type")
        .any(|value| http::starts_with_ignoring_case(value, "multipart/byteranges"));
    if several || http::values(headers, "content-range").count() != 1 {
        return None;
    }
    let range = http::single(headers, "content-range").and_then(http::content_range)?;
    let ContentRange::Part { first, last, complete } = range else { return None };
    if http::has(headers, "content-length") {
        let length = http::single(headers, "content-length").and_then(http::content_length);
        // `last - first + 1`, without the sum that may not fit.
        if length.and_then(|length| length.checked_sub(1)) != Some(last - first) {
            return None;
        }
    }
    Some((first, last, complete))
}

/// Whether a 206 continues what is stored. First its form, then whether it is the same resource.
fn judge_part(asked: &Asked, response: &Response, asked_first: u64) -> Result<(), RestartReason> {
    let (first, last, complete) = part(response).ok_or(RestartReason::BadRange)?;
    if first != asked_first || asked.range_to_bytes.is_some_and(|asked_last| last > asked_last) {
        return Err(RestartReason::BadRange);
    }
    let other_size = match (complete, asked.total_bytes) {
        (Some(complete), Some(total)) => complete != total,
        (None, Some(total)) => last >= total,
        // Nobody would know whether its end is the end of the whole. Of a range that the task itself asks for, the task does.
        (None, None) if !asked.own_range => return Err(RestartReason::BadRange),
        (_, None) => false,
    };
    if other_size || compare(asked, response) == Same::No {
        return Err(RestartReason::Changed);
    }
    Ok(())
}

/// What a 416 says (RFC 9110 15.5.17): nothing is missing, the resource is another, or the server is confused.
fn judge_unsatisfied(asked: &Asked, response: &Response, first: u64) -> Verdict {
    let range = http::single(&response.headers, "content-range").and_then(http::content_range);
    let Some(ContentRange::Unsatisfied { complete }) = range else {
        return Verdict::AskFromZero(RestartReason::BadRange);
    };
    let same_size = asked.total_bytes.is_none_or(|total| total == complete);
    if !same_size || compare(asked, response) == Same::No {
        Verdict::AskFromZero(RestartReason::Changed)
    } else if complete == first && (asked.total_bytes.is_some() || confirms_validator(asked, response)) {
        Verdict::AlreadyComplete
    } else if asked.total_bytes.is_some() {
        Verdict::AskFromZero(RestartReason::BadRange) // It has these bytes, and will not give them.
    } else {
        Verdict::AskFromZero(RestartReason::Changed)
    }
}

/// Whether a response names a range that does not begin at the first byte.
fn is_tail(response: &Response) -> bool {
    let range = http::single(&response.headers, "content-range").and_then(http::content_range);
    matches!(range, Some(ContentRange::Part { first, .. }) if first > 0)
}

/// Why a server answers a range with the whole: the resource is another one, or it takes no notice of ranges.
fn whole_reason(asked: &Asked, response: &Response) -> RestartReason {
    let length = http::single(&response.headers, "content-length").and_then(http::content_length);
    let other_size = length.zip(asked.total_bytes).is_some_and(|(length, total)| length != total);
    if other_size || compare(asked, response) == Same::No { RestartReason::Changed } else { RestartReason::WholeBody }
}

/// What validators say about a response and the stored bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Same {
    No,
    NotContradicted,
}

/// Compares a response with the condition that was sent, byte by byte (RFC 9110 8.8.3.2, 13.1.5). A validator that is
/// missing says nothing: a 206 need not repeat Last-Modified (15.3.7), and some leave out the ETag, which they should not. The
/// host compares bytes then, for a server that takes no notice of If-Range looks just so.
fn compare(asked: &Asked, response: &Response) -> Same {
    let Some(condition) = asked.if_range.as_deref().map(|text| text.trim_matches([' ', '\t'])) else {
        return Same::NotContradicted;
    };
    let is_tag = http::is_etag(condition);
    let name = if is_tag { "etag" } else { "last-modified" };
    let differs = http::values(&response.headers, name).any(|value| value != condition);
    // A date is asked for only where the stored bytes came without a tag, and without an encoding, of which it says nothing.
    let has_tag = || http::values(&response.headers, "etag").any(http::is_etag);
    let is_another_kind = !is_tag && (has_tag() || is_encoded(response));
    if differs || is_another_kind { Same::No } else { Same::NotContradicted }
}

/// Whether the response names the validator that was asked for, of either kind. That it is no other one is known.
fn confirms_validator(asked: &Asked, response: &Response) -> bool {
    let condition = asked.if_range.as_deref().map(|text| text.trim_matches([' ', '\t']));
    condition
        .is_some_and(|text| http::has(&response.headers, if http::is_etag(text) { "etag" } else { "last-modified" }))
}

fn is_encoded(response: &Response) -> bool {
    http::values(&response.headers, "content-encoding")
        .any(|value| !value.is_empty() && !value.eq_ignore_ascii_case("identity"))
}

/// Whether a status counts as success.
fn accepts(task: &Task, status: u16) -> bool {
    if task.accept_status.is_empty() {
        // The answer to an upload may stand elsewhere; the upload is done (RFC 9110 15.4.4).
        let upload = matches!(task.kind, TaskKind::Upload | TaskKind::MultiUpload);
        return matches!(status, 200..=206) || (upload && status == 303);
    }
    task.accept_status.iter().any(|range| (range.first..=range.last).contains(&status))
}

fn refused(response: &Response) -> Verdict {
    let status = response.status;
    let reason = reason_phrase(status);
    let space = if reason.is_empty() { "" } else { " " };
    let who = if status == 407 { "proxy" } else { "server" }; // RFC 9110 15.5.8
    let more = if asks_for_body_digest(response) {
        ": it asks for Digest with `qop=auth-int`, a digest of the body, which is not made here"
    } else {
        ""
    };
    let description = format!("{who} answered {status}{space}{reason}{more}");
    Verdict::Failed(failure(FailureKind::HttpResponse, response, description))
}

/// Whether a server or proxy offers no other way to prove who asks than Digest with integrity protection (RFC 7616 3.4.3).
fn asks_for_body_digest(response: &Response) -> bool {
    let name = match response.status {
        401 => "www-authenticate",
        407 => "proxy-authenticate",
        _ => return false,
    };
    let bare = |value: &str| -> String { value.chars().filter(|c| !matches!(c, ' ' | '"')).collect() };
    let mut challenges =
        http::values(&response.headers, name).map(|value| bare(&value.to_ascii_lowercase())).peekable();
    let offers_more = |value: &str| {
        ["qop=auth,", "auth-int,auth", "basicrealm="].iter().any(|other| value.contains(other))
            || value.ends_with("qop=auth")
    };
    let is_only = |value: String| value.starts_with("digest") && value.contains("qop=auth-int") && !offers_more(&value);
    challenges.peek().is_some() && challenges.all(is_only)
}

fn failure(kind: FailureKind, response: &Response, description: String) -> Failure {
    Failure {
        kind,
        detail: FailureDetail::None,
        description,
        http_status: Some(response.status),
        retry_after_ms: None,
        outcome_unknown: false,
        extra: Vec::new(),
    }
}

/// The usual words for a status (RFC 9110 15 and the registry), for people. Empty for codes nobody meets.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        425 => "Too Early",
        429 => "Too Many Requests",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        511 => "Network Authentication Required",
        _ => "",
    }
}
