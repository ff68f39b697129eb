//! The callback hooks on a request's way, between the types of the contract and ours.

use super::wit;
use super::{failure, to_failure};
use crate::error::Failure;
use crate::hooks::{
    FinishedFile, Head, OnError, OnProgress, OnRedirect, OnRequest, ProgressSample, RedirectHop, RequestHead,
    RetryChanges, check,
};
use crate::task::Pairs;

type Usable<T> = Result<T, String>;

/// Bytes that a request or a response's head may take on the way through a component, generously.
pub(in crate::hooks) fn weight_of(headers: &Pairs, url: &str) -> usize {
    2 * (url.len() + headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum::<usize>())
}

pub(in crate::hooks) fn request(head: &RequestHead) -> wit::types::Request {
    wit::types::Request {
        method: head.method.clone(),
        url: head.url.clone(),
        headers: head.headers.clone(),
        body: Vec::new(),
        extra: Vec::new(),
    }
}

/// Bodies go another way than through components.
fn to_request(request: wit::types::Request) -> Usable<RequestHead> {
    if request.body.is_empty() {
        Ok(RequestHead { method: request.method, url: request.url, headers: request.headers, guard: None })
    } else {
        Err("a body for the request: leave it empty, it stays as the task has it".into())
    }
}

fn to_head(response: wit::types::Response) -> Head {
    let wit::types::Response { status, headers, url, body, .. } = response;
    Head { status, headers, url, body, by: None }
}

pub(in crate::hooks) fn to_on_request(verdict: wit::on_request::Verdict) -> Usable<OnRequest> {
    use wit::on_request::Verdict;
    Ok(match verdict {
        Verdict::Next(request) => OnRequest::Next(to_request(request)?),
        Verdict::Resolve((response, follow)) => OnRequest::Resolve { response: to_head(response), follow },
        Verdict::Reject((failure, follow)) => OnRequest::Reject { failure: to_failure(failure), follow },
        Verdict::Other(verdict) => return Err(check::unknown("verdict", &verdict)),
    })
}

pub(in crate::hooks) fn redirect(hop: &RedirectHop) -> wit::on_redirect::Hop {
    wit::on_redirect::Hop {
        number: hop.number,
        status: hop.status,
        from_url: hop.from_url.clone(),
        next: request(&hop.next),
    }
}

/// A verdict of a later version follows, as the contract says.
pub(in crate::hooks) fn to_on_redirect(verdict: wit::on_redirect::Verdict) -> Usable<OnRedirect> {
    use wit::on_redirect::Verdict;
    Ok(match verdict {
        Verdict::Follow | Verdict::Other(_) => OnRedirect::Follow,
        Verdict::FollowWith(request) => OnRedirect::FollowWith(to_request(request)?),
        Verdict::StopHere => OnRedirect::StopHere,
        Verdict::Reject(failure) => OnRedirect::Reject(to_failure(failure)),
    })
}

/// What one component says of a response.
#[derive(Clone, Debug)]
pub(in crate::hooks) enum Responded {
    Next(Head),
    Resolve(bool),
    Reject { failure: Failure, follow: bool },
    Retry(RetryChanges),
}

pub(in crate::hooks) fn to_on_response(verdict: wit::on_response::Verdict) -> Usable<Responded> {
    use wit::on_response::Verdict;
    Ok(match verdict {
        Verdict::Next(response) => Responded::Next(to_head(response)),
        Verdict::Resolve(follow) => Responded::Resolve(follow),
        Verdict::Reject((failure, follow)) => Responded::Reject { failure: to_failure(failure), follow },
        Verdict::Retry(changes) => Responded::Retry(to_retry_changes(changes)),
        Verdict::Other(verdict) => return Err(check::unknown("verdict", &verdict)),
    })
}

fn to_retry_changes(changes: wit::on_response::Changes) -> RetryChanges {
    RetryChanges { after_ms: changes.after_ms, url: changes.url, headers: changes.headers, by: String::new() }
}

/// `part`: first and last byte of the part that failed.
pub(in crate::hooks) fn failure_of_part(given: &Failure, part: Option<(u64, u64)>) -> wit::types::Failure {
    let extra = part.map(|(first, last)| ("part".to_owned(), format!("{first}-{last}")));
    wit::types::Failure { extra: extra.into_iter().collect(), ..failure(given) }
}

/// A verdict of a later version goes on, as the contract says.
pub(in crate::hooks) fn to_on_error(verdict: wit::on_error::Verdict) -> OnError {
    use wit::on_error::Verdict;
    match verdict {
        Verdict::Next | Verdict::Other(_) => OnError::Next,
        Verdict::Resolve(response) => OnError::Resolve(to_head(response)),
        Verdict::Reject(failure) => OnError::Reject(to_failure(failure)),
        Verdict::Retry(changes) => OnError::Retry(to_retry_changes(changes)),
    }
}

pub(in crate::hooks) fn progress(sample: ProgressSample) -> wit::on_progress::Progress {
    let ProgressSample { bytes_done, total_bytes, bytes_per_second } = sample;
    wit::on_progress::Progress { bytes_done, total_bytes, bytes_per_second }
}

/// A verdict of a later version goes on, as the contract says.
pub(in crate::hooks) fn to_on_progress(verdict: &wit::on_progress::Verdict, who: String) -> OnProgress {
    use wit::on_progress::Verdict;
    match verdict {
        Verdict::GoOn | Verdict::Other(_) => OnProgress::GoOn,
        Verdict::Pause => OnProgress::Pause(who),
        Verdict::Cancel => OnProgress::Cancel(who),
    }
}

pub(in crate::hooks) fn finished(file: &FinishedFile) -> wit::verify::Finished {
    wit::verify::Finished { bytes: file.bytes, digests: file.digests.clone(), first_bytes: file.first_bytes.clone() }
}
