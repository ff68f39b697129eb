//! Who is tried again, and after how long.

use super::*;
use crate::samples;

const DAY_MS: u64 = 86_400_000;

fn attempt(number: u32) -> Attempt {
    Attempt {
        number,
        retries_remaining: 1,
        elapsed_ms: 0,
        bytes_done: 0,
        bytes_gained: 0,
        jitter_seed: 0,
        jitter: false,
        fresh_start_left: true,
        extra: Default::default(),
    }
}

fn status(status: u16) -> Failure {
    Failure { http_status: Some(status), ..samples::failure(FailureKind::HttpResponse) }
}

#[test]
fn credentials_that_nobody_renews_are_not_asked_for_again() {
    check(detail(FailureDetail::Other("credentials".into())), Verdict::GiveUp);
}

fn detail(detail: FailureDetail) -> Failure {
    Failure { detail, ..samples::failure(FailureKind::Connection) }
}

#[track_caller]
fn check(failure: Failure, expected: Verdict) {
    assert_eq!(decide(&samples::task(), &attempt(1), &failure), expected);
}

#[test]
fn the_schedule_doubles_from_2_to_512_seconds() {
    let failure = samples::failure(FailureKind::Connection);
    let seconds = [2, 4, 8, 16, 32, 64, 128, 256, 512, 512, 512];
    for (number, seconds) in (1..).zip(seconds) {
        let verdict = decide(&samples::task(), &attempt(number), &failure);
        assert_eq!(verdict, Verdict::AfterMs(seconds * 1_000), "retry {number}");
    }
    for number in [0, u32::MAX] {
        decide(&samples::task(), &attempt(number), &failure);
    }
}

#[test]
fn only_some_statuses_are_tried_again() {
    for code in [408, 425, 429, 500, 502, 503, 504, 507, 522, 524, 599] {
        check(status(code), Verdict::AfterMs(2_000));
    }
    for code in [300, 304, 400, 401, 402, 403, 404, 405, 407, 409, 410, 412, 413, 416, 421, 451, 499, 501, 505] {
        check(status(code), Verdict::GiveUp);
    }
}

#[test]
fn what_cannot_mend_itself_is_given_up() {
    use FailureDetail as D;
    for kind in [FailureKind::FileSystem, FailureKind::Url, FailureKind::Policy, FailureKind::Canceled] {
        check(samples::failure(kind), Verdict::GiveUp);
    }
    for wrong in [D::Tls, D::Protocol, D::Redirect, D::DiskFull] {
        check(detail(wrong), Verdict::GiveUp);
    }
    for wrong in [D::None, D::NotConnected, D::NoResponse, D::Cut, D::Timeout, D::Other("x".into())] {
        check(detail(wrong), Verdict::AfterMs(2_000));
    }
    for kind in [FailureKind::Callback, FailureKind::General, FailureKind::Other("x".into())] {
        check(samples::failure(kind), Verdict::AfterMs(2_000));
    }
    check(samples::failure(FailureKind::Resume), Verdict::AfreshAfterMs(2_000));
}

#[test]
fn nothing_is_tried_again_without_retries_left() {
    let attempt = Attempt { retries_remaining: 0, ..attempt(1) };
    let verdict = decide(&samples::task(), &attempt, &status(503));
    assert_eq!(verdict, Verdict::GiveUp);
}

#[test]
fn a_wrong_checksum_earns_one_fresh_start_without_using_up_a_retry() {
    let failure = samples::failure(FailureKind::Checksum);
    let none_left = Attempt { retries_remaining: 0, ..attempt(1) };
    assert_eq!(decide(&samples::task(), &none_left, &failure), Verdict::AfreshAfterMs(0));
    let second = Attempt { fresh_start_left: false, ..attempt(2) };
    assert_eq!(decide(&samples::task(), &second, &failure), Verdict::GiveUp);
}

#[test]
fn retry_after_wins_over_the_schedule() {
    for (asked, expected) in [(0, 0), (1, 1), (700_000, 700_000), (DAY_MS * 9, DAY_MS)] {
        check(Failure { retry_after_ms: Some(asked), ..status(503) }, Verdict::AfterMs(expected));
    }
    check(Failure { retry_after_ms: Some(5), ..status(403) }, Verdict::GiveUp);
    check(Failure { retry_after_ms: Some(5), ..status(300) }, Verdict::AfterMs(5));
}

#[test]
fn an_unknown_outcome_is_repeated_only_where_that_does_no_harm() {
    let failure = Failure { outcome_unknown: true, ..detail(FailureDetail::Timeout) };
    check(failure.clone(), Verdict::GiveUp);
    let repeatable = Task { repeatable: true, ..samples::task() };
    let keyed = Task { headers: samples::pairs(&[("Idempotency-Key", "7")]), ..samples::task() };
    for task in [repeatable, keyed] {
        assert_eq!(decide(&task, &attempt(1), &failure), Verdict::AfterMs(2_000));
    }
}

#[test]
fn a_post_that_a_failing_server_may_have_done_is_repeated_only_where_that_does_no_harm() {
    let post = Task { method: "POST".into(), ..samples::task() };
    for (code, expected) in [(500, Verdict::GiveUp), (502, Verdict::GiveUp), (503, Verdict::AfterMs(2_000))] {
        assert_eq!(decide(&post, &attempt(1), &status(code)), expected, "{code}");
    }
    let put = Task { method: "PUT".into(), ..samples::task() };
    let repeatable = Task { repeatable: true, ..post };
    for task in [put, repeatable] {
        assert_eq!(decide(&task, &attempt(1), &status(500)), Verdict::AfterMs(2_000));
    }
}

#[test]
fn jitter_stays_between_half_the_wait_and_all_of_it() {
    for (seed, expected) in [(0, 4_000), (1, 4_001), (4_000, 8_000), (4_001, 4_000)] {
        let attempt = Attempt { jitter: true, jitter_seed: seed, ..attempt(3) };
        let verdict = decide(&samples::task(), &attempt, &status(503));
        assert_eq!(verdict, Verdict::AfterMs(expected), "{seed}");
    }
    let attempt = Attempt { jitter: true, jitter_seed: 1, ..attempt(3) };
    let asked = Failure { retry_after_ms: Some(1_000), ..status(503) };
    assert_eq!(decide(&samples::task(), &attempt, &asked), Verdict::AfterMs(1_000));
}

#[test]
fn an_upload_that_asks_what_arrived_is_tried_again_where_a_post_is_not() {
    let post = Task { method: "POST".into(), ..samples::task() };
    let resumable = Task { extra: samples::pairs(&[("haul.resumable", "tus")]), ..post.clone() };
    for code in [423, 500, 502, 504] {
        assert_eq!(decide(&post, &attempt(1), &status(code)), Verdict::GiveUp, "{code}");
        assert_eq!(decide(&resumable, &attempt(1), &status(code)), Verdict::AfterMs(2_000), "{code}");
    }
    assert_eq!(decide(&resumable, &attempt(1), &status(403)), Verdict::GiveUp);
}
