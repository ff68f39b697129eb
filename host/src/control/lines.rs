//! Lines of bounded length over a socket, in both directions, safe to use in `select!`.

use std::io::{Error, ErrorKind, Result};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// The longest line that is read or written: some 500,000 small tasks in one request. Tests need not fill as much.
pub(super) const MAX_LINE: usize = if cfg!(test) { 2 << 20 } else { 64 << 20 };

/// Buffers above this are given back when they are empty.
const KEEP: usize = 1 << 20;

/// The two directions of a socket, to be driven by one task.
pub(super) fn split(stream: UnixStream) -> (Incoming, Outgoing) {
    let (read, write) = stream.into_split();
    let incoming = Incoming { read, buffer: BytesMut::new(), searched: 0 };
    let outgoing = Outgoing { write, buffer: BytesMut::new() };
    (incoming, outgoing)
}

/// Lines that come in.
#[derive(Debug)]
pub(super) struct Incoming {
    read: OwnedReadHalf,
    buffer: BytesMut,
    /// So many bytes of the buffer hold no line feed.
    searched: usize,
}

impl Incoming {
    /// The next line without its line feed; `None` at the end. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<BytesMut>> {
        loop {
            let unsearched = &self.buffer[self.searched..];
            if let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(self.searched + at + 1);
                line.truncate(line.len() - 1);
                self.searched = 0;
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new(); // the line's memory goes with the line
                }
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_LINE {
                return Err(Error::new(ErrorKind::InvalidData, "line too long"));
            }
            self.buffer.reserve(16 << 10);
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }
}

/// Lines that wait to go out.
#[derive(Debug)]
pub(super) struct Outgoing {
    write: OwnedWriteHalf,
    buffer: BytesMut,
}

impl Outgoing {
    /// Queues a line that ends in a line feed.
    pub(super) fn push(&mut self, line: &[u8]) {
        self.buffer.extend_from_slice(line);
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Sends some of what waits; never ends when nothing does. Dropping the future loses nothing.
    pub(super) async fn send(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return std::future::pending().await;
        }
        match self.write.write_buf(&mut self.buffer).await? {
            0 => return Err(ErrorKind::WriteZero.into()),
            _ if self.buffer.is_empty() && self.buffer.capacity() > KEEP => {
                self.buffer = BytesMut::new();
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends all that waits.
    pub(super) async fn flush(&mut self) -> Result<()> {
        while !self.buffer.is_empty() {
            self.send().await?;
        }
        Ok(())
    }
}
