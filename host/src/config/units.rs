//! Units of text: durations, sizes and rates, times, lists of status codes. Reads no clock.
//!
//! The functions here answer a reason that follows the name of what was given ("must be …, not `x`"), so that the command
//! line, the configuration and task JSON can each say whose value it is.

/// Digits of a fraction at most.
const FRACTION_MAX: usize = 9;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// The longest duration: a hundred years.
const DURATION_MAX_MS: u64 = 36_500 * DAY_MS;

/// The last millisecond that RFC 3339 can write: the end of the year 9999.
pub(crate) const LAST_TIME_MS: u64 = 253_402_300_799_999;

/// Reads `500ms`, `30s`, `1m30s`, `2h`, `10d`, plain `0`. Milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    let wrong = || format!("must be a duration such as `500ms`, `30s`, `1m30s`, `2h` or `10d`, not `{text}`");
    if text == "0" {
        return Ok(0);
    }
    let mut total: u64 = 0;
    let mut smallest = u64::MAX; // units must fall: `1m30s`, never `30s1m` or `1s1s`
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_at_end_of(rest, |c| c.is_ascii_digit());
        let (unit, after) = split_at_end_of(after, |c| c.is_ascii_alphabetic());
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => DAY_MS,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        if unit_ms >= smallest {
            return Err(wrong());
        }
        smallest = unit_ms;
        total = number.checked_mul(unit_ms).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
        rest = after;
    }
    match total {
        _ if text.is_empty() => Err(wrong()),
        total if total > DURATION_MAX_MS => Err(format!("must be at most `36500d`, not `{text}`")),
        total => Ok(total),
    }
}

/// Reads `10M`, `1.5M`, `512Ki`, `1GiB`, `1234`; 1024-based. Bytes: a fraction of one is cut off, but nothing becomes 0 by that.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("must be a number of bytes such as `1234`, `512K`, `1.5M` or `1G`, not `{text}`");
    let (number, unit) = split_at_end_of(text, |c| c.is_ascii_digit() || c == '.');
    let letter = unit.strip_suffix("iB").or(unit.strip_suffix('i')).unwrap_or(unit);
    let shift = match letter {
        "" if unit.is_empty() => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        "P" | "p" => 50,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > FRACTION_MAX || (number.contains('.') && (fraction.is_empty() || shift == 0)) {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let digits = format!("{fraction:0<FRACTION_MAX$}").parse::<u128>().map_err(|_| wrong())?;
    let rest = (digits << shift) / 10_u128.pow(FRACTION_MAX as u32);
    let rest = u64::try_from(rest).map_err(|_| wrong())?;
    let bytes = whole.checked_mul(1 << shift).and_then(|bytes| bytes.checked_add(rest)).ok_or_else(wrong)?;
    Ok(bytes.max(u64::from(digits > 0)))
}

/// Reads bytes per second: as [`bytes`], with or without a `B` behind, or `off` for none, which is 0.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(0);
    }
    bytes(text.strip_suffix(['B', 'b']).unwrap_or(text)).or_else(|_| bytes(text))
}

/// Bytes as [`bytes`] reads them, in the largest unit that leaves no rest.
pub(crate) fn written_bytes(bytes: u64) -> String {
    let fits = |shift: &(u32, &str)| bytes != 0 && bytes.is_multiple_of(1 << shift.0);
    let unit = [(40, "T"), (30, "G"), (20, "M"), (10, "K")].into_iter().find(fits);
    let (shift, unit) = unit.unwrap_or((0, ""));
    format!("{}{unit}", bytes >> shift)
}

/// Milliseconds as people write durations, in the largest unit that leaves no rest: `20m`, `90s`, `1500ms`; `0s`.
#[must_use]
pub fn written_ms(ms: u64) -> String {
    let fits = |unit: &(u64, &str)| ms != 0 && ms.is_multiple_of(unit.0);
    let unit = [(DAY_MS, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")].into_iter().find(fits);
    let (unit_ms, unit) = unit.unwrap_or((1, "s"));
    format!("{}{unit}", ms / unit_ms)
}

/// Reads `2xx,304,400-403`: ranges of status codes, both ends included, each 100 to 599.
pub(crate) fn status_list(text: &str) -> Result<Vec<(u16, u16)>, String> {
    text.split(',').map(|item| status_range(item.trim())).collect()
}

/// Reads one of `2xx`, `304`, `400-403`.
pub(crate) fn status_range(text: &str) -> Result<(u16, u16), String> {
    let range = if let Some(class) = text.strip_suffix("xx").or(text.strip_suffix("XX")) {
        code(class).and_then(|class| Some((class.checked_mul(100)?, class.checked_mul(100)?.checked_add(99)?)))
    } else if let Some((first, last)) = text.split_once('-') {
        code(first.trim()).zip(code(last.trim()))
    } else {
        code(text).map(|only| (only, only))
    };
    range
        .filter(|(first, last)| first <= last && (100..=599).contains(first) && (100..=599).contains(last))
        .ok_or_else(|| format!("must be status codes such as `2xx`, `304` or `400-403`, not `{text}`"))
}

fn code(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Reads RFC 3339, or `+DUR` counted from `now_ms`. Milliseconds since 1970; smaller fractions are cut off.
pub(crate) fn time_ms(text: &str, now_ms: u64) -> Result<u64, String> {
    let wrong = || format!("must be a time such as `2026-12-01T00:00:00Z` or `+1h30m`, not `{text}`");
    let at = match text.strip_prefix('+') {
        Some(duration) => duration_ms(duration).ok().and_then(|ms| now_ms.checked_add(ms)),
        None => rfc3339_ms(text),
    };
    writable_time(at.ok_or_else(wrong)?, text)
}

/// A time that can be written, given as this text.
pub(crate) fn writable_time(at: u64, given: &str) -> Result<u64, String> {
    let sentence = || format!("must be a time before the year 10000, not `{given}`");
    Some(at).filter(|at| *at <= LAST_TIME_MS).ok_or_else(sentence)
}

/// RFC 3339 §5.6, with a space allowed for `T`. A leap second counts as the first of the next minute. What is before 1970 is
/// past like its first moment.
fn rfc3339_ms(text: &str) -> Option<u64> {
    let field = |from: usize, to: usize| -> Option<i64> { code(text.get(from..to)?).map(i64::from) };
    let mark = |at: usize, marks: &[u8]| marks.contains(text.as_bytes().get(at)?).then_some(());
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    mark(4, b"-")?;
    mark(7, b"-")?;
    mark(10, b"Tt ")?;
    mark(13, b":")?;
    mark(16, b":")?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let (millis, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(fraction) => {
            let (digits, zone) = split_at_end_of(fraction, |c| c.is_ascii_digit());
            if digits.is_empty() {
                return None;
            }
            let three: String = digits.chars().chain("00".chars()).take(3).collect();
            (three.parse::<i64>().ok()?, zone)
        }
    };
    let seconds = (days_from_civil(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
    let ms = (seconds - zone_seconds(zone)?) * 1000 + millis;
    Some(u64::try_from(ms).unwrap_or(0))
}

/// `Z`, `+02:00`, `-05:30`: seconds east of UTC.
fn zone_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" || zone == "z" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (i64::from(code(hours)?), i64::from(code(minutes)?));
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Milliseconds since 1970 as RFC 3339 UTC with milliseconds. Times after the year 9999 are written as its end.
pub(crate) fn write_time(ms: u64) -> String {
    let ms = ms.min(LAST_TIME_MS);
    let (year, month, day) = civil_from_days((ms / DAY_MS).cast_signed());
    let of_day = ms % DAY_MS;
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, millis) = (of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap day is a year's last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_based = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_based + 2) / 5 + 1;
    let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// The leading characters that satisfy `test`, and what follows.
fn split_at_end_of(text: &str, test: fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !test(c)).unwrap_or(text.len()))
}

/// A host that a component may reach; `private+` before it: at private addresses, too.
pub(crate) fn granted_host(text: &str) -> Result<String, String> {
    exact_host(text.strip_prefix(crate::transport::PRIVATE).unwrap_or(text)).map(|_| text.into())
}

/// A host, with its port and scheme or without.
pub(crate) fn exact_host(text: &str) -> Result<String, String> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let is_host = |url: &url::Url| {
        let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let web = matches!(url.scheme(), "http" | "https");
        let exact = !url.host_str().unwrap_or_default().contains('*');
        web && bare && exact && url.fragment().is_none() && url.path() == "/" && !with_scheme.ends_with('/')
    };
    match url::Url::parse(&with_scheme) {
        Ok(url) if is_host(&url) => match url.host() {
            // Hosts of requests have this form, and are compared with it.
            Some(url::Host::Ipv4(address)) if !text.contains(&address.to_string()) => {
                Err(format!("is written as requests have it, `{address}`, not `{text}`"))
            }
            _ => Ok(text.into()),
        },
        // Userinfo may be a password.
        _ if text.contains('@') => Err("is written `host`, `host:port` or `scheme://host:port`, without a user".into()),
        _ => Err(format!("is written `host`, `host:port` or `scheme://host:port`, exact, not `{text}`")),
    }
}
