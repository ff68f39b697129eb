//! What components write: standard output and error become log lines, within limits. Opens no file and no terminal.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::LogSink;
use super::quota::Quota;
use crate::mask::Secrets;
use crate::terminal::is_hostile;

const LINE_BYTES_MAX: usize = 1 << 10;
/// Most that a guest may hand over at once.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// The log of one instance.
#[derive(Clone, Debug)]
pub(super) struct Log {
    name: Arc<str>,
    sink: LogSink,
    page: Arc<Mutex<Page>>,
    /// Of all instances of the component.
    quota: Arc<Mutex<Quota>>,
}

/// What is left of a call's allowance, the line being written, and what must not be seen in it.
#[derive(Debug, Default)]
struct Page {
    secrets: Arc<Secrets>,
    left: usize,
    line: Vec<u8>,
    dropped: usize,
}

impl Log {
    pub(super) fn new(name: &str, sink: LogSink, quota: Arc<Mutex<Quota>>) -> Self {
        Self { name: name.into(), sink, page: Arc::default(), quota }
    }

    /// A call begins, with an allowance of so many bytes. It is told these secrets, which are masked where a line repeats
    /// them.
    pub(super) fn begin(&self, bytes: usize, secrets: Arc<Secrets>) {
        *self.page() = Page { left: bytes, secrets, ..Page::default() };
    }

    /// A call ends: tells an unfinished line, and how much was dropped.
    pub(super) fn end(&self) {
        let page = std::mem::take(&mut *self.page());
        if !page.line.is_empty() {
            self.tell(&page, &page.line);
        }
        let notice = format!("({} bytes of log dropped)", page.dropped);
        if page.dropped > 0 && self.take(notice.len()) == notice.len() {
            self.say(&notice);
        }
    }

    /// A line of the host's own about the component.
    pub(super) fn say(&self, line: &str) {
        (self.sink.0)(&self.name, line);
    }

    /// A whole line, by the contract's `log`.
    pub(super) fn line(&self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
    }

    fn write(&self, bytes: &[u8]) {
        let mut page = self.page();
        let taken = self.take(bytes.len().min(page.left));
        page.left -= taken;
        page.dropped += bytes.len() - taken;
        for &byte in &bytes[..taken] {
            if byte == b'\n' {
                let line = std::mem::take(&mut page.line);
                self.tell(&page, &line);
            } else if page.line.len() < LINE_BYTES_MAX {
                page.line.push(byte);
            } else {
                page.dropped += 1;
            }
        }
    }

    /// Secrets are masked, and hostile characters escaped, so that no line can steer a terminal or pass for two.
    fn tell(&self, page: &Page, line: &[u8]) {
        let mut text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
        page.secrets.mask(&mut text);
        if page.dropped > 0 {
            page.secrets.mask_cut(&mut text);
        }
        let mut clean = String::with_capacity(text.len());
        for c in text.chars() {
            if is_hostile(c) {
                clean.extend(c.escape_default());
            } else {
                clean.push(c);
            }
        }
        self.say(&clean);
    }

    /// Takes bytes off what the component may log in this minute.
    fn take(&self, wanted: usize) -> usize {
        self.quota.lock().unwrap_or_else(PoisonError::into_inner).take(wanted, crate::clock::timer_now())
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Log {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Log {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Log {
    async fn ready(&mut self) {}
}

impl OutputStream for Log {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        Log::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl AsyncWrite for Log {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Log::write(&self, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
