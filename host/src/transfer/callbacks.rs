//! The callback hooks on an attempt's way: `on-request` and `on-redirect` before what goes out, `on-response` before an answer
//! is classified, `on-error` after a failure, `on-progress` meanwhile, `verify` at the end.
//!
//! Where no component exports a hook, nothing is converted, allocated or called for it. What a verdict may not do is checked
//! in `hooks`; the rules that stand below verdicts are in `transport::steps`.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::clock;
use crate::error::{Failure, FailureKind};
use crate::event::{Details, StatusUpdate};
use crate::hooks::{
    Asked, Chain, Classified, FinishedFile, Head, Hook, HookHead, HookTask, OnError, OnProgress, OnRedirect, OnRequest,
    OnResponse, ProgressSample, RedirectHop, RequestHead, RetryChanges,
};
use crate::task::{Changes, Pairs, Record, Status, Task, host_of};
use crate::transfer::progress::Reading;
use crate::transfer::{
    Context, Held, Reason, Slot, Stopped, details_of, hold_back, is_same_origin, number, overlap, retry_after,
};
use crate::transport::{self, Answer, Canned, Follow, Go, Outbound, Redirect, Steps};

/// Bytes of an error's body that `on-response` sees.
const PREVIEW: usize = 64 * 1024;
/// No answer to one task holds up all others of its host for longer than this.
const LONGEST_SILENCE: Duration = Duration::from_secs(3600);
/// Redirects whose verdicts an attempt remembers.
const REMEMBERED: usize = 64;
/// The first bytes that `verify` sees.
const FIRST_BYTES: usize = 4 * 1024;
/// Noted when a component gave the answer and no server did.
pub(super) const CANNED: &str = "answered-by-component";
/// Noted when a component has a request sent to another URL.
pub(super) const URL_CHANGED: &str = "url-changed";

/// A redirect: its status, where it comes from, and where it leads.
type Redirected = (u16, String, String);

/// Asks the components on the way of each request of an attempt.
pub(crate) struct Interceptors {
    chain: Chain,
    task: Arc<Task>,
    hook_task: HookTask,
    slot: Slot,
    on_request: bool,
    on_redirect: bool,
    /// What every request is answered with: nothing is asked or sent.
    given: Option<Canned>,
    /// What was said about redirects: status, from, to. The parts of a divided download share it.
    judged: Mutex<Vec<(Redirected, OnRedirect)>>,
    /// A failure that `on-error` is not to be asked about.
    last_word: Mutex<Option<Failure>>,
    /// A component has given a request another URL.
    has_led: AtomicBool,
}

impl Interceptors {
    /// `None`: there is nobody to ask. `given`: what `on-error` has answered in the place of every server.
    pub(super) fn new(
        chain: &Chain,
        (task, hook_task): (&Arc<Task>, &HookTask),
        slot: &Slot,
        given: Option<Head>,
    ) -> Option<Arc<Self>> {
        let (on_request, on_redirect) = (chain.has(Hook::OnRequest), chain.has(Hook::OnRedirect));
        if !on_request && !on_redirect && given.is_none() {
            return None;
        }
        let given = given.map(|head| canned(head, false));
        let (chain, task, hook_task, slot) = (chain.clone(), Arc::clone(task), hook_task.clone(), slot.clone());
        let (judged, last_word, has_led) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        Some(Arc::new(Self {
            chain,
            task,
            hook_task,
            slot,
            on_request,
            on_redirect,
            given,
            judged,
            last_word,
            has_led,
        }))
    }

    /// Whether a component has given a request of this attempt another URL.
    pub(super) fn has_led(&self) -> bool {
        self.has_led.load(Ordering::Relaxed)
    }

    /// The request that a component has made of another: what is the task's does not leave its origin.
    fn changed(&self, (url, headers): &(String, Pairs), mut request: RequestHead) -> Outbound {
        if request.url != *url {
            self.has_led.store(true, Ordering::Relaxed);
            let (id, method, url) = (&self.task.task_id, &request.method, crate::mask::url(&request.url));
            tracing::info!("{id}: a component sends {method} {url} instead");
        }
        hold_back(&self.task, &request.url, headers, &mut request.headers);
        step_of(request)
    }

    /// Whether a component has said that `on-error` is not to be asked about this failure.
    pub(super) fn is_last_word(&self, failure: &Failure) -> bool {
        self.last_word.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(failure)
    }

    fn rejected(&self, mut failure: Failure, follow: bool) -> Failure {
        failure.description = crate::mask::text(&failure.description);
        if !follow {
            *self.last_word.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.clone());
        }
        failure
    }

    async fn judge_request(&self, step: Outbound) -> Result<Go, Failure> {
        if let Some(given) = &self.given {
            return Ok(Go::Answer(given.clone()));
        }
        if !self.on_request {
            return Ok(Go::Send(step));
        }
        let given = (step.url.clone(), step.headers.clone());
        match self.slot.lend(pin!(self.chain.on_request(&self.hook_task, head_of(step)))).await? {
            OnRequest::Next(request) => Ok(Go::Send(self.changed(&given, request))),
            OnRequest::Resolve { response, follow } => Ok(Go::Answer(canned(response, follow))),
            OnRequest::Reject { failure, follow } => Err(self.rejected(failure, follow)),
        }
    }

    async fn judge_redirect(&self, redirect: Redirect) -> Result<Follow, Failure> {
        if !self.on_redirect {
            return Ok(Follow::Yes);
        }
        let given = (redirect.next.url.clone(), redirect.next.headers.clone());
        let key = (redirect.status, redirect.from_url.clone(), redirect.next.url.clone());
        let known = || {
            let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
            judged.iter().find(|(known, _)| *known == key).map(|(_, verdict)| verdict.clone())
        };
        let verdict = match known() {
            Some(OnRedirect::FollowWith(request)) => OnRedirect::FollowWith(with_own(request, &redirect.next)),
            Some(verdict) => verdict,
            None => {
                let Redirect { number, status, from_url, next } = redirect;
                let hop = RedirectHop { number, status, from_url, next: head_of(next) };
                let verdict = self.chain.on_redirect(&self.hook_task, &hop).await?;
                let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
                if judged.len() < REMEMBERED {
                    judged.push((key, verdict.clone()));
                }
                verdict
            }
        };
        match verdict {
            OnRedirect::Follow => Ok(Follow::Yes),
            OnRedirect::FollowWith(request) => Ok(Follow::With(self.changed(&given, request))),
            OnRedirect::StopHere => Ok(Follow::No),
            OnRedirect::Reject(failure) => Err(self.rejected(failure, true)),
        }
    }
}

impl Steps for Interceptors {
    fn before_request(&self, step: Outbound) -> transport::Asked<'_, Go> {
        Box::pin(self.judge_request(step))
    }

    fn before_redirect(&self, redirect: Redirect) -> transport::Asked<'_, Follow> {
        Box::pin(self.judge_redirect(redirect))
    }
}

fn head_of(Outbound { method, url, headers, guard }: Outbound) -> RequestHead {
    RequestHead { method, url, headers, guard }
}

fn step_of(RequestHead { method, url, headers, guard }: RequestHead) -> Outbound {
    Outbound { method, url, headers, guard }
}

/// A verdict about an earlier request for the same redirect, with the range of this one.
fn with_own(mut request: RequestHead, next: &Outbound) -> RequestHead {
    let of_range = |name: &str| ["range", "if-range"].iter().any(|known| name.eq_ignore_ascii_case(known));
    request.headers.retain(|(name, _)| !of_range(name));
    request.headers.extend(next.headers.iter().filter(|(name, _)| of_range(name)).cloned());
    request
}

fn canned(head: Head, follow: bool) -> Canned {
    let Head { status, headers, body, by, .. } = head;
    Canned { status, headers, body: body.into(), follow, by }
}

/// The update by which a component has ended a task before anything was sent: one that is complete tells why there is no file.
pub(super) fn noted(mut update: StatusUpdate) -> StatusUpdate {
    if update.status == Status::Complete {
        let details = Arc::make_mut(update.details.get_or_insert_default());
        if !details.notes.iter().any(|note| note == CANNED) {
            details.notes.push(CANNED.into());
        }
    }
    update
}

/// What an answer means: hook `on-response` is asked about it where `first` says so, then `classify`. The answer's status
/// becomes the one that was classified.
pub(super) async fn judge(
    cx: &Context<'_>,
    held: &mut Held,
    asked: &Asked,
    answer: &mut Answer,
    first: bool,
) -> Result<(Classified, HookHead), Stopped> {
    if answer.insecure {
        held.note("insecure-tls");
    }
    if answer.canned.is_some() {
        held.note(CANNED);
    }
    if cx.interceptors.as_ref().is_some_and(|interceptors| interceptors.has_led()) {
        held.note(URL_CHANGED);
    }
    let headers = std::mem::take(&mut answer.headers);
    let mut head = Head { status: answer.status, headers, url: answer.url.clone(), ..Head::default() };
    let mut resolved = false;
    if first && answer.canned != Some(false) && cx.chain.has(Hook::OnResponse) {
        (head, resolved) = respond(cx, held, head, answer).await?;
        answer.status = head.status;
    }
    let head = HookHead::from(head);
    let verdict = cx.chain.classify(cx.hook_task, asked, &head).await?;
    let verdict = match verdict {
        Classified::NotFound(_) | Classified::Failed(_) if resolved => match asked.range_from {
            None => Classified::Success,
            Some(_) => Classified::UseFromZero("restarted-whole-body".into()),
        },
        Classified::NotFound(by) => {
            answer.missed_by.clone_from(&by);
            Classified::NotFound(by)
        }
        Classified::Failed(mut failure) => {
            let wait = || retry_after::wait_ms(head.headers(), clock::unix_ms());
            failure.retry_after_ms = failure.retry_after_ms.or_else(wait);
            if let (Some(by), Some(answered)) = (&answer.by, failure.description.strip_prefix("server answered")) {
                failure.description = format!("{by} answered{answered}");
            }
            heed(cx, answer, &failure);
            Classified::Failed(failure)
        }
        Classified::Continues(_) if overlap::has_other_coding(held, &head) => {
            Classified::AskFromZero("restarted-changed".into())
        }
        verdict => verdict,
    };
    Ok((verdict, head))
}

/// The head of an answer that nobody is asked about.
pub(super) fn head_as_it_came(answer: &Answer) -> HookHead {
    let (headers, url) = (answer.headers.clone(), answer.url.clone());
    HookHead::from(Head { status: answer.status, headers, url, ..Head::default() })
}

/// A server with too many requests, or none to spare (429, 503), means its host and not one task of it: no other begins a
/// request there before the time it names (reliability B.4).
fn heed(cx: &Context<'_>, answer: &Answer, failure: &Failure) {
    let is_busy = answer.canned.is_none() && matches!(answer.status, 429 | 503);
    let Some(wait) = failure.retry_after_ms.filter(|wait| is_busy && *wait > 0) else { return };
    let is_own = is_same_origin(&answer.url, &cx.task.url);
    let host = if is_own { cx.task.host() } else { host_of(&answer.url) };
    cx.slot.silence(host, Duration::from_millis(wait).min(LONGEST_SILENCE));
}

/// Hook `on-response`. The head it leaves, and whether its status counts as success.
async fn respond(
    cx: &Context<'_>,
    held: &mut Held,
    mut head: Head,
    answer: &mut Answer,
) -> Result<(Head, bool), Stopped> {
    if !(200..400).contains(&head.status) {
        head.body = answer.body.preview(PREVIEW).await;
    }
    let (status, seen) = (head.status, HookHead::from(head.clone()));
    let ended = |mut failure: Failure, body: &[u8]| {
        failure.description = crate::mask::text(&failure.description);
        let mut details = details_of(status, &seen);
        details.response_body = (!body.is_empty()).then(|| String::from_utf8_lossy(body).into_owned());
        (failure, Some(Box::new(details)))
    };
    let body = head.body.clone();
    match cx.chain.on_response(cx.hook_task, head).await? {
        OnResponse::Next { head, resolved } => Ok((Head { body: Vec::new(), ..head }, resolved)),
        OnResponse::Reject { failure, follow } => {
            let (failure, details) = ended(failure, &body);
            Err(if follow { Stopped::Failure(failure, details) } else { Stopped::Rejected(failure, details) })
        }
        OnResponse::Retry(changes) => {
            held.change(&changes, &cx.task.url);
            let mut failure = Failure::new(FailureKind::HttpResponse, format!("the server answered {status}"));
            failure.http_status = Some(status);
            let (failure, details) = ended(failure, &body);
            Err(Stopped::wanted(&changes, Hook::OnResponse, failure, details))
        }
    }
}

/// What hook `on-error` makes of how an attempt ended; `Ok`: this is the answer after all. What is not there stays so where no
/// retries are left to look again.
pub(super) async fn after(
    chain: &Chain,
    hook_task: &HookTask,
    held: &mut Held,
    record: &Record,
    stopped: Stopped,
) -> Result<Head, Stopped> {
    let failure = match &stopped {
        Stopped::Failure(failure, _) => failure.clone(),
        Stopped::Final(Status::NotFound, details) => not_found(details),
        _ => return Err(stopped),
    };
    let verdict = chain.on_error(hook_task, &failure, number(record), None).await;
    let details = match stopped {
        Stopped::Final(..) if matches!(verdict, OnError::Retry(_)) && record.retries_remaining < 1 => {
            return Err(stopped);
        }
        Stopped::Failure(_, details) if !matches!(verdict, OnError::Next) => details,
        Stopped::Final(_, details) if !matches!(verdict, OnError::Next) => Some(details),
        stopped => return Err(stopped),
    };
    match verdict {
        OnError::Resolve(head) => Ok(head),
        OnError::Retry(changes) => {
            held.change(&changes, hook_task.url());
            Err(Stopped::wanted(&changes, Hook::OnError, failure, details))
        }
        OnError::Reject(mut failure) => {
            failure.description = crate::mask::text(&failure.description);
            Err(Stopped::Rejected(failure, details))
        }
        OnError::Next => Err(Stopped::Failure(failure, details)), // returned above
    }
}

/// Who has made up an answer that is no success, or says of another one that nothing is there, as what is told of it: of a 404
/// nothing else would say so.
pub(super) fn made_up(answer: &Answer) -> Option<Failure> {
    let status = answer.status;
    let text = match (&answer.missed_by, &answer.by) {
        (Some(who), by) => {
            let server = by.as_deref().unwrap_or("the server");
            format!("{who}: what was asked for is not there (though {server} answered {status})")
        }
        (None, by) => format!("{} answered {status}", by.as_ref()?),
    };
    let mut failure = Failure::new(FailureKind::HttpResponse, text);
    failure.http_status = Some(answer.status);
    Some(failure)
}

/// What is told of what is not there, without its body.
pub(super) fn not_there(answer: &Answer, head: &HookHead) -> Box<Details> {
    Box::new(Details { exception: made_up(answer), ..details_of(answer.status, head) })
}

fn not_found(details: &Details) -> Failure {
    if let Some(known) = &details.exception {
        return known.clone();
    }
    let mut failure = Failure::new(FailureKind::HttpResponse, "server answered 404 Not Found");
    failure.http_status = details.response_status_code.or(Some(404));
    failure
}

/// Adds what a component wants changed: the later URL and headers win. Headers for one origin do not go along to another.
pub(super) fn merge(changes: &mut Changes, later: &RetryChanges, task_url: &str) {
    if let Some(url) = &later.url {
        if !is_same_origin(changes.url.as_deref().unwrap_or(task_url), url) {
            changes.headers.clear();
        }
        changes.is_joined &= changes.url.as_ref() == Some(url);
        changes.url = Some(url.clone());
        changes.by.clone_from(&later.by);
    }
    changes.headers.retain(|(name, _)| !later.headers.iter().any(|(other, _)| name.eq_ignore_ascii_case(other)));
    changes.headers.extend(later.headers.iter().cloned());
}

/// Hook `verify`. `known`: digests that were computed, by algorithm.
pub(super) async fn verify(cx: &Context<'_>, held: &mut Held, known: Vec<(String, String)>) -> Result<(), Failure> {
    let Some(part) = held.part.as_ref() else { return Ok(()) };
    let first_bytes = cx.transport.without_named_credentials(part.read_at(0, FIRST_BYTES)?, FIRST_BYTES).await;
    let file = FinishedFile { bytes: part.len(), digests: known, first_bytes };
    match cx.slot.leave(pin!(cx.chain.verify(cx.hook_task, &file))).await? {
        Ok(()) => Ok(()),
        Err(why) => {
            held.give_up(cx.shared, cx.key).await?;
            Err(Failure::new(FailureKind::Policy, crate::mask::text(&why)))
        }
    }
}

/// Hands samples of a transfer's progress to hook `on-progress`, beside the transfer and one at a time: what comes while one
/// is being looked at is left out.
pub(super) struct Sampler {
    asked: JoinSet<()>,
}

impl Sampler {
    /// `None`: nobody wants to know.
    pub(super) fn new(chain: &Chain) -> Option<Self> {
        chain.has(Hook::OnProgress).then(|| Self { asked: JoinSet::new() })
    }

    pub(super) fn sample(&mut self, cx: &Context<'_>, reading: &Reading, bytes_done: u64, total_bytes: Option<u64>) {
        while self.asked.try_join_next().is_some() {}
        if !self.asked.is_empty() {
            return;
        }
        let bytes_per_second = reading.network_speed.map_or(0, |megabytes| (megabytes * 1e6) as u64);
        let sample = ProgressSample { bytes_done, total_bytes, bytes_per_second };
        let (chain, hook_task, stop) = (cx.chain.clone(), cx.hook_task.clone(), cx.stop.clone());
        let id = cx.task.task_id.clone();
        self.asked.spawn_local(async move {
            match chain.on_progress(&hook_task, sample).await {
                OnProgress::Cancel(by) => stop.ask_by(Reason::Cancel, by),
                OnProgress::Pause(by) => {
                    tracing::warn!("{id}: {by} pauses it");
                    stop.ask_by(Reason::Pause, by);
                }
                OnProgress::GoOn => {}
            }
        });
    }
}
