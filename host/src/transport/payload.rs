//! What a request sends: bytes in memory, or a source that is read as the connection takes it, in constant memory.
//!
//! A source is read by position, so that a body can be sent again from its first byte: after a redirect that keeps it, and
//! on another connection where a pooled one was closed. When to send is decided here as well: a large body waits for the
//! server's `100 Continue` (RFC 9110 section 10.1.1), and what is left of one stops when the answer is final without it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use crate::clock;
use crate::error::Failure;

/// Largest piece of a body that is read at once.
const PIECE: usize = 256 * 1024;
/// A longer body is sent when the server has said that it wants it, or has said nothing for [`CONTINUE_WITHIN`].
const EXPECT_ABOVE: u64 = 1024 * 1024;
/// How long the server's `100 Continue` is waited for at most (as curl does).
const CONTINUE_WITHIN: Duration = Duration::from_secs(1);

/// How soon is looked whether more of a body has come whose length is not known.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Something to do before the last piece of a body is sent.
pub type BeforeEnd = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// A body that can be read any number of times.
pub trait Source: fmt::Debug + Send + Sync {
    /// The exact number of bytes. `None`: nobody knows yet, for more may come. One that is known stays.
    fn length(&self) -> Option<u64>;

    /// Whether no more may come.
    ///
    /// # Errors
    /// More was to come, and will not.
    fn is_whole(&self) -> Result<bool, Failure> {
        Ok(true)
    }

    /// Bytes from `offset`: at most `limit`, and at least one where it is below a known length. Where that is not known there
    /// may be none yet, and at the end of what is whole there are none. Blocks no longer than a disk does.
    ///
    /// # Errors
    /// Ends the request: the server never gets a body that it could take for whole.
    fn read(&self, offset: u64, limit: usize) -> Result<Bytes, Failure>;

    /// How long to wait after so many bytes before the next are sent (speed limits).
    fn pause(&self, _taken: usize) -> Duration {
        Duration::ZERO
    }

    /// There is a connection for the request: one without a body may be out from now on.
    fn connected(&self) {}

    /// What must have happened before the server can have the whole request.
    fn before_end(&self) -> Option<BeforeEnd> {
        None
    }
}

/// A request's body.
#[derive(Clone, Debug)]
pub enum Payload {
    /// These bytes; none of them: no body.
    Bytes(Bytes),
    /// What a source gives.
    Source(Arc<dyn Source>),
}

impl Default for Payload {
    fn default() -> Self {
        Payload::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Payload::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Payload::Bytes(bytes.into())
    }
}

impl Payload {
    /// The exact number of bytes, if it is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Payload::Bytes(bytes) => Some(bytes.len() as u64),
            Payload::Source(source) => source.length(),
        }
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.length() == Some(0)
    }

    /// Waits until its length is known.
    pub(super) async fn is_whole(&self) -> Result<(), Failure> {
        let Payload::Source(source) = self else { return Ok(()) };
        while !source.is_whole()? {
            clock::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Whether the server is asked before the body is sent.
    pub(super) fn asks_first(&self) -> bool {
        self.length().is_none_or(|length| length > EXPECT_ABOVE)
    }

    /// There is a connection for the request.
    pub(super) fn connected(&self) {
        if let Payload::Source(source) = self {
            source.connected();
        }
    }

    fn read(&self, offset: u64) -> Result<Bytes, Failure> {
        match self {
            Payload::Bytes(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(from..bytes.len().min(from + PIECE)))
            }
            Payload::Source(source) => source.read(offset, PIECE),
        }
    }
}

/// Why a body was not sent to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsent {
    /// It could not be read.
    #[error("{0}")]
    Broken(Failure),
    /// Nobody wants the rest.
    #[error("the rest of the request is not wanted")]
    Unwanted,
}

/// What the connection may do with the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Wait for `100 Continue`.
    Ask,
    /// Send.
    Send,
    /// Send nothing more, for the answer is here, and leave the connection open until it is read.
    Hold,
    /// Give the connection up.
    Drop,
}

/// A body on its way, as seen from outside the connection.
#[derive(Debug)]
pub(super) struct Sending {
    start: Instant,
    /// Microseconds from `start` to when the last piece was taken.
    last: AtomicU64,
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug)]
struct State {
    order: Order,
    /// Every byte was taken.
    whole: bool,
    /// The connection has let go of the body.
    gone: bool,
    /// Why it could not be read to its end: HTTP/2 tells of that as if the stream had been reset for nothing.
    broken: Option<Failure>,
    waker: Option<Waker>,
}

impl Sending {
    /// When the connection last took a piece, or the sending began.
    pub(super) fn last(&self) -> Instant {
        self.start + Duration::from_micros(self.last.load(Ordering::Relaxed))
    }

    pub(super) fn start(&self) -> Instant {
        self.start
    }

    /// Whether the connection has taken every byte.
    pub(super) fn is_whole(&self) -> bool {
        self.state().whole
    }

    /// Whether the connection will take nothing more.
    pub(super) fn is_over(&self) -> bool {
        self.outcome().is_some()
    }

    /// Why it could not be read to its end.
    pub(super) fn broken(&self) -> Option<Failure> {
        self.state().broken.clone()
    }

    /// Whether the connection has let go of it before it had taken every byte.
    pub(super) fn was_let_go(&self) -> bool {
        self.outcome() == Some(false)
    }

    /// A piece was taken, or there is none to be taken just now: what follows is the other end's silence.
    fn counts_from_now(&self) {
        let now = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn is_taken_whole(&self) {
        self.state().whole = true;
        self.ended.notify_waiters();
    }

    /// The server wants the body.
    pub(super) fn go_on(&self) {
        self.order(Order::Send);
    }

    /// The answer is here: the rest is not sent. The connection stays until [`Guard`] is dropped.
    pub(super) fn hold(&self) {
        self.order(Order::Hold);
    }

    /// Waits until the connection has let go of the body; answers whether it had taken every byte.
    pub(super) async fn end(&self) -> bool {
        loop {
            let ended = self.ended.notified();
            if let Some(whole) = self.outcome() {
                return whole;
            }
            ended.await;
        }
    }

    /// Whether every byte was taken, once nothing more can change about that.
    fn outcome(&self) -> Option<bool> {
        let state = self.state();
        (state.whole || state.gone).then_some(state.whole)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: Order) {
        let mut state = self.state();
        if order == Order::Drop || (state.order != Order::Drop && state.order != Order::Hold) {
            state.order = order;
        }
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Order {
        let mut state = self.state();
        state.waker = Some(cx.waker().clone());
        state.order
    }
}

/// Gives the connection up when dropped, unless the body was sent to its end: a request that nobody waits for any more must
/// not reach the server whole.
#[derive(Debug)]
pub(super) struct Guard(pub(super) Arc<Sending>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.order(Order::Drop);
    }
}

/// A body as the connection takes it.
pub(super) struct Outgoing {
    payload: Payload,
    /// `None`: that is known at its end.
    length: Option<u64>,
    taken: u64,
    /// All of it was taken.
    ended: bool,
    sending: Arc<Sending>,
    /// How long `100 Continue` is waited for.
    patience: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    /// When is looked whether more has come.
    look: Option<Pin<Box<Sleep>>>,
    /// The last piece, while it waits for `before_end`.
    last: Option<(Bytes, BeforeEnd)>,
}

impl Outgoing {
    /// `asks`: the request has `Expect: 100-continue`. `limit`: the shortest time limit on sending; that nothing is sent
    /// meanwhile is no silence of the server.
    pub(super) fn new(payload: Payload, asks: bool, limit: Option<Duration>) -> (Self, Guard) {
        let patience = limit.map_or(CONTINUE_WITHIN, |limit| CONTINUE_WITHIN.min(limit / 2));
        let order = if asks { Order::Ask } else { Order::Send };
        let length = payload.length();
        let sending = Arc::new(Sending {
            start: crate::clock::timer_now(),
            last: AtomicU64::new(0),
            state: Mutex::new(State { order, whole: length == Some(0), gone: false, broken: None, waker: None }),
            ended: Notify::new(),
        });
        let guard = Guard(sending.clone());
        let ended = length == Some(0);
        (Self { payload, length, taken: 0, ended, sending, patience, pause: None, look: None, last: None }, guard)
    }

    fn poll_order(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        match self.sending.poll(cx) {
            Order::Send => {}
            Order::Hold => return Poll::Pending,
            Order::Drop => return Poll::Ready(Err(Unsent::Unwanted)),
            Order::Ask if self.pause.is_none() => {
                self.pause = Some(Box::pin(clock::sleep(self.patience)));
            }
            Order::Ask => {}
        }
        if let Some(pause) = &mut self.pause {
            if self.sending.poll(cx) == Order::Ask || self.taken > 0 {
                ready!(pause.as_mut().poll(cx));
            }
            self.pause = None;
            self.sending.go_on();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Unsent>> {
        if self.last.is_none() {
            let piece = ready!(self.poll_source(cx))?;
            let before_end = match &self.payload {
                Payload::Source(source) if self.is_last(&piece) => source.before_end(),
                _ => None,
            };
            match before_end {
                None => return Poll::Ready(Ok(piece)),
                Some(before_end) => self.last = Some((piece, before_end)),
            }
        }
        let Some((piece, before_end)) = &mut self.last else { return Poll::Pending };
        let piece = match ready!(before_end.as_mut().poll(cx)) {
            Ok(()) => std::mem::take(piece),
            Err(failure) => return Poll::Ready(Err(self.breaks(failure))),
        };
        self.last = None;
        Poll::Ready(Ok(piece))
    }

    /// The next bytes; none at the end of a body whose length was not known before.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Unsent>> {
        loop {
            if let Some(look) = &mut self.look {
                ready!(look.as_mut().poll(cx));
                self.look = None;
            }
            let piece = self.payload.read(self.taken).map_err(|failure| self.breaks(failure))?;
            if !piece.is_empty() || self.length.is_some() || self.payload.length() == Some(self.taken) {
                return Poll::Ready(Ok(piece));
            }
            self.sending.counts_from_now();
            self.look = Some(Box::pin(clock::sleep(LOOK_AGAIN)));
        }
    }

    fn breaks(&self, failure: Failure) -> Unsent {
        self.sending.state().broken = Some(failure.clone());
        Unsent::Broken(failure)
    }

    /// Whether the server has all of it with this piece: where no length was told, by the end that follows.
    fn is_last(&self, piece: &Bytes) -> bool {
        self.length.map_or(piece.is_empty(), |length| self.taken + piece.len() as u64 == length)
    }

    fn took(&mut self, piece: &Bytes) {
        let is_last = self.is_last(piece);
        self.taken += piece.len() as u64;
        self.sending.counts_from_now();
        if is_last {
            self.ended = true;
            self.sending.is_taken_whole();
        } else if let Payload::Source(source) = &self.payload {
            let pause = source.pause(piece.len());
            self.pause = (!pause.is_zero()).then(|| Box::pin(clock::sleep(pause)));
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Unsent;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Unsent>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        ready!(self.poll_order(cx))?;
        let piece = ready!(self.poll_piece(cx))?;
        self.took(&piece);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, |length| SizeHint::with_exact(length - self.taken))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.sending.state().gone = true;
        self.sending.ended.notify_waiters();
    }
}
