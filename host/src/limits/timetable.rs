//! Speed limits as people write them: a rate, a pair of rates, or a table of rates by time of the week (the syntax of
//! rclone's `--bwlimit`). Sans-io: the time is an argument.
//!
//! Unlike rclone's, a number without a unit is bytes per second, as everywhere in haul.

use crate::config::reason;

const MINUTES_OF_DAY: u32 = 24 * 60;
/// Minutes of a week, which begins on Monday at 00:00 local time.
const MINUTES_OF_WEEK: u32 = 7 * MINUTES_OF_DAY;
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Speed limits each way in bytes per second, at least 1. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of what is sent.
    pub up: Option<u64>,
    /// Of what is received.
    pub down: Option<u64>,
}

/// Speed limits by the time of the week, local time. Read from text, and written as that text.
///
/// `10M`; `1M:10M` (upload, then download); `off` or `0` for none; or a list of `[DAY-]HH:MM,RATE` set apart by spaces or `;`, each
/// of which counts from that time on, daily where no day is named: `08:00,512K 18:00,30M Sat-00:00,off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timetable {
    text: String,
    /// From which minute of the week on, rising; never empty.
    entries: Vec<(u32, Rates)>,
}

impl Default for Timetable {
    /// No limit, ever.
    fn default() -> Self {
        Self::constant(Rates::default())
    }
}

impl std::fmt::Display for Timetable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Timetable {
    /// The same at any time.
    pub fn constant(rates: Rates) -> Self {
        let text = |rate: Option<u64>| rate.map_or_else(|| "off".to_owned(), short);
        let text =
            if rates.up == rates.down { text(rates.up) } else { format!("{}:{}", text(rates.up), text(rates.down)) };
        Self { text, entries: vec![(0, rates)] }
    }

    /// Reads the text. The error is a reason that follows the name of what was given.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> =
            text.split(|c: char| c.is_whitespace() || c == ';').filter(|word| !word.is_empty()).collect();
        if let [only] = words.as_slice()
            && !only.contains(',')
        {
            if only.len() == 5 && minutes(only).is_some() {
                return Err(format!("is a time without its rate: `{only},512K` would be both, `{only}` is none"));
            }
            return Ok(Self { text: (*only).to_owned(), entries: vec![(0, rates(only)?)] });
        }
        let mut entries: Vec<(u32, Rates)> = Vec::new();
        for word in &words {
            let wrong =
                || format!("must be a list of `[DAY-]HH:MM,RATE` such as `08:00,512K Sat-00:00,off`, not `{text}`");
            let (time, rate) = word.split_once(',').ok_or_else(wrong)?;
            let rates = rates(rate)?;
            let minutes = minutes(time).ok_or_else(wrong)?;
            entries.extend(minutes.into_iter().map(|minute| (minute, rates)));
        }
        if entries.is_empty() {
            return Err("must not be empty: `off` is for no limit".into());
        }
        entries.sort_by_key(|(minute, _)| *minute); // stable: of two for one time, the later in the text counts
        Ok(Self { text: words.join(" "), entries })
    }

    /// The limits in that minute of the week.
    pub(crate) fn at(&self, minute: u32) -> Rates {
        let before = self.entries.iter().rev().find(|(from, _)| *from <= minute);
        before.or(self.entries.last()).map_or_else(Rates::default, |(_, rates)| *rates)
    }

    /// What counts in that minute, and until when, both as the table would write them; `None` in the place of the time: it never
    /// changes; in the place of both: it is no table.
    pub(crate) fn now(&self, minute: u32) -> Option<(String, Option<String>)> {
        let is_table = self.text.contains(',');
        is_table.then(|| (Self::constant(self.at(minute)).text, self.until(minute).map(written)))
    }

    /// The minute in which something else begins to count than in that one.
    fn until(&self, minute: u32) -> Option<u32> {
        let mut at = minute;
        for _ in &self.entries {
            at = (at + self.next_change(at)?) % MINUTES_OF_WEEK;
            if self.at(at) != self.at(minute) {
                return Some(at);
            }
        }
        None
    }

    /// Minutes from that one to the next change, at least 1; `None`: they never change.
    pub(crate) fn next_change(&self, minute: u32) -> Option<u32> {
        if self.entries.len() < 2 {
            return None;
        }
        let later = self.entries.iter().map(|(from, _)| *from).find(|from| *from > minute);
        let first = self.entries.first().map(|(from, _)| from + MINUTES_OF_WEEK);
        later.or(first).map(|from| from - minute)
    }
}

/// `10M`, `1M:10M`, `off`.
fn rates(text: &str) -> Result<Rates, String> {
    let rate = |text: &str| {
        let wrong =
            || format!("must be a rate such as `512K`, `1.5M`, `1M:10M` (upload:download) or `off`, not `{text}`");
        reason::rate(text).map(|rate| Some(rate).filter(|rate| *rate > 0)).map_err(|_| wrong())
    };
    match text.split_once(':') {
        Some((up, down)) => Ok(Rates { up: rate(up)?, down: rate(down)? }),
        None => rate(text).map(|both| Rates { up: both, down: both }),
    }
}

/// `Mon-08:00`.
fn written(minute: u32) -> String {
    let (day, of_day) = (DAYS[(minute / MINUTES_OF_DAY) as usize % DAYS.len()], minute % MINUTES_OF_DAY);
    let (first, rest) = day.split_at(1);
    format!("{}{}-{:02}:{:02}", first.to_uppercase(), &rest[..2], of_day / 60, of_day % 60)
}

/// The minutes of the week that `08:00` (one of each day) or `Mon-08:00` means.
fn minutes(time: &str) -> Option<Vec<u32>> {
    let (day, time) = match time.split_once('-') {
        Some((day, time)) => (Some(weekday(day)?), time),
        None => (None, time),
    };
    let two = |digits: &str| (digits.len() == 2).then(|| digits.parse::<u32>().ok()).flatten();
    let (hour, minute) = time.split_once(':')?;
    let (hour, minute) = (two(hour)?, two(minute)?);
    if hour > 23 || minute > 59 {
        return None;
    }
    let days = day.map_or(0..7, |day| day..day + 1);
    Some(days.map(|day| day * MINUTES_OF_DAY + hour * 60 + minute).collect())
}

/// `Mon` or `monday`: the number of days since Monday.
fn weekday(text: &str) -> Option<u32> {
    let text = text.to_ascii_lowercase();
    DAYS.iter()
        .position(|day| text.len() >= 3 && (text == *day || text == day[..3]))
        .and_then(|day| u32::try_from(day).ok())
}

/// A number of bytes in the largest unit that divides it.
fn short(bytes: u64) -> String {
    let units = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u32 = MINUTES_OF_DAY;

    fn both(rate: u64) -> Rates {
        Rates { up: Some(rate), down: Some(rate) }
    }

    #[test]
    fn one_rate_counts_always() {
        let table = Timetable::parse("10M").unwrap();
        assert_eq!((table.at(0), table.at(10_079), table.next_change(5)), (both(10 << 20), both(10 << 20), None));
        assert_eq!(Timetable::parse("1M:off").unwrap().at(7), Rates { up: Some(1 << 20), down: None });
        assert_eq!(Timetable::parse("0").unwrap().at(7), Rates::default());
        assert_eq!(Timetable::parse("100B").unwrap().at(7), both(100));
    }

    #[test]
    fn an_entry_counts_daily_from_its_time_on_and_through_midnight() {
        let table = Timetable::parse("08:00,512k 12:00,10M 18:30,1M:2M").unwrap();
        for day in 0..7 {
            let at = |hour: u32, minute: u32| table.at(day * DAY + hour * 60 + minute);
            let evening = Rates { up: Some(1 << 20), down: Some(2 << 20) };
            assert_eq!(
                [at(7, 59), at(8, 0), at(11, 59), at(12, 0)],
                [evening, both(512 << 10), both(512 << 10), both(10 << 20)]
            );
            assert_eq!(at(18, 30), evening);
        }
        assert_eq!((table.next_change(7 * 60), table.next_change(6 * DAY + 19 * 60)), (Some(60), Some(13 * 60)));
    }

    #[test]
    fn what_counts_now_is_told_with_its_end() {
        let now = |text: &str, minute: u32| Timetable::parse(text).unwrap().now(minute);
        let told = |rate: &str, until: &str| Some((rate.to_owned(), Some(until.to_owned())));
        assert_eq!(now("08:00,512k 12:00,1M:2M", 9 * 60), told("512K", "Mon-12:00"));
        assert_eq!(now("08:00,512k 12:00,1M:2M", 6 * DAY + 12 * 60), told("1M:2M", "Mon-08:00"));
        assert_eq!(now("Mon-08:00,1M Wed-00:00,1M Sat-00:30,off", DAY), told("1M", "Sat-00:30"));
        let for_ever = Some(("1M".to_owned(), None));
        assert_eq!(
            (now("08:00,1M", 0), now("00:00,1M 12:00,1M", 0), now("10M", 0)),
            (for_ever.clone(), for_ever, None)
        );
    }

    #[test]
    fn an_entry_of_a_day_counts_from_there_on() {
        let table = Timetable::parse("Mon-00:00,512 friday-23:59,10M Sun-10:00,1M").unwrap();
        assert_eq!(table.at(0), both(512));
        assert_eq!(table.at(4 * DAY + 23 * 60 + 58), both(512));
        assert_eq!(table.at(4 * DAY + 23 * 60 + 59), both(10 << 20));
        assert_eq!(table.at(6 * DAY + 10 * 60), both(1 << 20));
        let mixed = Timetable::parse("08:00,1M Sat-08:00,off").unwrap();
        assert_eq!((mixed.at(5 * DAY + 480), mixed.at(6 * DAY + 480)), (Rates::default(), both(1 << 20)));
        assert_eq!(mixed.at(0), both(1 << 20), "Sunday's counts until Monday's");
    }

    #[test]
    fn what_rclone_takes_is_taken() {
        let same = |one: &str, other: &str| {
            let (one, other) = (Timetable::parse(one).unwrap(), Timetable::parse(other).unwrap());
            assert_eq!(one.entries, other.entries);
        };
        same("08:00,512K;12:00,10M;23:00,off", "08:00,512K 12:00,10M 23:00,off");
        same("Mon-00:00,512Ki; Sun-20:00,OFF", "Mon-00:00,512K Sun-20:00,off");
        same("0.5M:2MiB", "512K:2M");
        same("08:00,1.5M 19:00,10Mi", "08:00,1536K 19:00,10M");
        same("1P", "1024T");
    }

    #[test]
    fn what_is_no_timetable_is_refused_with_an_example() {
        for text in
            ["", "fast", "8:00,1M", "24:00,1M", "08:00;1M", "Mo-08:00,1M", "08:00,1M 10M", "1M:2M:3M", "-5", "10MB:"]
        {
            let reason = Timetable::parse(text).unwrap_err();
            assert!(reason.starts_with("must "), "{text}: {reason}");
        }
    }

    #[test]
    fn a_constant_is_written_shortly() {
        let text = |up, down| Timetable::constant(Rates { up, down }).to_string();
        assert_eq!([text(None, None), text(Some(10 << 20), Some(10 << 20))], ["off", "10M"]);
        assert_eq!([text(Some(1 << 10), None), text(Some(1001), Some(3 << 30))], ["1K:off", "1001:3G"]);
    }
}
