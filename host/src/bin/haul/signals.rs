//! Interruption: Ctrl-C or SIGTERM once is a wish to stop and save, twice is an order to leave at once. SIGHUP is the wish, however
//! often it comes: a terminal that is closed tells so itself, and its shell does once more. A signal that whoever started haul
//! has had ignored (`nohup`, `trap '' INT`, a background job of a script) stays ignored.

use std::sync::OnceLock;

use haul::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What has come since the first command listened.
static RECEIVED: OnceLock<watch::Sender<Received>> = OnceLock::new();

#[derive(Clone, Copy, Default)]
struct Received {
    /// How many interruptions.
    count: u32,
    /// What the first one was.
    first: Option<SignalKind>,
}

/// Listens for interruptions; from its creation on they do not kill the process.
pub(crate) struct Interrupt {
    received: watch::Receiver<Received>,
    /// How many of them are known.
    known: u32,
}

impl Interrupt {
    /// Begins to listen.
    pub(crate) fn listen() -> Result<Self> {
        let received = match RECEIVED.get() {
            Some(received) => received,
            None => {
                let signals = Signals {
                    interrupt: heard(SignalKind::interrupt())?,
                    terminate: heard(SignalKind::terminate())?,
                    hang_up: heard(SignalKind::hangup())?,
                };
                let received = RECEIVED.get_or_init(|| watch::channel(Received::default()).0);
                #[expect(clippy::disallowed_methods, reason = "counts as long as the runtime lives")]
                drop(tokio::spawn(signals.counted(received)));
                received
            }
        };
        let received = received.subscribe();
        let known = received.borrow().count;
        Ok(Self { received, known })
    }

    /// That it was interrupted, and by what where nobody has typed it.
    pub(crate) fn told(&self) -> &'static str {
        match self.received.borrow().first {
            Some(first) if first == SignalKind::terminate() => "interrupted by SIGTERM",
            Some(first) if first == SignalKind::hangup() => "interrupted by SIGHUP (its terminal was closed)",
            _ => "interrupted",
        }
    }

    /// Waits for the next interruption.
    pub(crate) async fn wait(&mut self) {
        let known = self.known;
        if self.received.wait_for(|received| received.count > known).await.is_ok() {
            self.known += 1;
        }
    }

    /// Runs something to its end, or until the next interruption: `None`.
    pub(crate) async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.wait() => None,
            done = work => Some(done),
        }
    }

    /// Reads what may not come for long, on a thread of its own; `None`: an interruption came first, and the thread is left alone.
    pub(crate) async fn unless_read<T: Send + 'static>(
        &mut self,
        read: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        match self.unless(tokio::task::spawn_blocking(read)).await {
            None => Ok(None),
            Some(Ok(read)) => read.map(Some),
            Some(Err(broken)) => Err(Error::Other(format!("what is to be sent cannot be read: {broken}"))),
        }
    }
}

/// Waits for what is left to do when everything is saved: until one more interruption comes, or if it was the second already.
/// Where no command has listened, a signal does what signals do.
pub(crate) async fn unless_again<T>(work: impl Future<Output = T>) -> Option<T> {
    let Some(received) = RECEIVED.get() else { return Some(work.await) };
    let received = received.subscribe();
    let known = received.borrow().count.min(1);
    Interrupt { received, known }.unless(work).await
}

/// The signal as it comes; `None`: it stays ignored.
fn heard(kind: SignalKind) -> Result<Option<Signal>> {
    if is_ignored(kind) {
        return Ok(None);
    }
    signal(kind).map(Some).map_err(|error| Error::Other(format!("cannot listen for signals: {error}")))
}

/// Whether the process was started with this signal ignored: proc(5), `SigIgn`.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

/// What is listened for; `None`: it stays ignored.
struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hang_up: Option<Signal>,
}

impl Signals {
    async fn counted(mut self, received: &watch::Sender<Received>) {
        loop {
            let kind = tokio::select! {
                () = next(&mut self.interrupt) => SignalKind::interrupt(),
                () = next(&mut self.terminate) => SignalKind::terminate(),
                () = next(&mut self.hang_up) => SignalKind::hangup(),
            };
            received.send_if_modified(|received| {
                let counts = received.count == 0 || kind != SignalKind::hangup();
                received.count += u32::from(counts);
                received.first.get_or_insert(kind);
                counts
            });
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
