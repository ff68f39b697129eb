//! What waits to be written to stdout and stderr, in order, and the thread that writes it: a reader who stops reading (a pager, a pipe
//! that nobody empties, Ctrl-S) holds up nobody else. It knows nothing of what is written.
//!
//! What waits has a limit: whoever has much to print waits for room, and meanwhile does everything else; lines of the log, which
//! cannot wait, are left out and counted.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::stdout;
use crate::text::Escaper;

/// Bytes from which on there is no room.
const FULL: usize = 1 << 20;
/// Bytes from which on lines of the log are left out.
const OVERFULL: usize = 4 * FULL;
/// Bytes from which on pictures of progress are left out: a reader who keeps up has read them by then.
const BEHIND: usize = 16 << 10;
/// Bytes that are written at once, where there are so many.
const PIECE: usize = 64 << 10;

/// A stream of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// Stdout.
    Out,
    /// Stderr.
    Err,
}

/// Something to be written.
enum Piece {
    /// Whole lines.
    Text(To, Vec<u8>),
    /// All that a reader gives, on stdout.
    Copy(Box<Copying>),
}

/// A reader whose content goes to stdout.
struct Copying {
    from: Box<dyn Read + Send>,
    /// Makes harmless what steers a terminal.
    escaper: Option<Escaper>,
    /// Is told at the end whether something was escaped.
    ended: Box<dyn FnOnce(io::Result<bool>) + Send>,
}

/// The way out. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Outlet(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// There is more to write.
    more: Condvar,
    /// Everything is written.
    done: Condvar,
    /// Something was written.
    moved: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Piece>,
    /// How many bytes that is, with those that are being written.
    bytes: usize,
    /// Somebody is writing.
    busy: bool,
    /// Whether there is a thread that writes; `None`: nothing was to be written yet.
    is_threaded: Option<bool>,
    /// Lines that were left out.
    left_out: u64,
    /// Why nothing more can be written to stdout: what comes for it is thrown away.
    error: Option<io::Error>,
}

impl State {
    fn is_done(&self) -> bool {
        self.waiting.is_empty() && !self.busy
    }

    /// Puts this behind all that waits.
    fn push(&mut self, to: To, text: &dyn Display, end: &str) {
        if to == To::Out && self.error.is_some() {
            return;
        }
        let fits = |piece: &&mut Piece| matches!(piece, Piece::Text(other, text) if *other == to && text.len() < PIECE);
        let piece = match self.waiting.back_mut().filter(fits) {
            Some(Piece::Text(_, bytes)) => bytes,
            _ => {
                self.waiting.push_back(Piece::Text(to, Vec::new()));
                match self.waiting.back_mut() {
                    Some(Piece::Text(_, bytes)) => bytes,
                    _ => return,
                }
            }
        };
        let before = piece.len();
        let _ = write!(piece, "{text}{end}"); // memory takes everything
        self.bytes += piece.len() - before;
    }
}

impl Outlet {
    /// A line, or a part of one. On stdout it may stay here until [`Outlet::flush`].
    pub(super) fn text(&self, to: To, text: &dyn Display, end: &str) {
        let mut state = self.lock();
        state.push(to, text, end);
        let is_due = to == To::Err || state.bytes >= PIECE;
        drop(state);
        if is_due {
            self.flush();
        }
    }

    /// Whether a line of the log is left out, because too much waits already; it is counted then.
    pub(super) fn leaves_out(&self) -> bool {
        let mut state = self.lock();
        let leaves_out = state.bytes >= OVERFULL;
        state.left_out += u64::from(leaves_out);
        leaves_out
    }

    /// Bytes on stdout, as they are.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if state.error.is_none() {
            state.bytes += bytes.len();
            state.waiting.push_back(Piece::Text(To::Out, bytes.to_vec()));
        }
    }

    /// All that a reader gives, on stdout; `ended` hears then whether something was escaped.
    pub(super) fn copy(
        &self,
        from: impl Read + Send + 'static,
        escaper: Option<Escaper>,
        ended: impl FnOnce(io::Result<bool>) + Send + 'static,
    ) {
        let copying = Copying { from: Box::new(from), escaper, ended: Box::new(ended) };
        self.lock().waiting.push_back(Piece::Copy(Box::new(copying)));
        self.flush();
    }

    /// Has written what waits. Where the system refuses a thread it is written here and now.
    pub(super) fn flush(&self) {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            return;
        }
        let start = || {
            haul::spawn_thread("haul-print", {
                let outlet = self.clone();
                move || outlet.write(true)
            })
            .is_ok()
        };
        let is_threaded = *state.is_threaded.get_or_insert_with(start);
        drop(state);
        if is_threaded {
            self.0.more.notify_one();
        } else {
            self.write(false);
        }
    }

    /// Whether stdout takes nothing more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().error.is_some()
    }

    /// Why stdout takes nothing more. What comes for it from now on is written again.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        self.lock().error.take()
    }

    /// Whether there is room for more.
    pub(super) fn has_room(&self) -> bool {
        self.lock().bytes < FULL
    }

    /// Whether pictures of progress would only come late.
    pub(super) fn is_behind(&self) -> bool {
        self.lock().bytes >= BEHIND
    }

    /// Waits for room.
    pub(super) async fn room(&self) {
        self.until(|state| state.bytes < FULL).await;
    }

    /// Waits until everything is written.
    pub(super) async fn written(&self) {
        self.flush();
        self.until(State::is_done).await;
    }

    /// The same, and holds up everybody meanwhile.
    pub(super) fn wait(&self) {
        self.flush();
        let state = self.lock();
        drop(self.0.done.wait_while(state, |state| !state.is_done()));
    }

    async fn until(&self, reached: impl Fn(&State) -> bool) {
        loop {
            let moved = self.0.moved.notified(); // before the look: what comes after it is not missed
            if reached(&self.lock()) {
                return;
            }
            moved.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits; `stays`: and all that ever will.
    fn write(&self, stays: bool) {
        let mut state = self.lock();
        if state.busy {
            return; // whoever that is takes this, too
        }
        loop {
            let Some(piece) = state.waiting.pop_front() else {
                let left_out = std::mem::take(&mut state.left_out);
                if left_out > 0 {
                    state.push(
                        To::Err,
                        &format_args!("warning: {left_out} lines were left out here: nobody read them"),
                        "\n",
                    );
                    continue;
                }
                state.busy = false;
                self.0.done.notify_all();
                self.0.moved.notify_waiters();
                if !stays {
                    return;
                }
                state = self.0.more.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.busy = true;
            let throw_away = state.error.is_some();
            drop(state);
            let (size, written) = self.put(piece, throw_away);
            state = self.lock();
            state.bytes -= size;
            if let Err(error) = written {
                state.error.get_or_insert(error);
            }
            self.0.moved.notify_waiters();
        }
    }

    /// Writes one piece, unless it is for a stdout that takes nothing more. Answers its size, and what became of stdout.
    fn put(&self, piece: Piece, throw_away: bool) -> (usize, io::Result<()>) {
        match piece {
            Piece::Text(To::Err, text) => {
                let _ = io::stderr().lock().write_all(&text); // nothing can be done about a stderr that takes nothing
                (text.len(), Ok(()))
            }
            Piece::Text(To::Out, text) if throw_away => (text.len(), Ok(())),
            Piece::Text(To::Out, text) => (text.len(), out(&text)),
            Piece::Copy(copying) => {
                let Copying { mut from, mut escaper, ended } = *copying;
                let mut written = Ok(());
                let copied = copied(&mut from, &mut escaper, |bytes| {
                    if !throw_away && written.is_ok() {
                        written = out(bytes);
                    }
                    written.is_ok()
                });
                ended(copied);
                (0, written)
            }
        }
    }
}

/// Bytes to stdout, at once.
fn out(bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    stdout::check()?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush())
}

/// Hands over all that a reader gives, while that is wanted. Answers whether something was escaped. The error is the reader's.
pub(super) fn copied(
    from: &mut dyn Read,
    escaper: &mut Option<Escaper>,
    mut take: impl FnMut(&[u8]) -> bool,
) -> io::Result<bool> {
    let mut buffer = vec![0; PIECE];
    loop {
        let size = from.read(&mut buffer)?;
        let bytes = buffer.get(..size).unwrap_or_default();
        let goes_on = match escaper {
            None => take(bytes),
            Some(escaper) => take(escaper.take(bytes).as_bytes()),
        };
        if size == 0 || !goes_on {
            return Ok(escaper.as_ref().is_some_and(|escaper| escaper.has_escaped));
        }
    }
}
