//! How long a download's file will be, as far as its task says itself: for servers that do not say it.

use super::Task;

/// A header that is for whoever asks, and for no server (background_downloader B.8).
pub(crate) const KNOWN_LENGTH: &str = "Known-Content-Length";

impl Task {
    /// The length by the end of its own `Range`, or by its `Known-Content-Length`. For progress only: nothing is cut or refused
    /// by it.
    pub(crate) fn known_length(&self) -> Option<u64> {
        let value = |name: &str| {
            let header = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            header.map(|(_, value)| value.trim())
        };
        let range = || {
            let (first, last) = value("range")?.strip_prefix("bytes=")?.split_once('-')?;
            let first: u64 = if first.is_empty() { 0 } else { first.parse().ok()? };
            last.parse::<u64>().ok()?.checked_sub(first)?.checked_add(1)
        };
        range().or_else(|| value(KNOWN_LENGTH)?.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_the_ranges_or_the_one_that_is_known() {
        let check = |headers: &[(&str, &str)], expected| {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(Task { headers, ..Task::default() }.known_length(), expected, "{expected:?}");
        };
        let known = ("known-content-length", " 9 ");
        check(&[("Range", "bytes=2-4"), known], Some(3));
        check(&[known], Some(9));
        check(&[("Range", "bytes=-4")], Some(5));
        check(&[("Range", "bytes=4-")], None);
        check(&[("Range", "bytes=4-"), known], Some(9));
        check(&[("Known-Content-Length", "many")], None);
        check(&[], None);
    }
}
