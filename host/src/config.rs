//! Configuration file and units of text: durations, rates, times. Reads no environment and opens only the file it is given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::engine::{Durability, QueueLimits};
use crate::error::Result;

/// `config.toml`. Unknown keys are refused with their name and line.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[directories]`: name to absolute path; `root = "/"` is the grant for `root`.
    pub directories: BTreeMap<String, PathBuf>,
    /// `[limits]`: total, per-host, per-group, `[limits.groups]`.
    pub limits: QueueLimits,
    /// `[[callbacks]]`: name, path, allow-hosts, config, limits.
    pub callbacks: Vec<crate::hooks::ComponentSource>,
    /// `durability = "full" | "relaxed"`.
    pub durability: Durability,
    /// `retry-jitter = true`.
    pub retry_jitter: bool,
}

impl Config {
    /// Reads a file; a missing file is an empty configuration when `must_exist` is false.
    pub fn read(_path: &Path, _must_exist: bool) -> Result<Self> {
        todo!()
    }
}

/// Reads `500ms`, `30s`, `1m30s`, `2h`, `10d`; plain `0`. Milliseconds.
pub fn duration_ms(_text: &str) -> Result<u64> {
    todo!()
}

/// Reads `10M`, `512K`, `1G`, `1234`; 1024-based. Bytes (per second).
pub fn bytes(_text: &str) -> Result<u64> {
    todo!()
}

/// Reads RFC 3339, or `+DUR` counted from `now_ms`. Milliseconds since 1970.
pub fn time_ms(_text: &str, _now_ms: u64) -> Result<u64> {
    todo!()
}

/// Reads `2xx,304,400-403`.
pub fn status_list(_text: &str) -> Result<Vec<(u16, u16)>> {
    todo!()
}
