//! One response, one verdict.

use super::*;
use crate::bindings::haul::transfer::types::{Body, StatusRange};
use crate::samples::{self, response};
use alloc::string::ToString;
use alloc::vec;

/// A request for the whole resource.
fn whole() -> Asked {
    Asked {
        range_to_bytes: None,
        range_from_bytes: None,
        total_bytes: None,
        if_range: None,
        own_range: false,
        restarts: 0,
        extra: Vec::new(),
    }
}

/// A request for bytes 400 and on of 1,000, of the version `"v1"`.
fn rest() -> Asked {
    Asked { range_from_bytes: Some(400), total_bytes: Some(1_000), if_range: Some("\"v1\"".into()), ..whole() }
}

fn changed() -> Verdict {
    Verdict::AskFromZero(RestartReason::Changed)
}

fn bad_range() -> Verdict {
    Verdict::AskFromZero(RestartReason::BadRange)
}

#[track_caller]
fn check(asked: &Asked, status: u16, headers: &[(&str, &str)], expected: Verdict) {
    assert_eq!(decide(&samples::task(), asked, &response(status, headers)), expected);
}

/// A 206 to `rest()` with these headers.
#[track_caller]
fn check_part(headers: &[(&str, &str)], expected: Verdict) {
    check(&rest(), 206, headers, expected);
}

#[track_caller]
fn check_failed(task: &Task, asked: &Asked, status: u16, description: &str) {
    match decide(task, asked, &response(status, &[("retry-after", "5")])) {
        Verdict::Failed(failure) => {
            assert_eq!(failure.kind, FailureKind::HttpResponse);
            assert_eq!(failure.description, description);
            assert_eq!(failure.http_status, Some(status));
            assert_eq!(failure.retry_after_ms, None);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_asks_for_a_digest_of_the_body_alone_is_told_of() {
    let failed =
        |value: &str| match decide(&samples::task(), &whole(), &samples::response(401, &[("www-authenticate", value)]))
        {
            Verdict::Failed(failure) => failure.description.contains("auth-int"),
            other => panic!("{other:?}"),
        };
    assert!(failed(r#"Digest realm="r", nonce="n", qop="auth-int", algorithm=MD5"#));
    assert!(failed("Digest qop=auth-int, realm=r, nonce=n"));
    for more in [
        r#"Digest realm="r", nonce="n", qop="auth, auth-int""#,
        r#"Digest realm="r", nonce="n", qop="auth-int,auth""#,
        r#"Digest realm="r", nonce="n", qop="auth-int", Digest realm="r", nonce="n", qop="auth""#,
        r#"Digest realm="r", nonce="n", qop="auth-int", Basic realm="r""#,
        "Basic realm=auth-int",
    ] {
        assert!(!failed(more), "{more}");
    }
}

#[test]
fn success_is_200_to_206() {
    for status in [200, 201, 202, 203, 204, 205] {
        check(&whole(), status, &[], Verdict::Success);
        check(&whole(), status, &[("content-encoding", "gzip")], Verdict::Success);
    }
    for (status, description) in [
        (199, "server answered 199"),
        (207, "server answered 207"),
        (302, "server answered 302 Found"),
        (304, "server answered 304 Not Modified"),
        (401, "server answered 401 Unauthorized"),
        (403, "server answered 403 Forbidden"),
        (416, "server answered 416 Range Not Satisfiable"),
        (500, "server answered 500 Internal Server Error"),
        (599, "server answered 599"),
    ] {
        check_failed(&samples::task(), &whole(), status, description);
    }
}

#[test]
fn not_found_is_final_with_or_without_a_range() {
    check(&whole(), 404, &[], Verdict::NotFound);
    check(&rest(), 404, &[], Verdict::NotFound);
}

#[test]
fn a_task_may_name_what_it_accepts() {
    let accept_status = [(200, 200), (304, 304), (400, 404)];
    let accept_status = accept_status.map(|(first, last)| StatusRange { first, last }).into();
    let task = Task { accept_status, ..samples::task() };
    for status in [200, 304, 400, 404] {
        assert_eq!(decide(&task, &whole(), &response(status, &[])), Verdict::Success, "{status}");
    }
    check_failed(&task, &whole(), 201, "server answered 201");
    check_failed(&task, &whole(), 405, "server answered 405 Method Not Allowed");
}

#[test]
fn see_other_ends_an_upload_well() {
    let upload = Task { kind: TaskKind::Upload, method: "POST".into(), ..samples::task() };
    assert_eq!(decide(&upload, &whole(), &response(303, &[])), Verdict::Success);
    assert_eq!(decide(&upload, &whole(), &response(206, &[])), Verdict::Success);
    check_failed(&samples::task(), &whole(), 303, "server answered 303 See Other");
}

#[test]
fn a_part_that_was_not_asked_for_is_not_the_resource() {
    check(&whole(), 206, &[("content-range", "bytes 0-4/10")], bad_range());
    let again = Asked { restarts: 1, ..whole() };
    assert!(matches!(decide(&samples::task(), &again, &response(206, &[])), Verdict::Failed(_)));
    let post = Task { method: "POST".into(), body: Body::Bytes(Vec::new()), ..samples::task() };
    assert_eq!(decide(&post, &whole(), &response(206, &[])), Verdict::Success);
}

/// What a task with this `Range` of its own makes of a 206 with this Content-Range.
#[track_caller]
fn check_own(range: &str, content_range: &str, good: bool) {
    let task = Task { headers: vec![("Range".into(), range.into())], ..samples::task() };
    let own = Asked { own_range: true, ..whole() };
    let verdict = decide(&task, &own, &response(206, &[("content-range", content_range)]));
    match verdict {
        Verdict::Success => assert!(good, "{range} took {content_range}"),
        Verdict::Failed(failure) => {
            assert!(!good, "{range} refused {content_range}");
            assert_eq!(failure.kind, FailureKind::Resume);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_range_of_the_tasks_own_is_answered_with_that_range_or_fails() {
    check_own("bytes=100-199", "bytes 100-199/1000", true);
    check_own("bytes=100-199", "bytes 100-199/*", true);
    check_own("bytes=100-1999", "bytes 100-999/1000", true);
    check_own("bytes=100-", "bytes 100-999/1000", true);
    check_own("bytes=-50", "bytes 950-999/1000", true);
    check_own("bytes=-5000", "bytes 0-999/1000", true);
    for wrong in [
        "bytes 500-599/1000",
        "bytes 100-299/1000",
        "bytes 100-149/1000",
        "bytes 199-100/1000",
        "items 100-199/1000",
        "bytes */1000",
        "nonsense",
        "",
    ] {
        check_own("bytes=100-199", wrong, false);
    }
    check_own("bytes=100-", "bytes 0-999/1000", false);
    check_own("bytes=-50", "bytes 0-49/1000", false);
    let task = Task { headers: vec![("Range".into(), "bytes=0-9".into())], ..samples::task() };
    let own = Asked { own_range: true, ..whole() };
    let long = response(206, &[("content-range", "bytes 0-9/1000"), ("content-length", "1000")]);
    assert!(matches!(decide(&task, &own, &long), Verdict::Failed(_)));
    assert!(matches!(decide(&task, &own, &response(206, &[])), Verdict::Failed(_)));
    let note = Verdict::UseFromZero(RestartReason::Other("range-ignored".into()));
    assert_eq!(decide(&task, &own, &response(200, &[])), note);
}

#[test]
fn a_part_continues_when_everything_fits() {
    let same = ("etag", "\"v1\"");
    check_part(&[("content-range", "bytes 400-999/1000"), same], Verdict::Continues(400));
    check_part(&[("content-range", "bytes 400-499/1000"), same], Verdict::Continues(400));
    check_part(&[("content-range", "bytes 400-999/*"), same], Verdict::Continues(400));
    check_part(
        &[
            ("content-range", "bytes 400-999/1000"),
            ("content-length", "600"),
            ("content-type", "video/mp4"),
            ("etag", "\"v1\""),
            ("last-modified", "Tue, 01 Sep 2026 10:00:00 GMT"),
        ],
        Verdict::Continues(400),
    );
    let unknown = Asked { total_bytes: None, ..rest() };
    check(&unknown, 206, &[("content-range", "bytes 400-999/1000"), same], Verdict::Continues(400));
    check(&unknown, 206, &[("content-range", "bytes 400-999/*"), same], bad_range());
}

#[test]
fn a_part_of_another_shape_is_asked_for_again_from_zero() {
    check_part(&[], bad_range());
    check_part(&[("content-range", "bytes 399-999/1000")], bad_range());
    check_part(&[("content-range", "bytes 401-999/1000")], bad_range());
    check_part(&[("content-range", "bytes 0-999/1000")], bad_range());
    check_part(&[("content-range", "bytes 400-399/1000")], bad_range());
    check_part(&[("content-range", "bytes 400-1000/1000")], bad_range());
    check_part(&[("content-range", "bytes 9-3/2")], bad_range());
    check_part(&[("content-range", "items 400-999/1000")], bad_range());
    check_part(&[("content-range", "bytes */1000")], bad_range());
    let twice = ("content-range", "bytes 400-999/1000");
    check_part(&[twice, twice], bad_range());
    check_part(&[twice, ("content-length", "599")], bad_range());
    check_part(&[twice, ("content-length", "0")], bad_range());
    check_part(&[twice, ("content-length", "6e2")], bad_range());
    check_part(&[twice, ("content-length", "600"), ("content-length", "601")], bad_range());
    check_part(&[twice, ("content-type", "multipart/byteranges; boundary=x")], bad_range());
    let end = u64::MAX.to_string();
    let last = Asked { range_from_bytes: Some(0), total_bytes: None, ..rest() };
    let range = format!("bytes 0-{end}/*");
    check(&last, 206, &[("content-range", &range), ("content-length", "0")], bad_range());
}

#[test]
fn a_part_of_another_version_is_never_joined() {
    let range = ("content-range", "bytes 400-999/1000");
    check_part(&[("content-range", "bytes 400-999/2000")], changed());
    check_part(&[("content-range", "bytes 400-1999/*")], changed());
    check_part(&[range, ("etag", "\"v2\"")], changed());
    check_part(&[range, ("etag", "W/\"v1\"")], changed());
    check_part(&[range, ("etag", "\"v1\""), ("etag", "\"v2\"")], changed());
    let dated = Asked { if_range: Some("Tue, 01 Sep 2026 10:00:00 GMT".into()), ..rest() };
    let same = ("last-modified", "Tue, 01 Sep 2026 10:00:00 GMT");
    check(&dated, 206, &[range, same], Verdict::Continues(400));
    // What had no tag, and has one now, is another version: of either kind, with or without the date.
    for tag in ["\"v9\"", "W/\"v9\""] {
        check(&dated, 206, &[range, same, ("etag", tag)], changed());
        check(&dated, 206, &[range, ("etag", tag)], changed());
    }
    check(&dated, 206, &[range, same, ("etag", "\"\"")], Verdict::Continues(400));
    check(&dated, 206, &[range, ("last-modified", "Tue, 01 Sep 2026 10:00:01 GMT")], changed());
    check(&dated, 206, &[range, same, ("content-encoding", "gzip")], changed());
    check(&dated, 206, &[range, same, ("content-encoding", "identity")], Verdict::Continues(400));
}

#[test]
fn a_part_need_not_name_its_version() {
    let range = ("content-range", "bytes 400-999/1000");
    check_part(&[range], Verdict::Continues(400));
    check_part(&[range, ("last-modified", "Tue, 01 Sep 2026 10:00:00 GMT")], Verdict::Continues(400));
    let dated = Asked { if_range: Some("Tue, 01 Sep 2026 10:00:00 GMT".into()), ..rest() };
    check(&dated, 206, &[range], Verdict::Continues(400));
}

#[test]
fn the_whole_in_place_of_a_part_is_used_from_its_start() {
    let used = |reason| Verdict::UseFromZero(reason);
    check(&rest(), 200, &[], used(RestartReason::WholeBody));
    check(&rest(), 200, &[("etag", "\"v1\""), ("content-length", "1000")], used(RestartReason::WholeBody));
    check(&rest(), 200, &[("etag", "\"v2\"")], used(RestartReason::Changed));
    check(&rest(), 200, &[("content-length", "999")], used(RestartReason::Changed));
    check(&rest(), 203, &[], used(RestartReason::WholeBody));
    check(&rest(), 200, &[("content-range", "bytes 0-999/1000")], used(RestartReason::WholeBody));
    check(&rest(), 200, &[("content-range", "bytes 400-999/1000")], bad_range());
    for status in [201, 202, 204, 205] {
        check(&rest(), status, &[], bad_range());
    }
    let own = Asked { own_range: true, ..rest() };
    check(&own, 200, &[("etag", "\"v2\"")], changed());
}

#[test]
fn an_unsatisfied_range_says_that_all_is_there_or_that_nothing_fits() {
    let at_end = Asked { range_from_bytes: Some(1_000), ..rest() };
    let unknown = Asked { total_bytes: None, ..at_end.clone() };
    check(&at_end, 416, &[("content-range", "bytes */1000")], Verdict::AlreadyComplete);
    // A file of which only the length is known may be another one by now.
    check(&unknown, 416, &[("content-range", "bytes */1000")], changed());
    check(&unknown, 416, &[("content-range", "bytes */1000"), ("etag", "\"v1\"")], Verdict::AlreadyComplete);
    check(&unknown, 416, &[("content-range", "bytes */900")], changed());
    check(&at_end, 416, &[("content-range", "bytes */900")], changed());
    check(&at_end, 416, &[("content-range", "bytes */1000"), ("etag", "\"v2\"")], changed());
    check(&rest(), 416, &[("content-range", "bytes */1000")], bad_range());
    check(&rest(), 416, &[("content-range", "bytes */300")], changed());
    for wrong in ["bytes 0-9/1000", "bytes */*", "1000"] {
        check(&at_end, 416, &[("content-range", wrong)], bad_range());
    }
    check(&at_end, 416, &[], bad_range());
}

#[test]
fn other_answers_to_a_range_are_failures() {
    for status in [301, 403, 412, 500, 503] {
        let verdict = decide(&samples::task(), &rest(), &response(status, &[]));
        assert!(matches!(verdict, Verdict::Failed(_)), "{status}");
    }
}

#[test]
fn nobody_asks_from_zero_for_ever() {
    let again = Asked { restarts: 1, ..rest() };
    check(&again, 206, &[], bad_range());
    let asked = Asked { restarts: 2, ..rest() };
    match decide(&samples::task(), &asked, &response(206, &[])) {
        Verdict::Failed(failure) => assert_eq!(failure.kind, FailureKind::Resume),
        other => panic!("{other:?}"),
    }
    let verdict = decide(&samples::task(), &asked, &response(200, &[]));
    assert_eq!(verdict, Verdict::UseFromZero(RestartReason::WholeBody));
}

#[test]
fn a_part_of_a_divided_download_ends_where_it_was_asked_to_end_or_before() {
    let asked = Asked { range_to_bytes: Some(599), ..rest() };
    for (last, verdict) in
        [(599, Verdict::Continues(400)), (499, Verdict::Continues(400)), (600, bad_range()), (999, bad_range())]
    {
        let range = format!("bytes 400-{last}/1000");
        check(&asked, 206, &[("content-range", range.as_str()), ("etag", "\"v1\"")], verdict);
    }
}
