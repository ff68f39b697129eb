//! The connection that a request is on: which one the pool chose, what has come over it, and whether others may still choose it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Extensions;
use hyper_util::client::legacy::connect::CaptureConnection;

use super::connect::{End, Trace};

/// A connection that has brought nothing for so long, while somebody waited, may be dead.
const SILENT_FOR: Duration = Duration::from_secs(5);

/// The connection of one exchange.
#[derive(Debug)]
pub(super) struct Line {
    captured: CaptureConnection,
    trace: Option<Arc<Trace>>,
    read_before: u64,
    /// [`super::Call::is_late`].
    is_late: Arc<AtomicBool>,
    /// The exchange has ended as it should.
    is_done: bool,
}

impl Line {
    pub(super) fn new(captured: CaptureConnection, is_late: Arc<AtomicBool>) -> Self {
        Self { captured, trace: None, read_before: 0, is_late, is_done: false }
    }

    /// Waits until the pool has chosen.
    pub(super) async fn chosen(&mut self) {
        drop(self.captured.wait_for_connection_metadata().await);
    }

    /// Looks which connection the pool chose, if it did.
    pub(super) fn look(&mut self) {
        let mut extras = Extensions::new();
        if let Some(connected) = self.captured.connection_metadata().as_ref() {
            connected.get_extras(&mut extras);
        }
        self.trace = extras.remove::<Arc<Trace>>();
        if let Some(trace) = &self.trace {
            self.read_before = trace.read.load(Ordering::Relaxed);
            trace.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn trace(&self) -> Option<&Arc<Trace>> {
        self.trace.as_ref()
    }

    /// No other request goes over it. Those that are on it are left alone, and it closes after the last of them.
    pub(super) fn retire(&self) {
        if let Some(connected) = self.captured.connection_metadata().as_ref() {
            connected.poison();
        }
    }

    /// The exchange has ended as it should.
    pub(super) fn end(mut self) {
        self.is_done = true;
    }

    /// Whether another request had been answered on it.
    pub(super) fn was_pooled(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.answered.load(Ordering::Relaxed))
    }

    /// Whether it has carried no other request.
    pub(super) fn is_ours_alone(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.requests.load(Ordering::Relaxed) == 1)
    }

    pub(super) fn is_http2(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.h2)
    }

    pub(super) fn alert(&self) -> Option<rustls::AlertDescription> {
        self.trace.as_ref().and_then(|trace| trace.alert.get().copied())
    }

    /// Whether it is gone, and not by its server.
    pub(super) fn is_lost(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.is_lost())
    }

    /// Whether it is gone, and not by its server, nor by an error: HTTP/2 closes those whose server does not answer.
    pub(super) fn was_given_up(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.end.get() == Some(&End::GivenUp))
    }

    /// Whether anything has come over it since this request is on it.
    pub(super) fn has_read(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.read.load(Ordering::Relaxed) > self.read_before)
    }
}

impl Drop for Line {
    /// Whoever gives an exchange up says whether for want of time (a limit on the whole attempt), and nothing more (a pause).
    fn drop(&mut self) {
        let is_silent = || self.trace.as_ref().is_some_and(|trace| trace.is_silent_for(SILENT_FOR));
        if !self.is_done && (self.is_late.load(Ordering::Relaxed) || is_silent()) {
            self.retire();
        }
    }
}
