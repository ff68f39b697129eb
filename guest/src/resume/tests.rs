//! When stored bytes are gone on from.

use super::*;
use crate::bindings::haul::transfer::types::Body;
use crate::samples;
use alloc::vec::Vec;

const CHANGED: &str = "Tue, 01 Sep 2026 10:00:00 GMT";

/// 400 bytes of 1,000, with a strong tag.
fn stored() -> Stored {
    Stored {
        bytes_done: 400,
        total_bytes: Some(1_000),
        etag: Some("\"v1\"".into()),
        last_modified: Some(CHANGED.into()),
        last_modified_at_ms: Some(1_000_000),
        date_at_ms: Some(2_000_000),
        ranges_known: true,
        encoded: false,
        extra: Vec::new(),
    }
}

#[track_caller]
fn check(stored: Stored, expected: Verdict) {
    assert_eq!(decide(&samples::task(), &stored).verdict, expected);
}

fn go_on(if_range: &str) -> Verdict {
    Verdict::GoOn(Terms { from_bytes: 400, if_range: if_range.into() })
}

fn afresh(note: &str) -> Verdict {
    Verdict::StartAfresh(note.into())
}

#[test]
fn a_strong_tag_is_enough() {
    check(stored(), go_on("\"v1\""));
    check(Stored { last_modified: None, last_modified_at_ms: None, ..stored() }, go_on("\"v1\""));
    check(Stored { total_bytes: None, ..stored() }, go_on("\"v1\""));
    check(Stored { encoded: true, ..stored() }, go_on("\"v1\""));
    check(Stored { ranges_known: false, ..stored() }, go_on("\"v1\""));
}

#[test]
fn a_date_is_enough_when_there_is_no_tag_and_it_was_a_minute_old() {
    let dated = |date_at_ms| Stored { etag: None, date_at_ms, ..stored() };
    check(dated(Some(2_000_000)), go_on(CHANGED));
    check(dated(Some(1_060_000)), go_on(CHANGED));
    check(dated(Some(1_059_999)), afresh("restarted-no-validator"));
    check(dated(Some(999_999)), afresh("restarted-no-validator"));
    check(dated(None), afresh("restarted-no-validator"));
    check(Stored { last_modified_at_ms: None, ..dated(Some(2_000_000)) }, afresh("restarted-no-validator"));
    check(Stored { last_modified: None, ..dated(Some(2_000_000)) }, afresh("restarted-no-validator"));
    check(Stored { encoded: true, ..dated(Some(2_000_000)) }, afresh("restarted-no-validator"));
    check(Stored { etag: Some("no-quotes".into()), ..stored() }, go_on(CHANGED));
}

#[test]
fn a_weak_tag_rules_the_date_out_as_well() {
    check(Stored { etag: Some("W/\"v1\"".into()), ..stored() }, afresh("restarted-no-validator"));
}

#[test]
fn an_empty_tag_is_none() {
    check(Stored { etag: Some("\"\"".into()), ..stored() }, go_on(CHANGED));
    check(Stored { etag: Some("\"\"".into()), last_modified: None, ..stored() }, afresh("restarted-no-validator"));
}

#[test]
fn the_size_decides_first() {
    check(Stored { bytes_done: 1_000, ..stored() }, Verdict::NothingMissing);
    check(Stored { bytes_done: 1_000, etag: None, last_modified: None, ..stored() }, Verdict::NothingMissing);
    check(Stored { bytes_done: 1_001, ..stored() }, afresh("restarted-changed"));
}

#[test]
fn only_a_plain_get_is_gone_on_with() {
    let post = Task { method: "POST".into(), body: Body::Bytes(Vec::new()), ..samples::task() };
    let head = Task { method: "HEAD".into(), ..samples::task() };
    for task in [post, head] {
        assert_eq!(decide(&task, &stored()).verdict, afresh("restarted-method"));
    }
    let unsaid = Task { method: Default::default(), ..samples::task() };
    assert_eq!(decide(&unsaid, &stored()).verdict, go_on("\"v1\""));
}

#[test]
fn the_conditions_that_decide_are_told_by_name() {
    let check = |stored: Stored, expected: &[(&str, bool)]| {
        let answer = decide(&samples::task(), &stored);
        let told: Vec<_> = answer.conditions.iter().map(|one| (one.name.as_str(), one.holds)).collect();
        assert_eq!(told, expected, "{stored:?}");
        let goes_on = !matches!(answer.verdict, Verdict::StartAfresh(_));
        assert_eq!(goes_on, told.iter().all(|(_, holds)| *holds), "{told:?} {:?}", answer.verdict);
    };
    let always = [("strong-validator", true), ("within-size", true), ("method-get", true)];
    for stored in [
        stored(),
        Stored { encoded: true, ..stored() },
        Stored { total_bytes: None, ..stored() },
        Stored { ranges_known: false, ..stored() },
    ] {
        check(stored, &always);
    }
    let weak = Stored { etag: Some("W/\"v1\"".into()), total_bytes: None, encoded: true, ..stored() };
    check(weak, &[("strong-validator", false), always[1], always[2]]);
    let dated = Stored { etag: None, ..stored() };
    check(dated.clone(), &[always[0], ("not-encoded", true), always[1], always[2]]);
    let encoded = Stored { encoded: true, ..dated };
    check(encoded, &[("strong-validator", false), ("not-encoded", false), always[1], always[2]]);
    check(Stored { bytes_done: 1_000, etag: None, ..stored() }, &[("within-size", true)]);
}
