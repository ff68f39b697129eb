//! What precedes the request: credentials (hook `authorize`, refreshed by `on-auth` or the default refresh), then the
//! changes of `on-task-start`. One refresh at a time per credential: tasks that share it wait for its result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::clock;
use crate::error::{Failure, FailureKind};
use crate::hooks::{AuthReason, AuthorizeVerdict, Head, OnAuthVerdict, Situation, StartChanges};
use crate::task::{Auth, Pairs};
use crate::transfer::Context;
use crate::transfer::download::Wire;
use crate::transport::Call;

/// Credentials remembered at most.
const REMEMBERED: usize = 1024;
/// Bytes read of the answer to a refresh.
const ANSWER_LIMIT: usize = 256 * 1024;

type Flight = Arc<tokio::sync::Mutex<Option<Auth>>>;

/// Refreshes under way, and what came of earlier ones: by the credential that was to be refreshed.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<String, Flight>>);

impl Flights {
    fn of(&self, auth: &Auth) -> Flight {
        // Secrets stay in memory only; the whole block is the key, so unlike credentials never share an answer.
        let key = format!("{auth:?}");
        let mut flights = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if flights.len() >= REMEMBERED {
            flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        }
        Arc::clone(flights.entry(key).or_default())
    }
}

/// What the request looks like with its credentials: as far as the task's own auth block, or a fresh one to begin again with.
pub(crate) enum Prepared {
    Ready(Wire),
    Refreshed(Auth),
}

/// The task's request with its credentials; those that expire are refreshed first, once an attempt.
pub(crate) async fn prepare(cx: &Context<'_>) -> Result<Prepared, Failure> {
    let task = cx.task;
    let mut wire = Wire { url: task.url.clone(), headers: task.headers.clone() };
    let Some(auth) = &task.auth else { return Ok(Prepared::Ready(wire)) };
    let (headers, query) = match ask(cx, auth, Situation::BeforeRequest).await? {
        AuthorizeVerdict::Ready { headers, query } => (headers, query),
        AuthorizeVerdict::RefreshFirst => {
            if !was_refreshed(cx, auth)
                && let Some(fresh) = refresh(cx, auth, AuthReason::Expiring).await?
            {
                return Ok(Prepared::Refreshed(fresh));
            }
            as_it_is(cx, auth).await?
        }
        _ => return Err(unusable("authorize")),
    };
    replace_headers(&mut wire.headers, headers);
    wire.url = with_query(&wire.url, &query);
    Ok(Prepared::Ready(wire))
}

/// Fresh credentials after the server has refused the present ones with that status. `None`: there are no others, or
/// this attempt has had them already.
pub(crate) async fn after_refusal(cx: &Context<'_>, status: Option<u16>) -> Result<Option<Auth>, Failure> {
    let reason = if status == Some(407) { AuthReason::ProxyUnauthorized } else { AuthReason::Unauthorized };
    match &cx.task.auth {
        Some(auth) if !was_refreshed(cx, auth) => refresh(cx, auth, reason).await,
        _ => Ok(None),
    }
}

/// The request as hook `on-task-start` wants it.
pub(crate) fn apply(changes: &StartChanges, wire: &mut Wire) {
    if let Some(url) = &changes.url {
        wire.url.clone_from(url);
    }
    wire.headers.retain(|(name, _)| !changes.remove_headers.iter().any(|gone| gone.eq_ignore_ascii_case(name)));
    replace_headers(&mut wire.headers, changes.headers.clone());
}

/// Whether this attempt has changed the credentials it began with.
fn was_refreshed(cx: &Context<'_>, auth: &Auth) -> bool {
    cx.record.task.auth.as_ref() != Some(auth)
}

async fn as_it_is(cx: &Context<'_>, auth: &Auth) -> Result<(Pairs, Pairs), Failure> {
    match ask(cx, auth, Situation::AsItIs).await? {
        AuthorizeVerdict::Ready { headers, query } => Ok((headers, query)),
        _ => Err(unusable("authorize")),
    }
}

async fn ask(cx: &Context<'_>, auth: &Auth, situation: Situation) -> Result<AuthorizeVerdict, Failure> {
    cx.chain.authorize(cx.hook_task, auth, situation, clock::unix_ms()).await
}

/// One refresh per credential at a time; who comes later gets its result. `None`: nothing else is to be had.
async fn refresh(cx: &Context<'_>, auth: &Auth, reason: AuthReason) -> Result<Option<Auth>, Failure> {
    let flight = cx.shared.flights.of(auth);
    let mut result = flight.lock().await;
    if result.is_none() {
        *result = refresh_now(cx, auth, reason).await?;
    }
    Ok(result.clone().filter(|fresh| fresh != auth))
}

async fn refresh_now(cx: &Context<'_>, auth: &Auth, reason: AuthReason) -> Result<Option<Auth>, Failure> {
    if let Some(verdict) = cx.chain.on_auth(cx.hook_task, auth, reason).await? {
        return match verdict {
            OnAuthVerdict::Refreshed(auth) => Ok(Some(auth)),
            OnAuthVerdict::Unchanged => Ok(None),
            OnAuthVerdict::Failed(why) => Err(no_refresh(&why, reason)),
        };
    }
    let (method, url, headers, body) = match ask(cx, auth, Situation::RefreshWanted(reason)).await? {
        AuthorizeVerdict::Send { method, url, headers, body } => (method, url, headers, body),
        AuthorizeVerdict::Impossible(_) if auth.refresh_url.is_none() => return Ok(None),
        AuthorizeVerdict::Impossible(why) => return Err(no_refresh(&why, reason)),
        _ => return Err(unusable("authorize")),
    };
    let mut call = Call::new(method, url);
    (call.headers, call.body, call.follow, call.ambient) = (headers, body.into(), false, false);
    let mut answer = cx.transport.send(call).await?;
    let body = answer.body.collect(ANSWER_LIMIT).await;
    let head = Head { status: answer.status, headers: answer.headers, url: answer.url, body };
    match ask(cx, auth, Situation::RefreshAnswered(head)).await? {
        AuthorizeVerdict::Refreshed(auth) => Ok(Some(auth)),
        AuthorizeVerdict::Impossible(why) => Err(no_refresh(&why, reason)),
        _ => Err(unusable("authorize")),
    }
}

fn no_refresh(why: &str, reason: AuthReason) -> Failure {
    let text = format!("could not refresh the access token: {}", crate::mask::text(why));
    let mut failure = Failure::new(FailureKind::General, text);
    failure.http_status = match reason {
        AuthReason::Unauthorized => Some(401),
        AuthReason::ProxyUnauthorized => Some(407),
        AuthReason::Expiring => None,
    };
    failure
}

fn unusable(hook: &str) -> Failure {
    Failure::new(FailureKind::Callback, format!("the answer of hook `{hook}` cannot be used here"))
}

/// Headers that replace those of the same name.
fn replace_headers(headers: &mut Pairs, new: Pairs) {
    headers.retain(|(name, _)| !new.iter().any(|(replaced, _)| replaced.eq_ignore_ascii_case(name)));
    headers.extend(new);
}

/// Query parameters that replace those of the same name; the rest of the URL stays byte for byte.
fn with_query(url: &str, new: &Pairs) -> String {
    if new.is_empty() {
        return url.to_owned();
    }
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let kept = query.split('&').filter(|part| {
        let name = part.split('=').next().unwrap_or("");
        !part.is_empty() && !new.iter().any(|(replaced, _)| name == replaced || name == encode(replaced))
    });
    let added = new.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    let parts: Vec<String> = kept.map(str::to_owned).chain(added).collect();
    format!("{base}?{}", parts.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_replace_their_namesakes_and_leave_the_rest_alone() {
        let new = vec![("token".to_owned(), "a b&c".to_owned())];
        assert_eq!(with_query("http://h/p?x=%20y&token=old&z", &new), "http://h/p?x=%20y&z&token=a+b%26c");
        assert_eq!(with_query("http://h/p", &new), "http://h/p?token=a+b%26c");
        assert_eq!(with_query("http://h/p?x", &Vec::new()), "http://h/p?x");
    }
}
