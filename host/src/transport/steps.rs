//! Who is asked on the way of a call: before each request goes out, and before each redirect is followed.
//!
//! What they answer stands below the rules of redirects, which no answer lifts: not from https to http, and once a call has
//! left its origin, neither credentials nor the call's own headers go along. Cookies and logins of the profile are added
//! behind them. A call without anybody to ask costs nothing more.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use url::{Origin, Url};

use super::handles::Used;
use super::redirect::{self, Hop, Visit};
use super::{Answer, AnswerBody, Call, Framing, Guard};
use crate::error::Failure;
use crate::task::Pairs;

/// A request without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outbound {
    /// In capitals; an answer's is not looked at.
    pub(crate) method: String,
    /// Absolute, without userinfo and fragment.
    pub(crate) url: String,
    /// Without those that the connection adds.
    pub(crate) headers: Pairs,
    /// Of an answer: which addresses may be connected to from here on, or by this request alone where its URL is the one that was
    /// given. `None`: as before.
    pub(crate) guard: Option<Guard>,
}

/// A redirect that may be followed.
#[derive(Clone, Debug)]
pub(crate) struct Redirect {
    /// 1 for the first of a call.
    pub(crate) number: u32,
    /// 301, 302, 303, 307 or 308.
    pub(crate) status: u16,
    /// Where it comes from.
    pub(crate) from_url: String,
    /// The request that would follow.
    pub(crate) next: Outbound,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Go {
    /// It goes out like this.
    Send(Outbound),
    /// Nothing goes out: this is the answer.
    Answer(Canned),
}

/// An answer that no server gave.
#[derive(Clone, Debug)]
pub(crate) struct Canned {
    /// 200 to 599.
    pub(crate) status: u16,
    /// Names in lower case, without framing.
    pub(crate) headers: Pairs,
    /// The whole body.
    pub(crate) body: Bytes,
    /// Whether others are to judge it as well; handed on as [`Answer::canned`].
    pub(crate) follow: bool,
    /// Who has made it up, for sentences.
    pub(crate) by: Option<String>,
}

/// What becomes of a redirect.
#[derive(Debug)]
pub(crate) enum Follow {
    /// It is followed.
    Yes,
    /// It is followed by this request.
    With(Outbound),
    /// It is the answer.
    No,
}

/// An answer to come.
pub(crate) type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// Who is asked. A failure ends the call.
pub(crate) trait Steps: Send + Sync {
    /// Before each request, the first one included.
    fn before_request(&self, step: Outbound) -> Asked<'_, Go>;

    /// Before each redirect that the rules allow.
    fn before_redirect(&self, redirect: Redirect) -> Asked<'_, Follow>;
}

/// Where a call began, whether it is still there, and where it may connect to.
pub(super) struct Way {
    origin: Origin,
    has_left: bool,
    guard: Guard,
    /// Counts for the next request alone.
    once: Option<Guard>,
}

impl Way {
    pub(super) fn new(first: &Hop, guard: Guard) -> Self {
        Self { origin: first.url.origin(), has_left: false, guard, once: None }
    }

    /// Which addresses the next request may connect to.
    pub(super) fn guard(&self) -> &Guard {
        self.once.as_ref().unwrap_or(&self.guard)
    }

    /// Asks about the next request of a call, of which `used` are the secrets sent so far: a server may have repeated one in
    /// its Location. `Err` inside: the answer that makes it needless.
    pub(super) async fn ask(
        &mut self,
        steps: &dyn Steps,
        call: &Call,
        hop: Hop,
        used: &Used,
    ) -> Result<Result<Hop, (Hop, Canned)>, Failure> {
        let shown = step_of(&hop, used);
        let shown_url = shown.url.clone();
        match steps.before_request(shown).await? {
            Go::Send(step) => self.changed(call, hop, &shown_url, step).map(Ok),
            Go::Answer(canned) => Ok(Err((hop, canned))),
        }
    }

    /// Asks about a redirect. `None`: it is not followed.
    pub(super) async fn follow(
        &mut self,
        steps: &dyn Steps,
        call: &Call,
        (number, status, from): (usize, u16, &Url),
        next: Hop,
        used: &Used,
    ) -> Result<Option<Hop>, Failure> {
        self.once = None;
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let shown = step_of(&next, used);
        let shown_url = shown.url.clone();
        let mut from_url = from.as_str().to_owned();
        used.mask(&mut from_url);
        match steps.before_redirect(Redirect { number, status, from_url, next: shown }).await? {
            Follow::Yes => Ok(Some(next)),
            Follow::With(step) => self.changed(call, next, &shown_url, step).map(Some),
            Follow::No => Ok(None),
        }
    }

    /// The request as it was answered, within the rules. A URL that is answered as it was shown stays what it is.
    fn changed(&mut self, call: &Call, hop: Hop, shown_url: &str, step: Outbound) -> Result<Hop, Failure> {
        let given = hop.url.clone();
        let url = if step.url == shown_url { given.as_str() } else { &step.url };
        let mut changed = redirect::changed(hop, url, step.headers)?;
        if let Some(guard) = step.guard {
            let stays = changed.url.host() == given.host();
            let guard = if stays { self.guard().and(guard, &given) } else { guard };
            if changed.url == given {
                self.once = Some(guard);
            } else {
                (self.guard, self.once) = (guard, None);
            }
        }
        self.has_left |= changed.url.origin() != self.origin;
        if self.has_left {
            redirect::hold_back(&mut changed.headers, &call.headers);
        }
        Ok(changed)
    }
}

fn step_of(hop: &Hop, used: &Used) -> Outbound {
    let mut url = hop.url.as_str().to_owned();
    used.mask(&mut url);
    Outbound { method: hop.method.clone(), url, headers: hop.headers.clone(), guard: None }
}

/// An answer made of one that no server gave.
pub(super) fn answer(hop: Hop, before: Vec<Visit>, canned: Canned) -> Answer {
    let Canned { status, headers, body, follow, by } = canned;
    let body = if hop.method == "HEAD" { Bytes::new() } else { body };
    Answer {
        status,
        headers,
        url: hop.url.into(),
        hops: before.into_iter().map(|visit| visit.url.into()).collect(),
        framing: Framing::Length(body.len() as u64),
        insecure: false,
        early: false,
        canned: Some(follow),
        by,
        missed_by: None,
        refused: None,
        body: AnswerBody::given(body),
    }
}
