//! The rules for verdicts of the callback hooks on a request's way.

use super::{Checked, HEADERS_MAX, WAIT_MS_MAX, failure, headers, is_of_parts, is_ours, text, url};
use crate::hooks::convert::Responded;
use crate::hooks::{Head, OnError, OnRedirect, OnRequest, RequestHead, RetryChanges};
use crate::task::Pairs;

/// Longest body of a response that a component makes up.
pub(in crate::hooks) const RESPONSE_BODY_BYTES_MAX: usize = 256 << 10;

/// Header fields that say which bytes a response brings, of which version: a component that could change them could have the
/// bytes of two versions joined.
const OF_BYTES: [&str; 9] = [
    "accept-ranges",
    "content-encoding",
    "content-length",
    "content-range",
    "date",
    "etag",
    "last-modified",
    "repr-digest",
    "transfer-encoding",
];

pub(in crate::hooks) fn on_request(given: &RequestHead, verdict: OnRequest) -> Checked<OnRequest> {
    Ok(match verdict {
        OnRequest::Next(changed) => OnRequest::Next(changed_request(given, changed)?),
        OnRequest::Resolve { response: made_up, follow } => OnRequest::Resolve { response: response(made_up)?, follow },
        OnRequest::Reject { failure: given, follow } => OnRequest::Reject { failure: failure(given)?, follow },
    })
}

pub(in crate::hooks) fn on_redirect(next: &RequestHead, verdict: OnRedirect) -> Checked<OnRedirect> {
    Ok(match verdict {
        OnRedirect::FollowWith(changed) => OnRedirect::FollowWith(changed_request(next, changed)?),
        OnRedirect::Reject(given) => OnRedirect::Reject(failure(given)?),
        other => other,
    })
}

pub(in crate::hooks) fn on_response(given: &Head, verdict: Responded) -> Checked<Responded> {
    Ok(match verdict {
        Responded::Next(changed) => Responded::Next(changed_response(given, changed)?),
        Responded::Resolve(follow) => Responded::Resolve(follow),
        Responded::Reject { failure: given, follow } => Responded::Reject { failure: failure(given)?, follow },
        Responded::Retry(changes) => Responded::Retry(retry_changes(changes)?),
    })
}

pub(in crate::hooks) fn on_error(verdict: OnError) -> Checked<OnError> {
    Ok(match verdict {
        OnError::Next => OnError::Next,
        OnError::Resolve(made_up) => OnError::Resolve(response(made_up)?),
        OnError::Reject(given) => OnError::Reject(failure(given)?),
        OnError::Retry(changes) => OnError::Retry(retry_changes(changes)?),
    })
}

/// A request handed back: what the host alone writes stays as it was, and whatever is new must be usable.
fn changed_request(given: &RequestHead, mut changed: RequestHead) -> Checked<RequestHead> {
    if changed.method != given.method {
        return Err(format!("the method `{}` for a request by {}: it stays", text(changed.method), given.method));
    }
    if changed.url != given.url {
        url(&changed.url)?;
    }
    let is_new = |field: &&(String, String)| !given.headers.contains(field);
    headers(&changed.headers.iter().filter(is_new).cloned().collect())?;
    not_many_more(&changed.headers, &given.headers)?;
    changed.headers.retain(|(name, _)| !is_ours(name));
    changed.headers.extend(given.headers.iter().filter(|(name, _)| is_ours(name)).cloned());
    Ok(changed)
}

/// A response made up: framing is the host's business.
fn response(mut made_up: Head) -> Checked<Head> {
    if !(200..=599).contains(&made_up.status) {
        return Err(format!("a response with status {}, which is not within 200 to 599", made_up.status));
    }
    if is_of_parts(made_up.status) {
        return Err(format!("a response with status {}, which only a server can give", made_up.status));
    }
    if made_up.body.len() > RESPONSE_BODY_BYTES_MAX {
        let length = made_up.body.len();
        return Err(format!("a response of {length} bytes, at most {RESPONSE_BODY_BYTES_MAX} are taken"));
    }
    let told = made_up.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    // That of a body that a HEAD, say, does not bring.
    let is_there = !made_up.body.is_empty();
    let is_wrong =
        |told: &str| !told.bytes().all(|byte| byte.is_ascii_digit()) || told.parse() != Ok(made_up.body.len());
    if let Some((_, told)) = told.into_iter().find(|(_, told)| is_there && is_wrong(told.trim())) {
        let length = made_up.body.len();
        return Err(format!(
            "a response whose `content-length` is `{}`, with a body of {length} bytes",
            text(told.clone())
        ));
    }
    made_up.headers.retain(|(name, _)| !is_ours(name));
    headers(&made_up.headers)?;
    for (name, _) in &mut made_up.headers {
        name.make_ascii_lowercase();
    }
    Ok(made_up)
}

/// A response handed back: what says which bytes it brings stays as it was. Its URL and body stay, too.
fn changed_response(given: &Head, mut changed: Head) -> Checked<Head> {
    if !(200..=599).contains(&changed.status) {
        return Err(format!("a response with status {}, which is not within 200 to 599", changed.status));
    }
    if changed.status != given.status && (is_of_parts(changed.status) || is_of_parts(given.status)) {
        let (changed, given) = (changed.status, given.status);
        return Err(format!("status {changed} in the place of {given}: 206 and 416 are for servers to say"));
    }
    not_many_more(&changed.headers, &given.headers)?;
    let is_new = |field: &&(String, String)| !given.headers.contains(field) && !is_of_bytes(&field.0);
    headers(&changed.headers.iter().filter(is_new).cloned().collect())?;
    changed.headers.retain(|(name, _)| !is_of_bytes(name));
    changed.headers.extend(given.headers.iter().filter(|(name, _)| is_of_bytes(name)).cloned());
    for (name, _) in &mut changed.headers {
        name.make_ascii_lowercase();
    }
    (changed.url, changed.body) = (given.url.clone(), given.body.clone());
    Ok(changed)
}

fn not_many_more(changed: &Pairs, given: &Pairs) -> Checked {
    if changed.len() > given.len() + HEADERS_MAX {
        let (now, before) = (changed.len(), given.len());
        return Err(format!("{now} headers in the place of {before}, at most {HEADERS_MAX} more are taken"));
    }
    Ok(())
}

fn is_of_bytes(name: &str) -> bool {
    OF_BYTES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn retry_changes(changes: RetryChanges) -> Checked<RetryChanges> {
    changes.url.as_deref().map_or(Ok(()), url)?;
    headers(&changes.headers)?;
    Ok(RetryChanges { after_ms: changes.after_ms.min(WAIT_MS_MAX), ..changes })
}
