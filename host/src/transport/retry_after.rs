//! `Retry-After`: seconds or a date (RFC 9110 §10.2.3), as a wait counted from now.

use crate::task::Pairs;

/// No server can make a task wait longer than this.
pub(crate) const LONGEST_MS: u64 = 24 * 60 * 60 * 1000;

/// The wait that the headers ask for, at most 24 hours. A date is measured against the response's own `Date` where there
/// is one, so that a wrong local clock does no harm; a date in the past is no wait; anything unreadable, and a number that is
/// none of a clock's, is `None`.
pub(crate) fn wait_ms(headers: &Pairs, now_ms: u64) -> Option<u64> {
    let value = value_of(headers, "retry-after")?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse::<u64>().ok().map(|seconds| seconds.saturating_mul(1000).min(LONGEST_MS));
    }
    let until = date_ms(value)?;
    let from = value_of(headers, "date").and_then(date_ms).unwrap_or(now_ms);
    Some(until.saturating_sub(from).min(LONGEST_MS))
}

/// An HTTP date in milliseconds since 1970, in any of the three forms of RFC 9110 §5.6.7. A leap second is the second that
/// follows the 59th.
pub(crate) fn date_ms(text: &str) -> Option<u64> {
    if let Some((minute, rest)) = text.split_once(":60 ") {
        return date_ms(&format!("{minute}:59 {rest}")).map(|ms| ms + 1000);
    }
    let time = httpdate::parse_http_date(text).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_millis() as u64)
}

fn value_of<'a>(headers: &'a Pairs, name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&str, &str)], expected: Option<u64>) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(wait_ms(&headers, 784_111_777_000), expected, "{headers:?}");
    }

    #[test]
    fn seconds_and_dates_are_waits_and_nonsense_is_none() {
        check(&[("retry-after", "120")], Some(120_000));
        check(&[("retry-after", "0")], Some(0));
        check(&[("retry-after", "9999999999")], Some(LONGEST_MS));
        check(&[("retry-after", "99999999999999999999999")], None);
        check(&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60_000));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")], Some(0));
        check(
            &[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT"), ("date", "Sun, 06 Nov 1994 08:50:27 GMT")],
            Some(10_000),
        );
        for leap in ["Sun, 06 Nov 1994 08:50:60 GMT", "Sunday, 06-Nov-94 08:50:60 GMT", "Sun Nov  6 08:50:60 1994"] {
            check(&[("retry-after", leap)], Some(83_000));
        }
        check(&[("retry-after", "Sun, 06 Nov 1994 08:60:00 GMT")], None);
        check(&[("retry-after", "1.5")], None);
        check(&[("retry-after", "-1")], None);
        check(&[("retry-after", "")], None);
        check(&[], None);
    }
}
