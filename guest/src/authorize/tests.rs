//! From an auth block to credentials, through a refresh.

use super::*;
use crate::bindings::exports::haul::transfer::authorize::Reason;
use crate::samples::{self, pairs};
use alloc::string::ToString;

const NOW_MS: u64 = 1_700_000_000_000;

fn auth() -> Auth {
    Auth {
        access_token: Some("A1".into()),
        access_headers: pairs(&[("Authorization", "Bearer {accessToken}"), ("X-Plain", "as it is")]),
        access_query: pairs(&[("auth", "{accessToken}")]),
        access_token_expires_at_ms: None,
        refresh_token: Some("R1".into()),
        refresh_headers: pairs(&[("X-Refresh", "{refreshToken}"), ("content-type", "text/plain")]),
        refresh_query: pairs(&[("old", "{accessToken}"), ("a b", "ä&=")]),
        refresh_url: Some("https://id.example.org/token?x=1&old=0#top".into()),
        extra: Vec::new(),
    }
}

fn answer(status: u16, body: &str) -> Situation {
    let response = Response { body: body.as_bytes().into(), ..samples::response(status, &[]) };
    Situation::RefreshAnswered(response)
}

#[track_caller]
fn refreshed(body: &str) -> Auth {
    match decide(auth(), &answer(200, body), NOW_MS) {
        Verdict::Refreshed(auth) => auth,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check_impossible(auth: Auth, situation: Situation, word: &str) {
    match decide(auth, &situation, NOW_MS) {
        Verdict::Impossible(reason) => assert!(reason.contains(word), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tokens_are_put_into_headers_and_parameters() {
    for situation in [Situation::BeforeRequest, Situation::AsItIs] {
        let expected = Verdict::Ready(Credentials {
            headers: pairs(&[("Authorization", "Bearer A1"), ("X-Plain", "as it is")]),
            query: pairs(&[("auth", "A1")]),
        });
        assert_eq!(decide(auth(), &situation, NOW_MS), expected);
    }
}

#[test]
fn templates_are_expanded_once_and_only_where_there_is_a_token() {
    let cases = [
        ("", ""),
        ("{accessToken}{refreshToken}", "{refreshToken}R1"),
        ("a{accessToken}b{accessToken}", "a{refreshToken}b{refreshToken}"),
        ("{AccessToken} {accessToken", "{AccessToken} {accessToken"),
        ("ä{{accessToken}}", "ä{{refreshToken}}"),
    ];
    let tricky = Auth { access_token: Some("{refreshToken}".into()), ..auth() };
    for (template, expected) in cases {
        assert_eq!(expand(template, &tricky), expected);
    }
    let none = Auth { access_token: None, ..auth() };
    assert_eq!(expand("{accessToken} {refreshToken}", &none), "{accessToken} R1");
}

#[test]
fn a_refresh_comes_ten_seconds_before_the_token_expires() {
    for (expires_at_ms, due) in
        [(NOW_MS - 1, true), (NOW_MS, true), (NOW_MS + 9_999, true), (NOW_MS + 10_000, false), (u64::MAX, false)]
    {
        let auth = Auth { access_token_expires_at_ms: Some(expires_at_ms), ..auth() };
        let verdict = decide(auth.clone(), &Situation::BeforeRequest, NOW_MS);
        assert_eq!(verdict == Verdict::RefreshFirst, due, "{expires_at_ms}");
        assert!(matches!(decide(auth, &Situation::AsItIs, NOW_MS), Verdict::Ready(_)));
    }
}

#[test]
fn the_default_refresh_is_a_post_of_the_refresh_token() {
    let situation = Situation::RefreshWanted(Reason::Expiring);
    let Verdict::Send(request) = decide(auth(), &situation, NOW_MS) else { panic!("no request") };
    assert_eq!(request.method, "POST");
    assert_eq!(request.url, "https://id.example.org/token?x=1&old=A1&a%20b=%C3%A4%26%3D");
    assert_eq!(request.headers, pairs(&[("X-Refresh", "R1"), ("Content-type", "application/json")]));
    let body = r#"{"grant_type":"refresh_token","refresh_token":"R1"}"#;
    assert_eq!(request.body, body.as_bytes());
}

#[test]
fn a_refresh_needs_a_url_and_a_token() {
    let wanted = || Situation::RefreshWanted(Reason::Unauthorized);
    check_impossible(Auth { refresh_url: None, ..auth() }, wanted(), "URL");
    check_impossible(Auth { refresh_token: None, ..auth() }, wanted(), "refresh token");
    check_impossible(auth(), Situation::Other("later".into()), "later");
}

#[test]
fn the_answer_brings_new_tokens_and_a_new_time() {
    let new = refreshed(r#"{"access_token":"A2","expires_in":3600,"refresh_token":"R2","x":[]}"#);
    assert_eq!(new.access_token.as_deref(), Some("A2"));
    assert_eq!(new.refresh_token.as_deref(), Some("R2"));
    assert_eq!(new.access_token_expires_at_ms, Some(NOW_MS + 3_600_000));
    assert_eq!(new.access_headers, auth().access_headers);

    let new = refreshed(r#"{"access_token":"A2"}"#);
    assert_eq!(new.refresh_token.as_deref(), Some("R1"));
    assert_eq!(new.access_token_expires_at_ms, None);

    for (seconds, expected) in [("\"60\"", Some(60_000)), ("60.5", Some(60_000)), ("-1", None), ("null", None)] {
        let new = refreshed(&["{\"access_token\":\"A2\",\"expires_in\":", seconds, "}"].concat());
        assert_eq!(new.access_token_expires_at_ms, expected.map(|ms: u64| NOW_MS + ms), "{seconds}");
    }
    let huge = refreshed(&["{\"access_token\":\"A\",\"expires_in\":", &u64::MAX.to_string(), "}"].concat());
    assert_eq!(huge.access_token_expires_at_ms, Some(u64::MAX));
}

#[test]
fn an_answer_without_a_token_is_no_refresh() {
    check_impossible(auth(), answer(400, r#"{"access_token":"A2"}"#), "400");
    check_impossible(auth(), answer(201, r#"{"access_token":"A2"}"#), "201");
    check_impossible(auth(), answer(200, ""), "not a JSON object");
    check_impossible(auth(), answer(200, "[]"), "not a JSON object");
    check_impossible(auth(), answer(200, "{}"), "no access token");
    check_impossible(auth(), answer(200, r#"{"access_token":7}"#), "no access token");
    check_impossible(auth(), answer(200, r#"{"access_token":""}"#), "unusable");
    check_impossible(auth(), answer(200, r#"{"access_token":"a\r\nX: y"}"#), "unusable");
}
