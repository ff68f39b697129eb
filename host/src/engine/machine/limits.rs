//! Limits that change while tasks run or wait: of the queue, of hosts, of speed by the time of the week, and the network.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{LONGEST_SLEEP, Machine, Running};
use crate::clock;
use crate::engine::input::Input;
use crate::engine::network;
use crate::engine::within_open_files;
use crate::limits::{Limits, Network, Rates};
use crate::store::{Change, HELD, TaskKey};
use crate::transfer::Reason;

impl Machine {
    pub(super) fn set_limits(&mut self, limits: Limits) {
        let was_held = self.limits.clone();
        self.limits = Limits { network: self.network.now(), ..limits };
        self.limit_transfers();
        self.set_rates();
        for running in self.running.values().filter(|running| self.limits.holds(&running.task)) {
            running.stop.ask(Reason::Later);
        }
        let same_network = (was_held.network, was_held.require_wifi) == (self.limits.network, self.limits.require_wifi);
        if !same_network {
            self.release();
        }
        if was_held.queue != self.limits.queue {
            self.scheduler.set_limits(within_open_files(&self.limits.queue));
            self.look_again();
        }
    }

    /// What limits transfers that run, beside their speeds.
    pub(super) fn limit_transfers(&self) {
        self.shared.sandbox.keep_free(self.limits.keep_free);
        self.shared.per_host.store(self.limits.queue.per_host, Ordering::Relaxed);
    }

    /// No task of this host starts before its server wants requests again.
    pub(super) fn silence(&mut self, host: &str, wait: Duration) {
        tracing::info!("{host} wants no requests for {} ms: its tasks wait", wait.as_millis());
        let now = clock::now();
        if self.scheduler.silence(host, now + wait, now) {
            self.look_again();
        }
    }

    /// The scheduler has forgotten the queue.
    fn look_again(&mut self) {
        if self.works_all() { self.all_keys() } else { self.only_asked() }
    }

    /// It takes seconds at most, and comes back as an input.
    pub(super) fn ask_network(&mut self) {
        if self.network.asking || !self.network.is_asked() {
            return;
        }
        self.network.asking = true;
        let sender = self.input.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "owned by the loop: it ends within seconds, and comes back as an input"
        )]
        tokio::task::spawn_local(async move { sender.send(Input::Network { found: network::ask().await }) });
    }

    /// While tasks run or wait that the network matters to, it is asked for again.
    #[expect(clippy::disallowed_methods, reason = "as in `after`")]
    pub(super) fn network_found(&mut self, found: Option<Network>) {
        let was_waited_for = self.network.waited_for;
        self.network.find(found, clock::now());
        self.set_limits(self.limits.clone());
        if was_waited_for {
            self.release();
        }
        let matters = |running: &Running| self.limits.needs_unmetered(&running.task);
        if was_waited_for || self.running.values().any(matters) {
            let sender = self.input.clone();
            tokio::task::spawn_local(async move {
                clock::sleep(network::AGAIN).await;
                let _ = sender.send(Input::AskNetwork);
            });
        }
    }

    /// Held tasks are due: those that the network still does not suit are held again.
    fn release(&mut self) {
        let at = clock::unix_ms();
        drop(self.shared.store.write(Change::Release { at }));
        let held: Vec<(u64, TaskKey)> =
            self.sleeping.range((HELD, TaskKey::MIN)..=(HELD, TaskKey::MAX)).copied().collect();
        for (until, key) in held {
            self.sleeping.remove(&(until, key));
            self.sleeping.insert((at, key));
        }
        if self.works_all() {
            self.due = Some(at);
        }
    }

    /// The speed limits of this time of the week count from now on.
    pub(super) fn set_rates(&mut self) {
        let mut tables = self.limits.group_rates.values().chain([&self.limits.rate]);
        // The machine's time zones are read from its disk: only where the time matters.
        let matters = tables.any(|table| table.next_change(0).is_some());
        let (minute, gone) = if matters { clock::local_minute() } else { Default::default() };
        let of_groups: BTreeMap<String, Rates> =
            self.limits.group_rates.iter().map(|(name, table)| (name.clone(), table.at(minute))).collect();
        self.shared.throttle.set(self.limits.rate.at(minute), &of_groups, clock::now());
        let tables = self.limits.group_rates.values().chain([&self.limits.rate]);
        let next = tables.filter_map(|table| table.next_change(minute)).min();
        let until = next.map(|minutes| Duration::from_secs(u64::from(minutes) * 60).saturating_sub(gone));
        // The time zone's offset, or the clock, may change before.
        let until = until.map(|until| until.min(LONGEST_SLEEP));
        self.rates_due =
            until.map(|until| clock::unix_ms() + u64::try_from(until.as_millis()).unwrap_or(u64::MAX).max(1));
    }
}
