//! Tables of what is masked and what stays.

use super::*;

#[test]
fn secret_headers_are_known_in_any_case() {
    for name in [
        "Authorization",
        "proxy-authorization",
        "COOKIE",
        "Set-Cookie",
        "X-Api-Key",
        "X-Auth-Token",
        "x-client-secret-2",
    ] {
        assert!(is_secret_header(name), "{name}");
    }
    for name in ["Accept", "ETag", "X-Api-Version", "Content-Type", "Cookies-Allowed"] {
        assert!(!is_secret_header(name), "{name}");
    }
}

#[test]
fn urls_lose_secret_parameters_and_userinfo() {
    for (given, shown) in [
        ("https://h/p", "https://h/p"),
        ("https://h/p?q=pizza", "https://h/p?q=pizza"),
        ("https://h/p?token=abc", "https://h/p?token=***"),
        ("https://h/p?a=1&access_token=abc&b=2#top", "https://h/p?a=1&access_token=***&b=2#top"),
        ("https://h/?X-Amz-Signature=f00&X-Amz-Date=1", "https://h/?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://h/?X-Amz-Security-Token=a=b==", "https://h/?X-Amz-Security-Token=***"),
        (
            "https://h/?KEY=1&keyword=2&apikey=3&api_key=4&sig=5",
            "https://h/?KEY=***&keyword=2&apikey=***&api_key=***&sig=***",
        ),
        ("https://h/?signature=1&password=2&secret=3", "https://h/?signature=***&password=***&secret=***"),
        ("https://h/?%74oken=abc", "https://h/?%74oken=***"),
        ("https://h/?a=1;token=abc;def", "https://h/?a=1;token=***"),
        ("https://h/?a;b=1&key", "https://h/?a;b=1&key"),
        ("https://h/?a=b?token=c", "https://h/?a=b?token=***"),
        ("https://user:pw@h:8/p", "https://***@h:8/p"),
        ("https://user:p@w@h/p@q", "https://***@h/p@q"),
        ("//user:pw@h/p", "//***@h/p"),
        ("/next?sig=1", "/next?sig=***"),
        ("https://h/#access_token=abc&state=1", "https://h/#access_token=***&state=1"),
        ("https://h/%?t%6Fken=1&%zz=2", "https://h/%?t%6Fken=***&%zz=2"),
        ("", ""),
        ("nonsense", "nonsense"),
    ] {
        assert_eq!(url(given), shown, "{given}");
        assert_eq!(url(&url(given)), shown, "twice: {given}");
    }
}

#[test]
fn headers_keep_order_and_names() {
    let given: Pairs = [
        ("accept", "*/*"),
        ("Authorization", "Bearer x"),
        ("location", "/p?token=abc&n=1"),
        ("set-cookie", "a=b"),
        ("set-cookie", "c=d"),
        ("link", "<https://h/>; rel=next"),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .into();
    let shown: Pairs = [
        ("accept", "*/*"),
        ("Authorization", "***"),
        ("location", "/p?token=***&n=1"),
        ("set-cookie", "***"),
        ("set-cookie", "***"),
        ("link", "<https://h/>; rel=next"),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .into();
    assert_eq!(headers(&given), shown);
}

#[test]
fn urls_in_any_header_lose_their_secrets() {
    for (name, given, shown) in [
        (
            "link",
            "<https://h/x?page=2&access_token=a>; rel=\"next\", </y?sig=b,c>; rel=last",
            "<https://h/x?page=2&access_token=***>; rel=\"next\", </y?sig=***>; rel=last",
        ),
        ("refresh", "0; url=/x?token=abc", "0; url=/x?token=***"),
        ("refresh", "5;url='https://u:p@h/#token=abc'", "5;url='https://***@h/#token=***"),
        ("origin", "http://u:p@h", "http://***@h"),
        ("access-control-allow-origin", "https://a,https://u:p@b", "https://a,https://***@b"),
        ("x-callback", "//u:p@h/x?token=abc", "//***@h/x?token=***"),
        ("x-plain", "is it? a@b: 1/2 #3", "is it? a@b: 1/2 #3"),
        ("etag", "W/\"a?b=c\"", "W/\"a?b=c\""),
    ] {
        assert_eq!(header(name, given), shown, "{given}");
        assert_eq!(header(name, shown), shown, "twice: {given}");
    }
}

#[test]
fn sentences_lose_the_queries_of_their_urls() {
    for (given, shown) in [
        ("no URL at all?", "no URL at all?"),
        ("cannot reach https://u:p@h/p?token=abc: timed out", "cannot reach https://h/p: timed out"),
        ("see `https://h/p?a=1#b`, please", "see `https://h/p`, please"),
        ("(https://h/p?a=1) failed", "(https://h/p) failed"),
        ("got https://h/p?a=1.", "got https://h/p."),
        ("from https://h/a.b. To https://h/c", "from https://h/a.b. To https://h/c"),
        ("redirected to /p?token=abc twice", "redirected to /p?token=*** twice"),
        ("süß \"https://h/?k\"", "süß \"https://h/\""),
        ("https://h/?a=1)x(2", "https://h/"),
    ] {
        assert_eq!(text(given), shown, "{given}");
    }
}
