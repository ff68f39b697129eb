//! Dates of cookies, which servers write in many forms (RFC 6265 section 5.1.1).

use crate::config::reason;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Milliseconds since 1970, 0 for earlier times; `None` when it is no date. Of each kind of part the first counts, whatever
/// their order.
pub(super) fn at_ms(text: &str) -> Option<u64> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == ':';
    for part in text.split(|char| !is_part(char)).filter(|part| !part.is_empty()) {
        if time.is_none() && time_of(part).is_some() {
            time = time_of(part);
        } else if day.is_none() && number(part, 1, 2).is_some() {
            day = number(part, 1, 2);
        } else if month.is_none() && month_of(part).is_some() {
            month = month_of(part);
        } else if year.is_none() {
            year = number(part, 2, 4);
        }
    }
    let year = match year? {
        short @ 0..=69 => short + 2000,
        short @ 70..=99 => short + 1900,
        full => full,
    };
    let (time, day, month) = (time?, day?, month?);
    if year < 1601 {
        return None;
    }
    if year < 1970 {
        return Some(0);
    }
    reason::time_ms(&format!("{year:04}-{month:02}-{day:02}T{time}Z"), 0).ok()
}

/// `7:08:09` as `07:08:09`.
fn time_of(part: &str) -> Option<String> {
    let mut fields = part.split(':').map(|field| number(field, 1, 2));
    let (hour, minute, second) = (fields.next()??, fields.next()??, fields.next()??);
    fields.next().is_none().then(|| format!("{hour:02}:{minute:02}:{second:02}"))
}

fn month_of(part: &str) -> Option<u32> {
    let name = part.get(..3)?.to_ascii_lowercase();
    MONTHS.iter().position(|month| *month == name).and_then(|at| u32::try_from(at + 1).ok())
}

fn number(part: &str, least: usize, most: usize) -> Option<u32> {
    let fits = (least..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| part.parse().ok()).flatten()
}
