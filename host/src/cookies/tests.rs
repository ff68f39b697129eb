//! Tables of which cookies are taken and where they go, and the file form.

use super::*;

const NOW: u64 = 1_700_000_000_000;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
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
    assert!(Cookie::parse(&format!("a={}", "b".repeat(MAX_COOKIE)), &url("http://h/"), NOW).is_none());
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
    let place = url("http://h.example/a/b");
    let set = ["one=1; Path=/", "two=2; Path=/a", "three=3; Path=/", "four; Path=/", "one=new; Path=/"];
    assert!(cookies.take(set.into_iter(), &place, NOW));
    assert_eq!(cookies.header(&place, NOW).unwrap(), "two=2; one=new; three=3; four");
    assert!(!cookies.take(["one=new; Path=/"].into_iter(), &place, NOW), "nothing has changed");
    assert!(cookies.take(["two=; Max-Age=0; Path=/a"].into_iter(), &place, NOW));
    assert_eq!(cookies.header(&place, NOW).unwrap(), "one=new; three=3; four");
    assert_eq!(cookies.header(&url("http://other.example/"), NOW), None);
}

#[test]
fn what_came_over_tls_is_not_overlaid_in_the_clear() {
    let mut cookies = Cookies::default();
    cookies.take(["id=true; Secure; Path=/"].into_iter(), &url("https://h.example/"), NOW);
    assert!(!cookies.take(["id=forged; Path=/"].into_iter(), &url("http://h.example/"), NOW));
    assert_eq!(cookies.header(&url("https://h.example/"), NOW).unwrap(), "id=true");
}

#[test]
fn a_jar_has_room_for_so_many_and_the_oldest_give_way() {
    let mut cookies = Cookies::default();
    for number in 0..60 {
        cookies.take([format!("n{number}=x").as_str()].into_iter(), &url("http://h.example/"), NOW);
    }
    let header = cookies.header(&url("http://h.example/"), NOW).unwrap();
    assert_eq!((header.split("; ").count(), header.starts_with("n10=x")), (MAX_PER_DOMAIN, true), "{header}");
    for number in 0..MAX_IN_ALL + 5 {
        cookies.take(["a=b"].into_iter(), &url(&format!("http://h{number}.example/")), NOW);
    }
    assert_eq!(cookies.0.len(), MAX_IN_ALL);
}

#[test]
fn the_file_form_holds_everything_and_is_read_as_others_write_it() {
    let text = "# Netscape HTTP Cookie File\n\n.h.example\tTRUE\t/\tTRUE\t2000000000\tid\tvalue\n\
                #HttpOnly_h.example\tFALSE\t/x\tFALSE\t0\tsession\ta b\nh.example\tFALSE\t/\tFALSE\t0\tempty\n";
    let cookies = netscape::read(text).unwrap();
    let again = netscape::read(&netscape::write(&cookies, NOW)).unwrap();
    assert_eq!(again.0, cookies.0);
    assert_eq!(cookies.header(&url("https://sub.h.example/x"), NOW).unwrap(), "id=value");
    assert_eq!(cookies.header(&url("http://h.example/x"), NOW).unwrap(), "session=a b; empty=");
    assert!(!netscape::write(&cookies, 2_000_000_000_000).contains("value"), "what is over is left out");
    for wrong in
        ["h.example TRUE / FALSE 0 a secret", "h.example\tx\t/\tFALSE\t0\ta\tsecret", "\tTRUE\t/\tTRUE\t0\ta\tb"]
    {
        let sentence = netscape::read(&format!("# c\n{wrong}\n")).unwrap_err();
        assert!(sentence.contains("line 2") && !sentence.contains("secret"), "{sentence}");
    }
}

#[test]
fn a_cookie_of_a_file_does_not_go_to_all_of_a_public_suffix() {
    let cookies = netscape::read(".com\tTRUE\t/\tFALSE\t0\ta\tb\n.co.uk\tTRUE\t/\tFALSE\t0\tc\td\n").unwrap();
    for host in ["http://h.com/", "http://h.co.uk/"] {
        assert_eq!(cookies.header(&url(host), NOW), None, "{host}");
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
