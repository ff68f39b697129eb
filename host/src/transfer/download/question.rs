//! What is asked of a server, and the call that asks it: the task's limits, its body, and the range with its condition.

use std::sync::Arc;
use std::time::Duration;

use crate::task::{Body, Pairs};
use crate::transfer::Context;
use crate::transport::{Call, Guard, Steps};

/// The request's changeable part.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) url: String,
    /// The URL as it is where no component has another one: with the task's credentials.
    pub(crate) own_url: String,
    pub(crate) headers: Pairs,
    pub(crate) guard: Guard,
}

impl Wire {
    /// Of a place that the task itself names.
    pub(crate) fn own(url: &str, headers: Pairs) -> Self {
        Self { url: url.to_owned(), own_url: url.to_owned(), headers, guard: Guard::Any }
    }
}

/// What the next question asks for.
#[derive(Clone, Debug, Default)]
pub(in crate::transfer) struct Question {
    /// Go on from here.
    pub(in crate::transfer) from: Option<u64>,
    /// Up to here, included; `None`: to the end.
    pub(in crate::transfer) to: Option<u64>,
    pub(in crate::transfer) if_range: String,
    pub(in crate::transfer) restarts: u32,
    /// Take one stream, whatever the task wants.
    pub(in crate::transfer) undivided: bool,
    /// Where the part file begins in the resource, of which the task wants a range.
    pub(in crate::transfer) offset: u64,
    /// Ask from so many bytes earlier: they must be equal to those that are stored, which came from another URL.
    pub(in crate::transfer) overlap: u64,
    /// The whole comes without a length: what it should have is known by an earlier answer under the same strong entity tag.
    pub(in crate::transfer) has_known_length: bool,
    /// Why the bytes that are stored are to be given up, once others are there to take their place.
    pub(in crate::transfer) instead: Option<String>,
}

impl Question {
    /// The first byte of the resource that is asked for, where stored bytes are gone on with.
    pub(super) fn first_byte(&self) -> Option<u64> {
        self.from.map(|from| self.offset + from.saturating_sub(self.overlap))
    }
}

pub(super) fn log_question(cx: &Context<'_>, wire: &Wire, question: &Question) {
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let (id, method, url) = (&cx.task.task_id, &cx.task.http_request_method, cx.shown(&wire.url));
    let (from, attempt) = (question.first_byte().unwrap_or(0), cx.record.attempt + 1);
    tracing::info!("{id}: {method} {url} from byte {from}, attempt {attempt}");
}

/// A call with the task's body and limits and no range of ours.
pub(in crate::transfer) fn plain_call(cx: &Context<'_>, wire: &Wire) -> Call {
    call_of(cx, wire, &Question::default())
}

pub(in crate::transfer) fn call_of(cx: &Context<'_>, wire: &Wire, question: &Question) -> Call {
    let task = cx.task;
    let mut call = Call::new(task.http_request_method.clone(), wire.url.clone());
    call.headers.clone_from(&wire.headers);
    call.without = task.without_headers().map(str::to_owned).collect();
    call.guard = wire.guard.clone();
    if let Body::Bytes(bytes) = &task.body {
        call.body = bytes.clone().into();
        let given = call.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if let (false, Some(content_type)) = (given || task.leaves_out("content-type"), &task.content_type) {
            call.headers.push(("content-type".into(), content_type.clone()));
        }
    }
    call.steps = cx.interceptors.clone().map(|steps| steps as Arc<dyn Steps>);
    if let Some(from) = question.first_byte() {
        let to = question.to.map_or(String::new(), |to| to.to_string());
        // The task's own range, of which this is the rest.
        call.headers.retain(|(name, _)| !["range", "if-range"].iter().any(|own| name.eq_ignore_ascii_case(own)));
        call.headers.push(("range".into(), format!("bytes={from}-{to}")));
        if !question.if_range.is_empty() {
            call.headers.push(("if-range".into(), question.if_range.clone()));
        }
    }
    let limit = |ms: Option<u64>, default: Option<Duration>| match ms {
        None => default,
        Some(0) => None,
        Some(ms) => Some(Duration::from_millis(ms)),
    };
    call.connect_timeout = limit(task.timeouts.connect_ms, call.connect_timeout);
    // A short limit between two pieces is meant for the wait for the first one too.
    let default_ms = call.head_timeout.map_or(u64::MAX, |default| default.as_millis() as u64);
    let idle_ms = task.timeouts.idle_ms.filter(|ms| *ms > 0 && *ms < default_ms);
    call.head_timeout = limit(task.timeouts.head_ms.or(idle_ms), call.head_timeout);
    call.send_timeout = limit(task.timeouts.send_ms, call.send_timeout);
    call.idle_timeout = limit(task.timeouts.idle_ms, call.idle_timeout);
    call.is_late = Arc::clone(&cx.is_late);
    call.max_redirects = task.max_redirects;
    call.trail = Some(cx.trail.clone());
    if cx.shared.throttle.set_sip(cx.taker()) > 0 {
        call.low_speed_bytes = 0;
    }
    call.sip = Some(Arc::clone(&cx.rate.sip));
    call
}
