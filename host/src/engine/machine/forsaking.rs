//! Uploads that cancelled tasks have left with their servers: those are asked to delete them, in the background, as long as an
//! engine works tasks. Each is asked for once; what an engine has no time for is left to the next one. Nobody waits for it
//! but an engine that ends, for a moment.

use std::time::Duration;

use super::Machine;
use crate::clock;
use crate::engine::input::Input;
use crate::engine::lanes::Work;
use crate::limits::Network;
use crate::store::TaskKey;
use crate::transfer::rate::OwnRate;
use crate::transfer::{Job, Slot, Stop};

/// Servers that are asked at the same time, at most.
const AT_ONCE: usize = 8;
/// How long an engine that ends waits for them.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

impl Machine {
    /// Begins with what there is, where anything may be.
    pub(super) fn forsake(&mut self) {
        let is_idle = self.asks.is_empty() || self.closing.is_some() || self.limits.network == Network::Offline;
        if is_idle || !std::mem::take(&mut self.may_forsake) {
            return;
        }
        for (key, upload) in self.shared.store.forsaken(AT_ONCE).unwrap_or_default() {
            let Ok(Some(record)) = self.shared.store.record_of(key) else { continue };
            if self.forsaking.len() < AT_ONCE && !self.limits.holds(&record.task) && self.forsaking.insert(key) {
                let rate = OwnRate::new(None, clock::now());
                let job = Job { key, record, stop: Stop::default(), rate, slot: Slot::default() };
                self.lane(Work::Forsake(Box::new((job, upload))));
            }
        }
    }

    /// Where it cannot be written, it is not asked for again by this engine.
    pub(super) fn forsaken(&mut self, key: TaskKey, is_written: bool) {
        self.forsaking.remove(&key);
        self.may_forsake |= is_written;
    }

    #[expect(clippy::disallowed_methods, reason = "as in `after`")]
    pub(super) fn leave_forsaken(&self) {
        if self.forsaking.is_empty() {
            return;
        }
        let sender = self.input.clone();
        tokio::task::spawn_local(async move {
            clock::sleep(CLOSE_WITHIN).await;
            let _ = sender.send(Input::LeaveForsaken);
        });
    }
}
