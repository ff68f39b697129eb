//! Tasks as people write them, and what becomes of them. Rule ids are those of background_downloader's inventory.

use super::*;
use crate::bindings::haul::transfer::types::*;
use crate::samples::{self, pairs};
use alloc::{string::ToString, vec};
use proptest::prelude::*;

/// A task as the host hands it over: nothing normalised yet.
fn task() -> Task {
    Task { method: String::new(), on_conflict: None, ..samples::task() }
}

fn upload() -> Task {
    Task { kind: TaskKind::Upload, filename: Some("a.txt".into()), ..task() }
}

fn decide_one(task: Task) -> Result<Task, Vec<Problem>> {
    let context = Context { now_at_ms: 0, extra: vec![] };
    let mut results = decide(vec![task], &context);
    assert_eq!(results.len(), 1);
    results.remove(0)
}

#[track_caller]
fn admitted(task: Task) -> Task {
    decide_one(task).unwrap()
}

/// The task has exactly these problems: the field, and a word of the sentence.
#[track_caller]
fn check(task: Task, expected: &[(&str, &str)]) {
    let problems = match decide_one(task) {
        Ok(_) => vec![],
        Err(problems) => problems,
    };
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    let wanted: Vec<_> = expected.iter().map(|(field, _)| *field).collect();
    assert_eq!(fields, wanted, "{problems:?}");
    for (problem, (_, word)) in problems.iter().zip(expected) {
        assert!(problem.reason.contains(word), "{problem:?}");
    }
}

#[track_caller]
fn check_url(url: &str, expected: Result<&str, &str>) {
    let task = Task { url: url.into(), ..task() };
    match expected {
        Ok(normal) => assert_eq!(admitted(task).url, normal),
        Err(word) => check(task, &[("url", word)]),
    }
}

#[test]
fn a_plain_task_needs_nothing_but_its_url() {
    let admitted = admitted(task());
    assert_eq!(admitted, samples::task());
    assert_eq!(decide_one(admitted.clone()).unwrap(), admitted);
}

#[test]
fn all_problems_are_told_at_once_and_tasks_are_judged_one_by_one() {
    let bad = Task { retries: 11, priority: -1, group: "chunk".into(), url: "ftp://x/".into(), ..task() };
    let expected =
        [("group", "reserved"), ("priority", "0 to 10, not -1"), ("retries", "0 to 10, not 11"), ("url", "http")];
    check(bad.clone(), &expected);
    let context = Context { now_at_ms: 0, extra: vec![] };
    let results = decide(vec![task(), bad, task()], &context);
    let valid: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(valid, [true, false, true]);
}

#[test]
fn ids_and_groups_are_short_and_visible() {
    for id in ["", " ", "a\nb", &"x".repeat(256)] {
        check(Task { id: id.into(), ..task() }, &[("taskId", "must")]);
    }
    for group in ["", "chunk", "\0"] {
        check(Task { group: group.into(), ..task() }, &[("group", "must")]);
    }
    admitted(Task { id: "https://example.org/ä?x=1".into(), group: "Chunk".into(), ..task() });
    check(Task { kind: TaskKind::Other("Ufo\u{1b}".into()), ..task() }, &[("taskType", "not `Ufo?`")]);
}

#[test]
fn numbers_stay_in_their_ranges() {
    let remaining = |retries, retries_remaining| Task { retries, retries_remaining, ..task() };
    admitted(remaining(0, 0));
    admitted(remaining(10, 10));
    check(remaining(3, -1), &[("retriesRemaining", "0 to 3, not -1")]);
    check(remaining(3, 4), &[("retriesRemaining", "0 to 3, not 4")]);
    check(remaining(-1, -1), &[("retries", "0 to 10, not -1")]);
    check(remaining(i32::MAX, i32::MIN), &[("retries", "0 to 10")]);
    check(Task { priority: 11, ..task() }, &[("priority", "0 to 10, not 11")]);
    check(Task { chunks: 0, ..task() }, &[("chunks", "1 to 256, not 0")]);
    check(Task { chunks: 257, ..task() }, &[("chunks", "1 to 256, not 257")]);
    check(Task { max_redirects: 51, ..task() }, &[("maxRedirects", "0 to 50, not 51")]);
    check(Task { limit_bytes_per_second: Some(0), ..task() }, &[("limitRate", "at least 1")]);
    for (first, last, valid) in
        [(100, 599, true), (200, 200, true), (99, 200, false), (200, 600, false), (300, 200, false)]
    {
        let task = Task { accept_status: vec![StatusRange { first, last }], ..task() };
        assert_eq!(decide_one(task).is_ok(), valid, "{first}-{last}");
    }
}

#[test]
fn a_deadline_lies_behind_the_start() {
    let times = |before, after| Task { not_before_at_ms: before, not_after_at_ms: after, ..task() };
    admitted(times(Some(5), Some(6)));
    admitted(times(None, Some(0)));
    check(times(Some(5), Some(5)), &[("notAfter", "later")]);
}

#[test]
fn urls_are_absolute_and_already_encoded() {
    let refused = [
        ("", "http"),
        ("example.org/a", "http"),
        ("file:///etc/passwd", "http"),
        ("https:/example.org", "http"),
        ("https://", "host"),
        ("https:///a", "host"),
        ("https://:80/", "host"),
        ("https://?x", "host"),
        ("https://./", "host"),
        ("https://example.org:0/", "port"),
        ("https://example.org:65536/", "port"),
        ("https://example.org:/", "port"),
        ("https://example.org:+80/", "port"),
        ("https://[::1/", "IPv6"),
        ("https://[::1]x/", "port"),
        ("https://[::g]/", "IPv6"),
        ("https://exa mple.org/", "spaces"),
        ("https://example.org/a b", "spaces"),
        ("https://example.org/a\r\nX: y", "control"),
        ("https://example.org\\@evil.org/", "backslash"),
        ("https://a@b@example.org/", "user"),
        ("https://münchen.de/", "ASCII"),
        ("https://invalid%url.com/", "host"),
        ("https://invalid%75rl.com/", "host"),
        ("https://example.org/some%other=true", "hexadecimal"),
        ("https://example.org/?a=%2", "hexadecimal"),
    ];
    for (url, word) in refused {
        check_url(url, Err(word));
    }
    let long = ["https://example.org/", &"a".repeat(8 * 1024)].concat();
    check_url(&long, Err("at most 8192"));
}

#[test]
fn urls_keep_what_they_say() {
    let same = [
        "https://example.org",
        "http://example.org:8080/a%20b?x=1&x=2;y|^[]",
        "https://user:p%40ss@example.org/",
        "https://[::1]:443/",
        "https://127.0.0.1/",
        "https://xn--mnchen-3ya.de/",
        "https://a_b.example.org/?https://other.org:99999/",
    ];
    for url in same {
        check_url(url, Ok(url));
    }
    check_url("HTTPS://Example.ORG/A#part", Ok("https://Example.ORG/A"));
    check_url("https://example.org/ä?ö=\"<>{}`", Ok("https://example.org/%C3%A4?%C3%B6=%22%3C%3E%7B%7D%60"));
}

#[test]
fn parameters_are_joined_to_the_url() {
    let with = |url: &str, query: &[(&str, &str)]| Task { url: url.into(), query: pairs(query), ..task() };
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 6] = [
        ("https://h/a", &[], "https://h/a"),
        ("https://h/a", &[("q", "pizza"), ("q", "2")], "https://h/a?q=pizza&q=2"),
        ("https://h/a?x=1#top", &[("q", "")], "https://h/a?x=1&q="),
        ("https://h", &[("q", "a%20b+c")], "https://h?q=a%20b+c"),
        ("https://h/", &[("param2", "with space")], "https://h/?param2=with%20space"),
        ("https://h/", &[("ü", "#&")], "https://h/?%C3%BC=%23&"),
    ];
    for (url, query, expected) in cases {
        let task = admitted(with(url, query));
        assert_eq!((task.url.as_str(), task.query.len()), (expected, 0));
    }
    check(with("https://h/", &[("q", "50%")]), &[("urlQueryParameters", "hexadecimal")]);
    check(with("https://h/", &[("q", "a\nb")]), &[("urlQueryParameters", "control")]);
}

#[test]
fn mirrors_are_urls_too_and_share_the_parameters_of_a_parallel_download() {
    let mirrors = || vec!["HTTPS://m1/".to_string(), "https://m2/?x".to_string()];
    let query = || pairs(&[("q", "1")]);
    let plain = admitted(Task { mirrors: mirrors(), query: query(), ..task() });
    assert_eq!(plain.mirrors, ["https://m1/", "https://m2/?x"]);
    let kind = TaskKind::ParallelDownload;
    let parallel = admitted(Task { kind, mirrors: mirrors(), query: query(), ..task() });
    assert_eq!(parallel.mirrors, ["https://m1/?q=1", "https://m2/?x&q=1"]);
    let bad = Task { mirrors: vec!["https://m1/".into(), "m2".into()], ..task() };
    check(bad, &[("mirrors", "number 2 must be an absolute")]);
}

#[test]
fn headers_cannot_break_a_request() {
    let with = |headers: &[(&str, &str)]| Task { headers: pairs(headers), ..task() };
    let headers = [("X-A", "1"), ("x-a", " 2\t"), ("Accept", ""), ("X-Ü", "ä"), ("Cookie", "a=b; ä")];
    check(with(&headers), &[("headers", "not `X-Ü`")]);
    let kept = admitted(with(&[("X-A", "1"), ("x-a", " 2\t3\t"), ("Accept", ""), ("Cookie", "a=ä")]));
    assert_eq!(kept.headers, pairs(&[("X-A", "1"), ("x-a", "2\t3"), ("Accept", ""), ("Cookie", "a=ä")]));
    for name in ["", "a b", "a:", "a\r\nb", "(a)"] {
        check(with(&[(name, "1")]), &[("headers", "names of letters")]);
    }
    for value in ["a\r\nX: y", "a\0", "\u{7f}", "\u{85}"] {
        check(with(&[("X-Secret", value)]), &[("headers", "value of `X-Secret`")]);
    }
    for name in OWN {
        check(with(&[(name, "1")]), &[("headers", "set by haul")]);
    }
}

const OWN: [&str; 11] = [
    "Host",
    "Content-Length",
    "transfer-encoding",
    "Connection",
    "TE",
    "Trailer",
    "Upgrade",
    "Expect",
    "If-Range",
    "Proxy-Connection",
    "Keep-Alive",
];

#[test]
fn one_range_of_bytes_may_be_asked_for() {
    let with = |ranges: &[(&str, &str)], task: Task| Task { headers: pairs(ranges), ..task };
    for range in ["bytes=0-4", "bytes=4-", "bytes=-4"] {
        admitted(with(&[("Range", range)], task()));
    }
    for range in ["z", "bytes=4-3", "bytes=0-1,3-4", "items=0-1"] {
        check(with(&[("range", range)], task()), &[("headers", "Range")]);
    }
    check(with(&[("Range", "bytes=0-4"), ("range", "bytes=0-4")], task()), &[("headers", "once")]);
    let binary = || Task { body: Body::File, ..upload() };
    admitted(with(&[("Range", "bytes=2-4")], binary()));
    for range in ["bytes=-4", "z"] {
        check(with(&[("Range", range)], binary()), &[("headers", "upload")]);
    }
}

#[test]
fn the_method_follows_the_body_unless_given() {
    let method = |task: Task| admitted(task).method;
    assert_eq!(method(task()), "GET");
    assert_eq!(method(Task { body: Body::Bytes(vec![]), ..task() }), "POST");
    assert_eq!(method(upload()), "POST");
    assert_eq!(method(Task { body: Body::File, ..upload() }), "POST");
    assert_eq!(method(Task { body: Body::File, method: "put".into(), ..upload() }), "PUT");
    for given in ["GET", "Post", "HEAD", "PUT", "DELETE", "patch"] {
        assert_eq!(method(Task { method: given.into(), ..task() }), given.to_uppercase());
    }
    for wrong in ["OPTIONS", "TRACE", "G ET", "GET\r\n"] {
        check(Task { method: wrong.into(), ..task() }, &[("httpRequestMethod", "must be GET, POST")]);
    }
    let request = |method: &str| Task { kind: TaskKind::Data, method: method.into(), ..task() };
    for given in ["OPTIONS", "propfind", "M-SEARCH", "TRACE"] {
        assert_eq!(method(request(given)), given.to_uppercase());
    }
    for wrong in ["CONNECT", "G ET", "GET\r\n", "b\u{e9}"] {
        check(request(wrong), &[("httpRequestMethod", "not CONNECT")]);
    }
    check(Task { body: Body::Bytes(vec![1]), ..request("TRACE") }, &[("post", "TRACE")]);
    let parallel = Task { kind: TaskKind::ParallelDownload, method: "POST".into(), ..task() };
    check(parallel, &[("httpRequestMethod", "parallel")]);
}

#[test]
fn bodies_go_with_kinds() {
    let with = |kind, body| Task { kind, body, filename: Some("a".into()), ..task() };
    let file = FilePart { field: "f".into(), filename: "a".into(), mime_type: "".into() };
    let many = |body| Task { files: vec![file.clone()], ..with(TaskKind::MultiUpload, body) };
    let bytes = || Body::Bytes(vec![1]);
    assert_eq!(admitted(with(TaskKind::Upload, Body::None)).body, Body::Multipart);
    assert_eq!(admitted(with(TaskKind::Upload, Body::File)).body, Body::File);
    assert_eq!(admitted(many(Body::None)).body, Body::Multipart);
    check(with(TaskKind::Upload, bytes()), &[("post", "binary")]);
    check(many(Body::File), &[("post", "several files")]);
    let parallel = Task { method: "GET".into(), ..with(TaskKind::ParallelDownload, bytes()) };
    check(parallel, &[("post", "parallel")]);
    for kind in [TaskKind::Download, TaskKind::Data, TaskKind::Request] {
        admitted(with(kind.clone(), bytes()));
        check(with(kind.clone(), Body::File), &[("post", "no upload")]);
        check(with(kind, Body::Multipart), &[("post", "no upload")]);
    }
    let large = Body::Bytes(vec![0; 1024 * 1024 + 1]);
    check(with(TaskKind::Data, large), &[("post", "1048576 bytes long, not 1048577")]);
}

#[test]
fn a_binary_upload_has_no_fields() {
    let fields = pairs(&[("a", "1"), ("b", "")]);
    admitted(Task { fields: fields.clone(), ..upload() });
    check(Task { fields, body: Body::File, ..upload() }, &[("fields", "binary")]);
    check(Task { fields: pairs(&[("", "1")]), ..upload() }, &[("fields", "empty name")]);
    check(Task { fields: pairs(&[("a", "1"), ("b\0", "")]), ..upload() }, &[("fields", "control")]);
    admitted(Task { fields: pairs(&[("two\r\nlines", "1\0"), ("a\tb", "")]), ..upload() });
    assert_eq!(admitted(Task { file_field: "".into(), ..upload() }).file_field, "file");
    admitted(Task { file_field: "two\r\nlines".into(), ..upload() });
    check(Task { file_field: "a\0".into(), ..upload() }, &[("fileField", "control")]);
    let long = |length: usize| pairs(&[("a", "x".repeat(length).as_str())]);
    admitted(Task { fields: long(1024 * 1024 - 1), ..upload() });
    check(Task { fields: long(1024 * 1024), ..upload() }, &[("fields", "1048576 bytes long in all, not 1048577")]);
    check(Task { mime_type: "a\r\n".into(), ..upload() }, &[("mimeType", "media type")]);
    check(Task { filename: None, ..upload() }, &[("filename", "file to send")]);
}

#[test]
fn files_of_a_form_lie_below_the_directory() {
    let with = |field: &str, filename: &str, mime: &str| {
        let file = FilePart { field: field.into(), filename: filename.into(), mime_type: mime.into() };
        Task { kind: TaskKind::MultiUpload, files: vec![file], ..task() }
    };
    for name in ["a.txt", "sub/a.txt", "./a.txt"] {
        admitted(with("f", name, "text/plain"));
    }
    for name in ["", "/etc/passwd", "../a", "sub/../../a", "a//b", "sub/", ".", "a\0"] {
        check(with("f", name, ""), &[("files", "number 1")]);
    }
    check(with("", "a", ""), &[("files", "form field")]);
    check(with("f", "a", "x\n"), &[("files", "media types")]);
    check(Task { kind: TaskKind::MultiUpload, ..task() }, &[("files", "at least one")]);
}

#[test]
fn what_has_a_body_is_not_paused() {
    let pausable = |task: Task| Task { allow_pause: true, ..task };
    assert!(admitted(pausable(task())).allow_pause);
    check(pausable(Task { body: Body::Bytes(vec![]), ..task() }), &[("allowPause", "body")]);
    assert!(!admitted(pausable(upload())).allow_pause);
    assert!(!admitted(pausable(Task { kind: TaskKind::Data, ..task() })).allow_pause);
}

#[test]
fn requests_have_no_progress() {
    for kind in [TaskKind::Data, TaskKind::Request] {
        let with = |updates| Task { kind: kind.clone(), updates, ..task() };
        for updates in [Updates::Progress, Updates::StatusAndProgress] {
            check(with(updates), &[("updates", "`status` or `none`")]);
        }
        assert_eq!(admitted(with(Updates::Status)).updates, Updates::Status);
        assert_eq!(admitted(with(Updates::None)).updates, Updates::None);
    }
    let download = admitted(Task { updates: Updates::StatusAndProgress, ..task() });
    assert_eq!(download.updates, Updates::StatusAndProgress);
}

#[test]
fn a_text_is_plain_unless_something_else_is_said() {
    let kind = |text: Option<&str>, headers: &[(&str, &str)], body| {
        let content_type = text.map(String::from);
        let task = Task { kind: TaskKind::Data, content_type, headers: pairs(headers), body, ..task() };
        admitted(task).content_type
    };
    let text = || Body::Bytes("x".into());
    let plain = Some("text/plain; charset=utf-8".to_string());
    assert_eq!(kind(None, &[], text()), plain);
    assert_eq!(kind(Some(""), &[], text()), plain);
    assert_eq!(kind(Some("application/json"), &[], text()), Some("application/json".into()));
    assert_eq!(kind(Some("application/json"), &[("content-TYPE", "x/y")], text()), None);
    assert_eq!(kind(None, &[], Body::None), None);
    assert_eq!(kind(None, &[], Body::Bytes(vec![])), plain);
    assert_eq!(admitted(Task { body: Body::Bytes(vec![]), ..task() }).content_type, None);
}

#[test]
fn a_filename_is_one_segment() {
    let with = |name: &str| Task { filename: Some(name.into()), ..task() };
    assert_eq!(admitted(with("a b.txt")).filename.as_deref(), Some("a b.txt"));
    assert_eq!(admitted(with("?")).filename, None);
    for name in ["", ".", "..", "a/b", "a\\b", "/a", "a\0", "a\n", &"x".repeat(256)] {
        check(with(name), &[("filename", "must")]);
    }
}

#[test]
fn a_directory_stays_below_its_base() {
    let with = |directory: &str| Task { directory: directory.into(), ..task() };
    let kept = [
        ("", ""),
        ("/", ""),
        ("a", "a"),
        ("/a", "a"),
        ("\\a", "a"),
        ("a/b/", "a/b"),
        ("a\\b", "a/b"),
        ("./a/.", "a"),
        (".", ""),
        ("...", "..."),
        ("a b", "a b"),
    ];
    for (directory, expected) in kept {
        assert_eq!(admitted(with(directory)).directory, expected);
    }
    for directory in
        ["..", "a/../b", "a\\..\\b", "/..", "//a", "\\\\server\\share", "/\\a", "a//b", "a/\0", &"x".repeat(256)]
    {
        check(with(directory), &[("directory", "must")]);
    }
    check(with(&"a/".repeat(3_000)), &[("directory", "at most 4096")]);
    check(Task { base_directory: "".into(), ..task() }, &[("baseDirectory", "empty")]);
    check(Task { base_directory: "\n".into(), ..task() }, &[("baseDirectory", "control")]);
}

#[test]
fn a_given_name_replaces_and_any_other_is_unique() {
    let conflict = |filename: Option<&str>, on_conflict| {
        admitted(Task { filename: filename.map(String::from), on_conflict, ..task() }).on_conflict
    };
    assert_eq!(conflict(Some("a"), None), Some(OnConflict::Replace));
    assert_eq!(conflict(Some("?"), None), Some(OnConflict::Unique));
    assert_eq!(conflict(None, None), Some(OnConflict::Unique));
    assert_eq!(conflict(Some("a"), Some(OnConflict::Skip)), Some(OnConflict::Skip));
}

#[test]
fn a_response_file_replaces_an_older_one_and_never_a_file_that_is_sent() {
    let to = |path: &str, on_conflict| Task { response_file: Some(path.into()), on_conflict, ..upload() };
    assert_eq!(admitted(to("b", None)).on_conflict, Some(OnConflict::Replace));
    assert_eq!(
        admitted(Task { kind: TaskKind::Data, filename: None, ..to("b", None) }).on_conflict,
        Some(OnConflict::Replace)
    );
    assert_eq!(admitted(to("b", Some(OnConflict::Unique))).on_conflict, Some(OnConflict::Unique));
    check(to("b", Some(OnConflict::Skip)), &[("onConflict", "for a `responseFile`")]);
    for path in ["a.txt", "./a.txt"] {
        check(to(path, None), &[("responseFile", "a file that is sent")]);
    }
    let below = Task { directory: "/x/".into(), ..to("x/a.txt", None) };
    check(below, &[("responseFile", "a file that is sent")]);
    let file = FilePart { field: "f".into(), filename: "b".into(), mime_type: "".into() };
    let several = Task { kind: TaskKind::MultiUpload, files: vec![file], ..to("b", None) };
    check(several, &[("responseFile", "a file that is sent")]);
    admitted(Task { kind: TaskKind::Data, ..to("a.txt", None) });
}

#[test]
fn what_a_task_of_its_type_does_not_have_is_named() {
    let of = |kind: TaskKind| Task { filename: Some("a".into()), ..Task { kind, ..task() } };
    let file = || FilePart { field: "f".into(), filename: "a".into(), mime_type: "".into() };
    let several = || Task { files: vec![file()], ..of(TaskKind::MultiUpload) };
    let others = || [of(TaskKind::Upload), several(), of(TaskKind::Data), of(TaskKind::Request)];
    for task in others() {
        check(
            Task { checksum: Some(["md5=", &"0".repeat(32)].concat()), ..task.clone() },
            &[("checksum", "no download")],
        );
        check(Task { mirrors: vec!["http://h/m".into()], ..task.clone() }, &[("mirrors", "no download")]);
        check(Task { chunks: 4, ..task }, &[("chunks", "no download")]);
    }
    for kind in [TaskKind::Download, TaskKind::ParallelDownload, TaskKind::Data, TaskKind::Request] {
        check(Task { fields: pairs(&[("a", "b")]), ..of(kind.clone()) }, &[("fields", "no upload")]);
        check(Task { file_field: "x".into(), ..of(kind.clone()) }, &[("fileField", "no upload")]);
        check(Task { mime_type: "a/b".into(), ..of(kind.clone()) }, &[("mimeType", "no upload")]);
        check(Task { files: vec![file()], ..of(kind.clone()) }, &[("files", "no MultiUploadTask")]);
        check(Task { content_type: Some("a/b".into()), ..of(kind) }, &[("contentType", "without a body")]);
    }
    check(Task { files: vec![file()], ..of(TaskKind::Upload) }, &[("files", "no MultiUploadTask")]);
    check(Task { content_type: Some("a/b".into()), ..of(TaskKind::Upload) }, &[("contentType", "mimeType")]);
    check(Task { file_field: "x".into(), ..several() }, &[("fileField", "`files`")]);
    check(Task { mime_type: "a/b".into(), ..several() }, &[("mimeType", "`files`")]);
    for task in others() {
        admitted(Task { file_field: "".into(), content_type: Some("".into()), chunks: 1, ..task });
    }
}

#[test]
fn checksums_have_a_known_algorithm_and_its_length() {
    let with = |text: &str| Task { checksum: Some(text.into()), ..task() };
    for (algorithm, length) in [("sha-256", 64), ("sha-512", 128), ("sha-1", 40), ("md5", 32)] {
        let text = [algorithm, "=", &"aB".repeat(length / 2)].concat();
        assert_eq!(admitted(with(&text)).checksum, Some(text.to_lowercase()));
        check(with(&[&text, "0"].concat()), &[("checksum", "hexadecimal digits")]);
    }
    let text = ["SHA256=", &"0".repeat(64)].concat();
    assert_eq!(admitted(with(&text)).checksum, Some(text.replace("SHA256", "sha-256")));
    for text in ["", "sha-256", "crc32=00000000"] {
        check(with(text), &[("checksum", "must")]);
    }
    check(with(&["md5=", &"g".repeat(32)].concat()), &[("checksum", "32 hexadecimal")]);
}

#[test]
fn names_in_lists_are_not_empty() {
    check(Task { callbacks: vec!["a".into(), "".into()], ..task() }, &[("callbacks", "empty")]);
    check(Task { scope: Some("".into()), ..task() }, &[("scope", "leave it out")]);
    for scope in ["../x", "a//b", "/a", "a/", ".", "a\nb"] {
        check(Task { scope: Some(scope.into()), ..task() }, &[("scope", "names set apart")]);
    }
    admitted(Task { scope: Some("a/b.c/..d".into()), ..task() });
}

#[test]
fn credentials_are_looked_at_like_headers_and_urls() {
    let auth = |headers: &[(&str, &str)], refresh_url: &str| {
        let auth = Auth {
            access_token: Some("secret".into()),
            access_headers: pairs(headers),
            access_query: vec![],
            access_token_expires_at_ms: None,
            refresh_token: None,
            refresh_headers: pairs(headers),
            refresh_query: vec![],
            refresh_url: Some(refresh_url.into()),
            extra: vec![],
        };
        Task { auth: Some(auth), ..task() }
    };
    admitted(auth(&[("Authorization", "Bearer {accessToken}")], "https://h/refresh"));
    check(auth(&[], "h/refresh"), &[("options", "refreshUrl")]);
    let expected = [("options", "accessHeaders"), ("options", "refreshHeaders")];
    check(auth(&[("Host", "x")], "https://h/"), &expected);
    check(auth(&[("X", "secret\n")], "https://h/"), &expected);
}

#[test]
fn the_text_of_a_task_is_bounded() {
    let meta_data = |length: usize| Task { meta_data: "m".repeat(length), ..task() };
    admitted(meta_data(65_000));
    check(meta_data(70_000), &[("metaData", "has 70000 bytes")]);
    let headers = vec![("a".to_string(), "b".repeat(40_000)), ("c".to_string(), "d".repeat(20_000))];
    check(Task { headers, ..meta_data(30_000) }, &[("headers", "has 60002 bytes")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_text_makes_it_panic_and_the_normal_form_is_stable(
        id in ".{0,9}", url in "(https?://)?[a-z:@/?#%\\[\\]\\\\ ä.0-9]{0,30}", directory in "[./\\\\a\u{0}]{0,12}",
        filename in proptest::option::of("[./\\\\a?]{0,5}"), name in "[a-zA-Z: ]{0,9}", value in any::<String>(),
    ) {
        let task = Task {
            id, url, directory, filename,
            headers: vec![(name.clone(), value.clone())],
            query: vec![(name, value.clone())],
            checksum: Some(value.clone()),
            method: value,
            ..task()
        };
        let _ = decide_one(task.clone());
        let tamed = Task { checksum: None, method: String::new(), id: "t".into(), ..task };
        if let Ok(admitted) = decide_one(tamed) {
            prop_assert_eq!(decide_one(admitted.clone()).unwrap(), admitted);
        }
    }
}

#[test]
fn only_binary_uploads_are_resumable_and_they_may_be_paused() {
    let resumable = |protocol: &str, task: Task| Task { extra: pairs(&[("haul.resumable", protocol)]), ..task };
    let binary = || Task { body: Body::File, allow_pause: true, ..upload() };
    for protocol in ["tus", "ietf", "ietf-6", "ietf-5", "ietf-4", "ietf-3"] {
        assert!(admitted(resumable(protocol, binary())).allow_pause, "{protocol}");
    }
    check(resumable("ietf-7", binary()), &[("resumable", "`ietf-6` to `ietf-3`")]);
    assert!(!admitted(binary()).allow_pause);
    check(resumable("tus", upload()), &[("resumable", "binary upload")]);
    check(resumable("pigeon", binary()), &[("resumable", "`tus` or `ietf`")]);
    check(resumable("tus", Task { method: "PUT".into(), ..binary() }), &[("httpRequestMethod", "POST")]);
    let with = |fields: &[(&str, &str)]| Task { fields: pairs(fields), ..binary() };
    assert_eq!(admitted(resumable("tus", with(&[("album", "x y")]))).fields.len(), 1);
    for fields in [&[("a b", "")][..], &[("a,b", "")], &[("a", "1"), ("a", "2")]] {
        check(resumable("tus", with(fields)), &[("fields", "ASCII")]);
    }
    check(resumable("ietf", with(&[("a", "1")])), &[("fields", "binary")]);
}

#[test]
fn the_names_of_parts_from_memory_are_no_paths() {
    let part = |filename: &str| FilePart { field: "f".into(), filename: filename.into(), mime_type: "".into() };
    let task = |files: Vec<FilePart>, extra: &[(&str, &str)]| Task {
        kind: TaskKind::MultiUpload,
        body: Body::Multipart,
        files,
        extra: pairs(extra),
        ..upload()
    };
    admitted(task(vec![part("a"), part(""), part("../b")], &[("haul.files-in-task", "1,2")]));
    check(task(vec![part(""), part("")], &[("haul.files-in-task", "1")]), &[("files", "number 1")]);
    check(task(vec![part("a\u{7}")], &[("haul.files-in-task", "0")]), &[("files", "control")]);
}
