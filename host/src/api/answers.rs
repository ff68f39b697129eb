//! Replies taken apart: each request has one that fits, and any other is an error.

use serde_json::Value;

use super::Reply;
use crate::error::{Error, Result};

/// What came of adding tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Added {
    /// Ids in the order of the tasks given.
    pub ids: Vec<String>,
    /// Those of tasks gone on with that are complete already: an earlier process was killed before it could tell.
    pub ended: Vec<String>,
}

/// What came of pausing, resuming, cancelling or trying again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changed {
    /// How many tasks changed.
    pub count: u64,
    /// Their ids, the first 10,000.
    pub ids: Vec<String>,
    /// Id of each task that could not be changed, and why.
    pub refused: Vec<(String, String)>,
}

impl Reply {
    /// Of [`super::Request::Add`] and [`super::Request::ImportResume`].
    pub fn added(self) -> Result<Added> {
        match self {
            Reply::Added { ids, ended } => Ok(Added { ids, ended }),
            other => Err(other.does_not_fit()),
        }
    }

    /// Of [`super::Request::Control`].
    pub fn changed(self) -> Result<Changed> {
        match self {
            Reply::Changed { count, changed, refused } => Ok(Changed { count, ids: changed, refused }),
            other => Err(other.does_not_fit()),
        }
    }

    /// Of [`super::Request::Send`].
    pub fn answered(self) -> Result<Value> {
        match self {
            Reply::Answered(update) => Ok(update),
            other => Err(other.does_not_fit()),
        }
    }

    /// Of [`super::Request::Show`]: the record.
    pub fn record(self) -> Result<Value> {
        Ok(self.records()?.0.pop().unwrap_or_default())
    }

    /// Of [`super::Request::List`]: the records, and where to go on.
    pub fn records(self) -> Result<(Vec<Value>, Option<i64>)> {
        match self {
            Reply::Records { records, more } => Ok((records, more)),
            other => Err(other.does_not_fit()),
        }
    }

    /// Of [`super::Request::Events`].
    pub fn events(self) -> Result<Vec<Value>> {
        match self {
            Reply::Events { events, .. } => Ok(events),
            other => Err(other.does_not_fit()),
        }
    }

    /// A number, of several requests.
    pub fn count(self) -> Result<u64> {
        match self {
            Reply::Count(count) => Ok(count),
            other => Err(other.does_not_fit()),
        }
    }

    /// JSON, of several requests.
    pub fn info(self) -> Result<Value> {
        match self {
            Reply::Info(json) | Reply::ResumeData(json) => Ok(json),
            other => Err(other.does_not_fit()),
        }
    }

    /// An answer that does not belong to the request.
    pub fn does_not_fit(&self) -> Error {
        let name = format!("{self:?}");
        let name = name.split([' ', '(']).next().unwrap_or("");
        Error::Other(format!("the engine gave an answer that does not fit: {name}"))
    }
}
