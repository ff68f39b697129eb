//! What was typed about limits and scopes: flags of commands that work, `haul limits` and `haul scope`. Their meaning is the
//! library's.

use std::collections::BTreeMap;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use haul::LimitChanges;
use haul::config;
use haul::limits::{Network, RequireWifi, Timetable};

use super::{bytes, duration};

/// Flags that limit what an engine does; the same for one that starts and, by `haul limits`, for one that runs.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitFlags {
    /// Transfers at once (`total` in the configuration) [default: 10]; 0: no limit
    #[arg(short = 'j', long = "jobs", value_name = "N", allow_negative_numbers = true, value_parser = count)]
    pub(crate) jobs: Option<usize>,
    /// Uploads at once; 0: no limit
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) max_uploads: Option<usize>,
    /// Downloads and requests at once; 0: no limit
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) max_downloads: Option<usize>,
    /// Transfers at once per host, and connections of a divided download to it; 0: no limit
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) max_per_host: Option<usize>,
    /// Transfers at once per group; 0: no limit
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) max_per_group: Option<usize>,
    /// Time between the starts of two transfers, at least
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) min_interval: Option<u64>,
    /// Bytes per second of all uploads together, and as many of all downloads: a rate, UPLOAD:DOWNLOAD, or a table such as "08:00,512K Sat-00:00,off"; 0 or off: no limit
    #[arg(long, visible_aliases = ["rate", "bwlimit"], value_name = "RATE", value_parser = timetable)]
    pub(crate) limit_rate: Option<Timetable>,
    /// The same for one group; may be repeated
    #[arg(long = "rate-group", value_name = "NAME=RATE", value_parser = group_rate)]
    pub(crate) group_rates: Vec<(String, Timetable)>,
    /// What network there is: on a metered one, tasks with requiresWiFi wait; offline, all [default: auto]
    #[arg(long, value_name = "STATE")]
    pub(crate) network: Option<NetworkState>,
    /// Which tasks need an unmetered network: task, those that say so; all; none
    #[arg(long, value_name = "WHICH")]
    pub(crate) require_wifi: Option<NeedsWifi>,
    /// Room that must stay on the disk when all running downloads have ended
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) keep_free: Option<u64>,
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "it must be a whole number; 0 means no limit".into())
}

impl LimitFlags {
    /// What they change.
    pub(crate) fn changes(&self) -> LimitChanges {
        LimitChanges {
            total: self.jobs,
            uploads: self.max_uploads,
            downloads: self.max_downloads,
            per_host: self.max_per_host,
            per_group: self.max_per_group,
            groups: BTreeMap::new(),
            min_interval_ms: self.min_interval,
            rate: self.limit_rate.clone(),
            group_rates: self.group_rates.iter().cloned().collect(),
            network: self.network.map(Into::into),
            require_wifi: self.require_wifi.map(Into::into),
            keep_free: self.keep_free,
        }
    }

    /// Each flag, and whether it was given.
    pub(crate) fn given(&self) -> [(&'static str, bool); 11] {
        [
            ("-j", self.jobs.is_some()),
            ("--max-uploads", self.max_uploads.is_some()),
            ("--max-downloads", self.max_downloads.is_some()),
            ("--max-per-host", self.max_per_host.is_some()),
            ("--max-per-group", self.max_per_group.is_some()),
            ("--min-interval", self.min_interval.is_some()),
            ("--limit-rate", self.limit_rate.is_some()),
            ("--rate-group", !self.group_rates.is_empty()),
            ("--network", self.network.is_some()),
            ("--require-wifi", self.require_wifi.is_some()),
            ("--keep-free", self.keep_free.is_some()),
        ]
    }
}

/// `--network` as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkState {
    /// What NetworkManager says
    Auto,
    /// Bytes cost nothing
    Unmetered,
    /// Bytes cost money
    Metered,
    /// There is none
    Offline,
}

impl From<NetworkState> for Network {
    fn from(typed: NetworkState) -> Self {
        match typed {
            NetworkState::Auto => Network::Auto,
            NetworkState::Unmetered => Network::Unmetered,
            NetworkState::Metered => Network::Metered,
            NetworkState::Offline => Network::Offline,
        }
    }
}

/// `--require-wifi` as typed; background_downloader's names will do as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NeedsWifi {
    /// Tasks whose requiresWiFi says so
    #[value(alias = "asSetByTask")]
    Task,
    /// All tasks
    #[value(alias = "forAllTasks")]
    All,
    /// No task
    #[value(alias = "forNoTasks")]
    None,
}

impl From<NeedsWifi> for RequireWifi {
    fn from(typed: NeedsWifi) -> Self {
        match typed {
            NeedsWifi::Task => RequireWifi::AsSetByTask,
            NeedsWifi::All => RequireWifi::ForAllTasks,
            NeedsWifi::None => RequireWifi::ForNoTasks,
        }
    }
}

/// `haul limits`.
#[derive(Debug, ClapArgs)]
pub(crate) struct LimitsArgs {
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    /// Transfers at once of one group; 0: no limit; may be repeated
    #[arg(long = "group", value_name = "NAME=N", value_parser = group_limit)]
    pub(crate) groups: Vec<(String, usize)>,
    /// Bytes per second of one task, or `off`; may be repeated
    #[arg(long = "task", value_name = "ID=RATE", value_parser = task_rate)]
    pub(crate) tasks: Vec<(String, Option<u64>)>,
    /// Forget what was changed: the configuration counts again
    #[arg(long)]
    pub(crate) reset: bool,
}

/// `haul consumer`.
#[derive(Debug, Subcommand)]
pub(crate) enum Consumer {
    /// List the consumers of the event log: how far each has come, and how many events wait for it
    Ls,
    /// Forget a consumer: no event is kept for it any more
    Forget {
        /// The consumer
        #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
        name: String,
    },
}

/// `haul scope`.
#[derive(Debug, Subcommand)]
pub(crate) enum Scope {
    /// List the cancelled scopes
    Ls,
    /// Let a cancelled scope take tasks again, and those below it that were not cancelled by themselves
    Reopen {
        /// The scope
        #[arg(value_name = "SCOPE", value_parser = NonEmptyStringValueParser::new())]
        name: String,
    },
}

fn timetable(text: &str) -> Result<Timetable, String> {
    config::timetable(text).map_err(|error| error.to_string())
}

fn group_rate(text: &str) -> Result<(String, Timetable), String> {
    let (name, rate) = named(text, "NAME=RATE")?;
    Ok((group(name)?, timetable(rate)?))
}

fn group_limit(text: &str) -> Result<(String, usize), String> {
    let (name, limit) = named(text, "NAME=N")?;
    let limit = limit.parse().map_err(|_| format!("`{limit}` is not a number of tasks"))?;
    Ok((group(name)?, limit))
}

fn group(name: String) -> Result<String, String> {
    let known = Some(name).filter(|name| config::is_group(name));
    known.ok_or_else(|| "no task can be of that group: `chunk` is reserved".into())
}

fn task_rate(text: &str) -> Result<(String, Option<u64>), String> {
    match named(text, "ID=RATE")? {
        (id, "off") => Ok((id, None)),
        (id, rate) => Ok((id, Some(bytes(rate)?).filter(|rate| *rate > 0))),
    }
}

/// What stands before and after the last `=`.
fn named<'a>(text: &'a str, form: &str) -> Result<(String, &'a str), String> {
    match text.rsplit_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value)),
        _ => Err(format!("it is written {form}")),
    }
}
