//! How far the server's system has taken what was sent: what the socket knows, below TLS and HTTP/2.
//!
//! A socket's buffer takes megabytes at once, which a slow line needs minutes for. That the system has taken a piece of a body
//! therefore says little; what the other end has acknowledged is what time limits on sending are about.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connect::Trace;
use crate::clock;

/// Bytes that a socket takes beyond what it can send at once: enough for the fastest line, and little enough that progress is
/// that of the line.
const UNSENT: libc::c_int = 256 * 1024;
/// A time limit's share after which the socket is asked again, and how long that may be.
const LOOKS: u32 = 8;
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// The socket of a connection, for as long as that is open.
#[derive(Debug, Default)]
pub(super) struct Socket(Mutex<Option<RawFd>>);

/// Where a socket's stream of bytes stands.
#[derive(Clone, Copy)]
struct Mark {
    /// Bytes that the other end has acknowledged.
    acknowledged: u64,
    /// Bytes that it has not.
    queued: u64,
}

impl Socket {
    pub(super) fn new(descriptor: Option<RawFd>) -> Self {
        Self(Mutex::new(descriptor))
    }

    /// It is about to be closed: its number will soon be another file's.
    pub(super) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn mark(&self) -> Option<Mark> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let descriptor = (*open)?;
        Some(Mark { acknowledged: acknowledged(descriptor)?, queued: queued(descriptor)? })
    }
}

/// How far a request's body has got, for the time limits on sending it.
pub(super) struct Uptake {
    trace: Option<Arc<Trace>>,
    /// When the connection took the last piece that was heard of.
    piece: Instant,
    /// Acknowledged so far.
    acknowledged: u64,
    /// What is acknowledged from here on is other requests' (HTTP/2).
    until: u64,
    /// When something of it was last acknowledged.
    at: Instant,
}

impl Uptake {
    /// Without a connection nothing is known but when it takes pieces. `at`: when the waiting began.
    pub(super) fn new(trace: Option<&Arc<Trace>>, at: Instant) -> Self {
        let mark = trace.and_then(|trace| trace.socket.mark());
        let acknowledged = mark.map_or(0, |mark| mark.acknowledged);
        Self { trace: trace.cloned(), piece: at, acknowledged, until: u64::MAX, at }
    }

    /// When something was last taken: by the connection (`piece`), or by the server's system.
    pub(super) fn last(&mut self, piece: Instant) -> Instant {
        if let Some(trace) = &self.trace
            && let Some(mark) = trace.socket.mark()
        {
            if trace.h2 && (self.until == u64::MAX || piece > self.piece) {
                self.until = mark.acknowledged + mark.queued;
            }
            let before = std::mem::replace(&mut self.acknowledged, mark.acknowledged);
            if mark.acknowledged > before && before < self.until {
                self.at = clock::timer_now();
            }
        }
        self.piece = self.piece.max(piece);
        piece.max(self.at)
    }

    /// Waits until the limit may have passed, or the socket is to be asked again. Answers whether it has passed: nothing was taken for
    /// so long. `piece`: when the connection took the last piece, now and then.
    pub(super) async fn is_over(&mut self, limit: Option<Duration>, piece: impl Fn() -> Instant) -> bool {
        let end = |last: Instant| limit.and_then(|limit| last.checked_add(limit));
        let Some(until) = end(self.last(piece())) else { return std::future::pending().await };
        let next = match &self.trace {
            Some(_) => until.min(clock::timer_now() + look_after(limit.unwrap_or_default())),
            None => until,
        };
        clock::sleep_until(next).await;
        end(self.last(piece())).is_some_and(|until| until <= clock::timer_now())
    }
}

/// How soon the socket is asked again under this limit.
pub(super) fn look_after(limit: Duration) -> Duration {
    (limit / LOOKS).min(LOOK_AFTER)
}

/// Makes a socket take little more than it can send, so that one that takes more has sent something. It works without.
#[allow(unsafe_code)] // rustix does not know the option
pub(super) fn keep_short(stream: &TcpStream) {
    let unsent = UNSENT;
    let (option, size) = (&raw const unsent, size_of_val(&unsent) as libc::socklen_t);
    // SAFETY: the descriptor is open for as long as the stream is borrowed, and the option is an integer, which is read.
    unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, option.cast(), size);
    }
}

#[allow(unsafe_code)] // rustix knows no TCP_INFO
fn acknowledged(descriptor: RawFd) -> Option<u64> {
    // SAFETY: a structure of integers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the system writes at most `size` bytes, which the structure has.
    let done = unsafe {
        let into = (&raw mut info).cast();
        libc::getsockopt(descriptor, libc::IPPROTO_TCP, libc::TCP_INFO, into, &raw mut size)
    };
    (done == 0).then_some(info.tcpi_bytes_acked)
}

#[allow(unsafe_code)] // rustix knows no SIOCOUTQ
fn queued(descriptor: RawFd) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the system writes an integer. SIOCOUTQ is TIOCOUTQ.
    let done = unsafe { libc::ioctl(descriptor, libc::TIOCOUTQ, &raw mut bytes) };
    (done == 0).then(|| u64::try_from(bytes).ok())?
}
