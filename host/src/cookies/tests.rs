//! Tables of which cookies are taken and where they go, and the file form.

use super::*;

const NOW: u64 = 1_700_000_000_000;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

/// Takes what an answer of `from` sets.
fn take(cookies: &mut Cookies, set: &[&str], from: &str) -> bool {
    cookies.take(set.iter().map(|value| value.as_bytes()), &url(from), NOW)
}

/// What goes to `to`; empty for nothing.
fn header(cookies: &Cookies, to: &str) -> String {
    cookies.header(&url(to), NOW).map_or(String::new(), |header| String::from_utf8(header).unwrap())
}

fn read(text: &str) -> Cookies {
    netscape::read(text.as_bytes(), NOW).unwrap().cookies
}

fn goes(set: &str, from: &str, to: &str) -> bool {
    Cookie::parse(set, &url(from), NOW).is_some_and(|cookie| cookie.goes_to(&url(to), NOW))
}

#[test]
fn a_cookie_goes_only_where_its_host_path_and_scheme_allow() {
    #[rustfmt::skip]
    let table = [
        // set, by, to, goes
        ("a=b", "http://h.example/x/y", "http://h.example/x/z", true),
        ("a=b", "http://h.example/x/y", "http://h.example/x", true),
        ("a=b", "http://h.example/x/y", "http://h.example/xy", false),
        ("a=b", "http://h.example/x/y", "http://h.example/", false),
        ("a=b; Path=/", "http://h.example/x/y", "http://h.example/q", true),
        ("a=b; Path=/x/", "http://h.example/", "http://h.example/x/y", true),
        ("a=b; Path=/x/", "http://h.example/", "http://h.example/x", false),
        ("a=b; Path=nonsense", "http://h.example/", "http://h.example/y", true),
        // No domain: the host itself, on any port.
        ("a=b", "http://h.example:81/", "http://h.example:82/", true),
        ("a=b", "http://h.example/", "http://sub.h.example/", false),
        ("a=b; Domain=", "http://h.example/", "http://sub.h.example/", false),
        // A domain: what is below too, whole labels only.
        ("a=b; Domain=h.example", "http://h.example/", "http://sub.h.example/", true),
        ("a=b; Domain=.H.Example", "http://sub.h.example/", "http://other.h.example/", true),
        ("a=b; Domain=h.example", "http://h.example/", "http://evil-h.example/", false),
        ("a=b; Domain=h.example", "http://h.example/", "http://h.example.evil.org/", false),
        ("a=b; Domain=other.example", "http://h.example/", "http://other.example/", false),
        ("a=b; Domain=sub.h.example", "http://h.example/", "http://sub.h.example/", false),
        // Public suffixes belong to nobody.
        ("a=b; Domain=com", "http://shop.com/", "http://shop.com/", false),
        ("a=b; Domain=co.uk", "http://shop.co.uk/", "http://shop.co.uk/", false),
        ("a=b; Domain=github.io", "http://me.github.io/", "http://you.github.io/", false),
        ("a=b; Domain=localhost", "http://localhost/", "http://localhost/", true),
        // Addresses have nothing below.
        ("a=b; Domain=127.0.0.1", "http://127.0.0.1/", "http://127.0.0.1/", true),
        ("a=b; Domain=0.0.1", "http://127.0.0.1/", "http://127.0.0.1/", false),
        ("a=b", "http://[::1]/", "http://[::1]/", true),
        // Secure ones are set and sent over https only.
        ("a=b; Secure", "https://h.example/", "https://h.example/", true),
        ("a=b; Secure", "https://h.example/", "http://h.example/", false),
        ("a=b; Secure", "http://h.example/", "https://h.example/", false),
        ("__Secure-a=b; Secure", "https://h.example/", "https://h.example/", true),
        ("__Secure-a=b", "https://h.example/", "https://h.example/", false),
        ("__Host-a=b; Secure; Path=/", "https://h.example/", "https://h.example/x", true),
        ("__Host-a=b; Secure; Path=/; Domain=h.example", "https://h.example/", "https://h.example/", false),
        // Nobody takes a value alone for a name with a prefix.
        ("=__Host-a=b", "https://h.example/", "https://h.example/", false),
        ("=__Host-a=b; Secure; Path=/", "https://h.example/", "https://h.example/", false),
        ("__SECURE-a", "http://h.example/", "http://h.example/", false),
        ("=__hosta=b", "http://h.example/", "http://h.example/", true),
        // Ends.
        ("a=b; Max-Age=1", "http://h.example/", "http://h.example/", true),
        ("a=b; Max-Age=0", "http://h.example/", "http://h.example/", false),
        ("a=b; Max-Age=-5", "http://h.example/", "http://h.example/", false),
        ("a=b; Max-Age=junk", "http://h.example/", "http://h.example/", true),
        ("a=b; Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://h.example/", "http://h.example/", true),
        ("a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT", "http://h.example/", "http://h.example/", false),
        ("a=b; expires=Fri, 01-Jan-2038 00:00:00 GMT", "http://h.example/", "http://h.example/", true),
        ("a=b; expires=1 jan 38 1:2:3", "http://h.example/", "http://h.example/", true),
        ("a=b; expires=whenever", "http://h.example/", "http://h.example/", true),
        ("", "http://h.example/", "http://h.example/", false),
        ("a=b\u{7}", "http://h.example/", "http://h.example/", false),
    ];
    for (set, by, to, expected) in table {
        assert_eq!(goes(set, by, to), expected, "`{set}` set by {by}, asked at {to}");
    }
    assert!(Cookie::parse(format!("a={}", "b".repeat(MAX_COOKIE)), &url("http://h/"), NOW).is_none());
}

#[test]
fn dates_are_read_in_the_forms_that_servers_write() {
    for (text, ms) in [
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777_000)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777_000)),
        ("Sun Nov  6 08:49:37 1994", Some(784_111_777_000)),
        ("6 november 1994 8:49:37", Some(784_111_777_000)),
        ("Thu, 01-Jan-1931 00:00:00 GMT", Some(0)),
        ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994", None),
        ("", None),
    ] {
        assert_eq!(date::at_ms(text), ms, "{text}");
    }
}

#[test]
fn the_header_has_longer_paths_first_then_older_cookies() {
    let mut cookies = Cookies::default();
    let place = "http://h.example/a/b";
    let set = ["one=1; Path=/", "two=2; Path=/a", "three=3; Path=/", "four; Path=/", "one=new; Path=/"];
    assert!(take(&mut cookies, &set, place));
    assert_eq!(header(&cookies, place), "two=2; one=new; three=3; four");
    assert!(!take(&mut cookies, &["one=new; Path=/"], place), "nothing has changed");
    assert!(take(&mut cookies, &["two=; Max-Age=0; Path=/a"], place));
    assert_eq!(header(&cookies, place), "one=new; three=3; four");
    assert_eq!(header(&cookies, "http://other.example/"), "");
}

#[test]
fn what_came_over_tls_is_not_overlaid_in_the_clear() {
    let mut cookies = Cookies::default();
    take(&mut cookies, &["id=true; Secure; Path=/"], "https://h.example/");
    assert!(!take(&mut cookies, &["id=forged; Path=/"], "http://h.example/"));
    assert_eq!(header(&cookies, "https://h.example/"), "id=true");
}

#[test]
fn a_jar_has_room_for_so_many_and_the_oldest_give_way() {
    let mut cookies = Cookies::default();
    for number in 0..60 {
        take(&mut cookies, &[&format!("n{number}=x")], "http://h.example/");
    }
    let header = header(&cookies, "http://h.example/");
    assert_eq!((header.split("; ").count(), header.starts_with("n10=x")), (MAX_PER_DOMAIN, true), "{header}");
    for number in 0..MAX_IN_ALL + 5 {
        take(&mut cookies, &["a=b"], &format!("http://h{number}.example/"));
    }
    assert_eq!(cookies.0.len(), MAX_IN_ALL);
}

#[test]
fn the_file_form_holds_everything_and_is_read_as_others_write_it() {
    let text = "# Netscape HTTP Cookie File\n\n.h.example\tTRUE\t/\tTRUE\t2000000000\tid\tvalue\n\
                #HttpOnly_h.example\tFALSE\t/x\tFALSE\t0\tsession\ta b\nh.example\tFALSE\t/\tFALSE\t0\tempty\n";
    let cookies = read(text);
    let written = |at: u64| String::from_utf8(netscape::write(&cookies, &[], at)).unwrap();
    assert_eq!(read(&written(NOW)).0, cookies.0);
    assert_eq!(header(&cookies, "https://sub.h.example/x"), "id=value");
    assert_eq!(header(&cookies, "http://h.example/x"), "session=a b; empty=");
    assert!(!written(2_000_000_000_000).contains("value"), "what is over is left out");
}

#[test]
fn a_file_is_read_as_curl_reads_it() {
    for (line, sent) in [
        ("h.example\tFALSE\t/\tFALSE\t0\ta\t1\r", "a=1"),
        ("\u{feff}h.example\tFALSE\t/\tFALSE\t0\ta\t1", "a=1"),
        ("\u{feff}# Netscape HTTP Cookie File\nh.example\tFALSE\t/\tFALSE\t0\ta\t1", "a=1"),
        ("h.example\tfalse\t\tfalse\t0\ta\t1", "a=1"),
        ("h.example\tFALSE\tx\tFALSE\t\ta\t1", "a=1"),
        ("h.example\tFALSE\t/\tFALSE\t1800000000.75\ta\t1", "a=1"),
        ("h.example\tFALSE\t/\tFALSE\t-1\ta\t1", ""),
        ("h.example\tFALSE\t/\tFALSE\t1600000000\ta\t1", ""),
    ] {
        assert_eq!(header(&read(line), "http://h.example/"), sent, "{line:?}");
    }
}

#[test]
fn a_line_that_is_no_cookie_costs_no_other_and_is_written_as_it_was() {
    let sound = "h.example\tFALSE\t/\tFALSE\t0\ta\t1";
    for wrong in [
        &b"hello"[..],
        b"h.example TRUE / FALSE 0 a secret",
        b"h.example\tx\t/\tFALSE\t0\tb\tsecret",
        b"\tTRUE\t/\tTRUE\t0\tb\tsecret",
        b"h.example\tFALSE\t/\tFALSE\tsoon\tb\tsecret",
        b"#HttpOnly_h.example\tFALSE\t/\tFALSE\t0\tb\tsec\0ret",
        b"h.example\tFALSE\t/\tFALSE\t0\tb\tsec\tret",
        b"h.\xe9xample\tFALSE\t/\tFALSE\t0\tb\tsecret",
    ] {
        let text = [b"# c\n", wrong, b"\n", sound.as_bytes(), b"\n"].concat();
        let jar = Jar::read(&text, NOW, |_| ()).unwrap();
        let url = url("http://h.example/");
        assert_eq!(jar.header(&url, NOW).unwrap(), "a=1", "{}", wrong.escape_ascii());
        assert_eq!(jar.left_out().unwrap(), "line 2");
        let again = jar.text(NOW);
        assert!(again.ends_with(&[sound.as_bytes(), b"\n", wrong, b"\n"].concat()), "{}", again.escape_ascii());
    }
}

#[test]
fn a_file_without_any_cookie_is_another_programs() {
    for wrong in ["h.example TRUE / FALSE 0 a secret", "{\"cookies\":[\"secret\"]}", "SQLite format 3\0\tsecret\0"] {
        let sentence = netscape::read(format!("# c\n{wrong}\n").as_bytes(), NOW).unwrap_err();
        assert!(sentence.contains("line 2") && !sentence.contains("secret"), "{sentence}");
    }
    for fine in ["", "# c\n\n", "# Netscape HTTP Cookie File\nhello\n", "h.example\tFALSE\t/\tFALSE\t0\ta\tx\0y"] {
        netscape::read(fine.as_bytes(), NOW).unwrap();
    }
}

#[test]
fn a_cookie_as_a_server_says_it_is_taken_where_it_names_its_domain() {
    let text = "Set-Cookie: a=1; Domain=h.example; Max-Age=60\r\nset-cookie:b=2; domain=.h.example; Path=/x; Secure\n\
                Set-Cookie: old=3; Domain=h.example; Max-Age=0\nSet-Cookie: all=4; Domain=com\n";
    let cookies = read(text);
    assert_eq!(header(&cookies, "https://sub.h.example/x"), "b=2; a=1");
    assert_eq!(header(&cookies, "http://h.example/x"), "a=1");
    assert_eq!(header(&cookies, "http://shop.com/"), "");
    assert_eq!(cookies.header(&url("http://h.example/"), NOW + 61_000), None, "Max-Age counts from when it is read");
    let written = String::from_utf8(netscape::write(&cookies, &[], NOW)).unwrap();
    assert!(written.contains(".h.example\tTRUE\t/x\tTRUE\t0\tb\t2\n"), "{written}");
}

#[test]
fn a_cookie_that_a_server_says_without_a_domain_goes_nowhere_and_is_told() {
    let text = "HTTP/1.1 200 OK\nSet-Cookie: a=secret; Path=/\n";
    let sentence = netscape::read(text.as_bytes(), NOW).unwrap_err();
    assert!(sentence.contains("line 2 ") && sentence.contains("Domain=HOST"), "{sentence}");
    assert!(!sentence.contains("secret"), "{sentence}");
    let jar = Jar::read(format!("{text}Set-Cookie: b=1; Domain=h.example\n").as_bytes(), NOW, |_| ()).unwrap();
    assert_eq!(jar.header(&url("http://h.example/"), NOW).unwrap(), "b=1");
    assert_eq!((jar.nobodys().as_deref(), jar.left_out().as_deref()), (Some("line 2"), Some("line 1")));
}

#[test]
fn bytes_that_are_no_utf_8_go_through_as_they_are() {
    let line = b"h.example\tFALSE\t/\tFALSE\t0\tn\xe9\tv\xe9";
    let jar = Jar::read(line, NOW, |_| ()).unwrap();
    let place = url("http://h.example/");
    assert_eq!(jar.header(&place, NOW).unwrap().as_bytes(), b"n\xe9=v\xe9");
    assert!(jar.take([&b"set=\xff; Path=/\xe9"[..], b"b=\xff"].into_iter(), &place, NOW));
    assert_eq!(jar.header(&place, NOW).unwrap().as_bytes(), b"n\xe9=v\xe9; b=\xff");
    let text = jar.text(NOW);
    assert!(text.windows(line.len()).any(|found| found == line), "{}", text.escape_ascii());
    assert!(text.windows(7).any(|found| found == b"/\xe9\tFALS"), "{}", text.escape_ascii());
}

#[test]
fn a_file_may_hold_more_cookies_than_servers_may_set() {
    let lines = (0..60).map(|number| format!("h.example\tFALSE\t/\tFALSE\t0\tn{number}\tx\n"));
    let mut cookies = read(&lines.collect::<String>());
    assert_eq!(cookies.0.len(), 60);
    take(&mut cookies, &["new=x"], "http://h.example/");
    assert_eq!(cookies.0.len(), 60, "the oldest has given way");
}

#[test]
fn a_cookie_of_a_file_does_not_go_to_all_of_a_public_suffix() {
    let cookies = read(".com\tTRUE\t/\tFALSE\t0\ta\tb\n.co.uk\tTRUE\t/\tFALSE\t0\tc\td\n");
    for host in ["http://h.com/", "http://h.co.uk/"] {
        assert_eq!(header(&cookies, host), "", "{host}");
    }
}

#[test]
fn joined_set_cookie_values_are_taken_apart_and_make_a_header() {
    let joined = "a=1; Expires=Fri, 01 Jan 2038 00:00:00 GMT; Path=/,b=2,c=3; Domain=example.com,only";
    assert_eq!(split_set_cookie(joined).len(), 4);
    let header = |to: &str| cookie_header([joined], to, NOW);
    assert_eq!(header("https://www.example.com/x").unwrap(), "a=1; b=2; c=3; only");
    assert_eq!(header("https://evil-example.com/x").unwrap(), "a=1; b=2; only", "a suffix is not a label");
    assert_eq!(header("no url"), None);
    assert_eq!(cookie_header([""], "http://h/", NOW), None);
}
