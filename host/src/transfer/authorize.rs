//! What precedes the request: credentials (hook `authorize`, refreshed by `on-auth` or the default refresh), then the
//! changes of `on-task-start`.
//!
//! A task keeps its auth block as it was given. What it was refreshed to is stored once, under the name of the credential,
//! for all tasks that share it, those of later processes too; one refresh of it runs at a time, and who waits gets its
//! result, or its failure. A refresh belongs to the credential and not to the task that began it: it is not cut when that
//! task is stopped, for what its server has granted replaces what all the others have.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;

use crate::clock;
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::hooks::{AuthReason, AuthorizeVerdict, Chain, Head, HookTask, OnAuthVerdict, Situation, StartChanges};
use crate::mask::Secrets;
use crate::store::Store;
use crate::task::{Auth, Pairs, Task};
use crate::transfer::download::Wire;
use crate::transfer::{Context, Shared, Stopped, headers_for, hold_back, with_login};
use crate::transport::{Call, Transport};

/// Credentials remembered at most.
const REMEMBERED: usize = 1024;
/// Bytes read of the answer to a refresh.
const ANSWER_LIMIT: usize = 256 * 1024;
/// A refresh that its server has refused is not asked for again for so long: servers lock accounts for that.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// How long an engine that ends waits for refreshes.
const LAND_WITHIN: Duration = Duration::from_secs(3);

/// The credentials of running tasks, by name.
#[derive(Default)]
pub(crate) struct Flights {
    by_name: Mutex<HashMap<String, Arc<Flight>>>,
    /// Tasks that wait for one, by their ids.
    waiting: Mutex<HashSet<String>>,
}

/// A task waits for a refresh until this is dropped.
struct Waits<'a>(&'a Flights, &'a str);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting().remove(self.1);
    }
}

/// One credential.
#[derive(Default)]
struct Flight {
    /// Held by whoever refreshes it.
    turn: Arc<tokio::sync::Mutex<Renewed>>,
    /// Refreshes that have ended.
    ended: AtomicU64,
}

/// What a credential was refreshed to.
#[derive(Default)]
struct Renewed {
    /// The store was asked.
    loaded: bool,
    /// The block that was asked about, and the fresh one.
    latest: Option<(Auth, Auth)>,
    /// Why the last refresh brought none.
    failure: Option<Failure>,
    /// The block whose refresh was refused last, and when.
    refused: Option<(Auth, Instant)>,
}

impl Flights {
    fn of(&self, name: &str) -> Arc<Flight> {
        let mut flights = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.len() >= REMEMBERED {
            flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        }
        Arc::clone(flights.entry(name.to_owned()).or_default())
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&'a self, task_id: &'a str) -> Waits<'a> {
        self.waiting().insert(task_id.to_owned());
        Waits(self, task_id)
    }

    /// Whether a task waits for a refresh of its credentials.
    pub(crate) fn are_waited_for_by(&self, task_id: &str) -> bool {
        self.waiting().contains(task_id)
    }

    /// Waits for the refreshes under way, for a moment: each is stored when its turn is over. False: one still goes on.
    pub(crate) async fn land(&self) -> bool {
        let flights: Vec<Arc<Flight>> =
            self.by_name.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect();
        let landed = async {
            for flight in flights {
                drop(flight.turn.lock().await);
            }
        };
        tokio::time::timeout(LAND_WITHIN, landed).await.is_ok()
    }
}

impl Renewed {
    /// The credential as a task has it now, whose own block is `given`.
    fn of(&mut self, store: &Store, name: &str, given: &Auth) -> Result<Auth, Failure> {
        if !self.loaded {
            let unreadable = |error: crate::Error| Failure::new(FailureKind::FileSystem, error.to_string());
            self.latest = store.credential(name).map_err(unreadable)?;
            self.loaded = true;
        }
        Ok(match &self.latest {
            Some((asked, fresh)) => carried_over(given, asked, fresh),
            None => given.clone(),
        })
    }

    /// The last failure, when the server has refused the same refresh just now.
    fn refusal_of(&self, used: &Auth, now: Instant) -> Option<&Failure> {
        let (refused, at) = self.refused.as_ref()?;
        let is_recent = now.saturating_duration_since(*at) < REFUSED_FOR;
        self.failure.as_ref().filter(|_| is_recent && is_same_refresh(refused, used))
    }
}

/// What a refresh of `asked` means for another block of the same credential: the tokens for all of them, the rest for those
/// that were the same.
fn carried_over(given: &Auth, asked: &Auth, fresh: &Auth) -> Auth {
    if without_tokens(given) == without_tokens(asked) {
        return fresh.clone();
    }
    Auth {
        access_token: fresh.access_token.clone(),
        access_token_expiry_time: fresh.access_token_expiry_time,
        refresh_token: fresh.refresh_token.clone(),
        ..given.clone()
    }
}

fn without_tokens(auth: &Auth) -> Auth {
    Auth { access_token: None, access_token_expiry_time: None, refresh_token: None, ..auth.clone() }
}

/// Whether two blocks are refreshed by the same request.
fn is_same_refresh(one: &Auth, other: &Auth) -> bool {
    let request = |auth: &Auth| {
        let Auth { refresh_token, refresh_url, refresh_headers, refresh_query_params, .. } = auth.clone();
        (refresh_token, refresh_url, refresh_headers, refresh_query_params)
    };
    request(one) == request(other)
}

/// What makes two blocks the same credential: what renews them, or all they are where nothing does.
fn identity(given: &Auth) -> String {
    match &given.refresh_token {
        Some(token) => format!("{token:?} {:?}", given.refresh_url),
        None => {
            let Auth { access_token, access_token_expiry_time: expiry, refresh_url, .. } = given;
            let pairs = (&given.access_headers, &given.access_query_params);
            let refresh = (&given.refresh_headers, &given.refresh_query_params, refresh_url);
            format!("{access_token:?} {expiry:?} {pairs:?} {refresh:?}")
        }
    }
}

/// The credentials of a task when an attempt begins.
pub(crate) struct Present {
    /// As given, or what they were refreshed to since.
    pub(crate) auth: Auth,
    /// Refreshes of them that had ended when the attempt asked for them.
    pub(crate) ended: u64,
}

/// The task's credentials of now; those that are being refreshed are waited for.
pub(crate) async fn present(shared: &Shared, id: &str, given: &Auth) -> Present {
    let name = shared.store.credential_name(identity(given).as_bytes());
    let flight = shared.flights.of(&name);
    let ended = flight.ended.load(Ordering::SeqCst);
    let is_refreshed = flight.turn.try_lock().is_err();
    if is_refreshed {
        tracing::debug!("{id}: its token is being refreshed for another task");
    }
    let _waits = is_refreshed.then(|| shared.flights.wait(id));
    let auth = flight.turn.lock().await.of(&shared.store, &name, given).unwrap_or_else(|failure| {
        tracing::warn!("{}", failure.description);
        given.clone()
    });
    Present { auth, ended }
}

/// What the request looks like with its credentials: as far as the task's own auth block, or a fresh one to begin again with.
pub(crate) enum Prepared {
    Ready(Wire),
    Refreshed(Auth),
}

/// The task's request with its credentials; those that expire are refreshed first, if they were not just now.
pub(crate) async fn prepare(cx: &Context<'_>) -> Result<Prepared, Failure> {
    let task = cx.task;
    let mut wire = Wire::own(&task.url, task.headers.clone());
    let Some(auth) = &task.auth else { return Ok(Prepared::Ready(wire)) };
    let (headers, query) = match ask(cx, auth, Situation::BeforeRequest).await? {
        AuthorizeVerdict::Ready { headers, query } => {
            cx.renewals.took(true);
            (headers, query)
        }
        AuthorizeVerdict::RefreshFirst => {
            if !cx.renewals.are_renewed()
                && let Some(fresh) = Box::pin(refresh(cx, auth, AuthReason::Expiring, Some(cx.refreshes))).await?
            {
                return Ok(Prepared::Refreshed(fresh));
            }
            cx.renewals.took(false);
            as_it_is(cx, auth).await?
        }
        _ => return Err(misplaced()),
    };
    let mut secrets = Secrets::default();
    secrets.add_auth(auth);
    secrets.add_filled(&headers, &query);
    cx.trail.carries(secrets);
    replace_headers(&mut wire.headers, headers);
    wire.url = with_query(&wire.url, &query);
    wire.own_url.clone_from(&wire.url);
    Ok(Prepared::Ready(wire))
}

/// Before a further request of an attempt: ends the transfer as it stands where its credentials are about to expire, so that it
/// goes on with fresh ones.
pub(crate) async fn look_ahead(cx: &Context<'_>) -> Result<(), Stopped> {
    match &cx.task.auth {
        Some(auth) if cx.renewals.looks_ahead() => match ask(cx, auth, Situation::BeforeRequest).await? {
            AuthorizeVerdict::RefreshFirst => Err(Stopped::Expiring),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Fresh credentials in the place of those that are about to expire. `None`: there are no others.
pub(crate) async fn in_time(cx: &Context<'_>) -> Result<Option<Auth>, Failure> {
    let Some(auth) = &cx.task.auth else { return Ok(None) };
    refresh(cx, auth, AuthReason::Expiring, None).await
}

/// Fresh credentials after the server has refused the present ones with that status. `None`: there are no others, or
/// this attempt has had them and they were good for nothing.
pub(crate) async fn after_refusal(cx: &Context<'_>, status: Option<u16>) -> Result<Option<Auth>, Failure> {
    let reason = if status == Some(407) { AuthReason::ProxyUnauthorized } else { AuthReason::Unauthorized };
    match &cx.task.auth {
        Some(auth) if cx.renewals.is_earned() => refresh(cx, auth, reason, None).await,
        _ => Ok(None),
    }
}

/// The request as a component wants it, and whether its URL is another one now. To another origin go neither credentials nor the
/// task's own headers, whoever has written them.
pub(crate) fn apply(changes: &StartChanges, task: &Task, wire: &mut Wire) -> bool {
    let before = wire.url.clone();
    if let Some(url) = &changes.url {
        wire.headers = headers_for(url, wire);
        wire.url = with_login(url, &wire.url);
        wire.guard = changes.guard.clone();
    }
    wire.headers.retain(|(name, _)| !changes.remove_headers.iter().any(|gone| gone.eq_ignore_ascii_case(name)));
    let mut headers = changes.headers.clone();
    hold_back(task, &wire.url, &[], &mut headers);
    replace_headers(&mut wire.headers, headers);
    wire.url != before
}

async fn as_it_is(cx: &Context<'_>, auth: &Auth) -> Result<(Pairs, Pairs), Failure> {
    match ask(cx, auth, Situation::AsItIs).await? {
        AuthorizeVerdict::Ready { headers, query } => Ok((headers, query)),
        _ => Err(misplaced()),
    }
}

async fn ask(cx: &Context<'_>, auth: &Auth, situation: Situation) -> Result<AuthorizeVerdict, Failure> {
    cx.chain.authorize(cx.hook_task, auth, situation, clock::unix_ms()).await
}

/// Other credentials than `used`, which will not do: what somebody else has refreshed them to meanwhile, or what a refresh
/// brings now. `None`: nothing else is to be had. `ended`: the refreshes that had ended when it began to wait for one; those
/// of now, where it has not waited yet.
#[expect(clippy::disallowed_methods, reason = "a refresh outlives who began it; the engine waits for it when it ends")]
async fn refresh(
    cx: &Context<'_>,
    used: &Auth,
    reason: AuthReason,
    ended: Option<u64>,
) -> Result<Option<Auth>, Failure> {
    let store = &cx.shared.store;
    let given = cx.record.task.auth.as_ref().unwrap_or(used);
    let name = store.credential_name(identity(given).as_bytes());
    let flight = cx.shared.flights.of(&name);
    let ended = ended.unwrap_or_else(|| flight.ended.load(Ordering::SeqCst));
    let _waits = cx.shared.flights.wait(&cx.task.task_id);
    let mut renewed = Arc::clone(&flight.turn).lock_owned().await;
    let present = renewed.of(store, &name, given)?;
    if present != *used {
        return Ok(Some(present));
    }
    if flight.ended.load(Ordering::SeqCst) != ended {
        // It was refreshed while this task waited, and that brought nothing else.
        return renewed.failure.clone().map_or(Ok(None), Err);
    }
    if let Some(failure) = renewed.refusal_of(used, clock::now()) {
        return Err(failure.clone());
    }
    let refresh = Refresh {
        store: store.clone(),
        transport: cx.transport.clone(),
        chain: cx.chain.clone(),
        hook_task: cx.hook_task.clone(),
        name,
        given: given.clone(),
        used: used.clone(),
        reason,
    };
    let refreshed = tokio::task::spawn_local(refresh.run(flight, renewed)).await;
    refreshed.unwrap_or_else(|_| Err(Failure::new(FailureKind::General, "refreshing the access token panicked")))
}

/// A refresh, with all that it needs when the attempt that began it is gone.
struct Refresh {
    store: Store,
    transport: Transport,
    chain: Chain,
    hook_task: HookTask,
    /// The credential's.
    name: String,
    /// The block as the task has it, and as it was used.
    given: Auth,
    used: Auth,
    reason: AuthReason,
}

impl Refresh {
    /// Refreshes and stores, while nobody else does.
    async fn run(self, flight: Arc<Flight>, mut renewed: OwnedMutexGuard<Renewed>) -> Result<Option<Auth>, Failure> {
        let outcome = self.renew().await;
        flight.ended.fetch_add(1, Ordering::SeqCst);
        renewed.failure = outcome.as_ref().err().cloned();
        let is_refused = renewed.failure.as_ref().is_some_and(|failure| failure.detail == FailureDetail::Credentials);
        renewed.refused = is_refused.then(|| (self.used.clone(), clock::now()));
        let fresh = outcome?.filter(|fresh| *fresh != self.used);
        if let Some(fresh) = &fresh {
            renewed.latest = Some((self.given.clone(), fresh.clone()));
            // Before it is used: a refresh token that works only once must not be lost with this process.
            let kept = self.store.keep_credential(&self.name, &self.given, fresh, clock::unix_ms()).await;
            kept.map_err(|error| Failure::new(FailureKind::FileSystem, error.to_string()))?;
        }
        Ok(fresh)
    }

    async fn renew(&self) -> Result<Option<Auth>, Failure> {
        let Self { chain, hook_task, used, reason, .. } = self;
        if let Some(verdict) = chain.on_auth(hook_task, used, *reason).await? {
            return match verdict {
                OnAuthVerdict::Refreshed(auth) => Ok(Some(auth)),
                OnAuthVerdict::Unchanged => Ok(None),
                OnAuthVerdict::Failed(why) => Err(no_refresh(&why, *reason)),
            };
        }
        let (method, url, headers, body) = match self.ask(Situation::RefreshWanted(*reason)).await? {
            AuthorizeVerdict::Send { method, url, headers, body } => (method, url, headers, body),
            AuthorizeVerdict::Impossible(_) if used.refresh_url.is_none() => return Ok(None),
            AuthorizeVerdict::Impossible(why) => return Err(no_refresh(&why, *reason)),
            _ => return Err(misplaced()),
        };
        let guard = chain.renews_at(&url, used);
        let mut call = Call::new(method, url);
        call.guard = guard;
        (call.headers, call.body, call.follow, call.ambient) = (headers, body.into(), false, false);
        let mut answer = self.transport.send(call).await?;
        let (status, body) = (answer.status, answer.body.collect(ANSWER_LIMIT).await);
        let head = Head { status, headers: answer.headers, url: answer.url, body, by: None };
        match self.ask(Situation::RefreshAnswered(head)).await? {
            AuthorizeVerdict::Refreshed(auth) => Ok(Some(auth)),
            AuthorizeVerdict::Impossible(why) => Err(refused(status, no_refresh(&why, *reason))),
            _ => Err(misplaced()),
        }
    }

    async fn ask(&self, situation: Situation) -> Result<AuthorizeVerdict, Failure> {
        self.chain.authorize(&self.hook_task, &self.used, situation, clock::unix_ms()).await
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

/// A server that refuses a refresh has answered with a status that another attempt does not change. It is none of the task's own
/// server: only the sentence has it.
fn refused(status: u16, failure: Failure) -> Failure {
    let is_final = (400..500).contains(&status) && !matches!(status, 408 | 425 | 429);
    if is_final { failure.with(FailureDetail::Credentials) } else { failure }
}

/// A verdict for another situation: `hooks` lets none through.
fn misplaced() -> Failure {
    Failure::new(FailureKind::Callback, "hook `authorize` answered as for another situation")
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
