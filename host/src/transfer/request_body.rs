//! The body of an upload or a request as the transport reads it: texts and files one after the other, in constant memory,
//! with its progress, its speed limits, and what must be committed before the server can have all of it.
//!
//! What stands in it is decided in `upload`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::clock;
use crate::error::{Failure, FailureKind};
use crate::event::SENT;
use crate::sandbox::SourceFile;
use crate::store::{Change, TaskKey};
use crate::transfer::Shared;
use crate::transfer::growing::Growing;
use crate::transfer::rate::{Direction, OwnRate, Taker};
use crate::transport::{BeforeEnd, Source};

/// A stretch of a body.
#[derive(Debug)]
pub(crate) enum Segment {
    /// This text.
    Text(Bytes),
    /// So many bytes of a file, from this one on.
    File {
        /// The file.
        file: Arc<SourceFile>,
        /// First byte.
        from: u64,
        /// Number of bytes.
        length: u64,
    },
    /// All of a file of which more may come. A body has one at most.
    Growing(Box<Growing>),
}

impl Segment {
    /// The file that it is of.
    pub(crate) fn file(&self) -> Option<&SourceFile> {
        match self {
            Segment::Text(_) => None,
            Segment::File { file, .. } => Some(file),
            Segment::Growing(growing) => Some(growing.file()),
        }
    }

    /// As far as it is known from the beginning.
    fn length(&self) -> u64 {
        match self {
            Segment::Text(text) => text.len() as u64,
            Segment::File { length, .. } => *length,
            Segment::Growing(_) => 0,
        }
    }

    fn read(&self, within: u64, limit: usize) -> Result<Bytes, Failure> {
        let left = usize::try_from(self.length().saturating_sub(within)).unwrap_or(usize::MAX);
        let size = limit.min(left);
        match self {
            Segment::Text(text) => {
                let from = usize::try_from(within).unwrap_or(usize::MAX).min(text.len());
                Ok(text.slice(from..from + size))
            }
            Segment::File { file, from, .. } => file.read(from + within, size),
            Segment::Growing(_) => Ok(Bytes::new()),
        }
    }
}

/// A body.
pub(crate) struct RequestBody {
    /// Where each begins, and what it is; none is empty. What grows counts for nothing here.
    segments: Vec<(u64, Segment)>,
    length: u64,
    /// Where what grows begins, and what it is.
    growing: Option<(u64, Box<Growing>)>,
    /// Bytes the connection has taken.
    taken: AtomicU64,
    shared: Arc<Shared>,
    rate: OwnRate,
    group: String,
    /// Commits [`SENT`] for this task, whose notes are these, before the end.
    marks: Option<(TaskKey, Vec<String>)>,
    /// That has begun.
    marked: AtomicBool,
    /// There is a connection for it.
    connected: AtomicBool,
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestBody").field("segments", &self.segments).finish_non_exhaustive()
    }
}

/// A limited transfer sends pieces of this share of a second.
const STEPS_PER_SECOND: u64 = 8;

impl RequestBody {
    /// A body of these segments. `rate`: the task's own speed limit; `group`: its group, which may have one.
    pub(crate) fn new(shared: &Arc<Shared>, segments: Vec<Segment>, rate: &OwnRate, group: &str) -> Self {
        let mut length = 0;
        let mut growing = None;
        let mut placed = Vec::with_capacity(segments.len());
        for segment in segments {
            let begin = length;
            length += segment.length();
            match segment {
                Segment::Growing(file) => growing = Some((begin, file)),
                segment if segment.length() > 0 => placed.push((begin, segment)),
                _ => {}
            }
        }
        Self {
            segments: placed,
            length,
            growing,
            taken: AtomicU64::new(0),
            shared: Arc::clone(shared),
            rate: rate.clone(),
            group: group.to_owned(),
            marks: None,
            marked: AtomicBool::new(false),
            connected: AtomicBool::new(false),
        }
    }

    /// Has the store know that the request went out whole, before it does.
    pub(crate) fn marked(mut self, key: TaskKey, notes: &[String]) -> Self {
        let notes = notes.iter().cloned().chain([SENT.to_owned()]).collect();
        self.marks = Some((key, notes));
        self
    }

    fn taker(&self) -> Taker<'_> {
        Taker { own: &self.rate, group: &self.group, direction: Direction::Up }
    }

    /// Bytes read at once, where a speed limit wants less than can be had.
    fn step(&self) -> usize {
        let slowest = self.shared.throttle.slowest(self.taker());
        slowest.map_or(usize::MAX, |rate| usize::try_from(rate / STEPS_PER_SECOND).unwrap_or(usize::MAX).max(1))
    }

    /// Bytes that the connection has taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether a server may have all or some of it, and act on it. One without a body is out as soon as it has a connection.
    pub(crate) fn may_be_out(&self) -> bool {
        let is_empty = || self.length() == Some(0) && self.connected.load(Ordering::Relaxed);
        self.taken() > 0 || is_empty()
    }

    /// Whether the store knows, or is about to, that it went out whole.
    pub(crate) fn is_marked(&self) -> bool {
        self.marked.load(Ordering::Relaxed)
    }

    /// Where there is no body, nobody asks before its end.
    pub(crate) async fn mark_if_empty(&self) -> Result<(), Failure> {
        if self.length() != Some(0) {
            return Ok(());
        }
        match self.before_end() {
            Some(marked) => marked.await,
            None => Ok(()),
        }
    }

    /// A file of it that was written since it was opened.
    pub(crate) fn changed(&self) -> Option<&SourceFile> {
        self.segments.iter().filter_map(|(_, segment)| segment.file()).find(|file| file.is_changed())
    }

    /// Bytes of what grew, once it has ended.
    fn grown(&self) -> Result<Option<u64>, Failure> {
        self.growing.as_ref().map_or(Ok(Some(0)), |(_, growing)| growing.length())
    }

    /// The same, where what grows is left out of the offset.
    fn read_known(&self, offset: u64, limit: usize) -> Result<Bytes, Failure> {
        let index = self.segments.partition_point(|(begin, _)| *begin <= offset);
        match index.checked_sub(1).and_then(|index| self.segments.get(index)) {
            Some((begin, segment)) => segment.read(offset - begin, limit),
            None => Ok(Bytes::new()),
        }
    }
}

impl Source for RequestBody {
    fn length(&self) -> Option<u64> {
        self.grown().ok().flatten().map(|grown| self.length + grown)
    }

    fn is_whole(&self) -> Result<bool, Failure> {
        self.grown().map(|grown| grown.is_some())
    }

    fn read(&self, offset: u64, limit: usize) -> Result<Bytes, Failure> {
        let limit = limit.min(self.step());
        let bytes = match self.growing.as_ref().filter(|(begin, _)| *begin <= offset) {
            None => {
                let next = self.growing.as_ref().map_or(u64::MAX, |(begin, _)| begin - offset);
                self.read_known(offset, limit.min(usize::try_from(next).unwrap_or(usize::MAX)))?
            }
            Some((begin, growing)) => match growing.read(offset - begin, limit)? {
                Some(bytes) => bytes,
                None => self.read_known(offset - self.grown()?.unwrap_or(0), limit)?,
            },
        };
        self.taken.store(offset + bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    fn pause(&self, taken: usize) -> Duration {
        let now = clock::now();
        self.shared.throttle.wait(self.taker(), self.shared.throttle.take(self.taker(), taken, now), now)
    }

    fn connected(&self) {
        self.connected.store(true, Ordering::Relaxed);
    }

    fn before_end(&self) -> Option<BeforeEnd> {
        let (key, notes) = self.marks.clone()?;
        self.marked.store(true, Ordering::Relaxed);
        let marked = self.shared.store.write(Change::Note { key, notes });
        Some(Box::pin(async move {
            marked.await.map(|_| ()).map_err(|error| Failure::new(FailureKind::FileSystem, error.to_string()))
        }))
    }
}
