//! What limits the work of an engine, and what of it can be changed while it runs: how many tasks at once and how often one
//! starts, speed, network, room on the disk. Plain data: who keeps to it is the scheduler, `transfer/rate` and the sandbox.
//!
//! An engine begins with its settings, then takes what the home has stored, then the flags of its command; a change is
//! stored, and counts at once.

mod timetable;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use timetable::{Rates, Timetable};

/// How many tasks run at once. 0 is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// In all. Default 10.
    pub total: usize,
    /// Of uploads. Default 0.
    pub uploads: usize,
    /// Of all that are no uploads: downloads, and requests. Default 0.
    pub downloads: usize,
    /// Of one host and port: tasks, and connections that a divided download has there. Default 0.
    pub per_host: usize,
    /// Per group. Default 0.
    pub per_group: usize,
    /// For groups by name, instead of `per_group`.
    pub groups: BTreeMap<String, usize>,
    /// Milliseconds between the starts of two tasks, at least. Default 0.
    pub min_interval_ms: u64,
}

impl Default for QueueLimits {
    fn default() -> Self {
        let groups = BTreeMap::new();
        Self { total: 10, uploads: 0, downloads: 0, per_host: 0, per_group: 0, groups, min_interval_ms: 0 }
    }
}

/// What network there is, as far as tasks are concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// What NetworkManager says of it; unmetered where there is none.
    #[default]
    Auto,
    /// Bytes cost nothing: every task may run.
    Unmetered,
    /// Bytes cost money: tasks with `requires_wifi` wait.
    Metered,
    /// None: every task waits.
    Offline,
}

impl Network {
    /// The name in JSON, in the configuration and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Network::Auto => "auto",
            Network::Unmetered => "unmetered",
            Network::Metered => "metered",
            Network::Offline => "offline",
        }
    }
}

/// Which tasks need an unmetered network (background_downloader's RequireWiFi).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RequireWifi {
    /// Those whose `requires_wifi` says so.
    #[default]
    #[serde(alias = "task")]
    AsSetByTask,
    /// All.
    #[serde(alias = "all")]
    ForAllTasks,
    /// None.
    #[serde(alias = "none")]
    ForNoTasks,
}

impl RequireWifi {
    /// The name in JSON, in the configuration and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            RequireWifi::AsSetByTask => "asSetByTask",
            RequireWifi::ForAllTasks => "forAllTasks",
            RequireWifi::ForNoTasks => "forNoTasks",
        }
    }
}

/// All limits of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many at once, and how often.
    pub queue: QueueLimits,
    /// Speed of all transfers together.
    pub rate: Timetable,
    /// Speed of all transfers of a group together, by its name.
    pub group_rates: BTreeMap<String, Timetable>,
    /// What network there is.
    pub network: Network,
    /// Which tasks need an unmetered one.
    pub require_wifi: RequireWifi,
    /// Bytes that must stay free on a disk when all running downloads on it have ended (background_downloader's
    /// checkAvailableSpace). Default 0.
    pub keep_free: u64,
}

impl Limits {
    /// With these changes.
    pub fn apply(&mut self, changes: &LimitChanges) {
        fn set<T: Clone>(value: &mut T, changed: Option<&T>) {
            if let Some(changed) = changed {
                value.clone_from(changed);
            }
        }
        let add = |(name, limit): (&String, &usize)| (name.clone(), *limit);
        set(&mut self.queue.total, changes.total.as_ref());
        set(&mut self.queue.uploads, changes.uploads.as_ref());
        set(&mut self.queue.downloads, changes.downloads.as_ref());
        set(&mut self.queue.per_host, changes.per_host.as_ref());
        set(&mut self.queue.per_group, changes.per_group.as_ref());
        self.queue.groups.extend(changes.groups.iter().map(add));
        set(&mut self.queue.min_interval_ms, changes.min_interval_ms.as_ref());
        set(&mut self.rate, changes.rate.as_ref());
        self.group_rates.extend(changes.group_rates.iter().map(|(name, rate)| (name.clone(), rate.clone())));
        set(&mut self.network, changes.network.as_ref());
        set(&mut self.require_wifi, changes.require_wifi.as_ref());
        set(&mut self.keep_free, changes.keep_free.as_ref());
    }

    /// Whether a task must wait for another network.
    pub(crate) fn holds(&self, task: &crate::task::Task) -> bool {
        match self.network {
            Network::Auto | Network::Unmetered => false,
            Network::Metered => self.needs_unmetered(task),
            Network::Offline => true,
        }
    }

    /// Whether a task may run on an unmetered network only.
    pub(crate) fn needs_unmetered(&self, task: &crate::task::Task) -> bool {
        match self.require_wifi {
            RequireWifi::AsSetByTask => task.requires_wifi,
            RequireWifi::ForAllTasks => true,
            RequireWifi::ForNoTasks => false,
        }
    }
}

/// Some of the limits, to put in the place of what there is. `None`, and groups that are not named, stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitChanges {
    /// [`QueueLimits::total`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<usize>,
    /// [`QueueLimits::uploads`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploads: Option<usize>,
    /// [`QueueLimits::downloads`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downloads: Option<usize>,
    /// [`QueueLimits::per_host`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_host: Option<usize>,
    /// [`QueueLimits::per_group`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_group: Option<usize>,
    /// [`QueueLimits::groups`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, usize>,
    /// [`QueueLimits::min_interval_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_interval_ms: Option<u64>,
    /// [`Limits::rate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Timetable>,
    /// [`Limits::group_rates`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub group_rates: BTreeMap<String, Timetable>,
    /// [`Limits::network`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// [`Limits::require_wifi`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_wifi: Option<RequireWifi>,
    /// [`Limits::keep_free`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_free: Option<u64>,
}

impl LimitChanges {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Everything that these limits say.
    pub(crate) fn all_of(limits: &Limits) -> Self {
        Self {
            total: Some(limits.queue.total),
            uploads: Some(limits.queue.uploads),
            downloads: Some(limits.queue.downloads),
            per_host: Some(limits.queue.per_host),
            per_group: Some(limits.queue.per_group),
            groups: limits.queue.groups.clone(),
            min_interval_ms: Some(limits.queue.min_interval_ms),
            rate: Some(limits.rate.clone()),
            group_rates: limits.group_rates.clone(),
            network: Some(limits.network),
            require_wifi: Some(limits.require_wifi),
            keep_free: Some(limits.keep_free),
        }
    }

    /// These, but for what those change.
    pub(crate) fn without(&mut self, changed: &Self) {
        fn clear<T>(value: &mut Option<T>, changed: bool) {
            value.take_if(|_| changed);
        }
        clear(&mut self.total, changed.total.is_some());
        clear(&mut self.uploads, changed.uploads.is_some());
        clear(&mut self.downloads, changed.downloads.is_some());
        clear(&mut self.per_host, changed.per_host.is_some());
        clear(&mut self.per_group, changed.per_group.is_some());
        self.groups.retain(|name, _| !changed.groups.contains_key(name));
        clear(&mut self.min_interval_ms, changed.min_interval_ms.is_some());
        clear(&mut self.rate, changed.rate.is_some());
        self.group_rates.retain(|name, _| !changed.group_rates.contains_key(name));
        clear(&mut self.network, changed.network.is_some());
        clear(&mut self.require_wifi, changed.require_wifi.is_some());
        clear(&mut self.keep_free, changed.keep_free.is_some());
    }

    /// These, and then those.
    pub(crate) fn merge(&mut self, later: &Self) {
        self.total = later.total.or(self.total);
        self.uploads = later.uploads.or(self.uploads);
        self.downloads = later.downloads.or(self.downloads);
        self.per_host = later.per_host.or(self.per_host);
        self.per_group = later.per_group.or(self.per_group);
        self.groups.extend(later.groups.iter().map(|(name, limit)| (name.clone(), *limit)));
        self.min_interval_ms = later.min_interval_ms.or(self.min_interval_ms);
        self.rate = later.rate.clone().or(self.rate.take());
        self.group_rates.extend(later.group_rates.iter().map(|(name, rate)| (name.clone(), rate.clone())));
        self.network = later.network.or(self.network);
        self.require_wifi = later.require_wifi.or(self.require_wifi);
        self.keep_free = later.keep_free.or(self.keep_free);
    }
}

impl Serialize for Timetable {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timetable {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a speed limit must be bytes per second, or a text such as `10M` or `08:00,512K 18:00,off`"
        )]
        enum Given {
            Number(u64),
            Text(String),
        }
        let text = match Given::deserialize(input)? {
            Given::Number(number) => number.to_string(),
            Given::Text(text) => text,
        };
        Timetable::parse(&text).map_err(|reason| de::Error::custom(format!("a speed limit {reason}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_changes_win_and_what_they_leave_out_stays() {
        let table = |text| Some(Timetable::parse(text).unwrap());
        let mut stored = LimitChanges { total: Some(3), rate: table("1M"), ..LimitChanges::default() };
        stored.groups.insert("a".into(), 1);
        let mut later =
            LimitChanges { per_host: Some(2), rate: table("08:00,2M 09:00,off"), ..LimitChanges::default() };
        later.groups.insert("b".into(), 4);
        stored.merge(&later);
        let json = serde_json::to_string(&stored).unwrap();
        assert_eq!(json, r#"{"total":3,"perHost":2,"groups":{"a":1,"b":4},"rate":"08:00,2M 09:00,off"}"#,);
        assert_eq!(serde_json::from_str::<LimitChanges>(&json).unwrap(), stored);

        let mut limits = Limits::default();
        limits.apply(&stored);
        assert_eq!((limits.queue.total, limits.queue.per_host, limits.queue.per_group), (3, 2, 0));
        let mut again = Limits::default();
        again.apply(&LimitChanges::all_of(&limits));
        assert_eq!(again, limits);
    }

    #[test]
    fn a_metered_network_holds_what_needs_another_and_no_network_holds_everything() {
        let wifi = crate::Task { requires_wifi: true, ..crate::Task::default() };
        let any = crate::Task::default();
        let held = |network, require_wifi| {
            let limits = Limits { network, require_wifi, ..Limits::default() };
            (limits.holds(&wifi), limits.holds(&any))
        };
        assert_eq!(held(Network::Unmetered, RequireWifi::ForAllTasks), (false, false));
        assert_eq!(held(Network::Metered, RequireWifi::AsSetByTask), (true, false));
        assert_eq!(held(Network::Metered, RequireWifi::ForAllTasks), (true, true));
        assert_eq!(held(Network::Metered, RequireWifi::ForNoTasks), (false, false));
        assert_eq!(held(Network::Offline, RequireWifi::ForNoTasks), (true, true));
    }
}
