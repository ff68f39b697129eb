//! The grammar, case by case.

use super::*;
use crate::samples::pairs;

#[test]
fn content_ranges_are_read_strictly() {
    let part = |first, last, complete| Some(ContentRange::Part { first, last, complete });
    let cases = [
        ("bytes 0-4/10", part(0, 4, Some(10))),
        ("BYTES 5-9/10", part(5, 9, Some(10))),
        ("bytes 5-9/*", part(5, 9, None)),
        ("bytes */10", Some(ContentRange::Unsatisfied { complete: 10 })),
        ("bytes 9-3/20", None),
        ("bytes 5-10/10", None),
        ("bytes 5-9", None),
        ("bytes */*", None),
        ("bytes=5-9/10", None),
        ("items 5-9/10", None),
        ("bytes -5/10", None),
        ("bytes +5-9/10", None),
        ("bytes 5-9/18446744073709551616", None),
        ("bytes 5-9/10, bytes 5-9/10", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(content_range(text), expected, "{text}");
    }
}

#[test]
fn ranges_of_tasks_are_one_range_of_bytes() {
    let from = |first, last| Some(AskedRange::From { first, last });
    let cases = [
        ("bytes=0-4", from(0, Some(4))),
        ("bytes=4-4", from(4, Some(4))),
        ("bytes=7-", from(7, None)),
        ("bytes=-7", Some(AskedRange::Last { length: 7 })),
        ("bytes=-0", None),
        ("bytes=-", None),
        ("bytes=4-3", None),
        ("bytes=1-2,4-5", None),
        ("lines=1-2", None),
        ("1-2", None),
        ("z", None),
    ];
    for (text, expected) in cases {
        assert_eq!(asked_range(text), expected, "{text}");
    }
}

#[test]
fn entity_tags_are_strong_weak_or_none() {
    let cases = [
        ("\"v1\"", true, true),
        ("W/\"v1\"", false, true),
        ("w/\"v1\"", false, false),
        ("v1", false, false),
        ("\"v1", false, false),
        ("\"", false, false),
        ("\"a\"b\"", false, false),
        ("\"a b\"", false, false),
        ("\"\"", false, false),
        ("W/\"\"", false, false),
        ("\"ä\"", true, true),
    ];
    for (text, strong, any) in cases {
        assert_eq!((is_strong_etag(text), is_etag(text)), (strong, any), "{text}");
    }
}

#[test]
fn numbers_are_digits_only() {
    let cases = [("0", Some(0)), ("12", Some(12)), ("+1", None), ("-1", None), ("1.5", None), ("", None)];
    for (text, expected) in cases {
        assert_eq!(number(text), expected, "{text}");
    }
    assert_eq!(number("18446744073709551616"), None);
    assert_eq!(content_length("5, 5"), Some(5));
    assert_eq!(content_length("5, 6"), None);
    assert_eq!(content_length("5,"), None);
}

#[test]
fn a_header_is_found_whatever_its_case() {
    let headers = pairs(&[("ETag", " \"a\" "), ("etag", "\"a\""), ("x", "1"), ("X", "2")]);
    assert_eq!(single(&headers, "etag"), Some("\"a\""));
    assert_eq!(single(&headers, "x"), None);
    assert_eq!(single(&headers, "y"), None);
    assert_eq!(values(&headers, "x").count(), 2);
}

#[test]
fn escapes_are_resolved_or_left() {
    assert_eq!(unescape("a%20b%e2%82%ac", false).as_deref(), Some("a b€".as_bytes()));
    for broken in ["%", "a%2", "%zz", "%+1"] {
        assert_eq!(unescape(broken, false), None, "{broken}");
        assert_eq!(unescape(broken, true).as_deref(), Some(broken.as_bytes()), "{broken}");
    }
    assert_eq!(text(std::vec![0xe4]), "ä");
}
