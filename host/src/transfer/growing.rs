//! A file that is sent while it is still being read from a pipe (`spool`): what there is of it, and whether that is all.
//!
//! It waits for nothing: who sends asks again.

use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::error::{Failure, FailureKind};
use crate::sandbox::SourceFile;
use crate::spool::Growth;

/// A file of which more may come.
#[derive(Debug)]
pub(crate) struct Growing {
    file: SourceFile,
    growth: Growth,
    /// One of no bytes is sent, too.
    may_be_empty: bool,
    /// Bytes of the whole, once they are all there.
    whole: OnceLock<u64>,
}

impl Growing {
    /// `None`: the file is an ordinary one.
    pub(super) fn of(file: SourceFile, may_be_empty: bool) -> Result<Self, SourceFile> {
        match Growth::of(Path::new(file.path())) {
            Some(growth) => Ok(Self { file, growth, may_be_empty, whole: OnceLock::new() }),
            None => Err(file),
        }
    }

    pub(super) fn file(&self) -> &SourceFile {
        &self.file
    }

    /// Bytes of the whole; `None`: more may come.
    ///
    /// # Errors
    /// The rest will not come: what is there must not be sent as if it was all.
    pub(super) fn length(&self) -> Result<Option<u64>, Failure> {
        if let Some(length) = self.whole.get() {
            return Ok(Some(*length));
        }
        match self.growth.length() {
            Ok(None) => Ok(None),
            Ok(Some(0)) if !self.may_be_empty => Err(empty(&self.file)),
            Ok(Some(length)) => Ok(Some(*self.whole.get_or_init(|| length))),
            Err(why) => Err(self.cut(&why)),
        }
    }

    /// What there is from `offset` on, at most `limit` bytes; none: that may come. `None`: it ends at `offset`, or before.
    pub(super) fn read(&self, offset: u64, limit: usize) -> Result<Option<Bytes>, Failure> {
        let known = self.whole.get().copied();
        if known.is_some_and(|length| length <= offset) {
            return Ok(None);
        }
        let bytes = self.file.read_now(offset, limit)?;
        if !bytes.is_empty() {
            return Ok(Some(bytes));
        }
        match self.length()? {
            Some(length) if length <= offset => Ok(None),
            Some(_) if known.is_some() => Err(self.cut("some of it is gone again")),
            _ => Ok(Some(bytes)), // the end has come with bytes that were not there a moment ago
        }
    }

    /// The failure of one that cannot be sent to its end.
    pub(super) fn cut(&self, why: &str) -> Failure {
        let text = format!("`{}` is not whole, and is not sent as if it was: {why}", self.file.path());
        Failure::new(FailureKind::FileSystem, text)
    }
}

/// What is said of a file without bytes that is a body.
pub(super) fn empty(file: &SourceFile) -> Failure {
    let text = format!("`{}` has 0 length, and a binary upload must have something to send", file.path());
    Failure::new(FailureKind::FileSystem, text)
}
